//! `jocko cluster status|health|quorum|members|events|drain|remove|transfer-leader`.
//!
//! What Kafka's protocol has words for is asked in it, so that it works against any Kafka. What
//! only gossip knows, and who leads Raft, goes over the broker's HTTP port.

mod drain;
mod gossip;
mod health;
mod picture;
mod removing;

use crate::command::{choice, client, with_port};
use crate::failure::{Failure, Result};
use crate::output::{grouped, json, say, table, wants_json};
use clap::ArgMatches;
use clap::parser::ValueSource;
use jocko_client::{Quorum, QuorumNode};
use picture::Picture;
use serde_json::{Value, json};

/// Where brokers answer in HTTP unless they are told otherwise.
const HTTP_PORT: u16 = 9095;
/// Where they serve Kafka's clients.
const KAFKA_PORT: &str = "9092";

pub(crate) async fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("status", matches)) => status(matches).await,
        Some(("health", matches)) => health::health(matches).await,
        Some(("quorum", matches)) => quorum(matches).await,
        Some(("members", matches)) => gossip::members(matches).await,
        Some(("events", matches)) => gossip::events(matches).await,
        Some(("drain", matches)) => drain::drain(matches).await,
        Some(("remove", matches)) => removing::remove(matches).await,
        Some(("transfer-leader", matches)) => gossip::transfer_leader(matches).await,
        _ => Err(choice("cluster")),
    }
}

/// The number on the command line.
fn node(matches: &ArgMatches) -> i32 {
    *matches.get_one("node").expect("is required")
}

/// Where the broker's HTTP port is: where it is said to be, or where the broker that is named says
/// itself, so that no other is asked than the one that is meant. One that serves no Kafka clients, as it
/// waits for its cluster, is at the usual port if its other one is.
async fn http_address(matches: &ArgMatches) -> Result<String> {
    if let Some(named) = matches.get_one::<String>("http") {
        return Ok(named.clone());
    }
    let brokers: &String = matches.get_one("brokers").expect("has a default");
    let usual = http_beside(brokers);
    if matches.value_source("brokers") == Some(ValueSource::DefaultValue) {
        return usual.ok_or_else(|| Failure::usage("--brokers names none"));
    }
    let members = client(matches)?.members().await;
    let told = members.map(|members| {
        let mut asked = members.brokers.into_iter().filter_map(|it| Some((it.http_port?, it)));
        asked.next().map(|(port, it)| {
            let host = it.address.rsplit_once(':').map_or("localhost", |(host, _)| host);
            format!("{host}:{port}")
        })
    });
    let cure = "--http HOST:PORT, as its listen.http says: one that waits for its cluster, or serves no \
                Kafka clients, answers only there";
    match (told, usual) {
        (Ok(Some(told)), _) => Ok(told),
        (Ok(None) | Err(_), Some(usual)) => Ok(usual),
        (Ok(None), None) => {
            let words = format!("the broker at {brokers} does not say where it answers in HTTP");
            Err(Failure::new(words).cure(cure))
        }
        (Err(error), None) => Err(Failure::from(error).cure(cure)),
    }
}

/// The usual port for HTTP where the usual one for Kafka is.
fn http_beside(brokers: &str) -> Option<String> {
    let first = brokers.split(',').map(str::trim).find(|address| !address.is_empty())?;
    let address = with_port(first);
    let (host, port) = address.rsplit_once(':')?;
    (port == KAFKA_PORT).then(|| format!("{host}:{HTTP_PORT}"))
}

async fn status(matches: &ArgMatches) -> Result<()> {
    let picture = Picture::take(&mut client(matches)?).await?;
    if wants_json(matches) {
        return json(&picture.json());
    }
    let controller = picture.controller.map_or_else(|| "none".to_owned(), |id| id.to_string());
    say(format_args!(
        "cluster {}  controller {controller}  topics {}  partitions {}  leaderless {}  under-replicated {}",
        picture.cluster_id,
        picture.topics.len(),
        picture.partitions().count(),
        picture.leaderless(),
        picture.under_replicated(),
    ))?;
    let rows: Vec<Vec<String>> = picture
        .brokers
        .iter()
        .map(|broker| {
            let state = match (broker.is_fenced, broker.is_drained) {
                (false, false) => "live",
                (false, true) => "live, drained",
                (true, false) => "fenced",
                (true, true) => "fenced, drained",
            };
            vec![
                broker.id.to_string(),
                broker.address.clone(),
                broker.rack.clone().unwrap_or_default(),
                state.to_owned(),
                picture.leads(broker.id).to_string(),
                picture.replicas(broker.id).to_string(),
            ]
        })
        .collect();
    table(&[">BROKER", "ADDRESS", "RACK", "STATE", ">LEADS", ">COPIES"], &rows)?;
    for broker in &picture.brokers {
        if let Some(disk) = &broker.disk {
            say(format_args!("broker {}: {disk}", broker.id))?;
        }
    }
    Ok(())
}

async fn quorum(matches: &ArgMatches) -> Result<()> {
    let quorum = client(matches)?.quorum().await?;
    let quorum = quorum.ok_or_else(|| {
        Failure::new("this cluster does not tell of a quorum").cure("Kafka 3.3 or newer, or jocko")
    })?;
    if wants_json(matches) {
        return json(&json!({
            "leader": quorum.leader,
            "term": quorum.term,
            "committed": quorum.high_watermark,
            "voters": quorum.voters.iter().map(|node| node_json(&quorum, node)).collect::<Value>(),
            "observers":
                quorum.observers.iter().map(|node| node_json(&quorum, node)).collect::<Value>(),
        }));
    }
    let leader = quorum.leader.map_or_else(|| "none".to_owned(), |id| id.to_string());
    say(format_args!(
        "leader {leader}  term {}  committed {}  voters {}",
        quorum.term,
        grouped(quorum.high_watermark),
        quorum.voters.len(),
    ))?;
    let voters = quorum.voters.iter().map(|node| (node, "voter"));
    let all = voters.chain(quorum.observers.iter().map(|node| (node, "observer")));
    let rows: Vec<Vec<String>> = all.map(|(node, role)| row(&quorum, node, role)).collect();
    table(&[">BROKER", "ROLE", "DISK", ">LOG-END", ">LAG"], &rows)
}

fn row(quorum: &Quorum, node: &QuorumNode, role: &str) -> Vec<String> {
    let is_leader = quorum.leader == Some(node.id);
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), grouped);
    vec![
        if node.id < 0 { "-".to_owned() } else { node.id.to_string() },
        if is_leader { "leader" } else { role }.to_owned(),
        if node.directory.is_zero() { "-".to_owned() } else { node.directory.to_string() },
        number(node.log_end),
        number(lag(quorum, node)),
    ]
}

fn node_json(quorum: &Quorum, node: &QuorumNode) -> Value {
    json!({
        "id": node.id,
        "disk": (!node.directory.is_zero()).then(|| node.directory.to_string()),
        "logEnd": node.log_end,
        "lag": lag(quorum, node),
        "caughtUpAt": node.caught_up_at,
    })
}

/// How far a node is behind the leader, if that is known.
fn lag(quorum: &Quorum, node: &QuorumNode) -> Option<i64> {
    let mut voters = quorum.voters.iter();
    let leader = voters.find(|voter| Some(voter.id) == quorum.leader)?;
    Some((leader.log_end? - node.log_end?).max(0))
}

#[cfg(test)]
mod tests {
    use super::http_beside;

    #[test]
    fn the_usual_ports_go_together() {
        for (brokers, expect) in [
            ("localhost:9092", Some("localhost:9095")),
            ("node1", Some("node1:9095")),
            ("[::1]:9092", Some("[::1]:9095")),
            // Where nothing is as usual, another broker may be at the usual port.
            ("10.0.0.7:19092, node2:9092", None),
            ("", None),
        ] {
            assert_eq!(http_beside(brokers).as_deref(), expect, "{brokers:?}");
        }
    }
}
