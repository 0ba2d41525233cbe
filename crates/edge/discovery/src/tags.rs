//! What a broker tells about itself, in few bytes: Serf carries at most 512 of them with every
//! member, and passes them around often.
//!
//! One letter a field; a field that is absent has its default, an unknown one is passed over, so
//! that releases can add some. A Kafka address on the host of the cluster address leaves the host
//! out. Decoding trusts nothing: whoever knows the secret may have said it.

use crate::member::Member;
use jocko_types::{BrokerId, Uuid};

/// Bytes for all tags with their frames.
pub(crate) const TAGS_BYTES_MAX: usize = 480;

/// Bytes that Serf puts around a tag: type and length of the pair, of its key and of its value.
const FRAME_BYTES: usize = 8;

/// The most characters a host or a rack may have.
const NAME_CHARS_MAX: usize = 255;

/// The description of a broker is longer than what can be passed around.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "what this broker tells about itself has {bytes} bytes, and {TAGS_BYTES_MAX} can be passed \
     around: shorten node.rack or the host of listen.advertise"
)]
pub struct MemberTooLong {
    /// How many it has.
    pub bytes: usize,
}

/// The tags of a member, its node id aside.
///
/// # Errors
/// They are too long.
pub(crate) fn encode(member: &Member) -> Result<Vec<(&'static str, String)>, MemberTooLong> {
    let mut tags = vec![("c", member.cluster_address.clone())];
    let kafka = match (host_of(&member.kafka_address), host_of(&member.cluster_address)) {
        (Some((one, port)), Some((other, _))) if one == other => port.to_owned(),
        _ => member.kafka_address.clone(),
    };
    tags.push(("k", kafka));
    tags.push(("v", member.release.clone()));
    if let Some(id) = member.broker_id {
        tags.push(("b", id.get().to_string()));
    }
    if let Some(rack) = member.rack.as_ref().filter(|rack| !rack.is_empty()) {
        tags.push(("r", rack.clone()));
    }
    if let Some(id) = member.cluster_id {
        tags.push(("i", id.to_string()));
    }
    if member.expect != 1 {
        tags.push(("e", member.expect.to_string()));
    }
    let bytes = tags.iter().map(|(key, value)| FRAME_BYTES + key.len() + value.len()).sum();
    if bytes > TAGS_BYTES_MAX { Err(MemberTooLong { bytes }) } else { Ok(tags) }
}

/// The member that tags describe.
///
/// # Errors
/// Why they describe none.
pub(crate) fn decode<'a>(
    node: Uuid,
    tags: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Member, &'static str> {
    let mut member = Member {
        node,
        broker_id: None,
        cluster_address: String::new(),
        kafka_address: String::new(),
        rack: None,
        release: String::new(),
        cluster_id: None,
        expect: 1,
    };
    for (key, value) in tags {
        match key {
            "c" => member.cluster_address = value.to_owned(),
            "k" => member.kafka_address = value.to_owned(),
            "v" if !is_name(value) => return Err("its release is no text"),
            "v" => member.release = value.to_owned(),
            "b" => {
                let id = value.parse().ok().filter(|id: &i32| *id >= 0);
                member.broker_id = Some(BrokerId::new(id.ok_or("its broker id is no number")?));
            }
            "r" if !is_name(value) => return Err("its rack is no text"),
            "r" => member.rack = Some(value.to_owned()),
            "i" => member.cluster_id = Some(value.parse().map_err(|_| "its cluster id is none")?),
            "e" => {
                let expect = value.parse().ok().filter(|expect| *expect >= 1);
                member.expect = expect.ok_or("what it expects is no number")?;
            }
            _ => {}
        }
    }
    let (host, _) = host_of(&member.cluster_address).ok_or("it has no cluster address")?;
    if host_of(&member.kafka_address).is_none() {
        let here = format!("{host}:{}", member.kafka_address);
        member.kafka_address =
            host_of(&here).map(|_| here.clone()).ok_or("its Kafka address is none")?;
    }
    Ok(member)
}

/// Host and port of a usable address.
pub(crate) fn host_of(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let inner = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let is_host = match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= NAME_CHARS_MAX && host.chars().all(legal),
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0) && !port.starts_with('+');
    (is_host && is_port).then_some((host, port))
}

/// Text that is safe to print.
fn is_name(text: &str) -> bool {
    text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn member(number: u8) -> Member {
        Member {
            node: Uuid::from_bytes([number; 16]),
            broker_id: None,
            cluster_address: format!("10.0.0.{number}:9093"),
            kafka_address: format!("10.0.0.{number}:9092"),
            rack: None,
            release: "0.1.0".to_owned(),
            cluster_id: None,
            expect: 3,
        }
    }

    fn round(member: &Member) -> Result<Member, &'static str> {
        let tags = encode(member).expect("fits");
        decode(member.node, tags.iter().map(|(key, value)| (*key, value.as_str())))
    }

    #[test]
    fn members_survive_their_tags() {
        let mut one = member(1);
        assert_eq!(round(&one), Ok(one.clone()));
        one.broker_id = Some(BrokerId::new(i32::MAX));
        one.rack = Some("zone ä".to_owned());
        one.cluster_id = Some(Uuid::from_bytes([0xff; 16]));
        one.kafka_address = "kafka.example.com:1".to_owned();
        one.cluster_address = "[fd00::1]:65535".to_owned();
        one.expect = u32::MAX;
        assert_eq!(round(&one), Ok(one.clone()));
        one.kafka_address = "[fd00::1]:9092".to_owned();
        assert_eq!(round(&one), Ok(one));
    }

    #[test]
    fn a_long_host_is_told_once_and_fits() {
        let mut one = member(1);
        let host = "h".repeat(253);
        one.cluster_address = format!("{host}:9093");
        one.kafka_address = format!("{host}:9092");
        one.cluster_id = Some(one.node);
        one.rack = Some("rack".to_owned());
        assert_eq!(round(&one), Ok(one.clone()));
        one.rack = Some("r".repeat(255));
        let error = encode(&one).expect_err("too long").to_string();
        assert!(error.contains("shorten node.rack"), "{error}");
    }

    #[test]
    fn tags_that_describe_no_broker_are_refused() {
        let check = |tags: &[(&str, &str)], why: &str| {
            let node = Uuid::from_bytes([1; 16]);
            assert_eq!(decode(node, tags.iter().copied()), Err(why), "{tags:?}");
        };
        let (c, k) = (("c", "a:1"), ("k", "2"));
        check(&[], "it has no cluster address");
        check(&[("c", "a"), k], "it has no cluster address");
        check(&[("c", ":9093"), k], "it has no cluster address");
        check(&[("c", "a b:1"), k], "it has no cluster address");
        check(&[("c", "a:0"), k], "it has no cluster address");
        check(&[c], "its Kafka address is none");
        check(&[c, ("k", "b:x")], "its Kafka address is none");
        check(&[c, k, ("b", "-1")], "its broker id is no number");
        check(&[c, k, ("i", "short")], "its cluster id is none");
        check(&[c, k, ("e", "0")], "what it expects is no number");
        check(&[c, k, ("r", "a\u{1b}[2J")], "its rack is no text");
        check(&[c, k, ("v", "\n")], "its release is no text");
        let node = Uuid::from_bytes([1; 16]);
        let newer = decode(node, [c, k, ("z", "new")].into_iter()).expect("unknown tags pass");
        assert_eq!(newer.kafka_address, "a:2");
    }

    proptest! {
        #[test]
        fn no_tags_panic(tags: Vec<(String, String)>) {
            let node = Uuid::from_bytes([1; 16]);
            let _ = decode(node, tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            let letters = ["c", "k", "v", "b", "r", "i", "e"].into_iter();
            let _ = decode(node, letters.zip(tags.iter().map(|(_, value)| value.as_str())));
        }
    }
}
