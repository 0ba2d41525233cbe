//! Where a group stands in each partition it has committed in: in records, and in time.

use crate::command::now;
use crate::failure::Result;
use jocko_client::{Client, ClientError, Committed, DescribedGroup, Position};
use jocko_types::Offset;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A partition, as a group stands in it.
pub(super) struct Standing {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The next record the group has not read; `None` where it has committed nothing.
    pub(super) committed: Option<Offset>,
    /// Where the partition ends; `None` where it is gone.
    pub(super) end: Option<Offset>,
    /// How old the first record is that the group has not read.
    pub(super) behind: Option<Duration>,
}

impl Standing {
    /// How many records the group has not read; compaction may have left fewer.
    pub(super) fn lag(&self) -> Option<i64> {
        Some(self.committed?.distance_to(self.end?).max(0))
    }
}

/// A group's standings, and how fast its lag grows.
pub(super) struct Picture {
    pub(super) group: DescribedGroup,
    pub(super) standings: Vec<Standing>,
    /// Records a second by which the lag grows; below zero while the group catches up.
    pub(super) trend: Option<f64>,
}

impl Picture {
    /// The lag of all partitions together.
    pub(super) fn lag(&self) -> i64 {
        self.standings.iter().filter_map(Standing::lag).sum()
    }

    /// The largest lag in time.
    pub(super) fn behind(&self) -> Option<Duration> {
        self.standings.iter().filter_map(|standing| standing.behind).max()
    }
}

/// Looks at groups twice, `sample` apart, for the trend; once if that is nothing.
pub(super) async fn pictures(
    client: &mut Client,
    groups: Vec<DescribedGroup>,
    sample: Duration,
) -> Result<Vec<Picture>> {
    let mut before = Vec::with_capacity(groups.len());
    if !sample.is_zero() {
        for group in &groups {
            before.push((Instant::now(), records_behind(client, group).await?));
        }
        tokio::time::sleep(sample).await;
    }
    let mut pictures = Vec::with_capacity(groups.len());
    for (at, group) in groups.into_iter().enumerate() {
        let standings = standings(client, &group).await?;
        let mut picture = Picture { group, standings, trend: None };
        if let Some((then, lag)) = before.get(at) {
            let seconds = then.elapsed().as_secs_f64();
            // Far from where a float would lose a record.
            picture.trend = Some((picture.lag() - lag) as f64 / seconds);
        }
        pictures.push(picture);
    }
    Ok(pictures)
}

async fn records_behind(client: &mut Client, group: &DescribedGroup) -> Result<i64> {
    Ok(in_records(client, group).await?.iter().filter_map(Standing::lag).sum())
}

/// Where a group stands in every partition it has committed in or is assigned.
async fn standings(client: &mut Client, group: &DescribedGroup) -> Result<Vec<Standing>> {
    let mut standings = in_records(client, group).await?;
    let now = now();
    for standing in &mut standings {
        let Some(committed) = standing.committed else { continue };
        match standing.lag() {
            Some(0) => standing.behind = Some(Duration::ZERO),
            Some(_) => standing.behind = age(client, standing, committed, now).await,
            None => {}
        }
    }
    Ok(standings)
}

/// How old the first record is that was not read. A partition that cannot be read just now leaves
/// the rest worth showing.
async fn age(
    client: &mut Client,
    standing: &Standing,
    committed: Offset,
    now: jocko_types::Timestamp,
) -> Option<Duration> {
    let (topic, partition) = (&standing.topic, standing.partition);
    let written = match client.timestamp_at(topic, partition, committed).await {
        // What was not read is gone: the oldest record there is, is younger.
        Err(ClientError::Refused { .. }) => {
            let start = client.offset(topic, partition, Position::Start).await.ok()?;
            client.timestamp_at(topic, partition, start).await
        }
        outcome => outcome,
    };
    let age = now.as_millis().saturating_sub(written.ok()??.as_millis());
    Some(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
}

async fn in_records(client: &mut Client, group: &DescribedGroup) -> Result<Vec<Standing>> {
    let mut topics: BTreeMap<String, BTreeMap<i32, Option<Offset>>> = BTreeMap::new();
    for member in &group.members {
        for (topic, partitions) in &member.assignment {
            let known = topics.entry(topic.clone()).or_default();
            known.extend(partitions.iter().map(|partition| (*partition, None)));
        }
    }
    for Committed { topic, partition, offset } in client.committed(&group.group).await? {
        topics.entry(topic).or_default().insert(partition, Some(offset));
    }
    let mut standings = Vec::new();
    for (topic, partitions) in topics {
        let wanted: Vec<i32> = partitions.keys().copied().collect();
        let ends = match client.offsets(&topic, &wanted, Position::End).await {
            Ok(ends) => ends.into_iter().map(Some).collect(),
            // Offsets outlive a topic for a moment.
            Err(ClientError::NoSuchTopic(_) | ClientError::NoSuchPartition { .. }) => {
                vec![None; wanted.len()]
            }
            Err(error) => return Err(error.into()),
        };
        for ((partition, committed), end) in partitions.into_iter().zip(ends) {
            let topic = topic.clone();
            standings.push(Standing { topic, partition, committed, end, behind: None });
        }
    }
    Ok(standings)
}
