//! Separated values: where they go, when their files go, and what is told of one that is damaged.

use crate::{
    faults::{Fail, Faults, Op, What, names},
    harness::{BROKEN, at, flush, merge_all, open, seqno, try_flush, views},
};
use isopach_engine::{
    blob::{self, BlobUse},
    compaction::{
        CompactionFilter, CompactionFilterFactory, FilterContext, FilterEntry, Plan, Verdict, leave_garbage,
    },
    env::{CreateOptions, Fs, MemFs, OpenMode, WriteOrigin},
    error::{ErrorKind, Result},
    key::ValueKind,
    memtable::Operation,
    store::{CheckpointOptions, Store, StoreOptions, VerifyOptions},
    table::{self, TableMeta, VerifyDepth},
    tree::{KnownCode, Tree, TreeOptions, WriteBatch},
    types::{BlobId, Level, UnixUs, Uuid, View},
    version::{FileRegistry, Manifest, manifest_number, replay},
};
use std::sync::Arc;

/// Values of this size are separated.
const LARGE: usize = 100;

fn options() -> TreeOptions {
    let mut options = TreeOptions::default();
    options.blobs_from_bytes = Some(LARGE as u32);
    options.merge_operator = Some("isopach.append.44".into());
    options.blob_garbage_percent = 30;
    options
}

fn fresh() -> (Faults, Store, Tree) {
    let faults = Faults::new(&MemFs::new());
    let store = open(&faults);
    let tree = create(&store, &options());
    (faults, store, tree)
}

fn create(store: &Store, options: &TreeOptions) -> Tree {
    let id = store.reserve_tree_id().unwrap();
    store.create_tree(id, "t", options, &[], seqno(1)).unwrap()
}

/// A value of its own for each name, which does not compress.
fn large(name: &str) -> Vec<u8> {
    let mut state = name.bytes().fold(7_u64, |state, byte| state.wrapping_mul(31) + u64::from(byte));
    let noise = (0..200).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    noise.collect()
}

fn put(tree: &Tree, key: &str, value: &[u8], number: u64) {
    let mut batch = WriteBatch::new();
    batch.put(key.as_bytes(), value);
    tree.apply(&batch, seqno(number)).unwrap();
}

fn get(tree: &Tree, key: &str, number: u64) -> Option<Vec<u8>> {
    tree.get(key.as_bytes(), at(number)).unwrap().map(|value| value.to_vec())
}

fn blob_files(faults: &Faults) -> Vec<String> {
    names(&faults.files).into_iter().filter(|name| blob::number_of(name).is_some()).collect()
}

/// What stays once the deleter has run.
fn left(store: &Store, faults: &Faults) -> Vec<String> {
    store.files().run_deletions(u64::MAX);
    blob_files(faults)
}

/// Bytes of tables.
fn table_bytes(tree: &Tree) -> u64 {
    tree.tables().iter().map(|table| table.bytes).sum()
}

#[test]
fn large_values_lie_in_files_of_their_own_and_are_read_from_there() {
    let (faults, store, tree) = fresh();
    let edge = vec![b'e'; LARGE];
    put(&tree, "edge", &edge, 2);
    put(&tree, "large", &large("l"), 3);
    put(&tree, "small", &edge[1..], 4);

    flush(&tree, 4);

    assert_eq!(blob_files(&faults).len(), 1);
    let stats = tree.stats().blobs;
    assert_eq!((stats.files, stats.live_records), (1, 2), "from exactly the bound on");
    let check = |tree: &Tree| {
        assert_eq!(get(tree, "edge", 4), Some(edge.clone()));
        assert_eq!(get(tree, "large", 4), Some(large("l")));
        assert_eq!(get(tree, "small", 4), Some(edge[1..].to_vec()));
        let scan = tree.scan(.., at(4)).unwrap().map(|item| item.unwrap().1.to_vec());
        assert_eq!(scan.collect::<Vec<_>>(), [edge.clone(), large("l"), edge[1..].to_vec()]);
    };
    check(&tree);
    drop((tree, store));
    let store = open(&faults);
    assert_eq!(store.remove_orphans().unwrap(), 0);
    check(&store.tree("t").unwrap());
}

/// What isopach makes of large values: a value of 300 bytes, packed by no compression.
fn put_packed(tree: &Tree, key: &str, byte: u8, until: Option<u64>, number: u64) {
    let mut stored = until.map_or(Vec::new(), |until| until.to_le_bytes().to_vec());
    stored.extend([0, 44, 1, 0, 0]);
    stored.extend([byte; 300]);
    let kind = if until.is_some() { ValueKind::PutPackedUntil } else { ValueKind::PutPacked };
    let operation = Operation { seqno: seqno(number), kind, key: key.as_bytes(), value: &stored };
    tree.apply_operations(&[operation]).unwrap();
}

#[test]
fn packed_values_are_read_from_memory_and_go_into_files_as_they_are() {
    let (faults, store, tree) = fresh();
    put_packed(&tree, "a", b'a', None, 2);
    put_packed(&tree, "b", b'b', Some(50), 3);
    let seen = |tree: &Tree, key: &str, time| {
        let view = View::new(seqno(9), UnixUs(time));
        let found = tree.get(key.as_bytes(), view).unwrap().map(|value| value.to_vec());
        let mut scan = tree.scan(key..=key, view).unwrap();
        assert_eq!(scan.next().map(|item| item.unwrap().1.to_vec()), found);
        let mut keys = tree.scan(key..=key, view).unwrap();
        assert_eq!(keys.next_key().is_some(), found.is_some());
        let len = tree.reader().unwrap().value_len_timed(key.as_bytes(), seqno(9), |_| UnixUs(time)).unwrap();
        assert_eq!(len.map(|len| len as usize), found.as_ref().map(Vec::len));
        found
    };
    let check = |tree: &Tree| {
        assert_eq!(seen(tree, "a", 49), Some(vec![b'a'; 300]));
        assert_eq!(seen(tree, "b", 49), Some(vec![b'b'; 300]));
        assert_eq!(seen(tree, "b", 50), None);
    };
    check(&tree);

    flush(&tree, 9);
    check(&tree);
    assert_eq!((left(&store, &faults).len(), tree.stats().blobs.live_records), (1, 2));

    let mut inside = options();
    inside.blobs_from_bytes = None;
    tree.set_options(inside, &[]).unwrap();
    put_packed(&tree, "a", b'A', None, 10);
    flush(&tree, 10);
    assert_eq!(get(&tree, "a", 10), Some(vec![b'A'; 300]));
    assert_eq!(tree.stats().blobs.files, 1, "unpacked into its table");
}

#[test]
fn a_packed_value_that_is_damaged_is_told_and_stops_no_flush() {
    let (_faults, _store, tree) = fresh();
    let hostile =
        Operation { seqno: seqno(2), kind: ValueKind::PutPacked, key: b"a", value: &[1, 9, 9, 9, 9, 7] };
    tree.apply_operations(&[hostile]).unwrap();
    put(&tree, "b", &large("b"), 3);
    let mut inside = options();
    inside.blobs_from_bytes = None;

    assert_eq!(tree.get(b"a", at(3)).unwrap_err().kind(), ErrorKind::Corruption);
    tree.set_options(inside, &[]).unwrap();
    flush(&tree, 3);
    assert_eq!(tree.get(b"a", at(3)).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(get(&tree, "b", 3), Some(large("b")));
}

#[test]
fn scans_of_keys_and_counts_touch_no_file_of_values() {
    let (faults, _store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    put(&tree, "b", &large("b"), 3);
    flush(&tree, 3);
    let file = blob_files(&faults).remove(0);
    faults.files.rename(&file, "elsewhere").unwrap();

    let mut scan = tree.scan(.., at(3)).unwrap();
    assert_eq!(scan.next_key().unwrap().unwrap().0, b"a");
    assert_eq!(scan.next_key_back().unwrap().unwrap().0, b"b");
    assert!(scan.next_key().is_none());

    let len =
        |key: &str| tree.reader().unwrap().value_len_timed(key.as_bytes(), seqno(3), |_| UnixUs(0)).unwrap();
    assert_eq!((len("a"), len("b"), len("c")), (Some(200), Some(200), None));

    let error = tree.get(b"a", at(3)).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(&*file)));
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn a_file_goes_in_the_edit_that_takes_its_last_pointer() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &large("1"), 2);
    put(&tree, "b", &large("2"), 3);
    flush(&tree, 3);
    put(&tree, "a", &large("3"), 4);
    put(&tree, "b", b"small", 5);
    flush(&tree, 5);
    assert_eq!(left(&store, &faults).len(), 2);

    merge_all(&tree, 1, &views(&[3, 5])).unwrap();

    assert_eq!(left(&store, &faults).len(), 2, "a view sees the first values");
    assert_eq!(get(&tree, "a", 3), Some(large("1")));
    let reader = tree.reader().unwrap();
    merge_all(&tree, 2, &views(&[5])).unwrap();
    assert_eq!(left(&store, &faults).len(), 2, "a reader holds the file");
    assert_eq!(reader.get(b"a", at(3)).unwrap().unwrap(), &large("1")[..]);
    drop(reader);
    assert_eq!(left(&store, &faults).len(), 1);
    assert_eq!(tree.stats().blobs.live_records, 1);
    assert_eq!((get(&tree, "a", 5), get(&tree, "b", 5)), (Some(large("3")), Some(b"small".to_vec())));
}

#[test]
fn compactions_move_pointers_and_leave_values_where_they_are() {
    let (faults, store, tree) = fresh();
    for number in 2..12 {
        put(&tree, &format!("{number:02}"), &vec![number as u8; 10_000], number);
        flush(&tree, number);
    }
    let files = left(&store, &faults);

    merge_all(&tree, 1, &views(&[11])).unwrap();

    assert_eq!(left(&store, &faults), files);
    assert!(table_bytes(&tree) < 8192, "only keys and pointers were written");
    let (live_bytes, estimate) = (tree.stats().blobs.live_bytes, tree.approximate_range(..).unwrap());
    assert_eq!((estimate.rows, estimate.bytes), (10, live_bytes + table_bytes(&tree)));
    assert_eq!(get(&tree, "05", 11), Some(vec![5; 10_000]));
}

#[test]
fn live_values_leave_files_of_which_most_is_stale() {
    let (faults, store, tree) = fresh();
    for (number, key) in (2..).zip(["a", "b", "c", "d"]) {
        put(&tree, key, &large(key), number);
    }
    flush(&tree, 5);
    let first = blob_files(&faults);
    for (number, key) in (6..).zip(["a", "b", "c"]) {
        put(&tree, key, b"small now", number);
    }
    flush(&tree, 8);
    merge_all(&tree, 1, &views(&[8])).unwrap();
    assert_eq!(left(&store, &faults), first, "one of four values is alive");
    let stats = tree.stats().blobs;
    assert_eq!((stats.live_records, stats.stale_bytes > stats.live_bytes), (1, true));

    let garbage = tree.blob_garbage();
    assert_eq!(garbage, [blob::number_of(&first[0]).unwrap()]);
    let plan = tree.with_shape(|shape| leave_garbage(shape, &garbage)).unwrap();
    assert_eq!((plan.to, plan.inputs.len()), (Level(1), 1));
    tree.compact(&plan, &views(&[8]), &mut |_| Ok(())).unwrap();

    let files = left(&store, &faults);
    assert!(files.len() == 1 && files != first, "{files:?}");
    assert_eq!(tree.stats().blobs.stale_bytes, 0);
    assert_eq!((get(&tree, "d", 8), get(&tree, "a", 8)), (Some(large("d")), Some(b"small now".to_vec())));
    assert!(tree.blob_garbage().is_empty());
}

#[test]
fn the_bound_changes_and_values_follow_when_they_are_written_again() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    put(&tree, "b", &large("b"), 3);
    flush(&tree, 3);
    let with = |bytes| {
        let mut options = options();
        options.blobs_from_bytes = bytes;
        tree.set_options(options, &[]).unwrap();
    };

    with(None);
    put(&tree, "c", &large("c"), 4);
    put(&tree, "b", b"small", 5);
    flush(&tree, 5);
    merge_all(&tree, 1, &views(&[5])).unwrap();
    assert_eq!(left(&store, &faults).len(), 1, "what is separated stays so");
    merge_all(&tree, 2, &views(&[5])).unwrap();
    assert_eq!(left(&store, &faults).len(), 0, "but half of the file was stale: nothing goes into a new one");
    assert_eq!(get(&tree, "a", 5), Some(large("a")));

    with(Some(LARGE as u32));
    merge_all(&tree, 3, &views(&[5])).unwrap();
    assert_eq!((left(&store, &faults).len(), tree.stats().blobs.live_records), (1, 2));
    assert_eq!((get(&tree, "a", 5), get(&tree, "c", 5)), (Some(large("a")), Some(large("c"))));
}

#[test]
fn separated_values_expire() {
    let (faults, store, tree) = fresh();
    let mut batch = WriteBatch::new();
    batch.put_until(b"a", &large("a"), UnixUs(50));
    tree.apply(&batch, seqno(2)).unwrap();
    put(&tree, "b", &large("b"), 3);
    flush(&tree, 3);
    assert_eq!(tree.stats().blobs.live_records, 2);

    let seen = |time| {
        let view = View::new(seqno(3), UnixUs(time));
        let get = tree.get(b"a", view).unwrap().map(|value| value.to_vec());
        let mut scan = tree.scan("a"..="a", view).unwrap();
        assert_eq!(scan.next().map(|item| item.unwrap().1.to_vec()), get);
        let mut keys = tree.scan("a"..="a", view).unwrap();
        assert_eq!(keys.next_key().is_some(), get.is_some());
        get
    };
    assert_eq!(seen(49), Some(large("a")));
    assert_eq!(seen(50), None);

    let late = isopach_engine::compaction::Views::new(&[], View::new(seqno(3), UnixUs(50)));
    merge_all(&tree, 6, &late).unwrap();
    merge_all(&tree, 6, &late).unwrap();
    assert_eq!(tree.stats().blobs.live_records, 1);
    assert_eq!(tree.stats().blobs.stale_bytes, 0, "and the other value was taken elsewhere");
    drop((store, faults));
}

#[test]
fn operands_stand_on_separated_values() {
    let (_faults, _store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    flush(&tree, 2);
    let mut batch = WriteBatch::new();
    batch.merge(b"a", b"more");
    tree.apply(&batch, seqno(3)).unwrap();
    let both = [&large("a")[..], b",more"].concat();
    assert_eq!(get(&tree, "a", 3), Some(both.clone()));
    flush(&tree, 3);

    merge_all(&tree, 6, &views(&[3])).unwrap();

    assert_eq!(get(&tree, "a", 3), Some(both));
    let stats = tree.stats().blobs;
    assert_eq!((stats.files, stats.live_records), (1, 1), "what came of them is separated");
}

/// Replaces values that begin with `x`, whatever their size.
struct Shorten;

impl CompactionFilterFactory for Shorten {
    fn name(&self) -> &str {
        "app.shorten"
    }

    fn make(&self, _context: &FilterContext) -> Box<dyn CompactionFilter> {
        Box::new(Shorten)
    }
}

impl CompactionFilter for Shorten {
    fn filter(&mut self, entry: &FilterEntry<'_>) -> Result<Verdict> {
        let value = entry.value()?;
        Ok(if value.starts_with(b"x") { Verdict::Replace(value[..1].to_vec()) } else { Verdict::Keep })
    }
}

#[test]
fn filters_are_shown_separated_values() {
    let faults = Faults::new(&MemFs::new());
    let mut store_options = StoreOptions::default();
    let mut code = KnownCode::default();
    code.compaction_filters.add(Arc::new(Shorten));
    store_options.code = code;
    let store = Store::open(faults.env(), &store_options).unwrap();
    let tree = create(&store, &options());
    let mut batch = WriteBatch::new();
    batch.put(b"a", &[b'x'; 300]).put_until(b"b", &[b'x'; 300], UnixUs(50)).put(b"c", &large("c"));
    tree.apply(&batch, seqno(2)).unwrap();
    flush(&tree, 4);
    let mut filtered = options();
    filtered.compaction_filter = Some("app.shorten".into());
    tree.set_options(filtered, &[]).unwrap();

    merge_all(&tree, 1, &views(&[4])).unwrap();

    assert_eq!((get(&tree, "a", 4), get(&tree, "b", 4)), (Some(b"x".to_vec()), Some(b"x".to_vec())));
    assert_eq!(tree.get(b"b", View::new(seqno(4), UnixUs(50))).unwrap(), None, "it expires all the same");
    assert_eq!((get(&tree, "c", 4), tree.stats().blobs.live_records), (Some(large("c")), 1));
}

#[test]
fn clearing_and_dropping_a_tree_takes_its_values_along() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    flush(&tree, 2);
    let old = store.clear_tree(tree.id(), seqno(3)).unwrap();
    assert_eq!(left(&store, &faults).len(), 1, "the old state is held");
    assert_eq!(get(&tree, "a", 2), Some(large("a")));
    drop(old);
    assert_eq!(left(&store, &faults).len(), 0);

    put(&tree, "b", &large("b"), 4);
    flush(&tree, 4);
    drop(store.drop_tree(tree.id(), seqno(5)).unwrap());
    drop(tree);
    assert_eq!(left(&store, &faults).len(), 0);
}

#[test]
fn bulk_loads_separate_values_and_their_runs_do_not() {
    let (faults, store, tree) = fresh();
    let mut sorter = tree.ingest_unsorted(1000).unwrap();
    for key in (0..20).rev() {
        let key = format!("{key:02}");
        sorter.put(key.as_bytes(), &large(&key)).unwrap();
    }
    assert_eq!(blob_files(&faults).len(), 0);
    let prepared = sorter.finish().unwrap();
    assert!(prepared.bytes() > 20 * 200);
    store.ingest(Vec::from([prepared]), seqno(3)).unwrap();
    assert_eq!((left(&store, &faults).len(), tree.stats().blobs.live_records), (1, 20));
    assert_eq!(get(&tree, "07", 3), Some(large("07")));

    let mut unfinished = tree.ingest().unwrap();
    unfinished.put(b"x", &large("x")).unwrap();
    assert_eq!(blob_files(&faults).len(), 2);
    drop(unfinished);
    let mut given_up = tree.ingest().unwrap();
    given_up.put(b"x", &large("x")).unwrap();
    drop(given_up.finish().unwrap());
    assert_eq!(left(&store, &faults).len(), 1, "what is dropped leaves nothing");
}

#[test]
fn a_checkpoint_holds_the_files_that_its_tables_point_to() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    flush(&tree, 2);
    let copy = MemFs::new();
    let target: Arc<dyn Fs> = Arc::new(copy.clone());
    let cut = store.cut(seqno(2), &[]).unwrap();
    put(&tree, "a", b"small", 3);
    flush(&tree, 3);
    merge_all(&tree, 1, &views(&[3])).unwrap();
    let info = store.checkpoint(cut, &target, &CheckpointOptions::default(), &[], &mut |_| Ok(())).unwrap();

    assert_eq!(left(&store, &faults).len(), 0);
    assert_eq!((info.tables, info.files), (1, 4), "a table, its values, manifest and identity");
    let copied = Store::open(Faults::new(&copy).env(), &StoreOptions::default()).unwrap();
    assert_eq!(get(&copied.tree("t").unwrap(), "a", 2), Some(large("a")));
}

#[test]
fn orphans_are_removed_and_files_above_the_mark_are_damage() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    flush(&tree, 2);
    let kept = blob_files(&faults);
    let sound = crate::faults::read(&faults.files, &kept[0]);
    let plant = |id| {
        let options = CreateOptions::new(WriteOrigin::FlushBlob);
        let file = faults.files.create(&blob::file_name(BlobId(id)), &options).unwrap();
        file.write_at(0, &sound).unwrap();
    };
    plant(200);

    assert_eq!(store.remove_orphans().unwrap(), 1);
    assert_eq!(left(&store, &faults), kept);
    plant(2000);
    let error = store.remove_orphans().unwrap_err();
    assert!(error.kind() == ErrorKind::Corruption && error.to_string().contains("above"), "{error}");
}

#[test]
fn a_failed_sync_of_values_fails_the_flush_and_leaves_nothing() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    tree.rotate(seqno(2)).unwrap();
    for what in [What::Create, What::Write, What::Sync] {
        let is_meant = move |op: &Op| op.what == what && op.name.starts_with("blobs/");
        faults.fail_next(Fail::Before(BROKEN), is_meant);

        assert_eq!(try_flush(&tree, 2).unwrap_err().kind(), ErrorKind::Io);

        faults.heal();
        assert_eq!((left(&store, &faults).len(), tree.tables().len()), (0, 0), "{what:?}");
        assert!(names(&faults.files).iter().all(|name| !name.ends_with(".table")));
    }
    try_flush(&tree, 2).unwrap();
    assert_eq!(get(&tree, "a", 2), Some(large("a")));
}

#[test]
fn values_are_durable_before_a_table_that_points_to_them_and_before_the_edit() {
    let (faults, _store, tree) = fresh();
    let mut wide = options();
    wide.table_bytes = 64 << 10;
    wide.compression = isopach_engine::codec::Compression::None.into();
    tree.set_options(wide, &[]).unwrap();
    for number in 2..800 {
        let key = format!("{number:04}{}", "k".repeat(200));
        put(&tree, &key, &large(&key), number);
    }
    tree.rotate(seqno(800)).unwrap();
    faults.take_done();

    try_flush(&tree, 800).unwrap();

    let mut unsynced = 0;
    let (mut tables, mut edits) = (0, 0);
    for op in faults.take_done() {
        match op.what {
            What::Write if op.name.starts_with("blobs/") => unsynced += 1,
            What::Sync if op.name.starts_with("blobs/") => unsynced = 0,
            What::Sync if op.name.starts_with("tables/") => {
                assert_eq!(unsynced, 0, "a table points to what is not durable");
                tables += 1;
            }
            What::Write if op.name.starts_with("MANIFEST") => {
                assert_eq!(unsynced, 0);
                edits += usize::from(tables > 0);
            }
            _ => {}
        }
    }
    assert!(tables > 1 && edits == 1, "{tables} tables, {edits} edits");
}

#[test]
fn damage_of_a_value_is_told_with_its_place_and_harms_no_other() {
    let (faults, store, tree) = fresh();
    for (number, key) in (2..).zip(["a", "b", "c"]) {
        put(&tree, key, &large(key), number);
    }
    flush(&tree, 4);
    let name = blob_files(&faults).remove(0);
    let file = faults.files.open(&name, OpenMode::ReadWrite).unwrap();
    let at_byte = 64 + 233 + 100; // In the second record.
    let mut byte = [0];
    file.read_exact_at(at_byte, &mut byte).unwrap();
    file.write_at(at_byte, &[byte[0] ^ 1]).unwrap();

    let error = tree.get(b"b", at(4)).unwrap_err();
    assert_eq!(
        (error.kind(), error.file(), error.offset()),
        (ErrorKind::Corruption, Some(&*name), Some(64 + 233))
    );
    assert_eq!((get(&tree, "a", 4), get(&tree, "c", 4)), (Some(large("a")), Some(large("c"))));
    let mut scan = tree.scan(.., at(4)).unwrap();
    assert_eq!(scan.next().unwrap().unwrap().0, b"a");
    assert!(scan.next().unwrap().is_err());
    assert_eq!(scan.next().unwrap().unwrap().0, b"c");
    assert!(scan.next().is_none());
    let report = store.verify(VerifyOptions::new().depth(VerifyDepth::Full), &mut |_, _| Ok(())).unwrap();
    assert!(
        report.found.iter().any(|found| found.file == name && found.offset == Some(64 + 233)),
        "{report:?}"
    );

    assert_eq!(tree.damaged_tables().len(), 1);

    // Keys are compacted all the same, and operands on what is damaged stay.
    let mut batch = WriteBatch::new();
    batch.merge(b"b", b"more");
    tree.apply(&batch, seqno(5)).unwrap();
    flush(&tree, 5);
    merge_all(&tree, 1, &views(&[5])).unwrap();
    assert_eq!(tree.get(b"b", at(5)).unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn the_file_of_a_table_that_is_rewritten_stays_as_it_is() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    flush(&tree, 2);
    let files = left(&store, &faults);
    let ids = tree.tables().iter().map(|table| table.id).collect();

    tree.compact(&Plan::merge(ids, Level(0)), &views(&[2]), &mut |_| Ok(())).unwrap();

    assert_eq!(left(&store, &faults), files);
    assert_eq!(get(&tree, "a", 2), Some(large("a")));
}

/// A manifest that was forged with its checksums said of a table that it points to another file's values. A compaction
/// took the edit that followed from that for its own mistake, and panicked.
#[test]
fn a_table_that_points_to_other_values_than_the_manifest_says_is_damaged() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", &large("a"), 2);
    flush(&tree, 2);
    put(&tree, "b", &large("b"), 3);
    put(&tree, "c", &large("c"), 4);
    flush(&tree, 4);
    let database = store.uuid();
    drop((tree, store));
    let number = names(&faults.files).iter().filter_map(|name| manifest_number(name)).max().unwrap();
    let mut catalog = replay(&faults.files, number, database).unwrap().catalog;
    for stored in catalog.trees.values_mut() {
        let of_second =
            stored.levels.tables().find(|(.., table)| table.blobs[0].records == 2).unwrap().2.blobs[0];
        stored.levels = stored.levels.map(|table| {
            let half = BlobUse { records: 1, bytes: of_second.bytes / 2, ..of_second };
            Arc::new(TableMeta { blobs: vec![half], ..TableMeta::clone(table) })
        });
    }
    let (fs, registry) = (faults.env().fs, FileRegistry::new(faults.env().fs));
    let draw = Box::new(|| Ok(Uuid([7; 16])));
    drop(Manifest::start(fs, registry, database, draw, number + 1, catalog).unwrap());
    let store = open(&faults);
    let tree = store.tree("t").unwrap();

    let error = merge_all(&tree, 1, &views(&[4])).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains("than the manifest says"), "{error}");
    let second = tree.tables().iter().map(|table| table.id).max().unwrap();
    assert_eq!(error.file(), Some(&table::file_name(second)[..]));
    assert_eq!(tree.damaged_tables().len(), 1, "no compaction takes it again");
    assert_eq!(get(&tree, "b", 4), Some(large("b")));
}
