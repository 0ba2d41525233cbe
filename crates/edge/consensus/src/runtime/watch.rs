//! A value that many tasks watch, waking them in the order they began to wait.
//!
//! tokio's own spreads its waiters over several lists and picks by chance, which is faster with
//! very many of them and makes two runs of one seed differ. Raft has a handful.

use openraft::async_runtime::watch::{self, RecvError, SendError, WatchReceiver, WatchSender};
use openraft::{OptionalSend, OptionalSync};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// Names this kind of channel for openraft.
#[derive(Debug)]
pub(crate) struct OrderedWatch;

#[derive(Debug)]
struct Channel<T> {
    value: RwLock<T>,
    /// How many changes there have been; raised after each change is visible.
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Wakes its waiters first come, first served.
    changed: Notify,
}

impl<T> Channel<T> {
    /// A panic while the lock was held cannot have left half a value: it is replaced whole, or
    /// changed by code whose panic ends Raft anyway.
    fn read(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn modify(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut value = self.value.write().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut value) {
            return false;
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        drop(value);
        self.changed.notify_waiters();
        true
    }
}

/// The current value, locked against change while this is held.
#[derive(Debug)]
pub(crate) struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Changes the value.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Channel<T>>);

/// Sees the value, and each change of it at least as part of a later one.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    channel: Arc<Channel<T>>,
    seen: u64,
}

/// A channel that holds `value`.
pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        value: RwLock::new(value),
        version: AtomicU64::new(0),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        changed: Notify::new(),
    });
    (Sender(Arc::clone(&channel)), Receiver { channel, seen: 0 })
}

impl watch::Watch for OrderedWatch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Self::Sender<T>, Self::Receiver<T>) {
        channel(init)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<OrderedWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.load(Ordering::Acquire) == 0 {
            return Err(SendError(value));
        }
        self.0.modify(|current| {
            *current = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.0.modify(modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.0.read()
    }

    fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.fetch_add(1, Ordering::AcqRel);
        let seen = self.0.version.load(Ordering::Acquire);
        Receiver { channel: Arc::clone(&self.0), seen }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.channel.receivers.fetch_add(1, Ordering::AcqRel);
        Self { channel: Arc::clone(&self.channel), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.channel.receivers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<OrderedWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            let notified = self.channel.changed.notified();
            let mut notified = std::pin::pin!(notified);
            // In line before looking: a change after the look finds this waiter.
            notified.as_mut().enable();
            let version = self.channel.version.load(Ordering::Acquire);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.channel.senders.load(Ordering::Acquire) == 0 {
                return Err(RecvError(()));
            }
            notified.await;
        }
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.channel.read()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.channel.read();
        // Versions rise under the write lock, so this one belongs to this value.
        self.seen = self.channel.version.load(Ordering::Acquire);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiters_wake_in_the_order_they_came() {
        let (sender, receiver) = channel(0);
        let woken = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 0..32 {
            let (mut receiver, woken) = (receiver.clone(), Arc::clone(&woken));
            tasks.push(tokio::spawn(async move {
                receiver.changed().await.expect("the sender lives");
                woken.lock().expect("no panic").push(number);
            }));
        }
        tokio::task::yield_now().await;
        sender.send(1).expect("receivers live");
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(*woken.lock().expect("no panic"), (0..32).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_before_the_wait_counts_and_a_closed_channel_ends_it() {
        let (sender, mut receiver) = channel('a');
        sender.send('b').expect("a receiver lives");
        receiver.changed().await.expect("changed");
        assert_eq!(*receiver.borrow_and_update(), 'b');
        assert!(!sender.send_if_modified(|_| false));
        let waiting = tokio::spawn(async move { receiver.changed().await });
        tokio::task::yield_now().await;
        drop(sender);
        assert!(waiting.await.expect("no panic").is_err());
    }
}
