use super::*;
use crate::tags::tests::member;
use jocko_types::BrokerId;

fn node(number: u8) -> Uuid {
    member(number).node
}

/// Waits until a broker knows exactly these others.
async fn knows(discovery: &MemoryDiscovery, others: &[u8]) {
    let expect: Vec<Uuid> = others.iter().map(|number| node(*number)).collect();
    let mut list = discovery.changed();
    let is_it =
        |members: &Members| members.iter().map(|member| member.node).collect::<Vec<_>>() == expect;
    let waited = tokio::time::timeout(Duration::from_secs(60), list.wait_for(is_it)).await;
    assert!(matches!(waited, Ok(Ok(_))), "{others:?}: {:?}", discovery.members());
}

#[tokio::test(start_paused = true)]
async fn brokers_find_each_other_change_and_leave() {
    let network = MemoryNetwork::new(1);
    let one = network.enter(member(1));
    let two = network.enter(member(2));
    knows(&one, &[2]).await;
    let three = network.enter(member(3));
    knows(&one, &[2, 3]).await;
    knows(&three, &[1, 2]).await;
    two.announce(Member { broker_id: Some(BrokerId::new(9)), ..member(2) }).expect("fits");
    let mut list = one.changed();
    let has_number = |members: &Members| members.iter().any(|member| member.broker_id.is_some());
    list.wait_for(has_number).await.expect("open");
    two.leave().await;
    knows(&one, &[3]).await;
    drop(three);
    knows(&one, &[]).await;
    let kinds: Vec<_> = one.events().iter().map(|event| event.kind).collect();
    use EventKind::{Failed, Joined, Left, Updated};
    assert_eq!(kinds, [Joined, Joined, Updated, Left, Failed]);
    let again = network.enter(member(3));
    knows(&one, &[3]).await;
    knows(&again, &[1]).await;
}

#[tokio::test(start_paused = true)]
async fn cuts_are_noticed_and_mend() {
    let network = MemoryNetwork::new(2);
    let all: Vec<_> = (1..=3).map(|number| network.enter(member(number))).collect();
    knows(&all[0], &[2, 3]).await;
    // The third still passes news on between the two.
    network.cut_one_way(node(1), node(2));
    tokio::time::sleep(Duration::from_secs(20)).await;
    knows(&all[0], &[2, 3]).await;
    network.cut(node(1), node(3));
    knows(&all[0], &[]).await;
    knows(&all[2], &[2]).await;
    network.mend_all();
    knows(&all[0], &[2, 3]).await;
    knows(&all[2], &[1, 2]).await;
}

/// A history with changes of all kinds, in words.
async fn history(seed: u64) -> String {
    let network = MemoryNetwork::new(seed);
    let all: Vec<_> = (1..=5).map(|number| network.enter(member(number))).collect();
    knows(&all[0], &[2, 3, 4, 5]).await;
    network.cut(node(4), node(5));
    network.cut(node(1), node(4));
    all[1].announce(Member { expect: 5, ..member(2) }).expect("fits");
    tokio::time::sleep(Duration::from_secs(10)).await;
    all[2].leave().await;
    network.mend_all();
    tokio::time::sleep(Duration::from_secs(10)).await;
    all.iter().map(|one| format!("{:?}\n", one.events())).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_history() {
    assert_eq!(history(7).await, history(7).await);
    assert_ne!(history(7).await, history(8).await);
}

/// Chaos, then peace: whatever happened before, in the end everybody knows everybody who is there.
#[tokio::test(start_paused = true)]
async fn after_any_chaos_everybody_is_known() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let network = MemoryNetwork::new(seed);
        let mut all: BTreeMap<u8, MemoryDiscovery> =
            (1..=5).map(|number| (number, network.enter(member(number)))).collect();
        for _ in 0..40 {
            let (one, other) = (rng.u8(1..=5), rng.u8(1..=5));
            match rng.u8(0..8) {
                0 => network.cut(node(one), node(other)),
                1 => network.cut_one_way(node(one), node(other)),
                2 => network.mend(node(one), node(other)),
                3 => drop(all.remove(&one)),
                4 => {
                    if let Some(gone) = all.remove(&one) {
                        gone.leave().await;
                    }
                }
                5 => drop(all.insert(one, network.enter(member(one)))),
                6 => {
                    if let Some(it) = all.get(&one) {
                        let expect = u32::from(rng.u8(1..));
                        it.announce(Member { expect, ..member(one) }).expect("fits");
                    }
                }
                _ => tokio::time::sleep(Duration::from_millis(rng.u64(0..5_000))).await,
            }
        }
        network.mend_all();
        for (number, one) in &all {
            let others: Vec<u8> = all.keys().copied().filter(|other| other != number).collect();
            knows(one, &others).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        for (number, one) in &all {
            let others: Vec<u8> = all.keys().copied().filter(|other| other != number).collect();
            knows(one, &others).await;
        }
    }
}
