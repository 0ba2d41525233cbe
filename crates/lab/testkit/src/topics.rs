//! What became of topics: those whose creation was acknowledged exist with their ids, those whose
//! deletion was acknowledged do not. What was asked without an answer may be either way.

use jocko_types::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// A topic as metadata lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expectation {
    Exists {
        /// Unknown where the answer to the creation was lost.
        id: Option<TopicId>,
        partitions: usize,
    },
    Gone,
    Either,
}

/// The history of topics of many names.
#[derive(Debug, Default)]
pub struct TopicHistory {
    topics: BTreeMap<String, Expectation>,
    /// Every id ever given out, and to which name: none may come again.
    ids: BTreeMap<[u8; 16], String>,
    /// Names whose topic took a record.
    written: BTreeSet<String>,
    faults: Vec<String>,
    acknowledged: u64,
}

impl TopicHistory {
    /// A creation or deletion was asked for: until it is answered, the topic may be either way.
    pub fn asked(&mut self, name: &str) {
        self.topics.insert(name.to_owned(), Expectation::Either);
        self.written.remove(name);
    }

    /// A record in the topic's first partition was acknowledged.
    pub fn wrote(&mut self, name: &str) {
        self.written.insert(name.to_owned());
    }

    /// The topics whose first partition must hold a record.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        self.written.iter().map(String::as_str)
    }

    /// A creation was acknowledged; without an id if only by being told that it exists already.
    pub fn created(&mut self, name: &str, id: Option<TopicId>, partitions: usize) {
        self.acknowledged += 1;
        if let Some(id) = id
            && let Some(holder) = self.ids.insert(*id.as_bytes(), name.to_owned())
        {
            self.faults.push(format!("topic {name:?} got id {id}, which {holder:?} had before"));
        }
        self.topics.insert(name.to_owned(), Expectation::Exists { id, partitions });
    }

    /// A deletion was acknowledged.
    pub fn deleted(&mut self, name: &str) {
        self.acknowledged += 1;
        self.topics.insert(name.to_owned(), Expectation::Gone);
    }

    /// Creations and deletions that were acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// What is wrong with the topics that metadata lists; nothing if all is as promised.
    #[must_use]
    pub fn judge(&self, listed: &[ListedTopic]) -> Vec<String> {
        let mut faults = self.faults.clone();
        for (name, expectation) in &self.topics {
            let found = listed.iter().find(|topic| topic.name == *name);
            match (expectation, found) {
                (Expectation::Exists { .. }, None) => {
                    faults.push(format!("topic {name:?} was created and is not there"));
                }
                (Expectation::Exists { id, partitions }, Some(found)) => {
                    if id.is_some_and(|id| id != found.id) || found.partitions != *partitions {
                        faults.push(format!(
                            "topic {name:?} was created with id {id:?} and {partitions} partitions, \
                             it has {} and {}",
                            found.id, found.partitions,
                        ));
                    }
                }
                (Expectation::Gone, Some(found)) => {
                    faults.push(format!("topic {name:?} was deleted and is there as {}", found.id));
                }
                (Expectation::Gone, None) | (Expectation::Either, _) => {}
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> TopicId {
        TopicId::from_bytes([number; 16])
    }

    fn listed(name: &str, number: u8, partitions: usize) -> ListedTopic {
        ListedTopic { name: name.to_owned(), id: id(number), partitions }
    }

    fn check(topics: &[ListedTopic], expect: &[&str]) {
        let mut history = TopicHistory::default();
        history.asked("made");
        history.created("made", Some(id(1)), 2);
        history.asked("gone");
        history.created("gone", Some(id(2)), 1);
        history.asked("gone");
        history.deleted("gone");
        history.asked("unclear");
        let faults = history.judge(topics);
        assert_eq!(faults.len(), expect.len(), "{faults:?}");
        for (fault, expect) in faults.iter().zip(expect) {
            assert!(fault.contains(expect), "{fault}");
        }
    }

    #[test]
    fn promises_about_topics_are_kept_or_reported() {
        let made = listed("made", 1, 2);
        check(std::slice::from_ref(&made), &[]);
        check(&[made.clone(), listed("unclear", 9, 1)], &[]);
        check(&[], &["is not there"]);
        check(&[made.clone(), listed("gone", 2, 1)], &["was deleted"]);
        check(&[listed("made", 3, 2)], &["was created with id"]);
        check(&[listed("made", 1, 3)], &["was created with id"]);
    }

    #[test]
    fn a_record_is_of_the_topic_that_took_it() {
        let mut history = TopicHistory::default();
        history.created("a", Some(id(1)), 1);
        history.wrote("a");
        assert!(history.written().eq(["a"]));
        history.asked("a");
        assert_eq!(history.written().count(), 0);
    }

    #[test]
    fn an_id_given_twice_is_reported() {
        let mut history = TopicHistory::default();
        history.created("a", Some(id(1)), 1);
        history.deleted("a");
        history.created("a", Some(id(1)), 1);
        assert_eq!(history.judge(&[listed("a", 1, 1)]).len(), 1);
    }
}
