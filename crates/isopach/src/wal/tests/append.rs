//! Appending, segments, and appends that fail.

use super::support::{Bench, Call, Fault, TestFs, at, body_of, name, put, put_all, record, replayed, seqno};
use crate::wal::{AppendRecord, LogRecord, RecordKind, SegmentInfo};
use isopach_engine::{error::ErrorKind, types::UnixUs};
use isopach_env::IoErrorKind;

/// Length of a record with a body of 100 bytes.
const RECORD: u64 = 160;
/// Where the first record of the caller lies.
const DATA_AT: u64 = 120;

#[test]
fn a_group_is_one_write() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 100).unwrap();
    let before = bench.fs.step();
    let bodies: Vec<_> = (2..12).map(|seqno| (seqno, body_of(seqno, 50))).collect();
    let group: Vec<_> = bodies.iter().map(|(seqno, body)| record(*seqno, body)).collect();

    let end = wal.append(&group).unwrap();

    assert_eq!(bench.fs.step(), before + 1);
    assert_eq!(end, wal.end());
    assert_eq!(bench.killed().replayed(), (1..12).collect::<Vec<_>>());
}

#[test]
fn a_record_comes_back_as_it_was_given() {
    let bench = Bench::new();
    let wal = bench.start();
    let keyspace = AppendRecord {
        kind: RecordKind::Keyspace,
        first_seqno: seqno(41),
        count: 7,
        time: UnixUs(99),
        body: b"create",
    };

    wal.append(&[keyspace]).unwrap();

    let killed = bench.killed();
    let recovered = killed.recover().unwrap();
    assert_eq!((recovered.records, recovered.bytes, recovered.last_seqno), (1, 64, seqno(47)));
    assert_eq!(recovered.ends.last_time(), UnixUs(99));
    let mut seen = 0;
    let mut see = |record: LogRecord<'_>| {
        seen += 1;
        assert_eq!((record.kind, record.first_seqno, record.count), (RecordKind::Keyspace, seqno(41), 7));
        assert_eq!((record.time, record.body()), (UnixUs(99), &b"create"[..]));
        assert_eq!(record.position, at(1, 120));
        Ok(())
    };
    recovered.pieces().try_for_each(|piece| piece.read(&killed.fs, &mut see)).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn every_acknowledged_record_is_replayed_after_a_kill_at_any_moment() {
    let bench = Bench::new();
    let wal = bench.start();

    for seqno in 1..=200 {
        put(&wal, seqno, (seqno as usize * 37) % 900 + 8).unwrap();
        assert_eq!(bench.killed().replayed(), (1..=seqno).collect::<Vec<_>>());
    }
    assert!(wal.segments().len() > 10);
}

#[test]
fn the_log_moves_to_a_new_segment_before_a_group_that_does_not_fit() {
    let bench = Bench::new();
    let wal = bench.start();

    put_all(&wal, 1..26);

    let infos = [
        SegmentInfo { number: 1, first_seqno: Some(seqno(1)), bytes: DATA_AT + 24 * RECORD },
        SegmentInfo { number: 2, first_seqno: Some(seqno(25)), bytes: DATA_AT + RECORD },
    ];
    assert_eq!(wal.segments(), infos);
    assert_eq!(wal.bytes(), infos[0].bytes + infos[1].bytes);
    assert_eq!((wal.segment_of(seqno(24)), wal.segment_of(seqno(25)), wal.segment_of(seqno(26))), (1, 2, 2));
    assert_eq!(bench.registry.stats().live_bytes, 2 * 4096, "what is reserved counts");
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_size() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 100).unwrap();

    put(&wal, 2, 100_000).unwrap();
    put(&wal, 3, 100).unwrap();

    let firsts: Vec<_> = wal.segments().iter().map(|info| info.first_seqno.unwrap().raw()).collect();
    assert_eq!(firsts, [1, 2, 3]);
    assert!(bench.bytes_of(2).len() > 100_000);
    assert_eq!(bench.killed().replayed(), [1, 2, 3]);
}

#[test]
fn a_rotation_begins_a_segment_unless_the_current_one_is_empty() {
    let bench = Bench::new();
    let wal = bench.start();
    assert_eq!(wal.oldest(), 1);

    assert_eq!(wal.rotate_segment().unwrap(), 1);
    assert_eq!(wal.rotate_segment().unwrap(), 1);
    put(&wal, 1, 100).unwrap();
    assert_eq!(wal.rotate_segment().unwrap(), 2);
    put(&wal, 2, 100).unwrap();

    assert_eq!((wal.segment_of(seqno(1)), wal.segment_of(seqno(2))), (1, 2));
    assert_eq!(bench.killed().replayed(), [1, 2]);
}

#[test]
fn freed_segments_go_and_the_current_one_stays() {
    let mut bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..60);
    assert_eq!(wal.segments().len(), 3);
    let first_live = wal.segment_of(seqno(25));

    bench.facts.first_live = first_live;
    wal.free_below(first_live);
    bench.run_deletions();

    assert_eq!((first_live, bench.numbers()), (2, vec![2, 3]));
    assert_eq!((wal.oldest(), wal.segments().len()), (2, 2));
    assert_eq!(bench.killed().replayed(), (25..60).collect::<Vec<_>>());
    wal.free_below(u32::MAX);
    bench.run_deletions();
    assert_eq!(bench.numbers(), [3]);
    put(&wal, 60, 100).unwrap();
}

#[test]
fn a_paused_registry_keeps_freed_segments() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..60);

    let pause = bench.registry.pause();
    wal.free_below(3);
    bench.run_deletions();
    assert_eq!(bench.numbers(), [1, 2, 3]);
    drop(pause);
    bench.run_deletions();
    assert_eq!(bench.numbers(), [3]);
}

/// The write fails after all of the group is in the file: its records look valid there.
#[test]
fn a_failed_group_stays_out_of_the_log_even_if_its_bytes_are_there() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..4);
    let pause = bench.registry.pause(); // So that the garbage is not cut off.
    bench.fs.arm(Fault { prefix: usize::MAX, ..Fault::once(Call::Write, IoErrorKind::Other) });

    let error = put(&wal, 4, 100).unwrap_err();
    put(&wal, 5, 100).unwrap();
    drop(pause);

    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some("wal/000001.wal")));
    let end = DATA_AT + 3 * RECORD;
    assert_ne!(bench.bytes_of(1)[end as usize..][..32], [0; 32], "the failed record is there");
    assert_eq!(wal.segments()[1].number, 2);
    assert_eq!(wal.poisoned().map(|error| error.kind()), None);
    assert_eq!(bench.killed().replayed(), [1, 2, 3, 5]);
    assert_eq!(bench.killed().recover().unwrap().segments().collect::<Vec<_>>(), [at(1, end), wal.end()]);
}

#[test]
fn what_hides_a_failed_group_is_durable_before_the_caller_knows() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 100).unwrap();
    bench.fs.take_sync_sites();
    bench.fs.arm(Fault { prefix: 40, ..Fault::once(Call::Write, IoErrorKind::Other) });

    put(&wal, 2, 100).unwrap_err();

    assert_eq!(bench.fs.take_sync_sites(), ["wal.name", "wal.hiding"]);
}

#[test]
fn a_second_failure_in_a_row_poisons() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 100).unwrap();
    // The append, then the opening of the segment that would have hidden it.
    bench.fs.arm(Fault { times: 2, ..Fault::once(Call::Write, IoErrorKind::Other) });

    assert_eq!(put(&wal, 2, 100).unwrap_err().kind(), ErrorKind::Poisoned);

    bench.fs.disarm();
    assert_eq!(put(&wal, 3, 100).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(wal.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(wal.rotate_segment().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(wal.poisoned().unwrap().kind(), ErrorKind::Poisoned);
    assert_eq!(bench.killed().replayed(), [1]);
}

#[test]
fn failures_with_a_success_between_do_not_poison() {
    let bench = Bench::new();
    let wal = bench.start();

    for round in 0..5 {
        put(&wal, round * 2 + 1, 100).unwrap();
        bench.fs.arm(Fault { prefix: 300, ..Fault::once(Call::Write, IoErrorKind::Other) });
        assert_eq!(put(&wal, round * 2 + 2, 100).unwrap_err().kind(), ErrorKind::Io);
    }

    assert_eq!(wal.poisoned().map(|error| error.kind()), None);
    assert_eq!(bench.killed().replayed(), [1, 3, 5, 7, 9]);
}

#[test]
fn without_space_the_log_waits_and_goes_on_when_there_is_some() {
    for can_allocate in [true, false] {
        let bench = Bench::over(TestFs::new(can_allocate), 1);
        let wal = bench.start();
        put_all(&wal, 1..11);
        let used = wal.bytes();
        bench.fs.mem.set_capacity(Some(used.max(4096) + 200));

        let mut seqno = 11;
        let mut failures = 0;
        while failures < 20 {
            match put(&wal, seqno, 2000) {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
                    failures += 1;
                }
            }
            seqno += 1;
            bench.run_deletions();
        }
        assert!(bench.numbers().len() <= 3, "attempts leave no files behind: {:?}", bench.numbers());
        let before = bench.killed().replayed();
        bench.fs.mem.set_capacity(None);
        put(&wal, seqno, 2000).unwrap();

        assert!(wal.poisoned().is_none());
        let after = [before, vec![seqno]].concat();
        assert_eq!(bench.killed().replayed(), after);
        wal.sync().unwrap();
    }
}

#[test]
fn a_segment_whose_space_cannot_be_had_leaves_the_current_one_in_use() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 100).unwrap();
    bench.fs.arm(Fault { times: usize::MAX, ..Fault::once(Call::Allocate, IoErrorKind::OutOfSpace) });

    for _ in 0..3 {
        assert_eq!(wal.rotate_segment().unwrap_err().kind(), ErrorKind::OutOfSpace);
    }
    bench.fs.disarm();
    put(&wal, 2, 100).unwrap();
    assert_eq!(wal.segments().len(), 1);
    assert_eq!(wal.rotate_segment().unwrap(), 2);
    assert_eq!(bench.numbers(), [1, 2], "the attempts shared a file");
    assert_eq!(bench.killed().replayed(), [1, 2]);
}

/// On a disk of 30 MiB a database could not even create a keyspace: 64 MiB were reserved, or nothing.
#[test]
fn a_segment_is_begun_with_as_much_space_as_there_is() {
    let bench = Bench::new();
    let wal = bench.start();
    bench.fs.arm(Fault { times: 2, ..Fault::once(Call::Allocate, IoErrorKind::OutOfSpace) });

    put(&wal, 1, 100).unwrap();
    put(&wal, 2, 2000).unwrap();

    assert_eq!(wal.segments().len(), 1);
    assert_eq!(bench.killed().replayed(), [1, 2]);
}

/// The opening of segment 2 is reported as failed but is in the file, and says that segment 1 ends: a record
/// that were appended to segment 1 now would not be found again.
#[test]
fn nothing_is_appended_behind_an_end_that_a_failed_opening_may_name() {
    for kind in [IoErrorKind::Other, IoErrorKind::OutOfSpace] {
        let bench = Bench::new();
        let wal = bench.start();
        put(&wal, 1, 100).unwrap();
        bench.fs.arm(Fault { prefix: usize::MAX, ..Fault::once(Call::Write, kind) });

        wal.rotate_segment().unwrap_err();
        put(&wal, 2, 100).unwrap();

        assert_eq!(bench.killed().replayed(), [1, 2]);
    }
}

#[test]
fn a_taken_number_is_passed_over() {
    let bench = Bench::new();
    let wal = bench.start();
    put(&wal, 1, 100).unwrap();
    bench.put_file(&name(2), b"");

    put(&wal, 2, 10_000).unwrap();

    assert_eq!(wal.segments()[1].number, 3);
    assert_eq!(bench.killed().replayed(), [1, 2]);
}

#[test]
#[should_panic(expected = "comes after")]
fn seqnos_only_grow() {
    let wal = Bench::new().start();
    put(&wal, 2, 8).unwrap();
    let _ = put(&wal, 2, 8);
}

#[test]
fn threads_that_append_at_once_are_one_after_the_other() {
    let bench = Bench::new();
    let wal = bench.start();
    let next = std::sync::Mutex::new(1);

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for turn in 0..50 {
                    let mut next = next.lock().unwrap();
                    let position = put(&wal, *next, 64).unwrap();
                    *next += 1;
                    drop(next);
                    if turn % 5 == 0 {
                        assert!(wal.sync_through(position).unwrap() >= position);
                    }
                }
            });
        }
    });

    assert_eq!(bench.killed().replayed(), (1..=200).collect::<Vec<_>>());
    assert_eq!(replayed(&bench.fs, &bench.recover().unwrap()).len(), 200);
}
