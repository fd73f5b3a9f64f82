//! Files of a directory that nothing names: what a crash left, what was replaced, what is somebody else's. Tells of
//! them and removes none; that is done by [`Store::remove_orphans`] and by opening.

use super::{
    Store,
    directory::{DIRECTORIES, IDENTITY, LOCK},
    orphans::number_of,
    repair::left_out,
    routes::PLACE,
};
use crate::{
    blob, dictionary,
    error::{Error, Result},
    place::PlaceId,
    version::{manifest_number, temporary_number},
};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::fmt;
use isopach_env::IoErrorKind;

/// A file that nothing names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnnamedFile {
    /// Relative to the root.
    pub file: String,
    /// What it is, by its name.
    pub what: Unnamed,
}

/// What a file that nothing names is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Unnamed {
    /// A table that no tree has.
    Table,
    /// A dictionary that no table has.
    Dictionary,
    /// A file of separated values that no table points to.
    Blob,
    /// A manifest that a later one replaced.
    Manifest,
    /// A log segment that is needed no longer.
    LogSegment,
    /// What a repair left out.
    LeftOut,
    /// A file whose writing was interrupted.
    Temporary,
    /// Not one of the database's.
    Foreign,
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unnamed::Table => {
                "a table that no keyspace has, as a crash leaves it; opening for writing removes it"
            }
            Unnamed::Dictionary => {
                "a dictionary that no table has, as a crash leaves it; opening for writing removes it"
            }
            Unnamed::Blob => {
                "separated values that no table points to, as a crash leaves them; opening for writing removes the file"
            }
            Unnamed::Manifest => "a manifest that a later one replaced; opening for writing removes it",
            Unnamed::LogSegment => "a log segment that is needed no longer; opening for writing removes it",
            Unnamed::LeftOut => "a file that a repair left out; it is left alone",
            Unnamed::Temporary => "a file whose writing was interrupted; opening for writing removes it",
            Unnamed::Foreign => "not a file of the database; it is left alone",
        })
    }
}

impl Store {
    /// Looks for files that nothing names in all directories but that of the log, which is the caller's. Tables and files
    /// of separated values numbered above all that the manifest knows are damage: it is older than the directory.
    pub(super) fn unnamed_files(&self) -> Result<(Vec<UnnamedFile>, Vec<Error>)> {
        // The directories first: a file that is made meanwhile is registered before it exists.
        let root = self.names_in("")?;
        let dictionaries = self.names_in(dictionary::DICTIONARIES_DIR)?;
        let (mut others, mut certificates) = (Vec::new(), Vec::new());
        for (_, directory) in self.file_directories() {
            others.extend(self.names_in(&directory)?);
        }
        for of in self.routes() {
            others.extend(self.names_in(&of.place.directory())?);
            certificates.extend([PLACE, LOCK].map(|name| of.place.name_of(name)));
        }
        let mut named: BTreeSet<String> =
            self.files().live().into_iter().chain(self.files().pending()).map(|file| file.name).collect();
        named.extend([LOCK, IDENTITY].map(String::from).into_iter().chain(certificates));
        let manifests = root.iter().filter_map(|name| manifest_number(name).map(|number| (number, name)));
        named.extend(manifests.max().map(|(_, name)| name.clone()));
        // Files of trees that could not be opened are not in the registry.
        let (mark, left_out) = self.with_catalog(|catalog| {
            named.extend(catalog.files());
            (catalog.file_id_mark, left_out(&catalog.notes))
        });

        let (mut unnamed, mut found) = (Vec::new(), Vec::new());
        let files = root.into_iter().chain(dictionaries).chain(others);
        for file in files.filter(|name| !named.contains(name)) {
            let what = match number_of(&file) {
                Some(number) if number >= mark => {
                    let why = format!(
                        "the file is numbered above {mark}, the last number that the manifest reserved: the \
                         manifest is older than the directory"
                    );
                    found.push(Error::corrupt(file, 0, why));
                    continue;
                }
                _ if left_out.contains(&file) => Unnamed::LeftOut,
                Some(_) if blob::number_of(&file).is_some() => Unnamed::Blob,
                Some(_) => Unnamed::Table,
                None if dictionary::id_of(&file).is_some() => Unnamed::Dictionary,
                None if manifest_number(&file).is_some() => Unnamed::Manifest,
                None if temporary_number(&file).is_some() || file == format!("{IDENTITY}.tmp") => {
                    Unnamed::Temporary
                }
                None => Unnamed::Foreign,
            };
            unnamed.push(UnnamedFile { file, what });
        }
        unnamed.sort_by(|a, b| a.file.cmp(&b.file));
        Ok((unnamed, found))
    }

    /// Names in a directory, relative to the root, without the directories of a store. None in one that is not there:
    /// a copy may have lost it while it was empty.
    fn names_in(&self, directory: &str) -> Result<Vec<String>> {
        let listed = match self.env().fs.list(directory) {
            Err(error) if error.kind() == IoErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(|error| Error::io(error, "list", directory))?,
        };
        let names = listed.into_iter().map(|entry| match directory {
            "" => entry.name,
            _ => format!("{directory}/{}", entry.name),
        });
        Ok(names.filter(|name| !DIRECTORIES.contains(&PlaceId::split(name).1)).collect())
    }
}
