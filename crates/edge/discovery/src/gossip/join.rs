//! Asks the addresses that are to be joined, for ever.
//!
//! An address is content while a live member is there. All others are tried again: after a moment
//! at first, after a minute at last. That way brokers may start in any order, and a network that
//! was split, even before they had ever met, grows together again.

use super::{Gossip, Place, place, watch_events};
use crate::member::Members;
use crate::roster::Roster;
use jocko_config::HostPort;
use serf::types::MaybeResolvedAddress;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause while nobody is found.
const PAUSE_ALONE_MAX: Duration = Duration::from_secs(5);

/// The longest pause once somebody is.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long one address may take.
const CALL_MAX: Duration = Duration::from_secs(3);

/// How long between two reminders that nobody is found.
const REMINDER: Duration = Duration::from_secs(300);

/// Addresses that are tried; names may have more than any cluster has brokers.
const ADDRESSES_MAX: usize = 256;

pub(super) struct Joining<'a> {
    pub(super) gossip: &'a Gossip,
    pub(super) join: &'a [HostPort],
    /// Addresses that were found otherwise.
    pub(super) sought: watch::Receiver<Vec<SocketAddr>>,
    pub(super) own: Place,
    pub(super) has_secret: bool,
    pub(super) list: watch::Receiver<Members>,
    pub(super) roster: &'a Roster,
}

impl Joining<'_> {
    pub(super) async fn run(mut self) {
        if self.join.is_empty() && self.sought.wait_for(|sought| !sought.is_empty()).await.is_err()
        {
            std::future::pending::<()>().await;
        }
        let mut pause = PAUSE_MIN;
        let mut said: Option<Instant> = None;
        loop {
            let (is_heard, trouble) = self.round().await;
            self.roster.note_trouble(trouble.clone());
            // Who was just heard may not be in the list yet.
            let is_alone = self.list.borrow_and_update().is_empty() && !is_heard;
            if !is_alone {
                said = None;
            } else if said.is_none_or(|said| said.elapsed() >= REMINDER) {
                let mut addresses: Vec<_> = self.join.iter().map(ToString::to_string).collect();
                addresses.extend(self.sought.borrow().iter().map(ToString::to_string));
                let why = trouble.unwrap_or_default();
                tracing::info!(join = addresses.join(","), why, "no other broker found yet");
                said = Some(Instant::now());
            }
            let longest = if is_alone { PAUSE_ALONE_MAX } else { PAUSE_MAX };
            pause = (pause * 2).min(longest);
            // Brokers that start together would else call in step.
            let jittered = pause.mul_f64(0.75 + fastrand::f64() / 2.0);
            tokio::select! {
                () = sleep(jittered) => {}
                // The sender lives as long as this does.
                _ = self.list.changed() => pause = PAUSE_MIN,
                Ok(()) = self.sought.changed() => pause = PAUSE_MIN,
            }
        }
    }

    /// Tries every address where nobody is known to be: whether somebody answered, and why
    /// somebody did not.
    pub(super) async fn round(&self) -> (bool, Option<String>) {
        let (addresses, mut trouble) = self.addresses().await;
        let (mut is_heard, mut misunderstood) = (false, None);
        let known = watch_events::alive(self.gossip).await;
        for address in addresses.difference(&known) {
            let there = MaybeResolvedAddress::resolved(*address);
            match timeout(CALL_MAX, self.gossip.join(there, false)).await {
                Ok(Ok(_)) => is_heard = true,
                Ok(Err(error)) => {
                    let (words, is_key) = self.explained(*address, &error.to_string());
                    if is_key {
                        misunderstood = Some(words);
                    } else {
                        trouble = Some(words);
                    }
                }
                Err(_) => trouble = Some(format!("{address}: no answer in {CALL_MAX:?}")),
            }
        }
        // Who answers and is not understood will not be understood later either.
        (is_heard, misunderstood.or(trouble))
    }

    /// All addresses of all names, without this broker's own.
    async fn addresses(&self) -> (BTreeSet<SocketAddr>, Option<String>) {
        let (mut all, mut trouble) = (BTreeSet::new(), None);
        for name in self.join {
            match timeout(CALL_MAX, lookup_host((name.host.as_str(), name.port))).await {
                Ok(Ok(found)) => all.extend(found),
                Ok(Err(error)) => trouble = Some(format!("{name}: {error}")),
                Err(_) => trouble = Some(format!("{name}: its address is not found")),
            }
        }
        all.extend(self.sought.borrow().iter());
        let is_found = !all.is_empty();
        all.retain(|address| !self.is_own(*address));
        if is_found && all.is_empty() {
            trouble.get_or_insert_with(|| "that is this broker itself".to_owned());
        }
        while all.len() > ADDRESSES_MAX {
            all.pop_last();
        }
        (all, trouble)
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        let Place { bind, told } = self.own;
        let is_anywhere = bind.ip().is_unspecified() && address.port() == bind.port();
        address == told
            || address == bind
            || (is_anywhere && place::is_of_this_machine(address.ip()))
    }

    /// The library's words, or what they mean where that is known: then somebody answers who has another
    /// secret.
    fn explained(&self, address: SocketAddr, error: &str) -> (String, bool) {
        let is_key = ["no installed keys", "encrypt"].iter().any(|word| error.contains(word));
        let words = match (is_key, self.has_secret) {
            (true, true) => format!("{address}: its cluster.secret is another one"),
            (true, false) => format!("{address}: it has a cluster.secret, and this broker none"),
            (false, _) => format!("{address}: {error}"),
        };
        (words, is_key)
    }
}
