//! Plays (`testdata/consumer/*.txt`), and random histories against the invariants.

mod histories;
mod kafka;
mod play;
mod stage;

/// A play is a script: `> line` and what was seen of it. `UPDATE_EXPECT=1` rewrites it.
#[test]
fn plays() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/consumer");
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .expect("testdata is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let script = std::fs::read_to_string(&path).expect("readable");
        let played = play::perform(&script);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &played).expect("writable");
        } else {
            assert_eq!(played, script, "{}", path.display());
        }
    }
}
