use crate::kafka::check_topic_config;

/// What a real Kafka 4.3.1 answered to `CreateTopics` with each config.
#[test]
fn values_are_checked_as_kafka_does() {
    let ok = |name: &str, value: &str| {
        assert_eq!(check_topic_config(name, value), Ok(true), "{name}={value}");
    };
    let bad = |name: &str, value: &str, why: &str| {
        let expect = format!("Invalid value {value} for configuration {name}: {why}");
        assert_eq!(check_topic_config(name, value), Err(expect), "{name}={value}");
    };
    bad("retention.ms", "abc", "Not a number of type LONG");
    bad("retention.ms", "-2", "Value must be at least -1");
    bad("retention.ms", "1.5", "Not a number of type LONG");
    bad("retention.ms", "", "Not a number of type LONG");
    bad("retention.ms", "9223372036854775808", "Not a number of type LONG");
    ok("retention.ms", " 5 ");
    ok("retention.bytes", "-5");
    let least = "Value must be at least 1048576 or equal to -1: records go by whole \
                 segments, so less than 1 MiB could not be kept";
    for value in ["0", "10", "2000", "1048575", "-2"] {
        bad("jocko.retention.topic.bytes", value, least);
    }
    ok("jocko.retention.topic.bytes", "-1");
    ok("jocko.retention.topic.bytes", "1048576");
    bad("segment.bytes", "100", "Value must be at least 1048576");
    bad("segment.bytes", "3000000000", "Not a number of type INT");
    ok("segment.bytes", "1048576");
    ok("cleanup.policy", "");
    ok("cleanup.policy", "compact,delete");
    ok("cleanup.policy", "compact,compact");
    ok("cleanup.policy", "compact, delete ");
    bad("cleanup.policy", "foo", "String must be one of: compact, delete");
    bad("cleanup.policy", "DELETE", "String must be one of: compact, delete");
    let codecs = "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer";
    bad("compression.type", "foo", codecs);
    bad("compression.type", "GZIP", codecs);
    bad("compression.type", "none", codecs);
    ok("compression.type", "uncompressed");
    bad("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1");
    bad("compression.gzip.level", "10", "Value must be between 1 and 9 or equal to -1");
    ok("compression.gzip.level", "-1");
    bad("compression.lz4.level", "18", "Value must be no more than 17");
    bad("compression.lz4.level", "0", "Value must be at least 1");
    bad("compression.zstd.level", "23", "Value must be no more than 22");
    bad("compression.zstd.level", "-131073", "Value must be at least -131072");
    ok("compression.zstd.level", "-131072");
    bad("max.message.bytes", "-1", "Value must be at least 0");
    ok("max.message.bytes", "0");
    bad("min.insync.replicas", "0", "Value must be at least 1");
    let either = "Expected value to be either true or false";
    bad("unclean.leader.election.enable", "maybe", either);
    bad("preallocate", "1", either);
    ok("unclean.leader.election.enable", "TRUE");
    ok("unclean.leader.election.enable", " true");
    bad("message.timestamp.type", "x", "String must be one of: CreateTime, LogAppendTime");
    bad("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1");
    bad("min.cleanable.dirty.ratio", "-0.1", "Value must be at least 0");
    bad("min.cleanable.dirty.ratio", "abc", "Not a number of type DOUBLE");
    bad("max.compaction.lag.ms", "0", "Value must be at least 1");
    bad("flush.messages", "0", "Value must be at least 1");
    bad("segment.index.bytes", "3", "Value must be at least 4");
    bad("segment.ms", "0", "Value must be at least 1");
    bad("local.retention.ms", "-3", "Value must be at least -2");
    ok("local.retention.bytes", "-1");
    ok("internal.segment.bytes", "1000");
    ok("leader.replication.throttled.replicas", "*");
    ok("leader.replication.throttled.replicas", "0:1,1:2");
    ok("leader.replication.throttled.replicas", "");
}

#[test]
fn odd_refusals_have_kafkas_words_too() {
    let check = |name: &str, value: &str, expect: &str| {
        assert_eq!(check_topic_config(name, value), Err(expect.to_owned()));
    };
    check("cleanup.policy", ",delete", "Configuration 'cleanup.policy' values must not be empty.");
    check(
        "follower.replication.throttled.replicas",
        "*,0:1",
        "Invalid value [*, 0:1] for configuration follower.replication.throttled.replicas: \
         follower.replication.throttled.replicas must be the literal '*' or a list of replicas \
         in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
    );
    check("nonsense", "1", "Unknown topic config name: nonsense");
    check(
        "retention.msx",
        "1",
        "Unknown topic config name: retention.msx (did you mean retention.ms?)",
    );
}

#[test]
fn what_kafka_4_removed_is_accepted_and_forgotten() {
    for name in [
        "message.format.version",
        "message.timestamp.difference.max.ms",
        "message.downconversion.enable",
    ] {
        assert_eq!(check_topic_config(name, "anything"), Ok(false));
    }
}
