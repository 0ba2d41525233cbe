//! `jocko start`, and `jocko` alone: runs a broker until it is told to stop.

mod notify;
mod refusal;
mod signals;

use crate::command::config::load_settings;
use crate::failure::{Failure, Result};
use clap::ArgMatches;
use jocko_broker::Broker;
use jocko_config::{LoadedSettings, LogFormat};
use jocko_disk::RealDisk;
use signals::Signals;
use std::io::IsTerminal;
use std::time::Instant;
use tracing_subscriber::EnvFilter;

pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    let started = Instant::now();
    let settings = load_settings(matches)?;
    start_logging(&settings);
    for notice in settings.notices() {
        tracing::warn!("{notice}");
    }
    raise_descriptor_limit();
    warn_if_exposed(&settings);
    let data_dir = settings.settings().node.data_dir.clone();
    let mut signals = Signals::listen()?;
    let broker = Broker::begin(settings, RealDisk::shared())
        .and_then(|starting| signals.wait_start(starting))
        .map_err(|error| refusal::explain(error, &data_dir))?;
    let listed = |addresses: &[std::net::SocketAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        node = broker.node_id().get(),
        cluster = %broker.cluster_id(),
        kafka = listed(broker.addresses()),
        http = listed(broker.http_addresses()),
        data = %data_dir.display(),
        took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
    notify::ready();
    let broker = signals.wait(broker)?;
    notify::stopping();
    signals.stop(broker)?.map_err(|reason| {
        Failure::new(format!("the stop was not clean: {reason}"))
            .cure("start it again: recovery sorts this out, and says what it did")
    })
}

fn start_logging(settings: &LoadedSettings) {
    let log = &settings.settings().log;
    let as_text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let level = settings.entry("log.level").map_or("info", |entry| entry.value.as_str());
    // openraft tells of every heartbeat, and the libraries of gossip of every packet that a stranger
    // sends; what matters of it, this broker tells itself.
    let quiet =
        "openraft=error,openraft_rt=error,serf_core=off,memberlist_core=off,memberlist_net=off";
    let filter = EnvFilter::new(format!("{level},{quiet}"));
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Set once, at the start of the process.
    let _ = if as_text {
        logging.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        logging.json().flatten_event(true).try_init()
    };
}

/// Thousands of partitions and connections need more descriptors than shells allow at first.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open files stays low");
        }
    }
}

/// There is no authentication yet, so whoever reaches the port may read and delete everything.
fn warn_if_exposed(settings: &LoadedSettings) {
    let exposed: Vec<String> = settings
        .settings()
        .listen
        .kafka
        .iter()
        .filter(|address| !address.is_loopback())
        .map(ToString::to_string)
        .collect();
    if !exposed.is_empty() {
        tracing::warn!(
            addresses = exposed.join(","),
            "anybody who reaches these addresses may read, write and delete everything: there is no authentication yet"
        );
    }
}
