use super::*;
use crate::{
    iter::simulated::{Dice, with_seeds},
    order::tests::orders,
};
use alloc::vec;

fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

fn tombstone(start: &[u8], end: &[u8], number: u64) -> RangeTombstone {
    RangeTombstone::of_version(start, seqno(number), end)
}

/// Keys of up to two bytes of which each is one of three: every border and what lies right beside it.
fn keys() -> Vec<Vec<u8>> {
    let bytes = [0, 1, 0xff];
    let one = bytes.iter().map(|&byte| vec![byte]);
    let two = bytes.iter().flat_map(|&a| bytes.iter().map(move |&b| vec![a, b]));
    core::iter::once(Vec::new()).chain(one).chain(two).collect()
}

/// What is asked of the index, by going over all.
fn newest_by_hand(order: &KeyOrder, all: &[RangeTombstone], key: &[u8], at: Seqno) -> Option<Seqno> {
    all.iter().filter(|it| it.covers(order, key) && it.seqno <= at).map(|it| it.seqno).max()
}

/// Some tombstones of up to 11 numbers.
fn any_tombstones(order: &KeyOrder, dice: &mut Dice, most: u64) -> Vec<RangeTombstone> {
    let keys = keys();
    let mut all = Vec::new();
    for _ in 0..dice.below(most + 1) {
        let (start, end) = (&keys[dice.index(keys.len())], &keys[dice.index(keys.len())]);
        if end.is_empty() || order.is_less(start, end) {
            all.push(tombstone(start, end, 1 + dice.below(11)));
        }
    }
    all
}

fn with_orders_and_seeds(count: u64, run: impl Fn(&KeyOrder, &mut Dice)) {
    orders().iter().for_each(|order| with_seeds(count, |dice| run(order, dice)));
}

#[test]
fn every_key_is_covered_by_the_newest_tombstone_over_it_that_a_view_sees() {
    with_orders_and_seeds(2_000, |order, dice| {
        let sources: Vec<_> = (0..dice.below(4)).map(|_| any_tombstones(order, dice, 6)).collect();
        let all: Vec<RangeTombstone> = sources.concat();
        let at = seqno(dice.below(13));
        let source = |source| Arc::new(RangeTombstones::new(order, source));
        let hidden = Hidden::new(sources.into_iter().map(source).collect(), at);
        let mut near = HiddenNear::new(hidden.clone());

        for key in keys() {
            let expected = newest_by_hand(order, &all, &key, at).unwrap_or(Seqno::ZERO);
            assert_eq!(hidden.below(&key), expected, "{key:?}");
            assert_eq!(near.below(&key), expected, "{key:?}");
            let (low, high) = (near.low(&key).map(Vec::from), near.high(&key).map(Vec::from));
            let is_inside = |key: &[u8]| {
                low.as_ref().is_none_or(|low| order.is_at_most(low, key))
                    && high.as_ref().is_none_or(|high| order.is_less(key, high))
            };
            assert!(is_inside(&key), "a stretch holds what it was asked for");
            for other in keys().into_iter().filter(|key| is_inside(key)) {
                assert_eq!(hidden.below(&other), expected, "{other:?} is as {key:?}");
            }
        }
    });
}

#[test]
fn a_range_is_covered_whole_if_each_of_its_keys_is_by_something_newer() {
    with_seeds(5_000, |dice| {
        let order = &KeyOrder::BYTES;
        let all = any_tombstones(order, dice, 6);
        let Some(one) = any_tombstones(order, dice, 3).pop() else { return };

        let found =
            RangeTombstones::new(order, all.clone()).cover_whole(&one.start, one.end_bound(), one.seqno);

        // Between two borders there is nothing that the keys and their successors do not tell.
        let every = keys().into_iter().flat_map(|key| [successor(&key), key]);
        let is_covered = |key: &[u8]| newest_by_hand(order, &all, key, Seqno::MAX) > Some(one.seqno);
        let expected = every.filter(|key| one.covers(order, key)).all(|key| is_covered(&key));
        assert_eq!(found, expected, "{one:?} by {all:?}");
    });
}

#[test]
fn a_range_that_is_covered_whole_has_no_key_that_is_not() {
    with_orders_and_seeds(2_000, |order, dice| {
        let all = any_tombstones(order, dice, 6);
        let Some(one) = any_tombstones(order, dice, 3).pop() else { return };

        if RangeTombstones::new(order, all.clone()).cover_whole(&one.start, one.end_bound(), one.seqno) {
            let is_covered = |key: &[u8]| newest_by_hand(order, &all, key, Seqno::MAX) > Some(one.seqno);
            assert!(keys().iter().filter(|key| one.covers(order, key)).all(|key| is_covered(key)));
        }
    });
}

#[test]
fn what_a_table_says_of_them_is_read_back() {
    with_orders_and_seeds(500, |order, dice| {
        let mut all = any_tombstones(order, dice, 8);
        all.push(tombstone(b"a", b"", 3));
        all.sort_by(|a, b| order.compare(&a.start, &b.start).then(b.seqno.cmp(&a.seqno)));
        all.dedup_by(|a, b| (&a.start, a.seqno) == (&b.start, b.seqno));

        let bytes = RangeTombstones::encode(&all);

        assert_eq!(RangeTombstones::decode(&bytes, order).unwrap().all(), &all[..]);
        for end in 0..bytes.len() {
            assert!(RangeTombstones::decode(&bytes[..end], order).is_err());
        }
    });
}

#[test]
fn tombstones_in_another_order_are_refused() {
    let [bytes, reverse, _] = orders();
    let all = [tombstone(b"d", b"c", 2), tombstone(b"b", b"a", 1)];

    let encoded = RangeTombstones::encode(&all);

    assert!(RangeTombstones::decode(&encoded, &reverse).is_ok());
    assert!(RangeTombstones::decode(&encoded, &bytes).is_err());
}

#[test]
fn a_range_without_keys_is_no_delete() {
    use Bound::{Excluded, Included, Unbounded};

    let of = |low, high| range_of_delete(&KeyOrder::BYTES, low, high).unwrap();

    assert_eq!(of(Included(b"b"), Excluded(b"b")), None);
    assert_eq!(of(Unbounded, Excluded(b"")), None);
    assert_eq!(of(Excluded(b"a"), Excluded(b"a\0")), None);
    assert_eq!(of(Included(b"b"), Included(b"b")), Some((b"b".into(), b"b\0".into())));
    assert_eq!(of(Excluded(b"a"), Unbounded), Some((b"a\0".into(), b"".into())));
    let longest = vec![7; MAX_KEY_BYTES];
    let (start, _) = of(Excluded(&longest), Unbounded).unwrap();
    assert!(start.len() == MAX_KEY_BYTES && start.last() == Some(&8), "the next key that is none too long");
    let last = vec![0xff; MAX_KEY_BYTES];
    assert_eq!(of(Excluded(&last), Unbounded), None);
    assert!(range_of_delete(&KeyOrder::BYTES, Included(b"b"), Excluded(b"a")).is_err());
}

#[test]
fn under_another_order_a_deleted_range_has_a_first_key_and_no_last_one() {
    use Bound::{Excluded, Included, Unbounded};

    let [_, reverse, _] = orders();
    let of = |low, high| range_of_delete(&reverse, low, high);

    assert_eq!(of(Included(b"b"), Excluded(b"a")).unwrap(), Some((b"b".into(), b"a".into())));
    assert_eq!(of(Included(b"b"), Unbounded).unwrap(), Some((b"b".into(), b"".into())));
    assert_eq!(of(Included(b"b"), Excluded(b"b")).unwrap(), None);
    for (low, high) in [
        (Included(&b"a"[..]), Excluded(&b"b"[..])),
        (Included(b"b"), Included(b"a")),
        (Included(b"b"), Excluded(b"")),
        (Excluded(b"b"), Excluded(b"a")),
        (Unbounded, Excluded(b"a")),
        (Unbounded, Unbounded),
    ] {
        assert_eq!(of(low, high).unwrap_err().kind(), ErrorKind::InvalidArgument, "{low:?} {high:?}");
    }
}
