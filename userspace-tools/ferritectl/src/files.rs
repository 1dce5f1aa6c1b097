// SPDX-License-Identifier: GPL-2.0

//! Files outside configfs: saved configurations, secrets, and sizes of devices.

use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::error::Result;
use crate::place;
use crate::secret::Secret;
use crate::state::Configuration;
use crate::state::SavedConfiguration;
use crate::state::FORMAT_VERSION;

/// Where a configuration is saved unless the command names a file.
pub const DEFAULT_FILE: &str = "/etc/ferrite/config.json";

/// A saved configuration is refused if it is greater than this.
const MAX_FILE: u64 = 64 << 20;

/// A configuration as the text of a file.
pub fn to_text(configuration: &Configuration) -> Zeroizing<String> {
    let saved = SavedConfiguration {
        format_version: FORMAT_VERSION,
        configuration: configuration.clone(),
    };
    // Plain data with string keys: there is nothing that JSON cannot hold.
    let mut text = serde_json::to_string_pretty(&saved).unwrap_or_default();
    text.push('\n');
    Zeroizing::new(text)
}

/// Reads JSON; what is wrong with it is told with the key and the line.
pub fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let inner = error.inner();
        with_key(error.path(), || {
            // It says where it was found, unless it was found by a rule of ours.
            match place::line_of_path(text, true, error.path()) {
                Some(line) if inner.line() == 0 => format!("line {line}: {inner}"),
                _ => inner.to_string(),
            }
        })
    })?;
    json.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Puts the key before what is wrong with it.
pub fn with_key(path: &serde_path_to_error::Path, reason: impl FnOnce() -> String) -> String {
    match path.to_string().as_str() {
        "." | "" => reason(),
        key => format!("{key}: {}", reason()),
    }
}

/// Reads a configuration out of the text of a file.
pub fn from_text(path: &Path, text: &str) -> Result<Configuration> {
    let bad = |reason: String| Error::BadFile {
        path: path.to_path_buf(),
        reason,
    };
    let saved: SavedConfiguration = from_json(text).map_err(bad)?;
    if saved.format_version != FORMAT_VERSION {
        return Err(bad(format!(
            "format_version is {}, this program knows {FORMAT_VERSION}",
            saved.format_version
        )));
    }
    saved.configuration.check().map_err(bad)?;
    Ok(saved.configuration)
}

/// The text of a file, and whether others may read it.
fn read(path: &Path) -> Result<(Zeroizing<String>, bool)> {
    let fail = |error| Error::file(path, error);
    if path == Path::new("-") {
        let mut text = Zeroizing::new(String::new());
        io::stdin().read_to_string(&mut text).map_err(fail)?;
        return Ok((text, false));
    }
    let file = fs::File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if text.len() as u64 == MAX_FILE {
        return Err(Error::BadFile {
            path: path.to_path_buf(),
            reason: "it is greater than 64 MiB".into(),
        });
    }
    let open = metadata.is_file() && metadata.permissions().mode() & 0o077 != 0;
    Ok((text, open))
}

/// Reads a file that a person wrote; `-` is the standard input.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>> {
    Ok(read(path)?.0)
}

/// Reads a saved configuration; `-` is the standard input. The answer's second part says
/// that others may read the file although it holds secrets.
pub fn load(path: &Path) -> Result<(Configuration, bool)> {
    let (text, open) = read(path)?;
    let configuration = from_text(path, &text)?;
    let exposed = open && has_secrets(&configuration);
    Ok((configuration, exposed))
}

fn has_secrets(configuration: &Configuration) -> bool {
    let has =
        |auth: &crate::state::Auth| auth.initiator.secret.is_some() || auth.target.secret.is_some();
    has(&configuration.discovery_auth.auth)
        || configuration.targets.values().any(|target| {
            target
                .tpgs
                .values()
                .any(|tpg| has(&tpg.auth) || tpg.acls.values().any(|acl| has(&acl.auth)))
        })
}

/// Replaces a file by new text, readable by its owner alone. Whoever reads it meanwhile,
/// or after a crash, finds the old text or the new one.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    replace_by(path, text, 0o600)
}

/// The same, readable by everybody.
pub fn publish(path: &Path, text: &str) -> Result<()> {
    replace_by(path, text, 0o644)
}

fn replace_by(path: &Path, text: &str, mode: u32) -> Result<()> {
    let fail = |error: io::Error| Error::file(path, error);
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    if path == Path::new(DEFAULT_FILE) {
        fs::create_dir_all(dir).map_err(fail)?;
    }
    if path.is_dir() {
        return Err(fail(io::Error::other("it is a directory")));
    }
    // A link stays a link: what it leads to is replaced.
    let real = match resolved(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
        Err(error) => return Err(fail(error)),
    };
    let dir = match real.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => dir.to_path_buf(),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".ferrite-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(&dir)
        .map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(&real).map_err(|error| fail(error.error))?;
    fs::File::open(&dir)
        .and_then(|dir| dir.sync_all())
        .map_err(fail)
}

/// Where a path leads. A link that somebody else has laid in a directory like `/tmp` leads
/// nowhere, as for the kernel with `fs.protected_symlinks`: root would replace what they like.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    const STICKY_AND_OPEN: u32 = 0o1002;
    let link = fs::symlink_metadata(path)?;
    if link.file_type().is_symlink() {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let dir = fs::metadata(dir)?;
        let open = dir.permissions().mode() & STICKY_AND_OPEN == STICKY_AND_OPEN;
        let ours = link.uid() == rustix::process::geteuid().as_raw() || link.uid() == dir.uid();
        if open && !ours {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "it is a link of user {}, in a directory that everybody may write to",
                    link.uid()
                ),
            ));
        }
    }
    fs::canonicalize(path)
}

/// How many earlier versions of a saved configuration are kept.
pub const KEPT: u32 = 10;

/// Keeps what a file has now as `FILE.1`, what that had as `FILE.2` and so on, up to
/// [`KEPT`]. Nothing is done if there is no such file, if it has this text already, or
/// if `FILE.1` has what it has. The file itself stays as it is.
pub fn keep_old(path: &Path, text: &str) -> Result<()> {
    let real = match resolved(path) {
        Ok(real) if real.is_file() => real,
        _ => return Ok(()),
    };
    let has = |path: &Path, text: &[u8]| {
        fs::read(path).is_ok_and(|bytes| Zeroizing::new(bytes).as_slice() == text)
    };
    if has(&real, text.as_bytes()) {
        return Ok(());
    }
    let numbered = |number: u32| {
        let mut name = real.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    // It was kept, and then could not be replaced: the earlier ones shall not be
    // pushed out by as many of the same.
    let now = Zeroizing::new(fs::read(&real).map_err(|error| Error::file(&real, error))?);
    if has(&numbered(1), &now) {
        return Ok(());
    }
    for number in (1..KEPT).rev() {
        let from = numbered(number);
        match fs::rename(&from, numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file(&from, error));
            }
            _ => {}
        }
    }
    let newest = numbered(1);
    fs::hard_link(&real, &newest)
        .or_else(|_| fs::copy(&real, &newest).map(drop))
        .map_err(|error| Error::file(&newest, error))
}

/// Reads a secret: the first line of a file that nobody else may read.
pub fn read_secret(path: &Path) -> Result<Secret> {
    let fail = |error| Error::file(path, error);
    let file = fs::File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let mode = metadata.permissions().mode();
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(Error::BadFile {
            path: path.to_path_buf(),
            reason: format!(
                "others may read this secret (mode {:03o}); `chmod 600` it",
                mode & 0o777
            ),
        });
    }
    let owner = metadata.uid();
    if metadata.is_file() && owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(Error::BadFile {
            path: path.to_path_buf(),
            reason: format!("it belongs to user {owner}, not to root or to you"),
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(4096).read_to_string(&mut text).map_err(fail)?;
    Ok(first_line(&text))
}

/// The first line of some text as a secret.
pub fn first_line(text: &str) -> Secret {
    let line = text.split('\n').next().unwrap_or_default();
    Secret::new(line.strip_suffix('\r').unwrap_or(line))
}

/// Writes a secret to a file that must not exist.
pub fn write_secret(path: &Path, secret: &Secret) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let fail = |error| Error::file(path, error);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(fail)?;
    let text = Zeroizing::new(format!("{}\n", secret.expose()));
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            // Half a secret is none, and would be in the way the next time.
            let _ = fs::remove_file(path);
            fail(error)
        })
}

/// The size of a block device in bytes; `sys` is `/sys`.
pub fn device_size(sys: &Path, major: u32, minor: u32) -> Option<u64> {
    let path = sys.join(format!("dev/block/{major}:{minor}/size"));
    let sectors: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    sectors.checked_mul(512)
}

/// The version of the loaded module; `None` if it is not loaded. `sys` is `/sys`.
pub fn module_version(sys: &Path) -> Option<String> {
    let module = sys.join("module/ferrite");
    if !module.is_dir() {
        return None;
    }
    let version = fs::read_to_string(module.join("version")).unwrap_or_default();
    Some(version.trim().to_string())
}

/// Makes a directory for its owner alone, and those above it, if it is not there.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(above) = dir.parent() {
        fs::create_dir_all(above)?;
    }
    fs::DirBuilder::new().mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, "newer").unwrap();
        assert!(fs::symlink_metadata(&link)
            .unwrap()
            .file_type()
            .is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(replace(dir.path(), "x").is_err());
        assert!(replace(&dir.path().join("none/x"), "x").is_err());
    }

    #[test]
    fn a_link_of_somebody_else_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("theirs"), dir.path().join("link"));
        fs::write(&path, "theirs").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        if std::os::unix::fs::lchown(&link, Some(12345), None).is_err() {
            // Only root can make such a link.
            return;
        }
        let set = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        set(0o1777);
        let error = replace(&link, "ours").unwrap_err();
        assert!(error.to_string().contains("link of user 12345"), "{error}");
        keep_old(&link, "ours").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        set(0o755);
        replace(&link, "ours").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "ours");
    }

    #[test]
    fn ten_old_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for version in 0..15 {
            let text = version.to_string();
            // A second time nothing has changed.
            for _ in 0..2 {
                keep_old(&path, &text).unwrap();
                replace(&path, &text).unwrap();
            }
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "14");
        for number in 1..=KEPT {
            let old = dir.path().join(format!("config.json.{number}"));
            assert_eq!(fs::read_to_string(&old).unwrap(), (14 - number).to_string());
            assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o077, 0);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 11);
        keep_old(dir.path(), "x").unwrap();
        keep_old(Path::new("/dev/null"), "x").unwrap();
    }

    #[test]
    fn what_cannot_be_replaced_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for version in ["first", "second"] {
            keep_old(&path, version).unwrap();
            replace(&path, version).unwrap();
        }
        for version in 0..20 {
            keep_old(&path, &format!("no room for {version}")).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("config.json.1"), "second");
        assert_eq!(read("config.json.2"), "first");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn secrets_must_be_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "correct horse\r\nbattery\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_secret(&path).unwrap_err();
        assert!(error.to_string().contains("mode 640"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(read_secret(&path).unwrap().expose(), "correct horse");
        assert!(write_secret(&path, &Secret::new("x")).is_err());
        let path = dir.path().join("made");
        write_secret(&path, &Secret::new("battery staple")).unwrap();
        assert_eq!(read_secret(&path).unwrap().expose(), "battery staple");
    }

    #[test]
    fn other_formats_are_refused() {
        let path = Path::new("f");
        assert!(from_text(path, r#"{"format_version": 1, "configuration": {}}"#).is_ok());
        for (text, says) in [
            (
                r#"{"format_version": 2, "configuration": {}}"#,
                "format_version is 2",
            ),
            (r#"{"configuration": {}}"#, "format_version"),
            (
                r#"{"fabric_modules": [], "storage_objects": []}"#,
                "unknown field",
            ),
            ("", "EOF"),
        ] {
            let error = from_text(path, text).unwrap_err();
            assert_eq!(error.exit_code().code(), 8);
            assert!(error.to_string().contains(says), "{error}");
        }
        let text = to_text(&Configuration::default());
        assert_eq!(from_text(path, &text).unwrap(), Configuration::default());
    }

    #[test]
    fn size_comes_from_sysfs() {
        let sys = tempfile::tempdir().unwrap();
        let dir = sys.path().join("dev/block/8:16");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("size"), "2048\n").unwrap();
        assert_eq!(device_size(sys.path(), 8, 16), Some(1 << 20));
        assert_eq!(device_size(sys.path(), 8, 17), None);
    }
}
