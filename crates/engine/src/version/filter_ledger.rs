//! How much the filters of all live tables take, beside what they may.

use super::table_file::TableRef;
use crate::{
    env::sync::{
        Mutex, Rank,
        atomic::{AtomicU64, Ordering},
    },
    types::{TableId, TreeId},
};
use alloc::{collections::BTreeMap, vec::Vec};

const RANK: Rank = Rank::new(62, "version.filter_ledger");

/// The filters of a store. Tables come to it when they are made or recovered, and leave it with their last handle.
pub struct FilterLedger {
    budget_bytes: AtomicU64,
    tables: Mutex<BTreeMap<TableId, FilterEntry>>,
}

/// The filter of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FilterEntry {
    pub(crate) tree: TreeId,
    /// Versions in the table, at least as many as keys.
    pub(crate) entries: u64,
    /// Size of the filter in the file.
    pub(crate) bytes: u64,
}

impl FilterLedger {
    /// Of no table; `u64::MAX`: filters may take what they like.
    pub(crate) fn new(budget_bytes: u64) -> FilterLedger {
        let tables = Mutex::new(RANK, BTreeMap::new());
        FilterLedger { budget_bytes: AtomicU64::new(budget_bytes), tables }
    }

    /// Bytes that all filters may take together.
    pub(crate) fn budget_bytes(&self) -> u64 {
        self.budget_bytes.load(Ordering::Relaxed)
    }

    /// Changes that. Tables keep the filters that they have.
    pub(crate) fn set_budget_bytes(&self, bytes: u64) {
        self.budget_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that all filters take.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.lock().values().map(|entry| entry.bytes).sum()
    }

    /// The filters of all tables.
    pub(crate) fn entries(&self) -> Vec<(TableId, FilterEntry)> {
        self.tables.lock().iter().map(|(&id, &entry)| (id, entry)).collect()
    }

    pub(super) fn enter(&self, tree: TreeId, table: &TableRef) {
        let entry = FilterEntry { tree, entries: table.entries, bytes: table.filter_bytes() };
        self.tables.lock().insert(table.id, entry);
    }

    pub(super) fn leave(&self, table: TableId) {
        self.tables.lock().remove(&table);
    }
}
