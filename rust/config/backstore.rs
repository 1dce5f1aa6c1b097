// SPDX-License-Identifier: GPL-2.0

//! `core/iblock_<n>/<device>`: block devices that can be exported.

use super::{
    alua::{
        self,
        AluaDir, //
    },
    pr::PrFiles,
    root::VERSION,
    text::{
        self,
        Explain, //
    }, //
};
use crate::{
    proto::scsi::{
        pool::Pool,
        unit_id::{
            Eui64,
            Naa,
            T10, //
        }, //
    },
    sys::configfs::{
        files,
        Dir,
        Files,
        Mkdir,
        Page,
        Refusal,
        SubDir, //
    },
    sys::{
        cgroup,
        errand,
        file, //
    },
    target::{
        Device,
        DeviceAttrib,
        Targets,
        Unfit,
        WwnField, //
    }, //
};
use core::fmt::Write;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// `core`.
pub(super) struct CoreDir;

impl Dir for CoreDir {
    type Object = Targets;
    const MKDIR: Mkdir<Targets> = Mkdir::of::<HbaDir, _, _>(make_hba, |_: &_, _: &_| ());
}

/// A group of devices: LIO's host bus adapter, of which tools make one for
/// each device.
pub(super) struct Hba {
    index: u32,
    targets: Arc<Targets>,
}

fn make_hba(targets: &Arc<Targets>, name: &[u8]) -> Result<Arc<Hba>, Refusal> {
    let index = text::numbered(name, "iblock_", i32::MAX as u32)?;
    let hba = Hba {
        index,
        targets: targets.clone(),
    };
    Ok(Arc::new(hba, GFP_KERNEL)?)
}

/// `core/iblock_<n>`.
struct HbaDir;

impl Dir for HbaDir {
    type Object = Hba;
    const FILES: Files<Hba> = files![
        Attr::ro(c"hba_info", |hba: &Arc<Hba>, out: &mut Page<'_>| Ok(
            writeln!(
                out,
                "HBA Index: {} plugin: iblock version: {VERSION}",
                hba.index
            )?
        )),
        Attr::ro(c"hba_mode", |_: &Arc<Hba>, out: &mut Page<'_>| Ok(
            out.put(b"0\n")?
        )),
    ];
    const MKDIR: Mkdir<Hba> = Mkdir::of::<DeviceDir, _, _>(make_device, remove_device);
}

fn make_device(hba: &Arc<Hba>, name: &[u8]) -> Result<Arc<Device>, Refusal> {
    if name.iter().any(|b| b.is_ascii_control() || *b == b' ') {
        return Err(Refusal::invalid(
            "must not have spaces or control characters",
        ));
    }
    Ok(hba.targets.create_device(hba.index, name)?)
}

fn remove_device(hba: &Arc<Hba>, device: &Arc<Device>) {
    hba.targets.remove_device(device);
}

/// `core/iblock_<n>/<device>`.
pub(super) struct DeviceDir;

impl Dir for DeviceDir {
    type Object = Device;
    const FILES: Files<Device> = files![
        Attr::ro(c"info", show_info),
        Attr::wo(c"control", store_control),
        Attr::rw(c"alias", show_alias, store_alias),
        Attr::rw(c"udev_path", show_udev_path, store_udev_path),
        Attr::rw(c"enable", show_enable, store_enable),
        Attr::wo(c"replace", store_replace),
        Attr::rw(c"thin_pool", show_pool, store_pool),
        Attr::rw(c"lba_map", alua::show_map, alua::store_map),
    ];
    const SUBDIRS: &'static [SubDir<Device>] = &[
        SubDir::new::<AttribDir, _>(c"attrib", Arc::clone),
        SubDir::new::<WwnDir, _>(c"wwn", Arc::clone),
        SubDir::new::<PrFiles, _>(c"pr", Arc::clone),
        SubDir::new::<AluaDir, _>(c"alua", Arc::clone),
    ];
}

/// Its reservations cannot be taken up; the log names the file.
fn no_reservations() -> (Error, &'static str) {
    (
        file::damaged(),
        "what was written down of its reservations is no good",
    )
}

const BUSY: (Error, &str) = (EBUSY, "cannot change once the device is enabled");

fn show_info(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let status = match device.export_count() {
        0 => "DEACTIVATED",
        _ => "ACTIVATED",
    };
    write!(
        out,
        "Status: {status}  Max Queue Depth: {}  SectorSize: {}  HwMaxSectors: {}\n        ",
        device.attrib(DeviceAttrib::QueueDepth),
        device.attrib(DeviceAttrib::BlockSize),
        device.attrib(DeviceAttrib::HwMaxSectors),
    )?;
    let bdev = device.bdev_info();
    if let Some(bdev) = &bdev {
        out.put(b"iBlock device: ")?;
        out.put(bdev.name.split(|b| *b == 0).next().unwrap_or_default())?;
    }
    device.path(|path| {
        if path.is_empty() {
            return Ok(());
        }
        out.put(b"  UDEV PATH: ")?;
        out.put(path)
    })?;
    writeln!(out, "  readonly: {}", u8::from(device.readonly()))?;
    writeln!(out, "  exclusive: {}", u8::from(device.exclusive()))?;
    match bdev {
        Some(bdev) => writeln!(
            out,
            "        Major: {} Minor: {}  CLAIMED: IBLOCK",
            bdev.major, bdev.minor
        )?,
        None => writeln!(out, "        Major: 0 Minor: 0")?,
    }
    Ok(())
}

/// Takes `udev_path=`, `readonly=` and `exclusive=`, separated by commas: all
/// of them or none.
fn store_control(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let mut path = None;
    let mut readonly = None;
    let mut exclusive = None;
    let items = value
        .split(|b| matches!(b, b',' | b'\n'))
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty());
    for item in items {
        if let Some(p) = item.strip_prefix(b"udev_path=") {
            path = Some(check_path(p)?);
        } else if let Some(v) = item.strip_prefix(b"readonly=") {
            readonly = Some(text::flag(v)?);
        } else if let Some(v) = item.strip_prefix(b"exclusive=") {
            exclusive = Some(text::flag(v)?);
        } else {
            return Err(Refusal::invalid(
                "must be udev_path=, readonly= or exclusive=, separated by commas",
            ));
        }
    }
    if path.is_none() && readonly.is_none() && exclusive.is_none() {
        return Err(Refusal::invalid(
            "must name udev_path=, readonly= or exclusive=",
        ));
    }
    if device.is_enabled() {
        let same = path.is_none_or(|p| device.path(|now| now == p))
            && readonly.is_none_or(|v| v == device.readonly())
            && exclusive.is_none_or(|v| v == device.exclusive());
        return match same {
            true => Ok(()),
            false => Err(Refusal::because(BUSY.0, BUSY.1)),
        };
    }
    if let Some(p) = path {
        device.set_path(p).explain(&[BUSY])?;
    }
    if let Some(v) = readonly {
        device.set_readonly(v).explain(&[BUSY])?;
    }
    if let Some(v) = exclusive {
        device.set_exclusive(v).explain(&[BUSY])?;
    }
    Ok(())
}

fn check_path(path: &[u8]) -> Result<&[u8], Refusal> {
    let path = text::label(path, 1..=511)?;
    if !path.starts_with(b"/") {
        return Err(Refusal::invalid("must be an absolute path"));
    }
    Ok(path)
}

fn show_alias(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(device.alias(|alias| show_if_set(out, alias))?)
}

fn store_alias(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    Ok(device.set_alias(text::label(value, 0..=511)?)?)
}

fn show_udev_path(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(device.path(|path| show_if_set(out, path))?)
}

fn store_udev_path(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    device
        .set_path(check_path(value.trim_ascii())?)
        .explain(&[BUSY])
}

fn show_if_set(out: &mut Page<'_>, value: &[u8]) -> core::fmt::Result {
    if value.is_empty() {
        return Ok(());
    }
    out.put(value)?;
    out.put(b"\n")
}

fn show_enable(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(writeln!(out, "{}", u8::from(device.is_enabled()))?)
}

fn store_enable(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    if !text::flag(value)? {
        return Err(Refusal::invalid(
            "must be 1; remove the directory to close the device",
        ));
    }
    device.enable().explain(&[
        no_reservations(),
        (ENODEV, "udev_path is not set, or names no device"),
        (EEXIST, "is enabled already"),
        (
            EBUSY,
            "the block device is in use, or somebody is still opening it",
        ),
        (
            errand::late(),
            "the block device, or the file system of udev_path or pr_dir, does not answer",
        ),
        (ENOTBLK, "udev_path is not a block device"),
        (EROFS, "the block device is read-only, set readonly=1"),
    ])
}

fn store_replace(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let path = check_path(value.trim_ascii())?;
    device.replace(path).map_err(|unfit| {
        let (errno, rule) = match unfit {
            Unfit::NotEnabled => (ENODEV, "the device is not enabled: set udev_path"),
            Unfit::NoDevice(e) if e == ENOTBLK => (e, "names no block device"),
            Unfit::NoDevice(e) => (e, "names no device"),
            Unfit::Busy => (EBUSY, "somebody is still opening the device"),
            Unfit::InUse => (EBUSY, "the new block device is in use"),
            Unfit::ReadOnly => (EROFS, "the new block device is read-only"),
            Unfit::NewHangs => (errand::late(), "the new block device does not answer"),
            Unfit::OldHangs => (
                errand::late(),
                "the old block device does not end what is under way; it stays",
            ),
            Unfit::Smaller => (ENOSPC, "the new block device is smaller"),
            Unfit::BlockSize => (EINVAL, "the new block device has another block size"),
            Unfit::Other(e) => return e.into(),
        };
        Refusal::because(errno, rule)
    })
}

/// `attrib`.
struct AttribDir;

/// A function that shows an attribute.
macro_rules! show {
    ($which:ident) => {
        |device: &Arc<Device>, out: &mut Page<'_>| {
            Ok(writeln!(out, "{}", device.attrib(DeviceAttrib::$which))?)
        }
    };
}

/// A function that sets an attribute to a number of a range.
macro_rules! store {
    ($which:ident, $min:literal ..= $max:literal) => {
        |device: &Arc<Device>, value: &[u8]| {
            set_attrib(device, DeviceAttrib::$which, value, $min, $max)
        }
    };
}

impl Dir for AttribDir {
    type Object = Device;
    const FILES: Files<Device> = files![
        Attr::ro(c"hw_block_size", show!(HwBlockSize)),
        Attr::rw(
            c"block_size",
            show!(BlockSize),
            store!(BlockSize, 512..=4096)
        ),
        Attr::ro(c"hw_max_sectors", show!(HwMaxSectors)),
        Attr::rw(
            c"optimal_sectors",
            show!(OptimalSectors),
            store!(OptimalSectors, 0..=16384),
        ),
        Attr::ro(c"hw_queue_depth", show!(HwQueueDepth)),
        Attr::ro(c"queue_depth", show!(QueueDepth)),
        Attr::ro(
            c"emulate_write_cache",
            |device: &Arc<Device>, out: &mut Page<'_>| {
                let reported =
                    device.attrib(DeviceAttrib::WriteCache) != 0 && !device.write_through();
                Ok(writeln!(out, "{}", u8::from(reported))?)
            }
        ),
        Attr::rw(
            c"write_through",
            show!(WriteThrough),
            store!(WriteThrough, 0..=1)
        ),
        Attr::rw(
            c"emulate_fua_write",
            show!(FuaWrite),
            store!(FuaWrite, 0..=1)
        ),
        Attr::rw(c"emulate_tpu", show!(Tpu), store!(Tpu, 0..=1)),
        Attr::rw(c"emulate_tpws", show!(Tpws), store!(Tpws, 0..=1)),
        Attr::rw(c"emulate_caw", show!(Caw), store!(Caw, 0..=1)),
        Attr::rw(
            c"emulate_3pc",
            show!(ThirdPartyCopy),
            store!(ThirdPartyCopy, 0..=1),
        ),
        Attr::rw(c"emulate_tas", show!(Tas), store!(Tas, 0..=1)),
        Attr::rw(
            c"emulate_ua_intlck_ctrl",
            show!(UaIntlck),
            store!(UaIntlck, 0..=2)
        ),
        Attr::rw(c"cgroup", show_cgroup, store_cgroup),
        Attr::rw(c"max_tasks", show!(MaxTasks), store!(MaxTasks, 0..=0xffff)),
        Attr::rw(c"thin_threshold", show_threshold, store_threshold),
        Attr::rw(c"emulate_rsoc", show!(Rsoc), store!(Rsoc, 0..=1)),
        Attr::rw(
            c"alua_support",
            show!(AluaSupport),
            store!(AluaSupport, 0..=1)
        ),
        Attr::rw(c"emulate_model_alias", show_model_alias, store_model_alias),
        Attr::rw(c"is_nonrot", show!(IsNonrot), store!(IsNonrot, 0..=1)),
        Attr::rw(
            c"max_unmap_lba_count",
            show!(MaxUnmapLbaCount),
            store!(MaxUnmapLbaCount, 0..=0xffff_ffff),
        ),
        Attr::rw(
            c"max_unmap_block_desc_count",
            show!(MaxUnmapBlockDescCount),
            store!(MaxUnmapBlockDescCount, 0..=256),
        ),
        Attr::rw(
            c"unmap_granularity",
            show!(UnmapGranularity),
            store!(UnmapGranularity, 0..=0xffff_ffff),
        ),
        Attr::rw(
            c"unmap_granularity_alignment",
            show!(UnmapGranularityAlignment),
            store!(UnmapGranularityAlignment, 0..=0x7fff_ffff),
        ),
        Attr::rw(
            c"unmap_zeroes_data",
            show!(UnmapZeroesData),
            store!(UnmapZeroesData, 0..=1),
        ),
        Attr::rw(
            c"max_write_same_len",
            show!(MaxWriteSameLen),
            store!(MaxWriteSameLen, 1..=0x40_0000),
        ),
    ];
}

fn show_pool(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let pool = device.pool();
    match pool.is_known() {
        true => Ok(writeln!(out, "{}/{}", pool.used(), pool.size())?),
        false => Ok(out.put(b"none\n")?),
    }
}

fn store_pool(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let new = Pool::parse(value.trim_ascii(), 0).ok_or(Refusal::invalid(
        "must be USED/SIZE in bytes, USED at most SIZE and SIZE not 0, or none",
    ))?;
    device.set_pool(|old| new.with_threshold(old.threshold()));
    Ok(())
}

/// The word for no cgroup.
const NO_CGROUP: &[u8] = b"none";

fn show_cgroup(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(device.cgroup_path(|path| match path {
        [] => show_if_set(out, NO_CGROUP),
        path => show_if_set(out, path),
    })?)
}

fn store_cgroup(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let value = value.trim_ascii();
    let path = match value {
        NO_CGROUP | b"/" => None,
        path => Some(check_path(path)?),
    };
    device.set_cgroup(path).explain(&[
        (ENODEV, "can be set once the device is enabled"),
        (ENOENT, "there is no such cgroup"),
        (
            cgroup::no_controller(),
            "the io controller is not enabled for the cgroup",
        ),
    ])
}

fn show_threshold(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(writeln!(out, "{}", device.pool().threshold())?)
}

fn store_threshold(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let percent = text::number(value, 0..=100)? as u8;
    device.set_pool(|old| old.with_threshold(percent));
    Ok(())
}

fn set_attrib(
    device: &Device,
    which: DeviceAttrib,
    value: &[u8],
    min: u32,
    max: u32,
) -> Result<(), Refusal> {
    let value = text::number(value, min..=max)?;
    // All but this one follow from the block device when it is opened.
    if which != DeviceAttrib::WriteThrough && !device.is_enabled() {
        return Err(Refusal::because(
            ENODEV,
            "can be set once the device is enabled",
        ));
    }
    device.set_attrib(which, value).explain(&[
        (EBUSY, "cannot change while the device is exported"),
        (EINVAL, "the block device cannot do that"),
    ])
}

/// What INQUIRY says of a device that has no name of its own.
const PRODUCT: &[u8] = b"disk";

/// The device's name as far as INQUIRY has room for it.
fn model_alias(device: &Device) -> &[u8] {
    let name = device.name();
    name.get(..16).unwrap_or(name)
}

fn show_model_alias(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let on = device.wwn(WwnField::ProductId, |product| {
        product == model_alias(device)
    });
    Ok(writeln!(out, "{}", u8::from(on))?)
}

/// LIO's way to make INQUIRY's product identification the device's name.
fn store_model_alias(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let on = text::flag(value)?;
    let alias = model_alias(device);
    let is_on = device.wwn(WwnField::ProductId, |product| product == alias);
    if on == is_on {
        return Ok(());
    }
    let product = if on {
        text::printable(alias, 1..=16)
            .map_err(|_| Refusal::invalid("the device's name is not printable ASCII"))?
    } else {
        PRODUCT
    };
    set_wwn(device, WwnField::ProductId, product)
}

/// `wwn`: who the device says it is.
struct WwnDir;

/// A function that shows an INQUIRY string.
macro_rules! show_wwn {
    ($which:ident) => {
        |device: &Arc<Device>, out: &mut Page<'_>| {
            device.wwn(WwnField::$which, |text| out.put(text))?;
            Ok(out.put(b"\n")?)
        }
    };
}

/// A function that sets an INQUIRY string of at most so many bytes.
macro_rules! store_wwn {
    ($which:ident, $max:literal) => {
        |device: &Arc<Device>, value: &[u8]| {
            let value = text::printable(value, 0..=$max)?;
            set_wwn(device, WwnField::$which, value)
        }
    };
}

impl Dir for WwnDir {
    type Object = Device;
    const FILES: Files<Device> = files![
        Attr::rw(c"vendor_id", show_wwn!(VendorId), store_wwn!(VendorId, 8)),
        Attr::rw(
            c"product_id",
            show_wwn!(ProductId),
            store_wwn!(ProductId, 16)
        ),
        Attr::rw(c"revision", show_wwn!(Revision), store_wwn!(Revision, 4)),
        Attr::rw(c"pd_text_id_info", show_text_id, store_text_id),
        Attr::rw(c"company_id", show_company_id, store_company_id),
        Attr::rw(c"naa_id", show_naa, store_naa),
        Attr::rw(c"eui64_id", show_eui64, store_eui64),
        Attr::rw(c"t10_id", show_t10, store_t10),
        Attr::rw(c"vpd_unit_serial", show_serial, store_wwn!(UnitSerial, 253)),
    ];
}

const EXPORTED: (Error, &str) = (EBUSY, "cannot change while the device is exported");

fn set_wwn(device: &Arc<Device>, field: WwnField, value: &[u8]) -> Result<(), Refusal> {
    device.set_wwn(field, value).explain(&[
        EXPORTED,
        no_reservations(),
        (errand::late(), "the file system of pr_dir does not answer"),
    ])
}

fn show_serial(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    out.put(b"T10 VPD Unit Serial Number: ")?;
    device.wwn(WwnField::UnitSerial, |serial| out.put(serial))?;
    Ok(out.put(b"\n")?)
}

fn show_text_id(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(device.text_id(|text| show_if_set(out, text))?)
}

/// Nothing cannot be written to a file of configfs, so `NULL` clears it.
fn store_text_id(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let value = match value.trim_ascii() {
        b"NULL" => b"",
        value => text::label(value, 0..=255)?,
    };
    Ok(device.set_text_id(value)?)
}

fn show_naa(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(writeln!(out, "{}", device.naa())?)
}

fn store_naa(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let naa = Naa::parse(value.trim_ascii()).ok_or_else(|| {
        Refusal::invalid(
            "must be auto, none, 16 hexadecimal digits beginning with 2, 3 or 5, or 32 \
             beginning with 6",
        )
    })?;
    device.set_naa(naa).explain(&[EXPORTED])
}

fn show_eui64(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(writeln!(out, "{}", device.eui64())?)
}

fn store_eui64(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let eui64 = Eui64::parse(value.trim_ascii())
        .ok_or_else(|| Refusal::invalid("must be none, or 16, 24 or 32 hexadecimal digits"))?;
    device.set_eui64(eui64).explain(&[EXPORTED])
}

fn show_t10(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    device.t10_id(|text| match text {
        [] => out.put(b"auto"),
        text => out.put(text),
    })?;
    Ok(out.put(b"\n")?)
}

fn store_t10(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let value = value.trim_ascii();
    let value = match T10::parse(value) {
        Some(T10::Made) => b"",
        Some(_) => value,
        None => {
            return Err(Refusal::invalid(
                "must be auto, 9 to 255 printable ASCII characters, or 0x and the hexadecimal \
                 digits of 9 to 255 bytes",
            ))
        }
    };
    device.set_t10_id(value).explain(&[EXPORTED])
}

fn show_company_id(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(writeln!(out, "{:#08x}", device.company_id())?)
}

fn store_company_id(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let id = text::number(value, 0..=0xff_ffff)?;
    device.set_company_id(id).explain(&[EXPORTED])
}
