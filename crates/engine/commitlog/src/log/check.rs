//! Looking for damage: whether what the files hold is what was written.

use super::{Log, LogSlice, ReadOutcome, ReadRequest};
use crate::fault::{LogFault, Result};
use crate::read::Patience;
use jocko_records::strict_batches;
use jocko_types::{LeaderEpoch, Offset};

/// Read at once by [`Log::verify_range`].
const PIECE_BYTES: usize = 1 << 20;

/// The batches of a slice, whose framing and checksums are sound. Checksums leave out where a batch
/// stands and who wrote it: see [`Log::confirm_batches`].
#[derive(Debug)]
pub struct SoundBatches(Vec<Place>);

/// What the checksum of a batch does not cover.
#[derive(Debug)]
struct Place {
    position: u64,
    base: Offset,
    next: Offset,
    leader_epoch: LeaderEpoch,
}

impl LogSlice {
    /// Checks the framing and the checksums of `bytes`, which were read from this slice. Needs no
    /// lock.
    ///
    /// # Errors
    /// [`LogFault::Corrupt`].
    pub fn check(&self, bytes: &[u8]) -> Result<SoundBatches> {
        let mut places = Vec::new();
        let (mut position, mut offset) = (self.position, self.from);
        for batch in strict_batches(bytes) {
            let checked = batch.and_then(|batch| batch.check_crc().map(|()| batch));
            let batch =
                checked.map_err(|error| self.damage(position, offset, error.to_string()))?;
            let header = batch.header();
            places.push(Place {
                position,
                base: header.base_offset,
                next: header.next_offset(),
                leader_epoch: header.leader_epoch,
            });
            position += header.size_bytes() as u64;
            offset = header.next_offset();
        }
        Ok(SoundBatches(places))
    }

    fn damage(&self, position: u64, offset: Offset, reason: String) -> LogFault {
        LogFault::Corrupt { path: self.file.path().clone(), position, offset, reason }
    }
}

impl Log {
    /// Whether batches stand where they must, without gaps but for those that compaction left, and
    /// are of the leaders that are known to have written there. Yields the offset after the last.
    ///
    /// # Errors
    /// [`LogFault::Corrupt`]. It does not latch the log.
    pub fn confirm_batches(&self, slice: &LogSlice, batches: &SoundBatches) -> Result<Offset> {
        let gaps_to = self.gaps_allowed_to(self.flushing.durable);
        let mut expected = slice.from;
        for (at, place) in batches.0.iter().enumerate() {
            let refuse = |reason: String| Err(slice.damage(place.position, expected, reason));
            // The first may begin before what was asked for.
            let is_early = if at == 0 { place.next <= expected } else { place.base < expected };
            if is_early || (place.base > expected && place.base > gaps_to) {
                return refuse(format!("a batch says that it begins at offset {}", place.base));
            }
            let known = self.epoch_at(place.base);
            if let Some(known) = known
                .filter(|it| place.leader_epoch != LeaderEpoch::NONE && *it != place.leader_epoch)
            {
                let told = place.leader_epoch;
                return refuse(format!(
                    "a batch says that leader epoch {told} wrote it, not {known}"
                ));
            }
            expected = place.next;
        }
        Ok(expected)
    }

    /// Finds what to check from `from` on, at most about `bytes_max` of what is durable. To be read
    /// without the lock. `None` at the end.
    ///
    /// # Errors
    /// As [`Log::read`]; and [`LogFault::Corrupt`] where there should be something, and is not.
    pub fn look_to_check(
        &mut self,
        from: Offset,
        bytes_max: usize,
        patience: Patience,
    ) -> Result<Option<ReadOutcome>> {
        let from = from.max(self.log_start);
        let upper = self.flushing.durable;
        let request = ReadRequest { from, upper, bytes_max, at_least_one_batch: true, patience };
        Ok(match self.read(&request)? {
            ReadOutcome::Slice(slice) if slice.len > 0 => Some(ReadOutcome::Slice(slice)),
            ReadOutcome::Cold(cold) => Some(ReadOutcome::Cold(cold)),
            ReadOutcome::Slice(_) | ReadOutcome::Empty | ReadOutcome::OutOfRange { .. } => {
                if from < upper && upper > self.gaps_allowed_to(upper) {
                    let reason = format!("nothing is found below offset {upper}");
                    let (path, position) = (self.dir.clone(), 0);
                    return Err(LogFault::Corrupt { path, position, offset: from, reason });
                }
                None
            }
        })
    }

    /// Checks framing, order and checksums of the batches from `from` on, at most about
    /// `bytes_max` of them. Waits for the device: who may not does it piece by piece, as this does.
    ///
    /// Returns the offset to go on from, or `None` at the end of what is durable.
    ///
    /// # Errors
    /// A disk fault, or damage, with where it is. Neither latches the log; the caller decides.
    pub fn verify_range(&mut self, from: Offset, bytes_max: u64) -> Result<Option<Offset>> {
        let mut from = from.max(self.log_start);
        let mut left = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        while left > 0 {
            let found = self.look_to_check(from, left.min(PIECE_BYTES), Patience::Wait)?;
            let Some(ReadOutcome::Slice(slice)) = found else { return Ok(None) };
            let batches = slice.check(&slice.read()?)?;
            from = self.confirm_batches(&slice, &batches)?.max(from.next());
            left = left.saturating_sub(slice.len);
        }
        Ok(Some(from).filter(|from| *from < self.flushing.durable))
    }
}
