//! Opening a recovered log for writing: the copy of what is not durable, and crashes on the way.

use super::support::{Bench, Call, Change, Fault, TestFs, at, name, put, put_all, seqno};
use crate::wal::Wal;
use isopach_engine::error::ErrorKind;
use isopach_env::{IoErrorKind, MemFs};

/// Length of a record with a body of 100 bytes.
const RECORD: u64 = 160;
/// Where the first record of the caller lies.
const DATA_AT: u64 = 120;

/// A killed log of ten records, of which four are known durable.
fn killed() -> Bench {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..5);
    wal.sync().unwrap();
    put_all(&wal, 5..11);
    bench.killed()
}

/// The files as they were after each change that `bench` made since `from`.
fn images(bench: &Bench, from: usize) -> Vec<MemFs> {
    let changes = bench.fs.changes();
    (from..=changes.len()).map(|end| super::power::image_of(&changes[..end])).collect()
}

#[test]
fn the_tail_is_copied_and_durable_when_the_log_is_open() {
    let bench = killed();
    let before = bench.fs.step();

    let wal = bench.start();

    assert_eq!(bench.fs.take_sync_sites(), ["wal.copies", "wal.copies_name", "wal.copies_start"]);
    let changes = bench.fs.changes();
    assert!(
        matches!(
            &changes[before..],
            [
                Change::Create { .. },
                Change::SetLen { .. },
                Change::Write { offset: 0, .. },
                Change::Write { offset: DATA_AT, .. },
                Change::Sync { .. },
                Change::SyncDir,
                Change::Write { offset: 64, .. },
                Change::Sync { .. },
            ]
        ),
        "the first record comes last: {changes:?}"
    );
    let end = at(2, DATA_AT + 6 * RECORD);
    assert_eq!((wal.end(), wal.synced_upto()), (end, end));
    let infos = wal.segments();
    assert_eq!((infos[0].first_seqno, infos[0].bytes), (Some(seqno(1)), DATA_AT + 4 * RECORD));
    assert_eq!((infos[1].first_seqno, infos[1].bytes), (Some(seqno(5)), end.offset));
    assert_eq!((wal.segment_of(seqno(4)), wal.segment_of(seqno(5))), (1, 2));
    put(&wal, 11, 100).unwrap();
    assert_eq!(wal.end(), at(2, end.offset + RECORD), "the log goes on behind the copies");
    assert_eq!(bench.killed().replayed(), (1..12).collect::<Vec<_>>());
}

#[test]
fn the_old_tail_is_never_trusted_again() {
    let bench = killed();
    let wal = bench.start();
    put(&wal, 11, 100).unwrap();

    bench.damage(1, |bytes| bytes[(DATA_AT + 5 * RECORD) as usize] ^= 1);
    assert_eq!(bench.killed().replayed(), (1..12).collect::<Vec<_>>());
    bench.damage(1, |bytes| bytes.truncate((DATA_AT + 4 * RECORD) as usize));
    assert_eq!(bench.killed().replayed(), (1..12).collect::<Vec<_>>());
    bench.damage(1, |bytes| bytes[(DATA_AT + 3 * RECORD) as usize] ^= 1);
    let error = bench.killed().recover().unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(&*name(1))));
}

#[test]
fn a_kill_at_any_step_of_the_copy_loses_nothing() {
    let bench = killed();
    let before = bench.fs.step();
    drop(bench.start());

    for (step, image) in images(&bench, before).into_iter().enumerate() {
        let again = bench.on(image);
        assert_eq!(again.replayed(), (1..11).collect::<Vec<_>>(), "step {step}");
        let wal = again.start();
        put(&wal, 11, 100).unwrap();
        again.run_deletions();
        assert_eq!(again.killed().replayed(), (1..12).collect::<Vec<_>>(), "step {step}");
    }
}

#[test]
fn a_second_and_a_third_kill_during_recovery_lose_nothing() {
    let first = killed();
    let before = first.fs.step();
    drop(first.start());
    for image in images(&first, before) {
        let second = first.on(image);
        let before = second.fs.step();
        drop(second.start());
        for image in images(&second, before) {
            let third = second.on(image);
            assert_eq!(third.replayed(), (1..11).collect::<Vec<_>>());
            drop(third.start());
            third.run_deletions();
            assert_eq!(third.replayed(), (1..11).collect::<Vec<_>>());
        }
    }
}

#[test]
fn an_unfinished_copy_is_ignored_and_removed() {
    let bench = killed();
    let before = bench.fs.step();
    drop(bench.start());
    let without_start = images(&bench, before).into_iter().nth(5).unwrap();
    let again = bench.on(without_start);
    assert_eq!(again.numbers(), [1, 2]);

    let recovered = again.recover().unwrap();

    assert_eq!(recovered.segments().collect::<Vec<_>>(), [at(1, DATA_AT + 10 * RECORD)]);
    assert_eq!(recovered.durable, at(1, DATA_AT + 4 * RECORD));
    drop(again.start_after(&recovered));
    again.run_deletions();
    assert_eq!(again.numbers(), [1, 3]);
}

#[test]
fn a_tail_over_several_segments_goes_into_one_and_they_are_given_up() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..5);
    wal.sync().unwrap();
    put_all(&wal, 5..80);
    assert_eq!(wal.segments().len(), 4);
    let bench = bench.killed();

    let wal = bench.start();
    bench.run_deletions();

    assert_eq!(bench.numbers(), [1, 5]);
    assert_eq!(wal.bytes(), 2 * DATA_AT + 79 * RECORD);
    put_all(&wal, 80..82);
    assert_eq!(wal.segments().len(), 3, "it is larger than a segment: the next group begins another");
    assert_eq!(bench.killed().replayed(), (1..82).collect::<Vec<_>>());
}

#[test]
fn without_any_durable_position_all_of_the_log_is_copied() {
    let bench = Bench::new();
    put_all(&bench.start(), 1..30);
    let bench = bench.killed();

    drop(bench.start());
    bench.run_deletions();

    assert_eq!(bench.numbers(), [3]);
    assert_eq!(bench.replayed(), (1..30).collect::<Vec<_>>());
}

#[test]
fn discarded_records_are_hidden_before_the_log_goes_on() {
    let bench = killed();
    let hole = (DATA_AT + 4 * RECORD) as usize;
    let whole = bench.bytes_of(1);
    bench.damage(1, |bytes| bytes[hole..hole + 32].fill(0));
    let recovered = bench.recover().unwrap();
    assert_eq!((recovered.end, recovered.durable), (at(1, hole as u64), at(1, hole as u64)));

    drop(bench.start_after(&recovered));

    assert_eq!(bench.fs.take_sync_sites(), ["wal.copies_name", "wal.copies_start"]);
    // Whatever made the record unreadable is over: it stays discarded.
    bench.damage(1, |bytes| *bytes = whole);
    assert_eq!(bench.replayed(), [1, 2, 3, 4]);
}

#[test]
fn a_start_that_fails_leaves_the_log_as_it_was() {
    let faults = [
        Fault::once(Call::Create, IoErrorKind::Other),
        Fault::once(Call::Write, IoErrorKind::Other),
        Fault { skip: 1, prefix: 200, ..Fault::once(Call::Write, IoErrorKind::OutOfSpace) },
        Fault { skip: 2, prefix: usize::MAX, ..Fault::once(Call::Write, IoErrorKind::Other) },
        Fault::once(Call::Sync, IoErrorKind::Other),
        Fault { skip: 1, ..Fault::once(Call::Sync, IoErrorKind::Other) },
        Fault::once(Call::SyncDir, IoErrorKind::Other),
    ];
    for fault in faults {
        let bench = killed();
        let recovered = bench.recover().unwrap();
        bench.fs.arm(fault);

        let error = Wal::start(&bench.env, &bench.registry, bench.options, &recovered).unwrap_err();

        assert_ne!(error.kind(), ErrorKind::Corruption);
        assert_eq!(bench.killed().replayed(), (1..11).collect::<Vec<_>>(), "{fault:?}");
        bench.run_deletions();
        assert_eq!(bench.numbers(), [1]);
        assert_eq!(bench.replayed(), (1..11).collect::<Vec<_>>(), "{fault:?}");
        put(&bench.start(), 11, 8).unwrap();
        assert_eq!(bench.replayed(), (1..12).collect::<Vec<_>>(), "{fault:?}");
    }
}

#[test]
fn a_full_disk_on_which_the_tail_fits_can_be_opened() {
    let bench = killed();
    bench.fs.arm(Fault::once(Call::Allocate, IoErrorKind::OutOfSpace));

    let wal = bench.start();

    put(&wal, 11, 8).unwrap();
    assert_eq!(bench.killed().replayed(), (1..12).collect::<Vec<_>>());
}

#[test]
fn numbers_of_files_that_are_there_are_not_used_again() {
    let bench = killed();
    bench.put_file(&name(9), b"torn header that does not tell whose it is, and is longer than one");

    drop(bench.start());
    bench.run_deletions();

    assert_eq!(bench.numbers(), [1, 9, 10], "what is not surely ours stays");
    assert_eq!(bench.replayed(), (1..11).collect::<Vec<_>>());
}

#[test]
fn numbers_that_the_manifest_knows_are_not_used_again() {
    let mut bench = Bench::new();
    bench.facts.first_live = 18;
    bench.facts.synced_upto = at(17, 800);

    let wal = bench.start();
    assert_eq!((wal.end(), wal.oldest(), wal.segment_of(seqno(1))), (at(17, 800), 18, 18));
    put(&wal, 1, 8).unwrap();

    assert_eq!(bench.numbers(), [18]);
    assert_eq!(bench.killed().replayed(), [1]);
}

#[test]
fn the_timeline_goes_on() {
    let bench = Bench::new();
    let mut fresh = bench.recover().unwrap();
    fresh.timeline = 77;
    put(&bench.start_after(&fresh), 1, 8).unwrap();

    let killed = bench.killed();
    assert_eq!(killed.recover().unwrap().timeline, 77);
    drop(killed.start());
    assert_eq!(killed.recover().unwrap().timeline, 77);
}

#[test]
fn many_restarts_keep_every_record() {
    let mut bench = Bench::over(TestFs::new(true), 1);
    for round in 0..30 {
        let wal = bench.start();
        put_all(&wal, round * 10 + 1..round * 10 + 8);
        if round % 3 == 0 {
            wal.sync().unwrap();
            put(&wal, round * 10 + 8, 100).unwrap();
        }
        drop(wal);
        bench.run_deletions();
        bench = bench.killed();
    }

    let expected: Vec<u64> =
        (0..30).flat_map(|round| round * 10 + 1..round * 10 + 8 + u64::from(round % 3 == 0)).collect();
    assert_eq!(bench.replayed(), expected);
}
