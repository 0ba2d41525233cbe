//! `cargo xtask chaos`: brokers of a cluster are killed, paused, cut off, restarted and wiped while
//! clients of several libraries write and read; what they saw is judged.

use crate::compat::historian;
use crate::torture::testkit;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// What says how long a run is to be: without any of these it is the default run, with everybody's
/// clients.
const LENGTHS: [&str; 5] = ["--row", "--faults", "--cycles", "--seconds", "--foreign"];
/// Everybody's clients.
const EVERYBODY: &str = "kcat,java,franz-go,confluent-kafka-python";

/// `cargo xtask chaos [--brokers N] [--faults kill,pause,cut,roll,wipe,...] [--row R1]
/// [--other BINARY] [--cycles N] [--seconds S] [--seed N]
/// [--foreign kcat,java,franz-go,confluent-kafka-python] [--require-all]`: see
/// docs/internals/chaos.md.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let requires_all = arguments.iter().any(|argument| argument == "--require-all");
    let mut all = arguments.to_vec();
    if !arguments.iter().any(|argument| LENGTHS.contains(&argument.as_str())) {
        all.extend(["--foreign", EVERYBODY].map(str::to_owned));
    }
    for name in foreign(&all)? {
        match historian(root, &name) {
            Ok(command) => {
                all.extend(["--program".to_owned(), format!("{name}={}", words(&command)?)]);
            }
            Err(why) if requires_all => bail!("{why:#}"),
            Err(why) => println!("skipped: {why:#}"),
        }
    }
    testkit(root, "chaos", &all)
}

/// The clients that need a program; kcat is one itself.
fn foreign(arguments: &[String]) -> Result<Vec<String>> {
    let Some(at) = arguments.iter().position(|argument| argument == "--foreign") else {
        return Ok(Vec::new());
    };
    let names = arguments.get(at + 1).context("--foreign wants names of clients")?;
    let names = names.split(',').filter(|name| !["kcat", ""].contains(name));
    Ok(names.map(str::to_owned).collect())
}

/// A command as the test kit takes it: a list in JSON.
fn words(command: &Command) -> Result<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Option<Vec<&str>> = words.map(|word| word.to_str()).collect();
    Ok(serde_json::to_string(&words.context("a command in UTF-8")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_need_programs_are_found() {
        let check = |arguments: &[&str], expect: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(foreign(&arguments).unwrap(), expect, "{arguments:?}");
        };
        check(&[], &[]);
        check(&["--seed", "1"], &[]);
        check(&["--foreign", "kcat,java", "--seed", "1"], &["java"]);
        assert!(foreign(&["--foreign".to_owned()]).is_err());
    }

    #[test]
    fn commands_travel_as_json() {
        let mut command = Command::new("java");
        command.args(["-cp", "a b:c"]);
        assert_eq!(words(&command).unwrap(), r#"["java","-cp","a b:c"]"#);
    }
}
