//! The trait, and the values it speaks of.

use crate::tags::MemberTooLong;
use jocko_types::{BrokerId, Timestamp, Uuid};
use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

/// A broker, as it describes itself to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id of its data directory. A wiped disk is another member.
    pub node: Uuid,
    /// Its number, once a cluster has given it one.
    pub broker_id: Option<BrokerId>,
    /// Its cluster port, as `host:port`.
    pub cluster_address: String,
    /// Its Kafka port, as `host:port`.
    pub kafka_address: String,
    /// Where it stands.
    pub rack: Option<String>,
    /// The version of jocko it runs.
    pub release: String,
    /// The cluster it belongs to; `None` for a blank one.
    pub cluster_id: Option<Uuid>,
    /// With how many brokers it would found a cluster.
    pub expect: u32,
}

/// Other brokers, by their ids.
pub type Members = Arc<[Member]>;

/// A farewell under way: done when it is said, after a second at most.
pub type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Finds other brokers.
pub trait Discovery: Debug + Send + Sync {
    /// The brokers that are alive as far as is known, by their ids; this one is not among them.
    fn members(&self) -> Vec<Member> {
        self.changed().borrow().to_vec()
    }

    /// The same list, and whenever it changes.
    fn changed(&self) -> watch::Receiver<Members>;

    /// Tells the others about this broker: at once to whom is reached, later to whom is not yet.
    /// `me.node` is what it was at the start.
    ///
    /// # Errors
    /// The description does not fit into what is passed around; the old one stays.
    fn announce(&self, me: Member) -> Result<(), MemberTooLong>;

    /// Says farewell, so that the others need not find out. Nobody is found afterwards. It must be
    /// called within a tokio runtime, and ends within a second.
    fn leave(&self) -> Leaving;

    /// What happened lately, the oldest first.
    fn events(&self) -> Vec<Event>;

    /// Why nobody is found, as far as that is known; `None` once somebody is.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Where this broker itself is to be looked for by [`Discovery::seek`]; `None` where nobody
    /// can be told such an address.
    fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// Looks for brokers at these addresses, too, from now on; they take the place of those that
    /// were given before. Addresses are such as [`Discovery::address`] tells.
    fn seek(&self, addresses: Vec<SocketAddr>) {
        let _ = addresses;
    }
}

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It appeared.
    Joined,
    /// It describes itself differently.
    Updated,
    /// It said farewell.
    Left,
    /// It fell silent.
    Failed,
    /// It describes itself in a way that is not understood, and is passed over.
    Ignored,
}

impl EventKind {
    /// One word for people and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Updated => "updated",
            Self::Left => "left",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }
}

/// Something that happened, for `jocko cluster events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, by this broker's wall clock.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// To whom.
    pub node: Uuid,
    /// Its number, where it has one.
    pub broker_id: Option<BrokerId>,
    /// Where it is or was: its cluster port, or the address it was heard from if that is all.
    pub address: String,
    /// More, in words; may be empty.
    pub detail: String,
}
