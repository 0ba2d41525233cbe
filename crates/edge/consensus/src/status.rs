//! What is known of the group right now, for everybody who asks or waits.

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::{NodeId, Peer};
use crate::runtime::Receiver;
use crate::types::{Types, term_of};

/// What this node does in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Receives the log and has no vote, or belongs to no group yet.
    #[default]
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Has ended.
    Stopped,
}

/// How far a member is, as its leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerProgress {
    /// The last entry its log shares with the leader's.
    pub matched_index: Option<u64>,
    /// How long it has not answered; `None` if it never has.
    pub silent: Option<std::time::Duration>,
}

/// The group as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaftStatus {
    /// Who leads, and where that node was last known to be.
    pub leader: Option<(NodeId, Peer)>,
    /// What this node does.
    pub role: Role,
    /// Whether this node leads *and* has applied an entry of its own term, so that its state holds
    /// all that was ever committed. Only then may it decide anything.
    pub is_serving: bool,
    /// The newest term this node has seen.
    pub term: u64,
    /// The last entry in this node's log.
    pub last_index: Option<u64>,
    /// The last entry known to be committed.
    pub commit_index: Option<u64>,
    /// The last entry applied here.
    pub applied_index: Option<u64>,
    /// Who votes; in the midst of a change both those who did and those who shall.
    pub voters: BTreeMap<NodeId, Peer>,
    /// Who alone shall vote once the change under way is done: its first step is made, and whatever
    /// is decided needs a majority of both sets. If its leader went between the steps, the next one
    /// has to ask for this set again. `None` at all other times.
    pub voters_to_be: Option<BTreeSet<NodeId>>,
    /// Who receives the log without a vote.
    pub learners: BTreeMap<NodeId, Peer>,
    /// Why Raft ended for good: its disk failed, or its state machine panicked. The process must
    /// end. `None` while it runs, and after a shutdown that was asked for.
    pub fatal: Option<Arc<str>>,
}

impl RaftStatus {
    /// Taken from openraft's.
    pub(crate) fn of(metrics: &openraft::RaftMetrics<Types>) -> Self {
        let membership = metrics.membership_config.membership();
        let mut learners: BTreeMap<NodeId, Peer> =
            membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
        let voters: BTreeMap<NodeId, Peer> = membership
            .voter_ids()
            .filter_map(|id| learners.remove(&id).map(|peer| (id, peer)))
            .collect();
        let voters_to_be = match membership.get_joint_config().as_slice() {
            [_, .., newest] => Some(newest.clone()),
            _ => None,
        };
        let leader = metrics.current_leader.map(|id| {
            let peer = membership.get_node(&id).cloned().unwrap_or_default();
            (id, peer)
        });
        let role = match metrics.state {
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        };
        let applied_term = metrics.last_applied.as_ref().map(term_of);
        Self {
            is_serving: role == Role::Leader
                && metrics.current_leader == Some(metrics.id)
                && applied_term == Some(metrics.current_term),
            leader,
            role,
            term: metrics.current_term,
            last_index: metrics.last_log_index,
            commit_index: metrics.local_committed.as_ref().map(|id| id.index),
            applied_index: metrics.last_applied.as_ref().map(|id| id.index),
            voters,
            voters_to_be,
            learners,
            fatal: metrics.running_state.as_ref().err().and_then(|fatal| match fatal {
                openraft::errors::Fatal::Stopped => None,
                fatal => Some(fatal.to_string().into()),
            }),
        }
    }

    /// Whether there is anybody to talk to.
    pub(crate) fn has_peers(&self) -> bool {
        self.voters.len() + self.learners.len() > 1
    }
}

/// Sees every change of the status, at least as part of a later one. Clones wait independently.
#[derive(Debug, Clone)]
pub struct StatusWatch(pub(crate) Receiver<RaftStatus>);

impl StatusWatch {
    /// The status now.
    #[must_use]
    pub fn get(&self) -> RaftStatus {
        self.0.borrow_watched().clone()
    }

    /// Waits for the next change and returns the status; `None` once Raft has ended and the last
    /// status was seen.
    pub async fn changed(&mut self) -> Option<RaftStatus> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }

    /// Waits until `condition` holds; `None` if Raft ends before it does.
    pub async fn wait_for(
        &mut self,
        condition: impl Fn(&RaftStatus) -> bool,
    ) -> Option<RaftStatus> {
        loop {
            {
                let status = self.0.borrow_and_update();
                if condition(&status) {
                    return Some(status.clone());
                }
            }
            self.0.changed().await.ok()?;
        }
    }
}
