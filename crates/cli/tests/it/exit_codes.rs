//! The documented exit codes, and that a failure changes nothing.

use crate::support::{PACKAGES, Scene, files};
use std::{fs, path::PathBuf};

/// A header of version 0x80ff: magic, kind, checksum id, version, two uuids, zeros, checksum.
const NEWER_IDENTITY: [u8; 64] = *b"ISOP\x01\x01\xff\x80\
    \x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\
    \x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x20\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xd4\x6d\xc0\xbc";

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

    assert!(said.contains("line 15: no Package field"), "{said}");
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
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().all(|found| table.ends_with(found["file"].as_str().unwrap())), "{report}");
    assert!(findings.iter().any(|found| found["offset"] == 64), "{report}");
    scene.fails(3, ["verify", "db", "--full"]);
    scene.fails(2, ["verify", "db", "--full", "--quick"]);
    let said = scene.fails(3, ["scan", "db", "packages"]);
    assert!(said.contains(".table at byte 64: "), "{said}");
}

/// A header is among what `info` looks at; a block is not, and it says so.
#[test]
fn info_tells_of_damage_that_a_quick_look_finds() {
    let scene = Scene::with_packages("info");
    scene.ok(["flush", "db"]);
    let sound = scene.objects(["info", "db", "--output", "jsonl"]);
    let tables = fs::read_dir(scene.path("db/tables")).unwrap();
    let table = tables.map(|entry| entry.unwrap().path()).next().expect("flush made a table");
    let mut bytes = fs::read(&table).unwrap();
    bytes[20] ^= 0x40;
    fs::write(&table, bytes).unwrap();

    let damaged = scene.objects(["info", "db", "--output", "jsonl"]);
    let said = String::from_utf8(scene.ok(["info", "db", "--output", "table"])).unwrap();

    assert_eq!(sound[0]["damage"].as_array().unwrap().len(), 0);
    let found = damaged[0]["damage"].as_array().unwrap();
    assert!(found.iter().any(|found| table.ends_with(found["file"].as_str().unwrap())), "{found:?}");
    assert!(said.contains("\ndamaged ") && said.contains("1 damaged place seen"), "{said}");
}

#[test]
fn damaged_manifest_is_3_and_stays_as_it_is() {
    let scene = Scene::with_packages("manifest");
    let is_manifest = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST-");
    let (manifest, mut bytes) =
        files(&scene.path("db")).into_iter().rfind(|(path, _)| is_manifest(path)).expect("there is one");
    bytes[100] ^= 1;
    fs::write(&manifest, &bytes).unwrap();
    let before = files(&scene.path("db"));

    for args in [&["info", "db"][..], &["verify", "db"], &["put", "db", "packages", "key", "value"]] {
        let said = scene.fails(3, args);
        assert!(said.contains("MANIFEST-") && said.contains(" at byte "), "{said}");
    }

    assert_eq!(files(&scene.path("db")), before);
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
fn empty_directory_is_4_to_read_and_a_new_database_to_write() {
    let scene = Scene::new("empty");
    fs::create_dir(scene.path("db")).unwrap();

    scene.fails(4, ["info", "db"]);
    scene.fails(4, ["verify", "db"]);
    assert_eq!(files(&scene.path("db")), []);

    scene.ok(["put", "db", "k", "key", "value"]);
}

#[test]
fn not_a_database_is_6_and_untouched() {
    let scene = Scene::new("not-a-database");
    scene.file("file", "a file");
    fs::create_dir(scene.path("home")).unwrap();
    scene.file("home/letter", "dear");
    // As RocksDB has it.
    fs::create_dir(scene.path("rocks")).unwrap();
    scene.file("rocks/CURRENT", "MANIFEST-000005\n");
    scene.file("rocks/IDENTITY", "6a3d2f0e-0d4b-4c0b-9d0f-5f1f6c1d2e3f");
    scene.file("rocks/MANIFEST-000005", "edits");
    let before = files(&scene.path(""));

    for db in ["file", "home", "rocks"] {
        for args in [&["info", db][..], &["verify", db], &["put", db, "k", "key", "value"]] {
            scene.fails(6, args);
        }
    }

    assert_eq!(files(&scene.path("")), before);
}

#[test]
fn newer_format_is_6_and_untouched() {
    let scene = Scene::with_packages("newer");
    scene.file("db/IDENTITY", NEWER_IDENTITY);
    let before = files(&scene.path("db"));

    for args in [&["info", "db"][..], &["verify", "db"], &["put", "db", "packages", "key", "value"]] {
        let said = scene.fails(6, args);
        assert!(said.contains("IDENTITY: format version 0x80ff"), "{said}");
    }

    assert_eq!(files(&scene.path("db")), before);
}

#[test]
fn key_that_is_too_long_is_1() {
    let scene = Scene::new("long-key");

    let said = scene.fails(1, ["put", "db", "k", &"k".repeat(65_536), ""]);
    assert!(said.contains("65536") && said.contains("65535"), "{said}");

    scene.ok(["put", "db", "k", &"k".repeat(65_535), ""]);
    assert_eq!(scene.objects(["count", "db", "k"])[0]["count"], 1);
}
