//! A producer at full speed: acks=all, up to four requests on the way, from random batches of
//! random codecs. An idempotent one sends again, as it was, whatever it has no answer to; the
//! other gives that up, so that no record of either may ever be there twice.

use crate::idempotence::{Identity, identify};
use crate::workload::{PATIENCE, Shared, Topic, lock, pause};
use anyhow::{Context, Result, bail, ensure};
use jocko_records::{BatchBuilder, Codec, Encoding};
use jocko_testkit::{
    Connection, Id, PartitionAnswer, PartitionBatch, payload, produce_answers, produce_request,
};
use jocko_types::{ErrorCode, Sequence, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A broker remembers the last five batches of each producer: four without an answer, and the one
/// before them, which is sent again to compare the answers.
const IN_FLIGHT_MAX: usize = 4;
/// Between attempts to reach a broker that is down, or that asked for patience.
const PAUSE: Duration = Duration::from_millis(5);
/// The versions whose bodies differ in shape.
const VERSIONS: [i16; 4] = [3, 8, 9, 13];
/// zstd came with this version of Produce (KIP-110).
const ZSTD_SINCE: i16 = 7;

/// A batch as it was sent, to be sent again.
#[derive(Debug, Clone)]
struct Sent {
    partition: usize,
    first: Id,
    count: u32,
    bytes: Vec<u8>,
    /// Acknowledged before: sent again only to see that the answer is the same.
    is_known: bool,
}

pub(crate) struct Producer<'a> {
    number: u16,
    topic: &'a Topic,
    shared: &'a Shared,
    random: fastrand::Rng,
    version: i16,
    idempotent: bool,
    identity: Option<Identity>,
    /// By partition: the number of the next record.
    next: Vec<u64>,
    /// By partition: the sequence of the next record.
    sequences: Vec<i32>,
    /// What must be sent again, in order, before anything new.
    again: VecDeque<Sent>,
    in_flight: VecDeque<(i32, Vec<Sent>)>,
    /// By partition: the last batch that was acknowledged.
    last: BTreeMap<usize, Sent>,
    correlation_id: i32,
}

impl<'a> Producer<'a> {
    pub(crate) fn new(number: u16, shared: &'a Shared, seed: u64) -> Self {
        let topic = &shared.topics[usize::from(number) % shared.topics.len()];
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            number,
            topic,
            shared,
            version: VERSIONS[random.usize(..VERSIONS.len())],
            random,
            // Half of those of each topic.
            idempotent: usize::from(number) / shared.topics.len() % 2 == 1,
            identity: None,
            next: vec![0; topic.partitions.len()],
            sequences: vec![0; topic.partitions.len()],
            again: VecDeque::new(),
            in_flight: VecDeque::new(),
            last: BTreeMap::new(),
            correlation_id: 0,
        }
    }

    /// Produces until told to stop, over as many connections as it takes.
    pub(crate) fn run(mut self) {
        while !self.shared.is_stopped() {
            let served = self.connect().and_then(|mut connection| self.serve(&mut connection));
            if served.is_err() {
                // The broker was killed, or is not up yet.
                self.abandon();
                pause(PAUSE);
            }
        }
    }

    fn connect(&mut self) -> Result<Connection> {
        let connection = Connection::open(self.shared.address, PATIENCE)?;
        if !self.idempotent {
            return Ok(connection);
        }
        // Now and then as a program that starts anew would; always with nothing unanswered.
        let renew = self.again.is_empty() && self.random.u8(..5) == 0;
        if self.identity.is_none() || renew {
            let identity = identify(self.shared.address)?;
            self.shared.note_producer_id(identity.id.get());
            self.identity = Some(identity);
            self.sequences.fill(0);
            self.last.clear();
        }
        // What was acknowledged before the kill must be known after it: the same batch once more
        // gets the same answer.
        for known in std::mem::take(&mut self.last).into_values().rev() {
            self.again.push_front(Sent { is_known: true, ..known });
        }
        Ok(connection)
    }

    /// Keeps the pipeline full until told to stop; then waits for what is on its way.
    fn serve(&mut self, connection: &mut Connection) -> Result<()> {
        loop {
            while self.in_flight.len() < IN_FLIGHT_MAX {
                let Some(batches) = self.next_request()? else { break };
                self.send(connection, batches)?;
            }
            if self.in_flight.is_empty() {
                return Ok(());
            }
            self.receive(connection)?;
        }
    }

    /// What to send next, if anything: what must be sent again, each alone and in order, comes
    /// before what is new.
    fn next_request(&mut self) -> Result<Option<Vec<Sent>>> {
        if self.shared.is_stopped() {
            return Ok(None);
        }
        if let Some(again) = self.again.pop_front() {
            return Ok(Some(vec![again]));
        }
        let mut partitions: Vec<usize> = (0..self.topic.partitions.len()).collect();
        self.random.shuffle(&mut partitions);
        // Mostly one partition at a time, sometimes a few.
        let count = if self.random.u8(..4) == 0 { 3 } else { 1 };
        partitions.truncate(count);
        Ok(Some(partitions.into_iter().map(|at| self.fresh(at)).collect::<Result<_>>()?))
    }

    /// A batch of records that were never sent before.
    fn fresh(&mut self, partition: usize) -> Result<Sent> {
        let codecs = if self.version < ZSTD_SINCE { 4 } else { Codec::ALL.len() };
        let codec = Codec::ALL[self.random.usize(..codecs)];
        let mut builder = BatchBuilder::new(Encoding::new(codec));
        if let Some(identity) = self.identity {
            let sequence = Sequence::new(self.sequences[partition]);
            builder = builder.producer(identity.id, identity.epoch, sequence);
        }
        // Mostly small, sometimes as large as a batch may be.
        let count = match self.random.u8(..16) {
            0 => self.random.u32(1_000..3_000),
            1..8 => self.random.u32(1..10),
            _ => self.random.u32(10..300),
        };
        let first = Id::new(self.number, self.topic.partitions[partition].1, self.next[partition]);
        let mut value = Vec::new();
        for at in 0..count {
            payload(first.plus(u64::from(at)), &mut value);
            builder.push(now(), None, Some(&value), &[])?;
        }
        self.next[partition] += u64::from(count);
        self.sequences[partition] += i32::try_from(count)?;
        Ok(Sent { partition, first, count, bytes: builder.build()?, is_known: false })
    }

    fn send(&mut self, connection: &mut Connection, sent: Vec<Sent>) -> Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let batches: Vec<PartitionBatch<'_>> = sent
            .iter()
            .map(|sent| PartitionBatch {
                partition: i32::try_from(sent.partition).unwrap_or(i32::MAX),
                records: &sent.bytes,
            })
            .collect();
        let topic = (self.topic.name.as_str(), self.topic.id);
        let frame = produce_request(self.correlation_id, self.version, -1, topic, &batches)?;
        // Before it is sent: a send that fails half way may have arrived as a whole.
        self.in_flight.push_back((self.correlation_id, sent));
        Ok(connection.send(&frame)?)
    }

    fn receive(&mut self, connection: &mut Connection) -> Result<()> {
        let frame = connection.receive()?;
        let (correlation_id, answers) = produce_answers(&frame, self.version)?;
        let Some((expected, sent)) = self.in_flight.pop_front() else {
            bail!("an answer to nothing");
        };
        if correlation_id != expected || answers.len() != sent.len() {
            self.shared.refuse(format!("answer {correlation_id} came in the place of {expected}"));
        }
        ensure!(correlation_id == expected, "answers out of order");
        let mut refused = VecDeque::new();
        for sent in sent {
            let partition = i32::try_from(sent.partition)?;
            let answer = answers.iter().find(|answer| answer.partition == partition);
            let answer = answer.context("an answer without one of its partitions")?;
            if !self.settle(&sent, *answer) {
                refused.push_back(sent);
            }
        }
        // Refused ones stay in the order they were made in: all that is in the pipeline behind
        // them was made later. Whether that was refused too does not matter: sent again, it is
        // answered as the first time.
        if self.idempotent && !refused.is_empty() {
            while let Some((_, behind)) = self.in_flight.pop_front() {
                let _ = connection.receive()?;
                refused.extend(behind);
            }
            refused.append(&mut self.again);
            self.again = refused;
            pause(PAUSE);
        }
        Ok(())
    }

    /// Takes note of an answer; `false` if the batch should be sent again.
    fn settle(&mut self, sent: &Sent, answer: PartitionAnswer) -> bool {
        match answer.code {
            ErrorCode::None => {
                let (history, _) = &self.topic.partitions[sent.partition];
                let mut history = lock(history);
                if sent.is_known {
                    history.acknowledge_again(answer.base_offset, sent.first, sent.count);
                } else {
                    history.acknowledge(answer.base_offset, sent.first, sent.count);
                }
                drop(history);
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                if self.idempotent {
                    self.last.insert(sent.partition, sent.clone());
                }
                true
            }
            code if code.is_retriable() && code != ErrorCode::CorruptMessage => false,
            code => {
                let Sent { first, count, is_known, .. } = sent;
                self.shared.refuse(format!(
                    "{} for {count} records from {first} on (sent again: {is_known})",
                    code.name()
                ));
                true
            }
        }
    }

    /// The connection is gone: what had no answer is sent again or given up.
    fn abandon(&mut self) {
        let unanswered = std::mem::take(&mut self.in_flight).into_iter().flat_map(|(_, sent)| sent);
        if self.idempotent {
            // Those on their way were made before those still to be sent again.
            let mut again: VecDeque<Sent> = unanswered.collect();
            again.append(&mut self.again);
            // Those that were only sent to compare answers come again from `last`.
            again.retain(|sent| !sent.is_known || !self.last.contains_key(&sent.partition));
            self.again = again;
        } else {
            drop(unanswered);
        }
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
