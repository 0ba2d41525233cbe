//! UpdateFeatures (key 57): levels of features (KIP-584, KIP-778). The broker is
//! everybody's: who changes one runs alone, and puts it back.

use super::groups::{consumer, describe_consumers, join, ready};
use super::requests::TIMEOUT_MS;
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::update_features_request::FeatureUpdateKey;
use jocko_protocol::rpc::{ApiVersionsRequest, UpdateFeaturesRequest};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::UpdateFeatures, "levels", levels),
    Scenario::new(ApiKey::UpdateFeatures, "without consumer groups", without_groups).alone(),
];

/// The feature of the consumer protocol.
const GROUPS: &str = "group.version";
/// The level of Kafka 4.3.
const PRESENT: i16 = 30;

/// A feature, its level, and the type of upgrade.
type Level<'a> = (&'a str, i16, i8);

fn update(version: i16, features: &[Level<'_>]) -> UpdateFeaturesRequest {
    let key = |(name, level, kind): &Level<'_>| FeatureUpdateKey {
        feature: (*name).to_owned(),
        max_version_level: *level,
        allow_downgrade: version == 0 && *kind > 1,
        upgrade_type: if version == 0 { 1 } else { *kind },
        ..Default::default()
    };
    UpdateFeaturesRequest {
        timeout_ms: TIMEOUT_MS,
        feature_updates: features.iter().map(key).collect(),
        ..Default::default()
    }
}

fn levels(run: &mut Run<'_>) -> Result<()> {
    let cases: &[(&str, &[Level<'_>])] = &[
        ("nothing", &[]),
        ("the present level", &[("metadata.version", PRESENT, 1)]),
        ("a level of tomorrow", &[("metadata.version", PRESENT + 1, 1)]),
        ("a level far away", &[("metadata.version", i16::MAX, 1)]),
        ("a lower level, as an upgrade", &[("metadata.version", PRESENT - 1, 1)]),
        ("the lowest level, as an upgrade", &[("metadata.version", 7, 1)]),
        ("below the lowest level", &[("metadata.version", 6, 1)]),
        ("no level", &[("metadata.version", 0, 1)]),
        ("no level, safely", &[("metadata.version", 0, 2)]),
        ("a negative level", &[("metadata.version", -1, 1)]),
        ("groups, the present level", &[(GROUPS, 1, 1)]),
        ("groups, a level of tomorrow", &[(GROUPS, 2, 1)]),
        ("groups, a negative level", &[(GROUPS, -1, 1)]),
        ("groups, off as an upgrade", &[(GROUPS, 0, 1)]),
        ("groups, a negative level, safely", &[(GROUPS, -1, 2)]),
        ("an unknown feature", &[("no.such.feature", 1, 1)]),
        ("an unknown feature at 0", &[("no.such.feature", 0, 1)]),
        ("an unknown feature, safely", &[("no.such.feature", 1, 2)]),
        ("an empty name", &[("", 1, 1)]),
        ("a good and an unknown one", &[("metadata.version", PRESENT, 1), ("no.such", 1, 1)]),
        ("one twice", &[("metadata.version", PRESENT, 1), ("metadata.version", PRESENT, 1)]),
        ("transactions, a level of tomorrow", &[("transaction.version", 9, 1)]),
        ("share groups, a level of tomorrow", &[("share.version", 9, 1)]),
        ("streams groups, a level of tomorrow", &[("streams.version", 9, 1)]),
        ("the quorum, a level of tomorrow", &[("kraft.version", 9, 1)]),
        ("groups and the present level", &[(GROUPS, 1, 1), ("metadata.version", PRESENT, 1)]),
        ("a bad and a good one", &[(GROUPS, 2, 1), ("metadata.version", PRESENT, 1)]),
    ];
    for (label, features) in cases {
        run.send(*label, &update(run.version(), features))?;
        if run.version() >= 1 {
            let checked =
                UpdateFeaturesRequest { validate_only: true, ..update(run.version(), features) };
            run.send(format!("{label}, only checked"), &checked)?;
        }
    }
    if run.version() >= 1 {
        for kind in [2, 3] {
            let off = update(run.version(), &[(GROUPS, 0, kind)]);
            let checked = UpdateFeaturesRequest { validate_only: true, ..off };
            run.send(format!("groups, off by type {kind}, only checked"), &checked)?;
        }
        for kind in [0, 4, -1] {
            for level in [PRESENT, PRESENT + 1] {
                let features = [("metadata.version", level, kind)];
                run.send(format!("type {kind}, level {level}"), &update(run.version(), &features))?;
            }
        }
    }
    Ok(())
}

/// Switches the consumer protocol off and on again.
fn without_groups(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    run.send("before", &versions())?;
    run.send("off", &update(run.version(), &[(GROUPS, 0, 2)]))?;
    run.settle()?;
    run.send("what is on", &versions())?;
    run.send("a consumer joins", &consumer(&group, "a", &["t"]))?;
    run.send("a consumer group", &describe_consumers(&[&group, "other"]))?;
    run.send("a classic member joins", &join(&group, "nobody"))?;
    run.send("on", &update(run.version(), &[(GROUPS, 1, 1)]))?;
    run.settle()?;
    run.send("what is on again", &versions())?;
    run.send("a consumer joins again", &consumer(&group, "a", &["t"]))?;
    Ok(())
}

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "diff".into(),
        client_software_version: "1".into(),
        ..Default::default()
    }
}
