//! Segments that are mapped: what is stored and what is written, when they are left, and what is had ahead.

use super::support::{Bench, Call, Fault, at, body_of, put, put_all, record};
use crate::wal::Wal;
use isopach_engine::error::ErrorKind;
use isopach_env::IoErrorKind;

fn mapped() -> Bench {
    let mut bench = Bench::new();
    bench.options.maps = true;
    bench
}

/// Whether a record was stored.
fn store(wal: &Wal, seqno: u64, len: usize) -> bool {
    wal.store(&record(seqno, &body_of(seqno, len))).unwrap()
}

#[test]
fn a_record_is_stored_where_the_segment_is_mapped_and_has_room() {
    let bench = mapped();
    let wal = bench.start();
    assert!(!store(&wal, 1, 100), "there is no segment yet");
    put(&wal, 1, 100).unwrap();
    let (before, stores) = (bench.fs.step(), bench.fs.stores());

    assert!(store(&wal, 2, 100) && store(&wal, 3, 8));

    assert_eq!((bench.fs.step() - before, bench.fs.stores() - stores), (2, 2), "nothing but two stores");
    assert!(!store(&wal, 4, 4096), "longer than what is left");
    put(&wal, 4, 4096).unwrap();
    assert_eq!(bench.killed().replayed(), [1, 2, 3, 4], "it outlives the process");
    let end = wal.end();
    wal.sync().unwrap();
    assert!(wal.synced_upto() >= end);
}

#[test]
fn without_maps_nothing_is_stored() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..4);

    assert!(!store(&wal, 4, 100));

    assert_eq!(bench.fs.stores(), 0);
}

#[test]
fn a_backend_that_did_not_map_is_not_asked_again() {
    let bench = mapped();
    bench.fs.arm(Fault::once(Call::Map, IoErrorKind::Unsupported));
    let wal = bench.start();

    put_all(&wal, 1..100);

    assert_eq!(bench.fs.stores(), 0);
    assert_eq!(bench.killed().replayed().len(), 99);
}

#[test]
fn a_demand_for_a_sync_leaves_the_mapped_segment_and_maps_come_back_when_none_follows() {
    let bench = mapped();
    let wal = bench.start();
    put_all(&wal, 1..4);
    assert!(store(&wal, 4, 100));

    wal.sync().unwrap();

    assert_eq!(wal.segments().len(), 2, "the log goes on in a segment that is written");
    assert!(!store(&wal, 5, 100));
    let stores = bench.fs.stores();
    put_all(&wal, 5..8);
    assert_eq!(bench.fs.stores(), stores);
    let before = bench.fs.step();
    wal.sync().unwrap();
    assert_eq!(format!("{:?}", &bench.fs.changes()[before..]), "[Sync { inode: 1 }]", "a small one");
    put_all(&wal, 8..12);
    assert!(store(&wal, 12, 100), "after as many records as the options say");
    assert_eq!(bench.killed().replayed(), (1..13).collect::<Vec<_>>());
}

#[test]
fn who_syncs_now_and_then_leaves_the_mapped_segment_as_it_is() {
    let bench = mapped();
    let wal = bench.start();
    put_all(&wal, 1..4);

    assert_eq!(wal.sync_once(wal.end()).unwrap(), wal.end());

    assert!(store(&wal, 4, 100));
    assert_eq!(wal.segments().len(), 1);
}

#[test]
fn a_sync_of_a_segment_that_was_left_is_no_demand() {
    let bench = mapped();
    let wal = bench.start();
    put_all(&wal, 1..4);
    let boundary = wal.end();
    wal.rotate_mapped_segment().unwrap();

    wal.sync_through(boundary).unwrap();

    put(&wal, 4, 100).unwrap();
    assert!(store(&wal, 5, 100));
    assert_eq!(wal.synced_upto(), boundary);
}

#[test]
fn a_sync_works_without_space_for_another_segment() {
    let bench = mapped();
    let wal = bench.start();
    put_all(&wal, 1..4);
    bench.fs.arm(Fault { times: 100, ..Fault::once(Call::Allocate, IoErrorKind::OutOfSpace) });

    assert_eq!(wal.sync().unwrap(), wal.end());

    put(&wal, 4, 100).unwrap();
    assert_eq!(wal.sync().unwrap(), wal.end(), "appends go on in the segment that is there");
    assert_eq!(bench.killed().replayed(), [1, 2, 3, 4]);
}

#[test]
fn a_prepared_segment_begins_with_one_write() {
    let bench = mapped();
    let wal = bench.start();
    put_all(&wal, 1..8);
    assert!(wal.takes_wish() && !wal.takes_wish(), "it is wished for once");
    wal.prepare().unwrap();
    wal.prepare().unwrap();
    assert_eq!(bench.numbers(), [1, 2], "one is enough");
    assert_eq!(bench.killed().replayed(), (1..8).collect::<Vec<_>>(), "and is no log");
    let (before, stores) = (bench.fs.step(), bench.fs.stores());

    wal.rotate_segment().unwrap();

    assert_eq!((bench.fs.step() - before, bench.fs.stores() - stores), (1, 0));
    assert!(store(&wal, 8, 100));
    assert_eq!(wal.end().file, 2);
    assert_eq!(bench.killed().replayed(), (1..9).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_was_prepared_too_late_goes() {
    let bench = mapped();
    let wal = bench.start();
    put_all(&wal, 1..4);
    wal.prepare().unwrap();
    wal.sync().unwrap();

    assert_eq!(wal.end(), at(3, 120), "a segment whose pages were brought in is not written and synced");
    wal.prepare().unwrap();
    wal.close().unwrap();
    bench.run_deletions();

    assert_eq!(bench.numbers(), [1, 3], "nothing prepared is left");
    assert_eq!(bench.killed().replayed(), [1, 2, 3]);
}

#[test]
fn a_preparation_that_fails_leaves_nothing_and_appends_go_on() {
    for (call, kind) in [(Call::Create, IoErrorKind::OutOfSpace), (Call::Allocate, IoErrorKind::OutOfSpace)] {
        let bench = mapped();
        let wal = bench.start();
        put_all(&wal, 1..4);
        bench.fs.arm(Fault::once(call, kind));

        assert_eq!(wal.prepare().unwrap_err().kind(), ErrorKind::OutOfSpace);

        bench.run_deletions();
        assert_eq!(bench.numbers(), [1], "{call:?}");
        put_all(&wal, 4..60);
        assert_eq!(bench.killed().replayed().len(), 59);
    }
}

#[test]
fn a_preparation_whose_directory_cannot_be_synced_poisons() {
    let bench = mapped();
    let wal = bench.start();
    put_all(&wal, 1..4);
    bench.fs.arm(Fault::once(Call::SyncDir, IoErrorKind::Other));

    assert_eq!(wal.prepare().unwrap_err().kind(), ErrorKind::Poisoned);

    assert_eq!(put(&wal, 4, 8).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(wal.store(&record(4, &body_of(4, 8))).unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn a_closed_log_stores_nothing() {
    let bench = mapped();
    let wal = bench.start();
    put_all(&wal, 1..4);
    wal.close().unwrap();

    assert!(!store(&wal, 4, 8));

    assert_eq!(put(&wal, 4, 8).unwrap_err().kind(), ErrorKind::Closed);
}
