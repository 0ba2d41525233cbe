//! Metadata (key 3): topics by name, by id, all, none, and those that asking creates.

use super::requests::{UNKNOWN_ID, bad_names, metadata, metadata_topic};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::MetadataRequest;
use jocko_protocol::rpc::metadata_request::MetadataRequestTopic;
use jocko_types::Uuid;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Metadata, "by name", by_name),
    Scenario::new(ApiKey::Metadata, "by id", by_id).since(10),
    Scenario::new(ApiKey::Metadata, "all and none", all_and_none),
    Scenario::new(ApiKey::Metadata, "names that cannot be", bad).since(4),
    Scenario::new(ApiKey::Metadata, "creating by asking", auto_create),
    Scenario::new(ApiKey::Metadata, "authorized operations", operations).since(8),
];

fn by_name(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    let three = run.create("three", 3, &[])?;
    // Up to version 3 there is no way to ask without creating.
    let asked = if run.version() < 4 { MetadataRequest::default() } else { metadata(&[]) };
    let ask = |names: &[&str]| MetadataRequest {
        topics: Some(names.iter().map(|name| metadata_topic(name)).collect()),
        ..asked.clone()
    };
    run.send("one", &ask(&[&one.name]))?;
    run.send("two in the other order", &ask(&[&three.name, &one.name]))?;
    run.send("the same twice", &ask(&[&one.name, &one.name]))?;
    if run.version() >= 4 {
        let none = run.name("none");
        run.send("one that is not there", &ask(&[&none]))?;
        run.send("both kinds", &ask(&[&none, &one.name]))?;
        run.send("one that is not there, twice", &ask(&[&none, &none]))?;
        run.delete(&one)?;
        run.send("a deleted one", &ask(&[&one.name]))?;
        run.create("one", 2, &[])?;
        run.send("created again", &ask(&[&one.name]))?;
    }
    Ok(())
}

fn by_id(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    let two = run.create("two", 2, &[])?;
    let id = |topic_id, name: Option<&str>| MetadataRequestTopic {
        topic_id,
        name: name.map(str::to_owned),
        ..Default::default()
    };
    let reserved = Uuid::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let mut cases = vec![
        ("name and its id", vec![id(one.id, Some(&one.name))]),
        ("name and another's id", vec![id(two.id, Some(&one.name))]),
        ("name and an unknown id", vec![id(UNKNOWN_ID, Some(&one.name))]),
    ];
    if run.version() >= 12 {
        cases.extend([
            ("a known id", vec![id(one.id, None)]),
            ("two known ids", vec![id(two.id, None), id(one.id, None)]),
            ("an id twice", vec![id(one.id, None), id(one.id, None)]),
            ("an unknown id", vec![id(UNKNOWN_ID, None)]),
            ("a known and an unknown id", vec![id(one.id, None), id(UNKNOWN_ID, None)]),
            ("a reserved id", vec![id(reserved, None)]),
            ("neither name nor id", vec![id(Uuid::ZERO, None)]),
            ("one by name, one by id", vec![id(one.id, None), metadata_topic(&two.name)]),
            ("by name and by id", vec![id(one.id, None), metadata_topic(&one.name)]),
            ("an empty name and an id", vec![id(one.id, Some(""))]),
        ]);
    }
    for allow_auto_topic_creation in [false, true] {
        for (label, topics) in &cases {
            let request = MetadataRequest {
                topics: Some(topics.clone()),
                allow_auto_topic_creation,
                ..Default::default()
            };
            run.send(format!("{label}, creating {allow_auto_topic_creation}"), &request)?;
        }
    }
    run.delete(&one)?;
    if run.version() >= 12 {
        let request = MetadataRequest { topics: Some(vec![id(one.id, None)]), ..metadata(&[]) };
        run.send("the id of a deleted topic", &request)?;
    }
    Ok(())
}

fn all_and_none(run: &mut Run<'_>) -> Result<()> {
    run.create("one", 1, &[])?;
    run.create("two", 2, &[])?;
    run.hide_foreign_topics();
    if run.version() >= 1 {
        run.send("null", &MetadataRequest { topics: None, ..Default::default() })?;
    }
    run.send("an empty list", &MetadataRequest { topics: Some(Vec::new()), ..Default::default() })?;
    Ok(())
}

fn bad(run: &mut Run<'_>) -> Result<()> {
    for (label, name) in bad_names() {
        run.send(label, &metadata(&[&name]))?;
        let creating = MetadataRequest { allow_auto_topic_creation: true, ..metadata(&[&name]) };
        run.send(format!("{label}, creating"), &creating)?;
    }
    Ok(())
}

fn auto_create(run: &mut Run<'_>) -> Result<()> {
    if run.version() >= 4 {
        let refused = run.name("not-created");
        run.send("asked not to create", &metadata(&[&refused]))?;
        run.send("still not created", &metadata(&[&refused]))?;
    }
    let (one, two) = (run.name("one"), run.name("two"));
    let creating = MetadataRequest { allow_auto_topic_creation: true, ..metadata(&[&one, &two]) };
    run.send("creating", &creating)?;
    run.await_topic("one")?;
    run.await_topic("two")?;
    run.send("created", &creating)?;
    // A name that differs from a known one only by a dot is no name for a new topic.
    let dotted = run.name("dot.ted");
    run.send(
        "a dot",
        &MetadataRequest { allow_auto_topic_creation: true, ..metadata(&[&dotted]) },
    )?;
    run.await_topic("dot.ted")?;
    let scored = run.name("dot_ted");
    run.send(
        "an underscore in its place",
        &MetadataRequest { allow_auto_topic_creation: true, ..metadata(&[&scored]) },
    )?;
    Ok(())
}

fn operations(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    for topics in [false, true] {
        for cluster in [false, true] {
            // The cluster's moved to DescribeCluster (KIP-700).
            if cluster && run.version() > 10 {
                continue;
            }
            let request = MetadataRequest {
                include_topic_authorized_operations: topics,
                include_cluster_authorized_operations: cluster,
                ..metadata(&[&topic.name])
            };
            run.send(format!("of topics {topics}, of the cluster {cluster}"), &request)?;
        }
    }
    let request = MetadataRequest {
        include_topic_authorized_operations: true,
        ..metadata(&[&run.name("none")])
    };
    run.send("of a topic that is not there", &request)?;
    Ok(())
}
