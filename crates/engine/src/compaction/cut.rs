//! Where outputs are cut. Between user keys only: the versions of a key never straddle tables (INV-VER-1).

use super::{
    plan::CheckedPlan,
    shape::{LAST_LEVEL, TreeShape},
};
use crate::{order::KeyOrder, types::Level};
use alloc::vec::Vec;

/// An output may overlap this many times its size in the level below its own, so that moving it on stays
/// cheap.
const MAX_GRANDPARENT_TABLES: u64 = 10;

/// A table of the level below the outputs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grandparent {
    /// Least user key.
    pub first_key: Vec<u8>,
    /// Greatest user key.
    pub last_key: Vec<u8>,
    /// Size of its file.
    pub bytes: u64,
}

/// Says before which keys a new output begins. Fed with every entry, in order.
#[derive(Clone, Debug)]
pub struct Cutter {
    order: KeyOrder,
    table_bytes: u64,
    /// In key order, disjoint.
    grandparents: Vec<Grandparent>,
    /// Keys with which an output begins, the least last.
    fences: Vec<Vec<u8>>,
    /// The first grandparent that the output may overlap.
    start: usize,
    /// Behind the last grandparent that the output overlaps so far.
    end: usize,
    /// Bytes of `grandparents[start..end]`.
    overlapped_bytes: u64,
}

impl Cutter {
    /// Outputs of about `table_bytes`, over `grandparents` in key order, which is this one.
    ///
    /// # Panics
    ///
    /// If `table_bytes` is 0, or the grandparents overlap or are out of order.
    pub fn new(order: &KeyOrder, table_bytes: u64, grandparents: Vec<Grandparent>) -> Cutter {
        assert!(table_bytes > 0, "a table has a size");
        assert!(
            grandparents.windows(2).all(|pair| order.is_less(&pair[0].last_key, &pair[1].first_key)),
            "INV-VER-1: grandparents are disjoint and in order"
        );
        let order = order.clone();
        Cutter { order, table_bytes, grandparents, fences: Vec::new(), start: 0, end: 0, overlapped_bytes: 0 }
    }

    /// For the outputs of a plan. Those that stay in level 0 or come to the last level have no grandparents.
    pub fn for_plan(table_bytes: u64, tree: &TreeShape<'_>, plan: &CheckedPlan) -> Cutter {
        if plan.to.0 == 0 || plan.to >= LAST_LEVEL {
            return Cutter::new(tree.order(), table_bytes, Vec::new());
        }
        let below = tree.level(Level(plan.to.0 + 1)).overlapping(&plan.first_key, &plan.last_key);
        let grandparents = below.iter().map(|table| Grandparent {
            first_key: table.first_key().to_vec(),
            last_key: table.last_key().to_vec(),
            bytes: table.bytes(),
        });
        Cutter::new(tree.order(), table_bytes, grandparents.collect())
    }

    /// No output reaches over one of these keys, which ascend: between them may lie tables that are not written anew.
    #[must_use]
    pub fn fenced(self, mut keys: Vec<Vec<u8>>) -> Cutter {
        keys.reverse();
        Cutter { fences: keys, ..self }
    }

    /// Whether a new output begins with the entry at hand, whose user key is `key`.
    ///
    /// `output_bytes` is the size of the current output so far, 0 if it has no entry; `is_new_key` says
    /// whether the entry before it had another key. If the answer is `true` the caller must begin a new
    /// output.
    pub fn should_cut_before(&mut self, key: &[u8], output_bytes: u64, is_new_key: bool) -> bool {
        let mut is_fenced = false;
        while self.fences.last().is_some_and(|fence| self.order.is_at_most(fence, key)) {
            self.fences.pop();
            is_fenced = true;
        }
        if output_bytes == 0 || is_fenced {
            self.begin_at(key);
            return output_bytes > 0;
        }
        if !is_new_key {
            return false;
        }
        let overlapped_before = self.overlapped_bytes;
        self.extend_to(key);
        // A single large grandparent is no reason to cut at each of its keys.
        let overlaps_too_much = self.overlapped_bytes > overlapped_before
            && self.overlapped_bytes > self.table_bytes.saturating_mul(MAX_GRANDPARENT_TABLES);
        let cuts = output_bytes >= self.table_bytes || overlaps_too_much;
        if cuts {
            self.begin_at(key);
        }
        cuts
    }

    fn begin_at(&mut self, key: &[u8]) {
        let ahead = &self.grandparents[self.start..];
        let passed = ahead.partition_point(|table| self.order.is_less(&table.last_key, key));
        self.start += passed;
        self.end = self.start;
        self.overlapped_bytes = 0;
        self.extend_to(key);
    }

    fn extend_to(&mut self, key: &[u8]) {
        let begins = |table: &&Grandparent| self.order.is_at_most(&table.first_key, key);
        while let Some(table) = self.grandparents.get(self.end).filter(begins) {
            self.overlapped_bytes += table.bytes;
            self.end += 1;
        }
    }
}

#[cfg(test)]
mod tests;
