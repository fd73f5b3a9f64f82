//! Reading: the same calls on a keyspace and on a snapshot of it.

use crate::{
    error::{Error, Result},
    space::Space,
    views::LiveViews,
};
use isopach_engine::{
    key::{KeyRange, prefix_successor},
    tree::{Reader, Scan},
    types::{Seqno, Slice, UnixUs, View},
};
use std::{any::Any, fmt, iter::FusedIterator, ops::Bound, path::Path, sync::Arc};

/// What [`Keyspace`](crate::Keyspace) and [`KeyspaceAt`](crate::KeyspaceAt) have in common, for generic code.
/// They have these methods of their own too: no import is needed.
pub trait Readable {
    /// Its name.
    fn name(&self) -> &str;

    /// The value of a key. Where its newest source is damaged: an error, never an older value.
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>>;

    /// Many keys of one state, in the order asked.
    fn get_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Slice>>>;

    /// Whether the key has a value.
    fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool>;

    /// Whether any key starts with `prefix`.
    fn contains_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<bool>;

    /// Size of the value in bytes.
    fn value_len(&self, key: impl AsRef<[u8]>) -> Result<Option<u32>>;

    /// Whether there is no entry. Stops at the first.
    fn is_empty(&self) -> Result<bool>;

    /// Exact number of entries in a range. Goes over its keys.
    fn count(&self, range: impl KeyRange) -> Result<u64>;

    /// All entries.
    fn iter(&self) -> Iter;

    /// The entries of a range.
    fn range(&self, range: impl KeyRange) -> Iter;

    /// The entries of many ranges of one state, one iterator each.
    fn ranges<R: KeyRange>(&self, ranges: impl IntoIterator<Item = R>) -> Vec<Iter>;

    /// The entries whose keys start with `prefix`. In an order of keys that is not that of bytes an error of kind
    /// `InvalidArgument`, as of [`Readable::contains_prefix`].
    fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter;

    /// The entry with the least key.
    fn first(&self) -> Result<Option<(Slice, Slice)>>;

    /// The entry with the greatest key.
    fn last(&self) -> Result<Option<(Slice, Slice)>>;

    /// The entry with the greatest key `<= key`.
    fn floor(&self, key: impl AsRef<[u8]>) -> Result<Option<(Slice, Slice)>>;

    /// The entry with the least key `>= key`.
    fn ceil(&self, key: impl AsRef<[u8]>) -> Result<Option<(Slice, Slice)>>;
}

/// One state of a keyspace, to read from: what the methods of [`Readable`] are made of.
#[derive(Clone)]
pub(crate) struct Pinned {
    pub(crate) reader: Reader,
    /// What the view sees.
    pub(crate) seqno: Seqno,
    pub(crate) time: ReadTime,
    pub(crate) space: Arc<Space>,
    /// The directory, for messages.
    pub(crate) path: Arc<Path>,
    /// What has to live as long as whoever reads.
    pub(crate) owner: Arc<dyn Any + Send + Sync>,
}

/// The time of a view.
#[derive(Clone, Copy)]
pub(crate) enum ReadTime {
    Of(UnixUs),
    /// That of the read, which comes after what is visible was learnt. The clock belongs to the owner, and is read only where
    /// something may expire.
    Now(fn(&dyn Any) -> &LiveViews),
}

impl Pinned {
    fn locate(&self, error: isopach_engine::error::Error) -> Error {
        Error::from(error).in_keyspace(&self.space.name).in_directory(&self.path)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Slice>> {
        let near = |expires_at| self.near(expires_at);
        self.reader.get_timed(key, self.seqno, near).map_err(|error| self.locate(error))
    }

    pub(crate) fn value_len(&self, key: &[u8]) -> Result<Option<u32>> {
        let near = |expires_at| self.near(expires_at);
        self.reader.value_len_timed(key, self.seqno, near).map_err(|error| self.locate(error))
    }

    /// The time of the view, or one that tells as well whether something has expired.
    #[inline]
    fn near(&self, expires_at: UnixUs) -> UnixUs {
        match self.time {
            ReadTime::Of(time) => time,
            ReadTime::Now(views) => views(&*self.owner).near(expires_at),
        }
    }

    pub(crate) fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Slice>>> {
        keys.into_iter().map(|key| self.get(key.as_ref())).collect()
    }

    pub(crate) fn range(self, range: impl KeyRange) -> Iter {
        let time = match self.time {
            ReadTime::Of(time) => time,
            ReadTime::Now(views) if self.reader.may_expire() => views(&*self.owner).now(),
            ReadTime::Now(_) => UnixUs(0),
        };
        let scan = self.reader.scan(range, View::new(self.seqno, time)).map_err(|error| self.locate(error));
        Iter(Source::of(scan, self))
    }

    pub(crate) fn prefix(self, prefix: &[u8]) -> Iter {
        if let Err(error) = self.space.check_prefixes() {
            return Iter::failed(error.in_directory(&self.path));
        }
        self.range((Bound::Included(prefix), end_of_prefix(prefix)))
    }

    pub(crate) fn count(self, range: impl KeyRange) -> Result<u64> {
        self.range(range).keys().try_fold(0, |count, key| key.map(|_| count + 1))
    }
}

/// The end of the keys that start with a prefix; there is none behind bytes of nothing but 0xff.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Bound<Vec<u8>> {
    prefix_successor(prefix).map_or(Bound::Unbounded, Bound::Excluded)
}

/// Gives a type with a method `pin(&self) -> Result<Pinned>` the methods of [`Readable`], as its own and
/// through the trait.
macro_rules! readable {
    ($type:ty) => {
        impl $type {
            /// The value of a key. Where its newest source is damaged: an error, never an older value.
            pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
                self.pin()?.get(key.as_ref())
            }

            /// Many keys of one state, in the order asked.
            pub fn get_many<K: AsRef<[u8]>>(
                &self,
                keys: impl IntoIterator<Item = K>,
            ) -> Result<Vec<Option<Slice>>> {
                self.pin()?.get_many(keys)
            }

            /// Whether the key has a value. One that lies outside of the tables is not read.
            pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
                self.value_len(key).map(|bytes| bytes.is_some())
            }

            /// Whether any key starts with `prefix`.
            pub fn contains_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<bool> {
                self.prefix(prefix).keys().next().transpose().map(|key| key.is_some())
            }

            /// Size of the value in bytes. One that lies outside of the tables is not read.
            pub fn value_len(&self, key: impl AsRef<[u8]>) -> Result<Option<u32>> {
                self.pin()?.value_len(key.as_ref())
            }

            /// Whether there is no entry. Stops at the first.
            pub fn is_empty(&self) -> Result<bool> {
                self.iter().keys().next().transpose().map(|key| key.is_none())
            }

            /// Exact number of entries in a range. Goes over its keys.
            pub fn count(&self, range: impl KeyRange) -> Result<u64> {
                self.pin()?.count(range)
            }

            /// All entries.
            pub fn iter(&self) -> Iter {
                self.range(..)
            }

            /// The entries of a range.
            pub fn range(&self, range: impl KeyRange) -> Iter {
                self.pin().map_or_else(Iter::failed, |pinned| pinned.range(range))
            }

            /// The entries of many ranges of one state, one iterator each.
            pub fn ranges<R: KeyRange>(&self, ranges: impl IntoIterator<Item = R>) -> Vec<Iter> {
                let pinned = self.pin();
                let scan = |range| match &pinned {
                    Ok(pinned) => pinned.clone().range(range),
                    Err(error) => Iter::failed(error.clone()),
                };
                ranges.into_iter().map(scan).collect()
            }

            /// The entries whose keys start with `prefix`.
            pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
                self.pin().map_or_else(Iter::failed, |pinned| pinned.prefix(prefix.as_ref()))
            }

            /// The entry with the least key.
            pub fn first(&self) -> Result<Option<(Slice, Slice)>> {
                self.iter().next().transpose()
            }

            /// The entry with the greatest key.
            pub fn last(&self) -> Result<Option<(Slice, Slice)>> {
                self.iter().next_back().transpose()
            }

            /// The entry with the greatest key `<= key`.
            pub fn floor(&self, key: impl AsRef<[u8]>) -> Result<Option<(Slice, Slice)>> {
                self.range(..=key).next_back().transpose()
            }

            /// The entry with the least key `>= key`.
            pub fn ceil(&self, key: impl AsRef<[u8]>) -> Result<Option<(Slice, Slice)>> {
                self.range(key..).next().transpose()
            }
        }

        impl Readable for $type {
            fn name(&self) -> &str {
                <$type>::name(self)
            }

            fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
                <$type>::get(self, key)
            }

            fn get_many<K: AsRef<[u8]>>(
                &self,
                keys: impl IntoIterator<Item = K>,
            ) -> Result<Vec<Option<Slice>>> {
                <$type>::get_many(self, keys)
            }

            fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
                <$type>::contains(self, key)
            }

            fn contains_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<bool> {
                <$type>::contains_prefix(self, prefix)
            }

            fn value_len(&self, key: impl AsRef<[u8]>) -> Result<Option<u32>> {
                <$type>::value_len(self, key)
            }

            fn is_empty(&self) -> Result<bool> {
                <$type>::is_empty(self)
            }

            fn count(&self, range: impl KeyRange) -> Result<u64> {
                <$type>::count(self, range)
            }

            fn iter(&self) -> Iter {
                <$type>::iter(self)
            }

            fn range(&self, range: impl KeyRange) -> Iter {
                <$type>::range(self, range)
            }

            fn ranges<R: KeyRange>(&self, ranges: impl IntoIterator<Item = R>) -> Vec<Iter> {
                <$type>::ranges(self, ranges)
            }

            fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
                <$type>::prefix(self, prefix)
            }

            fn first(&self) -> Result<Option<(Slice, Slice)>> {
                <$type>::first(self)
            }

            fn last(&self) -> Result<Option<(Slice, Slice)>> {
                <$type>::last(self)
            }

            fn floor(&self, key: impl AsRef<[u8]>) -> Result<Option<(Slice, Slice)>> {
                <$type>::floor(self, key)
            }

            fn ceil(&self, key: impl AsRef<[u8]>) -> Result<Option<(Slice, Slice)>> {
                <$type>::ceil(self, key)
            }
        }
    };
}

pub(crate) use readable;

/// Entries in key order, from both ends; they meet without repeating.
///
/// Owned (`Send + 'static`); sees one state and holds its files until dropped. An error stands for a range of
/// keys ([`Error::keys`]); the iterator goes on behind that range, so no older value shows in its place.
pub struct Iter(Source);

enum Source {
    Scan(Box<Scanning>),
    /// The iterator could not be made: it says so once.
    Failed(Option<Error>),
}

struct Scanning {
    scan: Scan,
    space: Arc<Space>,
    path: Arc<Path>,
    /// Dropped last: it may close the database.
    _owner: Arc<dyn Any + Send + Sync>,
}

impl Source {
    fn of(scan: Result<Scan>, pinned: Pinned) -> Source {
        match scan {
            Ok(scan) => Source::Scan(Box::new(Scanning {
                scan,
                space: pinned.space,
                path: pinned.path,
                _owner: pinned.owner,
            })),
            Err(error) => Source::Failed(Some(error)),
        }
    }

    fn step(
        &mut self,
        step: impl FnOnce(&mut Scan) -> Option<isopach_engine::error::Result<(Slice, Slice)>>,
    ) -> Option<Result<(Slice, Slice)>> {
        match self {
            Source::Scan(scanning) => step(&mut scanning.scan).map(|item| {
                item.map_err(|error| {
                    Error::from(error).in_keyspace(&scanning.space.name).in_directory(&scanning.path)
                })
            }),
            Source::Failed(error) => error.take().map(Err),
        }
    }
}

impl Iter {
    pub(crate) fn failed(error: Error) -> Iter {
        Iter(Source::Failed(Some(error)))
    }

    /// Keys only; values are not touched.
    pub fn keys(self) -> Keys {
        Keys(self)
    }

    /// Values only.
    pub fn values(self) -> Values {
        Values(self)
    }

    /// Moves the front to the first key `>= key`, inside the bounds. Backwards too. The back's position stays
    /// a bound: what that end gave out does not come again.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> &mut Iter {
        if let Source::Scan(scanning) = &mut self.0 {
            scanning.scan.seek(key.as_ref());
        }
        self
    }

    /// Moves the back to the last key `<= key`, inside the bounds. The front's position stays a bound.
    pub fn seek_back(&mut self, key: impl AsRef<[u8]>) -> &mut Iter {
        if let Source::Scan(scanning) = &mut self.0 {
            scanning.scan.seek_back(key.as_ref());
        }
        self
    }
}

impl Iterator for Iter {
    type Item = Result<(Slice, Slice)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.step(Scan::next)
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.step(Scan::next_back)
    }
}

impl FusedIterator for Iter {}

impl fmt::Debug for Iter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Scan(scanning) => f.debug_struct("Iter").field("keyspace", &scanning.space.name).finish(),
            Source::Failed(error) => f.debug_tuple("Iter").field(error).finish(),
        }
    }
}

/// Keys of an [`Iter`].
#[derive(Debug)]
pub struct Keys(Iter);

impl Iterator for Keys {
    type Item = Result<Slice>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.0.step(Scan::next_key).map(|item| item.map(|(key, _)| key))
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.0.step(Scan::next_key_back).map(|item| item.map(|(key, _)| key))
    }
}

impl FusedIterator for Keys {}

/// Values of an [`Iter`].
#[derive(Debug)]
pub struct Values(Iter);

impl Iterator for Values {
    type Item = Result<Slice>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|item| item.map(|(_, value)| value))
    }
}

impl DoubleEndedIterator for Values {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|item| item.map(|(_, value)| value))
    }
}

impl FusedIterator for Values {}
