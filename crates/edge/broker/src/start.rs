//! The broker as its owner holds it: started, asked where it is, stopped.

use crate::assembly::bring_up;
use crate::simulation::Inside;
use crate::world::World;
use jocko_commitlog::data_dir::DataDirFault;
use jocko_config::LoadedSettings;
use jocko_disk::{DiskFault, DiskRef};
use jocko_types::{BrokerId, Uuid};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Why a broker cannot start. Each says what happened, and most what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// The system's word.
        source: io::Error,
    },
    /// No server can be started on the Kafka addresses; the system's word names which.
    #[error(transparent)]
    Serve(io::Error),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirFault),
    /// The disk failed at once.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// Raft cannot start.
    #[error("cannot start the metadata log: {0}")]
    Raft(#[from] jocko_consensus::StartError),
    /// A thread or runtime cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The controller refused this broker.
    #[error("the controller refused this broker: {0}")]
    Refused(String),
    /// The metadata log was written by another data directory than the one it lies in.
    #[error(
        "{} does not belong to the metadata log beside it: it holds directory id {directory_id}, \
         and the log has {} for its voter",
        meta.display(), listed(voters)
    )]
    Mismatched {
        /// The file that says which directory this is.
        meta: PathBuf,
        /// What it says.
        directory_id: Uuid,
        /// The directories that vote by the log.
        voters: Vec<Uuid>,
    },
    /// The brokers that were found belong to another cluster than this directory.
    #[error(
        "this data directory belongs to cluster {own}, and the broker at {address} to cluster \
         {theirs}"
    )]
    Foreign {
        /// This directory's cluster.
        own: Uuid,
        /// The other one.
        theirs: Uuid,
        /// A member of that.
        address: String,
    },
    /// A copy of this directory is a running broker's.
    #[error(
        "the broker at {address} runs with this directory's id, {directory_id}: one of the two \
         directories is a copy of the other"
    )]
    Copy {
        /// Where the other one is.
        address: String,
        /// What both say.
        directory_id: Uuid,
    },
    /// Gossip cannot start.
    #[error("{0}")]
    Gossip(String),
    /// Nothing was elected, or the control thread ended.
    #[error("the metadata log did not become ready: {0}")]
    NotReady(String),
}

fn listed(ids: &[Uuid]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A broker that is coming up. Dropping it gives it up at the next step of its start, and what it
/// had not finished is recovered by the next.
#[derive(Debug)]
pub struct Starting {
    started: oneshot::Receiver<Result<Ready, StartError>>,
    /// Taken when it has started.
    threads: Option<Threads>,
}

/// What runs, from the first step of a start on.
#[derive(Debug)]
struct Threads {
    /// Sent or dropped, it ends the control thread.
    stop: oneshot::Sender<()>,
    control: JoinHandle<Result<(), String>>,
}

/// A running broker. Dropping it stops it as [`Broker::stop`] does.
#[derive(Debug)]
pub struct Broker {
    stop: Option<oneshot::Sender<()>>,
    control: Option<JoinHandle<Result<(), String>>>,
    addresses: Vec<SocketAddr>,
    http_addresses: Vec<SocketAddr>,
    node_id: BrokerId,
    cluster_id: Uuid,
}

/// What the control thread says once clients are served.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) http_addresses: Vec<SocketAddr>,
    pub(crate) node_id: BrokerId,
    pub(crate) cluster_id: Uuid,
    pub(crate) inside: Inside,
}

impl Broker {
    /// Starts a broker over a disk and serves clients when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs on then.
    pub fn start(settings: LoadedSettings, disk: DiskRef) -> Result<Self, StartError> {
        // Not tokio's: whoever calls this may be one of its tasks.
        let (sender, started) = std::sync::mpsc::sync_channel(1);
        let threads = Threads::start(settings, disk, move |outcome| {
            // Whoever started us waits for this.
            let _ = sender.send(outcome);
        })?;
        threads.into_broker(started.recv().ok())
    }

    /// Starts a broker, and does not wait for it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn begin(settings: LoadedSettings, disk: DiskRef) -> Result<Starting, StartError> {
        let (sender, started) = oneshot::channel();
        let threads = Threads::start(settings, disk, move |outcome| {
            // Whoever has given the start up has dropped the other end of `stop`, too.
            let _ = sender.send(outcome);
        })?;
        Ok(Starting { started, threads: Some(threads) })
    }

    /// Where Kafka clients are served.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where health and metrics are served; empty if they are not.
    #[must_use]
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http_addresses
    }

    /// This broker's number.
    #[must_use]
    pub fn node_id(&self) -> BrokerId {
        self.node_id
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> Uuid {
        self.cluster_id
    }

    /// Whether it still runs; it ends by itself only when its metadata log fails, or another process
    /// has taken its place in the cluster.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.control.as_ref().is_some_and(|control| !control.is_finished())
    }

    /// Lets requests under way finish, makes everything durable and marks the stop as clean.
    ///
    /// # Errors
    /// Why the stop was not clean: the next start recovers.
    pub fn stop(mut self) -> Result<(), String> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), String> {
        if let Some(stop) = self.stop.take() {
            // The control thread may have ended by itself.
            let _ = stop.send(());
        }
        match self.control.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err("the control thread panicked".to_owned()),
            None => Ok(()),
        }
    }
}

impl Starting {
    /// Waits until clients are served. May be given up and called again, but not after it has
    /// answered.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs on then.
    pub async fn ready(&mut self) -> Result<Broker, StartError> {
        let started = (&mut self.started).await.ok();
        let ended = || StartError::NotReady("its start has ended already".to_owned());
        self.threads.take().ok_or_else(ended)?.into_broker(started)
    }

    /// Gives the start up, and waits until nothing of it runs on. One that has touched nothing leaves
    /// all as it was; one that is through is stopped in order.
    pub fn give_up(mut self) {
        if let Some(Threads { stop, control }) = self.threads.take() {
            drop(stop);
            // How it ended makes no difference.
            let _ = control.join();
        }
    }
}

impl Threads {
    fn start(
        settings: LoadedSettings,
        disk: DiskRef,
        ready: impl FnOnce(Result<Ready, StartError>) + Send + 'static,
    ) -> Result<Self, StartError> {
        let (stop, stopped) = oneshot::channel();
        let control = std::thread::Builder::new().name("jocko-control".to_owned()).spawn(
            move || -> Result<(), String> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| error.to_string())?;
                runtime.block_on(control(
                    Arc::new(settings),
                    disk,
                    World::production,
                    ready,
                    stopped,
                ))
            },
        )?;
        Ok(Self { stop, control })
    }

    fn into_broker(self, started: Option<Result<Ready, StartError>>) -> Result<Broker, StartError> {
        match started {
            Some(Ok(ready)) => Ok(Broker {
                stop: Some(self.stop),
                control: Some(self.control),
                addresses: ready.addresses,
                http_addresses: ready.http_addresses,
                node_id: ready.node_id,
                cluster_id: ready.cluster_id,
            }),
            Some(Err(error)) => {
                // It has said why; its end adds nothing.
                let _ = self.control.join();
                Err(error)
            }
            None => Err(StartError::NotReady("the control thread ended".to_owned())),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(reason) = self.finish() {
            tracing::error!(reason, "stopped uncleanly");
        }
    }
}

/// The control thread's whole life.
pub(crate) async fn control(
    settings: Arc<LoadedSettings>,
    disk: DiskRef,
    world: impl FnOnce() -> io::Result<World>,
    ready: impl FnOnce(Result<Ready, StartError>),
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), String> {
    let coming_up = async { bring_up(settings, disk, world()?).await };
    let up = tokio::select! {
        biased;
        up = coming_up => up,
        // Nobody waits for it any more.
        _ = &mut stopped => return Err("given up before it was ready".to_owned()),
    };
    let (running, facts) = match up {
        Ok(up) => up,
        Err(error) => {
            let words = error.to_string();
            ready(Err(error));
            return Err(words);
        }
    };
    let mut raft_status = running.raft.watch();
    let mut displaced = running.watch_displaced();
    ready(Ok(facts));
    tokio::select! {
        biased;
        _ = stopped => running.bring_down().await,
        fatal = raft_status.wait_for(|status| status.fatal.is_some()) => {
            let reason = fatal.and_then(|status| status.fatal).unwrap_or_else(|| "it ended".into());
            tracing::error!(%reason, "the metadata log failed; this broker cannot go on");
            Err(format!("the metadata log failed, look at the disk: {reason}"))
        }
        // What it would still write, on a copy of the directory, is of no use to anybody.
        Ok(displaced) = displaced.wait_for(Option::is_some) => {
            Err(displaced.clone().unwrap_or_default())
        }
    }
}
