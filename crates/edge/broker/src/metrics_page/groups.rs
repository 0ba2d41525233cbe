//! What metrics tell of groups: who is in them, and how far behind they are.
//!
//! How old the first unread record is would cost a read of the disk for each partition; instead each
//! scrape remembers where partitions ended, and the next ones know when that was.

use super::Text;
use crate::context::Context;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

/// Groups that get labels of their own; a broker with more tells only how many.
const GROUPS_MAX: usize = 1_000;
/// Ends that are remembered of one partition. When they are too many, every second one of the older
/// half goes: what is long ago need not be known to the second.
const ENDS_MAX: usize = 64;
/// A trend over less time is noise.
const TREND_MIN: Duration = Duration::from_secs(1);

/// A group that is coordinated here.
pub(super) struct GroupFacts {
    pub(super) group: String,
    state: &'static str,
    pub(super) members: usize,
    rebalances: i32,
    commits: u64,
    pub(super) standings: Vec<Standing>,
}

/// Where a group stands in a partition that this broker leads.
pub(super) struct Standing {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) committed: i64,
    pub(super) end: i64,
}

impl Standing {
    pub(super) fn lag(&self) -> i64 {
        self.end.saturating_sub(self.committed).max(0)
    }
}

/// The groups coordinated here, by name; too many are none.
pub(super) fn facts(context: &Context) -> (usize, Vec<GroupFacts>) {
    let published = context.published.load();
    let mut all = Vec::new();
    let mut count = 0;
    for shard in context.groups.all() {
        // Only numbers are taken under the coordinator's lock.
        let found = shard.look(|coordinator, commits| {
            count += coordinator.groups().count();
            if count > GROUPS_MAX {
                return Vec::new();
            }
            let fact = |gauge: jocko_group::GroupGauge<'_>| GroupFacts {
                group: gauge.group_id.to_owned(),
                state: gauge.state,
                members: gauge.members,
                rebalances: gauge.rebalances,
                commits: commits.of(gauge.group_id),
                standings: coordinator
                    .committed(gauge.group_id)
                    .filter(|(topic, id, ..)| {
                        // Of an earlier topic of that name, nothing is left to lag behind.
                        let now = published.image.topic(topic).map(|topic| topic.id);
                        id.is_zero() || now.is_none_or(|now| now == *id)
                    })
                    .map(|(topic, _, partition, offset)| Standing {
                        topic: topic.to_owned(),
                        partition: partition.get(),
                        committed: offset.get(),
                        end: -1,
                    })
                    .collect(),
            };
            coordinator.groups().map(fact).collect()
        });
        all.extend(found.unwrap_or_default());
    }
    if count > GROUPS_MAX {
        return (count, Vec::new());
    }
    for group in &mut all {
        group.standings.retain_mut(|standing| {
            let hosted = published.by_name(&standing.topic, standing.partition).ok();
            let found = hosted.and_then(|hosted| hosted.partition.standing());
            standing.end = found.map_or(-1, |found| found.high_watermark.get());
            standing.end >= 0
        });
    }
    all.sort_by(|one, other| one.group.cmp(&other.group));
    (count, all)
}

/// What earlier scrapes saw.
#[derive(Default)]
pub(super) struct History {
    ends: BTreeMap<(String, i32), VecDeque<(Duration, i64)>>,
    lags: BTreeMap<String, (Duration, i64)>,
    trends: BTreeMap<String, f64>,
}

impl History {
    /// How long the group has left its first unread record; `None` before that can be known.
    fn behind(&mut self, now: Duration, standing: &Standing) -> Option<Duration> {
        let key = (standing.topic.clone(), standing.partition);
        let ends = self.ends.entry(key).or_default();
        let is_only = ends.len() < 2;
        match ends.back_mut() {
            // Of equal ends the last counts: what comes next is younger.
            Some((at, end)) if *end == standing.end && !is_only => *at = now,
            // The topic was made anew.
            Some((_, end)) if *end > standing.end => {
                ends.clear();
                ends.push_back((now, standing.end));
            }
            _ => ends.push_back((now, standing.end)),
        }
        if ends.len() > ENDS_MAX {
            thin_out(ends);
        }
        if standing.lag() == 0 {
            return Some(Duration::ZERO);
        }
        // The first unread record came after the last end that is not beyond it.
        let before = ends.iter().rev().find(|(_, end)| *end <= standing.committed);
        let since = before.or_else(|| ends.front().filter(|_| ends.len() > 1));
        since.map(|(at, _)| now.saturating_sub(*at))
    }

    /// Records a second by which the lag has grown since the last scrape.
    fn trend(&mut self, now: Duration, group: &str, lag: i64) -> Option<f64> {
        match self.lags.get(group) {
            Some((at, _)) if now.saturating_sub(*at) < TREND_MIN => {}
            Some((at, before)) => {
                let grown = lag.saturating_sub(*before) as f64;
                let trend = grown / now.saturating_sub(*at).as_secs_f64();
                self.trends.insert(group.to_owned(), trend);
                self.lags.insert(group.to_owned(), (now, lag));
            }
            None => _ = self.lags.insert(group.to_owned(), (now, lag)),
        }
        self.trends.get(group).copied()
    }

    /// Forgets what is no longer there.
    fn keep_only(&mut self, groups: &[GroupFacts]) {
        let names: BTreeSet<&str> = groups.iter().map(|group| group.group.as_str()).collect();
        self.lags.retain(|group, _| names.contains(group.as_str()));
        self.trends.retain(|group, _| names.contains(group.as_str()));
        let standings = groups.iter().flat_map(|group| &group.standings);
        let read: BTreeSet<(&str, i32)> =
            standings.map(|each| (each.topic.as_str(), each.partition)).collect();
        self.ends.retain(|(topic, partition), _| read.contains(&(topic.as_str(), *partition)));
    }
}

fn thin_out(ends: &mut VecDeque<(Duration, i64)>) {
    let half = ends.len() / 2;
    let mut at = 0;
    ends.retain(|_| {
        at += 1;
        at > half || at % 2 == 1
    });
}

/// One group's lag in one topic.
#[derive(Default)]
struct TopicLag {
    sum: i64,
    max: i64,
    behind: Option<Duration>,
}

pub(super) fn write(context: &Context, history: &mut History, text: &mut Text) -> fmt::Result {
    let now = context.clock.now().since_start();
    let (count, groups) = facts(context);
    text.gauge("groups", "Groups coordinated here.", count)?;
    history.keep_only(&groups);
    let mut lags: BTreeMap<(&str, &str), TopicLag> = BTreeMap::new();
    for group in &groups {
        for standing in &group.standings {
            let behind = history.behind(now, standing);
            let lag = lags.entry((&group.group, &standing.topic)).or_default();
            lag.sum += standing.lag();
            lag.max = lag.max.max(standing.lag());
            lag.behind = lag.behind.max(behind);
        }
    }
    text.family("group_members", "gauge", "Members of a group.")?;
    for each in &groups {
        text.sample("group_members", &[("group", &each.group)], each.members)?;
    }
    text.family("group_state", "gauge", "1 for the state that a group is in.")?;
    for each in &groups {
        text.sample("group_state", &[("group", &each.group), ("state", each.state)], 1)?;
    }
    text.family("group_commits", "counter", "Commits of offsets.")?;
    for each in &groups {
        text.sample("group_commits_total", &[("group", &each.group)], each.commits)?;
    }
    text.family("group_rebalances", "counter", "Generations, or epochs, of a group.")?;
    for each in &groups {
        text.sample("group_rebalances_total", &[("group", &each.group)], each.rebalances)?;
    }
    write_lags(text, &lags)?;
    let help = "Records a second by which a group's lag grows.";
    text.family("group_lag_trend_per_second", "gauge", help)?;
    for each in &groups {
        let lag = each.standings.iter().map(Standing::lag).sum();
        if let Some(trend) = history.trend(now, &each.group, lag) {
            text.sample("group_lag_trend_per_second", &[("group", &each.group)], trend)?;
        }
    }
    Ok(())
}

fn write_lags(text: &mut Text, lags: &BTreeMap<(&str, &str), TopicLag>) -> fmt::Result {
    text.family("group_lag_sum", "gauge", "Records of a topic that a group has not read.")?;
    for ((group, topic), lag) in lags {
        text.sample("group_lag_sum", &[("group", group), ("topic", topic)], lag.sum)?;
    }
    text.family("group_lag_max", "gauge", "The same, of the worst partition.")?;
    for ((group, topic), lag) in lags {
        text.sample("group_lag_max", &[("group", group), ("topic", topic)], lag.max)?;
    }
    let help = "How long a group has left the first record it has not read.";
    text.family("group_time_lag_seconds", "gauge", help)?;
    for ((group, topic), lag) in lags {
        if let Some(behind) = lag.behind {
            let labels = [("group", *group), ("topic", *topic)];
            text.sample("group_time_lag_seconds", &labels, behind.as_secs_f64())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ENDS_MAX, History, Standing};
    use std::time::Duration;

    /// Scrapes at these seconds with these ends; yields the lag in time at the last.
    fn behind(scrapes: &[(u64, i64)], committed: i64) -> Option<u64> {
        let mut history = History::default();
        let mut last = None;
        for (second, end) in scrapes {
            let standing = Standing { topic: "t".to_owned(), partition: 0, committed, end: *end };
            last = history.behind(Duration::from_secs(*second), &standing);
        }
        last.map(|behind| behind.as_secs())
    }

    #[test]
    fn lag_in_time_is_since_the_end_was_where_the_group_is() {
        assert_eq!(behind(&[(0, 10)], 10), Some(0), "nothing is unread");
        assert_eq!(behind(&[(0, 10)], 5), None, "nobody knows yet");
        assert_eq!(behind(&[(0, 10), (30, 20)], 10), Some(30));
        assert_eq!(behind(&[(0, 10), (15, 10), (20, 10), (30, 20)], 10), Some(10));
        assert_eq!(behind(&[(0, 10), (15, 20), (30, 30)], 25), Some(15));
        assert_eq!(behind(&[(0, 10), (15, 20)], 3), Some(15), "at least that");
        assert_eq!(behind(&[(0, 10), (15, 2), (30, 4)], 2), Some(15), "a topic made anew");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_goes_far_back() {
        let scrapes: Vec<(u64, i64)> =
            (0..1_000).map(|at| (at, i64::try_from(at).unwrap())).collect();
        let far = behind(&scrapes, 100).unwrap();
        assert!((899..=999).contains(&far), "{far}");
        let mut history = History::default();
        for (second, end) in scrapes {
            let standing = Standing { topic: "t".to_owned(), partition: 0, committed: 0, end };
            let _ = history.behind(Duration::from_secs(second), &standing);
        }
        assert!(history.ends.values().all(|ends| ends.len() <= ENDS_MAX));
    }

    #[test]
    fn the_trend_is_that_of_the_last_scrapes() {
        let mut history = History::default();
        let mut at = |second, lag| history.trend(Duration::from_millis(second), "g", lag);
        assert_eq!(at(0, 100), None);
        assert_eq!(at(10_000, 300), Some(20.0));
        assert_eq!(at(10_500, 900), Some(20.0), "too soon");
        assert_eq!(at(20_000, 200), Some(-10.0));
    }
}
