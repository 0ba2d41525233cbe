//! The controller: the real one, on a metadata log that never fails.

use super::flaw::Flaw;
use super::oracle::{Coverage, Oracle};
use super::world::{PARTITIONS, SESSION, TOPIC};
use crate::dice::Dice;
use jocko_config::LoadedSettings;
use jocko_metadata::{
    ClusterDelta, ClusterImage, Command, ConfigChange, ConfigOp, DecideContext, Heartbeats,
    MetadataRecord, NewTopic, Partition, ReplicaAssignment, Reply, bootstrap, decide,
};
use jocko_types::{BrokerId, Now, PartitionIndex, Timestamp, Uuid};
use std::sync::Arc;

/// The cluster's image and how it came about.
pub(super) struct Controller {
    pub(super) image: ClusterImage,
    /// What was committed, an entry a decision.
    pub(super) entries: Vec<Arc<Vec<MetadataRecord>>>,
    heartbeats: Heartbeats,
    settings: LoadedSettings,
}

impl Controller {
    pub(super) fn new() -> Self {
        let mut controller = Self {
            image: ClusterImage::default(),
            entries: Vec::new(),
            heartbeats: Heartbeats::default(),
            settings: LoadedSettings::default(),
        };
        let first = bootstrap(Uuid::from_bytes([1; 16]), Timestamp::from_millis(0), 1);
        controller.image.apply_all(&first);
        controller.entries.push(Arc::new(first));
        controller
    }

    /// How many entries are committed.
    pub(super) fn index(&self) -> usize {
        self.entries.len()
    }

    /// What was committed last, in few words.
    pub(super) fn last(&self) -> Vec<String> {
        let ids =
            |list: &[BrokerId]| list.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",");
        let fact = |record: &MetadataRecord| match record {
            MetadataRecord::Partition { partition, state, .. } => format!(
                "partition {partition}: of {} isr {} elr {} leader {:?} epoch {} change {}",
                ids(&state.replicas),
                ids(&state.isr),
                ids(&state.elr),
                state.leader.map(BrokerId::get),
                state.leader_epoch,
                state.partition_epoch
            ),
            MetadataRecord::RegisterBroker(registration) => {
                format!("register {} epoch {}", registration.broker_id, registration.broker_epoch)
            }
            other => format!("{other:?}"),
        };
        self.entries.last().map(|entry| entry.iter().map(fact).collect()).unwrap_or_default()
    }

    /// A partition as the controller sees it.
    pub(super) fn partition(&self, partition: i32) -> Option<Arc<Partition>> {
        let topic = self.image.topic(TOPIC)?;
        topic.partitions.get(&PartitionIndex::new(partition)).map(Arc::clone)
    }

    /// The topic, with a first leader each for its partitions.
    pub(super) fn topic_commands(
        replicas: &[Vec<i32>],
        min: usize,
        is_relaxed: bool,
    ) -> [Command; 2] {
        let durability = if is_relaxed { "relaxed" } else { "fsync" };
        let brokers = |list: &Vec<i32>| list.iter().copied().map(BrokerId::new).collect();
        let assignment = |(partition, list)| ReplicaAssignment {
            partition: PartitionIndex::new(partition),
            brokers: brokers(list),
        };
        let set = ConfigOp::Set(Some(min.to_string()));
        let change = ConfigChange {
            resource_type: 4,
            resource_name: String::new(),
            ops: vec![("min.insync.replicas".to_owned(), set)],
            replace: false,
        };
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            partitions: -1,
            replication_factor: -1,
            assignments: (0..PARTITIONS).zip(replicas).map(assignment).collect(),
            configs: vec![("jocko.storage.durability".to_owned(), Some(durability.to_owned()))],
        };
        [
            Command::AlterConfigs { resources: vec![change], validate_only: false },
            Command::CreateTopics { topics: vec![topic], validate_only: false },
        ]
    }

    /// Notes that a broker was heard of.
    pub(super) fn hear(&mut self, command: &Command, now: Now) {
        if let Command::BrokerHeartbeat { broker_id, broker_epoch, .. } = command {
            let epoch = self.image.broker(*broker_id).map(|broker| broker.epoch());
            if epoch == Some(*broker_epoch) {
                self.heartbeats.note(*broker_id, *broker_epoch, now);
            }
        }
    }

    /// Who is to be fenced.
    pub(super) fn silent(&mut self, now: Now) -> Vec<Command> {
        self.heartbeats.due(&self.image, now, SESSION)
    }

    /// Decides and commits.
    pub(super) fn decide(
        &mut self,
        command: Command,
        dice: &mut Dice,
        oracle: &mut Oracle,
        coverage: &mut Coverage,
        flaw: Option<Flaw>,
    ) -> Reply {
        let cx = DecideContext {
            now: Timestamp::from_millis(0),
            seed: dice.seed(),
            settings: &self.settings,
        };
        let is_alter = matches!(command, Command::AlterPartition { .. });
        let mut decision = decide(&self.image, &cx, command);
        if flaw == Some(Flaw::ElectOutsideIsr) {
            self.elect_anybody(&mut decision.records);
        }
        if decision.records.is_empty() {
            return decision.reply;
        }
        let before = self.image.clone();
        self.image.apply_all(&decision.records);
        self.check(&before, oracle);
        self.count(&before, is_alter, coverage);
        self.entries.push(Arc::new(decision.records));
        decision.reply
    }

    fn check(&self, before: &ClusterImage, oracle: &mut Oracle) {
        if let Err(what) = self.image.check_invariants() {
            oracle.fail(what);
        }
        if let Err(what) = ClusterDelta::between(before, &self.image).check_epochs() {
            oracle.fail(what);
        }
    }

    fn count(&self, before: &ClusterImage, is_alter: bool, coverage: &mut Coverage) {
        for change in ClusterDelta::between(before, &self.image).partitions {
            let (Some(old), Some(new)) = (&change.before, &change.after) else { continue };
            coverage.elections += u64::from(new.leader.is_some() && new.leader != old.leader);
            coverage.leaderless += u64::from(new.leader.is_none() && old.leader.is_some());
            let from_elr = new.leader.is_some_and(|id| old.elr.contains(&id));
            coverage.eligible_elections += u64::from(from_elr && new.leader != old.leader);
            coverage.isr_shrinks += u64::from(is_alter && new.isr.len() < old.isr.len());
            coverage.isr_expansions += u64::from(is_alter && new.isr.len() > old.isr.len());
            coverage.reassignments += u64::from(old.is_reassigned() && !new.is_reassigned());
        }
    }

    /// The flaw: whoever is there leads, in sync or not.
    fn elect_anybody(&self, records: &mut [MetadataRecord]) {
        for record in records {
            let MetadataRecord::Partition { partition, state, .. } = record else { continue };
            let known = self.partition(partition.get());
            let is_election = known.is_some_and(|known| known.leader_epoch < state.leader_epoch);
            let outside = |id: &&BrokerId| !state.isr.contains(id) && self.image.is_live(**id);
            let Some(other) = state.replicas.iter().find(outside).copied() else { continue };
            if is_election {
                state.leader = Some(other);
                state.isr = vec![other];
                state.elr.clear();
            }
        }
    }
}
