//! Which filter a table gets: by the policy of its level, and by where the level lies. A pure decision.
//!
//! A read of a key that is nowhere costs a search for each table that passes it wrongly. The last level holds
//! nine tenths of the keys, so a bit a key costs most there; one level up it costs a tenth as much for the same
//! gain. False positives in proportion to the size of a level make the best of a given memory (Monkey; Dayan,
//! Athanassoulis, Idreos 2017): about three bits more for each level up.

use crate::{
    error::{Error, ErrorKind, Result},
    table::{FilterKind, FilterOptions},
    types::Level,
};
use alloc::format;

/// Membership filter of a table.
///
/// Tables of level 0, which flushes write and which live shortly, get a Bloom filter, those of deeper levels
/// BuRR, which takes two thirds of the space.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum FilterPolicy {
    /// Reads of absent keys search the table.
    None,
    /// 2.0 to 24.0 bits per key, in whatever level; BuRR has whole ones, and 16 at most.
    BitsPerKey(f32),
    /// 2.0 to 10.0 bits per key in the last level that has data, three more in the level above, six more in all
    /// above that; five more in level 0.
    ByDepth(f32),
}

impl FilterPolicy {
    /// Checks the bounds.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`.
    pub(super) fn validate(self) -> Result<()> {
        let (bits, bounds) = match self {
            FilterPolicy::None => return Ok(()),
            FilterPolicy::BitsPerKey(bits) => (bits, 2.0..=24.0),
            FilterPolicy::ByDepth(bits) => (bits, 2.0..=10.0),
        };
        if bounds.contains(&bits) {
            return Ok(());
        }
        let (least, most) = (bounds.start(), bounds.end());
        let message = format!("a filter has {bits} bits per key, not {least:.1} to {most:.1}");
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// The filter of a table of `level`, in a tree whose last level with data is `last`, which may lie above.
    pub(super) fn for_table(self, level: Level, last: Level) -> Option<FilterOptions> {
        let kind = if level == Level(0) { FilterKind::Bloom } else { FilterKind::Burr };
        let bits_per_key = match self {
            FilterPolicy::None => return None,
            FilterPolicy::BitsPerKey(bits) => bits,
            FilterPolicy::ByDepth(bits) if level == Level(0) => bits + 5.0,
            FilterPolicy::ByDepth(bits) => match last.0.saturating_sub(level.0) {
                0 => bits,
                1 => bits + 3.0,
                _ => bits + 6.0,
            },
        };
        Some(FilterOptions { kind, bits_per_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(policy: FilterPolicy, last: u8) -> [f32; 7] {
        [0, 1, 2, 3, 4, 5, 6].map(|level| policy.for_table(Level(level), Level(last)).unwrap().bits_per_key)
    }

    #[test]
    fn each_level_up_has_more_bits_than_the_one_below() {
        let policy = FilterPolicy::ByDepth(7.0);

        assert_eq!(bits(policy, 6), [12.0, 13.0, 13.0, 13.0, 13.0, 10.0, 7.0]);
        assert_eq!(
            bits(policy, 3),
            [12.0, 13.0, 10.0, 7.0, 7.0, 7.0, 7.0],
            "a level below the last is the last"
        );
        assert_eq!(bits(policy, 1)[..3], [12.0, 7.0, 7.0]);
        assert_eq!(bits(policy, 0)[..2], [12.0, 7.0]);
    }

    #[test]
    fn given_bits_are_those_of_every_level() {
        assert_eq!(bits(FilterPolicy::BitsPerKey(4.5), 6), [4.5; 7]);
        assert_eq!(FilterPolicy::None.for_table(Level(3), Level(6)), None);
    }

    #[test]
    fn flushed_tables_get_bloom_filters_and_merged_ones_burr() {
        for policy in [FilterPolicy::BitsPerKey(10.0), FilterPolicy::ByDepth(7.0)] {
            let kind = |level| policy.for_table(Level(level), Level(6)).unwrap().kind;

            assert_eq!([kind(0), kind(1), kind(6)], [FilterKind::Bloom, FilterKind::Burr, FilterKind::Burr]);
        }
    }

    #[test]
    fn every_policy_that_is_valid_asks_for_a_filter_that_can_be_built() {
        for policy in [2.0, 10.0]
            .map(FilterPolicy::ByDepth)
            .into_iter()
            .chain([2.0, 24.0].map(FilterPolicy::BitsPerKey))
        {
            policy.validate().unwrap();
            for (level, last) in (0..7).flat_map(|level| (0..7).map(move |last| (level, last))) {
                policy.for_table(Level(level), Level(last)).unwrap().validate().unwrap();
            }
        }
        for policy in [1.9, 10.1, f32::NAN].map(FilterPolicy::ByDepth) {
            assert!(policy.validate().is_err(), "{policy:?}");
        }
    }
}
