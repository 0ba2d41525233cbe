//! Topics that belong to the cluster, not to its users.

use jocko_types::TopicName;

/// Kafka's own: group offsets, transactions, share groups.
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether tools should treat a topic as internal.
pub(crate) fn is_internal(topic: &TopicName) -> bool {
    INTERNAL.contains(&topic.as_str())
}
