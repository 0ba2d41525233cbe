//! Fetch (key 1, versions 4-18): read from some partitions, now or when there is enough.
//!
//! What was found is answered at once if it is enough, if nobody wants to wait, or if anything
//! went wrong; else the request parks on its partitions' high watermarks and looks again when one
//! moves. Record bytes never pass through here: the answer names ranges of files.

use crate::api::fetch_answer::{self, Found};
use crate::context::Context;
use crate::published::Published;
use crate::session::{Answer, Exchange, Session};
use jocko_fetch::{Begun, Finding, Key, Params, Request, TopicKey};
use jocko_net::{Call, Outcome, Reactor, Waiter};
use jocko_partition::{Cold, Partition, Read, ReadOutcome, View};
use jocko_protocol::rpc::fetch_request::FetchRequest;
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Now, Offset, PartitionIndex};
use std::sync::Arc;
use std::time::Duration;

/// The first version in which consumers can be told to read from a follower (KIP-392).
const READ_ANYWHERE: i16 = 11;

/// A consumer's fetch: what holds for the request as a whole.
#[derive(Debug, Clone, Copy)]
struct Terms {
    bytes_min: usize,
    bytes_max: usize,
    wait_max: Duration,
    read_committed: bool,
}

/// Where else a consumer may read (KIP-392).
#[derive(Debug, Default)]
struct Readers {
    /// Whether it may read from a follower: since version 11 consumers can be told to.
    any_replica: bool,
    /// Live brokers in its rack, if this one stands elsewhere.
    nearer: Vec<BrokerId>,
}

/// A request that waits: its session, what it wants, and how to answer it.
struct Asked {
    shard: usize,
    begun: Begun,
    terms: Terms,
    readers: Readers,
    answer: Answer,
}

/// One look at all partitions.
struct Look {
    found: Vec<Found>,
    bytes: usize,
    /// Bytes that a worker must read before this look can be complete.
    cold: Option<Cold>,
}

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = FetchRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let replica_id =
        if version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    if replica_id >= 0 {
        // Replicas pull over the cluster port; whoever says this here is not one (CVE-2018-1288).
        return Ok(fetch_answer::refuse_each(
            &answer,
            &request,
            ErrorCode::ClusterAuthorizationFailed,
        ));
    }
    let context = Arc::clone(&session.context);
    let reactor = session.reactor.clone();
    let shard = context.fetch_shard(request.session_id, &reactor);
    let begun = {
        let mut sessions = context.fetch_sessions(shard);
        sessions.begin(reactor.now(), session_request(&request, version))
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => return Ok(fetch_answer::refuse(&answer, error)),
    };
    let limit = context.settings.settings().limits.fetch.as_usize();
    let terms = Terms {
        bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(limit),
        bytes_max: usize::try_from(request.max_bytes).unwrap_or(0).min(limit),
        wait_max: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        read_committed: request.isolation_level == 1,
    };
    let readers = readers(&context, &request, version);
    let look = look(&context, &begun.partitions, terms, &readers);
    if look.cold.is_none() && look.is_enough(terms) && look.doubt(&context).is_none() {
        return Ok(fetch_answer::complete(&context, shard, begun, look.found, &answer, &reactor)
            .into_call());
    }
    let asked = Asked { shard, begun, terms, readers, answer };
    Ok(Call::Wait(Box::pin(wait(context, reactor, asked, look))))
}

/// What the session machine needs to know of a request.
fn session_request(request: &FetchRequest<'_>, version: i16) -> Request {
    let uses_topic_ids = version >= 13;
    let topic_key = |name: &str, id| {
        if uses_topic_ids { TopicKey::Id(id) } else { TopicKey::Name(name.into()) }
    };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let topic_key = topic_key(topic.topic, topic.topic_id);
        for wanted in &topic.partitions {
            let key =
                Key { topic: topic_key.clone(), partition: PartitionIndex::new(wanted.partition) };
            let params = Params {
                fetch_offset: Offset::new(wanted.fetch_offset),
                bytes_max: wanted.partition_max_bytes,
                current_leader_epoch: known_epoch(wanted.current_leader_epoch),
                last_fetched_epoch: known_epoch(wanted.last_fetched_epoch),
                log_start_offset: Offset::new(wanted.log_start_offset),
            };
            partitions.push((key, params));
        }
    }
    let forgotten = request
        .forgotten_topics_data
        .iter()
        .flat_map(|topic| {
            let topic_key = topic_key(topic.topic, topic.topic_id);
            topic.partitions.iter().map(move |&index| Key {
                topic: topic_key.clone(),
                partition: PartitionIndex::new(index),
            })
        })
        .collect();
    Request {
        session_id: request.session_id,
        // Before version 7 there were no sessions.
        session_epoch: if version < 7 { -1 } else { request.session_epoch },
        uses_topic_ids,
        partitions,
        forgotten,
    }
}

fn known_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then(|| LeaderEpoch::new(epoch))
}

/// Where a consumer may read but here. Racks are compared where it names one, which is all the
/// choosing there is: Kafka's `RackAwareReplicaSelector`.
fn readers(context: &Context, request: &FetchRequest<'_>, version: i16) -> Readers {
    if version < READ_ANYWHERE {
        return Readers::default();
    }
    let mut readers = Readers { any_replica: true, nearer: Vec::new() };
    if !request.rack_id.is_empty() {
        let image = &context.published.load().image;
        let rack = |id| image.broker(id).and_then(|broker| broker.registration.rack.as_deref());
        let is_there = |id| rack(id) == Some(request.rack_id);
        if !is_there(context.broker) {
            let live = image.live_brokers().map(|broker| broker.id());
            readers.nearer = live.filter(|id| is_there(*id)).collect();
        }
    }
    readers
}

/// Looks at every partition once, in order, within the request's size.
fn look(context: &Context, partitions: &[(Key, Params)], terms: Terms, readers: &Readers) -> Look {
    let published = context.published.load();
    let mut look = Look { found: Vec::with_capacity(partitions.len()), bytes: 0, cold: None };
    for (key, params) in partitions {
        let hosted = match &key.topic {
            TopicKey::Name(name) => published.by_name(name, key.partition.get()),
            TopicKey::Id(id) => published.by_id(*id, key.partition.get()),
        };
        let partition = match hosted {
            Ok(hosted) => hosted.partition,
            Err(error) => {
                look.found.push(Found::absent(error));
                continue;
            }
        };
        if !readers.nearer.is_empty()
            && let Some((reader, view)) =
                partition.nearer(params.fetch_offset, params.current_leader_epoch, &readers.nearer)
        {
            look.found.push(Found::elsewhere(reader, view, terms.read_committed));
            continue;
        }
        let room = terms.bytes_max.saturating_sub(look.bytes);
        let read = Read {
            from: params.fetch_offset,
            bytes_max: usize::try_from(params.bytes_max).unwrap_or(0).min(room),
            // The first batch goes out whole even where it is larger than asked for (KIP-74).
            whole_batch: look.bytes == 0,
            read_committed: terms.read_committed,
            known_leader_epoch: params.current_leader_epoch,
            last_fetched_epoch: params.last_fetched_epoch,
            any_replica: readers.any_replica,
        };
        match partition.read(&read) {
            ReadOutcome::Found(view) if !may_serve(context, &published, &partition, &view) => {
                look.found.push(Found::failed(ErrorCode::NotLeaderOrFollower));
            }
            ReadOutcome::Found(view) => {
                look.bytes += view.slice.as_ref().map_or(0, |slice| slice.len);
                look.found.push(Found::read(partition, view, terms.read_committed));
            }
            ReadOutcome::Refused(error) => look.found.push(Found::failed(error)),
            ReadOutcome::Cold(cold) => {
                look.cold = Some(cold);
                return look;
            }
        }
    }
    look
}

/// Whether a reader is well served with this. Whoever is cut off hands out what is committed, and
/// says when there is no more of it: else a reader would wait here for what others write. A
/// follower that is not in sync would keep its readers behind for as long.
fn may_serve(context: &Context, published: &Published, partition: &Partition, view: &View) -> bool {
    if view.slice.is_none() && context.cluster.contact.is_lost() {
        return false;
    }
    let is_insync = || {
        let key = partition.key();
        let state = published.image.partition(key.topic_id, key.partition);
        state.is_some_and(|state| state.isr.contains(&context.broker))
    };
    view.is_leader || is_insync()
}

impl Look {
    /// Whether this is what the client waits for.
    fn is_enough(&self, terms: Terms) -> bool {
        terms.wait_max.is_zero()
            || self.found.is_empty()
            || self.bytes >= terms.bytes_min
            || self.found.iter().any(Found::is_special)
    }

    /// When something was found that holds only if this broker led then, if others may: the log of a
    /// leader that was replaced without having heard of it may end before what a reader has read
    /// elsewhere, and a reader that is told so begins anew somewhere.
    fn doubt(&self, context: &Context) -> Option<Now> {
        let is_doubtful = |found: &Found| found.error == ErrorCode::OffsetOutOfRange;
        self.found.iter().any(is_doubtful).then(|| context.cluster.contact.moment()).flatten()
    }

    /// Sends the reader elsewhere where that is in doubt.
    fn disown(&mut self) {
        for found in &mut self.found {
            if found.error == ErrorCode::OffsetOutOfRange {
                *found = Found::failed(ErrorCode::NotLeaderOrFollower);
            }
        }
    }
}

/// Waits until there is enough, or as long as the client wants, and answers.
async fn wait(
    context: Arc<Context>,
    reactor: Reactor,
    Asked { shard, begun, terms, readers, answer }: Asked,
    mut current: Look,
) -> Outcome {
    let deadline = tokio::time::Instant::now() + terms.wait_max;
    let mut parked = Parked { waiter: reactor.waiter(), partitions: Vec::new() };
    let (mut timed_out, mut is_sure) = (false, false);
    loop {
        if let Some(cold) = current.cold.take() {
            let warmed = reactor.run_blocking(move || cold.warm().is_ok()).await;
            if warmed != Some(true) {
                return Outcome::Close("a cold read failed".into());
            }
        } else if let Some(moment) = current.doubt(&context).filter(|_| !is_sure) {
            if !context.cluster.contact.is_confirmed(moment).await {
                current.disown();
                break;
            }
            is_sure = true;
        } else if timed_out || current.is_enough(terms) {
            break;
        } else {
            parked.park(&context, &current.found, readers.any_replica);
            let delivered = parked.waiter.delivered();
            timed_out = tokio::time::timeout_at(deadline, delivered).await.is_err();
        }
        current = look(&context, &begun.partitions, terms, &readers);
    }
    drop(parked);
    let done = fetch_answer::complete(&context, shard, begun, current.found, &answer, &reactor);
    Outcome::Reply(done.reply)
}

/// A wait on several partitions; dropping it, for whatever reason, leaves none of them behind.
struct Parked {
    waiter: Waiter,
    partitions: Vec<Arc<Partition>>,
}

impl Parked {
    /// Parks on each partition until its high watermark is above what was just seen.
    fn park(&mut self, context: &Context, found: &[Found], any_replica: bool) {
        self.partitions.clear();
        let ticket = self.waiter.ticket().to_bits();
        for found in found {
            let Some(partition) = &found.partition else { continue };
            let after = found.high_watermark.next();
            let effects = if any_replica {
                partition.park_reader(ticket, after)
            } else {
                partition.park(ticket, after)
            };
            context.carry_out(partition, effects);
            self.partitions.push(Arc::clone(partition));
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let ticket = self.waiter.ticket().to_bits();
        for partition in &self.partitions {
            partition.forget(ticket);
        }
    }
}

/// How each thing found counts for the session.
pub(crate) fn findings(found: &[Found]) -> Vec<Finding> {
    found
        .iter()
        .map(|found| Finding {
            high_watermark: found.high_watermark,
            log_start_offset: found.log_start,
            has_records: found.slice.is_some(),
            is_special: found.is_special(),
        })
        .collect()
}
