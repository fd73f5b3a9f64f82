//! Syncs: what they cover, how they share, and what a failed one ends.

use super::support::{Bench, Call, Fault, at, put, put_all};
use isopach_engine::error::ErrorKind;
use isopach_env::IoErrorKind;
use std::sync::Arc;

#[test]
fn a_sync_makes_all_that_was_appended_durable() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..4);
    assert!(wal.synced_upto() < wal.end());

    assert_eq!(wal.sync().unwrap(), wal.end());

    assert_eq!(wal.synced_upto(), wal.end());
}

#[test]
fn earlier_segments_are_synced_first() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..60);
    let before = bench.fs.step();

    wal.sync().unwrap();

    let synced = format!("{:?}", &bench.fs.changes()[before..]);
    assert_eq!(synced, "[Sync { inode: 0 }, Sync { inode: 1 }, Sync { inode: 2 }]");
    wal.sync().unwrap();
    assert_eq!(bench.fs.step(), before + 3, "nothing is left to sync");
    put(&wal, 60, 8).unwrap();
    wal.sync().unwrap();
    assert_eq!(format!("{:?}", &bench.fs.changes()[before + 4..]), "[Sync { inode: 2 }]");
}

#[test]
fn a_sync_of_a_sealed_segment_leaves_the_current_one_alone() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..4);
    let boundary = wal.end();
    wal.rotate_segment().unwrap();
    put_all(&wal, 4..8);
    let before = bench.fs.step();

    assert_eq!(wal.sync_through(boundary).unwrap(), boundary);

    assert_eq!(format!("{:?}", &bench.fs.changes()[before..]), "[Sync { inode: 0 }]");
    assert!(wal.sync().unwrap() > boundary);
}

#[test]
fn records_carry_what_was_durable_when_they_were_written() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 100).unwrap();
    let synced = wal.sync().unwrap();
    assert_eq!(bench.killed().recover().unwrap().durable, at(0, 0));

    put(&wal, 2, 100).unwrap();

    assert_eq!(bench.killed().recover().unwrap().durable, synced);
}

#[test]
fn a_void_record_is_written_once_per_sync() {
    let bench = Bench::new();
    let wal = bench.start();
    wal.append_void_if_idle().unwrap();
    assert_eq!(bench.numbers(), [], "an empty log has nothing to tell");
    put(&wal, 1, 100).unwrap();
    wal.append_void_if_idle().unwrap();
    let end = wal.sync().unwrap();

    wal.append_void_if_idle().unwrap();
    assert_eq!(wal.end(), at(1, end.offset + 32));
    for _ in 0..3 {
        wal.append_void_if_idle().unwrap();
        wal.sync().unwrap();
    }

    assert_eq!(wal.end(), at(1, end.offset + 32), "a void record alone is no reason for another");
    assert_eq!(bench.killed().replayed(), [1]);
}

#[test]
fn a_full_segment_has_room_for_the_void_record() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 4096 - 120 - 32 - 32 - 24).unwrap();
    assert_eq!(wal.end(), at(1, 4096 - 32));
    wal.sync().unwrap();

    wal.append_void_if_idle().unwrap();
    assert_eq!(wal.end(), at(1, 4096));
    put(&wal, 2, 8).unwrap();

    assert_eq!(bench.killed().replayed(), [1, 2]);
}

#[test]
fn a_failed_sync_poisons_and_nothing_later_is_durable() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 100).unwrap();
    let durable = wal.sync().unwrap();
    put(&wal, 2, 100).unwrap();
    bench.fs.arm(Fault::once(Call::Sync, IoErrorKind::Other));

    let error = wal.sync().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert!(error.to_string().contains("wal/000001.wal"), "{error}");
    // The backend would say that all is well: that means nothing any more.
    let before = bench.fs.step();
    for _ in 0..2 {
        assert_eq!(wal.sync().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(put(&wal, 3, 100).unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(wal.append_void_if_idle().unwrap_err().kind(), ErrorKind::Poisoned);
    }
    assert_eq!(wal.sync_through(durable).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!((wal.synced_upto(), bench.fs.step()), (durable, before));
    assert_eq!(wal.poisoned().unwrap().kind(), ErrorKind::Poisoned);
}

#[test]
fn a_failed_sync_of_an_earlier_segment_keeps_later_ones_from_counting() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..60);
    bench.fs.arm(Fault { skip: 1, ..Fault::once(Call::Sync, IoErrorKind::Other) });

    wal.sync().unwrap_err();

    assert_eq!(wal.synced_upto(), at(0, 0));
    assert_eq!(
        bench.fs.take_sync_sites(),
        ["wal.name", "wal.name", "wal.name", "wal.segment", "wal.segment"]
    );
}

#[test]
fn a_failed_sync_of_the_directory_poisons() {
    let bench = Bench::new();
    let wal = bench.start();
    bench.fs.arm(Fault::once(Call::SyncDir, IoErrorKind::Other));

    assert_eq!(put(&wal, 1, 8).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(put(&wal, 2, 8).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(bench.killed().replayed(), []);
}

#[test]
fn who_waits_for_a_sync_shares_the_next_one() {
    let bench = Bench::new();
    let wal = bench.start();
    let positions: Vec<_> = (1..=32).map(|seqno| put(&wal, seqno, 8).unwrap()).collect();
    bench.fs.take_sync_sites();

    std::thread::scope(|scope| {
        for &position in &positions {
            let wal = &wal;
            scope.spawn(move || assert!(wal.sync_through(position).unwrap() >= position));
        }
    });

    assert_eq!(bench.fs.take_sync_sites(), ["wal.segment"], "the first one covered all");
}

/// A segment that was synced, grew meanwhile and was left counted as durable in whole: a power cut lost what was
/// acknowledged behind it.
#[test]
fn what_is_appended_while_its_segment_is_synced_and_left_is_synced_next() {
    let bench = Bench::new();
    let wal = Arc::new(bench.start());
    put_all(&wal, 1..4);
    let beside = Arc::clone(&wal);
    bench.fs.beside_next_sync(move || {
        put(&beside, 4, 100).unwrap();
        beside.rotate_segment().unwrap();
        put(&beside, 5, 100).unwrap();
    });
    let synced = wal.sync().unwrap();
    assert!(synced < wal.end());
    let before = bench.fs.step();

    assert_eq!(wal.sync().unwrap(), wal.end());

    assert_eq!(format!("{:?}", &bench.fs.changes()[before..]), "[Sync { inode: 0 }, Sync { inode: 1 }]");
}
