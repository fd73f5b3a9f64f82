//! How the files that a manifest names are sealed, and the manifest itself; how new ones are.

use super::{
    Store,
    directory::{State, Survey},
};
use crate::{codec::Seal, error::Result, version::seal_of_manifest};
use alloc::collections::BTreeMap;

/// What lies under one key, or is sealed in one way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct KeyUse {
    /// Files: tables, separated values, log and manifest.
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

    /// Counts what another one has.
    pub fn add_all(&mut self, other: KeyUse) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

impl Store {
    /// How the manifest is sealed, and every table and file of separated values that it names, those
    /// of trees that cannot be used included; `None`: not at all.
    pub fn seals_in_use(&self) -> BTreeMap<Option<Seal>, KeyUse> {
        let mut uses: BTreeMap<Option<Seal>, KeyUse> = BTreeMap::new();
        self.with_catalog(|catalog| {
            for tree in catalog.trees.values() {
                let tables = tree.levels.tables().map(|(.., table)| (table.seal, table.bytes));
                let files = tables.chain(tree.blobs.files().map(|file| (file.seal, file.bytes)));
                files.for_each(|(seal, bytes)| uses.entry(seal).or_default().add(bytes));
            }
        });
        let manifest = match &self.0.context.manifest {
            Some(manifest) => Some(manifest.seal()),
            None => self.seal_of_stored_manifest(),
        };
        if let Some((seal, bytes)) = manifest {
            uses.entry(seal).or_default().add(bytes);
        }
        uses
    }

    /// Of a store opened for reading; `None` if it is being replaced.
    fn seal_of_stored_manifest(&self) -> Option<(Option<Seal>, u64)> {
        let fs = &*self.env().fs;
        match Survey::of(fs).ok()?.judge().ok()? {
            State::Store(number) => seal_of_manifest(fs, number, self.uuid()).ok(),
            State::Unborn => None,
        }
    }

    /// How new files are sealed, if that is as the provider of keys wants it now.
    ///
    /// # Errors
    ///
    /// Those of [`Keyring::settled`](crate::codec::Keyring::settled).
    pub fn settled_seal(&self) -> Result<Option<Seal>> {
        let owner = self.owner();
        owner.keys.settled(owner.database)
    }

    /// Has the manifest go on in a new file, if this one is sealed in another way than new ones are. Edits wait for it.
    ///
    /// # Errors
    ///
    /// Those of [`Manifest::reseal`](crate::version::Manifest::reseal); `ReadOnly`, `Closed`.
    pub fn reseal_manifest(&self) -> Result<()> {
        let _lease = self.0.context.enter()?;
        self.0.context.manifest()?.reseal()
    }
}
