//! Produce (key 0, versions 3-13): append one batch to each of some partitions.
//!
//! Every partition is answered for itself. acks=0 has no answer at all; an error there closes the
//! connection, which is the only way to tell. acks=all parks until the high watermark has passed
//! every batch of the request, or until its timeout. Batches that take long to validate keep the
//! connection's next request waiting, and nobody else (`appending`).

use crate::cluster::{Contact, GivenUp};
use crate::context::Context;
use crate::leader_hints::hint_produce;
use crate::published::{Hosted, Published};
use crate::session::{Answer, Exchange, Session};
use appending::Appending;
use jocko_net::{Call, Outcome, Ticket, Waiter};
use jocko_partition::{Acks, Appended, Partition, Progress, Refused};
use jocko_protocol::rpc::produce_request::{ProduceRequest, TopicProduceData};
use jocko_protocol::rpc::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use jocko_protocol::{Decode, DecodeError, Reader, RecordBytes};
use jocko_records::{BatchError, BatchFault, BatchHeader};
use jocko_types::{ErrorCode, LeaderEpoch, Now, Offset, Timestamp, TopicId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

mod appending;

/// The most of a timeout that is honoured: a client may say 24 days.
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
/// The client id that Kafka's tools use to repair what brokers keep for themselves.
const ADMIN_CLIENT: &str = "__admin_client";
/// "Not known" in an answer.
const NONE: i64 = -1;

/// What holds for the request as a whole.
#[derive(Debug, Clone, Copy)]
struct Terms {
    version: i16,
    acks: Acks,
    /// Whether the client may write to the broker's own topics.
    is_admin: bool,
    now: Timestamp,
    ticket: Option<Ticket>,
}

/// A batch that waits for its partition's high watermark.
struct Pending {
    partition: Arc<Partition>,
    appended: Appended,
    /// Where its answer stands in the response.
    topic: usize,
    index: usize,
}

/// An answer that holds only if this broker led when it was found.
struct Doubt {
    partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    moment: Now,
}

/// The same with where it stands in the response.
struct Doubted {
    doubt: Doubt,
    topic: usize,
    index: usize,
}

/// A response under way.
#[derive(Default)]
struct Draft {
    response: ProduceResponse,
    pending: Vec<Pending>,
    doubted: Vec<Doubted>,
    has_failed: bool,
}

/// Why a batch was not appended, and where the log starts if Kafka says so with it.
struct Rejected {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<BatchIndexAndErrorMessage>,
    log_start: Option<Offset>,
    doubt: Option<Doubt>,
}

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let (body, frame) = (exchange.body.rest(), exchange.frame);
    let request = ProduceRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let acks = match request.acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        _ => return Ok(answer.now(&refuse_acks(&session.context, &request, version))),
    };
    // Only who says which transaction may write in one (KIP-98).
    if request.transactional_id.is_none() && has_transactional_batch(&request) {
        let refused = refuse_all(&request, |_, _| ErrorCode::TransactionalIdAuthorizationFailed);
        return Ok(match acks {
            Acks::None => Call::Close("a transactional batch came without its id".into()),
            Acks::Leader | Acks::All => answer.now(&refused),
        });
    }
    let waiter = (acks == Acks::All).then(|| session.reactor.waiter());
    let terms = Terms {
        version,
        acks,
        is_admin: exchange.client_id == ADMIN_CLIENT,
        now: session.reactor.wall(),
        ticket: waiter.as_ref().map(Waiter::ticket),
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let promise = Promise { answer, acks, waiter, timeout };
    let mut appending = Appending::new();
    let has_room = session.context.limits.rooms.take(exists(&session.context), sizes(&request));
    let mut next = None;
    if has_room {
        let heavy = appending.append(&session.context, &request, terms);
        let Some(heavy) = heavy else { return Ok(promise.keep(&session.context, appending.draft)) };
        next = Some(heavy.detach(&frame.slice_ref(body)));
    }
    let body = frame.slice_ref(body);
    let (context, reactor) = (Arc::clone(&session.context), session.reactor.clone());
    // Nothing behind this request may be appended before it is.
    Ok(Call::Admitting(Box::pin(async move {
        let request = match ProduceRequest::decode(&mut Reader::new(&body), version) {
            Ok(request) => request,
            Err(error) => return Call::Close(error.to_string().into()),
        };
        if !has_room {
            context.limits.rooms.wait(exists(&context), sizes(&request)).await;
            let heavy = appending.append(&context, &request, terms);
            next = heavy.map(|heavy| heavy.detach(&body));
        }
        while let Some(task) = next {
            appending.append_heavy(&context, &reactor, task, terms).await;
            let heavy = appending.append(&context, &request, terms);
            next = heavy.map(|heavy| heavy.detach(&body));
        }
        promise.keep(&context, appending.draft)
    })))
}

/// Whether there is a topic.
fn exists(context: &Context) -> impl Fn(TopicId, &str) -> bool + '_ {
    |id, name| {
        let image = &context.published.load().image;
        if id.is_zero() { image.topic(name).is_some() } else { image.topic_by_id(id).is_some() }
    }
}

/// By topic, the bytes of all its batches.
fn sizes<'r>(
    request: &'r ProduceRequest<'_>,
) -> impl Iterator<Item = (TopicId, &'r str, usize)> + Clone {
    request.topic_data.iter().map(|topic| {
        let records = topic.partition_data.iter().filter_map(|data| data.records.as_ref());
        let bytes = records.filter_map(RecordBytes::inline).map(<[u8]>::len).sum();
        (topic.topic_id, topic.name, bytes)
    })
}

/// How a request wants to be answered once its batches are appended.
struct Promise {
    answer: Answer,
    acks: Acks,
    waiter: Option<Waiter>,
    timeout: Duration,
}

impl Promise {
    fn keep(self, context: &Arc<Context>, mut draft: Draft) -> Call {
        let Self { answer, acks, waiter, timeout } = self;
        if acks == Acks::None {
            return if draft.has_failed {
                Call::Close("a produce with acks=0 failed, and has no other way to say so".into())
            } else {
                Call::NoReply
            };
        }
        let waiter = waiter.filter(|_| !draft.pending.is_empty());
        if waiter.is_none() && draft.doubted.is_empty() {
            hint(context, &mut draft.response, answer.version);
            return answer.now(&draft.response);
        }
        let context = Arc::clone(context);
        Call::Later(Box::pin(async move {
            let contact = &context.cluster.contact;
            if let Some(waiter) = waiter {
                let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
                wait_for_replicas(contact, &mut draft, waiter, deadline).await;
            }
            settle_doubts(contact, &mut draft).await;
            hint(&context, &mut draft.response, answer.version);
            Outcome::Reply(answer.encode(&draft.response))
        }))
    }
}

/// Waits until the fate of all pending batches is known, or may not be waited for any longer.
async fn wait_for_replicas(
    contact: &Contact,
    draft: &mut Draft,
    mut waiter: Waiter,
    deadline: Instant,
) {
    while !settle(draft) {
        let code = match contact.wait(Some(deadline), waiter.delivered()).await {
            Ok(()) => continue,
            Err(GivenUp::Late) => ErrorCode::RequestTimedOut,
            Err(GivenUp::CutOff) => ErrorCode::NotLeaderOrFollower,
        };
        return give_up(draft, waiter.ticket(), code);
    }
}

/// Says what was found as a leader only where this broker was one: that a producer's sequence has a
/// gap ends the producer, and a leader that was replaced without having heard of it lacks whatever
/// its successor took. Whoever cannot make sure sends the producer elsewhere.
async fn settle_doubts(contact: &Contact, draft: &mut Draft) {
    for Doubted { doubt, topic, index } in std::mem::take(&mut draft.doubted) {
        let Doubt { partition, leader_epoch, moment } = doubt;
        if !contact.is_confirmed(moment).await || !partition.leads_in(leader_epoch) {
            let code = ErrorCode::NotLeaderOrFollower;
            put_failure(&mut draft.response, topic, index, code);
        }
    }
}

/// Answers those pending batches whose fate is known; whether that is all of them.
fn settle(draft: &mut Draft) -> bool {
    let response = &mut draft.response;
    draft.pending.retain(|pending| {
        match pending.partition.progress(&pending.appended) {
            Progress::Waiting => return true,
            Progress::Committed => {}
            Progress::Lost(code) => put_failure(response, pending.topic, pending.index, code),
        }
        false
    });
    draft.pending.is_empty()
}

/// Says where clients should rather go. Who is cut off does not know, and would name itself.
fn hint(context: &Context, response: &mut ProduceResponse, version: i16) {
    if !context.cluster.contact.is_lost() {
        hint_produce(&context.published.load(), response, version);
    }
}

/// The timeout has passed, or this broker may lead no more: what is pending may or may not be
/// committed one day.
fn give_up(draft: &mut Draft, ticket: Ticket, code: ErrorCode) {
    for pending in std::mem::take(&mut draft.pending) {
        pending.partition.forget(ticket.to_bits());
        put_failure(&mut draft.response, pending.topic, pending.index, code);
    }
}

fn put_failure(response: &mut ProduceResponse, topic: usize, index: usize, code: ErrorCode) {
    let answers = response.responses.get_mut(topic).map(|topic| &mut topic.partition_responses);
    if let Some(answer) = answers.and_then(|answers| answers.get_mut(index)) {
        *answer = failure(answer.index, code.into());
    }
}

fn success(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.get(),
        log_append_time_ms: appended.log_append_time.map_or(NONE, Timestamp::as_millis),
        log_start_offset: appended.log_start.get(),
        ..Default::default()
    }
}

fn failure(index: i32, rejected: Rejected) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: rejected.code.code(),
        base_offset: NONE,
        log_append_time_ms: NONE,
        log_start_offset: rejected.log_start.map_or(NONE, Offset::get),
        record_errors: rejected.records,
        error_message: rejected.message,
        ..Default::default()
    }
}

/// Answers every partition with `code`, or with what is wrong with the partition itself.
fn refuse_all(
    request: &ProduceRequest<'_>,
    code: impl Fn(&TopicProduceData<'_>, i32) -> ErrorCode,
) -> ProduceResponse {
    let topics = request.topic_data.iter().filter(|topic| !topic.partition_data.is_empty());
    let topics = topics.map(|topic| TopicProduceResponse {
        name: topic.name.to_owned(),
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|data| failure(data.index, code(topic, data.index).into()))
            .collect(),
        ..Default::default()
    });
    ProduceResponse { responses: topics.collect(), ..Default::default() }
}

/// Acks of no known meaning. That a partition is not here comes first, as in Kafka.
fn refuse_acks(context: &Context, request: &ProduceRequest<'_>, version: i16) -> ProduceResponse {
    let published = context.published.load();
    refuse_all(request, |topic, index| match hosted(&published, topic, index, version) {
        Err(code) => code,
        Ok(_) => ErrorCode::InvalidRequiredAcks,
    })
}

/// The partition, by the name or the id that this version has.
fn hosted(
    published: &Published,
    topic: &TopicProduceData<'_>,
    index: i32,
    version: i16,
) -> Result<Hosted, ErrorCode> {
    if version >= 13 {
        published.by_id(topic.topic_id, index)
    } else {
        published.by_name(topic.name, index)
    }
}

/// Whether any batch says that it belongs to a transaction.
fn has_transactional_batch(request: &ProduceRequest<'_>) -> bool {
    let data = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    data.filter_map(|data| data.records.as_ref().and_then(RecordBytes::inline))
        .filter_map(BatchHeader::read)
        .any(|header| header.is_transactional())
}

impl From<ErrorCode> for Rejected {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), log_start: None, doubt: None }
    }
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Self {
        Self {
            code: refused.code,
            message: refused.message,
            records: Vec::new(),
            log_start: refused.log_start,
            doubt: None,
        }
    }
}

impl Rejected {
    /// Says in words what is wrong, which Kafka does only for what it finds in the records; and, as
    /// Kafka does, where the log starts, unless no batch could be read or it is too large.
    fn of_batch(error: &BatchError, log_start: Option<Offset>, version: i16) -> Self {
        let code = error.code();
        // Before version 7 the codec is looked at before the log is (KIP-110).
        let is_of_no_codec = match error.fault() {
            BatchFault::ZstdNotAllowed => true,
            BatchFault::UnknownCodec { .. } => version < 7,
            _ => false,
        };
        let is_unread = matches!(code, ErrorCode::CorruptMessage | ErrorCode::MessageTooLarge)
            || matches!(
                error.fault(),
                BatchFault::Truncated { .. }
                    | BatchFault::OldFormat { .. }
                    | BatchFault::NoBatch
                    | BatchFault::MoreThanOneBatch
            );
        let records = error.record_errors().iter().map(|record| BatchIndexAndErrorMessage {
            batch_index: record.index,
            batch_index_error_message: Some(record.fault.to_string()),
            ..Default::default()
        });
        Self {
            code,
            message: Some(error.to_string()),
            records: records.collect(),
            log_start: log_start.filter(|_| !is_unread && !is_of_no_codec),
            doubt: None,
        }
    }
}
