//! `jocko cluster` on the command line.

use super::{dry_run, output, positive, yes};
use crate::live;
use clap::{Arg, ArgAction, Command, value_parser};

pub(super) fn cluster() -> Command {
    Command::new("cluster")
        .about("Shows how a cluster is, and takes brokers out of it")
        .subcommand(Command::new("status").about("Brokers, controller and topics").arg(output()))
        .subcommand(health())
        .subcommand(
            Command::new("quorum")
                .about("Shows who votes on the metadata, and how far each of them is")
                .arg(output()),
        )
        .subcommand(
            Command::new("members")
                .about("Shows whom a broker knows by gossip, those too that are not in the cluster")
                .arg(http())
                .arg(output()),
        )
        .subcommand(
            Command::new("events")
                .about("Shows what gossip told a broker last: who came, went and failed")
                .arg(http())
                .arg(output()),
        )
        .subcommand(drain())
        .subcommand(remove())
        .subcommand(
            Command::new("transfer-leader")
                .about(
                    "Hands the lead of the metadata, and with it the controller, to another broker",
                )
                .arg(node().required(false).help("To whom [default: the voter that is furthest]"))
                .arg(http())
                .arg(dry_run())
                .arg(output()),
        )
}

fn health() -> Command {
    Command::new("health")
        .about("Says whether all brokers serve and all partitions have their copies; exits with 3 if not")
        .after_help(
            "Examples:\n  jocko cluster health\n  jocko cluster health --wait --timeout 30s --expect 3\n  \
             jocko cluster health --this-broker",
        )
        .arg(
            Arg::new("wait")
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Wait until it is healthy, for at most --timeout"),
        )
        .arg(
            Arg::new("expected-brokers")
                .long("expect")
                .value_name("N")
                .value_parser(positive::<u32>)
                .help("Fewer brokers than this are not healthy"),
        )
        .arg(
            Arg::new("this-broker")
                .long("this-broker")
                .action(ArgAction::SetTrue)
                .conflicts_with("expected-brokers")
                .help("Only whether the broker behind --http serves clients"),
        )
        .arg(http())
        .arg(output())
}

fn drain() -> Command {
    Command::new("drain")
        .about("Takes a broker out of service: its copies go to the brokers with fewest, and it gets nothing new")
        .after_help(
            "Examples:\n  jocko cluster drain 3 --dry-run\n  jocko cluster drain 3 --wait --timeout 1h\n  \
             jocko cluster drain 3 --leaders-only\n  jocko cluster drain 3 --fewer-copies\n  \
             jocko cluster drain 3 --undo",
        )
        .arg(node().help("Which broker"))
        .arg(
            Arg::new("undo")
                .long("undo")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["leaders-only", "fewer-copies", "wait"])
                .help("Let it get copies, leads and a vote again; what was moved stays where it is"),
        )
        .arg(
            Arg::new("leaders-only")
                .long("leaders-only")
                .action(ArgAction::SetTrue)
                .help("Leave the copies where they are; only let others lead"),
        )
        .arg(
            Arg::new("fewer-copies")
                .long("fewer-copies")
                .action(ArgAction::SetTrue)
                .conflicts_with("leaders-only")
                .help("Give up copies that have no other place, as every other broker has one"),
        )
        .arg(
            Arg::new("wait")
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Wait until all is moved, for at most --timeout"),
        )
        .arg(dry_run())
        .arg(output())
}

fn remove() -> Command {
    Command::new("remove")
        .about("Forgets a broker that has stopped and does not come back, and its vote")
        .arg(node().help("Which broker"))
        .arg(yes())
        .arg(dry_run())
        .arg(output())
}

/// A broker by its number.
fn node() -> Arg {
    Arg::new("node")
        .required(true)
        .value_name("NODE")
        .allow_negative_numbers(true)
        .value_parser(value_parser!(i32).range(0..))
        .add(live::brokers())
}

/// The other port of a broker, for what Kafka's protocol has no words for.
fn http() -> Arg {
    Arg::new("http").long("http").value_name("HOST:PORT").help(
        "The broker's HTTP port (listen.http) [default: as the broker at -b says, or port 9095]",
    )
}
