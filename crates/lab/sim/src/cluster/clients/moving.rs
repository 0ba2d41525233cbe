//! Somebody who moves replicas about, to two brokers or three in any order, and has partitions led by
//! the first of them; in the end three brokers keep all of it again.

use super::{Client, PARTITIONS, TOPIC};
use crate::cluster::machine::kafka_at;
use jocko_protocol::error_code;
use jocko_protocol::rpc::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use jocko_protocol::rpc::elect_leaders_request::ElectLeadersRequest;
use jocko_types::ErrorCode;

const ALTER_PARTITION_REASSIGNMENTS: i16 = 0;
const ELECT_LEADERS: i16 = 2;

/// How many brokers keep a partition in the end.
const COPIES: usize = 3;

/// How long the controller may take.
const TIMEOUT_MS: i32 = 4_000;

/// Moves until the run is over.
pub(crate) async fn move_replicas(mut client: Client) {
    while !client.is_over() {
        client.rest(2_500).await;
        if client.dice.per_mille(300) {
            elect_first(&mut client).await;
            continue;
        }
        let partition = client.dice.below(u64::from(PARTITIONS)) as u32;
        let mut replicas = client.shuffled();
        let most = if client.dice.per_mille(500) { 2 } else { COPIES };
        replicas.truncate(most);
        if assign(&mut client, (TOPIC, partition), replicas).await == Some(ErrorCode::None) {
            client.shared.moves.set(client.shared.moves.get() + 1);
        }
    }
    for partition in 0..PARTITIONS {
        loop {
            let mut replicas = client.shuffled();
            replicas.truncate(COPIES);
            if assign(&mut client, (TOPIC, partition), replicas).await == Some(ErrorCode::None) {
                break;
            }
            client.rest(200).await;
        }
    }
}

pub(super) async fn assign(
    client: &mut Client,
    (topic, partition): (&str, u32),
    replicas: Vec<i32>,
) -> Option<ErrorCode> {
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: TIMEOUT_MS,
        topics: vec![ReassignableTopic {
            name: topic.to_owned(),
            partitions: vec![ReassignablePartition {
                partition_index: i32::try_from(partition).expect("a handful"),
                replicas: Some(replicas),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let to = kafka_at(client.anyone());
    let asked = client.wire.ask(to, ALTER_PARTITION_REASSIGNMENTS, &request, |response| {
        let answered = response.responses.first().and_then(|topic| topic.partitions.first());
        let code = match response.error_code {
            0 => answered.map_or(-1, |it| it.error_code),
            code => code,
        };
        error_code(code)
    });
    let asked = asked.await;
    client.shared.meet("move", &asked);
    asked.ok()
}

async fn elect_first(client: &mut Client) {
    let request = ElectLeadersRequest {
        election_type: 0,
        topic_partitions: None,
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let to = kafka_at(client.anyone());
    let asked = client.wire.ask(to, ELECT_LEADERS, &request, |it| error_code(it.error_code)).await;
    client.shared.meet("elect", &asked);
}
