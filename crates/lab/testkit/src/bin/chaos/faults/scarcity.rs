//! Disks that are gone, take no writes or are of yesterday, and what a broker may run out of.

use super::{Fault, Scene};
use crate::workload::pause;
use anyhow::{Result, ensure};
use jocko_testkit::Squeezed;
use std::time::{Duration, Instant};

/// How long others may take to lead in place of a broker without a disk. Ten seconds are aimed at.
const LED_BY_OTHERS_MAX: Duration = Duration::from_secs(15);
/// How long a broker without memory may go on.
const SQUEEZED_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Scene<'_> {
    /// Whichever of these is meant.
    pub(super) fn deprive(&mut self, fault: Fault) -> Result<Vec<usize>> {
        match fault {
            Fault::OldDisk => self.restore_old_disk(),
            Fault::NoFiles => self.run_out_of_files(),
            Fault::NoMemory => self.run_out_of_memory(),
            _ => self.lose_disk(fault == Fault::ReadOnlyDisk),
        }
    }

    /// A leader's disk fails for good (EIO), or takes no writes (EROFS): others lead in its place,
    /// whether it ends over that or not. Then it starts with what the disk held.
    fn lose_disk(&mut self, is_read_only: bool) -> Result<Vec<usize>> {
        let victim = self.leader()?;
        match is_read_only {
            true => self.cluster.lock_disk(victim)?,
            false => self.cluster.unplug_disk(victim)?,
        }
        let until = Instant::now() + LED_BY_OTHERS_MAX;
        while self.seen()?.iter().any(|seen| seen.leader == Some(victim)) {
            ensure!(Instant::now() < until, "broker {victim} leads without a disk");
            pause(LOOK_EVERY);
        }
        self.cluster.note(&format!("others lead what {victim} led"));
        self.wait_ms(0, 3_000);
        if !self.cluster.bury(victim)? {
            self.cluster.kill(victim)?;
        }
        self.cluster.replug_disk(victim)?;
        self.cluster.start(victim)?;
        Ok(vec![victim])
    }

    /// A disk is restored from a copy that is some seconds old.
    fn restore_old_disk(&mut self) -> Result<Vec<usize>> {
        let victim = self.any();
        self.cluster.kill(victim)?;
        self.cluster.keep_disk(victim)?;
        self.cluster.start(victim)?;
        self.wait_ms(2_000, 8_000);
        self.cluster.kill(victim)?;
        self.cluster.restore_disk(victim)?;
        self.wait_ms(0, 3_000);
        self.cluster.start(victim)?;
        Ok(vec![victim])
    }

    /// No descriptors are left for a while: nothing may end, and nothing be half done.
    fn run_out_of_files(&mut self) -> Result<Vec<usize>> {
        let victim = self.any();
        let few = self.cluster.short_of_files(victim, self.random.usize(..4))?;
        self.wait_ms(2_000, 8_000);
        self.cluster.check_running()?;
        drop(few);
        self.cluster.note(&format!("{victim} gets descriptors again"));
        Ok(vec![victim])
    }

    /// The system ends a broker for want of memory; one that does without is killed.
    fn run_out_of_memory(&mut self) -> Result<Vec<usize>> {
        let victim = self.any();
        let squeezed: Squeezed = self.cluster.squeeze(victim)?;
        let until = Instant::now() + SQUEEZED_MAX;
        while !self.cluster.bury(victim)? {
            if Instant::now() >= until {
                self.cluster.kill(victim)?;
                break;
            }
            pause(LOOK_EVERY);
        }
        drop(squeezed);
        self.wait_ms(0, 2_000);
        self.cluster.start(victim)?;
        Ok(vec![victim])
    }
}
