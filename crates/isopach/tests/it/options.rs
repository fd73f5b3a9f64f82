//! Options: who wins, what is stored, what is refused.

use isopach::{
    Builder, Compression, Db, DbOptions, Durability, ErrorKind, FilterPolicy, KeyspaceOptions, PerLevel,
    env::MemFs,
};
use std::time::Duration;
use testkit::db::{Quiet, SOON, env_of, small, synced, wait_until};

fn plain(files: &MemFs) -> Builder {
    Db::builder("db").env(env_of(files.clone())).listener(Quiet)
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
        .durability(Durability::Sync)
        .sync_every(Duration::from_secs(7))
        .mapped_log(false)
        .open()
        .unwrap();
    let set = db.options();
    assert_eq!((set.cache_bytes, set.memory_budget, set.write_buffer_bytes), (1 << 20, 8 << 20, 64 << 10));
    assert_eq!((set.max_wal_bytes, set.threads, set.max_open_files), (2 << 20, 3, 40));
    assert_eq!((set.durability, set.sync_every), (Durability::Sync, Some(Duration::from_secs(7))));
    assert!(!set.mapped_log);
    db.close().unwrap();

    let db = plain(&files).open().unwrap();
    assert_eq!(db.options(), set, "what was set is stored");
    drop(db);
    let db = plain(&files).threads(1).open().unwrap();
    assert_eq!(db.options().threads, 1, "what the builder sets wins");
    assert_eq!(db.options().write_buffer_bytes, 64 << 10);
    drop(db);
    let db = plain(&files).sync_every(Duration::ZERO).open().unwrap();
    assert_eq!((db.options().threads, db.options().sync_every), (1, None), "and is stored in turn");
    drop(db);
    assert_eq!(plain(&files).open().unwrap().options().sync_every, None, "zero is stored too");
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
