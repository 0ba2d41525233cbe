//! What a broker's metrics page says.

use crate::workload::PATIENCE;
use anyhow::{Context, Result, ensure};
use jocko_testkit::BrokerProcess;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The value of a metric without labels.
pub(crate) fn metric(broker: &BrokerProcess, name: &str) -> Result<f64> {
    let mut stream = TcpStream::connect_timeout(&broker.http_address(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    ensure!(page.starts_with("HTTP/1.1 200"), "the metrics page is answered {:.40}", page);
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.with_context(|| format!("no metric {name}"))?;
    value.trim().parse().with_context(|| format!("{name} is {value}"))
}
