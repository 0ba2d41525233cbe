//! The differences that jocko means to have: `declared.toml`, a table with a reason on every line.

use crate::compare::Difference;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};

/// The file, as built in.
const FILE: &str = include_str!("../declared.toml");

/// A declared difference. In the texts, `*` stands for any run of characters, and a field that is
/// left out fits anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The API's name.
    pub api: String,
    /// Versions such as `3` or `0-5`.
    #[serde(default)]
    pub versions: Option<String>,
    /// The scenario's name.
    #[serde(default = "anything")]
    pub scenario: String,
    /// The step's label.
    #[serde(default = "anything")]
    pub step: String,
    /// The path in the normal form of the answer.
    pub path: String,
    /// Kafka's value, as JSON.
    #[serde(default = "anything")]
    pub kafka: String,
    /// Jocko's value, as JSON.
    #[serde(default = "anything")]
    pub jocko: String,
    /// Which runs show it.
    #[serde(default)]
    pub about: About,
    /// Why jocko answers otherwise.
    pub reason: String,
    #[serde(skip)]
    used: AtomicBool,
}

/// Which brokers a run is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// One alone.
    #[default]
    One,
    /// Three that are all there.
    Several,
    /// Three of which one was stopped.
    Away,
}

fn anything() -> String {
    "*".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<Declaration>,
}

/// All declared differences; none by default.
#[derive(Debug, Default)]
pub struct Declared(Vec<Declaration>);

impl Declared {
    /// The declarations of `declared.toml`.
    ///
    /// # Errors
    /// When it is not what it should be.
    pub fn load() -> Result<Self> {
        Self::parse(FILE)
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).context("declared.toml")?;
        for declaration in &file.difference {
            ensure!(!declaration.reason.trim().is_empty(), "no reason: {declaration:?}");
            if let Some(versions) = &declaration.versions {
                range(versions).with_context(|| format!("versions {versions}"))?;
            }
        }
        Ok(Self(file.difference))
    }

    /// Whether a difference is declared; the declaration then counts as used.
    #[must_use]
    pub fn covers(&self, difference: &Difference) -> bool {
        let found = self.0.iter().find(|declaration| declaration.fits(difference));
        if let Some(declaration) = found {
            declaration.used.store(true, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// Every declaration, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Declaration] {
        &self.0
    }

    /// The declarations about such runs that nothing has used.
    pub fn unused(&self, about: About) -> impl Iterator<Item = &Declaration> {
        let is_used = |one: &Declaration| one.used.load(Ordering::Relaxed);
        self.0.iter().filter(move |one| one.about == about && !is_used(one))
    }

    /// The page for `docs/reference/differences.md`.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::from(PAGE_HEAD);
        let mut rows = 0;
        for declaration in &self.0 {
            let Declaration { api, versions, path, kafka, jocko, reason, .. } = declaration;
            let versions = versions.as_deref().unwrap_or("all");
            let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
            page.push_str(&format!(
                "| {api} | {versions} | {} | `{}` | `{}` | `{}` | {} |\n",
                cell(&declaration.case()),
                cell(path),
                cell(kafka),
                cell(jocko),
                cell(reason.trim()),
            ));
            rows += 1;
        }
        page.push_str(&format!("\n{rows} declared differences.\n"));
        page
    }
}

const PAGE_HEAD: &str = "# Where jocko answers otherwise than Kafka

Written by `jocko-diff --page` from `crates/lab/diff/declared.toml`; do not edit. `cargo xtask diff` sends the same
requests to Kafka 4.3.1 and to jocko and fails on any difference that does not stand here; `*` stands for anything.
What is compared, and which values may differ between any two brokers: `docs/internals/diff.md`.

| API | Versions | Case | Field | Kafka | jocko | Why |
|---|---|---|---|---|---|---|
";

impl Declaration {
    /// Scenario and step, as the page tells them: what is not said is left out.
    fn case(&self) -> String {
        let case = match (self.scenario.as_str(), self.step.as_str()) {
            ("*", "*") => "any".into(),
            (scenario, "*") => scenario.into(),
            ("*", step) => format!("`{step}`"),
            (scenario, step) => format!("{scenario}: `{step}`"),
        };
        match self.about {
            About::One => case,
            About::Several => format!("three brokers: {case}"),
            About::Away => format!("two brokers of three: {case}"),
        }
    }

    fn fits(&self, difference: &Difference) -> bool {
        self.api == difference.api.name()
            && self
                .versions
                .as_deref()
                .and_then(range)
                .is_none_or(|(min, max)| min <= difference.version && difference.version <= max)
            && fits(&self.scenario, &difference.scenario)
            && fits(&self.step, &difference.step)
            && fits(&self.path, &difference.path)
            && fits(&self.kafka, &difference.kafka)
            && fits(&self.jocko, &difference.jocko)
    }
}

fn range(text: &str) -> Option<(i16, i16)> {
    match text.split_once('-') {
        Some((min, max)) => Some((min.trim().parse().ok()?, max.trim().parse().ok()?)),
        None => text.trim().parse().ok().map(|version| (version, version)),
    }
}

/// Whether `text` is what `pattern` says.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => {
            let Some(text) = text.strip_prefix(head) else { return false };
            (0..=text.len()).filter_map(|start| text.get(start..)).any(|tail| fits(rest, tail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_protocol::ApiKey;

    fn difference() -> Difference {
        Difference {
            api: ApiKey::Fetch,
            version: 7,
            scenario: "sessions".into(),
            step: "opening".into(),
            path: "responses.0.partitions.1.errorCode".into(),
            kafka: "0".into(),
            jocko: "3".into(),
        }
    }

    #[test]
    fn file_is_well_formed_and_names_apis() {
        let declared = Declared::load().unwrap();
        for declaration in declared.all() {
            let known =
                (0..100).filter_map(ApiKey::from_code).any(|api| api.name() == declaration.api);
            assert!(known, "{}", declaration.api);
        }
    }

    #[test]
    fn page_is_current() {
        let page = include_str!("../../../../docs/reference/differences.md");
        let current = Declared::load().unwrap().page();
        for (line, other) in page.lines().zip(current.lines()) {
            assert_eq!(line, other, "write it with jocko-diff --page");
        }
        assert_eq!(page.len(), current.len(), "write it with jocko-diff --page");
    }

    #[test]
    fn page_tells_which_step_a_declaration_is_about() {
        let text = r#"
            [[difference]]
            api = "Fetch"
            path = "x"
            reason = "so"
            [[difference]]
            api = "Fetch"
            scenario = "sizes"
            step = '"a|b"*'
            path = "x"
            reason = "so"
        "#;
        let page = Declared::parse(text).unwrap().page();
        assert!(page.contains("| Fetch | all | any | `x` | `*` | `*` | so |"), "{page}");
        assert!(page.contains(r#"| sizes: `"a\|b"*` | `x` |"#), "{page}");
        assert!(page.ends_with("\n2 declared differences.\n"), "{page}");
    }

    #[test]
    fn no_two_declarations_say_the_same() {
        let declared = Declared::load().unwrap();
        let page = declared.page();
        let mut rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
        let all = rows.len();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), all, "a row stands twice");
    }

    #[test]
    fn stars_fit_any_run() {
        let table = [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a*b*c", "axxbyyc", true),
            ("ab", "abc", false),
            ("responses.*.errorCode", "responses.0.partitions.1.errorCode", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn declarations_cover_what_they_say_and_know_whether_they_did() {
        let text = r#"
            [[difference]]
            api = "Fetch"
            versions = "4-7"
            path = "responses.*.errorCode"
            jocko = "3"
            reason = "so"
            [[difference]]
            api = "Fetch"
            path = "x"
            reason = "so"
        "#;
        let declared = Declared::parse(text).unwrap();
        assert!(declared.covers(&difference()));
        assert!(!declared.covers(&Difference { version: 8, ..difference() }));
        assert!(!declared.covers(&Difference { jocko: "4".into(), ..difference() }));
        assert!(!declared.covers(&Difference { api: ApiKey::Produce, ..difference() }));
        let unused: Vec<&str> =
            declared.unused(About::One).map(|unused| unused.path.as_str()).collect();
        assert_eq!(unused, ["x"]);
    }

    #[test]
    fn a_reason_is_required() {
        assert!(Declared::parse("[[difference]]\napi='Fetch'\npath='x'\nreason=' '").is_err());
        assert!(Declared::parse("[[difference]]\napi='Fetch'\npath='x'").is_err());
    }
}
