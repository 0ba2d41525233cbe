//! The faults there are, by name and by row of the catalogue, and what each needs.

use anyhow::{Context, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    KillAll,
    KillLeader,
    KillController,
    Pause,
    PauseLeader,
    Roll,
    Upgrade,
    Wipe,
    DoubleFailOver,
    LastStanding,
    Isolate,
    IsolateLeader,
    OneWay,
    Bridge,
    FollowerCut,
    ClientCut,
    Loss,
    ChangeAndKill,
    MoveAndKill,
    Reshape,
    CrashLoop,
    Narrow,
    Reset,
    Halve,
    Replay,
    Split,
    SplitGossip,
    Dark,
    DarkLeader,
    DarkAll,
    LastDark,
    FullDisk,
    FullLeader,
    SlowDisk,
    FsyncError,
    Clock,
    DeadDisk,
    ReadOnlyDisk,
    OldDisk,
    Rot,
    NoFiles,
    NoMemory,
}

/// What a fault needs around the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A network that can be cut.
    Network,
    /// One that can lose packets.
    Loss,
    /// One that can be narrow.
    Narrow,
    /// Disks that can lose their power and be filled.
    Disks,
    /// Disks that can be slowed down.
    Throttle,
    /// Disks that can report errors.
    Errors,
    /// Clocks that can be set.
    Clocks,
    /// Memory that can be bounded.
    Memory,
    /// A second binary.
    Other,
}

const NAMES: [(Fault, &str); 43] = [
    (Fault::Kill, "kill"),
    (Fault::KillAll, "kill-all"),
    (Fault::KillLeader, "kill-leader"),
    (Fault::KillController, "kill-controller"),
    (Fault::Pause, "pause"),
    (Fault::PauseLeader, "pause-leader"),
    (Fault::Roll, "roll"),
    (Fault::Upgrade, "upgrade"),
    (Fault::Wipe, "wipe"),
    (Fault::DoubleFailOver, "double"),
    (Fault::LastStanding, "last-standing"),
    (Fault::Isolate, "cut"),
    (Fault::IsolateLeader, "cut-leader"),
    (Fault::OneWay, "one-way"),
    (Fault::Bridge, "bridge"),
    (Fault::FollowerCut, "follower-cut"),
    (Fault::ClientCut, "client-cut"),
    (Fault::Loss, "loss"),
    (Fault::ChangeAndKill, "change-kill"),
    (Fault::MoveAndKill, "move-kill"),
    (Fault::Reshape, "reshape"),
    (Fault::CrashLoop, "crash-loop"),
    (Fault::Narrow, "narrow"),
    (Fault::Reset, "reset"),
    (Fault::Halve, "halve"),
    (Fault::Replay, "replay"),
    (Fault::Split, "split"),
    (Fault::SplitGossip, "split-gossip"),
    (Fault::Dark, "power"),
    (Fault::DarkLeader, "power-leader"),
    (Fault::DarkAll, "power-all"),
    (Fault::LastDark, "last-power"),
    (Fault::FullDisk, "full"),
    (Fault::FullLeader, "full-leader"),
    (Fault::SlowDisk, "slow"),
    (Fault::FsyncError, "fsync-error"),
    (Fault::Clock, "clock"),
    (Fault::DeadDisk, "dead-disk"),
    (Fault::ReadOnlyDisk, "read-only"),
    (Fault::OldDisk, "old-disk"),
    (Fault::Rot, "rot"),
    (Fault::NoFiles, "no-files"),
    (Fault::NoMemory, "no-memory"),
];

/// The rows of the catalogue, by what befalls the cluster in them.
const ROWS: [(&str, &[Fault]); 35] = [
    ("R1", &[Fault::Kill]),
    ("R2", &[Fault::KillAll]),
    ("R3", &[Fault::KillLeader]),
    ("R4", &[Fault::PauseLeader]),
    ("R5", &[Fault::Pause, Fault::Kill]),
    ("R6", &[Fault::KillController]),
    ("R7", &[Fault::DoubleFailOver]),
    ("R8", &[Fault::ChangeAndKill]),
    ("R9", &[Fault::LastStanding, Fault::LastDark]),
    ("R10", &[Fault::Wipe]),
    ("R11", &[Fault::Reshape]),
    ("R12", &[Fault::MoveAndKill]),
    ("R13", &[Fault::Roll]),
    ("R14", &[Fault::Upgrade]),
    ("R15", &[Fault::CrashLoop]),
    ("N1", &[Fault::Isolate, Fault::IsolateLeader]),
    ("N2", &[Fault::OneWay]),
    ("N3", &[Fault::Bridge, Fault::FollowerCut]),
    ("N4", &[Fault::ClientCut]),
    ("N5", &[Fault::Loss]),
    ("N6", &[Fault::Narrow]),
    ("N7", &[Fault::Reset, Fault::Halve]),
    ("N8", &[Fault::Replay]),
    ("N9", &[Fault::Split, Fault::SplitGossip]),
    ("D1", &[Fault::Dark, Fault::DarkLeader]),
    ("D2", &[Fault::DarkAll]),
    ("D3", &[Fault::Dark, Fault::Pause]),
    ("D5", &[Fault::Rot]),
    ("D7", &[Fault::OldDisk]),
    ("D8", &[Fault::FsyncError]),
    ("D9", &[Fault::FullDisk, Fault::FullLeader]),
    ("D10", &[Fault::DeadDisk, Fault::ReadOnlyDisk]),
    ("D11", &[Fault::SlowDisk]),
    ("D12", &[Fault::Clock]),
    ("D13", &[Fault::NoFiles, Fault::NoMemory]),
];

impl Fault {
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = NAMES.iter().find(|(_, other)| *other == name);
        let all: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
        found
            .map(|(fault, _)| *fault)
            .with_context(|| format!("there is no fault {name:?}; there are {}", all.join(", ")))
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(fault, _)| *fault == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn of_row(name: &str) -> Result<Vec<Self>> {
        let found = ROWS.iter().find(|(row, _)| row.eq_ignore_ascii_case(name));
        let all: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
        found
            .map(|(_, faults)| faults.to_vec())
            .with_context(|| format!("there is no row {name:?} here; there are {}", all.join(", ")))
    }

    /// All that need no second binary: what a run has that names none.
    pub(crate) fn all() -> Vec<Self> {
        let all = NAMES.iter().map(|(fault, _)| *fault);
        all.filter(|fault| !fault.needs().contains(&Need::Other)).collect()
    }

    /// Whether no client may notice: not even records in doubt are allowed.
    pub(crate) const fn is_orderly(self) -> bool {
        matches!(self, Self::Roll | Self::Upgrade)
    }

    pub(crate) const fn needs(self) -> &'static [Need] {
        match self {
            Self::Isolate
            | Self::IsolateLeader
            | Self::OneWay
            | Self::Bridge
            | Self::FollowerCut
            | Self::ClientCut
            | Self::ChangeAndKill
            | Self::Reshape
            | Self::Split => &[Need::Network],
            Self::Reset | Self::Halve | Self::SplitGossip => &[Need::Network, Need::Loss],
            Self::Narrow => &[Need::Network, Need::Narrow],
            Self::Loss => &[Need::Network, Need::Loss],
            Self::Dark | Self::DarkLeader | Self::DarkAll => &[Need::Disks],
            Self::FullDisk | Self::FullLeader => &[Need::Disks],
            Self::DeadDisk | Self::ReadOnlyDisk | Self::OldDisk => &[Need::Disks],
            Self::NoMemory => &[Need::Memory],
            Self::LastDark => &[Need::Network, Need::Disks],
            Self::SlowDisk => &[Need::Disks, Need::Throttle],
            Self::FsyncError => &[Need::Errors],
            Self::Clock => &[Need::Clocks],
            Self::Upgrade => &[Need::Other],
            _ => &[],
        }
    }

    /// With fewer brokers it would lose what it may lose, or mean nothing.
    pub(crate) const fn brokers_min(self) -> usize {
        match self {
            Self::Kill | Self::KillAll | Self::KillLeader | Self::KillController => 1,
            Self::Pause | Self::PauseLeader | Self::Roll | Self::Upgrade => 1,
            Self::Dark | Self::DarkLeader | Self::DarkAll | Self::Clock => 1,
            Self::FullDisk | Self::FullLeader | Self::SlowDisk | Self::FsyncError => 1,
            Self::NoFiles | Self::NoMemory => 1,
            Self::CrashLoop | Self::Replay | Self::Narrow | Self::Reset | Self::Halve => 1,
            // Five are the next number above three that found a cluster.
            Self::MoveAndKill | Self::Reshape | Self::Split | Self::SplitGossip => 5,
            _ => 3,
        }
    }

    /// Whether all replicas must be in sync first: what would be lost else is nobody's fault.
    pub(crate) const fn wants_all_in_sync(self) -> bool {
        matches!(
            self,
            Self::Wipe
                | Self::OldDisk
                | Self::Rot
                | Self::DeadDisk
                | Self::ReadOnlyDisk
                | Self::DoubleFailOver
                | Self::LastStanding
                | Self::LastDark
                | Self::MoveAndKill
                | Self::Reshape
                | Self::Roll
                | Self::Upgrade
        )
    }
}
