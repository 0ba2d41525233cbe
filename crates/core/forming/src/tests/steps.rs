//! Single steps: who proposes, who gives way, what is said.

use super::bytes::{id, proposal, seat};
use crate::machine::{Action, Forming, Fresh, Input, Output, Settings, Sighting};
use crate::message::{Envelope, Message, Refusal, Standing};
use crate::proposal::{Bound, Proposal};
use jocko_types::Now;
use std::time::Duration;

fn at(seconds: u64) -> Now {
    Now::from_start(Duration::from_secs(seconds))
}

fn node(number: u8, expect: u32, bound: Bound) -> Forming {
    let expect = (expect > 0).then_some(expect);
    Forming::start(Settings { me: seat(number), expect }, bound, at(0)).0
}

fn blank(number: u8) -> Sighting {
    Sighting { seat: seat(number), expect: 3, cluster: None }
}

fn step(machine: &mut Forming, seconds: u64, input: Input) -> Output {
    machine.step(at(seconds), Fresh { proposal: id(50), cluster: id(150) }, input)
}

fn hear(machine: &mut Forming, seconds: u64, from: u8, message: Message) -> Output {
    let to = machine.settings.me.node;
    step(machine, seconds, Input::Received(Envelope { from: seat(from), to, message }))
}

fn messages(output: &Output) -> Vec<(String, &Message)> {
    let send = output.then.send.iter();
    send.map(|it| (it.address.clone(), &it.envelope.message)).collect()
}

#[test]
fn the_lowest_of_enough_proposes_and_founds_when_all_have_pledged() {
    let mut lowest = node(1, 3, Bound::Free);
    let few = step(&mut lowest, 0, Input::Seen(vec![blank(2)]));
    assert_eq!(few, Output::default());
    assert_eq!(lowest.waiting(at(0)), "waiting for 1 more of 3 brokers; seen: n2:9093");
    let output = step(&mut lowest, 1, Input::Seen(vec![blank(4), blank(2), blank(3)]));
    let expected = proposal(50, 1, &[1, 2, 3]);
    assert_eq!(output.store_first, Some(Bound::Pledged(expected.clone())));
    let asked = Message::Propose(expected.clone());
    assert_eq!(messages(&output), [2, 3].map(|it| (format!("n{it}:9093"), &asked)).to_vec());
    let one = hear(&mut lowest, 1, 2, Message::Pledged { proposal: id(50) });
    assert_eq!(one, Output::default());
    assert_eq!(
        lowest.waiting(at(1)),
        "waiting for 1 of 3 brokers to agree to form a cluster; asked: n2:9093, n3:9093; no answer \
         yet: n3:9093"
    );
    let all = hear(&mut lowest, 1, 3, Message::Pledged { proposal: id(50) });
    let settled = Bound::Settled { cluster: id(150), proposal: Some(expected.clone()) };
    assert_eq!(all.store_first, Some(settled.clone()));
    assert_eq!(all.then.action, Some(Action::Found(expected.clone())));
    // After a crash in between it is founded still.
    let settings = Settings { me: seat(1), expect: Some(3) };
    let (_, again) = Forming::start(settings, settled, at(9));
    assert_eq!(again.then.action, Some(Action::Found(expected)));
}

#[test]
fn others_wait_for_the_lowest() {
    let mut other = node(2, 3, Bound::Free);
    let output = step(&mut other, 0, Input::Seen(vec![blank(1), blank(3)]));
    assert_eq!(output, Output::default());
    assert_eq!(
        other.waiting(at(0)),
        "waiting for n1:9093 to propose a cluster; seen: n1:9093, n3:9093"
    );
    let asked = proposal(60, 1, &[1, 2, 3]);
    let output = hear(&mut other, 1, 1, Message::Propose(asked.clone()));
    assert_eq!(output.store_first, Some(Bound::Pledged(asked.clone())));
    assert_eq!(messages(&output), [("n1:9093".to_owned(), &Message::Pledged { proposal: id(60) })]);
    assert!(other.waiting(at(20)).contains("it has not answered for 19 s"));
    // A second proposal gets no pledge, and a member of a cluster no visit, as long as this lives.
    let second = proposal(70, 4, &[2, 3, 4]);
    let output = hear(&mut other, 20, 4, Message::Propose(second));
    assert_eq!(output.store_first, None);
    let why = Refusal::Bound { holder: id(1) };
    let refused = Message::Refused { proposal: id(70), why };
    let ask = Message::Ask { proposal: id(60) };
    assert_eq!(messages(&output), [("n1:9093".to_owned(), &ask), ("n4:9093".to_owned(), &refused)]);
    let elsewhere = Sighting { cluster: Some(id(200)), ..blank(5) };
    let output = step(&mut other, 21, Input::Seen(vec![elsewhere]));
    assert_eq!(output.store_first, None);
    let standing = Standing::Abandoned;
    let output = hear(&mut other, 22, 1, Message::Standing { proposal: id(60), standing });
    assert_eq!(output.store_first, Some(Bound::Settled { cluster: id(200), proposal: None }));
    assert_eq!(output.then.action, Some(Action::Join { cluster: id(200) }));
}

#[test]
fn only_the_proposer_ends_a_pledge() {
    let asked = proposal(60, 1, &[1, 2, 3]);
    for (from, standing, expect) in [
        (3, Standing::Abandoned, None),
        (1, Standing::Pending, None),
        (1, Standing::Abandoned, Some(Bound::Free)),
        (
            1,
            Standing::Initialised,
            Some(Bound::Settled { cluster: id(160), proposal: Some(asked.clone()) }),
        ),
    ] {
        let mut machine = node(2, 3, Bound::Pledged(asked.clone()));
        let output = hear(&mut machine, 0, from, Message::Standing { proposal: id(60), standing });
        assert_eq!(output.store_first, expect, "{from} says {standing:?}");
    }
}

#[test]
fn a_proposer_gives_way_to_a_lower_one_and_never_to_a_higher() {
    let own = proposal(60, 3, &[3, 4, 5]);
    let lower = proposal(61, 2, &[2, 3, 4]);
    let higher = proposal(62, 4, &[3, 4, 6]);
    let mut machine = node(3, 3, Bound::Pledged(own.clone()));
    let output = hear(&mut machine, 0, 4, Message::Propose(higher));
    assert_eq!(output.store_first, None);
    let output = hear(&mut machine, 0, 2, Message::Propose(lower.clone()));
    assert_eq!(output.store_first, Some(Bound::Pledged(lower)));
    let abandoned = Message::Standing { proposal: id(60), standing: Standing::Abandoned };
    let pledged = Message::Pledged { proposal: id(61) };
    assert_eq!(
        messages(&output),
        [("n4:9093", &abandoned), ("n5:9093", &abandoned), ("n2:9093", &pledged)]
            .map(|(to, message)| (to.to_owned(), message))
    );
    // A pledge to the abandoned one that was on its way changes nothing.
    let output = hear(&mut machine, 0, 4, Message::Pledged { proposal: id(60) });
    assert_eq!(messages(&output), [("n4:9093".to_owned(), &abandoned)]);
    for (to, expect) in [(2, Some(Bound::Free)), (4, None)] {
        let mut machine = node(3, 3, Bound::Pledged(own.clone()));
        let output = hear(&mut machine, 0, 5, Message::GiveWay { proposal: id(60), to: id(to) });
        assert_eq!(output.store_first, expect, "asked to give way to {to}");
    }
}

#[test]
fn what_cannot_be_is_told_in_words() {
    let joins = |number: u8, cluster: u8| Sighting { cluster: Some(id(cluster)), ..blank(number) };
    let mut machine = node(1, 3, Bound::Free);
    let _ = step(&mut machine, 0, Input::Seen(vec![joins(2, 200), joins(3, 201)]));
    assert!(machine.waiting(at(0)).starts_with("members of 2 clusters are seen"));
    let mut machine = node(1, 3, Bound::Free);
    let other = Sighting { expect: 5, ..blank(2) };
    let _ = step(&mut machine, 0, Input::Seen(vec![other]));
    assert_eq!(
        machine.waiting(at(0)),
        "waiting for 2 more of 3 brokers; seen: nobody; n2:9093 expects 5 brokers, not 3: \
         cluster.expect must be the same on all"
    );
    assert!(node(1, 12, Bound::Free).waiting(at(0)).contains("at most 9"));
    assert_eq!(
        node(1, 0, Bound::Free).waiting(at(0)),
        "waiting to reach a member of a cluster; seen: nobody"
    );
    let joiner = |number: u8| Sighting { expect: 1, ..blank(number) };
    let mut machine = node(1, 0, Bound::Free);
    let _ = step(&mut machine, 0, Input::Seen(vec![joiner(2), joiner(3)]));
    assert_eq!(
        machine.waiting(at(0)),
        "waiting to reach a member of a cluster; seen: n2:9093, n3:9093, and none of them is in \
         one either: to form one together, start each with --expect 3"
    );
    let _ = step(&mut machine, 0, Input::Seen(vec![joiner(2), blank(3)]));
    assert!(!machine.waiting(at(0)).contains("--expect"), "one of them is about to form one");
}

#[test]
fn voters_are_one_three_or_five() {
    let count = |members: u8| {
        let members: Vec<u8> = (1..=members).collect();
        let it: Proposal = proposal(50, 1, &members);
        it.voters().len()
    };
    assert_eq!((1..=9).map(count).collect::<Vec<_>>(), [1, 1, 3, 3, 5, 5, 5, 5, 5]);
}
