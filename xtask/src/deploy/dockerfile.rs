//! `deploy/Dockerfile`: line by line, as far as it says something about jocko.

use super::{Faults, PORTS, check_variables, flags_in};
use std::collections::BTreeSet;

const FILE: &str = "Dockerfile";

pub(super) fn check(dockerfile: &str, flags: &BTreeSet<String>, faults: &mut Faults) {
    let lines = instructions(dockerfile);
    // What counts is the last stage: the image.
    let start = lines.iter().rposition(|(name, _)| name == "FROM").unwrap_or(0);
    let image = &lines[start..];
    let all = |wanted: &str| -> Vec<&str> {
        let found = image.iter().filter(|(name, _)| name == wanted);
        found.map(|(_, rest)| rest.as_str()).collect()
    };
    let variables: Vec<(String, String)> = all("ENV")
        .iter()
        .flat_map(|rest| rest.split_whitespace())
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    check_variables(FILE, &variables, None, faults);
    let exposed: BTreeSet<u64> = all("EXPOSE")
        .iter()
        .flat_map(|rest| rest.split_whitespace())
        .filter_map(|port| port.trim_end_matches("/udp").parse().ok())
        .collect();
    faults.expect(exposed == PORTS.into(), FILE, format_args!("it exposes {exposed:?}"));
    let user = all("USER").last().copied().unwrap_or_default().to_owned();
    let is_root = user.is_empty() || user.starts_with('0') || user.starts_with("root");
    faults.expect(!is_root, FILE, "the broker would run as root");
    let data = variables.iter().find(|(name, _)| name == "JOCKO_DATA_DIR");
    let data = data.map(|(_, path)| path.as_str()).unwrap_or_default();
    let is_volume = all("VOLUME").iter().any(|rest| rest.contains(&format!("\"{data}\"")));
    faults.expect(is_volume, FILE, "the data directory is no volume");
    for line in ["ENTRYPOINT", "CMD", "HEALTHCHECK"] {
        let said = all(line);
        faults.expect(said.len() == 1, FILE, format_args!("{line} is there {} times", said.len()));
        // An empty image has no shell: programs are lists.
        let is_list = said.iter().all(|rest| rest.contains("[\""));
        faults.expect(is_list, FILE, format_args!("{line} needs a shell"));
        let ours = said.iter().filter_map(|rest| rest.split_once('[')).map(|(_, program)| program);
        for flag in ours.flat_map(flags_in) {
            faults.expect(flags.contains(&flag), FILE, format_args!("there is no flag {flag}"));
        }
    }
}

/// Instructions with what follows them; comments are left out, and continued lines are one.
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut lines: Vec<String> = Vec::new();
    let mut is_continued = false;
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let piece = line.trim_end_matches('\\').trim();
        match lines.last_mut().filter(|_| is_continued) {
            Some(last) => {
                last.push(' ');
                last.push_str(piece);
            }
            None => lines.push(piece.to_owned()),
        }
        is_continued = line.ends_with('\\');
    }
    let split = |line: String| {
        let (name, rest) = line.split_once(' ').unwrap_or((&line, ""));
        (name.to_uppercase(), rest.trim().to_owned())
    };
    lines.into_iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "FROM x AS build\nUSER root\nFROM scratch\nUSER 65532:65532\n\
        ENV JOCKO_DATA_DIR=/d \\\n  # why\n  JOCKO_LISTEN_KAFKA=0.0.0.0:9092\nVOLUME [\"/d\"]\n\
        EXPOSE 9092 9093 9094 9094/udp 9095\nENTRYPOINT [\"/jocko\"]\nCMD [\"start\"]\n\
        HEALTHCHECK --interval=1s CMD [\"/jocko\", \"--good\"]\n";

    fn faults(text: &str) -> Vec<String> {
        let mut faults = Faults::default();
        check(text, &["--good".to_owned()].into(), &mut faults);
        faults.0
    }

    #[test]
    fn what_does_not_fit_is_found() {
        assert_eq!(faults(GOOD), Vec::<String>::new());
        for (from, to, word) in [
            ("USER 65532:65532\n", "", "root"),
            ("9093 ", "", "exposes"),
            ("VOLUME [\"/d\"]", "VOLUME [\"/e\"]", "volume"),
            ("--good", "--bad", "--bad"),
            ("CMD [\"start\"]", "CMD start", "shell"),
            ("JOCKO_LISTEN_KAFKA", "JOCKO_LISTEN_KAFAK", "JOCKO_LISTEN_KAFAK"),
        ] {
            let found = faults(&GOOD.replace(from, to));
            assert!(found.len() == 1 && found[0].contains(word), "{word}: {found:?}");
        }
    }
}
