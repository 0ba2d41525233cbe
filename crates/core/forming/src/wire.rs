//! Envelopes and records as bytes (docs/internals/forming.md has the tables). What comes from a
//! disk or a peer is read without trust in it.

use crate::message::{Envelope, Message, Refusal, Standing};
use crate::proposal::{ADDRESS_BYTES_MAX, Bound, MEMBERS_MAX, Proposal, Seat};
use jocko_codec::{DecodeError, Reader, Writer};
use jocko_types::Uuid;
use std::fmt;

const VERSION: u8 = 1;

/// Bytes that are none of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// They end early, or hold something impossible.
    Malformed(String),
    /// They are of a later format.
    Newer(u8),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => f.write_str(why),
            Self::Newer(version) => {
                write!(f, "written in format {version}, this program knows {VERSION}")
            }
        }
    }
}

impl std::error::Error for WireError {}

impl From<DecodeError> for WireError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

type Result<T> = std::result::Result<T, WireError>;

fn malformed<T>(why: &str) -> Result<T> {
    Err(WireError::Malformed(why.to_owned()))
}

impl Bound {
    /// As a disk keeps it: at most 2,600 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = begin();
        match self {
            Self::Free => out.u8(0),
            Self::Pledged(proposal) => {
                out.u8(1);
                put_proposal(&mut out, proposal);
            }
            Self::Settled { cluster, proposal } => {
                out.u8(2);
                out.uuid(*cluster);
                out.bool(proposal.is_some());
                if let Some(proposal) = proposal {
                    put_proposal(&mut out, proposal);
                }
            }
        }
        end(out)
    }

    /// From a disk.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        read(bytes, |reader| match reader.u8("kind")? {
            0 => Ok(Self::Free),
            1 => Ok(Self::Pledged(take_proposal(reader)?)),
            2 => {
                let cluster = reader.uuid("cluster")?;
                let has_proposal = reader.bool("has proposal")?;
                let proposal = has_proposal.then(|| take_proposal(reader)).transpose()?;
                Ok(Self::Settled { cluster, proposal })
            }
            _ => malformed("no such kind of record"),
        })
    }
}

impl Envelope {
    /// As it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = begin();
        put_seat(&mut out, &self.from);
        out.uuid(self.to);
        match &self.message {
            Message::Propose(proposal) => {
                out.u8(0);
                put_proposal(&mut out, proposal);
            }
            Message::Pledged { proposal } => put_about(&mut out, 1, *proposal),
            Message::Refused { proposal, why } => {
                put_about(&mut out, 2, *proposal);
                put_refusal(&mut out, *why);
            }
            Message::GiveWay { proposal, to } => {
                put_about(&mut out, 3, *proposal);
                out.uuid(*to);
            }
            Message::Ask { proposal } => put_about(&mut out, 4, *proposal),
            Message::Standing { proposal, standing } => {
                put_about(&mut out, 5, *proposal);
                out.u8(match standing {
                    Standing::Pending => 0,
                    Standing::Abandoned => 1,
                    Standing::Initialised => 2,
                });
            }
        }
        end(out)
    }

    /// From a peer.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        read(bytes, |reader| {
            let from = take_seat(reader)?;
            let to = reader.uuid("to")?;
            Ok(Self { from, to, message: take_message(reader)? })
        })
    }
}

fn begin() -> Writer {
    let mut out = Writer::with_capacity(256);
    out.u8(VERSION);
    out
}

fn end(out: Writer) -> Vec<u8> {
    out.into_bytes().expect("no records were lent to this writer")
}

fn read<T>(bytes: &[u8], body: impl FnOnce(&mut Reader<'_>) -> Result<T>) -> Result<T> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8("version")?;
    if version != VERSION {
        return Err(WireError::Newer(version));
    }
    let value = body(&mut reader)?;
    if reader.remaining() > 0 { malformed("bytes are left over") } else { Ok(value) }
}

fn put_about(out: &mut Writer, kind: u8, proposal: Uuid) {
    out.u8(kind);
    out.uuid(proposal);
}

fn put_refusal(out: &mut Writer, why: Refusal) {
    match why {
        Refusal::Bound { holder } => put_about(out, 0, holder),
        Refusal::Settled { cluster } => put_about(out, 1, cluster),
        Refusal::Expects(count) => {
            out.u8(2);
            out.u32(count);
        }
        Refusal::Stranger => out.u8(3),
    }
}

fn put_seat(out: &mut Writer, seat: &Seat) {
    out.uuid(seat.node);
    let address = seat.address.as_bytes();
    // Longer ones are refused where they come in.
    let address = address.get(..address.len().min(ADDRESS_BYTES_MAX)).unwrap_or_default();
    out.u16(u16::try_from(address.len()).unwrap_or(0));
    out.raw(address);
}

fn put_proposal(out: &mut Writer, proposal: &Proposal) {
    out.uuid(proposal.id);
    out.uuid(proposal.cluster);
    out.uuid(proposal.proposer);
    out.u8(u8::try_from(proposal.members.len()).unwrap_or(0));
    for seat in &proposal.members {
        put_seat(out, seat);
    }
}

fn take_seat(reader: &mut Reader<'_>) -> Result<Seat> {
    let node = reader.uuid("node")?;
    let length = usize::from(reader.u16("address length")?);
    if length > ADDRESS_BYTES_MAX {
        return malformed("an address is too long");
    }
    match std::str::from_utf8(reader.take(length, "address")?) {
        Ok(address) => Ok(Seat { node, address: address.to_owned() }),
        Err(_) => malformed("an address is not UTF-8"),
    }
}

fn take_proposal(reader: &mut Reader<'_>) -> Result<Proposal> {
    let id = reader.uuid("proposal")?;
    let cluster = reader.uuid("cluster")?;
    let proposer = reader.uuid("proposer")?;
    let count = usize::from(reader.u8("members")?);
    if count > MEMBERS_MAX {
        return malformed("too many members");
    }
    let members = (0..count).map(|_| take_seat(reader)).collect::<Result<Vec<_>>>()?;
    let proposal = Proposal { id, cluster, proposer, members };
    if proposal.is_sound() { Ok(proposal) } else { malformed("an impossible proposal") }
}

fn take_message(reader: &mut Reader<'_>) -> Result<Message> {
    let kind = reader.u8("kind")?;
    if kind == 0 {
        return Ok(Message::Propose(take_proposal(reader)?));
    }
    let proposal = reader.uuid("proposal")?;
    match kind {
        1 => Ok(Message::Pledged { proposal }),
        2 => Ok(Message::Refused { proposal, why: take_refusal(reader)? }),
        3 => Ok(Message::GiveWay { proposal, to: reader.uuid("lower proposer")? }),
        4 => Ok(Message::Ask { proposal }),
        5 => {
            let standing = match reader.u8("standing")? {
                0 => Standing::Pending,
                1 => Standing::Abandoned,
                2 => Standing::Initialised,
                _ => return malformed("no such standing"),
            };
            Ok(Message::Standing { proposal, standing })
        }
        _ => malformed("no such kind of message"),
    }
}

fn take_refusal(reader: &mut Reader<'_>) -> Result<Refusal> {
    match reader.u8("why")? {
        0 => Ok(Refusal::Bound { holder: reader.uuid("holder")? }),
        1 => Ok(Refusal::Settled { cluster: reader.uuid("cluster")? }),
        2 => Ok(Refusal::Expects(reader.u32("count")?)),
        3 => Ok(Refusal::Stranger),
        _ => malformed("no such refusal"),
    }
}
