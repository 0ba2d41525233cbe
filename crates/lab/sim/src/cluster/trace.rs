//! What tells two runs apart: a hash of all bytes on the network with their times, and of whatever
//! else is noted.

use jocko_net::ports::MemoryNet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// A hash that grows.
#[derive(Debug, Clone)]
pub(super) struct Trace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    began: Instant,
    hasher: DefaultHasher,
    messages: u64,
}

impl Trace {
    /// Of all that passes a network from now on.
    pub(super) fn of(net: &MemoryNet) -> Self {
        let (began, hasher) = (Instant::now(), DefaultHasher::new());
        let this = Self(Arc::new(Mutex::new(State { began, hasher, messages: 0 })));
        let listener = this.clone();
        net.tap(move |passing| {
            listener.with(|state| {
                state.messages += 1;
                (passing.from, passing.to, passing.bytes).hash(&mut state.hasher);
            });
        });
        this
    }

    /// Takes in something else.
    pub(super) fn note(&self, what: &[u8]) {
        self.with(|state| what.hash(&mut state.hasher));
    }

    /// The hash, and how many messages are in it.
    pub(super) fn sum(&self) -> (u64, u64) {
        self.with(|state| (state.hasher.finish(), state.messages))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = state.began.elapsed();
        elapsed.hash(&mut state.hasher);
        act(&mut state)
    }
}
