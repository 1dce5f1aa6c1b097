// SPDX-License-Identifier: GPL-2.0

//! Time, randomness, digests, rate limits and event counters.

use super::bindings;
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings::module,
    prelude::*, //
};

/// The module itself, for the tables of ours that the kernel keeps while they
/// are in use. Kernels differ in the name that `module!` gives it.
pub(super) const THIS_MODULE: *mut module = {
    extern "C" {
        // Only its address is taken.
        static __this_module: u8;
    }
    (&raw const __this_module).cast_mut().cast()
};

/// Milliseconds since some moment in the past; wraps with `u64` only.
pub(crate) fn now_ms() -> u64 {
    // SAFETY: No preconditions.
    let ns = unsafe { bindings::fer_now_ns() };
    ns / 1_000_000
}

/// Nanoseconds since some moment in the past, the same on all CPUs. Any context.
pub(crate) fn now_ns() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_now_ns() }
}

/// Nanoseconds, for the difference of two readings; the cheapest clock there is.
/// Those of two CPUs may differ by a little. Any context.
#[inline]
pub(crate) fn clock_ns() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_clock_ns() }
}

/// The kernel's clock of a few milliseconds; cheap to read. Any context.
pub(crate) fn ticks() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_jiffies() }
}

/// Whether somebody wants the current process to stop what it does. Process
/// context.
pub(crate) fn is_interrupted() -> bool {
    kernel::current!().signal_pending()
}

/// The error of a number that the kernel crate has no name for.
pub(in crate::sys) fn error_of(number: u32) -> Error {
    Error::from_errno(i32::try_from(number).map_or(-22, i32::wrapping_neg))
}

/// `len` bytes, all 0: cleared as a whole, where `KVec::from_elem` writes one after the other.
/// Any context that `flags` are for.
///
/// # Errors
///
/// [`AllocError`] when memory is short.
pub(crate) fn zeros(len: usize, flags: Flags) -> Result<KVec<u8>, AllocError> {
    let mut bytes = KVec::with_capacity(len, flags | __GFP_ZERO)?;
    // SAFETY: There is room for `len` bytes, and the allocator has set all of them to 0.
    unsafe { bytes.inc_len(len) };
    Ok(bytes)
}

/// `text` with a NUL behind it, for `CStr::from_bytes_with_nul`. Process context.
///
/// # Errors
///
/// `ENOMEM`.
pub(in crate::sys) fn terminated(text: &[u8]) -> Result<KVec<u8>> {
    let mut terminated = KVec::with_capacity(text.len().saturating_add(1), GFP_KERNEL)?;
    terminated.extend_from_slice(text, GFP_KERNEL)?;
    terminated.push(0, GFP_KERNEL)?;
    Ok(terminated)
}

/// So many ticks in milliseconds.
pub(crate) fn ticks_to_ms(ticks: u64) -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_jiffies_to_ms(ticks) }
}

/// Fills `out` from the kernel's random generator.
pub(crate) fn random(out: &mut [u8]) {
    // SAFETY: `out` is valid for its length.
    unsafe { bindings::fer_random(out.as_mut_ptr().cast(), out.len()) };
}

/// What a message is about: however many there are of one kind, they leave room for the others.
#[derive(Clone, Copy)]
pub(crate) enum Topic {
    /// What initiators do.
    Peers,
    /// What disks do, and files of reservations.
    Storage,
    /// What is refused to an administrator.
    Admin,
}

/// Whether a message may be logged now; many in a row are suppressed. Any context.
pub(crate) fn may_log(topic: Topic) -> bool {
    let topic = match topic {
        Topic::Peers => bindings::fer_topic_FER_PEERS,
        Topic::Storage => bindings::fer_topic_FER_STORAGE,
        Topic::Admin => bindings::fer_topic_FER_ADMIN,
    };
    // SAFETY: It is one of those that there are.
    unsafe { bindings::fer_ratelimit(topic) }
}

/// Overwrites a secret so that no copy stays in memory.
pub(crate) fn wipe(secret: &mut [u8]) {
    // SAFETY: `secret` is valid for its length.
    unsafe { bindings::fer_wipe(secret.as_mut_ptr().cast(), secret.len()) };
}

/// Compares in a time that depends on the lengths alone.
pub(crate) fn equal_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        // SAFETY: Both are valid for the length compared.
        && !unsafe { bindings::fer_differ(a.as_ptr().cast(), b.as_ptr().cast(), a.len()) }
}

/// The CHAP response (RFC 1994 section 4.1) for algorithm number `algorithm`
/// (5 MD5, 6 SHA1, 7 SHA-256, 8 SHA3-256): returns the digest's length.
///
/// # Errors
///
/// `EINVAL` for another algorithm.
pub(crate) fn chap_digest(
    algorithm: u32,
    id: u8,
    secret: &[u8],
    challenge: &[u8],
    out: &mut [u8; 32],
) -> Result<usize> {
    // SAFETY: The slices are valid for their lengths, and no digest of these
    // is longer than 32 bytes.
    let n = unsafe {
        bindings::fer_digest(
            algorithm,
            id,
            secret.as_ptr(),
            secret.len(),
            challenge.as_ptr(),
            challenge.len(),
            out.as_mut_ptr(),
        )
    };
    usize::try_from(n).map_err(|_| EINVAL)
}

/// Bytes that this host always gives for `name`, and no other host does.
pub(crate) fn stable_id(name: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // SAFETY: `name` is valid for its length, `out` for the 32 bytes of a
    // SHA-256 digest.
    unsafe { bindings::fer_stable_id(name.as_ptr(), name.len(), out.as_mut_ptr()) };
    out
}

/// CRC32C (RFC 3720 appendix B.4) of `data`, as it stands on the wire in
/// little-endian order.
pub(crate) fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: `data` is valid for its length.
    unsafe { bindings::fer_crc32c(seed, data.as_ptr().cast(), data.len()) }
}

/// Waits until no CPU is inside one of our callbacks any more.
pub(crate) fn settle() {
    // SAFETY: Called in process context, at unload.
    unsafe { bindings::fer_settle() };
}

/// What peers may use of the host, each a module parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Limit {
    /// Connections in login or discovery.
    Logins = bindings::FER_LIMIT_LOGINS,
    /// The same, from one address.
    LoginsPerAddress = bindings::FER_LIMIT_LOGINS_PER_ADDRESS,
    /// Connections of sessions.
    Connections = bindings::FER_LIMIT_CONNECTIONS,
    /// The same, from one address.
    ConnectionsPerAddress = bindings::FER_LIMIT_CONNECTIONS_PER_ADDRESS,
    /// MiB for the data of one session's commands.
    SessionMemory = bindings::FER_LIMIT_SESSION_MEMORY,
    /// MiB for the data of all commands; 0 is a part of the machine's memory.
    Memory = bindings::FER_LIMIT_MEMORY,
    /// The same, of the sessions from one address; 0 is a part of that for all.
    MemoryPerAddress = bindings::FER_LIMIT_MEMORY_PER_ADDRESS,
    /// Commands that all sessions may send at once.
    Commands = bindings::FER_LIMIT_COMMANDS,
    /// The same, of the sessions from one address.
    CommandsPerAddress = bindings::FER_LIMIT_COMMANDS_PER_ADDRESS,
}

/// A limit as it is now. Any context.
pub(crate) fn limit(which: Limit) -> u32 {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_limit(which as u32) }
}

/// Memory of the machine, in pages.
pub(crate) fn total_pages() -> usize {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_total_pages() as usize }
}

/// Adds `n` to the event counter `index` (per CPU, no locks).
pub(crate) fn count(index: u32, n: u64) {
    // SAFETY: The index is checked on the other side.
    unsafe { bindings::fer_pcpu_stats_add(index, n) };
}

/// The sum of the event counter `index` over all CPUs.
pub(crate) fn counted(index: u32) -> u64 {
    // SAFETY: The index is checked on the other side.
    unsafe { bindings::fer_pcpu_stats_sum(index) }
}

/// Sleeps for about `ms` milliseconds. Process context.
pub(crate) fn sleep_ms(ms: u32) {
    // SAFETY: The callers are in process context and hold no spin lock.
    unsafe { bindings::fer_sleep_ms(ms) };
}

/// Sleeps for about `us` microseconds, 10 at least. Process context.
pub(crate) fn sleep_us(us: u32) {
    // SAFETY: The callers are in process context and hold no spin lock.
    unsafe { bindings::fer_sleep_us(us) };
}
