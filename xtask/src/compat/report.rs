//! Verdicts, the table for the terminal, and the page for the reader.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::clients::Client;
use super::scenarios::SCENARIOS;

/// How one scenario went with one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Fail(String),
    /// The client cannot do it, and why.
    Skip(String),
}

impl Verdict {
    fn mark(&self) -> &'static str {
        match self {
            Self::Pass => "yes",
            Self::Fail(_) => "NO",
            Self::Skip(_) => "-",
        }
    }
}

/// All verdicts of one client.
#[derive(Debug)]
pub(super) struct Outcome {
    client: &'static Client,
    version: String,
    verdicts: BTreeMap<String, Verdict>,
}

impl Outcome {
    pub(super) fn new(client: &'static Client) -> Self {
        Self { client, version: String::new(), verdicts: BTreeMap::new() }
    }

    /// Takes in a line of the program; false for a line that says nothing to us.
    pub(super) fn read(&mut self, line: &str) -> bool {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, reason) = rest.split_once(": ").unwrap_or((rest, "no reason given"));
        let verdict = match word {
            "CLIENT" => {
                self.version = rest.split_once(' ').map_or("", |(_, version)| version).to_owned();
                return false;
            }
            "PASS" => Verdict::Pass,
            "FAIL" => Verdict::Fail(reason.to_owned()),
            "SKIP" => Verdict::Skip(reason.to_owned()),
            _ => return false,
        };
        self.verdicts.insert(name.to_owned(), verdict);
        true
    }

    /// Gives a verdict on a scenario that has none.
    pub(super) fn or_insert(&mut self, scenario: &str, verdict: impl FnOnce() -> Verdict) {
        self.verdicts.entry(scenario.to_owned()).or_insert_with(verdict);
    }

    pub(super) fn failures(&self) -> usize {
        self.verdicts.values().filter(|verdict| matches!(verdict, Verdict::Fail(_))).count()
    }

    fn mark(&self, scenario: &str) -> &'static str {
        self.verdicts.get(scenario).map_or("", Verdict::mark)
    }

    fn count(&self) -> (usize, usize, usize) {
        let skipped =
            self.verdicts.values().filter(|verdict| matches!(verdict, Verdict::Skip(_))).count();
        let failed = self.failures();
        (self.verdicts.len() - failed - skipped, failed, skipped)
    }
}

/// The table of scenarios by clients, then the counts and the reasons of what failed.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let asked =
        |scenario: &&&str| outcomes.iter().any(|outcome| outcome.verdicts.contains_key(**scenario));
    line(&mut text, "", outcomes, |outcome| outcome.client.name);
    for scenario in SCENARIOS.iter().filter(asked) {
        line(&mut text, scenario, outcomes, |outcome| outcome.mark(scenario));
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for outcome in outcomes {
        let counts = outcome.count();
        (passed, failed, skipped) = (passed + counts.0, failed + counts.1, skipped + counts.2);
        for (scenario, verdict) in &outcome.verdicts {
            if let Verdict::Fail(reason) = verdict {
                text += &format!("{} {scenario}: {reason}\n", outcome.client.name);
            }
        }
    }
    text + &format!("{passed} passed, {failed} failed, {skipped} skipped\n")
}

fn line<'a>(
    text: &mut String,
    head: &str,
    outcomes: &'a [Outcome],
    cell: impl Fn(&'a Outcome) -> &'a str,
) {
    write!(text, "{head:<29}").expect("a string takes what is written");
    for outcome in outcomes {
        let width = outcome.client.name.len() + 2;
        write!(text, "{:<width$}", cell(outcome)).expect("a string takes what is written");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

/// The page of the reference: the same table, with the versions that were run.
pub(super) fn page(outcomes: &[Outcome], brokers: usize) -> String {
    let (title, command, against) = match brokers {
        1 => (String::new(), "cargo xtask compat".to_owned(), "a jocko".to_owned()),
        count => (
            format!(" against {count} brokers"),
            format!("cargo xtask compat --brokers {count}"),
            format!(
                "{count} brokers of one cluster, restarted one after the other where a restart is asked for, of a jocko"
            ),
        ),
    };
    let mut text = format!(
        "# Which clients work{title}\n\n\
         <!-- Written by `{command}` from what passed; do not edit. -->\n\n\
         Each client below ran the same named scenarios against {against} built from this tree. `yes`: it passed. `-`: the \
         client has no such feature. `NO`: it failed.\n\n\
         | client | version | what it is | passed | failed | not possible |\n|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        let (passed, failed, skipped) = outcome.count();
        let Client { name, about, .. } = outcome.client;
        text += &format!(
            "| {name} | {} | {about} | {passed} | {failed} | {skipped} |\n",
            outcome.version
        );
    }
    text += "\n| scenario |";
    for outcome in outcomes {
        text += &format!(" {} |", outcome.client.name);
    }
    text += &format!("\n|---|{}\n", "---|".repeat(outcomes.len()));
    for scenario in SCENARIOS {
        text += &format!("| {scenario} |");
        for outcome in outcomes {
            text += &format!(" {} |", outcome.mark(scenario));
        }
        text.push('\n');
    }
    text += "\nWhy a scenario was not possible:\n\n";
    for outcome in outcomes {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for scenario in SCENARIOS {
            if let Some(Verdict::Skip(reason)) = outcome.verdicts.get(scenario) {
                reasons.entry(reason).or_default().push(scenario);
            }
        }
        for (reason, scenarios) in reasons {
            text += &format!("- {}: {reason} ({})\n", outcome.client.name, scenarios.join(", "));
        }
    }
    text + &format!(
        "\nWhat the scenarios do is told in `compat/README.md`. To run them: `{command}`.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::clients::ALL;

    fn outcome(lines: &[&str]) -> Outcome {
        let mut outcome = Outcome::new(&ALL[0]);
        for line in lines {
            outcome.read(line);
        }
        outcome
    }

    #[test]
    fn lines_become_verdicts() {
        let mut outcome = outcome(&[
            "CLIENT kcat 1.7.1 (librdkafka 2.0.2)",
            "PASS acks-0",
            "FAIL acks-1: it: broke",
        ]);
        assert!(!outcome.read("some noise"));
        assert!(outcome.read("SKIP headers: no such thing"));
        assert_eq!(outcome.version, "1.7.1 (librdkafka 2.0.2)");
        assert_eq!(outcome.verdicts["acks-1"], Verdict::Fail("it: broke".to_owned()));
        assert_eq!(outcome.count(), (1, 1, 1));
    }

    #[test]
    fn the_table_names_what_failed() {
        let table = table(&[outcome(&["PASS acks-0", "FAIL acks-1: broke"])]);
        assert!(table.contains("acks-0                       yes\n"), "{table}");
        assert!(table.contains("kcat acks-1: broke\n1 passed, 1 failed, 0 skipped\n"), "{table}");
        assert!(!table.contains("headers"), "not asked for: {table}");
    }

    #[test]
    fn the_page_says_why_something_is_not_possible() {
        let page = page(&[outcome(&["PASS acks-0", "SKIP headers: none", "SKIP acks-1: none"])], 1);
        assert!(page.contains("- kcat: none (acks-1, headers)\n"), "{page}");
    }
}
