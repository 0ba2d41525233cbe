//! ListConfigResources (key 74): what configs can be set on (KIP-1142).

use super::requests::set_group_config;
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::ListConfigResourcesRequest;

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario::new(ApiKey::ListConfigResources, "types", types)];

fn types(run: &mut Run<'_>) -> Result<()> {
    run.hide_foreign_topics();
    run.create("one", 1, &[])?;
    run.create("two", 1, &[("retention.ms", "5")])?;
    let group = run.name("group");
    run.ask(&set_group_config(&group, "consumer.session.timeout.ms", "50000"))?;
    run.settle()?;
    run.send("all", &ListConfigResourcesRequest::default())?;
    if run.version() == 0 {
        return Ok(());
    }
    let cases: &[&[i8]] = &[
        &[2],
        &[4],
        &[8],
        &[16],
        &[32],
        &[2, 4],
        &[32, 2, 16],
        &[2, 2],
        &[0],
        &[1],
        &[3],
        &[-1],
        &[64],
        &[2, 3],
        &[2, 4, 8, 16, 32],
    ];
    for types in cases {
        let request =
            ListConfigResourcesRequest { resource_types: types.to_vec(), ..Default::default() };
        run.send(format!("types {types:?}"), &request)?;
    }
    Ok(())
}
