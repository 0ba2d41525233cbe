//! What must hold in a cluster at any moment, looked at from inside its brokers, and when it is
//! whole again. The ids are those of docs/internals/simulation.md.

use super::clients::{FLEETING, PARTITIONS, TOPIC};
use super::knowledge::Knowledge;
use super::machine::Machine;
use jocko_broker::simulation::Inside;
use jocko_metadata::ClusterImage;
use jocko_records::whole_batches;
use jocko_types::{BrokerId, LeaderEpoch, TopicId, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A partition in one epoch of its leaders.
type Reign = (TopicId, i32, LeaderEpoch);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// The hash of the image at each Raft index.
    images: BTreeMap<i64, u64>,
    /// The index each machine showed last.
    seen: BTreeMap<u32, i64>,
    leaders: BTreeMap<Reign, BrokerId>,
    /// The newest index that was looked at, and the epochs it shows.
    newest: i64,
    epochs: BTreeMap<(TopicId, i32), LeaderEpoch>,
    terms: BTreeMap<u64, Uuid>,
    high_watermarks: BTreeMap<Reign, i64>,
    /// How often a partition got another leader.
    pub(super) elections: u64,
}

impl Oracle {
    /// Looks at all brokers, and tells what clients are to know.
    pub(super) fn look(
        &mut self,
        machines: &[Machine],
        known: &mut Knowledge,
    ) -> Result<(), String> {
        for machine in machines {
            if let Some(inside) = machine.inside() {
                self.look_at(machine.number, inside, known)
                    .map_err(|what| format!("broker {}: {what}", machine.number))?;
            }
        }
        known.judge()
    }

    /// A machine's process is gone: the next may begin with an older image.
    pub(super) fn forget(&mut self, machine: u32) {
        self.seen.remove(&machine);
    }

    fn look_at(
        &mut self,
        machine: u32,
        inside: &Inside,
        known: &mut Knowledge,
    ) -> Result<(), String> {
        let (index, image) = inside.image();
        let before = self.seen.insert(machine, index);
        if before.is_some_and(|before| index < before) {
            return Err(format!("its image went back from {before:?} to {index}"));
        }
        if before != Some(index) {
            if index > self.newest {
                tell_leaders(&image, known);
            }
            self.look_at_image(index, &image)?;
        }
        let status = inside.raft_status();
        if let Some((leader, _)) = &status.leader {
            let id = leader.directory_id();
            let first = *self.terms.entry(status.term).or_insert(id);
            if first != id {
                return Err(format!("R-1: term {} has two leaders, {first}, {id}", status.term));
            }
        }
        tell_epochs(machine, inside, known);
        self.look_at_partitions(inside)
    }

    fn look_at_image(&mut self, index: i64, image: &ClusterImage) -> Result<(), String> {
        let hash = image.hash();
        let known = *self.images.entry(index).or_insert(hash);
        if known != hash {
            return Err(format!("M-1: another image at index {index}"));
        }
        image.check_invariants().map_err(|what| format!("image {index}: {what}"))?;
        for topic in image.topics() {
            for (partition, state) in &topic.partitions {
                let place = (topic.id, partition.get());
                let epoch = state.leader_epoch;
                if let Some(leader) = state.leader {
                    let reign = (place.0, place.1, epoch);
                    if *self.leaders.entry(reign).or_insert(leader) != leader {
                        return Err(format!("P-4: two leaders in epoch {epoch} of {place:?}"));
                    }
                }
                if index > self.newest {
                    let before = self.epochs.insert(place, epoch);
                    self.elections += u64::from(before.is_some_and(|before| before != epoch));
                    if before.is_some_and(|before| epoch < before) {
                        return Err(format!("P-4: the epoch of {place:?} fell to {epoch}"));
                    }
                }
            }
        }
        self.newest = self.newest.max(index);
        Ok(())
    }

    fn look_at_partitions(&mut self, inside: &Inside) -> Result<(), String> {
        for partition in inside.partitions() {
            let Some(standing) = partition.standing() else { continue };
            let (start, end) = (standing.log_start, standing.log_end);
            let high_watermark = standing.high_watermark;
            if start > high_watermark || high_watermark > end {
                return Err(format!("P-1: {} stands at {standing:?}", partition.name()));
            }
            if !partition.is_leader() {
                continue;
            }
            let key = partition.key();
            let reign = (key.topic_id, key.partition.get(), standing.leader_epoch);
            let known = self.high_watermarks.entry(reign).or_insert(0);
            if high_watermark.get() < *known {
                return Err(format!(
                    "the high watermark of {} fell from {known} to {high_watermark} in epoch {}",
                    partition.name(),
                    standing.leader_epoch
                ));
            }
            *known = high_watermark.get();
        }
        Ok(())
    }
}

/// Who leads the topic of the run.
fn tell_leaders(image: &ClusterImage, known: &mut Knowledge) {
    let Some(topic) = image.topic(TOPIC) else { return };
    for (partition, state) in &topic.partitions {
        let Ok(partition) = u32::try_from(partition.get()) else { continue };
        let leader = state.leader.and_then(|id| u32::try_from(id.get()).ok());
        known.led_by(partition, leader, state.leader_epoch.get());
    }
}

/// Which epochs a broker knows itself.
fn tell_epochs(machine: u32, inside: &Inside, known: &mut Knowledge) {
    for partition in inside.partitions() {
        let Some(standing) = partition.standing() else { continue };
        let name = partition.name();
        if name.topic.to_string() == TOPIC
            && let Ok(number) = u32::try_from(name.partition.get())
        {
            known.knows(machine, number, standing.leader_epoch.get());
        }
    }
}

/// What is missing until a cluster is whole; nothing, when it is.
pub(super) fn missing(machines: &[Machine]) -> Result<(), String> {
    missing_apart_from_ends(machines)?;
    let mut ends: BTreeMap<(String, i32), (i64, i64)> = BTreeMap::new();
    for machine in members(machines) {
        let Some(inside) = machine.inside() else { continue };
        missing_ends(machine.number, inside, &mut ends)?;
    }
    Ok(())
}

fn missing_ends(
    number: u32,
    inside: &Inside,
    ends: &mut BTreeMap<(String, i32), (i64, i64)>,
) -> Result<(), String> {
    for partition in inside.partitions() {
        let name = partition.name();
        let standing = partition.standing();
        let Some(standing) = standing.filter(|_| partition.fault().is_none()) else {
            return Err(format!("{name} of broker {number} is not open"));
        };
        let stands = (standing.log_end.get(), standing.high_watermark.get());
        let place = (name.topic.to_string(), name.partition.get());
        let known = *ends.entry(place).or_insert(stands);
        if stands.0 != stands.1 || known != stands {
            return Err(format!(
                "{name} of broker {number} stands at {stands:?}, elsewhere at {known:?}"
            ));
        }
    }
    Ok(())
}

/// The same while clients write: logs grow at one replica first.
pub(super) fn missing_apart_from_ends(machines: &[Machine]) -> Result<(), String> {
    let mut index = None;
    for machine in members(machines) {
        let number = machine.number;
        let Some(inside) = machine.inside() else {
            return Err(format!("broker {number} is not up: {:?}", machine.last_words));
        };
        let (shown, image) = inside.image();
        if *index.get_or_insert(shown) != shown {
            return Err(format!("broker {number} shows index {shown}, another {index:?}"));
        }
        // What is left of a wiped disk may go on learning for a while.
        let status = inside.raft_status();
        let voters = status.voters.keys().map(|node| node.directory_id());
        let voters: BTreeSet<Uuid> = voters.collect();
        let all: BTreeSet<Uuid> =
            image.brokers().map(|broker| broker.registration.directory).collect();
        let is_voted = voters.len() == votes(all.len()) && voters.is_subset(&all);
        if status.leader.is_none() || !is_voted {
            return Err(format!(
                "broker {number} sees voters {voters:?}, led by {:?}; the brokers are {all:?}",
                status.leader
            ));
        }
        missing_in(&image, members(machines).count())?;
    }
    Ok(())
}

/// The machines that are part of the cluster.
fn members(machines: &[Machine]) -> impl Iterator<Item = &Machine> {
    machines.iter().filter(|machine| machine.is_member)
}

/// How many of so many brokers vote on the metadata.
const fn votes(brokers: usize) -> usize {
    match brokers {
        0..=2 => 1,
        3 | 4 => 3,
        _ => 5,
    }
}

fn missing_in(image: &ClusterImage, brokers: usize) -> Result<(), String> {
    let live = image.live_brokers().count();
    if live != brokers || image.brokers().count() != brokers {
        return Err(format!("{live} of {brokers} brokers are live"));
    }
    let all = image.topics().flat_map(|topic| topic.partitions.iter().map(move |it| (topic, it)));
    for (topic, (partition, state)) in all {
        let is_whole = state.leader.is_some()
            && state.isr.len() == state.replicas.len()
            && state.adding.is_empty()
            && state.removing.is_empty();
        if !is_whole {
            return Err(format!("{}-{partition}: {state:?}", topic.name));
        }
    }
    Ok(())
}

/// Whether the logs of all machines are equal; where each partition ends.
pub(super) fn compare_logs(machines: &[Machine]) -> Result<Vec<i64>, String> {
    compare_logs_of(machines, FLEETING, 0)?;
    (0..PARTITIONS).map(|partition| compare_logs_of(machines, TOPIC, partition)).collect()
}

fn compare_logs_of(machines: &[Machine], topic: &str, partition: u32) -> Result<i64, String> {
    let mut first: Option<(u32, Vec<u8>, i64)> = None;
    for machine in members(machines) {
        if !is_replica(machine, topic, partition) {
            continue;
        }
        let (bytes, end) = log_of(machine, topic, partition)?;
        match &first {
            None => first = Some((machine.number, bytes, end)),
            Some((_, other, _)) if *other == bytes => {}
            Some((number, other, other_end)) => {
                return Err(format!(
                    "P-5: the logs of {topic}-{partition} differ: broker {number} ends at \
                     {other_end}, broker {} at {end}; {}",
                    machine.number,
                    parting(other, &bytes)
                ));
            }
        }
    }
    Ok(first.map_or(0, |(_, _, end)| end))
}

/// Where two logs part: the headers of the first batches that differ.
fn parting(one: &[u8], other: &[u8]) -> String {
    let mut both = whole_batches(one).zip(whole_batches(other));
    let parted = both.find_map(|pair| match pair {
        (Ok(one), Ok(other)) if one.header() == other.header() => None,
        (Ok(one), Ok(other)) => Some(format!("{:?} and {:?}", one.header(), other.header())),
        _ => Some("a batch is damaged".to_owned()),
    });
    parted.unwrap_or_else(|| "one has more".to_owned())
}

/// Whether a machine keeps a copy of a partition, by its own image.
fn is_replica(machine: &Machine, topic: &str, partition: u32) -> bool {
    let Some(inside) = machine.inside() else { return false };
    let image = inside.image().1;
    let Some(topic) = image.topic(topic) else { return false };
    let mut partitions = topic.partitions.iter();
    let state = partitions.find(|(index, _)| u32::try_from(index.get()) == Ok(partition));
    state.is_some_and(|(_, state)| state.replicas.contains(&inside.node_id()))
}

/// Looks whether anything is left of topics that were deleted.
pub(super) fn look_for_remains(machines: &[Machine], gone: &[TopicId]) -> Result<(), String> {
    for machine in members(machines) {
        let number = machine.number;
        let Some(inside) = machine.inside() else { continue };
        let life = inside.image().1.topic(FLEETING).map(|topic| topic.id);
        if life.is_some_and(|life| gone.contains(&life)) {
            return Err(format!("broker {number} shows a topic that was deleted"));
        }
        let hosted = inside.partitions();
        if let Some(left) = hosted.iter().find(|it| gone.contains(&it.key().topic_id)) {
            return Err(format!("broker {number} hosts {}, which was deleted", left.name()));
        }
        let folder = format!("{FLEETING}-0");
        let files = machine.disk.files();
        let of_it = |path: &Path| path.parent().is_some_and(|dir| dir.ends_with(&folder));
        if let Some((path, _)) = files.iter().find(|(path, _)| life.is_none() && of_it(path)) {
            return Err(format!("broker {number} keeps {} of a deleted topic", path.display()));
        }
    }
    Ok(())
}

/// All batches of a machine's log of a partition, one after the other, and where they end.
fn log_of(machine: &Machine, topic: &str, partition: u32) -> Result<(Vec<u8>, i64), String> {
    let folder = format!("{topic}-{partition}");
    let (mut bytes, mut end) = (Vec::new(), 0);
    for (path, contents) in machine.disk.files() {
        let is_there = path.parent().is_some_and(|dir| dir.ends_with(&folder));
        if !is_there || path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        for batch in whole_batches(&contents) {
            // Zeroes, where room was taken ahead.
            let Ok(batch) = batch else { break };
            let header = batch.header();
            if header.base_offset.get() != end {
                return Err(format!(
                    "the log of {folder} of broker {} goes from {end} to {}",
                    machine.number, header.base_offset
                ));
            }
            end = header.next_offset().get();
            bytes.extend(header.to_bytes());
            bytes.extend_from_slice(batch.payload());
        }
    }
    Ok((bytes, end))
}
