//! What members want: names, regular expressions, and what these mean in the cluster as it is now.

use super::draft::{Draft, Refusal};
use super::{GroupState, Member, hash};
use crate::record::consumer::{ConsumerRecord, GroupEpoch, MemberMetadata, ResolvedRegex};
use crate::regex::TopicPattern;
use jocko_types::ErrorCode;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The least time between two looks of one group for what its regular expressions mean, so that a
/// burst of new topics makes one rebalance and not many (as in Kafka).
const REGEX_REFRESH_MIN: Duration = Duration::from_secs(10);

impl GroupState {
    /// The topics that a member wants, by name.
    pub(super) fn wishes_of<'s>(&'s self, metadata: &'s MemberMetadata) -> BTreeSet<&'s str> {
        let resolved = self.regexes.get(metadata.subscribed_regex.as_str());
        let by_regex = resolved.iter().flat_map(|resolved| &resolved.topics);
        metadata.subscribed_topics.iter().chain(by_regex).map(String::as_str).collect()
    }

    /// The topics that anybody wants, by name.
    pub(super) fn wishes(&self) -> BTreeSet<&str> {
        let by_regex = self.regexes.values().flat_map(|resolved| &resolved.topics);
        let by_name = self.members.values().flat_map(|m| &m.metadata.subscribed_topics);
        by_name.chain(by_regex).map(String::as_str).collect()
    }

    /// Whether anybody wants the topic.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members.values().any(|m| m.metadata.subscribed_topics.contains(topic))
            || self.regexes.values().any(|resolved| resolved.topics.contains(topic))
    }

    pub(super) fn subscribes_to_regex(&self, regex: &str) -> bool {
        self.members.values().any(|m| m.metadata.subscribed_regex == regex)
    }
}

impl Draft<'_> {
    /// Takes the regular expressions along after a member's metadata has changed from `before`:
    /// a new one is looked up at once, one that nobody wants any more is forgotten. Tells whether
    /// the member wants another one than before.
    ///
    /// # Errors
    /// If the new one is not a regular expression, or too expensive a one.
    pub(super) fn follow_regex(&mut self, before: &str, member: &Member) -> Result<bool, Refusal> {
        let now = member.metadata.subscribed_regex.as_str();
        if before == now {
            return Ok(false);
        }
        self.forget_regex(before);
        if !now.is_empty() && !self.state.regexes.contains_key(now) {
            let pattern = TopicPattern::compile(now).map_err(|reason| {
                Refusal::new(
                    ErrorCode::InvalidRegularExpression,
                    format!(
                        "SubscribedTopicRegex `{now}` is not a valid regular expression: {reason}."
                    ),
                )
            })?;
            self.resolve(&now.into(), &pattern);
        }
        Ok(true)
    }

    /// Forgets a regular expression if nobody wants it any more.
    pub(super) fn forget_regex(&mut self, regex: &str) {
        if self.state.regexes.contains_key(regex) && !self.state.subscribes_to_regex(regex) {
            self.emit(ConsumerRecord::Regex {
                group_id: Arc::clone(&self.group_id),
                regex: regex.into(),
                value: None,
            });
        }
    }

    /// Looks all regular expressions up again if the cluster has changed since, or it is long
    /// ago. Tells whether any of them means other topics now.
    pub(super) fn refresh_regexes(&mut self) -> bool {
        if self.state.regexes.is_empty() {
            return false;
        }
        let index = self.cx.topics.index();
        let age = self.seen.regexes_at.map(|at| self.cx.now.since(at));
        let due = match age {
            None => true,
            Some(age) if age < REGEX_REFRESH_MIN => false,
            Some(age) => {
                self.seen.regexes != Some(index)
                    || age >= self.cx.policy.consumer.regex_refresh_interval
            }
        };
        if !due {
            return false;
        }
        self.seen.regexes = Some(index);
        self.seen.regexes_at = Some(self.cx.now);
        let regexes: Vec<Arc<str>> = self.state.regexes.keys().map(Arc::clone).collect();
        let mut changed = false;
        for regex in regexes {
            // One that only Kafka understands keeps the topics that Kafka found.
            if let Ok(pattern) = TopicPattern::compile(&regex) {
                changed |= self.resolve(&regex, &pattern);
            }
        }
        changed
    }

    /// Looks a regular expression up; tells whether it means other topics than before.
    fn resolve(&mut self, regex: &Arc<str>, pattern: &TopicPattern) -> bool {
        let topics: BTreeSet<String> = self
            .cx
            .topics
            .names()
            .filter(|name| pattern.matches(name))
            .map(str::to_owned)
            .collect();
        if self.state.regexes.get(regex).is_some_and(|before| before.topics == topics) {
            return false;
        }
        let version = i64::try_from(self.cx.topics.index()).unwrap_or(i64::MAX);
        let value = ResolvedRegex { topics, version, resolved_at: self.cx.wall };
        self.emit(ConsumerRecord::Regex {
            group_id: Arc::clone(&self.group_id),
            regex: Arc::clone(regex),
            value: Some(Arc::new(value)),
        });
        true
    }

    /// Brings the group to its next epoch if `must`, or if the subscribed topics do not look any
    /// more as they did at the last. Tells whether it did.
    pub(super) fn advance(&mut self, must: bool) -> bool {
        let index = self.cx.topics.index();
        if !must && self.seen.topics == Some(index) {
            return false;
        }
        self.seen.topics = Some(index);
        let metadata_hash = hash::of_topics(self.state.wishes(), self.cx.topics);
        let advances = must || metadata_hash != self.state.metadata_hash;
        if advances {
            let epoch = self.state.epoch.saturating_add(1);
            self.emit(ConsumerRecord::Group {
                group_id: Arc::clone(&self.group_id),
                value: Some(GroupEpoch { epoch, metadata_hash }),
            });
        }
        if self.state.partition_metadata_stands {
            self.emit(ConsumerRecord::PartitionMetadata {
                group_id: Arc::clone(&self.group_id),
                stands: false,
            });
        }
        advances
    }
}
