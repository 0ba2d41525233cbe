//! Places in partitions, as a person writes them.

use crate::command::parse_duration;
use jocko_types::Timestamp;

/// A place in a partition, as a person writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Start,
    End,
    Offset(i64),
    BeforeEnd(i64),
    At(Timestamp),
}

/// `FROM` or `FROM:TO`. A time of day holds colons, so the split is at the last that works.
pub(crate) fn parse_range(text: &str, now: Timestamp) -> Result<(Place, Option<Place>), String> {
    if let Ok(from) = parse_place(text, now) {
        return Ok((from, None));
    }
    let splits = text.match_indices(':').map(|(at, _)| text.split_at(at));
    for (from, to) in splits {
        let to = &to[1..];
        let from = if from.is_empty() { Ok(Place::Start) } else { parse_place(from, now) };
        if let (Ok(from), Ok(to)) = (from, parse_place(to, now)) {
            return Ok((from, Some(to)));
        }
    }
    Err(format!("{text:?} is no position: start, end, OFFSET, -N, @TIME, @-1h, or FROM:TO"))
}

fn parse_place(text: &str, now: Timestamp) -> Result<Place, ()> {
    match text {
        "start" | "beginning" | "earliest" => return Ok(Place::Start),
        "end" | "latest" => return Ok(Place::End),
        "now" => return Ok(Place::At(now)),
        _ => {}
    }
    if let Some(time) = text.strip_prefix('@') {
        return parse_time(time, now).map(Place::At).ok_or(());
    }
    match text.parse::<i64>() {
        Ok(back) if text.starts_with('-') => Ok(Place::BeforeEnd(-back)),
        Ok(offset) => Ok(Place::Offset(offset)),
        Err(_) => Err(()),
    }
}

/// `-1h` before now, milliseconds since 1970, `2026-11-23`, or an RFC 3339 time.
fn parse_time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = i64::try_from(parse_duration(ago)?.as_millis()).ok()?;
        return Some(Timestamp::from_millis(now.as_millis() - ago));
    }
    if let Ok(millis) = text.parse() {
        return Some(Timestamp::from_millis(millis));
    }
    let time = text.parse::<jiff::Timestamp>().or_else(|_| {
        let date: jiff::civil::Date = text.parse()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    time.ok().map(|time| Timestamp::from_millis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_ranges_are_read_as_written() {
        let now = Timestamp::from_millis(10_000_000);
        let at = |millis| Place::At(Timestamp::from_millis(millis));
        let check = |text: &str, expect: Option<(Place, Option<Place>)>| {
            assert_eq!(parse_range(text, now).ok(), expect, "{text}");
        };
        check("start", Some((Place::Start, None)));
        check("end", Some((Place::End, None)));
        check("17", Some((Place::Offset(17), None)));
        check("-5", Some((Place::BeforeEnd(5), None)));
        check("@-1h", Some((at(6_400_000), None)));
        check("@-1h:now", Some((at(6_400_000), Some(at(10_000_000)))));
        check("@1500", Some((at(1_500), None)));
        check("@1970-01-01T00:00:01Z", Some((at(1_000), None)));
        check("@1970-01-01T00:00:01Z:end", Some((at(1_000), Some(Place::End))));
        check("@1970-01-02", Some((at(86_400_000), None)));
        check("3:9", Some((Place::Offset(3), Some(Place::Offset(9)))));
        check(":9", Some((Place::Start, Some(Place::Offset(9)))));
        check("yesterday", None);
        check("", None);
    }
}
