//! Passing over holes: a cursor that does not stop where range tombstones hide all that its source has.

use super::{CheckedValue, Cursor, Entry};
use crate::{
    error::Result,
    key::InternalKey,
    range_tombstone::{Hidden, HiddenNear},
    types::{Seqno, Slice, UnixUs},
};
use alloc::vec::Vec;

/// The entries of a cursor, less stretches of keys over which a range tombstone that the view sees is newer than all
/// that the source holds there ([`Cursor::newest`]): these take one seek each, however many entries they have.
pub struct SkippingCursor<C> {
    inner: C,
    /// What the source holds is at most as new as this; `None`: the cursor knows.
    newest: Option<Seqno>,
    hidden: HiddenNear,
    /// It went behind the end of everything, or before the beginning.
    is_out: bool,
}

impl<C: Cursor> SkippingCursor<C> {
    /// Over `inner`, which stands on nothing. What it holds, as far as the view sees it, is at most as new as `newest`;
    /// `None`: it says so itself.
    pub fn new(inner: C, newest: Option<Seqno>, hidden: &Hidden) -> SkippingCursor<C> {
        SkippingCursor { inner, newest, hidden: HiddenNear::new(hidden.clone()), is_out: false }
    }

    /// The number of the tombstone whose hole it stands in.
    fn hole(&mut self) -> Option<Seqno> {
        let newest = self.newest();
        let below = self.hidden.below(self.inner.entry()?.key);
        (below > newest).then_some(below)
    }

    fn pass_forward(&mut self) -> Result<()> {
        self.is_out = false;
        while let (false, Some(below)) = (self.is_out, self.hole()) {
            let key = self.inner.entry().expect("it stands in a hole").key;
            let high = self.hidden.high(key).map(Vec::from);
            self.is_out = !self.inner.skip(high.as_deref(), below)?;
        }
        Ok(())
    }

    fn pass_backward(&mut self) -> Result<()> {
        self.is_out = false;
        while let (false, Some(below)) = (self.is_out, self.hole()) {
            let key = self.inner.entry().expect("it stands in a hole").key;
            let low = self.hidden.low(key).map(Vec::from);
            self.is_out = !self.inner.skip_back(low.as_deref(), below)?;
        }
        Ok(())
    }
}

impl<C: Cursor> Cursor for SkippingCursor<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.inner.seek_first()?;
        self.pass_forward()
    }

    fn seek_last(&mut self) -> Result<()> {
        self.inner.seek_last()?;
        self.pass_backward()
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.inner.seek(target)?;
        self.pass_forward()
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.inner.seek_back(target)?;
        self.pass_backward()
    }

    fn seek_behind(&mut self, key: &[u8]) -> Result<()> {
        self.inner.seek_behind(key)?;
        self.pass_forward()
    }

    fn next(&mut self) -> Result<()> {
        self.inner.next()?;
        self.pass_forward()
    }

    fn prev(&mut self) -> Result<()> {
        self.inner.prev()?;
        self.pass_backward()
    }

    fn entry(&self) -> Option<Entry<'_>> {
        if self.is_out { None } else { self.inner.entry() }
    }

    fn newest(&self) -> Seqno {
        self.newest.unwrap_or_else(|| self.inner.newest())
    }

    fn expires_from(&self) -> UnixUs {
        self.inner.expires_from()
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        self.inner.value_bytes()
    }

    fn value(&self) -> Result<Slice> {
        self.inner.value()
    }

    fn checked_value(&self) -> Result<CheckedValue<'_>> {
        self.inner.checked_value()
    }
}
