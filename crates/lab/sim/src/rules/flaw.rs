//! Bugs to plant: each breaks one rule, in the harness around the machines. A harness that does
//! not notice one of them is blind to it.

/// A rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// A follower appends although the logs have parted.
    SkipTruncation,
    /// A follower takes the leader's high watermark before it cuts (KAFKA-14704).
    HighWatermarkFirst,
    /// A follower cuts to its own high watermark, not by epoch (before KIP-101).
    TruncateToHighWatermark,
    /// Records count as durable that are not synced.
    CountUnsynced,
    /// Nobody checks leader epochs between leaders and followers.
    ForgetLeaderEpoch,
    /// Nobody checks whose process a follower's words are from (before KIP-903).
    ForgetBrokerEpoch,
    /// The controller elects outside ISR and ELR.
    ElectOutsideIsr,
    /// A follower joins the ISR with its first fetch.
    JoinTooEarly,
    /// The high watermark moves with fewer in sync than the minimum (before KIP-966).
    IgnoreMinIsr,
    /// What followers told in an older epoch counts in a new one.
    KeepOldProgress,
    /// `acks=all` is answered by the append.
    AckTooEarly,
    /// A restarted broker goes on leading in the epoch of its last life.
    LeadInOldEpoch,
    /// A wiped disk keeps its identity.
    KeepWipedIdentity,
    /// A relaxed broker that lost its page cache says that it has not.
    HideLostPageCache,
    /// A new leader names its end before it knows what was committed (KIP-207).
    NameEndTooEarly,
}

/// Every flaw, with its name on the command line.
pub const FLAWS: [(Flaw, &str); 15] = [
    (Flaw::SkipTruncation, "skip-truncation"),
    (Flaw::HighWatermarkFirst, "high-watermark-first"),
    (Flaw::TruncateToHighWatermark, "truncate-to-high-watermark"),
    (Flaw::CountUnsynced, "count-unsynced"),
    (Flaw::ForgetLeaderEpoch, "forget-leader-epoch"),
    (Flaw::ForgetBrokerEpoch, "forget-broker-epoch"),
    (Flaw::ElectOutsideIsr, "elect-outside-isr"),
    (Flaw::JoinTooEarly, "join-too-early"),
    (Flaw::IgnoreMinIsr, "ignore-min-isr"),
    (Flaw::KeepOldProgress, "keep-old-progress"),
    (Flaw::AckTooEarly, "ack-too-early"),
    (Flaw::LeadInOldEpoch, "lead-in-old-epoch"),
    (Flaw::KeepWipedIdentity, "keep-wiped-identity"),
    (Flaw::HideLostPageCache, "hide-lost-page-cache"),
    (Flaw::NameEndTooEarly, "name-end-too-early"),
];

impl Flaw {
    /// The flaw of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FLAWS.iter().find(|(_, other)| *other == name).map(|(flaw, _)| *flaw)
    }
}
