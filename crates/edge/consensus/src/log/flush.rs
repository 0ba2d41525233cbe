//! Group commit: one flush for all appends that wait.

use jocko_commitlog::FlushJob;
use jocko_disk::{Disk, DiskFault};
use openraft::storage::IOFlushed;
use std::io;
use std::mem;
use std::sync::Arc;
use tokio::time::Instant;

use super::{Shared, lock};
use crate::types::Types;

/// What waits for the worker.
#[derive(Default)]
pub(super) struct FlushQueue {
    waiting: Vec<IOFlushed<Types>>,
    /// A job that will look at `waiting` is queued or running.
    scheduled: bool,
    commits_unsaved: u32,
    /// A write nobody waited for has failed; the next append reports it.
    failed: Option<String>,
}

impl std::fmt::Debug for FlushQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlushQueue")
            .field("waiting", &self.waiting.len())
            .field("scheduled", &self.scheduled)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl FlushQueue {
    /// Counts a commit; whether `limit` of them are now unsaved.
    pub(super) fn commit_noted(&mut self, limit: u32) -> bool {
        self.commits_unsaved += 1;
        if self.commits_unsaved < limit {
            return false;
        }
        self.commits_unsaved = 0;
        true
    }
}

/// Appends being flushed. If the flush does not live to report, they have failed: silence would
/// make Raft wait for ever.
struct Flushing(Vec<IOFlushed<Types>>);

impl Flushing {
    fn completed(mut self, outcome: &Result<(), io::Error>) {
        for callback in mem::take(&mut self.0) {
            callback.io_completed(match outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            });
        }
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        for callback in mem::take(&mut self.0) {
            callback.io_completed(Err(io::Error::other("the flush did not finish")));
        }
    }
}

impl Shared {
    /// Queues `callback` for the next flush, and a flush if none is queued.
    pub(super) fn flush_later(
        this: &Arc<Self>,
        callback: IOFlushed<Types>,
    ) -> Result<(), io::Error> {
        {
            let mut queue = lock(&this.queue);
            if let Some(words) = &queue.failed {
                return Err(io::Error::other(words.clone()));
            }
            queue.waiting.push(callback);
            if mem::replace(&mut queue.scheduled, true) {
                return Ok(());
            }
        }
        let shared = Arc::clone(this);
        this.submit(Box::new(move || shared.flush_waiting()))
    }

    /// Stores the raft state some time soon.
    pub(super) fn store_state_later(self: Arc<Self>) {
        let shared = Arc::clone(&self);
        let stored = self.submit(Box::new(move || {
            if let Err(error) = shared.store_state(|_| {}) {
                lock(&shared.queue).failed = Some(error.to_string());
            }
        }));
        if let Err(error) = stored {
            lock(&self.queue).failed = Some(error.to_string());
        }
    }

    /// The queue of the worker is bounded and nobody but this log fills it with more than a few
    /// jobs: should it be full after all, the work is done here and now.
    fn submit(&self, job: jocko_net::ports::Job) -> Result<(), io::Error> {
        use jocko_net::ports::Refused;
        match self.spawn.submit(job) {
            Ok(()) => Ok(()),
            Err(Refused::Full(job)) => {
                job();
                Ok(())
            }
            Err(Refused::Stopped) => Err(io::Error::other("the raft worker has stopped")),
        }
    }

    fn flush_waiting(&self) {
        let mut is_settled = false;
        loop {
            let waiting = {
                let mut queue = lock(&self.queue);
                if queue.waiting.is_empty() && is_settled {
                    queue.scheduled = false;
                    return;
                }
                Flushing(mem::take(&mut queue.waiting))
            };
            if waiting.0.is_empty() {
                // Nobody waits: the moment for what nobody waits for.
                if let Err(error) = self.settle() {
                    lock(&self.queue).failed = Some(error.to_string());
                }
                is_settled = true;
            } else {
                waiting.completed(&self.flush_log());
                is_settled = false;
            }
        }
    }

    /// Makes every append so far durable. Runs on the worker, without the log's lock.
    pub(super) fn flush_log(&self) -> Result<(), io::Error> {
        let _one_at_a_time = lock(&self.flushing);
        let Some(job) = lock(&self.log).take_flush()? else { return Ok(()) };
        let started = Instant::now();
        let outcome = sync_entries(&job, &*self.disk);
        lock(&self.log).flushed(&job, outcome)?;
        self.counters.flushed(started.elapsed());
        Ok(())
    }

    /// Writes the small files of the log that only the next start wants.
    pub(super) fn settle(&self) -> Result<(), io::Error> {
        let _one_at_a_time = lock(&self.flushing);
        let job = lock(&self.log).take_flush()?;
        job.map_or(Ok(()), |job| self.perform(job))
    }

    /// Performs a whole flush and takes it back.
    pub(super) fn perform(&self, mut job: FlushJob) -> Result<(), io::Error> {
        let outcome = job.run(&*self.disk);
        Ok(lock(&self.log).flushed(&job, outcome)?)
    }
}

/// Syncs what holds entries. The rest of the job stays due.
fn sync_entries(job: &FlushJob, disk: &dyn Disk) -> Result<(), DiskFault> {
    for file in &job.files {
        file.sync_data()?;
    }
    for dir in &job.dirs {
        disk.sync_dir(dir)?;
    }
    Ok(())
}
