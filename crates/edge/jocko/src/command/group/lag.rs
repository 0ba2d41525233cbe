//! `jocko group describe` and `jocko group lag`.

use super::standing::{Picture, Standing, pictures};
use super::{existing, group_name};
use crate::command::{client, parse_duration};
use crate::failure::{Failure, Result};
use crate::output::{grouped, json, say, short, table, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, DescribedGroup, GroupMember};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) async fn describe(matches: &ArgMatches) -> Result<()> {
    let sample = sample(matches)?;
    let mut client = client(matches)?;
    let group = existing(&mut client, group_name(matches)).await?;
    let picture = pictures(&mut client, vec![group], sample).await?.remove(0);
    if wants_json(matches) {
        let mut described = summary_json(&picture);
        described["assignor"] = picture.group.assignor.clone().into();
        described["memberList"] = picture.group.members.iter().map(member_json).collect();
        let rows = picture.standings.iter();
        described["offsets"] = rows.map(|each| standing_json(&picture.group, each)).collect();
        return json(&described);
    }
    table(&SUMMARY, &[summary(&picture)])?;
    let idle = picture.group.members.iter().filter(|member| member.assignment.is_empty());
    let idle: Vec<String> = idle.map(|member| short(&member.member)).collect();
    if !picture.standings.is_empty() {
        say("")?;
        let header =
            ["TOPIC", ">PART", ">COMMITTED", ">END", ">LAG", ">TIME-LAG", "MEMBER", "HOST"];
        let rows: Vec<_> = picture.standings.iter().map(|each| row(&picture.group, each)).collect();
        table(&header, &rows)?;
    }
    if !idle.is_empty() {
        say(format_args!("\nwithout partitions: {}", idle.join(", ")))?;
    }
    Ok(())
}

pub(super) async fn lag(matches: &ArgMatches) -> Result<()> {
    let sample = sample(matches)?;
    let mut client = client(matches)?;
    let groups = match matches.get_many::<String>("groups") {
        Some(names) => {
            let mut groups = Vec::new();
            for name in names {
                groups.push(existing(&mut client, name).await?);
            }
            groups
        }
        None => all(&mut client).await?,
    };
    let pictures = pictures(&mut client, groups, sample).await?;
    if wants_json(matches) {
        return json(&pictures.iter().map(summary_json).collect::<Value>());
    }
    if pictures.is_empty() {
        return say("no groups");
    }
    table(&SUMMARY, &pictures.iter().map(summary).collect::<Vec<_>>())
}

/// Every group that reads topics: the others commit no offsets.
async fn all(client: &mut Client) -> Result<Vec<DescribedGroup>> {
    let mut groups = Vec::new();
    for listed in client.list_groups().await? {
        // Share and streams groups keep their progress elsewhere.
        if matches!(listed.kind.as_str(), "" | "classic" | "consumer") {
            groups.push(client.describe_group(&listed.group).await?);
        }
    }
    Ok(groups)
}

/// How long to look for the trend; nothing for no trend.
fn sample(matches: &ArgMatches) -> Result<Duration> {
    let text: &String = matches.get_one("sample").expect("has a default");
    parse_duration(text).ok_or_else(|| {
        Failure::usage(format!("--sample {text} is no length of time")).cure("--sample 1s")
    })
}

const SUMMARY: [&str; 7] =
    ["GROUP", "STATE", ">MEMBERS", ">LAG", ">TIME-LAG", ">TREND", "COORDINATOR"];

fn summary(picture: &Picture) -> Vec<String> {
    let group = &picture.group;
    vec![
        group.group.clone(),
        group.state.to_lowercase(),
        group.members.len().to_string(),
        grouped(picture.lag()),
        shown_time(picture.behind()),
        picture.trend.map_or_else(|| "-".to_owned(), shown_trend),
        format!("broker {}", group.coordinator),
    ]
}

fn summary_json(picture: &Picture) -> Value {
    let group = &picture.group;
    json!({
        "group": group.group,
        "type": group.kind,
        "state": group.state,
        "members": group.members.len(),
        "lag": picture.lag(),
        "timeLagMs": millis(picture.behind()),
        "trendPerSecond": picture.trend,
        "coordinator": group.coordinator,
    })
}

fn member_json(member: &GroupMember) -> Value {
    let assignment: Vec<Value> = member
        .assignment
        .iter()
        .map(|(topic, partitions)| json!({ "topic": topic, "partitions": partitions }))
        .collect();
    json!({
        "member": member.member,
        "instance": member.instance,
        "client": member.client,
        "host": member.host,
        "assignment": assignment,
    })
}

/// Who has a partition.
fn owner<'a>(group: &'a DescribedGroup, standing: &Standing) -> Option<&'a GroupMember> {
    group.members.iter().find(|member| {
        let mut assigned = member.assignment.iter();
        assigned.any(|(topic, partitions)| {
            *topic == standing.topic && partitions.contains(&standing.partition)
        })
    })
}

fn row(group: &DescribedGroup, standing: &Standing) -> Vec<String> {
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), grouped);
    let owner = owner(group, standing);
    vec![
        standing.topic.clone(),
        standing.partition.to_string(),
        number(standing.committed.map(|it| it.get())),
        number(standing.end.map(|it| it.get())),
        number(standing.lag()),
        shown_time(standing.behind),
        owner.map_or_else(|| "-".to_owned(), |member| member.member.clone()),
        owner.map_or_else(|| "-".to_owned(), |member| member.host.clone()),
    ]
}

fn standing_json(group: &DescribedGroup, standing: &Standing) -> Value {
    json!({
        "topic": standing.topic,
        "partition": standing.partition,
        "committed": standing.committed.map(|it| it.get()),
        "end": standing.end.map(|it| it.get()),
        "lag": standing.lag(),
        "timeLagMs": millis(standing.behind),
        "member": owner(group, standing).map(|member| &member.member),
    })
}

fn millis(time: Option<Duration>) -> Option<u64> {
    time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A length of time as a person says it: the two largest units.
fn shown_time(time: Option<Duration>) -> String {
    let Some(time) = time else { return "-".to_owned() };
    let seconds = time.as_secs();
    match seconds {
        0 if time.is_zero() => "0s".to_owned(),
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn shown_trend(trend: f64) -> String {
    let rounded = trend.round();
    if rounded == 0.0 { "0/s".to_owned() } else { format!("{rounded:+}/s") }
}

#[cfg(test)]
mod tests {
    use super::{shown_time, shown_trend};
    use std::time::Duration;

    #[test]
    fn times_and_trends_are_short() {
        let check = |millis, expect: &str| {
            assert_eq!(shown_time(Some(Duration::from_millis(millis))), expect);
        };
        check(0, "0s");
        check(8_249, "8.2s");
        check(61_000, "1m1s");
        check(7_380_000, "2h3m");
        check(90_000_000, "1d1h");
        assert_eq!(shown_time(None), "-");
        assert_eq!(shown_trend(309.7), "+310/s");
        assert_eq!(shown_trend(-12.0), "-12/s");
        assert_eq!(shown_trend(0.2), "0/s");
    }
}
