// SPDX-License-Identifier: GPL-2.0

//! Directories, files and symbolic links in configfs.
//!
//! A kind of directory is a type that implements [`Dir`]: constant tables say
//! which files and which fixed subdirectories it has, what `mkdir` makes in it,
//! and what a symbolic link in it may point to. What a directory stands for is
//! an `Arc` of any type, its *object*; several directories may share one.
//!
//! ```ignore
//! impl Dir for TpgDir {
//!     type Object = Tpg;
//!     const FILES: Files<Tpg> = files![
//!         Attr::rw(c"enable", show_enable, store_enable),
//!         Attr::ro(c"dynamic_sessions", show_sessions),
//!     ];
//!     const SUBDIRS: &'static [SubDir<Tpg>] = &[SubDir::new::<LunsDir, _>(c"lun", Arc::clone)];
//! }
//! ```
//!
//! # Locks
//!
//! - `mkdir`, `rmdir`, `symlink` and `unlink` call their functions under the
//!   subsystem's mutex: they never run at the same time.
//! - `show` and `store` run under the read side of the directory's `frag_sem`,
//!   which `rmdir` of that directory takes for writing: they run at the same
//!   time as each other and as the above, but never on a removed directory.
//!
//! A `store` that waits therefore blocks `rmdir`, and one that needs another
//! operation of this file system to go on never ends.
//!
//! # Lives
//!
//! The directory holds its object from `mkdir` until configfs releases it,
//! which may be later than `rmdir`. A file that is still open when its directory
//! goes answers `ENOENT`; the object is not touched through it any more.
//!
//! C header: [`include/linux/configfs.h`](srctree/include/linux/configfs.h)

use super::{
    bindings as helpers,
    misc, //
};
use core::{
    any::TypeId,
    fmt::{
        self,
        Write, //
    },
    marker::PhantomData,
    mem::{
        offset_of,
        size_of,
        MaybeUninit, //
    },
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    alloc::AllocError,
    bindings,
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        CStr, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    types::Opaque, //
};

/// Why something was not done: what the system call returns, and the rule for
/// the kernel log.
#[derive(Debug)]
pub(crate) struct Refusal {
    errno: Error,
    rule: Rule,
}

/// The rule that was broken.
#[derive(Debug)]
enum Rule {
    /// The error number says it all.
    Errno,
    Text(&'static str),
    Made(KVec<u8>),
}

impl Refusal {
    /// The value itself is wrong: `EINVAL`.
    pub(crate) const fn invalid(rule: &'static str) -> Self {
        Self::because(EINVAL, rule)
    }

    /// The value may be right, but not now or not here.
    pub(crate) const fn because(errno: Error, rule: &'static str) -> Self {
        Self {
            errno,
            rule: Rule::Text(rule),
        }
    }

    /// The value itself is wrong, as `rule` says: `EINVAL`.
    pub(crate) fn breaks(rule: &dyn fmt::Display) -> Self {
        let made = KVec::from_elem(0u8, 200, GFP_KERNEL).map(|mut text| {
            let mut page = Page::new(&mut text);
            cut(&mut page, 190, |part| write!(part, "{rule}"));
            let len = page.len;
            text.truncate(len);
            text
        });
        Self {
            errno: EINVAL,
            rule: made.map_or(Rule::Errno, Rule::Made),
        }
    }
}

impl From<Error> for Refusal {
    fn from(errno: Error) -> Self {
        Self {
            errno,
            rule: Rule::Errno,
        }
    }
}

impl From<AllocError> for Refusal {
    fn from(e: AllocError) -> Self {
        Error::from(e).into()
    }
}

impl From<fmt::Error> for Refusal {
    fn from(_: fmt::Error) -> Self {
        Self::because(EFBIG, "longer than a page")
    }
}

/// What a file shows: at most one page of text.
pub(crate) struct Page<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Page<'a> {
    /// The most that a file shows: configfs' own limit, whatever a page is.
    const SIZE: usize = 4096;

    /// Starts to write at the front of `bytes`.
    fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    /// Adds `more`, all of it or nothing.
    pub(crate) fn put(&mut self, more: &[u8]) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        room.get_mut(..more.len())
            .ok_or(fmt::Error)?
            .copy_from_slice(more);
        self.len = self.len.saturating_add(more.len());
        Ok(())
    }

    /// Adds what `f` writes, all of it or nothing; `false` if it did not fit.
    ///
    /// For lists that may be longer than a file can be.
    pub(crate) fn fits(&mut self, f: impl FnOnce(&mut Self) -> fmt::Result) -> bool {
        let before = self.len;
        let fitted = f(self).is_ok();
        if !fitted {
            self.len = before;
        }
        fitted
    }

    fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for Page<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.put(s.as_bytes())
    }
}

/// What a long file shows: text of any length.
///
/// It is written twice: first it is only counted, then room is made for as much
/// and a little more, as it may grow in between.
pub(crate) struct Long<'a> {
    /// None while it is counted.
    bytes: Option<&'a mut [u8]>,
    len: usize,
}

impl Long<'_> {
    /// Adds what `f` writes, all of it or nothing; `false` if it did not fit.
    pub(crate) fn fits(&mut self, f: impl FnOnce(&mut Self) -> fmt::Result) -> bool {
        let before = self.len;
        if f(self).is_ok() {
            return true;
        }
        if let Some(torn) = self.bytes.as_mut().and_then(|b| b.get_mut(before..)) {
            torn.fill(b'\n');
        }
        self.len = before;
        false
    }
}

impl Write for Long<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        if let Some(bytes) = self.bytes.as_mut() {
            bytes
                .get_mut(self.len..end)
                .ok_or(fmt::Error)?
                .copy_from_slice(s.as_bytes());
        }
        self.len = end;
        Ok(())
    }
}

/// A long file in the directories of objects of type `T`, to be read by its
/// owner alone (mode 0400), as each open file keeps memory that nobody is charged
/// for; to be listed in [`long_files!`], which also gives it its name.
///
/// # Invariants
///
/// The function in it expects an item that is part of a [`Node`] of `T`.
#[repr(transparent)]
pub(crate) struct LongAttr<T>(bindings::configfs_bin_attribute, PhantomData<fn(&T)>);

impl<T: Send + Sync + 'static> LongAttr<T> {
    /// A file whose content `show` writes.
    pub(crate) const fn ro<N: Name, S: ShowLongFn<T>>(_name: N, _show: S) -> Self {
        // INVARIANT: `read` is for `T`.
        Self(
            bindings::configfs_bin_attribute {
                cb_attr: Attr::<T>::new(N::NAME, 0o400, None, None).0,
                cb_private: ptr::null_mut(),
                cb_max_size: 0,
                read: Some(read_long::<T, S>),
                write: None,
            },
            PhantomData,
        )
    }
}

/// The long files of a directory; made by [`long_files!`].
///
/// # Invariants
///
/// As of [`Files`].
pub(crate) struct LongFiles<T: 'static>(&'static [Option<&'static LongAttr<T>>]);

impl<T> LongFiles<T> {
    /// No files.
    pub(crate) const NONE: Self = Self::new(&[None]);

    /// Takes a list that ends with `None`; use [`long_files!`].
    pub(crate) const fn new(list: &'static [Option<&'static LongAttr<T>>]) -> Self {
        assert!(matches!(list.last(), Some(None)));
        // INVARIANT: Just checked, when compiled.
        Self(list)
    }
}

/// Lists the long files of a directory: a name and a function each.
macro_rules! long_files {
    ($($name:expr => $show:expr),* $(,)?) => {
        $crate::sys::configfs::LongFiles::new(&[
            $(Some(&{
                #[derive(Clone, Copy)]
                struct Name;
                impl $crate::sys::configfs::Name for Name {
                    const NAME: &'static core::ffi::CStr = $name;
                }
                $crate::sys::configfs::LongAttr::ro(Name, $show)
            }),)*
            None,
        ])
    };
}
pub(crate) use long_files;

/// A function that writes what a long file shows.
pub(crate) trait ShowLongFn<T>:
    Fn(&Arc<T>, &mut Long<'_>) -> Result<(), Refusal> + Copy + 'static
{
}
impl<T, F: Fn(&Arc<T>, &mut Long<'_>) -> Result<(), Refusal> + Copy + 'static> ShowLongFn<T> for F {}

/// A file in the directories of objects of type `T`; to be listed in [`files!`],
/// which also gives it its name.
///
/// # Invariants
///
/// The functions in it expect an item that is part of a [`Node`] of `T`.
#[repr(transparent)]
pub(crate) struct Attr<T>(bindings::configfs_attribute, PhantomData<fn(&T)>);

impl<T: Send + Sync + 'static> Attr<T> {
    const fn new(name: &'static CStr, mode: u16, show: Option<Show>, store: Option<Store>) -> Self {
        Self(
            bindings::configfs_attribute {
                ca_name: as_char_ptr_in_const_context(name),
                ca_owner: misc::THIS_MODULE,
                ca_mode: mode,
                show,
                store,
            },
            PhantomData,
        )
    }

    /// A file to read, by everybody (mode 0444).
    pub(crate) const fn ro<N: Name, S: ShowFn<T>>(_name: N, _show: S) -> Self {
        // INVARIANT: `show` is for `T`.
        Self::new(N::NAME, 0o444, Some(show::<T, S, false>), None)
    }

    /// A file to write, by its owner (mode 0200).
    pub(crate) const fn wo<N: Name, W: StoreFn<T>>(_name: N, _store: W) -> Self {
        // INVARIANT: `store` is for `T`.
        Self::new(N::NAME, 0o200, None, Some(store::<T, N, W, false>))
    }

    /// A file to read by everybody and to write by its owner (mode 0644).
    pub(crate) const fn rw<N: Name, S: ShowFn<T>, W: StoreFn<T>>(
        _name: N,
        _show: S,
        _store: W,
    ) -> Self {
        // INVARIANT: Both are for `T`.
        Self::new(
            N::NAME,
            0o644,
            Some(show::<T, S, false>),
            Some(store::<T, N, W, false>),
        )
    }

    /// A file for the administrator alone (mode 0600): to read or write it
    /// takes `CAP_SYS_ADMIN` whoever opened it, and what is written never
    /// appears in the log.
    pub(crate) const fn private<N: Name, S: ShowFn<T>, W: StoreFn<T>>(
        _name: N,
        _show: S,
        _store: W,
    ) -> Self {
        // INVARIANT: Both are for `T`.
        Self::new(
            N::NAME,
            0o600,
            Some(show::<T, S, true>),
            Some(store::<T, N, W, true>),
        )
    }
}

/// The name of a file, as a type.
pub(crate) trait Name: Copy + 'static {
    /// The name.
    const NAME: &'static CStr;
}

/// The files of a directory; made by [`files!`].
///
/// # Invariants
///
/// The last entry is `None`: C sees the slice as an array of pointers that ends
/// with NULL.
pub(crate) struct Files<T: 'static>(&'static [Option<&'static Attr<T>>]);

impl<T> Files<T> {
    /// No files.
    pub(crate) const NONE: Self = Self::new(&[None]);

    /// Takes a list that ends with `None`; use [`files!`].
    pub(crate) const fn new(list: &'static [Option<&'static Attr<T>>]) -> Self {
        assert!(matches!(list.last(), Some(None)));
        // INVARIANT: Just checked, when compiled.
        Self(list)
    }
}

/// Lists the files of a directory: `Attr::<kind>(<name>, <functions>)`, with
/// the kinds and functions that [`Attr`] has.
macro_rules! files {
    ($(Attr::$kind:ident($name:expr, $($function:expr),+ $(,)?)),* $(,)?) => {
        $crate::sys::configfs::Files::new(&[
            $(Some(&{
                #[derive(Clone, Copy)]
                struct Name;
                impl $crate::sys::configfs::Name for Name {
                    const NAME: &'static core::ffi::CStr = $name;
                }
                $crate::sys::configfs::Attr::$kind(Name, $($function),+)
            }),)*
            None,
        ])
    };
}
pub(crate) use files;

/// A function that writes what a file shows.
pub(crate) trait ShowFn<T>:
    Fn(&Arc<T>, &mut Page<'_>) -> Result<(), Refusal> + Copy + 'static
{
}
impl<T, F: Fn(&Arc<T>, &mut Page<'_>) -> Result<(), Refusal> + Copy + 'static> ShowFn<T> for F {}

/// A function that takes what was written to a file, without the newline that
/// ended it.
pub(crate) trait StoreFn<T>:
    Fn(&Arc<T>, &[u8]) -> Result<(), Refusal> + Copy + 'static
{
}
impl<T, F: Fn(&Arc<T>, &[u8]) -> Result<(), Refusal> + Copy + 'static> StoreFn<T> for F {}

/// A kind of directory.
pub(crate) trait Dir: 'static {
    /// What a directory of this kind stands for.
    type Object: Send + Sync + 'static;
    /// The files in it.
    const FILES: Files<Self::Object> = Files::NONE;
    /// The files in it that may be longer than a page.
    const LONG_FILES: LongFiles<Self::Object> = LongFiles::NONE;
    /// The directories that are in it from the start, and stay.
    const SUBDIRS: &'static [SubDir<Self::Object>] = &[];
    /// What `mkdir` makes in it.
    const MKDIR: Mkdir<Self::Object> = Mkdir::NONE;
    /// What a symbolic link in it points to.
    const SYMLINK: Symlink<Self::Object> = Symlink::NONE;
}

/// A directory that is in each directory of objects `T` from the start.
pub(crate) struct SubDir<T> {
    name: &'static CStr,
    make: fn(&'static CStr, &Arc<T>, &Arc<Family>) -> Result<Group>,
}

impl<T> SubDir<T> {
    /// A directory of kind `C`, called `name`; `object` says what it stands for.
    pub(crate) const fn new<C, F>(name: &'static CStr, _object: F) -> Self
    where
        C: Dir,
        F: Fn(&Arc<T>) -> Arc<C::Object> + Copy + 'static,
    {
        Self {
            name,
            make: |name, parent, family| {
                new_group::<C>(name, conjure::<F>()(parent), family.clone())
            },
        }
    }

    /// As [`SubDir::new`]; without an object there is no directory, its parent
    /// included.
    pub(crate) const fn fallible<C, F>(name: &'static CStr, _object: F) -> Self
    where
        C: Dir,
        F: Fn(&Arc<T>) -> Result<Arc<C::Object>> + Copy + 'static,
    {
        Self {
            name,
            make: |name, parent, family| {
                new_group::<C>(name, conjure::<F>()(parent)?, family.clone())
            },
        }
    }
}

/// What `mkdir` and `rmdir` do in the directories of objects `T`.
///
/// # Invariants
///
/// The functions expect a group that is part of a [`Node`] of `T`.
pub(crate) struct Mkdir<T> {
    make: Option<MakeGroup>,
    drop: Option<DropItem>,
    _p: PhantomData<fn(&T)>,
}

impl<T: Send + Sync + 'static> Mkdir<T> {
    /// `mkdir` answers `EPERM`.
    pub(crate) const NONE: Self = Self {
        make: None,
        drop: None,
        _p: PhantomData,
    };

    /// `mkdir` makes directories of kind `C`.
    ///
    /// `make` gets the name and gives the object, or says why not. `remove` is
    /// called once for each object that `make` gave: on `rmdir`, or when the
    /// directory could not be made after all. It must take the object out of
    /// use at once; the memory goes with the last `Arc`.
    pub(crate) const fn of<C, M, R>(_make: M, _remove: R) -> Self
    where
        C: Dir,
        M: Fn(&Arc<T>, &[u8]) -> Result<Arc<C::Object>, Refusal> + Copy + 'static,
        R: Fn(&Arc<T>, &Arc<C::Object>) + Copy + 'static,
    {
        // INVARIANT: Both are for `T`.
        Self {
            make: Some(make_group::<T, C, M, R>),
            drop: Some(drop_item::<T, C, R>),
            _p: PhantomData,
        }
    }
}

/// What symbolic links do in the directories of objects `T`.
///
/// # Invariants
///
/// The functions expect a source that is part of a [`Node`] of `T`.
pub(crate) struct Symlink<T> {
    allow: Option<AllowLink>,
    drop: Option<DropLink>,
    _p: PhantomData<fn(&T)>,
}

impl<T: Send + Sync + 'static> Symlink<T> {
    /// `symlink` answers `EPERM`.
    pub(crate) const NONE: Self = Self {
        allow: None,
        drop: None,
        _p: PhantomData,
    };

    /// A link may point to a directory of kind `C` of the same subsystem, and
    /// to no other.
    ///
    /// `link` gets the object of the directory that the link is in, and that of
    /// the one it points to; neither has been removed. `unlink` is called once
    /// for each `link` that succeeded. A `symlink` that loses against an `rmdir`
    /// of either directory calls `unlink` after that directory's removal.
    pub(crate) const fn to<C, L, U>(_link: L, _unlink: U) -> Self
    where
        C: Dir,
        L: Fn(&Arc<T>, &Arc<C::Object>) -> Result<(), Refusal> + Copy + 'static,
        U: Fn(&Arc<T>, &Arc<C::Object>) + Copy + 'static,
    {
        // INVARIANT: Both are for `T`.
        Self {
            allow: Some(allow_link::<T, C, L>),
            drop: Some(drop_link::<T, C, U>),
            _p: PhantomData,
        }
    }
}

/// A registered subsystem: a directory at the top of configfs.
///
/// Dropping it takes the directory away. Nothing made by `mkdir` is left in it
/// then: each such directory holds the module.
///
/// # Invariants
///
/// `family.root` is registered, and this value holds the first reference to its
/// group.
pub(crate) struct Subsystem {
    family: Arc<Family>,
}

// SAFETY: A registered subsystem belongs to no thread.
unsafe impl Send for Subsystem {}
// SAFETY: There is nothing to do with a shared reference.
unsafe impl Sync for Subsystem {}

impl Subsystem {
    /// Makes the directory `name` at the top of configfs, of kind `D`, standing
    /// for `object`.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is one of that name, `ENOMEM`.
    pub(crate) fn register<D: Dir>(name: &CStr, object: Arc<D::Object>) -> Result<Self> {
        let family = Family::new::<D>()?;
        let root = family.root;
        // SAFETY: The root is part of such a node, allocated and zeroed, that
        // nobody else knows yet.
        let group = unsafe {
            helpers::fer_configfs_init(root);
            let node = root.byte_sub(offset_of!(RootNode<D::Object>, group));
            init_node::<D, bindings::configfs_subsystem>(node.cast(), name, object, family.clone())?
        };
        // SAFETY: The subsystem is set up.
        let ret = unsafe { bindings::configfs_register_subsystem(root) };
        if ret < 0 {
            // SAFETY: The first reference to the group is ours, and it is not
            // registered.
            unsafe { put(group) };
            return Err(Error::from_errno(ret));
        }
        // INVARIANT: The root was just registered, and the first reference to
        // its group moves into the new value.
        Ok(Self { family })
    }
}

#[cfg(ferrite_kunit)]
impl Subsystem {
    /// What configfs does on `mkdir`, when there turns out to be no memory for
    /// the rest of it: makes a directory in the root and drops it at once.
    ///
    /// # Errors
    ///
    /// What `mkdir` gives.
    pub(crate) fn make_and_drop(&self, name: &CStr) -> Result {
        let _guard = MutexGuard::new(&self.family);
        // SAFETY: The root is registered, so its group has a type; the functions
        // are called as configfs does, under the subsystem's mutex, and what was
        // made is dropped once.
        unsafe {
            let group: *mut bindings::config_group = (&raw mut (*self.family.root).su_group).cast();
            let ops = (*(*group).cg_item.ci_type).ct_group_ops;
            let (Some(make), Some(drop)) = ((*ops).make_group, (*ops).drop_item) else {
                return Err(EPERM);
            };
            let made = make(group, name.as_char_ptr());
            let made = kernel::error::from_err_ptr(made)?;
            drop(group, &raw mut (*made).cg_item);
        }
        Ok(())
    }

    /// How many subsystems configfs has in its list, this one among them. None
    /// may come or go meanwhile.
    pub(crate) fn listed(&self) -> usize {
        // SAFETY: The root is registered, so its group is in the list of
        // configfs' own root, which by the caller's promise does not change.
        unsafe {
            let item = &raw const (*self.family.root).su_group.cg_item;
            let list = &raw const (*(*item).ci_group).cg_children;
            let mut at = (*list).next.cast_const();
            let mut n = 0usize;
            while !ptr::eq(at, list) {
                n = n.saturating_add(1);
                at = (*at).next;
            }
            n
        }
    }
}

impl Drop for Subsystem {
    fn drop(&mut self) {
        let root = self.family.root;
        // SAFETY: By the type invariant it is registered, and the reference to
        // its group that is given back is ours.
        unsafe {
            bindings::configfs_unregister_subsystem(root);
            put(NonNull::new_unchecked((&raw mut (*root).su_group).cast()));
        }
        // A system call that is just looking at one of our directories may hold
        // it a moment longer than its `rmdir`, or as long as a file system takes to
        // tell what a link shall point to. Our code must not go before.
        let mut looks = 0u32;
        while self.family.nodes.load(Acquire) != 0 {
            looks = looks.saturating_add(1);
            if looks == 1000 {
                pr_warn!("a configfs directory is still referenced: waiting\n");
            }
            fsleep(Delta::from_millis(10));
        }
        misc::settle();
    }
}

/// The name that the module parameter `configfs_root` gives.
///
/// # Errors
///
/// `EINVAL`, with a line in the log, if no directory can have that name.
pub(crate) fn root_name() -> Result<&'static CStr> {
    // SAFETY: The parameter is read-only once the module is loaded, and it is
    // never NULL.
    let name = unsafe { c_str(helpers::fer_configfs_root()) };
    let bytes = name.to_bytes();
    let plain = bytes.iter().all(|b| b.is_ascii_graphic() && *b != b'/');
    if bytes.is_empty() || bytes.len() > 64 || bytes.starts_with(b".") || !plain {
        pr_err!(
            "configfs_root=: must be 1 to 64 printable characters other than /, not starting with a dot\n"
        );
        return Err(EINVAL);
    }
    Ok(name)
}

/// The release of the running kernel.
pub(crate) fn kernel_release() -> &'static CStr {
    // SAFETY: A string that lives as long as the kernel.
    unsafe { c_str(helpers::fer_configfs_release()) }
}

/// The machine of the running kernel.
pub(crate) fn kernel_machine() -> &'static CStr {
    // SAFETY: A string that lives as long as the kernel.
    unsafe { c_str(helpers::fer_configfs_machine()) }
}

/// The index of the network interface called `name` in the namespace of the
/// caller of the system call.
///
/// # Errors
///
/// `ENODEV` if there is none.
pub(crate) fn interface_index(name: &CStr) -> Result<u32> {
    // SAFETY: `name` is a valid C string.
    let index = unsafe { helpers::fer_configfs_ifindex(name.as_char_ptr()) };
    u32::try_from(index).map_err(|_| Error::from_errno(index))
}

// --- what C sees ---------------------------------------------------------------

type Show = unsafe extern "C" fn(*mut bindings::config_item, *mut kernel::ffi::c_char) -> isize;
type Store =
    unsafe extern "C" fn(*mut bindings::config_item, *const kernel::ffi::c_char, usize) -> isize;
type MakeGroup = unsafe extern "C" fn(
    *mut bindings::config_group,
    *const kernel::ffi::c_char,
) -> *mut bindings::config_group;
type DropItem = unsafe extern "C" fn(*mut bindings::config_group, *mut bindings::config_item);
type AllowLink = unsafe extern "C" fn(
    *mut bindings::config_item,
    *mut bindings::config_item,
) -> kernel::ffi::c_int;
type DropLink = unsafe extern "C" fn(*mut bindings::config_item, *mut bindings::config_item);
type Group = NonNull<bindings::config_group>;

/// What all directories of a subsystem share.
///
/// # Invariants
///
/// `root` is the group of a zeroed or initialised [`RootNode`] whose memory is
/// this value's.
pub(crate) struct Family {
    root: *mut bindings::configfs_subsystem,
    /// Frees the memory that `root` is part of.
    free: unsafe fn(*mut bindings::configfs_subsystem),
    /// How many [`Node`]s are not yet released.
    nodes: Atomic<i64>,
}

// SAFETY: The pointer belongs to no thread.
unsafe impl Send for Family {}
// SAFETY: A shared reference only gives the pointer, and takes the mutex in it.
unsafe impl Sync for Family {}

impl Family {
    /// Allocates the root of a subsystem, which is a directory of kind `D`.
    fn new<D: Dir>() -> Result<Arc<Self>> {
        /// # Safety
        ///
        /// `root` must be the group of a node of `T` that came from `new`.
        unsafe fn free<T>(root: *mut bindings::configfs_subsystem) {
            // SAFETY: The caller's promise. The head was dropped on release.
            drop(unsafe {
                let node = root.byte_sub(offset_of!(RootNode<T>, group));
                KBox::from_raw(node.cast::<MaybeUninit<RootNode<T>>>())
            });
        }
        let node = KBox::<RootNode<D::Object>>::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
        let node = KBox::into_raw(node).cast::<RootNode<D::Object>>();
        // SAFETY: The address of a field of an allocation.
        let root = unsafe { Opaque::cast_into(&raw const (*node).group) };
        // INVARIANT: The memory was just allocated, and is the value's from here
        // on: when there is none for the reference count, it frees both.
        Ok(Arc::new(
            Self {
                root,
                free: free::<D::Object>,
                nodes: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the memory is ours, and nobody refers to
        // it: the nodes, the root among them, share in this value.
        unsafe { (self.free)(self.root) };
    }
}

/// What precedes the group in each [`Node`]. Its layout does not depend on `T`.
#[repr(C)]
struct Head<T> {
    /// The [`Dir`] that this directory is one of.
    kind: TypeId,
    family: Arc<Family>,
    object: Arc<T>,
    /// Set under the subsystem's mutex when the directory goes.
    removed: Atomic<bool>,
}

/// A directory.
///
/// # Invariants
///
/// It does not move. The group belongs to configfs once it is initialised. Each
/// item whose type's owner is this module is the first field of such a group,
/// whether that stands alone or at the front of a `configfs_subsystem`.
#[repr(C)]
struct Node<T, G> {
    head: Head<T>,
    group: Opaque<G>,
}
type PlainNode<T> = Node<T, bindings::config_group>;
type RootNode<T> = Node<T, bindings::configfs_subsystem>;

/// What a [`Node`]'s group is part of.
trait Place: 'static {
    /// Whether the node's memory is its own, not the [`Family`]'s.
    const OWN_MEMORY: bool;
}

impl Place for bindings::config_group {
    const OWN_MEMORY: bool = true;
}

impl Place for bindings::configfs_subsystem {
    const OWN_MEMORY: bool = false;
}

const _: () = {
    // What `head_of` and `is_of_kind` rest on.
    assert!(offset_of!(PlainNode<u8>, group) == offset_of!(PlainNode<[u64; 8]>, group));
    assert!(offset_of!(PlainNode<u8>, group) == offset_of!(RootNode<u8>, group));
    assert!(offset_of!(Head<u8>, kind) == offset_of!(Head<[u64; 8]>, kind));
    assert!(offset_of!(bindings::configfs_subsystem, su_group) == 0);
    assert!(offset_of!(bindings::config_group, cg_item) == 0);
};

/// What configfs is told of the directories of kind `D`.
struct TypeOf<D, G>(PhantomData<(D, G)>);

impl<D: Dir, G: Place> TypeOf<D, G> {
    const ITEM_OPS: bindings::configfs_item_operations = bindings::configfs_item_operations {
        release: Some(release::<D::Object, G>),
        allow_link: D::SYMLINK.allow,
        drop_link: D::SYMLINK.drop,
    };
    const GROUP_OPS: bindings::configfs_group_operations = bindings::configfs_group_operations {
        make_item: None,
        make_group: D::MKDIR.make,
        disconnect_notify: None,
        drop_item: D::MKDIR.drop,
        is_visible: None,
        is_bin_visible: None,
    };
    const TYPE: bindings::config_item_type = bindings::config_item_type {
        ct_owner: misc::THIS_MODULE,
        ct_item_ops: &Self::ITEM_OPS,
        ct_group_ops: &Self::GROUP_OPS,
        // `Option<&Attr>` has the layout of a pointer, with NULL for `None`, and
        // by the invariant of `Files` there is one at the end. C only reads it.
        ct_attrs: D::FILES.0.as_ptr().cast_mut().cast(),
        // The same.
        ct_bin_attrs: D::LONG_FILES.0.as_ptr().cast_mut().cast(),
    };
}

/// Calls into being a function that is known by its type.
///
/// Only for functions of which a value was given to one of the constructors
/// above: those take it by value to prove that there is one.
fn conjure<F: Copy + 'static>() -> F {
    const { assert!(size_of::<F>() == 0, "the function captures something") };
    // SAFETY: A value without size is read from nowhere, and copies of the one
    // that was given to the constructor may be made at will.
    unsafe { NonNull::<F>::dangling().read() }
}

/// # Safety
///
/// `s` must point to a string that ends with NUL and lives for `'a`.
unsafe fn c_str<'a>(s: *const kernel::ffi::c_char) -> &'a CStr {
    // SAFETY: The caller's promise.
    unsafe { CStr::from_char_ptr(s) }
}

/// Writes a node to `node` and sets up its group, its subdirectories included.
///
/// # Safety
///
/// `node` must be valid for writes, and as [`Place`] says come from a box or
/// belong to `family`. Its group must be zeroed, but for the subsystem's mutex.
/// On failure it is released.
unsafe fn init_node<D: Dir, G: Place>(
    node: *mut Node<D::Object, G>,
    name: &CStr,
    object: Arc<D::Object>,
    family: Arc<Family>,
) -> Result<Group> {
    family.nodes.add(1, Relaxed);
    // SAFETY: By the caller's promise `node` is valid for writes.
    let group = unsafe {
        (&raw mut (*node).head).write(Head {
            kind: TypeId::of::<D>(),
            family: family.clone(),
            object: object.clone(),
            removed: Atomic::new(false),
        });
        Opaque::cast_into(&raw const (*node).group).cast::<bindings::config_group>()
    };
    // SAFETY: The group is zeroed memory that nobody else knows; the name is
    // copied, and the type is a constant.
    unsafe {
        bindings::config_group_init_type_name(
            group,
            name.as_char_ptr(),
            const { &TypeOf::<D, G>::TYPE },
        );
    }
    // SAFETY: The address of a field is not null.
    let group = unsafe { NonNull::new_unchecked(group) };

    // The function above has no way to say that the name could not be copied.
    // SAFETY: The group was just initialised.
    let mut done = match unsafe { (*group.as_ptr()).cg_item.ci_name.is_null() } {
        true => Err(ENOMEM),
        false => Ok(()),
    };
    for sub in D::SUBDIRS {
        done = done.and_then(|()| {
            let child = (sub.make)(sub.name, &object, &family)?;
            // SAFETY: Both are initialised and not yet known to configfs; the
            // reference to the child moves into the parent's list.
            unsafe { helpers::fer_configfs_add_default(child.as_ptr(), group.as_ptr()) };
            Ok(())
        });
    }
    if let Err(e) = done {
        // SAFETY: The one reference to the new group is ours.
        unsafe { put(group) };
        return Err(e);
    }
    Ok(group)
}

/// Makes a directory of kind `D`; the one reference to it is the caller's.
fn new_group<D: Dir>(name: &CStr, object: Arc<D::Object>, family: Arc<Family>) -> Result<Group> {
    let node = KBox::<PlainNode<D::Object>>::new_uninit(GFP_KERNEL)?;
    let node = KBox::into_raw(node).cast::<PlainNode<D::Object>>();
    // SAFETY: `node` was just allocated.
    unsafe {
        (&raw mut (*node).group).write(Opaque::zeroed());
        init_node::<D, _>(node, name, object, family)
    }
}

/// Gives back a reference to a directory.
///
/// # Safety
///
/// The reference must be the caller's.
unsafe fn put(group: Group) {
    // SAFETY: The caller's promise.
    unsafe { bindings::config_item_put(&raw mut (*group.as_ptr()).cg_item) };
}

/// What precedes the group that `item` is the first field of.
///
/// # Safety
///
/// `item` must be part of a [`Node`] of `T` that lives for `'a`.
unsafe fn head_of<'a, T>(item: *mut bindings::config_item) -> &'a Head<T> {
    // SAFETY: By the caller's promise `item` is at the start of the group of a
    // node; the offset is the same for both kinds of node, as asserted above,
    // and the head is at the front.
    unsafe {
        &*item
            .byte_sub(offset_of!(PlainNode<T>, group))
            .cast::<Head<T>>()
    }
}

/// Whether `item` is a directory of kind `D`.
///
/// # Safety
///
/// `item` must be a valid item of any subsystem of any module.
unsafe fn is_of_kind<D: Dir>(item: *mut bindings::config_item) -> bool {
    // SAFETY: An item's type is set once, before anybody can find it.
    let owner = unsafe { (*item).ci_type.as_ref() }.map(|t| t.ct_owner);
    if owner != Some(misc::THIS_MODULE) {
        return false;
    }
    // SAFETY: By the invariant of `Node` every item of this module is part of
    // one. Its kind is at the same place whatever its object is.
    let head = unsafe { head_of::<()>(item) };
    // SAFETY: `kind` is valid; no reference to the other fields is used.
    let kind = unsafe { (&raw const head.kind).read() };
    kind == TypeId::of::<D>()
}

/// The last reference to a directory is gone.
///
/// # Safety
///
/// For configfs, on an item of a `Node<T, G>`.
unsafe extern "C" fn release<T, G: Place>(item: *mut bindings::config_item) {
    // SAFETY: By the function's contract `item` is part of such a node, that
    // nobody refers to any more. If its memory is its own it came from a box;
    // what is in the head is dropped once, and the family not before the node.
    let family = unsafe {
        bindings::configfs_remove_default_groups(item.cast());
        let node = item
            .byte_sub(offset_of!(PlainNode<T>, group))
            .cast::<Node<T, G>>();
        let family = (*node).head.family.clone();
        if G::OWN_MEMORY {
            drop(KBox::from_raw(node));
        } else {
            (&raw mut (*node).head).drop_in_place();
        }
        family
    };
    family.nodes.fetch_sub(1, Full);
}

/// Reads a file.
///
/// # Safety
///
/// For configfs, on an item of a node of `T`; `page` is a page of zeroes.
unsafe extern "C" fn show<T, S: ShowFn<T>, const ADMIN: bool>(
    item: *mut bindings::config_item,
    page: *mut kernel::ffi::c_char,
) -> isize {
    if ADMIN && !is_admin() {
        return errno(EPERM);
    }
    // SAFETY: By the function's contract; configfs keeps the item while it calls.
    let head = unsafe { head_of::<T>(item) };
    // SAFETY: By the function's contract the page is ours, and initialised.
    let mut page = Page::new(unsafe { core::slice::from_raw_parts_mut(page, Page::SIZE) });
    match conjure::<S>()(&head.object, &mut page) {
        // At most a page.
        Ok(()) => page.len as isize,
        Err(refusal) => errno(refusal.errno),
    }
}

/// Reads a long file: first without `buffer`, for its length.
///
/// # Safety
///
/// For configfs, on an item of a node of `T`; `buffer`, if there is one, has
/// `len` bytes to be written.
unsafe extern "C" fn read_long<T, S: ShowLongFn<T>>(
    item: *mut bindings::config_item,
    buffer: *mut kernel::ffi::c_void,
    len: usize,
) -> isize {
    // SAFETY: By the function's contract; configfs keeps the item while it calls.
    let head = unsafe { head_of::<T>(item) };
    let bytes = (!buffer.is_null()).then(|| {
        let buffer = buffer.cast::<u8>();
        // What is not filled is shown, too: it shall be no text, nor what was
        // in this memory before.
        // SAFETY: By the function's contract there are `len` bytes to be
        // written, which nobody else knows.
        unsafe {
            buffer.write_bytes(b'\n', len);
            core::slice::from_raw_parts_mut(buffer, len)
        }
    });
    let counting = bytes.is_none();
    let mut long = Long { bytes, len: 0 };
    match conjure::<S>()(&head.object, &mut long) {
        Ok(()) if counting && long.len != 0 => {
            // Numbers grow while they are read.
            let more = (long.len / 32).saturating_add(256);
            long.len.saturating_add(more).min(isize::MAX as usize) as isize
        }
        Ok(()) => long.len as isize,
        Err(refusal) => errno(refusal.errno),
    }
}

/// So many bytes configfs takes of one `write`. Of a longer one it takes these, and does not say
/// that there is more.
const WHOLE: usize = Page::SIZE - 1;

/// Writes a file.
///
/// # Safety
///
/// For configfs, on an item of a node of `T`; `text` has `len` bytes.
unsafe extern "C" fn store<T, N: Name, W: StoreFn<T>, const ADMIN: bool>(
    item: *mut bindings::config_item,
    text: *const kernel::ffi::c_char,
    len: usize,
) -> isize {
    if ADMIN && !is_admin() {
        return errno(EPERM);
    }
    // SAFETY: By the function's contract; configfs keeps the item while it calls.
    let head = unsafe { head_of::<T>(item) };
    // SAFETY: By the function's contract.
    let text = unsafe { core::slice::from_raw_parts(text, len) };
    let value = text.strip_suffix(b"\n").unwrap_or(text);
    let done = if text.len() >= WHOLE {
        // It may be what was cut off of something longer.
        Err(Refusal::invalid("must be at most 4094 bytes long"))
    } else {
        conjure::<W>()(&head.object, value)
    };
    match done {
        // At most a page.
        Ok(()) => len as isize,
        Err(refusal) => {
            let value = if ADMIN {
                Value::Secret
            } else {
                Value::Text(value)
            };
            // SAFETY: `frag_sem` keeps the item and its parents where they are.
            unsafe { log(item, Some(N::NAME), &head.family, value, &refusal) };
            errno(refusal.errno)
        }
    }
}

/// Makes a directory in another.
///
/// # Safety
///
/// For configfs, on the group of a node of `T`; `name` is a C string.
unsafe extern "C" fn make_group<T, C, M, R>(
    group: *mut bindings::config_group,
    name: *const kernel::ffi::c_char,
) -> *mut bindings::config_group
where
    C: Dir,
    M: Fn(&Arc<T>, &[u8]) -> Result<Arc<C::Object>, Refusal> + Copy + 'static,
    R: Fn(&Arc<T>, &Arc<C::Object>) + Copy + 'static,
{
    // SAFETY: By the function's contract; configfs keeps the item while it calls.
    let parent = unsafe { head_of::<T>(group.cast()) };
    // SAFETY: By the function's contract.
    let name = unsafe { c_str(name) };
    let object = match conjure::<M>()(&parent.object, name.to_bytes()) {
        Ok(object) => object,
        Err(refusal) => {
            // SAFETY: The subsystem's mutex keeps the parents where they are.
            unsafe {
                log(
                    group.cast(),
                    None,
                    &parent.family,
                    Value::Text(name.to_bytes()),
                    &refusal,
                )
            };
            return refusal.errno.to_ptr();
        }
    };
    match new_group::<C>(name, object.clone(), parent.family.clone()) {
        // The reference is configfs' from here on, until `drop_item`.
        Ok(child) => child.as_ptr(),
        Err(e) => {
            conjure::<R>()(&parent.object, &object);
            e.to_ptr()
        }
    }
}

/// Takes a directory out of another.
///
/// # Safety
///
/// For configfs, on the group of a node of `T` and an item of one of kind `C`
/// in it, the first reference to which it gives up.
unsafe extern "C" fn drop_item<T, C, R>(
    group: *mut bindings::config_group,
    item: *mut bindings::config_item,
) where
    C: Dir,
    R: Fn(&Arc<T>, &Arc<C::Object>) + Copy + 'static,
{
    // SAFETY: By the function's contract.
    let (parent, child) = unsafe { (head_of::<T>(group.cast()), head_of::<C::Object>(item)) };
    child.removed.store(true, Relaxed);
    conjure::<R>()(&parent.object, &child.object);
    // SAFETY: By the function's contract the reference is ours now.
    unsafe { bindings::config_item_put(item) };
}

/// Asks whether a symbolic link may be made.
///
/// # Safety
///
/// For configfs, on an item of a node of `T` and any other item.
unsafe extern "C" fn allow_link<T, C, L>(
    source: *mut bindings::config_item,
    target: *mut bindings::config_item,
) -> kernel::ffi::c_int
where
    C: Dir,
    L: Fn(&Arc<T>, &Arc<C::Object>) -> Result<(), Refusal> + Copy + 'static,
{
    // SAFETY: By the function's contract; the caller holds both.
    let from = unsafe { head_of::<T>(source) };
    let _guard = MutexGuard::new(&from.family);
    // SAFETY: By the function's contract; the caller holds both.
    let same_kind = unsafe { is_of_kind::<C>(target) };
    let done = if !same_kind {
        Err(Refusal::invalid(
            "not a directory that this link may point to",
        ))
    } else {
        // SAFETY: `target` is of kind `C`, as was just checked.
        let to = unsafe { head_of::<C::Object>(target) };
        if from.removed.load(Relaxed) || to.removed.load(Relaxed) {
            Err(ENOENT.into())
        } else {
            conjure::<L>()(&from.object, &to.object)
        }
    };
    match done {
        Ok(()) => 0,
        Err(refusal) => {
            // SAFETY: The mutex keeps the parents of both where they are, if
            // they still have any.
            unsafe { log(source, None, &from.family, Value::Link(target), &refusal) };
            refusal.errno.to_errno()
        }
    }
}

/// A symbolic link goes.
///
/// # Safety
///
/// For configfs, on two items that `allow_link` of the same types allowed.
unsafe extern "C" fn drop_link<T, C, U>(
    source: *mut bindings::config_item,
    target: *mut bindings::config_item,
) where
    C: Dir,
    U: Fn(&Arc<T>, &Arc<C::Object>) + Copy + 'static,
{
    // SAFETY: By the function's contract `allow_link` saw that `target` is of
    // kind `C`; the caller holds both.
    let (from, to) = unsafe { (head_of::<T>(source), head_of::<C::Object>(target)) };
    let _guard = MutexGuard::new(&from.family);
    conjure::<U>()(&from.object, &to.object);
}

/// The subsystem's mutex, held.
///
/// # Invariants
///
/// It was locked by this value.
struct MutexGuard(*mut bindings::mutex);

impl MutexGuard {
    fn new(family: &Family) -> Self {
        // SAFETY: By the invariant of `Family` the root is valid.
        let mutex = unsafe { &raw mut (*family.root).su_mutex };
        // SAFETY: It was initialised before the subsystem was registered.
        unsafe { bindings::mutex_lock(mutex) };
        // INVARIANT: Just locked.
        Self(mutex)
    }
}

impl Drop for MutexGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it was locked here.
        unsafe { bindings::mutex_unlock(self.0) };
    }
}

/// Whether the caller of the system call may administer the machine.
fn is_admin() -> bool {
    // SAFETY: Called in the context of a system call.
    unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as kernel::ffi::c_int) }
}

fn errno(e: Error) -> isize {
    // Error numbers are small.
    e.to_errno() as isize
}

/// What was refused, for the log.
enum Value<'a> {
    Text(&'a [u8]),
    Link(*mut bindings::config_item),
    Secret,
}

/// Logs a refusal: `<path>: <value>: <rule>`, unless many were just logged. The
/// path is that of `file` in `item`, or of `item`.
///
/// # Safety
///
/// `item`, and the target of a link, must be valid, and they and their parents
/// must not be taken out of their directories meanwhile. `item` must be of
/// `family`'s subsystem.
unsafe fn log(
    item: *mut bindings::config_item,
    file: Option<&CStr>,
    family: &Family,
    value: Value<'_>,
    refusal: &Refusal,
) {
    if !misc::may_log(misc::Topic::Admin) {
        return;
    }
    let Ok(mut buffer) = KVec::from_elem(0u8, 1024, GFP_KERNEL) else {
        return;
    };
    let mut line = Page::new(&mut buffer);
    // Each part is cut short on its own, so that all appear; the kernel prints
    // up to about a thousand bytes of a message.
    // SAFETY: The caller's promise.
    cut(&mut line, 520, |part| unsafe {
        put_path(part, item, file, family)
    });
    match value {
        Value::Text(text) => cut(&mut line, 240, |part| {
            write!(part, ": {}", text.escape_ascii())
        }),
        Value::Link(target) => cut(&mut line, 240, |part| {
            part.write_str(": ")?;
            // SAFETY: The caller's promise.
            unsafe { put_path(part, target, None, family) }
        }),
        Value::Secret => {}
    }
    cut(&mut line, 240, |part| {
        match (&refusal.rule, refusal.errno.name()) {
            (Rule::Text(rule), _) => write!(part, ": {rule}"),
            (Rule::Made(rule), _) => {
                write!(part, ": {}", core::str::from_utf8(rule).unwrap_or_default())
            }
            (Rule::Errno, Some(name)) => write!(part, ": {}", name.to_bytes().escape_ascii()),
            (Rule::Errno, None) => write!(part, ": error {}", refusal.errno.to_errno()),
        }
    });
    if let Ok(line) = core::str::from_utf8(line.written()) {
        pr_warn!("{}\n", line);
    }
}

/// Writes where `item`, or a file in it, is from the root of the subsystem on.
///
/// # Safety
///
/// As for [`log`].
unsafe fn put_path(
    part: &mut Cut<'_, '_>,
    item: *mut bindings::config_item,
    file: Option<&CStr>,
    family: &Family,
) -> fmt::Result {
    let mut names: [Option<&CStr>; 12] = [None; 12];
    let mut from_last = names.iter_mut().rev();
    if file.is_some() {
        if let Some(last) = from_last.next() {
            *last = file;
        }
    }
    let mut at = item;
    for name in from_last {
        // SAFETY: By the caller's promise the item and its parents stay, each
        // being held by its child.
        let Some(i) = (unsafe { at.as_ref() }) else {
            break;
        };
        if ptr::eq(at, family.root.cast()) || i.ci_name.is_null() {
            break;
        }
        // SAFETY: A directory's name does not change while it is there.
        *name = Some(unsafe { c_str(i.ci_name) });
        at = i.ci_parent;
    }
    let mut slash = "";
    for name in names.iter().flatten() {
        write!(part, "{slash}{}", name.to_bytes().escape_ascii())?;
        slash = "/";
    }
    Ok(())
}

/// Adds what `f` writes, or its first `most` bytes with an ellipsis.
fn cut(line: &mut Page<'_>, most: usize, f: impl FnOnce(&mut Cut<'_, '_>) -> fmt::Result) {
    let mut part = Cut { line, left: most };
    if f(&mut part).is_err() {
        // Nothing is left to do for a line that is full.
        let _ = line.put(b"...");
    }
}

/// Writes a bounded part of a [`Page`].
struct Cut<'a, 'b> {
    line: &'a mut Page<'b>,
    left: usize,
}

impl Write for Cut<'_, '_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = (0..=self.left.min(s.len()))
            .rev()
            .find(|at| s.is_char_boundary(*at));
        let short = s.get(..end.unwrap_or(0)).unwrap_or_default();
        self.left = self.left.saturating_sub(short.len());
        self.line.put(short.as_bytes())?;
        if short.len() < s.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}
