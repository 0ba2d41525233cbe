//! JoinGroup.

use super::ClassicGroup;
use super::live::{Live, Member, MemberFacts, State};
use super::step::Step;
use crate::command::{Answer, Decision, Join, Joined, Opaque, Synced, Ticket};
use crate::context::DecideContext;
use jocko_types::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// How long somebody may wait in their first rebalance. A client that gave up and came again has
/// left a member behind that nobody speaks for; this ends it.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How many ids are given out to clients that have not come back with them. Kafka gives any number;
/// but who only asks for ids must not fill the memory.
const PENDING_MAX: usize = 10_000;

/// A request to join a group that is a classic group or is to become one.
pub(crate) fn join(
    cx: &DecideContext<'_>,
    ticket: Ticket,
    join: &Join,
    found: Option<(&Arc<str>, &ClassicGroup)>,
    decision: &mut Decision,
) {
    let is_new = join.member_id.is_empty();
    let (group_id, live) = match found {
        Some((group_id, group)) => (Arc::clone(group_id), group.live.clone()),
        None if is_new => (Arc::from(join.group_id.as_str()), Live::new(cx.wall)),
        None => {
            let refused = Joined::refused(&join.member_id, ErrorCode::UnknownMemberId);
            return decision.answers.push((ticket, Answer::Joined(refused)));
        }
    };
    let mut step = Step::new(cx, group_id, live);
    if !step.live.accepts(&join.member_id, cx.policy.group_size_max) {
        step.remove(&join.member_id);
        step.refuse_join(ticket, "", ErrorCode::GroupMaxSizeReached);
    } else if is_new {
        step.join_unknown(ticket, join);
    } else {
        step.join_known(ticket, join);
    }
    if found.is_none() && !step.has_records() {
        // The group is there from now on, whatever becomes of this member.
        step.write_empty();
    }
    step.finish(decision);
}

impl Live {
    /// Whether there is room for the member (KIP-389).
    fn accepts(&self, member_id: &str, size_max: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            // Those who wait are counted, not the members: a group that is too large shrinks by
            // letting in only so many of those who rejoin.
            State::PreparingRebalance => {
                let waiting = self.members.values().filter(|member| member.join.is_some()).count();
                member.is_some_and(|member| member.join.is_some()) || waiting < size_max
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < size_max
            }
        }
    }

    fn new_member_id(&self, join: &Join, seed: u64) -> Arc<str> {
        let prefix = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let mut seed = seed;
        loop {
            let member_id: Arc<str> = format!("{prefix}-{}", random_uuid(&mut seed)).into();
            let taken = self.members.contains_key(&member_id);
            if !taken && !self.pending.contains_key(&member_id) {
                return member_id;
            }
        }
    }
}

/// A version 4 UUID in its usual form, from a seed that moves on.
fn random_uuid(seed: &mut u64) -> String {
    // SplitMix64: any seed gives well spread bits.
    let mut next = || {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let high = next() & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

impl Step<'_> {
    /// Somebody without a member id.
    fn join_unknown(&mut self, ticket: Ticket, join: &Join) {
        if !self.live.supports(&join.protocol_type, &join.protocols) {
            return self.refuse_join(ticket, "", ErrorCode::InconsistentGroupProtocol);
        }
        let member_id = self.live.new_member_id(join, self.cx.seed);
        let Some(instance_id) = &join.instance_id else {
            if join.member_id_required {
                if self.live.pending.len() >= PENDING_MAX {
                    return self.refuse_join(ticket, "", ErrorCode::GroupMaxSizeReached);
                }
                // It comes back with this id; until then it is nobody. So a client that never
                // gets an answer leaves no members behind (KIP-394).
                let deadline = self.cx.now.plus(join.session_timeout);
                self.live.pending.insert(Arc::clone(&member_id), deadline);
                return self.refuse_join(ticket, &member_id, ErrorCode::MemberIdRequired);
            }
            return self.add(ticket, join, member_id);
        };
        match self.live.static_members.get(instance_id.as_str()).cloned() {
            Some(old_id) => self.replace_static(ticket, join, &old_id, member_id),
            None => self.add(ticket, join, member_id),
        }
    }

    /// Somebody who says who they are.
    fn join_known(&mut self, ticket: Ticket, join: &Join) {
        let member_id = join.member_id.as_str();
        if !self.live.supports(&join.protocol_type, &join.protocols) {
            return self.refuse_join(ticket, member_id, ErrorCode::InconsistentGroupProtocol);
        }
        if self.live.pending.contains_key(member_id) {
            if join.instance_id.is_some() {
                // Static members are not sent away to come back. Kafka has no answer for one that
                // claims to have been.
                return self.refuse_join(ticket, "", ErrorCode::UnknownServerError);
            }
            return self.add(ticket, join, Arc::from(member_id));
        }
        let (member_id, member) =
            match self.live.check_member(member_id, join.instance_id.as_deref()) {
                Ok((member_id, member)) => (Arc::clone(member_id), member),
                Err(error) => return self.refuse_join(ticket, member_id, error),
            };
        let unchanged = member.facts.matches(&join.protocols);
        match self.live.state {
            State::PreparingRebalance => self.rejoin(ticket, join, &member_id),
            // It may not have got the answer to its first request.
            State::CompletingRebalance if unchanged => self.join_again(ticket, &member_id),
            // The leader joins again to have everything assigned anew: it knows why.
            State::Stable if unchanged && !self.live.is_leader(&member_id) => {
                self.join_again(ticket, &member_id);
            }
            State::CompletingRebalance | State::Stable => self.rejoin(ticket, join, &member_id),
            State::Empty => self.refuse_join(ticket, &member_id, ErrorCode::UnknownMemberId),
        }
    }

    /// A member of this generation that has nothing new to say.
    fn join_again(&mut self, ticket: Ticket, member_id: &str) {
        let joined = self.joined(member_id);
        self.answer(ticket, Answer::Joined(joined));
    }

    fn add(&mut self, ticket: Ticket, join: &Join, member_id: Arc<str>) {
        let live = &mut self.live;
        if live.state == State::PreparingRebalance && live.previous == State::Empty {
            live.member_added = true;
        }
        if live.members.is_empty() {
            live.protocol_type = Some(join.protocol_type.as_str().into());
        }
        if let Some(instance_id) = &join.instance_id {
            live.static_members.insert(instance_id.as_str().into(), Arc::clone(&member_id));
        }
        if live.leader.is_none() {
            live.leader = Some(Arc::clone(&member_id));
        }
        live.pending.remove(&member_id);
        let member = Member {
            facts: Arc::new(MemberFacts::of(join, None)),
            assignment: Opaque::from([]),
            session: Some(self.cx.now.plus(NEW_MEMBER_TIMEOUT)),
            is_new: true,
            join: Some(ticket),
            sync: None,
        };
        live.members.insert(member_id, member);
        self.rebalance_or_complete();
    }

    /// A member joins the next generation.
    fn rejoin(&mut self, ticket: Ticket, join: &Join, member_id: &Arc<str>) {
        self.update(ticket, join, member_id);
        self.rebalance_or_complete();
    }

    /// What a member says of itself replaces what it said before, and its request waits.
    fn update(&mut self, ticket: Ticket, join: &Join, member_id: &Arc<str>) {
        let Some(member) = self.live.members.get_mut(member_id) else { return };
        let instance_id = member.facts.instance_id.clone();
        let facts = MemberFacts { instance_id, ..MemberFacts::of(join, Some(&member.facts)) };
        member.facts = Arc::new(facts);
        let superseded = member.join.replace(ticket);
        if let Some(superseded) = superseded {
            // The client that sent it has come again, so it does not read this any more.
            self.refuse_join(superseded, member_id, ErrorCode::RebalanceInProgress);
        }
    }

    /// A static member that comes without a member id: its process started anew (KIP-345).
    fn replace_static(&mut self, ticket: Ticket, join: &Join, old_id: &str, new_id: Arc<str>) {
        let leader_before = self.live.leader.clone();
        let Some(mut member) = self.live.members.remove(old_id) else { return };
        // Two processes with one name: the one that came first must not go on.
        if let Some(ticket) = member.join.take() {
            self.refuse_join(ticket, old_id, ErrorCode::FencedInstanceId);
        }
        if let Some(ticket) = member.sync.take() {
            let fenced = Synced::refused(ErrorCode::FencedInstanceId);
            self.answer(ticket, Answer::Synced(fenced));
        }
        let live = &mut self.live;
        if let Some(instance_id) = &member.facts.instance_id {
            live.static_members.insert(Arc::clone(instance_id), Arc::clone(&new_id));
        }
        if live.is_leader(old_id) {
            live.leader = Some(Arc::clone(&new_id));
        }
        if live.pending_sync.remove(old_id) {
            live.pending_sync.insert(Arc::clone(&new_id));
        }
        member.is_new = false;
        member.session = Some(self.cx.now.plus(join.session_timeout));
        live.members.insert(Arc::clone(&new_id), member);
        self.update(ticket, join, &new_id);
        match self.live.state {
            State::Stable if self.live.protocol == self.live.select_protocol() => {
                self.resume(join.may_skip_assignment, &new_id, leader_before);
            }
            State::Stable => self.rebalance_or_complete(),
            // The leader may have been told of the old id already, and would assign to it.
            State::CompletingRebalance => self.prepare_rebalance(),
            State::PreparingRebalance => self.complete_if_all_joined(),
            State::Empty => {}
        }
    }

    /// A returned static member takes up where its predecessor left: no rebalance, but the new id
    /// is written down.
    fn resume(&mut self, may_skip: bool, member_id: &Arc<str>, leader_before: Option<Arc<str>>) {
        let waiting = self.live.members.get_mut(member_id).and_then(|member| member.join.take());
        self.write();
        let Some(ticket) = waiting else { return };
        let joined = self.joined(member_id);
        let joined = if may_skip {
            Joined { skip_assignment: self.live.is_leader(member_id), ..joined }
        } else {
            // An old client that leads would assign anew; so it is told that its predecessor
            // leads (KIP-814 is about this).
            let leader = leader_before.as_deref().unwrap_or_default().to_owned();
            Joined { leader, members: Vec::new(), ..joined }
        };
        self.answer(ticket, Answer::Joined(joined));
    }
}

impl MemberFacts {
    /// Whether a request says of dialects what was said before, in the same order.
    fn matches(&self, protocols: &[(String, Opaque)]) -> bool {
        self.protocols == super::protocols::distinct(protocols)
    }
}
