//! Plays (`testdata/*.txt`), and random histories against the invariants.

mod histories;
mod play;
mod stage;

use stage::Stage;

/// A play is a script: `> line` and what was seen of it. `UPDATE_EXPECT=1` rewrites it.
#[test]
fn plays() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .expect("testdata is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    for path in scripts {
        let script = std::fs::read_to_string(&path).expect("readable");
        let played = play::perform(&mut Stage::new(), &script);
        if update {
            std::fs::write(&path, &played).expect("writable");
        } else {
            assert_eq!(played, script, "{}", path.display());
        }
    }
}
