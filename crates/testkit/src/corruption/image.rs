//! The files of a database as plain bytes: cheap to copy, easy to damage.

use isopach::env::{CreateOptions, Fs, MemFs, WriteOrigin};
use std::{collections::BTreeMap, sync::Arc};

/// Zeros that are kept of the space reserved behind the end of a log or manifest: enough to be damaged, and
/// an image stays small.
const RESERVE_BYTES: usize = 256;

/// Directories of a database.
const DIRECTORIES: [&str; 4] = ["tables", "wal", "dictionaries", "blobs"];

/// Every file of a database. Clones share the bytes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Image(BTreeMap<String, Arc<Vec<u8>>>);

impl Image {
    /// The files that are there now. Of reserved space only a little is taken along.
    pub fn of(fs: &dyn Fs) -> Image {
        let mut image = Image::default();
        for (name, mut bytes) in crate::db::all_bytes(fs) {
            if !["tables/", "dictionaries/", "blobs/"].iter().any(|directory| name.starts_with(directory)) {
                let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                bytes.truncate(used.next_multiple_of(8) + RESERVE_BYTES);
            }
            image.put(&name, bytes);
        }
        image
    }

    /// A backend that holds it.
    pub fn to_fs(&self) -> MemFs {
        let fs = MemFs::new();
        for directory in DIRECTORIES {
            fs.create_dir(directory).expect("memory takes directories");
        }
        for (name, bytes) in self.files() {
            let file =
                fs.create(name, &CreateOptions::new(WriteOrigin::Checkpoint)).expect("memory takes files");
            file.write_at(0, bytes).expect("memory takes bytes");
        }
        fs
    }

    /// Names and bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The bytes of a file, if it is there.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|bytes| bytes.as_slice())
    }

    /// Bytes of all files together.
    pub fn size_bytes(&self) -> usize {
        self.0.values().map(|bytes| bytes.len()).sum()
    }

    /// Puts a file there, in place of one of that name.
    pub fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.0.insert(name.into(), Arc::new(bytes));
    }

    /// Takes a file away.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The bytes of a file, to be changed.
    ///
    /// # Panics
    ///
    /// If it is not there.
    pub fn edit(&mut self, name: &str) -> &mut Vec<u8> {
        Arc::make_mut(self.0.get_mut(name).expect("a file of the image"))
    }
}
