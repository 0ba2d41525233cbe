//! How good the ways between nodes are, and the dice that decide.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::AT_ONCE;
use crate::peers::split_mix;

/// How good a way from one node to another is. The default is perfect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkQuality {
    /// How long bytes take, drawn anew for each write.
    pub delay: Range<Duration>,
    /// Of ten thousand writes, so many are delayed by `stall` on top: packets were lost and sent
    /// again. What is written behind them waits, too.
    pub stalls_per_10k: u32,
    /// How long such a delay is.
    pub stall: Range<Duration>,
    /// Of ten thousand writes, so many break their connection.
    pub breaks_per_10k: u32,
    /// How many bytes pass in a second, per connection and direction; `None` for any number.
    pub bytes_per_second: Option<u64>,
}

/// What a write meets.
pub(super) enum Fate {
    /// It arrives after a time, and keeps the way busy for another.
    Arrives { delay: Duration, busy: Duration },
    /// Its connection breaks.
    Breaks,
}

/// The quality of all ways, and the dice.
#[derive(Debug, Default)]
pub(super) struct Weather {
    dice: u64,
    default: LinkQuality,
    between: BTreeMap<(IpAddr, IpAddr), LinkQuality>,
}

impl Weather {
    pub(super) fn seed(&mut self, seed: u64) {
        self.dice = seed;
    }

    pub(super) fn set_default(&mut self, quality: LinkQuality) {
        self.default = quality;
    }

    pub(super) fn set_between(&mut self, from: IpAddr, to: IpAddr, quality: LinkQuality) {
        self.between.insert((from, to), quality);
    }

    /// What a write of so many bytes meets.
    pub(super) fn draw(&mut self, from: IpAddr, to: IpAddr, bytes: usize) -> Fate {
        if from == to {
            return Fate::Arrives { delay: AT_ONCE, busy: AT_ONCE };
        }
        let Self { dice, default, between } = self;
        let quality = between.get(&(from, to)).unwrap_or(default);
        if happens(dice, quality.breaks_per_10k) {
            return Fate::Breaks;
        }
        let mut delay = within(dice, &quality.delay);
        if happens(dice, quality.stalls_per_10k) {
            delay += within(dice, &quality.stall);
        }
        let busy = quality.bytes_per_second.map_or(AT_ONCE, |rate| {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1))
        });
        Fate::Arrives { delay, busy }
    }

    /// How long something without bytes takes.
    pub(super) fn draw_delay(&mut self, from: IpAddr, to: IpAddr) -> Duration {
        if from == to {
            return AT_ONCE;
        }
        let Self { dice, default, between } = self;
        within(dice, &between.get(&(from, to)).unwrap_or(default).delay)
    }
}

fn happens(dice: &mut u64, per_10k: u32) -> bool {
    per_10k > 0 && split_mix(dice) % 10_000 < u64::from(per_10k)
}

fn within(dice: &mut u64, range: &Range<Duration>) -> Duration {
    let span = range.end.saturating_sub(range.start);
    match u64::try_from(span.as_nanos()).unwrap_or(u64::MAX) {
        0 => range.start,
        span => range.start + Duration::from_nanos(split_mix(dice) % span),
    }
}
