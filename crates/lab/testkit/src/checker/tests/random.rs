//! Random histories of a log that is as it should be, and the same with one thing wrong.

use super::*;

/// A log and who works with it.
struct World {
    random: fastrand::Rng,
    /// By partition: the values in it.
    logs: Vec<Vec<u64>>,
    /// By process: how many it has sent.
    numbers: Vec<u64>,
    /// By consumer and partition: where it is.
    positions: Vec<Vec<usize>>,
    events: Vec<Event>,
    /// What has no answer yet and is not written: it may be, later.
    late: Vec<(usize, Vec<u64>)>,
}

const PRODUCERS: usize = 3;
const CONSUMERS: usize = 3;
const PARTITIONS: usize = 2;

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            logs: vec![Vec::new(); PARTITIONS],
            numbers: vec![0; PRODUCERS],
            positions: vec![vec![0; PARTITIONS]; CONSUMERS],
            events: Vec::new(),
            late: Vec::new(),
        }
    }

    fn send(&mut self) {
        let at = self.random.usize(..PRODUCERS);
        let process = u32::try_from(at).unwrap() + 1;
        let partition = self.random.usize(..PARTITIONS);
        let count = self.random.u32(1..5);
        let value = value_of(process, self.numbers[at]);
        self.numbers[at] += u64::from(count);
        let values: Vec<u64> = (value..value + u64::from(count)).collect();
        let mut offset = None;
        let outcome = match self.random.u8(..10) {
            0 => Outcome::Failed,
            1 => {
                self.late.push((partition, values));
                Outcome::Unknown
            }
            2 => {
                self.logs[partition].extend(values);
                Outcome::Unknown
            }
            _ => {
                offset = Some(i64::try_from(self.logs[partition].len()).unwrap());
                self.logs[partition].extend(values);
                Outcome::Acknowledged
            }
        };
        let (topic, partition) = ("t".to_owned(), u32::try_from(partition).unwrap());
        self.events.push(Event::Send { process, topic, partition, value, count, offset, outcome });
    }

    fn poll(&mut self, consumer: usize, partition: usize, count: usize) {
        let log = &self.logs[partition];
        let from = self.positions[consumer][partition];
        let to = log.len().min(from + count);
        let runs = (from..to).map(|at| Run(i64::try_from(at).unwrap(), log[at], 1)).collect();
        self.positions[consumer][partition] = to;
        self.events.push(Event::Poll {
            process: 100 + u32::try_from(consumer).unwrap(),
            topic: "t".to_owned(),
            partition: u32::try_from(partition).unwrap(),
            records: runs,
        });
    }

    fn seek(&mut self) {
        let (consumer, partition) =
            (self.random.usize(..CONSUMERS), self.random.usize(..PARTITIONS));
        let end = self.logs[partition].len();
        self.positions[consumer][partition] = self.random.usize(..=end);
        self.events.push(Event::Seek {
            process: 100 + u32::try_from(consumer).unwrap(),
            topic: "t".to_owned(),
            partition: u32::try_from(partition).unwrap(),
        });
    }

    /// A correct history, with a final read by one who has read nothing before.
    fn run(mut self) -> Vec<Event> {
        for _ in 0..self.random.usize(1..150) {
            match self.random.u8(..10) {
                0..5 => self.send(),
                5 => self.seek(),
                6 if !self.late.is_empty() => {
                    let (partition, values) = self.late.remove(0);
                    self.logs[partition].extend(values);
                }
                _ => {
                    let consumer = self.random.usize(..CONSUMERS);
                    let partition = self.random.usize(..PARTITIONS);
                    let count = self.random.usize(1..20);
                    self.poll(consumer, partition, count);
                }
            }
        }
        self.positions.push(vec![0; PARTITIONS]);
        for partition in 0..PARTITIONS {
            let end = self.logs[partition].len();
            self.events.push(Event::Final {
                process: 100 + u32::try_from(CONSUMERS).unwrap(),
                topic: "t".to_owned(),
                partition: u32::try_from(partition).unwrap(),
                end: i64::try_from(end).unwrap(),
            });
            self.poll(CONSUMERS, partition, end);
        }
        // Lines of different processes may stand in any order: sends come late.
        if self.random.bool() {
            self.events.sort_by_key(|event| matches!(event, Event::Send { .. }));
        }
        self.events
    }
}

/// The acknowledged sends.
fn acknowledged(events: &[Event]) -> Vec<usize> {
    let is = |event: &Event| matches!(event, Event::Send { offset: Some(_), .. });
    (0..events.len()).filter(|at| is(&events[*at])).collect()
}

/// Changes all that consumers were handed.
fn change_polls(events: &mut [Event], change: impl Fn(u32, &mut Vec<Run>)) {
    for event in events {
        if let Event::Poll { partition, records, .. } = event {
            change(*partition, records);
        }
    }
}

/// Damages a history in one way; what must be found, or `None` if there is nothing to damage.
fn plant(events: &mut Vec<Event>, kind: u8, random: &mut fastrand::Rng) -> Option<Anomaly> {
    let sends = acknowledged(events);
    let at = *sends.get(random.usize(..sends.len().max(1)))?;
    let Event::Send { partition: of, value, count, offset: Some(offset), .. } = events[at].clone()
    else {
        return None;
    };
    let is_its = move |partition: u32, run: &Run| {
        partition == of && (value..value + u64::from(count)).contains(&run.1)
    };
    match kind {
        // Nobody reads it, although it was promised.
        0 => {
            change_polls(events, |partition, runs| runs.retain(|run| !is_its(partition, run)));
            let beyond = |event: &Event| {
                matches!(event, Event::Poll { partition, records, .. }
                if *partition == of && records.iter().any(|run| run.0 > offset))
            };
            Some(if events.iter().any(beyond) { Anomaly::LostWrite } else { Anomaly::Unseen })
        }
        // It is there twice: once more at the end.
        1 => {
            let end = events.iter().find_map(|event| match event {
                Event::Final { partition, end, .. } if *partition == of => Some(*end),
                _ => None,
            })?;
            let again = vec![Run(end, value, 1)];
            let topic = "t".to_owned();
            events.push(Event::Poll { process: 999, topic, partition: of, records: again });
            Some(Anomaly::Duplicate)
        }
        // Its sender was told another offset than the one where it is.
        2 => {
            if let Event::Send { offset, .. } = &mut events[at] {
                *offset = offset.map(|offset| offset + 1);
            }
            Some(Anomaly::Duplicate)
        }
        // One reader was shown something else in its place.
        3 => {
            let topic = "t".to_owned();
            let other = vec![Run(offset, value_of(50, 0), 1)];
            events.push(Event::Poll { process: 999, topic, partition: of, records: other });
            Some(Anomaly::InconsistentOffsets)
        }
        // Its sender was told that it failed.
        4 => {
            if let Event::Send { offset, outcome, .. } = &mut events[at] {
                (*offset, *outcome) = (None, Outcome::Failed);
            }
            Some(Anomaly::FailedRead)
        }
        // Nobody sent it.
        5 => {
            events.remove(at);
            Some(Anomaly::Phantom)
        }
        // The final reader, who was handed all at once, jumps over it.
        6 => skip(events, of, value).then_some(Anomaly::PollSkip),
        // The final reader is handed it a second time, later.
        _ => {
            let process = 100 + u32::try_from(CONSUMERS).unwrap();
            let (topic, records) = ("t".to_owned(), vec![Run(offset, value, 1)]);
            events.push(Event::Poll { process, topic, partition: of, records });
            Some(Anomaly::NonmonotonicPoll)
        }
    }
}

/// Takes a record from what the final reader was handed; whether it was between others.
fn skip(events: &mut [Event], of: u32, value: u64) -> bool {
    let final_reader = 100 + u32::try_from(CONSUMERS).unwrap();
    for event in events.iter_mut() {
        if let Event::Poll { process, partition, records, .. } = event
            && (*process, *partition) == (final_reader, of)
        {
            let place = records.iter().position(|run| run.1 == value).unwrap();
            let is_within = place > 0 && place + 1 < records.len();
            records.remove(place);
            return is_within;
        }
    }
    false
}

proptest! {
    #[test]
    fn correct_histories_are_consistent(seed in any::<u64>()) {
        let verdict = judge(&World::new(seed).run());
        prop_assert!(verdict.is_clean(), "{verdict}");
        prop_assert_eq!(verdict.unread, 0);
    }

    #[test]
    fn whatever_is_planted_is_found(seed in any::<u64>(), kind in 0_u8..8) {
        let mut events = World::new(seed).run();
        let mut random = fastrand::Rng::with_seed(seed ^ 1);
        if let Some(anomaly) = plant(&mut events, kind, &mut random) {
            let verdict = judge(&events);
            prop_assert!(verdict.count(anomaly) > 0, "{} of kind {}: {}", anomaly, kind, verdict);
        }
    }

    #[test]
    fn no_line_does_harm(line in ".{0,80}") {
        let _ = Checker::default().read(line.as_bytes());
    }
}
