//! ApiVersions (key 18): the handshake, which must work whatever the client asks (KIP-35, KIP-511).

use super::framing::with_size;
use crate::run::{CLIENT_ID, Run};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::ApiVersionsRequest;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::ApiVersions, "the list", the_list),
    Scenario::new(ApiKey::ApiVersions, "software names", software_names).since(3),
    Scenario::new(ApiKey::ApiVersions, "unknown versions", unknown_versions).since(4),
];

fn the_list(run: &mut Run<'_>) -> Result<()> {
    let request = ApiVersionsRequest {
        client_software_name: "diff".into(),
        client_software_version: "1.0".into(),
        ..Default::default()
    };
    run.send("the first request", &request)?;
    run.send("again on the same connection", &request)?;
    Ok(())
}

fn software_names(run: &mut Run<'_>) -> Result<()> {
    let texts = [
        "",
        "a",
        "7",
        "-",
        ".",
        "a-",
        "-a",
        "a.",
        ".a",
        "a-b",
        "a.b-c.9",
        "a b",
        "a_b",
        "a/b",
        "\u{e4}",
        "apache-kafka-java",
        " a",
        "a\n",
        "a\0",
    ];
    for text in texts {
        for (name, version) in [(text, "1.0"), ("diff", text)] {
            let request = ApiVersionsRequest {
                client_software_name: name.into(),
                client_software_version: version.into(),
                ..Default::default()
            };
            run.send(format!("name {name:?}, version {version:?}"), &request)?;
        }
    }
    Ok(())
}

fn unknown_versions(run: &mut Run<'_>) -> Result<()> {
    for version in [5, 6, 127, i16::MAX, -1, i16::MIN] {
        for (what, body) in [("no body", &b""[..]), ("a body", b"\x05diff\x041.0\x00")] {
            let mut frame = vec![0; 4];
            frame.extend(ApiKey::ApiVersions.code().to_be_bytes());
            frame.extend(version.to_be_bytes());
            frame.extend(run.next_correlation_id().to_be_bytes());
            frame.extend([0, 4]);
            frame.extend(CLIENT_ID.as_bytes());
            frame.push(0);
            frame.extend(body);
            let label = format!("version {version} with {what}");
            run.post_bytes::<ApiVersionsRequest>(label, version, &with_size(frame))?;
            run.collect()?;
        }
    }
    let request = ApiVersionsRequest {
        client_software_name: "diff".into(),
        client_software_version: "1.0".into(),
        ..Default::default()
    };
    run.send("then a known version on the same connection", &request)?;
    Ok(())
}
