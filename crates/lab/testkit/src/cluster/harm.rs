//! What may befall the disk and the clock of a broker, and its binary.

use super::{Cluster, Disk, SlowDisk};
use crate::faulty_disk::FaultyDisk;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

impl Cluster {
    pub(super) fn disk(&self, node: usize) -> Result<&Disk> {
        self.nodes[node].disk.as_ref().context("a disk of its own")
    }

    /// The power fails: it does nothing any more and says no farewell, and what its disk had not
    /// made durable is gone. It stays so until [`Cluster::power_on`].
    ///
    /// # Errors
    /// When it has no disk of its own, or the system refuses.
    pub fn power_off(&mut self, node: usize) -> Result<()> {
        self.pause(node)?;
        self.note(&format!("power off {node}"));
        self.disk(node)?.go_dark()
    }

    /// The power is back: what was in memory is gone, and it starts on what its disk has.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn power_on(&mut self, node: usize) -> Result<()> {
        self.kill(node)?;
        self.note(&format!("power on {node}"));
        self.disk(node)?.come_back()?;
        self.start(node)
    }

    /// Nothing more fits on its disk; what has become free since the last time is taken, too.
    ///
    /// # Errors
    /// When it has none of its own, or the system refuses.
    pub fn fill_disk(&self, node: usize) -> Result<()> {
        self.disk(node)?.fill()
    }

    /// From now on its disk takes so many writes a second at most, until what this returns is
    /// dropped.
    ///
    /// # Errors
    /// When it has none of its own, does not run, or the system refuses.
    pub fn slow_disk(&self, node: usize, writes_a_second: u32) -> Result<SlowDisk> {
        self.note(&format!("slow the disk of {node} to {writes_a_second} writes a second"));
        let pid = self.process(node).context("it does not run")?.pid();
        self.disk(node)?.slow_down(pid, writes_a_second)
    }

    /// From now on its disk reports errors where something is to be made durable, until what this
    /// returns is dropped; `None` if it has ended already.
    ///
    /// # Errors
    /// When it does not run, or may not be traced.
    pub fn faulty_disk(&self, node: usize) -> Result<Option<FaultyDisk>> {
        self.note(&format!("the disk of {node} reports errors"));
        FaultyDisk::under(self.process(node).context("it does not run")?)
    }

    /// Puts its wall clock ahead by so many seconds, or back.
    ///
    /// # Errors
    /// When it has no clock of its own, or the system refuses.
    pub fn set_clock(&self, node: usize, seconds: i64) -> Result<()> {
        self.note(&format!("the clock of {node} is off by {seconds} s"));
        self.nodes[node].clock.as_ref().context("a clock of its own")?.set(seconds)
    }

    /// What it is started from.
    #[must_use]
    pub fn binary(&self, node: usize) -> &Path {
        &self.nodes[node].options.binary
    }

    /// It is started from another binary from now on.
    ///
    /// # Errors
    /// When it runs.
    pub fn exchange(&mut self, node: usize, binary: PathBuf) -> Result<()> {
        ensure!(!self.is_up(node), "a running broker is not exchanged");
        self.note(&format!("exchange {node} for {}", binary.display()));
        self.nodes[node].options.binary = binary;
        Ok(())
    }

    /// It is started with one more argument from now on.
    pub fn argue(&mut self, node: usize, argument: &str) {
        self.note(&format!("{node} is to start with {argument}"));
        self.nodes[node].options.arguments.push(argument.to_owned());
    }

    /// And from now on without.
    pub fn argue_no_more(&mut self, node: usize, argument: &str) {
        self.note(&format!("{node} is to start without {argument}"));
        self.nodes[node].options.arguments.retain(|given| given != argument);
    }

    /// Nothing passes between two brokers: nothing at all, or only no gossip.
    ///
    /// # Errors
    /// When they have no network that can be cut, or the system refuses.
    pub fn cut_between(&mut self, one: usize, other: usize, only_gossip: bool) -> Result<()> {
        let port = self.nodes[one].gossip_port;
        let network = self.around.network.as_mut().context("a network that can be cut")?;
        if only_gossip { network.cut_port(one, other, port) } else { network.cut(one, other) }
    }

    /// Lets go of a broker that has ended, however it did; whether it had.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn bury(&mut self, node: usize) -> Result<bool> {
        let Some(process) = &mut self.nodes[node].process else { return Ok(true) };
        if process.is_running()? {
            return Ok(false);
        }
        self.note(&format!("{node} had ended by itself"));
        self.nodes[node].process = None;
        Ok(true)
    }

    /// Disks have room, and clocks are right.
    pub(super) fn mend(&self) -> Result<()> {
        for node in &self.nodes {
            if let Some(disk) = &node.disk {
                disk.make_room()?;
            }
            if let Some(clock) = &node.clock {
                clock.set(0)?;
            }
        }
        Ok(())
    }
}
