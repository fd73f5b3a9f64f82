//! Orders by themselves, and one for the tests of others.

use super::*;
use crate::types::Seqno;
use alloc::vec::Vec;

/// Shorter keys first, and those of one length by their bytes.
pub(crate) struct ByLength;

impl Comparator for ByLength {
    fn name(&self) -> &str {
        "test.by_length"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

/// Orders that differ, for tests of what must hold under all.
pub(crate) fn orders() -> [KeyOrder; 3] {
    [KeyOrder::BYTES, KeyOrder::of(Arc::new(ReverseByteOrder)), KeyOrder::of(Arc::new(ByLength))]
}

fn sorted<'a>(order: &KeyOrder, keys: &[&'a str]) -> Vec<&'a str> {
    let mut keys = Vec::from(keys);
    keys.sort_by(|a, b| order.compare(a.as_bytes(), b.as_bytes()));
    keys
}

#[test]
fn keys_are_sorted_as_the_order_says() {
    let [bytes, reverse, by_length] = orders();
    let keys = ["b", "", "aa", "a"];

    assert_eq!(sorted(&bytes, &keys), ["", "a", "aa", "b"]);
    assert_eq!(sorted(&reverse, &keys), ["b", "aa", "a", ""]);
    assert_eq!(sorted(&by_length, &keys), ["", "a", "b", "aa"]);
}

#[test]
fn versions_of_a_key_are_ordered_newest_first() {
    let place = |key, raw| InternalKey { key, seqno: Seqno::from_raw(raw).unwrap() };

    for order in orders() {
        assert!(order.is_before(place(b"k", 2), place(b"k", 1)), "{order:?}");
        assert!(order.is_before(InternalKey::first_of(b"k"), place(b"k", 2)), "{order:?}");
        assert!(order.is_before(place(b"k", 1), InternalKey::last_of(b"k")), "{order:?}");
    }
    let [bytes, reverse, _] = orders();
    assert!(bytes.is_before(InternalKey::last_of(b"j"), place(b"k", 2)));
    assert!(reverse.is_before(place(b"k", 2), InternalKey::first_of(b"j")));
}

#[test]
fn an_order_by_another_name_that_is_bytewise_is_that_of_bytes() {
    struct Mine;
    impl Comparator for Mine {
        fn name(&self) -> &str {
            "test.mine"
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            a.cmp(b)
        }

        fn is_bytewise(&self) -> bool {
            true
        }
    }

    assert!(KeyOrder::of(Arc::new(Mine)).is_bytewise());
    assert!(orders()[1..].iter().all(|order| !order.is_bytewise()));
}

#[test]
fn keys_that_a_comparator_calls_equal_are_ordered_by_their_bytes() {
    struct Caseless;
    impl Comparator for Caseless {
        fn name(&self) -> &str {
            "test.caseless"
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase())
        }
    }
    let order = KeyOrder::of(Arc::new(Caseless));

    assert_eq!(sorted(&order, &["b", "a", "B", "A"]), ["A", "a", "B", "b"]);
    assert!(order.check().is_ok());
}

#[test]
fn a_panic_is_an_error_from_then_on() {
    struct Panicking;
    impl Comparator for Panicking {
        fn name(&self) -> &str {
            "test.panicking"
        }

        fn compare(&self, _: &[u8], _: &[u8]) -> Ordering {
            panic!("a comparator of a test")
        }
    }
    let order = KeyOrder::of(Arc::new(Panicking));
    assert!(order.check().is_ok());

    assert_eq!(order.compare(b"a", b"b"), Ordering::Less);

    assert_eq!(order.check().map_err(|error| error.kind()), Err(ErrorKind::ComparatorFailed));
    assert_eq!(order.clone().check().map_err(|error| error.kind()), Err(ErrorKind::ComparatorFailed));
}

#[test]
fn names_are_found_and_those_that_are_built_in_are_reserved() {
    let mut known = Comparators::new();
    known.add(Arc::new(ByLength));

    assert!(known.validate().is_ok());
    for name in ["isopach.bytes", "isopach.bytes_reverse", "test.by_length"] {
        assert_eq!(known.find(name).unwrap().name(), name);
    }
    let missing = known.find("test.other").err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::MissingComparator);
    known.add(Arc::new(ReverseByteOrder));
    assert!(known.validate().is_err());
}
