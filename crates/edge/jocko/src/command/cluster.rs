//! `jocko cluster status`.

use crate::command::{choice, client};
use crate::failure::Result;
use crate::output::{json, say, table, wants_json};
use clap::ArgMatches;
use serde_json::{Value, json};

pub(crate) async fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("status", matches)) => status(matches).await,
        _ => Err(choice("cluster")),
    }
}

async fn status(matches: &ArgMatches) -> Result<()> {
    let mut client = client(matches)?;
    let metadata = client.metadata(None, false).await?;
    let partitions = || metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let leaderless = partitions().filter(|partition| partition.leader_id < 0).count();
    let under_replicated =
        partitions().filter(|each| each.isr_nodes.len() < each.replica_nodes.len()).count();
    let cluster_id = metadata.cluster_id.clone().unwrap_or_default();
    if wants_json(matches) {
        let brokers: Vec<Value> = metadata
            .brokers
            .iter()
            .map(|broker| {
                json!({ "id": broker.node_id, "host": broker.host, "port": broker.port, "rack": broker.rack })
            })
            .collect();
        return json(&json!({
            "clusterId": cluster_id,
            "controller": metadata.controller_id,
            "brokers": brokers,
            "topics": metadata.topics.len(),
            "partitions": partitions().count(),
            "leaderless": leaderless,
            "underReplicated": under_replicated,
        }));
    }
    say(format_args!(
        "cluster {cluster_id}  controller {}  topics {}  partitions {}  leaderless {leaderless}  under-replicated {under_replicated}",
        metadata.controller_id,
        metadata.topics.len(),
        partitions().count(),
    ))?;
    let rows: Vec<Vec<String>> = metadata
        .brokers
        .iter()
        .map(|broker| {
            let leads = partitions().filter(|each| each.leader_id == broker.node_id).count();
            vec![
                broker.node_id.to_string(),
                format!("{}:{}", broker.host, broker.port),
                broker.rack.clone().unwrap_or_default(),
                leads.to_string(),
            ]
        })
        .collect();
    table(&[">BROKER", "ADDRESS", "RACK", ">LEADS"], &rows)
}
