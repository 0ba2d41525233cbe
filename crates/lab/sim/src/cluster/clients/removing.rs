//! Somebody who removes a broker: its copies go to others, it is switched off, and the cluster is told
//! to forget it.

use super::moving::assign;
use super::{Client, METADATA};
use crate::cluster::machine::kafka_at;
use jocko_protocol::error_code;
use jocko_protocol::rpc::metadata_request::MetadataRequest;
use jocko_protocol::rpc::unregister_broker_request::UnregisterBrokerRequest;
use jocko_types::ErrorCode;

const UNREGISTER_BROKER: i16 = 0;

/// How many brokers keep a partition at most.
const COPIES: usize = 3;
/// How often in a row brokers have to say that nothing is left: one may be behind.
const ASSURANCES: u32 = 3;

/// Removes the broker that is leaving.
pub(crate) async fn remove(mut client: Client, broker: u32) {
    move_all_away(&mut client, broker).await;
    client.shared.may_end.set(true);
    while client.shared.may_end.get() {
        client.rest(100).await;
    }
    let number = i32::try_from(broker).expect("a handful");
    let request = UnregisterBrokerRequest { broker_id: number, ..Default::default() };
    loop {
        let to = kafka_at(client.anyone());
        let asked =
            client.wire.ask(to, UNREGISTER_BROKER, &request, |it| error_code(it.error_code));
        let asked = asked.await;
        client.shared.meet("unregister", &asked);
        if matches!(asked, Ok(ErrorCode::None | ErrorCode::BrokerIdNotRegistered)) {
            break;
        }
        client.rest(300).await;
    }
    // Something may have been put there meanwhile.
    move_all_away(&mut client, broker).await;
    client.shared.leaving.set(None);
}

async fn move_all_away(client: &mut Client, broker: u32) {
    let mut assurances = 0;
    while assurances < ASSURANCES {
        assurances = match move_away(client, broker).await {
            Some(true) => assurances + 1,
            Some(false) | None => 0,
        };
        client.rest(400).await;
    }
}

/// Has all copies that a broker keeps moved to others; whether there were none, as far as somebody
/// knows.
async fn move_away(client: &mut Client, broker: u32) -> Option<bool> {
    let broker = i32::try_from(broker).ok()?;
    // All topics.
    let request = MetadataRequest { topics: None, ..Default::default() };
    let to = kafka_at(client.anyone());
    let asked = client.wire.ask(to, METADATA, &request, |response| {
        let mut kept = Vec::new();
        for topic in &response.topics {
            let Some(name) = topic.name.as_deref() else { continue };
            let here = topic.partitions.iter().filter(|it| it.replica_nodes.contains(&broker));
            kept.extend(
                here.map(|it| (name.to_owned(), it.partition_index, it.replica_nodes.clone())),
            );
        }
        kept
    });
    let kept = asked.await.ok()?;
    let is_none = kept.is_empty();
    for (topic, partition, mut replicas) in kept {
        replicas.retain(|it| *it != broker);
        let mut others = client.shuffled();
        others.retain(|it| !replicas.contains(it));
        // While a move is under way its target is among them already.
        replicas.extend(others);
        replicas.truncate(COPIES);
        let partition = u32::try_from(partition).unwrap_or(0);
        assign(client, (topic.as_str(), partition), replicas).await;
    }
    Some(is_none)
}
