//! The language of plays about consumer groups.
//!
//! `> join m1 a,b` joins the group `g`; `> beat m1` is a heartbeat at the epoch that the member
//! was told last, `> ack m1` one that says that it owns just what it was told. All of them take
//! `key=value` words that say something else than usual. Seen are the answer, the records, and
//! the group. `> c-join`, `> c-sync`, `> c-beat`, `> c-leave` speak the classic protocol.

use super::stage::{Outcome, Stage};
use crate::record::consumer::{Assignment, ConsumerRecord, CurrentAssignment, Holdings};
use crate::{
    Answer, Command, CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, ConsumerOverrides,
    FetchOffsets, GroupRecord, Heartbeat, Join, Leave, LeavingMember, Migration, OffsetToCommit,
    Opaque, Sync, Ticket, Topics,
};
use jocko_types::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

type Listed = Vec<(TopicId, Vec<PartitionIndex>)>;

#[derive(Debug, Default)]
struct Cast {
    /// What each member was told last: its epoch and its partitions.
    told: BTreeMap<String, (i32, Listed)>,
    tickets: BTreeMap<Ticket, String>,
    /// The member ids of classic members, which the coordinator makes.
    ids: BTreeMap<String, String>,
}

pub(super) fn perform(script: &str) -> String {
    let mut stage = Stage::new();
    let mut cast = Cast::default();
    let mut played = String::new();
    for line in script.lines() {
        if let Some(input) = line.strip_prefix("> ") {
            writeln!(played, "{line}").expect("a String takes all");
            cast.line(&mut stage, input, &mut played);
        } else if line.starts_with('#') || line.is_empty() {
            writeln!(played, "{line}").expect("a String takes all");
        }
    }
    stage.check_replay();
    played
}

struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let (named, plain): (Vec<&str>, Vec<&str>) =
            line.split_whitespace().partition(|word| word.contains('='));
        let named = named.into_iter().filter_map(|word| word.split_once('=')).collect();
        Self { plain, named }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.named.get(name).copied()
    }

    /// A word that is not said, or said as `null`, is not in the request.
    fn said(&self, name: &str, usual: Option<&str>) -> Option<String> {
        match self.get(name) {
            Some("null") => None,
            Some(text) => Some(text.replace("''", "")),
            None => usual.map(str::to_owned),
        }
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        self.get(name).map(|text| Duration::from_secs(number(text)))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap_or_else(|error| panic!("{text:?} is not a number: {error:?}"))
}

/// `a-0`.
fn topic_partition(text: &str) -> (&str, PartitionIndex) {
    let (topic, partition) = text.rsplit_once('-').expect("topic-partition");
    (topic, PartitionIndex::new(number(partition)))
}

/// `a-0,a-1`, or nothing.
fn partitions(stage: &Stage, text: &str) -> Listed {
    let mut listed: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
    for text in text.split(',').filter(|text| !text.is_empty()) {
        let (topic, partition) = topic_partition(text);
        let topic = stage.cluster.by_name(topic).expect("a topic that is there");
        listed.entry(topic.id).or_default().push(partition);
    }
    listed.into_iter().collect()
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(i16::try_from(text.len()).expect("short").to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend(i32::try_from(count).expect("few").to_be_bytes());
}

/// `a-0,a-1` as topics with partitions, the way the embedded consumer protocol lists them.
fn put_partitions(bytes: &mut Vec<u8>, text: &str) {
    let mut listed: BTreeMap<&str, Vec<PartitionIndex>> = BTreeMap::new();
    for text in text.split(',').filter(|text| !text.is_empty()) {
        let (topic, partition) = topic_partition(text);
        listed.entry(topic).or_default().push(partition);
    }
    put_count(bytes, listed.len());
    for (topic, partitions) in listed {
        put_text(bytes, topic);
        put_count(bytes, partitions.len());
        bytes.extend(partitions.iter().flat_map(|p| p.get().to_be_bytes()));
    }
}

/// A subscription, version 1: topics, no user data, owned partitions.
fn subscription(topics: &str, owned: &str) -> Opaque {
    let topics: Vec<&str> = topics.split(',').filter(|topic| !topic.is_empty()).collect();
    let mut bytes = vec![0, 1];
    put_count(&mut bytes, topics.len());
    for topic in topics {
        put_text(&mut bytes, topic);
    }
    bytes.extend((-1_i32).to_be_bytes());
    put_partitions(&mut bytes, owned);
    bytes.into()
}

/// An assignment, version 1: partitions, no user data.
fn assignment(text: &str) -> Opaque {
    let mut bytes = vec![0, 1];
    put_partitions(&mut bytes, text);
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

impl Cast {
    fn line(&mut self, stage: &mut Stage, line: &str, played: &mut String) {
        let words = Words::of(line);
        let member = words.plain.get(1).copied().unwrap_or_default();
        let command = match *words.plain.first().expect("a verb") {
            "join" | "beat" | "ack" | "leave" => {
                Command::ConsumerHeartbeat(self.heartbeat(stage, &words))
            }
            "c-join" => Command::Join(self.classic_join(&words)),
            "c-sync" => Command::Sync(self.classic_sync(&words)),
            "c-beat" => Command::Heartbeat(Heartbeat {
                group_id: "g".to_owned(),
                member_id: self.id_of(member),
                instance_id: words.said("instance", None),
                generation: number(words.plain.get(2).expect("a generation")),
            }),
            "c-leave" => Command::Leave(Leave {
                group_id: "g".to_owned(),
                members: vec![LeavingMember {
                    member_id: self.id_of(member),
                    instance_id: words.said("instance", None),
                    reason: None,
                }],
            }),
            "commit" => Command::CommitOffsets(self.commit(stage, &words)),
            "delete-offsets" => Command::DeleteOffsets {
                group_id: "g".to_owned(),
                topics: words
                    .plain
                    .iter()
                    .skip(1)
                    .map(|text| {
                        let (topic, partition) = topic_partition(text);
                        (topic.to_owned(), vec![partition])
                    })
                    .collect(),
            },
            "delete-group" => Command::DeleteGroup { group_id: "g".to_owned() },
            _ => return self.direct(stage, &words, played),
        };
        let (ticket, outcome) = stage.send(&command);
        self.tickets.insert(ticket, member.to_owned());
        match outcome {
            Some(outcome) => self.show(stage, &outcome, played),
            None => writeln!(played, "  refused by the log").expect("a String"),
        }
    }

    /// What is no command: time, topics, policy, reads.
    fn direct(&mut self, stage: &mut Stage, words: &Words<'_>, played: &mut String) {
        match *words.plain.first().expect("a verb") {
            "topics" => {
                for (name, count) in &words.named {
                    match *count {
                        "gone" => stage.cluster.remove(name),
                        count => stage.cluster.set(name, number(count)),
                    }
                }
            }
            "wait" => {
                let wait = Duration::from_secs(number(words.plain.get(1).expect("seconds")));
                for outcome in stage.wait(wait) {
                    // Many a look at a group finds nothing to do.
                    let answered =
                        outcome.answers.iter().any(|(_, answer)| *answer != Answer::Done);
                    if answered || !outcome.records.is_empty() {
                        self.show(stage, &outcome, played);
                    }
                }
            }
            "reload" => {
                let answers = stage.reload();
                self.show(stage, &Outcome { answers, ..Outcome::default() }, played);
            }
            "appends" => stage.refuses = words.plain.contains(&"refused"),
            "policy" => Self::policy(stage, words),
            "describe" => self.describe(stage, played),
            "fetch" => {
                let fetch = FetchOffsets {
                    group_id: "g".to_owned(),
                    member_id: words.said("member", None),
                    member_epoch: words.get("epoch").map_or(-1, number),
                    topics: Some(Vec::new()),
                    ..FetchOffsets::default()
                };
                let fetched =
                    stage.coordinator.fetch_offsets(&stage.cluster, &fetch).map(|_| "allowed");
                writeln!(played, "  {fetched:?}").expect("a String");
            }
            other => panic!("unknown line {other:?}"),
        }
    }

    fn policy(stage: &mut Stage, words: &Words<'_>) {
        let policy = &mut stage.policy;
        for (name, value) in &words.named {
            match *name {
                "size" => policy.consumer.group_size_max = number(value),
                "interval" => {
                    policy.consumer.assignment_interval = Duration::from_secs(number(value));
                }
                "session" => {
                    let session_timeout = Some(Duration::from_secs(number(value)));
                    let own = ConsumerOverrides { session_timeout, ..ConsumerOverrides::default() };
                    policy.overrides.insert("g".to_owned(), own);
                }
                "migration" => {
                    policy.consumer.migration = match *value {
                        "upgrade" => Migration::Upgrade,
                        "downgrade" => Migration::Downgrade,
                        "disabled" => Migration::Disabled,
                        _ => Migration::Bidirectional,
                    };
                }
                other => panic!("no policy {other}"),
            }
        }
    }

    fn heartbeat(&self, stage: &Stage, words: &Words<'_>) -> ConsumerHeartbeat {
        let verb = *words.plain.first().expect("a verb");
        let member_id = words.plain.get(1).copied().unwrap_or_default();
        let told = self.told.get(member_id);
        let joins = verb == "join";
        let usual_epoch = match verb {
            "join" => 0,
            "leave" => -1,
            _ => told.map_or(1, |(epoch, _)| *epoch),
        };
        let topics = words.plain.get(2).map(|text| text.replace("''", ""));
        let owned = match words.get("owned") {
            Some("null") => None,
            Some(text) => Some(partitions(stage, text)),
            None if verb == "ack" => told.map(|(_, listed)| listed.clone()),
            None => joins.then(Vec::new),
        };
        ConsumerHeartbeat {
            group_id: words.said("group", Some("g")).unwrap_or_default(),
            member_id: self.id_of(member_id),
            member_epoch: words.get("epoch").map_or(usual_epoch, number),
            instance_id: words.said("instance", None),
            rack_id: words.said("rack", None),
            rebalance_timeout: words
                .seconds("timeout")
                .or(joins.then_some(Duration::from_secs(60)))
                .filter(|_| words.get("no") != Some("timeout")),
            subscribed_topics: topics.map(|text| {
                text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
            }),
            subscribed_regex: words.said("regex", None),
            server_assignor: words.said("assignor", None),
            owned,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            member_id_from_client: words.get("v") != Some("0"),
        }
    }

    /// A member of the consumer protocol makes its own id; a classic one has none at first.
    fn id_of(&self, name: &str) -> String {
        match self.ids.get(name) {
            Some(id) => id.clone(),
            None if name == "-" || name.starts_with('c') => String::new(),
            None => name.to_owned(),
        }
    }

    /// Ids in what is shown become names.
    fn named(&self, mut shown: String) -> String {
        for (name, id) in &self.ids {
            shown = shown.replace(id, name);
        }
        shown
    }

    fn classic_join(&self, words: &Words<'_>) -> Join {
        let topics = words.plain.get(2).copied().unwrap_or_default();
        let metadata = match words.get("bytes") {
            Some(bytes) => bytes.as_bytes().into(),
            None => subscription(topics, words.get("owned").unwrap_or_default()),
        };
        let dialects = words.get("speaks").unwrap_or("range").split(',');
        Join {
            group_id: "g".to_owned(),
            member_id: self.id_of(words.plain.get(1).copied().unwrap_or_default()),
            instance_id: words.said("instance", None),
            protocol_type: words.get("type").unwrap_or("consumer").to_owned(),
            protocols: dialects.map(|name| (name.to_owned(), metadata.clone())).collect(),
            session_timeout: words.seconds("session").unwrap_or(Duration::from_secs(10)),
            rebalance_timeout: words.seconds("rebalance").unwrap_or(Duration::from_secs(30)),
            reason: None,
            client_id: "classic".to_owned(),
            client_host: "/127.0.0.2".to_owned(),
            member_id_required: words.get("v") != Some("3"),
            may_skip_assignment: true,
        }
    }

    fn classic_sync(&self, words: &Words<'_>) -> Sync {
        let given = words.named.iter().filter(|(name, _)| !matches!(**name, "type" | "protocol"));
        Sync {
            group_id: "g".to_owned(),
            member_id: self.id_of(words.plain.get(1).copied().unwrap_or_default()),
            instance_id: None,
            generation: number(words.plain.get(2).expect("a generation")),
            protocol_type: words.said("type", Some("consumer")),
            protocol_name: words.said("protocol", Some("range")),
            assignments: given.map(|(name, text)| (self.id_of(name), assignment(text))).collect(),
        }
    }

    fn commit(&self, stage: &Stage, words: &Words<'_>) -> CommitOffsets {
        let member = words.plain.get(1).copied().unwrap_or_default();
        let offsets = words.plain.iter().skip(3).map(|text| {
            let (topic, partition) = topic_partition(text);
            OffsetToCommit {
                topic: topic.to_owned(),
                topic_id: stage.cluster.by_name(topic).map_or(TopicId::ZERO, |topic| topic.id),
                partition,
                offset: Offset::new(7),
                leader_epoch: LeaderEpoch::NONE,
                metadata: String::new(),
            }
        });
        CommitOffsets {
            group_id: "g".to_owned(),
            generation_or_member_epoch: number(words.plain.get(2).expect("an epoch")),
            member_id: self.id_of(member),
            instance_id: None,
            retention: None,
            knows_member_epochs: words.get("v") != Some("8"),
            offsets: offsets.collect(),
        }
    }

    fn describe(&self, stage: &Stage, played: &mut String) {
        let described = stage.coordinator.describe_consumer("g", &stage.policy, &stage.cluster);
        let group = match described {
            Ok(group) => group,
            Err(message) => return writeln!(played, "  {message}").expect("a String"),
        };
        let (state, assignor) = (group.state, group.assignor);
        let (epoch, target) = (group.group_epoch, group.assignment_epoch);
        writeln!(played, "  {state} {assignor} group={epoch} target={target}").expect("a String");
        for member in group.members {
            let assignment = member.assignment.iter().map(|(&id, held)| (id, held.clone()));
            let has = listed(stage, assignment);
            let shall = member.target.iter().map(|(&id, held)| (id, held.clone()));
            let shall = listed(stage, shall);
            let fixed = member.instance_id.map_or(String::new(), |id| format!(" instance={id}"));
            let topics = member.subscribed_topics.join(",");
            let regex = member.subscribed_regex.unwrap_or_default();
            let kind = if member.member_type == 0 { " classic" } else { "" };
            let (name, epoch) = (self.named(member.member_id), member.member_epoch);
            writeln!(
                played,
                "  {name}{fixed}{kind} epoch={epoch} wants=[{topics}]{regex} has=[{has}] shall=[{shall}]"
            )
            .expect("a String");
        }
    }

    fn show(&mut self, stage: &Stage, outcome: &Outcome, played: &mut String) {
        for (ticket, answer) in &outcome.answers {
            if let (Some(name), Answer::Joined(joined)) = (self.tickets.get(ticket), answer)
                && !joined.member_id.is_empty()
            {
                self.ids.insert(name.clone(), joined.member_id.clone());
            }
        }
        for record in &outcome.records {
            let shown = self.named(self.record(stage, record));
            writeln!(played, "  log {shown}").expect("a String");
        }
        for (ticket, answer) in &outcome.answers {
            if *answer != Answer::Done {
                let name = self.tickets.get(ticket).cloned().unwrap_or_default();
                let shown = self.answer(stage, &name, answer);
                writeln!(played, "  {name} <- {shown}").expect("a String");
            }
        }
        for group in stage.coordinator.groups() {
            let (kind, state) = (group.kind, group.state);
            let (members, epoch) = (group.members, group.rebalances);
            writeln!(played, "  {kind} {state} members={members} epoch={epoch}").expect("a String");
        }
    }

    fn record(&self, stage: &Stage, record: &GroupRecord) -> String {
        let record = match record {
            GroupRecord::Offset { key, .. } => {
                return format!("offset {}-{}", key.topic, key.partition);
            }
            GroupRecord::Classic { value: None, .. } => return "classic gone".to_owned(),
            GroupRecord::Classic { value: Some(group), .. } => {
                let members: Vec<String> = group
                    .members
                    .iter()
                    .map(|m| format!("{}={}", m.member_id, given(&m.assignment)))
                    .collect();
                let (generation, members) = (group.generation, members.join(" "));
                return format!("classic generation={generation} [{members}]");
            }
            GroupRecord::Consumer(record) => record,
        };
        match record {
            ConsumerRecord::Group { value, .. } => {
                value.map_or("group gone".to_owned(), |v| format!("group epoch={}", v.epoch))
            }
            ConsumerRecord::PartitionMetadata { stands, .. } => format!("metadata {stands}"),
            ConsumerRecord::Member { member_id, value, .. } => match value {
                Some(_) => format!("member {member_id}"),
                None => format!("member {member_id} gone"),
            },
            ConsumerRecord::TargetEpoch { value, .. } => {
                value.map_or("target gone".to_owned(), |v| format!("target epoch={}", v.epoch))
            }
            ConsumerRecord::TargetMember { member_id, value, .. } => match value {
                Some(target) => format!("target {member_id} [{}]", of_target(stage, target)),
                None => format!("target {member_id} gone"),
            },
            ConsumerRecord::Current { member_id, value, .. } => match value {
                Some(current) => format!("current {member_id} {}", of_current(stage, current)),
                None => format!("current {member_id} gone"),
            },
            ConsumerRecord::Regex { regex, value, .. } => match value {
                Some(v) => {
                    let topics: Vec<&str> = v.topics.iter().map(String::as_str).collect();
                    format!("regex {regex} [{}]", topics.join(","))
                }
                None => format!("regex {regex} gone"),
            },
        }
    }

    fn answer(&mut self, stage: &Stage, name: &str, answer: &Answer) -> String {
        match answer {
            Answer::ConsumerHeartbeat(answer) => self.heartbeat_answer(stage, name, answer),
            Answer::Joined(joined) => {
                let (error, generation) = (joined.error, joined.generation);
                let protocol = joined.protocol_name.as_deref().unwrap_or("null");
                let leads = !joined.leader.is_empty() && joined.leader == joined.member_id;
                let leads = if leads { " leads" } else { "" };
                format!("joined: {error} generation={generation} {protocol}{leads}")
            }
            Answer::Synced(synced) => {
                format!("synced: {} [{}]", synced.error, given(&synced.assignment))
            }
            Answer::HeartbeatTaken(error) => format!("heartbeat: {error}"),
            Answer::Left(left) => match left {
                Ok(left) => {
                    let each: Vec<String> =
                        left.iter().map(|(_, error)| error.to_string()).collect();
                    format!("left: {}", each.join(" "))
                }
                Err(error) => format!("left: {error}"),
            },
            other => format!("{other:?}"),
        }
    }

    fn heartbeat_answer(
        &mut self,
        stage: &Stage,
        name: &str,
        answer: &ConsumerHeartbeatAnswer,
    ) -> String {
        if let Some(message) = &answer.message {
            return format!("{} {message:?}", answer.error);
        }
        let epoch = answer.member_epoch;
        let told = self.told.entry(name.to_owned()).or_default();
        told.0 = epoch;
        let Some(assignment) = &answer.assignment else {
            return format!("epoch={epoch}");
        };
        told.1.clone_from(assignment);
        format!("epoch={epoch} [{}]", listed(stage, assignment.iter().cloned()))
    }
}

fn name_of(stage: &Stage, id: TopicId) -> String {
    stage.cluster.by_id(id).map_or_else(|| "?".to_owned(), |topic| topic.name.to_owned())
}

fn listed(stage: &Stage, topics: impl Iterator<Item = (TopicId, Vec<PartitionIndex>)>) -> String {
    let each = topics.flat_map(|(id, held)| {
        let name = name_of(stage, id);
        held.into_iter().map(move |p| format!("{name}-{}", p.get()))
    });
    each.collect::<Vec<_>>().join(" ")
}

fn of_target(stage: &Stage, target: &Assignment) -> String {
    listed(stage, target.iter().map(|(&id, held)| (id, held.iter().copied().collect())))
}

fn of_current(stage: &Stage, current: &CurrentAssignment) -> String {
    let held = |holdings: &Holdings| {
        let each = holdings.iter().flat_map(|(&id, held)| {
            let name = name_of(stage, id);
            held.iter().map(move |(p, epoch)| format!("{name}-{}@{epoch}", p.get()))
        });
        each.collect::<Vec<_>>().join(" ")
    };
    let (epoch, before) = (current.member_epoch, current.previous_member_epoch);
    let (assigned, revoking) = (held(&current.assigned), held(&current.revoking));
    let back = if revoking.is_empty() { String::new() } else { format!(" back [{revoking}]") };
    format!("{before}->{epoch} {:?} [{assigned}]{back}", current.state)
}

/// An assignment in the bytes of the classic protocol.
fn given(bytes: &[u8]) -> String {
    let Ok(assignment) = crate::consumer::classic_member::assignment(bytes) else {
        return "?".to_owned();
    };
    let each = assignment
        .assigned_partitions
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |p| format!("{}-{p}", topic.topic)));
    each.collect::<Vec<_>>().join(" ")
}
