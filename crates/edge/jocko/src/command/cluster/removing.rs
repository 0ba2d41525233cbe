//! `jocko cluster remove`: a broker that does not come back is forgotten, and its vote with it.

use super::node;
use super::picture::Picture;
use crate::command::{client, confirm};
use crate::failure::{Failure, Result};
use crate::output::{json, say, wants_json};
use clap::ArgMatches;
use jocko_client::{ClientError, Member, QuorumNode};
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::metadata_response::MetadataResponsePartition;
use jocko_types::ErrorCode;
use serde_json::json;

pub(super) async fn remove(matches: &ArgMatches) -> Result<()> {
    let id = node(matches);
    let mut client = client(matches)?;
    let picture = Picture::take(&mut client).await?;
    refuse_if_needed(&picture, id)?;
    let votes = votes_of(&picture, id);
    // Where votes are not taken by hand, the cluster gives them away by itself.
    let takes = !votes.is_empty() && client.serves(ApiKey::RemoveRaftVoter).await?;
    let is_dry = matches.get_flag("dry-run");
    if !is_dry {
        confirm(matches, &format!("Forget broker {id}?"))?;
        for vote in votes.iter().filter(|_| takes) {
            match client.remove_voter(vote.id, vote.directory).await {
                // The cluster has taken it meanwhile, as it does by itself.
                Err(ClientError::Refused { code: ErrorCode::VoterNotFound, .. }) => {}
                taken => taken?,
            }
        }
        client.unregister_broker(id).await?;
    }
    if wants_json(matches) {
        let taken = if takes { votes.len() } else { 0 };
        return json(&json!({ "broker": id, "votes": taken, "removed": !is_dry }));
    }
    let verb = if is_dry { "would forget" } else { "forgot" };
    let also = match (votes.is_empty(), takes, is_dry) {
        (true, ..) => "",
        (false, true, false) => " and took its vote",
        (false, true, true) => " and take its vote",
        (false, false, _) => " (its vote goes to another broker when there is one to have it)",
    };
    say(format_args!("{verb} broker {id}{also}"))
}

/// A broker is only forgotten when nobody misses it.
fn refuse_if_needed(picture: &Picture, id: i32) -> Result<()> {
    let known = picture.brokers.iter().find(|broker| broker.id == id);
    if known.is_none() && picture.tells_of_fenced {
        return Err(ClientError::NoSuchBroker(id).into());
    }
    let copies = picture.replicas(id);
    if copies > 0 {
        let s = if copies == 1 { "" } else { "s" };
        let refused =
            Failure::new(format!("broker {id} still has copies of {copies} partition{s}"));
        // Another broker with room is what a drain needs.
        let has_room = |partition: &MetadataResponsePartition| {
            let is_free = |broker: &Member| {
                !broker.is_fenced && !partition.replica_nodes.contains(&broker.id)
            };
            !partition.replica_nodes.contains(&id) || picture.brokers.iter().any(is_free)
        };
        return Err(match picture.partitions().all(has_room) {
            true => refused.cure(format!("jocko cluster drain {id}")),
            false => refused.cure(format!(
                "start another broker and run jocko cluster drain {id}, or give the copies up: \
                 jocko cluster drain {id} --fewer-copies"
            )),
        });
    }
    if known.is_some_and(|broker| !broker.is_fenced) {
        return Err(Failure::new(format!("broker {id} is running, and would come back"))
            .cure("stop it; once it is fenced (jocko cluster status), remove it"));
    }
    Ok(())
}

/// The votes that the broker's disks have.
fn votes_of(picture: &Picture, id: i32) -> Vec<QuorumNode> {
    let voters = picture.quorum.iter().flat_map(|quorum| &quorum.voters);
    voters.filter(|voter| voter.id == id).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::picture;
    use super::*;

    #[test]
    fn only_a_broker_that_nobody_misses_is_forgotten() {
        let mut cluster = picture(3, &[(1, &[1, 2], &[1, 2])]);
        let refused = refuse_if_needed(&cluster, 2).unwrap_err();
        assert!(refused.to_string().contains("still has copies of 1 partition"), "{refused}");
        let refused = refuse_if_needed(&cluster, 3).unwrap_err();
        assert!(refused.to_string().contains("is running"), "{refused}");
        cluster.brokers[2].is_fenced = true;
        assert!(refuse_if_needed(&cluster, 3).is_ok());
        assert!(refuse_if_needed(&cluster, 9).is_err(), "there is no such broker");
        cluster.tells_of_fenced = false;
        assert!(refuse_if_needed(&cluster, 9).is_ok(), "the cluster has the last word");
    }
}
