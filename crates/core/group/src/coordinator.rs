//! The coordinator: the groups of one partition, and what may be done with them.

mod consumer_groups;
mod reads;
mod requests;
#[cfg(test)]
mod tests;

pub use reads::GroupGauge;

use crate::classic::{self, ClassicGroup};
use crate::command::{Answer, Command, Decision, Ticket};
use crate::consumer::{self, ConsumerGroup};
use crate::context::DecideContext;
use crate::offsets::Offsets;
use crate::record::GroupRecord;
use crate::timers::Timers;
use jocko_types::Now;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many groups one [`Command::Tick`] looks at: the rest stays due for the next.
const GROUPS_PER_TICK_MAX: usize = 64;

/// The groups of one partition of `__consumer_offsets`; see the crate's documentation for how to
/// use it.
#[derive(Debug, Default)]
pub struct Coordinator {
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    pub(crate) offsets: Offsets,
    timers: Timers,
}

/// A group, of either protocol.
#[derive(Debug)]
pub(crate) enum Group {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

impl Group {
    fn next_deadline(&self) -> Option<Now> {
        match self {
            Self::Classic(group) => group.live.next_deadline(),
            Self::Consumer(group) => group.next_deadline(),
        }
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.live.is_empty(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// What removes it; its offsets are a matter of their own.
    pub(crate) fn tombstones(&self, group_id: &Arc<str>) -> Vec<GroupRecord> {
        match self {
            Self::Classic(_) => {
                vec![GroupRecord::Classic { group_id: Arc::clone(group_id), value: None }]
            }
            Self::Consumer(group) => group.tombstones(group_id),
        }
    }
}

/// The part of a decision that is not in the log.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Classic groups as they are from now on.
    pub(crate) classic: Vec<(Arc<str>, classic::Live)>,
    /// A classic member that was heard of.
    pub(crate) renewal: Option<Renewal>,
    /// What changes in consumer groups, in order.
    pub(crate) consumer: Vec<(Arc<str>, consumer::Change)>,
    /// Groups whose deadline had passed with nothing to do.
    pub(crate) looked_at: Vec<Arc<str>>,
}

impl Decision {
    /// Adds what was decided besides, of another group.
    fn add(&mut self, other: Self) {
        let Self { records, answers, again: _, bytes: _, changes } = other;
        self.records.extend(records);
        self.answers.extend(answers);
        self.changes.classic.extend(changes.classic);
        self.changes.consumer.extend(changes.consumer);
        self.changes.looked_at.extend(changes.looked_at);
        self.changes.renewal = changes.renewal.or(self.changes.renewal.take());
    }
}

/// A session that goes on.
#[derive(Debug)]
pub(crate) struct Renewal {
    pub(crate) group_id: Arc<str>,
    pub(crate) member_id: Arc<str>,
    pub(crate) deadline: Now,
}

impl Coordinator {
    /// A coordinator without groups.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do about `command`. Reads only; any command gets a decision.
    #[must_use]
    pub fn decide(&self, cx: &DecideContext<'_>, ticket: Ticket, command: &Command) -> Decision {
        let mut decision = Decision::default();
        match command {
            Command::Join(join) => self.decide_join(cx, ticket, join, &mut decision),
            Command::Sync(sync) => self.decide_sync(cx, ticket, sync, &mut decision),
            Command::Heartbeat(beat) => self.decide_heartbeat(cx, ticket, beat, &mut decision),
            Command::Leave(leave) => self.decide_leave(cx, ticket, leave, &mut decision),
            Command::ConsumerHeartbeat(beat) => {
                self.decide_consumer_heartbeat(cx, ticket, beat, &mut decision);
            }
            Command::CommitOffsets(commit) => {
                self.decide_commit(cx, ticket, commit, &mut decision);
            }
            Command::DeleteOffsets { group_id, topics } => {
                self.decide_delete_offsets(cx, ticket, group_id, topics, &mut decision);
            }
            Command::DeleteGroup { group_id } => {
                self.decide_delete_group(cx, ticket, group_id, &mut decision);
            }
            Command::ForgetTopics { topics } => {
                self.decide_forget_topics(cx, ticket, topics, &mut decision);
            }
            Command::ForgetGoneTopics => self.decide_forget_gone(cx, ticket, &mut decision),
            Command::Expire => self.decide_expire(cx, ticket, &mut decision),
            Command::Tick => self.decide_tick(cx, ticket, &mut decision),
        }
        decision
    }

    /// Carries out a decision whose records have been appended. Returns the answers, to be sent
    /// once the records are committed.
    pub fn accept(&mut self, decision: Decision) -> Vec<(Ticket, Answer)> {
        let Decision { records, answers, changes, again: _, bytes: _ } = decision;
        let mut touched: Vec<Arc<str>> = changes.looked_at;
        for record in &records {
            self.apply(record);
            if let GroupRecord::Consumer(record) = record {
                let known = touched.last().is_some_and(|id| id.as_ref() == record.group_id());
                if !known {
                    touched.push(record.group_id().into());
                }
            }
        }
        for (group_id, live) in changes.classic {
            self.swap_live(&group_id, live);
            touched.push(group_id);
        }
        for (group_id, change) in changes.consumer {
            let soonest = change.soonest();
            if let Some(Group::Consumer(group)) = self.groups.get_mut(&group_id) {
                group.change(change);
            }
            // A heartbeat that changes nothing only moves a session forward.
            match soonest {
                Some(at) if records.is_empty() => self.timers.no_later(&group_id, at),
                Some(_) | None => touched.push(group_id),
            }
        }
        for group_id in touched {
            let deadline = self.groups.get(&group_id).and_then(Group::next_deadline);
            self.timers.set(&group_id, deadline);
        }
        if let Some(renewal) = changes.renewal {
            self.renew(&renewal);
        }
        answers
    }

    /// Drops a decision whose records the log has refused, which has changed nothing. A group that
    /// had something due comes after all others that have: the next [`Command::Tick`] does not meet
    /// it first again.
    pub fn pass_over(&mut self, decision: Decision) {
        if let Some(group_id) = decision.changes.looked_at.last() {
            self.timers.pass_over(group_id);
        }
    }

    /// Puts a record of the log into effect. The only writer of what is replicated; cannot fail.
    pub fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::Offset { key, value } => {
                self.offsets.apply(key, value.as_ref());
                match value {
                    // Offsets alone make a group: that of a consumer without membership.
                    Some(_) if !self.groups.contains_key(&key.group_id) => {
                        let group = Group::Classic(ClassicGroup::simple());
                        self.groups.insert(Arc::clone(&key.group_id), group);
                    }
                    Some(_) => {}
                    None => self.remove_if_nothing(&key.group_id),
                }
            }
            GroupRecord::Classic { group_id, value: Some(metadata) } => {
                let group = Group::Classic(ClassicGroup::load(Arc::clone(metadata)));
                self.groups.insert(Arc::clone(group_id), group);
            }
            GroupRecord::Classic { group_id, value: None } => {
                // A consumer group may have taken its place, and has records of its own.
                if let Some(Group::Classic(_)) = self.groups.get(group_id) {
                    self.groups.remove(group_id);
                    self.keep_simple_group(group_id);
                }
            }
            GroupRecord::Consumer(record) => self.apply_consumer(record),
        }
    }

    fn apply_consumer(&mut self, record: &crate::record::ConsumerRecord) {
        let group_id: Arc<str> = record.group_id().into();
        let before = match self.groups.remove(&group_id) {
            Some(Group::Consumer(group)) => Some(group),
            // A simple group gives way; what a classic group had is gone with its tombstone.
            Some(Group::Classic(group)) => {
                if record.is_tombstone() {
                    self.groups.insert(group_id, Group::Classic(group));
                    return;
                }
                None
            }
            None => None,
        };
        match ConsumerGroup::apply(before, record) {
            Some(group) => {
                self.groups.insert(group_id, Group::Consumer(group));
            }
            None => self.keep_simple_group(&group_id),
        }
    }

    /// A group that was removed while it has offsets lives on as a simple group.
    fn keep_simple_group(&mut self, group_id: &Arc<str>) {
        if self.offsets.has_group(group_id) {
            self.groups.insert(Arc::clone(group_id), Group::Classic(ClassicGroup::simple()));
        }
    }

    /// Takes out a group of which no record is left and that nobody is joining.
    fn remove_if_nothing(&mut self, group_id: &Arc<str>) {
        let nothing = match self.groups.get(group_id) {
            Some(Group::Classic(group)) => group.is_nothing() && !self.offsets.has_group(group_id),
            Some(Group::Consumer(_)) | None => false,
        };
        if nothing {
            self.groups.remove(group_id);
        }
    }

    fn swap_live(&mut self, group_id: &Arc<str>, live: classic::Live) {
        match self.groups.get_mut(group_id) {
            Some(Group::Classic(group)) => group.live = live,
            Some(Group::Consumer(_)) | None => {
                debug_assert!(false, "a group's records come before its members");
            }
        }
        self.remove_if_nothing(group_id);
    }

    fn renew(&mut self, renewal: &Renewal) {
        if let Some(Group::Classic(group)) = self.groups.get_mut(&renewal.group_id) {
            group.live.renew(&renewal.member_id, renewal.deadline);
            self.timers.no_later(&renewal.group_id, renewal.deadline);
        }
    }

    /// After the whole log was applied: the sessions of all members begin anew.
    pub fn loaded(&mut self, cx: &DecideContext<'_>) {
        for (group_id, group) in &mut self.groups {
            match group {
                Group::Classic(group) => group.live.loaded(cx),
                Group::Consumer(group) => group.loaded(cx, group_id),
            }
            self.timers.set(group_id, group.next_deadline());
        }
    }

    /// When [`Command::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        self.timers.next()
    }

    /// What is replicated, as records: applied to an empty coordinator they make an equal one.
    #[must_use]
    pub fn records(&self) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for (group_id, group) in &self.groups {
            match group {
                Group::Classic(group) => {
                    if let Some(metadata) = &group.written {
                        let value = Some(Arc::clone(metadata));
                        let group_id = Arc::clone(group_id);
                        records.push(GroupRecord::Classic { group_id, value });
                    }
                }
                Group::Consumer(group) => records.extend(group.records(group_id)),
            }
        }
        self.offsets.records(&mut records);
        records
    }

    /// Leadership is lost, or the broker stops: everybody who waits is told so, and nothing is
    /// left.
    pub fn unload(&mut self) -> Vec<(Ticket, Answer)> {
        let mut answers = Vec::new();
        for group in self.groups.values_mut() {
            match group {
                Group::Classic(group) => group.live.unload(&mut answers),
                Group::Consumer(group) => group.unload(&mut answers),
            }
        }
        *self = Self::default();
        answers
    }

    fn decide_tick(&self, cx: &DecideContext<'_>, ticket: Ticket, decision: &mut Decision) {
        for group_id in self.timers.passed(cx.now).take(GROUPS_PER_TICK_MAX) {
            let mut of_group = Decision::default();
            match self.groups.get(group_id) {
                Some(Group::Classic(group)) => classic::expire(cx, group_id, group, &mut of_group),
                Some(Group::Consumer(group)) => {
                    consumer::expire(cx, group_id, group, &mut of_group);
                }
                None => {}
            }
            // A group with something to write has a decision of its own: if it is refused, that
            // takes nothing from others, and is passed over.
            let writes = !of_group.records.is_empty();
            if writes && !decision.changes.looked_at.is_empty() {
                break;
            }
            decision.add(of_group);
            decision.changes.looked_at.push(Arc::clone(group_id));
            if writes {
                break;
            }
        }
        decision.answers.push((ticket, Answer::Done));
    }

    pub(crate) fn find(&self, group_id: &str) -> Option<(&Arc<str>, &Group)> {
        self.groups.get_key_value(group_id)
    }

    /// Checks what must hold at all times; for tests and simulation.
    ///
    /// # Panics
    /// If something does not.
    pub fn check_invariants(&self) {
        for (group_id, group) in &self.groups {
            match group {
                Group::Classic(group) => {
                    group.check_invariants();
                    assert!(
                        !group.is_nothing() || self.offsets.has_group(group_id),
                        "{group_id}: nothing is left of it"
                    );
                }
                Group::Consumer(group) => group.check_invariants(),
            }
            if let Some(deadline) = group.next_deadline() {
                let due = self.timers.due(group_id);
                assert!(due.is_some_and(|due| due <= deadline), "{group_id}: nobody looks at it");
            }
        }
        for group_id in self.offsets.groups() {
            assert!(self.groups.contains_key(group_id), "{group_id}: offsets without a group");
        }
    }
}
