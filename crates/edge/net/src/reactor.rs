//! Reactors: threads that each own their connections and never share them.
//!
//! A reactor is a tokio current-thread runtime of its own. A request runs to completion on the
//! thread that read it; other threads reach a reactor only through its mailbox (tickets) and,
//! when a connection arrives or a server stops, through a bounded queue of errands.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;

use bytes::BytesMut;
use jocko_types::{Now, Timestamp};
use tokio::sync::{Notify, mpsc};

use crate::budget::Budget;
use crate::buffers::Buffers;
use crate::mailbox::{Mailbox, Ticket, Waiter, Waiters};
use crate::metrics::{Counters, Totals};
use crate::ports::{Ports, run_on, spawn_local};
use crate::settings::ReactorSettings;
use crate::vitals::Table;

/// Something done once on a reactor's thread.
pub(crate) type Errand = Box<dyn FnOnce(&Reactor) + Send + 'static>;

/// Errands that may wait for a reactor; then whoever sends one waits.
const ERRANDS_MAX: usize = 1024;

/// The size of the buffer that small frames are read into, one per reactor.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

/// A reactor as its own thread sees it. Cheap to clone; stays on the thread.
#[derive(Clone)]
pub struct Reactor {
    pub(crate) local: Rc<Local>,
}

pub(crate) struct Local {
    pub(crate) handle: ReactorHandle,
    pub(crate) ports: Ports,
    pub(crate) waiters: Rc<Waiters>,
    pub(crate) table: Table,
    pub(crate) budget: Arc<Budget>,
    pub(crate) buffers: Arc<Buffers>,
    /// Lent to whichever connection is being polled, so that idle ones hold no buffer.
    scratch: RefCell<Option<BytesMut>>,
    joined: Notify,
}

impl Reactor {
    /// What other threads may hold of this reactor.
    #[must_use]
    pub fn handle(&self) -> &ReactorHandle {
        &self.local.handle
    }

    /// Registers a wait; see [`Waiter`].
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        self.local.waiters.register()
    }

    /// How many waits are registered.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.local.waiters.len()
    }

    /// The monotonic clock.
    #[must_use]
    pub fn now(&self) -> Now {
        self.local.ports.clock.now()
    }

    /// The wall clock.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.local.ports.clock.wall()
    }

    /// The ports this reactor runs on.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.local.ports
    }

    /// Runs work that may block on a worker and waits for its value; `None` when it panicked or
    /// the workers have stopped.
    pub fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + 'static {
        let spawn = Arc::clone(&self.local.ports.spawn);
        async move { run_on(&*spawn, work).await }
    }

    /// Starts a task on this reactor, for work that no request waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn_local(task);
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.local.handle.counters
    }

    pub(crate) fn drain_mail(&self) {
        self.local.handle.mailbox.drain(&self.local.waiters);
    }

    pub(crate) fn take_scratch(&self) -> BytesMut {
        let kept = self.local.scratch.borrow_mut().take();
        kept.unwrap_or_else(|| BytesMut::with_capacity(SCRATCH_BYTES))
    }

    pub(crate) fn give_scratch(&self, scratch: BytesMut) {
        *self.local.scratch.borrow_mut() = Some(scratch);
    }

    pub(crate) fn joined(&self) {
        self.local.joined.notify_one();
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("number", &self.local.handle.number)
            .field("connections", &self.local.table.len())
            .finish_non_exhaustive()
    }
}

/// A reactor as other threads see it.
#[derive(Clone)]
pub struct ReactorHandle {
    pub(crate) number: usize,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) counters: Arc<Counters>,
    /// Frames per tick, smoothed: where new connections go by.
    pub(crate) load: Arc<AtomicU64>,
    pub(crate) errands: mpsc::Sender<Errand>,
    stop: Arc<Notify>,
}

impl ReactorHandle {
    /// Its number, from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Wakes the waiters of those `tickets` that belong to this reactor: at most one wake-up of
    /// its thread, none if it is awake or is the caller. Any thread; never blocks.
    pub fn deliver(&self, tickets: &[Ticket]) {
        self.mailbox.deliver(tickets);
    }
}

impl fmt::Debug for ReactorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReactorHandle").field(&self.number).finish()
    }
}

/// The mailboxes of all reactors, for whoever releases tickets.
#[derive(Debug, Clone)]
pub struct Mailboxes {
    reactors: Arc<[ReactorHandle]>,
}

impl Mailboxes {
    /// Delivers each ticket to its reactor: at most one wake-up per reactor. Any thread; never
    /// blocks; tickets that nobody waits for any more do nothing.
    pub fn deliver(&self, tickets: &[Ticket]) {
        if tickets.is_empty() {
            return;
        }
        for reactor in self.reactors.iter() {
            reactor.deliver(tickets);
        }
    }
}

/// All reactors of a process.
pub struct Reactors {
    pub(crate) handles: Arc<[ReactorHandle]>,
    pub(crate) ports: Ports,
    budget: Arc<Budget>,
    threads: Vec<JoinHandle<()>>,
}

impl Reactors {
    /// Starts one thread per reactor.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be started.
    pub fn start(settings: &ReactorSettings, ports: &Ports) -> io::Result<Self> {
        let (mut reactors, seeds) = Self::prepare(settings, ports);
        for seed in seeds {
            let (ready, started) = std::sync::mpsc::sync_channel(1);
            let name = format!("{}-{}", settings.name, seed.handle.number);
            let thread =
                std::thread::Builder::new().name(name).spawn(move || run_thread(seed, &ready))?;
            reactors.threads.push(thread);
            started
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("reactor ended at its start")))?;
        }
        Ok(reactors)
    }

    /// Starts the reactors as tasks of the current `LocalSet` or `LocalRuntime`: how a simulation
    /// runs them.
    #[must_use]
    pub fn start_local(settings: &ReactorSettings, ports: &Ports) -> Self {
        let (reactors, seeds) = Self::prepare(settings, ports);
        for seed in seeds {
            spawn_local(seed.run());
        }
        reactors
    }

    fn prepare(settings: &ReactorSettings, ports: &Ports) -> (Self, Vec<Seed>) {
        let budget = Budget::new(settings.memory_bytes_max);
        let buffers = Arc::default();
        let seeds: Vec<Seed> = (0..settings.threads())
            .map(|number| Seed::new(number, ports, &budget, &buffers))
            .collect();
        let reactors = Self {
            handles: seeds.iter().map(|seed| seed.handle.clone()).collect(),
            ports: ports.clone(),
            budget,
            threads: Vec::new(),
        };
        (reactors, seeds)
    }

    /// How many reactors there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// For whoever releases waiting requests.
    #[must_use]
    pub fn mailboxes(&self) -> Mailboxes {
        Mailboxes { reactors: Arc::clone(&self.handles) }
    }

    /// The counters of all reactors, summed now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.meter().totals()
    }

    /// What reads the counters, for whoever reports them.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter { reactors: Arc::clone(&self.handles), budget: Arc::clone(&self.budget) }
    }

    /// The ports the reactors run on.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    pub(crate) fn memory_bytes_max(&self) -> usize {
        self.budget.bytes_max()
    }

    /// Ends all reactors and joins their threads; connections still open are dropped. Stop the
    /// servers first.
    pub fn stop(self) {}
}

impl fmt::Debug for Reactors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactors").field("count", &self.handles.len()).finish_non_exhaustive()
    }
}

impl Drop for Reactors {
    fn drop(&mut self) {
        for handle in self.handles.iter() {
            handle.stop.notify_one();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Reads the counters of all reactors.
#[derive(Debug, Clone)]
pub struct Meter {
    reactors: Arc<[ReactorHandle]>,
    budget: Arc<Budget>,
}

impl Meter {
    /// The counters of all reactors, summed now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            memory_bytes: self.budget.used() as u64,
            memory_bytes_max: self.budget.bytes_max() as u64,
            ..Totals::default()
        };
        for reactor in self.reactors.iter() {
            totals.add(&reactor.counters);
        }
        totals
    }
}

/// What a reactor grows from: it may be sent to the thread it will live on.
struct Seed {
    handle: ReactorHandle,
    ports: Ports,
    budget: Arc<Budget>,
    buffers: Arc<Buffers>,
    errands: mpsc::Receiver<Errand>,
}

impl Seed {
    fn new(number: usize, ports: &Ports, budget: &Arc<Budget>, buffers: &Arc<Buffers>) -> Self {
        let counters = Arc::new(Counters::default());
        let (sender, errands) = mpsc::channel(ERRANDS_MAX);
        let short = u16::try_from(number).expect("threads() keeps to REACTORS_MAX");
        Self {
            handle: ReactorHandle {
                number,
                mailbox: Mailbox::new(short, Arc::clone(&counters)),
                counters,
                load: Arc::default(),
                errands: sender,
                stop: Arc::default(),
            },
            ports: ports.clone(),
            budget: Arc::clone(budget),
            buffers: Arc::clone(buffers),
            errands,
        }
    }

    async fn run(self) {
        let Self { handle, ports, budget, buffers, mut errands } = self;
        let stop = Arc::clone(&handle.stop);
        let reactor = Reactor {
            local: Rc::new(Local {
                waiters: Waiters::new(&handle.mailbox),
                handle,
                ports,
                table: Table::default(),
                budget,
                buffers,
                scratch: RefCell::new(None),
                joined: Notify::new(),
            }),
        };
        let background =
            [spawn_local(read_mail(reactor.clone())), spawn_local(tick(reactor.clone()))];
        loop {
            tokio::select! {
                biased;
                () = stop.notified() => break,
                errand = errands.recv() => match errand {
                    Some(errand) => errand(&reactor),
                    None => break,
                },
            }
        }
        // On a thread of its own everything is dropped with the runtime; as a task it is not.
        reactor.local.table.end_all();
        for task in background {
            task.abort();
        }
    }
}

fn run_thread(seed: Seed, ready: &std::sync::mpsc::SyncSender<io::Result<()>>) {
    let (parked, unparked) = (Arc::clone(&seed.handle.mailbox), Arc::clone(&seed.handle.mailbox));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || parked.before_sleep())
        .on_thread_unpark(move || unparked.after_sleep())
        .build_local(tokio::runtime::LocalOptions::default());
    match runtime {
        Ok(runtime) => {
            // The starter waits for this; that it is gone cannot matter to us.
            let _ = ready.send(Ok(()));
            runtime.block_on(seed.run());
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

/// Delivers mail that came while the reactor slept.
async fn read_mail(reactor: Reactor) {
    std::future::poll_fn(|cx| {
        let local = &reactor.local;
        local.handle.mailbox.poll_mail(cx, &local.waiters);
        Poll::<()>::Pending
    })
    .await;
}

/// How much of the load of earlier ticks remains, as a divisor: half.
const LOAD_DECAY: u64 = 2;

/// Checks the deadlines of all connections, as long as there are any.
async fn tick(reactor: Reactor) {
    let local = &reactor.local;
    let mut frames_before = 0;
    let mut swept = tokio::time::Instant::now();
    loop {
        let Some(wait) = local.table.tick() else {
            local.table.sweep(reactor.now(), &local.budget);
            local.handle.load.store(0, Ordering::Relaxed);
            local.joined.notified().await;
            swept = tokio::time::Instant::now();
            continue;
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(swept + wait) => {}
            // A new connection may bring a shorter deadline than this wait.
            () = local.joined.notified() => continue,
        }
        swept = tokio::time::Instant::now();
        local.table.sweep(reactor.now(), &local.budget);
        let frames = local.handle.counters.frames.load(Ordering::Relaxed);
        let load = local.handle.load.load(Ordering::Relaxed) / LOAD_DECAY;
        local.handle.load.store(load + (frames - frames_before), Ordering::Relaxed);
        frames_before = frames;
    }
}
