//! Framing: a byte stream cut into frames by their 4-byte size prefixes.
//!
//! Small frames are slices of one buffer that the reactor lends to the connection being polled;
//! large ones get a buffer of their own, so that they are received in place and their memory
//! returns when they are dropped. A claimed size is checked before anything is done with it, and
//! never believed: memory is used as bytes arrive. Beyond its first 64 KiB a frame asks for all
//! it needs at once, so that no frame ever holds memory and waits for more.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::budget::{Charge, Share};
use crate::buffers::{Buffer, Buffers};
use crate::reactor::SCRATCH_BYTES;
use crate::settings::ReactorSettings;

/// Bytes of the size prefix.
pub(crate) const PREFIX_BYTES: usize = 4;
/// The smallest request: api key, version, correlation id.
pub(crate) const FRAME_BYTES_MIN: usize = 8;
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

/// Why there is no room to read into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomFault {
    /// The frame is at fault; met when it is its turn.
    #[error(transparent)]
    Size(#[from] SizeFault),
    /// The system gives no memory.
    #[error("no memory for a frame: {0}")]
    System(#[from] io::Error),
}

/// The bytes that are here, by where they are.
#[derive(Debug)]
enum Hold {
    /// In a buffer as large as they are, until more is read.
    Leftover(BytesMut),
    /// In the reactor's buffer.
    Scratch(BytesMut),
    /// Behind a frame that was cut off and may still be in use, in the same buffer.
    Behind(Bytes),
    /// In a buffer of their own that becomes the frame.
    Own(Buffer),
}

/// Cuts frames out of what is read.
#[derive(Debug)]
pub(crate) struct Frames {
    hold: Hold,
    /// The size of the last frame, prefix included, if it had a buffer of its own: the next is
    /// probably as large and can be received without moving its beginning.
    expected: usize,
    charge: Charge,
    /// How far a buffer of its own may be filled with what has been charged.
    admitted: usize,
    buffers: Arc<Buffers>,
}

impl Frames {
    pub(crate) fn new(charge: Charge, buffers: &Arc<Buffers>) -> Self {
        Self {
            hold: Hold::Leftover(BytesMut::new()),
            expected: 0,
            charge,
            admitted: 0,
            buffers: Arc::clone(buffers),
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.hold {
            Hold::Leftover(bytes) | Hold::Scratch(bytes) => bytes,
            Hold::Behind(bytes) => bytes,
            Hold::Own(buffer) => buffer.as_ref(),
        }
    }

    /// Bytes received and not yet cut into frames.
    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Shared memory held for what is here, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.charge.bytes()
    }

    /// The size of the next frame with its prefix, once the prefix is here.
    fn total(&self, max: usize) -> Result<Option<usize>, SizeFault> {
        let Some(prefix) = self.bytes().first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*prefix);
        match usize::try_from(size) {
            Ok(bytes) if (FRAME_BYTES_MIN..=max).contains(&bytes) => Ok(Some(PREFIX_BYTES + bytes)),
            _ => Err(SizeFault { size, max }),
        }
    }

    /// As [`Frames::total`], 0 while it is not known or at fault.
    pub(crate) fn total_or_zero(&self, max: usize) -> usize {
        self.total(max).ok().flatten().unwrap_or(0)
    }

    /// The beginning of the next frame, once enough of it is here to know what it asks.
    pub(crate) fn head(&self) -> Option<&[u8]> {
        let head = self.bytes().get(PREFIX_BYTES..)?;
        (head.len() >= FRAME_BYTES_MIN).then_some(head)
    }

    /// Whether the next frame is here whole (or is at fault).
    pub(crate) fn has_next(&self, max: usize) -> bool {
        match self.total(max) {
            Ok(Some(total)) => self.len() >= total,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Whether the next frame could be whole if only `more` bytes followed.
    pub(crate) fn may_have_next(&self, max: usize, more: usize) -> bool {
        match self.total(max) {
            Ok(Some(total)) => self.len().saturating_add(more) >= total,
            Ok(None) => self.len().saturating_add(more) >= PREFIX_BYTES + FRAME_BYTES_MIN,
            Err(_) => true,
        }
    }

    /// Forgets what is here, and gives its memory back.
    pub(crate) fn abandon(&mut self) {
        self.hold = Hold::Leftover(BytesMut::new());
        self.expected = 0;
        self.charge.clear();
    }

    /// Cuts the next frame off, if it is here whole.
    pub(crate) fn next(
        &mut self,
        max: usize,
    ) -> Result<Option<(Bytes, Option<Charge>)>, SizeFault> {
        let Some(total) = self.total(max)?.filter(|total| self.len() >= *total) else {
            return Ok(None);
        };
        self.expected = 0;
        let frame = match &mut self.hold {
            Hold::Leftover(bytes) | Hold::Scratch(bytes) => bytes.split_to(total).freeze(),
            Hold::Behind(bytes) => bytes.split_to(total),
            Hold::Own(_) => return Ok(Some(self.next_own(total))),
        };
        Ok(Some((frame.slice(PREFIX_BYTES..), None)))
    }

    /// Makes a frame of the buffer that was filled for it.
    fn next_own(&mut self, total: usize) -> (Bytes, Option<Charge>) {
        let hold = std::mem::replace(&mut self.hold, Hold::Leftover(BytesMut::new()));
        let Hold::Own(buffer) = hold else { unreachable!("the caller has looked") };
        let mut rest = Bytes::from_owner(buffer);
        let frame = rest.split_to(total);
        self.hold = Hold::Behind(rest);
        // Not after a huge one: many would hold this much and wait for the rest.
        if total > SCRATCH_BYTES && total <= EXPECTED_BYTES_MAX {
            self.expected = total;
        }
        (frame.slice(PREFIX_BYTES..), Some(self.charge.split()))
    }

    /// Makes room to read into, taking the reactor's buffer from `lend` if it fits; how many
    /// bytes may be read, or `None` if there is no memory for them now: then `waker` is woken
    /// when it is this frame's turn.
    pub(crate) fn room(
        &mut self,
        max: usize,
        waker: &Waker,
        lend: impl FnOnce() -> BytesMut,
    ) -> Result<Option<usize>, RoomFault> {
        let len = self.len();
        let total = self.total(max)?;
        let is_own = matches!(self.hold, Hold::Own(_));
        // A frame that is here whole and may not start yet is read past like a small one.
        match total.filter(|total| *total > len) {
            Some(total) if total > SCRATCH_BYTES || is_own => return self.room_for(total, waker),
            None if is_own && len < PREFIX_BYTES => return Ok(Some(self.admitted - len)),
            _ => {}
        }
        if len == 0 && self.expected > 0 && self.expect()? {
            return Ok(Some(self.admitted));
        }
        if !matches!(self.hold, Hold::Scratch(_)) {
            let mut scratch = lend();
            scratch.clear();
            scratch.reserve(SCRATCH_BYTES);
            scratch.extend_from_slice(self.bytes());
            self.hold = Hold::Scratch(scratch);
            self.charge.set(0);
        }
        let Hold::Scratch(scratch) = &mut self.hold else { unreachable!("just made so") };
        // Moves the rest to the front of the buffer when its end is near.
        let wanted = total.unwrap_or(SCRATCH_BYTES / 4).saturating_sub(len);
        scratch.reserve(wanted.max(1));
        Ok(Some(scratch.capacity() - len))
    }

    /// Makes ready for a frame as large as the last one; false if there is no memory for it.
    fn expect(&mut self) -> Result<bool, RoomFault> {
        let bytes = self.expected;
        if !self.charge.try_raise(beyond_allowance(bytes), Share::Ordinary) {
            return Ok(false);
        }
        self.hold = Hold::Own(self.buffers.warm(bytes)?);
        self.admitted = bytes;
        Ok(true)
    }

    /// Room for more of a frame of `total` bytes in a buffer of its own: first for what nobody
    /// counts, then for all of it.
    fn room_for(&mut self, total: usize, waker: &Waker) -> Result<Option<usize>, RoomFault> {
        let len = self.len();
        let has = match &self.hold {
            Hold::Own(buffer) => buffer.capacity(),
            Hold::Leftover(_) | Hold::Scratch(_) | Hold::Behind(_) => 0,
        };
        if len < has && len < self.admitted {
            return Ok(Some(self.admitted.min(has).min(total) - len));
        }
        let is_new = len < ReactorSettings::ALLOWANCE_BYTES;
        let end = if is_new { total.min(ReactorSettings::ALLOWANCE_BYTES) } else { total };
        let share = if total > HUGE_BYTES { Share::Huge } else { Share::Ordinary };
        if !self.charge.raise_or_wait(beyond_allowance(end), share, waker) {
            return Ok(None);
        }
        // Address space for what a huge frame claims is set aside once that is counted. Smaller
        // ones are spared the move.
        let capacity = if share == Share::Huge { end } else { total };
        if end > has {
            self.move_to_own(capacity)?;
        }
        self.charge.set(beyond_allowance(end));
        self.admitted = end;
        Ok(Some(end - len))
    }

    /// Moves what is here to a buffer of its own for `bytes` bytes.
    fn move_to_own(&mut self, bytes: usize) -> io::Result<()> {
        let mut own = self.buffers.fresh(bytes)?;
        own.extend(self.bytes());
        self.hold = Hold::Own(own);
        Ok(())
    }

    /// Reads at most `room` bytes; call after [`Frames::room`].
    pub(crate) fn poll_fill<R: AsyncRead + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: &mut R,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        match &mut self.hold {
            Hold::Leftover(bytes) | Hold::Scratch(bytes) => {
                let mut bytes = bytes.limit(room);
                pin!(stream.read_buf(&mut bytes)).poll(cx)
            }
            Hold::Behind(_) => unreachable!("there is no room behind a frame"),
            Hold::Own(buffer) => {
                let mut spare = ReadBuf::new(buffer.spare(room));
                ready!(Pin::new(&mut stream).poll_read(cx, &mut spare))?;
                let came = spare.filled().len();
                buffer.advance(came);
                Poll::Ready(Ok(came))
            }
        }
    }

    /// Gives the reactor's buffer back and lets go of what is larger than its contents.
    pub(crate) fn settle(&mut self, give: impl FnOnce(BytesMut)) {
        match &self.hold {
            Hold::Leftover(_) => return,
            Hold::Own(buffer) if !buffer.as_ref().is_empty() => return,
            // What is behind a frame may be large, and begins a frame that is.
            Hold::Behind(bytes) if bytes.len() > SCRATCH_BYTES => {
                let (len, bytes) = (bytes.len(), bytes.len().max(EXPECTED_BYTES_MAX));
                if self.move_to_own(bytes).is_ok() {
                    self.charge.set(beyond_allowance(len));
                    self.admitted = len;
                    return;
                }
            }
            // `Own` and empty was made ready for a frame of which nothing came.
            Hold::Own(_) | Hold::Behind(_) | Hold::Scratch(_) => {}
        }
        let kept = BytesMut::from(self.bytes());
        self.charge.set(beyond_allowance(kept.len()));
        if let Hold::Scratch(lent) = std::mem::replace(&mut self.hold, Hold::Leftover(kept)) {
            give(lent);
        }
    }
}

/// What of `bytes` counts against the shared budget.
pub(crate) fn beyond_allowance(bytes: usize) -> usize {
    bytes.saturating_sub(ReactorSettings::ALLOWANCE_BYTES)
}

#[cfg(test)]
mod tests;
