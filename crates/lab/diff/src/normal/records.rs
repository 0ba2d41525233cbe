//! Record batches in normal form.

use super::broker_time;
use jocko_records::{BatchView, Codec, TimestampType, whole_batches};
use serde_json::{Value, json};

/// No batch of a scenario unpacks to more.
const DECOMPRESSED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The batches of base64 text. A batch cut off at the end is left out: a broker may cut where it
/// likes, and a reader must not look there.
pub(super) fn unpacked(value: &Value, producers: &[i64]) -> Value {
    let Some(text) = value.as_str() else { return value.clone() };
    let Some(bytes) = from_base64(text) else { return value.clone() };
    let mut batches = Vec::new();
    for batch in whole_batches(&bytes) {
        batches.push(match batch {
            Ok(batch) => batch_value(&batch, producers),
            Err(error) => Value::from(format!("no batch: {error}")),
        });
    }
    Value::Array(batches)
}

fn batch_value(batch: &BatchView<'_>, producers: &[i64]) -> Value {
    let header = batch.header();
    let is_log_append = header.timestamp_type() == TimestampType::LogAppendTime;
    let time = |time: i64| {
        if is_log_append { broker_time(Value::from(time)) } else { Value::from(time) }
    };
    let producer_id = header.producer_id.get();
    let producer = match producers.iter().position(|known| *known == producer_id) {
        Some(position) => Value::from(format!("producer {}", position + 1)),
        None => Value::from(producer_id),
    };
    json!({
        "baseOffset": header.base_offset.get(),
        "leaderEpoch": header.leader_epoch.get(),
        "attributes": header.attributes.get(),
        "codec": header.codec().map_or_else(|id| format!("codec {id}"), |codec| codec.to_string()),
        "lastOffsetDelta": header.last_offset_delta,
        "baseTimestamp": time(header.base_timestamp.as_millis()),
        "maxTimestamp": time(header.max_timestamp.as_millis()),
        "producerId": producer,
        "producerEpoch": header.producer_epoch.get(),
        "baseSequence": header.base_sequence.get(),
        "count": header.record_count,
        "crc": if batch.check_crc().is_ok() { "right" } else { "wrong" },
        // What a codec makes of the same records is the codec's business.
        "bytes": if header.codec() == Ok(Codec::None) {
            Value::from(header.size_bytes())
        } else {
            Value::from("compressed")
        },
        "records": record_values(batch),
    })
}

fn record_values(batch: &BatchView<'_>) -> Value {
    let mut scratch = Vec::new();
    let records = match batch.records(DECOMPRESSED_BYTES_MAX, &mut scratch) {
        Ok(records) => records,
        Err(error) => return Value::from(format!("no records: {error}")),
    };
    let values = records.map(|record| match record {
        Ok(record) => {
            let headers: Vec<Value> = record
                .headers()
                .map(|header| json!([text(Some(header.key)), text(header.value)]))
                .collect();
            json!({
                "offsetDelta": record.offset_delta,
                "timestampDelta": record.timestamp_delta,
                "key": text(record.key),
                "value": text(record.value),
                "headers": headers,
            })
        }
        Err(error) => Value::from(format!("no record: {error}")),
    });
    values.collect()
}

/// Bytes as readable text; long ones by their beginning and their number.
fn text(bytes: Option<&[u8]>) -> Value {
    const SHOWN_MAX: usize = 64;
    let Some(bytes) = bytes else { return Value::Null };
    let shown = bytes.get(..SHOWN_MAX).unwrap_or(bytes).escape_ascii();
    if bytes.len() <= SHOWN_MAX {
        shown.to_string().into()
    } else {
        format!("{shown}... {} bytes", bytes.len()).into()
    }
}

/// Standard base64 with padding, as the JSON form of messages has it.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(bytes)
}
