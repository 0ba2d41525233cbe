//! Reproducible randomness: the caller brings a seed, the same seed draws the same.

use jocko_types::TopicId;

/// A stream of random numbers from a seed (xoshiro256++ by Blackman and Vigna, public domain).
/// Good for ids and for spreading load; not for secrets.
#[derive(Debug, Clone)]
pub struct Randomness {
    state: [u64; 4],
}

impl Randomness {
    /// The stream of a seed. Take the seed from the system's randomness in production.
    #[must_use]
    pub const fn from_seed(seed: [u64; 4]) -> Self {
        // An all-zero state would stay so for ever.
        let state = match seed {
            [0, 0, 0, 0] => [0x9e37_79b9_7f4a_7c15, 1, 2, 3],
            other => other,
        };
        Self { state }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.state = [a, b, c, d];
        result
    }

    /// A number below `bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        if bound == 0 {
            return 0;
        }
        // The bias is at most bound / 2^64, and nothing here is larger than a cluster.
        usize::try_from(self.next_u64() % bound).unwrap_or(0)
    }

    /// A topic id that Kafka allows and that no command line mistakes for a flag.
    pub fn topic_id(&mut self) -> TopicId {
        loop {
            let [a, b] = [self.next_u64(), self.next_u64()];
            let id = TopicId::from_random(((u128::from(a) << 64) | u128::from(b)).to_be_bytes());
            if !id.is_reserved() && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again() {
        let draw = |seed| {
            let mut random = Randomness::from_seed(seed);
            (0..8).map(|_| random.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw([1, 2, 3, 4]), draw([1, 2, 3, 4]));
        assert_ne!(draw([1, 2, 3, 4]), draw([1, 2, 3, 5]));
        assert_ne!(draw([0; 4]), vec![0; 8]);
    }

    #[test]
    fn topic_ids_are_legal() {
        let mut random = Randomness::from_seed([7; 4]);
        for _ in 0..1_000 {
            let id = random.topic_id();
            assert!(!id.is_reserved() && !id.to_string().starts_with('-'));
        }
    }

    #[test]
    fn below_stays_below() {
        let mut random = Randomness::from_seed([9; 4]);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        assert!((0..100).all(|_| random.below(7) < 7));
    }
}
