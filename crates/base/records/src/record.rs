//! One record inside a batch, read without copying or allocating.
//!
//! A record is a varint length and that many bytes: attributes (unused), varlong timestamp delta,
//! varint offset delta, key and value with varint lengths (negative: null), and a varint count of
//! headers, each a key (never null) and a value with varint lengths.

use crate::error::{BatchError, BatchFault};
use crate::varint::{read_varint, read_varlong, varlong_bytes, write_varlong};

/// A record in an uncompressed (or unpacked) batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset relative to the batch's base offset.
    pub offset_delta: i32,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null (a tombstone on a compacted topic).
    pub value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> RecordView<'a> {
    /// The headers, in order, duplicates and all (KIP-82).
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        self.headers
    }
}

/// A header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// The key: UTF-8 by convention, which Kafka does not check.
    pub key: &'a [u8],
    /// The value, or null.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record. Their framing has been checked when the record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    rest: &'a [u8],
    count: i32,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.count <= 0 {
            return None;
        }
        self.count -= 1;
        read_header(&mut self.rest).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = usize::try_from(self.count).unwrap_or(0);
        (count, Some(count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The records of a batch, in order. Ends after the first error; a batch whose bytes do not end
/// with its last record yields an error at the end.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    record_count: i32,
    index: i32,
    failed: bool,
}

impl<'a> RecordIter<'a> {
    /// The `record_count` records that lie in `payload`, uncompressed.
    pub(crate) const fn new(payload: &'a [u8], record_count: i32) -> Self {
        Self { rest: payload, record_count, index: 0, failed: false }
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.index >= self.record_count {
            self.failed = true;
            return check_end(self.rest, self.record_count).err().map(|fault| Err(fault.into()));
        }
        let index = self.index;
        self.index += 1;
        let record = read_record(&mut self.rest);
        self.failed = record.is_err();
        Some(record.map_err(|problem| BatchFault::Malformed { index, problem }.into()))
    }
}

/// Refuses bytes after the last record; an empty batch, as the cleaner leaves it, has none to
/// look after.
pub(crate) const fn check_end(rest: &[u8], record_count: i32) -> Result<(), BatchFault> {
    if rest.is_empty() { Ok(()) } else { Err(BatchFault::TrailingBytes { record_count }) }
}

/// Reads the record at the front of `rest`. The error says what is wrong, for people.
#[inline(always)]
pub(crate) fn read_record<'a>(rest: &mut &'a [u8]) -> Result<RecordView<'a>, &'static str> {
    let size = read_varint(rest).ok_or("its length is cut short or too long")?;
    let size = usize::try_from(size).map_err(|_| "its length is negative")?;
    let (body, after) = rest.split_at_checked(size).ok_or("it is longer than what is left")?;
    *rest = after;
    read_body(body)
}

/// Reads a record without its length; `body` must hold nothing else.
#[inline(always)]
pub(crate) fn read_body(mut body: &[u8]) -> Result<RecordView<'_>, &'static str> {
    let (_attributes, rest) = body.split_first().ok_or("it has no attributes")?;
    body = rest;
    let timestamp_delta = read_varlong(&mut body).ok_or("its timestamp cannot be read")?;
    let offset_delta = read_varint(&mut body).ok_or("its offset cannot be read")?;
    let key = read_nullable(&mut body).ok_or("its key is longer than the record")?;
    let value = read_nullable(&mut body).ok_or("its value is longer than the record")?;
    let count = read_varint(&mut body).ok_or("its header count cannot be read")?;
    let headers = Headers { rest: body, count };
    if count != 0 {
        check_headers(headers)?;
    } else if !body.is_empty() {
        return Err("its length is larger than its fields");
    }
    Ok(RecordView { timestamp_delta, offset_delta, key, value, headers })
}

fn check_headers(headers: Headers<'_>) -> Result<(), &'static str> {
    let Headers { mut rest, count } = headers;
    let count = usize::try_from(count).map_err(|_| "its header count is negative")?;
    if count > rest.len() {
        return Err("its header count is larger than the record");
    }
    for _ in 0..count {
        read_header(&mut rest)?;
    }
    if rest.is_empty() { Ok(()) } else { Err("its length is larger than its fields") }
}

fn read_header<'a>(rest: &mut &'a [u8]) -> Result<Header<'a>, &'static str> {
    let key = read_nullable(rest).ok_or("a header's key is longer than the record")?;
    let key = key.ok_or("a header's key is null")?;
    let value = read_nullable(rest).ok_or("a header's value is longer than the record")?;
    Ok(Header { key, value })
}

/// Reads a varint length and that many bytes. Any negative length is null, as Kafka has it.
#[inline(always)]
fn read_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(read_varint(rest)?) else {
        return Some(None);
    };
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Some(bytes))
}

/// Appends a record. Lengths above `i32::MAX` are the caller's to refuse.
pub(crate) fn write_record<'h>(
    out: &mut Vec<u8>,
    (timestamp_delta, offset_delta): (i64, i32),
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl ExactSizeIterator<Item = Header<'h>> + Clone,
) {
    let header_count = length(headers.len());
    let headers_bytes: usize = headers
        .clone()
        .map(|header| nullable_bytes(Some(header.key)) + nullable_bytes(header.value))
        .sum();
    let body_bytes = 1
        + varlong_bytes(timestamp_delta)
        + varlong_bytes(i64::from(offset_delta))
        + nullable_bytes(key)
        + nullable_bytes(value)
        + varlong_bytes(header_count)
        + headers_bytes;
    out.reserve(body_bytes + varlong_bytes(length(body_bytes)));
    write_varlong(out, length(body_bytes));
    out.push(0);
    write_varlong(out, timestamp_delta);
    write_varlong(out, i64::from(offset_delta));
    write_nullable(out, key);
    write_nullable(out, value);
    write_varlong(out, header_count);
    for header in headers {
        write_nullable(out, Some(header.key));
        write_nullable(out, header.value);
    }
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => write_varlong(out, -1),
        Some(bytes) => {
            write_varlong(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_bytes(length(bytes.len())) + bytes.len())
}

fn length(length: usize) -> i64 {
    i64::try_from(length).expect("no slice is longer than isize::MAX")
}

#[cfg(test)]
mod tests;
