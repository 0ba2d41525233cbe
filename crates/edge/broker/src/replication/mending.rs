//! Copies that are damaged: who holds all that is committed leads in their place, nobody counts on
//! them, and they are fetched anew (DR6). The controller decides that; the publisher sets the folder
//! aside once the image says it. The only copy that is left keeps its place, and stays as it is.

use super::Own;
use crate::context::Context;
use jocko_metadata::{Command, PartitionState, Reply};
use jocko_partition::Partition;
use jocko_types::{BrokerId, LeaderEpoch, TopicIdPartition};
use std::sync::Arc;
use std::time::Duration;

/// How long the controller is waited for. Whatever it decides later is in the image all the same.
const DECIDED_MAX: Duration = Duration::from_secs(10);
/// Copies given up by one command.
const TOGETHER_MAX: usize = 1_000;

/// This broker's damaged copies. Costs a look at each that it has.
pub(crate) fn damaged(context: &Context) -> Vec<Arc<Partition>> {
    let published = context.published.load();
    let partitions = published.partitions.values();
    partitions.filter(|partition| partition.damage().is_some()).cloned().collect()
}

/// Asks the controller to let go of damaged copies, where the image shows that others could lead.
pub(crate) async fn mend(context: Arc<Context>, damaged: Vec<Arc<Partition>>) {
    let Some(broker_epoch) = context.outbox.registration() else { return };
    let own = Own { broker: context.broker, broker_epoch };
    let mut copies = Vec::new();
    for partition in damaged {
        let published = context.published.load();
        let key = partition.key();
        let state = published.image.partition(key.topic_id, key.partition);
        let Some(state) = state.filter(|state| is_spare(&context, own.broker, state)) else {
            continue;
        };
        // It said its last word before it was found damaged: in the epoch it stands in, at most.
        let stands = partition.standing().map_or(LeaderEpoch::NONE, |it| it.leader_epoch);
        context.outbox.would_give_up(key, stands.max(state.leader_epoch));
        copies.push(key);
    }
    for together in copies.chunks(TOGETHER_MAX) {
        ask(&context, own, together.to_vec()).await;
    }
}

/// Whether others are there that hold all that is committed, as far as this broker knows.
fn is_spare(context: &Context, own: BrokerId, state: &PartitionState) -> bool {
    let published = context.published.load();
    let mut others = state.isr.iter().chain(&state.elr).filter(|id| **id != own);
    others.any(|id| published.image.is_active(*id))
}

async fn ask(context: &Context, own: Own, copies: Vec<TopicIdPartition>) {
    let Own { broker: broker_id, broker_epoch } = own;
    let command = Command::GiveUpCopies { broker_id, broker_epoch, copies };
    let asked = context.controller.submit(command);
    match tokio::time::timeout(DECIDED_MAX, asked).await {
        Ok(Ok(Reply::GiveUpCopies(Ok(answers)))) => {
            for refusal in answers.into_iter().filter_map(Result::err) {
                tracing::warn!(code = %refusal.code, "a damaged copy stays: {}", refusal.message);
            }
        }
        other => tracing::debug!(?other, "damaged copies were not given up; asked again soon"),
    }
}
