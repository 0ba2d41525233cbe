//! A few hundred seeds, the planted bugs, and that a seed is a run.

mod cluster;

use jocko_sim::rules::{Coverage, FLAWS, run};

/// Seeds of the ordinary test. `rules --seeds N` plays more.
const SEEDS: u64 = 200;

/// Seeds within which each planted bug must be noticed (DR30).
const FLAW_SEEDS: u64 = 100;

#[test]
fn the_rules_hold_and_much_happens() {
    let mut all = Coverage::default();
    for seed in 0..SEEDS {
        let report = run(seed, None);
        assert_eq!(report.violation, None, "seed {seed}");
        assert!(report.coverage.acknowledged >= 5, "seed {seed} is vacuous: {report:?}");
        all.add(&report.coverage);
    }
    // A run in which little happened proves little (DR29).
    for (name, count) in all.counters() {
        assert!(count >= SEEDS / 15, "{name} happened {count} times only");
    }
}

#[test]
fn every_planted_bug_is_noticed() {
    for (flaw, name) in FLAWS {
        let caught = (0..FLAW_SEEDS).find(|seed| run(*seed, Some(flaw)).violation.is_some());
        assert!(caught.is_some(), "{name} goes unnoticed");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 77] {
        let (one, other) = (run(seed, None), run(seed, None));
        assert_eq!((one.trace, one.events), (other.trace, other.events));
        assert_ne!(one.trace, run(seed + 1, None).trace);
    }
}
