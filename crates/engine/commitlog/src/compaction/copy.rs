//! Writing the copy that is to replace a group of segments: `<base>.log.cleaned` and its indexes.

use super::source::{CHUNK_BYTES, Source};
use crate::fault::Result;
use crate::names::{self, Kind, Stage};
use crate::read::{Met, Miss, Patience, read_full};
use crate::retention::remove;
use crate::segment::Segment;
use crate::time_index::Reached;
use jocko_disk::{Disk, FaultKind, FileRef, Open};
use jocko_records::BatchHeader;
use jocko_types::{Offset, Timestamp};
use std::io::IoSlice;
use std::path::{Path, PathBuf};

/// The files of a segment in the order in which they change names: the log last, since it is what
/// makes the others count.
pub(super) const FILES: [Kind; 4] = [Kind::TxnIndex, Kind::Index, Kind::TimeIndex, Kind::Log];

/// A copy under way.
pub(super) struct Copy<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    /// Sizes and index entries of the copy, in memory.
    segment: Segment,
    interval_bytes: u32,
    /// The only source, as long as nothing but its beginning was kept: then nothing is written.
    pristine: Option<FileRef>,
    file: Option<FileRef>,
    buffer: Vec<u8>,
    written: u64,
    last: Option<(Offset, u32)>,
}

/// A copy on disk, under names that end in `.cleaned`. It is synced by [`Cleaned::sync`], so that
/// several are written out together.
#[derive(Debug)]
pub(crate) struct Cleaned {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) size: u64,
    pub(crate) index_sizes: (u64, u64),
    pub(crate) reached: Option<Reached>,
    pub(crate) first_timestamp: Option<Timestamp>,
    /// Base offset and checksum of its last batch.
    pub(crate) last_batch: Option<(Offset, u32)>,
    /// The log and both indexes, open.
    pub(crate) files: [FileRef; 3],
    /// The list of aborted transactions, if there is one.
    txn_index: Option<FileRef>,
    pub(crate) sources: Vec<Source>,
}

impl Cleaned {
    /// Makes it durable but for its names.
    pub(super) fn sync(&self) -> Result<()> {
        for file in self.files.iter().chain(&self.txn_index) {
            file.sync_data()?;
        }
        Ok(())
    }
}

fn path(dir: &Path, base: Offset, kind: Kind) -> PathBuf {
    names::staged(dir, base, kind, Stage::Cleaned)
}

/// Removes what a copy that is not wanted has left.
pub(super) fn discard(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<()> {
    FILES.into_iter().rev().try_for_each(|kind| remove(disk, &path(dir, base, kind)))
}

impl<'a> Copy<'a> {
    /// A copy for the segment at `base`. `only_source` is the file of the only source, if there is
    /// but one.
    pub(super) fn new(
        (disk, dir): (&'a dyn Disk, &'a Path),
        base: Offset,
        interval_bytes: u32,
        only_source: Option<FileRef>,
    ) -> Self {
        Self {
            disk,
            dir,
            segment: Segment::empty(base, Timestamp::NONE),
            interval_bytes,
            pristine: only_source,
            file: None,
            buffer: Vec::new(),
            written: 0,
            last: None,
        }
    }

    /// Whether the copy would be the same as its source, so far.
    pub(super) fn is_pristine(&self) -> bool {
        self.pristine.is_some()
    }

    /// Bytes written so far, and gathered.
    pub(super) fn size(&self) -> u64 {
        self.segment.size
    }

    /// Adds a batch as it stands in a source.
    pub(super) fn keep(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<()> {
        if !self.is_pristine() {
            self.write(bytes)?;
        }
        self.note(header)
    }

    /// Adds a batch that was rebuilt.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.part()?;
        self.write(bytes)?;
        let header = BatchHeader::read(bytes).expect("a batch has a header");
        self.note(&header)
    }

    /// From here on the copy differs from its source: what was the same is written.
    pub(super) fn part(&mut self) -> Result<()> {
        let Some(source) = self.pristine.take() else { return Ok(()) };
        let same = self.segment.size;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut at = 0;
        while at < same {
            let wanted = usize::try_from(same - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let piece = chunk.get_mut(..wanted).unwrap_or_default();
            let read = read_full(&source, piece, at, Patience::Wait).map_err(Miss::into_fault)?;
            self.write(chunk.get(..read).unwrap_or_default())?;
            if read == 0 {
                break;
            }
            at += read as u64;
        }
        Ok(())
    }

    fn note(&mut self, header: &BatchHeader) -> Result<()> {
        let met = Met { position: self.segment.size, header: *header };
        self.last = Some((header.base_offset, header.crc));
        self.segment.index((self.disk, self.dir), &met, self.interval_bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES { self.store() } else { Ok(()) }
    }

    fn store(&mut self) -> Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                let base = self.segment.base;
                // An earlier pass may have left a file of a kind that this one has no need of.
                discard(self.disk, self.dir, base)?;
                self.file.insert(create(self.disk, &path(self.dir, base, Kind::Log))?)
            }
        };
        let len = self.buffer.len() as u64;
        file.write_at(&[IoSlice::new(&self.buffer)], self.written)?;
        file.begin_writeback(self.written, len);
        self.written += len;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and the indexes, and has the device begin with all of it: syncs that
    /// follow then share one commit of the file system's journal.
    pub(super) fn finish(mut self, sources: Vec<Source>, next: Offset) -> Result<Cleaned> {
        self.store()?;
        let log = self.file.take().expect("it was stored just now");
        assert_eq!(self.written, self.segment.size, "what is indexed is written");
        let base = self.segment.base;
        let at = (self.disk, self.dir);
        let reached = self.segment.reached(at)?;
        if let Some(reached) = reached {
            self.segment.times.advance(at, reached)?;
        }
        let (index, times) = (self.segment.offsets.bytes(), self.segment.times.bytes());
        let index_sizes = (index.len() as u64, times.len() as u64);
        let files =
            [log, self.write_whole(Kind::Index, index)?, self.write_whole(Kind::TimeIndex, times)?];
        let txn_index = self.join_txn_indexes(&sources)?;
        Ok(Cleaned {
            base,
            next,
            size: self.written,
            index_sizes,
            reached,
            first_timestamp: self.segment.known_first_timestamp(),
            last_batch: self.last,
            files,
            txn_index,
            sources,
        })
    }

    fn write_whole(&self, kind: Kind, bytes: &[u8]) -> Result<FileRef> {
        let file = create(self.disk, &path(self.dir, self.segment.base, kind))?;
        file.write_at(&[IoSlice::new(bytes)], 0)?;
        file.begin_writeback(0, bytes.len() as u64);
        Ok(file)
    }

    /// Kafka's lists of aborted transactions are joined as they are: every batch of an aborted
    /// transaction that is still there is still in them.
    fn join_txn_indexes(&self, sources: &[Source]) -> Result<Option<FileRef>> {
        let mut joined: Option<(FileRef, u64)> = None;
        for source in sources {
            let from = names::path(self.dir, source.base, Kind::TxnIndex);
            let file = match self.disk.open(&from, Open::Read) {
                Ok(file) => file,
                Err(fault) if fault.kind() == FaultKind::NotFound => continue,
                Err(fault) => return Err(fault.into()),
            };
            let (to, at) = match &mut joined {
                Some(joined) => joined,
                None => {
                    let to = path(self.dir, self.segment.base, Kind::TxnIndex);
                    joined.insert((create(self.disk, &to)?, 0))
                }
            };
            let mut chunk = vec![0; CHUNK_BYTES];
            let mut read_to = 0;
            loop {
                let read = file.read_at(&mut chunk, read_to)?;
                if read == 0 {
                    break;
                }
                to.write_at(&[IoSlice::new(chunk.get(..read).unwrap_or_default())], *at)?;
                read_to += read as u64;
                *at += read as u64;
            }
        }
        Ok(joined.map(|(file, bytes)| {
            file.begin_writeback(0, bytes);
            file
        }))
    }
}

/// Creates a file, or empties one that an earlier pass left.
fn create(disk: &dyn Disk, path: &Path) -> Result<FileRef> {
    let file = disk.open(path, Open::Create)?;
    file.set_size(0)?;
    Ok(file)
}
