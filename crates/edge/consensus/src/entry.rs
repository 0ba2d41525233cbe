//! One Raft entry as one record batch of the commit log (docs/internals/raft-log.md).
//!
//! The batch says offset and leader epoch where every Kafka tool looks for them, but those fields
//! lie outside its checksum; so the record says index and term once more, inside it.

use bytes::Bytes;
use jocko_codec::{DecodeError, Reader};
use jocko_records::{BatchBuilder, BatchError, BatchView, BuildError, Encoding, peek_batch_bytes};
use jocko_types::{LeaderEpoch, Offset, Timestamp};

use crate::types::{Entry, EntryPayload, LogId, Membership, Payload, log_id, term_of};
use openraft::entry::RaftEntry;

/// The most bytes a proposal may have. A batch of commands is far smaller; the bound keeps one
/// entry well below what a log batch and a peer message may hold.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes before an entry's own: version, kind, term, index.
pub(crate) const ENVELOPE_BYTES: usize = 1 + 1 + 8 + 8;

const VERSION: u8 = 1;
const KIND_BLANK: u8 = 0;
const KIND_NORMAL: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

/// Why bytes are no entry, or an entry cannot become bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error(transparent)]
    Truncated(#[from] DecodeError),
    #[error("written in entry format {0}, this program knows {VERSION}; run a newer one")]
    Newer(u8),
    #[error("unknown kind of entry {0}")]
    Kind(u8),
    #[error("membership: {0}")]
    Membership(#[from] serde_json::Error),
    #[error("batch: {0}")]
    Batch(String),
    #[error("batch: {0}")]
    Build(#[from] BuildError),
    #[error("the batch says {outside}, the entry in it {inside}")]
    Mismatch { outside: LogId, inside: LogId },
    #[error("term or index {0} is beyond what a batch can say")]
    Range(u64),
}

/// Appends the envelope of an entry to `out`.
pub(crate) fn write_envelope(entry: &Entry, out: &mut Vec<u8>) -> Result<(), EntryError> {
    let (kind, membership);
    let body: &[u8] = match &entry.payload {
        EntryPayload::Blank => {
            kind = KIND_BLANK;
            &[]
        }
        EntryPayload::Normal(payload) => {
            kind = KIND_NORMAL;
            &payload.0
        }
        EntryPayload::Membership(members) => {
            kind = KIND_MEMBERSHIP;
            membership = serde_json::to_vec(members)?;
            &membership
        }
    };
    out.push(VERSION);
    out.push(kind);
    out.extend_from_slice(&term_of(&entry.log_id).to_be_bytes());
    out.extend_from_slice(&entry.log_id.index.to_be_bytes());
    out.extend_from_slice(body);
    Ok(())
}

/// Reads an envelope that is all of `bytes`. The payload shares them.
pub(crate) fn read_envelope(bytes: &Bytes) -> Result<Entry, EntryError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8("version")?;
    if version != VERSION {
        return Err(EntryError::Newer(version));
    }
    let kind = reader.u8("kind")?;
    let term = reader.i64("term")?.cast_unsigned();
    let index = reader.i64("index")?.cast_unsigned();
    let payload = match kind {
        KIND_BLANK => EntryPayload::Blank,
        KIND_NORMAL => EntryPayload::Normal(Payload(bytes.slice_ref(reader.rest()))),
        KIND_MEMBERSHIP => {
            EntryPayload::Membership(serde_json::from_slice::<Membership>(reader.rest())?)
        }
        other => return Err(EntryError::Kind(other)),
    };
    Ok(Entry::new(log_id(term, index), payload))
}

/// The batch that holds `entry`.
pub(crate) fn to_batch(entry: &Entry) -> Result<Vec<u8>, EntryError> {
    let mut envelope = Vec::with_capacity(ENVELOPE_BYTES);
    write_envelope(entry, &mut envelope)?;
    let (offset, epoch) = place(&entry.log_id)?;
    let mut batch = BatchBuilder::new(Encoding::NONE).base_offset(offset).leader_epoch(epoch);
    // No timestamp: nothing asks for one, and two nodes must write the same bytes.
    batch.push(Timestamp::NONE, None, Some(&envelope), &[])?;
    Ok(batch.build()?)
}

/// The entry in the batch at the front of `bytes`, checked in every way there is, and how many
/// bytes that batch takes. `None` if the buffer ends before the batch does.
pub(crate) fn from_batch(bytes: &Bytes) -> Result<Option<(Entry, usize)>, EntryError> {
    let batch_error = |error: BatchError| EntryError::Batch(error.to_string());
    let size = match peek_batch_bytes(bytes).map_err(batch_error)? {
        Some(size) if size <= bytes.len() => size,
        _ => return Ok(None),
    };
    let (batch, _) = BatchView::parse(bytes).map_err(batch_error)?;
    batch.check_crc().map_err(batch_error)?;
    let mut scratch = Vec::new();
    let mut records = batch.records(0, &mut scratch).map_err(batch_error)?;
    let record = match (records.next(), records.next()) {
        (Some(record), None) => record.map_err(|fault| EntryError::Batch(fault.to_string()))?,
        _ => return Err(EntryError::Batch("not one record".to_owned())),
    };
    let value = record.value.unwrap_or_default();
    let entry = read_envelope(&bytes.slice_ref(value))?;
    let header = batch.header();
    let outside = log_id(
        u64::try_from(header.leader_epoch.get()).unwrap_or(u64::MAX),
        header.base_offset.get().cast_unsigned(),
    );
    if outside != entry.log_id {
        return Err(EntryError::Mismatch { outside, inside: entry.log_id });
    }
    Ok(Some((entry, size)))
}

/// Where an entry stands in the log: index as offset, term as leader epoch.
pub(crate) fn place(id: &LogId) -> Result<(Offset, LeaderEpoch), EntryError> {
    let term = term_of(id);
    let offset = i64::try_from(id.index).map_err(|_| EntryError::Range(id.index))?;
    let epoch = i32::try_from(term).map_err(|_| EntryError::Range(term))?;
    Ok((Offset::new(offset), LeaderEpoch::new(epoch)))
}

#[cfg(test)]
mod tests;
