//! `jocko::Broker` inside a test of somebody else.

use jocko_client::{Client, NewTopic, Position};
use jocko_records::{BatchBuilder, Encoding, Records};
use jocko_types::{Offset, Timestamp};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(30);

fn client(broker: &jocko::Broker) -> Client {
    Client::new(vec![broker.bootstrap()], WAIT)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    for value in values {
        builder.push(Timestamp::from_millis(1), None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

async fn values(client: &mut Client) -> Vec<String> {
    let fetched = client.fetch("t", 0, Offset::ZERO, WAIT).await.unwrap();
    let mut records = Records::new(&fetched.records, Offset::ZERO, 1 << 20);
    let mut values = Vec::new();
    while let Some(record) = records.next().unwrap() {
        values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    }
    values
}

#[test]
fn a_broker_in_the_same_process_takes_and_gives_records() {
    let broker = jocko::Broker::builder().start().unwrap();
    block_on(async {
        let mut client = client(&broker);
        let topic = NewTopic {
            name: "t".to_owned(),
            partitions: Some(1),
            replication: None,
            configs: Vec::new(),
            validate_only: false,
        };
        client.create_topic(&topic).await.unwrap();
        let produced = client.produce("t", 0, &batch(&["a", "b"]), -1).await.unwrap();
        assert_eq!(produced.base_offset, Some(Offset::ZERO));
        assert_eq!(values(&mut client).await, ["a", "b"]);
        let end = client.offset("t", 0, Position::End).await.unwrap();
        assert_eq!(end, Offset::new(2));
    });
}

#[test]
fn brokers_in_one_process_are_strangers_and_data_may_stay() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let stays = jocko::Broker::builder().data_dir(&data_dir).set("topics.partitions", "3");
    let first = stays.clone().start().unwrap();
    let other = jocko::Broker::builder().start().unwrap();
    assert_ne!(first.bootstrap(), other.bootstrap());
    let refused = stays.clone().start().expect_err("the folder is taken");
    assert!(refused.to_string().contains("in use"), "{refused}");
    block_on(async {
        let mut client = client(&first);
        assert_eq!(client.partitions("t", true).await.unwrap(), 3);
        client.produce("t", 0, &batch(&["kept"]), -1).await.unwrap();
        assert!(self::client(&other).partitions("t", false).await.is_err());
    });
    drop(first);
    let again = stays.start().unwrap();
    assert_eq!(block_on(async { values(&mut client(&again)).await }), ["kept"]);
}

#[test]
fn a_bad_setting_is_an_error_in_words() {
    let error = jocko::Broker::builder().set("topics.partition", "3").start();
    let error = error.expect_err("there is no such setting").to_string();
    assert!(error.contains("topics.partitions"), "{error}");
}
