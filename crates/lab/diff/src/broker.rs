//! A broker that is asked, and what must be known of it to compare its answers with another's.

use crate::connection::{Connection, Received};
use anyhow::{Context, Result, bail, ensure};
use jocko_protocol::rpc::MetadataRequest;
use jocko_protocol::rpc::metadata_response::MetadataResponse;
use jocko_protocol::{Decode, Writer, frame};
use std::net::{SocketAddr, ToSocketAddrs};

/// The version of Metadata that names the cluster too.
const METADATA_VERSION: i16 = 12;

/// A running broker and its identity.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Whose answers these are, in reports.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its node id.
    pub id: i32,
    /// The host it advertises.
    pub host: String,
    /// The port it advertises.
    pub port: i32,
    /// The id of its cluster.
    pub cluster_id: String,
    /// All brokers of its cluster, itself among them, by number; empty where it is alone.
    pub members: Vec<Member>,
    /// The number of the one that was stopped before, if one was.
    pub away: Option<i32>,
}

/// One of several brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its node id.
    pub id: i32,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Broker {
    /// Asks the broker at `address` who it is. It must be the only one of its cluster.
    ///
    /// # Errors
    /// When nobody answers, or not as a lone broker.
    pub fn meet(name: &'static str, address: &str) -> Result<Self> {
        let address = resolved(address)?;
        let response = metadata(name, address)?;
        let [broker] = response.brokers.as_slice() else {
            bail!("{name} at {address} is one of {} brokers", response.brokers.len());
        };
        Ok(Self {
            name,
            address,
            id: broker.node_id,
            host: broker.host.clone(),
            port: broker.port,
            cluster_id: response.cluster_id.unwrap_or_default(),
            members: Vec::new(),
            away: None,
        })
    }

    /// Asks brokers of one cluster who they are: their numbers must be 1, 2, ... in the order of
    /// the addresses, and all but `away` must be there.
    ///
    /// # Errors
    /// When nobody answers, or others than these.
    pub fn meet_several(name: &'static str, addresses: &str, away: Option<i32>) -> Result<Self> {
        let addresses = addresses.split(',').map(resolved).collect::<Result<Vec<_>>>()?;
        let members: Vec<Member> =
            (1..).zip(addresses).map(|(id, address)| Member { id, address }).collect();
        let first = members.iter().find(|one| Some(one.id) != away).context("nobody is there")?;
        let response = metadata(name, first.address)?;
        let expected = members.len() - usize::from(away.is_some());
        ensure!(response.brokers.len() == expected, "{name} has {}", response.brokers.len());
        for broker in &response.brokers {
            let known = members.iter().find(|one| one.id == broker.node_id);
            let is_it = known.is_some_and(|one| i32::from(one.address.port()) == broker.port);
            ensure!(is_it, "{name}: broker {} is at port {}", broker.node_id, broker.port);
        }
        Ok(Self {
            name,
            address: first.address,
            id: first.id,
            host: first.address.ip().to_string(),
            port: first.address.port().into(),
            cluster_id: response.cluster_id.unwrap_or_default(),
            members: members.clone(),
            away,
        })
    }

    /// Whether there are no others.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.members.is_empty()
    }

    /// Where a broker of the cluster listens; its own address if there is no such broker.
    #[must_use]
    pub fn address_of(&self, id: i32) -> SocketAddr {
        let found = self.members.iter().find(|member| member.id == id);
        found.map_or(self.address, |member| member.address)
    }

    /// The numbers of the brokers that can be asked.
    #[must_use]
    pub fn present(&self) -> Vec<i32> {
        if self.is_alone() {
            return vec![self.id];
        }
        let ids = self.members.iter().map(|member| member.id);
        ids.filter(|id| Some(*id) != self.away).collect()
    }
}

fn resolved(address: &str) -> Result<SocketAddr> {
    address
        .to_socket_addrs()
        .with_context(|| format!("{address} is no HOST:PORT"))?
        .next()
        .with_context(|| format!("{address} has no address"))
}

fn metadata(name: &str, address: SocketAddr) -> Result<MetadataResponse> {
    let mut connection = Connection::open(address)?;
    let mut w = Writer::default();
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    frame::encode_request(1, Some("diff"), METADATA_VERSION, &request, &mut w)?;
    connection.send(w.bytes());
    let Received::Frame(bytes) = connection.receive() else {
        bail!("{name} at {address} does not answer Metadata");
    };
    let api = jocko_protocol::ApiKey::Metadata;
    let (_, mut body) = frame::parse_response(&bytes, api, METADATA_VERSION)?;
    Ok(MetadataResponse::decode(&mut body, METADATA_VERSION)?)
}
