//! `jocko cluster drain`: everything off a broker, by Kafka's own means: it is cordoned (KIP-1066), so
//! that it gets nothing new, and every partition it has a copy of is reassigned; or, with
//! `--leaders-only`, its name is put last and others are elected.
//!
//! Where every other live broker has a copy already, there is no place for one more. Nobody's
//! records get fewer copies unasked: such a partition is led by another from then on, and keeps its
//! copy here until there is another broker, or `--fewer-copies` gives it up.

use super::node;
use super::picture::Picture;
use crate::command::partition::{Moves, told, wait_for_moves};
use crate::command::{client, timeout};
use crate::failure::{Failure, Result};
use crate::output::{harmless, json, say, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, Member, Resource, TopicPartition};
use jocko_config::kafka::CORDONED;
use serde_json::json;
use std::collections::BTreeMap;
use tokio::time::Instant;

pub(super) async fn drain(matches: &ArgMatches) -> Result<()> {
    let id = node(matches);
    let deadline = Instant::now() + timeout(matches)?;
    let is_dry = matches.get_flag("dry-run");
    let mut client = client(matches)?;
    let mut picture = Picture::take(&mut client).await?;
    let Some(drained) = picture.brokers.iter().find(|broker| broker.id == id) else {
        return Err(jocko_client::ClientError::NoSuchBroker(id).into());
    };
    if matches.get_flag("undo") {
        let is_drained = drained.is_drained;
        return undo(&mut client, matches, (id, is_drained)).await;
    }
    if matches.get_flag("leaders-only") {
        let kept = last_in_line(&picture, id, |_| true);
        let plan = Plan { moves: Moves::new(), kept };
        if !is_dry {
            carry_out(&mut client, &picture, (id, &plan)).await?;
        }
        let plan = Plan { moves: plan.kept, kept: Moves::new() };
        return tell(matches, id, &plan, false);
    }
    let mut plan = away(&picture, id, matches.get_flag("fewer-copies"))?;
    refuse_if_nobody_stays(&picture, id)?;
    let mut is_cordoned = false;
    if !is_dry {
        is_cordoned = cordon(&mut client, id).await;
        // What was placed here before that goes, too.
        picture = Picture::take(&mut client).await?;
        plan = away(&picture, id, matches.get_flag("fewer-copies"))?;
        carry_out(&mut client, &picture, (id, &plan)).await?;
    }
    if matches.get_flag("wait") && !is_dry {
        // And what others place here by hand meanwhile, or as they drain another.
        let mut later = plan.moves.clone();
        while !later.is_empty() {
            wait(&mut client, &later, deadline).await?;
            picture = Picture::take(&mut client).await?;
            let more = away(&picture, id, matches.get_flag("fewer-copies"))?;
            carry_out(&mut client, &picture, (id, &more)).await?;
            plan.moves.extend(more.moves.iter().cloned());
            (later, plan.kept) = (more.moves, more.kept);
        }
    }
    tell(matches, id, &plan, is_cordoned)?;
    match plan.kept.len() {
        0 => Ok(()),
        count => Err(Failure::unmet_because(format!(
            "{count} partitions keep a copy on broker {id}, and others lead them: every other live \
             broker has a copy already"
        ))
        .cure(format!(
            "start another broker and drain again, or give these copies up: \
             jocko cluster drain {id} --fewer-copies"
        ))),
    }
}

/// What is to happen.
struct Plan {
    /// Copies that go.
    moves: Moves,
    /// Copies that stay; others are to lead.
    kept: Moves,
}

/// Somebody has to get what is new.
fn refuse_if_nobody_stays(picture: &Picture, id: i32) -> Result<()> {
    let stays = |broker: &Member| broker.id != id && !broker.is_fenced && !broker.is_drained;
    if picture.brokers.iter().any(stays) {
        return Ok(());
    }
    Err(Failure::new(format!("no broker would be left to get what is new, without broker {id}"))
        .cure("start another broker first, or let one stay: jocko cluster drain NODE --undo"))
}

/// Keeps what is new off a broker; whether that is so. A cluster that cannot is drained all the same.
async fn cordon(client: &mut Client, id: i32) -> bool {
    let set = [(CORDONED.to_owned(), "*".to_owned())];
    let altered = client.alter_configs(&Resource::Broker(id), &set, &[], false).await;
    if let Err(error) = &altered {
        let error = error.to_string();
        eprintln!("what is new may still be placed on broker {id}: {}", harmless(&error));
    }
    altered.is_ok()
}

async fn undo(
    client: &mut Client,
    matches: &ArgMatches,
    (id, is_drained): (i32, bool),
) -> Result<()> {
    let is_dry = matches.get_flag("dry-run");
    if is_drained && !is_dry {
        client.alter_configs(&Resource::Broker(id), &[], &[CORDONED.to_owned()], false).await?;
    }
    if wants_json(matches) {
        return json(&json!({ "broker": id, "undone": is_drained && !is_dry }));
    }
    match (is_drained, is_dry) {
        (false, _) => say(format_args!("broker {id} is not drained")),
        (true, true) => say(format_args!("broker {id} would stay, and get what is new again")),
        (true, false) => say(format_args!(
            "broker {id} stays, and gets what is new again; what was moved stays where it is \
             (jocko partition move takes it back)"
        )),
    }
}

async fn carry_out(client: &mut Client, picture: &Picture, (id, plan): (i32, &Plan)) -> Result<()> {
    let Plan { moves, kept } = plan;
    let all: Moves = moves.iter().chain(kept).cloned().collect();
    if all.is_empty() {
        return Ok(());
    }
    told(client.reassign(&all).await?)?;
    elect(client, picture, (id, kept)).await
}

/// Waits until these have moved. Where they do not, it is said what they wait for, if that is known.
async fn wait(client: &mut Client, moves: &Moves, deadline: Instant) -> Result<()> {
    let partitions: Vec<TopicPartition> = moves.iter().map(|(at, _)| at.clone()).collect();
    let patience = deadline.saturating_duration_since(Instant::now());
    let Err(failure) = wait_for_moves(client, Some(&partitions), patience).await else {
        return Ok(());
    };
    let picture = Picture::take(client).await?;
    let stuck = picture.leaderless_of(&partitions);
    if stuck.is_empty() {
        return Err(failure);
    }
    Err(failure.and(&format!("nobody can copy what has no leader{stuck}")).cure(
        "start those brokers again; if their disks are lost: jocko partition elect --unclean",
    ))
}

/// Has others lead what `id` leads of these. A partition that nobody else can lead keeps its
/// leader.
async fn elect(client: &mut Client, picture: &Picture, (id, kept): (i32, &Moves)) -> Result<()> {
    let led: Vec<TopicPartition> = kept_by(picture, id)
        .filter(|it| it.partition.leader_id == id)
        .map(|it| it.at)
        .filter(|led| kept.iter().any(|(at, _)| at == led))
        .collect();
    if led.is_empty() {
        return Ok(());
    }
    told(client.elect_leaders(false, Some(&led)).await?)
}

fn tell(
    matches: &ArgMatches,
    id: i32,
    Plan { moves, kept }: &Plan,
    is_cordoned: bool,
) -> Result<()> {
    let is_dry = matches.get_flag("dry-run");
    let (and_nothing_new, which_gets) =
        if is_cordoned { (", and gets nothing new", ", which gets nothing new") } else { ("", "") };
    let leaders_only = matches.get_flag("leaders-only");
    if wants_json(matches) {
        let listed = |moves: &Moves| {
            let one = |((topic, partition), to): &(TopicPartition, Option<Vec<i32>>)| json!({ "topic": topic, "partition": partition, "to": to });
            moves.iter().map(one).collect::<Vec<_>>()
        };
        return json(&json!({
            "broker": id,
            "started": !is_dry,
            "drained": is_cordoned,
            "moves": listed(moves),
            "kept": listed(kept),
        }));
    }
    for ((topic, partition), _) in kept {
        let verb = if is_dry { "would keep" } else { "keeps" };
        say(format_args!("{topic}/{partition} {verb} its copy on broker {id}, and another leads"))?;
    }
    for ((topic, partition), to) in moves.iter().filter(|_| is_dry) {
        let what = if leaders_only { "would be led in the order" } else { "would go to" };
        say(format_args!("{topic}/{partition} {what} {}", shown(to.as_deref())))?;
    }
    match (moves.len(), is_dry) {
        (0, _) if kept.is_empty() && leaders_only => {
            say(format_args!("broker {id} has nothing to move"))
        }
        (0, true) if kept.is_empty() => {
            say(format_args!("broker {id} has nothing to move, and would get nothing new"))
        }
        (0, false) if kept.is_empty() => {
            say(format_args!("broker {id} has nothing to move{and_nothing_new}"))?;
            say_what_is_next(id)
        }
        (0, _) => Ok(()),
        (count, true) if leaders_only => {
            say(format_args!("broker {id} would be last in line for {count} partitions"))
        }
        (count, true) => say(format_args!("{count} partitions would move off broker {id}")),
        (count, false) if leaders_only => {
            say(format_args!("broker {id} is last in line for {count} partitions"))
        }
        (count, false) if matches.get_flag("wait") => {
            say(format_args!("{count} partitions moved off broker {id}{which_gets}"))?;
            if kept.is_empty() { say_what_is_next(id) } else { Ok(()) }
        }
        (count, false) => say(format_args!(
            "{count} partitions are moving off broker {id}{which_gets}; \
             jocko partition move-status tells how far"
        )),
    }
}

fn say_what_is_next(id: i32) -> Result<()> {
    say(format_args!(
        "it may be stopped, then: jocko cluster remove {id}   (if it stays after all: jocko cluster \
         drain {id} --undo)"
    ))
}

fn shown(brokers: Option<&[i32]>) -> String {
    let brokers: Vec<String> = brokers.unwrap_or_default().iter().map(i32::to_string).collect();
    brokers.join(",")
}

type Partition = jocko_protocol::rpc::metadata_response::MetadataResponsePartition;

/// What a broker is to have a copy of: who has one as long as copies move and will have none then does
/// not count.
struct Kept<'a> {
    at: TopicPartition,
    partition: &'a Partition,
    /// Who is to have one.
    replicas: Vec<i32>,
}

fn kept_by(picture: &Picture, id: i32) -> impl Iterator<Item = Kept<'_>> {
    let all = picture.topics.iter().flat_map(move |topic| {
        let name = topic.name.clone().unwrap_or_default();
        topic.partitions.iter().map(move |partition| {
            let at = (name.clone(), partition.partition_index);
            let replicas = picture.replicas_to_be(&at, partition);
            Kept { at, partition, replicas }
        })
    });
    all.filter(move |kept| kept.replicas.contains(&id))
}

impl Kept<'_> {
    /// Who else is to have a copy.
    fn others(&self, id: i32) -> impl Iterator<Item = i32> {
        self.replicas.iter().copied().filter(move |replica| *replica != id)
    }
}

/// The same copies of the partitions that are `meant`, with `id` as the last to lead.
fn last_in_line(picture: &Picture, id: i32, meant: impl Fn(&TopicPartition) -> bool) -> Moves {
    let has_others = |kept: &Kept<'_>| {
        meant(&kept.at) && kept.replicas.len() > 1 && kept.replicas.last() != Some(&id)
    };
    kept_by(picture, id)
        .filter(has_others)
        .map(|kept| {
            let replicas = kept.others(id).chain([id]).collect();
            (kept.at, Some(replicas))
        })
        .collect()
}

/// Each copy on `id` goes to a live broker that has none of the partition: to another rack than
/// those of the other copies if there is one, there to one that is not being emptied itself, and of
/// those to the broker with the fewest copies. Where nobody has room, the copy is given up (`fewer_copies`), or kept and led by another.
fn away(picture: &Picture, id: i32, fewer_copies: bool) -> Result<Plan> {
    let mut copies: BTreeMap<i32, usize> = picture
        .brokers
        .iter()
        .filter(|broker| !broker.is_fenced && !broker.is_drained && broker.id != id)
        .map(|broker| (broker.id, picture.replicas(broker.id)))
        .collect();
    let rack_of = |id: i32| {
        let broker = picture.brokers.iter().find(|broker| broker.id == id);
        broker.and_then(|broker| broker.rack.as_deref())
    };
    let is_live = |broker: i32| picture.brokers.iter().any(|it| it.id == broker && !it.is_fenced);
    let is_emptied = |id: i32| picture.moves.iter().any(|moving| moving.removing.contains(&id));
    let (mut moves, mut kept) = (Moves::new(), Moves::new());
    for it in kept_by(picture, id) {
        let is_used = |rack: Option<&str>| {
            rack.is_some() && it.others(id).any(|other| rack_of(other) == rack)
        };
        let free = copies.iter().filter(|(broker, _)| !it.replicas.contains(broker));
        let best = free.min_by_key(|(broker, count)| {
            (is_used(rack_of(**broker)), is_emptied(**broker), **count)
        });
        let Some(best) = best.map(|(broker, _)| *broker) else {
            if !it.others(id).any(is_live) {
                let (topic, partition) = &it.at;
                return Err(Failure::new(format!(
                    "{topic}/{partition} is on {}, and there is no other live broker",
                    shown(Some(&it.replicas))
                ))
                .cure("start another broker first"));
            }
            let others: Vec<i32> = it.others(id).collect();
            if fewer_copies {
                moves.push((it.at, Some(others)));
            } else {
                kept.push((it.at, Some(others.into_iter().chain([id]).collect())));
            }
            continue;
        };
        *copies.entry(best).or_default() += 1;
        let to = it.replicas.iter().map(|replica| if *replica == id { best } else { *replica });
        let to = to.collect();
        moves.push((it.at, Some(to)));
    }
    Ok(Plan { moves, kept })
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::picture;
    use super::*;
    use jocko_client::Move;

    fn targets(moves: &Moves) -> Vec<(i32, Vec<i32>)> {
        moves.iter().map(|((_, at), to)| (*at, to.clone().unwrap())).collect()
    }

    #[test]
    fn copies_go_to_whoever_has_fewest() {
        let cluster = picture(4, &[(1, &[1, 2], &[1, 2]), (2, &[2, 1], &[1, 2]), (3, &[3], &[3])]);
        let plan = away(&cluster, 1, false).unwrap();
        assert!(plan.kept.is_empty());
        assert_eq!(targets(&plan.moves), [(0, vec![4, 2]), (1, vec![2, 3])]);
    }

    #[test]
    fn another_rack_goes_before_fewer_copies() {
        let mut cluster = picture(4, &[(1, &[1, 2], &[1, 2]), (3, &[3], &[3])]);
        for (broker, rack) in cluster.brokers.iter_mut().zip(["a", "b", "c", "b"]) {
            broker.rack = Some(rack.to_owned());
        }
        assert_eq!(targets(&away(&cluster, 1, false).unwrap().moves), [(0, vec![3, 2])]);
    }

    #[test]
    fn a_copy_without_a_place_is_kept_and_led_by_another_unless_it_is_given_up() {
        let mut cluster = picture(3, &[(1, &[1, 2], &[1, 2]), (2, &[2], &[2])]);
        cluster.brokers[2].is_fenced = true;
        let plan = away(&cluster, 1, false).unwrap();
        assert!(plan.moves.is_empty(), "dead brokers are no place");
        assert_eq!(targets(&plan.kept), [(0, vec![2, 1])]);
        let plan = away(&cluster, 1, true).unwrap();
        assert!(plan.kept.is_empty());
        assert_eq!(targets(&plan.moves), [(0, vec![2])]);
    }

    #[test]
    fn what_is_drained_itself_is_no_place_and_somebody_stays() {
        let mut cluster = picture(3, &[(1, &[1], &[1])]);
        assert!(refuse_if_nobody_stays(&cluster, 1).is_ok());
        cluster.brokers[1].is_drained = true;
        assert_eq!(targets(&away(&cluster, 1, false).unwrap().moves), [(0, vec![3])]);
        assert!(refuse_if_nobody_stays(&cluster, 1).is_ok());
        cluster.brokers[2].is_fenced = true;
        assert!(refuse_if_nobody_stays(&cluster, 1).is_err());
    }

    #[test]
    fn the_only_live_copy_is_not_given_up() {
        let mut cluster = picture(2, &[(1, &[1, 2], &[1])]);
        cluster.brokers[1].is_fenced = true;
        for fewer_copies in [false, true] {
            let refused = away(&cluster, 1, fewer_copies).err().unwrap().to_string();
            assert!(refused.contains("orders/0") && refused.contains("on 1,2"), "{refused}");
        }
    }

    #[test]
    fn who_shall_not_lead_becomes_the_last() {
        let cluster = picture(3, &[(1, &[1, 2, 3], &[1]), (2, &[2, 1], &[2]), (1, &[1], &[1])]);
        assert_eq!(targets(&last_in_line(&cluster, 1, |_| true)), [(0, vec![2, 3, 1])]);
    }

    #[test]
    fn what_is_on_its_way_is_moved_from_where_it_will_be() {
        // From 1,2,3 to 5,1,2; 5 does not answer.
        let mut moving = picture(5, &[(1, &[5, 1, 2, 3], &[1, 2, 3])]);
        moving.moves = vec![Move {
            partition: ("orders".to_owned(), 0),
            replicas: vec![5, 1, 2, 3],
            adding: vec![5],
            removing: vec![3],
        }];
        let plan = away(&moving, 3, false).unwrap();
        assert_eq!((targets(&plan.moves), plan.kept), (vec![], Moves::new()), "it goes already");
        assert_eq!(targets(&away(&moving, 2, false).unwrap().moves), [(0, vec![5, 1, 4])]);
        assert_eq!(targets(&last_in_line(&moving, 1, |_| true)), [(0, vec![5, 2, 1])]);
    }

    #[test]
    fn who_is_being_emptied_gets_nothing_if_there_is_another() {
        let mut two = picture(4, &[(1, &[1], &[1]), (2, &[2, 4], &[2]), (4, &[4], &[4])]);
        two.moves = vec![Move {
            partition: ("orders".to_owned(), 1),
            replicas: vec![2, 4, 3],
            adding: vec![3],
            removing: vec![2],
        }];
        assert_eq!(targets(&away(&two, 1, false).unwrap().moves), [(0, vec![3])]);
    }
}
