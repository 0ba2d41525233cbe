//! Plays (`testdata/*.txt`) and random histories.

use crate::{
    Acks, Answer, Assignment, Caller, Durability, EpochEnd, Following, Found, Input, IsrMember,
    LogEnds, Outcome, Output, Peer, Policy, ProposalOutcome, Refusal, Replica, Role, Ticket,
    agreement,
};
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Now, Offset, PartitionEpoch};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::time::Duration;

const SELF: BrokerId = BrokerId::new(1);

fn ends(start: i64, end: i64, durable: i64) -> LogEnds {
    LogEnds { start: Offset::new(start), end: Offset::new(end), durable: Offset::new(durable) }
}

fn fresh() -> Replica {
    Replica::new(SELF, Policy::default(), ends(0, 0, 0), Offset::ZERO)
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

/// The value of a `key=value` word.
fn value<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// An epoch and its end, as `EPOCH:END`.
fn epoch_end(text: &str) -> EpochEnd {
    let (epoch, end) = text.split_once(':').expect("epoch:end");
    EpochEnd { epoch: LeaderEpoch::new(number(epoch)), end: Offset::new(number(end)) }
}

/// All replicas are registered at epoch 1 and may join, unless `peers=2@5,3@6!` says otherwise; a
/// `!` marks one that may not.
fn assignment([leader, epoch, replicas, isr]: [&str; 4], words: &[&str]) -> Assignment {
    let replicas = broker_list(replicas);
    let peer = |text: &str| {
        let may_join = !text.ends_with('!');
        let (broker, epoch) = text.trim_end_matches('!').split_once('@').expect("broker@epoch");
        let (broker, broker_epoch) = (BrokerId::new(number(broker)), number(epoch));
        Peer { broker, broker_epoch: BrokerEpoch::new(broker_epoch), may_join }
    };
    let fresh = |broker: &BrokerId| Peer {
        broker: *broker,
        broker_epoch: BrokerEpoch::new(1),
        may_join: true,
    };
    Assignment {
        leader: leader.parse().ok().map(BrokerId::new),
        leader_epoch: LeaderEpoch::new(number(epoch)),
        partition_epoch: PartitionEpoch::new(number(value(words, "change").unwrap_or(epoch))),
        isr: broker_list(isr),
        peers: match value(words, "peers") {
            Some(list) => list.split(',').map(peer).collect(),
            None => replicas.iter().map(fresh).collect(),
        },
        replicas,
        is_fenced: words.contains(&"fenced"),
    }
}

/// Runs one line of a play and returns what can be seen of it.
fn perform(replica: &mut Replica, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let Some(text) = question(replica, &words) {
        return text;
    }
    let input = from_follower(replica, &words).unwrap_or_else(|| local(&words));
    let output = replica.step(input);
    replica.check_invariants();
    seen(replica, &output)
}

/// What followers, the leader, the controller and time do.
fn from_follower(replica: &Replica, words: &[&str]) -> Option<Input> {
    let offset = |text: &str| Offset::new(number(text));
    let seconds = |text: &str| Now::from_start(Duration::from_secs(number(text)));
    let now = value(words, "at").map_or(Now::default(), seconds);
    let caller = |broker: &str| Caller {
        broker: BrokerId::new(number(broker)),
        broker_epoch: BrokerEpoch::new(value(words, "broker").map_or(1, number)),
        leader_epoch: value(words, "epoch")
            .map_or(replica.leader_epoch(), |epoch| LeaderEpoch::new(number(epoch))),
    };
    let answered =
        |attempt: &str, outcome| Input::Answered { number: number(attempt), outcome, now };
    Some(match words {
        ["fetch", follower, from, ..] => {
            Input::Fetched { caller: caller(follower), offset: offset(from), now }
        }
        ["progress", follower, end, ..] => {
            Input::Progress { caller: caller(follower), end: offset(end), now }
        }
        ["accepted", attempt, change, ..] => {
            let partition_epoch = PartitionEpoch::new(number(change));
            answered(attempt, ProposalOutcome::Accepted { partition_epoch })
        }
        ["ineligible", attempt, ..] => {
            answered(attempt, ProposalOutcome::Refused(ErrorCode::IneligibleReplica))
        }
        ["unknown", attempt, ..] => answered(attempt, ProposalOutcome::Unknown),
        ["replicated", end, high_watermark] => {
            Input::Replicated { end: offset(end), high_watermark: offset(high_watermark) }
        }
        ["truncated", start, end, durable] => {
            Input::Truncated { ends: ends(number(start), number(end), number(durable)) }
        }
        ["tick", at] => Input::Ticked { now: seconds(at) },
        _ => return None,
    })
}

/// What happens to the log, the settings and those who wait.
fn local(words: &[&str]) -> Input {
    let offset = |text: &str| Offset::new(number(text));
    match words {
        ["assign", leader, epoch, replicas, isr, ..] => {
            Input::Assigned(assignment([leader, epoch, replicas, isr], words))
        }
        ["govern", min, durability] => Input::Governed(Policy {
            min_insync_replicas: number(min),
            durability: match *durability {
                "fsync" => Durability::Fsync,
                "relaxed" => Durability::Relaxed,
                other => panic!("durability {other}"),
            },
            ..Policy::default()
        }),
        ["append", end] => Input::Appended { end: offset(end) },
        ["durable", end] => Input::Durable { end: offset(end) },
        ["trim", start] => Input::Trimmed { start: offset(start) },
        ["fail"] => Input::Ended { error: ErrorCode::KafkaStorageError },
        ["park", ticket, at] => {
            Input::Parked { ticket: Ticket(number(ticket)), offset: offset(at) }
        }
        ["park-reader", ticket, at] => {
            Input::ParkedReader { ticket: Ticket(number(ticket)), offset: offset(at) }
        }
        ["park-fetch", ticket, end, high_watermark] => Input::ParkedFetch {
            ticket: Ticket(number(ticket)),
            end: offset(end),
            high_watermark: offset(high_watermark),
        },
        ["forget", ticket] => Input::Forgotten { ticket: Ticket(number(ticket)) },
        other => panic!("unknown line {other:?}"),
    }
}

/// Lines that end in a question mark change nothing.
fn question(replica: &Replica, words: &[&str]) -> Option<String> {
    let admitted = |answer: Result<(), Refusal>| match answer {
        Ok(()) => "admitted".to_owned(),
        Err(Refusal(error)) => format!("refused: {error}"),
    };
    let known = |text: &str| text.parse().ok().map(LeaderEpoch::new);
    let offset = |text: &str| Offset::new(number(text));
    Some(match words {
        ["produce?", acks] => {
            let acks = match *acks {
                "all" => Acks::All,
                "1" => Acks::Leader,
                "0" => Acks::None,
                other => panic!("acks {other}"),
            };
            match replica.admit_produce(acks) {
                Ok(epoch) => format!("admitted in epoch {epoch}"),
                Err(Refusal(error)) => format!("refused: {error}"),
            }
        }
        ["read?", epoch] => admitted(replica.admit_read(known(epoch))),
        ["reader?", epoch] => admitted(replica.admit_reader(known(epoch))),
        ["latest?"] => admitted(replica.admit_latest(None)),
        ["fetch?", follower, epoch, broker_epoch] => admitted(replica.admit_follower(&Caller {
            broker: BrokerId::new(number(follower)),
            broker_epoch: BrokerEpoch::new(number(broker_epoch)),
            leader_epoch: LeaderEpoch::new(number(epoch)),
        })),
        // The follower's question, what the leader's cache says, the leader's log.
        ["agree?", from, "empty", start, end] => {
            format!("{:?}", agreement(offset(from), None, (offset(start), offset(end))))
        }
        ["agree?", from, asked, own, start, end] => {
            let last = (LeaderEpoch::new(number(asked)), epoch_end(own));
            format!("{:?}", agreement(offset(from), Some(last), (offset(start), offset(end))))
        }
        ["following?"] => match replica.following() {
            Some(Following { leader, leader_epoch, offset }) => {
                format!("{leader} in epoch {leader_epoch} from {offset}")
            }
            None => "nobody".to_owned(),
        },
        ["plan?", leader, epoch, from, found @ ..] => {
            let asked = Following {
                leader: BrokerId::new(number(leader)),
                leader_epoch: LeaderEpoch::new(number(epoch)),
                offset: offset(from),
            };
            let found = match found {
                ["agrees"] => Found::Agreement,
                ["parts", leader, own] => {
                    Found::Divergence { leader: epoch_end(leader), own: epoch_end(own) }
                }
                ["outside", start, end] => {
                    Found::OutOfRange { log_start: offset(start), log_end: offset(end) }
                }
                other => panic!("found {other:?}"),
            };
            format!("{:?}", replica.plan(&Answer { asked, found }))
        }
        ["deadline?"] => match replica.next_deadline() {
            Some(at) => format!("at {:?}", at.since_start()),
            None => "none".to_owned(),
        },
        _ => return None,
    })
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
    if let Some(proposal) = &output.proposal {
        let member = |member: &IsrMember| match member.broker_epoch {
            Some(epoch) => format!("{}@{epoch}", member.broker),
            None => member.broker.to_string(),
        };
        let isr: Vec<String> = proposal.isr.iter().map(member).collect();
        let (number, change) = (proposal.number, proposal.partition_epoch);
        write!(text, " propose {number}: isr {} on change {change}", isr.join(","))
            .expect("a String takes all");
    }
    if let Some(claim) = &output.claim {
        write!(text, " tell {}: durable {}", claim.leader, claim.end).expect("a String takes all");
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

fn any_assignment() -> impl Strategy<Value = Assignment> {
    let peer = (1_i32..4, 0_i64..4, any::<bool>()).prop_map(|(broker, epoch, may_join)| Peer {
        broker: BrokerId::new(broker),
        broker_epoch: BrokerEpoch::new(epoch),
        may_join,
    });
    (
        proptest::option::of(1_i32..4),
        (0_i32..5, 0_i32..9),
        proptest::sample::subsequence(vec![1, 2, 3], 0..=3),
        proptest::collection::vec(peer, 0..4),
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(leader, (epoch, change), isr, peers, is_fenced)| {
            let leader = leader.map(BrokerId::new);
            let mut isr: Vec<_> = isr.into_iter().map(BrokerId::new).collect();
            isr.extend(leader.filter(|id| !isr.contains(id)));
            Assignment {
                leader,
                leader_epoch: LeaderEpoch::new(epoch),
                partition_epoch: PartitionEpoch::new(change),
                replicas: (1..4).map(BrokerId::new).collect(),
                isr,
                peers,
                is_fenced,
            }
        })
}

fn any_input() -> impl Strategy<Value = Input> {
    let offset = || (0_i64..50).prop_map(Offset::new);
    let ticket = || (0_u64..8).prop_map(Ticket);
    let now = || (0_u64..60).prop_map(|at| Now::from_start(Duration::from_secs(at)));
    let caller = || {
        (1_i32..5, 0_i64..4, 0_i32..5).prop_map(|(broker, broker_epoch, leader_epoch)| Caller {
            broker: BrokerId::new(broker),
            broker_epoch: BrokerEpoch::new(broker_epoch),
            leader_epoch: LeaderEpoch::new(leader_epoch),
        })
    };
    let outcome = prop_oneof![
        Just(ProposalOutcome::Unknown),
        Just(ProposalOutcome::Refused(ErrorCode::IneligibleReplica)),
        (0_i32..9).prop_map(|change| ProposalOutcome::Accepted {
            partition_epoch: PartitionEpoch::new(change),
        }),
    ];
    prop_oneof![
        any_assignment().prop_map(Input::Assigned),
        (1_usize..4, any::<bool>()).prop_map(|(min, fsync)| Input::Governed(Policy {
            min_insync_replicas: min,
            durability: if fsync { Durability::Fsync } else { Durability::Relaxed },
            ..Policy::default()
        })),
        offset().prop_map(|end| Input::Appended { end }),
        offset().prop_map(|end| Input::Durable { end }),
        offset().prop_map(|start| Input::Trimmed { start }),
        (caller(), offset(), now()).prop_map(|(caller, offset, now)| Input::Fetched {
            caller,
            offset,
            now
        }),
        (caller(), offset(), now()).prop_map(|(caller, end, now)| Input::Progress {
            caller,
            end,
            now
        }),
        (0_u64..4, outcome, now()).prop_map(|(number, outcome, now)| Input::Answered {
            number,
            outcome,
            now
        }),
        (offset(), offset())
            .prop_map(|(end, high_watermark)| Input::Replicated { end, high_watermark }),
        (0_i64..50, 0_i64..50, 0_i64..50)
            .prop_map(|(start, end, durable)| Input::Truncated { ends: ends(start, end, durable) }),
        now().prop_map(|now| Input::Ticked { now }),
        (ticket(), offset()).prop_map(|(ticket, offset)| Input::Parked { ticket, offset }),
        (ticket(), offset()).prop_map(|(ticket, offset)| Input::ParkedReader { ticket, offset }),
        (ticket(), offset(), offset()).prop_map(|(ticket, end, high_watermark)| {
            Input::ParkedFetch { ticket, end, high_watermark }
        }),
        ticket().prop_map(|ticket| Input::Forgotten { ticket }),
        Just(Input::Ended { error: ErrorCode::KafkaStorageError }),
    ]
}

proptest! {
    /// Whatever happens in whatever order: the ends stay ordered, the high watermark never falls but
    /// where a follower cuts, the leader epoch never falls, nothing un-flushed is committed by a
    /// leader in fsync mode, and a ticket is answered at most once per parking.
    #[test]
    fn invariants_hold_in_any_history(history in proptest::collection::vec(any_input(), 1..80)) {
        let mut replica = fresh();
        let mut parked = std::collections::BTreeSet::new();
        for input in history {
            let (hw, epoch) = (replica.high_watermark(), replica.leader_epoch());
            let cuts = matches!(input, Input::Truncated { .. });
            let moves = cuts || matches!(input, Input::Trimmed { .. } | Input::Replicated { .. });
            match &input {
                Input::Parked { ticket, .. }
                | Input::ParkedReader { ticket, .. }
                | Input::ParkedFetch { ticket, .. } => {
                    parked.insert(*ticket);
                }
                Input::Forgotten { ticket } => {
                    parked.remove(ticket);
                }
                _ => {}
            }
            let led = replica.role() == Role::Leader;
            let output = replica.step(input);
            replica.check_invariants();
            prop_assert!(replica.high_watermark() >= hw || (cuts && !led));
            prop_assert!(replica.leader_epoch() >= epoch);
            let is_fsync = replica.policy_for_tests().durability == Durability::Fsync;
            if is_fsync && !moves && replica.high_watermark() > hw {
                prop_assert!(replica.high_watermark() <= replica.ends().durable);
            }
            for released in output.released {
                prop_assert!(parked.remove(&released.ticket), "released twice or never parked");
            }
            prop_assert_eq!(parked.len(), replica.waiting());
        }
    }
}
