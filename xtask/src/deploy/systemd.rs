//! `deploy/systemd/`: the unit and the settings beside it.

use super::{Faults, SOME_SECRET, check_variables, flags_in};
use anyhow::Result;
use std::collections::BTreeSet;
use std::process::Command;

const UNIT: &str = "systemd/jocko.service";
const SETTINGS: &str = "systemd/jocko.toml";
const PROGRAM: &str = "/usr/local/bin/jocko";

pub(super) fn check(unit: &str, settings: &str, flags: &BTreeSet<String>, faults: &mut Faults) {
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let start = start.unwrap_or_default();
    faults.expect(start.starts_with(PROGRAM), UNIT, "it does not start jocko");
    for flag in flags_in(start) {
        faults.expect(flags.contains(&flag), UNIT, format_args!("there is no flag {flag}"));
    }
    let has = |line: &str| unit.lines().any(|each| each == line);
    for line in ["Type=notify", "DynamicUser=yes", "StateDirectory=jocko", "NoNewPrivileges=yes"] {
        faults.expect(has(line), UNIT, format_args!("{line} is missing"));
    }
    faults.expect(!settings.contains("secret ="), SETTINGS, "secrets are not for everybody's eyes");
    let secret = vec![("JOCKO_CLUSTER_SECRET".to_owned(), SOME_SECRET.to_owned())];
    check_variables(SETTINGS, &secret, Some(("jocko.toml", settings)), faults);
}

/// What systemd itself says of the unit, where it is installed.
pub(super) fn verify(unit: &str, faults: &mut Faults) -> Result<()> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("systemd-analyze is not installed: the unit is checked only by its words");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("jocko.service");
    // The program is not installed here, which is no fault of the unit.
    std::fs::write(&path, unit.replace(PROGRAM, "/bin/true"))?;
    let output = Command::new("systemd-analyze").arg("verify").arg(&path).output()?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !output.status.success() || said.contains("jocko.service") {
        faults.add(UNIT, format_args!("systemd-analyze verify: {said}"));
    }
    Ok(())
}
