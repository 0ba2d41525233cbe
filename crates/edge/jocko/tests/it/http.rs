//! The HTTP port.

use crate::harness::{Broker, DEADLINE};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

fn get(broker: &Broker, path: &str) -> (u16, String) {
    get_at(broker.process.http_address(), path)
}

/// Status and body of a GET.
pub(crate) fn get_at(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
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

#[test]
fn groups_are_measured() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "-p", "2"]);
    broker.produce(&["t", "-p", "0"], "a\nb\nc\n");
    broker.ok(&["consume", "t", "-g", "readers", "-o", "start", "-n", "2"]);
    let (status, metrics) = get(&broker, "/metrics");
    assert_eq!(status, 200);
    for line in [
        "jocko_groups 1",
        "jocko_group_members{group=\"readers\"} 0",
        "jocko_group_state{group=\"readers\",state=\"Empty\"} 1",
        "jocko_group_lag_sum{group=\"readers\",topic=\"t\"} 1",
        "jocko_group_lag_max{group=\"readers\",topic=\"t\"} 1",
        "jocko_group_commits_total{group=\"readers\"} ",
        "jocko_group_rebalances_total{group=\"readers\"} ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // The second look knows where partitions ended at the first.
    let (_, metrics) = get(&broker, "/metrics");
    let line = "jocko_group_time_lag_seconds{group=\"readers\",topic=\"t\"} ";
    assert!(metrics.contains(line), "{metrics}");

    let (status, metrics) = get(&broker, "/metrics/kafka_exporter");
    assert_eq!(status, 200);
    for line in [
        "kafka_brokers 1",
        "kafka_broker_info{address=\"127.0.0.1:",
        "kafka_topic_partitions{topic=\"t\"} 2",
        "kafka_topic_partition_current_offset{partition=\"0\",topic=\"t\"} 3",
        "kafka_topic_partition_oldest_offset{partition=\"0\",topic=\"t\"} 0",
        "kafka_topic_partition_leader{partition=\"1\",topic=\"t\"} 1",
        "kafka_topic_partition_leader_is_preferred{partition=\"1\",topic=\"t\"} 1",
        "kafka_topic_partition_replicas{partition=\"1\",topic=\"t\"} 1",
        "kafka_topic_partition_in_sync_replica{partition=\"1\",topic=\"t\"} 1",
        "kafka_topic_partition_under_replicated_partition{partition=\"1\",topic=\"t\"} 0",
        "kafka_consumergroup_members{consumergroup=\"readers\"} 0",
        "kafka_consumergroup_current_offset{consumergroup=\"readers\",partition=\"0\",topic=\"t\"} 2",
        "kafka_consumergroup_lag{consumergroup=\"readers\",partition=\"0\",topic=\"t\"} 1",
        "kafka_consumergroup_lag_sum{consumergroup=\"readers\",topic=\"t\"} 1",
        "kafka_consumergroup_current_offset_sum{consumergroup=\"readers\",topic=\"t\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}
