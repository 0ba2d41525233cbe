//! To and from a consumer group, with all members (KIP-848): what comes along.

use super::live::{Live, Member, MemberFacts, State};
use super::protocols;
use super::step::Step;
use crate::command::{Answer, Decision, Joined, Opaque, Synced, Ticket};
use crate::context::DecideContext;
use jocko_types::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// A member that changes between a classic and a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Migrant {
    pub(crate) member_id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// The dialects it knows, best first.
    pub(crate) protocols: Vec<(Arc<str>, Opaque)>,
    /// What it said of itself in the group's dialect.
    pub(crate) metadata: Opaque,
    pub(crate) assignment: Opaque,
}

impl Live {
    /// The members, as they leave for a consumer group.
    pub(crate) fn migrants(&self) -> Vec<Migrant> {
        let members = self.members.iter().map(|(member_id, member)| {
            let facts = &member.facts;
            let first = facts.protocols.first().map(|(name, _)| name.as_ref());
            // Before the first generation no dialect was chosen; consumers say the same in all.
            let protocol = self.protocol.as_deref().filter(|name| facts.speaks(name)).or(first);
            Migrant {
                member_id: Arc::clone(member_id),
                instance_id: facts.instance_id.clone(),
                client_id: Arc::clone(&facts.client_id),
                client_host: Arc::clone(&facts.client_host),
                session_timeout: facts.session_timeout,
                rebalance_timeout: facts.rebalance_timeout,
                protocols: facts.protocols.clone(),
                metadata: facts.metadata(protocol),
                assignment: member.assignment.clone(),
            }
        });
        members.collect()
    }

    /// Tells all who wait to join again.
    pub(crate) fn send_back(&self, answers: &mut Vec<(Ticket, Answer)>) {
        let error = ErrorCode::RebalanceInProgress;
        for (member_id, member) in &self.members {
            let join = member
                .join
                .map(|ticket| (ticket, Answer::Joined(Joined::refused(member_id, error))));
            let sync = member.sync.map(|ticket| (ticket, Answer::Synced(Synced::refused(error))));
            answers.extend(join.into_iter().chain(sync));
        }
    }
}

/// Makes a group of members that come from a consumer group, at a generation; it rebalances at
/// once, or goes on with what they were given there.
pub(crate) fn found(
    cx: &DecideContext<'_>,
    group_id: &Arc<str>,
    (generation, migrants): (i32, Vec<Migrant>),
    rebalances: bool,
    decision: &mut Decision,
) {
    let mut live = Live::new(cx.wall);
    live.state = State::Stable;
    live.generation = generation;
    live.protocol_type = Some("consumer".into());
    for migrant in migrants {
        if let Some(instance_id) = &migrant.instance_id {
            let member_id = Arc::clone(&migrant.member_id);
            live.static_members.insert(Arc::clone(instance_id), member_id);
        }
        let member = Member {
            session: Some(cx.now.plus(migrant.session_timeout)),
            facts: Arc::new(MemberFacts {
                instance_id: migrant.instance_id,
                client_id: migrant.client_id,
                client_host: migrant.client_host,
                session_timeout: migrant.session_timeout,
                rebalance_timeout: migrant.rebalance_timeout,
                protocols: migrant.protocols,
            }),
            assignment: migrant.assignment,
            is_new: false,
            join: None,
            sync: None,
        };
        live.members.insert(migrant.member_id, member);
    }
    live.leader = live.members.keys().next().cloned();
    live.protocol = live.select_protocol();
    live.subscribed = protocols::subscribed(&live);
    let mut step = Step::new(cx, Arc::clone(group_id), live);
    step.write();
    if rebalances {
        step.prepare_rebalance();
    }
    step.finish(decision);
}
