//! Routes, whole: on other disks and backends, over reopenings, copies and crashes.

use isopach::{
    Db, ErrorKind, KeyspaceOptions, Level, Route, VerifyOptions,
    env::{CrashFs, Fs, MemFs, SubDir},
};
use std::{fs, path::Path, sync::Arc};
use testkit::{
    Rng, TempDir,
    crash::{Act, Crash, Ledger, Pace, Plan, Run, explore},
    db::{PLACES, SOON, entries, files_in, separating, small, tiny, tiny_tables},
    seeds,
};

/// Tables and files of separated values below a directory.
fn files_of(dir: &Path) -> usize {
    let in_dir = |name| fs::read_dir(dir.join(name)).map_or(0, Iterator::count);
    in_dir("tables") + in_dir("blobs")
}

fn fill(db: &Db, options: KeyspaceOptions, seed: u64) {
    let keyspace = db.keyspace_with("k", options).unwrap();
    let mut rng = Rng::new(seed);
    for key in 0..300_u32 {
        keyspace.insert(key.to_be_bytes(), rng.bytes(300)).unwrap();
    }
    db.flush().unwrap();
}

#[test]
fn directories_of_routes_are_stored_and_a_missing_one_keeps_the_database_closed() {
    let temp = TempDir::new();
    let path = |name: &str| temp.path().join(name);
    let open = || tiny(Db::builder(path("db")));
    let db =
        open().route(Route::path(3..=6, path("slow"))).route(Route::blobs_in(path("values"))).open().unwrap();
    fill(&db, separating(tiny_tables()), 1);
    db.keyspace("k").unwrap().compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();
    let tables: Vec<Level> = db.stats().keyspaces[0].tree.levels.iter().map(|(level, _)| *level).collect();
    assert_eq!(tables, [Level(6)]);
    assert!(files_of(&path("slow")) > 0 && files_of(&path("values")) > 0);
    assert_eq!(files_of(&path("db")), 0);
    let found = entries(&db.keyspace("k").unwrap());
    db.close().unwrap();

    let db = open().open().unwrap();
    assert_eq!(entries(&db.keyspace("k").unwrap()), found, "nobody named the routes");
    let routes = db.routes();
    assert_eq!((routes[0].levels.clone(), routes[0].has_blobs), (Some(3..=6), false));
    assert_eq!((routes[1].levels.clone(), routes[1].has_blobs), (None, true));
    assert_eq!(Path::new(&routes[0].name), path("slow"));
    db.close().unwrap();
    assert_eq!(entries(&open().open_read_only().unwrap().keyspace("k").unwrap()), found);
    assert!(open().verify(VerifyOptions::new()).unwrap().found.is_empty());

    fs::rename(path("slow"), path("elsewhere")).unwrap();
    for unmounted in [false, true] {
        if unmounted {
            fs::create_dir(path("slow")).unwrap();
        }
        let error = open().open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingRoute);
        assert!(error.to_string().contains(path("slow").to_str().unwrap()), "{error}");
    }
    fs::remove_dir(path("slow")).unwrap();
    fs::rename(path("elsewhere"), path("slow")).unwrap();
    assert_eq!(entries(&open().open().unwrap().keyspace("k").unwrap()), found);
}

#[test]
fn a_directory_that_was_moved_is_found_under_the_path_that_is_given() {
    let temp = TempDir::new();
    let path = |name: &str| temp.path().join(name);
    let open = |route: &str| tiny(Db::builder(path("db"))).route(Route::path(1..=6, path(route))).open();
    let db = open("slow").unwrap();
    fill(&db, tiny_tables(), 1);
    db.keyspace("k").unwrap().compact_range(..).unwrap();
    let found = entries(&db.keyspace("k").unwrap());
    db.close().unwrap();
    open("slow/").unwrap().close().unwrap();

    fs::rename(path("slow"), path("moved")).unwrap();
    let db = open("moved").unwrap();
    assert_eq!(entries(&db.keyspace("k").unwrap()), found);
    assert_eq!((db.routes().len(), Path::new(&db.routes()[0].name)), (1, &*path("moved")));
    db.close().unwrap();
    let db = tiny(Db::builder(path("db"))).open().unwrap();
    assert_eq!(entries(&db.keyspace("k").unwrap()), found, "the new path is stored");
    db.set_routes([]).unwrap();
    db.close().unwrap();
}

#[test]
fn a_place_in_the_database_itself_is_refused_and_nothing_is_made_there() {
    let temp = TempDir::new();
    let path = |name: &str| temp.path().join(name);
    let db = tiny(Db::builder(path("db"))).open().unwrap();
    for inside in ["db", "db/tables", "db/new", "db/wal/new"] {
        let error = db.set_routes([Route::path(0..=6, path(inside))]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::AlreadyExists), "{error}");
    }
    assert!(!path("db/new").exists() && !path("db/tables/PLACE").exists() && db.routes().is_empty());
    db.close().unwrap();
    let levels = tiny(Db::builder(path("new"))).route(Route::path(0..=7, path("place"))).open();
    assert_eq!(levels.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(!path("new").exists() && !path("place").exists(), "options are looked at first");
}

/// Flushes that alternate between two ends of the keys move down together, over what lies between.
#[test]
fn tables_that_move_to_another_place_in_the_background_keep_clear_of_others() {
    let temp = TempDir::new();
    let path = |name: &str| temp.path().join(name);
    let db = tiny(Db::builder(path("db"))).route(Route::path(1..=6, path("cold"))).open().unwrap();
    let keyspace = db.keyspace_with("k", tiny_tables()).unwrap();
    let mut rng = Rng::new(7);
    let mut insert = |first: u8, n: u32| {
        keyspace.insert([&[first][..], &n.to_be_bytes()].concat(), rng.bytes(300)).unwrap();
    };
    (0..30).for_each(|n| insert(5, n));
    db.flush().unwrap();
    keyspace.compact_range(..).unwrap();
    for n in 0..800 {
        insert(if (n / 40) % 2 == 0 { 1 } else { 9 }, n);
        if n % 40 == 39 {
            db.flush().unwrap();
        }
    }
    db.wait_idle(SOON).unwrap();
    assert_eq!(keyspace.count(..).unwrap(), 830);
    db.close().unwrap();
}

#[test]
fn routes_change_live_and_compactions_move_what_is_there() {
    let temp = TempDir::new();
    let path = |name: &str| temp.path().join(name);
    let db = tiny(Db::builder(path("db"))).open().unwrap();
    fill(&db, tiny_tables(), 1);
    db.wait_idle(SOON).unwrap();
    let before = files_of(&path("db"));
    assert!(before > 0);

    db.set_routes([Route::path(0..=6, path("new"))]).unwrap();
    assert_eq!((files_of(&path("db")), files_of(&path("new"))), (before, 0));
    fill(&db, tiny_tables(), 2);
    assert!(files_of(&path("new")) > 0);
    db.keyspace("k").unwrap().compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();
    assert_eq!(files_of(&path("db")), 0, "the compaction wrote all of it anew");

    db.set_routes([]).unwrap();
    assert!(db.routes()[0].is_retired());
    fill(&db, tiny_tables(), 3);
    db.keyspace("k").unwrap().compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();
    assert_eq!(files_of(&path("new")), 0);
    let found = entries(&db.keyspace("k").unwrap());
    db.close().unwrap();
    fs::remove_dir_all(path("new")).unwrap();
    let db = tiny(Db::builder(path("db"))).open().unwrap();
    assert!(db.routes().is_empty(), "nothing is there, nothing is needed");
    assert_eq!(entries(&db.keyspace("k").unwrap()), found);
}

#[test]
fn a_backend_is_found_again_by_its_name_and_other_routes_stay() {
    let (files, fast) = (MemFs::new(), Arc::new(MemFs::new()));
    let temp = TempDir::new();
    let open = || small(files.clone());
    let of_fast = |levels| Route::fs(levels, "fast", Arc::<MemFs>::clone(&fast) as Arc<dyn Fs>);
    let db = open().route(of_fast(0..=0)).open().unwrap();
    fill(&db, tiny_tables(), 1);
    db.close().unwrap();

    let error = open().open().unwrap_err();
    assert!(error.kind() == ErrorKind::MissingRoute && error.to_string().contains("\"fast\""), "{error}");
    let slow = temp.path().join("slow");
    let db = open().route(of_fast(0..=1)).route(Route::path(5..=6, &slow)).open().unwrap();
    db.close().unwrap();
    let db = open().route(of_fast(0..=1)).open().unwrap();
    let levels: Vec<_> = db.routes().into_iter().map(|route| route.levels.unwrap()).collect();
    assert_eq!(levels, [0..=1, 5..=6], "the directory stays, though nobody named it");
    db.close().unwrap();
    let error = open().route(of_fast(0..=5)).open().unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidArgument && error.to_string().contains("level"), "{error}");
    let looks_like_a_path = Route::fs(3..=3, "/fast", Arc::new(MemFs::new()));
    let error = open().route(of_fast(0..=1)).route(looks_like_a_path).open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_checkpoint_has_all_files_in_its_own_directory() {
    let temp = TempDir::new();
    let path = |name: &str| temp.path().join(name);
    let db = tiny(Db::builder(path("db")))
        .route(Route::path(0..=0, path("hot")))
        .route(Route::path(1..=6, path("cold")).and_blobs())
        .open()
        .unwrap();
    fill(&db, separating(tiny_tables()), 1);
    db.keyspace("k").unwrap().compact_range(..).unwrap();
    fill(&db, separating(tiny_tables()), 2);
    let found = entries(&db.keyspace("k").unwrap());
    assert!(files_of(&path("cold")) > 0 && files_of(&path("db")) == 0);

    let info = db.checkpoint(path("copy")).unwrap();
    let other: Arc<dyn Fs> = Arc::new(MemFs::new());
    db.checkpoint_to(Arc::clone(&other), "copy", Default::default()).unwrap();
    db.close().unwrap();
    for place in ["db", "hot", "cold"] {
        fs::remove_dir_all(path(place)).unwrap();
    }

    let copied = tiny(Db::builder(path("copy"))).open().unwrap();
    assert!(copied.routes().is_empty() && info.tables > 0);
    assert_eq!(entries(&copied.keyspace("k").unwrap()), found);
    let copied = small(SubDir::open(other, "copy").unwrap()).open().unwrap();
    assert_eq!(entries(&copied.keyspace("k").unwrap()), found);
}

/// The process dies, or the power goes, at every step of work on a database whose files lie in three places.
#[test]
fn a_crash_at_any_step_with_files_in_several_places_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        for crash in [Crash::Process, Crash::Power { images: 2 }] {
            let files = CrashFs::new();
            let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
            let mut most = [0; 2];
            let explored = explore(&files, &mut run, Plan::new(seed, crash).one_in(2), |run| {
                run.perform(&[Act::Fill, Act::Flush]);
                run.route();
                for _ in 0..2 {
                    run.perform(&[Act::Fill, Act::Flush, Act::Load, Act::Compact, Act::Fill, Act::Flush]);
                    for (most, place) in most.iter_mut().zip(PLACES) {
                        *most = files_in(run.files(), &format!("db/{place}/tables")).len().max(*most);
                    }
                }
                run.perform(&[
                    Act::Checkpoint,
                    Act::Reopen,
                    Act::Clear,
                    Act::Fill,
                    Act::Abandon,
                    Act::Compact,
                ]);
                run.close();
            });
            let explored = explored.unwrap_or_else(|violation| panic!("{violation}"));
            assert!(
                explored.images > 100 && most.iter().all(|&tables| tables > 0),
                "{explored}, {most:?} files"
            );
        }
    }
}
