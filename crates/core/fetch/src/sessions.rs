//! All sessions of a broker (or of one shard of it): opening, continuing, closing, giving way.

use crate::session::{Heard, Key, Params, Session};
use jocko_types::{ErrorCode, Now, Offset};
use std::collections::BTreeMap;
use std::time::Duration;

/// A request with this epoch opens a session.
const EPOCH_OPEN: i32 = 0;
/// A request with this epoch wants none, and closes the one it names.
const EPOCH_NONE: i32 = -1;
/// "No session" in requests and answers.
const ID_NONE: i32 = 0;

/// How many sessions there may be, and when one gives way.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most sessions (`max.incremental.fetch.session.cache.slots`).
    pub sessions_max: usize,
    /// How long a session is safe from newcomers after its last use.
    pub idle_min: Duration,
}

impl Default for Limits {
    /// Kafka's: 1,000 sessions, two minutes.
    fn default() -> Self {
        Self { sessions_max: 1_000, idle_min: Duration::from_secs(120) }
    }
}

/// What a Fetch request says about its session.
#[derive(Debug, Clone)]
pub struct Request {
    /// The session it names, or 0.
    pub session_id: i32,
    /// Its place in that session: 0 opens one, -1 wants none.
    pub session_epoch: i32,
    /// Whether it names topics by id.
    pub uses_topic_ids: bool,
    /// What it names.
    pub partitions: Vec<(Key, Params)>,
    /// What the session shall drop.
    pub forgotten: Vec<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sessionless,
    Full { uses_topic_ids: bool },
    Incremental { session_id: i32, epoch: i32 },
}

/// A request under way.
#[derive(Debug)]
pub struct Begun {
    /// What to serve, in this order.
    pub partitions: Vec<(Key, Params)>,
    kind: Kind,
}

/// What was found for one partition.
#[derive(Debug, Clone, Copy)]
pub struct Finding {
    /// As it will be answered.
    pub high_watermark: Offset,
    /// As it will be answered.
    pub log_start_offset: Offset,
    /// Whether records go with it.
    pub has_records: bool,
    /// Whether an error, a diverging epoch or a better replica goes with it.
    pub is_special: bool,
}

/// What the answer must be.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    /// The session id to answer with; 0 for none.
    pub session_id: i32,
    /// For each partition of [`Begun::partitions`]: whether the answer holds it.
    pub included: Vec<bool>,
}

/// The sessions.
#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    sessions: BTreeMap<i32, Session>,
}

impl Sessions {
    /// No sessions yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, sessions: BTreeMap::new() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many partitions all sessions hold together.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.sessions.values().map(Session::len).sum()
    }

    /// Says what a request wants served.
    ///
    /// # Errors
    /// The error for the whole answer: the session is unknown, mixes topic names and ids, or the
    /// epoch is not the next one.
    pub fn begin(&mut self, now: Now, request: Request) -> Result<Begun, ErrorCode> {
        if matches!(request.session_epoch, EPOCH_OPEN | EPOCH_NONE) {
            // A full request closes the session it names.
            self.sessions.remove(&request.session_id);
            let kind = if request.session_epoch == EPOCH_NONE {
                Kind::Sessionless
            } else {
                Kind::Full { uses_topic_ids: request.uses_topic_ids }
            };
            return Ok(Begun { partitions: request.partitions, kind });
        }
        let session_id = request.session_id;
        let session =
            self.sessions.get_mut(&session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.uses_topic_ids != request.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        for (key, params) in &request.partitions {
            session.want(key.clone(), *params, Heard::NOTHING);
        }
        for key in &request.forgotten {
            session.forget(key);
        }
        if session.len() == 0 {
            self.sessions.remove(&session_id);
            return Ok(Begun { partitions: request.partitions, kind: Kind::Sessionless });
        }
        session.last_used = now;
        session.epoch = next_epoch(session.epoch);
        let kind = Kind::Incremental { session_id, epoch: session.epoch };
        Ok(Begun { partitions: session.wanted(), kind })
    }

    /// Says what the answer holds. `new_id` is asked for fresh random session ids (above 0) when
    /// a session is opened.
    ///
    /// # Errors
    /// The error for the whole answer: another request took the session's turn meanwhile.
    pub fn finish(
        &mut self,
        now: Now,
        begun: Begun,
        findings: &[Finding],
        new_id: impl FnMut() -> i32,
    ) -> Result<Finished, ErrorCode> {
        assert_eq!(begun.partitions.len(), findings.len(), "one finding for each partition");
        match begun.kind {
            Kind::Sessionless => {
                Ok(Finished { session_id: ID_NONE, included: vec![true; findings.len()] })
            }
            Kind::Full { uses_topic_ids } => {
                let included = vec![true; findings.len()];
                let session_id = self.open(now, begun, findings, uses_topic_ids, new_id);
                Ok(Finished { session_id, included })
            }
            Kind::Incremental { session_id, epoch } => {
                let session = self
                    .sessions
                    .get_mut(&session_id)
                    .filter(|session| session.epoch == epoch)
                    .ok_or(ErrorCode::InvalidFetchSessionEpoch)?;
                let included = begun
                    .partitions
                    .iter()
                    .zip(findings)
                    .map(|((key, _), finding)| {
                        let served = finding.has_records;
                        session.hear(key, finding.heard(), served, finding.is_special)
                    })
                    .collect();
                Ok(Finished { session_id, included })
            }
        }
    }

    fn open(
        &mut self,
        now: Now,
        begun: Begun,
        findings: &[Finding],
        uses_topic_ids: bool,
        mut new_id: impl FnMut() -> i32,
    ) -> i32 {
        if begun.partitions.is_empty() || !self.make_room(now) {
            return ID_NONE;
        }
        let mut session_id = new_id();
        while session_id <= ID_NONE || self.sessions.contains_key(&session_id) {
            session_id = new_id();
        }
        let mut session = Session::new(uses_topic_ids, next_epoch(EPOCH_OPEN), now);
        for ((key, params), finding) in begun.partitions.into_iter().zip(findings) {
            let heard = if finding.is_special { Heard::NOTHING } else { finding.heard() };
            session.want(key, params, heard);
        }
        self.sessions.insert(session_id, session);
        session_id
    }

    /// Whether one more fits, after the stalest gave way if it may.
    fn make_room(&mut self, now: Now) -> bool {
        if self.sessions.len() < self.limits.sessions_max {
            return true;
        }
        let stalest = self
            .sessions
            .iter()
            .map(|(id, session)| (session.last_used, *id))
            .min()
            .filter(|(last_used, _)| now.since(*last_used) >= self.limits.idle_min);
        stalest.and_then(|(_, id)| self.sessions.remove(&id)).is_some()
    }
}

impl Finding {
    fn heard(&self) -> Heard {
        Heard { high_watermark: self.high_watermark, log_start_offset: self.log_start_offset }
    }
}

/// Epochs count up from 1 and wrap there: 0 and -1 have meanings of their own.
pub(crate) fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch.saturating_add(1).max(1) }
}
