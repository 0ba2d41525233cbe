//! Groups that change between the classic and the consumer protocol while they have members
//! (KIP-848), and groups of one protocol that meet requests of the other.

use super::groups::{
    admit, assigning, assignment, beat, commit, commit_topic, consumer, describe,
    describe_consumers, heartbeat, hurried, join, leave, leave_all, owning, protocols, ready,
    subscription, sync,
};
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, SyncGroupRequest,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::JoinGroup, "to the consumer protocol and back", there_and_back),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "a classic group", upgrades),
    Scenario::new(ApiKey::JoinGroup, "a consumer group", joins_of_consumers),
    Scenario::new(ApiKey::SyncGroup, "a consumer group", syncs_of_consumers),
    Scenario::new(ApiKey::Heartbeat, "a consumer group", heartbeats_of_consumers),
    Scenario::new(ApiKey::LeaveGroup, "a consumer group", leaves_of_consumers),
    Scenario::new(ApiKey::JoinGroup, "an empty group of the other kind", empty_groups),
    Scenario::new(ApiKey::JoinGroup, "a static member changes sides", static_sides).since(5),
];

const MODERN: &str = "memberAAAAAAAAAAAAAAA1";

fn subscribed(group: &str, member: &str, topic: &Topic, owned: &[i32]) -> JoinGroupRequest {
    let owned: &[(&str, &[i32])] =
        if owned.is_empty() { &[] } else { &[(topic.name.as_str(), owned)] };
    JoinGroupRequest {
        protocols: protocols(&[("range", &subscription(1, &[&topic.name], owned))]),
        ..join(group, member)
    }
}

/// A classic group of one that has both partitions of a topic: member and generation.
fn classic(run: &mut Run<'_>, group: &str, topic: &Topic) -> Result<(String, i64)> {
    let joined = admit(run, "classic joins", &subscribed(group, "", topic, &[]))?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let all = assignment(1, &[(&topic.name, &[0, 1])]);
    let given: &[(&str, &[u8])] = &[(&member, &all)];
    run.send("classic syncs", &assigning(sync(group, &member, generation), given))?;
    Ok((member, generation))
}

fn look(run: &mut Run<'_>, label: &str, group: &str) -> Result<()> {
    run.send(format!("{label}: as a classic group"), &describe(&[group]))?;
    run.send(format!("{label}: as a consumer group"), &describe_consumers(&[group]))?;
    Ok(())
}

fn there_and_back(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    hurried(run, &[&group])?;
    let (old, generation) = classic(run, &group, &one)?;
    let committed = commit(&group, vec![commit_topic(&one, &[(0, 3), (1, 4)])]);
    let by_old = jocko_protocol::rpc::OffsetCommitRequest {
        member_id: old.clone(),
        generation_id_or_member_epoch: i32::try_from(generation)?,
        ..committed
    };
    run.send("it commits", &by_old)?;
    look(run, "classic", &group)?;
    let joined = run.send("a consumer joins", &consumer(&group, MODERN, &[&one.name]))?;
    let mut epoch = joined.int("/memberEpoch");
    look(run, "both", &group)?;
    run.send("classic commits", &by_old)?;
    run.send("classic is told", &heartbeat(&group, &old, generation))?;
    run.send("classic syncs too early", &sync(&group, &old, generation))?;
    let joined = run.send("classic joins, owning all", &subscribed(&group, &old, &one, &[0, 1]))?;
    let generation = joined.int("/generationId");
    run.send("classic syncs", &sync(&group, &old, generation))?;
    look(run, "to be given back", &group)?;
    run.send("classic is told again", &heartbeat(&group, &old, generation))?;
    let kept = run.ask(&describe_consumers(&[&group]))?;
    let target = kept.0["groups"][0]["members"].as_array().and_then(|members| {
        let own = members.iter().find(|each| each["memberId"] == old.as_str())?;
        own["targetAssignment"]["topicPartitions"][0]["partitions"][0].as_i64()
    });
    let keeps = i32::try_from(target.unwrap_or(0))?;
    let joined =
        run.send("classic joins, owning half", &subscribed(&group, &old, &one, &[keeps]))?;
    let generation = joined.int("/generationId");
    run.send("classic syncs", &sync(&group, &old, generation))?;
    run.send("classic beats", &heartbeat(&group, &old, generation))?;
    epoch = run.send("the consumer beats", &beat(&group, MODERN, epoch))?.int("/memberEpoch");
    let gets: &[(&Topic, &[i32])] = &[(&one, &[1 - keeps])];
    run.send("the consumer owns half", &owning(beat(&group, MODERN, epoch), gets))?;
    look(run, "half and half", &group)?;
    run.send("the consumer leaves", &beat(&group, MODERN, -1))?;
    look(run, "classic again", &group)?;
    run.send("classic is told once more", &heartbeat(&group, &old, generation))?;
    let joined = run.send("classic joins again", &subscribed(&group, &old, &one, &[0]))?;
    let generation = joined.int("/generationId");
    let all = assignment(1, &[(&one.name, &[0, 1])]);
    let given: &[(&str, &[u8])] = &[(&old, &all)];
    run.send("classic assigns", &assigning(sync(&group, &old, generation), given))?;
    run.send("classic beats", &heartbeat(&group, &old, generation))?;
    look(run, "in the end", &group)?;
    Ok(())
}

fn upgrades(run: &mut Run<'_>) -> Result<()> {
    let groups = ready(run, ["stable", "awaited", "workers", "unread", "user", "left"])?;
    let one = run.create("one", 2, &[])?;
    let each: Vec<&str> = groups.iter().map(String::as_str).collect();
    hurried(run, &each)?;
    let [stable, awaited, workers, unread, user, left] = &groups;
    let (old, generation) = classic(run, stable, &one)?;
    admit(run, "one that waits joins", &subscribed(awaited, "", &one, &[]))?;
    let worker = JoinGroupRequest { protocol_type: "connect".into(), ..join(workers, "") };
    admit(run, "a worker joins", &worker)?;
    let unreadable =
        JoinGroupRequest { protocols: protocols(&[("range", b"?")]), ..join(unread, "") };
    let joined = admit(run, "one that cannot be read joins", &unreadable)?;
    let member = joined.text("/memberId");
    let given: &[(&str, &[u8])] = &[(&member, b"?")];
    run.send("it syncs", &assigning(sync(unread, &member, joined.int("/generationId")), given))?;
    let joined = admit(run, "one with words of its own joins", &subscribed(user, "", &one, &[]))?;
    let member = joined.text("/memberId");
    let mut words = assignment(1, &[(&one.name, &[0])]);
    let at = words.len() - 4;
    words.splice(at.., [0, 0, 0, 2, 7, 7]);
    let given: &[(&str, &[u8])] = &[(&member, &words)];
    run.send("it syncs", &assigning(sync(user, &member, joined.int("/generationId")), given))?;
    let (gone, _) = classic(run, left, &one)?;
    run.send("it leaves", &leave_all(left, &[(&gone, None)]))?;
    for (label, group) in [
        ("stable", stable),
        ("awaited", awaited),
        ("workers", workers),
        ("unread", unread),
        ("user", user),
        ("left", left),
    ] {
        run.send(format!("{label}: beat"), &beat(group, MODERN, 1))?;
        run.send(format!("{label}: leave"), &beat(group, MODERN, -1))?;
        // This assignor goes by the members' ids, whose first letters are known.
        let request = ConsumerGroupHeartbeatRequest {
            server_assignor: Some("range".into()),
            ..consumer(group, MODERN, &[&one.name])
        };
        run.send(format!("{label}: join"), &request)?;
        look(run, label, group)?;
    }
    run.send("the consumer acts for the other", &beat(stable, &old, generation))?;
    let request =
        ConsumerGroupHeartbeatRequest { member_id: old, ..consumer(stable, "", &[&one.name]) };
    run.send("the other changes its protocol", &request)?;
    look(run, "all have changed", stable)?;
    Ok(())
}

/// A consumer group of one.
fn modern(run: &mut Run<'_>, group: &str, topic: &Topic) -> Result<i64> {
    hurried(run, &[group])?;
    let joined = run.send("a consumer joins", &consumer(group, MODERN, &[&topic.name]))?;
    Ok(joined.int("/memberEpoch"))
}

fn joins_of_consumers(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    modern(run, &group, &one)?;
    let ordinary = |member: &str| subscribed(&group, member, &one, &[]);
    run.send("an unknown member", &ordinary("nobody"))?;
    run.send("the consumer's id", &ordinary(MODERN))?;
    let worker =
        |member: &str| JoinGroupRequest { protocol_type: "connect".into(), ..ordinary(member) };
    run.send("a worker", &worker(""))?;
    let silent = JoinGroupRequest { protocols: Vec::new(), ..ordinary("") };
    run.send("no dialects", &silent)?;
    let unread = JoinGroupRequest { protocols: protocols(&[("range", b"?")]), ..ordinary("") };
    run.send("an unreadable subscription", &unread)?;
    let short = JoinGroupRequest { session_timeout_ms: 1, ..ordinary("") };
    run.send("a session too short", &short)?;
    look(run, "before", &group)?;
    let joined = admit(run, "one joins", &ordinary(""))?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    look(run, "it joined", &group)?;
    run.send("it syncs", &sync(&group, &member, generation))?;
    run.send("it joins again", &ordinary(&member))?;
    run.send("it joins as a worker", &worker(&member))?;
    let other = JoinGroupRequest {
        protocols: protocols(&[
            ("sticky", &subscription(0, &["elsewhere"], &[])),
            ("range", &subscription(3, &["elsewhere"], &[])),
        ]),
        ..ordinary(&member)
    };
    run.send("it joins with other topics", &other)?;
    look(run, "other topics", &group)?;
    run.send("it leaves", &leave_all(&group, &[(&member, None)]))?;
    look(run, "in the end", &group)?;
    Ok(())
}

fn syncs_of_consumers(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    let epoch = modern(run, &group, &one)?;
    run.send("nobody", &sync(&group, "nobody", epoch))?;
    run.send("the consumer", &sync(&group, MODERN, epoch))?;
    let joined = admit(run, "one joins", &subscribed(&group, "", &one, &[]))?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    for off in [-1, 1] {
        run.send(format!("{off} off"), &sync(&group, &member, generation + off))?;
    }
    if run.version() >= 5 {
        let request = SyncGroupRequest {
            protocol_name: Some("sticky".into()),
            ..sync(&group, &member, generation)
        };
        run.send("another dialect", &request)?;
        let request = SyncGroupRequest {
            protocol_type: Some("connect".into()),
            ..sync(&group, &member, generation)
        };
        run.send("another type", &request)?;
    }
    let given: &[(&str, &[u8])] = &[(&member, b"what it wants")];
    run.send("right", &assigning(sync(&group, &member, generation), given))?;
    run.send("right again", &sync(&group, &member, generation))?;
    Ok(())
}

fn heartbeats_of_consumers(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    let epoch = modern(run, &group, &one)?;
    run.send("nobody", &heartbeat(&group, "nobody", epoch))?;
    run.send("the consumer", &heartbeat(&group, MODERN, epoch))?;
    let joined = admit(run, "one joins", &subscribed(&group, "", &one, &[]))?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    run.send("before it syncs", &heartbeat(&group, &member, generation))?;
    run.send("it syncs", &sync(&group, &member, generation))?;
    for off in [-1, 0, 1] {
        run.send(format!("{off} off"), &heartbeat(&group, &member, generation + off))?;
        if run.version() >= 3 {
            let request = HeartbeatRequest {
                group_instance_id: Some("i1".into()),
                ..heartbeat(&group, &member, generation + off)
            };
            run.send(format!("{off} off, named"), &request)?;
        }
    }
    let answer = run.send("the consumer gives back", &owning(beat(&group, MODERN, epoch), &[]))?;
    run.send("there is something free", &heartbeat(&group, &member, generation))?;
    run.send("the consumer beats", &beat(&group, MODERN, answer.int("/memberEpoch")))?;
    look(run, "in the end", &group)?;
    Ok(())
}

fn leaves_of_consumers(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    modern(run, &group, &one)?;
    let version = run.version();
    run.send("nobody", &leave(version, &group, "nobody"))?;
    run.send("no id", &leave(version, &group, ""))?;
    let joined = admit(run, "one joins", &subscribed(&group, "", &one, &[]))?;
    let member = joined.text("/memberId");
    run.send("it leaves", &leave(version, &group, &member))?;
    run.send("it leaves again", &leave(version, &group, &member))?;
    let named = ConsumerGroupHeartbeatRequest {
        instance_id: Some("i1".into()),
        ..consumer(&group, "memberAAAAAAAAAAAAAAA2", &[&one.name])
    };
    run.send("a named consumer joins", &named)?;
    if version >= 3 {
        let each = [("", Some("i9")), ("nobody", Some("i1")), ("", Some("i1")), ("", Some("i1"))];
        run.send("by name", &leave_all(&group, &each))?;
    }
    run.send("the consumer", &leave(version, &group, MODERN))?;
    look(run, "in the end", &group)?;
    Ok(())
}

fn empty_groups(run: &mut Run<'_>) -> Result<()> {
    let [up, down, simple] = ready(run, ["up", "down", "simple"])?;
    let one = run.create("one", 2, &[])?;
    hurried(run, &[&up])?;
    let (member, _) = classic(run, &up, &one)?;
    run.send("it leaves", &leave_all(&up, &[(&member, None)]))?;
    run.send("a consumer joins after it", &consumer(&up, MODERN, &[&one.name]))?;
    look(run, "up", &up)?;
    modern(run, &down, &one)?;
    run.send("the consumer leaves", &beat(&down, MODERN, -1))?;
    look(run, "left", &down)?;
    admit(run, "classic joins after it", &subscribed(&down, "", &one, &[]))?;
    look(run, "down", &down)?;
    run.send("somebody commits", &commit(&simple, vec![commit_topic(&one, &[(0, 3)])]))?;
    run.send("a consumer joins a simple group", &consumer(&simple, MODERN, &[&one.name]))?;
    look(run, "simple", &simple)?;
    Ok(())
}

fn static_sides(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    hurried(run, &[&group])?;
    let named = |member: &str| JoinGroupRequest {
        group_instance_id: Some("i1".into()),
        ..subscribed(&group, member, &one, &[])
    };
    let joined = run.send("classic joins", &named(""))?;
    let (old, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let all = assignment(1, &[(&one.name, &[0, 1])]);
    let given: &[(&str, &[u8])] = &[(&old, &all)];
    run.send("classic syncs", &assigning(sync(&group, &old, generation), given))?;
    let up = ConsumerGroupHeartbeatRequest {
        instance_id: Some("i1".into()),
        ..consumer(&group, MODERN, &[&one.name])
    };
    run.send("its name comes as a consumer", &up)?;
    look(run, "consumer", &group)?;
    run.send("the old one beats", &heartbeat(&group, &old, generation))?;
    let joined = run.send("its name comes back", &named(""))?;
    look(run, "classic", &group)?;
    let (new, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    run.send("it syncs", &sync(&group, &new, generation))?;
    run.send("it beats", &heartbeat(&group, &new, generation))?;
    run.send(
        "the consumer beats",
        &ConsumerGroupHeartbeatRequest {
            instance_id: Some("i1".into()),
            ..beat(&group, MODERN, 1)
        },
    )?;
    look(run, "in the end", &group)?;
    Ok(())
}
