// SPDX-License-Identifier: GPL-2.0

//! Directories with CHAP names and secrets.
//!
//! Both are for `CAP_SYS_ADMIN` alone. A secret can be written and cleared,
//! never read: its file reads as an empty line.

use super::text;
use crate::{
    proto::chap::Algorithms,
    sys::configfs::{
        Page,
        Refusal, //
    },
    target::{
        Acl,
        CredentialField,
        Credentials,
        DiscoveryAuth,
        Tpg, //
    }, //
};
use core::fmt::Write;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// What has CHAP names and secrets.
pub(super) trait HasCredentials: Send + Sync + 'static {
    /// Them.
    fn credentials(&self) -> &Credentials;
}

impl HasCredentials for Tpg {
    fn credentials(&self) -> &Credentials {
        self.credentials()
    }
}

impl HasCredentials for Acl {
    fn credentials(&self) -> &Credentials {
        self.credentials()
    }
}

impl HasCredentials for DiscoveryAuth {
    fn credentials(&self) -> &Credentials {
        self.credentials()
    }
}

/// The files of a directory with credentials of a `$T`, and more.
macro_rules! auth_files {
    ($T:ty $(, $($more:tt)+)?) => {
        $crate::sys::configfs::files![
            Attr::private(
                c"userid",
                $crate::config::auth::show!($T, Userid),
                $crate::config::auth::store!($T, Userid)
            ),
            Attr::private(
                c"password",
                $crate::config::auth::show_nothing::<$T>,
                $crate::config::auth::store!($T, Password)
            ),
            Attr::ro(c"password_set", $crate::config::auth::show_set!($T, Password)),
            Attr::private(
                c"userid_mutual",
                $crate::config::auth::show!($T, UseridMutual),
                $crate::config::auth::store!($T, UseridMutual)
            ),
            Attr::private(
                c"password_mutual",
                $crate::config::auth::show_nothing::<$T>,
                $crate::config::auth::store!($T, PasswordMutual)
            ),
            Attr::ro(
                c"password_mutual_set",
                $crate::config::auth::show_set!($T, PasswordMutual)
            ),
            Attr::ro(
                c"authenticate_target",
                $crate::config::auth::show_mutual::<$T>
            ),
            $($($more)+)?
        ]
    };
}

macro_rules! show {
    ($T:ty, $field:ident) => {
        |this: &Arc<$T>, out: &mut Page<'_>| {
            $crate::config::auth::show_field(this, $crate::target::CredentialField::$field, out)
        }
    };
}

macro_rules! show_set {
    ($T:ty, $field:ident) => {
        |this: &Arc<$T>, out: &mut Page<'_>| {
            $crate::config::auth::show_is_set(this, $crate::target::CredentialField::$field, out)
        }
    };
}

macro_rules! store {
    ($T:ty, $field:ident) => {
        |this: &Arc<$T>, value: &[u8]| {
            $crate::config::auth::store_field(this, $crate::target::CredentialField::$field, value)
        }
    };
}

pub(super) use {
    auth_files,
    show,
    show_set,
    store, //
};

/// Shows a name.
pub(super) fn show_field<T: HasCredentials>(
    this: &Arc<T>,
    field: CredentialField,
    out: &mut Page<'_>,
) -> Result<(), Refusal> {
    this.credentials().with(field, |value| out.put(value))?;
    Ok(out.put(b"\n")?)
}

/// Shows whether a field is set.
pub(super) fn show_is_set<T: HasCredentials>(
    this: &Arc<T>,
    field: CredentialField,
    out: &mut Page<'_>,
) -> Result<(), Refusal> {
    Ok(writeln!(
        out,
        "{}",
        u8::from(this.credentials().is_set(field))
    )?)
}

/// Shows a secret: not at all.
pub(super) fn show_nothing<T: HasCredentials>(
    _: &Arc<T>,
    out: &mut Page<'_>,
) -> Result<(), Refusal> {
    Ok(out.put(b"\n")?)
}

/// Shows whether the target can authenticate itself to the initiator.
pub(super) fn show_mutual<T: HasCredentials>(
    this: &Arc<T>,
    out: &mut Page<'_>,
) -> Result<(), Refusal> {
    Ok(writeln!(
        out,
        "{}",
        u8::from(this.credentials().has_mutual())
    )?)
}

/// Sets a field, or clears it.
pub(super) fn store_field<T: HasCredentials>(
    this: &Arc<T>,
    field: CredentialField,
    value: &[u8],
) -> Result<(), Refusal> {
    if value == b"NULL" {
        this.credentials().clear(field);
        return Ok(());
    }
    let value = text::label(value, 1..=255)?;
    Ok(this.credentials().set(field, value)?)
}

/// Reads a list of CHAP algorithms.
pub(super) fn algorithms(value: &[u8]) -> Result<Algorithms, Refusal> {
    Algorithms::parse(text::utf8(value.trim_ascii())?).map_err(|e| Refusal::breaks(&e))
}
