//! Random lives of a compacted log against the list of all that was ever written.

use super::crash::judge;
use super::*;
use jocko_disk::{Crash, DiskRef, MemDisk, Survivors};
use jocko_records::Codec;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Op {
    /// A batch; a producer's, if it says whose.
    Put {
        pairs: Vec<Pair>,
        codec: usize,
        producer: Option<i64>,
    },
    Seal,
    /// A pass with room for so many keys.
    Compact {
        keys: usize,
        upper_back: i64,
    },
    Wait,
    Trim(f64),
    Tidy,
    StopAndStart,
    Kill,
    PowerCut,
}

fn op() -> impl Strategy<Value = Op> {
    let key = prop_oneof![1 => Just(None), 30 => (0..9_u8).prop_map(Some)];
    let value = prop_oneof![1 => Just(None), 3 => any::<u8>().prop_map(Some)];
    let pairs = prop::collection::vec((key, value), 1..6);
    prop_oneof![
        14 => (pairs, 0..5_usize, prop::option::of(0..3_i64))
            .prop_map(|(pairs, codec, producer)| Op::Put { pairs, codec, producer }),
        4 => Just(Op::Seal),
        6 => (prop_oneof![Just(0), Just(12), Just(1000)], prop_oneof![3 => Just(0), 1 => 0..20_i64])
            .prop_map(|(keys, upper_back)| Op::Compact { keys, upper_back }),
        2 => Just(Op::Wait),
        1 => (0.0..1.0).prop_map(Op::Trim),
        1 => Just(Op::Tidy),
        1 => Just(Op::StopAndStart),
        1 => Just(Op::Kill),
        1 => Just(Op::PowerCut),
    ]
}

struct Life {
    mem: MemDisk,
    disk: DiskRef,
    config: LogConfig,
    log: Option<Log>,
    history: Vec<Seen>,
    /// By producer, after each of its batches: the next sequence, and where the batch ends.
    sequences: BTreeMap<i64, Vec<(i32, i64)>>,
    checkpoint: (Offset, Offset),
    now: i64,
}

impl Life {
    fn new(segment_bytes_max: u32) -> Self {
        let config = compacted(segment_bytes_max);
        let (mem, disk, log) = fresh(&config);
        Self {
            mem,
            disk,
            config,
            log: Some(log),
            history: Vec::new(),
            sequences: BTreeMap::new(),
            checkpoint: (offset(0), offset(0)),
            now: 1000,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn next_sequence(&self, id: i64) -> i32 {
        self.sequences.get(&id).and_then(|after| after.last()).map_or(0, |(next, _)| *next)
    }

    fn put(&mut self, pairs: &[Pair], codec: usize, producer: Option<i64>) {
        let now = self.now;
        let encoding = Encoding::new(Codec::ALL[codec]);
        let bytes = match producer {
            None => keyed(encoding, pairs, now),
            Some(id) => {
                let sequence = self.next_sequence(id);
                keyed_of(id, sequence, pairs, now)
            }
        };
        let base = append(self.log(), &bytes, now).get();
        for ((key, value), at) in pairs.iter().zip(base..) {
            self.history.push((at, *key, *value, now));
        }
        let count = i32::try_from(pairs.len()).unwrap();
        if let Some(id) = producer {
            let next = self.next_sequence(id) + count;
            self.sequences.entry(id).or_default().push((next, base + i64::from(count)));
        }
    }

    fn compact(&mut self, keys: usize, upper_back: i64) {
        let now = self.now;
        let log = self.log();
        let mut request = request(log, now);
        request.map_bytes_max = keys * 24 * 5 / 4;
        request.upper = offset((log.log_end().get() - upper_back).max(0));
        let before = seen(log);
        let (start, end) = (log.log_start(), log.log_end());
        let done = match clean_with(log, &request).unwrap() {
            CompactionEnd::Done(done) => done,
            CompactionEnd::Idle => return,
            other => panic!("{other:?}"),
        };
        assert_eq!((log.log_start(), log.log_end()), (start, end), "ends do not move");
        let after = seen(log);
        assert!(done.cleaned_to <= request.upper, "C-2: the bound");
        let above = |seen: &[Seen]| -> Vec<Seen> {
            let reach = if done.is_partial { done.cleaned_to } else { request.upper };
            seen.iter().filter(|(at, ..)| *at >= reach.get()).copied().collect()
        };
        assert_eq!(above(&before), above(&after), "C-2: nothing above the bound is touched");
        if !done.is_partial {
            self.check_clean(&after, done.cleaned_to.get());
        }
    }

    /// Below where a whole pass has cleaned, there is nothing left to clean.
    fn check_clean(&self, found: &[Seen], cleaned_to: i64) {
        let mut newest = BTreeMap::new();
        for (at, key, ..) in self.history.iter().filter(|(at, ..)| *at < cleaned_to) {
            newest.insert(*key, *at);
        }
        for (at, key, ..) in found.iter().filter(|(at, ..)| *at < cleaned_to) {
            assert!(key.is_some(), "offset {at} has no key");
            assert_eq!(newest.get(key), Some(at), "offset {at} is superseded");
        }
    }

    fn check(&mut self) {
        let history = self.history.clone();
        let log = self.log();
        log.check_invariants();
        let (start, end) = (log.log_start(), log.log_end());
        let found = seen(log);
        let live: Vec<Seen> =
            history.iter().filter(|(at, ..)| *at >= start.get()).copied().collect();
        judge(&live, &found, end.get());
        // Whoever asks for any offset gets the first batch that ends at or after it.
        let all = read_all(log, start, end, 400);
        for from in start.get()..end.get() {
            let first = all.iter().find(|(_, bytes)| {
                BatchView::parse(bytes).unwrap().0.header().last_offset().get() >= from
            });
            let got = read_all(log, offset(from), end, 1);
            assert_eq!(got.first(), first, "from {from}");
        }
    }

    fn checkpoint(&mut self) {
        let log = self.log.as_mut().unwrap();
        self.checkpoint = (log.recovery_point(), log.log_start());
        log.checkpointed(self.checkpoint.0, self.checkpoint.1);
    }

    fn restart(&mut self, crash: Option<Crash>) {
        let floor = self.log().durable_end();
        let log = self.log.take().unwrap();
        let clean = match crash {
            None => {
                let end = (log.log_end(), log.log_start());
                stop(log);
                self.checkpoint = end;
                true
            }
            Some(crash) => {
                drop(log);
                self.mem = self.mem.crash(crash);
                self.disk = self.mem.shared();
                false
            }
        };
        let opened = context(clean, self.checkpoint.0, self.checkpoint.1);
        let (log, _) = open(&self.disk, &self.config, &opened).unwrap();
        assert!(log.log_end() >= floor);
        let end = log.log_end().get();
        self.log = Some(log);
        self.history.retain(|(at, ..)| *at < end);
        // Producers whose last batch survived go on where they were.
        for after in self.sequences.values_mut() {
            after.retain(|(_, last)| *last <= end);
        }
        self.sequences.retain(|_, after| !after.is_empty());
        let log = self.log.as_ref().unwrap();
        for id in self.sequences.keys() {
            let known = log.producers.iter().find(|(known, _)| known.get() == *id);
            let last = known.and_then(|(_, producer)| producer.batches.back());
            if let Some(last) = last {
                let next = self.next_sequence(*id);
                assert_eq!(last.last_sequence.get() + 1, next, "producer {id}");
            } else {
                let gone = log.log_start();
                assert!(gone > offset(0), "producer {id} is forgotten");
            }
        }
    }

    fn step(&mut self, op: &Op) {
        self.now += 7;
        match op {
            Op::Put { pairs, codec, producer } => self.put(pairs, *codec, *producer),
            Op::Seal => {
                let now = self.now;
                if self.log().segments.last().is_some_and(|segment| segment.size > 0) {
                    seal(self.log(), now);
                }
                self.checkpoint();
            }
            Op::Compact { keys, upper_back } => self.compact(*keys, *upper_back),
            Op::Wait => self.now += 2 * HOUR_MS,
            Op::Trim(share) => {
                let log = self.log();
                let span = log.durable_end().distance_to(log.log_start()).abs();
                let at = log.log_start().plus((span as f64 * share) as i64);
                log.advance_log_start(at).unwrap();
                self.checkpoint();
            }
            Op::Tidy => {
                let now = self.now;
                self.log().remove_deleted(ts(now)).unwrap();
            }
            Op::StopAndStart => self.restart(None),
            Op::Kill => self.restart(Some(Crash::Process)),
            Op::PowerCut => self.restart(Some(Crash::Power(Survivors::Nothing))),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn lives(ops in prop::collection::vec(op(), 5..60), segment_bytes_max in 300..1500_u32) {
        let mut life = Life::new(segment_bytes_max);
        for op in &ops {
            life.step(op);
            if !matches!(op, Op::Put { .. } | Op::Seal | Op::Wait) {
                life.check();
            }
        }
    }
}
