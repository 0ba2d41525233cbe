//! Where random numbers come from: the operating system, or a seed that makes a run repeatable.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// A source of random numbers; clones draw from the same one.
#[derive(Debug, Clone, Default)]
pub struct Chance(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Seeded(Arc<Mutex<u64>>),
}

impl Chance {
    /// The operating system's generator, fit for nonces. The only choice in production.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Numbers that follow from `seed`, for simulation: whoever knows the seed knows them all.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(seed))))
    }

    /// Thirty-two bytes that were never drawn before.
    pub(super) fn nonce(&self) -> io::Result<[u8; 32]> {
        let mut nonce = [0; 32];
        for part in nonce.chunks_exact_mut(8) {
            part.copy_from_slice(&self.draw()?.to_be_bytes());
        }
        Ok(nonce)
    }

    /// A number below `limit`, or 0 when there is none. Slightly uneven, which jitter forgives.
    pub(super) fn below(&self, limit: u64) -> u64 {
        // Without randomness there is no jitter; the handshake will say why.
        self.draw().unwrap_or_default().checked_rem(limit).unwrap_or_default()
    }

    fn draw(&self) -> io::Result<u64> {
        match &self.0 {
            Source::System => Ok(getrandom::u64()?),
            Source::Seeded(state) => {
                // SplitMix64.
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(split_mix(&mut state))
            }
        }
    }
}

/// The next number of a SplitMix64 stream.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        let two = |chance: Chance| [chance.nonce().unwrap(), chance.nonce().unwrap()];
        assert_eq!(two(Chance::seeded(7)), two(Chance::seeded(7)));
        assert_ne!(two(Chance::seeded(7)), two(Chance::seeded(8)));
        for chance in [Chance::seeded(7), Chance::system()] {
            let [one, other] = two(chance);
            assert_ne!(one, other);
        }
        assert_ne!(two(Chance::system()), two(Chance::system()));
        assert_eq!(Chance::system().below(0), 0);
        assert!((0..100).all(|_| Chance::system().below(10) < 10));
    }
}
