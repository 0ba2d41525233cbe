//! The bytes of metadata records in the Raft log and in snapshots.
//!
//! An entry is a format byte, then frames: `length` (unsigned varint, of what follows it in the
//! frame), `record type` and `version` (unsigned varints), and the record as
//! `schema/metadata/*.json` describes it. docs/internals/controller.md has the table.

use crate::record::{
    ConfigResource, DiskTrouble, DiskTroubleKind, Endpoint, MetadataRecord, PartitionState,
    Registration, Replication,
};
use jocko_codec::{Decode, DecodeError, Reader, Writer};
use jocko_protocol::RecordSchema;
use jocko_protocol::messages::metadata::register_broker_record::BrokerListener;
use jocko_protocol::messages::metadata::{
    BrokerDiskRecord, BrokerIdsRecord, ClusterRecord, ConfigRecord, FeatureLevelRecord,
    FenceBrokerRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord, RemoveTopicRecord,
    RetireBrokerRecord, TopicRecord, UnfenceBrokerRecord, UnregisterBrokerRecord,
};
use jocko_types::{
    BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId, Timestamp,
    TopicId, TopicName,
};
use std::fmt;

/// The first byte of every entry.
const FORMAT: u8 = 1;

/// The version records are written at.
const VERSION: i16 = 0;

/// Kafka's numbers for what a config is set on.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

/// Numbers for how a disk is.
const DISK_GOOD: i8 = 0;
const DISK_SHORT: i8 = 1;
const DISK_FULL: i8 = 2;
const DISK_SLOW: i8 = 3;
const DISK_FAILED: i8 = 4;

/// Why bytes are not an entry this jocko can apply. None of these can be passed over: an image
/// that skipped a record would differ from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryError {
    /// The format, a record type or a record version is not known.
    Newer {
        /// Which.
        what: String,
    },
    /// The bytes do not decode.
    Malformed(DecodeError),
    /// A record decodes but says what cannot be.
    Invalid {
        /// The record.
        record: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { what } => {
                write!(f, "the metadata was written by a newer jocko: {what} is unknown here")
            }
            Self::Malformed(error) => write!(f, "the metadata is damaged: {error}"),
            Self::Invalid { record, why } => write!(f, "the metadata is damaged: {record}: {why}"),
        }
    }
}

impl std::error::Error for EntryError {}

impl From<DecodeError> for EntryError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// The bytes of one entry that holds `records`, in order.
#[must_use]
pub fn encode_entry(records: &[MetadataRecord]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    for record in records {
        encode_record(record, &mut bytes);
    }
    bytes
}

/// The records of an entry, in order.
///
/// # Errors
/// The bytes are damaged, or from a newer jocko.
pub fn decode_entry(bytes: &[u8]) -> Result<Vec<MetadataRecord>, EntryError> {
    let mut reader = Reader::new(bytes);
    let format = reader.u8("entry.format")?;
    if format != FORMAT {
        return Err(EntryError::Newer { what: format!("entry format {format}") });
    }
    let mut records = Vec::new();
    while reader.remaining() > 0 {
        let length = reader.varint("frame.length")?;
        let frame = reader.take(usize::try_from(length).unwrap_or(usize::MAX), "frame")?;
        records.push(decode_frame(frame)?);
    }
    Ok(records)
}

/// Appends the frame of one record.
pub(crate) fn encode_record(record: &MetadataRecord, bytes: &mut Vec<u8>) {
    let mut body = Writer::new();
    write(record, &mut body);
    let body = body.into_bytes().expect("metadata records have no record bytes, so no holes");
    let mut length = Writer::from_vec(std::mem::take(bytes));
    length.varint(u32::try_from(body.len()).expect("a record is far smaller than 4 GiB"));
    length.raw(&body);
    *bytes = length.into_bytes().expect("no holes were left");
}

fn frame<R: RecordSchema>(w: &mut Writer, record: &R) {
    w.varint(u32::from(R::KEY.unsigned_abs()));
    w.varint(u32::from(VERSION.unsigned_abs()));
    record.encode(w, VERSION).expect("names and addresses are checked before they are recorded");
}

fn write(record: &MetadataRecord, w: &mut Writer) {
    match record {
        MetadataRecord::Cluster { cluster_id, created, last_broker_epoch } => {
            let record = ClusterRecord {
                cluster_id: *cluster_id,
                created_ms: created.as_millis(),
                last_broker_epoch: last_broker_epoch.get(),
                ..ClusterRecord::default()
            };
            frame(w, &record);
        }
        MetadataRecord::FeatureLevel { name, level } => {
            let (name, level) = (name.clone(), *level);
            frame(w, &FeatureLevelRecord { name, level, ..FeatureLevelRecord::default() });
        }
        MetadataRecord::RegisterBroker(registration) => {
            frame(w, &registration_record(registration))
        }
        MetadataRecord::FenceBroker { broker_id, broker_epoch } => {
            let (broker_id, broker_epoch) = (broker_id.get(), broker_epoch.get());
            frame(w, &FenceBrokerRecord { broker_id, broker_epoch, ..Default::default() });
        }
        MetadataRecord::UnfenceBroker { broker_id, broker_epoch } => {
            let (broker_id, broker_epoch) = (broker_id.get(), broker_epoch.get());
            frame(w, &UnfenceBrokerRecord { broker_id, broker_epoch, ..Default::default() });
        }
        MetadataRecord::RetireBroker { broker_id, broker_epoch } => {
            let (broker_id, broker_epoch) = (broker_id.get(), broker_epoch.get());
            frame(w, &RetireBrokerRecord { broker_id, broker_epoch, ..Default::default() });
        }
        MetadataRecord::BrokerDisk { broker_id, broker_epoch, trouble } => {
            frame(w, &disk_record(*broker_id, *broker_epoch, trouble.as_ref()));
        }
        MetadataRecord::UnregisterBroker { broker_id, broker_epoch } => {
            let (broker_id, broker_epoch) = (broker_id.get(), broker_epoch.get());
            frame(w, &UnregisterBrokerRecord { broker_id, broker_epoch, ..Default::default() });
        }
        MetadataRecord::Topic { topic_id, name, replication } => {
            let replication = match replication {
                Replication::Auto => -1,
                Replication::Fixed(copies) => *copies,
            };
            let (topic_id, name) = (*topic_id, name.to_string());
            frame(w, &TopicRecord { topic_id, name, replication, ..TopicRecord::default() });
        }
        MetadataRecord::Partition { topic_id, partition, state } => {
            frame(w, &partition_record(*topic_id, *partition, state));
        }
        MetadataRecord::RemoveTopic { topic_id } => {
            frame(w, &RemoveTopicRecord { topic_id: *topic_id, ..Default::default() });
        }
        MetadataRecord::Config { resource, name, value } => {
            frame(w, &config_record(resource, name, value.as_deref()));
        }
        MetadataRecord::BrokerIds { last } => {
            let last_broker_id = last.get();
            frame(w, &BrokerIdsRecord { last_broker_id, ..BrokerIdsRecord::default() });
        }
        MetadataRecord::ProducerIds { next } => {
            let next_producer_id = next.get();
            frame(w, &ProducerIdsRecord { next_producer_id, ..ProducerIdsRecord::default() });
        }
    }
}

fn registration_record(registration: &Registration) -> RegisterBrokerRecord {
    let listener = |endpoint: &Endpoint| BrokerListener {
        name: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..BrokerListener::default()
    };
    RegisterBrokerRecord {
        broker_id: registration.broker_id.get(),
        broker_epoch: registration.broker_epoch.get(),
        incarnation_id: registration.incarnation,
        directory_id: registration.directory,
        listeners: registration.endpoints.iter().map(listener).collect(),
        rack: registration.rack.clone(),
        release: registration.release.clone(),
        fenced: registration.fenced,
        ..RegisterBrokerRecord::default()
    }
}

fn disk_record(
    broker_id: BrokerId,
    broker_epoch: BrokerEpoch,
    trouble: Option<&DiskTrouble>,
) -> BrokerDiskRecord {
    let kind = |trouble: &DiskTrouble| match trouble.kind {
        DiskTroubleKind::Short => DISK_SHORT,
        DiskTroubleKind::Full => DISK_FULL,
        DiskTroubleKind::Slow => DISK_SLOW,
        DiskTroubleKind::Failed => DISK_FAILED,
    };
    BrokerDiskRecord {
        broker_id: broker_id.get(),
        broker_epoch: broker_epoch.get(),
        trouble: trouble.map_or(DISK_GOOD, kind),
        words: trouble.map_or(String::new(), |trouble| trouble.words.clone()),
        ..BrokerDiskRecord::default()
    }
}

fn partition_record(
    topic_id: TopicId,
    partition: PartitionIndex,
    state: &PartitionState,
) -> PartitionRecord {
    let raw = |ids: &[BrokerId]| ids.iter().map(|id| id.get()).collect();
    PartitionRecord {
        topic_id,
        partition: partition.get(),
        replicas: raw(&state.replicas),
        isr: raw(&state.isr),
        leader: state.leader.map_or(-1, BrokerId::get),
        leader_epoch: state.leader_epoch.get(),
        partition_epoch: state.partition_epoch.get(),
        directories: state.directories.clone(),
        elr: raw(&state.elr),
        adding: raw(&state.adding),
        removing: raw(&state.removing),
        ..PartitionRecord::default()
    }
}

fn config_record(resource: &ConfigResource, name: &str, value: Option<&str>) -> ConfigRecord {
    let (resource_type, resource_name) = match resource {
        ConfigResource::Topic(name) => (TOPIC, name.to_string()),
        ConfigResource::Broker(id) => (BROKER, id.to_string()),
        ConfigResource::Cluster => (BROKER, String::new()),
        ConfigResource::Group(id) => (GROUP, id.clone()),
    };
    ConfigRecord {
        resource_type,
        resource_name,
        name: name.to_owned(),
        value: value.map(str::to_owned),
        ..ConfigRecord::default()
    }
}

fn decode_frame(frame: &[u8]) -> Result<MetadataRecord, EntryError> {
    let mut reader = Reader::new(frame);
    let kind = reader.varint("frame.type")?;
    let version = reader.varint("frame.version")?;
    let version = i16::try_from(version).unwrap_or(i16::MAX);
    let r = &mut reader;
    let record = match i16::try_from(kind).unwrap_or(i16::MAX) {
        ClusterRecord::KEY => cluster(&read(r, version)?),
        FeatureLevelRecord::KEY => {
            let FeatureLevelRecord { name, level, .. } = read(r, version)?;
            MetadataRecord::FeatureLevel { name, level }
        }
        RegisterBrokerRecord::KEY => registration(read(r, version)?),
        FenceBrokerRecord::KEY => {
            let record: FenceBrokerRecord = read(r, version)?;
            let (broker_id, broker_epoch) = broker(record.broker_id, record.broker_epoch);
            MetadataRecord::FenceBroker { broker_id, broker_epoch }
        }
        UnfenceBrokerRecord::KEY => {
            let record: UnfenceBrokerRecord = read(r, version)?;
            let (broker_id, broker_epoch) = broker(record.broker_id, record.broker_epoch);
            MetadataRecord::UnfenceBroker { broker_id, broker_epoch }
        }
        RetireBrokerRecord::KEY => {
            let record: RetireBrokerRecord = read(r, version)?;
            let (broker_id, broker_epoch) = broker(record.broker_id, record.broker_epoch);
            MetadataRecord::RetireBroker { broker_id, broker_epoch }
        }
        BrokerDiskRecord::KEY => disk(read(r, version)?)?,
        UnregisterBrokerRecord::KEY => {
            let record: UnregisterBrokerRecord = read(r, version)?;
            let (broker_id, broker_epoch) = broker(record.broker_id, record.broker_epoch);
            MetadataRecord::UnregisterBroker { broker_id, broker_epoch }
        }
        TopicRecord::KEY => topic(&read(r, version)?)?,
        PartitionRecord::KEY => partition(read(r, version)?),
        RemoveTopicRecord::KEY => {
            let record: RemoveTopicRecord = read(r, version)?;
            MetadataRecord::RemoveTopic { topic_id: record.topic_id }
        }
        ConfigRecord::KEY => config(read(r, version)?)?,
        BrokerIdsRecord::KEY => {
            let record: BrokerIdsRecord = read(r, version)?;
            MetadataRecord::BrokerIds { last: BrokerId::new(record.last_broker_id) }
        }
        ProducerIdsRecord::KEY => {
            let record: ProducerIdsRecord = read(r, version)?;
            MetadataRecord::ProducerIds { next: ProducerId::new(record.next_producer_id) }
        }
        _ => return Err(EntryError::Newer { what: format!("record type {kind}") }),
    };
    Ok(record)
}

fn read<'a, R: RecordSchema + Decode<'a>>(
    r: &mut Reader<'a>,
    version: i16,
) -> Result<R, EntryError> {
    if version > R::VERSIONS.max {
        let what = format!("version {version} of {}", R::NAME);
        return Err(EntryError::Newer { what });
    }
    let record = R::decode(r, version)?;
    if r.remaining() > 0 {
        let why = format!("{} bytes are left over", r.remaining());
        return Err(EntryError::Invalid { record: R::NAME, why });
    }
    Ok(record)
}

fn broker(id: i32, epoch: i64) -> (BrokerId, BrokerEpoch) {
    (BrokerId::new(id), BrokerEpoch::new(epoch))
}

fn cluster(record: &ClusterRecord) -> MetadataRecord {
    MetadataRecord::Cluster {
        cluster_id: record.cluster_id,
        created: Timestamp::from_millis(record.created_ms),
        last_broker_epoch: BrokerEpoch::new(record.last_broker_epoch),
    }
}

fn registration(record: RegisterBrokerRecord) -> MetadataRecord {
    let endpoint = |listener: BrokerListener| Endpoint {
        listener: listener.name,
        host: listener.host,
        port: listener.port,
    };
    let (broker_id, broker_epoch) = broker(record.broker_id, record.broker_epoch);
    MetadataRecord::RegisterBroker(Registration {
        broker_id,
        broker_epoch,
        incarnation: record.incarnation_id,
        directory: record.directory_id,
        endpoints: record.listeners.into_iter().map(endpoint).collect(),
        rack: record.rack,
        release: record.release,
        fenced: record.fenced,
    })
}

fn disk(record: BrokerDiskRecord) -> Result<MetadataRecord, EntryError> {
    let kind = match record.trouble {
        DISK_GOOD => None,
        DISK_SHORT => Some(DiskTroubleKind::Short),
        DISK_FULL => Some(DiskTroubleKind::Full),
        DISK_SLOW => Some(DiskTroubleKind::Slow),
        DISK_FAILED => Some(DiskTroubleKind::Failed),
        other => return Err(EntryError::Newer { what: format!("disk trouble {other}") }),
    };
    let (broker_id, broker_epoch) = broker(record.broker_id, record.broker_epoch);
    let trouble = kind.map(|kind| DiskTrouble { kind, words: record.words });
    Ok(MetadataRecord::BrokerDisk { broker_id, broker_epoch, trouble })
}

fn topic_name(record: &'static str, name: &str) -> Result<TopicName, EntryError> {
    TopicName::new(name)
        .map_err(|_| EntryError::Invalid { record, why: format!("{name:?} names no topic") })
}

fn topic(record: &TopicRecord) -> Result<MetadataRecord, EntryError> {
    let replication = match record.replication {
        copies if copies > 0 => Replication::Fixed(copies),
        _ => Replication::Auto,
    };
    let name = topic_name("TopicRecord", &record.name)?;
    Ok(MetadataRecord::Topic { topic_id: record.topic_id, name, replication })
}

fn partition(record: PartitionRecord) -> MetadataRecord {
    let ids = |raw: Vec<i32>| raw.into_iter().map(BrokerId::new).collect();
    MetadataRecord::Partition {
        topic_id: record.topic_id,
        partition: PartitionIndex::new(record.partition),
        state: PartitionState {
            replicas: ids(record.replicas),
            isr: ids(record.isr),
            elr: ids(record.elr),
            leader: (record.leader >= 0).then(|| BrokerId::new(record.leader)),
            leader_epoch: LeaderEpoch::new(record.leader_epoch),
            partition_epoch: PartitionEpoch::new(record.partition_epoch),
            directories: record.directories,
            adding: ids(record.adding),
            removing: ids(record.removing),
        },
    }
}

fn config(record: ConfigRecord) -> Result<MetadataRecord, EntryError> {
    const NAME: &str = "ConfigRecord";
    let resource = match (record.resource_type, record.resource_name.as_str()) {
        (TOPIC, name) => ConfigResource::Topic(topic_name(NAME, name)?),
        (BROKER, "") => ConfigResource::Cluster,
        (BROKER, id) => {
            let id = id.parse().map_err(|_| EntryError::Invalid {
                record: NAME,
                why: format!("{id:?} is no broker's number"),
            })?;
            ConfigResource::Broker(BrokerId::new(id))
        }
        (GROUP, id) => ConfigResource::Group(id.to_owned()),
        (other, _) => return Err(EntryError::Newer { what: format!("config resource {other}") }),
    };
    Ok(MetadataRecord::Config { resource, name: record.name, value: record.value })
}

#[cfg(test)]
mod tests;
