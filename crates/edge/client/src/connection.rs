//! One socket to one broker: requests go out, answers come back in order.

use crate::error::{ClientError, Result};
use bytes::Bytes;
use jocko_codec::Writer;
use jocko_protocol::frame::{encode_request, frame_size, parse_response};
use jocko_protocol::rpc::{ApiVersionsRequest, ApiVersionsResponse};
use jocko_protocol::{ApiKey, Decode, Request, VersionRange};
use jocko_types::ErrorCode;
use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

const CLIENT_ID: &str = "jocko";
/// The longest answer that is believed.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// A connection to a broker.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    timeout: Duration,
    served: BTreeMap<ApiKey, VersionRange>,
    next_correlation_id: i32,
}

/// An answer as it came; [`Answer::get`] reads it.
#[derive(Debug)]
pub struct Answer<R> {
    frame: Bytes,
    version: i16,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Answer<R> {
    /// A part of the answer that shares its memory. `part` is a slice of what [`Answer::get`] gave.
    pub(crate) fn slice_of(&self, part: &[u8]) -> Bytes {
        if part.is_empty() { Bytes::new() } else { self.frame.slice_ref(part) }
    }

    /// The version the exchange was held in.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The response; large fields are slices of the answer.
    ///
    /// # Errors
    /// When the bytes are not such a response.
    pub fn get(&self) -> Result<R::Response<'_>> {
        let (_, mut body) = parse_response(&self.frame, R::API_KEY, self.version)?;
        Ok(R::Response::decode(&mut body, self.version)?)
    }
}

impl Connection {
    /// Connects and asks what the broker serves. Every call waits at most `timeout`.
    ///
    /// # Errors
    /// When nobody answers there, or what answers is no Kafka broker.
    pub async fn open(address: &str, timeout: Duration) -> Result<Self> {
        Self::open_within(address, timeout, timeout).await
    }

    /// As [`Connection::open`], where all that takes at most `patience`.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_within(address: &str, patience: Duration, timeout: Duration) -> Result<Self> {
        let give_up = Instant::now() + patience;
        let unreachable = |source| ClientError::Unreachable { address: address.to_owned(), source };
        let connected = timeout_at(give_up, TcpStream::connect(address)).await;
        let stream = connected
            .map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let mut connection = Self {
            stream,
            address: address.to_owned(),
            timeout,
            served: BTreeMap::new(),
            next_correlation_id: 0,
        };
        match timeout_at(give_up, connection.learn_versions()).await {
            Ok(learned) => learned.map(|()| connection),
            Err(elapsed) => connection.in_time(Err(elapsed), patience),
        }
    }

    /// The address it was opened with.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The versions of `api` that the broker advertises.
    #[must_use]
    pub fn advertised(&self, api: ApiKey) -> Option<VersionRange> {
        self.served.get(&api).copied()
    }

    /// Everything the broker advertises.
    pub fn all_advertised(&self) -> impl Iterator<Item = (ApiKey, VersionRange)> {
        self.served.iter().map(|(api, versions)| (*api, *versions))
    }

    /// Sends a request in the highest version both sides know, and waits for its answer.
    ///
    /// # Errors
    /// When there is no such version, or the connection breaks, or nothing comes in time.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<Answer<R>> {
        let version = self.common_version::<R>()?;
        self.call_at(request, version, self.timeout).await
    }

    /// As [`Connection::call`], in a version of at most `version_max`, waiting up to `timeout`.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn call_up_to<R: Request>(
        &mut self,
        request: &R,
        version_max: i16,
        timeout: Duration,
    ) -> Result<Answer<R>> {
        let version = self.common_version::<R>()?.min(version_max);
        self.call_at(request, version, timeout).await
    }

    /// As [`Connection::call`], waiting up to `timeout` for a broker that may take its time.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn call_within<R: Request>(
        &mut self,
        request: &R,
        timeout: Duration,
    ) -> Result<Answer<R>> {
        let version = self.common_version::<R>()?;
        self.call_at(request, version, timeout).await
    }

    /// As [`Connection::call`], in exactly this version.
    ///
    /// # Errors
    /// As [`Connection::call`], or when the request cannot be said in that version.
    pub async fn call_at<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<Answer<R>> {
        let (correlation_id, writer) = self.encode(request, version)?;
        let exchange = async {
            self.stream.write_all(writer.bytes()).await?;
            loop {
                let frame = read_frame(&mut self.stream).await?;
                // An answer to a request that was given up on earlier is skipped.
                if frame.first_chunk::<4>() == Some(&correlation_id.to_be_bytes()) {
                    return Ok(frame);
                }
            }
        };
        let ended = tokio::time::timeout(timeout, exchange).await;
        let frame = self.in_time(ended, timeout)?;
        Ok(Answer { frame, version, request: PhantomData })
    }

    /// Sends a request that is not answered: a Produce with acks=0.
    ///
    /// # Errors
    /// When there is no common version, the connection breaks, or the broker does not read.
    pub async fn tell<R: Request>(&mut self, request: &R) -> Result<()> {
        let version = self.common_version::<R>()?;
        let (_, writer) = self.encode(request, version)?;
        let sending = self.stream.write_all(writer.bytes());
        let ended = tokio::time::timeout(self.timeout, sending).await;
        self.in_time(ended, self.timeout)
    }

    /// The request's bytes, and the number by which its answer is known.
    fn encode<R: Request>(&mut self, request: &R, version: i16) -> Result<(i32, Writer)> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let mut writer = Writer::new();
        encode_request(correlation_id, Some(CLIENT_ID), version, request, &mut writer)?;
        Ok((correlation_id, writer))
    }

    fn in_time<T>(
        &self,
        ended: std::result::Result<io::Result<T>, tokio::time::error::Elapsed>,
        waited: Duration,
    ) -> Result<T> {
        let address = || self.address.clone();
        match ended {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) if source.get_ref().is_some_and(|error| error.is::<SpeaksHttp>()) => {
                Err(ClientError::NotKafka { address: address() })
            }
            Ok(Err(source)) => Err(ClientError::Broken { address: address(), source }),
            Err(_) => Err(ClientError::TimedOut { address: address(), waited: rounded(waited) }),
        }
    }

    fn common_version<R: Request>(&self) -> Result<i16> {
        let common = self.served.get(&R::API_KEY).and_then(|served| {
            let highest = served.max.min(R::VERSIONS.max);
            (highest >= served.min.max(R::VERSIONS.min)).then_some(highest)
        });
        common.ok_or_else(|| ClientError::NotServed {
            address: self.address.clone(),
            api: R::API_KEY,
        })
    }

    /// Asks with the version every broker since 2.4 knows; an older one says what it knows.
    async fn learn_versions(&mut self) -> Result<()> {
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID.to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let answer = self.call_at(&request, 3, self.timeout).await?;
        let refused =
            answer.frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
        let answer = if refused { self.call_at(&request, 0, self.timeout).await? } else { answer };
        let response: ApiVersionsResponse = answer.get()?;
        ClientError::check(response.error_code, None)?;
        let known = response.api_keys.iter().filter_map(|line| {
            let api = ApiKey::from_code(line.api_key)?;
            Some((api, VersionRange::new(line.min_version, line.max_version)))
        });
        self.served = known.collect();
        Ok(())
    }
}

/// A time as people say it: what was left of a patience has many digits.
fn rounded(time: Duration) -> Duration {
    let tenths = time.as_millis().div_ceil(100);
    Duration::from_millis(u64::try_from(tenths).unwrap_or(u64::MAX).saturating_mul(100))
}

/// What came begins as every answer of an HTTP server does.
#[derive(Debug, thiserror::Error)]
#[error("the answer is one of HTTP")]
struct SpeaksHttp;

async fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    // As a size it would be beyond any limit.
    if &prefix == b"HTTP" {
        return Err(io::Error::other(SpeaksHttp));
    }
    let size = frame_size(prefix, FRAME_BYTES_MAX).map_err(io::Error::other)?;
    let mut frame = Vec::new();
    // Grows as bytes arrive: a size alone costs nothing.
    let wanted = u64::try_from(size).map_err(io::Error::other)?;
    let read = stream.take(wanted).read_to_end(&mut frame).await?;
    if read < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame.into())
}
