//! Loading a coordinator: its partition of `__consumer_offsets`, from the first record to the last.

use jocko_group::{Coordinator, Decoded, GroupRecord};
use jocko_partition::{Partition, Read, ReadOutcome};
use jocko_records::Records;
use jocko_types::{ErrorCode, Offset};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;
/// What a batch of another broker may unpack to.
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 30;

/// Why a log of groups could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("it cannot be read: {0}")]
    Refused(ErrorCode),
    #[error(transparent)]
    Disk(#[from] jocko_disk::DiskFault),
}

/// The coordinator as the log makes it, and how many records that took. Damaged batches and
/// records nobody knows are passed over, as Kafka does: they must not keep all other groups away.
pub(crate) fn replay(partition: &Partition) -> Result<(Coordinator, u64), ReplayError> {
    let mut coordinator = Coordinator::new();
    let mut records = 0;
    if !partition.has_files() {
        return Ok((coordinator, records));
    }
    let mut from = partition.log_start().unwrap_or(Offset::ZERO);
    let mut buffer = Vec::new();
    loop {
        let read = Read {
            from,
            bytes_max: READ_BYTES,
            whole_batch: true,
            read_committed: false,
            known_leader_epoch: None,
            last_fetched_epoch: None,
        };
        let slice = match partition.read(&read) {
            ReadOutcome::Found(view) => match view.slice {
                Some(slice) => slice,
                None => return Ok((coordinator, records)),
            },
            ReadOutcome::Cold(cold) => {
                cold.warm()?;
                continue;
            }
            ReadOutcome::Refused(error) => return Err(ReplayError::Refused(error)),
        };
        buffer.resize(slice.len, 0);
        let read = slice.file.read_at(&mut buffer, slice.position)?;
        buffer.truncate(read);
        let next = apply_all(&mut coordinator, &buffer, from, &mut records);
        if next <= from {
            return Ok((coordinator, records));
        }
        from = next;
    }
}

/// Applies the records of some batches; yields the offset after them.
fn apply_all(
    coordinator: &mut Coordinator,
    bytes: &[u8],
    from: Offset,
    applied: &mut u64,
) -> Offset {
    let mut records = Records::new(bytes, from, DECOMPRESSED_BYTES_MAX);
    loop {
        match records.next() {
            Ok(Some(record)) => {
                let Some(key) = record.key else { continue };
                match GroupRecord::decode(key, record.value) {
                    Ok(Decoded::Known(known)) => {
                        coordinator.apply(&known);
                        *applied += 1;
                    }
                    Ok(Decoded::Unknown { .. }) => {}
                    Err(error) => {
                        let offset = record.offset.get();
                        tracing::warn!(offset, %error, "a group record cannot be read");
                    }
                }
            }
            Ok(None) => return records.next_offset(),
            Err(error) => tracing::warn!(%error, "a batch of group records cannot be read"),
        }
    }
}
