//! A decision about a consumer group in the making: the group as it will be, and what makes it so.

use super::{Change, Clock, ClockChange, ConsumerGroup, GroupState, Seen};
use crate::command::Decision;
use crate::context::DecideContext;
use crate::record::GroupRecord;
use crate::record::consumer::{ConsumerRecord, CurrentAssignment, MemberMetadata};
use jocko_types::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// A group that is being changed. What is [emitted](Draft::emit) holds in `state` at once, so that
/// each step of a decision builds on the ones before; the group itself changes only when the
/// records are in the log.
pub(crate) struct Draft<'a> {
    pub(super) cx: &'a DecideContext<'a>,
    pub(super) group_id: Arc<str>,
    pub(super) state: GroupState,
    pub(super) seen: Seen,
    records: Vec<GroupRecord>,
    clocks: Vec<ClockChange>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl<'a> Draft<'a> {
    /// A draft of what `group` shall become, or of a new group.
    pub(crate) fn new(
        cx: &'a DecideContext<'a>,
        group_id: &Arc<str>,
        group: Option<&ConsumerGroup>,
    ) -> Self {
        let (state, seen) =
            group.map(|group| (group.state.clone(), group.seen)).unwrap_or_default();
        Self {
            cx,
            group_id: Arc::clone(group_id),
            state,
            seen,
            records: Vec::new(),
            clocks: Vec::new(),
        }
    }

    /// Takes a record into the decision.
    pub(crate) fn emit(&mut self, record: ConsumerRecord) {
        self.state.apply(&record);
        self.records.push(GroupRecord::Consumer(record));
    }

    /// Takes a record that is not of a consumer group into the decision.
    pub(super) fn emit_other(&mut self, record: GroupRecord) {
        self.records.push(record);
    }

    pub(super) fn emit_metadata(
        &mut self,
        member_id: &Arc<str>,
        value: Option<Arc<MemberMetadata>>,
    ) {
        self.emit(ConsumerRecord::Member {
            group_id: Arc::clone(&self.group_id),
            member_id: Arc::clone(member_id),
            value,
        });
    }

    pub(super) fn emit_current(
        &mut self,
        member_id: &Arc<str>,
        value: Option<Arc<CurrentAssignment>>,
    ) {
        self.emit(ConsumerRecord::Current {
            group_id: Arc::clone(&self.group_id),
            member_id: Arc::clone(member_id),
            value,
        });
    }

    /// Starts a clock anew.
    pub(super) fn start_clock(&mut self, member_id: &Arc<str>, clock: Clock, wait: Duration) {
        self.change_clock(member_id, clock, Some(wait), false);
    }

    /// Starts a clock unless it runs.
    pub(super) fn start_clock_if_stopped(
        &mut self,
        member_id: &Arc<str>,
        clock: Clock,
        wait: Duration,
    ) {
        self.change_clock(member_id, clock, Some(wait), true);
    }

    pub(super) fn stop_clock(&mut self, member_id: &Arc<str>, clock: Clock) {
        self.change_clock(member_id, clock, None, false);
    }

    fn change_clock(
        &mut self,
        member_id: &Arc<str>,
        clock: Clock,
        wait: Option<Duration>,
        only_if_stopped: bool,
    ) {
        let at = wait.map(|wait| self.cx.now.plus(wait));
        let member_id = Arc::clone(member_id);
        self.clocks.push(ClockChange { member_id, clock, at, only_if_stopped });
    }

    /// Hands everything over to the decision.
    pub(crate) fn finish(self, decision: &mut Decision) {
        decision.records.extend(self.records);
        let change = Change { clocks: self.clocks, seen: Some(self.seen) };
        decision.changes.consumer.push((self.group_id, change));
    }
}
