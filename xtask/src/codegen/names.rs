//! From Kafka's names to Rust's.

/// `FetchRequest` to `fetch_request`; a run of capitals stays one word.
pub(crate) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        let new_word = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                !before.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase)
            });
        if new_word {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// A field's name in Rust.
pub(crate) fn field(name: &str) -> String {
    let text = snake(name);
    match text.as_str() {
        "type" | "match" | "enum" | "move" | "ref" | "use" | "where" | "fn" | "loop" | "box" => {
            format!("r#{text}")
        }
        _ => text,
    }
}

/// A struct's name in Rust: Kafka's own, with a capital.
pub(crate) fn upper(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// A field's name in JSON: Kafka's own, with a small first letter.
pub(crate) fn lower(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

/// `NOT_LEADER_OR_FOLLOWER` to `NotLeaderOrFollower`.
pub(crate) fn camel(name: &str) -> String {
    name.split('_').map(|word| upper(&word.to_ascii_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rust() {
        let check = |name: &str, expect: &str| assert_eq!(snake(name), expect);
        check("FetchRequest", "fetch_request");
        check("topicId", "topic_id");
        check("KRaftVersionRecord", "k_raft_version_record");
        check("V3AndBelowTopics", "v3_and_below_topics");
        check("Enable2Pc", "enable2_pc");
        check("ISRs", "is_rs");
        assert_eq!(field("Type"), "r#type");
        assert_eq!(field("Types"), "types");
        assert_eq!(camel("NOT_LEADER_OR_FOLLOWER"), "NotLeaderOrFollower");
        assert_eq!(lower("MaxWaitMs"), "maxWaitMs");
        assert_eq!(upper("offsetCommitKey"), "OffsetCommitKey");
    }
}
