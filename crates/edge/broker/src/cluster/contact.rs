//! For how long this broker may act as a leader. Whoever has not had an answer from the controller
//! for a whole session may have been fenced, and others may lead what it led: it acknowledges
//! nothing more until it has an answer again.
//!
//! The session counts from when the question left, not from when the answer came, and from when
//! the controller itself last had a quorum, so that it is over here before it is over there.

use super::heartbeats::SESSION;
use jocko_net::ports::ClockRef;
use jocko_types::Now;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// How long whoever waits for what is written already is held on to after that: the session may only
/// have been missed by a busy machine, and a producer that is told to go elsewhere writes again what
/// may be committed after all.
const GRACE: Duration = Duration::from_secs(1);
/// This broker is alone: nobody can lead in its place.
const FOR_EVER: u64 = u64::MAX;

/// See the module. Told by one task, asked by all.
#[derive(Debug)]
pub(crate) struct Contact {
    clock: ClockRef,
    /// Why the controller does not take this process for the broker it was, as it said; empty if it
    /// does, as far as is known.
    disowned: Mutex<String>,
    /// The same where another process runs as this broker: then this one ends.
    displaced: watch::Sender<Option<String>>,
    /// Nanoseconds of the clock at which the session is over.
    until: AtomicU64,
    /// Told when that changes.
    news: Notify,
}

/// Why a wait has ended without what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// Its own time was over.
    Late,
    /// The session was.
    CutOff,
}

impl Contact {
    pub(super) fn new(clock: ClockRef) -> Self {
        Self {
            clock,
            disowned: Mutex::default(),
            displaced: watch::Sender::new(None),
            until: AtomicU64::new(FOR_EVER),
            news: Notify::new(),
        }
    }

    /// Nobody else is there (any more).
    pub(super) fn alone(&self) {
        self.until.store(FOR_EVER, Ordering::Relaxed);
        self.news.notify_waiters();
    }

    /// Somebody else is there. If that is new, this broker has a whole session to be heard.
    pub(super) fn in_company(&self) {
        if self.until.load(Ordering::Relaxed) == FOR_EVER {
            self.until.store(over(self.clock.now()), Ordering::Relaxed);
        }
    }

    /// The controller has answered what it was told at `asked`.
    pub(super) fn heard(&self, asked: Now) {
        match self.until.load(Ordering::Relaxed) {
            FOR_EVER => self.until.store(over(asked), Ordering::Relaxed),
            // An answer that says less than an earlier one takes nothing back.
            _ => drop(self.until.fetch_max(over(asked), Ordering::Relaxed)),
        }
        self.news.notify_waiters();
    }

    /// When this is, for [`Contact::is_confirmed`]; `None` where nobody could have replaced this broker.
    pub(crate) fn moment(&self) -> Option<Now> {
        (self.until.load(Ordering::Relaxed) != FOR_EVER).then(|| self.clock.now())
    }

    /// Waits until the own image shows all that was decided up to a moment: an answer counts that was
    /// asked for since. `false` if the session is over before there is one. What a leader is not to
    /// say unless it was one then, it checks by its image after this.
    pub(crate) async fn is_confirmed(&self, moment: Now) -> bool {
        loop {
            let mut news = pin!(self.news.notified());
            // Before the look, or what comes between would be missed.
            news.as_mut().enable();
            if self.until.load(Ordering::Relaxed) >= over(moment) {
                return true;
            }
            match self.left() {
                None => return true,
                Some(Duration::ZERO) => return false,
                // Either way it is looked at anew.
                Some(left) => drop(timeout(left, news).await),
            }
        }
    }

    fn disowned_lock(&self) -> MutexGuard<'_, String> {
        self.disowned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the controller said when it answered last: nothing, or why this process is no broker of
    /// the cluster any more. Whether that is news.
    pub(super) fn disown(&self, words: &str) -> bool {
        let mut told = self.disowned_lock();
        let is_news = *told != words;
        if is_news {
            words.clone_into(&mut told);
        }
        is_news
    }

    /// Another process runs as this broker, the controller says. There is no way back from that: the
    /// two would vote, and be voted for, as one.
    pub(super) fn displace(&self, words: &str) {
        self.displaced.send_replace(Some(words.to_owned()));
    }

    /// Tells when another process has taken this one's place, and why.
    pub(crate) fn watch_displaced(&self) -> watch::Receiver<Option<String>> {
        self.displaced.subscribe()
    }

    /// Why this process is no broker of the cluster any more, and what to do.
    pub(crate) fn disowned(&self) -> Option<String> {
        Some(self.disowned_lock().clone()).filter(|words| !words.is_empty())
    }

    /// Whether this broker must not act as a leader now.
    pub(crate) fn is_lost(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// How long it may, unless it hears more; `None` while it is alone.
    fn left(&self) -> Option<Duration> {
        self.left_for(Duration::ZERO)
    }

    /// As [`Contact::left`], with something on top.
    fn left_for(&self, more: Duration) -> Option<Duration> {
        let until = self.until.load(Ordering::Relaxed);
        // Whoever is alone pays for no clock.
        (until != FOR_EVER).then(|| {
            (Duration::from_nanos(until) + more)
                .saturating_sub(Duration::from_nanos(nanos(self.clock.now())))
        })
    }

    /// Waits until `what` has happened, but no longer than to `deadline`, and only as long as this
    /// broker may act as a leader, or a moment longer.
    pub(crate) async fn wait(
        &self,
        deadline: Option<Instant>,
        what: impl Future,
    ) -> Result<(), GivenUp> {
        let mut what = pin!(what);
        loop {
            let left = self.left_for(GRACE);
            if left == Some(Duration::ZERO) {
                return Err(GivenUp::CutOff);
            }
            let over = left.map(|left| Instant::now() + left);
            let Some(bound) = deadline.into_iter().chain(over).min() else {
                what.await;
                return Ok(());
            };
            if timeout_at(bound, &mut what).await.is_ok() {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(GivenUp::Late);
            }
        }
    }
}

/// When a session that began then is over.
fn over(begun: Now) -> u64 {
    nanos(begun.plus(SESSION))
}

fn nanos(at: Now) -> u64 {
    u64::try_from(at.since_start().as_nanos()).unwrap_or(FOR_EVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_net::ports::Clock;
    use jocko_types::Timestamp;
    use std::future::{pending, poll_fn, ready};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Poll;

    /// Milliseconds, as the test says.
    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Now {
            at(self.0.load(Ordering::Relaxed))
        }

        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
    }

    fn at(millis: u64) -> Now {
        Now::from_start(Duration::from_millis(millis))
    }

    fn contact() -> (Arc<Hand>, Contact) {
        let hand = Arc::new(Hand::default());
        (Arc::clone(&hand), Contact::new(hand))
    }

    #[test]
    fn it_is_lost_a_session_after_the_last_question_that_was_answered() {
        let (hand, contact) = contact();
        let is_lost_at = |millis| {
            hand.0.store(millis, Ordering::Relaxed);
            contact.is_lost()
        };
        assert!(!is_lost_at(1_000_000), "nobody else is there");
        contact.in_company();
        assert!(!is_lost_at(1_001_499));
        assert!(is_lost_at(1_001_500));
        contact.in_company();
        assert!(is_lost_at(1_001_600), "company alone is no contact");
        contact.heard(at(1_001_000));
        assert!(!is_lost_at(1_002_499));
        contact.heard(at(1_000_900));
        assert!(!is_lost_at(1_002_499), "an older word takes nothing back");
        assert!(is_lost_at(1_002_500));
        contact.alone();
        assert!(!is_lost_at(9_000_000));
        contact.heard(at(9_000_000));
        assert!(is_lost_at(9_001_500), "not alone any more");
    }

    #[test]
    fn who_is_no_broker_any_more_can_say_why() {
        let (_, contact) = contact();
        assert_eq!(contact.disowned(), None);
        assert!(contact.disown("broker 3 was removed"));
        assert!(!contact.disown("broker 3 was removed"), "said already");
        assert_eq!(contact.disowned().as_deref(), Some("broker 3 was removed"));
        contact.disown("");
        assert_eq!(contact.disowned(), None);
    }

    #[tokio::test]
    async fn who_waits_is_told_when_it_is_lost() {
        let (hand, contact) = contact();
        let late = Some(Instant::now());
        assert_eq!(contact.wait(None, ready(())).await, Ok(()));
        assert_eq!(contact.wait(late, pending::<()>()).await, Err(GivenUp::Late), "alone");
        contact.in_company();
        assert_eq!(contact.wait(None, ready(())).await, Ok(()));
        assert_eq!(contact.wait(late, pending::<()>()).await, Err(GivenUp::Late));
        hand.0.store(2_499, Ordering::Relaxed);
        // Asked again when the session should be over; it is.
        let passes = |polls: u32| {
            hand.0.store(2_498 + u64::from(polls), Ordering::Relaxed);
            Poll::<()>::Pending
        };
        assert_eq!(contact.wait(None, counted(passes)).await, Err(GivenUp::CutOff));
        contact.heard(at(100));
        hand.0.store(2_599, Ordering::Relaxed);
        // Or there is news by then.
        let renewed = |polls: u32| {
            contact.heard(at(1_000));
            if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
        };
        assert_eq!(contact.wait(None, counted(renewed)).await, Ok(()));
        hand.0.store(3_499, Ordering::Relaxed);
        assert_eq!(contact.wait(None, ready(())).await, Ok(()), "a moment longer");
        hand.0.store(3_500, Ordering::Relaxed);
        assert_eq!(contact.wait(None, pending::<()>()).await, Err(GivenUp::CutOff));
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_is_confirmed_by_an_answer_to_a_later_question() {
        let (hand, contact) = contact();
        assert_eq!(contact.moment(), None, "nobody could have replaced it");
        contact.in_company();
        contact.heard(at(1_000));
        hand.0.store(1_200, Ordering::Relaxed);
        let moment = contact.moment().unwrap();
        let mut confirmed = Box::pin(contact.is_confirmed(moment));
        assert!(is_pending(confirmed.as_mut()).await);
        contact.heard(at(1_199));
        assert!(is_pending(confirmed.as_mut()).await, "asked before");
        contact.heard(at(1_200));
        assert!(confirmed.await);
        assert!(contact.is_confirmed(moment).await, "at once, by now");
        // Nothing more is heard.
        hand.0.store(1_300, Ordering::Relaxed);
        let moment = contact.moment().unwrap();
        let mut confirmed = Box::pin(contact.is_confirmed(moment));
        assert!(is_pending(confirmed.as_mut()).await);
        hand.0.store(2_700, Ordering::Relaxed);
        assert!(!confirmed.await);
        contact.heard(at(2_600));
        let moment = contact.moment().unwrap();
        let mut confirmed = Box::pin(contact.is_confirmed(moment));
        assert!(is_pending(confirmed.as_mut()).await);
        contact.alone();
        assert!(confirmed.await, "all others are gone");
    }

    async fn is_pending(mut future: Pin<&mut impl Future>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    /// A future that says how often it was asked.
    fn counted(mut answer: impl FnMut(u32) -> Poll<()>) -> impl Future<Output = ()> {
        let mut polls = 0;
        poll_fn(move |_| {
            polls += 1;
            answer(polls)
        })
    }
}
