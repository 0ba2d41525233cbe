//! Committed metadata becomes deeds: partitions open, change or go, and everybody sees the new
//! image. Whoever proposed the change hears of it only after that.

use crate::data_dir::SharedDataDir;
use crate::governing::{govern, layers, topic_config};
use crate::published::Published;
use crate::replication::Outbox;
use arc_swap::ArcSwap;
use jocko_commitlog::{Checkpoints, OpenContext};
use jocko_config::{LoadedSettings, Settings};
use jocko_consensus::{RestoreError, StateMachine};
use jocko_disk::DiskRef;
use jocko_metadata::{
    BrokerState, ClusterDelta, ClusterImage, ConfigResource, PartitionState, Topic, decode_entry,
    encode_entry,
};
use jocko_net::ports::Bell;
use jocko_net::{Mailboxes, Ticket};
use jocko_partition::{Assignment, Effects, Home, Partition, Peer};
use jocko_types::{
    BrokerEpoch, BrokerId, Offset, PartitionIndex, Timestamp, TopicId, TopicIdPartition,
    TopicPartition, Uuid,
};
use std::path::PathBuf;
use std::sync::Arc;

/// What Raft drives: the image, and who acts on it.
pub(crate) struct Publisher {
    image: ClusterImage,
    published: Arc<ArcSwap<Published>>,
    hosting: Hosting,
}

/// What it takes to host partitions.
pub(crate) struct Hosting {
    /// This broker's number; `None` until the image shows a broker with this directory.
    pub(crate) broker: Option<BrokerId>,
    pub(crate) directory: Uuid,
    pub(crate) disk: DiskRef,
    /// The data directory.
    pub(crate) root: PathBuf,
    pub(crate) data_dir: SharedDataDir,
    /// As they stood when the process started: for what is hosted from the beginning.
    pub(crate) checkpoints: Checkpoints,
    /// Whether the last stop was clean.
    pub(crate) is_clean: bool,
    pub(crate) started: Timestamp,
    pub(crate) settings: Arc<LoadedSettings>,
    pub(crate) mailboxes: Mailboxes,
    /// Rung after each change.
    pub(crate) bell: Bell,
    /// Takes what replication is to do.
    pub(crate) outbox: Arc<Outbox>,
}

impl Publisher {
    pub(crate) fn new(published: Arc<ArcSwap<Published>>, hosting: Hosting) -> Self {
        let settings = Arc::new(hosting.settings.settings().clone());
        published.store(Arc::new(Published { settings, ..Published::default() }));
        Self { image: ClusterImage::default(), published, hosting }
    }
}

impl StateMachine for Publisher {
    /// # Panics
    /// On an entry it cannot read: it was written by a newer jocko, or by a bug. Going on without
    /// it would let this broker's metadata differ from the others' (M-1).
    fn apply(&mut self, index: u64, payload: &[u8]) {
        let records = decode_entry(payload)
            .unwrap_or_else(|error| panic!("metadata entry {index} cannot be read: {error}"));
        self.image.apply_all(&records);
    }

    fn publish(&mut self, index: u64) {
        if !self.hosting.data_dir.begin() {
            return;
        }
        let before = self.published.load_full();
        let is_first = self.hosting.broker.is_none() && self.hosting.find_itself(&self.image);
        // What was there before this broker had a number concerns it now.
        let delta = match is_first {
            true => ClusterDelta::between(&ClusterImage::default(), &self.image),
            false => ClusterDelta::between(&before.image, &self.image),
        };
        let mut partitions = before.partitions.clone();
        let settings = self.hosting.effective(&self.image, &delta, &before.settings);
        let mut effects = Effects::default();
        // What goes makes room before what comes: a topic made anew has the same folder names.
        let (gone, here): (Vec<_>, Vec<_>) = delta.partitions.iter().partition(|change| {
            !change.after.as_ref().is_some_and(|state| self.hosting.is_replica(state))
        });
        let (mut ended, mut moved) = (Vec::new(), Vec::new());
        for change in gone {
            let key = TopicIdPartition { topic_id: change.topic.id, partition: change.partition };
            self.hosting.outbox.is_gone(&key);
            if let Some(partition) = partitions.remove(&key) {
                effects = effects.and(partition.delete());
                if change.after.is_some() {
                    moved.push((partition.name().clone(), partition.topic_id()));
                }
                ended.push(partition);
            }
        }
        self.hosting.remove(&ended, &moved);
        // Before assignments: a larger minimum and a smaller in-sync set may come together, and the
        // high watermark must not move between the two.
        for resource in &delta.configs {
            effects =
                effects.and(self.hosting.regovern(&self.image, &settings, resource, &partitions));
        }
        for change in here {
            let Some(state) = &change.after else { continue };
            let key = TopicIdPartition { topic_id: change.topic.id, partition: change.partition };
            let create =
                || self.hosting.create(&self.image, &settings, &change.topic, change.partition);
            if self.hosting.is_given_up(&key, state)
                && let Some(damaged) = partitions.remove(&key)
            {
                effects = effects.and(damaged.discard());
                partitions.insert(key, Arc::new(self.hosting.begin_anew(&damaged, create())));
            }
            let partition = partitions.entry(key).or_insert_with(|| Arc::new(create()));
            let assignment = self.hosting.assignment(&self.image, state);
            effects = effects.and(partition.assign(assignment));
        }
        effects = effects.and(self.hosting.meet(&self.image, &delta, &partitions));
        // A start publishes all it knows at once. A replica that comes later, perhaps one that was
        // taken away meanwhile, begins with nothing.
        self.hosting.checkpoints = Checkpoints::default();
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        let image = self.image.clone();
        self.published.store(Arc::new(Published { index, image, settings, partitions }));
        self.hosting.deliver(effects);
        self.hosting.outbox.image_changed();
        self.hosting.bell.ring();
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_entry(&self.image.records())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let records = decode_entry(state)?;
        let mut image = ClusterImage::default();
        image.apply_all(&records);
        self.image = image;
        Ok(())
    }
}

impl Hosting {
    /// Looks for the broker that this directory is registered as; whether there is one.
    fn find_itself(&mut self, image: &ClusterImage) -> bool {
        let own = image.brokers().find(|it| it.registration.directory == self.directory);
        self.broker = own.map(|broker| broker.id());
        self.broker.is_some()
    }

    fn is_replica(&self, state: &PartitionState) -> bool {
        self.broker.is_some_and(|broker| state.replicas.contains(&broker))
    }

    /// A number for looking up what is set for this broker alone: nobody's, as long as it has none.
    fn number(&self) -> BrokerId {
        self.broker.unwrap_or(BrokerId::new(-1))
    }

    /// The broker's settings under the image's dynamic configs; the old ones if none changed.
    fn effective(
        &self,
        image: &ClusterImage,
        delta: &ClusterDelta,
        before: &Arc<Settings>,
    ) -> Arc<Settings> {
        let ours = |resource: &ConfigResource| match resource {
            ConfigResource::Broker(id) => Some(*id) == self.broker,
            ConfigResource::Cluster => true,
            ConfigResource::Topic(_) | ConfigResource::Group(_) => false,
        };
        if !delta.configs.iter().any(ours) {
            return Arc::clone(before);
        }
        Arc::new(layers(image, self.number(), &self.settings).effective_settings())
    }

    fn create(
        &self,
        image: &ClusterImage,
        settings: &Settings,
        topic: &Topic,
        index: PartitionIndex,
    ) -> Partition {
        let name = TopicPartition { topic: topic.name.clone(), partition: index };
        let config = topic_config(image, self.number(), &self.settings, &topic.name);
        // A checkpoint of an older topic of this name says nothing about this one; one that does
        // not say whose it is came with a log that Kafka wrote.
        let checkpoint = self
            .checkpoints
            .get(&name)
            .filter(|found| found.topic_id == topic.id || found.topic_id.is_zero());
        let home = Home {
            disk: Arc::clone(&self.disk),
            dir: self.root.join(name.to_string()),
            broker: self.number(),
            open: OpenContext {
                topic_id: Some(topic.id),
                clean: self.is_clean,
                recovery_point: checkpoint.map_or(Offset::ZERO, |found| found.recovery_point),
                log_start: checkpoint.map_or(Offset::ZERO, |found| found.log_start),
                now: self.started,
            },
        };
        let governed = govern(&config, settings, fastrand::f64());
        Partition::new(name, topic.id, home, governed)
    }

    /// Renames the folders of partitions that have ended here; the files go later (DR5). Those that
    /// moved away may come back under their ids: what was durable of them is forgotten first.
    fn remove(&self, ended: &[Arc<Partition>], moved: &[(TopicPartition, TopicId)]) {
        if !moved.is_empty()
            && let Err(fault) = self.data_dir.forget(moved)
        {
            tracing::error!(%fault, "the checkpoints still know of copies that moved away");
        }
        for partition in ended {
            let unique = Uuid::from_random(fastrand::u128(..).to_be_bytes());
            let (name, topic_id) = (partition.name(), partition.topic_id());
            let deleted = self.data_dir.with(|data_dir| data_dir.delete(name, topic_id, unique));
            if let Some(Err(fault)) = deleted {
                tracing::error!(partition = %name, %fault, "the folder of a deleted partition stays");
            }
        }
    }

    /// Whether a copy of this broker's is damaged and nobody counts on it any more: the controller
    /// has unset its disk, and all that it ever said is of older epochs.
    fn is_given_up(&self, key: &TopicIdPartition, state: &PartitionState) -> bool {
        let Some(own) = self.broker else { return false };
        let is_silent = self.outbox.silent_since(key).is_some_and(|it| state.leader_epoch > it);
        is_silent
            && state.directory(own) == Some(Uuid::ZERO)
            && state.leader.is_some_and(|leader| leader != own)
            && !state.isr.contains(&own)
            && !state.elr.contains(&own)
    }

    /// Sets the folder of a damaged copy aside, which was just ended. `fresh` takes its place, and has
    /// all of it to fetch; where the folder cannot be moved it does not touch it.
    fn begin_anew(&self, damaged: &Partition, fresh: Partition) -> Partition {
        let (name, topic_id) = (damaged.name(), damaged.topic_id());
        let unique = Uuid::from_random(fastrand::u128(..).to_be_bytes());
        self.outbox.is_gone(&damaged.key());
        match self.data_dir.with(|data_dir| data_dir.set_damaged_aside(name, unique)) {
            Some(Ok(Some(path))) => tracing::warn!(
                partition = %name, path = %path.display(),
                "a damaged copy was set aside and is fetched anew; what was set aside can be deleted"
            ),
            Some(Ok(None)) => {
                tracing::warn!(partition = %name, "a copy that was gone is fetched anew");
            }
            Some(Err(fault)) => {
                tracing::error!(partition = %name, %fault, "a damaged copy cannot be set aside");
                if let Some(damage) = damaged.damage() {
                    fresh.spoil(damage.clone());
                }
                return fresh;
            }
            None => return fresh,
        }
        if let Err(fault) = self.data_dir.forget(&[(name.clone(), topic_id)]) {
            tracing::error!(%fault, "the checkpoints still know of a copy that was set aside");
        }
        fresh
    }

    fn regovern(
        &self,
        image: &ClusterImage,
        settings: &Settings,
        resource: &ConfigResource,
        partitions: &imbl::OrdMap<TopicIdPartition, Arc<Partition>>,
    ) -> Effects {
        let mut effects = Effects::default();
        for partition in partitions.values() {
            let topic = &partition.name().topic;
            let concerned = match resource {
                ConfigResource::Topic(name) => name == topic,
                ConfigResource::Broker(id) => Some(*id) == self.broker,
                ConfigResource::Cluster => true,
                ConfigResource::Group(_) => false,
            };
            if concerned {
                let config = topic_config(image, self.number(), &self.settings, topic);
                let governed = govern(&config, settings, fastrand::f64());
                effects = effects.and(partition.govern(governed));
            }
        }
        effects
    }

    fn deliver(&self, mut effects: Effects) {
        self.outbox.take(&mut effects);
        let tickets: Vec<Ticket> =
            effects.released.iter().map(|&bits| Ticket::from_bits(bits)).collect();
        self.mailboxes.deliver(&tickets);
    }

    /// Tells partitions of brokers that were registered, fenced or unfenced: those that others keep,
    /// and all if it is this one.
    fn meet(
        &self,
        image: &ClusterImage,
        delta: &ClusterDelta,
        partitions: &imbl::OrdMap<TopicIdPartition, Arc<Partition>>,
    ) -> Effects {
        let concerns_all = self.broker.is_some_and(|own| delta.brokers.contains(&own));
        let mut effects = Effects::default();
        if delta.brokers.is_empty() {
            return effects;
        }
        for (key, partition) in partitions {
            let state = image.partition(key.topic_id, key.partition);
            let Some(state) = state.filter(|state| concerns_all || state.replicas.len() > 1) else {
                continue;
            };
            effects = effects.and(partition.assign(self.assignment(image, state)));
        }
        effects
    }

    fn assignment(&self, image: &ClusterImage, state: &PartitionState) -> Assignment {
        assignment(image, self.number(), self.outbox.registration(), state)
    }
}

/// What the image says to a replica on broker `own`, whose process is registered as `registered` if
/// it is by now.
pub(crate) fn assignment(
    image: &ClusterImage,
    own: BrokerId,
    registered: Option<BrokerEpoch>,
    state: &PartitionState,
) -> Assignment {
    let peer = |id: &BrokerId| {
        let broker = image.broker(*id)?;
        let may_join = broker.is_active() && broker.takes_writes();
        Some(Peer { broker: *id, broker_epoch: broker.epoch(), may_join })
    };
    let is_alone = image.brokers().nth(1).is_none();
    let is_registered = |broker: &jocko_metadata::Broker| match registered {
        Some(epoch) => broker.epoch() == epoch && broker.state() == BrokerState::Live,
        // What the log says of this broker is of its last process. A lone one leads at once, as
        // nobody else can.
        None => is_alone,
    };
    Assignment {
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        replicas: state.replicas.clone(),
        isr: state.isr.clone(),
        peers: state.replicas.iter().filter_map(peer).collect(),
        is_fenced: !image.broker(own).is_some_and(|broker| is_registered(broker)),
    }
}
