//! What is wrong with this broker's disk, if anything: what the controller is told, so that others
//! lead what they can meanwhile, and what operators are shown.

use crate::disk_guard::{DiskGuard, Want};
use jocko_disk::DiskErrors;
use jocko_metadata::{DiskTrouble, DiskTroubleKind};
use jocko_types::Now;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A disk on which nothing has become durable for so long, though something should, is slow.
const STUCK: Duration = Duration::from_secs(2);
/// One that was slow is still slow while its syncs take longer than this.
const SLUGGISH: Duration = Duration::from_millis(500);
/// Trouble is over when there was none for so long: leaderships shall not go to and fro.
const QUIET: Duration = Duration::from_secs(3);
/// The same for a slow disk, where it is a matter of chance.
const QUIET_SLOW: Duration = Duration::from_secs(10);

/// How far the flusher is: rounds that were asked for, and rounds that are done.
#[derive(Debug, Default)]
pub(crate) struct FlushPace {
    asked: AtomicU64,
    done: AtomicU64,
}

impl FlushPace {
    /// Something waits for a round, and nothing did.
    pub(crate) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// A round begins, over all that was asked for: to be told to [`FlushPace::done`].
    pub(crate) fn begin(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The round that began so is over.
    pub(crate) fn done(&self, begun: u64) {
        self.done.store(begun, Ordering::Relaxed);
    }

    /// Rounds that are done, and whether another is due or under way.
    fn look(&self) -> (u64, bool) {
        // In this order: a round that ends in between is seen as done the next time.
        let done = self.done.load(Ordering::Relaxed);
        (done, self.asked.load(Ordering::Relaxed) > done)
    }
}

/// See the module. One for each data directory.
#[derive(Debug)]
pub(crate) struct DiskHealth {
    guard: Arc<DiskGuard>,
    errors: DiskErrors,
    pace: Arc<FlushPace>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    trouble: Option<DiskTrouble>,
    /// Since when there is none any more.
    quiet_since: Option<Now>,
    /// Rounds of the flusher that were done when it was looked at last.
    done: u64,
    /// Since when it has been at one and the same round, as far as was seen.
    stuck_since: Option<Now>,
}

impl DiskHealth {
    pub(crate) fn new(guard: Arc<DiskGuard>, errors: DiskErrors, pace: Arc<FlushPace>) -> Self {
        Self { guard, errors, pace, seen: Mutex::default() }
    }

    /// What is wrong as far as was seen: the last look's finding, and what shows without one.
    pub(crate) fn trouble(&self) -> Option<DiskTrouble> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.evident().or_else(|| seen.trouble.clone())
    }

    /// Looks at the disk's pace, too. To be called a few times a second by whoever tells others: a
    /// broker that is alone has nobody who could lead in its place.
    pub(crate) fn look(&self, now: Now) -> Option<DiskTrouble> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = seen.stuck(now, self.pace.look());
        let was_slow =
            seen.trouble.as_ref().is_some_and(|known| known.kind == DiskTroubleKind::Slow);
        let bar = if was_slow { SLUGGISH } else { STUCK };
        let slow = || {
            let words = format!("nothing has become durable for {:.1} s", stuck.as_secs_f32());
            (stuck >= bar).then_some(DiskTrouble { kind: DiskTroubleKind::Slow, words })
        };
        match worse(self.evident(), slow()) {
            Some(found) => {
                seen.quiet_since = None;
                let kind = seen.trouble.as_ref().map(|known| known.kind);
                if kind != Some(found.kind) {
                    tracing::warn!(
                        "this broker has trouble with its disk ({found}); others are to lead what it leads"
                    );
                    seen.trouble = Some(found);
                }
            }
            None if seen.trouble.is_some() => {
                let since = *seen.quiet_since.get_or_insert(now);
                // Its copies need not wait: others may be short of them.
                if seen.trouble.as_ref().is_some_and(|it| it.kind == DiskTroubleKind::Full) {
                    let words = "it was full until just now".to_owned();
                    seen.trouble = Some(DiskTrouble { kind: DiskTroubleKind::Short, words });
                }
                if now.since(since) >= if was_slow { QUIET_SLOW } else { QUIET } {
                    tracing::info!("the disk is well again");
                    (seen.trouble, seen.quiet_since) = (None, None);
                }
            }
            None => {}
        }
        seen.trouble.clone()
    }

    /// What shows without a look at the time.
    fn evident(&self) -> Option<DiskTrouble> {
        let told = |kind, words: String| Some(DiskTrouble { kind, words });
        if let Some(error) = self.errors.first() {
            return told(DiskTroubleKind::Failed, error.to_owned());
        }
        let free = || {
            let space = self.guard.space();
            space.map_or_else(String::new, |space| format!("{} MiB are free", space.free >> 20))
        };
        match self.guard.want()? {
            Want::Room => {
                let words = "a write found no space, or no quota, inode or descriptor left";
                told(DiskTroubleKind::Full, format!("{words}; {}", free()))
            }
            Want::Reserve => told(DiskTroubleKind::Short, free()),
        }
    }
}

impl Seen {
    /// For how long nothing has become durable though something should, as far as looks tell.
    fn stuck(&mut self, now: Now, (done, is_due): (u64, bool)) -> Duration {
        if !is_due || done != self.done {
            self.stuck_since = None;
        }
        self.done = done;
        if !is_due {
            return Duration::ZERO;
        }
        now.since(*self.stuck_since.get_or_insert(now))
    }
}

/// What counts of two: what keeps a disk from taking writes hides that it is slow.
fn worse(evident: Option<DiskTrouble>, slow: Option<DiskTrouble>) -> Option<DiskTrouble> {
    match evident {
        Some(found) if found.kind == DiskTroubleKind::Short => slow.or(Some(found)),
        found => found.or(slow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_config::LoadedSettings;
    use jocko_disk::{Disk, Inject, MemDisk, Open, Operation, WatchedDisk};
    use std::path::Path;

    struct Bench {
        memory: MemDisk,
        guard: Arc<DiskGuard>,
        pace: Arc<FlushPace>,
        health: DiskHealth,
        disk: Arc<dyn Disk>,
    }

    fn bench() -> Bench {
        let memory = MemDisk::with_dir("data");
        memory.set_capacity(Some(64 << 20));
        let (disk, errors) = WatchedDisk::shared(memory.shared());
        let settings = LoadedSettings::default();
        let guard = Arc::new(DiskGuard::new(Arc::clone(&disk), Path::new("data"), &settings));
        let pace = Arc::new(FlushPace::default());
        let health = DiskHealth::new(Arc::clone(&guard), errors, Arc::clone(&pace));
        Bench { memory, guard, pace, health, disk }
    }

    impl Bench {
        fn at(&self, ms: u64) -> Option<DiskTroubleKind> {
            let now = Now::from_start(Duration::from_millis(ms));
            self.health.look(now).map(|trouble| trouble.kind)
        }
    }

    #[test]
    fn a_full_disk_is_told_until_there_was_room_for_a_while() {
        let bench = bench();
        assert_eq!(bench.at(0), None);
        bench.memory.set_capacity(Some(17 << 20));
        bench.guard.ran_out(1 << 20);
        assert_eq!(bench.at(100), Some(DiskTroubleKind::Full));
        assert!(bench.health.trouble().unwrap().to_string().starts_with("disk full: a write"));
        bench.memory.set_capacity(Some(64 << 20));
        bench.guard.check();
        assert_eq!(bench.at(1_000), Some(DiskTroubleKind::Short), "copies are kept again");
        assert_eq!(bench.at(3_900), Some(DiskTroubleKind::Short));
        assert_eq!(bench.at(4_000), None);
        assert_eq!(bench.health.trouble(), None);
    }

    #[test]
    fn a_disk_on_which_the_ballast_is_gone_is_short() {
        let bench = bench();
        bench.memory.set_capacity(Some(18 << 20));
        bench.guard.make_room_for_metadata();
        assert_eq!(bench.at(0), Some(DiskTroubleKind::Short));
        bench.memory.set_capacity(Some(1 << 20));
        assert_eq!(bench.at(100), Some(DiskTroubleKind::Full), "not even metadata has room");
    }

    #[test]
    fn a_round_that_does_not_end_makes_a_disk_slow() {
        let bench = bench();
        bench.pace.asked();
        let round = bench.pace.begin();
        assert_eq!(bench.at(0), None);
        bench.pace.asked();
        assert_eq!(bench.at(1_900), None);
        assert_eq!(bench.at(2_000), Some(DiskTroubleKind::Slow));
        // The next one is under way at once, and is no better by much.
        bench.pace.done(round);
        assert_eq!(bench.at(2_300), Some(DiskTroubleKind::Slow));
        assert_eq!(bench.at(11_900), Some(DiskTroubleKind::Slow));
        bench.pace.done(bench.pace.begin());
        assert_eq!(bench.at(12_000), Some(DiskTroubleKind::Slow));
        assert_eq!(bench.at(21_900), Some(DiskTroubleKind::Slow));
        assert_eq!(bench.at(22_000), None);
    }

    #[test]
    fn rounds_that_end_are_no_trouble_however_many_follow() {
        let bench = bench();
        for ms in (0..20_000).step_by(300) {
            bench.pace.asked();
            assert_eq!(bench.at(ms), None);
            bench.pace.done(bench.pace.begin());
            bench.pace.asked();
        }
    }

    #[test]
    fn an_error_stays_and_hides_the_rest() {
        let bench = bench();
        let path = Path::new("data/file");
        let file = bench.disk.open(path, Open::Create).unwrap();
        bench.memory.inject(Inject::new(Operation::Sync, path));
        assert!(file.sync_data().is_err());
        bench.memory.heal();
        bench.guard.ran_out(1 << 30);
        for seconds in [0, 100] {
            assert_eq!(bench.at(seconds * 1_000), Some(DiskTroubleKind::Failed));
        }
        let words = bench.health.trouble().unwrap().to_string();
        assert!(words.starts_with("disk failed: sync data/file: "), "{words}");
    }
}
