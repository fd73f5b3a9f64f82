//! What lies in a directory, and what that means: a store, nothing yet, or something to keep away from.

use crate::{
    codec::{FileHeader, FileKind, HEADER_BYTES, HeaderError, header_error},
    error::{Error, ErrorKind, Result},
    types::Uuid,
    version::{MANIFEST_PREFIX, manifest_number, temporary_number},
};
use alloc::{format, string::String, vec::Vec};
use isopach_env::{CreateOptions, Fs, IoErrorKind, IoResult, OpenMode, SyncMode, SyncSite, WriteOrigin};

/// Advisory lock of the directory.
pub(super) const LOCK: &str = "LOCK";
/// Birth certificate: written last when a store is made.
pub(super) const IDENTITY: &str = "IDENTITY";
const IDENTITY_TEMPORARY: &str = "IDENTITY.tmp";
/// Present while a copy is being made: what will be [`IDENTITY`] once it is whole.
pub(super) const PARTIAL: &str = "PARTIAL";
/// Directories of a store. What is in them says that it was in use.
pub(super) const DIRECTORIES: [&str; 4] = ["tables", "wal", "dictionaries", "blobs"];

/// Names of a directory, sorted out.
#[derive(Default, Debug)]
pub(super) struct Survey {
    has_identity: bool,
    has_partial: bool,
    /// Numbers of manifests, ascending.
    pub(super) manifests: Vec<u32>,
    /// Files whose writing was interrupted, and which manifest each was to be; 0 for others.
    pub(super) temporaries: Vec<(u32, String)>,
    /// A table, log segment, dictionary or file of separated values.
    content: Option<String>,
    /// Something that is not a store's.
    foreign: Option<String>,
    /// Which of [`DIRECTORIES`] are there.
    directories: Vec<&'static str>,
}

/// What a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Nothing was ever stored: a store can be made here.
    Unborn,
    /// A store, whose manifest has this number.
    Store(u32),
}

impl Survey {
    /// Looks at the names in a directory. Writes nothing.
    pub(super) fn of(fs: &dyn Fs) -> Result<Survey> {
        let list = |directory: &'static str| {
            fs.list(directory).map_err(|error| match error.kind() {
                IoErrorKind::NotFound => Error::new(ErrorKind::NotFound, "there is no such directory"),
                _ => Error::io(error, "list the directory", directory),
            })
        };
        let mut survey = Survey::default();
        for entry in list("")? {
            let name = entry.name;
            let directory = DIRECTORIES.into_iter().find(|directory| entry.is_dir && *directory == name);
            if let Some(directory) = directory {
                survey.directories.push(directory);
                let content = list(directory)?.into_iter().next();
                survey.content =
                    survey.content.or(content.map(|inside| format!("{directory}/{}", inside.name)));
            } else if name == IDENTITY {
                survey.has_identity = true;
            } else if name == PARTIAL {
                survey.has_partial = true;
            } else if let Some(number) = manifest_number(&name).filter(|_| !entry.is_dir) {
                survey.manifests.push(number);
            } else if let Some(number) = temporary_number(&name).filter(|_| !entry.is_dir) {
                survey.temporaries.push((number, name));
            } else if name == IDENTITY_TEMPORARY && !entry.is_dir {
                survey.temporaries.push((0, name));
            } else if name != LOCK && !name.starts_with('.') && name != "lost+found" {
                survey.foreign = Some(name);
            }
        }
        survey.manifests.sort_unstable();
        Ok(survey)
    }

    /// The number of a manifest above all that are there, whole or begun: of several that were interrupted, and of
    /// which a power loss took some names, none is the file that the next one makes.
    ///
    /// # Errors
    ///
    /// `Corruption`: there is no greater number.
    pub(super) fn next_manifest(&self) -> Result<u32> {
        let begun = self.temporaries.iter().map(|(number, _)| *number);
        let greatest = begun.chain(self.manifests.iter().copied()).max().unwrap_or(0);
        greatest.checked_add(1).ok_or_else(|| {
            let message =
                format!("a manifest, whole or begun, is numbered {greatest}, and there is no number above");
            Error::new(ErrorKind::Corruption, message)
        })
    }

    /// What the directory is. Pure.
    ///
    /// # Errors
    ///
    /// `Corruption` of half a store; `UnsupportedFormat` if it is none. Nothing may be written then.
    pub(super) fn judge(&self) -> Result<State> {
        if !self.has_identity {
            if self.has_partial {
                let why = "the file is missing, and PARTIAL is there: a copy that was interrupted; remove it and \
                           copy again";
                return Err(Error::corrupt(IDENTITY, 0, why));
            }
            if let Some(content) = &self.content {
                let why = format!(
                    "the file is missing, and {content} is there: half of a database; put back the file from a \
                     copy of this database, or have `isopach repair DIR` make it anew"
                );
                return Err(Error::corrupt(IDENTITY, 0, why));
            }
            if let Some(foreign) = &self.foreign {
                let message = format!("not a database: found {foreign:?} but no IDENTITY");
                return Err(Error::new(ErrorKind::UnsupportedFormat, message));
            }
            return Ok(State::Unborn);
        }
        match self.manifests.last() {
            Some(&number) => Ok(State::Store(number)),
            None => {
                let why = "the manifest is missing, and IDENTITY is there: what tables there are is not known any \
                           more; `isopach repair DIR` finds them again, or restore the database from a copy";
                Err(Error::corrupt(format!("{MANIFEST_PREFIX}*"), 0, why))
            }
        }
    }

    /// Says whether there is a store to be repaired, whatever is missing of it.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Corruption` of an interrupted copy, whose source is whole.
    pub(super) fn check_for_repair(&self) -> Result<()> {
        if self.has_partial && !self.has_identity {
            return self.judge().map(drop);
        }
        if self.has_identity || self.content.is_some() || !self.manifests.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "there is no database"))
    }

    /// Whether something calls itself the birth certificate of a store.
    pub(super) fn has_identity(&self) -> bool {
        self.has_identity
    }

    /// Directories that are missing.
    pub(super) fn missing_directories(&self) -> impl Iterator<Item = &'static str> {
        DIRECTORIES.into_iter().filter(|directory| !self.directories.contains(directory))
    }
}

/// Reads the uuid of the store.
pub(super) fn read_identity(fs: &dyn Fs) -> Result<Uuid> {
    let io = |error| Error::io(error, "read the identity", IDENTITY);
    let file = fs.open(IDENTITY, OpenMode::Read).map_err(io)?;
    let mut bytes = [0; HEADER_BYTES];
    let has_right_size = file.size_bytes().map_err(io)? == HEADER_BYTES as u64;
    let read = file.read_at(0, &mut bytes).map_err(io)?;
    match FileHeader::decode(&bytes) {
        Err(HeaderError::Foreign) if read == 0 => Err(Error::corrupt(IDENTITY, 0, "the file is empty")),
        Ok(_) | Err(HeaderError::Corrupt(_)) if !has_right_size => {
            Err(Error::corrupt(IDENTITY, 0, format_args!("the file is not {HEADER_BYTES} bytes long")))
        }
        Ok(header) if header.kind == FileKind::Identity => Ok(header.database),
        Ok(_) => Err(Error::corrupt(IDENTITY, 4, "the file is of another kind")),
        Err(HeaderError::Foreign) => {
            let message = "not a database: IDENTITY does not begin as a file of Isopach";
            Err(Error::new(ErrorKind::UnsupportedFormat, message).in_file(IDENTITY))
        }
        Err(error) => Err(header_error(error, IDENTITY)),
    }
}

/// Writes the birth certificate: the store exists from now on.
pub(super) fn write_identity(fs: &dyn Fs, file: Uuid, database: Uuid) -> Result<()> {
    let io = |error| Error::io(error, "write the identity", IDENTITY);
    match fs.remove_file(IDENTITY_TEMPORARY) {
        Err(error) if error.kind() != IoErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let header = FileHeader::clear(FileKind::Identity, file, database);
    write_certificate(fs, IDENTITY_TEMPORARY, &header, SyncSite("create.identity")).map_err(io)?;
    fs.rename(IDENTITY_TEMPORARY, IDENTITY).map_err(io)?;
    fs.sync_dir("", SyncSite("create.identity_name")).map_err(io)
}

/// Prepares an empty place for a copy of a store. Until [`finish_copy`] nobody takes it for one, whatever
/// crashes.
pub(super) fn begin_copy(fs: &dyn Fs, file: Uuid, database: Uuid) -> Result<()> {
    let io = |name: &'static str| move |error| Error::io(error, "begin the copy", name);
    let header = FileHeader::clear(FileKind::Identity, file, database);
    write_certificate(fs, PARTIAL, &header, SyncSite("checkpoint.partial")).map_err(io(PARTIAL))?;
    for directory in DIRECTORIES {
        fs.create_dir(directory).map_err(io(directory))?;
    }
    fs.sync_dir("", SyncSite("checkpoint.begin")).map_err(io("."))
}

/// Everything of a copy is durable: makes a store of it. After an error it may be one.
pub(super) fn finish_copy(fs: &dyn Fs) -> Result<()> {
    let io = |error| Error::io(error, "finish the copy", IDENTITY);
    fs.rename(PARTIAL, IDENTITY).map_err(io)?;
    fs.sync_dir("", SyncSite("checkpoint.identity")).map_err(io)
}

/// What [`finish_copy`] may have made a store of is none again, whatever crashes from now on. Does nothing to
/// a copy that was not finished.
pub(super) fn take_back_copy(fs: &dyn Fs) -> IoResult<()> {
    match fs.rename(IDENTITY, PARTIAL) {
        Err(error) if error.kind() == IoErrorKind::NotFound => Ok(()),
        renamed => renamed.and_then(|()| fs.sync_dir("", SyncSite("checkpoint.taken_back"))),
    }
}

/// Writes a file that is nothing but a header.
fn write_certificate(fs: &dyn Fs, name: &str, header: &FileHeader, site: SyncSite) -> IoResult<()> {
    let certificate = fs.create(name, &CreateOptions::new(WriteOrigin::Metadata))?;
    certificate.write_at(0, &header.encode())?;
    certificate.sync(SyncMode::Durable, site)
}
