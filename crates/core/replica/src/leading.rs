//! Leading: what followers hold, who is in sync, and which in-sync set to propose (KIP-497, KIP-841,
//! KIP-903, KIP-966).

use crate::types::{
    Assignment, Caller, Durability, IsrMember, LogEnds, PROPOSAL_BACKOFF, Peer, Policy, Proposal,
    ProposalOutcome, STALL_TIME_MAX,
};
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Now, Offset, PartitionEpoch};
use std::collections::{BTreeMap, BTreeSet};

/// When a follower last had all there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CaughtUp {
    /// Not in this epoch.
    Never,
    /// Until something happened whose time is not known yet.
    Lately,
    /// Then.
    At(Now),
}

/// What the leader knows of one follower.
#[derive(Debug)]
struct Follower {
    /// As the image knows it.
    peer: Option<Peer>,
    /// The registration whose words these are.
    heard: Option<BrokerEpoch>,
    /// Its log agrees with ours up to here: the last offset it fetched from.
    matched: Offset,
    /// How far its disk holds its log, by its own word.
    durable: Offset,
    /// Where our log ended at some time, once it is reached the follower had all there was then.
    mark: Option<(Offset, Now)>,
    caught_up: CaughtUp,
    /// Where it stood when it moved last: what it matched and what its disk held.
    stood: (Offset, Offset),
    /// Since when what this leader holds itself waits for it while it does not move.
    waited_for: Option<Now>,
    /// It has not moved for too long, as of the last time that passed by itself.
    is_stalled: bool,
}

impl Follower {
    fn new() -> Self {
        Self {
            peer: None,
            heard: None,
            matched: Offset::ZERO,
            durable: Offset::ZERO,
            mark: None,
            caught_up: CaughtUp::Never,
            stood: (Offset::ZERO, Offset::ZERO),
            waited_for: None,
            is_stalled: false,
        }
    }

    /// Everything below counts as this follower's own. What it says of its disk counts only as
    /// far as its log is known to be ours.
    fn held(&self, durability: Durability) -> Offset {
        match durability {
            Durability::Fsync => self.durable.min(self.matched),
            Durability::Relaxed => self.matched,
        }
    }

    /// A restart of its process: it may hold less than it did.
    fn forget(&mut self) {
        self.heard = None;
        self.matched = Offset::ZERO;
        self.durable = Offset::ZERO;
        self.mark = None;
    }

    /// The oldest registration whose words still count.
    fn broker_epoch_min(&self) -> Option<BrokerEpoch> {
        self.heard.max(self.peer.map(|peer| peer.broker_epoch))
    }

    fn note(&mut self, held: Offset, end: Offset, now: Now) {
        if let Some((mark, at)) = self.mark
            && held >= mark
        {
            self.caught_up = CaughtUp::At(at);
            self.mark = None;
        }
        if held >= end {
            self.caught_up = CaughtUp::At(now);
        }
        self.mark.get_or_insert((end, now));
    }

    /// Notes whether it moves. What is not yet this leader's `own` is no reason to wait for it: where
    /// the leader's disk hangs, others may share it.
    fn watch(&mut self, held: Offset, own: Offset, now: Now) {
        let stands = (self.matched, self.durable);
        if held >= own || stands != self.stood {
            self.stood = stands;
            self.waited_for = (held < own).then_some(now);
            self.is_stalled = false;
        } else {
            self.waited_for.get_or_insert(now);
        }
    }

    fn lags(&self, now: Now, policy: &Policy) -> bool {
        match self.caught_up {
            CaughtUp::Never => true,
            CaughtUp::Lately => false,
            CaughtUp::At(at) => now.since(at) >= policy.lag_time_max,
        }
    }

    /// Whether it had all there was, too long ago. Its log may still reach the high watermark, which
    /// waits for it: to let it in for that would be to have it leave and join without end.
    fn is_late(&self, now: Now, policy: &Policy) -> bool {
        self.caught_up != CaughtUp::Never && self.lags(now, policy)
    }

    /// Whether the image lets the process that was heard join the ISR.
    fn may_join(&self) -> bool {
        self.peer.is_some_and(|peer| peer.may_join && self.heard == Some(peer.broker_epoch))
    }
}

/// A follower as its leader sees it, for those who describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerStanding {
    /// Its broker.
    pub broker: BrokerId,
    /// Whether it is in sync.
    pub is_insync: bool,
    /// Everything below counts as its own: durable, or written in relaxed mode.
    pub held: Offset,
    /// The end of its log as far as it is known to agree.
    pub fetched: Offset,
}

/// The state of a replica while it leads.
#[derive(Debug)]
pub(crate) struct Leading {
    /// The end of the log when this epoch began: all that earlier leaders committed lies below.
    pub(crate) epoch_start: Offset,
    followers: BTreeMap<BrokerId, Follower>,
    /// The committed in-sync set, without this broker.
    isr: BTreeSet<BrokerId>,
    /// Brokers of proposals that may have been committed on top of this partition epoch. Kept
    /// until the epoch moves on: a refusal does not prove that no earlier attempt comes through.
    wagered: BTreeSet<BrokerId>,
    in_flight: Option<u64>,
    proposals: u64,
    retry_at: Option<Now>,
    /// The controller refused one who wanted in: let the next proposal do without newcomers.
    is_shunning: bool,
    /// The latest time told.
    now: Now,
}

impl Leading {
    pub(crate) fn new(epoch_start: Offset) -> Self {
        Self {
            epoch_start,
            followers: BTreeMap::new(),
            isr: BTreeSet::new(),
            wagered: BTreeSet::new(),
            in_flight: None,
            proposals: 0,
            retry_at: None,
            is_shunning: false,
            now: Now::default(),
        }
    }

    /// Takes the image's word on replicas, peers and, if its state is a newer one, the in-sync set.
    pub(crate) fn assign(&mut self, own: BrokerId, assignment: &Assignment, is_newer: bool) {
        let others = |list: &[BrokerId]| -> BTreeSet<BrokerId> {
            list.iter().copied().filter(|id| *id != own).collect()
        };
        if is_newer {
            self.set_isr(others(&assignment.isr));
        }
        let replicas = others(&assignment.replicas);
        self.followers.retain(|id, _| replicas.contains(id));
        for id in replicas {
            let follower = self.followers.entry(id).or_insert_with(Follower::new);
            if self.isr.contains(&id) && follower.caught_up == CaughtUp::Never {
                follower.caught_up = CaughtUp::Lately;
            }
        }
        self.meet(&assignment.peers);
    }

    /// Takes the image's word on brokers.
    pub(crate) fn meet(&mut self, peers: &[Peer]) {
        for (id, follower) in &mut self.followers {
            let peer = peers.iter().find(|peer| peer.broker == *id).copied();
            let known = follower.peer.map(|known| known.broker_epoch);
            if peer.map(|peer| peer.broker_epoch) < known {
                continue;
            }
            follower.peer = peer;
            if follower.heard.is_some() && follower.heard < peer.map(|peer| peer.broker_epoch) {
                follower.forget();
            }
        }
    }

    fn set_isr(&mut self, isr: BTreeSet<BrokerId>) {
        self.wagered = isr.clone();
        self.isr = isr;
        self.in_flight = None;
        self.retry_at = None;
        self.is_shunning = false;
    }

    /// The committed in-sync set's size, this broker among it.
    pub(crate) fn isr_count(&self) -> usize {
        self.isr.len().saturating_add(1)
    }

    /// Whether a follower's words count, those of an older registration do not; `None` if the broker
    /// keeps no replica.
    pub(crate) fn listens(&self, caller: &Caller) -> Option<bool> {
        let follower = self.followers.get(&caller.broker)?;
        Some(Some(caller.broker_epoch) >= follower.broker_epoch_min())
    }

    /// The end of our log has moved: whoever had all of it begins to lag now, whenever that is.
    pub(crate) fn appended(&mut self, before: Offset, durability: Durability) {
        for follower in self.followers.values_mut() {
            if follower.caught_up != CaughtUp::Never && follower.held(durability) >= before {
                follower.caught_up = CaughtUp::Lately;
            }
        }
    }

    pub(crate) fn fetched(&mut self, caller: &Caller, offset: Offset, ends: &LogEnds) {
        if let Some(follower) = self.followers.get_mut(&caller.broker) {
            listen(follower, caller);
            follower.matched = offset.min(ends.end);
        }
    }

    pub(crate) fn progressed(&mut self, caller: &Caller, end: Offset) {
        if let Some(follower) = self.followers.get_mut(&caller.broker) {
            listen(follower, caller);
            follower.durable = follower.durable.max(end);
        }
    }

    /// Stamps what happened since the last time told, and notes who has all there is: up to `end`, and
    /// of what is this leader's `own`.
    pub(crate) fn stamp(
        &mut self,
        heard: Option<BrokerId>,
        policy: &Policy,
        (own, end): (Offset, Offset),
        now: Now,
    ) {
        self.now = self.now.max(now);
        let now = self.now;
        for (id, follower) in &mut self.followers {
            let held = follower.held(policy.durability);
            if follower.caught_up == CaughtUp::Lately && held < end {
                follower.caught_up = CaughtUp::At(now);
                follower.mark = None;
            }
            if Some(*id) == heard {
                follower.note(held, end, now);
            }
            follower.watch(held, own, now);
        }
    }

    /// Time has passed by itself: finds those that have not moved for too long. Not to be judged from
    /// a follower's words: where this leader was held up they come before those of others.
    pub(crate) fn find_stalled(&mut self) {
        for follower in self.followers.values_mut() {
            let waited = follower.waited_for.map(|since| self.now.since(since));
            follower.is_stalled |= waited.is_some_and(|waited| waited >= STALL_TIME_MAX);
        }
    }

    /// The offset up to which all who must hold the log do: the in-sync ones, those who may have
    /// become so, and those about to join, who otherwise would chase the high watermark forever.
    pub(crate) fn held_by_all(&self, own: Offset, policy: &Policy, end: Offset) -> Offset {
        let mut all = own;
        for (id, follower) in &self.followers {
            let held = follower.held(policy.durability);
            let must = self.isr.contains(id) || self.wagered.contains(id);
            let joins = follower.may_join()
                && !follower.is_stalled
                && (held >= end || !follower.lags(self.now, policy))
                && held >= self.epoch_start;
            if must || joins {
                all = all.min(held);
            }
        }
        all
    }

    /// The in-sync set to propose now, if it should be another.
    pub(crate) fn propose(
        &mut self,
        own: BrokerId,
        policy: &Policy,
        high_watermark: Offset,
        end: Offset,
    ) -> Option<Vec<IsrMember>> {
        if self.followers.is_empty()
            || self.in_flight.is_some()
            || self.retry_at.is_some_and(|at| self.now < at)
        {
            return None;
        }
        // Reaching the high watermark alone would not do: a new leader's may be older than what was
        // committed, but never the start of its epoch (KIP-966).
        let needed = high_watermark.max(self.epoch_start);
        let belongs = |(id, follower): (&BrokerId, &Follower)| {
            let held = follower.held(policy.durability);
            if self.isr.contains(id) {
                held >= end || !(follower.lags(self.now, policy) || follower.is_stalled)
            } else {
                let is_late = follower.is_late(self.now, policy) || follower.is_stalled;
                let keeps_up = held >= end || !is_late;
                held >= needed && keeps_up && follower.may_join() && !self.is_shunning
            }
        };
        let is_same = self.followers.iter().all(|one| belongs(one) == self.isr.contains(one.0));
        // The same set again moves the partition epoch on, which ends all older attempts.
        let is_settled = self.wagered.is_subset(&self.isr);
        if is_same && is_settled {
            return None;
        }
        let mut isr: BTreeSet<BrokerId> =
            self.followers.iter().filter(|one| belongs(*one)).map(|one| *one.0).collect();
        self.is_shunning = false;
        self.wagered.extend(&isr);
        self.proposals = self.proposals.saturating_add(1);
        self.in_flight = Some(self.proposals);
        isr.insert(own);
        Some(isr.iter().map(|id| self.member(*id)).collect())
    }

    fn member(&self, broker: BrokerId) -> IsrMember {
        let broker_epoch = self.followers.get(&broker).and_then(|follower| follower.heard);
        IsrMember { broker, broker_epoch }
    }

    /// Dresses a set as a proposal.
    pub(crate) fn proposal(
        &self,
        isr: Vec<IsrMember>,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
    ) -> Proposal {
        Proposal { number: self.proposals, leader_epoch, partition_epoch, isr }
    }

    /// What became of a proposal based on the partition epoch known here, or on one before it.
    pub(crate) fn answered(
        &mut self,
        number: u64,
        outcome: &ProposalOutcome,
        known: PartitionEpoch,
    ) {
        if self.in_flight != Some(number) {
            return;
        }
        match outcome {
            // Until the image shows it nothing else can be proposed.
            ProposalOutcome::Accepted { partition_epoch } if *partition_epoch > known => {}
            ProposalOutcome::Accepted { .. } => self.in_flight = None,
            ProposalOutcome::Refused(_) | ProposalOutcome::Unknown => {
                self.in_flight = None;
                self.retry_at = Some(self.now.plus(PROPOSAL_BACKOFF));
                self.is_shunning =
                    *outcome == ProposalOutcome::Refused(ErrorCode::IneligibleReplica);
            }
        }
    }

    /// When time alone changes something: an in-sync follower has lagged or not moved for too long, or
    /// a failed proposal may be made again.
    pub(crate) fn next_deadline(
        &self,
        policy: &Policy,
        (own, end): (Offset, Offset),
    ) -> Option<Now> {
        if self.in_flight.is_some() {
            return None;
        }
        let lagging = |id: &BrokerId| {
            let follower = self.followers.get(id)?;
            let held = follower.held(policy.durability);
            if held >= end {
                return None;
            }
            let is_late = match follower.caught_up {
                CaughtUp::At(at) => at.plus(policy.lag_time_max),
                // It lags since a time that nobody has told yet.
                CaughtUp::Lately | CaughtUp::Never => return Some(Now::default()),
            };
            match follower.waited_for {
                Some(since) => Some(is_late.min(since.plus(STALL_TIME_MAX))),
                None if held < own => Some(Now::default()),
                None => Some(is_late),
            }
        };
        let first = self.isr.iter().filter_map(lagging).min();
        match (first, self.retry_at) {
            (Some(first), Some(retry)) => Some(first.max(retry)),
            (None, Some(retry)) if retry > self.now => Some(retry),
            (first, _) => first,
        }
    }

    pub(crate) fn followers(
        &self,
        durability: Durability,
    ) -> impl Iterator<Item = FollowerStanding> + '_ {
        self.followers.iter().map(move |(id, follower)| FollowerStanding {
            broker: *id,
            is_insync: self.isr.contains(id),
            held: follower.held(durability),
            fetched: follower.matched,
        })
    }

    pub(crate) fn check_invariants(&self, end: Offset) {
        assert!(self.isr.is_subset(&self.wagered), "a wager without the in-sync set");
        for (id, follower) in &self.followers {
            assert!(follower.matched <= end, "follower {id} is ahead of its leader");
        }
    }
}

/// Words of a newer registration stand alone; those of an older one were refused before.
fn listen(follower: &mut Follower, caller: &Caller) {
    if follower.heard.is_some_and(|heard| heard < caller.broker_epoch) {
        follower.forget();
    }
    follower.heard = Some(caller.broker_epoch);
}
