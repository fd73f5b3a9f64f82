//! Errors of encodings: what codecs say, and what the layer above adds, keyspace and key.

use crate::error::{Error, ErrorKind};
use isopach_engine::{
    error::{Error as EngineError, ErrorKind as EngineErrorKind},
    types::Slice,
};
use std::{fmt::Display, ops::Bound};

/// Bytes of a key that a message shows.
const SHOWN_KEY_BYTES: usize = 64;

/// For types with encodings of their own (feature `typed`).
impl Error {
    /// Of kind `Corruption`: bytes are none of a type's. Whoever reads them adds keyspace and key.
    pub fn malformed(why: impl Display) -> Error {
        Error::new(ErrorKind::Corruption, why.to_string())
    }

    /// Of kind `InvalidArgument`: a value cannot be encoded. Whoever writes it adds keyspace and key.
    pub fn unencodable(why: impl Display) -> Error {
        Error::new(ErrorKind::InvalidArgument, why.to_string())
    }

    /// A codec's error, with the entry concerned: [`Error::keyspace`] and [`Error::keys`] name it.
    pub(super) fn of_entry(self, keyspace: &str, key: &[u8]) -> Error {
        let kind = match self.kind() {
            ErrorKind::Corruption => EngineErrorKind::Corruption,
            _ => EngineErrorKind::InvalidArgument,
        };
        let shown = Slice::from(&key[..key.len().min(SHOWN_KEY_BYTES)]);
        let more = if key.len() > SHOWN_KEY_BYTES { "..." } else { "" };
        let bounds = (Bound::Included(key.to_vec()), Bound::Included(key.to_vec()));
        let error = EngineError::new(kind, format!("key {shown:?}{more}: {self}")).over_keys(bounds);
        Error::from(error).in_keyspace(keyspace)
    }
}
