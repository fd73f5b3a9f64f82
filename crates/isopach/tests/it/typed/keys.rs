//! What encodings of keys promise: order, that none begins another, one encoding for each key, prefixes.

use super::draw::{Draw, many};
use isopach::{
    ErrorKind,
    typed::{AsKey, Key, KeyPrefix},
};
use std::{
    cmp::{Ordering, Reverse},
    fmt::Debug,
};
use testkit::{Rng, seeds};

/// Compares keys by `order` with their bytes, each with each.
fn check_by<K: Key + Debug>(keys: &[K], order: impl Fn(&K, &K) -> Ordering) {
    let encoded: Vec<Vec<u8>> = keys.iter().map(Key::to_key_bytes).collect();
    for (key, bytes) in keys.iter().zip(&encoded) {
        let decoded = K::from_key_bytes(bytes).unwrap();
        assert_eq!(order(key, &decoded), Ordering::Equal, "{key:?} became {decoded:?}");
        let longer = [&bytes[..], &[0]].concat();
        for wrong in (0..bytes.len()).map(|len| &bytes[..len]).chain([&longer[..]]) {
            let error = K::from_key_bytes(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{wrong:x?} is no {key:?}");
        }
        for (other, other_bytes) in keys.iter().zip(&encoded) {
            let expected = order(key, other);
            assert_eq!(bytes.cmp(other_bytes), expected, "{key:?} to {other:?}");
            assert!(
                expected.is_eq() || !bytes.starts_with(other_bytes),
                "{other:?} begins {key:?}: {bytes:x?}"
            );
        }
    }
}

fn check<K: Key + Draw + Ord + Debug>() {
    for seed in seeds(3) {
        check_by(&many::<K>(100, &mut Rng::new(seed)), K::cmp);
    }
}

#[test]
fn numbers_and_characters_sort_as_they_do() {
    check::<(u8, u16)>();
    check::<u32>();
    check::<u64>();
    check::<u128>();
    check::<(i8, i16)>();
    check::<i32>();
    check::<i64>();
    check::<i128>();
    check::<char>();
    check::<bool>();
    check::<()>();
}

#[test]
fn strings_and_bytes_sort_as_they_do() {
    check::<String>();
    check::<Vec<u8>>();
    check::<[u8; 0]>();
    check::<[u8; 3]>();
}

#[test]
fn tuples_sort_by_their_components() {
    check::<(String,)>();
    check::<(String, u8)>();
    check::<(Vec<u8>, Vec<u8>)>();
    check::<(Vec<u8>, String, i32)>();
    check::<(bool, String, u8, Vec<u8>, i64, (), char, [u8; 2])>();
    check::<((String, u8), (Vec<u8>, (bool, String)), i16)>();
}

#[test]
fn none_comes_before_some() {
    check::<Option<u8>>();
    check::<Option<Option<String>>>();
    check::<(Option<String>, Option<()>, u8)>();
}

#[test]
fn reversed_keys_sort_the_other_way() {
    check::<Reverse<i64>>();
    check::<Reverse<String>>();
    check::<Reverse<Reverse<Vec<u8>>>>();
    check::<Reverse<(Vec<u8>, Option<String>)>>();
    check::<(Reverse<String>, Vec<u8>)>();
    check::<Reverse<(Vec<u8>, Reverse<(String, i8)>, u8)>>();
}

#[test]
fn floats_sort_in_their_total_order() {
    let mut doubles =
        vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MIN, f64::MAX];
    doubles.extend([f64::MIN_POSITIVE, -f64::MIN_POSITIVE, 5e-324, -5e-324, 1.0, -1.0, 1.5]);
    doubles.push(f64::from_bits(f64::NAN.to_bits() ^ 1)); // Another NaN: its bits are kept.
    for seed in seeds(3) {
        let mut rng = Rng::new(seed);
        doubles.extend((0..60).map(|_| f64::from_bits(rng.word())));
    }
    let singles: Vec<f32> = doubles.iter().map(|&double| double as f32).collect();

    check_by(&doubles, f64::total_cmp);
    check_by(&singles, f32::total_cmp);
}

fn bytes_of<K>(key: &(impl AsKey<K> + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode_key(&mut bytes);
    bytes
}

#[test]
fn what_is_borrowed_is_encoded_as_what_is_owned() {
    for seed in seeds(3) {
        let mut rng = Rng::new(seed);
        for (text, bytes) in many::<(String, Vec<u8>)>(100, &mut rng) {
            let owned = (text.clone(), Some(Reverse(bytes.clone())));

            assert_eq!(bytes_of::<String>(&*text), text.to_key_bytes());
            assert_eq!(bytes_of::<Vec<u8>>(&*bytes), bytes.to_key_bytes());
            assert_eq!(
                bytes_of::<(String, Option<Reverse<Vec<u8>>>)>(&(&*text, Some(Reverse(&*bytes)))),
                owned.to_key_bytes()
            );
        }
    }
}

#[test]
fn exactly_the_keys_with_a_prefix_begin_with_its_bytes() {
    fn prefix_of<K>(prefix: impl KeyPrefix<K>) -> Vec<u8> {
        let mut bytes = Vec::new();
        prefix.encode_prefix(&mut bytes);
        bytes
    }
    type Quad = (String, Reverse<Vec<u8>>, Option<u8>, i16);

    for seed in seeds(3) {
        let mut rng = Rng::new(seed);
        let keys = many::<Quad>(150, &mut rng);
        for (a, b, c, _) in &keys {
            let one = prefix_of::<Quad>((a.as_str(),));
            let two = prefix_of::<Quad>((a.as_str(), Reverse(&b.0[..])));
            let three = prefix_of::<Quad>((a.as_str(), Reverse(&b.0[..]), *c));
            for key in &keys {
                let bytes = key.to_key_bytes();
                assert_eq!(bytes.starts_with(&one), key.0 == *a, "{a:?} and {key:?}");
                assert_eq!(bytes.starts_with(&two), (&key.0, &key.1) == (a, b));
                assert_eq!(bytes.starts_with(&three), (&key.0, &key.1, &key.2) == (a, b, c));
            }
        }
    }
}

/// The bytes of keys are on disk for good: this never changes.
#[test]
fn keys_are_encoded_as_documented() {
    fn check<K: Key + PartialEq + Debug>(key: K, bytes: &[u8]) {
        assert_eq!(key.to_key_bytes(), bytes, "{key:?}");
        assert_eq!(K::from_key_bytes(bytes).unwrap(), key);
    }

    check(0x0102_u16, &[1, 2]);
    check(-2_i16, &[0x7F, 0xFE]);
    check(1.0_f32, &[0xBF, 0x80, 0, 0]);
    check(-1.0_f64, &[0x40, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    check(true, &[1]);
    check('é', &[0, 0, 0, 0xE9]);
    check("a\0b".to_owned(), &[b'a', 0, 0xFF, b'b', 0, 0]);
    check(vec![0xFF_u8], &[0xFF, 0, 0]);
    check([7_u8, 0], &[7, 0]);
    check((), &[]);
    check(None::<u8>, &[0]);
    check(Some(9_u8), &[1, 9]);
    check(Reverse("a".to_owned()), &[!b'a', 0xFF, 0xFF]);
    check((3_u8, "x".to_owned(), Some(())), &[3, b'x', 0, 0, 1]);
}
