//! A rough look at the speed of calls between brokers: two ends on loopback, a thread each.
//!
//! `cargo run --release -p jocko-net --example peers` prints round trips per second, one after
//! the other and many at a time, and bytes per second of large bodies, without and with a secret.
//! Not a benchmark: both ends share the machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jocko_net::peers::{
    Lane, PeerIdentity, PeerRefusal, PeerServer, PeerService, PeerSettings, Peers, Secret,
};
use jocko_net::ports::{NetRef, TcpNet};
use jocko_types::Uuid;

const ECHO: u16 = 1;
const SINK: u16 = 2;
const TIMEOUT: Duration = Duration::from_secs(10);
const RUN: Duration = Duration::from_secs(2);

struct Service;

impl PeerService for Service {
    fn call(
        &self,
        _from: &PeerIdentity,
        kind: u16,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, PeerRefusal>> {
        let answer = if kind == ECHO { vec![body] } else { vec![] };
        async { Ok(answer) }.boxed()
    }

    fn told(&self, _from: &PeerIdentity, _kind: u16, _body: Bytes) {}
}

fn settings(node: u8, secret: Option<&str>) -> PeerSettings {
    let identity = PeerIdentity { node: Uuid::from_bytes([node; 16]), cluster_id: None };
    PeerSettings { secret: secret.and_then(Secret::new), ..PeerSettings::new(identity) }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A server on a thread of its own, for as long as the process lives; its address.
fn serve(net: &NetRef, secret: Option<&'static str>) -> String {
    let (sender, address) = std::sync::mpsc::channel();
    let net = Arc::clone(net);
    std::thread::spawn(move || {
        runtime().expect("a runtime starts").block_on(async {
            let address = ([127, 0, 0, 1], 0).into();
            let service = Arc::new(Service);
            let server = PeerServer::start(&net, address, settings(1, secret), service);
            let server = server.expect("loopback has free ports");
            sender.send(server.address().to_string()).expect("the main thread waits");
            std::future::pending::<()>().await;
        });
    });
    address.recv().expect("the server starts")
}

/// Keeps so many calls under way for a while; how many were answered in a second.
async fn rate(peers: &Peers, address: &str, kind: u16, body: &Bytes, at_once: usize) -> f64 {
    let started = Instant::now();
    let callers: Vec<_> = (0..at_once)
        .map(|_| {
            let (peers, address, body) = (peers.clone(), address.to_owned(), body.clone());
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while started.elapsed() < RUN {
                    let call = peers.call(&address, Lane::Data, kind, body.clone(), TIMEOUT);
                    call.await.expect("an answer");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.expect("callers do not panic");
    }
    f64::from(calls) / started.elapsed().as_secs_f64()
}

#[allow(clippy::print_stdout, reason = "that is what it is for")]
fn main() -> std::io::Result<()> {
    let net: NetRef = Arc::new(TcpNet);
    for secret in [None, Some("open sesame")] {
        let address = serve(&net, secret);
        runtime()?.block_on(async {
            let peers = Peers::start(&net, settings(2, secret));
            let small = Bytes::from_static(&[7; 100]);
            let large = Bytes::from(vec![7; 1 << 20]);
            println!("{}", if secret.is_some() { "with a secret" } else { "without a secret" });
            for at_once in [1, 16, 128] {
                let calls = rate(&peers, &address, ECHO, &small, at_once).await;
                println!("  100 B echo, {at_once:3} at once: {calls:9.0} calls/s");
            }
            for at_once in [1, 4] {
                let calls = rate(&peers, &address, SINK, &large, at_once).await;
                let gigabytes = calls * large.len() as f64 / 1e9;
                println!("  1 MiB there,  {at_once:3} at once: {gigabytes:9.2} GB/s");
            }
        });
    }
    Ok(())
}
