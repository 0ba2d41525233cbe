//! What a node waits for, in words for people: nobody should have to guess why no cluster stands.

use crate::machine::{Forming, Sighting};
use crate::message::Refusal;
use crate::proposal::{Bound, MEMBERS_MAX, Proposal};
use jocko_types::{Now, Uuid};
use std::time::Duration;

/// After so long without a word from a proposer, the cure is named.
const SILENCE: Duration = Duration::from_secs(10);

impl Forming {
    /// What this node waits for, as one sentence without a period.
    #[must_use]
    pub fn waiting(&self, now: Now) -> String {
        match &self.bound {
            Bound::Settled { cluster, .. } => format!("waiting to be let into cluster {cluster}"),
            Bound::Pledged(proposal) if self.is_mine(proposal) => {
                self.waiting_for_pledges(proposal)
            }
            Bound::Pledged(proposal) => self.waiting_for_proposer(now, proposal),
            Bound::Free => self.waiting_for_nodes(),
        }
    }

    fn waiting_for_nodes(&self) -> String {
        let clusters = self.clusters();
        if clusters.len() > 1 {
            let each: Vec<String> = clusters.iter().map(|id| self.members_of(*id)).collect();
            return format!(
                "members of {} clusters are seen ({}): let cluster.join name members of the one to \
                 join, and start this broker again",
                clusters.len(),
                each.join("; ")
            );
        }
        let Some(expect) = self.settings.expect else {
            let seen = self.seen_all();
            let is_blank = |it: &Sighting| it.cluster.is_none() && it.expect <= 1;
            if self.seen.is_empty() || !self.seen.values().all(is_blank) {
                return format!("waiting to reach a member of a cluster; seen: {seen}");
            }
            let count = self.seen.len().saturating_add(1);
            return format!(
                "waiting to reach a member of a cluster; seen: {seen}, and none of them is in one \
                 either: to form one together, start each with --expect {count}"
            );
        };
        let wanted = usize::try_from(expect).unwrap_or(usize::MAX);
        if wanted > MEMBERS_MAX {
            return format!(
                "cluster.expect is {expect}, and at most {MEMBERS_MAX} brokers can form a cluster \
                 together: let it be {MEMBERS_MAX} or less, the others join what they formed"
            );
        }
        let fitting: Vec<Uuid> = self
            .seen
            .values()
            .filter(|sighting| sighting.cluster.is_none() && sighting.expect == expect)
            .map(|sighting| sighting.seat.node)
            .collect();
        let here = fitting.len().saturating_add(1);
        let mut words = if here < wanted {
            let more = wanted.saturating_sub(here);
            format!("waiting for {more} more of {expect} brokers; seen: {}", self.names(&fitting))
        } else {
            match fitting.iter().min().filter(|lowest| **lowest < self.settings.me.node) {
                Some(lowest) => format!(
                    "waiting for {} to propose a cluster; seen: {}",
                    self.name(*lowest),
                    self.names(&fitting)
                ),
                None => format!("about to propose a cluster with {}", self.names(&fitting)),
            }
        };
        for sighting in self.seen.values() {
            if sighting.cluster.is_none() && sighting.expect != expect && sighting.expect > 1 {
                words.push_str(&format!(
                    "; {} expects {} brokers, not {expect}: cluster.expect must be the same on all",
                    sighting.seat.address, sighting.expect
                ));
            }
        }
        self.add_refusals(&mut words);
        words
    }

    fn waiting_for_pledges(&self, proposal: &Proposal) -> String {
        let me = self.settings.me.node;
        let others = || proposal.members.iter().map(|seat| seat.node).filter(|node| *node != me);
        let asked: Vec<Uuid> = others().collect();
        let missing: Vec<Uuid> = others().filter(|node| !self.pledged.contains(node)).collect();
        let mut words = format!(
            "waiting for {} of {} brokers to agree to form a cluster; asked: {}; no answer yet: {}",
            missing.len(),
            proposal.members.len(),
            self.names_in(proposal, &asked),
            self.names_in(proposal, &missing)
        );
        self.add_refusals(&mut words);
        words
    }

    fn waiting_for_proposer(&self, now: Now, proposal: &Proposal) -> String {
        let proposer = self.names_in(proposal, &[proposal.proposer]);
        let mut words = format!("waiting for {proposer} to form the cluster this broker agreed to");
        let silence = now.since(self.heard_at);
        if silence >= SILENCE {
            words.push_str(&format!(
                "; it has not answered for {} s. If it never comes back, stop this broker, remove \
                 its data directory (there is nothing in it yet) and start it again",
                silence.as_secs()
            ));
        }
        words
    }

    fn add_refusals(&self, words: &mut String) {
        for (node, why) in &self.refused {
            let name = self.name(*node);
            let why = match why {
                Refusal::Bound { holder } => {
                    format!("{name} has agreed to what {} proposes", self.name(*holder))
                }
                Refusal::Settled { cluster } => format!("{name} knows of cluster {cluster}"),
                Refusal::Expects(0) => format!("{name} joins a cluster only"),
                Refusal::Expects(count) => format!("{name} expects {count} brokers"),
                Refusal::Stranger => format!("{name} was not meant"),
            };
            words.push_str("; ");
            words.push_str(&why);
        }
    }

    fn members_of(&self, cluster: Uuid) -> String {
        let is_in = |node: &Uuid| self.seen.get(node).is_some_and(|it| it.cluster == Some(cluster));
        let members: Vec<Uuid> = self.seen.keys().copied().filter(is_in).collect();
        format!("{cluster} of {}", self.names(&members))
    }

    fn seen_all(&self) -> String {
        self.names(&self.seen.keys().copied().collect::<Vec<_>>())
    }

    /// The address of a node, which people know; or its id.
    fn name(&self, node: Uuid) -> String {
        if node == self.settings.me.node {
            return "this broker".to_owned();
        }
        let seen = self.seen.get(&node).map(|sighting| sighting.seat.address.clone());
        seen.unwrap_or_else(|| node.to_string())
    }

    fn names(&self, nodes: &[Uuid]) -> String {
        listed(nodes.iter().map(|node| self.name(*node)).collect())
    }

    fn names_in(&self, proposal: &Proposal, nodes: &[Uuid]) -> String {
        let address = |node: &Uuid| proposal.seat(*node).map(|seat| seat.address.clone());
        listed(nodes.iter().map(|node| address(node).unwrap_or_else(|| node.to_string())).collect())
    }
}

fn listed(names: Vec<String>) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}
