//! Where older versions of a job's keys may lie outside of the job. Ranges of keys only, no levels and no
//! tables.

use crate::order::KeyOrder;
use alloc::vec::Vec;
use core::fmt;

/// The keys that may have older versions in runs behind those that a job reads.
///
/// A tombstone whose key is not among them hides nothing outside of the job.
#[derive(Clone, PartialEq, Eq)]
pub struct OlderData(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    Everywhere,
    /// Disjoint, in key order, both ends inclusive.
    Ranges {
        ranges: Vec<(Vec<u8>, Vec<u8>)>,
        order: KeyOrder,
    },
}

impl OlderData {
    /// Nothing older lies anywhere: the job reads the last run of its keys.
    pub const NONE: OlderData = OlderData(Repr::Ranges { ranges: Vec::new(), order: KeyOrder::BYTES });

    /// Every key may have older versions. Always a safe answer.
    pub const EVERYWHERE: OlderData = OlderData(Repr::Everywhere);

    /// In these ranges of keys in `order`, given anyhow; both ends are inclusive.
    pub fn in_ranges<'a>(
        order: &KeyOrder,
        ranges: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> OlderData {
        let mut sorted: Vec<(&[u8], &[u8])> = ranges.into_iter().collect();
        sorted.sort_unstable_by(|a, b| order.compare(a.0, b.0));
        let mut joined: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (first, last) in sorted {
            assert!(order.is_at_most(first, last), "a range of older data ends at or behind its start");
            match joined.last_mut() {
                Some((_, end)) if order.is_at_most(first, end) => {
                    if order.is_less(end, last) {
                        *end = last.to_vec();
                    }
                }
                _ => joined.push((first.to_vec(), last.to_vec())),
            }
        }
        OlderData(Repr::Ranges { ranges: joined, order: order.clone() })
    }

    /// Whether no key has older versions outside.
    pub fn is_none(&self) -> bool {
        matches!(&self.0, Repr::Ranges { ranges, .. } if ranges.is_empty())
    }

    /// Whether an older version of `key` may lie outside. A binary search.
    pub fn may_hold(&self, key: &[u8]) -> bool {
        match &self.0 {
            Repr::Everywhere => true,
            Repr::Ranges { ranges, order } => {
                let at = ranges.partition_point(|(_, last)| order.is_less(last, key));
                ranges.get(at).is_some_and(|(first, _)| order.is_at_most(first, key))
            }
        }
    }
}

/// `[a-c] [m-p]`, inclusive.
impl fmt::Debug for OlderData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Everywhere => f.write_str("everywhere"),
            Repr::Ranges { ranges, .. } if ranges.is_empty() => f.write_str("none"),
            Repr::Ranges { ranges, .. } => ranges.iter().enumerate().try_for_each(|(at, (first, last))| {
                let space = if at > 0 { " " } else { "" };
                write!(f, "{space}[{}-{}]", first.escape_ascii(), last.escape_ascii())
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_searched() {
        let ranges: [(&[u8], &[u8]); 4] = [(b"m", b"p"), (b"a", b"c"), (b"b", b"b"), (b"c", b"e")];

        let older = OlderData::in_ranges(&KeyOrder::BYTES, ranges);

        for key in ["a", "b", "d", "e", "m", "n", "p"] {
            assert!(older.may_hold(key.as_bytes()), "{key}");
        }
        for key in ["", "ee", "l", "pp", "z"] {
            assert!(!older.may_hold(key.as_bytes()), "{key}");
        }
        assert!(!older.is_none());
    }

    #[test]
    fn none_holds_no_key_and_everywhere_holds_all() {
        assert!(OlderData::NONE.is_none() && !OlderData::NONE.may_hold(b"a"));
        assert!(!OlderData::EVERYWHERE.is_none() && OlderData::EVERYWHERE.may_hold(b"a"));
        assert!(OlderData::in_ranges(&KeyOrder::BYTES, []).is_none());
    }
}
