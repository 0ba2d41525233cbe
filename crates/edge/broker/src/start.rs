//! The broker as its owner holds it: started, asked where it is, stopped.

use crate::assembly::bring_up;
use jocko_commitlog::data_dir::DataDirFault;
use jocko_config::LoadedSettings;
use jocko_disk::{DiskFault, DiskRef};
use jocko_types::{BrokerId, Uuid};
use std::io;
use std::net::SocketAddr;
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
    /// Nothing was elected, or the control thread ended.
    #[error("the metadata log did not become ready: {0}")]
    NotReady(String),
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
pub(crate) struct Ready {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) http_addresses: Vec<SocketAddr>,
    pub(crate) node_id: BrokerId,
    pub(crate) cluster_id: Uuid,
}

impl Broker {
    /// Starts a broker over a disk and serves clients when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs on then.
    pub fn start(settings: LoadedSettings, disk: DiskRef) -> Result<Self, StartError> {
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let control = std::thread::Builder::new().name("jocko-control".to_owned()).spawn(
            move || -> Result<(), String> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| error.to_string())?;
                runtime.block_on(control(Arc::new(settings), disk, ready, stopped))
            },
        )?;
        match started.recv() {
            Ok(Ok(ready)) => Ok(Self {
                stop: Some(stop),
                control: Some(control),
                addresses: ready.addresses,
                http_addresses: ready.http_addresses,
                node_id: ready.node_id,
                cluster_id: ready.cluster_id,
            }),
            Ok(Err(error)) => {
                // It has said why; its end adds nothing.
                let _ = control.join();
                Err(error)
            }
            Err(_) => Err(StartError::NotReady("the control thread ended".to_owned())),
        }
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

    /// Whether it still runs; it ends by itself only when its metadata log fails.
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

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(reason) = self.finish() {
            tracing::error!(reason, "stopped uncleanly");
        }
    }
}

/// The control thread's whole life.
async fn control(
    settings: Arc<LoadedSettings>,
    disk: DiskRef,
    ready: std::sync::mpsc::SyncSender<Result<Ready, StartError>>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), String> {
    let (running, facts) = match bring_up(settings, disk).await {
        Ok(up) => up,
        Err(error) => {
            let words = error.to_string();
            // Whoever started us waits for this.
            let _ = ready.send(Err(error));
            return Err(words);
        }
    };
    let mut raft_status = running.raft.watch();
    if ready.send(Ok(facts)).is_err() {
        return Err("whoever started the broker is gone".to_owned());
    }
    tokio::select! {
        _ = stopped => running.bring_down().await,
        fatal = raft_status.wait_for(|status| status.fatal.is_some()) => {
            let reason = fatal.and_then(|status| status.fatal).unwrap_or_else(|| "it ended".into());
            tracing::error!(%reason, "the metadata log failed; this broker cannot go on");
            Err(format!("the metadata log failed: {reason}"))
        }
    }
}
