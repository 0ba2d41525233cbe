//! Offsets of every partition of a data directory, as files: Kafka's two text files for Kafka's
//! tools, and one of our own that carries a checksum and topic ids.

use jocko_records::crc32c;
use jocko_types::{Offset, PartitionIndex, TopicId, TopicName, TopicPartition};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the checkpoints hold of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which topic of that name; zero if it came from Kafka's files, which do not say.
    pub topic_id: TopicId,
    /// Everything below was durable: `Log::recovery_point`.
    pub recovery_point: Offset,
    /// The first offset to serve: `Log::log_start`.
    pub log_start: Offset,
}

/// What the checkpoints hold of a data directory.
pub type Checkpoints = BTreeMap<TopicPartition, Checkpoint>;

/// Kafka's format, version 0: a line with the version, one with the count, one per partition.
pub(crate) fn to_kafka(
    checkpoints: &Checkpoints,
    offset: impl Fn(&Checkpoint) -> Option<Offset>,
) -> String {
    offsets_to_kafka(
        checkpoints.iter().filter_map(|(at, checkpoint)| Some((at, offset(checkpoint)?))),
    )
}

/// The same, of offsets alone.
pub(crate) fn offsets_to_kafka<'a>(
    offsets: impl Iterator<Item = (&'a TopicPartition, Offset)>,
) -> String {
    let lines: Vec<(&TopicPartition, Offset)> = offsets.collect();
    let mut text = format!("0\n{}\n", lines.len());
    for (at, offset) in lines {
        writeln!(text, "{} {} {offset}", at.topic, at.partition).expect("a string takes any text");
    }
    text
}

/// Reads what [`to_kafka`] writes; `None` if it is anything else.
pub(crate) fn from_kafka(text: &str) -> Option<BTreeMap<TopicPartition, Offset>> {
    let mut lines = text.lines();
    if lines.next()? != "0" {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let mut offsets = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let topic = TopicName::new(words.next()?).ok()?;
        let partition = PartitionIndex::new(words.next()?.parse().ok()?);
        let offset = Offset::new(words.next()?.parse().ok()?);
        if words.next().is_some() || offset < Offset::ZERO {
            return None;
        }
        offsets.insert(TopicPartition { topic, partition }, offset);
    }
    (offsets.len() == count).then_some(offsets)
}

/// First line of our own format.
const HEADING: &str = "jocko-checkpoints 1";

/// Our own format: text, so that a person can read it, whose last line is the CRC-32C of all
/// before it.
pub(crate) fn to_text(checkpoints: &Checkpoints, generation: u64) -> String {
    let mut text = format!("{HEADING}\n{generation}\n{}\n", checkpoints.len());
    for (at, checkpoint) in checkpoints {
        let Checkpoint { topic_id, recovery_point, log_start } = checkpoint;
        let TopicPartition { topic, partition } = at;
        writeln!(text, "{topic} {partition} {topic_id} {recovery_point} {log_start}")
            .expect("a string takes any text");
    }
    let crc = crc32c(text.as_bytes());
    writeln!(text, "{crc:08x}").expect("a string takes any text");
    text
}

/// Reads what [`to_text`] writes: the generation and the checkpoints. `None` if it is anything else.
pub(crate) fn from_text(text: &str) -> Option<(u64, Checkpoints)> {
    let (body, crc) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let body = text.get(..body.len() + 1)?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c(body.as_bytes()) || crc.len() != 8 {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != HEADING {
        return None;
    }
    let generation = lines.next()?.parse().ok()?;
    let count: usize = lines.next()?.parse().ok()?;
    let mut checkpoints = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let topic = TopicName::new(words.next()?).ok()?;
        let partition = PartitionIndex::new(words.next()?.parse().ok()?);
        let checkpoint = Checkpoint {
            topic_id: words.next()?.parse().ok()?,
            recovery_point: Offset::new(words.next()?.parse().ok()?),
            log_start: Offset::new(words.next()?.parse().ok()?),
        };
        checkpoints.insert(TopicPartition { topic, partition }, checkpoint);
    }
    (checkpoints.len() == count).then_some((generation, checkpoints))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoints {
        let entry = |topic: &str, partition, recovery_point, log_start| {
            let topic = TopicName::new(topic).unwrap();
            let at = TopicPartition { topic, partition: PartitionIndex::new(partition) };
            let checkpoint = Checkpoint {
                topic_id: TopicId::from_bytes([9; 16]),
                recovery_point: Offset::new(recovery_point),
                log_start: Offset::new(log_start),
            };
            (at, checkpoint)
        };
        [entry("orders", 0, 17, 0), entry("orders", 1, 5, 5), entry("a.b-c", 12, 1 << 40, 3)].into()
    }

    #[test]
    fn kafkas_text_is_kafkas() {
        let text = to_kafka(&sample(), |at| Some(at.recovery_point));
        assert_eq!(text, "0\n3\na.b-c 12 1099511627776\norders 0 17\norders 1 5\n");
        let offsets = from_kafka(&text).unwrap();
        assert_eq!(
            offsets.values().copied().map(Offset::get).collect::<Vec<_>>(),
            [1 << 40, 17, 5]
        );
        assert_eq!(to_kafka(&sample(), |_| None), "0\n0\n");
        for bad in [
            "",
            "1\n0\n",
            "0\n2\norders 0 1\n",
            "0\n1\norders 0\n",
            "0\n1\norders 0 1 2\n",
            "0\n1\nor/ders 0 1\n",
            "0\n1\norders 0 -1\n",
        ] {
            assert_eq!(from_kafka(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn our_text_survives_a_round_trip_and_no_flipped_bit() {
        let text = to_text(&sample(), 7);
        assert_eq!(from_text(&text), Some((7, sample())));
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone().into_bytes();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = std::str::from_utf8(&damaged).ok().and_then(from_text);
            // Upper case digits in the checksum's own line are the same number.
            assert!(read.is_none() || read == Some((7, sample())), "bit {bit}");
        }
        for cut in 0..text.len() {
            assert_eq!(from_text(&text[..cut]), None, "{cut} bytes");
        }
    }
}
