//! Where a stream of keys is cut, entry by entry.

use super::*;
use alloc::{format, string::String, vec};

const TABLE_BYTES: u64 = 100;

/// Cuts entries of `entry_bytes` bytes; shows outputs as words.
fn cut(keys: &[&str], entry_bytes: u64, grandparents: Vec<Grandparent>) -> String {
    let mut cutter = Cutter::new(&KeyOrder::BYTES, TABLE_BYTES, grandparents);
    let mut shown = String::new();
    let (mut bytes, mut last) = (0, None);
    for &key in keys {
        if cutter.should_cut_before(key.as_bytes(), bytes, last != Some(key)) {
            bytes = 0;
            shown.push(' ');
        }
        shown.push_str(key);
        bytes += entry_bytes;
        last = Some(key);
    }
    shown
}

fn grandparent(first: &str, last: &str, bytes: u64) -> Grandparent {
    Grandparent { first_key: first.into(), last_key: last.into(), bytes }
}

#[test]
fn an_output_ends_at_the_size_wanted() {
    assert_eq!(cut(&["a", "b", "c", "d", "e", "f"], 50, vec![]), "ab cd ef");
    assert_eq!(cut(&["a", "b", "c"], 500, vec![]), "a b c");
    assert_eq!(cut(&["a", "b", "c"], 1, vec![]), "abc");
}

#[test]
fn versions_of_a_key_stay_in_one_output() {
    assert_eq!(cut(&["a", "b", "b", "b", "b", "c"], 50, vec![]), "abbbb c");
}

#[test]
fn an_output_ends_before_it_overlaps_too_much_below() {
    let below = || vec![grandparent("b", "c", 600), grandparent("d", "f", 300), grandparent("g", "i", 200)];

    assert_eq!(cut(&["a", "b", "c", "d", "e", "f", "g", "h"], 1, below()), "abcdef gh");
    assert_eq!(cut(&["a", "z"], 1, below()), "a z", "it would span all of them");
    assert_eq!(cut(&["d", "h"], 1, below()), "dh", "the first one is not overlapped");
}

#[test]
fn one_huge_table_below_cuts_once_and_not_at_each_key() {
    let below = vec![grandparent("c", "x", 5_000)];

    assert_eq!(cut(&["a", "b", "c", "d", "e", "y", "z"], 1, below), "ab cdeyz");
}

#[test]
fn versions_of_a_key_stay_together_over_a_bound_below() {
    let below = vec![grandparent("a", "b", 900), grandparent("c", "d", 900)];

    assert_eq!(cut(&["b", "c", "c", "d"], 1, below), "b ccd");
}

#[test]
fn overlap_is_counted_anew_for_each_output() {
    let below = (b'a'..=b'z').map(|key| {
        let key = format!("{}", char::from(key));
        grandparent(&key, &key, 300)
    });
    let keys: Vec<String> = (b'a'..=b'l').map(|key| format!("{}", char::from(key))).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();

    assert_eq!(cut(&keys, 1, below.collect()), "abc def ghi jkl");
}
