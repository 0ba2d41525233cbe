//! The language of plays.
//!
//! Clients are called by name; `a#2` is the second member id that client `a` was given.
//! `> join g a`, `> sync g a 1 a=x b=y`, `> beat g a 1`, `> leave g a b`, `> commit g a 1 t-0=5`,
//! `> fetch g t-0`, `> wait 3`, ... What is seen: answers, records (`log`), and the group.

use super::stage::{Outcome, Stage};
use crate::command::{
    Answer, Command, CommitOffsets, FetchOffsets, Heartbeat, Join, Joined, Leave, LeavingMember,
    OffsetToCommit, Opaque, Sync, Ticket,
};
use crate::record::GroupRecord;
use jocko_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Who is who on stage.
#[derive(Debug, Default)]
struct Cast {
    /// The client that each ticket belongs to.
    tickets: BTreeMap<Ticket, String>,
    /// Member ids by the names they have in the play.
    ids: BTreeMap<String, String>,
    /// Each client's member id of late.
    current: BTreeMap<String, String>,
    /// The generation that each client joined of late: `*` in a play.
    generations: BTreeMap<String, i32>,
    /// The groups as they were last seen.
    groups: BTreeMap<String, String>,
}

pub(super) fn perform(stage: &mut Stage, script: &str) -> String {
    let mut cast = Cast::default();
    let mut played = String::new();
    for line in script.lines() {
        if let Some(input) = line.strip_prefix("> ") {
            writeln!(played, "{line}").expect("a String takes all");
            cast.line(stage, input, &mut played);
        } else if line.starts_with('#') || line.is_empty() {
            writeln!(played, "{line}").expect("a String takes all");
        }
    }
    played
}

/// The words of a line: plain ones, and `key=value`.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let (named, plain): (Vec<&str>, Vec<&str>) =
            line.split_whitespace().partition(|word| word.contains('='));
        let named = named.into_iter().filter_map(|word| word.split_once('=')).collect();
        Self { plain, named }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    fn seconds(&self, name: &str, default: u64) -> Duration {
        Duration::from_secs(self.get(name).map_or(default, number))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap_or_else(|error| panic!("{text:?} is not a number: {error:?}"))
}

/// A group id; `''` is the empty one.
fn group_id(text: &str) -> String {
    text.replace("''", "")
}

/// `t-0`.
fn topic_partition(text: &str) -> (String, PartitionIndex) {
    let (topic, partition) = text.rsplit_once('-').expect("topic-partition");
    (topic.to_owned(), PartitionIndex::new(number(partition)))
}

/// A subscription as consumers write it: version 0, topics, no user data.
fn subscription(topics: &str) -> Opaque {
    let topics: Vec<&str> = topics.split('+').filter(|topic| !topic.is_empty()).collect();
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// `range,sticky:t1+t2`: dialects, each with a subscription, or with the text behind `!`.
fn protocols(text: &str) -> Vec<(String, Opaque)> {
    text.split(',')
        .filter(|dialect| !dialect.is_empty())
        .map(|dialect| match (dialect.split_once('!'), dialect.split_once(':')) {
            (Some((name, opaque)), _) => (name.to_owned(), opaque.as_bytes().into()),
            (None, Some((name, topics))) => (name.to_owned(), subscription(topics)),
            (None, None) => (dialect.to_owned(), subscription("t")),
        })
        .collect()
}

impl Cast {
    fn line(&mut self, stage: &mut Stage, line: &str, played: &mut String) {
        let words = Words::of(line);
        let command = match words.plain.as_slice() {
            ["join", group, name, ..] => self.join(group, name, &words),
            ["sync", group, name, generation, ..] => self.sync(group, name, generation, &words),
            ["beat", group, name, generation] => Command::Heartbeat(Heartbeat {
                group_id: group_id(group),
                member_id: self.member_id(name),
                instance_id: words.get("static").map(str::to_owned),
                generation: self.generation(name, generation),
            }),
            ["leave", group, names @ ..] => self.leave(group, names, &words),
            ["commit", group, name, generation, ..] => {
                self.commit(stage, group, name, generation, &words)
            }
            ["delete-offsets", group, partitions @ ..] => {
                let topics = partitions.iter().map(|text| topic_partition(text));
                Command::DeleteOffsets {
                    group_id: group_id(group),
                    topics: topics.map(|(topic, partition)| (topic, vec![partition])).collect(),
                }
            }
            ["delete-group", group] => Command::DeleteGroup { group_id: group_id(group) },
            ["forget", topics @ ..] => Command::ForgetTopics {
                topics: topics.iter().map(|topic| ((*topic).to_owned(), TopicId::ZERO)).collect(),
            },
            ["forget-gone"] => Command::ForgetGoneTopics,
            ["expire"] => Command::Expire,
            _ => return self.direct(stage, &words, played),
        };
        let (ticket, outcome) = stage.send(&command);
        if let Some(name) = words.plain.get(2) {
            self.tickets.insert(ticket, (*name).to_owned());
        }
        self.show(stage, &outcome, played);
    }

    /// What is no command: time, policy, reads.
    fn direct(&mut self, stage: &mut Stage, words: &Words<'_>, played: &mut String) {
        match words.plain.as_slice() {
            ["wait", seconds] => {
                for outcome in stage.wait(Duration::from_secs(number(seconds))) {
                    self.show(stage, &outcome, played);
                }
            }
            ["reload"] => {
                let answers = stage.reload();
                self.show(stage, &Outcome { answers, ..Outcome::default() }, played);
            }
            ["policy"] => {
                let policy = &mut stage.policy;
                for (name, value) in &words.named {
                    match *name {
                        "delay" => {
                            policy.initial_rebalance_delay = Duration::from_secs(number(value));
                        }
                        "size" => policy.group_size_max = number(value),
                        "metadata" => policy.offset_metadata_bytes_max = number(value),
                        other => panic!("no policy {other}"),
                    }
                }
            }
            ["topic", name, "gone"] => stage.topics.remove(name),
            ["topic", name, number_of_id] => stage.topics.make(name, number(number_of_id)),
            ["appends", how] => stage.refuses = *how == "refused",
            ["fetch", group, partitions @ ..] => self.fetch(stage, group, partitions, played),
            ["describe", group] => self.describe(stage, group, played),
            ["list"] => {
                let split = |text: Option<&str>| -> Vec<String> {
                    text.into_iter().flat_map(|text| text.split(',')).map(str::to_owned).collect()
                };
                let groups =
                    stage.coordinator.list(&split(words.get("states")), &split(words.get("types")));
                for group in groups {
                    let (id, kind) = (group.group_id, group.kind);
                    let (state, protocol) = (group.state, group.protocol_type);
                    writeln!(played, "  {id}: {kind} {state} {protocol:?}").expect("a String");
                }
            }
            other => panic!("unknown line {other:?}"),
        }
    }

    fn member_id(&self, name: &str) -> String {
        if name == "-" {
            return String::new();
        }
        let named = self.ids.get(name).or_else(|| self.current.get(name));
        named
            .cloned()
            .unwrap_or_else(|| if name.contains('#') { name.to_owned() } else { String::new() })
    }

    fn generation(&self, name: &str, text: &str) -> i32 {
        let client = name.split('#').next().unwrap_or(name);
        match text {
            "*" => self.generations.get(client).copied().unwrap_or(-1),
            text => number(text),
        }
    }

    fn join(&self, group: &str, name: &str, words: &Words<'_>) -> Command {
        let fresh = words.has("fresh");
        let client = name.split('#').next().unwrap_or(name);
        Command::Join(Join {
            group_id: group_id(group),
            member_id: if fresh { String::new() } else { self.member_id(name) },
            instance_id: words.get("static").map(str::to_owned),
            protocol_type: words.get("type").unwrap_or("consumer").replace("''", ""),
            protocols: protocols(words.get("speaks").unwrap_or("range")),
            session_timeout: words.seconds("session", 10),
            rebalance_timeout: words.seconds("rebalance", 60),
            reason: None,
            client_id: client.to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            member_id_required: !words.has("v3"),
            may_skip_assignment: words.has("v9"),
        })
    }

    fn sync(&self, group: &str, name: &str, generation: &str, words: &Words<'_>) -> Command {
        let options = ["static", "type", "protocol"];
        let given = words.named.iter().filter(|(name, _)| !options.contains(name));
        Command::Sync(Sync {
            group_id: group_id(group),
            member_id: self.member_id(name),
            instance_id: words.get("static").map(str::to_owned),
            generation: self.generation(name, generation),
            protocol_type: words.get("type").map(str::to_owned),
            protocol_name: words.get("protocol").map(str::to_owned),
            assignments: given
                .map(|(name, what)| (self.member_id(name), Opaque::from(what.as_bytes())))
                .collect(),
        })
    }

    fn leave(&self, group: &str, names: &[&str], words: &Words<'_>) -> Command {
        let by_id = names.iter().map(|name| LeavingMember {
            member_id: self.member_id(name),
            instance_id: None,
            reason: None,
        });
        let by_name = words.named.iter().map(|(instance_id, member)| LeavingMember {
            member_id: self.member_id(member),
            instance_id: Some((*instance_id).to_owned()),
            reason: None,
        });
        Command::Leave(Leave { group_id: group_id(group), members: by_id.chain(by_name).collect() })
    }

    fn commit(
        &self,
        stage: &Stage,
        group: &str,
        name: &str,
        generation: &str,
        words: &Words<'_>,
    ) -> Command {
        let options = ["metadata", "static", "retention"];
        let offsets = words.named.iter().filter(|(name, _)| !options.contains(name));
        Command::CommitOffsets(CommitOffsets {
            group_id: group_id(group),
            generation_or_member_epoch: self.generation(name, generation),
            member_id: self.member_id(name),
            instance_id: words.get("static").map(str::to_owned),
            retention: words.get("retention").map(|text| Duration::from_secs(number(text))),
            knows_member_epochs: words.has("v9"),
            offsets: offsets
                .map(|(what, offset)| {
                    let (topic, partition) = topic_partition(what);
                    OffsetToCommit {
                        topic_id: stage.topics.id(&topic),
                        topic,
                        partition,
                        offset: Offset::new(number(offset)),
                        leader_epoch: LeaderEpoch::NONE,
                        metadata: words.get("metadata").unwrap_or_default().to_owned(),
                    }
                })
                .collect(),
        })
    }

    fn fetch(&self, stage: &Stage, group: &str, partitions: &[&str], played: &mut String) {
        let topics = partitions.iter().map(|text| {
            let (topic, partition) = topic_partition(text);
            (topic, TopicId::ZERO, vec![partition])
        });
        let fetch = FetchOffsets {
            group_id: group_id(group),
            topics: (!partitions.is_empty()).then(|| topics.collect()),
            member_epoch: -1,
            ..FetchOffsets::default()
        };
        match stage.coordinator.fetch_offsets(&stage.topics, &fetch) {
            Ok(topics) => {
                for topic in topics {
                    for partition in topic.partitions {
                        let offset = partition.committed.map_or(-1, |offset| offset.offset.get());
                        let (topic, partition) = (&topic.topic, partition.partition);
                        writeln!(played, "  {topic}-{partition}={offset}").expect("a String");
                    }
                }
            }
            Err(error) => writeln!(played, "  {error}").expect("a String"),
        }
    }

    fn describe(&self, stage: &Stage, group: &str, played: &mut String) {
        let described = match stage.coordinator.describe(group) {
            Ok(described) => described,
            Err(message) => return writeln!(played, "  {message}").expect("a String"),
        };
        let (state, kind) = (described.state, described.protocol_type);
        writeln!(played, "  {state} {kind:?} {:?}", described.protocol_name).expect("a String");
        for member in described.members {
            let name = self.name_of(&member.member_id);
            let (client, host) = (member.client_id, member.client_host);
            let metadata = member.metadata.len();
            let assignment = text_of(&member.assignment);
            let fixed = member.instance_id.map_or(String::new(), |id| format!(" static={id}"));
            writeln!(
                played,
                "  {name}{fixed} {client} {host} metadata={metadata} assignment={assignment:?}"
            )
            .expect("a String");
        }
    }

    fn name_of(&self, member_id: &str) -> String {
        let named = self.ids.iter().find(|(_, id)| *id == member_id);
        match named {
            Some((name, _)) => name.clone(),
            None if member_id.is_empty() => "-".to_owned(),
            None => member_id.to_owned(),
        }
    }

    /// Gives a member id that is seen for the first time its name on stage.
    fn learn(&mut self, member_id: &str) {
        let known = self.ids.values().any(|id| id == member_id);
        // An id is a prefix and a UUID of 36 letters.
        let prefix = member_id.len().checked_sub(37).and_then(|at| member_id.get(..at));
        if let Some(prefix) = prefix.filter(|_| !known) {
            let before = self
                .ids
                .keys()
                .filter(|name| name.rsplit_once('#').is_some_and(|(p, _)| p == prefix));
            let name = format!("{prefix}#{}", before.count() + 1);
            self.ids.insert(name, member_id.to_owned());
        }
    }

    fn show(&mut self, stage: &Stage, outcome: &Outcome, played: &mut String) {
        for (ticket, answer) in &outcome.answers {
            if let Answer::Joined(joined) = answer {
                self.learn(&joined.member_id);
                if let Some(client) =
                    self.tickets.get(ticket).filter(|_| !joined.member_id.is_empty())
                {
                    let client = client.split('#').next().unwrap_or(client).to_owned();
                    if joined.error == ErrorCode::None {
                        self.generations.insert(client.clone(), joined.generation);
                    }
                    if matches!(joined.error, ErrorCode::None | ErrorCode::MemberIdRequired) {
                        self.current.insert(client, joined.member_id.clone());
                    }
                }
            }
        }
        for record in &outcome.records {
            let shown = self.record(record);
            writeln!(played, "  log {shown}").expect("a String");
        }
        for (ticket, answer) in &outcome.answers {
            if *answer != Answer::Done {
                let name = self.tickets.get(ticket).map_or("?", String::as_str);
                let shown = self.answer(answer);
                writeln!(played, "  {name} <- {shown}").expect("a String");
            }
        }
        self.show_groups(stage, played);
    }

    /// The groups that are not as they were last seen.
    fn show_groups(&mut self, stage: &Stage, played: &mut String) {
        let groups: BTreeMap<String, String> = stage
            .coordinator
            .groups()
            .map(|group| {
                let (state, members) = (group.state, group.members);
                let line = format!("{state} generation={} members={members}", group.rebalances);
                (group.group_id.to_owned(), line)
            })
            .collect();
        for (group_id, line) in &groups {
            if self.groups.get(group_id) != Some(line) {
                writeln!(played, "  {group_id} {line}").expect("a String takes all");
            }
        }
        for group_id in self.groups.keys().filter(|group_id| !groups.contains_key(*group_id)) {
            writeln!(played, "  {group_id} is gone").expect("a String takes all");
        }
        self.groups = groups;
    }

    fn record(&self, record: &GroupRecord) -> String {
        match record {
            GroupRecord::Offset { key, value } => {
                let offset = value.as_ref().map_or("gone".to_owned(), |v| v.offset.to_string());
                format!("{} {}-{} {offset}", key.group_id, key.topic, key.partition)
            }
            GroupRecord::Classic { group_id, value: None } => format!("{group_id} gone"),
            GroupRecord::Classic { group_id, value: Some(group) } => {
                let members: Vec<String> = group
                    .members
                    .iter()
                    .map(|member| {
                        let name = self.name_of(&member.member_id);
                        format!("{name}={}", text_of(&member.assignment))
                    })
                    .collect();
                let protocol = group.protocol.as_deref().unwrap_or("-");
                let leader = group.leader.as_deref().map_or("-".to_owned(), |l| self.name_of(l));
                format!(
                    "{group_id} generation={} {:?} {protocol} leader={leader} [{}]",
                    group.generation,
                    group.protocol_type,
                    members.join(" ")
                )
            }
            GroupRecord::Consumer(record) => format!("{record:?}"),
        }
    }

    fn answer(&self, answer: &Answer) -> String {
        match answer {
            Answer::Joined(joined) if joined.error == ErrorCode::None => self.joined(joined),
            Answer::Joined(joined) => {
                format!("{} member={}", joined.error, self.name_of(&joined.member_id))
            }
            Answer::Synced(synced) if synced.error == ErrorCode::None => {
                format!("assigned {:?}", text_of(&synced.assignment))
            }
            Answer::Synced(synced) => format!("sync: {}", synced.error),
            Answer::HeartbeatTaken(error) => format!("heartbeat: {error}"),
            Answer::Left(Err(error)) => format!("leave: {error}"),
            Answer::Left(Ok(left)) => {
                let each: Vec<String> = left
                    .iter()
                    .map(|(member, error)| {
                        let fixed = member.instance_id.as_deref().unwrap_or_default();
                        format!("{}{fixed}: {error}", self.name_of(&member.member_id))
                    })
                    .collect();
                format!("left [{}]", each.join(", "))
            }
            Answer::Committed(result) => format!("commit: {}", codes(result)),
            Answer::OffsetsDeleted(result) => {
                let flat = result.clone().map(|topics| topics.concat());
                format!("delete: {}", codes(&flat))
            }
            Answer::GroupDeleted(error) => format!("delete: {error}"),
            Answer::ConsumerHeartbeat(_) | Answer::Done => format!("{answer:?}"),
        }
    }

    fn joined(&self, joined: &Joined) -> String {
        let members: Vec<String> =
            joined.members.iter().map(|member| self.name_of(&member.member_id)).collect();
        format!(
            "joined {} generation={} {} leader={} [{}]{}",
            self.name_of(&joined.member_id),
            joined.generation,
            joined.protocol_name.as_deref().unwrap_or("-"),
            self.name_of(&joined.leader),
            members.join(" "),
            if joined.skip_assignment { " skip" } else { "" }
        )
    }
}

fn codes(result: &Result<Vec<ErrorCode>, ErrorCode>) -> String {
    match result {
        Ok(errors) => {
            let each: Vec<String> = errors.iter().map(ErrorCode::to_string).collect();
            format!("[{}]", each.join(", "))
        }
        Err(error) => error.to_string(),
    }
}

fn text_of(bytes: &Arc<[u8]>) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
