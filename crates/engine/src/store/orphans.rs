//! Orphans: files of tables, dictionaries and separated values that no version names, left by a crash.

use super::{Store, repair::left_out};
use crate::{
    blob,
    codec::{FileHeader, FileKind, HEADER_BYTES},
    dictionary,
    error::{Error, Result},
    key::common_prefix_len,
    place::PlaceId,
    table,
    types::Uuid,
};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use isopach_env::OpenMode;

/// What the headers of all files of one kind of a store begin with: magic bytes, kind, checksum, version.
const OWN_START_BYTES: usize = 8;

impl Store {
    /// Gives files of tables, dictionaries and separated values that are surely this store's own, and that nothing names,
    /// to the deleter.
    /// For after the caller's replay. Returns how many.
    ///
    /// Surely its own: named as such and, but for dictionaries, numbered below the mark, and either with this
    /// store's uuid in its header or without a sound header, as a crash right after the creation or inside the first
    /// write leaves it. What then lies in place of a header, and is none, stays. So does what a repair left out
    /// (INV-REP-1).
    ///
    /// # Errors
    ///
    /// `ReadOnly`; `Closed`; `Poisoned`, for then tables may be named that look like orphans. `Corruption` if
    /// a file is numbered above the mark: the manifest is older than the directory, and nothing is removed.
    pub fn remove_orphans(&self) -> Result<u64> {
        let _lease = self.0.context.enter()?;
        let mut removed = 0;
        let numbered = self.orphans()?.into_iter();
        let dictionaries = self.orphaned_dictionaries()?.into_iter().map(|name| (FileKind::Dictionary, name));
        let left_out = self.with_catalog(|catalog| left_out(&catalog.notes));
        for (kind, name) in numbered.chain(dictionaries).filter(|(_, name)| !left_out.contains(name)) {
            if self.is_own(kind, &name)? {
                self.files().register(kind, &name, 0, None).remove();
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Says whether all tables and files of separated values are numbered below the mark. For before the caller's replay, whose
    /// flushes would else come upon files that the manifest should have known.
    ///
    /// # Errors
    ///
    /// As [`Store::remove_orphans`].
    pub fn check_file_numbers(&self) -> Result<()> {
        let _lease = self.0.context.enter()?;
        self.orphans().map(drop)
    }

    /// The directories of tables and of separated values, in all places.
    pub(super) fn file_directories(&self) -> Vec<(FileKind, String)> {
        let places: Vec<PlaceId> = self.with_catalog(|catalog| catalog.places().collect());
        let in_place = |place: PlaceId| {
            let kinds = [(FileKind::Table, table::TABLES_DIR), (FileKind::Blob, blob::BLOBS_DIR)];
            kinds.map(|(kind, directory)| (kind, place.name_of(directory)))
        };
        places.into_iter().flat_map(in_place).collect()
    }

    /// Tables and files of separated values that nothing names.
    fn orphans(&self) -> Result<Vec<(FileKind, String)>> {
        let manifest = self.0.context.manifest()?;
        manifest.check()?;
        // The directories first: a file created meanwhile is registered before it exists.
        let mut listed = Vec::new();
        for (kind, directory) in self.file_directories() {
            let entries =
                self.env().fs.list(&directory).map_err(|error| Error::io(error, "list", &*directory))?;
            let files = entries.into_iter().filter(|entry| !entry.is_dir);
            listed.extend(files.map(|entry| (kind, format!("{directory}/{}", entry.name))));
        }
        let mut named: BTreeSet<String> =
            self.files().live().into_iter().chain(self.files().pending()).map(|file| file.name).collect();
        // Files of trees that could not be opened are not in the registry.
        let mark = manifest.with_catalog(|catalog| {
            named.extend(catalog.files());
            catalog.file_id_mark
        });
        let mut orphans = Vec::new();
        for (kind, name) in listed {
            let Some(number) = number_of(&name).filter(|_| !named.contains(&name)) else {
                continue;
            };
            if number >= mark {
                let message = format!(
                    "numbered above {mark}, the last number that the manifest reserved: the manifest is older \
                     than the directory"
                );
                return Err(Error::corrupt(name, 0, message));
            }
            orphans.push((kind, name));
        }
        Ok(orphans)
    }

    /// Names of dictionaries that nothing names. Those of trees that could not be opened are in the registry too.
    fn orphaned_dictionaries(&self) -> Result<Vec<String>> {
        let directory = dictionary::DICTIONARIES_DIR;
        // The directory first: a dictionary written meanwhile is registered before its file exists.
        let listed = self.env().fs.list(directory).map_err(|error| Error::io(error, "list", directory))?;
        let files = self.files();
        let named: BTreeSet<String> =
            files.live().into_iter().chain(files.pending()).map(|file| file.name).collect();
        let names = listed.into_iter().filter(|entry| !entry.is_dir);
        let names = names.map(|entry| format!("{directory}/{}", entry.name));
        Ok(names.filter(|name| dictionary::id_of(name).is_some() && !named.contains(name)).collect())
    }

    fn is_own(&self, kind: FileKind, name: &str) -> Result<bool> {
        let io = |error| Error::io(error, "read the header of", name);
        let file = match self.env().fs.open(name, OpenMode::Read) {
            Err(error) if error.kind() == isopach_env::IoErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(io)?,
        };
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_at(0, &mut bytes).map_err(io)?;
        if read == HEADER_BYTES
            && let Ok(header) = FileHeader::decode(&bytes)
        {
            return Ok(header.kind == kind && header.database == self.uuid());
        }
        Ok(is_torn(kind, &bytes[..read]))
    }
}

/// Whether what a file begins with, which is no header, is what a crash leaves of one: nothing but zeros, or the start of a
/// file of this kind, cut off or with zeros behind.
pub(super) fn is_torn(kind: FileKind, bytes: &[u8]) -> bool {
    let sound = FileHeader::clear(kind, Uuid::default(), Uuid::default()).encode();
    let start = &bytes[..bytes.len().min(OWN_START_BYTES)];
    let same = common_prefix_len(start, &sound);
    same == start.len() || bytes[same..].iter().all(|&byte| byte == 0)
}

/// The number of a table or of a file of separated values of this name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    table::number_of(name).map(|id| id.0).or_else(|| blob::number_of(name).map(|id| id.0))
}
