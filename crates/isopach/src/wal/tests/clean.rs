//! Closing, and what recovery demands of a log that was closed.

use super::support::{Bench, Call, Fault, RemoveSegment as _, at, name, put, put_all};
use isopach_engine::{codec::LogPosition, error::ErrorKind};
use isopach_env::IoErrorKind;

/// A log of ten records that was closed, and the facts that a manifest would keep.
fn closed() -> Bench {
    let mut bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..11);
    bench.facts.clean_end = Some(wal.close().unwrap().end);
    bench.killed()
}

#[test]
fn a_close_syncs_and_cuts_to_the_exact_end() {
    let mut bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..11);
    bench.fs.take_sync_sites();

    let clean = wal.close().unwrap();

    assert_eq!((clean.end, wal.synced_upto()), (at(1, 1720), at(1, 1720)));
    assert_eq!(bench.fs.take_sync_sites(), ["wal.segment"]);
    assert_eq!(bench.bytes_of(1).len(), 1720);
    assert_eq!(put(&wal, 11, 8).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(wal.close().unwrap_err().kind(), ErrorKind::Closed);
    bench.facts.clean_end = Some(clean.end);
    let recovered = bench.recover().unwrap();
    assert_eq!((recovered.end, recovered.durable, recovered.records), (clean.end, clean.end, 10));
}

#[test]
fn under_a_pause_a_close_cuts_nothing_and_the_end_holds_all_the_same() {
    let mut bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..11);
    let _pause = bench.registry.pause();

    bench.facts.clean_end = Some(wal.close().unwrap().end);

    assert_eq!(bench.bytes_of(1).len(), 4096);
    assert_eq!(bench.replayed(), (1..11).collect::<Vec<_>>());
}

#[test]
fn a_log_without_records_closes_at_its_end() {
    let bench = Bench::new();
    assert_eq!(bench.start().close().unwrap().end, LogPosition::START);
    assert_eq!(bench.numbers(), []);

    let bench = closed();
    assert_eq!(bench.start().close().unwrap().end, at(1, 1720), "nothing was added");
    assert_eq!(bench.numbers(), [1]);
}

#[test]
fn a_closed_log_that_is_damaged_anywhere_is_corruption() {
    // A record ends in four bytes of padding, which hold nothing.
    let is_padding = |offset: usize| offset >= 120 && (offset - 120) % 160 >= 156;
    for offset in (0..1720).filter(|&offset| !is_padding(offset)) {
        let bench = closed();
        bench.damage(1, |bytes| bytes[offset] ^= 1);

        let error = bench.recover().unwrap_err();
        assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(&*name(1))), "byte {offset}");
    }
}

#[test]
fn a_closed_log_that_lacks_bytes_is_corruption() {
    let bench = closed();
    bench.damage(1, |bytes| bytes.truncate(1600));
    let error = bench.recover().unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(1560)));

    bench.fs.mem.remove_file_of(1);
    let error = bench.recover().unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(&*name(1))));
}

/// An older manifest beside a newer log: what was written since must not be lost silently.
#[test]
fn a_closed_log_that_goes_on_is_corruption() {
    let mut bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..11);
    bench.facts.clean_end = Some(wal.end());
    put(&wal, 11, 8).unwrap();
    assert_eq!(bench.recover().unwrap_err().kind(), ErrorKind::Corruption);

    let bench = closed();
    let wal = bench.start();
    put(&wal, 11, 8).unwrap();
    let error = bench.recover().unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(&*name(2))));
}

#[test]
fn an_empty_segment_behind_a_clean_end_is_no_harm() {
    let mut bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..11);
    let end = wal.end();
    bench.fs.arm(Fault { prefix: usize::MAX, ..Fault::once(Call::Write, IoErrorKind::OutOfSpace) });
    wal.rotate_segment().unwrap_err();

    bench.facts.clean_end = Some(wal.close().unwrap().end);

    assert_eq!(bench.facts.clean_end, Some(end));
    assert_eq!(bench.numbers(), [1, 2], "its opening was written, and it is not deleted yet");
    assert_eq!(bench.killed().replayed(), (1..11).collect::<Vec<_>>());
    let reopened = bench.killed();
    put(&reopened.start(), 11, 8).unwrap();
    reopened.run_deletions();
    assert_eq!(reopened.numbers(), [1, 3]);
}

#[test]
fn a_close_that_cannot_sync_has_no_clean_end() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 8).unwrap();
    bench.fs.arm(Fault::once(Call::Sync, IoErrorKind::Other));

    assert_eq!(wal.close().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(wal.close().unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn after_a_clean_end_the_log_goes_on_in_a_new_segment_that_begins_with_the_first_append() {
    let mut bench = closed();
    let before = bench.fs.step();

    let wal = bench.start();
    assert_eq!((bench.fs.step(), bench.numbers()), (before, vec![1]));
    assert_eq!((wal.end(), wal.synced_upto(), wal.oldest()), (at(1, 1720), at(1, 1720), 1));
    put(&wal, 11, 100).unwrap();

    bench.facts.clean_end = None;
    assert_eq!(bench.numbers(), [1, 2]);
    assert_eq!(bench.killed().replayed(), (1..12).collect::<Vec<_>>());
}

/// A note with such an end failed an assertion: it was taken for granted that none names a place before the
/// records.
#[test]
fn a_clean_end_where_no_log_ends_is_corruption() {
    for offset in [0, 64, 112, 128, 1712, 1728] {
        let mut bench = closed();
        bench.facts.clean_end = Some(at(1, offset));

        let error = bench.recover().unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Corruption, "{offset}: {error}");
    }
}
