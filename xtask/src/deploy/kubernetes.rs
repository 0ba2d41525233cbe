//! `deploy/kubernetes/`: manifests that fit together, and fit jocko.

use super::{Faults, PORTS, PROBES, SOME_SECRET, check_variables, items, text};
use serde_json::Value;
use std::collections::BTreeSet;

const FILE: &str = "kubernetes/jocko.yaml";

pub(super) fn check(manifests: &[Value], flags: &BTreeSet<String>, faults: &mut Faults) {
    for manifest in manifests {
        let is_whole = ["apiVersion", "kind"].iter().all(|key| manifest[*key].is_string())
            && manifest["metadata"]["name"].is_string();
        faults.expect(is_whole, FILE, format_args!("not a manifest: {manifest}"));
    }
    let of = |kind: &'static str| manifests.iter().filter(move |each| each["kind"] == kind);
    let mut sets = of("StatefulSet");
    let (Some(set), None) = (sets.next(), sets.next()) else {
        return faults.add(FILE, "not one StatefulSet");
    };
    let spec = &set["spec"];
    let pod = &spec["template"]["spec"];
    let labels = &spec["template"]["metadata"]["labels"];
    let [container] = items(&pod["containers"]) else {
        return faults.add(FILE, "not one container");
    };
    faults.expect(selects(&spec["selector"]["matchLabels"], labels), FILE, "the set's selector");
    check_pod(pod, faults);
    check_set(spec, faults);
    check_services(of("Service"), spec, labels, container, faults);
    for budget in of("PodDisruptionBudget") {
        let selector = &budget["spec"]["selector"]["matchLabels"];
        faults.expect(selects(selector, labels), FILE, "the budget's selector");
        faults.expect(budget["spec"]["maxUnavailable"] == 1, FILE, "the budget is not one broker");
    }
    for policy in of("NetworkPolicy") {
        let selector = &policy["spec"]["podSelector"]["matchLabels"];
        faults.expect(selects(selector, labels), FILE, "the policy's selector");
        for port in items(&policy["spec"]["ingress"]).iter().flat_map(|rule| items(&rule["ports"]))
        {
            let is_there = port_named(container, &text(&port["port"])).is_some();
            faults.expect(is_there, FILE, format_args!("the policy's port {port}"));
        }
    }
    check_container(container, flags, faults);
    check_variables_of(container, &of("Secret").collect::<Vec<_>>(), faults);
}

/// Whether labels have all that a selector asks for, and it asks for something.
fn selects(selector: &Value, labels: &Value) -> bool {
    let asked = selector.as_object();
    asked.is_some_and(|asked| {
        !asked.is_empty() && asked.iter().all(|(name, value)| labels[name.as_str()] == *value)
    })
}

fn port_named<'a>(container: &'a Value, name: &str) -> Option<&'a Value> {
    items(&container["ports"]).iter().find(|port| port["name"] == name)
}

fn check_pod(pod: &Value, faults: &mut Faults) {
    faults.expect(
        pod["enableServiceLinks"] == false,
        FILE,
        "services would add variables that begin with JOCKO_, which are no settings",
    );
    faults.expect(pod["securityContext"]["runAsNonRoot"] == true, FILE, "it may run as root");
}

fn check_set(spec: &Value, faults: &mut Faults) {
    faults.expect(spec["replicas"] == 3, FILE, "not three replicas");
    faults.expect(
        spec["podManagementPolicy"] == "Parallel",
        FILE,
        "the first broker is not ready without the second, which would never start",
    );
    let claims: BTreeSet<String> = items(&spec["volumeClaimTemplates"])
        .iter()
        .map(|claim| text(&claim["metadata"]["name"]))
        .collect();
    for mount in items(&spec["template"]["spec"]["containers"][0]["volumeMounts"]) {
        let name = text(&mount["name"]);
        faults.expect(claims.contains(&name), FILE, format_args!("nobody claims volume {name}"));
    }
}

fn check_services<'a>(
    services: impl Iterator<Item = &'a Value>,
    set: &Value,
    labels: &Value,
    container: &Value,
    faults: &mut Faults,
) {
    let mut governs = false;
    for service in services {
        let name = text(&service["metadata"]["name"]);
        let spec = &service["spec"];
        faults.expect(selects(&spec["selector"], labels), FILE, format_args!("{name}'s selector"));
        if set["serviceName"] == service["metadata"]["name"] {
            governs = spec["clusterIP"] == "None" && spec["publishNotReadyAddresses"] == true;
        }
        for port in items(&spec["ports"]) {
            let target = port_named(container, &text(&port["targetPort"]));
            let fits = target.is_some_and(|target| {
                target["containerPort"] == port["port"] && target["protocol"] == port["protocol"]
            });
            faults.expect(fits, FILE, format_args!("{name}'s port {port} leads nowhere"));
        }
    }
    faults.expect(governs, FILE, "the set has no headless service that names starting brokers");
}

fn check_container(container: &Value, flags: &BTreeSet<String>, faults: &mut Faults) {
    let ports: BTreeSet<u64> = items(&container["ports"])
        .iter()
        .filter_map(|port| port["containerPort"].as_u64())
        .collect();
    faults.expect(ports == PORTS.into(), FILE, format_args!("the container's ports are {ports:?}"));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        let is_good = PROBES.contains(&get["path"].as_str().unwrap_or_default())
            && port_named(container, &text(&get["port"]))
                .is_some_and(|port| port["containerPort"] == 9095);
        faults.expect(is_good, FILE, format_args!("{probe} asks {get}"));
    }
    for argument in items(&container["args"]).iter().map(text) {
        let is_known = !argument.starts_with("--") || flags.contains(&argument);
        faults.expect(is_known, FILE, format_args!("there is no flag {argument}"));
    }
}

fn check_variables_of(container: &Value, secrets: &[&Value], faults: &mut Faults) {
    let mut variables = Vec::new();
    for variable in items(&container["env"]) {
        let name = text(&variable["name"]);
        let secret = &variable["valueFrom"]["secretKeyRef"];
        if secret.is_object() {
            let key = text(&secret["key"]);
            let is_there = secrets.iter().any(|each| {
                each["metadata"]["name"] == secret["name"] && each["stringData"][&key].is_string()
            });
            faults.expect(is_there, FILE, format_args!("no secret holds {name}"));
            variables.push((name, SOME_SECRET.to_owned()));
        } else if variable["valueFrom"].is_object() {
            variables.push((name, "filled-in-by-the-kubelet".to_owned()));
        } else {
            variables.push((name, expanded(&text(&variable["value"]), &variables)));
        }
    }
    check_variables(FILE, &variables, None, faults);
}

/// `$(NAME)` of a variable that was set before is its value.
fn expanded(value: &str, variables: &[(String, String)]) -> String {
    variables
        .iter()
        .fold(value.to_owned(), |value, (name, known)| value.replace(&format!("$({name})"), known))
}
