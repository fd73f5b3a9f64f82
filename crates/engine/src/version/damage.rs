//! Damaged tables and files of separated values: what reading met is noted once for each, and stays with it until it goes
//! or is read in whole without a finding.
//!
//! Jobs that nobody asked for leave such files alone; reads try them each time. Never mends.

use crate::error::{Error, ErrorKind};
use alloc::sync::Arc;
use core::fmt;
use isopach_env::{
    IoErrorKind,
    sync::{Mutex, Rank},
};

/// Of what is wrong with a table. Held for moments.
const DAMAGE: Rank = Rank::new(58, "table.damage");
/// Of who is told. Held for moments.
const WATCH: Rank = Rank::new(59, "damage.watch");

/// Whether an error of reading a table says that its bytes are not what was written, or cannot be had: the
/// table is damaged. What a process lacks (handles, permission) says nothing of the table.
fn is_damage(error: &Error) -> bool {
    match (error.kind(), error.io_error()) {
        (
            ErrorKind::Corruption
            | ErrorKind::MissingDictionary
            | ErrorKind::MixedStore
            | ErrorKind::UnsupportedFormat,
            _,
        ) => true,
        (_, Some(io)) => {
            matches!(io.kind(), IoErrorKind::NotFound | IoErrorKind::UnexpectedEnd | IoErrorKind::Other)
        }
        _ => false,
    }
}

/// What is wrong with one file, if anything is known.
#[derive(Debug)]
pub(super) struct Damage(Mutex<Option<Error>>);

impl Damage {
    pub(super) fn none() -> Damage {
        Damage(Mutex::new(DAMAGE, None))
    }

    pub(super) fn get(&self) -> Option<Error> {
        self.0.lock().clone()
    }

    pub(super) fn is_known(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Notes an error of reading the table, if it is damage and nothing was known. Whether it was noted.
    pub(super) fn note(&self, error: &Error) -> bool {
        let mut damage = self.0.lock();
        let is_new = damage.is_none() && is_damage(error);
        if is_new {
            *damage = Some(error.clone());
        }
        is_new
    }

    /// Nothing is wrong with the table.
    pub(super) fn clear(&self) {
        *self.0.lock() = None;
    }
}

/// Who is told of damage: once for each table, on the thread that met it, which holds no lock.
pub struct DamageWatch(Mutex<Option<Arc<Watch>>>);

/// Hears of an error that names tree, file and place.
pub type Watch = dyn Fn(&Error) + Send + Sync;

impl DamageWatch {
    pub(crate) fn new() -> DamageWatch {
        DamageWatch(Mutex::new(WATCH, None))
    }

    /// From now on `watch` is told, and nobody else.
    pub fn set(&self, watch: Arc<Watch>) {
        let old = self.0.lock().replace(watch);
        drop(old);
    }

    pub(super) fn tell(&self, error: &Error) {
        let watch = self.0.lock().clone();
        if let Some(watch) = watch {
            watch(error);
        }
    }
}

impl fmt::Debug for DamageWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DamageWatch").finish_non_exhaustive()
    }
}
