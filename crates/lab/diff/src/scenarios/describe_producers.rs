//! DescribeProducers (key 61): who writes to a partition (KIP-664).

use super::requests::bad_names;
use crate::batches::{plain, sequenced};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::describe_producers_request::TopicRequest;
use jocko_protocol::rpc::{DescribeProducersRequest, InitProducerIdRequest};

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario::new(ApiKey::DescribeProducers, "producers", producers)];

fn about(topics: &[(&str, &[i32])]) -> DescribeProducersRequest {
    let topic = |(name, partitions): &(&str, &[i32])| TopicRequest {
        name: (*name).to_owned(),
        partition_indexes: partitions.to_vec(),
        ..Default::default()
    };
    DescribeProducersRequest { topics: topics.iter().map(topic).collect(), ..Default::default() }
}

fn producers(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 2, &[])?;
    let none = run.name("none");
    run.send("of empty partitions", &about(&[(&one.name, &[0, 1])]))?;
    let batch = plain(run.time(), &["a", "b"]);
    run.append(&one, 0, &batch)?;
    run.send("after a batch without a producer", &about(&[(&one.name, &[0])]))?;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request =
            InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
        ids.push(run.send("a producer id", &request)?.int("/producerId"));
    }
    for (step, (id, epoch, sequence, count)) in
        [(0, 0, 0, 2), (0, 0, 2, 3), (1, 0, 0, 1), (0, 1, 0, 4), (1, 0, 1, 7)].iter().enumerate()
    {
        let time = run.time() + i64::try_from(step)?;
        let batch = sequenced(time, (ids[*id], *epoch), *sequence, *count);
        run.append(&one, 0, &batch)?;
        run.send(format!("after step {step}"), &about(&[(&one.name, &[0])]))?;
    }
    run.send("no topic", &about(&[]))?;
    run.send("no partition", &about(&[(&one.name, &[])]))?;
    run.send("an unknown topic", &about(&[(&none, &[0, 1])]))?;
    run.send("unknown partitions", &about(&[(&one.name, &[0, 2, -1])]))?;
    run.send("a partition twice", &about(&[(&one.name, &[1, 1])]))?;
    run.send("a topic twice", &about(&[(&one.name, &[0]), (&one.name, &[1])]))?;
    for (label, name) in bad_names() {
        run.send(label, &about(&[(&name, &[0])]))?;
    }
    Ok(())
}
