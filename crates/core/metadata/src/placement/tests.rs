use super::*;
use crate::record::Registration;
use jocko_types::{BrokerEpoch, Uuid};
use proptest::prelude::*;

fn brokers(racks: &[Option<u8>]) -> Vec<Arc<Broker>> {
    let broker = |(id, rack): (i32, &Option<u8>)| {
        Arc::new(Broker {
            is_retiring: false,
            disk: None,
            registration: Registration {
                broker_id: BrokerId::new(id),
                broker_epoch: BrokerEpoch::new(1),
                incarnation: Uuid::ZERO,
                directory: Uuid::ZERO,
                endpoints: Vec::new(),
                rack: rack.map(|rack| rack.to_string()),
                release: String::new(),
                fenced: false,
            },
        })
    };
    (0..).zip(racks).map(broker).collect()
}

fn place(racks: &[Option<u8>], seed: u64, partitions: usize, copies: usize) -> Vec<Vec<BrokerId>> {
    let mut random = Randomness::from_seed([seed, 0, 0, 0]);
    let mut placement = Placement::over(brokers(racks).iter(), &mut random);
    (0..partitions).map(|_| placement.next(copies)).collect()
}

#[test]
fn nobody_can_take_a_partition_where_nobody_is() {
    assert_eq!(place(&[], 1, 1, 3), vec![Vec::new()]);
}

#[test]
fn brokers_that_are_away_get_what_is_left_over() {
    let known = brokers(&[None; 4]);
    let check = |present: usize, copies: usize, away_copies: usize| {
        let mut random = Randomness::from_seed([7, 0, 0, 0]);
        let (here, away) = known.split_at(present);
        let mut placement = Placement::over(here.iter(), &mut random).or_else(away.iter());
        assert_eq!(placement.broker_count(), present);
        assert_eq!(placement.broker_count_registered(), known.len());
        for _ in 0..6 {
            let list = placement.next(copies);
            let distinct: std::collections::BTreeSet<_> = list.iter().collect();
            assert_eq!((list.len(), distinct.len()), (copies, copies));
            let is_away = |id: &&BrokerId| away.iter().any(|broker| broker.id() == **id);
            assert!(!is_away(&&list[0]), "nobody leads who is away");
            assert_eq!(list.iter().filter(is_away).count(), away_copies);
        }
    };
    check(4, 3, 0);
    check(3, 3, 0);
    check(2, 3, 1);
    check(1, 3, 2);
    check(2, 4, 2);
}

#[test]
fn followers_of_a_leader_shift_from_round_to_round() {
    let racks = [None; 4];
    let lists = place(&racks, 1, 12, 2);
    let leader = lists[0][0];
    let followers: std::collections::BTreeSet<BrokerId> =
        lists.iter().filter(|list| list[0] == leader).map(|list| list[1]).collect();
    assert_eq!(followers.len(), 3);
}

proptest! {
    #[test]
    fn replicas_are_distinct_spread_and_even(
        racks in prop::collection::vec(prop::option::of(0..3_u8), 1..8),
        seed: u64,
        partitions in 1..30_usize,
        copies in 1..5_usize,
    ) {
        let copies = copies.min(racks.len());
        let lists = place(&racks, seed, partitions, copies);
        prop_assert_eq!(&lists, &place(&racks, seed, partitions, copies));
        let rack_count = racks.iter().collect::<std::collections::BTreeSet<_>>().len();
        let mut led = vec![0_usize; racks.len()];
        for list in &lists {
            let distinct: std::collections::BTreeSet<_> = list.iter().collect();
            prop_assert_eq!((list.len(), distinct.len()), (copies, copies));
            let at = |id: &BrokerId| usize::try_from(id.get()).expect("small");
            let used: std::collections::BTreeSet<_> = list.iter().map(|id| racks[at(id)]).collect();
            prop_assert_eq!(used.len(), copies.min(rack_count));
            led[at(&list[0])] += 1;
        }
        let (most, least) = (led.iter().max().expect("some"), led.iter().min().expect("some"));
        prop_assert!(most - least <= 1, "{:?}", led);
    }
}
