//! Frames: a size, a header, a body.
//!
//! A request's frame is read in two steps, since the header decides what the body is and whether
//! anyone may send it. A response is written whole into a [`Writer`], with holes for record bytes.

use crate::rpc::{RequestHeader, ResponseHeader};
use crate::{ApiKey, Response};
use jocko_codec::{Decode, DecodeError, DecodeReason, Encode, EncodeError, Reader, Writer};

impl ApiKey {
    /// The version of the header before a request of `version`: 2 has tagged fields (KIP-482).
    #[must_use]
    pub const fn request_header_version(self, version: i16) -> i16 {
        if version >= self.flexible_since() { 2 } else { 1 }
    }

    /// The version of the header before a response of `version`. `ApiVersions` is always answered
    /// with header 0: a client that asks for a version we do not know must be able to read the
    /// answer (KIP-511).
    #[must_use]
    pub const fn response_header_version(self, version: i16) -> i16 {
        match self {
            Self::ApiVersions => 0,
            _ if version >= self.flexible_since() => 1,
            _ => 0,
        }
    }
}

/// The first eight bytes of any request, which have one form in all versions. They can be read
/// even when nothing after them can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPrefix {
    /// The API's number, known or not.
    pub api_key: i16,
    /// The version asked for, known or not.
    pub api_version: i16,
    /// Ties the response to the request.
    pub correlation_id: i32,
}

impl RequestPrefix {
    /// Reads the beginning of a frame (without its size).
    ///
    /// # Errors
    /// If the frame is shorter than that.
    pub fn peek(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(frame);
        Ok(Self {
            api_key: r.i16("RequestHeader.requestApiKey")?,
            api_version: r.i16("RequestHeader.requestApiVersion")?,
            correlation_id: r.i32("RequestHeader.correlationId")?,
        })
    }
}

/// A request whose header was read and whose body was not.
#[derive(Debug, Clone)]
pub struct RequestFrame<'a> {
    /// The API.
    pub api: ApiKey,
    /// The version of the body, which can be decoded.
    pub version: i16,
    /// Ties the response to the request.
    pub correlation_id: i32,
    /// What the client calls itself, up to the first byte that is not UTF-8.
    pub client_id: Option<&'a str>,
    /// Stands at the beginning of the body. Decode it with the request's own type, or with
    /// [`crate::RequestKind::decode`].
    pub body: Reader<'a>,
}

/// Why a request's header could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// The bytes are not a header. The connection cannot go on.
    Malformed(DecodeError),
    /// No such API. The connection cannot go on.
    UnknownApi(RequestPrefix),
    /// The API has no such version. `ApiVersions` is answered all the same, in version 0 and with
    /// `UNSUPPORTED_VERSION` (KIP-511); for any other API the connection cannot go on.
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version asked for, and the correlation id for the answer.
        prefix: RequestPrefix,
    },
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed request header: {error}"),
            Self::UnknownApi(prefix) => write!(f, "no API has number {}", prefix.api_key),
            Self::UnsupportedVersion { api, prefix } => write!(
                f,
                "{} has versions {}, not {}",
                api.name(),
                api.versions(),
                prefix.api_version
            ),
        }
    }
}

impl std::error::Error for HeaderError {}

impl From<DecodeError> for HeaderError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl<'a> RequestFrame<'a> {
    /// Reads the header of a frame (without its size).
    ///
    /// Bytes after the body are ignored, as Kafka ignores them; a caller that wants to know looks
    /// at the reader after decoding.
    ///
    /// # Errors
    /// Says whether the bytes, the API or the version are at fault.
    pub fn parse(frame: &'a [u8]) -> Result<Self, HeaderError> {
        let prefix = RequestPrefix::peek(frame)?;
        let Some(api) = ApiKey::from_code(prefix.api_key) else {
            return Err(HeaderError::UnknownApi(prefix));
        };
        let version = prefix.api_version;
        if !api.versions().contains(version) {
            return Err(HeaderError::UnsupportedVersion { api, prefix });
        }
        let mut body = Reader::new(frame);
        body.take(8, "RequestHeader")?;
        let client_id = client_id(&mut body)?;
        if api.request_header_version(version) >= 2 {
            body.skip_tagged_fields("RequestHeader")?;
        }
        Ok(Self { api, version, correlation_id: prefix.correlation_id, client_id, body })
    }
}

/// The client id, which is never compact, not even in the flexible header. It is a label that any
/// program puts in by hand, and Kafka takes any bytes: what is not UTF-8 ends it, and the request
/// is answered all the same.
fn client_id<'a>(r: &mut Reader<'a>) -> Result<Option<&'a str>, DecodeError> {
    const FIELD: &str = "RequestHeader.clientId";
    let Ok(length) = usize::try_from(r.i16(FIELD)?) else { return Ok(None) };
    let bytes = r.take(length, FIELD)?;
    Ok(bytes.utf8_chunks().next().map_or(Some(""), |chunk| Some(chunk.valid())))
}

/// Appends a whole request frame, its size first: what a client sends.
///
/// # Errors
/// If a field cannot be said in this version. The writer is then as before.
pub fn encode_request<R: crate::Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    version: i16,
    body: &R,
    w: &mut Writer,
) -> Result<(), EncodeError> {
    let api = R::API_KEY;
    let header = RequestHeader {
        request_api_key: api.code(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
        ..RequestHeader::default()
    };
    framed(w, |w| {
        header.encode(w, api.request_header_version(version))?;
        body.encode(w, version)
    })
}

/// Appends a whole response frame, its size first. Detached records become holes.
///
/// # Errors
/// If a field cannot be said in this version. The writer is then as before.
pub fn encode_response<R: Response>(
    correlation_id: i32,
    version: i16,
    body: &R,
    w: &mut Writer,
) -> Result<(), EncodeError> {
    encode_response_as(correlation_id, R::API_KEY, version, body, w)
}

/// As [`encode_response`], for a body that does not say its API: one encoded before, for example.
///
/// # Errors
/// If a field cannot be said in this version. The writer is then as before.
pub fn encode_response_as(
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    body: &impl Encode,
    w: &mut Writer,
) -> Result<(), EncodeError> {
    let header = ResponseHeader { correlation_id, ..ResponseHeader::default() };
    framed(w, |w| {
        header.encode(w, api.response_header_version(version))?;
        body.encode(w, version)
    })
}

/// Writes a size and what `write` writes; nothing at all if that fails.
fn framed(
    w: &mut Writer,
    write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = w.begin_frame();
    let result = write(w).and_then(|()| w.end_frame(start));
    if result.is_err() {
        w.truncate(start);
    }
    result
}

/// Reads the header of a response frame (without its size): the correlation id, and the reader at
/// the beginning of the body.
///
/// # Errors
/// If the bytes are not such a header.
pub fn parse_response(
    frame: &[u8],
    api: ApiKey,
    version: i16,
) -> Result<(i32, Reader<'_>), DecodeError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::decode(&mut r, api.response_header_version(version))?;
    Ok((header.correlation_id, r))
}

/// The size that stands before a frame.
///
/// # Errors
/// If it is negative or more than `frame_bytes_max`. Check it before making room for the frame.
pub fn frame_size(prefix: [u8; 4], frame_bytes_max: usize) -> Result<usize, DecodeError> {
    let size = i32::from_be_bytes(prefix);
    match usize::try_from(size) {
        Ok(size) if size <= frame_bytes_max => Ok(size),
        _ => {
            let reason = DecodeReason::InvalidLength(i64::from(size));
            Err(DecodeError { field: "frame size", offset: 0, reason })
        }
    }
}

#[cfg(test)]
mod tests;
