//! What befalls the ways between brokers, and to clients.

use super::{Fault, Scene};
use anyhow::{Context, Result, bail};

impl Scene<'_> {
    pub(super) fn cut(&mut self, fault: Fault) -> Result<Vec<usize>> {
        let count = self.cluster.len();
        let victim = match fault {
            Fault::IsolateLeader | Fault::FollowerCut | Fault::ClientCut => self.leader()?,
            _ => self.any(),
        };
        let other = (victim + self.random.usize(1..count)) % count;
        let outwards = self.random.bool();
        let percent = self.random.u8(5..30);
        let network = self.cluster.network().context("a network that can be cut")?;
        let words = match fault {
            Fault::Isolate | Fault::IsolateLeader => {
                network.isolate(victim)?;
                format!("cut {victim} off")
            }
            // It can speak and not hear, or hear and not speak.
            Fault::OneWay => {
                for peer in (0..count).filter(|peer| *peer != victim) {
                    let (from, to) = if outwards { (victim, peer) } else { (peer, victim) };
                    network.cut_one_way(from, to)?;
                }
                format!("{victim} {}", if outwards { "is not heard" } else { "hears nobody" })
            }
            // Two that a third still reaches; a follower that its leader does not reach.
            Fault::Bridge | Fault::FollowerCut => {
                network.cut(victim, other)?;
                format!("cut between {victim} and {other}")
            }
            Fault::ClientCut => {
                network.cut_clients(victim)?;
                format!("cut clients off {victim}")
            }
            Fault::Loss => {
                network.lose(percent)?;
                format!("{percent} of 100 packets are lost")
            }
            other => bail!("{} is no cut", other.name()),
        };
        self.cluster.note(&words);
        self.wait_ms(1_000, 12_000);
        self.cluster.heal_network()?;
        Ok(vec![victim])
    }
}
