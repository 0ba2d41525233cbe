//! DescribeCluster (key 60): KIP-700, KIP-919, KIP-1073.

use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::DescribeClusterRequest;

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario::new(ApiKey::DescribeCluster, "every flag", flags)];

fn flags(run: &mut Run<'_>) -> Result<()> {
    for operations in [false, true] {
        for endpoint_type in [1, 2, 0, 3, -1, 127] {
            for fenced in [false, true] {
                if (endpoint_type != 1 && run.version() < 1) || (fenced && run.version() < 2) {
                    continue;
                }
                let request = DescribeClusterRequest {
                    include_cluster_authorized_operations: operations,
                    endpoint_type,
                    include_fenced_brokers: fenced,
                    ..Default::default()
                };
                let label = format!(
                    "operations {operations}, endpoints of type {endpoint_type}, fenced {fenced}"
                );
                run.send(label, &request)?;
            }
        }
    }
    Ok(())
}
