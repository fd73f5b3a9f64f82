//! Where a log ends, and what is damage instead: crafted files.

use super::support::{Bench, Call, DATABASE, Fault, RemoveSegment as _, at, name, put, put_all, read, seqno};
use crate::wal::{Discarded, LogFacts, record::Start, segment::encode_start};
use isopach_engine::{
    codec::{FileCodec, FileHeader, FileKind, LogPosition, Record, encode_record},
    error::ErrorKind,
    types::Uuid,
};
use isopach_env::IoErrorKind;

/// Length of a record with a body of 100 bytes.
const RECORD: u64 = 160;
/// Where the first record of the caller lies.
const DATA_AT: u64 = 120;

/// Where record `index` of a segment begins, if all have bodies of 100 bytes.
fn nth(index: u64) -> u64 {
    DATA_AT + index * RECORD
}

/// A log of ten records in one segment, of which the first `synced` are known durable.
fn ten_records(synced: u64) -> Bench {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..synced + 1);
    if synced > 0 {
        wal.sync().unwrap();
    }
    put_all(&wal, synced + 1..11);
    bench.killed()
}

fn flip(bench: &Bench, number: u32, offset: u64) {
    bench.damage(number, |bytes| bytes[offset as usize] ^= 0x10);
}

fn cut(bench: &Bench, number: u32, offset: u64) {
    bench.damage(number, |bytes| bytes.truncate(offset as usize));
}

fn zero(bench: &Bench, number: u32, from: u64, to: u64) {
    bench.damage(number, |bytes| bytes[from as usize..to as usize].fill(0));
}

fn discarded(number: u32, offset: u64, bytes: u64) -> Option<Discarded> {
    Some(Discarded { file: name(number), offset, bytes })
}

/// Recovery says that this file is corrupt there.
fn assert_corrupt(bench: &Bench, number: u32, offset: u64) {
    let error = bench.recover().unwrap_err();
    assert_eq!(
        (error.kind(), error.file(), error.offset()),
        (ErrorKind::Corruption, Some(&*name(number)), Some(offset)),
        "{error}"
    );
}

#[test]
fn a_log_that_never_was_is_empty() {
    let bench = Bench::new();

    let recovered = bench.recover().unwrap();

    assert_eq!((recovered.end, recovered.durable), (LogPosition::START, LogPosition::START));
    assert_eq!((recovered.records, recovered.discarded, recovered.next_number), (0, None, 1));
    assert!(bench.numbers().is_empty(), "recovery creates nothing");
}

#[test]
fn zeros_reserved_behind_the_last_record_are_its_end_and_not_discarded() {
    let bench = ten_records(0);

    let recovered = bench.recover().unwrap();

    assert_eq!((recovered.end, recovered.durable), (at(1, nth(10)), LogPosition::START));
    assert_eq!((recovered.records, recovered.bytes, recovered.last_seqno), (10, 10 * RECORD, seqno(10)));
    assert_eq!(recovered.discarded, None);
}

#[test]
fn a_file_that_was_not_reserved_ends_the_log_with_it() {
    let bench = ten_records(0);
    cut(&bench, 1, nth(10));

    assert_eq!(bench.recover().unwrap().end, at(1, nth(10)));
}

#[test]
fn a_torn_record_at_the_end_is_dropped_and_counted() {
    let bench = ten_records(3);
    zero(&bench, 1, nth(9) + 64, nth(10));

    let recovered = bench.recover().unwrap();

    assert_eq!((recovered.end, recovered.durable), (at(1, nth(9)), at(1, nth(3))));
    // Up to the last byte that is not zero, of the number in the body.
    assert_eq!(recovered.discarded, discarded(1, nth(9), 32 + 24 + 1));
    assert_eq!(bench.replayed(), (1..10).collect::<Vec<_>>());
}

#[test]
fn every_length_of_a_cut_file_gives_a_prefix() {
    let whole = ten_records(0);
    for end in 0..=nth(10) {
        let bench = whole.killed();
        cut(&bench, 1, end);

        let expected = (1..=end.saturating_sub(DATA_AT) / RECORD).collect::<Vec<_>>();
        assert_eq!(bench.replayed(), expected, "cut at {end}");
    }
}

#[test]
fn a_flipped_byte_below_the_durable_position_is_corruption_with_its_place() {
    let whole = ten_records(8);
    for (index, offset) in [(0, nth(0)), (3, nth(3) + 20), (7, nth(7) + 100)] {
        let bench = whole.killed();
        flip(&bench, 1, offset);

        assert_corrupt(&bench, 1, nth(index));
    }
}

#[test]
fn a_flipped_byte_above_the_durable_position_ends_the_log() {
    let bench = ten_records(4);
    flip(&bench, 1, nth(6) + 50);

    let recovered = bench.recover().unwrap();

    assert_eq!((recovered.end, recovered.durable), (at(1, nth(6)), at(1, nth(4))));
    assert_eq!(recovered.discarded.as_ref().map(|discarded| discarded.offset), Some(nth(6)));
    assert_eq!(bench.replayed(), (1..7).collect::<Vec<_>>());
}

/// The record at the durable position itself may be damaged: nobody was told that it is safe.
#[test]
fn an_invalid_record_at_the_durable_position_ends_the_log() {
    let bench = ten_records(4);
    flip(&bench, 1, nth(4) + 50);

    // The records behind carry the position of their sync, not of themselves.
    assert_eq!(bench.recover().unwrap().end, at(1, nth(4)));
}

#[test]
fn a_hole_with_valid_records_behind_ends_the_log_there() {
    let bench = ten_records(4);
    zero(&bench, 1, nth(5), nth(7));

    let recovered = bench.recover().unwrap();

    assert_eq!(recovered.end, at(1, nth(5)));
    // The last body ends in padding.
    assert_eq!(recovered.discarded, discarded(1, nth(5), 5 * RECORD - 4));
}

#[test]
fn a_record_behind_a_hole_proves_that_the_hole_was_durable() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..5);
    wal.sync().unwrap();
    put(&wal, 5, 100).unwrap();
    let bench = bench.killed();
    zero(&bench, 1, nth(2), nth(3));

    assert_corrupt(&bench, 1, nth(2));
}

#[test]
fn the_manifest_proves_it_too() {
    let mut bench = ten_records(0);
    flip(&bench, 1, nth(6));
    assert_eq!(bench.recover().unwrap().end, at(1, nth(6)));

    bench.facts.synced_upto = at(1, nth(7));
    assert_corrupt(&bench, 1, nth(6));
    bench.facts.synced_upto = at(1, nth(6));
    assert_eq!(bench.recover().unwrap().end, at(1, nth(6)));
}

#[test]
fn an_idle_log_proves_it_by_a_void_record() {
    let idle = Bench::new();
    let wal = idle.start();
    put_all(&wal, 1..5);
    wal.sync().unwrap();
    let before = idle.killed();
    flip(&before, 1, nth(3));
    assert_eq!(before.recover().unwrap().end, at(1, nth(3)), "nothing says that it was synced");

    wal.append_void_if_idle().unwrap();

    let bench = idle.killed();
    assert_eq!(bench.recover().unwrap().durable, at(1, nth(4)));
    flip(&bench, 1, nth(3));
    assert_corrupt(&bench, 1, nth(3));
}

#[test]
fn a_valid_record_of_another_file_is_no_record_here() {
    let bench = ten_records(2);
    let mut stale = Vec::new();
    let record = Record { kind: 2, synced_upto: at(1, nth(10)), payload: &[1; 100] };
    encode_record(&mut stale, &FileCodec::clear(Uuid([9; 16])), nth(10), record);
    bench.damage(1, |bytes| bytes[nth(10) as usize..][..stale.len()].copy_from_slice(&stale));

    let recovered = bench.recover().unwrap();

    assert_eq!((recovered.end, recovered.durable), (at(1, nth(10)), at(1, nth(2))));
    assert!(recovered.discarded.is_some());
}

#[test]
fn a_record_at_another_place_of_its_file_is_no_record() {
    let bench = ten_records(0);
    bench.damage(1, |bytes| {
        let record = bytes[nth(2) as usize..nth(3) as usize].to_vec();
        bytes[nth(4) as usize..nth(5) as usize].copy_from_slice(&record);
    });

    assert_eq!(bench.recover().unwrap().end, at(1, nth(4)));
}

/// Three segments of three records each; records 1 to `synced` are known durable.
fn three_segments(synced: u64) -> Bench {
    let bench = Bench::new();
    let wal = bench.start();
    for seqno in 1..10 {
        put(&wal, seqno, 100).unwrap();
        if seqno == synced {
            wal.sync().unwrap();
        }
        if seqno % 3 == 0 && seqno < 9 {
            wal.rotate_segment().unwrap();
        }
    }
    bench.killed()
}

#[test]
fn segments_follow_each_other() {
    let bench = three_segments(0);

    let recovered = bench.recover().unwrap();

    assert_eq!(recovered.segments().collect::<Vec<_>>(), [at(1, nth(3)), at(2, nth(3)), at(3, nth(3))]);
    assert_eq!((recovered.next_number, recovered.records), (4, 9));
    assert_eq!(bench.replayed(), (1..10).collect::<Vec<_>>());
}

#[test]
fn a_missing_segment_below_the_durable_position_is_corruption_that_names_it() {
    for number in [1, 2] {
        let bench = three_segments(7);
        bench.fs.mem.remove_file_of(number);

        assert_corrupt(&bench, number, 0);
        assert!(bench.recover().unwrap_err().to_string().contains("missing"));
    }
}

#[test]
fn a_missing_last_segment_below_the_durable_position_is_corruption_that_names_it() {
    let mut bench = three_segments(0);
    bench.facts.synced_upto = at(3, nth(1));
    bench.fs.mem.remove_file_of(3);

    assert_corrupt(&bench, 3, 0);
}

#[test]
fn a_missing_segment_above_the_durable_position_ends_the_log() {
    let bench = three_segments(2);
    bench.fs.mem.remove_file_of(2);

    let recovered = bench.recover().unwrap();

    assert_eq!(recovered.end, at(1, nth(3)));
    assert_eq!(recovered.discarded, discarded(3, DATA_AT, 3 * RECORD - 4));
    assert_eq!(recovered.next_number, 4);
}

#[test]
fn a_segment_with_an_unreadable_header_ends_the_log_or_is_corruption() {
    for synced in [2, 7] {
        for (from, to, place) in [(0, 64, 0), (64, 120, 64)] {
            let bench = three_segments(synced);
            zero(&bench, 2, from, to);

            if synced == 7 {
                assert_corrupt(&bench, 2, place);
            } else {
                assert_eq!(bench.recover().unwrap().end, at(1, nth(3)));
                assert_eq!(bench.replayed(), [1, 2, 3]);
            }
        }
    }
}

#[test]
fn a_segment_created_but_never_written_is_no_part_of_the_log() {
    for content in [vec![], vec![0; 10], vec![0; 4096]] {
        let bench = ten_records(3);
        bench.put_file(&name(2), &content);

        let recovered = bench.recover().unwrap();

        assert_eq!((recovered.end, recovered.discarded.clone()), (at(1, nth(10)), None));
        assert_eq!(recovered.next_number, 3);
        drop(bench.start_after(&recovered));
        bench.run_deletions();
        assert_eq!(bench.numbers(), [1, 3], "it was created by us");
    }
}

#[test]
fn a_segment_that_is_cut_below_what_its_successor_says_is_judged_like_an_invalid_record() {
    for (synced, is_corrupt) in [(1, false), (4, true)] {
        let bench = three_segments(synced);
        cut(&bench, 1, nth(2));

        if is_corrupt {
            assert_corrupt(&bench, 1, nth(2));
        } else {
            assert_eq!(bench.recover().unwrap().end, at(1, nth(2)));
        }
    }
}

#[test]
fn what_lies_behind_the_end_that_a_successor_names_is_no_log() {
    let bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..4);
    let _pause = bench.registry.pause();
    bench.fs.arm(Fault { prefix: usize::MAX, ..Fault::once(Call::Write, IoErrorKind::Other) });
    put(&wal, 4, 100).unwrap_err();
    let killed = bench.killed();

    assert_eq!(killed.replayed(), [1, 2, 3]);
    killed.fs.mem.remove_file_of(2);
    assert_eq!(killed.replayed(), [1, 2, 3, 4], "only segment 2 hides it");
}

#[test]
fn a_durable_position_that_no_segment_holds_is_corruption() {
    let mut bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..4);
    bench.fs.arm(Fault::once(Call::Write, IoErrorKind::Other));
    put(&wal, 4, 100).unwrap_err();
    put(&wal, 5, 100).unwrap();

    bench.facts.synced_upto = at(1, nth(3));
    assert_eq!(bench.killed().replayed(), [1, 2, 3, 5]);
    bench.facts.synced_upto = at(1, nth(4));
    assert_corrupt(&bench.killed(), 2, 64);
}

#[test]
fn a_segment_of_another_database_is_refused() {
    for (kind_byte, database) in [(3, Uuid([1; 16])), (4, DATABASE)] {
        let bench = ten_records(3);
        let mut header = FileHeader::clear(FileKind::Log, Uuid([7; 16]), database).encode();
        header[4] = kind_byte;
        let check = isopach_engine::codec::digest(&header[..60]).to_le_bytes();
        header[60..].copy_from_slice(&check[..4]);
        bench.put_file(&name(2), &header);

        let error = bench.recover().unwrap_err();

        assert_eq!((error.kind(), error.file()), (ErrorKind::MixedStore, Some(&*name(2))));
    }
}

#[test]
fn a_segment_of_another_format_is_refused() {
    let bench = ten_records(3);
    let mut header = FileHeader::clear(FileKind::Log, Uuid([7; 16]), DATABASE).encode();
    header[6] ^= 1;
    let check = isopach_engine::codec::digest(&header[..60]).to_le_bytes();
    header[60..].copy_from_slice(&check[..4]);
    bench.put_file(&name(2), &header);

    assert_eq!(bench.recover().unwrap_err().kind(), ErrorKind::UnsupportedFormat);
}

#[test]
fn a_segment_under_another_number_is_not_part_of_the_log() {
    let bench = three_segments(0);
    let copy = bench.bytes_of(1);
    bench.put_file(&name(4), &copy);

    let recovered = bench.recover().unwrap();

    assert_eq!((recovered.end, recovered.next_number), (at(3, nth(3)), 5));
    assert!(recovered.discarded.is_some());
}

#[test]
fn swapped_segments_are_no_log() {
    let bench = three_segments(7);
    let (one, two) = (bench.bytes_of(1), bench.bytes_of(2));
    bench.damage(1, |bytes| *bytes = two);
    bench.damage(2, |bytes| *bytes = one);

    assert_eq!(bench.recover().unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn unknown_names_are_left_alone() {
    let bench = ten_records(3);
    for other in ["wal/7.wal", "wal/notes.txt", "wal/000002.wal.old"] {
        bench.put_file(other, b"mine");
    }

    drop(bench.start());
    bench.run_deletions();

    for other in ["wal/7.wal", "wal/notes.txt", "wal/000002.wal.old"] {
        assert_eq!(read(&bench.fs.mem, other), b"mine");
    }
}

#[test]
fn a_record_that_was_written_wrong_is_corruption_wherever_it_lies() {
    let file = Uuid([7; 16]);
    for (kind, payload) in [(9, vec![0; 24]), (2, vec![0; 24]), (4, vec![0; 3]), (1, vec![0; 24])] {
        let bench = Bench::new();
        let mut bytes = FileHeader::clear(FileKind::Log, file, DATABASE).encode().to_vec();
        let start = Start { number: 1, previous_end: LogPosition::START, timeline: 3 };
        encode_start(&mut bytes, &FileCodec::clear(file), start, LogPosition::START);
        let record = Record { kind, synced_upto: LogPosition::START, payload: &payload };
        encode_record(&mut bytes, &FileCodec::clear(file), DATA_AT, record);
        bench.put_file(&name(1), &bytes);

        assert_corrupt(&bench, 1, DATA_AT);
    }
}

#[test]
fn only_segments_from_the_first_live_one_on_are_read() {
    let mut bench = three_segments(7);
    bench.facts.first_live = 2;
    flip(&bench, 1, nth(1));

    assert_eq!(bench.replayed(), (4..10).collect::<Vec<_>>());
    bench.fs.mem.remove_file_of(1);
    assert_eq!(bench.replayed(), (4..10).collect::<Vec<_>>());
}

/// The first live segment was named before it existed, its file is gone with the power, and nothing in it was
/// durable; what follows it knows only of positions before it.
#[test]
fn a_log_of_which_only_freed_segments_were_durable_is_empty() {
    let mut bench = three_segments(3);
    bench.facts = LogFacts { first_live: 2, ..LogFacts::NEW };
    zero(&bench, 2, 0, 120);

    let recovered = bench.recover().unwrap();

    assert_eq!((recovered.records, recovered.end), (0, at(1, nth(3))));
    assert!(recovered.discarded.is_some());
    let wal = bench.start_after(&recovered);
    put(&wal, 20, 100).unwrap();
    assert_eq!(bench.killed().replayed(), [20]);
}

#[test]
fn every_flipped_bit_gives_a_prefix_or_an_error() {
    let whole = three_segments(5);
    for number in 1..=3 {
        for offset in 0..nth(3) {
            let bench = whole.killed();
            bench.damage(number, |bytes| bytes[offset as usize] ^= 1 << (offset % 8));

            let Ok(recovered) = bench.recover() else {
                continue;
            };
            let found = super::support::replayed(&bench.fs, &recovered);
            let found: Vec<u64> = found.into_iter().map(|(seqno, _)| seqno).collect();
            assert!((1..10).collect::<Vec<_>>().starts_with(&found), "bit of byte {offset} of {number}");
            assert!(found.len() >= 5, "below the durable position it is an error");
        }
    }
}

/// Segments are read as if each were the first; what connects them is seen all the same.
#[test]
fn a_segment_that_repeats_numbers_of_the_one_before_is_damaged_there() {
    let mut bench = Bench::new();
    let wal = bench.start();
    put_all(&wal, 1..6);
    bench.facts.synced_upto = wal.end(); // Nothing has to be copied: the next run has a segment of its own.
    let bench = bench.killed();
    let mut forgetful = bench.recover().unwrap();
    forgetful.last_seqno = seqno(3);
    put_all(&bench.start_after(&forgetful), 4..6);
    assert_eq!(bench.numbers(), [1, 2]);

    assert_corrupt(&bench.killed(), 2, nth(0));
}
