// SPDX-License-Identifier: GPL-2.0

//! Remembers CHAP secrets for a kernel that does not show them.
//!
//! Such a kernel answers an empty line for `password` and says in `password_set`
//! whether there is one. Saving, comparing and undoing need the secret itself, so
//! whatever is written through [`Remembering`] is also kept in a file that its
//! owner alone can read, in a directory that lasts as long as the kernel runs. A
//! secret that was set by other means reads as an error of the kind `Unsupported`.
//! With a kernel that shows secrets nothing is kept.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::configfs::Kind;
use crate::configfs::Tree;
use crate::files;
use crate::secret::Secret;

/// The name of the file.
const FILE: &str = "secrets.json";

/// Secrets by the whole path of their attribute.
type Secrets = BTreeMap<PathBuf, Secret>;

/// A tree whose secrets can be read if they were written through it.
pub struct Remembering {
    inner: Box<dyn Tree>,
    dir: PathBuf,
    /// What the file holds, once it has been read, and which file that was.
    known: RefCell<(Option<Stamp>, Secrets)>,
    /// What belongs to objects that are gone has been looked for.
    swept: Cell<bool>,
}

/// Tells a file from the one that takes its place: its inode, and when it was written.
type Stamp = (u64, i64, i64);

impl Remembering {
    /// Keeps the secrets of `inner` in the directory `dir`.
    pub fn new(inner: Box<dyn Tree>, dir: impl Into<PathBuf>) -> Self {
        Remembering {
            inner,
            dir: dir.into(),
            known: RefCell::default(),
            swept: Cell::new(false),
        }
    }

    /// True if the kernel holds a secret which it does not show.
    fn is_hidden(&self, path: &Path) -> bool {
        flag(path).is_some_and(|flag| {
            let set = self.inner.read(&flag);
            set.is_ok_and(|set| set.trim() == "1")
        })
    }

    /// True if the kernel never shows this secret.
    fn hides(&self, path: &Path) -> bool {
        flag(path).is_some_and(|flag| matches!(self.inner.kind(&flag), Ok(Some(_))))
    }

    fn key(&self, path: &Path) -> PathBuf {
        self.inner.root().join(path)
    }

    fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    fn stamp(&self) -> Option<Stamp> {
        let metadata = fs::metadata(self.file()).ok()?;
        Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    }

    /// Looks at the secrets. Another command may have changed them while this one held no lock.
    fn look<R>(&self, look: impl FnOnce(&mut Secrets) -> R) -> R {
        let mut known = self.known.borrow_mut();
        let stamp = self.stamp();
        if stamp.is_none() || known.0 != stamp {
            let text = Zeroizing::new(fs::read_to_string(self.file()).unwrap_or_default());
            *known = (stamp, serde_json::from_str(&text).unwrap_or_default());
        }
        look(&mut known.1)
    }

    /// Writes what is known to the file.
    fn store(&self) -> io::Result<()> {
        let mut known = self.known.borrow_mut();
        // Objects that are gone need no secrets. Once is enough: there may be thousands.
        if !self.swept.replace(true) {
            known.1.retain(|path, _| path.exists());
        }
        files::make_private_dir(&self.dir)?;
        let text = Zeroizing::new(serde_json::to_string(&known.1)?);
        files::replace(&self.file(), &text).map_err(|error| io::Error::other(error.to_string()))?;
        known.0 = self.stamp();
        Ok(())
    }
}

/// The attribute that says whether a secret is set; `None` if `path` is no secret.
fn flag(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    if name != "password" && name != "password_mutual" {
        return None;
    }
    Some(path.with_file_name(format!("{name}_set")))
}

impl Tree for Remembering {
    fn root(&self) -> &Path {
        self.inner.root()
    }

    fn entries(&self, dir: &Path) -> io::Result<Vec<(String, Kind)>> {
        self.inner.entries(dir)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.inner.kind(path)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.inner.read(path)?;
        if !text.trim().is_empty() || !self.is_hidden(path) {
            return Ok(text);
        }
        let key = self.key(path);
        match self.look(|secrets| secrets.get(&key).cloned()) {
            Some(secret) => Ok(secret.expose().to_string()),
            None => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel does not show this secret",
            )),
        }
    }

    fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.link_target(path)
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        if !self.hides(path) {
            return self.inner.write(path, text);
        }
        // An older secret must not outlive this write, whatever comes of it.
        let key = self.key(path);
        if self.look(|secrets| secrets.remove(&key)).is_some() {
            self.store()?;
        }
        self.inner.write(path, text)?;
        if text != "NULL" {
            self.look(|secrets| secrets.insert(key, Secret::new(text)));
            // Without it, saving will say that the secret is missing.
            let _ = self.store();
        }
        Ok(())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.make_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.inner.make_link(path, to)
    }

    fn remove_link(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_link(path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::configfs::KernelTree;

    const PASSWORD: &str = "auth/password";

    /// A kernel that keeps secrets to itself, but for the test's own eyes.
    fn machine() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let auth = dir.path().join("root/auth");
        fs::create_dir_all(&auth).unwrap();
        fs::write(auth.join("password"), "\n").unwrap();
        fs::write(auth.join("password_set"), "0\n").unwrap();
        let root = dir.path().join("root");
        (dir, root)
    }

    fn tree(dir: &tempfile::TempDir, root: &Path) -> Remembering {
        Remembering::new(Box::new(KernelTree::new(root)), dir.path().join("run"))
    }

    fn hide(root: &Path, set: &str) {
        fs::write(root.join("auth/password"), "\n").unwrap();
        fs::write(root.join("auth/password_set"), set).unwrap();
    }

    #[test]
    fn a_secret_can_be_read_by_the_next_command() {
        let (dir, root) = machine();
        let path = Path::new(PASSWORD);
        assert_eq!(tree(&dir, &root).read(path).unwrap(), "\n");
        tree(&dir, &root).write(path, "a secret to keep").unwrap();
        hide(&root, "1\n");
        assert_eq!(tree(&dir, &root).read(path).unwrap(), "a secret to keep");
        let file = dir.path().join("run/secrets.json");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(&dir.path().join("run")), 0o700);
        // Cleared by whomever: it is not set, so it is not remembered.
        hide(&root, "0\n");
        assert_eq!(tree(&dir, &root).read(path).unwrap(), "\n");
        hide(&root, "1\n");
        tree(&dir, &root).write(path, "NULL").unwrap();
        hide(&root, "1\n");
        let error = tree(&dir, &root).read(path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(!fs::read_to_string(&file)
            .unwrap()
            .contains("secret to keep"));
    }

    #[test]
    fn nothing_is_kept_of_a_kernel_that_shows_secrets() {
        let (dir, root) = machine();
        fs::remove_file(root.join("auth/password_set")).unwrap();
        tree(&dir, &root)
            .write(Path::new(PASSWORD), "shown")
            .unwrap();
        assert!(!dir.path().join("run").exists());
    }

    #[test]
    fn an_old_secret_does_not_outlive_a_failed_write() {
        let (dir, root) = machine();
        let path = Path::new(PASSWORD);
        tree(&dir, &root).write(path, "the first secret").unwrap();
        fs::remove_file(root.join(PASSWORD)).unwrap();
        fs::create_dir(root.join(PASSWORD)).unwrap();
        assert!(tree(&dir, &root).write(path, "the second").is_err());
        let text = fs::read_to_string(dir.path().join("run/secrets.json")).unwrap();
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn what_another_command_wrote_meanwhile_stays() {
        let (dir, root) = machine();
        let mutual = root.join("auth/password_mutual");
        fs::write(&mutual, "\n").unwrap();
        fs::write(root.join("auth/password_mutual_set"), "1\n").unwrap();
        let first = tree(&dir, &root);
        first.write(Path::new(PASSWORD), "the first one").unwrap();
        let other = Path::new("auth/password_mutual");
        tree(&dir, &root).write(other, "the other one").unwrap();
        first.write(Path::new(PASSWORD), "a second one").unwrap();
        hide(&root, "1\n");
        fs::write(&mutual, "\n").unwrap();
        let third = tree(&dir, &root);
        assert_eq!(third.read(Path::new(PASSWORD)).unwrap(), "a second one");
        assert_eq!(third.read(other).unwrap(), "the other one");
    }

    #[test]
    fn secrets_of_what_is_gone_are_dropped() {
        let (dir, root) = machine();
        fs::create_dir(root.join("other")).unwrap();
        fs::write(root.join("other/password"), "\n").unwrap();
        fs::write(root.join("other/password_set"), "1\n").unwrap();
        tree(&dir, &root)
            .write(Path::new("other/password"), "gone soon")
            .unwrap();
        fs::remove_dir_all(root.join("other")).unwrap();
        tree(&dir, &root)
            .write(Path::new(PASSWORD), "stays here")
            .unwrap();
        let text = fs::read_to_string(dir.path().join("run/secrets.json")).unwrap();
        assert!(
            !text.contains("gone soon") && text.contains("stays here"),
            "{text}"
        );
    }
}
