//! Two recordings of one scenario, field by field.

use crate::normal::{Form, rule};
use crate::run::Step;
use jocko_protocol::ApiKey;
use serde_json::Value;

/// One field in which two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The API.
    pub api: ApiKey,
    /// Its version.
    pub version: i16,
    /// The scenario's name.
    pub scenario: String,
    /// The step's label.
    pub step: String,
    /// The way to the field: names and positions, with dots between.
    pub path: String,
    /// What Kafka answered; empty if nothing.
    pub kafka: String,
    /// What jocko answered; empty if nothing.
    pub jocko: String,
}

/// Compares two recordings of the same run.
#[must_use]
pub fn compare(scenario: &str, version: i16, kafka: &[Step], jocko: &[Step]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (index, step) in kafka.iter().enumerate() {
        let Some(other) = jocko.get(index) else { break };
        let at = |path: String, kafka: String, jocko: String| Difference {
            api: step.api,
            version,
            scenario: scenario.to_owned(),
            step: step.label.clone(),
            path,
            kafka,
            jocko,
        };
        if step.label != other.label {
            differences.push(at("step".into(), step.label.clone(), other.label.clone()));
            break;
        }
        let mut walk = Walk { api: step.api, path: Vec::new(), found: Vec::new() };
        walk.values(&step.answer, &other.answer);
        differences.extend(walk.found.into_iter().map(|(path, k, j)| at(path, k, j)));
    }
    if kafka.len() != jocko.len() && differences.iter().all(|known| known.path != "step") {
        let api = kafka.last().or(jocko.last()).map_or(ApiKey::ApiVersions, |step| step.api);
        differences.push(Difference {
            api,
            version,
            scenario: scenario.to_owned(),
            step: "(the end)".into(),
            path: "steps".into(),
            kafka: kafka.len().to_string(),
            jocko: jocko.len().to_string(),
        });
    }
    differences
}

struct Walk {
    api: ApiKey,
    path: Vec<String>,
    found: Vec<(String, String, String)>,
}

impl Walk {
    fn values(&mut self, kafka: &Value, jocko: &Value) {
        match (kafka, jocko) {
            (Value::Object(k), Value::Object(j)) => {
                let is_shared = self.path.last().is_some_and(|field| {
                    rule(self.api, field).is_some_and(|rule| matches!(rule.form, Form::Shared(_)))
                });
                for (name, value) in k {
                    match j.get(name) {
                        Some(other) => self.under(name.clone(), |walk| walk.values(value, other)),
                        None if is_shared => {}
                        None => self.under(name.clone(), |walk| walk.differs(Some(value), None)),
                    }
                }
                for (name, value) in j.iter().filter(|(name, _)| !k.contains_key(*name)) {
                    self.under(name.clone(), |walk| walk.differs(None, Some(value)));
                }
            }
            (Value::Array(k), Value::Array(j)) => {
                for index in 0..k.len().max(j.len()) {
                    self.under(index.to_string(), |walk| match (k.get(index), j.get(index)) {
                        (Some(k), Some(j)) => walk.values(k, j),
                        (k, j) => walk.differs(k, j),
                    });
                }
            }
            _ if kafka == jocko => {}
            _ => self.differs(Some(kafka), Some(jocko)),
        }
    }

    fn under(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.path.push(name);
        visit(self);
        self.path.pop();
    }

    fn differs(&mut self, kafka: Option<&Value>, jocko: Option<&Value>) {
        let text = |value: Option<&Value>| value.map_or_else(String::new, Value::to_string);
        self.found.push((self.path.join("."), text(kafka), text(jocko)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(api: ApiKey, label: &str, answer: Value) -> Step {
        Step { label: label.into(), api, version: 1, answer }
    }

    fn paths(api: ApiKey, kafka: Value, jocko: Value) -> Vec<String> {
        let found = compare("s", 1, &[step(api, "l", kafka)], &[step(api, "l", jocko)]);
        found.into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn every_differing_field_is_named() {
        let kafka = json!({"a": 1, "b": {"c": [1, 2, {"d": null}]}, "e": "x"});
        assert_eq!(paths(ApiKey::Fetch, kafka.clone(), kafka.clone()), [""; 0]);
        let jocko = json!({"a": 2, "b": {"c": [1, 3, {"d": 0}, 4]}, "f": "x"});
        let expected = ["a", "b.c.1", "b.c.2.d", "b.c.3", "e", "f"];
        assert_eq!(paths(ApiKey::Fetch, kafka, jocko), expected);
        assert_eq!(paths(ApiKey::Fetch, json!("closed"), json!({})), [""]);
    }

    #[test]
    fn what_only_kafka_has_counts_unless_it_is_shared() {
        let (kafka, jocko) = (json!({"x": {"1": 1, "2": 2}}), json!({"x": {"2": 3}}));
        assert_eq!(paths(ApiKey::Fetch, kafka, jocko), ["x.1", "x.2"]);
        let kafka = json!({"apiKeys": {"1": {"m": 1}, "2": {"m": 2}}});
        let jocko = json!({"apiKeys": {"2": {"m": 3}, "4": {}}});
        assert_eq!(paths(ApiKey::ApiVersions, kafka, jocko), ["apiKeys.2.m", "apiKeys.4"]);
    }

    #[test]
    fn plays_that_part_are_told() {
        let one = |label: &str| vec![step(ApiKey::Fetch, label, json!(1))];
        let parted = compare("s", 1, &one("a"), &one("b"));
        assert_eq!(parted[0].path, "step");
        let shorter = compare("s", 1, &one("a"), &[]);
        assert_eq!((shorter.len(), shorter[0].path.as_str()), (1, "steps"));
    }
}
