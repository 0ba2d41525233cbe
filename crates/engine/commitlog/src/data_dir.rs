//! The files of a data directory that belong to no partition: who owns it, whether it was left
//! cleanly, and the checkpoints; and the life and death of partition folders.
//!
//! Formats: docs/internals/commitlog.md. Nothing here is deleted because something else does not
//! mention it (DR5): folders that do not fit are renamed and kept.

mod damaged;

use crate::checkpoint::{self, Checkpoint, Checkpoints};
use crate::recovery::read_topic_id;
use crate::retention::remove;
use crate::{LogFault, Result as LogResult};
use jocko_disk::{
    DiskFault, DiskRef, FaultKind, Lock, Slots, create_dir_durably, read_small, write_atomically,
};
use jocko_records::crc32c;
use jocko_types::{
    BrokerEpoch, BrokerId, Offset, PartitionIndex, TopicId, TopicName, TopicPartition, Uuid,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The data format this version writes, and the newest it reads.
pub const FORMAT_VERSION: u16 = 1;

const LOCK: &str = ".lock";
/// The file that says whose directory it is.
pub const META: &str = "jocko.meta";
/// Kafka's counterpart of it, which this never writes.
const KAFKAS_META: &str = "meta.properties";
const CLEAN: &str = ".jocko-clean-shutdown";
const CLEAN_MAGIC: [u8; 4] = *b"jkcs";
const CHECKPOINTS: [&str; 2] = ["jocko-checkpoints-a", "jocko-checkpoints-b"];
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";
const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
const SMALL_BYTES_MAX: usize = 64 << 20;
/// The longest name a file system takes.
const NAME_BYTES_MAX: usize = 255;

/// Why a data directory cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirFault {
    /// A disk call failed, or a small file is damaged.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// Another process has it.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error(
        "{} was written in data format {found}, this version knows {FORMAT_VERSION}",
        path.display()
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u16,
    },
    /// Apache Kafka made it: it holds Kafka's own note of whose it is, and none of ours.
    #[error(
        "{} holds Kafka's {KAFKAS_META} and no {META}: it is a data directory of Apache Kafka's",
        path.display()
    )]
    Kafkas {
        /// The directory.
        path: PathBuf,
    },
    /// It holds partitions but does not say whose.
    #[error("{} holds logs but no {META}, so it does not say whose they are", path.display())]
    IdentityMissing {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another cluster, or to another node of this one.
    #[error(
        "{} belongs to node {} of cluster {}, not to node {node_id} of cluster {cluster_id}",
        path.display(), owner.1, owner.0
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Cluster and node that own it.
        owner: (Uuid, BrokerId),
        /// The cluster that wants it.
        cluster_id: Uuid,
        /// The node that wants it.
        node_id: BrokerId,
    },
}

impl From<DiskFault> for DataDirFault {
    fn from(fault: DiskFault) -> Self {
        Self::Log(fault.into())
    }
}

/// What calls on a data directory return.
pub type Result<T> = std::result::Result<T, DataDirFault>;

/// Whose directory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The disk: random, drawn once. A wiped disk is a new replica and a new voter.
    pub directory_id: Uuid,
    /// The cluster and the node's number in it, once there is one.
    pub owner: Option<(Uuid, BrokerId)>,
    /// The kernel's boot id when this broker was let into its cluster last; zero if unknown.
    boot_id: Uuid,
}

/// How the directory was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastStop {
    /// The broker epoch that left it cleanly; `None` after a crash (DR7).
    pub clean: Option<BrokerEpoch>,
    /// Whether the machine has run on since the broker was let in last: then only processes died,
    /// and the page cache lived.
    pub same_boot: bool,
    /// Whether it is new.
    pub created: bool,
}

impl LastStop {
    /// Whether all that was written is still there, synced or not.
    #[must_use]
    pub const fn kept_page_cache(&self) -> bool {
        self.clean.is_some() || self.same_boot || self.created
    }
}

/// A folder of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFolder {
    /// Whose.
    pub partition: TopicPartition,
    /// Where.
    pub path: PathBuf,
    /// Which topic of that name, if it says.
    pub topic_id: Option<TopicId>,
    /// Whether a flush of it, or Kafka, has ever noted its epochs.
    pub was_flushed: bool,
}

/// What became of the mark of the last clean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is taken away, if there was one, and no partition was touched yet.
    NotYet(Option<BrokerEpoch>),
    /// Partitions are opened and written.
    Begun,
    /// It is back, and partitions are not to be touched.
    GivenUp,
}

/// A data directory, locked while this value lives.
#[derive(Debug)]
pub struct DataDir {
    disk: DiskRef,
    root: PathBuf,
    meta: Slots,
    identity: Identity,
    /// Of this run of the machine.
    boot_id: Uuid,
    generation: u64,
    stage: Stage,
    _lock: Box<dyn Lock>,
}

impl DataDir {
    /// Locks and opens the directory at `root`, or creates it with the random `new_directory_id`.
    /// `boot_id` tells this run of the machine from others, if known; it is stored by
    /// [`DataDir::note_boot`]. The mark of a clean stop is taken away, durably, before this returns.
    ///
    /// # Errors
    /// See [`DataDirFault`].
    pub fn open(
        disk: DiskRef,
        root: &Path,
        new_directory_id: Uuid,
        boot_id: Option<Uuid>,
    ) -> Result<(Self, LastStop)> {
        create_dir_durably(disk.as_ref(), root)?;
        let Some(lock) = disk.lock(&root.join(LOCK))? else {
            return Err(DataDirFault::Locked { path: root.to_owned() });
        };
        let meta_path = root.join(META);
        let created = !disk.exists(&meta_path)?;
        if created && disk.exists(&root.join(KAFKAS_META))? {
            return Err(DataDirFault::Kafkas { path: root.to_owned() });
        }
        if created && !partitions(&disk, root)?.is_empty() {
            return Err(DataDirFault::IdentityMissing { path: root.to_owned() });
        }
        let boot_id = boot_id.unwrap_or(Uuid::ZERO);
        let initial = Identity { directory_id: new_directory_id, owner: None, boot_id };
        let (meta, stored) = Slots::open(disk.as_ref(), &meta_path, &encode(&initial))?;
        let identity = decode(root, &meta_path, &stored.payload)?;
        let last_stop = LastStop {
            clean: take_clean_mark(&disk, root)?,
            same_boot: !created && !boot_id.is_zero() && identity.boot_id == boot_id,
            created,
        };
        let root = root.to_owned();
        let stage = Stage::NotYet(last_stop.clean);
        let dir = Self { disk, root, meta, identity, boot_id, generation: 0, stage, _lock: lock };
        Ok((dir, last_stop))
    }

    /// To be called before a partition is touched. `false` if that must not happen any more.
    #[must_use]
    pub fn begin(&mut self) -> bool {
        if matches!(self.stage, Stage::NotYet(_)) {
            self.stage = Stage::Begun;
        }
        self.stage == Stage::Begun
    }

    /// Puts the mark of the last clean stop back where this start ends before it has touched a
    /// partition: all of them are as that stop left them. Does nothing otherwise.
    ///
    /// # Errors
    /// A disk fault; the next start recovers then.
    pub fn give_up(&mut self) -> Result<()> {
        if let Stage::NotYet(clean) = self.stage {
            self.stage = Stage::GivenUp;
            if let Some(broker_epoch) = clean {
                self.store_mark(broker_epoch)?;
            }
        }
        Ok(())
    }

    /// Notes that the broker was let in on this run of the machine. Until then a start that lost what
    /// was not synced has told nobody: if it ends before, the next one must tell.
    ///
    /// # Errors
    /// A disk fault.
    pub fn note_boot(&mut self) -> Result<()> {
        if self.identity.boot_id != self.boot_id {
            let noted = Identity { boot_id: self.boot_id, ..self.identity };
            self.meta.store(&encode(&noted))?;
            self.identity = noted;
        }
        Ok(())
    }

    /// Whether somebody has the directory at `root` open now. Changes nothing.
    #[must_use]
    pub fn is_locked(disk: &DiskRef, root: &Path) -> bool {
        let lock = root.join(LOCK);
        matches!(disk.exists(&lock), Ok(true)) && matches!(disk.lock(&lock), Ok(None))
    }

    /// Whose it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes it the directory of one node of one cluster, for good.
    ///
    /// # Errors
    /// [`DataDirFault::Foreign`] if it is another's.
    pub fn claim(&mut self, cluster_id: Uuid, node_id: BrokerId) -> Result<()> {
        match self.identity.owner {
            Some(owner) if owner == (cluster_id, node_id) => Ok(()),
            Some(owner) => {
                let path = self.root.clone();
                Err(DataDirFault::Foreign { path, owner, cluster_id, node_id })
            }
            None => {
                let owner = Some((cluster_id, node_id));
                let claimed = Identity { owner, ..self.identity };
                self.meta.store(&encode(&claimed))?;
                self.identity = claimed;
                Ok(())
            }
        }
    }

    /// Marks a clean stop. The last call: every log is closed and the checkpoints are written.
    ///
    /// # Errors
    /// A disk fault; the stop then counts as a crash.
    pub fn mark_clean(self, broker_epoch: BrokerEpoch) -> Result<()> {
        self.store_mark(broker_epoch)
    }

    fn store_mark(&self, broker_epoch: BrokerEpoch) -> Result<()> {
        let mut bytes = CLEAN_MAGIC.to_vec();
        let epoch = broker_epoch.get().to_be_bytes();
        bytes.extend(crc32c(&epoch).to_be_bytes());
        bytes.extend(epoch);
        Ok(write_atomically(self.disk.as_ref(), &self.root.join(CLEAN), &bytes)?)
    }

    /// Reads the checkpoints: ours, or Kafka's if there are none of ours that are whole. What is
    /// missing means recovery from the first segment on, which is slow but right.
    ///
    /// # Errors
    /// A disk fault.
    pub fn load_checkpoints(&mut self) -> Result<Checkpoints> {
        let mut newest: Option<(u64, Checkpoints)> = None;
        for name in CHECKPOINTS {
            let Some(text) = self.read_text(name)? else { continue };
            let Some(read) = checkpoint::from_text(&text) else { continue };
            if newest.as_ref().is_none_or(|(generation, _)| read.0 > *generation) {
                newest = Some(read);
            }
        }
        if let Some((generation, checkpoints)) = newest {
            self.generation = generation;
            return Ok(checkpoints);
        }
        let kafkas = |text: Option<String>| {
            text.as_deref().and_then(checkpoint::from_kafka).unwrap_or_default()
        };
        let recovery_points = kafkas(self.read_text(RECOVERY_POINTS)?);
        let mut log_starts = kafkas(self.read_text(LOG_STARTS)?);
        let joined = recovery_points.into_iter().map(|(at, recovery_point)| {
            let log_start = log_starts.remove(&at).unwrap_or(Offset::ZERO);
            (at, Checkpoint { topic_id: TopicId::ZERO, recovery_point, log_start })
        });
        Ok(joined.collect())
    }

    /// Writes the checkpoints: twice in our format, and in Kafka's for its tools. Durable when
    /// this returns; tell every log then (`Log::checkpointed`).
    ///
    /// # Errors
    /// A disk fault; the old checkpoints or the new ones are then in force.
    pub fn store_checkpoints(&mut self, checkpoints: &Checkpoints) -> Result<()> {
        let disk = self.disk.as_ref();
        self.generation += 1;
        let own = checkpoint::to_text(checkpoints, self.generation);
        for name in CHECKPOINTS {
            write_atomically(disk, &self.root.join(name), own.as_bytes())?;
        }
        let recovery_points = checkpoint::to_kafka(checkpoints, |at| Some(at.recovery_point));
        let starts = |at: &Checkpoint| Some(at.log_start).filter(|start| *start > Offset::ZERO);
        let log_starts = checkpoint::to_kafka(checkpoints, starts);
        write_atomically(disk, &self.root.join(RECOVERY_POINTS), recovery_points.as_bytes())?;
        write_atomically(disk, &self.root.join(LOG_STARTS), log_starts.as_bytes())?;
        Ok(())
    }

    /// Takes partitions of these topics out of the checkpoints: they are deleted here, and what may
    /// come in their place under the same id begins with nothing. Durable when this returns.
    ///
    /// # Errors
    /// A disk fault.
    pub fn forget(&mut self, gone: &[(TopicPartition, TopicId)]) -> Result<()> {
        let mut checkpoints = self.load_checkpoints()?;
        let before = checkpoints.len();
        for (at, topic_id) in gone {
            if checkpoints.get(at).is_some_and(|it| it.topic_id == *topic_id) {
                checkpoints.remove(at);
            }
        }
        if checkpoints.len() == before { Ok(()) } else { self.store_checkpoints(&checkpoints) }
    }

    /// Kafka's note of how far compaction has come in each partition. Ours is in each folder; this
    /// one is for Kafka's tools, and may be behind. Empty if there is none that can be read.
    ///
    /// # Errors
    /// A disk fault.
    pub fn load_cleaner_offsets(&self) -> Result<BTreeMap<TopicPartition, Offset>> {
        let text = self.read_text(CLEANER_OFFSETS)?;
        Ok(text.as_deref().and_then(checkpoint::from_kafka).unwrap_or_default())
    }

    /// Writes that note. Durable when this returns.
    ///
    /// # Errors
    /// A disk fault.
    pub fn store_cleaner_offsets(&self, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<()> {
        let text = checkpoint::offsets_to_kafka(offsets.iter().map(|(at, offset)| (at, *offset)));
        let path = self.root.join(CLEANER_OFFSETS);
        Ok(write_atomically(self.disk.as_ref(), &path, text.as_bytes())?)
    }

    fn read_text(&self, name: &str) -> Result<Option<String>> {
        let bytes = read_small(self.disk.as_ref(), &self.root.join(name), SMALL_BYTES_MAX)?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// The folder of a partition, whether or not it exists.
    #[must_use]
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.root.join(partition.to_string())
    }

    /// All folders of partitions.
    ///
    /// # Errors
    /// A disk fault.
    pub fn partitions(&self) -> Result<Vec<PartitionFolder>> {
        partitions(&self.disk, &self.root)
    }

    /// Takes a folder that does not fit (a topic's that is no more, say) out of the way and
    /// keeps it: renamed to `<topic>-<partition>.<unique>-stray`. Durable when this returns.
    ///
    /// # Errors
    /// A disk fault.
    pub fn set_aside(&self, partition: &TopicPartition, unique: Uuid) -> Result<PathBuf> {
        self.rename_folder(partition, unique, "stray")
    }

    /// Deletes a partition, whose topic the cluster deleted by a committed record: its folder is
    /// renamed to `<topic>-<partition>.<unique>-delete` and goes with [`DataDir::remove_trash`].
    /// Durable when this returns. `None` if there is no folder, or if the one of that name belongs
    /// to another topic: one that was made after this one was deleted.
    ///
    /// # Errors
    /// A disk fault.
    pub fn delete(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        unique: Uuid,
    ) -> Result<Option<PathBuf>> {
        let found = read_topic_id(self.disk.as_ref(), &self.partition_path(partition))?;
        if found.is_some_and(|found| found != topic_id && !found.is_zero()) {
            return Ok(None);
        }
        match self.rename_folder(partition, unique, "delete") {
            Ok(path) => Ok(Some(path)),
            Err(DataDirFault::Log(LogFault::Disk(fault)))
                if fault.kind() == FaultKind::NotFound =>
            {
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    fn rename_folder(&self, at: &TopicPartition, unique: Uuid, why: &str) -> Result<PathBuf> {
        let unique = u128::from_be_bytes(*unique.as_bytes());
        let suffix = format!("-{}.{unique:032x}-{why}", at.partition);
        let room = NAME_BYTES_MAX - suffix.len();
        let topic = at.topic.as_str();
        let topic = topic.get(..topic.len().min(room)).unwrap_or(topic);
        let to = self.root.join(format!("{topic}{suffix}"));
        self.disk.rename(&self.partition_path(at), &to)?;
        self.disk.sync_dir(&self.root)?;
        Ok(to)
    }

    /// Folders that were deleted and can go: at a start all of them, later after the delay.
    ///
    /// # Errors
    /// A disk fault.
    pub fn trash(&self) -> Result<Vec<PathBuf>> {
        self.set_aside_as("delete")
    }

    /// Folders that [`DataDir::rename_folder`] has renamed for this reason.
    fn set_aside_as(&self, why: &str) -> Result<Vec<PathBuf>> {
        let entries = self.disk.list(&self.root)?;
        let is_one = |name: &str| {
            name.strip_suffix(why)
                .and_then(|name| name.strip_suffix('-')?.rsplit_once('.'))
                .is_some_and(|(_, unique)| unique.len() == 32)
        };
        let found = entries.into_iter().filter(|entry| entry.is_dir && is_one(&entry.name));
        Ok(found.map(|entry| self.root.join(entry.name)).collect())
    }

    /// Removes one folder that [`DataDir::delete`] or [`DataDir::trash`] named.
    ///
    /// # Errors
    /// A disk fault.
    pub fn remove_trash(&self, folder: &Path) -> Result<()> {
        match self.disk.remove_dir_all(folder) {
            Err(fault) if fault.kind() != FaultKind::NotFound => Err(fault.into()),
            _ => Ok(()),
        }
    }
}

fn partitions(disk: &DiskRef, root: &Path) -> Result<Vec<PartitionFolder>> {
    let mut found = Vec::new();
    for entry in disk.list(root)?.into_iter().filter(|entry| entry.is_dir) {
        let Some(partition) = parse_folder(&entry.name) else { continue };
        let path = root.join(&entry.name);
        let topic_id = read_topic_id(disk.as_ref(), &path)?;
        let was_flushed = disk.exists(&path.join(crate::names::EPOCHS))?;
        found.push(PartitionFolder { partition, path, topic_id, was_flushed });
    }
    Ok(found)
}

/// Takes `<topic>-<partition>` apart.
fn parse_folder(name: &str) -> Option<TopicPartition> {
    let (topic, digits) = name.rsplit_once('-')?;
    let number: i32 = digits.parse().ok()?;
    if number < 0 || number.to_string() != digits {
        return None;
    }
    let topic = TopicName::new(topic).ok()?;
    Some(TopicPartition { topic, partition: PartitionIndex::new(number) })
}

/// Reads and removes the mark of a clean stop. A damaged mark is none.
fn take_clean_mark(disk: &DiskRef, root: &Path) -> LogResult<Option<BrokerEpoch>> {
    let path = root.join(CLEAN);
    let bytes = read_small(disk.as_ref(), &path, 4096)?;
    if bytes.is_some() {
        remove(disk.as_ref(), &path)?;
        disk.sync_dir(root)?;
    }
    Ok(bytes.and_then(|bytes| {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let epoch: [u8; 8] = rest.try_into().ok()?;
        let whole = *magic == CLEAN_MAGIC && crc32c(&epoch) == u32::from_be_bytes(*crc);
        whole.then(|| BrokerEpoch::new(i64::from_be_bytes(epoch)))
    }))
}

/// The payload of `jocko.meta`: version, directory id, cluster id, node id, boot id.
fn encode(identity: &Identity) -> Vec<u8> {
    let (cluster_id, node_id) = identity.owner.unwrap_or((Uuid::ZERO, BrokerId::new(-1)));
    let mut payload = FORMAT_VERSION.to_be_bytes().to_vec();
    payload.extend(identity.directory_id.as_bytes());
    payload.extend(cluster_id.as_bytes());
    payload.extend(node_id.get().to_be_bytes());
    payload.extend(identity.boot_id.as_bytes());
    payload
}

fn decode(root: &Path, meta: &Path, payload: &[u8]) -> Result<Identity> {
    let damaged = || LogFault::Corrupt {
        path: meta.to_owned(),
        position: 0,
        offset: Offset::new(-1),
        reason: format!("{} bytes are not an identity", payload.len()),
    };
    let (version, rest) = payload.split_first_chunk::<2>().ok_or_else(damaged)?;
    let found = u16::from_be_bytes(*version);
    if found > FORMAT_VERSION {
        return Err(DataDirFault::NewerFormat { path: root.to_owned(), found });
    }
    let (directory_id, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    let (cluster_id, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    let (node_id, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let boot_id: &[u8; 16] = rest.try_into().map_err(|_| damaged())?;
    let node_id = i32::from_be_bytes(*node_id);
    let owner = (node_id >= 0).then(|| (Uuid::from_bytes(*cluster_id), BrokerId::new(node_id)));
    Ok(Identity {
        directory_id: Uuid::from_bytes(*directory_id),
        owner,
        boot_id: Uuid::from_bytes(*boot_id),
    })
}

#[cfg(test)]
mod tests;
