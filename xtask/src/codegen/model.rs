//! The schema with everything settled: which versions a field has where it stands, what it is when
//! nobody set it, which structs borrow.

use super::names;
use super::schema::{Schema, SchemaField};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;

/// Versions from `min` to `max`; none if `min > max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Versions {
    pub(crate) const NONE: Self = Self { min: 0, max: -1 };

    fn parse(text: &str) -> Result<Self> {
        let number = |text: &str| text.trim().parse::<i16>().with_context(|| text.to_owned());
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(min) = text.strip_suffix('+') {
            return Ok(Self { min: number(min)?, max: i16::MAX });
        }
        match text.split_once('-') {
            Some((min, max)) => Ok(Self { min: number(min)?, max: number(max)? }),
            None => Ok(Self { min: number(text)?, max: number(text)? }),
        }
    }

    fn parse_or_none(text: Option<&String>) -> Result<Self> {
        text.map_or(Ok(Self::NONE), |text| Self::parse(text))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.min > self.max
    }

    fn intersect(self, other: Self) -> Self {
        let both = Self { min: self.min.max(other.min), max: self.max.min(other.max) };
        if both.is_empty() { Self::NONE } else { both }
    }

    fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }

    /// The condition, in Rust, that `version` lies in these versions, when it is known to lie in
    /// `possible`; none if that is always so.
    pub(crate) fn condition(self, possible: Self) -> Option<String> {
        let Self { min, max } = self;
        match (min > possible.min, max < possible.max) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {min}")),
            (false, true) => Some(format!("version <= {max}")),
            (true, true) if min == max => Some(format!("version == {min}")),
            (true, true) => Some(format!("({min}..={max}).contains(&version)")),
        }
    }

    /// The condition that `version` does not lie in these versions; none if it always does.
    pub(crate) fn absence(self, possible: Self) -> Option<String> {
        let Self { min, max } = self;
        match (min > possible.min, max < possible.max) {
            (false, false) => None,
            (true, false) => Some(format!("version < {min}")),
            (false, true) => Some(format!("version > {max}")),
            (true, true) if min == max => Some(format!("version != {min}")),
            (true, true) => Some(format!("!({min}..={max}).contains(&version)")),
        }
    }

    /// The part of these versions from `min` on.
    pub(crate) fn since(self, min: i16) -> Self {
        self.intersect(Self { min, max: i16::MAX })
    }

    /// For people: `3`, `3-5` or `3+`.
    pub(crate) fn text(self, last: i16) -> String {
        match self {
            Self { min, max } if max >= last && min == last => format!("{min}"),
            Self { min, max } if max >= last => format!("{min}+"),
            Self { min, max } if min == max => format!("{min}"),
            Self { min, max } => format!("{min}-{max}"),
        }
    }
}

/// One message and all its structs, itself first.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) about: Option<String>,
    pub(crate) api_key: Option<i16>,
    pub(crate) versions: Versions,
    pub(crate) unstable: bool,
    /// The first flexible version; `i16::MAX` if there is none.
    pub(crate) flexible_since: i16,
    pub(crate) borrowed: bool,
    pub(crate) structs: Vec<Struct>,
}

/// A struct of a message.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// The versions in which it can appear.
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
    /// Whether it holds slices of the frame.
    pub(crate) borrows: bool,
}

/// A field of a struct.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<u32>,
    pub(crate) ignorable: bool,
    /// Overrides the message: never compact, though the version is flexible.
    pub(crate) never_flexible: bool,
    pub(crate) default: String,
    pub(crate) about: Option<String>,
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    /// A number: its Rust type, which is also the name of its reader and writer.
    Number(&'static str),
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Kind>),
}

impl Kind {
    fn parse(text: &str) -> Result<Self> {
        if let Some(element) = text.strip_prefix("[]") {
            return Ok(Self::Array(Box::new(Self::parse(element)?)));
        }
        Ok(match text {
            "bool" => Self::Bool,
            "int8" => Self::Number("i8"),
            "int16" => Self::Number("i16"),
            "int32" => Self::Number("i32"),
            "int64" => Self::Number("i64"),
            "uint16" => Self::Number("u16"),
            "uint32" => Self::Number("u32"),
            "float64" => Self::Number("f64"),
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            name if name.starts_with(char::is_uppercase) => Self::Struct(name.to_owned()),
            other => bail!("unknown type {other}"),
        })
    }

    /// The struct at the bottom of this type.
    fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

impl Field {
    /// Whether the field is an `Option` in Rust.
    pub(crate) fn is_option(&self) -> bool {
        !self.nullable.is_empty()
    }

    /// Whether it is null when nobody set it.
    pub(crate) fn defaults_to_null(&self) -> bool {
        // Kafka starts every records field at null.
        self.is_option() && (self.default == "null" || self.kind == Kind::Records)
    }

    /// A numeric default, in Rust.
    pub(crate) fn number(&self) -> String {
        if self.default.is_empty() {
            return if self.kind == Kind::Number("f64") { "0.0".into() } else { "0".into() };
        }
        self.default.clone()
    }

    /// Whether the default is what Rust's `Default` gives.
    pub(crate) fn has_plain_default(&self) -> bool {
        if self.is_option() {
            return self.defaults_to_null();
        }
        match &self.kind {
            Kind::Bool => self.default != "true",
            Kind::Number(_) => matches!(self.number().as_str(), "0" | "0.0"),
            _ => self.default.is_empty(),
        }
    }
}

impl Message {
    pub(crate) fn find(&self, name: &str) -> &Struct {
        let found = self.structs.iter().find(|candidate| candidate.name == name);
        found.unwrap_or_else(|| panic!("{} has no struct {name}", self.name))
    }

    /// Whether a struct can have tagged fields.
    pub(crate) fn can_be_flexible(&self, versions: Versions) -> bool {
        versions.max >= self.flexible_since
    }

    /// The least size in bytes of a value of this type, over the versions where it can appear.
    pub(crate) fn bytes_min(&self, kind: &Kind, versions: Versions) -> usize {
        versions.iter().map(|version| self.bytes_min_at(kind, false, version)).min().unwrap_or(0)
    }

    fn bytes_min_at(&self, kind: &Kind, nullable: bool, version: i16) -> usize {
        let flexible = version >= self.flexible_since;
        match kind {
            Kind::Bool | Kind::Number("i8") => 1,
            Kind::Number("i16" | "u16") => 2,
            Kind::Number("i32" | "u32") => 4,
            Kind::Number(_) => 8,
            Kind::Uuid => 16,
            Kind::String => {
                if flexible {
                    1
                } else {
                    2
                }
            }
            Kind::Bytes | Kind::Records | Kind::Array(_) => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Kind::Struct(_) if nullable => 1,
            Kind::Struct(name) => {
                let present = self.find(name).fields.iter().filter(|field| {
                    field.tag.is_none()
                        && !field
                            .versions
                            .intersect(Versions { min: version, max: version })
                            .is_empty()
                });
                let fields: usize = present
                    .map(|field| self.bytes_min_at(&field.kind, field.is_option(), version))
                    .sum();
                fields + usize::from(flexible)
            }
        }
    }
}

/// Settles one schema; nothing if it has no version left.
pub(crate) fn build(schema: &Schema, borrowed: bool) -> Result<Option<Message>> {
    let versions = Versions::parse(&schema.valid_versions)?;
    if versions.is_empty() {
        return Ok(None);
    }
    let flexible = Versions::parse_or_none(schema.flexible_versions.as_ref())?;
    let mut builder = Builder { structs: Vec::new(), common: BTreeMap::new() };
    for common in &schema.common_structs {
        let own = common.versions.as_ref().map_or(Ok(versions), |text| Versions::parse(text))?;
        builder.common.insert(common.name.clone(), own.intersect(versions));
    }
    let context = || schema.name.clone();
    builder.add(&schema.name, versions, &schema.fields).with_context(context)?;
    for common in &schema.common_structs {
        let own = builder.common[&common.name];
        builder.add(&common.name, own, &common.fields).with_context(context)?;
    }
    if borrowed {
        mark_borrowing(&mut builder.structs);
    }
    for one in &builder.structs {
        check_depth(&builder.structs, &one.name, 0).with_context(context)?;
    }
    Ok(Some(Message {
        name: names::upper(&schema.name),
        kind: schema.kind.clone(),
        about: schema.about.clone(),
        api_key: schema.api_key,
        versions,
        unstable: schema.latest_version_unstable,
        flexible_since: if flexible.is_empty() { i16::MAX } else { flexible.min },
        borrowed,
        structs: builder.structs,
    }))
}

/// Refuses a struct that holds itself, and one that holds a struct nobody described.
fn check_depth(structs: &[Struct], name: &str, depth: usize) -> Result<()> {
    ensure!(depth < structs.len(), "{name} holds itself");
    let found = structs.iter().find(|one| one.name == name);
    let found = found.with_context(|| format!("no struct is named {name}"))?;
    for inner in found.fields.iter().filter_map(|field| field.kind.struct_name()) {
        check_depth(structs, inner, depth + 1)?;
    }
    Ok(())
}

/// Marks the structs that hold strings or records, directly or below.
fn mark_borrowing(structs: &mut [Struct]) {
    loop {
        let borrowing: Vec<String> =
            structs.iter().filter(|one| one.borrows).map(|one| one.name.clone()).collect();
        let mut changed = false;
        for one in structs.iter_mut().filter(|one| !one.borrows) {
            one.borrows = one.fields.iter().any(|field| kind_borrows(&field.kind, &borrowing));
            changed |= one.borrows;
        }
        if !changed {
            return;
        }
    }
}

fn kind_borrows(kind: &Kind, borrowing: &[String]) -> bool {
    match kind {
        Kind::String | Kind::Bytes | Kind::Records => true,
        Kind::Struct(name) => borrowing.contains(name),
        Kind::Array(element) => kind_borrows(element, borrowing),
        Kind::Bool | Kind::Number(_) | Kind::Uuid => false,
    }
}

struct Builder {
    structs: Vec<Struct>,
    common: BTreeMap<String, Versions>,
}

impl Builder {
    /// Adds a struct that can appear in `possible` versions, and those nested in it.
    fn add(&mut self, name: &str, possible: Versions, schema: &[SchemaField]) -> Result<()> {
        let name = names::upper(name);
        ensure!(self.structs.iter().all(|other| other.name != name), "two structs named {name}");
        let at = self.structs.len();
        self.structs.push(Struct { name, versions: possible, fields: Vec::new(), borrows: false });
        let mut fields = Vec::new();
        for one in schema {
            let field = Self::field(one, possible).with_context(|| one.name.clone())?;
            if field.versions.is_empty() {
                continue;
            }
            if let Some(name) = field.kind.struct_name().filter(|_| !one.fields.is_empty()) {
                let name = name.to_owned();
                self.add(&name, field.versions, &one.fields)?;
            }
            fields.push(field);
        }
        if let Some(added) = self.structs.get_mut(at) {
            added.fields = fields;
        }
        Ok(())
    }

    fn field(schema: &SchemaField, possible: Versions) -> Result<Field> {
        let tagged = Versions::parse_or_none(schema.tagged_versions.as_ref())?;
        // A field that only says where it is tagged exists where it is tagged.
        let versions = match &schema.versions {
            Some(text) => Versions::parse(text)?,
            None => tagged,
        };
        let versions = versions.intersect(possible);
        let tagged = tagged.intersect(versions);
        ensure!(
            schema.tag.is_some() != tagged.is_empty() && (tagged.is_empty() || tagged == versions),
            "a field is tagged in all its versions or in none"
        );
        let never_flexible = match schema.flexible_versions.as_deref() {
            None => false,
            Some("none") => true,
            Some(other) => bail!("unsupported flexibleVersions {other} of a field"),
        };
        let nullable = Versions::parse_or_none(schema.nullable_versions.as_ref())?;
        let kind = Kind::parse(&schema.kind)?;
        let default = default_text(schema.default.as_ref(), &kind)?;
        ensure!(default != "null" || !nullable.is_empty(), "null by default, but never nullable");
        let can_have_default = matches!(kind, Kind::Bool | Kind::Number(_) | Kind::String);
        ensure!(
            can_have_default || default.is_empty() || default == "null",
            "only numbers, truth values and strings have a default of their own"
        );
        Ok(Field {
            name: schema.name.clone(),
            default,
            kind,
            versions,
            nullable: nullable.intersect(versions),
            tag: schema.tag,
            ignorable: schema.ignorable,
            never_flexible,
            about: schema.about.clone(),
        })
    }
}

/// The default as text; empty if the type's own default is meant.
fn default_text(value: Option<&serde_json::Value>, kind: &Kind) -> Result<String> {
    use serde_json::Value;
    let text = match value {
        None | Some(Value::Null) => return Ok(String::new()),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => bail!("unsupported default {other}"),
    };
    let Kind::Number(_) = kind else { return Ok(text) };
    let number = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16)?,
        None => text.parse().with_context(|| text.clone())?,
    };
    Ok(match number {
        _ if number == i64::from(i32::MIN) => "i32::MIN".into(),
        _ if number == i64::from(i32::MAX) => "i32::MAX".into(),
        i64::MAX => "i64::MAX".into(),
        i64::MIN => "i64::MIN".into(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(text: &str) -> Versions {
        Versions::parse(text).expect("well formed")
    }

    #[test]
    fn conditions_say_no_more_than_needed() {
        let check = |field: &str, possible: &str, present: Option<&str>, absent: Option<&str>| {
            let (field, possible) = (versions(field), versions(possible));
            let field = field.intersect(possible);
            assert_eq!(field.condition(possible).as_deref(), present);
            assert_eq!(field.absence(possible).as_deref(), absent);
        };
        check("0+", "3-9", None, None);
        check("5+", "3-9", Some("version >= 5"), Some("version < 5"));
        check("0-5", "3-9", Some("version <= 5"), Some("version > 5"));
        check("5", "3-9", Some("version == 5"), Some("version != 5"));
        let (inside, outside) = ("(5..=7).contains(&version)", "!(5..=7).contains(&version)");
        check("5-7", "3-9", Some(inside), Some(outside));
    }

    #[test]
    fn defaults_are_kafkas() {
        let check = |json: serde_json::Value, kind: Kind, expect: &str| {
            assert_eq!(default_text(Some(&json), &kind).expect("well formed"), expect);
        };
        let number = || Kind::Number("i32");
        check("0x7fffffff".into(), number(), "i32::MAX");
        check("-2147483648".into(), number(), "i32::MIN");
        check((-1).into(), number(), "-1");
        check("9223372036854775807".into(), Kind::Number("i64"), "i64::MAX");
        check("null".into(), Kind::String, "null");
        // A literal null says nothing, in Kafka's generator too.
        check(serde_json::Value::Null, Kind::String, "");
        check(false.into(), Kind::Bool, "false");
        assert!(default_text(Some(&"soon".into()), &number()).is_err());
    }

    #[test]
    fn what_the_writers_cannot_say_is_refused() {
        let check = |fields: &str| {
            let text = format!(
                r#"{{"name": "Test", "type": "data", "validVersions": "0-1",
                "flexibleVersions": "0+", "fields": [{fields}]}}"#
            );
            let schema: Schema = serde_json::from_str(&text).expect("JSON");
            build(&schema, false).map(|message| message.map(|message| message.structs.len()))
        };
        assert_eq!(check(r#"{"name": "A", "type": "int8", "versions": "0+"}"#).ok(), Some(Some(1)));
        assert!(check(r#"{"name": "A", "type": "int7", "versions": "0+"}"#).is_err());
        let sometimes =
            r#"{"name": "A", "type": "int8", "versions": "0+", "tag": 0, "taggedVersions": "1+"}"#;
        assert!(check(sometimes).is_err());
        let part = r#"{"name": "A", "type": "P", "versions": "0+",
            "fields": [{"name": "B", "type": "int8", "versions": "0+"}]}"#;
        assert_eq!(check(part).ok(), Some(Some(2)));
        assert!(check(&format!("{part}, {part}")).is_err(), "two structs of one name");
        assert!(check(r#"{"name": "A", "type": "Nobody", "versions": "0+"}"#).is_err());
        let itself = r#"{"name": "A", "type": "P", "versions": "0+",
            "fields": [{"name": "B", "type": "[]P", "versions": "0+"}]}"#;
        assert!(check(itself).is_err());
        assert!(
            check(r#"{"name": "A", "type": "[]int8", "versions": "0+", "default": "7"}"#).is_err()
        );
        assert!(
            check(r#"{"name": "A", "type": "string", "versions": "0+", "default": "null"}"#)
                .is_err()
        );
    }
}
