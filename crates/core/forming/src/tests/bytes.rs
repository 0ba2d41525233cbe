//! Records and envelopes as bytes.

use crate::message::{Envelope, Message, Refusal, Standing};
use crate::proposal::{ADDRESS_BYTES_MAX, Bound, MEMBERS_MAX, Proposal, Seat};
use jocko_types::Uuid;
use proptest::prelude::*;

pub(super) fn id(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

pub(super) fn seat(byte: u8) -> Seat {
    Seat { node: id(byte), address: format!("n{byte}:9093") }
}

pub(super) fn proposal(number: u8, proposer: u8, members: &[u8]) -> Proposal {
    let members = members.iter().map(|byte| seat(*byte)).collect();
    Proposal { id: id(number), cluster: id(number + 100), proposer: id(proposer), members }
}

#[test]
fn records_and_messages_come_back_as_they_went() {
    let own = proposal(50, 1, &[1, 2, 3]);
    for bound in [
        Bound::Free,
        Bound::Pledged(own.clone()),
        Bound::Settled { cluster: id(9), proposal: None },
        Bound::Settled { cluster: id(150), proposal: Some(own.clone()) },
    ] {
        assert_eq!(Bound::from_bytes(&bound.to_bytes()), Ok(bound));
    }
    let about = id(50);
    for message in [
        Message::Propose(own),
        Message::Pledged { proposal: about },
        Message::Refused { proposal: about, why: Refusal::Bound { holder: id(4) } },
        Message::Refused { proposal: about, why: Refusal::Settled { cluster: id(4) } },
        Message::Refused { proposal: about, why: Refusal::Expects(3) },
        Message::Refused { proposal: about, why: Refusal::Stranger },
        Message::GiveWay { proposal: about, to: id(1) },
        Message::Ask { proposal: about },
        Message::Standing { proposal: about, standing: Standing::Pending },
        Message::Standing { proposal: about, standing: Standing::Abandoned },
        Message::Standing { proposal: about, standing: Standing::Initialised },
    ] {
        let envelope = Envelope { from: seat(1), to: id(2), message };
        let bytes = envelope.to_bytes();
        assert_eq!(Envelope::from_bytes(&bytes), Ok(envelope));
        for cut in 0..bytes.len() {
            assert!(Envelope::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn the_largest_record_fits_a_block() {
    let members: Vec<Seat> = (0..MEMBERS_MAX as u8)
        .map(|byte| Seat { node: id(byte), address: "x".repeat(ADDRESS_BYTES_MAX) })
        .collect();
    let largest = Proposal { id: id(50), cluster: id(51), proposer: id(0), members };
    assert!(largest.is_sound());
    let record = Bound::Settled { cluster: id(51), proposal: Some(largest) };
    assert!(record.to_bytes().len() <= 2_600);
    assert_eq!(Bound::from_bytes(&record.to_bytes()), Ok(record));
}

#[test]
fn impossible_proposals_are_refused() {
    for wrong in [
        proposal(50, 7, &[1, 2, 3]),
        proposal(50, 1, &[1, 1, 2]),
        proposal(50, 1, &[2, 1]),
        proposal(0, 1, &[1]),
        proposal(50, 1, &[]),
    ] {
        assert!(!wrong.is_sound(), "{wrong:?}");
        assert!(Bound::from_bytes(&Bound::Pledged(wrong).to_bytes()).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Bound::from_bytes(&bytes);
        let mut versioned = vec![1];
        versioned.extend(bytes);
        let _ = Bound::from_bytes(&versioned);
        let _ = Envelope::from_bytes(&versioned);
    }
}
