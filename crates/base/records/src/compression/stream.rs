//! A window over unpacked bytes: what the record walk of a compressed batch reads from.

use super::{Decoder, DecompressError};
use crate::varint::{VARINT_BYTES_MAX, VARLONG_BYTES_MAX, read_varint, read_varlong};

/// Unpacked bytes, a window at a time. Fails once more than its limit have come out.
pub(crate) struct ByteStream<'s, 'a> {
    decoder: Decoder<'s, 'a>,
    window: &'s mut Vec<u8>,
    /// The bytes of the window not yet taken.
    start: usize,
    end: usize,
    decompressed_bytes: u64,
    limit_bytes: u64,
}

impl<'s, 'a> ByteStream<'s, 'a> {
    pub(super) fn new(decoder: Decoder<'s, 'a>, window: &'s mut Vec<u8>, limit_bytes: u64) -> Self {
        Self { decoder, window, start: 0, end: 0, decompressed_bytes: 0, limit_bytes }
    }

    /// How many bytes have come out of the decoder so far.
    pub(crate) const fn decompressed_bytes(&self) -> u64 {
        self.decompressed_bytes
    }

    /// How many bytes have been taken.
    pub(crate) fn position(&self) -> u64 {
        let ready = u64::try_from(self.end - self.start).unwrap_or(0);
        self.decompressed_bytes.saturating_sub(ready)
    }

    /// The most bytes that [`ByteStream::peek`] can show.
    pub(crate) fn window_bytes(&self) -> usize {
        self.window.len()
    }

    /// Shows the next `count` bytes, or fewer at the end of the stream or of the window's size.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], DecompressError> {
        if self.end - self.start < count {
            self.refill(count)?;
        }
        let have = (self.end - self.start).min(count);
        Ok(self.window.get(self.start..self.start + have).unwrap_or_default())
    }

    /// Passes over bytes that [`ByteStream::peek`] has shown.
    pub(crate) fn take(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Passes over `count` bytes; `false` if the stream ends before.
    pub(crate) fn skip(&mut self, mut count: u64) -> Result<bool, DecompressError> {
        loop {
            let have = self.end - self.start;
            match usize::try_from(count) {
                Ok(count) if count <= have => {
                    self.start += count;
                    return Ok(true);
                }
                _ => count -= u64::try_from(have).unwrap_or(count),
            }
            self.start = self.end;
            self.refill(1)?;
            if self.start == self.end {
                return Ok(false);
            }
        }
    }

    /// Reads a varint; `None` if it is cut short or too long.
    pub(crate) fn varint(&mut self) -> Result<Option<i32>, DecompressError> {
        let mut bytes = self.peek(VARINT_BYTES_MAX)?;
        let have = bytes.len();
        let value = read_varint(&mut bytes);
        let used = have - bytes.len();
        self.take(used);
        Ok(value)
    }

    /// Reads a 64-bit varint; `None` if it is cut short or too long.
    pub(crate) fn varlong(&mut self) -> Result<Option<i64>, DecompressError> {
        let mut bytes = self.peek(VARLONG_BYTES_MAX)?;
        let have = bytes.len();
        let value = read_varlong(&mut bytes);
        let used = have - bytes.len();
        self.take(used);
        Ok(value)
    }

    /// Appends all that is left to `out`.
    pub(super) fn drain_into(&mut self, out: &mut Vec<u8>) -> Result<(), DecompressError> {
        loop {
            let shown = self.peek(1)?.len();
            if shown == 0 {
                return Ok(());
            }
            out.extend_from_slice(self.window.get(self.start..self.end).unwrap_or_default());
            self.start = self.end;
        }
    }

    /// Fills the window until it holds `count` bytes, is full, or the stream ends.
    #[cold]
    fn refill(&mut self, count: usize) -> Result<(), DecompressError> {
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < count {
            let Some(room) = self.window.get_mut(self.end..).filter(|room| !room.is_empty()) else {
                return Ok(());
            };
            let came = self.decoder.read(room)?;
            if came == 0 {
                return Ok(());
            }
            self.end += came;
            self.decompressed_bytes =
                self.decompressed_bytes.saturating_add(u64::try_from(came).unwrap_or(u64::MAX));
            if self.decompressed_bytes > self.limit_bytes {
                return Err(DecompressError::Limit { limit_bytes: self.limit_bytes });
            }
        }
        Ok(())
    }
}
