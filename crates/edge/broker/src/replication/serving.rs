//! Answering followers: what they ask for is read up to the log's end; a question that finds nothing
//! waits, and ends for records as for a risen high watermark. What followers say of their disks is
//! taken in on the way.

use super::wire::{Held, Progress};
use super::{ANSWER_BYTES_MAX, FETCH, PROGRESS, wire};
use crate::cluster::kinds;
use crate::context::Context;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jocko_codec::{Reader, RecordBytes};
use jocko_net::peers::{PeerIdentity, PeerRefusal, PeerService};
use jocko_net::ports::run_on;
use jocko_partition::{
    Caller, FollowerFetch, FollowerRead, FollowerView, LogFault, LogSlice, Partition,
    ReplicaEpochEnd,
};
use jocko_protocol::rpc::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicIdPartition};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest wait for records that is granted.
const WAIT_LIMIT: Duration = Duration::from_secs(30);
/// For how long a risen high watermark alone waits for records to travel with: most often they come
/// at once, and an exchange of its own costs as much as one with records.
const NEWS_WAIT: Duration = Duration::from_millis(5);
/// So many bytes, if they are in memory, are read where the question is answered; more by a worker.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// "Not known" in an answer.
const NO_OFFSET: i64 = -1;

/// Behind the cluster port, which the context holds in turn.
pub(crate) struct ReplicationService(pub(super) Weak<Context>);

impl PeerService for ReplicationService {
    fn call(
        &self,
        from: &PeerIdentity,
        kind: u16,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, PeerRefusal>> {
        let (context, from) = (self.0.upgrade(), *from);
        Box::pin(async move {
            let Some(context) = context else {
                return Err(PeerRefusal::new(kinds::NOT_READY, "this broker ends"));
            };
            match kind {
                FETCH => answer(context, from, body).await,
                _ => Err(malformed(format!("there is no call {kind}"))),
            }
        })
    }

    fn told(&self, from: &PeerIdentity, kind: u16, body: Bytes) {
        if kind == PROGRESS
            && let Ok(progress) = Progress::read(&mut Reader::new(&body))
            && let Some(context) = self.0.upgrade()
            && is_whom_it_says(&context, from, &progress)
        {
            hear(&context, &progress);
        }
    }
}

fn malformed(words: impl Into<String>) -> PeerRefusal {
    PeerRefusal::new(kinds::MALFORMED, words)
}

/// Whether a node is the broker that it speaks for: nobody may move another's offsets.
fn is_whom_it_says(context: &Context, from: &PeerIdentity, progress: &Progress) -> bool {
    let published = context.published.load();
    let broker = published.image.broker(progress.broker);
    broker.is_some_and(|broker| broker.registration.directory == from.node)
}

/// Takes in what a follower's disk holds.
fn hear(context: &Context, progress: &Progress) {
    let now = context.clock.now();
    let published = context.published.load();
    for Held { key, leader_epoch, end } in &progress.held {
        let Some(partition) = published.partitions.get(key) else { continue };
        let caller = Caller {
            broker: progress.broker,
            broker_epoch: progress.broker_epoch,
            leader_epoch: *leader_epoch,
        };
        let effects = partition.follower_progress(caller, *end, now);
        context.carry_out(partition, effects);
    }
}

/// One partition of a question.
struct Wanted {
    key: TopicIdPartition,
    partition: Option<Arc<Partition>>,
    fetch: FollowerFetch,
    high_watermark: Offset,
}

/// What there is for it.
enum Found {
    View(FollowerView),
    /// The logs part at the end of this epoch, or before.
    Diverging(ReplicaEpochEnd),
    OutOfRange {
        log_start: Offset,
        log_end: Offset,
    },
    Refused {
        error: ErrorCode,
        leader: Option<BrokerId>,
        leader_epoch: LeaderEpoch,
    },
    Absent(ErrorCode),
}

impl Found {
    /// Where records are, if there are any.
    fn slice(&self) -> Option<&LogSlice> {
        match self {
            Self::View(view) => view.slice.as_ref(),
            _ => None,
        }
    }
}

/// One look at all partitions.
struct Look {
    found: Vec<Found>,
    bytes: usize,
    cold: Option<jocko_partition::Cold>,
    /// Whether the follower must hear at once of something that is no record.
    is_special: bool,
    /// Whether a high watermark has risen above the one that the follower knows.
    is_risen: bool,
}

impl Look {
    /// Adds what the follower must hear at once.
    fn tell(&mut self, found: Found) {
        self.is_special = true;
        self.found.push(found);
    }
}

async fn answer(
    context: Arc<Context>,
    from: PeerIdentity,
    body: Bytes,
) -> Result<Vec<Bytes>, PeerRefusal> {
    let (wanted, deadline, bytes_max) = {
        let (progress, request) =
            wire::read_question(&body).map_err(|error| malformed(error.to_string()))?;
        if !is_whom_it_says(&context, &from, &progress) {
            let words = format!("{from} is not broker {}", progress.broker);
            return Err(PeerRefusal::new(kinds::NOT_YOURS, words));
        }
        // First, for what it holds may be all that others wait for.
        hear(&context, &progress);
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX);
        let wanted = wanted(&context, &progress, &request);
        (wanted, Instant::now() + wait.min(WAIT_LIMIT), bytes_max)
    };
    let place = context.outbox.place();
    let mut deadline = deadline;
    let mut is_late = false;
    let look = loop {
        let mut look = look(&context, &wanted, bytes_max);
        if let Some(cold) = look.cold.take() {
            let warmed = run_on(&*context.spawn, move || cold.warm().is_ok()).await;
            if warmed != Some(true) {
                return Err(malformed("a cold read failed"));
            }
            continue;
        }
        if is_late || look.bytes > 0 || look.is_special {
            break look;
        }
        if look.is_risen {
            deadline = deadline.min(Instant::now() + NEWS_WAIT);
        }
        park(&context, &wanted, &look, place.ticket);
        is_late = timeout_at(deadline, place.released()).await.is_err();
    };
    forget(&wanted, place.ticket);
    record(&context, &wanted, &look);
    let (look, records) = read_records(&context, &wanted, look).await;
    Ok(wire::answer(&response(&wanted, &look), &records))
}

fn wanted(
    context: &Context,
    progress: &Progress,
    request: &jocko_protocol::rpc::fetch_request::FetchRequest<'_>,
) -> Vec<Wanted> {
    let published = context.published.load();
    let mut all = Vec::new();
    for topic in &request.topics {
        for asked in &topic.partitions {
            let partition = PartitionIndex::new(asked.partition);
            let key = TopicIdPartition { topic_id: topic.topic_id, partition };
            let caller = Caller {
                broker: progress.broker,
                broker_epoch: progress.broker_epoch,
                leader_epoch: LeaderEpoch::new(asked.current_leader_epoch),
            };
            let epoch = asked.last_fetched_epoch;
            all.push(Wanted {
                key,
                partition: published.partitions.get(&key).cloned(),
                fetch: FollowerFetch {
                    caller,
                    from: Offset::new(asked.fetch_offset),
                    log_start: Offset::new(asked.log_start_offset),
                    last_fetched_epoch: (epoch >= 0).then(|| LeaderEpoch::new(epoch)),
                    bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
                    whole_batch: false,
                },
                high_watermark: Offset::new(asked.high_watermark),
            });
        }
    }
    all
}

/// Looks at every partition once, in order, as long as there is room.
fn look(context: &Context, wanted: &[Wanted], bytes_max: usize) -> Look {
    let now = context.clock.now();
    let found = Vec::with_capacity(wanted.len());
    let mut look = Look { found, bytes: 0, cold: None, is_special: false, is_risen: false };
    for one in wanted {
        let Some(partition) = &one.partition else {
            look.is_special = true;
            look.found.push(Found::Absent(ErrorCode::UnknownTopicId));
            continue;
        };
        let allowed = allowance(context, one, partition);
        let room = bytes_max.saturating_sub(look.bytes).min(allowed);
        let fetch = FollowerFetch {
            bytes_max: one.fetch.bytes_max.min(room),
            whole_batch: look.bytes == 0 && allowed > 0,
            ..one.fetch
        };
        let (read, effects) = partition.fetch_for_follower(&fetch, now);
        context.carry_out(partition, effects);
        match read {
            FollowerRead::Found(view) => {
                look.bytes += view.slice.as_ref().map_or(0, |slice| slice.len);
                look.is_risen |= view.high_watermark > one.high_watermark;
                look.found.push(Found::View(view));
            }
            FollowerRead::Cold(cold) => {
                look.cold = Some(cold);
                return look;
            }
            FollowerRead::Diverging(end) => look.tell(Found::Diverging(end)),
            FollowerRead::OutOfRange { log_start, log_end } => {
                look.tell(Found::OutOfRange { log_start, log_end });
            }
            FollowerRead::Refused { error, leader, leader_epoch } => {
                look.tell(Found::Refused { error, leader, leader_epoch });
            }
        }
    }
    look
}

/// How much a follower may have of a partition: no limit but for one that is to catch up slowly.
fn allowance(context: &Context, wanted: &Wanted, partition: &Partition) -> usize {
    let end = &context.outbox.throttles.leader;
    let asker = wanted.fetch.caller.broker;
    let is_insync = || partition.followers().iter().any(|it| it.broker == asker && it.is_insync);
    if !end.holds(&wanted.key) || is_insync() {
        return usize::MAX;
    }
    end.allowance(context.clock.now())
}

/// Takes note of what leaves of partitions that are throttled.
fn record(context: &Context, wanted: &[Wanted], look: &Look) {
    let end = &context.outbox.throttles.leader;
    let sizes = wanted
        .iter()
        .zip(&look.found)
        .filter(|(one, _)| end.holds(&one.key))
        .map(|(_, found)| found.slice().map_or(0, |slice| slice.len));
    end.record(sizes.sum(), context.clock.now());
}

fn park(context: &Context, wanted: &[Wanted], look: &Look, ticket: u64) {
    for (one, found) in wanted.iter().zip(&look.found) {
        if let (Some(partition), Found::View(view)) = (&one.partition, found) {
            let effects = partition.park_follower(ticket, view.log_end, view.high_watermark);
            context.carry_out(partition, effects);
        }
    }
}

fn forget(wanted: &[Wanted], ticket: u64) {
    for partition in wanted.iter().filter_map(|one| one.partition.as_ref()) {
        partition.forget(ticket);
    }
}

/// Reads the records that were found: a few that are in memory at once, others on a worker. What
/// cannot be read becomes an error of its partition.
async fn read_records(context: &Context, wanted: &[Wanted], mut look: Look) -> (Look, Vec<Bytes>) {
    let slice = |(one, found): (&Wanted, &Found)| {
        Some((Arc::clone(one.partition.as_ref()?), found.slice()?.clone()))
    };
    let slices: Vec<Piece> = wanted.iter().zip(&look.found).filter_map(slice).collect();
    if slices.is_empty() {
        return (look, Vec::new());
    }
    let resident = (look.bytes <= INLINE_BYTES_MAX).then(|| resident(&slices)).flatten();
    let read = match resident {
        Some(records) => records,
        None => {
            let read = move || slices.iter().map(read_piece).collect::<Vec<_>>();
            run_on(&*context.spawn, read).await.unwrap_or_default()
        }
    };
    let mut read = read.into_iter();
    let mut records = Vec::new();
    for found in &mut look.found {
        let Found::View(FollowerView { slice: Some(_), .. }) = found else { continue };
        match read.next().flatten() {
            Some(bytes) => records.push(bytes),
            // It was cut meanwhile, is damaged, or the device failed: the follower asks again.
            None => *found = Found::Absent(ErrorCode::KafkaStorageError),
        }
    }
    (look, records)
}

/// Records of a partition that were found.
type Piece = (Arc<Partition>, LogSlice);

/// Reads records, and checks them: what is damaged here must not become anybody's copy (DR4).
fn read_piece((partition, slice): &Piece) -> Option<Bytes> {
    match slice.read() {
        Ok(bytes) => partition.is_sound(slice, &bytes).then(|| Bytes::from(bytes)),
        Err(fault) => {
            // A file that ends too early: unless it was cut, that is damage.
            if matches!(fault, LogFault::Corrupt { .. }) {
                let _ = partition.check(slice.from, slice.len);
            }
            None
        }
    }
}

/// The same, if all is in memory. What is damaged is left to workers, who look at it again.
fn resident(pieces: &[Piece]) -> Option<Vec<Option<Bytes>>> {
    let read = |(partition, slice): &Piece| {
        let mut bytes = vec![0; slice.len];
        let read = slice.file.read_resident_at(&mut bytes, slice.position).ok().flatten()?;
        let is_whole = read == slice.len && partition.has_sound(slice, &bytes);
        is_whole.then(|| Some(Bytes::from(bytes)))
    };
    pieces.iter().map(read).collect()
}

fn response<'a>(wanted: &[Wanted], look: &Look) -> FetchResponse<'a> {
    let mut response = FetchResponse::default();
    let mut piece = 0;
    for (one, found) in wanted.iter().zip(&look.found) {
        let data = data(one.key.partition, found, &mut piece);
        match response.responses.last_mut() {
            Some(last) if last.topic_id == one.key.topic_id => last.partitions.push(data),
            _ => response.responses.push(FetchableTopicResponse {
                topic_id: one.key.topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }
    response
}

fn data<'a>(partition: PartitionIndex, found: &Found, piece: &mut u32) -> PartitionData<'a> {
    let blank = PartitionData {
        partition_index: partition.get(),
        high_watermark: NO_OFFSET,
        last_stable_offset: NO_OFFSET,
        log_start_offset: NO_OFFSET,
        records: Some(RecordBytes::EMPTY),
        ..Default::default()
    };
    match found {
        Found::View(view) => {
            let records = view.slice.as_ref().map_or(RecordBytes::EMPTY, |slice| {
                let len = u32::try_from(slice.len).expect("an answer is smaller than that");
                let records = RecordBytes::Detached { piece: *piece, len };
                *piece += 1;
                records
            });
            PartitionData {
                high_watermark: view.high_watermark.get(),
                last_stable_offset: view.log_end.get(),
                log_start_offset: view.log_start.get(),
                records: Some(records),
                ..blank
            }
        }
        Found::Diverging(end) => PartitionData {
            diverging_epoch: EpochEndOffset {
                epoch: end.epoch.get(),
                end_offset: end.end.get(),
                ..Default::default()
            },
            ..blank
        },
        Found::OutOfRange { log_start, log_end } => PartitionData {
            error_code: ErrorCode::OffsetOutOfRange as i16,
            log_start_offset: log_start.get(),
            last_stable_offset: log_end.get(),
            ..blank
        },
        Found::Refused { error, leader, leader_epoch } => PartitionData {
            error_code: *error as i16,
            current_leader: LeaderIdAndEpoch {
                leader_id: leader.map_or(-1, |leader| leader.get()),
                leader_epoch: leader_epoch.get(),
                ..Default::default()
            },
            ..blank
        },
        Found::Absent(error) => PartitionData { error_code: *error as i16, ..blank },
    }
}
