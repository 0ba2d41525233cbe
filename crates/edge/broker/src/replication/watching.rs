//! Watching the image: whom to follow for what, and, while this broker leads for others, the time.

use super::Own;
use super::fetching::{self, Wanted};
use crate::context::Context;
use jocko_partition::Partition;
use jocko_types::{BrokerId, LeaderEpoch, TopicIdPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// How often partitions with followers are told the time.
const TICK: Duration = Duration::from_millis(500);

/// A task that fetches from one leader. Dropping it ends the task.
struct Fetching {
    wanted: watch::Sender<Wanted>,
    /// What it was told last.
    told: Vec<(TopicIdPartition, LeaderEpoch)>,
    task: JoinHandle<()>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the image wants of this broker.
#[derive(Default)]
struct Part {
    followed: BTreeMap<BrokerId, Vec<(TopicIdPartition, LeaderEpoch, Arc<Partition>)>>,
    led: Vec<Arc<Partition>>,
}

pub(super) async fn run(context: Arc<Context>, own: Own) {
    let mut fetching: BTreeMap<BrokerId, Fetching> = BTreeMap::new();
    let mut led = Vec::new();
    let mut due = Instant::now();
    loop {
        let news = context.outbox.news.notified();
        if led.is_empty() {
            news.await;
            due = Instant::now() + TICK;
        } else if timeout_at(due, news).await.is_err() {
            let late = due.elapsed();
            due = Instant::now() + TICK;
            // Who was held up has not heard of followers what waits to be read: it judges nobody yet.
            if late < TICK {
                tick(&context, &led);
            }
            continue;
        }
        {
            let (published, settings) = (context.published.load(), &context.settings);
            let now = context.clock.now();
            context.outbox.throttles.update(&published, settings, own.broker, now);
        }
        let part = part_of(&context, own.broker);
        led = part.led;
        fetching.retain(|leader, _| part.followed.contains_key(leader));
        for (leader, wanted) in part.followed {
            let told: Vec<_> = wanted.iter().map(|(key, epoch, _)| (*key, *epoch)).collect();
            let partitions: Wanted =
                Arc::new(wanted.into_iter().map(|(key, _, partition)| (key, partition)).collect());
            match fetching.get_mut(&leader) {
                Some(known) if known.told == told => {}
                Some(known) => {
                    known.told = told;
                    known.wanted.send_replace(partitions);
                }
                None => {
                    let (sender, receiver) = watch::channel(partitions);
                    let run = fetching::run(Arc::clone(&context), own, leader, receiver);
                    let task = jocko_net::ports::spawn(run);
                    fetching.insert(leader, Fetching { wanted: sender, told, task });
                }
            }
        }
    }
}

fn part_of(context: &Context, own: BrokerId) -> Part {
    let published = context.published.load();
    let mut part = Part::default();
    if published.image.brokers().nth(1).is_none() {
        return part;
    }
    for (key, partition) in &published.partitions {
        let Some(state) = published.image.partition(key.topic_id, key.partition) else { continue };
        let partition_of = || Arc::clone(partition);
        match state.leader {
            Some(leader) if leader == own && state.replicas.len() > 1 => {
                part.led.push(partition_of());
            }
            // Nobody follows it.
            Some(leader) if leader == own => {}
            Some(leader) => part.followed.entry(leader).or_default().push((
                *key,
                state.leader_epoch,
                partition_of(),
            )),
            None => {}
        }
    }
    part
}

fn tick(context: &Context, led: &[Arc<Partition>]) {
    let now = context.clock.now();
    for partition in led {
        let effects = partition.tick(now);
        context.carry_out(partition, effects);
    }
}
