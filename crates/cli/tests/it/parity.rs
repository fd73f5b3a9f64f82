//! Parity of a database: switched on, decayed, scrubbed.

use crate::support::Scene;
use std::{fs, path::PathBuf};

#[test]
fn a_database_that_decays_is_read_as_before_and_scrubbed_clean() {
    let scene = Scene::with_packages("parity");
    let of = |output: &[u8]| String::from_utf8(output.to_vec()).unwrap();
    scene.ok(["compact", "db", "--parity", "rs:16+2"]);
    assert!(of(&scene.ok(["ls", "db"])).contains("rs:16+2"));
    let before = scene.ok(["dump", "db"]);
    let tables: Vec<PathBuf> =
        fs::read_dir(scene.path("db/tables")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for table in &tables {
        let mut bytes = fs::read(table).unwrap();
        // A header, and part of a page.
        bytes[..64].fill(0);
        bytes[5000..5100].fill(0xFF);
        fs::write(table, bytes).unwrap();
    }

    assert_eq!(scene.ok(["dump", "db"]), before);
    let told = scene.run(["verify", "db"]);
    assert_eq!(told.status.code(), Some(3), "{told:?}");
    assert!(of(&told.stderr).contains("isopach scrub"), "{told:?}");
    let kept = scene.run(["scrub", "db", "--keep"]);
    assert_eq!(kept.status.code(), Some(3), "{kept:?}");
    let scrubbed = &scene.objects(["scrub", "db", "--bytes-per-s", "1000000000"])[0];
    assert_eq!(scrubbed["schema"], "isopach.scrub/1");
    assert_eq!((&scrubbed["healed"], &scrubbed["unhealed"]), (&tables.len().into(), &0.into()), "{scrubbed}");
    assert!(scrubbed["findings"].as_array().unwrap().iter().all(|found| found["harmless"] == true));

    scene.ok(["verify", "db", "--full", "--threads", "2", "--bytes-per-s", "1000000000"]);
    let again = &scene.objects(["scrub", "db", "--resume", "--threads", "2"])[0];
    assert!(
        again["files"].as_u64() > Some(0) && again["healed"] == 0,
        "the last had read everything: {again}"
    );
    assert_eq!(scene.ok(["dump", "db"]), before);
    assert_eq!(scene.run(["compact", "db", "--parity", "rs:16+1"]).status.code(), Some(2));
}
