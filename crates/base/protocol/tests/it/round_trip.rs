//! Whatever can be said in a version survives bytes and JSON, for every message and version.

use crate::instances::{Fill, Numbers, schemas};
use jocko_protocol::json::{CORPUS, CorpusEntry};
use jocko_protocol::rpc::RequestHeader;
use jocko_protocol::{ApiKey, Encode, Writer, fuzz};
use proptest::prelude::*;

fn find(name: &str) -> &'static CorpusEntry {
    CORPUS.iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("we have no {name}"))
}

#[test]
fn schemas_and_code_name_the_same_messages_and_versions() {
    let schemas = schemas();
    assert_eq!(schemas.len(), CORPUS.len());
    for schema in schemas {
        let versions = find(&schema.name).versions;
        assert_eq!(schema.versions, (versions.min.into(), versions.max.into()), "{}", schema.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_message_at_every_version_survives(seed: u64) {
        let mut numbers = Numbers(seed);
        for schema in schemas() {
            let entry = find(&schema.name);
            for version in entry.versions.iter() {
                let json = schema.instance(version, &mut Fill::Random(&mut numbers));
                let bytes = (entry.json_to_bytes)(&json, version);
                let bytes = bytes.unwrap_or_else(|error| panic!("{entry:?} {version}: {error}"));
                prop_assert_eq!((entry.recode)(&bytes, version), Ok(bytes.clone()));
                let back = (entry.bytes_to_json)(&bytes, version).expect("decodable");
                // A tagged field at its default is not written, so the texts may differ: what
                // must agree is what they mean.
                prop_assert_eq!((entry.json_to_bytes)(&back, version), Ok(bytes));
            }
        }
    }

    #[test]
    fn damaged_messages_are_refused_or_stable(seed: u64) {
        let mut numbers = Numbers(seed);
        for schema in schemas() {
            let entry = find(&schema.name);
            for version in entry.versions.iter() {
                let json = schema.instance(version, &mut Fill::Random(&mut numbers));
                let mut bytes = (entry.json_to_bytes)(&json, version).expect("valid");
                let mut frame = header(entry.name, version);
                frame.extend_from_slice(&bytes);
                damage(&mut bytes, &mut numbers);
                fuzz::message_of(entry, version, &bytes);
                damage(&mut frame, &mut numbers);
                fuzz::frame(&frame);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn random_bytes_are_refused_or_stable(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::frame(&bytes);
        fuzz::request(&bytes);
        fuzz::message(&bytes);
    }

    /// Mostly zeros and small numbers get further than noise.
    #[test]
    fn sparse_bytes_are_refused_or_stable(
        bytes in proptest::collection::vec(prop_oneof![4 => Just(0_u8), 3 => 0_u8..4, 1 => any::<u8>()], 0..120),
    ) {
        fuzz::frame(&bytes);
        fuzz::request(&bytes);
        fuzz::message(&bytes);
    }
}

/// The header before a request of this name; something shorter before what is no request.
fn header(name: &str, version: i16) -> Vec<u8> {
    let api = ApiKey::ALL.iter().find(|api| name == format!("{}Request", api.name()));
    let Some(api) = api else { return Vec::new() };
    let header = RequestHeader {
        request_api_key: api.code(),
        request_api_version: version,
        client_id: Some("it".to_owned()),
        ..RequestHeader::default()
    };
    let mut w = Writer::new();
    header.encode(&mut w, api.request_header_version(version)).expect("valid");
    w.into_bytes().expect("nothing is detached")
}

/// Changes, removes or adds a few bytes.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len() + 1);
        let value = match numbers.below(4) {
            0 => 0,
            1 => 0xff,
            2 => 0x7f,
            _ => u8::try_from(numbers.below(256)).expect("a byte"),
        };
        match numbers.below(4) {
            0 => bytes.insert(at, value),
            1 => bytes.truncate(at),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
        }
    }
}
