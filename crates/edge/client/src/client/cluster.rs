//! What concerns the cluster as a whole: its brokers, its quorum, and where replicas live.

use super::{Client, millis};
use crate::error::{ClientError, Result};
use jocko_protocol::rpc::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use jocko_protocol::rpc::describe_cluster_request::DescribeClusterRequest;
use jocko_protocol::rpc::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use jocko_protocol::rpc::describe_quorum_request::{
    DescribeQuorumRequest, PartitionData as AskedPartition, TopicData as AskedTopic,
};
use jocko_protocol::rpc::describe_quorum_response::ReplicaState;
use jocko_protocol::rpc::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use jocko_protocol::rpc::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use jocko_protocol::rpc::remove_raft_voter_request::RemoveRaftVoterRequest;
use jocko_protocol::rpc::unregister_broker_request::UnregisterBrokerRequest;
use jocko_protocol::{
    ApiKey, BROKER_DISK_TAG, BROKER_DRAINED_TAG, BROKER_HTTP_TAG, UnknownTaggedFields,
};
use jocko_types::{ErrorCode, Uuid};
use std::collections::BTreeMap;

/// Topics whose settings are asked for in one request.
const CONFIGS_AT_ONCE: usize = 500;
/// The first version of DescribeCluster that tells of fenced brokers (KIP-1073).
const FENCED_SINCE: i16 = 2;

/// A partition by its topic's name.
pub type TopicPartition = (String, i32);

/// A broker that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: i32,
    /// `host:port` for clients.
    pub address: String,
    /// Where it stands.
    pub rack: Option<String>,
    /// Whether it is registered and must not lead: it is not heard of, or is starting.
    pub is_fenced: bool,
    /// What is wrong with its disk, where brokers are jocko's.
    pub disk: Option<String>,
    /// Whether it is to go and gets nothing new, where brokers are jocko's.
    pub is_drained: bool,
    /// The port where it answers in HTTP, where it is the broker that was asked, and jocko's.
    pub http_port: Option<u16>,
}

/// A field of ours, as text.
fn told(fields: &UnknownTaggedFields, tag: u32) -> Option<String> {
    let field = fields.as_slice().iter().find(|field| field.tag == tag)?;
    Some(String::from_utf8_lossy(&field.bytes).into_owned())
}

/// The brokers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The cluster's id.
    pub cluster_id: String,
    /// By number.
    pub brokers: Vec<Member>,
    /// Whether fenced brokers would be among them; older brokers do not tell.
    pub tells_of_fenced: bool,
}

/// How the group that keeps the metadata stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Who leads it; nothing while nobody does.
    pub leader: Option<i32>,
    /// The term, which Kafka calls the leader's epoch.
    pub term: i32,
    /// The offset after the last entry that is committed.
    pub high_watermark: i64,
    /// Who votes.
    pub voters: Vec<QuorumNode>,
    /// Who follows the log without a vote.
    pub observers: Vec<QuorumNode>,
}

/// A member of the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumNode {
    /// The broker's number; -1 if it has none yet.
    pub id: i32,
    /// The identity of its disk; zero where the cluster does not tell.
    pub directory: Uuid,
    /// The end of its log; nothing if the leader does not know.
    pub log_end: Option<i64>,
    /// When it had all the leader had, in milliseconds since 1970; nothing if that is not known.
    pub caught_up_at: Option<i64>,
}

impl From<ReplicaState> for QuorumNode {
    fn from(state: ReplicaState) -> Self {
        let known = |value: i64| (value >= 0).then_some(value);
        Self {
            id: state.replica_id,
            directory: state.replica_directory_id,
            log_end: known(state.log_end_offset),
            caught_up_at: known(state.last_caught_up_timestamp),
        }
    }
}

/// A partition that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub partition: TopicPartition,
    /// All who have or get a copy.
    pub replicas: Vec<i32>,
    /// Who gets one.
    pub adding: Vec<i32>,
    /// Who will have none any more.
    pub removing: Vec<i32>,
}

/// What came of a request for each partition it named.
pub type Outcomes = Vec<(TopicPartition, Result<()>)>;

impl Client {
    /// Every broker that is registered, fenced ones too where the cluster tells of them.
    ///
    /// # Errors
    /// The broker's refusal.
    pub async fn members(&mut self) -> Result<Members> {
        let served = self.any().await?.advertised(ApiKey::DescribeCluster);
        let tells_of_fenced = served.is_some_and(|versions| versions.max >= FENCED_SINCE);
        let request = DescribeClusterRequest {
            include_fenced_brokers: tells_of_fenced,
            ..Default::default()
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        let member =
            |broker: jocko_protocol::rpc::describe_cluster_response::DescribeClusterBroker| {
                Member {
                    id: broker.broker_id,
                    address: super::join_address(&broker.host, broker.port),
                    rack: broker.rack,
                    is_fenced: broker.is_fenced,
                    disk: told(&broker.unknown_tagged_fields, BROKER_DISK_TAG),
                    is_drained: told(&broker.unknown_tagged_fields, BROKER_DRAINED_TAG).is_some(),
                    http_port: told(&broker.unknown_tagged_fields, BROKER_HTTP_TAG)
                        .and_then(|port| port.parse().ok()),
                }
            };
        let mut brokers: Vec<Member> = response.brokers.into_iter().map(member).collect();
        brokers.sort_by_key(|broker| broker.id);
        Ok(Members { cluster_id: response.cluster_id, brokers, tells_of_fenced })
    }

    /// How the quorum stands; nothing if the cluster has none to tell of.
    ///
    /// # Errors
    /// The broker's refusal.
    pub async fn quorum(&mut self) -> Result<Option<Quorum>> {
        if self.any().await?.advertised(ApiKey::DescribeQuorum).is_none() {
            return Ok(None);
        }
        let partition = AskedPartition { partition_index: 0, ..Default::default() };
        let request = DescribeQuorumRequest {
            topics: vec![AskedTopic {
                topic_name: "__cluster_metadata".to_owned(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        let mut partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let Some(found) = partitions.next() else { return Ok(None) };
        ClientError::check(found.error_code, found.error_message.as_deref())?;
        Ok(Some(Quorum {
            leader: (found.leader_id >= 0).then_some(found.leader_id),
            term: found.leader_epoch,
            high_watermark: found.high_watermark,
            voters: found.current_voters.into_iter().map(QuorumNode::from).collect(),
            observers: found.observers.into_iter().map(QuorumNode::from).collect(),
        }))
    }

    /// Takes a node's vote away (KIP-853).
    ///
    /// # Errors
    /// The leader's refusal.
    pub async fn remove_voter(&mut self, id: i32, directory: Uuid) -> Result<()> {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: id,
            voter_directory_id: directory,
            ..Default::default()
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        ClientError::check(response.error_code, response.error_message.as_deref())
    }

    /// Has the cluster forget a broker that does not come back.
    ///
    /// # Errors
    /// The controller's refusal.
    pub async fn unregister_broker(&mut self, id: i32) -> Result<()> {
        let request = UnregisterBrokerRequest { broker_id: id, ..Default::default() };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        match jocko_protocol::error_code(response.error_code) {
            ErrorCode::BrokerIdNotRegistered => Err(ClientError::NoSuchBroker(id)),
            _ => ClientError::check(response.error_code, response.error_message.as_deref()),
        }
    }

    /// Has leaders chosen anew: the preferred ones, or, where nobody in sync is left, any replica
    /// (`unclean`), whatever that loses. `None` is about all partitions; those that have the right
    /// leader already are then not among the outcomes.
    ///
    /// # Errors
    /// When nothing was tried; what each partition's outcome was, the list says.
    pub async fn elect_leaders(
        &mut self,
        unclean: bool,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Outcomes> {
        let topics = partitions.map(|partitions| {
            let topic = |(topic, partitions): (String, Vec<i32>)| TopicPartitions {
                topic,
                partitions,
                ..Default::default()
            };
            by_topic(partitions.iter().cloned()).into_iter().map(topic).collect()
        });
        let request = ElectLeadersRequest {
            election_type: i8::from(unclean),
            topic_partitions: topics,
            timeout_ms: millis(self.timeout),
            ..Default::default()
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        ClientError::check(response.error_code, None)?;
        self.leaders.clear();
        let mut outcomes = Outcomes::new();
        for topic in response.replica_election_results {
            for result in topic.partition_result {
                let outcome =
                    ClientError::check(result.error_code, result.error_message.as_deref());
                outcomes.push(((topic.topic.clone(), result.partition_id), outcome));
            }
        }
        Ok(outcomes)
    }

    /// Has partitions moved to these brokers, the preferred leader first; `None` ends a move that
    /// is under way and puts things back.
    ///
    /// # Errors
    /// When nothing was tried; what each partition's outcome was, the list says.
    pub async fn reassign(
        &mut self,
        moves: &[(TopicPartition, Option<Vec<i32>>)],
    ) -> Result<Outcomes> {
        let pairs = moves.iter().map(|((topic, partition), replicas)| {
            let partition = ReassignablePartition {
                partition_index: *partition,
                replicas: replicas.clone(),
                ..Default::default()
            };
            (topic.clone(), partition)
        });
        let topic = |(name, partitions): (String, Vec<ReassignablePartition>)| ReassignableTopic {
            name,
            partitions,
            ..Default::default()
        };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: millis(self.timeout),
            topics: by_topic(pairs).into_iter().map(topic).collect(),
            ..Default::default()
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        let mut outcomes = Outcomes::new();
        for topic in response.responses {
            for result in topic.partitions {
                let outcome =
                    ClientError::check(result.error_code, result.error_message.as_deref());
                outcomes.push(((topic.name.clone(), result.partition_index), outcome));
            }
        }
        Ok(outcomes)
    }

    /// The moves under way: of these partitions, or all.
    ///
    /// # Errors
    /// The controller's refusal.
    pub async fn moves(&mut self, partitions: Option<&[TopicPartition]>) -> Result<Vec<Move>> {
        let topics = partitions.map(|partitions| {
            let topic = |(name, partition_indexes)| ListPartitionReassignmentsTopics {
                name,
                partition_indexes,
                ..Default::default()
            };
            by_topic(partitions.iter().cloned()).into_iter().map(topic).collect()
        });
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: millis(self.timeout),
            topics,
            ..Default::default()
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        let mut moves = Vec::new();
        for topic in response.topics {
            for partition in topic.partitions {
                moves.push(Move {
                    partition: (topic.name.clone(), partition.partition_index),
                    replicas: partition.replicas,
                    adding: partition.adding_replicas,
                    removing: partition.removing_replicas,
                });
            }
        }
        moves.sort_by(|one, other| one.partition.cmp(&other.partition));
        Ok(moves)
    }

    /// Whether any broker serves an API.
    ///
    /// # Errors
    /// When nobody can be reached.
    pub async fn serves(&mut self, api: ApiKey) -> Result<bool> {
        Ok(self.any().await?.advertised(api).is_some())
    }

    /// How many in-sync replicas each of these topics wants for acks=all. Topics that are gone
    /// meanwhile are left out.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn min_insync_replicas(
        &mut self,
        topics: &[String],
    ) -> Result<BTreeMap<String, usize>> {
        let mut found = BTreeMap::new();
        for some in topics.chunks(CONFIGS_AT_ONCE) {
            let resource = |topic: &String| DescribeConfigsResource {
                resource_type: 2,
                resource_name: topic.clone(),
                configuration_keys: Some(vec!["min.insync.replicas".to_owned()]),
                ..Default::default()
            };
            let resources = some.iter().map(resource).collect();
            let request = DescribeConfigsRequest { resources, ..Default::default() };
            let answer = self.ask(&request).await?;
            for result in answer.get()?.results {
                let value = result.configs.first().and_then(|config| config.value.as_ref());
                if let Some(wanted) = value.and_then(|value| value.parse().ok()) {
                    found.insert(result.resource_name, wanted);
                }
            }
        }
        Ok(found)
    }
}

/// Groups what concerns partitions as requests want it.
fn by_topic<T>(pairs: impl Iterator<Item = (String, T)>) -> BTreeMap<String, Vec<T>> {
    let mut topics: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for (topic, each) in pairs {
        topics.entry(topic).or_default().push(each);
    }
    topics
}
