//! The JSON files under `schema/`, as they are.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;

/// One message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Schema {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) api_key: Option<i16>,
    pub(crate) valid_versions: String,
    pub(crate) flexible_versions: Option<String>,
    #[serde(default)]
    pub(crate) latest_version_unstable: bool,
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "part of the format; which listeners serve an API is ours to say"
    )]
    pub(crate) listeners: Vec<String>,
    #[serde(default)]
    pub(crate) fields: Vec<SchemaField>,
    #[serde(default)]
    pub(crate) common_structs: Vec<SchemaStruct>,
    /// What the message is for; our own schemas say it.
    pub(crate) about: Option<String>,
}

/// A struct used in more than one place.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SchemaStruct {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) versions: Option<String>,
    pub(crate) fields: Vec<SchemaField>,
    #[expect(dead_code, reason = "part of the format")]
    pub(crate) about: Option<String>,
}

/// One field.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SchemaField {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) versions: Option<String>,
    pub(crate) nullable_versions: Option<String>,
    pub(crate) tag: Option<u32>,
    pub(crate) tagged_versions: Option<String>,
    pub(crate) flexible_versions: Option<String>,
    #[serde(default)]
    pub(crate) ignorable: bool,
    /// A literal null counts as absent, as it does in Kafka's own generator.
    pub(crate) default: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) fields: Vec<SchemaField>,
    #[serde(default)]
    #[expect(dead_code, reason = "part of the format; all collections are vectors here")]
    pub(crate) map_key: bool,
    #[expect(dead_code, reason = "part of the format")]
    pub(crate) entity_type: Option<String>,
    pub(crate) about: Option<String>,
}

/// Every message of a folder, by file name; none if there is no such folder.
pub(crate) fn read_folder(folder: &Path) -> Result<Vec<Schema>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Schema> {
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}
