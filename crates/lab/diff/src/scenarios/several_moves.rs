//! What changes in a cluster of three: replicas that move, leaders that are chosen, voters and
//! coordinators, and settings of other brokers.

use super::alter_configs::set_on_broker;
use super::create_partitions::grow_by_hand;
use super::elect_leaders::elect;
use super::reassignments::moves;
use super::requests::{OFFSETS_TOPIC, metadata};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::describe_quorum_request::{PartitionData, TopicData};
use jocko_protocol::rpc::{
    AlterPartitionReassignmentsRequest, DescribeGroupsRequest, DescribeQuorumRequest,
    FindCoordinatorRequest, HeartbeatRequest, LeaveGroupRequest, ListPartitionReassignmentsRequest,
    OffsetFetchRequest, UnregisterBrokerRequest,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::AlterPartitionReassignments, "replicas that move", replicas),
    Scenario::new(ApiKey::ListPartitionReassignments, "nothing moves", nothing_moves),
    Scenario::new(ApiKey::ElectLeaders, "preferred leaders", preferred),
    Scenario::new(ApiKey::CreatePartitions, "replicas by hand", more_partitions),
    Scenario::new(ApiKey::DescribeQuorum, "voters", voters),
    Scenario::new(ApiKey::FindCoordinator, "each broker", coordinators),
    Scenario::new(ApiKey::UnregisterBroker, "who is not there", unregister),
    Scenario::new(ApiKey::IncrementalAlterConfigs, "another broker", settings),
];

fn replicas(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", &[&[1, 2], &[3, 1]], &[])?;
    let name = topic.name.as_str();
    for (label, to) in
        [("to an unknown broker", &[1, 9][..]), ("to the same twice", &[1, 1]), ("to nobody", &[])]
    {
        run.send(label, &moves(&[(name, &[(0, Some(to))])]))?;
    }
    run.send("nothing to call off", &moves(&[(name, &[(0, None)])]))?;
    run.send("an unknown partition", &moves(&[(name, &[(7, Some(&[1]))])]))?;
    run.at(2);
    run.send("to others", &moves(&[(name, &[(0, Some(&[2, 3])), (1, Some(&[3, 1, 2]))])]))?;
    run.await_places("one", &[&[2, 3], &[3, 1, 2]])?;
    run.send("where it is", &moves(&[(name, &[(1, Some(&[3, 1, 2]))])]))?;
    if run.version() >= 1 {
        for (label, to) in [("as many", &[2, 3][..]), ("more", &[1, 2, 3]), ("fewer", &[2])] {
            let request = AlterPartitionReassignmentsRequest {
                allow_replication_factor_change: false,
                ..moves(&[(name, &[(0, Some(to))])])
            };
            run.send(format!("copies stay as many: {label}"), &request)?;
        }
    }
    Ok(())
}

fn nothing_moves(run: &mut Run<'_>) -> Result<()> {
    run.place("one", &[&[1, 2]], &[])?;
    for id in run.present() {
        run.at(id);
        let request =
            ListPartitionReassignmentsRequest { timeout_ms: 10_000, ..Default::default() };
        let none =
            |answer: &crate::run::Answer| answer.int("/topics/0/partitions/0/partitionIndex") < 0;
        // Other runs move theirs.
        run.until(format!("at {id}"), &request, none)?;
    }
    Ok(())
}

fn preferred(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", &[&[1, 2], &[3, 1]], &[])?;
    let name = topic.name.as_str();
    let both: &[(&str, &[i32])] = &[(name, &[0, 1])];
    run.send("who leads already", &elect(0, Some(both)))?;
    run.ask(&moves(&[(name, &[(0, Some(&[2, 1]))])]))?;
    let led_by = |answer: &crate::run::Answer, leader: i64| {
        (0..2).any(|at| {
            let path = format!("/topics/0/partitions/{at}");
            answer.int(&format!("{path}/partitionIndex")) == 0
                && answer.int(&format!("{path}/leaderId")) == leader
                && answer.int(&format!("{path}/replicaNodes/0")) == 2
        })
    };
    run.await_answer(&metadata(&[name]), |answer| led_by(answer, 1) || led_by(answer, 2))?;
    run.send("another one", &elect(0, Some(both)))?;
    run.await_places("one", &[&[2, 1], &[3, 1]])?;
    run.send("it leads now", &metadata(&[name]))?;
    if run.version() >= 1 {
        run.send("unclean, but led", &elect(1, Some(both)))?;
    }
    Ok(())
}

fn more_partitions(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", &[&[1, 2]], &[])?;
    let cases: &[(&str, i32, &[&[i32]])] = &[
        ("fewer copies", 2, &[&[3]]),
        ("more copies", 2, &[&[1, 2, 3]]),
        ("one that is not there", 2, &[&[1, 9]]),
        ("twice the same", 2, &[&[2, 2]]),
        ("too few lists", 3, &[&[2, 3]]),
        ("two more", 3, &[&[2, 3], &[3, 1]]),
    ];
    for (label, count, lists) in cases {
        run.send(*label, &grow_by_hand(&topic.name, *count, lists))?;
    }
    run.await_places("one", &[&[1, 2], &[2, 3], &[3, 1]])?;
    run.send("what is there", &metadata(&[&topic.name]))?;
    Ok(())
}

fn voters(run: &mut Run<'_>) -> Result<()> {
    for id in run.present() {
        run.at(id);
        let partitions = vec![PartitionData::default()];
        let topic_name = "__cluster_metadata".to_owned();
        let topics = vec![TopicData { topic_name, partitions, ..Default::default() }];
        let request = DescribeQuorumRequest { topics, ..Default::default() };
        run.send(format!("at {id}"), &request)?;
    }
    Ok(())
}

fn coordinators(run: &mut Run<'_>) -> Result<()> {
    let group = run.name("group");
    let find = |group: &str| FindCoordinatorRequest {
        coordinator_keys: vec![group.to_owned()],
        ..Default::default()
    };
    run.await_answer(&find(&group), |answer| answer.int("/coordinators/0/errorCode") == 0)?;
    let mut found = 0;
    for id in run.present() {
        run.at(id);
        let request = if run.version() < 4 {
            FindCoordinatorRequest { key: group.clone(), ..Default::default() }
        } else {
            find(&group)
        };
        let answer = run.send(format!("at {id}"), &request)?;
        found = answer.int("/nodeId").max(answer.int("/coordinators/0/nodeId"));
    }
    // Whoever is asked here does not have the group.
    let other = run.present().into_iter().find(|id| i64::from(*id) != found);
    run.at(other.unwrap_or(1));
    let group_id = group.clone();
    let beat = HeartbeatRequest { group_id, member_id: "m".into(), ..Default::default() };
    run.send("elsewhere: a heartbeat", &beat)?;
    let leave = LeaveGroupRequest { group_id: group.clone(), ..Default::default() };
    run.send("elsewhere: leaving", &leave)?;
    let groups = vec![group.clone()];
    run.send("elsewhere: describing", &DescribeGroupsRequest { groups, ..Default::default() })?;
    let groups = vec![jocko_protocol::rpc::offset_fetch_request::OffsetFetchRequestGroup {
        group_id: group,
        ..Default::default()
    }];
    run.send("elsewhere: offsets", &OffsetFetchRequest { groups, ..Default::default() })?;
    run.at(1);
    // It has as many copies as there are brokers.
    run.await_answer(&metadata(&[OFFSETS_TOPIC]), |answer| {
        answer.int("/topics/0/partitions/0/replicaNodes/2") > 0
    })
}

fn unregister(run: &mut Run<'_>) -> Result<()> {
    for id in run.present() {
        run.at(id);
        for broker_id in [9, -1] {
            let request = UnregisterBrokerRequest { broker_id, ..Default::default() };
            run.send(format!("at {id}: {broker_id}"), &request)?;
        }
    }
    Ok(())
}

fn settings(run: &mut Run<'_>) -> Result<()> {
    for id in run.present() {
        run.at(id);
        for broker in ["1", "2", "3", "9", "-1", "x"] {
            for (name, value) in [("log.cleaner.threads", "no number"), ("no.such.setting", "1")] {
                let request = set_on_broker(broker, name, value);
                run.send(format!("at {id}: {broker}: {name}"), &request)?;
            }
        }
    }
    Ok(())
}
