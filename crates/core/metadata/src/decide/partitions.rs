//! Giving topics more partitions.

use super::topics::copies_of;
use super::{Decider, duplicates, too_large_a_request, unknown_topic};
use super::{PARTITIONS_PER_REQUEST_MAX, RECORDS_PER_REQUEST_MAX};
use crate::command::{Answer, NewPartitions, Refusal};
use crate::image::Topic;
use crate::record::{MetadataRecord, Replication};
use jocko_types::{BrokerId, ErrorCode, PartitionIndex};
use std::collections::BTreeSet;

impl Decider<'_> {
    pub(super) fn create_partitions(
        &mut self,
        topics: Vec<NewPartitions>,
        validate_only: bool,
    ) -> Vec<(String, Answer<()>)> {
        let twice = duplicates(topics.iter().map(|topic| topic.name.as_str()));
        let mut told = BTreeSet::new();
        let mut answers = Vec::with_capacity(topics.len());
        let mut room = self.partition_room();
        let mut request_room = PARTITIONS_PER_REQUEST_MAX;
        for topic in topics {
            let answer = if twice.contains(&topic.name) {
                if !told.insert(topic.name.clone()) {
                    continue;
                }
                Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            } else {
                self.grow(&topic, &mut request_room, &mut room)
            };
            answers.push((topic.name, answer));
        }
        debug_assert!(self.records.len() <= RECORDS_PER_REQUEST_MAX, "one record a partition");
        if validate_only {
            self.records.clear();
        }
        answers
    }

    fn grow(
        &mut self,
        asked: &NewPartitions,
        request_room: &mut u64,
        room: &mut u64,
    ) -> Answer<()> {
        let topic = self.image.topic(&asked.name).ok_or_else(unknown_topic)?;
        let current = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        if asked.count == current {
            return refuse(format!("Topic already has {current} partition(s)."));
        }
        let additional = match asked.count.checked_sub(current).map(u64::try_from) {
            Some(Ok(additional)) => additional,
            _ => {
                return refuse(format!(
                    "The topic {} currently has {current} partition(s); {} would not be an \
                     increase.",
                    asked.name, asked.count
                ));
            }
        };
        let left = request_room.checked_sub(additional).ok_or_else(too_large_a_request)?;
        let cluster_left =
            room.checked_sub(additional).ok_or_else(|| self.too_many_partitions())?;
        let lists = match &asked.assignments {
            Some(assignments) => self.chosen_lists(topic, additional, assignments)?,
            None => self.placed_lists(topic, additional)?,
        };
        let mut records = Vec::with_capacity(lists.len());
        for (partition, replicas) in (current..).map(PartitionIndex::new).zip(lists) {
            let state = self.first_state(partition, replicas)?;
            records.push(MetadataRecord::Partition { topic_id: topic.id, partition, state });
        }
        self.records.append(&mut records);
        (*request_room, *room) = (left, cluster_left);
        Ok(())
    }

    fn chosen_lists(
        &self,
        topic: &Topic,
        additional: u64,
        assignments: &[Vec<BrokerId>],
    ) -> Answer<Vec<Vec<BrokerId>>> {
        if u64::try_from(assignments.len()) != Ok(additional) {
            let message = format!(
                "Attempted to add {additional} additional partition(s), but only {} \
                 assignment(s) were specified.",
                assignments.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        let copies = topic.partitions.values().next().map(|state| state.replicas.len());
        for brokers in assignments {
            self.check_assignment(brokers, copies)?;
        }
        Ok(assignments.to_vec())
    }

    /// New partitions get as many copies as the topic asked for, or where that is no longer
    /// possible, as its first partition has.
    fn placed_lists(&mut self, topic: &Topic, additional: u64) -> Answer<Vec<Vec<BrokerId>>> {
        let replication = match topic.replication {
            Replication::Auto => Replication::Auto,
            Replication::Fixed(asked) => {
                let first = topic.partitions.values().next();
                let copies = first.and_then(|state| i16::try_from(state.replicas.len()).ok());
                Replication::Fixed(copies.unwrap_or(asked))
            }
        };
        let mut placement = self.placement();
        let copies = copies_of(replication, &placement, self.image)?;
        Ok((0..additional).map(|_| placement.next(copies)).collect())
    }
}
