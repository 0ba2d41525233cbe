//! Consumers by offset.

use super::Client;
use crate::cluster::machine::kafka_at;
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use jocko_protocol::{RecordBytes, error_code};
use jocko_records::Records;
use jocko_testkit::{Event, Run};
use jocko_types::{ErrorCode, Offset, TopicId};
use std::io;

const FETCH: i16 = 12;
/// The first that names topics by their ids.
const FETCH_BY_ID: i16 = 13;

/// What a record may unpack to.
const UNPACKED_MAX: u64 = 1 << 20;
/// How often a reader names an epoch that is over, if it knows one.
const STALE_PER_MILLE: u64 = 50;

/// What a fetch brought.
pub(super) struct Fetched {
    pub(super) code: ErrorCode,
    runs: Vec<Run>,
    next: i64,
    high_watermark: i64,
}

/// Reads a partition from its start until the run is over.
pub(crate) async fn consume(mut client: Client, partition: u32) {
    let called = client.called();
    let topic = || called.clone();
    let (mut process, mut offset, mut lost) = (0, 0, None);
    while !client.is_over() {
        if lost != Some(client.shared.lost()) {
            // Anew, from the start: what was read may be gone.
            (process, offset, lost) = (client.shared.process(), 0, Some(client.shared.lost()));
            client.shared.note(Event::Seek { process, topic: topic(), partition });
        }
        let wait_ms = client.dice.between(0, 500) as i32;
        let fetched = fetch_from_leader(&mut client, partition, offset, wait_ms).await;
        match fetched.filter(|_| lost == Some(client.shared.lost())) {
            Some(fetched) => {
                offset = fetched.next;
                let records = fetched.runs;
                if !records.is_empty() {
                    client.shared.note(Event::Poll { process, topic: topic(), partition, records });
                }
            }
            None => client.rest(100).await,
        }
    }
}

/// Reads a partition from its start to `end`, when all is well again.
pub(crate) async fn read_finally(mut client: Client, partition: u32, end: i64) {
    read_to_end(&mut client, partition, end).await;
}

pub(super) async fn read_to_end(client: &mut Client, partition: u32, end: i64) {
    let process = client.shared.process();
    let called = client.called();
    let topic = || called.clone();
    client.shared.note(Event::Final { process, topic: topic(), partition, end });
    let mut offset = 0;
    while offset < end {
        match fetch_from_leader(client, partition, offset, 100).await {
            Some(fetched) if fetched.next > offset => {
                offset = fetched.next;
                let records = fetched.runs;
                client.shared.note(Event::Poll { process, topic: topic(), partition, records });
            }
            _ => client.rest(100).await,
        }
    }
}

async fn fetch_from_leader(
    client: &mut Client,
    partition: u32,
    offset: i64,
    wait_ms: i32,
) -> Option<Fetched> {
    let leader = client.leader(partition).await?;
    let epoch = epoch_to_name(client, partition);
    let lost = client.shared.lost();
    let is_over = client.life.is_none()
        && client.shared.known.borrow().epoch(leader, partition) > Some(epoch);
    let fetched = fetch(client, leader, (partition, offset, epoch), wait_ms).await;
    let is_taken = matches!(&fetched, Ok(fetched) if fetched.code == ErrorCode::None);
    if is_over && epoch >= 0 && is_taken {
        client.shared.blame(format!(
            "KIP-320: broker {leader} answered a reader of partition {partition} that named epoch \
             {epoch}, which it knew to be over"
        ));
    }
    match fetched {
        Ok(fetched) if fetched.code == ErrorCode::None => {
            let count: u64 = fetched.runs.iter().map(|run| u64::from(run.2)).sum();
            client.shared.read.set(client.shared.read.get() + count);
            Some(fetched)
        }
        Ok(fetched)
            if fetched.code == ErrorCode::OffsetOutOfRange && client.shared.lost() == lost =>
        {
            let words = format!(
                "a consumer of partition {partition} that had read up to {offset} was told by \
                 broker {leader} that this is out of range (high watermark {})",
                fetched.high_watermark
            );
            client.shared.blame(words);
            None
        }
        other => {
            let code = other.map(|fetched| fetched.code);
            if matches!(code, Ok(ErrorCode::FencedLeaderEpoch)) {
                client.shared.fenced.set(client.shared.fenced.get() + 1);
            }
            client.shared.meet("fetch", &code);
            client.leaders[partition as usize] = None;
            None
        }
    }
}

/// Whether a broker refuses to have the first partition of the client's topic read, or gives no answer.
pub(super) async fn refused_by(client: &mut Client, broker: u32) -> bool {
    let fetched = fetch(client, broker, (0, 0, -1), 0).await;
    !fetched.is_ok_and(|it| it.code == ErrorCode::None)
}

/// The newest epoch a reader has heard of; now and then an older one, as one that has slept would. None
/// by a reader that knows nothing of epochs.
fn epoch_to_name(client: &mut Client, partition: u32) -> i32 {
    if !client.knows_epochs {
        return -1;
    }
    let epochs = &client.epochs[partition as usize];
    let Some(newest) = epochs.last().copied() else { return -1 };
    let oldest = epochs.first().copied().unwrap_or(newest);
    if client.dice.per_mille(STALE_PER_MILLE) { oldest } else { newest }
}

pub(super) async fn fetch(
    client: &mut Client,
    leader: u32,
    (partition, offset, epoch): (u32, i64, i32),
    wait_ms: i32,
) -> io::Result<Fetched> {
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: client.topic,
            topic_id: client.life.map_or(TopicId::ZERO, |(id, _)| id),
            partitions: vec![FetchPartition {
                partition: i32::try_from(partition).expect("a handful"),
                current_leader_epoch: epoch,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let version = if client.life.is_some() { FETCH_BY_ID } else { FETCH };
    let answered = client.wire.ask(kafka_at(leader), version, &request, |response| {
        let partition = response.responses.first()?.partitions.first()?;
        let bytes = match &partition.records {
            Some(RecordBytes::Inline(bytes)) => bytes,
            _ => &[][..],
        };
        let (runs, next) = runs_of(bytes, offset)?;
        let code = match response.error_code {
            0 => error_code(partition.error_code),
            code => error_code(code),
        };
        Some(Fetched { code, runs, next, high_watermark: partition.high_watermark })
    });
    answered.await?.ok_or_else(|| io::Error::other("an answer that makes no sense"))
}

/// The records of a buffer as runs of consecutive values, and where to go on.
fn runs_of(bytes: &[u8], from: i64) -> Option<(Vec<Run>, i64)> {
    let mut records = Records::new(bytes, Offset::new(from), UNPACKED_MAX);
    let mut runs: Vec<Run> = Vec::new();
    while let Some(record) = records.next().ok()? {
        let value = u64::from_be_bytes(record.value?.try_into().ok()?);
        let offset = record.offset.get();
        match runs.last_mut() {
            Some(Run(first, start, count))
                if *first + i64::from(*count) == offset && *start + u64::from(*count) == value =>
            {
                *count += 1;
            }
            _ => runs.push(Run(offset, value, 1)),
        }
    }
    Some((runs, records.next_offset().get()))
}
