//! Where nodes are reached now. Raft's membership remembers an address for each, which may be old;
//! what discovery shows is newer.

use arc_swap::ArcSwap;
use jocko_types::Uuid;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Addresses of cluster ports by node. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddressBook(Arc<ArcSwap<BTreeMap<Uuid, String>>>);

impl AddressBook {
    /// What discovery shows of a node, or `known` where it shows nothing.
    pub(crate) fn find(&self, node: Uuid, known: &str) -> String {
        self.0.load().get(&node).cloned().unwrap_or_else(|| known.to_owned())
    }

    /// Notes where everybody is. Whoever is not there any more stays as last seen: it may only be
    /// out of gossip's sight.
    pub(crate) fn note(&self, seen: impl IntoIterator<Item = (Uuid, String)>) {
        let mut all = BTreeMap::clone(&self.0.load());
        let before = all.clone();
        all.extend(seen);
        if all != before {
            self.0.store(Arc::new(all));
        }
    }
}
