//! Compaction filters: code of users that decides about values while they are rewritten. Found again by name.
//!
//! A filter sees what later views would: of each key the newest put of the job, if no open snapshot sees it too. What is
//! done with its answer is in `compaction/survivors.rs`.

use crate::{
    blob::ReadBlobs,
    error::{Error, ErrorKind, Result},
    expiry,
    iter::{Cursor, Entry, value_apart},
    named::{Named, NamedSet},
    types::{Level, Seqno, Slice, TreeId, UnixUs},
};
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use isopach_env::sync::catch;

/// Makes a filter for each job.
///
/// A name stands for one behaviour: what changes gets another name.
pub trait CompactionFilterFactory: Send + Sync + 'static {
    /// 1 to 255 bytes; those that begin with `isopach.` are reserved.
    fn name(&self) -> &str;

    /// A filter for one flush or compaction; jobs run side by side.
    fn make(&self, context: &FilterContext) -> Box<dyn CompactionFilter>;
}

/// Decides about values while they are rewritten.
///
/// Sees the newest version of each key in the job and only puts, in the order of keys: no operands, no deletes, nothing
/// expired. Versions that an open snapshot sees stay for it, and are not shown; what the filter changes raises the read
/// floor. Newer versions of a key may lie outside of the job. Calls must not reach the database.
pub trait CompactionFilter: Send {
    /// What becomes of `entry`.
    ///
    /// # Errors
    ///
    /// The job ends with `FilterFailed` and changes nothing. With `std` a panic does the same.
    fn filter(&mut self, entry: &FilterEntry<'_>) -> Result<Verdict>;
}

/// The job that a filter works for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FilterContext {
    /// The tree.
    pub tree: TreeId,
    /// Where the output goes.
    pub to: Level,
    /// Nothing older than the inputs remains below.
    pub is_last: bool,
    /// Time of the job.
    pub now: UnixUs,
}

/// One put.
pub struct FilterEntry<'a> {
    entry: Entry<'a>,
    cursor: &'a dyn Cursor,
    blobs: Option<&'a dyn ReadBlobs>,
}

impl<'a> FilterEntry<'a> {
    /// The put that a cursor stands on.
    pub(super) fn new(
        entry: Entry<'a>,
        cursor: &'a dyn Cursor,
        blobs: Option<&'a dyn ReadBlobs>,
    ) -> FilterEntry<'a> {
        FilterEntry { entry, cursor, blobs }
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.entry.key
    }

    /// Its version; 0 if all views see it.
    pub fn seqno(&self) -> Seqno {
        self.entry.seqno
    }

    /// When it expires, if ever.
    ///
    /// # Errors
    ///
    /// The value cannot be read.
    pub fn expires_at(&self) -> Result<Option<UnixUs>> {
        let of_put = || expiry::of_version(self.entry.kind, self.cursor.value_bytes()?).map_err(damaged);
        if self.entry.kind.expires() { of_put() } else { Ok(None) }
    }

    /// The value. Read when it is asked for, a separated one from its file.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn value(&self) -> Result<Slice> {
        self.expires_at()?;
        let (Entry { key, kind, .. }, stored) = (self.entry, self.cursor.value()?);
        match value_apart(key, kind, &stored, self.blobs)? {
            Some(value) => Ok(value),
            None => Ok(expiry::value_of(kind, stored)),
        }
    }
}

fn damaged(why: crate::codec::Corruption) -> Error {
    Error::new(ErrorKind::Corruption, why.0)
}

/// Answer of a filter.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Keeps it.
    Keep,
    /// Deletes the key.
    Remove,
    /// Deletes this put only; an older put, if there is one, shows again.
    RemoveWeak,
    /// Keeps the key with another value, and with the time it expires at, if it does.
    Replace(Vec<u8>),
    /// Deletes this put and whatever else the filter would be shown of keys before this one, which is not among them.
    /// Older versions outside of the job show again.
    RemoveUntil(Vec<u8>),
}

impl Named for dyn CompactionFilterFactory {
    const WHAT: &str = "compaction filter";
    const REGISTERED_BY: &str = "`Builder::compaction_filter`, `StoreOptions::code`";
    const MISSING: ErrorKind = ErrorKind::MissingCompactionFilter;

    fn name(&self) -> &str {
        CompactionFilterFactory::name(self)
    }

    fn built_in(_name: &str) -> Option<Arc<dyn CompactionFilterFactory>> {
        None
    }
}

/// Compaction filters by name: those that were added.
pub type CompactionFilters = NamedSet<dyn CompactionFilterFactory>;

/// Asks a filter.
///
/// # Errors
///
/// `FilterFailed`; what it said, if it could not read the value.
pub(super) fn ask(filter: &mut dyn CompactionFilter, entry: &FilterEntry<'_>) -> Result<Verdict> {
    let key = entry.key().escape_ascii();
    let failed = |why| {
        Error::new(ErrorKind::FilterFailed, format!("the compaction filter failed on key \"{key}\": {why}"))
    };
    match catch(|| filter.filter(entry)) {
        Ok(Ok(verdict)) => Ok(verdict),
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::Io) => Err(error),
        Ok(Err(error)) => Err(failed(format!("{error}"))),
        Err(panicked) => Err(failed(format!("{panicked}"))),
    }
}
