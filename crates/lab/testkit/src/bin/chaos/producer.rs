//! A producer with acks=all and idempotence, one batch on its way at a time, to one partition. It
//! sends a batch again, byte for byte, until somebody says what became of it.

use crate::value::bytes_of;
use crate::workload::{Rover, Shared, error_kind, pause};
use anyhow::Result;
use jocko_client::ClientError;
use jocko_protocol::rpc::InitProducerIdRequest;
use jocko_records::{BatchBuilder, Encoding};
use jocko_testkit::{Event, Outcome, value_of};
use jocko_types::{ErrorCode, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::time::{Duration, Instant};

/// How long a batch is tried: longer than any fault lasts.
const DELIVERY_MAX: Duration = Duration::from_secs(60);
/// How long a batch is tried still when the round is over and all is healed.
const FAREWELL_MAX: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two batches, at most.
const INTERVAL_MAX_MS: u64 = 12;
const RECORDS_MAX: u32 = 20;

pub(crate) struct Producer<'a> {
    shared: &'a Shared,
    process: u32,
    partition: u32,
    random: fastrand::Rng,
    rover: Rover,
    identity: Option<(ProducerId, ProducerEpoch)>,
    sequence: i32,
    /// The number of the next record.
    next: u64,
}

/// What an attempt says.
enum Answer {
    At(i64),
    /// The same bytes again.
    Again(Outcome),
    /// Nothing more is to be learnt.
    Over(Outcome),
}

impl<'a> Producer<'a> {
    pub(crate) fn new(shared: &'a Shared, process: u32, seed: u64) -> Result<Self> {
        let partition = (process - 1) % shared.partitions;
        Ok(Self {
            shared,
            process,
            partition,
            random: fastrand::Rng::with_seed(seed),
            rover: Rover::new(&shared.bootstrap, process as usize)?,
            identity: None,
            sequence: 0,
            next: 0,
        })
    }

    /// Produces until told to stop.
    pub(crate) fn run(mut self) {
        while !self.shared.are_producers_stopped() {
            let count = self.random.u32(1..=RECORDS_MAX);
            self.write(count);
            pause(Duration::from_millis(self.random.u64(..INTERVAL_MAX_MS)));
        }
    }

    fn write(&mut self, count: u32) {
        let value = value_of(self.process, self.next);
        self.next += u64::from(count);
        let begun = Instant::now();
        let mut batch = Vec::new();
        let mut outcome = Outcome::Failed;
        let mut offset = None;
        let shared = self.shared;
        let give_up = || {
            let tried_max =
                if shared.are_producers_stopped() { FAREWELL_MAX } else { DELIVERY_MAX };
            begun.elapsed() > tried_max
        };
        while !give_up() {
            if self.identity.is_none() && self.shared.acks == -1 && !self.identify() {
                pause(PAUSE);
                continue;
            }
            if batch.is_empty() {
                batch = self.encode(value, count);
            }
            match self.attempt(&batch) {
                Answer::At(at) => {
                    if shared.acks == -1 {
                        shared.keep(self.partition, &batch, at);
                    }
                    offset = Some(at);
                    outcome = Outcome::Acknowledged;
                    break;
                }
                Answer::Again(so_far) => outcome = outcome.and(so_far),
                Answer::Over(at_last) => {
                    outcome = outcome.and(at_last);
                    break;
                }
            }
            // Without sequences a second attempt may double what the first has written.
            if self.shared.acks != -1 {
                break;
            }
            pause(PAUSE);
        }
        self.conclude((value, count), outcome, offset);
        if offset.is_none() && give_up() {
            self.shared.complain(format!(
                "partition {}: a batch was tried for {:.0?} in vain",
                self.partition,
                begun.elapsed()
            ));
        }
    }

    fn conclude(&mut self, (value, count): (u64, u32), outcome: Outcome, offset: Option<i64>) {
        let (process, partition) = (self.process, self.partition);
        let topic = self.shared.topic.clone();
        let event = Event::Send { process, topic, partition, value, count, offset, outcome };
        self.shared.record(&event);
        if offset.is_some() {
            self.sequence = self.sequence.wrapping_add(i32::try_from(count).unwrap_or(0));
            self.shared.acknowledged(partition, count);
        } else {
            // What the leader expects next, nobody can say.
            self.identity = None;
        }
    }

    /// Asks for an identity; whether there is one now.
    fn identify(&mut self) -> bool {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            producer_id: ProducerId::NONE.get(),
            producer_epoch: -1,
            ..Default::default()
        };
        let answered = self.rover.with(async |client| {
            let answer = client.ask(&request).await?;
            let response = answer.get()?;
            ClientError::check(response.error_code, None)?;
            Ok((response.producer_id, response.producer_epoch))
        });
        match answered {
            Ok((id, epoch)) => {
                self.identity = Some((ProducerId::new(id), ProducerEpoch::new(epoch)));
                self.sequence = 0;
                true
            }
            Err(error) => {
                self.troubled("InitProducerId", &error);
                if !error.is_retriable() {
                    self.complain(&format!("InitProducerId: {error}"));
                }
                false
            }
        }
    }

    fn encode(&self, value: u64, count: u32) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Encoding::NONE);
        if let Some((id, epoch)) = self.identity {
            builder = builder.producer(id, epoch, Sequence::new(self.sequence));
        }
        for value in value..value + u64::from(count) {
            let pushed = builder.push(now(), None, Some(&bytes_of(value)), &[]);
            pushed.expect("small records fit into a batch");
        }
        builder.build().expect("a batch with records")
    }

    fn attempt(&mut self, batch: &[u8]) -> Answer {
        let Shared { topic, acks, .. } = self.shared;
        let partition = i32::try_from(self.partition).unwrap_or(i32::MAX);
        let sent =
            self.rover.with(async |client| client.produce(topic, partition, batch, *acks).await);
        let error = match sent {
            Ok(produced) => {
                let offset = produced.base_offset.map_or(-1, jocko_types::Offset::get);
                if offset < 0 {
                    self.complain(&format!("success without an offset ({offset})"));
                    return Answer::Over(Outcome::Unknown);
                }
                return Answer::At(offset);
            }
            Err(error) => error,
        };
        self.troubled("Produce", &error);
        match &error {
            // It was not even sent.
            ClientError::Unreachable { .. } => Answer::Again(Outcome::Failed),
            ClientError::Refused { code, message } => self.refused(*code, message.as_deref()),
            error if error.is_retriable() => Answer::Again(Outcome::Unknown),
            // Metadata of a broker that does not know the topic yet.
            ClientError::NoSuchTopic(_) | ClientError::NoSuchPartition { .. } => {
                Answer::Again(Outcome::Failed)
            }
            error => {
                self.complain(&error.to_string());
                Answer::Over(Outcome::Unknown)
            }
        }
    }

    fn refused(&self, code: ErrorCode, words: Option<&str>) -> Answer {
        let words = words.unwrap_or_default();
        match code {
            // Retriable for clients, but no broker may say it to a produce ; it would make some of them double records.
            ErrorCode::UnknownServerError
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::DuplicateSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::CorruptMessage => {
                self.complain(&format!("{} in answer to a produce: {words}", code.name()));
                Answer::Over(Outcome::Unknown)
            }
            // Its clock is behind: to it the records come from the future, as to Kafka.
            ErrorCode::InvalidTimestamp => Answer::Again(Outcome::Failed),
            // Its metadata was old: no leader at all was found.
            ErrorCode::LeaderNotAvailable => Answer::Again(Outcome::Failed),
            code if code.is_retriable() => Answer::Again(Outcome::of_refusal(code)),
            code => {
                self.complain(&format!("{} in answer to a produce: {words}", code.name()));
                Answer::Over(Outcome::of_refusal(code))
            }
        }
    }

    fn complain(&self, what: &str) {
        self.shared
            .complain(format!("producer {}, partition {}: {what}", self.process, self.partition));
    }

    /// Counts an error; where a broker is not what it should be, another one is asked next.
    fn troubled(&mut self, doing: &str, error: &ClientError) {
        self.shared.trouble(format!("{doing}: {}", error_kind(error)));
        if !matches!(error, ClientError::Refused { .. }) {
            self.rover.rove();
        }
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
