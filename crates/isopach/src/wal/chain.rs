//! Which segments are the log: a pure function of what their first records say.

use isopach_engine::codec::LogPosition;
use std::collections::BTreeMap;

/// The segments of the log in its order, of those whose first record is valid.
///
/// `starts` holds for each number the end of the log before it. The first segment of the log names an end
/// below `first_live`; each next one names its predecessor. Of several that name the same one the youngest
/// counts: numbers only grow, and it was written when the others were given up. So segments that are not in
/// the result but lie between two that are were superseded; those above all of it lost what connects them.
pub(super) fn chain(starts: &BTreeMap<u32, LogPosition>, first_live: u32) -> Vec<u32> {
    let youngest = |above: u32, follows: &dyn Fn(u32) -> bool| {
        let mut later = starts.range(above..).rev();
        later.find(|(_, end)| follows(end.file)).map(|(&number, _)| number)
    };
    let mut chain = Vec::new();
    let mut next = youngest(first_live, &|file| file < first_live);
    while let Some(number) = next {
        chain.push(number);
        next = youngest(number, &|file| file == number);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain_of(first_live: u32, starts: &[(u32, u32)]) -> Vec<u32> {
        let starts =
            starts.iter().map(|&(number, file)| (number, LogPosition { file, offset: 128 })).collect();
        chain(&starts, first_live)
    }

    #[test]
    fn segments_follow_the_one_they_name() {
        assert_eq!(chain_of(1, &[]), []);
        assert_eq!(chain_of(1, &[(1, 0), (2, 1), (3, 2)]), [1, 2, 3]);
    }

    #[test]
    fn freed_segments_are_no_part() {
        assert_eq!(chain_of(3, &[(1, 0), (2, 1), (3, 2), (4, 3)]), [3, 4]);
    }

    #[test]
    fn the_first_live_number_may_be_one_that_was_never_used() {
        assert_eq!(chain_of(18, &[(19, 17), (20, 19)]), [19, 20]);
    }

    #[test]
    fn a_segment_that_continues_further_down_supersedes_those_between() {
        assert_eq!(chain_of(5, &[(5, 4), (6, 5), (7, 6), (9, 6), (10, 9)]), [5, 6, 9, 10]);
        assert_eq!(chain_of(5, &[(5, 4), (6, 5), (9, 4)]), [9]);
    }

    #[test]
    fn a_missing_segment_cuts_the_chain() {
        assert_eq!(chain_of(1, &[(1, 0), (3, 2), (4, 3)]), [1]);
        assert_eq!(chain_of(1, &[(2, 1), (3, 2)]), []);
    }
}
