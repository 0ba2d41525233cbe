//! Standard input as records: lines, taken apart, a group at a time.

use crate::failure::{Failure, Result};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Lines in one group at most; and bytes, so that a group is no burden.
const GROUP_LINES_MAX: usize = 10_000;
const GROUP_BYTES_MAX: usize = 512 * 1024;
/// How long a slow typist's line waits for company.
const LINGER: Duration = Duration::from_millis(5);
/// The longest line that is read. Brokers take no request beyond 100 MiB unless told to.
const LINE_BYTES_MAX: usize = 64 << 20;
/// How much of a line an error shows.
const SHOWN_CHARS_MAX: usize = 60;

/// How a line becomes a record.
pub(super) struct Shape {
    /// What stands between key and value.
    pub(super) separator: Option<String>,
    /// The key of every record, where lines have none.
    pub(super) key: Option<Vec<u8>>,
    /// An empty value is none.
    pub(super) empty_is_null: bool,
}

/// One line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it stands, from 1 on.
    pub(super) number: u64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

/// Lines as they come.
pub(super) struct Input<R> {
    reader: R,
    shape: Shape,
    /// The line that has begun.
    partial: Vec<u8>,
    /// The number of lines that have ended.
    count: u64,
    /// What ends the input, once the good lines before it are out.
    failure: Option<Failure>,
}

impl<R: AsyncBufRead + Unpin> Input<R> {
    pub(super) fn new(reader: R, shape: Shape) -> Self {
        Self { reader, shape, partial: Vec::new(), count: 0, failure: None }
    }

    /// The lines that are there, up to a group full; waits for the first. `None` at the end. A line
    /// that cannot be taken ends the group before it, and is told by the next call.
    pub(super) async fn next_group(&mut self) -> Result<Option<Vec<Line>>> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let Some(first) = self.next_line().await? else { return Ok(None) };
        let mut bytes = first.bytes();
        let mut group = vec![first];
        let full = tokio::time::Instant::now() + LINGER;
        while group.len() < GROUP_LINES_MAX && bytes < GROUP_BYTES_MAX {
            match tokio::time::timeout_at(full, self.next_line()).await {
                Ok(Ok(Some(line))) => {
                    bytes += line.bytes();
                    group.push(line);
                }
                Ok(Ok(None)) | Err(_) => break,
                Ok(Err(failure)) => {
                    self.failure = Some(failure);
                    break;
                }
            }
        }
        Ok(Some(group))
    }

    /// May be given up at any time: what was read of a line is kept.
    async fn next_line(&mut self) -> Result<Option<Line>> {
        loop {
            let read = self.reader.fill_buf().await?;
            if read.is_empty() {
                // The last line may have no end.
                let is_line = !self.partial.is_empty();
                return if is_line { self.end_line().map(Some) } else { Ok(None) };
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            if self.partial.len() + part.len() > LINE_BYTES_MAX {
                return Err(too_long(self.count + 1));
            }
            self.partial.extend_from_slice(part);
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return self.end_line().map(Some);
            }
        }
    }

    fn end_line(&mut self) -> Result<Line> {
        self.count += 1;
        take_apart(std::mem::take(&mut self.partial), self.count, &self.shape)
    }
}

impl Line {
    fn bytes(&self) -> usize {
        let part = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        part(&self.key) + part(&self.value)
    }
}

fn too_long(number: u64) -> Failure {
    Failure::new(format!("line {number} is longer than {} MiB", LINE_BYTES_MAX >> 20)).cure(
        "lines that end in a newline; what is as large is better kept elsewhere, and its place in a record",
    )
}

/// A line as it came, byte for byte, without its end.
fn take_apart(mut line: Vec<u8>, number: u64, shape: &Shape) -> Result<Line> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let (key, value) = match &shape.separator {
        Some(separator) => {
            let (key, value) = split_once(&line, separator.as_bytes()).ok_or_else(|| {
                Failure::new(format!(
                    "line {number} has no {separator:?} between key and value: {}",
                    shown(&line)
                ))
                .cure(format!("lines like KEY{separator}VALUE, or no --key-separator"))
            })?;
            (Some(key.to_vec()), value.to_vec())
        }
        None => (shape.key.clone(), line),
    };
    let is_null = shape.empty_is_null && value.is_empty();
    Ok(Line { number, key, value: (!is_null).then_some(value) })
}

/// The beginning of a line, in quotes.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// What stands before and after the first `separator`.
fn split_once<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    if separator.is_empty() {
        return None;
    }
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::{Input, LINE_BYTES_MAX, Shape};
    use tokio::io::BufReader;

    /// Reads all of an input; yields the values by line number, and how it ended.
    fn read(separator: Option<&str>, input: &[u8]) -> (Vec<(u64, String)>, Option<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let shape =
            Shape { separator: separator.map(str::to_owned), key: None, empty_is_null: false };
        let mut input = Input::new(BufReader::new(input), shape);
        let mut lines = Vec::new();
        loop {
            match runtime.block_on(input.next_group()) {
                Ok(Some(group)) => lines.extend(group.into_iter().map(|line| {
                    let value = line.value.unwrap_or_default();
                    (line.number, String::from_utf8_lossy(&value).into_owned())
                })),
                Ok(None) => return (lines, None),
                Err(failure) => return (lines, Some(failure.to_string())),
            }
        }
    }

    fn check(separator: Option<&str>, input: &str, expect: &[&str], failure: &[&str]) {
        let (lines, ended) = read(separator, input.as_bytes());
        let expect: Vec<(u64, String)> =
            (1..).zip(expect).map(|(number, value)| (number, (*value).to_owned())).collect();
        assert_eq!(lines, expect, "{input:?}");
        assert_eq!(ended.is_some(), !failure.is_empty(), "{input:?}: {ended:?}");
        for words in failure {
            assert!(ended.as_ref().is_some_and(|said| said.contains(words)), "{words}: {ended:?}");
        }
    }

    #[test]
    fn every_line_is_a_record() {
        check(None, "", &[], &[]);
        check(None, "a\n\nb\r\nc", &["a", "", "b", "c"], &[]);
        check(Some(":"), "k:a\nk:b:c\n", &["a", "b:c"], &[]);
    }

    #[test]
    fn a_bad_line_is_named_after_the_good_ones() {
        check(Some(":"), "k:a\nk:b\nbad\nk:c\n", &["a", "b"], &["line 3", "\"bad\"", "KEY:VALUE"]);
        check(Some(":"), "bad", &[], &["line 1"]);
        let long = format!("k:a\n{}\n", "x".repeat(1_000));
        check(Some(":"), &long, &["a"], &["line 2", "xxx\"..."]);
    }

    #[test]
    fn the_length_of_a_line_has_a_bound() {
        let mut input = b"a\n".to_vec();
        input.resize(LINE_BYTES_MAX + 3, b'x');
        let (lines, ended) = read(None, &input);
        assert_eq!(lines, [(1, "a".to_owned())]);
        assert!(ended.is_some_and(|said| said.contains("line 2 is longer than 64 MiB")));
    }
}
