use super::*;
use proptest::prelude::*;

#[test]
fn expressions_become_what_they_mean_in_re2() {
    for (re2, expected) in [
        ("", ""),
        ("a.b", "a.b"),
        ("(a)(?P<n>b)(?<m>c)", "(?:a)(?:b)(?:c)"),
        ("(?i)a(?s-m:b)(?ii-i:c)(?)d", "(?i)a(?s-m:b)(?-i:c)d"),
        ("a*b+?c??d{2}e{2,}f{2,3}?", "a*b+?c??d{2}e{2,}f{2,3}?"),
        ("a{,2}b{x}c{d{01}", r"a\{,2\}b\{x\}c\{d\{01\}"),
        (r"\Qa.b\E+\Q\E\Qc", r"a\.b+c"),
        (r"\Aa\b\{\z", r"\Aa\b\{\z"),
        (r"\b{start}\<", r"\b\{start\}<"),
        (r"\101\x41\x{41}\-\_\n", "AAA\\-_\n"),
        ("[a&&b]", r"[\x{61}\x{26}\x{26}\x{62}]"),
        ("[^]a-]", r"[^\x{5d}\x{61}\x{2d}]"),
        ("[a[b]", r"[\x{61}\x{5b}\x{62}]"),
        ("[+--]", r"[\x{2b}-\x{2d}]"),
        (r"[\d-z]", r"[\d\x{2d}\x{7a}]"),
        ("[[:alpha:][:^digit:]]", "[[:alpha:][:^digit:]]"),
        (r"\pN\p{^Lu}\P{^Greek}\p{Any}", r"\p{N}\P{Lu}\p{sc=Greek}\p{Any}"),
    ] {
        assert_eq!(translate(re2).as_deref(), Ok(expected), "{re2}");
    }
}

#[test]
fn what_is_not_re2_is_refused_in_its_words() {
    for (pattern, reason) in [
        ("*", NOTHING_TO_REPEAT),
        ("a|*", NOTHING_TO_REPEAT),
        ("(?i)*", NOTHING_TO_REPEAT),
        (r"\Q\E*", NOTHING_TO_REPEAT),
        ("{1}", NOTHING_TO_REPEAT),
        ("a**", REPEATED_TWICE),
        ("x*+", REPEATED_TWICE),
        ("x*??", REPEATED_TWICE),
        ("x{2}{3}", REPEATED_TWICE),
        ("a{1001}", BAD_COUNT),
        ("a{2,1}", BAD_COUNT),
        ("a{99999999999}", BAD_COUNT),
        ("(", UNCLOSED_GROUP),
        ("a)(b", UNOPENED_GROUP),
        ("(?", BAD_GROUP),
        ("(?x)a", BAD_GROUP),
        ("(?i-)a", BAD_GROUP),
        ("(?=a)", BAD_GROUP),
        ("(?>a)", BAD_GROUP),
        ("(?<!a)", BAD_NAME),
        ("(?P<n", BAD_NAME),
        ("(?P<n-x>b)", BAD_NAME),
        ("(?P<>b)", BAD_NAME),
        ("(?P<n>a)(?<n>b)", NAME_TWICE),
        (r"a\", TRAILING_BACKSLASH),
        (r"\1", BAD_ESCAPE),
        (r"\8", BAD_ESCAPE),
        (r"\E", BAD_ESCAPE),
        (r"\u0041", BAD_ESCAPE),
        (r"\x4", BAD_ESCAPE),
        (r"\x{}", BAD_ESCAPE),
        (r"\x{110000}", BAD_ESCAPE),
        ("\\x\u{e9}", BAD_ESCAPE),
        ("[", UNCLOSED_CLASS),
        ("[]", UNCLOSED_CLASS),
        ("[a-", UNCLOSED_CLASS),
        ("[z-a]", BAD_CLASS),
        ("[a--b]", BAD_CLASS),
        ("[[:foo:]]", BAD_CLASS),
        ("[[:ALPHA:]]", BAD_CLASS),
        (r"[\Qa\E]", BAD_ESCAPE),
        (r"\p", BAD_CLASS),
        (r"\p{L", BAD_CLASS),
        (r"\p{lu}", BAD_CLASS),
        (r"\p{sc=Greek}", BAD_CLASS),
        (r"\p{IsGreek}", BAD_CLASS),
    ] {
        assert_eq!(translate(pattern), Err(reason), "{pattern}");
    }
}

proptest! {
    #[test]
    fn what_is_translated_can_be_compiled(
        pattern in r"([a-z0-9(){}\[\]\\|*+?^$.,:<>PQExpU&~-]|\PC){0,24}"
    ) {
        let Ok(translated) = translate(&pattern) else { return Ok(()) };
        let built = regex::RegexBuilder::new(&translated).size_limit(1 << 20).build();
        if let Err(regex::Error::Syntax(text)) = built {
            // Which scripts there are, the crate knows.
            let is_script = text.contains("Unicode property");
            prop_assert!(is_script, "{pattern:?} became {translated:?}: {text}");
        }
    }
}
