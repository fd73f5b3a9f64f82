//! Tables that belong to no database: written outside of any, and checked in full before one takes what they hold.
//!
//! The format is that of every table (`docs/format.md` §4), with zeros for the uuid of the database. Such a table
//! stands by itself. Its entries are puts, puts that expire and deletes, at most one of each key, and have no numbers
//! yet; the values lie in it, compressed without a dictionary; it has no filter, as nobody reads single keys of it.
//! [`PortableWriter`] makes such files, and [`PortableTable`] refuses all others. Neither knows of the tree that the
//! entries are for: it writes them again, as its options say.

use super::{
    Properties, PropertySeed, TableIdentity, TableMeta, TableOptions, TableWriter,
    inspect::{Entries, LoneTable, TableEntry},
};
use crate::{
    env::{Fs, IoErrorKind, SyncSite, WriteOrigin},
    error::{Error, ErrorKind, Result},
    expiry::{self, EXPIRY_BYTES},
    key::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ValueKind},
    order::KeyOrder,
    place::PlaceId,
    types::{Seqno, TableId, UnixUs, Uuid},
};
use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::ops::Bound;

/// The database of a table that belongs to none.
pub const NO_DATABASE: Uuid = Uuid([0; 16]);

/// The kinds of entries that stand by themselves and need no number.
const KINDS: [ValueKind; 3] = [ValueKind::Put, ValueKind::PutUntil, ValueKind::Delete];

/// Writes one table in a file of its own. Takes the memory of its index and a block.
///
/// Dropped unfinished, or after an error, it leaves no file, unless the file cannot be removed: then it has no
/// footer, and nobody takes it for a table.
#[must_use]
pub struct PortableWriter {
    fs: Arc<dyn Fs>,
    name: String,
    order: KeyOrder,
    /// `None`: an error took it, and its file.
    writer: Option<TableWriter>,
}

impl PortableWriter {
    /// Creates the file. `uuid` is its own, fresh from the random source; `seed` names `order`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`: the file stays as it is; `NotFound` if its directory is missing; those of
    /// [`TableOptions::validate`]; the backend's.
    pub fn create(
        fs: &Arc<dyn Fs>,
        name: &str,
        uuid: Uuid,
        options: TableOptions,
        seed: PropertySeed,
        order: &KeyOrder,
    ) -> Result<PortableWriter> {
        let identity = TableIdentity { id: TableId(0), uuid, database: NO_DATABASE, place: PlaceId::MAIN };
        let options = TableOptions { filter: None, ..options };
        let created =
            TableWriter::create_as(fs, name.into(), identity, options, seed, WriteOrigin::IngestTable);
        let writer = created.map_err(|error| match error.io_error().map(|io| io.kind()) {
            Some(IoErrorKind::AlreadyExists) => {
                let message = "there is a file of this name, which is left as it is: choose another name";
                Error::new(ErrorKind::AlreadyExists, message).in_file(name)
            }
            Some(IoErrorKind::NotFound) => {
                Error::new(ErrorKind::NotFound, "the directory for the file is missing").in_file(name)
            }
            _ => error,
        })?;
        let (fs, writer) = (Arc::clone(fs), Some(writer.with_order(order)));
        Ok(PortableWriter { fs, name: name.into(), order: order.clone(), writer })
    }

    /// Puts a value.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a key that does not come behind the last one, or a key or value out of bounds; the
    /// backend's. The file goes then, and nothing more is taken.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.add(key, ValueKind::Put, value)
    }

    /// Puts a value that is gone from views at `expires_at` and later.
    ///
    /// # Errors
    ///
    /// As [`PortableWriter::put`].
    pub fn put_until(&mut self, key: &[u8], value: &[u8], expires_at: UnixUs) -> Result<()> {
        self.add(key, ValueKind::PutUntil, &expiry::stored_value(expires_at, value))
    }

    /// Deletes what is under the key where the table is loaded.
    ///
    /// # Errors
    ///
    /// As [`PortableWriter::put`].
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.add(key, ValueKind::Delete, &[])
    }

    /// Entries added so far.
    pub fn entries(&self) -> u64 {
        self.writer.as_ref().map_or(0, TableWriter::entries)
    }

    /// Makes the table durable, and its entry in the directory.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if nothing was added, or an entry was refused before; the backend's. The file goes then.
    pub fn finish(mut self) -> Result<TableMeta> {
        let Some(writer) = self.writer.take() else { return Err(self.gone()) };
        let finished = match writer.entries() {
            0 => Err(self.refused("a table holds one entry at least".into())),
            _ => writer.finish(),
        };
        let finished = finished.and_then(|meta| {
            let directory = self.name.rsplit_once('/').map_or("", |(directory, _)| directory);
            let synced = self.fs.sync_dir(directory, SyncSite("portable.directory"));
            synced.map_err(|error| Error::io(error, "sync the directory of", self.name.as_str()))?;
            Ok(meta)
        });
        if finished.is_err() {
            self.remove();
        }
        finished
    }

    fn add(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) -> Result<()> {
        let added = self.try_add(key, kind, value);
        if added.is_err() && self.writer.take().is_some() {
            self.remove();
        }
        added
    }

    fn try_add(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) -> Result<()> {
        let Some(last) = self.writer.as_ref().map(TableWriter::last_key) else { return Err(self.gone()) };
        self.check_sizes(key, value)?;
        self.check_order(last, key)?;
        self.writer.as_mut().map_or(Ok(()), |writer| writer.add(key, Seqno::ZERO, kind, value))
    }

    fn check_sizes(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.len() <= MAX_KEY_BYTES && value.len() <= MAX_VALUE_BYTES {
            return Ok(());
        }
        let (key, value) = (key.len(), value.len());
        Err(self.refused(format!(
            "a key of {key} and a value of {value} bytes; at most {MAX_KEY_BYTES} and {MAX_VALUE_BYTES} are allowed"
        )))
    }

    fn check_order(&self, last: Option<&[u8]>, key: &[u8]) -> Result<()> {
        let Some(last) = last else { return Ok(()) };
        let is_behind = self.order.is_less(last, key);
        self.order.check().map_err(|error| error.in_file(self.name.as_str()))?;
        if is_behind {
            return Ok(());
        }
        let (key, last, order) = (key.escape_ascii(), last.escape_ascii(), self.order.name());
        let message = format!("key \"{key}\" does not come behind key \"{last}\" in the order {order:?}");
        Err(self.refused(message))
    }

    fn gone(&self) -> Error {
        self.refused(
            "an entry was refused or could not be written before: the file is gone; begin again".into(),
        )
    }

    fn refused(&self, message: String) -> Error {
        Error::new(ErrorKind::InvalidArgument, message).in_file(self.name.as_str())
    }

    /// Nobody would see that it fails: without a footer the file is no table.
    fn remove(&self) {
        let _ = self.fs.remove_file(&self.name);
    }
}

impl Drop for PortableWriter {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            self.remove();
        }
    }
}

/// A table that belongs to no database, open for reading. Nothing in it can be trusted before
/// [`PortableTable::verify`].
pub struct PortableTable {
    table: LoneTable,
    properties: Properties,
}

/// What an entry of such a table does to its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortableChange {
    /// Puts a value.
    Put(Vec<u8>),
    /// Puts a value that is gone from views at this time and later.
    PutUntil(UnixUs, Vec<u8>),
    /// Deletes what is there.
    Delete,
}

impl PortableTable {
    /// Opens a file of any name, whose keys are to be in `order`, which has the name `comparator`.
    ///
    /// # Errors
    ///
    /// `NotFound`; `UnsupportedFormat` of a file that is no table, or of another version; `UnsupportedFeature`;
    /// `InvalidArgument` of a table that belongs to a database, does not stand by itself, or has its keys in another
    /// order; `Corruption`; the backend's.
    pub fn open(fs: &Arc<dyn Fs>, name: &str, comparator: &str, order: &KeyOrder) -> Result<PortableTable> {
        let table = LoneTable::open(fs, name)?;
        let refused = |why: String| Err(Error::new(ErrorKind::InvalidArgument, why).in_file(name));
        if table.database() != NO_DATABASE {
            return refused(format!(
                "the table belongs to the database {}: it may have numbers of that one, and point to other files \
                 of it; only tables that were written to be loaded can be",
                table.database()
            ));
        }
        let properties = table.properties()?;
        let its_order = &properties.seed.comparator;
        if its_order != comparator {
            return refused(format!(
                "its keys are in the order {its_order:?}, and are to be in {comparator:?}"
            ));
        }
        if let Some(what) = foreign_part(&properties) {
            return refused(format!(
                "the table has {what}, which a table that belongs to no database cannot have"
            ));
        }
        Ok(PortableTable { table: table.with_order(order), properties })
    }

    /// Checks every byte and every entry.
    ///
    /// # Errors
    ///
    /// `Corruption` with the place of what was found first; `ComparatorFailed`; the backend's.
    pub fn verify(&self) -> Result<()> {
        let found = self.table.verify()?;
        self.table.order().map_or(Ok(()), KeyOrder::check)?;
        let Some(first) = found.first() else { return Ok(()) };
        // A finding that was an error says file and place in its message already.
        let (name, offset) = (self.table.name(), first.offset);
        let said = format!("{name} at byte {offset}: corrupt: ");
        Err(Error::corrupt(name, offset, first.message.strip_prefix(said.as_str()).unwrap_or(&first.message)))
    }

    /// The uuid of the file.
    pub fn uuid(&self) -> Uuid {
        self.table.uuid()
    }

    /// Number of entries, at least 1.
    pub fn entries_count(&self) -> u64 {
        self.properties.counts.total()
    }

    /// The least and the greatest key.
    pub fn key_range(&self) -> (&[u8], &[u8]) {
        (&self.properties.first_key, &self.properties.last_key)
    }

    /// The entries in order, one block at a time in memory. Ends with the first error.
    ///
    /// # Errors
    ///
    /// `Corruption` of the index; the backend's.
    pub fn entries(&self) -> Result<PortableEntries<'_>> {
        let entries = self.table.blocks()?.entries((Bound::Unbounded, Bound::Unbounded))?;
        Ok(PortableEntries { table: self, entries, has_failed: false })
    }
}

/// What a table has that stands for something outside of it, or that is not known to stand by itself.
fn foreign_part(properties: &Properties) -> Option<String> {
    let counts = &properties.counts;
    let known = KINDS.iter().fold(0, |sum, &kind| u64::saturating_add(sum, counts.of(kind)));
    let parts = [
        (known != counts.total(), "entries other than puts and deletes"),
        (properties.last_seqno != Seqno::ZERO, "entries with numbers"),
        (properties.dictionary.is_some(), "a compression dictionary"),
        (properties.ranges.is_some(), "deletes of ranges"),
    ];
    parts.iter().find(|(is_there, _)| *is_there).map(|(_, what)| what.to_string())
}

/// Keys with what becomes of them, in ascending order.
pub struct PortableEntries<'a> {
    table: &'a PortableTable,
    entries: Entries<'a>,
    has_failed: bool,
}

impl PortableEntries<'_> {
    fn change(&self, entry: TableEntry) -> Result<(Vec<u8>, PortableChange)> {
        let TableEntry { block, key, seqno, kind, mut value } = entry;
        let corrupt = |why: &str| Error::corrupt(self.table.table.name(), self.entries.offset(block), why);
        if seqno != Seqno::ZERO {
            return Err(corrupt("an entry has a number, and its table says that none has"));
        }
        let expires_at = expiry::of_version(kind, &value).map_err(|why| corrupt(why.0))?;
        let change = match (kind, expires_at) {
            (ValueKind::Put, _) => PortableChange::Put(value),
            (ValueKind::Delete, _) => PortableChange::Delete,
            (ValueKind::PutUntil, Some(at)) => {
                value.drain(..EXPIRY_BYTES);
                PortableChange::PutUntil(at, value)
            }
            _ => return Err(corrupt("an entry is no put and no delete, and its table says that all are")),
        };
        Ok((key, change))
    }
}

impl Iterator for PortableEntries<'_> {
    type Item = Result<(Vec<u8>, PortableChange)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let entry = self.entries.next()?.and_then(|entry| self.change(entry));
        self.has_failed = entry.is_err();
        Some(entry)
    }
}
