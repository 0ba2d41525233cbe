//! What this broker answers on the cluster port, and to whom. Brokers of this cluster may say all;
//! a blank one may ask who is there, form a cluster, or ask to be let in.

use super::{Cluster, entering, forwarding, heartbeats, kinds, who};
use crate::quorum;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jocko_forming::Envelope;
use jocko_net::peers::{PeerIdentity, PeerRefusal, PeerService};
use std::sync::Arc;

/// The service behind the cluster port.
pub(crate) struct ClusterService(pub(crate) Arc<Cluster>);

type Answer = Result<Vec<Bytes>, PeerRefusal>;

impl PeerService for ClusterService {
    fn call(&self, from: &PeerIdentity, kind: u16, body: Bytes) -> BoxFuture<'static, Answer> {
        let from = *from;
        if kind >= kinds::REPLICATION {
            return match self.0.replication.get().filter(|_| self.0.is_ours(&from)) {
                Some(service) => service.call(&from, kind, body),
                None => Box::pin(async { Err(not_ready("no replication here yet")) }),
            };
        }
        let cluster = Arc::clone(&self.0);
        Box::pin(async move { answer(cluster, from, kind, body).await })
    }

    fn told(&self, from: &PeerIdentity, kind: u16, body: Bytes) {
        if kind >= kinds::REPLICATION {
            if let Some(service) = self.0.replication.get().filter(|_| self.0.is_ours(from)) {
                service.told(from, kind, body);
            }
            return;
        }
        if kind == kinds::FORMING
            && let Ok(envelope) = Envelope::from_bytes(&body)
            && envelope.from.node == from.node
        {
            // What finds no room is sent again.
            let _ = self.0.forming.try_send(envelope);
        }
    }
}

impl Cluster {
    /// Whether a peer is a broker of the cluster that this one belongs to.
    fn is_ours(&self, from: &PeerIdentity) -> bool {
        from.cluster_id.is_some() && from.cluster_id == self.identity.get().cluster_id
    }
}

pub(super) fn not_ready(words: impl Into<String>) -> PeerRefusal {
    PeerRefusal::new(kinds::NOT_READY, words)
}

async fn answer(cluster: Arc<Cluster>, from: PeerIdentity, kind: u16, body: Bytes) -> Answer {
    match kind {
        kinds::WHO => return Ok(vec![who::describe(&cluster)]),
        kinds::ADMIT => return entering::admit(&cluster, &from, &body).await,
        _ if !cluster.is_ours(&from) => {
            let words = format!("{from} is no broker of this cluster");
            return Err(PeerRefusal::new(kinds::NOT_YOURS, words));
        }
        _ => {}
    }
    match kind {
        kinds::RAFT => raft(&cluster, &body).await,
        kinds::SUBMIT => {
            let is_formed = cluster.published.load().image.cluster_id().is_some();
            match cluster.controller.get() {
                Some(controller) if is_formed && cluster.raft.status().is_serving => {
                    forwarding::serve(&cluster, controller.clone(), body).await
                }
                _ => Err(not_ready("this broker does not lead")),
            }
        }
        kinds::QUORUM => quorum::serve(&cluster, &body).await,
        kinds::HEARTBEAT => heartbeats::hear(&cluster, &body).await,
        _ => Err(PeerRefusal::new(kinds::MALFORMED, format!("there is no call {kind}"))),
    }
}

async fn raft(cluster: &Cluster, body: &Bytes) -> Answer {
    let malformed = || PeerRefusal::new(kinds::MALFORMED, "too short for a message of Raft");
    let id_bytes = cluster.node.as_bytes().len();
    let target = body.get(..id_bytes).ok_or_else(malformed)?;
    if target != cluster.node.as_bytes() {
        let words = format!("meant for another node than {}", cluster.node);
        return Err(PeerRefusal::new(kinds::NOT_YOURS, words));
    }
    match cluster.raft.serve(body.slice(id_bytes..)).await {
        Ok(answer) => Ok(vec![answer]),
        Err(error) => Err(PeerRefusal::new(kinds::MALFORMED, error.to_string())),
    }
}
