//! Who measures the whole process runs alone.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURNS: RwLock<()> = RwLock::new(());

/// A turn, of either kind; it ends when it is dropped.
#[must_use]
pub(crate) enum Turn {
    BesideOthers { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

pub(crate) fn beside_others() -> Turn {
    Turn::BesideOthers { _guard: TURNS.read().unwrap_or_else(PoisonError::into_inner) }
}

pub(crate) fn alone() -> Turn {
    Turn::Alone { _guard: TURNS.write().unwrap_or_else(PoisonError::into_inner) }
}
