//! The machine: what a node is bound to, and what it does about what it sees and hears.

use crate::message::{Envelope, Message, Refusal, Standing};
use crate::proposal::{Bound, MEMBERS_MAX, Proposal, Seat};
use jocko_types::{Now, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a proposer waits for answers before it asks again.
const RESEND: Duration = Duration::from_millis(500);
/// How long a proposer waits for the next pledge before it abandons its proposal and looks around
/// anew: a member may be gone, and another one there.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a proposer that was refused lets others go first.
const BACKOFF: Duration = Duration::from_secs(1);
/// How often a pledged node asks its proposer what became of the proposal.
const ASK: Duration = Duration::from_secs(1);

/// What a node is from its start on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This node, with the address its peers reach.
    pub me: Seat,
    /// How many blank nodes found a cluster together; `None`: this one only joins what is there.
    pub expect: Option<u32>,
}

/// Another node, as discovery shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The node and its address.
    pub seat: Seat,
    /// How many it expects; 0 if it only joins.
    pub expect: u32,
    /// Its cluster; `None` if it is blank.
    pub cluster: Option<Uuid>,
}

/// Ids that nobody has; used or not in each step.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// For a proposal.
    pub proposal: Uuid,
    /// For the cluster that may come of it.
    pub cluster: Uuid,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// All that discovery shows, this node left out; it replaces what was seen before.
    Seen(Vec<Sighting>),
    /// A message came.
    Received(Envelope),
    /// A deadline has passed.
    Tick,
}

/// What to do about it, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Output {
    /// To be durable before anything in `then` is done.
    pub store_first: Option<Bound>,
    /// To be done after that.
    pub then: Then,
}

/// What may be done once the record is durable.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Then {
    /// Messages. They need not arrive.
    pub send: Vec<Sending>,
    /// What this node is settled to do; named once, and again after each start.
    pub action: Option<Action>,
}

/// A message and the address to send it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// `host:port`.
    pub address: String,
    /// The message.
    pub envelope: Envelope,
}

/// How the forming ended for this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Found the cluster: initialise Raft with the voters of this proposal, unless that is done.
    Found(Proposal),
    /// Ask members of this cluster to be let in, unless that is done.
    Join {
        /// The cluster.
        cluster: Uuid,
    },
}

/// A node on its way into a cluster.
#[derive(Debug)]
pub struct Forming {
    pub(crate) settings: Settings,
    pub(crate) bound: Bound,
    pub(crate) seen: BTreeMap<Uuid, Sighting>,
    /// Of the own proposal: who has pledged.
    pub(crate) pledged: BTreeSet<Uuid>,
    /// Who refused the own proposal, or the one before it, and why.
    pub(crate) refused: BTreeMap<Uuid, Refusal>,
    /// When the proposer of a foreign proposal was last heard of.
    pub(crate) heard_at: Now,
    /// When to send proposals or questions again.
    again_at: Now,
    /// When the own proposal is abandoned if nobody pledges until then.
    patience_until: Now,
    /// Not before then does this node propose.
    propose_from: Now,
    #[cfg(test)]
    pub(crate) planted: Planted,
}

/// Mistakes that tests put in, to see them caught.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Planted {
    pub(crate) pledge_twice: bool,
    pub(crate) found_early: bool,
}

impl Forming {
    /// A node whose disk says `bound`, and what it does first.
    pub fn start(settings: Settings, bound: Bound, now: Now) -> (Self, Output) {
        let machine = Self {
            settings,
            bound,
            seen: BTreeMap::new(),
            pledged: BTreeSet::new(),
            refused: BTreeMap::new(),
            heard_at: now,
            again_at: now,
            patience_until: now.plus(PATIENCE),
            propose_from: now,
            #[cfg(test)]
            planted: Planted::default(),
        };
        let mut output = Output::default();
        output.then.action = machine.action();
        (machine, output)
    }

    /// Takes in what happened and says what follows. Total: there is no input it can fail on.
    pub fn step(&mut self, now: Now, fresh: Fresh, input: Input) -> Output {
        let before = self.bound.clone();
        let mut output = Output::default();
        match input {
            Input::Seen(seen) => {
                let me = self.settings.me.node;
                let others = seen.into_iter().filter(|sighting| sighting.seat.node != me);
                self.seen = others.map(|sighting| (sighting.seat.node, sighting)).collect();
            }
            Input::Received(envelope) => self.receive(now, envelope, &mut output.then.send),
            Input::Tick => {}
        }
        self.advance(now, fresh, &mut output.then.send);
        if self.bound != before {
            output.store_first = Some(self.bound.clone());
            if matches!(self.bound, Bound::Settled { .. }) {
                output.then.action = self.action();
            }
        }
        output
    }

    /// When [`Input::Tick`] is due, if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        match &self.bound {
            Bound::Settled { .. } => None,
            Bound::Pledged(proposal) if self.is_mine(proposal) => {
                Some(self.again_at.min(self.patience_until))
            }
            Bound::Pledged(_) => Some(self.again_at),
            Bound::Free => self.candidates().map(|_| self.propose_from),
        }
    }

    /// What this node is bound to.
    #[must_use]
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    fn action(&self) -> Option<Action> {
        match &self.bound {
            Bound::Free | Bound::Pledged(_) => None,
            Bound::Settled { proposal: Some(proposal), .. } if self.is_mine(proposal) => {
                Some(Action::Found(proposal.clone()))
            }
            Bound::Settled { cluster, .. } => Some(Action::Join { cluster: *cluster }),
        }
    }

    pub(crate) fn is_mine(&self, proposal: &Proposal) -> bool {
        proposal.proposer == self.settings.me.node
    }

    /// The clusters that members of are seen.
    pub(crate) fn clusters(&self) -> BTreeSet<Uuid> {
        self.seen.values().filter_map(|sighting| sighting.cluster).collect()
    }

    // ---- What time and the view bring ----

    fn advance(&mut self, now: Now, fresh: Fresh, send: &mut Vec<Sending>) {
        match self.bound.clone() {
            Bound::Settled { .. } => {}
            Bound::Pledged(proposal) if self.is_mine(&proposal) => {
                self.advance_own(now, &proposal, send);
            }
            Bound::Pledged(proposal) => self.advance_pledged(now, &proposal, send),
            Bound::Free => {}
        }
        if self.bound == Bound::Free {
            self.advance_free(now, fresh, send);
        }
    }

    fn advance_own(&mut self, now: Now, proposal: &Proposal, send: &mut Vec<Sending>) {
        let has_pledged =
            |seat: &Seat| seat.node == self.settings.me.node || self.pledged.contains(&seat.node);
        let missing: Vec<Seat> =
            proposal.members.iter().filter(|seat| !has_pledged(seat)).cloned().collect();
        if !self.clusters().is_empty() {
            // There is a cluster already: one is enough.
            self.abandon(now, proposal, send);
        } else if missing.is_empty() || self.founds_early() {
            self.settle(proposal.cluster, Some(proposal.clone()));
            let standing = Standing::Initialised;
            self.tell_members(
                proposal,
                &Message::Standing { proposal: proposal.id, standing },
                send,
            );
        } else if now >= self.patience_until {
            self.abandon(now, proposal, send);
        } else if now >= self.again_at {
            self.again_at = now.plus(RESEND);
            for seat in missing {
                send.push(self.to(&seat, Message::Propose(proposal.clone())));
            }
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests plant a mistake here")]
    fn founds_early(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn founds_early(&self) -> bool {
        self.planted.found_early && !self.pledged.is_empty()
    }

    fn advance_pledged(&mut self, now: Now, proposal: &Proposal, send: &mut Vec<Sending>) {
        if self.clusters().contains(&proposal.cluster) {
            // Nobody but the founder knew this id: it stands.
            self.settle(proposal.cluster, Some(proposal.clone()));
        } else if now >= self.again_at {
            self.ask(now, proposal, send);
        }
    }

    fn advance_free(&mut self, now: Now, fresh: Fresh, send: &mut Vec<Sending>) {
        let clusters = self.clusters();
        match (clusters.len(), clusters.first()) {
            (1, Some(cluster)) => self.settle(*cluster, None),
            (0, _) if now >= self.propose_from => {
                if let Some(members) = self.candidates() {
                    self.propose(now, fresh, members, send);
                }
            }
            _ => {}
        }
    }

    /// Who would found a cluster with this node, if it is this node's turn to propose one: enough
    /// blank nodes are there that expect as many, and none of them is lower.
    fn candidates(&self) -> Option<Vec<Seat>> {
        let expect = self.settings.expect?;
        let count =
            usize::try_from(expect).ok().filter(|count| (1..=MEMBERS_MAX).contains(count))?;
        if !self.clusters().is_empty() {
            return None;
        }
        let mut seats: Vec<Seat> = self
            .seen
            .values()
            .filter(|sighting| sighting.cluster.is_none() && sighting.expect == expect)
            .map(|sighting| sighting.seat.clone())
            .collect();
        let me = &self.settings.me;
        if seats.len().saturating_add(1) < count || seats.iter().any(|seat| seat.node < me.node) {
            return None;
        }
        // Whoever said that it is pledged elsewhere is asked only where nobody else is left.
        let is_bound =
            |seat: &Seat| matches!(self.refused.get(&seat.node), Some(Refusal::Bound { .. }));
        seats.sort_by_key(|seat| (is_bound(seat), seat.node));
        seats.truncate(count.saturating_sub(1));
        seats.push(me.clone());
        seats.sort();
        Some(seats)
    }

    fn propose(&mut self, now: Now, fresh: Fresh, members: Vec<Seat>, send: &mut Vec<Sending>) {
        let proposer = self.settings.me.node;
        let proposal = Proposal { id: fresh.proposal, cluster: fresh.cluster, proposer, members };
        self.pledged.clear();
        self.refused.clear();
        self.again_at = now;
        self.patience_until = now.plus(PATIENCE);
        self.bound = Bound::Pledged(proposal.clone());
        // It may be that nobody else is needed.
        self.advance_own(now, &proposal, send);
    }

    fn settle(&mut self, cluster: Uuid, proposal: Option<Proposal>) {
        self.bound = Bound::Settled { cluster, proposal };
    }

    /// Ends the own proposal for ever: once the disk does not hold it as proposed any more, it
    /// cannot be founded. Others get their turn.
    fn abandon(&mut self, now: Now, proposal: &Proposal, send: &mut Vec<Sending>) {
        self.bound = Bound::Free;
        self.propose_from = now.plus(BACKOFF);
        let standing = Standing::Abandoned;
        self.tell_members(proposal, &Message::Standing { proposal: proposal.id, standing }, send);
    }

    // ---- What others say ----

    fn receive(&mut self, now: Now, envelope: Envelope, send: &mut Vec<Sending>) {
        let Envelope { from, to, message } = envelope;
        if to != self.settings.me.node || from.node == to {
            return;
        }
        match message {
            Message::Propose(proposal) => self.hear_proposal(now, &from, proposal, send),
            Message::Pledged { proposal } => self.hear_pledge(now, &from, proposal, send),
            Message::Refused { proposal, why } => {
                self.hear_refusal(now, &from, proposal, why, send)
            }
            Message::GiveWay { proposal, to } => match self.own_pending(proposal) {
                Some(own) if to < self.settings.me.node && own.has(from.node) => {
                    self.abandon(now, &own, send);
                }
                _ => send.push(self.tell_standing(&from, proposal)),
            },
            Message::Ask { proposal } => send.push(self.tell_standing(&from, proposal)),
            Message::Standing { proposal, standing } => {
                self.hear_standing(now, &from, proposal, standing);
            }
        }
    }

    fn hear_proposal(&mut self, now: Now, from: &Seat, asked: Proposal, send: &mut Vec<Sending>) {
        if asked.proposer != from.node || !asked.is_sound() {
            return;
        }
        let proposal = asked.id;
        let answer = match self.consider(&asked) {
            Ok(()) => {
                if let Bound::Pledged(own) = self.bound.clone()
                    && self.is_mine(&own)
                {
                    self.abandon(now, &own, send);
                }
                if !matches!(&self.bound, Bound::Pledged(held) if held.id == asked.id) {
                    self.again_at = now.plus(ASK);
                    self.bound = Bound::Pledged(asked);
                }
                self.heard_at = now;
                Message::Pledged { proposal }
            }
            Err(why) => {
                if let Bound::Pledged(held) = self.bound.clone()
                    && !self.is_mine(&held)
                {
                    self.press(now, &held, asked.proposer, send);
                }
                Message::Refused { proposal, why }
            }
        };
        send.push(self.to(from, answer));
    }

    /// Whether this node may pledge itself to a proposal.
    fn consider(&self, asked: &Proposal) -> Result<(), Refusal> {
        let me = self.settings.me.node;
        let expect = self.settings.expect.unwrap_or(0);
        match &self.bound {
            Bound::Settled { cluster, .. } => return Err(Refusal::Settled { cluster: *cluster }),
            Bound::Pledged(held) if held.id == asked.id => return Ok(()),
            Bound::Pledged(held) if self.is_mine(held) => {
                // Its own proposal a node can take back, and does for a lower proposer.
                if asked.proposer > me {
                    return Err(Refusal::Bound { holder: me });
                }
            }
            Bound::Pledged(held) => {
                if !self.pledges_twice() {
                    return Err(Refusal::Bound { holder: held.proposer });
                }
            }
            Bound::Free => {}
        }
        if !asked.has(me) {
            return Err(Refusal::Stranger);
        }
        if usize::try_from(expect) != Ok(asked.members.len()) {
            return Err(Refusal::Expects(expect));
        }
        match self.clusters().first() {
            Some(cluster) => Err(Refusal::Settled { cluster: *cluster }),
            None => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests plant a mistake here")]
    fn pledges_twice(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn pledges_twice(&self) -> bool {
        self.planted.pledge_twice
    }

    /// Another proposer wants a pledge that is given: a higher one is asked to give way to a lower
    /// one, and any other what became of its proposal. An answer frees this node, or it does not.
    fn press(&mut self, now: Now, held: &Proposal, asking: Uuid, send: &mut Vec<Sending>) {
        if asking < held.proposer
            && let Some(proposer) = held.seat(held.proposer)
        {
            send.push(self.to(proposer, Message::GiveWay { proposal: held.id, to: asking }));
        } else {
            self.ask(now, held, send);
        }
    }

    fn ask(&mut self, now: Now, held: &Proposal, send: &mut Vec<Sending>) {
        self.again_at = now.plus(ASK);
        if let Some(proposer) = held.seat(held.proposer) {
            send.push(self.to(proposer, Message::Ask { proposal: held.id }));
        }
    }

    fn hear_pledge(&mut self, now: Now, from: &Seat, proposal: Uuid, send: &mut Vec<Sending>) {
        match self.own_pending(proposal) {
            Some(own) if own.has(from.node) => {
                if self.pledged.insert(from.node) {
                    self.patience_until = now.plus(PATIENCE);
                }
                self.refused.remove(&from.node);
            }
            _ => send.push(self.tell_standing(from, proposal)),
        }
    }

    fn hear_refusal(
        &mut self,
        now: Now,
        from: &Seat,
        proposal: Uuid,
        why: Refusal,
        send: &mut Vec<Sending>,
    ) {
        let Some(own) = self.own_pending(proposal).filter(|own| own.has(from.node)) else { return };
        self.refused.insert(from.node, why);
        let goes_on = match why {
            // Pledged to a higher one, which was asked to give way. To one of our own: that was
            // abandoned, and it is just being told.
            Refusal::Bound { holder } => holder >= self.settings.me.node,
            Refusal::Settled { .. } | Refusal::Expects(_) | Refusal::Stranger => false,
        };
        if !goes_on {
            self.abandon(now, &own, send);
        }
    }

    fn hear_standing(&mut self, now: Now, from: &Seat, proposal: Uuid, standing: Standing) {
        let Bound::Pledged(held) = self.bound.clone() else { return };
        if held.id != proposal || held.proposer != from.node || self.is_mine(&held) {
            return;
        }
        self.heard_at = now;
        match standing {
            Standing::Pending => {}
            Standing::Abandoned => self.bound = Bound::Free,
            Standing::Initialised => self.settle(held.cluster, Some(held)),
        }
    }

    /// The own proposal, if it is this one and may still be founded.
    fn own_pending(&self, id: Uuid) -> Option<Proposal> {
        match &self.bound {
            Bound::Pledged(own) if own.id == id && self.is_mine(own) => Some(own.clone()),
            Bound::Free | Bound::Pledged(_) | Bound::Settled { .. } => None,
        }
    }

    /// What became of a proposal of this node. One that its record does not hold, it has abandoned:
    /// it was held before anybody heard of it.
    fn tell_standing(&self, to: &Seat, proposal: Uuid) -> Sending {
        let standing = match &self.bound {
            Bound::Pledged(own) if own.id == proposal && self.is_mine(own) => Standing::Pending,
            Bound::Settled { proposal: Some(own), .. }
                if own.id == proposal && self.is_mine(own) =>
            {
                Standing::Initialised
            }
            Bound::Free | Bound::Pledged(_) | Bound::Settled { .. } => Standing::Abandoned,
        };
        self.to(to, Message::Standing { proposal, standing })
    }

    fn tell_members(&self, proposal: &Proposal, message: &Message, send: &mut Vec<Sending>) {
        for seat in proposal.members.iter().filter(|seat| seat.node != self.settings.me.node) {
            send.push(self.to(seat, message.clone()));
        }
    }

    /// A message to a node, at the address discovery shows now, if it does.
    fn to(&self, seat: &Seat, message: Message) -> Sending {
        let seen = self.seen.get(&seat.node).map(|sighting| &sighting.seat.address);
        let address = seen.unwrap_or(&seat.address).clone();
        let from = self.settings.me.clone();
        Sending { address, envelope: Envelope { from, to: seat.node, message } }
    }
}
