//! The catalog: what all edits so far add up to. Pure; a manifest's snapshot is an edit that makes one.

use super::{
    blobs::BlobLedger,
    edit::{Change, Note, TablesChange},
    levels::{Added, Levels},
    routes::Routes,
};
use crate::{
    blob::BlobMeta,
    codec::{Corruption, TlvReader},
    error::{Error, ErrorKind},
    key::BYTE_ORDER_NAME,
    order::{KeyOrder, ORDER_TAG},
    place::PlaceId,
    table::TableMeta,
    types::{Seqno, TreeId},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
    vec::Vec,
};

/// A tree as the manifest has it.
#[derive(Clone, Debug)]
pub struct CatalogTree {
    /// Its name.
    pub name: String,
    /// Its options, encoded by their owner.
    pub options: Vec<u8>,
    /// Position of its creation.
    pub created_at: Seqno,
    /// Its tables. Of an order of keys that is not that of bytes nothing is known here: runs are then not sorted, and not checked.
    pub levels: Levels<Arc<TableMeta>>,
    /// What these point to.
    pub blobs: BlobLedger<BlobMeta>,
    /// Everything up to here is in tables.
    pub replay_point: Seqno,
    /// Reads below this may miss versions.
    pub read_floor: Seqno,
}

impl CatalogTree {
    /// A tree that was just created: empty.
    pub fn new(name: &str, options: Vec<u8>, at: Seqno) -> CatalogTree {
        CatalogTree {
            name: name.into(),
            options,
            created_at: at,
            levels: Levels::default(),
            blobs: BlobLedger::default(),
            replay_point: at,
            read_floor: Seqno::ZERO,
        }
    }

    /// The order of its keys, if it is that of bytes: of its options no more is known here.
    fn order(&self) -> Option<&'static KeyOrder> {
        let mut fields = TlvReader::new(&self.options);
        while let Ok(Some((tag, value))) = fields.next_field() {
            if tag == ORDER_TAG {
                return (value == BYTE_ORDER_NAME.as_bytes()).then_some(KeyOrder::bytes());
            }
        }
        Some(KeyOrder::bytes())
    }
}

/// Everything a manifest says.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Trees by id.
    pub trees: BTreeMap<TreeId, CatalogTree>,
    /// Notes of the layer above.
    pub notes: BTreeMap<String, Vec<u8>>,
    /// File ids at or above it were never used.
    pub file_id_mark: u64,
    /// Tree ids at or above it were never used.
    pub tree_id_mark: u32,
    /// Where files lie that are not in the store's directory.
    pub routes: Routes,
    /// Greatest position of a change of trees: one created, cleared or dropped.
    pub applied_upto: Seqno,
}

/// Names of notes that are the engine's own begin so.
const OWN_NOTES: &str = "isopach.";

/// Field of a snapshot beside the changes: [`Catalog::applied_upto`] travels as a note of this name.
const APPLIED_UPTO_NOTE: &str = "isopach.applied_upto";

/// The change that says that everything about trees up to `at` is in the catalog.
pub(crate) fn applied_upto(at: Seqno) -> Change {
    Change::Note(Note::new(APPLIED_UPTO_NOTE, at.raw().to_le_bytes()))
}

/// Bytes or entries of all tables together stay below this, so that sums do not overflow.
const MAX_TOTAL: u64 = 1 << 60;

/// Refuses notes of the layer above under names of the engine's own.
///
/// # Errors
///
/// `InvalidArgument`.
pub(crate) fn check_names(notes: &[Note]) -> Result<(), Error> {
    match notes.iter().find(|note| note.name.starts_with(OWN_NOTES)) {
        None => Ok(()),
        Some(Note { name, .. }) => {
            let message = format!("names of notes that begin with {OWN_NOTES:?} are reserved: {name:?}");
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
    }
}

impl Catalog {
    /// Folds in the changes of an edit.
    ///
    /// # Errors
    ///
    /// They contradict what is there: of a manifest that is damage, of our own edit a bug. The catalog is of
    /// no use afterwards.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), Corruption> {
        changes.iter().try_for_each(|change| self.apply_one(change))
    }

    fn apply_one(&mut self, change: &Change) -> Result<(), Corruption> {
        match change {
            Change::CreateTree { id, name, options, at } => {
                if self.trees.contains_key(id) || self.tree_named(name).is_some() {
                    return Err(Corruption("an edit creates a tree that is there already"));
                }
                self.trees.insert(*id, CatalogTree::new(name, options.clone(), *at));
                self.applied_upto = self.applied_upto.max(*at);
            }
            Change::DropTree { id, at } => {
                self.trees.remove(id).ok_or(Corruption("an edit drops a tree that is not there"))?;
                self.applied_upto = self.applied_upto.max(*at);
            }
            Change::SetOptions { id, options } => {
                let tree = self.trees.get_mut(id);
                let tree = tree.ok_or(Corruption("an edit sets options of a tree that is not there"))?;
                tree.options.clone_from(options);
            }
            Change::Tables(change) => self.apply_tables(change)?,
            Change::Note(Note { name, value }) if name == APPLIED_UPTO_NOTE => {
                let raw = value[..].try_into().map(u64::from_le_bytes);
                let at =
                    raw.ok().and_then(Seqno::from_raw).ok_or(Corruption("a snapshot's position is wrong"))?;
                self.applied_upto = self.applied_upto.max(at);
            }
            Change::Note(Note { name, value }) => {
                self.notes.insert(name.clone(), value.clone());
            }
            Change::FileIdMark(mark) => self.file_id_mark = self.file_id_mark.max(*mark),
            Change::TreeIdMark(mark) => self.tree_id_mark = self.tree_id_mark.max(*mark),
            Change::Routes(routes) => self.routes.clone_from(routes),
        }
        Ok(())
    }

    fn apply_tables(&mut self, change: &TablesChange) -> Result<(), Corruption> {
        let missing = Corruption("an edit changes tables of a tree that is not there");
        let tree = self.trees.get_mut(&change.tree).ok_or(missing)?;
        let removed =
            change.removed.iter().filter_map(|&id| tree.levels.table(id)).map(|(.., table)| &**table);
        let added = change.added.iter().map(|added| &*added.table);
        tree.blobs = tree.blobs.apply(&change.blobs, added, removed)?;
        tree.levels = tree.levels.apply(tree.order(), &change.removed, &change.added)?;
        tree.replay_point = tree.replay_point.max(change.replay_point.unwrap_or(Seqno::ZERO));
        tree.read_floor = tree.read_floor.max(change.read_floor.unwrap_or(Seqno::ZERO));
        Ok(())
    }

    /// Checks what no single edit shows: numbers lie below their marks (INV-MAN-4), a table is in one tree, and a file in a
    /// place that there is (INV-RTE-1).
    ///
    /// # Errors
    ///
    /// The manifest is damaged, or was never one.
    pub fn check(&self) -> Result<(), Corruption> {
        let (mut ids, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        let (mut bytes, mut entries) = (0, 0);
        for (id, tree) in &self.trees {
            if id.0 >= self.tree_id_mark {
                return Err(Corruption("a tree is numbered above the mark"));
            }
            for (.., table) in tree.levels.tables() {
                if table.id.0 >= self.file_id_mark {
                    return Err(Corruption("a table is numbered above the mark"));
                }
                if !ids.insert(table.id) {
                    return Err(Corruption("a table is in two trees"));
                }
                if !self.routes.has(table.place) {
                    return Err(Corruption("a table is in a place that no route names"));
                }
                bytes = u64::saturating_add(bytes, table.bytes);
                entries = u64::saturating_add(entries, table.entries);
            }
            for file in tree.blobs.files() {
                if file.id.0 >= self.file_id_mark {
                    return Err(Corruption("a file of separated values is numbered above the mark"));
                }
                if !blobs.insert(file.id) {
                    return Err(Corruption("a file of separated values is in two trees"));
                }
                if !self.routes.has(file.place) {
                    return Err(Corruption("a file of separated values is in a place that no route names"));
                }
                bytes = u64::saturating_add(bytes, file.bytes);
            }
        }
        if bytes >= MAX_TOTAL || entries >= MAX_TOTAL {
            return Err(Corruption("tables and separated values are larger than any disk"));
        }
        Ok(())
    }

    /// Names of the tables and files of separated values of all trees, relative to the root.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.trees.values().flat_map(|tree| {
            let tables = tree.levels.tables().map(|(.., table)| table.file_name());
            tables.chain(tree.blobs.files().map(BlobMeta::file_name))
        })
    }

    /// All places where files may lie.
    pub fn places(&self) -> impl Iterator<Item = PlaceId> {
        core::iter::once(PlaceId::MAIN).chain(self.routes.iter().map(|of| of.place))
    }

    /// Whether a file of a tree lies there.
    pub fn has_files_in(&self, place: PlaceId) -> bool {
        self.trees.values().any(|tree| {
            tree.levels.tables().any(|(.., table)| table.place == place)
                || tree.blobs.files().any(|file| file.place == place)
        })
    }

    /// The same of a store that has all files in its own directory.
    #[must_use]
    pub fn without_routes(mut self) -> Catalog {
        let here = |table: &Arc<TableMeta>| match table.place {
            PlaceId::MAIN => Arc::clone(table),
            _ => Arc::new(TableMeta { place: PlaceId::MAIN, ..TableMeta::clone(table) }),
        };
        for tree in self.trees.values_mut() {
            tree.levels = tree.levels.map(here);
            tree.blobs = tree.blobs.map(|file| BlobMeta { place: PlaceId::MAIN, ..*file });
        }
        Catalog { routes: Routes::default(), ..self }
    }

    /// The tree of this name.
    pub fn tree_named(&self, name: &str) -> Option<TreeId> {
        self.trees.iter().find(|(_, tree)| tree.name == name).map(|(id, _)| *id)
    }

    /// The changes that make this catalog out of an empty one.
    pub fn snapshot(&self) -> Vec<Change> {
        let mut changes =
            Vec::from([Change::FileIdMark(self.file_id_mark), Change::TreeIdMark(self.tree_id_mark)]);
        changes.push(applied_upto(self.applied_upto));
        if !self.routes.is_empty() {
            changes.push(Change::Routes(self.routes.clone()));
        }
        for (name, value) in &self.notes {
            changes.push(Change::Note(Note::new(name.clone(), value.clone())));
        }
        for (&id, tree) in &self.trees {
            let CatalogTree { name, options, created_at, levels, blobs, replay_point, read_floor } = tree;
            let (name, options) = (name.clone(), options.clone());
            changes.push(Change::CreateTree { id, name, options, at: *created_at });
            let added =
                levels.tables().map(|(level, age, table)| Added { level, age, table: Arc::clone(table) });
            changes.push(Change::Tables(TablesChange {
                tree: id,
                removed: Vec::new(),
                added: added.collect(),
                replay_point: Some(*replay_point),
                read_floor: Some(*read_floor),
                blobs: blobs.files().copied().collect(),
            }));
        }
        changes
    }
}

#[cfg(test)]
mod tests;
