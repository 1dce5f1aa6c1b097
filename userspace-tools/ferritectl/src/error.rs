// SPDX-License-Identifier: GPL-2.0

//! Errors: the value, the rule it breaks, and what to do next.

use std::io;
use std::path::PathBuf;

use crate::exit_code::ExitCode;

/// The result of everything that may fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of the command line or of a file breaks a rule.
    #[error("{what} {value:?} is not valid: {rule}")]
    Value {
        /// What kind of value, such as "portal".
        what: String,
        /// The value as given.
        value: String,
        /// The rule, as a sentence without its full stop.
        rule: String,
    },

    /// The command line asks for something that has no meaning.
    #[error("{0}")]
    Usage(String),

    /// The named object does not exist.
    #[error("{object} does not exist")]
    NotFound {
        /// The object, such as "target iqn.2026-01.org.example:a".
        object: String,
        /// What exists instead, or how to make it.
        hint: Option<String>,
    },

    /// The object to be created exists.
    #[error("{object} exists already")]
    Exists {
        /// The object.
        object: String,
        /// What to do instead.
        hint: Option<String>,
    },

    /// Others depend on the object.
    #[error("{object} is in use: {by}")]
    InUse {
        /// The object.
        object: String,
        /// Who uses it.
        by: String,
        /// How to go on nevertheless.
        hint: String,
    },

    /// The kernel refused an operation on configfs.
    #[error("the kernel refused to {action}: {source}")]
    Refused {
        /// What was tried, such as "set authentication of TPG 1 of … to \"2\"".
        action: String,
        /// The errno.
        source: io::Error,
        /// The lines which the kernel logged meanwhile.
        log: Vec<String>,
        /// What the administrator may do.
        hint: Option<String>,
    },

    /// The module, configfs or the permission is missing.
    #[error("{reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
        /// How to get it.
        hint: String,
    },

    /// A file outside configfs cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A configuration file breaks a rule.
    #[error("{}: {reason}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// Line, key and rule.
        reason: String,
    },

    /// A part was done; the parts which were not have been named already.
    #[error("{0}")]
    Partial(String),

    /// What was removed is, but the kernel has not done with the disks.
    #[error("I/O is still under way on {}, which may yet be written to", devices.join(", "))]
    StillWriting {
        /// The block devices.
        devices: Vec<String>,
    },

    /// The file and the kernel are not the same.
    #[error("{0}")]
    Differs(String),

    /// A signal arrived; what the command had made is removed again.
    #[error("interrupted; what this command had made is removed again")]
    Interrupted,

    /// What ended a command in the middle, and what it left.
    #[error("{error}; {state}")]
    Ended {
        /// What ended it.
        error: Box<Error>,
        /// What is as it was, or is not.
        state: String,
        /// Something is not as it was.
        half: bool,
    },

    /// Output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// A value that breaks a rule.
    pub fn value(
        what: impl Into<String>,
        value: impl Into<String>,
        rule: impl Into<String>,
    ) -> Self {
        Error::Value {
            what: what.into(),
            value: value.into(),
            rule: rule.into(),
        }
    }

    /// An object that does not exist.
    pub fn not_found(object: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint: String = hint.into();
        Error::NotFound {
            object: object.into(),
            hint: (!hint.is_empty()).then_some(hint),
        }
    }

    /// A file outside configfs that cannot be used.
    pub fn file(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::File {
            path: path.into(),
            source,
        }
    }

    /// The exit status that this error ends the program with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Value { .. } | Error::Usage(_) => ExitCode::Usage,
            Error::NotFound { .. } => ExitCode::NotFound,
            Error::Exists { .. } => ExitCode::Exists,
            Error::InUse { .. } => ExitCode::InUse,
            Error::Refused { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ExitCode::Unavailable
            }
            Error::Refused { .. }
            | Error::Interrupted
            | Error::StillWriting { .. }
            | Error::Output(_) => ExitCode::Failure,
            Error::Unavailable { .. } => ExitCode::Unavailable,
            Error::File { .. } | Error::BadFile { .. } => ExitCode::BadFile,
            Error::Partial(_) | Error::Ended { half: true, .. } => ExitCode::Partial,
            Error::Ended { error, .. } => error.exit_code(),
            Error::Differs(_) => ExitCode::Differs,
        }
    }

    /// What to do next, if there is something to say.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::NotFound { hint, .. }
            | Error::Exists { hint, .. }
            | Error::Refused { hint, .. } => hint.as_deref(),
            Error::InUse { hint, .. } | Error::Unavailable { hint, .. } => Some(hint),
            Error::StillWriting { .. } => Some(
                "it is removed; let no other host use the disk before it is gone from the file \
                 `closing` in configfs, or this host is fenced",
            ),
            Error::Ended { error, .. } => error.hint(),
            _ => None,
        }
    }

    /// What the kernel logged about it.
    pub fn kernel_log(&self) -> &[String] {
        match self {
            Error::Refused { log, .. } => log,
            Error::Ended { error, .. } => error.kernel_log(),
            _ => &[],
        }
    }
}

/// The text of an errno without the "(os error N)" that users cannot use.
pub fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}
