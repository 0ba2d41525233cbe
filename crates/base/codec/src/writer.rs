//! Writing messages into a buffer that is used again and again.

use crate::{EncodeError, EncodeReason, RawTaggedField, RecordBytes, UnknownTaggedFields};
use jocko_types::Uuid;

/// A place in the written bytes where record bytes belong that are not there: the sender sends the
/// bytes before `at`, then the piece, then goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Position in [`Writer::bytes`].
    pub at: usize,
    /// The sender's name for the bytes; see [`RecordBytes::Detached`].
    pub piece: u32,
    /// How many bytes belong here.
    pub len: u32,
}

/// An append-only buffer of encoded messages, and the holes in them. Clearing keeps the memory.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    holes: Vec<Hole>,
}

/// A section of tagged fields being written; see [`Writer::begin_tags`].
#[derive(Debug)]
#[must_use]
pub struct TagSection<'u> {
    count_at: usize,
    count: u32,
    unknown: &'u [RawTaggedField],
}

type Result<T> = std::result::Result<T, EncodeError>;

/// Declares a writer of a fixed-width big-endian number.
macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name(&mut self, value: $type) {
                self.bytes.extend_from_slice(&value.to_be_bytes());
            }
        )*
    };
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), holes: Vec::new() }
    }

    /// An empty writer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), holes: Vec::new() }
    }

    /// A writer that appends to `bytes`.
    #[must_use]
    pub const fn from_vec(bytes: Vec<u8>) -> Self {
        Self { bytes, holes: Vec::new() }
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.holes.clear();
    }

    /// Drops everything from position `len` on, holes included: undoes a failed encoding.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
        // A hole at `len` itself ends what stays: whatever begins there has bytes before its holes.
        self.holes.retain(|hole| hole.at <= len);
    }

    /// Everything written so far, without the bytes that belong into the holes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The holes, by ascending position.
    #[must_use]
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// How many bytes are in the buffer, holes not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, if nothing is missing among them.
    #[must_use]
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        self.holes.is_empty().then_some(self.bytes)
    }

    /// Both the bytes and the holes.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<Hole>) {
        (self.bytes, self.holes)
    }

    /// How many bytes a peer will see from position `start` on: those written and those that the
    /// holes stand for.
    #[must_use]
    pub fn wire_len_since(&self, start: usize) -> u64 {
        let written = self.bytes.len().saturating_sub(start);
        let written = u64::try_from(written).unwrap_or(u64::MAX);
        let holes = self.holes.iter().rev().take_while(|hole| hole.at > start);
        holes.fold(written, |sum, hole| sum.saturating_add(u64::from(hole.len)))
    }

    fixed! {
        /// A signed byte.
        i8: i8;
        /// A 16-bit number.
        i16: i16;
        /// A 32-bit number.
        i32: i32;
        /// A 64-bit number.
        i64: i64;
        /// An unsigned byte.
        u8: u8;
        /// An unsigned 16-bit number.
        u16: u16;
        /// An unsigned 32-bit number.
        u32: u32;
        /// A double.
        f64: f64;
    }

    /// A truth value.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// A 128-bit id.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// Bytes as they are, without a length.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An unsigned variable-length number of 32 bits.
    #[inline]
    pub fn varint(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(byte) if byte < 0x80 => self.bytes.push(byte),
            _ => self.varlong(u64::from(value)),
        }
    }

    /// An unsigned variable-length number of 64 bits.
    pub fn varlong(&mut self, value: u64) {
        let (bytes, len) = varint_bytes(value);
        self.raw(bytes.get(..len).unwrap_or(&bytes));
    }

    /// A signed variable-length number of 32 bits in zigzag form.
    pub fn zigzag_i32(&mut self, value: i32) {
        self.varint((value << 1).cast_unsigned() ^ (value >> 31).cast_unsigned());
    }

    /// A signed variable-length number of 64 bits in zigzag form.
    pub fn zigzag_i64(&mut self, value: i64) {
        self.varlong((value << 1).cast_unsigned() ^ (value >> 63).cast_unsigned());
    }

    /// A length in the flexible format: one more than it is, since 0 is null.
    #[inline]
    fn compact_length(&mut self, length: usize, field: &'static str) -> Result<()> {
        match i32::try_from(length) {
            Ok(length) if length < i32::MAX => {
                self.varint(length.cast_unsigned() + 1);
                Ok(())
            }
            _ => Err(too_long(field, length)),
        }
    }

    /// A length as a 32-bit number, or the flexible form.
    #[inline]
    fn length(&mut self, flexible: bool, length: usize, field: &'static str) -> Result<()> {
        if flexible {
            return self.compact_length(length, field);
        }
        self.i32(i32::try_from(length).map_err(|_| too_long(field, length))?);
        Ok(())
    }

    /// A string.
    ///
    /// # Errors
    /// If it is longer than [`crate::STRING_BYTES_MAX`].
    pub fn string(&mut self, flexible: bool, value: &str, field: &'static str) -> Result<()> {
        let length = i16::try_from(value.len()).map_err(|_| too_long(field, value.len()))?;
        if flexible {
            self.compact_length(value.len(), field)?;
        } else {
            self.i16(length);
        }
        self.raw(value.as_bytes());
        Ok(())
    }

    /// A string, or null if this version has null.
    ///
    /// # Errors
    /// If it is too long.
    pub fn nullable_string(
        &mut self,
        flexible: bool,
        value: Option<&str>,
        field: &'static str,
    ) -> Result<()> {
        match value {
            Some(value) => return self.string(flexible, value, field),
            None if flexible => self.varint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    /// Bytes.
    ///
    /// # Errors
    /// If there are more than 2^31 - 2.
    pub fn byte_string(&mut self, flexible: bool, value: &[u8], field: &'static str) -> Result<()> {
        self.length(flexible, value.len(), field)?;
        self.raw(value);
        Ok(())
    }

    /// Bytes, or null.
    ///
    /// # Errors
    /// If there are more than 2^31 - 2.
    pub fn nullable_byte_string(
        &mut self,
        flexible: bool,
        value: Option<&[u8]>,
        field: &'static str,
    ) -> Result<()> {
        match value {
            Some(value) => self.byte_string(flexible, value, field),
            None => {
                self.null_length(flexible);
                Ok(())
            }
        }
    }

    /// Record bytes: copied if they are inline, else their length and a hole.
    ///
    /// # Errors
    /// If there are more than 2^31 - 2.
    pub fn records(
        &mut self,
        flexible: bool,
        value: &RecordBytes<'_>,
        field: &'static str,
    ) -> Result<()> {
        self.length(flexible, value.len(), field)?;
        match *value {
            RecordBytes::Inline(bytes) => self.raw(bytes),
            RecordBytes::Detached { len: 0, .. } => {}
            RecordBytes::Detached { piece, len } => {
                self.holes.push(Hole { at: self.bytes.len(), piece, len });
            }
        }
        Ok(())
    }

    /// Record bytes, or null.
    ///
    /// # Errors
    /// As [`Writer::records`].
    pub fn nullable_records(
        &mut self,
        flexible: bool,
        value: Option<&RecordBytes<'_>>,
        field: &'static str,
    ) -> Result<()> {
        match value {
            Some(value) => self.records(flexible, value, field),
            None => {
                self.null_length(flexible);
                Ok(())
            }
        }
    }

    /// Null, where an array or bytes would stand.
    pub fn null_length(&mut self, flexible: bool) {
        if flexible {
            self.varint(0);
        } else {
            self.i32(-1);
        }
    }

    /// The length of an array.
    ///
    /// # Errors
    /// If it does not fit 31 bits.
    pub fn array_len(&mut self, flexible: bool, count: usize, field: &'static str) -> Result<()> {
        self.length(flexible, count, field)
    }

    /// An array; `write` writes one element.
    ///
    /// # Errors
    /// If it is too long, or the first error of `write`.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        elements: &[T],
        field: &'static str,
        mut write: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        self.array_len(flexible, elements.len(), field)?;
        elements.iter().try_for_each(|element| write(self, element))
    }

    /// An array, or null.
    ///
    /// # Errors
    /// As [`Writer::array`].
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        elements: Option<&[T]>,
        field: &'static str,
        write: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        match elements {
            Some(elements) => self.array(flexible, elements, field, write),
            None => {
                self.null_length(flexible);
                Ok(())
            }
        }
    }

    /// Begins a section of tagged fields, into which the `unknown` ones will be merged.
    pub fn begin_tags<'u>(&mut self, unknown: &'u UnknownTaggedFields) -> TagSection<'u> {
        let count_at = self.bytes.len();
        self.bytes.push(0);
        TagSection { count_at, count: 0, unknown: unknown.as_slice() }
    }

    /// Writes one tagged field; tags must come in ascending order.
    ///
    /// # Errors
    /// The error of `write`, or if an unknown field has the same tag.
    pub fn tag(
        &mut self,
        section: &mut TagSection<'_>,
        tag: u32,
        field: &'static str,
        write: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        while let Some((first, rest)) = section.unknown.split_first()
            && first.tag <= tag
        {
            if first.tag == tag {
                return Err(EncodeError { field, reason: EncodeReason::TagConflict(tag) });
            }
            self.unknown_tag(first, field)?;
            section.count += 1;
            section.unknown = rest;
        }
        section.count += 1;
        self.varint(tag);
        // The size comes first but is known last: one byte is set aside, which is nearly always
        // enough, and the value moves aside when it is not.
        let size_at = self.bytes.len();
        self.bytes.push(0);
        write(self)?;
        let size = self.wire_len_since(size_at) - 1;
        let size = u32::try_from(size).map_err(|_| too_long(field, usize::MAX))?;
        self.patch_varint(size_at, size);
        Ok(())
    }

    /// Ends a section: writes the unknown fields that are left and the count.
    ///
    /// # Errors
    /// If an unknown field is too long.
    pub fn end_tags(&mut self, section: TagSection<'_>, field: &'static str) -> Result<()> {
        let mut count = section.count;
        for unknown in section.unknown {
            self.unknown_tag(unknown, field)?;
            count += 1;
        }
        self.patch_varint(section.count_at, count);
        Ok(())
    }

    fn unknown_tag(&mut self, unknown: &RawTaggedField, field: &'static str) -> Result<()> {
        let size = unknown.bytes.len();
        self.varint(unknown.tag);
        self.varint(u32::try_from(size).map_err(|_| too_long(field, size))?);
        self.raw(&unknown.bytes);
        Ok(())
    }

    /// Puts a variable-length number where one byte was set aside.
    fn patch_varint(&mut self, at: usize, value: u32) {
        if let Ok(byte) = u8::try_from(value)
            && byte < 0x80
        {
            if let Some(slot) = self.bytes.get_mut(at) {
                *slot = byte;
            }
            return;
        }
        let (bytes, len) = varint_bytes(u64::from(value));
        self.bytes.splice(at..=at, bytes.into_iter().take(len));
        for hole in self.holes.iter_mut().rev().take_while(|hole| hole.at > at) {
            hole.at += len - 1;
        }
    }

    /// Sets aside a frame's size; give the position to [`Writer::end_frame`].
    pub fn begin_frame(&mut self) -> usize {
        let start = self.bytes.len();
        self.i32(0);
        start
    }

    /// Writes the size of the frame that began at `start`, the bytes of its holes included.
    ///
    /// # Errors
    /// If the frame is longer than 2^31 - 1 bytes.
    pub fn end_frame(&mut self, start: usize) -> Result<()> {
        const FIELD: &str = "frame size";
        let size = self.wire_len_since(start).saturating_sub(4);
        let size = i32::try_from(size).map_err(|_| too_long(FIELD, usize::MAX))?;
        let slot = self.bytes.get_mut(start..).and_then(|tail| tail.first_chunk_mut::<4>());
        if let Some(slot) = slot {
            *slot = size.to_be_bytes();
        }
        Ok(())
    }
}

/// The bytes of a variable-length number, and how many of them count.
fn varint_bytes(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut len = 0;
    for slot in &mut bytes {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        len += 1;
        if value == 0 {
            *slot = low & 0x7f;
            break;
        }
        *slot = low | 0x80;
    }
    (bytes, len)
}

#[cold]
const fn too_long(field: &'static str, length: usize) -> EncodeError {
    EncodeError { field, reason: EncodeReason::TooLong(length) }
}

#[cfg(test)]
mod tests;
