//! What a sweep found, for people.

use crate::compare::Difference;
use crate::declared::Declared;
use crate::run::Step;
use crate::scenario::Scenario;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Values longer than this are cut in print.
const SHOWN_MAX: usize = 300;
/// So many scenarios are named for the time they take.
const SLOWEST_SHOWN: usize = 10;

/// A difference without its version, so that the same one at many versions is told once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    title: String,
    step: String,
    api: &'static str,
    path: String,
    kafka: String,
    jocko: String,
}

/// Counts and findings of a sweep.
#[derive(Debug, Default)]
pub struct Report {
    runs: usize,
    requests: usize,
    /// How many of them there were of each API.
    by_api: BTreeMap<&'static str, usize>,
    declared: usize,
    findings: BTreeMap<Finding, BTreeSet<i16>>,
    failures: Vec<String>,
    /// How long the runs of each scenario have taken together.
    took: BTreeMap<String, Duration>,
}

impl Report {
    /// Takes in a compared run.
    pub(crate) fn add(
        &mut self,
        scenario: &Scenario,
        version: i16,
        steps: &[Step],
        differences: Vec<Difference>,
        declared: &Declared,
    ) {
        self.runs += 1;
        self.requests += steps.len();
        for step in steps {
            *self.by_api.entry(step.api.name()).or_default() += 1;
        }
        for difference in differences {
            if declared.covers(&difference) {
                self.declared += 1;
                continue;
            }
            let finding = Finding {
                title: scenario.title(),
                step: difference.step,
                api: difference.api.name(),
                path: difference.path,
                kafka: difference.kafka,
                jocko: difference.jocko,
            };
            self.findings.entry(finding).or_default().insert(version);
        }
    }

    /// Takes in a play that ended early.
    pub(crate) fn fail(&mut self, broker: &str, scenario: &Scenario, version: i16, why: &str) {
        let title = scenario.title();
        self.failures.push(format!("{title} v{version} stopped at {broker}: {why}"));
    }

    /// Takes in how long a run has taken.
    pub(crate) fn time(&mut self, scenario: &Scenario, took: Duration) {
        *self.took.entry(scenario.title()).or_default() += took;
    }

    /// The scenarios that took longest, the slowest first.
    fn slowest(&self) -> Vec<(&str, Duration)> {
        let mut all: Vec<(&str, Duration)> =
            self.took.iter().map(|(title, took)| (title.as_str(), *took)).collect();
        all.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        all.truncate(SLOWEST_SHOWN);
        all
    }

    /// Whether every answer was equal or declared, and every play went to its end.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.failures.is_empty()
    }

    /// How many requests were sent to each broker and compared.
    #[must_use]
    pub const fn requests(&self) -> usize {
        self.requests
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for (finding, versions) in &self.findings {
            let place = (&finding.title, &finding.step);
            if last != Some(place) {
                writeln!(f, "\n{} / {}", finding.title, finding.step)?;
                last = Some(place);
            }
            let versions: Vec<i16> = versions.iter().copied().collect();
            let field = if finding.path.is_empty() { "(the answer)" } else { &finding.path };
            writeln!(f, "  {} v{}: {field}", finding.api, ranges(&versions))?;
            writeln!(f, "    kafka {}", shown(&finding.kafka))?;
            writeln!(f, "    jocko {}", shown(&finding.jocko))?;
        }
        for failure in &self.failures {
            writeln!(f, "\n{failure}")?;
        }
        let by_api = self.by_api.iter().map(|(api, requests)| format!("{api} {requests}"));
        writeln!(f, "\nrequests: {}", by_api.collect::<Vec<_>>().join(", "))?;
        let slowest = self.slowest().into_iter();
        let slowest = slowest.map(|(title, took)| format!("{title} {:.1} s", took.as_secs_f64()));
        writeln!(f, "slowest: {}", slowest.collect::<Vec<_>>().join(", "))?;
        write!(
            f,
            "\n{} requests compared in {} runs: {} undeclared differences, {} declared, {} plays \
             that stopped",
            self.requests,
            self.runs,
            self.findings.len(),
            self.declared,
            self.failures.len()
        )
    }
}

fn shown(value: &str) -> String {
    match value {
        "" => "(nothing)".into(),
        _ if value.chars().count() > SHOWN_MAX => {
            value.chars().take(SHOWN_MAX).chain("...".chars()).collect()
        }
        _ => value.into(),
    }
}

/// Sorted numbers as `3-7, 9`.
fn ranges(versions: &[i16]) -> String {
    let mut text = Vec::new();
    for run in versions.chunk_by(|one, next| one + 1 == *next) {
        text.push(match run {
            [min, .., max] => format!("{min}-{max}"),
            _ => run.iter().map(ToString::to_string).collect(),
        });
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_protocol::ApiKey;
    use serde_json::Value;

    #[test]
    fn versions_are_told_in_ranges() {
        for (versions, expected) in
            [(&[3][..], "3"), (&[3, 4], "3-4"), (&[1, 3, 4, 5, 9], "1, 3-5, 9"), (&[], "")]
        {
            assert_eq!(ranges(versions), expected);
        }
    }

    #[test]
    fn one_difference_at_many_versions_is_one_finding() {
        let scenario = Scenario::new(ApiKey::Fetch, "s", |_| Ok(()));
        let difference = |version| Difference {
            api: ApiKey::Fetch,
            version,
            scenario: "s".into(),
            step: "l".into(),
            path: "a.b".into(),
            kafka: "1".into(),
            jocko: String::new(),
        };
        let step = |api| Step { label: "l".into(), api, version: 4, answer: Value::Null };
        let steps = [step(ApiKey::Fetch), step(ApiKey::Metadata), step(ApiKey::Fetch)];
        let declared = Declared::load().unwrap();
        let mut report = Report::default();
        assert!(report.is_clean());
        for version in [4, 5] {
            report.add(&scenario, version, &steps, vec![difference(version)], &declared);
        }
        for (millis, name) in [(100, "s"), (200, "t"), (140, "s")] {
            let scenario = Scenario::new(ApiKey::Fetch, name, |_| Ok(()));
            report.time(&scenario, Duration::from_millis(millis));
        }
        assert!(!report.is_clean());
        assert_eq!(report.requests(), 6);
        let text = report.to_string();
        assert!(text.contains("Fetch: s / l"), "{text}");
        assert!(text.contains("Fetch v4-5: a.b"), "{text}");
        assert!(text.contains("jocko (nothing)"), "{text}");
        assert!(text.contains("requests: Fetch 4, Metadata 2"), "{text}");
        assert!(text.contains("slowest: Fetch: s 0.2 s, Fetch: t 0.2 s"), "{text}");
        assert!(text.contains("6 requests compared in 2 runs: 1 undeclared"), "{text}");
    }
}
