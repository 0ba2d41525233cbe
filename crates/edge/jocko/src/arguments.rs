//! The command line: every command, flag and help text. What the commands do is in `command/`.

mod cluster;
mod group;
mod partition;
#[cfg(test)]
mod tests;
mod topic;

use crate::live;
use clap::{Arg, ArgAction, Command, value_parser};
use jocko_config::DEFINITIONS;
use std::str::FromStr;

/// The whole command line.
pub(crate) fn command() -> Command {
    Command::new("jocko")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A distributed commit log that speaks Kafka's protocol")
        .long_about(
            "A distributed commit log that speaks Kafka's protocol.\n\n\
             Without a command it starts a broker on localhost:9092 with its data in ./jocko-data.",
        )
        .after_help(
            "Examples:\n  jocko\n  jocko --expect 3 --join node1,node2,node3\n  jocko topic create orders -p 6\n  \
             echo hello | jocko produce orders\n  jocko consume orders -o start",
        )
        // `jocko --data-dir x` means `jocko start --data-dir x`.
        .args(settings())
        .args(connection())
        .subcommand(start())
        .subcommand(topic::topic())
        .subcommand(produce())
        .subcommand(consume("consume", "Reads records of a topic"))
        .subcommand(consume("tail", "Reads what comes from now on (consume -o end)"))
        .subcommand(group::group())
        .subcommand(cluster::cluster())
        .subcommand(partition::partition())
        .subcommand(config())
        .subcommand(
            Command::new("completion").about("Prints a completion script for a shell").arg(
                Arg::new("shell")
                    .required(true)
                    .value_parser(value_parser!(clap_complete::Shell))
                    .help("bash, zsh, fish, elvish or powershell"),
            ),
        )
}

/// One flag for each setting, named as its definition says.
fn settings() -> Vec<Arg> {
    let flag = |definition: &'static jocko_config::Definition| {
        let name = definition.flag_name();
        let short = match definition.key {
            "cluster.join" => Some("join"),
            "cluster.expect" => Some("expect"),
            _ => None,
        };
        Arg::new(definition.key)
            .visible_aliases(short)
            .long(name.trim_start_matches("--").to_owned())
            .value_name("VALUE")
            .help(format!(
                "{} [default: {}]",
                first_sentence(definition.doc),
                shown(definition.default)
            ))
            .help_heading("Settings (also in jocko.toml and as JOCKO_* variables)")
    };
    let mut flags = vec![
        Arg::new("config")
            .short('c')
            .long("config")
            .value_name("FILE")
            .help("The settings file [default: ./jocko.toml, if it is there]"),
    ];
    flags.extend(DEFINITIONS.iter().map(flag));
    flags
}

fn first_sentence(text: &str) -> &str {
    let text = text.trim();
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

fn shown(default: &str) -> &str {
    if default.is_empty() { "none" } else { default }
}

/// How to reach a cluster and how to print: on every command that asks one.
fn connection() -> Vec<Arg> {
    vec![
        Arg::new("brokers")
            .short('b')
            .long("brokers")
            .visible_alias("bootstrap-server")
            .value_name("HOST:PORT,...")
            .env("JOCKO_BROKERS")
            .default_value("localhost:9092")
            .global(true)
            .help("Any brokers of the cluster"),
        Arg::new("timeout")
            .long("timeout")
            .value_name("TIME")
            .default_value("10s")
            .global(true)
            .help("How long to wait for an answer"),
    ]
}

fn output() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("How to print")
}

fn start() -> Command {
    // Flags that every command has, and that mean nothing here, are not shown.
    let hidden = connection().into_iter().map(|flag| flag.hide(true));
    Command::new("start")
        .about("Runs a broker (also what `jocko` alone does)")
        .args(settings())
        .args(hidden)
}

fn dry_run() -> Arg {
    Arg::new("dry-run")
        .long("dry-run")
        .action(ArgAction::SetTrue)
        .help("Only say what would happen")
}

fn yes() -> Arg {
    Arg::new("yes")
        .long("yes")
        .short('y')
        .action(ArgAction::SetTrue)
        .help("Do not ask; nobody but a terminal is asked")
}

/// Some partitions of a topic.
fn some_partitions() -> Arg {
    Arg::new("partition")
        .short('p')
        .long("partition")
        .value_name("N,...")
        .value_delimiter(',')
        .allow_negative_numbers(true)
        .value_parser(partition)
        .help("Only these partitions [default: all]")
}

fn produce() -> Command {
    Command::new("produce")
        .about("Writes records, one a line of standard input")
        .after_help(
            "Examples:\n  echo hello | jocko produce greetings\n  \
             echo 'k1:v1' | jocko produce greetings --key-separator :\n  \
             jocko produce greetings --compression zstd < lines.txt",
        )
        .args(topic_here("Where to"))
        .arg(
            Arg::new("partition")
                .short('p')
                .long("partition")
                .value_name("N")
                .allow_negative_numbers(true)
                .value_parser(partition)
                .help("One partition [default: by key, or each batch to the next]"),
        )
        .arg(
            Arg::new("key-separator")
                .short('K')
                .long("key-separator")
                .value_name("TEXT")
                .help("Each line is a key, this, and a value"),
        )
        .arg(
            Arg::new("key")
                .short('k')
                .long("key")
                .value_name("KEY")
                .conflicts_with("key-separator")
                .help("The key of every record"),
        )
        .arg(
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .help("A header of every record; may be repeated"),
        )
        .arg(
            Arg::new("compression")
                .short('z')
                .long("compression")
                .value_name("CODEC")
                .value_parser(["none", "gzip", "snappy", "lz4", "zstd"])
                .default_value("none")
                .help("How to compress"),
        )
        .arg(
            Arg::new("acks")
                .long("acks")
                .value_name("ACKS")
                .value_parser(["all", "1", "0"])
                .default_value("all")
                .help("When a batch counts as written: on disk (and once, whatever breaks), appended, or sent"),
        )
        .arg(
            Arg::new("tombstone")
                .long("empty-is-null")
                .action(ArgAction::SetTrue)
                .help("An empty value is a null one (a tombstone)"),
        )
        .arg(output().help("json prints where each batch went"))
}

/// The topic by its place; or by the flag that hands used to other tools type.
fn topic_here(help: &'static str) -> [Arg; 2] {
    [
        Arg::new("topic")
            .required_unless_present("topic-flag")
            .value_name("TOPIC")
            .add(live::topics())
            .help(help),
        Arg::new("topic-flag")
            .add(live::topics())
            .short('t')
            .long("topic")
            .value_name("TOPIC")
            .conflicts_with("topic")
            .hide(true),
    ]
}

/// A number of things.
fn positive<N: FromStr + Default + PartialOrd>(text: &str) -> Result<N, &'static str> {
    let number = text.parse().ok().filter(|number| *number > N::default());
    number.ok_or("it is to be a whole number from 1 on")
}

fn partition(text: &str) -> Result<i32, &'static str> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or("partitions are numbered from 0 on")
}

fn consume(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .after_help(
            "Positions: start, end, OFFSET, -N (N before the end), @TIME, @-1h, and ranges FROM:TO with TO one of\n\
             end, now, OFFSET, @TIME. A range ends the command when it is read.\n\
             Formats: %t topic %p partition %o offset %k key %v value %h headers %d time \\n \\t.\n\n\
             Examples:\n  jocko consume orders -o start\n  jocko consume orders -o @-1h:now -f '%d %p/%o %k=%v\\n'\n  \
             jocko consume orders -o json -o start -n 5",
        )
        .args(topic_here("What to read"))
        .arg(some_partitions())
        .arg(
            Arg::new("group")
                .short('g')
                .long("group")
                .value_name("GROUP")
                .add(live::groups())
                .conflicts_with("partition")
                .help("Share the partitions with the other members of a group, and commit"),
        )
        .arg(
            Arg::new("from")
                .short('o')
                .long("offset")
                .visible_alias("output")
                .value_name("POSITION|json")
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .help("Where to start; or json, for one object a line [default: end]"),
        )
        .arg(
            Arg::new("from-beginning")
                .long("from-beginning")
                .action(ArgAction::SetTrue)
                .conflicts_with("from")
                .help("As -o start"),
        )
        .arg(
            Arg::new("count")
                .short('n')
                .long("count")
                .value_name("N")
                .allow_negative_numbers(true)
                .value_parser(positive::<u64>)
                .help("End after so many records"),
        )
        .arg(
            Arg::new("format")
                .short('f')
                .long("format")
                .value_name("FORMAT")
                .help("How to print a record [default: %v\\n]"),
        )
        .arg(
            Arg::new("exit-at-end")
                .short('e')
                .long("exit-at-end")
                .action(ArgAction::SetTrue)
                .help("End when everything there is has been read"),
        )
}

fn config() -> Command {
    Command::new("config")
        .about("Shows, sets and explains settings: of this command line, or of a running cluster")
        .subcommand(
            Command::new("explain")
                .about("Says what a setting does, what it is, and who set it")
                .arg(Arg::new("key").required(true).value_name("KEY").help("As storage.durability"))
                .args(scope())
                .args(settings())
                .arg(output()),
        )
        .subcommand(
            Command::new("show")
                .about("Prints settings")
                .args(scope())
                .arg(
                    Arg::new("all")
                        .long("all")
                        .action(ArgAction::SetTrue)
                        .help("Of a running cluster: those too that nobody set"),
                )
                .args(settings())
                .arg(output()),
        )
        .subcommand(
            Command::new("set")
                .about("Changes settings of a running cluster; they survive a restart")
                .after_help(
                    "Examples:\n  jocko config set retention.ms=86400000 --topic orders\n  \
                     jocko config set log.retention.ms=86400000\n  \
                     jocko config set --unset log.retention.ms",
                )
                .arg(
                    Arg::new("pairs")
                        .num_args(0..)
                        .value_name("NAME=VALUE")
                        .help("By Kafka's names, or ours where they have one of Kafka's"),
                )
                .arg(
                    Arg::new("unset")
                        .long("unset")
                        .value_name("NAME")
                        .action(ArgAction::Append)
                        .help("Leave it to the next higher level again; may be repeated"),
                )
                .args(scope())
                .arg(dry_run())
                .arg(output()),
        )
}

/// Whose settings, of a running cluster.
fn scope() -> [Arg; 4] {
    let one = |id: &'static str, long: &'static str, name: &'static str| {
        Arg::new(id).long(long).value_name(name).help_heading("Of a running cluster")
    };
    [
        one("of-topic", "topic", "TOPIC")
            .add(live::topics())
            .conflicts_with_all(["of-group", "of-broker", "of-cluster"])
            .help("Of a topic"),
        one("of-group", "group", "GROUP")
            .add(live::groups())
            .conflicts_with_all(["of-broker", "of-cluster"])
            .help("Of a group"),
        one("of-broker", "broker", "ID")
            .value_parser(value_parser!(i32).range(0..))
            .conflicts_with("of-cluster")
            .help("Of a broker"),
        Arg::new("of-cluster")
            .long("cluster")
            .action(ArgAction::SetTrue)
            .help_heading("Of a running cluster")
            .help("Of all brokers that have none of their own"),
    ]
}
