//! What can be asked of three brokers only: who leads, who has a copy, and what those say who do not
//! lead. Replicas are chosen by hand, so that chance decides nothing.

use super::requests::{
    creatable, create, describe_configs, fetch, fetch_from, list_offsets, metadata, metadata_topic,
    produce,
};
use crate::batches;
use crate::run::{Answer, Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use jocko_protocol::rpc::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use jocko_protocol::rpc::describe_producers_request::TopicRequest as ProducersOf;
use jocko_protocol::rpc::describe_topic_partitions_request::TopicRequest;
use jocko_protocol::rpc::fetch_request::FetchPartition;
use jocko_protocol::rpc::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use jocko_protocol::rpc::{
    DeleteRecordsRequest, DescribeClusterRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Produce, "who does not lead", produce_elsewhere),
    Scenario::new(ApiKey::Fetch, "who does not lead", fetch_elsewhere),
    Scenario::new(ApiKey::ListOffsets, "who does not lead", list_elsewhere),
    Scenario::new(ApiKey::OffsetForLeaderEpoch, "who does not lead", epochs_elsewhere),
    Scenario::new(ApiKey::DeleteRecords, "who does not lead", delete_elsewhere),
    Scenario::new(ApiKey::DescribeProducers, "who does not lead", producers_elsewhere),
    Scenario::new(ApiKey::Metadata, "each broker", metadata_everywhere),
    Scenario::new(ApiKey::DescribeCluster, "each broker", cluster_everywhere),
    Scenario::new(ApiKey::DescribeTopicPartitions, "each broker", partitions_everywhere),
    Scenario::new(ApiKey::DescribeConfigs, "another broker", configs_elsewhere),
    Scenario::new(ApiKey::CreateTopics, "as many copies", copies),
    Scenario::new(ApiKey::CreateTopics, "replicas by hand", by_hand),
];

/// A partition that 1 leads, one that 3 leads; 2 follows both, and the third has nothing.
const PLACES: &[&[i32]] = &[&[1, 2], &[3, 2]];
/// Both partitions of it, and one that is not there.
const ASKED: [i32; 3] = [0, 1, 2];

fn placed(run: &mut Run<'_>) -> Result<Topic> {
    let topic = run.place("one", PLACES, &[])?;
    for (partition, leader) in [(0, 1), (1, 3)] {
        let batch = batches::plain(run.time(), &["a", "b", "c"]);
        run.append_at(leader, &topic, partition, &batch)?;
    }
    // What a follower shows depends on whether it has heard of all that is in sync.
    for partition in [0, 1] {
        let request = fetch(&topic, vec![fetch_from(partition, 0)]);
        let is_known = |answer: &Answer| answer.int("/responses/0/partitions/0/highWatermark") == 3;
        run.await_answer_at(2, &request, is_known)?;
    }
    Ok(topic)
}

fn each(run: &mut Run<'_>, mut ask: impl FnMut(&mut Run<'_>, &str) -> Result<()>) -> Result<()> {
    for id in run.present() {
        run.at(id);
        ask(run, &format!("at {id}"))?;
    }
    Ok(())
}

fn produce_elsewhere(run: &mut Run<'_>) -> Result<()> {
    let topic = placed(run)?;
    let batch = batches::plain(run.time(), &["d"]);
    each(run, |run, at| {
        for partition in ASKED {
            for acks in [-1, 1] {
                let request = jocko_protocol::rpc::ProduceRequest {
                    acks,
                    ..produce(&topic, partition, &batch)
                };
                run.send(format!("{at}: partition {partition}, acks {acks}"), &request)?;
            }
        }
        Ok(())
    })
}

fn fetch_elsewhere(run: &mut Run<'_>) -> Result<()> {
    let topic = placed(run)?;
    each(run, |run, at| {
        for partition in ASKED {
            let request = fetch(&topic, vec![fetch_from(partition, 0)]);
            run.send(format!("{at}: partition {partition}"), &request)?;
        }
        let all = ASKED.map(|partition| fetch_from(partition, 0)).to_vec();
        run.send(format!("{at}: all"), &fetch(&topic, all))?;
        for current_leader_epoch in [0, 1, 7, -2] {
            for partition in [0, 1] {
                let one = FetchPartition { current_leader_epoch, ..fetch_from(partition, 0) };
                let label = format!("{at}: partition {partition}, epoch {current_leader_epoch}");
                run.send(label, &fetch(&topic, vec![one]))?;
            }
        }
        Ok(())
    })
}

fn list_elsewhere(run: &mut Run<'_>) -> Result<()> {
    let topic = placed(run)?;
    each(run, |run, at| {
        for time in [-1, -2, run.time()] {
            let what = if time < 0 { time.to_string() } else { "a time".into() };
            let request = list_offsets(&topic.name, &ASKED.map(|partition| (partition, time)));
            run.send(format!("{at}: {what}"), &request)?;
        }
        if run.version() >= 4 {
            for epoch in [0, 1, 7] {
                let mut request = list_offsets(&topic.name, &[(0, -1), (1, -1)]);
                for partition in &mut request.topics[0].partitions {
                    partition.current_leader_epoch = epoch;
                }
                run.send(format!("{at}: epoch {epoch}"), &request)?;
            }
        }
        Ok(())
    })
}

fn epochs_elsewhere(run: &mut Run<'_>) -> Result<()> {
    let topic = placed(run)?;
    let replica_id = if run.version() >= 3 { -1 } else { -2 };
    each(run, |run, at| {
        for current in [-1, 0, 1] {
            let partition = |partition| OffsetForLeaderPartition {
                partition,
                current_leader_epoch: current,
                leader_epoch: 0,
                ..Default::default()
            };
            let topics = vec![OffsetForLeaderTopic {
                topic: topic.name.clone(),
                partitions: ASKED.map(partition).to_vec(),
                ..Default::default()
            }];
            let request = OffsetForLeaderEpochRequest { replica_id, topics, ..Default::default() };
            run.send(format!("{at}: current epoch {current}"), &request)?;
        }
        Ok(())
    })
}

fn delete_elsewhere(run: &mut Run<'_>) -> Result<()> {
    let topic = placed(run)?;
    each(run, |run, at| {
        let partition = |partition_index| DeleteRecordsPartition {
            partition_index,
            offset: 1,
            ..Default::default()
        };
        let request = DeleteRecordsRequest {
            timeout_ms: super::requests::TIMEOUT_MS,
            topics: vec![DeleteRecordsTopic {
                name: topic.name.clone(),
                partitions: ASKED.map(partition).to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        };
        run.send(format!("{at}: before 1"), &request).map(drop)
    })
}

fn producers_elsewhere(run: &mut Run<'_>) -> Result<()> {
    let topic = placed(run)?;
    each(run, |run, at| {
        let topics = vec![ProducersOf {
            name: topic.name.clone(),
            partition_indexes: ASKED.to_vec(),
            ..Default::default()
        }];
        let request = DescribeProducersRequest { topics, ..Default::default() };
        run.send(format!("{at}: all"), &request).map(drop)
    })
}

fn metadata_everywhere(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", &[&[1, 2], &[3, 1], &[2, 3]], &[])?;
    let none = run.name("none");
    each(run, |run, at| {
        if run.version() >= 4 {
            run.send(format!("{at}: a topic"), &metadata(&[&topic.name]))?;
            run.send(format!("{at}: none such"), &metadata(&[&none]))?;
        } else {
            let topics = Some(vec![metadata_topic(&topic.name)]);
            run.send(format!("{at}: a topic"), &MetadataRequest { topics, ..Default::default() })?;
        }
        Ok(())
    })
}

fn cluster_everywhere(run: &mut Run<'_>) -> Result<()> {
    each(run, |run, at| {
        for fenced in [false, true] {
            if fenced && run.version() < 2 {
                continue;
            }
            let request =
                DescribeClusterRequest { include_fenced_brokers: fenced, ..Default::default() };
            run.send(format!("{at}: fenced {fenced}"), &request)?;
        }
        Ok(())
    })
}

fn partitions_everywhere(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", &[&[1, 2], &[3, 1], &[2, 3]], &[])?;
    each(run, |run, at| {
        let topics = vec![TopicRequest { name: topic.name.clone(), ..Default::default() }];
        let request = DescribeTopicPartitionsRequest {
            topics,
            response_partition_limit: 2_000,
            ..Default::default()
        };
        run.send(format!("{at}: a topic"), &request).map(drop)
    })
}

fn configs_elsewhere(run: &mut Run<'_>) -> Result<()> {
    each(run, |run, at| {
        for name in ["1", "2", "3", "9", ""] {
            let request = describe_configs(4, name, Some(&["message.max.bytes"]));
            run.send(format!("{at}: broker {name:?}"), &request)?;
        }
        Ok(())
    })
}

fn copies(run: &mut Run<'_>) -> Result<()> {
    each(run, |run, at| {
        for copies in [0, 1, 2, 3, 4, -1, -2] {
            let name = run.name(&format!("{}{}", at.replace(' ', "-"), copies + 2));
            run.send(format!("{at}: {copies}"), &create(vec![creatable(&name, 2, copies)]))?;
        }
        Ok(())
    })
}

fn by_hand(run: &mut Run<'_>) -> Result<()> {
    type Lists<'a> = &'a [&'a [i32]];
    let cases: &[(&str, Lists<'_>)] = &[
        ("three", &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]]),
        ("one", &[&[2]]),
        ("uneven", &[&[1, 2], &[3]]),
        ("twice the same", &[&[1, 1]]),
        ("one that is not there", &[&[1, 9]]),
        ("nobody", &[&[]]),
        ("a negative one", &[&[1, -1]]),
        ("a good list and a bad one", &[&[1, 2], &[2, 9]]),
    ];
    for (number, (label, lists)) in cases.iter().enumerate() {
        let assignment = |(partition_index, ids): (i32, &&[i32])| CreatableReplicaAssignment {
            partition_index,
            broker_ids: ids.to_vec(),
            ..Default::default()
        };
        let topic = CreatableTopic {
            assignments: (0..).zip(*lists).map(assignment).collect(),
            ..creatable(&run.name(&format!("hand{number}")), -1, -1)
        };
        run.send(*label, &create(vec![topic]))?;
    }
    Ok(())
}
