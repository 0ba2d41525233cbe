//! When each group must be looked at again.
//!
//! A group has one entry, which is never later than its next deadline, but may be earlier:
//! heartbeats move deadlines forward all the time, and need not touch the entry. A look at a group
//! whose entry has passed finds its true deadline, so an early entry costs one look a session.

use jocko_types::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The groups, ordered by when they must be looked at.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Now, Arc<str>)>,
    due: BTreeMap<Arc<str>, Now>,
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
            self.queue.remove(&(before, Arc::clone(group_id)));
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

    /// The groups whose deadline has passed, the most overdue first.
    pub(crate) fn passed(&self, now: Now) -> impl Iterator<Item = &Arc<str>> {
        self.queue.iter().take_while(move |(at, _)| *at <= now).map(|(_, group_id)| group_id)
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
}
