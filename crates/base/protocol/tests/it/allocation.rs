//! No bytes make a decoder take more memory than a small multiple of their own length.

use crate::instances::{Fill, Numbers, schemas};
use jocko_protocol::json::{CORPUS, CorpusEntry};

/// The most bytes of memory for each byte of the frame. The worst case is an honest one: an array
/// of empty strings has a byte each on the wire and a `String` each in memory.
const MULTIPLE_MAX: f64 = 48.0;

/// What a frame may take however short it is: the first few unknown tagged fields.
const FLOOR_BYTES: u64 = 256;

/// The most bytes of memory for each byte of a *request*, which any stranger may send.
const REQUEST_MULTIPLE_MAX: f64 = 32.0;

/// The peak of memory while `bytes` are decoded and held.
fn peak(entry: &CorpusEntry, version: i16, bytes: &[u8]) -> u64 {
    let measured = allocation_counter::measure(|| {
        let _ = (entry.decode)(bytes, version);
    });
    measured.bytes_max
}

fn multiple(entry: &CorpusEntry, version: i16, bytes: &[u8]) -> f64 {
    let peak = peak(entry, version, bytes).saturating_sub(FLOOR_BYTES);
    let (peak, length) = (u32::try_from(peak).expect("small"), u32::try_from(bytes.len()));
    f64::from(peak) / f64::from(length.expect("small").max(1))
}

#[derive(Default)]
struct Worst(f64, String);

impl Worst {
    fn see(&mut self, entry: &CorpusEntry, version: i16, bytes: &[u8], what: &str) {
        let multiple = multiple(entry, version, bytes);
        if multiple > self.0 {
            *self =
                Self(multiple, format!("{} {version}, {what}, {} bytes", entry.name, bytes.len()));
        }
    }

    fn report(&self, what: &str, multiple_max: f64) {
        println!("worst allocation multiple, {what}: {:.1} ({})", self.0, self.1);
        assert!(self.0 <= multiple_max, "{} times the length: {}", self.0, self.1);
    }
}

#[test]
fn floods_of_the_smallest_elements_stay_within_the_multiple() {
    let (mut requests, mut all, mut cut) = (Worst::default(), Worst::default(), Worst::default());
    for schema in schemas() {
        let entry = CORPUS.iter().find(|entry| entry.name == schema.name).expect("generated");
        for version in entry.versions.iter() {
            for path in schema.arrays(version) {
                let json = schema.instance(version, &mut Fill::Flood(&path, 250));
                let bytes = (entry.json_to_bytes)(&json, version).expect("valid");
                all.see(entry, version, &bytes, &path.join("."));
                if entry.name.ends_with("Request") {
                    requests.see(entry, version, &bytes, &path.join("."));
                }
                // The count still claims all of them.
                for keep in [bytes.len() / 2, bytes.len() - 1] {
                    cut.see(entry, version, &bytes[..keep], &path.join("."));
                }
            }
        }
    }
    requests.report("floods, requests", REQUEST_MULTIPLE_MAX);
    all.report("floods, any message", MULTIPLE_MAX);
    cut.report("floods cut short", MULTIPLE_MAX);
}

#[test]
fn hostile_counts_stay_within_the_multiple() {
    let mut worst = Worst::default();
    let mut numbers = Numbers(7);
    for schema in schemas() {
        let entry = CORPUS.iter().find(|entry| entry.name == schema.name).expect("generated");
        for version in entry.versions.iter() {
            for _ in 0..2 {
                let json = schema.instance(version, &mut Fill::Random(&mut numbers));
                let mut bytes = (entry.json_to_bytes)(&json, version).expect("valid");
                bytes.extend([0; 64]);
                for at in 0..bytes.len().min(120) {
                    let kept: Vec<u8> = bytes[at..].iter().take(5).copied().collect();
                    for claim in [&[0x7f; 4][..], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0, 0, 0, 60]] {
                        for (byte, claimed) in bytes[at..].iter_mut().zip(claim) {
                            *byte = *claimed;
                        }
                        worst.see(entry, version, &bytes, "a hostile count");
                        for (byte, kept) in bytes[at..].iter_mut().zip(&kept) {
                            *byte = *kept;
                        }
                    }
                }
            }
        }
    }
    worst.report("hostile counts", MULTIPLE_MAX);
}

#[test]
fn floods_of_unknown_tagged_fields_stay_within_the_multiple() {
    let mut worst = Worst::default();
    for entry in CORPUS {
        for version in entry.versions.iter() {
            let mut bytes = (entry.encode_default)(version).expect("valid");
            if bytes.pop() != Some(0) {
                continue;
            }
            // Where the message is flexible, its last byte is the count of tagged fields.
            // One more than a power of two: a vector that doubles has just doubled.
            bytes.extend([0x81, 0x08]);
            for tag in 128..1153_u32 {
                bytes.extend([(tag & 0x7f) as u8 | 0x80, (tag >> 7) as u8, 0]);
            }
            worst.see(entry, version, &bytes, "unknown tags");
        }
    }
    worst.report("unknown tagged fields", MULTIPLE_MAX);
    assert!(worst.0 > 1.0, "the flood was refused everywhere");
}

#[test]
fn a_decoder_takes_nothing_for_a_count_that_cannot_be() {
    // Five bytes that once brought a broker down: a Metadata request for 4,294,967,294 topics.
    let entry = CORPUS.iter().find(|entry| entry.name == "MetadataRequest").expect("generated");
    assert_eq!(peak(entry, 12, &[0xff, 0xff, 0xff, 0xff, 0x0f]), 0);
}
