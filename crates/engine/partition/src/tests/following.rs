//! A follower by itself: what it takes from a leader and what it refuses, and what a power cut
//! leaves of it.

use super::replicas::{batches, raw};
use super::{Bench, assignment, batch, governed, now, offset, opening};
use crate::{
    Acks, Answered, Assignment, Claim, Durability, Followed, Home, Misfit, Partition,
    ReplicaEpochEnd,
};
use jocko_disk::{CrashPoints, DiskRef, MemDisk};
use jocko_records::prepare;
use jocko_types::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicName, TopicPartition,
};
use std::path::{Path, PathBuf};

pub(super) const OTHER: BrokerId = BrokerId::new(2);

pub(super) fn following(epoch: i32) -> Assignment {
    let all = vec![super::BROKER, OTHER];
    Assignment {
        replicas: all.clone(),
        isr: all,
        ..assignment(Some(OTHER), LeaderEpoch::new(epoch), epoch)
    }
}

pub(super) fn follower_on(disk: DiskRef) -> Partition {
    let topic = TopicName::new("t").expect("is a name");
    let name = TopicPartition { topic, partition: PartitionIndex::new(0) };
    let open = opening(false, (Offset::ZERO, Offset::ZERO));
    let home = Home { disk, dir: PathBuf::from(super::DIR), broker: super::BROKER, open };
    Partition::new(name, super::TOPIC_ID, home, governed(Durability::Fsync))
}

pub(super) fn take(partition: &Partition, answer: &Answered<'_>) -> Followed {
    let follow = partition.follow().expect("is open").expect("there is a leader");
    partition.take_answer(follow.following, answer, now()).0
}

pub(super) fn records(bytes: &[u8], high_watermark: i64) -> Answered<'_> {
    Answered::Records { bytes, high_watermark: offset(high_watermark), log_start: Offset::ZERO }
}

/// Batches as a leader of an epoch writes them behind those of another.
pub(super) fn led(before: &[u8], epoch: i32, batches_of: &[&[&str]]) -> Vec<u8> {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(0));
    assert!(matches!(take(&partition, &records(before, 0)), Followed::Appended { .. }));
    let end = partition.standing().expect("is open").log_end;
    let _ = partition.assign(assignment(Some(super::BROKER), LeaderEpoch::new(epoch), epoch + 1));
    for values in batches_of {
        let bytes = batch(values);
        let prepared = prepare(&bytes, &partition.governed().rules).expect("is a batch");
        partition.append(&prepared, Acks::Leader, now(), None).0.expect("leads");
    }
    raw(&partition, end, 1 << 20)
}

/// The batches one after the other.
fn apart(bytes: &[u8]) -> Vec<Vec<u8>> {
    let batches = jocko_records::strict_batches(bytes);
    batches.map(|batch| batch.expect("is whole").bytes().to_vec()).collect()
}

fn flush(partition: &Partition) -> Result<Option<Claim>, ()> {
    let (job, _) = partition.take_flush();
    let Some(mut job) = job else { return Ok(None) };
    job.run(partition.home().disk.as_ref()).map_err(|_| ())?;
    Ok(partition.flushed(&job).claims.first().map(|(_, claim)| *claim))
}

#[test]
fn what_does_not_follow_or_is_damaged_is_refused_and_what_came_before_it_stays() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(1));
    let all = apart(&led(&[], 1, &[&["a"], &["b"], &["c"]]));
    let mut damaged = [all[0].clone(), all[1].clone()].concat();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(
        take(&partition, &records(&damaged, 9)),
        Followed::Misfit(Misfit::Damaged(_))
    ));
    let standing = partition.standing().unwrap();
    assert_eq!((standing.log_end, standing.high_watermark), (offset(1), offset(1)));
    // What it has already, wholly: no second copy.
    let (expected, got) = (offset(1), offset(0));
    let again = take(&partition, &records(&all[0], 9));
    assert_eq!(again, Followed::Misfit(Misfit::OutOfPlace { expected, got }));
    assert!(matches!(take(&partition, &records(&all[1], 1)), Followed::Appended { .. }));
    // An older leader's batch behind a newer one's.
    let older = apart(&led(&[all[0].clone(), all[1].clone()].concat(), 1, &[&["d"]]));
    let newer = led(&[all[0].clone(), all[1].clone()].concat(), 5, &[&["e"]]);
    let _ = partition.assign(following(5));
    assert!(matches!(take(&partition, &records(&newer, 1)), Followed::Appended { .. }));
    let stale =
        apart(&led(&[&all.concat()[..], &older[0]].concat()[..all.concat().len()], 1, &[&["f"]]));
    let refused = take(&partition, &records(&stale[0], 1));
    assert!(matches!(refused, Followed::Misfit(Misfit::OldEpoch { .. })), "{refused:?}");
    assert_eq!(partition.standing().unwrap().log_end, offset(3));
    assert_eq!(partition.standing().unwrap().high_watermark, offset(1));
}

#[test]
fn the_first_question_of_an_epoch_is_to_be_answered_at_once() {
    let partition = follower_on(MemDisk::with_dir(super::DATA).shared());
    let follow = || partition.follow().unwrap().expect("another leads");
    let all = led(&[], 1, &[&["a"]]);
    for epoch in 1..3 {
        let _ = partition.assign(following(epoch));
        assert_eq!((follow().is_new, follow().claim), (true, None), "epoch {epoch}");
        let bytes = if epoch == 1 { &all[..] } else { &[] };
        assert!(matches!(take(&partition, &records(bytes, 0)), Followed::Appended { .. }));
        assert!(!follow().is_new && follow().claim.is_some(), "epoch {epoch}");
    }
}

#[test]
fn an_answer_to_an_older_question_is_not_looked_at() {
    let bench = Bench::new(Durability::Fsync);
    let partition = &bench.partition;
    let _ = partition.assign(following(7));
    let asked = partition.follow().unwrap().unwrap().following;
    let _ = partition.assign(following(8));
    let bytes = led(&[], 1, &[&["a"]]);
    let (stale, _) = partition.take_answer(asked, &records(&bytes, 1), now());
    assert_eq!(stale, Followed::Stale);
    // One that leads follows nobody.
    let _ = partition.assign(assignment(Some(super::BROKER), LeaderEpoch::new(9), 9));
    assert_eq!(partition.follow(), Ok(None));
}

#[test]
fn what_is_committed_is_never_cut() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(1));
    let bytes = led(&[], 1, &[&["a"], &["b"]]);
    assert!(matches!(take(&partition, &records(&bytes, 2)), Followed::Appended { .. }));
    let _ = partition.assign(following(2));
    let parts = ReplicaEpochEnd { epoch: LeaderEpoch::new(1), end: offset(1) };
    let lost = take(&partition, &Answered::Diverging(parts));
    let (to, high_watermark) = (offset(1), offset(2));
    assert_eq!(lost, Followed::LosesCommitted { to, high_watermark });
    assert_eq!(partition.standing().unwrap().log_end, offset(2), "nothing was done");
}

#[test]
fn a_leader_that_starts_later_makes_the_log_begin_anew() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(1));
    let ends = |partition: &Partition| {
        let standing = partition.standing().unwrap();
        (standing.log_start.get(), standing.high_watermark.get(), standing.log_end.get())
    };
    let (log_start, log_end) = (offset(50), offset(60));
    let began = take(&partition, &Answered::OutOfRange { log_start, log_end });
    assert_eq!(began, Followed::Restarted { at: offset(50) });
    assert_eq!(ends(&partition), (50, 50, 50));
    assert_eq!(partition.follow().unwrap().unwrap().following.offset, offset(50));
}

#[test]
fn a_failed_disk_ends_this_log_alone() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(1));
    let bytes = led(&[], 1, &[&["a"]]);
    assert!(matches!(take(&partition, &records(&bytes, 0)), Followed::Appended { .. }));
    mem.power_off_after(0);
    let more = led(&bytes, 1, &[&["b"]]);
    let failed = take(&partition, &records(&more, 0));
    assert_eq!(failed, Followed::Failed(ErrorCode::KafkaStorageError));
    assert_eq!(partition.follow(), Err(ErrorCode::KafkaStorageError));
}

/// What leaders were told, and by which log.
#[derive(Debug, Clone, Default)]
struct Told {
    /// The batches below the last claim.
    claimed: Vec<(i64, Vec<u8>)>,
}

#[test]
fn a_cut_and_what_comes_after_it_survive_power_cuts() {
    let first = led(&[], 0, &[&["a", "b"], &["c"], &["d", "e"], &["f"]]);
    let older = apart(&first);
    let kept = older[0].clone();
    let newer = apart(&led(&kept, 1, &[&["C", "D"], &["gone"], &["E"], &["F"]]));
    let with_gap = [newer[0].clone(), newer[2].clone()].concat();
    let histories =
        [older.clone(), [vec![kept], vec![newer[0].clone()], newer[2..].to_vec()].concat()];
    let run = |disk: &DiskRef, told: &mut Told| -> Result<(), ()> {
        let partition = follower_on(disk.clone());
        let _ = partition.assign(following(0));
        let claim = |partition: &Partition, told: &mut Told| {
            if let Some(claim) = flush(partition)? {
                let mut held = batches(partition);
                held.retain(|(base, _)| *base < claim.end.get());
                told.claimed = held;
            }
            Ok(())
        };
        let fed = |partition: &Partition, answer: &Answered<'_>| match take(partition, answer) {
            Followed::Failed(_) => Err(()),
            done => Ok(done),
        };
        fed(&partition, &records(&older[..2].concat(), 0))?;
        claim(&partition, told)?;
        fed(&partition, &records(&older[2..].concat(), 2))?;
        let _ = partition.assign(following(1));
        let parts = ReplicaEpochEnd { epoch: LeaderEpoch::new(0), end: offset(2) };
        // From here on what was claimed beyond the cut counts no more.
        told.claimed.truncate(1);
        assert_eq!(fed(&partition, &Answered::Diverging(parts))?, Followed::Cut { end: offset(2) });
        fed(&partition, &records(&with_gap, 2))?;
        claim(&partition, told)?;
        fed(&partition, &records(&newer[3], 3))?;
        claim(&partition, told)
    };
    let covered = CrashPoints::in_dir(super::DATA).arbitrary(4).run(run, |after, told| {
        let partition = follower_on(after.disk());
        partition.open().unwrap_or_else(|fault| panic!("{fault}: {told:?}"));
        let found = batches(&partition);
        let is_of = |history: &Vec<Vec<u8>>| {
            found.len() <= history.len()
                && found.iter().zip(history).all(|((_, bytes), known)| bytes == known)
        };
        assert!(histories.iter().any(is_of), "a mixture: {found:?}");
        assert!(found.len() >= told.claimed.len(), "{found:?} of {told:?}");
        assert_eq!(found[..told.claimed.len()], told.claimed[..]);
        // It goes on from there.
        let _ = partition.assign(following(2));
        assert!(partition.follow().expect("is open").is_some());
    });
    assert!(covered.points > 15, "{covered:?}");
}

#[test]
fn a_follower_whose_disk_is_too_full_to_cut_cuts_when_there_is_room() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(0));
    let older = led(&[], 0, &[&["a"], &["b"], &["c"]]);
    assert!(matches!(take(&partition, &records(&older, 0)), Followed::Appended { .. }));
    flush(&partition).expect("syncs");
    let (point, start) = partition.checkpoint().expect("is open");
    partition.checkpointed(point, start);
    let _ = partition.assign(following(1));
    let parts = ReplicaEpochEnd { epoch: LeaderEpoch::new(0), end: offset(1) };
    let space = mem.shared().space(Path::new(super::DATA)).expect("tells");
    mem.set_capacity(Some(space.total - space.free));
    for _ in 0..2 {
        let follow = partition.follow().expect("takes writes").expect("there is a leader");
        let (followed, effects) =
            partition.take_answer(follow.following, &Answered::Diverging(parts), now());
        assert_eq!(followed, Followed::NoRoom { end: offset(3) });
        assert!(effects.no_room_for.is_some(), "whoever minds the disk is told");
    }
    mem.set_capacity(None);
    assert_eq!(take(&partition, &Answered::Diverging(parts)), Followed::Cut { end: offset(1) });
}
