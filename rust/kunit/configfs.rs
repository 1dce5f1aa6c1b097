// SPDX-License-Identifier: GPL-2.0

//! The lives of objects in configfs: through the file system itself, and with
//! allocations that fail as configfs' own calls.

#[kernel::macros::kunit_tests(ferrite_configfs)]
mod tests {
    use super::super::{
        check,
        told,
        wait,
        Alive,
        Census,
        Crowd, //
    };
    use crate::sys::{
        configfs::{
            files,
            Dir,
            Files,
            Mkdir,
            Page,
            Refusal,
            SubDir,
            Subsystem,
            Symlink, //
        },
        kunit::{
            self,
            File, //
        },
        misc, //
    };
    use core::fmt::Write;
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                Acquire,
                Atomic,
                Full, //
            },
            Arc, //
        }, //
    };

    const NAME: &CStr = c"ferrite_kunit";

    /// What the root stands for: it counts.
    struct Root {
        items: Census,
        made: Atomic<u32>,
        removed: Atomic<u32>,
        links: Atomic<i32>,
    }

    /// What a directory stands for.
    struct Item {
        root: Arc<Root>,
        value: Atomic<u32>,
        removed: Atomic<u32>,
        _alive: Alive,
    }

    struct RootDir;

    impl Dir for RootDir {
        type Object = Root;
        const MKDIR: Mkdir<Root> = Mkdir::of::<ItemDir, _, _>(make, remove);
    }

    struct ItemDir;

    impl Dir for ItemDir {
        type Object = Item;
        const FILES: Files<Item> = files![Attr::rw(c"value", show, store)];
        const SUBDIRS: &'static [SubDir<Item>] =
            &[SubDir::new::<LinksDir, _>(c"links", Arc::clone)];
    }

    /// Where links to other items are.
    struct LinksDir;

    impl Dir for LinksDir {
        type Object = Item;
        const SYMLINK: Symlink<Item> = Symlink::to::<ItemDir, _, _>(link, unlink);
    }

    fn make(root: &Arc<Root>, name: &[u8]) -> Result<Arc<Item>, Refusal> {
        if name == b"refused" {
            return Err(Refusal::invalid("this name is refused"));
        }
        let item = Arc::new(
            Item {
                root: root.clone(),
                value: Atomic::new(0),
                removed: Atomic::new(0),
                _alive: root.items.birth(),
            },
            GFP_KERNEL,
        )?;
        root.made.fetch_add(1, Full);
        Ok(item)
    }

    fn remove(root: &Arc<Root>, item: &Arc<Item>) {
        item.removed.fetch_add(1, Full);
        root.removed.fetch_add(1, Full);
    }

    fn show(item: &Arc<Item>, out: &mut Page<'_>) -> Result<(), Refusal> {
        writeln!(out, "{}", item.value.load(Acquire))?;
        Ok(())
    }

    fn store(item: &Arc<Item>, text: &[u8]) -> Result<(), Refusal> {
        let number = core::str::from_utf8(text)
            .ok()
            .and_then(|t| t.parse().ok())
            .ok_or(Refusal::invalid("not a number"))?;
        item.value.store(number, kernel::sync::atomic::Release);
        Ok(())
    }

    fn link(from: &Arc<Item>, to: &Arc<Item>) -> Result<(), Refusal> {
        if Arc::ptr_eq(from, to) {
            return Err(Refusal::invalid("to itself"));
        }
        from.root.links.fetch_add(1, Full);
        Ok(())
    }

    fn unlink(from: &Arc<Item>, _to: &Arc<Item>) {
        from.root.links.fetch_sub(1, Full);
    }

    macro_rules! path {
        ($name:literal) => {
            kernel::c_str!(concat!("/sys/kernel/config/ferrite_kunit/", $name))
        };
    }

    /// A subsystem of our own; it is empty when a test has held.
    struct Tree {
        root: Arc<Root>,
        subsystem: Option<Subsystem>,
    }

    impl core::ops::Deref for Tree {
        type Target = Root;

        fn deref(&self) -> &Root {
            &self.root
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            if self.subsystem.is_some() && self.items.living() != 0 {
                rm(path!("a/links/x"));
                rmdir(path!("a"));
                rmdir(path!("b"));
            }
        }
    }

    impl Tree {
        fn new() -> Result<Self> {
            let root = root()?;
            let subsystem = Some(Subsystem::register::<RootDir>(NAME, root.clone())?);
            Ok(Self { root, subsystem })
        }

        /// The end: nothing is left.
        fn close(mut self) -> Result {
            check(self.items.living() == 0, "no object is left")?;
            drop(self.subsystem.take());
            let root = self.root.clone();
            drop(self);
            check(
                Arc::into_unique_or_drop(root).is_some(),
                "nobody has the root",
            )
        }
    }

    fn root() -> Result<Arc<Root>> {
        Ok(Arc::new(
            Root {
                items: Census::new()?,
                made: Atomic::new(0),
                removed: Atomic::new(0),
                links: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    fn mkdir(path: &CStr) -> bool {
        kunit::run(c"/bin/mkdir", [path, c"", c""])
    }

    fn rmdir(path: &CStr) -> bool {
        kunit::run(c"/bin/rmdir", [path, c"", c""])
    }

    fn symlink(to: &CStr, from: &CStr) -> bool {
        kunit::run(c"/bin/ln", [c"-s", to, from])
    }

    fn rm(path: &CStr) -> bool {
        kunit::run(c"/bin/rm", [path, c"", c""])
    }

    /// An object lives from mkdir to rmdir, and what is written is read.
    #[test]
    fn an_object_lives_as_long_as_its_directory() -> Result {
        let tree = Tree::new()?;
        let root = &tree;
        check(mkdir(path!("a")), "a directory is made")?;
        check(!mkdir(path!("a")), "but once")?;
        check(!mkdir(path!("refused")), "one is refused")?;
        check(root.items.living() == 1, "one object")?;
        {
            let file = told("open", File::open(path!("a/value"), true))?;
            check(
                told("write", file.write(b"42\n"))? == 3,
                "a number is taken",
            )?;
            check(file.write(b"x\n").err() == Some(EINVAL), "a word is not")?;
        }
        let mut text = [0u8; 16];
        let n = told("open", File::open(path!("a/value"), false))?.read(&mut text)?;
        check(text.get(..n) == Some(b"42\n"), "it is shown")?;
        check(
            !rmdir(path!("a/links")),
            "what was there from the start stays",
        )?;
        check(rmdir(path!("a")), "it is removed")?;
        check(root.removed.load(Acquire) == 1, "it was told so, once")?;
        wait(|| root.items.living() == 0)?;
        tree.close()
    }

    /// A file that is open when its directory goes keeps nothing in use, and
    /// reaches the object no more.
    #[test]
    fn an_open_file_does_not_reach_a_removed_object() -> Result {
        let tree = Tree::new()?;
        let root = &tree;
        check(mkdir(path!("a")), "a directory is made")?;
        let shown = told("open", File::open(path!("a/value"), false))?;
        let unread = told("open", File::open(path!("a/value"), false))?;
        let written = told("open", File::open(path!("a/value"), true))?;
        let mut text = [0u8; 16];
        check(told("read", shown.read(&mut text))? == 2, "it is read")?;
        check(rmdir(path!("a")), "an open file is no reason to stay")?;
        check(
            root.removed.load(Acquire) == 1,
            "the object is out of use at once",
        )?;
        check(written.write(b"7").err() == Some(ENOENT), "no write")?;
        check(unread.read(&mut text).err() == Some(ENOENT), "no read")?;
        check(mkdir(path!("a")), "the name is free")?;
        {
            let file = told("open", File::open(path!("a/value"), true))?;
            check(file.write(b"8")? == 1, "the new one is another")?;
        }
        check(written.write(b"9").err() == Some(ENOENT), "still no write")?;
        drop((shown, unread, written));
        wait(|| root.items.living() == 1)?;
        check(rmdir(path!("a")), "it goes, too")?;
        wait(|| root.items.living() == 0)?;
        tree.close()
    }

    #[test]
    fn a_link_keeps_what_it_points_to() -> Result {
        let tree = Tree::new()?;
        let root = &tree;
        check(mkdir(path!("a")) && mkdir(path!("b")), "two directories")?;
        check(!symlink(path!("a"), path!("a/links/x")), "not to itself")?;
        check(
            !symlink(path!("b/links"), path!("a/links/x")),
            "not to another kind",
        )?;
        check(
            !symlink(c"/sys/kernel/config", path!("a/links/x")),
            "nor elsewhere",
        )?;
        check(root.links.load(Acquire) == 0, "none was made")?;
        check(symlink(path!("b"), path!("a/links/x")), "to another one")?;
        check(root.links.load(Acquire) == 1, "one was made")?;
        check(!rmdir(path!("b")), "what is pointed to stays")?;
        check(!rmdir(path!("a")), "and so does where the link is")?;
        check(rm(path!("a/links/x")), "the link goes")?;
        check(root.links.load(Acquire) == 0, "and was told so")?;
        check(rmdir(path!("b")) && rmdir(path!("a")), "then they can go")?;
        check(root.removed.load(Acquire) == 2, "each was told once")?;
        wait(|| root.items.living() == 0)?;
        tree.close()
    }

    /// Reads and writes, and directories that come and go, at the same time.
    #[test]
    fn stores_race_with_removals() -> Result {
        let tree = Tree::new()?;
        let root = &tree;
        let done = Arc::new(Atomic::<i32>::new(0), GFP_KERNEL)?;
        let crowd = Crowd::new()?;
        for _ in 0..2 {
            let done = done.clone();
            crowd.spawn(move || {
                let mut text = [0u8; 16];
                while done.load(Acquire) == 0 {
                    if let Ok(file) = File::open(path!("a/value"), true) {
                        let _ = file.write(b"5");
                        misc::sleep_us(50);
                        let _ = file.write(b"6");
                    }
                    if let Ok(file) = File::open(path!("a/value"), false) {
                        misc::sleep_us(50);
                        let _ = file.read(&mut text);
                    }
                    misc::sleep_us(10);
                }
            })?;
        }
        for _ in 0..10 {
            if !mkdir(path!("a")) || !rmdir(path!("a")) {
                break;
            }
        }
        done.store(1, kernel::sync::atomic::Release);
        crowd.join()?;
        check(root.made.load(Acquire) == 10, "all were made")?;
        check(root.removed.load(Acquire) == 10, "all were removed")?;
        wait(|| root.items.living() == 0)?;
        tree.close()
    }

    /// mkdir with each allocation failing in turn: the object is taken out of
    /// use again, and is gone.
    #[test]
    fn a_directory_without_memory_leaves_nothing() -> Result {
        let root = root()?;
        let subsystem = Subsystem::register::<RootDir>(NAME, root.clone())?;
        let seen = kunit::each_failure(
            || subsystem.make_and_drop(c"a"),
            || {
                check(root.items.living() == 0, "no object is left")?;
                check(
                    root.made.load(Acquire) == root.removed.load(Acquire),
                    "each object is removed once",
                )
            },
        )?;
        check(seen.sites >= 3, "the object, its directory, the one in it")?;
        check(seen.refused >= 3 && seen.other == 0, "each is needed")?;
        check(
            subsystem
                .make_and_drop(c"a-name-longer-than-the-twenty-bytes-inside")
                .is_ok(),
            "a long name",
        )?;
        drop(subsystem);
        check(
            Arc::into_unique_or_drop(root).is_some(),
            "nobody has the root",
        )
    }

    /// What the module's own root has, and more: files, fixed directories, and
    /// one in another.
    struct FullDir;

    impl Dir for FullDir {
        type Object = Root;
        const FILES: Files<Root> =
            files![Attr::ro(c"made", show_made), Attr::ro(c"again", show_made)];
        const SUBDIRS: &'static [SubDir<Root>] = &[
            SubDir::new::<InnerDir, _>(c"inner", Arc::clone),
            SubDir::new::<RootDir, _>(c"items", Arc::clone),
        ];
        const MKDIR: Mkdir<Root> = Mkdir::of::<ItemDir, _, _>(make, remove);
    }

    struct InnerDir;

    impl Dir for InnerDir {
        type Object = Root;
        const FILES: Files<Root> = files![Attr::ro(c"made", show_made)];
        const SUBDIRS: &'static [SubDir<Root>] = &[SubDir::new::<RootDir, _>(c"items", Arc::clone)];
    }

    fn show_made(root: &Arc<Root>, out: &mut Page<'_>) -> Result<(), Refusal> {
        writeln!(out, "{}", root.made.load(Acquire))?;
        Ok(())
    }

    /// Registering with each allocation failing in turn, configfs' own among
    /// them: it is not in configfs' list, its name is free, nobody has what it
    /// stood for.
    fn registering_leaves_nothing<D: Dir<Object = Root>>(name: &CStr, least: u32) -> Result {
        let witness = Subsystem::register::<RootDir>(c"ferrite_kunit_witness", root()?)?;
        let listed = witness.listed();
        let root = root()?;
        let seen = kunit::each_failure(
            || Subsystem::register::<D>(name, root.clone()).map(drop),
            || {
                check(witness.listed() == listed, "it is in no list")?;
                let again = told("register", Subsystem::register::<D>(name, root.clone()))?;
                check(witness.listed() == listed + 1, "but when it stands")?;
                drop(again);
                check(witness.listed() == listed, "and not when it is gone")
            },
        )?;
        check(seen.refused >= least, "each allocation is needed")?;
        check(seen.other == 0, "what fails says ENOMEM")?;
        check(
            Arc::into_unique_or_drop(root).is_some(),
            "nobody has the root",
        )
    }

    #[test]
    fn a_subsystem_without_memory_leaves_nothing() -> Result {
        registering_leaves_nothing::<RootDir>(NAME, 4)?;
        registering_leaves_nothing::<RootDir>(c"ferrite_kunit_with_a_long_name", 5)
    }

    /// The same with what is in it: configfs takes back what it has made so far.
    #[test]
    fn a_full_subsystem_without_memory_leaves_nothing() -> Result {
        registering_leaves_nothing::<FullDir>(NAME, 12)
    }

    #[test]
    fn a_name_is_given_once() -> Result {
        let root = root()?;
        let subsystem = Subsystem::register::<RootDir>(NAME, root.clone())?;
        check(
            matches!(
                Subsystem::register::<RootDir>(NAME, root.clone()),
                Err(e) if e == EEXIST
            ),
            "it is taken",
        )?;
        drop(subsystem);
        let again = Subsystem::register::<RootDir>(NAME, root.clone())?;
        drop(again);
        check(
            Arc::into_unique_or_drop(root).is_some(),
            "nobody has the root",
        )
    }
}
