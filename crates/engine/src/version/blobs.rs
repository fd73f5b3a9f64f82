//! The files of separated values of a tree: how much of each is alive, and their counted handles.
//!
//! A record is alive if a table of the newest version points to it. So what is alive follows from what tables say of
//! themselves, and an edit that takes the last pointer into a file away takes the file out as well (INV-BLB-2). Readers
//! of older versions hold the file until they end.

use super::{damage::Damage, registry::Hold, table_file::TableContext};
use crate::{
    blob::{self, BlobFile, BlobMeta, BlobPointer, BlobRecord, ReadBlobs},
    codec::{Corruption, FileKind},
    error::{Error, Result},
    table::TableMeta,
    types::{BlobId, Slice, TreeId},
};
use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::{borrow::Borrow, fmt, ops::Bound};

/// The files of separated values that the newest version of a tree needs. `F` is what is known of each.
#[derive(Clone, Debug)]
pub struct BlobLedger<F>(BTreeMap<BlobId, BlobAccount<F>>);

/// How much of a file is alive.
#[derive(Clone, Debug)]
pub struct BlobAccount<F> {
    /// The file.
    pub file: F,
    /// Records that tables point to.
    pub live_records: u64,
    /// Sizes of these together.
    pub live_bytes: u64,
}

impl<F> Default for BlobLedger<F> {
    fn default() -> BlobLedger<F> {
        BlobLedger(BTreeMap::new())
    }
}

impl<F: Borrow<BlobMeta> + Clone> BlobLedger<F> {
    /// What is left once files and tables have come and tables have gone: files that no table points to go.
    ///
    /// # Errors
    ///
    /// A table points to a file that is not there, or to more than it holds; a file is there already.
    pub fn apply<'t>(
        &self,
        files: &[F],
        added: impl Iterator<Item = &'t TableMeta>,
        removed: impl Iterator<Item = &'t TableMeta>,
    ) -> Result<BlobLedger<F>, Corruption> {
        let mut next = self.0.clone();
        for file in files {
            let account = BlobAccount { file: file.clone(), live_records: 0, live_bytes: 0 };
            if next.insert(file.borrow().id, account).is_some() {
                return Err(Corruption("an edit adds a file of separated values that is there already"));
            }
        }
        let missing = Corruption("a table points to a file of separated values that is not there");
        for of in added.flat_map(|table| &table.blobs) {
            let account = next.get_mut(&of.file).ok_or(missing)?;
            account.live_records = account.live_records.saturating_add(of.records);
            account.live_bytes = account.live_bytes.saturating_add(of.bytes);
        }
        let wrong = Corruption("tables point to more separated values than there are");
        for of in removed.flat_map(|table| &table.blobs) {
            let account = next.get_mut(&of.file).ok_or(missing)?;
            account.live_records = account.live_records.checked_sub(of.records).ok_or(wrong)?;
            account.live_bytes = account.live_bytes.checked_sub(of.bytes).ok_or(wrong)?;
        }
        next.retain(|_, account| account.live_records > 0);
        let fits = |account: &BlobAccount<F>| {
            let file: &BlobMeta = account.file.borrow();
            account.live_records <= file.records && account.live_bytes <= file.record_bytes()
        };
        if next.values().all(fits) { Ok(BlobLedger(next)) } else { Err(wrong) }
    }

    /// The same of other handles of the files.
    pub fn map<G>(&self, handle: impl Fn(&F) -> G) -> BlobLedger<G> {
        let account = |(&id, account): (&BlobId, &BlobAccount<F>)| {
            let BlobAccount { file, live_records, live_bytes } = account;
            (id, BlobAccount { file: handle(file), live_records: *live_records, live_bytes: *live_bytes })
        };
        BlobLedger(self.0.iter().map(account).collect())
    }

    /// Every file, in the order of numbers.
    pub fn accounts(&self) -> impl Iterator<Item = &BlobAccount<F>> {
        self.0.values()
    }

    /// The handles of every file.
    pub fn files(&self) -> impl Iterator<Item = &F> {
        self.0.values().map(|account| &account.file)
    }

    /// Whether it has a file.
    pub fn has(&self, id: BlobId) -> bool {
        self.0.contains_key(&id)
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<F: Borrow<BlobMeta>> BlobAccount<F> {
    /// Sizes of the records that no table points to.
    pub fn stale_bytes(&self) -> u64 {
        self.file.borrow().record_bytes().saturating_sub(self.live_bytes)
    }
}

/// A file of separated values that a version needs. Clones share it; the last one of an obsolete file gives it to the
/// deleter.
#[derive(Clone)]
pub struct BlobRef(Arc<Inner>);

struct Inner {
    meta: BlobMeta,
    tree: TreeId,
    hold: Hold,
    context: Arc<TableContext>,
    damage: Damage,
}

impl BlobRef {
    /// Registers a file that the manifest names.
    pub fn recovered(context: &Arc<TableContext>, tree: TreeId, meta: BlobMeta) -> BlobRef {
        let name = meta.file_name();
        let hold = context.registry.register(FileKind::Blob, &name, meta.file_bytes(), Some(tree));
        BlobRef::new(context, tree, hold, meta)
    }

    /// A finished file that is held.
    pub fn new(context: &Arc<TableContext>, tree: TreeId, hold: Hold, meta: BlobMeta) -> BlobRef {
        hold.set_bytes(meta.file_bytes());
        let (context, damage) = (Arc::clone(context), Damage::none());
        BlobRef(Arc::new(Inner { meta, tree, hold, context, damage }))
    }

    /// The facts.
    pub fn meta(&self) -> &BlobMeta {
        &self.0.meta
    }

    /// No version names it any more: it goes when nobody reads it.
    pub fn mark_obsolete(&self) {
        self.0.hold.mark_obsolete();
        self.0.context.healing.retire(self.0.meta.id.0);
    }

    /// The file, opened if it was not.
    ///
    /// # Errors
    ///
    /// Those of [`BlobFile::open`].
    pub fn open(&self) -> Result<Arc<BlobFile>> {
        let Inner { meta, tree, context, .. } = &*self.0;
        let rescue = || context.rescue(*tree, meta.id.0, &meta.file_name());
        let open = || BlobFile::open_with(&context.fs, meta, &context.owner, rescue()).map(Arc::new);
        context.open_blobs.get_or_open(meta.id, open).map_err(|error| self.blame(error))
    }

    /// An error of reading the file, which is the file's damage if it is some.
    pub(crate) fn blame(&self, error: Error) -> Error {
        let error = error.in_tree(self.0.tree);
        if self.0.damage.note(&error) {
            self.0.context.damage.tell(&error);
        }
        error
    }

    /// What is known to be wrong with it.
    pub fn damage(&self) -> Option<Error> {
        self.0.damage.get()
    }

    /// Whether anything is known to be wrong with it: its live values are left where they are.
    pub fn is_damaged(&self) -> bool {
        self.0.damage.is_known()
    }

    /// It was read in whole, and nothing was found.
    pub(crate) fn clear_damage(&self) {
        self.0.damage.clear();
    }
}

impl Borrow<BlobMeta> for BlobRef {
    fn borrow(&self) -> &BlobMeta {
        &self.0.meta
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.context.open_blobs.remove(self.meta.id);
        self.context.healing.forget(self.meta.id.0);
    }
}

impl fmt::Debug for BlobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlobRef").field(&self.0.meta.id).finish()
    }
}

/// Of one tree, whose states hold the files.
pub type BlobFiles = BlobLedger<BlobRef>;

impl BlobFiles {
    /// The record that a pointer of this tree points to.
    ///
    /// # Errors
    ///
    /// As [`ReadBlobs::read`].
    pub fn read_record(&self, key: &[u8], pointer: &BlobPointer) -> Result<BlobRecord> {
        self.with_file(key, pointer, |file| file.read_record(key, pointer))
    }

    /// Name of a file.
    pub fn file_name(&self, id: BlobId) -> String {
        self.0.get(&id).map_or_else(|| blob::file_name(id), |account| account.file.meta().file_name())
    }

    /// Whether the file that a pointer points into is known to be damaged.
    pub fn is_damaged(&self, pointer: &BlobPointer) -> bool {
        self.0.get(&pointer.file).is_some_and(|account| account.file.is_damaged())
    }

    pub(super) fn with_file<T>(
        &self,
        key: &[u8],
        pointer: &BlobPointer,
        read: impl FnOnce(&BlobFile) -> Result<T>,
    ) -> Result<T> {
        let Some(BlobAccount { file, .. }) = self.0.get(&pointer.file) else {
            return Err(unknown_file(key, pointer));
        };
        let here = || Bound::Included(Vec::from(key));
        let open = file.open().map_err(|error| error.over_keys((here(), here())))?;
        read(&open).map_err(|error| file.blame(error))
    }
}

impl ReadBlobs for BlobFiles {
    fn read(&self, key: &[u8], pointer: &BlobPointer) -> Result<Slice> {
        self.with_file(key, pointer, |file| file.read(key, pointer))
    }
}

#[cold]
fn unknown_file(key: &[u8], pointer: &BlobPointer) -> Error {
    let name = blob::file_name(pointer.file);
    let why = "a pointer names the file, and the manifest does not";
    let here = || Bound::Included(Vec::from(key));
    Error::corrupt(name, 0, why).over_keys((here(), here()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        blob::BlobUse,
        codec::{HEADER_BYTES, Parity, golden::parse},
        place::PlaceId,
        types::{TableId, Uuid},
    };
    use alloc::vec;

    const META: &str = include_str!("../../testdata/golden/table_meta.hex");

    fn file(id: u64, records: u64) -> BlobMeta {
        BlobMeta {
            id: BlobId(id),
            uuid: Uuid([1; 16]),
            bytes: HEADER_BYTES as u64 + 100 * records,
            records,
            place: PlaceId::MAIN,
            seal: None,
            parity: Parity::None,
        }
    }

    fn table(id: u64, uses: &[(u64, u64)]) -> TableMeta {
        let of = |&(file, records)| BlobUse { file: BlobId(file), records, bytes: 100 * records };
        let meta = TableMeta::decode(&parse(META)).unwrap();
        TableMeta { id: TableId(id), blobs: uses.iter().map(of).collect(), ..meta }
    }

    fn live(ledger: &BlobLedger<BlobMeta>) -> Vec<(u64, u64, u64)> {
        ledger.accounts().map(|of| (of.file.id.0, of.live_records, of.stale_bytes())).collect()
    }

    #[test]
    fn what_is_alive_follows_from_the_tables_and_a_file_goes_with_its_last_pointer() {
        let (flushed, merged, moved) =
            (table(2, &[(1, 3)]), table(4, &[(1, 1), (3, 2)]), table(6, &[(3, 2)]));
        let ledger = BlobLedger::default();

        let ledger = ledger.apply(&[file(1, 3)], [&flushed].into_iter(), [].into_iter()).unwrap();
        assert_eq!(live(&ledger), [(1, 3, 0)]);
        let ledger = ledger.apply(&[file(3, 2)], [&merged].into_iter(), [&flushed].into_iter()).unwrap();
        assert_eq!(live(&ledger), [(1, 1, 200), (3, 2, 0)]);
        let same = ledger.apply(&[], [&merged].into_iter(), [&merged].into_iter()).unwrap();
        assert_eq!(live(&same), live(&ledger), "a table that only moves changes nothing");
        let ledger = ledger.apply(&[], [&moved].into_iter(), [&merged].into_iter()).unwrap();
        assert_eq!(live(&ledger), [(3, 2, 0)]);
        let ledger = ledger.apply(&[], [].into_iter(), [&moved].into_iter()).unwrap();
        assert!(ledger.is_empty());
    }

    #[test]
    fn what_tables_say_has_to_fit_the_files() {
        let ledger =
            BlobLedger::default().apply(&[file(1, 3)], [&table(2, &[(1, 2)])].into_iter(), [].into_iter());
        let ledger = ledger.unwrap();
        let refused = |files: &[BlobMeta], added: Vec<TableMeta>, removed: Vec<TableMeta>| {
            ledger.apply(files, added.iter(), removed.iter()).unwrap_err().0
        };

        assert!(refused(&[], vec![table(4, &[(9, 1)])], vec![]).contains("not there"));
        assert!(refused(&[file(1, 3)], vec![], vec![]).contains("already"));
        assert!(refused(&[], vec![table(4, &[(1, 2)])], vec![]).contains("more"), "four of three");
        assert!(refused(&[], vec![], vec![table(4, &[(1, 3)])]).contains("more"), "three of two");
    }
}
