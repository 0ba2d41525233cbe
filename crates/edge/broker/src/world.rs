//! What a broker stands on, beside its disk: the system it is a process of, or a simulation of that.

use crate::machine;
use jocko_discovery::MemoryNetwork;
use jocko_net::peers::Chance;
use jocko_net::ports::Ports;
use jocko_net::{ReactorSettings, Reactors};
use jocko_types::Uuid;
use std::io;

/// Threads for work that may block: cold reads, recovery, retention.
pub(crate) const WORKERS: usize = 4;

/// What a broker stands on.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) ports: Ports,
    /// Where numbers come from that nobody may guess.
    pub(crate) chance: Chance,
    /// Tells this run of the machine from others, where the system says.
    pub(crate) boot_id: Option<Uuid>,
    /// Where others are found, in place of gossip.
    pub(crate) gathering: Option<MemoryNetwork>,
    are_reactors_tasks: bool,
}

impl World {
    /// The operating system.
    pub(crate) fn production() -> io::Result<Self> {
        Ok(Self {
            ports: Ports::production(WORKERS)?,
            chance: Chance::system(),
            boot_id: machine::boot_id(),
            gathering: None,
            are_reactors_tasks: false,
        })
    }

    /// A simulated machine, which runs since `boot_id`: everything is a task of the current
    /// runtime, brokers meet at `gathering`, and numbers follow from `seed`.
    #[must_use]
    pub fn simulated(ports: Ports, gathering: MemoryNetwork, seed: u64, boot_id: Uuid) -> Self {
        Self {
            ports,
            chance: Chance::seeded(seed),
            boot_id: Some(boot_id),
            gathering: Some(gathering),
            are_reactors_tasks: true,
        }
    }

    pub(crate) fn reactors(&self, settings: &ReactorSettings) -> io::Result<Reactors> {
        match self.are_reactors_tasks {
            true => Ok(Reactors::start_local(settings, &self.ports)),
            false => Reactors::start(settings, &self.ports),
        }
    }
}
