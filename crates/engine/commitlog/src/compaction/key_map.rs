//! From keys to their newest offsets, in a fixed amount of memory: 16 bytes of a keyed hash and the
//! offset, as Kafka keeps it. Two keys with one hash would cost one of them its record; with 128
//! bits of a hash whose key nobody else knows that does not happen, by chance or by intent
//! (docs/decisions/0015-compaction.md).

use jocko_types::Offset;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// Bytes of a slot.
pub(crate) const SLOT_BYTES: usize = 24;
/// Slots there are at least: less memory would only mean more passes.
const SLOTS_MIN: usize = if cfg!(test) { 10 } else { 1024 };

/// A map that takes no more than it was given.
pub(crate) struct KeyMap {
    /// Two halves of the hash, and the offset plus one: all zero where nobody is.
    slots: Vec<[u64; 3]>,
    seed: [u64; 2],
    len: usize,
    len_max: usize,
}

impl KeyMap {
    /// A map of at most `bytes_max` bytes, smaller if `keys_max` keys need less.
    pub(crate) fn new(bytes_max: usize, keys_max: u64, seed: [u64; 2]) -> Self {
        let wanted = usize::try_from(keys_max.saturating_mul(5) / 4).unwrap_or(usize::MAX);
        let count = (bytes_max / SLOT_BYTES).min(wanted.saturating_add(2)).max(SLOTS_MIN);
        // A fifth stays empty, so that a search ends soon.
        Self { slots: vec![[0; 3]; count], seed, len: 0, len_max: count - count / 5 - 1 }
    }

    /// Keys in it.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Notes that the newest record of `key` is at `offset`; `false` if there is no room.
    #[must_use]
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        let has_room = self.len < self.len_max;
        let Some(slot) = self.slots.get_mut(at) else { return false };
        let is_new = slot[2] == 0;
        if is_new && !has_room {
            return false;
        }
        *slot = [hash[0], hash[1], offset.get().unsigned_abs().saturating_add(1)];
        self.len += usize::from(is_new);
        true
    }

    /// The newest offset of `key`, if it was noted.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots.get(self.find(self.hash(key)))?;
        let offset = i64::try_from(slot[2].checked_sub(1)?).ok()?;
        Some(Offset::new(offset))
    }

    /// The slot of this hash, or the empty one where it belongs.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        let mut at = usize::try_from(hash[0] % count as u64).unwrap_or(0);
        while let Some(slot) = self.slots.get(at) {
            if slot[2] == 0 || (slot[0] == hash[0] && slot[1] == hash[1]) {
                break;
            }
            at = (at + 1) % count;
        }
        at
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let mut hasher = SipHasher24::new_with_keys(self.seed[0], self.seed[1]);
        hasher.write(key);
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_hash_is_siphash_2_4_with_128_bits() {
        // The first vectors of the reference implementation: key 00..0f, inputs "" and 00.
        let seed = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let map = KeyMap::new(0, 0, seed);
        let check = |input: &[u8], expect: [u8; 16]| {
            let [h1, h2] = map.hash(input);
            let bytes = [h1.to_le_bytes(), h2.to_le_bytes()].concat();
            assert_eq!(bytes, expect);
        };
        check(
            &[],
            [
                0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
                0x02, 0x93,
            ],
        );
        check(
            &[0],
            [
                0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22,
                0xfc, 0x45,
            ],
        );
    }

    #[test]
    fn the_newest_offset_of_every_key_is_found() {
        let mut map = KeyMap::new(1 << 20, 5_000, [1, 2]);
        let mut expect = BTreeMap::new();
        for offset in 0..20_000_i64 {
            let key = (offset.wrapping_mul(2_654_435_761) % 5_000).to_string();
            assert!(map.put(key.as_bytes(), Offset::new(offset)));
            expect.insert(key, offset);
        }
        assert_eq!(map.len(), expect.len());
        for (key, offset) in expect {
            assert_eq!(map.get(key.as_bytes()), Some(Offset::new(offset)), "{key}");
        }
        assert_eq!(map.get(b"nobody"), None);
    }

    #[test]
    fn a_full_map_takes_known_keys_only() {
        let mut map = KeyMap::new(SLOTS_MIN * SLOT_BYTES, u64::MAX, [3, 4]);
        let mut taken = 0;
        while map.put(format!("k{taken}").as_bytes(), Offset::new(taken)) {
            taken += 1;
        }
        assert_eq!(taken, i64::try_from(SLOTS_MIN - SLOTS_MIN / 5 - 1).unwrap());
        assert!(map.put(b"k0", Offset::new(99_999)));
        assert_eq!(map.get(b"k0"), Some(Offset::new(99_999)));
        assert!(!map.put(b"k-new", Offset::new(1)));
    }

    #[test]
    fn memory_is_what_is_needed_and_never_more_than_given() {
        let slots = |bytes_max, keys| KeyMap::new(bytes_max, keys, [0, 0]).slots.len();
        assert_eq!(slots(32 << 20, 0), SLOTS_MIN);
        assert_eq!(slots(32 << 20, 8_000), 10_002);
        assert!((0..500).all(|keys| KeyMap::new(1 << 20, keys, [0, 0]).len_max as u64 >= keys));
        assert_eq!(slots(1 << 20, u64::MAX), (1 << 20) / SLOT_BYTES);
        assert_eq!(slots(0, u64::MAX), SLOTS_MIN);
    }
}
