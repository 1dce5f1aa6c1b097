// SPDX-License-Identifier: GPL-2.0

//! The command line: `ferritectl <noun> <verb>`.

use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

use crate::cmd::alua::AccessState;
use crate::error::Error;
use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::names;
use crate::names::Name;
use crate::names::Portal;

/// Only the rule of an error: clap names the value itself.
fn rule<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| match error {
        Error::Value { rule, .. } => rule,
        other => other.to_string(),
    })
}

fn name(text: &str) -> Result<Name, String> {
    rule(Name::parse(text))
}

fn acl_name(text: &str) -> Result<Name, String> {
    rule(Name::parse_acl(text))
}

fn member(text: &str) -> Result<String, String> {
    rule(names::parse_member(text))
}

fn portal(text: &str) -> Result<Portal, String> {
    rule(Portal::parse(text))
}

fn lun(text: &str) -> Result<u64, String> {
    rule(names::parse_lun(text))
}

fn tpgt(text: &str) -> Result<u16, String> {
    rule(names::parse_tpgt(text))
}

fn device(text: &str) -> Result<String, String> {
    rule(names::check_device_path(text)).map(|()| text.to_string())
}

fn user(text: &str) -> Result<String, String> {
    rule(names::check_user(text)).map(|()| text.to_string())
}

fn group(text: &str) -> Result<String, String> {
    rule(names::check_group_name(text)).map(|()| text.to_string())
}

fn link(text: &str) -> Result<String, String> {
    rule(names::check_link_name(text)).map(|()| text.to_string())
}

/// A `KEY=VALUE` pair of the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assignment {
    /// The attribute.
    pub key: String,
    /// Its new value.
    pub value: String,
}

fn assignment(text: &str) -> Result<Assignment, String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| "KEY=VALUE is needed".to_string())?;
    rule(names::check_attribute_name(key))?;
    rule(names::check_attribute_value(key, value))?;
    Ok(Assignment {
        key: key.to_string(),
        value: value.to_string(),
    })
}

/// Configures the Ferrite iSCSI target.
#[derive(Debug, Parser)]
#[command(
    name = "ferritectl",
    version,
    about = "Configures the Ferrite iSCSI target",
    long_about = "Configures the Ferrite iSCSI target of the Linux kernel: which block \
                  devices are exported, under which names, at which addresses, and to whom. \
                  Changes take effect at once and last until the module is unloaded; `save` \
                  and `restore` keep them beyond that.",
    after_help = ExitCode::table(),
    after_long_help = format!(
        "{}\nCalled as lio_node or tcm_node it takes the verbs of lio-utils, which --help lists then.",
        ExitCode::table()
    ),
    disable_help_subcommand = true,
    max_term_width = 80
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct Global {
    /// The directory of configfs to work on [default: /sys/kernel/config/ferrite, or as
    /// the module parameter configfs_root says]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Common options"
    )]
    pub root: Option<PathBuf>,

    /// Print JSON, to standard output as to standard error
    #[arg(long, global = true, help_heading = "Common options")]
    pub json: bool,

    /// Print the steps that a change would take, and take none
    #[arg(long, global = true, help_heading = "Common options")]
    pub dry_run: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Block devices that LUNs are backed by
    #[command(subcommand)]
    Backstore(BackstoreCommand),
    /// Targets: iSCSI names that initiators log in to
    #[command(subcommand)]
    Target(TargetCommand),
    /// Target portal groups: the settings of a target
    #[command(subcommand)]
    Tpg(TpgCommand),
    /// Portals: addresses where a target portal group listens
    #[command(subcommand)]
    Portal(PortalCommand),
    /// LUNs: backstores as parts of a target portal group
    #[command(subcommand)]
    Lun(LunCommand),
    /// Access control: which initiators may log in, and what they see
    #[command(subcommand)]
    Acl(AclCommand),
    /// Target port groups: which way to a backstore initiators had better take
    #[command(subcommand)]
    Alua(AluaCommand),
    /// CHAP names and secrets
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Attributes of a target portal group
    #[command(subcommand)]
    Attr(KeyCommand),
    /// Parameters of a target portal group: the keys of RFC 7143 section 13
    #[command(subcommand)]
    Param(KeyCommand),
    /// Sessions: who is logged in
    #[command(subcommand)]
    Session(SessionCommand),
    /// Persistent reservations: who has registered, who holds what
    #[command(subcommand)]
    Reservation(ReservationCommand),
    /// Show everything as a tree
    Status,
    /// Show who does how much now, and how long it takes
    #[command(
        long_about = "Show who does how much now, and how long it takes: operations and bytes a \
        second, outstanding commands, the time that half of the commands and that 99 % of them \
        took at most, and failures, for each LUN and each session. Times are upper bounds of \
        classes that are powers of two of a microsecond. Keys: q quits, s sorts by the next \
        column, v shows LUNs, sessions or both, the space bar pauses, + and - change the \
        interval."
    )]
    Top {
        /// Print one view and end
        #[arg(long)]
        once: bool,
        /// Milliseconds between two looks
        #[arg(long, value_name = "MS", default_value = "1000",
              value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
        interval: u64,
        /// What to sort by
        #[arg(long, value_enum, default_value = "iops")]
        sort: crate::cmd::top::Sort,
    },
    /// Show events as they happen: logins, refusals, ends of sessions, errors of disks
    #[command(
        long_about = "Show events as they happen: logins, logins that are refused and why, ends \
        of sessions and connections and why, disks that fail commands or change their size, and \
        writes to configfs that are refused. The source is the kernel's log, in which the module \
        limits how many lines peers can cause: of a flood a part is told. With --json each event \
        is a line."
    )]
    Monitor {
        /// Begin with what the log still has of earlier events
        #[arg(long)]
        old: bool,
        /// End after so many events
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// End after so many seconds
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u64>,
    },
    /// Print counters and latencies in the text format of Prometheus
    #[command(
        long_about = "Print counters and latencies in the text format of Prometheus. With \
        --output the file is replaced at once, as the textfile collector of node_exporter wants \
        it; call it by a timer."
    )]
    Metrics {
        /// The file to replace
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Leave out the metrics of single sessions
        #[arg(long)]
        no_sessions: bool,
        /// Leave out the stages of latencies, and tell the whole alone
        #[arg(long)]
        no_stages: bool,
    },
    /// Make the configuration what a file says
    #[command(
        long_about = "Make the configuration what a file says that a person has written, in TOML \
        or JSON; see Documentation/administration.rst for what it may hold. The plan is shown: \
        what is added (+), changed (~) and removed (-), and who is interrupted by it. If anybody \
        is, it is done only after a yes at the terminal, or with --yes. What the file does not \
        have is removed; settings that it does not name stay as they are. If something is \
        refused, all is made as it was before. Applying a file twice changes nothing."
    )]
    Apply {
        /// The file; `-` is the standard input
        file: PathBuf,
        /// Go on though initiators are interrupted
        #[arg(long)]
        yes: bool,
    },
    /// Show what `apply` would change; the exit status is 9 if there is anything
    Diff {
        /// The file; `-` is the standard input
        file: PathBuf,
    },
    /// Read the configuration of LIO, tgt, IET, SCST or COMSTAR and write a file for `apply`
    #[command(
        long_about = "Read the configuration file of LIO (saveconfig.json), tgt (targets.conf, or \
        what `tgt-admin --dump` prints), IET (ietd.conf) or SCST (scst.conf), or what the tools of \
        COMSTAR list (stmfadm, itadm), and write a file \
        for `apply`, to the standard output or to OUT. Nothing is configured by it, and no \
        module is needed. Targets, portal group tags, portals, LUNs, initiators, CHAP names and \
        secrets, and what identifies the disks to initiators are carried over. What is not is \
        told on the standard error, a line for each thing with its place and the reason, and the \
        exit status is 6. Secrets go to files of their own beside OUT, readable by their owner \
        alone; without OUT they are not carried over. OUT must not exist."
    )]
    Import {
        /// Whose file it is [default: as it looks]
        #[arg(long, value_enum, value_name = "TARGET")]
        from: Option<crate::import::Format>,
        /// The file; `-` is the standard input
        file: PathBuf,
        /// The file to write
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
    },
    /// Write the whole configuration, secrets included, to a file
    ///
    /// The file is replaced at once. What it had before is kept as FILE.1, what that had as
    /// FILE.2, and so on: the last ten that were different.
    Save {
        /// The file; `-` is the standard output
        #[arg(default_value = crate::files::DEFAULT_FILE)]
        file: PathBuf,
    },
    /// Make the configuration that was saved in a file
    #[command(
        long_about = "Make the configuration that was saved in a file. What exists \
        already as it should is left alone, so a second restore changes nothing. What cannot \
        be restored is named with the reason, everything else is restored, and the exit \
        status is 6. A target portal group is not enabled unless its access control is as \
        saved."
    )]
    Restore {
        /// The file; `-` is the standard input
        #[arg(default_value = crate::files::DEFAULT_FILE)]
        file: PathBuf,
        /// Also remove what the file does not have, and make anew what cannot be changed
        /// in place; sessions that use it are cut
        #[arg(long)]
        replace: bool,
        /// Restore this target alone, with the backstores of its LUNs
        #[arg(long, value_name = "TARGET", value_parser = name)]
        target: Option<Name>,
        /// Wait until all devices of the backstores are there, so many seconds at most
        /// (0 to 3600)
        #[arg(long, value_name = "SECONDS", default_value_t = 0,
            value_parser = clap::value_parser!(u32).range(0..=3600))]
        wait: u32,
    },
    /// Remove the whole configuration
    Clear {
        /// Confirm it
        #[arg(long)]
        yes: bool,
        /// Leave the backstores
        #[arg(long)]
        keep_backstores: bool,
    },
    /// Show the versions of this program and of the module
    Version,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// The directory; without one, the main page goes to the standard output
        dir: Option<PathBuf>,
    },
}

/// `backstore …`
#[derive(Debug, Subcommand)]
pub enum BackstoreCommand {
    /// Open a block device
    Create {
        /// Its name: NAME, or iblock_<n>/NAME
        name: String,
        /// The path of the block device; one below /dev/disk/by-id stays the same
        #[arg(value_parser = device)]
        device: String,
        /// Refuse writes
        #[arg(long)]
        read_only: bool,
        /// Let others open the device for writing too
        #[arg(long)]
        shared: bool,
        /// Serial number, which the NAA identifier is made of too [default: a random UUID]
        #[arg(long)]
        serial: Option<String>,
        /// T10 vendor identification, at most 8 characters
        #[arg(long)]
        vendor: Option<String>,
        /// Product identification, at most 16 characters
        #[arg(long)]
        product: Option<String>,
        /// Product revision, at most 4 characters
        #[arg(long)]
        revision: Option<String>,
        /// Set an attribute
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
        set: Vec<Assignment>,
    },
    /// Put another block device in the place of the open one, while it is in use
    ///
    /// Initiators see the same disk: its identity, its reservations and its LUNs stay, and so do
    /// their sessions. Commands under way end on the old device, those that come meanwhile wait
    /// for the new one, which must have the same contents, be no smaller and have logical blocks
    /// of the same size. When this returns, nothing is written to the old device any more, and it
    /// is free. If it does not end what is under way within 5 s nothing is changed.
    Replace {
        /// NAME, or iblock_<n>/NAME
        name: String,
        /// The path of the new block device
        #[arg(long, value_name = "DEVICE", value_parser = device)]
        path: String,
    },
    /// Close a block device
    Delete {
        /// NAME, or iblock_<n>/NAME
        name: String,
        /// Delete its LUNs too
        #[arg(long)]
        force: bool,
    },
    /// List all
    List,
    /// Show one with its attributes
    Show {
        /// NAME, or iblock_<n>/NAME
        name: String,
    },
    /// Look how full the pools of thin devices are, and tell the kernel
    ///
    /// Initiators can then ask for it, and are told when the pool is as full as the attribute
    /// thin_threshold says. LVM and device mapper tell nobody by themselves: run this from a
    /// timer, or from LVM's thin_command.
    Thin {
        /// NAME, or iblock_<n>/NAME [default: all that are thin]
        name: Vec<String>,
    },
    /// Print attributes
    Get {
        /// NAME, or iblock_<n>/NAME
        name: String,
        /// Which; all if none is given
        key: Vec<String>,
    },
    /// Set attributes, all or none
    Set {
        /// NAME, or iblock_<n>/NAME
        name: String,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        set: Vec<Assignment>,
    },
}

/// `target …`
#[derive(Debug, Subcommand)]
pub enum TargetCommand {
    /// Make a target, with a portal group that is not enabled yet
    Create {
        /// Its iSCSI name, such as iqn.2026-01.org.example:store
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Name,
        /// The tag of its portal group
        #[arg(long, value_name = "TAG", value_parser = tpgt, default_value = "1")]
        tpg: u16,
        /// TargetAlias, a text for people
        #[arg(long)]
        alias: Option<String>,
        /// Make no portal group
        #[arg(long, conflicts_with_all = ["tpg", "alias"])]
        no_tpg: bool,
    },
    /// Delete a target and everything in it, but no backstore
    Delete {
        /// Its name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Name,
        /// Cut its sessions
        #[arg(long)]
        force: bool,
    },
    /// List all
    List,
    /// Show one
    Show {
        /// Its name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Name,
    },
}

/// A portal group, by its target and perhaps its tag.
#[derive(Args, Clone, Debug)]
pub struct TpgArgs {
    /// The target's name
    #[arg(value_name = "TARGET", value_parser = name)]
    pub target: Name,
    /// The tag of the portal group [default: the only one]
    #[arg(long, value_name = "TAG", value_parser = tpgt)]
    pub tpg: Option<u16>,
}

/// A portal group, by its target and perhaps its tag as an argument.
#[derive(Args, Clone, Debug)]
pub struct TagArgs {
    /// The target's name
    #[arg(value_name = "TARGET", value_parser = name)]
    pub target: Name,
    /// The tag of the portal group [default: the only one]
    #[arg(value_name = "TAG", value_parser = tpgt)]
    pub tag: Option<u16>,
}

/// `tpg …`
#[derive(Debug, Subcommand)]
pub enum TpgCommand {
    /// Make a portal group, not enabled
    Create {
        /// The target's name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Name,
        /// Its tag [default: the lowest that is free]
        #[arg(value_name = "TAG", value_parser = tpgt)]
        tag: Option<u16>,
    },
    /// Delete a portal group and everything in it
    Delete {
        /// The portal group
        #[command(flatten)]
        tpg: TagArgs,
        /// Cut its sessions
        #[arg(long)]
        force: bool,
    },
    /// Let initiators log in
    Enable {
        /// The portal group
        #[command(flatten)]
        tpg: TagArgs,
    },
    /// Log initiators out and keep them out
    Disable {
        /// The portal group
        #[command(flatten)]
        tpg: TagArgs,
        /// Cut its sessions
        #[arg(long)]
        force: bool,
    },
    /// List those of a target, or of all
    List {
        /// The target's name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Option<Name>,
    },
    /// Show one with its attributes and parameters
    Show {
        /// The portal group
        #[command(flatten)]
        tpg: TagArgs,
    },
    /// Print attributes and parameters
    Get {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// Which; all if none is given
        key: Vec<String>,
    },
    /// Set attributes and parameters, all or none
    Set {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        set: Vec<Assignment>,
    },
}

/// `attr …` and `param …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print them
    Get {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// Which; all if none is given
        key: Vec<String>,
    },
    /// Set them, all or none
    Set {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        set: Vec<Assignment>,
    },
}

/// `portal …`
#[derive(Debug, Subcommand)]
pub enum PortalCommand {
    /// Listen at an address
    Create {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// ADDRESS, ADDRESS:PORT or [IPV6]:PORT; the default port is 3260
        #[arg(value_parser = portal)]
        portal: Portal,
    },
    /// Send who logs in there to another portal; sessions that there are go on
    Redirect {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// ADDRESS, ADDRESS:PORT or [IPV6]:PORT
        #[arg(value_parser = portal)]
        portal: Portal,
        /// Where to, in the same form
        #[arg(value_parser = portal, required_unless_present = "none")]
        to: Option<Portal>,
        /// Tell initiators to remember it
        #[arg(long, requires = "to")]
        permanent: bool,
        /// Let them log in here again
        #[arg(long, conflicts_with_all = ["to", "permanent"])]
        none: bool,
    },
    /// Listen there no more
    Delete {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// ADDRESS, ADDRESS:PORT or [IPV6]:PORT
        #[arg(value_parser = portal)]
        portal: Portal,
    },
    /// List those of a target, or of all
    List {
        /// The target's name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Option<Name>,
    },
}

/// `lun …`
#[derive(Debug, Subcommand)]
pub enum LunCommand {
    /// Make a LUN out of a backstore
    Create {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The backstore: NAME, or iblock_<n>/NAME
        backstore: String,
        /// Its number [default: the lowest that is free]
        #[arg(long, value_name = "LUN", value_parser = lun)]
        lun: Option<u64>,
        /// The name of the link in configfs [default: the backstore's name]
        #[arg(long, value_name = "NAME", value_parser = link)]
        link: Option<String>,
        /// Map it for every ACL of the portal group, under the same number
        #[arg(long)]
        map_all: bool,
    },
    /// Delete a LUN and its mappings
    Delete {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// Its number
        #[arg(value_parser = lun)]
        lun: u64,
        /// Do so although initiators that see it are logged in
        #[arg(long)]
        force: bool,
    },
    /// List those of a target, or of all
    List {
        /// The target's name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Option<Name>,
    },
    /// Print attributes
    Get {
        /// The LUN
        #[command(flatten)]
        lun: LunArgs,
        /// Which; all if none is given
        key: Vec<String>,
    },
    /// Set attributes, all or none: max_iops and max_bytes_per_second limit what it may use
    Set {
        /// The LUN
        #[command(flatten)]
        lun: LunArgs,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        set: Vec<Assignment>,
    },
}

/// A LUN, by its portal group and its number.
#[derive(Args, Clone, Debug)]
pub struct LunArgs {
    /// The portal group
    #[command(flatten)]
    pub tpg: TpgArgs,
    /// The LUN of the portal group
    #[arg(value_parser = lun)]
    pub lun: u64,
}

/// `alua …`
#[derive(Debug, Subcommand)]
pub enum AluaCommand {
    /// Make a target port group
    Create {
        /// The backstore: NAME, or iblock_<n>/NAME
        backstore: String,
        /// The name of the group
        #[arg(value_parser = group)]
        group: String,
        /// Its identifier, which cannot change [default: the lowest that is free]
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        id: Option<u16>,
        /// Its access state [default: optimized]
        #[arg(long)]
        state: Option<AccessState>,
        /// Set an attribute
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
        set: Vec<Assignment>,
    },
    /// Delete a target port group; its LUNs are in the default one then
    Delete {
        /// The backstore: NAME, or iblock_<n>/NAME
        backstore: String,
        /// The name of the group
        group: String,
    },
    /// List those of a backstore, or of all
    List {
        /// The backstore: NAME, or iblock_<n>/NAME
        backstore: Option<String>,
    },
    /// Show one with its LUNs and attributes
    Show {
        /// The backstore: NAME, or iblock_<n>/NAME
        backstore: String,
        /// The name of the group
        group: String,
    },
    /// Print attributes
    Get {
        /// The backstore: NAME, or iblock_<n>/NAME
        backstore: String,
        /// The name of the group
        group: String,
        /// Which; all if none is given
        key: Vec<String>,
    },
    /// Set attributes, all or none
    Set {
        /// The backstore: NAME, or iblock_<n>/NAME
        backstore: String,
        /// The name of the group
        group: String,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        set: Vec<Assignment>,
    },
    /// Change the access state; ends when the transition does
    State {
        /// The backstore: NAME, or iblock_<n>/NAME
        backstore: String,
        /// The name of the group
        group: String,
        /// The new state
        state: AccessState,
    },
    /// Put a LUN into a target port group of its backstore
    Join {
        /// The LUN
        #[command(flatten)]
        lun: LunArgs,
        /// The name of the group
        group: String,
    },
    /// Put a LUN back into the default target port group
    Leave {
        /// The LUN
        #[command(flatten)]
        lun: LunArgs,
    },
    /// Take a LUN offline, whatever its group is
    Offline {
        /// The LUN
        #[command(flatten)]
        lun: LunArgs,
    },
    /// Let the state of its group count for a LUN again
    Online {
        /// The LUN
        #[command(flatten)]
        lun: LunArgs,
    },
}

/// `acl …`
#[derive(Debug, Subcommand)]
pub enum AclCommand {
    /// Let an initiator log in, or make a host group
    #[command(
        long_about = "Let an initiator log in. With @NAME instead of an iSCSI name make a host \
        group: its members, given with --member, share its LUNs, attributes and credentials. An \
        initiator with an ACL of its own has nothing of a group; of several groups the one counts \
        whose member describes it most closely."
    )]
    Create {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name, or the @NAME of a host group
        #[arg(value_parser = acl_name)]
        initiator: Name,
        /// An initiator that is in the group; each * in it stands for any characters; may be
        /// given several times
        #[arg(long, value_name = "NAME", value_parser = member)]
        member: Vec<String>,
        /// Map this LUN, under the same number; may be given several times
        #[arg(long, value_name = "LUN", value_parser = lun, group = "mapped")]
        map: Vec<u64>,
        /// Map all LUNs that there are now
        #[arg(long, group = "mapped")]
        map_all: bool,
        /// Refuse writes to the mapped LUNs
        #[arg(long, requires = "mapped")]
        read_only: bool,
    },
    /// Let an initiator log in no more
    Delete {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name, or the @NAME of a host group
        #[arg(value_parser = acl_name)]
        initiator: Name,
        /// Cut its sessions
        #[arg(long)]
        force: bool,
    },
    /// List those of a target, or of all
    List {
        /// The target's name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Option<Name>,
    },
    /// Show one with its attributes and mapped LUNs
    Show {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name, or the @NAME of a host group
        #[arg(value_parser = acl_name)]
        initiator: Name,
    },
    /// Let an initiator see a LUN, or change whether it may write to it
    Map {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name, or the @NAME of a host group
        #[arg(value_parser = acl_name)]
        initiator: Name,
        /// The LUN of the portal group
        #[arg(value_parser = lun)]
        lun: u64,
        /// The number that the initiator sees [default: the same]
        #[arg(long = "as", value_name = "LUN", value_parser = lun)]
        mapped: Option<u64>,
        /// Refuse writes
        #[arg(long, conflicts_with = "read_write")]
        read_only: bool,
        /// Allow writes; so it is for a new mapping unless the portal group says otherwise
        #[arg(long)]
        read_write: bool,
    },
    /// Hide a LUN from an initiator
    Unmap {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name, or the @NAME of a host group
        #[arg(value_parser = acl_name)]
        initiator: Name,
        /// The number that the initiator sees
        #[arg(value_parser = lun)]
        mapped: u64,
        /// Do so although the initiator is logged in
        #[arg(long)]
        force: bool,
    },
    /// Print attributes
    Get {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name, or the @NAME of a host group
        #[arg(value_parser = acl_name)]
        initiator: Name,
        /// Which; all if none is given
        key: Vec<String>,
    },
    /// Set attributes, cmdsn_depth or tag, all or none
    Set {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name, or the @NAME of a host group
        #[arg(value_parser = acl_name)]
        initiator: Name,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        set: Vec<Assignment>,
    },
}

/// Whose credentials.
#[derive(Args, Clone, Debug)]
pub struct AuthScope {
    /// The target's name
    #[arg(
        value_name = "TARGET",
        value_parser = name,
        required_unless_present = "discovery",
        conflicts_with = "discovery"
    )]
    pub target: Option<Name>,
    /// The tag of the portal group [default: the only one]
    #[arg(long, value_name = "TAG", value_parser = tpgt, requires = "target")]
    pub tpg: Option<u16>,
    /// Those of the ACL of this initiator or @GROUP, not those for initiators without an ACL
    #[arg(long, value_name = "INITIATOR", value_parser = acl_name, requires = "target")]
    pub acl: Option<Name>,
    /// Those of discovery sessions
    #[arg(long)]
    pub discovery: bool,
}

/// `auth …`
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Set CHAP names and secrets
    #[command(
        long_about = "Set CHAP names and secrets. A secret is read from the file that \
        --secret-file names, else typed without echo, else, when the standard input is no \
        terminal, read from there: a line for --user and then a line for --mutual-user. \
        It has 12 to 255 bytes; the two secrets must differ (RFC 7143 section 9.2.1)."
    )]
    Set {
        /// Whose credentials
        #[command(flatten)]
        scope: AuthScope,
        /// The name that the initiator proves (CHAP_N)
        #[arg(long, value_name = "NAME", value_parser = user)]
        user: Option<String>,
        /// The file with the initiator's secret; nobody else may be able to read it
        #[arg(long, value_name = "FILE", requires = "user")]
        secret_file: Option<PathBuf>,
        /// The initiator's secret; others can see it in the list of processes
        #[arg(
            long,
            value_name = "SECRET",
            requires = "user",
            conflicts_with = "secret_file"
        )]
        secret: Option<String>,
        /// The name that the target proves to the initiator (mutual CHAP)
        #[arg(long, value_name = "NAME", value_parser = user)]
        mutual_user: Option<String>,
        /// The file with the target's secret
        #[arg(long, value_name = "FILE", requires = "mutual_user")]
        mutual_secret_file: Option<PathBuf>,
        /// The target's secret; others can see it in the list of processes
        #[arg(
            long,
            value_name = "SECRET",
            requires = "mutual_user",
            conflicts_with = "mutual_secret_file"
        )]
        mutual_secret: Option<String>,
        /// Take secrets of fewer than 12 bytes
        #[arg(long)]
        allow_weak: bool,
        /// Demand CHAP of discovery sessions
        #[arg(long, requires = "discovery", conflicts_with = "no_enforce")]
        enforce: bool,
        /// Let anybody discover targets
        #[arg(long, requires = "discovery")]
        no_enforce: bool,
    },
    /// Remove CHAP names and secrets
    Clear {
        /// Whose credentials
        #[command(flatten)]
        scope: AuthScope,
        /// Only what the target proves to the initiator
        #[arg(long)]
        mutual: bool,
    },
    /// Show CHAP names, and whether there are secrets
    Show {
        /// Whose credentials
        #[command(flatten)]
        scope: AuthScope,
    },
    /// Write a new random secret to a file
    Generate {
        /// The file, which must not exist; it is made readable by its owner alone
        file: PathBuf,
    },
}

/// `reservation …`
#[derive(Debug, Subcommand)]
pub enum ReservationCommand {
    /// List the backstores with their reservations
    List,
    /// Show a backstore's registrations
    Show {
        /// The backstore: NAME, or iblock_<n>/NAME
        name: String,
    },
    /// Take all registrations and the reservation of a backstore away
    #[command(
        long_about = "Take all registrations and the reservation of a backstore away: the way \
        out when a reservation stays that nobody is left to release. Initiators that believe \
        to have the disk to themselves have it no longer, and are told so (RESERVATIONS \
        PREEMPTED); make sure that none of them still writes. The kernel log keeps what was \
        cleared."
    )]
    Clear {
        /// The backstore: NAME, or iblock_<n>/NAME
        name: String,
        /// Confirm it
        #[arg(long)]
        yes: bool,
    },
}

/// `session …`
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List those of a target, or of all
    List {
        /// The target's name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Option<Name>,
    },
    /// Show those of an initiator, with what was negotiated and what they have done
    Show {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name
        #[arg(value_parser = name)]
        initiator: Name,
    },
    /// End those of an initiator, or of all initiators of a portal group
    ///
    /// An initiator that may still log in will do so again: delete its ACL, or disable the
    /// portal group, to keep it out.
    Close {
        /// The portal group
        #[command(flatten)]
        tpg: TpgArgs,
        /// The initiator's iSCSI name
        #[arg(value_parser = name, required_unless_present = "all", conflicts_with = "all")]
        initiator: Option<Name>,
        /// Those of all initiators
        #[arg(long)]
        all: bool,
        /// Ask for a logout first, and wait so many seconds for it, 1 to 3600
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3600))]
        wait: Option<u16>,
    },
    /// Ask for a logout, wait for it, and close what is left
    ///
    /// Initiators are sent an Async Message that asks for a logout within so many seconds (RFC
    /// 7143, section 11.9.1). Sessions that are there when they are over are closed. An
    /// initiator that may still log in may do so again.
    Drain {
        /// The target's name
        #[arg(value_name = "TARGET", value_parser = name)]
        target: Name,
        /// The tag of the portal group [default: all of the target]
        #[arg(long, value_name = "TAG", value_parser = tpgt)]
        tpg: Option<u16>,
        /// Only the sessions of this initiator
        #[arg(long, value_name = "NAME", value_parser = name)]
        initiator: Option<Name>,
        /// Only the session with this number
        #[arg(long, value_name = "NUMBER")]
        session: Option<u32>,
        /// Seconds that initiators have, 1 to 3600
        #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u16).range(1..=3600))]
        within: u16,
    },
}
