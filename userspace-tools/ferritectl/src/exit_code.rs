// SPDX-License-Identifier: GPL-2.0

//! What the exit status says.

/// The exit status of `ferritectl`. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitCode {
    /// Everything asked for is so.
    Success = 0,
    /// The kernel or the system refused.
    Failure = 1,
    /// The command line, a name or a value breaks a rule.
    Usage = 2,
    /// What the command names does not exist.
    NotFound = 3,
    /// What the command should create exists already.
    Exists = 4,
    /// Something depends on it, or the answer must be given with `--force` or `--yes`.
    InUse = 5,
    /// A part was done; the messages name each object that was not.
    Partial = 6,
    /// The module is not loaded, configfs is not mounted, or the user may not use them.
    Unavailable = 7,
    /// A file cannot be read, or an entry in it breaks a rule; nothing was applied.
    BadFile = 8,
    /// What `diff` compares is not the same.
    Differs = 9,
}

impl ExitCode {
    /// Every code, in the order of the numbers.
    pub const ALL: [ExitCode; 10] = [
        ExitCode::Success,
        ExitCode::Failure,
        ExitCode::Usage,
        ExitCode::NotFound,
        ExitCode::Exists,
        ExitCode::InUse,
        ExitCode::Partial,
        ExitCode::Unavailable,
        ExitCode::BadFile,
        ExitCode::Differs,
    ];

    /// The number given to the shell.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// One line for `--help` and the manual page.
    pub fn meaning(self) -> &'static str {
        match self {
            ExitCode::Success => "everything asked for is so",
            ExitCode::Failure => "the kernel or the system refused; nothing was left half-made",
            ExitCode::Usage => "the command line, a name or a value breaks a rule",
            ExitCode::NotFound => "what the command names does not exist",
            ExitCode::Exists => "what the command should create exists already",
            ExitCode::InUse => "something depends on it, or --force or --yes is needed",
            ExitCode::Partial => "a part was done; the messages name each object that was not",
            ExitCode::Unavailable => "no module, no configfs, or no permission",
            ExitCode::BadFile => "a file is unreadable or breaks a rule; nothing was applied",
            ExitCode::Differs => "what diff compares is not the same",
        }
    }

    /// The table for `--help`.
    pub fn table() -> String {
        let mut text = String::from("Exit status:\n");
        for code in Self::ALL {
            text.push_str(&format!("  {}  {}\n", code.code(), code.meaning()));
        }
        text
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code.code())
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    #[test]
    fn numbers_are_an_interface() {
        let codes: Vec<u8> = ExitCode::ALL.iter().map(|c| c.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(ExitCode::table().lines().all(|l| l.len() <= 80));
    }
}
