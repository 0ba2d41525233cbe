//! Commits: as many as go, or as many as a coordinator shall load again.

use crate::wire::{BY_NAME, commit, commit_until_taken, coordinator, quantile};
use crate::{REQUEST_MAX, Target};
use anyhow::{Result, ensure};
use jocko_protocol::error_code;
use jocko_protocol::rpc::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use jocko_types::ErrorCode;
use std::time::{Duration, Instant};

/// Connections that commit at the same time, each for a group of its own.
const CONNECTIONS: usize = 8;
const TOPIC: &str = "grouploads-commits";
/// Partitions in each commit of [`fill`].
const WIDE: i32 = 500;
const WIDE_TOPIC: &str = "grouploads-wide";
/// The group that [`fill`] fills.
const FILLED: &str = "filled";

/// Commits one partition over and over on each of some connections.
pub(crate) async fn run(target: &Target, span: Duration) -> Result<String> {
    target.topic(TOPIC, 1).await?;
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        let group = format!("committer-{number}");
        let mut connection = coordinator(target, &group).await?;
        commit_until_taken(&mut connection, &commit(&group, TOPIC, 1, 0)).await?;
        connections.push((group, connection));
    }
    let end = Instant::now() + span;
    let local = tokio::task::LocalSet::new();
    let mut tasks = Vec::new();
    for (group, mut connection) in connections {
        tasks.push(local.spawn_local(async move {
            let mut times = Vec::new();
            let mut offset = 0;
            while Instant::now() < end {
                offset += 1;
                let asked = Instant::now();
                commit_until_taken(&mut connection, &commit(&group, TOPIC, 1, offset)).await?;
                times.push(asked.elapsed());
            }
            anyhow::Ok(times)
        }));
    }
    let mut times = Vec::new();
    local
        .run_until(async {
            for task in tasks {
                times.extend(task.await??);
            }
            anyhow::Ok(())
        })
        .await?;
    let rate = times.len() as f64 / span.as_secs_f64();
    let count = times.len();
    Ok(format!(
        "commits {count} rate {rate:.0} p50_ms {:.3} p99_ms {:.3}",
        quantile(&mut times, 50),
        quantile(&mut times, 99)
    ))
}

/// Writes so many offset records for one group.
pub(crate) async fn fill(target: &Target, records: u64) -> Result<String> {
    target.topic(WIDE_TOPIC, WIDE).await?;
    let mut connection = coordinator(target, FILLED).await?;
    let commits = records.div_ceil(u64::try_from(WIDE)?);
    let begun = Instant::now();
    for number in 0..commits {
        let request = commit(FILLED, WIDE_TOPIC, WIDE, i64::try_from(number)?);
        commit_until_taken(&mut connection, &request).await?;
    }
    Ok(format!("filled {} took_ms {}", commits * u64::try_from(WIDE)?, begun.elapsed().as_millis()))
}

/// Waits until a group's coordinator has loaded and tells what it has.
pub(crate) async fn await_group(target: &Target, group: &str) -> Result<String> {
    let begun = Instant::now();
    let mut connection = coordinator(target, group).await?;
    loop {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.to_owned(),
                topics: None,
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = connection.call_at(&request, BY_NAME, REQUEST_MAX).await?;
        let response = answer.get()?;
        let found = response.groups.first();
        let error = error_code(found.map_or(-1, |group| group.error_code));
        if error == ErrorCode::None {
            let offsets = found.map_or(0, |group| {
                group.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>()
            });
            return Ok(format!("offsets {offsets} took_ms {}", begun.elapsed().as_millis()));
        }
        ensure!(begun.elapsed() < REQUEST_MAX, "the coordinator does not answer: {error}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
