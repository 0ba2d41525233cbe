//! The values settings hold: each knows how to read itself from the text a person writes, with
//! its unit, and how to write itself back in one canonical form.

mod address;
mod peers;

pub use address::{Advertise, HostPort, ListenAddresses};
pub use peers::{JoinAddress, JoinAddresses, ListenPeers, Secret};

use crate::kafka::RETENTION_BYTES_MIN;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// A type a setting can have.
pub trait SettingValue: Sized {
    /// What a person is told the value must be, such as `a duration like 7d or 500ms`.
    const EXPECTED: &'static str;

    /// Whether the value is never shown.
    const IS_SECRET: bool = false;

    /// Reads the text of a file, variable or flag. `None` if it is not such a value.
    fn parse(text: &str) -> Option<Self>;

    /// The canonical text, which [`SettingValue::parse`] reads back to the same value; of a
    /// secret, only whether there is one.
    fn render(&self) -> String;
}

impl SettingValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "on" | "yes" => Some(true),
            "false" | "off" | "no" => Some(false),
            _ => None,
        }
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for String {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn render(&self) -> String {
        self.clone()
    }
}

impl SettingValue for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn render(&self) -> String {
        self.display().to_string()
    }
}

/// How many brokers found a cluster. Any number can be read; which ones there may be is a rule of the
/// settings, so that every other one is refused in the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founders(u32);

impl Founders {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl SettingValue for Founders {
    const EXPECTED: &'static str = "1, 3 or 5";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

impl SettingValue for NonZeroU32 {
    const EXPECTED: &'static str = "a whole number from 1 to 2147483647";

    fn parse(text: &str) -> Option<Self> {
        // Kafka's clients read every count as a signed 32-bit number.
        let number: u32 = text.replace('_', "").parse().ok()?;
        (i32::try_from(number).is_ok()).then(|| Self::new(number)).flatten()
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

/// A number of bytes, written with a unit (`20GiB`, `1MB`, `64 KiB`) or as a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

/// Units of [`ByteSize`], longest suffix first so that `MiB` is not taken for `B`.
const BYTE_UNITS: &[(&str, u64)] = &[
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("b", 1),
    ("", 1),
];

impl ByteSize {
    /// From a number of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From a number of mebibytes.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes as an index or length; saturates where `usize` is smaller.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, unit) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            let unit = 1_u64 << unit;
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl SettingValue for ByteSize {
    const EXPECTED: &'static str = "a size like 20GiB, 512MiB or 1048588";

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text)?;
        let unit = unit.to_ascii_lowercase();
        let factor = BYTE_UNITS.iter().find(|(name, _)| *name == unit)?.1;
        scale(number, factor).map(Self)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

/// Units of a duration and their length in milliseconds.
const TIME_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

impl SettingValue for Duration {
    const EXPECTED: &'static str = "a duration like 7d, 12h, 30m, 10s or 500ms";

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text)?;
        let unit = unit.to_ascii_lowercase();
        if unit.is_empty() {
            return (number == "0").then_some(Self::ZERO);
        }
        let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let millis = scale(number, factor)?;
        // Kafka's own times are signed 64-bit milliseconds.
        i64::try_from(millis).ok()?;
        Some(Self::from_millis(millis))
    }

    fn render(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        for (name, unit) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if millis >= unit && millis.is_multiple_of(unit) {
                return format!("{}{name}", millis / unit);
            }
        }
        format!("{millis}ms")
    }
}

/// A value that may be switched off: `none`, `off` or `unlimited`.
impl<T: SettingValue + OrNone> SettingValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED_OR_NONE;

    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" | "off" | "unlimited" | "-1" => Some(None),
            _ => T::parse(text).map(Some),
        }
    }

    fn render(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::render)
    }
}

/// A setting type with a sentence for its optional form.
pub trait OrNone {
    /// [`SettingValue::EXPECTED`] of the optional value.
    const EXPECTED_OR_NONE: &'static str;
}

impl OrNone for Duration {
    const EXPECTED_OR_NONE: &'static str = "a duration like 7d, 12h or 500ms, or none";
}

impl OrNone for NonZeroU32 {
    const EXPECTED_OR_NONE: &'static str = "a whole number from 1 to 2147483647, or none";
}

impl OrNone for Percent {
    const EXPECTED_OR_NONE: &'static str = "a percentage like 90%, or none";
}

impl OrNone for ByteSize {
    const EXPECTED_OR_NONE: &'static str = "a size like 20MiB, or none";
}

impl OrNone for SizeOrPercent {
    const EXPECTED_OR_NONE: &'static str =
        "a size like 20GiB, a share of the disk like 40%, or none";
}

impl OrNone for ListenAddresses {
    const EXPECTED_OR_NONE: &'static str = "addresses like localhost:9095 or 0.0.0.0:9095, or none";
}

/// A value jocko works out by itself unless it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auto<T> {
    /// Worked out at start.
    #[default]
    Auto,
    /// As told.
    Set(T),
}

impl<T: Copy> Auto<T> {
    /// The value a person gave, if any.
    #[must_use]
    pub fn set(&self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Set(value) => Some(*value),
        }
    }
}

macro_rules! auto {
    ($($inner:ty => $expected:literal;)*) => {$(
        impl SettingValue for Auto<$inner> {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                if text == "auto" {
                    return Some(Self::Auto);
                }
                <$inner>::parse(text).map(Self::Set)
            }

            fn render(&self) -> String {
                match self {
                    Self::Auto => "auto".to_owned(),
                    Self::Set(value) => value.render(),
                }
            }
        }
    )*};
}

auto! {
    NonZeroU32 => "auto, or a whole number from 1 to 2147483647";
    ByteSize => "auto, or a size like 512MiB";
    NodeId => "auto, or a whole number from 0 to 2147483647";
    ReplicationFactor => "auto, or a whole number from 1 to 32767";
}

/// A broker's number, as a person may fix it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(pub jocko_types::BrokerId);

impl SettingValue for NodeId {
    const EXPECTED: &'static str = "a whole number from 0 to 2147483647";

    fn parse(text: &str) -> Option<Self> {
        let id: i32 = text.parse().ok()?;
        (id >= 0).then(|| Self(jocko_types::BrokerId::new(id)))
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// How many brokers keep a copy of each partition: 1 to 32767.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicationFactor(i16);

impl ReplicationFactor {
    /// Wraps a number of copies; `None` unless it is positive.
    #[must_use]
    pub const fn new(copies: i16) -> Option<Self> {
        if copies > 0 { Some(Self(copies)) } else { None }
    }

    /// The number of copies.
    #[must_use]
    pub const fn get(self) -> i16 {
        self.0
    }
}

impl SettingValue for ReplicationFactor {
    const EXPECTED: &'static str = "a whole number from 1 to 32767";

    fn parse(text: &str) -> Option<Self> {
        Self::new(text.parse().ok()?)
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// A share of a disk, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// Wraps a number from 1 to 100.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        if percent >= 1 && percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// The number, 1 to 100.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// This share of `whole`, rounded down.
    #[must_use]
    pub fn of(self, whole: ByteSize) -> ByteSize {
        let part = u128::from(whole.get()) * u128::from(self.0) / 100;
        ByteSize::new(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

impl SettingValue for Percent {
    const EXPECTED: &'static str = "a percentage from 1% to 100%";

    fn parse(text: &str) -> Option<Self> {
        Self::new(text.strip_suffix('%')?.trim_end().parse().ok()?)
    }

    fn render(&self) -> String {
        format!("{}%", self.0)
    }
}

/// A limit on disk use: bytes, or a share of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeOrPercent {
    /// So many bytes.
    Size(ByteSize),
    /// So much of the disk.
    Percent(Percent),
}

impl SettingValue for SizeOrPercent {
    const EXPECTED: &'static str =
        "a size like 20GiB, of 1MiB or more, or a share of the disk like 40%";

    fn parse(text: &str) -> Option<Self> {
        if text.ends_with('%') {
            return Percent::parse(text).map(Self::Percent);
        }
        let size = ByteSize::parse(text)?;
        (size.get() >= RETENTION_BYTES_MIN && i64::try_from(size.get()).is_ok())
            .then_some(Self::Size(size))
    }

    fn render(&self) -> String {
        match self {
            Self::Size(size) => size.render(),
            Self::Percent(percent) => percent.render(),
        }
    }
}

macro_rules! choice {
    ($(#[doc = $doc:literal])* $name:ident, $expected:literal {
        $($(#[doc = $variant_doc:literal])* $variant:ident = $text:literal,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $variant_doc])* $variant,)*
        }

        impl SettingValue for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn render(&self) -> String {
                match self {
                    $(Self::$variant => $text.to_owned(),)*
                }
            }
        }
    };
}

choice! {
    /// When an acks=all produce is answered.
    Durability, "fsync or relaxed" {
        /// After the batch is on disk on enough replicas.
        Fsync = "fsync",
        /// After the batch is in the page cache on enough replicas, as Kafka does.
        Relaxed = "relaxed",
    }
}

choice! {
    /// How much the broker says.
    LogLevel, "error, warn, info, debug or trace" {
        /// Only what needs a person.
        Error = "error",
        /// And what may soon need one.
        Warn = "warn",
        /// And every change of state.
        Info = "info",
        /// And every connection and request.
        Debug = "debug",
        /// And more than anyone wants.
        Trace = "trace",
    }
}

choice! {
    /// Whether groups may move between the classic and the consumer protocol (KIP-848).
    GroupMigration, "bidirectional, upgrade, downgrade or disabled" {
        /// Both ways.
        Bidirectional = "bidirectional",
        /// From classic to consumer.
        Upgrade = "upgrade",
        /// From consumer to classic.
        Downgrade = "downgrade",
        /// Not while a group has members.
        Disabled = "disabled",
    }
}

choice! {
    /// A way to share partitions out among the members of a consumer group (KIP-848).
    GroupAssignor, "uniform or range" {
        /// As evenly as can be, moving as little as can be.
        Uniform = "uniform",
        /// Runs of each topic's partitions, so that topics with as many partitions go together.
        Range = "range",
    }
}

/// The assignors that members may choose from, the default first; at least one, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupAssignors(Vec<GroupAssignor>);

impl GroupAssignors {
    /// The assignors, the default first.
    #[must_use]
    pub fn as_slice(&self) -> &[GroupAssignor] {
        &self.0
    }
}

impl SettingValue for GroupAssignors {
    const EXPECTED: &'static str = "uniform, range or both, separated by a comma";

    fn parse(text: &str) -> Option<Self> {
        let mut assignors = Vec::new();
        for name in text.split(',') {
            let assignor = GroupAssignor::parse(name.trim())?;
            if assignors.contains(&assignor) {
                return None;
            }
            assignors.push(assignor);
        }
        Some(Self(assignors))
    }

    fn render(&self) -> String {
        self.0.iter().map(GroupAssignor::render).collect::<Vec<_>>().join(",")
    }
}

choice! {
    /// The shape of log lines.
    LogFormat, "auto, text or json" {
        /// Text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// For people.
        Text = "text",
        /// For machines: one object a line.
        Json = "json",
    }
}

/// Splits `1.5GiB` into its number and its unit.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end =
        text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    (!number.is_empty()).then(|| (number, unit.trim_start()))
}

/// A decimal number times a unit, exactly: no float, no rounding, no overflow.
fn scale(number: &str, unit: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let whole: u64 = whole.parse().ok()?;
    let whole = whole.checked_mul(unit)?;
    if fraction.is_empty() {
        return (!number.ends_with('.')).then_some(whole);
    }
    let tenths = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(unit)?;
    part.is_multiple_of(tenths).then(|| whole.checked_add(part / tenths)).flatten()
}

#[cfg(test)]
mod tests;
