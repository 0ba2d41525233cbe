//! Entries in order, one record batch each, in a commit log whose offsets are Raft's indexes.

use bytes::Bytes;
use jocko_commitlog::{
    AssignedOutcome, FlushJob, Log, LogConfig, LogFault, LogSlice, OpenContext, Patience,
    ReadOutcome, ReadRequest,
};
use jocko_disk::DiskRef;
use jocko_types::{Offset, Timestamp};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use crate::entry::{EntryError, PAYLOAD_BYTES_MAX, from_batch, to_batch};
use crate::types::{Entry, LogId};

/// Large enough for the largest entry; small enough that a purge gives room back.
const SEGMENT_BYTES_MAX: u32 = 32 * 1024 * 1024;
const _: () = assert!(PAYLOAD_BYTES_MAX <= SEGMENT_BYTES_MAX as usize / 2);
/// Bytes read from a file at once.
const READ_PIECE_BYTES: usize = 1024 * 1024;
/// Nothing in this log goes by the clock: segments neither roll nor expire by age. One instant for
/// all calls keeps two runs of one history the same.
const NO_TIME: Timestamp = Timestamp::from_millis(0);

/// What is wrong with the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryLogError {
    /// The commit log's word.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// A file could not be read.
    #[error(transparent)]
    Disk(#[from] jocko_disk::DiskFault),
    /// A batch is whole, but not the entry that belongs there.
    #[error("entry {index}: {source}")]
    Entry {
        /// Where.
        index: u64,
        /// What is wrong.
        #[source]
        source: EntryError,
    },
    /// An entry that was written is not there.
    #[error("entry {0} is missing")]
    Missing(u64),
    /// An entry that cannot follow the last one.
    #[error("entry {id} cannot be appended: {reason}")]
    Refused {
        /// Which.
        id: LogId,
        /// Why.
        reason: String,
    },
    /// No room on the disk. Nothing was harmed.
    #[error("no room on the disk for entry {0}")]
    NoSpace(LogId),
}

impl From<EntryLogError> for io::Error {
    fn from(error: EntryLogError) -> Self {
        let kind = match &error {
            EntryLogError::NoSpace(_) => io::ErrorKind::StorageFull,
            EntryLogError::Entry { .. } | EntryLogError::Missing(_) => io::ErrorKind::InvalidData,
            EntryLogError::Refused { .. } => io::ErrorKind::InvalidInput,
            EntryLogError::Log(_) | EntryLogError::Disk(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

type Result<T> = std::result::Result<T, EntryLogError>;

/// The log.
#[derive(Debug)]
pub(crate) struct EntryLog {
    log: Log,
    /// The last entry, if there is any.
    last: Option<LogId>,
}

impl EntryLog {
    /// Opens the log in `dir`, of which everything below `recovery_point` was durable and nothing
    /// below `first` is wanted. What it finds is durable afterwards.
    pub(crate) fn open(
        disk: &DiskRef,
        dir: &Path,
        first: u64,
        recovery_point: u64,
    ) -> Result<Self> {
        let config = LogConfig {
            segment_bytes_max: SEGMENT_BYTES_MAX,
            segment_age_max: Duration::MAX,
            segment_age_is_explicit: true,
            retention_age: None,
            retention_bytes: None,
            retention_deletes: false,
            file_delete_delay: Duration::ZERO,
            ..LogConfig::default()
        };
        let context = OpenContext {
            topic_id: None,
            clean: false,
            recovery_point: offset(recovery_point.max(first)),
            log_start: offset(first),
            now: NO_TIME,
        };
        let (log, recovery) = Log::open(disk.clone(), dir, config, &context)?;
        if let Some(cut) = &recovery.cut {
            tracing::info!(offset = %cut.offset, bytes = cut.bytes, reason = %cut.reason, "cut an unfinished write off the metadata log");
        }
        let mut this = Self { log, last: None };
        this.find_last()?;
        Ok(this)
    }

    /// The first index that is there.
    pub(crate) fn first(&self) -> u64 {
        index(self.log.log_start())
    }

    /// The index after the last.
    pub(crate) fn next(&self) -> u64 {
        index(self.log.log_end())
    }

    /// The last entry.
    pub(crate) const fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Everything below this is durable, and known to be at the next start if it is noted.
    pub(crate) fn recovery_point(&self) -> u64 {
        index(self.log.recovery_point())
    }

    /// Appends an entry, which must be the next one. It is durable after the next flush.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<()> {
        let id = entry.log_id;
        let batch =
            to_batch(entry).map_err(|source| EntryLogError::Entry { index: id.index, source })?;
        match self.log.append_assigned(&batch, NO_TIME)? {
            AssignedOutcome::Appended { .. } => {
                self.last = Some(id);
                Ok(())
            }
            AssignedOutcome::NoSpace => Err(EntryLogError::NoSpace(id)),
            other => Err(EntryLogError::Refused { id, reason: format!("{other:?}") }),
        }
    }

    /// The entries of `range`, which must lie within the log: as many as fit into `bytes_max`
    /// bytes, at least one.
    pub(crate) fn read(&mut self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut at = range.start;
        let mut left = bytes_max;
        while at < range.end && (left > 0 || entries.is_empty()) {
            let request = ReadRequest {
                from: offset(at),
                upper: offset(range.end),
                bytes_max: left.min(READ_PIECE_BYTES),
                at_least_one_batch: entries.is_empty() || left >= READ_PIECE_BYTES,
                patience: Patience::Wait,
            };
            let slice = match self.log.read(&request)? {
                ReadOutcome::Slice(slice) => slice,
                ReadOutcome::Empty if !entries.is_empty() && left < READ_PIECE_BYTES => break,
                _ => return Err(EntryLogError::Missing(at)),
            };
            let bytes = read_slice(&slice)?;
            left = left.saturating_sub(bytes.len());
            at = parse(bytes, at, &mut entries)?;
            self.log.note_read(&slice, offset(at));
        }
        Ok(entries)
    }

    /// Forgets every entry from `next` on. Durable after the next flush.
    pub(crate) fn truncate_to(&mut self, next: u64) -> Result<()> {
        self.log.truncate_to(offset(next), NO_TIME)?;
        self.find_last()
    }

    /// Forgets every entry before `first`, and all of them if the log ends before that; it then
    /// goes on at `first`. The caller has noted `first` durably.
    pub(crate) fn purge_to(&mut self, first: u64) -> Result<()> {
        if first <= self.first() {
            return Ok(());
        }
        if first > self.next() {
            self.log.truncate_fully_and_start_at(offset(first), NO_TIME)?;
        } else {
            self.log.advance_log_start(offset(first))?;
        }
        self.find_last()
    }

    /// Takes note that recovery point and start are stored, and lets go of segments before it.
    pub(crate) fn noted(&mut self, recovery_point: u64, first: u64) -> Result<()> {
        self.log.checkpointed(offset(recovery_point), offset(first));
        self.log.remove_deleted(NO_TIME)?;
        Ok(())
    }

    /// What must be made durable, if anything.
    pub(crate) fn take_flush(&mut self) -> Result<Option<FlushJob>> {
        Ok(self.log.take_flush()?)
    }

    /// Takes a performed job back.
    pub(crate) fn flushed(
        &mut self,
        job: &FlushJob,
        outcome: std::result::Result<(), jocko_disk::DiskFault>,
    ) -> Result<()> {
        match outcome {
            Ok(()) => {
                self.log.flushed(job);
                Ok(())
            }
            Err(fault) => {
                self.log.flush_failed(job, fault);
                // The latch now tells what happened.
                self.log.latched().map_or(Ok(()), |fault| Err(fault.into()))
            }
        }
    }

    /// Ends the files as after a clean stop; the job is the last one.
    pub(crate) fn close(&mut self) -> Result<Option<FlushJob>> {
        Ok(self.log.close()?)
    }

    fn find_last(&mut self) -> Result<()> {
        let next = self.next();
        self.last = match next.checked_sub(1).filter(|last| *last >= self.first()) {
            Some(last) => self.read(last..next, usize::MAX)?.pop().map(|entry| entry.log_id),
            None => None,
        };
        Ok(())
    }
}

/// A log never holds an index beyond what an offset can say: appending one is refused.
fn offset(index: u64) -> Offset {
    Offset::new(i64::try_from(index).unwrap_or(i64::MAX))
}

fn index(offset: Offset) -> u64 {
    u64::try_from(offset.get()).unwrap_or(0)
}

fn read_slice(slice: &LogSlice) -> Result<Bytes> {
    let mut bytes = vec![0; slice.len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match slice.file.read_at(rest, slice.position.saturating_add(filled as u64))? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

/// Adds the entries in `bytes` from index `at` on; returns the index after the last.
fn parse(mut bytes: Bytes, mut at: u64, entries: &mut Vec<Entry>) -> Result<u64> {
    let first = at;
    loop {
        let read =
            from_batch(&bytes).map_err(|source| EntryLogError::Entry { index: at, source })?;
        let Some((entry, size)) = read else { break };
        if entry.log_id.index != at {
            return Err(EntryLogError::Missing(at));
        }
        entries.push(entry);
        at += 1;
        bytes = bytes.slice(size.min(bytes.len())..);
    }
    if at == first { Err(EntryLogError::Missing(at)) } else { Ok(at) }
}
