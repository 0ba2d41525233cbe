//! Who votes: 1, 3 or 5 of the members, kept so by the Raft leader with one change at a time. The
//! edge looks at the group, asks [`plan`] and does what it says.

use jocko_types::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a voter may be silent before a learner takes its place: longer than restarts take.
pub const GRACE: Duration = Duration::from_secs(60);
/// The same for one that no broker is registered for: its broker came back with another disk, and
/// what it was does not.
pub const GRACE_OF_NOBODY: Duration = Duration::from_secs(3);
/// A member that has not answered for so long may be gone.
const SILENT: Duration = Duration::from_secs(1);

/// A member of the Raft group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Whether it votes.
    pub votes: bool,
    /// Whether its log is as long as the leader's, or nearly, and it answers.
    pub has_caught_up: bool,
    /// How long it has not answered; zero for the leader.
    pub silent: Duration,
    /// Whether a broker is registered with this node's directory.
    pub is_registered: bool,
    /// Whether that broker is there and stays: neither fenced nor about to stop.
    pub is_live: bool,
    /// Where it stands; empty if unknown.
    pub rack: String,
    /// Whether a person took its vote: it gets none by itself, unless one that is dead cannot be
    /// replaced otherwise.
    pub stays_out: bool,
    /// Whether its broker is to go: it gets no vote, and gives the one it has away.
    pub is_drained: bool,
}

/// What to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These shall vote; former voters stay as learners.
    Voters(BTreeSet<Uuid>),
    /// This one is no member any more: no broker has its directory.
    Dismiss(Uuid),
}

/// The next change that helps, if any. `unfinished` is the set that shall vote where a change of the
/// voters was left between its two steps.
#[must_use]
pub fn plan(
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
    let fit = |member: &MemberView| able(member) && !member.stays_out && !member.is_drained;
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
    // One that is to go gives its vote to one that stays, if there is one; if not it keeps it as long
    // as it is there, as fewer votes would bear fewer failures.
    let leaves =
        |node: &&Uuid| **node != leader && members.get(*node).is_some_and(|it| it.is_drained);
    if let Some(leaver) = voters.iter().find(leaves) {
        let mut rest = voters.clone();
        rest.remove(leaver);
        if let Some(next) = best(members, &rest, fit) {
            rest.insert(next);
            return Some(Change::Voters(rest));
        }
    }
    if let Some(fewer) = fewer(leader, members, &voters) {
        return Some(Change::Voters(fewer));
    }
    let usable = members.values().filter(|member| member.votes || fit(member)).count();
    let target = wanted(usable);
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

/// How many vote where so many could. More than five only make each vote slower.
fn wanted(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    }
}

/// The voters that stay where there are more than the brokers bear: the next that is missed would
/// stop the cluster otherwise, as the second of two does. Whoever is registered counts, there or
/// not, so that no restart takes a vote, but for one that is to go: once it has stopped it is gone. A
/// voter that is not registered yet counts.
fn fewer(
    leader: Uuid,
    members: &BTreeMap<Uuid, MemberView>,
    voters: &BTreeSet<Uuid>,
) -> Option<BTreeSet<Uuid>> {
    let counts = |(node, member): &(&Uuid, &MemberView)| {
        let is_coming = member.votes && member.silent < GRACE;
        let has_left = member.is_drained && !member.is_live;
        (!has_left && (member.is_registered || is_coming)) || **node == leader
    };
    let target = wanted(members.iter().filter(counts).count());
    let mut left = voters.clone();
    while left.len() > target {
        let next = left.iter().filter(|node| **node != leader).max_by_key(|node| {
            let member = members.get(node);
            let crowd = |it: &MemberView| crowd(members, &left, &it.rack);
            (
                member.is_none_or(|it| !it.is_registered),
                member.is_none_or(|it| !it.is_live),
                member.is_some_and(|it| it.is_drained),
                member.map(|it| it.silent >= SILENT),
                member.map(crowd),
                **node,
            )
        });
        let next = next.copied()?;
        left.remove(&next);
    }
    (left.len() < voters.len()).then_some(left)
}

/// How many of the chosen stand in a rack.
fn crowd(members: &BTreeMap<Uuid, MemberView>, chosen: &BTreeSet<Uuid>, rack: &str) -> usize {
    let of_rack = |node: &&Uuid| members.get(node).is_some_and(|it| it.rack == rack);
    chosen.iter().filter(of_rack).count()
}

/// The member to take in beside `chosen`: from the rack that has the fewest of them.
fn best(
    members: &BTreeMap<Uuid, MemberView>,
    chosen: &BTreeSet<Uuid>,
    fit: impl Fn(&MemberView) -> bool,
) -> Option<Uuid> {
    members
        .iter()
        .filter(|(node, member)| !chosen.contains(node) && fit(member))
        .min_by_key(|(node, member)| (crowd(members, chosen, &member.rack), **node))
        .map(|(node, _)| *node)
}

#[cfg(test)]
mod tests;
