//! Under which keys the files of a tree are sealed, and whether that is as new ones are.

use super::Tree;
use crate::{
    codec::{KeyId, Owner, Seal},
    error::Result,
};
use alloc::collections::BTreeMap;

/// What lies under one key.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct KeyUse {
    /// Tables and files of separated values.
    pub files: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
}

impl KeyUse {
    /// Counts a file.
    pub fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

impl Tree {
    /// How new files are sealed.
    ///
    /// # Errors
    ///
    /// Those of [`Keyring::current`](crate::codec::Keyring::current).
    pub fn new_seal(&self) -> Result<Option<Seal>> {
        let Owner { database, keys } = &self.0.context.tables.owner;
        keys.current(*database)
    }

    /// Whether a file is sealed in another way than new ones, as far as that is known.
    pub fn has_other_seals(&self) -> bool {
        let Ok(seal) = self.new_seal() else { return false };
        self.files_with_seals().any(|(of_file, _)| of_file != seal)
    }

    /// What lies under which key; [`KeyId::CLEAR`] of what is not encrypted.
    pub fn keys_in_use(&self) -> BTreeMap<KeyId, KeyUse> {
        let mut uses: BTreeMap<KeyId, KeyUse> = BTreeMap::new();
        for (seal, bytes) in self.files_with_seals() {
            uses.entry(seal.map_or(KeyId::CLEAR, |seal| seal.key)).or_default().add(bytes);
        }
        uses
    }

    /// Of every table and file of separated values that the newest version names: its seal and its size.
    fn files_with_seals(&self) -> impl Iterator<Item = (Option<Seal>, u64)> {
        let state = self.0.state.load();
        let tables = state.levels.tables().map(|(.., table)| (table.seal, table.bytes));
        let blobs = state.blobs.files().map(|file| (file.meta().seal, file.meta().bytes));
        tables.chain(blobs).collect::<alloc::vec::Vec<_>>().into_iter()
    }
}
