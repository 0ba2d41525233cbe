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

/// Raft of a broker whose disk failed while it registered had ended, and it asked for the controller
/// again and again without a pause.
#[test]
fn a_start_whose_raft_has_ended_does_not_spin() {
    play(319..320);
    play(549..550);
}

/// What it has of the log is from before it was let in.
#[test]
fn a_newcomer_that_was_killed_in_its_first_catching_up_comes_back() {
    play(1739..1740);
    play(2413..2414);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 4] {
        let (one, other) = (run(seed, Wish::default()), run(seed, Wish::default()));
        assert_eq!((one.trace, one.messages), (other.trace, other.messages), "seed {seed}");
        assert_ne!(one.trace, run(seed + 1, Wish::default()).trace);
    }
}
