//! Every scenario, one file per API, each with its table.

use crate::scenario::Scenario;

mod api_versions;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_topic_partitions;
mod fetch;
mod fetch_sessions;
mod framing;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod produce_damaged;
mod produce_idempotent;
mod requests;

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
        api_versions::SCENARIOS,
        create_topics::SCENARIOS,
        delete_topics::SCENARIOS,
        init_producer_id::SCENARIOS,
        offset_for_leader_epoch::SCENARIOS,
        describe_configs::SCENARIOS,
        describe_cluster::SCENARIOS,
        describe_topic_partitions::SCENARIOS,
    ]
    .into_iter()
    .flatten()
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
