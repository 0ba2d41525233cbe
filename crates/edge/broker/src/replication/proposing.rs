//! Having in-sync sets decided by the controller, all that have gathered at once.

use super::Own;
use crate::context::Context;
use jocko_metadata::{Command, InSyncReplica, IsrChange, Reply};
use jocko_partition::{Proposal, ProposalOutcome};
use jocko_types::TopicIdPartition;
use std::sync::Arc;

/// Proposals decided together, in one command.
const TOGETHER_MAX: usize = 1_000;

pub(super) async fn run(context: Arc<Context>, own: Own) {
    loop {
        let proposals = context.outbox.proposals().await;
        for together in proposals.chunks(TOGETHER_MAX) {
            let outcomes = decide(&context, own, together).await;
            for ((key, proposal), outcome) in together.iter().zip(outcomes) {
                answer(&context, *key, proposal.number, outcome);
            }
        }
    }
}

async fn decide(
    context: &Context,
    own: Own,
    together: &[(TopicIdPartition, Proposal)],
) -> Vec<ProposalOutcome> {
    let command = Command::AlterPartition {
        broker_id: own.broker,
        broker_epoch: own.broker_epoch,
        partitions: together.iter().map(change).collect(),
    };
    match context.controller.submit(command).await {
        Ok(Reply::AlterPartition(Ok(answers))) => {
            let outcome = |answer| match answer {
                Ok(jocko_metadata::AlteredPartition { partition_epoch, .. }) => {
                    ProposalOutcome::Accepted { partition_epoch }
                }
                Err(jocko_metadata::Refusal { code, .. }) => ProposalOutcome::Refused(code),
            };
            let mut outcomes: Vec<_> = answers.into_iter().map(outcome).collect();
            outcomes.resize(together.len(), ProposalOutcome::Unknown);
            outcomes
        }
        Ok(Reply::AlterPartition(Err(refusal))) => {
            vec![ProposalOutcome::Refused(refusal.code); together.len()]
        }
        // Nobody knows whether it was decided.
        Ok(_) | Err(_) => vec![ProposalOutcome::Unknown; together.len()],
    }
}

fn change((key, proposal): &(TopicIdPartition, Proposal)) -> IsrChange {
    let member = |member: &jocko_partition::IsrMember| InSyncReplica {
        broker_id: member.broker,
        broker_epoch: member.broker_epoch,
    };
    IsrChange {
        topic_id: key.topic_id,
        partition: key.partition,
        leader_epoch: proposal.leader_epoch,
        partition_epoch: proposal.partition_epoch,
        isr: proposal.isr.iter().map(member).collect(),
    }
}

fn answer(context: &Context, key: TopicIdPartition, number: u64, outcome: ProposalOutcome) {
    if let Some(partition) = context.published.load().partitions.get(&key) {
        let effects = partition.proposal_answered(number, outcome, context.clock.now());
        context.carry_out(partition, effects);
    }
}
