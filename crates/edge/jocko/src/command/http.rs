//! One question over a broker's HTTP port, for what Kafka's protocol has no words for.

use crate::failure::{Failure, Result};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer is longer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks and waits for the whole answer. What asks is named in a header that web pages cannot send.
pub(super) async fn ask(
    method: &str,
    address: &str,
    path: &str,
    timeout: Duration,
) -> Result<Answer> {
    let asked = tokio::time::timeout(timeout, exchange(method, address, path)).await;
    let answer = asked.map_err(|_| {
        Failure::unreachable(format!("{address} did not answer within {timeout:?}"))
            .cure("a longer --timeout, or look at the broker's log")
    })?;
    let bytes = answer.map_err(|error| {
        Failure::unreachable(format!("cannot reach {address}: {error}"))
            .cure("--http HOST:PORT, where the broker's listen.http says; none there is no answer")
    })?;
    parse(&bytes).ok_or_else(|| {
        Failure::new(format!("{address} does not answer in HTTP"))
            .cure("the broker's other port: --http localhost:9095")
    })
}

async fn exchange(method: &str, address: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\
         X-Jocko: cli\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Status and body; answers of this server are never in chunks when the connection ends with them.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (protocol, rest) = head.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (protocol.starts_with("HTTP/1.") && !is_chunked)
        .then(|| Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_others_are_not() {
        let parsed = parse(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nnot yet\n").unwrap();
        assert_eq!(parsed, Answer { status: 503, body: "not yet\n".to_owned() });
        for bad in [
            &b""[..],
            b"\x00\x00\x00\x05\r\n\r\n",
            b"HTTP/1.1 x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(parse(bad), None);
        }
    }
}
