//! Real sockets on loopback. Nothing here waits for a length of time, only for what must come.

use super::*;
use crate::member::EventKind;
use crate::tags::tests::member;
use jocko_types::BrokerId;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

mod insider;

const DEADLINE: Duration = Duration::from_secs(20);

fn at(port: u16) -> HostPort {
    HostPort { host: "127.0.0.1".to_owned(), port }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    place::take(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port").2.port()
}

fn settings(port: u16, join: &[u16]) -> GossipSettings {
    GossipSettings {
        listen: at(port),
        advertise: None,
        join: join.iter().map(|port| at(*port)).collect(),
        secret: Some(Secret::new("a secret of the tests")),
        secret_accepted: None,
    }
}

fn port_of(discovery: &SerfDiscovery) -> u16 {
    discovery.address().expect("gossip has an address").port()
}

async fn start(settings: GossipSettings, number: u8) -> SerfDiscovery {
    SerfDiscovery::start_at(settings, member(number), Pace::QUICK).await.expect("starts")
}

async fn wait_for(discovery: &SerfDiscovery, what: &str, is_so: impl Fn(&[Member]) -> bool) {
    let mut list = discovery.changed();
    let waited = timeout(DEADLINE, list.wait_for(|members| is_so(members))).await;
    let has_come = matches!(waited, Ok(Ok(_)));
    assert!(has_come, "{what}: {:?} {:?}", discovery.members(), discovery.events());
}

async fn knows(discovery: &SerfDiscovery, others: &[u8]) {
    let expect: Vec<Uuid> = others.iter().map(|number| member(*number).node).collect();
    let is_so =
        |members: &[Member]| members.iter().map(|one| one.node).collect::<Vec<_>>() == expect;
    wait_for(discovery, &format!("to know {others:?}"), is_so).await;
}

fn kinds(discovery: &SerfDiscovery, number: u8) -> Vec<EventKind> {
    let node = member(number).node;
    let events = discovery.events();
    events.iter().filter(|event| event.node == node).map(|event| event.kind).collect()
}

/// Whether these events happened to a member in this order. Others may lie between: on a machine
/// that is busy a broker may seem to fail for a moment.
fn happened(discovery: &SerfDiscovery, number: u8, kinds_in_order: &[EventKind]) {
    let all = kinds(discovery, number);
    let mut rest = all.iter();
    let is_so = kinds_in_order.iter().all(|kind| rest.any(|other| other == kind));
    assert!(is_so, "{kinds_in_order:?} of {all:?}");
}

#[tokio::test]
async fn brokers_find_each_other_whoever_starts_first() {
    let ports = [free_port(), free_port(), free_port()];
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut all = Vec::new();
        for at in order {
            let number = u8::try_from(at + 1).expect("small");
            // Each is to join all three, itself included, as brokers with one settings file do.
            all.push((number, start(settings(ports[at], &ports), number).await));
        }
        for (number, one) in &all {
            let others: Vec<u8> = (1..=3).filter(|other| other != number).collect();
            knows(one, &others).await;
        }
        for (_, one) in all {
            one.leave().await;
        }
    }
}

#[tokio::test]
async fn news_a_farewell_and_silence_show() {
    let port = free_port();
    let one = start(settings(port, &[port]), 1).await;
    let two = start(settings(0, &[port]), 2).await;
    let three = start(settings(0, &[port]), 3).await;
    knows(&one, &[2, 3]).await;
    knows(&three, &[1, 2]).await;
    let number = Some(BrokerId::new(7));
    let news = Member { broker_id: number, rack: Some("east".to_owned()), ..member(2) };
    two.announce(news.clone()).expect("fits");
    for other in [&one, &three] {
        wait_for(other, "news", |members| members.contains(&news)).await;
    }
    let started = std::time::Instant::now();
    two.leave().await;
    assert!(started.elapsed() < Duration::from_millis(1_200), "{:?}", started.elapsed());
    assert!(two.members().is_empty());
    knows(&one, &[3]).await;
    happened(&one, 2, &[EventKind::Joined, EventKind::Updated, EventKind::Left]);
    drop(three);
    knows(&one, &[]).await;
    happened(&one, 3, &[EventKind::Joined, EventKind::Failed]);
    // It comes back at another address.
    let three = start(settings(0, &[port]), 3).await;
    knows(&one, &[3]).await;
    knows(&three, &[1]).await;
    let long = Member { rack: Some("r".repeat(500)), ..member(1) };
    assert!(one.announce(long).is_err());
}

/// As after a partition, or a long pause of its machine: everybody gave it up, and it comes back
/// by itself.
#[tokio::test]
async fn a_broker_that_was_held_up_comes_back() {
    let port = free_port();
    let one = start(settings(port, &[port]), 1).await;
    let two = start(settings(0, &[port]), 2).await;
    let (orders, mut ordered) = mpsc::channel::<std::sync::mpsc::Receiver<()>>(1);
    let three = std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime").block_on(async move {
            let three = start(settings(0, &[port]), 3).await;
            while let Some(held_up) = ordered.recv().await {
                // Nothing in this runtime goes on meanwhile.
                let _ = held_up.recv();
            }
            knows(&three, &[1, 2]).await;
            three.leave().await;
        });
    });
    knows(&one, &[2, 3]).await;
    knows(&two, &[1, 3]).await;
    let (go_on, held_up) = std::sync::mpsc::channel();
    orders.send(held_up).await.expect("it runs");
    knows(&one, &[2]).await;
    knows(&two, &[1]).await;
    drop(go_on);
    knows(&one, &[2, 3]).await;
    knows(&two, &[1, 3]).await;
    drop(orders);
    knows(&one, &[2]).await;
    tokio::task::spawn_blocking(|| three.join()).await.expect("joins").expect("no panic");
    happened(&one, 3, &[EventKind::Joined, EventKind::Failed, EventKind::Joined]);
}

#[tokio::test]
async fn a_sleeping_broker_wakes_when_it_is_called() {
    let alone = start(settings(0, &[]), 1).await;
    let expect = Member { expect: 5, ..member(1) };
    alone.announce(expect.clone()).expect("fits");
    let two = start(settings(0, &[port_of(&alone)]), 2).await;
    knows(&alone, &[2]).await;
    wait_for(&two, "what was said in sleep", |members| members.contains(&expect)).await;
    // One that sleeps says farewell to nobody.
    start(settings(0, &[]), 3).await.leave().await;
}

#[tokio::test]
async fn a_sleeping_broker_wakes_when_others_are_looked_for() {
    let asleep = start(settings(0, &[]), 1).await;
    let other = start(settings(0, &[]), 2).await;
    // Nobody is to be found at the first address.
    let there = other.address().expect("gossip has an address");
    asleep.seek(vec![SocketAddr::from(([127, 0, 0, 1], free_port())), there]);
    knows(&asleep, &[2]).await;
    knows(&other, &[1]).await;
    // Where others are is learnt later, too, and beside what the settings say.
    let third = start(settings(0, &[free_port()]), 3).await;
    third.seek(vec![there]);
    knows(&third, &[1, 2]).await;
}

#[tokio::test]
async fn names_have_several_addresses_and_some_lead_nowhere() {
    let one = start(settings(0, &[]), 1).await;
    let mut settings = settings(0, &[free_port()]);
    let there = port_of(&one);
    settings.join.push(HostPort { host: "no-such-host.invalid".to_owned(), port: there });
    settings.join.push(HostPort { host: "localhost".to_owned(), port: there });
    let two = start(settings, 2).await;
    knows(&two, &[1]).await;
    knows(&one, &[2]).await;
}

#[tokio::test]
async fn brokers_on_one_port_of_several_addresses_are_told_apart() {
    let port = free_port();
    let listen = |host: &str| HostPort { host: host.to_owned(), port };
    let one = start(GossipSettings { listen: listen("127.0.0.3"), ..settings(0, &[]) }, 1).await;
    let join = vec![listen("127.0.0.2"), listen("127.0.0.3")];
    let two = GossipSettings { listen: listen("127.0.0.2"), join, ..settings(0, &[]) };
    let two = start(two, 2).await;
    knows(&one, &[2]).await;
    knows(&two, &[1]).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let one = start(settings(0, &[]), 1).await;
    let taken = settings(port_of(&one), &[]);
    let error = SerfDiscovery::start(taken, member(2)).await.expect_err("taken");
    let StartError::Listen { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
}

/// Starts to gossip without a task that joins.
async fn begun(settings: GossipSettings, number: u8) -> (Running, Arc<Roster>) {
    let bind = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let roster = Arc::new(Roster::new());
    let life = Life {
        settings,
        pace: Pace::QUICK,
        place: Place { bind, told: bind },
        me: watch::channel(member(number)).1,
        sought: watch::channel(Vec::new()).1,
        roster: Arc::clone(&roster),
        ordered: mpsc::channel(1).1,
    };
    (life.begin().await.expect("starts"), roster)
}

/// Tries once to join; what the trouble is.
async fn join_once(one: &Running, settings: &GossipSettings, list: &Roster) -> Option<String> {
    let own = *one.gossip.advertise_node().address();
    let joining = join::Joining {
        gossip: &one.gossip,
        join: &settings.join,
        sought: watch::channel(Vec::new()).1,
        own: Place { bind: own, told: own },
        has_secret: settings.secret.is_some(),
        list: list.changed(),
        roster: list,
    };
    joining.round().await.1
}

async fn count(running: &Running) -> usize {
    running.gossip.num_members().await
}

#[tokio::test]
async fn another_secret_never_joins() {
    let (one, _) = begun(settings(0, &[]), 1).await;
    let port = one.gossip.advertise_node().address().port();
    let said = [
        (Some(Secret::new("another secret of tests")), "its cluster.secret is another one"),
        (None, "it has a cluster.secret, and this broker none"),
    ];
    for (secret, words) in said {
        let settings = GossipSettings { secret, ..settings(0, &[port]) };
        let (two, list) = begun(settings.clone(), 2).await;
        for _ in 0..3 {
            let trouble = join_once(&two, &settings, &list).await.unwrap_or_default();
            assert!(trouble.contains(words), "{trouble}");
        }
        assert_eq!((count(&one).await, count(&two).await), (1, 1));
        two.gossip.shutdown().await.expect("stops");
    }
}

#[tokio::test]
async fn who_finds_nobody_knows_why() {
    let one = start(settings(0, &[]), 1).await;
    let (there, nobody) = (port_of(&one), free_port());
    assert_eq!(one.trouble(), None, "it looks for nobody");
    let secret = Some(Secret::new("another secret of tests"));
    // Somebody who is not understood says more than an address where nobody is.
    let stranger = GossipSettings { secret, ..settings(0, &[there, nobody]) };
    let two = start(stranger, 2).await;
    let told = timeout(DEADLINE, async {
        while !two.trouble().is_some_and(|it| it.contains("its cluster.secret is another one")) {
            tokio::task::yield_now().await;
        }
    });
    assert!(told.await.is_ok(), "{:?}", two.trouble());
    let three = start(settings(0, &[there]), 3).await;
    knows(&three, &[1]).await;
    assert_eq!(three.trouble(), None);
}

#[tokio::test]
async fn secrets_are_exchanged_in_three_rounds() {
    let (old, new) = (Secret::new("the old secret of all"), Secret::new("the new secret of all"));
    let with = |secret: &Secret, accepted: Option<&Secret>, join: &[u16]| GossipSettings {
        secret: Some(secret.clone()),
        secret_accepted: accepted.cloned(),
        ..settings(0, join)
    };
    let rounds = [
        ((&old, None), (&old, Some(&new))),
        ((&old, Some(&new)), (&new, Some(&old))),
        ((&new, Some(&old)), (&new, None)),
    ];
    for ((one_speaks, one_accepts), (two_speaks, two_accepts)) in rounds {
        let one = start(with(one_speaks, one_accepts, &[]), 1).await;
        let join = [port_of(&one)];
        let two = start(with(two_speaks, two_accepts, &join), 2).await;
        knows(&one, &[2]).await;
        knows(&two, &[1]).await;
    }
}

#[tokio::test]
async fn a_member_that_is_not_understood_is_passed_over() {
    let port = free_port();
    let one = start(settings(port, &[port]), 1).await;
    let settings = settings(0, &[port]);
    let (two, list) = begun(settings.clone(), 2).await;
    let tags: Tags = [("c", "nothing like an address")].into_iter().collect();
    two.gossip.set_tags(tags).await.expect("said");
    let three = start(settings.clone(), 3).await;
    let joined = async {
        while count(&two).await < 3 {
            let _ = join_once(&two, &settings, &list).await;
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, joined).await.expect("joins");
    knows(&one, &[3]).await;
    knows(&three, &[1]).await;
    let ignored = || kinds(&one, 2).contains(&EventKind::Ignored);
    let noticed = async {
        while !ignored() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, noticed).await.expect("an event");
    knows(&one, &[3]).await;
}

/// Everything a stranger may send: noise, headers that lie, connections that hang.
fn attack(port: u16) {
    let mut rng = fastrand::Rng::with_seed(5);
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for round in 0..2_000_usize {
        let mut packet: Vec<u8> = (0..round % 1_400).map(|_| rng.u8(..)).collect();
        // Every tag in turn, with lengths that lie.
        if let Some(tag) = packet.first_mut() {
            *tag = u8::try_from(round % 24).unwrap_or_default();
        }
        socket.send_to(&packet, to).expect("sent");
    }
    for tag in 0..24_u8 {
        let mut stream = TcpStream::connect(to).expect("connects");
        let _ = stream.write_all(&[tag, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }
    let mut liar = TcpStream::connect(to).expect("connects");
    liar.set_read_timeout(Some(DEADLINE)).expect("is allowed");
    liar.write_all(&[15, stream::SEAL.as_u8(), 0xff, 0xff, 0xff, 0xff]).expect("sent");
    let mut answer = Vec::new();
    // It is told off and let go: nobody waits for the four gigabytes.
    let _ = liar.read_to_end(&mut answer);
    assert!(answer.len() < 1_000);
}

#[tokio::test]
async fn strangers_do_no_harm() {
    let port = free_port();
    let one = start(settings(port, &[port]), 1).await;
    let two = start(settings(0, &[port]), 2).await;
    knows(&one, &[2]).await;
    tokio::task::spawn_blocking(move || attack(port)).await.expect("no panic");
    let hanging: Vec<TcpStream> =
        (0..32).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("connects")).collect();
    let three = start(settings(0, &[port]), 3).await;
    knows(&one, &[2, 3]).await;
    knows(&three, &[1, 2]).await;
    let news = Member { expect: 5, ..member(2) };
    two.announce(news.clone()).expect("fits");
    wait_for(&one, "news", |members| members.contains(&news)).await;
    drop(hanging);
}

#[test]
fn the_settings_say_what_gossip_needs() {
    let flags = |pairs: &[(&str, &str)]| {
        let flags: Vec<_> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let layers = jocko_config::Layers { flags: &flags, ..Default::default() };
        GossipSettings::of(jocko_config::load(&layers).expect("allowed").settings())
    };
    let alone = flags(&[]).expect("gossips");
    assert_eq!((alone.listen.to_string().as_str(), alone.join.len()), ("127.0.0.1:9094", 0));
    let secret = ("cluster.secret", "a secret of the tests");
    let three = flags(&[secret, ("cluster.join", "a,b:1"), ("listen.advertise", "me:9092")])
        .expect("gossips");
    let join: BTreeSet<String> = three.join.iter().map(ToString::to_string).collect();
    assert_eq!(join, BTreeSet::from(["a:9094".to_owned(), "b:1".to_owned()]));
    assert_eq!((three.listen.host.as_str(), three.advertise.as_deref()), ("", Some("me")));
    assert!(three.secret.is_some() && three.secret_accepted.is_none());
    assert!(flags(&[("listen.gossip", "none")]).is_none());
}
