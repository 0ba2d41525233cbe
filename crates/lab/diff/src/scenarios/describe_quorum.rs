//! DescribeQuorum (key 55): how the group that keeps the metadata stands (KIP-595, KIP-836, KIP-853).

use super::requests::{OFFSETS_TOPIC, bad_names};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::DescribeQuorumRequest;
use jocko_protocol::rpc::describe_quorum_request::{PartitionData, TopicData};

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario::new(ApiKey::DescribeQuorum, "the quorum", quorum)];

const METADATA: &str = "__cluster_metadata";

fn about(topics: &[(&str, &[i32])]) -> DescribeQuorumRequest {
    let partition = |index: &i32| PartitionData { partition_index: *index, ..Default::default() };
    let topic = |(name, partitions): &(&str, &[i32])| TopicData {
        topic_name: (*name).to_owned(),
        partitions: partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    DescribeQuorumRequest { topics: topics.iter().map(topic).collect(), ..Default::default() }
}

fn quorum(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    let one = one.name.as_str();
    run.send("the metadata", &about(&[(METADATA, &[0])]))?;
    run.send("no topic", &about(&[]))?;
    run.send("no partition", &about(&[(METADATA, &[])]))?;
    run.send("another partition", &about(&[(METADATA, &[1])]))?;
    run.send("two partitions", &about(&[(METADATA, &[0, 1])]))?;
    run.send("a topic", &about(&[(one, &[0])]))?;
    run.send("the metadata and a topic", &about(&[(METADATA, &[0]), (one, &[0])]))?;
    run.send("an unknown topic", &about(&[("no.such.topic", &[0, 1])]))?;
    run.send("a partition twice", &about(&[(METADATA, &[0, 0])]))?;
    run.send("the metadata twice", &about(&[(METADATA, &[0]), (METADATA, &[0])]))?;
    run.send("a negative partition", &about(&[(METADATA, &[-1])]))?;
    run.send("a topic of the broker's own", &about(&[(OFFSETS_TOPIC, &[0])]))?;
    for (label, name) in bad_names() {
        run.send(label, &about(&[(&name, &[0])]))?;
    }
    run.send("an empty name, no partition", &about(&[("", &[])]))?;
    Ok(())
}
