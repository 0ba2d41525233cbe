//! Reading a frame that a stranger sent.
//!
//! Invariants: no read leaves the frame; no panic; the memory a decoder takes follows from the
//! bytes that are there, never from a number among them.

use crate::{DecodeError, DecodeReason, RecordBytes, TAGGED_FIELDS_MAX};
use jocko_types::Uuid;

/// The most array elements that all arrays of one message may hold together, unless the reader
/// was made with another limit.
pub const ELEMENTS_MAX: usize = 1_000_000;

/// The longest string, in bytes; the flexible format could say more, but Kafka refuses it too.
pub const STRING_BYTES_MAX: usize = 32_767;

/// A cursor over a frame. Every method names the field it reads, for the error.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    /// What is left of the window being read: the frame, or one tagged field in it.
    rest: &'a [u8],
    /// Position in the frame where the window ends.
    end: usize,
    /// How many more array elements may be read.
    elements_left: usize,
}

/// The reading of one section of tagged fields; see [`Reader::tagged_fields`].
#[derive(Debug)]
pub struct TaggedFields {
    left: usize,
    /// The least tag that may come next; beyond `u32` after the last possible one.
    tag_min: u64,
}

/// What lies behind a tagged field while that is being read; see [`Reader::next_tag`].
#[derive(Debug)]
pub struct OuterWindow<'a> {
    rest: &'a [u8],
    end: usize,
}

type Result<T> = std::result::Result<T, DecodeError>;

/// Declares a reader of a fixed-width big-endian number.
macro_rules! fixed {
    ($(#[$doc:meta])* $name:ident, $type:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// If the frame ends first.
        #[inline]
        pub fn $name(&mut self, field: &'static str) -> Result<$type> {
            Ok(<$type>::from_be_bytes(self.fixed_bytes(field)?))
        }
    };
}

impl<'a> Reader<'a> {
    /// Reads `frame` from its beginning, with room for [`ELEMENTS_MAX`] array elements.
    #[must_use]
    pub const fn new(frame: &'a [u8]) -> Self {
        Self::with_elements_max(frame, ELEMENTS_MAX)
    }

    /// Reads `frame`, whose arrays may hold `elements_max` elements together.
    #[must_use]
    pub const fn with_elements_max(frame: &'a [u8], elements_max: usize) -> Self {
        Self { rest: frame, end: frame.len(), elements_left: elements_max }
    }

    /// Position in the frame, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Bytes that are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are left, unread.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// An error here and now.
    #[cold]
    #[must_use]
    pub const fn error(&self, field: &'static str, reason: DecodeReason) -> DecodeError {
        DecodeError { field, offset: self.offset(), reason }
    }

    #[cold]
    const fn truncated(&self, field: &'static str, needed: usize) -> DecodeError {
        self.error(field, DecodeReason::Truncated { needed, remaining: self.rest.len() })
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// If the frame ends first.
    #[inline]
    pub fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.truncated(field, count)),
        }
    }

    #[inline]
    fn fixed_bytes<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.truncated(field, N)),
        }
    }

    fixed! {
        /// A signed byte.
        i8, i8
    }
    fixed! {
        /// A 16-bit number.
        i16, i16
    }
    fixed! {
        /// A 32-bit number.
        i32, i32
    }
    fixed! {
        /// A 64-bit number.
        i64, i64
    }
    fixed! {
        /// An unsigned byte.
        u8, u8
    }
    fixed! {
        /// An unsigned 16-bit number.
        u16, u16
    }
    fixed! {
        /// An unsigned 32-bit number.
        u32, u32
    }
    fixed! {
        /// A double.
        f64, f64
    }

    /// A truth value: any byte but zero is true, as in Kafka.
    ///
    /// # Errors
    /// If the frame ends first.
    #[inline]
    pub fn bool(&mut self, field: &'static str) -> Result<bool> {
        Ok(self.u8(field)? != 0)
    }

    /// A 128-bit id.
    ///
    /// # Errors
    /// If the frame ends first.
    #[inline]
    pub fn uuid(&mut self, field: &'static str) -> Result<Uuid> {
        Ok(Uuid::from_bytes(self.fixed_bytes(field)?))
    }

    /// An unsigned variable-length number of at most 5 bytes.
    ///
    /// # Errors
    /// If the frame ends first or the number does not fit 32 bits.
    #[inline]
    pub fn varint(&mut self, field: &'static str) -> Result<u32> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u32::from(byte));
        }
        let before = self.rest;
        let long = self.varint_bytes(5, field)?;
        u32::try_from(long).map_err(|_| {
            self.rest = before;
            self.error(field, DecodeReason::VarintTooLong)
        })
    }

    /// An unsigned variable-length number of at most 10 bytes.
    ///
    /// # Errors
    /// If the frame ends first or the number does not fit 64 bits.
    pub fn varlong(&mut self, field: &'static str) -> Result<u64> {
        self.varint_bytes(10, field)
    }

    /// A signed variable-length number in zigzag form, of at most 5 bytes.
    ///
    /// # Errors
    /// If the frame ends first or the number does not fit 32 bits.
    pub fn zigzag_i32(&mut self, field: &'static str) -> Result<i32> {
        let raw = self.varint(field)?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// A signed variable-length number in zigzag form, of at most 10 bytes.
    ///
    /// # Errors
    /// If the frame ends first or the number does not fit 64 bits.
    pub fn zigzag_i64(&mut self, field: &'static str) -> Result<i64> {
        let raw = self.varlong(field)?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    fn varint_bytes(&mut self, bytes_max: usize, field: &'static str) -> Result<u64> {
        let mut number: u64 = 0;
        for (index, &byte) in self.rest.iter().take(bytes_max).enumerate() {
            let group = u64::from(byte & 0x7f);
            // The tenth group has room for one bit.
            if index == 9 && group > 1 {
                return Err(self.error(field, DecodeReason::VarintTooLong));
            }
            number |= group << (7 * index);
            if byte < 0x80 {
                self.take(index + 1, field)?;
                return Ok(number);
            }
        }
        if self.rest.len() < bytes_max {
            return Err(self.truncated(field, self.rest.len() + 1));
        }
        Err(self.error(field, DecodeReason::VarintTooLong))
    }

    /// A length in the flexible format: 0 is null, otherwise one more than the length.
    #[inline]
    fn compact_length(&mut self, field: &'static str) -> Result<Option<usize>> {
        match self.varint(field)?.checked_sub(1) {
            None => Ok(None),
            Some(length) => Ok(Some(self.to_usize(length, field)?)),
        }
    }

    #[inline]
    fn to_usize(&self, length: u32, field: &'static str) -> Result<usize> {
        usize::try_from(length)
            .map_err(|_| self.error(field, DecodeReason::InvalidLength(i64::from(length))))
    }

    /// A signed length, where -1 is null.
    #[inline]
    fn signed_length(&self, length: i32, field: &'static str) -> Result<Option<usize>> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.error(field, DecodeReason::InvalidLength(i64::from(length)))),
        }
    }

    #[inline]
    fn not_null<T>(&self, value: Option<T>, field: &'static str) -> Result<T> {
        value.ok_or_else(|| self.error(field, DecodeReason::UnexpectedNull))
    }

    /// A string, or null.
    ///
    /// # Errors
    /// If the frame ends first, or the string is too long or not UTF-8.
    pub fn nullable_string(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<&'a str>> {
        let length = if flexible {
            self.compact_length(field)?
        } else {
            let length = i32::from(self.i16(field)?);
            self.signed_length(length, field)?
        };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(self.error(field, DecodeReason::StringTooLong(length)));
        }
        let offset = self.offset();
        let bytes = self.take(length, field)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(DecodeError { field, offset, reason: DecodeReason::InvalidUtf8 }),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// As [`Reader::nullable_string`], or if it is null.
    pub fn string(&mut self, flexible: bool, field: &'static str) -> Result<&'a str> {
        let text = self.nullable_string(flexible, field)?;
        self.not_null(text, field)
    }

    /// Bytes, or null.
    ///
    /// # Errors
    /// If the frame ends first or the length is negative.
    pub fn nullable_bytes(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<&'a [u8]>> {
        let length = if flexible {
            self.compact_length(field)?
        } else {
            let length = self.i32(field)?;
            self.signed_length(length, field)?
        };
        length.map(|length| self.take(length, field)).transpose()
    }

    /// Bytes.
    ///
    /// # Errors
    /// As [`Reader::nullable_bytes`], or if they are null.
    pub fn bytes(&mut self, flexible: bool, field: &'static str) -> Result<&'a [u8]> {
        let bytes = self.nullable_bytes(flexible, field)?;
        self.not_null(bytes, field)
    }

    /// Record bytes, or null.
    ///
    /// # Errors
    /// As [`Reader::nullable_bytes`].
    pub fn nullable_records(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<RecordBytes<'a>>> {
        Ok(self.nullable_bytes(flexible, field)?.map(RecordBytes::Inline))
    }

    /// Record bytes.
    ///
    /// # Errors
    /// As [`Reader::bytes`].
    pub fn records(&mut self, flexible: bool, field: &'static str) -> Result<RecordBytes<'a>> {
        Ok(RecordBytes::Inline(self.bytes(flexible, field)?))
    }

    /// The length of an array, or null. `element_bytes_min` is the least size of an element on the
    /// wire; the answer never exceeds what fits the bytes that remain.
    ///
    /// # Errors
    /// If the frame ends first, the count cannot be true, or the message has too many elements.
    pub fn nullable_array_len(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
    ) -> Result<Option<usize>> {
        let count = if flexible {
            self.compact_length(field)?
        } else {
            let count = self.i32(field)?;
            self.signed_length(count, field)?
        };
        let Some(count) = count else { return Ok(None) };
        let possible = self.rest.len() / element_bytes_min.max(1);
        if count > possible {
            return Err(self.error(field, DecodeReason::CountBeyondFrame { count, possible }));
        }
        self.spend_elements(count, field)?;
        Ok(Some(count))
    }

    fn spend_elements(&mut self, count: usize, field: &'static str) -> Result<()> {
        match self.elements_left.checked_sub(count) {
            Some(left) => {
                self.elements_left = left;
                Ok(())
            }
            None => Err(self.error(field, DecodeReason::TooManyElements)),
        }
    }

    /// The length of an array.
    ///
    /// # Errors
    /// As [`Reader::nullable_array_len`], or if the array is null.
    pub fn array_len(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
    ) -> Result<usize> {
        let count = self.nullable_array_len(flexible, element_bytes_min, field)?;
        self.not_null(count, field)
    }

    /// An array, or null; `read` reads one element.
    ///
    /// # Errors
    /// As [`Reader::nullable_array_len`], or the first error of `read`.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.nullable_array_len(flexible, element_bytes_min, field)? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(Some(elements))
    }

    /// An array; `read` reads one element.
    ///
    /// # Errors
    /// As [`Reader::nullable_array`], or if the array is null.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
        read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let elements = self.nullable_array(flexible, element_bytes_min, field, read)?;
        self.not_null(elements, field)
    }

    /// Whether a nullable struct is there: a byte below zero says it is not.
    ///
    /// # Errors
    /// If the frame ends first.
    pub fn is_present(&mut self, field: &'static str) -> Result<bool> {
        Ok(self.i8(field)? >= 0)
    }

    /// Begins a section of tagged fields (KIP-482).
    ///
    /// # Errors
    /// If the frame ends first or the section claims too many fields.
    #[inline]
    pub fn tagged_fields(&mut self, field: &'static str) -> Result<TaggedFields> {
        let count = self.varint(field)?;
        let left = self.to_usize(count, field)?;
        if left > TAGGED_FIELDS_MAX {
            return Err(self.error(field, DecodeReason::TooManyTaggedFields(left)));
        }
        Ok(TaggedFields { left, tag_min: 0 })
    }

    /// The next tag of the section, with the reader narrowed to the field's value. The caller reads
    /// it whole and gives the window back with [`Reader::end_tag`].
    ///
    /// # Errors
    /// If the frame ends first or the tag does not follow the last one.
    pub fn next_tag(
        &mut self,
        fields: &mut TaggedFields,
        field: &'static str,
    ) -> Result<Option<(u32, OuterWindow<'a>)>> {
        let Some(left) = fields.left.checked_sub(1) else { return Ok(None) };
        fields.left = left;
        let offset = self.offset();
        let tag = self.varint(field)?;
        if u64::from(tag) < fields.tag_min {
            let reason = DecodeReason::TagOutOfOrder(tag);
            return Err(DecodeError { field, offset, reason });
        }
        fields.tag_min = u64::from(tag) + 1;
        let size = self.varint(field)?;
        let size = self.to_usize(size, field)?;
        let end = self.end;
        let value = self.take(size, field)?;
        let outer = OuterWindow { rest: self.rest, end };
        self.end = self.offset();
        self.rest = value;
        Ok(Some((tag, outer)))
    }

    /// Ends the value of a tagged field.
    ///
    /// # Errors
    /// If the value was not read whole.
    pub fn end_tag(&mut self, outer: OuterWindow<'a>, field: &'static str) -> Result<()> {
        if !self.rest.is_empty() {
            let reason = DecodeReason::TaggedFieldTooLong { left: self.rest.len() };
            return Err(self.error(field, reason));
        }
        self.rest = outer.rest;
        self.end = outer.end;
        Ok(())
    }

    /// Takes the value of a tagged field that the schema does not know.
    ///
    /// # Errors
    /// If the message has too many elements: each unknown field counts as one.
    pub fn unknown_tag(&mut self, field: &'static str) -> Result<&'a [u8]> {
        self.spend_elements(1, field)?;
        self.take(self.rest.len(), field)
    }

    /// Reads past a section of tagged fields, whatever they are.
    ///
    /// # Errors
    /// As [`Reader::next_tag`].
    pub fn skip_tagged_fields(&mut self, field: &'static str) -> Result<()> {
        let mut fields = self.tagged_fields(field)?;
        while let Some((_, outer)) = self.next_tag(&mut fields, field)? {
            self.rest = &[];
            self.end_tag(outer, field)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
