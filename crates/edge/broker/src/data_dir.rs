//! The data directory as several owners share it, until the stop takes it from all of them.

use jocko_commitlog::data_dir::{DataDir, DataDirFault};
use jocko_metadata::ClusterImage;
use jocko_types::{BrokerId, TopicId, TopicPartition, Uuid};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A shared data directory. Its lock on the disk is held until [`SharedDataDir::take`].
#[derive(Debug, Clone)]
pub(crate) struct SharedDataDir {
    data_dir: Arc<Mutex<Option<DataDir>>>,
    checkpointing: Arc<Mutex<()>>,
}

impl SharedDataDir {
    pub(crate) fn new(data_dir: DataDir) -> Self {
        let data_dir = Arc::new(Mutex::new(Some(data_dir)));
        Self { data_dir, checkpointing: Arc::default() }
    }

    /// Runs `work` on it; `None` once it was taken.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut DataDir) -> T) -> Option<T> {
        self.data_dir.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)
    }

    /// Whether partitions may be touched, as they will be from now on: not where the start was given
    /// up meanwhile.
    pub(crate) fn begin(&self) -> bool {
        self.with(DataDir::begin).unwrap_or(false)
    }

    /// Held by whoever collects checkpoints and stores them: one collected earlier must not be
    /// stored later, or a log would begin again where it no longer does.
    pub(crate) fn checkpointing(&self) -> MutexGuard<'_, ()> {
        self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets how far these were durable: [`DataDir::forget`].
    ///
    /// # Errors
    /// A disk fault.
    pub(crate) fn forget(&self, gone: &[(TopicPartition, TopicId)]) -> Result<(), DataDirFault> {
        let _one_at_a_time = self.checkpointing();
        self.with(|data_dir| data_dir.forget(gone)).unwrap_or(Ok(()))
    }

    /// Takes folders of topics that are no more out of the way, and keeps them: a crash came between
    /// the deletion of a topic and that of its folders, which must not stand where those of a new
    /// topic of its name shall be. Deletes copies that this broker (`own`) was to keep no longer, by
    /// a committed record that it had not seen when it ended. Only for an image that has caught up.
    ///
    /// After a power cut (not `kept_page_cache`) a folder may have lost its name before its first flush. Nothing in it
    /// was ever told to be durable, and it may be of a topic that is no more: it goes, too.
    ///
    /// # Errors
    /// A disk fault.
    pub(crate) fn set_strays_aside(
        &self,
        image: &ClusterImage,
        own: BrokerId,
        kept_page_cache: bool,
    ) -> Result<(), DataDirFault> {
        let set_aside = |data_dir: &mut DataDir| {
            for folder in data_dir.partitions()? {
                let unique = Uuid::from_random(fastrand::u128(..).to_be_bytes());
                let Some(id) = folder.topic_id.filter(|id| !id.is_zero()) else {
                    if !kept_page_cache && !folder.was_flushed && folder.topic_id.is_none() {
                        let path = data_dir.set_aside(&folder.partition, unique)?;
                        tracing::warn!(
                            partition = %folder.partition, path = %path.display(),
                            "a folder that lost its name in a power cut, before anything in it was \
                             durable, was set aside; it can be deleted"
                        );
                    }
                    continue;
                };
                let topic = image.topic_by_id(id);
                if topic.is_some_and(|topic| topic.name == folder.partition.topic) {
                    let state = image.partition(id, folder.partition.partition);
                    if state.is_some_and(|state| !state.replicas.contains(&own)) {
                        data_dir.forget(&[(folder.partition.clone(), id)])?;
                        data_dir.delete(&folder.partition, id, unique)?;
                        tracing::info!(
                            partition = %folder.partition,
                            "a copy that moved away while this broker was not there is deleted"
                        );
                    }
                    continue;
                }
                let path = data_dir.set_aside(&folder.partition, unique)?;
                tracing::warn!(
                    partition = %folder.partition, %id, path = %path.display(),
                    "a folder of a topic that is no more was set aside; it can be deleted"
                );
            }
            Ok(())
        };
        self.with(set_aside).unwrap_or(Ok(()))
    }

    /// Takes it away from everybody: the last thing a stop does with it.
    pub(crate) fn take(&self) -> Option<DataDir> {
        self.data_dir.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_disk::MemDisk;
    use jocko_metadata::{MetadataRecord, PartitionState};
    use jocko_types::{PartitionIndex, TopicName};
    use std::path::Path;

    #[test]
    fn folders_that_nobody_wants_here_any_more_are_taken_away() {
        let disk = MemDisk::new().shared();
        let folder = |name: &str, id: Option<TopicId>| {
            let path = Path::new("/data").join(name);
            disk.create_dir_all(&path).unwrap();
            if let Some(id) = id {
                let text = format!("version: 0\ntopic_id: {id}\n");
                let path = path.join("partition.metadata");
                jocko_disk::write_atomically(disk.as_ref(), &path, text.as_bytes()).unwrap();
            }
        };
        let id = |byte| TopicId::from_bytes([byte; 16]);
        let (data_dir, _) = DataDir::open(disk.clone(), Path::new("/data"), id(9), None).unwrap();
        folder("here-0", Some(id(1)));
        folder("here-1", Some(id(2)));
        folder("here-2", Some(id(1)));
        folder("gone-0", Some(id(3)));
        folder("brought-0", None);
        folder("unnamed-0", None);
        let epochs = Path::new("/data/brought-0/leader-epoch-checkpoint");
        jocko_disk::write_atomically(disk.as_ref(), epochs, b"0\n0\n").unwrap();
        let mut image = ClusterImage::default();
        let name = TopicName::new("here").unwrap();
        let on = |broker: i32| PartitionState {
            replicas: vec![BrokerId::new(broker)],
            directories: vec![id(9)],
            isr: vec![BrokerId::new(broker)],
            ..PartitionState::default()
        };
        let partition = |index: i32, broker: i32| MetadataRecord::Partition {
            topic_id: id(1),
            partition: PartitionIndex::new(index),
            state: on(broker),
        };
        let replication = jocko_metadata::Replication::Auto;
        let topic = MetadataRecord::Topic { topic_id: id(1), name, replication };
        image.apply_all(&[topic, partition(0, 1), partition(1, 1), partition(2, 2)]);
        let data_dir = SharedDataDir::new(data_dir);
        let left_if = |kept_page_cache| {
            data_dir.set_strays_aside(&image, BrokerId::new(1), kept_page_cache).unwrap();
            let left = data_dir.with(|data_dir| data_dir.partitions()).unwrap().unwrap();
            let mut left: Vec<String> = left.iter().map(|it| it.partition.to_string()).collect();
            left.sort();
            left
        };
        assert_eq!(left_if(true), ["brought-0", "here-0", "unnamed-0"]);
        // Of one that was never flushed nobody knows whose it is, once its name may be lost.
        assert_eq!(left_if(false), ["brought-0", "here-0"]);
    }
}
