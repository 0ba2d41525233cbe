use super::*;
use crate::{ByteSize, Durability};
use std::time::Duration;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_file(text: &str) -> Result<LoadedSettings, String> {
    load(&Layers { file: Some(("jocko.toml", text)), ..Layers::default() })
        .map_err(|errors| errors.to_string())
}

fn load_env(env: &[(&str, &str)]) -> Result<LoadedSettings, String> {
    load(&Layers { env: &pairs(env), ..Layers::default() }).map_err(|errors| errors.to_string())
}

#[test]
fn every_default_is_a_value_and_every_name_is_unique() {
    let mut names = std::collections::BTreeSet::new();
    for definition in DEFINITIONS {
        let mut settings = Settings::default();
        let set = (definition.set)(&mut settings, definition.default);
        assert_eq!(set, Some((definition.get)(&settings)), "{}", definition.key);
        assert_eq!(settings, Settings::default(), "{}", definition.key);
        assert_eq!(check(&settings, definition.key), None);
        assert!(definition.doc.trim().ends_with('.'), "{}", definition.key);
        let key = definition.key.to_owned();
        for name in [key, definition.env_name(), definition.flag_name()] {
            assert!(names.insert(name), "{}", definition.key);
        }
        for alias in definition.aliases.iter().filter(|alias| alias.name != definition.key) {
            assert!(names.insert(alias.name.to_owned()), "{}", alias.name);
        }
    }
}

#[test]
fn the_last_layer_that_speaks_wins() {
    let loaded = load(&Layers {
        file: Some(("jocko.toml", "[topics]\nretention = \"1d\"\npartitions = 3\n")),
        env: &pairs(&[("JOCKO_TOPICS_RETENTION", "2d"), ("HOME", "/")]),
        flags: &pairs(&[("topics.retention", "3d")]),
    })
    .expect("valid");
    assert_eq!(loaded.settings().topics.retention, Some(Duration::from_hours(72)));
    assert_eq!(loaded.settings().topics.partitions.get(), 3);
    let entry = loaded.entry("topics.retention").expect("known");
    assert_eq!(entry.value, "3d");
    assert_eq!(entry.source.to_string(), "flag --topics-retention");
    let overruled: Vec<String> =
        entry.overruled.iter().map(|(value, source)| format!("{value} {source}")).collect();
    assert_eq!(overruled, ["2d variable JOCKO_TOPICS_RETENTION", "1d jocko.toml:2", "7d default"]);
}

#[test]
fn explain_tells_value_origin_and_ways_to_change_it() {
    let loaded = load_file("storage.durability = \"relaxed\"").expect("valid");
    assert_eq!(loaded.settings().storage.durability, Durability::Relaxed);
    let text = loaded.explain("storage.durability").expect("known").to_string();
    assert!(text.starts_with("storage.durability = relaxed\n  from      jocko.toml:1\n"), "{text}");
    assert!(text.contains("overrules fsync (default)"), "{text}");
    assert!(text.contains("JOCKO_STORAGE_DURABILITY or --storage-durability"), "{text}");
    let by_alias = loaded.explain("log.retention.hours").expect("an alias");
    assert_eq!(by_alias.definition.key, "topics.retention");
    let unknown = loaded.explain("topics.retension").expect_err("unknown").to_string();
    assert_eq!(unknown, "unknown setting topics.retension: did you mean topics.retention?");
}

#[test]
fn mistakes_in_a_file_are_told_with_their_line() {
    let check = |text: &str, expect: &str| {
        assert_eq!(load_file(text).expect_err(text), expect, "{text}");
    };
    check(
        "[topics]\n\nretenton = \"1d\"",
        "jocko.toml:3: unknown setting topics.retenton: did you mean topics.retention?",
    );
    check(
        "topics.retention = 7",
        "jocko.toml:1: topics.retention = \"7\" cannot be read: it must be a duration like 7d, \
         12h or 500ms, or none",
    );
    check(
        "log.retention.hours = \"x\"",
        "jocko.toml:1: log.retention.hours = \"x\" cannot be read: it must be a whole number of \
         hours, or -1 for none",
    );
    check(
        "nonsense = 1",
        "jocko.toml:1: unknown setting nonsense: `jocko config show` lists them all",
    );
    check(
        "limits.request = \"3GiB\"",
        "jocko.toml:1: limits.request = \"3GiB\" is not allowed: the largest request Kafka's \
         protocol can carry is 2147483647 bytes",
    );
    check(
        "storage.scrub = 0",
        "jocko.toml:1: storage.scrub = \"0\" is not allowed: copies cannot be read through without \
         a pause; `none` is never",
    );
    check(
        "log.segment.bytes = 100",
        "jocko.toml:1: log.segment.bytes = \"100\" is not allowed: Invalid value 100 for \
         configuration log.segment.bytes: Value must be at least 1048576",
    );
    check(
        "topics.retention = \"1d\"\nlog.retention.hours = 3",
        "jocko.toml:2: log.retention.hours sets topics.retention, which topics.retention \
         (jocko.toml:1) sets too: keep one",
    );
    let error = load_file("a = [").expect_err("not TOML");
    assert!(error.starts_with("jocko.toml:1: "), "{error}");
    assert!(error.contains("not valid TOML"), "{error}");
    let two = load_file("a = 1\nb = 2").expect_err("two mistakes");
    assert_eq!(two.lines().count(), 2);
}

#[test]
fn variables_must_be_known_if_they_are_ours() {
    let error = load_env(&[("JOCKO_TOPIC_RETENTION", "1d")]).expect_err("unknown");
    assert_eq!(
        error,
        "variable JOCKO_TOPIC_RETENTION: unknown setting JOCKO_TOPIC_RETENTION: did you mean \
         JOCKO_TOPICS_RETENTION?"
    );
    load_env(&[("JOCKO_CONFIG", "x"), ("KAFKA_HOME", "/opt"), ("KAFKA_OPTS", "-X")])
        .expect("of others");
}

#[test]
fn kafkas_names_are_understood() {
    let loaded = load_file(
        "log.retention.hours = 24\nlog.dirs = \"/data\"\nbroker.id = 7\n\
         listeners = \"PLAINTEXT://:9092,CONTROLLER://:9093\"\nlog.segment.bytes = 2097152\n\
         log.roll.hours = 2\n",
    )
    .expect("valid");
    let settings = loaded.settings();
    assert_eq!(settings.topics.retention, Some(Duration::from_hours(24)));
    assert_eq!(settings.node.data_dir.to_str(), Some("/data"));
    assert_eq!(settings.listen.kafka.iter().count(), 1);
    assert_eq!(loaded.kafka_entry("log.segment.bytes").map(|e| e.value.as_str()), Some("2097152"));
    assert_eq!(loaded.kafka_entry("log.roll.ms").map(|e| e.value.as_str()), Some("7200000"));
    assert_eq!(
        loaded.notices().iter().find(|notice| notice.contains("hours")).map(String::as_str),
        Some("log.retention.hours (jocko.toml:1) is understood as topics.retention = 1d")
    );
    let loaded = load_env(&[
        ("KAFKA_LOG_RETENTION_MS", "-1"),
        ("KAFKA_LOG_RETENTION_HOURS", "5"),
        ("KAFKA_MESSAGE_MAX_BYTES", "2097152"),
        ("KAFKA_BROKER_ID", "-1"),
    ])
    .expect("valid");
    assert_eq!(loaded.settings().topics.retention, None, "milliseconds are preferred to hours");
    assert_eq!(loaded.settings().limits.message, ByteSize::from_mib(2));
    assert_eq!(loaded.settings().node.id.set(), None);
}

#[test]
fn kafka_values_that_would_mean_less_here_are_refused() {
    let check = |text: &str| {
        let error = load_file(text).expect_err(text);
        assert!(error.contains("cannot be read"), "{error}");
    };
    check("listeners = \"SASL_SSL://:9092\"");
    check("listeners = \"PLAINTEXT://:9092,SSL://:9093\"");
    check("listen.kafka = \"SSL://:9092\"");
    check("log.dirs = \"/a,/b\"");
    check("advertised.listeners = \"PLAINTEXT://a:1,INTERNAL://b:2\"");
    load_file("listeners = \"INTERNAL://:9092\"").expect("a plain listener by another name");
}

#[test]
fn lists_and_numbers_of_toml_are_read_as_text() {
    let loaded = load_file(
        "topics.auto_create = false\n[listen]\nkafka = [\"localhost:9092\", \"10.0.0.1:9092\"]\n\
         http = \"none\"\n[limits]\nmessage = 1_000_000\n",
    )
    .expect("valid");
    assert!(!loaded.settings().topics.auto_create);
    assert_eq!(loaded.settings().listen.kafka.iter().count(), 2);
    assert_eq!(loaded.settings().listen.http, None);
    assert_eq!(loaded.settings().limits.message, ByteSize::new(1_000_000));
}

proptest::proptest! {
    #[test]
    fn no_file_panics(text: String) {
        let _ = load_file(&text);
    }

    #[test]
    fn no_value_panics(at in 0..DEFINITIONS.len(), value: String) {
        let flags = [(DEFINITIONS[at].key.to_owned(), value)];
        if let Ok(loaded) = load(&Layers { flags: &flags, ..Layers::default() }) {
            let entry = loaded.entry(DEFINITIONS[at].key).expect("every key has an entry");
            if DEFINITIONS[at].is_secret {
                proptest::prop_assert!(["", "(hidden)"].contains(&entry.value.as_str()));
                return Ok(());
            }
            let again = [(DEFINITIONS[at].key.to_owned(), entry.value.clone())];
            let reloaded = load(&Layers { flags: &again, ..Layers::default() });
            let reloaded = reloaded.expect("the canonical text is a value");
            proptest::prop_assert_eq!(reloaded.settings(), loaded.settings());
        }
    }
}

#[test]
fn what_takes_effect_at_once_has_a_name_to_be_changed_by() {
    for definition in DEFINITIONS {
        let names = definition.names_at_run_time();
        let is_live = definition.takes == crate::Takes::Live;
        assert_eq!(is_live, !names.is_empty(), "{} {names:?}", definition.key);
    }
}

#[test]
fn our_own_names_are_not_unknown_at_run_time() {
    let settings = LoadedSettings::default();
    let check = |name: &str, value: &str, expect: &str| {
        let layers = crate::kafka::BrokerLayers::of_settings(&settings);
        let said = crate::kafka::check_broker_config(name, value, &layers);
        assert_eq!(said, Err(expect.to_owned()));
    };
    check(
        "storage.max_disk",
        "1%",
        "storage.max_disk cannot change while the broker runs: set it in jocko.toml, by \
         JOCKO_STORAGE_MAX_DISK or by --storage-max-disk, and start the broker again",
    );
    check(
        "topics.retention_size",
        "40%",
        "topics.retention_size is changed at run time by the name jocko.retention.percent or \
         jocko.retention.topic.bytes",
    );
    check("storage.max_disc", "1%", "Unknown broker config name: storage.max_disc");
}
