//! How a member comes to its target: give back, come to the epoch, take what is free.
//!
//! ```text
//!            target moved, something to give back            given back
//!   STABLE ---------------------------------> UNREVOKED -------------------+
//!     |  ^                                                                 |
//!     |  | all there      target moved, nothing to give back               v
//!     |  +-------------------------------------------------------- next assignment
//!     |                                                                ^   |
//!     +--- target moved -----------------------------------------------+   | some not free yet
//!                                                                      |   v
//!                                                                UNRELEASED
//! ```
//!
//! While it gives back a member stays at its epoch, and may commit offsets at it. What others
//! still have it gets when they have given it up, at one of its next heartbeats.

use super::draft::Refusal;
use super::{GroupState, Member};
use crate::record::consumer::{Assignment, CurrentAssignment, Holdings, MemberState};
use jocko_types::{ErrorCode, PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// Partitions, as a request lists them.
pub(super) type Listed = [(TopicId, Vec<PartitionIndex>)];

/// What decides over a member's next step.
pub(super) struct Reconciliation<'a> {
    pub(super) group: &'a GroupState,
    pub(super) member: &'a Member,
    /// Whether the member wants the topic, and it exists.
    pub(super) wants: &'a dyn Fn(TopicId) -> bool,
    /// Whether what the member wants has changed with this heartbeat.
    pub(super) wishes_changed: bool,
    /// What the member says it has; `None` if it says nothing.
    pub(super) owned: Option<&'a Listed>,
}

impl Reconciliation<'_> {
    /// What the member has from now on; `None` if that is what it had.
    ///
    /// # Errors
    /// FENCED_MEMBER_EPOCH if the member is in a state that we do not know.
    pub(super) fn next(&self) -> Result<Option<CurrentAssignment>, Refusal> {
        let current = &*self.member.current;
        let target_epoch = self.group.target_epoch;
        if !self.wishes_changed && self.member.is_reconciled_to(target_epoch) {
            return Ok(None);
        }
        let next = match current.state {
            MemberState::Stable if current.member_epoch == target_epoch => self.strip(),
            MemberState::UnrevokedPartitions if self.has_any_of(&current.revoking) => {
                if self.wishes_changed { self.strip() } else { None }
            }
            MemberState::Stable
            | MemberState::UnrevokedPartitions
            | MemberState::UnreleasedPartitions => Some(self.assign(current.member_epoch)),
            MemberState::Unknown(_) => {
                if self.owned.is_none_or(|owned| !owned.is_empty()) {
                    return Err(Refusal::new(
                        ErrorCode::FencedMemberEpoch,
                        "The consumer group member is in a unknown state. \
                         The member must abandon all its partitions and rejoin.",
                    ));
                }
                Some(self.assign(target_epoch))
            }
        };
        Ok(next.filter(|next| next != current))
    }

    /// Takes topics away that the member does not want any more, and nothing else.
    fn strip(&self) -> Option<CurrentAssignment> {
        let mut next = (*self.member.current).clone();
        let unwanted: Vec<TopicId> =
            next.assigned.keys().copied().filter(|&id| !(self.wants)(id)).collect();
        if unwanted.is_empty() {
            return None;
        }
        let mut revoking = next.revoking.clone();
        for id in unwanted {
            let partitions = next.assigned.remove(&id).unwrap_or_default();
            revoking.entry(id).or_default().extend(partitions);
        }
        next.previous_member_epoch = next.member_epoch;
        if self.has_any_of(&revoking) {
            next.state = MemberState::UnrevokedPartitions;
            next.revoking = revoking;
        }
        Some(next)
    }

    /// The step towards the target, from `member_epoch`.
    fn assign(&self, member_epoch: i32) -> CurrentAssignment {
        let nothing = Assignment::new();
        let target = self.group.target(&self.member.id).map_or(&nothing, |target| target);
        let (kept, revoking) = self.split(target);
        if self.has_any_of(&revoking) {
            return CurrentAssignment {
                member_epoch,
                previous_member_epoch: self.member.current.member_epoch,
                state: MemberState::UnrevokedPartitions,
                assigned: kept,
                revoking,
            };
        }
        let target_epoch = self.group.target_epoch;
        let mut assigned = kept;
        let mut waits = false;
        for (&id, partitions) in target.iter().filter(|(id, _)| (self.wants)(**id)) {
            let missing: Vec<PartitionIndex> = {
                let kept = assigned.get(&id);
                let missing = |p: &&PartitionIndex| kept.is_none_or(|kept| !kept.contains_key(*p));
                partitions.iter().filter(missing).copied().collect()
            };
            for partition in missing {
                // What it gives back in this very step is its own to take again.
                let owner = self.group.owner(id, partition);
                if owner.is_none_or(|owner| *owner == self.member.id) {
                    assigned.entry(id).or_default().insert(partition, target_epoch);
                } else {
                    waits = true;
                }
            }
        }
        CurrentAssignment {
            member_epoch: target_epoch,
            previous_member_epoch: self.member.current.member_epoch,
            state: if waits { MemberState::UnreleasedPartitions } else { MemberState::Stable },
            assigned,
            revoking: Holdings::new(),
        }
    }

    /// What the member may keep, and what it must give back.
    fn split(&self, target: &Assignment) -> (Holdings, Holdings) {
        let mut kept = Holdings::new();
        let mut revoking = Holdings::new();
        let none = BTreeSet::new();
        for (&id, partitions) in &self.member.current.assigned {
            let target = target.get(&id).filter(|_| (self.wants)(id)).unwrap_or(&none);
            let (keep, give): (BTreeMap<_, _>, BTreeMap<_, _>) = partitions
                .iter()
                .map(|(&p, &epoch)| (p, epoch))
                .partition(|(p, _)| target.contains(p));
            if !keep.is_empty() {
                kept.insert(id, keep);
            }
            if !give.is_empty() {
                revoking.insert(id, give);
            }
        }
        (kept, revoking)
    }

    /// Whether the member has, or may have, any of these still.
    fn has_any_of(&self, partitions: &Holdings) -> bool {
        if partitions.is_empty() {
            return false;
        }
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|(id, listed)| {
            partitions.get(id).is_some_and(|held| listed.iter().any(|p| held.contains_key(p)))
        })
    }
}
