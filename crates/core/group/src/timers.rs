//! When each group must be looked at again.
//!
//! A group has one entry, which is never later than its next deadline, but may be earlier:
//! heartbeats move deadlines forward all the time, and need not touch the entry. A look at a group
//! whose entry has passed finds its true deadline, so an early entry costs one look a session.

use jocko_types::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// The groups, ordered by when they must be looked at.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Now, Arc<str>)>,
    due: BTreeMap<Arc<str>, Now>,
    /// The entry after which the next look begins.
    passed_over: Option<(Now, Arc<str>)>,
}

impl Timers {
    /// Sets a group's deadline, or takes it out of the queue.
    pub(crate) fn set(&mut self, group_id: &Arc<str>, deadline: Option<Now>) {
        let before = match deadline {
            Some(at) => self.due.insert(Arc::clone(group_id), at),
            None => self.due.remove(group_id),
        };
        if before == deadline {
            return;
        }
        if let Some(before) = before {
            let before = (before, Arc::clone(group_id));
            self.queue.remove(&before);
            if self.passed_over.as_ref() == Some(&before) {
                self.passed_over = None;
            }
        }
        if let Some(at) = deadline {
            self.queue.insert((at, Arc::clone(group_id)));
        }
    }

    /// Sees to it that a group is looked at by `deadline`.
    pub(crate) fn no_later(&mut self, group_id: &Arc<str>, deadline: Now) {
        if self.due.get(group_id).is_none_or(|due| *due > deadline) {
            self.set(group_id, Some(deadline));
        }
    }

    /// When a group will be looked at.
    pub(crate) fn due(&self, group_id: &str) -> Option<Now> {
        self.due.get(group_id).copied()
    }

    /// The first deadline.
    pub(crate) fn next(&self) -> Option<Now> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The groups whose deadline has passed, the most overdue first, save that those up to the one
    /// that was passed over are last.
    pub(crate) fn passed(&self, now: Now) -> impl Iterator<Item = &Arc<str>> {
        let (first, last) = match &self.passed_over {
            Some(entry) => {
                let after = (Bound::Excluded(entry), Bound::Unbounded);
                (self.queue.range(after), Some(self.queue.range(..=entry)))
            }
            None => (self.queue.range(..), None),
        };
        let is_due = move |(at, _): &&(Now, Arc<str>)| *at <= now;
        let last = last.into_iter().flatten();
        first.take_while(is_due).chain(last.take_while(is_due)).map(|(_, group_id)| group_id)
    }

    /// Others come before this group, and those that were due before it, from now on.
    pub(crate) fn pass_over(&mut self, group_id: &Arc<str>) {
        self.passed_over = self.due(group_id).map(|at| (at, Arc::clone(group_id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Now {
        Now::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn an_entry_moves_and_goes() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut timers = Timers::default();
        timers.set(&a, Some(at(5)));
        timers.set(&b, Some(at(3)));
        assert_eq!(timers.next(), Some(at(3)));
        timers.no_later(&b, at(9));
        assert_eq!(timers.next(), Some(at(3)), "later deadlines leave the entry");
        timers.no_later(&a, at(1));
        assert_eq!(timers.passed(at(3)).cloned().collect::<Vec<_>>(), [a.clone(), b.clone()]);
        timers.set(&a, None);
        timers.set(&b, Some(at(7)));
        assert_eq!(timers.next(), Some(at(7)));
        timers.set(&b, None);
        assert_eq!(timers.next(), None);
        assert!(timers.queue.is_empty() && timers.due.is_empty());
    }
    #[test]
    fn who_is_passed_over_comes_last_until_its_time_is_another() {
        let ids: Vec<Arc<str>> = ["a", "b", "c", "d"].into_iter().map(Arc::from).collect();
        let mut timers = Timers::default();
        for (second, id) in (1..).zip(&ids) {
            timers.set(id, Some(at(second)));
        }
        let passed = |timers: &Timers| timers.passed(at(3)).cloned().collect::<Vec<_>>().concat();
        timers.pass_over(&ids[0]);
        assert_eq!(passed(&timers), "bca", "d is not due");
        timers.pass_over(&ids[1]);
        assert_eq!(passed(&timers), "cab");
        timers.set(&ids[2], Some(at(9)));
        assert_eq!(passed(&timers), "ab");
        timers.set(&ids[2], Some(at(3)));
        timers.set(&ids[1], Some(at(2)));
        assert_eq!(passed(&timers), "cab", "nothing is new");
        timers.set(&ids[1], Some(at(1)));
        assert_eq!(passed(&timers), "abc");
    }
}
