//! Tells the program which release of the client it was built with, from the lock file.

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let version = lock
        .lines()
        .skip_while(|line| *line != "name = \"rskafka\"")
        .find_map(|line| line.strip_prefix("version = "))
        .map_or("unknown", |quoted| quoted.trim_matches('"'));
    println!("cargo::rustc-env=RSKAFKA_VERSION={version}");
}
