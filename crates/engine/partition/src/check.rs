//! Looking for damage that nobody has come upon yet, and at what is about to leave for followers.

use crate::partition::Partition;
use jocko_commitlog::{LogFault, LogSlice, Patience, ReadOutcome as LogRead};
use jocko_types::Offset;

impl Partition {
    /// Checks what is durable from `from` on, at most about `bytes_max` of it. Reads with the lock
    /// free, and waits for the device: for workers. Yields where to go on and how much was read;
    /// `None` at the end, and for a log that is not open.
    ///
    /// # Errors
    /// A disk fault; damage, which is noted ([`Partition::damage`]).
    pub fn check(
        &self,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<(Offset, usize)>, LogFault> {
        let mut checked = self.check_once(from, bytes_max);
        if matches!(checked, Err(LogFault::Corrupt { .. })) {
            // It may have been cut, or compacted, while it was read.
            checked = self.check_once(from, bytes_max);
        }
        if let Err(fault) = &checked {
            self.note_damage(fault);
        }
        checked
    }

    fn check_once(
        &self,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<(Offset, usize)>, LogFault> {
        loop {
            let patience = Patience::ResidentOnly;
            let look = self.if_open(|open| open.log.look_to_check(from, bytes_max, patience));
            match look.transpose()?.flatten() {
                Some(LogRead::Slice(slice)) => {
                    let bytes = slice.read()?;
                    let next = self.confirm(&slice, &bytes)?;
                    return Ok(next.map(|next| (next.max(from.next()), bytes.len())));
                }
                Some(LogRead::Cold(cold)) => cold.warm()?,
                Some(LogRead::Empty | LogRead::OutOfRange { .. }) | None => return Ok(None),
            }
        }
    }

    /// The offset after the last that is on disk; `None` while the log is not open.
    pub(crate) fn durable_end(&self) -> Option<Offset> {
        self.if_open(|open| open.log.durable_end())
    }

    /// Whether `bytes`, which were read from `slice`, are what was written there.
    #[must_use]
    pub fn has_sound(&self, slice: &LogSlice, bytes: &[u8]) -> bool {
        self.confirm(slice, bytes).is_ok()
    }

    /// Whether `bytes`, which were read from `slice`, may be handed to a follower. If not, the log is
    /// looked at anew there, and what is found is noted.
    #[must_use]
    pub fn is_sound(&self, slice: &LogSlice, bytes: &[u8]) -> bool {
        match self.confirm(slice, bytes) {
            Ok(_) => true,
            Err(fault) => {
                tracing::warn!(partition = %self.name(), %fault, "not handed to a follower");
                // What is found there is noted, and what cannot be read is another's to find out.
                let _ = self.check(slice.from, slice.len);
                false
            }
        }
    }

    fn confirm(&self, slice: &LogSlice, bytes: &[u8]) -> Result<Option<Offset>, LogFault> {
        let batches = slice.check(bytes)?;
        self.if_open(|open| open.log.confirm_batches(slice, &batches)).transpose()
    }
}
