//! What is too rare to wait for a seed: scenes that are set, in which one thing must happen.

use super::clients::{PARTITIONS, Puppet, TOPIC};
use super::machine::Machine;
use super::world::{Wish, World, in_virtual_time};
use jocko_broker::simulation::Inside;
use jocko_disk::{Inject, Operation};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Uuid};
use std::time::Duration;

/// How long something may take that must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a cluster may take to be whole again after a disk was replaced.
const MEND_MAX: Duration = Duration::from_secs(120);
/// How many newcomers lose power, and how much later each one than the one before.
const NEWCOMERS: u64 = 40;
const NEWCOMER_STEP: Duration = Duration::from_millis(10);

/// Sets a scene: three brokers that are one cluster, with the topic and nobody else.
fn play(seed: u64, scene: impl AsyncFnOnce(&mut World) -> Result<(), String>) {
    let ended = in_virtual_time(seed, async {
        let mut world = World::new(seed, Wish { peace: true, ..Wish::default() });
        let outcome = async {
            world.begin().await?;
            world.until_whole(PATIENCE, "the topic is not there").await?;
            scene(&mut world).await
        };
        let violation = outcome.await.err();
        world.end(violation).await
    });
    assert_eq!(ended.violation, None);
}

/// Lets time pass until something is so at a machine.
async fn until_at(
    world: &mut World,
    at: usize,
    what: &str,
    is_so: impl Fn(&Machine) -> bool,
) -> Result<(), String> {
    let tries = PATIENCE.as_millis() / 5;
    for _ in 0..tries {
        if is_so(&world.machines[at]) {
            return Ok(());
        }
        world.pass(Duration::from_millis(5)).await?;
    }
    Err(format!("it never came: {what}"))
}

/// Who leads a partition as a machine knows it, and in which epoch.
fn leader_at(machine: &Machine, partition: u32) -> Option<(BrokerId, LeaderEpoch)> {
    let image = machine.inside()?.image().1;
    let topic = image.topic(TOPIC)?;
    let mut partitions = topic.partitions.iter();
    let (_, state) = partitions.find(|(index, _)| u32::try_from(index.get()) == Ok(partition))?;
    Some((state.leader?, state.leader_epoch))
}

/// The directory of the machine that leads Raft, as another knows.
fn controller_at(machine: &Machine) -> Option<Uuid> {
    machine.inside()?.raft_status().leader.map(|(node, _)| node.directory_id())
}

/// A partition, with the places of a machine that leads it without leading Raft, and of another.
fn led_apart(world: &World) -> Option<(u32, usize, usize)> {
    let controller = controller_at(&world.machines[0])?;
    (0..PARTITIONS).find_map(|partition| {
        let (leader, _) = leader_at(&world.machines[0], partition)?;
        let is_it = |machine: &Machine| machine.inside().map(|it| it.node_id()) == Some(leader);
        let at = world.machines.iter().position(is_it)?;
        let image = world.machines[at].inside()?.image().1;
        let directory = image.broker(leader)?.registration.directory;
        (directory != controller).then_some((partition, at, (at + 1) % world.machines.len()))
    })
}

/// A leader whose metadata log finds no room, so that it never hears that another has taken its place.
struct Replaced {
    partition: u32,
    /// Its place among the machines.
    at: usize,
    leader: u32,
    successor: u32,
    /// It has written one record to the leader, and one to its successor.
    puppet: Puppet,
}

impl Replaced {
    async fn unknowingly(world: &mut World) -> Result<Self, String> {
        let (partition, at, other) = led_apart(world).ok_or("nobody leads apart")?;
        let (leader, successor) = (world.machines[at].number, world.machines[other].number);
        let mut puppet = Puppet::new(world.client()).await;
        assert_eq!(puppet.write(leader, partition, 0).await, ErrorCode::None);
        let known = leader_at(&world.machines[at], partition);
        let full = Inject::new(Operation::Write, "__cluster_metadata-0").no_space();
        world.machines[at].disk.inject(full);
        puppet.give_to(successor, partition).await;
        until_at(world, other, "it leads itself", |machine| {
            let own = machine.inside().map(Inside::node_id);
            leader_at(machine, partition).map(|(leader, _)| leader) == own
        })
        .await?;
        assert_eq!(leader_at(&world.machines[at], partition), known, "it has not heard");
        assert_eq!(puppet.write(successor, partition, 1).await, ErrorCode::None);
        Ok(Self { partition, at, leader, successor, puppet })
    }
}

/// It must not call a gap what its successor has taken: that is the end of a producer.
#[test]
fn a_leader_that_was_replaced_unknowingly_calls_no_sequence_a_gap() {
    for seed in 0..4 {
        play(seed, async |world| {
            let replaced = Replaced::unknowingly(world).await?;
            let Replaced { partition, at, leader, successor, mut puppet } = replaced;
            let elsewhere = ErrorCode::NotLeaderOrFollower;
            assert_eq!(puppet.write(leader, partition, 2).await, elsewhere, "seed {seed}");
            // There is room again, and it hears of it.
            world.machines[at].disk.heal();
            assert_eq!(puppet.write(leader, partition, 2).await, elsewhere, "seed {seed}");
            // Whoever leads says what is a gap.
            let gap = puppet.write(successor, partition, 3).await;
            assert_eq!(gap, ErrorCode::OutOfOrderSequenceNumber);
            assert_eq!(puppet.write(successor, partition, 2).await, ErrorCode::None);
            Ok(())
        });
    }
}

/// Nor must it say that nothing ever was where its successor has written: a reader would begin anew.
#[test]
fn a_leader_that_was_replaced_unknowingly_calls_no_offset_out_of_range() {
    for seed in 0..4 {
        play(seed, async |world| {
            let replaced = Replaced::unknowingly(world).await?;
            let Replaced { partition, at, leader, successor, mut puppet } = replaced;
            let elsewhere = ErrorCode::NotLeaderOrFollower;
            assert_eq!(puppet.read(leader, partition, 2).await, elsewhere, "seed {seed}");
            world.machines[at].disk.heal();
            assert_eq!(puppet.read(leader, partition, 2).await, elsewhere, "seed {seed}");
            assert_eq!(puppet.read(successor, partition, 2).await, ErrorCode::None);
            assert_eq!(puppet.read(successor, partition, 3).await, ErrorCode::OffsetOutOfRange);
            Ok(())
        });
    }
}

/// A broker whose disk is replaced, and which loses power at some moment of its next way in: what
/// it has of the log by then may be from before it was let in. It comes up again all the same.
#[test]
fn a_newcomer_may_lose_power_at_any_moment_of_its_way_in() {
    play(0, async |world| {
        for step in 0..NEWCOMERS {
            world.machines[2].wipe(step).await;
            world.went_down(2, Duration::ZERO);
            world.pass(NEWCOMER_STEP * u32::try_from(step).expect("some dozens")).await?;
            world.machines[2].cut_power(step).await;
            world.went_down(2, Duration::ZERO);
            world.until_whole(MEND_MAX, &format!("without power at step {step}")).await?;
        }
        Ok(())
    });
}
