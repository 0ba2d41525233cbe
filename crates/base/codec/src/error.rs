//! Why bytes did not decode, and why a value did not encode.

use crate::VersionRange;
use std::fmt;

/// Bytes that are not the message they should be: what was being read, where, and what was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// The field being read, as `Struct.field`.
    pub field: &'static str,
    /// Position in the frame, in bytes, where the field or its faulty part begins.
    pub offset: usize,
    /// What was wrong.
    pub reason: DecodeReason,
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeReason {
    /// The frame ends before the field does.
    Truncated {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes that were left.
        remaining: usize,
    },
    /// A variable-length integer is longer than its type allows.
    VarintTooLong,
    /// A length below -1, or beyond what any frame can hold.
    InvalidLength(i64),
    /// A string is longer than [`crate::STRING_BYTES_MAX`].
    StringTooLong(usize),
    /// A string is not UTF-8.
    InvalidUtf8,
    /// A null where this version has no null.
    UnexpectedNull,
    /// An array claims more elements than the bytes that remain can hold.
    CountBeyondFrame {
        /// Elements claimed.
        count: usize,
        /// Elements of the smallest size that fit the bytes that remain.
        possible: usize,
    },
    /// The arrays of one message hold more elements together than the reader allows.
    TooManyElements,
    /// More tagged fields in one section than [`crate::TAGGED_FIELDS_MAX`].
    TooManyTaggedFields(usize),
    /// Tags must ascend within a section and appear once (KIP-482).
    TagOutOfOrder(u32),
    /// A tagged field holds more bytes than its value.
    TaggedFieldTooLong {
        /// Bytes left over.
        left: usize,
    },
    /// The message has no such version.
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
        /// The versions there are.
        versions: VersionRange,
    },
    /// No message has this key.
    UnknownKey(i16),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.field, self.offset, self.reason)
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for DecodeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, remaining } => {
                write!(f, "needs {needed} bytes, {remaining} are left")
            }
            Self::VarintTooLong => f.write_str("the variable-length integer is too long"),
            Self::InvalidLength(length) => write!(f, "the length {length} is not possible"),
            Self::StringTooLong(length) => {
                write!(f, "a string of {length} bytes is longer than {}", crate::STRING_BYTES_MAX)
            }
            Self::InvalidUtf8 => f.write_str("the string is not UTF-8"),
            Self::UnexpectedNull => f.write_str("null is not allowed in this version"),
            Self::CountBeyondFrame { count, possible } => {
                write!(f, "claims {count} elements where at most {possible} fit")
            }
            Self::TooManyElements => f.write_str("the message has too many array elements"),
            Self::TooManyTaggedFields(count) => {
                write!(f, "{count} tagged fields are more than {}", crate::TAGGED_FIELDS_MAX)
            }
            Self::TagOutOfOrder(tag) => write!(f, "tag {tag} is repeated or out of order"),
            Self::TaggedFieldTooLong { left } => {
                write!(f, "the tagged field has {left} bytes too many")
            }
            Self::UnsupportedVersion { version, versions } => {
                write!(f, "version {version} is not among {versions}")
            }
            Self::UnknownKey(key) => write!(f, "no message has key {key}"),
        }
    }
}

/// A value that cannot be written at the version asked for. It names a bug of ours, not of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeError {
    /// The field being written, as `Struct.field`.
    pub field: &'static str,
    /// What was wrong.
    pub reason: EncodeReason,
}

impl EncodeError {
    /// The field is null where this version has no null.
    #[cold]
    #[must_use]
    pub const fn null(field: &'static str) -> Self {
        Self { field, reason: EncodeReason::Null }
    }

    /// The field is set and `version` lacks it.
    #[cold]
    #[must_use]
    pub const fn not_in_version(field: &'static str, version: i16) -> Self {
        Self { field, reason: EncodeReason::NotInVersion(version) }
    }
}

/// Why a value could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeReason {
    /// The field is set, this version lacks it, and it may not be dropped silently.
    NotInVersion(i16),
    /// The field is null and this version has no null.
    Null,
    /// A string, byte sequence, array or frame is longer than its length field can say.
    TooLong(usize),
    /// An unknown tagged field carries the tag of a known one.
    TagConflict(u32),
    /// The message has no such version.
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
        /// The versions there are.
        versions: VersionRange,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, reason } = self;
        match reason {
            EncodeReason::NotInVersion(version) => {
                write!(f, "{field} is set, but version {version} does not have it")
            }
            EncodeReason::Null => write!(f, "{field} is null where null is not allowed"),
            EncodeReason::TooLong(length) => write!(f, "{field} is too long ({length})"),
            EncodeReason::TagConflict(tag) => {
                write!(f, "{field}: the unknown tag {tag} is the tag of a known field")
            }
            EncodeReason::UnsupportedVersion { version, versions } => {
                write!(f, "{field}: version {version} is not among {versions}")
            }
        }
    }
}

impl std::error::Error for EncodeError {}
