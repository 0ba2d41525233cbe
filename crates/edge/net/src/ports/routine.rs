//! Work that goes on for as long as a broker: rounds, with rests between them.
//!
//! A flusher, a cleaner, a keeper of limits: each is a [`Routine`]. Production gives it a thread of
//! its own, simulation makes it a task; the rounds are the same code.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Work in rounds. A round may block.
pub trait Routine: Send + 'static {
    /// Does what there is to do, and says when to come again.
    fn round(&mut self) -> Rest;
}

/// What comes after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The next one at once.
    None,
    /// The next one when the bell rings, at the latest after this time.
    For(Duration),
    /// The next one when the bell rings.
    UntilRung,
    /// No more.
    Over,
}

/// How a routine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Its thread's name, where it has one: at most 15 bytes are shown.
    pub name: &'static str,
    /// How much less of the processor it claims than those who serve; 0 is as much.
    pub niceness: i32,
}

/// Wakes a routine from its rest. Rung during a round, it is heard after it. Clones ring the same.
#[derive(Clone, Default)]
pub struct Bell {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    thread: Condvar,
    task: Notify,
}

#[derive(Default)]
struct State {
    is_rung: bool,
    is_resting: bool,
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

impl Bell {
    /// Calls for a round. Cheap where the routine is at work or was called already.
    pub fn ring(&self) {
        let mut state = self.lock();
        state.is_rung = true;
        let wake = std::mem::take(&mut state.is_resting);
        drop(state);
        if wake {
            self.shared.thread.notify_one();
            self.shared.task.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Two flags that are set one at a time are whole whatever panicked.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was rung since it was last asked; if not, whoever asks is about to rest.
    fn is_rung(&self) -> bool {
        let mut state = self.lock();
        let is_rung = std::mem::take(&mut state.is_rung);
        state.is_resting = !is_rung;
        is_rung
    }

    fn wait(&self, time: Option<Duration>) {
        let mut state = self.lock();
        state.is_resting = !state.is_rung;
        let rests = |state: &mut State| !state.is_rung;
        let waited = match time {
            None => self.shared.thread.wait_while(state, rests),
            Some(time) => self
                .shared
                .thread
                .wait_timeout_while(state, time, rests)
                .map(|(state, _)| state)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        };
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        *state = State::default();
    }

    async fn rung(&self) {
        while !self.is_rung() {
            self.shared.task.notified().await;
        }
    }
}

/// A routine that was started.
#[derive(Debug)]
pub struct RoutineHandle {
    ended: oneshot::Receiver<()>,
}

impl RoutineHandle {
    /// Waits until it is over; `false` if it panicked.
    pub async fn ended(self) -> bool {
        self.ended.await.is_ok()
    }
}

/// Gives a routine a thread of its own.
pub(super) fn on_thread(
    manner: Manner,
    bell: Bell,
    mut routine: Box<dyn Routine>,
) -> io::Result<RoutineHandle> {
    let (over, ended) = oneshot::channel();
    let run = move || {
        if manner.niceness != 0 {
            // Of this thread alone, as Linux has it. Where it is refused, it is merely less polite.
            let _ = rustix::process::setpriority_process(None, manner.niceness);
        }
        let rounds = AssertUnwindSafe(|| {
            loop {
                match routine.round() {
                    Rest::None => {}
                    Rest::For(time) => bell.wait(Some(time)),
                    Rest::UntilRung => bell.wait(None),
                    Rest::Over => break,
                }
            }
        });
        match catch_unwind(rounds) {
            // Nobody need wait for it.
            Ok(()) => _ = over.send(()),
            Err(_) => tracing::error!(routine = manner.name, "panicked"),
        }
    };
    std::thread::Builder::new().name(manner.name.to_owned()).spawn(run)?;
    Ok(RoutineHandle { ended })
}

/// Makes a routine a task of the current runtime.
pub(super) fn on_task(bell: Bell, mut routine: Box<dyn Routine>) -> RoutineHandle {
    let (over, ended) = oneshot::channel();
    super::spawn(async move {
        loop {
            match routine.round() {
                Rest::None => tokio::task::yield_now().await,
                // Rung or not, the next round is due.
                Rest::For(time) => _ = tokio::time::timeout(time, bell.rung()).await,
                Rest::UntilRung => bell.rung().await,
                Rest::Over => break,
            }
        }
        // Nobody need wait for it.
        let _ = over.send(());
    });
    RoutineHandle { ended }
}

#[cfg(test)]
mod tests {
    use super::{Bell, Manner, Rest, Routine};
    use crate::ports::{InlineSpawn, Spawn, TaskSpawn};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    const MANNER: Manner = Manner { name: "rounds", niceness: 0 };

    /// Tells of each round, and rests as the script says.
    struct Scripted {
        rests: Vec<Rest>,
        told: Sender<usize>,
    }

    impl Routine for Scripted {
        fn round(&mut self) -> Rest {
            self.told.send(self.rests.len()).expect("the test listens");
            self.rests.pop().unwrap_or(Rest::Over)
        }
    }

    fn scripted(rests: &[Rest]) -> (Box<Scripted>, Receiver<usize>) {
        let (told, heard) = channel();
        (Box::new(Scripted { rests: rests.iter().rev().copied().collect(), told }), heard)
    }

    #[tokio::test]
    async fn a_thread_goes_round_until_it_is_over() {
        let (bell, script) = (Bell::default(), [Rest::None, Rest::UntilRung, Rest::UntilRung]);
        let (routine, heard) = scripted(&script);
        let running = InlineSpawn.routine(MANNER, bell.clone(), routine).expect("starts");
        for left in [3, 2] {
            assert_eq!(heard.recv(), Ok(left));
        }
        // Once for each rest, whether it has begun or not.
        bell.ring();
        assert_eq!(heard.recv(), Ok(1));
        bell.ring();
        assert_eq!(heard.recv(), Ok(0));
        assert!(running.ended().await);
    }

    #[tokio::test]
    async fn a_thread_that_panics_has_not_ended_well() {
        let (routine, heard) = scripted(&[Rest::None]);
        drop(heard);
        let running = InlineSpawn.routine(MANNER, Bell::default(), routine).expect("starts");
        assert!(!running.ended().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_rests_in_virtual_time() {
        let hour = Duration::from_secs(3600);
        let (bell, script) = (Bell::default(), [Rest::For(hour), Rest::For(hour), Rest::UntilRung]);
        let (routine, heard) = scripted(&script);
        let began = tokio::time::Instant::now();
        let running = TaskSpawn.routine(MANNER, bell.clone(), routine).expect("starts");
        bell.ring();
        let mut rounds = Vec::new();
        while rounds.len() < 3 {
            tokio::time::sleep(hour / 4).await;
            rounds.extend(heard.try_iter());
        }
        assert_eq!(rounds, [3, 2, 1], "rung, then an hour later");
        assert!((hour..hour * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        bell.ring();
        assert!(running.ended().await);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [0]);
    }
}
