//! Many partitions made durable at once: a round of the flusher, the end of a recovery, a stop.
//!
//! A device takes its time per sync, not per byte, so the files of all partitions share one round
//! of [`FlushPlan`], and their small files the next two (docs/decisions/0005-durable-pipeline.md).

use crate::partition::{Effects, Partition};
use jocko_commitlog::{FlushJob, LogFault};
use jocko_disk::{DiskFault, FlushPlan, FlushRound};
use std::path::Path;
use std::sync::Arc;

/// Small files written in one go: each takes a descriptor until it is renamed.
const STATE_FILES_MAX: usize = 1_024;
/// Partitions closed in one go: the snapshots of their producers are in memory meanwhile.
const CLOSING_MAX: usize = 1_024;

/// A partition that was not closed cleanly.
#[derive(Debug)]
pub struct Unclosed {
    /// Which.
    pub partition: Arc<Partition>,
    /// Why: the next start has to recover it.
    pub fault: LogFault,
}

/// One partition's part of a round.
struct Share<O> {
    owner: O,
    job: FlushJob,
    outcome: Result<(), DiskFault>,
}

impl<O> Share<O> {
    fn new(owner: O, job: FlushJob) -> Self {
        Self { owner, job, outcome: Ok(()) }
    }
}

/// Makes durable what was appended to `due` so far, and tells each partition. Blocks for as long
/// as the device takes.
///
/// `deliver` is called with what follows, to be carried out: once for the partitions without small
/// files to write, whose clients need not wait for those of others, and once for the rest.
pub fn flush_together(
    plan: &mut FlushPlan,
    due: impl IntoIterator<Item = Arc<Partition>>,
    mut deliver: impl FnMut(Effects),
) {
    let mut effects = Effects::default();
    let mut shares = Vec::new();
    for partition in due {
        let (job, taken) = partition.take_flush();
        effects = effects.and(taken);
        shares.extend(job.map(|job| Share::new(partition, job)));
    }
    sync_files(plan, &mut shares);
    let (mut rest, settled): (Vec<_>, Vec<_>) =
        shares.into_iter().partition(|share| !share.job.state_files.is_empty());
    deliver(settled.into_iter().map(settle).fold(effects, Effects::and));
    if !rest.is_empty() {
        store_state_files(plan, &mut rest);
        deliver(rest.into_iter().map(settle).fold(Effects::default(), Effects::and));
    }
}

/// Closes partitions as a clean stop does ([`Partition::close`]), with a few syncs for all of
/// them. Returns those that were not closed cleanly. `deliver` is called with what follows.
pub fn close_together(
    plan: &mut FlushPlan,
    partitions: &[Arc<Partition>],
    mut deliver: impl FnMut(Effects),
) -> Vec<Unclosed> {
    let mut unclosed = Vec::new();
    for group in partitions.chunks(CLOSING_MAX) {
        let mut shares = Vec::new();
        for partition in group {
            let (closing, effects) = partition.begin_close();
            deliver(effects);
            match closing {
                Ok(Some((log, Some(job)))) => shares.push(Share::new((partition, log), job)),
                Ok(Some((_, None)) | None) => {}
                Err(fault) => unclosed.push(Unclosed { partition: Arc::clone(partition), fault }),
            }
        }
        sync_files(plan, &mut shares);
        store_state_files(plan, &mut shares);
        for Share { owner: (partition, mut log), job, outcome } in shares {
            match outcome {
                Ok(()) => {
                    log.flushed(&job);
                    partition.closed_at(&log);
                }
                Err(fault) => {
                    let partition = Arc::clone(partition);
                    unclosed.push(Unclosed { partition, fault: fault.into() });
                }
            }
        }
    }
    unclosed
}

/// Syncs the files and folders of all jobs.
fn sync_files<O>(plan: &mut FlushPlan, shares: &mut [Share<O>]) {
    let mut round = FlushRound::default();
    for share in shares.iter() {
        round.files.extend(share.job.files.iter().cloned());
        round.dirs.extend(share.job.dirs.iter().cloned());
    }
    let flushed = plan.flush(&round);
    let (mut files, mut dirs) = (flushed.files.into_iter(), flushed.dirs.into_iter());
    for share in shares {
        // All of a share's answers are taken, also behind a fault: the next one's follow.
        let outcomes: Vec<_> = files
            .by_ref()
            .take(share.job.files.len())
            .chain(dirs.by_ref().take(share.job.dirs.len()))
            .collect();
        share.outcome = outcomes.into_iter().collect();
    }
}

/// Writes the small files of the jobs whose files are durable.
fn store_state_files<O>(plan: &mut FlushPlan, shares: &mut [Share<O>]) {
    let mut left = shares;
    while !left.is_empty() {
        let mut files = 0;
        let count = left
            .iter()
            .take_while(|share| {
                files += share.job.state_files.len();
                files <= STATE_FILES_MAX
            })
            .count();
        let (group, rest) = left.split_at_mut(count.max(1));
        store_group(plan, group);
        left = rest;
    }
}

fn store_group<O>(plan: &mut FlushPlan, group: &mut [Share<O>]) {
    let sound = |share: &&Share<O>| share.outcome.is_ok();
    let files: Vec<(&Path, &[u8])> = group
        .iter()
        .filter(sound)
        .flat_map(|share| &share.job.state_files)
        .map(|state| (state.path.as_path(), state.bytes.as_ref()))
        .collect();
    let mut stored = plan.replace(&files).into_iter();
    for share in group.iter_mut().filter(|share| share.outcome.is_ok()) {
        let outcomes: Vec<_> = stored.by_ref().take(share.job.state_files.len()).collect();
        share.outcome = share.job.state_files_written(outcomes);
    }
}

/// Tells a partition what has become of its files.
fn settle(share: Share<Arc<Partition>>) -> Effects {
    let Share { owner: partition, job, outcome } = share;
    match outcome {
        Ok(()) => partition.flushed(&job),
        Err(fault) => partition.flush_failed(&job, fault),
    }
}
