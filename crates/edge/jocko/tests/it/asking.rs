//! Commands that need no broker, or find none: help, settings, mistakes.

use crate::harness::{command, jocko, run, run_in};
use jocko_testkit::free_ports;
use std::process::Stdio;

#[test]
fn version_and_help_are_no_failures() {
    assert_eq!(jocko(&["--version"]).ok(), format!("jocko {}\n", env!("CARGO_PKG_VERSION")));
    let help = jocko(&["--help"]).ok();
    for words in ["Usage:", "produce", "consume", "--data-dir", "jocko topic create orders"] {
        assert!(help.contains(words), "{words}: {help}");
    }
    for command in ["start", "topic", "produce", "consume", "tail", "cluster", "config"] {
        assert!(jocko(&[command, "--help"]).ok().contains("Usage:"), "{command}");
    }
}

#[test]
fn what_is_mistyped_is_named_with_the_nearest() {
    jocko(&["strat"]).fails(2, &["strat", "'start'"]);
    jocko(&["topic", "creat", "x"]).fails(2, &["creat", "'create'"]);
    jocko(&["start", "--data-di", "x"]).fails(2, &["--data-di", "'--data-dir'"]);
    jocko(&["config", "explain", "storag.durability"])
        .fails(2, &["storag.durability", "did you mean storage.durability?"]);
    jocko(&["consume"]).fails(2, &["<TOPIC>"]);
    jocko(&["topic", "create", "x", "-p", "0"]).fails(2, &["0", "--partitions"]);
    jocko(&["produce", "x", "-z", "brotli"]).fails(2, &["brotli", "zstd"]);
    jocko(&["consume", "x", "-o", "yesterday"]).fails(2, &["yesterday", "start, end"]);
    jocko(&["consume", "x", "-f", "%q"]).fails(2, &["%q is not known"]);
    jocko(&["topic", "list", "--timeout", "soon"]).fails(2, &["soon", "--timeout 10s"]);
    jocko(&["topic", "create", "x", "--retention", "long"]).fails(2, &["long", "--retention 7d"]);
    jocko(&["topic", "create", "x", "--set", "retention.ms"]).fails(2, &["NAME=VALUE"]);
}

#[test]
fn a_group_without_a_command_shows_its_commands() {
    for (group, commands) in [
        ("topic", ["create", "list"]),
        ("cluster", ["status", "--brokers"]),
        ("config", ["explain", "show"]),
    ] {
        let said =
            [&format!("`jocko {group}` needs a command"), commands[0], commands[1], "Usage:"];
        jocko(&[group]).fails(2, &said);
        let mut with_environment = command(&[group]);
        with_environment.env("JOCKO_BROKERS", "localhost:9092");
        run(with_environment, b"").fails(2, &said);
    }
}

#[test]
fn wrong_values_are_refused_in_words() {
    jocko(&["topic", "create", "x", "-p", "-1"]).fails(2, &["'-1'", "from 1 on"]);
    jocko(&["topic", "create", "x", "-p", "many"]).fails(2, &["'many'", "whole number"]);
    jocko(&["consume", "x", "-p", "0,y"]).fails(2, &["'y'", "numbered from 0 on"]);
    jocko(&["consume", "x", "-n", "0"]).fails(2, &["'0'", "from 1 on"]);
    jocko(&["topic", "list", "-b", ""]).fails(2, &["names none", "-b localhost:9092"]);
    jocko(&["topic", "list", "-b", "localhost:99999"]).fails(2, &["localhost:99999", "no port"]);
    jocko(&["topic", "list", "--timeout", "0s"]).fails(2, &["0s", "--timeout 10s"]);
    jocko(&["produce", "x", "--acks", "2"]).fails(2, &["'2'", "all, 1, 0"]);
    jocko(&["consume", "x", "--topic", "y"]).fails(2, &["cannot be used with"]);
}

#[test]
fn a_bad_setting_is_named_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str]| run_in(folder.path(), arguments);
    start(&["--storage-durability", "wet"])
        .fails(2, &["--storage-durability", "\"wet\"", "fsync or relaxed"]);

    let mut by_environment = command(&["start"]);
    by_environment.current_dir(folder.path()).env("JOCKO_STORAGE_DURABILTY", "fsync");
    run(by_environment, b"").fails(2, &["JOCKO_STORAGE_DURABILTY", "JOCKO_STORAGE_DURABILITY"]);

    std::fs::write(folder.path().join("jocko.toml"), "[storage]\ndurabilty = \"fsync\"\n").unwrap();
    start(&[]).fails(2, &["jocko.toml", "storage.durabilty", "storage.durability"]);
    start(&["-c", "missing.toml"]).fails(2, &["missing.toml"]);
    assert!(!folder.path().join("jocko-data").exists(), "nothing was begun");
}

#[test]
fn a_setting_before_the_command_is_not_lost_silently() {
    let folder = tempfile::tempdir().unwrap();
    let try_it = |arguments: &[&str]| run_in(folder.path(), arguments);
    try_it(&["--data-dir", "x", "start"]).fails(2, &["--data-dir", "jocko start --data-dir"]);
    try_it(&["-c", "x.toml", "config", "show"]).fails(2, &["--config", "jocko config show"]);
    try_it(&["--node-id", "7", "topic", "list"]).fails(2, &["leave --node-id out"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was begun");
}

#[test]
fn settings_are_explained_with_who_set_them() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[storage]\ndurability = \"relaxed\"\n";
    std::fs::write(folder.path().join("jocko.toml"), toml).unwrap();
    let explained = run_in(folder.path(), &["config", "explain", "storage.durability"]).ok();
    for words in ["storage.durability = relaxed", "jocko.toml", "default", "fsync", "page cache"] {
        assert!(explained.contains(words), "{words}: {explained}");
    }
    let shown = run_in(folder.path(), &["config", "show", "-o", "json", "--node-id", "7"]).ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["node.id"]["value"], "7");
    assert_eq!(shown["storage.durability"]["value"], "relaxed");
    assert_eq!(shown["topics.partitions"]["source"], "default");
}

#[test]
fn completions_are_scripts() {
    assert!(jocko(&["completion", "bash"]).ok().contains("_jocko()"));
    assert!(jocko(&["completion", "zsh"]).ok().contains("#compdef jocko"));
    jocko(&["completion", "tcsh"]).fails(2, &["tcsh", "bash"]);
}

#[test]
fn a_reader_that_has_seen_enough_causes_no_panic() {
    for arguments in [&["completion", "bash"][..], &["config", "show"], &["--help"]] {
        let mut child = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn nobody_there_is_exit_code_5() {
    let [port] = free_ports().unwrap();
    let nobody = format!("127.0.0.1:{port}");
    for arguments in [
        &["topic", "list"][..],
        &["topic", "create", "x"],
        &["topic", "describe", "x"],
        &["topic", "delete", "x", "-y"],
        &["produce", "x"],
        &["consume", "x", "-e"],
        &["cluster", "status"],
    ] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-b", &nobody]);
        jocko(&arguments).fails(5, &["cannot reach", &nobody, "start a broker with `jocko`"]);
    }
}
