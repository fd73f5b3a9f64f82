//! Writers that are killed, logs that are torn.

use crate::support::{Scene, files};
use std::fs;

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
    scene.ok(["put", "db", "k", "first", "1"]);
    scene.ok(["put", "db", "k", "second", "a value that is torn"]);
    let (log, bytes) = files(&scene.path("db"))
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "wal"))
        .find(|(_, bytes)| bytes.windows(6).any(|window| window == b"second"))
        .expect("the log has the second key");
    let at = bytes.windows(6).position(|window| window == b"second").unwrap();
    fs::write(log, &bytes[..at + 3]).unwrap();

    let info = &scene.objects(["info", "db"])[0];
    let screen = String::from_utf8(scene.ok(["info", "db", "--output", "table"])).unwrap();

    assert!(info["recovery"]["discarded"]["bytes"].as_u64().unwrap() > 0, "{info}");
    assert!(info["recovery"]["discarded"]["file"].as_str().unwrap().ends_with(".wal"), "{info}");
    assert!(screen.contains("a torn log end of "), "{screen}");
    assert_eq!(scene.objects(["count", "db", "k"])[0]["count"], 1);
    scene.fails(4, ["get", "db", "k", "second"]);
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
