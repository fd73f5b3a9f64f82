//! Copies of a database's files, to restore from what parity does not.

use crate::error::{Error, Result};
use isopach_engine::codec::CleanCopies;
use isopach_env::{Fs, OpenMode, OsFs};
use std::{path::Path, sync::Arc};

/// The files of another directory: a checkpoint of the database, a backup of it, a database that was made of its checkpoint.
/// Tables and files of separated values never change and keep their numbers, so that those that are still there are the same.
///
/// Opens a file for each piece that is restored.
#[derive(Clone, Debug)]
pub struct CopiesIn(Arc<dyn Fs>);

impl CopiesIn {
    /// A directory of the operating system.
    ///
    /// # Errors
    ///
    /// `Io` if it is not there.
    pub fn directory(path: impl AsRef<Path>) -> Result<CopiesIn> {
        let path = path.as_ref();
        let opened =
            OsFs::new(path).map_err(|error| Error::from(isopach_engine::error::Error::io(error, "open", "")));
        Ok(CopiesIn(Arc::new(opened.map_err(|error| error.in_directory(path))?)))
    }

    /// Any files.
    pub fn fs(fs: Arc<dyn Fs>) -> CopiesIn {
        CopiesIn(fs)
    }
}

impl CleanCopies for CopiesIn {
    fn read(&self, file: &str, offset: u64, buf: &mut [u8]) -> bool {
        self.0.open(file, OpenMode::Read).is_ok_and(|file| file.read_exact_at(offset, buf).is_ok())
    }
}
