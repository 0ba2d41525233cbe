//! Copies of partitions: what this broker follows is fetched from its leaders, what it leads is
//! handed to its followers. What is right to do is decided by `core/replica`, under the lock of each
//! partition (`jocko_partition`); here are only the ways: one task per leader that fetches, the
//! service that answers, one task that tells leaders what reached the disk, one that has in-sync
//! sets decided. The story is in docs/internals/replication.md.
//!
//! A broker without others runs none of this: two tasks sleep until there is an image with a
//! partition to follow or to lead for others.

mod fetching;
pub(crate) mod mending;
mod outbox;
mod proposing;
mod serving;
mod telling;
mod throttling;
mod watching;
mod wire;

pub(crate) use outbox::Outbox;
pub(crate) use serving::ReplicationService;

use crate::cluster::kinds;
use crate::context::Context;
use crate::publisher::assignment;
use jocko_net::ports::spawn;
use jocko_types::{BrokerEpoch, BrokerId, Uuid};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A follower asks for records.
const FETCH: u16 = kinds::REPLICATION;
/// One way: a follower tells what its disk holds.
const PROGRESS: u16 = kinds::REPLICATION + 1;

/// How long a question waits for records at the leader.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// The most bytes of records that an answer brings, but for a single larger batch.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The most of these for one partition.
const PARTITION_BYTES_MAX: usize = 2 << 20;

/// Who this broker is to the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    pub(crate) broker: BrokerId,
    pub(crate) broker_epoch: BrokerEpoch,
}

/// Starts what replication does by itself. The tasks end when they are aborted.
pub(crate) fn start(context: &Arc<Context>, broker_epoch: BrokerEpoch) -> Vec<JoinHandle<()>> {
    let own = Own { broker: context.broker, broker_epoch };
    meet_again(context, own);
    context.cluster.serve_replication(Arc::new(ReplicationService(Arc::downgrade(context))));
    vec![
        spawn(watching::run(Arc::clone(context), own)),
        spawn(telling::run(Arc::clone(context), own)),
        spawn(proposing::run(Arc::clone(context), own)),
    ]
}

/// Tells partitions what the image says now that it is known which of its brokers this process is.
/// Where this one is alone that makes no difference.
fn meet_again(context: &Context, own: Own) {
    let published = context.published.load();
    if published.image.brokers().nth(1).is_none() {
        return;
    }
    for (key, partition) in &published.partitions {
        if let Some(state) = published.image.partition(key.topic_id, key.partition) {
            let registered = Some(own.broker_epoch);
            let assignment = assignment(&published.image, own.broker, registered, state);
            let effects = partition.assign(assignment);
            context.carry_out(partition, effects);
        }
    }
    context.outbox.image_changed();
}

/// Where a broker's cluster port is, and the node that must answer there.
fn place_of(context: &Context, broker: BrokerId) -> Option<(Uuid, String)> {
    let published = context.published.load();
    let registration = &published.image.broker(broker)?.registration;
    let known = registration
        .endpoints
        .iter()
        .find(|endpoint| endpoint.listener == crate::cluster::addresses::PEERS)
        .map(|endpoint| crate::cluster::addresses::joined(&endpoint.host, endpoint.port));
    let address = context.cluster.book.find(registration.directory, known.as_deref().unwrap_or(""));
    (!address.is_empty()).then_some((registration.directory, address))
}
