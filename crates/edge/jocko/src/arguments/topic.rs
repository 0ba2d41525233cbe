//! `jocko topic` on the command line.

use super::{dry_run, output, positive, some_partitions, yes};
use crate::live;
use clap::{Arg, ArgAction, Command};

pub(super) fn topic() -> Command {
    Command::new("topic")
        .about("Creates, lists, describes, changes and deletes topics")
        .subcommand(topic_create())
        .subcommand(
            Command::new("list")
                .about("Lists topics")
                .arg(
                    Arg::new("internal")
                        .long("internal")
                        .action(ArgAction::SetTrue)
                        .help("Internal ones too"),
                )
                .arg(output()),
        )
        .subcommand(
            Command::new("describe")
                .about("Shows a topic's partitions, sizes and settings")
                .arg(topic_name())
                .arg(output()),
        )
        .subcommand(
            Command::new("delete")
                .about("Deletes topics and all their records")
                .arg(topic_name().num_args(1..).action(ArgAction::Append))
                .arg(yes())
                .arg(dry_run())
                .arg(output()),
        )
        .subcommand(topic_alter())
        .subcommand(topic_add_partitions())
        .subcommand(topic_trim())
}

fn topic_name() -> Arg {
    Arg::new("name").required(true).value_name("TOPIC").add(live::topics()).help("The topic's name")
}

fn topic_create() -> Command {
    Command::new("create")
        .about("Creates a topic")
        .arg(name())
        .arg(
            Arg::new("partitions")
                .short('p')
                .long("partitions")
                .value_name("N")
                .allow_negative_numbers(true)
                .value_parser(positive::<i32>)
                .help("How many partitions [default: the cluster's topics.partitions]"),
        )
        .arg(
            Arg::new("replication")
                .short('r')
                .long("replication")
                .visible_alias("replication-factor")
                .value_name("N")
                .allow_negative_numbers(true)
                .value_parser(positive::<i16>)
                .help("How many replicas [default: auto]"),
        )
        .arg(retention())
        .arg(set())
        .arg(
            Arg::new("if-not-exists")
                .long("if-not-exists")
                .action(ArgAction::SetTrue)
                .help("Succeed if the topic is there already"),
        )
        .arg(dry_run())
        .arg(output())
}

fn name() -> Arg {
    Arg::new("name").required(true).value_name("TOPIC").help("The topic's name")
}

fn retention() -> Arg {
    Arg::new("retention")
        .long("retention")
        .value_name("TIME")
        .allow_negative_numbers(true)
        .help("How long records stay, as in 7d; -1 for ever (retention.ms)")
}

fn set() -> Arg {
    Arg::new("set")
        .long("set")
        .visible_alias("config")
        .value_name("NAME=VALUE")
        .action(ArgAction::Append)
        .help("A topic setting by Kafka's name; may be repeated")
}

fn topic_alter() -> Command {
    Command::new("alter")
        .about("Changes a topic's settings")
        .arg(topic_name())
        .arg(set())
        .arg(
            Arg::new("unset")
                .long("unset")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Leave a setting to the cluster again; may be repeated"),
        )
        .arg(retention())
        .arg(dry_run())
        .arg(output())
}

fn topic_add_partitions() -> Command {
    Command::new("add-partitions")
        .about("Gives a topic more partitions")
        .after_help("Records of a key that were written before stay in their partition.")
        .arg(topic_name())
        .arg(
            Arg::new("partitions")
                .short('p')
                .long("partitions")
                .value_name("N")
                .allow_negative_numbers(true)
                .value_parser(positive::<i32>)
                .required_unless_present("add")
                .conflicts_with("add")
                .help("How many it is to have"),
        )
        .arg(
            Arg::new("add")
                .long("add")
                .value_name("N")
                .allow_negative_numbers(true)
                .value_parser(positive::<i32>)
                .help("How many more it is to have"),
        )
        .arg(dry_run())
        .arg(output())
}

fn topic_trim() -> Command {
    Command::new("trim")
        .about("Deletes the oldest records of a topic")
        .after_help(
            "Examples:\n  jocko topic trim orders --before @-1d\n  \
             jocko topic trim orders --before 1000 -p 0 --dry-run",
        )
        .arg(topic_name())
        .arg(
            Arg::new("before")
                .long("before")
                .value_name("POSITION")
                .allow_hyphen_values(true)
                .required(true)
                .help("What stays: OFFSET, end, -N (N before the end), @TIME, @-1h"),
        )
        .arg(some_partitions())
        .arg(yes())
        .arg(dry_run())
        .arg(output())
}
