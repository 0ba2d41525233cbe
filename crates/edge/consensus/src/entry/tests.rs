use super::*;
use crate::id::{NodeId, Peer};
use jocko_types::Uuid;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn membership() -> Membership {
    let node = |byte| NodeId::new(Uuid::from_bytes([byte; 16]));
    let peers = BTreeMap::from([(node(1), Peer::at("a:9093")), (node(2), Peer::at("b:9093"))]);
    Membership::new(vec![BTreeSet::from([node(1)])], peers).expect("voters are members")
}

fn entries() -> impl Strategy<Value = Entry> {
    let payload = prop_oneof![
        Just(EntryPayload::Blank),
        prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| EntryPayload::Normal(Payload(bytes.into()))),
        Just(EntryPayload::Membership(membership())),
    ];
    (0..=2_147_483_647_u64, 0..=u64::MAX / 2, payload)
        .prop_map(|(term, index, payload)| Entry::new(log_id(term, index), payload))
}

proptest! {
    #[test]
    fn an_entry_survives_its_batch(entry in entries()) {
        let mut bytes = to_batch(&entry).expect("in range");
        let size = bytes.len();
        bytes.extend_from_slice(b"what follows");
        let (read, taken) = from_batch(&bytes.into()).expect("whole").expect("all there");
        prop_assert_eq!(read, entry);
        prop_assert_eq!(taken, size);
    }

    #[test]
    fn no_flipped_bit_goes_unseen(entry in entries(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = to_batch(&entry).expect("in range");
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        // Truncated (a longer length) or an error, but never another entry.
        if let Ok(Some((read, _))) = from_batch(&bytes.into()) {
            prop_assert!(false, "read {read:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = read_envelope(&bytes);
        let _ = from_batch(&bytes);
    }
}

#[test]
fn the_envelope_is_as_documented() {
    let entry = Entry::new(log_id(3, 7), EntryPayload::Normal(Payload(Bytes::from_static(b"hi"))));
    let mut bytes = Vec::new();
    write_envelope(&entry, &mut bytes).expect("fits");
    assert_eq!(bytes, b"\x01\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x07hi");
}

#[test]
fn a_newer_format_is_named() {
    let error = read_envelope(&Bytes::from_static(b"\x02\x01")).expect_err("newer");
    assert!(error.to_string().contains("run a newer one"), "{error}");
}

#[test]
fn a_term_too_large_for_a_batch_is_refused() {
    let entry = Entry::new(log_id(1 << 31, 7), EntryPayload::Blank);
    assert!(matches!(to_batch(&entry), Err(EntryError::Range(_))));
}
