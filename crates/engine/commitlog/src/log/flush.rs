//! Which files a power cut would still hurt, and the job that makes them durable without the
//! log's lock being held.

use super::Log;
use crate::fault::{LogFault, Result};
use crate::names;
use jocko_disk::{Disk, DiskFault, FaultKind, FileRef, write_atomically};
use jocko_types::Offset;
use std::path::PathBuf;
use std::sync::Arc;

/// What must be synced so that the log is durable up to `end`. Performed by whoever has the
/// time, in this order: files, folders, state files; then handed back to [`Log::flushed`] or
/// [`Log::flush_failed`]. At most one job of a log may be performed at a time.
#[derive(Debug)]
#[must_use = "a job that is not performed leaves data at risk"]
pub struct FlushJob {
    /// Files to sync.
    pub files: Vec<FileRef>,
    /// Folders to sync.
    pub dirs: Vec<PathBuf>,
    /// Small files to write atomically. But for gaps that a leader had they do not gate durability,
    /// only the recovery point.
    pub state_files: Vec<StateFile>,
    /// Everything below this will be durable, unless the log is truncated meanwhile.
    pub end: Offset,
    /// Bases of sealed segments whose indexes are among `files`.
    indexed: Vec<Offset>,
    number: u64,
    changes: u64,
    state_stored: bool,
}

/// A small file and what it is to hold.
#[derive(Debug, Clone)]
pub struct StateFile {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub bytes: Arc<[u8]>,
    change: u64,
    /// Whether recovery above the recovery point cannot do without it.
    gates_recovery_point: bool,
    /// Whether what was appended before it was noted is no good without it.
    gates_durability: bool,
}

impl FlushJob {
    /// Performs the whole job, file by file. Callers that sync many logs at once sync `files` and
    /// `dirs` in their own way and then call [`FlushJob::store_state_files`].
    ///
    /// # Errors
    /// The first fault, for [`Log::flush_failed`].
    pub fn run(&mut self, disk: &dyn Disk) -> std::result::Result<(), DiskFault> {
        for file in &self.files {
            file.sync_data()?;
        }
        for dir in &self.dirs {
            disk.sync_dir(dir)?;
        }
        self.store_state_files(disk)
    }

    /// Writes the state files. Want of room is no fault: they are tried again with the next job,
    /// and until then the recovery point stays where it is.
    ///
    /// # Errors
    /// Any other fault, for [`Log::flush_failed`].
    pub fn store_state_files(&mut self, disk: &dyn Disk) -> std::result::Result<(), DiskFault> {
        for state in &self.state_files {
            match write_atomically(disk, &state.path, &state.bytes) {
                Ok(()) => {}
                Err(fault) if fault.kind() == FaultKind::NoSpace => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
        self.state_stored = true;
        Ok(())
    }

    /// Takes note of what became of the state files, one answer each, for whoever writes those of
    /// many logs at once. Want of room is no fault, as above.
    ///
    /// # Errors
    /// The first other fault, for [`Log::flush_failed`].
    pub fn state_files_written(
        &mut self,
        outcomes: impl IntoIterator<Item = std::result::Result<(), DiskFault>>,
    ) -> std::result::Result<(), DiskFault> {
        let mut all_stored = true;
        for outcome in outcomes {
            match outcome {
                Ok(()) => {}
                Err(fault) if fault.kind() == FaultKind::NoSpace => all_stored = false,
                Err(fault) => return Err(fault),
            }
        }
        self.state_stored = all_stored;
        Ok(())
    }
}

/// What is and what is not durable yet.
#[derive(Debug)]
pub(crate) struct Flushing {
    pub(crate) durable: Offset,
    /// Where recovery may begin: what is below is durable together with its state files.
    recovery_point: Offset,
    /// The largest recovery point and log start that a checkpoint on disk may hold.
    pub(crate) checkpointed: Offset,
    pub(crate) checkpointed_start: Offset,
    /// Jobs handed out, with the lowest truncation since.
    jobs: Vec<(u64, Offset)>,
    jobs_ever: u64,
    /// Counts changes other than appends; those up to `changes_synced` are durable.
    changes: u64,
    names_changed: u64,
    folder_changed: u64,
    /// Names that nobody's data depends on, and the change they were.
    names_idle: Option<u64>,
    /// Recovery rewrote the indexes of the active segment, too.
    recovered: u64,
    changes_synced: u64,
    state_files: Vec<StateFile>,
    /// A note in the folder lowers the recovery point that the checkpoint holds.
    pub(crate) bound_is_written: bool,
}

/// Jobs of one log that are remembered; older ones were dropped by their holder.
const JOBS_MAX: usize = 8;

impl Flushing {
    pub(crate) const fn starting_at(end: Offset) -> Self {
        Self {
            durable: end,
            recovery_point: end,
            checkpointed: end,
            checkpointed_start: end,
            jobs: Vec::new(),
            jobs_ever: 0,
            changes: 0,
            names_changed: 0,
            folder_changed: 0,
            names_idle: None,
            recovered: 0,
            changes_synced: 0,
            state_files: Vec::new(),
            bound_is_written: false,
        }
    }

    /// The log was opened, and is durable up to `durable`.
    pub(crate) fn opened(
        &mut self,
        durable: Offset,
        checkpointed: Offset,
        checkpointed_start: Offset,
    ) {
        self.durable = durable;
        // Epochs that recovery read from the log must be read again until they are written.
        let is_settled = self.covers_epochs() && !self.is_recovery_unsynced();
        self.recovery_point = if is_settled { durable } else { checkpointed.min(durable) };
        self.checkpointed = checkpointed;
        self.checkpointed_start = checkpointed_start;
    }

    /// Everything was dropped durably; the log is empty and begins at `offset`.
    pub(crate) fn start_over_at(&mut self, offset: Offset) {
        self.durable = offset;
        self.recovery_point = offset;
        self.checkpointed = self.checkpointed.min(offset);
        self.checkpointed_start = self.checkpointed_start.min(offset);
        self.state_files.clear();
    }

    /// Names in the folder changed.
    pub(crate) const fn note_names(&mut self) {
        self.changes += 1;
        self.names_changed = self.changes;
    }

    /// Names changed that mean the same as those before: the next sync of the folder, whoever wants
    /// it, is soon enough.
    pub(crate) const fn note_idle_names(&mut self) {
        self.changes += 1;
        self.names_idle = Some(self.changes);
    }

    /// Which of those still wait for a sync.
    pub(crate) const fn idle_names(&self) -> Option<u64> {
        self.names_idle
    }

    /// The folder was synced since the last of those.
    pub(crate) const fn idle_names_synced(&mut self) {
        self.names_idle = None;
    }

    /// The folder itself is new.
    pub(crate) const fn note_folder(&mut self) {
        self.changes += 1;
        self.folder_changed = self.changes;
        self.names_changed = self.changes;
    }

    /// Recovery changed files, in a folder that may itself be as new as what it holds.
    pub(crate) const fn note_recovered(&mut self) {
        self.note_folder();
        self.recovered = self.changes;
    }

    /// Whether what recovery kept still waits for a sync.
    pub(crate) const fn is_recovery_unsynced(&self) -> bool {
        self.recovered > self.changes_synced
    }

    /// A small file is due; it replaces an older version that was not written yet.
    pub(crate) fn note_state(&mut self, path: PathBuf, bytes: Vec<u8>, gates_recovery_point: bool) {
        self.queue_state(StateFile {
            path,
            bytes: bytes.into(),
            change: 0,
            gates_recovery_point,
            gates_durability: false,
        });
    }

    /// As [`Flushing::note_state`], for one without which nothing appended so far counts as durable.
    pub(crate) fn note_gating_state(&mut self, path: PathBuf, bytes: Vec<u8>) {
        self.queue_state(StateFile {
            path,
            bytes: bytes.into(),
            change: 0,
            gates_recovery_point: true,
            gates_durability: true,
        });
    }

    fn queue_state(&mut self, state: StateFile) {
        self.changes += 1;
        self.state_files.retain(|queued| queued.path != state.path);
        self.state_files.push(StateFile { change: self.changes, ..state });
    }

    /// Forgets small files that are due, by path.
    pub(crate) fn forget_state(&mut self, goes: impl Fn(&StateFile) -> bool) {
        self.state_files.retain(|state| !goes(state));
    }

    /// What was told to others may be in a checkpoint by now, or on its way there.
    pub(crate) fn expect_checkpoint(&mut self, log_start: Offset) {
        self.checkpointed = self.checkpointed.max(self.recovery_point);
        self.checkpointed_start = self.checkpointed_start.max(log_start);
    }

    /// Takes note of a truncation to `end`: jobs under way no longer cover what comes after it.
    pub(crate) fn truncated(&mut self, end: Offset) {
        self.durable = self.durable.min(end);
        self.recovery_point = self.recovery_point.min(end);
        for (_, clamp) in &mut self.jobs {
            *clamp = end.min(*clamp);
        }
    }

    /// Whether the epochs on disk are those of the log.
    fn covers_epochs(&self) -> bool {
        !self.state_files.iter().any(|state| state.gates_recovery_point)
    }

    fn has_due(&self, log_end: Offset) -> bool {
        self.durable < log_end
            || self.names_changed > self.changes_synced
            || !self.state_files.is_empty()
    }
}

impl StateFile {
    pub(crate) fn offset_in_name(&self) -> Option<Offset> {
        let name = self.path.file_name()?.to_str()?;
        names::parse(name).map(|(offset, _)| offset)
    }
}

impl Log {
    /// Where recovery would begin after a crash now: everything below is durable, and so is all
    /// that recovery needs to know about it. Belongs into the checkpoint; tell the log with
    /// [`Log::checkpointed`] once it is there.
    #[must_use]
    pub const fn recovery_point(&self) -> Offset {
        self.flushing.recovery_point
    }

    /// Whether [`Log::take_flush`] would find work.
    #[must_use]
    pub fn is_flush_due(&self) -> bool {
        let sealed = self.segments.len().saturating_sub(1);
        self.folder_exists
            && (self.flushing.has_due(self.next)
                || self.segments.iter().take(sealed).any(|segment| segment.indexes_unsynced))
    }

    /// What must be synced to make all that was appended so far durable; `None` if nothing must.
    ///
    /// # Errors
    /// The latch; a fault in opening a file, which latches.
    pub fn take_flush(&mut self) -> Result<Option<FlushJob>> {
        self.check_latch()?;
        if !self.is_flush_due() {
            return Ok(None);
        }
        let unsynced = self.unsynced_files();
        let (files, indexed) = self.or_latch(unsynced)?;
        let flushing = &mut self.flushing;
        let mut dirs = Vec::new();
        if flushing.names_changed > flushing.changes_synced {
            dirs.push(self.dir.clone());
        }
        if flushing.folder_changed > flushing.changes_synced {
            dirs.extend(self.dir.parent().map(PathBuf::from));
        }
        flushing.jobs_ever += 1;
        let number = flushing.jobs_ever;
        if flushing.jobs.len() == JOBS_MAX {
            flushing.jobs.remove(0);
        }
        flushing.jobs.push((number, Offset::new(i64::MAX)));
        Ok(Some(FlushJob {
            files,
            dirs,
            state_files: flushing.state_files.clone(),
            end: self.next,
            indexed,
            number,
            changes: flushing.changes,
            state_stored: false,
        }))
    }

    /// Files to sync, and the sealed segments whose indexes are among them.
    fn unsynced_files(&mut self) -> Result<(Vec<FileRef>, Vec<Offset>)> {
        let durable = self.flushing.durable;
        let names_changed = self.flushing.names_changed > self.flushing.changes_synced;
        let count = self.segments.len();
        let at = (self.disk.as_ref(), self.dir.as_path());
        let (mut files, mut indexed) = (Vec::new(), Vec::new());
        for (place, segment) in self.segments.iter_mut().enumerate() {
            let active = place + 1 == count;
            if segment.next > durable || (active && names_changed) {
                files.push(segment.file(at)?);
            }
            if segment.indexes_unsynced && !active {
                segment.store_indexes(at)?;
                if segment.indexes_are_stored() {
                    files.extend(segment.index_files(at)?);
                    indexed.push(segment.base);
                }
            }
            if active && self.flushing.is_recovery_unsynced() && segment.indexes_are_stored() {
                files.extend(segment.index_files(at)?);
            }
        }
        Ok((files, indexed))
    }

    /// Takes a performed job back; returns the new durable end.
    pub fn flushed(&mut self, job: &FlushJob) -> Offset {
        let flushing = &mut self.flushing;
        let Some(at) = flushing.jobs.iter().position(|(number, _)| *number == job.number) else {
            return flushing.durable;
        };
        let (_, clamp) = flushing.jobs.remove(at);
        if self.latched.is_some() {
            return flushing.durable;
        }
        if !job.dirs.is_empty() {
            flushing.names_idle = flushing.names_idle.filter(|change| *change > job.changes);
        }
        let is_held = !job.state_stored && job.state_files.iter().any(|at| at.gates_durability);
        if !is_held {
            flushing.durable = flushing.durable.max(job.end.min(clamp));
        }
        if clamp == Offset::new(i64::MAX) {
            flushing.changes_synced = flushing.changes_synced.max(job.changes);
        }
        if job.state_stored {
            let done =
                |state: &StateFile| job.state_files.iter().any(|at| at.change == state.change);
            flushing.forget_state(done);
        }
        let durable = flushing.durable;
        let covers_epochs = flushing.covers_epochs();
        for segment in &mut self.segments {
            segment.indexes_unsynced &= !job.indexed.contains(&segment.base);
        }
        if covers_epochs {
            self.flushing.recovery_point = durable.min(self.indexes_synced_to());
        }
        self.close_idle_segments();
        durable
    }

    /// The end of the first sealed segment whose indexes a power cut could hurt: recovery must
    /// begin no later than in that segment.
    fn indexes_synced_to(&self) -> Offset {
        let sealed = self.segments.len().saturating_sub(1);
        let unsynced = self.segments.iter().take(sealed).find(|segment| segment.indexes_unsynced);
        unsynced.map_or(Offset::new(i64::MAX), |segment| segment.next)
    }

    /// Takes a failed job back: nobody knows what is durable of it, so the log is closed to
    /// writes for good (DR2).
    pub fn flush_failed(&mut self, job: &FlushJob, fault: DiskFault) {
        self.flushing.jobs.retain(|(number, _)| *number != job.number);
        self.latch(&LogFault::from(fault));
    }

    /// Tells the log what the data directory's checkpoints hold of it by now, durably. Only then
    /// do dropped segments leave the disk, see [`Log::remove_deleted`].
    pub fn checkpointed(&mut self, recovery_point: Offset, log_start: Offset) {
        self.flushing.checkpointed = recovery_point;
        self.flushing.checkpointed_start = log_start;
        // Were they read before a cut and written after it, the note about the cut still counts.
        if recovery_point <= self.flushing.recovery_point && log_start <= self.log_start {
            self.remove_recovery_bound();
        }
    }

    /// Ends the files as Kafka expects of a cleanly stopped log, and yields the last job. After
    /// it was performed and taken back, the log may be dropped and its recovery point, which is
    /// its end, be checkpointed as clean. Appending again is allowed and makes it unclean.
    ///
    /// # Errors
    /// The latch; a disk fault, which latches.
    pub fn close(&mut self) -> Result<Option<FlushJob>> {
        self.check_latch()?;
        if !self.folder_exists {
            return Ok(None);
        }
        if self.flushing.idle_names().is_some() {
            self.flushing.note_names();
        }
        let Some((segment, at)) = self.active() else { return self.take_flush() };
        let sealed = segment.seal(at).and_then(|()| segment.load_first_timestamp(at));
        let index_files = sealed.and_then(|()| segment.index_files(at));
        let index_files = self.or_latch(index_files)?;
        // Its sidecar is what the next start believes, so the rest must be there.
        if self.segments.last().is_some_and(crate::segment::Segment::indexes_are_stored) {
            self.note_snapshot();
        }
        let mut job = self.take_flush()?;
        if let Some(job) = &mut job {
            job.files.extend(index_files);
        }
        Ok(job)
    }

    /// Queues the epochs for the next job.
    pub(crate) fn note_epochs(&mut self) {
        if self.folder_exists {
            let text = self.epochs.to_text();
            self.flushing.note_state(self.dir.join(names::EPOCHS), text.into_bytes(), true);
        }
    }

    /// Queues Kafka's `partition.metadata` for the next job.
    pub(crate) fn note_metadata(&mut self) {
        if let Some(text) = self.metadata_text() {
            self.flushing.note_state(self.dir.join(names::METADATA), text.into_bytes(), false);
        }
    }

    /// What `partition.metadata` says.
    pub(crate) fn metadata_text(&self) -> Option<String> {
        self.topic_id.map(|topic_id| format!("version: 0\ntopic_id: {topic_id}"))
    }
}
