//! The contract of cursors over versions, and what is built on it: merging, visibility, bounds.
//!
//! A cursor stands on one version of one key, or on none. Cursors of all sources (memtables, tables, runs)
//! keep one contract, so that merges and scans need not know what lies below.

mod merge;
mod visible;

#[cfg(test)]
pub(crate) mod simulated;

pub use merge::MergeCursor;
pub use visible::{Item, VisibleScan, resolve};

use crate::{
    error::Result,
    key::{InternalKey, ValueKind},
    types::{Seqno, Slice},
};

/// One version of one key, as long as its cursor does not move.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// User key.
    pub key: &'a [u8],
    /// When it was written.
    pub seqno: Seqno,
    /// What was done.
    pub kind: ValueKind,
}

impl Entry<'_> {
    /// Its place in the order of versions.
    pub fn internal_key(&self) -> InternalKey<'_> {
        InternalKey { key: self.key, seqno: self.seqno }
    }
}

/// A position in a sequence of versions, sorted by key and within a key newest first.
///
/// New cursors stand on nothing. Every move leaves the cursor on an entry, or on nothing if there is none in
/// that direction. `next` and `prev` are called on an entry only.
///
/// # Errors
///
/// After an error the cursor stands on nothing. [`Error::keys`](crate::error::Error::keys) says which keys
/// could not be read; seeking behind them goes on.
pub trait Cursor: Send {
    /// To the first entry.
    fn seek_first(&mut self) -> Result<()>;

    /// To the last entry.
    fn seek_last(&mut self) -> Result<()>;

    /// To the first entry at or after `target`.
    fn seek(&mut self, target: InternalKey<'_>) -> Result<()>;

    /// To the last entry at or before `target`.
    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()>;

    /// To the following entry.
    fn next(&mut self) -> Result<()>;

    /// To the preceding entry.
    fn prev(&mut self) -> Result<()>;

    /// The entry it stands on.
    fn entry(&self) -> Option<Entry<'_>>;

    /// The stored value of the entry it stands on; empty on nothing. Values of tables are read and decompressed
    /// when they are asked for: who needs keys only pays for keys only.
    ///
    /// # Errors
    ///
    /// The value cannot be read; the error stands for this key. The cursor stays where it is.
    fn value_bytes(&self) -> Result<&[u8]>;

    /// As [`Cursor::value_bytes`], sharing the bytes.
    ///
    /// # Errors
    ///
    /// As [`Cursor::value_bytes`].
    fn value(&self) -> Result<Slice>;
}

impl<C: Cursor + ?Sized> Cursor for alloc::boxed::Box<C> {
    fn seek_first(&mut self) -> Result<()> {
        (**self).seek_first()
    }

    fn seek_last(&mut self) -> Result<()> {
        (**self).seek_last()
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        (**self).seek(target)
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        (**self).seek_back(target)
    }

    fn next(&mut self) -> Result<()> {
        (**self).next()
    }

    fn prev(&mut self) -> Result<()> {
        (**self).prev()
    }

    fn entry(&self) -> Option<Entry<'_>> {
        (**self).entry()
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        (**self).value_bytes()
    }

    fn value(&self) -> Result<Slice> {
        (**self).value()
    }
}
