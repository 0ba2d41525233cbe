//! Every setting, defined once.
//!
//! Two families live here. *jocko's settings* ([`Settings`]) are what a person writes in
//! `jocko.toml`, in `JOCKO_*` variables or as flags; [`load`] lays those layers over the defaults
//! and remembers where each value came from. *Kafka's configs* ([`kafka`]) are what a Kafka
//! client sets on a topic or reads from a broker; they are resolved over the dynamic configs of
//! the cluster image and over our settings.
//!
//! The crate is pure: it reads no file and no environment, the caller hands over the texts. A
//! component takes its own section ([`LimitSettings`], [`kafka::TopicConfig`]), never the whole.

#![warn(missing_docs, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod error;
mod file;
pub mod kafka;
mod load;
mod nearest;
mod reference;
mod settings;
mod value;

pub use error::{ConfigError, ConfigErrors, Problem};
pub use load::{Entry, Explanation, Layers, LoadedSettings, Source, load};
pub use reference::{render_help, render_reference};
pub use settings::{
    Alias, AliasForm, ClusterSettings, DEFINITIONS, Definition, GroupSettings, LimitSettings,
    ListenSettings, LogSettings, NodeSettings, Scope, Settings, StorageSettings, Takes,
    TopicSettings,
};
pub use value::{
    Advertise, Auto, ByteSize, Durability, Founders, GroupAssignor, GroupAssignors, GroupMigration,
    HostPort, JoinAddress, JoinAddresses, ListenAddresses, ListenPeers, LogFormat, LogLevel,
    NodeId, OrNone, Percent, ReplicationFactor, Secret, SettingValue, SizeOrPercent,
};
