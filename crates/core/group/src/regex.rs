//! Regular expressions over topic names: linear time, bounded memory, whole names only.
//!
//! Kafka uses RE2J; the `regex` crate has the same ground (no look-around, no back references) and
//! another syntax: [`re2`] translates.

mod re2;

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
        let pattern = re2::translate(pattern)?;
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

/// The reason in one line. What is left to the crate of the syntax is how deep groups may lie in
/// each other, and which scripts there are.
fn describe(error: &regex::Error) -> String {
    match error {
        regex::Error::Syntax(text) if text.contains("nested") => "expression nests too deeply",
        regex::Error::Syntax(_) => "invalid character class range",
        regex::Error::CompiledTooBig(_) | _ => "expression too large",
    }
    .to_owned()
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
            ("t[a&&b]", "t&", true),
            ("t[a-c&&b]", "tc", true),
            (r"t[\d-z]+", "t-5z", true),
            (r"t\055\x31", "t-1", true),
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
            ("a)(b", "unexpected )"),
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
            ("(?x)a #", "invalid or unsupported Perl syntax"),
            (r"\p{Nonesuch}", "invalid character class range"),
            (r"\p{Cn}", "invalid character class range"),
        ] {
            assert_eq!(TopicPattern::compile(pattern).expect_err(pattern), reason, "{pattern}");
        }
        let long = "a".repeat(REGEX_BYTES_MAX + 1);
        assert_eq!(TopicPattern::compile(&long).expect_err("long"), "longer than 16384 bytes");
        let deep = "(".repeat(1000) + &")".repeat(1000);
        let reason = TopicPattern::compile(&deep).expect_err("deep");
        assert_eq!(reason, "expression nests too deeply");
    }
}
