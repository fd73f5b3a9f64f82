//! Reading all files before anybody needs them: when it is asked for, in the background, by several threads, and on from
//! where it ended.

use crate::parity::{builder, change, protected, protected_files};
use isopach::{
    Builder, Db, Durability, ErrorKind, Event, EventListener, Parity, Progress, ScrubOptions, VerifyDepth,
    VerifyOptions, WriteOptions,
    env::{Fs, Job, MemFs, Spawn},
};
use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, Mutex, atomic::AtomicUsize, atomic::Ordering},
    thread,
    time::Duration,
};
use testkit::{
    Rng, TempDir,
    db::{SOON, env_of, files_in, tiny, wait_until},
};

const PARITY: Parity = Parity::Xor { data: 4 };
const KEYSPACES: u32 = 12;
const HOUR: Duration = Duration::from_secs(3600);

fn on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Many files: each keyspace has a table and a file of separated values.
fn database() -> MemFs {
    let fs = MemFs::new();
    let db = builder(&fs, None).open().unwrap();
    for number in 0..KEYSPACES {
        let keyspace = db.keyspace_with(&format!("k{number}"), protected(PARITY)).unwrap();
        for key in 0..60_u32 {
            keyspace.insert(key.to_be_bytes(), value(number, key)).unwrap();
        }
        db.flush().unwrap();
    }
    db.wait_idle(SOON).unwrap();
    db.close().unwrap();
    fs
}

/// A third of them long enough to be separated.
fn value(keyspace: u32, key: u32) -> Vec<u8> {
    let bytes = if key.is_multiple_of(3) { 400 } else { 100 };
    Rng::new(u64::from(keyspace << 16 | key)).bytes(bytes)
}

/// Every value is what was written.
fn check_values(db: &Db) {
    for number in 0..KEYSPACES {
        let keyspace = db.keyspace(&format!("k{number}")).unwrap();
        for key in 0..60_u32 {
            let found = keyspace.get(key.to_be_bytes()).unwrap();
            assert_eq!(found.as_deref(), Some(&value(number, key)[..]), "{key} of {number}");
        }
    }
}

/// One place of each file, which parity restores.
fn decay_all(fs: &MemFs) -> Vec<String> {
    let files = protected_files(fs, PARITY);
    files.iter().for_each(|(name, _)| change(fs, name, 100..101, |byte| byte ^ 1));
    files.into_iter().map(|(name, _)| name).collect()
}

/// Breaks off once so much was read.
fn until(bytes: u64) -> impl FnMut(&Progress) -> ControlFlow<()> {
    move |progress| if progress.done < bytes { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

#[test]
fn a_scrub_that_ended_early_goes_on_where_it_ended_whoever_opens_the_database() {
    let fs = database();
    let names = decay_all(&fs);
    assert!(names.len() > 20, "it takes several steps: {names:?}");
    let db = builder(&fs, None).auto_heal(false).open().unwrap();
    let everything = db.scrub(ScrubOptions::new().heal(false), on).unwrap().checked;
    assert_eq!(everything.files + everything.blobs, names.len() as u64);
    let all_files = db.stats().scrub.files;
    assert!(all_files > names.len() as u64, "the manifest too");

    let error = db.scrub(ScrubOptions::new(), until(everything.bytes / 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let stats = db.stats().scrub;
    let done = stats.files - all_files - 1; // But for the manifest.
    assert!((1..names.len() as u64 - 1).contains(&done), "{stats:?}");
    assert_eq!((stats.passes, stats.ended_us), (1, None), "another is under way");
    db.close().unwrap();

    let db = builder(&fs, None).auto_heal(false).open().unwrap();
    assert_eq!(db.stats().scrub.ended_us, None, "it is known");
    let rest = ScrubOptions::new().resume(true).heal(false);
    let report = db.scrub(rest, on).unwrap();
    assert_eq!(report.checked.files + report.checked.blobs, names.len() as u64 - done);
    let found: BTreeSet<&str> = report.checked.found.iter().map(|found| found.file.as_str()).collect();
    assert_eq!(found.len() as u64, names.len() as u64 - done, "each of them was read");
    assert!(db.stats().scrub.ended_us >= db.stats().scrub.began_us);
    let again = db.scrub(rest, on).unwrap();
    assert_eq!(again.checked.files, everything.files, "what has ended does not go on");
}

#[test]
fn what_is_written_during_a_pass_is_no_part_of_it() {
    let fs = database();
    let db = builder(&fs, None).open().unwrap();
    let keyspace = db.keyspace("k0").unwrap();
    let before = db.verify(VerifyOptions::new()).unwrap();
    let mut is_first = true;

    let report = db.scrub(ScrubOptions::new(), |_: &Progress| {
        if std::mem::take(&mut is_first) {
            keyspace.insert("new", [7; 50]).unwrap();
            db.flush().unwrap();
        }
        ControlFlow::Continue(())
    });

    assert_eq!(report.unwrap().checked.files, before.files);
    assert_eq!(db.verify(VerifyOptions::new()).unwrap().files, before.files + 1);
}

/// Findings of the background's scrub: file, and whether they are harmless.
#[derive(Clone, Default)]
struct Found(Arc<Mutex<Vec<(String, bool)>>>);

impl EventListener for Found {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::ScrubFound { found } = event {
            self.0.lock().unwrap().push((found.file.clone(), found.is_harmless));
        }
    }
}

#[test]
fn the_background_reads_every_file_in_its_time_and_heals_what_decayed() {
    let fs = database();
    let names = decay_all(&fs);
    let found = Found::default();
    let open = |found: Found| builder(&fs, None).listener(found).open().unwrap();
    let db = builder(&fs, None).listener(found.clone()).scrub_every(HOUR).open().unwrap();

    wait_until("all is read and healed", || db.stats().scrub.passes == 1 && db.stats().healing.pending == 0);
    db.wait_idle(SOON).unwrap();
    let stats = db.stats();
    assert_eq!(stats.healing.scheduled, names.len() as u64);
    // Of two files that are healed together, the second is gone when the scrub comes there.
    let named: BTreeSet<String> = found.0.lock().unwrap().iter().map(|(file, _)| file.clone()).collect();
    assert!(
        named.len() > KEYSPACES as usize / 2 && named.iter().all(|name| names.contains(name)),
        "{named:?}"
    );
    assert!(found.0.lock().unwrap().iter().all(|(_, is_harmless)| *is_harmless));
    check_values(&db);
    db.close().unwrap();

    // The next one is due in an hour, whoever opens it; unless somebody wants it earlier.
    let db = open(found.clone());
    let before = db.stats().scrub;
    assert!(before.began_us == stats.scrub.began_us && before.ended_us == stats.scrub.ended_us);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(db.stats().scrub, before);
    db.set_options(|options| options.scrub_every = Some(Duration::from_millis(1))).unwrap();
    wait_until("it is read again and again", || db.stats().scrub.passes > 2);
    db.set_options(|options| options.scrub_every = None).unwrap();
    db.wait_idle(SOON).unwrap();
    thread::sleep(Duration::from_millis(150));
    let ended = db.stats().scrub;
    thread::sleep(Duration::from_millis(300));
    assert_eq!(db.stats().scrub, ended, "and no more");
    assert!(db.verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap().found.is_empty());
}

/// Bytes of the log, from a record on, and of the manifest.
fn decay_log(fs: &MemFs, at: u64) -> String {
    let name = format!("wal/{}", files_in(fs, "wal").remove(0));
    change(fs, &name, at..at + 1, |byte| byte ^ 1);
    name
}

fn decay_manifest(fs: &MemFs) -> String {
    let name = files_in(fs, "").into_iter().rfind(|name| name.starts_with("MANIFEST")).unwrap();
    change(fs, &name, 100..101, |byte| byte ^ 1);
    name
}

/// An open database with operations that no table has, and what its log and its manifest are called.
fn open_with_log(fs: &MemFs, of: impl FnOnce(Builder) -> Builder) -> Db {
    let db = of(builder(fs, None)).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    for key in 0..100_u32 {
        keyspace.insert(key.to_be_bytes(), [7; 50]).unwrap();
    }
    db
}

fn check_log_values(db: &Db) {
    let keyspace = db.keyspace("k").unwrap();
    (0..100_u32).for_each(|key| assert!(keyspace.get(key.to_be_bytes()).unwrap().is_some(), "{key}"));
}

#[test]
fn a_log_and_a_manifest_that_decay_while_they_are_in_use_are_found_and_written_anew() {
    for (decays_log, at) in [(true, 2000), (true, 70), (true, 3), (false, 0)] {
        let fs = MemFs::new();
        let db = open_with_log(&fs, |builder| builder);
        let sound = db.verify(VerifyOptions::new()).unwrap();
        assert!(sound.found.is_empty() && sound.log_records >= 100, "{:?}", sound.found);
        let name = if decays_log { decay_log(&fs, at) } else { decay_manifest(&fs) };

        let found = db.verify(VerifyOptions::new()).unwrap().found;
        let told = db.scrub(ScrubOptions::new().heal(false), on).unwrap();
        assert_eq!((told.healed, told.unhealed, told.checked.found.len()), (0, 1, 1), "{told:?}");
        assert_eq!(told.checked.found[0].message, found[0].message);
        assert!(found[0].is_harmless && found[0].file == name, "{found:?}");
        let healed = db.scrub(ScrubOptions::new(), on).unwrap();
        assert_eq!((healed.healed, healed.unhealed), (1, 0), "{healed:?}");

        let sound = db.scrub(ScrubOptions::new(), on).unwrap();
        assert!(sound.checked.found.is_empty() && sound.healed == 0, "{sound:?}");
        wait_until("it is gone", || !fs.exists(&name).unwrap());
        check_log_values(&db);
        // As a crash leaves it.
        let crashed = fs.deep_clone();
        drop(db);
        check_log_values(&builder(&crashed, None).open().unwrap());
    }
}

/// Mapped and written segments, their ends, and those that are recycled.
#[test]
fn nothing_is_wrong_with_a_log_that_is_written_meanwhile() {
    let dir = TempDir::new();
    let db = tiny(Db::builder(dir.path())).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let stops = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..3_u32)
        .map(|writer| {
            let (keyspace, stops) = (keyspace.clone(), Arc::clone(&stops));
            thread::spawn(move || {
                let durability = if writer == 0 { Durability::Sync } else { Durability::Buffered };
                let mut rng = Rng::new(writer.into());
                while stops.load(Ordering::Relaxed) == 0 {
                    let (key, bytes) = (rng.below(1000) as u32, rng.below(3000));
                    let options = WriteOptions::new().durability(durability);
                    keyspace.insert_with(key.to_be_bytes(), rng.bytes(bytes), options).unwrap();
                }
            })
        })
        .collect();
    let (mut records, mut checks) = (BTreeSet::new(), 0);
    wait_until("it is checked while it grows and goes", || {
        let checked = db.verify(VerifyOptions::new().past_caches()).unwrap();
        assert!(checked.found.is_empty(), "{:?}", checked.found);
        records.insert(checked.log_records);
        checks += 1;
        checks > 40 && records.len() > 5
    });
    stops.store(1, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn the_background_writes_a_damaged_log_and_manifest_anew() {
    let fs = MemFs::new();
    let found = Found::default();
    let db = open_with_log(&fs, |builder| builder.listener(found.clone()));
    let names = BTreeSet::from([decay_log(&fs, 2000), decay_manifest(&fs)]);

    db.set_options(|options| options.auto_heal = false).unwrap();
    db.set_options(|options| options.scrub_every = Some(Duration::from_millis(1))).unwrap();
    wait_until("they are found", || db.stats().scrub.passes > 2);
    let are_there = |is_there| names.iter().all(|name| fs.exists(name).unwrap() == is_there);
    let named: BTreeSet<_> = found.0.lock().unwrap().iter().map(|(file, _)| file.clone()).collect();
    assert_eq!(named, names);
    assert!(are_there(true), "and stay as they are");
    db.set_options(|options| options.auto_heal = true).unwrap();

    wait_until("they are written anew", || are_there(false));
    check_log_values(&db);
    assert!(db.verify(VerifyOptions::new()).unwrap().found.is_empty());
    let crashed = fs.deep_clone();
    drop(db);
    check_log_values(&builder(&crashed, None).open().unwrap());
}

/// At its pace one opening reads little; many of them read everything.
#[test]
fn the_background_keeps_to_its_pace_and_goes_on_in_the_next_opening() {
    let fs = database();
    let files = protected_files(&fs, PARITY).len() as u64;
    let mut read = 0;
    let mut openings = 0;
    let slow = || builder(&fs, None).scrub_every(HOUR).scrub_bytes_per_s(1);

    loop {
        let db = slow().open().unwrap();
        wait_until("something is read", || db.stats().scrub.files > 0 || db.stats().scrub.passes > 0);
        thread::sleep(Duration::from_millis(20));
        let stats = db.stats().scrub;
        assert!(stats.files <= 1, "a byte a second: {stats:?}");
        assert!(openings <= 2 * files, "it begins anew every time");
        read += stats.files;
        openings += 1;
        db.close().unwrap();
        if stats.ended_us.is_some() {
            break;
        }
    }

    assert_eq!(read, files + 2, "each once, the manifest and the log too");
    assert!(openings >= files);
}

#[test]
fn what_the_background_finds_lost_is_told_and_known() {
    let fs = database();
    let files = protected_files(&fs, PARITY);
    let of = |directory: &str| files.iter().find(|(name, _)| name.starts_with(directory)).unwrap();
    let lost = [of("tables/"), of("blobs/")];
    for (name, content) in lost {
        change(&fs, name, 0..(*content).min(5 * 4096), |byte| !byte);
    }
    let found = Found::default();
    let db = builder(&fs, None).listener(found.clone()).scrub_every(HOUR).open().unwrap();

    wait_until("all is read", || db.stats().scrub.passes == 1);

    let found = found.0.lock().unwrap().clone();
    let damaged = db.health().damaged_tables;
    for (name, _) in lost {
        assert!(found.iter().any(|(file, is_harmless)| file == name && !is_harmless), "{found:?}");
        assert!(damaged.iter().any(|table| &table.file == name), "{name}: {damaged:?}");
    }
}

/// Gives threads, however few cores there are, and counts them.
struct Threads(AtomicUsize);

impl Spawn for Threads {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        self.0.fetch_add(1, Ordering::Relaxed);
        thread::spawn(job);
        Ok(())
    }

    fn parallelism(&self) -> usize {
        8
    }
}

fn on_threads(fs: &MemFs, threads: &Arc<Threads>) -> Builder {
    let env = env_of(fs.clone()).with_spawn(Arc::clone(threads) as Arc<dyn Spawn>);
    tiny(Db::builder("db").env(env)).auto_heal(false)
}

#[test]
fn several_threads_find_what_one_finds() {
    let fs = database();
    decay_all(&fs);
    let (name, content) = protected_files(&fs, PARITY).remove(0);
    change(&fs, &name, 0..content.min(5 * 4096), |byte| !byte);
    let threads = Arc::new(Threads(AtomicUsize::new(0)));
    let full = VerifyOptions::new().depth(VerifyDepth::Full);
    let one = on_threads(&fs, &threads).verify(full).unwrap();
    assert_eq!(threads.0.swap(0, Ordering::Relaxed), 0);
    assert!(one.found.len() > 20 && one.lost().count() > 0);

    let four = on_threads(&fs, &threads).verify(full.threads(4)).unwrap();
    assert_eq!(threads.0.swap(0, Ordering::Relaxed), 3, "this one beside them");
    assert_eq!(format!("{four:?}"), format!("{one:?}"), "in the same order, too");

    let db = on_threads(&fs, &threads).open().unwrap();
    let depth = ScrubOptions::new().heal(false);
    let mut alone = db.scrub(depth, on).unwrap();
    threads.0.store(0, Ordering::Relaxed);
    let together = db.scrub(depth.threads(3), on).unwrap();
    assert!(threads.0.load(Ordering::Relaxed) >= 2);
    alone.checked.bytes = together.checked.bytes; // In between it was noted that the first had ended.
    assert_eq!(format!("{together:?}"), format!("{alone:?}"));
}

#[test]
fn a_check_keeps_to_its_pace_tells_how_far_it_is_and_ends_when_it_is_told_to() {
    let fs = database();
    let threads = Arc::new(Threads(AtomicUsize::new(0)));
    for count in [1, 3] {
        let db = on_threads(&fs, &threads).open().unwrap();
        let options = VerifyOptions::new().threads(count);
        let mut steps = Vec::new();
        let report = db.verify_with(options, |progress| {
            steps.push((progress.phase, progress.done, progress.total));
            ControlFlow::Continue(())
        });
        let bytes = report.unwrap().bytes;
        assert!(!steps.is_empty() && steps.is_sorted(), "{steps:?}");
        assert!(
            steps.iter().all(|&(phase, done, total)| phase == "verify" && done <= total && total == bytes)
        );
        assert_eq!(db.verify_with(options, until(bytes / 2)).unwrap_err().kind(), ErrorKind::Cancelled);

        let start = std::time::Instant::now();
        db.verify(options.bytes_per_s(bytes * 10)).unwrap();
        assert!(start.elapsed().as_millis() >= 95, "a tenth of a second at least");
        db.close().unwrap();
        let ended = on_threads(&fs, &threads).progress(until(bytes / 2)).verify(options);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
