//! Copies whose logs are damaged: others lead, nobody counts on such a copy, and it is fetched anew.

use super::replicas::Turn;
use super::{Decider, unknown_topic};
use crate::command::{Answer, Refusal};
use crate::record::{MetadataRecord, PartitionState};
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, TopicIdPartition, Uuid};
use std::collections::BTreeSet;

impl Decider<'_> {
    /// A broker can serve these copies no longer, and wants to fetch them anew.
    pub(super) fn give_up_copies(
        &mut self,
        broker_id: BrokerId,
        broker_epoch: BrokerEpoch,
        copies: &[TopicIdPartition],
    ) -> Answer<Vec<Answer<LeaderEpoch>>> {
        self.current_broker(broker_id, broker_epoch)?;
        let mut done = BTreeSet::new();
        let mut answers = Vec::with_capacity(copies.len());
        for copy in copies {
            answers.push(if done.insert(*copy) {
                self.give_up(broker_id, copy)
            } else {
                Err(Refusal::new(ErrorCode::InvalidRequest, "The partition was named before."))
            });
        }
        Ok(answers)
    }

    /// The copy leaves both sets, and its disk is unset, as for a wiped one: nobody elects it until it
    /// is in sync again. Refused where nobody else, in sync or eligible, could lead: then it is all
    /// there is, and for people to decide about.
    fn give_up(&mut self, own: BrokerId, copy: &TopicIdPartition) -> Answer<LeaderEpoch> {
        let image = self.image;
        let Some(topic) = image.topic_by_id(copy.topic_id) else {
            let message = "This server does not host this topic ID.";
            return Err(Refusal::new(ErrorCode::UnknownTopicId, message));
        };
        let before: &PartitionState =
            topic.partitions.get(&copy.partition).ok_or_else(unknown_topic)?;
        if !before.replicas.contains(&own) {
            return Err(unknown_topic());
        }
        let mut draft = before.clone();
        draft.isr.retain(|id| *id != own);
        draft.elr.retain(|id| *id != own);
        for (id, directory) in draft.replicas.iter().zip(&mut draft.directories) {
            if *id == own {
                *directory = Uuid::ZERO;
            }
        }
        let turn = Turn { gone: Some(own), lost: Some(own), ..Turn::default() };
        let state = self.settle(topic, before, draft, turn);
        if state.leader.is_none() {
            let message = "No other replica is there that holds all that is committed.";
            return Err(Refusal::new(ErrorCode::EligibleLeadersNotAvailable, message));
        }
        // What this broker said of the copy in this epoch must not count for the new one.
        let leader_epoch = before.leader_epoch.next();
        let state = PartitionState { leader_epoch, ..state };
        let (topic_id, partition) = (copy.topic_id, copy.partition);
        self.records.push(MetadataRecord::Partition { topic_id, partition, state });
        Ok(leader_epoch)
    }
}
