//! Fetch (key 1) without sessions: offsets, sizes, epochs, waiting.

use super::requests::{UNKNOWN_ID, fetch, fetch_from, fetch_topic, produce};
use crate::batches;
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::FetchRequest;
use jocko_protocol::rpc::fetch_request::{FetchPartition, ReplicaState};
use jocko_records::Codec;
use jocko_types::Uuid;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Fetch, "offsets", offsets),
    Scenario::new(ApiKey::Fetch, "topics and partitions", places),
    Scenario::new(ApiKey::Fetch, "sizes", sizes),
    Scenario::new(ApiKey::Fetch, "leader epochs", epochs),
    Scenario::new(ApiKey::Fetch, "last fetched epochs", fetched_epochs).since(12),
    Scenario::new(ApiKey::Fetch, "isolation levels", isolation),
    Scenario::new(ApiKey::Fetch, "waiting", waiting),
    Scenario::new(ApiKey::Fetch, "as a replica", replica),
    Scenario::new(ApiKey::Fetch, "other fields", others),
];

/// Five batches of three records, each in another codec.
fn fill(run: &mut Run<'_>, topic: &Topic, partition: i32) -> Result<()> {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batches::builder(codec, run.time(), &["one", "two", "three"]);
        run.append(topic, partition, &batches::bytes(&batch))?;
    }
    Ok(())
}

fn offsets(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 2, &[])?;
    fill(run, &topic, 0)?;
    for offset in (-2..=17).chain([100, i64::MAX, i64::MIN]) {
        for partition in [0, 1] {
            let label = format!("partition {partition} from {offset}");
            run.send(label, &fetch(&topic, vec![fetch_from(partition, offset)]))?;
        }
    }
    Ok(())
}

fn places(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 3, &[])?;
    let two = run.create("two", 1, &[])?;
    fill(run, &one, 1)?;
    fill(run, &two, 0)?;
    let none = Topic { name: run.name("none"), id: UNKNOWN_ID };
    let named = |name: &str, id: Uuid| Topic { name: name.into(), id };
    let from = |partitions: &[i32]| -> Vec<FetchPartition> {
        partitions.iter().map(|partition| fetch_from(*partition, 0)).collect()
    };
    run.send("nothing", &FetchRequest { max_bytes: 1_000, ..Default::default() })?;
    run.send("no partition", &fetch(&one, vec![]))?;
    run.send("an unknown topic", &fetch(&none, from(&[0, 1])))?;
    run.send("no id", &fetch(&named(&one.name, Uuid::ZERO), from(&[0])))?;
    run.send("an empty name", &fetch(&named("", one.id), from(&[1])))?;
    run.send("a bad name", &fetch(&named("a b", one.id), from(&[1])))?;
    run.send("a name and another's id", &fetch(&named(&one.name, two.id), from(&[0])))?;
    run.send("an unknown partition", &fetch(&one, from(&[3])))?;
    run.send("a negative partition", &fetch(&one, from(&[-1])))?;
    run.send("three partitions, in an order of our own", &fetch(&one, from(&[2, 0, 1])))?;
    run.send("a partition twice", &fetch(&one, from(&[1, 1])))?;
    run.send("known and unknown partitions", &fetch(&one, from(&[7, 1, 8])))?;
    let mut both = fetch(&two, from(&[0]));
    both.topics.push(fetch_topic(&none, from(&[0])));
    both.topics.push(fetch_topic(&one, from(&[1, 5])));
    run.send("three topics, one unknown", &both)?;
    let mut twice = fetch(&one, from(&[1]));
    twice.topics.push(fetch_topic(&one, from(&[0])));
    run.send("a topic twice", &twice)?;
    run.delete(&two)?;
    run.send("a deleted topic", &fetch(&two, from(&[0])))?;
    run.create("two", 1, &[])?;
    run.send("a deleted topic that is there again, its old id", &fetch(&two, from(&[0])))?;
    Ok(())
}

/// The first batch comes whole whatever the limits, later ones only within them (KIP-74).
fn sizes(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 3, &[])?;
    let batch = batches::plain(run.time(), &["0123456789"]);
    let size = i32::try_from(batch.len())?;
    for partition in 0..2 {
        for _ in 0..4 {
            run.append(&topic, partition, &batch)?;
        }
    }
    let limits = [0, -1, 1, size - 1, size, size + 1, 2 * size, 3 * size + 5, 4 * size, i32::MAX];
    let partition = |partition, partition_max_bytes| FetchPartition {
        partition_max_bytes,
        ..fetch_from(partition, 0)
    };
    for limit in limits {
        let all = vec![partition(2, limit), partition(1, limit), partition(0, limit)];
        run.send(format!("at most {limit} a partition"), &fetch(&topic, all))?;
        let wide = vec![partition(2, 1 << 20), partition(1, 1 << 20), partition(0, 1 << 20)];
        let request = FetchRequest { max_bytes: limit, ..fetch(&topic, wide) };
        run.send(format!("at most {limit} in all"), &request)?;
        let narrow = vec![partition(1, size), partition(0, limit)];
        let request = FetchRequest { max_bytes: limit, ..fetch(&topic, narrow) };
        run.send(format!("one batch of one, {limit} of the other, {limit} in all"), &request)?;
    }
    let bad = vec![fetch_from(1, 99), partition(0, 1)];
    let request = FetchRequest { max_bytes: 1, ..fetch(&topic, bad) };
    run.send("an error first, then little room", &request)?;
    Ok(())
}

fn epochs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    fill(run, &topic, 0)?;
    if run.version() < 9 {
        // There is no such field yet.
        run.send("no epoch", &fetch(&topic, vec![fetch_from(0, 0)]))?;
        return Ok(());
    }
    for epoch in [-1, 0, 1, 7, -2, i32::MAX, i32::MIN] {
        for offset in [0, 15, 99] {
            let partition = FetchPartition { current_leader_epoch: epoch, ..fetch_from(0, offset) };
            run.send(format!("epoch {epoch}, from {offset}"), &fetch(&topic, vec![partition]))?;
        }
        let nowhere = FetchPartition { current_leader_epoch: epoch, ..fetch_from(4, 0) };
        run.send(format!("epoch {epoch} of an unknown partition"), &fetch(&topic, vec![nowhere]))?;
    }
    Ok(())
}

fn fetched_epochs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    fill(run, &topic, 0)?;
    for epoch in [-1, 0, 1, 5, -2, i32::MAX] {
        for offset in [0, 3, 15, 16, 99] {
            let partition = FetchPartition { last_fetched_epoch: epoch, ..fetch_from(0, offset) };
            let label = format!("last fetched epoch {epoch}, from {offset}");
            run.send(label, &fetch(&topic, vec![partition]))?;
        }
    }
    Ok(())
}

fn isolation(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 2, &[])?;
    fill(run, &topic, 0)?;
    for isolation_level in [0, 1, 2, -1, 127] {
        for partition in [0, 1, 5] {
            for offset in [0, 15, 16] {
                let request = FetchRequest {
                    isolation_level,
                    ..fetch(&topic, vec![fetch_from(partition, offset)])
                };
                let label =
                    format!("level {isolation_level}, partition {partition}, from {offset}");
                run.send(label, &request)?;
            }
        }
    }
    Ok(())
}

fn waiting(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 2, &[])?;
    let batch = batches::plain(run.time(), &["a"]);
    let wait = |partitions: Vec<FetchPartition>, max_wait_ms, min_bytes| FetchRequest {
        max_wait_ms,
        min_bytes,
        ..fetch(&topic, partitions)
    };
    run.send("nothing to come", &wait(vec![fetch_from(0, 0)], 20, 1))?;
    run.send("no wait", &wait(vec![fetch_from(0, 0)], 0, 1))?;
    run.send("a negative wait", &wait(vec![fetch_from(0, 0)], -1, 1))?;
    run.send("no bytes wanted", &wait(vec![fetch_from(0, 0)], 9_000, 0))?;
    run.send("negative bytes wanted", &wait(vec![fetch_from(0, 0)], 9_000, -1))?;
    run.send("an error does not wait", &wait(vec![fetch_from(0, 0), fetch_from(7, 0)], 9_000, 1))?;
    run.send("an offset beyond does not wait", &wait(vec![fetch_from(0, 5)], 9_000, 1))?;
    run.send(
        "nothing asked does not wait",
        &FetchRequest { max_wait_ms: 9_000, min_bytes: 1, ..Default::default() },
    )?;
    run.post("woken by an append", &wait(vec![fetch_from(1, 0), fetch_from(0, 0)], 9_000, 1))?;
    run.on_connection(1);
    run.send("the append", &produce(&topic, 0, &batch))?;
    run.on_connection(0);
    run.collect()?;
    let size = i32::try_from(batch.len())?;
    run.post("woken by the third append", &wait(vec![fetch_from(0, 0)], 9_000, 3 * size))?;
    run.on_connection(1);
    run.send("the second append", &produce(&topic, 0, &batch))?;
    run.send("the third append", &produce(&topic, 0, &batch))?;
    run.on_connection(0);
    run.collect()?;
    run.send("enough is there", &wait(vec![fetch_from(0, 1)], 9_000, 2 * size))?;
    run.send("less than wanted, after a while", &wait(vec![fetch_from(0, 1)], 20, 9 * size))?;
    let little = FetchPartition { partition_max_bytes: 1, ..fetch_from(0, 0) };
    run.send("a limit below what is wanted", &wait(vec![little], 20, 2 * size))?;
    Ok(())
}

fn replica(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    fill(run, &topic, 0)?;
    for replica_id in [-2, -3, 9_999] {
        let request = fetch(&topic, vec![fetch_from(0, 0)]);
        let request = if run.version() >= 15 {
            let replica_state =
                ReplicaState { replica_id, replica_epoch: -1, ..Default::default() };
            FetchRequest { replica_state, ..request }
        } else {
            FetchRequest { replica_id, ..request }
        };
        run.send(format!("replica {replica_id}"), &request)?;
    }
    Ok(())
}

fn others(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    fill(run, &topic, 0)?;
    let ask = || fetch(&topic, vec![fetch_from(0, 12)]);
    if run.version() >= 11 {
        for rack_id in ["", "a", "a b"] {
            run.send(format!("rack {rack_id:?}"), &FetchRequest { rack_id, ..ask() })?;
        }
    }
    if run.version() >= 12 {
        for cluster_id in [None, Some(""), Some("another")] {
            run.send(format!("cluster {cluster_id:?}"), &FetchRequest { cluster_id, ..ask() })?;
        }
    }
    for start in [-1, 0, 5, 99] {
        let partition = FetchPartition { log_start_offset: start, ..fetch_from(0, 12) };
        if run.version() >= 5 {
            run.send(format!("a log start of {start}"), &fetch(&topic, vec![partition]))?;
        }
    }
    Ok(())
}
