//! Who votes: 1, 3 or 5 of the members, kept so by the Raft leader with one change at a time. Pure:
//! the edge looks at the group, asks [`plan`] and does what it says.

use jocko_types::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a voter may be silent before a learner takes its place: longer than restarts take.
pub(crate) const GRACE: Duration = Duration::from_secs(60);
/// The same for one that no broker is registered for: its broker came back with another disk, and
/// what it was does not.
pub(crate) const GRACE_OF_NOBODY: Duration = Duration::from_secs(3);
/// The most voters: more only make each vote slower.
const VOTERS_MAX: usize = 5;

/// A member of the Raft group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberView {
    /// Whether it votes.
    pub(crate) votes: bool,
    /// Whether its log is as long as the leader's, or nearly, and it answers.
    pub(crate) has_caught_up: bool,
    /// How long it has not answered; zero for the leader.
    pub(crate) silent: Duration,
    /// Whether a broker is registered with this node's directory.
    pub(crate) is_registered: bool,
    /// Where it stands; empty if unknown.
    pub(crate) rack: String,
    /// Whether a person took its vote: it gets none by itself, unless one that is dead cannot be
    /// replaced otherwise.
    pub(crate) stays_out: bool,
}

/// What to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// These shall vote; former voters stay as learners.
    Voters(BTreeSet<Uuid>),
    /// This one is no member any more: no broker has its directory.
    Dismiss(Uuid),
}

/// The next change that helps, if any. `unfinished` is the set that shall vote where a change of the
/// voters was left between its two steps.
pub(crate) fn plan(
    leader: Uuid,
    members: &BTreeMap<Uuid, MemberView>,
    unfinished: Option<&BTreeSet<Uuid>>,
) -> Option<Change> {
    // As long as it is, a majority of the old set is needed, too: among it may be the dead one that
    // was to be replaced. Nothing else may begin before.
    if let Some(voters) = unfinished {
        return Some(Change::Voters(voters.clone()));
    }
    let voters: BTreeSet<Uuid> =
        members.iter().filter(|(_, member)| member.votes).map(|(node, _)| *node).collect();
    let able = |member: &MemberView| !member.votes && member.has_caught_up && member.is_registered;
    let fit = |member: &MemberView| able(member) && !member.stays_out;
    let is_gone = |node: &Uuid| {
        let is_silent = |member: &MemberView| {
            member.silent >= if member.is_registered { GRACE } else { GRACE_OF_NOBODY }
        };
        *node != leader && members.get(node).is_none_or(is_silent)
    };
    // A dead voter first: until it is replaced, the next failure may stop the cluster.
    if let Some(gone) = voters.iter().find(|node| is_gone(node)) {
        let mut rest = voters.clone();
        rest.remove(gone);
        if let Some(next) = best(members, &rest, fit).or_else(|| best(members, &rest, able)) {
            rest.insert(next);
            return Some(Change::Voters(rest));
        }
    }
    let usable = members.values().filter(|member| member.votes || fit(member)).count();
    let target = match usable.min(VOTERS_MAX) {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    };
    if voters.len() < target {
        let mut more = voters.clone();
        while more.len() < target
            && let Some(next) = best(members, &more, fit)
        {
            more.insert(next);
        }
        // An even number would bear no more failures than one less.
        if more.len() == target {
            return Some(Change::Voters(more));
        }
    }
    let is_stranger =
        |member: &MemberView| !member.votes && !member.is_registered && member.silent >= GRACE;
    members.iter().find(|(_, member)| is_stranger(member)).map(|(node, _)| Change::Dismiss(*node))
}

/// The member to take in beside `chosen`: from the rack that has the fewest of them.
fn best(
    members: &BTreeMap<Uuid, MemberView>,
    chosen: &BTreeSet<Uuid>,
    fit: impl Fn(&MemberView) -> bool,
) -> Option<Uuid> {
    let crowd = |rack: &str| {
        let of_rack = |node: &&Uuid| members.get(node).is_some_and(|it| it.rack == rack);
        chosen.iter().filter(of_rack).count()
    };
    members
        .iter()
        .filter(|(node, member)| !chosen.contains(node) && fit(member))
        .min_by_key(|(node, member)| (crowd(&member.rack), **node))
        .map(|(node, _)| *node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> Uuid {
        Uuid::from_bytes([byte; 16])
    }

    /// Letters: `V` votes, `v` votes and is silent, `u` votes and has been silent for a moment, `w`
    /// the same and nobody is registered for it, `W` so and not silent, `L` a learner that has
    /// caught up, `O` one of those that stays out, `l` one that has not caught up, `x` a learner nobody is registered for and that is silent.
    /// What follows a letter is the rack.
    fn members(text: &str) -> BTreeMap<Uuid, MemberView> {
        let mut number = 0;
        text.split_whitespace()
            .map(|word| {
                number += 1;
                let (kind, rack) = word.split_at(1);
                let silent = match kind {
                    "v" | "x" => GRACE,
                    "u" | "w" => GRACE_OF_NOBODY,
                    _ => Duration::ZERO,
                };
                let member = MemberView {
                    votes: matches!(kind, "V" | "v" | "u" | "w" | "W"),
                    has_caught_up: matches!(kind, "V" | "L" | "W" | "O"),
                    silent,
                    is_registered: !matches!(kind, "x" | "w" | "W"),
                    rack: rack.to_owned(),
                    stays_out: kind == "O",
                };
                (id(number), member)
            })
            .collect()
    }

    #[test]
    fn one_three_or_five_vote_from_as_many_racks_as_there_are() {
        let voters = |numbers: &[u8]| {
            Some(Change::Voters(numbers.iter().map(|number| id(*number)).collect()))
        };
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
}
