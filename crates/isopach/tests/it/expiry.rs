//! Puts that expire, and filters of values at compaction.

use isopach::{
    CompactionFilter, CompactionFilterFactory, Db, ErrorKind, FilterContext, FilterEntry, Keyspace,
    KeyspaceOptions, Slice, Verdict, WriteOptions,
    env::{MemFs, TestClock},
};
use std::{sync::Arc, time::Duration};
use testkit::db::{SOON, entries, merging_tables, small};

const SECOND: Duration = Duration::from_secs(1);

fn open(files: &MemFs, clock: &TestClock) -> Db {
    small(files.clone()).clock(Arc::new(clock.clone())).open().unwrap()
}

fn keys(keyspace: &Keyspace) -> Vec<String> {
    entries(keyspace).into_keys().map(|key| String::from_utf8(key).unwrap()).collect()
}

fn ttl(seconds: u32) -> WriteOptions {
    WriteOptions::new().ttl(seconds * SECOND)
}

#[test]
fn an_expired_put_is_read_by_no_view_that_is_taken_after_and_uncovers_nothing() {
    let (files, clock) = (MemFs::new(), TestClock::new());
    let db = open(&files, &clock);
    let ks = db.keyspace("k").unwrap();
    ks.insert("k", "for good").unwrap();
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    ks.insert_with("k", "for a time", ttl(10)).unwrap();
    ks.insert_with("short", "gone first", ttl(5)).unwrap();

    clock.advance(9 * SECOND);
    assert_eq!(keys(&ks), ["k"]);
    assert_eq!(ks.get("k").unwrap().as_deref(), Some(&b"for a time"[..]));
    let (snapshot, scan) = (db.snapshot(), ks.iter());
    clock.advance(SECOND);
    for _ in 0..3 {
        assert_eq!((ks.get("k").unwrap(), ks.contains("k").unwrap()), (None, false));
        assert!(keys(&ks).is_empty() && ks.iter().next_back().is_none());
        assert_eq!(
            ks.at(&snapshot).get("k").unwrap().as_deref(),
            Some(&b"for a time"[..]),
            "its time is before"
        );
        db.flush().unwrap();
        ks.compact_range(..).unwrap();
    }
    assert_eq!(scan.count(), 1, "a scan has the time of its beginning");
    drop(snapshot);
    ks.compact_range(..).unwrap();
    assert_eq!((ks.approximate_len(), ks.get("k").unwrap()), (0, None));

    // Nor does time go back.
    drop(ks);
    db.close().unwrap();
    clock.set_unix_us(TestClock::START_UNIX_US);
    let db = open(&files, &clock);
    assert!(db.keyspace("k").unwrap().is_empty().unwrap());
}

#[test]
fn the_nearest_time_to_live_counts_and_is_stored_with_the_put() {
    let (files, clock) = (MemFs::new(), TestClock::new());
    let db = open(&files, &clock);
    let ks = db.keyspace_with("k", KeyspaceOptions::new().ttl(10 * SECOND)).unwrap();
    ks.insert("keyspace", "").unwrap();
    ks.insert_with("write", "", ttl(20)).unwrap();
    let mut batch = db.batch();
    batch.insert(&ks, "of the batch", "").insert_ttl(&ks, "own", "", 40 * SECOND);
    db.write_with(batch, ttl(30)).unwrap();
    ks.set_options(|options| options.ttl = None).unwrap();
    ks.insert("for good", "").unwrap();
    drop(ks);
    db.close().unwrap();

    let db = open(&files, &clock);
    let ks = db.keyspace("k").unwrap();
    let mut left = vec!["for good", "keyspace", "of the batch", "own", "write"];
    for gone in ["", "keyspace", "write", "of the batch", "own"] {
        left.retain(|key| *key != gone);
        assert_eq!(keys(&ks), left);
        clock.advance(10 * SECOND);
    }
}

/// Before the first put of a table expires none of its values is looked at; from then on each is.
#[test]
fn the_puts_of_a_table_expire_one_by_one_each_at_its_time() {
    const MICROSECOND: Duration = Duration::from_micros(1);
    let (files, clock) = (MemFs::new(), TestClock::new());
    let db = open(&files, &clock);
    let ks = db.keyspace("k").unwrap();
    let lives = [(3, 0), (1, 7), (2, 22), (2, 23), (1, 200), (3, 200)]; // Seconds, bytes.
    for (n, (seconds, bytes)) in lives.into_iter().enumerate() {
        ks.insert_with([n as u8], vec![n as u8; bytes], ttl(seconds)).unwrap();
    }
    ks.insert([9], "for good").unwrap();
    let check = |seconds: u32| {
        let left = lives.into_iter().enumerate().filter(|(_, life)| life.0 > seconds);
        let values = left.map(|(n, (_, bytes))| (vec![n as u8], vec![n as u8; bytes]));
        let expected: Vec<_> = values.chain([(vec![9], b"for good".to_vec())]).collect();
        let pair = |(key, value): (Slice, Slice)| (key.to_vec(), value.to_vec());
        assert_eq!(ks.iter().map(|entry| pair(entry.unwrap())).collect::<Vec<_>>(), expected);
        let backwards = ks.iter().rev().map(|entry| pair(entry.unwrap()));
        assert!(backwards.eq(expected.iter().rev().cloned()));
        assert_eq!(ks.iter().keys().count(), expected.len());
        for n in 0..10 {
            let value = expected.iter().find(|(key, _)| *key == [n]).map(|(_, value)| &value[..]);
            assert_eq!(ks.get([n]).unwrap().as_deref(), value);
            assert_eq!(ks.contains([n]).unwrap(), value.is_some());
            assert_eq!(ks.value_len([n]).unwrap(), value.map(|value| value.len() as u32));
        }
    };

    check(0);
    db.flush().unwrap();
    check(0);
    for seconds in 1..4 {
        clock.advance(SECOND - MICROSECOND);
        check(seconds - 1);
        clock.advance(MICROSECOND);
        check(seconds);
    }
}

#[test]
fn tables_of_what_has_expired_go_without_being_read() {
    let (files, clock) = (MemFs::new(), TestClock::new());
    let db = open(&files, &clock);
    let ks = db.keyspace_with("k", merging_tables().ttl(60 * SECOND)).unwrap();
    for n in 0..2_000_u32 {
        ks.insert(n.to_be_bytes(), [7; 100]).unwrap();
    }
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();
    let read_before = ks.stats().tree.compaction_read_bytes;
    clock.advance(61 * SECOND);
    ks.insert("new", "").unwrap();
    db.flush().unwrap();
    db.wait_idle(SOON).unwrap();

    assert_eq!(ks.stats().tree.compaction_read_bytes, read_before, "nothing was read");
    assert_eq!((ks.approximate_len(), keys(&ks)), (1, vec!["new".to_owned()]));
}

#[test]
fn an_operand_on_an_expired_put_stands_on_nothing() {
    let (files, clock) = (MemFs::new(), TestClock::new());
    let db = open(&files, &clock);
    let ks = db.keyspace_with("k", merging_tables()).unwrap();
    ks.insert_with("k", "1", ttl(10)).unwrap();
    ks.merge("k", "2").unwrap();
    for _ in 0..2 {
        assert_eq!(ks.get("k").unwrap().as_deref(), Some(&b"1,2"[..]));
        db.flush().unwrap();
        ks.compact_range(..).unwrap();
    }
    clock.advance(10 * SECOND);
    for _ in 0..2 {
        assert_eq!(ks.get("k").unwrap().as_deref(), Some(&b"2"[..]));
        db.flush().unwrap();
        ks.compact_range(..).unwrap();
    }
}

/// Does what the value says.
pub(crate) struct AsTold;

impl CompactionFilterFactory for AsTold {
    fn name(&self) -> &str {
        "app.as_told"
    }

    fn make(&self, _context: &FilterContext) -> Box<dyn CompactionFilter> {
        Box::new(AsTold)
    }
}

impl CompactionFilter for AsTold {
    fn filter(&mut self, entry: &FilterEntry<'_>) -> isopach::engine::error::Result<Verdict> {
        Ok(match &entry.value()?[..] {
            b"remove" => Verdict::Remove,
            b"weak" => Verdict::RemoveWeak,
            b"replace" => Verdict::Replace(b"replaced".into()),
            b"until" => Verdict::RemoveUntil(b"m".into()),
            b"panic" => panic!("as it was told"),
            b"fail" => {
                return Err(isopach::engine::error::Error::new(
                    isopach::engine::error::ErrorKind::Cancelled,
                    "no",
                ));
            }
            _ => Verdict::Keep,
        })
    }
}

fn filtered(files: &MemFs) -> (Db, Keyspace) {
    let db = small(files.clone()).compaction_filter(AsTold).open().unwrap();
    let ks = db.keyspace_with("k", merging_tables().compaction_filter(&AsTold)).unwrap();
    (db, ks)
}

#[test]
fn a_filter_keeps_removes_and_replaces_newest_values_that_no_snapshot_sees() {
    let (db, ks) = filtered(&MemFs::new());
    ks.insert("a", "keep").unwrap();
    ks.insert("b", "remove").unwrap();
    ks.insert("c", "replace").unwrap();
    ks.insert("d", "older").unwrap();
    ks.insert("seen", "remove").unwrap();
    let snapshot = db.snapshot();
    ks.insert("d", "weak").unwrap();
    ks.insert("k", "until").unwrap();
    ks.insert("l", "before m").unwrap();
    ks.insert("m", "m").unwrap();
    ks.merge("operand", "remove").unwrap();
    db.flush().unwrap();

    assert_eq!(keys(&ks), ["a", "b", "c", "d", "m", "operand", "seen"], "the snapshot sees all but three");
    assert_eq!(ks.get("d").unwrap().as_deref(), Some(&b"older"[..]));
    assert_eq!(ks.at(&snapshot).count(..).unwrap(), 5);
    drop(snapshot);
    ks.compact_range(..).unwrap();
    assert_eq!(keys(&ks), ["a", "c", "d", "m"]);
    assert_eq!(ks.get("c").unwrap().as_deref(), Some(&b"replaced"[..]));
}

#[test]
fn a_filter_that_fails_or_panics_ends_its_job_and_changes_nothing() {
    let files = MemFs::new();
    let (db, ks) = filtered(&files);
    for what in ["fail", "panic"] {
        ks.insert("k", what).unwrap();
        let error = db.flush().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FilterFailed, "{error}");
        assert!(error.to_string().contains("\"k\""), "{error}");
        assert_eq!(ks.get("k").unwrap().as_deref(), Some(what.as_bytes()));
    }
    ks.insert("k", "fine now").unwrap();
    db.flush().unwrap();
    drop(ks);
    db.close().unwrap();

    let db = small(files).open().unwrap();
    assert_eq!(db.keyspace("k").unwrap_err().kind(), ErrorKind::MissingCompactionFilter);
}
