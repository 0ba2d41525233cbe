//! Random histories: chaos, then healing; and mistakes that must be caught.

use super::stage::{Mistakes, Seen, Stage};
use crate::machine::Planted;

fn run(seed: u64, mistakes: Mistakes) -> Stage {
    let mut stage = Stage::new(seed, mistakes);
    let events = 50 + stage.dice.below(400);
    stage.chaos(events);
    stage.heal();
    stage.check_one_cluster();
    stage
}

#[test]
fn no_history_makes_two_clusters_that_share_a_member_and_healing_makes_one() {
    let mut all = Seen::default();
    for seed in 0..600 {
        let stage = run(seed, Mistakes::default());
        assert!(stage.violation.is_none(), "seed {seed}: {}", stage.violation.unwrap());
        let seen = stage.seen;
        all.founded += seen.founded;
        all.abandoned += seen.abandoned;
        all.gave_way += seen.gave_way;
        all.refused += seen.refused;
        all.crashed += seen.crashed;
        all.wiped += seen.wiped;
        all.stuck += seen.stuck;
        all.one_cluster += seen.one_cluster;
    }
    // A run in which these do not happen shows nothing.
    assert!(all.founded > 500, "{all:?}");
    assert!(all.abandoned > 100 && all.gave_way > 10 && all.refused > 100, "{all:?}");
    assert!(all.crashed > 1_000 && all.wiped > 300 && all.stuck > 5, "{all:?}");
    assert!(all.one_cluster > 400, "{all:?}");
}

#[test]
fn a_seed_runs_the_same_again() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| run(seed, Mistakes::default()).trace);
        assert_eq!(one, other, "seed {seed}");
    }
    assert_ne!(run(1, Mistakes::default()).trace, run(2, Mistakes::default()).trace);
}

#[test]
fn planted_mistakes_are_caught() {
    let machine = Planted::default();
    let right = Mistakes::default();
    for (name, mistakes) in [
        ("pledge not durable", Mistakes { pledge_not_durable: true, ..right }),
        ("abandon not durable", Mistakes { abandon_not_durable: true, ..right }),
        ("pledge twice", Mistakes { machine: Planted { pledge_twice: true, ..machine }, ..right }),
        (
            "found before all have pledged",
            Mistakes { machine: Planted { found_early: true, ..machine }, ..right },
        ),
    ] {
        let caught = (0..3_000).find(|seed| {
            let violation = run(*seed, mistakes).violation;
            violation.is_some_and(|words| words.starts_with("F-"))
        });
        assert!(caught.is_some(), "{name}: not caught");
    }
}
