//! SyncGroup (key 14), Heartbeat (key 12) and LeaveGroup (key 13): what members of a classic group
//! do once they have joined.

use super::groups::{
    admit, assigning, describe, heartbeat, join, leave, leave_all, odd_groups, ready, sync,
    wait_for,
};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::{HeartbeatRequest, JoinGroupRequest, SyncGroupRequest};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::SyncGroup, "arguments", syncs),
    Scenario::new(ApiKey::SyncGroup, "what members speak", speech).since(5),
    Scenario::new(ApiKey::SyncGroup, "names", named_syncs).since(3),
    Scenario::new(ApiKey::Heartbeat, "arguments", heartbeats),
    Scenario::new(ApiKey::Heartbeat, "names", named_heartbeats).since(3),
    Scenario::new(ApiKey::LeaveGroup, "arguments", leaves),
    Scenario::new(ApiKey::LeaveGroup, "many at once", batched_leaves).since(3),
];

/// A member's id and name.
type Leaving<'a> = (&'a str, Option<&'a str>);

/// Joins an empty group: the member's id and generation.
fn enter(run: &mut Run<'_>, group: &str, instance: Option<&str>) -> Result<(String, i64)> {
    let request =
        JoinGroupRequest { group_instance_id: instance.map(str::to_owned), ..join(group, "") };
    let joined = admit(run, "join", &request)?;
    Ok((joined.text("/memberId"), joined.int("/generationId")))
}

fn syncs(run: &mut Run<'_>) -> Result<()> {
    let [group, none] = ready(run, ["group", "none"])?;
    for (label, odd) in odd_groups(run) {
        wait_for(run, &odd)?;
        run.send(label, &sync(&odd, "nobody", 1))?;
    }
    run.send("an unknown group", &sync(&none, "nobody", 1))?;
    run.send("an unknown group, no member", &sync(&none, "", -1))?;
    let (member, generation) = enter(run, &group, None)?;
    for (label, id) in [("nobody", "nobody"), ("no id", "")] {
        run.send(label, &sync(&group, id, generation))?;
    }
    for off in [-2, -1, 1] {
        run.send(format!("generation {off} off"), &sync(&group, &member, generation + off))?;
    }
    let given: &[(&str, &[u8])] = &[(&member, b"first"), (&member, b"last"), ("nobody", b"x")];
    run.send("assigning twice to one", &assigning(sync(&group, &member, generation), given))?;
    run.send("again", &sync(&group, &member, generation))?;
    let given: &[(&str, &[u8])] = &[(&member, b"too late")];
    run.send("assigning again", &assigning(sync(&group, &member, generation), given))?;
    for off in [-1, 1] {
        run.send(format!("stable, {off} off"), &sync(&group, &member, generation + off))?;
    }
    run.send("what is there", &describe(&[&group]))?;
    run.send("leave", &leave_all(&group, &[(&member, None)]))?;
    run.send("one that left", &sync(&group, &member, generation))?;
    run.send("one that left, now", &sync(&group, &member, generation + 1))?;
    Ok(())
}

fn speech(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (member, generation) = enter(run, &group, None)?;
    let kinds = [None, Some(""), Some("consumer"), Some("connect")];
    let names = [None, Some(""), Some("range"), Some("sticky")];
    for stable in [false, true] {
        for kind in kinds {
            for name in names {
                if !stable && kind == Some("consumer") && name == Some("range") {
                    continue;
                }
                let request = SyncGroupRequest {
                    protocol_type: kind.map(str::to_owned),
                    protocol_name: name.map(str::to_owned),
                    ..sync(&group, &member, generation)
                };
                run.send(format!("{kind:?} {name:?}, stable {stable}"), &request)?;
            }
        }
        let given: &[(&str, &[u8])] = &[(&member, b"all")];
        run.send("right", &assigning(sync(&group, &member, generation), given))?;
    }
    Ok(())
}

fn named_syncs(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (member, generation) = enter(run, &group, Some("i1"))?;
    let named = |member: &str, name: &str| SyncGroupRequest {
        group_instance_id: Some(name.to_owned()),
        ..sync(&group, member, generation)
    };
    for (member, name) in [("nobody", "i1"), (&member, "i2"), ("nobody", "i2"), ("", "i1")] {
        run.send(format!("name {name}, id {}", member.len().min(7)), &named(member, name))?;
    }
    run.send("right", &assigning(named(&member, "i1"), &[(&member, b"all")]))?;
    run.send("right again", &named(&member, "i1"))?;
    run.send("an empty name", &named(&member, ""))?;
    run.send("without a name", &sync(&group, &member, generation))?;
    Ok(())
}

fn heartbeats(run: &mut Run<'_>) -> Result<()> {
    let [group, none] = ready(run, ["group", "none"])?;
    for (label, odd) in odd_groups(run) {
        wait_for(run, &odd)?;
        run.send(label, &heartbeat(&odd, "nobody", 1))?;
    }
    run.send("an unknown group", &heartbeat(&none, "nobody", 1))?;
    run.send("an unknown group, no generation", &heartbeat(&none, "", -1))?;
    let (member, generation) = enter(run, &group, None)?;
    for stable in [false, true] {
        for (label, id) in [("nobody", "nobody"), ("no id", ""), ("the member", &member)] {
            for off in [-2, -1, 0, 1, 1_000] {
                let request = heartbeat(&group, id, generation + off);
                run.send(format!("{label}, {off} off, stable {stable}"), &request)?;
            }
        }
        let given: &[(&str, &[u8])] = &[(&member, b"all")];
        run.send("sync", &assigning(sync(&group, &member, generation), given))?;
    }
    run.send("leave", &leave_all(&group, &[(&member, None)]))?;
    run.send("one that left", &heartbeat(&group, &member, generation))?;
    run.send("nobody in an empty group", &heartbeat(&group, "", -1))?;
    Ok(())
}

fn named_heartbeats(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (member, generation) = enter(run, &group, Some("i1"))?;
    let named = |member: &str, name: &str, generation: i64| HeartbeatRequest {
        group_instance_id: Some(name.to_owned()),
        ..heartbeat(&group, member, generation)
    };
    for (who, id) in [("nobody", "nobody"), ("no id", ""), ("the member", &member)] {
        for name in ["i1", "i2", ""] {
            for off in [0, 1] {
                let request = named(id, name, generation + off);
                run.send(format!("{who}, name {name:?}, {off} off"), &request)?;
            }
        }
    }
    Ok(())
}

fn leaves(run: &mut Run<'_>) -> Result<()> {
    let [group, none] = ready(run, ["group", "none"])?;
    let version = run.version();
    for (label, odd) in odd_groups(run) {
        wait_for(run, &odd)?;
        run.send(label, &leave(version, &odd, "nobody"))?;
    }
    run.send("an unknown group", &leave(version, &none, "nobody"))?;
    run.send("an unknown group, no member", &leave(version, &none, ""))?;
    let (member, generation) = enter(run, &group, None)?;
    run.send("nobody", &leave(version, &group, "nobody"))?;
    run.send("no id", &leave(version, &group, ""))?;
    run.send("still there", &heartbeat(&group, &member, generation))?;
    run.send("the member", &leave(version, &group, &member))?;
    run.send("the member again", &leave(version, &group, &member))?;
    run.send("what is left", &describe(&[&group]))?;
    let (member, generation) = enter(run, &group, None)?;
    let given: &[(&str, &[u8])] = &[(&member, b"all")];
    run.send("sync", &assigning(sync(&group, &member, generation), given))?;
    run.send("a stable member", &leave(version, &group, &member))?;
    run.send("what is left now", &describe(&[&group]))?;
    Ok(())
}

fn batched_leaves(run: &mut Run<'_>) -> Result<()> {
    let [group, other] = ready(run, ["group", "other"])?;
    run.send("none of an unknown group", &leave_all(&other, &[]))?;
    run.send("two of an unknown group", &leave_all(&other, &[("a", None), ("b", Some("i"))]))?;
    let (member, generation) = enter(run, &group, Some("i1"))?;
    let cases: &[(&str, &[Leaving<'_>])] = &[
        ("none", &[]),
        ("unknown ones", &[("a", None), ("", None), ("", Some("i9")), ("b", Some("i9"))]),
        ("a known name, another id", &[("nobody", Some("i1"))]),
        ("another name, the id", &[(&member, Some("i9"))]),
        ("an empty name", &[("", Some(""))]),
        ("an unknown one twice", &[("a", None), ("a", None)]),
    ];
    for (label, members) in cases {
        run.send(*label, &leave_all(&group, members))?;
        run.send(format!("{label}: still there"), &heartbeat(&group, &member, generation))?;
    }
    let all = [("a", None), ("", Some("i1")), ("", Some("i1")), (member.as_str(), None)];
    run.send("some and some not", &leave_all(&group, &all))?;
    run.send("what is left", &describe(&[&group]))?;
    if run.version() >= 5 {
        let (member, _) = enter(run, &group, None)?;
        let mut request = leave_all(&group, &[(&member, None), ("a", None)]);
        request.members[0].reason = Some("r".repeat(5_000));
        request.members[1].reason = Some(String::new());
        run.send("with reasons", &request)?;
    }
    let (member, _) = enter(run, &group, Some("i1"))?;
    run.send("id and name", &leave_all(&group, &[(&member, Some("i1"))]))?;
    let (member, _) = enter(run, &group, Some("i1"))?;
    run.send("the id of a named one", &leave_all(&group, &[(&member, None)]))?;
    run.send("what is left in the end", &describe(&[&group]))?;
    Ok(())
}
