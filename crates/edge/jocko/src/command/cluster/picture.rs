//! A cluster at one moment, from what any Kafka tells.

use crate::failure::Result;
use jocko_client::{Client, ClientError, Member, Move, Quorum, TopicPartition};
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use serde_json::{Value, json};

/// Partitions that are named where something is wrong with them; `jocko partition list` has all.
const NAMED_MAX: usize = 5;

/// What was asked, and what came back.
pub(super) struct Picture {
    pub(super) cluster_id: String,
    /// Fenced ones too, where the cluster tells of them.
    pub(super) brokers: Vec<Member>,
    /// Whether it does.
    pub(super) tells_of_fenced: bool,
    /// Who decides; nothing if nobody does.
    pub(super) controller: Option<i32>,
    pub(super) quorum: Option<Quorum>,
    pub(super) topics: Vec<MetadataResponseTopic>,
    /// Partitions with fewer copies in sync than `acks=all` needs.
    pub(super) below_min_isr: Vec<TopicPartition>,
    /// Partitions whose copies move.
    pub(super) moves: Vec<Move>,
    /// Moves that have ended while all this was asked.
    ended: Vec<Move>,
}

impl Picture {
    pub(super) async fn take(client: &mut Client) -> Result<Self> {
        let tells_of_moves = client.serves(ApiKey::ListPartitionReassignments).await?;
        let ended = if tells_of_moves { client.moves(None).await? } else { Vec::new() };
        let metadata = client.metadata(None, false).await?;
        let (mut brokers, mut tells_of_fenced) = (brokers_of(&metadata), false);
        if client.serves(ApiKey::DescribeCluster).await? {
            let members = client.members().await?;
            (brokers, tells_of_fenced) = (members.brokers, members.tells_of_fenced);
        }
        let quorum = client.quorum().await?;
        let controller = match &quorum {
            Some(quorum) => quorum.leader,
            None => (metadata.controller_id >= 0).then_some(metadata.controller_id),
        };
        let mut picture = Self {
            cluster_id: metadata.cluster_id.clone().unwrap_or_default(),
            brokers,
            tells_of_fenced,
            controller,
            quorum,
            topics: metadata.topics,
            below_min_isr: Vec::new(),
            moves: Vec::new(),
            ended,
        };
        picture.below_min_isr = picture.find_below_min_isr(client).await?;
        if tells_of_moves {
            picture.moves = client.moves(None).await?;
        }
        Ok(picture)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = &MetadataResponsePartition> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Only a partition that has lost copies can have too few: the minimum is capped by their number.
    async fn find_below_min_isr(
        &self,
        client: &mut Client,
    ) -> std::result::Result<Vec<TopicPartition>, ClientError> {
        let names: Vec<String> =
            self.topics.iter().filter_map(|topic| topic.name.clone()).collect();
        let wanted = client.min_insync_replicas(&names).await?;
        let is_below = |topic: &MetadataResponseTopic, partition: &MetadataResponsePartition| {
            let name = topic.name.as_deref().unwrap_or_default();
            let copies = partition.replica_nodes.len();
            wanted.get(name).is_some_and(|wanted| partition.isr_nodes.len() < copies.min(*wanted))
        };
        let all = self
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)));
        let below = all
            .filter(|(topic, partition)| is_below(topic, partition))
            .map(|(topic, it)| (topic.name.clone().unwrap_or_default(), it.partition_index));
        Ok(below.collect())
    }

    pub(super) fn leaderless(&self) -> usize {
        self.partitions().filter(|partition| partition.leader_id < 0).count()
    }

    /// The first of some partitions that nobody leads, and whom each waits for.
    pub(super) fn leaderless_of(&self, partitions: &[TopicPartition]) -> String {
        let is_one = |topic: &str, partition: &MetadataResponsePartition| {
            let is_it = |(name, index): &TopicPartition| {
                name == topic && *index == partition.partition_index
            };
            partition.leader_id < 0 && partitions.iter().any(is_it)
        };
        self.named(is_one, awaited)
    }

    pub(super) fn under_replicated(&self) -> usize {
        let all = self.topics.iter().flat_map(|topic| {
            let name = topic.name.as_deref().unwrap_or_default();
            topic.partitions.iter().map(move |partition| (name, partition))
        });
        all.filter(|(topic, partition)| !self.lacking(topic, partition).is_empty()).count()
    }

    /// Which brokers lack a partition, but for those that a move adds: they are only on their way.
    fn lacking(&self, topic: &str, partition: &MetadataResponsePartition) -> Vec<i32> {
        let is_it = |moving: &&Move| {
            moving.partition.0 == topic && moving.partition.1 == partition.partition_index
        };
        let mut moves = self.moves.iter().chain(&self.ended);
        let adding = moves.find(is_it).map_or(&[][..], |moving| &moving.adding);
        let mut lacking = partition.replica_nodes.clone();
        lacking.retain(|id| !partition.isr_nodes.contains(id) && !adding.contains(id));
        lacking
    }

    /// The same in words. Where none is missed and too few are in sync, a move is on its way, and it is
    /// its copies that are waited for.
    fn not_on(&self, topic: &str, partition: &MetadataResponsePartition) -> String {
        let mut lacking = self.lacking(topic, partition);
        if lacking.is_empty() {
            lacking.clone_from(&partition.replica_nodes);
            lacking.retain(|id| !partition.isr_nodes.contains(id));
        }
        format!("not on {}", listed(&lacking))
    }

    /// What goes on because somebody wanted it, and is no ill: brokers that are drained.
    pub(super) fn planned(&self) -> Vec<String> {
        let drained = self.brokers.iter().filter(|broker| broker.is_drained);
        let told = drained.map(|broker| {
            let id = broker.id;
            match (self.replicas(id), broker.is_fenced) {
                (0, true) => {
                    format!("broker {id} is drained and has stopped (jocko cluster remove {id})")
                }
                (0, false) => format!(
                    "broker {id} is drained (stop it, then jocko cluster remove {id}; if it stays: \
                     jocko cluster drain {id} --undo)"
                ),
                (copies, _) => {
                    let noun = if copies == 1 { "copy is" } else { "copies are" };
                    format!("broker {id} is being drained: {copies} {noun} still there")
                }
            }
        });
        told.collect()
    }

    pub(super) fn live(&self) -> usize {
        self.brokers.iter().filter(|broker| !broker.is_fenced).count()
    }

    /// Why the cluster is not healthy; empty if it is. `expected` is how many brokers there are to
    /// be at least.
    pub(super) fn ills(&self, expected: usize) -> Vec<String> {
        let mut ills = Vec::new();
        ills.extend(self.not_heard_of());
        for broker in &self.brokers {
            if let Some(disk) = &broker.disk {
                ills.push(format!("broker {}: {disk} (others lead in its place)", broker.id));
            }
        }
        if self.brokers.len() < expected {
            ills.push(format!("{} of {expected} brokers", self.brokers.len()));
        }
        if self.controller.is_none() {
            ills.push(format!(
                "nobody is known to lead the metadata, and nothing can be changed: most voters are \
                 gone, or the broker that was asked is cut off from them{}",
                self.who_shall_come_back()
            ));
        }
        // Its disk is gone: one failure more may stop everything until another has taken its place.
        let lost = self.quorum.iter().flat_map(|quorum| &quorum.voters).filter(|it| it.id < 0);
        let lost = lost.count();
        if lost > 0 {
            let noun = if lost == 1 { "voter has" } else { "voters have" };
            ills.push(format!("{lost} {noun} no broker any more (jocko cluster quorum)"));
        }
        let is_leaderless =
            |_: &str, partition: &MetadataResponsePartition| partition.leader_id < 0;
        let lacks_copies = |topic: &str, partition: &MetadataResponsePartition| {
            !self.lacking(topic, partition).is_empty()
        };
        let lacking =
            |topic: &str, partition: &MetadataResponsePartition| self.not_on(topic, partition);
        let is_below_min_isr = |topic: &str, partition: &MetadataResponsePartition| {
            let mut below = self.below_min_isr.iter();
            below.any(|(name, index)| name == topic && *index == partition.partition_index)
        };
        for (count, what, named) in [
            (
                self.leaderless(),
                // Without a controller nobody is elected.
                match self.controller {
                    Some(_) => {
                        "without a leader: nobody can read or write them until the brokers are \
                         back, or jocko partition elect --unclean takes what there is"
                    }
                    None => {
                        "without a leader: nobody can read or write them until the brokers are back"
                    }
                },
                self.named(is_leaderless, awaited),
            ),
            (
                self.below_min_isr.len(),
                "with too few copies in sync for acks=all",
                self.named(is_below_min_isr, lacking),
            ),
            (
                self.under_replicated(),
                "with copies that are not in sync",
                self.named(lacks_copies, lacking),
            ),
        ] {
            if count > 0 {
                let noun = if count == 1 { "partition" } else { "partitions" };
                ills.push(format!("{count} {noun} {what}{named}"));
            }
        }
        ills
    }

    /// Whether a broker that is not there was drained, and nothing of it is missed.
    fn has_gone_as_planned(&self, broker: &Member) -> bool {
        broker.is_drained && self.replicas(broker.id) == 0
    }

    /// Who is missing, and what to do about it.
    fn not_heard_of(&self) -> Option<String> {
        let fenced: Vec<String> = self
            .brokers
            .iter()
            .filter(|broker| broker.is_fenced && !self.has_gone_as_planned(broker))
            .map(|broker| broker.id.to_string())
            .collect();
        if fenced.is_empty() {
            return None;
        }
        // Whoever comes back with an empty disk and no number is another broker.
        let one = if let [one] = fenced.as_slice() { one } else { "N" };
        let cure = if self.controller.is_some() {
            format!(
                "start it again, with --node-id {one} if its disk is new; if it does not come \
                 back: jocko cluster drain {one}, jocko cluster remove {one}"
            )
        } else {
            "start it again".to_owned()
        };
        Some(format!("not heard of: broker {} ({cure})", fenced.join(", ")))
    }

    /// What helps where nobody leads the metadata, and nothing else does.
    fn who_shall_come_back(&self) -> String {
        let voters = self.quorum.iter().flat_map(|quorum| &quorum.voters);
        let voters: Vec<String> =
            voters.filter(|voter| voter.id >= 0).map(|voter| voter.id.to_string()).collect();
        if voters.is_empty() {
            return String::new();
        }
        format!(
            " (start again whoever is down of brokers {}: most have to be there)",
            voters.join(", ")
        )
    }

    /// The first of the partitions that are meant, each with what is to be said of it. Those of
    /// people come before those that brokers keep for themselves.
    fn named(
        &self,
        is_meant: impl Fn(&str, &MetadataResponsePartition) -> bool,
        said: impl Fn(&str, &MetadataResponsePartition) -> String,
    ) -> String {
        let mut topics: Vec<&MetadataResponseTopic> = self.topics.iter().collect();
        topics.sort_by_key(|topic| topic.is_internal);
        let one = |topic: &MetadataResponseTopic, partition: &MetadataResponsePartition| {
            let name = topic.name.as_deref().unwrap_or_default();
            format!("{name}/{} ({})", partition.partition_index, said(name, partition))
        };
        let mut meant: Vec<String> = topics
            .into_iter()
            .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
            .filter(|(topic, it)| is_meant(topic.name.as_deref().unwrap_or_default(), it))
            .map(|(topic, partition)| one(topic, partition))
            .collect();
        if meant.len() > NAMED_MAX {
            let more = meant.len() - NAMED_MAX;
            meant.truncate(NAMED_MAX);
            meant.push(format!("and {more} more"));
        }
        if meant.is_empty() { String::new() } else { format!(": {}", meant.join(", ")) }
    }

    pub(super) fn json(&self) -> Value {
        let votes = |id: i32| {
            let quorum = self.quorum.as_ref();
            quorum.is_some_and(|quorum| quorum.voters.iter().any(|voter| voter.id == id))
        };
        let brokers = self.brokers.iter().map(|broker| {
            let (host, port) = broker.address.rsplit_once(':').unwrap_or((&broker.address, ""));
            json!({
                "id": broker.id,
                "host": host.trim_start_matches('[').trim_end_matches(']'),
                "port": port.parse::<u16>().ok(),
                "rack": broker.rack,
                "fenced": broker.is_fenced,
                "disk": broker.disk,
                "drained": broker.is_drained,
                "voter": votes(broker.id),
                "leads": self.leads(broker.id),
                "replicas": self.replicas(broker.id),
            })
        });
        json!({
            "clusterId": self.cluster_id,
            "controller": self.controller,
            "term": self.quorum.as_ref().map(|quorum| quorum.term),
            "brokers": brokers.collect::<Vec<_>>(),
            "topics": self.topics.len(),
            "partitions": self.partitions().count(),
            "leaderless": self.leaderless(),
            "underReplicated": self.under_replicated(),
            "belowMinIsr": self.below_min_isr.len(),
            "moving": self.moves.len(),
        })
    }

    /// Who has a copy of a partition once nothing moves any more, the first to lead first.
    pub(super) fn replicas_to_be(
        &self,
        at: &TopicPartition,
        partition: &MetadataResponsePartition,
    ) -> Vec<i32> {
        let mut replicas = partition.replica_nodes.clone();
        if let Some(moving) = self.moves.iter().find(|moving| moving.partition == *at) {
            replicas.retain(|broker| !moving.removing.contains(broker));
        }
        replicas
    }

    /// How many partitions a broker leads.
    pub(super) fn leads(&self, broker: i32) -> usize {
        self.partitions().filter(|each| each.leader_id == broker).count()
    }

    /// How many copies a broker has.
    pub(super) fn replicas(&self, broker: i32) -> usize {
        self.partitions().filter(|each| each.replica_nodes.contains(&broker)).count()
    }
}

/// Whom a partition without a leader waits for: the last who had everything, as far as that is told.
fn awaited(_: &str, partition: &MetadataResponsePartition) -> String {
    match partition.isr_nodes.as_slice() {
        [] => format!("copies on {}", listed(&partition.replica_nodes)),
        isr => format!("waits for {}", listed(isr)),
    }
}

fn listed(brokers: &[i32]) -> String {
    brokers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// Those that serve, as clients are told.
fn brokers_of(metadata: &jocko_protocol::rpc::MetadataResponse) -> Vec<Member> {
    let member = |broker: &jocko_protocol::rpc::metadata_response::MetadataResponseBroker| {
        let address = if broker.host.contains(':') {
            format!("[{}]:{}", broker.host, broker.port)
        } else {
            format!("{}:{}", broker.host, broker.port)
        };
        Member {
            id: broker.node_id,
            address,
            rack: broker.rack.clone(),
            is_fenced: false,
            disk: None,
            is_drained: false,
            http_port: None,
        }
    };
    let mut brokers: Vec<Member> = metadata.brokers.iter().map(member).collect();
    brokers.sort_by_key(|broker| broker.id);
    brokers
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use jocko_client::QuorumNode;
    use jocko_types::Uuid;

    /// A cluster of brokers 1 to `brokers`, with one topic that has these partitions: leader,
    /// replicas, in sync.
    pub(in crate::command::cluster) fn picture(
        brokers: i32,
        partitions: &[(i32, &[i32], &[i32])],
    ) -> Picture {
        let member = |id| Member {
            id,
            address: format!("h{id}:9092"),
            rack: None,
            is_fenced: false,
            disk: None,
            is_drained: false,
            http_port: None,
        };
        let partition = |(index, (leader, replicas, isr)): (usize, &(i32, &[i32], &[i32]))| {
            MetadataResponsePartition {
                partition_index: i32::try_from(index).unwrap(),
                leader_id: *leader,
                replica_nodes: replicas.to_vec(),
                isr_nodes: isr.to_vec(),
                ..Default::default()
            }
        };
        let topic = MetadataResponseTopic {
            name: Some("orders".to_owned()),
            partitions: partitions.iter().enumerate().map(partition).collect(),
            ..Default::default()
        };
        Picture {
            cluster_id: "c".to_owned(),
            brokers: (1..=brokers).map(member).collect(),
            tells_of_fenced: true,
            controller: Some(1),
            quorum: None,
            topics: vec![topic],
            below_min_isr: Vec::new(),
            moves: Vec::new(),
            ended: Vec::new(),
        }
    }

    #[test]
    fn every_ill_is_told_and_a_healthy_cluster_has_none() {
        let healthy = picture(3, &[(1, &[1, 2, 3], &[1, 2, 3])]);
        assert_eq!(healthy.ills(3), Vec::<String>::new());
        assert_eq!(healthy.ills(4), ["3 of 4 brokers"]);
        let mut ill = picture(3, &[(-1, &[1, 2], &[]), (2, &[1, 2], &[2]), (3, &[3, 1], &[3])]);
        ill.brokers[0].is_fenced = true;
        ill.brokers[1].disk = Some("disk full: 0 MiB are free".to_owned());
        ill.below_min_isr = vec![("orders".to_owned(), 2)];
        assert_eq!(
            ill.ills(0),
            [
                "not heard of: broker 1 (start it again, with --node-id 1 if its disk is new; if it \
                 does not come back: jocko cluster drain 1, jocko cluster remove 1)",
                "broker 2: disk full: 0 MiB are free (others lead in its place)",
                "1 partition without a leader: nobody can read or write them until the brokers are \
                 back, or jocko partition elect --unclean takes what there is: orders/0 (copies on 1,2)",
                "1 partition with too few copies in sync for acks=all: orders/2 (not on 1)",
                "3 partitions with copies that are not in sync: orders/0 (not on 1,2), \
                 orders/1 (not on 1), orders/2 (not on 1)",
            ]
        );
        assert_eq!((ill.live(), ill.leads(2), ill.replicas(1)), (2, 1, 3));
    }

    #[test]
    fn a_drain_is_told_of_and_is_no_ill() {
        let mut drained = picture(4, &[(1, &[1, 2, 4, 3], &[1, 2, 3])]);
        drained.brokers[2].is_drained = true;
        drained.moves = vec![Move {
            partition: ("orders".to_owned(), 0),
            replicas: vec![1, 2, 4, 3],
            adding: vec![4],
            removing: vec![3],
        }];
        assert_eq!((drained.ills(4), drained.under_replicated()), (Vec::new(), 0));
        assert_eq!(drained.planned(), ["broker 3 is being drained: 1 copy is still there"]);
        drained.ended = std::mem::take(&mut drained.moves);
        assert_eq!(drained.ills(4), Vec::<String>::new(), "it has ended a moment ago");
        // A copy that is missed is an ill, whatever else goes on.
        drained.topics[0].partitions[0].isr_nodes = vec![1, 3];
        assert_eq!(
            drained.ills(4),
            ["1 partition with copies that are not in sync: orders/0 (not on 2)"]
        );
        drained.topics[0].partitions[0].isr_nodes = vec![1, 2, 4];
        drained.topics[0].partitions[0].replica_nodes = vec![1, 2, 4];
        drained.ended.clear();
        assert_eq!(drained.ills(4), Vec::<String>::new());
        assert!(drained.planned()[0].starts_with("broker 3 is drained (stop it"));
        drained.brokers[2].is_fenced = true;
        assert_eq!(drained.ills(4), Vec::<String>::new(), "as planned");
        assert_eq!(
            drained.planned(),
            ["broker 3 is drained and has stopped (jocko cluster remove 3)"]
        );
    }

    #[test]
    fn without_a_quorum_nothing_helps_but_to_bring_brokers_back() {
        let mut ill = picture(3, &[(-1, &[1, 2], &[1]), (2, &[1, 2], &[1, 2])]);
        ill.brokers[0].is_fenced = true;
        ill.controller = None;
        let voter =
            |id| QuorumNode { id, directory: Uuid::ZERO, log_end: None, caught_up_at: None };
        let voters = (1..=3).map(voter).collect();
        ill.quorum = Some(Quorum {
            leader: None,
            term: 1,
            high_watermark: 1,
            voters,
            observers: Vec::new(),
        });
        assert_eq!(
            ill.ills(0)[..3],
            [
                "not heard of: broker 1 (start it again)",
                "nobody is known to lead the metadata, and nothing can be changed: most voters are \
                 gone, or the broker that was asked is cut off from them (start again whoever is \
                 down of brokers 1, 2, 3: most have to be there)",
                "1 partition without a leader: nobody can read or write them until the brokers are \
                 back: orders/0 (waits for 1)",
            ]
        );
    }

    #[test]
    fn who_is_waited_for_is_named_and_the_users_topics_come_first() {
        let mut ill = picture(3, &[(-1, &[2, 3], &[3]), (1, &[1, 2], &[1])]);
        let internal = MetadataResponseTopic {
            name: Some("__consumer_offsets".to_owned()),
            is_internal: true,
            ..ill.topics[0].clone()
        };
        ill.topics.insert(0, internal);
        let found = ill.ills(3);
        let ends = [
            ": orders/0 (waits for 3), __consumer_offsets/0 (waits for 3)",
            ": orders/0 (not on 2), orders/1 (not on 2), __consumer_offsets/0 (not on 2), \
             __consumer_offsets/1 (not on 2)",
        ];
        for end in ends {
            assert!(found.iter().any(|ill| ill.ends_with(end)), "{found:?}");
        }
    }

    #[test]
    fn a_few_of_many_partitions_are_named_and_the_rest_is_counted() {
        let many: Vec<(i32, &[i32], &[i32])> = vec![(1, &[1, 2], &[1]); 9];
        let mut ill = picture(2, &many);
        ill.below_min_isr = (0..7).map(|index| ("orders".to_owned(), index)).collect();
        let found = ill.ills(2);
        assert!(found[0].starts_with("7 partitions with too few copies"), "{found:?}");
        assert!(found[0].ends_with("orders/4 (not on 2), and 2 more"), "{found:?}");
        assert!(found[1].ends_with("orders/4 (not on 2), and 4 more"), "{found:?}");
    }

    #[test]
    fn a_voter_whose_disk_is_gone_is_an_ill_until_another_has_its_place() {
        let voter = |id| QuorumNode {
            id,
            directory: Uuid::from_bytes([1; 16]),
            log_end: Some(7),
            caught_up_at: None,
        };
        let mut cluster = picture(3, &[(1, &[1, 2, 3], &[1, 2, 3])]);
        let quorum = |voters: &[i32]| Quorum {
            leader: Some(1),
            term: 2,
            high_watermark: 7,
            voters: voters.iter().map(|id| voter(*id)).collect(),
            observers: vec![voter(3)],
        };
        cluster.quorum = Some(quorum(&[1, 2, -1]));
        assert_eq!(cluster.ills(3), ["1 voter has no broker any more (jocko cluster quorum)"]);
        cluster.quorum = Some(quorum(&[1, 2, 3]));
        assert_eq!(cluster.ills(3), Vec::<String>::new());
    }
}
