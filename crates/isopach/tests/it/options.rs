//! Options: who wins, what is stored, what is refused.

use crate::expiry::AsTold;
use isopach::{
    Builder, Compression, Db, DbOptions, Durability, ErrorKind, FilterPolicy, KeepVersions, KeyspaceOptions,
    Parity, PerLevel, env::MemFs,
};
use std::{fs, path::Path, time::Duration};
use testkit::db::{Quiet, SOON, env_of, small, synced, wait_until};

fn plain(files: &MemFs) -> Builder {
    Db::builder("db").env(env_of(files.clone())).compaction_filter(AsTold).listener(Quiet)
}

#[test]
fn options_of_a_keyspace_are_those_of_its_creation() {
    let files = MemFs::new();
    let options = KeyspaceOptions::new()
        .table_bytes(1 << 20)
        .block_bytes(PerLevel(vec![4 << 10, 64 << 10]))
        .filters(PerLevel(vec![
            FilterPolicy::BitsPerKey(4.5),
            FilterPolicy::None,
            FilterPolicy::ByDepth(6.0),
        ]))
        .compression(Compression::None)
        .entry_checksums(true)
        .durability(Durability::Sync);
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", options.clone()).unwrap();
    assert_eq!(ks.options(), options);
    assert_eq!(db.keyspace_with("k", KeyspaceOptions::new()).unwrap().options(), options);
    let seqno = ks.insert("k", "v").unwrap();
    assert_eq!(db.durable_seqno(), seqno, "the keyspace's durability counts");
    let crashed = files.deep_clone();
    drop(ks);
    db.close().unwrap();

    for files in [files, crashed] {
        let read = small(files.clone()).open_read_only().unwrap();
        assert_eq!(read.keyspace("k").unwrap().options(), options);
        drop(read);
        let db = small(files).open().unwrap();
        let ks = db.keyspace("k").unwrap();
        assert_eq!(ks.options(), options);
        assert_eq!(ks.insert("k", "v").unwrap(), db.durable_seqno());
    }
}

#[test]
fn what_the_builder_sets_wins_and_is_stored_else_the_stored_counts_else_the_default() {
    let files = MemFs::new();
    let default = DbOptions::default();
    assert_eq!(plain(&files).open().unwrap().options(), default);

    let db = plain(&files)
        .cache_bytes(1 << 20)
        .memory_budget(8 << 20)
        .write_buffer_bytes(64 << 10)
        .max_wal_bytes(2 << 20)
        .threads(3)
        .max_open_files(40)
        .filter_budget_bytes(5 << 10)
        .durability(Durability::Sync)
        .sync_every(Duration::from_secs(7))
        .mapped_log(false)
        .auto_heal(false)
        .scrub_every(Duration::from_secs(99))
        .scrub_bytes_per_s(1 << 30)
        .open()
        .unwrap();
    let set = db.options();
    assert_eq!((set.cache_bytes, set.memory_budget, set.write_buffer_bytes), (1 << 20, 8 << 20, 64 << 10));
    assert_eq!((set.max_wal_bytes, set.threads, set.max_open_files), (2 << 20, 3, 40));
    assert_eq!((set.durability, set.sync_every), (Durability::Sync, Some(Duration::from_secs(7))));
    assert!(!set.mapped_log && !set.auto_heal);
    assert_eq!((set.scrub_every, set.scrub_bytes_per_s), (Some(Duration::from_secs(99)), 1 << 30));
    assert_eq!(set.filter_budget_bytes, Some(5 << 10));
    db.close().unwrap();

    let db = plain(&files).open().unwrap();
    assert_eq!(db.options(), set, "what was set is stored");
    drop(db);
    let db = plain(&files).threads(1).open().unwrap();
    assert_eq!(db.options().threads, 1, "what the builder sets wins");
    assert_eq!(db.options().write_buffer_bytes, 64 << 10);
    drop(db);
    drop(plain(&files).filter_budget_bytes(u64::MAX).open().unwrap());
    assert_eq!(plain(&files).open().unwrap().options().filter_budget_bytes, None, "no budget is stored, too");
    let db = plain(&files).sync_every(Duration::ZERO).open().unwrap();
    assert_eq!((db.options().threads, db.options().sync_every), (1, None), "and is stored in turn");
    drop(db);
    assert_eq!(plain(&files).open().unwrap().options().sync_every, None, "zero is stored too");
}

/// An option by its name, and what sets it to something that is not the default.
type Named<Options> = (&'static str, fn(&mut Options));

/// Every option of a database.
const OF_DATABASES: [Named<DbOptions>; 13] = [
    ("cache_bytes", |options| options.cache_bytes = 1 << 20),
    ("memory_budget", |options| options.memory_budget = 100 << 20),
    ("write_buffer_bytes", |options| options.write_buffer_bytes = 64 << 10),
    ("max_wal_bytes", |options| options.max_wal_bytes = 2 << 20),
    ("threads", |options| options.threads += 1),
    ("max_open_files", |options| options.max_open_files = 40),
    ("filter_budget_bytes", |options| options.filter_budget_bytes = Some(5 << 10)),
    ("durability", |options| options.durability = Durability::Sync),
    ("sync_every", |options| options.sync_every = Some(Duration::from_secs(7))),
    ("mapped_log", |options| options.mapped_log = false),
    ("auto_heal", |options| options.auto_heal = false),
    ("scrub_every", |options| options.scrub_every = Some(Duration::from_secs(9))),
    ("scrub_bytes_per_s", |options| options.scrub_bytes_per_s = 1000),
];

/// Those that need another opening.
const FIXED: [&str; 2] = ["threads", "mapped_log"];

/// Every option of a keyspace.
const OF_KEYSPACES: [Named<KeyspaceOptions>; 18] = [
    ("compression", |options| options.compression = Compression::None.into()),
    ("block_bytes", |options| options.block_bytes = (8 << 10).into()),
    ("filters", |options| options.filters = FilterPolicy::BitsPerKey(6.0).into()),
    ("partition_bytes", |options| options.partition_bytes = (8 << 10).into()),
    ("table_bytes", |options| options.table_bytes = 1 << 20),
    ("prefix_extractor", |options| options.prefix_extractor = Some("isopach.prefix.2".into())),
    ("merge_operator", |options| options.merge_operator = Some("isopach.max".into())),
    ("compaction_filter", |options| options.compaction_filter = Some("app.as_told".into())),
    ("entry_checksums", |options| options.entry_checksums = true),
    ("dictionary_bytes", |options| options.dictionary_bytes = 4 << 10),
    ("blobs_from_bytes", |options| options.blobs_from_bytes = Some(2 << 10)),
    ("blob_file_bytes", |options| options.blob_file_bytes = 1 << 20),
    ("blob_garbage_percent", |options| options.blob_garbage_percent = 40),
    ("parity", |options| options.parity = Parity::SecDed.into()),
    ("blob_parity", |options| options.blob_parity = Parity::Xor { data: 4 }),
    ("keep_versions", |options| options.keep_versions = KeepVersions::For(Duration::from_secs(9))),
    ("ttl", |options| options.ttl = Some(Duration::from_secs(11))),
    ("durability", |options| options.durability = Some(Durability::Volatile)),
];

/// Names of the fields of a struct, from its `Debug`.
fn fields_of(value: &impl std::fmt::Debug) -> Vec<String> {
    let shown = format!("{value:#?}");
    let of_struct = |line: &&str| line.starts_with("    ") && !line.starts_with("     ");
    let names = shown.lines().filter(of_struct).filter_map(|line| line.trim().split_once(": "));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_option_of_a_database_changes_while_it_is_open_or_says_that_it_cannot_and_is_stored() {
    let names: Vec<&str> = OF_DATABASES.iter().map(|(name, _)| *name).collect();
    assert_eq!(fields_of(&DbOptions::default()), names, "every option is here");
    for (name, change) in OF_DATABASES {
        let files = MemFs::new();
        let db = plain(&files).open().unwrap();
        let before = db.options();
        let mut wanted = before.clone();
        change(&mut wanted);
        assert_ne!(wanted, before, "{name}");

        let result = db.set_options(change);

        if FIXED.contains(&name) {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(name), "{error} names {name}");
            assert_eq!(db.options(), before);
            continue;
        }
        result.unwrap();
        assert_eq!(db.options(), wanted, "{name}");
        db.keyspace("k").unwrap().insert("key", "value").unwrap();
        let crashed = files.deep_clone();
        db.close().unwrap();
        for files in [files, crashed] {
            assert_eq!(plain(&files).open().unwrap().options(), wanted, "{name} is stored");
        }
    }
}

#[test]
fn every_option_of_a_keyspace_changes_while_it_is_in_use_and_is_stored() {
    let names: Vec<&str> = OF_KEYSPACES.iter().map(|(name, _)| *name).collect();
    let mut there = fields_of(&KeyspaceOptions::default());
    there.retain(|name| name != "comparator"); // It never changes.
    assert_eq!(there, names, "every option is here");
    for (name, change) in OF_KEYSPACES {
        let files = MemFs::new();
        let db = plain(&files).open().unwrap();
        let keyspace = db.keyspace("k").unwrap();
        let mut wanted = keyspace.options();
        change(&mut wanted);
        assert_ne!(wanted, keyspace.options(), "{name}");

        keyspace.set_options(change).unwrap();

        assert_eq!(keyspace.options(), wanted, "{name}");
        let crashed = files.deep_clone();
        drop(keyspace);
        db.close().unwrap();
        for files in [files, crashed] {
            let db = plain(&files).open().unwrap();
            assert_eq!(db.keyspace("k").unwrap().options(), wanted, "{name} is stored");
        }
        let db = plain(&MemFs::new()).open().unwrap();
        assert_eq!(db.keyspace_with("k", wanted.clone()).unwrap().options(), wanted, "{name} of a new one");
    }
}

/// An option is more than a name that is stored: something else than its own module looks at it.
#[test]
fn every_option_is_read_by_something() {
    fn add_code(place: &Path, code: &mut String) {
        for entry in fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                add_code(&entry, code);
            } else if !["options.rs", "builder.rs", "settings.rs", "space.rs", "fuzz.rs"]
                .iter()
                .any(|own| entry.ends_with(own))
            {
                *code += &fs::read_to_string(entry).unwrap_or_default();
            }
        }
    }
    let mut code = String::new();
    for sources in ["src", "../engine/src"] {
        add_code(&Path::new(env!("CARGO_MANIFEST_DIR")).join(sources), &mut code);
    }
    let names = OF_DATABASES.iter().map(|(name, _)| name).chain(OF_KEYSPACES.iter().map(|(name, _)| name));
    for name in names {
        assert!(code.contains(&format!(".{name}")), "nobody reads {name}");
    }
}

#[test]
fn an_option_that_is_out_of_bounds_changes_nothing_of_an_open_database() {
    let files = MemFs::new();
    let db = plain(&files).open().unwrap();
    let before = db.options();
    for (name, change) in [
        ("write_buffer_bytes", (|options| options.write_buffer_bytes = 1) as fn(&mut DbOptions)),
        ("max_wal_bytes", |options| options.max_wal_bytes = 1),
        ("max_open_files", |options| options.max_open_files = 1),
        ("memory_budget", |options| options.memory_budget = options.cache_bytes),
    ] {
        let both = |options: &mut DbOptions| {
            options.durability = Durability::Sync;
            change(options);
        };
        let error = db.set_options(both).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(name), "{error} names {name}");
        assert_eq!(db.options(), before);
    }
    db.close().unwrap();
    assert_eq!(plain(&files).open().unwrap().options(), before);
}

#[test]
fn options_of_a_database_that_are_changed_at_once_are_all_changed() {
    let files = MemFs::new();
    let db = plain(&files).open().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    db.set_options(|options| options.max_wal_bytes += 1).unwrap();
                }
            });
        }
    });
    let expected = DbOptions::default().max_wal_bytes + 100;
    assert_eq!(db.options().max_wal_bytes, expected);
    db.close().unwrap();
    assert_eq!(plain(&files).open().unwrap().options().max_wal_bytes, expected);
}

#[test]
fn options_of_a_database_that_are_changed_are_in_force_at_once() {
    let db = plain(&MemFs::new()).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    db.set_options(|options| options.durability = Durability::Sync).unwrap();
    assert_eq!(keyspace.insert("key", "value").unwrap(), db.durable_seqno());

    db.set_options(|options| {
        options.durability = Durability::Buffered;
        options.sync_every = Some(Duration::from_millis(1));
    })
    .unwrap();
    let seqno = keyspace.insert("key", "value").unwrap();
    wait_until("it is synced by itself", || db.durable_seqno() >= seqno);

    db.set_options(|options| options.write_buffer_bytes = 16 << 10).unwrap();
    (0..30_u8).for_each(|n| _ = keyspace.insert([n], [n; 1000]).unwrap());
    wait_until("a small memtable is flushed", || keyspace.stats().tree.flushes > 0);
    let flushes = keyspace.stats().tree.flushes;

    db.set_options(|options| options.write_buffer_bytes = 64 << 20).unwrap();
    (0..200_u8).for_each(|n| _ = keyspace.insert([n], [n; 2000]).unwrap());
    assert!(keyspace.stats().tree.memtable_bytes > 300 << 10);
    db.set_options(|options| (options.cache_bytes, options.memory_budget) = (64 << 10, 256 << 10)).unwrap();
    wait_until("what is too much is flushed", || keyspace.stats().tree.flushes > flushes);
    wait_until("memtables fit", || db.stats().memory.memtables < 192 << 10);
    keyspace.insert("key", "value").unwrap();
}

#[test]
fn an_option_that_is_stored_counts_after_a_crash_too() {
    let files = MemFs::new();
    let db = plain(&files).write_buffer_bytes(32 << 10).open().unwrap();
    db.keyspace("k").unwrap().insert("k", "v").unwrap();

    let db = plain(&files.deep_clone()).open().unwrap();

    assert_eq!(db.options().write_buffer_bytes, 32 << 10);
}

#[test]
fn an_option_out_of_bounds_is_named_and_nothing_is_made() {
    let files = MemFs::new();
    let wrong: [(&str, Builder); 7] = [
        ("write_buffer_bytes", plain(&files).write_buffer_bytes((16 << 10) - 1)),
        ("max_wal_bytes", plain(&files).max_wal_bytes((1 << 20) - 1)),
        ("threads", plain(&files).threads(0)),
        ("threads", plain(&files).threads(257)),
        ("max_open_files", plain(&files).max_open_files(15)),
        ("memory_budget", plain(&files).cache_bytes(1 << 20).memory_budget(1 << 20)),
        ("cache_bytes", plain(&files).cache_bytes(u64::MAX)),
    ];
    for (name, builder) in wrong {
        let error = builder.open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(name), "{error} names {name}");
    }
    let db = plain(&files).open().unwrap();
    for (name, options) in [
        ("block_bytes", KeyspaceOptions::new().block_bytes((4 << 10) - 1)),
        ("block_bytes", KeyspaceOptions::new().block_bytes((1 << 20) + 1)),
        ("table_bytes", KeyspaceOptions::new().table_bytes((64 << 10) - 1)),
        ("filter", KeyspaceOptions::new().filters(FilterPolicy::BitsPerKey(1.0))),
        ("filter", KeyspaceOptions::new().filters(FilterPolicy::BitsPerKey(f32::NAN))),
        ("filter", KeyspaceOptions::new().filters(FilterPolicy::ByDepth(11.0))),
        ("per level", KeyspaceOptions::new().block_bytes(PerLevel(vec![]))),
        ("zstd level", KeyspaceOptions::new().compression(Compression::Zstd { level: 23 })),
    ] {
        let error = db.keyspace_with("k", options).unwrap_err();
        assert_eq!((error.kind(), error.keyspace()), (ErrorKind::InvalidArgument, Some("k")), "{error}");
        assert!(error.to_string().contains(name), "{error} names {name}");
    }
    assert!(db.keyspaces().is_empty());
}

#[test]
fn options_of_a_keyspace_change_while_it_is_in_use() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", KeyspaceOptions::new().filters(FilterPolicy::None)).unwrap();
    let fill = |ks: &isopach::Keyspace| {
        for n in 0..400_u32 {
            ks.insert(n.to_be_bytes(), [0; 100]).unwrap();
        }
        ks.compact_range(..).unwrap();
        db.wait_idle(SOON).unwrap();
        ks.disk_bytes()
    };
    let packed = fill(&ks);

    ks.set_options(|options| {
        options.compression = Compression::None.into();
        options.durability = Some(Durability::Sync);
    })
    .unwrap();
    let changed = ks.options();
    assert_eq!(changed.compression, Compression::None.into());
    assert_eq!((&changed.filters, changed.durability), (&FilterPolicy::None.into(), Some(Durability::Sync)));
    assert_eq!(ks.disk_bytes(), packed, "tables that are there stay as they are");
    assert!(fill(&ks) > 2 * packed, "new ones are not compressed");
    let seqno = ks.insert("k", "v").unwrap();
    assert_eq!(db.durable_seqno(), seqno, "the durability is in force");

    let refused = ks.set_options(|options| options.block_bytes = 1.into()).unwrap_err();
    assert_eq!((refused.kind(), refused.keyspace()), (ErrorKind::InvalidArgument, Some("k")), "{refused}");
    assert_eq!(ks.options(), changed, "all or nothing");
    let crashed = files.deep_clone();
    drop(ks);
    db.close().unwrap();
    for files in [files, crashed] {
        let db = small(files).open().unwrap();
        assert_eq!(db.keyspace("k").unwrap().options(), changed);
        let ks = db.keyspace("k").unwrap();
        db.drop_keyspace("k").unwrap();
        assert_eq!(ks.set_options(|_| ()).unwrap_err().kind(), ErrorKind::KeyspaceDropped);
    }
}

#[test]
fn options_that_are_changed_at_once_are_all_changed() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace("k").unwrap();

    std::thread::scope(|scope| {
        let add = |levels: usize| {
            let ks = ks.clone();
            scope.spawn(move || {
                for _ in 0..levels {
                    ks.set_options(|options| options.block_bytes.0.push(4 << 10)).unwrap();
                }
            });
        };
        (0..4).for_each(|_| add(10));
    });

    assert_eq!(ks.options().block_bytes.0.len(), 41);
}

#[test]
fn a_compression_that_is_not_compiled_in_is_refused_by_name() {
    let db = plain(&MemFs::new()).open().unwrap();
    let zstd = KeyspaceOptions::new().compression(Compression::Zstd { level: 3 });
    let created = db.keyspace_with("k", zstd);
    if cfg!(feature = "zstd") {
        return drop(created.unwrap());
    }
    let error = created.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFeature);
    assert!(error.to_string().contains("zstd:3"), "{error}");
}

#[cfg(feature = "zstd")]
#[test]
fn zstd_makes_tables_smaller_than_lz4_and_answers_the_same() {
    let fs = MemFs::new();
    let db = small(fs.clone()).open().unwrap();
    let compressed = |name: &str, compression: PerLevel<Compression>| {
        let ks = db.keyspace_with(name, KeyspaceOptions::new().compression(compression)).unwrap();
        for n in 0..5_000_u32 {
            ks.insert(n.to_be_bytes(), format!("{{\"number\":{n},\"square\":{}}}", u64::from(n).pow(2)))
                .unwrap();
        }
        ks.compact_range(..).unwrap();
        ks
    };
    let lz4 = compressed("lz4", Compression::Lz4.into());
    let zstd = compressed("zstd", PerLevel(vec![Compression::None, Compression::Zstd { level: 9 }]));
    assert!(zstd.disk_bytes() * 10 < lz4.disk_bytes() * 9, "{} {}", zstd.disk_bytes(), lz4.disk_bytes());
    drop((lz4, zstd));
    db.close().unwrap();

    let db = small(fs).open().unwrap();
    let all = |name| db.keyspace(name).unwrap().iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(all("zstd").len(), 5_000);
    assert_eq!(all("zstd"), all("lz4"));
}

#[test]
fn sync_every_makes_what_was_written_durable_by_itself() {
    let db = small(MemFs::new()).sync_every(Duration::from_millis(20)).open().unwrap();
    let ks = db.keyspace("k").unwrap();

    for n in 0..3_u8 {
        let seqno = ks.insert([n], "v").unwrap();
        wait_until("it is durable", || db.durable_seqno() >= seqno);
    }
}

#[test]
fn without_sync_every_nothing_is_synced_unasked() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let first = ks.insert_with("k", "v", synced()).unwrap();
    let second = ks.insert("k", "w").unwrap();

    db.wait_idle(SOON).unwrap();

    assert_eq!(db.durable_seqno(), first);
    db.wait_durable(second).unwrap();
    assert_eq!(db.durable_seqno(), second);
}
