//! The manifest by the rules of its file: what ends it, what damages it, what replaces it, what stops it.

use crate::faults::{Fail, Faults, What, contents, flip, names, read, write};
use isopach_engine::{
    codec::{
        FileCodec, FileHeader, FileKind, HEADER_BYTES, LogPosition, Record, RecordReader, Step, TlvWriter,
        digest, encode_record,
    },
    env::{Fs, IoErrorKind, MemFs, OpenMode},
    error::{ErrorKind, Result},
    store::{Store, StoreOptions},
    types::{Seqno, TreeId, Uuid},
    version::{
        Catalog, Change, FileRegistry, Manifest, Note, Replayed, encode_edit, manifest_name, manifest_number,
        replay, temporary_number,
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

const DATABASE: Uuid = Uuid([7; 16]);

fn start(faults: &Faults, number: u32, catalog: Catalog) -> Result<(Manifest, FileRegistry)> {
    let fs: Arc<dyn Fs> = Arc::new(faults.clone());
    let registry = FileRegistry::new(Arc::clone(&fs));
    let drawn = AtomicU8::new(0);
    let draw = Box::new(move || Ok(Uuid([drawn.fetch_add(1, Ordering::Relaxed); 16])));
    Ok((Manifest::start(fs, registry.clone(), DATABASE, draw, number, catalog)?, registry))
}

fn fresh() -> (Faults, Manifest) {
    let faults = Faults::new(&MemFs::new());
    let (manifest, _) = start(&faults, 1, Catalog::default()).unwrap();
    (faults, manifest)
}

fn note(name: &str, value: &[u8]) -> Change {
    Change::Note(Note::new(name, value))
}

fn notes(files: &MemFs, number: u32) -> Vec<String> {
    read_back(files, number).unwrap().catalog.notes.into_keys().collect()
}

fn read_back(files: &MemFs, number: u32) -> Result<Replayed> {
    replay(files, number, DATABASE)
}

/// Where each record begins, and where the last one ends.
fn record_offsets(files: &MemFs, name: &str) -> Vec<u64> {
    let file = files.open(name, OpenMode::Read).unwrap();
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(0, &mut header).unwrap();
    let codec = FileCodec::clear(FileHeader::decode(&header).unwrap().file);
    let size = file.size_bytes().unwrap();
    let mut records = RecordReader::new(file, codec, HEADER_BYTES as u64, size);
    let mut offsets = Vec::new();
    while let Step::Record { offset, .. } = records.step().unwrap() {
        offsets.push(offset);
    }
    offsets.push(records.offset());
    offsets
}

fn cut(files: &MemFs, name: &str, bytes: u64) {
    files.open(name, OpenMode::ReadWrite).unwrap().set_len(bytes).unwrap();
}

/// A manifest whose records are given by kind and payload.
fn crafted(records: &[(u8, Vec<u8>)]) -> MemFs {
    let files = MemFs::new();
    let header = FileHeader::clear(FileKind::Manifest, Uuid([1; 16]), DATABASE);
    let mut bytes = Vec::from(header.encode());
    for (kind, payload) in records {
        let offset = bytes.len() as u64;
        let record = Record { kind: *kind, synced_upto: LogPosition::START, payload };
        encode_record(&mut bytes, &FileCodec::clear(header.file), offset, record);
    }
    write(&files, &manifest_name(1), &bytes);
    files
}

fn features(incompatible: u64, write_incompatible: u64) -> Vec<u8> {
    let mut fields = TlvWriter::new();
    fields.u64(1, incompatible).u64(2, write_incompatible).u64(0x80, u64::MAX);
    fields.finish()
}

// ----- names -----

#[test]
fn only_names_as_they_are_written_are_manifests() {
    assert_eq!(manifest_number("MANIFEST-000012"), Some(12));
    assert_eq!(manifest_number("MANIFEST-1234567"), Some(1_234_567));
    for name in ["MANIFEST-12", "MANIFEST-+00012", "MANIFEST-", "MANIFEST-000012.tmp", "MANIFEST-99999999999"]
    {
        assert_eq!(manifest_number(name), None, "{name}");
    }
    assert_eq!(temporary_number("MANIFEST-000012.tmp"), Some(12));
    assert_eq!(temporary_number("MANIFEST-000012"), None);
}

// ----- its end -----

#[test]
fn committed_edits_are_read_back() {
    let (faults, manifest) = fresh();

    manifest.commit(&[note("a", b"1"), note("b", b"2")]).unwrap();
    manifest.commit(&[note("a", b"3"), Change::FileIdMark(9), Change::TreeIdMark(4)]).unwrap();

    let catalog = read_back(&faults.files, 1).unwrap().catalog;
    assert_eq!(catalog.notes, BTreeMap::from([("a".into(), b"3".to_vec()), ("b".into(), b"2".to_vec())]));
    assert_eq!((catalog.file_id_mark, catalog.tree_id_mark), (9, 4));
}

#[test]
fn the_zero_tail_is_no_edit() {
    let (faults, manifest) = fresh();
    manifest.commit(&[note("a", b"")]).unwrap();
    let name = manifest.current_name();
    let end = *record_offsets(&faults.files, &name).last().unwrap();

    assert!((end as usize) < read(&faults.files, &name).len(), "space is reserved behind the last edit");
    let replayed = read_back(&faults.files, 1).unwrap();

    assert_eq!(replayed.discarded_bytes, 0);
    assert_eq!(Vec::from_iter(replayed.catalog.notes.into_keys()), ["a"]);
}

#[test]
fn a_torn_last_edit_is_dropped_wherever_it_is_torn() {
    let (faults, manifest) = fresh();
    manifest.commit(&[note("first", b"")]).unwrap();
    manifest.commit(&[note("second", b"with a value")]).unwrap();
    let name = manifest.current_name();
    let offsets = record_offsets(&faults.files, &name);
    let [.., torn, end] = offsets[..] else { panic!() };

    for at in torn..end {
        let files = faults.files.deep_clone();
        cut(&files, &name, at);
        let is_whole = at > end - 8
            && read(&faults.files, &name)[at as usize..end as usize] == [0; 8][..(end - at) as usize];
        let zeroed = faults.files.deep_clone();
        let mut bytes = read(&zeroed, &name);
        bytes[at as usize..end as usize].fill(0);
        write(&zeroed, &name, &bytes);

        assert_eq!(notes(&files, 1), ["first"], "cut at byte {at}");
        if !is_whole {
            assert_eq!(notes(&zeroed, 1), ["first"], "zeros from byte {at} on");
        }
    }
}

#[test]
fn a_flipped_byte_in_a_durable_edit_is_corruption_naming_file_and_offset() {
    let (faults, manifest) = fresh();
    for name in ["a", "b", "c", "d"] {
        manifest.commit(&[note(name, b"12345678")]).unwrap();
    }
    let name = manifest.current_name();
    let expected = read_back(&faults.files, 1).unwrap().catalog.notes;
    let offsets = record_offsets(&faults.files, &name);
    let [_, _, edits @ .., last, _] = &offsets[..] else { panic!() };

    for at in edits[0]..*last {
        let files = faults.files.deep_clone();
        flip(&files, &name, at as usize);
        let record = *edits.iter().rfind(|&&edit| edit <= at).unwrap();
        match read_back(&files, 1) {
            Ok(replayed) => assert_eq!(replayed.catalog.notes, expected, "padding at {at}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption);
                assert_eq!((error.file(), error.offset()), (Some(&name[..]), Some(record)), "byte {at}");
            }
        }
    }
    let files = faults.files.deep_clone();
    flip(&files, &name, edits[0] as usize + 33);
    assert!(read_back(&files, 1).is_err(), "not all of it is padding");
}

/// Without the note, the last edit looked as one that a crash had cut off, and was dropped without a word.
#[test]
fn a_flipped_byte_in_the_last_edit_is_corruption_once_its_sync_was_noted() {
    let (faults, manifest) = fresh();
    manifest.commit(&[note("a", b"1")]).unwrap();
    manifest.note_synced().unwrap();
    manifest.note_synced().unwrap();
    drop(manifest);
    let offsets = record_offsets(&faults.files, &manifest_name(1));
    assert_eq!(offsets.len(), 5, "features, snapshot, the edit, one note of its sync, the end");

    flip(&faults.files, &manifest_name(1), offsets[2] as usize + 40);

    let error = read_back(&faults.files, 1).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(offsets[2])));
}

#[test]
fn every_byte_of_header_and_snapshot_counts_and_no_older_manifest_takes_over() {
    let files = MemFs::new();
    let faults = Faults::new(&files);
    let store = Store::open(faults.env(), &StoreOptions::default()).unwrap();
    store.commit(&[Note::new("kept", "x")]).unwrap();
    drop(store);
    drop(Store::open(faults.env(), &StoreOptions::default()).unwrap());
    let manifests = |files: &MemFs| -> Vec<String> {
        names(files).into_iter().filter(|name| manifest_number(name).is_some()).collect()
    };
    assert_eq!(manifests(&files), [manifest_name(1), manifest_name(2)], "the older one is there still");
    let snapshot_end = *record_offsets(&files, &manifest_name(2)).last().unwrap();

    for at in 0..snapshot_end as usize {
        let damaged = files.deep_clone();
        flip(&damaged, &manifest_name(2), at);
        let before = contents(&damaged);
        match Store::open(Faults::new(&damaged).env(), &StoreOptions::default()) {
            Ok(store) => assert_eq!(store.note("kept").unwrap(), b"x", "padding at {at}"),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Corruption | ErrorKind::UnsupportedFormat),
                    "byte {at}: {error}"
                );
                assert_eq!(error.file(), Some(&manifest_name(2)[..]));
                assert_eq!(contents(&damaged), before, "and nothing is written");
            }
        }
    }
    cut(&files, &manifest_name(2), snapshot_end - 8);
    let error = Store::open(faults.env(), &StoreOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corruption, "a snapshot that is cut off");
}

// ----- hostile content behind good checksums -----

#[test]
fn feature_bits_of_a_later_version_are_refused_and_compatible_ones_are_not() {
    let snapshot = (2, encode_edit(&Catalog::default().snapshot()));

    let error = read_back(&crafted(&[(1, features(1, 0)), snapshot.clone()]), 1).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::UnsupportedFormat, Some("MANIFEST-000001")));
    let error = read_back(&crafted(&[(1, features(0, 4)), snapshot.clone()]), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert!(read_back(&crafted(&[(1, features(0, 0)), snapshot]), 1).is_ok());
}

#[test]
fn records_out_of_place_are_corruption() {
    let snapshot = (2, encode_edit(&Catalog::default().snapshot()));
    let edit = (3, encode_edit(&[note("a", b"")]));
    let first = (1, features(0, 0));

    for records in [
        &[][..],
        std::slice::from_ref(&first),
        &[snapshot.clone(), first.clone()],
        &[first.clone(), edit.clone()],
        &[first.clone(), snapshot.clone(), snapshot.clone()],
        &[first.clone(), snapshot.clone(), edit.clone(), first.clone()],
        &[first.clone(), (9, vec![])],
    ] {
        assert_eq!(read_back(&crafted(records), 1).unwrap_err().kind(), ErrorKind::Corruption, "{records:?}");
    }
    assert!(read_back(&crafted(&[first, snapshot, edit]), 1).is_ok());
}

#[test]
fn edits_that_contradict_each_other_are_corruption() {
    let create = |id: u32, name: &str| Change::CreateTree {
        id: TreeId(id),
        name: name.into(),
        options: vec![],
        at: Seqno::ZERO,
    };
    let mark = Change::TreeIdMark(9);
    for edit in [
        vec![mark.clone(), create(1, "a"), create(1, "b")],
        vec![mark.clone(), create(1, "a"), create(2, "a")],
        vec![Change::DropTree { id: TreeId(1), at: Seqno::ZERO }],
        vec![mark, create(9, "above the mark")],
        vec![note("isopach.applied_upto", b"short")],
    ] {
        let snapshot = (2, encode_edit(&Catalog::default().snapshot()));
        let files = crafted(&[(1, features(0, 0)), snapshot, (3, encode_edit(&edit))]);
        assert_eq!(read_back(&files, 1).unwrap_err().kind(), ErrorKind::Corruption, "{edit:?}");
    }
}

#[test]
fn a_manifest_of_another_database_is_mixed_store() {
    let (faults, _manifest) = fresh();

    let error = replay(&faults.files, 1, Uuid([8; 16])).unwrap_err();

    assert_eq!((error.kind(), error.file()), (ErrorKind::MixedStore, Some("MANIFEST-000001")));
}

#[test]
fn a_manifest_of_a_newer_version_is_unsupported() {
    let (faults, manifest) = fresh();
    let mut bytes = read(&faults.files, &manifest.current_name());
    bytes[6..8].copy_from_slice(&0x9000_u16.to_le_bytes());
    let check = digest(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&check[..4]);
    write(&faults.files, &manifest.current_name(), &bytes);

    let error = read_back(&faults.files, 1).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert!(error.to_string().contains("0x9000"), "{error}");
}

#[test]
fn a_file_of_another_kind_is_no_manifest() {
    let files = MemFs::new();
    let header = FileHeader::clear(FileKind::Table, Uuid([1; 16]), DATABASE);
    write(&files, &manifest_name(1), &header.encode());

    assert_eq!(read_back(&files, 1).unwrap_err().kind(), ErrorKind::Corruption);
}

// ----- rotation -----

#[test]
fn it_is_rotated_for_its_size_and_says_the_same() {
    let faults = Faults::new(&MemFs::new());
    let (manifest, registry) = start(&faults, 1, Catalog::default()).unwrap();
    let value = vec![1; 100_000];

    for round in 0..30_u8 {
        manifest.commit(&[note("large", &value), note(&format!("small {round:02}"), &[round])]).unwrap();
    }

    assert_eq!(manifest.current_name(), manifest_name(3));
    let catalog = read_back(&faults.files, 3).unwrap().catalog;
    assert_eq!(catalog.notes.len(), 31);
    assert_eq!(catalog.notes, manifest.with_catalog(|catalog| catalog.notes.clone()));
    registry.run_deletions(u64::MAX);
    assert_eq!(names(&faults.files), [manifest_name(3)], "the old ones are gone");
}

#[test]
fn an_interrupted_rotation_keeps_the_old_manifest() {
    let files = MemFs::new();
    let faults = Faults::new(&files);
    let store = Store::open(faults.env(), &StoreOptions::default()).unwrap();
    store.commit(&[Note::new("kept", "x")]).unwrap();
    drop(store);

    for calls in 0.. {
        let image = files.deep_clone();
        let faults = Faults::new(&image);
        faults.stop_after(calls);
        let opened = Store::open(faults.env(), &StoreOptions::default());
        let is_over = opened.is_ok();
        drop(opened);
        faults.heal();

        let store = Store::open(faults.env(), &StoreOptions::default()).unwrap();
        assert_eq!(store.note("kept").unwrap(), b"x", "stopped after {calls} calls");
        store.files().run_deletions(u64::MAX);
        let rest: Vec<String> =
            names(&image).into_iter().filter(|name| name.starts_with("MANIFEST")).collect();
        assert_eq!(rest.len(), 1, "nothing is left over: {rest:?}");
        if is_over {
            assert!(calls > 5);
            break;
        }
    }
}

#[test]
fn a_rotation_that_fails_before_its_rename_goes_on_with_the_old_one() {
    let (faults, manifest) = fresh();
    faults.fail(|op| {
        let is_rotation = op.name.ends_with(".tmp") && op.what == What::Create;
        is_rotation.then_some(Fail::Before(IoErrorKind::OutOfSpace))
    });

    for round in 0..20_u8 {
        manifest.commit(&[note("large", &[round; 100_000])]).unwrap();
    }

    assert_eq!(manifest.current_name(), manifest_name(1));
    assert_eq!(read_back(&faults.files, 1).unwrap().catalog.notes["large"][0], 19);
}

/// The new name may be on disk although the call failed: edits in the old file would be lost with the next
/// open.
#[test]
fn a_rename_that_failed_but_happened_poisons() {
    let (faults, manifest) = fresh();
    faults.fail_next(Fail::After(IoErrorKind::Other), |op| op.what == What::Rename);

    let failed = (0..20_u8).find_map(|round| manifest.commit(&[note("large", &[round; 100_000])]).err());

    assert_eq!(failed.unwrap().kind(), ErrorKind::Poisoned);
    assert!(read_back(&faults.files, 2).is_ok(), "the highest is whole");
}

#[test]
fn a_directory_that_cannot_be_synced_after_the_rename_poisons() {
    let (faults, manifest) = fresh();
    faults.fail_next(Fail::Before(IoErrorKind::Other), |op| op.what == What::SyncDir);

    let failed = (0..20_u8).find_map(|round| manifest.commit(&[note("large", &[round; 100_000])]).err());

    assert_eq!(failed.unwrap().kind(), ErrorKind::Poisoned);
}

// ----- failures -----

/// Files keep the name that they were created under, here the temporary one; so appends are told by their
/// number.
fn fail_appends(faults: &Faults, fail: Fail) {
    faults.take_done();
    let mut is_snapshot = false;
    faults.fail(move |op| {
        if op.what == What::Create {
            is_snapshot = true; // The first write behind a creation.
            return None;
        }
        if op.what != What::Write || std::mem::take(&mut is_snapshot) {
            return None;
        }
        Some(fail)
    });
}

#[test]
fn a_failed_append_rotates_once() {
    let (faults, manifest) = fresh();
    manifest.commit(&[note("a", b"")]).unwrap();
    faults.fail_next(Fail::Before(IoErrorKind::Other), |op| op.what == What::Write);

    manifest.commit(&[note("b", b"")]).unwrap();

    assert_eq!(manifest.current_name(), manifest_name(2));
    assert_eq!(notes(&faults.files, 2), ["a", "b"]);
    assert_eq!(notes(&faults.files, 1), ["a"], "no byte of the old one was written again");
    assert!(manifest.poisoned().is_none());
}

#[test]
fn a_second_failed_append_poisons_and_that_is_sticky() {
    let (faults, manifest) = fresh();
    manifest.commit(&[note("a", b"")]).unwrap();
    fail_appends(&faults, Fail::Before(IoErrorKind::Other));

    assert_eq!(manifest.commit(&[note("b", b"")]).unwrap_err().kind(), ErrorKind::Poisoned);
    faults.heal();
    faults.take_done();

    assert_eq!(manifest.commit(&[note("c", b"")]).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(faults.take_done(), [], "nothing is tried any more");
    assert_eq!(notes(&faults.files, 2), ["a"]);
}

#[test]
fn without_space_edits_take_what_is_reserved_then_fail_and_change_nothing_until_there_is_some() {
    let (faults, manifest) = fresh();
    manifest.commit(&[note("a", b"")]).unwrap();
    faults.fail(|op| (op.what == What::Allocate).then_some(Fail::Before(IoErrorKind::OutOfSpace)));

    let big = [7; 16 << 10];
    let taken = (0..1000).take_while(|_| manifest.commit(&[note("big", &big)]).is_ok()).count();
    assert!((64..1000).contains(&taken), "{taken} edits of 16 KiB went into what was reserved");
    assert_eq!(manifest.commit(&[note("b", &big)]).unwrap_err().kind(), ErrorKind::OutOfSpace);

    assert!(manifest.poisoned().is_none());
    faults.heal();
    manifest.commit(&[note("c", b"")]).unwrap();
    let number = manifest_number(&manifest.current_name()).unwrap();
    assert_eq!(notes(&faults.files, number), ["a", "big", "c"]);
}

#[test]
fn a_failed_sync_poisons_and_that_is_sticky() {
    let (faults, manifest) = fresh();
    manifest.commit(&[note("a", b"")]).unwrap();
    faults.fail_next(Fail::Before(IoErrorKind::Other), |op| op.site == "manifest.edit");

    assert_eq!(manifest.commit(&[note("b", b"")]).unwrap_err().kind(), ErrorKind::Poisoned);
    faults.take_done();

    let again = manifest.commit(&[note("c", b"")]).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Poisoned);
    assert_eq!(faults.take_done(), [], "a sync is not tried again");
    assert_eq!(again.to_string(), manifest.poisoned().unwrap().to_string());
}

#[test]
fn commits_that_come_while_one_syncs_share_the_next_sync() {
    let (faults, manifest) = fresh();
    manifest.commit(&[note("first", b"")]).unwrap();
    faults.take_done();
    let (first_arrived, arrived) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    faults.hold_syncs(move || {
        first_arrived.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
    });

    thread::scope(|scope| {
        scope.spawn(|| manifest.commit(&[note("held", b"")]).unwrap());
        arrived.recv().unwrap();
        for writer in 0..5 {
            let manifest = &manifest;
            scope.spawn(move || manifest.commit(&[note(&format!("writer {writer}"), b"")]).unwrap());
        }
        while faults.count(|op| op.what == What::Write) < 6 {
            thread::yield_now(); // All have appended.
        }
        drop(release);
    });

    assert_eq!(faults.count(|op| op.what == What::Sync), 2, "the one that was held, and one for all others");
    assert_eq!(notes(&faults.files, 1).len(), 7);
}
