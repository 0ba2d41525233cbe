//! Regular expressions over topic names: linear time, bounded memory, whole names only.
//!
//! Kafka uses RE2J; the `regex` crate has the same ground (no look-around, no back references).
//! What RE2 knows and the crate does not, quoting with `\Q...\E`, is translated first: Java's
//! `Pattern.quote` writes it.

use regex::{Regex, RegexBuilder};

/// The longest expression that is looked at, in bytes.
pub(crate) const REGEX_BYTES_MAX: usize = 16 * 1024;

/// The most memory that one compiled expression may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// An expression that is matched against whole topic names.
#[derive(Debug, Clone)]
pub(crate) struct TopicPattern(Regex);

impl TopicPattern {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// What is wrong with it, in one line: its syntax, or that it would be too expensive.
    pub(crate) fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > REGEX_BYTES_MAX {
            return Err(format!("longer than {REGEX_BYTES_MAX} bytes"));
        }
        let pattern = unquote(pattern);
        // First by itself: "a)(b" must not become right by what is put around it.
        build(&pattern)?;
        build(&format!(r"\A(?:{pattern})\z")).map(Self)
    }

    /// Whether `name` as a whole matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

fn build(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(250)
        .build()
        .map_err(|error| describe(&error))
}

/// The reason in one line; the crate draws the place of a syntax error over several.
fn describe(error: &regex::Error) -> String {
    match error {
        regex::Error::Syntax(text) => {
            let last = text.lines().rev().find(|line| !line.trim().is_empty());
            let last = last.unwrap_or("syntax error").trim();
            in_re2_words(last.strip_prefix("error: ").unwrap_or(last)).to_owned()
        }
        regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
        other => other.to_string(),
    }
}

/// The reason as RE2 words it, where it has words for it: people look these up.
fn in_re2_words(reason: &str) -> &str {
    const WORDS: [(&str, &str); 10] = [
        ("unclosed character class", "missing closing ]"),
        ("unclosed group", "missing closing )"),
        ("repetition operator missing", "missing argument to repetition operator"),
        ("invalid repetition count range", "invalid repeat count"),
        ("look-around", "invalid or unsupported Perl syntax"),
        ("backreferences", "invalid escape sequence"),
        ("unrecognized escape sequence", "invalid escape sequence"),
        ("incomplete escape sequence", "trailing backslash at end of expression"),
        ("invalid character class range", "invalid character class range"),
        ("Unicode property not found", "invalid character class range"),
    ];
    let found = WORDS.iter().find(|(ours, _)| reason.starts_with(ours));
    found.map_or(reason, |(_, re2)| re2)
}

/// Replaces what stands between `\Q` and `\E` by the same text with every character escaped.
fn unquote(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        if let Some(quoted) = escape.strip_prefix(r"\Q") {
            let (text, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            plain.push_str(&regex::escape(text));
            rest = after;
        } else {
            // Any other escape is two characters; skipping both keeps `\\Q` what it is.
            let length = 1 + escape.chars().nth(1).map_or(0, char::len_utf8);
            let (two, after) = escape.split_at(length);
            plain.push_str(two);
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        for (pattern, name, expected) in [
            ("foo", "foo", true),
            ("foo", "foobar", false),
            ("foo", "a-foo", false),
            ("foo.*", "foobar", true),
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("", "", true),
            ("", "a", false),
            (".*", "__consumer_offsets", true),
            ("(?i)ORDERS", "orders", true),
            (r"\Qa.b\E", "a.b", true),
            (r"\Qa.b\E", "axb", false),
            (r"\Qa.b\E.*", "a.b-c", true),
            (r"\Qa.b", "a.b", true),
            (r"\\Q", r"\Q", true),
            (r"t\-\d+", "t-12", true),
            ("^foo$", "foo", true),
            (r"(?m)^foo$", "foo", true),
        ] {
            let compiled = TopicPattern::compile(pattern).expect("the pattern is right");
            assert_eq!(compiled.matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn bad_and_expensive_expressions_are_refused_with_a_reason() {
        for (pattern, reason) in [
            ("[", "missing closing ]"),
            ("a)(b", "unopened group"),
            ("(", "missing closing )"),
            ("*", "missing argument to repetition operator"),
            ("a{2,1}", "invalid repeat count"),
            (r"(?=a)", "invalid or unsupported Perl syntax"),
            (r"(a)\1", "invalid escape sequence"),
            (r"\y", "invalid escape sequence"),
            (r"a\", "trailing backslash at end of expression"),
            ("[b-a]", "invalid character class range"),
            (r"\p{Foo}", "invalid character class range"),
            ("(?P<n>a)(?P<n>b)", "duplicate capture group name"),
            ("((a{1,100}){1,100}){1,100}", "expression too large"),
            ("(?x)a #", "missing closing )"),
        ] {
            assert_eq!(TopicPattern::compile(pattern).expect_err(pattern), reason, "{pattern}");
        }
        let long = "a".repeat(REGEX_BYTES_MAX + 1);
        assert_eq!(TopicPattern::compile(&long).expect_err("long"), "longer than 16384 bytes");
        let deep = "(".repeat(1000) + &")".repeat(1000);
        assert!(TopicPattern::compile(&deep).is_err());
    }
}
