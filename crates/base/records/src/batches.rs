//! The batches of a buffer, one after the other.

use crate::error::BatchError;
use crate::error::BatchFault;
use crate::view::BatchView;

/// The batches of a fetched buffer: a broker cuts it at a byte count, so the last batch may be
/// incomplete and is then left out.
#[must_use]
pub const fn whole_batches(bytes: &[u8]) -> WholeBatches<'_> {
    WholeBatches { rest: bytes }
}

/// The batches of a buffer that must hold nothing but whole ones.
#[must_use]
pub const fn strict_batches(bytes: &[u8]) -> StrictBatches<'_> {
    StrictBatches { rest: bytes }
}

/// See [`whole_batches`]. Ends after the first error.
#[derive(Debug, Clone)]
pub struct WholeBatches<'a> {
    rest: &'a [u8],
}

impl<'a> WholeBatches<'a> {
    /// What has not been read: after the last batch, its cut-off successor.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for WholeBatches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match next_strict(&mut self.rest)? {
            Err(error) if matches!(error.fault(), BatchFault::Truncated { .. }) => None,
            result => {
                if result.is_err() {
                    self.rest = &[];
                }
                Some(result)
            }
        }
    }
}

/// See [`strict_batches`]. Ends after the first error.
#[derive(Debug, Clone)]
pub struct StrictBatches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for StrictBatches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = next_strict(&mut self.rest)?;
        if result.is_err() {
            self.rest = &[];
        }
        Some(result)
    }
}

fn next_strict<'a>(rest: &mut &'a [u8]) -> Option<Result<BatchView<'a>, BatchError>> {
    if rest.is_empty() {
        return None;
    }
    Some(BatchView::parse(rest).map(|(batch, after)| {
        *rest = after;
        batch
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::BatchBuilder;
    use crate::compression::Encoding;
    use jocko_types::{Offset, Timestamp};

    fn batch(base_offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Encoding::NONE).base_offset(Offset::new(base_offset));
        builder.push(Timestamp::from_millis(1), None, Some(b"value"), &[]).unwrap();
        builder.build().unwrap()
    }

    #[test]
    fn a_cut_batch_ends_a_fetched_buffer_and_spoils_a_strict_one() {
        let bytes = [batch(0), batch(1), batch(2)].concat();
        let size = batch(0).len();
        for cut in 0..=bytes.len() {
            let whole = cut / size;
            let mut fetched = whole_batches(&bytes[..cut]);
            for base_offset in 0..whole {
                let batch = fetched.next().unwrap().unwrap();
                assert_eq!(batch.header().base_offset.get(), i64::try_from(base_offset).unwrap());
            }
            assert!(fetched.next().is_none());
            assert_eq!(fetched.rest().len(), cut % size);
            let strict: Vec<_> = strict_batches(&bytes[..cut]).collect();
            assert_eq!(strict.iter().filter(|batch| batch.is_ok()).count(), whole);
            assert_eq!(strict.iter().any(Result::is_err), cut % size != 0);
        }
    }

    #[test]
    fn what_is_no_batch_is_an_error_and_the_end() {
        let at = |position: usize, value: u8| {
            let mut bytes = batch(0);
            bytes[position] = value;
            bytes
        };
        for bad in [at(8, 0x80), at(11, 48), at(16, 1), at(16, 3)] {
            let bytes = [batch(0), bad].concat();
            let fetched: Vec<_> = whole_batches(&bytes).map(|batch| batch.is_ok()).collect();
            assert_eq!(fetched, [true, false]);
            let strict: Vec<_> = strict_batches(&bytes).map(|batch| batch.is_ok()).collect();
            assert_eq!(strict, [true, false]);
        }
    }
}
