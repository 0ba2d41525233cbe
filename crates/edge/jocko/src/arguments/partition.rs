//! `jocko partition` on the command line.

use super::{dry_run, output, some_partitions, yes};
use crate::live;
use clap::{Arg, ArgAction, Command, value_parser};

pub(super) fn partition() -> Command {
    Command::new("partition")
        .about("Shows where copies live, moves them, and has leaders chosen")
        .subcommand(list())
        .subcommand(moving())
        .subcommand(
            Command::new("move-status")
                .about("Shows the moves under way")
                .arg(topics().help("Only of these topics [default: all]"))
                .arg(
                    Arg::new("wait")
                        .long("wait")
                        .action(ArgAction::SetTrue)
                        .help("Wait until there are none, for at most --timeout; exits with 3 if there still are"),
                )
                .arg(output()),
        )
        .subcommand(elect())
}

fn list() -> Command {
    Command::new("list")
        .about("Lists partitions with their leaders and copies")
        .after_help(
            "Examples:\n  jocko partition list\n  jocko partition list orders\n  \
             jocko partition list --under-replicated --broker 2",
        )
        .arg(topics().help("Only of these topics [default: all]"))
        .arg(
            Arg::new("leaderless")
                .long("leaderless")
                .action(ArgAction::SetTrue)
                .help("Only those without a leader"),
        )
        .arg(
            Arg::new("under-replicated")
                .long("under-replicated")
                .action(ArgAction::SetTrue)
                .help("Only those with copies that are not in sync"),
        )
        .arg(
            Arg::new("broker")
                .long("broker")
                .value_name("NODE")
                .value_parser(value_parser!(i32).range(0..))
                .add(live::brokers())
                .help("Only those with a copy on this broker"),
        )
        .arg(output())
}

fn moving() -> Command {
    Command::new("move")
        .about("Moves partitions to other brokers; records keep being written and read meanwhile")
        .after_help(
            "Examples:\n  jocko partition move orders --to 2,3,4\n  \
             jocko partition move orders -p 0,1 --to 3,1,2 --dry-run\n  \
             jocko partition move orders --to 2,3,4 --wait --timeout 1h\n  jocko partition move orders --cancel",
        )
        .arg(topic())
        .arg(some_partitions())
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("NODE,...")
                .value_delimiter(',')
                .value_parser(value_parser!(i32).range(0..))
                .add(live::brokers())
                .required_unless_present("cancel")
                .conflicts_with("cancel")
                .help("Who shall have a copy, the preferred leader first"),
        )
        .arg(
            Arg::new("cancel")
                .long("cancel")
                .action(ArgAction::SetTrue)
                .help("End moves that are under way, and put things back"),
        )
        .arg(
            Arg::new("wait")
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Wait until they are there, for at most --timeout; exits with 3 if they are not"),
        )
        .arg(dry_run())
        .arg(output())
}

fn elect() -> Command {
    Command::new("elect")
        .about("Has the preferred leaders lead again")
        .after_help(
            "Examples:\n  jocko partition elect\n  jocko partition elect orders -p 0\n  \
             jocko partition elect orders -p 0 --unclean",
        )
        .arg(topic().required(false).help("Only of this topic [default: all]"))
        .arg(some_partitions().requires("topic"))
        .arg(
            Arg::new("unclean").long("unclean").action(ArgAction::SetTrue).requires("topic").help(
                "Let any copy lead where none in sync is left: what others had alone is lost",
            ),
        )
        .arg(yes())
        .arg(dry_run())
        .arg(output())
}

fn topic() -> Arg {
    Arg::new("topic").required(true).value_name("TOPIC").add(live::topics()).help("The topic")
}

fn topics() -> Arg {
    Arg::new("topics").num_args(0..).value_name("TOPIC").add(live::topics())
}
