//! What a scenario needs before it begins: topics that are served, records in them, changes that
//! have taken effect. Nothing here is recorded.

use super::{Answer, Run, SETTLED_MAX, Topic};
use crate::scenarios::{describe_configs, set_group_config};
use anyhow::{Context, Result, ensure};
use jocko_protocol::RecordBytes;
use jocko_protocol::rpc::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use jocko_protocol::rpc::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use jocko_protocol::rpc::metadata_request::MetadataRequestTopic;
use jocko_protocol::rpc::produce_request::{PartitionProduceData, TopicProduceData};
use jocko_protocol::rpc::{
    CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use serde_json::Value;
use std::time::{Duration, Instant};

impl Run<'_> {
    /// Creates a topic with partitions and configs, waits until it is served, records nothing.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn create(
        &mut self,
        base: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<Topic> {
        let name = self.name(base);
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: topic_configs(configs),
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let answer = self.ask(&request)?;
        ensure!(answer.int("/topics/0/errorCode") == 0, "creating {name}: {}", answer.0);
        self.await_topic(base)
    }

    /// Creates a topic whose partitions have these replicas, and waits until every broker shows
    /// all of them in sync that can be, and the leaders serve; records nothing.
    ///
    /// # Errors
    /// When the broker refuses, or it does not come about.
    pub fn place(
        &mut self,
        base: &str,
        lists: &[&[i32]],
        configs: &[(&str, &str)],
    ) -> Result<Topic> {
        let name = self.name(base);
        let assignment = |(partition_index, brokers): (i32, &&[i32])| CreatableReplicaAssignment {
            partition_index,
            broker_ids: brokers.to_vec(),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: (0..).zip(lists).map(assignment).collect(),
            configs: topic_configs(configs),
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let answer = self.ask(&request)?;
        ensure!(answer.int("/topics/0/errorCode") == 0, "creating {name}: {}", answer.0);
        self.await_places(base, lists)
    }

    /// Waits until every broker shows a topic on these replicas, all in sync that can be, and the
    /// first of them leading.
    ///
    /// # Errors
    /// When it does not come about.
    pub fn await_places(&mut self, base: &str, lists: &[&[i32]]) -> Result<Topic> {
        let name = self.name(base);
        let present = self.present();
        let mut id = None;
        for broker in &present {
            let answer = self.await_metadata_at(*broker, &name, |topic| {
                (0..).zip(lists).all(|(index, list)| is_placed(topic, index, list, &present))
            })?;
            self.symbols.bind(&answer.0);
            id = answer.0["topics"][0]["topicId"].as_str().and_then(|id| id.parse().ok());
        }
        for (partition, list) in (0..).zip(lists) {
            if let Some(leader) = list.iter().find(|id| present.contains(id)) {
                self.await_leader(*leader, &name, partition)?;
            }
        }
        Ok(Topic { name, id: id.context("a topic has an id")? })
    }

    /// Waits until a topic of this run is there and all its partitions have leaders.
    ///
    /// # Errors
    /// When it does not come.
    pub fn await_topic(&mut self, base: &str) -> Result<Topic> {
        self.await_named(&self.name(base))
    }

    /// The same, of a topic that is not this run's.
    ///
    /// # Errors
    /// When it does not come.
    pub fn await_named(&mut self, name: &str) -> Result<Topic> {
        let name = name.to_owned();
        let answer = self.await_metadata(&name, |topic| {
            let partitions = topic["partitions"].as_array().map_or(&[][..], Vec::as_slice);
            topic["errorCode"] == 0
                && !partitions.is_empty()
                && partitions.iter().all(|partition| partition["errorCode"] == 0)
        })?;
        self.symbols.bind(&answer.0);
        let id = answer.0["topics"][0]["topicId"].as_str().unwrap_or_default();
        let id = id.parse().ok().context("a topic has an id")?;
        let partitions = answer.0["topics"][0]["partitions"].as_array().map_or(0, Vec::len);
        self.await_leaders(&name, i32::try_from(partitions)?)?;
        Ok(Topic { name, id })
    }

    /// Waits until the broker serves every partition: Kafka names itself leader before it is.
    fn await_leaders(&mut self, name: &str, partitions: i32) -> Result<()> {
        let latest = |partition_index| ListOffsetsPartition {
            partition_index,
            timestamp: -1,
            ..Default::default()
        };
        let topic = ListOffsetsTopic {
            name: name.to_owned(),
            partitions: (0..partitions).map(latest).collect(),
            ..Default::default()
        };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        self.await_offsets(self.broker.id, name, &request)
    }

    fn await_leader(&mut self, broker: i32, name: &str, partition: i32) -> Result<()> {
        let request = crate::scenarios::list_offsets(name, &[(partition, -1)]);
        self.await_offsets(broker, name, &request)
    }

    fn await_offsets(
        &mut self,
        broker: i32,
        name: &str,
        request: &ListOffsetsRequest,
    ) -> Result<()> {
        let deadline = Instant::now() + SETTLED_MAX;
        loop {
            let answer = self.ask_at(broker, request)?;
            let partitions = answer.0["topics"][0]["partitions"].as_array();
            if partitions.is_some_and(|all| all.iter().all(|one| one["errorCode"] == 0)) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{name} gets no leaders: {}", answer.0);
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Deletes a topic and waits until it is gone; records nothing.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn delete(&mut self, topic: &Topic) -> Result<()> {
        let state = jocko_protocol::rpc::delete_topics_request::DeleteTopicState {
            name: Some(topic.name.clone()),
            ..Default::default()
        };
        let request =
            DeleteTopicsRequest { topics: vec![state], timeout_ms: 30_000, ..Default::default() };
        let answer = self.ask(&request)?;
        ensure!(answer.int("/responses/0/errorCode") == 0, "deleting {}: {}", topic.name, answer.0);
        self.await_absence(&topic.name)
    }

    /// Waits until the broker shows what it has agreed to so far: it takes note of changes in their
    /// order, so another change is made, to a group of this run, and looked for.
    ///
    /// # Errors
    /// When it does not show.
    pub fn settle(&mut self) -> Result<()> {
        const NAME: &str = "consumer.session.timeout.ms";
        let group = self.name("settled");
        // A broker takes note of its own settings after it shows the rest of a change: only the
        // next change then tells that it has.
        for _ in 0..self.settled.1 {
            self.settled.0 += 1;
            let value = (45_000 + self.settled.0 % 10_000).to_string();
            let answer = self.ask(&set_group_config(&group, NAME, &value))?;
            ensure!(answer.int("/responses/0/errorCode") == 0, "settling: {}", answer.0);
            let deadline = Instant::now() + SETTLED_MAX;
            loop {
                let answer = self.ask(&describe_configs(32, &group, Some(&[NAME])))?;
                if answer.0["results"][0]["configs"][0]["value"] == value.as_str() {
                    break;
                }
                ensure!(Instant::now() < deadline, "a change does not show: {}", answer.0);
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Waits until no topic has that name.
    ///
    /// # Errors
    /// When it stays.
    pub fn await_absence(&mut self, name: &str) -> Result<()> {
        self.await_metadata(name, |topic| topic["errorCode"] == 3).map(drop)
    }

    fn await_metadata(&mut self, name: &str, done: impl Fn(&Value) -> bool) -> Result<Answer> {
        self.await_metadata_at(self.broker.id, name, done)
    }

    fn await_metadata_at(
        &mut self,
        broker: i32,
        name: &str,
        done: impl Fn(&Value) -> bool,
    ) -> Result<Answer> {
        let asked = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![asked]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let deadline = Instant::now() + SETTLED_MAX;
        loop {
            let answer = self.ask_at(broker, &request)?;
            if done(&answer.0["topics"][0]) {
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "{name} does not settle: {}", answer.0);
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Appends a batch to a partition with acks=all, records nothing, and returns its offset.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn append(&mut self, topic: &Topic, partition: i32, batch: &[u8]) -> Result<i64> {
        self.append_at(self.broker.id, topic, partition, batch)
    }

    /// The same at another broker of the cluster.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn append_at(
        &mut self,
        broker: i32,
        topic: &Topic,
        partition: i32,
        batch: &[u8],
    ) -> Result<i64> {
        let data = PartitionProduceData {
            index: partition,
            records: Some(RecordBytes::Inline(batch)),
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: &topic.name,
                topic_id: topic.id,
                partition_data: vec![data],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.ask_at(broker, &request)?;
        let at = "/responses/0/partitionResponses/0";
        let code = answer.int(&format!("{at}/errorCode"));
        ensure!(code == 0, "appending to {}: {}", topic.name, answer.0);
        Ok(answer.int(&format!("{at}/baseOffset")))
    }
}

/// Whether a partition is on these replicas, all of them in sync that can be, and the first of
/// those leads.
fn is_placed(topic: &Value, index: i32, list: &[i32], present: &[i32]) -> bool {
    let partitions = topic["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(partition) = partitions.iter().find(|one| one["partitionIndex"] == index) else {
        return false;
    };
    let ids = |field: &str| -> Vec<i64> {
        let ids = partition[field].as_array().map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(Value::as_i64).collect()
    };
    let wanted: Vec<i64> = list.iter().copied().map(i64::from).collect();
    let able = list.iter().filter(|id| present.contains(id)).count();
    let leads = list.iter().find(|id| present.contains(id));
    ids("replicaNodes") == wanted
        && ids("isrNodes").len() == able
        && leads.is_some_and(|id| partition["leaderId"] == *id)
}

fn topic_configs(configs: &[(&str, &str)]) -> Vec<CreatableTopicConfig> {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..Default::default()
    };
    configs.iter().map(config).collect()
}
