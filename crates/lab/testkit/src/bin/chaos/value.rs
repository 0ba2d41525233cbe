//! The bytes of a value: its number as text, so that any program can write and read it, and filler
//! that follows from the number, so that every byte is checked.

/// The longest filler.
const FILLER_MAX: u64 = 199;

pub(crate) fn bytes_of(value: u64) -> Vec<u8> {
    let mut bytes = format!("{value}:").into_bytes();
    let letters = (b'a'..=b'z').cycle().skip(usize::try_from(value % 26).unwrap_or(0));
    bytes.extend(letters.take(usize::try_from(value % FILLER_MAX).unwrap_or(0)));
    bytes
}

/// The value in these bytes, if all of them are as they should be.
pub(crate) fn value_in(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|byte| *byte == b':')?;
    let value = std::str::from_utf8(bytes.get(..end)?).ok()?.parse().ok()?;
    (bytes_of(value) == bytes).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_value_counts() {
        for value in [1, 25, 198, 199, 1 << 40, u64::MAX] {
            let mut bytes = bytes_of(value);
            assert_eq!(value_in(&bytes), Some(value));
            for at in 0..bytes.len() {
                bytes[at] ^= 1;
                assert_ne!(value_in(&bytes), Some(value), "byte {at}");
                bytes[at] ^= 1;
            }
            bytes.push(b'a');
            assert_eq!(value_in(&bytes), None);
        }
    }
}
