//! The commands, one file each.

mod cluster;
mod completion;
mod config;
mod consume;
mod group;
mod http;
mod partition;
mod place;
mod produce;
mod start;
mod topic;

use crate::failure::{Failure, Result};
use crate::output::harmless;
use clap::ArgMatches;
use clap::parser::ValueSource;
use jocko_client::{Client, ClientError};
use jocko_config::DEFINITIONS;
use jocko_types::Timestamp;
use std::future::Future;
use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Runs what the command line asks for.
pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    if let Some((name, _)) = matches.subcommand() {
        refuse_lost_settings(matches, name)?;
    }
    match matches.subcommand() {
        None => refuse_clients_flags(matches).and_then(|()| start::run(matches)),
        Some(("start", matches)) => {
            refuse_clients_flags(matches).and_then(|()| start::run(matches))
        }
        Some(("config", matches)) => block_on(config::run(matches)),
        Some(("completion", matches)) => completion::run(matches),
        Some(("topic", matches)) => block_on(topic::run(matches)),
        Some(("produce", matches)) => block_on(produce::run(matches)),
        Some(("consume", matches)) => block_on(consume::run(matches, "end")),
        Some(("tail", matches)) => block_on(consume::run(matches, "end")),
        Some(("group", matches)) => block_on(group::run(matches)),
        Some(("cluster", matches)) => block_on(cluster::run(matches)),
        Some(("partition", matches)) => block_on(partition::run(matches)),
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

/// A broker that starts asks no other: whoever says which one to ask means another command.
fn refuse_clients_flags(matches: &ArgMatches) -> Result<()> {
    for (id, flag) in [("brokers", "--brokers"), ("timeout", "--timeout")] {
        if matches.value_source(id) == Some(ValueSource::CommandLine) {
            return Err(Failure::usage(format!(
                "{flag} is for commands that ask a running broker, and this one starts a broker"
            ))
            .cure("jocko cluster status -b HOST:PORT, or jocko --help"));
        }
    }
    Ok(())
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

/// The wall clock.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// `NAME=VALUE`, as often as it was said.
fn pairs(matches: &ArgMatches, id: &str) -> Result<Vec<(String, String)>> {
    let pair = |said: &String| match said.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
        None => Err(Failure::usage(format!("{said} has no value")).cure("NAME=VALUE")),
    };
    matches.get_many::<String>(id).unwrap_or_default().map(pair).collect()
}

/// `--retention`, as the setting that it stands for.
fn retention(matches: &ArgMatches) -> Result<Option<(String, String)>> {
    let Some(text) = matches.get_one::<String>("retention") else { return Ok(None) };
    let millis = match text.as_str() {
        // Kafka's way to say it, and a person's.
        "-1" | "forever" => "-1".to_owned(),
        _ => parse_duration(text).map(|time| time.as_millis().to_string()).ok_or_else(|| {
            Failure::usage(format!("--retention {text} is no length of time"))
                .cure("--retention 7d")
        })?,
    };
    Ok(Some(("retention.ms".to_owned(), millis)))
}

fn partition_exists(topic: &str, partition: i32, count: i32) -> Result<()> {
    if (0..count).contains(&partition) {
        return Ok(());
    }
    Err(ClientError::NoSuchPartition { topic: topic.to_owned(), partition }.into())
}

/// As [`confirm`], of what loses records that were acknowledged: a script has to say that it means it.
fn confirm_loss(matches: &ArgMatches, question: &str) -> Result<()> {
    if !matches.get_flag("yes") && !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            "nothing was done: this may lose records, and nobody is there to ask",
        )
        .cure("--yes, if that is meant"));
    }
    confirm(matches, question)
}

/// Asks a person, unless told not to; scripts have no terminal and are not asked.
fn confirm(matches: &ArgMatches, question: &str) -> Result<()> {
    if matches.get_flag("yes") || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    print!("{} [y/N] ", harmless(question));
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") {
        return Ok(());
    }
    Err(Failure::new("nothing was done").cure("answer y, or use --yes"))
}

pub(crate) fn with_port(address: &str) -> String {
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
