//! `jocko partition elect`: leaders chosen anew (KIP-183, KIP-460).

use super::told;
use crate::command::{client, confirm_loss, partition_exists};
use crate::failure::Result;
use crate::output::{json, say, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, ClientError, Outcomes, TopicPartition};
use jocko_protocol::rpc::metadata_response::MetadataResponse;
use jocko_types::ErrorCode;
use serde_json::{Value, json};

pub(super) async fn elect(matches: &ArgMatches) -> Result<()> {
    let unclean = matches.get_flag("unclean");
    let mut client = client(matches)?;
    let asked = asked(&mut client, matches).await?;
    if matches.get_flag("dry-run") {
        let topic = matches.get_one::<String>("topic").map(String::as_str);
        let metadata = client.metadata(topic.as_ref().map(std::slice::from_ref), false).await?;
        return tell(matches, &would_change(&metadata, asked.as_deref(), unclean));
    }
    if unclean {
        confirm_loss(matches, "Let copies lead that may lack records? What they lack is lost.")?;
    }
    let mut outcomes = client.elect_leaders(unclean, asked.as_deref()).await?;
    outcomes.retain(|(_, outcome)| !is_needless(outcome));
    let elected: Vec<TopicPartition> =
        outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(at, _)| at.clone()).collect();
    let refused = only_refused(outcomes);
    if !elected.is_empty() || refused.is_empty() || wants_json(matches) {
        tell(matches, &elected)?;
    }
    told(refused)
}

/// The right one led already.
fn is_needless(outcome: &std::result::Result<(), ClientError>) -> bool {
    matches!(outcome, Err(ClientError::Refused { code: ErrorCode::ElectionNotNeeded, .. }))
}

fn only_refused(mut outcomes: Outcomes) -> Outcomes {
    outcomes.retain(|(_, outcome)| outcome.is_err());
    outcomes
}

/// The partitions that the command line names; nothing for all.
async fn asked(client: &mut Client, matches: &ArgMatches) -> Result<Option<Vec<TopicPartition>>> {
    let Some(topic) = matches.get_one::<String>("topic") else { return Ok(None) };
    let count = client.partitions(topic, false).await?;
    let named = matches.get_many::<i32>("partition").map(|named| named.copied().collect());
    let partitions: Vec<i32> = named.unwrap_or_else(|| (0..count).collect());
    for partition in &partitions {
        partition_exists(topic, *partition, count)?;
    }
    Ok(Some(partitions.into_iter().map(|at| (topic.clone(), at)).collect()))
}

/// Where an election would change something, as far as a client can tell.
fn would_change(
    metadata: &MetadataResponse,
    asked: Option<&[TopicPartition]>,
    unclean: bool,
) -> Vec<TopicPartition> {
    let mut found = Vec::new();
    for topic in &metadata.topics {
        let name = topic.name.clone().unwrap_or_default();
        for partition in &topic.partitions {
            let preferred = partition.replica_nodes.first();
            let can_lead = preferred.is_some_and(|it| partition.isr_nodes.contains(it));
            let would = if unclean {
                partition.leader_id < 0
            } else {
                // Whoever could lead a partition that has no leader would do so already.
                can_lead && partition.leader_id >= 0 && preferred != Some(&partition.leader_id)
            };
            let at = (name.clone(), partition.partition_index);
            if would && asked.is_none_or(|asked| asked.contains(&at)) {
                found.push(at);
            }
        }
    }
    found.sort();
    found
}

fn tell(matches: &ArgMatches, elected: &[TopicPartition]) -> Result<()> {
    let is_dry = matches.get_flag("dry-run");
    if wants_json(matches) {
        let one =
            |(topic, partition): &TopicPartition| json!({ "topic": topic, "partition": partition });
        return json(&json!({
            "elected": !is_dry,
            "partitions": elected.iter().map(one).collect::<Value>(),
        }));
    }
    let verb = if is_dry { "would get a new leader" } else { "got a new leader" };
    for (topic, partition) in elected {
        say(format_args!("{topic}/{partition} {verb}"))?;
    }
    if elected.is_empty() { say("no election is needed") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_protocol::rpc::metadata_response::{
        MetadataResponsePartition, MetadataResponseTopic,
    };

    #[test]
    fn a_trial_tells_where_leaders_would_change() {
        let partition =
            |index: i32, leader_id, replicas: &[i32], isr: &[i32]| MetadataResponsePartition {
                partition_index: index,
                leader_id,
                replica_nodes: replicas.to_vec(),
                isr_nodes: isr.to_vec(),
                ..Default::default()
            };
        let topic = MetadataResponseTopic {
            name: Some("t".to_owned()),
            partitions: vec![
                partition(0, 1, &[1, 2], &[1, 2]),
                partition(1, 1, &[2, 1], &[1, 2]),
                partition(2, 1, &[2, 1], &[1]),
                partition(3, -1, &[2, 1], &[2]),
            ],
            ..Default::default()
        };
        let metadata = MetadataResponse { topics: vec![topic], ..Default::default() };
        let found = |asked: Option<&[TopicPartition]>, unclean| -> Vec<i32> {
            would_change(&metadata, asked, unclean).iter().map(|(_, at)| *at).collect()
        };
        assert_eq!(found(None, false), [1]);
        assert_eq!(found(None, true), [3]);
        assert_eq!(found(Some(&[("t".to_owned(), 0)]), false), Vec::<i32>::new());
    }
}
