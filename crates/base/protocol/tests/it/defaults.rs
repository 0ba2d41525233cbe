//! A message that nobody filled in has a form in every version.

use jocko_protocol::json::CORPUS;

#[test]
fn defaults_survive_bytes_and_json() {
    for entry in CORPUS {
        for version in entry.versions.iter() {
            let bytes = (entry.encode_default)(version)
                .unwrap_or_else(|error| panic!("{} {version}: {error}", entry.name));
            assert_eq!((entry.recode)(&bytes, version).as_ref(), Ok(&bytes), "{entry:?} {version}");
            let json = (entry.bytes_to_json)(&bytes, version).expect("decodable");
            assert_eq!((entry.json_to_bytes)(&json, version), Ok(bytes), "{entry:?} {version}");
            assert!((entry.encode_default)(entry.versions.max + 1).is_err());
        }
    }
}
