//! What befalls disks and clocks.

use super::{Fault, Scene};
use crate::workload::pause;
use anyhow::{Context, Result};
use jocko_testkit::{FaultyDisk, SlowDisk};
use std::time::{Duration, Instant};

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;
/// By how many seconds a clock is put ahead or back.
const SHIFTS: [i64; 8] = [30, -30, HOUR, -HOUR, 8 * 24 * HOUR, -YEAR, 10 * YEAR, -10 * YEAR];
/// How often a disk that is to be full is looked after.
const REFILL: Duration = Duration::from_millis(200);
/// One time in so many a broker is killed while its clock is wrong, and starts so.
const RESTARTS_ONE_IN: u8 = 3;

impl Scene<'_> {
    /// A broker's power fails, and is back after a while.
    pub(super) fn lose_power(&mut self, victim: usize) -> Result<Vec<usize>> {
        self.cluster.power_off(victim)?;
        self.wait_ms(0, 4_000);
        self.cluster.power_on(victim)?;
        Ok(vec![victim])
    }

    /// Everybody's power fails within a second, and is back for one after the other.
    pub(super) fn lose_all_power(&mut self) -> Result<Vec<usize>> {
        let mut all: Vec<usize> = (0..self.cluster.len()).collect();
        self.random.shuffle(&mut all);
        for victim in all.clone() {
            self.cluster.power_off(victim)?;
            self.wait_ms(0, 300);
        }
        self.random.shuffle(&mut all);
        for victim in all.clone() {
            self.cluster.power_on(victim)?;
            self.wait_ms(0, 1_000);
        }
        Ok(all)
    }

    /// Both followers are cut off one after the other; then the leader's power fails. Its followers
    /// reach each other before it is back.
    pub(super) fn last_without_power(&mut self) -> Result<Vec<usize>> {
        let leader = self.leader()?;
        let others: Vec<usize> = (0..self.cluster.len()).filter(|node| *node != leader).collect();
        for (at, other) in others.iter().enumerate() {
            self.cluster.note(&format!("cut {other} off"));
            self.cluster.network().context("a network")?.isolate(*other)?;
            if at + 1 < others.len() {
                self.wait_ms(500, 3_000);
            }
        }
        self.wait_ms(200, 2_000);
        self.cluster.power_off(leader)?;
        self.cluster.heal_network()?;
        self.wait_ms(0, 5_000);
        self.cluster.power_on(leader)?;
        Ok((0..self.cluster.len()).collect())
    }

    /// Nothing fits on a disk any more, for a while.
    pub(super) fn fill(&mut self, fault: Fault) -> Result<Vec<usize>> {
        let victim = if fault == Fault::FullLeader { self.leader()? } else { self.any() };
        self.cluster.note(&format!("fill the disk of {victim}"));
        let until = Instant::now() + Duration::from_millis(self.random.u64(2_000..8_000));
        // What a broker gives up to have room is taken, too.
        while Instant::now() < until {
            self.cluster.fill_disk(victim)?;
            pause(REFILL);
        }
        // Whatever it did about it, it did not end.
        self.cluster.check_running()?;
        Ok(vec![victim])
    }

    /// What a disk makes durable takes it a while.
    pub(super) fn slow_down(&mut self) -> Result<Vec<usize>> {
        let victim = self.any();
        let slow: SlowDisk = self.cluster.slow_disk(victim, self.random.u32(1..8))?;
        self.wait_ms(2_000, 8_000);
        drop(slow);
        self.cluster.note(&format!("the disk of {victim} is as fast as it was"));
        Ok(vec![victim])
    }

    /// A disk says that nothing was made durable. A broker may end over that, and what it could not
    /// write it must not have promised; it is started again like after a crash.
    pub(super) fn report_errors(&mut self) -> Result<Vec<usize>> {
        let victim = self.any();
        let faulty: Option<FaultyDisk> = self.cluster.faulty_disk(victim)?;
        self.wait_ms(200, 2_000);
        drop(faulty);
        self.cluster.note(&format!("the disk of {victim} reports no errors any more"));
        // Others are to take over from one that goes on without its log.
        self.wait_ms(0, 10_000);
        if !self.cluster.bury(victim)? {
            self.cluster.kill(victim)?;
        }
        self.cluster.start(victim)?;
        Ok(vec![victim])
    }

    /// A wall clock is wrong for a while.
    pub(super) fn set_clock(&mut self) -> Result<Vec<usize>> {
        let victim = self.any();
        let shift = self.random.choice(SHIFTS).context("a shift")?;
        self.cluster.set_clock(victim, shift)?;
        self.wait_ms(500, 4_000);
        if self.random.u8(..RESTARTS_ONE_IN) == 0 {
            self.cluster.kill(victim)?;
            self.cluster.start(victim)?;
        }
        self.wait_ms(500, 4_000);
        Ok(vec![victim])
    }
}
