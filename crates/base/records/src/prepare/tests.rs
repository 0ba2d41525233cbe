//! The table `testdata/kafka-4.3.1-produce.txt` holds what a real Kafka answered to each batch:
//! name | topic | produce version | error code | record indexes | message sent? | its time |
//! the bytes sent | the bytes it stored.

use super::*;
use crate::records::Records;
use jocko_types::{ErrorCode, LeaderEpoch};

const ANSWERS: &str = include_str!("../../testdata/kafka-4.3.1-produce.txt");

/// Where we differ on purpose, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("length 14", "Kafka reads past the end of the batch and answers UNKNOWN_SERVER_ERROR"),
    ("transactional without id", "the handler decides: a transactional id is missing"),
    ("transactional bit to gzip", "the handler decides: a transactional id is missing"),
    ("pid epoch -5", "the producer state decides"),
    ("gzip deltas", "Kafka means to renumber the records but fails, UNKNOWN_SERVER_ERROR"),
    ("snappy raw deltas", "the same"),
    ("snappy xerial deltas", "the same"),
    ("lz4 deltas", "the same"),
    ("gzip size", "Kafka stores a record whose length lies, and no consumer can read it"),
    ("snappy raw size", "the same"),
    ("snappy xerial size", "the same"),
    ("lz4 size", "the same"),
    ("gzip large record size lie", "the same"),
    ("record varint too long", "Kafka does not expect this and answers UNKNOWN_SERVER_ERROR"),
];

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

fn rules_of(topic: &str, version: i32, now: i64) -> AppendRules {
    let mut rules = AppendRules::defaults(Timestamp::from_millis(now));
    rules.zstd_allowed = version >= 7;
    let target = |codec| Compression::Target(Encoding::new(codec));
    match topic {
        "create" => {}
        "stamp" => rules.timestamp_type = TimestampType::LogAppendTime,
        "compact" => rules.compacted = true,
        "small" => rules.max_message_bytes = 300,
        "gzip" => rules.compression = target(Codec::Gzip),
        "zstd" => rules.compression = target(Codec::Zstd),
        "plain" => rules.compression = target(Codec::None),
        "bounds" => {
            rules.timestamp_before_max_ms = 100_000;
            rules.timestamp_after_max_ms = 100_000;
        }
        "stampgzip" => {
            rules.timestamp_type = TimestampType::LogAppendTime;
            rules.compression = target(Codec::Gzip);
        }
        "smallgzip" => {
            rules.max_message_bytes = 300;
            rules.compression = target(Codec::None);
        }
        other => panic!("topic {other}"),
    }
    rules
}

#[test]
fn answers_are_those_of_kafka() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for line in ANSWERS.lines() {
        let [name, topic, version, code, indexes, words, now, sent, stored] =
            line.split('|').collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        if DIFFERENCES.iter().any(|(prefix, _)| name.starts_with(prefix)) {
            continue;
        }
        compared += 1;
        let (sent, stored) = (bytes_of(sent), bytes_of(stored));
        let mut rules = rules_of(topic, version.parse().unwrap(), now.parse().unwrap());
        if rules.timestamp_type == TimestampType::LogAppendTime
            && let Some(header) = BatchHeader::read(&stored)
        {
            rules.now = header.max_timestamp;
        }
        let code = ErrorCode::from_code(code.parse().unwrap()).unwrap();
        match prepare(&sent, &rules) {
            Ok(_) if code != ErrorCode::None => wrong.push(format!("{name}: wanted {code:?}")),
            Ok(batch) => compare_stored(name, &batch, &stored, &mut wrong),
            Err(error) => {
                let records: Vec<String> =
                    error.record_errors().iter().map(|error| error.index.to_string()).collect();
                if error.code() != code || records.join(",") != indexes {
                    wrong.push(format!("{name}: wanted {code:?}, got {:?} {error}", error.code()));
                }
                if !indexes.is_empty() && error.fault().is_told_in_words() != (words == "words") {
                    wrong.push(format!("{name}: words"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared > 190, "only {compared} answers compared");
}

/// What we would write must be, byte for byte, what Kafka wrote; where records are packed anew,
/// the records must be the same and so must the header but for sizes and base timestamp.
fn compare_stored(name: &str, batch: &PreparedBatch<'_>, stored: &[u8], wrong: &mut Vec<String>) {
    let theirs = BatchHeader::read(stored).unwrap();
    let mut ours = batch.bytes.to_vec();
    crate::patch_assigned(&mut ours, theirs.base_offset, theirs.leader_epoch).unwrap();
    if batch.rewrite != Rewrite::Records {
        if ours != stored {
            wrong.push(format!("{name}: stored bytes differ"));
        }
        return;
    }
    let header = BatchHeader::read(&ours).unwrap();
    let like = BatchHeader {
        length_bytes: header.length_bytes,
        crc: header.crc,
        base_timestamp: header.base_timestamp,
        // Kafka drops the bits it does not know when it packs a batch anew.
        attributes: crate::Attributes::new(
            theirs.attributes.get() | (header.attributes.get() & 0xff80),
        ),
        ..theirs
    };
    if like != header {
        wrong.push(format!("{name}: stored headers differ: {header:?} {theirs:?}"));
    }
    let read = |bytes: &[u8]| {
        let mut seen = Vec::new();
        let mut records = Records::new(bytes, Offset::ZERO, 1 << 20);
        while let Some(record) = records.next().unwrap() {
            let headers = record.headers.count();
            seen.push((
                record.timestamp,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                headers,
            ));
        }
        seen
    };
    if read(&ours) != read(stored) {
        wrong.push(format!("{name}: stored records differ"));
    }
}

#[test]
fn every_declared_difference_is_one() {
    for (prefix, _) in DIFFERENCES {
        assert!(
            ANSWERS.lines().any(|line| line.starts_with(prefix)),
            "{prefix} is not in the table"
        );
    }
    assert_eq!(LeaderEpoch::NONE.get(), -1);
}
