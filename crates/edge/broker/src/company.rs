//! What the HTTP port tells of the cluster: whom this broker knows, by gossip and by the metadata,
//! what gossip told it last, and who leads the metadata.

use crate::cluster::addresses::{PEERS, joined};
use crate::context::Context;
use crate::quorum::{self, QuorumAnswer, QuorumCall};
use jocko_admin::{Answering, Company};
use jocko_consensus::RaftStatus;
use jocko_discovery::{Discovery, Event, Member};
use jocko_metadata::{Broker, BrokerState, ClusterImage};
use jocko_types::{BrokerId, Uuid};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a change of leaders may take; the port closes a connection that waits for longer.
const CHANGE_MAX: Duration = Duration::from_secs(8);
/// How long this broker may take to see who leads, once that is known elsewhere.
const SHOWN_MAX: Duration = Duration::from_secs(1);

/// Answers for the cluster, as this broker knows it.
pub(crate) struct Knowledge(pub(crate) Arc<Context>);

impl Company for Knowledge {
    fn members(&self) -> String {
        let cluster = &self.0.cluster;
        let mut seen = cluster.discovery().map(|it| it.members()).unwrap_or_default();
        seen.push(cluster.me());
        let unsure = cluster.contact.is_lost().then_some(cluster.node);
        members(&self.0.published.load().image, &seen, unsure).to_string()
    }

    fn events(&self) -> String {
        events(self.0.cluster.discovery().map(|it| &**it))
    }

    fn transfer_leader(&self, to: Option<i32>, only_ask: bool) -> Answering {
        let context = Arc::clone(&self.0);
        Box::pin(async move {
            let change = transfer_leader(&context, to.map(BrokerId::new), only_ask);
            let late = "the lead was not taken over in time; it may go on (jocko cluster quorum)";
            timeout(CHANGE_MAX, change).await.unwrap_or_else(|_| Err(late.to_owned()))
        })
    }
}

async fn transfer_leader(
    context: &Context,
    to: Option<BrokerId>,
    only_ask: bool,
) -> Result<String, String> {
    let asked = quorum::ask(&context.cluster, QuorumCall::HandOver { to, only_ask }).await;
    let leader = match asked {
        Ok(QuorumAnswer::Leads(leader)) => leader,
        Ok(QuorumAnswer::Described(_) | QuorumAnswer::Done) => {
            return Err("the leader answers something else".to_owned());
        }
        Err(refusal) => return Err(refusal.message),
    };
    if !only_ask {
        let node =
            context.published.load().image.broker(leader).map(|it| it.registration.directory);
        let leads = |status: &RaftStatus| {
            status.leader.as_ref().map(|(leader, _)| leader.directory_id()) == node
        };
        // Whoever asks here next shall be told the same; it is true already either way.
        let _ = timeout(SHOWN_MAX, context.raft.watch().wait_for(leads)).await;
    }
    Ok(json!({ "leader": leader.get() }).to_string())
}

/// What discovery told last, the oldest first.
pub(crate) fn events(discovery: Option<&dyn Discovery>) -> String {
    let events = discovery.map(|it| it.events()).unwrap_or_default();
    events.iter().map(event).collect::<Value>().to_string()
}

/// Everybody whom a broker sees that is not part of a cluster itself: it knows of nobody who counts.
pub(crate) fn seen(discovery: Option<&dyn Discovery>) -> String {
    let members = discovery.map(|it| it.members()).unwrap_or_default();
    let row = |it: &Member| describe(it.broker_id, "seen", None, Some(it));
    members.iter().map(row).collect::<Value>().to_string()
}

/// Everybody who is registered or seen, by number; those without one last. `unsure` is this broker where
/// the controller does not answer it: it knows of nobody else then whether the cluster still counts on it.
fn members(image: &ClusterImage, seen: &[Member], unsure: Option<Uuid>) -> Value {
    let registered: BTreeMap<Uuid, &Arc<Broker>> =
        image.brokers().map(|broker| (broker.registration.directory, broker)).collect();
    let seen: BTreeMap<Uuid, &Member> = seen.iter().map(|it| (it.node, it)).collect();
    let nodes = registered.keys().chain(seen.keys().filter(|it| !registered.contains_key(it)));
    let mut rows: Vec<(Option<BrokerId>, Value)> = nodes
        .map(|node| {
            let (broker, member) = (registered.get(node).copied(), seen.get(node).copied());
            let id = broker.map(|it| it.id()).or(member.and_then(|it| it.broker_id));
            let state = match state(image, broker, member) {
                "live" if unsure.is_some_and(|own| own != *node) => "unsure",
                known => known,
            };
            let mut row = describe(id, state, broker, member);
            row["drained"] = broker.is_some_and(|it| image.is_drained(it.id())).into();
            (id, row)
        })
        .collect();
    rows.sort_by_key(|(id, _)| (id.is_none(), *id));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// One word for how it stands with somebody: what is registered is fenced or live, if it is seen.
fn state(
    image: &ClusterImage,
    broker: Option<&Arc<Broker>>,
    member: Option<&Member>,
) -> &'static str {
    match (broker.map(|it| it.state()), member) {
        (Some(_), None) => "unseen",
        (Some(BrokerState::Live), Some(_)) => "live",
        (Some(BrokerState::Fenced), Some(_)) => "fenced",
        // It belongs to another cluster, or to none, or is about to be let in.
        (None, Some(member))
            if member.cluster_id.is_some_and(|id| Some(id) != image.cluster_id()) =>
        {
            "foreign"
        }
        (None, _) => "outside",
    }
}

/// What it says of itself where it is seen, else what is registered.
fn describe(
    id: Option<BrokerId>,
    state: &str,
    broker: Option<&Arc<Broker>>,
    member: Option<&Member>,
) -> Value {
    let registered = broker.map(|broker| &broker.registration);
    let at = |is_cluster: bool| {
        let mut endpoints = registered?.endpoints.iter();
        let found = endpoints.find(|endpoint| (endpoint.listener == PEERS) == is_cluster)?;
        Some(joined(&found.host, found.port))
    };
    let told = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    json!({
        "broker": id.map(BrokerId::get),
        "state": state,
        "cluster": told(member.map(|it| &it.cluster_address)).or_else(|| at(true)),
        "kafka": told(member.map(|it| &it.kafka_address)).or_else(|| at(false)),
        "rack": member.map_or_else(|| registered?.rack.clone(), |it| it.rack.clone()),
        "disk": broker.and_then(|it| it.disk.as_ref()).map(ToString::to_string),
        "release": member.map(|it| &it.release).or(registered.map(|it| &it.release)),
    })
}

fn event(event: &Event) -> Value {
    json!({
        "time": event.at.as_millis(),
        "event": event.kind.as_str(),
        "broker": event.broker_id.map(BrokerId::get),
        "cluster": event.address,
        "detail": event.detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_metadata::{Endpoint, MetadataRecord, Registration};
    use jocko_types::{BrokerEpoch, Timestamp};

    const CLUSTER: Uuid = Uuid::from_bytes([9; 16]);

    fn registered(id: u8, fenced: bool) -> MetadataRecord {
        let endpoint = |listener: &str, port| Endpoint {
            listener: listener.to_owned(),
            host: format!("old-{id}.example"),
            port,
        };
        MetadataRecord::RegisterBroker(Registration {
            broker_id: BrokerId::new(i32::from(id)),
            broker_epoch: BrokerEpoch::new(i64::from(id)),
            incarnation: Uuid::ZERO,
            directory: Uuid::from_bytes([id; 16]),
            endpoints: vec![endpoint("PLAINTEXT", 9092), endpoint(PEERS, 9094)],
            rack: Some("old".to_owned()),
            release: "0.1".to_owned(),
            fenced,
        })
    }

    fn seen(byte: u8, broker_id: Option<i32>, cluster_id: Option<Uuid>) -> Member {
        Member {
            node: Uuid::from_bytes([byte; 16]),
            broker_id: broker_id.map(BrokerId::new),
            cluster_address: format!("new-{byte}.example:1"),
            kafka_address: String::new(),
            rack: None,
            release: "0.2".to_owned(),
            cluster_id,
            expect: 1,
        }
    }

    #[test]
    fn everybody_is_told_of_by_what_is_newest() {
        let mut image = ClusterImage::default();
        let cluster = MetadataRecord::Cluster {
            cluster_id: CLUSTER,
            created: Timestamp::from_millis(1),
            last_broker_epoch: BrokerEpoch::new(0),
        };
        image.apply_all(&[cluster, registered(3, true), registered(1, false), registered(2, true)]);
        let other = Uuid::from_bytes([8; 16]);
        let everybody = [
            seen(7, Some(4), Some(other)),
            seen(1, Some(1), Some(CLUSTER)),
            seen(2, Some(2), Some(CLUSTER)),
            seen(5, None, None),
        ];
        let told = members(&image, &everybody, None);
        let told: Vec<String> = told
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| {
                let fields = ["broker", "state", "cluster", "kafka", "rack", "release"];
                fields.map(|field| row[field].to_string()).join(" ").replace('"', "")
            })
            .collect();
        assert_eq!(
            told,
            [
                "1 live new-1.example:1 old-1.example:9092 null 0.2",
                "2 fenced new-2.example:1 old-2.example:9092 null 0.2",
                "3 unseen old-3.example:9094 old-3.example:9092 old 0.1",
                "4 foreign new-7.example:1 null null 0.2",
                "null outside new-5.example:1 null null 0.2",
            ]
        );
        // Whom nobody counts on any more is not called live by one that the controller has left.
        let states = |own: u8| {
            let told = members(&image, &everybody, Some(Uuid::from_bytes([own; 16])));
            let states = told.as_array().expect("a list").iter().map(|row| row["state"].clone());
            states.collect::<Vec<_>>()
        };
        assert_eq!(states(1)[..3], ["live", "fenced", "unseen"]);
        assert_eq!(states(2)[..3], ["unsure", "fenced", "unseen"]);
    }
}
