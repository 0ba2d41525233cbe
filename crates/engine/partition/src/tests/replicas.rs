//! Several replicas of one partition, each on a disk of its own: whoever leads, whatever is lost on
//! the way and whenever the power goes, what was committed stays, and in the end all are alike.

use super::{TOPIC_ID, assignment, batch, batch_of, governed, now, offset, opening};
use crate::{
    Acks, Answered, Assignment, Caller, Durability, Effects, Follow, Followed, FollowerFetch,
    FollowerRead, Governed, Home, LogSlice, Partition, Peer, Policy, Proposal, ProposalOutcome,
};
use jocko_commitlog::{Patience, ReadOutcome as LogRead, ReadRequest};
use jocko_disk::{Crash, MemDisk, Survivors, Tear};
use jocko_records::prepare;
use jocko_types::{
    BrokerEpoch, BrokerId, LeaderEpoch, Now, Offset, PartitionEpoch, PartitionIndex, Sequence,
    TopicName, TopicPartition,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

const DIR: &str = "/data/t-0";

/// A broker with its replica.
pub(super) struct Node {
    broker: BrokerId,
    broker_epoch: BrokerEpoch,
    mem: MemDisk,
    pub(super) partition: Partition,
    /// An answer that is still on its way.
    held: Option<(Follow, Reply)>,
}

/// An answer as it was on the wire.
enum Reply {
    Records { bytes: Vec<u8>, high_watermark: Offset, log_start: Offset },
    Diverging(crate::ReplicaEpochEnd),
    OutOfRange { log_start: Offset, log_end: Offset },
}

/// All of them, and what the controller knows.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    governed: Governed,
    pub(super) leader: usize,
    state: Assignment,
    clock: Now,
    /// Every batch that was ever committed, by its base offset.
    committed: BTreeMap<i64, Vec<u8>>,
    written: u32,
    pub(super) cuts: usize,
    restarts: usize,
    depth: usize,
}

fn id(node: usize) -> BrokerId {
    BrokerId::new(i32::try_from(node).unwrap() + 1)
}

fn host(broker: BrokerId, mem: &MemDisk, governed: &Governed) -> Partition {
    let topic = TopicName::new("t").expect("is a name");
    let name = TopicPartition { topic, partition: PartitionIndex::new(0) };
    let open = opening(false, (Offset::ZERO, Offset::ZERO));
    let home = Home { disk: mem.shared(), dir: PathBuf::from(DIR), broker, open };
    Partition::new(name, TOPIC_ID, home, governed.clone())
}

/// Whole batches from an offset to the log's end, however little is committed.
pub(super) fn raw(partition: &Partition, from: Offset, bytes_max: usize) -> Vec<u8> {
    let slice = partition.with_open(|open| {
        let request = ReadRequest {
            from,
            upper: open.log.log_end(),
            bytes_max,
            at_least_one_batch: true,
            patience: Patience::Wait,
        };
        open.log.read(&request).expect("reads")
    });
    match slice.expect("is open") {
        LogRead::Slice(slice) => bytes_of(&slice),
        LogRead::Empty => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn bytes_of(slice: &LogSlice) -> Vec<u8> {
    slice.read().expect("reads")
}

/// All batches of a log, with their base offsets.
pub(super) fn batches(partition: &Partition) -> Vec<(i64, Vec<u8>)> {
    let standing = partition.standing().expect("is open");
    let mut at = standing.log_start;
    let mut all = Vec::new();
    while at < standing.log_end {
        let bytes = raw(partition, at, 300);
        if bytes.is_empty() {
            break;
        }
        for batch in jocko_records::strict_batches(&bytes) {
            let batch = batch.expect("is whole");
            batch.check_crc().expect("is sound");
            let header = batch.header();
            all.push((header.base_offset.get(), batch.bytes().to_vec()));
            at = header.next_offset();
        }
    }
    all
}

impl Cluster {
    pub(super) fn new(count: usize, min_insync_replicas: usize) -> Self {
        let base = governed(Durability::Fsync);
        let lag_time_max = Duration::from_millis(500);
        let policy = Policy { min_insync_replicas, lag_time_max, ..base.policy };
        Self::governed(count, Governed { policy, ..base })
    }

    pub(super) fn governed(count: usize, governed: Governed) -> Self {
        let node = |number: usize| {
            let mem = MemDisk::with_dir("/data");
            let broker = id(number);
            let partition = host(broker, &mem, &governed);
            Node { broker, broker_epoch: BrokerEpoch::new(1), mem, partition, held: None }
        };
        let nodes: Vec<Node> = (0..count).map(node).collect();
        let all: Vec<BrokerId> = (0..count).map(id).collect();
        let state = Assignment {
            replicas: all.clone(),
            isr: all,
            ..assignment(Some(id(0)), LeaderEpoch::new(0), 0)
        };
        let mut cluster = Self {
            nodes,
            governed,
            leader: 0,
            state,
            clock: Now::from_start(Duration::from_secs(1)),
            committed: BTreeMap::new(),
            written: 0,
            cuts: 0,
            restarts: 0,
            depth: 0,
        };
        cluster.publish();
        cluster
    }

    /// Tells everybody the state of the partition.
    fn publish(&mut self) {
        self.state.peers = self.peers();
        for node in 0..self.nodes.len() {
            let effects = self.nodes[node].partition.assign(self.state.clone());
            self.carry_out(node, effects);
        }
    }

    fn peers(&self) -> Vec<Peer> {
        let peer = |node: &Node| Peer {
            broker: node.broker,
            broker_epoch: node.broker_epoch,
            may_join: true,
        };
        self.nodes.iter().map(peer).collect()
    }

    fn carry_out(&mut self, node: usize, effects: Effects) {
        for (key, proposal) in effects.proposals {
            assert_eq!(key, self.nodes[node].partition.key());
            self.depth += 1;
            assert!(self.depth < 10, "one proposal after the other, without end: {proposal:?}");
            self.decide(node, &proposal);
            self.depth -= 1;
        }
        for (_, claim) in effects.claims {
            self.tell(node, claim.leader_epoch, claim.end);
        }
    }

    /// The controller: takes what fits the state it knows.
    fn decide(&mut self, node: usize, proposal: &Proposal) {
        let fits = proposal.partition_epoch == self.state.partition_epoch
            && proposal.leader_epoch == self.state.leader_epoch
            && self.state.leader == Some(self.nodes[node].broker);
        let outcome = if fits {
            self.state.isr = proposal.isr.iter().map(|member| member.broker).collect();
            self.state.partition_epoch = PartitionEpoch::new(self.state.partition_epoch.get() + 1);
            ProposalOutcome::Accepted { partition_epoch: self.state.partition_epoch }
        } else {
            ProposalOutcome::Unknown
        };
        let effects =
            self.nodes[node].partition.proposal_answered(proposal.number, outcome, self.clock);
        if fits {
            self.publish();
        }
        self.carry_out(node, effects);
    }

    fn tell(&mut self, follower: usize, leader_epoch: LeaderEpoch, end: Offset) {
        let caller = self.caller(follower, leader_epoch);
        let leader = self.leader;
        let effects = self.nodes[leader].partition.follower_progress(caller, end, self.clock);
        self.carry_out(leader, effects);
    }

    fn caller(&self, follower: usize, leader_epoch: LeaderEpoch) -> Caller {
        let node = &self.nodes[follower];
        Caller { broker: node.broker, broker_epoch: node.broker_epoch, leader_epoch }
    }

    pub(super) fn append(&mut self, count: u8) {
        self.written += 1;
        let values: Vec<String> =
            (0..count).map(|number| format!("{}.{number}", self.written)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        // Every other batch is of an idempotent producer, whose state travels with it.
        let bytes = if self.written.is_multiple_of(2) {
            batch_of(i64::from(self.written), 0, 0, &values)
        } else {
            batch(&values)
        };
        let leader = self.leader;
        let partition = &self.nodes[leader].partition;
        let batch = prepare(&bytes, &partition.governed().rules).expect("is a batch");
        let (_, effects) = partition.append(&batch, Acks::Leader, now(), None);
        self.carry_out(leader, effects);
    }

    pub(super) fn flush(&mut self, node: usize) {
        let (job, effects) = self.nodes[node].partition.take_flush();
        self.carry_out(node, effects);
        let Some(mut job) = job else { return };
        job.run(self.nodes[node].mem.shared().as_ref()).expect("syncs");
        let effects = self.nodes[node].partition.flushed(&job);
        self.carry_out(node, effects);
    }

    /// A follower asks; the answer is held.
    fn ask(&mut self, node: usize, bytes_max: usize) {
        let Ok(Some(follow)) = self.nodes[node].partition.follow() else { return };
        let asked = follow.following;
        if asked.leader != id(self.leader) {
            return;
        }
        let fetch = FollowerFetch {
            caller: self.caller(node, asked.leader_epoch),
            from: asked.offset,
            log_start: follow.log_start,
            last_fetched_epoch: follow.last_fetched_epoch,
            bytes_max,
            whole_batch: true,
        };
        let leader = self.leader;
        let (read, effects) = self.nodes[leader].partition.fetch_for_follower(&fetch, self.clock);
        let reply = match read {
            FollowerRead::Found(view) => Reply::Records {
                bytes: view.slice.as_ref().map(bytes_of).unwrap_or_default(),
                high_watermark: view.high_watermark,
                log_start: view.log_start,
            },
            FollowerRead::Diverging(end) => Reply::Diverging(end),
            FollowerRead::OutOfRange { log_start, log_end } => {
                Reply::OutOfRange { log_start, log_end }
            }
            FollowerRead::Refused { .. } => return,
            FollowerRead::Cold(cold) => panic!("{cold:?}"),
        };
        self.carry_out(leader, effects);
        self.nodes[node].held = Some((follow, reply));
    }

    /// What was held arrives.
    fn arrive(&mut self, node: usize) {
        let Some((follow, reply)) = self.nodes[node].held.take() else { return };
        let answer = match &reply {
            Reply::Records { bytes, high_watermark, log_start } => {
                Answered::Records { bytes, high_watermark: *high_watermark, log_start: *log_start }
            }
            Reply::Diverging(end) => Answered::Diverging(*end),
            Reply::OutOfRange { log_start, log_end } => {
                Answered::OutOfRange { log_start: *log_start, log_end: *log_end }
            }
        };
        let (followed, effects) =
            self.nodes[node].partition.take_answer(follow.following, &answer, now());
        match followed {
            Followed::Appended { .. } | Followed::Stale => {}
            Followed::Cut { .. } => self.cuts += 1,
            Followed::Restarted { .. } => self.restarts += 1,
            other => panic!("{other:?}"),
        }
        self.carry_out(node, effects);
        if let Ok(Some(Follow { claim: Some(claim), .. })) = self.nodes[node].partition.follow() {
            self.tell(node, claim.leader_epoch, claim.end);
        }
    }

    pub(super) fn fetch(&mut self, node: usize) {
        self.ask(node, 400);
        self.arrive(node);
    }

    /// A clean election: another of the in-sync set leads from now on.
    pub(super) fn elect(&mut self, node: usize) {
        if !self.state.isr.contains(&id(node)) {
            return;
        }
        self.leader = node;
        self.state.leader = Some(id(node));
        self.state.leader_epoch = LeaderEpoch::new(self.state.leader_epoch.get() + 1);
        self.state.partition_epoch = PartitionEpoch::new(self.state.partition_epoch.get() + 1);
        self.publish();
    }

    /// The power of one broker goes; another leads, if one may.
    fn cut_power(&mut self, node: usize, crash: Crash) {
        let dead = &self.nodes[node];
        let mem = dead.mem.aftermath(crash);
        let broker = dead.broker;
        let partition = host(broker, &mem, &self.governed);
        let broker_epoch = BrokerEpoch::new(dead.broker_epoch.get() + 1);
        self.nodes[node] = Node { broker, broker_epoch, mem, partition, held: None };
        if self.leader == node {
            let others = self.state.isr.iter().filter(|other| **other != broker);
            let next = others.map(|next| usize::try_from(next.get()).unwrap() - 1).next();
            if next.is_some() {
                self.state.isr.retain(|member| *member != broker);
            }
            self.elect(next.unwrap_or(node));
        } else {
            self.publish();
        }
    }

    /// P-1, P-3, P-5: what was committed is in the leader's log, byte for byte but for the epoch.
    pub(super) fn check(&mut self) {
        for node in &self.nodes {
            if let Some(standing) = node.partition.standing() {
                assert!(standing.log_start <= standing.high_watermark, "{standing:?}");
                assert!(standing.high_watermark <= standing.log_end, "{standing:?}");
            }
        }
        let leader = &self.nodes[self.leader].partition;
        let Some(standing) = leader.standing() else { return };
        let found: BTreeMap<i64, Vec<u8>> = batches(leader).into_iter().collect();
        for (base, bytes) in &self.committed {
            if *base >= standing.log_start.get() {
                assert_eq!(found.get(base), Some(bytes), "P-3 at {base}: {standing:?}");
            }
        }
        for (base, bytes) in found {
            if base < standing.high_watermark.get() {
                self.committed.insert(base, bytes);
            }
        }
    }

    /// Everything works again: all end alike, with all committed.
    pub(super) fn heal(&mut self) {
        for _ in 0..200 {
            self.clock = self.clock.plus(Duration::from_millis(300));
            for node in 0..self.nodes.len() {
                self.flush(node);
                if node != self.leader {
                    self.fetch(node);
                    self.flush(node);
                }
                let effects = self.nodes[node].partition.tick(self.clock);
                self.carry_out(node, effects);
            }
            self.check();
        }
        let standing = self.nodes[self.leader].partition.standing().expect("is open");
        assert_eq!(standing.high_watermark, standing.log_end, "all is committed in the end");
        // A checkpoint of where a log starts is lost with the power; the records are still there.
        let starts = self.nodes.iter().filter_map(|node| node.partition.standing());
        let start = starts.map(|standing| standing.log_start).max().expect("there are nodes");
        let expected = Picture::of(&self.nodes[self.leader].partition, start);
        for node in &self.nodes {
            let found = node.partition.standing().expect("is open");
            assert_eq!(found.high_watermark, standing.high_watermark);
            assert_eq!(Picture::of(&node.partition, start), expected, "broker {}", node.broker);
            assert!(self.state.isr.contains(&node.broker), "{} is in sync again", node.broker);
        }
    }
}

/// What must be the same everywhere in the end.
#[derive(Debug, PartialEq)]
struct Picture {
    batches: Vec<(i64, Vec<u8>)>,
    epochs: Vec<(LeaderEpoch, Offset)>,
    producers: Vec<(i64, Option<i32>)>,
}

impl Picture {
    fn of(partition: &Partition, start: Offset) -> Self {
        let last_of = |bytes: &[u8]| {
            let batch = jocko_records::strict_batches(bytes).next().expect("there is one");
            batch.expect("is whole").header().last_offset()
        };
        let mut batches = batches(partition);
        batches.retain(|(_, bytes)| last_of(bytes) >= start);
        let id_of = |(_, bytes): &(i64, Vec<u8>)| {
            let batch = jocko_records::strict_batches(bytes).next().expect("there is one");
            batch.expect("is whole").header().producer_id.get()
        };
        let written: BTreeSet<i64> = batches.iter().map(id_of).collect();
        let of_log = partition.with_open(|open| {
            open.log.check_invariants();
            open.replica.check_invariants();
            let end = open.log.log_end();
            let epochs = open.log.epochs().iter();
            // One that was announced and wrote nothing is known to its leader only.
            let mut epochs: Vec<_> = epochs
                .filter(|known| known.start < end)
                .map(|known| (known.epoch, known.start.max(start)))
                .collect();
            // Of those that end before the start, some may know more.
            while epochs.len() > 1 && epochs[1].1 <= start {
                epochs.remove(0);
            }
            // Who began after a producer's last batch does not know it.
            let mut producers: Vec<_> = open
                .log
                .producers()
                .into_iter()
                .filter(|known| written.contains(&known.id.get()))
                .map(|known| (known.id.get(), known.last_sequence.map(Sequence::get)))
                .collect();
            producers.sort_unstable();
            (epochs, producers)
        });
        let (epochs, producers) = of_log.expect("is open");
        Self { batches, epochs, producers }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(u8),
    Ask(usize, usize),
    Arrive(usize),
    Fetch(usize),
    Flush(usize),
    Elect(usize),
    CutPower(usize, u64),
    Kill(usize),
    Trim,
    Wait,
}

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let node = 0..count;
    let step = prop_oneof![
        6 => (1_u8..4).prop_map(Step::Append),
        5 => (node.clone(), 1_usize..600).prop_map(|(node, bytes)| Step::Ask(node, bytes)),
        5 => node.clone().prop_map(Step::Arrive),
        6 => node.clone().prop_map(Step::Fetch),
        6 => node.clone().prop_map(Step::Flush),
        3 => node.clone().prop_map(Step::Elect),
        1 => (node.clone(), any::<u64>()).prop_map(|(node, seed)| Step::CutPower(node, seed)),
        1 => node.prop_map(Step::Kill),
        1 => Just(Step::Trim),
        2 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

fn live(count: usize, min_insync_replicas: usize, steps: &[Step]) -> Cluster {
    let mut cluster = Cluster::new(count, min_insync_replicas);
    for step in steps {
        cluster.clock = cluster.clock.plus(Duration::from_millis(20));
        match *step {
            Step::Append(records) => cluster.append(records),
            Step::Ask(node, bytes_max) if node != cluster.leader => cluster.ask(node, bytes_max),
            Step::Ask(..) => {}
            Step::Arrive(node) => cluster.arrive(node),
            Step::Fetch(node) if node != cluster.leader => cluster.fetch(node),
            Step::Fetch(_) => {}
            Step::Flush(node) => cluster.flush(node),
            Step::Elect(node) => cluster.elect(node),
            Step::CutPower(node, seed) => {
                let survivors = Survivors::Arbitrary { seed, tear: Tear::Byte };
                cluster.cut_power(node, Crash::Power(survivors));
            }
            Step::Kill(node) => cluster.cut_power(node, Crash::Process),
            Step::Trim => {
                let partition = &cluster.nodes[cluster.leader].partition;
                let Some(standing) = partition.standing() else { continue };
                let to =
                    offset(i64::midpoint(standing.log_start.get(), standing.high_watermark.get()));
                let trimmed = partition.delete_records(Some(to));
                let (_, effects) = trimmed.expect("lies within the log");
                let leader = cluster.leader;
                cluster.carry_out(leader, effects);
            }
            Step::Wait => {
                cluster.clock = cluster.clock.plus(Duration::from_millis(400));
                for node in 0..cluster.nodes.len() {
                    let effects = cluster.nodes[node].partition.tick(cluster.clock);
                    cluster.carry_out(node, effects);
                }
            }
        }
        cluster.check();
    }
    cluster.heal();
    cluster
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn two_replicas_end_alike(steps in steps(2)) {
        live(2, 1, &steps);
    }

    #[test]
    fn three_replicas_end_alike(steps in steps(3)) {
        live(3, 2, &steps);
    }
}
