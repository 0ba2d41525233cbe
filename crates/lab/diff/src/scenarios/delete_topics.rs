//! DeleteTopics (key 20): by name, and by id from version 6 on (KIP-516).

use super::requests::{TIMEOUT_MS, UNKNOWN_ID, bad_names, metadata};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::DeleteTopicsRequest;
use jocko_protocol::rpc::delete_topics_request::DeleteTopicState;
use jocko_types::Uuid;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::DeleteTopics, "by name", by_name),
    Scenario::new(ApiKey::DeleteTopics, "by id", by_id).since(6),
];

fn named(run: &Run<'_>, names: &[&str]) -> DeleteTopicsRequest {
    let request = if run.version() >= 6 {
        let topics = names.iter().map(|name| state(Some(name), Uuid::ZERO)).collect();
        DeleteTopicsRequest { topics, ..Default::default() }
    } else {
        let topic_names = names.iter().map(ToString::to_string).collect();
        DeleteTopicsRequest { topic_names, ..Default::default() }
    };
    DeleteTopicsRequest { timeout_ms: TIMEOUT_MS, ..request }
}

fn state(name: Option<&str>, topic_id: Uuid) -> DeleteTopicState {
    DeleteTopicState { name: name.map(str::to_owned), topic_id, ..Default::default() }
}

fn by_name(run: &mut Run<'_>) -> Result<()> {
    let none = run.name("none");
    run.send("no topic at all", &named(run, &[]))?;
    run.send("an unknown name", &named(run, &[&none]))?;
    run.send("an unknown name twice", &named(run, &[&none, &none]))?;
    for (label, name) in bad_names() {
        run.send(label, &named(run, &[&name]))?;
    }
    let one = run.create("one", 1, &[])?;
    run.send("a known name", &named(run, &[&one.name]))?;
    run.await_absence(&one.name)?;
    run.send("the same again", &named(run, &[&one.name]))?;
    run.send("its metadata", &metadata(&[&one.name]))?;
    let (two, three) = (run.create("two", 2, &[])?, run.create("three", 1, &[])?);
    run.send("two known and an unknown", &named(run, &[&two.name, &none, &three.name]))?;
    run.await_absence(&two.name)?;
    run.await_absence(&three.name)?;
    let twice = run.create("twice", 1, &[])?;
    let four = run.create("four", 1, &[])?;
    run.send(
        "a known name twice beside another",
        &named(run, &[&twice.name, &twice.name, &four.name]),
    )?;
    run.await_absence(&four.name)?;
    run.send("which are there", &metadata(&[&twice.name, &four.name]))?;
    Ok(())
}

fn by_id(run: &mut Run<'_>) -> Result<()> {
    let (one, two) = (run.create("one", 1, &[])?, run.create("two", 1, &[])?);
    let send = |run: &mut Run<'_>, label: &str, topics: Vec<DeleteTopicState>| {
        let request = DeleteTopicsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() };
        run.send(label, &request).map(drop)
    };
    send(run, "an unknown id", vec![state(None, UNKNOWN_ID)])?;
    send(run, "an unknown id twice", vec![state(None, UNKNOWN_ID), state(None, UNKNOWN_ID)])?;
    send(run, "neither name nor id", vec![state(None, Uuid::ZERO)])?;
    send(run, "name and id", vec![state(Some(&one.name), one.id)])?;
    send(run, "name and another's id", vec![state(Some(&one.name), two.id)])?;
    send(run, "an unknown name and an unknown id", vec![state(Some(&run.name("no")), UNKNOWN_ID)])?;
    send(run, "an empty name and an id", vec![state(Some(""), one.id)])?;
    send(
        run,
        "the same by name and by id",
        vec![state(Some(&one.name), Uuid::ZERO), state(None, one.id)],
    )?;
    run.send("which are there", &metadata(&[&one.name, &two.name]))?;
    send(run, "a known id", vec![state(None, two.id)])?;
    run.await_absence(&two.name)?;
    send(run, "the same again", vec![state(None, two.id)])?;
    let (five, six) = (run.create("five", 1, &[])?, run.create("six", 1, &[])?);
    send(
        run,
        "one by id twice, one by name",
        vec![state(None, five.id), state(None, five.id), state(Some(&six.name), Uuid::ZERO)],
    )?;
    run.await_absence(&six.name)?;
    run.send("which of these are there", &metadata(&[&five.name, &six.name]))?;
    Ok(())
}
