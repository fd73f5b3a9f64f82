//! Table files as parts of a bulk load: all are checked in full, then written again as the keyspace's options say.

use super::Ingest;
use crate::{
    error::{Error, ErrorKind, Result},
    table_file::{missing_directory, split},
};
use isopach_engine::{
    table::portable::{PortableChange, PortableTable},
    types::Uuid,
};
use isopach_env::{Fs, OsFs};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file that is to be loaded.
struct Source {
    fs: Arc<dyn Fs>,
    name: String,
    /// As errors tell of it.
    path: PathBuf,
}

/// A file that was checked in full.
struct Checked {
    source: Source,
    uuid: Uuid,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
}

impl Ingest {
    /// Adds all entries of files that a [`TableFileWriter`](crate::TableFileWriter) wrote, and returns how many there
    /// are. The files may come in any order, and may not overlap; they stay as they are, and are not needed any more
    /// when this returns. Puts without a time of their own live as long as the keyspace says, from now on.
    ///
    /// Each file is checked in full before anything of any is added: every byte by its checksum, the order of keys,
    /// all that it says of itself. It is then read once more. One file is open at a time, of which index and a block
    /// are in memory.
    ///
    /// # Errors
    ///
    /// All name the file. `Corruption` if it is damaged, with the place; `UnsupportedFormat` of a file that is no
    /// table, or of another format version; `InvalidArgument` of a table that belongs to a database, one with its
    /// keys in another order than the keyspace, and of two files that overlap; `NotFound`; `Io`. As
    /// [`Ingest::insert`], also if the first key does not come behind those that were added before. The load cannot
    /// be finished then.
    pub fn add_files<P: AsRef<Path>>(&mut self, paths: impl IntoIterator<Item = P>) -> Result<u64> {
        self.add_sources(paths.into_iter().map(|path| {
            let path = path.as_ref();
            let (directory, name) = split(path)?;
            let fs = OsFs::new(directory).map_err(|error| missing_directory(error, path))?;
            Ok(Source { fs: Arc::new(fs), name, path: path.into() })
        }))
    }

    /// As [`Ingest::add_files`], of files of another backend than that of the operating system.
    ///
    /// # Errors
    ///
    /// As [`Ingest::add_files`].
    pub fn add_files_in<N: AsRef<str>>(
        &mut self,
        fs: &Arc<dyn Fs>,
        names: impl IntoIterator<Item = N>,
    ) -> Result<u64> {
        self.add_sources(names.into_iter().map(|name| {
            let name = name.as_ref();
            Ok(Source { fs: Arc::clone(fs), name: name.into(), path: name.into() })
        }))
    }

    fn add_sources(&mut self, sources: impl Iterator<Item = Result<Source>>) -> Result<u64> {
        let added = sources
            .map(|source| self.check_source(source?))
            .collect::<Result<Vec<_>>>()
            .and_then(|files| self.sorted(files))
            .and_then(|files| files.iter().map(|file| self.add_file(file)).sum());
        self.lacks_files |= added.is_err();
        added.map_err(|error: Error| error.in_keyspace(&self.space.name))
    }

    fn open_source(&self, source: &Source) -> Result<PortableTable> {
        let tree = &self.space.tree;
        let opened = PortableTable::open(&source.fs, &source.name, &tree.options().comparator, tree.order());
        opened.map_err(|error| source.located(error))
    }

    fn check_source(&self, source: Source) -> Result<Checked> {
        let table = self.open_source(&source)?;
        table.verify().map_err(|error| source.located(error))?;
        let (first_key, last_key) = table.key_range();
        let (first_key, last_key) = (first_key.into(), last_key.into());
        Ok(Checked { uuid: table.uuid(), source, first_key, last_key })
    }

    /// The files in the order of their keys.
    fn sorted(&self, mut files: Vec<Checked>) -> Result<Vec<Checked>> {
        let order = self.space.tree.order();
        files.sort_by(|a, b| order.compare(&a.first_key, &b.first_key));
        let overlap = files.windows(2).find(|pair| !order.is_less(&pair[0].last_key, &pair[1].first_key));
        order.check().map_err(|error| self.located(error))?;
        let Some([before, after]) = overlap else { return Ok(files) };
        let message = format!(
            "its keys begin at \"{}\", and those of {} end at \"{}\": files that are loaded at once may not \
             overlap; load one after the other",
            after.first_key.escape_ascii(),
            before.source.path.display(),
            before.last_key.escape_ascii(),
        );
        Err(Error::new(ErrorKind::InvalidArgument, message).of_table_file(&after.source.path))
    }

    fn add_file(&mut self, file: &Checked) -> Result<u64> {
        let source = &file.source;
        let table = self.open_source(source)?;
        if table.uuid() != file.uuid {
            let message = "it was replaced by another file while it was loaded: load it again";
            return Err(Error::new(ErrorKind::InvalidArgument, message).of_table_file(&source.path));
        }
        let mut entries = 0;
        for entry in table.entries().map_err(|error| source.located(error))? {
            let (key, change) = entry.map_err(|error| source.located(error))?;
            let added = match change {
                PortableChange::Put(value) => self.insert(key, value),
                PortableChange::PutUntil(at, value) => self.insert_until(&key, &value, at),
                PortableChange::Delete => self.remove(key),
            };
            added.map_err(|error| match error.kind() {
                ErrorKind::InvalidArgument => error.of_table_file(&source.path),
                _ => error, // Of what is written, not of what is read.
            })?;
            entries += 1;
        }
        Ok(entries)
    }
}

impl Source {
    fn located(&self, error: isopach_engine::error::Error) -> Error {
        Error::from(error).of_table_file(&self.path)
    }
}
