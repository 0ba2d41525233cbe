use super::*;
use proptest::prelude::*;

fn check<T: SettingValue>(text: &str, expect: Option<&str>) {
    assert_eq!(T::parse(text).map(|value| value.render()).as_deref(), expect, "{text:?}");
}

#[test]
fn durations_need_a_unit() {
    let check = check::<Duration>;
    check("7d", Some("7d"));
    check("168h", Some("7d"));
    check("90m", Some("90m"));
    check("1.5h", Some("90m"));
    check("2w", Some("14d"));
    check("500 ms", Some("500ms"));
    check("1500ms", Some("1500ms"));
    check("0", Some("0ms"));
    check("7", None);
    check("7 days", None);
    check("-1d", None);
    check("", None);
    check("d", None);
    check("1.d", None);
    check("0.0001ms", None);
    check("99999999999999999999d", None);
    check("9223372036854775808ms", None);
}

#[test]
fn sizes_take_units_of_ten_and_of_two() {
    let check = check::<ByteSize>;
    check("1048588", Some("1048588"));
    check("1MiB", Some("1MiB"));
    check("1mib", Some("1MiB"));
    check("1M", Some("1MiB"));
    check("1MB", Some("1000000"));
    check("1.5GiB", Some("1536MiB"));
    check("1_000", Some("1000"));
    check("20 GiB", Some("20GiB"));
    check("0", Some("0"));
    check("0.3B", None);
    check("-1", None);
    check("1PiB", None);
    check("99999999TiB", None);
}

#[test]
fn limits_on_disk_are_sizes_or_shares() {
    let check = check::<Option<SizeOrPercent>>;
    check("none", Some("none"));
    check("40%", Some("40%"));
    check("40 %", Some("40%"));
    check("20GiB", Some("20GiB"));
    check("0%", None);
    check("101%", None);
    check("0", None);
    check("1023KiB", None);
    check("1MiB", Some("1MiB"));
    let half = Percent::new(50).expect("legal");
    assert_eq!(half.of(ByteSize::new(u64::MAX)), ByteSize::new(u64::MAX / 2));
}

#[test]
fn numbers_stay_in_range() {
    check::<Auto<NodeId>>("auto", Some("auto"));
    check::<Auto<NodeId>>("0", Some("0"));
    check::<Auto<NodeId>>("-1", None);
    check::<NonZeroU32>("0", None);
    check::<NonZeroU32>("2147483647", Some("2147483647"));
    check::<NonZeroU32>("2147483648", None);
    check::<Auto<ReplicationFactor>>("3", Some("3"));
    check::<Auto<ReplicationFactor>>("0", None);
    check::<Auto<ReplicationFactor>>("40000", None);
}

#[test]
fn addresses_are_hosts_and_ports() {
    let check = check::<ListenAddresses>;
    check("localhost:9092", Some("localhost:9092"));
    check("PLAINTEXT://0.0.0.0:9092", Some("0.0.0.0:9092"));
    check("[::1]:9092, 10.0.0.1:9092", Some("[::1]:9092,10.0.0.1:9092"));
    check(":9092", Some(":9092"));
    check("*:9092", Some(":9092"));
    check("", None);
    check("localhost", None);
    check("localhost:99999", None);
    check("::1:9092", None);
    check("[nonsense]:9092", None);
    check("a b:9092", None);
    check("a:1,", None);
}

#[test]
fn addresses_know_what_they_bind() {
    let addrs = |text: &str| {
        let list = ListenAddresses::parse(text).expect("legal");
        let all = list.iter().flat_map(HostPort::literal_addrs).map(|addr| addr.to_string());
        all.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(addrs("localhost:9092"), "127.0.0.1:9092 [::1]:9092");
    assert_eq!(addrs(":9092"), "0.0.0.0:9092 [::]:9092");
    assert_eq!(addrs("10.1.2.3:9092"), "10.1.2.3:9092");
    assert_eq!(addrs("kafka.example.com:9092"), "");
    let is_loopback =
        |text: &str| ListenAddresses::parse(text).expect("legal").iter().all(HostPort::is_loopback);
    assert!(is_loopback("localhost:1,127.0.0.1:2,[::1]:3"));
    assert!(!is_loopback("localhost:1,0.0.0.0:2"));
    assert!(!is_loopback("example.com:1"));
}

#[test]
fn what_is_advertised_can_be_connected_to() {
    let check = check::<Advertise>;
    check("auto", Some("auto"));
    check("kafka.example.com", Some("kafka.example.com"));
    check("kafka.example.com:9092", Some("kafka.example.com:9092"));
    check("PLAINTEXT://kafka:9092", Some("kafka:9092"));
    check("2001:db8::1", Some("2001:db8::1"));
    check(":9092", None);
    check("host:0", None);
    check("", None);
    check("a/b", None);
}

proptest! {
    #[test]
    fn sizes_survive_their_text(bytes: u64) {
        prop_assert_eq!(ByteSize::parse(&ByteSize::new(bytes).render()), Some(ByteSize::new(bytes)));
    }

    #[test]
    fn durations_survive_their_text(millis in 0..=i64::MAX.unsigned_abs()) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(Duration::parse(&duration.render()), Some(duration));
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = Duration::parse(&text);
        let _ = ByteSize::parse(&text);
        let _ = Option::<SizeOrPercent>::parse(&text);
        let _ = Advertise::parse(&text);
        if let Some(list) = ListenAddresses::parse(&text) {
            prop_assert_eq!(ListenAddresses::parse(&list.render()), Some(list));
        }
    }
}

#[test]
fn brokers_to_join_are_hosts_with_or_without_ports() {
    let check = check::<JoinAddresses>;
    check("", Some(""));
    check("none", Some(""));
    check("a,b,c", Some("a,b,c"));
    check("node1.example.com:9094, 10.0.0.1", Some("node1.example.com:9094,10.0.0.1"));
    check("::1", Some("::1"));
    check("[::1]:9094,[fd00::1]", Some("[::1]:9094,fd00::1"));
    check("a,,b", None);
    check(":9094", None);
    check("a:0", None);
    check("a:b", None);
    check("a/b", None);
    check(&vec!["a"; 64].join(","), Some(&vec!["a"; 64].join(",")));
    check(&vec!["a"; 65].join(","), None);
}

#[test]
fn peers_are_listened_for_somewhere_or_nowhere() {
    let check = check::<ListenPeers>;
    check("auto", Some("auto"));
    check("none", Some("none"));
    check("*:9093", Some(":9093"));
    check("localhost:9093", Some("localhost:9093"));
    check("9093", None);
    check("", None);
}

#[test]
fn secrets_have_a_length_and_no_text() {
    let check = check::<Secret>;
    check("", Some(""));
    check("fifteen letters", None);
    check("sixteen letters!", Some("(hidden)"));
    check(&"x".repeat(1024), Some("(hidden)"));
    check(&"x".repeat(1025), None);
    assert_eq!(format!("{:?}", Secret::new("sixteen letters!")), "Secret(hidden)");
}
