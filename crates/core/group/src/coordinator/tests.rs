//! Plays (`testdata/*.txt`), and random histories against the invariants.

mod histories;
mod hostile;
mod play;
mod stage;

use crate::command::{Answer, Command, CommitOffsets, OffsetToCommit};
use jocko_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};
use stage::Stage;

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
    let offsets = (0..count).map(|partition| OffsetToCommit {
        topic: "t".to_owned(),
        topic_id: TopicId::ZERO,
        partition: PartitionIndex::new(partition),
        offset: Offset::new(1),
        leader_epoch: LeaderEpoch::NONE,
        metadata: String::new(),
    });
    stage.send(&Command::CommitOffsets(CommitOffsets {
        group_id: "g".to_owned(),
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
