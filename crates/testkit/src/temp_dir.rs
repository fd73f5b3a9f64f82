//! A directory that lives as long as a test.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// A new, empty directory of the operating system; dropping it removes it with everything in it.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes a directory below the system's directory for temporary files.
    ///
    /// # Panics
    ///
    /// If the system refuses: a test cannot go on without.
    #[expect(clippy::new_without_default, reason = "a default that makes a directory would surprise")]
    pub fn new() -> TempDir {
        /// Tells the directories of this process apart.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("isopach-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return TempDir { path },
                // Left behind by a process of the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed stays for the system to clean up; the test has its result already.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_directory_is_gone_with_its_files() {
        let dir = TempDir::new();
        let path = dir.path().to_path_buf();
        fs::write(path.join("file"), b"").expect("writable");

        drop(dir);

        assert!(!path.exists());
    }

    #[test]
    fn two_directories_differ() {
        assert_ne!(TempDir::new().path(), TempDir::new().path());
    }
}
