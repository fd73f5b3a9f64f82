//! The cases, a file a part, bottom to top.

mod memtable;

mod codec;

mod block;

mod filter;

mod table;

mod merge;

mod tree;

mod db;

use crate::meter::Meter;

/// Something that is measured.
pub struct Case {
    /// `part/what`.
    pub name: &'static str,
    /// What one item is.
    pub item: &'static str,
    /// Calls [`Meter::measure`] once.
    pub run: fn(&mut Meter),
    /// Whether its instructions are in the baseline. For the paths that operations take; the parts they are
    /// made of only where they do one thing for all of them.
    pub is_counted: bool,
}

/// All of them.
pub const CASES: &[&[Case]] = &[
    memtable::CASES,
    codec::CASES,
    block::CASES,
    filter::CASES,
    table::CASES,
    merge::CASES,
    tree::CASES,
    db::CASES,
];

impl Case {
    const fn new(name: &'static str, item: &'static str, run: fn(&mut Meter)) -> Case {
        Case { name, item, run, is_counted: false }
    }

    const fn counted(name: &'static str, item: &'static str, run: fn(&mut Meter)) -> Case {
        Case { name, item, run, is_counted: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{baseline::Baseline, meter::Purpose};
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_name_of_its_own_and_measures_something() {
        let mut names = BTreeSet::new();
        for case in CASES.iter().copied().flatten() {
            let mut meter = Meter::new(Purpose::Counts);
            (case.run)(&mut meter);

            assert!(meter.items > 0, "{}", case.name);
            assert!(names.insert(case.name), "{}", case.name);
        }
    }

    #[test]
    fn the_baseline_names_the_counted_cases() {
        let baseline = Baseline::read().unwrap();

        let counted = CASES.iter().copied().flatten().filter(|case| case.is_counted).map(|case| case.name);
        let known = baseline.counts.iter().map(|counted| &counted.name[..]);
        assert_eq!(known.collect::<Vec<_>>(), counted.collect::<Vec<_>>());
    }
}
