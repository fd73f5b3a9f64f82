//! The shape of a tree: levels of sorted runs of tables. Pure.

use crate::{
    codec::Corruption,
    order::KeyOrder,
    table::TableMeta,
    types::{Level, Seqno, TableId},
};
use alloc::{vec, vec::Vec};
use core::borrow::Borrow;

/// Levels of a tree, 0 to 6.
pub const LEVELS: usize = 7;

/// Age of a run: greater is newer. Below level 0 there is one run, of age 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunAge(pub u64);

impl RunAge {
    /// Of the only run of a level below 0.
    pub const SORTED: RunAge = RunAge(0);
}

/// Tables with disjoint key ranges, in key order where it is known. `T` is a table's meta or a handle that has one.
#[derive(Clone, Debug)]
pub struct Run<T> {
    /// Its age among the runs of its level.
    pub age: RunAge,
    /// Its tables, in key order; never empty.
    pub tables: Vec<T>,
}

impl<T: Borrow<TableMeta>> Run<T> {
    /// The table that may hold `key`: the first whose last key is not less.
    #[inline]
    pub fn table_for(&self, order: &KeyOrder, key: &[u8]) -> Option<&T> {
        if !order.is_bytewise() {
            return self.table_in_order(order, key);
        }
        let at = self.tables.partition_point(|table| table.borrow().last_key[..] < *key);
        self.tables.get(at).filter(|table| Borrow::<TableMeta>::borrow(*table).first_key[..] <= *key)
    }

    #[cold]
    fn table_in_order(&self, order: &KeyOrder, key: &[u8]) -> Option<&T> {
        let at = self.tables.partition_point(|table| order.is_less(&table.borrow().last_key, key));
        let begins = |table: &&T| order.is_at_most(&Borrow::<TableMeta>::borrow(*table).first_key, key);
        self.tables.get(at).filter(begins)
    }
}

/// All runs of a tree. For one key a newer version never lies below an older one (INV-VER-2).
#[derive(Clone, Debug)]
pub struct Levels<T> {
    levels: Vec<Vec<Run<T>>>,
}

/// A table that an edit adds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Added<T> {
    /// To which level.
    pub level: Level,
    /// To which run of it.
    pub age: RunAge,
    /// Which table.
    pub table: T,
}

impl<T> Default for Levels<T> {
    fn default() -> Levels<T> {
        Levels { levels: (0..LEVELS).map(|_| vec![]).collect() }
    }
}

impl<T: Borrow<TableMeta> + Clone> Levels<T> {
    /// Runs of a level, newest first.
    pub fn runs(&self, level: Level) -> &[Run<T>] {
        self.levels.get(usize::from(level.0)).map_or(&[], Vec::as_slice)
    }

    /// Levels from 0 down, with their runs.
    pub fn iter(&self) -> impl Iterator<Item = (Level, &[Run<T>])> {
        (0..).map(Level).zip(self.levels.iter().map(Vec::as_slice))
    }

    /// Every table, with its level and the age of its run.
    pub fn tables(&self) -> impl Iterator<Item = (Level, RunAge, &T)> {
        self.iter().flat_map(|(level, runs)| {
            runs.iter().flat_map(move |run| run.tables.iter().map(move |table| (level, run.age, table)))
        })
    }

    /// The table with this id.
    pub fn table(&self, id: TableId) -> Option<(Level, RunAge, &T)> {
        self.tables().find(|(_, _, table)| (*table).borrow().id == id)
    }

    /// Whether there is no table.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(Vec::is_empty)
    }

    /// Greatest number of a version in a table, `ZERO` if none.
    pub fn last_seqno(&self) -> Seqno {
        self.tables().map(|(.., table)| table.borrow().last_seqno).max().unwrap_or(Seqno::ZERO)
    }

    /// The same shape of other handles.
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Levels<U> {
        let run = |run: &Run<T>, f: &mut dyn FnMut(&T) -> U| Run {
            age: run.age,
            tables: run.tables.iter().map(f).collect(),
        };
        let levels = self.levels.iter().map(|runs| runs.iter().map(|r| run(r, &mut f)).collect());
        Levels { levels: levels.collect() }
    }

    /// The levels after tables were removed and added, of keys in this order. Pure.
    ///
    /// `None`: nobody here knows the order. Tables of a run then are as they came, and who knows it sorts and checks them
    /// ([`Levels::sorted`]).
    ///
    /// # Errors
    ///
    /// A table to remove is missing, one to add is there already, a level does not exist, or tables of a run
    /// overlap. Of a manifest that is damage; of our own edit a bug.
    pub fn apply(
        &self,
        order: Option<&KeyOrder>,
        removed: &[TableId],
        added: &[Added<T>],
    ) -> Result<Levels<T>, Corruption> {
        let mut next = self.clone();
        for &id in removed {
            next.remove(id)?;
        }
        for addition in added {
            next.add(order, addition)?;
        }
        Ok(next)
    }

    /// The same tables, in their order.
    ///
    /// # Errors
    ///
    /// A table ends before it begins, or tables of a run overlap.
    pub fn sorted(&self, order: &KeyOrder) -> Result<Levels<T>, Corruption> {
        let added = self.tables().map(|(level, age, table)| Added { level, age, table: table.clone() });
        Levels::default().apply(Some(order), &[], &added.collect::<Vec<_>>())
    }

    fn remove(&mut self, id: TableId) -> Result<(), Corruption> {
        for runs in &mut self.levels {
            for run in runs.iter_mut() {
                if let Some(at) = run.tables.iter().position(|table| table.borrow().id == id) {
                    run.tables.remove(at);
                    runs.retain(|run| !run.tables.is_empty());
                    return Ok(());
                }
            }
        }
        Err(Corruption("an edit removes a table that is not there"))
    }

    fn add(&mut self, order: Option<&KeyOrder>, addition: &Added<T>) -> Result<(), Corruption> {
        let Added { level, age, table } = addition;
        let meta: &TableMeta = table.borrow();
        if self.table(meta.id).is_some() {
            return Err(Corruption("an edit adds a table that is there already"));
        }
        if order.is_some_and(|order| order.is_less(&meta.last_key, &meta.first_key)) {
            return Err(Corruption("a table ends before it begins"));
        }
        let runs = self
            .levels
            .get_mut(usize::from(level.0))
            .ok_or(Corruption("an edit names a level below the last"))?;
        if level.0 > 0 && *age != RunAge::SORTED {
            return Err(Corruption("a level below the first has a second run"));
        }
        let at = runs.partition_point(|run| run.age > *age);
        if runs.get(at).is_none_or(|run| run.age != *age) {
            runs.insert(at, Run { age: *age, tables: vec![] });
        }
        let tables = &mut runs[at].tables;
        let Some(order) = order else {
            tables.push(table.clone());
            return Ok(());
        };
        let place = tables.partition_point(|other| order.is_less(&other.borrow().last_key, &meta.first_key));
        let begins = |other: &T| order.is_at_most(&other.borrow().first_key, &meta.last_key);
        if tables.get(place).is_some_and(begins) {
            return Err(Corruption("tables of one run overlap"));
        }
        tables.insert(place, table.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
