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
    #[error("what is at offset {0} cannot be read, nor what follows it")]
    Stuck(Offset),
    #[error("what follows offset {0} is not known to be on disk")]
    Uncommitted(Offset),
    #[error(transparent)]
    Disk(#[from] jocko_disk::DiskFault),
}

/// The coordinator as the log makes it, and how many records that took. Damaged batches and
/// records nobody knows are passed over, as Kafka does: they must not keep all other groups away.
/// But where it is not even known what comes next, or whether it stays, there is no coordinator: half
/// of a log would be taken for all of it.
pub(crate) fn replay(
    partition: &Partition,
    is_first: bool,
) -> Result<(Coordinator, u64), ReplayError> {
    let mut replay = Replay { coordinator: Coordinator::new(), applied: 0, is_first };
    if !partition.has_files() {
        return Ok((replay.coordinator, replay.applied));
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
            any_replica: false,
        };
        let slice = match partition.read(&read) {
            ReadOutcome::Found(view) => match view.slice {
                Some(slice) => slice,
                None => {
                    let end = partition.standing().map_or(from, |standing| standing.log_end);
                    if from < end {
                        return Err(ReplayError::Uncommitted(from));
                    }
                    return Ok((replay.coordinator, replay.applied));
                }
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
        from = replay.advance(&buffer, from)?;
    }
}

/// A coordinator that is being made.
struct Replay {
    coordinator: Coordinator,
    /// Records that made it so far.
    applied: u64,
    /// Whether what cannot be read is to be told: later attempts find the same.
    is_first: bool,
}

impl Replay {
    /// Applies the records of some batches; yields the offset after them, which is a later one.
    fn advance(&mut self, bytes: &[u8], from: Offset) -> Result<Offset, ReplayError> {
        let next = self.apply_all(bytes, from);
        if next > from { Ok(next) } else { Err(ReplayError::Stuck(from)) }
    }

    fn apply_all(&mut self, bytes: &[u8], from: Offset) -> Offset {
        let mut records = Records::new(bytes, from, DECOMPRESSED_BYTES_MAX);
        loop {
            match records.next() {
                Ok(Some(record)) => {
                    let Some(key) = record.key else { continue };
                    match GroupRecord::decode(key, record.value) {
                        Ok(Decoded::Known(known)) => {
                            self.coordinator.apply(&known);
                            self.applied += 1;
                        }
                        Ok(Decoded::Unknown { .. }) => {}
                        Err(error) if self.is_first => {
                            let offset = record.offset.get();
                            tracing::warn!(offset, %error, "a group record cannot be read");
                        }
                        Err(_) => {}
                    }
                }
                Ok(None) => return records.next_offset(),
                Err(error) if self.is_first => {
                    tracing::warn!(%error, "a batch of group records cannot be read");
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Replay, ReplayError};
    use jocko_group::{Coordinator, GroupRecord};
    use jocko_records::{AppendRules, BatchBuilder, Encoding, Origin};
    use jocko_types::{Offset, Timestamp};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// A batch with the tombstones of these groups.
    fn batch(groups: &[&str]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Encoding::NONE);
        for group in groups {
            let record = GroupRecord::Classic { group_id: (*group).into(), value: None };
            let (key, value) = record.encode().unwrap();
            builder.push(NOW, Some(&key), value.as_deref(), &[]).unwrap();
        }
        let rules = AppendRules { origin: Origin::Coordinator, ..AppendRules::defaults(NOW) };
        jocko_records::prepare(&builder.build().unwrap(), &rules).unwrap();
        builder.build().unwrap()
    }

    #[test]
    fn a_log_that_does_not_go_on_is_not_taken_for_a_whole_one() {
        let good = batch(&["a", "b"]);
        let mut cut = good.clone();
        cut.truncate(good.len() - 1);
        let mut unframed = good.clone();
        unframed[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
        for (bytes, from, next) in [
            (good.clone(), 0, Some(2)),
            // Compaction has taken the last record away: its offset is passed over all the same.
            (good.clone(), 1, Some(2)),
            (cut, 0, None),
            (unframed, 0, None),
            (Vec::new(), 7, None),
        ] {
            let mut replay = Replay { coordinator: Coordinator::new(), applied: 0, is_first: true };
            match (replay.advance(&bytes, Offset::new(from)), next) {
                (Ok(found), Some(next)) => assert_eq!(found.get(), next),
                (Err(ReplayError::Stuck(at)), None) => assert_eq!(at.get(), from),
                (found, _) => panic!("{found:?} from {from}"),
            }
        }
    }
}
