//! The composition root: in which order the parts of a broker come up, and go.

mod entry;
mod leaving;

use crate::cleaner::{self, Cleaner};
use crate::cluster::{self, Beating, Waiting};
use crate::context::Context;
use crate::data_dir::SharedDataDir;
use crate::disk_guard::DiskGuard;
use crate::disk_health::{DiskHealth, FlushPace};
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
use crate::replication::{self, Outbox};
use crate::simulation::Inside;
use crate::start::{Ready, StartError};
use crate::world::{WORKERS, World};
use arc_swap::ArcSwap;
use entry::{Entered, Ground};
use jocko_commitlog::data_dir::{DataDir, DataDirFault, LastStop};
use jocko_config::LoadedSettings;
use jocko_consensus::Raft;
use jocko_disk::{DiskRef, FlushPlan, WatchedDisk};
use jocko_fetch::{Limits, Sessions};
use jocko_net::peers::PeerServer;
use jocko_net::ports::{Bell, Ports, RoutineHandle, SteadyClock, run_on, spawn};
use jocko_net::{ReactorSettings, Reactors, Server};
use jocko_partition::{Effects, Partition, Unclosed, close_together, flush_together};
use jocko_types::{BrokerEpoch, Uuid};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

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
    beating: Beating,
    /// What has to do with other brokers: the heart, the keeper, and the look around.
    company: Vec<tokio::task::JoinHandle<()>>,
    peer_server: Option<PeerServer>,
    grace: Duration,
}

#[allow(clippy::too_many_lines, reason = "one list, in the order in which things must happen")]
pub(crate) async fn bring_up(
    settings: Arc<LoadedSettings>,
    disk: DiskRef,
    world: World,
) -> Result<(Running, Ready), StartError> {
    let reactors = world.reactors(&reactor_settings(&settings))?;
    let (disk, disk_errors) = WatchedDisk::shared(disk);
    let ports = world.ports.clone();
    let root = settings.settings().node.data_dir.clone();
    let (mut data_dir, last_stop) = open_data_dir(&settings, &disk, &world)?;
    let checkpoints = data_dir.load_checkpoints()?;
    for folder in data_dir.trash()? {
        data_dir.remove_trash(&folder)?;
    }
    let identity = *data_dir.identity();
    let data_dir = SharedDataDir::new(data_dir);
    let untouched = Untouched(Some(data_dir.clone()));
    let guard = Arc::new(DiskGuard::new(Arc::clone(&disk), &root, &settings));
    let pace = Arc::new(FlushPace::default());
    let health = Arc::new(DiskHealth::new(Arc::clone(&guard), disk_errors, Arc::clone(&pace)));
    let mut plan = FlushPlan::new(Arc::clone(&disk), root.clone())?;
    let published = Arc::new(ArcSwap::from_pointee(Published::default()));
    let metadata_bell = Bell::default();
    let outbox = Arc::new(Outbox::default());
    let hosting = Hosting {
        broker: entry::own_number(&settings, &identity),
        directory: identity.directory_id,
        disk: Arc::clone(&disk),
        root: root.clone(),
        data_dir: data_dir.clone(),
        checkpoints,
        is_clean: last_stop.clean.is_some(),
        started: ports.clock.wall(),
        settings: Arc::clone(&settings),
        mailboxes: reactors.mailboxes(),
        bell: metadata_bell.clone(),
        outbox: Arc::clone(&outbox),
    };
    let publisher = Publisher::new(Arc::clone(&published), hosting);
    // A start writes to the metadata log, too.
    guard.make_room_for_metadata();
    let waiting = Waiting::default();
    let ground = Ground {
        settings: &settings,
        disk: &disk,
        root: &root,
        world: &world,
        waiting: &waiting,
        data_dir: &data_dir,
        identity,
        guard: &guard,
        health: &health,
        published: &published,
        kept_page_cache: last_stop.kept_page_cache(),
    };
    let mut entered = entry::enter(&ground, publisher)
        .await
        .map_err(|error| say_if_full(error, &guard, &root))?;
    if let Some(lobby) = entered.lobby.take() {
        lobby.stop().await;
    }
    let Entered { raft, cluster, controller, cluster_id, node_id, broker_epoch, .. } = &entered;
    let (cluster_id, node_id, broker_epoch) = (*cluster_id, *node_id, *broker_epoch);
    let (raft, cluster, controller) = (raft.clone(), Arc::clone(cluster), controller.clone());
    let has_others = published.load().image.brokers().nth(1).is_some();
    // While one of several was away, cleanly or not, the cluster went on.
    if !last_stop.created && (has_others || last_stop.clean.is_none()) {
        // A lone broker keeps what has survived: nobody else has it.
        let kept = last_stop.kept_page_cache() || !has_others;
        data_dir.set_strays_aside(&published.load().image, node_id, kept)?;
    }
    if last_stop.clean.is_none() && !last_stop.created {
        plan = recover(&published, &ports, &data_dir, plan).await?;
    }
    data_dir.with(|data_dir| data_dir.note_boot()).transpose()?;
    untouched.end();
    outbox.registered(broker_epoch);
    let shards = reactors.count();
    let context = Arc::new(Context {
        broker: node_id,
        published,
        controller,
        clock: Arc::clone(&ports.clock),
        steady: Arc::new(SteadyClock::new(Arc::clone(&ports.clock))),
        flusher: Flusher::paced_by(pace),
        cleaner: Cleaner::default(),
        limits: LimitKeeper::woken_by(metadata_bell),
        guard,
        producer_ids: ProducerIds::new(node_id, broker_epoch),
        groups: Groups::new(Arc::clone(&ports.spawn)),
        metrics: Metrics::new(),
        mailboxes: reactors.mailboxes(),
        addresses: OnceLock::new(),
        http_addresses: OnceLock::new(),
        connection_limits: OnceLock::new(),
        fetch_shards: (0..shards).map(|_| Mutex::new(Sessions::new(Limits::default()))).collect(),
        settings: Arc::clone(&settings),
        raft: raft.clone(),
        log_starts: LogStarts::new(data_dir.clone()),
        outbox,
        spawn: Arc::clone(&ports.spawn),
        cluster: Arc::clone(&cluster),
    });
    let flushing = flusher::start(Arc::clone(&context), plan, &*ports.spawn)?;
    let cleaning = cleaner::start(Arc::clone(&context), data_dir.clone(), &*ports.spawn)?;
    let limiting = limits::start(Arc::clone(&context), data_dir.clone(), &*ports.spawn)?;
    // First, so that whoever finds Kafka's port open finds this one too.
    let http = listen::serve_http(&settings, &context, &raft, &reactors)?;
    let server = listen::serve_kafka(&settings, entered.kafka, &reactors, &context)?;
    // Set once, just now.
    let _ = context.addresses.set(server.addresses().to_vec());
    let _ = context.http_addresses.set(http.addresses.clone());
    let _ = context.connection_limits.set(server.limits());
    let groups = spawn(groups::run(Arc::clone(&context)));
    let housekeeping =
        spawn(housekeeping::run(Arc::clone(&context), data_dir.clone(), Arc::clone(&ports.spawn)));
    let facts = Ready {
        addresses: server.addresses().to_vec(),
        http_addresses: http.addresses.clone(),
        node_id,
        cluster_id,
        inside: Inside { context: Arc::clone(&context) },
    };
    let grace = settings.settings().node.shutdown_grace;
    let beating = Beating { cluster: Arc::clone(&cluster), broker_id: node_id, broker_epoch };
    let mut company = vec![
        spawn(beating.clone().run()),
        spawn(cluster::keep(Arc::clone(&cluster))),
        spawn(entry::open_to_others(
            cluster,
            (Arc::clone(&settings), Arc::clone(&disk), Arc::clone(&ports.spawn)),
            entered.inbox,
        )),
    ];
    company.extend(replication::start(&context, broker_epoch));
    let running = Running {
        beating,
        company,
        peer_server: entered.peer_server,
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
    world: &World,
) -> Result<(DataDir, LastStop), StartError> {
    let root = &settings.settings().node.data_dir;
    if let Err(refused) = listen::refuse_unusable(&*world.ports.net, settings) {
        // Whoever has the addresses may have the directory: the same broker, started twice.
        return Err(match DataDir::is_locked(disk, root) {
            true => DataDirFault::Locked { path: root.to_owned() }.into(),
            false => refused,
        });
    }
    Ok(DataDir::open(Arc::clone(disk), root, random_uuid(), world.boot_id)?)
}

/// A start that may be given up, or fail, before it has touched a partition: dropped then, it leaves
/// the directory as the last stop did, so that the next start has nothing to recover.
struct Untouched(Option<SharedDataDir>);

impl Untouched {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Untouched {
    fn drop(&mut self) {
        let Some(data_dir) = self.0.take() else { return };
        if let Some(Err(fault)) = data_dir.with(DataDir::give_up) {
            tracing::warn!(%fault, "the next start recovers what the last stop left in order");
        }
    }
}

impl Running {
    /// Tells when another process has taken this one's place, and why.
    pub(crate) fn watch_displaced(&self) -> watch::Receiver<Option<String>> {
        self.context.cluster.contact.watch_displaced()
    }

    /// Stops in the order that loses nothing: no more requests, then no more changes, then every
    /// byte to disk, then the mark of a clean stop.
    pub(crate) async fn bring_down(self) -> Result<(), String> {
        tracing::info!("stopping");
        for task in &self.company {
            task.abort();
        }
        leaving::step_back(&self.beating, self.grace).await;
        // Beside each other, so that both have the whole grace, and the farewell is waited for once.
        tokio::join!(
            self.server.stop(self.grace),
            self.http.stop(),
            leaving::say_farewell(&self.beating.cluster)
        );
        tracing::debug!("nobody is served any more");
        self.groups.abort();
        self.housekeeping.abort();
        // Aborted, or ended: it makes no difference.
        let _ = self.groups.await;
        let _ = self.housekeeping.await;
        self.context.cleaner.stop();
        self.context.limits.stop();
        over(self.cleaning, "the cleaner").await?;
        over(self.limiting, "the keeper of limits").await?;
        // Nobody needs this broker any more, and it asks nobody.
        leaving::close_cluster_port(&self.beating.cluster, self.peer_server).await;
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
            context.follow_up(effects);
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

pub(crate) fn random_uuid() -> Uuid {
    loop {
        let id = Uuid::from_random(fastrand::u128(..).to_be_bytes());
        // A leading dash would look like a flag on a command line.
        if !id.is_reserved() && !id.to_string().starts_with('-') {
            return id;
        }
    }
}
