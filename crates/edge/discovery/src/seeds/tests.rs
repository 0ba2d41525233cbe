use super::*;
use crate::tags::tests::member;
use std::sync::Mutex;

/// Brokers by the address they answer at.
type Answers = Arc<Mutex<BTreeMap<String, Member>>>;

fn probe(answers: &Answers) -> Probe {
    let answers = Arc::clone(answers);
    Arc::new(move |address| {
        let answer = answers.lock().expect("whole").get(&address).cloned();
        Box::pin(async move { answer.ok_or_else(|| "refused".to_owned()) })
    })
}

fn seeds(list: &[&str]) -> SeedSettings {
    let seed = |text: &&str| {
        let (host, port) = text.rsplit_once(':').expect("host:port");
        HostPort { host: host.to_owned(), port: port.parse().expect("a port") }
    };
    SeedSettings::new(list.iter().map(seed).collect())
}

async fn knows(discovery: &StaticSeeds, others: &[u8]) {
    let expect: Vec<Uuid> = others.iter().map(|number| member(*number).node).collect();
    let mut list = discovery.changed();
    let is_it =
        |members: &Members| members.iter().map(|one| one.node).collect::<Vec<_>>() == expect;
    let waited = timeout(Duration::from_secs(60), list.wait_for(is_it)).await;
    assert!(matches!(waited, Ok(Ok(_))), "{others:?}: {:?}", discovery.members());
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_is_found_and_missed_when_it_does_not() {
    let answers = Answers::default();
    let set = |address: &str, number: u8| {
        answers.lock().expect("whole").insert(address.to_owned(), member(number));
    };
    set("127.0.0.1:1", 1);
    let settings = seeds(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "nowhere.invalid:1"]);
    let one = StaticSeeds::start(settings, member(1).node, probe(&answers));
    knows(&one, &[]).await;
    set("127.0.0.1:3", 3);
    knows(&one, &[3]).await;
    set("127.0.0.1:2", 2);
    knows(&one, &[2, 3]).await;
    answers.lock().expect("whole").remove("127.0.0.1:3");
    knows(&one, &[2]).await;
    // Another broker at the same address is another member.
    set("127.0.0.1:2", 5);
    knows(&one, &[5]).await;
    let kinds: Vec<_> = one.events().iter().map(|event| event.kind).collect();
    use EventKind::{Failed, Joined};
    assert_eq!(kinds, [Joined, Joined, Failed, Joined, Failed]);
    one.leave().await;
    assert!(one.members().is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_for_one_round_is_no_failure() {
    let answers = Answers::default();
    let counted = Arc::new(Mutex::new(0_u32));
    let asked = Arc::clone(&counted);
    let always = probe(&answers);
    answers.lock().expect("whole").insert("127.0.0.1:2".to_owned(), member(2));
    let every_other: Probe = Arc::new(move |address| {
        let mut asked = asked.lock().expect("whole");
        *asked += 1;
        if asked.is_multiple_of(2) { Box::pin(std::future::pending()) } else { always(address) }
    });
    let one = StaticSeeds::start(seeds(&["127.0.0.1:2"]), member(1).node, every_other);
    knows(&one, &[2]).await;
    while *counted.lock().expect("whole") < 20 {
        sleep(Duration::from_secs(1)).await;
    }
    knows(&one, &[2]).await;
    assert_eq!(one.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_seeds_nothing_is_done() {
    let one = StaticSeeds::start(seeds(&[]), member(1).node, probe(&Answers::default()));
    while !one.task.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(one.members().is_empty());
    one.leave().await;
}
