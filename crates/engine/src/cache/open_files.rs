//! The files of one kind that are open, bounded by their number.

use crate::env::sync::{Rank, RwLock};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};

const RANK: Rank = Rank::new(60, "cache.open_files");

/// Keeps at most a number of files open, which are found by `I`; the least recently used are let go, and close when
/// nobody uses them.
///
/// Use is noted by the turn: a turn ends when a file is added. Among those used in the same turn any may go.
pub struct OpenFiles<I, T> {
    files: RwLock<Files<I, T>>,
}

struct Files<I, T> {
    max_open: usize,
    /// Counts files added.
    turn: usize,
    open: BTreeMap<I, Open<T>>,
}

struct Open<T> {
    file: Arc<T>,
    /// The turn it was last used in. Stored under the reader's lock; a lost store is harmless.
    used: AtomicUsize,
}

impl<I: Copy + Ord, T> OpenFiles<I, T> {
    /// Keeps at most `max_open` files, at least 1.
    pub fn new(max_open: usize) -> OpenFiles<I, T> {
        let files = Files { max_open: max_open.max(1), turn: 0, open: BTreeMap::new() };
        OpenFiles { files: RwLock::new(RANK, files) }
    }

    /// The file if it is open, else what `open` opens.
    ///
    /// No lock is held meanwhile, so two callers may open the same file; both get the one that was first
    /// kept.
    ///
    /// # Errors
    ///
    /// Those of `open`; nothing is kept then.
    pub fn get_or_open<E>(&self, id: I, open: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        match self.get(id) {
            Some(file) => Ok(file),
            None => Ok(self.keep(id, open()?)),
        }
    }

    /// Lets a file go, for its file is about to be removed. It closes when nobody uses it.
    pub fn remove(&self, id: I) {
        let removed = self.files.write().open.remove(&id);
        drop(removed); // Closing is not done under the lock.
    }

    /// Sets how many files are kept, at least 1.
    pub fn set_max_open(&self, max_open: usize) {
        let mut files = self.files.write();
        files.max_open = max_open.max(1);
        let closed = files.shrink();
        drop(files);
        drop(closed);
    }

    /// Number of files kept open.
    pub fn len(&self) -> usize {
        self.files.read().open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file, if it is open. Does not count as use.
    pub fn peek(&self, id: I) -> Option<Arc<T>> {
        self.files.read().open.get(&id).map(|open| Arc::clone(&open.file))
    }

    /// All that are open.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.files.read().open.values().map(|open| Arc::clone(&open.file)).collect()
    }

    fn get(&self, id: I) -> Option<Arc<T>> {
        let files = self.files.read();
        let open = files.open.get(&id)?;
        if open.used.load(Ordering::Relaxed) != files.turn {
            open.used.store(files.turn, Ordering::Relaxed);
        }
        Some(Arc::clone(&open.file))
    }

    /// Keeps a file, unless another opener came first; returns the one that is kept.
    fn keep(&self, id: I, file: Arc<T>) -> Arc<T> {
        let mut files = self.files.write();
        files.turn = files.turn.wrapping_add(1);
        let used = AtomicUsize::new(files.turn);
        let kept = files.open.entry(id).or_insert_with(|| Open { file: Arc::clone(&file), used });
        let kept = Arc::clone(&kept.file);
        let closed = files.shrink();
        drop(files);
        drop((closed, file));
        kept
    }
}

impl<I: Copy + Ord, T> Files<I, T> {
    /// Takes out what is too much, the least recently used first.
    fn shrink(&mut self) -> Vec<Open<T>> {
        let mut closed = Vec::new();
        while self.open.len() > self.max_open {
            // One pass over all of them, which costs little beside opening a file.
            let turn = self.turn;
            let age = |open: &Open<T>| turn.wrapping_sub(open.used.load(Ordering::Relaxed));
            let oldest = self.open.iter().max_by_key(|(_, open)| age(open)).map(|(&id, _)| id);
            closed.extend(oldest.and_then(|id| self.open.remove(&id)));
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TableId;
    use core::cell::Cell;

    fn open(tables: &OpenFiles<TableId, u64>, id: u64) -> Arc<u64> {
        tables.get_or_open(TableId(id), || Ok::<_, ()>(Arc::new(id))).unwrap()
    }

    #[test]
    fn an_open_table_is_not_opened_again() {
        let tables = OpenFiles::new(2);

        let first = open(&tables, 1);
        let again = tables.get_or_open(TableId(1), || Err("opened twice")).unwrap();

        assert!(Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn the_least_recently_used_is_let_go() {
        let tables = OpenFiles::new(2);
        open(&tables, 1);
        open(&tables, 2);
        open(&tables, 1);

        open(&tables, 3);

        let reopened = Cell::new(false);
        let reopen = |id| {
            reopened.set(false);
            let _ = tables.get_or_open(TableId(id), || {
                reopened.set(true);
                Err(())
            });
            reopened.get()
        };
        assert!(!reopen(1) && !reopen(3), "the recently used stay");
        assert!(reopen(2));
    }

    #[test]
    fn of_two_racing_openers_one_wins() {
        let tables = OpenFiles::new(2);

        let (inner, outer) = {
            let mut inner = None;
            let outer = tables.get_or_open(TableId(1), || {
                inner = Some(open(&tables, 1));
                Ok::<_, ()>(Arc::new(99))
            });
            (inner.unwrap(), outer.unwrap())
        };

        assert!(Arc::ptr_eq(&inner, &outer));
        assert_eq!(tables.len(), 1);
    }

    #[test]
    fn a_failed_open_keeps_nothing() {
        let tables = OpenFiles::<TableId, u64>::new(2);

        assert_eq!(tables.get_or_open(TableId(1), || Err("damaged")), Err("damaged"));

        assert!(tables.is_empty());
    }

    #[test]
    fn fewer_tables_are_kept_once_the_bound_is_lower() {
        let tables = OpenFiles::new(10);
        (0..10).for_each(|id| drop(open(&tables, id)));

        tables.set_max_open(3);
        tables.remove(TableId(9));

        assert_eq!(tables.len(), 2);
    }
}
