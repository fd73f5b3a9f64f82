//! Table files: written outside of databases, checked in full, and loaded as one commit; or refused, and nothing
//! happens.

use isopach::{
    Comparator, Compression, Db, Error, ErrorKind, Keyspace, KeyspaceOptions, ReverseByteOrder,
    TableFileWriter, VerifyOptions,
    engine::{
        codec::{FORMAT_VERSION, digest},
        compaction::LAST_LEVEL,
        key::ValueKind,
        place::PlaceId,
        table::{PropertySeed, TableIdentity, TableOptions, TableWriter, portable::NO_DATABASE},
        types::{Seqno, TableId, TreeId, UnixUs, Uuid},
    },
    env::{
        Call, CrashFs, CreateOptions, Env, Errno, Fault, FaultFs, Fs, MemFs, OsEntropy, Rule, SyncSite,
        TestClock, WriteOrigin,
    },
};
use std::{cmp::Ordering, collections::BTreeMap, fs, sync::Arc, time::Duration};
use testkit::{
    Entries, Rng, TempDir,
    db::{all_bytes, entries, env_of, files_in, read_file, separating, small, tiny_tables, wait_until},
    fuzz::repair_file,
};

fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

fn insert(keyspace: &Keyspace, keys: impl IntoIterator<Item = u32>, value: &str) {
    for n in keys {
        keyspace.insert(key(n), value).unwrap();
    }
}

/// A place for table files: files in memory, and the environment that writes there.
struct Place {
    files: MemFs,
    env: Env,
}

impl Place {
    fn new() -> Place {
        let files = MemFs::new();
        Place { env: env_of(files.clone()), files }
    }

    fn fs(&self) -> &Arc<dyn Fs> {
        &self.env.fs
    }

    /// A file of these keys, all with one value.
    fn write(&self, name: &str, keys: impl IntoIterator<Item = u32>, value: &str) {
        let mut file = TableFileWriter::create_in(&self.env, name, &tiny_tables()).unwrap();
        keys.into_iter().for_each(|n| file.insert(key(n), value).unwrap());
        file.finish().unwrap();
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        if self.files.exists(name).unwrap() {
            self.files.remove_file(name).unwrap();
        }
        let file = self.files.create(name, &CreateOptions::new(WriteOrigin::Metadata)).unwrap();
        file.write_at(0, bytes).unwrap();
    }

    fn load(&self, keyspace: &Keyspace, names: &[&str]) -> isopach::Result<u64> {
        let mut load = keyspace.ingest()?;
        let entries = load.add_files_in(self.fs(), names)?;
        load.finish()?;
        Ok(entries)
    }
}

/// A database in memory with one keyspace, and its files.
fn a_database(options: KeyspaceOptions) -> (Db, Keyspace, MemFs) {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", options).unwrap();
    (db, ks, files)
}

/// Every file is what the manifest says of it, and there is no other.
fn check_files(db: &Db) {
    let report = db.verify(VerifyOptions::default()).unwrap();
    assert!(report.found.is_empty() && report.unnamed.is_empty(), "{report:?}");
}

/// Loads files that are to be refused, into a keyspace that holds something: nothing of it happens, whoever goes on.
fn refused(place: &Place, names: &[&str]) -> Error {
    let (db, ks, files) = a_database(tiny_tables());
    ks.insert(key(5), "of before").unwrap();
    db.flush().unwrap();
    let (before, commits, sources) = (entries(&ks), db.seqno(), all_bytes(&place.files));
    let tables = files_in(&files, "tables");

    let mut load = ks.ingest().unwrap();
    let error = load.add_files_in(place.fs(), names).unwrap_err();
    let unfinished = load.finish().unwrap_err();

    assert_eq!(unfinished.kind(), ErrorKind::InvalidArgument, "{unfinished}");
    assert_eq!((entries(&ks), db.seqno()), (before, commits));
    wait_until("what was written goes", || files_in(&files, "tables") == tables);
    assert_eq!(all_bytes(&place.files), sources, "files that are loaded stay as they are");
    let said = error.to_string();
    assert!(names.iter().any(|name| said.contains(name)) && error.path().is_some(), "{said}");
    assert_eq!(error.keyspace(), Some("k"), "{said}");
    check_files(&db);
    error
}

#[test]
fn a_table_file_holds_what_was_written_and_loads_as_one_commit() {
    let dir = TempDir::new();
    let path = dir.path().join("users.table");
    let mut file = TableFileWriter::create(&path, &KeyspaceOptions::new()).unwrap();
    for n in 0..5000 {
        if n % 10 == 0 { file.remove(key(n)).unwrap() } else { file.insert(key(n), key(n ^ 7)).unwrap() }
    }
    let info = file.finish().unwrap();
    assert_eq!((info.entries, info.bytes), (5000, fs::metadata(&path).unwrap().len()));
    assert_eq!((&info.first_key[..], &info.last_key[..]), (&key(0)[..], &key(4999)[..]));

    let db = Db::open(dir.path().join("db")).unwrap();
    let ks = db.keyspace("k").unwrap();
    insert(&ks, 0..20, "of before");
    let before = db.snapshot();
    let seqno = ks.ingest_files([&path]).unwrap();
    fs::remove_file(&path).unwrap();

    let check = |db: &Db| {
        let ks = db.keyspace("k").unwrap();
        assert_eq!(ks.count(..).unwrap(), 4500);
        for n in [0, 1, 10, 11, 777, 4999] {
            let expected = (n % 10 != 0).then(|| key(n ^ 7));
            assert_eq!(ks.get(key(n)).unwrap().as_deref(), expected.as_ref().map(|value| &value[..]), "{n}");
        }
        check_files(db);
    };
    check(&db);
    assert_eq!(db.durable_seqno(), seqno);
    assert_eq!(ks.at(&before).count(..).unwrap(), 20, "an older snapshot sees what it saw");
    drop((before, ks));
    db.close().unwrap();
    check(&Db::open(dir.path().join("db")).unwrap());
}

#[test]
fn files_in_any_order_come_to_the_same_as_batches_whatever_the_options_of_either_side() {
    let sides = [
        (tiny_tables(), tiny_tables()),
        (tiny_tables().compression(Compression::None), separating(tiny_tables())),
        (separating(tiny_tables()), tiny_tables().entry_checksums(true)),
        (tiny_tables().entry_checksums(true), tiny_tables()),
        (
            tiny_tables().comparator(&ReverseByteOrder),
            separating(tiny_tables().comparator(&ReverseByteOrder)),
        ),
    ];
    for (seed, (written, loaded)) in (1..).zip(sides) {
        let (place, mut rng) = (Place::new(), Rng::new(seed));
        let mut changes = BTreeMap::new();
        for _ in 0..2000 {
            let bytes = if rng.one_in(50) { 3000 } else { rng.below(60) };
            let value = (!rng.one_in(6)).then(|| rng.bytes(bytes));
            let bytes = rng.below(5);
            changes.insert(rng.bytes(bytes), value);
        }
        let mut sorted: Vec<_> = changes.iter().collect();
        if written.comparator != KeyspaceOptions::new().comparator {
            sorted.reverse();
        }
        let mut names: Vec<String> = Vec::new();
        for part in sorted.chunks(300) {
            let name = format!("part-{}", names.len());
            let mut file = TableFileWriter::create_in(&place.env, &name, &written).unwrap();
            for (key, value) in part {
                match value {
                    Some(value) => file.insert(key, value).unwrap(),
                    None => file.remove(key).unwrap(),
                }
            }
            file.finish().unwrap();
            names.push(name);
        }
        (0..names.len()).for_each(|at| names.swap(at, rng.below(at + 1)));
        let (db, by_files, _files) = a_database(loaded.clone());
        let by_batches = db.keyspace_with("batches", loaded).unwrap();
        for ks in [&by_files, &by_batches] {
            for key in changes.keys().step_by(3) {
                ks.insert(key, "of before").unwrap();
            }
        }
        let mut batch = db.batch();
        for (key, value) in &changes {
            match value {
                Some(value) => batch.insert(&by_batches, key, value),
                None => batch.remove(&by_batches, key),
            };
        }
        db.write(batch).unwrap();

        let mut load = by_files.ingest().unwrap();
        assert_eq!(load.add_files_in(place.fs(), &names).unwrap(), changes.len() as u64);
        load.finish().unwrap();

        for _ in 0..2 {
            assert_eq!(entries(&by_files), entries(&by_batches), "seed {seed}");
            by_files.compact_range(..).unwrap();
        }
        check_files(&db);
    }
}

#[test]
fn files_and_entries_make_up_one_load() {
    let place = Place::new();
    place.write("a", 10..20, "file");
    place.write("b", 30..40, "file");
    let (db, ks, _files) = a_database(tiny_tables());

    let mut load = ks.ingest().unwrap();
    load.insert(key(5), "entry").unwrap();
    load.add_files_in(place.fs(), ["b", "a"]).unwrap();
    load.insert(key(50), "entry").unwrap();
    load.finish().unwrap();
    assert_eq!(ks.count(..).unwrap(), 22);

    let mut unsorted = ks.ingest_unsorted().unwrap();
    unsorted.insert(key(35), "before the file").unwrap();
    unsorted.add_files_in(place.fs(), ["b"]).unwrap();
    unsorted.insert(key(31), "behind the file").unwrap();
    unsorted.finish().unwrap();
    assert_eq!(ks.get(key(35)).unwrap().as_deref(), Some(&b"file"[..]));
    assert_eq!(ks.get(key(31)).unwrap().as_deref(), Some(&b"behind the file"[..]));

    let mut load = ks.ingest().unwrap();
    load.insert(key(12), "entry").unwrap();
    let error = load.add_files_in(place.fs(), ["a"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(
        error.to_string().starts_with("a: ") && error.to_string().contains("does not come behind"),
        "{error}"
    );
    assert!(load.finish().is_err());
    assert_eq!(ks.ingest_files::<&str>([]).unwrap(), db.seqno(), "no files are no commit");
}

#[test]
fn files_of_several_keyspaces_show_as_one_commit_or_not_at_all() {
    let place = Place::new();
    place.write("a", 0..3000, "new");
    place.write("b", 0..10, "new");
    place.write("overlaps", 5..20, "new");
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let spaces = ["a", "b"].map(|name| db.keyspace(name).unwrap());
    let begin = || spaces.each_ref().map(|space| space.ingest().unwrap());

    let [mut a, mut b] = begin();
    a.add_files_in(place.fs(), ["a"]).unwrap();
    b.add_files_in(place.fs(), ["b", "overlaps"]).unwrap_err();
    assert_eq!(db.finish_ingests([a, b]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(spaces.iter().all(|space| space.is_empty().unwrap()));
    wait_until("what was written goes", || files_in(&files, "tables").is_empty());

    let [mut a, mut b] = begin();
    a.add_files_in(place.fs(), ["a"]).unwrap();
    b.add_files_in(place.fs(), ["b"]).unwrap();
    assert!(spaces.iter().all(|space| space.is_empty().unwrap()));
    let seqno = db.finish_ingests([a, b]).unwrap();
    let shown = db.snapshot_at(seqno).unwrap();
    assert_eq!(spaces.each_ref().map(|space| space.at(&shown).count(..).unwrap()), [3000, 10]);
}

#[test]
fn files_are_newer_than_all_before_the_end_of_the_load_and_older_than_all_behind() {
    let place = Place::new();
    place.write("f", (0..100).step_by(2), "file");
    let (db, ks, _files) = a_database(tiny_tables());
    insert(&ks, 0..50, "table");
    db.flush().unwrap();
    insert(&ks, 40..60, "memtable");
    let (before, old) = (db.snapshot(), entries(&ks));

    place.load(&ks, &["f"]).unwrap();
    ks.insert(key(4), "behind").unwrap();

    let expected = |n| match n {
        4 => Some("behind"),
        n if n < 100 && n % 2 == 0 => Some("file"),
        n if n < 40 => Some("table"),
        n if n < 60 => Some("memtable"),
        _ => None,
    };
    for _ in 0..2 {
        for n in 0..101 {
            assert_eq!(ks.get(key(n)).unwrap().as_deref(), expected(n).map(str::as_bytes), "{n}");
        }
        assert_eq!(entries(&ks.at(&before)), old);
        ks.compact_range(..).unwrap();
    }
}

#[test]
fn what_expires_does_so_by_the_clock_of_who_wrote_it_and_all_else_as_the_keyspace_says() {
    let (place, clock) = (Place::new(), TestClock::new());
    let env = Env::new(Arc::clone(place.fs()), Arc::new(clock.clone()), Arc::new(OsEntropy));
    let options = tiny_tables().ttl(Duration::from_secs(10));
    let mut file = TableFileWriter::create_in(&env, "f", &options).unwrap();
    file.insert("a", "ten seconds from the load on").unwrap();
    file.insert_ttl("b", "twelve seconds from the writing on", Duration::from_secs(12)).unwrap();
    file.insert_ttl("c", "over before it is loaded", Duration::from_secs(4)).unwrap();
    file.insert_ttl("d", "for good", Duration::MAX).unwrap();
    file.finish().unwrap();
    clock.advance(Duration::from_secs(5));
    let db = small(MemFs::new()).clock(Arc::new(clock.clone())).open().unwrap();
    let ks = db.keyspace_with("k", options).unwrap();
    ks.insert("c", "of before").unwrap();
    let keys = || entries(&ks).into_keys().map(|key| String::from_utf8(key).unwrap()).collect::<String>();

    place.load(&ks, &["f"]).unwrap();

    assert_eq!(keys(), "abd", "what has expired hides what was there before");
    clock.advance(Duration::from_secs(7));
    assert_eq!(keys(), "ad");
    clock.advance(Duration::from_secs(3));
    assert_eq!(keys(), "d");
}

/// Shorter keys first.
struct ByLength;

impl Comparator for ByLength {
    fn name(&self) -> &str {
        "app.by_length"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

#[test]
fn keys_in_an_order_of_ones_own_are_written_and_loaded_in_it() {
    let place = Place::new();
    let options = tiny_tables().comparator(&ByLength);
    let unknown = TableFileWriter::create_in(&place.env, "f", &options).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::MissingComparator, "{unknown}");
    let other = TableFileWriter::create_ordered(&place.env, "f", &tiny_tables(), ByLength);
    drop(other.expect("the order of bytes is always known"));
    assert!(files_in(&place.files, "").is_empty());
    let write = |name: &str, keys: &[&str]| {
        let mut file = TableFileWriter::create_ordered(&place.env, name, &options, ByLength).unwrap();
        keys.iter().for_each(|key| file.insert(key, "v").unwrap());
        file.finish().unwrap();
    };
    write("short", &["z", "yy"]);
    write("long", &["aaa", "bbb", "aaaa"]);
    let files = MemFs::new();
    let db = small(files.clone()).comparator(ByLength).open().unwrap();
    let ks = db.keyspace_with("k", options).unwrap();

    place.load(&ks, &["long", "short"]).unwrap();

    let keys: Vec<_> = ks.iter().keys().map(|key| key.unwrap().to_vec()).collect();
    assert_eq!(keys, [&b"z"[..], b"yy", b"aaa", b"bbb", b"aaaa"]);
    let bytewise = db.keyspace_with("bytes", tiny_tables()).unwrap();
    let error = place.load(&bytewise, &["short"]).unwrap_err();
    assert!(error.to_string().contains("app.by_length"), "{error}");
}

#[test]
fn a_writer_refuses_what_is_wrong_and_leaves_no_file_that_is_not_finished() {
    type Act = fn(&mut TableFileWriter) -> isopach::Result<()>;
    let place = Place::new();
    let acts: [(&str, Act); 6] = [
        ("does not come behind", |file| file.insert("b", "the same key again")),
        ("does not come behind", |file| file.remove("a")),
        ("does not come behind", |file| file.insert("", "the least key")),
        ("does not come behind", |file| file.insert_ttl("aa", "v", Duration::from_secs(1))),
        ("at most 65535", |file| file.insert(vec![b'x'; 65_536], "v")),
        ("at most 65535", |file| file.remove(vec![b'x'; 65_536])),
    ];
    for (why, act) in acts {
        let mut file = TableFileWriter::create_in(&place.env, "f.table", &tiny_tables()).unwrap();
        file.insert("b", "v").unwrap();
        let error = act(&mut file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().starts_with("f.table: ") && error.to_string().contains(why), "{error}");
        assert!(files_in(&place.files, "").is_empty());
        for again in [file.insert("x", "v"), file.remove("y")] {
            assert!(again.unwrap_err().to_string().contains("begin again"));
        }
        assert_eq!(file.finish().unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    let empty = TableFileWriter::create_in(&place.env, "f.table", &tiny_tables()).unwrap();
    assert!(empty.finish().unwrap_err().to_string().contains("one entry at least"));
    let mut dropped = TableFileWriter::create_in(&place.env, "f.table", &tiny_tables()).unwrap();
    (0..9000).for_each(|n| dropped.insert(key(n), Rng::new(n.into()).bytes(100)).unwrap());
    drop(dropped);
    let invalid = TableFileWriter::create_in(&place.env, "f.table", &tiny_tables().block_bytes(1));
    assert_eq!(invalid.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(files_in(&place.files, "").is_empty());
}

#[test]
fn a_writer_takes_no_name_that_is_in_use_and_needs_a_directory() {
    let dir = TempDir::new();
    let create = |path: &str| TableFileWriter::create(dir.path().join(path), &KeyspaceOptions::new());
    fs::write(dir.path().join("mine"), "something else").unwrap();

    let error = create("mine").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(error.path(), Some(&*dir.path().join("mine")));
    assert_eq!(fs::read(dir.path().join("mine")).unwrap(), b"something else");
    for missing in ["no/such/f", "mine/f"] {
        let error = create(missing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(missing), "{error}");
    }
    assert_eq!(create("..").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_finished_file_survives_a_power_loss_and_an_unfinished_one_is_refused() {
    let files = CrashFs::new();
    let env = env_of(files.clone());
    let mut file = TableFileWriter::create_in(&env, "f", &tiny_tables()).unwrap();
    (0..100).for_each(|n| file.insert(key(n), "v").unwrap());
    file.finish().unwrap();
    let (db, ks, _files) = a_database(tiny_tables());

    for seed in 0..20 {
        let survivor: Arc<dyn Fs> = Arc::new(files.crash(seed));
        let mut load = ks.ingest().unwrap();
        assert_eq!(load.add_files_in(&survivor, ["f"]).unwrap(), 100);
    }
    for site in [SyncSite("table.finish"), SyncSite("portable.directory")] {
        let files = CrashFs::new();
        files.mute(site);
        let mut file = TableFileWriter::create_in(&env_of(files.clone()), "f", &tiny_tables()).unwrap();
        file.insert("k", "v").unwrap();
        file.finish().unwrap();
        let is_lost = |seed| {
            let survivor: Arc<dyn Fs> = Arc::new(files.crash(seed));
            ks.ingest().unwrap().add_files_in(&survivor, ["f"]).is_err()
        };
        assert!((0..20).any(is_lost), "each sync is needed: {}", site.0);
    }
    let mut unfinished = TableFileWriter::create_in(&env, "g", &tiny_tables()).unwrap();
    (0..5000).for_each(|n| unfinished.insert(key(n), Rng::new(n.into()).bytes(100)).unwrap());
    let left: Arc<dyn Fs> = Arc::new(files.kill());
    let error = ks.ingest().unwrap().add_files_in(&left, ["g"]).unwrap_err();
    assert!(left.exists("g").unwrap() && error.kind() == ErrorKind::Corruption, "{error}");
    drop(unfinished);
    assert!(!files.exists("g").unwrap());
    assert_eq!(db.seqno(), ks.ingest().unwrap().finish().unwrap());
}

#[test]
fn files_that_overlap_are_refused_and_both_are_named() {
    let place = Place::new();
    place.write("left", 0..100, "v");
    place.write("right", 99..200, "v");
    place.write("within", [50, 51], "v");
    place.write("beside", 100..200, "v");

    for (names, named) in [
        (&["right", "left"][..], ["left", "right"]),
        (&["left", "beside", "within"], ["left", "within"]),
        (&["left", "left"], ["left", "left"]),
    ] {
        let error = refused(&place, names);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let said = error.to_string();
        assert!(said.contains("may not overlap") && named.iter().all(|name| said.contains(name)), "{said}");
    }
    let (_db, ks, _files) = a_database(tiny_tables());
    assert_eq!(place.load(&ks, &["beside", "left"]).unwrap(), 200);
}

#[test]
fn files_that_are_no_tables_for_loading_are_refused_with_the_reason() {
    let place = Place::new();
    place.write("good", 0..10, "v");
    let good = read_file(&place.files, "good");

    let (db, ks, files) = a_database(tiny_tables());
    ks.insert(key(1), "v").unwrap();
    db.flush().unwrap();
    let tables = files_in(&files, "tables");
    place.put("of-a-database", &read_file(&files, &format!("tables/{}", tables[0])));
    let manifest = files_in(&files, "").into_iter().find(|name| name.starts_with("MANIFEST")).unwrap();
    place.put("manifest", &read_file(&files, &manifest));
    place.put("text", b"key,value\n");
    place.put("nothing", b"");
    let mut newer = good.clone();
    newer[6..8].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let check = digest(&newer[..60]).to_le_bytes();
    newer[60..64].copy_from_slice(&check[..4]);
    place.put("newer", &newer);
    let options = tiny_tables().comparator(&ReverseByteOrder);
    let mut reversed = TableFileWriter::create_in(&place.env, "reversed", &options).unwrap();
    reversed.insert(key(1), "v").unwrap();
    reversed.finish().unwrap();
    place.put("longer", &[&good[..], b"!"].concat());

    for (name, kind, why) in [
        ("of-a-database", ErrorKind::InvalidArgument, "belongs to the database"),
        ("manifest", ErrorKind::UnsupportedFormat, "no table"),
        ("text", ErrorKind::UnsupportedFormat, "no table"),
        ("nothing", ErrorKind::UnsupportedFormat, "no table"),
        ("newer", ErrorKind::UnsupportedFormat, "format version 0x8004"),
        ("reversed", ErrorKind::InvalidArgument, "isopach.bytes_reverse"),
        ("longer", ErrorKind::Corruption, "footer"),
        ("missing", ErrorKind::NotFound, "no such file"),
        ("no/directory", ErrorKind::NotFound, "no such file"),
    ] {
        let error = refused(&place, &["good", name]);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(why), "{name}: {error}");
        assert_eq!(error.path().and_then(|path| path.to_str()), Some(name));
    }
    let (_db, ks, _files) = a_database(tiny_tables());
    let dir = TempDir::new();
    for (path, kind) in [("f", ErrorKind::NotFound), ("no/f", ErrorKind::NotFound), ("", ErrorKind::Io)] {
        let error = ks.ingest_files([dir.path().join(path)]).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn tables_with_what_does_not_stand_by_itself_are_refused() {
    let write = |database: Uuid, kind: ValueKind, seqno: u64, value: &[u8]| {
        let files = MemFs::new();
        files.create_dir("tables").unwrap();
        let fs: Arc<dyn Fs> = Arc::new(files.clone());
        let identity = TableIdentity { id: TableId(1), uuid: Uuid([7; 16]), database, place: PlaceId::MAIN };
        let seed = PropertySeed { level: LAST_LEVEL, ..PropertySeed::new(TreeId(0), "", UnixUs(0)) };
        let options = TableOptions::default();
        let mut table = TableWriter::create(&fs, identity, options, seed, WriteOrigin::IngestTable).unwrap();
        table.add(b"a", Seqno::ZERO, ValueKind::Put, b"sound").unwrap();
        table.add(b"b", Seqno::from_raw(seqno).unwrap(), kind, value).unwrap();
        table.finish().unwrap();
        let place = Place::new();
        place.put("f", &read_file(&files, "tables/000001.table"));
        place
    };
    for (kind, seqno, value, why) in [
        (ValueKind::Merge, 0, &b"operand"[..], "other than puts and deletes"),
        (ValueKind::DeleteWeak, 0, b"", "other than puts and deletes"),
        (ValueKind::PutPacked, 0, b"packed", "other than puts and deletes"),
        (ValueKind::DeleteRange, 0, b"c", "other than puts and deletes"),
        (ValueKind::Put, 9, b"numbered", "entries with numbers"),
    ] {
        let place = write(NO_DATABASE, kind, seqno, value);
        let error = refused(&place, &["f"]);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let (_db, ks, _files) = a_database(tiny_tables());
    let sound = write(NO_DATABASE, ValueKind::Put, 0, b"sound");
    assert_eq!(sound.load(&ks, &["f"]).unwrap(), 2, "the writer of databases can write one, too");
    let place = write(Uuid([1; 16]), ValueKind::Put, 0, b"sound");
    assert!(refused(&place, &["f"]).to_string().contains("point to other files"));
}

/// A file with several blocks, of each kind of entry.
fn several_blocks(entry_checksums: bool) -> (Place, Entries) {
    let place = Place::new();
    let options = tiny_tables().entry_checksums(entry_checksums).compression(Compression::None);
    let mut file = TableFileWriter::create_in(&place.env, "f", &options).unwrap();
    for n in 0..60 {
        let value = Rng::new(n.into()).bytes(150);
        match n % 9 {
            3 => file.remove(key(n)).unwrap(),
            4 => file.insert_ttl(key(n), value, Duration::from_secs(1_000_000)).unwrap(),
            _ => file.insert(key(n), value).unwrap(),
        }
    }
    file.finish().unwrap();
    let (_db, ks, _files) = a_database(tiny_tables());
    place.load(&ks, &["f"]).unwrap();
    let expected = entries(&ks);
    (place, expected)
}

/// Every byte is under a checksum of the file or of its format: no change of one is taken.
#[test]
fn a_file_with_any_byte_changed_or_cut_at_any_length_is_refused() {
    let (place, _) = several_blocks(true);
    let sound = read_file(&place.files, "f");
    let (db, ks, _files) = a_database(tiny_tables());
    let refused = |bytes: &[u8], what: &str| {
        place.put("f", bytes);
        let error = ks.ingest().unwrap().add_files_in(place.fs(), ["f"]).expect_err(what);
        let kinds = [
            ErrorKind::Corruption,
            ErrorKind::UnsupportedFormat,
            ErrorKind::UnsupportedFeature,
            ErrorKind::InvalidArgument,
        ];
        assert!(kinds.contains(&error.kind()), "{what}: {error}");
        if error.kind() == ErrorKind::Corruption {
            assert!(error.offset().is_some_and(|at| at <= bytes.len() as u64), "{what}: {error}");
            assert!(error.to_string().starts_with("keyspace \"k\": f at byte "), "{what}: {error}");
            assert_eq!(error.to_string().matches("corrupt: ").count(), 1, "{what}: {error}");
        }
    };

    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes, &format!("byte {at} changed"));
    }
    for at in 0..sound.len() {
        refused(&sound[..at], &format!("cut at {at}"));
    }

    assert_eq!(db.seqno(), ks.ingest().unwrap().finish().unwrap());
    assert!(ks.is_empty().unwrap());
}

/// With checksums made right again a changed byte reaches what is behind them: it is refused there, or what is loaded is
/// a sound keyspace. Never a panic.
#[test]
fn a_changed_byte_under_right_checksums_is_refused_or_makes_sound_content() {
    let (place, expected) = several_blocks(false);
    let sound = read_file(&place.files, "f");
    let (mut taken, mut same) = (0, 0);
    for at in (0..sound.len()).step_by(3) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 7);
        repair_file(&mut bytes);
        place.put("f", &bytes);
        let (db, ks, _files) = a_database(tiny_tables());
        if place.load(&ks, &["f"]).is_ok() {
            let loaded = entries(&ks);
            taken += 1;
            same += u32::from(loaded == expected);
            check_files(&db);
        }
    }
    assert!(taken > 0 && same > 0 && same < taken, "{taken} taken, {same} of them as before");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_its_kind_and_nothing_shows() {
    let place = Place::new();
    place.write("f", 0..2000, "v");
    let faults = FaultFs::new(Arc::clone(place.fs()));
    let fs: Arc<dyn Fs> = Arc::new(faults.clone());
    let (db, ks, files) = a_database(tiny_tables());
    for skip in 0.. {
        faults.disarm();
        faults.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::Read).skip(skip));
        let mut load = ks.ingest().unwrap();
        let Err(error) = load.add_files_in(&fs, ["f"]) else {
            assert!(skip > 8, "{skip} reads");
            break;
        };
        assert_eq!(error.kind(), ErrorKind::Io, "read {skip}: {error}");
        assert!(error.to_string().contains(" f at byte "), "{error}");
        assert!(load.finish().is_err());
        assert_eq!(db.seqno(), ks.ingest().unwrap().finish().unwrap());
    }
    wait_until("what was written goes", || files_in(&files, "tables").is_empty());
}

#[test]
fn a_writer_whose_medium_fails_says_so_and_leaves_no_file() {
    for (call, errno, kind) in [
        (Call::Create, Errno::NoSpace, ErrorKind::OutOfSpace),
        (Call::Write, Errno::NoSpace, ErrorKind::OutOfSpace),
        (Call::Sync, Errno::Io, ErrorKind::Io),
        (Call::SyncDir, Errno::Io, ErrorKind::Io),
    ] {
        let files = MemFs::new();
        let faults = FaultFs::new(Arc::new(files.clone()));
        faults.arm(Rule::new(Fault::Fail(errno)).on(call));
        let env = env_of(faults);
        let written = TableFileWriter::create_in(&env, "f", &tiny_tables()).and_then(|mut file| {
            file.insert("k", "v")?;
            file.finish()
        });
        let error = written.unwrap_err();
        assert_eq!(error.kind(), kind, "{call:?}: {error}");
        assert!(error.to_string().starts_with("f"), "{error}");
        assert!(files_in(&files, "").is_empty(), "{call:?}");
    }
}
