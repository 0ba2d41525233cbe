//! Creating and deleting topics.

use super::configs::check_lengths;
use super::{Decider, duplicates, too_large_a_batch, too_large_a_request, unknown_topic};
use super::{PARTITIONS_PER_REQUEST_MAX, RECORDS_PER_REQUEST_MAX};
use crate::command::{Answer, CreatedTopic, DeletedTopic, NewTopic, Refusal, TopicRef};
use crate::image::{Broker, ClusterImage};
use crate::placement::Placement;
use crate::record::{ConfigResource, MetadataRecord, Replication};
use jocko_config::kafka::{ConfigMap, check_topic_config, check_topic_configs};
use jocko_types::{BrokerId, ErrorCode, PartitionIndex, TopicId, TopicName, TopicNameError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Kafka keeps its own metadata in a topic of this name; ours lives elsewhere, but tools know it.
const RESERVED_NAME: &str = "__cluster_metadata";

/// Copies of a partition where jocko chooses: enough to lose a broker and still have two.
pub(super) const COPIES_AUTO_MAX: usize = 3;

impl Decider<'_> {
    pub(super) fn create_topics(
        &mut self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Vec<(String, Answer<CreatedTopic>)> {
        let twice = duplicates(topics.iter().map(|topic| topic.name.as_str()));
        let too_many_topics = topics.len() > RECORDS_PER_REQUEST_MAX;
        let asked: u64 = topics
            .iter()
            .filter(|topic| !twice.contains(&topic.name))
            .map(|topic| self.partitions_asked(topic))
            .fold(0, u64::saturating_add);
        let mut told = BTreeSet::new();
        let mut answers = Vec::with_capacity(topics.len());
        let mut room = self.partition_room();
        for topic in topics {
            let answer = if twice.contains(&topic.name) {
                if !told.insert(topic.name.clone()) {
                    continue;
                }
                Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            } else if topic.name == RESERVED_NAME {
                let message = format!("Creation of internal topic {RESERVED_NAME} is prohibited.");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            } else if too_many_topics || asked > PARTITIONS_PER_REQUEST_MAX {
                Err(too_large_a_request())
            } else {
                self.create_topic(&topic, &mut room)
            };
            answers.push((topic.name, answer));
        }
        if self.records.len() > RECORDS_PER_REQUEST_MAX {
            self.records.clear();
            answers.iter_mut().for_each(|(_, answer)| *answer = Err(too_large_a_batch()));
        }
        if validate_only {
            self.records.clear();
        }
        answers
    }

    /// How many partitions a request asks for, whether it may have them or not.
    fn partitions_asked(&self, topic: &NewTopic) -> u64 {
        let count = match topic.partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len(),
            -1 => usize::try_from(self.default_partitions()).unwrap_or(0),
            count => usize::try_from(count).unwrap_or(0),
        };
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    fn default_partitions(&self) -> i32 {
        i32::try_from(self.cx.settings.settings().topics.partitions.get()).unwrap_or(i32::MAX)
    }

    fn create_topic(&mut self, topic: &NewTopic, room: &mut u64) -> Answer<CreatedTopic> {
        let name = TopicName::new(&topic.name).map_err(|error| bad_name(&topic.name, error))?;
        if self.image.topic(&topic.name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
        }
        if let Some(other) = self.image.topic_colliding_with(&name) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
        }
        let configs = self.new_configs(&topic.configs)?;
        let (replication, lists) = if topic.assignments.is_empty() {
            self.place(topic, room)?
        } else {
            self.chosen(topic)?
        };
        let added = u64::try_from(lists.len()).unwrap_or(u64::MAX);
        *room = room.checked_sub(added).ok_or_else(|| self.too_many_partitions())?;
        self.record_topic(name, replication, lists, configs)
    }

    fn new_configs(&self, configs: &[(String, Option<String>)]) -> Answer<ConfigMap> {
        let refuse = |message: String| Refusal::new(ErrorCode::InvalidConfig, message);
        let mut kept = ConfigMap::new();
        for (name, value) in configs {
            let Some(value) = value else {
                let message = format!("Null value not supported for topic configs: {name}");
                return Err(refuse(message));
            };
            kept.insert(name.clone(), value.clone());
        }
        check_lengths(&kept)?;
        check_topic_configs(&kept, &self.layers()).map_err(refuse)?;
        kept.retain(|name, value| check_topic_config(name, value) == Ok(true));
        Ok(kept)
    }

    /// Lets the controller choose the brokers.
    fn place(&mut self, topic: &NewTopic, room: &u64) -> Answer<(Replication, Vec<Vec<BrokerId>>)> {
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        if topic.partitions < -1 || topic.partitions == 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        let partitions = self.partitions_asked(topic);
        if partitions > *room {
            return Err(self.too_many_partitions());
        }
        let replication = self.replication(topic.replication_factor);
        let mut placement = self.placement();
        let copies = copies_of(replication, &placement, self.image)?;
        let lists = (0..partitions).map(|_| placement.next(copies)).collect();
        Ok((replication, lists))
    }

    /// Over the brokers that stay, those that cannot take anything now last: a broker that is
    /// restarted, or whose disk is in trouble, must not keep others from creating topics with as many
    /// copies as ever. Where no disk is good, all that are there will do.
    pub(super) fn placement(&mut self) -> Placement {
        let image = self.image;
        let is_any_fit = image.fit_brokers().next().is_some();
        let is_able = |broker: &&Arc<Broker>| match is_any_fit {
            true => image.is_fit(broker.id()),
            false => broker.is_active(),
        };
        let stays = |broker: &&Arc<Broker>| !image.is_drained(broker.id());
        let able = image.brokers().filter(stays).filter(is_able);
        let away = image.brokers().filter(stays).filter(|broker| !is_able(broker));
        Placement::over(able, &mut self.random).or_else(away)
    }

    fn replication(&self, asked: i16) -> Replication {
        if asked > 0 {
            return Replication::Fixed(asked);
        }
        match self.cx.settings.settings().topics.replication.set() {
            Some(copies) => Replication::Fixed(copies.get()),
            None => Replication::Auto,
        }
    }

    /// Takes the brokers the client chose.
    fn chosen(&self, topic: &NewTopic) -> Answer<(Replication, Vec<Vec<BrokerId>>)> {
        let refuse = |message: &str| Refusal::new(ErrorCode::InvalidRequest, message);
        if topic.replication_factor != -1 {
            return Err(refuse(
                "A manual partition assignment was specified, but replication factor was not set \
                 to -1.",
            ));
        }
        if topic.partitions != -1 {
            return Err(refuse(
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            ));
        }
        let mut copies = None;
        let mut lists = BTreeMap::new();
        for assignment in &topic.assignments {
            let partition = assignment.partition;
            if lists.contains_key(&partition) {
                let message = format!(
                    "Found multiple manual partition assignments for partition {partition}"
                );
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
            }
            self.check_assignment(&assignment.brokers, copies)?;
            copies = Some(assignment.brokers.len());
            lists.insert(partition, assignment.brokers.clone());
        }
        if !(0..).zip(lists.keys()).all(|(expected, partition)| partition.get() == expected) {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicaAssignment,
                "partitions should be a consecutive 0-based integer sequence",
            ));
        }
        let lists = lists.into_values().collect();
        let copies = i16::try_from(copies.unwrap_or(1)).unwrap_or(i16::MAX);
        Ok((Replication::Fixed(copies), lists))
    }

    fn record_topic(
        &mut self,
        name: TopicName,
        replication: Replication,
        lists: Vec<Vec<BrokerId>>,
        configs: ConfigMap,
    ) -> Answer<CreatedTopic> {
        let id = self.new_topic_id();
        let partitions = i32::try_from(lists.len()).unwrap_or(i32::MAX);
        let copies = lists.first().map_or(0, Vec::len);
        let mut records =
            vec![MetadataRecord::Topic { topic_id: id, name: name.clone(), replication }];
        for (partition, replicas) in (0..).map(PartitionIndex::new).zip(lists) {
            let state = self.first_state(partition, replicas)?;
            records.push(MetadataRecord::Partition { topic_id: id, partition, state });
        }
        for (config, value) in &configs {
            let resource = ConfigResource::Topic(name.clone());
            let (name, value) = (config.clone(), Some(value.clone()));
            records.push(MetadataRecord::Config { resource, name, value });
        }
        self.records.append(&mut records);
        let replication_factor = i16::try_from(copies).unwrap_or(i16::MAX);
        Ok(CreatedTopic { id, name, partitions, replication_factor, configs })
    }

    fn new_topic_id(&mut self) -> TopicId {
        loop {
            let id = self.random.topic_id();
            if self.image.topic_by_id(id).is_none() {
                return id;
            }
        }
    }

    pub(super) fn delete_topics(
        &mut self,
        topics: Vec<TopicRef>,
    ) -> Vec<(TopicRef, Answer<DeletedTopic>)> {
        let named = |topic: &&TopicRef| topic.name.is_some() && topic.id.is_zero();
        let twice = duplicates(topics.iter().filter(named).filter_map(|t| t.name.as_deref()));
        // How often each id is given: requests can be long, so nothing here is quadratic.
        let mut ids: BTreeMap<TopicId, usize> = BTreeMap::new();
        for topic in topics.iter().filter(|topic| topic.name.is_none()) {
            *ids.entry(topic.id).or_default() += 1;
        }
        let of_name = |name: &str| self.image.topic(name).map(|topic| topic.id);
        // Topics that are named and given by id too: one refusal stands for both.
        let doubled: BTreeSet<TopicId> = topics
            .iter()
            .filter(named)
            .filter_map(|topic| of_name(topic.name.as_deref()?))
            .filter(|id| ids.contains_key(id))
            .collect();
        let mut told = BTreeSet::new();
        let mut answers = Vec::with_capacity(topics.len());
        for mut topic in topics {
            let repeats = match (&topic.name, topic.id.is_zero()) {
                (Some(name), true) => twice.contains(name),
                (None, false) => ids.get(&topic.id).is_some_and(|times| *times > 1),
                (Some(_), false) | (None, true) => false,
            };
            if repeats && !told.insert(topic.clone()) {
                continue;
            }
            let is_doubled_id = topic.name.is_none() && doubled.contains(&topic.id);
            if is_doubled_id && !repeats {
                continue;
            }
            let mut answer = self.find_deleted(&topic, repeats);
            if let Ok(deleted) = &answer {
                if doubled.contains(&deleted.id) {
                    topic.id = deleted.id;
                    answer =
                        invalid("The provided topic name maps to an ID that was already supplied.");
                } else {
                    self.records.push(MetadataRecord::RemoveTopic { topic_id: deleted.id });
                }
            }
            answers.push((topic, answer));
        }
        answers
    }

    fn find_deleted(&self, topic: &TopicRef, repeats: bool) -> Answer<DeletedTopic> {
        let found = match (&topic.name, topic.id.is_zero()) {
            (None, true) => return invalid("Neither topic name nor id were specified."),
            (Some(_), false) => {
                return invalid("You may not specify both topic name and topic id.");
            }
            (Some(_), true) if repeats => return invalid("Duplicate topic name."),
            (None, false) if repeats => return invalid("Duplicate topic id."),
            (Some(name), true) => self.image.topic(name).ok_or_else(unknown_topic)?,
            (None, false) => self.image.topic_by_id(topic.id).ok_or_else(|| {
                let message = "This server does not host this topic ID.";
                Refusal::new(ErrorCode::UnknownTopicId, message)
            })?,
        };
        Ok(DeletedTopic { id: found.id, name: found.name.clone() })
    }
}

fn invalid<T>(message: &str) -> Answer<T> {
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}

/// How many copies to place.
///
/// # Errors
/// More are asked for than there are brokers to keep them.
pub(super) fn copies_of(
    replication: Replication,
    placement: &Placement,
    image: &ClusterImage,
) -> Answer<usize> {
    let brokers = placement.broker_count();
    let refuse = |message: String| Refusal::new(ErrorCode::InvalidReplicationFactor, message);
    let is_any_drained = image.brokers().any(|broker| image.is_drained(broker.id()));
    if brokers == 0 {
        let or_cordoned = if is_any_drained { " or cordoned" } else { "" };
        return Err(refuse(format!("All brokers are currently fenced{or_cordoned}.")));
    }
    match replication {
        Replication::Auto => Ok(brokers.min(COPIES_AUTO_MAX)),
        Replication::Fixed(asked) => {
            let copies = usize::try_from(asked).unwrap_or(0);
            let registered = placement.broker_count_registered();
            if copies == 0 || copies > registered {
                let not_cordoned = if is_any_drained { " and not cordoned" } else { "" };
                return Err(refuse(format!(
                    "Unable to replicate the partition {asked} time(s): The target replication \
                     factor of {asked} cannot be reached because only {registered} broker(s) are \
                     registered{not_cordoned}."
                )));
            }
            Ok(copies)
        }
    }
}

pub(super) fn bad_name(name: &str, error: TopicNameError) -> Refusal {
    let why = match error {
        TopicNameError::Empty => "the empty string is not allowed".to_owned(),
        TopicNameError::DotOrDotDot => format!("'{name}' is not allowed"),
        TopicNameError::TooLong => format!(
            "the length of '{name}' is longer than the max allowed length {}",
            TopicName::LENGTH_MAX
        ),
        TopicNameError::IllegalCharacter => format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        ),
    };
    Refusal::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {why}"))
}
