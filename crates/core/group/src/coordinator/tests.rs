//! Plays (`testdata/*.txt`), and random histories against the invariants.

mod histories;
mod hostile;
mod play;
mod stage;

use crate::command::{Answer, Command, CommitOffsets, Join, OffsetToCommit, Opaque};
use crate::context::DecideContext;
use crate::coordinator::Coordinator;
use crate::record::{ClassicMetadata, GroupRecord};
use jocko_types::{ErrorCode, LeaderEpoch, Now, Offset, PartitionIndex, TopicId};
use stage::Stage;
use std::sync::Arc;
use std::time::Duration;

/// A play is a script: `> line` and what was seen of it. `UPDATE_EXPECT=1` rewrites it.
#[test]
fn plays() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .expect("testdata is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    for path in scripts {
        let script = std::fs::read_to_string(&path).expect("readable");
        let played = play::perform(&mut Stage::new(), &script);
        if update {
            std::fs::write(&path, &played).expect("writable");
        } else {
            assert_eq!(played, script, "{}", path.display());
        }
    }
}

fn commit_many(stage: &mut Stage, count: i32) {
    commit_to(stage, "g", count);
}

fn commit_to(stage: &mut Stage, group_id: &str, count: i32) {
    let offsets = (0..count).map(|partition| OffsetToCommit {
        topic: "t".to_owned(),
        topic_id: TopicId::ZERO,
        partition: PartitionIndex::new(partition),
        offset: Offset::new(1),
        leader_epoch: LeaderEpoch::NONE,
        metadata: String::new(),
    });
    stage.send(&Command::CommitOffsets(CommitOffsets {
        group_id: group_id.to_owned(),
        generation_or_member_epoch: -1,
        member_id: String::new(),
        instance_id: None,
        retention: None,
        knows_member_epochs: true,
        offsets: offsets.collect(),
    }));
}

/// A group of any size is deleted, in batches that fit into the log, and answered once.
#[test]
fn much_is_deleted_in_several_batches() {
    let delete_group = Command::DeleteGroup { group_id: "g".to_owned() };
    let forget = Command::ForgetTopics { topics: vec![("t".to_owned(), TopicId::ZERO)] };
    for (command, expected) in [
        (delete_group, Answer::GroupDeleted(ErrorCode::None)),
        (forget, Answer::Done),
        (Command::Expire, Answer::Done),
    ] {
        let mut stage = Stage::new();
        commit_many(&mut stage, 4500);
        stage.wait(stage.policy.offsets_retention);
        let (ticket, outcome) = stage.send(&command);
        assert_eq!(outcome.answers, [(ticket, expected)]);
        assert!(outcome.records.len() >= 4500, "{command:?}");
        assert_eq!(stage.coordinator.groups().count(), 0, "{command:?}");
    }
}

fn simple_join(group_id: &str) -> Command {
    Command::Join(Join {
        group_id: group_id.to_owned(),
        member_id: String::new(),
        instance_id: None,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Opaque::from([]))],
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(10),
        reason: None,
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        member_id_required: false,
        may_skip_assignment: false,
    })
}

/// However little the log takes at a time, what is to go goes; a tombstone that is larger than all
/// that it takes has a batch of its own.
#[test]
fn tombstones_stay_within_what_the_log_takes() {
    let delete_group = Command::DeleteGroup { group_id: "g".to_owned() };
    let partitions = (0..300).map(PartitionIndex::new).collect();
    let delete_offsets = Command::DeleteOffsets {
        group_id: "g".to_owned(),
        topics: vec![("t".to_owned(), partitions)],
    };
    let forget = Command::ForgetTopics { topics: vec![("t".to_owned(), TopicId::ZERO)] };
    let all_deleted = Answer::OffsetsDeleted(Ok(vec![vec![ErrorCode::None; 300]]));
    for (command, expected) in [
        (delete_group, Answer::GroupDeleted(ErrorCode::None)),
        (delete_offsets, all_deleted),
        (forget, Answer::Done),
        (Command::Expire, Answer::Done),
    ] {
        for (batch_bytes_max, batches) in [(usize::MAX, 1..=1), (2_000, 5..=10), (1, 300..=300)] {
            let mut stage = Stage::new();
            commit_many(&mut stage, 300);
            stage.wait(stage.policy.offsets_retention);
            (stage.batches, stage.batch_bytes_max) = (0, batch_bytes_max);
            let (ticket, outcome) = stage.send(&command);
            assert_eq!(outcome.answers, [(ticket, expected.clone())], "once");
            assert!(batches.contains(&stage.batches), "{command:?}: {}", stage.batches);
            assert_eq!(stage.coordinator.groups().count(), 0, "{command:?}");
        }
    }
}

/// Groups that go together do not go in one batch of any size.
#[test]
fn many_groups_expire_in_several_batches() {
    let mut stage = Stage::new();
    let empty = Arc::new(ClassicMetadata {
        protocol_type: "consumer".into(),
        generation: 1,
        protocol: None,
        leader: None,
        state_since: None,
        members: Vec::new(),
    });
    let groups: Vec<GroupRecord> = (0..2_500)
        .map(|at| GroupRecord::Classic {
            group_id: format!("g{at}").into(),
            value: Some(Arc::clone(&empty)),
        })
        .collect();
    stage.inherit(&groups);
    stage.batches = 0;
    let (_, outcome) = stage.send(&Command::Expire);
    assert_eq!((outcome.records.len(), stage.batches), (2_500, 2));
    assert_eq!(stage.coordinator.groups().count(), 0);
}

/// A group whose records the log refuses does not keep others from what is due in them.
#[test]
fn a_group_that_cannot_be_written_is_passed_over() {
    let mut stage = Stage::new();
    for group_id in ["a", "b", "c"] {
        stage.send(&simple_join(group_id));
    }
    stage.refused_group = Some("a".to_owned());
    // The initial delay is over for all three.
    stage.now = stage.now.plus(stage.policy.initial_rebalance_delay);
    let state_of = |stage: &Stage, group_id| stage.coordinator.describe(group_id).unwrap().state;
    stage.send(&Command::Tick);
    for group_id in ["a", "b", "c"] {
        assert_eq!(state_of(&stage, group_id), "CompletingRebalance", "nothing is written yet");
    }
    // Nobody syncs in time: all three are to be written as empty.
    stage.now = stage.now.plus(Duration::from_secs(60));
    let states = |stage: &Stage| ["a", "b", "c"].map(|group_id| state_of(stage, group_id));
    for _ in 0..3 {
        stage.send(&Command::Tick);
    }
    assert_eq!(states(&stage), ["CompletingRebalance", "Empty", "Empty"]);
    stage.send(&Command::Tick);
    assert_eq!(states(&stage), ["CompletingRebalance", "Empty", "Empty"], "still refused");
    stage.refused_group = None;
    stage.send(&Command::Tick);
    assert_eq!(states(&stage), ["Empty", "Empty", "Empty"]);
}

/// Whoever asks for ids and never comes back with them is turned away in the end, until the first
/// of them are no longer good.
#[test]
fn ids_are_not_given_out_without_end() {
    let mut coordinator = Coordinator::new();
    let stage = Stage::new();
    let Command::Join(join) = simple_join("g") else { unreachable!("it is one") };
    let join = Command::Join(Join { member_id_required: true, ..join });
    let ask = |coordinator: &mut Coordinator, ticket: u64, now: Now| {
        let cx = DecideContext { now, seed: ticket, ..stage.context(&stage.policy) };
        let decision = coordinator.decide(&cx, ticket, &join);
        match coordinator.accept(decision).pop() {
            Some((_, Answer::Joined(joined))) => joined.error,
            other => panic!("{other:?}"),
        }
    };
    for ticket in 0..10_000 {
        assert_eq!(ask(&mut coordinator, ticket, Now::default()), ErrorCode::MemberIdRequired);
    }
    let refused = ask(&mut coordinator, 10_000, Now::default());
    assert_eq!(refused, ErrorCode::GroupMaxSizeReached);
    let later = Now::default().plus(Duration::from_secs(11));
    while coordinator.next_deadline().is_some_and(|at| at <= later) {
        let cx = DecideContext { now: later, ..stage.context(&stage.policy) };
        let decision = coordinator.decide(&cx, 0, &Command::Tick);
        coordinator.accept(decision);
    }
    assert_eq!(ask(&mut coordinator, 10_001, later), ErrorCode::MemberIdRequired);
}

/// As Kafka reads them: blanks around a state are nothing, around a type they are something.
#[test]
fn states_are_trimmed_and_types_are_not() {
    let mut stage = Stage::new();
    commit_many(&mut stage, 1);
    let listed = |states: &[&str], types: &[&str]| {
        let owned = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| String::from(*name)).collect()
        };
        stage.coordinator.list(&owned(states), &owned(types)).len()
    };
    assert_eq!(listed(&[" empty "], &["CLASSIC"]), 1);
    assert_eq!(listed(&["Empty"], &[" classic"]), 0);
}
