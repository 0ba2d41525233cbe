//! The image: all metadata up to one Raft index.

mod broker;

use crate::record::{ConfigResource, MetadataRecord, PartitionState, Registration, Replication};
use crate::wire::encode_record;
use imbl::OrdMap;
use jocko_config::kafka::{CORDONED, ConfigMap, NO_CONFIGS};
use jocko_types::{
    BrokerEpoch, BrokerId, PartitionIndex, ProducerId, Timestamp, TopicId, TopicName, Uuid,
};
use std::sync::Arc;

pub use broker::{Broker, BrokerState};

/// All facts about the cluster. Cloning shares the maps; two images that differ in one topic
/// share all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterImage {
    cluster_id: Uuid,
    created: Timestamp,
    last_broker_epoch: BrokerEpoch,
    last_removed_id: Option<BrokerId>,
    features: OrdMap<String, i16>,
    brokers: OrdMap<BrokerId, Arc<Broker>>,
    topics: OrdMap<TopicId, Arc<Topic>>,
    topic_ids: OrdMap<TopicName, TopicId>,
    /// Topics with a `.` or `_` in their name by the one name both spellings share.
    unified_names: OrdMap<String, Arc<Vec<TopicName>>>,
    configs: OrdMap<ConfigResource, Arc<ConfigMap>>,
    next_producer_id: ProducerId,
    partition_count: u64,
}

/// A topic with its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many copies its creator asked for.
    pub replication: Replication,
    /// Its partitions by number.
    pub partitions: OrdMap<PartitionIndex, Arc<Partition>>,
}

/// A partition of a topic.
pub type Partition = PartitionState;

impl Default for ClusterImage {
    fn default() -> Self {
        Self {
            cluster_id: Uuid::ZERO,
            created: Timestamp::NONE,
            last_broker_epoch: BrokerEpoch::new(0),
            last_removed_id: None,
            features: OrdMap::new(),
            brokers: OrdMap::new(),
            topics: OrdMap::new(),
            topic_ids: OrdMap::new(),
            unified_names: OrdMap::new(),
            configs: OrdMap::new(),
            next_producer_id: ProducerId::new(0),
            partition_count: 0,
        }
    }
}

/// Looking things up.
impl ClusterImage {
    /// The cluster's id, once it is formed.
    #[must_use]
    pub fn cluster_id(&self) -> Option<Uuid> {
        (!self.cluster_id.is_zero()).then_some(self.cluster_id)
    }

    /// When the cluster was formed.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// The largest broker epoch ever given out.
    #[must_use]
    pub fn last_broker_epoch(&self) -> BrokerEpoch {
        self.last_broker_epoch
    }

    /// The largest number of a broker that was removed, as far as the log tells: it is nobody
    /// else's, unless somebody names it.
    #[must_use]
    pub fn last_removed_id(&self) -> Option<BrokerId> {
        self.last_removed_id
    }

    /// The first producer id that nobody has been given.
    #[must_use]
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// A topic by its name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topic_ids.get(name).and_then(|id| self.topics.get(id))
    }

    /// A topic by its id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// Every topic, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topic_ids.values().filter_map(|id| self.topics.get(id))
    }

    /// Every topic whose name is `from` or comes after it, by name: a page of a long list.
    pub fn topics_from(&self, from: &str) -> impl Iterator<Item = &Arc<Topic>> {
        use std::ops::Bound;
        self.topic_ids
            .range::<_, str>((Bound::Included(from), Bound::Unbounded))
            .filter_map(|(_, id)| self.topics.get(id))
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions all topics have together.
    #[must_use]
    pub fn partition_count(&self) -> u64 {
        self.partition_count
    }

    /// A partition by its topic's id.
    #[must_use]
    pub fn partition(&self, topic: TopicId, partition: PartitionIndex) -> Option<&Arc<Partition>> {
        self.topics.get(&topic).and_then(|topic| topic.partitions.get(&partition))
    }

    /// A topic that exists and would share its metric name with a new one called `name`.
    #[must_use]
    pub fn topic_colliding_with(&self, name: &TopicName) -> Option<&TopicName> {
        let unified = unified_name(name)?;
        self.unified_names.get(&unified)?.iter().find(|other| *other != name)
    }

    /// A broker, whether fenced or not.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// Every broker, by number.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// Every broker that may lead, by number.
    pub fn live_brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values().filter(|broker| broker.state() == BrokerState::Live)
    }

    /// Whether a broker is registered and may lead.
    #[must_use]
    pub fn is_live(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| broker.state() == BrokerState::Live)
    }

    /// Every broker that may be given new copies: live, not about to stop, not drained, with a good
    /// disk.
    pub fn fit_brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values().filter(|broker| self.is_fit(broker.id()))
    }

    /// Whether a broker may be given new copies, and the lead unasked.
    #[must_use]
    pub fn is_fit(&self, id: BrokerId) -> bool {
        let has_good_disk = |broker: &Arc<Broker>| broker.disk.is_none();
        self.is_active(id) && !self.is_drained(id) && self.broker(id).is_some_and(has_good_disk)
    }

    /// Whether a broker is to go: it keeps what it has until that is moved, and gets nothing new
    /// (KIP-1066).
    #[must_use]
    pub fn is_drained(&self, id: BrokerId) -> bool {
        let cordoned = self.configs(&ConfigResource::Broker(id)).get(CORDONED);
        cordoned.is_some_and(|directories| !directories.trim().is_empty())
    }

    /// Whether a broker is registered and may be given something.
    #[must_use]
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    /// Every partition whose replicas are being moved, by topic and number (KIP-455).
    pub fn reassignments(
        &self,
    ) -> impl Iterator<Item = (&Arc<Topic>, PartitionIndex, &Arc<Partition>)> {
        self.topics().flat_map(|topic| {
            let moved = topic.partitions.iter().filter(|(_, state)| state.is_reassigned());
            moved.map(move |(partition, state)| (topic, *partition, state))
        })
    }

    /// The configs set on a resource; empty if none are.
    #[must_use]
    pub fn configs(&self, resource: &ConfigResource) -> &ConfigMap {
        self.configs.get(resource).map_or(&NO_CONFIGS, |configs| configs)
    }

    /// Every resource that has configs.
    pub fn configured(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> {
        self.configs.iter().map(|(resource, configs)| (resource, &**configs))
    }

    /// The configs set on a topic; empty if none are.
    #[must_use]
    pub fn topic_configs(&self, name: &TopicName) -> &ConfigMap {
        self.configs(&ConfigResource::Topic(name.clone()))
    }

    /// The configs set on a group; empty if none are. `GroupConfig::resolve` tells what holds.
    #[must_use]
    pub fn group_configs(&self, id: &str) -> &ConfigMap {
        self.configs(&ConfigResource::Group(id.to_owned()))
    }

    /// Every group that has configs, by id.
    pub fn configured_groups(&self) -> impl Iterator<Item = &str> {
        let first = ConfigResource::Group(String::new());
        self.configs.range(first..).filter_map(|(resource, _)| match resource {
            ConfigResource::Group(id) => Some(id.as_str()),
            ConfigResource::Topic(_) | ConfigResource::Broker(_) | ConfigResource::Cluster => None,
        })
    }

    /// The level of a feature; 0 if it is off.
    #[must_use]
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Every feature that is on, by name.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    pub(crate) fn maps(&self) -> Maps<'_> {
        Maps { topics: &self.topics, brokers: &self.brokers, configs: &self.configs }
    }
}

/// The maps a delta compares.
pub(crate) struct Maps<'a> {
    pub(crate) topics: &'a OrdMap<TopicId, Arc<Topic>>,
    pub(crate) brokers: &'a OrdMap<BrokerId, Arc<Broker>>,
    pub(crate) configs: &'a OrdMap<ConfigResource, Arc<ConfigMap>>,
}

/// Changing.
impl ClusterImage {
    /// Applies one record. Total: a record about something that does not exist changes nothing.
    pub fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::Cluster { cluster_id, created, last_broker_epoch } => {
                self.cluster_id = *cluster_id;
                self.created = *created;
                self.last_broker_epoch = self.last_broker_epoch.max(*last_broker_epoch);
            }
            MetadataRecord::FeatureLevel { name, level: 0 } => {
                self.features.remove(name);
            }
            MetadataRecord::FeatureLevel { name, level } => {
                self.features.insert(name.clone(), *level);
            }
            MetadataRecord::RegisterBroker(registration) => self.register(registration),
            MetadataRecord::FenceBroker { broker_id, broker_epoch } => {
                self.set_fenced(*broker_id, *broker_epoch, true);
            }
            MetadataRecord::UnfenceBroker { broker_id, broker_epoch } => {
                self.set_fenced(*broker_id, *broker_epoch, false);
            }
            MetadataRecord::RetireBroker { broker_id, broker_epoch } => {
                if let Some(broker) = self.brokers.get_mut(broker_id)
                    && broker.epoch() == *broker_epoch
                {
                    Arc::make_mut(broker).is_retiring = true;
                }
            }
            MetadataRecord::BrokerDisk { broker_id, broker_epoch, trouble } => {
                if let Some(broker) = self.brokers.get_mut(broker_id)
                    && broker.epoch() == *broker_epoch
                {
                    Arc::make_mut(broker).disk.clone_from(trouble);
                }
            }
            MetadataRecord::UnregisterBroker { broker_id, broker_epoch } => {
                if self.broker(*broker_id).is_some_and(|broker| broker.epoch() == *broker_epoch) {
                    self.brokers.remove(broker_id);
                }
            }
            MetadataRecord::Topic { topic_id, name, replication } => {
                self.put_topic(*topic_id, name, *replication);
            }
            MetadataRecord::Partition { topic_id, partition, state } => {
                self.put_partition(*topic_id, *partition, state);
            }
            MetadataRecord::RemoveTopic { topic_id } => self.remove_topic(*topic_id),
            MetadataRecord::Config { resource, name, value } => {
                self.put_config(resource, name, value.as_deref());
            }
            MetadataRecord::BrokerIds { last } => {
                self.last_removed_id = self.last_removed_id.max(Some(*last));
            }
            MetadataRecord::ProducerIds { next } => {
                self.next_producer_id = self.next_producer_id.max(*next);
            }
        }
    }

    /// Applies records in order.
    pub fn apply_all<'a>(&mut self, records: impl IntoIterator<Item = &'a MetadataRecord>) {
        for record in records {
            self.apply(record);
        }
    }

    fn register(&mut self, registration: &Registration) {
        self.last_broker_epoch = self.last_broker_epoch.max(registration.broker_epoch);
        let broker = Broker { registration: registration.clone(), is_retiring: false, disk: None };
        self.brokers.insert(registration.broker_id, Arc::new(broker));
    }

    fn set_fenced(&mut self, id: BrokerId, epoch: BrokerEpoch, fenced: bool) {
        let Some(broker) = self.brokers.get_mut(&id) else { return };
        if broker.epoch() == epoch {
            Arc::make_mut(broker).registration.fenced = fenced;
        }
    }

    fn put_topic(&mut self, id: TopicId, name: &TopicName, replication: Replication) {
        if let Some(topic) = self.topics.get_mut(&id) {
            // A topic keeps its name for life.
            Arc::make_mut(topic).replication = replication;
            return;
        }
        if let Some(&older) = self.topic_ids.get(name) {
            self.remove_topic(older);
        }
        let partitions = OrdMap::new();
        let topic = Topic { id, name: name.clone(), replication, partitions };
        self.topics.insert(id, Arc::new(topic));
        self.topic_ids.insert(name.clone(), id);
        if let Some(unified) = unified_name(name) {
            let names = self.unified_names.entry(unified).or_default();
            let names = Arc::make_mut(names);
            // Kept sorted, so that the image does not remember the order of creation.
            let at = names.partition_point(|other| other < name);
            names.insert(at, name.clone());
        }
    }

    fn put_partition(&mut self, id: TopicId, partition: PartitionIndex, state: &PartitionState) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let before = Arc::make_mut(topic).partitions.insert(partition, Arc::new(state.clone()));
        if before.is_none() {
            self.partition_count += 1;
        }
    }

    fn remove_topic(&mut self, id: TopicId) {
        let Some(topic) = self.topics.remove(&id) else { return };
        let partitions = u64::try_from(topic.partitions.len()).unwrap_or(u64::MAX);
        self.partition_count = self.partition_count.saturating_sub(partitions);
        self.topic_ids.remove(&topic.name);
        self.configs.remove(&ConfigResource::Topic(topic.name.clone()));
        let Some(unified) = unified_name(&topic.name) else { return };
        if let Some(names) = self.unified_names.get_mut(&unified) {
            Arc::make_mut(names).retain(|other| *other != topic.name);
            if names.is_empty() {
                self.unified_names.remove(&unified);
            }
        }
    }

    fn put_config(&mut self, resource: &ConfigResource, name: &str, value: Option<&str>) {
        let configs = self.configs.entry(resource.clone()).or_default();
        match value {
            Some(value) => {
                Arc::make_mut(configs).insert(name.to_owned(), value.to_owned());
            }
            None => {
                if configs.contains_key(name) {
                    Arc::make_mut(configs).remove(name);
                }
            }
        }
        if configs.is_empty() {
            self.configs.remove(resource);
        }
    }
}

/// Snapshots.
impl ClusterImage {
    /// Records that make this image out of an empty one.
    #[must_use]
    pub fn records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        self.for_each_record(|record| records.push(record));
        records
    }

    /// Calls `take` with the records that make this image out of an empty one, in order, without
    /// holding them all.
    pub fn for_each_record(&self, mut take: impl FnMut(MetadataRecord)) {
        if *self == Self::default() {
            return;
        }
        take(MetadataRecord::Cluster {
            cluster_id: self.cluster_id,
            created: self.created,
            last_broker_epoch: self.last_broker_epoch,
        });
        for (name, level) in &self.features {
            take(MetadataRecord::FeatureLevel { name: name.clone(), level: *level });
        }
        if let Some(last) = self.last_removed_id {
            take(MetadataRecord::BrokerIds { last });
        }
        for broker in self.brokers.values() {
            take(MetadataRecord::RegisterBroker(broker.registration.clone()));
            if broker.is_retiring {
                let (broker_id, broker_epoch) = (broker.id(), broker.epoch());
                take(MetadataRecord::RetireBroker { broker_id, broker_epoch });
            }
            if broker.disk.is_some() {
                let (broker_id, broker_epoch) = (broker.id(), broker.epoch());
                let trouble = broker.disk.clone();
                take(MetadataRecord::BrokerDisk { broker_id, broker_epoch, trouble });
            }
        }
        for topic in self.topics() {
            take(MetadataRecord::Topic {
                topic_id: topic.id,
                name: topic.name.clone(),
                replication: topic.replication,
            });
            for (partition, state) in &topic.partitions {
                take(MetadataRecord::Partition {
                    topic_id: topic.id,
                    partition: *partition,
                    state: PartitionState::clone(state),
                });
            }
        }
        for (resource, configs) in &self.configs {
            for (name, value) in configs.iter() {
                let (name, value) = (name.clone(), Some(value.clone()));
                take(MetadataRecord::Config { resource: resource.clone(), name, value });
            }
        }
        if self.next_producer_id > ProducerId::new(0) {
            take(MetadataRecord::ProducerIds { next: self.next_producer_id });
        }
    }

    /// A number that is the same on all brokers at the same Raft index (M-1) and, but for
    /// chance, differs when the images do. Walks the whole image.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = FNV_OFFSET;
        let mut bytes = Vec::new();
        self.for_each_record(|record| {
            bytes.clear();
            encode_record(&record, &mut bytes);
            for &byte in &bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
            }
        });
        hash
    }

    /// Checks what must hold of every image: P-2, and that the maps agree with each other.
    ///
    /// # Errors
    /// A sentence that names the invariant and the place.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut count = 0;
        for (id, topic) in &self.topics {
            if topic.id != *id || self.topic_ids.get(&topic.name) != Some(id) {
                return Err(format!("topic {} ({id}) is not found by its name", topic.name));
            }
            for (index, (partition, state)) in topic.partitions.iter().enumerate() {
                count += 1;
                let place = format!("{}-{partition}", topic.name);
                if usize::try_from(partition.get()) != Ok(index) {
                    return Err(format!("{place}: partitions are not numbered from 0"));
                }
                check_partition(&place, state)?;
            }
        }
        if self.topic_ids.len() != self.topics.len() {
            return Err("a name leads to a topic that is not there".to_owned());
        }
        if self.partition_count != count {
            return Err(format!("{} partitions counted, {count} there", self.partition_count));
        }
        for broker in self.brokers.values() {
            if broker.epoch() > self.last_broker_epoch {
                return Err(format!("broker {} has an epoch not given out", broker.id()));
            }
        }
        for (resource, configs) in &self.configs {
            if configs.is_empty() {
                return Err(format!("{resource} keeps an empty map of configs"));
            }
        }
        Ok(())
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn check_partition(place: &str, state: &PartitionState) -> Result<(), String> {
    let within = |list: &[BrokerId], of: &[BrokerId]| list.iter().all(|id| of.contains(id));
    let distinct = |list: &[BrokerId]| {
        list.iter().enumerate().all(|(at, id)| !list.iter().take(at).any(|other| other == id))
    };
    if state.replicas.is_empty() || !distinct(&state.replicas) {
        return Err(format!("{place}: replicas are empty or repeat"));
    }
    if state.directories.len() != state.replicas.len() {
        return Err(format!("{place}: each replica needs a directory"));
    }
    if !within(&state.isr, &state.replicas) || !distinct(&state.isr) {
        return Err(format!("P-2 {place}: the ISR is not within the replicas"));
    }
    if let Some(leader) = state.leader
        && !state.isr.contains(&leader)
    {
        return Err(format!("P-2 {place}: leader {leader} is not in the ISR"));
    }
    let both = state.elr.iter().any(|id| state.isr.contains(id));
    if both || !within(&state.elr, &state.replicas) {
        return Err(format!("{place}: the ELR is not among the replicas out of sync"));
    }
    if !within(&state.adding, &state.replicas) || !within(&state.removing, &state.replicas) {
        return Err(format!("{place}: a reassignment of brokers that keep no replica"));
    }
    Ok(())
}

/// The metric name of a topic whose name has a `.` or a `_`; only such names can collide.
fn unified_name(name: &TopicName) -> Option<String> {
    let name = name.as_str();
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests;
