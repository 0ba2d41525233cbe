//! What one broker knows beside the protocol: whom it hears of by gossip, and who leads Raft.

use super::{http_address, node};
use crate::command::{http, timeout};
use crate::failure::{Failure, Result};
use crate::output::{json, say, table, wants_json};
use crate::records_format::time;
use clap::ArgMatches;
use jocko_types::Timestamp;
use serde_json::{Value, json};

pub(super) async fn members(matches: &ArgMatches) -> Result<()> {
    let members = get(matches, "/cluster/members").await?;
    if wants_json(matches) {
        return json(&members);
    }
    let rows: Vec<Vec<String>> = list(&members)
        .iter()
        .map(|member| {
            let fields = ["broker", "state", "cluster", "kafka", "rack", "release", "disk"];
            let mut row = fields.map(|field| cell(&member[field])).to_vec();
            if member["drained"] == true {
                row[1].push_str(", drained");
            }
            row
        })
        .collect();
    if !rows.is_empty() {
        table(&[">BROKER", "STATE", "CLUSTER", "KAFKA", "RACK", "RELEASE", "DISK"], &rows)?;
    }
    // One that is part of a cluster counts itself at least.
    let is_in = |member: &Value| member["state"] != "seen";
    if list(&members).iter().any(is_in) { Ok(()) } else { say_what_is_waited_for(matches).await }
}

/// Why a broker has little to tell.
async fn say_what_is_waited_for(matches: &ArgMatches) -> Result<()> {
    let address = http_address(matches).await?;
    let answer = http::ask("GET", &address, "/readyz", timeout(matches)?).await?;
    say(format_args!(
        "the broker at {address} is not part of a cluster yet: {}",
        answer.body.trim()
    ))
}

pub(super) async fn events(matches: &ArgMatches) -> Result<()> {
    let events = get(matches, "/cluster/events").await?;
    if wants_json(matches) {
        return json(&events);
    }
    if list(&events).is_empty() {
        let address = http_address(matches).await?;
        let answer = http::ask("GET", &address, "/readyz", timeout(matches)?).await?;
        return match answer.status {
            200 => say("nothing yet"),
            _ => say(format_args!("nothing yet: {}", answer.body.trim())),
        };
    }
    let rows: Vec<Vec<String>> = list(&events)
        .iter()
        .map(|event| {
            let at = event["time"].as_i64().map(Timestamp::from_millis);
            let mut row = vec![at.map_or_else(|| "-".to_owned(), time)];
            row.extend(["event", "broker", "cluster", "detail"].map(|field| cell(&event[field])));
            row
        })
        .collect();
    table(&["TIME", "EVENT", ">BROKER", "CLUSTER", "DETAIL"], &rows)
}

pub(super) async fn transfer_leader(matches: &ArgMatches) -> Result<()> {
    let to = matches.contains_id("node").then(|| node(matches));
    let query = to.map(|id| format!("?to={id}")).unwrap_or_default();
    let dry = if matches.get_flag("dry-run") {
        if query.is_empty() { "?dry-run" } else { "&dry-run" }
    } else {
        ""
    };
    let path = format!("/cluster/transfer-leader{query}{dry}");
    let answer = ask(matches, "POST", &path).await?;
    if wants_json(matches) {
        return json(&answer);
    }
    let verb = if dry.is_empty() { "leads now" } else { "would lead" };
    say(format_args!("broker {} {verb}", cell(&answer["leader"])))
}

async fn get(matches: &ArgMatches, path: &str) -> Result<Value> {
    ask(matches, "GET", path).await
}

async fn ask(matches: &ArgMatches, method: &str, path: &str) -> Result<Value> {
    let address = http_address(matches).await?;
    let answer = http::ask(method, &address, path, timeout(matches)?).await?;
    let unreadable =
        || Failure::new(format!("{address} answers in words this command cannot read"));
    match answer.status {
        200 => serde_json::from_str(&answer.body).map_err(|_| unreadable()),
        404 | 405 => Err(Failure::new(format!("{address} has no answer to this"))
            .cure("a jocko broker's HTTP port, on the machine it runs on: --http localhost:9095")),
        _ => Err(Failure::new(answer.body.trim().to_owned())),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => json!(other).to_string(),
    }
}
