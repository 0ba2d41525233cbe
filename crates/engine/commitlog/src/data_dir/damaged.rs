//! Damaged logs that were set aside: kept for people, one of each partition, while there is room.

use super::{DataDir, DataDirFault, Result};
use crate::fault::LogFault;
use jocko_disk::FaultKind;
use jocko_types::{TopicPartition, Uuid};
use std::path::{Path, PathBuf};

impl DataDir {
    /// Takes a damaged log, which others have whole, out of the way and keeps it for whoever wants to
    /// look at it: renamed to `<topic>-<partition>.<unique>-damaged`. One that was kept of this
    /// partition before goes to the trash, so that they do not gather. Durable when this returns;
    /// `None` if there is no folder.
    ///
    /// # Errors
    /// A disk fault.
    pub fn set_damaged_aside(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
    ) -> Result<Option<PathBuf>> {
        let before = self.set_aside_as("damaged")?;
        let to = match self.rename_folder(partition, unique, "damaged") {
            Ok(to) => to,
            Err(DataDirFault::Log(LogFault::Disk(fault)))
                if fault.kind() == FaultKind::NotFound =>
            {
                return Ok(None);
            }
            Err(fault) => return Err(fault),
        };
        let stem = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            Some(name.rsplit_once('.')?.0.to_owned())
        };
        let older: Vec<_> = before.into_iter().filter(|it| stem(it) == stem(&to)).collect();
        self.throw_away(&older)?;
        Ok(Some(to))
    }

    /// Sends all damaged logs that were kept to the trash; how many those were.
    ///
    /// # Errors
    /// A disk fault.
    pub fn drop_damaged(&self) -> Result<usize> {
        let kept = self.set_aside_as("damaged")?;
        self.throw_away(&kept)?;
        Ok(kept.len())
    }

    fn throw_away(&self, kept: &[PathBuf]) -> Result<()> {
        for path in kept {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.and_then(|name| name.strip_suffix("-damaged")) else { continue };
            self.disk.rename(path, &self.root.join(format!("{name}-delete")))?;
        }
        if kept.is_empty() { Ok(()) } else { Ok(self.disk.sync_dir(&self.root)?) }
    }
}
