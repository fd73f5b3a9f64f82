//! The paths of a tree: what goes where, what is left when a job fails, who reads what how long.

use crate::{
    faults::{Fail, Faults, What, contents},
    harness::{
        BROKEN, at, create, delete, flush, fresh, merge_all, open, put, seqno, shown, table_files, tables_of,
        try_flush, views,
    },
};
use isopach_engine::{
    compaction::{Leveled, Plan, Views},
    env::{Fs, IoErrorKind, MemFs},
    error::ErrorKind,
    key::ValueKind,
    memtable::{SortedBatch, Sorter},
    order::KeyOrder,
    store::Store,
    table::{FilterKind, FilterOptions},
    tree::{Tree, TreeOptions, WriteBatch, cancelled},
    types::{Level, TableId},
};
use std::sync::Arc;

fn ids(tree: &Tree) -> Vec<TableId> {
    tree.tables().iter().map(|table| table.id).collect()
}

// ----- apply and rotate -----

#[test]
fn operations_belong_to_the_side_of_the_boundary_that_their_number_says() {
    let (_faults, _store, tree) = fresh();
    put(&tree, "a", "1", 5);
    assert!(tree.rotate(seqno(10)).unwrap());
    put(&tree, "b", "late", 9);
    put(&tree, "c", "new", 11);
    let mut across = WriteBatch::new();
    across.put(b"d", b"10").put(b"e", b"11").put(b"f", b"12");
    put(&tree, "g", "8", 8);
    tree.rotate(seqno(20)).unwrap();
    tree.apply(&across, seqno(19)).unwrap();

    let report = try_flush(&tree, 10).unwrap();

    assert_eq!((report.memtables, report.replay_point), (1, seqno(10)), "only the first boundary");
    assert_eq!(tree.tables()[0].entries, 3, "a, b and g");
    assert_eq!(tree.first_unflushed(), Some(seqno(11)));
    let report = try_flush(&tree, 99).unwrap();
    assert_eq!((report.memtables, report.replay_point), (1, seqno(20)));
    assert_eq!(tree.first_unflushed(), Some(seqno(21)), "f is above the boundary");
    assert_eq!(shown(&tree, 30), "a=1 b=late c=new d=10 e=11 f=12 g=8");
}

#[test]
fn a_number_that_was_flushed_is_refused_and_nothing_is_applied() {
    let (_faults, _store, tree) = fresh();
    tables_of(&tree, &["a=1"], 5);
    let mut batch = WriteBatch::new();
    batch.put(b"x", b"").put(b"y", b"");

    assert_eq!(tree.apply(&batch, seqno(5)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(tree.apply(&batch, seqno(0)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        tree.apply(&batch, isopach_engine::types::Seqno::MAX).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    let mut long = WriteBatch::new();
    long.put(b"x", b"").put(&vec![0; 65_536], b"");
    assert_eq!(tree.apply(&long, seqno(6)).unwrap_err().kind(), ErrorKind::InvalidArgument);

    assert_eq!(shown(&tree, 99), "a=1");
    assert_eq!(tree.active_bytes(), 0);
}

#[test]
fn a_boundary_below_an_operation_or_a_boundary_is_refused() {
    let (_faults, _store, tree) = fresh();
    put(&tree, "a", "1", 5);

    assert_eq!(tree.rotate(seqno(4)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(tree.rotate(seqno(5)).unwrap());
    assert!(!tree.rotate(seqno(3)).unwrap(), "nothing was applied since");
    put(&tree, "b", "2", 6);
    assert_eq!(tree.rotate(seqno(5)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(tree.rotate(seqno(6)).unwrap());
}

/// A batch that is sorted where it lies: operations as `key=value`, `-key` for a delete.
fn sorted(operations: &[&str]) -> Arc<SortedBatch> {
    let bytes: Arc<Vec<u8>> = Arc::new(operations.concat().replace('=', "").into_bytes());
    let mut at = 0;
    let mut take = |text: &str| {
        at += text.len();
        &bytes[at - text.len()..at]
    };
    let mut sorter = Sorter::new(&bytes, &KeyOrder::BYTES);
    for (position, text) in operations.iter().enumerate() {
        let (kind, key, value) = match text.split_once('=') {
            Some((key, value)) => (ValueKind::Put, take(key), take(value)),
            None => (ValueKind::Delete, &take(text)[1..], &b""[..]),
        };
        sorter.add(position as u32, kind, key, value).unwrap();
    }
    Arc::new(sorter.sort())
}

#[test]
fn a_sorted_batch_is_a_memtable_of_its_own_between_others() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", "1", 5);
    let applied = tree.apply_sorted(sorted(&["c=old", "b=2", "-a", "c=3"]), seqno(10)).unwrap();
    assert_eq!(applied.bytes, 9 + 4 * 16);
    put(&tree, "d", "4", 14);
    put(&tree, "e", "late", 9);

    assert_eq!(shown(&tree, 9), "a=1 e=late");
    assert_eq!(shown(&tree, 10), "a=1 c=old e=late");
    assert_eq!(shown(&tree, 99), "b=2 c=3 d=4 e=late");
    assert_eq!(tree.approximate_len(), 7);
    assert_eq!(tree.approximate_range("b"..="c").unwrap().rows, 3, "two versions of c");
    assert_eq!(tree.get(b"a", at(11)).unwrap().unwrap(), b"1"[..]);
    assert_eq!(tree.get(b"a", at(12)).unwrap(), None);
    let report = try_flush(&tree, 13).unwrap();
    assert_eq!((report.memtables, report.replay_point), (2, seqno(13)));
    assert_eq!(tree.first_unflushed(), Some(seqno(14)));
    drop((store, tree));
    assert_eq!(shown(&open(&faults).tree("t").unwrap(), 99), "b=2 c=3 e=late", "what was flushed");
}

#[test]
fn a_sorted_batch_must_lie_above_all_that_was_applied() {
    let (_faults, _store, tree) = fresh();
    put(&tree, "a", "1", 5);
    let refused = |batch: &[&str], first| tree.apply_sorted(sorted(batch), first).unwrap_err().kind();

    assert_eq!(refused(&["b=2"], seqno(5)), ErrorKind::InvalidArgument);
    assert_eq!(refused(&["b=2", "c=3"], isopach_engine::types::Seqno::MAX), ErrorKind::InvalidArgument);
    assert_eq!(tree.apply_sorted(sorted(&[]), seqno(3)).unwrap().bytes, 0);
    tree.apply_sorted(sorted(&["b=2", "c=3"]), seqno(6)).unwrap();
    assert_eq!(refused(&["d=4"], seqno(7)), ErrorKind::InvalidArgument);
    let mut late = WriteBatch::new();
    late.put(b"x", b"").put(b"y", b"");
    assert_eq!(tree.apply(&late, seqno(7)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    // The numbers between are those of the batch before.
    tree.apply_sorted(sorted(&["d=4"]), seqno(8)).unwrap();

    assert_eq!(shown(&tree, 99), "a=1 b=2 c=3 d=4");
}

#[test]
fn the_longest_key_and_the_empty_one_are_keys() {
    let (faults, store, tree) = fresh();
    let long = vec![255; 65_535];
    for (number, key) in [(2, &b""[..]), (3, &long), (4, b"m")] {
        let mut batch = WriteBatch::new();
        batch.put(key, b"v");
        tree.apply(&batch, seqno(number)).unwrap();
    }
    flush(&tree, 4);
    drop((store, tree));
    let tree = open(&faults).tree("t").unwrap();

    let mut scan = tree.scan(.., at(9)).unwrap();

    assert_eq!(scan.next_back().unwrap().unwrap().0, &long[..]);
    assert_eq!(scan.next().unwrap().unwrap().0, b"");
    scan.seek(&long);
    assert!(scan.next().is_none(), "the back gave it out");
    assert!(tree.get(b"", at(9)).unwrap().is_some() && tree.get(&long, at(9)).unwrap().is_some());
    let mut scan = tree.scan(.., at(9)).unwrap();
    scan.seek(&long);
    assert!(scan.next().unwrap().is_ok());
    assert!(scan.next().is_none(), "there is no key behind the longest");
}

// ----- flush -----

#[test]
fn a_flush_of_an_idle_tree_advances_in_memory_without_an_edit() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1"], 5);
    faults.take_done();

    let report = try_flush(&tree, 50).unwrap();

    assert_eq!((report.memtables, report.replay_point), (0, seqno(50)));
    assert_eq!(tree.replay_point(), seqno(50));
    assert_eq!(faults.take_done(), [], "no edit, no file");
    assert_eq!(tree.highest_seqno(), seqno(50));
    drop((store, tree));
    assert_eq!(open(&faults).tree("t").unwrap().replay_point(), seqno(5), "forgotten at restart");
}

#[test]
fn an_idle_flush_advances_below_what_waits() {
    let (_faults, _store, tree) = fresh();
    put(&tree, "a", "1", 10);
    tree.rotate(seqno(20)).unwrap();
    put(&tree, "b", "2", 21);

    assert_eq!(try_flush(&tree, 9).unwrap().replay_point, seqno(9));
    assert_eq!(try_flush(&tree, 15).unwrap().replay_point, seqno(9), "10 is not flushed");

    assert_eq!(shown(&tree, 30), "a=1 b=2");
    assert_eq!(try_flush(&tree, 20).unwrap().replay_point, seqno(20));
    assert_eq!(try_flush(&tree, 21).unwrap().replay_point, seqno(20), "21 is not sealed");
}

#[test]
fn the_replay_point_is_exactly_the_boundary_after_reopening() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", "1", 5);
    tree.rotate(seqno(9)).unwrap();
    put(&tree, "b", "2", 10);
    tree.rotate(seqno(12)).unwrap();
    put(&tree, "c", "3", 13);
    try_flush(&tree, 12).unwrap();
    drop((store, tree));

    let store = open(&faults);
    let tree = store.tree("t").unwrap();

    assert_eq!(tree.replay_point(), seqno(12));
    assert_eq!(tree.highest_seqno(), seqno(12));
    assert_eq!(shown(&tree, 99), "a=1 b=2");
    put(&tree, "c", "again", 13);
    assert_eq!(shown(&tree, 99), "a=1 b=2 c=again", "replayed");
}

/// What was deleted leaves no table, and its numbers are used up all the same.
#[test]
fn numbers_that_left_no_trace_in_tables_are_not_used_again() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", "1", 5);
    delete(&tree, "a", 6);
    tree.rotate(seqno(6)).unwrap();
    let report = tree.flush(seqno(6), &views(&[6]), &[]).unwrap();
    assert_eq!(report.tables, []);
    drop((store, tree));

    let tree = open(&faults).tree("t").unwrap();

    assert_eq!((tree.replay_point(), tree.read_floor()), (seqno(6), seqno(6)));
    assert_eq!(tree.highest_seqno(), seqno(6));
}

#[test]
fn notes_of_a_flush_are_in_its_edit() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", "1", 2);
    tree.rotate(seqno(2)).unwrap();
    let notes = [isopach_engine::version::Note::new("log", "begins at 2")];
    tree.flush(seqno(2), &Views::keep_all(), &notes).unwrap();
    tree.flush(seqno(9), &Views::keep_all(), &[isopach_engine::version::Note::new("log", "idle")]).unwrap();
    drop((store, tree));

    assert_eq!(open(&faults).note("log").unwrap(), b"begins at 2", "an idle flush has no edit");
}

// ----- failures -----

/// Fails one call after another of `job`, before and after its effect, until none is left. After each the
/// tree shows what it showed, now and after reopening; a second attempt succeeds if the store still takes
/// edits; and in the end no file is left that nothing names.
fn fail_every_call(
    prepare: impl Fn(&Store, &Tree),
    job: impl Fn(&Tree) -> bool,
    expected: &str,
    kind: IoErrorKind,
) {
    for after in [false, true] {
        for calls in 0.. {
            let (faults, store, tree) = fresh();
            prepare(&store, &tree);
            let mut left = calls;
            faults.fail(move |_| {
                left = usize::checked_sub(left, 1)?;
                (left == 0).then_some(if after { Fail::After(kind) } else { Fail::Before(kind) })
            });
            let replay_point = tree.replay_point();
            let before = ids(&tree);
            let is_done = job(&tree);
            faults.heal();

            let what = format!("call {calls}, {}", if after { "after" } else { "before" });
            assert_eq!(shown(&tree, 99), expected, "{what}");
            if !is_done {
                assert_eq!(tree.replay_point(), replay_point, "{what}");
                assert_eq!(ids(&tree), before, "the tree is as it was: {what}");
            }
            let is_poisoned = store.poisoned().is_some();
            let unflushed = tree.first_unflushed();
            store.files().run_deletions(u64::MAX);
            if is_poisoned {
                assert!(!job(&tree), "{what}");
                assert_eq!(shown(&tree, 99), expected, "reads go on: {what}");
            }
            // What a crash now leaves.
            let image = Faults::new(&faults.files.deep_clone());
            let reopened = open(&image);
            let after_crash = reopened.tree("t").unwrap();
            if unflushed.is_none() || after_crash.replay_point() > replay_point {
                assert_eq!(shown(&after_crash, 99), expected, "after a crash: {what}");
            }
            assert!(
                reopened.verify(Default::default(), &mut |_, _| Ok(())).unwrap().found.is_empty(),
                "{what}"
            );
            reopened.remove_orphans().unwrap();
            reopened.files().run_deletions(u64::MAX);
            assert_eq!(table_files(&image.files).len(), after_crash.tables().len(), "{what}");

            if !is_poisoned {
                assert!(is_done || job(&tree), "{what}");
                assert_eq!(shown(&tree, 99), expected, "{what}");
                store.files().run_deletions(u64::MAX);
                assert_eq!(table_files(&faults.files).len(), tree.tables().len(), "{what}");
                drop((store, tree));
                assert_eq!(shown(&open(&faults).tree("t").unwrap(), 99), expected, "reopened: {what}");
            }
            if is_done && calls > 30 {
                break;
            }
        }
    }
}

#[test]
fn a_flush_that_fails_anywhere_leaves_the_tree_as_it_was() {
    for kind in [IoErrorKind::Other, IoErrorKind::OutOfSpace] {
        fail_every_call(
            |_, tree| {
                put(tree, "a", "1", 2);
                put(tree, "b", "2", 3);
                tree.rotate(seqno(3)).unwrap();
            },
            |tree| try_flush(tree, 3).is_ok(),
            "a=1 b=2",
            kind,
        );
    }
}

#[test]
fn a_compaction_that_fails_anywhere_leaves_the_tree_as_it_was() {
    for kind in [IoErrorKind::Other, IoErrorKind::OutOfSpace] {
        fail_every_call(
            |_, tree| drop(tables_of(tree, &["a=1", "b=2", "a=3", "c=4"], 2)),
            |tree| merge_all(tree, 3, &views(&[5])).is_ok(),
            "a=3 b=2 c=4",
            kind,
        );
    }
}

#[test]
fn a_move_that_fails_anywhere_leaves_the_tree_as_it_was() {
    fail_every_call(
        |_, tree| drop(tables_of(tree, &["a=1", "b=2"], 2)),
        |tree| tree.compact(&Plan::relocate(ids(tree), Level(4)), &views(&[5]), &mut |_| Ok(())).is_ok(),
        "a=1 b=2",
        IoErrorKind::Other,
    );
}

/// The edit was in the file, only its sync failed. Its table was once given to the deleter.
#[test]
fn tables_of_an_edit_that_may_have_survived_stay() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1"], 2);
    put(&tree, "b", "2", 3);
    tree.rotate(seqno(3)).unwrap();
    faults.fail_next(Fail::Before(BROKEN), |op| op.site == "manifest.edit");

    assert_eq!(try_flush(&tree, 3).unwrap_err().kind(), ErrorKind::Poisoned);
    store.files().run_deletions(u64::MAX);
    drop((store, tree));

    let tree = open(&faults).tree("t").unwrap();
    assert_eq!(tree.replay_point(), seqno(3), "the edit survived");
    assert_eq!(shown(&tree, 9), "a=1 b=2", "and so did what it names");
}

/// After a failed sync of a directory later ones promise nothing: other jobs' tables may be lost with it.
#[test]
fn a_directory_of_tables_that_cannot_be_synced_poisons() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", "1", 2);
    tree.rotate(seqno(2)).unwrap();
    faults.fail_next(Fail::Before(BROKEN), |op| op.site == "flush.directory");

    assert_eq!(try_flush(&tree, 2).unwrap_err().kind(), ErrorKind::Poisoned);

    assert!(store.poisoned().is_some());
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files), [""; 0], "no edit names the table");
}

#[test]
fn nothing_starts_in_a_poisoned_store() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2"], 2);
    put(&tree, "c", "3", 4);
    tree.rotate(seqno(4)).unwrap();
    faults.fail_next(Fail::Before(BROKEN), |op| op.site == "manifest.edit");
    assert!(store.commit(&[]).is_err());
    let before = contents(&faults.files);

    assert_eq!(try_flush(&tree, 4).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(merge_all(&tree, 6, &views(&[3])).unwrap_err().kind(), ErrorKind::Poisoned);

    assert_eq!(contents(&faults.files), before);
    assert_eq!(shown(&tree, 9), "a=1 b=2 c=3");
}

#[test]
fn a_job_that_its_caller_ends_changes_nothing() {
    let (faults, store, tree) = fresh();
    let large = "x".repeat(400_000);
    for number in 2..8 {
        put(&tree, &format!("k{number}"), &large, number);
    }
    flush(&tree, 7);
    let before = ids(&tree);
    let mut asked = 0;

    let ended = tree.compact(&Plan::merge(before.clone(), Level(6)), &views(&[7]), &mut |_| {
        asked += 1;
        if asked == 2 { Err(cancelled()) } else { Ok(()) }
    });

    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(ids(&tree), before);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files).len(), before.len());
    merge_all(&tree, 6, &views(&[7])).expect("its claim is gone");
}

// ----- claims -----

#[test]
fn tables_that_a_job_has_are_busy_until_it_ends() {
    let (_faults, _store, tree) = fresh();
    let large = "x".repeat(1_200_000);
    put(&tree, "a", &large, 2);
    flush(&tree, 2);
    put(&tree, "z", "1", 3);
    flush(&tree, 3);
    let [z, a] = ids(&tree)[..] else { panic!() };
    let mut inside = Vec::new();

    tree.compact(&Plan::merge(vec![a], Level(6)), &views(&[3]), &mut |_| {
        let try_merge = |inputs: &[TableId], to| {
            tree.compact(&Plan::merge(inputs.into(), Level(to)), &views(&[3]), &mut |_| Ok(()))
        };
        inside.push(try_merge(&[a], 6).unwrap_err().kind());
        inside.push(try_merge(&[a, z], 6).unwrap_err().kind());
        try_merge(&[z], 6).expect("beside it");
        Ok(())
    })
    .unwrap();

    assert_eq!(inside, [ErrorKind::Busy, ErrorKind::Busy]);
    assert_eq!(tree.stats().levels.len(), 1);
    assert_eq!(tree.stats().levels[0].1.tables, 2);
}

// ----- readers -----

#[test]
fn a_scan_held_over_a_hundred_compactions_reads_on() {
    let (faults, store, tree) = fresh();
    for key in 0..50 {
        put(&tree, &format!("k{key:02}"), "first", 2 + key);
    }
    flush(&tree, 51);
    let reader = tree.reader().unwrap();
    let mut scan = reader.scan(.., at(51)).unwrap();
    let first = scan.next().unwrap().unwrap();

    for round in 0..100 {
        let number = 52 + round;
        put(&tree, &format!("k{:02}", round % 50), "later", number);
        flush(&tree, number);
        merge_all(&tree, 6, &views(&[number])).unwrap();
        store.files().run_deletions(u64::MAX);
    }

    assert_eq!(table_files(&faults.files).len(), 2, "the newest, and the one that is held");
    assert_eq!(first.1, b"first");
    assert_eq!(scan.by_ref().map(|item| item.unwrap()).filter(|(_, value)| *value == b"first").count(), 49);
    assert_eq!(reader.get(b"k07", at(51)).unwrap().unwrap(), b"first");
    drop(scan);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files).len(), 2, "the reader holds it");
    drop(reader);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files).len(), 1);
}

#[test]
fn a_slice_outlives_everything() {
    let (_faults, store, tree) = fresh();
    let value = "long enough not to be inline, which is at least twenty-one bytes";
    put(&tree, "k", value, 2);
    flush(&tree, 2);
    let slice = tree.get(b"k", at(2)).unwrap().unwrap();

    drop((store, tree));

    assert_eq!(slice, value.as_bytes());
}

#[test]
fn a_dropped_tree_reads_on_through_its_old_state_and_then_not() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2"], 2);
    put(&tree, "c", "3", 4);
    let mut scan = tree.scan(.., at(4)).unwrap();

    let old = store.drop_tree(tree.id(), seqno(10)).unwrap();

    assert_eq!((old.tree(), old.at()), (tree.id(), seqno(10)));
    assert_eq!(store.drop_tree(tree.id(), seqno(11)).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(shown(&tree, 9), "a=1 b=2 c=3");
    assert_eq!(tree.get(b"a", at(10)).unwrap_err().kind(), ErrorKind::TreeDropped, "not before the drop");
    assert_eq!(tree.reader().err().unwrap().kind(), ErrorKind::TreeDropped);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files).len(), 2);
    drop(old);
    assert_eq!(tree.get(b"a", at(9)).unwrap_err().kind(), ErrorKind::TreeDropped);
    assert_eq!(scan.next().unwrap().unwrap().1, b"1", "a scan has what it needs");
    assert_eq!(scan.next_back().unwrap().unwrap().1, b"3");
    drop(scan);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files), [""; 0]);
    drop((store, tree));
    assert!(open(&faults).trees().is_empty());
}

#[test]
fn a_job_of_a_tree_that_is_dropped_meanwhile_ends_and_leaves_nothing() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &"x".repeat(1_200_000), 2);
    flush(&tree, 2);
    let mut old = None;

    let ended = tree.compact(&Plan::merge(ids(&tree), Level(6)), &views(&[2]), &mut |_| {
        old = Some(store.drop_tree(tree.id(), seqno(3)).unwrap());
        Ok(())
    });

    assert_eq!(ended.unwrap_err().kind(), ErrorKind::TreeDropped);
    drop(old);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files), [""; 0]);
    put(&tree, "b", "2", 4);
    tree.rotate(seqno(4)).unwrap();
    assert_eq!(try_flush(&tree, 4).unwrap_err().kind(), ErrorKind::TreeDropped);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files), [""; 0]);
}

#[test]
fn a_new_tree_may_have_the_name_of_a_dropped_one() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=old"], 2);
    drop(store.drop_tree(tree.id(), seqno(3)).unwrap());
    let id = store.reserve_tree_id().unwrap();
    let again = store.create_tree(id, "t", &TreeOptions::default(), &[], seqno(4)).unwrap();
    put(&again, "b", "new", 5);
    flush(&again, 5);
    drop((store, tree, again));

    let tree = open(&faults).tree("t").unwrap();

    assert_eq!((shown(&tree, 9).as_str(), tree.id()), ("b=new", id));
}

// ----- views -----

#[test]
fn below_the_read_floor_only_views_that_the_job_was_told_of_read() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["k=2", "k=3", "k=4", "k=5"], 2);

    merge_all(&tree, 6, &views(&[3, 5])).unwrap();

    assert_eq!(tree.read_floor(), seqno(5));
    assert_eq!(shown(&tree, 3), "k=3");
    assert_eq!(shown(&tree, 5), "k=5");
    assert_eq!(shown(&tree, 6), "k=5", "above the floor every view reads");
    for below in [0, 2, 4] {
        assert_eq!(tree.get(b"k", at(below)).unwrap_err().kind(), ErrorKind::SnapshotTooOld, "{below}");
        assert_eq!(tree.scan(.., at(below)).err().unwrap().kind(), ErrorKind::SnapshotTooOld);
    }
    drop((store, tree));
    let tree = open(&faults).tree("t").unwrap();
    assert_eq!(tree.read_floor(), seqno(5));
    assert_eq!(
        tree.get(b"k", at(3)).unwrap_err().kind(),
        ErrorKind::SnapshotTooOld,
        "views end with the process"
    );
}

#[test]
fn a_job_that_drops_nothing_raises_no_floor() {
    let (_faults, _store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2"], 2);

    merge_all(&tree, 6, &views(&[1, 3])).unwrap();

    assert_eq!(shown(&tree, 2), "a=1");
}

#[test]
fn what_every_view_sees_loses_its_number_at_the_bottom() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2", "b=3", "c=4"], 2);

    merge_all(&tree, 6, &views(&[4, 5])).unwrap();

    let numbers = |tree: &Tree| (tree.tables()[0].first_seqno.raw(), tree.tables()[0].last_seqno.raw());
    assert_eq!(numbers(&tree), (0, 5), "the view at 4 must not see c");
    assert_eq!((shown(&tree, 4), shown(&tree, 5)), ("a=1 b=3".into(), "a=1 b=3 c=4".into()));
    assert_eq!(tree.get(b"a", at(1)).unwrap_err().kind(), ErrorKind::SnapshotTooOld, "it would see too much");
    tables_of(&tree, &["a=new", "d=6"], 6);
    assert_eq!(shown(&tree, 5), "a=1 b=3 c=4");
    merge_all(&tree, 6, &views(&[5, 7])).unwrap();
    assert_eq!((shown(&tree, 5), shown(&tree, 7)), ("a=1 b=3 c=4".into(), "a=new b=3 c=4 d=6".into()));
    merge_all(&tree, 6, &views(&[7])).unwrap();
    assert_eq!(numbers(&tree), (0, 0));
    drop((store, tree));

    let tree = open(&faults).tree("t").unwrap();
    assert_eq!(shown(&tree, 7), "a=new b=3 c=4 d=6");
    assert!(tree.highest_seqno() >= seqno(7), "no number is given out twice");
    put(&tree, "a", "newest", 8);
    assert_eq!(
        (shown(&tree, 7), shown(&tree, 8)),
        ("a=new b=3 c=4 d=6".into(), "a=newest b=3 c=4 d=6".into())
    );
}

#[test]
fn a_view_that_a_later_job_was_not_told_of_is_too_old() {
    let (_faults, _store, tree) = fresh();
    tables_of(&tree, &["k=2", "k=3", "k=4"], 2);
    merge_all(&tree, 6, &views(&[2, 4])).unwrap();
    assert_eq!(shown(&tree, 2), "k=2");
    tables_of(&tree, &["k=5", "k=6"], 5);

    merge_all(&tree, 6, &views(&[5, 6])).unwrap();

    assert_eq!(tree.get(b"k", at(2)).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
    assert_eq!(shown(&tree, 5), "k=5");
}

/// The job that began first knows an older `visible` and ends last; its views and those of the other both
/// count.
#[test]
fn of_two_jobs_that_overlap_in_time_both_lists_of_views_count() {
    let (_faults, _store, tree) = fresh();
    let large = "x".repeat(600_000);
    for number in 2..6 {
        put(&tree, "a", &format!("{number}{large}"), number);
        flush(&tree, number);
    }
    let first = ids(&tree);
    let mut second_is_done = false;

    tree.compact(&Plan::merge(first, Level(6)), &views(&[2, 3, 5]), &mut |_| {
        if !std::mem::replace(&mut second_is_done, true) {
            let tables: Vec<TableId> = ["z=6", "z=7", "z=8"]
                .iter()
                .zip(6..)
                .flat_map(|(entry, number)| tables_of(&tree, &[entry], number))
                .collect();
            tree.compact(&Plan::merge(tables, Level(5)), &views(&[3, 6, 8]), &mut |_| Ok(())).unwrap();
        }
        Ok(())
    })
    .unwrap();

    assert!(second_is_done);
    assert_eq!(tree.read_floor(), seqno(8));
    let first_of = |key: &[u8], view| tree.get(key, at(view)).map(|value| value.map(|value| value[0]));
    assert_eq!(first_of(b"a", 3).unwrap(), Some(b'3'), "both were told of 3");
    assert_eq!(first_of(b"z", 6).unwrap(), Some(b'6'), "the first job harms nothing at 6");
    assert_eq!(first_of(b"z", 7).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
    assert_eq!(
        first_of(b"a", 2).unwrap_err().kind(),
        ErrorKind::SnapshotTooOld,
        "the second was not told of 2"
    );
    assert_eq!(first_of(b"z", 8).unwrap(), Some(b'8'));
}

#[test]
fn a_reader_pinned_before_a_job_reads_on_at_any_view() {
    let (_faults, store, tree) = fresh();
    tables_of(&tree, &["k=2", "k=3", "k=4"], 2);
    let reader = tree.reader().unwrap();

    merge_all(&tree, 6, &views(&[4])).unwrap();
    store.files().run_deletions(u64::MAX);

    assert_eq!(reader.get(b"k", at(2)).unwrap().unwrap(), b"2");
    assert_eq!(reader.scan(.., at(3)).unwrap().next().unwrap().unwrap().1, b"3");
    assert_eq!(tree.get(b"k", at(3)).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
}

#[test]
fn a_flush_that_drops_raises_the_floor_too() {
    let (_faults, _store, tree) = fresh();
    for number in 2..6 {
        put(&tree, "k", &number.to_string(), number);
    }
    tree.rotate(seqno(5)).unwrap();

    tree.flush(seqno(5), &views(&[3, 5]), &[]).unwrap();

    assert_eq!(tree.tables()[0].entries, 2);
    assert_eq!((shown(&tree, 3).as_str(), shown(&tree, 5).as_str()), ("k=3", "k=5"));
    assert_eq!(tree.get(b"k", at(4)).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
}

#[test]
fn tombstones_are_kept_as_long_as_they_hide_something() {
    let (_faults, _store, tree) = fresh();
    tables_of(&tree, &["k=old"], 2);
    tree.compact(&Plan::relocate(ids(&tree), Level(6)), &views(&[2]), &mut |_| Ok(())).unwrap();
    delete(&tree, "k", 3);
    flush(&tree, 3);
    let newest = ids(&tree)[0];

    tree.compact(&Plan::merge(vec![newest], Level(3)), &views(&[3]), &mut |_| Ok(())).unwrap();
    assert_eq!(shown(&tree, 3), "", "the tombstone came along");
    merge_all(&tree, 6, &views(&[3])).unwrap();

    assert_eq!(tree.tables().len(), 0, "nothing is left of either");
    assert_eq!(shown(&tree, 3), "");
}

// ----- damage -----

/// Tables a-c, x-z of a run, and m in memory.
fn with_gap() -> (Faults, Store, Tree, [String; 2]) {
    let (faults, store, tree) = fresh();
    for (keys, first) in [(["a", "b", "c"], 2), (["x", "y", "z"], 5)] {
        for (key, number) in keys.iter().zip(first..) {
            put(&tree, key, "table", number);
        }
        flush(&tree, first + 2);
    }
    tree.compact(&Plan::relocate(ids(&tree), Level(6)), &views(&[7]), &mut |_| Ok(())).unwrap();
    for (key, number) in ["", "b", "m", "y", "zz"].iter().zip(8..) {
        put(&tree, key, "memory", number);
    }
    let files = table_files(&faults.files).try_into().unwrap();
    (faults, store, tree, files)
}

fn told(scan: impl Iterator<Item = isopach_engine::error::Result<isopach_engine::iter::Item>>) -> String {
    let text = scan.map(|item| match item {
        Ok((key, value)) => format!("{}={}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value)),
        Err(error) => format!("<{}>", error.file().unwrap()),
    });
    text.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_scan_passes_over_a_missing_table_once_and_over_nothing_else() {
    for missing in 0..2 {
        let (faults, _store, tree, files) = with_gap();
        faults.files.remove_file(&files[missing]).unwrap();
        let hole = format!("<{}>", files[missing]);
        let (low, high) = ("a=table b=memory c=table", "x=table y=memory z=table");
        let expected = match missing {
            0 => format!("=memory {hole} m=memory {high} zz=memory"),
            _ => format!("=memory {low} m=memory {hole} zz=memory"),
        };

        assert_eq!(told(tree.scan(.., at(99)).unwrap()), expected);
        let mut backward: Vec<String> =
            told(tree.scan(.., at(99)).unwrap().rev()).split(' ').map(Into::into).collect();
        backward.reverse();
        assert_eq!(backward.join(" "), expected);
        let untouched = if missing == 0 { "d".."zzz" } else { "".."x" };
        assert!(!told(tree.scan(untouched, at(99)).unwrap()).contains('<'), "a range beside it");
    }
}

#[test]
fn a_get_whose_newest_source_is_damaged_is_an_error_naming_file_and_keys() {
    let (faults, _store, tree) = fresh();
    let tables = tables_of(&tree, &["k=old", "k=new"], 2);
    let newest = isopach_engine::table::file_name(tables[1]);
    crate::faults::flip(&faults.files, &newest, 100);

    let error = tree.get(b"k", at(9)).unwrap_err();

    assert_eq!(
        (error.kind(), error.file(), error.tree()),
        (ErrorKind::Corruption, Some(&newest[..]), Some(tree.id()))
    );
    let key = || b"k".to_vec();
    let (low, high) = error.keys().unwrap();
    assert_eq!(low, &std::ops::Bound::Included(key()));
    assert!(
        matches!(high, std::ops::Bound::Included(high) if *high == key())
            || matches!(high, std::ops::Bound::Excluded(high) if high.starts_with(b"k"))
    );
    assert_eq!(tree.get(b"k", at(2)).unwrap().unwrap(), b"old", "a view that needs only the older table");
    assert_eq!(tree.get(b"j", at(9)).unwrap(), None);
}

#[test]
fn a_compaction_of_a_damaged_table_fails_and_changes_nothing() {
    let (faults, store, tree) = fresh();
    let tables = tables_of(&tree, &["a=1", "b=2"], 2);
    crate::faults::flip(&faults.files, &isopach_engine::table::file_name(tables[0]), 100);

    assert_eq!(merge_all(&tree, 6, &views(&[3])).unwrap_err().kind(), ErrorKind::Corruption);

    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files).len(), 2);
    assert_eq!(tree.get(b"b", at(9)).unwrap().unwrap(), b"2");
}

// ----- many threads -----

/// Writers of their own keys, a flusher, a compactor and readers: every reader sees a prefix of each writer's
/// work.
#[test]
fn writers_readers_and_jobs_run_beside_each_other() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let files = MemFs::new();
    let faults = Faults::new(&files);
    let store = open(&faults);
    let tree = create(&store, "t");
    let (next, is_over) = (AtomicU64::new(2), AtomicBool::new(false));
    let order = std::sync::Mutex::new(());
    let visible = AtomicU64::new(1);

    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (tree, next, order, visible) = (&tree, &next, &order, &visible);
                scope.spawn(move || {
                    for round in 0..400_u32 {
                        let _order = order.lock().unwrap();
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        put(tree, &format!("w{writer}"), &format!("{round:04}"), number);
                        put_more(tree, writer, round, next);
                        visible.store(next.load(Ordering::SeqCst) - 1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let (tree, is_over, visible, order) = (&tree, &is_over, &visible, &order);
        let jobs = scope.spawn(move || {
            let leveled = Leveled::for_tables_of(tree.options().table_bytes);
            while !is_over.load(Ordering::SeqCst) {
                let boundary = {
                    let _order = order.lock().unwrap();
                    let boundary = visible.load(Ordering::SeqCst);
                    tree.rotate(seqno(boundary)).unwrap();
                    boundary
                };
                tree.flush(seqno(boundary), &views(&[boundary]), &[]).unwrap();
                while let Some(plan) = tree.pick(&leveled) {
                    tree.compact(&plan, &views(&[visible.load(Ordering::SeqCst)]), &mut |_| Ok(())).unwrap();
                }
                store.files().run_deletions(u64::MAX);
            }
        });
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let mut seen = [String::new(), String::new()];
                    while !is_over.load(Ordering::SeqCst) {
                        let reader = tree.reader().unwrap();
                        let view = at(visible.load(Ordering::SeqCst));
                        let scanned: Vec<(String, String)> = reader
                            .scan("w".."x", view)
                            .unwrap()
                            .map(|item| item.unwrap())
                            .map(|(key, value)| {
                                (String::from_utf8_lossy(&key).into(), String::from_utf8_lossy(&value).into())
                            })
                            .collect();
                        for (key, value) in scanned {
                            let writer = usize::from(key == "w1");
                            assert!(seen[writer] <= value, "time does not go back");
                            let got = reader.get(key.as_bytes(), view).unwrap().unwrap();
                            assert_eq!(got, value.as_bytes());
                            seen[writer] = value;
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_over.store(true, Ordering::SeqCst);
        jobs.join().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });

    let last = visible.load(Ordering::SeqCst);
    assert_eq!(tree.get(b"w0", at(last)).unwrap().unwrap(), b"0399");
    assert_eq!(tree.get(b"w1", at(last)).unwrap().unwrap(), b"0399");
    assert_eq!(tree.scan("k".."l", at(last)).unwrap().count(), 50);
}

fn put_more(tree: &Tree, writer: u32, round: u32, next: &std::sync::atomic::AtomicU64) {
    let mut batch = WriteBatch::new();
    batch.put(format!("k{:02}", (writer * 7 + round) % 50).as_bytes(), b"v");
    batch.delete(format!("d{round}").as_bytes());
    let first = next.fetch_add(2, std::sync::atomic::Ordering::SeqCst);
    tree.apply(&batch, seqno(first)).unwrap();
}

#[test]
fn a_failed_creation_of_a_table_leaves_no_file() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", "1", 2);
    tree.rotate(seqno(2)).unwrap();
    faults.fail_next(Fail::After(BROKEN), |op| op.what == What::Create && op.name.starts_with("tables/"));

    assert_eq!(try_flush(&tree, 2).unwrap_err().kind(), ErrorKind::Io);

    assert_eq!(table_files(&faults.files).len(), 1);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files), [""; 0]);
}

/// Flushed tables have Bloom filters of 12 bits; merged ones BuRR, with more bits the more levels lie below.
#[test]
fn filters_of_tables_follow_how_they_were_written_and_what_lies_below() {
    let (_faults, _store, tree) = fresh();
    let asked = || -> Vec<FilterOptions> {
        let tables = tree.tables();
        tables.iter().map(|table| table.open().unwrap().properties().unwrap().filter.unwrap()).collect()
    };
    let filter = |kind, bits_per_key| FilterOptions { kind, bits_per_key };

    put(&tree, "a", "1", 2);
    flush(&tree, 2);
    assert_eq!(asked(), [filter(FilterKind::Bloom, 12.0)]);

    merge_all(&tree, 6, &views(&[2])).unwrap();
    assert_eq!(asked(), [filter(FilterKind::Burr, 7.0)]);

    let above = tables_of(&tree, &["b=2"], 3);
    tree.compact(&Plan::merge(above, Level(5)), &views(&[3]), &mut |_| Ok(())).unwrap();
    let above = tables_of(&tree, &["c=3"], 4);
    tree.compact(&Plan::merge(above, Level(3)), &views(&[4]), &mut |_| Ok(())).unwrap();
    assert_eq!(asked(), [13.0, 10.0, 7.0].map(|bits| filter(FilterKind::Burr, bits)));
}
