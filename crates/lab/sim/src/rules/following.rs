//! Fetches, answers and claims, as an engine would handle them.

use super::flaw::Flaw;
use super::world::{Event, Message, TOPIC, Told, World, place_of_id};
use jocko_metadata::{Command, InSyncReplica, IsrChange};
use jocko_replica::{
    Agreement, Answer, Caller, Claim, Following, Found, Input, Plan, Role, agreement,
};
use jocko_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

/// A follower's question: partition, who asks, from where, the epoch of its last record.
type Question = (i32, Caller, i64, Option<LeaderEpoch>);

impl World {
    /// A follower asks its leader, again and again.
    pub(super) fn fetch(&mut self, process: u64, partition: i32) {
        let Some(place) = self.place_of(process) else { return };
        let pause = self.dice.between(15, 60);
        self.after(pause, Event::Fetch { process, partition });
        let Some(broker_epoch) = self.own_epoch(place) else { return };
        let Some(replica) = self.replica(place, partition) else { return };
        let claim = replica.claim();
        let Some(Following { leader, leader_epoch, offset }) = replica.following() else { return };
        let broker = &self.brokers[place - 1];
        let caller = Caller { broker: broker.id, broker_epoch, leader_epoch };
        let last = broker.logs.get(&partition).and_then(|log| log.last_epoch());
        let offset = offset.get();
        let message = Message::Fetch { process, partition, caller, offset, last };
        self.send(place, place_of_id(leader), message);
        if let Some(claim) = claim {
            self.claim(place, partition, claim);
        }
    }

    pub(super) fn claim(&mut self, place: usize, partition: i32, claim: Claim) {
        let Some(broker_epoch) = self.own_epoch(place) else { return };
        let broker = self.brokers[place - 1].id;
        let caller = Caller { broker, broker_epoch, leader_epoch: claim.leader_epoch };
        let end = claim.end.get();
        self.send(place, place_of_id(claim.leader), Message::Claim { partition, caller, end });
    }

    /// The flaws let words of other epochs and processes count.
    fn heard(&self, place: usize, partition: i32, caller: Caller) -> Caller {
        let mut caller = caller;
        if self.flaw == Some(Flaw::ForgetLeaderEpoch)
            && let Some(replica) = self.replica(place, partition)
        {
            caller.leader_epoch = replica.leader_epoch();
        }
        if self.flaw == Some(Flaw::ForgetBrokerEpoch) {
            let known = self.controller.image.broker(caller.broker).map(|broker| broker.epoch());
            caller.broker_epoch = known.unwrap_or(caller.broker_epoch);
        }
        caller
    }

    /// A leader answers a follower.
    pub(super) fn serve(&mut self, from: usize, place: usize, process: u64, question: Question) {
        let (partition, caller, offset, last) = question;
        let asked_in = caller.leader_epoch;
        let caller = self.heard(place, partition, caller);
        let Some(replica) = self.replica(place, partition) else { return };
        if let Err(refusal) = replica.admit_follower(&caller) {
            let is_stale = refusal.0 == ErrorCode::StaleBrokerEpoch;
            self.coverage.stale_processes += u64::from(is_stale);
            self.coverage.fenced_fetches += u64::from(!is_stale);
            return;
        }
        let broker = &self.brokers[place - 1];
        let Some(log) = broker.logs.get(&partition) else { return };
        let asked =
            Following { leader: broker.id, leader_epoch: asked_in, offset: Offset::new(offset) };
        let (start, end) = (log.start(), log.end());
        let bounds = (Offset::new(start), Offset::new(end));
        let known = last.map(|epoch| (epoch, log.epoch_end(epoch)));
        let is_blind =
            matches!(self.flaw, Some(Flaw::SkipTruncation | Flaw::TruncateToHighWatermark));
        let verdict = agreement(asked.offset, known.filter(|_| !is_blind), bounds);
        let high_watermark = replica.high_watermark().get();
        let told = match verdict {
            Agreement::Yes => Told::Records { entries: log.read(offset, 4), high_watermark, start },
            Agreement::No(leader) => Told::Parting { leader, high_watermark },
            Agreement::OutOfRange => Told::Outside { start, end },
        };
        if verdict == Agreement::Yes {
            let now = self.now();
            self.remember(place, partition, caller, offset);
            self.step(place, partition, Input::Fetched { caller, offset: asked.offset, now });
            if self.flaw == Some(Flaw::JoinTooEarly) {
                self.join(place, partition, caller);
            }
        }
        let told = match told {
            Told::Records { entries, start, .. } => {
                // The answer tells what this very fetch has made true.
                let replica = self.replica(place, partition);
                let known = replica.map_or(high_watermark, |r| r.high_watermark().get());
                Told::Records { entries, high_watermark: known, start }
            }
            other => other,
        };
        self.coverage.divergences += u64::from(matches!(told, Told::Parting { .. }));
        self.send(place, from, Message::Answer { process, partition, asked, last, told });
    }

    /// The flaw: whoever fetches is in sync.
    fn join(&mut self, place: usize, partition: i32, caller: Caller) {
        let broker = &self.brokers[place - 1];
        let Some(topic) = self.controller.image.topic(TOPIC) else { return };
        let Some(state) = self.controller.partition(partition) else { return };
        if state.isr.contains(&caller.broker) {
            return;
        }
        let members = state.isr.iter().copied().chain([caller.broker]);
        let epoch = |id| self.controller.image.broker(id).map(|broker| broker.epoch());
        let change = IsrChange {
            topic_id: topic.id,
            partition: PartitionIndex::new(partition),
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: members
                .map(|id| InSyncReplica { broker_id: id, broker_epoch: epoch(id) })
                .collect(),
        };
        let broker_epoch = epoch(broker.id).unwrap_or_default();
        let (broker_id, partitions) = (broker.id, vec![change]);
        self.decide(Command::AlterPartition { broker_id, broker_epoch, partitions });
    }

    pub(super) fn claimed(&mut self, place: usize, partition: i32, caller: Caller, end: i64) {
        let caller = self.heard(place, partition, caller);
        self.remember(place, partition, caller, end);
        let (end, now) = (Offset::new(end), self.now());
        self.step(place, partition, Input::Progress { caller, end, now });
    }

    /// A follower takes a leader's answer: first it cuts, then it appends, then it learns what is
    /// committed.
    pub(super) fn answer(
        &mut self,
        process: u64,
        partition: i32,
        asked: Following,
        last: Option<LeaderEpoch>,
        told: Told,
    ) {
        let Some(place) = self.place_of(process) else { return };
        let Some(replica) = self.replica(place, partition) else { return };
        let asked = match replica.following() {
            Some(now) if self.flaw == Some(Flaw::ForgetLeaderEpoch) => {
                Following { offset: asked.offset, ..now }
            }
            _ => asked,
        };
        let Some(log) = self.brokers[place - 1].logs.get(&partition) else { return };
        let _ = last;
        let found = match &told {
            Told::Records { .. } => Found::Agreement,
            Told::Parting { leader, .. } => {
                Found::Divergence { leader: *leader, own: log.epoch_end(leader.epoch) }
            }
            Told::Outside { start, end } => {
                Found::OutOfRange { log_start: Offset::new(*start), log_end: Offset::new(*end) }
            }
        };
        let plan = replica.plan(&Answer { asked, found });
        match (plan, told) {
            (Plan::Append, Told::Records { entries, high_watermark, start }) => {
                let Some(log) = self.broker(place).logs.get_mut(&partition) else { return };
                for entry in entries {
                    log.append(entry);
                }
                // The start first: below it nothing tells whether the logs agree.
                self.start_at(place, partition, start);
                self.replicated(place, partition, high_watermark);
            }
            (Plan::Truncate { to, .. }, told) => {
                if let (Some(Flaw::HighWatermarkFirst), Told::Parting { high_watermark, .. }) =
                    (self.flaw, told)
                {
                    self.replicated(place, partition, high_watermark);
                }
                self.cut(place, partition, to.get());
            }
            (Plan::Restart { at }, _) => {
                self.note(|_| format!("{place} begins partition {partition} anew at {at}"));
                self.coverage.restarts_at_start += 1;
                let Some(log) = self.broker(place).logs.get_mut(&partition) else { return };
                log.restart(at.get());
                let ends = log.ends();
                self.step(place, partition, Input::Truncated { ends });
                self.check_holders();
            }
            (Plan::Append | Plan::Stale, _) => {}
        }
    }

    fn replicated(&mut self, place: usize, partition: i32, high_watermark: i64) {
        let Some(log) = self.broker(place).logs.get(&partition) else { return };
        let (end, high_watermark) = (Offset::new(log.end()), Offset::new(high_watermark));
        self.step(place, partition, Input::Replicated { end, high_watermark });
    }

    pub(super) fn cut(&mut self, place: usize, partition: i32, to: i64) {
        let Some(log) = self.broker(place).logs.get_mut(&partition) else { return };
        let (end, loses) = (log.end(), log.end() > to);
        log.truncate(to);
        let ends = log.ends();
        self.note(|_| format!("{place} cuts partition {partition} from {end} to {to}"));
        self.coverage.truncations += u64::from(loses);
        self.step(place, partition, Input::Truncated { ends });
        self.check_holders();
    }

    /// Lets a follower's log begin where its leader's does.
    fn start_at(&mut self, place: usize, partition: i32, start: i64) {
        let Some(log) = self.broker(place).logs.get_mut(&partition) else { return };
        if start > log.start() {
            log.trim(start);
            let start = Offset::new(log.start());
            self.step(place, partition, Input::Trimmed { start });
        }
    }

    /// Lets a log begin later, as far as that is committed.
    pub(super) fn trim(&mut self, place: usize, partition: i32, start: i64) {
        let Some(replica) = self.replica(place, partition) else { return };
        let start = start.min(replica.high_watermark().get());
        let Some(log) = self.broker(place).logs.get_mut(&partition) else { return };
        if start > log.start() {
            log.trim(start);
            self.step(place, partition, Input::Trimmed { start: Offset::new(start) });
        }
    }

    /// A leader deletes old records.
    pub(super) fn delete_records(&mut self, place: usize, partition: i32) {
        let Some(replica) = self.replica(place, partition) else { return };
        if replica.role() == Role::Leader {
            let (start, end) = (replica.ends().start.get(), replica.high_watermark().get());
            let span = u64::try_from(end - start).unwrap_or(0);
            let by = i64::try_from(self.dice.below(span + 1)).expect("few");
            self.trim(place, partition, start + by);
        }
    }
}
