//! OffsetCommit (key 8), OffsetFetch (key 9) and OffsetDelete (key 47): how far groups have read.

use super::groups::{
    REBALANCE, admit, assigning, beat, commit, commit_topic, consumer, describe,
    describe_consumers, fetch_group, fetch_offsets, heartbeat, hurried, join, knock, leave_all,
    odd_groups, protocols, ready, subscription, sync, wait_for,
};
use super::requests::UNKNOWN_ID;
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::offset_commit_request::OffsetCommitRequestTopic;
use jocko_protocol::rpc::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use jocko_protocol::rpc::offset_fetch_request::OffsetFetchRequestGroup;
use jocko_protocol::rpc::{
    ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, JoinGroupRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::OffsetCommit, "by nobody", commits_by_nobody),
    Scenario::new(ApiKey::OffsetCommit, "a group without a name", nameless).alone(),
    Scenario::new(ApiKey::OffsetCommit, "topics and words", commit_places),
    Scenario::new(ApiKey::OffsetCommit, "by members", commits_by_members),
    Scenario::new(ApiKey::OffsetCommit, "by named members", commits_by_names).since(7),
    Scenario::new(ApiKey::OffsetCommit, "by consumers", commits_by_consumers),
    Scenario::new(ApiKey::OffsetCommit, "while others join", commits_in_rebalance),
    Scenario::new(ApiKey::OffsetFetch, "one group", fetches),
    Scenario::new(ApiKey::OffsetFetch, "many groups", fetches_of_many).since(8),
    Scenario::new(ApiKey::OffsetFetch, "by members", fetches_by_members).since(9),
    Scenario::new(ApiKey::OffsetFetch, "topics that went", fetches_of_gone_topics),
    Scenario::new(ApiKey::OffsetDelete, "offsets", deletes),
    Scenario::new(ApiKey::OffsetDelete, "subscribed topics", deletes_of_subscribed),
];

/// A topic, and partitions of it.
type Places<'a, T> = (T, &'a [i32]);

/// A topic that does not exist, by its name.
fn missing(run: &Run<'_>) -> Topic {
    Topic { name: run.name("missing"), id: UNKNOWN_ID }
}

/// Reads back everything that a group has.
fn look(run: &mut Run<'_>, label: &str, group: &str) -> Result<()> {
    let version = run.version_of(ApiKey::OffsetFetch).max(2);
    if run.api() == ApiKey::OffsetFetch && run.version() < 2 {
        return Ok(());
    }
    run.send(format!("{label}: what is there"), &fetch_offsets(version, group, None))?;
    Ok(())
}

fn by(request: OffsetCommitRequest, member: &str, generation: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        member_id: member.to_owned(),
        generation_id_or_member_epoch: i32::try_from(generation).unwrap_or(-1),
        ..request
    }
}

fn commits_by_nobody(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    for (label, odd) in odd_groups(run).into_iter().filter(|(_, odd)| !odd.is_empty()) {
        wait_for(run, &odd)?;
        run.send(label, &commit(&odd, vec![commit_topic(&one, &[(0, 1)])]))?;
    }
    run.send("no topic", &commit(&group, vec![]))?;
    run.send("no partition", &commit(&group, vec![commit_topic(&one, &[])]))?;
    let request = commit(&group, vec![commit_topic(&one, &[(0, 5), (1, 6)])]);
    for generation in [0, 1, -2] {
        let label = format!("nobody's generation {generation}, no group");
        run.send(label, &by(request.clone(), "", generation))?;
    }
    run.send("an unknown member, no group", &by(request.clone(), "nobody", -1))?;
    look(run, "before", &group)?;
    run.send("nobody", &request)?;
    look(run, "after", &group)?;
    for offset in [7, 3, 0, -1, -2, i64::MIN, i64::MAX] {
        run.send(
            format!("offset {offset}"),
            &commit(&group, vec![commit_topic(&one, &[(0, offset)])]),
        )?;
        look(run, &format!("offset {offset}"), &group)?;
    }
    for (member, generation) in [("", 0), ("", 1), ("nobody", -1), ("nobody", 0), ("nobody", 1)] {
        let label = format!("{member:?} in generation {generation}");
        run.send(label, &by(request.clone(), member, generation))?;
    }
    look(run, "in the end", &group)?;
    Ok(())
}

/// The one group that all runs share.
fn nameless(run: &mut Run<'_>) -> Result<()> {
    wait_for(run, "")?;
    let one = run.create("one", 2, &[])?;
    look(run, "before", "")?;
    run.send("commit", &commit("", vec![commit_topic(&one, &[(0, 1), (1, 2)])]))?;
    run.send("by a member", &by(commit("", vec![commit_topic(&one, &[(0, 3)])]), "a", 1))?;
    look(run, "after", "")?;
    run.send("describe", &describe(&[""]))?;
    run.send("describe as a consumer group", &describe_consumers(&[""]))?;
    run.send("delete an offset", &delete("", &[(&one.name, &[0])]))?;
    look(run, "in the end", "")?;
    let all = DeleteGroupsRequest { groups_names: vec![String::new()], ..Default::default() };
    run.send("delete it", &all)?;
    run.send("delete it again", &all)?;
    look(run, "gone", "")?;
    Ok(())
}

fn commit_places(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (one, two) = (run.create("one", 2, &[])?, run.create("two", 1, &[])?);
    let gone = missing(run);
    run.send("an unknown topic", &commit(&group, vec![commit_topic(&gone, &[(0, 1), (1, 2)])]))?;
    run.send(
        "unknown partitions",
        &commit(&group, vec![commit_topic(&one, &[(-1, 1), (2, 1), (i32::MAX, 1)])]),
    )?;
    look(run, "nothing", &group)?;
    run.send(
        "some and some not",
        &commit(
            &group,
            vec![
                commit_topic(&two, &[(0, 2)]),
                commit_topic(&gone, &[(0, 3)]),
                commit_topic(&one, &[(5, 4), (1, 5)]),
            ],
        ),
    )?;
    run.send("a partition twice", &commit(&group, vec![commit_topic(&one, &[(0, 6), (0, 7)])]))?;
    run.send(
        "a topic twice",
        &commit(&group, vec![commit_topic(&one, &[(0, 8)]), commit_topic(&one, &[(1, 9)])]),
    )?;
    look(run, "some", &group)?;
    for (label, name) in super::requests::bad_names() {
        let bad = Topic { name, id: jocko_types::Uuid::ZERO };
        run.send(label, &commit(&group, vec![commit_topic(&bad, &[(0, 1)])]))?;
    }
    let words = |text: Option<String>| {
        let mut topic = commit_topic(&one, &[(0, 10), (1, 11)]);
        topic.partitions[0].committed_metadata = text;
        commit(&group, vec![topic])
    };
    let texts = [
        ("null", None),
        ("some", Some("some words".to_owned())),
        ("4095 letters", Some("w".repeat(4_095))),
        ("4096 letters", Some("w".repeat(4_096))),
        ("4097 letters", Some("w".repeat(4_097))),
        ("4096 letters of two bytes", Some("\u{e9}".repeat(4_096))),
        ("2049 letters of four bytes", Some("\u{1f600}".repeat(2_049))),
    ];
    for (label, text) in texts {
        run.send(format!("words: {label}"), &words(text))?;
        look(run, label, &group)?;
    }
    for epoch in [-2, -1, 0, 5, i32::MAX] {
        let mut topic: OffsetCommitRequestTopic = commit_topic(&two, &[(0, 12)]);
        if run.version() >= 6 {
            topic.partitions[0].committed_leader_epoch = epoch;
        }
        run.send(format!("epoch {epoch}"), &commit(&group, vec![topic]))?;
        look(run, &format!("epoch {epoch}"), &group)?;
    }
    if run.version() <= 4 {
        for retention in [-2, -1, 0, 1, 60_000] {
            let request = OffsetCommitRequest {
                retention_time_ms: retention,
                ..commit(&group, vec![commit_topic(&two, &[(0, 13)])])
            };
            run.send(format!("kept for {retention}"), &request)?;
            look(run, &format!("kept for {retention}"), &group)?;
        }
    }
    Ok(())
}

fn commits_by_members(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    let request = commit(&group, vec![commit_topic(&one, &[(0, 1), (1, 2)])]);
    let joined = admit(run, "join", &join(&group, ""))?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    for stable in [false, true] {
        for (who, id) in [("nobody", "nobody"), ("no id", ""), ("the member", &member)] {
            for number in [-2, -1, 0, 1, 2] {
                let label = format!("{who} in generation {number}, stable {stable}");
                run.send(label, &by(request.clone(), id, number))?;
            }
        }
        look(run, &format!("stable {stable}"), &group)?;
        let given: &[(&str, &[u8])] = &[(&member, b"all")];
        run.send("sync", &assigning(sync(&group, &member, generation), given))?;
    }
    let gone = missing(run);
    run.send(
        "an unknown topic, a wrong generation",
        &by(commit(&group, vec![commit_topic(&gone, &[(0, 1)])]), &member, generation + 1),
    )?;
    run.send(
        "a known and an unknown topic, a wrong generation",
        &by(
            commit(&group, vec![commit_topic(&gone, &[(0, 1)]), commit_topic(&one, &[(0, 1)])]),
            &member,
            generation + 1,
        ),
    )?;
    run.send("leave", &leave_all(&group, &[(&member, None)]))?;
    run.send("one that left", &by(request.clone(), &member, generation))?;
    run.send("nobody, now", &request)?;
    look(run, "in the end", &group)?;
    Ok(())
}

fn commits_by_names(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    let request = |name: &str, member: &str, generation: i64| OffsetCommitRequest {
        group_instance_id: Some(name.to_owned()),
        ..by(commit(&group, vec![commit_topic(&one, &[(0, 1)])]), member, generation)
    };
    run.send("a name, no group", &request("i1", "", -1))?;
    let named = JoinGroupRequest { group_instance_id: Some("i1".into()), ..join(&group, "") };
    let joined = admit(run, "join", &named)?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let given: &[(&str, &[u8])] = &[(&member, b"all")];
    run.send("sync", &assigning(sync(&group, &member, generation), given))?;
    for name in ["i1", "i2", ""] {
        for (who, id) in [("nobody", "nobody"), ("no id", ""), ("the member", &member)] {
            for number in [-1, generation, generation + 1] {
                let label = format!("{name:?}: {who} in generation {number}");
                run.send(label, &request(name, id, number))?;
            }
        }
    }
    Ok(())
}

fn commits_by_consumers(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    hurried(run, &[&group])?;
    let joined = run.send("join", &consumer(&group, "memberAAAAAAAAAAAAAAA1", &[&one.name]))?;
    let (member, epoch) = (joined.text("/memberId"), joined.int("/memberEpoch"));
    let request = commit(&group, vec![commit_topic(&one, &[(0, 1), (1, 2)])]);
    for (who, id) in [("nobody", "nobody"), ("no id", ""), ("the member", &member)] {
        for number in [-2, -1, 0, 1, epoch, epoch + 1] {
            let label = format!("{who} at epoch {number}");
            run.send(label, &by(request.clone(), id, number))?;
            if run.version() >= 7 {
                let named = OffsetCommitRequest {
                    group_instance_id: Some("i1".into()),
                    ..by(request.clone(), id, number)
                };
                run.send(format!("{who} at epoch {number}, named"), &named)?;
            }
        }
    }
    look(run, "members", &group)?;
    run.send("leave", &beat(&group, &member, -1))?;
    run.send("nobody, now", &request)?;
    run.send("one that left", &by(request.clone(), &member, epoch))?;
    look(run, "in the end", &group)?;
    Ok(())
}

/// A member may save what it has read until it joins again.
fn commits_in_rebalance(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    let at = |offset| commit(&group, vec![commit_topic(&one, &[(0, offset), (1, offset)])]);
    let joined = admit(run, "first joins", &join(&group, ""))?;
    let (first, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let given: &[(&str, &[u8])] = &[(&first, b"all")];
    run.send("first syncs", &assigning(sync(&group, &first, generation), given))?;
    run.on_connection(1);
    let given_out = knock(run, "second joins", &join(&group, ""))?;
    run.on_connection(0);
    run.until("first is told", &heartbeat(&group, &first, generation), |answer| {
        answer.int("/errorCode") == REBALANCE
    })?;
    for off in [-1, 0, 1] {
        let request = by(at(10 + off), &first, generation + off);
        run.send(format!("first, {off} off"), &request)?;
    }
    run.send("second, before it is in", &by(at(20), &given_out, generation))?;
    run.send("nobody", &at(21))?;
    look(run, "meanwhile", &group)?;
    let joined = run.send("first joins again", &join(&group, &first))?;
    let next = joined.int("/generationId");
    run.on_connection(1);
    let second = run.collect()?.text("/memberId");
    for (who, id) in [("first", &first), ("second", &second)] {
        for generation in [generation, next] {
            let request = by(at(30 + generation), id, generation);
            run.send(format!("{who}, generation {generation}, before the sync"), &request)?;
        }
    }
    look(run, "in the end", &group)?;
    Ok(())
}

fn fetches(run: &mut Run<'_>) -> Result<()> {
    let [group, none] = ready(run, ["group", "none"])?;
    let (one, two) = (run.create("one", 3, &[])?, run.create("two", 1, &[])?);
    let (gone, version) = (missing(run), run.version());
    let committed = vec![commit_topic(&one, &[(0, 5), (2, 7)]), commit_topic(&two, &[(0, 9)])];
    run.send("commit", &commit(&group, committed))?;
    let cases: &[(&str, &[Places<'_, &Topic>])] = &[
        ("no topic", &[]),
        ("no partition", &[(&one, &[])]),
        ("one", &[(&one, &[0])]),
        ("all there are", &[(&one, &[0, 1, 2]), (&two, &[0])]),
        ("backwards", &[(&two, &[0]), (&one, &[2, 1, 0])]),
        ("unknown partitions", &[(&one, &[3, -1, i32::MAX])]),
        ("an unknown topic", &[(&gone, &[0, 1])]),
        ("a known and an unknown one", &[(&gone, &[0]), (&two, &[0])]),
        ("a partition twice", &[(&one, &[0, 0])]),
        ("a topic twice", &[(&one, &[0]), (&one, &[2])]),
    ];
    for (label, name) in super::requests::bad_names() {
        let bad = Topic { name, id: jocko_types::Uuid::ZERO };
        let request = fetch_offsets(version, &group, Some(&[(&bad, &[0][..]), (&two, &[0])]));
        run.send(label, &request)?;
    }
    let mut groups = vec![("a group", group.clone()), ("an unknown group", none)];
    groups.extend(odd_groups(run));
    for (which, name) in &groups {
        wait_for(run, name)?;
        for (label, topics) in cases {
            for require_stable in [false, true] {
                if require_stable && version < 7 {
                    continue;
                }
                let request = OffsetFetchRequest {
                    require_stable,
                    ..fetch_offsets(version, name, Some(topics))
                };
                run.send(format!("{which}: {label}, stable {require_stable}"), &request)?;
            }
        }
        if version >= 2 {
            run.send(format!("{which}: all"), &fetch_offsets(version, name, None))?;
        }
    }
    Ok(())
}

fn fetches_of_many(run: &mut Run<'_>) -> Result<()> {
    let [first, second, none] = ready(run, ["first", "second", "none"])?;
    let one = run.create("one", 2, &[])?;
    run.send("commit", &commit(&first, vec![commit_topic(&one, &[(0, 5)])]))?;
    run.send("commit", &commit(&second, vec![commit_topic(&one, &[(1, 6)])]))?;
    let of =
        |groups: Vec<OffsetFetchRequestGroup>| OffsetFetchRequest { groups, ..Default::default() };
    let all: &[i32] = &[0, 1];
    let (topics, topic) = (Some(&[(&one, all)][..]), &one);
    run.send("none", &of(vec![]))?;
    run.send("two", &of(vec![fetch_group(&first, topics), fetch_group(&second, topics)]))?;
    run.send(
        "all of one, some of the other",
        &of(vec![fetch_group(&first, None), fetch_group(&second, Some(&[(topic, &[1])]))]),
    )?;
    run.send(
        "one and an unknown one",
        &of(vec![fetch_group(&first, None), fetch_group(&none, None)]),
    )?;
    run.send(
        "one and an empty one",
        &of(vec![fetch_group(&first, None), fetch_group("", topics)]),
    )?;
    run.send("one twice", &of(vec![fetch_group(&first, None), fetch_group(&first, topics)]))?;
    Ok(())
}

fn fetches_by_members(run: &mut Run<'_>) -> Result<()> {
    let [classic, modern, none] = ready(run, ["classic", "modern", "none"])?;
    let one = run.create("one", 2, &[])?;
    hurried(run, &[&modern])?;
    let joined = admit(run, "join", &join(&classic, ""))?;
    let (old, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let given: &[(&str, &[u8])] = &[(&old, b"all")];
    run.send("sync", &assigning(sync(&classic, &old, generation), given))?;
    let joined = run.send("join", &consumer(&modern, "memberAAAAAAAAAAAAAAA1", &[&one.name]))?;
    let (new, epoch) = (joined.text("/memberId"), joined.int("/memberEpoch"));
    let offsets = || vec![commit_topic(&one, &[(0, 5)])];
    run.send("commit", &by(commit(&classic, offsets()), &old, generation))?;
    run.send("commit", &by(commit(&modern, offsets()), &new, epoch))?;
    for (which, group, member, right) in [
        ("classic", &classic, &old, generation),
        ("modern", &modern, &new, epoch),
        ("none", &none, &new, 1),
    ] {
        for id in [None, Some(""), Some("nobody"), Some(member.as_str())] {
            for number in [-2, -1, 0, right, right + 1] {
                for topics in [None, Some(&[(&one, &[0, 1][..])][..])] {
                    let asked = OffsetFetchRequestGroup {
                        member_id: id.map(str::to_owned),
                        member_epoch: i32::try_from(number)?,
                        ..fetch_group(group, topics)
                    };
                    let who = match id {
                        Some(id) if id == member.as_str() => "the member",
                        Some(id) => id,
                        None => "null",
                    };
                    let label = format!("{which}: {who:?} at {number}, all {}", topics.is_none());
                    let request = OffsetFetchRequest { groups: vec![asked], ..Default::default() };
                    run.send(label, &request)?;
                }
            }
        }
    }
    Ok(())
}

fn fetches_of_gone_topics(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (one, two) = (run.create("one", 1, &[])?, run.create("two", 1, &[])?);
    let version = run.version();
    let committed = vec![commit_topic(&one, &[(0, 5)]), commit_topic(&two, &[(0, 9)])];
    run.send("commit", &commit(&group, committed))?;
    run.delete(&one)?;
    let of_gone = fetch_offsets(version, &group, Some(&[(&one, &[0]), (&two, &[0])]));
    run.until("a topic that went", &of_gone, |answer| !answer.0.to_string().contains(":5,"))?;
    look(run, "without it", &group)?;
    let again = run.create("one", 1, &[])?;
    run.send("a topic that came back", &fetch_offsets(version, &group, Some(&[(&again, &[0])])))?;
    run.send("commit again", &commit(&group, vec![commit_topic(&again, &[(0, 6)])]))?;
    run.send("what it has now", &fetch_offsets(version, &group, Some(&[(&again, &[0])])))?;
    run.send("by its old id", &fetch_offsets(version, &group, Some(&[(&one, &[0])])))?;
    look(run, "with it", &group)?;
    Ok(())
}

fn delete(group: &str, topics: &[(&str, &[i32])]) -> OffsetDeleteRequest {
    let partition = |index: &i32| OffsetDeleteRequestPartition { partition_index: *index };
    let topic = |(name, partitions): &(&str, &[i32])| OffsetDeleteRequestTopic {
        name: (*name).to_owned(),
        partitions: partitions.iter().map(partition).collect(),
    };
    OffsetDeleteRequest { group_id: group.to_owned(), topics: topics.iter().map(topic).collect() }
}

fn deletes(run: &mut Run<'_>) -> Result<()> {
    let [group, none] = ready(run, ["group", "none"])?;
    let (one, two) = (run.create("one", 3, &[])?, run.create("two", 1, &[])?);
    let gone = missing(run);
    let committed = vec![commit_topic(&one, &[(0, 5), (2, 7)]), commit_topic(&two, &[(0, 9)])];
    run.send("commit", &commit(&group, committed))?;
    let cases: &[(&str, &[Places<'_, &str>])] = &[
        ("no topic", &[]),
        ("no partition", &[(&one.name, &[])]),
        ("an unknown topic", &[(&gone.name, &[0, 1])]),
        ("unknown partitions", &[(&one.name, &[3, -1])]),
        ("one that has none", &[(&one.name, &[1])]),
        ("an empty name", &[("", &[0])]),
        ("one", &[(&one.name, &[0])]),
        ("it again", &[(&one.name, &[0])]),
        ("a partition twice", &[(&one.name, &[2, 2])]),
        ("a topic twice", &[(&one.name, &[0]), (&one.name, &[2])]),
        ("some and some not", &[(&gone.name, &[0]), (&two.name, &[0, 7])]),
        ("a group that has none left", &[(&two.name, &[0])]),
    ];
    let mut groups = vec![("an unknown group", none)];
    groups.extend(odd_groups(run));
    groups.push(("the group", group));
    for (which, name) in &groups {
        wait_for(run, name)?;
        for (label, topics) in cases {
            run.send(format!("{which}: {label}"), &delete(name, topics))?;
            if *which == "the group" {
                look(run, label, name)?;
            }
        }
    }
    Ok(())
}

fn deletes_of_subscribed(run: &mut Run<'_>) -> Result<()> {
    let [classic, opaque, modern] = ready(run, ["classic", "opaque", "modern"])?;
    let (one, two) = (run.create("one", 1, &[])?, run.create("two", 1, &[])?);
    hurried(run, &[&modern])?;
    let topics = || vec![commit_topic(&one, &[(0, 5)]), commit_topic(&two, &[(0, 6)])];
    for group in [&classic, &opaque, &modern] {
        run.send("commit", &commit(group, topics()))?;
    }
    let request = JoinGroupRequest {
        protocols: protocols(&[("range", &subscription(0, &[&one.name], &[]))]),
        ..join(&classic, "")
    };
    let joined = admit(run, "join", &request)?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let both: &[(&str, &[i32])] = &[(&one.name, &[0]), (&two.name, &[0])];
    run.send("while it is awaited", &delete(&classic, &[(&one.name, &[0])]))?;
    let given: &[(&str, &[u8])] = &[(&member, b"all")];
    run.send("sync", &assigning(sync(&classic, &member, generation), given))?;
    run.send("classic, stable", &delete(&classic, both))?;
    look(run, "classic", &classic)?;
    let worker = JoinGroupRequest { protocol_type: "connect".into(), ..join(&opaque, "") };
    let joined = admit(run, "a worker joins", &worker)?;
    run.send("of workers", &delete(&opaque, both))?;
    run.send("leave", &leave_all(&opaque, &[(&joined.text("/memberId"), None)]))?;
    run.send("when they have gone", &delete(&opaque, both))?;
    look(run, "opaque", &opaque)?;
    let joined = run.send("join", &consumer(&modern, "memberAAAAAAAAAAAAAAA1", &[&one.name]))?;
    run.send("modern, stable", &delete(&modern, both))?;
    look(run, "modern", &modern)?;
    run.send("leave", &beat(&modern, &joined.text("/memberId"), -1))?;
    run.send("modern, empty", &delete(&modern, both))?;
    look(run, "modern, empty", &modern)?;
    let [matching] = ready(run, ["matching"])?;
    hurried(run, &[&matching])?;
    run.send("commit", &commit(&matching, topics()))?;
    let by_expression = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(one.name.clone()),
        ..consumer(&matching, "memberAAAAAAAAAAAAAAA1", &[])
    };
    super::topic_expressions::follow(run, by_expression, &[&one])?;
    run.send("what an expression matches", &delete(&matching, both))?;
    look(run, "what an expression matches", &matching)?;
    Ok(())
}
