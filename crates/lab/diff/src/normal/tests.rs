use super::*;
use crate::batches;
use serde_json::json;

fn broker(id: i32, cluster_id: &str) -> Broker {
    Broker {
        name: "x",
        address: ([127, 0, 0, 1], 1).into(),
        id,
        host: "here".into(),
        port: 9,
        cluster_id: cluster_id.into(),
        members: Vec::new(),
        away: None,
    }
}

/// Two answers that differ in nothing but what may differ have one normal form.
fn check(api: ApiKey, one: Value, other: Value, normal: &Value) {
    assert_eq!(&Symbols::new(broker(1, "c1"), "run-".into()).normal(api, one), normal);
    assert_eq!(&Symbols::new(broker(7, "c7"), "run-".into()).normal(api, other), normal);
}

#[test]
fn names_of_brokers_clusters_and_topics_become_symbols() {
    let (id_1, id_2) = ("AAAAAAAAQACAAAAAAAAAAQ", "AAAAAAAAQACAAAAAAAAAAg");
    let answer = |id: i32, cluster: &str, topic: &str| {
        json!({
            "clusterId": cluster,
            "controllerId": id,
            "brokers": [{"nodeId": id, "host": "here", "port": 9}],
            "topics": [
                {"name": "b", "topicId": topic, "partitions": [
                    {"partitionIndex": 1, "leaderId": id, "isrNodes": [id]},
                    {"partitionIndex": 0, "leaderId": -1, "isrNodes": []},
                ]},
                {"name": null, "topicId": "AAAAAAAAAAAAAAAAAAAAAA", "errorMessage": "why"},
            ],
        })
    };
    let normal = json!({
        "clusterId": "its cluster",
        "controllerId": "self",
        "brokers": {"self": {"nodeId": "self", "host": "its host", "port": "its port"}},
        "topics": {
            "b": {"name": "b", "topicId": "the id of b", "partitions": {
                "1": {"partitionIndex": 1, "leaderId": "self", "isrNodes": ["self"]},
                "0": {"partitionIndex": 0, "leaderId": -1, "isrNodes": []},
            }},
            "AAAAAAAAAAAAAAAAAAAAAA":
                {"name": null, "topicId": "AAAAAAAAAAAAAAAAAAAAAA", "errorMessage": "(words)"},
        },
    });
    check(ApiKey::Metadata, answer(1, "c1", id_1), answer(7, "c7", id_2), &normal);
}

#[test]
fn sessions_and_producers_are_numbered_as_they_appear() {
    let session = |id: i32| json!({"sessionId": id});
    let mut symbols = Symbols::new(broker(1, "c"), "run-".into());
    for (id, symbol) in [(0, json!(0)), (77, json!("session 1")), (5, json!("session 2"))] {
        assert_eq!(symbols.normal(ApiKey::Fetch, session(id)), json!({"sessionId": symbol}));
    }
    assert_eq!(symbols.normal(ApiKey::Fetch, session(77)), json!({"sessionId": "session 1"}));
    let normal = json!({"producerId": "producer 1"});
    check(ApiKey::InitProducerId, json!({"producerId": 1000}), json!({"producerId": 0}), &normal);
    let none = json!({"producerId": -1});
    check(ApiKey::InitProducerId, none.clone(), none.clone(), &none);
}

#[test]
fn equal_keys_stay_apart() {
    let list = json!({"topics": [{"name": "a", "n": 1}, {"name": "a", "n": 2}]});
    let normal = json!({"topics": {"a": {"name": "a", "n": 1}, "a (2)": {"name": "a", "n": 2}}});
    check(ApiKey::ListOffsets, list.clone(), list, &normal);
}

#[test]
fn records_are_unpacked_and_a_cut_batch_is_not_looked_at() {
    let mut bytes = batches::plain(5, &["v"]);
    bytes.extend(&batches::plain(5, &["w"])[..30]);
    let answer = json!({"records": base64(&bytes)});
    let normal = Symbols::new(broker(1, "c"), "run-".into()).normal(ApiKey::Fetch, answer);
    assert_eq!(normal["records"].as_array().map(Vec::len), Some(1));
    assert_eq!(normal["records"][0]["baseTimestamp"], 5);
    assert_eq!(normal["records"][0]["crc"], "right");
    assert_eq!(normal["records"][0]["records"][0]["value"], "v");
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let six = bits.as_bytes().chunks(6).map(|chunk| {
        let text = format!("{:0<6}", std::str::from_utf8(chunk).unwrap());
        char::from(LETTERS[usize::from_str_radix(&text, 2).unwrap()])
    });
    six.collect()
}

#[test]
fn ids_of_members_become_numbers_unless_clients_made_them() {
    let answer = |uuid: &str, other: &str, order: [usize; 2]| {
        let classic = format!("diff-{uuid}");
        let members = [
            json!({"memberId": classic, "groupInstanceId": null}),
            json!({"memberId": format!("run-i1-{other}"), "groupInstanceId": "run-i1"}),
        ];
        json!({
            "leader": classic,
            "memberId": "the client's own",
            "members": order.map(|at| members[at].clone()),
        })
    };
    let normal = json!({
        "leader": "diff-member 1",
        "memberId": "the client's own",
        "members": {
            "diff-member 1": {"memberId": "diff-member 1", "groupInstanceId": null},
            "i1-member 2": {"memberId": "i1-member 2", "groupInstanceId": "i1"},
        },
    });
    let ids = [
        "a5f17303-438c-40d6-869a-ef2bf96df417",
        "a08a0222-bb18-4062-865e-7913c612f352",
        "99676c92-8158-4223-9a49-68f25ee0a761",
    ];
    let (one, other) = (answer(ids[0], ids[1], [0, 1]), answer(ids[2], ids[0], [0, 1]));
    check(ApiKey::JoinGroup, one, other, &normal);
    let given = |id: &str| json!({"memberId": id, "subscribedTopicNames": ["b", "a"]});
    let normal = json!({"memberId": "member 1", "subscribedTopicNames": ["a", "b"]});
    let ids = ["387esNHaSs6z99gLVUi0lQ", "A-2tsaL-TKCjpVUQa_9BaQ"];
    check(ApiKey::ConsumerGroupHeartbeat, given(ids[0]), given(ids[1]), &normal);
}
