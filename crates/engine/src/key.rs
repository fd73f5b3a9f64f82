//! Internal keys: the order of versions, value kinds, ranges of user keys.
//!
//! User keys are ordered by their bytes, or as their tree says ([`KeyOrder`](crate::order::KeyOrder)). Versions of one key
//! follow each other newest first.

use alloc::vec::Vec;
use core::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use crate::types::Seqno;

/// Longest user key, in bytes.
pub const MAX_KEY_BYTES: usize = 65_535;

/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = u32::MAX as usize;

/// Name of the order of bytes. That of its order is stored with each tree and table.
pub const BYTE_ORDER_NAME: &str = "isopach.bytes";

/// What an operation did to its key. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ValueKind {
    /// The value is the stored bytes.
    Put = 1,
    /// The key has no value.
    Delete = 2,
    /// As `Delete`, for a key put at most once since it was last deleted.
    DeleteWeak = 3,
    /// An operand of the merge operator.
    Merge = 4,
    /// A put whose stored bytes say where the value lies.
    BlobPointer = 5,
    /// A put whose stored bytes begin with the time it expires at.
    PutUntil = 6,
    /// Several columns of a row.
    Cells = 7,
    /// The keys from this one to the stored bytes, these not included, have no value; without bytes all behind it.
    DeleteRange = 8,
    /// As `BlobPointer`, of a put that expires: its time is in front of the pointer.
    BlobPointerUntil = 9,
    /// A put whose value is compressed by itself.
    PutPacked = 10,
    /// As `PutPacked`, of a put that expires: its time is in front.
    PutPackedUntil = 11,
}

impl ValueKind {
    /// The kind with this number on disk.
    pub const fn from_raw(raw: u8) -> Option<ValueKind> {
        Some(match raw {
            1 => ValueKind::Put,
            2 => ValueKind::Delete,
            3 => ValueKind::DeleteWeak,
            4 => ValueKind::Merge,
            5 => ValueKind::BlobPointer,
            6 => ValueKind::PutUntil,
            7 => ValueKind::Cells,
            8 => ValueKind::DeleteRange,
            9 => ValueKind::BlobPointerUntil,
            10 => ValueKind::PutPacked,
            11 => ValueKind::PutPackedUntil,
            _ => return None,
        })
    }

    /// Whether it says that a key has no value.
    pub const fn is_tombstone(self) -> bool {
        matches!(self, ValueKind::Delete | ValueKind::DeleteWeak | ValueKind::DeleteRange)
    }

    /// Whether it says that a key has a value, wherever that lies.
    pub const fn is_put(self) -> bool {
        matches!(self, ValueKind::Put | ValueKind::PutPacked) || self.expires() || self.is_separated()
    }

    /// Whether it is a put whose stored bytes begin with the time it expires at.
    pub const fn expires(self) -> bool {
        matches!(self, ValueKind::PutUntil | ValueKind::BlobPointerUntil | ValueKind::PutPackedUntil)
    }

    /// Whether it is a put of which something else is stored than its value: a pointer, or the value compressed.
    pub const fn is_apart(self) -> bool {
        self.is_separated() || matches!(self, ValueKind::PutPacked | ValueKind::PutPackedUntil)
    }

    /// Whether it is a put whose value lies elsewhere.
    pub const fn is_separated(self) -> bool {
        matches!(self, ValueKind::BlobPointer | ValueKind::BlobPointerUntil)
    }
}

/// Where to position among versions: before or at the version `seqno` of `key`. Two are compared by the order of their
/// tree.
///
/// The first version of a key that a view at `s` may see is the first entry at or after `(key, s)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InternalKey<'a> {
    /// User key.
    pub key: &'a [u8],
    /// Version; greater ones come first.
    pub seqno: Seqno,
}

impl<'a> InternalKey<'a> {
    /// Before every version of `key`.
    pub const fn first_of(key: &'a [u8]) -> InternalKey<'a> {
        InternalKey { key, seqno: Seqno::MAX }
    }

    /// At or after every version of `key`.
    pub const fn last_of(key: &'a [u8]) -> InternalKey<'a> {
        InternalKey { key, seqno: Seqno::ZERO }
    }
}

/// Where the versions of a range of keys begin, and where those behind it do; `None`: at either end of all.
pub(crate) fn places<'a>(
    low: Bound<&'a [u8]>,
    high: Bound<&'a [u8]>,
) -> (Option<InternalKey<'a>>, Option<InternalKey<'a>>) {
    let from = match low {
        Bound::Included(key) => Some(InternalKey::first_of(key)),
        Bound::Excluded(key) => Some(InternalKey::last_of(key)),
        Bound::Unbounded => None,
    };
    let to = match high {
        Bound::Included(key) => Some(InternalKey::last_of(key)),
        Bound::Excluded(key) => Some(InternalKey::first_of(key)),
        Bound::Unbounded => None,
    };
    (from, to)
}

/// The shortest key `s` with `low <= s < high` in the order of bytes; `low` itself if none is shorter.
///
/// # Panics
///
/// In debug builds, if `low >= high`.
pub fn shortest_separator(low: &[u8], high: &[u8]) -> Vec<u8> {
    debug_assert!(low < high, "a separator lies between two different keys");
    let common = common_prefix_len(low, high);
    // `low[..=common]` plus one lies strictly between, unless that reaches `high`.
    for at in common..low.len() {
        let mut candidate = Vec::from(&low[..=at]);
        if candidate[at] < u8::MAX {
            candidate[at] += 1;
            if candidate.len() < low.len() && candidate[..] < *high {
                return candidate;
            }
        }
    }
    Vec::from(low)
}

/// Number of leading bytes that both have.
pub fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The least key greater than every key that starts with `prefix`, in the order of bytes; `None` if there is no such
/// key.
pub fn prefix_successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut successor = Vec::from(&prefix[..=last]);
    successor[last] += 1;
    Some(successor)
}

/// The longest bytes that every key of a range begins with. They are the beginning of its lower end, too.
pub(crate) fn prefix_of_range<'a>(low: Bound<&'a [u8]>, high: Bound<&[u8]>) -> &'a [u8] {
    let (Bound::Included(low) | Bound::Excluded(low)) = low else { return &[] };
    // No greater byte can stand in the place of these.
    let largest_bytes = |at: usize| low[at..].iter().take_while(|&&byte| byte == u8::MAX).count();
    let bytes = match high {
        Bound::Unbounded => largest_bytes(0),
        Bound::Included(high) => common_prefix_len(low, high),
        Bound::Excluded(high) => {
            let common = common_prefix_len(low, high);
            match (&low[common..], &high[common..]) {
                // `high` is the first key that does not begin with one byte more of `low`.
                ([byte, ..], [next]) if byte.checked_add(1) == Some(*next) => {
                    common + 1 + largest_bytes(common + 1)
                }
                _ => common,
            }
        }
    };
    &low[..bytes]
}

/// A range of keys: any std range of things that are bytes, or a pair of bounds whose types may differ.
///
/// Sealed, so that `range(..)` and `range("a".."b")` need no type annotation. An empty or reversed range
/// holds nothing.
pub trait KeyRange: sealed::Sealed {
    /// Both ends.
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! key_range {
    ($($range:ty, $this:ident: $low:expr, $high:expr;)*) => {$(
        impl<K: AsRef<[u8]>> sealed::Sealed for $range {}

        impl<K: AsRef<[u8]>> KeyRange for $range {
            fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
                let $this = self;
                ($low, $high)
            }
        }
    )*};
}

key_range! {
    Range<K>, r: Bound::Included(r.start.as_ref()), Bound::Excluded(r.end.as_ref());
    RangeInclusive<K>, r: Bound::Included(r.start().as_ref()), Bound::Included(r.end().as_ref());
    RangeFrom<K>, r: Bound::Included(r.start.as_ref()), Bound::Unbounded;
    RangeTo<K>, r: Bound::Unbounded, Bound::Excluded(r.end.as_ref());
    RangeToInclusive<K>, r: Bound::Unbounded, Bound::Included(r.end.as_ref());
}

impl sealed::Sealed for RangeFull {}

impl KeyRange for RangeFull {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Unbounded, Bound::Unbounded)
    }
}

impl<A: AsRef<[u8]>, B: AsRef<[u8]>> sealed::Sealed for (Bound<A>, Bound<B>) {}

impl<A: AsRef<[u8]>, B: AsRef<[u8]>> KeyRange for (Bound<A>, Bound<B>) {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.0.as_ref().map(A::as_ref), self.1.as_ref().map(B::as_ref))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_short_and_lie_between() {
        for (low, high, expected) in [
            ("apple", "banana", "b"),
            ("abcdef", "abzz", "abd"),
            ("a", "b", "a"),
            ("ab", "b", "ab"),
            ("abc", "abcd", "abc"),
            ("a\u{7f}", "a\u{7f}a", "a\u{7f}"),
        ] {
            let separator = shortest_separator(low.as_bytes(), high.as_bytes());
            assert!(low.as_bytes() <= &separator[..] && &separator[..] < high.as_bytes(), "{low} {high}");
            assert!(separator.len() <= expected.len(), "{low} {high}: {separator:?}");
        }
        assert_eq!(shortest_separator(b"\xff\xff\x01\x02", b"\xff\xff\x09"), b"\xff\xff\x02");
    }

    #[test]
    fn the_prefix_of_a_range_is_the_longest_that_all_its_keys_have() {
        // All keys of up to three bytes, of four that matter.
        let bytes = [0, 1, 0xfe, 0xff];
        let mut keys: Vec<Vec<u8>> = Vec::from([Vec::new()]);
        for at in 0..21 {
            let longer = bytes.map(|byte| [&keys[at][..], &[byte]].concat());
            keys.extend(longer);
        }
        keys.sort();
        let ends = |key| [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded];
        for (low, high) in keys.iter().flat_map(|low| keys.iter().map(move |high| (&low[..], &high[..]))) {
            for (low, high) in ends(low).into_iter().flat_map(|low| ends(high).map(|high| (low, high))) {
                let prefix = prefix_of_range(low, high);
                let is_inside = |key: &[u8]| {
                    (match low {
                        Bound::Included(low) => low <= key,
                        Bound::Excluded(low) => low < key,
                        Bound::Unbounded => true,
                    }) && match high {
                        Bound::Included(high) => key <= high,
                        Bound::Excluded(high) => key < high,
                        Bound::Unbounded => true,
                    }
                };
                let mut inside = keys.iter().filter(|key| is_inside(key));
                assert!(inside.all(|key| key.starts_with(prefix)), "{low:?} {high:?} {prefix:?}");
                if let Bound::Included(start) | Bound::Excluded(start) = low
                    && is_inside(&[start, &[0][..]].concat())
                    && prefix.len() < start.len()
                {
                    let longer = &start[..=prefix.len()];
                    let behind = prefix_successor(longer).map_or(Vec::from([0xff; 9]), |next| next);
                    assert!(is_inside(&behind), "{low:?} {high:?}: all have {longer:?} too");
                }
            }
        }
    }

    #[test]
    fn a_prefix_without_successor_is_open_ended() {
        assert_eq!(prefix_successor(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_successor(b"\xff\xff"), None);
        assert_eq!(prefix_successor(b""), None);
    }
}
