//! Calls that are wrong in themselves: each is refused with its own error, and nothing of it happens.

use isopach::{ErrorKind, Seqno, env::MemFs};
use testkit::db::{contents, small};

const MAX_KEY_BYTES: usize = 65_535;

#[test]
fn the_longest_key_is_taken_and_one_byte_more_is_too_large() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let (longest, too_long) = (vec![b'k'; MAX_KEY_BYTES], vec![b'k'; MAX_KEY_BYTES + 1]);

    ks.insert(&longest, "v").unwrap();
    let seqno = db.seqno();
    for error in [ks.insert(&too_long, "v").unwrap_err(), ks.remove(&too_long).unwrap_err()] {
        assert_eq!((error.kind(), error.keyspace()), (ErrorKind::KeyTooLarge, Some("k")), "{error}");
    }
    let mut batch = db.batch();
    batch.insert(&ks, "a", "1").insert(&ks, &too_long, "2").insert(&ks, "b", "3");
    assert_eq!(db.write(batch).unwrap_err().kind(), ErrorKind::KeyTooLarge);

    assert_eq!(db.seqno(), seqno);
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    assert_eq!(ks.count(..).unwrap(), 1);
    assert_eq!(ks.get(&longest).unwrap().unwrap(), b"v");
    assert_eq!(ks.get(&too_long).unwrap(), None, "a key that cannot be is not there");
    assert_eq!(ks.range(too_long..).count(), 0);
}

#[test]
fn a_bad_name_of_a_keyspace_is_refused() {
    let db = small(MemFs::new()).open().unwrap();
    let too_long = "x".repeat(256);

    for name in ["", "a/b", "/", "line\n", "nul\0", "\u{7f}", &too_long] {
        assert_eq!(db.keyspace(name).unwrap_err().kind(), ErrorKind::InvalidArgument, "{name:?}");
        assert!(!db.drop_keyspace(name).unwrap_or(false));
    }
    assert!(db.keyspaces().is_empty());
    for name in ["..", " ", "a b", "ü", "MANIFEST-000001", &too_long[1..]] {
        db.keyspace(name).unwrap().insert("k", name).unwrap();
    }
    assert_eq!(contents(&db).len(), 6);
}

#[test]
fn handles_of_another_database_are_refused() {
    let (one, two) = (small(MemFs::new()).open().unwrap(), small(MemFs::new()).open().unwrap());
    let (of_one, of_two) = (one.keyspace("k").unwrap(), two.keyspace("k").unwrap());
    let before = (one.seqno(), two.seqno());

    let mut foreign = one.batch();
    foreign.insert(&of_two, "k", "v");
    assert_eq!(one.write(foreign).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let mut mixed = one.batch();
    mixed.insert(&of_one, "k", "v").insert(&of_two, "k", "v");
    assert_eq!(one.write(mixed.clone()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(two.write(mixed).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(of_one.at(&two.snapshot()).get("k").unwrap_err().kind(), ErrorKind::InvalidArgument);

    assert_eq!((one.seqno(), two.seqno()), before);
    assert!(of_one.is_empty().unwrap() && of_two.is_empty().unwrap());
}

#[test]
fn waiting_for_what_was_never_committed_is_refused() {
    let db = small(MemFs::new()).open().unwrap();
    let seqno = db.keyspace("k").unwrap().insert("k", "v").unwrap();
    let next = seqno.checked_add(1).unwrap();

    assert_eq!(db.wait_durable(next).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(db.wait_durable(Seqno::MAX).unwrap_err().kind(), ErrorKind::InvalidArgument);
    db.wait_durable(seqno).unwrap();
    db.wait_durable(Seqno::ZERO).unwrap();
}

#[test]
fn an_empty_batch_takes_no_number_and_a_cleared_one_is_empty() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let seqno = ks.insert("k", "v").unwrap();
    let mut batch = db.batch();
    batch.insert(&ks, vec![0; MAX_KEY_BYTES + 1], "too large").insert(&ks, "l", "v");
    batch.clear();

    assert_eq!(db.write(batch.clone()).unwrap(), seqno);
    assert_eq!(db.seqno(), seqno);
    batch.insert(&ks, "m", "1").remove(&ks, "m").insert(&ks, "m", "2");
    assert_eq!(batch.len(), 3);
    assert!(db.write(batch).unwrap() > seqno);
    assert_eq!(ks.get("m").unwrap().unwrap(), b"2", "the later write of a batch wins");
}

#[test]
fn empty_keys_and_values_are_like_any_other() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.insert("", "").unwrap();
    ks.insert([0], "").unwrap();

    for round in 0..3 {
        assert_eq!(ks.get("").unwrap().as_deref(), Some(&b""[..]), "round {round}");
        assert_eq!(ks.first().unwrap().unwrap().0, b"");
        assert_eq!(ks.count(..).unwrap(), 2);
        assert_eq!(ks.count(.."").unwrap(), 0);
        assert_eq!(ks.prefix("").count(), 2);
        if round == 0 {
            db.flush().unwrap();
        } else {
            ks.compact_range(..).unwrap();
        }
    }
    ks.remove("").unwrap();
    assert_eq!(ks.first().unwrap().unwrap().0, &[0]);
    drop(ks);
    db.close().unwrap();
    assert_eq!(small(files).open().unwrap().keyspace("k").unwrap().count(..).unwrap(), 1);
}
