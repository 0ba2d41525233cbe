//! The broker configs that Kafka's tools and clients read, apart from the defaults of topic
//! configs, which follow from the topic table.

use super::broker::{BrokerDefinition, BrokerValue};
use super::defaults::millis;
use super::rule::{ConfigType, Rule};
use crate::value::SettingValue;
use BrokerValue::{Default, Fact, Null, Setting, SettingOrFact, Static, StaticFact};
use ConfigType::{Boolean, Int, List, Long, Short, String};
use Rule::{Any, AtLeast, OneOf};

const fn row(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    value: BrokerValue,
    doc: &'static str,
) -> BrokerDefinition {
    BrokerDefinition { name, kind, default, dynamic: false, hidden: false, rule: Any, value, doc }
}

impl BrokerDefinition {
    /// May change at run time, to values that satisfy `rule`.
    const fn dynamic(mut self, rule: Rule) -> Self {
        self.dynamic = true;
        self.rule = rule;
        self
    }

    /// Is shown only where it is set at run time.
    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// A value that Kafka has and jocko shares, unchangeable.
const fn fixed(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    doc: &'static str,
) -> BrokerDefinition {
    row(name, kind, default, Default, doc)
}

fn text(value: &impl SettingValue) -> Option<std::string::String> {
    Some(value.render())
}

/// The config that takes a broker out of service (KIP-1066): while it is `*` the broker gets nothing
/// new.
pub const CORDONED: &str = "cordoned.log.dirs";

/// No limit.
const RATE_MAX: &str = "9223372036854775807";

/// Every broker config that is not the default of a topic config.
#[rustfmt::skip]
pub static BROKER_DEFINITIONS: &[BrokerDefinition] = &[
    // Who and where.
    row("node.id", Int, "", StaticFact(|facts| facts.node_id.to_string()),
        "The broker's number."),
    row("broker.id", Int, "-1", StaticFact(|facts| facts.node_id.to_string()),
        "The broker's number, under its older name."),
    row("broker.rack", String, "", Setting("node.rack", |s| {
            (!s.node.rack.is_empty()).then(|| s.node.rack.clone())
        }),
        "Where the broker stands, so that copies are spread over places."),
    row("process.roles", List, "", Static("broker,controller"),
        "Every jocko broker serves and votes."),
    row("log.dir", List, "", Fact(|facts| facts.log_dirs.clone()),
        "The data directory, under its older name."),
    row("log.dirs", List, "", StaticFact(|facts| facts.log_dirs.clone()),
        "The data directory."),
    fixed(CORDONED, List, "",
        "`*` keeps new copies, the lead by preference and votes off a broker that is to go \
         (`jocko cluster drain` sets it). It is set for one broker, not for all.")
        .dynamic(OneOf(&["*"])),
    row("listeners", List, "", StaticFact(|facts| facts.listeners.clone()),
        "Where the broker listens for clients."),
    row("advertised.listeners", List, "", StaticFact(|facts| facts.advertised_listeners.clone()),
        "What the broker tells clients to connect to."),
    row("listener.security.protocol.map", String, "",
        Static("CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        "How each listener is secured."),
    row("inter.broker.listener.name", String, "", Static("PLAINTEXT"),
        "Brokers talk to each other on the cluster port, not on a Kafka listener."),
    row("controller.listener.names", List, "", Static("CONTROLLER"),
        "Controllers talk to each other on the cluster port, not on a Kafka listener."),
    fixed("controller.quorum.bootstrap.servers", List, "",
        "Brokers find each other by gossip; nobody lists them here."),
    fixed("inter.broker.protocol.version", String, "4.3-IV0",
        "The Kafka release whose broker protocol this matches. Kafka 4 has retired the config; \
         some tools still read it."),
    fixed("security.inter.broker.protocol", String, "PLAINTEXT",
        "How brokers secure their talk on Kafka listeners."),
    // Topics.
    row("auto.create.topics.enable", Boolean, "true",
        Setting("topics.auto_create", |s| text(&s.topics.auto_create)),
        "Whether asking for a topic that does not exist creates it."),
    fixed("delete.topic.enable", Boolean, "true", "Whether topics can be deleted."),
    row("num.partitions", Int, "1", Setting("topics.partitions", |s| text(&s.topics.partitions)),
        "Partitions of a topic created without a number."),
    row("default.replication.factor", Int, "1",
        SettingOrFact("topics.replication", |facts| facts.default_replication_factor.to_string()),
        "Copies of each partition of a topic created without a number."),
    row("log.retention.minutes", Int, "", Null,
        "How long records are kept; see log.retention.ms."),
    fixed("log.retention.hours", Int, "168",
        "How long records are kept where log.retention.ms is not set."),
    row("log.retention.check.interval.ms", Long, "300000",
        Setting("storage.retention_check", |s| Some(millis(s.storage.retention_check))),
        "How often retention looks for records to delete."),
    fixed("log.roll.hours", Int, "168",
        "The age at which a segment is closed where log.roll.ms is not set."),
    fixed("log.roll.jitter.hours", Int, "0",
        "The most that is taken off that age where log.roll.jitter.ms is not set."),
    fixed("log.cleaner.enable", Boolean, "true", "Whether compacted topics are compacted."),
    // Copying while partitions move (KIP-73).
    fixed("leader.replication.throttled.rate", Long, RATE_MAX,
        "Bytes a second that a broker hands out of replicas that are throttled and not in sync.")
        .dynamic(AtLeast(0)).hidden(),
    fixed("follower.replication.throttled.rate", Long, RATE_MAX,
        "Bytes a second that a broker fetches of replicas that are throttled and not in sync.")
        .dynamic(AtLeast(0)).hidden(),
    fixed("replica.alter.log.dirs.io.max.bytes.per.second", Long, RATE_MAX,
        "A broker has one data directory: nothing moves between several.")
        .dynamic(AtLeast(0)).hidden(),
    // Groups.
    row("offsets.topic.num.partitions", Int, "50",
        Setting("groups.offsets_partitions", |s| text(&s.groups.offsets_partitions)),
        "Partitions of the topic of group offsets."),
    row("offsets.topic.replication.factor", Short, "3",
        SettingOrFact("groups.offsets_replication", |facts| facts.offsets_replication_factor.to_string()),
        "Copies of the topic of group offsets."),
    row("offsets.topic.segment.bytes", Int, "104857600",
        Setting("groups.offsets_segment", |s| Some(s.groups.offsets_segment.get().to_string())),
        "The size at which a segment of the topic of group offsets is closed."),
    row("offsets.retention.minutes", Int, "10080", Setting("groups.offsets_retention", |s| {
            Some((s.groups.offsets_retention.as_secs() / 60).to_string())
        }),
        "How long the offsets of an empty group are kept."),
    row("offsets.retention.check.interval.ms", Long, "600000",
        Setting("groups.offsets_retention_check", |s| Some(millis(s.groups.offsets_retention_check))),
        "How often expired offsets are looked for."),
    row("offset.metadata.max.bytes", Int, "4096",
        Setting("groups.offset_metadata_max", |s| {
            Some(s.groups.offset_metadata_max.get().to_string())
        }),
        "The longest note a client may leave with an offset."),
    row("group.initial.rebalance.delay.ms", Int, "3000",
        Setting("groups.initial_rebalance_delay", |s| Some(millis(s.groups.initial_rebalance_delay))),
        "How long a new classic group waits for more members."),
    row("group.min.session.timeout.ms", Int, "6000",
        Setting("groups.session_timeout_min", |s| Some(millis(s.groups.session_timeout_min))),
        "The shortest session timeout a classic member may ask for."),
    row("group.max.session.timeout.ms", Int, "1800000",
        Setting("groups.session_timeout_max", |s| Some(millis(s.groups.session_timeout_max))),
        "The longest session timeout a classic member may ask for."),
    row("group.max.size", Int, "2147483647",
        Setting("groups.size_max", |s| text(&s.groups.size_max)),
        "The most members of a classic group."),
    fixed("group.coordinator.rebalance.protocols", List, "classic,consumer,streams",
        "The group protocols that are served."),
    row("group.consumer.assignors", List, "uniform,range",
        Setting("groups.consumer_assignors", |s| text(&s.groups.consumer_assignors)),
        "How partitions are shared out in consumer groups, the default first."),
    row("group.consumer.heartbeat.interval.ms", Int, "5000",
        Setting("groups.consumer_heartbeat_interval", |s| {
            Some(millis(s.groups.consumer_heartbeat_interval))
        }),
        "How often members of consumer groups send a heartbeat."),
    row("group.consumer.min.heartbeat.interval.ms", Int, "5000",
        Setting("groups.consumer_heartbeat_interval_min", |s| {
            Some(millis(s.groups.consumer_heartbeat_interval_min))
        }),
        "The least a consumer group may set as its heartbeat interval."),
    row("group.consumer.max.heartbeat.interval.ms", Int, "15000",
        Setting("groups.consumer_heartbeat_interval_max", |s| {
            Some(millis(s.groups.consumer_heartbeat_interval_max))
        }),
        "The most a consumer group may set as its heartbeat interval."),
    row("group.consumer.session.timeout.ms", Int, "45000",
        Setting("groups.consumer_session_timeout", |s| {
            Some(millis(s.groups.consumer_session_timeout))
        }),
        "How long a silent member stays in a consumer group."),
    row("group.consumer.min.session.timeout.ms", Int, "45000",
        Setting("groups.consumer_session_timeout_min", |s| {
            Some(millis(s.groups.consumer_session_timeout_min))
        }),
        "The least a consumer group may set as its session timeout."),
    row("group.consumer.max.session.timeout.ms", Int, "60000",
        Setting("groups.consumer_session_timeout_max", |s| {
            Some(millis(s.groups.consumer_session_timeout_max))
        }),
        "The most a consumer group may set as its session timeout."),
    row("group.consumer.assignment.interval.ms", Int, "1000",
        Setting("groups.consumer_assignment_interval", |s| {
            Some(millis(s.groups.consumer_assignment_interval))
        }),
        "The least time between two assignments of a consumer group.").dynamic(AtLeast(0)),
    row("group.consumer.min.assignment.interval.ms", Int, "0",
        Setting("groups.consumer_assignment_interval_min", |s| {
            Some(millis(s.groups.consumer_assignment_interval_min))
        }),
        "The least a consumer group may set as its assignment interval."),
    row("group.consumer.max.assignment.interval.ms", Int, "15000",
        Setting("groups.consumer_assignment_interval_max", |s| {
            Some(millis(s.groups.consumer_assignment_interval_max))
        }),
        "The most a consumer group may set as its assignment interval."),
    row("group.consumer.max.size", Int, "2147483647",
        Setting("groups.consumer_size_max", |s| text(&s.groups.consumer_size_max)),
        "The most members of a consumer group."),
    row("group.consumer.migration.policy", String, "bidirectional",
        Setting("groups.consumer_migration", |s| text(&s.groups.consumer_migration)),
        "Whether groups may move between the classic and the consumer protocol."),
    // Share and streams groups: what their groups may set. There are none yet.
    fixed("group.share.assignment.interval.ms", Int, "1000",
        "The least time between two assignments of a share group.").dynamic(AtLeast(0)),
    fixed("group.share.delivery.count.limit", Int, "5",
        "How often a record is delivered to a share group before it is given up."),
    fixed("group.share.heartbeat.interval.ms", Int, "5000",
        "How often members of share groups send a heartbeat."),
    fixed("group.share.max.assignment.interval.ms", Int, "15000",
        "The most a share group may set as its assignment interval."),
    fixed("group.share.max.delivery.count.limit", Int, "10",
        "The most a share group may set as its limit of deliveries."),
    fixed("group.share.max.heartbeat.interval.ms", Int, "15000",
        "The most a share group may set as its heartbeat interval."),
    fixed("group.share.max.partition.max.record.locks", Int, "4000",
        "The most a share group may set as its limit of records held."),
    fixed("group.share.max.record.lock.duration.ms", Int, "60000",
        "The most a share group may set as the time a record is held."),
    fixed("group.share.max.session.timeout.ms", Int, "60000",
        "The most a share group may set as its session timeout."),
    fixed("group.share.max.size", Int, "200",
        "The most members of a share group."),
    fixed("group.share.min.assignment.interval.ms", Int, "0",
        "The least a share group may set as its assignment interval."),
    fixed("group.share.min.delivery.count.limit", Int, "2",
        "The least a share group may set as its limit of deliveries."),
    fixed("group.share.min.heartbeat.interval.ms", Int, "5000",
        "The least a share group may set as its heartbeat interval."),
    fixed("group.share.min.partition.max.record.locks", Int, "100",
        "The least a share group may set as its limit of records held."),
    fixed("group.share.min.record.lock.duration.ms", Int, "15000",
        "The least a share group may set as the time a record is held."),
    fixed("group.share.min.session.timeout.ms", Int, "45000",
        "The least a share group may set as its session timeout."),
    fixed("group.share.partition.max.record.locks", Int, "2000",
        "Records of one partition that may be held at one time."),
    fixed("group.share.record.lock.duration.ms", Int, "30000",
        "How long a record is held for the member it was delivered to."),
    fixed("group.share.session.timeout.ms", Int, "45000",
        "How long a silent member stays in a share group."),
    fixed("group.streams.assignment.interval.ms", Int, "1000",
        "The least time between two assignments of a streams group.").dynamic(AtLeast(0)),
    fixed("group.streams.heartbeat.interval.ms", Int, "5000",
        "How often members of streams groups send a heartbeat."),
    fixed("group.streams.initial.rebalance.delay.ms", Int, "3000",
        "How long a new streams group waits for more members."),
    fixed("group.streams.max.assignment.interval.ms", Int, "15000",
        "The most a streams group may set as its assignment interval."),
    fixed("group.streams.max.heartbeat.interval.ms", Int, "15000",
        "The most a streams group may set as its heartbeat interval."),
    fixed("group.streams.max.session.timeout.ms", Int, "60000",
        "The most a streams group may set as its session timeout."),
    fixed("group.streams.max.size", Int, "2147483647",
        "The most members of a streams group."),
    fixed("group.streams.max.standby.replicas", Int, "2",
        "The most a streams group may set as its standby copies."),
    fixed("group.streams.min.assignment.interval.ms", Int, "0",
        "The least a streams group may set as its assignment interval."),
    fixed("group.streams.min.heartbeat.interval.ms", Int, "5000",
        "The least a streams group may set as its heartbeat interval."),
    fixed("group.streams.min.session.timeout.ms", Int, "45000",
        "The least a streams group may set as its session timeout."),
    fixed("group.streams.num.standby.replicas", Int, "0",
        "Standby copies of each task of a streams group."),
    fixed("group.streams.session.timeout.ms", Int, "45000",
        "How long a silent member stays in a streams group."),
    // Transactions.
    fixed("transaction.state.log.num.partitions", Int, "50",
        "Partitions of the topic of transactions."),
    row("transaction.state.log.replication.factor", Short, "3",
        Fact(|facts| facts.default_replication_factor.to_string()),
        "Copies of the topic of transactions."),
    row("transaction.state.log.min.isr", Int, "2",
        Fact(|facts| if facts.default_replication_factor >= 3 { "2" } else { "1" }.to_owned()),
        "Replicas of the topic of transactions that must have each change."),
    fixed("transaction.max.timeout.ms", Int, "900000",
        "The longest a client may let a transaction run."),
    fixed("transactional.id.expiration.ms", Int, "604800000",
        "How long an unused transactional id is remembered."),
    fixed("transaction.partition.verification.enable", Boolean, "true",
        "Whether a transactional produce must belong to a running transaction."),
    fixed("transaction.two.phase.commit.enable", Boolean, "false",
        "Whether transactions may take part in a two-phase commit."),
    row("producer.id.expiration.ms", Int, "86400000",
        Setting("storage.producer_expiry", |s| Some(millis(s.storage.producer_expiry))),
        "How long a partition remembers an idle producer.").dynamic(AtLeast(1)),
    // Network and security.
    row("num.network.threads", Int, "3",
        SettingOrFact("node.threads", |facts| facts.threads.to_string()),
        "Threads that serve connections."),
    row("num.io.threads", Int, "8",
        SettingOrFact("node.threads", |facts| facts.threads.to_string()),
        "The same threads: a request is served by the one that read it."),
    row("socket.request.max.bytes", Int, "104857600",
        Setting("limits.request", |s| Some(s.limits.request.get().to_string())),
        "The largest request that is read at all."),
    row("fetch.max.bytes", Int, "57671680",
        Setting("limits.fetch", |s| Some(s.limits.fetch.get().to_string())),
        "The most record bytes in one answer to a fetch."),
    row("queued.max.request.bytes", Long, "-1", Setting("limits.memory", |s| {
            Some(s.limits.memory.set().map_or_else(|| "-1".to_owned(), |m| m.get().to_string()))
        }),
        "Memory for requests and answers under way; -1 lets the broker choose."),
    row("max.connections", Int, "2147483647",
        Setting("limits.connections", |s| text(&s.limits.connections)),
        "Connections open at one time.").dynamic(AtLeast(1)),
    row("max.connections.per.ip", Int, "2147483647", Setting("limits.connections_per_ip", |s| {
            let set = s.limits.connections_per_ip;
            Some(set.map_or_else(|| i32::MAX.to_string(), |count| count.to_string()))
        }),
        "Connections open at one time from one address.").dynamic(AtLeast(1)),
    row("connections.max.idle.ms", Long, "600000",
        Setting("limits.idle", |s| Some(millis(s.limits.idle))),
        "How long a silent connection is kept."),
    fixed("sasl.enabled.mechanisms", List, "", "The ways clients may prove who they are."),
    fixed("authorizer.class.name", String, "", "What decides who may do what."),
    fixed("ssl.client.auth", String, "none", "Whether clients must show a certificate."),
];
