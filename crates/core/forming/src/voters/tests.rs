use super::*;

fn id(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

/// Letters: `V` votes, `v` votes and is silent, `F` votes and is fenced, `u` votes and has been
/// silent for a moment, `w` the same and nobody is registered for it, `W` so and not silent, `z` so
/// and silent for long, `L` a learner that has caught up, `O` one of those that stays out, `l` one
/// that has not caught up, `x` a learner nobody is registered for and that is silent; `D` votes and is
/// drained, `d` the same and has stopped, `E` a learner that is drained. What follows a letter is the
/// rack.
fn members(text: &str) -> BTreeMap<Uuid, MemberView> {
    let mut number = 0;
    text.split_whitespace()
        .map(|word| {
            number += 1;
            let (kind, rack) = word.split_at(1);
            let silent = match kind {
                "v" | "x" | "z" => GRACE,
                "u" | "w" => GRACE_OF_NOBODY,
                _ => Duration::ZERO,
            };
            let member = MemberView {
                votes: matches!(kind, "V" | "v" | "F" | "u" | "w" | "W" | "z" | "D" | "d"),
                has_caught_up: matches!(kind, "V" | "L" | "W" | "O" | "D" | "E"),
                silent,
                is_registered: !matches!(kind, "x" | "w" | "W" | "z"),
                is_live: matches!(kind, "V" | "L" | "l" | "O" | "D" | "E"),
                rack: rack.to_owned(),
                stays_out: kind == "O",
                is_drained: matches!(kind, "D" | "d" | "E"),
            };
            (id(number), member)
        })
        .collect()
}

#[test]
fn one_three_or_five_vote_from_as_many_racks_as_there_are() {
    let voters =
        |numbers: &[u8]| Some(Change::Voters(numbers.iter().map(|number| id(*number)).collect()));
    for (text, expect) in [
        ("V", None),
        ("V L", None),
        ("V L l", None),
        ("V L L", voters(&[1, 2, 3])),
        ("V V V L", None),
        ("V V V L L", voters(&[1, 2, 3, 4, 5])),
        ("V V V V V L L", None),
        ("Va La Lb Lc", voters(&[1, 3, 4])),
        ("Va La La", voters(&[1, 2, 3])),
        // A dead voter is replaced once somebody can; never merely removed.
        ("V V v", None),
        ("V V v l", None),
        ("V V v L", voters(&[1, 2, 4])),
        ("V v v L L", voters(&[1, 3, 4])),
        ("Va Vb vc La Lc", voters(&[1, 2, 5])),
        // Its disk was wiped: who has taken its number takes its place.
        ("V V w L", voters(&[1, 2, 4])),
        ("V V w l", None),
        ("V V u L", None),
        ("V V W L", None),
        // What a person took out stays out, as long as nobody is missing.
        ("V V O", None),
        ("V V O L", voters(&[1, 2, 4])),
        ("V O O", None),
        ("V V v O L", voters(&[1, 2, 5])),
        ("V V v O", voters(&[1, 2, 4])),
        ("V V V x", Some(Change::Dismiss(id(4)))),
        ("v V V", None),
    ] {
        assert_eq!(plan(id(1), &members(text), None), expect, "{text}");
    }
}

/// Brokers that are removed take their votes with them, and those that are left vote as so many do:
/// the second of two voters would stop the cluster with its end.
#[test]
fn fewer_brokers_have_fewer_voters() {
    let voters =
        |numbers: &[u8]| Some(Change::Voters(numbers.iter().map(|number| id(*number)).collect()));
    for (text, expect) in [
        ("V V", voters(&[1])),
        ("V V x", voters(&[1])),
        ("V V V V", voters(&[1, 2, 3])),
        ("V V V V x", voters(&[1, 2, 3])),
        // Whoever is there stays; then those on as many racks as there are.
        ("V F V V", voters(&[1, 3, 4])),
        ("V u V V", voters(&[1, 3, 4])),
        ("V v V V", voters(&[1, 3, 4])),
        ("Va Vb Vb Vc", voters(&[1, 2, 4])),
        // A vote that nobody took by hand, of a broker that was removed all the same.
        ("V V z", voters(&[1])),
        ("V V V z", voters(&[1, 2, 3])),
        ("V V V V z", voters(&[1, 2, 3])),
        // A restart takes no vote, however long, and neither does a founder that is late.
        ("V V v", None),
        ("V v v", None),
        ("V F F", None),
        ("V V V v v", None),
        ("V W W", None),
        ("V V w", None),
        // Nor is what a person took out counted as gone.
        ("V V O", None),
    ] {
        assert_eq!(plan(id(1), &members(text), None), expect, "{text}");
    }
    let led_by_the_last = plan(id(2), &members("V V"), None);
    assert_eq!(led_by_the_last, voters(&[2]));
}

/// Whoever is to go gives its vote to one that stays. Where there is none it votes while it is there,
/// since fewer voters would bear fewer failures; once it has stopped, its vote does not count any more.
#[test]
fn a_drained_broker_gives_its_vote_away() {
    let voters =
        |numbers: &[u8]| Some(Change::Voters(numbers.iter().map(|number| id(*number)).collect()));
    for (text, expect) in [
        ("V V D", None),
        ("V V D l", None),
        ("V V D E", None),
        ("V V D L", voters(&[1, 2, 4])),
        ("Va Vb Dc Lb Lc", voters(&[1, 2, 5])),
        ("V V V V D", None),
        ("V V E", None),
        ("V E L", None),
        // It has stopped.
        ("V V d", voters(&[1])),
        ("V V d L", voters(&[1, 2, 4])),
        ("V V V V d", voters(&[1, 2, 3])),
        ("V V V d d", voters(&[1, 2, 3])),
        ("V D d", voters(&[1])),
        // One that is there goes before one that stays.
        ("V D V d", voters(&[1, 3, 2])),
        ("V D V V", voters(&[1, 3, 4])),
        // Rather it than a dead one.
        ("V V v E", voters(&[1, 2, 4])),
    ] {
        assert_eq!(plan(id(1), &members(text), None), expect, "{text}");
    }
    let led_by_it = plan(id(1), &members("D V V L"), None);
    assert_eq!(led_by_it, None, "it hands over first");
}

/// What one rule gives the other does not take back: each plan that is carried out leads to none.
#[test]
fn the_rules_come_to_rest() {
    const KINDS: [&str; 11] = ["V", "v", "F", "u", "z", "L", "O", "l", "D", "d", "E"];
    for number in 0..KINDS.len().pow(5) {
        let letters = (0..5).map(|place| KINDS[number / KINDS.len().pow(place) % KINDS.len()]);
        let text = format!("V {}", letters.collect::<Vec<_>>().join(" "));
        let mut group = members(&text);
        let mut changes = 0;
        while let Some(change) = plan(id(1), &group, None) {
            match change {
                Change::Voters(voters) => {
                    assert!(voters.contains(&id(1)), "{text}: the leader stays");
                    for (node, member) in &mut group {
                        member.votes = voters.contains(node);
                    }
                }
                Change::Dismiss(node) => drop(group.remove(&node)),
            }
            changes += 1;
            assert!(changes <= 12, "{text}: no rest: {group:?}");
        }
    }
}

/// The union of both sets looks like too many voters, or like just enough.
#[test]
fn a_change_that_was_left_halfway_is_finished_before_all_else() {
    for (text, unfinished) in [
        ("V V v V", &[1, 2, 4][..]),
        ("V V V", &[1, 2, 3]),
        ("V V v L", &[1, 2]),
        ("V V V V V x", &[1, 2, 3, 4, 5]),
    ] {
        let unfinished: BTreeSet<Uuid> = unfinished.iter().copied().map(id).collect();
        let planned = plan(id(1), &members(text), Some(&unfinished));
        assert_eq!(planned, Some(Change::Voters(unfinished)), "{text}");
    }
}
