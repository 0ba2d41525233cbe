//! Whole clusters: in peace, under trouble, and the same again.

use jocko_sim::cluster::{Coverage, Wish, run};
use std::ops::Range;

/// Seeds of the ordinary tests. `cargo xtask sim --seeds N` plays more.
const SEEDS: u64 = 24;

/// Plays seeds, each of which must keep all promises.
fn play(seeds: Range<u64>) -> Coverage {
    let mut all = Coverage::default();
    for seed in seeds {
        let report = run(seed, Wish::default());
        assert_eq!(report.violation, None, "seed {seed}");
        all.add(&report.coverage);
    }
    all
}

#[test]
fn a_cluster_forms_and_serves_in_virtual_time() {
    let report = run(1, Wish { peace: true, ..Wish::default() });
    assert_eq!(report.violation, None);
    assert!(report.coverage.acknowledged > 20, "{report:?}");
    assert!(report.coverage.read > 20, "{report:?}");
}

#[test]
fn clusters_keep_their_promises_and_much_happens() {
    // Two threads, which share nothing.
    let others = std::thread::spawn(|| play(SEEDS / 2..SEEDS));
    let mut all = play(0..SEEDS / 2);
    all.add(&others.join().expect("no seed breaks a promise"));
    for (name, count) in all.counters() {
        assert!(count > 0 || name == "deaths", "{name} never happened");
    }
}

/// By now they are other runs: a seed is what the clients and the trouble of a run make of it.
#[test]
fn seeds_that_once_broke_a_promise_keep_it() {
    for seed in [319, 549, 790, 1739, 2413] {
        play(seed..seed + 1);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 4] {
        let (one, other) = (run(seed, Wish::default()), run(seed, Wish::default()));
        assert_eq!((one.trace, one.messages), (other.trace, other.messages), "seed {seed}");
        assert_ne!(one.trace, run(seed + 1, Wish::default()).trace);
    }
}
