//! What clients saw, judged. Where all page caches were lost at once and nothing is synced (relaxed
//! mode), what was acknowledged or read before may be lost: of each log a tail, and nothing but that.

use jocko_testkit::{Checker, Event, Outcome};
use std::collections::BTreeMap;

/// Judges a history; before each event of `losses`, by its number, everything may have been lost.
///
/// # Errors
/// What cannot be.
pub(super) fn judge(events: &[Event], losses: &[usize]) -> Result<(), String> {
    let mut from = 0;
    for until in losses.iter().copied().chain([events.len()]) {
        judge_from(events, from, until)?;
        from = until;
    }
    let mut from = 0;
    for until in losses {
        judge_loss(events, &events[from..*until])?;
        from = *until;
    }
    Ok(())
}

/// Judges what happened between two losses. What was sent before may be there, or not, and so may what
/// was under way and is told of later.
fn judge_from(events: &[Event], from: usize, until: usize) -> Result<(), String> {
    let mut checker = Checker::default();
    let mut observe = |event: &Event| checker.observe(event).map_err(|error| error.to_string());
    for event in events[..from].iter().chain(&events[until..]) {
        let mut event = event.clone();
        if let Event::Send { offset, outcome, .. } = &mut event {
            (*offset, *outcome) = (None, Outcome::Unknown);
            observe(&event)?;
        }
    }
    for event in &events[from..until] {
        observe(event)?;
    }
    let verdict = checker.judge();
    if verdict.is_clean() { Ok(()) } else { Err(format!("{verdict}")) }
}

type Place = (String, u32);

/// Looks what is left in the end of what was acknowledged before a loss: it is where it was, and
/// nothing is missing below it.
fn judge_loss(events: &[Event], before: &[Event]) -> Result<(), String> {
    let left = read_finally(events);
    let mut acknowledged: BTreeMap<(&str, u32, i64), u64> = BTreeMap::new();
    for event in before {
        if let Event::Send { topic, partition, value, count, offset: Some(offset), .. } = event {
            for at in 0..*count {
                let (offset, value) = (offset + i64::from(at), value + u64::from(at));
                acknowledged.insert((topic, *partition, offset), value);
            }
        }
    }
    let mut lost: BTreeMap<(&str, u32), i64> = BTreeMap::new();
    for ((topic, partition, offset), value) in acknowledged {
        let name = || format!("{topic}-{partition}: what was acknowledged at {offset}");
        match left.get(&value) {
            None => drop(lost.entry((topic, partition)).or_insert(offset)),
            Some((place, found)) if (place.0.as_str(), place.1) != (topic, partition) => {
                return Err(format!("{} is at {found} of {place:?}", name()));
            }
            Some((_, found)) if *found != offset => {
                return Err(format!("{} is at {found} by now", name()));
            }
            Some(_) => {
                if let Some(first) = lost.get(&(topic, partition)) {
                    return Err(format!("{} is there, and what was at {first} is lost", name()));
                }
            }
        }
    }
    Ok(())
}

/// Where each value is in the end.
fn read_finally(events: &[Event]) -> BTreeMap<u64, (Place, i64)> {
    let readers = events.iter().filter_map(|event| match event {
        Event::Final { process, .. } => Some(*process),
        _ => None,
    });
    let readers: Vec<u32> = readers.collect();
    let mut found = BTreeMap::new();
    for event in events {
        let Event::Poll { process, topic, partition, records } = event else { continue };
        if !readers.contains(process) {
            continue;
        }
        for run in records {
            for at in 0..run.2 {
                let place = (topic.clone(), *partition);
                found.insert(run.1 + u64::from(at), (place, run.0 + i64::from(at)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_testkit::{Run, value_of};

    fn sent(number: u64, offset: i64) -> Event {
        Event::Send {
            process: 1,
            topic: "t".to_owned(),
            partition: 0,
            value: value_of(1, number),
            count: 1,
            offset: Some(offset),
            outcome: Outcome::Acknowledged,
        }
    }

    fn finally(found: &[(u64, i64)]) -> Vec<Event> {
        let (process, topic, partition) = (9, "t".to_owned(), 0);
        let runs = found.iter().map(|(number, offset)| Run(*offset, value_of(1, *number), 1));
        let end = found.last().map_or(0, |(_, offset)| offset + 1);
        vec![
            Event::Final { process, topic: topic.clone(), partition, end },
            Event::Poll { process, topic, partition, records: runs.collect() },
        ]
    }

    /// Three records, a loss, one more; then what is found.
    fn judged(found: &[(u64, i64)], last: i64) -> Result<(), String> {
        let mut events = vec![sent(1, 0), sent(2, 1), sent(3, 2), sent(4, last)];
        events.extend(finally(found));
        judge(&events, &[3])
    }

    #[test]
    fn a_tail_may_be_lost_and_nothing_else() {
        assert_eq!(judged(&[(1, 0), (2, 1), (3, 2), (4, 3)], 3), Ok(()));
        assert_eq!(judged(&[(1, 0), (4, 1)], 1), Ok(()), "others take the offsets");
        assert_eq!(judged(&[(4, 0)], 0), Ok(()), "all is a tail, too");
        assert!(judged(&[(1, 0), (3, 2), (4, 3)], 3).is_err(), "a hole");
        assert!(judged(&[(2, 0), (4, 1)], 1).is_err(), "moved");
        assert!(judged(&[(1, 0), (2, 1)], 2).is_err(), "what came after the loss is kept");
        assert!(judged(&[(1, 0), (4, 1), (1, 2)], 1).is_err(), "twice");
    }

    #[test]
    fn without_a_loss_nothing_is_lost() {
        let mut events = vec![sent(1, 0), sent(2, 1)];
        events.extend(finally(&[(1, 0)]));
        assert!(judge(&events, &[]).is_err());
    }
}
