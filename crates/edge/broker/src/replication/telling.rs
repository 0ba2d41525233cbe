//! Telling leaders what this disk holds, after each flush: one way, past questions that wait. What
//! is lost is said again with the next question.

use super::wire::{Held, Progress};
use super::{Own, PROGRESS, place_of};
use crate::context::Context;
use jocko_net::peers::{Lane, PeerTarget};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn run(context: Arc<Context>, own: Own) {
    loop {
        let mut by_leader: BTreeMap<_, Vec<Held>> = BTreeMap::new();
        for (key, claim) in context.outbox.claims().await {
            let held = Held { key, leader_epoch: claim.leader_epoch, end: claim.end };
            by_leader.entry(claim.leader).or_default().push(held);
        }
        for (leader, held) in by_leader {
            let Some((node, address)) = place_of(&context, leader) else { continue };
            let body = Progress::of(own, held).to_bytes();
            let target = PeerTarget::node(node, &address);
            // A full queue is a broken way: the next question says it again.
            let _ = context.cluster.peers.tell(target, Lane::Data, PROGRESS, body);
        }
    }
}
