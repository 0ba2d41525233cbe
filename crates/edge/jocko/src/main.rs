//! `jocko`: the broker and the tools for it, in one binary. One file per command.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks")]

mod arguments;
mod command;
mod failure;
mod live;
mod output;
mod records_format;

use std::process::ExitCode;

fn main() -> ExitCode {
    // When a shell asks for words, this answers and ends.
    live::complete();
    let matches = match arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match command::run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.is_worth_saying() {
                eprintln!("{}", output::harmless(&failure.to_string()));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
