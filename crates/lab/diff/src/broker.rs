//! A broker that is asked, and what must be known of it to compare its answers with another's.

use crate::connection::{Connection, Received};
use anyhow::{Context, Result, bail};
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
}

impl Broker {
    /// Asks the broker at `address` who it is. It must be the only one of its cluster.
    ///
    /// # Errors
    /// When nobody answers, or not as a lone broker.
    pub fn meet(name: &'static str, address: &str) -> Result<Self> {
        let address = address
            .to_socket_addrs()
            .with_context(|| format!("{address} is no HOST:PORT"))?
            .next()
            .with_context(|| format!("{address} has no address"))?;
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
        let response = MetadataResponse::decode(&mut body, METADATA_VERSION)?;
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
        })
    }
}
