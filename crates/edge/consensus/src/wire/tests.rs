use super::*;
use crate::types::{Entry, EntryPayload, Payload, SnapshotMeta, StoredMembership};
use jocko_types::Uuid;
use openraft::entry::RaftEntry;
use proptest::prelude::*;

fn node(byte: u8) -> NodeId {
    NodeId::new(Uuid::from_bytes([byte; 16]))
}

fn requests() -> Vec<Request> {
    let entries = vec![
        Entry::new(log_id(3, 8), EntryPayload::Blank),
        Entry::new(log_id(3, 9), EntryPayload::Normal(Payload(Bytes::from_static(b"payload")))),
    ];
    let append = AppendEntriesRequest {
        vote: Vote::new_committed(3, node(1)),
        prev_log_id: Some(log_id(2, 7)),
        entries,
        leader_commit: None,
    };
    let mut vote = VoteRequest::new(Vote::new(4, node(2)), Some(log_id(3, 9)));
    vote.leadership_transfer = true;
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(3, 9)),
        last_membership: StoredMembership::default(),
    };
    let stored = Stored { meta, state: Bytes::from_static(b"state") };
    vec![
        Request::Append(append),
        Request::Vote(vote.clone()),
        Request::PreVote(vote),
        Request::Piece(Piece::of(Vote::new_committed(3, node(1)), &stored, 7, 2, 2)),
        Request::Snapshot(Vote::new_committed(3, node(1)), stored),
        Request::TransferLeader(TransferLeaderRequest::new(
            Vote::new_committed(3, node(1)),
            node(2),
            Some(log_id(3, 9)),
        )),
    ]
}

fn responses() -> Vec<Response> {
    let vote = Vote::new_committed(3, node(1));
    let voted = VoteResponse { vote, vote_granted: true, last_log_id: Some(log_id(3, 9)) };
    vec![
        Response::Append(AppendEntriesResponse::Success),
        Response::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(3, 9)))),
        Response::Append(AppendEntriesResponse::Conflict),
        Response::Append(AppendEntriesResponse::HigherVote(vote)),
        Response::Vote(voted.clone()),
        Response::PreVote(voted),
        Response::Snapshot(SnapshotResponse::new(vote)),
        Response::Piece(1 << 40),
        Response::TransferLeader(Ok(())),
        Response::TransferLeader(Err(TransferLeaderError::VoteChanged {
            expected: vote,
            actual: Vote::new(4, node(2)),
        })),
        Response::TransferLeader(Err(TransferLeaderError::LogNotFlushed {
            expected: Some(log_id(3, 9)),
            actual: None,
        })),
    ]
}

#[test]
fn every_request_survives_its_bytes_and_no_cut_of_them_passes() {
    for request in requests() {
        let bytes = request.encode().expect("fits");
        let again = Request::decode(&bytes).expect("whole");
        assert_eq!(format!("{request:?}"), format!("{again:?}"));
        // A snapshot's state is the rest of the message: its length is the frame's.
        let end = bytes.len() - if matches!(request, Request::Snapshot(..)) { 5 } else { 0 };
        for len in 0..end {
            assert!(Request::decode(&bytes.slice(..len)).is_err(), "{request:?} cut to {len}");
        }
    }
}

#[test]
fn every_response_survives_its_bytes_and_no_cut_of_them_passes() {
    for response in responses() {
        let bytes = response.encode();
        assert_eq!(Response::decode(&bytes).expect("whole"), response);
        for len in 0..bytes.len() {
            assert!(Response::decode(&bytes[..len]).is_err(), "{response:?} cut to {len}");
        }
        assert!(Response::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
}

#[test]
fn a_claimed_count_allocates_nothing() {
    let mut bytes = requests()[0].encode().expect("fits").to_vec();
    let count_at = 2 + 25 + 17 + 1;
    bytes[count_at..count_at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(Request::decode(&bytes.into()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 2..200), kind in 0_u8..8) {
        bytes[0] = VERSION;
        bytes[1] = kind;
        let _ = Response::decode(&bytes);
        let _ = Request::decode(&bytes.into());
    }
}
