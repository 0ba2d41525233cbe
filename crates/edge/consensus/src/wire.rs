//! What peers say to each other, as bytes (docs/internals/raft-log.md). A frame of the cluster port
//! carries one request or one response whole; who may send one is decided there.

use bytes::Bytes;
use jocko_codec::{DecodeError, Reader};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::entry::{ENVELOPE_BYTES, EntryError, read_envelope, write_envelope};
use crate::id::NodeId;
use crate::pieces::Piece;
use crate::snapshot::Stored;
use crate::types::{LogId, Types, Vote, log_id, term_of};

const VERSION: u8 = 1;
const APPEND: u8 = 1;
const VOTE: u8 = 2;
const PRE_VOTE: u8 = 3;
const SNAPSHOT: u8 = 4;
const TRANSFER_LEADER: u8 = 5;
const PIECE: u8 = 6;

/// A request of a peer.
#[derive(Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot(Vote, Stored),
    TransferLeader(TransferLeaderRequest<Types>),
    Piece(Piece),
}

/// The answer to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Response {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    PreVote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    TransferLeader(TransferLeaderResponse<Types>),
    /// From where on more is wanted.
    Piece(u64),
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error(transparent)]
    Truncated(#[from] DecodeError),
    #[error("message format {0}, this program knows {VERSION}")]
    Version(u8),
    #[error("unknown kind of message {0}")]
    Kind(u8),
    #[error("unknown value {value} of {field}")]
    Value { field: &'static str, value: u8 },
    #[error("entry: {0}")]
    Entry(#[from] EntryError),
    #[error("snapshot header: {0}")]
    Header(#[from] serde_json::Error),
    #[error("{0} is longer than a message can say")]
    TooLong(&'static str),
    #[error("{0} bytes too many")]
    Trailing(usize),
    #[error("the answer is to another question")]
    Unexpected,
}

type Result<T> = std::result::Result<T, WireError>;

impl Request {
    pub(crate) fn encode(&self) -> Result<Bytes> {
        let mut out = vec![VERSION];
        match self {
            Self::Append(request) => {
                out.push(APPEND);
                encode_append(request, &mut out)?;
            }
            Self::Vote(request) => {
                out.push(VOTE);
                put_vote_request(&mut out, request);
            }
            Self::PreVote(request) => {
                out.push(PRE_VOTE);
                put_vote_request(&mut out, request);
            }
            Self::Snapshot(vote, stored) => {
                out.push(SNAPSHOT);
                put_vote(&mut out, vote);
                put_sized(&mut out, &serde_json::to_vec(&stored.meta)?, "snapshot header")?;
                out.extend_from_slice(&stored.state);
            }
            Self::TransferLeader(request) => {
                out.push(TRANSFER_LEADER);
                put_vote(&mut out, request.from_leader());
                out.extend_from_slice(request.to_node_id().directory_id().as_bytes());
                put_log_id(&mut out, request.last_log_id());
            }
            Self::Piece(piece) => {
                out.push(PIECE);
                put_vote(&mut out, &piece.vote);
                put_sized(&mut out, &serde_json::to_vec(&piece.meta)?, "snapshot header")?;
                out.extend_from_slice(&piece.state_bytes.to_be_bytes());
                out.extend_from_slice(&piece.checksum.to_be_bytes());
                out.extend_from_slice(&piece.offset.to_be_bytes());
                put_sized(&mut out, &piece.bytes, "piece")?;
            }
        }
        Ok(out.into())
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let request = match get_kind(&mut reader)? {
            APPEND => Self::Append(decode_append(bytes, &mut reader)?),
            VOTE => Self::Vote(get_vote_request(&mut reader)?),
            PRE_VOTE => Self::PreVote(get_vote_request(&mut reader)?),
            SNAPSHOT => {
                let vote = get_vote(&mut reader)?;
                let meta = serde_json::from_slice(get_sized(&mut reader, "snapshot header")?)?;
                let rest = reader.rest();
                reader.take(rest.len(), "snapshot")?;
                Self::Snapshot(vote, Stored { meta, state: bytes.slice_ref(rest) })
            }
            TRANSFER_LEADER => {
                let vote = get_vote(&mut reader)?;
                let to = NodeId::new(reader.uuid("to")?);
                let last = get_log_id(&mut reader)?;
                Self::TransferLeader(TransferLeaderRequest::new(vote, to, last))
            }
            PIECE => Self::Piece(decode_piece(bytes, &mut reader)?),
            other => return Err(WireError::Kind(other)),
        };
        finish(&reader, request)
    }
}

impl Response {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Self::Append(response) => {
                out.push(APPEND);
                match response {
                    AppendEntriesResponse::Success => out.push(0),
                    AppendEntriesResponse::PartialSuccess(last) => {
                        out.push(1);
                        put_log_id(&mut out, last.as_ref());
                    }
                    AppendEntriesResponse::Conflict => out.push(2),
                    AppendEntriesResponse::HigherVote(vote) => {
                        out.push(3);
                        put_vote(&mut out, vote);
                    }
                }
            }
            Self::Vote(response) => {
                out.push(VOTE);
                put_vote_response(&mut out, response);
            }
            Self::PreVote(response) => {
                out.push(PRE_VOTE);
                put_vote_response(&mut out, response);
            }
            Self::Snapshot(response) => {
                out.push(SNAPSHOT);
                put_vote(&mut out, &response.vote);
            }
            Self::TransferLeader(response) => {
                out.push(TRANSFER_LEADER);
                match response {
                    Ok(()) => out.push(0),
                    Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                        out.push(1);
                        put_vote(&mut out, expected);
                        put_vote(&mut out, actual);
                    }
                    Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                        out.push(2);
                        put_log_id(&mut out, expected.as_ref());
                        put_log_id(&mut out, actual.as_ref());
                    }
                }
            }
            Self::Piece(next) => {
                out.push(PIECE);
                out.extend_from_slice(&next.to_be_bytes());
            }
        }
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let response = match get_kind(&mut reader)? {
            APPEND => Self::Append(match reader.u8("outcome")? {
                0 => AppendEntriesResponse::Success,
                1 => AppendEntriesResponse::PartialSuccess(get_log_id(&mut reader)?),
                2 => AppendEntriesResponse::Conflict,
                3 => AppendEntriesResponse::HigherVote(get_vote(&mut reader)?),
                value => return Err(WireError::Value { field: "outcome", value }),
            }),
            VOTE => Self::Vote(get_vote_response(&mut reader)?),
            PRE_VOTE => Self::PreVote(get_vote_response(&mut reader)?),
            SNAPSHOT => Self::Snapshot(SnapshotResponse::new(get_vote(&mut reader)?)),
            TRANSFER_LEADER => Self::TransferLeader(match reader.u8("outcome")? {
                0 => Ok(()),
                1 => Err(TransferLeaderError::VoteChanged {
                    expected: get_vote(&mut reader)?,
                    actual: get_vote(&mut reader)?,
                }),
                2 => Err(TransferLeaderError::LogNotFlushed {
                    expected: get_log_id(&mut reader)?,
                    actual: get_log_id(&mut reader)?,
                }),
                value => return Err(WireError::Value { field: "outcome", value }),
            }),
            PIECE => Self::Piece(reader.i64("next")?.cast_unsigned()),
            other => return Err(WireError::Kind(other)),
        };
        finish(&reader, response)
    }
}

fn encode_append(request: &AppendEntriesRequest<Types>, out: &mut Vec<u8>) -> Result<()> {
    put_vote(out, &request.vote);
    put_log_id(out, request.prev_log_id.as_ref());
    put_log_id(out, request.leader_commit.as_ref());
    let count = u32::try_from(request.entries.len()).map_err(|_| WireError::TooLong("entries"))?;
    out.extend_from_slice(&count.to_be_bytes());
    let mut envelope = Vec::new();
    for entry in &request.entries {
        envelope.clear();
        write_envelope(entry, &mut envelope)?;
        put_sized(out, &envelope, "entry")?;
    }
    Ok(())
}

fn decode_append(bytes: &Bytes, reader: &mut Reader<'_>) -> Result<AppendEntriesRequest<Types>> {
    let vote = get_vote(reader)?;
    let prev_log_id = get_log_id(reader)?;
    let leader_commit = get_log_id(reader)?;
    let count = usize::try_from(reader.u32("entries")?).unwrap_or(usize::MAX);
    // A claimed count allocates nothing that the bytes could not fill.
    let mut entries = Vec::with_capacity(count.min(reader.remaining() / (4 + ENVELOPE_BYTES)));
    for _ in 0..count {
        entries.push(read_envelope(&bytes.slice_ref(get_sized(reader, "entry")?))?);
    }
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

fn decode_piece(bytes: &Bytes, reader: &mut Reader<'_>) -> Result<Piece> {
    Ok(Piece {
        vote: get_vote(reader)?,
        meta: serde_json::from_slice(get_sized(reader, "snapshot header")?)?,
        state_bytes: reader.i64("state length")?.cast_unsigned(),
        checksum: reader.u32("checksum")?,
        offset: reader.i64("offset")?.cast_unsigned(),
        bytes: bytes.slice_ref(get_sized(reader, "piece")?),
    })
}

fn get_kind(reader: &mut Reader<'_>) -> Result<u8> {
    match reader.u8("version")? {
        VERSION => Ok(reader.u8("kind")?),
        newer => Err(WireError::Version(newer)),
    }
}

fn finish<T>(reader: &Reader<'_>, message: T) -> Result<T> {
    match reader.remaining() {
        0 => Ok(message),
        more => Err(WireError::Trailing(more)),
    }
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8], field: &'static str) -> Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| WireError::TooLong(field))?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn get_sized<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8]> {
    let len = usize::try_from(reader.u32(field)?).unwrap_or(usize::MAX);
    Ok(reader.take(len, field)?)
}

fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.extend_from_slice(&vote.leader_id.term.to_be_bytes());
    out.extend_from_slice(vote.leader_id.voted_for.directory_id().as_bytes());
    out.push(u8::from(vote.committed));
}

fn get_vote(reader: &mut Reader<'_>) -> Result<Vote> {
    let term = reader.i64("vote term")?.cast_unsigned();
    let node = NodeId::new(reader.uuid("vote node")?);
    match reader.u8("vote committed")? {
        0 => Ok(Vote::new(term, node)),
        1 => Ok(Vote::new_committed(term, node)),
        value => Err(WireError::Value { field: "vote committed", value }),
    }
}

fn put_log_id(out: &mut Vec<u8>, id: Option<&LogId>) {
    out.push(u8::from(id.is_some()));
    if let Some(id) = id {
        out.extend_from_slice(&term_of(id).to_be_bytes());
        out.extend_from_slice(&id.index.to_be_bytes());
    }
}

fn get_log_id(reader: &mut Reader<'_>) -> Result<Option<LogId>> {
    match reader.u8("log id")? {
        0 => Ok(None),
        1 => {
            let term = reader.i64("term")?.cast_unsigned();
            let index = reader.i64("index")?.cast_unsigned();
            Ok(Some(log_id(term, index)))
        }
        value => Err(WireError::Value { field: "log id", value }),
    }
}

fn put_vote_request(out: &mut Vec<u8>, request: &VoteRequest<Types>) {
    put_vote(out, &request.vote);
    put_log_id(out, request.last_log_id.as_ref());
    out.push(u8::from(request.leadership_transfer));
}

fn get_vote_request(reader: &mut Reader<'_>) -> Result<VoteRequest<Types>> {
    let mut request = VoteRequest::new(get_vote(reader)?, get_log_id(reader)?);
    request.leadership_transfer = reader.bool("leadership transfer")?;
    Ok(request)
}

fn put_vote_response(out: &mut Vec<u8>, response: &VoteResponse<Types>) {
    put_vote(out, &response.vote);
    out.push(u8::from(response.vote_granted));
    put_log_id(out, response.last_log_id.as_ref());
}

fn get_vote_response(reader: &mut Reader<'_>) -> Result<VoteResponse<Types>> {
    let vote = get_vote(reader)?;
    let vote_granted = reader.bool("granted")?;
    Ok(VoteResponse { vote, vote_granted, last_log_id: get_log_id(reader)? })
}

#[cfg(test)]
mod tests;
