//! The one thread per data directory that makes appends durable.
//!
//! There is no timer: whatever became dirty while a round ran is the next round, so a lone
//! producer waits for one sync and a thousand share one (docs/decisions/0005-durable-pipeline.md).

use crate::context::Context;
use crate::disk_health::FlushPace;
use jocko_disk::FlushPlan;
use jocko_net::ports::{Bell, Manner, Rest, Routine, RoutineHandle, Spawn};
use jocko_partition::{Partition, flush_together};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MANNER: Manner = Manner { name: "jocko-flush", niceness: 0 };

/// Where partitions line up for the next round.
#[derive(Debug)]
pub(crate) struct Flusher {
    queue: Mutex<Queue>,
    pace: Arc<FlushPace>,
    bell: Bell,
}

#[derive(Debug, Default)]
struct Queue {
    due: Vec<Arc<Partition>>,
    is_stopping: bool,
    /// What is left for the last round, once there are no others.
    plan: Option<FlushPlan>,
}

impl Flusher {
    /// One whose progress shows in `pace`.
    pub(crate) fn paced_by(pace: Arc<FlushPace>) -> Self {
        Self { queue: Mutex::default(), pace, bell: Bell::default() }
    }

    /// Lines a partition up, unless it stands in line already.
    pub(crate) fn enqueue(&self, partition: &Arc<Partition>) {
        if !partition.line_up_for_flush() {
            return;
        }
        let mut queue = self.lock();
        queue.due.push(Arc::clone(partition));
        let is_first = queue.due.len() == 1;
        if is_first {
            self.pace.asked();
        }
        drop(queue);
        if is_first {
            self.bell.ring();
        }
    }

    /// Asks for the end, after one more round over what is queued.
    pub(crate) fn stop(&self) {
        self.lock().is_stopping = true;
        self.bell.ring();
    }

    /// The plan for the last round, once the routine has ended.
    pub(crate) fn take_plan(&self) -> Option<FlushPlan> {
        self.lock().plan.take()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the rounds. They end after [`Flusher::stop`], and leave the plan for the last one.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn start(
    context: Arc<Context>,
    plan: FlushPlan,
    spawn: &dyn Spawn,
) -> io::Result<RoutineHandle> {
    let bell = context.flusher.bell.clone();
    spawn.routine(MANNER, bell, Box::new(Rounds { context, plan: Some(plan) }))
}

struct Rounds {
    context: Arc<Context>,
    plan: Option<FlushPlan>,
}

impl Routine for Rounds {
    fn round(&mut self) -> Rest {
        let context = &self.context;
        let (due, begun) = {
            let mut queue = context.flusher.lock();
            if queue.due.is_empty() {
                if !queue.is_stopping {
                    return Rest::UntilRung;
                }
                queue.plan = self.plan.take();
                return Rest::Over;
            }
            (std::mem::take(&mut queue.due), context.flusher.pace.begin())
        };
        let plan = self.plan.as_mut().expect("it is given up at the end alone");
        let started = context.clock.now();
        flush_together(plan, due, |effects| context.follow_up(effects));
        context.flusher.pace.done(begun);
        context.metrics.flush_round(context.clock.now().since(started));
        Rest::None
    }
}
