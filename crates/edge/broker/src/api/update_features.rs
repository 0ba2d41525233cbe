//! UpdateFeatures (key 57, versions 0-2): the levels of features (KIP-584, KIP-778). The controller
//! decides: all updates or none.

use crate::controller::Undecided;
use crate::session::{Exchange, Session};
use jocko_metadata::{Command, FeatureDirection, FeatureUpdate, Refusal, Reply};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use jocko_protocol::rpc::update_features_response::{
    UpdatableFeatureResult, UpdateFeaturesResponse,
};
use jocko_protocol::{Decode, DecodeError};
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = UpdateFeaturesRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let updates = request.feature_updates.into_iter().map(|key| update(version, key)).collect();
        // The first version cannot ask what would happen.
        let validate_only = version >= 1 && request.validate_only;
        let command = Command::UpdateFeatures { updates, validate_only };
        let response = match context.controller.submit(command).await {
            Ok(Reply::UpdateFeatures(Ok(names))) => done(version, names),
            Ok(Reply::UpdateFeatures(Err(refusal))) => refused(refusal),
            Ok(_) => unreachable!("each command has its own kind of reply"),
            Err(Undecided(code)) => refused(Refusal { code, message: String::new() }),
        };
        Outcome::Reply(answer.encode(&response))
    })))
}

fn update(version: i16, key: FeatureUpdateKey) -> FeatureUpdate {
    // As in Kafka, the first version's wish to lower a level is not heard.
    let direction = match key.upgrade_type {
        _ if version == 0 => FeatureDirection::Upgrade,
        1 => FeatureDirection::Upgrade,
        2 => FeatureDirection::SafeDowngrade,
        3 => FeatureDirection::UnsafeDowngrade,
        other => FeatureDirection::Unknown(other),
    };
    FeatureUpdate { name: key.feature, level: key.max_version_level, direction }
}

/// From version 2 on, features that were updated are not listed.
fn done(version: i16, names: Vec<String>) -> UpdateFeaturesResponse {
    let listed = names.into_iter().filter(|_| version < 2);
    let results = listed.map(|feature| UpdatableFeatureResult {
        feature,
        error_message: None,
        ..Default::default()
    });
    UpdateFeaturesResponse { error_message: None, results: results.collect(), ..Default::default() }
}

fn refused(refusal: Refusal) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse {
        error_code: refusal.code.code(),
        error_message: Some(refusal.message),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_knows_upgrades_only() {
        let key = |upgrade_type| FeatureUpdateKey {
            feature: "f".into(),
            max_version_level: 3,
            upgrade_type,
            ..Default::default()
        };
        for (version, kind, expected) in [
            (0, 1, FeatureDirection::Upgrade),
            (0, 2, FeatureDirection::Upgrade),
            (1, 1, FeatureDirection::Upgrade),
            (1, 2, FeatureDirection::SafeDowngrade),
            (2, 3, FeatureDirection::UnsafeDowngrade),
            (2, 0, FeatureDirection::Unknown(0)),
            (2, -1, FeatureDirection::Unknown(-1)),
        ] {
            let update = update(version, key(kind));
            assert_eq!((update.name.as_str(), update.level), ("f", 3));
            assert_eq!(update.direction, expected, "type {kind} in version {version}");
        }
    }

    #[test]
    fn what_was_updated_is_listed_below_version_2() {
        for (version, listed) in [(0, 1), (1, 1), (2, 0)] {
            assert_eq!(done(version, vec!["f".into()]).results.len(), listed, "{version}");
        }
    }
}
