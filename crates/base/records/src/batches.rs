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
