//! Which limit of size a topic is nearest to, as a broker tells it that was asked for it by name.

use crate::failure::Result;
use crate::output::grouped;
use jocko_client::{Client, Resource};
use serde_json::{Map, Value};

/// Other brokers than jocko know nothing of it.
const NAME: &str = "jocko.retention.applies";

/// What the broker says: pairs of a name and a value.
pub(super) struct Applies(Vec<(String, String)>);

/// Asks for it; `None` where the broker does not know.
pub(super) async fn ask(client: &mut Client, topic: &str) -> Result<Option<Applies>> {
    let topic = Resource::Topic(topic.to_owned());
    let configs = client.describe_configs(&topic, Some(&[NAME.to_owned()])).await?;
    let found = configs.into_iter().find(|config| config.name == NAME);
    Ok(found.and_then(|config| config.value).map(|text| Applies::parse(&text)))
}

impl Applies {
    fn parse(text: &str) -> Self {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All of it, numbers as numbers.
    pub(super) fn json(&self) -> Value {
        let pairs = self.0.iter().map(|(name, value)| {
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.clone().into());
            (camel(name), value)
        });
        pairs.collect::<Map<String, Value>>().into()
    }

    /// A line, if there is a limit of size.
    pub(super) fn words(&self) -> Option<String> {
        let bytes = |name| self.get(name).and_then(|text| text.parse().ok()).map(grouped);
        let (held, limit) = (bytes("held.bytes")?, bytes("limit.bytes")?);
        let name = self.get("limit")?;
        let does = if self.get("cuts") == Some("true") {
            "it is full, so the oldest records go"
        } else {
            "nothing has to go for it yet"
        };
        Some(format!("nearest limit {name}: {held} of {limit} bytes held, {does}"))
    }
}

/// `held.bytes` as `heldBytes`.
fn camel(name: &str) -> String {
    let mut parts = name.split('.');
    let mut joined = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        joined.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        joined.push_str(letters.as_str());
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::Applies;
    use serde_json::json;

    #[test]
    fn what_applies_is_told_to_people_and_programs() {
        let cutting = Applies::parse(
            "limit=jocko.retention.topic.bytes,limit.bytes=1048576,held.bytes=900000,cuts=true",
        );
        let words = "nearest limit jocko.retention.topic.bytes: 900,000 of 1,048,576 bytes held, \
                     it is full, so the oldest records go";
        assert_eq!(cutting.words().as_deref(), Some(words));
        let expect = json!({
            "limit": "jocko.retention.topic.bytes",
            "limitBytes": 1_048_576,
            "heldBytes": 900_000,
            "cuts": true,
        });
        assert_eq!(cutting.json(), expect);
        let none = Applies::parse("limit=none,age.ms=604800000");
        assert_eq!(none.words(), None);
        assert_eq!(none.json(), json!({ "limit": "none", "ageMs": 604_800_000 }));
    }
}
