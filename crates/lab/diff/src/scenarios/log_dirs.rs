//! DescribeLogDirs (key 35) and AlterReplicaLogDirs (key 34): where records are kept (KIP-113,
//! KIP-827).

use super::requests::bad_names;
use crate::batches::plain;
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use jocko_protocol::rpc::describe_log_dirs_request::DescribableLogDirTopic;
use jocko_protocol::rpc::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::DescribeLogDirs, "partitions", described),
    Scenario::new(ApiKey::AlterReplicaLogDirs, "moves", moved),
];

fn about(topics: Option<&[(&str, &[i32])]>) -> DescribeLogDirsRequest {
    let topic = |(name, partitions): &(&str, &[i32])| DescribableLogDirTopic {
        topic: (*name).to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    DescribeLogDirsRequest {
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    }
}

fn described(run: &mut Run<'_>) -> Result<()> {
    run.hide_foreign_topics();
    let one = run.create("one", 3, &[])?;
    let two = run.create("two", 1, &[])?;
    let none = run.name("none");
    run.send("of empty ones", &about(Some(&[(&one.name, &[0, 1, 2])])))?;
    for number in 0..4 {
        let batch = plain(run.time() + number, &["a", "b"]);
        run.append(&one, 0, &batch)?;
        run.append(&two, 0, &batch)?;
    }
    run.send("all", &about(None))?;
    run.send("no topic", &about(Some(&[])))?;
    run.send("no partition", &about(Some(&[(&one.name, &[])])))?;
    run.send("one", &about(Some(&[(&one.name, &[0])])))?;
    run.send("one twice", &about(Some(&[(&one.name, &[0, 0]), (&one.name, &[0])])))?;
    run.send("two topics", &about(Some(&[(&one.name, &[0, 2]), (&two.name, &[0])])))?;
    run.send("an unknown topic", &about(Some(&[(&none, &[0])])))?;
    run.send("unknown partitions", &about(Some(&[(&one.name, &[7, -1]), (&two.name, &[0])])))?;
    for (label, name) in bad_names() {
        run.send(label, &about(Some(&[(&name, &[0])])))?;
    }
    Ok(())
}

fn moved(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 2, &[])?;
    let (none, long) = (run.name("none"), run.name(&"n".repeat(200)));
    let own = run.ask(&about(Some(&[])))?.0["results"][0]["logDir"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let to = |path: &str, topics: &[(&str, &[i32])]| AlterReplicaLogDir {
        path: path.to_owned(),
        topics: topics
            .iter()
            .map(|(name, partitions)| AlterReplicaLogDirTopic {
                name: (*name).to_owned(),
                partitions: partitions.to_vec(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let request =
        |dirs: Vec<AlterReplicaLogDir>| AlterReplicaLogDirsRequest { dirs, ..Default::default() };
    let one = one.name.as_str();
    run.send("nothing", &request(vec![]))?;
    run.send("no topic", &request(vec![to(&own, &[])]))?;
    for (label, path) in [
        ("where it is", own.as_str()),
        ("where it is, with a slash", &format!("{own}/")),
        ("elsewhere", "/no/such/dir"),
        ("nowhere", ""),
        ("a relative place", "dir"),
    ] {
        run.send(format!("to {label}"), &request(vec![to(path, &[(one, &[0, 1])])]))?;
        run.send(
            format!("unknown ones to {label}"),
            &request(vec![to(path, &[(&none, &[0]), (one, &[9, -1])])]),
        )?;
        run.send(
            format!("one with a long name to {label}"),
            &request(vec![to(path, &[(&long, &[0])])]),
        )?;
    }
    for (label, name) in bad_names() {
        run.send(label, &request(vec![to(&own, &[(&name, &[0])])]))?;
    }
    run.send(
        "to two places",
        &request(vec![to(&own, &[(one, &[0])]), to("/no/such/dir", &[(one, &[1])])]),
    )?;
    Ok(())
}
