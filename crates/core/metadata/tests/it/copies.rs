//! Damaged copies in plays.

use crate::play::{broker_id, epoch, line, partition};
use crate::stage::Stage;
use jocko_metadata::{Answer, Command};
use jocko_types::{LeaderEpoch, TopicIdPartition};

pub(crate) fn give_up(stage: &Stage, words: &[&str]) -> Command {
    let named = words.iter().skip(1).filter(|word| !word.contains('='));
    let copy = |word: &&str| {
        let (topic, partition) = partition(word);
        let topic_id = stage.image.topic(&topic).map(|topic| topic.id).unwrap_or_default();
        TopicIdPartition { topic_id, partition }
    };
    Command::GiveUpCopies {
        broker_id: broker_id(words[0]),
        broker_epoch: epoch(stage, words),
        copies: named.map(copy).collect(),
    }
}

pub(crate) fn given_up(answer: &Answer<Vec<Answer<LeaderEpoch>>>) -> String {
    match answer {
        Ok(copies) => copies
            .iter()
            .map(|answer| line("copy", answer, |epoch| format!("given up from epoch {epoch} on")))
            .collect(),
        Err(refusal) => format!("copy: {} {}\n", refusal.code, refusal.message),
    }
}
