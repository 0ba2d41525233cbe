//! What becomes of partitions while a broker's disk is in trouble: others in sync lead in its place.
//! Nothing is lost for it: who leads is in sync, and where nobody else is the broker keeps the lead.

use super::Decider;
use super::replicas::Turn;
use crate::command::Answer;
use crate::image::Topic;
use crate::record::{DiskTrouble, MetadataRecord, PartitionState};
use jocko_types::{BrokerEpoch, BrokerId};

/// The longest words about a disk that are kept, in bytes.
const WORDS_BYTES_MAX: usize = 512;

impl Decider<'_> {
    /// A broker's disk is in this trouble, or in none.
    pub(super) fn report_disk(
        &mut self,
        broker_id: BrokerId,
        broker_epoch: BrokerEpoch,
        trouble: Option<DiskTrouble>,
    ) -> Answer<()> {
        let broker = self.current_broker(broker_id, broker_epoch)?;
        let kind = trouble.as_ref().map(|trouble| trouble.kind);
        if kind == broker.disk.as_ref().map(|known| known.kind) {
            return Ok(());
        }
        let trouble = trouble.map(|it| DiskTrouble { words: shortened(it.words), ..it });
        self.records.push(MetadataRecord::BrokerDisk { broker_id, broker_epoch, trouble });
        let turn = match kind {
            Some(_) => Turn { bad_disk: Some(broker_id), ..Turn::default() },
            None => Turn { good_disk: Some(broker_id), ..Turn::default() },
        };
        // Nobody shall have to find out first that it does not follow any more.
        let leaves = kind.filter(|kind| !kind.takes_writes()).map(|_| broker_id);
        self.change_partitions(|decider, topic, state| {
            decider.relieved(topic, state, turn, leaves)
        });
        Ok(())
    }

    /// The partition led by whoever is in sync and has a good disk, if the leader's is in trouble;
    /// and without the one that `leaves`, if as many as are needed stay in sync. `None` if nothing
    /// changes.
    fn relieved(
        &self,
        topic: &Topic,
        state: &PartitionState,
        turn: Turn,
        leaves: Option<BrokerId>,
    ) -> Option<PartitionState> {
        let leader = state.leader?;
        let moves = !self.has_good_disk(leader, turn) && self.is_any_fit(&state.isr, state, turn);
        let mut draft = state.clone();
        if let Some(leaver) = leaves.filter(|id| state.isr.contains(id)) {
            let needed = self.min_isr(topic, state).min(state.replicas.len()).max(1);
            let can_go = leader != leaver || moves;
            if can_go && state.isr.len() > needed {
                draft.isr.retain(|id| *id != leaver);
            }
        }
        (moves || draft.isr != state.isr).then(|| self.settle(topic, state, draft, turn))
    }
}

fn shortened(mut words: String) -> String {
    if words.len() > WORDS_BYTES_MAX {
        let end = (0..=WORDS_BYTES_MAX).rev().find(|at| words.is_char_boundary(*at));
        words.truncate(end.unwrap_or(0));
    }
    words
}
