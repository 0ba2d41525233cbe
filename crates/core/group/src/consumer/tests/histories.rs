//! Random histories: clients that join, beat, are slow to give back, lose answers, vanish and
//! return, while topics come, grow and go, appends are refused and coordinators move.
//!
//! At every step: the invariants of the state; no partition in the hands of two members as the
//! *clients* see it. At the end, when the noise is over: the group is stable within a bounded
//! number of heartbeats and its members have all partitions between them.

mod classic;

use self::classic::Classic;
use super::stage::{Outcome, Stage};
use crate::{Answer, Command, ConsumerHeartbeat, ConsumerHeartbeatAnswer, Ticket, Topics};
use jocko_types::{ErrorCode, Now, PartitionIndex, TopicId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const GROUP: &str = "g";
const TOPICS: [&str; 4] = ["a", "aa", "b", "c"];
const SESSION: Duration = Duration::from_secs(45);

type Partitions = BTreeSet<(TopicId, PartitionIndex)>;

/// What happens next. Clients are numbered.
#[derive(Debug, Clone)]
enum Step {
    /// The client sends its next heartbeat; its answer may get lost, or its request refused.
    Beat {
        client: usize,
        fate: Fate,
    },
    /// The client has given back what it was told to.
    GiveBack(usize),
    /// The client wants other topics from now on.
    Subscribe {
        client: usize,
        wish: usize,
    },
    /// The client leaves.
    Leave {
        client: usize,
        for_a_while: bool,
    },
    /// The client's process dies.
    Die(usize),
    Wait(u64),
    SetTopic {
        topic: usize,
        partitions: i32,
    },
    RemoveTopic(usize),
    Touch,
    Reload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    AnswerLost,
    AppendRefused,
}

/// A consumer, as its process sees things.
#[derive(Debug, Default)]
struct Client {
    /// Its name outlives its processes, if it is a static member.
    instance_id: Option<String>,
    /// How many processes it has had: each has a member id of its own.
    lives: u32,
    epoch: i32,
    owned: Partitions,
    /// What it was told to own.
    told: Partitions,
    wish: usize,
    /// Whether it must say its wish with the next heartbeat.
    says_wish: bool,
    /// Whether it must say all: it does not know what became of its last heartbeat.
    says_all: bool,
    assignor: Option<String>,
    /// When it was last taken.
    heard: Option<Now>,
    /// Set if it speaks the classic protocol.
    classic: Option<Classic>,
}

/// Names and a regular expression.
const WISHES: [(&[&str], &str); 6] = [
    (&["a"], ""),
    (&["a", "b"], ""),
    (&["b", "c"], ""),
    (&[], "a+"),
    (&["c"], "a.*"),
    (&[], "[bc]"),
];

/// So many of them are without a regular expression, as classic clients have it.
const CLASSIC_WISHES: usize = 3;

impl Client {
    fn member_id(&self, number: usize) -> String {
        match &self.classic {
            Some(classic) => classic.member_id.clone(),
            None => format!("m{number}-{}", self.lives),
        }
    }

    fn is_running(&self) -> bool {
        self.heard.is_some()
    }

    /// All is lost: it must join anew.
    fn abandon(&mut self) {
        self.epoch = 0;
        self.owned.clear();
        self.told.clear();
        self.says_wish = true;
    }

    fn die(&mut self) {
        self.abandon();
        self.heard = None;
        self.lives += 1;
        if let Some(classic) = &mut self.classic {
            classic.restart();
        }
    }

    fn request(&self, number: usize, member_epoch: i32) -> ConsumerHeartbeat {
        let (names, regex) = WISHES[self.wish];
        let joins = member_epoch == 0;
        let says_all = joins || (member_epoch > 0 && self.says_all);
        let says = says_all || (member_epoch > 0 && self.says_wish);
        let mut owned: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for &(id, partition) in &self.owned {
            owned.entry(id).or_default().push(partition);
        }
        ConsumerHeartbeat {
            group_id: GROUP.to_owned(),
            member_id: self.member_id(number),
            member_epoch,
            instance_id: self.instance_id.clone(),
            rack_id: None,
            rebalance_timeout: says_all.then_some(Duration::from_secs(20)),
            subscribed_topics: says.then(|| names.iter().map(|&n| n.to_owned()).collect()),
            subscribed_regex: says.then(|| regex.to_owned()),
            server_assignor: self.assignor.clone().filter(|_| joins),
            owned: (member_epoch >= 0).then(|| owned.into_iter().collect()),
            client_id: "test".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            member_id_from_client: true,
        }
    }

    /// Takes an answer in; tells whether the member is in the group.
    fn hear(&mut self, answer: &ConsumerHeartbeatAnswer, now: Now) {
        match answer.error {
            ErrorCode::None => {
                self.heard = Some(now);
                self.epoch = answer.member_epoch;
                self.says_wish = false;
                self.says_all = false;
                if let Some(assignment) = &answer.assignment {
                    self.told = assignment
                        .iter()
                        .flat_map(|(id, held)| held.iter().map(move |&p| (*id, p)))
                        .collect();
                    // What is new it may use at once; what it must give back it gives back later.
                    self.owned.extend(&self.told);
                }
            }
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                self.abandon();
                self.heard = Some(now);
            }
            // Somebody else has its name by now, or has it still; or the group is not there.
            ErrorCode::FencedInstanceId
            | ErrorCode::UnreleasedInstanceId
            | ErrorCode::GroupIdNotFound => {
                self.abandon();
                self.heard = Some(now);
            }
            other => panic!("{other}: {:?}", answer.message),
        }
    }
}

struct World {
    stage: Stage,
    clients: Vec<Client>,
    /// Requests of classic clients that are not answered yet, each with its client and life.
    waiting: BTreeMap<Ticket, (usize, u32)>,
}

impl World {
    /// So many clients; `classic` has a bit for each that speaks the classic protocol.
    fn new(clients: usize, classic: u8) -> Self {
        let mut stage = Stage::new();
        stage.cluster.set("a", 3);
        stage.cluster.set("b", 2);
        let clients = (0..clients).map(|number| Client {
            instance_id: (number % 3 == 2).then(|| format!("i{number}")),
            assignor: (number % 4 == 3).then(|| "range".to_owned()),
            wish: number % WISHES.len(),
            ..Client::default()
        });
        let mut clients: Vec<Client> = clients.collect();
        for (number, client) in clients.iter_mut().enumerate() {
            if classic >> number & 1 == 1 {
                client.classic = Some(Classic::default());
                client.wish = number % CLASSIC_WISHES;
            }
        }
        Self { stage, clients, waiting: BTreeMap::new() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Beat { client, fate } => self.beat(client, fate),
            Step::GiveBack(client) => self.give_back(client),
            Step::Subscribe { client, wish } => {
                let client = self.client(client);
                client.says_wish = true;
                if let Some(classic) = &mut client.classic {
                    client.wish = wish % CLASSIC_WISHES;
                    classic.must_join();
                } else {
                    client.wish = wish % WISHES.len();
                }
            }
            Step::Leave { client, for_a_while } => self.leave(client, for_a_while),
            Step::Die(client) => self.client(client).die(),
            Step::Wait(seconds) => self.wait(Duration::from_secs(seconds)),
            Step::SetTopic { topic, partitions } => {
                let name = TOPICS[topic % TOPICS.len()];
                let now = self.stage.cluster.by_name(name).map_or(0, |t| t.partition_count);
                self.stage.cluster.set(name, partitions.max(now));
            }
            Step::RemoveTopic(topic) => self.stage.cluster.remove(TOPICS[topic % TOPICS.len()]),
            Step::Touch => self.stage.cluster.touch(),
            Step::Reload => {
                let answers = self.stage.reload();
                self.deliver(&Outcome { answers, ..Outcome::default() });
            }
        }
        self.check();
    }

    fn client(&mut self, number: usize) -> &mut Client {
        let count = self.clients.len();
        &mut self.clients[number % count]
    }

    /// Brings answers to the classic clients that wait for them.
    fn deliver(&mut self, outcome: &Outcome) {
        let now = self.stage.now();
        for (ticket, answer) in &outcome.answers {
            let Some((number, life)) = self.waiting.remove(ticket) else { continue };
            let client = &mut self.clients[number];
            let Some(classic) = client.classic.as_mut().filter(|_| client.lives == life) else {
                continue;
            };
            let told = classic.hear(answer, &self.stage.cluster);
            client.heard = Some(now);
            if let Some(told) = told {
                client.owned.clone_from(&told);
                client.told = told;
            }
            if classic.gives_up() {
                client.owned.clear();
                client.told.clear();
            }
        }
    }

    fn classic_beat(&mut self, number: usize, fate: Fate) {
        let now = self.stage.now();
        let client = &mut self.clients[number];
        client.heard = client.heard.or(Some(now));
        let Some(classic) = &mut client.classic else { return };
        if classic.gives_up() {
            client.owned.clear();
            client.told.clear();
        }
        let Some(request) = classic.request(client.wish) else { return };
        self.stage.refuses = fate == Fate::AppendRefused;
        let life = client.lives;
        let (ticket, outcome) = self.stage.send(&request);
        self.stage.refuses = false;
        match outcome {
            Some(outcome) => {
                self.waiting.insert(ticket, (number, life));
                self.deliver(&outcome);
            }
            None => {
                let classic = self.clients[number].classic.as_mut();
                classic.expect("a classic client").refused();
            }
        }
    }

    fn beat(&mut self, number: usize, fate: Fate) {
        let number = number % self.clients.len();
        if self.clients[number].classic.is_some() {
            return self.classic_beat(number, fate);
        }
        let request = self.clients[number].request(number, self.clients[number].epoch);
        self.stage.refuses = fate == Fate::AppendRefused;
        let (_, outcome) = self.stage.send(&Command::ConsumerHeartbeat(request));
        self.stage.refuses = false;
        let now = self.stage.now();
        let client = &mut self.clients[number];
        client.heard = client.heard.or(Some(now));
        client.says_all = true;
        let Some(outcome) = outcome else { return };
        let Some((_, Answer::ConsumerHeartbeat(answer))) = outcome.answers.last() else {
            panic!("a heartbeat is answered at once")
        };
        if fate != Fate::AnswerLost {
            client.hear(answer, now);
        }
        self.deliver(&outcome);
    }

    fn give_back(&mut self, number: usize) {
        let client = self.client(number);
        client.owned = client.told.clone();
    }

    fn leave(&mut self, number: usize, for_a_while: bool) {
        let number = number % self.clients.len();
        let client = &self.clients[number];
        if let Some(classic) = &client.classic {
            let Some(leave) = classic.leave() else { return };
            let (_, outcome) = self.stage.send(&leave);
            self.clients[number].die();
            return self.deliver(&outcome.expect("the log takes it"));
        }
        if client.epoch <= 0 {
            return;
        }
        let static_leave = for_a_while && client.instance_id.is_some();
        let request = client.request(number, if static_leave { -2 } else { -1 });
        let (_, outcome) = self.stage.send(&Command::ConsumerHeartbeat(request));
        self.clients[number].die();
        self.deliver(&outcome.expect("the log takes it"));
    }

    fn wait(&mut self, wait: Duration) {
        for outcome in self.stage.wait(wait) {
            self.deliver(&outcome);
        }
        let now = self.stage.now();
        let waiting: BTreeSet<(usize, u32)> = self.waiting.values().copied().collect();
        for (number, client) in self.clients.iter_mut().enumerate() {
            if waiting.contains(&(number, client.lives)) {
                continue;
            }
            // A process that was not heard of for so long knows that it is out.
            if client.heard.is_some_and(|heard| now.since(heard) >= SESSION) {
                client.die();
            }
        }
    }

    /// The members of the consumer group; a classic one does not know who has what.
    fn members(&self) -> BTreeSet<String> {
        let stage = &self.stage;
        let group = stage.coordinator.describe_consumer(GROUP, &stage.policy, &stage.cluster);
        let members = group.into_iter().flat_map(|group| group.members);
        members.map(|member| member.member_id).collect()
    }

    /// Nothing is owned twice, as the clients see it: those that the group still knows.
    fn check(&self) {
        self.stage.coordinator.check_invariants();
        let members = self.members();
        let mut owned: BTreeMap<(TopicId, PartitionIndex), usize> = BTreeMap::new();
        for (number, client) in self.clients.iter().enumerate() {
            if !members.contains(&client.member_id(number)) {
                continue;
            }
            for &at in &client.owned {
                if let Some(other) = owned.insert(at, number) {
                    panic!("G-1: {at:?} is owned by clients {other} and {number}");
                }
            }
        }
    }

    /// The noise is over: live clients beat and give back at once.
    fn settle(&mut self) {
        for client in &mut self.clients {
            if let Some(classic) = &mut client.classic {
                // Topics may have changed, which leaders of classic groups have to find out.
                classic.must_join();
            }
        }
        for _ in 0..22 {
            for number in 0..self.clients.len() {
                if self.clients[number].is_running() {
                    self.give_back(number);
                    self.beat(number, Fate::Good);
                    self.check();
                }
            }
            self.wait(Duration::from_secs(5));
        }
        self.stage.check_replay();
        let running: Vec<usize> =
            (0..self.clients.len()).filter(|&n| self.clients[n].is_running()).collect();
        let Some(group) = self.stage.coordinator.groups().next() else {
            assert!(running.is_empty(), "the group is gone");
            return;
        };
        assert_eq!(group.members, running.len(), "dead members are out");
        assert_eq!(group.state, if running.is_empty() { "Empty" } else { "Stable" });
        let is_classic = |&number: &usize| self.clients[number].classic.is_some();
        if !running.is_empty() && !running.iter().all(is_classic) {
            assert_eq!(group.kind, "consumer");
        }
        let mut owned = Partitions::new();
        for &number in &running {
            for &at in &self.clients[number].owned {
                assert!(owned.insert(at), "owned twice in the end");
            }
        }
        assert_eq!(owned, self.wanted(&running), "all that is wanted is owned");
    }

    /// The partitions of all topics that running clients want.
    fn wanted(&self, running: &[usize]) -> Partitions {
        let mut wanted = Partitions::new();
        for name in TOPICS {
            let Some(topic) = self.stage.cluster.by_name(name) else { continue };
            let wants = |&&number: &&usize| {
                let (names, regex) = WISHES[self.clients[number].wish];
                names.contains(&name) || matches(regex, name)
            };
            if running.iter().any(|number| wants(&number)) {
                let all = (0..topic.partition_count).map(PartitionIndex::new);
                wanted.extend(all.map(|partition| (topic.id, partition)));
            }
        }
        wanted
    }
}

/// The few regular expressions of [`WISHES`], by hand.
fn matches(regex: &str, name: &str) -> bool {
    match regex {
        "a+" => name.chars().all(|c| c == 'a'),
        "a.*" => name.starts_with('a'),
        "[bc]" => matches!(name, "b" | "c"),
        _ => false,
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0_usize..6;
    let fate = prop_oneof![
        8 => Just(Fate::Good),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::AppendRefused),
    ];
    let step = prop_oneof![
        30 => (client.clone(), fate).prop_map(|(client, fate)| Step::Beat { client, fate }),
        14 => client.clone().prop_map(Step::GiveBack),
        3 => (client.clone(), 0_usize..6)
            .prop_map(|(client, wish)| Step::Subscribe { client, wish }),
        3 => (client.clone(), any::<bool>())
            .prop_map(|(client, for_a_while)| Step::Leave { client, for_a_while }),
        2 => client.prop_map(Step::Die),
        8 => (1_u64..8).prop_map(Step::Wait),
        1 => Just(Step::Wait(25)),
        2 => (0_usize..4, 0_i32..6)
            .prop_map(|(topic, partitions)| Step::SetTopic { topic, partitions }),
        1 => (0_usize..4).prop_map(Step::RemoveTopic),
        1 => Just(Step::Touch),
        2 => Just(Step::Reload),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn consumer_groups_keep_their_promises(clients in 1_usize..6, steps in steps()) {
        let mut world = World::new(clients, 0);
        for step in &steps {
            world.step(step);
        }
        world.settle();
    }

    #[test]
    fn groups_of_both_protocols_keep_them_too(
        clients in 1_usize..6,
        classic in any::<u8>(),
        steps in steps(),
    ) {
        let mut world = World::new(clients, classic);
        for step in &steps {
            world.step(step);
        }
        world.settle();
    }
}
