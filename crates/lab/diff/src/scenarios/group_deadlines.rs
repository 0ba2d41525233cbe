//! What becomes of members that do not do in time what they are to do, of either protocol, and of
//! what is too much to write down.

use super::groups::{
    REBALANCE, admit, assigning, beat, commit, commit_topic, consumer, describe,
    describe_consumers, fetch_offsets, has_partitions, heartbeat, hurried, join, knock, leave_all,
    protocols, ready, subscription, sync,
};
use crate::run::{Answer, Run};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::{ConsumerGroupHeartbeatRequest, JoinGroupRequest, SyncGroupRequest};

pub(super) const SCENARIOS: &[Scenario] = &[
    // Before version 1 there was one timeout for both, of six seconds at least.
    Scenario::new(ApiKey::JoinGroup, "those who do not join again", late_to_join).since(1),
    Scenario::new(ApiKey::SyncGroup, "those who do not sync", late_to_sync),
    Scenario::new(ApiKey::Heartbeat, "those who are not heard of", silent).since(4),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "those who do not give back", holding),
    Scenario::new(ApiKey::JoinGroup, "too much to write down", too_much_to_join).since(8),
    Scenario::new(ApiKey::OffsetCommit, "too much to write down", too_much_to_commit).since(9),
];

/// Short enough to wait for, and long enough for what must be done in time.
const SHORT_MS: i32 = 1_500;
/// The shortest session that is taken.
const SESSION_MIN_MS: i32 = 6_000;
/// More than the topic of the groups takes at once.
const TOO_MANY_BYTES: usize = 1_100_000;

fn hasty(request: JoinGroupRequest) -> JoinGroupRequest {
    JoinGroupRequest { rebalance_timeout_ms: SHORT_MS, ..request }
}

fn is_told(answer: &Answer) -> bool {
    answer.int("/errorCode") == REBALANCE
}

fn late_to_join(run: &mut Run<'_>) -> Result<()> {
    for instance in [None, Some("i1")] {
        if instance.is_some() && run.version() < 5 {
            continue;
        }
        run.on_connection(0);
        let who = instance.map_or("plain", |_| "static");
        let [group] = ready(run, [who])?;
        let first = JoinGroupRequest {
            group_instance_id: instance.map(str::to_owned),
            ..hasty(join(&group, ""))
        };
        let joined = admit(run, &format!("{who}: first joins"), &first)?;
        let (first, generation) = (joined.text("/memberId"), joined.int("/generationId"));
        let given: &[(&str, &[u8])] = &[(&first, b"all")];
        let request = assigning(sync(&group, &first, generation), given);
        run.send(format!("{who}: first syncs"), &request)?;
        run.on_connection(1);
        knock(run, &format!("{who}: second joins"), &hasty(join(&group, "")))?;
        run.on_connection(0);
        let request = heartbeat(&group, &first, generation);
        run.until(format!("{who}: first is told"), &request, is_told)?;
        run.on_connection(1);
        let joined = run.collect()?;
        let (second, next) = (joined.text("/memberId"), joined.int("/generationId"));
        run.send(format!("{who}: what is there"), &describe(&[&group]))?;
        for (generation, which) in [(generation, "old"), (next, "new")] {
            let request = heartbeat(&group, &first, generation);
            run.send(format!("{who}: first in the {which} generation"), &request)?;
        }
        let request = assigning(sync(&group, &second, next), &[(&second, b"all"), (&first, b"-")]);
        run.send(format!("{who}: second syncs"), &request)?;
        run.send(format!("{who}: what is stable"), &describe(&[&group]))?;
        run.send(format!("{who}: second leaves"), &leave_all(&group, &[(&second, None)]))?;
        run.send(format!("{who}: what is left"), &describe(&[&group]))?;
    }
    Ok(())
}

fn late_to_sync(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let joined = admit(run, "first joins", &hasty(join(&group, "")))?;
    let (first, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    run.on_connection(1);
    knock(run, "second joins", &hasty(join(&group, "")))?;
    run.on_connection(0);
    run.until("first is told", &heartbeat(&group, &first, generation), is_told)?;
    let joined = run.send("first joins again", &hasty(join(&group, &first)))?;
    let generation = joined.int("/generationId");
    run.on_connection(1);
    let second = run.collect()?.text("/memberId");
    // The leader never brings the assignment that this waits for.
    run.send("second syncs", &sync(&group, &second, generation))?;
    run.send("what is there", &describe(&[&group]))?;
    run.send("first syncs too late", &sync(&group, &first, generation))?;
    run.send("first beats", &heartbeat(&group, &first, generation))?;
    run.send("second beats", &heartbeat(&group, &second, generation))?;
    let joined = run.send("second joins again", &hasty(join(&group, &second)))?;
    let request = sync(&group, &second, joined.int("/generationId"));
    run.send("second assigns", &assigning(request, &[(&second, b"all")]))?;
    run.send("what is there in the end", &describe(&[&group]))?;
    Ok(())
}

fn silent(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let short = |request: JoinGroupRequest| JoinGroupRequest {
        session_timeout_ms: SESSION_MIN_MS,
        ..request
    };
    let given_out = run.send("an id is given out", &short(join(&group, "")))?.text("/memberId");
    let named =
        JoinGroupRequest { group_instance_id: Some("i1".into()), ..short(join(&group, "")) };
    let joined = run.send("one with a name joins", &named)?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let given: &[(&str, &[u8])] = &[(&member, b"all")];
    run.send("it syncs", &assigning(sync(&group, &member, generation), given))?;
    run.until("nobody is left", &describe(&[&group]), |answer| {
        answer.text("/groups/0/groupState") == "Empty"
    })?;
    run.send("it beats", &heartbeat(&group, &member, generation))?;
    run.send("it syncs too late", &sync(&group, &member, generation))?;
    run.send("the id that was given out", &join(&group, &given_out))?;
    run.send("the name comes back", &named)?;
    run.send("what is there", &describe(&[&group]))?;
    Ok(())
}

fn holding(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 2, &[])?;
    hurried(run, &[&group])?;
    let hasty = |member: &str| ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: SHORT_MS,
        server_assignor: Some("range".into()),
        ..consumer(&group, member, &[&one.name])
    };
    let first = run.send("first joins", &hasty("member-1"))?.int("/memberEpoch");
    let second = run.send("second joins", &hasty("member-2"))?.int("/memberEpoch");
    run.send("first is told", &beat(&group, "member-1", first))?;
    run.send("what it has to give back", &describe_consumers(&[&group]))?;
    let answer = run.until("second gets all", &beat(&group, "member-2", second), has_partitions)?;
    run.send("first beats", &beat(&group, "member-1", first))?;
    run.send("first leaves", &beat(&group, "member-1", -1))?;
    run.send("second beats", &beat(&group, "member-2", answer.int("/memberEpoch")))?;
    run.send("what is there", &describe_consumers(&[&group]))?;
    Ok(())
}

fn too_much_to_join(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let words = vec![b'w'; TOO_MANY_BYTES];
    // What it says of its own, in place of nothing, stands at the end.
    let mut told = subscription(0, &["t"], &[]);
    told.truncate(told.len() - 4);
    told.extend(i32::try_from(words.len())?.to_be_bytes());
    told.extend(&words);
    let long = JoinGroupRequest { protocols: protocols(&[("range", &told)]), ..join(&group, "") };
    let joined = admit(run, "join", &long)?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let given: &[(&str, &[u8])] = &[(&member, b"all")];
    run.send("sync", &assigning(sync(&group, &member, generation), given))?;
    run.send("leave", &leave_all(&group, &[(&member, None)]))?;
    let [group] = ready(run, ["other"])?;
    let joined = admit(run, "another joins", &join(&group, ""))?;
    let (member, generation) = (joined.text("/memberId"), joined.int("/generationId"));
    let given: &[(&str, &[u8])] = &[(&member, &words)];
    let request: SyncGroupRequest = assigning(sync(&group, &member, generation), given);
    run.send("it assigns too much", &request)?;
    run.send("it beats", &heartbeat(&group, &member, generation))?;
    run.send("what is there", &describe(&[&group]))?;
    Ok(())
}

fn too_much_to_commit(run: &mut Run<'_>) -> Result<()> {
    const WORDS_MAX: usize = 4_096;
    let [group] = ready(run, ["group"])?;
    let one = run.create("one", 1, &[])?;
    let many = vec![(0, 5); TOO_MANY_BYTES / WORDS_MAX + 1];
    let mut topic = commit_topic(&one, &many);
    for partition in &mut topic.partitions {
        partition.committed_metadata = Some("w".repeat(WORDS_MAX));
    }
    run.send("commit", &commit(&group, vec![topic]))?;
    let version = run.version_of(ApiKey::OffsetFetch);
    run.send("what is there", &fetch_offsets(version, &group, None))?;
    Ok(())
}
