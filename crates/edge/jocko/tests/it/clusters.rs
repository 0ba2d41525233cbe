//! What `jocko cluster` and `jocko partition` say of a broker that is alone.

use crate::harness::{Broker, command, jocko, run};
use serde_json::json;

#[test]
fn a_lone_broker_is_healthy_until_more_are_expected() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "-p", "3"]);
    let healthy = broker.json(&["cluster", "health"]);
    assert_eq!(healthy["healthy"], true);
    assert_eq!(healthy["reasons"], json!([]));
    assert_eq!(healthy["brokers"][0]["leads"], 3);
    let lonely = broker.run(&["cluster", "health", "--expect", "3"]);
    lonely.noted(3, &[]);
    assert!(lonely.out.contains("healthy: no") && lonely.out.contains("1 of 3"), "{lonely:#?}");
    let waited = broker.run(&[
        "cluster",
        "health",
        "--expect",
        "2",
        "--wait",
        "--timeout",
        "300ms",
        "-o",
        "json",
    ]);
    waited.noted(3, &[]);
    let told: serde_json::Value = serde_json::from_str(&waited.out).unwrap();
    assert_eq!(told["healthy"], false);
    assert_eq!(told["reasons"], json!(["1 of 2 brokers"]));
}

#[test]
fn a_broker_is_asked_over_http_whether_it_serves() {
    let broker = Broker::start();
    let http = broker.process.http_address().to_string();
    let health = |http: &str| jocko(&["cluster", "health", "--this-broker", "--http", http]);
    assert!(health(&http).ok().starts_with("healthy: yes"));
    // The broker that is named says itself where that is.
    let named = broker.ok(&["cluster", "health", "--this-broker"]);
    let port = broker.process.http_address().port();
    assert!(named.contains(&format!(":{port}")), "{named}");
    // The port for clients does not speak HTTP.
    let kafka = broker.bootstrap();
    let mut wrong = command(&["cluster", "health", "--this-broker", "--http", &kafka]);
    wrong.args(["--timeout", "3s"]);
    assert_ne!(run(wrong, b"").code, 0);
    broker.process.stop().unwrap();
    health(&http).fails(5, &[&http]);
}

#[test]
fn a_lone_broker_tells_of_itself_and_hands_over_to_nobody() {
    let broker = Broker::start();
    let http = broker.process.http_address().to_string();
    let ask = |arguments: &[&str]| jocko(&[arguments, &["--http", http.as_str()]].concat());
    let told = ask(&["cluster", "members", "-o", "json"]).ok();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 1);
    let own = &told[0];
    assert_eq!((&own["broker"], &own["state"]), (&json!(1), &json!("live")));
    assert_eq!((&own["kafka"], &own["rack"]), (&json!(broker.bootstrap()), &json!(null)));
    assert!(ask(&["cluster", "members"]).ok().contains(&broker.bootstrap()));
    assert_eq!(ask(&["cluster", "events"]).ok(), "nothing yet\n");
    assert_eq!(ask(&["cluster", "events", "-o", "json"]).ok(), "[]\n");
    for more in [&[][..], &["--dry-run"]] {
        let asked = ask(&[&["cluster", "transfer-leader"], more].concat());
        asked.fails(1, &["nobody to hand over to"]);
    }
    assert_eq!(ask(&["cluster", "transfer-leader", "1"]).ok(), "broker 1 leads now\n");
    ask(&["cluster", "transfer-leader", "7"]).fails(1, &["broker 7"]);
}

#[test]
fn the_quorum_of_one_leads_itself() {
    let broker = Broker::start();
    let quorum = broker.json(&["cluster", "quorum"]);
    assert_eq!(quorum["leader"], 1);
    assert_eq!(quorum["voters"][0]["id"], 1);
    assert_eq!(quorum["voters"][0]["lag"], 0);
    assert_eq!(quorum["observers"], json!([]));
    let status = broker.json(&["cluster", "status"]);
    assert_eq!((&status["controller"], &status["brokers"][0]["voter"]), (&json!(1), &json!(true)));
}

#[test]
fn partitions_are_listed_and_chosen() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "b", "-p", "2"]);
    broker.ok(&["topic", "create", "a"]);
    let listed = broker.json(&["partition", "list"]);
    let named: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{}/{}", it["topic"].as_str().unwrap(), it["partition"]))
        .collect();
    assert_eq!(named, ["a/0", "b/0", "b/1"]);
    assert_eq!(listed[0]["inSync"], json!([1]));
    for flag in ["--leaderless", "--under-replicated"] {
        assert_eq!(broker.json(&["partition", "list", flag]), json!([]));
    }
    assert_eq!(
        broker.json(&["partition", "list", "b", "--broker", "1"]).as_array().unwrap().len(),
        2
    );
    broker.run(&["partition", "list", "none"]).fails(1, &["no topic \"none\""]);
}

#[test]
fn elections_change_nothing_where_nobody_else_can_lead() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "-p", "2"]);
    assert!(broker.ok(&["partition", "elect"]).contains("no election is needed"));
    let tried = broker.json(&["partition", "elect", "t", "--unclean", "--dry-run"]);
    assert_eq!(tried, json!({ "elected": false, "partitions": [] }));
    broker.run(&["partition", "elect", "t", "-p", "7"]).fails(1, &["no partition 7"]);
    broker.run(&["partition", "elect", "--unclean"]).fails(2, &["TOPIC"]);
}

#[test]
fn a_broker_that_is_needed_is_not_taken_away() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t"]);
    broker.run(&["cluster", "drain", "1"]).fails(1, &["t/0 is on 1", "start another broker"]);
    broker.run(&["cluster", "drain", "4"]).fails(1, &["no broker 4"]);
    broker
        .run(&["cluster", "remove", "1", "--yes"])
        .fails(1, &["copies of 1 partition", "drain 1"]);
    broker.run(&["cluster", "remove", "4", "--yes"]).fails(1, &["no broker 4"]);
    broker.ok(&["topic", "delete", "t", "--yes"]);
    broker.run(&["cluster", "remove", "1", "--yes"]).fails(1, &["is running", "stop it"]);
    broker.run(&["cluster", "drain", "1"]).fails(1, &["no broker would be left", "another broker"]);
    assert!(broker.ok(&["cluster", "drain", "1", "--undo"]).contains("is not drained"));
}
