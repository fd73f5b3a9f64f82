//! The contract of cursors over versions, and what is built on it: merging, visibility, bounds.
//!
//! A cursor stands on one version of one key, or on none. Cursors of all sources (memtables, tables, runs)
//! keep one contract, so that merges and scans need not know what lies below.

mod checksum;
mod merge;
mod skipping;

mod sight;
mod visible;

#[cfg(test)]
pub(crate) mod simulated;

pub use checksum::{CheckedValue, EntryChecksum};
pub use merge::MergeCursor;
pub use sight::Sight;
pub(crate) use sight::{unexpired, unsupported, value_apart, value_bytes_apart};
pub use skipping::SkippingCursor;
pub use visible::{Item, VisibleScan};

use crate::{
    error::Result,
    key::{InternalKey, ValueKind},
    types::{Seqno, Slice, UnixUs},
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

/// A position in a sequence of versions, sorted by key in the order of their tree, and within a key newest first.
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

    /// To the first entry of a key that comes after `key`. Reads nothing of which it is known that it ends with `key`.
    fn seek_behind(&mut self, key: &[u8]) -> Result<()> {
        self.seek(InternalKey::last_of(key))?;
        while self.entry().is_some_and(|entry| entry.key == key) {
            self.next()?;
        }
        Ok(())
    }

    /// To the following entry.
    fn next(&mut self) -> Result<()>;

    /// To the preceding entry.
    fn prev(&mut self) -> Result<()>;

    /// The entry it stands on.
    fn entry(&self) -> Option<Entry<'_>>;

    /// A number that no entry exceeds of the table or memtable that it stands in.
    fn newest(&self) -> Seqno {
        Seqno::MAX
    }

    /// A time before which no put expires of the table or memtable that it stands in.
    fn expires_from(&self) -> UnixUs {
        UnixUs(0)
    }

    /// Moves on over keys before `to` that are only in tables or memtables without entries numbered `below` or greater, all of
    /// them at once; `None`: over all such that follow. `false` if it went behind the end of everything, without
    /// moving. Called on an entry of which that is so, and `to` lies behind it.
    fn skip(&mut self, to: Option<&[u8]>, below: Seqno) -> Result<bool> {
        let _ = below;
        to.map_or(Ok(false), |to| self.seek(InternalKey::first_of(to)).map(|()| true))
    }

    /// As [`Cursor::skip`], backwards: over keys from `from` on; `None`: over all that come before.
    fn skip_back(&mut self, from: Option<&[u8]>, below: Seqno) -> Result<bool> {
        let _ = below;
        from.map_or(Ok(false), |from| self.seek_back(InternalKey::first_of(from)).map(|()| true))
    }

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

    /// As [`Cursor::value_bytes`], with the checksum that goes with the entry, if one does; the entry was just held
    /// against it.
    ///
    /// # Errors
    ///
    /// As [`Cursor::value_bytes`]; `Corruption`, naming the key, if the entry is not what its checksum says.
    fn checked_value(&self) -> Result<CheckedValue<'_>> {
        Ok((self.value_bytes()?, None))
    }
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

    fn seek_behind(&mut self, key: &[u8]) -> Result<()> {
        (**self).seek_behind(key)
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

    fn newest(&self) -> Seqno {
        (**self).newest()
    }

    fn expires_from(&self) -> UnixUs {
        (**self).expires_from()
    }

    fn skip(&mut self, to: Option<&[u8]>, below: Seqno) -> Result<bool> {
        (**self).skip(to, below)
    }

    fn skip_back(&mut self, from: Option<&[u8]>, below: Seqno) -> Result<bool> {
        (**self).skip_back(from, below)
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        (**self).value_bytes()
    }

    fn value(&self) -> Result<Slice> {
        (**self).value()
    }

    fn checked_value(&self) -> Result<CheckedValue<'_>> {
        (**self).checked_value()
    }
}
