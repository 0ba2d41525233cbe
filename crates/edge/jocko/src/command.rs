//! The commands, one file each.

mod cluster;
mod completion;
mod config;
mod consume;
mod produce;
mod start;
mod topic;

use crate::failure::{Failure, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;
use jocko_client::Client;
use jocko_config::DEFINITIONS;
use std::future::Future;
use std::time::Duration;

/// Runs what the command line asks for.
pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    if let Some((name, _)) = matches.subcommand() {
        refuse_lost_settings(matches, name)?;
    }
    match matches.subcommand() {
        None => start::run(matches),
        Some(("start", matches)) => start::run(matches),
        Some(("config", matches)) => config::run(matches),
        Some(("completion", matches)) => completion::run(matches),
        Some(("topic", matches)) => block_on(topic::run(matches)),
        Some(("produce", matches)) => block_on(produce::run(matches)),
        Some(("consume", matches)) => block_on(consume::run(matches, "end")),
        Some(("tail", matches)) => block_on(consume::run(matches, "end")),
        Some(("cluster", matches)) => block_on(cluster::run(matches)),
        Some((other, _)) => Err(Failure::usage(format!("there is no command {other}"))),
    }
}

/// A setting before a command would be lost: `jocko --data-dir x start` must not start a broker in
/// another folder than it says.
fn refuse_lost_settings(matches: &ArgMatches, command: &str) -> Result<()> {
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let settings = DEFINITIONS.iter().map(|each| (each.key, each.flag_name()));
    let mut flags = settings.chain([("config", "--config".to_owned())]);
    let Some((_, flag)) = flags.find(|(id, _)| is_given(id)) else { return Ok(()) };
    let failure =
        Failure::usage(format!("{flag} stands before `{command}`, where it says nothing"));
    Err(match command {
        "start" => failure.cure(format!("jocko start {flag} ...")),
        "config" => failure.cure(format!("jocko config show {flag} ...")),
        _ => failure.cure(format!("leave {flag} out: it is for the broker (`jocko start`)")),
    })
}

/// What `jocko topic` alone is told: what there is to choose from.
fn choice(group: &str) -> Failure {
    let mut command = crate::arguments::command();
    // Also fills in the flags that every command has.
    command.build();
    let help = command.find_subcommand_mut(group).map(|group| group.render_help().to_string());
    Failure::usage(format!(
        "`jocko {group}` needs a command\n\n{}",
        help.unwrap_or_default().trim_end()
    ))
}

/// The topic that a command reads or writes, by its place or by `--topic`.
fn topic_name(matches: &ArgMatches) -> String {
    let by_place = matches.get_one::<String>("topic");
    let name = by_place.or_else(|| matches.get_one("topic-flag"));
    name.expect("one of them is required").clone()
}

/// Client commands need one thread.
fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A client for the brokers the command line names.
fn client(matches: &ArgMatches) -> Result<Client> {
    let brokers: &String = matches.get_one("brokers").expect("has a default");
    let addresses = brokers.split(',').map(str::trim).filter(|address| !address.is_empty());
    let addresses: Vec<String> = addresses.map(address).collect::<Result<_>>()?;
    if addresses.is_empty() {
        return Err(Failure::usage("--brokers names none").cure("-b localhost:9092"));
    }
    Ok(Client::new(addresses, timeout(matches)?))
}

/// `host:port`, or a host with Kafka's port.
fn address(text: &str) -> Result<String> {
    let address = with_port(text);
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    if port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Ok(address);
    }
    Err(Failure::usage(format!("{text} has no port between 1 and 65535")).cure("-b localhost:9092"))
}

fn timeout(matches: &ArgMatches) -> Result<Duration> {
    let text: &String = matches.get_one("timeout").expect("has a default");
    parse_duration(text).filter(|timeout| !timeout.is_zero()).ok_or_else(|| {
        Failure::usage(format!("--timeout {text} is no length of time")).cure("--timeout 10s")
    })
}

/// `10s`, `7d`: as settings are written.
fn parse_duration(text: &str) -> Option<Duration> {
    <Duration as jocko_config::SettingValue>::parse(text)
}

fn with_port(address: &str) -> String {
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        !port.is_empty() && (host.ends_with(']') || !host.contains(':'))
    });
    if has_port { address.to_owned() } else { format!("{address}:9092") }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn kafkas_port_is_the_default() {
        for (given, expect) in [
            ("localhost", "localhost:9092"),
            ("localhost:19092", "localhost:19092"),
            ("[::1]:5", "[::1]:5"),
            ("[::1]", "[::1]:9092"),
        ] {
            assert_eq!(with_port(given), expect);
        }
    }
}
