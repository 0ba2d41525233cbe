//! jocko's own settings, each defined once: the field, the type, the default, what it does, and
//! the names Kafka has for it. The typed structs, the parser, `jocko config explain`, the
//! reference page and `--help` all come from this one list.

mod peers;

pub(crate) use peers::missing;

use crate::value::{
    Advertise, Auto, ByteSize, Durability, Founders, GroupAssignors, GroupMigration, JoinAddresses,
    ListenAddresses, ListenPeers, LogFormat, LogLevel, NodeId, Percent, ReplicationFactor, Secret,
    SettingValue, SizeOrPercent,
};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// Whether a setting can change under a running broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// As soon as it is changed.
    Live,
    /// When the broker starts.
    Restart,
}

/// Whom a setting concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This broker alone; brokers may differ.
    Node,
    /// Every broker; they should agree.
    Cluster,
}

/// How the value of a Kafka name becomes the value of our setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasForm {
    /// The same text means the same.
    Same,
    /// Milliseconds; -1 is none.
    Millis,
    /// Minutes; -1 is none.
    Minutes,
    /// Hours; -1 is none.
    Hours,
    /// -1 is auto.
    AutoIfNegative,
    /// A number with or without a fraction; what no disk can do is none.
    BytesPerSecond,
    /// `NAME://host:port` entries; the controller's is left out. Secured ones are no value of
    /// ours: they must not turn into open ones.
    Listeners,
    /// A list of folders, of which there must be one.
    OneFolder,
}

/// A Kafka name that is understood as one of our settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// Kafka's name.
    pub name: &'static str,
    /// What its value means.
    pub form: AliasForm,
}

/// One setting: all there is to know about it.
#[derive(Debug)]
pub struct Definition {
    /// The dotted key of `jocko.toml`.
    pub key: &'static str,
    /// What it does, one or two sentences.
    pub doc: &'static str,
    /// The default, as a person would write it.
    pub default: &'static str,
    /// What a value must look like.
    pub expected: &'static str,
    /// When a change takes effect.
    pub takes: Takes,
    /// Whom it concerns.
    pub scope: Scope,
    /// Kafka's names for it, the one Kafka prefers first.
    pub aliases: &'static [Alias],
    /// Whether its value is never shown.
    pub is_secret: bool,
    /// Reads `text` into its field and gives back the canonical text; `None` if it is not a
    /// value of the setting's type.
    pub(crate) set: fn(&mut Settings, text: &str) -> Option<String>,
    /// The canonical text of the field.
    pub(crate) get: fn(&Settings) -> String,
}

impl Definition {
    /// The environment variable that sets it: `topics.retention` is `JOCKO_TOPICS_RETENTION`.
    #[must_use]
    pub fn env_name(&self) -> String {
        format!("JOCKO_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// The flag that sets it: `topics.auto_create` is `--topics-auto-create`.
    #[must_use]
    pub fn flag_name(&self) -> String {
        format!("--{}", self.key.replace(['.', '_'], "-"))
    }

    /// The definition of a key.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        DEFINITIONS.iter().find(|definition| definition.key == key)
    }

    /// The definition a Kafka name stands for, and how its value is read.
    #[must_use]
    pub fn find_alias(name: &str) -> Option<(&'static Self, &'static Alias)> {
        DEFINITIONS.iter().find_map(|definition| {
            definition.aliases.iter().find(|alias| alias.name == name).map(|a| (definition, a))
        })
    }
}

macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $Section:ident {$(
            $(#[doc = $doc:literal])*
            $key:literal $field:ident: $type:ty = $default:literal, $takes:ident, $scope:ident,
                [$($alias:literal $form:ident),*];
        )*}
    )*) => {
        /// Every setting of one broker, typed. Components take the section they need.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $section_doc])* pub $section: $Section,)*
        }

        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $Section {
                $($(#[doc = $doc])* pub $field: $type,)*
            }
        )*

        impl Default for Settings {
            fn default() -> Self {
                Self {$(
                    $section: $Section {$(
                        $field: <$type>::parse($default).expect("a test parses every default"),
                    )*},
                )*}
            }
        }

        /// Every setting, in the order of the reference page.
        pub static DEFINITIONS: &[Definition] = &[$($(
            Definition {
                key: $key,
                doc: concat!($($doc),*),
                default: $default,
                expected: <$type>::EXPECTED,
                takes: Takes::$takes,
                scope: Scope::$scope,
                aliases: &[$(Alias { name: $alias, form: AliasForm::$form }),*],
                is_secret: <$type>::IS_SECRET,
                set: |settings, text| {
                    settings.$section.$field = <$type>::parse(text)?;
                    Some(settings.$section.$field.render())
                },
                get: |settings| settings.$section.$field.render(),
            },
        )*)*];
    };
}

settings! {
    /// The broker itself.
    node: NodeSettings {
        /// The folder that holds all the broker keeps. It is made if it is missing.
        "data_dir" data_dir: PathBuf = "./jocko-data", Restart, Node,
            ["log.dirs" OneFolder, "log.dir" OneFolder];
        /// The broker's number in its cluster. `auto` picks a free one at the first start and
        /// keeps it.
        "node.id" id: Auto<NodeId> = "auto", Restart, Node,
            ["node.id" AutoIfNegative, "broker.id" AutoIfNegative];
        /// Where the broker stands (a rack, a zone), so that copies are spread over places.
        "node.rack" rack: String = "", Restart, Node, ["broker.rack" Same];
        /// Threads that serve connections. `auto` is one per core.
        "node.threads" threads: Auto<NonZeroU32> = "auto", Restart, Node,
            ["num.io.threads" Same, "num.network.threads" Same];
        /// How long a stopping broker waits for requests under way.
        "node.shutdown_grace" shutdown_grace: Duration = "10s", Restart, Node, [];
    }

    /// The cluster the broker belongs to.
    cluster: ClusterSettings {
        /// A name for people, shown by status commands and on metrics.
        "cluster.name" name: String = "jocko", Restart, Cluster, [];
        /// Other brokers to ask for the cluster, separated by commas: any of them will do, and a
        /// name may have several addresses. Without a port, that of `listen.gossip` is meant (that
        /// of `listen.cluster` where there is no gossip).
        "cluster.join" join: JoinAddresses = "", Restart, Node, [];
        /// How many new brokers found the cluster together: 1, 3 or 5. It counts while there is no
        /// cluster yet; brokers that come later just join.
        "cluster.expect" expect: Founders = "1", Restart, Cluster, [];
        /// What only the brokers of the cluster know: gossip is encrypted with it, and the cluster
        /// port is closed to whoever cannot prove it. A flag shows in the list of processes, so a
        /// file or a variable is the better place.
        "cluster.secret" secret: Secret = "", Restart, Cluster, [];
        /// A second secret that is accepted from others and never used to speak. To change the
        /// secret without a stop, restart the brokers one by one three times: with the new one
        /// here, then with the two exchanged, then without the old one.
        "cluster.secret_accepted" secret_accepted: Secret = "", Restart, Cluster, [];
    }

    /// Where the broker listens and what it tells clients to connect to.
    listen: ListenSettings {
        /// Addresses for Kafka clients, separated by commas. `localhost` means both loopbacks,
        /// an empty host every interface.
        "listen.kafka" kafka: ListenAddresses = "localhost:9092", Restart, Node,
            ["listeners" Listeners];
        /// The address clients are told to come back to, and whose host other brokers are told.
        /// `auto` answers each client with the address it reached the broker at, and other
        /// brokers with the address this machine has towards them.
        "listen.advertise" advertise: Advertise = "auto", Restart, Node,
            ["advertised.listeners" Listeners];
        /// Addresses for health checks and metrics over HTTP, or `none`.
        "listen.http" http: Option<ListenAddresses> = "localhost:9095", Restart, Node, [];
        /// The address for the other brokers of the cluster: agreement, copies and forwarded
        /// requests. `auto` is port 9093, on loopback for a lone broker, and on every interface
        /// where `cluster.join` or `cluster.expect` speak of others and a secret is set.
        "listen.cluster" cluster: ListenPeers = "auto", Restart, Node, [];
        /// The address for gossip, over UDP and TCP, by which brokers find each other. `auto` is
        /// port 9094, on the interfaces of `listen.cluster`. With `none` the brokers of
        /// `cluster.join` are asked over their cluster ports, for networks without UDP.
        "listen.gossip" gossip: ListenPeers = "auto", Restart, Node, [];
    }

    /// What a topic gets unless its creator says otherwise.
    topics: TopicSettings {
        /// Whether asking for a topic that does not exist creates it, as Kafka does.
        "topics.auto_create" auto_create: bool = "true", Restart, Cluster,
            ["auto.create.topics.enable" Same];
        /// Partitions of a topic created without a number.
        "topics.partitions" partitions: NonZeroU32 = "1", Restart, Cluster, ["num.partitions" Same];
        /// Copies of each partition. `auto` is three, or as many as there are brokers, and grows
        /// with the cluster.
        "topics.replication" replication: Auto<ReplicationFactor> = "auto", Restart, Cluster,
            ["default.replication.factor" AutoIfNegative];
        /// How long records are kept. `none` keeps them for ever.
        "topics.retention" retention: Option<Duration> = "7d", Live, Cluster,
            ["log.retention.ms" Millis, "log.retention.minutes" Minutes,
             "log.retention.hours" Hours];
        /// How much a topic may hold over all its partitions on this disk, in bytes or as a
        /// share of the disk, before its oldest records go.
        "topics.retention_size" retention_size: Option<SizeOrPercent> = "none", Live, Cluster, [];
    }

    /// How records are kept on disk.
    storage: StorageSettings {
        /// When acks=all is answered: `fsync` once the batch is on disk, `relaxed` once it is in
        /// the page cache, as Kafka does. A topic may differ by `jocko.storage.durability`.
        "storage.durability" durability: Durability = "fsync", Live, Cluster, [];
        /// How full the disk may get before produce is refused with an error that clients
        /// retry. Nothing is deleted that retention does not delete.
        "storage.max_disk" max_disk: Option<Percent> = "none", Restart, Node, [];
        /// Space held back so that topics can still be deleted on a full disk.
        "storage.ballast" ballast: ByteSize = "16MiB", Restart, Node, [];
        /// How often retention looks for records to delete.
        "storage.retention_check" retention_check: Duration = "5m", Restart, Node,
            ["log.retention.check.interval.ms" Millis];
        /// The share of the disk that all topics together may hold before the oldest records of
        /// the largest partitions go. `none` is no limit.
        "storage.retention_percent" retention_percent: Option<Percent> = "none", Restart, Node, [];
        /// How often compaction looks for something to do.
        "storage.compaction_check" compaction_check: Duration = "15s", Restart, Node,
            ["log.cleaner.backoff.ms" Millis];
        /// The most memory compaction takes for keys: with less, a large topic takes more passes.
        "storage.compaction_memory" compaction_memory: ByteSize = "32MiB", Restart, Node,
            ["log.cleaner.dedupe.buffer.size" Same];
        /// The most bytes compaction reads and writes in a second. `none` is no limit.
        "storage.compaction_rate" compaction_rate: Option<ByteSize> = "none", Restart, Node,
            ["log.cleaner.io.max.bytes.per.second" BytesPerSecond];
        /// How often all copies that others have too are read through for damage, at 4 MiB in a
        /// second; what is damaged is fetched anew. `none` is never.
        "storage.scrub" scrub: Option<Duration> = "7d", Restart, Node, [];
        /// How long a partition remembers an idle producer, to refuse its duplicates.
        "storage.producer_expiry" producer_expiry: Duration = "1d", Live, Cluster,
            ["producer.id.expiration.ms" Millis];
    }

    /// Consumer groups and the offsets they commit.
    groups: GroupSettings {
        /// The shortest session timeout a classic member may ask for.
        "groups.session_timeout_min" session_timeout_min: Duration = "6s", Restart, Cluster,
            ["group.min.session.timeout.ms" Millis];
        /// The longest session timeout a classic member may ask for.
        "groups.session_timeout_max" session_timeout_max: Duration = "30m", Restart, Cluster,
            ["group.max.session.timeout.ms" Millis];
        /// How long a new classic group waits for more members before it shares out partitions.
        "groups.initial_rebalance_delay" initial_rebalance_delay: Duration = "0", Restart,
            Cluster, ["group.initial.rebalance.delay.ms" Millis];
        /// The most members of a classic group.
        "groups.size_max" size_max: NonZeroU32 = "2147483647", Restart, Cluster,
            ["group.max.size" Same];
        /// How long a silent member stays in a consumer group.
        "groups.consumer_session_timeout" consumer_session_timeout: Duration = "45s", Restart,
            Cluster, ["group.consumer.session.timeout.ms" Millis];
        /// The least a consumer group may set as its session timeout.
        "groups.consumer_session_timeout_min" consumer_session_timeout_min: Duration = "45s",
            Restart, Cluster, ["group.consumer.min.session.timeout.ms" Millis];
        /// The most a consumer group may set as its session timeout.
        "groups.consumer_session_timeout_max" consumer_session_timeout_max: Duration = "1m",
            Restart, Cluster, ["group.consumer.max.session.timeout.ms" Millis];
        /// How often members of consumer groups send a heartbeat.
        "groups.consumer_heartbeat_interval" consumer_heartbeat_interval: Duration = "5s",
            Restart, Cluster, ["group.consumer.heartbeat.interval.ms" Millis];
        /// The least a consumer group may set as its heartbeat interval.
        "groups.consumer_heartbeat_interval_min" consumer_heartbeat_interval_min: Duration = "5s",
            Restart, Cluster, ["group.consumer.min.heartbeat.interval.ms" Millis];
        /// The most a consumer group may set as its heartbeat interval.
        "groups.consumer_heartbeat_interval_max" consumer_heartbeat_interval_max: Duration =
            "15s", Restart, Cluster, ["group.consumer.max.heartbeat.interval.ms" Millis];
        /// The least time between two assignments of a consumer group; what changes meanwhile
        /// waits for the next.
        "groups.consumer_assignment_interval" consumer_assignment_interval: Duration = "1s",
            Live, Cluster, ["group.consumer.assignment.interval.ms" Millis];
        /// The least a consumer group may set as its assignment interval.
        "groups.consumer_assignment_interval_min" consumer_assignment_interval_min: Duration =
            "0", Restart, Cluster, ["group.consumer.min.assignment.interval.ms" Millis];
        /// The most a consumer group may set as its assignment interval.
        "groups.consumer_assignment_interval_max" consumer_assignment_interval_max: Duration =
            "15s", Restart, Cluster, ["group.consumer.max.assignment.interval.ms" Millis];
        /// The most members of a consumer group.
        "groups.consumer_size_max" consumer_size_max: NonZeroU32 = "2147483647", Restart, Cluster,
            ["group.consumer.max.size" Same];
        /// How partitions are shared out in consumer groups, the default first.
        "groups.consumer_assignors" consumer_assignors: GroupAssignors = "uniform,range", Restart,
            Cluster, ["group.consumer.assignors" Same];
        /// Whether groups may move between the classic and the consumer protocol while they have
        /// members: up to consumer, down to classic, both ways or not at all.
        "groups.consumer_migration" consumer_migration: GroupMigration = "bidirectional", Restart,
            Cluster, ["group.consumer.migration.policy" Same];
        /// How often topics are looked through for those that a regular expression matches.
        "groups.consumer_regex_refresh" consumer_regex_refresh: Duration = "10m", Restart,
            Cluster, ["group.consumer.regex.refresh.interval.ms" Millis];
        /// How long the offsets of a group without members are kept.
        "groups.offsets_retention" offsets_retention: Duration = "7d", Restart, Cluster,
            ["offsets.retention.minutes" Minutes];
        /// How often offsets are looked through for those that are kept no longer.
        "groups.offsets_retention_check" offsets_retention_check: Duration = "10m", Restart, Node,
            ["offsets.retention.check.interval.ms" Millis];
        /// The longest note a client may leave with an offset.
        "groups.offset_metadata_max" offset_metadata_max: ByteSize = "4KiB", Restart, Cluster,
            ["offset.metadata.max.bytes" Same];
        /// Partitions of the topic of offsets, `__consumer_offsets`. It counts when the topic is
        /// made, which is at the first use of a group.
        "groups.offsets_partitions" offsets_partitions: NonZeroU32 = "50", Restart, Cluster,
            ["offsets.topic.num.partitions" Same];
        /// Copies of each partition of the topic of offsets, when it is made.
        "groups.offsets_replication" offsets_replication: Auto<ReplicationFactor> = "auto",
            Restart, Cluster, ["offsets.topic.replication.factor" AutoIfNegative];
        /// The size at which a segment of the topic of offsets is closed and the next begun: small,
        /// so that it is compacted soon and loaded fast.
        "groups.offsets_segment" offsets_segment: ByteSize = "100MiB", Restart, Cluster,
            ["offsets.topic.segment.bytes" Same];
    }

    /// Bounds that keep one client from hurting the others.
    limits: LimitSettings {
        /// The largest record batch a topic takes, unless its `max.message.bytes` differs.
        "limits.message" message: ByteSize = "1048588", Live, Cluster,
            ["message.max.bytes" Same];
        /// The largest request that is read at all.
        "limits.request" request: ByteSize = "100MiB", Restart, Node,
            ["socket.request.max.bytes" Same];
        /// The most record bytes in one answer to a fetch.
        "limits.fetch" fetch: ByteSize = "55MiB", Restart, Node, ["fetch.max.bytes" Same];
        /// Memory for requests and answers under way, over all connections. `auto` is a quarter
        /// of what the machine or its control group has.
        "limits.memory" memory: Auto<ByteSize> = "auto", Restart, Node,
            ["queued.max.request.bytes" AutoIfNegative];
        /// Connections open at one time.
        "limits.connections" connections: NonZeroU32 = "20000", Live, Node,
            ["max.connections" Same];
        /// Connections open at one time from one address.
        "limits.connections_per_ip" connections_per_ip: Option<NonZeroU32> = "none", Live, Node,
            ["max.connections.per.ip" Same];
        /// How long a silent connection is kept.
        "limits.idle" idle: Duration = "10m", Restart, Node, ["connections.max.idle.ms" Millis];
        /// How long a client may take to send the rest of a request it has begun.
        "limits.frame_timeout" frame_timeout: Duration = "30s", Restart, Node, [];
        /// Partitions in the whole cluster.
        "limits.partitions" partitions: NonZeroU32 = "200000", Restart, Cluster, [];
        /// Idempotent producers that one partition remembers; the least recently used goes.
        "limits.producers" producers: NonZeroU32 = "100000", Restart, Cluster, [];
    }

    /// What the broker says about itself.
    log: LogSettings {
        /// How much is logged: error, warn, info, debug or trace.
        "log.level" level: LogLevel = "info", Restart, Node, [];
        /// The shape of log lines. `auto` is text on a terminal and JSON elsewhere.
        "log.format" format: LogFormat = "auto", Restart, Node, [];
    }
}

/// What a value must satisfy beyond its type; `None` if it does.
pub(crate) fn check(settings: &Settings, key: &str) -> Option<&'static str> {
    let request = settings.limits.request.get();
    let whole = |size: ByteSize| i32::try_from(size.get()).is_ok();
    match key {
        "cluster.expect" if !matches!(settings.cluster.expect.get(), 1 | 3 | 5) => Some(
            "a cluster is founded by 1, 3 or 5 brokers: 2 and 4 bear no more failures than 1 and \
             3, and more than 5 decide slowly\n  try: --expect 3, and let further brokers come by \
             --join alone",
        ),
        "limits.message" if !whole(settings.limits.message) => {
            Some("the largest batch Kafka's protocol can carry is 2147483647 bytes")
        }
        "limits.request" if !whole(settings.limits.request) => {
            Some("the largest request Kafka's protocol can carry is 2147483647 bytes")
        }
        "limits.request" if request < 1 << 14 => Some("no client works with requests under 16KiB"),
        "limits.fetch" if !whole(settings.limits.fetch) || settings.limits.fetch.get() < 1024 => {
            Some("an answer can hold from 1KiB to 2147483647 bytes")
        }
        "limits.idle" if settings.limits.idle < Duration::from_secs(1) => {
            Some("a connection must be let live for a second")
        }
        "limits.frame_timeout" if settings.limits.frame_timeout < Duration::from_secs(1) => {
            Some("a client must be given a second to send a request")
        }
        "storage.compaction_check" if settings.storage.compaction_check.is_zero() => {
            Some("compaction cannot run without a pause")
        }
        "storage.retention_check" if settings.storage.retention_check.is_zero() => {
            Some("retention cannot run without a pause")
        }
        "storage.scrub" if settings.storage.scrub.is_some_and(|it| it.is_zero()) => {
            Some("copies cannot be read through without a pause; `none` is never")
        }
        _ if key.starts_with("groups.") => check_groups(&settings.groups, key),
        _ => None,
    }
}

fn check_groups(groups: &GroupSettings, key: &str) -> Option<&'static str> {
    const MILLIS: &str =
        "Kafka's protocol carries it as 32 bits of milliseconds: at most 24.8 days";
    let is_long = |wait: Duration| i32::try_from(wait.as_millis()).is_err();
    let g = groups;
    match key {
        "groups.session_timeout_min" => is_long(g.session_timeout_min).then_some(MILLIS),
        "groups.session_timeout_max" => is_long(g.session_timeout_max).then_some(MILLIS),
        "groups.initial_rebalance_delay" => is_long(g.initial_rebalance_delay).then_some(MILLIS),
        "groups.consumer_session_timeout_max" => {
            is_long(g.consumer_session_timeout_max).then_some(MILLIS)
        }
        "groups.consumer_heartbeat_interval_max" => {
            is_long(g.consumer_heartbeat_interval_max).then_some(MILLIS)
        }
        "groups.consumer_assignment_interval_max" => {
            is_long(g.consumer_assignment_interval_max).then_some(MILLIS)
        }
        "groups.consumer_regex_refresh" if g.consumer_regex_refresh < Duration::from_secs(10) => {
            Some("more often than every 10s the broker would do little else")
        }
        "groups.offsets_retention_check" if g.offsets_retention_check.is_zero() => {
            Some("offsets cannot be looked through without a pause")
        }
        "groups.offsets_retention" if g.offsets_retention.is_zero() => {
            Some("offsets that are not kept at all cannot be committed")
        }
        "groups.offset_metadata_max" if i16::try_from(g.offset_metadata_max.get()).is_err() => {
            Some("a note with an offset can be 32767 bytes in Kafka's protocol")
        }
        "groups.offsets_segment"
            if !(1 << 20..=i32::MAX.unsigned_abs().into()).contains(&g.offsets_segment.get()) =>
        {
            Some("a segment holds from 1MiB to 2147483647 bytes")
        }
        _ => None,
    }
}

/// Settings that are each a value and contradict each other: the key to blame, and why. Looked at
/// once all are known, since the order in which they are written means nothing.
pub(crate) fn contradiction(settings: &Settings) -> Option<(&'static str, &'static str)> {
    const ORDER: &str = "the least is more than the most that groups may set";
    const WITHIN: &str = "it does not lie between the least and the most that groups may set";
    let g = &settings.groups;
    if g.session_timeout_min > g.session_timeout_max {
        return Some(("groups.session_timeout_min", ORDER));
    }
    let ranges = [
        (
            ["groups.consumer_session_timeout", "groups.consumer_session_timeout_min"],
            g.consumer_session_timeout,
            g.consumer_session_timeout_min,
            g.consumer_session_timeout_max,
        ),
        (
            ["groups.consumer_heartbeat_interval", "groups.consumer_heartbeat_interval_min"],
            g.consumer_heartbeat_interval,
            g.consumer_heartbeat_interval_min,
            g.consumer_heartbeat_interval_max,
        ),
        (
            ["groups.consumer_assignment_interval", "groups.consumer_assignment_interval_min"],
            g.consumer_assignment_interval,
            g.consumer_assignment_interval_min,
            g.consumer_assignment_interval_max,
        ),
    ];
    for ([key, min_key], value, min, max) in ranges {
        if min > max {
            return Some((min_key, ORDER));
        }
        if value < min || value > max {
            return Some((key, WITHIN));
        }
    }
    (g.consumer_heartbeat_interval >= g.consumer_session_timeout).then_some((
        "groups.consumer_heartbeat_interval",
        "a member whose heartbeats are as far apart as its session timeout is always late",
    ))
}
