//! What a broker costs that nobody uses: size, time to the first connection, memory, CPU.

use super::process::{cpu_time, resident_megabytes};
use super::{BOTH, Kind, Plan, median, millis, say, tell};
use crate::{jocko, kafka};
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// Start-up work ends before the quiet is measured.
const SETTLE: Duration = Duration::from_secs(3);
/// How long the quiet is measured.
const QUIET: Duration = Duration::from_secs(10);

pub(super) fn run(root: &Path, folder: &Path) -> Result<()> {
    let jars = kafka::class_path(root)?;
    let jars_bytes = bytes_in(Path::new(jars.trim_end_matches("/*")))?;
    let binary_bytes = std::fs::metadata(jocko::release_binary(root)?)?.len();
    tell("size (Kafka without its Java)", "MB", [binary_bytes, jars_bytes].map(megabytes));
    let (mut first, mut again, mut memory, mut cpu) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
    for (at, kind) in BOTH.into_iter().enumerate() {
        // A JVM takes seconds and varies little in comparison.
        let rounds = if kind == Kind::Jocko { 5 } else { 1 };
        let (mut firsts, mut agains) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let plan = Plan::new(kind, root, &folder.join(round.to_string()));
            let broker = plan.start()?;
            firsts.push(millis(broker.ready_in()));
            broker.stop()?;
            let broker = plan.start()?;
            agains.push(millis(broker.ready_in()));
            broker.stop()?;
        }
        (first[at], again[at]) = (median(firsts), median(agains));
        let broker = Plan::new(kind, root, &folder.join("idle")).start()?;
        std::thread::park_timeout(SETTLE);
        let before = cpu_time(broker.pid())?;
        std::thread::park_timeout(QUIET);
        cpu[at] = 100.0 * (cpu_time(broker.pid())? - before).as_secs_f64() / QUIET.as_secs_f64();
        memory[at] = resident_megabytes(broker.pid())?;
        broker.stop()?;
    }
    tell("first start to first connection", "ms", first);
    tell("second start to first connection", "ms", again);
    tell("memory at rest", "MB", memory);
    tell("CPU at rest", "%", cpu);
    say("  (Kafka's storage is formatted before its clock starts)");
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn bytes_in(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
