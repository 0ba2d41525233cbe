//! The composition root: in which order the parts of a broker come up, and go.

use crate::cleaner::{self, Cleaner};
use crate::context::Context;
use crate::controller::{ControllerHandle, ControllerLoop, Undecided};
use crate::data_dir::SharedDataDir;
use crate::disk_guard::DiskGuard;
use crate::flusher::{self, Flusher};
use crate::groups::{self, Groups};
use crate::housekeeping::{self, store_checkpoints};
use crate::limits::{self, LimitKeeper};
use crate::listen::{self, Http};
use crate::log_starts::LogStarts;
use crate::machine;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::published::Published;
use crate::publisher::{Hosting, Publisher};
use crate::start::{Ready, StartError};
use arc_swap::ArcSwap;
use bytes::Bytes;
use jocko_commitlog::data_dir::{DataDir, DataDirFault, LastStop, META};
use jocko_config::LoadedSettings;
use jocko_consensus::{NoNetwork, NodeId, Peer, Raft, RaftConfig};
use jocko_disk::{DiskRef, FlushPlan};
use jocko_fetch::{Limits, Sessions};
use jocko_metadata::{BrokerRegistration, Command, Endpoint, Reply, bootstrap, encode_entry};
use jocko_net::ports::{Bell, Ports, RoutineHandle, run_on};
use jocko_net::{ReactorSettings, Reactors, Server};
use jocko_partition::{Effects, Partition, Unclosed, close_together, flush_together};
use jocko_types::{BrokerEpoch, BrokerId, Uuid};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The Raft log's folder in the data directory.
const METADATA_FOLDER: &str = "__cluster_metadata-0";
/// Threads for work that may block: cold reads, recovery, retention.
const WORKERS: usize = 4;
/// How long a lone voter may take to elect itself before something is wrong.
const ELECTION_MAX: Duration = Duration::from_secs(30);

/// All that runs, in the order in which it is stopped.
pub(crate) struct Running {
    server: Server,
    http: Http,
    housekeeping: tokio::task::JoinHandle<()>,
    groups: tokio::task::JoinHandle<()>,
    flushing: RoutineHandle,
    cleaning: RoutineHandle,
    limiting: RoutineHandle,
    context: Arc<Context>,
    data_dir: SharedDataDir,
    broker_epoch: BrokerEpoch,
    pub(crate) raft: Raft,
    reactors: Reactors,
    grace: Duration,
}

#[allow(clippy::too_many_lines, reason = "one list, in the order in which things must happen")]
pub(crate) async fn bring_up(
    settings: Arc<LoadedSettings>,
    disk: DiskRef,
) -> Result<(Running, Ready), StartError> {
    let ports = Ports::production(WORKERS)?;
    let reactors = Reactors::start(&reactor_settings(&settings), &ports)?;
    let root = settings.settings().node.data_dir.clone();
    let (mut data_dir, last_stop) = open_data_dir(&settings, &disk, &root)?;
    let checkpoints = data_dir.load_checkpoints()?;
    for folder in data_dir.trash()? {
        data_dir.remove_trash(&folder)?;
    }
    let identity = *data_dir.identity();
    let node_id = settings
        .settings()
        .node
        .id
        .set()
        .map(|id| id.0)
        .or(identity.owner.map(|(_, node_id)| node_id))
        .unwrap_or(BrokerId::new(1));
    let data_dir = SharedDataDir::new(data_dir);
    let guard = Arc::new(DiskGuard::new(Arc::clone(&disk), &root, &settings));
    let mut plan = FlushPlan::new(Arc::clone(&disk), root.clone())?;
    let published = Arc::new(ArcSwap::from_pointee(Published::default()));
    let metadata_bell = Bell::default();
    let hosting = Hosting {
        broker: node_id,
        disk: Arc::clone(&disk),
        root: root.clone(),
        data_dir: data_dir.clone(),
        checkpoints,
        is_clean: last_stop.clean.is_some(),
        started: ports.clock.wall(),
        settings: Arc::clone(&settings),
        mailboxes: reactors.mailboxes(),
        bell: metadata_bell.clone(),
    };
    let publisher = Publisher::new(Arc::clone(&published), hosting);
    // A start writes to the metadata log, too.
    guard.make_room_for_metadata();
    let no_room = |error| say_if_full(error, &guard, &root);
    let raft = start_raft(&root, identity.directory_id, &disk, &ports, publisher)
        .await
        .map_err(no_room)?;
    let cluster_id = form_cluster(&raft, &published, &ports).await.map_err(no_room)?;
    data_dir.with(|data_dir| data_dir.claim(cluster_id, node_id)).transpose()?;
    let (deciding, controller) = ControllerLoop::new(
        raft.clone(),
        Arc::clone(&published),
        Arc::clone(&settings),
        Arc::clone(&ports.clock),
        Arc::clone(&guard),
    );
    tokio::spawn(deciding.run());
    let broker_epoch = register(&controller, &settings, node_id, cluster_id, identity.directory_id)
        .await
        .map_err(no_room)?;
    if last_stop.clean.is_none() && !last_stop.created {
        data_dir.set_strays_aside(&published.load().image)?;
        plan = recover(&published, &ports, &data_dir, plan).await?;
    }
    let shards = reactors.count();
    let context = Arc::new(Context {
        broker: node_id,
        published,
        controller,
        clock: Arc::clone(&ports.clock),
        flusher: Flusher::default(),
        cleaner: Cleaner::default(),
        limits: LimitKeeper::woken_by(metadata_bell),
        guard,
        producer_ids: ProducerIds::new(node_id, broker_epoch),
        groups: Groups::new(Arc::clone(&ports.spawn)),
        metrics: Metrics::new(),
        mailboxes: reactors.mailboxes(),
        addresses: OnceLock::new(),
        connection_limits: OnceLock::new(),
        fetch_shards: (0..shards).map(|_| Mutex::new(Sessions::new(Limits::default()))).collect(),
        settings: Arc::clone(&settings),
        raft: raft.clone(),
        log_starts: LogStarts::new(data_dir.clone()),
    });
    let flushing = flusher::start(Arc::clone(&context), plan, &*ports.spawn)?;
    let cleaning = cleaner::start(Arc::clone(&context), data_dir.clone(), &*ports.spawn)?;
    let limiting = limits::start(Arc::clone(&context), data_dir.clone(), &*ports.spawn)?;
    // First, so that whoever finds Kafka's port open finds this one too.
    let http = listen::serve_http(&settings, &context, &raft, &reactors)?;
    let server = listen::serve_kafka(&settings, &reactors, &context)?;
    // Set once, just now.
    let _ = context.addresses.set(server.addresses().to_vec());
    let _ = context.connection_limits.set(server.limits());
    let groups = tokio::spawn(groups::run(Arc::clone(&context)));
    let housekeeping = tokio::spawn(housekeeping::run(
        Arc::clone(&context),
        data_dir.clone(),
        Arc::clone(&ports.spawn),
    ));
    let facts = Ready {
        addresses: server.addresses().to_vec(),
        http_addresses: http.addresses.clone(),
        node_id,
        cluster_id,
    };
    let grace = settings.settings().node.shutdown_grace;
    let running = Running {
        server,
        http,
        housekeeping,
        groups,
        flushing,
        cleaning,
        limiting,
        context,
        data_dir,
        broker_epoch,
        raft,
        reactors,
        grace,
    };
    Ok((running, facts))
}

/// Opens the data directory, unless an address cannot be listened on: then it is left as it was
/// found, or not made, so that a second try after a slip of the hand finds the clean stop of the
/// last run.
fn open_data_dir(
    settings: &LoadedSettings,
    disk: &DiskRef,
    root: &Path,
) -> Result<(DataDir, LastStop), StartError> {
    if let Err(refused) = listen::refuse_unusable(settings) {
        // Whoever has the addresses may have the directory: the same broker, started twice.
        return Err(match DataDir::is_locked(disk, root) {
            true => DataDirFault::Locked { path: root.to_owned() }.into(),
            false => refused,
        });
    }
    Ok(DataDir::open(Arc::clone(disk), root, random_uuid(), machine::boot_id())?)
}

impl Running {
    /// Stops in the order that loses nothing: no more requests, then no more changes, then every
    /// byte to disk, then the mark of a clean stop.
    pub(crate) async fn bring_down(self) -> Result<(), String> {
        tracing::info!("stopping");
        // Beside each other, so that both have the whole grace.
        tokio::join!(self.server.stop(self.grace), self.http.stop());
        self.groups.abort();
        self.housekeeping.abort();
        // Aborted, or ended: it makes no difference.
        let _ = self.groups.await;
        let _ = self.housekeeping.await;
        self.context.cleaner.stop();
        self.context.limits.stop();
        over(self.cleaning, "the cleaner").await?;
        over(self.limiting, "the keeper of limits").await?;
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the metadata log did not stop cleanly");
        }
        self.context.flusher.stop();
        over(self.flushing, "the flusher").await?;
        let mut plan = self.context.flusher.take_plan().ok_or("the flusher kept its plan")?;
        let partitions: Vec<Arc<Partition>> =
            self.context.published.load().partitions.values().cloned().collect();
        let context = &self.context;
        let unclosed = close_together(&mut plan, &partitions, |effects| {
            context.deliver(&effects.released);
        });
        for Unclosed { partition, fault } in &unclosed {
            tracing::error!(partition = %partition.name(), %fault, "log not closed cleanly");
        }
        let stored = store_checkpoints(&context.published.load(), &self.data_dir);
        self.reactors.stop();
        if let Some(Unclosed { fault, .. }) = unclosed.first() {
            return Err(format!(
                "{} logs were not closed cleanly; the first: {fault}",
                unclosed.len()
            ));
        }
        stored.map_err(|fault| fault.to_string())?;
        if let Some(data_dir) = self.data_dir.take() {
            data_dir.mark_clean(self.broker_epoch).map_err(|fault| fault.to_string())?;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

async fn over(routine: RoutineHandle, who: &str) -> Result<(), String> {
    if routine.ended().await { Ok(()) } else { Err(format!("{who} panicked")) }
}

fn reactor_settings(settings: &LoadedSettings) -> ReactorSettings {
    let settings = settings.settings();
    let threads = settings
        .node
        .threads
        .set()
        .map_or(0, |threads| usize::try_from(threads.get()).unwrap_or(usize::MAX));
    let memory = settings.limits.memory.set();
    ReactorSettings {
        count: threads,
        memory_bytes_max: memory
            .map_or_else(|| machine::memory_bytes() / 4, |bytes| bytes.as_usize()),
        ..ReactorSettings::default()
    }
}

async fn start_raft(
    root: &Path,
    directory_id: Uuid,
    disk: &DiskRef,
    ports: &Ports,
    publisher: Publisher,
) -> Result<Raft, StartError> {
    // Alone, nobody needs to reach it; the cluster port comes with the second broker.
    let peer = Peer::at("localhost:9093");
    let config = RaftConfig::new(NodeId::new(directory_id), peer, root.join(METADATA_FOLDER));
    let raft = Raft::start(
        config,
        Arc::clone(disk),
        Arc::clone(&ports.spawn),
        Box::new(publisher),
        Arc::new(NoNetwork),
    )
    .await?;
    let voters = raft.voters_found();
    // A lone broker is its group's only voter. Another id in the log would never be elected.
    if !voters.is_empty() && !voters.contains(&NodeId::new(directory_id)) {
        let voters = voters.iter().map(|voter| voter.directory_id()).collect();
        return Err(StartError::Mismatched { meta: root.join(META), directory_id, voters });
    }
    if raft.is_blank() {
        raft.bootstrap_single().await?;
    }
    let mut status = raft.watch();
    let serving = status.wait_for(|status| status.is_serving || status.fatal.is_some());
    match tokio::time::timeout(ELECTION_MAX, serving).await {
        Ok(Some(status)) if status.is_serving => Ok(raft),
        Ok(Some(status)) => {
            Err(StartError::NotReady(status.fatal.as_deref().unwrap_or("it ended").to_owned()))
        }
        Ok(None) => Err(StartError::NotReady("it ended".to_owned())),
        Err(_) => Err(StartError::NotReady(format!("no leader within {ELECTION_MAX:?}"))),
    }
}

/// The cluster's id; a blank node forms a cluster of its own first.
async fn form_cluster(
    raft: &Raft,
    published: &ArcSwap<Published>,
    ports: &Ports,
) -> Result<Uuid, StartError> {
    if let Some(id) = published.load().image.cluster_id() {
        return Ok(id);
    }
    let id = random_uuid();
    let records = bootstrap(id, ports.clock.wall());
    raft.propose(Bytes::from(encode_entry(&records)))
        .await
        .map_err(|error| StartError::NotReady(error.to_string()))?;
    Ok(id)
}

/// Where the disk is full, that is why a start fails, whatever its last step was.
fn say_if_full(error: StartError, guard: &DiskGuard, root: &Path) -> StartError {
    if !guard.is_full() {
        return error;
    }
    let root = root.display();
    StartError::NotReady(format!(
        "the disk that holds {root} is full, and the ballast is used up: make room there and start \
         again ({error})"
    ))
}

/// Makes this process the broker of that number, and lets it lead.
async fn register(
    controller: &ControllerHandle,
    settings: &LoadedSettings,
    node_id: BrokerId,
    cluster_id: Uuid,
    directory: Uuid,
) -> Result<BrokerEpoch, StartError> {
    let undecided = |Undecided(code)| StartError::Refused(code.to_string());
    let settings = settings.settings();
    let endpoints = settings.listen.kafka.iter().next().map(|address| Endpoint {
        listener: "PLAINTEXT".to_owned(),
        host: address.host.clone(),
        port: address.port,
    });
    let registration = BrokerRegistration {
        broker_id: Some(node_id),
        cluster_id: Some(cluster_id),
        incarnation: random_uuid(),
        directory,
        endpoints: endpoints.into_iter().collect(),
        rack: Some(settings.node.rack.clone()).filter(|rack| !rack.is_empty()),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        ..BrokerRegistration::default()
    };
    let reply =
        controller.submit(Command::RegisterBroker(registration)).await.map_err(undecided)?;
    let Reply::RegisterBroker(answer) = reply else {
        unreachable!("each command has its own kind of reply")
    };
    let registered = answer.map_err(|refusal| StartError::Refused(refusal.message))?;
    let heartbeat = Command::BrokerHeartbeat {
        broker_id: registered.broker_id,
        broker_epoch: registered.broker_epoch,
        want_fence: false,
        want_shutdown: false,
    };
    let reply = controller.submit(heartbeat).await.map_err(undecided)?;
    let Reply::BrokerHeartbeat(answer) = reply else {
        unreachable!("each command has its own kind of reply")
    };
    answer.map_err(|refusal| StartError::Refused(refusal.message))?;
    Ok(registered.broker_epoch)
}

/// After an unclean stop every log is opened, and so recovered, before anybody is served. What
/// they keep is synced for all of them together, and the checkpoints say so: another crash finds
/// nothing to do again.
async fn recover(
    published: &ArcSwap<Published>,
    ports: &Ports,
    data_dir: &SharedDataDir,
    mut plan: FlushPlan,
) -> Result<FlushPlan, StartError> {
    let partitions: Vec<Arc<Partition>> = published.load().partitions.values().cloned().collect();
    let started = ports.clock.now();
    let count = partitions.len();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let partitions = Arc::new(partitions);
    let work = || {
        let (next, partitions) = (Arc::clone(&next), Arc::clone(&partitions));
        run_on(&*ports.spawn, move || {
            loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(partition) = partitions.get(at) else { return };
                if partition.has_files() {
                    // What cannot be opened says so in the log and answers with errors.
                    let _ = partition.prepare();
                }
            }
        })
    };
    let workers: Vec<_> = (0..WORKERS).map(|_| work()).collect();
    for worker in workers {
        if worker.await.is_none() {
            return Err(StartError::NotReady("recovery did not finish".to_owned()));
        }
    }
    let (published, data_dir) = (published.load_full(), data_dir.clone());
    let synced = run_on(&*ports.spawn, move || {
        // Nobody is served yet, so nobody waits for what this releases.
        let nobody = |effects: Effects| debug_assert!(effects.released.is_empty());
        flush_together(&mut plan, published.partitions.values().cloned(), nobody);
        // A full disk must not stop the start: topics can be deleted then, to make room.
        if let Err(fault) = store_checkpoints(&published, &data_dir) {
            tracing::warn!(%fault, "checkpoints were not written; recovery would take longer");
        }
        plan
    });
    let plan =
        synced.await.ok_or_else(|| StartError::NotReady("recovery did not finish".to_owned()))?;
    let took = ports.clock.now().since(started);
    tracing::info!(
        partitions = count,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "recovered after an unclean stop"
    );
    Ok(plan)
}

fn random_uuid() -> Uuid {
    loop {
        let id = Uuid::from_random(fastrand::u128(..).to_be_bytes());
        // A leading dash would look like a flag on a command line.
        if !id.is_reserved() && !id.to_string().starts_with('-') {
            return id;
        }
    }
}
