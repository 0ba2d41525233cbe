//! Printing: tables for people, JSON for programs.

use crate::failure::Result;
use clap::ArgMatches;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// Whether a command was asked for JSON.
pub(crate) fn wants_json(matches: &ArgMatches) -> bool {
    matches.get_one::<String>("output").is_some_and(|format| format == "json")
}

/// How many characters of a name are shown: no id may push everything else off the screen.
const SHOWN_MAX: usize = 120;

/// Prints a line, or several. A reader that has gone away, as in `jocko topic list | head -1`, ends
/// the command without a word.
pub(crate) fn say(words: impl Display) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{}", harmless(&words.to_string()))?)
}

/// Words without what a terminal would obey; ends of lines stay. Anybody may choose the names of
/// groups and clients. Escaped as in JSON, so that JSON stays what it was.
pub(crate) fn harmless(words: &str) -> Cow<'_, str> {
    let is_meant = |c: char| c == '\n' || !is_obeyed(c);
    if words.chars().all(is_meant) {
        return Cow::Borrowed(words);
    }
    words
        .chars()
        .map(|c| if is_meant(c) { c.to_string() } else { escaped(c) })
        .collect::<String>()
        .into()
}

/// A name on one line, and no longer than a person reads. JSON has the whole.
pub(crate) fn short(name: &str) -> String {
    let mut rest = name.chars();
    let mut shown = String::new();
    let mut left = SHOWN_MAX;
    while let Some(c) = rest.next() {
        let piece = if is_obeyed(c) { escaped(c) } else { c.to_string() };
        let length = piece.chars().count();
        let is_last = rest.as_str().is_empty();
        if length > left || (length == left && !is_last) {
            shown.push('…');
            break;
        }
        left -= length;
        shown.push_str(&piece);
    }
    shown
}

/// Whether a terminal does something else with it than show it: controls, and what turns the
/// direction of writing.
fn is_obeyed(c: char) -> bool {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns(c)
}

/// All that is escaped lies below U+10000, where four digits say it.
fn escaped(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
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

/// Prints rows under a header, in columns as wide as they need to be. A header that begins with `>`
/// is of numbers, which stand to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> Result<()> {
    say(laid_out(header, rows))
}

fn laid_out(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_header(header.iter().map(|name| name.trim_start_matches('>')));
    for row in rows {
        table.add_row(row.iter().map(|cell| short(cell)));
    }
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        if name.starts_with('>') {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
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
    use super::{SHOWN_MAX, grouped, harmless, laid_out, short};

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn a_column_of_numbers_stands_to_the_right_whatever_it_holds() {
        let header = ["GROUP", ">LAG"];
        for (name, expect) in [
            ("sh", "GROUP  LAG\nsh       7"),
            ("h3", "GROUP  LAG\nh3       7"),
            ("12", "GROUP  LAG\n12       7"),
        ] {
            assert_eq!(laid_out(&header, &[row(&[name, "7"])]), expect);
        }
        let mixed = laid_out(&header, &[row(&["orders", "-"]), row(&["sh", "1,000"])]);
        assert_eq!(mixed, "GROUP     LAG\norders      -\nsh      1,000");
    }

    #[test]
    fn names_command_no_terminal_and_split_no_row() {
        let name = "a\u{1b}[31m\u{7}\r\n\u{9b}2J\u{202e}";
        let shown = "a\\u001b[31m\\u0007\\u000d\\u000a\\u009b2J\\u202e";
        assert_eq!(short(name), shown);
        assert_eq!(laid_out(&["GROUP"], &[row(&[name])]), format!("GROUP\n{shown}"));
        assert_eq!(harmless(name), shown.replace("\\u000a", "\n"), "lines may end");
        assert_eq!(harmless("{\n  \"grün\": 1\n}"), "{\n  \"grün\": 1\n}");
    }

    #[test]
    fn a_long_name_is_cut() {
        let fits = "é".repeat(SHOWN_MAX);
        assert_eq!(short(&fits), fits);
        let cut = format!("{}…", "é".repeat(SHOWN_MAX - 1));
        assert_eq!(short(&format!("{fits}é")), cut);
        assert!(short(&"\u{1b}".repeat(SHOWN_MAX)).chars().count() <= SHOWN_MAX);
        assert_eq!(short(""), "");
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
