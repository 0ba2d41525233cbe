//! ApiVersions (key 18, versions 0-4): what this broker serves.
//!
//! The one request that is answered whatever its version: a client of tomorrow asks with a version
//! we do not know, is answered in version 0 with `UNSUPPORTED_VERSION`, and asks again (KIP-511).

use crate::session::{Answer, Exchange, Session};
use jocko_metadata::{FEATURES, Feature};
use jocko_net::Call;
use jocko_protocol::frame::RequestPrefix;
use jocko_protocol::rpc::api_versions_request::ApiVersionsRequest;
use jocko_protocol::rpc::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use jocko_protocol::versions::{ADVERTISED, Advertised};
use jocko_protocol::{ApiKey, Decode, DecodeError};
use jocko_types::ErrorCode;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = ApiVersionsRequest::decode(&mut exchange.body, version)?;
    let names = [&request.client_software_name, &request.client_software_version];
    if version >= 3 && !names.into_iter().all(|name| is_software_name(name)) {
        let refused = ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..Default::default()
        };
        return Ok(exchange.answer().now(&refused));
    }
    let published = session.context.published.load();
    let response = ApiVersionsResponse {
        api_keys: ADVERTISED.iter().map(line).collect(),
        // Clients before version 4 cannot read a lowest level of 0 (KAFKA-17011).
        supported_features: FEATURES
            .iter()
            .filter(|feature| version >= 4 || feature.min > 0)
            .map(supported)
            .collect(),
        finalized_features: published.image.features().map(finalized).collect(),
        finalized_features_epoch: published.index,
        ..Default::default()
    };
    Ok(exchange.answer().now(&response))
}

/// The answer to a version that does not exist: the versions of this API that do.
pub(crate) fn refuse_version(prefix: RequestPrefix) -> Call {
    let known = ADVERTISED.iter().find(|line| line.api == ApiKey::ApiVersions);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: known.map(line).into_iter().collect(),
        ..Default::default()
    };
    Answer { correlation_id: prefix.correlation_id, version: 0 }.now(&response)
}

fn supported(feature: &Feature) -> SupportedFeatureKey {
    SupportedFeatureKey {
        name: feature.name.to_owned(),
        min_version: feature.min,
        max_version: feature.max,
        ..Default::default()
    }
}

fn finalized((name, level): (&str, i16)) -> FinalizedFeatureKey {
    FinalizedFeatureKey {
        name: name.to_owned(),
        max_version_level: level,
        min_version_level: level,
        ..Default::default()
    }
}

fn line(advertised: &Advertised) -> ApiVersion {
    ApiVersion {
        api_key: advertised.api.code(),
        min_version: advertised.versions.min,
        max_version: advertised.versions.max,
        ..Default::default()
    }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (KIP-511).
fn is_software_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    outer(name.chars().next()) && outer(name.chars().next_back()) && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names_are_checked_as_kip_511_says() {
        for good in ["a", "apache-kafka-java", "4.3.1", "a--b"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "a_b", "é"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
