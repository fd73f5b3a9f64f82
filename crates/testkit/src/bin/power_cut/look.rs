//! What is in a database after a cut. Writes nothing.

use crate::{
    WRITERS,
    history::{SHARED, State, name_of, value_of},
};
use isopach::{Db, ErrorKind, VerifyOptions};
use std::path::Path;

/// Why a database could not be read.
pub(crate) struct Unreadable {
    pub(crate) what: String,
    /// It is a copy that was interrupted, or nothing yet.
    pub(crate) is_half: bool,
}

impl Unreadable {
    /// Why the database at `path` did not open. A copy that was interrupted is known by its files.
    fn of_open(error: isopach::Error, path: &Path) -> Unreadable {
        let is_half = match error.kind() {
            ErrorKind::NotFound => true,
            ErrorKind::Corruption => path.join("PARTIAL").exists() && !path.join("IDENTITY").exists(),
            _ => false,
        };
        Unreadable { what: error.to_string(), is_half }
    }
}

impl From<isopach::Error> for Unreadable {
    fn from(error: isopach::Error) -> Unreadable {
        Unreadable { what: error.to_string(), is_half: false }
    }
}

/// What each writer has in a database.
pub(crate) fn read(seed: u64, path: &Path) -> Result<Vec<State>, Unreadable> {
    let invented = |what: String| Unreadable { what, is_half: false };
    let db = Db::builder(path).create_if_missing(false).open_read_only();
    let db = db.map_err(|error| Unreadable::of_open(error, path))?;
    let mut states = vec![State::default(); WRITERS];
    for (name, _) in db.keyspaces() {
        let own = (0..WRITERS).find(|writer| name == name_of(SHARED.len(), *writer));
        let space = SHARED.iter().position(|shared| *shared == name);
        let Some(space) = space.or(own.map(|_| SHARED.len())) else {
            return Err(invented(format!("nobody made the keyspace {name}")));
        };
        if let Some(writer) = own {
            states[writer].has_own = true;
        }
        for entry in db.keyspace(&name)?.iter() {
            let (key, value) = entry?;
            let unknown = || invented(format!("nobody wrote {key:?} of {name}"));
            let &[writer, high, low] = &*key else { return Err(unknown()) };
            let (writer, place) = (usize::from(writer), (space, u16::from_be_bytes([high, low])));
            let number = value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(unknown)?;
            if writer >= WRITERS || *value != *value_of(seed, writer, number, place) {
                return Err(unknown());
            }
            states[writer].entries.insert(place, number);
        }
    }
    Ok(states)
}

/// Checks every file.
pub(crate) fn verify(path: &Path) -> Result<(), String> {
    let report = Db::builder(path).create_if_missing(false).verify(VerifyOptions::new());
    let found = report.map_err(|error| error.to_string())?.found;
    if found.is_empty() { Ok(()) } else { Err(format!("{} is damaged: {found:?}", path.display())) }
}
