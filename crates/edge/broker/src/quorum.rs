//! The group that keeps the metadata, as administrators see and change it: how far each member is,
//! who votes, who leads. Only the leader knows and decides; others ask it over the cluster port.

use crate::cluster::{Cluster, kinds};
use bytes::Bytes;
use jocko_consensus::{MembershipError, NodeId, RaftStatus};
use jocko_metadata::{ClusterImage, Refusal};
use jocko_net::peers::{Lane, PeerRefusal};
use jocko_types::{BrokerId, ErrorCode, Uuid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long the leader has for an answer, a change of the members included.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long the others have to follow a leader that hands over.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);
/// The pause before a new leader that was not ready is asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// A member whose log is at most so many entries behind has caught up.
pub(crate) const LAG_MAX: u64 = 100;
/// A member that has answered within this is counted on.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// A question or a wish for the leader. Its JSON form travels between brokers of neighbouring
/// releases: fields that are added need a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum QuorumCall {
    /// How does it stand?
    Describe,
    /// The node on this directory shall vote.
    AddVoter { node: Uuid },
    /// It shall not vote any more.
    RemoveVoter { node: Uuid },
    /// This one, or whoever is furthest, shall lead; or only: who would?
    HandOver { to: Option<BrokerId>, only_ask: bool },
}

/// What the leader says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum QuorumAnswer {
    /// To [`QuorumCall::Describe`].
    Described(QuorumView),
    /// The change is made.
    Done,
    /// To [`QuorumCall::HandOver`]: who leads, or would.
    Leads(BrokerId),
}

/// The group as its leader sees it, or, with less in it, another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct QuorumView {
    /// Nothing while nobody is known to lead.
    pub(crate) leader: Option<Uuid>,
    pub(crate) term: u64,
    pub(crate) commit_index: Option<u64>,
    pub(crate) members: BTreeMap<Uuid, MemberProgress>,
}

/// How far a member is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct MemberProgress {
    pub(crate) votes: bool,
    /// The last entry its log shares with the leader's.
    pub(crate) index: Option<u64>,
    /// How long it has not answered; nothing if it never has.
    pub(crate) silent_ms: Option<u64>,
}

impl MemberProgress {
    pub(crate) fn answers(&self) -> bool {
        self.silent_ms.is_some_and(|silent| Duration::from_millis(silent) < SILENT_MAX)
    }

    /// Whether its log is as long as the leader's, or nearly.
    pub(crate) fn has_caught_up(&self, last: Option<u64>) -> bool {
        let Some(index) = self.index else { return last.is_none() };
        index.saturating_add(LAG_MAX) >= last.unwrap_or(0)
    }
}

fn refuse<T>(code: ErrorCode, words: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: words.into() })
}

/// Has the leader answer, here or where it is.
pub(crate) async fn ask(cluster: &Cluster, call: QuorumCall) -> Result<QuorumAnswer, Refusal> {
    let status = cluster.raft.status();
    if status.is_serving {
        return answer(cluster, &status, call).await;
    }
    let Some((leader, peer)) = status.leader else {
        return refuse(ErrorCode::NotController, "nobody is known to lead the metadata");
    };
    let address = cluster.book.find(leader.directory_id(), &peer.address);
    let body = serde_json::to_vec(&call).expect("ids and numbers become JSON");
    let asked = cluster.peers.call(&address, Lane::Control, kinds::QUORUM, body, ANSWER_MAX).await;
    let told: Result<QuorumAnswer, Refusal> = match asked {
        Ok(told) => serde_json::from_slice(&told).unwrap_or_else(|error| {
            refuse(
                ErrorCode::UnknownServerError,
                format!("{address} cannot be understood: {error}"),
            )
        }),
        Err(error) => {
            refuse(ErrorCode::RequestTimedOut, format!("the leader at {address}: {error}"))
        }
    };
    told
}

/// Answers another broker of the cluster.
pub(crate) async fn serve(cluster: &Cluster, body: &Bytes) -> Result<Vec<Bytes>, PeerRefusal> {
    let malformed =
        |error: serde_json::Error| PeerRefusal::new(kinds::MALFORMED, error.to_string());
    let call: QuorumCall = serde_json::from_slice(body).map_err(malformed)?;
    let status = cluster.raft.status();
    if !status.is_serving {
        return Err(PeerRefusal::new(kinds::NOT_READY, "this broker does not lead"));
    }
    let told = answer(cluster, &status, call).await;
    Ok(vec![serde_json::to_vec(&told).map_err(malformed)?.into()])
}

async fn answer(
    cluster: &Cluster,
    status: &RaftStatus,
    call: QuorumCall,
) -> Result<QuorumAnswer, Refusal> {
    let view = view(cluster, status);
    match call {
        QuorumCall::Describe => Ok(QuorumAnswer::Described(view)),
        QuorumCall::AddVoter { node } => {
            may_vote(&view, status.last_index, node)?;
            keep_out(cluster, node, false).await?;
            let mut voters = voters(&view);
            voters.insert(node);
            change(cluster, voters).await
        }
        QuorumCall::RemoveVoter { node } => {
            may_go(&view, node)?;
            if Some(node) == view.leader {
                return leave_to_others(cluster, &view, node).await;
            }
            // First, or the cluster would give it a vote again at once.
            keep_out(cluster, node, true).await?;
            let mut voters = voters(&view);
            voters.remove(&node);
            change(cluster, voters).await
        }
        QuorumCall::HandOver { to, only_ask } => hand_over(cluster, &view, to, only_ask).await,
    }
}

/// The group as this node sees it: of others it knows little unless it leads. Whoever hears of no
/// quorum does not know who leads it, a leader that was left by the others included.
pub(crate) fn here(cluster: &Cluster) -> QuorumView {
    let view = view(cluster, &cluster.raft.status());
    QuorumView { leader: view.leader.filter(|_| !cluster.contact.is_lost()), ..view }
}

fn view(cluster: &Cluster, status: &RaftStatus) -> QuorumView {
    let progress = cluster.raft.progress();
    let member = |node: &NodeId, votes: bool| {
        let id = node.directory_id();
        let it = progress.get(node);
        let silent = it.and_then(|it| it.silent);
        let member = if id == cluster.node {
            MemberProgress { votes, index: status.last_index, silent_ms: Some(0) }
        } else {
            let silent_ms = silent.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
            MemberProgress { votes, index: it.and_then(|it| it.matched_index), silent_ms }
        };
        (id, member)
    };
    let voters = status.voters.keys().map(|node| member(node, true));
    QuorumView {
        leader: status.leader.as_ref().map(|(leader, _)| leader.directory_id()),
        term: status.term,
        commit_index: status.commit_index,
        members: voters.chain(status.learners.keys().map(|node| member(node, false))).collect(),
    }
}

fn voters(view: &QuorumView) -> BTreeSet<Uuid> {
    view.members.iter().filter(|(_, member)| member.votes).map(|(node, _)| *node).collect()
}

/// Whether a node can be given a vote without harm.
fn may_vote(view: &QuorumView, last: Option<u64>, node: Uuid) -> Result<(), Refusal> {
    match view.members.get(&node) {
        None => refuse(
            ErrorCode::InvalidRequest,
            format!(
                "{node} does not follow the metadata; start its broker with cluster.join first"
            ),
        ),
        Some(member) if member.votes => {
            refuse(ErrorCode::DuplicateVoter, format!("{node} is a voter already"))
        }
        Some(member) if !member.answers() || !member.has_caught_up(last) => refuse(
            ErrorCode::RequestTimedOut,
            format!("{node} has not caught up with the metadata yet; try again in a moment"),
        ),
        Some(_) => Ok(()),
    }
}

/// Whether the others can do without a node's vote.
fn may_go(view: &QuorumView, node: Uuid) -> Result<(), Refusal> {
    if !view.members.get(&node).is_some_and(|member| member.votes) {
        return refuse(ErrorCode::VoterNotFound, format!("{node} is no voter"));
    }
    let others: Vec<&MemberProgress> = view
        .members
        .iter()
        .filter(|(id, member)| **id != node && member.votes)
        .map(|(_, member)| member)
        .collect();
    if others.is_empty() {
        return refuse(ErrorCode::InvalidRequest, "the only voter cannot go");
    }
    let answering = others.iter().filter(|member| member.answers()).count();
    if answering * 2 <= others.len() {
        let words = format!(
            "only {answering} of the {} voters that would be left answer: nothing could be decided",
            others.len()
        );
        return refuse(ErrorCode::InvalidRequest, words);
    }
    Ok(())
}

/// Notes whether a person wants a node to vote: what the cluster does by itself heeds that.
async fn keep_out(cluster: &Cluster, node: Uuid, stays_out: bool) -> Result<(), Refusal> {
    let noted = cluster.raft.keep_out(NodeId::new(node), stays_out);
    match timeout(ANSWER_MAX, noted).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => refuse(ErrorCode::RequestTimedOut, format!("not now: {error}")),
        Err(_) => refuse(ErrorCode::RequestTimedOut, "the change takes long; it may go on"),
    }
}

/// The leader that shall not vote any more hands over, and has the next one take its vote.
async fn leave_to_others(
    cluster: &Cluster,
    view: &QuorumView,
    node: Uuid,
) -> Result<QuorumAnswer, Refusal> {
    hand_over(cluster, view, None, false).await?;
    let deadline = Instant::now() + HAND_OVER_MAX;
    loop {
        let asked = Box::pin(ask(cluster, QuorumCall::RemoveVoter { node })).await;
        match asked {
            // The next one leads, and does not serve yet.
            Err(refusal) if refusal.code == ErrorCode::RequestTimedOut => {
                if Instant::now() >= deadline {
                    return Err(refusal);
                }
                sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}

async fn change(cluster: &Cluster, voters: BTreeSet<Uuid>) -> Result<QuorumAnswer, Refusal> {
    let voters: BTreeSet<NodeId> = voters.into_iter().map(NodeId::new).collect();
    // Who votes no more stays and follows.
    match timeout(ANSWER_MAX, cluster.raft.set_voters(voters, true)).await {
        Ok(Ok(())) => Ok(QuorumAnswer::Done),
        Ok(Err(MembershipError::Refused(why))) => {
            refuse(ErrorCode::RequestTimedOut, format!("not now: {why}"))
        }
        Ok(Err(error)) => refuse(ErrorCode::RequestTimedOut, error.to_string()),
        Err(_) => refuse(ErrorCode::RequestTimedOut, "the change takes long; it may go on"),
    }
}

/// The broker on a directory.
pub(crate) fn broker_on(image: &ClusterImage, node: Uuid) -> Option<BrokerId> {
    let found = image.brokers().find(|broker| broker.registration.directory == node);
    found.map(|broker| broker.id())
}

/// The voter that shall lead: the one asked for, or the one that is furthest.
fn successor(
    view: &QuorumView,
    image: &ClusterImage,
    to: Option<BrokerId>,
) -> Result<(Uuid, BrokerId), Refusal> {
    let candidates = view
        .members
        .iter()
        .filter(|(node, member)| member.votes && member.answers() && Some(**node) != view.leader)
        .filter_map(|(node, member)| Some((*node, broker_on(image, *node)?, member.index)));
    let is_asked = |id: &BrokerId| to.is_none_or(|wanted| wanted == *id);
    let best = candidates.filter(|(_, id, _)| is_asked(id)).max_by_key(|(_, _, index)| *index);
    let Some((node, id, _)) = best else {
        let words = match to {
            Some(id) => {
                format!("broker {id} is no voter that answers (jocko cluster quorum tells who is)")
            }
            None if voters(view).len() <= 1 => {
                "no other broker votes on the metadata: there is nobody to hand over to".to_owned()
            }
            None => "no other voter answers".to_owned(),
        };
        return refuse(ErrorCode::InvalidRequest, words);
    };
    Ok((node, id))
}

async fn hand_over(
    cluster: &Cluster,
    view: &QuorumView,
    to: Option<BrokerId>,
    only_ask: bool,
) -> Result<QuorumAnswer, Refusal> {
    let (node, id) = {
        let image = &cluster.published.load().image;
        let leader = view.leader.and_then(|it| broker_on(image, it));
        match to.filter(|id| leader == Some(*id)) {
            // Whoever leads already has nothing to take.
            Some(id) => return Ok(QuorumAnswer::Leads(id)),
            None => successor(view, image, to)?,
        }
    };
    if only_ask {
        return Ok(QuorumAnswer::Leads(id));
    }
    let mut news = cluster.raft.watch();
    if let Err(error) = cluster.raft.hand_over_to(NodeId::new(node)).await {
        return refuse(ErrorCode::RequestTimedOut, error.to_string());
    }
    let leads = |status: &RaftStatus| {
        status.leader.as_ref().is_some_and(|(leader, _)| leader.directory_id() == node)
    };
    match timeout(HAND_OVER_MAX, news.wait_for(leads)).await {
        Ok(Some(_)) => Ok(QuorumAnswer::Leads(id)),
        _ => refuse(ErrorCode::RequestTimedOut, format!("broker {id} has not taken the lead")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> Uuid {
        Uuid::from_bytes([byte; 16])
    }

    /// Letters: `V` votes and answers, `v` votes and is silent, `L` a learner that has caught up,
    /// `l` one that has not. The first leads.
    fn group(text: &str) -> QuorumView {
        let member = |kind: char| MemberProgress {
            votes: matches!(kind, 'V' | 'v'),
            index: Some(if kind == 'l' { 10 } else { 1_000 }),
            silent_ms: (kind != 'v').then_some(5),
        };
        let members = (1..).zip(text.chars()).map(|(number, kind)| (id(number), member(kind)));
        QuorumView {
            leader: Some(id(1)),
            term: 3,
            commit_index: Some(999),
            members: members.collect(),
        }
    }

    #[test]
    fn a_vote_is_given_to_whoever_has_caught_up() {
        let check = |text: &str, node, expect: Option<ErrorCode>| {
            let told = may_vote(&group(text), Some(1_000), id(node));
            assert_eq!(told.err().map(|refusal| refusal.code), expect, "{text} {node}");
        };
        check("VL", 2, None);
        check("Vl", 2, Some(ErrorCode::RequestTimedOut));
        check("VV", 2, Some(ErrorCode::DuplicateVoter));
        check("V", 9, Some(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_vote_is_not_taken_where_that_would_stop_the_group() {
        let check = |text: &str, node, expect: Option<ErrorCode>| {
            let told = may_go(&group(text), id(node));
            assert_eq!(told.err().map(|refusal| refusal.code), expect, "{text} {node}");
        };
        check("VVV", 2, None);
        check("VVv", 3, None);
        check("VVv", 2, Some(ErrorCode::InvalidRequest));
        check("VVV", 1, None);
        check("Vv", 1, Some(ErrorCode::InvalidRequest));
        check("V", 1, Some(ErrorCode::InvalidRequest));
        check("VL", 2, Some(ErrorCode::VoterNotFound));
        check("VVVvv", 4, None);
    }
}
