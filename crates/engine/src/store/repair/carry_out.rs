//! Carrying out a plan: the only part of a repair that writes.
//!
//! Reads top-down: [`Plan::carry_out`] is the story.

use super::{
    super::directory::{DIRECTORIES, IDENTITY, write_identity},
    super::open::uuid_source,
    LOST_DIR, Plan, RepairReport, Salvage, left_out, note_of,
    rebuild::with_number,
};
use crate::{
    codec::Corruption,
    dictionary,
    error::{Error, ErrorKind, Result},
    place::PlaceId,
    table::{self, TableIdentity},
    types::TableId,
    version::{Added, Catalog, Change, FileRegistry, Manifest, Note, TablesChange, check_names, new_uuid},
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use isopach_env::{CreateOptions, Fs, IoErrorKind, IoResult, OpenMode, SyncMode, SyncSite, WriteOrigin};

impl Plan {
    /// Does it, with these notes in the manifest beside those that are there. A plan of a dry run writes nothing.
    ///
    /// # Errors
    ///
    /// The backend's; `Corruption`: files contradict each other so that no manifest can name them. Unless the manifest was
    /// renamed, the store is what it was; a repair that is begun again finds what this one wrote.
    pub fn carry_out(mut self, notes: &[Note]) -> Result<RepairReport> {
        check_names(notes)?;
        self.report.is_unchanged = !self.has_changes && notes.is_empty();
        self.report.files.sort_by(|a, b| a.file.cmp(&b.file));
        if self.report.is_dry_run || self.report.is_unchanged {
            return Ok(self.report);
        }
        for directory in DIRECTORIES.into_iter().chain([LOST_DIR]) {
            create_directory(&*self.repair.env.fs, directory)?;
        }
        let first = self.repair.next_number()?.max(self.base.file_id_mark);
        let next = self.write_salvages(first)?;
        self.keep_copies()?;

        self.changes.extend(notes.iter().cloned().map(Change::Note));
        let mut catalog = core::mem::take(&mut self.base);
        let needed_before = needed(&catalog);
        catalog.apply(&self.changes).map_err(no_manifest)?;
        catalog.file_id_mark = next;
        let greatest = catalog.trees.keys().map(|id| id.0).max().unwrap_or(0).max(self.greatest_tree);
        catalog.tree_id_mark = catalog.tree_id_mark.max(greatest.saturating_add(1));
        // What only lost entries needed goes with them, and is not to be removed either.
        let unneeded = needed_before.difference(&needed(&catalog)).cloned().collect::<Vec<_>>();
        self.left_out
            .extend(unneeded.into_iter().filter(|name| !self.left_out.contains(name)).collect::<Vec<_>>());
        let mut left_out = left_out(&catalog.notes);
        left_out.extend(self.left_out.iter().cloned());
        catalog.apply(&[Change::Note(note_of(&left_out))]).map_err(no_manifest)?;
        catalog.check().map_err(no_manifest)?;

        let (fs, registry) =
            (Arc::clone(&self.repair.env.fs), FileRegistry::new(Arc::clone(&self.repair.env.fs)));
        let (number, draw) = (self.repair.survey.next_manifest()?, uuid_source(&self.repair.env));
        drop(Manifest::start(fs, registry, &self.repair.owner, draw, number, catalog)?); // The commit point.
        if self.repair.needs_identity {
            let file = new_uuid(&*self.repair.env.entropy)?;
            write_identity(&*self.repair.env.fs, file, self.repair.owner.database)?;
        }
        self.move_aside()?;
        Ok(self.report)
    }

    /// Writes what is left of damaged tables. Returns the least number that is free.
    fn write_salvages(&mut self, mut next: u64) -> Result<u64> {
        let fs = Arc::clone(&self.repair.env.fs);
        let owner = self.repair.owner.clone();
        for Salvage { tree, level, age, table } in core::mem::take(&mut self.salvages) {
            let id = TableId(next);
            next += 1;
            let uuid = new_uuid(&*self.repair.env.entropy)?;
            let identity = TableIdentity { id, uuid, database: owner.database, place: PlaceId::MAIN };
            let name = table::file_name(id);
            let written = table.remains(&fs, &owner)?.write_to(&fs, &name, identity, &owner.keys);
            let (meta, _) = written.inspect_err(|_| {
                let _ = fs.remove_file(&name); // Nothing names it: it is in nobody's way.
            })?;
            let missing = || Error::corrupt(table.name.as_str(), 0, "what was left of the table is gone");
            let meta = meta.ok_or_else(missing)?;
            let meta = with_number(meta, table.number)?;
            let of_it = self.report.files.iter_mut().find(|file| file.file == table.name);
            of_it.expect("it was judged").salvaged_as = Some(name);
            let of_tree = self.changes.iter_mut().find_map(|change| match change {
                Change::Tables(change) if change.tree == tree => Some(change),
                _ => None,
            });
            let added = Added { level, age, table: Arc::new(meta) };
            match of_tree {
                Some(change) => change.added.push(added),
                None => self
                    .changes
                    .push(Change::Tables(TablesChange { added: vec![added], ..TablesChange::of(tree) })),
            }
        }
        let synced = fs.sync_dir(table::TABLES_DIR, SyncSite("repair.tables"));
        synced.map_err(|error| Error::io(error, "sync", table::TABLES_DIR))?;
        Ok(next)
    }

    /// Opening removes manifests that are not the newest, and an identity that is damaged is replaced: copies stay.
    fn keep_copies(&self) -> Result<()> {
        let fs = &*self.repair.env.fs;
        let identity = self.repair.needs_identity.then(|| IDENTITY.to_string());
        let manifests = self.repair.manifests().filter(|_| self.report.manifest.is_some());
        let names: Vec<String> = manifests.chain(identity).chain(self.copies.iter().cloned()).collect();
        for name in names.iter().filter(|name| fs.exists(name) == Ok(true)) {
            keep(fs, name, copy).map_err(|error| Error::io(error, "keep a copy of", name.as_str()))?;
        }
        fs.sync_dir(LOST_DIR, SyncSite("repair.copies")).map_err(|error| Error::io(error, "sync", LOST_DIR))
    }

    /// Moves what was left out into a directory of its own. Its new name is durable before its old one goes; where a crash
    /// comes before that, the manifest knows that it was left out.
    fn move_aside(&mut self) -> Result<()> {
        let fs = &*self.repair.env.fs;
        let left_out = core::mem::take(&mut self.left_out);
        let names: Vec<String> = left_out.into_iter().filter(|name| fs.exists(name) == Ok(true)).collect();
        for name in &names {
            keep(fs, name, link).map_err(|error| Error::io(error, "move aside", name.as_str()))?;
        }
        fs.sync_dir(LOST_DIR, SyncSite("repair.moved"))
            .map_err(|error| Error::io(error, "sync", LOST_DIR))?;
        for name in &names {
            fs.remove_file(name).map_err(|error| Error::io(error, "move aside", name.as_str()))?;
        }
        Ok(())
    }
}

/// How a file gets another name.
type Keeping = fn(&dyn Fs, &str, &str) -> IoResult<()>;

/// Gives a file a name in the directory of what was left out: its own, with a number behind it if that is another file's.
fn keep(fs: &dyn Fs, name: &str, keeping: Keeping) -> IoResult<()> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let mut to = format!("{LOST_DIR}/{base}");
    let mut number = 0;
    while fs.exists(&to)? {
        if is_same(fs, name, &to)? {
            return Ok(()); // A repair before this one did it.
        }
        number += 1;
        to = format!("{LOST_DIR}/{base}.{number}");
    }
    keeping(fs, name, &to)
}

/// Whether two files hold the same.
fn is_same(fs: &dyn Fs, a: &str, b: &str) -> IoResult<bool> {
    let (a, b) = (fs.open(a, OpenMode::Read)?, fs.open(b, OpenMode::Read)?);
    let bytes = a.size_bytes()?;
    if b.size_bytes()? != bytes {
        return Ok(false);
    }
    for at in (0..bytes).step_by(STEP_BYTES) {
        let (mut of_a, mut of_b) = (step_of(bytes - at), step_of(bytes - at));
        a.read_exact_at(at, &mut of_a)?;
        b.read_exact_at(at, &mut of_b)?;
        if of_a != of_b {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Bytes that are copied at a time.
const STEP_BYTES: usize = 1 << 20;

fn step_of(left: u64) -> Vec<u8> {
    vec![0; usize::try_from(left).unwrap_or(STEP_BYTES).min(STEP_BYTES)]
}

/// Gives a file that never changes a second name; where that cannot be, copies it.
fn link(fs: &dyn Fs, from: &str, to: &str) -> IoResult<()> {
    match fs.link_to(from, fs, to) {
        Err(error) if matches!(error.kind(), IoErrorKind::Unsupported | IoErrorKind::CrossDevice) => {
            copy(fs, from, to)
        }
        linked => linked,
    }
}

/// Copies a file, durable but for its name.
fn copy(fs: &dyn Fs, from: &str, to: &str) -> IoResult<()> {
    let copy = fs.create(to, &CreateOptions::new(WriteOrigin::Metadata))?;
    let original = fs.open(from, OpenMode::Read)?;
    let bytes = original.size_bytes()?;
    for at in (0..bytes).step_by(STEP_BYTES) {
        let mut step = step_of(bytes - at);
        original.read_exact_at(at, &mut step)?;
        copy.write_at(at, &step)?;
    }
    copy.sync(SyncMode::Durable, SyncSite("repair.copy"))
}

fn no_manifest(why: Corruption) -> Error {
    Error::new(ErrorKind::Corruption, format!("no manifest can name what is there: {}", why.0))
}

/// Names of all files that a catalog needs.
fn needed(catalog: &Catalog) -> BTreeSet<String> {
    let tables = catalog.trees.values().flat_map(|tree| tree.levels.tables()).map(|(.., table)| table);
    let dictionaries = tables.filter_map(|table| Some(dictionary::file_name(table.dictionary?.id)));
    catalog.files().chain(dictionaries).collect()
}

fn create_directory(fs: &dyn Fs, name: &'static str) -> Result<()> {
    match fs.create_dir(name) {
        Err(error) if error.kind() != IoErrorKind::AlreadyExists => {
            Err(Error::io(error, "create the directory", name))
        }
        _ => Ok(()),
    }
}
