//! What the broker counts while it works. Relaxed atomics: a scrape may be a request behind.

use jocko_protocol::ApiKey;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// API keys are below this.
const APIS_MAX: usize = 128;
/// Versions of one API are below this.
const VERSIONS_MAX: usize = 32;
/// Upper bounds of the buckets of a latency histogram, in microseconds; one more takes the rest.
pub(crate) const BUCKETS_MICROS: [u64; 16] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600,
    1_638_400, 6_553_600,
];

/// Times by bucket.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS_MICROS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(slot) = self.buckets.get(bucket) {
            slot.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many fell into each bucket, the one without a bound last.
    pub(crate) fn counts(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed))
    }

    /// The sum of all times.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

/// The counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// By API and version.
    requests: Vec<AtomicU64>,
    /// By API; made when the API is first used, since most never are.
    latencies: Vec<std::sync::OnceLock<Box<Histogram>>>,
    pub(crate) flushes: Histogram,
    pub(crate) retention_bytes: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: (0..APIS_MAX * VERSIONS_MAX).map(|_| AtomicU64::new(0)).collect(),
            latencies: (0..APIS_MAX).map(|_| std::sync::OnceLock::new()).collect(),
            flushes: Histogram::default(),
            retention_bytes: AtomicU64::new(0),
        }
    }

    /// A request was answered, after that time if it was the broker's to take.
    pub(crate) fn request(&self, (api, version): (ApiKey, i16), took: Option<Duration>) {
        let Ok(api) = usize::try_from(api.code()) else { return };
        let Ok(version) = usize::try_from(version) else { return };
        let slot = api * VERSIONS_MAX + version.min(VERSIONS_MAX - 1);
        if let Some(count) = self.requests.get(slot) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let (Some(took), Some(latency)) = (took, self.latencies.get(api)) {
            latency.get_or_init(Box::default).note(took);
        }
    }

    /// A flush round has ended.
    pub(crate) fn flush_round(&self, took: Duration) {
        self.flushes.note(took);
    }

    /// Retention dropped so many bytes.
    pub(crate) fn retained(&self, bytes: u64) {
        self.retention_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Requests so far, by API and version, those that never came left out.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (ApiKey, usize, u64)> {
        self.requests.iter().enumerate().filter_map(|(slot, count)| {
            let count = count.load(Ordering::Relaxed);
            let api = ApiKey::from_code(i16::try_from(slot / VERSIONS_MAX).ok()?)?;
            (count > 0).then_some((api, slot % VERSIONS_MAX, count))
        })
    }

    /// Latencies of the APIs that were used.
    pub(crate) fn latencies(&self) -> impl Iterator<Item = (ApiKey, &Histogram)> {
        self.latencies.iter().enumerate().filter_map(|(api, latency)| {
            Some((ApiKey::from_code(i16::try_from(api).ok()?)?, &**latency.get()?))
        })
    }
}
