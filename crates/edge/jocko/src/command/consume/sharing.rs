//! `jocko consume -g GROUP`: reads a topic together with the other members of a group.

use super::member::{Changed, Member};
use super::{Plan, Printed, Reading, Troubles, WAIT, find, offsets, print, recover};
use crate::command::place::Place;
use crate::failure::{Failure, Result};
use crate::output::reader_has_gone;
use jocko_client::{Client, ClientError, Position};
use jocko_types::Offset;
use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What a member without partitions waits before it looks again.
const IDLE: Duration = Duration::from_millis(200);

/// Reads until the count is reached, everything there is has been read, the pipe closes, or a
/// signal comes; then commits and leaves.
pub(super) async fn run(client: &mut Client, plan: &Plan, group: &str) -> Result<()> {
    if plan.until.is_some() || !matches!(plan.from, Place::Start | Place::End | Place::At(_)) {
        return Err(Failure::usage("a group goes on where it left off")
            .cure("-o start, -o end or -o @TIME, for partitions the group has not read yet"));
    }
    let metadata = client.metadata(Some(&[&plan.topic]), false).await?;
    let topic = metadata.topics.iter().find(|it| it.name.as_deref() == Some(&plan.topic));
    let topic = topic.ok_or_else(|| ClientError::NoSuchTopic(plan.topic.clone()))?;
    let mut member = Member::new(group.to_owned(), plan.topic.clone(), topic.topic_id);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let outcome = {
        let reading = read(client, plan, &mut member);
        tokio::select! {
            outcome = reading => outcome,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    };
    // A failure to print is not worth less than one to leave.
    let left = member.leave(client).await;
    outcome.and(left)
}

async fn read(client: &mut Client, plan: &Plan, member: &mut Member) -> Result<()> {
    // No lock: what is printed when a signal comes must be out of the buffer by then.
    let mut out = BufWriter::new(std::io::stdout());
    let mut left = plan.count.unwrap_or(u64::MAX);
    let mut troubles = Troubles::default();
    let mut readings: Vec<Reading> = Vec::new();
    let mut had_partitions = false;
    while left > 0 && !reader_has_gone() {
        let changed = member.tend(client).await?;
        take(client, plan, member, &mut readings, changed).await?;
        had_partitions |= !readings.is_empty();
        let is_at_end = |each: &Reading| each.until.is_some_and(|until| each.next >= until);
        if had_partitions && plan.ends_at_end && readings.iter().all(is_at_end) {
            return Ok(());
        }
        let mut wanted: Vec<_> = readings.iter().filter(|each| !is_at_end(each)).collect();
        wanted.sort_by_key(|each| each.brought);
        let wanted: Vec<_> = wanted.iter().map(|each| (each.partition, each.next)).collect();
        if wanted.is_empty() {
            tokio::time::sleep(IDLE.min(member.time_left())).await;
            continue;
        }
        let wait = WAIT.min(member.time_left().max(Duration::from_millis(1)));
        let fetched = match client.fetch_all(&plan.topic, &wanted, wait).await {
            Ok(fetched) => fetched,
            Err(error) if error.is_retriable() => {
                troubles.tell(&error);
                tokio::time::sleep(super::RETRY_PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut is_well = true;
        let mut printed = BTreeSet::new();
        for (partition, outcome) in fetched {
            let Some(reading) = readings.iter_mut().find(|it| it.partition == partition) else {
                continue;
            };
            match outcome {
                Ok(fetched) => {
                    reading.brought = !fetched.records.is_empty();
                    match print(&mut out, plan, reading, &fetched.records, &mut left) {
                        Err(Printed::PipeClosed) => return Ok(()),
                        Err(Printed::Failed(failure)) => return Err(failure),
                        Ok(()) => _ = printed.insert((partition, reading.next)),
                    }
                }
                Err(error) => {
                    is_well = false;
                    recover(client, plan, reading, error, &mut troubles).await?;
                }
            }
        }
        // Committed is only what somebody can read.
        if out.flush().is_err() {
            return Ok(());
        }
        for (partition, next) in printed {
            member.printed(partition, next);
        }
        if is_well {
            troubles.0.clear();
        } else {
            tokio::time::sleep(super::RETRY_PAUSE).await;
        }
    }
    Ok(())
}

/// Follows what the member was given and has lost.
async fn take(
    client: &mut Client,
    plan: &Plan,
    member: &mut Member,
    readings: &mut Vec<Reading>,
    changed: Changed,
) -> Result<()> {
    readings.retain(|reading| !changed.removed.contains(&reading.partition));
    if changed.added.is_empty() {
        return Ok(());
    }
    let positions = member.positions(client, &changed.added).await?;
    let starts = offsets(client, plan, &changed.added, Position::Start).await?;
    let ends = offsets(client, plan, &changed.added, Position::End).await?;
    let first = find(client, plan, &changed.added, &ends, plan.from).await?;
    for (at, &partition) in changed.added.iter().enumerate() {
        let (start, end) = (starts[at], ends[at]);
        let next = match positions[at] {
            // What was committed may be gone by now; and a topic made anew may be shorter.
            Some(committed) => committed.max(start).min(end),
            None => {
                // The place itself is committed, or a member that ends would leave it open.
                member.printed(partition, first[at]);
                first[at]
            }
        };
        let until = plan.ends_at_end.then_some(end);
        readings.push(Reading { partition, next, not_before: Offset::ZERO, until, brought: false });
    }
    Ok(())
}
