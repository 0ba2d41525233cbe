//! `docs/reference/commands.md`, which follows from the commands themselves.

use super::all;
use clap::{Arg, Command};
use std::fmt::Write;

const HEAD: &str = "# Commands\n\n\
    Follows from the command line; after a change of it, run `UPDATE_EXPECT=1 cargo test -p jocko --bin jocko the_page`.\n\n\
    Every command that asks a cluster has `-b, --brokers HOST:PORT,...` (or `JOCKO_BROKERS`; localhost:9092 without) and `--timeout TIME`\n\
    (10s). `start` and `config` take the [settings](settings.md) as flags. Exit codes: 0 done, 1 failed, 2 asked for wrongly, 3 not as\n\
    it was to be (unhealthy), 5 nobody answered.\n";

#[test]
fn the_page_of_commands_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/commands.md");
    let page = render();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/reference/commands.md is stale: UPDATE_EXPECT=1 renews it");
}

fn render() -> String {
    let mut page = HEAD.to_owned();
    for (name, command) in all() {
        section(&mut page, &name, &command).unwrap();
    }
    page
}

fn section(page: &mut String, name: &str, command: &Command) -> std::fmt::Result {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    write!(page, "\n## jocko {name}\n\n{about}.\n")?;
    let shown = |arg: &&Arg| {
        let is_setting = jocko_config::DEFINITIONS.iter().any(|each| each.key == arg.get_id());
        let is_everywhere = ["brokers", "timeout", "help"].contains(&arg.get_id().as_str());
        !is_setting && !is_everywhere && !arg.is_hide_set()
    };
    let mut rows = command.get_arguments().filter(shown).peekable();
    if rows.peek().is_some() {
        page.push_str("\n| Argument | What it does |\n| --- | --- |\n");
    }
    for arg in rows {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(
            page,
            "| `{}` | {} |",
            spelled(arg).replace('|', "\\|"),
            help.replace('|', "\\|")
        )?;
    }
    match command.get_after_help() {
        Some(words) => write!(page, "\n```text\n{}\n```\n", words.to_string().trim()),
        None => Ok(()),
    }
}

/// As it is typed: `-p, --partition N,...`.
fn spelled(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let takes_value = arg.get_action().takes_values();
    let values = arg.get_value_names().filter(|_| takes_value).unwrap_or_default();
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    [names.join(", "), values.join(" ")].join(" ").trim().to_owned()
}
