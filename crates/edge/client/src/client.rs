//! A cluster as a client sees it: who leads what, and the questions a command line asks.

mod administering;
mod cluster;
mod committed;
mod groups;
mod patience;
mod producing;
mod reading;
mod writing;

#[cfg(test)]
mod tests;

pub use administering::Resource;
pub use cluster::{Member, Members, Move, Outcomes, Quorum, QuorumNode, TopicPartition};
pub use committed::{Committed, Committer};
pub use groups::{DescribedGroup, GroupMember, ListedGroup};
pub use producing::{Producer, Unacknowledged};
pub use reading::{Fetched, Position};
pub use writing::Produced;

use crate::connection::Connection;
use crate::error::{ClientError, Result};
use jocko_protocol::rpc::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use jocko_protocol::rpc::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use jocko_protocol::rpc::metadata_request::{MetadataRequest, MetadataRequestTopic};
use jocko_protocol::rpc::metadata_response::MetadataResponse;
use jocko_types::{ErrorCode, TopicId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The leader of a partition that has none, as Metadata says it.
const NOBODY: i32 = -1;

/// A topic to be created.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` leaves it to the cluster.
    pub partitions: Option<i32>,
    /// How many replicas; `None` leaves it to the cluster.
    pub replication: Option<i16>,
    /// Topic settings by Kafka's names.
    pub configs: Vec<(String, String)>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// What the cluster made of a [`NewTopic`].
#[derive(Debug, Clone)]
pub struct CreatedTopic {
    /// Its id; zero if the cluster is too old to have ids, or nothing was created.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas.
    pub replication: i16,
}

/// A client of one cluster. One request at a time.
#[derive(Debug)]
pub struct Client {
    bootstrap: Vec<String>,
    timeout: Duration,
    connections: BTreeMap<String, Connection>,
    brokers: BTreeMap<i32, String>,
    leaders: BTreeMap<(String, i32), (i32, TopicId)>,
    /// The newest leader epoch that was heard of: who says less has not heard it yet (KIP-320).
    /// It stays when a leader is forgotten.
    epochs: BTreeMap<(String, i32), (TopicId, i32)>,
    /// Whoever was asked last named a leader that is none, or is not there.
    is_misled: bool,
    /// Who coordinates a group, and where it listens.
    coordinators: BTreeMap<String, (i32, String)>,
}

impl Client {
    /// A client that finds its cluster through any of these `host:port` addresses.
    #[must_use]
    pub fn new(bootstrap: Vec<String>, timeout: Duration) -> Self {
        Self {
            bootstrap,
            timeout,
            connections: BTreeMap::new(),
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            epochs: BTreeMap::new(),
            is_misled: false,
            coordinators: BTreeMap::new(),
        }
    }

    /// The cluster's metadata: of these topics, or of all. Never creates a topic unless
    /// `auto_create`.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn metadata(
        &mut self,
        topics: Option<&[&str]>,
        auto_create: bool,
    ) -> Result<MetadataResponse> {
        let wanted = topics.map(|names| {
            let named = names.iter().map(|name| MetadataRequestTopic {
                name: Some((*name).to_owned()),
                ..Default::default()
            });
            named.collect()
        });
        let request = MetadataRequest {
            topics: wanted,
            allow_auto_topic_creation: auto_create,
            ..Default::default()
        };
        if std::mem::take(&mut self.is_misled) {
            self.ask_elsewhere();
        }
        let answer = self.ask(&request).await?;
        let response: MetadataResponse = answer.get()?;
        ClientError::check(response.error_code, None)?;
        self.learn(&response);
        Ok(response)
    }

    fn learn(&mut self, response: &MetadataResponse) {
        self.brokers = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id, join_address(&broker.host, broker.port)))
            .collect();
        let mut knows_all = true;
        for topic in &response.topics {
            let Some(name) = &topic.name else { continue };
            for partition in &topic.partitions {
                let key = (name.clone(), partition.partition_index);
                let is_outdated = self.is_outdated(&key, topic.topic_id, partition.leader_epoch);
                knows_all &= !is_outdated && partition.leader_id >= 0;
                if is_outdated {
                    self.leaders.entry(key).or_insert((NOBODY, topic.topic_id));
                    continue;
                }
                self.epochs.insert(key.clone(), (topic.topic_id, partition.leader_epoch));
                self.leaders.insert(key, (partition.leader_id, topic.topic_id));
            }
        }
        if !knows_all {
            self.ask_elsewhere();
        }
    }

    /// The broker that was asked may be cut off from the others: the next question goes to another.
    fn ask_elsewhere(&mut self) {
        self.bootstrap = self.everybody();
        if !self.bootstrap.is_empty() {
            self.bootstrap.rotate_left(1);
        }
    }

    /// Whether a newer leader epoch of the same topic is known. One of another id was made anew, and
    /// brokers that are old say nothing of epochs.
    fn is_outdated(&self, key: &(String, i32), topic: TopicId, epoch: i32) -> bool {
        let known = self.epochs.get(key);
        epoch >= 0 && known.is_some_and(|(of, newest)| *of == topic && epoch < *newest)
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// When it does not exist (and `auto_create` does not help).
    pub async fn partitions(&mut self, topic: &str, auto_create: bool) -> Result<i32> {
        let response = self.metadata(Some(&[topic]), auto_create).await?;
        let found = response.topics.iter().find(|found| found.name.as_deref() == Some(topic));
        let found = found.ok_or_else(|| ClientError::NoSuchTopic(topic.to_owned()))?;
        match jocko_protocol::error_code(found.error_code) {
            ErrorCode::UnknownTopicOrPartition => Err(ClientError::NoSuchTopic(topic.to_owned())),
            // The protocol has no words for it here.
            code @ ErrorCode::InvalidTopicException => {
                let message = Some(format!("{topic:?} is no name for a topic"));
                Err(ClientError::Refused { code, message })
            }
            _ => {
                ClientError::check(found.error_code, None)?;
                Ok(i32::try_from(found.partitions.len()).unwrap_or(i32::MAX))
            }
        }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// The cluster's refusal, in its words.
    pub async fn create_topic(&mut self, topic: &NewTopic) -> Result<CreatedTopic> {
        let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.name.clone(),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication.unwrap_or(-1),
                configs: configs.collect(),
                ..Default::default()
            }],
            timeout_ms: millis(self.timeout),
            validate_only: topic.validate_only,
            ..Default::default()
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        let created = response.topics.first();
        let created = created.ok_or_else(|| ClientError::NoSuchTopic(topic.name.clone()))?;
        ClientError::check(created.error_code, created.error_message.as_deref())?;
        Ok(CreatedTopic {
            id: created.topic_id,
            partitions: created.num_partitions,
            replication: created.replication_factor,
        })
    }

    /// Deletes a topic and all it holds.
    ///
    /// # Errors
    /// The cluster's refusal.
    pub async fn delete_topic(&mut self, name: &str) -> Result<()> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: Some(name.to_owned()), ..Default::default() }],
            topic_names: vec![name.to_owned()],
            timeout_ms: millis(self.timeout),
            ..Default::default()
        };
        // A request names topics one way or the other; the version decides which.
        let served = self.any().await?.advertised(jocko_protocol::ApiKey::DeleteTopics);
        let by_state = served.is_some_and(|versions| versions.max >= 6);
        let request = if by_state {
            DeleteTopicsRequest { topic_names: Vec::new(), ..request }
        } else {
            DeleteTopicsRequest { topics: Vec::new(), ..request }
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        let deleted = response.responses.first();
        let deleted = deleted.ok_or_else(|| ClientError::NoSuchTopic(name.to_owned()))?;
        self.leaders.retain(|(topic, _), _| topic != name);
        self.epochs.retain(|(topic, _), _| topic != name);
        match jocko_protocol::error_code(deleted.error_code) {
            ErrorCode::UnknownTopicOrPartition => Err(ClientError::NoSuchTopic(name.to_owned())),
            _ => ClientError::check(deleted.error_code, deleted.error_message.as_deref()),
        }
    }

    /// Where the leader of a partition listens.
    fn address_of(&self, leader: i32) -> Result<String> {
        let address = self.brokers.get(&leader).cloned();
        address.ok_or(ClientError::Refused { code: ErrorCode::LeaderNotAvailable, message: None })
    }

    /// Takes the connection to an address out of the client, or opens one. Whoever ends well with
    /// it puts it back; a broken one is dropped.
    async fn take_connection(&mut self, address: &str) -> Result<Connection> {
        match self.connections.remove(address) {
            Some(connection) => Ok(connection),
            None => {
                let patience = self.patience_with_one();
                let opened = Connection::open_within(address, patience, self.timeout).await;
                if opened.is_err() {
                    self.ask_last(address);
                }
                opened
            }
        }
    }

    /// Puts a connection back after it was used, unless what went wrong has spoilt it: then its
    /// broker is asked last from now on.
    fn done_with(&mut self, connection: Connection, error: Option<&ClientError>) {
        if error.is_some_and(ClientError::spoils_connection) {
            self.ask_last(connection.address());
        } else {
            self.put_back(connection);
        }
    }

    fn put_back(&mut self, connection: Connection) {
        self.connections.insert(connection.address().to_owned(), connection);
    }

    /// Makes sure that the leaders of these partitions were asked for, in one request.
    async fn learn_leaders(
        &mut self,
        topic: &str,
        partitions: impl Iterator<Item = i32>,
    ) -> Result<()> {
        let mut partitions = partitions;
        if partitions.any(|partition| !self.leaders.contains_key(&(topic.to_owned(), partition))) {
            self.partitions(topic, false).await?;
        }
        Ok(())
    }

    /// The leader of a partition, as far as it is known.
    fn known_leader(&self, topic: &str, partition: i32) -> Result<(i32, TopicId)> {
        let known = self.leaders.get(&(topic.to_owned(), partition)).copied();
        known.ok_or_else(|| no_partition(topic, partition))
    }

    /// What is retriable may have moved: the next call asks for the leader again.
    fn forget_leader(&mut self, topic: &str, partition: i32, error: &ClientError) {
        if error.is_retriable() || matches!(error, ClientError::Refused { .. }) {
            self.leaders.remove(&(topic.to_owned(), partition));
        }
        self.is_misled |= error.denies_leadership();
    }
}

fn no_partition(topic: &str, partition: i32) -> ClientError {
    ClientError::NoSuchPartition { topic: topic.to_owned(), partition }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// IPv6 literals need brackets before a port.
fn join_address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
