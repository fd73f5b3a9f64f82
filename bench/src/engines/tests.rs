//! What every adapter of the build must do: the promises of [`crate::engine::Engine`].

use super::{ADAPTERS, Adapter};
use crate::engine::{Compression, Direction, Durability, Engine, Scan, Settings, counter};
use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

/// Enough for a few flushes of [`settings`]' write buffer.
const KEYS_COUNT: usize = 20_000;

#[test]
fn entries_are_found_until_they_are_removed() {
    for_each_engine(|engine| {
        engine.insert(0, b"a", b"1").unwrap();
        engine.insert(0, b"b", b"").unwrap();
        assert_eq!(get(engine, 0, b"a"), Some(b"1".to_vec()));
        assert_eq!(get(engine, 0, b"b"), Some(Vec::new()));
        assert_eq!(get(engine, 0, b"c"), None);

        engine.insert(0, b"a", b"2").unwrap();
        assert_eq!(get(engine, 0, b"a"), Some(b"2".to_vec()));

        engine.remove(0, b"a").unwrap();
        engine.remove(0, b"absent").unwrap();
        assert_eq!(get(engine, 0, b"a"), None);
        assert_eq!(get(engine, 0, b"b"), Some(Vec::new()));
    });
}

#[test]
fn batches_are_written_whole() {
    for_each_engine(|engine| {
        engine.insert(0, &key(1), b"old").unwrap();

        engine.insert_batch(0, &entries(0..100)).unwrap();

        for index in 0..100 {
            assert_eq!(get(engine, 0, &key(index)), Some(value(index)));
        }
        assert_eq!(get(engine, 0, &key(100)), None);
    });
}

#[test]
fn multi_get_shows_what_is_there() {
    for_each_engine(|engine| {
        engine.insert_batch(0, &entries(0..10)).unwrap();
        let keys: Vec<Vec<u8>> = [3, 50, 7, 0, 11].map(key).to_vec();

        let mut seen = Vec::new();
        let found = engine.multi_get(0, &keys, &mut |value| seen.push(value.to_vec())).unwrap();

        seen.sort();
        assert_eq!((found, seen), (3, [0, 3, 7].map(value).to_vec()));
    });
}

/// In the write buffer, and then in whatever the engine makes of it.
#[test]
fn scans_begin_at_their_key_in_both_directions() {
    for_each_engine(|engine| {
        let even: Vec<_> = entries(0..1000).into_iter().step_by(2).collect();
        engine.insert_batch(0, &even).unwrap();
        engine.remove(0, &key(500)).unwrap();

        for round in ["written", "settled"] {
            use Direction::{Forward, Reverse};
            let check = |from: Option<usize>, direction, limit, expected: &[usize]| {
                assert_eq!(
                    scan(engine, 0, from.map(key).as_deref(), direction, limit),
                    entries_of(expected),
                    "{round}: {direction:?} from {from:?}"
                );
            };
            check(Some(10), Forward, 3, &[10, 12, 14]);
            check(Some(11), Forward, 3, &[12, 14, 16]);
            check(Some(498), Forward, 2, &[498, 502]);
            check(Some(996), Forward, 10, &[996, 998]);
            check(Some(999), Forward, 10, &[]);
            check(None, Forward, 2, &[0, 2]);
            check(Some(10), Reverse, 3, &[10, 8, 6]);
            check(Some(11), Reverse, 3, &[10, 8, 6]);
            check(Some(502), Reverse, 2, &[502, 498]);
            check(Some(2), Reverse, 10, &[2, 0]);
            check(None, Reverse, 2, &[998, 996]);
            check(None, Forward, 0, &[]);
            assert_eq!(scan(engine, 0, None, Forward, usize::MAX).len(), 499);
            assert_eq!(scan(engine, 0, None, Reverse, usize::MAX).len(), 499);
            assert_eq!(scan(engine, 0, Some(b"a"), Reverse, 10), []);
            engine.settle().unwrap();
        }
    });
}

#[test]
fn merges_add_up() {
    for_each_engine(|engine| {
        engine.insert(0, &key(1), &100_u64.to_le_bytes()).unwrap();
        for operand in 1..=10 {
            engine.merge(0, &key(1), operand).unwrap();
            engine.merge(0, &key(2), operand).unwrap();
        }
        engine.settle().unwrap();
        engine.merge(0, &key(2), u64::MAX).unwrap();

        assert_eq!(get(engine, 0, &key(1)).as_deref().map(counter), Some(155));
        assert_eq!(get(engine, 0, &key(2)).as_deref().map(counter), Some(54));
    });
}

#[test]
fn range_removes_leave_exactly_the_rest() {
    for_each_engine(|engine| {
        engine.insert_batch(0, &entries(0..3000)).unwrap();
        engine.settle().unwrap();
        engine.insert_batch(0, &entries(3000..5000)).unwrap();

        engine.remove_range(0, &key(100), &key(4000)).unwrap();
        engine.insert(0, &key(200), b"new").unwrap();

        let mut expected = entries(0..100);
        expected.push((key(200), b"new".to_vec()));
        expected.extend(entries(4000..5000));
        assert_eq!(get(engine, 0, &key(100)), None);
        assert_eq!(get(engine, 0, &key(4000)), Some(value(4000)));
        assert!(scan(engine, 0, None, Direction::Forward, usize::MAX) == expected);
    });
}

#[test]
fn keyspaces_are_apart() {
    for adapter in engines() {
        eprintln!("{}", adapter.name);
        let dir = Dir::new(adapter);
        let settings = Settings { keyspaces_count: 3, ..settings(Durability::Buffered) };
        let engine = (adapter.open)(&dir.path, &settings).unwrap();
        if !engine.abilities().keyspaces {
            assert!(engine.insert(1, b"key", b"1").is_err());
            engine.close().unwrap();
            continue;
        }
        engine.insert(0, b"key", b"0").unwrap();
        engine.insert(1, b"key", b"1").unwrap();
        engine.insert_batch(2, &entries(0..10)).unwrap();

        engine.remove(0, b"key").unwrap();

        assert_eq!(get(&*engine, 0, b"key"), None);
        assert_eq!(get(&*engine, 1, b"key"), Some(b"1".to_vec()));
        assert_eq!(get(&*engine, 2, b"key"), None);
        assert_eq!(scan(&*engine, 2, None, Direction::Reverse, 100).len(), 10);
        engine.close().unwrap();
    }
}

#[test]
fn what_was_settled_is_there_when_reopened() {
    for adapter in engines() {
        eprintln!("{}", adapter.name);
        let dir = Dir::new(adapter);
        let settings = settings(Durability::Buffered);
        let engine = (adapter.open)(&dir.path, &settings).unwrap();
        for round in 0..2 {
            for index in (0..KEYS_COUNT).map(|index| index * 7919 % KEYS_COUNT) {
                engine.insert(0, &key(index), &value(index + round)).unwrap();
            }
        }
        engine.settle().unwrap();
        engine.close().unwrap();

        let engine = (adapter.open)(&dir.path, &settings).unwrap();

        let expected: Vec<_> = (0..KEYS_COUNT).map(|index| (key(index), value(index + 1))).collect();
        assert!(scan(&*engine, 0, None, Direction::Forward, usize::MAX) == expected, "{}", adapter.name);
        for index in (0..KEYS_COUNT).step_by(97) {
            assert_eq!(get(&*engine, 0, &key(index)), Some(value(index + 1)), "{}", adapter.name);
        }
        engine.close().unwrap();
    }
}

#[test]
fn what_was_synced_is_there_when_reopened() {
    for adapter in engines() {
        eprintln!("{}", adapter.name);
        let dir = Dir::new(adapter);
        let settings = settings(Durability::Sync);
        let engine = (adapter.open)(&dir.path, &settings).unwrap();
        if !engine.abilities().sync {
            assert!(engine.insert(0, b"a", b"1").is_err());
            engine.close().unwrap();
            continue;
        }
        engine.insert(0, b"a", b"1").unwrap();
        engine.insert_batch(0, &entries(0..10)).unwrap();
        engine.merge(0, b"sum", 5).unwrap();
        engine.remove(0, &key(3)).unwrap();
        engine.remove_range(0, &key(5), &key(8)).unwrap();
        engine.close().unwrap();

        let engine = (adapter.open)(&dir.path, &settings).unwrap();

        assert_eq!(get(&*engine, 0, b"a"), Some(b"1".to_vec()), "{}", adapter.name);
        assert_eq!(get(&*engine, 0, b"sum").as_deref().map(counter), Some(5), "{}", adapter.name);
        let expected = entries_of(&[0, 1, 2, 4, 8, 9]);
        assert_eq!(scan(&*engine, 0, Some(b"k"), Direction::Forward, 6), expected, "{}", adapter.name);
        engine.close().unwrap();
    }
}

#[test]
fn settings_that_bear_on_figures_are_told() {
    for_each_engine(|engine| {
        let told = engine.settings();
        for name in
            ["cache_bytes", "write_buffer_bytes", "compression", "block_bytes", "threads", "durability"]
        {
            assert_eq!(told.iter().filter(|(told, _)| *told == name).count(), 1, "{name}");
        }
    });
}

/// Many writers and readers at once: what a write returned for is seen by its own thread.
#[test]
fn threads_share_an_engine() {
    const THREADS: usize = 4;
    const WRITES: usize = KEYS_COUNT / THREADS;
    for_each_engine(|engine| {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for index in (0..WRITES).map(|index| index * THREADS + thread) {
                        engine.insert(0, &key(index), &value(index)).unwrap();
                        assert_eq!(get(engine, 0, &key(index)), Some(value(index)));
                    }
                });
            }
        });

        let seen = scan(engine, 0, None, Direction::Forward, usize::MAX);
        assert!(seen == entries(0..WRITES * THREADS));
    });
}

fn engines() -> impl Iterator<Item = &'static Adapter> {
    ADAPTERS.iter().filter(|adapter| adapter.name != "noop")
}

/// Runs `work` on a new database of every engine. The name printed last is that of the engine that failed.
fn for_each_engine(work: impl Fn(&dyn Engine)) {
    for adapter in engines() {
        eprintln!("{}", adapter.name);
        let dir = Dir::new(adapter);
        let engine = (adapter.open)(&dir.path, &settings(Durability::Buffered)).unwrap();
        work(&*engine);
        engine.close().unwrap();
    }
}

fn settings(durability: Durability) -> Settings {
    Settings {
        separated_from_bytes: None,
        cache_bytes: 32 << 20,
        write_buffer_bytes: 1 << 20,
        block_bytes: 4096,
        compression: Compression::Lz4,
        durability,
        keyspaces_count: 1,
    }
}

/// A directory that goes when it is dropped.
pub struct Dir {
    pub path: PathBuf,
}

impl Dir {
    pub fn new(adapter: &Adapter) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "isopach-bench-{}-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed),
            adapter.name
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Dir { path }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{}: not removed: {error}", self.path.display());
        }
    }
}

fn key(index: usize) -> Vec<u8> {
    format!("key{index:013}").into_bytes()
}

/// Of 100 bytes, which compress.
fn value(index: usize) -> Vec<u8> {
    format!("{index:0100}").into_bytes()
}

fn entries(indices: std::ops::Range<usize>) -> Vec<(Vec<u8>, Vec<u8>)> {
    indices.map(|index| (key(index), value(index))).collect()
}

fn entries_of(indices: &[usize]) -> Vec<(Vec<u8>, Vec<u8>)> {
    indices.iter().map(|&index| (key(index), value(index))).collect()
}

fn get(engine: &dyn Engine, keyspace: usize, key: &[u8]) -> Option<Vec<u8>> {
    let mut seen = None;
    let found = engine.get(keyspace, key, &mut |value| seen = Some(value.to_vec())).unwrap();
    assert_eq!(found, seen.is_some());
    seen
}

fn scan(
    engine: &dyn Engine,
    keyspace: usize,
    from: Option<&[u8]>,
    direction: Direction,
    limit: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut seen = Vec::new();
    let scan = Scan { from, direction, limit };
    let shown =
        engine.scan(keyspace, scan, &mut |key, value| seen.push((key.to_vec(), value.to_vec()))).unwrap();
    assert_eq!(shown, seen.len());
    seen
}
