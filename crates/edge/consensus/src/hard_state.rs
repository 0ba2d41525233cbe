//! What must outlive a crash besides the log: the vote, how far the log was purged, and how far it
//! is known to be committed. One small file, kept twice (docs/internals/raft-log.md).

use jocko_codec::{DecodeError, Reader};
use jocko_disk::{Disk, DiskFault, Slots};
use std::path::Path;

use crate::id::NodeId;
use crate::types::{LogId, Vote, log_id, term_of};

/// The file's name in the log's folder.
pub(crate) const FILE_NAME: &str = "raft-state";
const VERSION: u8 = 1;

/// The state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HardState {
    /// The newest term seen, and for whom this node voted in it.
    pub(crate) vote: Option<Vote>,
    /// The last entry known to be committed. May lag behind the truth, never run ahead of it.
    pub(crate) committed: Option<LogId>,
    /// The last entry that was purged from the front of the log.
    pub(crate) purged: Option<LogId>,
    /// Everything in the log before this index was durable when this was stored: damage there is
    /// damage, and not a write that a crash cut short.
    pub(crate) recovery_point: u64,
}

/// The file it is kept in.
#[derive(Debug)]
pub(crate) struct HardStateFile {
    slots: Slots,
}

impl HardStateFile {
    /// Opens or creates the file in `dir`.
    ///
    /// # Errors
    /// Any fault of the disk; corruption if both copies are damaged or the content is not ours.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> Result<(Self, HardState), DiskFault> {
        let path = dir.join(FILE_NAME);
        let (slots, stored) = Slots::open(disk, &path, &HardState::default().encode())?;
        if stored.repaired {
            tracing::warn!(path = %path.display(), "one copy of the raft state was restored from the other");
        }
        let state = HardState::decode(&stored.payload)
            .map_err(|error| DiskFault::corrupt("load", &path, error.to_string()))?;
        Ok((Self { slots }, state))
    }

    /// Stores `state`; it is durable, twice, when this returns.
    ///
    /// # Errors
    /// Any fault of the disk; every later store then fails, too (DR2).
    pub(crate) fn store(&mut self, state: &HardState) -> Result<(), DiskFault> {
        self.slots.store(&state.encode()).map(drop)
    }
}

#[derive(Debug, thiserror::Error)]
enum StateError {
    #[error(transparent)]
    Truncated(#[from] DecodeError),
    #[error("raft state in format {0}, this program knows {VERSION}; run a newer one")]
    Newer(u8),
    #[error("{0} bytes too many")]
    Trailing(usize),
}

impl HardState {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match &self.vote {
            None => out.push(0),
            Some(vote) => {
                out.push(if vote.committed { 2 } else { 1 });
                out.extend_from_slice(&vote.leader_id.term.to_be_bytes());
                out.extend_from_slice(vote.leader_id.voted_for.directory_id().as_bytes());
            }
        }
        for id in [&self.committed, &self.purged] {
            match id {
                None => out.push(0),
                Some(id) => {
                    out.push(1);
                    out.extend_from_slice(&term_of(id).to_be_bytes());
                    out.extend_from_slice(&id.index.to_be_bytes());
                }
            }
        }
        out.extend_from_slice(&self.recovery_point.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8("version")?;
        if version != VERSION {
            return Err(StateError::Newer(version));
        }
        let vote = match reader.u8("vote")? {
            0 => None,
            kind => {
                let term = reader.i64("vote term")?.cast_unsigned();
                let node = NodeId::new(reader.uuid("vote node")?);
                Some(if kind == 2 {
                    Vote::new_committed(term, node)
                } else {
                    Vote::new(term, node)
                })
            }
        };
        let state = Self {
            vote,
            committed: read_log_id(&mut reader, "committed")?,
            purged: read_log_id(&mut reader, "purged")?,
            recovery_point: reader.i64("recovery point")?.cast_unsigned(),
        };
        match reader.remaining() {
            0 => Ok(state),
            more => Err(StateError::Trailing(more)),
        }
    }
}

fn read_log_id(reader: &mut Reader<'_>, field: &'static str) -> Result<Option<LogId>, DecodeError> {
    if reader.u8(field)? == 0 {
        return Ok(None);
    }
    let term = reader.i64(field)?.cast_unsigned();
    let index = reader.i64(field)?.cast_unsigned();
    Ok(Some(log_id(term, index)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_disk::MemDisk;
    use jocko_types::Uuid;

    fn state() -> HardState {
        let node = NodeId::new(Uuid::from_bytes([7; 16]));
        HardState {
            vote: Some(Vote::new_committed(3, node)),
            committed: Some(log_id(2, 9)),
            purged: Some(log_id(1, 4)),
            recovery_point: 9,
        }
    }

    #[test]
    fn it_survives_its_bytes_and_no_cut_of_them_passes() {
        for state in [HardState::default(), state(), HardState { committed: None, ..state() }] {
            let bytes = state.encode();
            assert_eq!(HardState::decode(&bytes).expect("whole"), state);
            for len in 0..bytes.len() {
                assert!(HardState::decode(&bytes[..len]).is_err());
            }
            assert!(HardState::decode(&[bytes, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn what_was_stored_is_there_after_reopening() {
        let disk = MemDisk::with_dir("d");
        let (mut file, first) = HardStateFile::open(&disk, Path::new("d")).expect("opens");
        assert_eq!(first, HardState::default());
        file.store(&state()).expect("stores");
        let (_, again) = HardStateFile::open(&disk, Path::new("d")).expect("opens");
        assert_eq!(again, state());
    }
}
