//! The one thread per data directory that makes appends durable.
//!
//! There is no timer: whatever became dirty while a round ran is the next round, so a lone
//! producer waits for one sync and a thousand share one (docs/decisions/0005-durable-pipeline.md).

use crate::context::Context;
use jocko_disk::FlushPlan;
use jocko_partition::{Partition, flush_together};
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Where partitions line up for the next round.
#[derive(Debug)]
pub(crate) struct Flusher {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    due: Vec<Arc<Partition>>,
    is_sleeping: bool,
    is_stopping: bool,
}

impl Flusher {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), work: Condvar::new() }
    }

    /// Lines a partition up, unless it stands in line already. Wakes the thread only if it sleeps.
    pub(crate) fn enqueue(&self, partition: &Arc<Partition>) {
        if !partition.line_up_for_flush() {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.due.push(Arc::clone(partition));
        let wake = queue.is_sleeping;
        drop(queue);
        if wake {
            self.work.notify_one();
        }
    }

    /// Asks the thread to end after one more round over what is queued.
    pub(crate) fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_stopping = true;
        self.work.notify_one();
    }

    /// Everything that is due, waiting for the first; `None` when stopping and nothing is.
    fn next_round(&self) -> Option<Vec<Arc<Partition>>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.due.is_empty() {
            if queue.is_stopping {
                return None;
            }
            queue.is_sleeping = true;
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.is_sleeping = false;
        }
        Some(std::mem::take(&mut queue.due))
    }
}

/// Starts the thread. It ends after [`Flusher::stop`], and hands back the plan for the last round.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn start(context: Arc<Context>, plan: FlushPlan) -> io::Result<JoinHandle<FlushPlan>> {
    std::thread::Builder::new().name("jocko-flush".to_owned()).spawn(move || run(&context, plan))
}

fn run(context: &Context, mut plan: FlushPlan) -> FlushPlan {
    while let Some(due) = context.flusher.next_round() {
        let started = context.clock.now();
        flush_together(&mut plan, due, |effects| context.deliver(&effects.released));
        context.metrics.flush_round(context.clock.now().since(started));
    }
    plan
}
