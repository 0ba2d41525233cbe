//! A run: a cluster is formed; in each round a fresh topic is written and read while a random
//! subset of the faults befalls the brokers; then all is healed, and everything must drain.

use crate::arguments::Arguments;
use crate::faults::{Fault, Scene};
use crate::foreign::{Client, Foreign, Progress};
use crate::producer::Producer;
use crate::reader::{read_along, read_finally};
use crate::replicas::differences;
use crate::score::Score;
use crate::seen;
use crate::workload::{Shared, pause};
use crate::{INTERRUPTED, say};
use anyhow::{Context, Result, ensure};
use jocko_testkit::{Checker, Cluster, ClusterOptions, Surroundings};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Cycles after which everything is healed and judged: bounds what must be remembered.
const ROUND_CYCLES: u32 = 10;
const PRODUCERS_PER_PARTITION: u32 = 1;
const READERS: u32 = 2;
/// Histories number the readers from here on.
const READER_FIRST: u32 = 300;
const FINAL_READER: u32 = 900;
/// How long a cluster may take to form.
const FORM_MAX: Duration = Duration::from_secs(60);
/// How long after a fault every partition must be written to again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How long after that all replicas must be in sync, and groups must have read everything.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// A cluster runs undisturbed for so long between two faults, at most.
const CALM_MAX_MS: u64 = 2_000;
/// Small, so that a run rolls many.
const SETTINGS: [(&str, &str); 1] = [("segment.bytes", "1048576")];
/// Where closed segments are to rot there must be some soon.
const ROTTING: [(&str, &str); 1] = [("internal.segment.bytes", "65536")];

pub(crate) fn run(arguments: &Arguments, folder: &Path, around: Surroundings) -> Result<String> {
    let mut given = vec![format!("--storage-durability={}", arguments.durability)];
    if arguments.faults.contains(&Fault::Halve) {
        // Halves of connections that nobody needs are to be found out within a cycle.
        given.push("--limits-idle=20s".to_owned());
        given.push("--limits-frame-timeout=10s".to_owned());
    }
    if arguments.faults.contains(&Fault::Rot) {
        // What nobody reads is to be found out within a cycle, too.
        given.push("--storage-scrub=1s".to_owned());
    }
    given.extend(arguments.broker.iter().cloned());
    let made = ClusterOptions {
        binary: arguments.binary.clone(),
        folder: folder.to_owned(),
        brokers: arguments.brokers,
        arguments: given,
    };
    let mut cluster = Cluster::plan(made, around)?;
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let begun = Instant::now();
    form(&mut cluster, &mut random)?;
    for _ in 0..arguments.joining {
        let through = random.usize(..cluster.len());
        cluster.plan_joining(through)?;
        form(&mut cluster, &mut random).context("joining")?;
    }
    let mut score = Score::default();
    let mut rounds = 0;
    while score.cycles < arguments.cycles
        && arguments.time_max.is_none_or(|max| begun.elapsed() < max)
        && !INTERRUPTED.load(Ordering::Relaxed)
        && score.wrong.is_empty()
    {
        let mut round = Round {
            number: rounds,
            arguments,
            folder,
            until: arguments.time_max.map(|max| begun + max),
        };
        let outcome = round.run(&mut cluster, &mut random, &mut score);
        outcome.with_context(|| format!("round {rounds}, after {} cycles", score.cycles))?;
        rounds += 1;
    }
    let stopped = cluster.stop_all().context("all brokers must stop cleanly in the end");
    if let Err(error) = stopped {
        score.wrong.push(format!("{error:#}"));
    }
    score.conclude(begun.elapsed())
}

/// Starts all brokers that do not run, in any order, and waits for one cluster.
fn form(cluster: &mut Cluster, random: &mut fastrand::Rng) -> Result<()> {
    let begun = Instant::now();
    let mut order: Vec<usize> = (0..cluster.len()).collect();
    random.shuffle(&mut order);
    cluster.start_all(order)?;
    let count = cluster.len();
    let formed = |cluster: &mut Cluster| {
        cluster.check_running()?;
        Ok::<_, anyhow::Error>(seen::members(cluster).is_ok_and(|members| members == count))
    };
    while !formed(cluster)? {
        if begun.elapsed() > FORM_MAX {
            // For the ends of the logs.
            cluster.wait("the cluster to form", Duration::ZERO, || Ok(false))?;
        }
        pause(Duration::from_millis(10));
    }
    say(&format!("{count} brokers are one cluster after {} ms", begun.elapsed().as_millis()));
    Ok(())
}

struct Round<'a> {
    number: u32,
    arguments: &'a Arguments,
    folder: &'a Path,
    until: Option<Instant>,
}

impl Round<'_> {
    fn run(
        &mut self,
        cluster: &mut Cluster,
        random: &mut fastrand::Rng,
        score: &mut Score,
    ) -> Result<()> {
        let topic = format!("chaos-{}", self.number);
        let Arguments { partitions, replicas, .. } = *self.arguments;
        let place = (topic.as_str(), partitions, replicas);
        let begun = Instant::now();
        let rots = self.arguments.faults.contains(&Fault::Rot);
        let settings = if rots { &ROTTING } else { &SETTINGS };
        while !seen::create(cluster, place, settings)? {
            cluster.check_running()?;
            ensure!(begun.elapsed() < RECOVERY_MAX, "the topic of the round cannot be created");
            pause(Duration::from_millis(50));
        }
        let history = self.folder.join(format!("history-{}.jsonl", self.number));
        let shared = Shared::new(cluster.bootstrap(), place, self.arguments.acks, &history)?;
        let done = self.with_clients(cluster, &shared, random, score);
        for complaint in shared.complaints() {
            score.wrong.push(format!("round {}: {complaint}", self.number));
        }
        for (what, count) in shared.troubles() {
            *score.troubles.entry(what).or_default() += count;
        }
        score.worst_stall = score.worst_stall.max(shared.worst_stall());
        for (client, stall) in shared.stalls_of_others() {
            let worst = score.stalls_of_others.entry(client).or_default();
            *worst = (*worst).max(stall);
        }
        // What was promised so far is judged although the round has failed: it may say why.
        if let Err(error) = &done {
            score.wrong.push(format!("round {}: {error:#}", self.number));
        }
        let mut checker = Checker::default();
        checker.read(BufReader::new(File::open(shared.history()?)?))?;
        let verdict = checker.judge();
        if verdict.is_clean() {
            say(&format!("round {}: {verdict}", self.number));
        }
        score.judge(self.number, &verdict);
        if score.wrong.is_empty() {
            self.compare(cluster, &topic, random, score)?;
        }
        let is_orderly = self.arguments.faults.iter().all(|fault| fault.is_orderly());
        if is_orderly && verdict.unknown + verdict.failed > 0 {
            score.wrong.push(format!("round {}: clients noticed: {verdict}", self.number));
        }
        if self.arguments.folder.is_none() && score.wrong.is_empty() {
            std::fs::remove_file(&history)?;
        }
        Ok(())
    }

    /// The round proper, with everybody at work.
    fn with_clients(
        &self,
        cluster: &mut Cluster,
        shared: &Shared,
        random: &mut fastrand::Rng,
        score: &mut Score,
    ) -> Result<()> {
        let progress = Progress::default();
        let mut foreign = Vec::new();
        for (at, client) in (0..).zip(&self.arguments.foreign) {
            foreign.extend(client.start(shared, at)?);
        }
        std::thread::scope(|scope| {
            let mut producers = Vec::new();
            for process in 1..=shared.partitions * PRODUCERS_PER_PARTITION {
                let producer = Producer::new(shared, process, random.u64(..))?;
                producers.push(scope.spawn(move || producer.run()));
            }
            let readers: Vec<_> = (READER_FIRST..READER_FIRST + READERS)
                .map(|process| scope.spawn(move || read_along(shared, process)))
                .collect();
            for client in &mut foreign {
                let (transcript, progress) = (client.transcript()?, &progress);
                scope.spawn(move || transcript.take_down(shared, progress));
            }
            let disturbed = self.disturb(cluster, shared, random, score);
            // Whatever happened, clients must end, and what they had must be read.
            let healed = cluster.heal();
            let all_in_sync = if disturbed.is_ok() && healed.is_ok() {
                self.drain(cluster, shared, random, score)
            } else {
                Ok(())
            };
            shared.stop_producers();
            let joined = producers.into_iter().all(|producer| producer.join().is_ok());
            let (others, mut members): (Vec<Client>, Vec<Client>) =
                foreign.into_iter().partition(Client::is_producer);
            let flushed = others.into_iter().map(Client::finish).collect::<Result<Vec<()>>>();
            let read = read_finally(shared, FINAL_READER);
            let groups = match &read {
                Ok(ends) => wait_for_groups(&self.arguments.foreign, &mut members, &progress, ends),
                Err(_) => Ok(()),
            };
            shared.stop_readers();
            drop(members);
            let mut readers = readers.into_iter().map(|reader| reader.join());
            let ended = readers.try_for_each(|reader| match reader {
                Ok(outcome) => outcome,
                Err(_) => Err(anyhow::anyhow!("a reader panicked")),
            });
            ensure!(joined, "a producer panicked");
            disturbed
                .and(healed)
                .and(all_in_sync)
                .and(flushed.map(|_| ()))
                .and(read.map(|_| ()))
                .and(groups)
                .and(ended)
        })
    }

    /// A random subset of the faults, none among them, one after the other.
    fn disturb(
        &self,
        cluster: &mut Cluster,
        shared: &Shared,
        random: &mut fastrand::Rng,
        score: &mut Score,
    ) -> Result<()> {
        let mut faults = self.arguments.faults.clone();
        // A row of the catalogue is what it is; else each round has its own mix, or nothing.
        if self.arguments.row.is_none() && faults.len() > 1 {
            faults.retain(|_| random.u8(..3) > 0);
        }
        let names: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
        say(&format!(
            "round {}: {}",
            self.number,
            if names.is_empty() { "no faults".to_owned() } else { names.join(", ") }
        ));
        let cycles = ROUND_CYCLES.min(self.arguments.cycles - score.cycles);
        wait_for_progress(cluster, shared)?;
        for _ in 0..cycles {
            let in_time = self.until.is_none_or(|until| Instant::now() < until);
            // What is wrong already gets no clearer by more faults.
            let is_wrong = !shared.complaints().is_empty();
            if !in_time || is_wrong || INTERRUPTED.load(Ordering::Relaxed) {
                break;
            }
            pause(Duration::from_millis(random.u64(200..CALM_MAX_MS)));
            if let Some(fault) = random.choice(&faults).copied() {
                self.cycle(fault, cluster, shared, random, score)
                    .with_context(|| format!("cycle {}: {}", score.cycles, fault.name()))?;
            }
            cluster.check_running()?;
            score.cycles += 1;
        }
        Ok(())
    }

    /// One fault, and what it cost.
    fn cycle(
        &self,
        fault: Fault,
        cluster: &mut Cluster,
        shared: &Shared,
        random: &mut fastrand::Rng,
        score: &mut Score,
    ) -> Result<()> {
        let plants_tail = self.arguments.plants_tail;
        let mut scene = Scene { cluster, shared, random, plants_tail, binaries: self.binaries() };
        if fault.wants_all_in_sync() {
            scene.wait_in_sync(DRAIN_MAX).context("before it")?;
        }
        let before = seen::settled(|| seen::partitions(scene.cluster, &shared.topic))?;
        let controller = seen::controller(scene.cluster).ok().flatten();
        shared.mark();
        scene.cluster.note(&format!("cycle {}: {}", score.cycles, fault.name()));
        let victims = scene.inject(fault)?;
        *score.faults.entry(fault.name()).or_default() += 1;
        cluster.heal()?;
        wait_for_progress(cluster, shared)?;
        let mut worst = [Duration::ZERO; 2];
        for (partition, seen) in (0..).zip(before) {
            let was_victim = seen.leader.is_none_or(|leader| victims.contains(&leader));
            let stalls = if was_victim { &mut score.outages } else { &mut score.bystanders };
            let stall = shared.stall(partition);
            stalls.push(stall);
            worst[usize::from(was_victim)] = worst[usize::from(was_victim)].max(stall);
        }
        let controlled = controller.is_some_and(|controller| victims.contains(&controller));
        let words = format!(
            "cycle {}: {} of {victims:?}{}: without a leader {} ms, others stalled {} ms",
            score.cycles,
            fault.name(),
            if controlled { ", which controlled" } else { "" },
            worst[1].as_millis(),
            worst[0].as_millis()
        );
        for wait in shared.take_waits() {
            cluster.note(&format!("until {wait}"));
        }
        cluster.note(&format!("end of {words}"));
        say(&words);
        Ok(())
    }

    fn binaries(&self) -> [&Path; 2] {
        let arguments = self.arguments;
        [&arguments.binary, arguments.other.as_ref().unwrap_or(&arguments.binary)]
    }

    /// After all faults: every replica gets in sync again.
    fn drain(
        &self,
        cluster: &mut Cluster,
        shared: &Shared,
        random: &mut fastrand::Rng,
        score: &mut Score,
    ) -> Result<()> {
        wait_for_progress(cluster, shared)?;
        let begun = Instant::now();
        let binaries = self.binaries();
        let mut scene = Scene { cluster, shared, random, plants_tail: false, binaries };
        scene.wait_in_sync(DRAIN_MAX).context("after the faults")?;
        score.in_sync_after.push(begun.elapsed());
        Ok(())
    }

    /// Stops all, compares what they hold, and starts all again.
    fn compare(
        &self,
        cluster: &mut Cluster,
        topic: &str,
        random: &mut fastrand::Rng,
        score: &mut Score,
    ) -> Result<()> {
        if self.arguments.replicas < 2 {
            return Ok(());
        }
        cluster.stop_all().context("a clean stop of all brokers")?;
        for difference in differences(cluster, topic, self.arguments.replicas)? {
            score.wrong.push(format!("round {}: {difference}", self.number));
        }
        score.compared += 1;
        if score.wrong.is_empty() {
            form(cluster, random)?;
        }
        Ok(())
    }
}

/// Waits until something was acknowledged in every partition that was not on its way before.
fn wait_for_progress(cluster: &mut Cluster, shared: &Shared) -> Result<()> {
    let before = shared.progress();
    cluster.wait("every partition to take records", RECOVERY_MAX, || {
        let now = shared.progress();
        // One batch may have been answered before and counted after.
        Ok(now.iter().zip(&before).all(|(now, before)| *now > before + 1))
    })
}

/// Waits until the group of each client has read everything.
fn wait_for_groups(
    foreign: &[Foreign],
    members: &mut [Client],
    progress: &Progress,
    ends: &BTreeMap<u32, i64>,
) -> Result<()> {
    for client in foreign {
        let waited = jocko_testkit::wait_until(DRAIN_MAX, || {
            members.iter_mut().try_for_each(Client::check)?;
            Ok(progress.is_at(client.name(), ends))
        });
        waited.with_context(|| {
            let reached = progress.reached(client.name());
            format!(
                "the group of {} has come to {reached:?}, and should to {ends:?}",
                client.name()
            )
        })?;
    }
    Ok(())
}
