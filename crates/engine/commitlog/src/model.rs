//! The log against a naive model: random lives, every answer compared.

use crate::epochs::EpochEnd;
use crate::producers::BATCHES_MAX;
use crate::testing::*;
use crate::{
    AppendOutcome, AssignedOutcome, Log, LogConfig, Patience, ReadOutcome, ReadRequest,
    StartOutcome,
};
use jocko_disk::{Crash, DiskRef, MemDisk, Survivors};
use jocko_records::BatchHeader;
use jocko_types::{LeaderEpoch, Offset, Timestamp};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Op {
    /// A plain batch.
    Append {
        timestamps: Vec<i64>,
        value_bytes: usize,
    },
    /// A batch of an idempotent producer, in order.
    Idempotent {
        id: i64,
        records: usize,
    },
    /// One of its last batches again, by how many batches back.
    Again {
        id: i64,
        back: usize,
    },
    /// A batch with a gap before it.
    Gap {
        id: i64,
    },
    /// A batch of a new epoch of the producer.
    Reborn {
        id: i64,
    },
    /// A batch as a follower gets it.
    Follow {
        timestamps: Vec<i64>,
    },
    NewLeader,
    Flush,
    Truncate(f64),
    StartOver(f64),
    AdvanceStart(f64),
    Checkpoint,
    Expire {
        age_ms: i64,
    },
    RemoveDeleted,
    StopAndStart,
    Kill,
    PowerCut,
}

fn op() -> impl Strategy<Value = Op> {
    let times = || prop::collection::vec(0..2000_i64, 1..5);
    prop_oneof![
        12 => (times(), 0..120_usize)
            .prop_map(|(timestamps, value_bytes)| Op::Append { timestamps, value_bytes }),
        6 => (0..3_i64, 1..4_usize).prop_map(|(id, records)| Op::Idempotent { id, records }),
        2 => (0..3_i64, 0..7_usize).prop_map(|(id, back)| Op::Again { id, back }),
        1 => (0..3_i64).prop_map(|id| Op::Gap { id }),
        1 => (0..3_i64).prop_map(|id| Op::Reborn { id }),
        3 => times().prop_map(|timestamps| Op::Follow { timestamps }),
        1 => Just(Op::NewLeader),
        4 => Just(Op::Flush),
        1 => (0.0..1.1).prop_map(Op::Truncate),
        1 => (0.0..1.5).prop_map(Op::StartOver).prop_filter("rare", |_| true),
        1 => (0.0..1.0).prop_map(Op::AdvanceStart),
        2 => Just(Op::Checkpoint),
        1 => (0..2500_i64).prop_map(|age_ms| Op::Expire { age_ms }),
        1 => Just(Op::RemoveDeleted),
        1 => Just(Op::StopAndStart),
        1 => Just(Op::Kill),
        1 => Just(Op::PowerCut),
    ]
}

/// A batch in the model.
#[derive(Debug, Clone)]
struct Kept {
    header: BatchHeader,
    bytes: Vec<u8>,
    timestamps: Vec<i64>,
}

/// The naive log: a list of batches.
struct Model {
    batches: Vec<Kept>,
    start: Offset,
    /// The largest start there ever was: what lies before it may be forgotten in parts.
    start_max: Offset,
    end: Offset,
    leader: i32,
}

impl Model {
    /// Batches that can be read.
    fn live(&self) -> impl Iterator<Item = &Kept> {
        self.batches.iter().filter(|kept| kept.header.last_offset() >= self.start)
    }

    fn of_producer(&self, id: i64) -> Vec<&Kept> {
        let all = self.batches.iter().filter(|kept| kept.header.producer_id.get() == id);
        let all: Vec<_> = all.collect();
        let epoch = all.last().map(|kept| kept.header.producer_epoch);
        all.into_iter().filter(|kept| Some(kept.header.producer_epoch) == epoch).collect()
    }

    fn epoch_of(&self, id: i64) -> i16 {
        self.of_producer(id).last().map_or(0, |kept| kept.header.producer_epoch.get())
    }

    fn next_sequence(&self, id: i64) -> i32 {
        self.of_producer(id).last().map_or(0, |kept| kept.header.last_sequence().plus(1).get())
    }
}

/// The log and the model side by side.
struct Pair {
    mem: MemDisk,
    disk: DiskRef,
    config: LogConfig,
    log: Option<Log>,
    model: Model,
    /// What the checkpoint holds: recovery point and log start.
    checkpoint: (Offset, Offset),
    now: i64,
}

impl Pair {
    fn new(config: LogConfig) -> Self {
        let (mem, disk, log) = fresh(&config);
        let zero = offset(0);
        let model =
            Model { batches: Vec::new(), start: zero, start_max: zero, end: zero, leader: 0 };
        Self { mem, disk, config, log: Some(log), model, checkpoint: (zero, zero), now: 10_000 }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn append(&mut self, bytes: &[u8], timestamps: Vec<i64>) {
        let (leader, now) = (epoch(self.model.leader), ts(self.now));
        let outcome = self.log().append(&prepared(bytes), leader, now).unwrap();
        let AppendOutcome::Appended(at) = outcome else { panic!("{outcome:?}") };
        assert_eq!(at.base_offset, self.model.end);
        let mut bytes = bytes.to_vec();
        jocko_records::patch_assigned(&mut bytes, at.base_offset, leader).unwrap();
        self.keep(bytes, timestamps);
        assert_eq!(at.last_offset.next(), self.model.end);
    }

    fn keep(&mut self, bytes: Vec<u8>, timestamps: Vec<i64>) {
        let header = BatchHeader::read(&bytes).unwrap();
        self.model.end = header.next_offset();
        self.model.batches.push(Kept { header, bytes, timestamps });
    }

    fn step(&mut self, op: Op) {
        self.now += 7;
        match op {
            Op::Append { timestamps, value_bytes } => {
                self.append(&batch(&timestamps, value_bytes), timestamps);
            }
            Op::Idempotent { id, records } => {
                let timestamps = vec![self.now; records];
                let (epoch, sequence) = (self.model.epoch_of(id), self.model.next_sequence(id));
                self.append(&batch_of(id, epoch, sequence, &timestamps), timestamps);
            }
            Op::Again { id, back } => self.again(id, back),
            Op::Gap { id } => self.gap(id),
            Op::Reborn { id } => {
                let timestamps = vec![self.now];
                let reborn = self.model.epoch_of(id) + 1;
                self.append(&batch_of(id, reborn, 0, &timestamps), timestamps);
            }
            Op::Follow { timestamps } => self.follow(timestamps),
            Op::NewLeader => self.model.leader += 1,
            Op::Flush => {
                assert_eq!(flush(self.log()), self.model.end);
            }
            Op::Truncate(share) => self.truncate(share),
            Op::StartOver(share) => self.start_over(share),
            Op::AdvanceStart(share) => self.advance_start(share),
            Op::Checkpoint => self.write_checkpoint(),
            Op::Expire { age_ms } => self.expire(age_ms),
            Op::RemoveDeleted => {
                let now = self.now;
                self.log().remove_deleted(ts(now)).unwrap();
            }
            Op::StopAndStart => self.stop_and_start(),
            Op::Kill => self.crash(Crash::Process),
            Op::PowerCut => {
                flush(self.log());
                let timestamps = vec![5, 6];
                self.append(&batch(&timestamps, 40), timestamps);
                self.crash(Crash::Power(Survivors::Nothing));
            }
        }
    }

    /// A batch that was appended before, or so long ago that nobody can tell.
    fn again(&mut self, id: i64, back: usize) {
        let sent = self.model.of_producer(id);
        let Some(at) = sent.len().checked_sub(back + 1) else { return };
        let kept = sent[at].clone();
        if sent.iter().any(|kept| kept.header.base_offset < self.model.start_max) {
            return;
        }
        let mut bytes = kept.bytes.clone();
        jocko_records::patch_assigned(&mut bytes, offset(0), LeaderEpoch::NONE).unwrap();
        let (leader, now) = (epoch(self.model.leader), ts(self.now));
        let outcome = self.log().append(&prepared(&bytes), leader, now).unwrap();
        let expect = if back < BATCHES_MAX {
            AppendOutcome::Duplicate {
                base_offset: kept.header.base_offset,
                last_offset: kept.header.last_offset(),
                timestamp: kept.header.max_timestamp,
            }
        } else {
            let last = Some(sent_last(&self.model, id));
            AppendOutcome::OutOfOrderSequence { last, got: kept.header.base_sequence }
        };
        assert_eq!(outcome, expect, "{back} batches back");
    }

    fn gap(&mut self, id: i64) {
        let sent = self.model.of_producer(id);
        if sent.is_empty() || sent.iter().any(|kept| kept.header.base_offset < self.model.start_max)
        {
            return;
        }
        let sequence = self.model.next_sequence(id) + 1;
        let bytes = batch_of(id, self.model.epoch_of(id), sequence, &[1]);
        let (leader, now) = (epoch(self.model.leader), ts(self.now));
        let outcome = self.log().append(&prepared(&bytes), leader, now).unwrap();
        assert!(matches!(outcome, AppendOutcome::OutOfOrderSequence { .. }), "{outcome:?}");
    }

    fn follow(&mut self, timestamps: Vec<i64>) {
        let (base, leader, now) = (self.model.end, self.model.leader, ts(self.now));
        let bytes = assigned(base.get(), leader, &timestamps, 15);
        let misplaced = assigned(base.get() - 1, leader, &timestamps, 15);
        if base > offset(0) {
            let outcome = self.log().append_as_follower(&misplaced, now).unwrap();
            assert!(matches!(outcome, AssignedOutcome::OutOfPlace { .. }), "{outcome:?}");
        }
        let outcome = self.log().append_assigned(&bytes, now).unwrap();
        self.keep(bytes, timestamps);
        let log_end = self.model.end;
        assert_eq!(outcome, AssignedOutcome::Appended { base_offset: Some(base), log_end });
    }

    /// An offset that `share` of the live log lies before.
    fn offset_at(&self, share: f64) -> Offset {
        let (start, end) = (self.model.start, self.model.end);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        start.plus((start.distance_to(end) as f64 * share) as i64)
    }

    fn truncate(&mut self, share: f64) {
        let (at, now) = (self.offset_at(share), ts(self.now));
        let end = self.log().truncate_to(at, now).unwrap();
        assert!(end <= at || at > self.model.end);
        if at >= self.model.end {
            return;
        }
        self.model.batches.retain(|kept| kept.header.last_offset() < at);
        let kept_end = self.model.batches.last().map(|kept| kept.header.next_offset());
        self.model.end = end;
        if end <= self.model.start {
            self.model.batches.clear();
            self.model.start = end;
            // A note in the folder stands for the checkpoint until it is written anew.
            self.checkpoint.1 = self.checkpoint.1.min(end);
        } else {
            assert_eq!(kept_end, Some(end), "the last batch kept ends the log");
        }
        // Who leads after a truncation is newer than who wrote what was cut.
        self.model.leader += 1;
    }

    fn start_over(&mut self, share: f64) {
        let (at, now) = (self.offset_at(share), ts(self.now));
        self.log().truncate_fully_and_start_at(at, now).unwrap();
        self.model.batches.clear();
        self.model.start = at;
        self.model.end = at;
        self.model.start_max = self.model.start_max.max(at);
        self.model.leader += 1;
        // An owner that resets a log lowers its checkpoint.
        self.write_checkpoint();
    }

    fn advance_start(&mut self, share: f64) {
        let at = self.offset_at(share);
        let outcome = self.log().advance_log_start(at).unwrap();
        self.model.start = at;
        self.model.start_max = self.model.start_max.max(at);
        assert_eq!(outcome, StartOutcome::Moved { log_start: at });
    }

    fn write_checkpoint(&mut self) {
        let (point, start) = (self.log().recovery_point(), self.log().log_start());
        self.checkpoint = (point, start);
        self.log().checkpointed(point, start);
    }

    fn expire(&mut self, age_ms: i64) {
        let age = Duration::from_millis(age_ms.unsigned_abs());
        let config = LogConfig { retention_age: Some(age), ..self.config.clone() };
        let (now, upper) = (ts(2500), self.model.end);
        self.log().reconfigure(config);
        let expired = self.log().expire(now, upper).unwrap();
        let config = self.config.clone();
        self.log().reconfigure(config);
        assert!(expired.log_start >= self.model.start);
        let young = |kept: &Kept| now.millis_since(kept.header.max_timestamp) <= age_ms;
        let gone: Vec<_> = self
            .model
            .live()
            .filter(|kept| kept.header.last_offset() < expired.log_start)
            .collect();
        assert!(gone.iter().all(|kept| !young(kept)), "only what is old goes");
        let is_all_old = !self.model.batches.iter().any(young);
        let is_empty = self.model.live().count() == 0;
        assert!(
            !is_all_old || is_empty || expired.log_start == self.model.end,
            "all that is old goes, the active segment not exempt"
        );
        self.model.start = expired.log_start;
        self.model.start_max = self.model.start_max.max(expired.log_start);
    }

    fn stop_and_start(&mut self) {
        let log = self.log.take().unwrap();
        stop(log);
        let context = context(true, self.model.end, self.model.start);
        let (log, report) = open(&self.disk, &self.config, &context).unwrap();
        assert_eq!(report.bytes_scanned, 0, "{report:?}");
        self.checkpoint = (self.model.end, self.model.start);
        self.log = Some(log);
    }

    fn crash(&mut self, how: Crash) {
        let durable = self.log().durable_end();
        self.log = None;
        self.mem = self.mem.crash(how);
        self.disk = self.mem.shared();
        let context = context(false, self.checkpoint.0, self.checkpoint.1);
        let (log, _) = open(&self.disk, &self.config, &context).unwrap();
        assert!(log.log_end() >= durable);
        if how == Crash::Process {
            assert_eq!(log.log_end(), self.model.end, "the page cache lived");
        }
        assert!(log.log_start() >= self.checkpoint.1 && log.log_start() <= self.model.start);
        self.model.start = log.log_start();
        self.model.end = log.log_end();
        let end = self.model.end;
        self.model.batches.retain(|kept| kept.header.base_offset < end);
        self.log = Some(log);
    }

    /// Compares every answer.
    fn compare(&mut self) {
        let Self { log, model, .. } = self;
        let log = log.as_mut().unwrap();
        log.check_invariants();
        assert_eq!((log.log_start(), log.log_end()), (model.start, model.end));
        compare_reads(log, model);
        for (path, _) in self.mem.files() {
            self.mem.cool(path).unwrap();
        }
        read_without_waiting(log, model);
        compare_epochs(log, model);
        compare_times(log, model);
    }
}

fn sent_last(model: &Model, id: i64) -> jocko_types::Sequence {
    model.of_producer(id).last().unwrap().header.last_sequence()
}

fn compare_reads(log: &mut Log, model: &Model) {
    let live: Vec<_> =
        model.live().map(|kept| (kept.header.base_offset, kept.bytes.clone())).collect();
    assert_eq!(read_all(log, model.start, model.end, 700), live);
    let step = (model.start.distance_to(model.end) / 12).max(1);
    let mut from = model.start;
    while from <= model.end {
        let upper = from.plus(step * 2 + 1);
        let expect: Vec<_> = live
            .iter()
            .filter(|(_, bytes)| {
                let last = BatchHeader::read(bytes).unwrap().last_offset();
                last >= from && last < upper
            })
            .cloned()
            .collect();
        assert_eq!(read_all(log, from, upper, 250), expect, "from {from} to {upper}");
        from = from.plus(step);
    }
    for outside in [model.start.plus(-1), model.end.plus(1)] {
        let request = ReadRequest {
            from: outside,
            upper: model.end,
            bytes_max: 100,
            at_least_one_batch: false,
            patience: Patience::Wait,
        };
        assert!(matches!(log.read(&request).unwrap(), ReadOutcome::OutOfRange { .. }));
    }
}

/// A reader that may not wait warms what is cold, and then gets the same.
fn read_without_waiting(log: &mut Log, model: &Model) {
    let middle = model.start.distance_to(model.end) / 2;
    let request = ReadRequest {
        from: model.start.plus(middle),
        upper: model.end,
        bytes_max: 1,
        at_least_one_batch: true,
        patience: Patience::ResidentOnly,
    };
    let expect = model.live().find(|kept| kept.header.last_offset() >= request.from);
    for _ in 0..20 {
        match log.read(&request).unwrap() {
            ReadOutcome::Cold(cold) => cold.warm().unwrap(),
            ReadOutcome::Slice(slice) => {
                let bytes = slice.read().unwrap();
                assert_eq!(Some(&bytes), expect.map(|kept| &kept.bytes), "one batch");
                return;
            }
            ReadOutcome::Empty => {
                assert!(expect.is_none());
                return;
            }
            ReadOutcome::OutOfRange { .. } => panic!("{request:?} is in range"),
        }
    }
    panic!("bytes that were warmed stay cold");
}

fn compare_epochs(log: &Log, model: &Model) {
    let mut starts: Vec<(LeaderEpoch, Offset)> = Vec::new();
    for kept in &model.batches {
        let header = &kept.header;
        if starts.last().is_none_or(|last| last.0 < header.leader_epoch) {
            starts.push((header.leader_epoch, header.base_offset));
        }
    }
    for kept in model.live().filter(|kept| kept.header.base_offset >= model.start_max) {
        let header = &kept.header;
        assert_eq!(log.epoch_at(header.last_offset()), Some(header.leader_epoch));
        let next = starts.iter().find(|(epoch, _)| *epoch > header.leader_epoch);
        let end = next.map_or(model.end, |(_, start)| *start);
        let expect = EpochEnd { epoch: header.leader_epoch, end };
        assert_eq!(log.epoch_end_offset(header.leader_epoch), expect);
    }
}

fn compare_times(log: &mut Log, model: &Model) {
    let records: Vec<(Offset, Timestamp)> = model
        .live()
        .flat_map(|kept| {
            let base = kept.header.base_offset;
            let at = |(delta, time): (usize, &i64)| {
                (base.plus(i64::try_from(delta).unwrap()), ts(*time))
            };
            kept.timestamps.iter().enumerate().map(at).collect::<Vec<_>>()
        })
        .filter(|(offset, _)| *offset >= model.start)
        .collect();
    let upper = model.end.plus(-2).max(model.start);
    for target in (0..2100).step_by(130).map(ts) {
        let first = records.iter().find(|(_, time)| *time >= target);
        let expect = first.filter(|(offset, _)| *offset < upper);
        let found = log.offset_for_timestamp(target, upper).unwrap();
        let found = found.map(|found| (found.offset, found.timestamp));
        assert_eq!(found, expect.copied(), "timestamp {target}");
    }
    if records.first().is_some_and(|(first, _)| *first == model.start) {
        compare_max_time(log, model);
    }
}

fn compare_max_time(log: &mut Log, model: &Model) {
    for upper in [model.end, model.end.plus(-3)] {
        let whole: Vec<_> = model.live().filter(|kept| kept.header.last_offset() < upper).collect();
        let largest = whole.iter().map(|kept| kept.header.max_timestamp).max();
        let first = whole.iter().find(|kept| Some(kept.header.max_timestamp) == largest);
        let splits = whole.first().is_some_and(|kept| kept.header.base_offset < model.start);
        if splits {
            return;
        }
        let expect = first.map(|kept| {
            let time = kept.header.max_timestamp;
            let at = kept.timestamps.iter().position(|at| ts(*at) == time).unwrap();
            (kept.header.base_offset.plus(i64::try_from(at).unwrap()), time)
        });
        let found = log.max_timestamp(upper).unwrap();
        assert_eq!(found.map(|found| (found.offset, found.timestamp)), expect, "below {upper}");
    }
}

proptest! {
    #[test]
    fn the_log_answers_like_the_model(
        ops in prop::collection::vec(op(), 1..60),
        interval in prop_oneof![Just(0_u32), Just(150), Just(4096)],
        segment in prop_oneof![Just(600_u32), Just(2000), Just(1 << 20)],
        open_max in 1..4_usize,
    ) {
        let config = LogConfig {
            index_interval_bytes: interval,
            segment_bytes_max: segment,
            open_segments_max: open_max,
            retention_age: None,
            ..small()
        };
        let mut pair = Pair::new(config);
        for (number, op) in ops.into_iter().enumerate() {
            pair.step(op);
            if number % 4 == 3 {
                pair.compare();
            }
        }
        pair.compare();
        flush(pair.log());
        let open = pair.log().open_files();
        let bound = (open_max + 2) * 3;
        prop_assert!(open <= bound, "{open} descriptors, {bound} allowed");
    }
}
