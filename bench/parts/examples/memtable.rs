//! The memtable beside a skip list, in one run: inserts, gets and scans of random keys, and two writers beside one.
//!
//! ```text
//! cargo run --release -p isopach-parts --example memtable -- [--entries N] [--rounds N]
//! ```
//!
//! Both hold number, kind and a copy of key and value; the skip list is that of crossbeam, which several engines
//! use. Each round does everything with both, in turn; the table shows medians, and their ratio. Both have memory
//! from rounds before: memtables from a pool, as those of a store, the skip list from the allocator.

use crossbeam_skiplist::SkipMap;
use isopach::engine::{
    iter::Cursor,
    key::ValueKind,
    memtable::{Memtable, Operation, PagePool},
    order::KeyOrder,
    types::Seqno,
};
use std::{
    cmp::Reverse,
    env,
    hint::black_box,
    ops::Bound,
    sync::{Arc, Barrier, LazyLock},
    thread,
    time::Instant,
};

const VALUE_BYTES: usize = 100;

type Place = (Box<[u8]>, Reverse<u64>);
type Skips = SkipMap<Place, (u8, Box<[u8]>)>;

/// Scrambles a number, each to another one (splitmix64).
fn scrambled(n: u64) -> u64 {
    let mut word = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&scrambled(n).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn value(n: u64) -> [u8; VALUE_BYTES] {
    [n as u8; VALUE_BYTES]
}

/// What is measured of either.
trait Map: Sync {
    fn empty() -> Self;
    fn insert(&self, n: u64);
    fn get(&self, n: u64) -> usize;
    fn scan(&self) -> u64;
}

impl Map for Memtable {
    fn empty() -> Memtable {
        static POOL: LazyLock<Arc<PagePool>> = LazyLock::new(|| Arc::new(PagePool::new(1 << 30)));
        Memtable::new(&POOL, &KeyOrder::BYTES)
    }

    fn insert(&self, n: u64) {
        let seqno = Seqno::from_raw(n + 1).expect("a small number");
        self.apply([Operation { seqno, kind: ValueKind::Put, key: &key(n), value: &value(n) }]);
    }

    fn get(&self, n: u64) -> usize {
        Memtable::get(self, &key(n), Seqno::MAX).expect("it was inserted").2.len()
    }

    fn scan(&self) -> u64 {
        let mut cursor = self.cursor();
        cursor.seek_first().expect("memory");
        let mut entries = 0;
        while cursor.entry().is_some() {
            let value = cursor.value_bytes().expect("memory");
            entries += u64::from(value.len() == VALUE_BYTES);
            cursor.next().expect("memory");
        }
        entries
    }
}

struct SkipList(Skips);

impl Map for SkipList {
    fn empty() -> SkipList {
        SkipList(Skips::new())
    }

    fn insert(&self, n: u64) {
        self.0.insert((key(n)[..].into(), Reverse(n + 1)), (1, value(n)[..].into()));
    }

    fn get(&self, n: u64) -> usize {
        let from: Place = (key(n)[..].into(), Reverse(u64::MAX));
        let entry = self.0.lower_bound(Bound::Included(&from)).expect("it was inserted");
        assert!(entry.key().0 == from.0);
        entry.value().1.clone().len()
    }

    fn scan(&self) -> u64 {
        self.0.iter().map(|entry| u64::from(entry.value().1.len() == VALUE_BYTES)).sum()
    }
}

/// Nanoseconds for each of `count`.
fn timed(count: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / count as f64
}

/// The same of two threads at once, from when both run and have had memory: the first that a thread asks for has
/// the allocator join what others left behind, a millionfold after the skip list.
fn timed_together(count: u64, work: impl Fn(u64) + Sync) -> f64 {
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        let threads = [0, 1].map(|half| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                drop(black_box(Vec::<u8>::with_capacity(1 << 16)));
                barrier.wait();
                work(half);
            })
        });
        barrier.wait();
        timed(count, || threads.map(|thread| thread.join().expect("no panic")).into_iter().collect())
    })
}

const MEASURES: [&str; 4] = ["insert, one thread", "get, random", "scan, an entry", "insert, two threads"];

fn measure<M: Map>(entries: u64) -> [f64; 4] {
    let map = M::empty();
    let insert = timed(entries, || (0..entries).for_each(|n| map.insert(n)));
    let get = timed(entries, || {
        for n in 0..entries {
            black_box(map.get(scrambled(n) % entries));
        }
    });
    let scan = timed(entries, || assert_eq!(map.scan(), entries));
    drop(map);
    let map = M::empty();
    let two = timed_together(entries, |half| {
        (half * entries / 2..(half + 1) * entries / 2).for_each(|n| map.insert(n));
    });
    [insert, get, scan, two]
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let (mut entries, mut rounds) = (1_000_000, 5);
    let arguments: Vec<String> = env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let number = pair.get(1).and_then(|number| number.parse().ok());
        match (&*pair[0], number) {
            ("--entries", Some(number)) => entries = number,
            ("--rounds", Some(number)) => rounds = number,
            _ => panic!("memtable [--entries N] [--rounds N]"),
        }
    }
    let results: Vec<([f64; 4], [f64; 4])> =
        (0..rounds).map(|_| (measure::<Memtable>(entries), measure::<SkipList>(entries))).collect();
    println!("{entries} entries of 16 and {VALUE_BYTES} bytes, medians of {rounds} rounds");
    println!("| ns                  | memtable | skip list | ratio |");
    println!("|---------------------|---------:|----------:|------:|");
    let medians = |at: usize| {
        let own = median(results.iter().map(|(own, _)| own[at]).collect());
        (own, median(results.iter().map(|(_, other)| other[at]).collect()))
    };
    for (at, measure) in MEASURES.into_iter().enumerate() {
        let (own, other) = medians(at);
        println!("| {measure:<19} | {own:>8.1} | {other:>9.1} | {:>5.2} |", other / own);
    }
    println!("two threads against one: {:.2}", medians(0).0 / medians(3).0);
}
