//! DescribeTopicPartitions (key 75): topics page by page (KIP-966).

use super::requests::bad_names;
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::DescribeTopicPartitionsRequest;
use jocko_protocol::rpc::describe_topic_partitions_request::{Cursor, TopicRequest};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::DescribeTopicPartitions, "names", names),
    Scenario::new(ApiKey::DescribeTopicPartitions, "pages", pages),
];

fn ask(names: &[&str], limit: i32) -> DescribeTopicPartitionsRequest {
    let topics =
        names.iter().map(|name| TopicRequest { name: (*name).to_owned(), ..Default::default() });
    DescribeTopicPartitionsRequest {
        topics: topics.collect(),
        response_partition_limit: limit,
        ..Default::default()
    }
}

fn names(run: &mut Run<'_>) -> Result<()> {
    let (one, two) = (run.create("one", 1, &[])?.name, run.create("two", 3, &[])?.name);
    let none = run.name("none");
    run.send("one", &ask(&[&one], 2_000))?;
    run.send("two, backwards", &ask(&[&two, &one], 2_000))?;
    run.send("the same twice", &ask(&[&one, &one], 2_000))?;
    run.send("an unknown one", &ask(&[&none], 2_000))?;
    run.send("known and unknown", &ask(&[&two, &none, &one], 2_000))?;
    for (label, name) in bad_names() {
        run.send(label, &ask(&[&name], 2_000))?;
    }
    Ok(())
}

fn pages(run: &mut Run<'_>) -> Result<()> {
    let (a, b) = (run.create("a", 3, &[])?.name, run.create("b", 4, &[])?.name);
    let none = run.name("a-none");
    for limit in [-1, 0, 1, 2, 3, 4, 6, 7, 8, i32::MAX] {
        run.send(format!("at most {limit}"), &ask(&[&a, &b], limit))?;
        run.send(format!("at most {limit}, one unknown"), &ask(&[&b, &none, &a], limit))?;
    }
    let before = run.name("0");
    let after = run.name("z");
    let cursors = [
        (&a, 0),
        (&a, 1),
        (&a, 2),
        (&a, 3),
        (&a, -1),
        (&b, 0),
        (&b, 3),
        (&b, 9),
        (&none, 0),
        (&none, 2),
        (&before, 0),
        (&after, 0),
    ];
    for (topic_name, partition_index) in cursors {
        for limit in [1, 2, 2_000] {
            let cursor =
                Cursor { topic_name: topic_name.clone(), partition_index, ..Default::default() };
            let request =
                DescribeTopicPartitionsRequest { cursor: Some(cursor), ..ask(&[&a, &b], limit) };
            let label = format!("from {topic_name} {partition_index}, at most {limit}");
            run.send(label, &request)?;
        }
    }
    Ok(())
}
