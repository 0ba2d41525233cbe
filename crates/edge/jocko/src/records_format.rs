//! How a record is printed: a small format language, or JSON.

use jocko_records::FetchedRecord;
use jocko_types::Timestamp;
use serde_json::{Value, json};
use std::io::{self, Write};

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Headers,
    Time,
    Millis,
}

impl Format {
    /// Compiles `%t/%p:%o %k=%v\n`; says which sign it does not know.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut signs = text.chars();
        while let Some(sign) = signs.next() {
            match sign {
                '\\' => literal.push(match signs.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some('0') => '\0',
                    Some('\\') | None => '\\',
                    Some(other) => {
                        return Err(format!("\\{other} is not known: \\n \\t \\r \\0 \\\\"));
                    }
                }),
                '%' => {
                    let piece = match signs.next() {
                        Some('%') => {
                            literal.push('%');
                            continue;
                        }
                        Some('t') => Piece::Topic,
                        Some('p') => Piece::Partition,
                        Some('o') => Piece::Offset,
                        Some('k') => Piece::Key,
                        Some('v' | 's') => Piece::Value,
                        Some('h') => Piece::Headers,
                        Some('d') => Piece::Time,
                        Some('T') => Piece::Millis,
                        Some(other) => {
                            return Err(format!(
                                "%{other} is not known: %t %p %o %k %v %h %d %T %%"
                            ));
                        }
                        None => return Err("the format ends with a lone %".to_owned()),
                    };
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(piece);
                }
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }

    /// Prints one record. Keys and values go out byte for byte.
    pub(crate) fn print(
        &self,
        out: &mut impl Write,
        topic: &str,
        partition: i32,
        record: &FetchedRecord<'_>,
    ) -> io::Result<()> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text.as_bytes())?,
                Piece::Topic => out.write_all(topic.as_bytes())?,
                Piece::Partition => write!(out, "{partition}")?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Key => out.write_all(record.key.unwrap_or_default())?,
                Piece::Value => out.write_all(record.value.unwrap_or_default())?,
                Piece::Headers => {
                    let mut first = true;
                    for header in record.headers {
                        if !std::mem::take(&mut first) {
                            out.write_all(b",")?;
                        }
                        out.write_all(header.key)?;
                        out.write_all(b"=")?;
                        out.write_all(header.value.unwrap_or_default())?;
                    }
                }
                Piece::Time => out.write_all(time(record.timestamp).as_bytes())?,
                Piece::Millis => write!(out, "{}", record.timestamp)?,
            }
        }
        Ok(())
    }
}

/// One record as a JSON object. Bytes that are no text are told as such.
pub(crate) fn as_json(topic: &str, partition: i32, record: &FetchedRecord<'_>) -> Value {
    let headers: Vec<Value> = record
        .headers
        .map(|header| json!({ "key": text(Some(header.key)), "value": text(header.value) }))
        .collect();
    json!({
        "topic": topic,
        "partition": partition,
        "offset": record.offset.get(),
        "timestamp": record.timestamp.as_millis(),
        "time": time(record.timestamp),
        "key": text(record.key),
        "value": text(record.value),
        "headers": headers,
    })
}

/// Text as it is, null as null, anything else as `{"hex": "..."}`: nothing is lost.
fn text(bytes: Option<&[u8]>) -> Value {
    match bytes.map(std::str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => text.into(),
        Some(Err(_)) => {
            let hex: String =
                bytes.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn time(timestamp: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(timestamp.as_millis()) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => timestamp.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, as_json};
    use jocko_records::{BatchBuilder, Encoding, Header, Records};
    use jocko_types::{Offset, Timestamp};

    fn check(format: &str, expect: &str) {
        let mut builder = BatchBuilder::new(Encoding::NONE);
        let headers = [Header { key: b"a", value: Some(b"1") }, Header { key: b"a", value: None }];
        builder
            .push(Timestamp::from_millis(1_500), Some(b"key"), Some(b"value"), &headers)
            .expect("fits");
        let batch = builder.build().expect("has a record");
        let mut records = Records::new(&batch, Offset::ZERO, 1 << 20);
        let record = records.next().expect("is sound").expect("is there");
        if format == "json" {
            assert_eq!(as_json("t", 3, &record).to_string(), expect);
            return;
        }
        let mut out = Vec::new();
        let format = Format::parse(format).expect("is a format");
        format.print(&mut out, "t", 3, &record).expect("a Vec takes all");
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn every_sign_prints_its_field() {
        check("%v\\n", "value\n");
        check("%t/%p:%o\\t%k=%v %%", "t/3:0\tkey=value %");
        check("%h", "a=1,a=");
        check("%d %T", "1970-01-01T00:00:01.500Z 1500");
    }

    #[test]
    fn json_keeps_duplicates_and_nulls() {
        check(
            "json",
            r#"{"headers":[{"key":"a","value":"1"},{"key":"a","value":null}],"key":"key","offset":0,"partition":3,"time":"1970-01-01T00:00:01.500Z","timestamp":1500,"topic":"t","value":"value"}"#,
        );
    }

    #[test]
    fn unknown_signs_are_named() {
        assert!(Format::parse("%x").expect_err("unknown").contains("%x"));
        assert!(Format::parse("\\q").expect_err("unknown").contains("\\q"));
        assert!(Format::parse("100%").is_err());
    }
}
