//! A partition on a disk in memory: what its clients are told, and what is still true after the
//! disk failed, the process was stopped, or the power went.

mod administering;
mod appending;
mod closing;
mod compacting;
mod crash;
mod damage;
mod faults;
mod following;
mod readers;
mod reading;
mod replicas;
mod retention;
mod together;
mod unlocked;

use crate::{
    Acks, Appended, Assignment, Durability, Effects, Governed, Home, LogConfig, OpenContext,
    Partition, Policy, Read, ReadOutcome, Refused, View,
};
use jocko_disk::MemDisk;
use jocko_records::{AppendRules, BatchBuilder, Encoding, Records, prepare};
use jocko_types::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch,
    ProducerId, Sequence, Timestamp, TopicId, TopicName, TopicPartition,
};
use std::path::PathBuf;
use std::time::Duration;

const DATA: &str = "/data";
const DIR: &str = "/data/t-0";
const TOPIC_ID: TopicId = TopicId::from_bytes([7; 16]);
const BROKER: BrokerId = BrokerId::new(1);
const EPOCH: LeaderEpoch = LeaderEpoch::new(3);

/// A partition and the disk under it.
struct Bench {
    mem: MemDisk,
    partition: Partition,
}

fn offset(at: i64) -> Offset {
    Offset::new(at)
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_000_000)
}

fn governed(durability: Durability) -> Governed {
    let mut rules = AppendRules::defaults(now());
    rules.timestamp_after_max_ms = i64::MAX;
    Governed {
        log: LogConfig {
            segment_bytes_max: 1_000,
            index_interval_bytes: 150,
            file_delete_delay: Duration::from_millis(100),
            ..LogConfig::default()
        },
        policy: Policy { min_insync_replicas: 1, durability, ..Policy::default() },
        rules,
        flush_records: i64::MAX,
        flush_ms: i64::MAX,
    }
}

fn assignment(leader: Option<BrokerId>, epoch: LeaderEpoch, partition_epoch: i32) -> Assignment {
    Assignment {
        leader,
        leader_epoch: epoch,
        partition_epoch: PartitionEpoch::new(partition_epoch),
        replicas: vec![BROKER],
        isr: vec![BROKER],
        ..Assignment::default()
    }
}

/// What the data directory knows of a log at a start.
fn opening(clean: bool, (recovery_point, log_start): (Offset, Offset)) -> OpenContext {
    OpenContext { topic_id: Some(TOPIC_ID), clean, recovery_point, log_start, now: now() }
}

fn unopened(mem: &MemDisk, governed: Governed, open: OpenContext) -> Partition {
    let topic = TopicName::new("t").expect("is a name");
    let name = TopicPartition { topic, partition: PartitionIndex::new(0) };
    let home = Home { disk: mem.shared(), dir: PathBuf::from(DIR), broker: BROKER, open };
    Partition::new(name, TOPIC_ID, home, governed)
}

impl Bench {
    /// A new partition that this broker leads.
    fn new(durability: Durability) -> Self {
        Self::governed(governed(durability))
    }

    fn governed(governed: Governed) -> Self {
        Self::on(MemDisk::with_dir(DATA), governed, opening(false, (Offset::ZERO, Offset::ZERO)))
    }

    fn on(mem: MemDisk, governed: Governed, open: OpenContext) -> Self {
        let partition = unopened(&mem, governed, open);
        let _ = partition.assign(assignment(Some(BROKER), EPOCH, 0));
        Self { mem, partition }
    }

    /// The partition as the next process finds it after a clean stop.
    fn restarted(&self, governed: Governed) -> Self {
        let checkpoint = self.partition.checkpoint().expect("was open");
        Self::on(self.mem.clone(), governed, opening(true, checkpoint))
    }

    fn append(
        &self,
        acks: Acks,
        ticket: Option<u64>,
        values: &[&str],
    ) -> (Result<Appended, Refused>, Effects) {
        self.append_batch(&batch(values), acks, ticket)
    }

    fn append_batch(
        &self,
        bytes: &[u8],
        acks: Acks,
        ticket: Option<u64>,
    ) -> (Result<Appended, Refused>, Effects) {
        let batch = prepare(bytes, &self.partition.governed().rules).expect("is a batch");
        let done = self.partition.append(&batch, acks, now(), ticket);
        self.check();
        done
    }

    /// Appends something that must succeed.
    fn appended(&self, values: &[&str]) -> Appended {
        self.append(Acks::Leader, None, values).0.expect("is appended")
    }

    /// As the flusher does it, from beginning to end.
    fn flush(&self) -> Effects {
        let (job, effects) = self.partition.take_flush();
        let Some(mut job) = job else { return effects };
        job.run(self.partition.home().disk.as_ref()).expect("syncs");
        let effects = effects.and(self.partition.flushed(&job));
        self.check();
        effects
    }

    /// Everything committed from `from` on: offsets and values.
    fn records(&self, from: i64) -> Vec<(i64, String)> {
        let mut at = offset(from);
        let mut found = Vec::new();
        while let Some(slice) = self.view(at).slice {
            let bytes = slice.read().expect("reads");
            let before = at;
            let mut records = Records::new(&bytes, at, 1 << 20);
            while let Some(record) = records.next().expect("is sound") {
                let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                found.push((record.offset.get(), value.into_owned()));
            }
            // Compaction leaves batches without a record.
            at = records.next_offset();
            assert!(at > before, "a slice gets the reader on");
        }
        found
    }

    fn view(&self, from: Offset) -> View {
        match self.partition.read(&reading(from)) {
            ReadOutcome::Found(view) => view,
            other => panic!("{other:?}"),
        }
    }

    fn high_watermark(&self) -> i64 {
        self.partition.standing().expect("is open").high_watermark.get()
    }

    /// P-1, after every step.
    fn check(&self) {
        if let Some(standing) = self.partition.standing() {
            assert!(standing.log_start <= standing.high_watermark, "P-1: {standing:?}");
            assert!(standing.high_watermark <= standing.log_end, "P-1: {standing:?}");
        }
    }
}

fn reading(from: Offset) -> Read {
    Read {
        from,
        bytes_max: 1 << 20,
        whole_batch: true,
        read_committed: false,
        known_leader_epoch: None,
        last_fetched_epoch: None,
        any_replica: false,
    }
}

fn batch(values: &[&str]) -> Vec<u8> {
    build(BatchBuilder::new(Encoding::NONE), values)
}

/// A batch of an idempotent producer.
fn batch_of(producer: i64, epoch: i16, sequence: i32, values: &[&str]) -> Vec<u8> {
    let builder = BatchBuilder::new(Encoding::NONE).producer(
        ProducerId::new(producer),
        ProducerEpoch::new(epoch),
        Sequence::new(sequence),
    );
    build(builder, values)
}

fn build(mut builder: BatchBuilder, values: &[&str]) -> Vec<u8> {
    for value in values {
        builder.push(now(), None, Some(value.as_bytes()), &[]).expect("fits");
    }
    builder.build().expect("has records")
}

fn code(refused: Result<Appended, Refused>) -> ErrorCode {
    refused.expect_err("must be refused").code
}

fn read_code(outcome: ReadOutcome) -> ErrorCode {
    match outcome {
        ReadOutcome::Refused(code) => code,
        other => panic!("must be refused: {other:?}"),
    }
}
