//! Routes: files in other places, found again, left, and kept from others.

use crate::{
    faults::{Fail, Faults, Op, What, names},
    harness::{at, create, flush, merge_all, put, seqno, shown, tables_of, views},
};
use isopach_engine::{
    compaction::Plan,
    env::{CrashFs, CreateOptions, Env, Fs, IoErrorKind, MemFs, OpenMode, SyncSite, WriteOrigin},
    error::{Error, ErrorKind, Result},
    store::{CheckpointOptions, FindPlaces, Store, StoreOptions, Unnamed, VerifyOptions},
    table::VerifyDepth,
    tree::TreeOptions,
    types::Level,
    version::Route,
};
use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

/// Places by name. Clones share their files.
#[derive(Clone, Default)]
struct Places(BTreeMap<&'static str, MemFs>);

impl Places {
    fn of(names: &[&'static str]) -> Places {
        Places(names.iter().map(|&name| (name, MemFs::new())).collect())
    }

    fn options(&self) -> StoreOptions {
        let known: BTreeMap<String, MemFs> =
            self.0.iter().map(|(&name, files)| (name.to_owned(), files.clone())).collect();
        let mut options = StoreOptions::default();
        options.places = FindPlaces::by(move |name| {
            Ok(known.get(name).map(|files| Arc::new(files.clone()) as Arc<dyn Fs>))
        });
        options
    }

    fn open(&self, faults: &Faults) -> Result<Store> {
        Store::open(faults.env(), &self.options())
    }

    fn refused(&self, faults: &Faults) -> Error {
        self.open(faults).err().expect("it cannot be opened")
    }

    fn route(&self, name: &str, levels: RangeInclusive<u8>) -> (Route, Arc<dyn Fs>) {
        let route = Route { name: name.into(), levels: Some(levels), has_blobs: false };
        (route, Arc::new(self.0[name].clone()))
    }

    fn with_blobs(&self, name: &str) -> (Route, Arc<dyn Fs>) {
        let (route, place) = self.route(name, 0..=0);
        (Route { levels: None, has_blobs: true, ..route }, place)
    }

    /// Files of tables and separated values in a place.
    fn files(&self, name: &str) -> Vec<String> {
        let files = names(&self.0[name]).into_iter();
        files.filter(|name| name.ends_with(".table") || name.ends_with(".blob")).collect()
    }
}

fn own_files(faults: &Faults) -> Vec<String> {
    names(&faults.files)
        .into_iter()
        .filter(|name| name.ends_with(".table") || name.ends_with(".blob"))
        .collect()
}

fn merge_to(store: &Store, to: u8, number: u64) {
    merge_all(&store.tree("t").unwrap(), to, &views(&[number])).unwrap();
    store.files().run_deletions(u64::MAX);
}

#[test]
fn files_are_made_where_routes_say_and_found_there_after_reopening() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["hot", "cold"]));
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("hot", 0..=1), places.with_blobs("cold")]).unwrap();
    let id = store.reserve_tree_id().unwrap();
    let mut options = TreeOptions::default();
    options.blobs_from_bytes = Some(100);
    let tree = store.create_tree(id, "t", &options, &[], seqno(1)).unwrap();
    put(&tree, "a", &"large ".repeat(50), 2);
    put(&tree, "b", "small", 3);
    flush(&tree, 3);

    assert_eq!((places.files("hot").len(), places.files("cold").len(), own_files(&faults).len()), (1, 1, 0));
    let table_of = |store: &Store| store.tables()[0].meta.file_name();
    assert!(table_of(&store).starts_with("places/1/tables/"), "{}", table_of(&store));
    let before = shown(&tree, 3);
    merge_to(&store, 6, 3);
    assert_eq!((places.files("hot").len(), places.files("cold").len()), (0, 1), "values stay where they are");
    assert_eq!(own_files(&faults).len(), 1);
    assert!(table_of(&store).starts_with("tables/"));
    put(&tree, "c", "hot", 4);
    flush(&tree, 4);
    assert_eq!((places.files("hot").len(), own_files(&faults).len()), (1, 1));

    drop((tree, store));
    let store = places.open(&faults).unwrap();
    assert_eq!(shown(&store.tree("t").unwrap(), 3), before);
    assert_eq!(store.remove_orphans().unwrap(), 0);
    let mut full = VerifyOptions::default();
    full.depth = VerifyDepth::Full;
    let report = store.verify(full, &mut |_, _| Ok(())).unwrap();
    assert_eq!((report.files, report.blobs), (2, 1));
    assert!(report.found.is_empty() && report.unnamed.is_empty(), "{report:?}");
}

#[test]
fn a_store_without_one_of_its_places_is_not_opened_and_nothing_is_touched() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["cold"]));
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("cold", 0..=6)]).unwrap();
    tables_of(&create(&store, "t"), &["a=1"], 2);
    drop(store);
    let before = names(&faults.files);
    let refused = |places: &Places| {
        let mut read = places.options();
        read.read_only = true;
        let to_read = Store::open(faults.env(), &read).err().unwrap();
        let error = places.refused(&faults);
        assert_eq!(to_read.to_string(), error.to_string());
        assert!(error.to_string().contains("\"cold\""), "{error}");
        assert_eq!(names(&faults.files), before);
        error.kind()
    };

    assert_eq!(refused(&Places::default()), ErrorKind::MissingRoute);
    assert_eq!(refused(&Places::of(&["cold"])), ErrorKind::MissingRoute, "a disk that is not mounted");
    let other = Places::of(&["cold"]);
    let others = Store::open(Env::simulated(77), &other.options()).unwrap();
    others.set_routes(vec![other.route("cold", 0..=6)]).unwrap();
    drop(others);
    assert_eq!(refused(&other), ErrorKind::MixedStore);
    let mut gone = places.options();
    gone.places = FindPlaces::by(|_| Err(IoErrorKind::NotFound.into()));
    let error = Store::open(faults.env(), &gone).err().unwrap();
    assert!(error.kind() == ErrorKind::MissingRoute && error.to_string().contains("mounted"), "{error}");

    assert_eq!(shown(&places.open(&faults).unwrap().tree("t").unwrap(), 2), "a=1");
}

#[test]
fn a_table_that_moves_to_a_level_of_another_place_is_written_there() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["cold"]));
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("cold", 5..=6)]).unwrap();
    let tree = create(&store, "t");
    let tables = tables_of(&tree, &["a=1"], 2);
    let move_to = |level| {
        let inputs = tree.tables().iter().map(|table| table.id).collect();
        tree.compact(&Plan::relocate(inputs, Level(level)), &views(&[2]), &mut |_| Ok(())).unwrap()
    };

    assert_eq!(move_to(3).outputs, tables, "nothing is written within a place");
    let report = move_to(5);
    assert_ne!(report.outputs, tables);
    assert!(report.written_bytes > 0);
    store.files().run_deletions(u64::MAX);
    assert_eq!((places.files("cold").len(), own_files(&faults).len()), (1, 0));
    assert_eq!(shown(&tree, 2), "a=1");
}

#[test]
fn a_route_that_is_taken_away_is_needed_until_its_files_are_gone() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["cold"]));
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("cold", 0..=6)]).unwrap();
    let tree = create(&store, "t");
    tables_of(&tree, &["a=1"], 2);

    store.set_routes(Vec::new()).unwrap();
    tables_of(&tree, &["b=2"], 3);
    assert_eq!((places.files("cold").len(), own_files(&faults).len()), (1, 1));
    assert!(store.routes()[0].route.is_retired());
    drop((tree, store));
    assert_eq!(Places::default().refused(&faults).kind(), ErrorKind::MissingRoute);

    let store = places.open(&faults).unwrap();
    merge_to(&store, 3, 3);
    drop(store);
    let store = places.open(&faults).unwrap();
    store.files().run_deletions(u64::MAX);
    assert!(store.routes().is_empty());
    assert_eq!(places.0["cold"].exists("PLACE"), Ok(false), "another store can have it");
    drop(store);
    assert_eq!(shown(&Places::default().open(&faults).unwrap().tree("t").unwrap(), 3), "a=1 b=2");
}

#[test]
fn a_route_that_comes_back_has_its_place_again() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["a", "b"]));
    let store = places.open(&faults).unwrap();
    let route = |levels| vec![places.route("a", levels)];
    store.set_routes(route(0..=0)).unwrap();
    let first = store.routes();
    store.set_routes(route(0..=0)).unwrap();
    assert_eq!(store.routes(), first);
    store.set_routes(Vec::new()).unwrap();
    store.set_routes(route(1..=2)).unwrap();
    assert_eq!((store.routes()[0].place, store.routes()[0].uuid), (first[0].place, first[0].uuid));

    let elsewhere = vec![(places.route("a", 1..=2).0, places.route("b", 1..=2).1)];
    let error = store.set_routes(elsewhere).unwrap_err();
    assert!(error.kind() == ErrorKind::AlreadyExists && error.to_string().contains("\"a\""), "{error}");
    assert_eq!(store.routes()[0].route.levels, Some(1..=2));
    let renamed = Route { name: "z".into(), ..places.route("a", 1..=2).0 };
    store.set_routes(vec![(renamed, places.route("a", 1..=2).1)]).unwrap();
    assert_eq!((&*store.routes()[0].route.name, store.routes()[0].place), ("z", first[0].place));
}

/// What was to remove the certificate of a place that was given up ran after the place had been given again.
#[test]
fn a_place_that_was_given_up_can_be_given_again_at_once() {
    for has_locks in [true, false] {
        let faults = Faults::new(&MemFs::new());
        let place = Faults::new(&MemFs::new());
        if !has_locks {
            let unsupported = Fail::Before(IoErrorKind::Unsupported);
            place.fail(move |op| (op.what == What::Lock).then_some(unsupported));
        }
        let place: Arc<dyn Fs> = Arc::new(place);
        let open = || {
            let (mut options, place) = (StoreOptions::default(), Arc::clone(&place));
            options.places = FindPlaces::by(move |_| Ok(Some(Arc::clone(&place))));
            Store::open(faults.env(), &options).unwrap()
        };
        let route = || {
            let route = Route { name: "cold".into(), levels: Some(0..=6), has_blobs: false };
            vec![(route, Arc::clone(&place))]
        };
        let store = open();
        store.set_routes(route()).unwrap();
        store.set_routes(Vec::new()).unwrap();
        drop(store);
        let store = open();
        assert!(store.routes().is_empty());
        store.set_routes(route()).unwrap();
        tables_of(&create(&store, "t"), &["a=1"], 2);
        store.files().run_deletions(u64::MAX);
        drop(store);
        assert_eq!(shown(&open().tree("t").unwrap(), 2), "a=1");
    }
}

/// Two tables moved together became one output, which reached over a table that lay between them.
#[test]
fn tables_that_move_to_another_place_together_keep_clear_of_what_lies_between() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["cold"]));
    let store = places.open(&faults).unwrap();
    let tree = create(&store, "t");
    let between = tables_of(&tree, &["m=1"], 2);
    let move_to_3 = |inputs, number| {
        tree.compact(&Plan::relocate(inputs, Level(3)), &views(&[number]), &mut |_| Ok(())).unwrap()
    };
    move_to_3(between, 2);
    let sides = tables_of(&tree, &["a=1", "z=1"], 3);
    store.set_routes(vec![places.route("cold", 3..=3)]).unwrap();

    assert_eq!(move_to_3(sides, 4).outputs.len(), 2);

    assert_eq!(shown(&tree, 4), "a=1 m=1 z=1");
    assert_eq!((places.files("cold").len(), tree.tables().len()), (2, 3));
}

#[test]
fn numbers_of_places_are_free_ones_and_lost_directories_are_made_anew() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["a", "b", "c", "d", "e"]));
    let store = places.open(&faults).unwrap();
    let (a, c) = (|| places.route("a", 0..=0), || places.route("c", 2..=2));
    store.set_routes(vec![a(), places.route("b", 1..=1), c()]).unwrap();
    store.set_routes(vec![a(), c()]).unwrap();
    drop(store);
    places.0["a"].remove_dir("blobs").unwrap();
    let store = places.open(&faults).unwrap();
    store.check_file_numbers().unwrap();
    store.set_routes(vec![a()]).unwrap();
    drop(store);
    let store = places.open(&faults).unwrap();
    assert_eq!(store.routes().len(), 1);
    store.set_routes(vec![a(), places.route("d", 1..=1), places.route("e", 2..=2)]).unwrap();
    let mut numbers: Vec<u32> = store.routes().iter().map(|placed| placed.place.0).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 3);
}

#[test]
fn a_place_whose_own_entry_was_not_synced_is_synced_by_the_next_try() {
    let (faults, place) = (Faults::new(&MemFs::new()), Faults::new(&MemFs::new()));
    let store = Store::open(faults.env(), &StoreOptions::default()).unwrap();
    let is_parent = |op: &Op| op.what == What::SyncDir && op.name == "..";
    place.fail_next(Fail::Before(IoErrorKind::Other), is_parent);
    let route = || {
        let route = Route { name: "cold".into(), levels: Some(0..=6), has_blobs: false };
        vec![(route, Arc::new(place.clone()) as Arc<dyn Fs>)]
    };
    assert_eq!(store.set_routes(route()).unwrap_err().kind(), ErrorKind::Io);
    place.heal();
    place.take_done();

    store.set_routes(route()).unwrap();

    assert_eq!(place.count(is_parent), 1);
}

/// The process died between writing the certificate and its sync; the next one took it for durable, and the power went.
#[test]
fn a_certificate_that_is_there_is_made_durable_before_a_route_names_it() {
    let (faults, files) = (Faults::new(&MemFs::new()), CrashFs::new());
    let store = Store::open(faults.env(), &StoreOptions::default()).unwrap();
    let route = |files: &CrashFs| {
        let route = Route { name: "cold".into(), levels: Some(0..=6), has_blobs: false };
        vec![(route, Arc::new(files.clone()) as Arc<dyn Fs>)]
    };
    files.mute(SyncSite("route.place"));
    store.set_routes(route(&files)).unwrap();
    store.set_routes(Vec::new()).unwrap();
    let killed = files.kill();
    drop(store);
    let store = Store::open(faults.env(), &StoreOptions::default()).unwrap();
    assert!(store.routes().is_empty(), "nobody found the place");

    store.set_routes(route(&killed)).unwrap();

    let cut: Vec<MemFs> = (0..20).map(|seed| image_of(&killed.crash(seed))).collect();
    assert!(cut.iter().all(|image| crate::faults::read(image, "PLACE").starts_with(b"ISOP")));
}

/// What lies in the root.
fn image_of(files: &CrashFs) -> MemFs {
    let copy = MemFs::new();
    for entry in files.list("").unwrap().into_iter().filter(|entry| !entry.is_dir) {
        let file = files.open(&entry.name, OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.size_bytes().unwrap() as usize];
        file.read_exact_at(0, &mut bytes).unwrap();
        crate::faults::write(&copy, &entry.name, &bytes);
    }
    copy
}

#[test]
fn a_place_that_is_newer_than_the_store_is_refused() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["cold"]));
    let store = places.open(&faults).unwrap();
    drop(store);
    let before = faults.files.deep_clone();
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("cold", 0..=6)]).unwrap();
    let tree = create(&store, "t");
    let numbers = 2..200;
    numbers.for_each(|number| drop(tables_of(&tree, &["a=1"], number)));
    drop((tree, store));

    let restored = Faults::new(&before);
    let store = places.open(&restored).unwrap();
    let error = store.set_routes(vec![places.route("cold", 0..=6)]).unwrap_err();

    assert!(error.kind() == ErrorKind::Corruption && error.to_string().contains("newer"), "{error}");
    assert!(store.routes().is_empty());
}

#[test]
fn routes_and_places_that_cannot_be_are_refused_and_change_nothing() {
    let (faults, places) =
        (Faults::new(&MemFs::new()), Places::of(&["a", "b", "full", "other", "notes", "torn"]));
    let store = places.open(&faults).unwrap();
    let refused = |routes: Vec<(Route, Arc<dyn Fs>)>| {
        let error = store.set_routes(routes).unwrap_err();
        assert!(store.routes().is_empty(), "{error}");
        error.kind()
    };
    let route = |name, levels| places.route(name, levels);
    assert_eq!(refused(vec![route("a", 0..=2), route("b", 2..=3)]), ErrorKind::InvalidArgument);
    assert_eq!(refused(vec![route("a", 0..=7)]), ErrorKind::InvalidArgument);
    let places_of = |name: &str| names(&places.0[name]);
    assert!(places_of("a").is_empty() && places_of("b").is_empty(), "nothing was begun");
    let same = vec![route("a", 0..=0), (route("b", 1..=1).0, route("a", 0..=0).1)];
    assert_eq!(refused(same), ErrorKind::Locked, "the second finds the first there");
    let options = CreateOptions::new(WriteOrigin::Metadata);
    places.0["full"].create("somebody's", &options).unwrap();
    assert_eq!(refused(vec![route("full", 0..=0)]), ErrorKind::AlreadyExists);
    assert_eq!(names(&places.0["full"]), ["somebody's"]);
    let others = Store::open(Env::simulated(77), &places.options()).unwrap();
    others.set_routes(vec![route("other", 0..=0)]).unwrap();
    assert_eq!(refused(vec![route("other", 0..=0)]), ErrorKind::MixedStore);

    let notes = b"where the treasure is buried: do not delete, and tell nobody of it, ever";
    places.0["notes"].create("PLACE", &options).unwrap().write_at(0, notes).unwrap();
    assert_eq!(refused(vec![route("notes", 0..=0)]), ErrorKind::AlreadyExists);
    assert_eq!(crate::faults::read(&places.0["notes"], "PLACE"), notes);

    // What a crash in the middle of a beginning leaves.
    places.0["torn"].create("PLACE", &options).unwrap().write_at(0, b"ISOP").unwrap();
    places.0["torn"].create_dir("tables").unwrap();
    store.set_routes(vec![route("torn", 0..=0), route("a", 1..=1)]).unwrap();
    assert_eq!(store.routes().len(), 2);
}

#[test]
fn a_place_is_used_by_one_handle_at_a_time() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["cold"]));
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("cold", 0..=6)]).unwrap();
    tables_of(&create(&store, "t"), &["a=1"], 2);
    let copy = Faults::new(&faults.files.deep_clone());

    let error = places.refused(&copy);

    assert!(error.kind() == ErrorKind::Locked && error.to_string().contains("\"cold\""), "{error}");
    drop(store);
    places.open(&copy).unwrap();
}

#[test]
fn a_checkpoint_brings_files_of_all_places_together() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["hot", "cold"]));
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("hot", 0..=0), places.with_blobs("cold")]).unwrap();
    let id = store.reserve_tree_id().unwrap();
    let mut options = TreeOptions::default();
    options.blobs_from_bytes = Some(100);
    let tree = store.create_tree(id, "t", &options, &[], seqno(1)).unwrap();
    put(&tree, "a", &"large ".repeat(50), 2);
    flush(&tree, 2);
    merge_to(&store, 3, 2);
    put(&tree, "b", "hot", 3);
    flush(&tree, 3);
    put(&tree, "c", "in memory", 4);
    assert_eq!((places.files("hot").len(), places.files("cold").len(), own_files(&faults).len()), (1, 1, 1));

    for target in [MemFs::new(), faults.files.clone()] {
        let to: Arc<dyn Fs> =
            Arc::new(isopach_engine::env::SubDir::create(Arc::new(target), "copy").unwrap());
        let cut = store.cut(seqno(4), std::slice::from_ref(&tree)).unwrap();
        store.checkpoint(cut, &to, &CheckpointOptions::default(), &[], &mut |_| Ok(())).unwrap();
        let copied = Store::open(faults.env().with_fs(to), &StoreOptions::default()).unwrap();
        assert!(copied.routes().is_empty());
        assert_eq!(shown(&copied.tree("t").unwrap(), 4), shown(&tree, 4));
    }
    assert_eq!(store.routes().len(), 2);
}

#[test]
fn files_in_places_that_nothing_names_are_told_of_and_removed() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["cold"]));
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("cold", 0..=6)]).unwrap();
    tables_of(&create(&store, "t"), &["a=1"], 2);
    let sound = crate::faults::read(&places.0["cold"], &places.files("cold")[0]);
    let plant = |name: &str| {
        let options = CreateOptions::new(WriteOrigin::FlushTable);
        places.0["cold"].create(name, &options).unwrap().write_at(0, &sound).unwrap();
    };
    plant("tables/000200.table");
    plant("stranger");

    let mut full = VerifyOptions::default();
    full.depth = VerifyDepth::Full;
    let report = store.verify(full, &mut |_, _| Ok(())).unwrap();
    let unnamed: Vec<_> = report.unnamed.iter().map(|file| (&*file.file, file.what)).collect();
    let expected =
        [("places/1/stranger", Unnamed::Foreign), ("places/1/tables/000200.table", Unnamed::Table)];
    assert_eq!(unnamed, expected);
    assert_eq!(store.remove_orphans().unwrap(), 1);
    store.files().run_deletions(u64::MAX);
    assert_eq!(places.files("cold").len(), 1);
    plant("tables/000999.table");
    plant("tables/999999.table");
    assert_eq!(store.remove_orphans().unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn what_is_written_to_all_places_is_counted() {
    let (faults, places) = (Faults::new(&MemFs::new()), Places::of(&["hot"]));
    let store = places.open(&faults).unwrap();
    store.set_routes(vec![places.route("hot", 0..=0)]).unwrap();
    let tree = create(&store, "t");
    put(&tree, "a", "1", 2);
    let written = || store.written_bytes().iter().find(|of| of.0 == WriteOrigin::FlushTable).unwrap().1;
    assert_eq!(written(), 0);

    flush(&tree, 2);

    assert_eq!(written(), tree.tables()[0].bytes);
    assert_eq!(tree.get(b"a", at(2)).unwrap().as_deref(), Some(&b"1"[..]));
}
