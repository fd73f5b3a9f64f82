//! Places of files: the directory of a store, and those that routes name beside it.
//!
//! Below each place tables and separated values lie as they do in the store's directory, and the place is part of a file's
//! name: `places/2/tables/000017.table`. Whoever opens, links or removes a file by its name need not know of places.

use crate::codec::{Corruption, TlvReader};
use alloc::{borrow::ToOwned, format, string::String};
use core::fmt;

/// A place of files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PlaceId(pub u32);

/// Directory below which the other places are mounted.
const PLACES_DIR: &str = "places";

impl PlaceId {
    /// The directory of the store.
    pub const MAIN: PlaceId = PlaceId(0);

    /// The name from the store's directory of what is called `inner` in this place.
    pub fn name_of(self, inner: &str) -> String {
        match self {
            PlaceId::MAIN => inner.to_owned(),
            _ => format!("{}/{inner}", self.directory()),
        }
    }

    /// A place as a field of the manifest says it; never the store's directory.
    pub(crate) fn decode(value: &[u8]) -> Result<PlaceId, Corruption> {
        let number = u32::try_from(TlvReader::as_u64(value)?).ok().filter(|&number| number > 0);
        number.map(PlaceId).ok_or(Corruption("a place has a wrong number"))
    }

    /// Where the place is mounted.
    pub fn directory(self) -> String {
        format!("{PLACES_DIR}/{}", self.0)
    }

    /// The place of a file, and what it is called there; the inverse of [`PlaceId::name_of`].
    pub fn split(name: &str) -> (PlaceId, &str) {
        let elsewhere = || {
            let (number, inner) = name.strip_prefix(PLACES_DIR)?.strip_prefix('/')?.split_once('/')?;
            let place = PlaceId(number.parse().ok().filter(|&number| number > 0)?);
            (place.name_of(inner) == name).then_some((place, inner))
        };
        elsewhere().unwrap_or((PlaceId::MAIN, name))
    }
}

impl fmt::Display for PlaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_place_and_what_the_file_is_called_there() {
        for place in [PlaceId::MAIN, PlaceId(1), PlaceId(u32::MAX)] {
            let name = place.name_of("tables/000001.table");
            assert_eq!(PlaceId::split(&name), (place, "tables/000001.table"));
        }
        for name in ["places", "places/1", "places/0/a", "places/01/a", "places/x/a", "places/4294967296/a"] {
            assert_eq!(PlaceId::split(name), (PlaceId::MAIN, name));
        }
    }
}
