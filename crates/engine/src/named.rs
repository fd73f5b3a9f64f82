//! Code of users that stores name: kept with what it configures by name only, and found again among what was
//! registered and what is built in.

use crate::error::{Error, ErrorKind, Result};
use alloc::{format, sync::Arc, vec::Vec};
use core::fmt;

/// Longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// Names that begin so are those of what is built in.
const BUILT_IN: &str = "isopach.";

/// A kind of code that is found by name.
pub trait Named: Send + Sync {
    /// What it is, for people.
    const WHAT: &str;
    /// How it is registered, for people.
    const REGISTERED_BY: &str;
    /// What it is if it is missing.
    const MISSING: ErrorKind;

    /// Its name, for ever.
    fn name(&self) -> &str;

    /// What is built in under a name.
    fn built_in(name: &str) -> Option<Arc<Self>>;
}

/// Code by name: what is built in, and what was added.
pub struct NamedSet<T: ?Sized>(Vec<Arc<T>>);

impl<T: Named + ?Sized> NamedSet<T> {
    /// Only what is built in, as `default`.
    pub fn new() -> NamedSet<T> {
        NamedSet::default()
    }

    /// Adds one. Whether it may be is said by [`NamedSet::validate`].
    pub fn add(&mut self, one: Arc<T>) {
        self.0.push(one);
    }

    /// Checks the names of those that were added.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: a name is empty, longer than 255 bytes, reserved, or that of two.
    pub fn validate(&self) -> Result<()> {
        for (at, one) in self.0.iter().enumerate() {
            let name = one.name();
            check_name::<T>(name)?;
            let why = if name.starts_with(BUILT_IN) {
                "is reserved for those that are built in"
            } else if self.0[..at].iter().any(|other| other.name() == name) {
                "is that of two"
            } else {
                continue;
            };
            let message = format!("the name {name:?} of a {} {why}", T::WHAT);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(())
    }

    /// That of this name.
    ///
    /// # Errors
    ///
    /// [`Named::MISSING`].
    pub fn find(&self, name: &str) -> Result<Arc<T>> {
        let added = || self.0.iter().find(|one| one.name() == name).cloned();
        T::built_in(name).or_else(added).ok_or_else(|| {
            let message = format!(
                "the {} {name:?} is not known: who opens registers it ({})",
                T::WHAT,
                T::REGISTERED_BY
            );
            Error::new(T::MISSING, message)
        })
    }
}

impl<T: ?Sized> Clone for NamedSet<T> {
    fn clone(&self) -> NamedSet<T> {
        NamedSet(self.0.clone())
    }
}

impl<T: ?Sized> Default for NamedSet<T> {
    fn default() -> NamedSet<T> {
        NamedSet(Vec::new())
    }
}

impl<T: Named + ?Sized> fmt::Debug for NamedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|one| one.name())).finish()
    }
}

/// Says whether something of a kind can have this name.
///
/// # Errors
///
/// `InvalidArgument`.
pub fn check_name<T: Named + ?Sized>(name: &str) -> Result<()> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    let message = format!("the name of a {} has {} bytes, not 1 to 255", T::WHAT, name.len());
    Err(Error::new(ErrorKind::InvalidArgument, message))
}
