//! Fetch (key 1) with sessions: only what changed is said (KIP-227, KIP-516).

use super::requests::{UNKNOWN_ID, fetch, fetch_from, fetch_topic, produce};
use crate::batches;
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::FetchRequest;
use jocko_protocol::rpc::fetch_request::{FetchPartition, ForgottenTopic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Fetch, "sessions", sessions).since(7),
    Scenario::new(ApiKey::Fetch, "session epochs", epochs).since(7),
    Scenario::new(ApiKey::Fetch, "sessions that forget", forgetting).since(7),
    Scenario::new(ApiKey::Fetch, "sessions and topics that come and go", coming_and_going).since(7),
    Scenario::new(ApiKey::Fetch, "the order within a session", order).since(7),
];

fn within(session_id: i64, session_epoch: i32, request: FetchRequest<'_>) -> FetchRequest<'_> {
    let session_id = i32::try_from(session_id).unwrap_or(-1);
    FetchRequest { session_id, session_epoch, ..request }
}

fn nothing() -> FetchRequest<'static> {
    FetchRequest { max_bytes: 1 << 20, ..Default::default() }
}

fn forget(topic: &Topic, partitions: Vec<i32>) -> ForgottenTopic<'_> {
    ForgottenTopic { topic: &topic.name, topic_id: topic.id, partitions, ..Default::default() }
}

fn sessions(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 3, &[])?;
    let batch = batches::plain(run.time(), &["a"]);
    let all: Vec<FetchPartition> = (0..3).map(|partition| fetch_from(partition, 0)).collect();
    let id = run.send("open", &within(0, 0, fetch(&topic, all)))?.int("/sessionId");
    run.send("nothing new", &within(id, 1, nothing()))?;
    run.append(&topic, 1, &batch)?;
    run.send("one has records", &within(id, 2, nothing()))?;
    run.send("it still has: nobody moved on", &within(id, 3, nothing()))?;
    run.send("moved on", &within(id, 4, fetch(&topic, vec![fetch_from(1, 1)])))?;
    run.send("nothing new again", &within(id, 5, nothing()))?;
    run.send("an unknown partition joins", &within(id, 6, fetch(&topic, vec![fetch_from(9, 0)])))?;
    run.send("it is still unknown", &within(id, 7, nothing()))?;
    run.send("an offset beyond", &within(id, 8, fetch(&topic, vec![fetch_from(0, 50)])))?;
    run.send("it is still beyond", &within(id, 9, nothing()))?;
    run.send("back", &within(id, 10, fetch(&topic, vec![fetch_from(0, 0)])))?;
    run.on_connection(1);
    run.send("from another connection", &within(id, 11, nothing()))?;
    run.on_connection(0);
    let waiting = FetchRequest { max_wait_ms: 9_000, min_bytes: 1, ..nothing() };
    let without_error = FetchRequest {
        forgotten_topics_data: vec![forget(&topic, vec![9])],
        ..within(id, 12, nothing())
    };
    run.send("the unknown partition leaves", &without_error)?;
    run.post("a wait", &within(id, 13, waiting))?;
    run.on_connection(1);
    run.send("an append", &produce(&topic, 2, &batch))?;
    run.on_connection(0);
    run.collect()?;
    let full = fetch(&topic, vec![fetch_from(2, 0)]);
    run.send("close it with a full fetch", &within(id, -1, full))?;
    run.send("it is gone", &within(id, 14, nothing()))?;
    run.send("close it again", &within(id, -1, nothing()))?;
    Ok(())
}

fn epochs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let open = |topic| within(0, 0, fetch(topic, vec![fetch_from(0, 0)]));
    let id = run.send("open", &open(&topic))?.int("/sessionId");
    for epoch in [2, 7, -2, i32::MAX, i32::MIN] {
        run.send(format!("epoch {epoch} where 1 is due"), &within(id, epoch, nothing()))?;
    }
    run.send("epoch 1", &within(id, 1, nothing()))?;
    run.send("epoch 1 again", &within(id, 1, nothing()))?;
    run.send("epoch 3 where 2 is due", &within(id, 3, nothing()))?;
    run.send("epoch 2", &within(id, 2, nothing()))?;
    for (session, epoch) in [(0, 1), (0, 5), (-1, 1), (1 << 30, 1), (-5, 0), (0, -1), (0, -2)] {
        let request = within(session, epoch, fetch(&topic, vec![fetch_from(0, 0)]));
        run.send(format!("session {session}, epoch {epoch}"), &request)?;
    }
    let again =
        run.send("open with its id", &within(id, 0, fetch(&topic, vec![fetch_from(0, 0)])))?;
    run.send("the old one", &within(id, 3, nothing()))?;
    run.send("the new one", &within(again.int("/sessionId"), 1, nothing()))?;
    run.send("open with nothing", &within(0, 0, nothing()))?;
    let unknown = Topic { name: run.name("none"), id: UNKNOWN_ID };
    run.send("open with an unknown topic", &open(&unknown))?;
    Ok(())
}

fn forgetting(run: &mut Run<'_>) -> Result<()> {
    let (one, two) = (run.create("one", 3, &[])?, run.create("two", 1, &[])?);
    let batch = batches::plain(run.time(), &["a"]);
    let mut open = fetch(&one, vec![fetch_from(0, 0), fetch_from(1, 0), fetch_from(2, 0)]);
    open.topics.push(fetch_topic(&two, vec![fetch_from(0, 0)]));
    let id = run.send("open", &within(0, 0, open))?.int("/sessionId");
    for partition in 0..3 {
        run.append(&one, partition, &batch)?;
    }
    run.append(&two, 0, &batch)?;
    let forgetting = |forgotten| FetchRequest { forgotten_topics_data: forgotten, ..nothing() };
    run.send("one leaves", &within(id, 1, forgetting(vec![forget(&one, vec![1])])))?;
    run.send("it stays away", &within(id, 2, nothing()))?;
    run.send("one never in it leaves", &within(id, 3, forgetting(vec![forget(&one, vec![1, 8])])))?;
    let unknown = Topic { name: run.name("none"), id: UNKNOWN_ID };
    run.send(
        "an unknown topic leaves",
        &within(id, 4, forgetting(vec![forget(&unknown, vec![0])])),
    )?;
    run.send("a topic leaves", &within(id, 5, forgetting(vec![forget(&two, vec![0])])))?;
    let both = FetchRequest {
        forgotten_topics_data: vec![forget(&one, vec![0])],
        ..fetch(&one, vec![fetch_from(0, 0)])
    };
    run.send("one joins and leaves at once", &within(id, 6, both))?;
    run.send("what is left", &within(id, 7, nothing()))?;
    run.send("all leave", &within(id, 8, forgetting(vec![forget(&one, vec![0, 1, 2])])))?;
    run.send("nothing is left", &within(id, 9, nothing()))?;
    run.send("one joins", &within(id, 10, fetch(&one, vec![fetch_from(2, 0)])))?;
    Ok(())
}

fn coming_and_going(run: &mut Run<'_>) -> Result<()> {
    let later = Topic { name: run.name("later"), id: UNKNOWN_ID };
    let one = run.create("one", 1, &[])?;
    let mut open = fetch(&one, vec![fetch_from(0, 0)]);
    open.topics.push(fetch_topic(&later, vec![fetch_from(0, 0)]));
    let id = run.send("open, one unknown", &within(0, 0, open))?.int("/sessionId");
    run.send("still unknown", &within(id, 1, nothing()))?;
    let created = run.create("later", 1, &[])?;
    run.send("it has come", &within(id, 2, nothing()))?;
    if run.version() >= 13 {
        let request = fetch(&created, vec![fetch_from(0, 0)]);
        run.send("it joins by its id", &within(id, 3, request))?;
    } else {
        run.send("it is empty", &within(id, 3, nothing()))?;
    }
    run.delete(&one)?;
    run.send("one has gone", &within(id, 4, nothing()))?;
    run.create("one", 1, &[])?;
    run.send("and come back", &within(id, 5, nothing()))?;
    Ok(())
}

/// What returned records moves behind the others, so that all have their turn.
fn order(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 4, &[])?;
    let batch = batches::plain(run.time(), &["a"]);
    let size = i32::try_from(batch.len())?;
    for partition in 0..4 {
        for _ in 0..3 {
            run.append(&topic, partition, &batch)?;
        }
    }
    let all = [3, 1, 0, 2]
        .map(|partition| FetchPartition { partition_max_bytes: size, ..fetch_from(partition, 0) });
    let open = FetchRequest { max_bytes: size, ..fetch(&topic, all.into()) };
    let id = run.send("open", &within(0, 0, open))?.int("/sessionId");
    for epoch in 1..8 {
        let next = FetchRequest { max_bytes: size, ..nothing() };
        run.send(format!("epoch {epoch}"), &within(id, epoch, next))?;
    }
    for epoch in 8..12 {
        let next = FetchRequest { max_bytes: 2 * size, ..nothing() };
        run.send(format!("epoch {epoch}, room for two"), &within(id, epoch, next))?;
    }
    Ok(())
}
