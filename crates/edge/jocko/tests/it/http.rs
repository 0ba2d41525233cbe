//! The HTTP port.

use crate::harness::{Broker, DEADLINE};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Status and body of a GET.
fn get(broker: &Broker, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(broker.process.http_address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: jocko\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

#[test]
fn health_and_metrics_answer() {
    let broker = Broker::start();
    broker.produce(&["t"], "a\nb\n");
    assert_eq!(get(&broker, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(&broker, "/readyz"), (200, "ok\n".to_owned()));
    assert_eq!(get(&broker, "/nothing").0, 404);
    let (status, metrics) = get(&broker, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.trim_end().ends_with("# EOF"), "OpenMetrics ends so: {metrics}");
    let version = format!("jocko_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(metrics.contains(&version), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(line.starts_with("jocko_"), "{line}");
    }
}
