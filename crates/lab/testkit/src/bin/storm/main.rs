//! A storm of members: groups of both protocols whose members join, share partitions, commit,
//! leave and vanish at random, while the broker may be killed with -9; and, from the clients' side,
//! whether any partition had two owners or any acknowledged commit was lost or moved back.
//!
//! `storm BINARY [--groups N] [--members N] [--seconds S] [--kills N] [--durability D] [--seed N]`.
//! See `docs/internals/storm.md`.

use anyhow::{Context, Result, ensure};
use jocko_testkit::{BrokerProcess, Options};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

mod arguments;
mod classic;
mod consumer;
mod ledger;
mod wire;
mod world;

use arguments::Arguments;
use world::World;

/// How long after the storm every partition must have one owner again: a session, a rebalance, and
/// time for a busy machine.
const CALM_MAX: Duration = Duration::from_secs(40);
/// How long a broker lives between kills, at most and at least.
const LIFE_MAX: Duration = Duration::from_millis(3_000);
const LIFE_MIN: Duration = Duration::from_millis(700);

fn main() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    say(&format!("seed {}", arguments.seed));
    let folder = tempfile::tempdir()?;
    let options = Options::new(&arguments.binary, folder.path().join("data"))?
        .with(format!("--storage-durability={}", arguments.durability))
        .with("--groups-session-timeout-min=1s")
        .with("--groups-consumer-session-timeout-min=1s")
        .with("--groups-consumer-heartbeat-interval-min=100ms")
        .with("--groups-consumer-heartbeat-interval=300ms")
        .with(format!("--groups-consumer-session-timeout={}ms", world::SESSION.as_millis()));
    let broker = BrokerProcess::start(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let world = Rc::new(World::new(broker.address(), &arguments));
    let summary = LocalSet::new().block_on(&runtime, run(Rc::clone(&world), broker, &arguments))?;
    let faults = world.faults();
    for fault in faults.iter().take(20) {
        say(&format!("  {fault}"));
    }
    ensure!(faults.is_empty(), "{summary}; {} faults; seed {}", faults.len(), arguments.seed);
    say(&summary);
    Ok(())
}

async fn run(world: Rc<World>, mut broker: BrokerProcess, arguments: &Arguments) -> Result<String> {
    world.prepare().await.context("creating topics")?;
    let mut members = Vec::new();
    for group in 0..arguments.groups {
        for number in 0..arguments.members {
            let world = Rc::clone(&world);
            // Groups take turns with the protocols.
            members.push(tokio::task::spawn_local(async move {
                if group % 2 == 0 {
                    classic::live(&world, group, number).await;
                } else {
                    consumer::live(&world, group, number).await;
                }
            }));
        }
    }
    let begun = Instant::now();
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let mut kills = 0;
    while begun.elapsed() < arguments.storm && kills < arguments.kills.unwrap_or(u32::MAX) {
        let span = u64::try_from((LIFE_MAX - LIFE_MIN).as_millis()).unwrap_or(0);
        let life = LIFE_MIN + Duration::from_millis(random.u64(..span));
        tokio::time::sleep(life).await;
        if arguments.kills.is_some() {
            world.lost_broker();
            broker = BrokerProcess::start(broker.kill()?)?;
            kills += 1;
        }
        ensure!(broker.is_running()?, "the broker ended by itself");
    }
    world.calm();
    let settled = world.settle(CALM_MAX).await;
    world.stop();
    for member in members {
        member.await.context("a member panicked")?;
    }
    ensure!(broker.is_running()?, "the broker ended by itself");
    world.check_commits().await?;
    let usage = broker.usage()?;
    if let Some(line) = broker.log()?.lines().find(|line| line.contains("panicked")) {
        world.fault(format!("the broker panicked: {line}"));
    }
    broker.stop().context("the broker must stop cleanly in the end")?;
    settled?;
    let told = world.told();
    Ok(format!(
        "storm: {} groups of {}, {kills} kills, {told}, broker CPU {:.1?}, memory {} MiB, {:.0?}",
        arguments.groups,
        arguments.members,
        usage.cpu,
        usage.resident_bytes >> 20,
        begun.elapsed(),
    ))
}

#[allow(clippy::print_stdout, reason = "the report is the program's output")]
fn say(line: &str) {
    println!("{line}");
}
