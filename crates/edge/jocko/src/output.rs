//! Printing: tables for people, JSON for programs.

use crate::failure::Result;
use clap::ArgMatches;
use serde_json::Value;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// Whether a command was asked for JSON.
pub(crate) fn wants_json(matches: &ArgMatches) -> bool {
    matches.get_one::<String>("output").is_some_and(|format| format == "json")
}

/// Prints a line. A reader that has gone away, as in `jocko topic list | head -1`, ends the
/// command without a word.
pub(crate) fn say(words: impl Display) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{words}")?)
}

/// Whether whoever read the output has gone away, which a command that waits would else notice only
/// when it has something to write.
pub(crate) fn reader_has_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    // Errors are told unasked.
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&now)).is_ok()
        && watched[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL)
}

/// Whether a person looks on: nobody reads hints in a log.
pub(crate) fn is_shown() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

/// Prints a value as JSON.
pub(crate) fn json(value: &Value) -> Result<()> {
    say(format_args!("{value:#}"))
}

/// Prints rows under a header, in columns as wide as they need to be. Numbers stand to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let is_number = |row: &Vec<String>| row.get(at).is_some_and(|cell| is_number(cell));
        if !rows.is_empty() && rows.iter().all(is_number) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table.to_string().lines().try_for_each(|line| say(line.trim_end()))
}

/// A number or a length of time, or the absence of one; not an address, and not an id.
fn is_number(cell: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || "+-,.smhd/".contains(c);
    cell.chars().all(is_part) && cell.matches('.').count() < 2
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::{grouped, is_number};

    #[test]
    fn only_numbers_stand_to_the_right() {
        for number in ["12,410", "8.2s", "1d1h", "+310/s", "-", "-1.5"] {
            assert!(is_number(number), "{number}");
        }
        for text in ["127.0.0.1", "1a-2b", "localhost:9092", "broker 1"] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, expect) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")]
        {
            assert_eq!(grouped(number), expect);
        }
    }
}
