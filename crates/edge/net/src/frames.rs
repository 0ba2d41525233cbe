//! Framing: a byte stream cut into frames by their 4-byte size prefixes.
//!
//! Small frames are slices of one buffer that the reactor lends to the connection being polled;
//! large ones get a buffer of their own, so that they are received in place and their memory
//! returns when they are dropped. A claimed size is checked before anything is done with it, and
//! never allocated: a buffer grows as bytes arrive, to at most four times what has come.

use bytes::{Buf, Bytes, BytesMut};

use crate::budget::Charge;
use crate::reactor::SCRATCH_BYTES;
use crate::settings::ReactorSettings;

/// Bytes of the size prefix.
pub(crate) const PREFIX_BYTES: usize = 4;
/// The smallest request: api key, version, correlation id.
pub(crate) const FRAME_BYTES_MIN: usize = 8;
/// How much larger than what has arrived a buffer may be.
const GROWTH: usize = 4;
/// The largest buffer that is made ready because the previous frame was that large. Batches of
/// the largest default size (1 MiB and a header) fit.
const EXPECTED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Frames above this leave a quarter of the memory budget to smaller ones.
const HUGE_BYTES: usize = 2 * 1024 * 1024;

/// A size prefix out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame size {size} is not within {FRAME_BYTES_MIN}..={max}")]
pub(crate) struct SizeFault {
    /// The size as it was sent.
    pub(crate) size: i32,
    /// The largest that was allowed.
    pub(crate) max: usize,
}

/// Where the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a buffer as large as they are, until more is read.
    Leftover,
    /// Behind a frame that was cut off and may still be in use, in the same buffer.
    Behind,
    /// In the reactor's buffer.
    Scratch,
    /// In a buffer of their own that becomes the frame.
    Own,
}

/// Cuts frames out of what is read.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: BytesMut,
    place: Place,
    /// The size of the last frame, prefix included, if it had a buffer of its own: the next is
    /// probably as large and can be received without moving its beginning.
    expected: usize,
    charge: Charge,
}

impl Frames {
    pub(crate) fn new(charge: Charge) -> Self {
        Self { buffer: BytesMut::new(), place: Place::Leftover, expected: 0, charge }
    }

    /// Bytes received and not yet cut into frames.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The size of the next frame with its prefix, once the prefix is here.
    fn total(&self, max: usize) -> Result<Option<usize>, SizeFault> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*prefix);
        match usize::try_from(size) {
            Ok(bytes) if (FRAME_BYTES_MIN..=max).contains(&bytes) => Ok(Some(PREFIX_BYTES + bytes)),
            _ => Err(SizeFault { size, max }),
        }
    }

    /// The beginning of the next frame, once enough of it is here to know what it asks.
    pub(crate) fn head(&self) -> Option<&[u8]> {
        let head = self.buffer.get(PREFIX_BYTES..)?;
        (head.len() >= FRAME_BYTES_MIN).then_some(head)
    }

    /// Whether the next frame is here whole (or is at fault).
    pub(crate) fn has_next(&self, max: usize) -> bool {
        match self.total(max) {
            Ok(Some(total)) => self.buffer.len() >= total,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Cuts the next frame off, if it is here whole.
    pub(crate) fn next(
        &mut self,
        max: usize,
    ) -> Result<Option<(Bytes, Option<Charge>)>, SizeFault> {
        let Some(total) = self.total(max)? else {
            return Ok(None);
        };
        if self.buffer.len() < total {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        let frame = self.buffer.split_to(total - PREFIX_BYTES).freeze();
        if self.place == Place::Own {
            self.place = Place::Behind;
            self.expected = if total > SCRATCH_BYTES { total.min(EXPECTED_BYTES_MAX) } else { 0 };
            return Ok(Some((frame, Some(self.charge.split()))));
        }
        self.expected = 0;
        Ok(Some((frame, None)))
    }

    /// Makes room to read into, taking the reactor's buffer from `lend` if it fits; how many
    /// bytes may be read, or `None` if there is no memory for them now.
    pub(crate) fn room(
        &mut self,
        max: usize,
        lend: impl FnOnce() -> BytesMut,
    ) -> Result<Option<usize>, SizeFault> {
        let len = self.buffer.len();
        // A frame that is here whole and may not start yet is read past like a small one.
        let total = self.total(max)?.filter(|total| *total > len || self.place != Place::Own);
        let own = self.place == Place::Own && (total.is_some() || len < PREFIX_BYTES);
        if own {
            let end = self.buffer.capacity().min(total.unwrap_or(usize::MAX));
            if len < end {
                return Ok(Some(end - len));
            }
        }
        if let Some(total) = total.filter(|total| *total > len && (*total > SCRATCH_BYTES || own)) {
            let bytes = total.min((len * GROWTH).max(SCRATCH_BYTES));
            return Ok(self.move_to_own(bytes, total).then(|| bytes - len));
        }
        if self.buffer.is_empty() && self.place != Place::Scratch && self.expected > 0 {
            let bytes = self.expected;
            if self.move_to_own(bytes, bytes) {
                return Ok(Some(bytes));
            }
        }
        if self.place != Place::Scratch {
            let mut scratch = lend();
            scratch.clear();
            scratch.reserve(SCRATCH_BYTES);
            scratch.extend_from_slice(&self.buffer);
            self.buffer = scratch;
            self.place = Place::Scratch;
            self.charge.set(0);
        }
        // Within the scratch buffer: moves the rest to its front when the end is near.
        let wanted = total.unwrap_or(SCRATCH_BYTES / 4).saturating_sub(len);
        self.buffer.reserve(wanted.max(1));
        Ok(Some(self.buffer.capacity() - len))
    }

    /// Moves what is here to a buffer of its own of `bytes`, if the budget has them.
    fn move_to_own(&mut self, bytes: usize, total: usize) -> bool {
        let spare = if total > HUGE_BYTES { 4 } else { usize::MAX };
        if !self.charge.try_raise_within(beyond_allowance(bytes), spare) {
            return false;
        }
        let mut own = BytesMut::with_capacity(bytes);
        own.extend_from_slice(&self.buffer);
        self.buffer = own;
        self.place = Place::Own;
        true
    }

    /// The buffer to read into; call after [`Frames::room`].
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Gives the reactor's buffer back and lets go of what is larger than its contents.
    pub(crate) fn settle(&mut self, give: impl FnOnce(BytesMut)) {
        let kept = match self.place {
            Place::Leftover => return,
            Place::Own if !self.buffer.is_empty() => return,
            // `Own` and empty was made ready for a frame of which nothing came.
            Place::Own | Place::Behind | Place::Scratch => BytesMut::from(&self.buffer[..]),
        };
        self.charge.set(beyond_allowance(kept.len()));
        let buffer = std::mem::replace(&mut self.buffer, kept);
        if self.place == Place::Scratch {
            give(buffer);
        }
        self.place = Place::Leftover;
    }
}

/// What of `bytes` counts against the shared budget.
pub(crate) fn beyond_allowance(bytes: usize) -> usize {
    bytes.saturating_sub(ReactorSettings::ALLOWANCE_BYTES)
}

#[cfg(test)]
mod tests;
