//! Every crash point of a piece of work, one after the other.

use std::fmt::{Debug, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::{Crash, MemDisk, Survivors, Tear};
use crate::DiskRef;

/// Runs a piece of work again and again, cutting the power after 0, 1, 2, ... changes until it
/// completes, and has every disk that such a crash may leave checked.
///
/// ```
/// use jocko_disk::{CrashPoints, Disk, write_atomically};
/// use std::path::Path;
///
/// let path = Path::new("/data/name");
/// let covered = CrashPoints::in_dir("/data").run(
///     |disk, promised: &mut u8| {
///         for n in 1..4 {
///             write_atomically(disk.as_ref(), path, &[n])?;
///             *promised = n;
///         }
///         Ok::<(), jocko_disk::DiskFault>(())
///     },
///     |after, promised| {
///         let found = after.mem().contents(path).map_or(0, |bytes| bytes[0]);
///         assert!(found == *promised || found == *promised + 1);
///     },
/// );
/// assert!(covered.points > 10);
/// ```
#[derive(Debug, Clone)]
pub struct CrashPoints {
    start: MemDisk,
    seed: u64,
    arbitrary: u64,
    prefixes: bool,
    first: u64,
    step: u64,
}

/// How much was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Covered {
    /// Places at which the power was cut, the end of the work among them.
    pub points: u64,
    /// Disks that were checked.
    pub states: u64,
}

/// One disk that a crash left.
#[derive(Debug)]
pub struct Aftermath {
    disk: MemDisk,
    /// After how many changes the power went.
    pub point: u64,
    /// How.
    pub crash: Crash,
    /// Whether the work had completed.
    pub completed: bool,
}

impl Aftermath {
    /// The disk as the next start finds it.
    #[must_use]
    pub fn disk(&self) -> DiskRef {
        Arc::new(self.disk.clone())
    }

    /// The same, with the in-memory disk's own calls: to crash recovery itself, to look at files.
    #[must_use]
    pub fn mem(&self) -> &MemDisk {
        &self.disk
    }
}

impl Display for Aftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "crash point {} ({:?})", self.point, self.crash)?;
        if self.completed { write!(f, ", after the end") } else { Ok(()) }
    }
}

impl CrashPoints {
    /// Work that starts from this disk; it is copied, with what it has not synced, and not
    /// changed.
    #[must_use]
    pub fn on(start: &MemDisk) -> Self {
        Self { start: start.fork(), seed: 0, arbitrary: 8, prefixes: false, first: 0, step: 1 }
    }

    /// Work that starts from a disk on which the folder `dir` exists and nothing else.
    #[must_use]
    pub fn in_dir(dir: impl AsRef<Path>) -> Self {
        Self::on(&MemDisk::with_dir(dir))
    }

    /// How many arbitrary outcomes are checked at each point, beside the killed process and a
    /// power cut that leaves nothing or everything. 8 unless said otherwise.
    #[must_use]
    pub fn arbitrary(mut self, outcomes: u64) -> Self {
        self.arbitrary = outcomes;
        self
    }

    /// Other arbitrary outcomes than those of seed 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Also checks every prefix of the un-synced changes at each point.
    #[must_use]
    pub fn prefixes(mut self) -> Self {
        self.prefixes = true;
        self
    }

    /// Cuts only after `first`, `first + step`, ... changes: for long work, or to look at one
    /// point again.
    ///
    /// # Panics
    /// If `step` is 0.
    #[must_use]
    pub fn every(mut self, first: u64, step: u64) -> Self {
        assert!(step > 0, "a step of 0 never gets on");
        self.first = first;
        self.step = step;
        self
    }

    /// Does it. `work` notes in its second argument what it has promised to others so far;
    /// `check` is told, opens the disk as a restart would, and asserts. Both must be
    /// deterministic.
    ///
    /// # Panics
    /// If `work` fails before the power goes, or `check` panics; the message names the point.
    pub fn run<P, E>(
        &self,
        mut work: impl FnMut(&DiskRef, &mut P) -> Result<(), E>,
        mut check: impl FnMut(&Aftermath, &P),
    ) -> Covered
    where
        P: Default,
        E: Debug,
    {
        let mut covered = Covered::default();
        let mut point = self.first;
        loop {
            let disk = self.start.fork();
            disk.power_off_after(point);
            let mut promised = P::default();
            let outcome = work(&disk.shared(), &mut promised);
            let completed = !disk.is_off();
            if let (true, Err(error)) = (completed, outcome) {
                panic!("the work failed though the power was on: {error:?}");
            }
            covered.points += 1;
            for crash in self.crashes(&disk, point) {
                let after = Aftermath { disk: disk.aftermath(crash), point, crash, completed };
                let verdict = catch_unwind(AssertUnwindSafe(|| check(&after, &promised)));
                if let Err(cause) = verdict {
                    panic!("{after}: {}", words(cause.as_ref()));
                }
                covered.states += 1;
            }
            if completed {
                return covered;
            }
            point += self.step;
        }
    }

    /// The crashes worth checking at a point.
    fn crashes(&self, disk: &MemDisk, point: u64) -> Vec<Crash> {
        let mut crashes = vec![Crash::Process];
        let cut_write = disk.shared.state().cut_write.is_some();
        if cut_write {
            crashes.push(Crash::ProcessMidWrite);
        }
        crashes.push(Crash::Power(Survivors::Nothing));
        let unsynced = disk.unsynced();
        if unsynced == 0 && !cut_write {
            return crashes;
        }
        crashes.push(Crash::Power(Survivors::Everything));
        if self.prefixes {
            let prefixes = (1..unsynced)
                .map(|changes| Crash::Power(Survivors::Prefix { changes, torn_bytes: 0 }));
            crashes.extend(prefixes);
        }
        for n in 0..self.arbitrary {
            let tear = if n % 2 == 0 { Tear::Sector } else { Tear::Byte };
            // Neighbouring points must not share their lots.
            let seed = self.seed.wrapping_add(point << 16).wrapping_add(n);
            crashes.push(Crash::Power(Survivors::Arbitrary { seed, tear }));
        }
        crashes
    }
}

/// What a panic said.
fn words(cause: &(dyn std::any::Any + Send)) -> &str {
    cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("the check panicked")
}
