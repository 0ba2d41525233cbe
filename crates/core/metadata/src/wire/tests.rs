use super::*;
use jocko_types::Uuid;

fn topic_record(name: &str) -> MetadataRecord {
    MetadataRecord::Topic {
        topic_id: Uuid::from_bytes([7; 16]),
        name: TopicName::new(name).expect("legal"),
        replication: Replication::Auto,
    }
}

fn newer(bytes: &[u8]) -> String {
    decode_entry(bytes).expect_err("newer").to_string()
}

#[test]
fn the_bytes_are_as_documented() {
    // Format; length, type and version of the frame; then the record with its tagged fields.
    let mut expect = vec![1, 22, 7, 0];
    expect.extend([7; 16]);
    expect.extend([2, b'o', 0xff, 0xff, 0]);
    expect[1] = u8::try_from(expect.len() - 2).expect("short");
    assert_eq!(encode_entry(&[topic_record("o")]), expect);
    assert_eq!(encode_entry(&[]), [1]);
    assert_eq!(decode_entry(&[1]), Ok(Vec::new()));
}

#[test]
fn used_up_numbers_are_written_as_documented() {
    let record = MetadataRecord::BrokerIds { last: BrokerId::new(0x0102) };
    let bytes = [1, 7, 14, 0, 0, 0, 1, 2, 0];
    assert_eq!(encode_entry(std::slice::from_ref(&record)), bytes);
    assert_eq!(decode_entry(&bytes), Ok(vec![record]));
}

#[test]
fn what_a_newer_jocko_wrote_is_told_apart_from_damage() {
    assert_eq!(
        newer(&[2]),
        "the metadata was written by a newer jocko: entry format 2 is unknown here"
    );
    assert_eq!(
        newer(&[1, 2, 99, 0]),
        "the metadata was written by a newer jocko: record type 99 is unknown here"
    );
    assert_eq!(
        newer(&[1, 2, 7, 3]),
        "the metadata was written by a newer jocko: version 3 of TopicRecord is unknown here"
    );
    assert_eq!(
        newer(&[1, 5, 0xff, 0xff, 0xff, 0x7f, 0]),
        "the metadata was written by a newer jocko: record type 268435455 is unknown here"
    );
}

#[test]
fn damage_is_an_error() {
    let check = |bytes: &[u8], expect: &str| {
        let error = decode_entry(bytes).expect_err("damaged").to_string();
        assert!(error.starts_with("the metadata is damaged: "), "{error}");
        assert!(error.contains(expect), "{error}");
    };
    check(&[], "entry.format");
    check(&[1, 200], "frame");
    check(&[1, 3, 7, 0, 0], "TopicRecord");
    let mut entry = encode_entry(&[topic_record("o")]);
    entry[1] += 1;
    entry.push(0);
    check(&entry, "TopicRecord: 1 bytes are left over");
    let mut entry = encode_entry(&[topic_record("o")]);
    let at = entry.iter().position(|byte| *byte == b'o').expect("the name");
    entry[at] = b'/';
    check(&entry, "\"/\" names no topic");
}

#[test]
fn one_entry_holds_many_records() {
    let records = [topic_record("a"), topic_record("b"), topic_record("c")];
    assert_eq!(decode_entry(&encode_entry(&records)).as_deref(), Ok(&records[..]));
}
