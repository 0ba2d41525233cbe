//! The generated files: laid out by rustfmt, compared with those committed, written.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROTOCOL: &str = "crates/base/protocol/src";
const ERROR_CODES: &str = "crates/base/types/src/error_code.rs";
/// Folders in which every file is generated.
const OWNED: &[&str] = &["crates/base/protocol/src/messages"];

/// Files by path from the repository's root.
#[derive(Debug, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Adds a file of the protocol crate.
    pub(crate) fn add(&mut self, path: &str, text: String) {
        self.0.insert(format!("{PROTOCOL}/{path}"), text);
    }

    /// Sets the table of error codes, which lives with the ids.
    pub(crate) fn set_error_codes(&mut self, text: String) {
        self.0.insert(ERROR_CODES.into(), text);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The same files, laid out by rustfmt.
    pub(crate) fn formatted(mut self) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        self.write(scratch.path())?;
        std::fs::write(
            scratch.path().join("rustfmt.toml"),
            "max_width = 100\nuse_small_heuristics = \"Max\"\n",
        )?;
        // Modules are followed from these.
        let roots = [
            format!("{PROTOCOL}/messages/mod.rs"),
            format!("{PROTOCOL}/api_key.rs"),
            format!("{PROTOCOL}/request_kind.rs"),
            ERROR_CODES.to_owned(),
        ];
        let status = Command::new("rustfmt")
            .args(["--edition", "2024"])
            .args(roots)
            .current_dir(scratch.path())
            .status()
            .context("rustfmt is missing: rustup component add rustfmt")?;
        ensure!(status.success(), "rustfmt failed");
        for (path, text) in &mut self.0 {
            *text = std::fs::read_to_string(scratch.path().join(path))?;
        }
        Ok(self)
    }

    /// Paths that are missing, different or left over under `root`.
    pub(crate) fn differences(&self, root: &Path) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for (path, text) in &self.0 {
            let committed = std::fs::read_to_string(root.join(path)).unwrap_or_default();
            if committed != *text {
                paths.push(path.clone());
            }
        }
        let left_over = self.left_over(root)?;
        paths.extend(left_over.iter().map(|path| path.display().to_string()));
        Ok(paths)
    }

    /// Writes what differs and removes what is left over.
    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        for (path, text) in &self.0 {
            let path = root.join(path);
            if std::fs::read_to_string(&path).is_ok_and(|committed| committed == *text) {
                continue;
            }
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        for path in self.left_over(root)? {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    fn left_over(&self, root: &Path) -> Result<Vec<PathBuf>> {
        let mut left = Vec::new();
        let mut folders: Vec<PathBuf> = OWNED.iter().map(|folder| root.join(folder)).collect();
        while let Some(folder) = folders.pop() {
            if !folder.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path
                    .strip_prefix(root)
                    .is_ok_and(|path| self.0.contains_key(&path.to_string_lossy().into_owned()))
                {
                    left.push(path);
                }
            }
        }
        Ok(left)
    }
}
