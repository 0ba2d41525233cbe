//! Every group config of Kafka 4.3, each defined once (KIP-848, KIP-932, KIP-1071).

use super::rule::{ConfigType, Rule};

/// One group config.
#[derive(Debug)]
pub struct GroupDefinition {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// The value nobody set.
    pub default: &'static str,
    /// What a value must satisfy.
    pub rule: Rule,
    /// The broker config that is its default, if there is one.
    pub broker_name: Option<&'static str>,
    /// The broker config that is the least a group may set, if there is one.
    pub least: Option<&'static str>,
    /// The broker config that is the most a group may set, if there is one.
    pub most: Option<&'static str>,
    /// What it does.
    pub doc: &'static str,
}

impl GroupDefinition {
    /// The definition of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        GROUP_DEFINITIONS
            .binary_search_by(|definition| definition.name.cmp(name))
            .ok()
            .and_then(|at| GROUP_DEFINITIONS.get(at))
    }

    const fn behind(mut self, name: &'static str) -> Self {
        self.broker_name = Some(name);
        self
    }

    const fn least(mut self, name: &'static str) -> Self {
        self.least = Some(name);
        self
    }

    const fn most(mut self, name: &'static str) -> Self {
        self.most = Some(name);
        self
    }
}

const fn row(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    rule: Rule,
    doc: &'static str,
) -> GroupDefinition {
    GroupDefinition { name, kind, default, rule, broker_name: None, least: None, most: None, doc }
}

use ConfigType::{Boolean, Int, String};
use Rule::{Any, AtLeast, OffsetReset, OneOf};

/// Every group config, by name. Those of share and streams groups are kept and reported until
/// there are such groups.
#[rustfmt::skip]
pub static GROUP_DEFINITIONS: &[GroupDefinition] = &[
    row("consumer.assignment.interval.ms", Int, "1000", AtLeast(0),
        "The least time between two assignments of the group.")
        .behind("group.consumer.assignment.interval.ms")
        .least("group.consumer.min.assignment.interval.ms")
        .most("group.consumer.max.assignment.interval.ms"),
    row("consumer.heartbeat.interval.ms", Int, "5000", AtLeast(1),
        "How often members of the group send a heartbeat.")
        .behind("group.consumer.heartbeat.interval.ms")
        .least("group.consumer.min.heartbeat.interval.ms")
        .most("group.consumer.max.heartbeat.interval.ms"),
    row("consumer.session.timeout.ms", Int, "45000", AtLeast(1),
        "How long a silent member stays in the group.")
        .behind("group.consumer.session.timeout.ms")
        .least("group.consumer.min.session.timeout.ms")
        .most("group.consumer.max.session.timeout.ms"),
    row("share.assignment.interval.ms", Int, "1000", AtLeast(0),
        "The least time between two assignments of the share group.")
        .behind("group.share.assignment.interval.ms")
        .least("group.share.min.assignment.interval.ms")
        .most("group.share.max.assignment.interval.ms"),
    row("share.auto.offset.reset", String, "latest", OffsetReset,
        "Where a share group begins that has no position yet: earliest, latest, or so long ago as \
         by_duration: says."),
    row("share.delivery.count.limit", Int, "5", AtLeast(2),
        "How often a record is delivered to the share group before it is given up.")
        .behind("group.share.delivery.count.limit")
        .least("group.share.min.delivery.count.limit")
        .most("group.share.max.delivery.count.limit"),
    row("share.heartbeat.interval.ms", Int, "5000", AtLeast(1),
        "How often members of the share group send a heartbeat.")
        .behind("group.share.heartbeat.interval.ms")
        .least("group.share.min.heartbeat.interval.ms")
        .most("group.share.max.heartbeat.interval.ms"),
    row("share.isolation.level", String, "read_uncommitted",
        OneOf(&["read_committed", "read_uncommitted"]),
        "Whether the share group sees records of transactions that were not committed."),
    row("share.partition.max.record.locks", Int, "2000", AtLeast(100),
        "Records of one partition that the share group may hold at one time.")
        .behind("group.share.partition.max.record.locks")
        .least("group.share.min.partition.max.record.locks")
        .most("group.share.max.partition.max.record.locks"),
    row("share.record.lock.duration.ms", Int, "30000", AtLeast(1000),
        "How long a record is held for the member it was delivered to.")
        .behind("group.share.record.lock.duration.ms")
        .least("group.share.min.record.lock.duration.ms")
        .most("group.share.max.record.lock.duration.ms"),
    row("share.renew.acknowledge.enable", Boolean, "true", Any,
        "Whether members of the share group may hold a record for longer by asking."),
    row("share.session.timeout.ms", Int, "45000", AtLeast(1),
        "How long a silent member stays in the share group.")
        .behind("group.share.session.timeout.ms")
        .least("group.share.min.session.timeout.ms")
        .most("group.share.max.session.timeout.ms"),
    row("streams.assignment.interval.ms", Int, "1000", AtLeast(0),
        "The least time between two assignments of the streams group.")
        .behind("group.streams.assignment.interval.ms")
        .least("group.streams.min.assignment.interval.ms")
        .most("group.streams.max.assignment.interval.ms"),
    row("streams.heartbeat.interval.ms", Int, "5000", AtLeast(1),
        "How often members of the streams group send a heartbeat.")
        .behind("group.streams.heartbeat.interval.ms")
        .least("group.streams.min.heartbeat.interval.ms")
        .most("group.streams.max.heartbeat.interval.ms"),
    row("streams.initial.rebalance.delay.ms", Int, "3000", AtLeast(0),
        "How long a new streams group waits for more members.")
        .behind("group.streams.initial.rebalance.delay.ms"),
    row("streams.num.standby.replicas", Int, "0", AtLeast(0),
        "Standby copies of each task of the streams group.")
        .behind("group.streams.num.standby.replicas")
        .most("group.streams.max.standby.replicas"),
    row("streams.session.timeout.ms", Int, "45000", AtLeast(1),
        "How long a silent member stays in the streams group.")
        .behind("group.streams.session.timeout.ms")
        .least("group.streams.min.session.timeout.ms")
        .most("group.streams.max.session.timeout.ms"),
];
