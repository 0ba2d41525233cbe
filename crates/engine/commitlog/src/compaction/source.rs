//! Segments that a pass reads, batch by batch, from files that may be renamed or removed
//! meanwhile.

use crate::fault::{LogFault, Result};
use crate::names::{self, Kind};
use crate::read::{Miss, Patience, implausible, read_full};
use jocko_disk::{Disk, FileRef, Open};
use jocko_records::{BATCH_HEADER_BYTES, BatchError, BatchHeader, BatchView};
use jocko_types::Offset;
use std::path::Path;

/// Bytes read at once; a larger batch is read whole.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// A segment as it was when the pass was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    pub(super) base: Offset,
    /// Where the next segment begins.
    pub(super) next: Offset,
    pub(super) size: u64,
    /// Bytes of both its indexes.
    pub(super) index_bytes: u64,
}

/// Reads a segment from its start.
pub(super) struct Batches {
    file: FileRef,
    end: u64,
    /// Where the next batch starts.
    position: u64,
    /// Bytes of the file from `chunk_at` on.
    chunk: Vec<u8>,
    chunk_at: u64,
    /// Bytes read since the caller last asked.
    read: u64,
}

/// A batch in a file.
pub(super) struct Placed<'a> {
    pub(super) file: &'a FileRef,
    pub(super) position: u64,
    pub(super) batch: BatchView<'a>,
}

impl Batches {
    pub(super) fn open(disk: &dyn Disk, dir: &Path, source: &Source) -> Result<Self> {
        let file = disk.open(&names::path(dir, source.base, Kind::Log), Open::Read)?;
        let end = source.size;
        Ok(Self { file, end, position: 0, chunk: Vec::new(), chunk_at: 0, read: 0 })
    }

    pub(super) fn file(&self) -> &FileRef {
        &self.file
    }

    /// Whether this batch, the next, is the last one.
    pub(super) fn is_last(&self, header: &BatchHeader) -> bool {
        self.position + header.size_bytes() as u64 == self.end
    }

    /// Bytes read since this was last asked.
    pub(super) fn take_read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
    }

    /// The next batch, its checksum compared; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Placed<'_>>> {
        let Some(header) = self.peek()? else { return Ok(None) };
        let position = self.position;
        let size = header.size_bytes();
        self.fill(size)?;
        self.position += size as u64;
        let from = usize::try_from(position - self.chunk_at).unwrap_or(usize::MAX);
        let bytes = self.chunk.get(from..from.saturating_add(size)).unwrap_or_default();
        let parsed = BatchView::parse(bytes).and_then(|(batch, _)| {
            batch.check_crc()?;
            Ok(batch)
        });
        match parsed {
            Ok(batch) => Ok(Some(Placed { file: &self.file, position, batch })),
            Err(error) => Err(damage(&self.file, position, &header, &error)),
        }
    }

    /// Passes over the next batch without reading it.
    pub(super) fn skip(&mut self, header: &BatchHeader) {
        self.position += header.size_bytes() as u64;
    }

    /// The header of the next batch; `None` at the end.
    pub(super) fn peek(&mut self) -> Result<Option<BatchHeader>> {
        let left = self.end - self.position;
        if left == 0 {
            return Ok(None);
        }
        self.fill(BATCH_HEADER_BYTES)?;
        let from = usize::try_from(self.position - self.chunk_at).unwrap_or(usize::MAX);
        let header = self.chunk.get(from..).and_then(BatchHeader::read);
        let Some(header) = header else { return Err(self.corrupt("the file ends too early")) };
        if let Some(reason) = implausible(&header) {
            return Err(self.corrupt(reason));
        }
        if header.size_bytes() as u64 > left {
            return Err(self.corrupt("the file ends within a batch"));
        }
        Ok(Some(header))
    }

    /// Sees to it that `len` bytes from the position on are in memory, if the file has them.
    fn fill(&mut self, len: usize) -> Result<()> {
        let end = self.position + len as u64;
        if self.position >= self.chunk_at && end <= self.chunk_at + self.chunk.len() as u64 {
            return Ok(());
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        self.chunk.resize(left.min(len.max(CHUNK_BYTES)), 0);
        let read = read_full(&self.file, &mut self.chunk, self.position, Patience::Wait)
            .map_err(Miss::into_fault)?;
        self.chunk.truncate(read);
        self.chunk_at = self.position;
        self.read += read as u64;
        Ok(())
    }

    fn corrupt(&self, reason: &str) -> LogFault {
        LogFault::Corrupt {
            path: self.file.path().clone(),
            position: self.position,
            offset: Offset::new(-1),
            reason: reason.to_owned(),
        }
    }
}

pub(super) fn damage(
    file: &FileRef,
    position: u64,
    header: &BatchHeader,
    error: &BatchError,
) -> LogFault {
    LogFault::Corrupt {
        path: file.path().clone(),
        position,
        offset: header.base_offset,
        reason: error.to_string(),
    }
}
