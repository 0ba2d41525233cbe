//! DescribeGroups (key 15), ListGroups (key 16), DeleteGroups (key 42) and ConsumerGroupDescribe
//! (key 69): what administrators see of groups.

use super::groups::{
    admit, assigning, beat, commit, commit_topic, consumer, describe, describe_consumers, hurried,
    join, leave_all, list, odd_groups, ready, sync, wait_for,
};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, JoinGroupRequest,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::DescribeGroups, "groups of each kind", describes),
    Scenario::new(ApiKey::ListGroups, "groups of each kind", lists),
    Scenario::new(ApiKey::ListGroups, "filters", filters).since(4),
    Scenario::new(ApiKey::DeleteGroups, "groups of each kind", deletes),
    Scenario::new(ApiKey::ConsumerGroupDescribe, "groups of each kind", describes_consumers),
];

/// One group of each kind and state, in which nothing moves.
struct Kinds {
    groups: [String; 8],
    classic_member: String,
    modern_member: String,
}

/// "missing", "simple" (offsets only), "left" (nobody is left in it), "awaited", "stable",
/// "workers", "modern", "modern left".
fn of_each_kind(run: &mut Run<'_>) -> Result<Kinds> {
    let groups = ready(
        run,
        ["missing", "simple", "left", "awaited", "stable", "workers", "modern", "empty"],
    )?;
    let [_, simple, left, awaited, stable, workers, modern, empty] = &groups;
    let one = run.create("one", 2, &[])?;
    hurried(run, &[modern, empty])?;
    run.send("commit", &commit(simple, vec![commit_topic(&one, &[(0, 5)])]))?;
    let joined = admit(run, "one joins and leaves", &join(left, ""))?;
    run.send("leave", &leave_all(left, &[(&joined.text("/memberId"), None)]))?;
    admit(run, "one joins and waits", &join(awaited, ""))?;
    let named = JoinGroupRequest { group_instance_id: Some("i1".into()), ..join(stable, "") };
    let joined = admit(run, "one joins and syncs", &named)?;
    let classic_member = joined.text("/memberId");
    let given: &[(&str, &[u8])] = &[(&classic_member, b"all")];
    run.send(
        "sync",
        &assigning(sync(stable, &classic_member, joined.int("/generationId")), given),
    )?;
    let worker = JoinGroupRequest { protocol_type: "connect".into(), ..join(workers, "") };
    admit(run, "a worker joins", &worker)?;
    let request = consumer(modern, "memberAAAAAAAAAAAAAAA1", &[&one.name]);
    let modern_member = run.send("a consumer joins", &request)?.text("/memberId");
    let request = consumer(empty, "memberAAAAAAAAAAAAAAA2", &[&one.name]);
    let member = run.send("a consumer joins and leaves", &request)?.text("/memberId");
    run.send("leave", &beat(empty, &member, -1))?;
    Ok(Kinds { groups, classic_member, modern_member })
}

fn describes(run: &mut Run<'_>) -> Result<()> {
    let Kinds { groups, .. } = of_each_kind(run)?;
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    for name in &names {
        run.send("one", &describe(&[name]))?;
        if run.version() >= 3 {
            let request =
                DescribeGroupsRequest { include_authorized_operations: true, ..describe(&[name]) };
            run.send("one, with operations", &request)?;
        }
    }
    run.send("none", &describe(&[]))?;
    run.send("all", &describe(&names))?;
    run.send("one twice", &describe(&[names[4], names[4]]))?;
    for (label, odd) in odd_groups(run) {
        wait_for(run, &odd)?;
        run.send(label, &describe(&[&odd]))?;
        run.send(format!("{label}, and a good one"), &describe(&[&odd, names[1]]))?;
    }
    Ok(())
}

fn describes_consumers(run: &mut Run<'_>) -> Result<()> {
    let Kinds { groups, modern_member, .. } = of_each_kind(run)?;
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    for name in &names {
        run.send("one", &describe_consumers(&[name]))?;
        let request = ConsumerGroupDescribeRequest {
            include_authorized_operations: true,
            ..describe_consumers(&[name])
        };
        run.send("one, with operations", &request)?;
    }
    run.send("none", &describe_consumers(&[]))?;
    run.send("all", &describe_consumers(&names))?;
    run.send("one twice", &describe_consumers(&[names[6], names[6]]))?;
    for (label, odd) in odd_groups(run) {
        wait_for(run, &odd)?;
        run.send(label, &describe_consumers(&[&odd]))?;
        run.send(format!("{label}, and a good one"), &describe_consumers(&[&odd, names[6]]))?;
    }
    let mut request = consumer(names[6], "memberAAAAAAAAAAAAAAA3", &["a", "b"]);
    request.instance_id = Some("i1".into());
    request.rack_id = Some("rack".into());
    request.server_assignor = Some("range".into());
    run.send("another joins", &request)?;
    run.send("two members", &describe_consumers(&[names[6]]))?;
    run.send("the first leaves", &beat(names[6], &modern_member, -1))?;
    run.send("one member", &describe_consumers(&[names[6]]))?;
    Ok(())
}

fn lists(run: &mut Run<'_>) -> Result<()> {
    run.hide_foreign_topics();
    run.send("before", &list(&[], &[]))?;
    let Kinds { groups, classic_member, .. } = of_each_kind(run)?;
    run.send("all", &list(&[], &[]))?;
    run.send("one leaves", &leave_all(&groups[4], &[(&classic_member, None)]))?;
    run.send("all, after that", &list(&[], &[]))?;
    Ok(())
}

fn filters(run: &mut Run<'_>) -> Result<()> {
    run.hide_foreign_topics();
    of_each_kind(run)?;
    let states: &[&[&str]] = &[
        &["Stable"],
        &["stable"],
        &["STABLE"],
        &["Empty"],
        &["Dead"],
        &["PreparingRebalance"],
        &["CompletingRebalance"],
        &["Assigning"],
        &["Reconciling"],
        &["NotReady"],
        &["Unknown"],
        &["unknown"],
        &["no such state"],
        &[""],
        &[" Stable"],
        &["Stable", "Empty"],
        &["Stable", "Stable"],
        &["Stable", "no such state"],
    ];
    for wanted in states {
        run.send(format!("states {wanted:?}"), &list(wanted, &[]))?;
    }
    if run.version() < 5 {
        return Ok(());
    }
    let types: &[&[&str]] = &[
        &["classic"],
        &[" classic"],
        &["Classic"],
        &["CONSUMER"],
        &["consumer"],
        &["share"],
        &["streams"],
        &["unknown"],
        &["no such type"],
        &[""],
        &["classic", "consumer"],
        &["classic", "no such type"],
    ];
    for wanted in types {
        run.send(format!("types {wanted:?}"), &list(&[], wanted))?;
        run.send(format!("stable, types {wanted:?}"), &list(&["Stable"], wanted))?;
        run.send(format!("no such state, types {wanted:?}"), &list(&["x"], wanted))?;
    }
    Ok(())
}

fn delete(groups: &[&str]) -> DeleteGroupsRequest {
    DeleteGroupsRequest {
        groups_names: groups.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn deletes(run: &mut Run<'_>) -> Result<()> {
    run.hide_foreign_topics();
    let Kinds { groups, classic_member, modern_member } = of_each_kind(run)?;
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    run.send("none", &delete(&[]))?;
    for (label, odd) in odd_groups(run) {
        wait_for(run, &odd)?;
        run.send(label, &delete(&[&odd]))?;
    }
    for name in [3, 4, 5, 6] {
        run.send("one with members", &delete(&[names[name]]))?;
    }
    run.send("what is left", &list(&[], &[]))?;
    run.send("one that is missing", &delete(&[names[0]]))?;
    run.send("one twice", &delete(&[names[1], names[1]]))?;
    run.send("it again", &delete(&[names[1]]))?;
    run.send("all", &delete(&names))?;
    run.send("what is left now", &list(&[], &[]))?;
    run.send("a member leaves", &leave_all(names[4], &[(&classic_member, None)]))?;
    run.send("a consumer leaves", &beat(names[6], &modern_member, -1))?;
    run.send("all again", &delete(&names))?;
    run.send("what is left in the end", &list(&[], &[]))?;
    Ok(())
}
