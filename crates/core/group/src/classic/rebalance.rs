//! From one generation to the next: the join barrier and the sync barrier.

use super::live::{InitialDelay, JoinDeadline, State};
use super::protocols;
use super::step::Step;
use crate::command::{Answer, Opaque, Synced};
use jocko_types::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// How often, at most, a group of absent static members is looked at again: clients may ask for
/// a rebalance timeout of zero.
const ABSENT_MEMBERS_WAIT_MIN: Duration = Duration::from_secs(1);

impl Step<'_> {
    /// Members changed: begins a rebalance, or ends the one that goes on if nobody is missing.
    pub(super) fn rebalance_or_complete(&mut self) {
        match self.live.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(),
            State::PreparingRebalance => self.complete_if_all_joined(),
        }
    }

    /// Calls everybody back.
    pub(super) fn prepare_rebalance(&mut self) {
        if self.live.state == State::CompletingRebalance {
            self.cancel_assignments(ErrorCode::RebalanceInProgress);
        }
        self.live.sync_deadline = None;
        let is_initial = self.live.state == State::Empty;
        self.enter(State::PreparingRebalance);
        if is_initial {
            // Consumers tend to start together: wait a little, so that they join one generation
            // instead of one each (KIP-134).
            let delay = self.cx.policy.initial_rebalance_delay;
            let remaining = self.live.rebalance_timeout().saturating_sub(delay);
            self.live.join_deadline = Some(JoinDeadline {
                at: self.cx.now.plus(delay),
                initial: Some(InitialDelay { delay, remaining }),
            });
        } else if self.live.has_all_joined() {
            self.complete_join();
        } else {
            self.wait_for_members(self.live.rebalance_timeout());
        }
    }

    fn wait_for_members(&mut self, wait: Duration) {
        let at = self.cx.now.plus(wait);
        self.live.join_deadline = Some(JoinDeadline { at, initial: None });
    }

    /// Ends the join barrier if nobody is missing. An initial rebalance waits out its delay.
    pub(super) fn complete_if_all_joined(&mut self) {
        let live = &self.live;
        let may_end = live.state == State::PreparingRebalance && live.previous != State::Empty;
        if may_end && live.has_all_joined() {
            self.complete_join();
        }
    }

    /// The time to join is over.
    pub(super) fn join_deadline_passed(&mut self) {
        let Some(JoinDeadline { initial, .. }) = self.live.join_deadline.take() else { return };
        match initial {
            Some(InitialDelay { delay, remaining })
                if self.live.member_added && !remaining.is_zero() =>
            {
                // Others are still coming: wait on, though never beyond the rebalance timeout.
                self.live.member_added = false;
                let next = self.cx.policy.initial_rebalance_delay.min(remaining);
                let remaining = remaining.saturating_sub(delay);
                self.live.join_deadline = Some(JoinDeadline {
                    at: self.cx.now.plus(next),
                    initial: Some(InitialDelay { delay: next, remaining }),
                });
            }
            Some(_) | None => self.complete_join(),
        }
    }

    /// Begins the next generation with those who have joined. Static members that have not are
    /// kept: they have until the end of their session to return.
    fn complete_join(&mut self) {
        self.live.join_deadline = None;
        let missing: Vec<Arc<str>> = self
            .live
            .members
            .iter()
            .filter(|(_, member)| member.join.is_none() && member.facts.instance_id.is_none())
            .map(|(member_id, _)| Arc::clone(member_id))
            .collect();
        for member_id in missing {
            self.remove(&member_id);
        }
        if !self.elect_leader() && !self.live.members.is_empty() {
            // Only absent static members are left: wait until one returns or all are given up.
            let wait = self.live.rebalance_timeout().max(ABSENT_MEMBERS_WAIT_MIN);
            return self.wait_for_members(wait);
        }
        self.live.generation = self.live.generation.wrapping_add(1).max(0);
        self.live.pending_sync.clear();
        self.live.protocol = self.live.select_protocol();
        self.live.subscribed = protocols::subscribed(&self.live);
        if self.live.members.is_empty() {
            self.enter(State::Empty);
            self.write();
        } else {
            self.enter(State::CompletingRebalance);
            self.answer_joined();
        }
    }

    /// Sees to it that the leader is one who has joined. Says whether there is one.
    fn elect_leader(&mut self) -> bool {
        let live = &mut self.live;
        let joined = |member_id: &Arc<str>| {
            live.members.get(member_id).is_some_and(|member| member.join.is_some())
        };
        if live.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = live.members.keys().find(|member_id| joined(member_id)).cloned();
        let found = next.is_some();
        if found {
            live.leader = next;
        }
        found
    }

    /// Lets everybody go on to sync.
    fn answer_joined(&mut self) {
        let member_ids: Vec<Arc<str>> = self.live.members.keys().cloned().collect();
        for member_id in member_ids {
            let joined = self.joined(&member_id);
            let Some(member) = self.live.members.get_mut(&member_id) else { continue };
            member.session = Some(self.cx.now.plus(member.facts.session_timeout));
            member.is_new = false;
            if let Some(ticket) = member.join.take() {
                self.answer(ticket, Answer::Joined(joined));
            }
            self.live.pending_sync.insert(member_id);
        }
        self.live.sync_deadline = Some(self.cx.now.plus(self.live.rebalance_timeout()));
    }

    /// Members that joined but did not sync in time go, and the rest rebalances.
    pub(super) fn sync_deadline_passed(&mut self) {
        self.live.sync_deadline = None;
        let missing = std::mem::take(&mut self.live.pending_sync);
        if missing.is_empty() {
            return;
        }
        for member_id in missing {
            self.remove(&member_id);
        }
        self.prepare_rebalance();
    }

    /// Nobody has an assignment any more; those who wait for one are told why.
    fn cancel_assignments(&mut self, error: ErrorCode) {
        let session_from = self.cx.now;
        let mut tickets = Vec::new();
        for member in self.live.members.values_mut() {
            member.assignment = Opaque::from([]);
            if let Some(ticket) = member.sync.take() {
                member.session = Some(session_from.plus(member.facts.session_timeout));
                tickets.push(ticket);
            }
        }
        for ticket in tickets {
            self.answer(ticket, Answer::Synced(Synced::refused(error)));
        }
    }
}
