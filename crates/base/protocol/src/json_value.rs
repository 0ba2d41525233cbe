//! The JSON form of values, as Kafka's own converters write it: ids as their text, bytes and
//! records in base64, null for null, and no trace of a field that the version lacks.

use crate::{Decode, DecodeError, Encode, Message, Reader, VersionRange, Writer};
use jocko_codec::{EncodeError, RecordBytes};
use jocko_types::Uuid;
use serde_json::{Map, Number, Value};
use std::fmt;

/// A value that has a JSON form at each version.
pub trait ToJson {
    /// The JSON form at `version`.
    ///
    /// # Errors
    /// If a field cannot be said in this version, as when encoding.
    fn to_json(&self, version: i16) -> Result<Value, EncodeError>;
}

/// A value that can be had from its JSON form.
pub trait FromJson<'a>: Sized {
    /// The value at `version`.
    ///
    /// # Errors
    /// If a field of that version is missing or of the wrong type.
    fn from_json(source: &mut Source<'a, '_>, version: i16) -> Result<Self, JsonError>;
}

/// JSON that is not the form of the message it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// The way to the fault, innermost last.
    pub path: Vec<&'static str>,
    /// What was wrong.
    pub reason: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.reason)
    }
}

impl std::error::Error for JsonError {}

impl From<EncodeError> for JsonError {
    fn from(error: EncodeError) -> Self {
        Self { path: Vec::new(), reason: error.to_string() }
    }
}

impl From<DecodeError> for JsonError {
    fn from(error: DecodeError) -> Self {
        Self { path: Vec::new(), reason: error.to_string() }
    }
}

/// An object being made.
pub(crate) struct Object(Map<String, Value>);

impl Object {
    pub(crate) fn new() -> Self {
        Self(Map::new())
    }

    pub(crate) fn put(
        &mut self,
        key: &str,
        value: &impl ToJson,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.0.insert(key.to_owned(), value.to_json(version)?);
        Ok(())
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

/// JSON being read, with a place for the record bytes in it: those have no slice to borrow from,
/// so a message made from JSON holds them detached, each piece by its position here.
pub struct Source<'a, 'p> {
    value: &'a Value,
    pieces: &'p mut Vec<Vec<u8>>,
}

impl<'a> Source<'a, '_> {
    fn wrong<T>(&self, expected: &str) -> Result<T, JsonError> {
        let reason = format!("expected {expected}, found {}", self.value);
        Err(JsonError { path: Vec::new(), reason })
    }

    fn part<T: FromJson<'a>>(
        &mut self,
        value: &'a Value,
        key: &'static str,
        version: i16,
    ) -> Result<T, JsonError> {
        let mut source = Source { value, pieces: self.pieces };
        T::from_json(&mut source, version).map_err(|mut error| {
            error.path.insert(0, key);
            error
        })
    }

    /// A field that must be there.
    pub(crate) fn get<T: FromJson<'a>>(
        &mut self,
        key: &'static str,
        version: i16,
    ) -> Result<T, JsonError> {
        match self.value.get(key) {
            Some(value) => self.part(value, key, version),
            None => Err(JsonError { path: vec![key], reason: "missing".into() }),
        }
    }

    /// A field that may be left out.
    pub(crate) fn get_or<T: FromJson<'a>>(
        &mut self,
        key: &'static str,
        version: i16,
        default: T,
    ) -> Result<T, JsonError> {
        match self.value.get(key) {
            Some(value) => self.part(value, key, version),
            None => Ok(default),
        }
    }
}

/// The forms of whole numbers.
macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl ToJson for $type {
            fn to_json(&self, _version: i16) -> Result<Value, EncodeError> {
                Ok(Value::from(*self))
            }
        }

        impl FromJson<'_> for $type {
            fn from_json(source: &mut Source<'_, '_>, _version: i16) -> Result<Self, JsonError> {
                match source.value.as_i64().map(Self::try_from) {
                    Some(Ok(number)) => Ok(number),
                    _ => source.wrong(stringify!($type)),
                }
            }
        }
    )*};
}

whole_numbers!(i8, i16, i32, i64, u16, u32);

impl ToJson for f64 {
    fn to_json(&self, _version: i16) -> Result<Value, EncodeError> {
        // JSON has no such number; Kafka's converters put the name in quotes.
        Ok(Number::from_f64(*self).map_or_else(|| Value::String(java_text(*self)), Value::Number))
    }
}

fn java_text(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".into(),
        _ if number > 0.0 => "Infinity".into(),
        _ => "-Infinity".into(),
    }
}

impl FromJson<'_> for f64 {
    fn from_json(source: &mut Source<'_, '_>, _version: i16) -> Result<Self, JsonError> {
        match (source.value.as_f64(), source.value.as_str()) {
            (Some(number), _) => Ok(number),
            (None, Some("NaN")) => Ok(Self::NAN),
            (None, Some("Infinity")) => Ok(Self::INFINITY),
            (None, Some("-Infinity")) => Ok(Self::NEG_INFINITY),
            _ => source.wrong("a number"),
        }
    }
}

impl ToJson for bool {
    fn to_json(&self, _version: i16) -> Result<Value, EncodeError> {
        Ok(Value::Bool(*self))
    }
}

impl FromJson<'_> for bool {
    fn from_json(source: &mut Source<'_, '_>, _version: i16) -> Result<Self, JsonError> {
        source.value.as_bool().map_or_else(|| source.wrong("a truth value"), Ok)
    }
}

impl ToJson for Uuid {
    fn to_json(&self, _version: i16) -> Result<Value, EncodeError> {
        Ok(Value::String(self.to_string()))
    }
}

impl FromJson<'_> for Uuid {
    fn from_json(source: &mut Source<'_, '_>, _version: i16) -> Result<Self, JsonError> {
        match source.value.as_str().map(str::parse) {
            Some(Ok(id)) => Ok(id),
            _ => source.wrong("an id"),
        }
    }
}

impl ToJson for String {
    fn to_json(&self, _version: i16) -> Result<Value, EncodeError> {
        Ok(Value::String(self.clone()))
    }
}

impl FromJson<'_> for String {
    fn from_json(source: &mut Source<'_, '_>, _version: i16) -> Result<Self, JsonError> {
        source.value.as_str().map_or_else(|| source.wrong("text"), |text| Ok(text.to_owned()))
    }
}

impl ToJson for &str {
    fn to_json(&self, _version: i16) -> Result<Value, EncodeError> {
        Ok(Value::String((*self).to_owned()))
    }
}

impl<'a> FromJson<'a> for &'a str {
    fn from_json(source: &mut Source<'a, '_>, _version: i16) -> Result<Self, JsonError> {
        source.value.as_str().map_or_else(|| source.wrong("text"), Ok)
    }
}

impl ToJson for Vec<u8> {
    fn to_json(&self, _version: i16) -> Result<Value, EncodeError> {
        Ok(Value::String(base64(self)))
    }
}

impl FromJson<'_> for Vec<u8> {
    fn from_json(source: &mut Source<'_, '_>, _version: i16) -> Result<Self, JsonError> {
        match source.value.as_str().map(from_base64) {
            Some(Some(bytes)) => Ok(bytes),
            _ => source.wrong("base64"),
        }
    }
}

impl ToJson for RecordBytes<'_> {
    /// Detached records are not here to be shown; their form is null.
    fn to_json(&self, _version: i16) -> Result<Value, EncodeError> {
        Ok(self.inline().map_or(Value::Null, |bytes| Value::String(base64(bytes))))
    }
}

impl FromJson<'_> for RecordBytes<'_> {
    fn from_json(source: &mut Source<'_, '_>, version: i16) -> Result<Self, JsonError> {
        let bytes = Vec::<u8>::from_json(source, version)?;
        let (Ok(piece), Ok(len)) = (source.pieces.len().try_into(), bytes.len().try_into()) else {
            return source.wrong("fewer record bytes");
        };
        source.pieces.push(bytes);
        Ok(Self::Detached { piece, len })
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, version: i16) -> Result<Value, EncodeError> {
        self.as_ref().map_or(Ok(Value::Null), |value| value.to_json(version))
    }
}

impl<'a, T: FromJson<'a>> FromJson<'a> for Option<T> {
    fn from_json(source: &mut Source<'a, '_>, version: i16) -> Result<Self, JsonError> {
        if source.value.is_null() {
            return Ok(None);
        }
        T::from_json(source, version).map(Some)
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, version: i16) -> Result<Value, EncodeError> {
        self.iter()
            .map(|element| element.to_json(version))
            .collect::<Result<_, _>>()
            .map(Value::Array)
    }
}

impl<'a, T: FromJson<'a>> FromJson<'a> for Vec<T> {
    fn from_json(source: &mut Source<'a, '_>, version: i16) -> Result<Self, JsonError> {
        let Some(elements) = source.value.as_array() else { return source.wrong("an array") };
        elements.iter().map(|element| source.part(element, "[]", version)).collect()
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
        let number = number << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let sextet = usize::try_from(number >> (18 - 6 * position) & 0x3f).unwrap_or(0);
            let symbol = BASE64.get(sextet).copied().unwrap_or(b'=');
            text.push(if position <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let symbols = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3 + 2);
    let (mut number, mut bits) = (0_u32, 0);
    for symbol in symbols {
        let sextet = BASE64.iter().position(|candidate| candidate == symbol)?;
        number = number << 6 | u32::try_from(sextet).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(number >> bits & 0xff).ok()?);
            number &= (1 << bits) - 1;
        }
    }
    (number == 0 && bits < 6).then_some(bytes)
}

/// The way of one message between bytes and JSON.
pub struct CorpusEntry {
    /// Its name.
    pub name: &'static str,
    /// Its family, for example `rpc`.
    pub family: &'static str,
    /// Its versions.
    pub versions: VersionRange,
    /// Decodes bytes, which must hold nothing else, and gives the JSON form.
    pub bytes_to_json: fn(&[u8], i16) -> Result<Value, JsonError>,
    /// Encodes the message that a JSON form describes.
    pub json_to_bytes: fn(&Value, i16) -> Result<Vec<u8>, JsonError>,
    /// Decodes bytes, which must hold nothing else, and encodes what they say.
    pub recode: fn(&[u8], i16) -> Result<Vec<u8>, JsonError>,
    /// Decodes bytes and drops what they say; gives how many bytes were left over.
    pub decode: fn(&[u8], i16) -> Result<usize, DecodeError>,
    /// Encodes the message that nobody filled in.
    pub encode_default: fn(i16) -> Result<Vec<u8>, EncodeError>,
}

impl fmt::Debug for CorpusEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.versions)
    }
}

/// A line of the table of all messages.
macro_rules! entry {
    ($family:ident, $message:ident) => {
        CorpusEntry {
            name: stringify!($message),
            family: stringify!($family),
            versions: <$family::$message as $crate::Message>::VERSIONS,
            bytes_to_json: |bytes, version| {
                $crate::json_value::bytes_to_json::<$family::$message>(bytes, version)
            },
            json_to_bytes: |json, version| {
                $crate::json_value::json_to_bytes::<$family::$message>(json, version)
            },
            recode: |bytes, version| {
                $crate::json_value::recode::<$family::$message>(bytes, version)
            },
            decode: |bytes, version| {
                $crate::json_value::decode::<$family::$message>(bytes, version)
            },
            encode_default: |version| {
                $crate::json_value::encode(&$family::$message::default(), version)
            },
        }
    };
}
pub(crate) use entry;

fn decode_whole<'a, M: Decode<'a>>(bytes: &'a [u8], version: i16) -> Result<M, JsonError> {
    let mut r = Reader::new(bytes);
    let message = M::decode(&mut r, version)?;
    if r.remaining() > 0 {
        let reason = format!("{} bytes are left over", r.remaining());
        return Err(JsonError { path: vec![M::NAME], reason });
    }
    Ok(message)
}

pub(crate) fn bytes_to_json<'a, M: Decode<'a> + ToJson>(
    bytes: &'a [u8],
    version: i16,
) -> Result<Value, JsonError> {
    Ok(decode_whole::<M>(bytes, version)?.to_json(version)?)
}

pub(crate) fn recode<'a, M: Decode<'a> + Encode>(
    bytes: &'a [u8],
    version: i16,
) -> Result<Vec<u8>, JsonError> {
    Ok(encode(&decode_whole::<M>(bytes, version)?, version)?)
}

pub(crate) fn decode<'a, M: Decode<'a>>(
    bytes: &'a [u8],
    version: i16,
) -> Result<usize, DecodeError> {
    let mut r = Reader::new(bytes);
    M::decode(&mut r, version)?;
    Ok(r.remaining())
}

pub(crate) fn encode<M: Encode>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    Ok(w.into_parts().0)
}

pub(crate) fn json_to_bytes<'a, M: FromJson<'a> + Encode + Message>(
    json: &'a Value,
    version: i16,
) -> Result<Vec<u8>, JsonError> {
    M::check_encode(version)?;
    let mut pieces = Vec::new();
    let message = M::from_json(&mut Source { value: json, pieces: &mut pieces }, version)?;
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    let mut whole = Vec::new();
    let mut from = 0;
    for hole in w.holes() {
        whole.extend_from_slice(w.bytes().get(from..hole.at).unwrap_or_default());
        let piece = usize::try_from(hole.piece).ok().and_then(|piece| pieces.get(piece));
        whole.extend_from_slice(piece.map(Vec::as_slice).unwrap_or_default());
        from = hole.at;
    }
    whole.extend_from_slice(w.bytes().get(from..).unwrap_or_default());
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_standard() {
        let check = |bytes: &[u8], text: &str| {
            assert_eq!(base64(bytes), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes));
        };
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"foobar", "Zm9vYmFy");
        check(&[0xff, 0xfe], "//4=");
        assert_eq!(from_base64("a"), None);
        assert_eq!(from_base64("ab c"), None);
    }
}
