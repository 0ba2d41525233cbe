//! The golden corpus: bytes and JSON that Kafka's own message classes wrote. See
//! `testdata/golden/README.md`.

use flate2::read::GzDecoder;
use jocko_protocol::json::{CORPUS, CorpusEntry};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Messages and versions that the corpus lacks, with the reason.
const NOT_IN_CORPUS: &[(&str, i16, &str)] = &[];

/// Families that are our own, which Kafka has no classes for.
const OWN_FAMILIES: &[&str] = &["metadata"];

struct Line {
    message: String,
    version: i16,
    kind: String,
    json: Value,
    bytes: Vec<u8>,
}

fn lines() -> Vec<Line> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let file = BufReader::new(GzDecoder::new(File::open(path).expect("readable")));
            lines.extend(file.lines().map(|line| parse(&line.expect("text"))));
        }
    }
    lines
}

fn parse(line: &str) -> Line {
    let mut value: Value = serde_json::from_str(line).expect("one object a line");
    let text = |value: &Value, key: &str| value[key].as_str().expect(key).to_owned();
    let version = value["version"].as_i64().expect("a number");
    Line {
        message: text(&value, "message"),
        version: i16::try_from(version).expect("a version"),
        kind: text(&value, "kind"),
        bytes: from_hex(&text(&value, "hex")),
        json: value["json"].take(),
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex"))
        .collect()
}

fn find(name: &str) -> &'static CorpusEntry {
    // The record schemas of Kafka's coordinators begin with a small letter in one place or another.
    let found = CORPUS.iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("we have no {name}"))
}

/// What is wrong with our reading and writing of one line.
fn fault(line: &Line) -> Option<String> {
    let entry = find(&line.message);
    match (entry.bytes_to_json)(&line.bytes, line.version) {
        Ok(json) if json == line.json => {}
        Ok(json) => return Some(format!("decodes to {json}, not {}", line.json)),
        Err(error) => return Some(format!("does not decode: {error}")),
    }
    match (entry.recode)(&line.bytes, line.version) {
        Ok(bytes) if bytes == line.bytes => {}
        other => return Some(format!("comes back as {other:02x?}")),
    }
    if line.kind == "unknown-tags" {
        // The JSON does not show them.
        return None;
    }
    match (entry.json_to_bytes)(&line.json, line.version) {
        Ok(bytes) if bytes == line.bytes => None,
        other => Some(format!("the JSON encodes to {other:02x?}, not {:02x?}", line.bytes)),
    }
}

#[test]
fn kafka_reads_and_writes_the_same() {
    let mut faults = Vec::new();
    let lines = lines();
    for line in &lines {
        if let Some(fault) = fault(line) {
            faults.push(format!("{} {} ({}): {fault}", line.message, line.version, line.kind));
        }
    }
    let shown = faults.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} of {} lines:\n{shown}", faults.len(), lines.len());
    println!("{} lines agree", lines.len());
}

#[test]
fn default_lines_are_our_defaults() {
    for line in lines().iter().filter(|line| line.kind == "default") {
        let bytes = (find(&line.message).encode_default)(line.version);
        assert_eq!(bytes.as_ref(), Ok(&line.bytes), "{} {}", line.message, line.version);
    }
}

#[test]
fn every_message_and_version_is_in_the_corpus() {
    let seen: BTreeSet<(String, i16)> =
        lines().into_iter().map(|line| (line.message.to_lowercase(), line.version)).collect();
    let mut missing = Vec::new();
    let mut count = 0;
    for entry in CORPUS.iter().filter(|entry| !OWN_FAMILIES.contains(&entry.family)) {
        for version in entry.versions.iter() {
            count += 1;
            let excepted = NOT_IN_CORPUS
                .iter()
                .any(|(name, excepted, _)| *name == entry.name && *excepted == version);
            if !excepted && !seen.contains(&(entry.name.to_lowercase(), version)) {
                missing.push(format!("{} {version}", entry.name));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(seen.len(), count - NOT_IN_CORPUS.len(), "the corpus knows more than we do");
    println!("{} messages, {count} messages x versions", CORPUS.len());
}
