//! A consumer group (KIP-848): members tell the broker what they want and have; the broker says
//! what they shall have.
//!
//! Three things move one after the other, each with an epoch of its own. The *group epoch* grows
//! when subscriptions or topics change. The *target assignment* follows it: what each member shall
//! have, computed by an assignor for one group epoch. Each *member* follows the target: it gives
//! back what it shall not have ([`reconcile`]), then comes to the target's epoch and gets what is
//! free, and later what others give back. A partition is in the hands of at most one member at any
//! time (G-1): [`GroupState::owner`] knows whose, and only a member that has given it up, left or
//! was fenced loses it there.
//!
//! [`GroupState`] is what the records say; a decision works on a clone of it (cheap: its maps are
//! persistent), applies each record it emits to that, and so always sees what it has decided so
//! far ([`draft::Draft`]). Clocks and what the group has seen of the cluster are not in the log.

pub(crate) mod classic_member;
pub(crate) mod convert;
pub(crate) mod draft;
mod fence;
mod hash;
pub(crate) mod heartbeat;
mod reconcile;
mod state;
mod subscription;
mod target;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use state::{GroupState, Member};

use self::draft::Draft;
use crate::command::{Answer, Decision, Ticket};
use crate::context::DecideContext;
use crate::record::GroupRecord;
use crate::record::consumer::{ConsumerRecord, MemberState};
use jocko_types::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The member epoch with which a member leaves.
pub(crate) const EPOCH_LEAVE: i32 = -1;
/// The member epoch with which a static member leaves for a while.
pub(crate) const EPOCH_LEAVE_STATIC: i32 = -2;

/// A consumer group: what the log says of it, and what only the leader knows.
#[derive(Debug, Default)]
pub(crate) struct ConsumerGroup {
    pub(crate) state: GroupState,
    clocks: BTreeMap<Arc<str>, Clocks>,
    seen: Seen,
}

/// By when a member must have done what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Clocks {
    /// Be heard of.
    session: Option<Now>,
    /// Have given back what it shall not have.
    rebalance: Option<Now>,
    /// Classic members: have joined after it was told to.
    join: Option<Now>,
    /// Classic members: have synced after it joined.
    sync: Option<Now>,
}

/// One of [`Clocks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Session,
    Rebalance,
    Join,
    Sync,
}

/// A change to a clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClockChange {
    pub(crate) member_id: Arc<str>,
    pub(crate) clock: Clock,
    /// `None` stops it.
    pub(crate) at: Option<Now>,
    /// Whether a clock that runs goes on as it does.
    pub(crate) only_if_stopped: bool,
}

/// What the group knows of the cluster already; forgotten with the leadership, and then looked up
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// The state of the cluster whose topics the metadata hash has.
    topics: Option<u64>,
    /// The state of the cluster in which all regular expressions were looked up last.
    regexes: Option<u64>,
    /// When that was.
    regexes_at: Option<Now>,
}

/// What a decision changes beside the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) clocks: Vec<ClockChange>,
    pub(crate) seen: Option<Seen>,
}

impl Change {
    /// When the first of the clocks that it starts runs out.
    pub(crate) fn soonest(&self) -> Option<Now> {
        self.clocks.iter().filter_map(|change| change.at).min()
    }
}

impl ConsumerGroup {
    /// The group as it is after a record of it, if it is still there.
    pub(crate) fn apply(before: Option<Self>, record: &ConsumerRecord) -> Option<Self> {
        if before.is_none() && record.is_tombstone() {
            return None;
        }
        let mut group = before.unwrap_or_default();
        if let ConsumerRecord::Member { member_id, value: None, .. } = record {
            group.clocks.remove(member_id);
        }
        group.state.apply(record).then_some(group)
    }

    /// Takes over what a decision changes beside the log, after its records were applied.
    pub(crate) fn change(&mut self, change: Change) {
        for ClockChange { member_id, clock, at, only_if_stopped } in change.clocks {
            if !self.state.members.contains_key(&member_id) {
                continue;
            }
            let clocks = self.clocks.entry(member_id).or_default().get_mut(clock);
            if clocks.is_none() || !only_if_stopped {
                *clocks = at;
            }
        }
        self.seen = change.seen.unwrap_or(self.seen);
    }

    /// After a replay: all clocks start anew, and nothing has been seen of the cluster.
    pub(crate) fn loaded(&mut self, cx: &DecideContext<'_>, group_id: &str) {
        let now = cx.now;
        let (session, _, _) = cx.policy.consumer_of(group_id);
        self.seen = Seen::default();
        self.clocks = BTreeMap::new();
        for member in self.state.members.values() {
            let revokes = member.current.state == MemberState::UnrevokedPartitions
                && member.current.member_epoch >= 0
                && !member.speaks_classic();
            let clocks = Clocks {
                session: Some(now.plus(member.session_timeout(session))),
                rebalance: revokes.then(|| now.plus(member.rebalance_timeout())),
                ..Clocks::default()
            };
            self.clocks.insert(Arc::clone(&member.id), clocks);
        }
    }

    /// When the next clock runs out.
    pub(crate) fn next_deadline(&self) -> Option<Now> {
        self.clocks.values().filter_map(|clocks| clocks.first()).min()
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.is_empty()
    }

    /// As Kafka names it.
    pub(crate) fn state(&self) -> &'static str {
        self.state.name()
    }

    /// The group's epoch.
    pub(crate) fn epoch(&self) -> i32 {
        self.state.epoch
    }

    pub(crate) fn member_count(&self) -> usize {
        self.state.members.len()
    }

    /// The records that make this group.
    pub(crate) fn records(&self, group_id: &Arc<str>) -> Vec<GroupRecord> {
        self.state.records(group_id).into_iter().map(GroupRecord::Consumer).collect()
    }

    /// The records that remove this group.
    pub(crate) fn tombstones(&self, group_id: &Arc<str>) -> Vec<GroupRecord> {
        self.state.tombstones(group_id).into_iter().map(GroupRecord::Consumer).collect()
    }

    /// The leadership is lost. Nobody waits in a consumer group.
    pub(crate) fn unload(&mut self, _answers: &mut Vec<(Ticket, Answer)>) {
        self.clocks = BTreeMap::new();
        self.seen = Seen::default();
    }

    /// The members whose clocks have run out.
    fn overdue(&self, now: Now) -> BTreeSet<Arc<str>> {
        let passed = self.clocks.iter().filter(|(_, c)| c.first().is_some_and(|at| at <= now));
        passed.map(|(member_id, _)| Arc::clone(member_id)).collect()
    }

    /// Panics unless what must always hold does.
    pub(crate) fn check_invariants(&self) {
        self.state.check_invariants();
        for member_id in self.clocks.keys() {
            assert!(self.state.members.contains_key(member_id), "a clock of nobody");
        }
    }
}

/// What to do about a group whose deadline has passed: members that were not heard of in time, or
/// have not done in time what they were to do, are out.
pub(crate) fn expire(
    cx: &DecideContext<'_>,
    group_id: &Arc<str>,
    group: &ConsumerGroup,
    decision: &mut Decision,
) {
    let overdue = group.overdue(cx.now);
    if !overdue.is_empty() {
        Draft::new(cx, group_id, Some(group)).depart(&overdue, decision);
    }
}

impl Clocks {
    fn get_mut(&mut self, clock: Clock) -> &mut Option<Now> {
        match clock {
            Clock::Session => &mut self.session,
            Clock::Rebalance => &mut self.rebalance,
            Clock::Join => &mut self.join,
            Clock::Sync => &mut self.sync,
        }
    }

    fn first(&self) -> Option<Now> {
        [self.session, self.rebalance, self.join, self.sync].into_iter().flatten().min()
    }
}
