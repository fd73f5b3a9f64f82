//! Keyspaces seen through types (feature `typed`): keys whose bytes sort as they do, and values.
//!
//! ```
//! use isopach::{Db, typed::Typed};
//! use std::cmp::Reverse;
//!
//! # fn main() -> isopach::Result<()> {
//! let db = Db::in_memory()?;
//! // Of each player the best result first.
//! let results: Typed<(String, Reverse<u32>), f64> = Typed::new(db.keyspace("results")?);
//!
//! results.insert(&("ada", Reverse(70)), &1.5)?;
//! results.insert(&("ada", Reverse(90)), &2.5)?;
//! results.insert(&("bob", Reverse(80)), &0.5)?;
//!
//! assert_eq!(results.get(&("bob", Reverse(80)))?, Some(0.5));
//! let best = results.prefix(("ada",)).next().transpose()?;
//! assert_eq!(best, Some((("ada".to_owned(), Reverse(90)), 2.5)));
//! # db.close()
//! # }
//! ```
//!
//! # Keys
//!
//! | type                           | encoding                                                            |
//! |--------------------------------|---------------------------------------------------------------------|
//! | `u8` to `u128`, `i8` to `i128` | big-endian, the sign bit of signed ones flipped                     |
//! | `f32`, `f64`                   | their bits as a signed integer; of negative ones all others flipped |
//! | `bool`                         | 0 or 1                                                              |
//! | `char`                         | as `u32`                                                            |
//! | `String`, `Vec<u8>`            | its bytes, each 0 as `00 FF`, and `00 00` behind them               |
//! | `[u8; N]`                      | its bytes                                                           |
//! | `()`                           | nothing                                                             |
//! | `Option<K>`                    | 0, or 1 and the key                                                 |
//! | `Reverse<K>`                   | the complement of each byte of the key                              |
//! | tuples of 1 to 8               | the components, one behind the other                                |
//!
//! A type has one encoding, alone and inside of others, and none begins another. So a part of a tuple is a
//! prefix of the whole ([`Typed::prefix`]), and a `String` is no prefix of a longer one. Each key has one
//! encoding: others are refused. `usize` is no key, for its size differs between machines.
//!
//! Floats are in the order of `total_cmp`: NaN with a sign, -inf, ..., -0.0, 0.0, ..., inf, NaN. A NaN keeps its
//! bits, and 0.0 and -0.0 are two keys.
//!
//! An encoded key has up to 65,535 bytes; longer ones are refused when they are written (`KeyTooLarge`).
//!
//! # Values
//!
//! | type                                    | encoding                                                     |
//! |-----------------------------------------|--------------------------------------------------------------|
//! | integers, `f32`, `f64`                  | little-endian                                                |
//! | `bool`                                  | 0 or 1                                                       |
//! | `char`                                  | as `u32`                                                     |
//! | `String`, `Vec<u8>`, `Slice`, `[u8; N]` | their bytes                                                  |
//! | `()`                                    | nothing                                                      |
//! | `Option<V>`                             | 0, or 1 and the value                                        |
//! | `Postcard<T>` (feature `serde`)         | what postcard makes of it: of anything that serde serialises |
//!
//! # What is there already
//!
//! Nothing in a keyspace says of which types it is. Bytes that are no key or value of theirs are an error of
//! kind `Corruption` that names the keyspace and the key.

mod failure;
mod key;
mod tuple;
mod value;
#[cfg(feature = "serde")]
mod serialized;
mod iter;

pub use iter::{TypedIter, TypedKeys};
pub use key::{AsKey, Key, KeyReader};
#[cfg(feature = "serde")]
pub use serialized::Postcard;
pub use tuple::KeyPrefix;
pub use value::{AsValue, Value};

use crate::{
    batch::Batch,
    error::Result,
    keyspace::Keyspace,
    options::WriteOptions,
    read::Readable,
    snapshot::{KeyspaceAt, Snapshot},
};
use isopach_engine::types::Seqno;
use key::bytes_of;
use std::{
    fmt,
    marker::PhantomData,
    ops::{Bound, RangeBounds},
};

/// A keyspace with keys of type `K` and values of type `V`. Clones share it.
///
/// `R` is what it reads: a [`Keyspace`], or a [`KeyspaceAt`] of a snapshot or of a database that is open for
/// reading only.
pub struct Typed<K, V, R = Keyspace> {
    keyspace: R,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, R> Typed<K, V, R> {
    /// Sees `keyspace` through these types.
    pub fn new(keyspace: R) -> Typed<K, V, R> {
        Typed { keyspace, types: PhantomData }
    }

    /// The keyspace of bytes.
    pub fn raw(&self) -> &R {
        &self.keyspace
    }
}

impl<K: Key, V: Value, R: Readable> Typed<K, V, R> {
    /// The value of a key.
    ///
    /// # Errors
    ///
    /// `Corruption` if the value is none of type `V`, and those of [`Readable::get`].
    pub fn get<Q: AsKey<K> + ?Sized>(&self, key: &Q) -> Result<Option<V>> {
        let key = bytes_of(key);
        let Some(value) = self.keyspace.get(&key)? else { return Ok(None) };
        V::decode_value(value).map(Some).map_err(|error| error.of_entry(self.keyspace.name(), &key))
    }

    /// Whether the key has a value, of whatever type.
    ///
    /// # Errors
    ///
    /// Those of [`Readable::contains`].
    pub fn contains<Q: AsKey<K> + ?Sized>(&self, key: &Q) -> Result<bool> {
        self.keyspace.contains(bytes_of(key))
    }

    /// All entries.
    pub fn iter(&self) -> TypedIter<K, V> {
        TypedIter::new(self.keyspace.iter(), self.keyspace.name())
    }

    /// The entries of a range. An empty or reversed one holds nothing.
    pub fn range<Q: AsKey<K>>(&self, range: impl RangeBounds<Q>) -> TypedIter<K, V> {
        let bytes = |bound: Bound<&Q>| bound.map(|key| bytes_of(key));
        let range = (bytes(range.start_bound()), bytes(range.end_bound()));
        TypedIter::new(self.keyspace.range(range), self.keyspace.name())
    }

    /// The entries whose keys begin with these components: `results.prefix(("ada",))`.
    pub fn prefix<P: KeyPrefix<K>>(&self, prefix: P) -> TypedIter<K, V> {
        let mut bytes = Vec::new();
        prefix.encode_prefix(&mut bytes);
        TypedIter::new(self.keyspace.prefix(bytes), self.keyspace.name())
    }

    /// The entry with the least key.
    ///
    /// # Errors
    ///
    /// Those of [`TypedIter`].
    pub fn first(&self) -> Result<Option<(K, V)>> {
        self.iter().next().transpose()
    }

    /// The entry with the greatest key.
    ///
    /// # Errors
    ///
    /// Those of [`TypedIter`].
    pub fn last(&self) -> Result<Option<(K, V)>> {
        self.iter().next_back().transpose()
    }
}

impl<K: Key, V: Value> Typed<K, V> {
    /// Puts a value.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the value cannot be encoded (of the values of this crate only `Postcard` may be so);
    /// and those of [`Keyspace::insert`].
    pub fn insert<Q, W>(&self, key: &Q, value: &W) -> Result<Seqno>
    where
        Q: AsKey<K> + ?Sized,
        W: AsValue<V> + ?Sized,
    {
        self.insert_with(key, value, WriteOptions::default())
    }

    /// Puts a value, with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`Typed::insert`].
    pub fn insert_with<Q, W>(&self, key: &Q, value: &W, options: WriteOptions) -> Result<Seqno>
    where
        Q: AsKey<K> + ?Sized,
        W: AsValue<V> + ?Sized,
    {
        let (key, value) = self.encode_entry(key, value)?;
        self.keyspace.insert_with(key, value, options)
    }

    /// Puts a value, when `batch` is written.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the value cannot be encoded; the batch is as it was.
    pub fn insert_in<Q, W>(&self, batch: &mut Batch, key: &Q, value: &W) -> Result<()>
    where
        Q: AsKey<K> + ?Sized,
        W: AsValue<V> + ?Sized,
    {
        let (key, value) = self.encode_entry(key, value)?;
        batch.insert(&self.keyspace, key, value);
        Ok(())
    }

    /// Deletes a key, present or not.
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::remove`].
    pub fn remove<Q: AsKey<K> + ?Sized>(&self, key: &Q) -> Result<Seqno> {
        self.remove_with(key, WriteOptions::default())
    }

    /// Deletes a key, with a durability of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::remove`].
    pub fn remove_with<Q: AsKey<K> + ?Sized>(&self, key: &Q, options: WriteOptions) -> Result<Seqno> {
        self.keyspace.remove_with(bytes_of(key), options)
    }

    /// Deletes a key, present or not, when `batch` is written.
    pub fn remove_in<Q: AsKey<K> + ?Sized>(&self, batch: &mut Batch, key: &Q) {
        batch.remove(&self.keyspace, bytes_of(key));
    }

    /// This keyspace in a snapshot.
    pub fn at(&self, snapshot: &Snapshot) -> Typed<K, V, KeyspaceAt> {
        Typed::new(self.keyspace.at(snapshot))
    }

    fn encode_entry<Q, W>(&self, key: &Q, value: &W) -> Result<(Vec<u8>, Vec<u8>)>
    where
        Q: AsKey<K> + ?Sized,
        W: AsValue<V> + ?Sized,
    {
        let (key, mut bytes) = (bytes_of(key), Vec::new());
        let encoded = value.encode_value(&mut bytes);
        encoded.map_err(|error| error.of_entry(self.keyspace.name(), &key))?;
        Ok((key, bytes))
    }
}

impl<K, V, R: Clone> Clone for Typed<K, V, R> {
    fn clone(&self) -> Self {
        Typed::new(self.keyspace.clone())
    }
}

impl<K, V, R: fmt::Debug> fmt::Debug for Typed<K, V, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&self.keyspace).finish()
    }
}
