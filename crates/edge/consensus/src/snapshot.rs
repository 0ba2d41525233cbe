//! Snapshots: the whole state at one index, each in one checksummed file beside the log
//! (docs/internals/raft-log.md). The newest two are kept, so that a damaged one costs nothing as
//! long as the log still reaches back to the other.

use bytes::Bytes;
use jocko_codec::{DecodeError, Reader};
use jocko_disk::{DiskFault, DiskRef, FaultKind, read_small, write_atomically};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::{LogId, SnapshotMeta, term_of};

/// Files kept.
const KEPT: usize = 2;
const SUFFIX: &str = ".checkpoint";
/// Ends the name of a file that was found damaged: kept for people, never read again.
const DAMAGED: &str = ".damaged";
const MAGIC: [u8; 4] = *b"jkcp";
const VERSION: u16 = 1;
/// Magic, checksum, version, reserved, header length, payload length.
const FIXED_BYTES: usize = 4 + 4 + 2 + 2 + 4 + 8;
/// Where the checksummed part begins.
const SUMMED_FROM: usize = 8;
/// The largest file that is read. An image is far smaller; a file beyond this is not ours.
pub(crate) const FILE_BYTES_MAX: usize = 2 << 30;

/// Room that must be left on the disk beside a snapshot: entries need it.
const ROOM_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// A snapshot in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) meta: SnapshotMeta,
    pub(crate) state: Bytes,
}

/// The folder they are in.
#[derive(Debug)]
pub(crate) struct SnapshotStore {
    disk: DiskRef,
    dir: PathBuf,
    newest: Mutex<Option<Newest>>,
}

#[derive(Debug, Clone)]
struct Newest {
    meta: SnapshotMeta,
    path: PathBuf,
    /// Held from opening until it was restored from; then only the file has it.
    state: Option<Bytes>,
}

impl SnapshotStore {
    /// Looks through `dir` for the newest file that is whole. Damaged ones are set aside, and
    /// leftovers of interrupted writes removed.
    ///
    /// # Errors
    /// Any fault of the disk, and a file of a newer format.
    pub(crate) fn open(disk: DiskRef, dir: PathBuf) -> Result<Self, DiskFault> {
        let store = Self { disk, dir, newest: Mutex::new(None) };
        let mut names = store.names()?;
        while let Some(name) = names.pop() {
            let path = store.dir.join(&name);
            match store.read(&path) {
                Ok(stored) => {
                    let Stored { meta, state } = stored;
                    *store.lock() = Some(Newest { meta, path, state: Some(state) });
                    break;
                }
                Err(fault) if fault.is_corruption() => store.set_aside(&path, &fault)?,
                Err(fault) => return Err(fault),
            }
        }
        Ok(store)
    }

    /// The files' names, oldest first.
    fn names(&self) -> Result<Vec<String>, DiskFault> {
        let mut names = Vec::new();
        for entry in self.disk.list(&self.dir)? {
            if entry.name.ends_with(&format!("{SUFFIX}.tmp")) {
                // Only a crash leaves one: it was never a snapshot.
                self.disk.remove_file(&self.dir.join(&entry.name))?;
            } else if entry.name.ends_with(SUFFIX) {
                names.push(entry.name);
            }
        }
        Ok(names)
    }

    fn set_aside(&self, path: &Path, fault: &DiskFault) -> Result<(), DiskFault> {
        tracing::error!(%fault, "snapshot is damaged; it is set aside and an older one is used");
        let mut aside = path.as_os_str().to_owned();
        aside.push(DAMAGED);
        self.disk.rename(path, Path::new(&aside))?;
        self.disk.sync_dir(&self.dir)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Newest>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the newest snapshot holds, without its state.
    pub(crate) fn newest_meta(&self) -> Option<SnapshotMeta> {
        self.lock().as_ref().map(|newest| newest.meta.clone())
    }

    /// The newest snapshot. After the first call its state comes from the file.
    ///
    /// # Errors
    /// Any fault of the disk, and damage since it was written.
    pub(crate) fn newest(&self) -> Result<Option<Stored>, DiskFault> {
        let path = {
            let mut newest = self.lock();
            let Some(newest) = newest.as_mut() else { return Ok(None) };
            if let Some(state) = newest.state.take() {
                return Ok(Some(Stored { meta: newest.meta.clone(), state }));
            }
            newest.path.clone()
        };
        match self.read(&path) {
            Ok(stored) => Ok(Some(stored)),
            // A newer one was written meanwhile, and this one removed.
            Err(fault) if fault.kind() == FaultKind::NotFound => self.newest(),
            Err(fault) => Err(fault),
        }
    }

    /// Whether a snapshot of so many bytes surely fits on the disk. A disk that cannot tell how
    /// full it is counts as roomy.
    pub(crate) fn has_room_for(&self, state_bytes: usize) -> bool {
        let needed = (state_bytes as u64).saturating_add(ROOM_BYTES_MIN);
        self.disk.space(&self.dir).map_or(true, |space| space.free >= needed)
    }

    /// Writes a snapshot; durable when this returns. One that is not newer than the newest is
    /// left unwritten.
    ///
    /// # Errors
    /// Any fault of the disk; want of room leaves all as it was.
    pub(crate) fn save(&self, stored: &Stored) -> Result<(), DiskFault> {
        let Some(last) = &stored.meta.last_log_id else { return Ok(()) };
        if self.newest_meta().is_some_and(|newest| newest.last_log_id >= Some(*last)) {
            return Ok(());
        }
        let path = self.dir.join(file_name(last));
        let bytes = encode(stored).map_err(|words| DiskFault::corrupt("encode", &path, words))?;
        write_atomically(&*self.disk, &path, &bytes)?;
        *self.lock() = Some(Newest { meta: stored.meta.clone(), path, state: None });
        let names = self.names()?;
        for old in names.iter().rev().skip(KEPT) {
            self.disk.remove_file(&self.dir.join(old))?;
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Stored, DiskFault> {
        let bytes = read_small(&*self.disk, path, FILE_BYTES_MAX)?
            .ok_or_else(|| DiskFault::new("read", path, std::io::ErrorKind::NotFound.into()))?;
        decode(bytes.into()).map_err(|error| match error {
            FormatError::Newer(_) => {
                let words = std::io::Error::other(error.to_string());
                DiskFault::new("read", path, words)
            }
            damage => DiskFault::corrupt("read", path, damage.to_string()),
        })
    }
}

/// Sorted by name they are sorted by index.
fn file_name(last: &LogId) -> String {
    format!("{:020}-{:010}{SUFFIX}", last.index, term_of(last))
}

#[derive(Debug, thiserror::Error)]
enum FormatError {
    #[error(transparent)]
    Truncated(#[from] DecodeError),
    #[error("not a snapshot")]
    Magic,
    #[error("the checksum does not match")]
    Checksum,
    #[error("written in snapshot format {0}, this program knows {VERSION}; run a newer one")]
    Newer(u16),
    #[error("header: {0}")]
    Header(#[from] serde_json::Error),
    #[error("lengths do not fit the file")]
    Length,
}

fn encode(stored: &Stored) -> Result<Vec<u8>, String> {
    let header = serde_json::to_vec(&stored.meta).map_err(|error| error.to_string())?;
    let header_bytes = u32::try_from(header.len()).map_err(|error| error.to_string())?;
    let mut out = Vec::with_capacity(FIXED_BYTES + header.len() + stored.state.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&header_bytes.to_be_bytes());
    out.extend_from_slice(&(stored.state.len() as u64).to_be_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&stored.state);
    let crc = checksum(&out);
    if let Some(place) = out.get_mut(MAGIC.len()..SUMMED_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    Ok(out)
}

fn checksum(file: &[u8]) -> u32 {
    jocko_records::crc32c(file.get(SUMMED_FROM..).unwrap_or_default())
}

fn decode(bytes: Bytes) -> Result<Stored, FormatError> {
    let mut reader = Reader::new(&bytes);
    if reader.take(MAGIC.len(), "magic")? != MAGIC {
        return Err(FormatError::Magic);
    }
    if reader.u32("checksum")? != checksum(&bytes) {
        return Err(FormatError::Checksum);
    }
    // A newer format keeps magic, checksum and version where they are.
    let version = reader.u16("version")?;
    if version != VERSION {
        return Err(FormatError::Newer(version));
    }
    reader.u16("reserved")?;
    let header_bytes = usize::try_from(reader.u32("header length")?);
    let state_bytes = usize::try_from(reader.i64("state length")?);
    let (Ok(header_bytes), Ok(state_bytes)) = (header_bytes, state_bytes) else {
        return Err(FormatError::Length);
    };
    let meta = serde_json::from_slice(reader.take(header_bytes, "header")?)?;
    if reader.remaining() != state_bytes {
        return Err(FormatError::Length);
    }
    let state = bytes.slice_ref(reader.rest());
    Ok(Stored { meta, state })
}

#[cfg(test)]
mod tests;
