//! Gossip: Serf (SWIM with Lifeguard) over UDP and TCP, encrypted with a key from the secret.
//!
//! A broker that joins nobody costs nothing: it holds its ports and *sleeps* until the first
//! connection, and only then starts to gossip; whoever called tries again a moment later. Otherwise
//! it asks the addresses it is to join for ever ([`join`]), so that the order in which brokers
//! start does not matter and a split network grows together again.
//!
//! The library's types end here.

mod join;
mod place;
mod strangers;
mod stream;
mod transport;
mod watch_events;

use crate::key::gossip_key;
use crate::member::{Discovery, Event, Leaving, Member, Members};
use crate::roster::Roster;
use crate::tags::{self, MemberTooLong};
use jocko_config::{HostPort, Secret, Settings};
use jocko_types::Uuid;
use serf::delegate::CompositeDelegate;
use serf::event::EventProducer;
use serf::net::NetTransportOptions;
use serf::types::{NodeId, SecretKey, Tags};
use serf::{MemberlistOptions, Options, Serf};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use transport::GuardedTransport;
use watch_events::Doorkeeper;

/// A member's name: its directory id, which has 22 characters.
type Name = NodeId<22>;
type Gossip = Serf<GuardedTransport, CompositeDelegate<Name, SocketAddr, Doorkeeper>>;

/// How long a farewell may take.
const FAREWELL_MAX: Duration = Duration::from_millis(900);

/// Packets that wait to be read, of 64 KiB at most.
const PACKETS_MAX: usize = 64;

/// What gossip needs to know.
#[derive(Debug, Clone)]
pub struct GossipSettings {
    /// Where to listen, over UDP and TCP. An empty host is every interface, port 0 a free one.
    pub listen: HostPort,
    /// The host that others are told; `None` for the one on the way to them.
    pub advertise: Option<String>,
    /// Whom to join; a name is asked at all its addresses.
    pub join: Vec<HostPort>,
    /// What the brokers of the cluster share. Without one they must meet on loopback.
    pub secret: Option<Secret>,
    /// A second secret that is accepted and not used to speak.
    pub secret_accepted: Option<Secret>,
}

impl GossipSettings {
    /// What the settings of a broker say; `None` if there is to be no gossip.
    #[must_use]
    pub fn of(settings: &Settings) -> Option<Self> {
        use jocko_config::Advertise;
        Some(Self {
            listen: settings.gossip_address()?,
            advertise: match &settings.listen.advertise {
                Advertise::Auto => None,
                Advertise::Host(host) => Some(host.clone()),
                Advertise::HostPort(address) => Some(address.host.clone()),
            },
            join: settings.join_addresses(),
            secret: settings.cluster.secret.given().cloned(),
            secret_accepted: settings.cluster.secret_accepted.given().cloned(),
        })
    }
}

/// Gossip cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on, over UDP or TCP.
    #[error("cannot listen for gossip on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A host of the settings has no address.
    #[error("cannot find the address of {host}: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// What this broker tells about itself is too long.
    #[error(transparent)]
    TooLong(#[from] MemberTooLong),
    /// The library refuses, in its words.
    #[error("gossip cannot start: {0}")]
    Refused(String),
}

/// Discovery by gossip.
#[derive(Debug)]
pub struct SerfDiscovery {
    roster: Arc<Roster>,
    address: SocketAddr,
    me: watch::Sender<Member>,
    sought: watch::Sender<Vec<SocketAddr>>,
    /// Closed when this is dropped; carries the wish to be told when the farewell is said.
    orders: mpsc::Sender<oneshot::Sender<()>>,
}

impl SerfDiscovery {
    /// Listens, and begins to look for others. It must be called within a tokio runtime with
    /// time and IO.
    ///
    /// # Errors
    /// The ports are taken, a host of the settings has no address, or `me` is too long.
    pub async fn start(settings: GossipSettings, me: Member) -> Result<Self, StartError> {
        Self::start_at(settings, me, Pace::USUAL).await
    }

    async fn start_at(
        settings: GossipSettings,
        me: Member,
        pace: Pace,
    ) -> Result<Self, StartError> {
        tags::encode(&me)?;
        let advertise = settings.advertise.as_deref();
        let (bind, host) = place::find(&settings.listen, advertise, &settings.join).await?;
        let listen = |source| StartError::Listen { address: bind, source };
        let (socket, listener, bound) = place::take(bind).map_err(listen)?;
        let address = SocketAddr::new(host, bound.port());
        let roster = Arc::new(Roster::new());
        let (me, told) = watch::channel(me);
        let (sought, seek) = watch::channel(Vec::new());
        let (orders, ordered) = mpsc::channel(4);
        let place = Place { bind: bound, told: address };
        let list = Arc::clone(&roster);
        let life = Life { settings, pace, place, me: told, sought: seek, roster: list, ordered };
        if life.settings.join.is_empty() {
            listener.set_nonblocking(true).map_err(listen)?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(listen)?;
            tokio::spawn(life.sleep(socket, listener));
        } else {
            drop((socket, listener));
            let gossip = life.begin().await?;
            tokio::spawn(life.run(gossip));
        }
        Ok(Self { roster, address, me, sought, orders })
    }
}

impl Discovery for SerfDiscovery {
    fn changed(&self) -> watch::Receiver<Members> {
        self.roster.changed()
    }

    fn announce(&self, me: Member) -> Result<(), MemberTooLong> {
        tags::encode(&me)?;
        self.me.send_if_modified(|told| {
            let me = Member { node: told.node, ..me };
            let is_news = *told != me;
            *told = me;
            is_news
        });
        Ok(())
    }

    fn leave(&self) -> Leaving {
        let orders = self.orders.clone();
        Box::pin(async move {
            let (done, said) = oneshot::channel();
            if orders.send(done).await.is_ok() {
                // An error means it is over already.
                let _ = said.await;
            }
        })
    }

    fn events(&self) -> Vec<Event> {
        self.roster.events()
    }

    fn trouble(&self) -> Option<String> {
        self.roster.trouble()
    }

    /// The address that others are told.
    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    fn seek(&self, addresses: Vec<SocketAddr>) {
        self.sought.send_if_modified(|sought| {
            let is_news = *sought != addresses;
            *sought = addresses;
            is_news
        });
    }
}

/// The address that is bound, and the one that is told.
#[derive(Debug, Clone, Copy)]
struct Place {
    bind: SocketAddr,
    told: SocketAddr,
}

/// The life of gossip, from the first packet to the farewell.
struct Life {
    settings: GossipSettings,
    pace: Pace,
    place: Place,
    me: watch::Receiver<Member>,
    /// Where brokers may be beside the addresses of the settings.
    sought: watch::Receiver<Vec<SocketAddr>>,
    roster: Arc<Roster>,
    ordered: mpsc::Receiver<oneshot::Sender<()>>,
}

/// Gossip that runs, and what comes from it.
struct Running {
    gossip: Gossip,
    events: watch_events::Events,
}

impl Life {
    /// Holds the ports until somebody calls, or is looked for.
    async fn sleep(mut self, socket: std::net::UdpSocket, listener: tokio::net::TcpListener) {
        let mut sought = self.sought.clone();
        tokio::select! {
            _ = listener.accept() => {}
            Ok(_) = sought.wait_for(|sought| !sought.is_empty()) => {}
            order = self.ordered.recv() => {
                if let Some(done) = order {
                    let _ = done.send(());
                }
                return;
            }
        }
        drop((socket, listener));
        match self.begin().await {
            Ok(gossip) => self.run(gossip).await,
            Err(error) => tracing::warn!(%error, "no other broker can find this one"),
        }
    }

    /// Starts to gossip on the ports that were just given up.
    async fn begin(&self) -> Result<Running, StartError> {
        const TRIES: usize = 20;
        let mut tries = 0;
        loop {
            match self.try_to_begin().await {
                Ok(running) => return Ok(running),
                // Somebody has the port for a moment, as a connection of an earlier life may.
                Err(_) if tries < TRIES && place::take(self.place.bind).is_err() => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_to_begin(&self) -> Result<Running, StartError> {
        let me = self.me.borrow().clone();
        let name = name_of(me.node)?;
        let options =
            serf_options(&self.settings, self.pace).with_tags(tags::encode(&me)?.into_iter());
        let strangers = Arc::new(strangers::Strangers::new(&self.settings));
        let mut transport = NetTransportOptions::with_stream_layer_options(name, strangers)
            .with_advertise_address(self.place.told)
            .with_max_packet_size(1_400)
            .with_packet_buffer_size(PACKETS_MAX)
            .with_recv_buffer_size(256 << 10);
        transport.add_bind_address(self.place.bind);
        let doorkeeper = Doorkeeper::default();
        let delegate = CompositeDelegate::new().with_merge_delegate(doorkeeper.clone());
        let (producer, subscriber) = EventProducer::bounded(64);
        let started =
            Serf::with_event_producer_and_delegate(transport, options, producer, delegate).await;
        let gossip = started.map_err(|error| StartError::Refused(error.to_string()))?;
        let roster = Arc::clone(&self.roster);
        Ok(Running {
            gossip,
            events: watch_events::Events::new(me.node, subscriber, doorkeeper, roster),
        })
    }

    /// Gossips until the farewell, or until nobody is interested any more.
    async fn run(mut self, running: Running) {
        let Running { gossip, events } = running;
        let order = {
            let joining = join::Joining {
                gossip: &gossip,
                join: &self.settings.join,
                sought: self.sought.clone(),
                own: self.place,
                has_secret: self.settings.secret.is_some(),
                list: self.roster.changed(),
                roster: &self.roster,
            };
            let me = self.me.clone();
            tokio::select! {
                order = self.ordered.recv() => order,
                () = events.drain() => None,
                () = joining.run() => None,
                () = announce(&gossip, me) => None,
            }
        };
        if let Some(done) = order {
            // What the farewell stirs up must not stop it: events are drained meanwhile.
            tokio::select! {
                _ = timeout(FAREWELL_MAX, gossip.leave()) => {}
                () = events.drain() => {}
            }
            shut_down(&gossip).await;
            self.roster.forget_all();
            let _ = done.send(());
        } else {
            shut_down(&gossip).await;
            self.roster.forget_all();
        }
    }
}

async fn shut_down(gossip: &Gossip) {
    // Its tasks end by themselves soon after, should the wait be too long.
    let _ = timeout(Duration::from_millis(100), gossip.shutdown()).await;
}

/// Tells the others whatever this broker says about itself.
async fn announce(gossip: &Gossip, mut me: watch::Receiver<Member>) {
    // What was said before gossip began is in its options.
    while me.changed().await.is_ok() {
        let Ok(tags) = tags::encode(&me.borrow_and_update().clone()) else { continue };
        let tags: Tags = tags.into_iter().collect();
        if let Err(error) = gossip.set_tags(tags).await {
            // They stay set and go out with the next exchange.
            tracing::debug!(%error, "an announcement was not passed on at once");
        }
    }
    std::future::pending().await
}

fn name_of(node: Uuid) -> Result<Name, StartError> {
    Name::new(node.to_string()).map_err(|error| StartError::Refused(error.to_string()))
}

/// How often gossip does what it does at rest.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Between two looks whether a member is alive.
    probe: Duration,
    /// How long such a member may take to answer.
    answer: Duration,
    /// Between two rounds of news, if there are any.
    news: Duration,
    /// Between two exchanges of everything with somebody.
    exchange: Duration,
    /// Between two tries to reach a member that failed.
    reconnect: Duration,
}

impl Pace {
    /// docs/internals/discovery.md has the reasons.
    const USUAL: Self = Self {
        probe: Duration::from_secs(1),
        answer: Duration::from_millis(500),
        news: Duration::from_millis(250),
        exchange: Duration::from_secs(15),
        reconnect: Duration::from_secs(5),
    };

    #[cfg(test)]
    const QUICK: Self = Self {
        probe: Duration::from_millis(200),
        answer: Duration::from_millis(150),
        news: Duration::from_millis(20),
        exchange: Duration::from_secs(1),
        reconnect: Duration::from_millis(500),
    };
}

/// The pace of gossip, and its bounds.
fn serf_options(settings: &GossipSettings, pace: Pace) -> Options {
    let key = |secret: Option<&Secret>| SecretKey::Aes256(gossip_key(secret));
    let mut members = MemberlistOptions::lan()
        .with_timeout(Duration::from_secs(2))
        .with_probe_interval(pace.probe)
        .with_probe_timeout(pace.answer)
        .with_gossip_interval(pace.news)
        .with_push_pull_interval(pace.exchange)
        .with_dead_node_reclaim_time(Duration::from_secs(1))
        .with_handoff_queue_depth(256)
        .with_encryption_algo(stream::SEAL)
        .with_primary_key(key(settings.secret.as_ref()))
        .with_gossip_verify_incoming(true)
        .with_gossip_verify_outgoing(true);
    if let Some(accepted) = &settings.secret_accepted {
        members = members.with_secret_keys([key(Some(accepted))].into_iter().collect());
    }
    Options::new()
        .with_memberlist_options(members)
        .with_broadcast_timeout(Duration::from_millis(300))
        .with_leave_propagate_delay(Duration::from_millis(200))
        .with_reconnect_interval(pace.reconnect)
        .with_tombstone_timeout(Duration::from_secs(600))
        .with_max_queue_depth(1024)
        .with_event_buffer_size(16)
        .with_query_buffer_size(16)
        .with_disable_coordinates(true)
        // It would let a copied data directory vote a broker out.
        .with_enable_id_conflict_resolution(false)
}

#[cfg(test)]
mod tests;
