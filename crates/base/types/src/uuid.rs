//! 128-bit ids and their 22-character text form: URL-safe base64 without padding, as every Kafka
//! tool prints them (KIP-516).

use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LENGTH: usize = 22;

/// A 128-bit id, big-endian, as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

/// A topic's id. A topic that is deleted and created again gets another.
pub type TopicId = Uuid;

/// The text was not 22 characters of URL-safe base64 that hold exactly 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseUuidError;

impl Uuid {
    /// All zero: "no id" on the wire.
    pub const ZERO: Self = Self([0; 16]);

    /// From wire order.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// In wire order.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A version 4 (random) id from 16 random bytes. The caller brings the randomness and must
    /// draw again if [`Uuid::is_reserved`] or if the text would begin with a dash, which command
    /// lines take for a flag.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// Whether Kafka reserves this id: the first hundred numbers, zero among them.
    #[must_use]
    pub const fn is_reserved(&self) -> bool {
        u128::from_be_bytes(self.0) < 100
    }

    /// Whether this is "no id".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from_be_bytes(self.0);
        // 128 bits fill 21 characters and the two high bits of the last.
        (0..TEXT_LENGTH).try_for_each(|index| {
            let shift = 122_i32 - 6 * i32::try_from(index).unwrap_or(0);
            let sextet = if shift >= 0 { number >> shift } else { number << -shift } & 0x3f;
            let symbol = usize::try_from(sextet).ok().and_then(|at| ALPHABET.get(at));
            fmt::Write::write_char(f, char::from(*symbol.unwrap_or(&b'A')))
        })
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        if text.len() != TEXT_LENGTH {
            return Err(ParseUuidError);
        }
        let mut number: u128 = 0;
        for (index, byte) in text.bytes().enumerate() {
            let sextet =
                ALPHABET.iter().position(|&symbol| symbol == byte).ok_or(ParseUuidError)?;
            let sextet = u128::try_from(sextet).map_err(|_| ParseUuidError)?;
            let last = index == TEXT_LENGTH - 1;
            if last && sextet & 0x0f != 0 {
                return Err(ParseUuidError);
            }
            number = if last { (number << 2) | (sextet >> 4) } else { (number << 6) | sextet };
        }
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a 22-character base64 id")
    }
}

impl std::error::Error for ParseUuidError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_kafkas() {
        let check = |number: u128, text: &str| {
            let id = Uuid::from_bytes(number.to_be_bytes());
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        };
        check(0, "AAAAAAAAAAAAAAAAAAAAAA");
        check(1, "AAAAAAAAAAAAAAAAAAAAAQ");
        check(u128::MAX, "_____________________w");
        check(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, "ASNFZ4mrze8BI0VniavN7w");
    }

    #[test]
    fn bad_text_is_refused() {
        for text in
            ["", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAA"]
        {
            assert_eq!(text.parse::<Uuid>(), Err(ParseUuidError), "{text}");
        }
    }
}
