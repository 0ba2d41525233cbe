//! Holding back what is copied of some replicas, to so many bytes a second (KIP-73).

use jocko_types::Now;

/// What may be copied in one go after a rest, in seconds of the rate.
const SAVED_SECONDS: u64 = 1;

/// A rate that copying keeps to on average: an account that fills by the rate, up to a second's
/// worth, and may be overdrawn by what is under way.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: u64,
    /// Bytes that may be copied, below zero while more was.
    account: i64,
    filled: Now,
    /// Nanoseconds worth less than a byte, times the rate.
    rest: u128,
}

impl Throttle {
    /// A rate that holds from now on, with the account full.
    #[must_use]
    pub fn new(bytes_per_second: u64, now: Now) -> Self {
        let mut throttle = Self { bytes_per_second, account: 0, filled: now, rest: 0 };
        throttle.account = throttle.account_max();
        throttle
    }

    /// The rate.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Another rate from now on. What was overdrawn stays so.
    pub fn set(&mut self, bytes_per_second: u64, now: Now) {
        self.fill(now);
        self.bytes_per_second = bytes_per_second;
        self.account = self.account.min(self.account_max());
    }

    /// How many bytes may be copied now; zero once the rate is used up.
    pub fn allowance(&mut self, now: Now) -> usize {
        self.fill(now);
        usize::try_from(self.account).unwrap_or(0)
    }

    /// Takes note of what was copied.
    pub fn record(&mut self, bytes: usize, now: Now) {
        self.fill(now);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.account = self.account.saturating_sub(bytes);
    }

    fn account_max(&self) -> i64 {
        i64::try_from(self.bytes_per_second.saturating_mul(SAVED_SECONDS)).unwrap_or(i64::MAX)
    }

    fn fill(&mut self, now: Now) {
        const NANOS: u128 = 1_000_000_000;
        let passed = now.since(self.filled).as_nanos();
        let earned = passed
            .saturating_mul(u128::from(self.bytes_per_second))
            .saturating_add(std::mem::take(&mut self.rest));
        self.rest = earned % NANOS;
        let bytes = i64::try_from(earned / NANOS).unwrap_or(i64::MAX);
        self.account = self.account.saturating_add(bytes).min(self.account_max());
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Now {
        Now::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_copied_keeps_to_the_rate_on_average() {
        let mut throttle = Throttle::new(1_000, at(0));
        assert_eq!(throttle.allowance(at(0)), 1_000);
        throttle.record(1_500, at(0));
        assert_eq!(throttle.allowance(at(500)), 0, "what was overdrawn comes first");
        assert_eq!(throttle.allowance(at(510)), 10);
        assert_eq!(throttle.allowance(at(400)), 10, "time does not go back");
        assert_eq!(throttle.allowance(at(9_000)), 1_000, "a second is saved at most");
        let mut copied = 0_usize;
        for step in 0..10_000 {
            let now = at(9_000 + step);
            if throttle.allowance(now) > 0 {
                throttle.record(300, now);
                copied += 300;
            }
        }
        assert!((10_000..=11_300).contains(&copied), "{copied} in ten seconds");
    }

    #[test]
    fn slow_rates_add_up_and_another_rate_holds_at_once() {
        let mut throttle = Throttle::new(3, at(0));
        throttle.record(3, at(0));
        for millis in 0..1_000 {
            let _ = throttle.allowance(at(millis));
        }
        assert_eq!(throttle.allowance(at(1_000)), 3, "fractions are not lost");
        throttle.set(1, at(1_000));
        assert_eq!(throttle.allowance(at(1_000)), 1);
        throttle.set(0, at(1_000));
        assert_eq!((throttle.allowance(at(99_000)), throttle.bytes_per_second()), (0, 0));
        throttle.set(u64::MAX, at(99_000));
        assert!(throttle.allowance(at(200_000)) > 1 << 40);
    }
}
