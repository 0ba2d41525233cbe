//! What a log needs to know of a topic's settings.

use crate::compaction::CompactionConfig;
use std::time::Duration;

/// Settings of one log. Every field can change while the log is open, see `Log::reconfigure`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would grow beyond this is rolled first.
    pub segment_bytes_max: u32,
    /// `segment.ms`: a segment whose first batch is older than this is rolled.
    pub segment_age_max: Duration,
    /// Whether somebody set `segment.ms`. If not, it is at most a tenth of the retention time, so
    /// that a slow topic does not keep records for a multiple of what was asked for.
    pub segment_age_is_explicit: bool,
    /// This log's share of `segment.jitter.ms`, drawn by the caller: rolls earlier by so much.
    pub segment_jitter: Duration,
    /// `segment.index.bytes`: a segment whose index reaches this is rolled.
    pub index_bytes_max: u32,
    /// `index.interval.bytes`: log bytes between two index entries.
    pub index_interval_bytes: u32,
    /// `retention.ms`; `None` keeps for ever.
    pub retention_age: Option<Duration>,
    /// `retention.bytes`; `None` keeps everything.
    pub retention_bytes: Option<u64>,
    /// Whether `cleanup.policy` holds `delete`. Without it retention drops nothing.
    pub retention_deletes: bool,
    /// Whether `cleanup.policy` holds `compact`: then offsets may be missing between batches, as
    /// in a log that another broker compacted; otherwise a hole is lost data.
    pub compacts: bool,
    /// How it is compacted, if it is.
    pub compaction: CompactionConfig,
    /// `file.delete.delay.ms`: how long a dropped segment's files stay, renamed.
    pub file_delete_delay: Duration,
    /// `producer.id.expiration.ms`: a producer silent for so long is forgotten.
    pub producer_expiration: Duration,
    /// Producers remembered at most; the least recently seen goes first.
    pub producers_max: usize,
    /// Sealed segments whose files are kept open at most.
    pub open_segments_max: usize,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            segment_bytes_max: 1 << 30,
            segment_age_max: 7 * DAY,
            segment_age_is_explicit: false,
            segment_jitter: Duration::ZERO,
            index_bytes_max: 10 << 20,
            index_interval_bytes: 4096,
            retention_age: Some(7 * DAY),
            retention_bytes: None,
            retention_deletes: true,
            compacts: false,
            compaction: CompactionConfig::default(),
            file_delete_delay: Duration::from_secs(60),
            producer_expiration: DAY,
            producers_max: 100_000,
            open_segments_max: 4,
        }
    }
}

impl LogConfig {
    /// The age at which a segment is rolled, before jitter.
    #[must_use]
    pub fn segment_age(&self) -> Duration {
        match self.retention_age {
            Some(retention) if !self.segment_age_is_explicit && self.retention_deletes => {
                self.segment_age_max.min(retention / 10)
            }
            _ => self.segment_age_max,
        }
    }
}

/// A duration in whole milliseconds, as timestamps count.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
