//! Writers that are killed, logs that are torn.

use crate::support::{Scene, files};
use serde_json::Value;
use std::{fs, path::PathBuf};

#[test]
fn killed_writer_leaves_whole_batches() {
    let scene = Scene::new("killed");
    scene.writer().kill();

    let count = scene.objects(["count", "db", "crash"])[0]["count"].as_u64().unwrap();

    assert!(count > 0 && count.is_multiple_of(50), "{count} records");
    assert_eq!(scene.objects(["verify", "db"])[0]["findings"], serde_json::json!([]));
}

#[test]
fn torn_log_end_is_dropped_and_said() {
    let scene = Scene::new("torn");
    scene.writer().kill();
    let count = scene.objects(["count", "db", "crash"])[0]["count"].clone();
    // A segment is longer than its records: behind them are zeros, here also half of what was under way.
    let (log, mut bytes) = logs(&scene).pop().expect("the writer has a log");
    let written = bytes.iter().rposition(|&byte| byte != 0).expect("every segment has a header") + 1;
    bytes.truncate(written);
    bytes.resize(written + 100, 0);
    bytes.extend_from_slice(b"half a record");
    fs::write(&log, bytes).unwrap();

    let info = &scene.objects(["info", "db"])[0];
    let screen = String::from_utf8(scene.ok(["info", "db", "--output", "table"])).unwrap();

    let torn = &info["recovery"]["discarded"];
    assert!(torn["bytes"].as_u64().unwrap() >= 13, "{info}");
    assert!(torn["offset"].as_u64().unwrap() >= 64, "{info}");
    assert!(log.ends_with(torn["file"].as_str().unwrap()), "{info}");
    assert!(screen.contains("a torn log end of "), "{screen}");
    assert_eq!(scene.objects(["count", "db", "crash"])[0]["count"], count, "what came before is kept");
    scene.ok(["put", "db", "crash", "more", "1"]);
    assert_eq!(scene.objects(["info", "db"])[0]["recovery"]["discarded"], Value::Null, "it is gone");
}

#[test]
fn log_that_was_closed_and_is_cut_is_damage() {
    let scene = Scene::new("cut");
    scene.ok(["put", "db", "k", "key", "a value that is cut"]);
    let (log, bytes) = logs(&scene).pop().expect("the value is in the log");
    let at = bytes.windows(7).position(|window| window == b"a value").expect("the value is in the log");
    fs::write(&log, &bytes[..at]).unwrap();

    let said = scene.fails(3, ["get", "db", "k", "key"]);
    let report = scene.run(["verify", "db"]);

    assert!(said.contains(&format!("wal/{}", log.file_name().unwrap().to_str().unwrap())), "{said}");
    assert_eq!(report.status.code(), Some(3), "{report:?}");
    scene.fails(3, ["put", "db", "k", "key", "v"]);
    assert_eq!(fs::read(&log).unwrap(), &bytes[..at], "nothing is repaired silently");
}

#[test]
fn what_was_durable_is_given_up_only_if_asked_to() {
    let scene = Scene::new("salvage");
    scene.ok(["put", "db", "k", "kept", "1"]);
    scene.ok(["put", "db", "k", "lost", "a value that is damaged"]);
    let (log, mut bytes) = logs(&scene).pop().expect("the value is in the log");
    let at = bytes.windows(7).position(|window| window == b"a value").expect("the value is in the log");
    bytes[at] ^= 1;
    fs::write(&log, bytes).unwrap();
    scene.fails(3, ["info", "db"]);
    scene.fails(3, ["flush", "db", "--log-recovery", "absolute"]);

    let look = &scene.objects(["info", "db", "--log-recovery", "point-in-time"])[0];
    scene.fails(3, ["info", "db"]); // Looking has changed nothing.
    scene.ok(["flush", "db", "--log-recovery", "point-in-time"]);

    assert_eq!(look["recovery"]["discarded"]["durable"], true, "{look}");
    assert!(log.ends_with(look["recovery"]["discarded"]["file"].as_str().unwrap()), "{look}");
    assert_eq!(scene.objects(["count", "db", "k"])[0]["count"], 1);
    assert_eq!(scene.objects(["info", "db", "--log-recovery", "absolute"])[0]["recovery"]["clean"], true);
}

/// The log of `db`, in order.
fn logs(scene: &Scene) -> Vec<(PathBuf, Vec<u8>)> {
    files(&scene.path("db/wal"))
}

#[test]
fn demo_passes_and_leaves_nothing_unless_asked() {
    let scene = Scene::new("demo");

    let said = scene.ok(["demo", "--dir", "d", "--rounds", "1", "--seconds", "0.4", "--seed", "1"]);
    assert!(String::from_utf8(said).unwrap().contains("All checks passed"));
    assert!(!scene.path("d").exists());

    scene.ok(["demo", "--dir", "kept", "--keep", "--rounds", "1", "--seconds", "0.3"]);
    assert_eq!(scene.objects(["count", "kept", "unicode"])[0]["count"], 34_924);
    let said = scene.fails(1, ["demo", "--dir", "kept"]);
    assert!(said.contains("not empty"), "{said}");
}

#[test]
fn torture_loses_nothing_and_says_what_it_tried() {
    let scene = Scene::new("torture");

    let said = scene.objects(["torture", "d", "--seconds", "4", "--writers", "3", "--readers", "1"]);

    let last = said.last().unwrap();
    assert_eq!((&last["schema"], &last["lost"]), (&"isopach.torture/1".into(), &0.into()), "{last}");
    for tried in ["kills", "acknowledged", "checkpoints", "views", "entries", "second_openings_refused"] {
        assert!(last[tried].as_u64().unwrap() > 0, "{tried}: {last}");
    }
    assert!(!scene.path("d").exists(), "it leaves nothing");
    fs::create_dir(scene.path("full")).unwrap();
    scene.file("full/file", "x");
    assert!(scene.fails(1, ["torture", "full"]).contains("not empty"));
}

#[test]
fn torture_notices_a_log_that_lost_its_end() {
    let said = tampered("log-end");

    // What lies below the last sync that the database knows of is damage, not only a loss.
    assert!(said.contains("acknowledged operations of writer") || said.contains("wal/"), "{said}");
}

#[test]
fn torture_notices_a_database_that_is_an_older_self() {
    let said = tampered("old-copy");

    assert!(said.contains("acknowledged operations of writer"), "{said}");
}

#[test]
fn torture_notices_a_bit_of_a_table() {
    let said = tampered("table-bit");

    assert!(said.contains(".table"), "{said}");
}

#[test]
fn torture_notices_a_checkpoint_that_lacks_a_table() {
    let said = tampered("checkpoint-table");

    assert!(said.contains("checkpoints/"), "{said}");
}

/// What a run says whose database is damaged between kill and check. It ends with the first loss.
fn tampered(how: &str) -> String {
    let scene = Scene::new(how);

    let output = scene.run(["torture", "d", "--seconds", "120", "--seed", "7", "--tamper", how]);

    let said = String::from_utf8(output.stderr).unwrap();
    let last = String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(last["lost"].as_u64().unwrap() > 0, "{last}");
    assert!(said.contains("`isopach torture d --seconds 120 --seed 7 "), "{said}");
    assert!(scene.path("d/db").exists(), "what is left is kept");
    said
}
