//! Makes instances of any message, as JSON, from the schemas: the generator's own input, read
//! here by other code.

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// A small generator of numbers; the same seed gives the same numbers.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).expect("small")).expect("small")
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A message of the schema.
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) versions: (i64, i64),
    json: Value,
}

/// Every message that has a version, by file name.
pub(crate) fn schemas() -> Vec<Schema> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../schema");
    let mut paths = Vec::new();
    let families = ["rpc", "group", "txn", "share", "storage"].map(|name| format!("kafka/{name}"));
    for family in families.iter().map(String::as_str).chain(["metadata"]) {
        paths.extend(json_files(&root.join(family)));
    }
    paths.sort();
    paths.iter().filter_map(|path| schema(path)).collect()
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

fn schema(path: &Path) -> Option<Schema> {
    let json: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON");
    let versions = range(json["validVersions"].as_str().expect("text"))?;
    let name = json["name"].as_str().expect("text");
    let name = name[..1].to_uppercase() + &name[1..];
    Some(Schema { name, versions, json })
}

fn range(text: &str) -> Option<(i64, i64)> {
    let number = |text: &str| text.parse::<i64>().expect("a version");
    if text == "none" {
        return None;
    }
    if let Some(min) = text.strip_suffix('+') {
        return Some((number(min), i64::MAX));
    }
    Some(match text.split_once('-') {
        Some((min, max)) => (number(min), number(max)),
        None => (number(text), number(text)),
    })
}

/// How to fill an instance.
pub(crate) enum Fill<'n> {
    /// Everything random, at most so many elements an array.
    Random(&'n mut Numbers),
    /// Everything as small as can be, but the array at this path, which has so many elements.
    Flood(&'n [String], usize),
}

impl Schema {
    /// An instance at `version`.
    pub(crate) fn instance(&self, version: i16, fill: &mut Fill<'_>) -> Value {
        self.object(&self.json["fields"], i64::from(version), fill, &mut Vec::new())
    }

    /// The paths of all arrays that exist at `version`.
    pub(crate) fn arrays(&self, version: i16) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        self.find_arrays(&self.json["fields"], i64::from(version), &mut Vec::new(), &mut found);
        found
    }

    fn find_arrays(
        &self,
        fields: &Value,
        version: i64,
        path: &mut Vec<String>,
        found: &mut Vec<Vec<String>>,
    ) {
        for field in present(fields, version) {
            let kind = field["type"].as_str().expect("text");
            path.push(key(field));
            if kind.starts_with("[]") {
                found.push(path.clone());
            }
            if let Some(fields) = self.fields_of(field) {
                self.find_arrays(fields, version, path, found);
            }
            path.pop();
        }
    }

    /// The fields of the struct that a field holds, here or among the common ones.
    fn fields_of<'s>(&'s self, field: &'s Value) -> Option<&'s Value> {
        if field["fields"].is_array() {
            return Some(&field["fields"]);
        }
        let name = field["type"].as_str().expect("text").trim_start_matches("[]");
        let common = self.json["commonStructs"].as_array()?;
        common.iter().find(|one| one["name"] == name).map(|one| &one["fields"])
    }

    fn object(
        &self,
        fields: &Value,
        version: i64,
        fill: &mut Fill<'_>,
        path: &mut Vec<String>,
    ) -> Value {
        let mut object = Map::new();
        for field in present(fields, version) {
            path.push(key(field));
            let flooded = matches!(fill, Fill::Flood(flood, _) if flood.starts_with(path));
            let left_out = match fill {
                Fill::Random(numbers) => numbers.one_in(3),
                Fill::Flood(..) => !flooded,
            };
            if !(field["tag"].is_u64() && left_out) {
                object.insert(key(field), self.value(field, version, fill, path));
            }
            path.pop();
        }
        Value::Object(object)
    }

    fn value(
        &self,
        field: &Value,
        version: i64,
        fill: &mut Fill<'_>,
        path: &mut Vec<String>,
    ) -> Value {
        let nullable = field["nullableVersions"].as_str().and_then(range);
        let nullable = nullable.is_some_and(|(min, max)| min <= version && version <= max);
        let kind = field["type"].as_str().expect("text");
        let (null, count) = match fill {
            Fill::Random(numbers) => (numbers.one_in(4), numbers.below(4)),
            Fill::Flood(flood, count) if flood == path => (false, *count),
            Fill::Flood(flood, _) if flood.starts_with(path) => (false, 1),
            Fill::Flood(..) => (true, 0),
        };
        if nullable && null {
            return Value::Null;
        }
        match kind.strip_prefix("[]") {
            Some(kind) => {
                (0..count).map(|_| self.single(field, kind, version, fill, path)).collect()
            }
            None => self.single(field, kind, version, fill, path),
        }
    }

    fn single(
        &self,
        field: &Value,
        kind: &str,
        version: i64,
        fill: &mut Fill<'_>,
        path: &mut Vec<String>,
    ) -> Value {
        if let Some(fields) = self.fields_of(field) {
            return self.object(fields, version, fill, path);
        }
        match fill {
            Fill::Random(numbers) => random(kind, numbers),
            Fill::Flood(..) => match kind {
                "bool" => json!(false),
                "string" | "bytes" | "records" => json!(""),
                "uuid" => json!("AAAAAAAAAAAAAAAAAAAAAA"),
                "float64" => json!(0.0),
                _ => json!(0),
            },
        }
    }
}

fn present(fields: &Value, version: i64) -> impl Iterator<Item = &Value> {
    let fields = fields.as_array().expect("fields");
    fields.iter().filter(move |field| {
        let versions = field["versions"].as_str().or(field["taggedVersions"].as_str());
        let (min, max) = versions.and_then(range).unwrap_or((1, 0));
        min <= version && version <= max
    })
}

fn key(field: &Value) -> String {
    let name = field["name"].as_str().expect("text");
    name[..1].to_lowercase() + &name[1..]
}

fn random(kind: &str, numbers: &mut Numbers) -> Value {
    let number = numbers.next();
    let small = numbers.one_in(2);
    let whole = |bits: u32| {
        let number = number.cast_signed();
        if small { number % 3 } else { number >> (64 - bits) }
    };
    match kind {
        "bool" => json!(number & 1 == 1),
        "int8" => json!(whole(8)),
        "int16" => json!(whole(16)),
        "int32" => json!(whole(32)),
        "int64" => json!(whole(64)),
        "uint16" => json!(number >> 48),
        "uint32" => json!(number >> 32),
        "float64" => json!(f64::from(u32::try_from(number >> 32).expect("32 bits")) / 8.0),
        "uuid" => {
            let mut bytes = [0; 16];
            bytes[4..12].copy_from_slice(&number.to_be_bytes());
            json!(jocko_types::Uuid::from_bytes(bytes).to_string())
        }
        "string" => {
            let length = if numbers.one_in(20) { 200 } else { numbers.below(6) };
            json!("é".repeat(length / 2) + &"x".repeat(length % 2))
        }
        "bytes" | "records" => {
            // Any groups of four letters are the base64 of something.
            json!("q83+".repeat(if numbers.one_in(20) { 50 } else { numbers.below(4) }))
        }
        other => panic!("unknown type {other}"),
    }
}
