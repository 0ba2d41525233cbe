//! The names of the scenarios, and the settings of the broker they run against: sessions that are short, so that a
//! scenario that waits for a killed member takes seconds.

/// The scenarios, in the order of the table. Clients name them the same.
pub(super) const SCENARIOS: [&str; 49] = [
    "create-describe-delete-topic",
    "acks-0",
    "acks-1",
    "acks-all",
    "codec-none",
    "codec-gzip",
    "codec-snappy",
    "codec-lz4",
    "codec-zstd",
    "headers",
    "null-key-value",
    "record-1mb",
    "idempotent",
    "batches-1-to-10000",
    "read-from-start",
    "read-from-end",
    "read-from-offset",
    "read-from-timestamp",
    "long-poll-latency",
    "many-partitions",
    "delete-and-recreate",
    "reconnect",
    "group-read",
    "group-share",
    "group-leave",
    "group-killed",
    "group-static",
    "group-commit-sync",
    "group-commit-async",
    "group-regex",
    "group-restart",
    "group-seek-time",
    "group-cooperative",
    "group-848-read",
    "group-848-share",
    "group-848-leave",
    "group-848-killed",
    "group-848-static",
    "group-848-commit-sync",
    "group-848-commit-async",
    "group-848-regex",
    "group-848-restart",
    "group-848-cooperative",
    "admin-groups",
    "admin-offsets",
    "admin-delete-offsets",
    "admin-configs",
    "admin-partitions",
    "admin-delete-records",
];

/// One of each kind, for a run that has to be short.
pub(super) const SMOKE_SCENARIOS: [&str; 14] = [
    "create-describe-delete-topic",
    "acks-all",
    "codec-snappy",
    "codec-zstd",
    "headers",
    "record-1mb",
    "idempotent",
    "read-from-timestamp",
    "long-poll-latency",
    "reconnect",
    "group-share",
    "group-commit-sync",
    "group-848-share",
    "admin-groups",
];

/// What is set on the broker: the name in jocko's settings, Kafka's name, the value for jocko and for Kafka.
const SETTINGS: [(&str, &str, &str, &str); 5] = [
    ("--groups-session-timeout-min", "group.min.session.timeout.ms", "2s", "2000"),
    ("--groups-consumer-session-timeout", "group.consumer.session.timeout.ms", "5s", "5000"),
    (
        "--groups-consumer-session-timeout-min",
        "group.consumer.min.session.timeout.ms",
        "5s",
        "5000",
    ),
    (
        "--groups-consumer-heartbeat-interval",
        "group.consumer.heartbeat.interval.ms",
        "500ms",
        "500",
    ),
    (
        "--groups-consumer-heartbeat-interval-min",
        "group.consumer.min.heartbeat.interval.ms",
        "500ms",
        "500",
    ),
];

/// As arguments of `jocko start`.
pub(super) fn jocko_settings() -> Vec<String> {
    SETTINGS.iter().flat_map(|&(flag, _, value, _)| [flag.to_owned(), value.to_owned()]).collect()
}

/// As lines of Kafka's `server.properties`.
pub(super) fn kafka_settings() -> Vec<(String, String)> {
    SETTINGS.iter().map(|&(_, name, _, value)| (name.to_owned(), value.to_owned())).collect()
}
