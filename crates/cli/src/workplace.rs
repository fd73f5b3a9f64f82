//! A directory to work in that was missing or empty, so that removing what was made removes nothing else.

use crate::{
    exit::{self, Failure},
    random,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A directory that was missing or empty. Everything in it was made by the command.
pub(crate) struct Workplace {
    path: PathBuf,
    /// Whether the command made the directory itself, too.
    is_ours: bool,
}

impl Workplace {
    /// Takes a directory, which must be missing or empty, for `command`.
    pub(crate) fn claim(command: &str, path: &Path) -> Result<Workplace, Failure> {
        let path = path.to_owned();
        let what = format!("{command} in {}", path.display());
        match fs::create_dir(&path) {
            Ok(()) => Ok(Workplace { path, is_ours: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mut entries = fs::read_dir(&path).map_err(|error| Failure::io(&what, &error))?;
                match entries.next() {
                    None => Ok(Workplace { path, is_ours: false }),
                    Some(_) => Err(Failure::new(exit::FAILURE, what, "the directory is not empty")
                        .with_hint("name a directory that is missing or empty")),
                }
            }
            Err(error) => Err(Failure::io(what, &error)),
        }
    }

    /// Makes a temporary directory for `command`.
    pub(crate) fn temporary(command: &str) -> Result<Workplace, Failure> {
        let path = std::env::temp_dir().join(format!("isopach-{command}-{:016x}", random::fresh_seed()));
        fs::create_dir(&path)
            .map_err(|error| Failure::io(format!("{command} in {}", path.display()), &error))?;
        Ok(Workplace { path, is_ours: true })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what was made.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        let removed = if self.is_ours { fs::remove_dir_all(&self.path) } else { self.remove_contents() };
        removed.map_err(|error| Failure::io(format!("remove {}", self.path.display()), &error))
    }

    fn remove_contents(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_and_empty_directories_are_taken() {
        let claim = |path: &Path| Workplace::claim("demo", path);
        let temporary = Workplace::temporary("demo").unwrap();
        let inner = temporary.path.join("inner");

        let made = claim(&inner).unwrap();
        assert!(made.is_ours);
        fs::create_dir(inner.join("db")).unwrap();
        fs::write(inner.join("db/file"), "x").unwrap();
        assert!(claim(&inner).is_err(), "it is not empty");
        made.remove().unwrap();
        assert!(!inner.exists());

        fs::create_dir(&inner).unwrap();
        let taken = claim(&inner).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        taken.remove().unwrap();
        assert!(inner.exists(), "a directory that was there stays");
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);

        temporary.remove().unwrap();
    }
}
