//! A snapshot on its way between peers: in pieces, so that none of them is large, and with what has
//! arrived kept where one is lost or the connection breaks. The receiver says from where it wants
//! more (docs/internals/raft-log.md).

use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::snapshot::{FILE_BYTES_MAX, Stored};
use crate::types::{SnapshotMeta, Vote};

/// Some bytes of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Of the leader that sends it.
    pub(crate) vote: Vote,
    /// What the snapshot covers.
    pub(crate) meta: SnapshotMeta,
    /// How many bytes its state has in all.
    pub(crate) state_bytes: u64,
    /// CRC-32C of the state.
    pub(crate) checksum: u32,
    /// Where in the state this piece begins.
    pub(crate) offset: u64,
    /// The piece.
    pub(crate) bytes: Bytes,
}

impl Piece {
    /// The piece of a snapshot from `offset` on.
    pub(crate) fn of(
        vote: Vote,
        stored: &Stored,
        checksum: u32,
        offset: usize,
        bytes_max: usize,
    ) -> Self {
        let begin = offset.min(stored.state.len());
        let end = begin.saturating_add(bytes_max.max(1)).min(stored.state.len());
        Self {
            vote,
            meta: stored.meta.clone(),
            state_bytes: stored.state.len() as u64,
            checksum,
            offset: begin as u64,
            bytes: stored.state.slice(begin..end),
        }
    }

    /// Whether nothing of the state comes after it.
    pub(crate) fn is_last(&self) -> bool {
        self.offset.saturating_add(self.bytes.len() as u64) >= self.state_bytes
    }
}

/// What came of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// More is wanted, from this place of the state on.
    More(u64),
    /// That was the last.
    Whole(Stored),
    /// No snapshot is that large.
    TooLarge,
}

/// What has arrived of a snapshot. There is one leader, so there is one snapshot at a time; another
/// one takes its place.
#[derive(Debug, Default)]
pub(crate) struct Incoming(Mutex<Option<Partial>>);

#[derive(Debug)]
struct Partial {
    meta: SnapshotMeta,
    state_bytes: u64,
    checksum: u32,
    /// Grows with what arrives, never by what is claimed.
    state: Vec<u8>,
}

impl Partial {
    /// Whether a piece is of this snapshot; who sends it does not matter, since the same entries
    /// make the same state everywhere (M-1), and the checksum shows it.
    fn is_of(&self, piece: &Piece) -> bool {
        self.meta == piece.meta
            && self.state_bytes == piece.state_bytes
            && self.checksum == piece.checksum
    }
}

impl Incoming {
    fn lock(&self) -> MutexGuard<'_, Option<Partial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a piece. One that was here already, or comes too early, changes nothing.
    pub(crate) fn take(&self, piece: &Piece) -> Taken {
        if piece.state_bytes > FILE_BYTES_MAX as u64 {
            return Taken::TooLarge;
        }
        let mut held = self.lock();
        if !held.as_ref().is_some_and(|partial| partial.is_of(piece)) {
            if piece.offset != 0 {
                return Taken::More(0);
            }
            *held = Some(Partial {
                meta: piece.meta.clone(),
                state_bytes: piece.state_bytes,
                checksum: piece.checksum,
                state: Vec::new(),
            });
        }
        let Some(partial) = held.as_mut() else { return Taken::More(0) };
        let have = partial.state.len() as u64;
        if piece.offset == have && have + piece.bytes.len() as u64 <= partial.state_bytes {
            partial.state.extend_from_slice(&piece.bytes);
        }
        let have = partial.state.len() as u64;
        if have < partial.state_bytes {
            return Taken::More(have);
        }
        match held.take() {
            Some(whole) if jocko_records::crc32c(&whole.state) == whole.checksum => {
                Taken::Whole(Stored { meta: whole.meta, state: whole.state.into() })
            }
            _ => Taken::More(0),
        }
    }

    /// Entries arrive again: what is left of a snapshot is not needed.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::types::{StoredMembership, log_id};

    fn stored(index: u64, state: &'static [u8]) -> Stored {
        let last_membership = StoredMembership::default();
        let meta = SnapshotMeta { last_log_id: Some(log_id(1, index)), last_membership };
        Stored { meta, state: Bytes::from_static(state) }
    }

    fn piece(stored: &Stored, offset: usize, len: usize) -> Piece {
        let checksum = jocko_records::crc32c(&stored.state);
        Piece::of(Vote::new_committed(1, NodeId::from(1)), stored, checksum, offset, len)
    }

    #[test]
    fn pieces_become_a_whole_whatever_is_lost_or_comes_twice() {
        let snapshot = stored(9, b"0123456789");
        let incoming = Incoming::default();
        assert_eq!(incoming.take(&piece(&snapshot, 4, 4)), Taken::More(0), "the first is missing");
        assert_eq!(incoming.take(&piece(&snapshot, 0, 4)), Taken::More(4));
        assert_eq!(incoming.take(&piece(&snapshot, 0, 4)), Taken::More(4), "twice");
        assert_eq!(incoming.take(&piece(&snapshot, 8, 4)), Taken::More(4), "too early");
        assert_eq!(incoming.take(&piece(&snapshot, 4, 4)), Taken::More(8));
        let last = piece(&snapshot, 8, 4);
        assert!(last.is_last() && !piece(&snapshot, 4, 4).is_last());
        assert_eq!(incoming.take(&last), Taken::Whole(snapshot.clone()));
        assert_eq!(incoming.take(&last), Taken::More(0), "nothing is left of it");
        let empty = stored(9, b"");
        assert_eq!(incoming.take(&piece(&empty, 0, 4)), Taken::Whole(empty));
    }

    #[test]
    fn another_snapshot_takes_the_place_of_one_that_was_not_finished() {
        let (old, new) = (stored(9, b"0123456789"), stored(12, b"abcdef"));
        let incoming = Incoming::default();
        assert_eq!(incoming.take(&piece(&old, 0, 4)), Taken::More(4));
        assert_eq!(incoming.take(&piece(&new, 0, 4)), Taken::More(4));
        assert_eq!(incoming.take(&piece(&old, 4, 4)), Taken::More(0));
        assert_eq!(incoming.take(&piece(&new, 4, 4)), Taken::Whole(new.clone()));
        assert_eq!(incoming.take(&piece(&new, 0, 4)), Taken::More(4));
        incoming.forget();
        assert_eq!(incoming.take(&piece(&new, 4, 4)), Taken::More(0));
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let snapshot = stored(9, b"0123456789");
        let incoming = Incoming::default();
        let claimed = Piece { state_bytes: u64::MAX, ..piece(&snapshot, 0, 4) };
        assert_eq!(incoming.take(&claimed), Taken::TooLarge);
        let longer = Piece { state_bytes: 3, ..piece(&snapshot, 0, 4) };
        assert_eq!(incoming.take(&longer), Taken::More(0));
        let damaged = Piece { checksum: 7, ..piece(&snapshot, 0, 10) };
        assert_eq!(incoming.take(&damaged), Taken::More(0));
        assert_eq!(incoming.take(&piece(&snapshot, 0, 10)), Taken::Whole(snapshot));
    }
}
