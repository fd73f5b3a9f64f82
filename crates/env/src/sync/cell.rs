//! A shared pointer that is replaced as a whole.

use super::{Rank, RwLock};
use alloc::sync::Arc;
use core::{fmt, mem};

/// Holds the current state; readers take a counted reference to it, an installer replaces it.
///
/// A reader keeps what it loaded for as long as it likes; the state is freed with its last reference.
pub struct StateCell<T> {
    /// Held only to clone or swap the pointer.
    current: RwLock<Arc<T>>,
}

impl<T> StateCell<T> {
    /// With a first state.
    pub const fn new(rank: Rank, state: Arc<T>) -> StateCell<T> {
        StateCell { current: RwLock::new(rank, state) }
    }

    /// The current state.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.current.read())
    }

    /// Installs `next` and returns the state before, so that the caller drops it outside the lock.
    #[must_use = "drop the old state where its last reference may go"]
    pub fn store(&self, next: Arc<T>) -> Arc<T> {
        mem::replace(&mut *self.current.write(), next)
    }
}

impl<T> fmt::Debug for StateCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateCell").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANK: Rank = Rank::new(1, "test");

    #[test]
    fn a_reader_keeps_what_it_loaded() {
        let cell = StateCell::new(RANK, Arc::new(1));
        let before = cell.load();

        let old = cell.store(Arc::new(2));

        assert_eq!((*before, *old, *cell.load()), (1, 1, 2));
        assert!(Arc::ptr_eq(&before, &old));
    }

    #[test]
    fn the_cell_keeps_no_reference_to_a_state_it_replaced() {
        let cell = StateCell::new(RANK, Arc::new(1));

        let mut old = cell.store(Arc::new(2));

        assert!(Arc::get_mut(&mut old).is_some(), "the caller has the last reference");
    }
}
