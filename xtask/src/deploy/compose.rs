//! `deploy/docker-compose.yml`: three brokers that can find each other.

use super::{Faults, PORTS, SOME_SECRET, check_variables, items, text};
use serde_json::Value;
use std::collections::BTreeSet;

const FILE: &str = "docker-compose.yml";

pub(super) fn check(documents: &[Value], faults: &mut Faults) {
    let [file] = documents else { return faults.add(FILE, "not one document") };
    let Some(services) = file["services"].as_object() else {
        return faults.add(FILE, "no services");
    };
    let volumes: BTreeSet<&str> = file["volumes"]
        .as_object()
        .map(|volumes| volumes.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let mut published = BTreeSet::new();
    for (name, service) in services {
        let Some(variables) = service["environment"].as_object() else {
            faults.add(FILE, format_args!("{name} has no environment"));
            continue;
        };
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| (name.clone(), filled(&text(value)))).collect();
        check_variables(FILE, &variables, None, faults);
        let set = |wanted: &str| variables.iter().find(|(name, _)| name == wanted);
        let expected = set("JOCKO_CLUSTER_EXPECT").map_or("1", |(_, value)| value);
        faults.expect(
            expected == services.len().to_string(),
            FILE,
            format_args!("{name} expects {expected} brokers of {}", services.len()),
        );
        let join = set("JOCKO_CLUSTER_JOIN").map_or("", |(_, value)| value);
        for host in join.split(',') {
            let is_there = services.contains_key(host);
            faults.expect(is_there, FILE, format_args!("{name} joins {host}, who is no service"));
        }
        faults.expect(
            set("JOCKO_CLUSTER_SECRET").is_some_and(|(_, value)| value == SOME_SECRET),
            FILE,
            format_args!("{name} does not take its secret from outside"),
        );
        for port in items(&service["ports"]).iter().map(text) {
            let inner = port.rsplit(':').next().and_then(|inner| inner.parse().ok());
            let is_ours = inner.is_some_and(|inner| PORTS.contains(&inner));
            faults.expect(is_ours, FILE, format_args!("{name}: {port} leads nowhere"));
            faults.expect(
                port.starts_with("127.0.0.1:"),
                FILE,
                format_args!("{name}: {port} is open to everybody"),
            );
            let is_free = published.insert(port.clone());
            faults.expect(is_free, FILE, format_args!("{port} is published twice"));
        }
        for volume in items(&service["volumes"]).iter().map(text) {
            let (from, to) = volume.split_once(':').unwrap_or((&volume, ""));
            let is_good = volumes.contains(from) && to == "/var/lib/jocko";
            faults.expect(is_good, FILE, format_args!("{name}: the volume {volume}"));
        }
    }
}

/// What `${NAME:?why}` becomes when somebody sets it.
fn filled(value: &str) -> String {
    let is_left_open = value.starts_with("${") && value.ends_with('}') && value.contains(":?");
    if is_left_open { SOME_SECRET.to_owned() } else { value.to_owned() }
}
