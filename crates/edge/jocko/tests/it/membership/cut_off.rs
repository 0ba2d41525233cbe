//! A broker that hears of no controller any more leads nothing, until it does again.

use super::{Meeting, Value, ask, ask_http};
use crate::harness::{DEADLINE, command, run};
use jocko_client::{Client, ClientError, NewTopic};
use jocko_records::{BatchBuilder, Encoding};
use jocko_testkit::{BrokerProcess, wait_until};
use jocko_types::{ErrorCode, Timestamp};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(60);

/// A client that asks one broker.
struct Asking {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Asking {
    fn new(process: &BrokerProcess) -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        Self { runtime, client: Client::new(vec![process.address().to_string()], WAIT) }
    }

    /// Writes a record; whether it was acknowledged, or the refusal.
    fn produce(&mut self, partition: i32, acks: i16) -> Result<(), ErrorCode> {
        let mut batch = BatchBuilder::new(Encoding::NONE);
        batch.push(Timestamp::from_millis(1), None, Some(b"v"), &[]).unwrap();
        let bytes = batch.build().unwrap();
        match self.runtime.block_on(self.client.produce("t", partition, &bytes, acks)) {
            Ok(_) => Ok(()),
            Err(ClientError::Refused { code, .. }) => Err(code),
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                Err(ErrorCode::NetworkException)
            }
        }
    }

    /// A partition that this broker calls its own, by the port it listens at.
    fn led_by(&mut self, port: u16) -> Option<i32> {
        let told = self.runtime.block_on(self.client.metadata(Some(&["t"]), false)).ok()?;
        let own = told.brokers.iter().find(|broker| broker.port == i32::from(port))?.node_id;
        let mut partitions = told.topics.first()?.partitions.iter();
        partitions.find(|it| it.leader_id == own).map(|it| it.partition_index)
    }

    fn create(&mut self) {
        let topic = NewTopic {
            name: "t".to_owned(),
            partitions: Some(6),
            replication: Some(3),
            configs: vec![("min.insync.replicas".to_owned(), "2".to_owned())],
            validate_only: false,
        };
        let mut last = None;
        let made = wait_until(DEADLINE, || {
            match self.runtime.block_on(self.client.create_topic(&topic)) {
                Ok(_) => return Ok(true),
                Err(error) => last = Some(error),
            }
            Ok(false)
        });
        made.unwrap_or_else(|error| panic!("{error}: {last:?}"));
    }
}

#[test]
fn who_is_left_alone_of_three_leads_nothing_until_they_are_back() {
    let meeting = Meeting::new();
    let mut three = meeting.three([0, 1, 2]);
    let left = three.remove(2);
    let mut asking = Asking::new(&left);
    asking.create();
    let mut led = None;
    let own = left.address().port();
    wait_until(DEADLINE, || {
        led = asking.led_by(own);
        Ok(led.is_some_and(|partition| asking.produce(partition, -1).is_ok()))
    })
    .unwrap();
    let partition = led.unwrap();
    let stopped: Vec<_> = three.into_iter().map(|process| process.kill().unwrap()).collect();
    // It waits for others, and is given up long before its own time is over.
    let refused = asking.produce(partition, -1).unwrap_err();
    assert!(
        matches!(refused, ErrorCode::NotLeaderOrFollower | ErrorCode::LeaderNotAvailable),
        "{refused}"
    );
    wait_until(DEADLINE, || Ok(asking.produce(partition, 1).is_err())).unwrap();
    assert_eq!(asking.led_by(own), None, "it names nobody, so that clients ask elsewhere");
    assert!(asking.produce(partition, -1).is_err());
    // What is committed is handed out; nobody waits here for more, or is told that there is none.
    let mut reader = super::reading::Asking::new(&left, "t", partition);
    let (topic_id, ..) = reader.metadata();
    let found = reader.fetch(topic_id, 0, "", 0);
    assert!(found.error == ErrorCode::None && found.has_records, "{found:?}");
    let refused = ErrorCode::NotLeaderOrFollower;
    assert_eq!(reader.fetch(topic_id, found.high_watermark, "", 60_000).error, refused);
    assert_eq!(reader.latest(), refused.code());

    // Who begins to read now waits until somebody leads again.
    let (address, wanted) = (left.address().to_string(), partition.to_string());
    let reader = std::thread::spawn(move || {
        let mut reader = command(&["consume", "t", "-o", "start", "-e", "--timeout", "60s"]);
        reader.args(["-p", &wanted, "-b", &address]);
        run(reader, b"")
    });
    let mut back: Vec<BrokerProcess> =
        stopped.into_iter().map(|options| BrokerProcess::spawn(options).unwrap()).collect();
    for process in &mut back {
        process.wait_ready().unwrap();
    }
    wait_until(DEADLINE, || Ok(asking.produce(partition, -1).is_ok())).unwrap();
    wait_until(DEADLINE, || Ok(asking.produce(partition, 1).is_ok())).unwrap();
    let read = reader.join().unwrap();
    assert!(read.code == 0 && read.out.starts_with("v\n"), "{}{}", read.out, read.err);
}

#[test]
fn a_controller_that_is_left_alone_says_that_nobody_leads() {
    let meeting = Meeting::new();
    let mut three = meeting.three([0, 1, 2]);
    let status = ask(&three[0], &["cluster", "status", "-o", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let brokers = status["brokers"].as_array().unwrap();
    let leader = brokers.iter().find(|broker| broker["id"] == status["controller"]).unwrap();
    let is_it = |process: &BrokerProcess| leader["port"] == process.address().port();
    let at = three.iter().position(is_it).unwrap();
    let left = three.remove(at);
    for process in three {
        process.kill().unwrap();
    }
    let mut said = String::new();
    wait_until(DEADLINE, || {
        let mut health = command(&["cluster", "health"]);
        health.args(["-b", &left.address().to_string()]);
        let ran = run(health, b"");
        said = ran.out + &ran.err;
        Ok(ran.code == 3 && said.contains("controller none") && said.contains("most voters are"))
    })
    .unwrap_or_else(|error| panic!("{error}: {said}"));
    // Others answered once: whether they still count is not for this one to say.
    let only_itself = |told: &Value| {
        told.as_array().unwrap().iter().filter(|it| it["state"] == "live").count() == 1
    };
    ask_http(&left, &["cluster", "members"], only_itself);
    // The default patience of a command is longer than the broker's, whose words are heard.
    let mut create = command(&["topic", "create", "t"]);
    create.args(["-b", &left.address().to_string()]);
    run(create, b"").fails(1, &["NOT_CONTROLLER", "nobody is known to lead the metadata"]);
}
