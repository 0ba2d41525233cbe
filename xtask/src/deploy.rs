//! `cargo xtask deploy-check`: the files of `deploy/` against what jocko really takes.
//!
//! Nothing is run here but `systemd-analyze`, where it is installed: no engine for containers is
//! needed. What a file sets must be a setting, with a value that loads; a flag must be one; ports,
//! probes, selectors and volumes must lead somewhere.

mod compose;
mod dockerfile;
mod kubernetes;
mod systemd;

use anyhow::{Context, Result, bail};
use jocko_config::{DEFINITIONS, Layers, load};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// What jocko listens on.
const PORTS: [u64; 4] = [9092, 9093, 9094, 9095];
/// What the HTTP port answers probes on.
const PROBES: [&str; 2] = ["/livez", "/readyz"];
/// Variables that commands read and that are no settings.
const VARIABLES_OF_COMMANDS: [&str; 2] = ["JOCKO_BROKERS", "JOCKO_CONFIG"];
/// Stands in for a secret that a file leaves to whoever deploys.
const SOME_SECRET: &str = "a-secret-that-is-long-enough";

/// What is wrong, file by file.
#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, file: &str, what: impl std::fmt::Display) {
        self.0.push(format!("deploy/{file}: {what}"));
    }

    /// Adds a fault unless something holds.
    fn expect(&mut self, holds: bool, file: &str, what: impl std::fmt::Display) {
        if !holds {
            self.add(file, what);
        }
    }
}

/// Checks every file and lists all faults.
pub(crate) fn run(root: &Path) -> Result<()> {
    let deploy = root.join("deploy");
    let read = |name: &str| {
        std::fs::read_to_string(deploy.join(name)).with_context(|| format!("deploy/{name}"))
    };
    let flags = known_flags(root)?;
    let mut faults = Faults::default();
    dockerfile::check(&read("Dockerfile")?, &flags, &mut faults);
    compose::check(&documents(&read("docker-compose.yml")?)?, &mut faults);
    let mut manifests = documents(&read("kubernetes/jocko.yaml")?)?;
    manifests.extend(documents(&read("kubernetes/secret/secret.yaml")?)?);
    kubernetes::check(&manifests, &flags, &mut faults);
    let unit = read("systemd/jocko.service")?;
    let settings = read("systemd/jocko.toml")?;
    systemd::check(&unit, &settings, &flags, &mut faults);
    systemd::verify(&unit, &mut faults)?;
    check_names(root, &deploy, &mut faults)?;
    if faults.0.is_empty() {
        return Ok(());
    }
    bail!("{} faults in deployment files\n  {}", faults.0.len(), faults.0.join("\n  "));
}

/// The documents of a YAML file.
fn documents(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

/// Every flag that some command has: those of settings, and those the page of commands shows.
fn known_flags(root: &Path) -> Result<BTreeSet<String>> {
    let page = std::fs::read_to_string(root.join("docs/reference/commands.md"))?;
    let mut flags: BTreeSet<String> = DEFINITIONS.iter().map(|each| each.flag_name()).collect();
    flags.extend(flags_in(&page));
    Ok(flags)
}

/// What looks like a long flag.
fn flags_in(text: &str) -> Vec<String> {
    let is_of_flag = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = text.split(|c: char| !is_of_flag(c));
    let is_flag = |word: &&str| {
        word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic()))
    };
    words.filter(is_flag).map(str::to_owned).collect()
}

/// Variables as a broker would take them.
fn check_variables(
    file: &str,
    variables: &[(String, String)],
    settings: Option<(&str, &str)>,
    faults: &mut Faults,
) {
    let layers = Layers { file: settings, env: variables, ..Layers::default() };
    if let Err(errors) = load(&layers) {
        faults.add(file, errors);
    }
}

/// Every variable that any of the files speaks of must be there, in words too.
fn check_names(root: &Path, folder: &Path, faults: &mut Faults) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            check_names(root, &path, faults)?;
            continue;
        }
        let shown = path.strip_prefix(root.join("deploy"))?.display().to_string();
        let text = std::fs::read_to_string(&path).with_context(|| shown.clone())?;
        for variable in variables_in(&text) {
            let is_known = VARIABLES_OF_COMMANDS.contains(&variable.as_str())
                || DEFINITIONS.iter().any(|each| each.env_name() == variable);
            faults.expect(is_known, &shown, format_args!("there is no setting {variable}"));
        }
    }
    Ok(())
}

fn variables_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("JOCKO_")).map(str::to_owned).collect()
}

/// The name, for people and comparisons.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The items of a list; none where there is no list.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_variables_are_found_in_words() {
        assert_eq!(
            flags_in("| `-c, --config FILE` | --- | --data-dir=x"),
            ["--config", "--data-dir"]
        );
        let found: Vec<String> = variables_in("x JOCKO_A_B=3 ${JOCKO_C:?x}").into_iter().collect();
        assert_eq!(found, ["JOCKO_A_B", "JOCKO_C"]);
    }

    #[test]
    fn settings_that_are_not_there_are_faults() {
        let mut faults = Faults::default();
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        check_variables("f", &pair("JOCKO_DATA_DIR", "/x"), None, &mut faults);
        assert!(faults.0.is_empty(), "{faults:?}");
        check_variables("f", &pair("JOCKO_DATA_DRI", "/x"), None, &mut faults);
        check_variables("f", &pair("JOCKO_LISTEN_HTTP", "nonsense here"), None, &mut faults);
        assert_eq!(faults.0.len(), 2, "{faults:?}");
    }
}
