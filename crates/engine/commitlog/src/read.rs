//! Reading files with or without waiting for the device, and walking batches by their headers.

use crate::fault::LogFault;
use jocko_disk::{DiskFault, FileRef};
use jocko_records::{BATCH_HEADER_BYTES, BatchHeader};
use jocko_types::Offset;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a read may wait for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It may: for workers.
    Wait,
    /// It may not: what is not in memory is reported as [`Cold`], for reactor threads.
    ResidentOnly,
}

/// Bytes that must be read by a thread that may wait, after which the same call is worth
/// repeating. Needs no lock.
#[derive(Debug, Clone)]
pub struct Cold {
    /// The file.
    pub file: FileRef,
    /// First byte.
    pub position: u64,
    /// How many.
    pub len: usize,
    /// Shared with the log that gave it out.
    is_warm: Arc<AtomicBool>,
}

impl Cold {
    fn new(file: FileRef, position: u64, len: usize) -> Self {
        Self { file, position, len, is_warm: Arc::default() }
    }

    /// What is remembered of it while somebody warms it. It keeps no file open.
    pub(crate) fn warming(&self, from: Offset) -> Warming {
        let (path, is_warm) = (self.file.path().clone(), Arc::clone(&self.is_warm));
        Warming { from, path, position: self.position, len: self.len, is_warm }
    }

    /// Reads the bytes into the page cache.
    ///
    /// # Errors
    /// Any fault of the disk.
    pub fn warm(&self) -> Result<(), DiskFault> {
        let mut buffer = vec![0; self.len.min(64 * 1024)];
        let mut position = self.position;
        let end = self.position.saturating_add(self.len as u64);
        while position < end {
            match self.file.read_at(&mut buffer, position)? {
                0 => break,
                read => position += read as u64,
            }
        }
        self.is_warm.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Bytes that somebody who reads from an offset was told to warm.
#[derive(Debug)]
pub(crate) struct Warming {
    pub(crate) from: Offset,
    path: PathBuf,
    position: u64,
    len: usize,
    is_warm: Arc<AtomicBool>,
}

impl Warming {
    /// Whether these bytes were read since they were found cold.
    pub(crate) fn has_warmed(&self, cold: &Cold) -> bool {
        self.is_warm.load(Ordering::Relaxed)
            && (self.position, self.len) == (cold.position, cold.len)
            && self.path == *cold.file.path()
    }
}

/// Why a read gave nothing.
#[derive(Debug)]
pub(crate) enum Miss {
    Cold(Cold),
    Fault(LogFault),
}

impl From<LogFault> for Miss {
    fn from(fault: LogFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DiskFault> for Miss {
    fn from(fault: DiskFault) -> Self {
        Self::Fault(fault.into())
    }
}

impl Miss {
    /// The fault of a read that was allowed to wait.
    pub(crate) fn into_fault(self) -> LogFault {
        match self {
            Self::Fault(fault) => fault,
            Self::Cold(cold) => {
                unreachable!("{}: cold although the read may wait", cold.file.path().display())
            }
        }
    }
}

/// Reads from `position` until `buffer` is full or the file ends; returns how many bytes.
pub(crate) fn read_full(
    file: &FileRef,
    buffer: &mut [u8],
    position: u64,
    patience: Patience,
) -> Result<usize, Miss> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = position + filled as u64;
        let len = rest.len();
        let read = match patience {
            Patience::Wait => file.read_at(rest, at)?,
            Patience::ResidentOnly => match file.read_resident_at(rest, at)? {
                Some(read) => read,
                None => return Err(Miss::Cold(Cold::new(file.clone(), at, len))),
            },
        };
        if read == 0 {
            break;
        }
        filled += read;
    }
    Ok(filled)
}

/// Bytes read at once while walking headers: a little more than the default index interval would
/// be waste for large batches, much less would be a call per small batch.
const WALK_BYTES: usize = 4096;

/// Walks the batches of a file from a batch's start, reading headers only.
#[derive(Debug)]
pub(crate) struct Walk {
    file: FileRef,
    position: u64,
    end: u64,
    patience: Patience,
    window: Vec<u8>,
    window_at: u64,
}

/// A batch met on a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Met {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Met {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.size_bytes() as u64
    }
}

impl Walk {
    /// A walk over `position..end` of `file`.
    pub(crate) fn new(file: FileRef, position: u64, end: u64, patience: Patience) -> Self {
        Self { file, position, end, patience, window: Vec::new(), window_at: 0 }
    }

    /// The next batch; `None` at the end.
    ///
    /// A header that cannot be is a [`LogFault::Corrupt`].
    pub(crate) fn next(&mut self) -> Result<Option<Met>, Miss> {
        if self.position >= self.end {
            return Ok(None);
        }
        if self.end - self.position < BATCH_HEADER_BYTES as u64 {
            return Err(self.corrupt(Offset::new(-1), "the file ends within a batch header"));
        }
        let header = self.header()?;
        let Some(header) = header else {
            return Err(self.corrupt(Offset::new(-1), "the file ends within a batch header"));
        };
        if let Some(reason) = implausible(&header) {
            return Err(self.corrupt(header.base_offset, reason));
        }
        let met = Met { position: self.position, header };
        if met.end() > self.end {
            return Err(self.corrupt(header.base_offset, "the file ends within a batch"));
        }
        self.position = met.end();
        Ok(Some(met))
    }

    fn header(&mut self) -> Result<Option<BatchHeader>, Miss> {
        let within = self.position.checked_sub(self.window_at).and_then(|at| {
            let at = usize::try_from(at).ok()?;
            self.window.get(at..at + BATCH_HEADER_BYTES)
        });
        if let Some(header) = within.and_then(BatchHeader::read) {
            return Ok(Some(header));
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        self.window.resize(left.min(WALK_BYTES), 0);
        let filled = read_full(&self.file, &mut self.window, self.position, self.patience)?;
        self.window.truncate(filled);
        self.window_at = self.position;
        Ok(BatchHeader::read(&self.window))
    }

    fn corrupt(&self, offset: Offset, reason: &str) -> Miss {
        Miss::Fault(LogFault::Corrupt {
            path: self.file.path().clone(),
            position: self.position,
            offset,
            reason: reason.to_owned(),
        })
    }
}

/// Why no batch in a log can have this header, if so. The checksum is not looked at.
pub(crate) fn implausible(header: &BatchHeader) -> Option<&'static str> {
    if header.magic != 2 {
        Some("not a batch of format 2")
    } else if header.size_bytes() < BATCH_HEADER_BYTES {
        Some("the batch's length is shorter than its header")
    } else if header.base_offset < Offset::ZERO || header.last_offset_delta < 0 {
        Some("the batch's offsets are negative")
    } else {
        None
    }
}
