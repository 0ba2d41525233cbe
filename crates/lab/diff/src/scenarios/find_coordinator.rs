//! FindCoordinator (key 10): whom to ask about a group (KIP-699).

use super::groups::{odd_groups, ready};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::FindCoordinatorRequest;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::FindCoordinator, "keys", keys),
    Scenario::new(ApiKey::FindCoordinator, "many keys", many).since(4),
];

/// The first version that asks for many at once.
const BATCHED: i16 = 4;

fn find(version: i16, kind: i8, keys: &[&str]) -> FindCoordinatorRequest {
    let mut request = FindCoordinatorRequest { key_type: kind, ..Default::default() };
    if version < BATCHED {
        request.key = keys.first().map_or(String::new(), ToString::to_string);
    } else {
        request.coordinator_keys = keys.iter().map(ToString::to_string).collect();
    }
    request
}

fn keys(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let version = run.version();
    run.send("a group", &find(version, 0, &[&group]))?;
    for (label, odd) in odd_groups(run) {
        run.send(label, &find(version, 0, &[&odd]))?;
    }
    if version == 0 {
        return Ok(());
    }
    for kind in [3, 9, -1, i8::MAX] {
        run.send(format!("type {kind}"), &find(version, kind, &[&group]))?;
        run.send(format!("type {kind}, an empty key"), &find(version, kind, &[""]))?;
    }
    // The first question has Kafka create what it keeps them in.
    run.await_answer(&find(6, 1, &[&group]), |answer| {
        answer.int("/coordinators/0/errorCode") == 0
    })?;
    let share = find(6, 2, &["g:AAAAAAAAAAAAAAAAAAAAAQ:0"]);
    run.await_answer(&share, |answer| answer.int("/coordinators/0/errorCode") != 15)?;
    run.send("a transaction", &find(version, 1, &[&group]))?;
    run.send("a transaction, an empty key", &find(version, 1, &[""]))?;
    for key in [group.as_str(), "", "a:b", "a:b:c", "g:AAAAAAAAAAAAAAAAAAAAAQ:0", ":::"] {
        run.send(format!("a share of {key}"), &find(version, 2, &[key]))?;
    }
    Ok(())
}

fn many(run: &mut Run<'_>) -> Result<()> {
    let [one, two] = ready(run, ["one", "two"])?;
    let version = run.version();
    run.send("none", &find(version, 0, &[]))?;
    run.send("two", &find(version, 0, &[&one, &two]))?;
    run.send("one twice", &find(version, 0, &[&one, &one]))?;
    run.send("one and an empty one", &find(version, 0, &[&one, ""]))?;
    run.send("two of an unknown type", &find(version, 9, &[&one, &two]))?;
    run.send("none of an unknown type", &find(version, 9, &[]))?;
    let many: Vec<String> = (0..60).map(|number| run.name(&format!("g{number}"))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    run.send("sixty", &find(version, 0, &many))?;
    Ok(())
}
