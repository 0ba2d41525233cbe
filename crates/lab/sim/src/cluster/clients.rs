//! Clients: idempotent producers that wait for all replicas, careless ones that wait for the leader
//! alone, consumers by offset, and groups that commit. What they see goes into a history, which the checker of
//! `jocko-testkit` judges.

mod careless;
mod fleeting;
mod grouped;
mod members;
mod moving;
#[cfg(test)]
mod puppet;
mod reading;
mod removing;

pub(super) use careless::produce_carelessly;
pub(super) use fleeting::{FLEETING, come_and_go};
pub(super) use grouped::commit;
pub(super) use members::take_part;
pub(super) use moving::move_replicas;
#[cfg(test)]
pub(super) use puppet::Puppet;
pub(super) use reading::{consume, read_finally};
pub(super) use removing::remove;

use super::knowledge::Knowledge;
use super::machine::kafka_at;
use super::wire::Wire;
use crate::dice::Dice;
use jocko_protocol::rpc::init_producer_id_request::InitProducerIdRequest;
use jocko_protocol::rpc::metadata_request::{MetadataRequest, MetadataRequestTopic};
use jocko_protocol::rpc::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use jocko_protocol::{RecordBytes, error_code};
use jocko_records::{BatchBuilder, Encoding};
use jocko_testkit::{Event, Outcome, value_of};
use jocko_types::{ErrorCode, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The topic of every run.
pub(super) const TOPIC: &str = "t";
/// How many partitions it has.
pub(super) const PARTITIONS: u32 = 2;

const METADATA: i16 = 12;
const PRODUCE: i16 = 11;
/// The first that names topics by their ids.
const PRODUCE_BY_ID: i16 = 13;
const INIT_PRODUCER_ID: i16 = 4;

/// All replicas in sync have it.
const ACKS_ALL: i16 = -1;
/// How long a leader may wait for the replicas.
const ACKS_MS: i32 = 4_000;
/// How many clients of a thousand know of epochs.
const EPOCHS_PER_MILLE: u64 = 700;
/// How long a batch is tried again before its producer gives it up.
const GIVE_UP: Duration = Duration::from_secs(60);

/// What all clients of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) events: RefCell<Vec<Event>>,
    /// Before which event everything may have been lost, by its number.
    pub(super) losses: RefCell<Vec<usize>>,
    /// Told to stop when the cluster has healed.
    pub(super) is_over: Cell<bool>,
    pub(super) acknowledged: Cell<u64>,
    /// Records that a leader alone acknowledged.
    pub(super) careless: Cell<u64>,
    pub(super) read: Cell<u64>,
    /// Offsets that groups committed.
    pub(super) commits: Cell<u64>,
    /// Heartbeats of members of a group that were answered.
    pub(super) beats: Cell<u64>,
    /// Who has which partition.
    owners: RefCell<members::Owners>,
    /// Replicas that were to be moved.
    pub(super) moves: Cell<u64>,
    /// Lives of a topic that are over: it was deleted, and that was acknowledged.
    pub(super) gone: RefCell<Vec<TopicId>>,
    /// Reads of an epoch that is over, which were refused.
    pub(super) fenced: Cell<u64>,
    /// What only the inside of brokers shows.
    pub(super) known: RefCell<Knowledge>,
    /// Something that no history shows.
    pub(super) wrong: RefCell<Option<String>>,
    /// What clients met, and how often.
    pub(super) met: RefCell<BTreeMap<String, u64>>,
    /// The brokers that are part of the cluster, and are to stay.
    pub(super) members: RefCell<Vec<u32>>,
    /// The broker that is being removed.
    pub(super) leaving: Cell<Option<u32>>,
    /// It keeps no copies any more, and may be switched off.
    pub(super) may_end: Cell<bool>,
    next_process: Cell<u32>,
}

impl Shared {
    pub(super) fn new(brokers: u32) -> Rc<Self> {
        Rc::new(Self {
            events: RefCell::default(),
            losses: RefCell::default(),
            is_over: Cell::new(false),
            acknowledged: Cell::new(0),
            careless: Cell::new(0),
            read: Cell::new(0),
            commits: Cell::new(0),
            beats: Cell::new(0),
            owners: RefCell::default(),
            moves: Cell::new(0),
            gone: RefCell::default(),
            fenced: Cell::new(0),
            known: RefCell::default(),
            wrong: RefCell::default(),
            met: RefCell::default(),
            members: RefCell::new((1..=brokers).collect()),
            leaving: Cell::new(None),
            may_end: Cell::new(false),
            next_process: Cell::new(1),
        })
    }

    pub(super) fn process(&self) -> u32 {
        let process = self.next_process.get();
        self.next_process.set(process + 1);
        process
    }

    fn note(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// From now on what clients know may be lost.
    pub(super) fn lose(&self) {
        self.losses.borrow_mut().push(self.events.borrow().len());
    }

    /// How often everything may have been lost.
    fn lost(&self) -> usize {
        self.losses.borrow().len()
    }

    /// Something that must not happen has.
    fn blame(&self, words: String) {
        self.wrong.borrow_mut().get_or_insert(words);
    }

    fn meet(&self, doing: &str, what: &impl Debug) {
        *self.met.borrow_mut().entry(format!("{doing}: {what:?}")).or_default() += 1;
    }
}

/// A client: what it knows of the cluster.
pub(super) struct Client {
    wire: Wire,
    dice: Dice,
    shared: Rc<Shared>,
    topic: &'static str,
    /// The one life of the topic that the client is after, and its number; none for whatever topic has
    /// the name.
    life: Option<(TopicId, u32)>,
    /// By partition.
    leaders: Vec<Option<u32>>,
    /// Whether it names the epochs of leaders when it reads (KIP-320): some clients never do.
    knows_epochs: bool,
    /// The epochs that leaders were named with, by partition, the newest last.
    epochs: Vec<Vec<i32>>,
}

impl Client {
    pub(super) fn new(wire: Wire, seed: u64, shared: &Rc<Shared>) -> Self {
        let leaders = vec![None; PARTITIONS as usize];
        let epochs = vec![Vec::new(); PARTITIONS as usize];
        let (mut dice, shared) = (Dice::new(seed), Rc::clone(shared));
        let knows_epochs = dice.per_mille(EPOCHS_PER_MILLE);
        Self { wire, dice, shared, topic: TOPIC, life: None, leaders, knows_epochs, epochs }
    }

    /// What the topic is called in histories: each life of one is another.
    fn called(&self) -> String {
        match self.life {
            None => self.topic.to_owned(),
            Some((_, number)) => format!("{}, life {number}", self.topic),
        }
    }

    fn anyone(&mut self) -> u32 {
        self.dice.pick(&self.shared.members.borrow()).unwrap_or(1)
    }

    /// All brokers, in any order.
    fn shuffled(&mut self) -> Vec<i32> {
        let mut left: Vec<i32> =
            self.shared.members.borrow().iter().filter_map(|it| i32::try_from(*it).ok()).collect();
        let mut shuffled = Vec::new();
        while let Some(one) = self.dice.pick(&left) {
            left.retain(|it| *it != one);
            shuffled.push(one);
        }
        shuffled
    }

    /// Asks any broker who leads.
    async fn refresh(&mut self) -> io::Result<()> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(self.topic.to_owned()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let to = kafka_at(self.anyone());
        let found = self.wire.ask(to, METADATA, &request, |response| {
            let topic = response.topics.first()?;
            let leaders: Vec<(usize, Option<u32>, i32)> = topic
                .partitions
                .iter()
                .filter_map(|it| {
                    let index = usize::try_from(it.partition_index).ok()?;
                    Some((index, u32::try_from(it.leader_id).ok(), it.leader_epoch))
                })
                .collect();
            Some((topic.topic_id, leaders))
        });
        let Some((topic_id, leaders)) = found.await? else { return Ok(()) };
        if self.life.is_some_and(|(life, _)| life != topic_id) {
            return Ok(());
        }
        for (index, leader, epoch) in leaders {
            if let (Some(known), Some(epochs)) =
                (self.leaders.get_mut(index), self.epochs.get_mut(index))
            {
                *known = leader;
                if epochs.last().is_none_or(|last| *last < epoch) {
                    epochs.push(epoch);
                }
            }
        }
        Ok(())
    }

    /// The id that a broker knows the topic by; none where it gives no answer.
    async fn id_at(&mut self, broker: u32) -> Option<TopicId> {
        let name = Some(self.topic.to_owned());
        let topics = Some(vec![MetadataRequestTopic { name, ..Default::default() }]);
        let request =
            MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let asked = self.wire.ask(kafka_at(broker), METADATA, &request, |response| {
            response.topics.first().map(|topic| topic.topic_id)
        });
        asked.await.ok().flatten()
    }

    /// The leader of a partition, as far as somebody knows one.
    async fn leader(&mut self, partition: u32) -> Option<u32> {
        if self.leaders[partition as usize].is_none() {
            // Whoever was asked may be gone; the next time somebody else is.
            if let Err(error) = self.refresh().await {
                self.shared.meet("metadata", &error);
            }
        }
        self.leaders[partition as usize]
    }

    async fn rest(&mut self, millis_max: u64) {
        sleep(Duration::from_millis(self.dice.between(1, millis_max))).await;
    }

    fn is_over(&self) -> bool {
        self.shared.is_over.get()
    }
}

/// A batch on its way.
struct Batch {
    partition: u32,
    bytes: Vec<u8>,
}

/// Writes until the run is over.
pub(super) async fn produce(mut client: Client) {
    while !client.is_over() {
        let process = client.shared.process();
        let lost = client.shared.lost();
        let Some(producer_id) = register(&mut client).await else { return };
        let mut number = 0;
        let mut sequences = [0_i32; PARTITIONS as usize];
        // Whoever had written what is lost begins anew.
        while !client.is_over() && client.shared.lost() == lost {
            let partition = client.dice.below(u64::from(PARTITIONS)) as u32;
            let count = client.dice.between(1, 4) as u32;
            let sequence = &mut sequences[partition as usize];
            let value = value_of(process, number);
            let producer = (producer_id, Sequence::new(*sequence));
            let bytes = batch(Some(producer), (value, count));
            let outcome = send(&mut client, &Batch { partition, bytes }).await;
            number += u64::from(count);
            *sequence += i32::try_from(count).expect("four at most");
            let (offset, outcome) = match outcome {
                Ok(offset) if client.shared.lost() == lost => (Some(offset), Outcome::Acknowledged),
                _ => (None, Outcome::Unknown),
            };
            client.shared.note(Event::Send {
                process,
                topic: client.called(),
                partition,
                value,
                count,
                offset,
                outcome,
            });
            if offset.is_none() {
                // Whoever gave a batch up begins anew, as another producer.
                break;
            }
            client.shared.acknowledged.set(client.shared.acknowledged.get() + u64::from(count));
            client.rest(200).await;
        }
    }
}

async fn register(client: &mut Client) -> Option<ProducerId> {
    loop {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 1_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let to = kafka_at(client.anyone());
        let given = client.wire.ask(to, INIT_PRODUCER_ID, &request, |response| {
            (error_code(response.error_code), response.producer_id)
        });
        match given.await {
            Ok((ErrorCode::None, id)) => return Some(ProducerId::new(id)),
            other => client.shared.meet("init", &other),
        }
        if client.is_over() {
            return None;
        }
        client.rest(200).await;
    }
}

/// Numbered records as a batch, of an idempotent producer or of one that is not.
fn batch(producer: Option<(ProducerId, Sequence)>, (value, count): (u64, u32)) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    if let Some((id, sequence)) = producer {
        builder = builder.producer(id, ProducerEpoch::new(0), sequence);
    }
    for value in value..value + u64::from(count) {
        let bytes = value.to_be_bytes();
        builder
            .push(Timestamp::from_millis(1_700_000_000_000), None, Some(&bytes), &[])
            .expect("small records");
    }
    builder.build().expect("small records")
}

/// Sends until it is acknowledged: at which offset. Given up where nobody can tell what became of it.
async fn send(client: &mut Client, batch: &Batch) -> Result<i64, ()> {
    let (began, lost) = (Instant::now(), client.shared.lost());
    loop {
        if client.shared.lost() > lost {
            // What the producer wrote before may be gone.
            return Err(());
        }
        if let Some(leader) = client.leader(batch.partition).await {
            let sent = send_once(client, leader, batch, ACKS_ALL).await;
            client.shared.meet("produce", &sent.as_ref().map(|(code, _)| code));
            match sent {
                Ok((ErrorCode::None, offset)) if offset >= 0 => return Ok(offset),
                // It is there, from an earlier attempt; where is not known any more.
                Ok((ErrorCode::None | ErrorCode::DuplicateSequenceNumber, _)) => return Err(()),
                Ok((ErrorCode::OutOfOrderSequenceNumber, _)) if client.shared.lost() > lost => {
                    return Err(());
                }
                Ok((ErrorCode::OutOfOrderSequenceNumber, _)) => {
                    let words = format!(
                        "broker {leader} misses what a producer of partition {} was acknowledged",
                        batch.partition
                    );
                    client.shared.blame(words);
                    return Err(());
                }
                Ok((
                    ErrorCode::NotEnoughReplicas
                    | ErrorCode::NotEnoughReplicasAfterAppend
                    | ErrorCode::RequestTimedOut,
                    _,
                )) => {}
                Ok(_) | Err(_) => client.leaders[batch.partition as usize] = None,
            }
        }
        if began.elapsed() > GIVE_UP {
            return Err(());
        }
        client.rest(200).await;
    }
}

async fn send_once(
    client: &mut Client,
    to: u32,
    batch: &Batch,
    acks: i16,
) -> io::Result<(ErrorCode, i64)> {
    let request = ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: ACKS_MS,
        topic_data: vec![TopicProduceData {
            name: client.topic,
            topic_id: client.life.map_or(TopicId::ZERO, |(id, _)| id),
            partition_data: vec![PartitionProduceData {
                index: i32::try_from(batch.partition).expect("a handful"),
                records: Some(RecordBytes::Inline(&batch.bytes)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let version = if client.life.is_some() { PRODUCE_BY_ID } else { PRODUCE };
    let answered = client.wire.ask(kafka_at(to), version, &request, |response| {
        let topic = response.responses.first()?;
        let partition = topic.partition_responses.first()?;
        Some((error_code(partition.error_code), partition.base_offset))
    });
    answered.await?.ok_or_else(|| io::Error::other("an answer without the partition"))
}
