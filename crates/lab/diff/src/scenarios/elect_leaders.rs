//! ElectLeaders (key 43): leaders chosen anew (KIP-183, KIP-460).

use super::requests::{TIMEOUT_MS, bad_names};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::ElectLeadersRequest;
use jocko_protocol::rpc::elect_leaders_request::TopicPartitions;

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario::new(ApiKey::ElectLeaders, "elections", elections)];

pub(super) fn elect(kind: i8, topics: Option<&[(&str, &[i32])]>) -> ElectLeadersRequest {
    let topic = |(name, partitions): &(&str, &[i32])| TopicPartitions {
        topic: (*name).to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    ElectLeadersRequest {
        election_type: kind,
        topic_partitions: topics.map(|topics| topics.iter().map(topic).collect()),
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    }
}

fn elections(run: &mut Run<'_>) -> Result<()> {
    run.hide_foreign_topics();
    let one = run.create("one", 2, &[])?;
    let none = run.name("none");
    let one = one.name.as_str();
    let kinds: &[i8] = if run.version() == 0 { &[0] } else { &[0, 1, 2, -1, 127] };
    for &kind in kinds {
        let mut send = |label: &str, topics: Option<&[(&str, &[i32])]>| {
            run.send(format!("type {kind}: {label}"), &elect(kind, topics)).map(drop)
        };
        send("all", None)?;
        send("no topic", Some(&[]))?;
        send("no partition", Some(&[(one, &[])]))?;
        send("both", Some(&[(one, &[0, 1])]))?;
        send("one twice", Some(&[(one, &[0, 0])]))?;
        send("unknown partitions", Some(&[(one, &[2, -1, 0])]))?;
        send("an unknown topic", Some(&[(&none, &[0]), (one, &[1])]))?;
        for (label, name) in bad_names() {
            send(label, Some(&[(&name, &[0])]))?;
        }
    }
    Ok(())
}
