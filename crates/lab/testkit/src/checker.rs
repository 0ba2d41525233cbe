//! Whether what clients saw of a cluster can be: their history in, a judgement out. What it looks
//! for is what Jepsen's checker for Kafka looks for, without transactions; see
//! `docs/internals/chaos.md`.
//!
//! It knows no broker and no client: whoever has [`Event`]s, as JSON lines of a program in another
//! language or made by a test, can have them judged. A record costs 32 bytes or so, each event
//! beyond that nothing, so that millions are judged in seconds.

mod event;
mod pages;
mod verdict;

#[cfg(test)]
mod tests;

pub use event::{Event, Outcome, Run};
pub use verdict::{Anomaly, Found, Verdict};

use pages::Pages;
use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

/// The most records of one send or one run of a poll: what a line may make us remember.
const COUNT_MAX: u32 = 1 << 20;

/// Why a history cannot be judged: it is no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It could not be read.
    #[error("line {line}: {source}")]
    Io {
        /// Which line, from 1.
        line: u64,
        /// The system's word.
        source: std::io::Error,
    },
    /// A line is no event.
    #[error("line {line} is no event: {source}")]
    Json {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An event cannot be: the client that wrote it is at fault.
    #[error("{0}")]
    Impossible(String),
}

/// Where a partition stands among all that occur.
type Place = u32;

/// What is known of one value.
#[derive(Debug, Clone, Copy)]
struct Value {
    /// The first offset at which it was seen or acknowledged; negative: none.
    offset: i64,
    /// Where that was.
    found_in: Place,
    /// Where it was sent to.
    sent_to: Place,
    /// By whom.
    process: u32,
    /// What became of it; none if nobody sent it.
    outcome: Option<Outcome>,
    was_read: bool,
    /// By the one who read the whole partition in the end.
    was_read_finally: bool,
}

impl Default for Value {
    fn default() -> Self {
        Self {
            offset: -1,
            found_in: 0,
            sent_to: 0,
            process: 0,
            outcome: None,
            was_read: false,
            was_read_finally: false,
        }
    }
}

/// What is known of one partition.
#[derive(Debug, Default)]
struct Partition {
    name: String,
    /// The first value at each offset; 0 where none was seen.
    log: Pages<u64>,
    /// The offset after the last that was read.
    read_to: i64,
    /// The offset after the last that was read or acknowledged.
    known_to: i64,
    /// Who read it in the end, and where it ended.
    last: Option<(u32, i64)>,
}

/// A consumer jumped from one offset to another.
#[derive(Debug)]
struct Jump {
    process: u32,
    place: Place,
    from: i64,
    to: i64,
}

/// Takes a history, event by event.
#[derive(Debug, Default)]
pub struct Checker {
    places: HashMap<String, BTreeMap<u32, Place>>,
    partitions: Vec<Partition>,
    values: Pages<Value>,
    /// What each consumer of a partition is due.
    positions: HashMap<(u32, Place), i64>,
    jumps: Vec<Jump>,
    /// Batches whose fate is not known, by their first value and count.
    batches: Vec<(u64, u32)>,
    verdict: Verdict,
}

impl Checker {
    /// Takes the next event.
    ///
    /// # Errors
    /// When it cannot be, whatever the cluster does.
    pub fn observe(&mut self, event: &Event) -> Result<(), HistoryError> {
        match event {
            Event::Send { process, topic, partition, value, count, offset, outcome } => {
                let place = self.place(topic, *partition);
                self.sent((*process, place), (*value, *count), *offset, *outcome)
            }
            Event::Poll { process, topic, partition, records } => {
                let place = self.place(topic, *partition);
                records.iter().try_for_each(|run| self.polled(*process, place, *run))
            }
            Event::Seek { process, topic, partition } => {
                let place = self.place(topic, *partition);
                self.positions.remove(&(*process, place));
                Ok(())
            }
            Event::Final { process, topic, partition, end } => {
                let place = self.place(topic, *partition);
                self.partition(place).last = Some((*process, *end));
                Ok(())
            }
        }
    }

    /// Takes all lines of a history; how many.
    ///
    /// # Errors
    /// When a line cannot be read, is no event, or cannot be.
    pub fn read(&mut self, history: impl BufRead) -> Result<u64, HistoryError> {
        let mut count = 0;
        for (line, text) in (1..).zip(history.lines()) {
            let text = text.map_err(|source| HistoryError::Io { line, source })?;
            if text.is_empty() {
                continue;
            }
            let event = serde_json::from_str(&text)
                .map_err(|source| HistoryError::Json { line, source })?;
            self.observe(&event)
                .map_err(|error| HistoryError::Impossible(format!("line {line}: {error}")))?;
            count += 1;
        }
        Ok(count)
    }

    fn place(&mut self, topic: &str, partition: u32) -> Place {
        if let Some(place) = self.places.get(topic).and_then(|places| places.get(&partition)) {
            return *place;
        }
        let place = Place::try_from(self.partitions.len()).expect("fewer partitions than events");
        let name = format!("{topic} {partition}");
        self.partitions.push(Partition { name, ..Partition::default() });
        self.places.entry(topic.to_owned()).or_default().insert(partition, place);
        place
    }

    fn partition(&mut self, place: Place) -> &mut Partition {
        &mut self.partitions[place as usize]
    }

    fn sent(
        &mut self,
        (process, place): (u32, Place),
        (first, count): (u64, u32),
        offset: Option<i64>,
        outcome: Outcome,
    ) -> Result<(), HistoryError> {
        let is_acknowledged = outcome == Outcome::Acknowledged;
        if is_acknowledged != offset.is_some() {
            return Err(impossible("an offset belongs to what is acknowledged, and only to that"));
        }
        check_run(offset.unwrap_or(0), first, count)?;
        for value in first..first + u64::from(count) {
            let cell = self.values.get_mut(value);
            if cell.outcome.is_some() {
                return Err(HistoryError::Impossible(format!("value {value} was sent twice")));
            }
            (cell.sent_to, cell.process, cell.outcome) = (place, process, Some(outcome));
        }
        let total = match outcome {
            Outcome::Acknowledged => &mut self.verdict.acknowledged,
            Outcome::Unknown => &mut self.verdict.unknown,
            Outcome::Failed => &mut self.verdict.failed,
        };
        *total += u64::from(count);
        if outcome == Outcome::Unknown && count > 1 {
            self.batches.push((first, count));
        }
        if let Some(offset) = offset {
            for at in 0..count {
                self.sighted(place, offset + i64::from(at), first + u64::from(at));
            }
        }
        Ok(())
    }

    fn polled(&mut self, process: u32, place: Place, run: Run) -> Result<(), HistoryError> {
        let Run(from, first, count) = run;
        check_run(from, first, count)?;
        let next = from + i64::from(count);
        if let Some(due) = self.positions.insert((process, place), next) {
            if from > due {
                self.jumps.push(Jump { process, place, from: due, to: from });
            } else if from < due {
                let name = &self.partitions[place as usize].name;
                self.verdict.report(Anomaly::NonmonotonicPoll, || {
                    format!("{name}: process {process} was handed {from} where {due} was due")
                });
            }
        }
        let is_last = self.partition(place).last.is_some_and(|(last, _)| last == process);
        for at in 0..count {
            let value = first + u64::from(at);
            self.sighted(place, from + i64::from(at), value);
            let cell = self.values.get_mut(value);
            cell.was_read_finally |= is_last;
            if !std::mem::replace(&mut cell.was_read, true) {
                self.verdict.read += 1;
            }
        }
        let partition = self.partition(place);
        partition.read_to = partition.read_to.max(next);
        Ok(())
    }

    /// Somebody says that a value is at an offset.
    fn sighted(&mut self, place: Place, offset: i64, value: u64) {
        let partition = &mut self.partitions[place as usize];
        partition.known_to = partition.known_to.max(offset + 1);
        let held = partition.log.get_mut(offset.unsigned_abs());
        match *held {
            0 => *held = value,
            other if other != value => {
                let name = &partition.name;
                self.verdict.report(Anomaly::InconsistentOffsets, || {
                    format!("{name}: offset {offset} has held {} and {}", Name(other), Name(value))
                });
            }
            _ => {}
        }
        let cell = self.values.get_mut(value);
        if cell.offset < 0 {
            (cell.offset, cell.found_in) = (offset, place);
        } else if (cell.offset, cell.found_in) != (offset, place) {
            let (before, found_in) = (cell.offset, cell.found_in);
            let (first, name) =
                (&self.partitions[found_in as usize].name, &self.partitions[place as usize].name);
            self.verdict.report(Anomaly::Duplicate, || {
                format!("{} is at {before} of {first} and at {offset} of {name}", Name(value))
            });
        }
    }

    /// The judgement, after the last event.
    #[must_use]
    pub fn judge(mut self) -> Verdict {
        self.judge_values();
        self.judge_batches();
        self.judge_jumps();
        for partition in &self.partitions {
            let Partition { name, known_to, .. } = partition;
            if let Some((_, end)) = partition.last.filter(|(_, end)| end < known_to) {
                self.verdict.report(Anomaly::ShortLog, || {
                    format!("{name}: ends at {end}, and records up to {known_to} were known")
                });
            }
        }
        self.verdict
    }

    /// What is to be said of each value when all sends and all polls are known.
    fn judge_values(&mut self) {
        let verdict = &mut self.verdict;
        // The last acknowledged value of each producer in each partition.
        let mut last: HashMap<(u32, Place), (u64, i64)> = HashMap::new();
        for (value, cell) in self.values.iter() {
            if cell.was_read {
                judge_read(verdict, &self.partitions, value, cell);
            }
            if cell.outcome != Some(Outcome::Acknowledged) {
                continue;
            }
            let partition = &self.partitions[cell.sent_to as usize];
            let (name, offset) = (&partition.name, cell.offset);
            let before = last.insert((cell.process, cell.sent_to), (value, offset));
            if let Some((earlier, at)) = before.filter(|(_, at)| offset <= *at) {
                verdict.report(Anomaly::NonmonotonicSend, || {
                    format!("{name}: {} is at {at}, and {} at {offset}", Name(earlier), Name(value))
                });
            }
            if cell.was_read {
                continue;
            }
            if offset < partition.read_to {
                verdict.report(Anomaly::LostWrite, || {
                    format!("{name}: {} was acknowledged at {offset}", Name(value))
                });
            } else if partition.last.is_some() {
                verdict.report(Anomaly::Unseen, || {
                    format!("{name}: {} was acknowledged at {offset}", Name(value))
                });
            } else {
                verdict.unread += 1;
            }
        }
    }

    /// A batch is written as a whole or not at all.
    fn judge_batches(&mut self) {
        for (first, count) in &self.batches {
            let values = *first..*first + u64::from(*count);
            let read = |value: &u64| self.values.get(*value).was_read;
            let Some(seen) = values.clone().find(read) else { continue };
            let at = self.values.get(seen);
            let read_to = self.partitions[at.found_in as usize].read_to;
            for value in values {
                // Where it must be, if it is as far from the one that was seen as when it was sent.
                let ahead =
                    i64::try_from(value).unwrap_or(i64::MAX) - i64::try_from(seen).unwrap_or(0);
                let offset = at.offset.saturating_add(ahead);
                if !self.values.get(value).was_read && offset < read_to {
                    let name = &self.partitions[at.found_in as usize].name;
                    self.verdict.report(Anomaly::LostWrite, || {
                        format!(
                            "{name}: {} of the batch of {}, which was read",
                            Name(value),
                            Name(seen)
                        )
                    });
                }
            }
        }
    }

    /// A jump over nothing is innocent: not every offset has a record.
    fn judge_jumps(&mut self) {
        for Jump { process, place, from, to } in &self.jumps {
            let partition = &self.partitions[*place as usize];
            let mut between = partition.log.range(from.unsigned_abs(), to.unsigned_abs());
            if let Some((offset, value)) = between.find(|(_, value)| *value != 0) {
                let name = &partition.name;
                self.verdict.report(Anomaly::PollSkip, || {
                    format!(
                        "{name}: process {process} went from {from} to {to} over {} at {offset}",
                        Name(value)
                    )
                });
            }
        }
    }
}

/// What is wrong with a value that was read.
fn judge_read(verdict: &mut Verdict, partitions: &[Partition], value: u64, cell: Value) {
    let name = &partitions[cell.found_in as usize].name;
    let offset = cell.offset;
    let end = partitions[cell.found_in as usize].last.map_or(0, |(_, end)| end);
    if !cell.was_read_finally && offset < end {
        verdict.report(Anomaly::LostWrite, || {
            format!("{name}: {} was read at {offset} and is gone in the end", Name(value))
        });
    }
    match cell.outcome {
        None => verdict.report(Anomaly::Phantom, || {
            format!("{name}: nobody sent {} at {offset}", Name(value))
        }),
        Some(_) if cell.sent_to != cell.found_in => {
            let sent_to = &partitions[cell.sent_to as usize].name;
            verdict.report(Anomaly::Phantom, || {
                format!("{name}: {} at {offset} was sent to {sent_to}", Name(value))
            });
        }
        Some(Outcome::Failed) => verdict.report(Anomaly::FailedRead, || {
            format!("{name}: {} at {offset} had failed", Name(value))
        }),
        Some(Outcome::Unknown) => verdict.unknown_read += 1,
        Some(Outcome::Acknowledged) => {}
    }
}

fn check_run(offset: i64, first: u64, count: u32) -> Result<(), HistoryError> {
    let is_small = (1..=COUNT_MAX).contains(&count);
    let fits = first.checked_add(u64::from(count)).is_some()
        && offset.checked_add(i64::from(count)).is_some();
    if first == 0 || offset < 0 || !is_small || !fits {
        let what = format!("{count} records from value {first} at offset {offset} cannot be");
        return Err(HistoryError::Impossible(what));
    }
    Ok(())
}

fn impossible(words: &str) -> HistoryError {
    HistoryError::Impossible(words.to_owned())
}

/// A value in words: programs make theirs of the producer's number and its own.
struct Name(u64);

/// What producers number their records below, see [`value_of`].
const NUMBER_BITS: u32 = 40;

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0 >> NUMBER_BITS, self.0 & ((1 << NUMBER_BITS) - 1))
    }
}

/// The value of the record that a process sends as its how-manieth: what every program does that
/// writes histories, so that no two values are equal and those of a process rise.
///
/// # Panics
/// When either number is too large: processes below 2^24, records below 2^40.
#[must_use]
pub fn value_of(process: u32, number: u64) -> u64 {
    assert!(process > 0 && process < 1 << 24 && number < 1 << NUMBER_BITS, "too many records");
    (u64::from(process) << NUMBER_BITS) | number
}
