//! Recycling: freed segments become later ones, and nothing of their former lives is seen again.

use super::{
    power::image_of,
    support::{Bench, Call, DATABASE, Fault, at, name, put_all, read},
};
use crate::options::LogRecovery;
use crate::wal::{Reading, Wal, recover};
use isopach_engine::error::ErrorKind;
use isopach_env::{Inline, IoErrorKind};

/// Where the first record of the caller lies.
const DATA_AT: u64 = 120;
/// Length of a record with a body of 100 bytes; a segment holds 24.
const RECORD: u64 = 160;

/// A log whose first segment was full and durable, and is freed; the second holds record 25.
fn freed(maps: bool) -> (Bench, Wal) {
    let mut bench = Bench::new();
    bench.options.maps = maps;
    let wal = bench.start();
    put_all(&wal, 1..26);
    wal.sync_once(at(1, DATA_AT + 24 * RECORD)).unwrap();
    bench.facts.first_live = 2;
    wal.free_below(2);
    (bench, wal)
}

/// As [`freed`]; the freed segment is the third now, which holds the records 26 and 27.
fn recycled(maps: bool) -> (Bench, Wal) {
    let (bench, wal) = freed(maps);
    wal.prepare().unwrap();
    assert_eq!(wal.rotate_segment().unwrap(), 3);
    put_all(&wal, 26..28);
    (bench, wal)
}

#[test]
fn a_freed_segment_becomes_the_next_one_and_no_space_is_reserved() {
    for maps in [false, true] {
        let (bench, wal) = freed(maps);
        assert_eq!(bench.numbers(), [1, 2], "it is kept");
        let before = bench.fs.step();

        wal.prepare().unwrap();

        let changes = format!("{:?}", &bench.fs.changes()[before..]);
        let (header, rest) =
            changes.split_once("Sync { inode: 0 }").expect("it is durable before the rename");
        assert!(
            header.starts_with("[Write { inode: 0, offset: 0,") && !header.contains("}, Write"),
            "{header}"
        );
        assert_eq!(rest, format!(", Rename {{ from: {:?}, to: {:?} }}, SyncDir]", name(1), name(3)));
        put_all(&wal, 26..60);
        assert_eq!(wal.end().file, 3);
        assert_eq!(bench.killed().replayed(), (25..60).collect::<Vec<_>>());
    }
}

#[test]
fn records_of_a_former_life_are_neither_log_nor_a_torn_end_of_it() {
    for maps in [false, true] {
        let (bench, wal) = recycled(maps);
        let killed = bench.killed();
        let behind = &killed.bytes_of(3)[wal.end().offset as usize..];
        assert!(behind[..20 * RECORD as usize].chunks(RECORD as usize).all(|old| old[..32] != [0; 32]));

        let recovered = killed.recover().unwrap();

        assert_eq!((recovered.end, recovered.discarded), (wal.end(), None));
        let reading = Reading { spawn: &Inline, watch: &mut |_, _| Ok(()) };
        let whole = recover(&killed.fs, DATABASE, killed.facts, LogRecovery::Absolute, reading).unwrap();
        assert_eq!(whole.end, wal.end());
    }
}

#[test]
fn a_torn_record_in_a_recycled_segment_is_discarded_and_told_from_damage() {
    let (bench, wal) = recycled(false);
    let torn = at(3, DATA_AT + RECORD);
    let killed = bench.killed();
    killed.damage(3, |bytes| bytes[torn.offset as usize + 40] ^= 1);

    let recovered = killed.recover().unwrap();

    assert_eq!(recovered.end, torn);
    assert_eq!(recovered.discarded.map(|rest| (rest.offset, rest.bytes)), Some((torn.offset, RECORD)));
    wal.sync().unwrap();
    put_all(&wal, 28..29); // Says that what is before it was durable.
    let killed = bench.killed();
    killed.damage(3, |bytes| bytes[torn.offset as usize + 40] ^= 1);
    let error = killed.recover().unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(torn.offset)));
}

#[test]
fn a_crash_at_any_step_of_recycling_loses_nothing_and_leaves_nothing() {
    let (bench, wal) = freed(true);
    let begun = bench.fs.step();
    wal.prepare().unwrap();
    wal.rotate_segment().unwrap();
    put_all(&wal, 26..28);

    let changes = bench.fs.changes();
    for step in begun..=changes.len() {
        let crashed = bench.on(image_of(&changes[..step]));
        let before = crashed.replayed();
        assert!(
            (25..28).collect::<Vec<_>>().starts_with(&before) && !before.is_empty(),
            "{step}: {before:?}"
        );
        let wal = crashed.start();
        crashed.run_deletions();
        assert_eq!(crashed.replayed(), before);
        let live: Vec<u32> = wal.segments().iter().map(|segment| segment.number).collect();
        assert_eq!(crashed.numbers(), live, "{step}: a file is left");
    }
}

#[test]
fn a_spare_whose_new_header_is_torn_is_removed_at_the_next_opening() {
    let (bench, _wal) = freed(false);
    for torn in [4, 12, 40, 62] {
        let killed = bench.killed();
        killed.damage(1, |bytes| bytes[8..torn.max(9)].fill(0xA5));
        killed.damage(1, |bytes| bytes[24..40].copy_from_slice(&DATABASE.0));

        drop(killed.start());
        killed.run_deletions();

        assert!(!killed.numbers().contains(&1), "torn at {torn}");
    }
}

#[test]
fn a_segment_that_somebody_copies_is_not_recycled() {
    let (bench, wal) = freed(false);
    let before = read(&bench.fs.mem, &name(1));
    let pause = bench.registry.pause();

    wal.prepare().unwrap();

    bench.run_deletions();
    assert_eq!(read(&bench.fs.mem, &name(1)), before);
    assert_eq!(bench.numbers(), [1, 2, 4], "another file is ready; a number is passed over");
    drop(pause);
    bench.run_deletions();
    assert_eq!(bench.numbers(), [2, 4], "it goes as any other");
}

#[test]
fn two_spares_are_kept_and_none_when_the_log_is_closed_or_space_is_wanted() {
    for ends in [false, true] {
        let mut bench = Bench::new();
        let wal = bench.start();
        put_all(&wal, 1..122);
        wal.sync_once(wal.end()).unwrap();
        assert_eq!(wal.end().file, 6);
        bench.facts.first_live = 6;

        wal.free_below(6);

        bench.run_deletions();
        assert_eq!(bench.numbers(), [1, 2, 6]);
        if ends {
            wal.close().unwrap();
        } else {
            wal.look_for_room().unwrap();
        }
        bench.run_deletions();
        assert_eq!(bench.numbers(), [6]);
    }
}

#[test]
fn a_segment_of_another_size_or_of_an_earlier_run_is_removed() {
    let (bench, wal) = freed(false);
    drop(wal);
    let mut again = bench.killed();
    again.options.segment_bytes *= 2;
    let wal = again.start();
    put_all(&wal, 26..27);
    wal.sync_once(wal.end()).unwrap();

    wal.free_below(wal.end().file);

    again.run_deletions();
    assert_eq!(again.numbers(), [wal.end().file]);
}

#[test]
fn a_step_of_recycling_that_fails_costs_the_file_and_nothing_else() {
    for call in [Call::Write, Call::Rename] {
        let (bench, wal) = freed(true);
        bench.fs.arm(Fault { prefix: 30, ..Fault::once(call, IoErrorKind::Other) });

        assert_eq!(wal.prepare().unwrap_err().kind(), ErrorKind::Io, "{call:?}");

        bench.run_deletions();
        assert_eq!(bench.numbers(), [2], "{call:?}");
        put_all(&wal, 26..60);
        wal.sync().unwrap();
        assert_eq!(bench.killed().replayed(), (25..60).collect::<Vec<_>>());
    }
}

#[test]
fn a_recycled_segment_that_cannot_be_synced_poisons() {
    for call in [Call::Sync, Call::SyncDir] {
        let (bench, wal) = freed(true);
        bench.fs.arm(Fault::once(call, IoErrorKind::Other));

        assert_eq!(wal.prepare().unwrap_err().kind(), ErrorKind::Poisoned);

        bench.run_deletions();
        assert_eq!(bench.numbers(), [2], "{call:?}");
    }
}
