//! Names that people choose, checked once at the border.

use std::fmt;
use std::sync::Arc;

/// A legal topic name: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a string cannot name a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicNameError {
    /// The name has no characters.
    Empty,
    /// The name is `.` or `..`, which are folders.
    DotOrDotDot,
    /// The name has more than [`TopicName::LENGTH_MAX`] characters.
    TooLong,
    /// A character is outside `[a-zA-Z0-9._-]`.
    IllegalCharacter,
}

impl TopicName {
    /// The longest legal name, in bytes: it must fit a folder name with a partition's number.
    pub const LENGTH_MAX: usize = 249;

    /// Checks and wraps a name.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        match name {
            "" => return Err(TopicNameError::Empty),
            "." | ".." => return Err(TopicNameError::DotOrDotDot),
            _ => {}
        }
        if name.len() > Self::LENGTH_MAX {
            return Err(TopicNameError::TooLong);
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !name.bytes().all(legal) {
            return Err(TopicNameError::IllegalCharacter);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name and `other` would be one metric name: Kafka maps `.` to `_` there, so
    /// it refuses to let both exist.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        let unified = |name: &Self| name.0.replace('.', "_");
        self != other && unified(self) == unified(other)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_kafka_does() {
        let check = |name: &str, expect: Option<TopicNameError>| {
            assert_eq!(TopicName::new(name).err(), expect, "{name:?}");
        };
        check("orders", None);
        check("a.b_c-D9", None);
        check("", Some(TopicNameError::Empty));
        check(".", Some(TopicNameError::DotOrDotDot));
        check("..", Some(TopicNameError::DotOrDotDot));
        check("...", None);
        check("a/b", Some(TopicNameError::IllegalCharacter));
        check("a\0b", Some(TopicNameError::IllegalCharacter));
        check("é", Some(TopicNameError::IllegalCharacter));
        check(&"x".repeat(249), None);
        check(&"x".repeat(250), Some(TopicNameError::TooLong));
    }

    #[test]
    fn dots_and_underscores_collide() {
        let name = |text| TopicName::new(text).expect("legal");
        assert!(name("a.b").collides_with(&name("a_b")));
        assert!(!name("a.b").collides_with(&name("a.b")));
        assert!(!name("a.b").collides_with(&name("a-b")));
    }
}
