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
