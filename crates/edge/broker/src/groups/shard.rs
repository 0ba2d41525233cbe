//! One partition of `__consumer_offsets` with its coordinator.
//!
//! The order is the machine's contract: decide, append what was decided as one batch, accept, let
//! the lock go, and answer once what was appended is committed. Who asks only to read is answered
//! behind the last append, so that nobody is told what a crash could take back.

use crate::context::Context;
use crate::groups::commits::{self, Commits};
use crate::groups::forgets::Forgets;
use crate::groups::replay::{self, ReplayError};
use crate::groups::view;
use jocko_group::{
    Answer, Command, Coordinator, DecideContext, Decision, GroupRecord, append_refused,
};
use jocko_net::Reactor;
use jocko_partition::{Acks, Appended, Effects, Partition, Progress};
use jocko_records::{AppendRules, BatchBuilder, Encoding, Origin};
use jocko_types::{ErrorCode, LeaderEpoch, Now, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

mod waiting;

use waiting::Behind;
pub(crate) use waiting::{Reading, Waiting};

/// How long after the first failure to load a coordinator it is tried again; later ones wait
/// longer, up to the second.
const RELOAD_AFTER: Duration = Duration::from_secs(1);
const RELOAD_AFTER_MAX: Duration = Duration::from_secs(60);

/// So often in a row what a log holds may not be known to be on disk before that is an error: after a
/// start of all brokers it takes them a moment to tell each other.
const WAITS_MAX: u32 = 4;

/// How soon it is looked again whether what the last leader left is committed.
const SETTLED_AFTER: Duration = Duration::from_millis(20);

/// The ticket of what nobody waits for.
const NOBODY: u64 = u64::MAX;

/// A coordinator and its log.
pub(crate) struct Shard {
    index: i32,
    partition: Arc<Partition>,
    /// The leadership it was made for.
    epoch: LeaderEpoch,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// Requests that are parked here, by ticket.
    waiting: BTreeSet<u64>,
    /// Answers that were given while their request was parked.
    answers: BTreeMap<u64, Held>,
    /// The last append, until it is known to be committed.
    behind: Option<Appended>,
    commits: Commits,
    /// Topics whose offsets are still here.
    forgets: Forgets,
    /// How often in a row it could not be loaded.
    failures: u32,
    /// Whether that was logged: once is enough.
    has_told: bool,
    /// Whether the last command that nobody waits for was refused: that is logged once.
    puts_off: bool,
}

enum Phase {
    Loading,
    /// Its log may yet change: replicas have not agreed where the last leader's writes end.
    Unsettled {
        retry_at: Now,
    },
    /// It could not be loaded, and will be tried again.
    Failed {
        retry_at: Now,
    },
    Active(Box<Coordinator>),
    /// It led once.
    Gone(ErrorCode),
}

/// An answer, and the append it must wait for.
struct Held {
    answer: Answer,
    behind: Option<Appended>,
}

/// How a question was met.
pub(crate) enum Asked {
    /// With an answer.
    Now(Answer),
    /// With a wait.
    Later(Waiting),
}

impl Shard {
    /// A coordinator that knows nothing yet, for as long as `partition` is led in `epoch`.
    pub(crate) fn new(index: i32, partition: Arc<Partition>, epoch: LeaderEpoch) -> Self {
        let state = State {
            phase: Phase::Loading,
            waiting: BTreeSet::new(),
            answers: BTreeMap::new(),
            behind: None,
            commits: Commits::default(),
            forgets: Forgets::on_load(),
            failures: 0,
            has_told: false,
            puts_off: false,
        };
        Self { index, partition, epoch, state: Mutex::new(state) }
    }

    /// The partition's number.
    pub(crate) fn index(&self) -> i32 {
        self.index
    }

    /// The leader epoch it was made for: in a later one, another broker may have written.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Its log.
    pub(crate) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Whether it is to be loaded again now; if so, whoever asks must see to it.
    pub(crate) fn begin_again(&self, now: Now) -> bool {
        let mut state = self.lock();
        let is_due = state.phase.retry_at().is_some_and(|retry_at| retry_at <= now);
        if is_due {
            state.phase = Phase::Loading;
        }
        is_due
    }

    /// It cannot be loaded now.
    pub(crate) fn fail(&self, context: &Context, reason: &dyn fmt::Display) {
        self.put_off(context, reason, 0);
    }

    /// It cannot be loaded now, which is an error after so many failures before.
    fn put_off(&self, context: &Context, reason: &dyn fmt::Display, patience: u32) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Loading) {
            return;
        }
        if state.failures < patience {
            tracing::debug!(partition = self.index, %reason, "a group coordinator waits for its log");
        } else if !std::mem::replace(&mut state.has_told, true) {
            tracing::error!(
                partition = self.index, error = %reason,
                "a group coordinator cannot be loaded; its groups wait until it can"
            );
        }
        let retry_at = context.clock.now().plus(pause_after(state.failures));
        state.failures = state.failures.saturating_add(1);
        state.phase = Phase::Failed { retry_at };
        drop(state);
        context.groups.note_deadline(Some(retry_at));
    }

    /// Reads the log from its start. May take long: for workers, unless there is no log.
    pub(crate) fn load(&self, context: &Arc<Context>) {
        if !self.is_settled() {
            return self.wait_until_settled(context);
        }
        let started = context.clock.now();
        let is_first = self.lock().failures == 0;
        let loaded = replay::replay(&self.partition, is_first);
        let took = context.clock.now().since(started);
        let (mut coordinator, records) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return self.put_off(context, &error, patience_with(&error)),
        };
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Loading) {
            return;
        }
        self.with_context(context, |cx| coordinator.loaded(cx));
        if records > 0 || state.failures > 0 {
            tracing::info!(
                partition = self.index,
                records,
                took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "group coordinator loaded"
            );
        }
        let deadline = coordinator.next_deadline();
        state.phase = Phase::Active(Box::new(coordinator));
        (state.failures, state.has_told) = (0, false);
        drop(state);
        context.groups.note_deadline(deadline);
        context.groups.look_around();
    }

    /// Whether all that is in the log is committed. After an election it takes the followers a
    /// moment to say so; until then a part of it may yet be cut off.
    fn is_settled(&self) -> bool {
        let standing = self.partition.standing();
        standing.is_none_or(|standing| standing.high_watermark >= standing.log_end)
    }

    /// Looks again soon. Nothing has failed.
    fn wait_until_settled(&self, context: &Context) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Loading) {
            return;
        }
        let retry_at = context.clock.now().plus(SETTLED_AFTER);
        state.phase = Phase::Unsettled { retry_at };
        drop(state);
        context.groups.note_deadline(Some(retry_at));
    }

    /// Leads no more: everybody who waits here is told to look elsewhere.
    pub(crate) fn unload(&self, context: &Context) {
        let mut state = self.lock();
        let phase = std::mem::replace(&mut state.phase, Phase::Gone(ErrorCode::NotCoordinator));
        if let Phase::Active(mut coordinator) = phase {
            for (ticket, answer) in coordinator.unload() {
                state.hold(ticket, answer, None);
            }
        }
        let waiting: Vec<u64> = state.waiting.iter().copied().collect();
        drop(state);
        context.deliver(&waiting);
    }

    /// Has a command decided.
    ///
    /// # Errors
    /// The answer for whoever asks: this coordinator cannot say now.
    pub(crate) fn ask(
        self: &Arc<Self>,
        context: &Arc<Context>,
        reactor: &Reactor,
        command: Command,
    ) -> Result<Asked, ErrorCode> {
        let waiter = reactor.waiter();
        let ticket = waiter.ticket().to_bits();
        let (own, effects, deadline) = {
            let mut state = self.lock();
            // Registered first: an answer that must wait for the log is kept for who waits.
            state.waiting.insert(ticket);
            let outcome = self.decide(&mut state, context, ticket, &command);
            if !matches!(outcome, Ok((None, ..))) {
                state.waiting.remove(&ticket);
            }
            outcome?
        };
        context.carry_out(&self.partition, effects);
        context.groups.note_deadline(deadline);
        Ok(match own {
            Some(answer) => Asked::Now(answer),
            None => {
                let contact = Arc::clone(&context.cluster.contact);
                Asked::Later(Waiting { shard: Arc::clone(self), waiter, contact })
            }
        })
    }

    /// These topics are gone. Their offsets go when [`Shard::forget`] gets to it.
    pub(crate) fn topics_are_gone(&self, topics: &[(String, TopicId)]) {
        self.lock().forgets.add(topics);
    }

    /// Forgets the offsets of topics that are gone; whether none are left. Must not be called
    /// before the published state shows all that the log of this partition may know of.
    pub(crate) fn forget(&self, context: &Arc<Context>) -> bool {
        loop {
            let Some(command) = self.lock().forgets.next() else { return true };
            if !self.tell(context, &command) {
                return false;
            }
            self.lock().forgets.done(&command);
        }
    }

    /// Has a command decided that nobody waits for; whether it was done, which it is only where the
    /// coordinator is loaded.
    pub(crate) fn tell(&self, context: &Arc<Context>, command: &Command) -> bool {
        let (outcome, put_off_before) = {
            let mut state = self.lock();
            if !matches!(state.phase, Phase::Active(_)) {
                return false;
            }
            let outcome = self.decide(&mut state, context, NOBODY, command);
            let before = std::mem::replace(&mut state.puts_off, outcome.is_err());
            (outcome, before)
        };
        match outcome {
            Ok((_, effects, deadline)) => {
                context.carry_out(&self.partition, effects);
                context.groups.note_deadline(deadline);
                true
            }
            Err(error) => {
                if !put_off_before {
                    tracing::warn!(partition = self.index, %error, "a group change was put off");
                }
                false
            }
        }
    }

    /// Reads from the coordinator.
    ///
    /// # Errors
    /// The answer for whoever asks: this coordinator cannot say now.
    pub(crate) fn read<T>(
        &self,
        context: &Arc<Context>,
        reactor: &Reactor,
        read: impl FnOnce(&Coordinator, &DecideContext<'_>) -> T,
    ) -> Result<Reading<T>, ErrorCode> {
        let mut state = self.lock();
        let coordinator = state.phase.coordinator()?;
        let found = self.with_context(context, |cx| read(coordinator, cx));
        let behind = self.still_behind(&mut state);
        drop(state);
        let wait = behind.map(|appended| {
            let waiter = reactor.waiter();
            let effects = self.partition.park(waiter.ticket().to_bits(), appended.end);
            context.carry_out(&self.partition, effects);
            let contact = Arc::clone(&context.cluster.contact);
            Behind { partition: Arc::clone(&self.partition), appended, waiter, contact }
        });
        Ok(Reading { found, wait })
    }

    /// Looks at the coordinator for numbers about it, and at how often each group has committed
    /// since this broker coordinates it; `None` unless it is active.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Coordinator, &Commits) -> T) -> Option<T> {
        let state = self.lock();
        match &state.phase {
            Phase::Active(coordinator) => Some(look(coordinator, &state.commits)),
            Phase::Loading | Phase::Unsettled { .. } | Phase::Failed { .. } | Phase::Gone(_) => {
                None
            }
        }
    }

    /// When time must be told of next.
    pub(crate) fn next_deadline(&self) -> Option<Now> {
        match &self.lock().phase {
            Phase::Active(coordinator) => coordinator.next_deadline(),
            waiting => waiting.retry_at(),
        }
    }

    /// Decide, append, accept, until the command is done. Yields the answer of `ticket` if it can
    /// go at once.
    fn decide(
        &self,
        state: &mut State,
        context: &Arc<Context>,
        ticket: u64,
        command: &Command,
    ) -> Result<(Option<Answer>, Effects, Option<Now>), ErrorCode> {
        let mut effects = Effects::default();
        let mut own = None;
        loop {
            let mut behind = self.still_behind(state);
            let coordinator = state.phase.coordinator()?;
            let decision = self.with_context(context, |cx| coordinator.decide(cx, ticket, command));
            let again = decision.again;
            let appended = match self.append(context, &decision, &mut effects) {
                Ok(appended) => appended,
                Err(error) => {
                    coordinator.pass_over(decision);
                    // Of batches before this one, and of a disk that had no room for it.
                    context.carry_out(&self.partition, effects);
                    return Err(error);
                }
            };
            if let Some(appended) = appended {
                behind = (!appended.is_committed).then_some(appended);
                state.commits.count(command);
            }
            let buried = commits::buried(&decision.records);
            let answers = coordinator.accept(decision);
            state.commits.bury(&buried, coordinator);
            let deadline = coordinator.next_deadline();
            state.behind = behind;
            for (to, answer) in answers {
                match behind {
                    None if to == ticket => own = Some(answer),
                    None => {
                        if state.hold(to, answer, None) {
                            effects.released.push(to);
                        }
                    }
                    Some(appended) if state.hold(to, answer, Some(appended)) => {
                        effects = effects.and(self.partition.park(to, appended.end));
                    }
                    Some(_) => {}
                }
            }
            if !again {
                return Ok((own, effects, deadline));
            }
        }
    }

    fn append(
        &self,
        context: &Context,
        decision: &Decision,
        effects: &mut Effects,
    ) -> Result<Option<Appended>, ErrorCode> {
        if decision.records.is_empty() {
            return Ok(None);
        }
        if context.cluster.contact.is_lost() {
            return Err(ErrorCode::NotCoordinator);
        }
        if context.guard.refuses_produce() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let now = context.clock.wall();
        let mut rules = AppendRules {
            origin: Origin::Coordinator,
            now,
            zstd_allowed: true,
            ..self.partition.governed().rules
        };
        if decision.records.iter().all(GroupRecord::is_tombstone) {
            // However little the log takes at a time, what is gone must not stay for ever. The
            // coordinator sees to it that there is not too much of it.
            rules.max_message_bytes = usize::MAX;
        }
        let bytes = batch(&decision.records, now).ok_or(ErrorCode::UnknownServerError)?;
        let batch = jocko_records::prepare(&bytes, &rules).map_err(|error| {
            tracing::error!(partition = self.index, %error, "group records cannot be written");
            ErrorCode::UnknownServerError
        })?;
        let (outcome, done) = self.partition.append_in(self.epoch, &batch, Acks::All, now);
        *effects = std::mem::take(effects).and(done);
        outcome.map(Some).map_err(|refused| append_refused(refused.code))
    }

    /// Runs `work` with what a decision may depend on.
    fn with_context<T>(&self, context: &Context, work: impl FnOnce(&DecideContext<'_>) -> T) -> T {
        let published = context.published.load();
        let topics = view::Topics::new(&published);
        let policy = context.groups.policies.now(context, &published);
        work(&DecideContext {
            now: context.clock.now(),
            wall: context.steady.wall(),
            seed: fastrand::u64(..),
            policy: &policy,
            topics: &topics,
            batch_bytes_max: self.partition.governed().rules.max_message_bytes,
        })
    }

    /// The last append if it is not committed yet.
    fn still_behind(&self, state: &mut State) -> Option<Appended> {
        let waits = |appended: &Appended| self.partition.progress(appended) == Progress::Waiting;
        state.behind = state.behind.filter(waits);
        state.behind
    }

    /// A panic under the lock may have left groups half changed: as with a partition, the process
    /// must not go on from there.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|_| {
            tracing::error!(partition = self.index, "a panic left groups in an unknown state");
            std::process::abort()
        })
    }
}

impl Phase {
    /// When loading is to be tried again, if it is.
    fn retry_at(&self) -> Option<Now> {
        match self {
            Self::Unsettled { retry_at } | Self::Failed { retry_at } => Some(*retry_at),
            Self::Loading | Self::Active(_) | Self::Gone(_) => None,
        }
    }

    /// The coordinator, if it can be asked.
    fn coordinator(&mut self) -> Result<&mut Coordinator, ErrorCode> {
        match self {
            Self::Loading | Self::Unsettled { .. } => Err(ErrorCode::CoordinatorLoadInProgress),
            // Clients look for their coordinator again, and come back.
            Self::Failed { .. } => Err(ErrorCode::CoordinatorNotAvailable),
            Self::Gone(error) => Err(*error),
            Self::Active(coordinator) => Ok(coordinator),
        }
    }
}

impl State {
    /// Keeps an answer for a parked request; whose client has gone needs none. Whether it is kept.
    fn hold(&mut self, ticket: u64, answer: Answer, behind: Option<Appended>) -> bool {
        let waits = self.waiting.contains(&ticket);
        if waits {
            self.answers.insert(ticket, Held { answer, behind });
        }
        waits
    }
}

/// How long to wait with the next attempt to load, when so many have failed before the last.
fn pause_after(failures: u32) -> Duration {
    RELOAD_AFTER.saturating_mul(1 << failures.min(6)).min(RELOAD_AFTER_MAX)
}

/// The records as one batch, all or nothing.
fn batch(records: &[GroupRecord], now: jocko_types::Timestamp) -> Option<Vec<u8>> {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    for record in records {
        let (key, value) = record.encode().ok()?;
        builder.push(now, Some(&key), value.as_deref(), &[]).ok()?;
    }
    builder.build().ok()
}

/// How many failures of that kind are nothing but a wait.
fn patience_with(error: &ReplayError) -> u32 {
    match error {
        ReplayError::Uncommitted(_) => WAITS_MAX,
        ReplayError::Refused(_) | ReplayError::Stuck(_) | ReplayError::Disk(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{RELOAD_AFTER_MAX, ReplayError, WAITS_MAX, patience_with, pause_after};
    use jocko_types::{ErrorCode, Offset};

    #[test]
    fn only_what_passes_by_itself_is_waited_for_without_an_error() {
        assert_eq!(patience_with(&ReplayError::Uncommitted(Offset::ZERO)), WAITS_MAX);
        assert_eq!(patience_with(&ReplayError::Stuck(Offset::ZERO)), 0);
        assert_eq!(patience_with(&ReplayError::Refused(ErrorCode::KafkaStorageError)), 0);
    }

    #[test]
    fn what_cannot_be_loaded_is_tried_again_ever_more_slowly() {
        let pauses: Vec<u64> = (0..8).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause_after(u32::MAX), RELOAD_AFTER_MAX);
    }
}
