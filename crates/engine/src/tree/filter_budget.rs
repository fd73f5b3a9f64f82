//! How large a filter may be so that all of a store stay within their budget: by what each would save. Rewrites no table.
//!
//! Another bit a key halves the false positives of a filter. What it saves is the half of them; what it costs is a bit
//! for each key. At one price for all filters, each takes bits as long as they save as much as they cost: no other
//! distribution of the same memory has fewer false positives. Where all tables are asked alike this gives small levels
//! more bits (Monkey; Dayan, Athanassoulis, Idreos 2017), and else more to tables that are asked more.

use super::{PerLevel, Tree, filters::FilterPolicy};
use crate::{
    table::FilterOptions,
    types::{Level, TableId},
};
use alloc::{collections::BTreeMap, vec::Vec};

/// Fewer bits a key are no filter.
const LEAST_BITS: u8 = 2;

/// What a filter takes beside its bits: the frames of a partition and of the directory, and some rows more.
const FIXED_BYTES: u64 = 256;

/// A filter as it would be without a budget.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Demand {
    keys: f64,
    /// Absent keys that it was asked about, and one: of tables that nobody asks the small ones come first.
    load: f64,
    most_bits: u8,
}

impl Demand {
    /// Bits a key at a price; 0: no filter.
    fn bits_at(&self, price: f64) -> u8 {
        let (mut bits, mut saved) = (0, self.load / self.keys);
        while bits < self.most_bits {
            saved /= 2.0;
            if saved < price {
                break;
            }
            bits += 1;
        }
        if bits < LEAST_BITS { 0 } else { bits }
    }
}

/// The lowest price, about, at which all filters together take at most so many bits. Zero: they take no more anyhow.
fn price(demands: &[Demand], budget_bits: f64) -> f64 {
    let fits = |price: f64| {
        demands.iter().map(|it| it.keys * f64::from(it.bits_at(price))).sum::<f64>() <= budget_bits
    };
    if fits(0.0) {
        return 0.0;
    }
    // Nobody takes a bit for more than all that it could save.
    let (mut low, mut high) = (0.0, demands.iter().map(|it| it.load / it.keys).fold(0.0, f64::max));
    for _ in 0..64 {
        // They lie many orders apart: down by orders first, then by halves.
        let middle = if low == 0.0 { high / 1024.0 } else { low + (high - low) / 2.0 };
        *(if fits(middle) { &mut high } else { &mut low }) = middle;
    }
    high
}

impl Tree {
    /// The filter of a new table of `level`, in a tree whose last level with data is `last`: as the policy wants it, or
    /// smaller, or none, by the budget of the store.
    pub(super) fn filter_for(
        &self,
        policies: &PerLevel<FilterPolicy>,
        level: Level,
        last: Level,
    ) -> Option<FilterOptions> {
        let wanted = policies.at(level).for_table(level, last)?;
        let ledger = &self.0.context.tables.filters;
        let budget_bytes = ledger.budget_bytes();
        if budget_bytes == u64::MAX {
            return Some(wanted);
        }
        let levels: BTreeMap<TableId, Level> =
            self.0.state.load().levels.tables().map(|(level, _, table)| (table.id, level)).collect();
        let most = |level| policies.at(level).for_table(level, last).map_or(0.0, |it| it.bits_per_key);
        let mut demands = Vec::new();
        let mut beside = Vec::new();
        for (id, entry) in ledger.entries() {
            let denied = self.0.context.tables.open.peek(id).map_or(0, |table| table.denied_keys());
            let now = entry.bytes as f64 * 8.0 / entry.entries as f64;
            let most_bits = match levels.get(&id) {
                Some(&level) => f64::from(most(level)),
                None => now,
            };
            let most_bits = (most_bits + 0.5) as u8;
            let demand = Demand { keys: entry.entries as f64, load: 1.0 + denied as f64, most_bits };
            demands.push(demand);
            if levels.get(&id) == Some(&level) {
                beside.push(demand);
            }
        }
        // The new one is asked as those are that it comes beside; or, if there are none, as all.
        let alike = if beside.is_empty() { &demands } else { &beside };
        let (keys, load) = alike.iter().fold((0.0, 0.0), |(keys, load), it| (keys + it.keys, load + it.load));
        let new = Demand {
            keys: if keys > 0.0 { keys } else { 1.0 },
            load: if keys > 0.0 { load } else { 1.0 },
            most_bits: (wanted.bits_per_key + 0.5) as u8,
        };
        let left_bytes = budget_bytes.saturating_sub(FIXED_BYTES * demands.len() as u64);
        let price = price(&demands, left_bytes as f64 * 8.0);
        match new.bits_at(price) {
            _ if price == 0.0 => Some(wanted),
            0 => None,
            bits => Some(FilterOptions { bits_per_key: wanted.bits_per_key.min(f32::from(bits)), ..wanted }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iter::simulated::{Dice, with_seeds};

    fn demand(keys: f64, load: f64) -> Demand {
        Demand { keys, load, most_bits: 16 }
    }

    fn bits(demands: &[Demand], budget_bits: f64) -> Vec<u8> {
        let price = price(demands, budget_bits);
        demands.iter().map(|it| it.bits_at(price)).collect()
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        assert_eq!(bits(&[demand(1e6, 1.0), demand(1e3, 50.0)], 16.0 * 1_001_000.0), [16, 16]);
    }

    #[test]
    fn small_levels_have_more_bits_and_tables_that_are_asked_more_too() {
        let levels = [demand(1e6, 1.0), demand(1e5, 1.0), demand(1e4, 1.0)];
        assert_eq!(bits(&levels, 8.135e6), [7, 7 + 3, 7 + 6]);
        assert_eq!(bits(&[demand(1e6, 1.0), demand(1e6, 1024.0)], 12e6), [0, 11], "nobody asks the first");
        assert_eq!(bits(&[demand(1e6, 1.0), demand(1e6, 4.0)], 16e6), [7, 9]);
    }

    /// No bit could be put elsewhere so that it saves more.
    #[test]
    fn no_bit_would_save_more_elsewhere() {
        with_seeds(200, |dice: &mut Dice| {
            let demands: Vec<Demand> = (0..1 + dice.index(12))
                .map(|_| {
                    let (keys_below, load_below) = (1 << (1 + dice.below(30)), 1 << (1 + dice.below(20)));
                    let (keys, load) =
                        (1.0 + dice.below(keys_below) as f64, 1.0 + dice.below(load_below) as f64);
                    Demand { keys, load, most_bits: dice.below(17) as u8 }
                })
                .collect();
            let all: f64 = demands.iter().map(|it| it.keys * f64::from(it.most_bits)).sum();
            let budget = all * dice.below(1_000) as f64 / 1_000.0;
            let bits = bits(&demands, budget);

            let taken: f64 = demands.iter().zip(&bits).map(|(it, &bits)| it.keys * f64::from(bits)).sum();
            assert!(taken <= budget, "{taken} of {budget}");
            // What the last bit of each saved a key, and what another one would.
            let saved = |it: &Demand, bits: u8| it.load / it.keys / f64::from(1_u32 << bits);
            let least_taken = demands.iter().zip(&bits).filter(|(_, bits)| **bits > 0);
            let least_taken = least_taken.map(|(it, &bits)| saved(it, bits)).fold(f64::MAX, f64::min);
            for (it, &bits) in demands.iter().zip(&bits) {
                let is_small = bits == 0; // One bit is no filter.
                let could_take = bits < it.most_bits && !is_small;
                assert!(!could_take || saved(it, bits + 1) <= least_taken * 1.0001, "{it:?} of {demands:?}");
            }
        });
    }
}
