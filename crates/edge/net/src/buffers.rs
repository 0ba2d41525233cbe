//! Memory for large frames: a mapping of its own for each, so that a page costs memory once
//! something has been received into it, and all of it goes back when the frame is dropped. From
//! the heap it would not: an allocator keeps what is given back in pieces of many sizes.
//!
//! A few buffers of ordinary size are kept for the next frames, as new pages are slow to get.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::MmapMut;

use crate::sys;

/// What is kept for the next frames at most, for the whole process.
pub(crate) const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Larger buffers are not kept, and smaller ones never asked for.
const KEPT_BUFFER_BYTES_MAX: usize = 2 * 1024 * 1024 + UNIT_BYTES;
const KEPT_BUFFER_BYTES_MIN: usize = 2 * UNIT_BYTES;
/// Sizes are multiples of this, so that frames of about the same size fit each other's buffers.
const UNIT_BYTES: usize = 64 * 1024;

/// The buffers that are kept. Shared by all reactors: a frame may be dropped on any thread.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    kept: Mutex<Vec<MmapMut>>,
}

impl Buffers {
    fn lock(&self) -> MutexGuard<'_, Vec<MmapMut>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer for at least `bytes` bytes, of which no page is in memory yet.
    ///
    /// # Errors
    /// When the system has no address space left.
    pub(crate) fn fresh(self: &Arc<Self>, bytes: usize) -> io::Result<Buffer> {
        let map = MmapMut::map_anon(round_up(bytes))?;
        sys::keep_pages_small(&map);
        Ok(Buffer { map: Some(map), len: 0, home: Arc::clone(self) })
    }

    /// A buffer for at least `bytes` bytes, all of which may be in memory already: count them all.
    ///
    /// # Errors
    /// As [`Buffers::fresh`].
    pub(crate) fn warm(self: &Arc<Self>, bytes: usize) -> io::Result<Buffer> {
        let wanted = round_up(bytes);
        let kept = {
            let mut kept = self.lock();
            let fitting = kept.iter().position(|map| map.len() == wanted);
            fitting.map(|at| kept.swap_remove(at))
        };
        match kept {
            Some(map) => Ok(Buffer { map: Some(map), len: 0, home: Arc::clone(self) }),
            None => self.fresh(bytes),
        }
    }

    fn give_back(&self, map: MmapMut) {
        if !(KEPT_BUFFER_BYTES_MIN..=KEPT_BUFFER_BYTES_MAX).contains(&map.len()) {
            return;
        }
        let mut over = Vec::new();
        {
            let mut kept = self.lock();
            kept.push(map);
            // The oldest goes first: sizes that nobody sends any more do not stay.
            while kept.iter().map(|each| each.len()).sum::<usize>() > KEPT_BYTES_MAX {
                over.push(kept.remove(0));
            }
        }
        // Unmapped outside of the lock.
        drop(over);
    }
}

fn round_up(bytes: usize) -> usize {
    bytes.max(1).checked_next_multiple_of(UNIT_BYTES).unwrap_or(bytes)
}

/// One buffer; returns to where it came from when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// There until it is dropped.
    map: Option<MmapMut>,
    /// Bytes received; what lies behind them may be from another frame and is never shown.
    len: usize,
    home: Arc<Buffers>,
}

impl Buffer {
    /// The bytes it has room for in all.
    pub(crate) fn capacity(&self) -> usize {
        self.map.as_ref().map_or(0, |map| map.len())
    }

    /// Where the next bytes go, at most `bytes` of them; tell with [`Buffer::advance`] how many
    /// came.
    pub(crate) fn spare(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.len.saturating_add(bytes).min(self.capacity());
        let len = self.len;
        self.map.as_mut().and_then(|map| map.get_mut(len..end)).unwrap_or_default()
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        let len = self.len + bytes;
        assert!(len <= self.capacity(), "no more came than there was room for");
        self.len = len;
    }

    /// Adds bytes for which there is room.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let room = self.spare(bytes.len());
        assert_eq!(room.len(), bytes.len(), "there is room for what is moved here");
        room.copy_from_slice(bytes);
        self.advance(bytes.len());
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.map.as_ref().and_then(|map| map.get(..self.len)).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.home.give_back(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn kept(buffers: &Buffers) -> usize {
        buffers.lock().iter().map(|map| map.len()).sum()
    }

    #[test]
    fn buffers_show_what_was_put_into_them_and_nothing_older() {
        let buffers = Arc::<Buffers>::default();
        let mut buffer = buffers.fresh(MIB).unwrap();
        buffer.extend(&[7; 1000]);
        drop(buffer);
        let mut again = buffers.warm(MIB - 10).unwrap();
        assert_eq!(kept(&buffers), 0, "the same buffer");
        assert!(again.as_ref().is_empty());
        again.spare(5)[..3].copy_from_slice(&[1, 2, 3]);
        again.advance(3);
        assert_eq!(again.as_ref(), [1, 2, 3]);
    }

    #[test]
    fn a_bounded_part_is_kept() {
        let buffers = Arc::<Buffers>::default();
        let held: Vec<_> = (0..40).map(|_| buffers.fresh(MIB).unwrap()).collect();
        drop(held);
        assert_eq!(kept(&buffers), KEPT_BYTES_MAX);
        drop(buffers.fresh(2 * MIB).unwrap());
        assert_eq!(kept(&buffers), KEPT_BYTES_MAX, "older ones made room");
        drop(buffers.fresh(KEPT_BUFFER_BYTES_MAX + 1).unwrap());
        let largest = buffers.lock().iter().map(|map| map.len()).max();
        assert_eq!(largest, Some(2 * MIB), "large ones go back at once");
    }

    #[test]
    fn more_than_there_is_room_for_is_an_error_of_the_system() {
        assert!(Arc::<Buffers>::default().fresh(usize::MAX / 2).is_err());
    }
}
