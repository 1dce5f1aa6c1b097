// SPDX-License-Identifier: GPL-2.0

//! `ferritectl backstore …`

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::BackstoreCommand;
use crate::cmd::find_backstore;
use crate::cmd::Clear;
use crate::cmd::Keys;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::delta;
use crate::delta::Delta;
use crate::delta::Object;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::info::DeviceInfo;
use crate::layout;
use crate::names;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::output;
use crate::state::Attributes;
use crate::state::Backstore;

/// A backstore as it is shown.
#[derive(Debug, Serialize)]
pub struct View {
    /// `iblock_<n>/NAME`
    pub backstore: BackstoreId,
    /// Its name alone.
    pub name: String,
    /// The device's path.
    pub path: String,
    /// The device is open.
    pub enabled: bool,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The serial number.
    pub serial: Option<String>,
    /// What the kernel says of the device.
    #[serde(flatten)]
    pub info: DeviceInfo,
    /// The LUNs that are backed by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub luns: Option<Vec<String>>,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: BackstoreCommand) -> Result<()> {
    match command {
        BackstoreCommand::Create {
            name,
            device,
            read_only,
            shared,
            serial,
            vendor,
            product,
            revision,
            set,
        } => {
            let mut wwn = BTreeMap::new();
            for (key, value, most) in [
                ("vpd_unit_serial", serial, 253),
                ("vendor_id", vendor, 8),
                ("product_id", product, 16),
                ("revision", revision, 4),
            ] {
                if let Some(value) = value {
                    check_identity(key, &value, most)?;
                    wwn.insert(key.to_string(), value);
                }
            }
            let backstore = Backstore {
                path: device,
                read_only,
                exclusive: !shared,
                enabled: true,
                alias: None,
                lba_map: None,
                wwn: Attributes(wwn),
                attributes: Attributes(set.into_iter().map(|a| (a.key, a.value)).collect()),
                target_port_groups: BTreeMap::new(),
                replaceable: false,
            };
            create(context, &name, backstore)
        }
        BackstoreCommand::Replace { name, path } => replace(context, &name, &path),
        BackstoreCommand::Delete { name, force } => delete(context, &name, force),
        BackstoreCommand::List => list(context),
        BackstoreCommand::Show { name } => show(context, &name),
        BackstoreCommand::Thin { name } => super::thin::run(context, &name),
        BackstoreCommand::Get { name, key } => keys(context, &name)?.get(context, &key),
        BackstoreCommand::Set { name, set } => keys(context, &name)?.set(context, &set),
    }
}

/// Checks what initiators are told of a disk (SPC-4 section 4.4.1).
pub fn check_identity(key: &str, value: &str, most: usize) -> Result<()> {
    let rule = if value.is_empty() {
        "it is empty".to_string()
    } else if value.len() > most {
        format!("it is longer than {most} characters")
    } else if !value.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        "printable ASCII characters are allowed".to_string()
    } else if value.trim() != value {
        "it begins or ends with a blank, which would be lost".to_string()
    } else {
        return Ok(());
    };
    Err(Error::value(key, value, rule))
}

fn create(context: &mut Context<'_, '_>, name: &str, mut backstore: Backstore) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let id = if name.contains('/') {
        BackstoreId::parse(name)?
    } else {
        names::check_backstore_name(name)?;
        let ids = configfs.backstore_ids()?;
        if let Some(id) = ids.iter().find(|id| id.name == name) {
            return Err(Error::Exists {
                object: format!("backstore {id}"),
                hint: Some("choose another name".into()),
            });
        }
        BackstoreId {
            hba: free_hba(&configfs)?,
            name: name.to_string(),
        }
    };
    if backstore.serial().is_none() {
        backstore
            .wwn
            .0
            .insert("vpd_unit_serial".into(), uuid::Uuid::new_v4().to_string());
    }
    super::reservation::make_dir(context)?;
    let mut delta = delta::create_backstore(&id, &backstore);
    // On the command line every attribute is meant.
    delta.require_all();
    match context.change(&[delta]) {
        Err(error) if is_busy(&error) => Err(held_by(context, &id, &backstore.path, error)),
        result => result,
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(
        error,
        Error::Refused { source, .. } if source.kind() == std::io::ErrorKind::ResourceBusy
    )
}

/// Names the backstore that holds a device, if it is one of ours.
fn held_by(context: &Context<'_, '_>, id: &BackstoreId, path: &str, error: Error) -> Error {
    let configfs = context.configfs();
    for other in configfs.backstore_ids().unwrap_or_default() {
        let held = configfs.device_info(&other).unwrap_or_default().udev_path;
        if other != *id && held.as_deref() == Some(path) {
            return Error::InUse {
                object: path.to_string(),
                by: format!("backstore {other} has it open"),
                hint: "make LUNs of that one".into(),
            };
        }
    }
    error
}

/// The lowest number without a directory: other tools expect one device in each.
pub fn free_hba(configfs: &Configfs<'_>) -> Result<u32> {
    let used = configfs.hba_numbers()?;
    Ok((0..).find(|number| !used.contains(number)).unwrap_or(0))
}

fn delete(context: &mut Context<'_, '_>, name: &str, force: bool) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let id = find_backstore(&configfs, name)?;
    let luns = luns_of(&configfs, &id)?;
    if !luns.is_empty() && !force {
        return Err(Error::InUse {
            object: format!("backstore {id}"),
            by: luns
                .iter()
                .map(|(target, tag, lun)| format!("LUN {lun} of TPG {tag} of {target}"))
                .collect::<Vec<_>>()
                .join(", "),
            hint: "delete these with `ferritectl lun delete`, or all at once with --force".into(),
        });
    }
    let mut deltas: Vec<Delta> = Vec::new();
    for (target, tag, lun) in &luns {
        deltas.extend(super::lun::removal(&configfs, target, *tag, *lun)?);
    }
    deltas.push(delta::remove_backstore(&id, &configfs.group_names(&id)?));
    context.change(&deltas)
}

/// Puts another device in the place of a backstore's, while it is in use.
fn replace(context: &mut Context<'_, '_>, name: &str, path: &str) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let id = find_backstore(&configfs, name)?;
    let backstore = configfs.backstore(&id)?;
    if !backstore.replaceable {
        return Err(Error::Usage(
            "this kernel module cannot replace a device that is in use".into(),
        ));
    }
    match context.change(&[delta::replace_device(&id, &backstore.path, path)]) {
        Err(error) if is_busy(&error) => Err(held_by(context, &id, path, error)),
        result => result,
    }
}

/// The LUNs that are backed by a backstore.
fn luns_of(configfs: &Configfs<'_>, id: &BackstoreId) -> Result<Vec<(Name, u16, u64)>> {
    let wanted = id.to_string();
    let mut luns = Vec::new();
    for target in configfs.target_names()? {
        for tag in configfs.tags(&target)? {
            for number in configfs.lun_numbers(&target, tag)? {
                let backstore = configfs.lun_backstore(&target, tag, number);
                if backstore.as_ref() == Some(&wanted) {
                    luns.push((target.clone(), tag, number));
                }
            }
        }
    }
    Ok(luns)
}

/// A backstore as it is shown.
pub fn view(context: &Context<'_, '_>, id: &BackstoreId) -> Result<View> {
    let configfs = context.configfs();
    let dir = layout::backstore(id);
    let info = configfs.device_info(id)?;
    let path = configfs
        .value(&dir.join("udev_path"))?
        .filter(|path| !path.is_empty())
        .or_else(|| info.udev_path.clone())
        .unwrap_or_default();
    let serial = dir.join("wwn/vpd_unit_serial");
    let serial = configfs
        .value(&serial)?
        .map(|text| crate::configfs::shown(&serial, &text))
        .filter(|serial| !serial.is_empty());
    Ok(View {
        backstore: id.clone(),
        name: id.name.clone(),
        path,
        enabled: configfs.value(&dir.join("enable"))?.as_deref() == Some("1"),
        size: info
            .major_minor
            .and_then(|(major, minor)| files::device_size(&context.env.sys, major, minor)),
        serial,
        info,
        luns: None,
    })
}

impl View {
    /// `rw`, `ro`, `shared`, `not enabled`.
    pub fn mode(&self) -> String {
        let mut words = vec![if self.info.read_only { "ro" } else { "rw" }];
        if !self.info.exclusive {
            words.push("shared");
        }
        if !self.enabled {
            words.push("not enabled");
        }
        words.join(", ")
    }

    /// The size for people.
    pub fn size_text(&self) -> String {
        self.size.map(output::size).unwrap_or_default()
    }
}

fn list(context: &mut Context<'_, '_>) -> Result<()> {
    let ids = context.configfs().backstore_ids()?;
    let mut views = Vec::new();
    for id in &ids {
        views.push(view(context, id)?);
    }
    let header = ["BACKSTORE", "DEVICE", "SIZE", "MODE", "EXPORTED"];
    context.list(&views, &header, None, |view| {
        vec![
            view.backstore.to_string(),
            view.path.clone(),
            view.size_text(),
            view.mode(),
            if view.info.exported { "yes" } else { "no" }.to_string(),
        ]
    })
}

fn show(context: &mut Context<'_, '_>, name: &str) -> Result<()> {
    let configfs = context.configfs();
    let id = find_backstore(&configfs, name)?;
    let mut view = view(context, &id)?;
    let luns = luns_of(&configfs, &id)?;
    view.luns = Some(
        luns.iter()
            .map(|(target, tag, lun)| format!("LUN {lun} of TPG {tag} of {target}"))
            .collect(),
    );
    let dir = layout::backstore(&id);
    let wwn = configfs.readings(&dir.join("wwn"))?;
    let attributes = configfs.readings(&dir.join("attrib"))?;
    if context.mode.json {
        return context.json(&serde_json::json!({
            "backstore": view, "wwn": wwn, "attributes": attributes,
        }));
    }
    context.say(&format!("backstore {id}"))?;
    let mut rows = vec![
        ("device", view.path.clone()),
        ("size", view.size_text()),
        ("mode", view.mode()),
        (
            "exported as",
            view.luns.clone().unwrap_or_default().join(", "),
        ),
    ];
    if let Some(block_size) = view.info.block_size {
        rows.push(("block size", format!("{block_size} B")));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| vec![format!("  {key}"), value])
        .collect();
    context.print(&plain_rows(context.env.style, &rows))?;
    section(context, "wwn", &wwn)?;
    section(context, "attributes", &attributes)
}

/// Rows without a header.
fn plain_rows(style: output::Style, rows: &[Vec<String>]) -> String {
    let text = output::table(style, &["", ""], rows);
    text.split_once('\n')
        .map_or(String::new(), |(_, rows)| rows.to_string())
}

/// Prints attributes under a title.
pub fn section(context: &mut Context<'_, '_>, title: &str, attributes: &Attributes) -> Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    context.say(&format!("{title}:"))?;
    for (name, value) in &attributes.0 {
        // Some attributes have several lines.
        let value = value.replace('\n', "\n    ");
        context.say(&format!("  {name}={value}"))?;
    }
    Ok(())
}

fn keys(context: &mut Context<'_, '_>, name: &str) -> Result<Keys> {
    let id = find_backstore(&context.configfs(), name)?;
    let dir = layout::backstore(&id);
    Ok(Keys {
        object: Object::Backstore(id),
        dirs: vec![dir.join("attrib"), dir.join("wwn")],
        files: vec![
            (dir.join("alias"), Clear::Empty),
            (dir.join("thin_pool"), Clear::Empty),
            (dir.join("lba_map"), Clear::Null),
        ],
    })
}
