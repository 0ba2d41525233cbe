//! The rows, each named as in the catalogue.

use super::target::Target;
use super::{GROWTH_MAX_BYTES, MEMORY_MAX_BYTES, PATIENCE, batches, bombs, http, pretenders};
use anyhow::{Context, Result, ensure};
use jocko_testkit::{Connection, frame};
use std::time::Duration;

/// One way of abuse.
pub(crate) struct Row {
    /// Its id in the catalogue, and what it is.
    pub(crate) name: &'static str,
    /// Does it, and says in a few words what happened.
    pub(crate) run: fn(&Target) -> Result<String>,
    /// How much more memory the broker may use meanwhile.
    pub(crate) growth_max_bytes: u64,
    /// How long the broker's descriptors may take to come back.
    pub(crate) settle_max: Duration,
}

const HALF_SENT: u64 = 400;
/// All connections may together hold what `limits.memory` says. What each may hold beyond it
/// (64 KiB, 25 MiB in all here) fits into the quarter of it that frames this large do not get.
const HALF_SENT_GROWTH_MAX_BYTES: u64 = MEMORY_MAX_BYTES + (32 << 20);
/// How often it is done again: what one attack leaves behind must not add up.
const HALF_SENT_ROUNDS: u32 = 5;

const fn row(name: &'static str, run: fn(&Target) -> Result<String>) -> Row {
    Row { name, run, growth_max_bytes: GROWTH_MAX_BYTES, settle_max: PATIENCE }
}

/// Every row, cheapest first.
pub(crate) const ALL: &[Row] = &[
    row("S1 frame lengths", frame_lengths),
    row("S3 array counts", array_counts),
    row("S4 tagged fields", tagged_fields),
    row("S5 malformed values", malformed_values),
    row("S6 unknown requests", unknown_requests),
    row("S7 damaged record batches", batches::damaged_batches),
    row("S7 mutated record batches", batches::mutated_batches),
    row("S8 huge requests", huge_requests),
    Row {
        name: "S9 half-sent frames of 50 MB",
        run: half_sent_frames,
        growth_max_bytes: HALF_SENT_GROWTH_MAX_BYTES,
        settle_max: PATIENCE,
    },
    Row {
        name: "S9 the same, five times over",
        run: half_sent_again,
        growth_max_bytes: HALF_SENT_GROWTH_MAX_BYTES,
        settle_max: PATIENCE,
    },
    row("S9 a byte at a time", a_byte_at_a_time),
    row("S9 answers nobody reads", unread_answers),
    row("S9 half-sent questions on the HTTP port", http::half_questions),
    row("S10 compression bombs", bombs::compression_bombs),
    row("S20 pretended brokers", pretenders::pretenders),
];

const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

fn frame_lengths(target: &Target) -> Result<String> {
    let lengths = [-1, i32::MIN, 0, 1, 7, i32::MAX, 101 << 20];
    for length in lengths {
        target.must_close(&length.to_be_bytes()).with_context(|| format!("length {length}"))?;
    }
    Ok(format!("{} lengths refused", lengths.len()))
}

fn array_counts(target: &Target) -> Result<String> {
    let mut tried = 0;
    let counts: [i32; 5] = [-2, i32::MIN, i32::MAX, 1_000_001, 50_000];
    for count in counts {
        // Metadata v1: topics; CreateTopics v2, Fetch v4, ListOffsets v1, DeleteTopics v1.
        let bodies: [(i16, i16, Vec<u8>); 5] = [
            (METADATA, 1, count.to_be_bytes().into()),
            (19, 2, count.to_be_bytes().into()),
            (1, 4, [&[0; 17][..], &count.to_be_bytes()].concat()),
            (2, 1, [&(-1_i32).to_be_bytes()[..], &count.to_be_bytes()].concat()),
            (20, 1, count.to_be_bytes().into()),
        ];
        for (key, version, body) in bodies {
            // A negative count may mean null and be answered; it must never be believed.
            target
                .answers(&frame(key, version, false, &body))
                .with_context(|| format!("api {key} count {count}"))?;
            tried += 1;
        }
    }
    // Metadata v12: 2^28 topics in five bytes.
    target.must_close(&frame(METADATA, 12, true, &[0xff, 0xff, 0xff, 0xff, 0x0f]))?;
    Ok(format!("{} counts refused", tried + 1))
}

fn tagged_fields(target: &Target) -> Result<String> {
    let api_versions = |tags: &[u8]| {
        let mut bytes = frame(API_VERSIONS, 3, false, tags);
        bytes.extend([2, b'x', 2, b'1', 0]);
        let size = i32::try_from(bytes.len() - 4).unwrap_or(i32::MAX);
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        bytes
    };
    target.must_close(&api_versions(&[0xff, 0xff, 0xff, 0xff, 0x0f]))?;
    // Two fields with the same tag; a field that claims to go past the end.
    target.must_close(&api_versions(&[2, 5, 0, 5, 0]))?;
    target.must_close(&api_versions(&[1, 5, 0x7f]))?;
    // 20 million empty fields: 40 MB of header, with ascending tags and with one tag.
    let count = 20_000_000_u32;
    let mut many = vec![];
    varint(count, &mut many);
    for tag in 0..count.min(4_000_000) {
        varint(tag, &mut many);
        many.push(0);
    }
    target.must_close(&api_versions(&many))?;
    Ok("4 sections refused".into())
}

fn varint(mut value: u32, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn malformed_values(target: &Target) -> Result<String> {
    let bodies: [(i16, i16, bool, &[u8]); 7] = [
        // Metadata v12: an array count in 6 and in 10 bytes.
        (METADATA, 12, true, &[0x82, 0x80, 0x80, 0x80, 0x80, 0x00]),
        (METADATA, 12, true, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        // Metadata v1: a topic name of negative length, and one that is not UTF-8.
        (METADATA, 1, false, &[0, 0, 0, 1, 0x80, 0]),
        (METADATA, 1, false, &[0, 0, 0, 1, 0, 2, 0xc3, 0x28]),
        // A null name where none is allowed.
        (METADATA, 1, false, &[0, 0, 0, 1, 0xff, 0xff]),
        (METADATA, 9, true, &[2, 0, 0, 0, 0, 0, 0]),
        // Nothing at all.
        (METADATA, 9, true, &[]),
    ];
    for (key, version, flexible, body) in bodies {
        target
            .must_close(&frame(key, version, flexible, body))
            .with_context(|| format!("body {body:02x?}"))?;
    }
    Ok(format!("{} bodies refused", bodies.len()))
}

fn unknown_requests(target: &Target) -> Result<String> {
    for (key, version) in [(9_999, 0), (-1, 0), (METADATA, 99), (METADATA, -1), (4, 0), (52, 0)] {
        target
            .must_close(&frame(key, version, false, &[0; 8]))
            .with_context(|| format!("api {key} version {version}"))?;
    }
    let mut connection = Connection::open(target.address, PATIENCE)?;
    connection.send(&frame(API_VERSIONS, 127, true, &[2, b'x', 2, b'1', 0]))?;
    let answer = connection.receive().context("ApiVersions v127 must be answered")?;
    ensure!(answer.get(4..6) == Some(&35_i16.to_be_bytes()), "not UNSUPPORTED_VERSION");
    Ok("6 closed; ApiVersions v127 answered with error 35".into())
}

fn huge_requests(target: &Target) -> Result<String> {
    // Metadata v1 for 100,000 topics that do not exist (auto-creation is per request from v4 on;
    // the names are illegal, so that none is created).
    let mut body = 100_000_i32.to_be_bytes().to_vec();
    for _ in 0..100_000 {
        body.extend([0, 3, b'a', b'/', b'b']);
    }
    target.answers(&frame(METADATA, 1, false, &body)).context("100,000 names")?;
    // CreateTopics v2: ten million partitions, a replication factor of 32,767, odd names.
    let long = "x".repeat(250);
    for (name, partitions, replication) in [
        ("huge", 10_000_000_i32, 1_i16),
        ("huge", i32::MAX, -1),
        ("wide", 1, i16::MAX),
        ("..", 1, 1),
        ("a/b", 1, 1),
        ("nul\0", 1, 1),
        (&long, 1, 1),
    ] {
        let mut body = 1_i32.to_be_bytes().to_vec();
        body.extend((name.len() as u16).to_be_bytes());
        body.extend(name.as_bytes());
        body.extend(partitions.to_be_bytes());
        body.extend(replication.to_be_bytes());
        body.extend([0; 8]);
        body.extend(5_000_i32.to_be_bytes());
        body.push(0);
        let answered = target.answers(&frame(19, 2, false, &body))?;
        ensure!(answered, "CreateTopics {name:?} with {partitions} partitions was not answered");
    }
    Ok("answered with errors".into())
}

fn half_sent_frames(target: &Target) -> Result<String> {
    let chunk = [0; 64 << 10];
    let mut held = Vec::new();
    let mut sent = 0;
    for _ in 0..HALF_SENT {
        // A broker that has enough stops reading: a send that finds no room is given up soon.
        let mut connection = Connection::open(target.address, Duration::from_millis(20))?;
        connection.send(&(50_i32 << 20).to_be_bytes())?;
        for _ in 0..8 {
            if connection.send(&chunk).is_err() {
                break;
            }
            sent += chunk.len();
        }
        held.push(connection);
    }
    target.must_serve()?;
    Ok(format!("{} begun, {} MiB of them taken", held.len(), sent >> 20))
}

fn half_sent_again(target: &Target) -> Result<String> {
    let mut said = String::new();
    for _ in 0..HALF_SENT_ROUNDS {
        said = half_sent_frames(target)?;
    }
    Ok(said)
}

fn a_byte_at_a_time(target: &Target) -> Result<String> {
    let request = jocko_testkit::api_versions_request();
    let mut slow = Vec::new();
    while slow.len() < 1_000 {
        let Ok(connection) = Connection::open(target.address, PATIENCE) else { break };
        slow.push(connection);
    }
    // Bounded by the broker's cap on connections of one address: those refused are closed.
    for byte in request.chunks(1).take(8) {
        for connection in &mut slow {
            let _ = connection.send(byte);
        }
    }
    Ok(format!("{} connections", slow.len()))
}

fn unread_answers(target: &Target) -> Result<String> {
    // Each asks for the metadata of 20,000 illegal names, again and again, and never reads.
    let mut body = 20_000_i32.to_be_bytes().to_vec();
    for _ in 0..20_000 {
        body.extend([0, 3, b'a', b'/', b'b']);
    }
    let request = frame(METADATA, 1, false, &body);
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(target.address, Duration::from_millis(50))?;
        for _ in 0..200 {
            if connection.send(&request).is_err() {
                break;
            }
        }
        held.push(connection);
    }
    target.must_serve()?;
    Ok(format!("{} connections", held.len()))
}
