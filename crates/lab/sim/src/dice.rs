//! All randomness of a run, from its seed.

use jocko_metadata::Randomness;

/// The dice of one run.
#[derive(Debug)]
pub(crate) struct Dice(Randomness);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Randomness::from_seed([seed, 0x5eed, 0x0dd, 0x1ce]))
    }

    /// A number below `bound`, 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.next_u64() % bound }
    }

    /// A number from `low` to `high`, both among it.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Whether something that happens so many times in a thousand does.
    pub(crate) fn per_mille(&mut self, times: u64) -> bool {
        self.below(1_000) < times
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(from.len() as u64);
        usize::try_from(at).ok().and_then(|at| from.get(at)).copied()
    }

    pub(crate) fn bytes(&mut self) -> [u8; 16] {
        let number = (u128::from(self.0.next_u64()) << 64) | u128::from(self.0.next_u64());
        number.to_be_bytes()
    }

    pub(crate) fn seed(&mut self) -> [u64; 4] {
        std::array::from_fn(|_| self.0.next_u64())
    }
}
