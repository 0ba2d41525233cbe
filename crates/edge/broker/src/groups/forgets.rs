//! Topics whose offsets a coordinator has yet to forget: their end may come while it still loads,
//! or while its log takes no records.

use jocko_group::Command;
use jocko_types::TopicId;

/// Topics that are kept by name. When more wait, all that the coordinator has is looked through.
const TOPICS_MAX: usize = 1_000;

/// What is left to forget.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forgets {
    topics: Vec<(String, TopicId)>,
    /// Whether offsets of topics may be here whose end nobody told of.
    look_through: bool,
}

impl Forgets {
    /// Of a coordinator that loads: what ended before is in nobody's list.
    pub(super) const fn on_load() -> Self {
        Self { topics: Vec::new(), look_through: true }
    }

    /// These topics are gone.
    pub(super) fn add(&mut self, topics: &[(String, TopicId)]) {
        self.topics.extend_from_slice(topics);
        if self.topics.len() > TOPICS_MAX {
            self.topics = Vec::new();
            self.look_through = true;
        }
    }

    /// What the coordinator is to do next. May be told again: it forgets nothing twice.
    pub(super) fn next(&self) -> Option<Command> {
        if !self.topics.is_empty() {
            return Some(Command::ForgetTopics { topics: self.topics.clone() });
        }
        self.look_through.then_some(Command::ForgetGoneTopics)
    }

    /// That was done. Topics may have been added since.
    pub(super) fn done(&mut self, command: &Command) {
        match command {
            Command::ForgetTopics { topics } => self.topics.retain(|topic| !topics.contains(topic)),
            _ => self.look_through = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Forgets, TOPICS_MAX};
    use jocko_group::Command;
    use jocko_types::TopicId;

    fn topics(names: &[&str]) -> Vec<(String, TopicId)> {
        names.iter().map(|name| ((*name).to_owned(), TopicId::ZERO)).collect()
    }

    #[test]
    fn what_was_not_done_is_still_to_be_done() {
        let mut forgets = Forgets::on_load();
        forgets.add(&topics(&["a"]));
        let first = forgets.next().unwrap();
        assert_eq!(first, Command::ForgetTopics { topics: topics(&["a"]) });
        assert_eq!(forgets.next(), Some(first.clone()), "refused, it is told again");
        forgets.add(&topics(&["b"]));
        forgets.done(&first);
        let second = forgets.next().unwrap();
        assert_eq!(second, Command::ForgetTopics { topics: topics(&["b"]) }, "came meanwhile");
        forgets.done(&second);
        assert_eq!(forgets.next(), Some(Command::ForgetGoneTopics));
        forgets.done(&Command::ForgetGoneTopics);
        assert_eq!(forgets.next(), None);
    }

    #[test]
    fn too_many_topics_are_not_kept_by_name() {
        let mut forgets = Forgets::on_load();
        forgets.done(&Command::ForgetGoneTopics);
        for at in 0..=TOPICS_MAX {
            forgets.add(&topics(&[&at.to_string()]));
        }
        assert_eq!(forgets, Forgets::on_load());
    }
}
