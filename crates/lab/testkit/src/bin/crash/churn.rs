//! Creates and deletes topics all the time, so that kills fall into changes of metadata too.

use crate::workload::{Shared, client, lock, pause, runtime};
use anyhow::Result;
use jocko_client::{Client, ClientError, NewTopic};
use jocko_records::{BatchBuilder, Encoding};
use jocko_testkit::ListedTopic;
use jocko_types::{ErrorCode, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Few names, so that they are used again and again.
const NAMES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// Between two changes, so that they do not crowd out the producers.
const INTERVAL: Duration = Duration::from_millis(15);

/// Acknowledged when it is durable (acks=all).
const ALL: i16 = -1;

/// What this client believes about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    Exists,
    Gone,
}

/// Changes topics until told to stop.
pub(crate) fn churn(shared: &Shared, round: u32, seed: u64) -> Result<()> {
    let runtime = runtime()?;
    let mut client = client(shared.address);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut beliefs = BTreeMap::new();
    while !shared.is_stopped() {
        let name = format!("churn-{round}-{}", random.u32(..NAMES));
        let belief = beliefs.get(&name).copied().unwrap_or(Belief::Gone);
        lock(&shared.metadata).asked(&name);
        // Asked again until there is an answer: then the topic is one way or the other.
        while !shared.is_stopped() {
            let outcome = match belief {
                Belief::Gone => create(&runtime, &mut client, shared, &name, random.i32(1..4)),
                Belief::Exists => delete(&runtime, &mut client, shared, &name),
            };
            match outcome {
                Ok(now) => {
                    beliefs.insert(name, now);
                    break;
                }
                Err(error) if error.is_retriable() => pause(PAUSE),
                Err(error) => {
                    shared.refuse(format!("{name}, which was {belief:?}: {error}"));
                    break;
                }
            }
        }
        pause(INTERVAL);
    }
    Ok(())
}

fn create(
    runtime: &Runtime,
    client: &mut Client,
    shared: &Shared,
    name: &str,
    partitions: i32,
) -> Result<Belief, ClientError> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication: Some(1),
        ..Default::default()
    };
    match runtime.block_on(client.create_topic(&topic)) {
        Ok(created) => {
            let partitions = usize::try_from(partitions).unwrap_or(0);
            lock(&shared.metadata).created(name, Some(created.id), partitions);
            // One that is not acknowledged promises nothing.
            if runtime.block_on(client.produce(name, 0, &record(), ALL)).is_ok() {
                lock(&shared.metadata).wrote(name);
            }
            Ok(Belief::Exists)
        }
        // An earlier attempt was carried out, and its answer lost. With how many partitions is
        // not known here, so the topic is deleted before anything is claimed about it.
        Err(ClientError::Refused { code: ErrorCode::TopicAlreadyExists, .. }) => Ok(Belief::Exists),
        Err(error) => Err(error),
    }
}

/// A batch of one record.
fn record() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    builder.push(Timestamp::from_millis(1), None, Some(b"kept"), &[]).expect("a small record");
    builder.build().expect("a batch with a record")
}

fn delete(
    runtime: &Runtime,
    client: &mut Client,
    shared: &Shared,
    name: &str,
) -> Result<Belief, ClientError> {
    match runtime.block_on(client.delete_topic(name)) {
        // Not there: an earlier attempt was carried out, and its answer lost.
        Ok(()) | Err(ClientError::NoSuchTopic(_)) => {
            lock(&shared.metadata).deleted(name);
            Ok(Belief::Gone)
        }
        Err(error) => Err(error),
    }
}

/// The topics there are.
pub(crate) fn listed(runtime: &Runtime, client: &mut Client) -> Result<Vec<ListedTopic>> {
    let metadata = runtime.block_on(client.metadata(None, false))?;
    let topics = metadata.topics.iter().map(|topic| ListedTopic {
        name: topic.name.clone().unwrap_or_default(),
        id: topic.topic_id,
        partitions: topic.partitions.len(),
    });
    Ok(topics.collect())
}
