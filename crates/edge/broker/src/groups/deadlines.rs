//! Time for coordinators: sessions end, rebalances are over, offsets expire.

use crate::context::Context;
use crate::groups::{Groups, OFFSETS_TOPIC};
use jocko_group::Command;
use jocko_metadata::ClusterDelta;
use jocko_types::Now;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// How long what could not be written down waits for the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The earliest deadline the task below knows of, and how to tell it of an earlier one.
pub(crate) struct Deadlines {
    /// Microseconds since the process began.
    earliest: AtomicU64,
    moved: Notify,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self { earliest: AtomicU64::new(NEVER), moved: Notify::new() }
    }
}

impl Groups {
    /// Tells of a coordinator's next deadline, after anything that may have changed it.
    pub(crate) fn note_deadline(&self, deadline: Option<Now>) {
        let Some(deadline) = deadline else { return };
        if micros(deadline) < self.deadlines.earliest.load(Ordering::SeqCst) {
            self.deadlines.moved.notify_one();
        }
    }

    /// Something is to be done that has no deadline.
    pub(crate) fn look_around(&self) {
        self.deadlines.moved.notify_one();
    }
}

/// Tells coordinators that time has passed and that topics have gone. Runs until it is dropped.
///
/// To be started once this broker has registered: what is published then is not behind anything
/// that an earlier run, or another broker, wrote into the logs led here. Offsets of topics that are
/// not published are those of topics that are gone.
pub(crate) async fn run(context: Arc<Context>) {
    let mut seen = context.published.load_full();
    let mut last_expiry = context.clock.now();
    context.groups.follow(&context);
    loop {
        let published = context.published.load_full();
        if published.index != seen.index {
            let delta = ClusterDelta::between(&seen.image, &published.image);
            if delta.partitions.iter().any(|change| change.topic.name.as_str() == OFFSETS_TOPIC) {
                context.groups.follow(&context);
            }
            let gone = delta.deleted.iter().map(|topic| (topic.name.as_str().to_owned(), topic.id));
            let topics: Vec<_> = gone.collect();
            if !topics.is_empty() {
                for shard in context.groups.all() {
                    shard.topics_are_gone(&topics);
                }
            }
            seen = published;
        }
        context.groups.load_again(&context);
        let mut retry_after = Duration::MAX;
        for shard in context.groups.all() {
            if !shard.forget(&context) {
                retry_after = RETRY_AFTER;
            }
        }
        let now = context.clock.now();
        let expiry_every = context.settings.settings().groups.offsets_retention_check;
        if now.since(last_expiry) >= expiry_every {
            last_expiry = now;
            for shard in context.groups.all() {
                shard.tell(&context, &Command::Expire);
            }
        }
        let wait = tick(&context).min(last_expiry.plus(expiry_every).since(now)).min(retry_after);
        let next_index = u64::try_from(seen.index).unwrap_or(0) + 1;
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = context.groups.deadlines.moved.notified() => {}
            true = context.raft.wait_applied(next_index) => {}
        }
    }
}

/// Tells every coordinator whose deadline has passed; yields the time to the next one.
fn tick(context: &Arc<Context>) -> Duration {
    // While this looks around, any deadline is news.
    context.groups.deadlines.earliest.store(NEVER, Ordering::SeqCst);
    let now = context.clock.now();
    let mut next: Option<Now> = None;
    for shard in context.groups.all() {
        let is_due = shard.next_deadline().is_some_and(|deadline| deadline <= now);
        let deadline = if is_due && !shard.tell(context, &Command::Tick) {
            // The log takes no records now: what is due stays due.
            Some(now.plus(RETRY_AFTER))
        } else {
            shard.next_deadline()
        };
        next = [next, deadline].into_iter().flatten().min();
    }
    let earliest = next.map_or(NEVER, micros);
    context.groups.deadlines.earliest.fetch_min(earliest, Ordering::SeqCst);
    next.map_or(Duration::MAX, |next| next.since(context.clock.now()))
}

fn micros(at: Now) -> u64 {
    u64::try_from(at.since_start().as_micros()).unwrap_or(NEVER)
}
