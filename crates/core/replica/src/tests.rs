//! Plays (`testdata/*.txt`) and random histories.

use crate::{
    Acks, Assignment, Durability, Input, LogEnds, Outcome, Output, Policy, Refusal, Replica, Ticket,
};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch};
use proptest::prelude::*;
use std::fmt::Write as _;

const SELF: BrokerId = BrokerId::new(1);

fn ends(start: i64, end: i64, durable: i64) -> LogEnds {
    LogEnds { start: Offset::new(start), end: Offset::new(end), durable: Offset::new(durable) }
}

fn fresh() -> Replica {
    let policy = Policy { min_insync_replicas: 1, durability: Durability::Fsync };
    Replica::new(SELF, policy, ends(0, 0, 0), Offset::ZERO)
}

fn broker_list(text: &str) -> Vec<BrokerId> {
    text.split(',').filter(|id| !id.is_empty()).map(|id| BrokerId::new(number(id))).collect()
}

fn number<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap_or_else(|error| panic!("{text:?} is not a number: {error:?}"))
}

/// Runs one line of a play and returns what can be seen of it.
fn perform(replica: &mut Replica, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let input = match words.as_slice() {
        ["assign", leader, epoch, replicas, isr] => Input::Assigned(Assignment {
            leader: leader.parse().ok().map(BrokerId::new),
            leader_epoch: LeaderEpoch::new(number(epoch)),
            partition_epoch: PartitionEpoch::new(number(epoch)),
            replicas: broker_list(replicas),
            isr: broker_list(isr),
        }),
        ["govern", min, durability] => Input::Governed(Policy {
            min_insync_replicas: number(min),
            durability: match *durability {
                "fsync" => Durability::Fsync,
                "relaxed" => Durability::Relaxed,
                other => panic!("durability {other}"),
            },
        }),
        ["append", end] => Input::Appended { end: Offset::new(number(end)) },
        ["durable", end] => Input::Durable { end: Offset::new(number(end)) },
        ["trim", start] => Input::Trimmed { start: Offset::new(number(start)) },
        ["progress", follower, end] => Input::Progress {
            follower: BrokerId::new(number(follower)),
            end: Offset::new(number(end)),
        },
        ["fail"] => Input::Ended { error: ErrorCode::KafkaStorageError },
        ["park", ticket, offset] => {
            Input::Parked { ticket: Ticket(number(ticket)), offset: Offset::new(number(offset)) }
        }
        ["forget", ticket] => Input::Forgotten { ticket: Ticket(number(ticket)) },
        ["produce?", acks] => {
            let acks = match *acks {
                "all" => Acks::All,
                "1" => Acks::Leader,
                "0" => Acks::None,
                other => panic!("acks {other}"),
            };
            return match replica.admit_produce(acks) {
                Ok(epoch) => format!("admitted in epoch {epoch}"),
                Err(Refusal(error)) => format!("refused: {error}"),
            };
        }
        ["read?", epoch] => {
            return match replica.admit_read(epoch.parse().ok().map(LeaderEpoch::new)) {
                Ok(()) => "admitted".into(),
                Err(Refusal(error)) => format!("refused: {error}"),
            };
        }
        other => panic!("unknown line {other:?}"),
    };
    let output = replica.step(input);
    replica.check_invariants();
    seen(replica, &output)
}

fn seen(replica: &Replica, output: &Output) -> String {
    let ends = replica.ends();
    let mut text = format!(
        "{:?} start={} hw={} durable={} end={}",
        replica.role(),
        ends.start,
        replica.high_watermark(),
        ends.durable,
        ends.end
    );
    if output.flush_due {
        text.push_str(" flush");
    }
    for released in &output.released {
        let outcome = match released.outcome {
            Outcome::Reached => "reached".to_owned(),
            Outcome::Refused(error) => error.to_string(),
        };
        write!(text, " [{}: {outcome}]", released.ticket.0).expect("a String takes all");
    }
    text
}

/// A play is a script: `> input` lines followed by what was seen. `UPDATE_EXPECT=1` rewrites it.
#[test]
fn plays() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .expect("testdata is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let script = std::fs::read_to_string(&path).expect("readable");
        let mut replica = fresh();
        let mut played = String::new();
        for line in script.lines() {
            if let Some(input) = line.strip_prefix("> ") {
                writeln!(played, "{line}\n{}", perform(&mut replica, input)).expect("a String");
            } else if line.starts_with('#') || line.is_empty() {
                writeln!(played, "{line}").expect("a String");
            }
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &played).expect("writable");
            continue;
        }
        assert_eq!(played, script, "{}", path.display());
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    let offset = (0_i64..50).prop_map(Offset::new);
    let ticket = (0_u64..8).prop_map(Ticket);
    let broker = (1_i32..4).prop_map(BrokerId::new);
    prop_oneof![
        (
            proptest::option::of(broker.clone()),
            0_i32..5,
            proptest::sample::subsequence(vec![1, 2, 3], 0..=3)
        )
            .prop_map(|(leader, epoch, isr)| {
                let mut isr: Vec<_> = isr.into_iter().map(BrokerId::new).collect();
                isr.extend(leader.filter(|id| !isr.contains(id)));
                Input::Assigned(Assignment {
                    leader,
                    leader_epoch: LeaderEpoch::new(epoch),
                    partition_epoch: PartitionEpoch::new(epoch),
                    replicas: (1..4).map(BrokerId::new).collect(),
                    isr,
                })
            }),
        (1_usize..4, any::<bool>()).prop_map(|(min, fsync)| Input::Governed(Policy {
            min_insync_replicas: min,
            durability: if fsync { Durability::Fsync } else { Durability::Relaxed },
        })),
        offset.clone().prop_map(|end| Input::Appended { end }),
        offset.clone().prop_map(|end| Input::Durable { end }),
        offset.clone().prop_map(|start| Input::Trimmed { start }),
        (broker, offset.clone()).prop_map(|(follower, end)| Input::Progress { follower, end }),
        (ticket.clone(), offset).prop_map(|(ticket, offset)| Input::Parked { ticket, offset }),
        ticket.prop_map(|ticket| Input::Forgotten { ticket }),
        Just(Input::Ended { error: ErrorCode::KafkaStorageError }),
    ]
}

proptest! {
    /// Whatever happens in whatever order: the ends stay ordered, the high watermark and the
    /// leader epoch never fall, nothing un-flushed is committed in fsync mode, and a ticket is
    /// answered at most once per parking.
    #[test]
    fn invariants_hold_in_any_history(history in proptest::collection::vec(any_input(), 1..80)) {
        let mut replica = fresh();
        let mut parked = std::collections::BTreeSet::new();
        for input in history {
            let (hw, epoch) = (replica.high_watermark(), replica.leader_epoch());
            let trimmed = matches!(input, Input::Trimmed { .. });
            let relaxed = matches!(replica.policy_for_tests().durability, Durability::Relaxed);
            if let Input::Parked { ticket, .. } = &input {
                parked.insert(*ticket);
            } else if let Input::Forgotten { ticket } = &input {
                parked.remove(ticket);
            }
            let output = replica.step(input);
            replica.check_invariants();
            prop_assert!(replica.high_watermark() >= hw);
            prop_assert!(replica.leader_epoch() >= epoch);
            if !relaxed && !trimmed && replica.high_watermark() > hw {
                let policy = replica.policy_for_tests();
                if policy.durability == Durability::Fsync {
                    prop_assert!(replica.high_watermark() <= replica.ends().durable);
                }
            }
            for released in output.released {
                prop_assert!(parked.remove(&released.ticket), "released twice or never parked");
            }
            prop_assert_eq!(parked.len(), replica.waiting());
        }
    }
}
