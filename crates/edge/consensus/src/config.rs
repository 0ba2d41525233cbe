//! What the group needs to know.

use openraft::{Config, SnapshotPolicy};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::StartError;
use crate::id::{NodeId, Peer};

/// Settings of one node of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftConfig {
    /// Who this node is: the identity of its data directory.
    pub node: NodeId,
    /// Where this node's peers reach it.
    pub peer: Peer,
    /// The log's folder, `<data_dir>/__cluster_metadata-0`. Made if missing.
    pub dir: PathBuf,
    /// How often a leader with peers tells them that it is alive.
    pub heartbeat_interval: Duration,
    /// How long a peer may take to answer, be it that it writes entries to its disk: longer than
    /// between two heartbeats. What is answered later was not answered, and a leader whom no quorum
    /// answers within its lease keeps silent from then on, so that another is elected.
    pub answer_timeout: Duration,
    /// How long a follower waits for its leader, at least; each wait is drawn anew between this and
    /// twice this. Several heartbeats must fit into it. Twice this is also the leader's lease.
    pub election_timeout_min: Duration,
    /// Entries after which a snapshot is taken. Twice as many stay in the log behind it, for
    /// followers that lag, and so that the log reaches back to the snapshot before.
    pub snapshot_every_entries: u64,
    /// How long a proposal waits for its commit before its outcome counts as unknown.
    pub propose_timeout: Duration,
    /// How long a peer may take to install a snapshot, once it has all of it.
    pub snapshot_timeout: Duration,
    /// A snapshot above this goes to a peer in pieces of this many bytes.
    pub snapshot_piece_bytes: usize,
}

impl RaftConfig {
    /// The usual settings for `node`, reached at `peer`, with its log in `dir`.
    #[must_use]
    pub fn new(node: NodeId, peer: Peer, dir: impl Into<PathBuf>) -> Self {
        Self {
            node,
            peer,
            dir: dir.into(),
            heartbeat_interval: Duration::from_millis(100),
            answer_timeout: Duration::from_millis(400),
            election_timeout_min: Duration::from_millis(500),
            snapshot_every_entries: 10_000,
            propose_timeout: Duration::from_secs(10),
            snapshot_timeout: Duration::from_secs(60),
            snapshot_piece_bytes: 1 << 20,
        }
    }

    /// How long the leader may trust that nobody else leads, after a quorum last answered.
    pub(crate) fn lease(&self) -> Duration {
        self.election_timeout_min.saturating_mul(2)
    }

    /// As openraft takes it.
    pub(crate) fn to_openraft(&self) -> Result<Config, StartError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let lease = millis(self.lease());
        let config = Config {
            cluster_name: "jocko".to_owned(),
            // Openraft waits no longer for an answer than until its own next heartbeat would be
            // due; those in between are ours (`raft::beat`).
            heartbeat_interval: millis(self.answer_timeout.max(self.heartbeat_interval)),
            election_timeout_min: millis(self.election_timeout_min),
            election_timeout_max: lease,
            install_snapshot_timeout: millis(self.snapshot_timeout),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every_entries),
            max_in_snapshot_log_to_keep: self.snapshot_every_entries.saturating_mul(2),
            max_payload_entries: 64,
            // A lone node has nobody to tell and nobody to wait for; see `Raft::start`.
            enable_tick: false,
            enable_pre_vote: Some(true),
            quorum_loss_probe_interval: Some(lease.saturating_mul(3)),
            // A leader that restarts takes a new term, so that it serves only what its own entry
            // has shown to be committed.
            enable_leader_restore: Some(false),
            // A follower whose disk is of yesterday (restored, or one that lied about syncs) gets
            // what it lacks again. Without this the leader would take it for a bug of its own.
            allow_log_reversion: Some(true),
            ..Config::default()
        };
        config.validate().map_err(|error| StartError::Config(error.to_string()))
    }
}
