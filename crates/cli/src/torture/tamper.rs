//! Damage that a run is asked to do to its own database, to show that it would be noticed.

use super::life::Life;
use crate::{args::Tamper, exit::Failure};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Bytes at the end of the log that are overwritten.
const LOG_END_BYTES: usize = 16 << 10;

/// Before a life: what the damage needs.
pub(super) fn prepare(tamper: Option<Tamper>, db: &Path) -> Result<(), Failure> {
    if tamper != Some(Tamper::OldCopy) || !db.exists() {
        return Ok(());
    }
    let copied = copy_dir(db, &old_copy(db));
    copied.map_err(|error| Failure::io("torture: copy the database", &error))
}

/// After a kill: does the damage, if there is something to damage.
pub(super) fn damage(tamper: Option<Tamper>, db: &Path, copies: &Path, life: &Life) -> Result<(), Failure> {
    let done = match tamper {
        None => Ok(()),
        Some(Tamper::LogEnd) => cut_log(db),
        Some(Tamper::OldCopy) => bring_back(db),
        Some(Tamper::TableBit) => flip_bit(db),
        Some(Tamper::CheckpointTable) => remove_table(copies, life),
    };
    done.map_err(|error| Failure::io("torture: damage the database", &error))
}

fn cut_log(db: &Path) -> io::Result<()> {
    let Some(log) = files(&db.join("wal"))?.pop() else { return Ok(()) };
    let mut bytes = fs::read(&log)?;
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let start = end.saturating_sub(LOG_END_BYTES).max(end.min(64)); // The segment's header stays.
    bytes[start..end].fill(0);
    fs::write(log, bytes)
}

fn bring_back(db: &Path) -> io::Result<()> {
    let old = old_copy(db);
    if old.exists() {
        fs::remove_dir_all(db)?;
        fs::rename(old, db)?;
    }
    Ok(())
}

fn flip_bit(db: &Path) -> io::Result<()> {
    let Some(table) = files(&db.join("tables"))?.into_iter().next() else { return Ok(()) };
    let mut bytes = fs::read(&table)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    // A new file: checkpoints may share the old one.
    fs::remove_file(&table)?;
    fs::write(table, bytes)
}

fn remove_table(copies: &Path, life: &Life) -> io::Result<()> {
    for made in life.checkpoints.iter().filter(|made| made.seqno.is_some()) {
        if let Some(table) = files(&copies.join(made.number.to_string()).join("tables"))?.pop() {
            fs::remove_file(table)?;
        }
    }
    Ok(())
}

fn old_copy(db: &Path) -> PathBuf {
    db.with_extension("old")
}

/// The files of a directory, by name; none if it is missing.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
