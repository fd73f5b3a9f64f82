//! The documented exit codes, and that a failure changes nothing.

use crate::support::{PACKAGES, Scene};
use std::fs;

#[test]
fn malformed_line_is_1_and_batches_before_it_stay() {
    let scene = Scene::new("malformed");
    scene.file("in", "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\"}\n{\"key\":\"c\"}\n");

    let said = scene.fails(1, ["load", "db", "--keyspace", "k", "--format", "jsonl", "--batch", "1", "in"]);
    assert!(
        said.starts_with("isopach: load in: line 3: no \"value\"; 2 records before it applied\n"),
        "{said}"
    );
    assert_eq!(scene.objects(["count", "db", "k"])[0]["count"], 2);

    let said = scene.fails(1, ["load", "new", "--keyspace", "k", "--format", "jsonl", "in"]);
    assert!(said.contains("; 0 records before it applied\n"), "{said}");
    assert_eq!(scene.objects(["count", "new", "k"])[0]["count"], 0);
}

#[test]
fn malformed_stanza_is_1() {
    let scene = Scene::new("stanza");
    scene.file("in", [PACKAGES, b"\n\nVersion: 1\n"].concat());

    let said = scene.fails(1, ["load", "db", "--keyspace", "k", "--format", "deb822", "in"]);

    assert!(said.contains("line 14: no Package field"), "{said}");
    assert!(said.contains("0 stanzas before it applied"), "{said}");
}

#[test]
fn missing_input_is_1_and_makes_no_database() {
    let scene = Scene::new("no-input");

    scene.fails(1, ["load", "db", "--keyspace", "k", "--format", "jsonl", "nowhere"]);

    assert!(!scene.path("db").exists());
}

#[test]
fn wrong_usage_is_2_and_makes_no_database() {
    let scene = Scene::new("usage");

    scene.fails(2, ["dance"]);
    scene.fails(2, ["put", "db", "a/b", "key", "value"]);
    scene.fails(2, ["put", "db", "k", "--hex", "0", "00"]);
    scene.fails(2, ["scan", "db", "k", "--from", "b", "--to", "a"]);

    assert!(!scene.path("db").exists());
}

#[test]
fn damage_is_3() {
    let scene = Scene::with_packages("damage");
    scene.ok(["flush", "db"]);
    let tables = fs::read_dir(scene.path("db/tables")).unwrap();
    let table = tables.map(|entry| entry.unwrap().path()).next().expect("flush made a table");
    let mut bytes = fs::read(&table).unwrap();
    let zlib = bytes.windows(6).position(|window| window == b"zlib1g").expect("a key lies in the table");
    bytes[zlib + 2] ^= 0x40;
    fs::write(&table, bytes).unwrap();

    let output = scene.run(["verify", "db"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(report["findings"][0]["file"].as_str().unwrap().contains("tables/"), "{report}");
    scene.fails(3, ["scan", "db", "packages"]);
}

#[test]
fn what_is_missing_is_4_and_stays_missing() {
    let scene = Scene::with_packages("missing");

    let said = scene.fails(4, ["get", "db", "packages", "nothing"]);
    assert!(said.starts_with("isopach: get: no such key: nothing\n"), "{said}");
    for command in ["get", "rm"] {
        scene.fails(4, [command, "db", "nothing", "key"]);
        scene.fails(4, [command, "nothing", "k", "key"]);
    }
    scene.fails(4, ["compact", "db", "--keyspace", "nothing"]);
    for command in ["ls", "info", "levels", "verify", "flush", "compact"] {
        scene.fails(4, [command, "nothing"]);
    }

    assert!(!scene.path("nothing").exists());
    assert_eq!(scene.objects(["ls", "db"]).len(), 1);
}

#[test]
fn locked_is_5() {
    let scene = Scene::with_packages("locked");
    let writer = scene.writer();

    let said = scene.fails(5, ["get", "db", "packages", "base"]);
    assert!(said.contains("\nhint: "), "{said}");
    scene.fails(5, ["put", "db", "packages", "k", "v"]);
    scene.fails(5, ["info", "db"]);

    writer.kill();
    scene.ok(["get", "db", "packages", "base"]);
}

#[test]
fn not_a_database_is_6() {
    let scene = Scene::new("not-a-database");
    fs::create_dir(scene.path("db")).unwrap();
    scene
        .file("db/IDENTITY", "something else altogether, and long enough to be a header of 64 bytes or more");

    scene.fails(6, ["info", "db"]);
    scene.fails(6, ["put", "db", "k", "key", "value"]);
}
