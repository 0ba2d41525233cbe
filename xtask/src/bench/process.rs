//! What the kernel says about a process: its CPU time and its memory.

use anyhow::{Context, Result};
use std::time::Duration;

/// User plus system time of a process so far.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("is it Linux?")?;
    cpu_time_of(&stat)
}

/// The fields after the name, which may itself hold spaces and brackets.
fn cpu_time_of(stat: &str) -> Result<Duration> {
    let (_, fields) = stat.rsplit_once(')').context("stat without a name")?;
    let ticks = |at: usize| -> Result<u64> {
        fields.split_whitespace().nth(at).context("stat is short")?.parse().context("ticks")
    };
    // The kernel counts in hundredths of a second towards user space.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// The memory that a process has in use.
pub(super) fn resident_megabytes(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("is it Linux?")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kibibytes * 1_024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_mislead() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 25 15 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_time_of(stat).unwrap(), Duration::from_millis(400));
        assert!(cpu_time_of("7 (a) S 1").is_err());
    }
}
