//! What scenarios of a whole database have in common: writers that remember what they were told.

use isopach::{Db, Durability, ErrorKind, Keyspace, Readable, Seqno, WriteOptions};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Every key is written once, with itself as value.
pub(crate) type Written = Arc<Mutex<BTreeMap<Vec<u8>, Seqno>>>;

/// What `written` says that a view at `seqno` holds.
pub(crate) fn visible_at(written: &Written, seqno: Seqno) -> Vec<Vec<u8>> {
    let written = written.lock().unwrap();
    written.iter().filter(|(_, at)| **at <= seqno).map(|(key, _)| key.clone()).collect()
}

/// All keys of a keyspace.
pub(crate) fn keys(keyspace: &impl Readable) -> Vec<Vec<u8>> {
    let entry = |entry: isopach::Result<(isopach::Slice, isopach::Slice)>| {
        let (key, value) = entry.expect("a sound keyspace");
        assert!(value.starts_with(&key), "a value of another key");
        key.to_vec()
    };
    keyspace.iter().map(entry).collect()
}

/// Writes `key`, with itself as value, and remembers the number of the commit. It is read back.
pub(crate) fn write(db: &Db, ks: &Keyspace, key: &str, durability: Durability, written: &Written) {
    write_long(db, ks, key, key.len(), durability, written);
}

/// As [`write`], of a value of `bytes` bytes that begins with the key.
pub(crate) fn write_long(
    db: &Db,
    ks: &Keyspace,
    key: &str,
    bytes: usize,
    durability: Durability,
    written: &Written,
) {
    let mut value = vec![b'.'; bytes.max(key.len())];
    value[..key.len()].copy_from_slice(key.as_bytes());
    let seqno = ks.insert_with(key, &value, WriteOptions::new().durability(durability)).unwrap();
    written.lock().unwrap().insert(key.into(), seqno);

    assert!(db.seqno() >= seqno, "what is acknowledged is visible");
    assert!(durability != Durability::Sync || db.durable_seqno() >= seqno, "and durable, if that was asked");
    assert_eq!(ks.get(key).unwrap().as_deref(), Some(&value[..]), "a writer reads its own write");
}

/// Whether a call was let in; any other error than that of a closed database is a failure.
pub(crate) fn unless_closed<T>(result: isopach::Result<T>) -> Option<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::Closed => None,
        result => Some(result.unwrap()),
    }
}
