//! Tables for headers and frames.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

use super::*;
use crate::rpc::{ApiVersionsRequest, ApiVersionsResponse, HeartbeatRequest, MetadataRequest};
use crate::rpc::{HeartbeatResponse, MetadataResponse};

#[test]
fn header_versions_follow_the_body() {
    let check = |api: ApiKey, version, request, response| {
        assert_eq!(api.request_header_version(version), request, "{api:?} {version}");
        assert_eq!(api.response_header_version(version), response, "{api:?} {version}");
    };
    check(ApiKey::Produce, 8, 1, 0);
    check(ApiKey::Produce, 9, 2, 1);
    check(ApiKey::ApiVersions, 2, 1, 0);
    check(ApiKey::ApiVersions, 3, 2, 0);
    check(ApiKey::SaslHandshake, 1, 1, 0);
    check(ApiKey::DescribeCluster, 0, 2, 1);
}

#[test]
fn requests_are_read_back() {
    for client_id in [None, Some(""), Some("rdkafka")] {
        for version in 0..=13 {
            let mut w = Writer::new();
            let body = MetadataRequest::default();
            encode_request(42, client_id, version, &body, &mut w).expect("valid");
            let (size, rest) = w.bytes().split_first_chunk::<4>().expect("a size");
            assert_eq!(frame_size(*size, 1000), Ok(rest.len()));
            let mut frame = RequestFrame::parse(rest).expect("valid");
            assert_eq!((frame.api, frame.version), (ApiKey::Metadata, version));
            assert_eq!((frame.correlation_id, frame.client_id), (42, client_id));
            assert_eq!(MetadataRequest::decode(&mut frame.body, version), Ok(body));
            assert_eq!(frame.body.remaining(), 0);
        }
    }
}

#[test]
fn client_id_is_not_compact_in_the_flexible_header() {
    // Heartbeat 4, correlation 1, client "ab", one unknown tagged field in the header.
    let frame = [0, 12, 0, 4, 0, 0, 0, 1, 0, 2, b'a', b'b', 1, 9, 1, 7];
    let mut bytes = frame.to_vec();
    let mut w = Writer::new();
    HeartbeatRequest::default().encode(&mut w, 4).expect("valid");
    bytes.extend_from_slice(w.bytes());
    let mut parsed = RequestFrame::parse(&bytes).expect("valid");
    assert_eq!(parsed.client_id, Some("ab"));
    assert_eq!(parsed.body.offset(), frame.len());
    HeartbeatRequest::decode(&mut parsed.body, 4).expect("valid");
}

#[test]
fn a_client_id_that_is_not_text_refuses_nothing() {
    let check = |client_id: &[u8], expect: Option<&str>| {
        let mut bytes = vec![0, 12, 0, 0, 0, 0, 0, 1];
        bytes.extend_from_slice(client_id);
        assert_eq!(RequestFrame::parse(&bytes).expect("valid").client_id, expect);
    };
    check(&[0, 2, b'a', b'b'], Some("ab"));
    check(&[0, 3, b'a', 0xff, b'b'], Some("a"));
    check(&[0, 1, 0xff], Some(""));
    check(&[0, 0], Some(""));
    check(&[0xff, 0xff], None);
    let error = RequestFrame::parse(&[0, 12, 0, 0, 0, 0, 0, 1, 0, 9, b'a']);
    assert!(matches!(error, Err(HeaderError::Malformed(_))));
}

#[test]
fn refused_headers_say_why() {
    let prefix = |api_key, api_version| RequestPrefix { api_key, api_version, correlation_id: 5 };
    let check = |bytes: &[u8], expect: HeaderError| {
        let error = RequestFrame::parse(bytes).expect_err("must be refused");
        assert_eq!(error, expect, "{bytes:02x?}");
    };
    check(&[3, 0xe8, 0, 0, 0, 0, 0, 5], HeaderError::UnknownApi(prefix(1000, 0)));
    check(&[0, 4, 0, 0, 0, 0, 0, 5], HeaderError::UnknownApi(prefix(4, 0)));
    let (api, beyond) = (ApiKey::ApiVersions, prefix(18, 99));
    // What follows is not looked at: its form belongs to a version we do not know.
    check(
        &[0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0xff],
        HeaderError::UnsupportedVersion { api, prefix: beyond },
    );
    let (api, old) = (ApiKey::Produce, prefix(0, 2));
    check(&[0, 0, 0, 2, 0, 0, 0, 5], HeaderError::UnsupportedVersion { api, prefix: old });
    let (api, negative) = (ApiKey::Produce, prefix(0, -1));
    check(
        &[0, 0, 0xff, 0xff, 0, 0, 0, 5],
        HeaderError::UnsupportedVersion { api, prefix: negative },
    );
    let reason = DecodeReason::Truncated { needed: 4, remaining: 1 };
    let error = DecodeError { field: "RequestHeader.correlationId", offset: 4, reason };
    check(&[0, 18, 0, 3, 0], HeaderError::Malformed(error));
}

#[test]
fn api_versions_is_answered_without_tagged_fields_in_the_header() {
    let mut w = Writer::new();
    encode_response(7, 3, &ApiVersionsResponse::default(), &mut w).expect("valid");
    // Size, correlation id, error, compact array of none, throttle time, one tag section.
    assert_eq!(w.bytes(), [0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0]);
    let mut w = Writer::new();
    encode_response(7, 4, &HeartbeatResponse::default(), &mut w).expect("valid");
    assert_eq!(w.bytes(), [0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn responses_are_read_back() {
    for version in 0..=13 {
        let mut w = Writer::new();
        let body = MetadataResponse { controller_id: -1, ..MetadataResponse::default() };
        encode_response(-3, version, &body, &mut w).expect("valid");
        let (id, mut r) =
            parse_response(&w.bytes()[4..], ApiKey::Metadata, version).expect("valid");
        assert_eq!(id, -3);
        assert_eq!(MetadataResponse::decode(&mut r, version), Ok(body));
        assert_eq!(r.remaining(), 0);
    }
}

#[test]
fn a_failed_encoding_leaves_no_trace() {
    let mut w = Writer::new();
    encode_response(1, 0, &HeartbeatResponse::default(), &mut w).expect("valid");
    let before = w.bytes().to_vec();
    let body =
        ApiVersionsRequest { client_software_name: "x".repeat(40_000), ..Default::default() };
    encode_request(2, None, 3, &body, &mut w).expect_err("too long");
    encode_request(2, None, 99, &body, &mut w).expect_err("no such version");
    assert_eq!(w.bytes(), before);
}

#[test]
fn frame_sizes_are_checked_before_any_room_is_made() {
    assert_eq!(frame_size([0, 0, 1, 0], 256), Ok(256));
    for prefix in [[0, 0, 1, 1], [0xff; 4], [0x7f, 0xff, 0xff, 0xff]] {
        let error = frame_size(prefix, 256).expect_err("must be refused");
        let size = i64::from(i32::from_be_bytes(prefix));
        assert_eq!(error.reason, DecodeReason::InvalidLength(size));
    }
}
