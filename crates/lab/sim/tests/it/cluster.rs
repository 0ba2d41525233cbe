//! Whole clusters: in peace, under trouble, and the same again.

use jocko_sim::cluster::{Coverage, Wish, run};

/// Seeds of the ordinary test. `cargo xtask sim --seeds N` plays more.
const SEEDS: u64 = 12;

#[test]
fn a_cluster_forms_and_serves_in_virtual_time() {
    let report = run(1, Wish { peace: true, ..Wish::default() });
    assert_eq!(report.violation, None);
    assert!(report.coverage.acknowledged > 50, "{report:?}");
    assert!(report.coverage.read > 50, "{report:?}");
}

#[test]
fn clusters_keep_their_promises_and_much_happens() {
    let mut all = Coverage::default();
    for seed in 0..SEEDS {
        let report = run(seed, Wish::default());
        assert_eq!(report.violation, None, "seed {seed}");
        all.add(&report.coverage);
    }
    for (name, count) in all.counters() {
        assert!(count > 0 || name == "deaths", "{name} never happened");
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
