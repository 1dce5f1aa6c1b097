// SPDX-License-Identifier: GPL-2.0

//! CHAP names and secrets of a portal group, an initiator or discovery.

use crate::sys::{
    lock::{
        new_spinlock_bh,
        SpinLockBh, //
    },
    misc, //
};
use kernel::prelude::*;

/// The longest name or secret, in bytes.
pub(crate) const MAX_LEN: usize = 255;

/// A part of a pair of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialField {
    /// The name the initiator answers with.
    Userid,
    /// The secret the initiator proves.
    Password,
    /// The name we answer a mutual challenge with.
    UseridMutual,
    /// The secret we prove.
    PasswordMutual,
}

/// Bytes that are wiped when they go.
struct Secret {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl Secret {
    const EMPTY: Secret = Secret {
        bytes: [0; MAX_LEN],
        len: 0,
    };

    fn get(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    fn clear(&mut self) {
        misc::wipe(&mut self.bytes);
        self.len = 0;
    }

    fn set(&mut self, value: &[u8]) -> Result {
        let len = u8::try_from(value.len()).map_err(|_| EINVAL)?;
        self.clear();
        self.bytes
            .get_mut(..value.len())
            .ok_or(EINVAL)?
            .copy_from_slice(value);
        self.len = len;
        Ok(())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Protected by the lock in [`Credentials`].
struct Fields {
    userid: Secret,
    password: Secret,
    userid_mutual: Secret,
    password_mutual: Secret,
}

impl Fields {
    fn of(&self, field: CredentialField) -> &Secret {
        match field {
            CredentialField::Userid => &self.userid,
            CredentialField::Password => &self.password,
            CredentialField::UseridMutual => &self.userid_mutual,
            CredentialField::PasswordMutual => &self.password_mutual,
        }
    }

    fn of_mut(&mut self, field: CredentialField) -> &mut Secret {
        match field {
            CredentialField::Userid => &mut self.userid,
            CredentialField::Password => &mut self.password,
            CredentialField::UseridMutual => &mut self.userid_mutual,
            CredentialField::PasswordMutual => &mut self.password_mutual,
        }
    }
}

/// One-way and mutual CHAP credentials; all unset at first.
#[pin_data]
pub(crate) struct Credentials {
    #[pin]
    fields: SpinLockBh<KBox<Fields>>,
}

impl Credentials {
    /// Credentials with nothing set.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            fields <- new_spinlock_bh!(
                KBox::new(
                    Fields {
                        userid: Secret::EMPTY,
                        password: Secret::EMPTY,
                        userid_mutual: Secret::EMPTY,
                        password_mutual: Secret::EMPTY,
                    },
                    GFP_KERNEL,
                )?,
                "ferrite_credentials"
            ),
        })
    }

    /// Sets a field to 1..=255 bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it is longer.
    pub(crate) fn set(&self, field: CredentialField, value: &[u8]) -> Result {
        self.fields.lock().of_mut(field).set(value)
    }

    /// Forgets a field.
    pub(crate) fn clear(&self, field: CredentialField) {
        self.fields.lock().of_mut(field).clear();
    }

    /// Whether a field has a value.
    pub(crate) fn is_set(&self, field: CredentialField) -> bool {
        self.fields.lock().of(field).len != 0
    }

    /// Looks at a field; empty when unset. `look` must not sleep.
    pub(crate) fn with<R>(&self, field: CredentialField, look: impl FnOnce(&[u8]) -> R) -> R {
        look(self.fields.lock().of(field).get())
    }

    /// Whether both the name and the secret of the initiator are set.
    pub(crate) fn has_one_way(&self) -> bool {
        self.is_set(CredentialField::Userid) && self.is_set(CredentialField::Password)
    }

    /// Whether both our own name and secret are set.
    pub(crate) fn has_mutual(&self) -> bool {
        self.is_set(CredentialField::UseridMutual) && self.is_set(CredentialField::PasswordMutual)
    }
}
