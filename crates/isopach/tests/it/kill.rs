//! A writer is killed with SIGKILL again and again; what it had acknowledged is there, in whole batches.
//!
//! The ledger of acknowledgements is kept by the parent. The long version: `ISOPACH_KILLS=50
//! ISOPACH_KILL_RECORDS=2000000 cargo test --release -p isopach --test it kill -- --nocapture`

use isopach::{Db, Event, EventListener, Keyspace};
use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};
use testkit::{Rng, TempDir};

/// Set for the child: the directory it works in.
const CHILD: &str = "ISOPACH_KILL_CHILD";
const WRITERS: u64 = 2;
/// Records of a batch: half of them in each keyspace.
const BATCH: u64 = 20;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn acknowledged_batches_survive_kills_at_random_moments() {
    if let Ok(dir) = env::var(CHILD) {
        write_until_killed(Path::new(&dir));
    }
    let (kills, records) = (number("ISOPACH_KILLS", 8), number("ISOPACH_KILL_RECORDS", 100_000));
    let seed = number("ISOPACH_SEED", 1);
    eprintln!("seed {seed}");
    let mut rng = Rng::new(seed);
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let mut ledger = vec![BTreeSet::new(); WRITERS as usize];
    let (mut in_the_middle, mut while_working, mut extra) = (0, 0, 0);

    for kill in 1..=kills {
        let life = live_and_die(&path, records / (kills + 2), &mut rng);
        for (writer, batch) in life.acknowledged {
            assert!(ledger[writer as usize].insert(batch), "a batch is acknowledged once");
        }
        let acknowledged = ledger.iter().map(|batches| batches.len() as u64 * BATCH).sum::<u64>();
        in_the_middle += u64::from((records / 100..=records / 100 * 99).contains(&acknowledged));
        while_working += u64::from(life.was_working);
        let found = check(&path, &ledger);
        extra += found - acknowledged / BATCH;
        eprintln!(
            "kill {kill}: {acknowledged} records acknowledged, all there; {} while working",
            while_working
        );
    }

    eprintln!(
        "{kills} kills: {in_the_middle} with 1 to 99 % of {records} records acknowledged, {while_working} during \
         flush or compaction; none lost; {extra} whole batches that were not acknowledged yet"
    );
    assert!(in_the_middle > 0, "some kills came in the middle");
    assert!(while_working > 0, "some came during flush or compaction");
}

struct Life {
    /// Writer and number of each acknowledged batch.
    acknowledged: Vec<(u64, u64)>,
    /// A flush or compaction had begun and not ended.
    was_working: bool,
}

/// Starts a writer, and kills it some time after about `records` records were acknowledged.
fn live_and_die(path: &Path, records: u64, rng: &mut Rng) -> Life {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["acknowledged_batches_survive_kills_at_random_moments", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines_of(&mut child);
    let mut life = Life { acknowledged: Vec::new(), was_working: false };
    let mut working = 0_i64;
    let mut take = |line: String, life: &mut Life| match line.split(' ').collect::<Vec<_>>()[..] {
        ["ack", writer, batch] => life.acknowledged.push((writer.parse().unwrap(), batch.parse().unwrap())),
        ["begin"] => working += 1,
        ["end"] => working -= 1,
        _ => {}
    };
    let enough = rng.below(records as usize * 2 / BATCH as usize) + 1;
    while life.acknowledged.len() < enough {
        take(lines.recv().expect("the writer lives until it is killed"), &mut life);
    }
    thread::sleep(Duration::from_micros(rng.below(3000) as u64)); // The random moment.
    child.kill().unwrap();
    child.wait().unwrap();
    lines.iter().for_each(|line| take(line, &mut life));
    life.was_working = working > 0;
    life
}

/// Whole lines that the child wrote, the last ones too.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || {
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if let Some(whole) = line.strip_suffix('\n') {
                let _ = send.send(whole.into());
            }
            line.clear();
        }
    });
    receive
}

fn open(path: &Path) -> Db {
    Db::builder(path).write_buffer_bytes(512 << 10).cache_bytes(4 << 20).listener(Reports).open().unwrap()
}

struct Reports;

impl EventListener for Reports {
    fn on_event(&self, event: &Event<'_>) {
        if env::var_os(CHILD).is_some() {
            match event {
                Event::FlushBegin { .. } | Event::CompactionBegin { .. } => println!("begin"),
                Event::FlushEnd { .. } | Event::CompactionEnd { .. } => println!("end"),
                _ => {}
            }
        }
    }
}

fn keyspaces(db: &Db) -> [Keyspace; 2] {
    ["even", "odd"].map(|name| db.keyspace(name).unwrap())
}

fn key(writer: u64, batch: u64, record: u64) -> [u8; 24] {
    let mut key = [0; 24];
    // Spread, so that compactions have something to merge.
    key[..8].copy_from_slice(&(batch.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ writer).to_be_bytes());
    key[8..16].copy_from_slice(&(writer << 56 | batch).to_be_bytes());
    key[16..].copy_from_slice(&record.to_be_bytes());
    key
}

fn value(key: &[u8; 24]) -> Vec<u8> {
    let seed = u64::from_be_bytes(key[8..16].try_into().unwrap()).wrapping_mul(31) + u64::from(key[23]);
    (0..100).map(|byte| (seed.rotate_left(byte % 64) as u8).wrapping_add(byte as u8)).collect()
}

fn write_until_killed(path: &Path) -> ! {
    let db = open(path);
    let spaces = keyspaces(&db);
    let firsts = next_batches(&spaces);
    thread::scope(|scope| {
        for (writer, first) in (0..WRITERS).zip(firsts) {
            let (db, spaces) = (&db, &spaces);
            scope.spawn(move || {
                for batch in first.. {
                    let mut writes = db.batch();
                    for record in 0..BATCH {
                        let key = key(writer, batch, record);
                        writes.insert(&spaces[record as usize % 2], key, value(&key));
                    }
                    db.write(writes).unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {writer} {batch}").unwrap();
                }
            });
        }
    });
    unreachable!("the writers go on until they are killed")
}

/// Where each writer goes on: above every batch that is there.
fn next_batches(spaces: &[Keyspace; 2]) -> Vec<u64> {
    let mut next = vec![0; WRITERS as usize];
    for key in spaces[0].iter().keys() {
        let word = u64::from_be_bytes(key.unwrap()[8..16].try_into().unwrap());
        let (writer, batch) = ((word >> 56) as usize, word & (u64::MAX >> 8));
        next[writer] = next[writer].max(batch + 1);
    }
    next
}

/// Compares every record; returns the number of batches that are there.
fn check(path: &Path, ledger: &[BTreeSet<u64>]) -> u64 {
    let db = Db::builder(path).open_read_only().unwrap();
    let mut batches = std::collections::BTreeMap::<u64, u64>::new();
    for (parity, name) in ["even", "odd"].into_iter().enumerate() {
        for entry in db.keyspace(name).unwrap().iter() {
            let (found, stored) = entry.unwrap();
            let bytes: [u8; 24] = found[..].try_into().unwrap();
            let word = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
            let record = u64::from_be_bytes(bytes[16..].try_into().unwrap());
            assert_eq!(bytes, key(word >> 56, word & (u64::MAX >> 8), record));
            assert_eq!(record as usize % 2, parity);
            assert_eq!(stored, &value(&bytes)[..], "batch {word:x}, record {record}");
            *batches.entry(word).or_default() |= 1 << record;
        }
    }
    for (&word, &records) in &batches {
        assert_eq!(records, (1 << BATCH) - 1, "batch {word:x} is there in part");
    }
    for (writer, acknowledged) in ledger.iter().enumerate() {
        for batch in acknowledged {
            assert!(
                batches.contains_key(&((writer as u64) << 56 | batch)),
                "batch {batch} of {writer} is lost"
            );
        }
    }
    batches.len() as u64
}
