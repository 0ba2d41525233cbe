//! What coordinators may know of the cluster: its topics, and what the broker allows.

use crate::context::Context;
use crate::governing::layers;
use crate::published::Published;
use arc_swap::ArcSwapOption;
use jocko_config::kafka::GroupConfig;
use jocko_config::{GroupMigration, SettingValue};
use jocko_group::{ConsumerOverrides, ConsumerPolicy, Migration, Policy, TopicFacts};
use jocko_metadata::Topic;
use jocko_types::{PartitionIndex, TopicId};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The topics of one published state.
pub(crate) struct Topics<'a> {
    published: &'a Published,
}

impl<'a> Topics<'a> {
    pub(crate) fn new(published: &'a Published) -> Self {
        Self { published }
    }
}

impl jocko_group::Topics for Topics<'_> {
    fn by_name(&self, name: &str) -> Option<TopicFacts<'_>> {
        self.published.image.topic(name).map(|topic| facts(topic))
    }

    fn by_id(&self, id: TopicId) -> Option<TopicFacts<'_>> {
        self.published.image.topic_by_id(id).map(|topic| facts(topic))
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.published.image.topics().map(|topic| topic.name.as_str()))
    }

    fn racks(&self, id: TopicId, partition: PartitionIndex) -> Vec<String> {
        let Some(state) = self.published.image.partition(id, partition) else {
            return Vec::new();
        };
        let racks: BTreeSet<&String> = state
            .replicas
            .iter()
            .filter_map(|id| self.published.image.broker(*id)?.registration.rack.as_ref())
            .collect();
        racks.into_iter().cloned().collect()
    }

    fn index(&self) -> u64 {
        u64::try_from(self.published.index).unwrap_or(0)
    }
}

fn facts(topic: &Topic) -> TopicFacts<'_> {
    TopicFacts {
        id: topic.id,
        name: topic.name.as_str(),
        partition_count: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
    }
}

/// What this broker allows groups, worked out once per state of the cluster's metadata.
#[derive(Default)]
pub(crate) struct Policies {
    current: ArcSwapOption<(i64, Arc<Policy>)>,
}

impl Policies {
    /// What holds now.
    pub(crate) fn now(&self, context: &Context, published: &Published) -> Arc<Policy> {
        if let Some(current) = &*self.current.load()
            && current.0 == published.index
        {
            return Arc::clone(&current.1);
        }
        let policy = Arc::new(policy(context, published));
        self.current.store(Some(Arc::new((published.index, Arc::clone(&policy)))));
        policy
    }
}

fn policy(context: &Context, published: &Published) -> Policy {
    let groups = &published.settings.groups;
    let count = |count: NonZeroU32| usize::try_from(count.get()).unwrap_or(usize::MAX);
    let layers = layers(&published.image, context.broker, &context.settings);
    let overrides = published.image.configured_groups().map(|group_id| {
        let own = GroupConfig::resolve(published.image.group_configs(group_id), &layers);
        let overrides = ConsumerOverrides {
            session_timeout: Some(own.consumer_session_timeout),
            heartbeat_interval: Some(own.consumer_heartbeat_interval),
            assignment_interval: Some(own.consumer_assignment_interval),
        };
        (group_id.to_owned(), overrides)
    });
    Policy {
        session_timeout_min: groups.session_timeout_min,
        session_timeout_max: groups.session_timeout_max,
        initial_rebalance_delay: groups.initial_rebalance_delay,
        group_size_max: count(groups.size_max),
        offset_metadata_bytes_max: groups.offset_metadata_max.as_usize(),
        offsets_retention: groups.offsets_retention,
        consumer: ConsumerPolicy {
            session_timeout: groups.consumer_session_timeout,
            heartbeat_interval: groups.consumer_heartbeat_interval,
            assignment_interval: groups.consumer_assignment_interval,
            group_size_max: count(groups.consumer_size_max),
            assignors: groups
                .consumer_assignors
                .as_slice()
                .iter()
                .map(SettingValue::render)
                .collect(),
            migration: match groups.consumer_migration {
                GroupMigration::Bidirectional => Migration::Bidirectional,
                GroupMigration::Upgrade => Migration::Upgrade,
                GroupMigration::Downgrade => Migration::Downgrade,
                GroupMigration::Disabled => Migration::Disabled,
            },
            regex_refresh_interval: groups.consumer_regex_refresh,
        },
        overrides: overrides.collect(),
    }
}
