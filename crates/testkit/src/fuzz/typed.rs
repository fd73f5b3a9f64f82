//! A target for keys and values with types: each key has one encoding, and so has each value.

use isopach::{
    Slice,
    typed::{Key, Postcard, Value},
};
use std::cmp::Reverse;

/// A key with something of everything.
type Mixed = (Option<String>, Reverse<(Vec<u8>, Reverse<String>)>, (bool, char), [u8; 2], i16, f32);

/// What an input may be taken for, by its first byte.
const TYPES: [fn(&[u8]); 10] = [
    key::<Mixed>,
    key::<String>,
    key::<Reverse<Vec<u8>>>,
    key::<(u64, Option<Option<i128>>)>,
    value::<String>,
    value::<Option<Vec<u8>>>,
    value::<Option<char>>,
    value::<f64>,
    value::<bool>,
    serialised,
];

/// Bytes that are taken for a key or value, behind a byte that says of which type.
pub(super) fn typed(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    TYPES[usize::from(choice) % TYPES.len()](bytes);
}

fn key<K: Key>(bytes: &[u8]) {
    if let Ok(key) = K::from_key_bytes(bytes) {
        assert_eq!(key.to_key_bytes(), bytes);
    }
}

fn value<V: Value>(bytes: &[u8]) {
    if let Ok(value) = V::decode_value(Slice::from(bytes)) {
        assert_eq!(bytes_of(&value), bytes);
    }
}

/// Numbers may have been written longer than need be, so it is the meaning that is the same.
fn serialised(bytes: &[u8]) {
    type Record = Postcard<(String, Vec<Option<u32>>, Vec<String>)>;
    if let Ok(record) = Record::decode_value(Slice::from(bytes)) {
        let again = Record::decode_value(Slice::from(bytes_of(&record))).expect("our own encoding");
        assert_eq!(again, record);
    }
}

fn bytes_of<V: Value>(value: &V) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode_value(&mut bytes).expect("what was decoded can be encoded");
    bytes
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mixed: Mixed =
        (Some("a\0".into()), Reverse((vec![0, 0xFF], Reverse("b".into()))), (true, 'é'), [0, 1], -3, 0.5);
    let record = Postcard(("name".to_owned(), vec![Some(300), None], vec!["tag".to_owned()]));
    let encoded = [
        mixed.to_key_bytes(),
        "a\0b".to_owned().to_key_bytes(),
        Reverse(vec![0_u8, 0xFF]).to_key_bytes(),
        (7_u64, Some(Some(-1_i128))).to_key_bytes(),
        b"text".into(),
        bytes_of(&Some(vec![1_u8])),
        bytes_of(&Some('é')),
        bytes_of(&1.5_f64),
        bytes_of(&true),
        bytes_of(&record),
    ];
    (0..).zip(encoded).map(|(choice, bytes)| [&[choice], &bytes[..]].concat()).collect()
}
