//! `jocko cluster health`: one verdict, and why.

use super::http_address;
use super::picture::Picture;
use crate::command::{client, http, timeout};
use crate::failure::{Failure, Result};
use crate::output::{reader_has_gone, say, wants_json};
use clap::ArgMatches;
use serde_json::json;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a cluster that is not healthy yet is asked again.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a look whether a broker listens may take.
const CONNECT_MAX: Duration = Duration::from_millis(500);

pub(super) async fn health(matches: &ArgMatches) -> Result<()> {
    let deadline = Instant::now() + timeout(matches)?;
    loop {
        let (is_healthy, outcome) = look(matches).await;
        let gives_up = !matches.get_flag("wait") || Instant::now() + ASK_EVERY > deadline;
        if is_healthy || gives_up || reader_has_gone() {
            return outcome.and_then(|verdict| verdict.tell(matches));
        }
        sleep(ASK_EVERY).await;
    }
}

async fn look(matches: &ArgMatches) -> (bool, Result<Verdict>) {
    let verdict = if matches.get_flag("this-broker") {
        this_broker(matches).await
    } else {
        all(matches).await
    };
    (verdict.as_ref().is_ok_and(|verdict| verdict.ills.is_empty()), verdict)
}

/// How things stand.
struct Verdict {
    /// The line for people.
    line: String,
    /// The same for programs.
    json: serde_json::Value,
    ills: Vec<String>,
    /// What goes on beside, and is no ill.
    planned: Vec<String>,
}

impl Verdict {
    fn tell(self, matches: &ArgMatches) -> Result<()> {
        let Self { line, mut json, ills, planned } = self;
        if wants_json(matches) {
            json["healthy"] = ills.is_empty().into();
            json["reasons"] = ills.clone().into();
            json["planned"] = planned.into();
            crate::output::json(&json)?;
        } else {
            let healthy = if ills.is_empty() { "yes" } else { "no" };
            say(format_args!("healthy: {healthy}   {line}"))?;
            for ill in ills.iter().chain(&planned) {
                say(format_args!("  {ill}"))?;
            }
        }
        if ills.is_empty() { Ok(()) } else { Err(Failure::unmet()) }
    }
}

async fn all(matches: &ArgMatches) -> Result<Verdict> {
    let picture = Picture::take(&mut client(matches)?).await?;
    let expected = matches.get_one::<u32>("expected-brokers").copied().unwrap_or(0);
    let mut ills = picture.ills(usize::try_from(expected).unwrap_or(usize::MAX));
    if ills.is_empty() {
        ills = not_listening(&picture).await;
    }
    let controller = picture.controller.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let term = picture.quorum.as_ref().map(|quorum| format!(" (term {})", quorum.term));
    // Who cannot ask the controller knows who was there before.
    let live = picture.controller.map_or_else(|| "?".to_owned(), |_| picture.live().to_string());
    let line = format!(
        "brokers {live}/{}   controller {controller}{}   leaderless {}   under-replicated {}   below-min-isr {}   moving {}",
        picture.brokers.len().max(usize::try_from(expected).unwrap_or(usize::MAX)),
        term.unwrap_or_default(),
        picture.leaderless(),
        picture.under_replicated(),
        picture.below_min_isr.len(),
        picture.moves.len(),
    );
    Ok(Verdict { line, json: picture.json(), ills, planned: picture.planned() })
}

/// Brokers that the cluster counts on although nobody listens where they serve clients: they have just
/// ended, and are missed in a moment. One that cannot be reached from here for another reason, or does
/// not answer at once, may be well.
async fn not_listening(picture: &Picture) -> Vec<String> {
    let live = picture.brokers.iter().filter(|broker| !broker.is_fenced);
    let looks = live.map(|broker| async move {
        let connecting = tokio::net::TcpStream::connect(&broker.address);
        let outcome = tokio::time::timeout(CONNECT_MAX, connecting).await.ok()?;
        let error = outcome.err().filter(|it| it.kind() == ErrorKind::ConnectionRefused)?;
        Some(format!("broker {} at {}: {error}", broker.id, broker.address))
    });
    futures_util::future::join_all(looks).await.into_iter().flatten().collect()
}

/// What the broker says of itself: a balancer in front of it asks the same.
async fn this_broker(matches: &ArgMatches) -> Result<Verdict> {
    let address = http_address(matches).await?;
    let answer = http::ask("GET", &address, "/readyz", timeout(matches)?).await?;
    let mut line = format!("broker at {address}");
    let ills: Vec<String> = match answer.status {
        // It serves, whatever else it has to tell.
        200 => {
            answer.body.lines().skip(1).for_each(|note| line.extend(["   ", note]));
            Vec::new()
        }
        503 => answer.body.lines().map(str::to_owned).collect(),
        status => {
            return Err(Failure::new(format!("{address} answers {status} to /readyz"))
                .cure("is it a jocko broker's HTTP port?"));
        }
    };
    Ok(Verdict { line, json: json!({ "http": address }), ills, planned: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::picture;
    use super::*;

    #[tokio::test]
    async fn who_has_just_ended_is_told_of_before_the_cluster_knows() {
        let mut cluster = picture(3, &[]);
        let listens = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ended = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        cluster.brokers[0].address = listens.local_addr().unwrap().to_string();
        cluster.brokers[1].address = ended.local_addr().unwrap().to_string();
        // A name that leads nowhere from here says nothing of the broker.
        cluster.brokers[2].address = "nowhere.invalid:9092".to_owned();
        drop(ended);
        let told = not_listening(&cluster).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(&format!("broker 2 at {}", cluster.brokers[1].address)));
        cluster.brokers[1].is_fenced = true;
        assert_eq!(not_listening(&cluster).await, Vec::<String>::new());
    }
}
