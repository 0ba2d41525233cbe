//! Groups: which coordinator a group has, and the coordinators this broker hosts.
//!
//! A group's state lives in one partition of `__consumer_offsets`, in Kafka's own records; the
//! leader of that partition coordinates. [`Shard`] is one such partition with its coordinator.
//! What a coordinator decides is in the crate `jocko-group`; here is only who is asked, what is
//! written before who is answered, and when time has passed.

pub(crate) mod asking;
mod commits;
mod deadlines;
mod forgets;
mod replay;
mod shard;
mod view;

pub(crate) use deadlines::run;
pub(crate) use shard::{Asked, Reading, Shard};

use crate::context::Context;
use crate::controller::Undecided;
use crate::published::Published;
use arc_swap::ArcSwap;
use deadlines::Deadlines;
use imbl::OrdMap;
use jocko_config::Settings;
use jocko_metadata::{Command, NewTopic, Reply};
use jocko_net::ports::{SpawnRef, run_on};
use jocko_partition::Partition;
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex};
use std::sync::{Arc, Mutex, PoisonError};
use view::Policies;

/// Where groups are kept (Kafka's name).
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The coordinators of this broker.
pub(crate) struct Groups {
    shards: ArcSwap<OrdMap<i32, Arc<Shard>>>,
    /// Held by whoever adds or removes a shard.
    adopting: Mutex<()>,
    deadlines: Deadlines,
    policies: Policies,
    /// Loading reads files.
    spawn: SpawnRef,
    /// Where loads are waited for.
    control: tokio::runtime::Handle,
}

impl Groups {
    /// None yet. Runs what it must wait for on the runtime it is called on.
    pub(crate) fn new(spawn: SpawnRef) -> Self {
        Self {
            shards: ArcSwap::default(),
            adopting: Mutex::new(()),
            deadlines: Deadlines::new(),
            policies: Policies::default(),
            spawn,
            control: tokio::runtime::Handle::current(),
        }
    }

    /// The coordinator of a group, which may still be loading.
    ///
    /// # Errors
    /// The answer for a client that should look for its coordinator again.
    pub(crate) fn shard(
        &self,
        context: &Arc<Context>,
        group_id: &str,
    ) -> Result<Arc<Shard>, ErrorCode> {
        if context.cluster.contact.is_lost() {
            return Err(ErrorCode::NotCoordinator);
        }
        let published = context.published.load();
        let index = partition_of(&published, group_id).ok_or(ErrorCode::NotCoordinator)?;
        self.shard_at(context, &published, index)
    }

    /// All coordinators, in the order of their partitions.
    pub(crate) fn all(&self) -> Vec<Arc<Shard>> {
        self.shards.load().values().cloned().collect()
    }

    /// Brings the coordinators in line with the partitions led here: those that went are dropped,
    /// those that hold something are loaded. What was never written to is met when it is needed.
    pub(crate) fn follow(&self, context: &Arc<Context>) {
        let published = context.published.load();
        let led = |index: i32| led(context.broker, &published, index).ok();
        for shard in self.all() {
            if !led(shard.index()).is_some_and(|led| led.is_of(&shard)) {
                self.drop_shard(context, &shard);
            }
        }
        let partitions = published.image.topic(OFFSETS_TOPIC).map_or(0, |t| t.partitions.len());
        for index in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            if led(index).is_some_and(|led| led.partition.has_files()) {
                // Who leads elsewhere is asked there.
                let _ = self.shard_at(context, &published, index);
            }
        }
    }

    fn shard_at(
        &self,
        context: &Arc<Context>,
        published: &Published,
        index: i32,
    ) -> Result<Arc<Shard>, ErrorCode> {
        let led = led(context.broker, published, index)?;
        let is_current = |shard: &&Arc<Shard>| led.is_of(shard);
        if let Some(shard) = self.shards.load().get(&index).filter(is_current) {
            return Ok(Arc::clone(shard));
        }
        let _adopting = self.adopting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shards.load_full();
        if let Some(shard) = before.get(&index).filter(is_current) {
            return Ok(Arc::clone(shard));
        }
        let shard = Arc::new(Shard::new(index, Arc::clone(&led.partition), led.epoch));
        self.shards.store(Arc::new(before.update(index, Arc::clone(&shard))));
        if let Some(replaced) = before.get(&index) {
            replaced.unload(context);
        }
        self.load(context, &shard);
        Ok(shard)
    }

    /// Loads coordinators again that could not be loaded, once their time has come.
    fn load_again(&self, context: &Arc<Context>) {
        let now = context.clock.now();
        for shard in self.all() {
            if shard.begin_again(now) {
                self.load(context, &shard);
            }
        }
    }

    /// Loads a coordinator: at once where there is nothing to read, else on a worker.
    fn load(&self, context: &Arc<Context>, shard: &Arc<Shard>) {
        if !shard.partition().has_files() {
            shard.load(context);
            return;
        }
        let (context, shard) = (Arc::clone(context), Arc::clone(shard));
        let spawn = Arc::clone(&self.spawn);
        self.control.spawn(async move {
            let work = {
                let (context, shard) = (Arc::clone(&context), Arc::clone(&shard));
                move || shard.load(&context)
            };
            if run_on(&*spawn, work).await.is_none() {
                shard.fail(&context, &"no worker reads its log");
            }
        });
    }

    fn drop_shard(&self, context: &Arc<Context>, shard: &Arc<Shard>) {
        let _adopting = self.adopting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shards.load_full();
        if before.get(&shard.index()).is_some_and(|current| Arc::ptr_eq(current, shard)) {
            self.shards.store(Arc::new(before.without(&shard.index())));
        }
        shard.unload(context);
    }
}

/// A partition of `__consumer_offsets` that this broker leads, and since which leader epoch.
struct Led {
    partition: Arc<Partition>,
    epoch: LeaderEpoch,
}

impl Led {
    /// Whether a coordinator was made for this leadership: what it knows may be behind the log of
    /// a later one, even of the same broker.
    fn is_of(&self, shard: &Arc<Shard>) -> bool {
        Arc::ptr_eq(shard.partition(), &self.partition) && shard.epoch() == self.epoch
    }
}

/// The partition, if this broker leads it.
fn led(broker: BrokerId, published: &Published, index: i32) -> Result<Led, ErrorCode> {
    let state = published
        .image
        .topic(OFFSETS_TOPIC)
        .and_then(|topic| topic.partitions.get(&PartitionIndex::new(index)))
        .filter(|state| state.leader == Some(broker))
        .ok_or(ErrorCode::NotCoordinator)?;
    let hosted = published.by_name(OFFSETS_TOPIC, index).map_err(|_| ErrorCode::NotCoordinator)?;
    Ok(Led { partition: hosted.partition, epoch: state.leader_epoch })
}

/// The partition of `__consumer_offsets` that keeps a group; `None` until that topic exists.
pub(crate) fn partition_of(published: &Published, group_id: &str) -> Option<i32> {
    let partitions = published.image.topic(OFFSETS_TOPIC)?.partitions.len();
    let partitions = i32::try_from(partitions).ok().filter(|count| *count > 0)?;
    // As Kafka's `Utils.abs`: the sign bit goes, so that the smallest number has an absolute value.
    Some((java_hash(group_id) & i32::MAX) % partitions)
}

/// Java's `String.hashCode`: groups must be found where Kafka's files have them.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Whether the topic that keeps groups is there.
pub(crate) fn topic_exists(context: &Context) -> bool {
    context.published.load().image.topic(OFFSETS_TOPIC).is_some()
}

/// The topic that keeps groups as somebody asks for it, with everything that is left open as it
/// must be for them. Other topics stay as they are.
///
/// Kafka takes what clients create under that name as they ask: with one partition, and with
/// records that go after a week, commits among them. Here the number of partitions is theirs to
/// choose, for coordinators follow it; that the topic is compacted is not.
///
/// # Errors
/// The value of `cleanup.policy` that would let commits go.
pub(crate) fn complete(mut topic: NewTopic, settings: &Settings) -> Result<NewTopic, String> {
    if topic.name != OFFSETS_TOPIC {
        return Ok(topic);
    }
    let settings = &settings.groups;
    let policy = topic.configs.iter().find(|(name, _)| name == "cleanup.policy");
    if let Some((_, Some(policy))) = policy
        && policy.trim() != "compact"
    {
        return Err(policy.clone());
    }
    if topic.assignments.is_empty() {
        if topic.partitions == -1 {
            topic.partitions = i32::try_from(settings.offsets_partitions.get()).unwrap_or(i32::MAX);
        }
        if topic.replication_factor == -1 {
            topic.replication_factor =
                settings.offsets_replication.set().map_or(-1, |factor| factor.get());
        }
    }
    let wanted = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", settings.offsets_segment.as_usize().to_string()),
    ];
    for (name, value) in wanted {
        if !topic.configs.iter().any(|(given, _)| given == name) {
            topic.configs.push((name.to_owned(), Some(value)));
        }
    }
    Ok(topic)
}

/// Creates `__consumer_offsets` where it is missing, as the first question for a coordinator does
/// in Kafka.
///
/// # Errors
/// The answer for a client that should ask again.
pub(crate) async fn ensure_topic(context: &Context) -> Result<(), ErrorCode> {
    if topic_exists(context) {
        return Ok(());
    }
    let settings = Arc::clone(&context.published.load().settings);
    let topic = NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions: -1,
        replication_factor: -1,
        ..NewTopic::default()
    };
    let topic = complete(topic, &settings).expect("no policy is asked for");
    let command = Command::CreateTopics { topics: vec![topic], validate_only: false };
    let undecided = |Undecided(_)| ErrorCode::CoordinatorNotAvailable;
    let Reply::CreateTopics(answers) =
        context.controller.submit(command).await.map_err(undecided)?
    else {
        unreachable!("each command has its own kind of reply")
    };
    for (_, answer) in answers {
        match answer {
            Ok(_) => tracing::info!(topic = OFFSETS_TOPIC, "created for the first group"),
            Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => {}
            Err(refusal) => {
                tracing::error!(topic = OFFSETS_TOPIC, reason = refusal.message, "not created");
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{OFFSETS_TOPIC, complete, java_hash};
    use jocko_config::Settings;
    use jocko_metadata::NewTopic;

    fn asked(name: &str, partitions: i32, configs: &[(&str, &str)]) -> NewTopic {
        NewTopic {
            name: name.to_owned(),
            partitions,
            replication_factor: -1,
            configs: configs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned())))
                .collect(),
            ..NewTopic::default()
        }
    }

    fn config<'t>(topic: &'t NewTopic, name: &str) -> Option<&'t str> {
        topic.configs.iter().find(|(given, _)| given == name)?.1.as_deref()
    }

    #[test]
    fn whoever_creates_the_topic_of_offsets_it_keeps_them() {
        let settings = Settings::default();
        let made = complete(asked(OFFSETS_TOPIC, 1, &[]), &settings).unwrap();
        assert_eq!(made.partitions, 1, "coordinators follow the number");
        assert_eq!(config(&made, "cleanup.policy"), Some("compact"));
        assert_eq!(config(&made, "compression.type"), Some("producer"));
        assert_eq!(config(&made, "segment.bytes"), Some("104857600"));
        let made = complete(asked(OFFSETS_TOPIC, -1, &[("segment.bytes", "1048576")]), &settings);
        let made = made.unwrap();
        assert_eq!((made.partitions, config(&made, "segment.bytes")), (50, Some("1048576")));
        for policy in ["delete", "compact,delete", ""] {
            let asked = asked(OFFSETS_TOPIC, 1, &[("cleanup.policy", policy)]);
            assert_eq!(complete(asked, &settings).unwrap_err(), policy);
        }
        let other = asked("mine", -1, &[("cleanup.policy", "delete")]);
        assert_eq!(complete(other.clone(), &settings), Ok(other));
    }

    #[test]
    fn groups_are_where_kafka_looks_for_them() {
        // From Java: "".hashCode(), "a".hashCode(), ...
        for (text, hash) in [
            ("", 0),
            ("a", 97),
            ("console-consumer-12345", 158_455_506),
            ("polygenelubricants", i32::MIN),
            ("grüße", 98_768_023),
            ("😀", 1_772_899),
        ] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }
}
