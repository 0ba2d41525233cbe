//! Writing batches so that each is there once, however often it had to be sent (KIP-98, KIP-360).
//!
//! With acks=all every batch carries the id of its producer and the sequence of its first record, by
//! which a leader knows what it has already. One batch is under way at a time, so a sequence that
//! is refused as out of order can only mean that the log has lost what it had acknowledged.

use super::Client;
use crate::client::writing::Produced;
use crate::error::{ClientError, Result};
use jocko_protocol::rpc::init_producer_id_request::InitProducerIdRequest;
use jocko_records::{BatchBuilder, BuildError, Encoding};
use jocko_types::{ErrorCode, ProducerEpoch, ProducerId, Sequence};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Everyone who is to have a batch has it on disk.
const ACKS_ALL: i16 = -1;
/// The first pause before a batch is sent again; each one is twice as long as the last.
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(20);
/// The longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Writes batches, one after the other, again and again while that may help.
#[derive(Debug)]
pub struct Producer {
    acks: i16,
    identity: Option<Identity>,
    /// The cluster gives no ids: batches go without.
    is_anonymous: bool,
    /// What comes next in each partition under this identity; zero where nothing stands.
    sequences: BTreeMap<(String, i32), Sequence>,
}

#[derive(Debug, Clone, Copy)]
struct Identity {
    id: ProducerId,
    epoch: ProducerEpoch,
}

/// Why a batch was not acknowledged.
#[derive(Debug)]
pub struct Unacknowledged {
    /// What the last attempt came to.
    pub error: ClientError,
    /// Whether some attempt may have written the batch all the same.
    pub may_be_written: bool,
}

/// What is to be done after an attempt that failed.
enum Next {
    /// It is there: an earlier attempt wrote it.
    Done,
    /// The same batch once more.
    Again,
    /// Once more, as a producer that the leader has never heard of.
    AgainAnew,
    Fail,
}

impl Producer {
    /// A producer that waits for `acks`: -1 (all), 1 or 0. Only with all is each batch there once:
    /// with 1, a connection that breaks may double what was under way; with 0 it may lose it.
    #[must_use]
    pub fn new(acks: i16) -> Self {
        Self { acks, identity: None, is_anonymous: acks != ACKS_ALL, sequences: BTreeMap::new() }
    }

    /// Writes one batch to a partition, for as long as the client's timeout. `troubled` hears of
    /// each attempt that failed and is followed by another.
    ///
    /// # Errors
    /// What stood in the way last.
    pub async fn write(
        &mut self,
        client: &mut Client,
        (topic, partition): (&str, i32),
        batch: BatchBuilder,
        troubled: impl Fn(&ClientError),
    ) -> std::result::Result<Produced, Unacknowledged> {
        let mut attempt = Attempt {
            give_up: Instant::now() + client.timeout,
            topic,
            partition,
            batch,
            bytes: Vec::new(),
            may_be_written: false,
            last: None,
        };
        let outcome = self.try_until_done(client, &mut attempt, troubled).await;
        // Whether the sequence is used up, or what the leader expects, nobody can say any more.
        if outcome.as_ref().is_err_and(|error| attempt.may_be_written || is_lost(error)) {
            self.forget_identity();
        }
        outcome.map_err(|error| Unacknowledged { error, may_be_written: attempt.may_be_written })
    }

    /// Attempts, with growing pauses, until one ends it or the time is over.
    async fn try_until_done(
        &mut self,
        client: &mut Client,
        attempt: &mut Attempt<'_>,
        troubled: impl Fn(&ClientError),
    ) -> Result<Produced> {
        let mut pause = RETRY_PAUSE_FIRST;
        loop {
            let give_up = attempt.give_up;
            let trying = self.try_once(client, attempt);
            let error = match tokio::time::timeout_at(give_up, trying).await {
                Ok(Ok(produced)) => return Ok(produced),
                Ok(Err(error)) => error,
                // The attempt that was cut short tells less than the one before.
                Err(_) => return Err(attempt.out_of_time(client)),
            };
            match self.after(&error, attempt) {
                Next::Done => return Ok(self.done(attempt, None)),
                Next::Fail => return Err(error),
                Next::AgainAnew => self.forget_identity(),
                Next::Again => {}
            }
            if Instant::now() + pause >= attempt.give_up {
                return Err(error);
            }
            troubled(&error);
            attempt.last = Some(error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    async fn try_once(
        &mut self,
        client: &mut Client,
        attempt: &mut Attempt<'_>,
    ) -> Result<Produced> {
        if self.identity.is_none() && !self.is_anonymous {
            self.identity = client.init_producer_id().await?;
            self.is_anonymous = self.identity.is_none();
            attempt.bytes.clear();
        }
        if attempt.bytes.is_empty() {
            let sequence = self.sequence(attempt);
            attempt.encode(self.identity, sequence).map_err(ClientError::Unbuildable)?;
        }
        let had_doubt = std::mem::replace(&mut attempt.may_be_written, true);
        // A batch that is known again may go out again before all patience is used up.
        let patience = match self.identity {
            Some(_) => client.patience_with_one(),
            None => client.timeout,
        };
        let terms = (self.acks, patience);
        let produced =
            client.produce_within(attempt.topic, attempt.partition, &attempt.bytes, terms).await;
        match produced {
            Ok(produced) => Ok(self.done(attempt, produced.base_offset)),
            Err(error) => {
                attempt.may_be_written = had_doubt || leaves_doubt(&error);
                Err(error)
            }
        }
    }

    fn sequence(&self, attempt: &Attempt<'_>) -> Sequence {
        let key = (attempt.topic.to_owned(), attempt.partition);
        self.sequences.get(&key).copied().unwrap_or(Sequence::new(0))
    }

    fn done(
        &mut self,
        attempt: &Attempt<'_>,
        base_offset: Option<jocko_types::Offset>,
    ) -> Produced {
        let next = self.sequence(attempt).plus(attempt.batch.record_count());
        self.sequences.insert((attempt.topic.to_owned(), attempt.partition), next);
        Produced { base_offset }
    }

    /// What a failed attempt leads to.
    fn after(&self, error: &ClientError, attempt: &Attempt<'_>) -> Next {
        match error {
            ClientError::Refused { code, .. } if self.identity.is_some() => match code {
                // Written so long ago that the leader has forgotten where.
                ErrorCode::DuplicateSequenceNumber => Next::Done,
                // All that this producer wrote is gone from the log: what an earlier attempt may
                // have written with it, so nothing can be doubled.
                ErrorCode::UnknownProducerId => Next::AgainAnew,
                // Certainly not written under the old id, so it may go under a new one.
                ErrorCode::InvalidProducerEpoch | ErrorCode::InvalidProducerIdMapping
                    if !attempt.may_be_written =>
                {
                    Next::AgainAnew
                }
                code if code.is_retriable() => Next::Again,
                _ => Next::Fail,
            },
            error if error.is_retriable() => Next::Again,
            _ => Next::Fail,
        }
    }

    /// The next batch begins as a new producer, everywhere.
    fn forget_identity(&mut self) {
        self.identity = None;
        self.sequences.clear();
    }
}

/// One batch on its way.
struct Attempt<'a> {
    give_up: Instant,
    topic: &'a str,
    partition: i32,
    batch: BatchBuilder,
    /// The batch under the identity it goes with; empty until there is one.
    bytes: Vec<u8>,
    may_be_written: bool,
    last: Option<ClientError>,
}

impl Attempt<'_> {
    fn encode(
        &mut self,
        identity: Option<Identity>,
        sequence: Sequence,
    ) -> std::result::Result<(), BuildError> {
        if let Some(identity) = identity {
            // Its records stay where they are: only the header changes.
            let batch = std::mem::replace(&mut self.batch, BatchBuilder::new(Encoding::NONE));
            self.batch = batch.producer(identity.id, identity.epoch, sequence);
        }
        self.bytes = self.batch.build()?;
        Ok(())
    }

    fn out_of_time(&mut self, client: &Client) -> ClientError {
        let address = || {
            let leader = client.known_leader(self.topic, self.partition).map(|known| known.0);
            leader.and_then(|leader| client.address_of(leader)).ok()
        };
        self.last.take().unwrap_or_else(|| ClientError::TimedOut {
            address: address().unwrap_or_else(|| client.bootstrap.join(",")),
            waited: client.timeout,
        })
    }
}

/// Whether the leader and the producer have come apart.
fn is_lost(error: &ClientError) -> bool {
    let ClientError::Refused { code, .. } = error else { return false };
    matches!(
        code,
        ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::ProducerFenced
    )
}

/// Whether the batch may be there after this.
fn leaves_doubt(error: &ClientError) -> bool {
    match error {
        ClientError::Broken { .. } | ClientError::TimedOut { .. } | ClientError::Malformed(_) => {
            true
        }
        ClientError::Refused { code, .. } => matches!(
            code,
            ErrorCode::RequestTimedOut
                // Also where the lead was lost while the batch waited for other replicas.
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::NotEnoughReplicasAfterAppend
                | ErrorCode::KafkaStorageError
                | ErrorCode::NetworkException
                | ErrorCode::UnknownServerError
        ),
        _ => false,
    }
}

impl Client {
    /// An id for a producer without transactions; `None` where the cluster is too old to give any,
    /// or gives this user none (before Kafka 2.8 that is a right of its own).
    async fn init_producer_id(&mut self) -> Result<Option<Identity>> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            producer_id: ProducerId::NONE.get(),
            producer_epoch: -1,
            ..Default::default()
        };
        let answer = match self.ask(&request).await {
            Err(ClientError::NotServed { .. }) => return Ok(None),
            answer => answer?,
        };
        let response = answer.get()?;
        match jocko_protocol::error_code(response.error_code) {
            ErrorCode::ClusterAuthorizationFailed => Ok(None),
            _ => {
                ClientError::check(response.error_code, None)?;
                let id = ProducerId::new(response.producer_id);
                Ok(Some(Identity { id, epoch: ProducerEpoch::new(response.producer_epoch) }))
            }
        }
    }
}
