//! Tables for what assignors promise in words, properties for what they promise always.

use super::*;
use jocko_types::Uuid;
use proptest::prelude::*;

fn topic(number: u8) -> TopicId {
    let mut bytes = [0; 16];
    bytes[0] = 1;
    bytes[15] = number;
    Uuid::from_bytes(bytes)
}

/// A member of a test: id, instance id, wanted topics, present target.
#[derive(Debug, Clone)]
struct Member {
    id: String,
    instance: Option<String>,
    topics: BTreeSet<u8>,
    target: Assignment,
}

fn member(id: &str, topics: &[u8]) -> Member {
    Member {
        id: id.to_owned(),
        instance: None,
        topics: topics.iter().copied().collect(),
        target: Assignment::new(),
    }
}

fn run(assignor: Assignor, members: &[Member], counts: &PartitionCounts) -> Vec<Assignment> {
    let subscribers: Vec<_> = members
        .iter()
        .map(|member| Subscriber {
            member_id: &member.id,
            instance_id: member.instance.as_deref(),
            topics: Arc::new(member.topics.iter().map(|&t| topic(t)).collect()),
            target: &member.target,
        })
        .collect();
    assignor.assign(&subscribers, counts)
}

fn counts(of: &[(u8, u32)]) -> PartitionCounts {
    of.iter().map(|&(t, count)| (topic(t), count)).collect()
}

/// "1:0,1 2:0" for partitions 0 and 1 of topic 1 and partition 0 of topic 2.
fn show(target: &Assignment) -> String {
    let topics = target.iter().map(|(id, partitions)| {
        let partitions: Vec<_> = partitions.iter().map(|p| p.get().to_string()).collect();
        format!("{}:{}", id.as_bytes()[15], partitions.join(","))
    });
    topics.collect::<Vec<_>>().join(" ")
}

fn check(assignor: Assignor, members: &[Member], topics: &[(u8, u32)], expected: &[&str]) {
    let targets = run(assignor, members, &counts(topics));
    assert_eq!(targets.iter().map(show).collect::<Vec<_>>(), expected);
}

#[test]
fn range_gives_co_partitioned_topics_the_same_numbers() {
    let members = [member("a", &[1, 2]), member("b", &[1, 2])];
    check(Assignor::Range, &members, &[(1, 3), (2, 3)], &["1:0,1 2:0,1", "1:2 2:2"]);
}

#[test]
fn range_orders_static_members_first_by_instance_id() {
    let mut members = [member("c", &[1]), member("a", &[1]), member("b", &[1])];
    members[1].instance = Some("z".to_owned());
    members[2].instance = Some("y".to_owned());
    check(Assignor::Range, &members, &[(1, 3)], &["1:2", "1:1", "1:0"]);
}

#[test]
fn range_divides_each_topic_among_its_own_subscribers() {
    let members = [member("a", &[1]), member("b", &[1, 2]), member("c", &[2])];
    check(Assignor::Range, &members, &[(1, 3), (2, 1)], &["1:0,1", "1:2 2:0", ""]);
}

#[test]
fn uniform_gives_back_as_little_as_possible() {
    let all: Assignment = [(topic(1), partitions(5).collect())].into();
    let mut members = [member("a", &[1]), member("b", &[1])];
    members[1].target = all;
    check(Assignor::Uniform, &members, &[(1, 5)], &["1:3,4", "1:0,1,2"]);
}

#[test]
fn uniform_evens_out_different_wishes() {
    let members = [member("a", &[1, 2]), member("b", &[2]), member("c", &[2, 3])];
    check(
        Assignor::Uniform,
        &members,
        &[(1, 3), (2, 4), (3, 2)],
        &["1:0,1,2", "2:0,1,2", "2:3 3:0,1"],
    );
}

#[test]
fn topics_without_partitions_and_groups_without_members_are_fine() {
    check(Assignor::Uniform, &[], &[(1, 3)], &[]);
    check(Assignor::Range, &[], &[(1, 3)], &[]);
    check(Assignor::Uniform, &[member("a", &[7])], &[(1, 3)], &[""]);
    check(Assignor::Range, &[member("a", &[7])], &[(1, 3)], &[""]);
    check(Assignor::Uniform, &[member("a", &[])], &[], &[""]);
}

/// Members with wishes, targets left over from an earlier time, and topics.
fn groups() -> impl Strategy<Value = (Vec<Member>, PartitionCounts)> {
    let topics = proptest::collection::btree_map(0_u8..6, 0_u32..12, 0..5);
    let wish = proptest::collection::btree_set(0_u8..6, 0..4);
    let held = proptest::collection::vec((0_u8..6, 0_i32..14), 0..20);
    let members = proptest::collection::vec((wish, held, any::<bool>()), 1..9);
    (topics, members, any::<bool>()).prop_map(|(topics, members, alike)| {
        let counts = topics.into_iter().map(|(t, count)| (topic(t), count)).collect();
        let shared = members.first().map(|m| m.0.clone()).unwrap_or_default();
        let mut taken = BTreeSet::new();
        let members = members.into_iter().enumerate().map(|(i, (wish, held, fixed))| {
            let mut target = Assignment::new();
            for (t, p) in held.into_iter().filter(|&at| taken.insert(at)) {
                target.entry(topic(t)).or_default().insert(PartitionIndex::new(p));
            }
            Member {
                id: format!("m{i}"),
                instance: fixed.then(|| format!("i{}", 9 - i)),
                topics: if alike { shared.clone() } else { wish },
                target,
            }
        });
        (members.collect(), counts)
    })
}

/// Each partition of a topic with a subscriber has one owner, which subscribes to it.
fn check_owners(members: &[Member], counts: &PartitionCounts, targets: &[Assignment]) {
    assert_eq!(members.len(), targets.len());
    let mut owned = BTreeSet::new();
    for (member, target) in members.iter().zip(targets) {
        for (&id, held) in target {
            assert!(!held.is_empty(), "an empty topic in a target");
            assert!(member.topics.iter().any(|&t| topic(t) == id), "not a subscriber");
            for &p in held {
                assert!(exists(counts, id, p), "no such partition");
                assert!(owned.insert((id, p)), "two owners");
            }
        }
    }
    let wanted: BTreeSet<_> =
        members.iter().flat_map(|m| m.topics.iter().map(|&t| topic(t))).collect();
    let expected: usize = wanted.iter().map(|&id| count_of(counts, id)).sum();
    assert_eq!(owned.len(), expected, "a partition without an owner");
}

fn size(target: &Assignment) -> usize {
    target.values().map(BTreeSet::len).sum()
}

proptest! {
    #[test]
    fn every_partition_has_one_owner((members, counts) in groups()) {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            check_owners(&members, &counts, &run(assignor, &members, &counts));
        }
    }

    #[test]
    fn uniform_leaves_no_better_move((members, counts) in groups()) {
        let targets = run(Assignor::Uniform, &members, &counts);
        for from in &targets {
            for id in from.keys() {
                for (member, to) in members.iter().zip(&targets) {
                    if member.topics.iter().any(|&t| topic(t) == *id) {
                        prop_assert!(size(from) < size(to) + 2);
                    }
                }
            }
        }
    }

    #[test]
    fn uniform_rests_when_nothing_changes((mut members, counts) in groups()) {
        let targets = run(Assignor::Uniform, &members, &counts);
        for (member, target) in members.iter_mut().zip(&targets) {
            member.target = target.clone();
        }
        prop_assert_eq!(run(Assignor::Uniform, &members, &counts), targets);
    }

    #[test]
    fn uniform_moves_only_what_balance_asks_for((mut members, counts) in groups()) {
        // With equal wishes: a member loses a partition only if it has more than its share.
        let wish = members[0].topics.clone();
        for member in &mut members {
            member.topics = wish.clone();
        }
        let before = run(Assignor::Uniform, &members, &counts);
        for (member, target) in members.iter_mut().zip(&before) {
            member.target = target.clone();
        }
        members.push(Member { id: "new".into(), topics: wish, ..member("new", &[]) });
        let after = run(Assignor::Uniform, &members, &counts);
        let arrived = size(after.last().expect("the new member"));
        let lost: usize = before.iter().zip(&after).map(|(b, a)| {
            b.iter().map(|(id, held)| {
                let kept = a.get(id).map_or(0, |now| now.intersection(held).count());
                held.len() - kept
            }).sum::<usize>()
        }).sum();
        prop_assert_eq!(lost, arrived);
    }
}
