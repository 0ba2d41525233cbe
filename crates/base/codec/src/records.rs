//! Record bytes inside a message: a slice of the frame, or a promise to send them from elsewhere.

/// The value of a `records` field.
///
/// Decoding yields [`RecordBytes::Inline`], a slice of the frame. A response that is served from a
/// log says [`RecordBytes::Detached`]: the encoder writes the length and leaves a [`crate::Hole`],
/// and whoever sends the frame puts the bytes of that piece there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordBytes<'a> {
    /// The bytes themselves; encoding copies them.
    Inline(&'a [u8]),
    /// Bytes that the sender brings; encoding writes only their length.
    Detached {
        /// The sender's name for the bytes.
        piece: u32,
        /// How many they are.
        len: u32,
    },
}

impl<'a> RecordBytes<'a> {
    /// No records.
    pub const EMPTY: Self = Self::Inline(&[]);

    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            // Lossless: every platform we build for has at least 32 bits.
            Self::Detached { len, .. } => usize::try_from(*len).unwrap_or(usize::MAX),
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are here.
    #[must_use]
    pub fn inline(&self) -> Option<&'a [u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Detached { .. } => None,
        }
    }
}

impl Default for RecordBytes<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> From<&'a [u8]> for RecordBytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Inline(bytes)
    }
}
