//! What a run has come to, over all of its rounds.

use anyhow::{Result, ensure};
use jocko_testkit::Verdict;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Score {
    pub(crate) cycles: u32,
    /// How often each fault was done.
    pub(crate) faults: BTreeMap<&'static str, u32>,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) read: u64,
    /// Everything that is wrong.
    pub(crate) wrong: Vec<String>,
    /// How long nobody acknowledged anything in partitions whose leader was a victim.
    pub(crate) outages: Vec<Duration>,
    /// How long nobody acknowledged anything in the other partitions.
    pub(crate) bystanders: Vec<Duration>,
    pub(crate) worst_stall: Duration,
    pub(crate) stalls_of_others: BTreeMap<String, Duration>,
    /// From the end of a fault to all replicas in sync.
    pub(crate) in_sync_after: Vec<Duration>,
    pub(crate) troubles: BTreeMap<String, u64>,
    pub(crate) compared: u32,
}

impl Score {
    pub(crate) fn judge(&mut self, round: u32, verdict: &Verdict) {
        self.acknowledged += verdict.acknowledged;
        self.unknown += verdict.unknown;
        self.read += verdict.read;
        if !verdict.is_clean() {
            self.wrong.push(format!("round {round}: {verdict}"));
        }
    }

    /// The summary; an error if anything is wrong.
    pub(crate) fn conclude(&self, took: Duration) -> Result<String> {
        let faults: Vec<String> =
            self.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let mut lines = vec![
            format!(
                "chaos: {} cycles ({}) in {took:.0?}",
                self.cycles,
                if faults.is_empty() { "no faults".to_owned() } else { faults.join(", ") }
            ),
            format!(
                "  {} records acknowledged, {} in doubt, {} read; {} faults found",
                self.acknowledged,
                self.unknown,
                self.read,
                self.wrong.len()
            ),
            format!("  without a leader: {}", quantiles(&self.outages)),
            format!("  other partitions stalled: {}", quantiles(&self.bystanders)),
            format!("  worst stall of a producer: {} ms", self.worst_stall.as_millis()),
        ];
        if !self.stalls_of_others.is_empty() {
            let stalls = self.stalls_of_others.iter();
            let stalls = stalls.map(|(name, stall)| format!("{name} {} ms", stall.as_millis()));
            lines.push(format!(
                "  worst stall of others' producers: {}",
                stalls.collect::<Vec<_>>().join(", ")
            ));
        }
        if !self.in_sync_after.is_empty() {
            lines
                .push(format!("  all in sync after the fault: {}", quantiles(&self.in_sync_after)));
        }
        if self.compared > 0 {
            lines.push(format!("  replicas compared byte for byte: {} times", self.compared));
        }
        let troubles = self.troubles.iter().map(|(what, count)| format!("{what} {count}"));
        lines.push(format!("  clients got over: {}", troubles.collect::<Vec<_>>().join(", ")));
        let summary = lines.join("\n");
        ensure!(self.wrong.is_empty(), "{summary}\n{}", self.wrong.join("\n"));
        ensure!(self.acknowledged > 0, "{summary}\nnothing was ever acknowledged");
        Ok(summary)
    }
}

fn quantiles(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(0, Duration::as_millis)
    };
    let (half, most, all) = (at(50), at(99), at(100));
    format!("p50 {half} ms, p99 {most} ms, max {all} ms (of {})", sorted.len())
}
