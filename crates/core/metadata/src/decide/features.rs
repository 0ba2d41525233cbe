//! Features and their levels: what tools read to learn which Kafka a cluster is like, and what
//! switches on behaviour that all brokers must share (KIP-584, KIP-778).

use super::Decider;
use crate::command::{Answer, FeatureDirection, FeatureUpdate, Refusal};
use crate::record::MetadataRecord;
use jocko_types::ErrorCode;

/// A feature this release knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its name, as Kafka has it.
    pub name: &'static str,
    /// The lowest level it can have; one that can be off has 0.
    pub min: i16,
    /// The highest level it can have, which a new cluster begins with.
    pub max: i16,
}

/// The feature whose level stands for a release of Kafka.
pub(super) const METADATA_VERSION: Feature = Feature {
    name: "metadata.version",
    // Kafka 3.3, the first with its present form of metadata.
    min: 7,
    // Kafka 4.3 (`4.3-IV0`).
    max: 30,
};

/// The feature that lets groups speak the consumer protocol (KIP-848) from level 1 on.
pub const GROUP_VERSION: Feature = Feature { name: "group.version", min: 0, max: 1 };

/// Every feature this release knows, by name.
pub const FEATURES: &[Feature] = &[GROUP_VERSION, METADATA_VERSION];

impl Decider<'_> {
    /// All updates or none: the answer is the first refusal.
    pub(super) fn update_features(
        &mut self,
        updates: Vec<FeatureUpdate>,
        validate_only: bool,
    ) -> Answer<Vec<String>> {
        for update in &updates {
            self.check_feature(update)?;
        }
        if !validate_only {
            for FeatureUpdate { name, level, .. } in &updates {
                if self.image.feature(name) != *level {
                    let (name, level) = (name.clone(), *level);
                    self.records.push(MetadataRecord::FeatureLevel { name, level });
                }
            }
        }
        Ok(updates.into_iter().map(|update| update.name).collect())
    }

    fn check_feature(&self, update: &FeatureUpdate) -> Answer<()> {
        let FeatureUpdate { name, level, direction } = update;
        let invalid = |why: String| {
            let message = format!("Invalid update version {level} for feature {name}. {why}");
            Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message))
        };
        if let FeatureDirection::Unknown(number) = direction {
            return invalid(format!("Nobody knows the upgrade type {number}."));
        }
        let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
            let known: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
            return invalid(format!(
                "This cluster does not know the feature; it knows {}.",
                known.join(", ")
            ));
        };
        if *level < 0 {
            return invalid("A level cannot be less than 0.".to_owned());
        }
        let current = self.image.feature(name);
        if *level == current {
            return Ok(());
        }
        if *level < feature.min || *level > feature.max {
            let Feature { min, max, .. } = feature;
            return invalid(format!("All brokers support levels {min} to {max}."));
        }
        if *level < current {
            return match direction {
                FeatureDirection::Upgrade => invalid(format!(
                    "Can't downgrade the version of this feature without setting the upgrade type \
                     to either safe or unsafe downgrade: it is {current} now."
                )),
                FeatureDirection::SafeDowngrade | FeatureDirection::UnsafeDowngrade
                    if feature.name != METADATA_VERSION.name =>
                {
                    Ok(())
                }
                FeatureDirection::SafeDowngrade
                | FeatureDirection::UnsafeDowngrade
                | FeatureDirection::Unknown(_) => invalid(format!(
                    "Its level is {current} and cannot fall: jocko has no older form of its \
                     metadata to go back to."
                )),
            };
        }
        Ok(())
    }
}
