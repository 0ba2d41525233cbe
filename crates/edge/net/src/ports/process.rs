//! Processes of a simulation: the tasks of one broker, which end together.
//!
//! In production a process is what the operating system calls so, and all of its tasks end with it.
//! A simulation has many brokers on one runtime. Whatever the edge starts it starts by [`spawn`],
//! [`spawn_local`] or [`belonging`], and so every task belongs to the process of whoever started it:
//! [`Process::kill`] ends all of them at one moment, and none takes another step. Where there is no
//! process, as in production, these are tokio's own functions.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::Either;
use tokio::task::{AbortHandle, JoinHandle};

thread_local! {
    /// The process whose task is being polled on this thread.
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// A process of a simulation. Clones are the same one.
#[derive(Clone, Default)]
pub struct Process {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_killed: bool,
    is_frozen: bool,
    /// Tasks that would have gone on while it was frozen.
    held: Vec<Waker>,
    last: u64,
    /// What belongs to it: by number, with what ends it where it is a task of its own.
    tasks: BTreeMap<u64, Option<AbortHandle>>,
}

impl Process {
    /// A process without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task of this process, on the current runtime.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (number, future) = self.enlist(future);
        self.started(number, tokio::spawn(future))
    }

    /// As [`Process::spawn`], for a task that stays on this thread.
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (number, future) = self.enlist(future);
        self.started(number, tokio::task::spawn_local(future))
    }

    fn enlist<F: Future>(&self, future: F) -> (u64, Belonging<F>) {
        let number = {
            let mut state = self.lock();
            state.last += 1;
            let number = state.last;
            state.tasks.insert(number, None);
            number
        };
        let member = Member { process: self.clone(), number };
        (number, Belonging { future: Some(Box::pin(future)), member: Some(member) })
    }

    fn started<T>(&self, number: u64, task: JoinHandle<T>) -> JoinHandle<T> {
        let is_killed = {
            let mut state = self.lock();
            if let Some(entry) = state.tasks.get_mut(&number) {
                *entry = Some(task.abort_handle());
            }
            state.is_killed
        };
        if is_killed {
            task.abort();
        }
        task
    }

    /// Ends every task of this process: none takes another step, and what they own is dropped until
    /// this returns. What they leave unsaid stays unsaid.
    pub async fn kill(&self) {
        let tasks: Vec<AbortHandle> = {
            let mut state = self.lock();
            state.is_killed = true;
            state.tasks.values().flatten().cloned().collect()
        };
        for task in tasks {
            task.abort();
        }
        // Each is dropped where it would have been polled next.
        while !self.lock().tasks.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Lets none of its tasks take a step until [`Process::thaw`], as where the operating system stops
    /// a process, or a host its guest: time passes, messages pile up, and it notices afterwards.
    pub fn freeze(&self) {
        self.lock().is_frozen = true;
    }

    /// Lets its tasks go on.
    pub fn thaw(&self) {
        let held = {
            let mut state = self.lock();
            state.is_frozen = false;
            std::mem::take(&mut state.held)
        };
        held.into_iter().for_each(Waker::wake);
    }

    /// How many tasks belong to it now.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Whether a task may take a step; one that may not is woken when it may.
    fn may_go_on(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.is_frozen && !state.is_killed {
            state.held.push(waker.clone());
        }
        // One that was killed is being ended.
        !state.is_killed && !state.is_frozen
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `act` as a part of this process.
    fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        let _left = Left(CURRENT.replace(Some(self.clone())));
        act()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("tasks", &self.tasks()).finish_non_exhaustive()
    }
}

/// Goes back to the process that was current before.
struct Left(Option<Process>);

impl Drop for Left {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

fn current() -> Option<Process> {
    CURRENT.with_borrow(Clone::clone)
}

/// Starts a task that belongs to the process of the caller, if that is one of a simulation.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match current() {
        None => tokio::spawn(future),
        Some(process) => process.spawn(future),
    }
}

/// As [`spawn`], for a task that stays on this thread.
///
/// # Panics
/// Outside a `LocalSet` or `LocalRuntime`.
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    match current() {
        None => tokio::task::spawn_local(future),
        Some(process) => process.spawn_local(future),
    }
}

/// A future that belongs to the process of the caller, for those who start it by other means than
/// [`spawn`], and end it before that process ends.
pub fn belonging<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    match current() {
        None => Either::Left(future),
        Some(process) => Either::Right(process.enlist(future).1),
    }
}

/// A number on the list of a process, until it is dropped.
struct Member {
    process: Process,
    number: u64,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _handle = self.process.lock().tasks.remove(&self.number);
    }
}

/// A future of a process: polled, and dropped, as a part of it.
struct Belonging<F> {
    future: Option<Pin<Box<F>>>,
    /// Let go of when the future has been dropped.
    member: Option<Member>,
}

impl<F: Future> Future for Belonging<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (Some(future), Some(member)) = (&mut this.future, &this.member) else {
            return Poll::Pending;
        };
        if !member.process.may_go_on(cx.waker()) {
            return Poll::Pending;
        }
        member.process.within(|| future.as_mut().poll(cx))
    }
}

impl<F> Drop for Belonging<F> {
    fn drop(&mut self) {
        let Some(member) = self.member.take() else { return };
        let future = self.future.take();
        member.process.within(|| drop(future));
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, belonging, spawn};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::{JoinSet, yield_now};

    async fn count(steps: Arc<AtomicUsize>) {
        loop {
            steps.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
    }

    /// What is left behind by a task that is ended: one more task, which must not run.
    struct Last(Arc<AtomicUsize>);

    impl Drop for Last {
        fn drop(&mut self) {
            spawn(count(Arc::clone(&self.0)));
        }
    }

    #[tokio::test]
    async fn a_kill_ends_all_that_its_tasks_have_started() {
        let (process, other) = (Process::new(), Process::new());
        let steps = Arc::new(AtomicUsize::new(0));
        let others = Arc::new(AtomicUsize::new(0));
        other.spawn(count(Arc::clone(&others)));
        let (first, last) = (Arc::clone(&steps), Last(Arc::clone(&steps)));
        process.spawn(async move {
            let _last = last;
            let mut set = JoinSet::new();
            set.spawn(belonging(count(Arc::clone(&first))));
            spawn(async move { spawn(count(first)).await }).await.ok();
        });
        for _ in 0..8 {
            yield_now().await;
        }
        assert_eq!(process.tasks(), 4);
        process.kill().await;
        let (at_kill, others_at_kill) =
            (steps.load(Ordering::Relaxed), others.load(Ordering::Relaxed));
        assert!(at_kill > 0);
        for _ in 0..8 {
            yield_now().await;
        }
        assert_eq!(steps.load(Ordering::Relaxed), at_kill);
        assert!(others.load(Ordering::Relaxed) > others_at_kill);
        assert_eq!((process.tasks(), Arc::strong_count(&steps)), (0, 1));
        other.kill().await;
    }

    #[tokio::test]
    async fn a_frozen_process_goes_on_where_it_was() {
        let process = Process::new();
        let steps = Arc::new(AtomicUsize::new(0));
        process.spawn(count(Arc::clone(&steps)));
        let pass = async || {
            for _ in 0..8 {
                yield_now().await;
            }
            steps.load(Ordering::Relaxed)
        };
        assert!(pass().await > 0);
        process.freeze();
        let at_freeze = steps.load(Ordering::Relaxed);
        assert_eq!(pass().await, at_freeze);
        process.spawn(count(Arc::clone(&steps)));
        assert_eq!(pass().await, at_freeze, "nor does what is started meanwhile");
        process.thaw();
        assert!(pass().await > at_freeze);
        // One that is frozen can be killed all the same.
        process.freeze();
        pass().await;
        process.kill().await;
        assert_eq!((process.tasks(), Arc::strong_count(&steps)), (0, 1));
    }

    #[tokio::test]
    async fn without_a_process_tasks_are_the_runtimes() {
        assert_eq!(spawn(async { 7 }).await.ok(), Some(7));
        assert_eq!(belonging(async { 7 }).await, 7);
    }
}
