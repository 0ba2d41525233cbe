//! Three nodes in one process, each with a disk of its own, over the network in memory. Time is
//! virtual and chance is seeded, so every run of a test is the same run.

use super::{DIR, Remembers, node, payload, tasks, until};
use crate::{MemoryNetwork, NodeId, Peer, ProposeError, Raft, RaftConfig, Role, seed_randomness};
use bytes::Bytes;
use jocko_disk::{Crash, MemDisk, Survivors};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Node {
    raft: Raft,
    disk: MemDisk,
    state: Remembers,
}

struct Cluster {
    network: MemoryNetwork,
    nodes: BTreeMap<NodeId, Node>,
    snapshot_every_entries: u64,
    piece_bytes: usize,
}

fn peer(number: u64) -> Peer {
    Peer::at(format!("node-{number}:9093"))
}

impl Cluster {
    async fn form(seed: u64, snapshot_every_entries: u64) -> Self {
        Self::form_with(seed, snapshot_every_entries, 1 << 20).await
    }

    async fn form_with(seed: u64, snapshot_every_entries: u64, piece_bytes: usize) -> Self {
        seed_randomness(Some(seed));
        let network = MemoryNetwork::new(seed);
        network.set_delay(Duration::from_micros(50)..Duration::from_millis(3));
        let nodes = BTreeMap::new();
        let mut this = Self { network, nodes, snapshot_every_entries, piece_bytes };
        for number in 1..=3 {
            this.start(number, MemDisk::with_dir("data")).await;
        }
        let voters = (1..=3).map(|number| (node(number), peer(number))).collect();
        this.nodes[&node(1)].raft.bootstrap(voters).await.unwrap();
        this
    }

    async fn start(&mut self, number: u64, disk: MemDisk) {
        let id = node(number);
        let mut config = RaftConfig::new(id, peer(number), DIR);
        config.snapshot_every_entries = self.snapshot_every_entries;
        config.snapshot_piece_bytes = self.piece_bytes;
        let state = Remembers::default();
        let machine = Box::new(state.clone());
        let network = self.network.of(id);
        let raft = Raft::start(config, disk.shared(), tasks(), machine, network).await.unwrap();
        self.network.join(id, raft.clone());
        self.nodes.insert(id, Node { raft, disk, state });
    }

    /// Ends a node as a power cut would; returns what its disk holds.
    async fn kill(&mut self, id: NodeId) -> MemDisk {
        self.network.leave(id);
        let killed = self.nodes.remove(&id).unwrap();
        let disk = killed.disk.crash(Crash::Power(Survivors::Nothing));
        // Its tasks end when they next touch the disk, or now.
        let _unclean = killed.raft.shutdown().await;
        disk
    }

    /// The leader that serves, once there is one among the nodes that can be reached.
    async fn leader(&self) -> NodeId {
        for _ in 0..1000 {
            for (id, node) in &self.nodes {
                if node.raft.status().is_serving {
                    return *id;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no leader in ten seconds");
    }

    /// Proposes to whoever leads until it is answered.
    async fn propose(&self, payload: Bytes) -> u64 {
        for _ in 0..1000 {
            let leader = self.leader().await;
            match self.nodes[&leader].raft.propose(payload.clone()).await {
                Ok(index) => return index,
                Err(error) => assert!(!error.is_fatal(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no answer in ten seconds");
    }

    async fn all_applied(&self, index: u64) {
        for node in self.nodes.values() {
            until(&node.raft, |status| status.applied_index >= Some(index)).await;
        }
    }

    /// M-1: the same index means the same state.
    fn assert_same_states(&self) {
        let states: Vec<_> = self.nodes.values().map(|node| node.state.payloads()).collect();
        for state in &states {
            assert_eq!(*state, states[0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_elected_and_its_proposals_reach_everybody() {
    let cluster = Cluster::form(1, 1000).await;
    let leader = cluster.leader().await;
    for (id, node) in cluster.nodes.iter().filter(|(id, _)| **id != leader) {
        until(&node.raft, |status| status.leader.is_some()).await;
        let refused = node.raft.propose(payload(0)).await.unwrap_err();
        let known = node.raft.status().leader;
        assert_eq!(refused, ProposeError::NotLeader { leader: known.clone() }, "{id}");
        assert_eq!(known.unwrap().0, leader);
        assert!(refused.is_retriable());
    }
    let mut last = 0;
    for number in 0..20 {
        last = cluster.propose(payload(number)).await;
    }
    cluster.all_applied(last).await;
    cluster.assert_same_states();
}

/// What others have decided meanwhile is not in the state it was decided on.
#[tokio::test(start_paused = true)]
async fn what_was_decided_in_one_term_is_not_proposed_in_another() {
    let cluster = Cluster::form(5, 1000).await;
    cluster.propose(payload(1)).await;
    let first = cluster.leader().await;
    let raft = &cluster.nodes[&first].raft;
    let (lead, term) = (raft.lead().await.unwrap(), raft.status().term);
    let other = *cluster.nodes.keys().find(|id| **id != first).unwrap();
    for (from, to) in [(first, other), (other, first)] {
        let next = cluster.propose(payload(2)).await;
        cluster.all_applied(next).await;
        cluster.nodes[&from].raft.hand_over_to(to).await.unwrap();
        until(&cluster.nodes[&to].raft, |status| status.is_serving).await;
    }
    assert!(raft.status().term > term);
    let refused = raft.propose_as(lead, payload(3)).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { .. }), "{refused}");
    let last = cluster.propose(payload(4)).await;
    cluster.all_applied(last).await;
    let expected = [payload(1), payload(2), payload(2), payload(4)];
    assert_eq!(cluster.nodes[&other].state.payloads(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_replaced_and_comes_back_as_a_follower() {
    let mut cluster = Cluster::form(2, 1000).await;
    cluster.propose(payload(1)).await;
    let first = cluster.leader().await;
    let first_number = (1..=3).find(|number| node(*number) == first).unwrap();
    let disk = cluster.kill(first).await;
    let died = tokio::time::Instant::now();
    cluster.propose(payload(2)).await;
    assert!(died.elapsed() < Duration::from_secs(4), "{:?}", died.elapsed());
    let second = cluster.leader().await;
    assert_ne!(first, second);
    cluster.start(first_number, disk).await;
    let last = cluster.propose(payload(3)).await;
    cluster.all_applied(last).await;
    cluster.assert_same_states();
    assert_eq!(cluster.nodes[&first].state.payloads(), [payload(1), payload(2), payload(3)]);
}

/// Who knows that the leader has ended needs not wait for its lease, and gets the votes of those who
/// do not know it.
#[tokio::test(start_paused = true)]
async fn a_leader_that_has_surely_ended_is_succeeded_at_once() {
    let mut cluster = Cluster::form(12, 1000).await;
    let last = cluster.propose(payload(1)).await;
    cluster.all_applied(last).await;
    let first = cluster.leader().await;
    let heir = *cluster.nodes.keys().find(|id| **id != first).unwrap();
    let raft = cluster.nodes[&heir].raft.clone();
    assert!(raft.leader_silence().is_some_and(|(leader, silence)| {
        leader == first && silence < Duration::from_millis(300)
    }));
    // Nobody succeeds who does not lead.
    raft.succeed(heir).await.unwrap();
    cluster.kill(first).await;
    let died = tokio::time::Instant::now();
    raft.succeed(first).await.unwrap();
    until(&raft, |status| status.is_serving).await;
    assert!(died.elapsed() < Duration::from_millis(200), "{:?}", died.elapsed());
    cluster.propose(payload(2)).await;
    assert_eq!(cluster.leader().await, heir);
}

/// A stop waits for nobody's commit.
#[tokio::test(start_paused = true)]
async fn a_proposal_under_way_ends_with_its_node() {
    let cluster = Cluster::form(14, 1000).await;
    cluster.propose(payload(1)).await;
    let leader = cluster.leader().await;
    cluster.network.isolate(leader);
    let raft = cluster.nodes[&leader].raft.clone();
    let proposing = raft.clone();
    let proposal = tokio::spawn(async move { proposing.propose(payload(2)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopped = tokio::time::Instant::now();
    raft.shutdown().await.unwrap();
    let outcome = proposal.await.unwrap().unwrap_err();
    assert!(outcome.is_fatal(), "{outcome}");
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
}

/// What a person decided is kept with the members, wherever they move and whoever leads.
#[tokio::test(start_paused = true)]
async fn a_member_that_stays_out_is_known_as_such_by_all() {
    let cluster = Cluster::form(13, 1000).await;
    let leader = cluster.leader().await;
    let other = *cluster.nodes.keys().find(|id| **id != leader).unwrap();
    let raft = &cluster.nodes[&leader].raft;
    raft.keep_out(other, true).await.unwrap();
    assert!(raft.keep_out(node(9), true).await.is_err());
    let voters: BTreeSet<NodeId> = (1..=3).map(node).filter(|id| *id != other).collect();
    raft.set_voters(voters, true).await.unwrap();
    for member in cluster.nodes.values() {
        let stays_out = |status: &crate::RaftStatus| {
            status.learners.get(&other).is_some_and(|peer| peer.stays_out)
        };
        until(&member.raft, stays_out).await;
    }
    raft.keep_out(other, false).await.unwrap();
    assert!(!raft.status().learners[&other].stays_out);
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_refuses_once_its_lease_is_over() {
    let cluster = Cluster::form(3, 1000).await;
    cluster.propose(payload(1)).await;
    let old = cluster.leader().await;
    cluster.network.isolate(old);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let refused = cluster.nodes[&old].raft.propose(payload(2)).await.unwrap_err();
    assert!(refused.is_retriable(), "{refused}");
    let others = cluster.nodes.iter().filter(|(id, _)| **id != old);
    let serving: Vec<_> = others.filter(|(_, node)| node.raft.status().is_serving).collect();
    let [(new, _)] = serving[..] else {
        panic!("one leader on the other side: {serving:?}", serving = serving.len())
    };
    let last = cluster.nodes[new].raft.propose(payload(3)).await.unwrap();
    cluster.network.heal();
    cluster.all_applied(last).await;
    cluster.assert_same_states();
    // Pre-vote: the one that was away does not depose the leader when it comes back.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cluster.leader().await, *new);
}

#[tokio::test(start_paused = true)]
async fn a_new_member_gets_a_snapshot_and_becomes_a_voter() {
    let mut cluster = Cluster::form(4, 10).await;
    for number in 0..60 {
        cluster.propose(payload(number)).await;
    }
    let leader = cluster.leader().await;
    while cluster.nodes[&leader].raft.metrics().purged_index.is_none_or(|index| index < 20) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.start(4, MemDisk::with_dir("data")).await;
    let leading = cluster.nodes[&leader].raft.clone();
    leading.add_learner(node(4), peer(4)).await.unwrap();
    let learner = &cluster.nodes[&node(4)];
    assert_eq!(learner.raft.status().role, Role::Learner);
    while learner.raft.metrics().snapshot_index.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let voters: BTreeSet<_> = (2..=4).map(node).chain([leader]).collect();
    leading.set_voters(voters.clone(), true).await.unwrap();
    let last = cluster.propose(payload(60)).await;
    cluster.all_applied(last).await;
    cluster.assert_same_states();
    let status = until(&cluster.nodes[&node(4)].raft, |status| status.role == Role::Follower).await;
    assert_eq!(status.voters.into_keys().collect::<BTreeSet<_>>(), voters);
}

/// Messages to the newcomer that carry a piece (kind 6), and how many of them arrived.
fn count_pieces(cluster: &Cluster, to: NodeId) -> Arc<Mutex<(usize, usize)>> {
    let counted = Arc::new(Mutex::new((0, 0)));
    let counting = Arc::clone(&counted);
    cluster.network.listen(move |message| {
        if message.to == to && message.bytes.get(1) == Some(&6) {
            let mut counted = counting.lock().unwrap();
            counted.0 += 1;
            counted.1 += usize::from(message.arrives);
        }
    });
    counted
}

/// Lost pieces and lost answers cost a repetition each, and not what has arrived.
#[tokio::test(start_paused = true)]
async fn a_snapshot_larger_than_a_piece_arrives_though_some_are_lost() {
    let mut cluster = Cluster::form_with(10, 10, 50).await;
    for number in 0..60 {
        cluster.propose(payload(number)).await;
    }
    let leader = cluster.leader().await;
    while cluster.nodes[&leader].raft.metrics().purged_index.is_none_or(|index| index < 20) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pieces = count_pieces(&cluster, node(4));
    cluster.start(4, MemDisk::with_dir("data")).await;
    cluster.network.set_lost_percent(15);
    cluster.nodes[&leader].raft.admit(node(4), peer(4)).await.unwrap();
    let newcomer = &cluster.nodes[&node(4)];
    while newcomer.raft.metrics().snapshot_index.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.network.set_lost_percent(0);
    let last = cluster.propose(payload(60)).await;
    cluster.all_applied(last).await;
    cluster.assert_same_states();
    let (sent, arrived) = *pieces.lock().unwrap();
    // Some 50 entries of 21 or 22 bytes.
    assert!(arrived >= 20 && sent > arrived && sent < 60, "{sent} sent, {arrived} arrived");
}

/// Sixty-four entries may go in one message, and each may have sixteen mebibytes: they go in as many
/// messages as it takes, and each has the time that its length needs.
#[tokio::test(start_paused = true)]
async fn large_entries_reach_a_member_that_was_away() {
    let mut cluster = Cluster::form(11, 1000).await;
    cluster.propose(payload(0)).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|number| node(*number) != leader).unwrap();
    let disk = cluster.kill(node(follower)).await;
    let large = |number: u8| Bytes::from(vec![number; 700_000]);
    for number in 0..8 {
        cluster.propose(large(number)).await;
    }
    let largest = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&largest);
    cluster.network.listen(move |message| {
        let mut largest = seen.lock().unwrap();
        *largest = message.bytes.len().max(*largest);
    });
    // Longer than a short message may take.
    cluster.network.set_delay(Duration::from_millis(150)..Duration::from_millis(200));
    cluster.start(follower, disk).await;
    let last = cluster.propose(large(8)).await;
    cluster.all_applied(last).await;
    cluster.assert_same_states();
    let largest = *largest.lock().unwrap();
    assert!((700_000..1_500_000).contains(&largest), "{largest}");
}

/// Between the two steps of a change both sets have to agree. The next leader sees that, and which
/// set was meant, and can finish it.
#[tokio::test(start_paused = true)]
async fn a_change_of_voters_that_its_leader_left_halfway_is_finished_by_the_next() {
    let mut cluster = Cluster::form(9, 1000).await;
    cluster.start(4, MemDisk::with_dir("data")).await;
    let old = cluster.leader().await;
    let leading = cluster.nodes[&old].raft.clone();
    leading.add_learner(node(4), peer(4)).await.unwrap();
    cluster.all_applied(cluster.propose(payload(1)).await).await;
    // Everybody has the first step at the same moment, and its leader hears of that later.
    cluster.network.set_delay(Duration::from_millis(1)..Duration::from_millis(1));
    let wanted: BTreeSet<NodeId> = (1..=4).map(node).filter(|id| *id != old).collect();
    let asked = wanted.clone();
    let change = tokio::spawn(async move { leading.set_voters(asked, true).await });
    for id in &wanted {
        until(&cluster.nodes[id].raft, |status| status.voters_to_be.is_some()).await;
    }
    cluster.network.isolate(old);
    let next = loop {
        let leads = |id: &&NodeId| cluster.nodes[id].raft.status().is_serving;
        match wanted.iter().find(leads) {
            Some(next) => break *next,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let raft = &cluster.nodes[&next].raft;
    let status = raft.status();
    assert_eq!((status.voters.len(), status.voters_to_be.as_ref()), (4, Some(&wanted)));
    raft.set_voters(wanted.clone(), true).await.unwrap();
    let status = raft.status();
    assert_eq!(status.voters.into_keys().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(status.voters_to_be, None);
    cluster.network.heal();
    cluster.all_applied(cluster.propose(payload(2)).await).await;
    assert!(change.await.unwrap().is_err());
    assert_eq!(cluster.nodes[&old].raft.status().voters_to_be, None);
    cluster.assert_same_states();
}

#[tokio::test(start_paused = true)]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::form(5, 1000).await;
    let last = cluster.propose(payload(1)).await;
    cluster.all_applied(last).await;
    let old = cluster.leader().await;
    let heir = *cluster.nodes.keys().find(|id| **id != old).unwrap();
    cluster.nodes[&old].raft.hand_over_to(heir).await.unwrap();
    until(&cluster.nodes[&heir].raft, |status| status.is_serving).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_stays_though_its_followers_take_longer_to_answer_than_between_heartbeats() {
    let cluster = Cluster::form(5, 1000).await;
    cluster.all_applied(cluster.propose(payload(1)).await).await;
    let leader = cluster.leader().await;
    let term = cluster.nodes[&leader].raft.status().term;
    // Machines that are busy, or far away: there and back takes a quarter of a second and more.
    cluster.network.set_delay(Duration::from_millis(130)..Duration::from_millis(170));
    for number in 2..30 {
        let raft = &cluster.nodes[&leader].raft;
        raft.propose(payload(number)).await.expect("the leader has a quorum");
        let silence = raft.quorum_silence().expect("it knows that it leads");
        assert!(silence < raft.lease(), "{silence:?}");
    }
    assert_eq!(cluster.nodes[&leader].raft.status().term, term);
}

#[tokio::test(start_paused = true)]
async fn all_nodes_restart_at_once_and_lose_nothing() {
    let mut cluster = Cluster::form(6, 8).await;
    let mut expected = Vec::new();
    for round in 0..3 {
        for number in 0..15 {
            let payload = payload(round * 15 + number);
            cluster.propose(payload.clone()).await;
            expected.push(payload);
        }
        let mut disks = Vec::new();
        for number in 1..=3 {
            disks.push((number, cluster.kill(node(number)).await));
        }
        for (number, disk) in disks {
            cluster.start(number, disk).await;
        }
    }
    expected.push(payload(1000));
    let last = cluster.propose(payload(1000)).await;
    cluster.all_applied(last).await;
    cluster.assert_same_states();
    assert_eq!(cluster.nodes[&node(1)].state.payloads(), expected);
}

/// What a restarted node finds in its log may be behind what its disk has seen done: until its
/// leader has told it an index that was committed since, or another leads, nothing is published.
#[tokio::test(start_paused = true)]
async fn a_node_that_starts_among_others_publishes_only_what_is_caught_up() {
    let mut cluster = Cluster::form(8, 1000).await;
    for number in 0..5 {
        cluster.propose(payload(number)).await;
    }
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|number| node(*number) != leader).unwrap();
    let disk = cluster.kill(node(follower)).await;
    for number in 5..10 {
        cluster.propose(payload(number)).await;
    }
    cluster.start(follower, disk).await;
    let last = cluster.propose(payload(10)).await;
    cluster.all_applied(last).await;
    assert_eq!(cluster.leader().await, leader);
    let restarted = &cluster.nodes[&node(follower)];
    assert_eq!(*restarted.state.published.lock().unwrap(), None);
    restarted.raft.publish_from(last).await.unwrap();
    assert!(restarted.raft.wait_applied(last).await);
    assert_eq!(*restarted.state.published.lock().unwrap(), Some(last));
    assert_eq!(*restarted.state.seen_at_first.lock().unwrap(), Some(11));
    // A node that a new leader has told something knows that it has caught up.
    let disk = cluster.kill(node(follower)).await;
    cluster.start(follower, disk).await;
    cluster.network.isolate(leader);
    let others: Vec<NodeId> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
    let last = loop {
        let serving = others.iter().find(|id| cluster.nodes[id].raft.status().is_serving);
        match serving {
            Some(id) => match cluster.nodes[id].raft.propose(payload(11)).await {
                Ok(index) => break index,
                Err(error) => assert!(error.is_retriable(), "{error}"),
            },
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let restarted = &cluster.nodes[&node(follower)];
    assert!(restarted.raft.wait_applied(last).await);
    assert_eq!(restarted.state.seen_at_first.lock().unwrap().map(|seen| seen >= 11), Some(true));
}

/// Proposes through losses, cuts and a kill; returns a hash of every message, when it passed and
/// whether it arrived.
async fn trace(seed: u64) -> (usize, u64) {
    let began = tokio::time::Instant::now();
    let mut cluster = Cluster::form(seed, 20).await;
    let heard = Arc::new(Mutex::new((0, DefaultHasher::new())));
    let told = Arc::clone(&heard);
    cluster.network.listen(move |message| {
        let mut heard = told.lock().unwrap();
        heard.0 += 1;
        let at = began.elapsed();
        (at, message.from, message.to, message.bytes, message.arrives).hash(&mut heard.1);
    });
    cluster.network.set_lost_percent(3);
    for round in 0..4 {
        for number in 0..15 {
            cluster.propose(payload(round * 100 + number)).await;
        }
        let leader = cluster.leader().await;
        if round == 2 {
            let number = (1..=3).find(|number| node(*number) == leader).unwrap();
            let disk = cluster.kill(leader).await;
            cluster.propose(payload(round * 100 + 50)).await;
            cluster.start(number, disk).await;
        } else {
            cluster.network.isolate(leader);
            tokio::time::sleep(Duration::from_secs(3)).await;
            cluster.network.heal();
        }
    }
    cluster.network.set_lost_percent(0);
    let last = cluster.propose(payload(1000)).await;
    cluster.all_applied(last).await;
    cluster.assert_same_states();
    let heard = heard.lock().unwrap();
    (heard.0, heard.1.finish())
}

/// Decision 0008: nodes on one paused runtime, seeded, are one history.
#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap().block_on(trace(seed))
    };
    let first = run(7);
    assert!(first.0 > 300, "{} messages", first.0);
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_disk_is_of_yesterday_gets_what_it_lacks() {
    let mut cluster = Cluster::form(11, 1000).await;
    let mut last = 0;
    for number in 0..20 {
        last = cluster.propose(payload(number)).await;
    }
    cluster.all_applied(last).await;
    let leader = cluster.leader().await;
    let restored = (1..=3).find(|number| node(*number) != leader).unwrap();
    drop(cluster.kill(node(restored)).await);
    cluster.start(restored, MemDisk::with_dir("data")).await;
    let last = cluster.propose(payload(20)).await;
    cluster.all_applied(last).await;
    cluster.assert_same_states();
    assert_eq!(cluster.leader().await, leader, "nobody else has noticed");
}
