//! Whom a broker waits for that cannot get in: the voters that do not answer it, and why.

use super::{Cluster, who};
use futures_util::future::join_all;
use jocko_net::peers::PeerError;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::sleep;

/// A start among brokers that run is over by then, and asks nobody.
const PATIENCE: Duration = Duration::from_millis(500);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Notes which voters cannot be reached, over and over. To be dropped once this broker is in.
pub(crate) async fn look_for_voters(cluster: &Cluster) -> Infallible {
    sleep(PATIENCE).await;
    loop {
        let words = look(cluster).await;
        if let Some(words) = cluster.waiting.misses(words) {
            tracing::info!("{words}");
        }
        sleep(PAUSE).await;
    }
}

/// Calls all voters but this one at once.
async fn look(cluster: &Cluster) -> Option<String> {
    let voters = cluster.raft.status().voters;
    let others = voters.iter().filter(|(id, _)| id.directory_id() != cluster.node);
    let calls = others.map(|(id, peer)| async move {
        let address = cluster.book.find(id.directory_id(), &peer.address);
        let error = who::knock(&cluster.peers, &address).await.err()?;
        Some(explained(&address, &error))
    });
    let unreached: Vec<String> = join_all(calls).await.into_iter().flatten().collect();
    told(&unreached, voters.len())
}

/// Who is not reached, and why, in the words of whoever refuses.
fn explained(address: &str, error: &PeerError) -> String {
    let why = match error {
        PeerError::NotConnected(why) | PeerError::Unwelcome(why) => why.clone(),
        error => error.to_string(),
    };
    if why.starts_with(address) { why } else { format!("{address}: {why}") }
}

fn told(unreached: &[String], voters: usize) -> Option<String> {
    if unreached.is_empty() {
        return None;
    }
    let count = unreached.len();
    Some(format!("{count} of {voters} voters cannot be reached: {}", unreached.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_voter_that_is_not_reached_is_named_once_with_the_reason() {
        let refused = "node2:9093: Connection refused (os error 111)";
        let strange = "nodes a and b have different cluster.secrets: set the same one on both";
        let unreached = [
            explained("node2:9093", &PeerError::NotConnected(refused.to_owned())),
            explained("node3:9093", &PeerError::Unwelcome(strange.to_owned())),
            explained("node4:9093", &PeerError::TimedOut),
        ];
        assert_eq!(
            told(&unreached, 5).unwrap(),
            format!(
                "3 of 5 voters cannot be reached: {refused}; node3:9093: {strange}; \
                 node4:9093: no answer in time"
            )
        );
        assert_eq!(told(&[], 5), None);
    }
}
