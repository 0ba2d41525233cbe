//! ConsumerGroupHeartbeat (key 68): groups whose assignment the broker makes (KIP-848).

use super::groups::{
    beat, consumer, describe_consumers, has_partitions, hurried, odd_groups, owning, ready,
    wait_for,
};
use super::requests::{TIMEOUT_MS, UNKNOWN_ID, set_group_config};
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::create_partitions_request::CreatePartitionsTopic;
use jocko_protocol::rpc::{
    ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, DeleteGroupsRequest,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "bad arguments", bad_arguments),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "a member", one_member),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "an id from the broker", given_id).until(0),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "epochs", epochs),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "several members", several),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "subscriptions", subscriptions),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "static members", static_members),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "assignors", assignors),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "not computed too often", intervals),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "settings of the group", settings),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "a topic that grows", growth),
];

/// Member ids that order as their numbers do.
pub(super) fn id(number: usize) -> String {
    format!("member-{number}")
}

fn bad_arguments(run: &mut Run<'_>) -> Result<()> {
    type Request = ConsumerGroupHeartbeatRequest;
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 1, &[])?;
    run.send("a blank group id", &consumer(" ", "a", &[&one.name]))?;
    run.ask(&beat(" ", "a", -1))?;
    run.ask(&delete(" "))?;
    for (label, odd) in odd_groups(run) {
        wait_for(run, &odd)?;
        run.send(label, &consumer(&odd, "a", &[&one.name]))?;
        run.send(format!("{label}, leaving"), &beat(&odd, "a", -1))?;
    }
    let join = || consumer(&group, "a", &[&one.name]);
    let cases: Vec<(&str, Request)> = vec![
        ("an unknown group", beat(&group, "a", 1)),
        ("an unknown group, leaving", beat(&group, "a", -1)),
        ("an unknown group, leaving for a while", beat(&group, "a", -2)),
        ("epoch -3", beat(&group, "a", -3)),
        ("epoch -3, joining in full", Request { member_epoch: -3, ..join() }),
        ("a blank id", consumer(&group, " ", &[&one.name])),
        ("an id of 36 letters", consumer(&group, &"x".repeat(36), &[&one.name])),
        ("an id of 37 letters", consumer(&group, &"x".repeat(37), &[&one.name])),
        ("no id, not joining", beat(&group, "", 1)),
        ("an empty instance", Request { instance_id: Some(String::new()), ..join() }),
        ("a blank instance", Request { instance_id: Some(" ".into()), ..join() }),
        ("an empty rack", Request { rack_id: Some(String::new()), ..join() }),
        ("a blank rack", Request { rack_id: Some(" ".into()), ..join() }),
        ("no rebalance timeout", Request { rebalance_timeout_ms: -1, ..join() }),
        ("a rebalance timeout of 0", Request { rebalance_timeout_ms: 0, ..join() }),
        ("no subscription", Request { subscribed_topic_names: None, ..join() }),
        ("no partitions", Request { topic_partitions: None, ..join() }),
        ("partitions while joining", owning(join(), &[(&one, &[0])])),
        ("no assignor", Request { server_assignor: Some(String::new()), ..join() }),
        ("an unknown assignor", Request { server_assignor: Some("sticky".into()), ..join() }),
        ("an assignor in capitals", Request { server_assignor: Some("RANGE".into()), ..join() }),
        ("leaving for a while without a name", beat(&group, "a", -2)),
    ];
    for (label, request) in cases {
        run.send(label, &request)?;
        let left = Request { member_epoch: -1, ..request };
        run.send(format!("{label}: leaving again"), &left)?;
    }
    if run.version() >= 1 {
        run.send("no id, joining", &consumer(&group, "", &[&one.name]))?;
    }
    run.send("what is there", &describe_consumers(&[&group]))?;
    Ok(())
}

/// Beats until the member is given something, or told that it has what it has.
fn settle(run: &mut Run<'_>, label: &str, group: &str, member: &str, epoch: i64) -> Result<i64> {
    let request = beat(group, member, epoch);
    let answer = run.send(label, &request)?;
    Ok(answer.int("/memberEpoch"))
}

fn one_member(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (one, two) = (run.create("one", 3, &[])?, run.create("two", 2, &[])?);
    hurried(run, &[&group])?;
    let names = [one.name.as_str(), two.name.as_str()];
    let joined = run.send("join", &consumer(&group, &id(1), &names))?;
    let epoch = joined.int("/memberEpoch");
    run.send("what is there", &describe_consumers(&[&group]))?;
    run.send("beat", &beat(&group, &id(1), epoch))?;
    let all: &[(&Topic, &[i32])] = &[(&one, &[0, 1, 2]), (&two, &[0, 1])];
    run.send("beat, owning all", &owning(beat(&group, &id(1), epoch), all))?;
    run.send("beat, owning some", &owning(beat(&group, &id(1), epoch), &all[1..]))?;
    run.send("beat, owning nothing", &owning(beat(&group, &id(1), epoch), &[]))?;
    let stranger = Topic { name: String::new(), id: UNKNOWN_ID };
    let strange: &[(&Topic, &[i32])] = &[(&stranger, &[0]), (&one, &[7])];
    run.send("beat, owning what is not", &owning(beat(&group, &id(1), epoch), strange))?;
    let full = consumer(&group, &id(1), &names);
    run.send("everything, again", &with_epoch(full.clone(), epoch))?;
    run.send("everything, owning all", &owning(with_epoch(full.clone(), epoch), all))?;
    run.send("join again", &full)?;
    run.send("what is there now", &describe_consumers(&[&group]))?;
    run.send("leave", &beat(&group, &id(1), -1))?;
    run.send("leave again", &beat(&group, &id(1), -1))?;
    run.send("beat after that", &beat(&group, &id(1), epoch))?;
    run.send("what is left", &describe_consumers(&[&group]))?;
    run.send("come back", &full)?;
    run.send("what is there in the end", &describe_consumers(&[&group]))?;
    Ok(())
}

pub(super) fn with_epoch(
    request: ConsumerGroupHeartbeatRequest,
    epoch: i64,
) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        member_epoch: i32::try_from(epoch).unwrap_or(i32::MIN),
        ..request
    }
}

fn given_id(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 1, &[])?;
    hurried(run, &[&group])?;
    let joined = run.send("join", &consumer(&group, "", &[&one.name]))?;
    let (member, epoch) = (joined.text("/memberId"), joined.int("/memberEpoch"));
    run.send("beat", &beat(&group, &member, epoch))?;
    run.send("what is there", &describe_consumers(&[&group]))?;
    let joined = run.send("another joins", &consumer(&group, "", &["none"]))?;
    run.send("the other leaves", &beat(&group, &joined.text("/memberId"), -1))?;
    run.send("it leaves", &beat(&group, &member, -1))?;
    Ok(())
}

fn epochs(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    hurried(run, &[&group])?;
    run.send("join", &consumer(&group, &id(1), &[&one.name]))?;
    for number in [i64::from(i32::MAX), 5, 3, 2, 1] {
        run.send(format!("epoch {number}"), &beat(&group, &id(1), number))?;
    }
    run.send("nobody", &beat(&group, "nobody", 1))?;
    run.send("nobody leaves", &beat(&group, "nobody", -1))?;
    run.send("nobody leaves for a while", &beat(&group, "nobody", -2))?;
    let resubscribed = |epoch: i64| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec!["elsewhere".into()]),
        ..beat(&group, &id(1), epoch)
    };
    let answer = run.send("other topics", &resubscribed(2))?;
    run.send("what is there", &describe_consumers(&[&group]))?;
    let epoch = answer.int("/memberEpoch");
    for off in [-2, -1, 0, 1] {
        run.send(format!("{off} off"), &beat(&group, &id(1), epoch + off))?;
        let all: &[(&Topic, &[i32])] = &[(&one, &[0, 1])];
        let request = owning(beat(&group, &id(1), epoch + off), all);
        run.send(format!("{off} off, owning all"), &request)?;
        run.send(
            format!("{off} off, owning nothing"),
            &owning(beat(&group, &id(1), epoch + off), &[]),
        )?;
    }
    run.send("what is there in the end", &describe_consumers(&[&group]))?;
    Ok(())
}

fn several(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (one, two) = (run.create("one", 4, &[])?, run.create("two", 3, &[])?);
    hurried(run, &[&group])?;
    let names = [one.name.as_str(), two.name.as_str()];
    let mut members: Vec<(String, i64)> = Vec::new();
    for number in 1..=3 {
        let member = id(number);
        // The other assignor goes by the topics' ids.
        let request = ConsumerGroupHeartbeatRequest {
            server_assignor: Some("range".into()),
            ..consumer(&group, &member, &names)
        };
        let joined = run.send(format!("{member} joins"), &request)?;
        members.push((member, joined.int("/memberEpoch")));
        run.send("what is there", &describe_consumers(&[&group]))?;
        rounds(run, &group, &mut members, [&one, &two])?;
        run.send("what is stable", &describe_consumers(&[&group]))?;
    }
    let (gone, _) = members.remove(1);
    run.send("one leaves", &beat(&group, &gone, -1))?;
    rounds(run, &group, &mut members, [&one, &two])?;
    run.send("what is there", &describe_consumers(&[&group]))?;
    for (member, _) in &members {
        run.send(format!("{member} leaves"), &beat(&group, member, -1))?;
    }
    run.send("what is left", &describe_consumers(&[&group]))?;
    Ok(())
}

/// Every member beats three times, owning at once what it is told.
fn rounds(
    run: &mut Run<'_>,
    group: &str,
    members: &mut [(String, i64)],
    topics: [&Topic; 2],
) -> Result<()> {
    for round in 0..3 {
        for (member, epoch) in members.iter_mut() {
            let label = format!("round {round}, {member}");
            let answer = run.send(&label, &beat(group, member, *epoch))?;
            *epoch = answer.int("/memberEpoch");
            let Some(given) = answer.0["assignment"]["topicPartitions"].as_array() else {
                continue;
            };
            let owned: Vec<(&Topic, Vec<i32>)> = given
                .iter()
                .filter_map(|each| {
                    let id = each["topicId"].as_str()?;
                    let topic = topics.into_iter().find(|topic| topic.id.to_string() == id)?;
                    let partitions = each["partitions"].as_array()?.iter();
                    let partitions = partitions.filter_map(serde_json::Value::as_i64);
                    Some((topic, partitions.filter_map(|each| i32::try_from(each).ok()).collect()))
                })
                .collect();
            let owned: Vec<(&Topic, &[i32])> =
                owned.iter().map(|(topic, each)| (*topic, each.as_slice())).collect();
            let request = owning(beat(group, member, *epoch), &owned);
            let answer = run.send(format!("{label}, owning that"), &request)?;
            *epoch = answer.int("/memberEpoch");
        }
    }
    Ok(())
}

fn subscriptions(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (one, two) = (run.create("one", 2, &[])?, run.create("two", 2, &[])?);
    let later = run.name("later");
    hurried(run, &[&group])?;
    let joined = run.send("to nothing", &consumer(&group, &id(1), &[]))?;
    let mut epoch = joined.int("/memberEpoch");
    let lists: &[&[&str]] = &[
        &[&one.name],
        &[&one.name],
        &[&one.name, &one.name],
        &[&two.name, &one.name],
        &[&one.name, &two.name],
        &[&later],
        &["", " ", "a/b"],
        &[],
        &[&one.name, &later],
    ];
    for (number, topics) in lists.iter().enumerate() {
        let request = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(topics.iter().map(ToString::to_string).collect()),
            ..beat(&group, &id(1), epoch)
        };
        epoch = run.send(format!("subscription {number}"), &request)?.int("/memberEpoch");
        let request = owning(beat(&group, &id(1), epoch), &[]);
        epoch = run
            .send(format!("subscription {number}, nothing owned"), &request)?
            .int("/memberEpoch");
        epoch = settle(run, &format!("subscription {number}: beat"), &group, &id(1), epoch)?;
        run.send(format!("subscription {number}: what is there"), &describe_consumers(&[&group]))?;
    }
    let all: &[(&Topic, &[i32])] = &[(&one, &[0, 1])];
    run.send("before a topic comes", &owning(beat(&group, &id(1), epoch), all))?;
    let came = run.create("later", 2, &[])?;
    let answer = run.until("a topic came", &beat(&group, &id(1), epoch), has_partitions)?;
    epoch = answer.int("/memberEpoch");
    run.send("what is there with it", &describe_consumers(&[&group]))?;
    run.delete(&came)?;
    run.until("a topic went", &beat(&group, &id(1), epoch), has_partitions)?;
    run.send("what is there without it", &describe_consumers(&[&group]))?;
    Ok(())
}

fn static_members(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 4, &[])?;
    hurried(run, &[&group])?;
    let named = |member: &str, instance: &str, epoch: i64| ConsumerGroupHeartbeatRequest {
        instance_id: Some(instance.to_owned()),
        ..with_epoch(consumer(&group, member, &[&one.name]), epoch)
    };
    let beats = |member: &str, instance: &str, epoch: i64| ConsumerGroupHeartbeatRequest {
        instance_id: Some(instance.to_owned()),
        ..beat(&group, member, epoch)
    };
    let epoch = run.send("join", &named(&id(1), "i1", 0))?.int("/memberEpoch");
    run.send("beat", &beats(&id(1), "i1", epoch))?;
    run.send("beat without a name", &beat(&group, &id(1), epoch))?;
    run.send("beat with another name", &beats(&id(1), "i2", epoch))?;
    run.send("another with its name", &named(&id(2), "i1", 0))?;
    run.send("another beats with its name", &beats(&id(2), "i1", epoch))?;
    run.send("another leaves with its name", &beats(&id(2), "i1", -1))?;
    run.send("another leaves for a while with its name", &beats(&id(2), "i1", -2))?;
    run.send("what is there", &describe_consumers(&[&group]))?;
    run.send("it leaves for a while", &beats(&id(1), "i1", -2))?;
    run.send("what is there meanwhile", &describe_consumers(&[&group]))?;
    run.send("it beats after that", &beats(&id(1), "i1", epoch))?;
    run.send("it leaves for a while again", &beats(&id(1), "i1", -2))?;
    let epoch = run.send("another takes its place", &named(&id(2), "i1", 0))?.int("/memberEpoch");
    run.send("the old one beats", &beats(&id(1), "i1", epoch))?;
    run.send("the old one leaves", &beats(&id(1), "i1", -1))?;
    run.send("the new one beats", &beats(&id(2), "i1", epoch))?;
    run.send("what is there after that", &describe_consumers(&[&group]))?;
    let epoch = run.send("a second joins", &named(&id(3), "i2", 0))?.int("/memberEpoch");
    run.send("the first beats", &beats(&id(2), "i1", epoch))?;
    run.send("the second leaves for good", &beats(&id(3), "i2", -1))?;
    run.send("the second comes back", &named(&id(3), "i2", 0))?;
    run.send("its id leaves without its name", &beat(&group, &id(3), -1))?;
    run.send("what is there in the end", &describe_consumers(&[&group]))?;
    Ok(())
}

fn assignors(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    // Which of two topics is shared out first depends on their ids, so there is one.
    let one = run.create("one", 8, &[])?;
    hurried(run, &[&group])?;
    let names = [one.name.as_str()];
    let with = |member: &str, assignor: Option<&str>| ConsumerGroupHeartbeatRequest {
        server_assignor: assignor.map(str::to_owned),
        ..consumer(&group, member, &names)
    };
    let wishes = [Some("range"), None, Some("range"), Some("uniform"), Some("uniform")];
    for (number, wish) in wishes.into_iter().enumerate() {
        let member = id(number);
        run.send(format!("{member} wants {wish:?}"), &with(&member, wish))?;
        run.send(format!("with {member}"), &describe_consumers(&[&group]))?;
    }
    let joined = run.send("the first again", &with(&id(0), None))?;
    let changed = ConsumerGroupHeartbeatRequest {
        server_assignor: Some("uniform".into()),
        ..beat(&group, &id(0), joined.int("/memberEpoch"))
    };
    run.send("the first has changed its mind", &changed)?;
    run.send("what is there", &describe_consumers(&[&group]))?;
    Ok(())
}

pub(super) fn delete(group: &str) -> DeleteGroupsRequest {
    DeleteGroupsRequest { groups_names: vec![group.to_owned()], ..Default::default() }
}

fn intervals(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    run.settle()?;
    let joined = run.send("first joins", &consumer(&group, &id(1), &[&one.name]))?;
    run.send("what is there", &describe_consumers(&[&group]))?;
    run.send("second joins within the interval", &consumer(&group, &id(2), &[&one.name]))?;
    run.send("what waits", &describe_consumers(&[&group]))?;
    let request = beat(&group, &id(1), joined.int("/memberEpoch"));
    run.until("first has to give back", &request, has_partitions)?;
    run.send("what is given back", &describe_consumers(&[&group]))?;
    Ok(())
}

/// What is set on a group is told to its members.
fn settings(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 1, &[])?;
    hurried(run, &[&group])?;
    let mut request = consumer(&group, &id(1), &[&one.name]);
    for (name, value) in [
        ("consumer.heartbeat.interval.ms", "5000"),
        ("consumer.heartbeat.interval.ms", "7000"),
        ("consumer.heartbeat.interval.ms", "15000"),
        ("consumer.session.timeout.ms", "60000"),
        ("consumer.heartbeat.interval.ms", "1"),
        ("consumer.heartbeat.interval.ms", "15001"),
        ("consumer.session.timeout.ms", "1"),
    ] {
        run.send(format!("{name}={value}"), &set_group_config(&group, name, value))?;
        run.settle()?;
        let answer = run.send(format!("{name}={value}: beat"), &request)?;
        request = beat(&group, &id(1), answer.int("/memberEpoch"));
    }
    Ok(())
}

fn growth(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 1, &[])?;
    hurried(run, &[&group])?;
    let joined = run.send("join", &consumer(&group, &id(1), &[&one.name]))?;
    let epoch = joined.int("/memberEpoch");
    run.send("beat", &owning(beat(&group, &id(1), epoch), &[(&one, &[0])]))?;
    let topic = CreatePartitionsTopic {
        name: one.name.clone(),
        count: 3,
        assignments: None,
        ..Default::default()
    };
    let grown = CreatePartitionsRequest {
        topics: vec![topic],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    run.send("the topic grows", &grown)?;
    let answer = run.until("all of it", &beat(&group, &id(1), epoch), has_partitions)?;
    let epoch = answer.int("/memberEpoch");
    run.send("beat with all", &owning(beat(&group, &id(1), epoch), &[(&one, &[0, 1, 2])]))?;
    run.send("what is there", &describe_consumers(&[&group]))?;
    Ok(())
}
