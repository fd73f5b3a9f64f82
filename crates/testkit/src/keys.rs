//! Keys of encrypted databases in tests, and a record of every seal under them.

use isopach::{
    KeyError, KeyId, KeyProvider, Secret,
    engine::codec::SealRecorder,
    env::{Fs, OpenMode},
};
use std::{
    collections::HashSet,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Directories in that of a database, whose names it leaves alone: while one is there, the key beside it is the current
/// one, the later before the earlier.
pub const KEYS: [(&str, u64); 3] = [(".key-1", 1), (".key-2", 2), (".key-none", 0)];

/// Directories beside those, in the same order: while one is there, and its key is the current one, no other is known.
pub const ONLY: [&str; 3] = [".only-1", ".only-2", ".only-none"];

/// Whether a name is one of these.
pub fn is_of_keys(name: &str) -> bool {
    KEYS.iter().any(|(key, _)| *key == name) || ONLY.contains(&name)
}

/// Knows the keys 1 to 9, or one alone, and which of them is current. Clones share that.
#[derive(Clone)]
pub struct TestKeys {
    current: Arc<AtomicU64>,
    knows_one: bool,
    /// Of these alone.
    seals: Arc<AtomicU64>,
}

impl TestKeys {
    /// With this current key; 0: none.
    pub fn current(id: u64) -> TestKeys {
        let current = Arc::new(AtomicU64::new(id));
        TestKeys { current, knows_one: false, seals: Arc::default() }
    }

    /// With this current key, and no other; 0: none.
    pub fn only(id: u64) -> TestKeys {
        TestKeys { knows_one: true, ..TestKeys::current(id) }
    }

    /// From now on another one.
    pub fn change(&self, id: u64) {
        self.current.store(id, Ordering::Relaxed);
    }

    /// How much was sealed by databases that have these.
    pub fn seals(&self) -> u64 {
        self.seals.load(Ordering::Relaxed)
    }

    /// What [`KEYS`] and [`ONLY`] in a database's directory say, or the keys alone where files are sealed. `None`: it is not
    /// encrypted.
    pub fn of(fs: &dyn Fs) -> Option<TestKeys> {
        let is_there = |name: &str| fs.exists(name) == Ok(true);
        match KEYS.iter().rposition(|(name, _)| is_there(name)) {
            Some(index) if is_there(ONLY[index]) => Some(TestKeys::only(KEYS[index].1)),
            Some(index) => Some(TestKeys::current(KEYS[index].1)),
            None => has_sealed_manifest(fs).then(|| TestKeys::current(0)),
        }
    }

    fn id(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }
}

fn has_sealed_manifest(fs: &dyn Fs) -> bool {
    let entries = fs.list("").unwrap_or_default();
    entries.iter().filter(|entry| entry.name.starts_with("MANIFEST-")).any(|entry| {
        let mut key = [0; 8];
        let file = fs.open(&entry.name, OpenMode::Read);
        file.is_ok_and(|file| file.read_exact_at(40, &mut key).is_ok()) && key != [0; 8]
    })
}

impl KeyProvider for TestKeys {
    fn current(&self) -> Result<KeyId, KeyError> {
        Ok(KeyId(self.id()))
    }

    fn key(&self, id: KeyId) -> Result<Secret, KeyError> {
        let is_known = if self.knows_one { id.0 == self.id() } else { (1..=9).contains(&id.0) };
        if is_known { Ok(Secret::new([id.0 as u8; 32])) } else { Err(KeyError::Missing) }
    }

    fn seal_recorder(&self) -> Option<SealRecorder> {
        let count = Arc::clone(&self.seals);
        Some(Arc::new(move |key, nonce| {
            count.fetch_add(1, Ordering::Relaxed);
            let mut seals = SEALS.lock().expect("nobody panics in it");
            seals.count += 1;
            if !seals.seen.insert((key, nonce)) {
                seals.repeated += 1;
            }
        }))
    }
}

/// What was sealed by this process under any [`TestKeys`].
#[derive(Default)]
struct Seals {
    seen: HashSet<(u64, u64)>,
    count: u64,
    repeated: u64,
}

static SEALS: LazyLock<Mutex<Seals>> = LazyLock::new(Mutex::default);

/// How much was sealed, and how often a pair of key and nonce was used again.
pub fn seals() -> (u64, u64) {
    let seals = SEALS.lock().expect("nobody panics in it");
    (seals.count, seals.repeated)
}
