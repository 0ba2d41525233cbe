//! Consumers that read from a follower (KIP-392): whom a leader sends there, and what they get.

use super::following::{OTHER, follower_on, following, led, records, take};
use super::{BROKER, assignment, offset, read_code, reading};
use crate::{
    Assignment, Caller, Followed, FollowerFetch, FollowerRead, Partition, Peer, Read, ReadOutcome,
};
use jocko_disk::MemDisk;
use jocko_types::{BrokerEpoch, ErrorCode, LeaderEpoch, Now, Offset};

const SINCE: BrokerEpoch = BrokerEpoch::new(20);

fn anywhere(from: i64) -> Read {
    Read { any_replica: true, ..reading(offset(from)) }
}

/// Where a reader's next question begins, or the refusal.
fn read(partition: &Partition, read: &Read) -> Result<Offset, ErrorCode> {
    match partition.read(read) {
        ReadOutcome::Found(view) => {
            assert!(!view.is_leader);
            let Some(slice) = view.slice else { return Ok(read.from) };
            let bytes = slice.read().expect("is there");
            let last = jocko_records::strict_batches(&bytes).last().expect("one").expect("whole");
            Ok(last.header().last_offset().next())
        }
        outcome => Err(read_code(outcome)),
    }
}

#[test]
fn a_follower_serves_up_to_its_own_high_watermark() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(1));
    assert_eq!(read(&partition, &anywhere(0)), Err(ErrorCode::ReplicaNotAvailable), "not yet");
    assert_eq!(partition.park_reader(1, offset(1)).released, [1], "nor can one wait here");
    let bytes = led(&[], 1, &[&["a"], &["b"]]);
    assert!(matches!(take(&partition, &records(&bytes, 1)), Followed::Appended { .. }));
    assert_eq!(read(&partition, &reading(offset(0))), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(read(&partition, &anywhere(0)), Ok(offset(1)));
    assert_eq!(read(&partition, &anywhere(1)), Ok(offset(1)), "it will be committed");
    assert_eq!(read(&partition, &anywhere(2)), Ok(offset(2)));
    assert_eq!(read(&partition, &anywhere(3)), Err(ErrorCode::OffsetNotAvailable));
    for (epoch, refused) in [(0, ErrorCode::FencedLeaderEpoch), (2, ErrorCode::UnknownLeaderEpoch)]
    {
        let known_leader_epoch = Some(LeaderEpoch::new(epoch));
        assert_eq!(read(&partition, &Read { known_leader_epoch, ..anywhere(0) }), Err(refused));
    }
    assert_eq!(partition.latest(None), Err(ErrorCode::NotLeaderOrFollower), "the leader's to tell");

    assert_eq!(partition.park(2, offset(2)).released, [2], "as for who wants the leader");
    assert_eq!(partition.park_reader(3, offset(2)).released, []);
    let asked = partition.follow().unwrap().unwrap().following;
    let (_, effects) = partition.take_answer(asked, &records(&[], 2), super::now());
    assert_eq!(effects.released, [3]);
    assert_eq!(read(&partition, &anywhere(1)), Ok(offset(2)));
    // Another epoch: what it holds may be cut.
    assert_eq!(partition.park_reader(4, offset(3)).released, []);
    assert_eq!(partition.assign(following(2)).released, [4]);
    assert_eq!(read(&partition, &anywhere(1)), Err(ErrorCode::ReplicaNotAvailable));
}

#[test]
fn a_reader_is_sent_to_who_is_in_sync_and_has_what_it_wants() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(1));
    let bytes = led(&[], 1, &[&["a"], &["b"]]);
    assert!(matches!(take(&partition, &records(&bytes, 2)), Followed::Appended { .. }));
    let leads = |epoch: i32, isr: &[jocko_types::BrokerId]| Assignment {
        replicas: vec![BROKER, OTHER],
        isr: isr.to_vec(),
        peers: vec![Peer { broker: OTHER, broker_epoch: SINCE, may_join: false }],
        ..assignment(Some(BROKER), LeaderEpoch::new(2), epoch)
    };
    let nearer = |partition: &Partition, from, known| {
        let found = partition.nearer(offset(from), known, &[OTHER]);
        found.map(|(reader, view)| (reader, view.high_watermark.get(), view.slice.is_none()))
    };
    assert_eq!(nearer(&partition, 0, None), None, "it does not lead");
    let _ = partition.assign(leads(2, &[BROKER, OTHER]));
    assert_eq!(nearer(&partition, 0, None), None, "nothing was heard of the other");
    let ask = |log_start| FollowerFetch {
        caller: Caller { broker: OTHER, broker_epoch: SINCE, leader_epoch: LeaderEpoch::new(2) },
        from: offset(1),
        log_start: offset(log_start),
        last_fetched_epoch: Some(LeaderEpoch::new(1)),
        bytes_max: 1,
        whole_batch: true,
    };
    let fetch = |log_start| {
        let (read, _) = partition.fetch_for_follower(&ask(log_start), Now::default());
        assert!(matches!(read, FollowerRead::Found(_)), "{read:?}");
    };
    fetch(0);
    assert_eq!(nearer(&partition, 0, None), Some((OTHER, 2, true)));
    assert_eq!(nearer(&partition, 1, None), Some((OTHER, 2, true)));
    assert_eq!(nearer(&partition, 2, None), None, "it has not got there");
    assert_eq!(nearer(&partition, 1, Some(LeaderEpoch::new(1))), None, "an old epoch");
    assert!(partition.nearer(offset(1), None, &[BROKER]).is_none(), "another rack");
    fetch(1);
    assert_eq!(nearer(&partition, 0, None), None, "it has dropped that");
    assert_eq!(nearer(&partition, 1, None), Some((OTHER, 2, true)));
    let _ = partition.assign(leads(3, &[BROKER]));
    assert_eq!(nearer(&partition, 1, None), None, "it is not in sync");
}

#[test]
fn a_new_leader_says_where_the_log_ends_once_it_knows() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(following(1));
    let bytes = led(&[], 1, &[&["a"], &["b"]]);
    assert!(matches!(take(&partition, &records(&bytes, 1)), Followed::Appended { .. }));
    let (job, _) = partition.take_flush();
    let mut job = job.expect("something is to be flushed");
    job.run(partition.home().disk.as_ref()).expect("syncs");
    let _ = partition.flushed(&job);
    let peers = vec![Peer { broker: OTHER, broker_epoch: SINCE, may_join: true }];
    let all = vec![BROKER, OTHER];
    let assignment = assignment(Some(BROKER), LeaderEpoch::new(2), 2);
    let _ = partition.assign(Assignment { replicas: all.clone(), isr: all, peers, ..assignment });
    // Clients of the old leader may have read both records; this one knows of the first alone.
    let unknown = Err(ErrorCode::OffsetNotAvailable);
    let later = jocko_types::Timestamp::from_millis(super::now().as_millis() + 1);
    let at = |time| partition.at_timestamp(None, time).map(|found| found.offset);
    assert_eq!(partition.latest(None).map(|found| found.offset), unknown);
    assert_eq!(at(later), unknown, "nothing so late is committed, as far as it knows");
    assert_eq!(at(super::now()), Ok(Some(Offset::ZERO)));
    assert_eq!(partition.earliest(None).map(|found| found.offset), Ok(Some(Offset::ZERO)));
    let ask = FollowerFetch {
        caller: Caller { broker: OTHER, broker_epoch: SINCE, leader_epoch: LeaderEpoch::new(2) },
        from: offset(2),
        log_start: Offset::ZERO,
        last_fetched_epoch: Some(LeaderEpoch::new(1)),
        bytes_max: 1,
        whole_batch: true,
    };
    let (_, _) = partition.fetch_for_follower(&ask, Now::default());
    let _ = partition.follower_progress(ask.caller, offset(2), Now::default());
    assert_eq!(partition.latest(None).map(|found| found.offset), Ok(Some(offset(2))));
    assert_eq!(at(later), Ok(None));
}
