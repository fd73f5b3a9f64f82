//! Whether the files of a tree are sealed as new ones are.

use super::Tree;
use crate::{
    codec::{Owner, Seal},
    error::{Error, Result},
    types::BlobId,
    version::BlobRef,
};
use alloc::vec::Vec;

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
        let state = self.0.state.load();
        state.levels.tables().any(|(.., table)| table.seal != seal)
            || !self.blobs_sealed_unlike(seal).is_empty()
    }

    /// The files of separated values that are not sealed so.
    pub fn blobs_sealed_unlike(&self, seal: Option<Seal>) -> Vec<BlobId> {
        let state = self.0.state.load();
        let others = state.blobs.files().map(BlobRef::meta).filter(|file| file.seal != seal);
        others.map(|file| file.id).collect()
    }

    /// What is wrong with a table or file of separated values that is not sealed so, if one is known to be damaged: it
    /// cannot be written anew.
    pub fn damage_sealed_unlike(&self, seal: Option<Seal>) -> Option<Error> {
        let state = self.0.state.load();
        let tables = state.levels.tables().map(|(.., table)| table).filter(|table| table.seal != seal);
        let blobs = state.blobs.files().filter(|file| file.meta().seal != seal);
        tables.filter_map(|table| table.damage()).chain(blobs.filter_map(BlobRef::damage)).next()
    }
}
