//! A wall clock that does not jump, for what is deleted by its age.

use super::clock::{Clock, ClockRef};
use jocko_types::{Now, Timestamp};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A wall clock that moves by more than this, against the monotonic one, has jumped.
const JUMP: Duration = Duration::from_secs(3600);
/// A wall clock that has jumped is believed once it has gone on evenly for so long: then somebody has
/// put it right, or the machine has slept.
const BELIEVED_AFTER: Duration = Duration::from_secs(3600);

/// Another clock, whose wall goes on at the monotonic one's pace where that has jumped by more than an
/// hour: forwards, it would make every record too old to keep; backwards, none. It is believed again
/// when it comes back, or after an hour.
#[derive(Debug)]
pub struct SteadyClock {
    clock: ClockRef,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the wall was last believed, and what it showed.
    believed: (Now, Timestamp),
    /// Since when it shows something else, and what it showed then.
    doubted: Option<(Now, Timestamp)>,
}

impl SteadyClock {
    /// Believes what the clock shows now.
    #[must_use]
    pub fn new(clock: ClockRef) -> Self {
        let believed = (clock.now(), clock.wall());
        Self { clock, state: Mutex::new(State { believed, doubted: None }) }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn wall(&self) -> Timestamp {
        let (now, shown) = (self.clock.now(), self.clock.wall());
        // Each field is whole whatever panicked.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = later(state.believed, now);
        if !is_jump(expected, shown) {
            if state.doubted.take().is_some() {
                tracing::info!("the wall clock is back where it was");
            }
            state.believed = (now, shown);
            return shown;
        }
        match state.doubted {
            Some(since) if !is_jump(later(since, now), shown) => {
                if now.since(since.0) < BELIEVED_AFTER {
                    return expected;
                }
                tracing::warn!(
                    "the wall clock has gone on evenly since it jumped, and is believed"
                );
                *state = State { believed: (now, shown), doubted: None };
                shown
            }
            _ => {
                tracing::warn!(
                    seconds = (shown.as_millis() - expected.as_millis()) / 1000,
                    wait = ?BELIEVED_AFTER,
                    "the wall clock has jumped: what is deleted by its age is judged by the time \
                     before, until it is back or has gone on evenly for a while"
                );
                state.doubted = Some((now, shown));
                expected
            }
        }
    }
}

/// What a wall showed, and the time since.
fn later((at, wall): (Now, Timestamp), now: Now) -> Timestamp {
    let elapsed = i64::try_from(now.since(at).as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(wall.as_millis().saturating_add(elapsed))
}

fn is_jump(expected: Timestamp, shown: Timestamp) -> bool {
    let apart = expected.as_millis().abs_diff(shown.as_millis());
    u128::from(apart) > JUMP.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Minutes since the start, and on the wall.
    #[derive(Debug, Default)]
    struct Hands(Mutex<(u64, i64)>);

    impl Clock for Hands {
        fn now(&self) -> Now {
            Now::from_start(Duration::from_secs(self.0.lock().unwrap().0 * 60))
        }

        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.lock().unwrap().1 * 60_000)
        }
    }

    /// What is read at these times, in minutes: (monotonic, wall, believed).
    fn check(name: &str, readings: &[(u64, i64, i64)]) {
        let hands = Arc::new(Hands::default());
        *hands.0.lock().unwrap() = (0, 1000);
        let clock = SteadyClock::new(Arc::clone(&hands) as ClockRef);
        for (now, wall, believed) in readings {
            *hands.0.lock().unwrap() = (*now, *wall);
            assert_eq!(clock.wall().as_millis() / 60_000, *believed, "{name}, at {now}");
        }
    }

    #[test]
    fn a_jump_is_believed_once_it_has_lasted() {
        const WEEK: i64 = 7 * 24 * 60;
        for (name, readings) in [
            ("even", vec![(1, 1001, 1001), (300, 1300, 1300)]),
            ("corrected a little", vec![(1, 1031, 1031), (2, 1001, 1001)]),
            ("drifting", vec![(100, 1150, 1150), (200, 1300, 1300)]),
            ("for a moment", vec![(1, 1001 + WEEK, 1001), (2, 1002 + WEEK, 1002), (3, 1003, 1003)]),
            ("backwards", vec![(1, 1001 - WEEK, 1001), (2, 1002, 1002)]),
            (
                "for good",
                vec![
                    (10, 1010 + WEEK, 1010),
                    (69, 1069 + WEEK, 1069),
                    (70, 1070 + WEEK, 1070 + WEEK),
                    (71, 1071 + WEEK, 1071 + WEEK),
                ],
            ),
            (
                "again and again",
                vec![
                    (10, 1010 + WEEK, 1010),
                    (60, 1060 + 2 * WEEK, 1060),
                    (80, 1080 + 2 * WEEK, 1080),
                    (120, 1120 + 2 * WEEK, 1120 + 2 * WEEK),
                ],
            ),
        ] {
            check(name, &readings);
        }
    }
}
