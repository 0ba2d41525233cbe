//! Bytes by hand: what no client library would send.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A socket that speaks in raw bytes. Every wait is bounded.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects; reads and writes wait at most `timeout`.
    ///
    /// # Errors
    /// The system's.
    pub fn open(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self(stream))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The system's, for example because the broker closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Reads one answer, without its size.
    ///
    /// # Errors
    /// When the broker closes the connection or nothing comes in time.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut size = [0; 4];
        self.0.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the broker closes the connection within the timeout, whatever it sends before.
    #[must_use]
    pub fn is_closed(&mut self) -> bool {
        let mut rest = [0; 4_096];
        loop {
            match self.0.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    let waiting = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                    return !waiting.contains(&error.kind());
                }
            }
        }
    }
}

/// A frame: size, header version 1 (key, version, correlation id, client id `bad`), body.
#[must_use]
pub fn frame(api_key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(api_key.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(7_i32.to_be_bytes());
    bytes.extend([0, 3]);
    bytes.extend(b"bad");
    if flexible {
        bytes.push(0);
    }
    bytes.extend(body);
    let size = i32::try_from(bytes.len() - 4).unwrap_or(i32::MAX);
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

/// A well-formed ApiVersions request of version 0.
#[must_use]
pub fn api_versions_request() -> Vec<u8> {
    frame(18, 0, false, &[])
}
