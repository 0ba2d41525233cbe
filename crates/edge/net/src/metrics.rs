//! What the edge counts. One set of counters per reactor, so that counting never makes two cores
//! fight over a cache line; readers sum them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed it.
    Disconnected,
    /// The socket failed.
    Broken,
    /// A frame's size prefix was out of bounds.
    FrameSize,
    /// A frame did not arrive whole in time.
    FrameTimeout,
    /// Memory ran out, and this was the oldest half frame.
    Memory,
    /// Nothing was asked for too long.
    Idle,
    /// The peer did not read its replies.
    WriteStalled,
    /// The service asked for it.
    Service,
    /// Code of ours panicked while serving it.
    Panicked,
    /// A file was shorter than a reply had promised, or could not be read.
    File,
    /// The server stops.
    Stopped,
}

impl CloseReason {
    /// All of them, in the order of [`Counters::closed`].
    pub const ALL: [Self; 11] = [
        Self::Disconnected,
        Self::Broken,
        Self::FrameSize,
        Self::FrameTimeout,
        Self::Memory,
        Self::Idle,
        Self::WriteStalled,
        Self::Service,
        Self::Panicked,
        Self::File,
        Self::Stopped,
    ];

    /// The name metrics and logs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Broken => "broken",
            Self::FrameSize => "frame_size",
            Self::FrameTimeout => "frame_timeout",
            Self::Memory => "memory",
            Self::Idle => "idle",
            Self::WriteStalled => "write_stalled",
            Self::Service => "service",
            Self::Panicked => "panicked",
            Self::File => "file",
            Self::Stopped => "stopped",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// Counters of one reactor. They only rise, but for [`Counters::open`].
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections accepted and served.
    pub opened: AtomicU64,
    /// Connections ended, by [`CloseReason`].
    pub closed: [AtomicU64; CloseReason::ALL.len()],
    /// Connections turned away: a limit on connections was reached.
    pub refused: AtomicU64,
    /// Times accepting paused because the process had no descriptor left.
    pub accept_pauses: AtomicU64,
    /// Whole frames handed to a service.
    pub frames: AtomicU64,
    /// Bytes read from connections.
    pub bytes_in: AtomicU64,
    /// Bytes written to connections, files included.
    pub bytes_out: AtomicU64,
    /// Bytes of those that went by `sendfile`.
    pub bytes_sent_by_file: AtomicU64,
    /// Replies after which the connection was muted.
    pub throttled: AtomicU64,
    /// Times a connection stopped reading because memory ran out.
    pub memory_pauses: AtomicU64,
    /// Cold file ranges that a worker had to read.
    pub cold_reads: AtomicU64,
    /// Ticket batches that woke this reactor from its sleep.
    pub wakeups: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn count_close(&self, reason: CloseReason) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(counter) = self.closed.get(reason.index()) {
            add(counter, 1);
        }
    }
}

/// A sum of counters at one moment, by the names of [`Counters`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Totals {
    pub open: u64,
    pub opened: u64,
    pub closed: [u64; CloseReason::ALL.len()],
    pub refused: u64,
    pub accept_pauses: u64,
    pub frames: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub bytes_sent_by_file: u64,
    pub throttled: u64,
    pub memory_pauses: u64,
    pub cold_reads: u64,
    pub wakeups: u64,
    /// Bytes of the memory budget in use.
    pub memory_bytes: u64,
    /// The memory budget.
    pub memory_bytes_max: u64,
}

impl Totals {
    /// How many connections ended for `reason`.
    #[must_use]
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed.get(reason.index()).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, counters: &Counters) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.open += get(&counters.open);
        self.opened += get(&counters.opened);
        for (sum, counter) in self.closed.iter_mut().zip(&counters.closed) {
            *sum += get(counter);
        }
        self.refused += get(&counters.refused);
        self.accept_pauses += get(&counters.accept_pauses);
        self.frames += get(&counters.frames);
        self.bytes_in += get(&counters.bytes_in);
        self.bytes_out += get(&counters.bytes_out);
        self.bytes_sent_by_file += get(&counters.bytes_sent_by_file);
        self.throttled += get(&counters.throttled);
        self.memory_pauses += get(&counters.memory_pauses);
        self.cold_reads += get(&counters.cold_reads);
        self.wakeups += get(&counters.wakeups);
    }
}
