//! What administrators change: it acts at once, and is still so after a kill.

use crate::harness::{Broker, DEADLINE, numbers};
use jocko_client::Connection;
use jocko_protocol::rpc::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use jocko_protocol::rpc::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use jocko_protocol::rpc::{DeleteRecordsRequest, IncrementalAlterConfigsRequest};
use jocko_testkit::wait_until;
use tokio::runtime::Runtime;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// One connection, asked request by request.
struct Admin {
    runtime: Runtime,
    connection: Connection,
}

impl Admin {
    fn of(broker: &Broker) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection =
            runtime.block_on(Connection::open(&broker.bootstrap(), DEADLINE)).expect("connects");
        Self { runtime, connection }
    }

    /// Lets a partition begin at `offset`; yields where it begins.
    fn delete_records(&mut self, topic: &str, partition_index: i32, offset: i64) -> (i64, i16) {
        let partition = DeleteRecordsPartition { partition_index, offset, ..Default::default() };
        let topic = DeleteRecordsTopic {
            name: topic.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request =
            DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let answer = self.runtime.block_on(self.connection.call(&request)).expect("answered");
        let response = answer.get().expect("is read");
        let result = &response.topics[0].partitions[0];
        (result.low_watermark, result.error_code)
    }

    /// Sets a config, or puts it back; yields the error.
    fn set(&mut self, kind: i8, resource: &str, name: &str, value: Option<&str>) -> i16 {
        let config = AlterableConfig {
            name: name.to_owned(),
            config_operation: if value.is_some() { 0 } else { 1 },
            value: value.map(str::to_owned),
            ..Default::default()
        };
        let resource = AlterConfigsResource {
            resource_type: kind,
            resource_name: resource.to_owned(),
            configs: vec![config],
            ..Default::default()
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let answer = self.runtime.block_on(self.connection.call(&request)).expect("answered");
        answer.get().expect("is read").responses[0].error_code
    }
}

#[test]
fn deleted_records_stay_deleted_after_a_kill() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "-p", "2"]);
    for partition in ["0", "1"] {
        broker.produce(&["t", "-p", partition], &numbers(0..10));
    }
    let mut admin = Admin::of(&broker);
    assert_eq!(admin.delete_records("t", 0, 4), (4, 0));
    assert_eq!(admin.delete_records("t", 0, 2), (4, 0), "it begins later already");
    assert_eq!(admin.delete_records("t", 0, 11), (-1, 1), "beyond the end");
    let broker = broker.kill_and_start();
    let mut values = broker.values("t");
    values.sort_by_key(|value| value.parse::<u32>().unwrap());
    let left: Vec<String> = (0..10).chain(4..10).map(|n: u32| n.to_string()).collect();
    let mut left = left;
    left.sort_by_key(|value| value.parse::<u32>().unwrap());
    assert_eq!(values, left);
    let mut admin = Admin::of(&broker);
    assert_eq!(admin.delete_records("t", 1, -1), (10, 0), "all there is");
    let broker = broker.kill_and_start();
    assert_eq!(broker.values("t"), (4..10).map(|n| n.to_string()).collect::<Vec<_>>());
    broker.produce(&["t", "-p", "1"], "new\n");
    assert!(broker.values("t").contains(&"new".to_owned()));
}

#[test]
fn configs_act_on_running_partitions_and_survive_a_kill() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t"]);
    broker.produce(&["t"], "small\n");
    let mut admin = Admin::of(&broker);
    let large = format!("{}\n", "x".repeat(3_000));
    let refused = |broker: &Broker| {
        broker.try_produce(&["t"], &large).fails(1, &["MESSAGE_TOO_LARGE"]);
    };
    // For all brokers, then overruled for this one, then for the topic.
    assert_eq!(admin.set(BROKER, "", "message.max.bytes", Some("2000")), 0);
    refused(&broker);
    assert_eq!(admin.set(BROKER, "1", "message.max.bytes", Some("9000")), 0);
    broker.produce(&["t"], &large);
    assert_eq!(admin.set(TOPIC, "t", "max.message.bytes", Some("1000")), 0);
    refused(&broker);
    let broker = broker.kill_and_start();
    refused(&broker);
    let mut admin = Admin::of(&broker);
    assert_eq!(admin.set(TOPIC, "t", "max.message.bytes", None), 0);
    broker.produce(&["t"], &large);
    assert_eq!(admin.set(BROKER, "1", "message.max.bytes", None), 0);
    refused(&broker);
    assert_eq!(admin.set(TOPIC, "t", "no.such.config", Some("1")), 40);
}

#[test]
fn the_limit_of_connections_follows_its_config() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t"]);
    let mut admin = Admin::of(&broker);
    let lists = || broker.run(&["topic", "list", "--timeout", "1s"]).code == 0;
    assert!(lists());
    assert_eq!(admin.set(BROKER, "1", "max.connections", Some("1")), 0);
    wait_until(DEADLINE, || Ok(!lists())).unwrap();
    assert_eq!(admin.set(BROKER, "1", "max.connections", None), 0);
    wait_until(DEADLINE, || Ok(lists())).unwrap();
}
