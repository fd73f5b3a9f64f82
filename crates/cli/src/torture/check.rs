//! What is in a database or checkpoint after a kill, and whether that is what must be there.
//!
//! Reading writes nothing: the child that comes next recovers what the kill left.

use super::{
    life::Life,
    model::{Difference, Holding, Lost, Model},
    operations::{self, Change, Operation, Place, Space, number_of, operation, split_key},
};
use crate::{
    database,
    exit::{self, Doing, Failure},
    text,
};
use isopach::{ReadDb, VerifyDepth};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

/// What is wrong, a sentence each.
pub(super) type Losses = Vec<String>;

/// What is in a database.
pub(super) struct Found {
    pub(super) holdings: Vec<Holding>,
    pub(super) seqno: u64,
}

/// What was found to be right after a life.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Operations that were in the database though they were not acknowledged.
    pub(super) more: u64,
    /// Entries that were compared.
    pub(super) entries: u64,
    /// Checkpoints that were opened and compared.
    pub(super) checkpoints: u64,
    /// Unfinished ones that were refused, or not there.
    pub(super) half_made: u64,
    /// A checkpoint of this life, whole.
    pub(super) kept: Option<Kept>,
}

/// A checkpoint that outlives its life: what happens to its source must not show in it.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    digest: u64,
}

/// Checks the database `db` and the checkpoints in `copies` after a life, and moves the model on to what is
/// there. Checkpoints come first: what is done to them must not show in the database.
pub(super) fn check(
    seed: u64,
    db: &Path,
    copies: &Path,
    life: &Life,
    model: &mut Model,
) -> Result<Checked, Losses> {
    let from = model.counts();
    let acknowledged = life.acknowledged(&from);
    let mut checked = Checked::default();
    check_copies(seed, copies, life, &from, model, &mut checked)?;

    let nothing_yet = acknowledged.iter().all(|&count| count == 0);
    let found = match read(seed, db, acknowledged.len()) {
        Ok(found) => found,
        // A kill may come before there is a database.
        Err(ReadError::NotThere(_)) if nothing_yet => {
            Found { holdings: vec![Holding::default(); acknowledged.len()], seqno: 0 }
        }
        Err(error) => return Err(vec![format!("the database cannot be read: {}", error.message())]),
    };
    let settled = model.settle(&acknowledged, &found.holdings);
    checked.more = settled.map_err(|lost| describe(seed, "the database", &lost))?;
    checked.entries += entries_of(&found);
    if found.seqno > 0 {
        verify(db)?;
    }
    Ok(checked)
}

fn entries_of(found: &Found) -> u64 {
    found.holdings.iter().map(|holding| holding.entries.len() as u64).sum()
}

/// Checks every checkpoint of a life, in the order of what they hold.
fn check_copies(
    seed: u64,
    copies: &Path,
    life: &Life,
    from: &[u64],
    model: &mut Model,
    checked: &mut Checked,
) -> Result<(), Losses> {
    let mut whole = Vec::new();
    for made in &life.checkpoints {
        let path = copies.join(made.number.to_string());
        let which = format!("checkpoint {}", path.display());
        match (read(seed, &path, from.len()), made.seqno) {
            (Ok(found), Some(seqno)) if found.seqno != seqno => {
                return Err(vec![format!("{which} is at {}, not {seqno} as was said", found.seqno)]);
            }
            (Ok(found), _) => whole.push((found, path, made)),
            (Err(ReadError::NotThere(_) | ReadError::Half(_)), None) => checked.half_made += 1,
            (Err(error), finished) => {
                let state = if finished.is_some() { "was finished" } else { "was not finished" };
                return Err(vec![format!("{which} {state} and cannot be read: {}", error.message())]);
            }
        }
    }
    whole.sort_by_key(|(found, ..)| found.seqno);
    for (found, path, made) in whole {
        let which = format!("checkpoint {}", path.display());
        let up_to = life.up_to(found.seqno, from);
        let early =
            from.iter().zip(&up_to).zip(&made.before).position(|((from, up_to), b)| up_to - from < *b);
        if let Some(writer) = early {
            let what = "lacks commits of writer";
            return Err(vec![format!("{which} {what} {writer} that were acknowledged before it began")]);
        }
        model.settle(&up_to, &found.holdings).map_err(|lost| describe(seed, &which, &lost))?;
        none_above(seed, life, from, &model.counts(), found.seqno, &which)?;
        verify(&path)?;
        checked.entries += entries_of(&found);
        checked.checkpoints += 1;
        checked.kept = Some(Kept { digest: digest(&found.holdings), path });
    }
    Ok(())
}

/// Of each writer the first `counts` operations are in: none that is known to have a commit number above
/// `seqno`.
fn none_above(
    seed: u64,
    life: &Life,
    from: &[u64],
    counts: &[u64],
    seqno: u64,
    which: &str,
) -> Result<(), Losses> {
    for (writer, (&from, &count)) in from.iter().zip(counts).enumerate() {
        let Some(number) = count.checked_sub(1).filter(|number| *number >= from) else { continue };
        let at = life.seqnos[writer].get((number - from) as usize);
        let is_exact = matches!(operation(seed, writer, number), Operation::Write { .. });
        if let Some(&at) = at.filter(|at| is_exact && **at > seqno) {
            let name = name_of(seed, writer, number);
            return Err(vec![format!("{which} is at {seqno}, but holds {name} of writer {writer}, at {at}")]);
        }
    }
    Ok(())
}

impl Kept {
    /// Moves it out of the way of the next life.
    pub(super) fn move_to(self, path: PathBuf) -> std::io::Result<Kept> {
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::rename(&self.path, &path)?;
        Ok(Kept { path, ..self })
    }

    /// Checks that it still holds what it did, opens it for writing, writes to it and checks it again.
    pub(super) fn check(&self, seed: u64, writers: usize) -> Result<(), Losses> {
        let which = format!("checkpoint {}", self.path.display());
        let unreadable = |error: &dyn std::fmt::Display| vec![format!("{which}, a life later: {error}")];
        for is_written_to in [false, true] {
            if is_written_to {
                write_to(&self.path).map_err(|failure| unreadable(&message(&failure)))?;
            }
            let found = read(seed, &self.path, writers).map_err(|error| unreadable(&error.message()))?;
            if digest(&found.holdings) != self.digest {
                return Err(vec![format!("{which} does not hold any more what it did a life ago")]);
            }
            verify(&self.path)?;
        }
        Ok(())
    }
}

/// Opens a checkpoint for writing, and makes it write tables and free its log.
fn write_to(path: &Path) -> Result<(), Failure> {
    let db = database::write(path, database::Missing::Refuse)?;
    let notes = database::keyspace_to_write(&db, NOTES, database::Missing::Create)?;
    notes.insert("opened", "for writing").doing("write to a checkpoint")?;
    db.flush().doing("flush a checkpoint")?;
    database::close(db)
}

/// A keyspace of checkpoints that were written to.
const NOTES: &str = "notes";

fn digest(holdings: &[Holding]) -> u64 {
    let mut hasher = DefaultHasher::new();
    holdings.hash(&mut hasher);
    hasher.finish()
}

fn verify(path: &Path) -> Result<(), Losses> {
    let failed = |failure| vec![format!("{} cannot be verified: {}", path.display(), message(&failure))];
    let facts = database::verify(path, VerifyDepth::Full).map_err(failed)?;
    let finding = |found: &database::Finding| {
        format!("{} is damaged: {} at byte {:?}: {}", path.display(), found.file, found.offset, found.message)
    };
    if facts.findings.is_empty() { Ok(()) } else { Err(facts.findings.iter().map(finding).collect()) }
}

// ----- reading -----

/// Why a database could not be read.
enum ReadError {
    /// There is none: the directory is missing or holds nothing yet.
    NotThere(String),
    /// A copy that was interrupted, and is refused as that.
    Half(String),
    Other(String),
}

impl ReadError {
    fn message(&self) -> &str {
        let (ReadError::NotThere(message) | ReadError::Half(message) | ReadError::Other(message)) = self;
        message
    }
}

impl ReadError {
    /// Why the database at `path` did not open. A copy that was interrupted is known by its files.
    fn of_open(failure: Failure, path: &Path) -> ReadError {
        let message = message(&failure);
        let is_half = path.join("PARTIAL").exists() && !path.join("IDENTITY").exists();
        match failure {
            Failure::Report { code: exit::NOT_FOUND, .. } => ReadError::NotThere(message),
            Failure::Report { code: exit::CORRUPTION, .. } if is_half => ReadError::Half(message),
            _ => ReadError::Other(message),
        }
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> ReadError {
        ReadError::Other(message(&failure))
    }
}

fn message(failure: &Failure) -> String {
    match failure {
        Failure::Report { message, .. } => message.clone(),
        Failure::ReaderGone => "nobody reads the output".to_owned(),
    }
}

/// Reads everything, and tells of every value which operation put it.
fn read(seed: u64, path: &Path, writers: usize) -> Result<Found, ReadError> {
    let db = database::read(path).map_err(|failure| ReadError::of_open(failure, path))?;
    let mut holdings = vec![Holding::default(); writers];
    for (name, _) in db.keyspaces() {
        if name == NOTES {
            continue;
        }
        let unknown = || ReadError::Other(format!("there is a keyspace {name:?}, which nobody made"));
        let (space, owner) = Space::of_name(&name).ok_or_else(unknown)?;
        if let Some(owner) = owner {
            holdings.get_mut(owner).ok_or_else(unknown)?.has_own = true;
        }
        read_keyspace(seed, &db, &name, space, &mut holdings)?;
    }
    Ok(Found { holdings, seqno: db.seqno().raw() })
}

fn read_keyspace(
    seed: u64,
    db: &ReadDb,
    name: &str,
    space: Space,
    holdings: &mut [Holding],
) -> Result<(), ReadError> {
    for entry in database::keyspace_to_read(db, name)?.iter() {
        let (key, value) = entry.map_err(|error| ReadError::Other(error.to_string()))?;
        let invented = || {
            let (key, value) = (text::plain(&key), text::hex(&value[..value.len().min(16)]));
            ReadError::Other(format!("keyspace {name} holds {key} = 0x{value}.., which nobody wrote"))
        };
        let (writer, number) = split_key(&key).ok_or_else(invented)?;
        let place = Place { space, key: number };
        let holding = holdings.get_mut(writer).ok_or_else(invented)?;
        let number = number_of(seed, writer, place, &value).ok_or_else(invented)?;
        holding.entries.insert(place, number);
    }
    Ok(())
}

// ----- saying what is lost -----

fn describe(seed: u64, which: &str, lost: &[Lost]) -> Losses {
    lost.iter().map(|lost| describe_one(seed, which, lost)).collect()
}

fn describe_one(seed: u64, which: &str, lost: &Lost) -> String {
    let &Lost { writer, acknowledged, difference } = lost;
    let after = format!("{which}: after {acknowledged} acknowledged operations of writer {writer}");
    match difference {
        Difference::OwnKeyspace { expected } => {
            let (must, is) =
                if expected { ("must be there", "is not") } else { ("must be gone", "is there") };
            format!("{after}, keyspace {} {must}, and {is}", Space::Own.name(writer))
        }
        Difference::Value { place, expected, found } => {
            let value = |number: Option<u64>| match number {
                None => "no value".to_owned(),
                Some(number) => format!("the value of {}", name_of(seed, writer, number)),
            };
            let key = text::hex(&operations::key(writer, place.key));
            let (keyspace, expected, found) = (place.space.name(writer), value(expected), value(found));
            format!("{after}, key 0x{key} of keyspace {keyspace} must have {expected}, and has {found}")
        }
    }
}

fn name_of(seed: u64, writer: usize, number: u64) -> String {
    match operation(seed, writer, number) {
        Operation::Write { changes, is_synced } => {
            let how = if is_synced { "Sync" } else { "Buffered" };
            let puts = changes.iter().filter(|change| matches!(change, Change::Put(_))).count();
            let removes = changes.len() - puts;
            format!("operation {number} ({how}, {puts} puts and {removes} removes)")
        }
        Operation::Make | Operation::Drop => format!("operation {number}"),
    }
}
