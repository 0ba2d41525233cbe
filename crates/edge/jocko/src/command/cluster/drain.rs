//! `jocko cluster drain`: everything off a broker, by Kafka's own means: a reassignment of every
//! partition it has a copy of, or, with `--leaders-only`, its name put last and an election.

use super::node;
use super::picture::Picture;
use crate::command::partition::{Moves, told, wait_for_moves};
use crate::command::{client, timeout};
use crate::failure::{Failure, Result};
use crate::output::{json, say, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, TopicPartition};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) async fn drain(matches: &ArgMatches) -> Result<()> {
    let id = node(matches);
    let mut client = client(matches)?;
    let picture = Picture::take(&mut client).await?;
    if !picture.brokers.iter().any(|broker| broker.id == id) {
        return Err(jocko_client::ClientError::NoSuchBroker(id).into());
    }
    let leaders_only = matches.get_flag("leaders-only");
    let moves = if leaders_only { last_in_line(&picture, id) } else { away(&picture, id)? };
    if !matches.get_flag("dry-run") && !moves.is_empty() {
        told(client.reassign(&moves).await?)?;
        let partitions: Vec<TopicPartition> = moves.iter().map(|(at, _)| at.clone()).collect();
        if leaders_only {
            elect(&mut client, &picture, id).await?;
        } else if matches.get_flag("wait") {
            wait_for_moves(&mut client, Some(&partitions), timeout(matches)?).await?;
        }
    }
    tell(matches, id, &moves)
}

/// Has others lead what `id` leads. A partition that nobody else can lead keeps its leader.
async fn elect(client: &mut Client, picture: &Picture, id: i32) -> Result<()> {
    let led: Vec<TopicPartition> = partitions_of(picture, id)
        .filter(|(_, partition)| partition.leader_id == id)
        .map(|(at, _)| at)
        .collect();
    if led.is_empty() {
        return Ok(());
    }
    told(client.elect_leaders(false, Some(&led)).await?)
}

fn tell(matches: &ArgMatches, id: i32, moves: &Moves) -> Result<()> {
    let is_dry = matches.get_flag("dry-run");
    if wants_json(matches) {
        let listed = moves.iter().map(
            |((topic, partition), to)| json!({ "topic": topic, "partition": partition, "to": to }),
        );
        return json(&json!({
            "broker": id,
            "started": !is_dry,
            "moves": listed.collect::<Vec<_>>(),
        }));
    }
    for ((topic, partition), to) in moves.iter().filter(|_| is_dry) {
        say(format_args!("{topic}/{partition} would go to {}", shown(to.as_deref())))?;
    }
    match (moves.len(), is_dry) {
        (0, _) => say(format_args!("broker {id} has nothing to move")),
        (count, true) => say(format_args!("{count} partitions would move off broker {id}")),
        (count, false) if matches.get_flag("leaders-only") => {
            say(format_args!("broker {id} is last in line for {count} partitions"))
        }
        (count, false) if matches.get_flag("wait") => {
            say(format_args!("{count} partitions moved off broker {id}"))
        }
        (count, false) => say(format_args!(
            "{count} partitions are moving off broker {id}; jocko partition move-status tells how far"
        )),
    }
}

fn shown(brokers: Option<&[i32]>) -> String {
    let brokers: Vec<String> = brokers.unwrap_or_default().iter().map(i32::to_string).collect();
    brokers.join(",")
}

type Partition = jocko_protocol::rpc::metadata_response::MetadataResponsePartition;

/// What a broker has a copy of.
fn partitions_of(picture: &Picture, id: i32) -> impl Iterator<Item = (TopicPartition, &Partition)> {
    picture.topics.iter().flat_map(move |topic| {
        let name = topic.name.clone().unwrap_or_default();
        let of_broker = topic.partitions.iter().filter(move |it| it.replica_nodes.contains(&id));
        of_broker.map(move |partition| ((name.clone(), partition.partition_index), partition))
    })
}

/// The same copies, with `id` as the last to lead.
fn last_in_line(picture: &Picture, id: i32) -> Moves {
    let has_others = |(_, partition): &(TopicPartition, &Partition)| {
        partition.replica_nodes.len() > 1 && partition.replica_nodes.last() != Some(&id)
    };
    partitions_of(picture, id)
        .filter(has_others)
        .map(|(at, partition)| {
            let others = partition.replica_nodes.iter().filter(|replica| **replica != id);
            (at, Some(others.copied().chain([id]).collect()))
        })
        .collect()
}

/// Each copy on `id` goes to a live broker that has none of the partition: to another rack than
/// those of the other copies if there is one, there to the broker with the fewest copies.
fn away(picture: &Picture, id: i32) -> Result<Moves> {
    let mut copies: BTreeMap<i32, usize> = picture
        .brokers
        .iter()
        .filter(|broker| !broker.is_fenced && broker.id != id)
        .map(|broker| (broker.id, picture.replicas(broker.id)))
        .collect();
    let rack_of = |id: i32| {
        let broker = picture.brokers.iter().find(|broker| broker.id == id);
        broker.and_then(|broker| broker.rack.as_deref())
    };
    let mut moves = Moves::new();
    for (at, partition) in partitions_of(picture, id) {
        let replicas = &partition.replica_nodes;
        let is_used = |rack: Option<&str>| {
            let mut others = replicas.iter().filter(|replica| **replica != id);
            rack.is_some() && others.any(|replica| rack_of(*replica) == rack)
        };
        let free = copies.iter().filter(|(broker, _)| !replicas.contains(broker));
        let best = free.min_by_key(|(broker, count)| (is_used(rack_of(**broker)), **count));
        let Some(best) = best.map(|(broker, _)| *broker) else {
            let (topic, partition) = at;
            return Err(Failure::new(format!(
                "{topic}/{partition} is on {}, and there is no other live broker",
                shown(Some(replicas))
            ))
            .cure(
                "start another broker first, or give the topic fewer copies (jocko partition move)",
            ));
        };
        *copies.entry(best).or_default() += 1;
        let to = replicas.iter().map(|replica| if *replica == id { best } else { *replica });
        moves.push((at, Some(to.collect())));
    }
    Ok(moves)
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::picture;
    use super::*;

    fn targets(moves: &Moves) -> Vec<(i32, Vec<i32>)> {
        moves.iter().map(|((_, at), to)| (*at, to.clone().unwrap())).collect()
    }

    #[test]
    fn copies_go_to_whoever_has_fewest() {
        let cluster = picture(4, &[(1, &[1, 2], &[1, 2]), (2, &[2, 1], &[1, 2]), (3, &[3], &[3])]);
        let moves = away(&cluster, 1).unwrap();
        assert_eq!(targets(&moves), [(0, vec![4, 2]), (1, vec![2, 3])]);
    }

    #[test]
    fn another_rack_goes_before_fewer_copies() {
        let mut cluster = picture(4, &[(1, &[1, 2], &[1, 2]), (3, &[3], &[3])]);
        for (broker, rack) in cluster.brokers.iter_mut().zip(["a", "b", "c", "b"]) {
            broker.rack = Some(rack.to_owned());
        }
        assert_eq!(targets(&away(&cluster, 1).unwrap()), [(0, vec![3, 2])]);
    }

    #[test]
    fn a_copy_without_a_place_is_told_and_dead_brokers_are_none() {
        let mut cluster = picture(3, &[(1, &[1, 2], &[1, 2])]);
        cluster.brokers[2].is_fenced = true;
        let refused = away(&cluster, 1).unwrap_err().to_string();
        assert!(refused.contains("orders/0") && refused.contains("on 1,2"), "{refused}");
    }

    #[test]
    fn who_shall_not_lead_becomes_the_last() {
        let cluster = picture(3, &[(1, &[1, 2, 3], &[1]), (2, &[2, 1], &[2]), (1, &[1], &[1])]);
        assert_eq!(targets(&last_in_line(&cluster, 1)), [(0, vec![2, 3, 1])]);
    }
}
