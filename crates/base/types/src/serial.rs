//! How values that are not plain numbers stand in JSON between brokers: ids and names as the text
//! people know them by, error codes as their numbers.

use crate::{ErrorCode, TopicName, Uuid};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for TopicName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(|_| D::Error::custom("this names no topic"))
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i16(self.code())
    }
}

/// A code that this release does not know is an error all the same: `UNKNOWN_SERVER_ERROR`.
impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = i16::deserialize(deserializer)?;
        Ok(Self::from_code(code).unwrap_or(Self::UnknownServerError))
    }
}

#[cfg(test)]
mod tests {
    use crate::{BrokerEpoch, ErrorCode, Offset, Timestamp, TopicName, Uuid};
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use std::fmt::Debug;

    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &str) {
        assert_eq!(serde_json::to_string(value).expect("it has a JSON form"), json);
        assert_eq!(&serde_json::from_str::<T>(json).expect("its own form"), value);
    }

    #[test]
    fn values_are_plain_numbers_and_strings() {
        check(&Offset::new(-1), "-1");
        check(&BrokerEpoch::new(i64::MAX), "9223372036854775807");
        check(&Timestamp::from_millis(17), "17");
        check(&Uuid::from_bytes([0; 16]), "\"AAAAAAAAAAAAAAAAAAAAAA\"");
        check(&TopicName::new("a.b").expect("legal"), "\"a.b\"");
        check(&ErrorCode::StaleBrokerEpoch, "77");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(serde_json::from_str::<TopicName>("\"..\"").is_err());
        assert!(serde_json::from_str::<Uuid>("\"short\"").is_err());
        let newer: ErrorCode = serde_json::from_str("31999").expect("a code of a newer release");
        assert_eq!(newer, ErrorCode::UnknownServerError);
    }
}
