//! Values: what comes back, what is refused.

use isopach::{
    ErrorKind, Slice,
    typed::{AsValue, Postcard, Value},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Debug};

fn bytes_of<V>(value: &(impl AsValue<V> + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode_value(&mut bytes).unwrap();
    bytes
}

fn decode<V: Value>(bytes: &[u8]) -> isopach::Result<V> {
    V::decode_value(Slice::from(bytes))
}

/// Values are on disk for good: what they are encoded as never changes.
#[test]
fn values_are_encoded_as_documented() {
    fn check<V: Value + PartialEq + Debug>(value: V, bytes: &[u8]) {
        assert_eq!(bytes_of::<V>(&value), bytes, "{value:?}");
        assert_eq!(decode::<V>(bytes).unwrap(), value);
    }

    check(0x0102_u16, &[2, 1]);
    check(-2_i32, &[0xFE, 0xFF, 0xFF, 0xFF]);
    check(1.0_f32, &[0, 0, 0x80, 0x3F]);
    check(true, &[1]);
    check('é', &[0xE9, 0, 0, 0]);
    check("a\0".to_owned(), &[b'a', 0]);
    check(vec![0_u8, 1], &[0, 1]);
    check(Slice::from("abc"), b"abc");
    check([1_u8, 2], &[1, 2]);
    check((), &[]);
    check(None::<String>, &[0]);
    check(Some(String::new()), &[1]);
    check(Some(Some(5_u8)), &[1, 1, 5]);
}

#[test]
fn what_is_borrowed_is_encoded_as_what_is_owned() {
    assert_eq!(bytes_of::<String>("text"), b"text");
    assert_eq!(bytes_of::<Vec<u8>>(&b"bytes"[..]), b"bytes");
    assert_eq!(bytes_of::<Slice>(&b"bytes"[..]), b"bytes");
    assert_eq!(bytes_of::<Option<String>>(&Some("text")), b"\x01text");
}

#[test]
fn bytes_of_another_length_or_content_are_refused() {
    fn refused<V: Value + Debug>(bytes: &[u8]) {
        assert_eq!(decode::<V>(bytes).unwrap_err().kind(), ErrorKind::Corruption);
    }

    refused::<u32>(&[1, 2, 3]);
    refused::<u32>(&[1, 2, 3, 4, 5]);
    refused::<f64>(&[]);
    refused::<bool>(&[2]);
    refused::<char>(&[0, 0xD8, 0, 0]);
    refused::<String>(&[0xFF]);
    refused::<[u8; 2]>(&[1]);
    refused::<()>(&[0]);
    refused::<Option<u8>>(&[]);
    refused::<Option<u8>>(&[0, 1]);
    refused::<Option<u8>>(&[2, 1]);
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct User {
    name: String,
    tags: Vec<String>,
    age: Option<u8>,
    scores: BTreeMap<u32, f64>,
}

fn ada() -> User {
    User {
        name: "Ada".into(),
        tags: vec!["first".into(), String::new()],
        age: Some(36),
        scores: BTreeMap::from([(7, 0.5)]),
    }
}

#[test]
fn whatever_serde_serialises_is_a_value() {
    let user = ada();

    let bytes = bytes_of::<Postcard<User>>(&Postcard(&user));

    assert_eq!(bytes, bytes_of::<Postcard<User>>(&Postcard(user.clone())));
    assert_eq!(decode::<Postcard<User>>(&bytes).unwrap().0, user);
    assert_eq!(
        bytes_of::<Postcard<(u32, String)>>(&Postcard((300, "é".to_owned()))),
        [0xAC, 2, 2, 0xC3, 0xA9]
    );
}

#[test]
fn serialised_values_that_end_early_or_late_are_refused() {
    let bytes = bytes_of::<Postcard<User>>(&Postcard(ada()));

    let longer = [&bytes[..], &[0]].concat();
    for wrong in (0..bytes.len()).map(|len| &bytes[..len]).chain([&longer[..]]) {
        assert_eq!(decode::<Postcard<User>>(wrong).unwrap_err().kind(), ErrorKind::Corruption);
    }
}

#[test]
fn what_serde_cannot_serialise_is_an_invalid_argument() {
    /// Refuses, as types that hold a lock or a path do at times.
    struct Shy;

    impl Serialize for Shy {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not now"))
        }
    }

    let error = Postcard(Shy).encode_value(&mut Vec::new()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
