//! What gossip tells: members come, change and go. Nothing it says is trusted to be well formed
//! or little.

use super::{Gossip, GuardedTransport, Name};
use crate::member::EventKind;
use crate::roster::Roster;
use crate::seeds::wall_clock;
use crate::tags;
use jocko_types::Uuid;
use serf::delegate::{CompositeDelegate, MergeDelegate};
use serf::event::{Event, EventSubscriber, MemberEventType};
use serf::types::Member as SerfMember;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Members that are let in, dead ones included. A cluster has far fewer brokers; whoever knows the
/// secret and makes up more gets no further.
pub(super) const MEMBERS_MAX: usize = 512;

type Subscriber =
    EventSubscriber<GuardedTransport, CompositeDelegate<Name, SocketAddr, Doorkeeper>>;

/// Decides who is let into the list of members at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doorkeeper {
    known: Arc<Mutex<BTreeSet<Uuid>>>,
}

/// A member that is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the name {0} is no directory id")]
    Name(Name),
    #[error("there are {MEMBERS_MAX} members already")]
    Many,
}

impl Doorkeeper {
    fn admit(&self, members: &[SerfMember<Name, SocketAddr>]) -> Result<(), Refusal> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut strangers = 0;
        for member in members {
            let name = member.node().id();
            let node: Uuid = name.to_string().parse().map_err(|_| Refusal::Name(name.clone()))?;
            strangers += usize::from(!known.contains(&node));
        }
        // Those that are known come back even if the house is full.
        let is_full = strangers > 0 && known.len() + strangers > MEMBERS_MAX;
        if is_full { Err(Refusal::Many) } else { Ok(()) }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<Uuid>)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl MergeDelegate for Doorkeeper {
    type Error = Refusal;
    type Id = Name;
    type Address = SocketAddr;

    async fn notify_merge(
        &self,
        members: Arc<[SerfMember<Name, SocketAddr>]>,
    ) -> Result<(), Refusal> {
        self.admit(&members)
    }
}

/// The stream of events.
pub(super) struct Events {
    node: Uuid,
    subscriber: Subscriber,
    doorkeeper: Doorkeeper,
    roster: Arc<Roster>,
}

impl Events {
    pub(super) fn new(
        node: Uuid,
        subscriber: Subscriber,
        doorkeeper: Doorkeeper,
        roster: Arc<Roster>,
    ) -> Self {
        Self { node, subscriber, doorkeeper, roster }
    }

    /// Keeps the roster current until gossip ends.
    pub(super) async fn drain(&self) {
        while let Ok(event) = self.subscriber.recv().await {
            let Event::Member(event) = event else { continue };
            for member in event.members() {
                self.handle(event.ty(), member);
            }
        }
    }

    fn handle(&self, kind: MemberEventType, member: &SerfMember<Name, SocketAddr>) {
        let Ok(node) = member.node().id().to_string().parse::<Uuid>() else { return };
        if node == self.node {
            return;
        }
        let at = wall_clock();
        match kind {
            MemberEventType::Join | MemberEventType::Update => {
                self.doorkeeper.change(|known| {
                    known.insert(node);
                });
                let said = member.tags().iter().map(|(key, value)| (key.as_str(), value.as_str()));
                match tags::decode(node, said) {
                    Ok(member) => self.roster.heard(at, member),
                    Err(why) => {
                        let address = member.node().address().to_string();
                        if self.roster.ignored(at, node, address.clone(), why) {
                            tracing::warn!(%node, address, why, "a broker is passed over");
                        }
                    }
                }
            }
            MemberEventType::Leave => self.roster.lost(at, node, EventKind::Left, ""),
            MemberEventType::Failed => {
                self.roster.lost(at, node, EventKind::Failed, "it does not answer");
            }
            MemberEventType::Reap => self.doorkeeper.change(|known| {
                known.remove(&node);
            }),
        }
    }
}

/// Members that are alive, by address.
pub(super) async fn alive(gossip: &Gossip) -> BTreeSet<SocketAddr> {
    use serf::types::MemberStatus;
    let members = gossip.members().await;
    let alive = members.iter().filter(|member| *member.status() == MemberStatus::Alive);
    alive.map(|member| *member.node().address()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serf::types::{MemberStatus, Node, Tags};

    fn member(name: &str) -> SerfMember<Name, SocketAddr> {
        let node =
            Node::new(Name::new(name).expect("short"), SocketAddr::from(([127, 0, 0, 1], 1)));
        SerfMember::new(node, Tags::new(), MemberStatus::Alive)
    }

    fn numbered(number: usize) -> (Uuid, SerfMember<Name, SocketAddr>) {
        let number = u128::try_from(number).expect("small");
        let node = Uuid::from_bytes((1_000 + number).to_be_bytes());
        (node, member(&node.to_string()))
    }

    #[test]
    fn the_house_gets_full_and_those_who_live_in_it_still_come_home() {
        let doorkeeper = Doorkeeper::default();
        for number in 0..MEMBERS_MAX {
            let (node, member) = numbered(number);
            doorkeeper.admit(&[member]).expect("there is room");
            doorkeeper.change(|known| {
                known.insert(node);
            });
        }
        let (_, stranger) = numbered(MEMBERS_MAX);
        let full = doorkeeper.admit(&[numbered(0).1, stranger]).expect_err("full");
        assert!(matches!(full, Refusal::Many), "{full}");
        doorkeeper.admit(&[numbered(0).1, numbered(1).1]).expect("known");
        doorkeeper.change(|known| {
            known.remove(&numbered(0).0);
        });
        doorkeeper.admit(&[numbered(MEMBERS_MAX).1]).expect("there is room again");
        let all: Vec<_> = (1_000..1_600).map(|number| numbered(number).1).collect();
        assert!(Doorkeeper::default().admit(&all).is_err());
    }

    #[test]
    fn names_are_directory_ids() {
        let error = Doorkeeper::default().admit(&[member("not an id")]).expect_err("refused");
        assert_eq!(error.to_string(), "the name not an id is no directory id");
        assert!(Name::new("a name of 23 characters").is_err());
    }
}
