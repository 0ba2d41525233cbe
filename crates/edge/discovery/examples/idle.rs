//! What gossip costs at rest: `cargo run --release -p jocko-discovery --example idle -- COUNT SECONDS`.
//!
//! COUNT brokers gossip in this process; 0 is one that sleeps. Prints CPU, wake-ups and memory.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use jocko_config::{HostPort, Secret};
use jocko_discovery::{Discovery, GossipSettings, Member, SerfDiscovery};
use jocko_types::Uuid;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let (count, seconds) = (arguments.next().unwrap_or(3), arguments.next().unwrap_or(20));
    let before = memory_kib();
    let first = start(0, &[], 1).await;
    let port = first.address().expect("gossip has an address").port();
    let mut all = Vec::new();
    if count > 0 {
        // Somebody calls, and so it wakes.
        let caller = start(0, &[port], 255).await;
        let mut list = first.changed();
        list.wait_for(|members| !members.is_empty()).await.unwrap();
        caller.leave().await;
        list.wait_for(|members| members.is_empty()).await.unwrap();
    }
    for number in 2..=count {
        all.push(start(0, &[port], u8::try_from(number).unwrap()).await);
    }
    for one in all.iter().chain([&first]) {
        let others = usize::try_from(count.saturating_sub(1)).unwrap();
        one.changed().wait_for(|members| members.len() == others).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (cpu, wakes) = usage();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (cpu_after, wakes_after) = usage();
    let seconds_f = f64::from(u32::try_from(seconds).unwrap());
    println!(
        "{count} at rest: {:.3} % of a core, {:.1} wake-ups a second, {} KiB more than before",
        (cpu_after - cpu) / seconds_f * 100.0,
        f64::from(u32::try_from(wakes_after - wakes).unwrap()) / seconds_f,
        memory_kib() - before
    );
}

async fn start(port: u16, join: &[u16], number: u8) -> SerfDiscovery {
    let at = |port: u16| HostPort { host: "127.0.0.1".to_owned(), port };
    let settings = GossipSettings {
        listen: at(port),
        advertise: None,
        join: join.iter().map(|port| at(*port)).collect(),
        secret: Some(Secret::new("a secret of the example")),
        secret_accepted: None,
    };
    let me = Member {
        node: Uuid::from_bytes([number; 16]),
        broker_id: None,
        cluster_address: "127.0.0.1:9093".to_owned(),
        kafka_address: "127.0.0.1:9092".to_owned(),
        rack: None,
        release: "0.1.0".to_owned(),
        cluster_id: None,
        expect: 3,
    };
    SerfDiscovery::start(settings, me).await.unwrap()
}

/// Seconds of CPU, and how often the process was put to sleep.
fn usage() -> (f64, u64) {
    let schedstat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let nanos: u64 = schedstat.split_whitespace().next().unwrap().parse().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    (Duration::from_nanos(nanos).as_secs_f64(), number_after(&status, "\nvoluntary_ctxt_switches:"))
}

fn memory_kib() -> u64 {
    number_after(&std::fs::read_to_string("/proc/self/status").unwrap(), "VmRSS:")
}

fn number_after(text: &str, label: &str) -> u64 {
    let (_, rest) = text.split_once(label).unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}
