//! Internal keys: the order of versions, value kinds, ranges of user keys.
//!
//! User keys are ordered by their bytes. Versions of one key follow each other newest first.

use alloc::vec::Vec;
use core::{
    cmp::Ordering,
    ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive},
};

use crate::types::Seqno;

/// Longest user key, in bytes.
pub const MAX_KEY_BYTES: usize = 65_535;

/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = u32::MAX as usize;

/// Name of the order of keys, stored with each tree and table.
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
    /// The stored bytes say where the value lies.
    BlobPointer = 5,
    /// A put whose stored bytes begin with the time it expires at.
    PutUntil = 6,
    /// Several columns of a row.
    Cells = 7,
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
            _ => return None,
        })
    }

    /// Whether it says that a key has no value.
    pub const fn is_tombstone(self) -> bool {
        matches!(self, ValueKind::Delete | ValueKind::DeleteWeak)
    }
}

/// Where to position among versions: before or at the version `seqno` of `key`.
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

impl Ord for InternalKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(other.key).then_with(|| other.seqno.cmp(&self.seqno))
    }
}

impl PartialOrd for InternalKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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

/// The shortest key `s` with `low <= s < high`; `low` itself if none is shorter.
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

/// The least key greater than every key that starts with `prefix`; `None` if there is no such key.
pub fn prefix_successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut successor = Vec::from(&prefix[..=last]);
    successor[last] += 1;
    Some(successor)
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
    fn versions_of_a_key_are_ordered_newest_first() {
        let newer = InternalKey { key: b"k", seqno: Seqno::from_raw(2).unwrap() };
        let older = InternalKey { key: b"k", seqno: Seqno::from_raw(1).unwrap() };

        assert!(newer < older);
        assert!(InternalKey::first_of(b"k") < newer && older < InternalKey::last_of(b"k"));
        assert!(InternalKey::last_of(b"j") < newer);
    }

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
    fn a_prefix_without_successor_is_open_ended() {
        assert_eq!(prefix_successor(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_successor(b"\xff\xff"), None);
        assert_eq!(prefix_successor(b""), None);
    }
}
