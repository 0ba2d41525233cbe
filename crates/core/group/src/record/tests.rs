//! Bytes as Kafka writes them, and what any bytes do.

use super::*;
use jocko_types::TopicId;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn offset(expires_at: Option<i64>, topic_id: TopicId) -> GroupRecord {
    let key =
        OffsetKey { group_id: "g".into(), topic: "t".into(), partition: PartitionIndex::new(3) };
    let value = CommittedOffset {
        offset: Offset::new(7),
        leader_epoch: LeaderEpoch::new(2),
        metadata: "m".to_owned(),
        committed_at: Timestamp::from_millis(1000),
        expires_at: expires_at.map(Timestamp::from_millis),
        topic_id,
    };
    GroupRecord::Offset { key, value: Some(value) }
}

fn member(instance_id: Option<&str>) -> ClassicMemberRecord {
    ClassicMemberRecord {
        member_id: "m".into(),
        instance_id: instance_id.map(Arc::from),
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout: Duration::from_millis(300_000),
        session_timeout: Duration::from_millis(45_000),
        subscription: [1, 2].into(),
        assignment: [3].into(),
    }
}

fn group(members: Vec<ClassicMemberRecord>) -> GroupRecord {
    let is_empty = members.is_empty();
    let metadata = ClassicMetadata {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: (!is_empty).then(|| "range".into()),
        leader: (!is_empty).then(|| "m".into()),
        state_since: Some(Timestamp::from_millis(1000)),
        members,
    };
    GroupRecord::Classic { group_id: "g".into(), value: Some(Arc::new(metadata)) }
}

fn check(record: &GroupRecord, key: &str, value: Option<&str>) {
    let (key_bytes, value_bytes) = record.encode().expect("short enough");
    assert_eq!(hex(&key_bytes), key);
    assert_eq!(value_bytes.as_deref().map(hex).as_deref(), value);
    let decoded = GroupRecord::decode(&key_bytes, value_bytes.as_deref()).expect("our own");
    assert_eq!(decoded, Decoded::Known(record.clone()));
}

#[test]
fn an_offset_is_written_at_version_4_with_its_topic_id() {
    let id = TopicId::from_bytes([0xab; 16]);
    let key = "000100016700017400000003";
    let fields = "0000000000000007000000020";
    let with_id = format!("0004{fields}26d00000000000003e8010010{}", "ab".repeat(16));
    check(&offset(None, id), key, Some(&with_id));
    let without = format!("0004{fields}26d00000000000003e800");
    check(&offset(None, TopicId::ZERO), key, Some(&without));
}

#[test]
fn an_offset_with_an_expiry_is_written_at_version_1() {
    let GroupRecord::Offset { key, value } = offset(Some(2000), TopicId::ZERO) else {
        panic!("an offset")
    };
    // That version knows no leader epoch.
    let value = value.map(|value| CommittedOffset { leader_epoch: LeaderEpoch::NONE, ..value });
    check(
        &GroupRecord::Offset { key: key.clone(), value },
        "000100016700017400000003",
        Some("0001000000000000000700016d00000000000003e800000000000007d0"),
    );
    check(&GroupRecord::Offset { key, value: None }, "000100016700017400000003", None);
}

#[test]
fn a_group_is_written_at_version_3() {
    let head = "00030008636f6e73756d657200000005";
    let range = "000572616e676500016d00000000000003e8";
    let common = "00016300022f68000493e00000afc800000002010200000001";
    let anonymous = format!("{head}{range}0000000100016dffff{common}03");
    check(&group(vec![member(None)]), "0002000167", Some(&anonymous));
    let fixed = format!("{head}{range}0000000100016d000169{common}03");
    check(&group(vec![member(Some("i"))]), "0002000167", Some(&fixed));
    let empty = format!("{head}ffffffff00000000000003e800000000");
    check(&group(Vec::new()), "0002000167", Some(&empty));
    check(&GroupRecord::Classic { group_id: "g".into(), value: None }, "0002000167", None);
}

/// Records as a Kafka 4.3.1 wrote them.
const OF_KAFKA: &[(&str, &str, Option<&str>)] = &[
    (
        "an offset",
        "00010009703139393938342d6300017400000000",
        Some(concat!(
            "00040000000000000005ffffffff01000001a207b7e3540100101380233d3e764a519295",
            "d9dc7af91e86",
        )),
    ),
    (
        "an offset that expires",
        "000100087033303839302d7300017400000001",
        Some("0001000000000000000500026d64000001a207bd46bb000001a207c66e7b"),
    ),
    ("an offset that is gone", "0001000a70313939393831302d6700017500000000", None),
    (
        "a group nobody has joined",
        "00020009703139393938302d67",
        Some("0003000000000000ffffffff000001a207b7d21500000000"),
    ),
    (
        "a group that all have left",
        "00020009703139393938302d67",
        Some("00030008636f6e73756d657200000003ffffffff000001a207b8084d00000000"),
    ),
    (
        "a group with a member",
        "00020009703139393938352d67",
        Some(concat!(
            "00030008636f6e73756d657200000001000572616e67650026622d37623634326238652d",
            "363636332d343235382d623134382d646362626364636466613234000001a207b7d8bb00",
            "0000010026622d37623634326238652d363636332d343235382d623134382d6463626263",
            "64636466613234ffff000162000a2f3132372e302e302e310000ea60000027100000000d",
            "000000000001000174ffffffff000000027430",
        )),
    ),
    (
        "a group with two, one static",
        "00020009703139393938312d67",
        Some(concat!(
            "00030008636f6e73756d657200000002000572616e6765002769312d3533363966666165",
            "2d343965652d343235632d623932652d323865326666633531373864000001a207b7e12b",
            "00000002002769312d35333639666661652d343965652d343235632d623932652d323865",
            "32666663353137386400026931000161000a2f3132372e302e302e310000ea6000002710",
            "0000000d000000000001000174ffffffff000000027430002769322d3532616531313237",
            "2d663739352d346532662d386633372d6430663933646436653363630002693200016200",
            "0a2f3132372e302e302e310000ea60000027100000000d000000000001000174ffffffff",
            "000000027431",
        )),
    ),
    ("a group that is gone", "00020009703139393938302d67", None),
];

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).expect("hex")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}

#[test]
fn what_kafka_wrote_is_read_and_written_back() {
    for (what, key, value) in OF_KAFKA {
        let value = value.map(unhex);
        let decoded = GroupRecord::decode(&unhex(key), value.as_deref()).expect(what);
        let Decoded::Known(record) = decoded else { panic!("{what} is known") };
        assert_eq!(record.encode(), Ok((unhex(key), value)), "{what}");
    }
}

#[test]
fn records_of_older_versions_are_read() {
    let key = [0, 0, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3];
    let value =
        [&[0, 0][..], &7_i64.to_be_bytes(), &[0, 1, b'm'], &1000_i64.to_be_bytes()].concat();
    let GroupRecord::Offset { key: known, value: committed } = offset(None, TopicId::ZERO) else {
        panic!("an offset")
    };
    let value_known = committed.map(|v| CommittedOffset { leader_epoch: LeaderEpoch::NONE, ..v });
    let expected = GroupRecord::Offset { key: known, value: value_known };
    assert_eq!(GroupRecord::decode(&key, Some(&value)), Ok(Decoded::Known(expected)));
}

#[test]
fn other_kinds_are_left_alone_and_other_versions_are_refused() {
    // Kind 11 is a share group; kind 999 is nothing yet.
    assert_eq!(GroupRecord::decode(&[0, 11, 1], None), Ok(Decoded::Unknown { kind: 11 }));
    assert_eq!(GroupRecord::decode(&[3, 231], Some(&[])), Ok(Decoded::Unknown { kind: 999 }));
    let (key, _) = group(Vec::new()).encode().expect("short enough");
    assert!(GroupRecord::decode(&key, Some(&[0, 9, 0])).is_err());
    assert!(GroupRecord::decode(&[0], None).is_err());
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(
        kind in -1_i16..20,
        key in proptest::collection::vec(any::<u8>(), 0..40),
        version in -1_i16..6,
        value in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let key = [&kind.to_be_bytes()[..], &key].concat();
        let value = [&version.to_be_bytes()[..], &value].concat();
        for value in [None, Some(value.as_slice())] {
            if let Ok(Decoded::Known(record)) = GroupRecord::decode(&key, value) {
                let (key, value) = record.encode().expect("what was read can be written");
                let again = GroupRecord::decode(&key, value.as_deref());
                prop_assert!(again.is_ok());
            }
        }
    }
}
