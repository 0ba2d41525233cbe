//! What may be said in which version: fields that a version lacks, nulls, versions that are not.

use jocko_protocol::metadata::{PartitionRecord, TopicRecord};
use jocko_protocol::rpc::create_topics_response::CreatableTopicResult;
use jocko_protocol::rpc::fetch_request::ReplicaState;
use jocko_protocol::rpc::metadata_request::MetadataRequestTopic;
use jocko_protocol::rpc::{
    CreateTopicsResponse, DescribeTopicPartitionsRequest, FetchRequest, MetadataRequest,
    MetadataResponse,
};
use jocko_protocol::{
    Decode, DecodeError, DecodeReason, Encode, EncodeError, EncodeReason, Message, Reader,
    RecordSchema, Request, VersionRange, Writer, error_code, group,
};
use jocko_types::ErrorCode;

fn encode(message: &impl Encode, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    Ok(w.into_bytes().expect("nothing is detached"))
}

fn refused(message: &impl Encode, version: i16) -> (&'static str, EncodeReason) {
    let error = encode(message, version).expect_err("must be refused");
    (error.field, error.reason)
}

#[test]
fn a_field_that_may_not_be_dropped_is_an_error() {
    let plain = FetchRequest { replica_id: 3, ..FetchRequest::default() };
    assert!(encode(&plain, 14).is_ok());
    assert_eq!(refused(&plain, 15), ("FetchRequest.replicaId", EncodeReason::NotInVersion(15)));
    let state = ReplicaState { replica_id: 3, ..ReplicaState::default() };
    let tagged = FetchRequest { replica_state: state, ..FetchRequest::default() };
    assert!(encode(&tagged, 15).is_ok());
    assert_eq!(refused(&tagged, 14), ("FetchRequest.replicaState", EncodeReason::NotInVersion(14)));
}

#[test]
fn an_ignorable_field_is_dropped() {
    let request = FetchRequest { rack_id: "a", session_id: 4, ..FetchRequest::default() };
    let bytes = encode(&request, 10).expect("ignorable");
    let back = FetchRequest::decode(&mut Reader::new(&bytes), 10).expect("valid");
    assert_eq!((back.rack_id, back.session_id), ("", 4));
}

#[test]
fn null_is_for_versions_that_have_it() {
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    assert!(encode(&all, 1).is_ok());
    assert_eq!(refused(&all, 0), ("MetadataRequest.topics", EncodeReason::Null));
    let by_id = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: None, ..Default::default() }]),
        ..MetadataRequest::default()
    };
    assert!(encode(&by_id, 10).is_ok());
    assert_eq!(refused(&by_id, 9), ("MetadataRequestTopic.name", EncodeReason::Null));
    let null = MetadataRequest::decode(&mut Reader::new(&[0xff; 4]), 0).expect_err("no null");
    let reason = DecodeReason::UnexpectedNull;
    assert_eq!(null, DecodeError { field: "MetadataRequest.topics", offset: 4, reason });
}

#[test]
fn a_nullable_struct_is_there_or_not() {
    let mut request = DescribeTopicPartitionsRequest::default();
    assert_eq!(request.cursor, None);
    assert_eq!(encode(&request, 0), Ok(vec![1, 0, 0, 7, 0xd0, 0xff, 0]));
    request.cursor = Some(Default::default());
    let bytes = encode(&request, 0).expect("valid");
    assert_eq!(bytes, [1, 0, 0, 7, 0xd0, 1, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(DescribeTopicPartitionsRequest::decode(&mut Reader::new(&bytes), 0), Ok(request));
}

#[test]
fn defaults_are_kafkas() {
    assert_eq!(FetchRequest::default().max_bytes, i32::MAX);
    assert_eq!(MetadataResponse::default().cluster_authorized_operations, i32::MIN);
    assert!(MetadataRequest::default().allow_auto_topic_creation);
    // The Java tools fail on a null here, so what nobody set must be a list.
    assert_eq!(CreatableTopicResult::default().configs, Some(Vec::new()));
}

#[test]
fn versions_that_are_not_are_refused() {
    let versions = VersionRange::new(2, 7);
    assert_eq!(CreateTopicsResponse::VERSIONS, versions);
    for version in [-1, 1, 8] {
        let reason = EncodeReason::UnsupportedVersion { version, versions };
        assert_eq!(
            refused(&CreateTopicsResponse::default(), version),
            ("CreateTopicsResponse", reason)
        );
        let error = CreateTopicsResponse::decode(&mut Reader::new(&[]), version);
        let reason = DecodeReason::UnsupportedVersion { version, versions };
        assert_eq!(error.expect_err("no such version").reason, reason);
    }
}

#[test]
fn errors_name_field_place_and_reason() {
    let error = MetadataRequest::decode(&mut Reader::new(&[3, 1]), 12).expect_err("cut short");
    assert_eq!(
        error.to_string(),
        "MetadataRequest.topics at byte 1: claims 2 elements where at most 0 fit"
    );
    let error = refused(&FetchRequest { replica_id: 3, ..FetchRequest::default() }, 15);
    let error = EncodeError { field: error.0, reason: error.1 };
    assert_eq!(error.to_string(), "FetchRequest.replicaId is set, but version 15 does not have it");
}

#[test]
fn records_know_their_keys_and_requests_their_responses() {
    assert_eq!(group::OffsetCommitKey::KEY, 1);
    assert_eq!(group::OffsetCommitValue::KEY, 1);
    assert_eq!(group::GroupMetadataKey::KEY, 2);
    assert_eq!(<MetadataRequest as Request>::Response::NAME, "MetadataResponse");
    assert_ne!(TopicRecord::KEY, PartitionRecord::KEY);
}

#[test]
fn unknown_error_codes_survive_in_messages() {
    assert_eq!(error_code(3), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(error_code(30_000), ErrorCode::UnknownServerError);
    assert_eq!(ErrorCode::UnsupportedVersion.code(), 35);
    for code in ErrorCode::ALL {
        assert_eq!(error_code(code.code()), *code);
    }
}
