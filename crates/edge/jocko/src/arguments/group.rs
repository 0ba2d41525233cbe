//! `jocko group` on the command line.

use super::{dry_run, output, some_partitions, yes};
use crate::live;
use clap::{Arg, ArgAction, Command, value_parser};

pub(super) fn group() -> Command {
    Command::new("group")
        .about("Shows consumer groups and how far behind they are, and moves them")
        .subcommand(
            Command::new("list")
                .about("Lists groups")
                .arg(
                    Arg::new("state")
                        .long("state")
                        .value_name("STATE")
                        .ignore_case(true)
                        .value_parser([
                            "stable",
                            "empty",
                            "preparingrebalance",
                            "completingrebalance",
                            "assigning",
                            "reconciling",
                            "dead",
                        ])
                        .help("Only those in this state"),
                )
                .arg(output()),
        )
        .subcommand(
            Command::new("describe")
                .about("Shows a group's members, and where it stands in each partition")
                .arg(group_name())
                .arg(sample())
                .arg(output()),
        )
        .subcommand(
            Command::new("lag")
                .about("Shows how far behind groups are, in records and in time")
                .arg(group_names("Which groups [default: all]"))
                .arg(sample())
                .arg(output()),
        )
        .subcommand(group_seek())
        .subcommand(
            Command::new("delete")
                .about("Deletes groups without members, and what they have committed")
                .arg(group_names("Which groups").required(true))
                .arg(yes())
                .arg(dry_run())
                .arg(output()),
        )
        .subcommand(
            Command::new("offset-delete")
                .about("Forgets what a group has committed in a topic")
                .arg(group_name())
                .arg(
                    Arg::new("topic")
                        .required(true)
                        .value_name("TOPIC")
                        .add(live::topics())
                        .help("In which topic"),
                )
                .arg(some_partitions())
                .arg(yes())
                .arg(dry_run())
                .arg(output()),
        )
}

fn group_name() -> Arg {
    Arg::new("group")
        .required(true)
        .value_name("GROUP")
        .add(live::groups())
        .help("The group's name")
}

fn group_names(help: &'static str) -> Arg {
    Arg::new("groups")
        .value_name("GROUP")
        .num_args(1..)
        .action(ArgAction::Append)
        .add(live::groups())
        .help(help)
}

fn sample() -> Arg {
    Arg::new("sample")
        .long("sample")
        .value_name("TIME")
        .default_value("1s")
        .help("How long to watch the lag for its trend; 0s for no trend")
}

fn group_seek() -> Command {
    Command::new("seek")
        .about("Moves a group without members to other offsets")
        .after_help(
            "Positions: start, end, OFFSET, -N (N before the end), @TIME, @-1h.\n\n\
             Examples:\n  jocko group seek billing --to @-1h --dry-run\n  \
             jocko group seek billing --to start --topic orders -p 0,1\n  \
             jocko group seek billing --by -100",
        )
        .arg(group_name())
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("POSITION")
                .allow_hyphen_values(true)
                .required_unless_present("by")
                .conflicts_with("by")
                .help("Where to; what lies outside of a partition is its start or end"),
        )
        .arg(
            Arg::new("by")
                .long("by")
                .value_name("N")
                .allow_hyphen_values(true)
                .value_parser(value_parser!(i64))
                .help("So many records on from what is committed; -N goes back"),
        )
        .arg(
            Arg::new("topic")
                .short('t')
                .long("topic")
                .value_name("TOPIC")
                .action(ArgAction::Append)
                .add(live::topics())
                .help("Only in these topics [default: all it has committed in]"),
        )
        .arg(some_partitions())
        .arg(dry_run())
        .arg(output())
}
