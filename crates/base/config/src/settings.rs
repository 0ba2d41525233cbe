//! jocko's own settings, each defined once: the field, the type, the default, what it does, and
//! the names Kafka has for it. The typed structs, the parser, `jocko config explain`, the
//! reference page and `--help` all come from this one list.

use crate::value::{
    Advertise, Auto, ByteSize, Durability, ListenAddresses, LogFormat, LogLevel, NodeId, Percent,
    ReplicationFactor, SettingValue, SizeOrPercent,
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
        "node.shutdown_grace" shutdown_grace: Duration = "10s", Live, Node, [];
    }

    /// The cluster the broker belongs to.
    cluster: ClusterSettings {
        /// A name for people, shown by status commands and on metrics.
        "cluster.name" name: String = "jocko", Restart, Cluster, [];
    }

    /// Where the broker listens and what it tells clients to connect to.
    listen: ListenSettings {
        /// Addresses for Kafka clients, separated by commas. `localhost` means both loopbacks,
        /// an empty host every interface.
        "listen.kafka" kafka: ListenAddresses = "localhost:9092", Restart, Node,
            ["listeners" Listeners];
        /// The address clients are told to come back to. `auto` answers each client with the
        /// address it reached the broker at.
        "listen.advertise" advertise: Advertise = "auto", Live, Node,
            ["advertised.listeners" Listeners];
        /// Addresses for health checks and metrics over HTTP, or `none`.
        "listen.http" http: Option<ListenAddresses> = "localhost:9095", Restart, Node, [];
    }

    /// What a topic gets unless its creator says otherwise.
    topics: TopicSettings {
        /// Whether asking for a topic that does not exist creates it, as Kafka does.
        "topics.auto_create" auto_create: bool = "true", Live, Cluster,
            ["auto.create.topics.enable" Same];
        /// Partitions of a topic created without a number.
        "topics.partitions" partitions: NonZeroU32 = "1", Live, Cluster, ["num.partitions" Same];
        /// Copies of each partition. `auto` is three, or as many as there are brokers, and grows
        /// with the cluster.
        "topics.replication" replication: Auto<ReplicationFactor> = "auto", Live, Cluster,
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
        "storage.max_disk" max_disk: Option<Percent> = "none", Live, Node, [];
        /// Space held back so that topics can still be deleted on a full disk.
        "storage.ballast" ballast: ByteSize = "16MiB", Restart, Node, [];
        /// How often retention looks for records to delete.
        "storage.retention_check" retention_check: Duration = "5m", Live, Node,
            ["log.retention.check.interval.ms" Millis];
        /// How long a partition remembers an idle producer, to refuse its duplicates.
        "storage.producer_expiry" producer_expiry: Duration = "1d", Live, Cluster,
            ["producer.id.expiration.ms" Millis];
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
        "limits.fetch" fetch: ByteSize = "55MiB", Live, Node, ["fetch.max.bytes" Same];
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
        "limits.idle" idle: Duration = "10m", Live, Node, ["connections.max.idle.ms" Millis];
        /// How long a client may take to send the rest of a request it has begun.
        "limits.frame_timeout" frame_timeout: Duration = "30s", Live, Node, [];
        /// Partitions in the whole cluster.
        "limits.partitions" partitions: NonZeroU32 = "200000", Live, Cluster, [];
        /// Idempotent producers that one partition remembers; the least recently used goes.
        "limits.producers" producers: NonZeroU32 = "100000", Live, Cluster, [];
    }

    /// What the broker says about itself.
    log: LogSettings {
        /// How much is logged: error, warn, info, debug or trace.
        "log.level" level: LogLevel = "info", Live, Node, [];
        /// The shape of log lines. `auto` is text on a terminal and JSON elsewhere.
        "log.format" format: LogFormat = "auto", Restart, Node, [];
    }
}

/// What a value must satisfy beyond its type; `None` if it does.
pub(crate) fn check(settings: &Settings, key: &str) -> Option<&'static str> {
    let request = settings.limits.request.get();
    let whole = |size: ByteSize| i32::try_from(size.get()).is_ok();
    match key {
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
        "storage.retention_check" if settings.storage.retention_check.is_zero() => {
            Some("retention cannot run without a pause")
        }
        _ => None,
    }
}
