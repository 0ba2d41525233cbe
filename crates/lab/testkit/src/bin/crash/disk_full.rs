//! A disk that fills: produce is refused with an error that clients retry, everything else goes
//! on, and so does produce once there is space again. The process never ends.

use crate::Outcome;
use crate::arguments::Arguments;
use crate::metrics::metric;
use crate::simple::Writer;
use crate::small_disk::SmallDisk;
use anyhow::{Context, Result, ensure};
use jocko_client::ClientError;
use jocko_testkit::{BrokerProcess, Options, tail, wait_until};
use std::time::Duration;

const DISK_BYTES: u64 = 64 << 20;
const RECORD_BYTES: usize = 200_000;
/// More than fit on the disk.
const RECORDS_MAX: usize = 1_000;
/// How long after space is back produce must work again.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// The disk is filled this often.
const ROUNDS: u32 = 3;
/// How long the metric may take to follow.
const NOTICED_MAX: Duration = Duration::from_secs(5);
/// What the broker says when it begins to refuse.
const FULL: &str = "the disk is full|a write found the disk full|the ballast makes room";

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let disk = match SmallDisk::mount(folder.path(), DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return Ok(Outcome::Skipped(format!("disk-full: {why:#}"))),
    };
    // Its log must not compete for the space.
    let options = Options::new(&arguments.binary, disk.mount_point.join("data"))?
        .logging_to(folder.path().join("broker.log"))
        .with("--storage-ballast=4MiB");
    let log = options.log.clone();
    // What the broker said explains what it did.
    let end_of_log = || tail(&log);
    fill_often(options).with_context(end_of_log).map(Outcome::Passed)
}

fn fill_often(options: Options) -> Result<String> {
    let mut broker = BrokerProcess::start(options)?;
    let mut writer = Writer::new(broker.address())?;
    writer.create("kept", &[])?;
    let mut summary = Vec::new();
    for round in 0..ROUNDS {
        let filled = fill(&mut broker, &mut writer).with_context(|| format!("round {round}"))?;
        if round % 2 == 1 {
            // A full disk must not keep a broker from starting.
            broker = BrokerProcess::start(broker.kill()?).context("starting on a full disk")?;
            writer.check("kept").context("after a start on the full disk")?;
        }
        writer.delete("filling").context("deleting on a full disk")?;
        let after = writer.produce_again("kept", RECOVERY_MAX)?;
        guard_shows(&broker, false).context("with room again")?;
        summary.push(format!("{filled} records filled it, produced again after {after:.1?}"));
    }
    ensure!(broker.is_running()?, "the broker ended");
    let log = broker.log()?;
    ensure!(!log.contains("panicked"), "the broker panicked");
    let is_about_it = |line: &&str| FULL.split('|').any(|words| line.contains(words));
    let told = log.lines().filter(is_about_it).count();
    // Once when a write finds no room and once when the ballast goes, also in the next process.
    ensure!(told <= usize::try_from(ROUNDS * 4)?, "a full disk is told {told} times");
    ensure!(told > 0, "a full disk is not told");
    broker = BrokerProcess::start(broker.kill()?)?;
    let kept = writer.check("kept").context("after the last restart")?;
    broker.stop()?;
    let summary = summary.join("; ");
    Ok(format!("disk-full: {summary}; told {told} times; {kept} records kept"))
}

/// Waits until the metric says whether producers are refused.
fn guard_shows(broker: &BrokerProcess, refuses: bool) -> Result<()> {
    let is_shown = || Ok((metric(broker, "jocko_storage_guard_state")? > 0.5) == refuses);
    wait_until(NOTICED_MAX, is_shown).context("jocko_storage_guard_state says otherwise")
}

/// Fills the disk until produce is refused, and checks what must still work.
fn fill(broker: &mut BrokerProcess, writer: &mut Writer) -> Result<usize> {
    writer.create("filling", &[("file.delete.delay.ms", "0"), ("segment.bytes", "4194304")])?;
    let mut accepted = 0;
    let refused = loop {
        match writer.produce("filling", RECORD_BYTES) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        ensure!(accepted < RECORDS_MAX, "the disk never fills");
    };
    check_refusal(&refused)?;
    guard_shows(broker, true).context("after a refusal")?;
    for attempt in 0..20 {
        ensure!(broker.is_running()?, "the broker ended on a full disk");
        // Small ones may still fit here and there: both answers are right, no other is.
        let value_bytes = if attempt % 2 == 0 { RECORD_BYTES } else { 4_000 };
        for topic in ["filling", "kept"] {
            if let Err(error) = writer.produce(topic, value_bytes) {
                check_refusal(&error)?;
            }
        }
    }
    let readable = writer.check("filling").context("reading from a full disk")?;
    ensure!(readable >= accepted, "{readable} of {accepted} records");
    writer.check("kept").context("reading from a full disk")?;
    Ok(accepted)
}

/// A full disk is the broker's trouble, not the record's: clients must try again.
fn check_refusal(error: &ClientError) -> Result<()> {
    let is_refusal = matches!(error, ClientError::Refused { .. });
    ensure!(is_refusal && error.is_retriable(), "a full disk was answered with: {error}");
    Ok(())
}
