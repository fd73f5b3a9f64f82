//! Databases through types.

use super::draw::many;
use isopach::{
    Db, Durability, ErrorKind, WriteOptions,
    env::MemFs,
    typed::{Key, Postcard, Typed},
};
use std::{cmp::Reverse, collections::BTreeMap, fmt::Debug, ops::Bound};
use testkit::{Rng, db::small, seeds};

fn all<T: Debug>(entries: impl Iterator<Item = isopach::Result<T>>) -> Vec<T> {
    entries.map(Result::unwrap).collect()
}

#[test]
fn entries_are_put_read_and_removed() {
    let db = Db::in_memory().unwrap();
    let users: Typed<(u64, String), String> = Typed::new(db.keyspace("users").unwrap());

    let first = users.insert(&(1, "ada"), "Ada").unwrap();
    let sync = WriteOptions::new().durability(Durability::Sync);
    let second = users.insert_with(&(2, "bob".to_owned()), &"Bob".to_owned(), sync).unwrap();
    users.insert(&(2, "eve"), "Eve").unwrap();
    users.remove(&(2, "eve")).unwrap();

    assert!(first < second && db.durable_seqno() >= second);
    assert_eq!(users.get(&(1, "ada")).unwrap().as_deref(), Some("Ada"));
    assert_eq!(users.get(&(1, "bob")).unwrap(), None);
    assert!(users.contains(&(2, "bob")).unwrap() && !users.contains(&(2, "eve")).unwrap());
    assert_eq!(users.first().unwrap(), Some(((1, "ada".into()), "Ada".into())));
    assert_eq!(users.last().unwrap(), Some(((2, "bob".into()), "Bob".into())));
    assert_eq!(users.raw().get((1_u64, "ada".to_owned()).to_key_bytes()).unwrap().unwrap(), b"Ada");
}

#[test]
fn ranges_and_prefixes_are_those_of_a_sorted_map() {
    type K = (Reverse<String>, i8, Vec<u8>);
    for seed in seeds(3) {
        let mut rng = Rng::new(seed);
        let db = Db::in_memory().unwrap();
        let typed: Typed<K, u32> = Typed::new(db.keyspace("k").unwrap());
        let mut model = BTreeMap::new();
        for (n, key) in (0..).zip(many::<K>(300, &mut rng)) {
            typed.insert(&key, &n).unwrap();
            model.insert(key, n);
        }
        let sorted: Vec<(K, u32)> = model.clone().into_iter().collect();
        assert_eq!(all(typed.iter()), sorted);
        assert_eq!(all(typed.iter().rev().map(|entry| entry.map(|(_, n)| n))).len(), sorted.len());
        assert!(all(typed.iter().keys()).iter().eq(model.keys()));
        assert!(all(typed.iter().keys().rev()).iter().eq(model.keys().rev()));

        for _ in 0..50 {
            let [low, high] = [(); 2].map(|()| rng.pick(&sorted).0.clone());
            let (low, high) = (low.clone().min(high.clone()), low.max(high));
            let ends = |key: &K, rng: &mut Rng| match rng.below(3) {
                0 => Bound::Included(key.clone()),
                1 => Bound::Excluded(key.clone()),
                _ => Bound::Unbounded,
            };
            let (from, to) = (ends(&low, &mut rng), ends(&high, &mut rng));
            let is_empty = low == high && matches!((&from, &to), (Bound::Excluded(_), Bound::Excluded(_)));
            let expected = |(from, to)| match is_empty {
                true => Vec::new(), // `BTreeMap` panics where this is empty.
                false => model.range((from, to)).map(|(key, &n)| (key.clone(), n)).collect::<Vec<_>>(),
            };
            let expected = expected((from.clone(), to.clone()));
            assert_eq!(all(typed.range((from.clone(), to.clone()))), expected);
            let backwards = all(typed.range((from, to)).rev());
            assert!(backwards.iter().eq(expected.iter().rev()));

            let of_low = all(typed.prefix((Reverse(low.0.0.as_str()),)).keys());
            assert!(of_low.iter().eq(model.keys().filter(|key| key.0 == low.0)));
            let of_both = all(typed.prefix((Reverse(low.0.0.as_str()), low.1)).keys().rev());
            assert!(of_both.iter().rev().eq(model.keys().filter(|key| (&key.0, key.1) == (&low.0, low.1))));
        }
    }
}

/// Literals and borrowed strings need no annotation.
#[test]
fn ranges_are_written_as_those_of_maps() {
    let db = Db::in_memory().unwrap();
    let numbers: Typed<u64, ()> = Typed::new(db.keyspace("numbers").unwrap());
    let names: Typed<String, u8> = Typed::new(db.keyspace("names").unwrap());
    for n in 0..10 {
        numbers.insert(&n, &()).unwrap();
        names.insert(&format!("n{n}"), &(n as u8)).unwrap();
    }

    assert_eq!(all(numbers.range(3..5).keys()), [3, 4]);
    assert_eq!(all(numbers.range(..=1).keys().rev()), [1, 0]);
    #[allow(clippy::reversed_empty_ranges, reason = "this is what is tested")]
    let reversed = numbers.range(5..3).count();
    assert_eq!(reversed, 0);
    assert_eq!(all(names.range("n4".."n6")), [("n4".to_owned(), 4), ("n5".to_owned(), 5)]);
    let low = "n8".to_owned();
    assert_eq!(all(names.range(&*low..).keys()), ["n8", "n9"]);
}

#[test]
fn an_iterator_seeks_inside_of_its_bounds() {
    let db = Db::in_memory().unwrap();
    let numbers: Typed<i32, ()> = Typed::new(db.keyspace("numbers").unwrap());
    for n in -10..10 {
        numbers.insert(&n, &()).unwrap();
    }

    let mut entries = numbers.range(-5..5);
    entries.seek(&-2).seek_back(&2);

    assert_eq!(all(entries.keys()), [-2, -1, 0, 1, 2]);
}

#[test]
fn a_batch_of_several_types_is_written_whole() {
    let db = Db::in_memory().unwrap();
    let users: Typed<u64, String> = Typed::new(db.keyspace("users").unwrap());
    let by_name: Typed<(String, u64), ()> = Typed::new(db.keyspace("by_name").unwrap());
    users.insert(&1, "Ada").unwrap();
    by_name.insert(&("Ada", 1), &()).unwrap();
    let before = db.snapshot();

    let mut batch = db.batch();
    users.insert_in(&mut batch, &1, "Grace").unwrap();
    by_name.remove_in(&mut batch, &("Ada", 1));
    by_name.insert_in(&mut batch, &("Grace", 1), &()).unwrap();
    assert_eq!((batch.len(), users.get(&1).unwrap().as_deref()), (3, Some("Ada")));
    db.write(batch).unwrap();

    assert_eq!(users.get(&1).unwrap().as_deref(), Some("Grace"));
    assert_eq!(all(by_name.iter().keys()), [("Grace".to_owned(), 1)]);
    assert_eq!(users.at(&before).get(&1).unwrap().as_deref(), Some("Ada"));
    assert_eq!(all(by_name.at(&before).prefix(("Ada",)).keys()), [("Ada".to_owned(), 1)]);
}

#[test]
fn a_database_that_is_open_for_reading_has_types_too() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let users: Typed<u64, String> = Typed::new(db.keyspace("users").unwrap());
    users.insert(&1, "Ada").unwrap();
    drop(users);
    db.close().unwrap();

    let db = small(files).open_read_only().unwrap();
    let users: Typed<u64, String, _> = Typed::new(db.keyspace("users").unwrap());

    assert_eq!(all(users.clone().iter()), [(1, "Ada".to_owned())]);
}

#[test]
fn what_is_of_another_type_is_an_error_that_names_keyspace_and_key() {
    let db = Db::in_memory().unwrap();
    let raw = db.keyspace("mixed").unwrap();
    let typed: Typed<u16, u32> = Typed::new(raw.clone());
    typed.insert(&1, &10).unwrap();
    raw.insert([0, 2], "no number").unwrap();
    raw.insert([0, 2, 9], 5_u32.to_le_bytes()).unwrap();
    typed.insert(&3, &30).unwrap();

    let value = typed.get(&2).unwrap_err();
    assert_eq!((value.kind(), value.keyspace()), (ErrorKind::Corruption, Some("mixed")));
    assert_eq!(
        value.to_string(),
        "keyspace \"mixed\": corrupt: key b\"\\x00\\x02\": 9 bytes where 4 must be"
    );

    // The iterator goes on behind what it cannot decode.
    let entries: Vec<_> = typed.iter().collect();
    let found: Vec<_> = entries.iter().map(|entry| entry.as_ref().ok()).collect();
    assert_eq!(found, [Some(&(1, 10)), None, None, Some(&(3, 30))]);
    let key = entries[2].as_ref().unwrap_err();
    let bytes = || Bound::Included(vec![0, 2, 9]);
    assert_eq!(key.keys(), Some(&(bytes(), bytes())));
    assert!(key.to_string().ends_with("1 bytes follow the key"), "{key}");
    assert_eq!(typed.iter().keys().filter(Result::is_ok).count(), 3);
}

#[test]
fn what_cannot_be_written_changes_nothing() {
    let db = Db::in_memory().unwrap();
    // Its length cannot be told beforehand, and the format wants it first.
    struct Endless;
    impl serde::Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde::ser::SerializeSeq::end(serializer.serialize_seq(None)?)
        }
    }
    impl<'de> serde::Deserialize<'de> for Endless {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Endless, D::Error> {
            Ok(Endless)
        }
    }
    let typed: Typed<String, Postcard<Endless>> = Typed::new(db.keyspace("k").unwrap());
    let mut batch = db.batch();

    let alone = typed.insert("a", &Postcard(Endless)).unwrap_err();
    let in_batch = typed.insert_in(&mut batch, "a", &Postcard(Endless)).unwrap_err();
    let long_key = Typed::<String, u8>::new(typed.raw().clone()).insert(&"x".repeat(65_534), &1).unwrap_err();

    assert_eq!((alone.kind(), alone.keyspace()), (ErrorKind::InvalidArgument, Some("k")));
    assert_eq!((in_batch.kind(), batch.is_empty()), (ErrorKind::InvalidArgument, true));
    assert_eq!(long_key.kind(), ErrorKind::KeyTooLarge);
    assert!(typed.raw().is_empty().unwrap());
}
