//! What befalls connections: narrow ways, resets, halves of connections, gossip that is cut (N6, N7,
//! N9).

use super::Scene;
use crate::seen;
use crate::workload::pause;
use anyhow::{Context, Result, bail, ensure};
use jocko_testkit::Cluster;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How fast a narrow way is.
const NARROW_BITS: u32 = 1_000_000;
/// How much more memory than before a broker may use while ways are narrow.
const MEMORY_MORE_MAX: u64 = 128 << 20;
/// Connections of which the broker is left with half.
const HALVES: usize = 60;
/// How long halves may take to be found out, and sockets to be as many as before.
const SOCKETS_BACK_MAX: Duration = Duration::from_secs(60);
/// Clients come and go: so many more sockets than before are none too many.
const SOCKETS_SLACK: u64 = 16;
/// How long gossip may take to agree again.
const GOSSIP_MAX: Duration = Duration::from_secs(30);
/// How long anything by hand may take.
const HAND_MAX: Duration = Duration::from_secs(2);

impl Scene<'_> {
    /// What one broker, or everybody, hears of others comes through a narrow way.
    pub(super) fn narrow(&mut self) -> Result<Vec<usize>> {
        let count = self.cluster.len();
        let victims: Vec<usize> =
            if self.random.bool() { vec![self.any()] } else { (0..count).collect() };
        let before = self.memory()?;
        for victim in &victims {
            let network = self.cluster.network().context("a network")?;
            network.narrow(*victim, NARROW_BITS)?;
        }
        self.cluster.note(&format!("{victims:?} hear brokers with {NARROW_BITS} bits a second"));
        self.wait_ms(3_000, 12_000);
        for (node, (before, now)) in before.iter().zip(self.memory()?).enumerate() {
            ensure!(
                now <= before + MEMORY_MORE_MAX,
                "broker {node} uses {now} bytes while ways are narrow, {before} before"
            );
        }
        self.cluster.heal_network()?;
        Ok(victims)
    }

    fn memory(&self) -> Result<Vec<u64>> {
        self.usages(|usage| usage.resident_bytes)
    }

    fn usages(&self, of: impl Fn(&jocko_testkit::Usage) -> u64) -> Result<Vec<u64>> {
        let usage = |node| {
            let process = self.cluster.process(node).context("a broker that does not run")?;
            Ok(of(&process.usage()?))
        };
        (0..self.cluster.len()).map(usage).collect()
    }

    /// Connections are torn down at one end, again and again.
    pub(super) fn reset(&mut self) -> Result<Vec<usize>> {
        let before = self.usages(|usage| usage.sockets)?;
        let percent = self.random.u8(1..10);
        self.cluster.network().context("a network")?.reset(percent)?;
        self.cluster.note(&format!("{percent} of 100 packets are answered by a reset"));
        self.wait_ms(1_000, 6_000);
        self.cluster.heal_network()?;
        self.wait_sockets(&before)?;
        Ok((0..self.cluster.len()).collect())
    }

    /// A broker is left with halves of connections to clients and peers, whatever those had said.
    pub(super) fn halve(&mut self) -> Result<Vec<usize>> {
        let victim = self.leader()?;
        let before = self.usages(|usage| usage.sockets)?;
        let mut others = Vec::new();
        for number in 0..HALVES {
            let address = match number % 4 {
                3 => self.cluster.cluster_address(victim),
                _ => self.cluster.address(victim),
            };
            let Ok(mut stream) = connect(&address) else { continue };
            // Nothing at all, a part of a frame, or a whole one and no more.
            let said: &[u8] = match number % 3 {
                0 => &[],
                1 => &[0, 0, 1],
                _ => &jocko_testkit::api_versions_request(),
            };
            if stream.write_all(said).is_ok() {
                others.push(stream);
            }
        }
        self.cluster.network().context("a network")?.swallow_clients(victim)?;
        self.cluster.note(&format!("clients are gone from {victim} without a word"));
        for stream in others {
            // What says so to the other end is swallowed, and said once only.
            let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        }
        self.wait_ms(500, 4_000);
        self.cluster.heal_network()?;
        self.wait_sockets(&before)?;
        Ok(vec![victim])
    }

    /// Waits until nobody holds many more sockets than before.
    fn wait_sockets(&mut self, before: &[u64]) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.cluster.check_running()?;
            let now = self.usages(|usage| usage.sockets)?;
            if now.iter().zip(before).all(|(now, before)| *now <= before + SOCKETS_SLACK) {
                let took = begun.elapsed().as_millis();
                self.cluster.note(&format!("as many sockets as before after {took} ms"));
                return Ok(());
            }
            if begun.elapsed() > SOCKETS_BACK_MAX {
                bail!("brokers hold {now:?} sockets, {before:?} before");
            }
            pause(Duration::from_millis(200));
        }
    }

    /// Two of five, or so, and the others do not reach each other: at all, or only by gossip, which
    /// must move nobody. Afterwards all see all again.
    pub(super) fn split(&mut self, only_gossip: bool) -> Result<Vec<usize>> {
        let mut all: Vec<usize> = (0..self.cluster.len()).collect();
        self.random.shuffle(&mut all);
        let (few, many) = all.split_at(all.len() / 2);
        let voters = self.voters()?;
        for one in few {
            for other in many {
                self.cluster.cut_between(*one, *other, only_gossip)?;
            }
        }
        let what = if only_gossip { "gossip" } else { "everything" };
        self.cluster.note(&format!("cut {what} between {few:?} and {many:?}"));
        self.wait_ms(2_000, 15_000);
        self.cluster.heal_network()?;
        let begun = Instant::now();
        while !(0..self.cluster.len()).all(|node| sees_all(self.cluster, node).unwrap_or(false)) {
            self.cluster.check_running()?;
            ensure!(
                begun.elapsed() < GOSSIP_MAX,
                "not everybody sees everybody {GOSSIP_MAX:?} after"
            );
            pause(Duration::from_millis(50));
        }
        let took = begun.elapsed().as_millis();
        self.cluster.note(&format!("everybody sees everybody after {took} ms"));
        let now = self.voters()?;
        ensure!(now == voters, "{now:?} vote after a split, {voters:?} did before");
        Ok(if only_gossip { Vec::new() } else { few.to_vec() })
    }

    fn voters(&self) -> Result<BTreeSet<i32>> {
        seen::settled(|| {
            let quorum = seen::rover(self.cluster)?.with(async |client| client.quorum().await)?;
            let voters = quorum.context("no quorum")?.voters;
            Ok(voters.into_iter().map(|voter| voter.id).collect())
        })
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let address: SocketAddr = address.parse()?;
    Ok(TcpStream::connect_timeout(&address, HAND_MAX)?)
}

/// Whether a broker sees all others, by its page of members.
fn sees_all(cluster: &Cluster, node: usize) -> Result<bool> {
    let address = cluster.process(node).context("it does not run")?.http_address();
    let mut stream = TcpStream::connect_timeout(&address, HAND_MAX)?;
    stream.set_read_timeout(Some(HAND_MAX))?;
    write!(stream, "GET /cluster/members HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    let members: serde_json::Value = serde_json::from_str(body)?;
    let members = members.as_array().context("a list of members")?;
    let live = members.iter().filter(|member| member["state"] == "live").count();
    Ok(live == cluster.len() && members.len() == live)
}
