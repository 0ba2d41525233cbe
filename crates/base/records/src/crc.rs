//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), computed with the widest instructions the CPU has.

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// A CRC-32C computed piece by piece, for bytes that do not lie together.
#[derive(Debug, Clone)]
pub struct Crc32c(Digest);

impl Crc32c {
    /// The state before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes taken in so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("a 32-bit checksum fits 32 bits")
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn check_value_of_the_polynomial() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
        assert_eq!(Crc32c::default().value(), 0);
    }

    proptest! {
        #[test]
        fn equals_an_independent_implementation(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000),
            cut in any::<prop::sample::Index>(),
        ) {
            let expected = ::crc32c::crc32c(&bytes);
            prop_assert_eq!(crc32c(&bytes), expected);
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut pieces = Crc32c::new();
            pieces.update(head);
            pieces.update(tail);
            prop_assert_eq!(pieces.value(), expected);
        }
    }
}
