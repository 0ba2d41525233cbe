//! UnregisterBroker (key 64): brokers that are not there. The one that is there is left alone: a
//! Kafka would forget it.

use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::UnregisterBrokerRequest;

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario::new(ApiKey::UnregisterBroker, "nobody's numbers", nobody)];

fn nobody(run: &mut Run<'_>) -> Result<()> {
    for broker_id in [99, 0, -1, i32::MAX, i32::MIN] {
        let request = UnregisterBrokerRequest { broker_id, ..Default::default() };
        run.send(format!("broker {broker_id}"), &request)?;
    }
    Ok(())
}
