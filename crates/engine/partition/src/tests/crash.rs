//! Random lives cut short by a power cut: what a client was told stays true.

use super::{Bench, batch_of, governed, opening};
use crate::{Acks, Durability, Progress};
use jocko_disk::{CrashPoints, DiskRef, MemDisk};
use jocko_types::Offset;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Records in the batch, bytes in each value.
    Append(u8, u16),
    Flush,
    /// A flush that more is appended behind.
    FlushLate,
    Checkpoint,
    CleanRestart,
}

/// What was told to others.
#[derive(Debug, Default)]
struct Promised {
    /// By offset.
    committed: BTreeMap<i64, String>,
    /// What a checkpoint holds by now.
    checkpoint: (Offset, Offset),
    /// The producer's next sequence, as far as it knows.
    sequence: i32,
    is_clean: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u8..4, 1_u16..300).prop_map(|(records, bytes)| Step::Append(records, bytes)),
        3 => Just(Step::Flush),
        1 => Just(Step::FlushLate),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::CleanRestart),
    ];
    prop::collection::vec(step, 1..14)
}

struct Life {
    bench: Bench,
    /// Appended and not known to be committed.
    waiting: Vec<(crate::Appended, Vec<String>)>,
    written: i64,
}

impl Life {
    fn append(&mut self, promised: &mut Promised, records: u8, bytes: u16) -> Result<(), String> {
        let values: Vec<String> = (0..records)
            .map(|number| {
                self.written += i64::from(number == 0);
                format!("{}.{number}{}", self.written, "x".repeat(usize::from(bytes)))
            })
            .collect();
        let refs: Vec<&str> = values.iter().map(String::as_str).collect();
        let bytes = batch_of(5, 0, promised.sequence, &refs);
        let (appended, _) = self.bench.append_batch(&bytes, Acks::All, Some(1));
        let appended = appended.map_err(|refused| format!("{refused:?}"))?;
        promised.sequence += i32::from(records);
        promised.is_clean = false;
        self.waiting.push((appended, values));
        Ok(())
    }

    fn settle(&mut self, promised: &mut Promised) {
        for (appended, values) in std::mem::take(&mut self.waiting) {
            if self.bench.partition.progress(&appended) == Progress::Committed {
                let offsets = appended.base_offset.get()..;
                promised.committed.extend(offsets.zip(values));
            } else {
                self.waiting.push((appended, values));
            }
        }
    }

    fn step(&mut self, disk: &DiskRef, promised: &mut Promised, step: Step) -> Result<(), String> {
        match step {
            Step::Append(records, bytes) => self.append(promised, records, bytes)?,
            Step::Flush | Step::FlushLate => {
                let (job, _) = self.bench.partition.take_flush();
                let Some(mut job) = job else { return Ok(()) };
                if matches!(step, Step::FlushLate) {
                    self.append(promised, 1, 50)?;
                }
                match job.run(disk.as_ref()) {
                    Ok(()) => drop(self.bench.partition.flushed(&job)),
                    Err(fault) => {
                        let text = fault.to_string();
                        let _ = self.bench.partition.flush_failed(&job, fault);
                        return Err(text);
                    }
                }
            }
            Step::Checkpoint => {
                if let Some((recovery_point, log_start)) = self.bench.partition.checkpoint() {
                    promised.checkpoint = (recovery_point, log_start);
                    self.bench.partition.checkpointed(recovery_point, log_start);
                }
            }
            Step::CleanRestart => {
                self.bench.partition.open().map_err(|fault| fault.to_string())?;
                let closed = self.bench.partition.close().0;
                closed.map_err(|fault| fault.to_string())?;
                promised.checkpoint = self.bench.partition.checkpoint().expect("was open");
                promised.is_clean = true;
                self.waiting.clear();
                let context = opening(true, promised.checkpoint);
                self.bench = on(disk, context);
            }
        }
        self.settle(promised);
        Ok(())
    }
}

/// A partition on a disk that is known by its port alone.
fn on(disk: &DiskRef, context: crate::OpenContext) -> Bench {
    // The bench's own disk goes unused: the partition is built on the one under test.
    let mut bench = Bench::on(MemDisk::new(), governed(Durability::Fsync), context);
    let home = crate::Home { disk: disk.clone(), ..bench.partition.home().clone() };
    let name = bench.partition.name().clone();
    let governed = governed(Durability::Fsync);
    bench.partition = crate::Partition::new(name, super::TOPIC_ID, home, governed);
    let leader = super::assignment(Some(super::BROKER), super::EPOCH, 0);
    let _ = bench.partition.assign(leader);
    bench
}

fn live(disk: &DiskRef, promised: &mut Promised, steps: &[Step]) -> Result<(), String> {
    let context = opening(false, (Offset::ZERO, Offset::ZERO));
    let mut life = Life { bench: on(disk, context), waiting: Vec::new(), written: 0 };
    for step in steps {
        life.step(disk, promised, *step)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_was_committed_is_there_at_its_offset(steps in steps(), seed in any::<u64>()) {
        CrashPoints::in_dir(super::DATA).seed(seed).arbitrary(3).run(
            |disk, promised: &mut Promised| live(disk, promised, &steps),
            |after, promised| {
                // The mark of a clean stop is gone before anything is appended again.
                let context = opening(promised.is_clean && after.completed, promised.checkpoint);
                let bench = on(&after.disk(), context);
                bench.partition.open().expect("recovers");
                let start = bench.partition.log_start().expect("is open");
                assert_eq!(start, promised.checkpoint.1, "a log has a head, or nothing");
                let found: BTreeMap<i64, String> = bench.records(start.get()).into_iter().collect();
                for (offset, value) in &promised.committed {
                    assert_eq!(found.get(offset), Some(value), "offset {offset}");
                }
                let end = bench.partition.latest(None).expect("leads").offset;
                let count = i64::try_from(found.len()).expect("few");
                assert_eq!(end, Some(start.plus(count)), "no holes");
                // And it goes on from there.
                let next = bench.append(Acks::All, None, &["next"]).0.expect("is appended");
                assert_eq!(Some(next.base_offset), end);
                let _ = bench.flush();
                assert_eq!(bench.records(next.base_offset.get()).len(), 1);
            },
        );
    }
}
