//! Completion of names that only a running cluster knows: topics, groups and brokers.
//!
//! A shell that completes runs `jocko` again with the words so far; what it prints is offered. The
//! brokers are those of the words so far (`-b`), of `JOCKO_BROKERS`, or on this machine. Whatever
//! goes wrong there, nothing is offered: a prompt is no place for errors.

use crate::arguments;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::CompleteEnv;
use jocko_client::{Client, Result};
use std::time::Duration;

/// The variable by which a shell asks.
pub(crate) const VARIABLE: &str = "COMPLETE";
/// Nobody waits for longer at a prompt.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a list is good for ends long before.
const NAMES_MAX: usize = 1_000;

/// Answers a shell and ends, if that is who asks.
pub(crate) fn complete() {
    CompleteEnv::with_factory(arguments::command).var(VARIABLE).complete();
}

/// Offers the topics there are.
pub(crate) fn topics() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(async |client| {
            let metadata = client.metadata(None, false).await?;
            let topics = metadata.topics.into_iter().filter(|topic| !topic.is_internal);
            Ok(topics.filter_map(|topic| topic.name).collect())
        })
    })
}

/// Offers the groups there are.
pub(crate) fn groups() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(async |client| {
            let groups = client.list_groups().await?;
            Ok(groups.into_iter().map(|group| group.group).collect())
        })
    })
}

/// Offers the brokers there are, fenced ones too: it is they who are removed.
pub(crate) fn brokers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(async |client| {
            let members = client.members().await?;
            Ok(members.brokers.into_iter().map(|broker| broker.id.to_string()).collect())
        })
    })
}

fn offered(ask: impl AsyncFnOnce(&mut Client) -> Result<Vec<String>>) -> Vec<CompletionCandidate> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let mut client = Client::new(bootstrap(std::env::args()), PATIENCE);
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(&mut client)).await });
    let mut names = asked.ok().and_then(Result::ok).unwrap_or_default();
    names.sort();
    names.truncate(NAMES_MAX);
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The brokers that the words so far name.
fn bootstrap(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut words = words;
    let mut named = None;
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some(("--brokers" | "--bootstrap-server", brokers)) => named = Some(brokers.to_owned()),
            _ if matches!(word.as_str(), "-b" | "--brokers" | "--bootstrap-server") => {
                named = words.next().filter(|brokers| !brokers.is_empty()).or(named);
            }
            _ => {}
        }
    }
    let named = named.or_else(|| std::env::var("JOCKO_BROKERS").ok());
    let named = named.unwrap_or_else(|| "localhost:9092".to_owned());
    named.split(',').map(|address| crate::command::with_port(address.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::bootstrap;

    #[test]
    fn the_brokers_that_were_typed_are_asked() {
        for (words, expect) in [
            ("jocko -- jocko topic describe -b one:1,two x", "one:1 two:9092"),
            ("jocko topic describe --brokers=one:1 ", "one:1"),
            ("jocko -b one:1 topic list --bootstrap-server two:2", "two:2"),
        ] {
            let words = words.split(' ').map(str::to_owned);
            assert_eq!(bootstrap(words).join(" "), expect);
        }
    }
}
