//! What can be asked of a group coordinator, and what it answers.
//!
//! Commands carry what a request said after its handler resolved topic ids to names. Strings that
//! are opaque to us (protocol metadata, assignments) stay bytes, byte for byte.

use crate::record::GroupRecord;
use jocko_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A request that waits: the edge knows which connection it belongs to.
pub type Ticket = u64;

/// Bytes that clients exchange through us.
pub type Opaque = Arc<[u8]>;

/// Something to be decided. One group each, save for what time and the cluster bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Classic protocol: become, or stay, a member (KIP-62, 345, 394, 814).
    Join(Join),
    /// Classic protocol: bring, or fetch, the assignment.
    Sync(Sync),
    /// Classic protocol: still here.
    Heartbeat(Heartbeat),
    /// Classic protocol, or an administrator: members go (KIP-345). Also takes members out of a
    /// consumer group.
    Leave(Leave),
    /// Consumer protocol: everything a member does (KIP-848).
    ConsumerHeartbeat(ConsumerHeartbeat),
    /// Remember offsets.
    CommitOffsets(CommitOffsets),
    /// Forget offsets of topics that nobody in the group subscribes to (KIP-496).
    DeleteOffsets {
        /// The group.
        group_id: String,
        /// Topics, each with partitions.
        topics: Vec<(String, Vec<PartitionIndex>)>,
    },
    /// Remove an empty group with its offsets (KIP-229).
    DeleteGroup {
        /// The group.
        group_id: String,
    },
    /// Topics were deleted: so are the offsets committed for them, but not those committed for a
    /// later topic of the same name.
    ForgetTopics {
        /// Their names and ids.
        topics: Vec<(String, TopicId)>,
    },
    /// Topics may have been deleted while nobody could say so here: offsets that were committed for
    /// a topic that is not there go. Those that do not say for which topic they are, stay.
    ForgetGoneTopics,
    /// Look for offsets and groups that have expired.
    Expire,
    /// A deadline of [`crate::Coordinator::next_deadline`] has passed.
    Tick,
}

/// JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The group.
    pub group_id: String,
    /// The member; empty at first.
    pub member_id: String,
    /// A name that outlives the process (KIP-345).
    pub instance_id: Option<String>,
    /// What the members speak among themselves; "consumer", "connect", ...
    pub protocol_type: String,
    /// The dialects it knows, best first, each with metadata for the leader.
    pub protocols: Vec<(String, Opaque)>,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// How long others wait for it in a rebalance.
    pub rebalance_timeout: Duration,
    /// Why it joins, in its words (KIP-800).
    pub reason: Option<String>,
    /// The client, as it names itself.
    pub client_id: String,
    /// Where it is, as "/127.0.0.1".
    pub client_host: String,
    /// Whether an empty member id is answered with one to come back with (version 4, KIP-394).
    pub member_id_required: bool,
    /// Whether it knows what to do if it leads but need not assign (version 9, KIP-814).
    pub may_skip_assignment: bool,
}

/// SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// The group.
    pub group_id: String,
    /// The member.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
    /// The generation it joined.
    pub generation: i32,
    /// Checked if given (version 5, KIP-559).
    pub protocol_type: Option<String>,
    /// Checked if given (version 5).
    pub protocol_name: Option<String>,
    /// From the leader: what each member gets.
    pub assignments: Vec<(String, Opaque)>,
}

/// Heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group_id: String,
    /// The member.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
    /// The generation it believes in.
    pub generation: i32,
}

/// LeaveGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// The group.
    pub group_id: String,
    /// Who goes.
    pub members: Vec<LeavingMember>,
}

/// One that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member; may be empty if `instance_id` says who.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
    /// Why, in its words (KIP-800).
    pub reason: Option<String>,
}

/// ConsumerGroupHeartbeat. `None` means "as before".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group_id: String,
    /// The member; clients make it from version 1 on (KIP-1082), before that empty at first.
    pub member_id: String,
    /// 0 joins, -1 leaves, -2 leaves for a while with a static name; else the epoch it is at.
    pub member_epoch: i32,
    /// Its static name.
    pub instance_id: Option<String>,
    /// Where it is (KIP-881).
    pub rack_id: Option<String>,
    /// How long it may take to give partitions back.
    pub rebalance_timeout: Option<Duration>,
    /// Topics by name.
    pub subscribed_topics: Option<Vec<String>>,
    /// Topics by regular expression; empty takes it back (version 1).
    pub subscribed_regex: Option<String>,
    /// Which assignor on the server it wants.
    pub server_assignor: Option<String>,
    /// What it owns right now.
    pub owned: Option<Vec<(TopicId, Vec<PartitionIndex>)>>,
    /// The client, as it names itself.
    pub client_id: String,
    /// Where it is, as "/127.0.0.1".
    pub client_host: String,
    /// Whether the member id must come from the client (version 1).
    pub member_id_from_client: bool,
}

/// OffsetCommit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsets {
    /// The group.
    pub group_id: String,
    /// Generation (classic) or member epoch (consumer); negative if not a member.
    pub generation_or_member_epoch: i32,
    /// The member; empty if none.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
    /// How long to keep them, where the client says so (versions 2-4).
    pub retention: Option<Duration>,
    /// Whether the version knows STALE_MEMBER_EPOCH (9 and above; below, ILLEGAL_GENERATION).
    pub knows_member_epochs: bool,
    /// What to remember.
    pub offsets: Vec<OffsetToCommit>,
}

/// One offset to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetToCommit {
    /// The topic.
    pub topic: String,
    /// Its id; zero if not known.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next record to read.
    pub offset: Offset,
    /// The epoch of the last record read (KIP-320); -1 if not known.
    pub leader_epoch: LeaderEpoch,
    /// Words of the client's own.
    pub metadata: String,
}

/// An offset that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record to read.
    pub offset: Offset,
    /// The epoch of the last record read; -1 if not known.
    pub leader_epoch: LeaderEpoch,
    /// Words of the client's own.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// When it expires, if the client said so; `None` by the broker's rule.
    pub expires_at: Option<Timestamp>,
    /// The topic's id; zero if it was not known.
    pub topic_id: TopicId,
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Command::Join`].
    Joined(Joined),
    /// To [`Command::Sync`].
    Synced(Synced),
    /// To [`Command::Heartbeat`].
    HeartbeatTaken(ErrorCode),
    /// To [`Command::Leave`]: an error for all, or one for each.
    Left(Result<Vec<(LeavingMember, ErrorCode)>, ErrorCode>),
    /// To [`Command::ConsumerHeartbeat`].
    ConsumerHeartbeat(Box<ConsumerHeartbeatAnswer>),
    /// To [`Command::CommitOffsets`]: an error for all, or one for each, in the order asked.
    Committed(Result<Vec<ErrorCode>, ErrorCode>),
    /// To [`Command::DeleteOffsets`]: an error for all, or one for each, in the order asked.
    OffsetsDeleted(Result<Vec<Vec<ErrorCode>>, ErrorCode>),
    /// To [`Command::DeleteGroup`].
    GroupDeleted(ErrorCode),
    /// To what nobody waits for.
    Done,
}

/// The answer to a Join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// `None` if it is in; MEMBER_ID_REQUIRED comes with a member id.
    pub error: ErrorCode,
    /// The generation; -1 with an error.
    pub generation: i32,
    /// What the members speak.
    pub protocol_type: Option<String>,
    /// The dialect they settled on; versions without a null say "" instead.
    pub protocol_name: Option<String>,
    /// Who assigns.
    pub leader: String,
    /// Whether the leader is to leave the assignment as it is (KIP-814).
    pub skip_assignment: bool,
    /// Its id.
    pub member_id: String,
    /// For the leader: everybody.
    pub members: Vec<JoinedMember>,
}

/// A member, as its leader learns of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
    /// What it said of itself in the chosen dialect.
    pub metadata: Opaque,
}

/// The answer to a Sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// Whether it has an assignment.
    pub error: ErrorCode,
    /// What the members speak.
    pub protocol_type: Option<String>,
    /// The dialect they settled on.
    pub protocol_name: Option<String>,
    /// What the leader gave it.
    pub assignment: Opaque,
}

/// The answer to a ConsumerHeartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerHeartbeatAnswer {
    /// Whether it was taken.
    pub error: ErrorCode,
    /// What is wrong, for people.
    pub message: Option<String>,
    /// Its id.
    pub member_id: Option<String>,
    /// The epoch it is at now.
    pub member_epoch: i32,
    /// When to come again.
    pub heartbeat_interval: Duration,
    /// What it may own; `None` if that has not changed.
    pub assignment: Option<Vec<(TopicId, Vec<PartitionIndex>)>>,
}

/// What to do about a command, in this order: append the records as one batch (all or nothing),
/// [`crate::Coordinator::accept`] it, send the answers once what was appended is committed. A
/// refused append has changed nothing: give the decision to [`crate::Coordinator::pass_over`] and
/// answer with a retriable error.
#[derive(Debug, Default)]
pub struct Decision {
    /// What must be in the log first; may be empty.
    pub records: Vec<GroupRecord>,
    /// Who is answered what: the one that asked, and others that waited.
    pub(crate) answers: Vec<(Ticket, Answer)>,
    /// Whether the command asked for more than one batch should hold: decide it again once this
    /// decision is accepted.
    pub again: bool,
    /// What the records take in the log, as far as anything asked.
    pub(crate) bytes: usize,
    /// What is not in the log: sessions, and classic members that still join.
    pub(crate) changes: crate::coordinator::Changes,
}

/// OffsetFetch, of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchOffsets {
    /// The group.
    pub group_id: String,
    /// The member that asks, if it says (version 9).
    pub member_id: Option<String>,
    /// The epoch it is at; negative if it is not a member (version 9).
    pub member_epoch: i32,
    /// Which; `None` asks for all that belong to topics of now. Ids are zero where the request has names only.
    pub topics: Option<Vec<(String, TopicId, Vec<PartitionIndex>)>>,
    /// Whether offsets that a transaction may still change are refused (KIP-447).
    pub require_stable: bool,
}

/// A topic with what was committed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    /// Its name.
    pub topic: String,
    /// The id that was asked for; zero if all were, or the request has names only.
    pub topic_id: TopicId,
    /// The partitions, in the order asked.
    pub partitions: Vec<FetchedPartition>,
}

/// A partition with what was committed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset; `None`, which is no error, if there is none: the wire says -1.
    pub committed: Option<CommittedOffset>,
    /// UNSTABLE_OFFSET_COMMIT if a transaction may still change it.
    pub error: ErrorCode,
}

/// A group, as ListGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group_id: String,
    /// What its members speak: "consumer", "connect", ... or empty.
    pub protocol_type: String,
    /// As Kafka names it: "Stable", "Empty", "`PreparingRebalance`", ...
    pub state: &'static str,
    /// "classic" or "consumer".
    pub kind: &'static str,
}

/// A classic group, as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribedGroup {
    /// As Kafka names it.
    pub state: &'static str,
    /// What its members speak.
    pub protocol_type: String,
    /// The dialect; empty unless stable.
    pub protocol_name: String,
    /// Everybody.
    pub members: Vec<DescribedMember>,
}

/// A classic member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
    /// The client.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it said of itself.
    pub metadata: Opaque,
    /// What it was given.
    pub assignment: Opaque,
}

/// A consumer group, as ConsumerGroupDescribe shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribedConsumerGroup {
    /// "Empty", "Assigning", "Reconciling" or "Stable".
    pub state: &'static str,
    /// The group's epoch.
    pub group_epoch: i32,
    /// The epoch of the target assignment.
    pub assignment_epoch: i32,
    /// Which assignor.
    pub assignor: String,
    /// Everybody.
    pub members: Vec<DescribedConsumerMember>,
}

/// A member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribedConsumerMember {
    /// Its id.
    pub member_id: String,
    /// Its static name.
    pub instance_id: Option<String>,
    /// Where it is.
    pub rack_id: Option<String>,
    /// The epoch it is at.
    pub member_epoch: i32,
    /// The client.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// Topics by name.
    pub subscribed_topics: Vec<String>,
    /// Topics by regular expression.
    pub subscribed_regex: Option<String>,
    /// What it owns.
    pub assignment: BTreeMap<TopicId, Vec<PartitionIndex>>,
    /// What it shall own.
    pub target: BTreeMap<TopicId, Vec<PartitionIndex>>,
    /// -1 unknown, 0 speaks the classic protocol, 1 the consumer protocol.
    pub member_type: i8,
}

impl Command {
    /// The answer that refuses this command with `error`: when the coordinator is not here or
    /// still loads, and when an append was refused.
    #[must_use]
    pub fn refusal(&self, error: ErrorCode) -> Answer {
        match self {
            // Kafka names no member here.
            Self::Join(_) => Answer::Joined(Joined::refused("", error)),
            Self::Sync(_) => Answer::Synced(Synced::refused(error)),
            Self::Heartbeat(_) => Answer::HeartbeatTaken(error),
            Self::Leave(_) => Answer::Left(Err(error)),
            Self::ConsumerHeartbeat(_) => {
                Answer::ConsumerHeartbeat(Box::new(ConsumerHeartbeatAnswer {
                    error,
                    ..ConsumerHeartbeatAnswer::default()
                }))
            }
            Self::CommitOffsets(_) => Answer::Committed(Err(error)),
            Self::DeleteOffsets { .. } => Answer::OffsetsDeleted(Err(error)),
            Self::DeleteGroup { .. } => Answer::GroupDeleted(error),
            Self::ForgetTopics { .. } | Self::ForgetGoneTopics | Self::Expire | Self::Tick => {
                Answer::Done
            }
        }
    }
}

impl Joined {
    /// A refusal, with the member id that the answer shall carry.
    #[must_use]
    pub fn refused(member_id: &str, error: ErrorCode) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

impl Synced {
    /// A refusal.
    #[must_use]
    pub fn refused(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol_name: None, assignment: Opaque::from([]) }
    }
}

/// What a group's request is answered with if its records could not be appended for `error`.
#[must_use]
pub const fn append_refused(error: ErrorCode) -> ErrorCode {
    #[allow(clippy::wildcard_enum_match_arm, reason = "codes that an append never gives stay")]
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}
