//! What befalls the ways between brokers, and to clients.

use super::{Fault, Scene};
use crate::seen;
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

    /// The in-sync set of a partition is about to change, smaller or larger again, when its leader
    /// or the controller dies; sometimes the leader did not reach the controller, so that what it
    /// proposed, or the answer, is lost (R8).
    pub(super) fn change_and_kill(&mut self) -> Result<Vec<usize>> {
        let leader = self.leader()?;
        let count = self.cluster.len();
        let follower = (leader + self.random.usize(1..count)) % count;
        let controller =
            seen::settled(|| seen::controller(self.cluster)?.context("nobody leads the quorum"))?;
        self.cluster.note(&format!(
            "{follower} does not reach {leader}, which leads; {controller} controls"
        ));
        self.cluster.network().context("a network")?.cut(leader, follower)?;
        let grows = self.random.bool();
        if grows {
            // Out of the set, and on its way back into it.
            self.wait_ms(2_500, 4_000);
            self.cluster.heal_network()?;
            self.wait_ms(0, 400);
        } else {
            self.wait_ms(1_800, 2_800);
        }
        if controller != leader && self.random.bool() {
            let (from, to) =
                if self.random.bool() { (leader, controller) } else { (controller, leader) };
            self.cluster.note(&format!("{to} does not hear {from}"));
            self.cluster.network().context("a network")?.cut_one_way(from, to)?;
            self.wait_ms(0, 700);
        }
        let victim = if self.random.bool() { leader } else { controller };
        self.cluster.kill(victim)?;
        self.wait_ms(0, 1_500);
        self.cluster.heal_network()?;
        self.wait_ms(0, 1_500);
        self.cluster.start(victim)?;
        Ok((0..count).collect())
    }
}
