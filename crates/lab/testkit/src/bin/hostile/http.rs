//! Row S9 against the HTTP port, and against a broker that is told to stop: requests that never
//! get whole.

use super::PATIENCE;
use super::target::Target;
use anyhow::{Context, Result, ensure};
use jocko_testkit::{BrokerProcess, Connection, Options, api_versions_request};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// The row that ends a broker, so that it has one of its own.
pub(crate) const STOP: &str = "S9 a stop amid half-sent requests";
/// More than the port has places for; the rest fit into the system's queue before it.
const CONNECTIONS: usize = 150;
const HALF: &[u8] = b"GET /metrics HTTP/1.1\r\nhost:";

/// So many connections that each ask half a question.
fn hold(address: SocketAddr) -> Result<Vec<Connection>> {
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(address, PATIENCE)?;
        connection.send(HALF)?;
        held.push(connection);
    }
    Ok(held)
}

/// Kafka's clients are served meanwhile, and the port's own once there is a place again.
pub(crate) fn half_questions(target: &Target) -> Result<String> {
    let held = hold(target.http)?;
    target.must_serve()?;
    drop(held);
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&target.http, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("no answer after them")?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(format!("{CONNECTIONS} begun, the next answered after {:?}", begun.elapsed()))
}

/// Starts a broker whose grace nobody can wait for, and stops it.
pub(crate) fn stop(options: Options) -> Result<String> {
    let broker = BrokerProcess::start(options.with("--node-shutdown-grace=10m"))?;
    let questions = hold(broker.http_address())?;
    let request = api_versions_request();
    let mut frames = Vec::new();
    for cut in 0..request.len() {
        let mut connection = Connection::open(broker.address(), PATIENCE)?;
        connection.send(request.get(..cut).unwrap_or_default())?;
        frames.push(connection);
    }
    let begun = Instant::now();
    broker.stop()?;
    Ok(format!(
        "{} half questions and {} half frames, stopped cleanly after {:?}",
        questions.len(),
        frames.len(),
        begun.elapsed()
    ))
}
