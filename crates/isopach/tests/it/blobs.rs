//! Separated values, whole: what options say, what the background does about garbage, and what copies and crashes leave.

use isopach::{
    Compression, KeyspaceOptions,
    env::{CrashFs, MemFs, SubDir},
};
use std::{sync::Arc, time::Duration};
use testkit::{
    Rng,
    crash::{Act, Crash, Ledger, Pace, Plan, Run, explore},
    db::{SOON, entries, files_in, separating, small, tiny_tables},
    seeds,
};

/// A value that does not compress.
fn noise(rng: &mut Rng) -> Vec<u8> {
    rng.bytes(1500)
}

#[test]
fn options_of_separated_values_are_stored_checked_and_changed_live() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let options =
        KeyspaceOptions::new().blobs_from_bytes(4096).blob_file_bytes(1 << 20).blob_garbage_percent(50);
    let keyspace = db.keyspace_with("k", options).unwrap();
    for (set, name) in [
        ((|options| options.blobs_from_bytes = Some(63)) as fn(&mut KeyspaceOptions), "blobs_from_bytes"),
        (|options| options.blob_file_bytes = 1000, "blob_file_bytes"),
        (|options| options.blob_garbage_percent = 101, "blob_garbage_percent"),
        (|options| options.blob_garbage_percent = 0, "blob_garbage_percent"),
    ] {
        let refused = keyspace.set_options(set).unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
    }
    keyspace.set_options(|options| options.blobs_from_bytes = Some(1000)).unwrap();
    drop(keyspace);
    db.close().unwrap();

    let db = small(files).open().unwrap();
    let found = db.keyspace("k").unwrap().options();
    assert_eq!(
        (found.blobs_from_bytes, found.blob_file_bytes, found.blob_garbage_percent),
        (Some(1000), 1 << 20, 50)
    );
    assert_eq!(db.keyspace("default").unwrap().options().blobs_from_bytes, None, "off unless asked for");
}

#[test]
fn garbage_is_collected_in_the_background_and_views_keep_what_they_see() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let options = tiny_tables().blobs_from_bytes(1000).blob_file_bytes(64 << 10);
    let keyspace = db.keyspace_with("k", options).unwrap();
    let mut rng = Rng::new(7);
    let write_all = |rng: &mut Rng| {
        for key in 0..200_u32 {
            keyspace.insert(key.to_be_bytes(), noise(rng)).unwrap();
        }
    };
    write_all(&mut rng);
    db.flush().unwrap();
    let snapshot = db.snapshot();
    let before = entries(&keyspace.at(&snapshot));

    for _ in 0..6 {
        write_all(&mut rng);
    }
    db.flush().unwrap();
    db.wait_idle(SOON).unwrap();
    assert_eq!(entries(&keyspace.at(&snapshot)), before);
    drop(snapshot);
    write_all(&mut rng);
    db.flush().unwrap();
    keyspace.compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();

    let blobs = keyspace.stats().tree.blobs;
    assert_eq!(blobs.live_records, 200);
    assert!(blobs.stale_bytes * 100 <= 25 * (blobs.live_bytes + blobs.stale_bytes), "{blobs:?}");
    assert_eq!(files_in(&files, "blobs").len() as u64, blobs.files, "what is not needed is gone");
    let found = entries(&keyspace);
    drop(keyspace);
    db.close().unwrap();
    let db = small(files).open().unwrap();
    assert_eq!(entries(&db.keyspace("k").unwrap()), found);
}

#[test]
fn large_values_take_less_of_the_log_where_they_compress_and_survive_a_kill() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let options = tiny_tables().compression(Compression::Lz4).blobs_from_bytes(1000);
    let keyspace = db.keyspace_with("k", options.ttl(Duration::from_secs(3600))).unwrap();
    let value = |key: u32| key.to_be_bytes().repeat(1000);

    for key in 0..100_u32 {
        keyspace.insert(key.to_be_bytes(), value(key)).unwrap();
        assert_eq!(keyspace.get(key.to_be_bytes()).unwrap().unwrap()[..], value(key)[..]);
        assert_eq!(keyspace.value_len(key.to_be_bytes()).unwrap(), Some(4000));
    }

    assert!(db.stats().wal_bytes < 100 * 400, "{} bytes of log for 400,000", db.stats().wal_bytes);
    let killed = files.deep_clone();
    let again = small(killed).open().unwrap();
    let found = again.keyspace("k").unwrap();
    for key in 0..100_u32 {
        assert_eq!(found.get(key.to_be_bytes()).unwrap().unwrap()[..], value(key)[..]);
    }
}

#[test]
fn checkpoints_have_the_values_and_go_on_apart() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let keyspace = db.keyspace_with("k", separating(tiny_tables())).unwrap();
    let mut rng = Rng::new(8);
    for key in 0..100_u32 {
        keyspace.insert(key.to_be_bytes(), noise(&mut rng)).unwrap();
    }
    db.flush().unwrap();
    let expected = entries(&keyspace);
    let outer = Arc::new(MemFs::new());
    db.checkpoint_to(Arc::<MemFs>::clone(&outer), "copy", Default::default()).unwrap();
    for key in 0..100_u32 {
        keyspace.insert(key.to_be_bytes(), noise(&mut rng)).unwrap();
    }
    keyspace.compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();

    let copy = SubDir::open(outer, "copy").unwrap();
    let copied = small(copy).open().unwrap();
    let there = copied.keyspace("k").unwrap();
    assert_eq!(entries(&there), expected);
    for key in 0..50_u32 {
        there.remove(key.to_be_bytes()).unwrap();
    }
    there.compact_range(..).unwrap();
    copied.wait_idle(SOON).unwrap();
    assert_eq!(there.count(..).unwrap(), 50);
    assert_eq!(keyspace.count(..).unwrap(), 100);
}

/// The process dies, or the power goes, at every step of work that separates, overwrites and moves values.
#[test]
fn a_crash_at_any_step_of_moving_values_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        for crash in [Crash::Process, Crash::Power { images: 2 }] {
            let files = CrashFs::new();
            let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
            let mut most_files = 0;
            let explored = explore(&files, &mut run, Plan::new(seed, crash).one_in(2), |run| {
                // Values of up to 400 bytes, half of which are separated; a tenth may be stale.
                for _ in 0..4 {
                    run.perform(&[Act::Fill, Act::Flush, Act::Load, Act::Compact, Act::Wait]);
                    most_files = most_files.max(files_in(run.files(), "db/blobs").len());
                }
                run.perform(&[
                    Act::Checkpoint,
                    Act::Fill,
                    Act::Compact,
                    Act::Clear,
                    Act::Reopen,
                    Act::Compact,
                ]);
                run.close();
            });
            let explored = explored.unwrap_or_else(|violation| panic!("{violation}"));
            assert!(explored.images > 100 && most_files > 1, "{explored}, {most_files} files");
        }
    }
}
