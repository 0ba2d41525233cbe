//! Topics and groups by the names that a widely used exporter for Kafka gives them.

use super::{Text, groups};
use crate::context::Context;
use jocko_metadata::PartitionState;
use std::collections::BTreeMap;
use std::fmt;

/// A family with a sample for each partition.
type Column = (&'static str, &'static str, fn(&PartitionState) -> i64);

/// The same for each partition that a group has committed in.
type OfStanding = (&'static str, &'static str, fn(&groups::Standing) -> i64);

const OF_STATE: [Column; 5] = [
    ("topic_partition_leader", "Who leads.", |state| {
        state.leader.map_or(-1, |leader| i64::from(leader.get()))
    }),
    ("topic_partition_replicas", "Replicas.", |state| count(state.replicas.len())),
    ("topic_partition_in_sync_replica", "Replicas in sync.", |state| count(state.isr.len())),
    ("topic_partition_leader_is_preferred", "1 if the first replica leads.", |state| {
        i64::from(state.leader.is_some() && state.leader == state.replicas.first().copied())
    }),
    ("topic_partition_under_replicated_partition", "1 if replicas are out of sync.", |state| {
        i64::from(state.isr.len() < state.replicas.len())
    }),
];

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

pub(super) fn write(context: &Context, text: &mut Text) -> fmt::Result {
    brokers(context, text)?;
    topics(context, text)?;
    consumer_groups(context, text)
}

fn brokers(context: &Context, text: &mut Text) -> fmt::Result {
    let published = context.published.load();
    text.gauge("brokers", "Brokers of the cluster.", published.image.live_brokers().count())?;
    text.family("broker_info", "gauge", "A broker, and where it is.")?;
    for broker in published.image.live_brokers() {
        let endpoint = broker.registration.endpoints.first();
        let address = endpoint.map(|at| format!("{}:{}", at.host, at.port)).unwrap_or_default();
        let id = broker.id().to_string();
        text.sample("broker_info", &[("address", &address), ("id", &id)], 1)?;
    }
    Ok(())
}

fn topics(context: &Context, text: &mut Text) -> fmt::Result {
    let published = context.published.load();
    let image = &published.image;
    text.family("topic_partitions", "gauge", "Partitions of a topic.")?;
    for topic in image.topics() {
        let labels = [("topic", topic.name.as_str())];
        text.sample("topic_partitions", &labels, topic.partitions.len())?;
    }
    for (name, help, value) in OF_STATE {
        text.family(name, "gauge", help)?;
        for topic in image.topics() {
            for (index, state) in &topic.partitions {
                let index = index.to_string();
                let labels = [("partition", index.as_str()), ("topic", topic.name.as_str())];
                text.sample(name, &labels, value(state))?;
            }
        }
    }
    let mut ends = Vec::new();
    for partition in published.partitions.values() {
        if let Some(standing) = partition.standing() {
            let name = partition.name();
            let place = (name.topic.as_str(), name.partition.to_string());
            ends.push((place, standing.log_start.get(), standing.high_watermark.get()));
        }
    }
    text.family("topic_partition_oldest_offset", "gauge", "The first offset there is.")?;
    for ((topic, index), start, _) in &ends {
        let labels = [("partition", index.as_str()), ("topic", *topic)];
        text.sample("topic_partition_oldest_offset", &labels, start)?;
    }
    text.family("topic_partition_current_offset", "gauge", "The offset after the last.")?;
    for ((topic, index), _, end) in &ends {
        let labels = [("partition", index.as_str()), ("topic", *topic)];
        text.sample("topic_partition_current_offset", &labels, end)?;
    }
    Ok(())
}

fn consumer_groups(context: &Context, text: &mut Text) -> fmt::Result {
    let (_, groups) = groups::facts(context);
    text.family("consumergroup_members", "gauge", "Members of a group.")?;
    for group in &groups {
        let labels = [("consumergroup", group.group.as_str())];
        text.sample("consumergroup_members", &labels, group.members)?;
    }
    let columns: [OfStanding; 2] = [
        ("consumergroup_current_offset", "What a group has committed.", |each| each.committed),
        ("consumergroup_lag", "Records a group has not read.", groups::Standing::lag),
    ];
    for (name, help, value) in columns {
        text.family(name, "gauge", help)?;
        for group in &groups {
            for each in &group.standings {
                let index = each.partition.to_string();
                let labels = [
                    ("consumergroup", group.group.as_str()),
                    ("partition", index.as_str()),
                    ("topic", each.topic.as_str()),
                ];
                text.sample(name, &labels, value(each))?;
            }
        }
    }
    // Each of them once more, by topic.
    for (name, help, value) in columns {
        let name = format!("{name}_sum");
        text.family(&name, "gauge", help)?;
        for group in &groups {
            let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
            for each in &group.standings {
                *sums.entry(&each.topic).or_default() += value(each);
            }
            for (topic, sum) in sums {
                let labels = [("consumergroup", group.group.as_str()), ("topic", topic)];
                text.sample(&name, &labels, sum)?;
            }
        }
    }
    Ok(())
}
