//! Kill, start again, go on.

use crate::arguments::Arguments;
use crate::churn::churn;
use crate::producer::Producer;
use crate::reader::read_along;
use crate::say;
use crate::verify::verify;
use crate::workload::{Shared, pause};
use anyhow::{Context, Result, ensure};
use jocko_testkit::{BrokerProcess, Options, Tally, wait_until};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Cycles after which everything is read back, and a round begins with fresh topics: bounds what
/// must be remembered and kept on disk, however long a run is.
const ROUND_CYCLES: u32 = 20;
const PRODUCERS: u16 = 8;
/// How long after a start a batch must have been acknowledged again.
const REVIVAL_MAX: Duration = Duration::from_secs(20);
/// How long a broker lives after it serves again, at most.
const LIFE_MAX_MS: u64 = 700;
/// How long a broker lives that is killed while it starts, at most.
const STILLBIRTH_MAX_MS: u64 = 40;

/// What a run has come to so far.
#[derive(Default)]
struct Score {
    tally: Tally,
    faults: Vec<String>,
    /// From start to the first accepted connection.
    ready: Vec<Duration>,
    /// From start to the first acknowledged batch.
    revived: Vec<Duration>,
    killed_starting: u32,
    topics_changed: u64,
}

/// Runs all cycles; the summary.
pub(crate) fn run(arguments: &Arguments) -> Result<String> {
    let Arguments { seed, durability, .. } = arguments;
    say(&format!("seed {seed}, durability {durability}"));
    let folder = tempfile::tempdir()?;
    let options = Options::new(&arguments.binary, folder.path().join("data"))?
        .with(format!("--storage-durability={durability}"));
    let begun = Instant::now();
    let mut random = fastrand::Rng::with_seed(*seed);
    let mut score = Score::default();
    let mut cycles = 0;
    let mut broker = BrokerProcess::start(options)?;
    for round in 0.. {
        let in_time = arguments.time_max.is_none_or(|max| begun.elapsed() < max);
        if cycles == arguments.cycles || !in_time {
            break;
        }
        let count = ROUND_CYCLES.min(arguments.cycles - cycles);
        broker = run_round(broker, round, count, &mut random, &mut score)?;
        cycles += count;
        let Tally { acknowledged, read, .. } = score.tally;
        say(&format!("{cycles} cycles: {acknowledged} records acknowledged, {read} read back"));
        if !score.faults.is_empty() {
            break;
        }
    }
    broker.stop().context("the broker must stop cleanly in the end")?;
    conclude(&score, cycles, begun.elapsed(), *seed)
}

fn conclude(score: &Score, cycles: u32, took: Duration, seed: u64) -> Result<String> {
    for fault in score.faults.iter().take(20) {
        say(&format!("  {fault}"));
    }
    let Tally { acknowledged, lost, duplicates, conflicts, others, .. } = score.tally;
    let summary = format!(
        "crash: {cycles} cycles, {acknowledged} acknowledged records, {lost} lost, {duplicates} \
         duplicates, {conflicts} conflicts, {others} other faults, restart {}, to the first \
         acknowledged batch {}, killed while starting {}, topics changed {}, {took:.0?}",
        quantiles(&score.ready),
        quantiles(&score.revived),
        score.killed_starting,
        score.topics_changed,
    );
    let is_clean = score.tally.is_clean() && score.faults.is_empty();
    ensure!(is_clean, "{summary}; {} faults; seed {seed}", score.faults.len());
    ensure!(acknowledged > 0, "nothing was ever acknowledged: {summary}");
    Ok(summary)
}

/// One round: fresh topics, some kills, everything read back.
fn run_round(
    mut broker: BrokerProcess,
    round: u32,
    cycles: u32,
    random: &mut fastrand::Rng,
    score: &mut Score,
) -> Result<BrokerProcess> {
    let shared = Shared::prepare(broker.address(), round)?;
    let killed = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..PRODUCERS {
            let producer = Producer::new(number, &shared, random.u64(..));
            threads.push(scope.spawn(|| -> Result<()> {
                producer.run();
                Ok(())
            }));
        }
        for topic in &shared.topics {
            let shared = &shared;
            threads.push(scope.spawn(move || read_along(shared, topic)));
        }
        let seed = random.u64(..);
        threads.push(scope.spawn({
            let shared = &shared;
            move || churn(shared, round, seed)
        }));
        let killed = kill_often(broker, cycles, &shared, random, score);
        shared.stop();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        killed
    });
    broker = killed?;
    // Half of the rounds are judged by what a clean stop leaves, half by what recovery made.
    if round % 2 == 1 {
        broker = BrokerProcess::start(broker.stop()?)?;
    }
    if let Some(line) = broker.log()?.lines().find(|line| line.contains("panicked")) {
        score.faults.push(format!("the broker panicked: {line}"));
    }
    score.topics_changed += shared.metadata.lock().map_or(0, |metadata| metadata.acknowledged());
    let (tally, faults) = verify(shared)?;
    score.tally.add(tally);
    score.faults.extend(faults);
    Ok(broker)
}

fn kill_often(
    mut broker: BrokerProcess,
    cycles: u32,
    shared: &Shared,
    random: &mut fastrand::Rng,
    score: &mut Score,
) -> Result<BrokerProcess> {
    for _ in 0..cycles {
        wait_for_acknowledgements(&mut broker, shared)?;
        pause(Duration::from_millis(random.u64(..LIFE_MAX_MS)));
        ensure!(broker.is_running()?, "the broker ended by itself");
        let mut options = broker.kill()?;
        // Recovery must bear being killed, too.
        while random.u8(..5) == 0 {
            let unborn = BrokerProcess::spawn(options)?;
            pause(Duration::from_millis(random.u64(..STILLBIRTH_MAX_MS)));
            options = unborn.kill()?;
            score.killed_starting += 1;
        }
        let started = Instant::now();
        broker = BrokerProcess::start(options)?;
        score.ready.push(broker.ready_after);
        wait_for_acknowledgements(&mut broker, shared)?;
        score.revived.push(started.elapsed());
    }
    Ok(broker)
}

fn wait_for_acknowledgements(broker: &mut BrokerProcess, shared: &Shared) -> Result<()> {
    let before = shared.acknowledged.load(Ordering::Relaxed);
    wait_until(REVIVAL_MAX, || {
        ensure!(broker.is_running()?, "the broker ended by itself");
        Ok(shared.acknowledged.load(Ordering::Relaxed) > before)
    })
    .with_context(|| format!("nothing is acknowledged any more; {:?}", shared.refusals().first()))
}

fn quantiles(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(0, Duration::as_millis)
    };
    format!("p50 {} ms p99 {} ms max {} ms", at(50), at(99), at(100))
}
