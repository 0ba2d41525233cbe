//! A socket that sends frames as they are given, well-formed or not, and takes frames back.

use anyhow::{Context, Result};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take. Longer than any wait a scenario asks for.
const ANSWER_MAX: Duration = Duration::from_secs(12);
/// The largest answer that is taken.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame, without its size.
    Frame(Vec<u8>),
    /// The broker closed the connection.
    Closed,
    /// Nothing within the time an answer may take.
    Nothing,
}

/// One connection to a broker.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Self(stream))
    }

    /// Sends bytes as they are. A connection that the broker has closed shows when reading.
    pub fn send(&mut self, bytes: &[u8]) {
        // A failure to write is the broker's doing as much as a failure to read, and reading says
        // which it was.
        let _ = self.0.write_all(bytes);
    }

    /// Takes the next frame.
    pub fn receive(&mut self) -> Received {
        match self.read_frame() {
            Ok(frame) => Received::Frame(frame),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Received::Nothing,
                _ => Received::Closed,
            },
        }
    }

    fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut size = [0; 4];
        self.0.read_exact(&mut size)?;
        let size = jocko_protocol::frame::frame_size(size, FRAME_BYTES_MAX)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut frame = vec![0; size];
        self.0.read_exact(&mut frame)?;
        Ok(frame)
    }
}
