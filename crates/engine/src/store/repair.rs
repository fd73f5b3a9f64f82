//! Repair: a store that does not open is made to open again, by what its files say of themselves.
//!
//! Reads top-down: [`Repair::begin`] locks the directory and says what is wrong with it; [`Repair::plan`] decides, and
//! writes nothing; [`Plan::carry_out`] writes. What lies in the log is the caller's to read, between the first two.
//!
//! A **manifest** that is missing or damaged is rebuilt. Which tables are the store is [`choose`]'s to say, where they go
//! [`place`]'s. A manifest that is sound stays what says so; then only damaged tables are looked after.
//!
//! Nothing is removed. The new manifest names what was left out, so that no opening takes it for an orphan (INV-REP-1), and
//! then that is moved into the directory `lost`. The rename of the manifest is the commit point: before it the store is
//! what it was, but for new files that nothing names (INV-REP-2).

mod carry_out;
mod choose;
mod examine;
mod place;
mod rebuild;
mod report;
mod scan;
mod tend;

pub use report::{Fate, RepairOptions, RepairReport, RepairedFile, RepairedTree};

use super::{
    StoreOptions,
    directory::{IDENTITY, Survey, read_identity},
    open::take_lock,
    orphans::number_of,
};
use crate::{
    blob,
    codec::Owner,
    dictionary,
    error::{Error, ErrorKind, Result},
    table,
    tree::KnownCode,
    types::{Level, Seqno, TreeId, Uuid},
    version::{Catalog, Change, MANIFEST_PREFIX, Note, RunAge, manifest_name, replay},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use examine::{Readable, header_of};
use isopach_env::{Env, FileLock, IoErrorKind, LockMode};

/// Directory that files are moved into which a repair leaves out.
pub const LOST_DIR: &str = "lost";

/// Name of the note that says which files a repair left out: a name a line.
const LEFT_OUT_NOTE: &str = "isopach.left_out";

/// A store that is being repaired. Its directory stays locked.
pub struct Repair {
    env: Env,
    owner: Owner,
    code: KnownCode,
    how: RepairOptions,
    survey: Survey,
    manifest: Found,
    needs_identity: bool,
    lock: Option<Box<dyn FileLock>>,
}

/// What a repair found of the manifest.
enum Found {
    Sound(Box<Catalog>),
    /// Missing, damaged or too old, and how.
    Lost(String),
}

/// What the log tells of trees. All of it is optional: a log may be gone.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LogTold {
    /// Changes of trees, in the order of their numbers.
    pub changes: Vec<(Seqno, TreeChange)>,
    /// Trees that operations are for.
    pub trees: BTreeSet<TreeId>,
}

/// A change of trees that a log tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TreeChange {
    /// A tree was created.
    Created {
        /// Its id.
        id: TreeId,
        /// Its name.
        name: String,
        /// Its options, encoded.
        options: Vec<u8>,
    },
    /// A tree was dropped.
    Dropped(TreeId),
    /// Everything in a tree was deleted.
    Cleared(TreeId),
    /// Tables of bulk loads were shown, all with this number.
    Loaded(Vec<Uuid>),
}

/// Calls its argument for every operation of the log: tree, number and key.
pub type EachOperation<'a> = &'a mut dyn FnMut(&mut dyn FnMut(TreeId, Seqno, &[u8])) -> Result<()>;

/// What a repair will do.
pub struct Plan {
    repair: Repair,
    report: RepairReport,
    /// What the manifest says, and what is to be changed of that.
    base: Catalog,
    changes: Vec<Change>,
    /// Whether a new manifest is to be written.
    has_changes: bool,
    /// Tables to be written out of what is left of damaged ones.
    salvages: Vec<Salvage>,
    /// Files to be left out, relative to the root.
    left_out: Vec<String>,
    /// Files of which copies are kept aside, for opening changes or removes them.
    copies: Vec<String>,
    greatest: Seqno,
    greatest_tree: u32,
}

/// A damaged table that is to be replaced by what is left of it.
struct Salvage {
    tree: TreeId,
    level: Level,
    age: RunAge,
    table: Readable,
}

impl Repair {
    /// Locks a directory and says what is wrong with it. Writes nothing but a missing `LOCK`; for a dry run not even that.
    ///
    /// # Errors
    ///
    /// `NotFound`: there is no store; `Locked`; `Corruption` of an interrupted copy, or if IDENTITY is lost and files are of
    /// several stores, or of none; `MissingKey` and `WrongKey`; `UnsupportedFormat`; the backend's.
    pub fn begin(env: Env, options: &StoreOptions, how: RepairOptions) -> Result<Repair> {
        options.code.validate()?;
        let survey = Survey::of(&*env.fs)?;
        survey.check_for_repair()?;
        let mode = if how.dry_run { LockMode::Shared } else { LockMode::Exclusive };
        let lock = take_lock(&*env.fs, mode)?;
        let survey_now = Survey::of(&*env.fs)?; // Again, now that nobody else can change it.
        survey_now.check_for_repair()?;
        let identity = if survey.has_identity() { read_identity(&*env.fs) } else { Err(no_identity()) };
        let (database, needs_identity) = match identity {
            Ok(database) => (database, false),
            Err(error) if is_damage(&error) => (uuid_of_files(&env)?, true),
            // Of another program perhaps, which has files of that name too.
            Err(error) if error.kind() == ErrorKind::UnsupportedFormat => {
                (uuid_of_files(&env).map_err(|_| error)?, true)
            }
            Err(error) => return Err(error),
        };
        let owner = Owner { database, keys: options.keys.clone() };
        let manifest = read_manifest(&env, &survey_now, &owner)?;
        let code = options.code.clone();
        Ok(Repair { env, owner, code, how, survey: survey_now, manifest, needs_identity, lock })
    }

    /// Files, clock, random source.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Whose the files are.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The notes of a manifest that is sound; `None`: it is to be rebuilt.
    pub fn notes(&self) -> Option<&BTreeMap<String, Vec<u8>>> {
        match &self.manifest {
            Found::Sound(catalog) => Some(&catalog.notes),
            Found::Lost(_) => None,
        }
    }

    /// Decides what is to be done. Reads every table in whole, those of a rebuilt manifest three times; writes nothing.
    ///
    /// # Errors
    ///
    /// `MissingKey`, `WrongKey`, `MissingComparator`: what a table needs to be read; the backend's.
    pub fn plan(self, told: &LogTold, operations: EachOperation<'_>) -> Result<Plan> {
        match &self.manifest {
            Found::Sound(catalog) => {
                let catalog = (**catalog).clone();
                tend::plan(self, catalog)
            }
            Found::Lost(why) => {
                let why = why.clone();
                rebuild::plan(self, why, told, operations)
            }
        }
    }

    /// Names of the files of a directory, relative to the root, in order. None of a directory that is missing.
    fn files_in(&self, directory: &str) -> Result<Vec<String>> {
        files_in(&self.env, directory)
    }

    /// The least number above those of all tables and files of separated values that are there, or were left out.
    fn next_number(&self) -> Result<u64> {
        let mut greatest = 0;
        for directory in [table::TABLES_DIR, blob::BLOBS_DIR, LOST_DIR] {
            for name in self.files_in(directory)? {
                let base = name.rsplit('/').next().unwrap_or_default();
                let names = [table::TABLES_DIR, blob::BLOBS_DIR].map(|inside| format!("{inside}/{base}"));
                greatest = names.iter().filter_map(|name| number_of(name)).fold(greatest, u64::max);
            }
        }
        greatest
            .checked_add(1)
            .ok_or_else(|| Error::new(ErrorKind::UnsupportedFeature, "the numbers of files are used up"))
    }

    /// The manifests that are there.
    fn manifests(&self) -> impl Iterator<Item = String> + '_ {
        self.survey.manifests.iter().map(|&number| manifest_name(number))
    }
}

fn files_in(env: &Env, directory: &str) -> Result<Vec<String>> {
    let listed = match env.fs.list(directory) {
        Err(error) if error.kind() == IoErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| Error::io(error, "list", directory))?,
    };
    let files = listed.into_iter().filter(|entry| !entry.is_dir);
    let mut names: Vec<String> = files.map(|entry| format!("{directory}/{}", entry.name)).collect();
    names.sort_unstable();
    Ok(names)
}

fn no_identity() -> Error {
    Error::corrupt(IDENTITY, 0, "the file is missing")
}

fn is_damage(error: &Error) -> bool {
    error.kind() == ErrorKind::Corruption
}

/// What the manifest says, if it is one of these files.
fn read_manifest(env: &Env, survey: &Survey, owner: &Owner) -> Result<Found> {
    let Some(&number) = survey.manifests.last() else {
        return Ok(Found::Lost(format!("there is no file {MANIFEST_PREFIX}*")));
    };
    let catalog = match replay(&*env.fs, number, owner) {
        Ok(replayed) => replayed.catalog,
        Err(error) if is_damage(&error) || error.kind() == ErrorKind::MixedStore => {
            return Ok(Found::Lost(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    for directory in [table::TABLES_DIR, blob::BLOBS_DIR] {
        for name in files_in(env, directory)? {
            if number_of(&name).is_some_and(|number| number >= catalog.file_id_mark) {
                return Ok(Found::Lost(format!(
                    "{} is older than the directory: {name} is numbered above all that it knows",
                    manifest_name(number)
                )));
            }
        }
    }
    Ok(Found::Sound(Box::new(catalog)))
}

/// The store that all files belong to.
fn uuid_of_files(env: &Env) -> Result<Uuid> {
    let mut seen: BTreeMap<Uuid, String> = BTreeMap::new();
    let root = env.fs.list("").map_err(|error| Error::io(error, "list", "."))?;
    let manifests = root.into_iter().map(|entry| entry.name).filter(|name| name.starts_with(MANIFEST_PREFIX));
    let mut names: Vec<String> = manifests.collect();
    for directory in [table::TABLES_DIR, blob::BLOBS_DIR, dictionary::DICTIONARIES_DIR, "wal"] {
        names.extend(files_in(env, directory)?);
    }
    for name in names {
        if let Ok((header, _)) = header_of(&*env.fs, &name) {
            seen.entry(header.database).or_insert(name);
        }
    }
    match (seen.pop_first(), seen.pop_first()) {
        (Some((database, _)), None) => Ok(database),
        (None, _) => {
            let why =
                "the file is lost, and no other file says which database this is; restore it from a copy";
            Err(Error::corrupt(IDENTITY, 0, why))
        }
        (Some((a, of_a)), Some((b, of_b))) => {
            let why = format!(
                "the file is lost, and files are of several databases: {of_a} of {a}, {of_b} of {b}; take out what does \
                 not belong here"
            );
            Err(Error::corrupt(IDENTITY, 0, why))
        }
    }
}

/// Files that a repair left out, by the note of a manifest.
pub(super) fn left_out(notes: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let note = notes.get(LEFT_OUT_NOTE).map(|note| String::from_utf8_lossy(note)).unwrap_or_default();
    note.lines().map(String::from).collect()
}

impl Plan {
    /// A plan to do nothing but what a missing identity needs.
    fn new(repair: Repair, manifest: Option<String>, base: Catalog) -> Plan {
        let report = RepairReport {
            is_dry_run: repair.how.dry_run,
            has_new_identity: repair.needs_identity,
            manifest,
            ..RepairReport::default()
        };
        Plan {
            has_changes: repair.needs_identity,
            repair,
            report,
            base,
            changes: Vec::new(),
            salvages: Vec::new(),
            left_out: Vec::new(),
            copies: Vec::new(),
            greatest: Seqno::ZERO,
            greatest_tree: 0,
        }
    }

    /// What will be done.
    pub fn report(&self) -> &RepairReport {
        &self.report
    }

    /// A number that none exceeds that was found in tables, or that changes of trees have.
    pub fn greatest_seqno(&self) -> Seqno {
        self.greatest
    }

    /// The store that is being repaired.
    pub fn repair(&self) -> &Repair {
        &self.repair
    }

    /// Has a copy kept aside of a file of the caller's, which opening will change or remove.
    pub fn keep_copy(&mut self, file: impl Into<String>) {
        self.copies.push(file.into());
    }

    /// Adds to what whoever repairs should know.
    pub fn warn(&mut self, warning: impl ToString) {
        self.report.warnings.push(warning.to_string());
    }

    fn warn_of_lost_ranges(&mut self, table: &str) {
        self.warn(format!(
            "{table}: range deletes are lost with a part of the table: KEYS THAT THEY DELETED MAY COME BACK"
        ));
    }
}

fn note_of(left_out: &BTreeSet<String>) -> Note {
    let lines: Vec<&str> = left_out.iter().map(String::as_str).collect();
    Note::new(LEFT_OUT_NOTE, lines.join("\n"))
}

/// The keys are needed as long as the store is.
impl core::fmt::Debug for Repair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Repair { owner: Owner { database, keys: _ }, how, needs_identity, lock, .. } = self;
        f.debug_struct("Repair")
            .field("database", database)
            .field("how", how)
            .field("needs_identity", needs_identity)
            .field("is_locked", &lock.is_some())
            .finish_non_exhaustive()
    }
}
