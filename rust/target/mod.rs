// SPDX-License-Identifier: GPL-2.0

//! The running objects: what configuration makes, and sessions use.

mod acl;
mod alua;
pub(crate) mod caps;
mod copies;
mod credentials;
mod device;
mod lun;
mod order;
mod persist;
mod ranges;
mod referrals;
mod tokens;
mod tpg;
mod traffic;

pub(crate) use acl::{
    Acl,
    AclAttrib,
    AclName,
    DEFAULT_DATAOUT_PATIENCE, //
};
pub(crate) use alua::{
    Arrival,
    Place,
    Settings as GroupSettings,
    TargetPortGroup,
    MAX_NONOP_DELAY_MS,
    MAX_TRANS_DELAY_MS, //
};
pub(crate) use caps::Caps;
pub(crate) use copies::{
    Copying,
    Job,
    NoCopy,
    Noted,
    Part as CopyPart, //
};
pub(crate) use credentials::{
    CredentialField,
    Credentials, //
};
pub(crate) use device::{
    Device,
    DeviceAttrib,
    Unfit,
    WwnField,
    MAX_TRANSFER, //
};
pub(crate) use lun::{
    Lun,
    MappedLun,
    Nexus, //
};
pub(crate) use persist::{
    PrDir,
    Unchanged,
    MAX_DIR, //
};
pub(crate) use ranges::{
    NoRange,
    Pass,
    Used, //
};
pub(crate) use referrals::NoMap;
pub(crate) use tpg::{
    Gate,
    Target,
    Tpg,
    TpgAttrib,
    View,
    WhichSessions, //
};

pub(crate) use traffic::Kind;

use crate::{
    portal::Doors,
    proto::{
        chap::Algorithms,
        name::IscsiName, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// How discovery sessions authenticate.
#[pin_data]
pub(crate) struct DiscoveryAuth {
    #[pin]
    credentials: Credentials,
    enforce: Atomic<i32>,
    #[pin]
    algorithms: Mutex<Algorithms>,
}

impl DiscoveryAuth {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                credentials <- Credentials::new(),
                enforce: Atomic::new(0),
                algorithms <- new_mutex!(Algorithms::default(), "ferrite_discovery"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// The credentials.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether discovery sessions must authenticate.
    pub(crate) fn enforce(&self) -> bool {
        self.enforce.load(Relaxed) != 0
    }

    /// Says whether discovery sessions must authenticate.
    ///
    /// # Errors
    ///
    /// None now.
    pub(crate) fn set_enforce(&self, on: bool) -> Result {
        self.enforce.store(i32::from(on), Relaxed);
        Ok(())
    }

    /// The CHAP algorithms allowed, the best first.
    pub(crate) fn algorithms(&self) -> Algorithms {
        *self.algorithms.lock()
    }

    /// Sets the CHAP algorithms allowed.
    ///
    /// # Errors
    ///
    /// None now.
    pub(crate) fn set_algorithms(&self, list: Algorithms) -> Result {
        *self.algorithms.lock() = list;
        Ok(())
    }
}

/// All that is configured. One for the module.
#[pin_data]
pub(crate) struct Targets {
    discovery: Arc<DiscoveryAuth>,
    pr_dir: Arc<PrDir>,
    /// The listening sockets.
    #[pin]
    pub(crate) doors: Doors,
    #[pin]
    inner: Mutex<Inner>,
}

/// Protected by the mutex in [`Targets`].
struct Inner {
    devices: KVec<Arc<Device>>,
    targets: KVec<Arc<Target>>,
    /// Relative target port identifiers in use.
    rtpis: KVec<u16>,
    last_tsih: u16,
}

impl Targets {
    /// Nothing configured yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                discovery: DiscoveryAuth::new()?,
                pr_dir: PrDir::new()?,
                doors <- Doors::new(),
                inner <- new_mutex!(
                    Inner {
                        devices: KVec::new(),
                        targets: KVec::new(),
                        rtpis: KVec::new(),
                        last_tsih: 0,
                    },
                    "ferrite_targets"
                ),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Makes a device, not enabled.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`.
    pub(crate) fn create_device(self: &Arc<Self>, hba: u32, name: &[u8]) -> Result<Arc<Device>> {
        let device = Device::new(hba, name, self.pr_dir.clone())?;
        let mut inner = self.inner.lock();
        if inner.devices.iter().any(|d| d.is_named(hba, name)) {
            return Err(EEXIST);
        }
        inner.devices.push(device.clone(), GFP_KERNEL)?;
        Ok(device)
    }

    /// Removes a device that no LUN uses. The block device is given back before
    /// this returns, unless I/O on it hangs: then it is when that ends.
    pub(crate) fn remove_device(&self, device: &Arc<Device>) {
        self.inner
            .lock()
            .devices
            .retain(|d| !Arc::ptr_eq(d, device));
        device.close();
    }

    /// Calls `each` with every device.
    pub(crate) fn for_each_device(&self, each: &mut dyn FnMut(&Arc<Device>)) {
        for device in self.inner.lock().devices.iter() {
            each(device);
        }
    }

    /// Whether any device is configured.
    pub(crate) fn has_devices(&self) -> bool {
        !self.inner.lock().devices.is_empty()
    }

    /// Makes a target without portal groups.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`.
    pub(crate) fn create_target(self: &Arc<Self>, name: IscsiName) -> Result<Arc<Target>> {
        let target = Target::new(name, self.clone())?;
        let mut inner = self.inner.lock();
        if inner.targets.iter().any(|t| *t.name() == name) {
            return Err(EEXIST);
        }
        inner.targets.push(target.clone(), GFP_KERNEL)?;
        Ok(target)
    }

    /// Removes a target; its sessions end.
    pub(crate) fn remove_target(&self, target: &Arc<Target>) {
        self.inner
            .lock()
            .targets
            .retain(|t| !Arc::ptr_eq(t, target));
        target.shut();
    }

    /// The target of that name.
    pub(crate) fn find_target(&self, name: &IscsiName) -> Option<Arc<Target>> {
        self.inner
            .lock()
            .targets
            .iter()
            .find(|t| t.name() == name)
            .cloned()
    }

    /// The first target whose number is `id` or more: so that a long list can
    /// be walked without holding the lock, while targets come and go.
    pub(crate) fn target_after(&self, id: u64) -> Option<Arc<Target>> {
        self.inner
            .lock()
            .targets
            .iter()
            .find(|t| t.id() >= id)
            .cloned()
    }

    /// Where reservations that survive a loss of power are written down.
    pub(crate) fn pr_dir(&self) -> &PrDir {
        &self.pr_dir
    }

    /// How discovery sessions authenticate.
    pub(crate) fn discovery(&self) -> &Arc<DiscoveryAuth> {
        &self.discovery
    }

    /// Takes a relative target port identifier: `wanted`, or the lowest free.
    fn take_rtpi(&self, wanted: Option<u16>) -> Result<u16> {
        let mut inner = self.inner.lock();
        let value = match wanted {
            Some(0) => return Err(EINVAL),
            Some(value) if inner.rtpis.contains(&value) => return Err(EEXIST),
            Some(value) => value,
            None => (1..=u16::MAX)
                .find(|v| !inner.rtpis.contains(v))
                .ok_or(ENOSPC)?,
        };
        inner.rtpis.push(value, GFP_KERNEL)?;
        Ok(value)
    }

    fn give_rtpi(&self, value: u16) {
        self.inner.lock().rtpis.retain(|v| *v != value);
    }

    /// The next TSIH for which `free` says yes; never 0 (RFC 7143 11.12.6).
    pub(crate) fn next_tsih(&self, free: impl Fn(u16) -> bool) -> Option<u16> {
        // Each number is looked at by one login, or two that come at once could take the same.
        let next = || {
            let mut inner = self.inner.lock();
            inner.last_tsih = inner.last_tsih.wrapping_add(1).max(1);
            inner.last_tsih
        };
        (1..=u16::MAX).map(|_| next()).find(|tsih| free(*tsih))
    }
}
