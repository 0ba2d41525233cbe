//! What happens to a group by time alone.

use super::ClassicGroup;
use super::live::{Live, State};
use super::step::Step;
use crate::command::Decision;
use crate::context::DecideContext;
use jocko_types::Now;
use std::sync::Arc;

/// How often one look does what has become due.
const TURNS_MAX: usize = 4;

/// Something that is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A member has not been heard of.
    Session(Arc<str>),
    /// Somebody did not come back with the id they were given.
    Pending(Arc<str>),
    /// The time to join is over.
    Join,
    /// The time to sync is over.
    Sync,
}

/// Does what is due in a group, the most overdue first.
pub(crate) fn expire(
    cx: &DecideContext<'_>,
    group_id: &Arc<str>,
    group: &ClassicGroup,
    decision: &mut Decision,
) {
    if group.live.next_deadline().is_none_or(|at| at > cx.now) {
        return;
    }
    let mut step = Step::new(cx, Arc::clone(group_id), group.live.clone());
    // Every turn ends the deadlines that have passed; new ones lie ahead, save where timeouts are
    // zero: what those begin is left to the next look after a few turns.
    for _ in 0..TURNS_MAX {
        let due = step.live.all_due(cx.now);
        if due.is_empty() {
            break;
        }
        for (at, due) in due {
            // What came before may have ended this, or put it off.
            if step.live.is_due(at, &due) {
                step.expire(due);
            }
        }
    }
    step.finish(decision);
}

impl Live {
    fn all_due(&self, now: Now) -> Vec<(Now, Due)> {
        let sessions = self.members.iter().filter_map(|(member_id, member)| {
            member.session.map(|at| (at, Due::Session(Arc::clone(member_id))))
        });
        let pending =
            self.pending.iter().map(|(member_id, at)| (*at, Due::Pending(Arc::clone(member_id))));
        let join = self.join_deadline.map(|deadline| (deadline.at, Due::Join));
        let sync = self.sync_deadline.map(|at| (at, Due::Sync));
        let all = sessions.chain(pending).chain(join).chain(sync);
        let mut all: Vec<_> = all.filter(|(at, _)| *at <= now).collect();
        all.sort();
        all
    }

    /// Whether this is still due at that time.
    fn is_due(&self, at: Now, due: &Due) -> bool {
        let deadline = match due {
            Due::Session(member_id) => self.members.get(member_id).and_then(|m| m.session),
            Due::Pending(member_id) => self.pending.get(member_id).copied(),
            Due::Join => self.join_deadline.map(|deadline| deadline.at),
            Due::Sync => self.sync_deadline,
        };
        deadline == Some(at)
    }
}

impl Step<'_> {
    fn expire(&mut self, due: Due) {
        match due {
            Due::Session(member_id) => self.session_passed(&member_id),
            Due::Pending(member_id) => {
                self.live.pending.remove(&member_id);
                self.complete_if_all_joined();
            }
            Due::Join => self.join_deadline_passed(),
            Due::Sync => self.sync_deadline_passed(),
        }
    }

    fn session_passed(&mut self, member_id: &str) {
        let Some(member) = self.live.members.get_mut(member_id) else { return };
        let waits = member.join.is_some() || member.sync.is_some();
        if waits && !member.is_new {
            // Its waiting request is its sign of life; the session goes on when that is answered.
            member.session = None;
            return;
        }
        self.remove(member_id);
        match self.live.state {
            State::CompletingRebalance | State::Stable => self.rebalance_or_complete(),
            State::PreparingRebalance => self.complete_if_all_joined(),
            State::Empty => {}
        }
    }
}
