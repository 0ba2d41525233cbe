//! What must hold for any bytes at all. The fuzz targets and the property tests call the same
//! bodies; each panics if a promise is broken.

use crate::frame::{HeaderError, RequestFrame, RequestPrefix, frame_size};
use crate::{ApiKey, RequestKind};
use jocko_codec::{Reader, Writer};

/// Bytes as a frame from a stranger: header, then body. A header that is refused says why; a body
/// that decodes can be encoded, and what that gives decodes to the same again.
pub fn frame(bytes: &[u8]) {
    if let Some((prefix, rest)) = bytes.split_first_chunk::<4>()
        && let Ok(size) = frame_size(*prefix, rest.len())
    {
        assert!(size <= rest.len(), "a size beyond the limit was let through");
    }
    match RequestFrame::parse(bytes) {
        Ok(mut frame) => body(frame.api, frame.version, &mut frame.body),
        Err(HeaderError::UnknownApi(prefix)) => {
            assert_eq!(ApiKey::from_code(prefix.api_key), None);
        }
        Err(HeaderError::UnsupportedVersion { api, prefix }) => {
            assert!(!api.versions().contains(prefix.api_version));
            assert_eq!(RequestPrefix::peek(bytes), Ok(prefix));
        }
        Err(HeaderError::Malformed(error)) => assert!(error.offset <= bytes.len()),
    }
}

/// Bytes as the body of a request that the first two bytes choose: its API, then its version.
pub fn request(bytes: &[u8]) {
    let [api, version, rest @ ..] = bytes else { return };
    let Some(api) = ApiKey::ALL.get(usize::from(*api) % ApiKey::ALL.len()) else { return };
    let versions = api.versions();
    let count = versions.max - versions.min + 1;
    let version = versions.min + i16::from(*version) % count;
    body(*api, version, &mut Reader::new(rest));
}

fn body(api: ApiKey, version: i16, r: &mut Reader<'_>) {
    let end = r.offset() + r.remaining();
    let decoded = match RequestKind::decode(api, version, r) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(error.offset <= end, "{error} lies behind the frame");
            return;
        }
    };
    let first = encoded(&decoded, version);
    let again = RequestKind::decode(api, version, &mut Reader::new(&first));
    let again = again.unwrap_or_else(|error| panic!("{}: {error}", api.name()));
    // Bytes, not values: a NaN differs from itself.
    assert_eq!(first, encoded(&again, version), "{} {version} changed", api.name());
}

fn encoded(request: &RequestKind<'_>, version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    let result = request.encode(&mut w, version);
    result.unwrap_or_else(|error| panic!("decoded, but cannot be encoded: {error}"));
    w.into_bytes().unwrap_or_else(|| panic!("a decoded request has detached records"))
}

/// Bytes as any message whatever, chosen by the first three bytes: responses and records too.
#[cfg(feature = "json")]
pub fn message(bytes: &[u8]) {
    let [high, low, version, rest @ ..] = bytes else { return };
    let index = usize::from(u16::from_be_bytes([*high, *low])) % crate::json::CORPUS.len();
    let Some(entry) = crate::json::CORPUS.get(index) else { return };
    let count = entry.versions.max - entry.versions.min + 1;
    let version = entry.versions.min + i16::from(*version) % count;
    message_of(entry, version, rest);
}

/// Bytes as a given message: if they decode, then what comes of them is stable, as bytes and as
/// JSON.
#[cfg(feature = "json")]
pub fn message_of(entry: &crate::json::CorpusEntry, version: i16, bytes: &[u8]) {
    let left = match (entry.decode)(bytes, version) {
        Ok(left) => left,
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{error} lies behind the frame");
            return;
        }
    };
    let bytes = bytes.get(..bytes.len() - left).unwrap_or_default();
    let first = (entry.recode)(bytes, version);
    let first = first.unwrap_or_else(|error| panic!("{entry:?}: {error}"));
    let again = (entry.recode)(&first, version);
    assert_eq!(again.as_ref(), Ok(&first), "{entry:?} changed");
    let json = (entry.bytes_to_json)(&first, version);
    assert_eq!(json, (entry.bytes_to_json)(bytes, version), "{entry:?} changed");
}
