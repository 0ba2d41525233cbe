//! The normal form of an answer: what rightly differs between two brokers is replaced by what it
//! stands for, so that everything that is left must be equal.
//!
//! [`RULES`] is the whole list. A rule is about a type of value, never about a case: what differs
//! in a case only is declared in `declared.toml`.

use crate::broker::Broker;
use jocko_protocol::ApiKey;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

mod records;

/// What a field of some name holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The id of a topic: each broker draws its own. Becomes the topic's name where that is known.
    TopicId,
    /// The id that a topic gets: only whether it is one is kept.
    NewTopicId,
    /// The id of a broker, or a list of them. The broker's own becomes "self".
    BrokerId,
    /// The id of a broker that was chosen by chance: among several only that it is one is kept.
    SomeBroker,
    /// The port of such a broker.
    SomePort,
    /// The identity of a disk: only whether it is one is kept.
    DirectoryId,
    /// The host it advertises becomes "its host".
    Host,
    /// The port it advertises becomes "its port".
    Port,
    /// The id of its cluster becomes "its cluster".
    ClusterId,
    /// The number of a fetch session: becomes "session 1", "session 2", ... as they appear.
    SessionId,
    /// A producer id that the broker has given out: becomes "producer 1", ... as they appear.
    ProducerId,
    /// A time of the broker's clock: becomes "now" if it is.
    BrokerTime,
    /// Words for people: only whether there are any is kept.
    Words,
    /// Record batches: unpacked.
    Records,
    /// A number of no meaning beyond growing: only whether there is one is kept.
    Counter,
    /// Where a batch was appended: kept, but for [`Symbols::forget_offsets`].
    AppendOffset,
    /// A list in no particular order: becomes an object by the first of these fields that an
    /// element has.
    Keyed(&'static [&'static str]),
    /// The partitions of a fetch, topic by topic: becomes an object by topic and partition.
    Partitions,
    /// The folder of its records: the broker's own becomes "its own".
    Folder,
    /// Plain values in no particular order.
    Unordered,
    /// The id of a group's member: one that a broker has made becomes "member 1", ... as they
    /// appear, with what it begins with.
    MemberId,
    /// As [`Form::Keyed`], but only what both brokers have is compared.
    Shared(&'static [&'static str]),
}

/// A field, what it holds, and why that may differ between brokers.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The only API that the rule is for, if it is not for all.
    pub api: Option<ApiKey>,
    /// The field's name in the JSON form.
    pub field: &'static str,
    /// What it holds.
    pub form: Form,
    /// Why two brokers may differ here.
    pub reason: &'static str,
}

const fn any(field: &'static str, form: Form, reason: &'static str) -> Rule {
    Rule { api: None, field, form, reason }
}

const fn of(api: ApiKey, field: &'static str, form: Form, reason: &'static str) -> Rule {
    Rule { api: Some(api), field, form, reason }
}

const RANDOM: &str = "drawn at random by each broker";
const PLACE: &str = "each broker listens somewhere else";
const WORDS: &str = "words are for people, and each broker has its own";
const NO_ORDER: &str = "the order comes from a hash table in Kafka and means nothing";
const SHARES: &str = "whose turn it was shows in who got records; Kafka puts what it refuses last";
const METADATA_LOG: &str = "an offset of the metadata log";
const MEMBER: &[&str] = &["memberId"];
const RESOURCE: &[&str] = &["resourceType", "resourceName"];
const CHANCE: &str = "among several brokers chance has chosen one";
const NODE: &str = "the number of a node is a setting";

/// Every rule. The first that fits is used.
pub const RULES: &[Rule] = &[
    of(ApiKey::CreateTopics, "topicId", Form::NewTopicId, RANDOM),
    any("topicId", Form::TopicId, RANDOM),
    any("clusterId", Form::ClusterId, RANDOM),
    any("host", Form::Host, PLACE),
    of(ApiKey::FindCoordinator, "port", Form::SomePort, CHANCE),
    of(ApiKey::FindCoordinator, "nodeId", Form::SomeBroker, CHANCE),
    of(ApiKey::DescribeQuorum, "leaderId", Form::SomeBroker, CHANCE),
    any("replicaDirectoryId", Form::DirectoryId, RANDOM),
    any("port", Form::Port, PLACE),
    any("nodeId", Form::BrokerId, NODE),
    any("brokerId", Form::BrokerId, NODE),
    any("controllerId", Form::SomeBroker, CHANCE),
    any("leaderId", Form::BrokerId, NODE),
    any("replicaNodes", Form::BrokerId, NODE),
    any("isrNodes", Form::BrokerId, NODE),
    any("offlineReplicas", Form::BrokerId, NODE),
    any("errorMessage", Form::Words, WORDS),
    any("replicaId", Form::BrokerId, NODE),
    any("batchIndexErrorMessage", Form::Words, WORDS),
    any("documentation", Form::Words, WORDS),
    of(ApiKey::Fetch, "sessionId", Form::SessionId, RANDOM),
    of(ApiKey::InitProducerId, "producerId", Form::ProducerId, "blocks of ids are handed out"),
    of(
        ApiKey::Produce,
        "baseOffset",
        Form::AppendOffset,
        "in a long series of damaged batches, each appended one moves all that follow",
    ),
    any("logAppendTimeMs", Form::BrokerTime, "the broker's clock"),
    of(
        ApiKey::ListOffsets,
        "timestamp",
        Form::BrokerTime,
        "the broker's clock, in a log that it stamps",
    ),
    of(ApiKey::DescribeProducers, "producerId", Form::ProducerId, "blocks of ids are handed out"),
    of(ApiKey::DescribeQuorum, "leaderEpoch", Form::Counter, "a term of the metadata's leader"),
    of(ApiKey::DescribeQuorum, "currentVoters", Form::Keyed(&["replicaId"]), NO_ORDER),
    of(ApiKey::DescribeQuorum, "nodes", Form::Keyed(&["nodeId"]), NO_ORDER),
    of(ApiKey::DescribeQuorum, "highWatermark", Form::Counter, METADATA_LOG),
    of(ApiKey::DescribeQuorum, "logEndOffset", Form::Counter, METADATA_LOG),
    of(ApiKey::DescribeQuorum, "lastFetchTimestamp", Form::BrokerTime, "the broker's clock"),
    of(ApiKey::DescribeQuorum, "lastCaughtUpTimestamp", Form::BrokerTime, "the broker's clock"),
    of(ApiKey::DescribeLogDirs, "logDir", Form::Folder, PLACE),
    of(ApiKey::DescribeLogDirs, "totalBytes", Form::Counter, "how much the disk can hold"),
    of(ApiKey::DescribeLogDirs, "usableBytes", Form::Counter, "how much the disk can still hold"),
    any("records", Form::Records, "holds producer ids, topic settings and the broker's time"),
    of(
        ApiKey::ApiVersions,
        "finalizedFeaturesEpoch",
        Form::Counter,
        "an offset of the metadata log",
    ),
    of(
        ApiKey::ApiVersions,
        "apiKeys",
        Form::Shared(&["apiKey"]),
        "an API is advertised when it works; what is advertised must have Kafka's versions",
    ),
    of(
        ApiKey::ApiVersions,
        "supportedFeatures",
        Form::Shared(&["name"]),
        "a feature is advertised when it works",
    ),
    of(
        ApiKey::ApiVersions,
        "finalizedFeatures",
        Form::Shared(&["name"]),
        "a feature is advertised when it works",
    ),
    any(
        BROKER_CONFIGS,
        Form::Shared(&["name"]),
        "a broker reports the settings it has; each that both have must be equal",
    ),
    of(ApiKey::DescribeProducers, "topics", Form::Keyed(&["name"]), NO_ORDER),
    of(ApiKey::DescribeProducers, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::DescribeProducers, "activeProducers", Form::Keyed(&["producerId"]), NO_ORDER),
    of(ApiKey::DescribeLogDirs, "topics", Form::Keyed(&["name"]), NO_ORDER),
    of(ApiKey::DescribeLogDirs, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::AlterReplicaLogDirs, "results", Form::Keyed(&["topicName"]), NO_ORDER),
    of(ApiKey::AlterReplicaLogDirs, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::DeleteRecords, "topics", Form::Keyed(&["name"]), NO_ORDER),
    of(ApiKey::DeleteRecords, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::CreatePartitions, "results", Form::Keyed(&["name"]), NO_ORDER),
    of(ApiKey::ElectLeaders, "replicaElectionResults", Form::Keyed(&["topic"]), NO_ORDER),
    of(ApiKey::ElectLeaders, "partitionResult", Form::Keyed(&["partitionId"]), NO_ORDER),
    of(ApiKey::AlterConfigs, "responses", Form::Keyed(RESOURCE), NO_ORDER),
    of(ApiKey::IncrementalAlterConfigs, "responses", Form::Keyed(RESOURCE), NO_ORDER),
    of(ApiKey::ListConfigResources, "configResources", Form::Keyed(RESOURCE), NO_ORDER),
    of(ApiKey::UpdateFeatures, "results", Form::Keyed(&["feature"]), NO_ORDER),
    any("memberId", Form::MemberId, RANDOM),
    of(ApiKey::JoinGroup, "leader", Form::MemberId, RANDOM),
    of(ApiKey::JoinGroup, "members", Form::Keyed(MEMBER), NO_ORDER),
    of(ApiKey::DescribeGroups, "members", Form::Keyed(MEMBER), NO_ORDER),
    of(ApiKey::ConsumerGroupDescribe, "members", Form::Keyed(MEMBER), NO_ORDER),
    any("subscribedTopicNames", Form::Unordered, NO_ORDER),
    any("topicPartitions", Form::Keyed(&["topicId"]), NO_ORDER),
    any("groups", Form::Keyed(&["groupId"]), NO_ORDER),
    of(ApiKey::OffsetFetch, "topics", Form::Keyed(&["name", "topicId"]), NO_ORDER),
    of(ApiKey::OffsetFetch, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::OffsetCommit, "topics", Form::Keyed(&["name", "topicId"]), NO_ORDER),
    of(ApiKey::OffsetCommit, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::OffsetDelete, "topics", Form::Keyed(&["name"]), NO_ORDER),
    of(ApiKey::OffsetDelete, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::DeleteGroups, "results", Form::Keyed(&["groupId"]), NO_ORDER),
    any("configs", Form::Keyed(&["name"]), NO_ORDER),
    any("brokers", Form::Keyed(&["nodeId", "brokerId"]), NO_ORDER),
    of(ApiKey::Metadata, "topics", Form::Keyed(&["name", "topicId"]), NO_ORDER),
    of(ApiKey::Metadata, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::CreateTopics, "topics", Form::Keyed(&["name"]), NO_ORDER),
    of(ApiKey::DeleteTopics, "responses", Form::Keyed(&["name", "topicId"]), NO_ORDER),
    of(ApiKey::ListOffsets, "topics", Form::Keyed(&["name"]), NO_ORDER),
    of(ApiKey::ListOffsets, "partitions", Form::Keyed(&["partitionIndex"]), NO_ORDER),
    of(ApiKey::Fetch, "responses", Form::Partitions, SHARES),
    of(ApiKey::Produce, "responses", Form::Keyed(&["name", "topicId"]), NO_ORDER),
    of(ApiKey::Produce, "partitionResponses", Form::Keyed(&["index"]), NO_ORDER),
    of(ApiKey::OffsetForLeaderEpoch, "topics", Form::Keyed(&["topic"]), NO_ORDER),
    of(ApiKey::OffsetForLeaderEpoch, "partitions", Form::Keyed(&["partition"]), NO_ORDER),
    of(
        ApiKey::DescribeConfigs,
        "results",
        Form::Keyed(&["resourceType", "resourceName"]),
        NO_ORDER,
    ),
];

/// The name that the configs of a broker get, so that a rule can tell them from a topic's.
pub const BROKER_CONFIGS: &str = "brokerConfigs";
/// Settings of a broker that say where it is and which it is: their values become "its own".
pub const PLACE_CONFIGS: &[&str] = &[
    "advertised.listeners",
    "broker.id",
    "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
    "listeners",
    "log.dir",
    "log.dirs",
    "metadata.log.dir",
    "node.id",
];
/// The resource type of a broker in DescribeConfigs.
const BROKER_RESOURCE: i64 = 4;
/// How far a broker's clock may be from ours, in milliseconds.
const CLOCK_MAX_MS: i64 = 120_000;

/// The rule for a field.
#[must_use]
pub fn rule(api: ApiKey, field: &str) -> Option<&'static Rule> {
    let fits = |rule: &&Rule| rule.field == field && rule.api.is_none_or(|only| only == api);
    RULES.iter().find(fits)
}

/// What the ids and numbers of one broker have been found to stand for in one run.
#[derive(Debug)]
pub struct Symbols {
    broker: Broker,
    prefix: String,
    has_offsets: bool,
    topics: BTreeMap<String, String>,
    sessions: Vec<i64>,
    producers: Vec<i64>,
    members: Vec<String>,
}

impl Symbols {
    /// Nothing is known but the broker, and what the names of the run's topics begin with: that is
    /// left out, so that runs can be told together.
    #[must_use]
    pub const fn new(broker: Broker, prefix: String) -> Self {
        Self {
            broker,
            prefix,
            has_offsets: true,
            topics: BTreeMap::new(),
            sessions: Vec::new(),
            producers: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Keeps of the offset of an appended batch only that there is one, from here on: in a long
    /// series of appends one difference would bring all the others.
    pub const fn forget_offsets(&mut self) {
        self.has_offsets = false;
    }

    fn plain_name(&self, text: &str) -> String {
        text.replace(&self.prefix, "")
    }

    /// Learns which topic ids stand for which names, anywhere in `value`.
    pub fn bind(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                let text = |key: &str| fields.get(key).and_then(Value::as_str);
                if let (Some(id), Some(name)) = (text("topicId"), text("name").or(text("topic"))) {
                    // A deleted topic's id stays known by its name: the first id of a name is
                    // plain, later ones say so.
                    if !self.topics.contains_key(id) && !is_no_id(id) && !name.is_empty() {
                        let symbol = self.plain_name(name);
                        let earlier = self.topics.values().any(|known| *known == symbol);
                        let symbol =
                            if earlier { format!("{symbol}, created again") } else { symbol };
                        self.topics.insert(id.to_owned(), symbol);
                    }
                }
                fields.values().for_each(|value| self.bind(value));
            }
            Value::Array(elements) => elements.iter().for_each(|value| self.bind(value)),
            _ => {}
        }
    }

    /// The normal form of an answer.
    pub fn normal(&mut self, api: ApiKey, value: Value) -> Value {
        // An id in an answer to CreateTopics need not be a topic's: it may only have been checked.
        if api != ApiKey::CreateTopics {
            self.bind(&value);
        }
        self.walk(api, value)
    }

    fn walk(&mut self, api: ApiKey, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let is_broker = fields.get("resourceType") == Some(&Value::from(BROKER_RESOURCE));
                let is_place = fields.get("name").and_then(Value::as_str).is_some_and(is_place);
                let named = fields.into_iter().map(|(name, value)| {
                    let name = match name.as_str() {
                        "configs" if is_broker => BROKER_CONFIGS.to_owned(),
                        "resourceName" if is_broker => {
                            return (name, self.broker_name(value));
                        }
                        "value" if is_place && value.is_string() => {
                            return (name, "its own".into());
                        }
                        _ => name,
                    };
                    let value = match rule(api, &name) {
                        Some(rule) => self.apply(api, rule.form, value),
                        None => self.walk(api, value),
                    };
                    (name, value)
                });
                Value::Object(named.collect())
            }
            Value::Array(elements) => {
                Value::Array(elements.into_iter().map(|value| self.walk(api, value)).collect())
            }
            Value::String(text) => self.plain_name(&text).into(),
            plain => plain,
        }
    }

    fn apply(&mut self, api: ApiKey, form: Form, value: Value) -> Value {
        match form {
            Form::TopicId => match value.as_str().and_then(|id| self.topics.get(id)) {
                Some(name) => format!("the id of {name}").into(),
                None => value,
            },
            Form::NewTopicId => match value.as_str() {
                Some(id) if !is_no_id(id) => "an id".into(),
                _ => value,
            },
            Form::BrokerId => self.broker_id(value),
            Form::Host if value == self.broker.host.as_str() => "its host".into(),
            Form::SomeBroker if self.is_member(&value) => "a broker".into(),
            Form::SomeBroker => self.broker_id(value),
            Form::SomePort if self.port_of(&value).is_some() => "a port".into(),
            Form::Port if self.port_of(&value).is_some() => {
                format!("the port of {}", self.port_of(&value).unwrap_or_default()).into()
            }
            Form::Port | Form::SomePort if value == self.broker.port => "its port".into(),
            Form::DirectoryId => match value.as_str() {
                Some(id) if !is_no_id(id) => "an id".into(),
                _ => value,
            },
            Form::ClusterId if value == self.broker.cluster_id.as_str() => "its cluster".into(),
            Form::Host | Form::Port | Form::SomePort | Form::ClusterId => value,
            Form::SessionId => numbered("session", &mut self.sessions, value, 1),
            Form::ProducerId => numbered("producer", &mut self.producers, value, 0),
            Form::Unordered => match self.walk(api, value) {
                Value::Array(mut values) => {
                    values.sort_by_key(Value::to_string);
                    Value::Array(values)
                }
                other => other,
            },
            Form::MemberId => self.member_id(value),
            Form::BrokerTime => broker_time(value),
            Form::Words => match value.as_str() {
                Some("") | None => value,
                Some(_) => "(words)".into(),
            },
            Form::AppendOffset if self.has_offsets => value,
            Form::Counter | Form::AppendOffset => {
                if value.as_i64() < Some(0) {
                    value
                } else {
                    "(a number)".into()
                }
            }
            Form::Folder => match value.as_str() {
                Some(path) if path.starts_with('/') => "its own".into(),
                _ => value,
            },
            Form::Records => records::unpacked(&value, &self.producers),
            Form::Partitions => {
                let value = self.walk(api, value);
                by_partition(&value)
            }
            Form::Keyed(fields) | Form::Shared(fields) => match value {
                Value::Array(elements) => {
                    let elements =
                        elements.into_iter().map(|value| self.walk(api, value)).collect();
                    keyed(elements, fields)
                }
                other => self.walk(api, other),
            },
        }
    }

    /// Ids that clients have made stay.
    fn member_id(&mut self, value: Value) -> Value {
        let Some((begin, id)) = value.as_str().and_then(made_by_broker) else {
            return self.walk_text(value);
        };
        let known = self.members.iter().position(|other| other == id);
        let number = known.unwrap_or_else(|| {
            self.members.push(id.to_owned());
            self.members.len() - 1
        });
        format!("{}member {}", self.plain_name(begin), number + 1).into()
    }

    fn walk_text(&self, value: Value) -> Value {
        value.as_str().map(|text| self.plain_name(text).into()).unwrap_or(value)
    }

    fn is_member(&self, value: &Value) -> bool {
        self.broker.members.iter().any(|member| *value == member.id)
    }

    /// Which of several brokers listens there.
    fn port_of(&self, value: &Value) -> Option<i32> {
        let members = &self.broker.members;
        members.iter().find(|one| *value == one.address.port()).map(|one| one.id)
    }

    fn broker_id(&self, value: Value) -> Value {
        if !self.broker.is_alone() {
            return value;
        }
        match value {
            Value::Array(ids) => ids.into_iter().map(|id| self.broker_id(id)).collect(),
            id if id == self.broker.id => "self".into(),
            other => other,
        }
    }

    fn broker_name(&self, value: Value) -> Value {
        let is_self = self.broker.is_alone() && value == self.broker.id.to_string().as_str();
        if is_self { "self".into() } else { value }
    }
}

/// The time of a broker's clock, if it is about now.
pub(crate) fn broker_time(value: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    match value.as_i64() {
        Some(time) if time.abs_diff(now) < CLOCK_MAX_MS.unsigned_abs() => "now".into(),
        _ => value,
    }
}

fn numbered(word: &str, known: &mut Vec<i64>, value: Value, min: i64) -> Value {
    let Some(number) = value.as_i64().filter(|number| *number >= min) else { return value };
    let position = known.iter().position(|other| *other == number).unwrap_or_else(|| {
        known.push(number);
        known.len() - 1
    });
    format!("{word} {}", position + 1).into()
}

/// The two parts of a member id that a broker has made: what it begins with, and the random part.
/// Classic members are "CLIENT-UUID" or "INSTANCE-UUID", others a UUID in base64.
fn made_by_broker(id: &str) -> Option<(&str, &str)> {
    const UUID_CHARS: usize = 36;
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if id.len() == 22 && id.chars().all(is_base64) {
        return Some(("", id));
    }
    let (begin, uuid) = id.split_at_checked(id.len().checked_sub(UUID_CHARS)?)?;
    let is_uuid = uuid.chars().enumerate().all(|(at, c)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    });
    (is_uuid && begin.ends_with('-')).then_some((begin, uuid))
}

fn is_place(config: &str) -> bool {
    PLACE_CONFIGS.contains(&config)
}

fn is_no_id(id: &str) -> bool {
    id.parse::<jocko_types::Uuid>().is_ok_and(|id| id.is_zero())
}

/// Topics with their partitions as one object of partitions.
fn by_partition(topics: &Value) -> Value {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let partitions = list(topics).into_iter().flat_map(|topic| {
        let name = topic["topic"].as_str().filter(|name| !name.is_empty());
        let name = name.or(topic["topicId"].as_str()).unwrap_or_default().to_owned();
        list(&topic["partitions"]).into_iter().map(move |mut partition| {
            partition["place"] = format!("{name} {}", partition["partitionIndex"]).into();
            partition
        })
    });
    keyed(partitions.collect(), &["place"])
}

/// A list as an object. Elements with the same key are told apart by their order.
fn keyed(elements: Vec<Value>, fields: &[&str]) -> Value {
    let mut object = Map::new();
    for element in elements {
        let parts = fields.iter().filter_map(|field| match &element[*field] {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        });
        // A name and an id are two ways to say the same; type and name of a resource are not.
        let key = match fields {
            ["resourceType", ..] => parts.collect::<Vec<_>>().join(" "),
            _ => parts.take(1).collect(),
        };
        let mut unique = key.clone();
        let mut count = 1;
        while object.contains_key(&unique) {
            count += 1;
            unique = format!("{key} ({count})");
        }
        object.insert(unique, element);
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests;
