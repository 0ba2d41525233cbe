//! The Spawn port: where work goes that may block (cold reads, fsync, compaction), and what goes on
//! for as long as a broker.
//!
//! Production has a fixed pool of named threads behind a bounded queue; simulation runs the same
//! jobs inline or as tasks of its one runtime.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::routine::{Bell, Manner, Routine, RoutineHandle, on_task, on_thread};

/// A shared spawner.
pub type SpawnRef = Arc<dyn Spawn>;

/// One piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// Why a job was not taken.
pub enum Refused {
    /// The queue is full; the job comes back, to be tried again later.
    Full(Job),
    /// The pool is stopping; nothing will run any more.
    Stopped,
}

impl Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Stopped => "Stopped",
        })
    }
}

/// Runs blocking jobs away from the reactors.
pub trait Spawn: Debug + Send + Sync + 'static {
    /// Queues a job. Never blocks.
    ///
    /// # Errors
    /// When the queue is full or the pool stopped.
    fn submit(&self, job: Job) -> Result<(), Refused>;

    /// Starts a routine; `bell` wakes it from its rests.
    ///
    /// # Errors
    /// When no thread can be started.
    fn routine(
        &self,
        manner: Manner,
        bell: Bell,
        routine: Box<dyn Routine>,
    ) -> io::Result<RoutineHandle> {
        on_thread(manner, bell, routine)
    }
}

/// How long [`run_on`] waits before it offers a job to a full queue again.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// Runs `work` on `spawn` and waits for its value; a full queue is waited out. `None` when the
/// work panicked or the pool stopped. Dropping the future does not stop work already queued.
pub async fn run_on<T: Send + 'static>(
    spawn: &dyn Spawn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let mut job: Job = Box::new(move || {
        // A caller that went away is no reason to stop: the work itself may matter.
        let _ = answer.send(work());
    });
    loop {
        match spawn.submit(job) {
            Ok(()) => return answered.await.ok(),
            Err(Refused::Stopped) => return None,
            Err(Refused::Full(back)) => job = back,
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Runs each job at once, on the calling thread. For tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct InlineSpawn;

impl Spawn for InlineSpawn {
    fn submit(&self, job: Job) -> Result<(), Refused> {
        job();
        Ok(())
    }
}

/// Runs each job as a task of the current tokio runtime, so that a simulation interleaves it with
/// everything else in a seeded order.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskSpawn;

impl Spawn for TaskSpawn {
    fn submit(&self, job: Job) -> Result<(), Refused> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Refused::Stopped);
        }
        super::spawn(async move { job() });
        Ok(())
    }

    fn routine(
        &self,
        _manner: Manner,
        bell: Bell,
        routine: Box<dyn Routine>,
    ) -> io::Result<RoutineHandle> {
        Ok(on_task(bell, routine))
    }
}

/// A fixed pool of threads behind one bounded queue. Dropping it runs what is queued, then joins.
pub struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    jobs_max: usize,
}

struct State {
    jobs: VecDeque<Job>,
    stopping: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Jobs run outside the lock, so a poisoned lock still guards a whole queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.stopping {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Workers {
    /// How many jobs wait at most, unless told otherwise.
    pub const QUEUE_MAX: usize = 1024;

    /// Starts `threads` threads (at least one) named `name-0`, `name-1` ...
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(name: &str, threads: usize, jobs_max: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            state: Mutex::new(State { jobs: VecDeque::new(), stopping: false }),
            filled: Condvar::new(),
            jobs_max,
        });
        let mut workers = Self { queue, threads: Vec::new() };
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&workers.queue);
            let thread =
                std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                    while let Some(job) = queue.next() {
                        if catch_unwind(AssertUnwindSafe(job)).is_err() {
                            tracing::error!("job of a worker thread panicked");
                        }
                    }
                })?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }
}

impl Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("threads", &self.threads.len())
            .field("queued", &self.queue.lock().jobs.len())
            .finish()
    }
}

impl Spawn for Workers {
    fn submit(&self, job: Job) -> Result<(), Refused> {
        let mut state = self.queue.lock();
        if state.stopping {
            return Err(Refused::Stopped);
        }
        if state.jobs.len() >= self.queue.jobs_max {
            return Err(Refused::Full(job));
        }
        state.jobs.push_back(job);
        drop(state);
        self.queue.filled.notify_one();
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.lock().stopping = true;
        self.queue.filled.notify_all();
        let own = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last handle may die inside a job: a thread cannot join itself.
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests;
