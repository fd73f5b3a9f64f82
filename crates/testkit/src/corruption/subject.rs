//! The databases that are damaged: small, with every kind of file in them, and what is known of what they
//! hold.

use super::{
    image::Image,
    layout::{Record, records},
};
use crate::{Contents, Op, Oracle, Rng, SpaceId, db::SOON};
use isopach::merge::Append;
use isopach::{
    Builder, Compression, Db, DelimitedPrefix, FilterPolicy, KeyspaceOptions, VerifyDepth, VerifyOptions,
    engine::{
        codec::LogPosition,
        store::{Store, StoreOptions},
    },
    env::{Env, Fs, MemFs, SeededEntropy, SubDir, SystemClock},
};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// Its tables are compressed and have filters.
const PACKED: &str = "packed";
/// Its tables are neither.
const PLAIN: &str = "plain";
/// Its tables are compressed against a dictionary, where there are any.
const TRAINED: &str = "trained";
/// Nothing was ever written to it.
const EMPTY: &str = "empty";
/// Dropped again.
const GONE: &str = "gone";

/// A database that is going to be damaged.
#[derive(Clone)]
pub struct Subject {
    /// Which one it is, in reports.
    pub name: &'static str,
    /// Its files.
    pub image: Image,
    /// Files of other times and of other databases, with what they are: none of them may pass for a file of
    /// this one.
    pub strangers: Vec<(&'static str, Image)>,
    /// What was committed.
    pub(super) oracle: Arc<Oracle>,
    /// Seqno at which each commit ended; that of commit 0 is 0.
    pub(super) ends: Arc<Vec<u64>>,
    /// The last commit that it holds.
    pub(super) last: usize,
    /// Keyspaces with keys that have no value in them: those never had one, or had one once.
    pub(super) absent: Vec<(String, Vec<u8>)>,
    pub(super) log: Log,
}

/// What the log of a subject says, in order.
#[derive(Clone, Default)]
pub(super) struct Log {
    pub(super) records: Vec<LogRecord>,
    /// How far the manifest says that it is durable.
    pub(super) noted: LogPosition,
}

/// A record of a log.
#[derive(Clone)]
pub(super) struct LogRecord {
    pub(super) file: String,
    pub(super) record: Record,
    pub(super) position: LogPosition,
    /// The last operation up to and with it.
    pub(super) last_seqno: u64,
}

impl Subject {
    /// What every answer must be as long as nothing of the log may be lost.
    pub(super) fn contents(&self) -> Contents {
        self.oracle.contents(self.last)
    }

    /// The commit that ended at or before a seqno.
    pub(super) fn commit_at(&self, seqno: u64) -> usize {
        self.ends.partition_point(|&end| end <= seqno) - 1
    }
}

/// A builder that makes everything small, and does background work one thing after the other.
pub(super) fn builder(fs: impl Fs, seed: u64) -> Builder {
    let env = Env::new(Arc::new(fs), Arc::new(SystemClock::new()), Arc::new(SeededEntropy::new(seed)));
    crate::db::tiny(Db::builder("db").env(env)).threads(1)
}

/// The databases of a seed: one as a crash left it, one that was closed, a checkpoint, and a checkpoint that
/// went on by itself.
pub fn subjects(seed: u64) -> Vec<Subject> {
    let ours = History::run(seed);
    let other = History::run(seed ^ 0x5EED);
    let [first, second, third] = ours.earlier.clone();
    let (branch, sibling) = (ours.branch(seed ^ 0xB1A), ours.branch(seed ^ 0x51B));
    let with = |mut own: Vec<(&'static str, Image)>, theirs: &Image| {
        own.extend([("another database", theirs.clone()), ("a sibling", sibling.crashed.clone())]);
        own
    };
    let moment = ("a moment ago", third.clone());
    let tables = [("its first tables", first), ("its second tables", second), moment.clone()];
    let to_close = vec![moment.clone(), ("before closing", ours.crashed.clone())];
    let of_copy = vec![moment, ("its source", ours.crashed.clone())];
    let of_branch = vec![("its source", ours.closed.clone()), ("before it was opened", ours.copy.clone())];
    vec![
        ours.subject("crashed", ours.crashed.clone(), with(tables.into(), &other.crashed)),
        ours.subject("closed", ours.closed.clone(), with(to_close, &other.closed)),
        ours.subject("copy", ours.copy.clone(), with(of_copy, &other.copy)),
        branch.subject("branch", branch.crashed.clone(), with(of_branch, &other.crashed)),
    ]
}

/// A database that lived, with the images that were taken of it.
struct History {
    oracle: Arc<Oracle>,
    ends: Arc<Vec<u64>>,
    earlier: [Image; 3],
    crashed: Image,
    closed: Image,
    copy: Image,
}

impl History {
    fn run(seed: u64) -> History {
        let fs = MemFs::new();
        let mut life = Life::begin(&fs, seed);
        let first = life.first_tables(&fs);
        let second = life.second_tables(&fs);
        let third = life.tail(&fs);
        let crashed = life.image(&fs);
        let copy = life.checkpoint();
        life.end(&fs, [first, second, third], crashed, copy)
    }

    /// What becomes of the checkpoint when it is opened and written to. Of two branches files have the same
    /// names.
    fn branch(&self, seed: u64) -> History {
        let fs = self.copy.to_fs();
        let mut life = Life::resume(&fs, seed, self);
        let third = life.tail(&fs);
        let crashed = life.image(&fs);
        let copy = life.checkpoint();
        life.end(&fs, [self.copy.clone(), self.copy.clone(), third], crashed, copy)
    }

    fn subject(&self, name: &'static str, image: Image, strangers: Vec<(&'static str, Image)>) -> Subject {
        let last = self.oracle.last();
        let contents = self.oracle.contents(last);
        let mut absent = Vec::new();
        for (space, entries) in &contents {
            let probes = (0..KEYS).map(key).chain([Vec::new(), b"key/0005x".to_vec(), vec![0xFF; 3]]);
            absent.extend(probes.filter(|key| !entries.contains_key(key)).map(|key| (space.clone(), key)));
        }
        let log = read_log(&image);
        Subject {
            name,
            image,
            strangers,
            oracle: Arc::clone(&self.oracle),
            ends: Arc::clone(&self.ends),
            last,
            absent,
            log,
        }
    }
}

/// Keys that are used.
const KEYS: usize = 140;

fn key(n: usize) -> Vec<u8> {
    format!("key/{n:04}").into_bytes()
}

/// A database that is being written, and the oracle beside it.
struct Life {
    db: Db,
    oracle: Oracle,
    ends: Vec<u64>,
    spaces: BTreeMap<&'static str, SpaceId>,
    rng: Rng,
}

impl Life {
    fn begin(fs: &MemFs, seed: u64) -> Life {
        let db = builder(fs.clone(), seed).open().expect("an empty directory opens");
        let rng = Rng::new(seed);
        let mut life = Life { db, oracle: Oracle::new(), ends: vec![0], spaces: BTreeMap::new(), rng };
        let options = crate::db::tiny_tables();
        let packed = options.clone().compression(Compression::Lz4).filters(FilterPolicy::BitsPerKey(10.0));
        life.create(PACKED, packed.prefix_extractor(&DelimitedPrefix::new(b'/')));
        let plain = options.compression(Compression::None).filters(FilterPolicy::None);
        let plain = plain.merge_operator(&Append::with_separator(b','));
        life.create(PLAIN, plain.blobs_from_bytes(140).blob_garbage_percent(10));
        life.create(TRAINED, crate::db::trained_tables());
        life.create(GONE, KeyspaceOptions::new());
        life.create(EMPTY, KeyspaceOptions::new());
        life
    }

    fn resume(fs: &MemFs, seed: u64, from: &History) -> Life {
        let db = builder(fs.clone(), seed).open().expect("a copy opens");
        let oracle = Oracle::clone(&from.oracle);
        let found = |name| (name, oracle.find(name).expect("it is there"));
        let spaces = [PACKED, PLAIN, TRAINED, EMPTY].map(found).into();
        Life { db, oracle, ends: from.ends.to_vec(), spaces, rng: Rng::new(seed) }
    }

    fn end(self, fs: &MemFs, earlier: [Image; 3], crashed: Image, copy: Image) -> History {
        self.db.close().expect("memory takes it");
        let (oracle, ends) = (Arc::new(self.oracle), Arc::new(self.ends));
        History { oracle, ends, earlier, crashed, closed: Image::of(fs), copy }
    }

    /// Tables of the last level: several blocks, and a value that is longer than one.
    fn first_tables(&mut self, fs: &MemFs) -> Image {
        for n in 0..KEYS - 20 {
            let value = [format!("packed {n} ").repeat(8).as_bytes(), &self.rng.bytes(12)].concat();
            self.put(PACKED, n, value);
        }
        let long = [vec![b'l'; 6000], self.rng.bytes(3000)].concat();
        self.put(PACKED, 77, long);
        for n in (0..KEYS).step_by(3) {
            let value = self.rng.bytes(if n % 2 == 0 { 150 } else { 130 }); // Half of them are separated.
            self.put(PLAIN, n, value);
        }
        for n in 0..KEYS {
            self.put(TRAINED, n, b"to be merged with what comes".to_vec());
        }
        self.settle();
        for n in 0..KEYS {
            let value = crate::db::similar_value(&mut self.rng);
            self.put(TRAINED, n, value);
        }
        self.put(GONE, 1, b"gone".to_vec());
        self.settle();
        for name in [PACKED, PLAIN, TRAINED] {
            let keyspace = self.db.keyspace(name).expect("it is there");
            keyspace.compact_range(..).expect("memory takes it");
        }
        self.put(PLAIN, 1, b"between".to_vec());
        self.db.sync().expect("memory syncs");
        self.image(fs)
    }

    /// Tables of level 0 with newer values and deletes over them.
    fn second_tables(&mut self, fs: &MemFs) -> Image {
        for n in (0..KEYS).step_by(4) {
            self.put(PACKED, n, format!("newer {n}").into_bytes());
        }
        for n in (0..KEYS).step_by(7) {
            self.remove(PACKED, n);
            self.remove(PLAIN, n);
        }
        self.remove_range(PLAIN, 20, 24);
        self.remove_range(PLAIN, 22, 26);
        self.merge(PLAIN, 22);
        self.merge(PLAIN, 30);
        self.settle();
        self.db.drop_keyspace(GONE).expect("memory takes it");
        let space = self.spaces.remove(GONE).expect("it was created");
        self.commit(vec![Op::Drop(space)]);
        self.image(fs)
    }

    /// A log of several segments: batches over keyspaces that one of them has flushed.
    fn tail(&mut self, fs: &MemFs) -> Image {
        for n in 0..24 {
            self.batch(n);
        }
        for n in (60..KEYS).step_by(2) {
            // Fills the memtable of one keyspace: it is flushed, and the log goes on in a new segment.
            let value = self.rng.bytes(300);
            self.put(PLAIN, n, value);
        }
        self.db.sync().expect("memory syncs");
        let image = self.image(fs);
        for n in 24..40 {
            self.batch(n);
            if n == 34 {
                self.db.sync().expect("memory syncs");
            }
        }
        image
    }

    fn checkpoint(&self) -> Image {
        let outer: Arc<dyn Fs> = Arc::new(MemFs::new());
        self.db.checkpoint_to(Arc::clone(&outer), "copy", Default::default()).expect("memory takes it");
        Image::of(&SubDir::open(outer, "copy").expect("it was made"))
    }

    // ----- steps -----

    fn create(&mut self, name: &'static str, options: KeyspaceOptions) {
        self.db.keyspace_with(name, options).expect("memory takes it");
        self.spaces.insert(name, self.spaces.len());
        self.commit(vec![Op::Create(name.into())]);
    }

    fn put(&mut self, space: &str, n: usize, value: Vec<u8>) {
        self.write(vec![Op::Put(self.spaces[space], key(n), value)]);
    }

    fn remove(&mut self, space: &str, n: usize) {
        self.write(vec![Op::Remove(self.spaces[space], key(n))]);
    }

    fn remove_range(&mut self, space: &str, from: usize, to: usize) {
        let range = (Bound::Included(key(from)), Bound::Excluded(key(to)));
        self.write(vec![Op::RemoveRange(self.spaces[space], range)]);
    }

    fn merge(&mut self, space: &str, n: usize) {
        self.write(vec![Op::Merge(self.spaces[space], key(n), b"operand".into())]);
    }

    /// Writes and removes in both keyspaces at once.
    fn batch(&mut self, n: usize) {
        let (packed, plain) = (self.spaces[PACKED], self.spaces[PLAIN]);
        let mark = self.rng.below(10_000);
        let value = |what: &str| format!("{what} {n:03} {mark:04}").repeat(4).into_bytes();
        self.write(vec![
            Op::Put(packed, key(3 * n), value("both")),
            Op::Put(plain, key(2 * n), value("of one batch")),
            Op::Remove(packed, key(3 * n + 1)),
        ]);
    }

    fn write(&mut self, ops: Vec<Op>) {
        let mut batch = self.db.batch();
        for op in &ops {
            match op {
                Op::Put(space, key, value) => batch.insert(&self.keyspace(*space), key, value),
                Op::Remove(space, key) => batch.remove(&self.keyspace(*space), key),
                Op::RemoveRange(space, range) => batch.remove_range(&self.keyspace(*space), range.clone()),
                Op::Merge(space, key, operand) => batch.merge(&self.keyspace(*space), key, operand),
                Op::Create(_) | Op::Clear(_) | Op::Drop(_) => unreachable!("keyspaces change by themselves"),
            };
        }
        self.db.write(batch).expect("memory takes it");
        self.commit(ops);
    }

    fn keyspace(&self, space: SpaceId) -> isopach::Keyspace {
        self.db.keyspace(self.oracle.name(space)).expect("it is there")
    }

    fn commit(&mut self, ops: Vec<Op>) {
        self.oracle.commit(ops);
        self.ends.push(self.db.seqno().raw());
    }

    /// What a crash leaves that comes while nothing is under way in the background.
    fn image(&self, fs: &MemFs) -> Image {
        self.db.wait_idle(SOON).expect("background work ends");
        let mut image = Image::of(fs);
        // What is prepared for the log, and what is kept to be used again, holds none of it: nobody could tell of
        // damage to it.
        let first = open(&image).note("log.first").and_then(|note| Some(*note.first_chunk()?));
        let first = first.map_or(1, u32::from_le_bytes);
        let is_log = |name: &str, bytes: &[u8]| number_of(name) >= first && !records(bytes).is_empty();
        let segments = image.files().filter(|(name, _)| name.starts_with("wal/"));
        let others = segments.filter(|(name, bytes)| !is_log(name, bytes)).map(|(name, _)| name.to_owned());
        for name in others.collect::<Vec<_>>() {
            image.remove(&name);
        }
        image
    }

    fn settle(&self) {
        self.db.flush().expect("memory takes it");
        self.db.wait_idle(SOON).expect("background work ends");
    }
}

fn open(image: &Image) -> Store {
    let fs = image.to_fs();
    let mut options = StoreOptions::default();
    options.read_only = true;
    Store::open(
        Env::new(Arc::new(fs), Arc::new(SystemClock::new()), Arc::new(SeededEntropy::new(0))),
        &options,
    )
    .expect("a sound database")
}

/// The number of the log segment of this name.
fn number_of(name: &str) -> u32 {
    name.trim_start_matches("wal/").trim_end_matches(".wal").parse().expect("a segment")
}

/// The log as its files say.
fn read_log(image: &Image) -> Log {
    let store = open(image);
    let word = |note: Option<Vec<u8>>| {
        let bytes = note.filter(|note| !note.is_empty())?;
        Some(LogPosition::from_raw(u64::from_le_bytes(*bytes.first_chunk()?)))
    };
    let noted = word(store.note("log.synced")).max(word(store.note("log.clean_end"))).unwrap_or_default();

    let mut log = Log { records: Vec::new(), noted };
    let mut last_seqno = 0;
    for (name, bytes) in image.files().filter(|(name, _)| name.starts_with("wal/")) {
        let number = number_of(name);
        for record in records(bytes) {
            if matches!(record.kind, 2 | 4) {
                let prefix = &bytes[record.payload.clone()];
                let first = u64::from_le_bytes(*prefix.first_chunk().expect("a prefix"));
                let count = u32::from_le_bytes(*prefix[8..].first_chunk().expect("a prefix"));
                last_seqno = first + u64::from(count) - 1;
            }
            let position = LogPosition { file: number, offset: record.range.start as u64 };
            log.records.push(LogRecord { file: name.into(), record, position, last_seqno });
        }
    }
    log
}

/// Checks that a subject is sound before it is damaged.
///
/// # Panics
///
/// If it is not.
pub fn check_sound(subject: &Subject) {
    let full = VerifyOptions::new().depth(VerifyDepth::Full);
    let report = builder(subject.image.to_fs(), 0).verify(full).expect("it opens");
    assert!(report.found.is_empty(), "{}: {:?}", subject.name, report.found);
}
