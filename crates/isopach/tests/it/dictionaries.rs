//! Dictionaries of keyspaces: asked for by an option, trained by compactions, part of every copy. Without the feature
//! `zstd` these tests say nothing.

use isopach::{
    Compression, Db, ErrorKind, KeyspaceOptions, Readable, VerifyDepth, VerifyOptions,
    env::{CrashFs, Fs, MemFs},
};
use testkit::{
    Rng,
    crash::{Act, Crash, Ledger, Pace, Plan, Run, explore},
    db::{SOON, files_in, similar_value, small, trained_tables},
    seeds,
};

fn are_there() -> bool {
    Compression::Zstd { level: 3 }.is_available()
}

/// A keyspace of values that have much in common, merged.
fn trained(db: &Db, name: &str) -> isopach::Keyspace {
    let keyspace = db.keyspace_with(name, trained_tables()).unwrap();
    // Over tables that reach from the first to the last key, so that the compaction merges: what only moves stays as it
    // is.
    for _ in 0..2 {
        let mut rng = Rng::new(7);
        let mut batch = db.batch();
        for n in 0..400 {
            batch.insert(&keyspace, format!("key{n:04}"), similar_value(&mut rng));
        }
        db.write(batch).unwrap();
        db.flush().unwrap();
    }
    keyspace.compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();
    keyspace
}

fn check(keyspace: &impl Readable) {
    let mut rng = Rng::new(7);
    for n in 0..400 {
        let value = keyspace.get(format!("key{n:04}")).unwrap();
        assert_eq!(value.as_deref(), Some(&similar_value(&mut rng)[..]));
    }
}

#[test]
fn the_size_of_dictionaries_is_an_option_that_is_stored_and_changed_live() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let keyspace = db.keyspace_with("k", KeyspaceOptions::new().dictionary_bytes(4 << 10)).unwrap();
    assert_eq!(keyspace.options().dictionary_bytes, 4 << 10);
    assert_eq!(db.keyspace("default").unwrap().options().dictionary_bytes, 0, "off unless asked for");

    keyspace.set_options(|options| options.dictionary_bytes = 16 << 10).unwrap();
    for wrong in [1, (1 << 10) - 1, (1 << 20) + 1] {
        let refused = keyspace.set_options(|options| options.dictionary_bytes = wrong).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        assert!(refused.to_string().contains("dictionary_bytes"), "{refused}");
    }
    drop(keyspace);
    db.close().unwrap();

    let db = small(files).open().unwrap();
    assert_eq!(db.keyspace("k").unwrap().options().dictionary_bytes, 16 << 10);
}

#[test]
fn a_keyspace_with_a_dictionary_is_read_after_reopening_and_out_of_a_checkpoint() {
    if !are_there() {
        return;
    }
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    check(&trained(&db, "k"));
    let dictionaries = files_in(&files, "dictionaries");
    assert_eq!(dictionaries.len(), 1);
    let copy = MemFs::new();
    db.checkpoint_to(std::sync::Arc::new(copy.clone()), "copy", Default::default()).unwrap();
    assert_eq!(files_in(&copy, "copy/dictionaries"), dictionaries);
    drop(db);

    let copy = isopach::env::SubDir::open(std::sync::Arc::new(copy), "copy").unwrap();
    let full = || VerifyOptions::new().depth(VerifyDepth::Full);
    assert!(small(copy.clone()).verify(full()).unwrap().found.is_empty());
    check(&small(files.clone()).open_read_only().unwrap().keyspace("k").unwrap());
    for db in [small(copy).open().unwrap(), small(files).open().unwrap()] {
        check(&db.keyspace("k").unwrap());
        assert!(db.verify(full()).unwrap().found.is_empty());
    }
}

#[test]
fn a_missing_dictionary_is_an_error_with_its_path_and_other_keyspaces_go_on() {
    if !are_there() {
        return;
    }
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    trained(&db, "k");
    db.keyspace("other").unwrap().insert("key", "value").unwrap();
    db.close().unwrap();
    let name = format!("dictionaries/{}", files_in(&files, "dictionaries")[0]);
    files.remove_file(&name).unwrap();

    let db = small(files).open().unwrap();
    let error = db.keyspace("k").unwrap().get("key0001").unwrap_err();

    assert_eq!(error.kind(), ErrorKind::MissingDictionary, "{error}");
    assert_eq!(error.path(), Some(std::path::Path::new("db").join(&name).as_path()));
    assert!(error.to_string().contains("tables/"), "{error} names the table");
    assert_eq!(db.keyspace("other").unwrap().get("key").unwrap().unwrap(), b"value");
}

#[test]
fn a_dropped_keyspace_leaves_no_dictionary() {
    if !are_there() {
        return;
    }
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    trained(&db, "k");
    assert_eq!(files_in(&files, "dictionaries").len(), 1);

    assert!(db.drop_keyspace("k").unwrap());
    db.wait_idle(SOON).unwrap();

    testkit::db::wait_until("the dictionary goes", || files_in(&files, "dictionaries").is_empty());
}

/// The process dies, or the power goes, at every step of compactions that train dictionaries, use them again and let go
/// of them: nothing that was acknowledged is lost, and no dictionary is left over.
#[test]
fn a_crash_at_any_step_of_compactions_that_train_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        for crash in [Crash::Process, Crash::Power { images: 2 }] {
            let files = CrashFs::new();
            let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
            let explored = explore(&files, &mut run, Plan::new(seed, crash).one_in(2), |run| {
                run.perform(&[Act::Train]);
                let trained = files_in(run.files(), "db/dictionaries").len();
                assert_eq!(trained, usize::from(are_there()), "the first compaction trains");
                run.perform(&[Act::Train, Act::Checkpoint, Act::Train, Act::Reopen]);
                run.perform(&[Act::Train; 6]);
                run.close();
            });
            let explored = explored.unwrap_or_else(|violation| panic!("{violation}"));
            assert!(explored.images > 100, "{explored}");
        }
    }
}
