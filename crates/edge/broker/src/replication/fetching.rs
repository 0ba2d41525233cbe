//! One task per leader: asks for all partitions that this broker follows there with one question at
//! a time, and takes the answers in. A leader that is slow or gone holds up nobody but itself.

use super::{
    ANSWER_BYTES_MAX, FETCH, Own, PARTITION_BYTES_MAX, WAIT_MAX, place_of, throttling, wire,
};
use crate::context::Context;
use bytes::Bytes;
use jocko_codec::{Decode, Reader};
use jocko_net::peers::{Lane, PeerTarget};
use jocko_net::ports::run_on;
use jocko_partition::{Answered, Follow, Followed, Misfit, Partition, ReplicaEpochEnd};
use jocko_protocol::rpc::fetch_response::{FetchResponse, PartitionData};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicIdPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// The partitions to follow at one leader.
pub(super) type Wanted = Arc<Vec<(TopicIdPartition, Arc<Partition>)>>;

/// How long a leader may take for an answer beyond the wait for records.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// After a question that failed as a whole, from and to; doubled each time.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// A partition rests so long where this broker and its leader do not agree who that is: the image
/// is on its way to one of them.
const REST_FOR_IMAGE: Duration = Duration::from_millis(50);
/// And so long where something is wrong with it.
const REST: Duration = Duration::from_secs(2);
/// How often it is said of a partition that what its leader sends does not fit.
const REMINDER: Duration = Duration::from_secs(60);
/// And so long where following would destroy committed records.
const REST_AT_ODDS: Duration = Duration::from_secs(60);
/// Smaller shares of an answer are not worth asking for.
const SHARE_BYTES_MIN: usize = 64 << 10;
/// An answer of so many bytes is taken in by a worker.
const INLINE_BYTES_MAX: usize = 64 << 10;

type Asked = Vec<(TopicIdPartition, Arc<Partition>, Follow)>;
/// What is asked for, and how many bytes of it at most.
type Question = (TopicIdPartition, Follow, usize);

pub(super) async fn run(
    context: Arc<Context>,
    own: Own,
    leader: BrokerId,
    mut wanted: watch::Receiver<Wanted>,
) {
    let mut fetcher = Fetcher {
        context,
        own,
        leader,
        resting: BTreeMap::new(),
        turn: 0,
        pause: PAUSE.0,
        trouble: String::new(),
        reminders: Reminders::default(),
    };
    loop {
        let partitions = Arc::clone(&wanted.borrow_and_update());
        tokio::select! {
            biased;
            () = fetcher.round(&partitions) => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

struct Fetcher {
    context: Arc<Context>,
    own: Own,
    leader: BrokerId,
    /// Partitions that are not asked for until then.
    resting: BTreeMap<TopicIdPartition, Instant>,
    /// Which partition stands first in the next question, so that none is always last.
    turn: usize,
    pause: Duration,
    /// What went wrong last, so that it is said once.
    trouble: String,
    reminders: Reminders,
}

/// When it was last said of a partition that something is wrong, while it still is.
#[derive(Default)]
struct Reminders(BTreeMap<TopicIdPartition, Instant>);

impl Reminders {
    /// Whether it is to be said now.
    fn is_due(&mut self, key: TopicIdPartition, now: Instant) -> bool {
        self.0.retain(|_, said| now.duration_since(*said) < REMINDER);
        let is_due = !self.0.contains_key(&key);
        if is_due {
            self.0.insert(key, now);
        }
        is_due
    }
}

impl Fetcher {
    /// One question and its answer. May be given up anywhere; what was taken in stays.
    async fn round(&mut self, partitions: &Wanted) {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let asked = self.ask(partitions).await;
        if asked.is_empty() {
            match self.resting.values().min() {
                Some(first) => sleep_until(*first).await,
                None => sleep(REST).await,
            }
            return;
        }
        let answer = match self.call(&asked).await {
            Ok(answer) => answer,
            Err(words) => {
                if words != self.trouble {
                    let leader = self.leader;
                    tracing::warn!(%leader, "nothing can be fetched: {words}");
                    self.trouble = words;
                }
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(PAUSE.1);
                return;
            }
        };
        self.pause = PAUSE.0;
        self.trouble.clear();
        self.turn = self.turn.wrapping_add(ANSWER_BYTES_MAX / share(asked.len()));
        self.take(asked, answer).await;
    }

    /// What to ask now. Logs that were never used are opened, by a worker.
    async fn ask(&mut self, partitions: &Wanted) -> Asked {
        let (front, back) = partitions.split_at(self.turn % partitions.len().max(1));
        let awake =
            |(key, _): &&(TopicIdPartition, Arc<Partition>)| !self.resting.contains_key(key);
        let chosen: Vec<_> = back.iter().chain(front).filter(awake).cloned().collect();
        let look = move || {
            let follow = |(key, partition): (TopicIdPartition, Arc<Partition>)| {
                let follow = partition.follow();
                (key, partition, follow)
            };
            chosen.into_iter().map(follow).collect::<Vec<_>>()
        };
        let looked = if partitions.iter().all(|(_, partition)| partition.is_open()) {
            Some(look())
        } else {
            run_on(&*self.context.spawn, look).await
        };
        let until = Instant::now();
        let mut asked = Vec::new();
        for (key, partition, follow) in looked.unwrap_or_default() {
            match follow {
                Ok(Some(follow)) if follow.following.leader == self.leader => {
                    if self.allowance(&key, PARTITION_BYTES_MAX) == 0 {
                        self.resting.insert(key, until + throttling::REST);
                        continue;
                    }
                    asked.push((key, partition, follow));
                }
                // The image is about to say something else.
                Ok(_) => {
                    self.resting.insert(key, until + REST_FOR_IMAGE);
                }
                Err(_) => {
                    self.resting.insert(key, until + REST);
                }
            }
        }
        asked
    }

    /// How much may be fetched of a partition: its share of an answer, less where it is to catch up
    /// slowly.
    fn allowance(&self, key: &TopicIdPartition, share: usize) -> usize {
        let end = &self.context.outbox.throttles.follower;
        if !end.holds(key) {
            return share;
        }
        let published = self.context.published.load();
        let state = published.image.partition(key.topic_id, key.partition);
        if state.is_some_and(|state| state.isr.contains(&self.own.broker)) {
            return share;
        }
        end.allowance(self.context.clock.now()).min(share)
    }

    async fn call(&self, asked: &Asked) -> Result<Bytes, String> {
        let unknown = || "its address is not known".to_owned();
        let (node, address) = place_of(&self.context, self.leader).ok_or_else(unknown)?;
        let share = share(asked.len());
        let about: Vec<Question> = asked
            .iter()
            .map(|(key, _, follow)| (*key, *follow, self.allowance(key, share)))
            .collect();
        let body = wire::question(self.own, &about);
        let target = PeerTarget::node(node, &address);
        let peers = &self.context.cluster.peers;
        let answer = peers.call(target, Lane::Data, FETCH, body, WAIT_MAX + ANSWER_MAX).await;
        answer.map_err(|error| format!("{address}: {error}"))
    }

    /// Takes an answer in: a short one at once, others on a worker, for logs may have to be cut.
    async fn take(&mut self, asked: Asked, answer: Bytes) {
        let context = Arc::clone(&self.context);
        let is_short = answer.len() <= INLINE_BYTES_MAX;
        let work =
            move |may_cut: bool| take_in(&context, &asked, &answer, may_cut).ok_or((asked, answer));
        let done = if is_short { work(false) } else { self.on_worker(move || work(true)).await };
        let done = match done {
            Ok(done) => done,
            Err((asked, answer)) => {
                let context = Arc::clone(&self.context);
                let work = move || take_in(&context, &asked, &answer, true).ok_or((asked, answer));
                self.on_worker(work).await.unwrap_or_default()
            }
        };
        let now = Instant::now();
        for (key, Pause { rest, misfit }) in done {
            self.resting.insert(key, now + rest);
            if let Some(Unfit { partition, offset, why }) = misfit
                && self.reminders.is_due(key, now)
            {
                tracing::error!(
                    %partition,
                    leader = %self.leader,
                    %offset,
                    "a leader's records do not fit, and are asked for again every {REST:?}: {why}"
                );
            }
        }
    }

    async fn on_worker<T>(
        &self,
        work: impl FnOnce() -> Result<Vec<Rest>, T> + Send + 'static,
    ) -> Result<Vec<Rest>, T>
    where
        T: Send + 'static,
    {
        run_on(&*self.context.spawn, work).await.unwrap_or_else(|| Ok(Vec::new()))
    }
}

/// How much of an answer a partition may take where so many are asked for: all of them move, or, if
/// they are too many, as many as fit, and the next question begins behind those.
fn share(partitions: usize) -> usize {
    (ANSWER_BYTES_MAX / partitions.max(1)).clamp(SHARE_BYTES_MIN, PARTITION_BYTES_MAX)
}

/// A partition that rests, and how long.
type Rest = (TopicIdPartition, Pause);

/// How long a partition rests, and what of its leader's records did not fit if that is why.
struct Pause {
    rest: Duration,
    misfit: Option<Unfit>,
}

struct Unfit {
    partition: String,
    /// The end of the log, from where it was asked.
    offset: Offset,
    why: String,
}

impl From<Duration> for Pause {
    fn from(rest: Duration) -> Self {
        Self { rest, misfit: None }
    }
}

/// Takes in what an answer says of each partition. `None`, and nothing done, if a log might have to
/// be cut, which takes as long as the device does, and `may_cut` forbids it.
fn take_in(
    context: &Arc<Context>,
    asked: &Asked,
    answer: &[u8],
    may_cut: bool,
) -> Option<Vec<Rest>> {
    let response = match FetchResponse::decode(&mut Reader::new(answer), wire::VERSION) {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a leader's answer cannot be read");
            return Some(asked.iter().map(|(key, ..)| (*key, REST.into())).collect());
        }
    };
    let told = || {
        let topics = response.responses.iter();
        topics.flat_map(|topic| topic.partitions.iter().map(|data| (topic.topic_id, data)))
    };
    let is_cut = |data: &PartitionData<'_>| {
        data.diverging_epoch.end_offset >= 0
            || data.error_code == ErrorCode::OffsetOutOfRange as i16
    };
    if !may_cut && told().any(|(_, data)| is_cut(data)) {
        return None;
    }
    let asked: BTreeMap<_, _> =
        asked.iter().map(|(key, partition, follow)| (*key, (partition, follow))).collect();
    let mut rests = Vec::new();
    for (topic_id, data) in told() {
        let partition = jocko_types::PartitionIndex::new(data.partition_index);
        let key = TopicIdPartition { topic_id, partition };
        let Some((partition, follow)) = asked.get(&key) else { continue };
        let throttled = &context.outbox.throttles.follower;
        if throttled.holds(&key) {
            let records = data.records.as_ref().and_then(|records| records.inline());
            throttled.record(records.map_or(0, <[u8]>::len), context.clock.now());
        }
        if let Some(rest) = take_one(context, partition, follow, data) {
            rests.push((key, rest));
        }
    }
    Some(rests)
}

/// Takes in what an answer says of one partition; how long that is to rest, if at all.
fn take_one(
    context: &Arc<Context>,
    partition: &Arc<Partition>,
    follow: &Follow,
    data: &PartitionData<'_>,
) -> Option<Pause> {
    let records = data.records.as_ref().and_then(|records| records.inline()).unwrap_or_default();
    let answered = match ErrorCode::from_code(data.error_code) {
        Some(ErrorCode::None) if data.diverging_epoch.end_offset >= 0 => {
            Answered::Diverging(ReplicaEpochEnd {
                epoch: LeaderEpoch::new(data.diverging_epoch.epoch),
                end: Offset::new(data.diverging_epoch.end_offset),
            })
        }
        Some(ErrorCode::None) => Answered::Records {
            bytes: records,
            high_watermark: Offset::new(data.high_watermark),
            log_start: Offset::new(data.log_start_offset),
        },
        Some(ErrorCode::OffsetOutOfRange) => Answered::OutOfRange {
            log_start: Offset::new(data.log_start_offset),
            // Nobody reads uncommitted transactions here: the field tells the log's end.
            log_end: Offset::new(data.last_stable_offset),
        },
        Some(ErrorCode::KafkaStorageError) => return Some(REST.into()),
        _ => return Some(REST_FOR_IMAGE.into()),
    };
    let wall = context.clock.wall();
    let (followed, effects) = partition.take_answer(follow.following, &answered, wall);
    context.carry_out(partition, effects);
    judge(partition, follow.following.offset, followed)
}

/// Says what happened to a log that had ended at `had`; how long it is to rest, if at all.
fn judge(partition: &Partition, had: Offset, followed: Followed) -> Option<Pause> {
    match followed {
        Followed::Appended { .. } | Followed::Stale => None,
        Followed::Cut { end } if end >= had => None,
        Followed::Cut { end } => {
            tracing::info!(partition = %partition.name(), %end, "cut to where its leader's log agrees");
            None
        }
        Followed::Restarted { at } => {
            tracing::info!(partition = %partition.name(), %at, "begun anew where its leader's log starts");
            None
        }
        Followed::Misfit(misfit) => {
            let partition = partition.name().to_string();
            Some(Pause {
                rest: REST,
                misfit: Some(Unfit { partition, offset: had, why: words(&misfit) }),
            })
        }
        Followed::NoRoom { .. } | Followed::Failed(_) => Some(REST.into()),
        Followed::LosesCommitted { to, high_watermark } => {
            // Everything that could be done here would destroy what somebody was told is safe. It
            // stays as it is, out of sync, for whoever wants to save it; other partitions go on.
            tracing::error!(
                partition = %partition.name(),
                %to,
                %high_watermark,
                "the leader's log lacks what is committed here, as after an unclean election; this \
                 copy is kept and follows no more until this broker is started again"
            );
            Some(REST_AT_ODDS.into())
        }
    }
}

fn words(misfit: &Misfit) -> String {
    match misfit {
        Misfit::Damaged(error) => format!("a batch is damaged: {error}"),
        Misfit::OutOfPlace { expected, got } => {
            format!("a batch begins at {got}, and {expected} is what follows")
        }
        Misfit::OldEpoch { latest, got } => {
            format!("a batch is of leader epoch {got}, and the log has reached {latest}")
        }
        Misfit::TooLarge => "a batch is larger than any file may be".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_types::{PartitionIndex, Uuid};

    #[test]
    fn what_does_not_fit_is_said_once_a_minute_of_each_partition() {
        let mut reminders = Reminders::default();
        let start = Instant::now();
        let topic_id = Uuid::ZERO;
        let key = |index| TopicIdPartition { topic_id, partition: PartitionIndex::new(index) };
        let said = (0..120_u64)
            .filter(|seconds| reminders.is_due(key(0), start + Duration::from_secs(*seconds)));
        assert_eq!(said.collect::<Vec<_>>(), [0, 60]);
        assert!(reminders.is_due(key(1), start + Duration::from_secs(119)));
        let misfit = Misfit::OutOfPlace { expected: Offset::new(7), got: Offset::new(9) };
        assert_eq!(words(&misfit), "a batch begins at 9, and 7 is what follows");
    }

    #[test]
    fn every_partition_gets_its_turn() {
        assert_eq!(share(1), PARTITION_BYTES_MAX);
        assert_eq!(share(8), 1 << 20);
        assert_eq!(share(100_000), SHARE_BYTES_MIN);
        for count in [1, 3, 8, 100, 1_000] {
            let fit = ANSWER_BYTES_MAX / share(count);
            assert!(fit * share(count) <= ANSWER_BYTES_MAX);
            assert!(fit >= count.min(128), "{count}: {fit}");
        }
    }
}
