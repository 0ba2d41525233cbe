//! What befalls a cluster. A fault does its whole deed: when it returns, its victims may be down or
//! cut off still; [`jocko_testkit::Cluster::heal`] mends what it left.

mod catalogue;
mod cuts;
mod disks;
mod loops;
mod moves;
mod replays;
mod rot;
mod scarcity;
mod wires;

pub(crate) use catalogue::{Fault, Need};

use crate::seen::{self, Seen};
use crate::workload::{Shared, pause};
use anyhow::{Context, Result, bail, ensure};
use jocko_testkit::Cluster;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a rolling restart may wait for a broker to be in sync again.
const IN_SYNC_MAX: Duration = Duration::from_secs(60);
/// How long a wiped broker may take to vote again.
const VOTERS_WAIT_MAX: Duration = Duration::from_secs(90);

/// What a fault works with.
pub(crate) struct Scene<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) shared: &'a Shared,
    pub(crate) random: &'a mut fastrand::Rng,
    /// Cut the tails of the logs between a kill and the start after it.
    pub(crate) plants_tail: bool,
    /// The binaries that an upgrade goes between.
    pub(crate) binaries: [&'a Path; 2],
}

impl Scene<'_> {
    /// Does it; the brokers whose partitions it took away.
    pub(crate) fn inject(&mut self, fault: Fault) -> Result<Vec<usize>> {
        match fault {
            Fault::Kill => {
                let victim = self.any();
                self.kill(victim)
            }
            Fault::KillAll => self.kill_all(),
            Fault::KillLeader => {
                let victim = self.leader()?;
                self.kill(victim)
            }
            Fault::KillController => {
                let victim = seen::settled(|| {
                    let leader = seen::controller(self.cluster)?;
                    leader.context("nobody leads the quorum")
                });
                self.kill(victim?)
            }
            Fault::Pause => {
                let victim = self.any();
                self.freeze(victim)
            }
            Fault::PauseLeader => {
                let victim = self.leader()?;
                self.freeze(victim)
            }
            Fault::Roll => self.roll(),
            Fault::Wipe => self.wipe(),
            Fault::DoubleFailOver => self.double_fail_over(),
            Fault::LastStanding => self.last_standing(),
            Fault::Isolate
            | Fault::IsolateLeader
            | Fault::OneWay
            | Fault::Bridge
            | Fault::FollowerCut
            | Fault::ClientCut
            | Fault::Loss => self.cut(fault),
            Fault::ChangeAndKill => self.change_and_kill(),
            Fault::MoveAndKill => self.move_and_kill(),
            Fault::Reshape => self.reshape(),
            Fault::CrashLoop => self.crash_loop(),
            Fault::Narrow => self.narrow(),
            Fault::Reset => self.reset(),
            Fault::Halve => self.halve(),
            Fault::Replay => self.replay(),
            Fault::Split => self.split(false),
            Fault::SplitGossip => self.split(true),
            Fault::Upgrade => self.upgrade(),
            Fault::Dark => {
                let victim = self.any();
                self.lose_power(victim)
            }
            Fault::DarkLeader => {
                let victim = self.leader()?;
                self.lose_power(victim)
            }
            Fault::DarkAll => self.lose_all_power(),
            Fault::LastDark => self.last_without_power(),
            Fault::FullDisk | Fault::FullLeader => self.fill(fault),
            Fault::SlowDisk => self.slow_down(),
            Fault::FsyncError => self.report_errors(),
            Fault::Clock => self.set_clock(),
            Fault::Rot => self.rot(),
            Fault::DeadDisk
            | Fault::ReadOnlyDisk
            | Fault::OldDisk
            | Fault::NoFiles
            | Fault::NoMemory => self.deprive(fault),
        }
    }

    fn any(&mut self) -> usize {
        self.random.usize(..self.cluster.len())
    }

    fn seen(&mut self) -> Result<Vec<Seen>> {
        seen::partitions(self.cluster, &self.shared.topic)
    }

    /// The leader of a random partition that has one.
    fn leader(&mut self) -> Result<usize> {
        seen::settled(|| {
            let partitions = self.seen()?;
            let leaders: Vec<usize> = partitions.iter().filter_map(|seen| seen.leader).collect();
            self.random.choice(leaders).context("no partition has a leader")
        })
    }

    fn wait_ms(&mut self, from: u64, to: u64) {
        pause(Duration::from_millis(self.random.u64(from..to)));
    }

    fn kill(&mut self, victim: usize) -> Result<Vec<usize>> {
        self.cluster.kill(victim)?;
        self.plant(victim)?;
        self.wait_ms(0, 4_000);
        self.cluster.start(victim)?;
        // Recovery must bear being killed, too.
        if self.random.u8(..5) == 0 {
            self.wait_ms(0, 60);
            self.cluster.kill(victim)?;
            self.cluster.start(victim)?;
        }
        Ok(vec![victim])
    }

    fn kill_all(&mut self) -> Result<Vec<usize>> {
        let mut all: Vec<usize> = (0..self.cluster.len()).collect();
        for victim in all.clone() {
            self.cluster.kill(victim)?;
        }
        for victim in all.clone() {
            self.plant(victim)?;
        }
        self.random.shuffle(&mut all);
        for victim in all.clone() {
            self.cluster.start(victim)?;
            self.wait_ms(0, 1_000);
        }
        Ok(all)
    }

    fn freeze(&mut self, victim: usize) -> Result<Vec<usize>> {
        self.cluster.pause(victim)?;
        self.wait_ms(1_000, 10_000);
        self.cluster.resume(victim)?;
        Ok(vec![victim])
    }

    /// Restarts one after the other as an operator would: the next when the last is in sync.
    fn roll(&mut self) -> Result<Vec<usize>> {
        self.roll_to(None)
    }

    /// The same to the other binary than the first broker has.
    fn upgrade(&mut self) -> Result<Vec<usize>> {
        let [one, other] = self.binaries;
        let next = if self.cluster.binary(0) == one { other } else { one };
        self.roll_to(Some(next))
    }

    fn roll_to(&mut self, binary: Option<&Path>) -> Result<Vec<usize>> {
        for node in 0..self.cluster.len() {
            self.cluster.stop(node)?;
            if let Some(binary) = binary {
                self.cluster.exchange(node, binary.to_owned())?;
            }
            self.cluster.start(node)?;
            self.cluster.wait_ready(node)?;
            self.wait_in_sync(IN_SYNC_MAX)?;
        }
        Ok((0..self.cluster.len()).collect())
    }

    fn wipe(&mut self) -> Result<Vec<usize>> {
        // One of three may be lost with what it promised as a voter, and not the next one, too.
        let begun = std::time::Instant::now();
        while !seen::all_vote(self.cluster).unwrap_or(false) {
            self.cluster.check_running()?;
            ensure!(begun.elapsed() < VOTERS_WAIT_MAX, "not all brokers vote before it");
            pause(Duration::from_millis(50));
        }
        let victim = self.any();
        let id = seen::settled(|| {
            let found = seen::id(self.cluster, victim)?;
            found.context("a broker that is not listed")
        })?;
        self.cluster.kill(victim)?;
        self.cluster.wipe(victim, id)?;
        self.wait_ms(0, 2_000);
        self.cluster.start(victim)?;
        Ok(vec![victim])
    }

    /// A leader dies, and as soon as another leads, that one dies too and the first is back.
    fn double_fail_over(&mut self) -> Result<Vec<usize>> {
        let partition = self.random.usize(..self.shared.partitions as usize);
        let leader_of = |scene: &mut Self| {
            let seen = scene.seen().ok()?;
            seen.get(partition)?.leader.filter(|leader| scene.cluster.is_up(*leader))
        };
        let first = seen::settled(|| leader_of(self).context("the partition has no leader"))?;
        self.cluster.kill(first)?;
        self.cluster.start(first)?;
        let begun = std::time::Instant::now();
        let second = loop {
            match leader_of(self) {
                Some(leader) if leader != first => break leader,
                _ if begun.elapsed() > Duration::from_secs(10) => break first,
                _ => pause(Duration::from_millis(10)),
            }
        };
        self.cluster.kill(second)?;
        self.wait_ms(0, 1_000);
        self.cluster.start(second)?;
        Ok(vec![first, second])
    }

    /// Both followers die, and then the leader, which comes back last.
    fn last_standing(&mut self) -> Result<Vec<usize>> {
        let leader = self.leader()?;
        let mut others: Vec<usize> =
            (0..self.cluster.len()).filter(|node| *node != leader).collect();
        self.random.shuffle(&mut others);
        for other in &others {
            self.cluster.kill(*other)?;
            self.wait_ms(0, 3_000);
        }
        self.cluster.kill(leader)?;
        for other in &others {
            self.cluster.start(*other)?;
        }
        self.wait_ms(0, 5_000);
        self.cluster.start(leader)?;
        Ok((0..self.cluster.len()).collect())
    }

    /// Waits until every replica of every partition is in sync, and every broker knows it: what one
    /// says that was cut off until now may be from before.
    pub(crate) fn wait_in_sync(&mut self, deadline: Duration) -> Result<()> {
        let (topic, count) = (&self.shared.topic, self.shared.replicas);
        let begun = std::time::Instant::now();
        let mut last = Vec::new();
        while begun.elapsed() < deadline {
            self.cluster.check_running()?;
            if let Ok(told) = seen::partitions_of_each(self.cluster, topic) {
                let whole = |seen: &Seen| seen.leader.is_some() && seen.in_sync.len() == count;
                let first = &told[0];
                let is_whole = first.len() == self.shared.partitions as usize
                    && first.iter().all(whole)
                    && told.iter().all(|seen| seen == first);
                if is_whole {
                    return Ok(());
                }
                last = told;
            }
            pause(Duration::from_millis(20));
        }
        bail!("not all replicas are in sync after {deadline:?}: {last:?}")
    }

    /// Where it is wanted, a log that was acknowledged loses its end while its broker is down.
    fn plant(&mut self, victim: usize) -> Result<()> {
        if !self.plants_tail {
            return Ok(());
        }
        for path in logs_of(self.cluster.data_dir(victim), &self.shared.topic)? {
            let file = fs::File::options().write(true).open(&path)?;
            file.set_len(file.metadata()?.len() / 2)?;
        }
        self.plants_tail = false;
        Ok(())
    }
}

/// The segments of all partitions of a topic below a folder, in order.
pub(crate) fn logs_of(folder: &Path, topic: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let parent = folder.file_name().map(|name| name.to_string_lossy().into_owned());
            if path.is_dir() {
                folders.push(path);
            } else if name.is_some_and(|name| name.ends_with(".log"))
                && parent.is_some_and(|parent| parent.starts_with(&format!("{topic}-")))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
