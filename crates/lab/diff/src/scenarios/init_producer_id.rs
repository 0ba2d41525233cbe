//! InitProducerId (key 22): ids for idempotent producers (KIP-98, KIP-360).

use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::InitProducerIdRequest;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::InitProducerId, "idempotent", idempotent),
    Scenario::new(ApiKey::InitProducerId, "with an id already", with_id).since(3),
    Scenario::new(ApiKey::InitProducerId, "transactional", transactional),
];

fn idempotent(run: &mut Run<'_>) -> Result<()> {
    for timeout in [-1, 0, 1, 60_000, i32::MAX, i32::MIN] {
        let request =
            InitProducerIdRequest { transaction_timeout_ms: timeout, ..Default::default() };
        run.send(format!("a timeout of {timeout} ms"), &request)?;
    }
    Ok(())
}

fn with_id(run: &mut Run<'_>) -> Result<()> {
    let fresh = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
    let id = run.send("a fresh id", &fresh)?.int("/producerId");
    let cases = [
        ("its id, epoch 0", id, 0),
        ("its id, epoch 5", id, 5),
        ("its id, no epoch", id, -1),
        ("no id, epoch 0", -1, 0),
        ("an id never given, epoch 0", 1 << 60, 0),
        ("its id, the last epoch", id, i16::MAX),
        ("a negative id", -7, 0),
        ("a negative epoch", id, -7),
    ];
    for (label, producer_id, producer_epoch) in cases {
        let request = InitProducerIdRequest { producer_id, producer_epoch, ..fresh.clone() };
        run.send(label, &request)?;
    }
    Ok(())
}

fn transactional(run: &mut Run<'_>) -> Result<()> {
    let cases =
        [("an empty id", Some(String::new()), 60_000), ("an id", Some(run.name("tx")), 60_000)];
    for (label, transactional_id, transaction_timeout_ms) in cases {
        let request = InitProducerIdRequest {
            transactional_id,
            transaction_timeout_ms,
            ..Default::default()
        };
        run.send(label, &request)?;
    }
    Ok(())
}
