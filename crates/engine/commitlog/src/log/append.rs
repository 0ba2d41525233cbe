//! Appending: judge the producer, assign offsets, write, take note; and rolling to a new segment.

use super::Log;
use crate::fault::{LogFault, Result};
use crate::names::{self, Kind};
use crate::producers::{self, Tail, Verdict};
use crate::segment::{Assigned, Segment};
use crate::tail::Placed;
use jocko_disk::{FaultKind, Open};
use jocko_records::{
    ASSIGNED_PREFIX_BYTES, AssignedPrefix, BatchError, BatchHeader, BatchView, PreparedBatch,
};
use jocko_types::{LeaderEpoch, Offset, ProducerEpoch, Sequence, Timestamp};
use std::io::IoSlice;

/// A batch that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendedBatch {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Whether a new segment was begun for it.
    pub rolled: bool,
}

/// What became of a leader's append. None of these harms the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is written; durable once [`Log::durable_end`] passes its last offset.
    Appended(AppendedBatch),
    /// The producer sent it before and it is in the log: the answer is what it was then.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record; success may be told once this is durable.
        last_offset: Offset,
        /// Its largest timestamp.
        timestamp: Timestamp,
    },
    /// Sequences are missing before it, or it is older than the five batches remembered
    /// (`OUT_OF_ORDER_SEQUENCE_NUMBER`).
    OutOfOrderSequence {
        /// The last sequence of the producer; `None` if a new epoch had to start at 0.
        last: Option<Sequence>,
        /// The sequence it came with.
        got: Sequence,
    },
    /// A newer incarnation of the producer has written (`INVALID_PRODUCER_EPOCH`).
    InvalidProducerEpoch {
        /// The newer epoch.
        current: ProducerEpoch,
    },
    /// It would not fit into a segment of its own (`RECORD_LIST_TOO_LARGE`).
    TooLarge {
        /// The most a segment may hold.
        segment_bytes_max: u32,
    },
    /// The disk is full. Nothing was written; the next append may succeed.
    NoSpace,
}

/// What became of batches whose offsets a leader (or Raft) had assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssignedOutcome {
    /// All are written.
    Appended {
        /// Offset of the first record, if there was any batch.
        base_offset: Option<Offset>,
        /// The log's new end.
        log_end: Offset,
    },
    /// A batch does not follow the log's end; it and those behind it are not written.
    OutOfPlace {
        /// The log's end.
        expected: Offset,
        /// The batch's base offset.
        got: Offset,
    },
    /// A batch's leader is older than the log's newest; it and those behind it are not written.
    OldEpoch {
        /// The log's newest.
        latest: LeaderEpoch,
        /// The batch's.
        got: LeaderEpoch,
    },
    /// A batch is damaged; it and those behind it are not written.
    Refused(BatchError),
    /// It would not fit into a segment of its own.
    TooLarge {
        /// The most a segment may hold.
        segment_bytes_max: u32,
    },
    /// The disk is full. Batches before the one that did not fit are written.
    NoSpace,
}

/// Whether the offsets of assigned batches may leave gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gaps {
    /// Compaction at the leader leaves them.
    Allowed,
    Refused,
}

/// Whether a batch found room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Found { rolled: bool },
    None,
}

impl Log {
    /// Appends a client's batch as leader of `leader_epoch`: checks the producer's sequence,
    /// assigns offsets, writes. The bytes of `batch` are not changed. `now` is the wall clock.
    ///
    /// # Errors
    /// A disk fault, which latches the log; the latch; [`LogFault::Corrupt`] if the log holds
    /// records of a newer leader, which elections do not allow (P-4).
    pub fn append(
        &mut self,
        batch: &PreparedBatch<'_>,
        leader_epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<AppendOutcome> {
        self.check_latch()?;
        match self.producers.judge(&batch.header) {
            Verdict::Fits => {}
            Verdict::Duplicate(at) => {
                return Ok(AppendOutcome::Duplicate {
                    base_offset: at.base_offset,
                    last_offset: at.last_offset,
                    timestamp: at.timestamp,
                });
            }
            Verdict::OutOfOrder { last } => {
                let got = batch.header.base_sequence;
                return Ok(AppendOutcome::OutOfOrderSequence { last, got });
            }
            Verdict::Fenced { current } => {
                return Ok(AppendOutcome::InvalidProducerEpoch { current });
            }
        }
        let latest = self.epochs.latest().map_or(LeaderEpoch::NONE, |last| last.epoch);
        if leader_epoch < latest {
            return Err(self.newer_leader(leader_epoch, latest));
        }
        let header = BatchHeader { base_offset: self.next, leader_epoch, ..batch.header };
        let segment_bytes_max = self.config.segment_bytes_max;
        if header.size_bytes() as u64 > u64::from(segment_bytes_max) {
            return Ok(AppendOutcome::TooLarge { segment_bytes_max });
        }
        let prefix = AssignedPrefix::new(&header, header.base_offset, leader_epoch);
        let rest = batch.bytes.get(ASSIGNED_PREFIX_BYTES..).unwrap_or_default();
        let assigned = Assigned { header, pieces: [prefix.as_bytes(), rest] };
        match self.write(&assigned, now)? {
            Room::None => Ok(AppendOutcome::NoSpace),
            Room::Found { rolled } => Ok(AppendOutcome::Appended(AppendedBatch {
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                rolled,
            })),
        }
    }

    fn newer_leader(&self, writes: LeaderEpoch, latest: LeaderEpoch) -> LogFault {
        LogFault::Corrupt {
            path: self.dir.clone(),
            position: 0,
            offset: self.next,
            reason: format!(
                "epoch {writes} is to write, but the log has records of epoch {latest}"
            ),
        }
    }

    /// Appends whole batches as a follower: offsets, epochs and producers are as the leader has
    /// them, and only checksums and order are checked. Gaps between offsets are fine.
    ///
    /// # Errors
    /// A disk fault, which latches the log; or the latch.
    pub fn append_as_follower(&mut self, bytes: &[u8], now: Timestamp) -> Result<AssignedOutcome> {
        self.append_in_order(bytes, Gaps::Allowed, now)
    }

    /// Appends whole batches whose offsets continue the log exactly, for logs that number their
    /// own entries.
    ///
    /// # Errors
    /// A disk fault, which latches the log; or the latch.
    pub fn append_assigned(&mut self, bytes: &[u8], now: Timestamp) -> Result<AssignedOutcome> {
        self.append_in_order(bytes, Gaps::Refused, now)
    }

    fn append_in_order(
        &mut self,
        bytes: &[u8],
        gaps: Gaps,
        now: Timestamp,
    ) -> Result<AssignedOutcome> {
        self.check_latch()?;
        let mut base_offset = None;
        for batch in jocko_records::strict_batches(bytes) {
            let checked = batch.and_then(|batch| batch.check_crc().map(|()| batch));
            let batch = match checked {
                Ok(batch) => batch,
                Err(error) => return Ok(AssignedOutcome::Refused(error)),
            };
            if let Some(refusal) = self.out_of_order(&batch, gaps) {
                return Ok(refusal);
            }
            let header = *batch.header();
            if header.base_offset > self.next {
                self.note_gap(header.base_offset);
            }
            let assigned = Assigned { header, pieces: [batch.bytes(), &[]] };
            if let Room::None = self.write(&assigned, now)? {
                return Ok(AssignedOutcome::NoSpace);
            }
            base_offset = base_offset.or(Some(header.base_offset));
        }
        Ok(AssignedOutcome::Appended { base_offset, log_end: self.next })
    }

    fn out_of_order(&self, batch: &BatchView<'_>, gaps: Gaps) -> Option<AssignedOutcome> {
        let header = batch.header();
        let in_place = match gaps {
            Gaps::Allowed => header.base_offset >= self.next,
            Gaps::Refused => header.base_offset == self.next,
        };
        if !in_place || header.last_offset_delta < 0 {
            return Some(AssignedOutcome::OutOfPlace {
                expected: self.next,
                got: header.base_offset,
            });
        }
        let latest = self.epochs.latest().map_or(LeaderEpoch::NONE, |last| last.epoch);
        if header.leader_epoch < latest {
            return Some(AssignedOutcome::OldEpoch { latest, got: header.leader_epoch });
        }
        // What a leader has taken its followers take, whatever the limit is by now.
        let segment_bytes_max = match gaps {
            Gaps::Allowed => i32::MAX.unsigned_abs(),
            Gaps::Refused => self.config.segment_bytes_max,
        };
        (header.size_bytes() as u64 > u64::from(segment_bytes_max))
            .then_some(AssignedOutcome::TooLarge { segment_bytes_max })
    }

    /// Writes one batch at the end and takes note of it everywhere.
    fn write(&mut self, batch: &Assigned<'_>, now: Timestamp) -> Result<Room> {
        let segments = self.segments.len();
        if !self.make_room(&batch.header, now)? {
            return Ok(Room::None);
        }
        let rolled = self.segments.len() > segments && segments > 0;
        let interval = self.config.index_interval_bytes;
        let (segment, at) = self.active().expect("there is a segment to write to");
        let placed = Placed {
            segment: segment.base,
            position: segment.size,
            last_offset: batch.header.last_offset(),
        };
        let written = segment.append(at, batch, interval);
        if let Err(LogFault::Disk(fault)) = &written
            && fault.kind() == FaultKind::NoSpace
        {
            let cut = segment.cut_back(at);
            self.or_latch(cut)?;
            return Ok(Room::None);
        }
        self.or_latch(written)?;
        let header = &batch.header;
        if self.epochs.assign(header.leader_epoch, header.base_offset) {
            self.note_epochs();
        }
        self.producers.apply(header, now, self.config.producers_max);
        self.positions.appended(placed);
        self.last_batch = Some((header.base_offset, header.crc));
        self.next = header.next_offset();
        Ok(Room::Found { rolled })
    }

    /// Sees to it that the active segment takes a batch. `false` if the disk is full.
    fn make_room(&mut self, header: &BatchHeader, now: Timestamp) -> Result<bool> {
        if self.segments.is_empty() {
            return self.begin_segment(self.base_for(header), now);
        }
        let (segment, at) = self.active().expect("there is one");
        let loaded = segment.load_first_timestamp(at);
        if let Err(LogFault::Disk(fault)) = &loaded
            && fault.kind() == FaultKind::NoSpace
        {
            return Ok(false);
        }
        self.or_latch(loaded)?;
        let full = self.segments.last().is_some_and(|segment| {
            // A batch of any size still fits into a segment of its own.
            let size = segment.size + header.size_bytes() as u64;
            let is_share_full = self.share.roll_bytes.is_some_and(|max| size > max);
            segment.is_full_for(header, &self.config, now) || (is_share_full && segment.size > 0)
        });
        if full { self.roll_to(self.base_for(header), now) } else { Ok(true) }
    }

    /// The base of a segment begun for this batch: the log's end, so that segments join without a
    /// gap, unless the batch lies beyond what an index can reach from there.
    fn base_for(&self, header: &BatchHeader) -> Offset {
        let reach = self.next.distance_to(header.last_offset());
        if reach <= i64::from(i32::MAX) { self.next } else { header.base_offset }
    }

    /// Seals the active segment and begins another. `false` if the disk is full. Nothing is synced
    /// here: the sealed files are part of the next [`crate::FlushJob`].
    pub(crate) fn roll(&mut self, now: Timestamp) -> Result<bool> {
        self.roll_to(self.next, now)
    }

    fn roll_to(&mut self, base: Offset, now: Timestamp) -> Result<bool> {
        let (segment, at) = self.active().expect("only a written log rolls");
        if segment.size == 0 {
            // Its base is too far from the batch to come; it holds nothing, so it can go.
            let empty = segment.base;
            self.drop_segments_from(empty)?;
            return self.begin_segment(base, now);
        }
        let sealed = segment.seal(at);
        self.or_latch(sealed)?;
        let place = self.segments.len() - 1;
        if !self.begin_segment(base, now)? {
            return Ok(false);
        }
        self.note_snapshot();
        self.touch(place);
        Ok(true)
    }

    /// Begins a segment at `base`. `false` if the disk is full.
    pub(crate) fn begin_segment(&mut self, base: Offset, now: Timestamp) -> Result<bool> {
        let mut segment = Segment::empty(base, now);
        match self.create_files(&mut segment) {
            Ok(()) => {}
            Err(fault) if fault.kind() == FaultKind::NoSpace => return Ok(false),
            Err(fault) => return self.or_latch(Err(fault.into())),
        }
        segment.next = self.next.max(base);
        self.segments.push(segment);
        self.flushing.note_names();
        Ok(true)
    }

    fn create_files(
        &mut self,
        segment: &mut Segment,
    ) -> std::result::Result<(), jocko_disk::DiskFault> {
        if !self.folder_exists {
            self.disk.create_dir_all(&self.dir)?;
            self.name_folder()?;
            self.folder_exists = true;
            self.flushing.note_folder();
            self.note_metadata();
            self.note_epochs();
        }
        segment.create((self.disk.as_ref(), &self.dir))
    }

    /// Says whose the folder is before there is anything in it. Not durably, that is for the first
    /// flush; but a process that is killed before that leaves no records of which nobody knows whose
    /// they are: a topic made anew under the same name would take them for its own.
    fn name_folder(&self) -> std::result::Result<(), jocko_disk::DiskFault> {
        let Some(text) = self.metadata_text() else { return Ok(()) };
        let file = self.disk.open(&self.dir.join(names::METADATA_BEFORE_FLUSH), Open::Create)?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)
    }

    /// Queues a snapshot of the producers as of the log's end.
    pub(crate) fn note_snapshot(&mut self) {
        let Some(tail) = self.tail_now() else { return };
        self.snapshots_due = true;
        let kafka = producers::encode_kafka(&self.producers);
        let own = producers::encode(&tail, &self.producers);
        let end = tail.log_end;
        self.flushing.note_state(names::path(&self.dir, end, Kind::Sidecar), own, false);
        self.flushing.note_state(names::path(&self.dir, end, Kind::Snapshot), kafka, false);
    }

    fn tail_now(&mut self) -> Option<Tail> {
        let (log_end, last_batch) = (self.next, self.last_batch);
        let (segment, at) = self.active()?;
        Some(Tail {
            log_end,
            last_batch,
            segment: segment.base,
            segment_bytes: segment.size,
            reached: segment.reached(at).ok().flatten(),
            first_timestamp: segment.known_first_timestamp(),
        })
    }
}
