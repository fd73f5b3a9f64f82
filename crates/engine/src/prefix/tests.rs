//! What extractors say of keys, and how they are found.

use super::*;
use alloc::{string::ToString, vec};

fn lengths(extractor: &dyn PrefixExtractor, key: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    extractor.prefixes(key, &mut |bytes| lengths.push(bytes));
    lengths
}

/// Calls itself whatever it is told.
struct Named(&'static str);

impl PrefixExtractor for Named {
    fn name(&self) -> &str {
        self.0
    }

    fn prefixes(&self, _key: &[u8], _each: &mut dyn FnMut(usize)) {}

    fn covers(&self, _prefix: &[u8]) -> bool {
        false
    }
}

fn registered(names: &[&'static str]) -> PrefixExtractors {
    let mut extractors = PrefixExtractors::new();
    names.iter().for_each(|name| extractors.add(Arc::new(Named(name))));
    extractors
}

#[test]
fn a_delimited_key_has_a_prefix_for_each_part_that_ends() {
    let extractor = DelimitedPrefix::new(b':');

    assert_eq!(lengths(&extractor, b"user:7:mail"), [5, 7]);
    assert_eq!(lengths(&extractor, b"::"), [1, 2]);
    assert_eq!(lengths(&extractor, b"user"), []);
    assert!(extractor.covers(b"user:") && !extractor.covers(b"user") && !extractor.covers(b""));
}

#[test]
fn a_key_of_many_parts_has_prefixes_for_the_first_ones() {
    let (extractor, key) = (DelimitedPrefix::new(0), vec![0; 65_535]);

    assert_eq!(lengths(&extractor, &key), Vec::from_iter(1..=32));
    assert!(extractor.covers(&key[..32]) && !extractor.covers(&key[..33]));
}

#[test]
fn what_an_extractor_covers_is_a_prefix_of_every_key_that_starts_with_it() {
    let extractors: [Arc<dyn PrefixExtractor>; 5] = [
        Arc::new(FixedPrefix::new(0)),
        Arc::new(FixedPrefix::new(2)),
        Arc::new(FixedPrefix::new(255)),
        Arc::new(DelimitedPrefix::new(b'/')),
        Arc::new(DelimitedPrefix::new(0xff)),
    ];
    let keys: Vec<Vec<u8>> = (0..3_u32.pow(5))
        .map(|number| {
            let digits = (0..5).map(|place| b"/\xffa"[(number / 3_u32.pow(place) % 3) as usize]);
            digits.take((number % 6) as usize).collect()
        })
        .collect();
    for extractor in extractors {
        for key in &keys {
            for bytes in (0..=key.len()).filter(|&bytes| extractor.covers(&key[..bytes])) {
                assert!(lengths(&*extractor, key).contains(&bytes), "{} {key:?} {bytes}", extractor.name());
            }
        }
    }
}

#[test]
fn built_in_extractors_are_found_by_the_one_spelling_of_their_name() {
    let extractors = PrefixExtractors::new();

    for name in ["isopach.prefix.0", "isopach.prefix.255", "isopach.delimited.58"] {
        assert_eq!(extractors.find(name).unwrap().name(), name);
    }
    for name in
        ["isopach.prefix.08", "isopach.prefix.256", "isopach.prefix.", "isopach.delimited.+1", "", "x"]
    {
        let error = extractors.find(name).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::MissingPrefixExtractor, "{name}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
}

#[test]
fn an_added_extractor_is_found_by_its_name() {
    let extractors = registered(&["app.tenant", "app.user"]);

    extractors.validate().unwrap();
    assert_eq!(extractors.find("app.user").unwrap().name(), "app.user");
    assert_eq!(format!("{extractors:?}"), r#"{"app.tenant", "app.user"}"#);
}

#[test]
fn names_that_are_empty_long_reserved_or_twice_are_refused() {
    const LONG: &str = match core::str::from_utf8(&[b'n'; 256]) {
        Ok(long) => long,
        Err(_) => panic!("ASCII"),
    };
    let refused = |names: &[&'static str]| registered(names).validate().unwrap_err().to_string();

    assert!(refused(&[""]).contains("has 0 bytes"));
    assert!(refused(&[LONG]).contains("has 256 bytes"));
    assert!(refused(&["isopach.mine"]).contains("reserved"));
    assert!(refused(&["one", "two", "one"]).contains("that of two"));
    registered(&[&LONG[1..]]).validate().unwrap();
}

#[test]
fn a_prefix_of_keys_in_a_row_is_given_out_once() {
    let mut prefixes = OrderedPrefixes::new(Arc::new(DelimitedPrefix::new(b':')));
    let mut given = Vec::new();
    let mut before: &[u8] = b"";
    for key in [&b""[..], b"a:1", b"a:2", b"a:2:x", b"a:2:y", b"a:3", b"b", b"b:"] {
        prefixes.of_next(before, key, |prefix| given.push(prefix.to_vec()));
        before = key;
    }
    assert_eq!(given, [&b"a:"[..], b"a:2:", b"b:"]);
}

#[test]
fn lengths_beyond_the_key_count_for_nothing() {
    let mut prefixes = OrderedPrefixes::new(Arc::new(FixedPrefix::new(3)));
    let mut given = Vec::new();
    for (before, key) in [(&b""[..], &b"ab"[..]), (b"ab", b"abc"), (b"abc", b"abcd"), (b"abcd", b"abd")] {
        prefixes.of_next(before, key, |prefix| given.push(prefix.to_vec()));
    }
    assert_eq!(given, [b"abc", b"abd"]);
}
