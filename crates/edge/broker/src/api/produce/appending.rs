//! Appending the batches of one request in order: what validates quickly where the request is
//! read, the rest by a worker. A few KiB can unpack to the 64 MiB that a batch may, and cost more
//! than a second if its records must be written anew: no reactor may stand still that long.

use super::{Doubt, Doubted, Draft, Pending, Rejected, Terms, failure, hosted, success};
use crate::context::Context;
use crate::internal::is_internal;
use crate::published::Hosted;
use bytes::Bytes;
use jocko_net::Reactor;
use jocko_partition::{Acks, Appended};
use jocko_protocol::RecordBytes;
use jocko_protocol::rpc::produce_request::{PartitionProduceData, ProduceRequest};
use jocko_protocol::rpc::produce_response::TopicProduceResponse;
use jocko_records::{
    AppendRules, BatchError, BatchFault, BatchHeader, Codec, Compression, PreparedBatch,
};
use jocko_types::ErrorCode;
use std::borrow::Cow;
use std::sync::Arc;

/// Compressed batches above this go to a worker.
const PACKED_BYTES_MAX: usize = 64 * 1024;
/// What the batches of a request may unpack to where it is read; what passes it goes to a worker.
const UNPACKED_BYTES_MAX: u64 = 512 * 1024;

/// Where a request's appending stands.
pub(super) struct Appending {
    pub(super) draft: Draft,
    /// The next batch: its topic's place in the request, and its own in the topic.
    topic: usize,
    partition: usize,
    /// What may still be unpacked here.
    unpacked_bytes_left: u64,
}

/// The next batch, which a worker must validate.
pub(super) struct Heavy<'r> {
    hosted: Hosted,
    index: i32,
    pub(super) records: &'r [u8],
    rules: AppendRules,
}

/// The same, by itself.
pub(super) struct Task {
    hosted: Hosted,
    index: i32,
    records: Bytes,
    rules: AppendRules,
}

/// What validation said of a batch.
enum Verdict<'r> {
    Good(PreparedBatch<'r>),
    Bad(BatchError),
    /// Nothing yet: it takes too long here.
    Heavy,
}

/// Whether what was sent is not one batch of the present format.
fn is_no_batch(error: &BatchError) -> bool {
    matches!(
        error.fault(),
        BatchFault::Truncated { .. }
            | BatchFault::OldFormat { .. }
            | BatchFault::NoBatch
            | BatchFault::MoreThanOneBatch
            | BatchFault::ZstdNotAllowed
    )
}

impl Appending {
    pub(super) fn new() -> Self {
        Self {
            draft: Draft::default(),
            topic: 0,
            partition: 0,
            unpacked_bytes_left: UNPACKED_BYTES_MAX,
        }
    }

    /// Appends batch after batch, until all are done or one is for a worker: then
    /// [`Appending::append_heavy`] must follow before this is called again.
    pub(super) fn append<'r>(
        &mut self,
        context: &Context,
        request: &'r ProduceRequest<'_>,
        terms: Terms,
    ) -> Option<Heavy<'r>> {
        let published = context.published.load();
        while let Some(topic) = request.topic_data.get(self.topic) {
            if self.partition == 0 && !topic.partition_data.is_empty() {
                self.draft.response.responses.push(TopicProduceResponse {
                    name: topic.name.to_owned(),
                    topic_id: topic.topic_id,
                    partition_responses: Vec::with_capacity(topic.partition_data.len()),
                    ..Default::default()
                });
            }
            while let Some(data) = topic.partition_data.get(self.partition) {
                let outcome = match hosted(&published, topic, data.index, terms.version) {
                    Err(code) => Err(code.into()),
                    Ok(hosted) => match self.append_light(context, &hosted, data, terms) {
                        Ok(outcome) => outcome.map(|appended| (hosted, appended)),
                        Err((records, rules)) => {
                            return Some(Heavy { hosted, index: data.index, records, rules });
                        }
                    },
                };
                self.note(data.index, outcome, terms);
            }
            self.topic += 1;
            self.partition = 0;
        }
        None
    }

    /// Appends one partition's batch; or says what a worker must validate first.
    fn append_light<'r>(
        &mut self,
        context: &Context,
        hosted: &Hosted,
        data: &PartitionProduceData<'r>,
        terms: Terms,
    ) -> Result<Result<Appended, Rejected>, (&'r [u8], AppendRules)> {
        let records = data.records.as_ref().and_then(RecordBytes::inline).unwrap_or_default();
        if context.guard.refuses_produce() {
            return Ok(Err(ErrorCode::KafkaStorageError.into()));
        }
        let mut rules = hosted.partition.governed().rules;
        rules.now = terms.now;
        // KIP-110: clients that old cannot read zstd back.
        rules.zstd_allowed = terms.version >= 7;
        let verdict = self.validate(records, &rules);
        if !terms.is_admin && is_internal(&hosted.partition.name().topic) {
            return Ok(Err(match verdict {
                // As in Kafka, what is no batch at all comes first.
                Verdict::Bad(error) if is_no_batch(&error) => refused(&error, hosted, terms),
                Verdict::Bad(_) | Verdict::Good(_) | Verdict::Heavy => Rejected {
                    message: Some("only brokers write to an internal topic".to_owned()),
                    ..ErrorCode::InvalidTopicException.into()
                },
            }));
        }
        match verdict {
            Verdict::Heavy => Err((records, rules)),
            Verdict::Good(batch) => Ok(put(context, hosted, &batch, terms)),
            Verdict::Bad(error) => Ok(Err(refused(&error, hosted, terms))),
        }
    }

    fn validate<'r>(&mut self, records: &'r [u8], rules: &AppendRules) -> Verdict<'r> {
        let codec = BatchHeader::read(records).map(|header| header.codec());
        let is_packed = codec.is_some_and(|codec| codec != Ok(Codec::None));
        let is_repacked = matches!(rules.compression, Compression::Target(_));
        if !is_packed && !is_repacked {
            return match jocko_records::prepare(records, rules) {
                Ok(batch) => Verdict::Good(batch),
                Err(error) => Verdict::Bad(error),
            };
        }
        // What is too large altogether is refused before anything is unpacked.
        if records.len() > PACKED_BYTES_MAX && records.len() <= rules.max_message_bytes {
            return Verdict::Heavy;
        }
        let mut here = *rules;
        here.decompressed_bytes_max = rules.decompressed_bytes_max.min(self.unpacked_bytes_left);
        let prepared = jocko_records::prepare(records, &here);
        let left = &mut self.unpacked_bytes_left;
        match prepared {
            Ok(batch) => {
                *left = left.saturating_sub(batch.records_bytes);
                Verdict::Good(batch)
            }
            Err(error)
                if error.fault()
                    == &(BatchFault::DecompressedTooLarge {
                        decompressed_bytes_max: here.decompressed_bytes_max,
                    })
                    && here.decompressed_bytes_max < rules.decompressed_bytes_max =>
            {
                Verdict::Heavy
            }
            Err(error) => {
                // How much of it was unpacked is not known.
                *left /= 2;
                Verdict::Bad(error)
            }
        }
    }

    /// Validates a batch by a worker, then appends it.
    pub(super) async fn append_heavy(
        &mut self,
        context: &Context,
        reactor: &Reactor,
        task: Task,
        terms: Terms,
    ) {
        let Task { hosted, index, records, rules } = task;
        let here = records.clone();
        let prepared = reactor
            .run_blocking(move || jocko_records::prepare(&records, &rules).map(detach))
            .await;
        let outcome = match prepared {
            Some(Ok((batch, borrowed))) => {
                let batch = attach(batch, borrowed, &here);
                put(context, &hosted, &batch, terms)
            }
            Some(Err(error)) => Err(refused(&error, &hosted, terms)),
            // The worker has said why in the log, or the broker stops.
            None => Err(ErrorCode::UnknownServerError.into()),
        };
        self.note(index, outcome.map(|appended| (hosted, appended)), terms);
    }

    /// Writes down what became of the next batch, and goes on to the one after it.
    fn note(&mut self, index: i32, outcome: Result<(Hosted, Appended), Rejected>, terms: Terms) {
        self.partition += 1;
        let topic = self.draft.response.responses.len().saturating_sub(1);
        let Some(answers) = self.draft.response.responses.last_mut() else { return };
        let answers = &mut answers.partition_responses;
        match outcome {
            Ok((hosted, appended)) => {
                answers.push(success(index, &appended));
                if terms.acks == Acks::All && !appended.is_committed {
                    let (partition, index) = (hosted.partition, answers.len() - 1);
                    self.draft.pending.push(Pending { partition, appended, topic, index });
                }
            }
            Err(mut rejected) => {
                self.draft.has_failed = true;
                if let Some(doubt) = rejected.doubt.take() {
                    self.draft.doubted.push(Doubted { doubt, topic, index: answers.len() });
                }
                answers.push(failure(index, rejected));
            }
        }
    }
}

impl Heavy<'_> {
    /// The batch apart from its request, of whose `body` its records are a part.
    pub(super) fn detach(self, body: &Bytes) -> Task {
        Task {
            hosted: self.hosted,
            index: self.index,
            records: body.slice_ref(self.records),
            rules: self.rules,
        }
    }
}

/// Appends a batch that has been validated.
fn put(
    context: &Context,
    hosted: &Hosted,
    batch: &PreparedBatch<'_>,
    terms: Terms,
) -> Result<Appended, Rejected> {
    // Transactions do not exist yet, so no producer can be within one.
    if batch.header.attributes.is_transactional() {
        return Err(ErrorCode::InvalidTxnState.into());
    }
    // Before the log judges sequences: one that has fallen behind would call good ones bad.
    if context.cluster.contact.is_lost() {
        return Err(ErrorCode::NotLeaderOrFollower.into());
    }
    let ticket = terms.ticket.map(jocko_net::Ticket::to_bits);
    let (outcome, effects) = hosted.partition.append(batch, terms.acks, terms.now, ticket);
    context.carry_out(&hosted.partition, effects);
    outcome.map_err(|refused| {
        let gap_in = refused.gap_in;
        let mut rejected = Rejected::from(refused);
        if let (Some(leader_epoch), Some(moment)) = (gap_in, context.cluster.contact.moment()) {
            let partition = Arc::clone(&hosted.partition);
            rejected.doubt = Some(Doubt { partition, leader_epoch, moment });
        }
        if rejected.code == ErrorCode::NotEnoughReplicas {
            // Whom too few follow knows its log all the same.
            rejected.log_start = hosted.partition.log_start();
        }
        rejected
    })
}

fn refused(error: &BatchError, hosted: &Hosted, terms: Terms) -> Rejected {
    Rejected::of_batch(error, hosted.partition.log_start(), terms.version)
}

/// A batch without the bytes it borrows, and how many of them it borrows: those at the front.
fn detach(batch: PreparedBatch<'_>) -> (PreparedBatch<'static>, Option<usize>) {
    let (bytes, borrowed) = match batch.bytes {
        Cow::Borrowed(bytes) => (Cow::Owned(Vec::new()), Some(bytes.len())),
        Cow::Owned(bytes) => (Cow::Owned(bytes), None),
    };
    (PreparedBatch { bytes, ..batch }, borrowed)
}

/// Gives a batch the bytes back that [`detach`] took.
fn attach<'r>(
    batch: PreparedBatch<'static>,
    borrowed: Option<usize>,
    records: &'r [u8],
) -> PreparedBatch<'r> {
    match borrowed.and_then(|len| records.get(..len)) {
        Some(bytes) => PreparedBatch { bytes: Cow::Borrowed(bytes), ..batch },
        None => batch,
    }
}

#[cfg(test)]
mod tests;
