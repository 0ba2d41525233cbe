//! A cluster as a client sees it: who leads what, and the questions a command line asks.

use crate::connection::{Answer, Connection};
use crate::error::{ClientError, Result};
use bytes::Bytes;
use jocko_protocol::rpc::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use jocko_protocol::rpc::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use jocko_protocol::rpc::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use jocko_protocol::rpc::metadata_request::{MetadataRequest, MetadataRequestTopic};
use jocko_protocol::rpc::metadata_response::MetadataResponse;
use jocko_protocol::rpc::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use jocko_protocol::{RecordBytes, Request};
use jocko_types::{ErrorCode, Offset, Timestamp, TopicId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a long poll may outlast what was asked for before it counts as lost.
const POLL_GRACE: Duration = Duration::from_secs(10);

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

/// Where to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The first record there is.
    Start,
    /// The next record that will come.
    End,
    /// The first record at or after this time.
    At(Timestamp),
    /// The record with the newest timestamp.
    MaxTimestamp,
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The offset of its first record; `None` with acks=0.
    pub base_offset: Option<Offset>,
}

/// What a fetch brought from one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Record batches as they came, perhaps ending within one.
    pub records: Bytes,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// The first offset there is.
    pub log_start: Offset,
}

/// A client of one cluster. One request at a time.
#[derive(Debug)]
pub struct Client {
    bootstrap: Vec<String>,
    timeout: Duration,
    connections: BTreeMap<String, Connection>,
    brokers: BTreeMap<i32, String>,
    leaders: BTreeMap<(String, i32), (i32, TopicId)>,
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
        }
    }

    /// A connection to any broker, for requests that any may answer.
    ///
    /// # Errors
    /// The last refusal, when no bootstrap address works.
    pub async fn any(&mut self) -> Result<&mut Connection> {
        let mut failure = None;
        for address in self.bootstrap.clone() {
            match self.connect(&address).await {
                Ok(()) => return Ok(self.connections.get_mut(&address).expect("just connected")),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| ClientError::Unreachable {
            address: "nobody".to_owned(),
            source: std::io::Error::other("no address was given"),
        }))
    }

    async fn connect(&mut self, address: &str) -> Result<()> {
        if !self.connections.contains_key(address) {
            let connection = Connection::open(address, self.timeout).await?;
            self.connections.insert(address.to_owned(), connection);
        }
        Ok(())
    }

    /// Sends a request to any broker. A broken connection is forgotten, so that the next call
    /// connects anew.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn ask<R: Request>(&mut self, request: &R) -> Result<Answer<R>> {
        let connection = self.any().await?;
        let address = connection.address().to_owned();
        let answer = connection.call(request).await;
        if matches!(answer, Err(ClientError::Broken { .. } | ClientError::TimedOut { .. })) {
            self.connections.remove(&address);
        }
        answer
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
        for topic in &response.topics {
            let Some(name) = &topic.name else { continue };
            for partition in &topic.partitions {
                self.leaders.insert(
                    (name.clone(), partition.partition_index),
                    (partition.leader_id, topic.topic_id),
                );
            }
        }
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
        match jocko_protocol::error_code(deleted.error_code) {
            ErrorCode::UnknownTopicOrPartition => Err(ClientError::NoSuchTopic(name.to_owned())),
            _ => ClientError::check(deleted.error_code, deleted.error_message.as_deref()),
        }
    }

    /// The offset at a position of one partition. `At` a time after the last record gives the end.
    ///
    /// # Errors
    /// When the partition does not exist or its leader refuses.
    pub async fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        position: Position,
    ) -> Result<Offset> {
        let timestamp = match position {
            Position::End => -1,
            Position::Start => -2,
            Position::MaxTimestamp => -3,
            Position::At(time) => time.as_millis(),
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.to_owned(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition,
                    current_leader_epoch: -1,
                    timestamp,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.ask_leader(topic, partition, &request, self.timeout).await?;
        let response = answer.get()?;
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        let found = found.ok_or_else(|| no_partition(topic, partition))?;
        ClientError::check(found.error_code, None)?;
        if found.offset < 0 && matches!(position, Position::At(_)) {
            return Box::pin(self.offset(topic, partition, Position::End)).await;
        }
        Ok(Offset::new(found.offset))
    }

    /// Sends one batch to a partition's leader. `acks` is -1 (all), 1 or 0.
    ///
    /// # Errors
    /// The leader's refusal; or the connection's end, after which the batch may or may not be
    /// there.
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &[u8],
        acks: i16,
    ) -> Result<Produced> {
        let (_, topic_id) = self.leader(topic, partition).await?;
        let request = ProduceRequest {
            acks,
            timeout_ms: millis(self.timeout),
            topic_data: vec![TopicProduceData {
                name: topic,
                topic_id,
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(RecordBytes::Inline(batch)),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.ask_leader(topic, partition, &request, self.timeout).await?;
        let response = answer.get()?;
        let done = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let done = done.ok_or_else(|| no_partition(topic, partition))?;
        if let Err(error) = ClientError::check(done.error_code, done.error_message.as_deref()) {
            self.forget_leader(topic, partition, &error);
            return Err(error);
        }
        Ok(Produced { base_offset: Some(Offset::new(done.base_offset)) })
    }

    /// Reads from one partition, waiting up to `wait` for at least one byte.
    ///
    /// # Errors
    /// The leader's refusal, for example because `from` is out of range.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        from: Offset,
        wait: Duration,
    ) -> Result<Fetched> {
        const BYTES_MAX: i32 = 1 << 20;
        let (_, topic_id) = self.leader(topic, partition).await?;
        let request = FetchRequest {
            max_wait_ms: millis(wait),
            min_bytes: 1,
            max_bytes: BYTES_MAX * 8,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic,
                topic_id,
                partitions: vec![FetchPartition {
                    partition,
                    fetch_offset: from.get(),
                    partition_max_bytes: BYTES_MAX,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.ask_leader(topic, partition, &request, wait + POLL_GRACE).await?;
        let response = answer.get()?;
        ClientError::check(response.error_code, None)?;
        let data = response.responses.first().and_then(|topic| topic.partitions.first());
        let data = data.ok_or_else(|| no_partition(topic, partition))?;
        if let Err(error) = ClientError::check(data.error_code, None) {
            self.forget_leader(topic, partition, &error);
            return Err(error);
        }
        let records = data.records.as_ref().and_then(RecordBytes::inline).unwrap_or_default();
        Ok(Fetched {
            records: Bytes::copy_from_slice(records),
            high_watermark: Offset::new(data.high_watermark),
            log_start: Offset::new(data.log_start_offset),
        })
    }

    /// The broker that leads a partition, and the topic's id.
    async fn leader(&mut self, topic: &str, partition: i32) -> Result<(i32, TopicId)> {
        let key = (topic.to_owned(), partition);
        if !self.leaders.contains_key(&key) {
            self.partitions(topic, false).await?;
        }
        self.leaders.get(&key).copied().ok_or_else(|| no_partition(topic, partition))
    }

    async fn ask_leader<R: Request>(
        &mut self,
        topic: &str,
        partition: i32,
        request: &R,
        wait: Duration,
    ) -> Result<Answer<R>> {
        let (leader, _) = self.leader(topic, partition).await?;
        let address = self.brokers.get(&leader).cloned();
        let address = address
            .ok_or(ClientError::Refused { code: ErrorCode::LeaderNotAvailable, message: None })?;
        let outcome = match self.connect(&address).await {
            Ok(()) => {
                let connection = self.connections.get_mut(&address).expect("just connected");
                connection.call_within(request, wait).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            self.connections.remove(&address);
            self.forget_leader(topic, partition, error);
        }
        outcome
    }

    /// What is retriable may have moved: the next call asks for the leader again.
    fn forget_leader(&mut self, topic: &str, partition: i32, error: &ClientError) {
        if error.is_retriable() || matches!(error, ClientError::Refused { .. }) {
            self.leaders.remove(&(topic.to_owned(), partition));
        }
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
