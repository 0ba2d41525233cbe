//! What must hold for the whole tree of commands.

mod page;

use super::command;
use clap::Command;

/// Every command that does something, by its whole name.
fn leaves(command: &Command, name: &str, found: &mut Vec<(String, Command)>) {
    if command.get_subcommands().next().is_none() {
        found.push((name.to_owned(), command.clone()));
    }
    for each in command.get_subcommands() {
        leaves(each, format!("{name} {}", each.get_name()).trim(), found);
    }
}

fn all() -> Vec<(String, Command)> {
    let mut command = command();
    command.build();
    let mut found = Vec::new();
    leaves(&command, "", &mut found);
    found.retain(|(name, _)| !name.split(' ').any(|word| word == "help"));
    found
}

fn has(command: &Command, flag: &str) -> bool {
    command.get_arguments().any(|argument| {
        let names = argument.get_long_and_visible_aliases().unwrap_or_default();
        names.contains(&flag)
    })
}

#[test]
fn the_tree_is_sound() {
    command().debug_assert();
}

#[test]
fn everything_that_answers_answers_in_json() {
    for (name, command) in all() {
        // A broker runs on, and a script for a shell is what it is.
        if matches!(name.as_str(), "start" | "completion") {
            continue;
        }
        assert!(has(&command, "output"), "jocko {name} has no -o json");
    }
}

#[test]
fn everything_that_changes_can_be_tried() {
    let changing = [
        "topic create",
        "topic delete",
        "topic alter",
        "topic add-partitions",
        "topic trim",
        "group seek",
        "group delete",
        "group offset-delete",
        "config set",
        "cluster drain",
        "cluster remove",
        "cluster transfer-leader",
        "partition move",
        "partition elect",
    ];
    let reading = [
        "start",
        "topic list",
        "topic describe",
        "produce",
        "consume",
        "tail",
        "group list",
        "group describe",
        "group lag",
        "cluster status",
        "cluster health",
        "cluster quorum",
        "cluster members",
        "cluster events",
        "partition list",
        "partition move-status",
        "config explain",
        "config show",
        "completion",
    ];
    for (name, command) in all() {
        let changes = changing.contains(&name.as_str());
        assert!(changes || reading.contains(&name.as_str()), "does jocko {name} change anything?");
        assert_eq!(has(&command, "dry-run"), changes, "jocko {name}");
    }
}
