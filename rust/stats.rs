// SPDX-License-Identifier: GPL-2.0

//! Counters of where the work is done: the proof that the data path stays in
//! softirq. They are per CPU and cost one increment each.

use crate::sys::misc;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Stat {
    /// Bytes received in softirq.
    RxSoftBytes,
    /// Bytes received at the end of a submit thread's batch.
    RxBatchBytes,
    /// Bytes received elsewhere: in the backlog of a task.
    RxTaskBytes,
    /// PDUs received in softirq.
    RxSoftPdus,
    /// PDUs received at the end of a batch.
    RxBatchPdus,
    /// PDUs received elsewhere.
    RxTaskPdus,
    /// Bytes sent in softirq.
    TxSoftBytes,
    /// Bytes sent at the end of a batch.
    TxBatchBytes,
    /// Bytes sent by a worker.
    TxTaskBytes,
    /// PDUs sent in softirq.
    TxSoftPdus,
    /// PDUs sent at the end of a batch.
    TxBatchPdus,
    /// PDUs sent by a worker.
    TxTaskPdus,
    /// Sends passed to a worker because a task owned the socket.
    TxOwned,
    /// Sends passed to a worker because memory was short.
    TxNoMemory,
    /// Times that reading was paused because too much waited to be sent.
    RxPaused,
    /// Bios submitted by the submit threads.
    BioSubmit,
    /// Bios passed on because they would have had to wait.
    BioAgain,
    /// Bios submitted by the slow workqueue.
    BioSlow,
    /// Other commands carried out by the slow workqueue.
    Slow,
    /// Times that something for the slow workqueue had to wait, as its device
    /// had enough of that under way.
    SlowWaits,
    /// Batches of the submit threads.
    SubmitBatches,
    /// Commands that ended BUSY for want of memory.
    Busy,
    /// Commands that found the task set of their device full.
    TaskSetFull,
    /// Commands that had to wait for others because of a task attribute.
    OrderWaits,
    /// Commands.
    Commands,
    /// PDUs rejected.
    Rejects,
    /// Header digest errors.
    HeaderDigest,
    /// Data digest errors.
    DataDigest,
    /// SNACK Requests.
    Snacks,
    /// PDUs sent again for them.
    SentAgain,
    /// Times that data of a command was asked for again.
    DataAskedAgain,
    /// Logins that succeeded.
    Logins,
    /// Connections that were added to a session, or took another one's place.
    ConnsAdded,
    /// Logins that were refused.
    LoginsRefused,
    /// Logins that were sent to another portal.
    LoginsRedirected,
    /// Connections turned away because too many were in login.
    LoginsTurnedAway,
}

/// All counters with their names.
pub(crate) const ALL: &[(&str, Stat)] = &[
    ("rx_softirq_bytes", Stat::RxSoftBytes),
    ("rx_batch_bytes", Stat::RxBatchBytes),
    ("rx_task_bytes", Stat::RxTaskBytes),
    ("rx_softirq_pdus", Stat::RxSoftPdus),
    ("rx_batch_pdus", Stat::RxBatchPdus),
    ("rx_task_pdus", Stat::RxTaskPdus),
    ("tx_softirq_bytes", Stat::TxSoftBytes),
    ("tx_batch_bytes", Stat::TxBatchBytes),
    ("tx_task_bytes", Stat::TxTaskBytes),
    ("tx_softirq_pdus", Stat::TxSoftPdus),
    ("tx_batch_pdus", Stat::TxBatchPdus),
    ("tx_task_pdus", Stat::TxTaskPdus),
    ("tx_socket_owned", Stat::TxOwned),
    ("tx_no_memory", Stat::TxNoMemory),
    ("rx_paused", Stat::RxPaused),
    ("bio_submit_thread", Stat::BioSubmit),
    ("bio_would_wait", Stat::BioAgain),
    ("bio_slow", Stat::BioSlow),
    ("slow_commands", Stat::Slow),
    ("slow_waits", Stat::SlowWaits),
    ("submit_batches", Stat::SubmitBatches),
    ("busy", Stat::Busy),
    ("task_set_full", Stat::TaskSetFull),
    ("order_waits", Stat::OrderWaits),
    ("commands", Stat::Commands),
    ("rejects", Stat::Rejects),
    ("header_digest_errors", Stat::HeaderDigest),
    ("data_digest_errors", Stat::DataDigest),
    ("snacks", Stat::Snacks),
    ("pdus_sent_again", Stat::SentAgain),
    ("data_asked_again", Stat::DataAskedAgain),
    ("logins", Stat::Logins),
    ("connections_added", Stat::ConnsAdded),
    ("logins_refused", Stat::LoginsRefused),
    ("logins_redirected", Stat::LoginsRedirected),
    ("logins_turned_away", Stat::LoginsTurnedAway),
];

/// Adds to a counter.
#[inline]
pub(crate) fn add(stat: Stat, n: u64) {
    misc::count(stat as u32, n);
}

/// Counts one.
#[inline]
pub(crate) fn one(stat: Stat) {
    add(stat, 1);
}

/// Reads a counter.
pub(crate) fn read(stat: Stat) -> u64 {
    misc::counted(stat as u32)
}
