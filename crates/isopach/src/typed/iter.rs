//! Iterators over typed entries: those of the keyspace, decoded as they come.

use super::{
    key::{AsKey, Key, bytes_of},
    value::Value,
};
use crate::{
    error::Result,
    read::{Iter, Keys},
};
use isopach_engine::types::Slice;
use std::{iter::FusedIterator, marker::PhantomData};

/// Typed entries in the order of keys, from both ends.
///
/// As [`Iter`] it is owned, and an error stands for the entry that could not be decoded, or for a range that
/// could not be read ([`Error::keys`](crate::Error::keys)); behind it the iterator goes on.
#[derive(Debug)]
pub struct TypedIter<K, V> {
    entries: Iter,
    keyspace: String,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Value> TypedIter<K, V> {
    pub(super) fn new(entries: Iter, keyspace: &str) -> TypedIter<K, V> {
        TypedIter { entries, keyspace: keyspace.into(), types: PhantomData }
    }

    /// Keys only; values are neither read nor decoded.
    pub fn keys(self) -> TypedKeys<K> {
        TypedKeys { keys: self.entries.keys(), keyspace: self.keyspace, types: PhantomData }
    }

    /// Moves the front to the first key `>= key`: as [`Iter::seek`].
    pub fn seek<Q: AsKey<K> + ?Sized>(&mut self, key: &Q) -> &mut Self {
        self.entries.seek(bytes_of(key));
        self
    }

    /// Moves the back to the last key `<= key`: as [`Iter::seek_back`].
    pub fn seek_back<Q: AsKey<K> + ?Sized>(&mut self, key: &Q) -> &mut Self {
        self.entries.seek_back(bytes_of(key));
        self
    }

    fn decode(&self, entry: Result<(Slice, Slice)>) -> Result<(K, V)> {
        let (key, value) = entry?;
        let decoded = K::from_key_bytes(&key).and_then(|typed| Ok((typed, V::decode_value(value)?)));
        decoded.map_err(|error| error.of_entry(&self.keyspace, &key))
    }
}

impl<K: Key, V: Value> Iterator for TypedIter<K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(|entry| self.decode(entry))
    }
}

impl<K: Key, V: Value> DoubleEndedIterator for TypedIter<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back().map(|entry| self.decode(entry))
    }
}

impl<K: Key, V: Value> FusedIterator for TypedIter<K, V> {}

/// Keys of a [`TypedIter`].
#[derive(Debug)]
pub struct TypedKeys<K> {
    keys: Keys,
    keyspace: String,
    types: PhantomData<fn() -> K>,
}

impl<K: Key> TypedKeys<K> {
    fn decode(&self, key: Result<Slice>) -> Result<K> {
        let key = key?;
        K::from_key_bytes(&key).map_err(|error| error.of_entry(&self.keyspace, &key))
    }
}

impl<K: Key> Iterator for TypedKeys<K> {
    type Item = Result<K>;

    fn next(&mut self) -> Option<Self::Item> {
        self.keys.next().map(|key| self.decode(key))
    }
}

impl<K: Key> DoubleEndedIterator for TypedKeys<K> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.keys.next_back().map(|key| self.decode(key))
    }
}

impl<K: Key> FusedIterator for TypedKeys<K> {}
