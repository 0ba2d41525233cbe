//! What is under way on a connection in memory: a pipe each way.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::quality::{Fate, Weather};

/// Bytes in flight per direction of a connection, as socket buffers would hold.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// The addresses of a connection: who dialled, who accepted.
pub(super) type Ends = [SocketAddr; 2];

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: Ends,
    /// From the dialler, from the acceptor.
    pipes: [Pipe; 2],
    /// Whose process has died.
    dead: [bool; 2],
    /// Whose stream has been dropped.
    dropped: [bool; 2],
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    segments: VecDeque<Segment>,
    /// Bytes written and not acknowledged: they fill the sender's buffer.
    held: usize,
    /// Bytes read whose acknowledgement does not arrive.
    owed: usize,
    /// When the way is free for the next segment.
    free_at: Option<Instant>,
    end: Option<End>,
    /// Nobody reads here any more.
    reader_gone: bool,
    reader: Option<Waker>,
    watcher: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    arrival: Arrival,
}

/// No more bytes come behind those before.
#[derive(Debug, Clone, Copy)]
struct End {
    arrival: Arrival,
    /// The connection is broken.
    is_reset: bool,
}

/// Where a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// With the reader.
    Here,
    /// On its way.
    At(Instant),
    /// Held up by a cut.
    Stalled,
}

impl Arrival {
    fn has_come(self) -> bool {
        match self {
            Self::Here => true,
            Self::At(at) => at <= Instant::now(),
            Self::Stalled => false,
        }
    }
}

/// What a reader finds.
pub(super) enum Found {
    Bytes(usize),
    End,
    /// Nothing yet; at this time there may be more, unless something wakes the reader before.
    NothingUntil(Option<Instant>),
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Pipe {
    fn wake_readers(&mut self) {
        wake(&mut self.reader);
        wake(&mut self.watcher);
    }

    /// When something sent now arrives that is `delay` under way.
    fn arrival(&mut self, is_cut: bool, fate: &Fate) -> Arrival {
        if is_cut {
            return Arrival::Stalled;
        }
        let Fate::Arrives { delay, busy } = fate else { return Arrival::Here };
        // The clock is asked only if something takes time: most tests have no delays.
        if delay.is_zero() && busy.is_zero() && self.free_at.is_none() {
            return Arrival::Here;
        }
        let now = Instant::now();
        let at = (now + *delay).max(self.free_at.unwrap_or(now)) + *busy;
        self.free_at = Some(at);
        Arrival::At(at)
    }

    fn unread(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes.len()).sum()
    }

    /// What comes first of what has not been read.
    fn first_arrival(&self) -> Option<Arrival> {
        let first = self.segments.front().map(|segment| segment.arrival);
        first.or_else(|| self.end.map(|end| end.arrival))
    }

    fn is_reset(&self) -> bool {
        self.end.is_some_and(|end| end.is_reset && end.arrival.has_come())
    }

    fn finish(&mut self, arrival: Arrival, is_reset: bool) {
        self.end = Some(End { arrival, is_reset });
        self.wake_readers();
    }

    fn read(&mut self, buffer: &mut tokio::io::ReadBuf<'_>, is_ack_cut: bool) -> Found {
        let mut read = 0;
        while let Some(first) = self.segments.front_mut() {
            if buffer.remaining() == 0 || !first.arrival.has_come() {
                break;
            }
            let take = first.bytes.len().min(buffer.remaining());
            buffer.put_slice(&first.bytes.split_to(take));
            read += take;
            if !first.bytes.has_remaining() {
                self.segments.pop_front();
            }
        }
        if read > 0 {
            self.acknowledge(read, is_ack_cut);
            return Found::Bytes(read);
        }
        match self.first_arrival() {
            Some(arrival) if arrival.has_come() => Found::End,
            Some(Arrival::At(at)) => Found::NothingUntil(Some(at)),
            _ => Found::NothingUntil(None),
        }
    }

    fn acknowledge(&mut self, bytes: usize, is_cut: bool) {
        if is_cut {
            self.owed += bytes;
        } else {
            self.held = self.held.saturating_sub(bytes);
            wake(&mut self.writer);
        }
    }
}

impl Connection {
    pub(super) fn new(ends: Ends) -> Self {
        Self { ends, pipes: Default::default(), dead: [false; 2], dropped: [false; 2] }
    }

    pub(super) fn joins(&self, one: IpAddr, other: IpAddr) -> bool {
        let [dialler, acceptor] = self.ends.map(|end| end.ip());
        (dialler, acceptor) == (one, other) || (dialler, acceptor) == (other, one)
    }

    fn broken(&self, side: usize) -> io::Result<()> {
        if self.dead[side] || self.pipes[1 - side].is_reset() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    /// Reads at one side; `is_ack_cut` says whether the sender hears of it.
    pub(super) fn read(
        &mut self,
        side: usize,
        buffer: &mut tokio::io::ReadBuf<'_>,
        is_ack_cut: bool,
        waker: &Waker,
    ) -> io::Result<Found> {
        if self.dead[side] {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let pipe = &mut self.pipes[1 - side];
        let found = pipe.read(buffer, is_ack_cut);
        match found {
            Found::NothingUntil(_) => pipe.reader = Some(waker.clone()),
            Found::End => self.broken(side)?,
            Found::Bytes(_) => {}
        }
        Ok(found)
    }

    /// Writes at one side; how many bytes, or `None` if there is no room yet.
    pub(super) fn write(
        &mut self,
        side: usize,
        bytes: &[u8],
        [is_cut, is_back_cut]: [bool; 2],
        weather: &mut Weather,
        waker: &Waker,
    ) -> io::Result<Option<usize>> {
        self.broken(side)?;
        let [from, to] = [self.ends[side].ip(), self.ends[1 - side].ip()];
        let pipe = &mut self.pipes[side];
        if pipe.end.is_some() || (pipe.reader_gone && !is_back_cut) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = BUFFER_BYTES.saturating_sub(pipe.held).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            pipe.writer = Some(waker.clone());
            return Ok(None);
        }
        let fate = weather.draw(from, to, room);
        if matches!(fate, Fate::Breaks) {
            self.reset(weather);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let arrival = pipe.arrival(is_cut, &fate);
        pipe.held += room;
        let bytes = Bytes::copy_from_slice(bytes.get(..room).unwrap_or_default());
        if !pipe.reader_gone {
            pipe.segments.push_back(Segment { bytes, arrival });
            pipe.wake_readers();
        }
        Ok(Some(room))
    }

    /// One side sends no more.
    pub(super) fn shut(&mut self, side: usize, is_cut: bool, weather: &mut Weather) {
        let [from, to] = [self.ends[side].ip(), self.ends[1 - side].ip()];
        let pipe = &mut self.pipes[side];
        if pipe.end.is_none() {
            let fate = Fate::Arrives { delay: weather.draw_delay(from, to), busy: super::AT_ONCE };
            let arrival = pipe.arrival(is_cut, &fate);
            pipe.finish(arrival, false);
        }
    }

    /// How many bytes wait, if no more come behind them.
    pub(super) fn hang_up(&mut self, side: usize, waker: &Waker) -> io::Result<Found> {
        self.broken(side)?;
        let pipe = &mut self.pipes[1 - side];
        match pipe.end {
            Some(end) if end.arrival.has_come() => return Ok(Found::Bytes(pipe.unread())),
            Some(End { arrival: Arrival::At(at), .. }) => {
                pipe.watcher = Some(waker.clone());
                return Ok(Found::NothingUntil(Some(at)));
            }
            _ => {}
        }
        pipe.watcher = Some(waker.clone());
        Ok(Found::NothingUntil(None))
    }

    /// One side's stream is dropped; whether the other was already.
    pub(super) fn drop_side(&mut self, side: usize, is_cut: bool, weather: &mut Weather) -> bool {
        self.shut(side, is_cut, weather);
        self.abandon_incoming(side);
        self.dropped[side] = true;
        self.dropped[1 - side]
    }

    /// Nobody reads at this side any more.
    fn abandon_incoming(&mut self, side: usize) {
        let incoming = &mut self.pipes[1 - side];
        incoming.segments.clear();
        incoming.reader_gone = true;
        wake(&mut incoming.writer);
    }

    /// Breaks the connection: both sides find out, cut off or not.
    pub(super) fn reset(&mut self, weather: &mut Weather) {
        let [dialler, acceptor] = self.ends.map(|end| end.ip());
        for (pipe, from, to) in [(0, dialler, acceptor), (1, acceptor, dialler)] {
            let fate = Fate::Arrives { delay: weather.draw_delay(from, to), busy: super::AT_ONCE };
            let pipe = &mut self.pipes[pipe];
            pipe.segments.retain(|segment| segment.arrival.has_come());
            let arrival = pipe.arrival(false, &fate);
            pipe.finish(arrival, true);
            wake(&mut pipe.writer);
        }
    }

    /// The process at `node` dies: the other side sees a reset.
    pub(super) fn kill(&mut self, node: IpAddr, cuts: [bool; 2], weather: &mut Weather) {
        for side in [0, 1] {
            if self.ends[side].ip() != node || self.dead[side] {
                continue;
            }
            self.dead[side] = true;
            let delay = weather.draw_delay(node, self.ends[1 - side].ip());
            let outgoing = &mut self.pipes[side];
            // What had not left the machine dies with it.
            outgoing.segments.retain(|segment| segment.arrival != Arrival::Stalled);
            let fate = Fate::Arrives { delay, busy: super::AT_ONCE };
            let arrival = outgoing.arrival(cuts[side], &fate);
            outgoing.finish(arrival, true);
            wake(&mut outgoing.writer);
            self.pipes[1 - side].wake_readers();
            self.abandon_incoming(side);
        }
    }

    /// The way from `side` was cut, or healed.
    pub(super) fn recut(&mut self, side: usize, was: bool, is: bool, weather: &mut Weather) {
        if was == is {
            return;
        }
        let [from, to] = [self.ends[side].ip(), self.ends[1 - side].ip()];
        let pipe = &mut self.pipes[side];
        pipe.free_at = None;
        let again = if is {
            Arrival::Stalled
        } else {
            // Everything held up sets out again.
            let delay = weather.draw_delay(from, to);
            pipe.arrival(false, &Fate::Arrives { delay, busy: super::AT_ONCE })
        };
        let segments = pipe.segments.iter_mut().map(|segment| &mut segment.arrival);
        for arrival in segments.chain(pipe.end.as_mut().map(|end| &mut end.arrival)) {
            *arrival = if arrival.has_come() { Arrival::Here } else { again };
        }
        if is {
            return;
        }
        pipe.wake_readers();
        wake(&mut pipe.writer);
        // Acknowledgements of the other direction pass again.
        let back = &mut self.pipes[1 - side];
        back.held = back.held.saturating_sub(std::mem::take(&mut back.owed));
        wake(&mut back.writer);
    }
}
