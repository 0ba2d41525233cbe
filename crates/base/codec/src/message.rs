//! What every generated message can do.

use crate::{DecodeError, DecodeReason, EncodeError, EncodeReason, Reader, Writer};
use std::fmt;

/// An inclusive range of message versions; empty when `min > max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The first version.
    pub min: i16,
    /// The last version.
    pub max: i16,
}

impl VersionRange {
    /// The range from `min` to `max`, both included.
    #[must_use]
    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    /// Whether `version` lies in the range.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Every version, ascending.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{}-{}", self.min, self.max)
        }
    }
}

/// A message: a request, a response, a header or a record of an internal topic.
pub trait Message {
    /// The name in Kafka's schemas.
    const NAME: &'static str;
    /// The versions that can be read and written.
    const VERSIONS: VersionRange;
    /// The first version in the flexible format (KIP-482); `i16::MAX` if there is none.
    const FLEXIBLE_SINCE: i16;

    /// Whether `version` has the flexible format: compact lengths and tagged fields (KIP-482).
    #[must_use]
    fn is_flexible(version: i16) -> bool {
        version >= Self::FLEXIBLE_SINCE
    }

    /// Checks `version` before reading.
    ///
    /// # Errors
    /// If the message has no such version.
    fn check_decode(version: i16, offset: usize) -> Result<(), DecodeError> {
        let versions = Self::VERSIONS;
        if versions.contains(version) {
            return Ok(());
        }
        let reason = DecodeReason::UnsupportedVersion { version, versions };
        Err(DecodeError { field: Self::NAME, offset, reason })
    }

    /// Checks `version` before writing.
    ///
    /// # Errors
    /// If the message has no such version.
    fn check_encode(version: i16) -> Result<(), EncodeError> {
        let versions = Self::VERSIONS;
        if versions.contains(version) {
            return Ok(());
        }
        let reason = EncodeReason::UnsupportedVersion { version, versions };
        Err(EncodeError { field: Self::NAME, reason })
    }
}

/// A message that can be read from a frame of lifetime `'a`.
pub trait Decode<'a>: Message + Sized {
    /// Reads the message at `version`; whatever follows it stays in the reader.
    ///
    /// # Errors
    /// If the bytes are not such a message, or the version does not exist.
    fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;
}

/// A message that can be written.
pub trait Encode: Message {
    /// Appends the message at `version`.
    ///
    /// # Errors
    /// If a field cannot be said in this version, or the version does not exist. The writer then
    /// holds part of a message.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}
