//! Merge operators: what operands come to, where they are kept, and what goes wrong with them.

use isopach::{
    Db, ErrorKind, Keyspace, KeyspaceOptions, MergeError, MergeOperator,
    env::MemFs,
    merge::{AddU64, Append},
};
use testkit::db::{SOON, small};

/// Concatenates, folds nothing, and refuses or panics when told to.
struct Picky;

impl MergeOperator for Picky {
    fn name(&self) -> &str {
        "app.picky"
    }

    fn merge(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), MergeError> {
        out.extend_from_slice(base.unwrap_or(b"-"));
        for operand in operands {
            match *operand {
                b"refuse" => return Err(MergeError::new("as it was told")),
                b"panic" => panic!("as it was told"),
                other => out.extend_from_slice(other),
            }
        }
        Ok(())
    }
}

fn open(files: &MemFs) -> (Db, Keyspace) {
    let db = small(files.clone()).merge_operator(Picky).open().unwrap();
    let ks = db.keyspace_with("k", KeyspaceOptions::new().merge_operator(&Picky)).unwrap();
    (db, ks)
}

fn text(keyspace: &Keyspace, key: &str) -> Option<String> {
    keyspace.get(key).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn operands_are_merged_over_all_places_they_lie_in() {
    let files = MemFs::new();
    let (db, ks) = open(&files);
    ks.insert("k", "base").unwrap();
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    ks.merge("k", "1").unwrap();
    db.flush().unwrap();
    let snapshot = db.snapshot();
    ks.merge("k", "2").unwrap();
    ks.merge("k", "3").unwrap();
    ks.merge("new", "x").unwrap();

    for step in 0..3 {
        assert_eq!(text(&ks, "k").as_deref(), Some("base123"), "{step}");
        assert_eq!(ks.at(&snapshot).get("k").unwrap().as_deref(), Some(&b"base1"[..]));
        let all: Vec<_> = ks.iter().map(|entry| entry.unwrap().1.to_vec()).collect();
        assert_eq!(all, [&b"base123"[..], b"-x"]);
        let back: Vec<_> = ks.iter().rev().map(|entry| entry.unwrap().1.to_vec()).collect();
        assert_eq!(back, [&b"-x"[..], b"base123"]);
        assert_eq!((ks.contains("k").unwrap(), ks.value_len("new").unwrap()), (true, Some(2)));
        db.flush().unwrap();
        ks.compact_range(..).unwrap();
    }
    ks.remove("k").unwrap();
    ks.merge("k", "4").unwrap();
    assert_eq!(text(&ks, "k").as_deref(), Some("-4"));
}

#[test]
fn a_counter_is_one_put_after_compaction() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", KeyspaceOptions::new().merge_operator(&AddU64)).unwrap();
    for n in 0..2_000_u64 {
        ks.merge("count", 1_u64.to_le_bytes()).unwrap();
        if n % 500 == 0 {
            db.flush().unwrap();
        }
    }
    let counted = || u64::from_le_bytes(ks.get("count").unwrap().unwrap()[..].try_into().unwrap());
    assert_eq!(counted(), 2_000);
    db.flush().unwrap();
    db.wait_idle(SOON).unwrap();
    assert!(
        ks.approximate_len() < 10,
        "operands were folded when they were flushed: {}",
        ks.approximate_len()
    );
    ks.compact_range(..).unwrap();
    assert_eq!((counted(), ks.approximate_len()), (2_000, 1));
}

#[test]
fn a_refusal_names_operator_and_key_and_loses_nothing() {
    let (db, ks) = open(&MemFs::new());
    ks.insert("a", "1").unwrap();
    ks.merge("b", "refuse").unwrap();
    ks.merge("c", "panic").unwrap();
    ks.insert("d", "4").unwrap();

    for _ in 0..2 {
        for key in ["b", "c"] {
            let error = ks.get(key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MergeFailed);
            let told = error.to_string();
            assert!(told.contains("app.picky") && told.contains(&format!("\"{key}\"")), "{told}");
            assert_eq!(error.keyspace(), Some("k"));
        }
        // A scan goes on behind such a key.
        let found: Vec<_> =
            ks.iter().map(|entry| entry.map(|(key, _)| key).map_err(|error| error.kind())).collect();
        let failed = || Err(ErrorKind::MergeFailed);
        assert_eq!(found, [Ok("a".into()), failed(), failed(), Ok("d".into())]);
        db.flush().unwrap();
        ks.compact_range(..).unwrap();
    }
    ks.insert("b", "written over").unwrap();
    assert_eq!(text(&ks, "b").as_deref(), Some("written over"), "and the database goes on");
}

#[test]
fn without_operator_there_are_no_operands() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    assert_eq!(ks.merge("k", "1").unwrap_err().kind(), ErrorKind::InvalidArgument);
    let mut batch = db.batch();
    batch.insert(&ks, "a", "1").merge(&ks, "k", "1");
    assert_eq!(db.write(batch).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(ks.is_empty().unwrap());

    ks.set_options(|options| options.merge_operator = Some(Append::new().name().into())).unwrap();
    ks.merge("k", "1").unwrap();
    let other = |options: &mut KeyspaceOptions| options.merge_operator = Some(AddU64.name().into());
    assert_eq!(ks.set_options(other).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let none = |options: &mut KeyspaceOptions| options.merge_operator = None;
    assert_eq!(ks.set_options(none).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(text(&ks, "k").as_deref(), Some("1"));
}

#[test]
fn a_keyspace_whose_operator_is_missing_is_listed_and_not_opened() {
    let files = MemFs::new();
    let (db, ks) = open(&files);
    ks.insert("k", "0").unwrap();
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    ks.merge("k", "1").unwrap();
    db.keyspace("other").unwrap().insert("o", "1").unwrap();
    db.flush().unwrap();
    drop(ks);
    db.close().unwrap();

    let db = small(files.clone()).open().unwrap();
    assert_eq!(db.keyspaces().len(), 2);
    assert_eq!(db.keyspace("k").unwrap_err().kind(), ErrorKind::MissingMergeOperator);
    assert_eq!(db.keyspace("other").unwrap().count(..).unwrap(), 1);
    db.close().unwrap();
    let read = small(files.clone()).open_read_only().unwrap();
    assert_eq!(read.keyspace("k").unwrap().get("k").unwrap_err().kind(), ErrorKind::MissingMergeOperator);
    drop(read);
    let (_, ks) = open(&files);
    assert_eq!(text(&ks, "k").as_deref(), Some("01"));
}
