//! A simulated machine: an address, a disk, a clock that may be wrong, and at most one process of
//! the broker, which comes and goes.

use super::slow::{SlowSpawn, Slowness, WrongClock};
use jocko_broker::simulation::{Inside, World, live};
use jocko_config::{Layers, LoadedSettings, load};
use jocko_discovery::MemoryNetwork;
use jocko_disk::{Crash, Disk, MemDisk, Residency, Survivors, Tear};
use jocko_net::ports::{MemoryNet, Ports, Process};
use jocko_types::{Timestamp, Uuid};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::Instant;

/// The folder that holds all a broker keeps.
const DATA: &str = "/data";
/// Where brokers serve clients.
const KAFKA_PORT: u16 = 9092;
/// The wall clock of all machines when a run begins.
const BEGAN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// What all machines of a run share.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) net: MemoryNet,
    pub(super) gathering: MemoryNetwork,
    /// How many brokers found the cluster.
    pub(super) expect: u32,
    /// `storage.durability`.
    pub(super) durability: &'static str,
}

/// A machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// The number of the broker that runs here, from 1.
    pub(super) number: u32,
    /// Whether it is part of the cluster, or is to be; one that was removed is not.
    pub(super) is_member: bool,
    surroundings: Surroundings,
    pub(super) disk: MemDisk,
    pub(super) slowness: Arc<Slowness>,
    pub(super) clock: Arc<WrongClock>,
    /// Since when it has been switched on, as a number.
    boot: u64,
    process: Option<Running>,
    /// Until when the process does not go on.
    frozen_until: Option<Instant>,
    /// Why the last process ended by itself.
    pub(super) last_words: Option<String>,
}

/// A process, from its start on.
#[derive(Debug)]
struct Running {
    process: Process,
    up: Option<oneshot::Receiver<Result<Inside, jocko_broker::StartError>>>,
    inside: Option<Inside>,
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<Result<(), String>>,
}

/// What became of a process since it was looked at last.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// It serves clients.
    Up,
    /// It stopped in order, as it was told.
    Stopped,
    /// It ended by itself.
    Died,
}

impl Machine {
    pub(super) fn new(number: u32, surroundings: Surroundings, seed: u64) -> Self {
        Self {
            number,
            is_member: true,
            surroundings,
            disk: blank_disk(seed),
            slowness: Arc::new(Slowness::seeded(seed)),
            clock: Arc::new(WrongClock::starting_at(BEGAN)),
            boot: 1,
            process: None,
            frozen_until: None,
            last_words: None,
        }
    }

    pub(super) fn address(&self) -> IpAddr {
        address_of(self.number)
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The broker from inside, once it serves clients.
    pub(super) fn inside(&self) -> Option<&Inside> {
        self.process.as_ref()?.inside.as_ref()
    }

    /// Starts a process. `seed` is its chance.
    pub(super) fn start(&mut self, seed: u64) {
        assert!(self.process.is_none(), "one process at a time");
        let Surroundings { net, gathering, .. } = &self.surroundings;
        let ports = Ports {
            net: Arc::new(net.node(self.address())),
            clock: Arc::clone(&self.clock) as _,
            spawn: Arc::new(SlowSpawn(Arc::clone(&self.slowness))),
        };
        let boot_id = Uuid::from_bytes(
            ((u128::from(self.number) << 64) | u128::from(self.boot)).to_be_bytes(),
        );
        let world = World::simulated(ports, gathering.clone(), seed, boot_id);
        let (settings, disk) = (self.settings(), self.disk.shared());
        let ((up, is_up), (stop, stopped)) = (oneshot::channel(), oneshot::channel());
        let (end, ended) = oneshot::channel();
        let process = Process::new();
        process.spawn_local(async move {
            // Nobody listens once it was killed.
            let _ = end.send(live(settings, disk, world, up, stopped).await);
        });
        let (up, stop) = (Some(is_up), Some(stop));
        self.process = Some(Running { process, up, inside: None, stop, ended });
    }

    fn settings(&self) -> LoadedSettings {
        let Surroundings { expect, durability, .. } = &self.surroundings;
        let at = |port| SocketAddr::new(self.address(), port).to_string();
        let all: Vec<String> =
            (1..=*expect).map(|number| format!("{}:9094", address_of(number))).collect();
        let flags = [
            ("data_dir", DATA.to_owned()),
            ("node.id", self.number.to_string()),
            ("node.threads", "1".to_owned()),
            ("node.shutdown_grace", "5s".to_owned()),
            // Whoever comes later asks to be let in.
            ("cluster.expect", if self.number > *expect { 1 } else { *expect }.to_string()),
            ("cluster.join", if *expect > 1 { all.join(",") } else { String::new() }),
            ("cluster.secret", "of the simulation".to_owned()),
            ("listen.kafka", at(KAFKA_PORT)),
            ("listen.cluster", at(9093)),
            ("listen.gossip", at(9094)),
            ("listen.http", "none".to_owned()),
            ("limits.memory", "64MiB".to_owned()),
            ("storage.ballast", "0".to_owned()),
            ("storage.durability", (*durability).to_owned()),
        ];
        let flags = flags.map(|(key, value)| (key.to_owned(), value));
        load(&Layers { flags: &flags, ..Layers::default() }).expect("these settings are sound")
    }

    /// Looks what became of the process.
    pub(super) async fn look(&mut self) -> News {
        let Some(running) = &mut self.process else { return News::None };
        if let Some(up) = &mut running.up {
            match up.try_recv() {
                Ok(Ok(inside)) => {
                    running.up = None;
                    running.inside = Some(inside);
                    return News::Up;
                }
                Ok(Err(_)) | Err(TryRecvError::Closed) => running.up = None,
                Err(TryRecvError::Empty) => {}
            }
        }
        let ended = match running.ended.try_recv() {
            Ok(ended) => ended,
            Err(TryRecvError::Empty) => return News::None,
            Err(TryRecvError::Closed) => Err("it panicked".to_owned()),
        };
        let was_told = running.stop.is_none();
        self.kill().await;
        match ended {
            Ok(()) if was_told => News::Stopped,
            Ok(()) => unreachable!("nobody told it to stop"),
            Err(words) => {
                self.last_words = Some(words);
                News::Died
            }
        }
    }

    /// Lets the process take no step until then; whether there is one to stop so.
    pub(super) fn freeze(&mut self, until: Instant) -> bool {
        let Some(running) = &self.process else { return false };
        running.process.freeze();
        self.frozen_until = Some(until);
        true
    }

    /// Lets the process go on if it is time to, or at any time if there is none.
    pub(super) fn thaw(&mut self, now: Option<Instant>) -> bool {
        let is_due = |until: &mut Instant| now.is_none_or(|now| *until <= now);
        let thawed = self.frozen_until.take_if(is_due).is_some();
        if let Some(running) = self.process.as_ref().filter(|_| thawed) {
            running.process.thaw();
        }
        thawed
    }

    /// Asks the process to stop in order.
    pub(super) fn stop(&mut self) {
        if let Some(running) = &mut self.process {
            // It may be ending already.
            running.stop.take().map(|stop| stop.send(()));
        }
    }

    /// Ends the process where it stands. The page cache lives on.
    pub(super) async fn kill(&mut self) {
        self.end(Crash::Process).await;
    }

    /// Switches the machine off: of what was not synced some survives, by `seed`.
    pub(super) async fn cut_power(&mut self, seed: u64) {
        let tear = if seed.is_multiple_of(2) { Tear::Sector } else { Tear::Byte };
        self.end(Crash::Power(Survivors::Arbitrary { seed, tear })).await;
        self.boot += 1;
    }

    /// Loses the disk; the process goes with it.
    pub(super) async fn wipe(&mut self, seed: u64) {
        self.end(Crash::Process).await;
        self.disk = blank_disk(seed);
    }

    /// Lets the disk take so many bytes more, and then none.
    pub(super) fn leave_room(&self, bytes: u64) {
        // A disk without a limit tells what is used of it, too.
        self.disk.set_capacity(None);
        if let Ok(space) = self.disk.space(Path::new("/")) {
            self.disk.set_capacity(Some(space.total - space.free + bytes));
        }
    }

    async fn end(&mut self, how: Crash) {
        // First of all, so that nothing more is written or said.
        self.disk = self.disk.crash(how);
        self.surroundings.net.kill(self.address());
        self.frozen_until = None;
        if let Some(running) = self.process.take() {
            running.process.kill().await;
        }
    }
}

fn blank_disk(seed: u64) -> MemDisk {
    let disk = MemDisk::with_dir("/");
    // Reads from memory find all, something or nothing, as under real caches.
    disk.set_residency(Residency::Seeded(seed));
    disk
}

/// The address of the machine of a broker.
pub(super) fn address_of(number: u32) -> IpAddr {
    let last = u8::try_from(number).expect("a handful of brokers");
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

/// Where a broker serves clients.
pub(super) fn kafka_at(number: u32) -> SocketAddr {
    SocketAddr::new(address_of(number), KAFKA_PORT)
}
