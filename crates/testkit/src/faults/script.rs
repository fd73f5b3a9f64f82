//! The script: everything that a database does, one step after the other, with its background work brought to
//! an end behind each, so that calls come in the same order in every run.

use super::book::{Book, Change};
use crate::{
    Contents, Entries,
    db::{contents, env_of, separating, tiny, tiny_tables},
};
use isopach::{
    CheckpointOptions, Db, Durability, Error, ErrorKind, Event, EventListener, Keyspace, KeyspaceAt,
    Readable, Result, VerifyOptions, WriteOptions, WriteState,
    env::{Call, CrashFs, Fault, FaultFs, Fired, Fs, Rules, SubDir},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Anything that takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A database whose calls fail, and what it said so far.
pub(super) struct Run {
    /// The medium below.
    pub(super) medium: CrashFs,
    pub(super) fs: FaultFs,
    /// The directory of the database in it.
    place: SubDir,
    pub(super) db: Option<Db>,
    pub(super) book: Book,
    /// Number of the first call of each step.
    marks: Vec<(u64, &'static str)>,
    /// Errors that calls returned and listeners heard, with the step.
    pub(super) errors: Vec<(&'static str, Error)>,
    pub(super) heard: Heard,
    /// The present database said that it is poisoned; up to where it was durable then.
    pub(super) poisoned_at: Option<u64>,
    /// Keyspaces in a snapshot, and what was seen there.
    held: Vec<(KeyspaceAt, Entries)>,
    /// What a checkpoint that returned was made of.
    pub(super) copied: Option<Book>,
    /// Rules that were broken, in words.
    pub(super) broken: Vec<String>,
}

/// What listeners heard.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, heard: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(heard.into());
    }

    /// Whether the last that was heard of space is that there is none.
    pub(super) fn lacks_space(&self) -> bool {
        let of_space = |heard: &&String| heard.starts_with("out of space") || *heard == "space again";
        self.all().iter().rfind(of_space).is_some_and(|heard| heard.starts_with("out of space"))
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.all().iter().filter(|heard| heard.starts_with(name)).count()
    }
}

impl EventListener for Heard {
    fn on_event(&self, event: &Event<'_>) {
        let heard: String = match event {
            Event::Poisoned { error } => format!("poisoned: {error}"),
            Event::OutOfSpaceBegin { error } => format!("out of space: {error}"),
            Event::OutOfSpaceEnd => "space again".into(),
            Event::TableDamaged { table } => format!("damaged: {}", table.message),
            Event::BackgroundError { error } => format!("background: {error}"),
            Event::ListenerPanicked => "listener panicked".into(),
            _ => return,
        };
        self.add(&heard);
    }
}

/// A database that was killed: tables on several levels and in level 0, and a log to replay.
pub(super) fn killed_database() -> (CrashFs, Contents) {
    let medium = CrashFs::new();
    medium.create_dir("db").expect("an empty place");
    let db = open(&place(&medium, "db"), Heard::default()).expect("nothing fails");
    let make = |name| db.keyspace_with(name, separating(tiny_tables())).expect("nothing fails");
    let (a, b) = (make("a"), make("b"));
    make(Book::VOLATILE);
    for n in 0..60_u32 {
        a.insert(key(n), [n as u8; 700]).expect("nothing fails");
    }
    a.compact_range(..).expect("nothing fails");
    for n in (0..60_u32).step_by(7) {
        a.insert(key(n), [1; 100]).expect("nothing fails");
        b.insert(key(n), [2; 50]).expect("nothing fails");
    }
    db.flush().expect("nothing fails");
    for n in 0..6_u32 {
        a.insert(key(n * 9), [3; 200]).expect("nothing fails");
        b.remove(key(n * 14)).expect("nothing fails");
    }
    db.wait_idle(PATIENCE).expect("nothing fails");
    let found = contents(&db);
    let killed = medium.kill();
    killed.settle();
    (killed, found)
}

/// The directory `name`, which is there.
pub(super) fn place(fs: &(impl Fs + Clone), name: &str) -> SubDir {
    SubDir::open(Arc::new(fs.clone()), name).expect("it is there, and nothing fails")
}

/// Opens a database with one worker: background work is one job after the other.
pub(super) fn open(files: &SubDir, heard: Heard) -> Result<Db> {
    tiny(Db::builder("db").env(env_of(files.clone()))).threads(1).listener(heard).open()
}

/// Everything in a database opened for reading.
pub(super) fn read_only(files: &SubDir) -> Result<Contents> {
    let db = tiny(Db::builder("db").env(env_of(files.clone()))).open_read_only()?;
    let mut found = Contents::new();
    for (name, _) in db.keyspaces() {
        found.insert(name.clone(), all_of(&db.keyspace(&name)?)?);
    }
    Ok(found)
}

impl Run {
    pub(super) fn new(medium: CrashFs, fs: FaultFs, book: Book) -> Run {
        Run {
            medium,
            place: place(&fs, "db"),
            fs,
            db: None,
            book,
            marks: Vec::new(),
            errors: Vec::new(),
            heard: Heard::default(),
            poisoned_at: None,
            held: Vec::new(),
            copied: None,
            broken: Vec::new(),
        }
    }

    /// The step during which a call was made.
    pub(super) fn step_of(&self, call: u64) -> &'static str {
        let at = self.marks.partition_point(|(first, _)| *first <= call);
        at.checked_sub(1).map_or("before", |at| self.marks[at].1)
    }

    /// The whole script.
    pub(super) fn all(&mut self) {
        use Durability::{Buffered, Sync};
        self.step("open", Run::open);
        self.step("read", Run::read_everything);
        self.step("put", |run| run.put("a", 1, 100, Buffered));
        self.step("put, sync", |run| run.put("b", 2, 100, Sync));
        self.step("batch", |run| run.batch(Buffered));
        self.step("batch, sync", |run| run.batch(Sync));
        self.step("remove", |run| run.remove("a", 3));
        self.step("put, volatile", |run| run.put(Book::VOLATILE, 4, 60, Durability::Volatile));
        self.step("snapshot", Run::hold);
        self.step("flush", |run| run.try_db("flush", Db::flush));
        self.step("create keyspace", |run| run.create("c"));
        self.step("fill and rotate", |run| run.fill(10, 14));
        self.step("read", Run::read_everything);
        self.step("compact", |run| run.compact("a"));
        self.step("drop keyspace", |run| run.drop_keyspace("b"));
        self.step("clear", |run| run.clear("c"));
        self.step("put", |run| run.put("c", 7, 100, Buffered));
        self.step("load", Run::load);
        self.step("clear", |run| run.clear("a"));
        self.step("load", Run::load);
        self.step("sync", Run::sync);
        self.step("checkpoint", Run::checkpoint);
        self.step("snapshot", Run::release);
        self.step("verify", Run::verify);
        self.step("create keyspace", |run| run.create("b"));
        self.step("fill and rotate", |run| run.fill(20, 30));
        self.step("put, sync", |run| run.put("b", 5, 100, Sync));
        self.step("close", Run::close);
        self.step("open for reading", Run::read_only);
        self.step("reopen", Run::open);
        self.step("put, sync", |run| run.put("a", 6, 100, Sync));
        self.step("read", Run::read_everything);
    }

    fn step(&mut self, name: &'static str, act: impl FnOnce(&mut Run)) {
        self.marks.push((self.fs.calls(), name));
        if self.db.is_none() && !name.contains("open") {
            self.open();
        }
        act(self);
        self.settle();
        self.watch_poison();
    }

    /// Waits for background work to end, or to fail.
    fn settle(&mut self) {
        let start = Instant::now();
        while let Some(db) = &self.db
            && let Err(error) = db.wait_idle(Duration::from_millis(2))
            && db.health().background_error.is_none()
        {
            assert!(start.elapsed() < PATIENCE, "background work hangs: {error}");
        }
    }

    /// From its poisoning on a database is not durable any further.
    fn watch_poison(&mut self) {
        let Some(db) = &self.db else { return };
        let durable = db.durable_seqno().raw();
        match self.poisoned_at {
            None if is_poisoned(db) => self.poisoned_at = Some(durable),
            Some(then) if durable != then || !is_poisoned(db) => {
                self.broken
                    .push(format!("poisoned at durable {then}, and now it is {durable}, {:?}", db.health()));
            }
            _ => {}
        }
    }

    fn failed(&mut self, step: &'static str, error: Error) {
        self.errors.push((step, error));
    }

    fn try_db(&mut self, step: &'static str, act: impl FnOnce(&Db) -> Result<()>) {
        if let Some(Err(error)) = self.db.as_ref().map(act) {
            self.failed(step, error);
        }
    }

    // ----- opening and closing -----

    pub(super) fn open(&mut self) {
        self.end_lies_of_directories();
        self.poisoned_at = None;
        if self.heard.lacks_space() {
            // Told by a database that has ended.
            self.heard.add("space again");
        }
        match open(&self.place, self.heard.clone()) {
            Ok(db) => self.db = Some(db),
            Err(error) => self.failed("open", error),
        }
    }

    /// A directory whose sync failed and then lied tells the truth to the next opening: one that lied for
    /// good would break the contract of the device. Files go on lying: recovery trusts none of an earlier
    /// run.
    fn end_lies_of_directories(&mut self) {
        let lies = |fired: &Fired| fired.call == Call::SyncDir && fired.fault == Fault::FailThenLie;
        if self.fs.fired().iter().any(lies) {
            let Rules(rules) = self.fs.rules();
            self.fs.disarm();
            self.fs.arm_all(Rules(
                rules.into_iter().filter(|rule| !rule.to_string().ends_with("fail_then_lie")).collect(),
            ));
        }
    }

    pub(super) fn close(&mut self) {
        self.held.clear();
        if let Some(Err(error)) = self.db.take().map(Db::close) {
            self.failed("close", error);
        }
        self.poisoned_at = None;
    }

    fn read_only(&mut self) {
        // What is in no log and was not flushed for want of a clean close is gone; the book does not mind.
        match read_only(&self.place) {
            Ok(found) => self.check("opened for reading", self.book.check_killed(&found)),
            Err(error) => self.failed("open for reading", error),
        }
    }

    fn check(&mut self, what: &str, checked: std::result::Result<(), String>) {
        if let Err(why) = checked {
            self.broken.push(format!("{what}: {why}"));
        }
    }

    // ----- writing -----

    fn keyspace(&mut self, name: &str) -> Option<Keyspace> {
        match self.db.as_ref()?.get_keyspace(name) {
            Ok(found) => found,
            Err(error) => {
                self.failed("get keyspace", error);
                None
            }
        }
    }

    /// Notes in the book what became of a commit.
    fn commit(
        &mut self,
        step: &'static str,
        changes: Vec<Change>,
        durability: Durability,
        act: impl FnOnce(&Db) -> Result<()>,
    ) {
        let Some(db) = &self.db else { return };
        let was_poisoned = is_poisoned(db);
        let is_of_keyspaces = changes
            .iter()
            .any(|change| matches!(change, Change::Create(_) | Change::Clear(_) | Change::Drop(_)));
        match act(db) {
            Ok(()) if was_poisoned => self.broken.push(format!("{step}: acknowledged though poisoned")),
            Ok(()) if durability == Durability::Volatile => {}
            Ok(()) => self.book.acknowledged(changes, durability == Durability::Sync),
            Err(error) => {
                match error.kind() {
                    _ if durability == Durability::Volatile => {}
                    ErrorKind::Poisoned if was_poisoned => {}
                    kind if was_poisoned => {
                        self.broken.push(format!("{step}: {kind:?} though poisoned: {error}"));
                    }
                    ErrorKind::Poisoned => self.book.in_doubt(changes),
                    _ if is_of_keyspaces => self.book.in_doubt(changes),
                    _ => self.book.failed(changes),
                }
                self.failed(step, error);
            }
        }
    }

    pub(super) fn put(&mut self, name: &'static str, n: u32, bytes: usize, durability: Durability) {
        let Some(keyspace) = self.keyspace(name) else { return };
        let value = vec![n as u8; bytes];
        if durability == Durability::Volatile {
            self.book.wrote_volatile(&key(n), &value);
        }
        let change = Change::Put(name.into(), key(n), value.clone());
        let options = WriteOptions::new().durability(durability);
        let act = |_: &Db| keyspace.insert_with(key(n), value, options).map(drop);
        self.commit("put", vec![change], durability, act);
    }

    fn remove(&mut self, name: &'static str, n: u32) {
        let Some(keyspace) = self.keyspace(name) else { return };
        let change = Change::Remove(name.into(), key(n));
        self.commit("remove", vec![change], Durability::Buffered, |_| keyspace.remove(key(n)).map(drop));
    }

    fn clear(&mut self, name: &'static str) {
        let Some(keyspace) = self.keyspace(name) else { return };
        let changes = vec![Change::Clear(name.into())];
        self.commit("clear", changes, Durability::Sync, |_| keyspace.clear().map(drop));
    }

    fn batch(&mut self, durability: Durability) {
        let (Some(a), Some(b)) = (self.keyspace("a"), self.keyspace("b")) else { return };
        let changes = vec![
            Change::Put("a".into(), key(100), b"batch".to_vec()),
            Change::Remove("a".into(), key(101)),
            Change::Put("b".into(), key(102), b"batch".to_vec()),
        ];
        let act = |db: &Db| {
            let mut batch = db.batch();
            batch.insert(&a, key(100), "batch").remove(&a, key(101)).insert(&b, key(102), "batch");
            db.write_with(batch, WriteOptions::new().durability(durability)).map(drop)
        };
        self.commit("batch", changes, durability, act);
    }

    /// A bulk load of two keyspaces, one of which has something in its range.
    fn load(&mut self) {
        let (Some(a), Some(c)) = (self.keyspace("a"), self.keyspace("c")) else { return };
        let changes = vec![
            Change::Remove("a".into(), key(3)),
            Change::Put("a".into(), key(11), b"load".to_vec()),
            Change::Put("c".into(), key(7), b"load".to_vec()),
        ];
        let act = |db: &Db| {
            let (mut of_a, mut of_c) = (a.ingest()?, c.ingest_unsorted()?);
            of_a.remove(key(3))?;
            of_a.insert(key(11), "load")?;
            of_c.insert(key(7), "load")?;
            db.finish_ingests([of_a, of_c]).map(drop)
        };
        self.commit("load", changes, Durability::Sync, act);
    }

    fn fill(&mut self, from: u32, to: u32) {
        for n in from..to {
            self.put("a", n, 1900, Durability::Buffered);
        }
    }

    pub(super) fn create(&mut self, name: &'static str) {
        let changes = vec![Change::Create(name.into())];
        if !matches!(self.db.as_ref().map(|db| db.get_keyspace(name)), Some(Ok(None))) {
            return;
        }
        let act = |db: &Db| db.keyspace_with(name, separating(tiny_tables())).map(drop);
        self.commit("create keyspace", changes, Durability::Sync, act);
    }

    pub(super) fn drop_keyspace(&mut self, name: &'static str) {
        let is_there = matches!(self.db.as_ref().map(|db| db.get_keyspace(name)), Some(Ok(Some(_))));
        if is_there {
            let changes = vec![Change::Drop(name.into())];
            self.commit("drop keyspace", changes, Durability::Sync, |db| db.drop_keyspace(name).map(drop));
        }
    }

    fn sync(&mut self) {
        let was_poisoned = self.db.as_ref().is_some_and(is_poisoned);
        match self.db.as_ref().map(Db::sync) {
            Some(Ok(_)) if was_poisoned => self.broken.push("synced though poisoned".into()),
            Some(Ok(_)) => self.book.all_is_durable(),
            Some(Err(error)) => self.failed("sync", error),
            None => {}
        }
    }

    // ----- reading -----

    /// What is there is right, or reading fails and says so.
    pub(super) fn read_everything(&mut self) {
        let Some(db) = &self.db else { return };
        let mut found = Contents::new();
        for (name, _) in db.keyspaces() {
            let entries =
                db.get_keyspace(&name).and_then(|keyspace| keyspace.map(|it| all_of(&it)).transpose());
            match entries {
                Ok(Some(entries)) => drop(found.insert(name, entries)),
                Ok(None) => {}
                Err(error) => return self.failed("read", error),
            }
        }
        self.check("read", self.book.check_live(&found));
        let Some(a) = self.keyspace("a") else { return };
        for n in [0, 7, 59, 61] {
            match a.get(key(n)) {
                Ok(value) => {
                    let scanned = found.get("a").and_then(|entries| entries.get(&key(n)));
                    if value.as_deref() != scanned.map(|value| &value[..]) {
                        self.broken.push(format!("get and scan differ at {n}"));
                    }
                }
                Err(error) => self.failed("get", error),
            }
        }
    }

    fn hold(&mut self) {
        let Some(snapshot) = self.db.as_ref().map(Db::snapshot) else { return };
        for name in ["a", "b"] {
            let Some(at) = self.keyspace(name).map(|keyspace| keyspace.at(&snapshot)) else { continue };
            match all_of(&at) {
                Ok(entries) => self.held.push((at, entries)),
                Err(error) => self.failed("snapshot", error),
            }
        }
    }

    fn release(&mut self) {
        for (at, before) in std::mem::take(&mut self.held) {
            match all_of(&at) {
                Ok(found) if found == before => {}
                Ok(_) => self.broken.push(format!("{} has changed in a snapshot", at.name())),
                Err(error) => self.failed("snapshot", error),
            }
        }
    }

    // ----- maintenance -----

    fn compact(&mut self, name: &str) {
        if let Some(Err(error)) = self.keyspace(name).map(|keyspace| keyspace.compact_range(..)) {
            self.failed("compact", error);
        }
    }

    fn checkpoint(&mut self) {
        let Some(db) = &self.db else { return };
        match db.checkpoint_to(Arc::new(self.fs.clone()), "copy", CheckpointOptions::default()) {
            Ok(_) => self.copied = Some(self.book.clone()),
            Err(error) => self.failed("checkpoint", error),
        }
    }

    fn verify(&mut self) {
        match self.db.as_ref().map(|db| db.verify(VerifyOptions::new())) {
            Some(Ok(report)) if !report.found.is_empty() && self.fs.fired().is_empty() => {
                self.broken.push(format!("verify found {:?}", report.found));
            }
            Some(Err(error)) => self.failed("verify", error),
            _ => {}
        }
    }
}

pub(super) fn is_poisoned(db: &Db) -> bool {
    matches!(db.health().writes, WriteState::Poisoned(_))
}

pub(super) fn key(n: u32) -> Vec<u8> {
    format!("key{n:04}").into_bytes()
}

/// Entries, or the first error.
pub(super) fn all_of(keyspace: &impl Readable) -> Result<Entries> {
    keyspace.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}
