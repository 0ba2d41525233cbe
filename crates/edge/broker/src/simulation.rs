//! The way in for simulations: the same broker, from the same parts, on a simulated machine.
//!
//! What `listen.http` names would be a real socket: set it to none there. The rest goes through the
//! ports of its [`World`]. See docs/decisions/0008-simulation-seams.md.

pub use crate::world::World;

use crate::context::Context;
use crate::start::{StartError, control};
use jocko_config::LoadedSettings;
use jocko_consensus::RaftStatus;
use jocko_disk::DiskRef;
use jocko_metadata::ClusterImage;
use jocko_partition::Partition;
use jocko_types::BrokerId;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A running broker seen from inside, for whoever checks what must hold.
#[derive(Clone)]
pub struct Inside {
    pub(crate) context: Arc<Context>,
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("broker", &self.node_id()).finish_non_exhaustive()
    }
}

impl Inside {
    /// Its number.
    #[must_use]
    pub fn node_id(&self) -> BrokerId {
        self.context.broker
    }

    /// The metadata it sees, and the Raft index that shows it.
    #[must_use]
    pub fn image(&self) -> (i64, ClusterImage) {
        let published = self.context.published.load();
        (published.index, published.image.clone())
    }

    /// The partitions it hosts.
    #[must_use]
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.context.published.load().partitions.values().cloned().collect()
    }

    /// Raft's group as it sees it.
    #[must_use]
    pub fn raft_status(&self) -> RaftStatus {
        self.context.raft.status()
    }
}

/// A broker's whole life, as a task of its process: it comes up, says so, and stops in order when
/// `stop` is sent or dropped. A kill is what the process does to it
/// ([`jocko_net::ports::Process`]).
///
/// # Errors
/// What went wrong at its start, in its life, or at its stop.
pub async fn live(
    settings: LoadedSettings,
    disk: DiskRef,
    world: World,
    up: oneshot::Sender<Result<Inside, StartError>>,
    stop: oneshot::Receiver<()>,
) -> Result<(), String> {
    let ready = |outcome: Result<crate::start::Ready, StartError>| {
        // Whoever started it may have lost interest.
        let _ = up.send(outcome.map(|ready| ready.inside));
    };
    control(Arc::new(settings), disk, || Ok(world), ready, stop).await
}
