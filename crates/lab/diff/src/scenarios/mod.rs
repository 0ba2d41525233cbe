//! Every scenario, one file per API, each with its table.

use crate::scenario::Scenario;
pub(crate) use requests::{describe_configs, list_offsets, set_group_config};

mod alter_configs;
mod api_versions;
mod classic_members;
mod config_values;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod fetch_sessions;
mod find_coordinator;
mod framing;
mod group_admin;
mod group_conversions;
mod group_deadlines;
mod group_offsets;
mod groups;
mod init_producer_id;
mod join_group;
mod list_config_resources;
mod list_offsets;
mod log_dirs;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod produce_damaged;
mod produce_idempotent;
mod raft_voters;
mod reassignments;
mod requests;
mod several;
mod several_away;
mod several_moves;
mod topic_expressions;
mod unregister_broker;
mod update_features;

/// Every scenario, by the number of its API.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    [
        framing::SCENARIOS,
        produce::SCENARIOS,
        produce_damaged::SCENARIOS,
        produce_idempotent::SCENARIOS,
        fetch::SCENARIOS,
        fetch_sessions::SCENARIOS,
        list_offsets::SCENARIOS,
        metadata::SCENARIOS,
        group_offsets::SCENARIOS,
        find_coordinator::SCENARIOS,
        join_group::SCENARIOS,
        classic_members::SCENARIOS,
        group_admin::SCENARIOS,
        api_versions::SCENARIOS,
        create_topics::SCENARIOS,
        delete_topics::SCENARIOS,
        delete_records::SCENARIOS,
        init_producer_id::SCENARIOS,
        offset_for_leader_epoch::SCENARIOS,
        describe_configs::SCENARIOS,
        alter_configs::SCENARIOS,
        log_dirs::SCENARIOS,
        create_partitions::SCENARIOS,
        elect_leaders::SCENARIOS,
        reassignments::SCENARIOS,
        describe_quorum::SCENARIOS,
        update_features::SCENARIOS,
        describe_cluster::SCENARIOS,
        describe_producers::SCENARIOS,
        unregister_broker::SCENARIOS,
        consumer_group_heartbeat::SCENARIOS,
        topic_expressions::SCENARIOS,
        group_conversions::SCENARIOS,
        group_deadlines::SCENARIOS,
        list_config_resources::SCENARIOS,
        describe_topic_partitions::SCENARIOS,
        raft_voters::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}

/// Every scenario for three brokers: while all are there, or while the third is away.
pub fn of_several(is_one_away: bool) -> impl Iterator<Item = &'static Scenario> {
    let there: &[&[Scenario]] = &[several::SCENARIOS, several_moves::SCENARIOS];
    let away: &[&[Scenario]] = &[several_away::SCENARIOS];
    (if is_one_away { away } else { there }).iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_protocol::versions;
    use std::collections::BTreeSet;

    #[test]
    fn titles_are_unique_and_every_version_served_is_gone_through() {
        let mut titles = BTreeSet::new();
        let mut covered = BTreeSet::new();
        for scenario in all() {
            assert!(titles.insert(scenario.title()), "twice: {}", scenario.title());
            assert!(!scenario.runs(false).is_empty(), "never run: {}", scenario.title());
            covered.extend(scenario.runs(false).into_iter().map(|v| (scenario.api, v)));
        }
        for line in versions::ADVERTISED {
            for version in line.served_min..=line.versions.max {
                let name = line.api.name();
                assert!(covered.contains(&(line.api, version)), "no scenario: {name} v{version}");
            }
        }
    }
}
