//! Table files: written outside of any database, for bulk loads of one. What they hold is checked, and written again,
//! where they are loaded (`ingest/files.rs`).

use crate::{
    error::{Error, ErrorKind, Result},
    options::KeyspaceOptions,
};
use isopach_engine::{
    compaction::LAST_LEVEL,
    order::{Comparator, Comparators, KeyOrder},
    table::{PropertySeed, TableOptions, portable::PortableWriter},
    types::{TreeId, UnixUs},
    version::new_uuid,
};
use isopach_env::{Clock, Env};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Writes a table file: entries in ascending order of keys, in one file that stands by itself, for a bulk load of any
/// database. No database is open for it; it may be another process, or another machine.
///
/// The file is there, whole and durable, when [`TableFileWriter::finish`] returns. Dropped unfinished, or after an
/// error, it leaves none. Takes the memory of the file's index, and a block.
///
/// [`Keyspace::ingest_files`](crate::Keyspace::ingest_files) loads such files, and
/// [`Ingest::add_files`](crate::Ingest::add_files) as a part of a load.
///
/// ```
/// use isopach::{Db, KeyspaceOptions, TableFileWriter};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("isopach-table-file-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let path = dir.join("users.table");
/// let mut file = TableFileWriter::create(&path, &KeyspaceOptions::new())?;
/// for n in 0..1000_u32 {
///     file.insert(n.to_be_bytes(), "a user")?;
/// }
/// assert_eq!(file.finish()?.entries, 1000);
///
/// let db = Db::in_memory()?;
/// let users = db.keyspace("users")?;
/// users.ingest_files([&path])?;
/// assert_eq!(users.count(..)?, 1000);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(())
/// # }
/// ```
pub struct TableFileWriter {
    writer: PortableWriter,
    clock: Arc<dyn Clock>,
    /// As errors tell of it.
    path: PathBuf,
}

/// What a finished table file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TableFileInfo {
    /// Number of entries, at least 1.
    pub entries: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The least key, in the order of the file.
    pub first_key: Vec<u8>,
    /// The greatest key.
    pub last_key: Vec<u8>,
}

impl TableFileWriter {
    /// Creates a file, which may have any name, in a directory that is there.
    ///
    /// Of the options the order of keys counts, which has to be that of the keyspace that the file is for, and how
    /// the last level is written: size of blocks, compression, checksums of entries. The rest is the keyspace's to
    /// say when it is loaded.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`: what has the name stays as it is; `NotFound` if the directory is missing; `InvalidArgument`
    /// naming the option; `MissingComparator` of an order that is not built in, for which there is
    /// [`TableFileWriter::create_ordered`]; `UnsupportedFeature` for a compression that is not compiled in; `Io`,
    /// `OutOfSpace`.
    pub fn create(path: impl AsRef<Path>, options: &KeyspaceOptions) -> Result<TableFileWriter> {
        let path = path.as_ref();
        let (directory, name) = split(path)?;
        let env = Env::os(directory).map_err(|error| missing_directory(error, path))?;
        TableFileWriter::begin(&env, &name, path, options, &Comparators::new())
    }

    /// As [`TableFileWriter::create`], with other files, clock and random source than those of the operating system.
    ///
    /// # Errors
    ///
    /// As [`TableFileWriter::create`].
    pub fn create_in(env: &Env, name: &str, options: &KeyspaceOptions) -> Result<TableFileWriter> {
        TableFileWriter::begin(env, name, Path::new(name), options, &Comparators::new())
    }

    /// As [`TableFileWriter::create_in`], of keys in an order that is not built in, and that the options name. For
    /// files of the operating system there is [`Env::os`].
    ///
    /// # Errors
    ///
    /// As [`TableFileWriter::create`]; `MissingComparator` also if the options name another.
    pub fn create_ordered(
        env: &Env,
        name: &str,
        options: &KeyspaceOptions,
        comparator: impl Comparator,
    ) -> Result<TableFileWriter> {
        let mut comparators = Comparators::new();
        comparators.add(Arc::new(comparator));
        TableFileWriter::begin(env, name, Path::new(name), options, &comparators)
    }

    fn begin(
        env: &Env,
        name: &str,
        path: &Path,
        options: &KeyspaceOptions,
        comparators: &Comparators,
    ) -> Result<TableFileWriter> {
        let located = |error| Error::from(error).of_table_file(path);
        let options = options.tree_options();
        options.validate().and_then(|()| comparators.validate()).map_err(located)?;
        let order = KeyOrder::of(comparators.find(&options.comparator).map_err(located)?);
        let table = TableOptions {
            block_bytes: options.block_bytes.at(LAST_LEVEL) as usize,
            compression: options.compression.at(LAST_LEVEL),
            filter: None,
            partition_bytes: options.partition_bytes.at(LAST_LEVEL) as usize,
            entry_checksums: options.entry_checksums,
            parity: options.parity.at(LAST_LEVEL),
        };
        let seed = PropertySeed {
            tree_options: options.encode(),
            comparator: options.comparator.clone(),
            level: LAST_LEVEL,
            ..PropertySeed::new(TreeId(0), "", UnixUs(env.clock.unix_us()))
        };
        let uuid = new_uuid(&*env.entropy).map_err(located)?;
        let writer = PortableWriter::create(&env.fs, name, uuid, table, seed, &order).map_err(located)?;
        Ok(TableFileWriter { writer, clock: Arc::clone(&env.clock), path: path.into() })
    }

    /// Puts a value. It lives as long as the keyspace says that it is loaded into, from then on.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a key that does not come behind the last one, or a key or value out of bounds;
    /// `OutOfSpace`, `Io`. The file goes then, and nothing more is taken.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let put = self.writer.put(key.as_ref(), value.as_ref());
        put.map_err(|error| self.located(error))
    }

    /// Puts a value that lives so long from now on, by the clock of who writes the file.
    ///
    /// # Errors
    ///
    /// As [`TableFileWriter::insert`].
    pub fn insert_ttl(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        let ttl_us = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
        let expires_at = UnixUs(self.clock.unix_us().saturating_add(ttl_us));
        let put = self.writer.put_until(key.as_ref(), value.as_ref(), expires_at);
        put.map_err(|error| self.located(error))
    }

    /// Deletes what the keyspace holds under the key when the file is loaded.
    ///
    /// # Errors
    ///
    /// As [`TableFileWriter::insert`].
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let deleted = self.writer.delete(key.as_ref());
        deleted.map_err(|error| self.located(error))
    }

    /// Makes the file durable, and its entry in the directory.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is no entry, or one was refused; `OutOfSpace`, `Io`. The file goes then.
    pub fn finish(self) -> Result<TableFileInfo> {
        let TableFileWriter { writer, path, .. } = self;
        let table = writer.finish().map_err(|error| Error::from(error).of_table_file(&path))?;
        Ok(TableFileInfo {
            entries: table.entries,
            bytes: table.bytes,
            first_key: table.first_key,
            last_key: table.last_key,
        })
    }

    fn located(&self, error: isopach_engine::error::Error) -> Error {
        Error::from(error).of_table_file(&self.path)
    }
}

impl fmt::Debug for TableFileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableFileWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The directory of a file of the operating system, and its name there.
///
/// # Errors
///
/// `InvalidArgument`: backends have no such name.
pub(crate) fn split(path: &Path) -> Result<(&Path, String)> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        let message = "not a path of a file whose name is UTF-8: give the file another name";
        return Err(Error::new(ErrorKind::InvalidArgument, message).of_table_file(path));
    };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    Ok((directory.unwrap_or(Path::new(".")), name.into()))
}

/// The error of a directory that cannot be used, in which this file was to be.
pub(crate) fn missing_directory(error: isopach_env::IoError, path: &Path) -> Error {
    use isopach_env::IoErrorKind::{NotADirectory, NotFound};
    let kind = match error.kind() {
        NotFound | NotADirectory => ErrorKind::NotFound,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("its directory cannot be used: {error}")).of_table_file(path)
}
