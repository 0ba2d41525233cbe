//! The page behind `/metrics`: what the parts of a running broker say of themselves, in OpenMetrics
//! text. Names and labels: docs/reference/metrics.md.

mod exporter;
mod groups;

use crate::context::Context;
use crate::metrics::{BUCKETS_MICROS, Histogram};
use crate::replication::mending;
use jocko_admin::Probe;
use jocko_consensus::{Raft, Role};
use jocko_net::{CloseReason, Meter};
use jocko_partition::{LimitSource, Partition};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Topics that get labels of their own; a cluster with more tells only sums.
const TOPICS_MAX: usize = 1_000;

/// Damaged copies that `/readyz` names; the metric counts all.
const DAMAGED_TOLD_MAX: usize = 10;
/// What becomes of them.
const DAMAGE_CURE: &str = "it is fetched anew once another broker is there that holds all of it; \
    where none does, restore that folder, or stop this broker and elect another copy uncleanly";

/// What the HTTP port shows of a running broker.
pub(crate) struct Page {
    context: Arc<Context>,
    raft: Raft,
    meter: Meter,
    /// What earlier scrapes saw of groups and of what they read.
    history: Mutex<groups::History>,
}

/// A family with a sample for each topic: its name, its help, and where its value is.
type Column = (&'static str, &'static str, fn(&TopicSums) -> i128);

/// One topic's sums over the partitions here.
#[derive(Default)]
struct TopicSums {
    bytes_in: u64,
    records_in: u64,
    bytes_out: u64,
    size_bytes: u64,
    partitions: u64,
    log_start: i64,
    log_end: i64,
    /// Bytes that partitions are cut to by a limit they share, and which it is.
    limit: Option<(u64, LimitSource)>,
}

impl Page {
    pub(crate) fn new(context: Arc<Context>, raft: Raft, meter: Meter) -> Self {
        Self { context, raft, meter, history: Mutex::default() }
    }
}

impl Probe for Page {
    fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let status = self.raft.status();
        if let Some(fatal) = &status.fatal {
            reasons.push(format!("the metadata log failed: {fatal}"));
        } else if let Some(words) = self.context.cluster.contact.disowned() {
            // Whoever is no member hears of no leader either.
            reasons.push(words);
        } else if !status.is_serving && (status.role == Role::Leader || status.leader.is_none()) {
            reasons.push("the metadata log has no leader".to_owned());
        } else if self.context.cluster.contact.is_lost() {
            reasons.push(
                "no answer from the controller: this broker is cut off from it, or most voters are gone"
                    .to_owned(),
            );
        }
        if self.context.addresses().is_empty() {
            reasons.push("not listening yet".to_owned());
        }
        reasons
    }

    fn notes(&self) -> Vec<String> {
        let broker = self.context.broker;
        let trouble = self.context.cluster.health.trouble();
        let disk = trouble.map(|it| format!("broker {broker}: {it}"));
        let damaged = mending::damaged(&self.context);
        let copies = damaged.iter().take(DAMAGED_TOLD_MAX).filter_map(|partition| {
            let (name, fault) = (partition.name(), partition.damage()?);
            Some(format!("broker {broker}: its copy of {name} is damaged: {fault}; {DAMAGE_CURE}"))
        });
        disk.into_iter().chain(copies).collect()
    }

    fn metrics(&self) -> String {
        let mut text = Text::new("jocko_");
        self.write(&mut text).expect("a String takes all");
        text.end()
    }

    fn kafka_exporter(&self) -> String {
        let mut text = Text::new("kafka_");
        exporter::write(&self.context, &mut text).expect("a String takes all");
        text.end()
    }
}

/// OpenMetrics text under way.
struct Text {
    text: String,
    /// What all names begin with.
    prefix: &'static str,
}

impl Text {
    fn new(prefix: &'static str) -> Self {
        Self { text: String::with_capacity(16 << 10), prefix }
    }

    fn end(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        let prefix = self.prefix;
        write!(self.text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}\n")
    }

    fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl fmt::Display,
    ) -> fmt::Result {
        write!(self.text, "{}{name}", self.prefix)?;
        for (at, (label, value)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            write!(
                self.text,
                "{open}{label}=\"{}\"",
                value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
            )?;
        }
        let close = if labels.is_empty() { "" } else { "}" };
        writeln!(self.text, "{close} {value}")
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) -> fmt::Result {
        self.family(name, "gauge", help)?;
        self.sample(name, &[], value)
    }

    /// `name` without its `_total`.
    fn counter(&mut self, name: &str, help: &str, value: impl fmt::Display) -> fmt::Result {
        self.family(name, "counter", help)?;
        self.sample(&format!("{name}_total"), &[], value)
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], times: &Histogram) -> fmt::Result {
        let mut below = 0;
        let bounds = BUCKETS_MICROS.iter().map(|micros| (*micros as f64 / 1e6).to_string());
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(times.counts()) {
            below += count;
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &labels, below)?;
        }
        self.sample(&format!("{name}_count"), labels, below)?;
        self.sample(&format!("{name}_sum"), labels, times.sum().as_secs_f64())
    }
}

impl Page {
    fn write(&self, text: &mut Text) -> fmt::Result {
        self.process(text)?;
        self.cluster(text)?;
        self.requests(text)?;
        self.connections(text)?;
        self.topics(text)?;
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        groups::write(&self.context, &mut history, text)?;
        drop(history);
        self.storage(text)
    }

    fn process(&self, text: &mut Text) -> fmt::Result {
        text.family("build", "info", "The version that runs.")?;
        text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1)?;
        let up = self.context.clock.now().since_start().as_secs_f64();
        text.gauge("uptime_seconds", "Time since the start.", up)?;
        if let Some(usage) = crate::machine::usage() {
            text.counter("process_cpu_seconds", "User and system time.", usage.cpu_seconds)?;
            text.gauge("process_resident_memory_bytes", "Memory in use.", usage.resident_bytes)?;
            text.gauge("process_open_fds", "Open descriptors.", usage.descriptors)?;
        }
        Ok(())
    }

    fn cluster(&self, text: &mut Text) -> fmt::Result {
        let published = self.context.published.load();
        let image = &published.image;
        let states = || image.topics().flat_map(|topic| topic.partitions.values());
        let under = states().filter(|state| state.is_under_replicated()).count();
        let leaderless = states().filter(|state| state.leader.is_none()).count();
        text.gauge(
            "cluster_members",
            "Brokers that are not fenced.",
            image.live_brokers().count(),
        )?;
        text.gauge("cluster_topics", "Topics of the cluster.", image.topic_count())?;
        text.gauge("cluster_partitions", "Partitions of the cluster.", image.partition_count())?;
        text.gauge("cluster_leaderless_partitions", "Partitions nobody leads.", leaderless)?;
        text.gauge(
            "cluster_under_replicated_partitions",
            "Partitions with replicas out of sync, but for those that are being added.",
            under,
        )?;
        let help = "1 for each broker whose disk is in trouble, as the cluster knows it.";
        text.family("cluster_disk_trouble", "gauge", help)?;
        for broker in image.brokers() {
            if let Some(trouble) = &broker.disk {
                let id = broker.id().to_string();
                let labels = [("broker", id.as_str()), ("trouble", trouble.kind.name())];
                text.sample("cluster_disk_trouble", &labels, 1)?;
            }
        }
        let raft = self.raft.metrics();
        let index = |index: Option<u64>| index.unwrap_or(0);
        text.gauge(
            "cluster_controller",
            "1 on the controller.",
            u8::from(raft.is_leader && !self.context.cluster.contact.is_lost()),
        )?;
        text.gauge("raft_term", "Raft's term.", raft.term)?;
        text.gauge("raft_commit_index", "The last committed entry.", index(raft.commit_index))?;
        text.gauge("raft_applied_index", "The last applied entry.", index(raft.applied_index))?;
        text.gauge(
            "raft_snapshot_index",
            "The last entry in a snapshot.",
            index(raft.snapshot_index),
        )?;
        text.counter("raft_proposals", "Entries that were committed.", raft.proposals)?;
        text.counter("raft_proposals_refused", "Entries that were not.", raft.proposals_refused)?;
        text.counter("raft_flushes", "Flushes of the metadata log.", raft.flushes)?;
        let seconds = raft.flush_time.as_secs_f64();
        text.counter("raft_flush_seconds", "Time spent in them.", seconds)
    }

    fn requests(&self, text: &mut Text) -> fmt::Result {
        let metrics = &self.context.metrics;
        text.family("kafka_requests", "counter", "Requests answered.")?;
        for (api, version, count) in metrics.requests() {
            let labels = [("api", api.name()), ("version", &version.to_string())];
            text.sample("kafka_requests_total", &labels, count)?;
        }
        let help = "From a request's last byte to its answer; waits for news are left out.";
        text.family("kafka_request_latency_seconds", "histogram", help)?;
        for (api, times) in metrics.latencies() {
            text.histogram("kafka_request_latency_seconds", &[("api", api.name())], times)?;
        }
        Ok(())
    }

    fn connections(&self, text: &mut Text) -> fmt::Result {
        let totals = self.meter.totals();
        text.gauge("kafka_connections", "Connections open now.", totals.open)?;
        text.counter("kafka_connection_opened", "Connections accepted.", totals.opened)?;
        text.family("kafka_connection_closed", "counter", "Connections ended.")?;
        for reason in CloseReason::ALL {
            let labels = [("reason", reason.name())];
            text.sample("kafka_connection_closed_total", &labels, totals.closed_for(reason))?;
        }
        text.counter("kafka_connection_refused", "Connections over a limit.", totals.refused)?;
        text.family("kafka_request_bytes", "counter", "Bytes on Kafka connections.")?;
        text.sample("kafka_request_bytes_total", &[("direction", "in")], totals.bytes_in)?;
        text.sample("kafka_request_bytes_total", &[("direction", "out")], totals.bytes_out)?;
        text.counter("kafka_sendfile_bytes", "Bytes sent by sendfile.", totals.bytes_sent_by_file)?;
        text.counter("kafka_cold_reads", "Ranges a worker had to read.", totals.cold_reads)?;
        text.gauge("kafka_memory_bytes", "Memory of requests and answers.", totals.memory_bytes)?;
        text.counter("kafka_memory_pauses", "Pauses for want of memory.", totals.memory_pauses)?;
        let sessions: usize = (0..self.context.fetch_shards.len())
            .map(|shard| self.context.fetch_sessions(shard).len())
            .sum();
        text.gauge("kafka_fetch_sessions", "Incremental fetch sessions.", sessions)
    }

    fn topics(&self, text: &mut Text) -> fmt::Result {
        let published = self.context.published.load();
        let mut sums: BTreeMap<&str, TopicSums> = BTreeMap::new();
        for partition in published.partitions.values() {
            sums.entry(partition.name().topic.as_str()).or_default().add(partition);
        }
        if sums.len() > TOPICS_MAX {
            return Ok(());
        }
        let read: [Column; 3] = [
            ("topic_bytes_in", "Bytes appended.", |sums| sums.bytes_in.into()),
            ("topic_records_in", "Records appended.", |sums| sums.records_in.into()),
            ("topic_bytes_out", "Bytes handed out.", |sums| sums.bytes_out.into()),
        ];
        for (name, help, value) in read {
            text.family(name, "counter", help)?;
            for (topic, sums) in &sums {
                text.sample(&format!("{name}_total"), &[("topic", topic)], value(sums))?;
            }
        }
        let read: [Column; 4] = [
            ("topic_size_bytes", "Bytes on disk.", |sums| sums.size_bytes.into()),
            ("topic_partitions", "Partitions here.", |sums| sums.partitions.into()),
            ("topic_log_start_offset_sum", "Sum of first offsets.", |sums| sums.log_start.into()),
            ("topic_log_end_offset_sum", "Sum of end offsets.", |sums| sums.log_end.into()),
        ];
        for (name, help, value) in read {
            text.family(name, "gauge", help)?;
            for (topic, sums) in &sums {
                text.sample(name, &[("topic", topic)], value(sums))?;
            }
        }
        let name = "topic_retention_limit_bytes";
        text.family(name, "gauge", "What a limit leaves to the partitions that it cuts.")?;
        for (topic, sums) in &sums {
            if let Some((bytes, source)) = sums.limit {
                let labels = [("topic", *topic), ("setting", &source.to_string())];
                text.sample(name, &labels, bytes)?;
            }
        }
        Ok(())
    }

    fn storage(&self, text: &mut Text) -> fmt::Result {
        let context = &self.context;
        if let Some(space) = context.guard.space() {
            text.gauge("storage_disk_total_bytes", "Size of the disk.", space.total)?;
            text.gauge("storage_disk_free_bytes", "Room on the disk.", space.free)?;
            let used = space.total.saturating_sub(space.free) as f64 / space.total.max(1) as f64;
            text.gauge("storage_used_ratio", "Share of the disk in use.", used)?;
        }
        let refuses = u8::from(context.guard.refuses_produce());
        text.gauge("storage_guard_state", "1 while a full disk refuses producers.", refuses)?;
        let trouble = context.cluster.health.trouble().map_or("none", |it| it.kind.name());
        text.family("storage_disk_trouble", "gauge", "1 for what is wrong with this disk.")?;
        text.sample("storage_disk_trouble", &[("trouble", trouble)], 1)?;
        text.family("storage_fsync_latency_seconds", "histogram", "Flush rounds.")?;
        text.histogram("storage_fsync_latency_seconds", &[], &context.metrics.flushes)?;
        let published = context.published.load();
        let segments: usize = published
            .partitions
            .values()
            .filter_map(|each| each.standing())
            .map(|at| at.segments)
            .sum();
        text.gauge("storage_segments", "Segments of open logs.", segments)?;
        let failed = published.partitions.values().filter(|each| each.fault().is_some()).count();
        text.gauge("storage_failed_logs", "Logs closed to writes by a fault.", failed)?;
        let damaged = published.partitions.values().filter(|it| it.damage().is_some()).count();
        let help = "Copies found damaged and not yet fetched anew.";
        text.gauge("storage_damaged_logs", help, damaged)?;
        self.compaction(text)?;
        let deleted = context.metrics.retention_bytes.load(Ordering::Relaxed);
        text.counter("storage_retention_deleted_bytes", "Bytes retention dropped.", deleted)
    }
}

impl Page {
    fn compaction(&self, text: &mut Text) -> fmt::Result {
        let stats = &self.context.cleaner.stats;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        text.counter("storage_compaction_runs", "Passes over a log.", read(&stats.runs))?;
        let reclaimed = read(&stats.reclaimed_bytes);
        text.counter("storage_compaction_reclaimed_bytes", "Bytes compaction won.", reclaimed)?;
        let dropped = read(&stats.dropped_records);
        text.counter("storage_compaction_dropped_records", "Records left out.", dropped)?;
        let bytes = read(&stats.io_bytes);
        text.counter("storage_compaction_io_bytes", "Bytes read and written.", bytes)?;
        let help = "The largest dirty share of a compacted log at the last look.";
        text.gauge("storage_compaction_max_dirty_ratio", help, stats.dirty_ratio())?;
        let now = self.context.clock.now().since_start();
        if let Some(since) = stats.since_last_run(now) {
            let help = "Time since the last pass ended.";
            text.gauge("storage_compaction_last_run_seconds", help, since.as_secs_f64())?;
        }
        let count = stats.quarantined.load(Ordering::Relaxed);
        text.gauge("storage_compaction_quarantined_logs", "Logs that cannot be cleaned.", count)
    }
}

impl TopicSums {
    fn add(&mut self, partition: &Partition) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let traffic = partition.traffic();
        self.bytes_in += read(&traffic.bytes_in);
        self.records_in += read(&traffic.records_in);
        self.bytes_out += read(&traffic.bytes_out);
        self.partitions += 1;
        if let Some(share) = partition.share()
            && let Some(bytes) = share.bytes_max
        {
            let sum = self.limit.map_or(0, |(sum, _)| sum);
            self.limit = Some((sum.saturating_add(bytes), share.source));
        }
        if let Some(standing) = partition.standing() {
            self.size_bytes += standing.size_bytes;
            self.log_start += standing.log_start.get();
            self.log_end += standing.log_end.get();
        }
    }
}
