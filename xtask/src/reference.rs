//! `cargo xtask reference`: pages under `docs/reference/` that follow from the code.

use anyhow::{Context, Result, bail};
use std::path::Path;

/// Writes the pages, or with `--check` only says whether they are current.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: cargo xtask reference [--check]"),
    };
    let pages = [("settings.md", jocko_config::render_reference())];
    for (name, text) in pages {
        let path = root.join("docs/reference").join(name);
        if !check {
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            bail!("docs/reference/{name} is stale: run cargo xtask reference");
        }
    }
    Ok(())
}
