//! Keyspaces are dumped and loaded again: there and back.

use crate::support::Scene;
use std::fs;

/// A database of three keyspaces, one of them empty, with keys and values of any bytes and of none, in tables and
/// in the log.
fn a_database(name: &str) -> Scene {
    let scene = Scene::with_packages(name);
    let bytes: String = (0..=255_u8).map(|byte| format!("{byte:02x}")).collect();
    scene.ok(["put", "db", "packages", "--hex", &bytes, &bytes]);
    scene.ok(["put", "db", "packages", "", ""]);
    scene.ok(["flush", "db"]);
    scene.ok(["put", "db", "packages", "--hex", "ff", ""]);
    scene.ok(["put", "db", "other", "a \"quoted\" key", "two\nlines\u{9b}"]);
    scene.ok(["put", "db", "empty", "k", "v"]);
    scene.ok(["rm", "db", "empty", "k"]);
    scene
}

/// All of a database, in a form to compare.
fn contents(scene: &Scene, db: &str) -> Vec<(String, Vec<u8>)> {
    let names = scene.objects(["ls", db]).into_iter().map(|it| it["keyspace"].as_str().unwrap().to_owned());
    let mut all: Vec<_> = names.map(|name| (name.clone(), scene.ok(["scan", db, &name]))).collect();
    all.sort();
    all
}

#[test]
fn a_dumped_database_loads_as_the_same_database() {
    for format in ["jsonl", "raw"] {
        let scene = a_database("dump-all");

        let dumped = scene.ok(["dump", "db", "--output", format]);
        let loaded = scene.run_with(["load", "copy", "--format", format, "--batch", "3", "-"], &dumped);

        assert_eq!(loaded.status.code(), Some(0), "{loaded:?}");
        assert_eq!(contents(&scene, "copy"), contents(&scene, "db"), "{format}");
        assert_eq!(contents(&scene, "copy").len(), 3, "the empty one too");
        assert_eq!(scene.ok(["dump", "copy", "--output", format]), dumped);
    }
}

#[test]
fn a_dumped_keyspace_loads_under_any_name() {
    for format in ["jsonl", "raw"] {
        let scene = a_database("dump-one");

        let dumped = scene.ok(["dump", "db", "packages", "--output", format]);
        let loaded = scene.run_with(["load", "copy", "-k", "name", "--format", format, "-"], &dumped);

        assert_eq!(loaded.status.code(), Some(0), "{loaded:?}");
        assert_eq!(scene.ok(["scan", "copy", "name"]), scene.ok(["scan", "db", "packages"]), "{format}");
        assert_eq!(scene.objects(["count", "copy", "name"])[0]["count"], 6);
    }
}

#[test]
fn a_dump_is_jsonl_unless_asked_and_what_a_scan_prints() {
    let scene = a_database("dump-form");

    assert_eq!(scene.ok(["dump", "db", "packages"]), scene.ok(["scan", "db", "packages"]));
    assert!(scene.ok(["dump", "db"]).starts_with(b"{\"keyspace\":\"packages\"}\n"));
    scene.fails(2, ["dump", "db", "--output", "table"]);
    scene.fails(2, ["scan", "db", "packages", "--output", "raw"]);
    scene.fails(4, ["dump", "db", "nowhere"]);
}

#[test]
fn keyspaces_are_named_by_the_file_or_by_the_caller() {
    let scene = a_database("dump-names");
    scene.file("all", scene.ok(["dump", "db"]));
    scene.file("one", scene.ok(["dump", "db", "packages"]));

    let said = scene.fails(1, ["load", "copy", "-k", "k", "--format", "jsonl", "all"]);
    assert!(said.contains("names its own keyspaces, such as \"packages\"; 0 records"), "{said}");
    let said = scene.fails(1, ["load", "copy", "--format", "jsonl", "one"]);
    assert!(said.contains("names no keyspace for its records; 0 records"), "{said}");
    scene.file("bad", "{\"keyspace\":\"a/b\"}\n");
    assert!(scene.fails(1, ["load", "copy", "--format", "jsonl", "bad"]).contains("no '/'"));
    scene.fails(2, ["load", "copy", "--format", "deb822", "packages"]);
}

#[test]
fn a_raw_dump_that_was_cut_does_not_load_as_a_whole_one() {
    let scene = a_database("dump-cut");
    let dumped = scene.ok(["dump", "db", "--output", "raw"]);
    scene.file("cut", &dumped[..dumped.len() - 1]);

    let said = scene.fails(1, ["load", "copy", "--format", "raw", "cut"]);

    assert!(said.contains(&format!("byte {}: the dump ends here", dumped.len() - 1)), "{said}");
}

#[test]
fn damage_ends_a_dump() {
    let scene = a_database("dump-damage");
    scene.ok(["flush", "db"]);
    scene.ok(["compact", "db"]);
    for table in fs::read_dir(scene.path("db/tables")).unwrap().map(|entry| entry.unwrap().path()) {
        let mut bytes = fs::read(&table).unwrap();
        bytes[64 + 30] ^= 1;
        fs::write(&table, bytes).unwrap();
    }

    let said = scene.fails(3, ["dump", "db", "packages", "--output", "raw"]);

    assert!(said.contains(".table at byte 64: "), "{said}");
}
