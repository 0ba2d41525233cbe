//! A controller on a stage: each command is decided, recorded, and everything that must hold is
//! checked after it.

use jocko_config::{Layers, LoadedSettings, load};
use jocko_metadata::{
    ClusterDelta, ClusterImage, Command, DecideContext, Decision, MetadataRecord, bootstrap,
    decide, decode_entry, encode_entry,
};
use jocko_types::{Timestamp, Uuid};

/// The cluster's id on the stage.
pub(crate) const CLUSTER: Uuid = Uuid::from_bytes(*b"the cluster's id");

/// A cluster whose metadata commits at once.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) image: ClusterImage,
    pub(crate) before: ClusterImage,
    pub(crate) settings: LoadedSettings,
    /// Every record so far.
    pub(crate) log: Vec<MetadataRecord>,
    seed: u64,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let mut stage = Self {
            image: ClusterImage::default(),
            before: ClusterImage::default(),
            settings: LoadedSettings::default(),
            log: Vec::new(),
            seed: 0,
        };
        stage.commit(&bootstrap(CLUSTER, Timestamp::from_millis(1_700_000_000_000), 1));
        stage
    }

    /// Changes a setting of the broker that decides.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let flags = [(key.to_owned(), value.to_owned())];
        self.settings = load(&Layers { flags: &flags, ..Layers::default() }).expect("valid");
    }

    /// Decides, records and checks.
    pub(crate) fn run(&mut self, command: Command) -> Decision {
        self.seed += 1;
        let cx = DecideContext {
            now: Timestamp::from_millis(1_700_000_000_000),
            seed: [self.seed, 2, 3, 4],
            settings: &self.settings,
        };
        let decision = decide(&self.image, &cx, command.clone());
        assert_eq!(decide(&self.image, &cx, command), decision, "a decision is a function");
        self.commit(&decision.records);
        decision
    }

    fn commit(&mut self, records: &[MetadataRecord]) {
        self.before = self.image.clone();
        let entry = encode_entry(records);
        let read = decode_entry(&entry).expect("what was written can be read");
        assert_eq!(read, records, "records survive their bytes");
        self.image.apply_all(&read);
        self.log.extend(read);
        self.check();
    }

    fn check(&self) {
        self.image.check_invariants().expect("the image is sound");
        ClusterDelta::between(&self.before, &self.image).check_epochs().expect("epochs rise");
        let replay = |records: &[MetadataRecord]| {
            let mut image = ClusterImage::default();
            image.apply_all(records);
            image
        };
        assert_eq!(replay(&self.image.records()), self.image, "the snapshot is the image");
        let replayed = replay(&self.log);
        assert_eq!(replayed, self.image, "the log is the image");
        assert_eq!(replayed.hash(), self.image.hash(), "M-1");
    }
}
