//! The machine itself: role, ends, high watermark, and who waits.

use crate::leading::{FollowerStanding, Leading};
use crate::types::{
    Acks, Assignment, Caller, Durability, Input, LogEnds, Output, Policy, ProposalOutcome, Refusal,
    Role,
};
use crate::waiters::{Outcome, Released, Ticket, Waiters};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Now, Offset, PartitionEpoch};

/// One replica of one partition.
#[derive(Debug)]
pub struct Replica {
    pub(crate) broker: BrokerId,
    pub(crate) leader: Option<BrokerId>,
    pub(crate) leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    replica_count: usize,
    /// There while this broker leads.
    leading: Option<Leading>,
    /// Whether this follower's log is known to agree with the leader's in this epoch.
    pub(crate) is_reconciled: bool,
    /// What the leader was told last in this epoch.
    claimed: Option<Offset>,
    pub(crate) policy: Policy,
    pub(crate) ends: LogEnds,
    pub(crate) high_watermark: Offset,
    waiters: Waiters,
}

impl Replica {
    /// A replica on `broker` whose log stands at `ends`. It serves nobody until it is assigned.
    ///
    /// `high_watermark` is the last one known to be committed, from a checkpoint; the log's start if
    /// there is none. The log's durable end is no substitute where there are several replicas: what
    /// lies there may never have been committed, and be cut away.
    #[must_use]
    pub fn new(broker: BrokerId, policy: Policy, ends: LogEnds, high_watermark: Offset) -> Self {
        Self {
            broker,
            leader: None,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch::new(-1),
            replica_count: 0,
            leading: None,
            is_reconciled: false,
            claimed: None,
            policy,
            ends,
            high_watermark: high_watermark.clamp(ends.start, ends.durable.max(ends.start)),
            waiters: Waiters::default(),
        }
    }

    /// Takes in what happened and says what follows. Total: there is no input it can fail on.
    pub fn step(&mut self, input: Input) -> Output {
        let mut output = Output::default();
        match input {
            Input::Assigned(assignment) => self.assign(&assignment, &mut output),
            Input::Governed(policy) => self.policy = policy,
            Input::Appended { end } => self.appended(end),
            Input::Durable { end } => {
                self.ends.durable = self.ends.durable.max(end).min(self.ends.end);
            }
            Input::Trimmed { start } => self.trim(start),
            Input::Fetched { caller, offset, now } => self.fetched(&caller, offset, now),
            Input::Progress { caller, end, now } => self.progressed(&caller, end, now),
            Input::Answered { number, outcome, now } => self.answered(number, &outcome, now),
            Input::Replicated { end, high_watermark } => self.replicated(end, high_watermark),
            Input::Truncated { ends } => self.truncated(ends),
            Input::Ticked { now } => {
                self.stamp(None, now);
                if let Some(leading) = &mut self.leading {
                    leading.find_stalled();
                }
            }
            Input::Ended { error } => self.waiters.refuse_all(error, &mut output.released),
            Input::Parked { ticket, offset } => {
                self.park(ticket, offset, self.is_leader(), &mut output);
            }
            Input::ParkedReader { ticket, offset } => {
                let serves = self.is_leader() || self.is_reconciled;
                self.park(ticket, offset, serves, &mut output);
            }
            Input::ParkedFetch { ticket, end, high_watermark } if self.is_leader() => {
                self.waiters.park_fetch(ticket, end, high_watermark);
            }
            Input::ParkedFetch { ticket, .. } => self.refuse(ticket, &mut output),
            Input::Forgotten { ticket } => self.waiters.forget(ticket),
        }
        self.advance_high_watermark();
        self.waiters.release_to(self.high_watermark, &mut output.released);
        self.waiters.release_fetches(self.ends.end, self.high_watermark, &mut output.released);
        self.propose(&mut output);
        self.tell_leader(&mut output);
        // In relaxed mode nobody's answer waits for the disk.
        output.flush_due =
            self.policy.durability == Durability::Fsync && self.ends.durable < self.ends.end;
        output
    }

    /// Whether a producer may append now.
    ///
    /// # Errors
    /// The answer for the producer: not the leader, or too few in-sync replicas for `acks=all`.
    pub fn admit_produce(&self, acks: Acks) -> Result<LeaderEpoch, Refusal> {
        let Some(leading) = &self.leading else {
            return Err(Refusal(ErrorCode::NotLeaderOrFollower));
        };
        if acks == Acks::All && leading.isr_count() < self.min_insync() {
            return Err(Refusal(ErrorCode::NotEnoughReplicas));
        }
        Ok(self.leader_epoch)
    }

    /// Whether this replica may answer a read that carries the leader epoch the client knows
    /// (`None`: it did not say) (KIP-320). Reads end at the high watermark.
    ///
    /// # Errors
    /// The answer for the client: not the leader, or its epoch is older or newer than ours.
    pub fn admit_read(&self, known: Option<LeaderEpoch>) -> Result<(), Refusal> {
        self.fence(known)?;
        if self.is_leader() { Ok(()) } else { Err(Refusal(ErrorCode::NotLeaderOrFollower)) }
    }

    /// As [`Replica::admit_read`], for a consumer that may read from a follower (KIP-392): one that
    /// has found out in this epoch that its log agrees with its leader's.
    ///
    /// # Errors
    /// As above; `REPLICA_NOT_AVAILABLE` while a follower does not know.
    pub fn admit_reader(&self, known: Option<LeaderEpoch>) -> Result<(), Refusal> {
        self.fence(known)?;
        if self.is_leader() || self.is_reconciled {
            Ok(())
        } else {
            Err(Refusal(ErrorCode::ReplicaNotAvailable))
        }
    }

    /// As [`Replica::admit_read`], for one who asks where the log ends: a new leader does not
    /// know until its high watermark has reached the start of its epoch (KIP-207), and would name
    /// an offset below one that clients have seen.
    ///
    /// # Errors
    /// As above; `OFFSET_NOT_AVAILABLE` while it does not know.
    pub fn admit_latest(&self, known: Option<LeaderEpoch>) -> Result<(), Refusal> {
        self.admit_read(known)?;
        match &self.leading {
            Some(leading) if self.high_watermark < leading.epoch_start => {
                Err(Refusal(ErrorCode::OffsetNotAvailable))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether this leader may answer a follower's fetch.
    ///
    /// # Errors
    /// The answer for the follower: not the leader, its leader epoch is older or newer, it keeps no
    /// replica, or another process has registered for its broker since.
    pub fn admit_follower(&self, caller: &Caller) -> Result<(), Refusal> {
        self.admit_read(Some(caller.leader_epoch))?;
        match self.leading.as_ref().and_then(|leading| leading.listens(caller)) {
            Some(true) => Ok(()),
            Some(false) => Err(Refusal(ErrorCode::StaleBrokerEpoch)),
            None => Err(Refusal(ErrorCode::ReplicaNotAvailable)),
        }
    }

    fn fence(&self, known: Option<LeaderEpoch>) -> Result<(), Refusal> {
        match known {
            Some(epoch) if epoch < self.leader_epoch => Err(Refusal(ErrorCode::FencedLeaderEpoch)),
            Some(epoch) if epoch > self.leader_epoch => Err(Refusal(ErrorCode::UnknownLeaderEpoch)),
            Some(_) | None => Ok(()),
        }
    }

    /// What this replica is.
    #[must_use]
    pub fn role(&self) -> Role {
        if self.is_leader() { Role::Leader } else { Role::Follower }
    }

    fn is_leader(&self) -> bool {
        self.leading.is_some()
    }

    /// The leader this replica knows, if any.
    #[must_use]
    pub fn leader(&self) -> Option<BrokerId> {
        self.leader
    }

    /// The epoch of the leader this replica knows.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The epoch of the state this replica knows.
    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// Everything below is committed: it survives every clean election.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The ends of the log as last told.
    #[must_use]
    pub fn ends(&self) -> LogEnds {
        self.ends
    }

    /// How many requests are parked here.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// As leader: its followers.
    pub fn followers(&self) -> impl Iterator<Item = FollowerStanding> + '_ {
        self.leading.iter().flat_map(|leading| leading.followers(self.policy.durability))
    }

    /// As leader: how many replicas are in sync, itself among them; 0 otherwise.
    #[must_use]
    pub fn isr_count(&self) -> usize {
        self.leading.as_ref().map_or(0, Leading::isr_count)
    }

    /// When [`Input::Ticked`] is due at the latest, if time alone can change anything. An instant
    /// long past says that something happened whose time the machine wants to know: a sweep every
    /// second or so over the partitions with followers is early enough. A partition without
    /// followers never has a deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        let reached = (self.own_progress(), self.ends.end);
        self.leading.as_ref().and_then(|leading| leading.next_deadline(&self.policy, reached))
    }

    /// Panics if an invariant of this machine does not hold. For tests and simulation.
    pub fn check_invariants(&self) {
        let LogEnds { start, end, durable } = self.ends;
        assert!(start <= self.high_watermark, "P-1: {start} <= {}", self.high_watermark);
        assert!(self.high_watermark <= end, "P-1: {} <= {end}", self.high_watermark);
        assert!(durable <= end, "durable {durable} <= end {end}");
        if let Some(leading) = &self.leading {
            assert_eq!(
                self.leader,
                Some(self.broker),
                "P-2: a leader that the image does not name"
            );
            assert!(!self.is_reconciled, "a leader follows nobody");
            leading.check_invariants(end);
        }
    }

    #[cfg(test)]
    pub(crate) fn policy_for_tests(&self) -> Policy {
        self.policy
    }

    fn assign(&mut self, assignment: &Assignment, output: &mut Output) {
        // Images arrive in order, but a late one must not undo a newer one (P-4).
        if assignment.leader_epoch < self.leader_epoch
            || assignment.partition_epoch < self.partition_epoch
        {
            return;
        }
        let is_new_epoch = assignment.leader_epoch > self.leader_epoch;
        let is_newer = is_new_epoch || assignment.partition_epoch > self.partition_epoch;
        self.leader = assignment.leader;
        self.leader_epoch = assignment.leader_epoch;
        self.partition_epoch = assignment.partition_epoch;
        self.replica_count = assignment.replicas.len();
        let leads = assignment.leader == Some(self.broker) && !assignment.is_fenced;
        let loses = self.is_leader() && !leads;
        if is_new_epoch || loses {
            self.leading = None;
            self.is_reconciled = false;
            self.claimed = None;
            self.waiters.refuse_all(ErrorCode::NotLeaderOrFollower, &mut output.released);
        }
        if leads {
            let is_newer = is_newer || self.leading.is_none();
            self.is_reconciled = false;
            // What a follower told an older leader says nothing about this epoch.
            let epoch_start = self.ends.end;
            let leading = self.leading.get_or_insert_with(|| Leading::new(epoch_start));
            leading.assign(self.broker, assignment, is_newer);
        }
    }

    fn appended(&mut self, end: Offset) {
        let before = self.ends.end;
        self.ends.end = before.max(end);
        if let Some(leading) = &mut self.leading
            && self.ends.end > before
        {
            leading.appended(before, self.policy.durability);
        }
    }

    fn trim(&mut self, start: Offset) {
        self.ends.start = self.ends.start.max(start);
        self.ends.end = self.ends.end.max(start);
        self.ends.durable = self.ends.durable.max(start);
        self.high_watermark = self.high_watermark.max(start);
    }

    fn fetched(&mut self, caller: &Caller, offset: Offset, now: Now) {
        if self.admit_follower(caller).is_err() {
            return;
        }
        if let Some(leading) = &mut self.leading {
            leading.fetched(caller, offset, &self.ends);
        }
        self.stamp(Some(caller.broker), now);
    }

    fn progressed(&mut self, caller: &Caller, end: Offset, now: Now) {
        if self.admit_follower(caller).is_err() {
            return;
        }
        if let Some(leading) = &mut self.leading {
            leading.progressed(caller, end);
        }
        self.stamp(Some(caller.broker), now);
    }

    fn answered(&mut self, number: u64, outcome: &ProposalOutcome, now: Now) {
        self.stamp(None, now);
        if let Some(leading) = &mut self.leading {
            leading.answered(number, outcome, self.partition_epoch);
        }
    }

    fn stamp(&mut self, heard: Option<BrokerId>, now: Now) {
        let reached = (self.own_progress(), self.ends.end);
        if let Some(leading) = &mut self.leading {
            leading.stamp(heard, &self.policy, reached, now);
        }
    }

    fn replicated(&mut self, end: Offset, high_watermark: Offset) {
        if self.following().is_none() {
            return;
        }
        self.ends.end = self.ends.end.max(end);
        self.is_reconciled = true;
        // What was committed once stays so; what the leader has committed counts as far as this log goes.
        self.high_watermark = self.high_watermark.max(high_watermark.min(self.ends.end));
    }

    fn truncated(&mut self, ends: LogEnds) {
        if self.is_leader() {
            return;
        }
        let start = ends.start.min(ends.end);
        self.ends = LogEnds { start, end: ends.end, durable: ends.durable.clamp(start, ends.end) };
        self.high_watermark = self.high_watermark.clamp(start, ends.end);
        self.is_reconciled = false;
        self.claimed = None;
    }

    fn park(&mut self, ticket: Ticket, offset: Offset, serves: bool, output: &mut Output) {
        if serves {
            self.waiters.park(ticket, offset);
        } else {
            self.refuse(ticket, output);
        }
    }

    fn refuse(&mut self, ticket: Ticket, output: &mut Output) {
        self.waiters.forget(ticket);
        let outcome = Outcome::Refused(ErrorCode::NotLeaderOrFollower);
        output.released.push(Released { ticket, outcome });
    }

    fn advance_high_watermark(&mut self) {
        if let Some(leading) = &self.leading
            && leading.isr_count() >= self.min_insync()
        {
            let committed = leading.held_by_all(self.own_progress(), &self.policy, self.ends.end);
            self.high_watermark = self.high_watermark.max(committed);
        }
    }

    fn propose(&mut self, output: &mut Output) {
        let Some(leading) = &mut self.leading else { return };
        let isr = leading.propose(self.broker, &self.policy, self.high_watermark, self.ends.end);
        output.proposal =
            isr.map(|isr| leading.proposal(isr, self.leader_epoch, self.partition_epoch));
    }

    fn tell_leader(&mut self, output: &mut Output) {
        let claim = self.claim();
        if claim.map(|claim| claim.end) > self.claimed {
            self.claimed = claim.map(|claim| claim.end);
            output.claim = claim;
        }
    }

    fn own_progress(&self) -> Offset {
        match self.policy.durability {
            Durability::Fsync => self.ends.durable,
            Durability::Relaxed => self.ends.end,
        }
    }

    /// Kafka caps the minimum by the number of replicas, or a topic of one replica could never
    /// be written under a minimum of two.
    fn min_insync(&self) -> usize {
        self.policy.min_insync_replicas.min(self.replica_count)
    }
}
