//! Values that say who wrote them and whether they are whole: everything in a value follows from
//! its id, so a reader needs no memory of what was sent.

use std::fmt;

/// The identity of one record: which producer wrote it, to which partition, as its how-manieth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

impl Id {
    /// What a producer may number in one partition.
    const NUMBER_BITS: u32 = 40;
    const PARTITION_BITS: u32 = 12;

    /// The id of record `number` (below 2^40) of `producer` (below 2^12) in the partition that the
    /// test numbers `partition` (below 2^12).
    #[must_use]
    pub fn new(producer: u16, partition: u16, number: u64) -> Self {
        assert!(producer < 1 << 12 && partition < 1 << 12 && number < 1 << Self::NUMBER_BITS);
        let place = (u64::from(producer) << Self::PARTITION_BITS) | u64::from(partition);
        Self((place << Self::NUMBER_BITS) | number)
    }

    /// Which producer wrote it.
    #[must_use]
    pub const fn producer(self) -> u64 {
        self.0 >> (Self::NUMBER_BITS + Self::PARTITION_BITS)
    }

    /// Which partition it was written to.
    #[must_use]
    pub const fn partition(self) -> u64 {
        (self.0 >> Self::NUMBER_BITS) & ((1 << Self::PARTITION_BITS) - 1)
    }

    /// The id `count` records later, by the same producer in the same partition.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0 & ((1 << Self::NUMBER_BITS) - 1);
        write!(f, "producer {} partition {} number {number}", self.producer(), self.partition())
    }
}

/// Writes the value of record `id` into `out`, which is cleared first: the id, then up to 256
/// bytes that follow from it and compress to about half.
pub fn payload(id: Id, out: &mut Vec<u8>) {
    out.clear();
    out.extend(id.0.to_be_bytes());
    let mut state = mix(id.0);
    let words = state % 33;
    for _ in 0..words {
        state = mix(state);
        out.extend((state & 0x0f0f_0f0f_0f0f_0f0f).to_be_bytes());
    }
}

/// The id in a value; `None` if any byte is not what [`payload`] writes for that id.
#[must_use]
pub fn id_of(value: &[u8]) -> Option<Id> {
    let (first, rest) = value.split_first_chunk::<8>()?;
    let id = Id(u64::from_be_bytes(*first));
    let mut state = mix(id.0);
    let (words, tail) = rest.as_chunks::<8>();
    if !tail.is_empty() || u64::try_from(words.len()) != Ok(state % 33) {
        return None;
    }
    for word in words {
        state = mix(state);
        if u64::from_be_bytes(*word) != state & 0x0f0f_0f0f_0f0f_0f0f {
            return None;
        }
    }
    Some(id)
}

/// Sebastiano Vigna's SplitMix64 step: neighbouring ids give unrelated values.
const fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_its_id_and_shows_every_change() {
        for number in 0..100 {
            let id = Id::new(7, 9, number);
            let mut value = Vec::new();
            payload(id, &mut value);
            assert_eq!(id_of(&value), Some(id));
            assert_eq!((id.producer(), id.partition()), (7, 9));
            for at in 8..value.len() {
                value[at] ^= 1;
                assert_eq!(id_of(&value), None, "byte {at}");
                value[at] ^= 1;
            }
            value.push(0);
            assert_eq!(id_of(&value), None, "one byte more");
        }
    }
}
