//! What becomes of a partition when its replicas come, go or fall behind: who is in sync, who is
//! eligible beside them (KIP-966), who leads, and when a reassignment is done (KIP-455).

use super::Decider;
use crate::image::{Broker, Topic};
use crate::record::{MetadataRecord, PartitionState};
use jocko_config::kafka::TopicConfig;
use jocko_types::{BrokerId, Uuid};

/// What is known of brokers beyond the image, while a decision about one of them is being made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turn {
    /// Goes, or goes away from leading: leads nothing, whatever the image says.
    pub(super) gone: Option<BrokerId>,
    /// No longer holds what it held.
    pub(super) lost: Option<BrokerId>,
    /// Comes back: may lead, whatever the image says.
    pub(super) back: Option<BrokerId>,
    /// Its disk is in trouble from now on.
    pub(super) bad_disk: Option<BrokerId>,
    /// Its disk is good from now on.
    pub(super) good_disk: Option<BrokerId>,
}

impl Decider<'_> {
    /// A broker may no longer lead: others in sync take over, and it leaves their ISR. The last
    /// replica in sync stays in the ISR without leading, unless one that is eligible can take over.
    pub(super) fn move_away(&mut self, gone: BrokerId) {
        let turn = Turn { gone: Some(gone), ..Turn::default() };
        self.change_partitions(|decider, topic, state| {
            let leads = state.leader == Some(gone);
            let leaves = state.isr.contains(&gone) && state.isr.len() > 1;
            if !leads && !leaves {
                return None;
            }
            let mut draft = state.clone();
            if leaves {
                draft.isr.retain(|id| *id != gone);
            }
            Some(decider.settle(topic, state, draft, turn))
        });
    }

    /// A broker has started again, on this disk. As [`Decider::move_away`], but where it is alone
    /// it stays the leader on record: it gets a new leader epoch when it is unfenced. Where it no
    /// longer holds what it wrote it is not eligible, unless nobody else is.
    pub(super) fn move_away_for_restart(
        &mut self,
        restarted: BrokerId,
        directory: Uuid,
        kept_page_cache: bool,
    ) {
        self.change_partitions(|decider, topic, state| {
            let is_in_isr = state.isr.contains(&restarted);
            let is_in_elr = state.elr.contains(&restarted);
            if !is_in_isr && !is_in_elr {
                return None;
            }
            let is_wiped = state.directory(restarted) != Some(directory);
            let is_lost = is_wiped || (!kept_page_cache && !decider.is_fsynced(topic));
            let others = state.isr.iter().chain(&state.elr).any(|id| *id != restarted);
            let is_shared = state.isr.len() > 1 || (is_lost && others);
            if !others || !((is_in_isr && is_shared) || (is_in_elr && is_lost)) {
                return None;
            }
            let mut draft = state.clone();
            draft.isr.retain(|id| *id != restarted);
            draft.elr.retain(|id| *id != restarted);
            let lost = is_lost.then_some(restarted);
            let turn = Turn { gone: Some(restarted), lost, ..Turn::default() };
            Some(decider.settle(topic, state, draft, turn))
        });
    }

    /// A broker may lead again: it takes what nobody leads and it is eligible for. Each of its
    /// partitions gets a new leader epoch, so that a log that lost its tail in a crash shows it
    /// (KIP-101). A disk that is not the one a replica was on has nothing to lead with.
    pub(super) fn lead_again(&mut self, broker: &Broker) {
        let id = broker.id();
        let turn = Turn { back: Some(id), ..Turn::default() };
        self.change_partitions(|decider, topic, state| {
            if state.leader.is_some_and(|leader| leader != id) || !decider.may_lead(id, state, turn)
            {
                return None;
            }
            if !state.isr.contains(&id) && !state.elr.contains(&id) {
                return None;
            }
            let draft = PartitionState { leader: None, ..state.clone() };
            let mut led = decider.settle(topic, state, draft, turn);
            led.leader_epoch = state.leader_epoch.next();
            led.leader.is_some().then_some(led)
        });
    }

    /// A broker is about to stop: others in sync take over what they can. It stays in sync, so that
    /// nobody has to wait for those who follow anew.
    pub(super) fn hand_over(&mut self, retiring: BrokerId) {
        let turn = Turn { gone: Some(retiring), ..Turn::default() };
        self.change_partitions(|decider, topic, state| {
            let others =
                state.isr.iter().any(|id| *id != retiring && decider.may_lead(*id, state, turn));
            if state.leader != Some(retiring) || !others {
                return None;
            }
            let draft = PartitionState { leader: None, ..state.clone() };
            Some(decider.settle(topic, state, draft, turn))
        });
    }

    /// A broker that leads nothing others could lead leaves each ISR that has others.
    pub(super) fn leave_isrs(&mut self, retiring: BrokerId) {
        let turn = Turn { gone: Some(retiring), ..Turn::default() };
        self.change_partitions(|decider, topic, state| {
            let is_in = state.isr.contains(&retiring) && state.isr.len() > 1;
            if !is_in || state.leader == Some(retiring) {
                return None;
            }
            let mut draft = state.clone();
            draft.isr.retain(|id| *id != retiring);
            Some(decider.settle(topic, state, draft, turn))
        });
    }

    /// Whether a broker has a copy on the disk it is registered with, and may lead it.
    pub(super) fn may_lead(&self, id: BrokerId, state: &PartitionState, turn: Turn) -> bool {
        let is_active = turn.back == Some(id) || self.image.is_active(id);
        turn.gone != Some(id) && is_active && self.has_disk_of(id, state)
    }

    /// Whether nothing is wrong with a broker's disk.
    pub(super) fn has_good_disk(&self, id: BrokerId, turn: Turn) -> bool {
        let is_good = || self.image.broker(id).is_some_and(|broker| broker.disk.is_none());
        turn.bad_disk != Some(id) && (turn.good_disk == Some(id) || is_good())
    }

    /// Whether one of these may lead, and has a good disk.
    pub(super) fn is_any_fit(&self, ids: &[BrokerId], state: &PartitionState, turn: Turn) -> bool {
        let mut ids = ids.iter();
        ids.any(|id| self.may_lead(*id, state, turn) && self.has_good_disk(*id, turn))
    }

    /// Whether a broker is registered with the disk that its replica was on.
    pub(super) fn has_disk_of(&self, id: BrokerId, state: &PartitionState) -> bool {
        self.image
            .broker(id)
            .is_some_and(|broker| state.directory(id) == Some(broker.registration.directory))
    }

    /// Finishes a partition's next state: a reassignment that is done is completed, the eligible
    /// replicas follow from who is in sync, somebody leads if anybody can, and the epochs rise.
    pub(super) fn settle(
        &self,
        topic: &Topic,
        before: &PartitionState,
        draft: PartitionState,
        turn: Turn,
    ) -> PartitionState {
        let configured = self.min_isr(topic, &draft);
        let mut state = draft;
        complete_reassignment(&mut state, configured);
        let min_isr = configured.min(state.replicas.len());
        state.elr = eligible(before, &state, min_isr, turn);
        let stays = |id: &BrokerId| {
            let is_able = before.leader == Some(*id) && turn.gone != Some(*id);
            // With its disk in trouble it leads only where nobody else in sync could do better.
            let is_fit = self.has_good_disk(*id, turn);
            state.isr.contains(id)
                && is_able
                && (is_fit || !self.is_any_fit(&state.isr, &state, turn))
        };
        if !state.leader.as_ref().is_some_and(stays) {
            self.choose_leader(before, &mut state, min_isr, turn);
        }
        // A broker that keeps no replica any more deletes what it had. What it said before must not
        // count should it be given the replica back, and only a leader epoch tells the two apart.
        let loses_replica = before.replicas.iter().any(|id| !state.replicas.contains(id));
        if state.leader != before.leader || loses_replica {
            state.leader_epoch = before.leader_epoch.next();
        }
        state.partition_epoch = before.partition_epoch.next();
        state
    }

    /// The first live replica in sync, in the order of assignment; if there is none the first that is
    /// eligible, which is then the whole ISR. Of either, good disks come first.
    fn choose_leader(
        &self,
        before: &PartitionState,
        state: &mut PartitionState,
        min_isr: usize,
        turn: Turn,
    ) {
        let first = |list: &[BrokerId]| {
            let able = |id: &&BrokerId| list.contains(id) && self.may_lead(**id, state, turn);
            let mut able = state.replicas.iter().filter(able).copied();
            let any = able.clone().next();
            able.find(|id| self.has_good_disk(*id, turn)).or(any)
        };
        let in_sync = first(&state.isr);
        let elected = in_sync.or_else(|| first(&state.elr));
        state.leader = elected;
        if let Some(leader) = elected
            && in_sync.is_none()
        {
            let known = PartitionState {
                isr: before.isr.iter().chain(&state.isr).copied().collect(),
                ..before.clone()
            };
            state.isr = vec![leader];
            state.elr = eligible(&known, state, min_isr, turn);
        }
    }

    /// `min.insync.replicas` of a topic; nothing is looked up where it cannot matter.
    pub(super) fn min_isr(&self, topic: &Topic, state: &PartitionState) -> usize {
        if state.replicas.len() == 1 {
            return 1;
        }
        let config = TopicConfig::resolve(self.image.topic_configs(&topic.name), &self.layers());
        usize::try_from(config.min_insync_replicas).unwrap_or(usize::MAX)
    }

    /// Whether a topic's acknowledged records are on disk.
    fn is_fsynced(&self, topic: &Topic) -> bool {
        let config = TopicConfig::resolve(self.image.topic_configs(&topic.name), &self.layers());
        config.durability == jocko_config::Durability::Fsync
    }

    /// Records a new state for each partition for which `change` has one.
    pub(super) fn change_partitions(
        &mut self,
        change: impl Fn(&Self, &Topic, &PartitionState) -> Option<PartitionState>,
    ) {
        let mut records = Vec::new();
        for topic in self.image.topics() {
            for (partition, state) in &topic.partitions {
                let Some(state) = change(self, topic, state) else { continue };
                let (topic_id, partition) = (topic.id, *partition);
                records.push(MetadataRecord::Partition { topic_id, partition, state });
            }
        }
        self.records.append(&mut records);
    }
}

/// The replicas out of sync that hold all that is committed: while fewer than the minimum are in sync
/// the high watermark stands still, so whoever was in sync when that began still does.
fn eligible(
    before: &PartitionState,
    after: &PartitionState,
    min_isr: usize,
    turn: Turn,
) -> Vec<BrokerId> {
    if after.isr.len() >= min_isr {
        return Vec::new();
    }
    let held = |id: &&BrokerId| before.isr.contains(id) || before.elr.contains(id);
    let out = |id: &&BrokerId| !after.isr.contains(id) && turn.lost != Some(**id);
    after.replicas.iter().filter(held).filter(out).copied().collect()
}

/// Takes away what a reassignment removes, once all it adds are in sync and enough of those that
/// stay are.
fn complete_reassignment(state: &mut PartitionState, min_isr: usize) {
    if !state.is_reassigned() || !state.adding.iter().all(|id| state.isr.contains(id)) {
        return;
    }
    let stays = |id: &BrokerId| !state.removing.contains(id);
    let replicas = state.replicas.iter().copied().filter(stays).count();
    let in_sync = state.isr.iter().copied().filter(stays).count();
    if replicas == 0 || in_sync < min_isr.min(replicas).max(1) {
        return;
    }
    let removing = std::mem::take(&mut state.removing);
    state.adding.clear();
    keep_replicas(state, |id| !removing.contains(&id));
}

/// Drops the replicas for which `keep` does not hold, from all lists.
pub(super) fn keep_replicas(state: &mut PartitionState, keep: impl Fn(BrokerId) -> bool) {
    let kept = state.replicas.iter().copied().zip(state.directories.iter().copied());
    (state.replicas, state.directories) = kept.filter(|(id, _)| keep(*id)).unzip();
    for list in [&mut state.isr, &mut state.elr, &mut state.adding, &mut state.removing] {
        list.retain(|id| keep(*id));
    }
    if state.leader.is_some_and(|id| !keep(id)) {
        state.leader = None;
    }
}
