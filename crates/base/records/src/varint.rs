//! Zigzag varints of the record encoding, read from a shrinking slice and written to a vector.
//!
//! Kept private and small: this is the innermost loop of every walk. Like Kafka's reader, the
//! last possible byte may carry bits that do not fit (they are dropped), but may not ask for more.

/// The most bytes a 32-bit varint takes.
pub(crate) const VARINT_BYTES_MAX: usize = 5;
/// The most bytes a 64-bit varint takes.
pub(crate) const VARLONG_BYTES_MAX: usize = 10;

/// Reads a zigzag 32-bit varint off the front of `bytes`; `None` if it is cut short or too long.
#[inline(always)]
pub(crate) fn read_varint(bytes: &mut &[u8]) -> Option<i32> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(unzigzag_32(u32::from(first)));
    }
    read_varint_long(bytes)
}

fn read_varint_long(bytes: &mut &[u8]) -> Option<i32> {
    let mut raw = 0_u32;
    for (count, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        raw |= u32::from(byte & 0x7f) << (7 * count);
        if byte < 0x80 {
            *bytes = bytes.get(count + 1..)?;
            return Some(unzigzag_32(raw));
        }
    }
    None
}

/// Reads a zigzag 64-bit varint off the front of `bytes`; `None` if it is cut short or too long.
#[inline(always)]
pub(crate) fn read_varlong(bytes: &mut &[u8]) -> Option<i64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(unzigzag_64(u64::from(first)));
    }
    read_varlong_long(bytes)
}

fn read_varlong_long(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw = 0_u64;
    for (count, &byte) in bytes.iter().take(VARLONG_BYTES_MAX).enumerate() {
        raw |= u64::from(byte & 0x7f) << (7 * count);
        if byte < 0x80 {
            *bytes = bytes.get(count + 1..)?;
            return Some(unzigzag_64(raw));
        }
    }
    None
}

const fn unzigzag_32(raw: u32) -> i32 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

const fn unzigzag_64(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

/// Appends `value` as a zigzag varint. A 32-bit value is written the same way.
pub(crate) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    while raw >= 0x80 {
        out.push(low_seven(raw) | 0x80);
        raw >>= 7;
    }
    out.push(low_seven(raw));
}

/// How many bytes [`write_varlong`] takes for `value`.
pub(crate) fn varlong_bytes(value: i64) -> usize {
    let raw = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    let bits = 64 - (raw | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).expect("at most ten")
}

const fn low_seven(raw: u64) -> u8 {
    let [low, ..] = raw.to_le_bytes();
    low & 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_bytes() {
        for (value, bytes) in [
            (0, &[0_u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (300, &[0xd8, 4]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            assert_eq!(read_varint(&mut &bytes[..]), Some(value), "{bytes:?}");
            let mut out = Vec::new();
            write_varlong(&mut out, i64::from(value));
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn cut_short_or_too_long_is_nothing() {
        assert_eq!(read_varint(&mut &[][..]), None);
        assert_eq!(read_varint(&mut &[0x80][..]), None);
        assert_eq!(read_varint(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]), None);
        assert_eq!(read_varlong(&mut &[0x80; 11][..]), None);
        assert_eq!(read_varlong(&mut &[0xff; 9][..]), None);
    }

    proptest! {
        #[test]
        fn round_trip(value in any::<i64>(), narrow in any::<i32>(), shift in 0..64_u32) {
            for wide in [value >> shift, i64::from(narrow)] {
                let mut out = Vec::new();
                write_varlong(&mut out, wide);
                prop_assert_eq!(out.len(), varlong_bytes(wide));
                let mut rest = &out[..];
                prop_assert_eq!(read_varlong(&mut rest), Some(wide));
                prop_assert!(rest.is_empty());
                if let Ok(narrow) = i32::try_from(wide) {
                    prop_assert_eq!(read_varint(&mut &out[..]), Some(narrow));
                }
            }
        }
    }
}
