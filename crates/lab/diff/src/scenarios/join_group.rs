//! JoinGroup (key 11): becoming, and staying, a member of a classic group (KIP-62, 345, 394, 814).

use super::groups::{
    REBALANCE, admit, assigning, describe, heartbeat, join, knock, leave_all, odd_groups,
    protocols, ready, subscription, sync,
};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::JoinGroupRequest;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::JoinGroup, "bad arguments", bad_arguments),
    Scenario::new(ApiKey::JoinGroup, "a first member", first_member),
    Scenario::new(ApiKey::JoinGroup, "two members", two_members),
    Scenario::new(ApiKey::JoinGroup, "dialects", dialects),
    Scenario::new(ApiKey::JoinGroup, "who speaks what", mismatches),
    Scenario::new(ApiKey::JoinGroup, "static members", static_members).since(5),
    Scenario::new(ApiKey::JoinGroup, "static members in a rebalance", static_rebalance).since(5),
    Scenario::new(ApiKey::JoinGroup, "ids that were given out", pending_ids).since(4),
    Scenario::new(ApiKey::JoinGroup, "clients that say little", clients),
    Scenario::new(ApiKey::JoinGroup, "odd dialects and timeouts", odd_members),
];

fn bad_arguments(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    for (label, odd) in odd_groups(run) {
        super::groups::wait_for(run, &odd)?;
        run.send(label, &join(&odd, "nobody"))?;
    }
    for session in [i32::MIN, -1, 0, 1, 5_999, 1_800_001, i32::MAX] {
        let request = JoinGroupRequest { session_timeout_ms: session, ..join(&group, "nobody") };
        run.send(format!("a session of {session}"), &request)?;
        run.send(format!("a session of {session}, no id"), &with_id(request, ""))?;
    }
    for session in [6_000, 1_800_000] {
        let request = JoinGroupRequest { session_timeout_ms: session, ..join(&group, "nobody") };
        run.send(format!("a session of {session}"), &request)?;
    }
    run.send("an unknown member", &join(&group, "nobody"))?;
    let none = JoinGroupRequest { protocols: Vec::new(), ..join(&group, "nobody") };
    run.send("no dialects", &none)?;
    run.send("no dialects, no id", &with_id(none, ""))?;
    let typeless = JoinGroupRequest { protocol_type: String::new(), ..join(&group, "nobody") };
    run.send("no type", &typeless)?;
    run.send("no type, no id", &with_id(typeless, ""))?;
    run.send("what is there", &describe(&[&group]))?;
    Ok(())
}

fn with_id(request: JoinGroupRequest, member: &str) -> JoinGroupRequest {
    JoinGroupRequest { member_id: member.to_owned(), ..request }
}

fn first_member(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let joined = admit(run, "join", &join(&group, ""))?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    run.send("what is there", &describe(&[&group]))?;
    run.send("heartbeat before the assignment", &heartbeat(&group, &member, generation))?;
    let again = run.send("join again, the same", &join(&group, &member))?;
    let generation = again.int("/generationId");
    let request = assigning(sync(&group, &member, generation), &[(&member, b"what it gets")]);
    run.send("sync", &request)?;
    run.send("what is stable", &describe(&[&group]))?;
    run.send("heartbeat", &heartbeat(&group, &member, generation))?;
    let again = run.send("join again, as the leader", &join(&group, &member))?;
    let generation = again.int("/generationId");
    run.send("sync that brings nothing", &sync(&group, &member, generation))?;
    let other = JoinGroupRequest {
        protocols: protocols(&[
            ("range", &subscription(1, &["u"], &[])),
            ("roundrobin", &subscription(0, &["v", "w"], &[])),
        ]),
        ..join(&group, &member)
    };
    let again = run.send("join again, otherwise", &other)?;
    run.send("what it says now", &describe(&[&group]))?;
    let generation = again.int("/generationId");
    run.send("sync", &assigning(sync(&group, &member, generation), &[(&member, b"x")]))?;
    run.send("leave", &leave_all(&group, &[(&member, None)]))?;
    run.send("what is left", &describe(&[&group]))?;
    run.send("come back with the old id", &join(&group, &member))?;
    let joined = admit(run, "come back as somebody new", &join(&group, ""))?;
    run.send("sync", &sync(&group, &joined.text("/memberId"), joined.int("/generationId")))?;
    run.send("what is there in the end", &describe(&[&group]))?;
    Ok(())
}

fn two_members(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let joined = admit(run, "first joins", &join(&group, ""))?;
    let (first, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    run.send("first syncs", &assigning(sync(&group, &first, generation), &[(&first, b"all")]))?;
    run.on_connection(1);
    knock(run, "second joins", &join(&group, ""))?;
    run.on_connection(0);
    let told = |answer: &crate::Answer| answer.int("/errorCode") == REBALANCE;
    run.until("first is told", &heartbeat(&group, &first, generation), told)?;
    run.send("what waits", &describe(&[&group]))?;
    run.send("first syncs too late", &sync(&group, &first, generation))?;
    let joined = run.send("first joins again", &join(&group, &first))?;
    let generation = joined.int("/generationId");
    run.on_connection(1);
    let second = run.collect()?.text("/memberId");
    run.send("what awaits the assignment", &describe(&[&group]))?;
    run.send("second is told nothing", &heartbeat(&group, &second, generation))?;
    run.post("second syncs", &sync(&group, &second, generation))?;
    run.on_connection(0);
    let given: &[(&str, &[u8])] = &[(&first, b"half"), (&second, b"other half")];
    run.send("first assigns", &assigning(sync(&group, &first, generation), given))?;
    run.on_connection(1);
    run.collect()?;
    run.send("what is stable", &describe(&[&group]))?;
    run.send("second asks again", &sync(&group, &second, generation))?;
    run.send("second joins again, the same", &join(&group, &second))?;
    run.on_connection(2);
    knock(run, "third joins", &join(&group, ""))?;
    run.on_connection(0);
    run.until("first is told", &heartbeat(&group, &first, generation), told)?;
    run.post("first joins again", &join(&group, &first))?;
    run.on_connection(1);
    // By the second's joining the rebalance is over: the other two are collected after it.
    let joined = run.send("second joins again", &join(&group, &second))?;
    let generation = joined.int("/generationId");
    run.on_connection(0);
    run.collect()?;
    run.on_connection(2);
    let third = run.collect()?.text("/memberId");
    run.on_connection(0);
    let given: &[(&str, &[u8])] = &[(&first, b"1"), (&third, b"3"), ("nobody", b"?")];
    run.send("first assigns to some", &assigning(sync(&group, &first, generation), given))?;
    run.on_connection(1);
    run.send("second gets nothing", &sync(&group, &second, generation))?;
    run.on_connection(2);
    run.send("third gets some", &sync(&group, &third, generation))?;
    run.send("third leaves", &leave_all(&group, &[(&third, None)]))?;
    run.send("the leader leaves", &leave_all(&group, &[(&first, None)]))?;
    run.on_connection(0);
    run.send("it is gone", &heartbeat(&group, &first, generation))?;
    run.on_connection(1);
    run.send("second is told", &heartbeat(&group, &second, generation))?;
    run.send("second joins again", &join(&group, &second))?;
    run.send("what is there in the end", &describe(&[&group]))?;
    Ok(())
}

fn dialects(run: &mut Run<'_>) -> Result<()> {
    let plain = subscription(1, &["t"], &[]);
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("the first's first", &["a", "b"], &["a", "b"]),
        ("a common one", &["a", "b"], &["b", "c"]),
        ("votes that are even", &["a", "b"], &["b", "a"]),
        ("votes that are even, three ways", &["x", "y", "z"], &["z", "y", "x"]),
    ];
    for (number, (label, first, second)) in cases.iter().enumerate() {
        let [group] = ready(run, [format!("group{number}").as_str()])?;
        let speaks = |names: &[&str], member: &str| {
            let each: Vec<(&str, &[u8])> =
                names.iter().map(|name| (*name, plain.as_slice())).collect();
            JoinGroupRequest { protocols: protocols(&each), ..join(&group, member) }
        };
        run.on_connection(0);
        let joined = admit(run, &format!("{label}: first joins"), &speaks(first, ""))?;
        let (one, generation) = (joined.text("/memberId"), joined.int("/generationId"));
        run.on_connection(1);
        knock(run, &format!("{label}: second joins"), &speaks(second, ""))?;
        run.on_connection(0);
        let told = |answer: &crate::Answer| answer.int("/errorCode") == REBALANCE;
        run.until(format!("{label}: told"), &heartbeat(&group, &one, generation), told)?;
        run.send(format!("{label}: first joins again"), &speaks(first, &one))?;
        run.on_connection(1);
        run.collect()?;
        run.send(format!("{label}: what is there"), &describe(&[&group]))?;
    }
    Ok(())
}

fn mismatches(run: &mut Run<'_>) -> Result<()> {
    let [group, opaque] = ready(run, ["group", "opaque"])?;
    let joined = admit(run, "join", &join(&group, ""))?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let other_type =
        |member: &str| JoinGroupRequest { protocol_type: "connect".into(), ..join(&group, member) };
    let other_dialect = |member: &str| JoinGroupRequest {
        protocols: protocols(&[("sticky", b"")]),
        ..join(&group, member)
    };
    run.on_connection(1);
    for (label, request) in [("type", other_type("")), ("dialect", other_dialect(""))] {
        run.send(format!("another {label}"), &request)?;
        run.send(format!("another {label}, unknown"), &with_id(request, "nobody"))?;
    }
    run.on_connection(0);
    run.send("another type, the member itself", &other_type(&member))?;
    run.send("another dialect, the member itself", &other_dialect(&member))?;
    run.send("what is there", &describe(&[&group]))?;
    run.send("leave", &leave_all(&group, &[(&member, None)]))?;
    run.send("heartbeat of one that left", &heartbeat(&group, &member, generation))?;
    let joined = admit(run, "another type in an empty group", &other_type(""))?;
    let request = sync(&group, &joined.text("/memberId"), joined.int("/generationId"));
    run.send("sync of another type", &request)?;
    run.send("what is there now", &describe(&[&group]))?;
    let connect = JoinGroupRequest {
        protocol_type: "connect".into(),
        protocols: protocols(&[("sessioned", &[0, 1, 2, 255]), ("compatible", &[])]),
        ..join(&opaque, "")
    };
    let joined = admit(run, "a worker joins", &connect)?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let request = jocko_protocol::rpc::SyncGroupRequest {
        protocol_type: Some("connect".into()),
        protocol_name: Some("sessioned".into()),
        ..assigning(sync(&opaque, &member, generation), &[(&member, &[9, 8, 7])])
    };
    run.send("a worker assigns", &request)?;
    run.send("what the workers are", &describe(&[&opaque]))?;
    Ok(())
}

fn named(group: &str, member: &str, instance: &str) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(instance.to_owned()), ..join(group, member) }
}

fn static_members(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    run.send("an unknown id with a name", &named(&group, "nobody", "i1"))?;
    run.send("an empty name", &named(&group, "", ""))?;
    let [group] = ready(run, ["group2"])?;
    let joined = run.send("join", &named(&group, "", "i1"))?;
    let (first, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    run.send("sync", &assigning(sync(&group, &first, generation), &[(&first, b"all")]))?;
    run.send("what is stable", &describe(&[&group]))?;
    let joined = run.send("the same name comes back", &named(&group, "", "i1"))?;
    let second = joined.text("/memberId");
    let generation = joined.int("/generationId");
    run.send("the old id beats", &heartbeat(&group, &first, generation))?;
    let with_name = |member: &str, name: &str| jocko_protocol::rpc::HeartbeatRequest {
        group_instance_id: Some(name.to_owned()),
        ..heartbeat(&group, member, generation)
    };
    run.send("the old id beats with its name", &with_name(&first, "i1"))?;
    run.send("the new id beats with its name", &with_name(&second, "i1"))?;
    run.send("the new id beats with another name", &with_name(&second, "i2"))?;
    run.send("the old id joins", &named(&group, &first, "i1"))?;
    run.send("the old id joins without a name", &join(&group, &first))?;
    run.send("the new id syncs", &sync(&group, &second, generation))?;
    run.send("what is there", &describe(&[&group]))?;
    let other = JoinGroupRequest {
        protocols: protocols(&[("range", &subscription(0, &["u"], &[]))]),
        ..named(&group, "", "i1")
    };
    let joined = run.send("it comes back with another subscription", &other)?;
    let third = joined.text("/memberId");
    let generation = joined.int("/generationId");
    run.send("it syncs", &assigning(sync(&group, &third, generation), &[(&third, b"again")]))?;
    let other = JoinGroupRequest {
        protocols: protocols(&[
            ("cooperative", &subscription(1, &["u"], &[])),
            ("range", &subscription(0, &["u"], &[])),
        ]),
        ..named(&group, "", "i1")
    };
    let joined = run.send("it comes back with another dialect first", &other)?;
    let fourth = joined.text("/memberId");
    run.send("what is there now", &describe(&[&group]))?;
    run.send("it joins with its id", &named(&group, &fourth, "i1"))?;
    run.send("it joins with another name", &named(&group, &fourth, "i7"))?;
    run.send("an administrator removes it", &leave_all(&group, &[("", Some("i1"))]))?;
    run.send("it is gone", &named(&group, &fourth, "i1"))?;
    run.send("what is left", &describe(&[&group]))?;
    Ok(())
}

fn static_rebalance(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let joined = run.send("first joins", &named(&group, "", "i1"))?;
    let (first, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    run.send("the same name, while it is awaited", &named(&group, "", "i1"))?;
    run.send("the old id beats", &heartbeat(&group, &first, generation))?;
    let described = run.ask(&describe(&[&group]))?;
    let first = described.text("/groups/0/members/0/memberId");
    let joined = run.send("it joins again", &named(&group, &first, "i1"))?;
    let generation = joined.int("/generationId");
    run.send("it syncs", &assigning(sync(&group, &first, generation), &[(&first, b"all")]))?;
    run.on_connection(1);
    run.post("second joins", &named(&group, "", "i2"))?;
    run.on_connection(0);
    let told = |answer: &crate::Answer| answer.int("/errorCode") == REBALANCE;
    run.until("first is told", &heartbeat(&group, &first, generation), told)?;
    run.on_connection(2);
    run.post("the second's name joins again", &named(&group, "", "i2"))?;
    run.on_connection(1);
    run.collect()?;
    run.on_connection(0);
    let joined = run.send("first joins again", &named(&group, &first, "i1"))?;
    let generation = joined.int("/generationId");
    run.on_connection(2);
    let second = run.collect()?.text("/memberId");
    run.send("second beats", &heartbeat(&group, &second, generation))?;
    run.on_connection(1);
    run.post("the second's name joins once more", &named(&group, "", "i2"))?;
    run.on_connection(0);
    run.until("first is told again", &heartbeat(&group, &first, generation), told)?;
    run.send("the first's name joins once more", &named(&group, "", "i1"))?;
    run.on_connection(1);
    run.collect()?;
    run.send("the old second syncs", &sync(&group, &second, generation))?;
    run.send("what is there", &describe(&[&group]))?;
    Ok(())
}

fn pending_ids(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let given = run.send("an id is given out", &join(&group, ""))?.text("/memberId");
    run.send("another is given out", &join(&group, ""))?;
    run.send("what is there", &describe(&[&group]))?;
    run.send("the id beats", &heartbeat(&group, &given, -1))?;
    run.send("the id beats in generation 0", &heartbeat(&group, &given, 0))?;
    run.send("the id syncs", &sync(&group, &given, 0))?;
    run.send("the id leaves", &leave_all(&group, &[(&given, None)]))?;
    run.send("the id leaves again", &leave_all(&group, &[(&given, None)]))?;
    run.send("the id joins", &join(&group, &given))?;
    run.send("what is left", &describe(&[&group]))?;
    Ok(())
}

/// A dialect's name, and what is said in it.
type Dialect<'a> = (&'a str, &'a [u8]);

/// What a client calls itself is where its members' ids begin.
fn clients(run: &mut Run<'_>) -> Result<()> {
    let groups = ready(run, ["nobody", "blank", "odd", "named"])?;
    let names = [None, Some(""), Some("caf\u{e9} /-"), None];
    for (number, (group, name)) in groups.iter().zip(names).enumerate() {
        run.call_itself(name);
        let is_named = number == 3 && run.version() >= 5;
        let request = JoinGroupRequest {
            group_instance_id: is_named.then(|| "i1".to_owned()),
            ..join(group, "")
        };
        let joined = admit(run, &format!("{name:?} joins"), &request)?;
        let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
        run.send(format!("{name:?}: what is there"), &describe(&[group]))?;
        let given: &[(&str, &[u8])] = &[(&member, b"all")];
        run.send(format!("{name:?} syncs"), &assigning(sync(group, &member, generation), given))?;
        run.send(format!("{name:?}: what is stable"), &describe(&[group]))?;
    }
    Ok(())
}

fn odd_members(run: &mut Run<'_>) -> Result<()> {
    let many: Vec<String> = (0..300).map(|number| format!("d{number}")).collect();
    let many: Vec<Dialect<'_>> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    // One that is named twice is left out: Kafka never answers.
    let dialects: &[(&str, &[Dialect<'_>])] = &[
        ("one without a name", &[("", b"a")]),
        ("no words", &[("range", b"")]),
        ("letters beyond ASCII", &[("caf\u{e9}", b"a")]),
        ("three hundred", &many),
    ];
    let mut cases: Vec<(String, JoinGroupRequest)> = dialects
        .iter()
        .map(|(label, each)| {
            let request = JoinGroupRequest { protocols: protocols(each), ..join("", "") };
            ((*label).to_owned(), request)
        })
        .collect();
    if run.version() >= 1 {
        // A short one ends while we look.
        let request = JoinGroupRequest { rebalance_timeout_ms: i32::MAX, ..join("", "") };
        cases.push(("a long rebalance timeout".to_owned(), request));
    }
    if run.version() >= 8 {
        for (label, reason) in [("no", ""), ("a", "because"), ("a long", &"r".repeat(5_000))] {
            let request = JoinGroupRequest { reason: Some(reason.to_owned()), ..join("", "") };
            cases.push((format!("{label} reason"), request));
        }
    }
    for (number, (label, request)) in cases.into_iter().enumerate() {
        let [group] = ready(run, [format!("group{number}").as_str()])?;
        let request = JoinGroupRequest { group_id: group.clone(), ..request };
        let name = request.protocols.first().map(|first| first.name.clone());
        let joined = admit(run, &label, &request)?;
        let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
        let given: &[(&str, &[u8])] = &[(&member, b"all")];
        let request = jocko_protocol::rpc::SyncGroupRequest {
            protocol_name: name,
            ..assigning(sync(&group, &member, generation), given)
        };
        run.send(format!("{label}: sync"), &request)?;
        run.send(format!("{label}: what is there"), &describe(&[&group]))?;
    }
    Ok(())
}
