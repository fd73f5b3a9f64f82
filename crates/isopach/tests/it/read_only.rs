//! Opening for reading: everything is there, and nothing is written.

use isopach::{Db, ErrorKind, VerifyOptions, env::MemFs};
use testkit::db::{all_bytes, contents, entries, small, tiny_tables};

/// Tables, a log with all kinds of records, and a crash at the end.
fn crashed() -> (MemFs, testkit::Contents) {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let (a, gone) =
        (db.keyspace_with("a", tiny_tables()).unwrap(), db.keyspace_with("gone", tiny_tables()).unwrap());
    for n in 0..200_u16 {
        a.insert(n.to_be_bytes(), vec![n as u8; 300]).unwrap();
        gone.insert(n.to_be_bytes(), "x").unwrap();
    }
    db.flush().unwrap();
    for n in 100..250_u16 {
        a.insert(n.to_be_bytes(), "in the log").unwrap();
    }
    a.remove(0_u16.to_be_bytes()).unwrap();
    db.drop_keyspace("gone").unwrap();
    db.keyspace("new").unwrap().insert("k", "v").unwrap();
    db.wait_idle(testkit::db::SOON).unwrap();
    (files.deep_clone(), contents(&db))
}

#[test]
fn opening_for_reading_replays_the_log_in_memory_and_writes_nothing() {
    let (files, expected) = crashed();
    let before = all_bytes(&files);

    let db = small(files.clone()).open_read_only().unwrap();
    let mut names: Vec<String> = db.keyspaces().into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["a", "new"]);
    for (name, expected) in &expected {
        assert_eq!(entries(&db.keyspace(name).unwrap()), *expected);
    }
    assert!(db.recovery().log_records > 0 && !db.recovery().is_clean);
    assert!(db.stats().keyspaces.iter().any(|keyspace| keyspace.tree.memtable_bytes > 0));
    assert_eq!(db.keyspace("gone").unwrap_err().kind(), ErrorKind::KeyspaceMissing);
    let report = small(files.clone()).verify(VerifyOptions::new()).unwrap();
    assert!(report.found.is_empty() && report.log_records > 0, "{report:?}");
    drop(db);

    assert_eq!(all_bytes(&files), before);
}

#[test]
fn readers_do_not_shut_each_other_out_and_a_writer_waits_for_none() {
    let (files, _) = crashed();
    let one = small(files.clone()).open_read_only().unwrap();
    let two = small(files.clone()).open_read_only().unwrap();

    assert_eq!(one.seqno(), two.seqno());
    assert_eq!(small(files.clone()).open().unwrap_err().kind(), ErrorKind::Locked);
    let ks = one.keyspace("a").unwrap();
    drop((one, two));
    assert_eq!(small(files.clone()).open().unwrap_err().kind(), ErrorKind::Locked, "a keyspace reads on");
    assert_eq!(ks.count(..).unwrap(), 249);
    drop(ks);
    assert!(small(files).open().is_ok());
}

#[test]
fn a_directory_without_a_database_is_not_found_and_stays_empty() {
    let files = MemFs::new();

    assert_eq!(small(files.clone()).open_read_only().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(small(files.clone()).verify(VerifyOptions::new()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(small(files.clone()).create_if_missing(false).open().unwrap_err().kind(), ErrorKind::NotFound);

    assert!(all_bytes(&files).is_empty());
    assert_eq!(Db::builder("/no such place/db").open_read_only().unwrap_err().kind(), ErrorKind::NotFound);
}
