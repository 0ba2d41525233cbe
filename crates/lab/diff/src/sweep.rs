//! Every scenario at every version against both brokers.

use crate::broker::Broker;
use crate::compare::compare;
use crate::declared::Declared;
use crate::report::Report;
use crate::run::{Run, Step};
use crate::scenario::Scenario;
use crate::scenarios;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Runs at the same time: most of a run is waiting for a broker.
const WORKERS: usize = 4;
/// Batches of a run are this much older than the run, in milliseconds: young enough for retention,
/// old enough to lie before any clock.
const AGE_MS: i64 = 600_000;

/// Which runs to make.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Three versions of each API instead of all, and a part of the longest series.
    pub smoke: bool,
    /// Only scenarios whose title contains this.
    pub filter: Option<String>,
}

/// Makes all the runs and compares them.
#[must_use]
pub fn sweep(kafka: &Broker, jocko: &Broker, declared: &Declared, options: &Options) -> Report {
    let filter = options.filter.as_deref().unwrap_or_default();
    let wanted = |scenario: &&Scenario| scenario.title().contains(filter);
    let all: Vec<&Scenario> = if kafka.is_alone() {
        scenarios::all().collect()
    } else {
        scenarios::of_several(kafka.away.is_some()).collect()
    };
    let runs: Vec<(&Scenario, i16)> = all
        .into_iter()
        .filter(wanted)
        .flat_map(|scenario| {
            scenario.runs(options.smoke).into_iter().map(move |version| (scenario, version))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX) - AGE_MS;
    let report = Mutex::new(Report::default());
    let (alone, together) = runs.into_iter().partition(|(scenario, _)| scenario.is_alone);
    let mut first = 0;
    for (runs, workers) in [(together, WORKERS), (alone, 1)] {
        let runs: Vec<(&Scenario, i16)> = runs;
        let made = Made {
            kafka,
            jocko,
            declared,
            runs: &runs,
            first,
            start_ms,
            is_smoke: options.smoke,
            report: &report,
        };
        made.all(workers);
        first += runs.len();
    }
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs to make at the same time.
struct Made<'a> {
    kafka: &'a Broker,
    jocko: &'a Broker,
    declared: &'a Declared,
    runs: &'a [(&'a Scenario, i16)],
    /// The number of the first: no two runs of a sweep have the same.
    first: usize,
    start_ms: i64,
    is_smoke: bool,
    report: &'a Mutex<Report>,
}

impl Made<'_> {
    fn all(&self, workers: usize) {
        let Self { kafka, jocko, declared, runs, first, start_ms, is_smoke, report } = *self;
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some((scenario, version)) = runs.get(at) else { break };
                        let (unique, began) = (first + at, Instant::now());
                        let play =
                            |broker| play(broker, scenario, *version, unique, start_ms, is_smoke);
                        // Both at once: what one broker does must not depend on the other.
                        let [theirs, ours] = std::thread::scope(|scope| {
                            let theirs = scope.spawn(|| play(kafka));
                            let ours = scope.spawn(|| play(jocko));
                            [theirs, ours]
                                .map(|played| played.join().unwrap_or_else(|_| Played::panicked()))
                        });
                        let differences =
                            compare(scenario.name, *version, &theirs.steps, &ours.steps);
                        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                        report.time(scenario, began.elapsed());
                        report.add(scenario, *version, &theirs.steps, differences, declared);
                        for (broker, failure) in [(kafka, theirs.failure), (jocko, ours.failure)] {
                            if let Some(failure) = failure {
                                report.fail(broker.name, scenario, *version, &failure);
                            }
                        }
                    }
                });
            }
        });
    }
}

/// What one broker made of a run.
struct Played {
    steps: Vec<Step>,
    /// Why the play ended early, if it did.
    failure: Option<String>,
}

impl Played {
    fn panicked() -> Self {
        Self { steps: Vec::new(), failure: Some("the scenario panicked".into()) }
    }
}

fn play(
    broker: &Broker,
    scenario: &Scenario,
    version: i16,
    unique: usize,
    start_ms: i64,
    is_smoke: bool,
) -> Played {
    let mut run = Run::new(broker, scenario, version, unique, start_ms).smoke(is_smoke);
    let failure = (scenario.play)(&mut run).err().map(|error| format!("{error:#}"));
    Played { steps: run.into_steps(), failure }
}
