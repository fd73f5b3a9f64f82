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

/// Directories in that of a database, whose names it leaves alone: while one is there, that key is the current one, the
/// later before the earlier.
pub const KEYS: [&str; 2] = [".key-1", ".key-2"];

/// Knows the keys 1 to 9, and which of them is current. Clones share that.
#[derive(Clone)]
pub struct TestKeys(Arc<AtomicU64>);

impl TestKeys {
    /// With this current key; 0: none.
    pub fn current(id: u64) -> TestKeys {
        TestKeys(Arc::new(AtomicU64::new(id)))
    }

    /// From now on another one.
    pub fn change(&self, id: u64) {
        self.0.store(id, Ordering::Relaxed);
    }

    /// What [`KEYS`] in a database's directory say, or the keys alone where files are sealed. `None`: it is not encrypted.
    pub fn of(fs: &dyn Fs) -> Option<TestKeys> {
        match KEYS.iter().rposition(|name| fs.exists(name) == Ok(true)) {
            Some(index) => Some(TestKeys::current(index as u64 + 1)),
            None => has_sealed_manifest(fs).then(|| TestKeys::current(0)),
        }
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
        Ok(KeyId(self.0.load(Ordering::Relaxed)))
    }

    fn key(&self, id: KeyId) -> Result<Secret, KeyError> {
        if (1..=9).contains(&id.0) { Ok(Secret::new([id.0 as u8; 32])) } else { Err(KeyError::Missing) }
    }

    fn seal_recorder(&self) -> Option<SealRecorder> {
        Some(Arc::new(|key, nonce| {
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
