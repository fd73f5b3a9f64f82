//! Whether what is left of a database whose log was cut below its durable end is a state that it once was in.
//! Decides, changes nothing.

use isopach_engine::{
    error::{Error, ErrorKind, Result},
    store::Store,
    types::Seqno,
};

/// Checks that tables and the log up to `cut` are together one prefix of the order of commits.
///
/// Let `ahead` be the greatest number that tables, or edits of keyspaces, hold. If it is not above `cut`, the
/// prefix ends at `cut`. If it is, the log is no help with what lies between; but if each tree has everything
/// up to `ahead` in its tables, the prefix ends there.
///
/// # Errors
///
/// `Corruption` where the log is damaged: some trees hold operations from behind the cut that others may
/// lack.
pub(super) fn check_prefix(store: &Store, cut: Seqno, damage: &Error) -> Result<()> {
    let points: Vec<(String, Option<Seqno>)> = store
        .trees()
        .into_iter()
        .map(|info| (info.name, store.tree_by_id(info.id).ok().map(|tree| tree.replay_point())))
        .collect();
    let flushed = points.iter().filter_map(|(_, point)| *point).max().unwrap_or(Seqno::ZERO);
    let ahead = flushed.max(store.applied_upto());
    // Of a tree that cannot be opened nothing is known.
    let behind: Vec<&str> = points
        .iter()
        .filter(|(_, point)| point.is_none_or(|point| point < ahead))
        .map(|(name, _)| name.as_str())
        .collect();
    if ahead <= cut || behind.is_empty() {
        return Ok(());
    }
    let why = format!(
        "the log can be read up to seqno {cut} only, but tables hold what was committed up to {ahead}, of which \
         {behind:?} may lack a part: what is left is no prefix of the commits; restore a copy ({damage})"
    );
    let mut error = Error::new(ErrorKind::Corruption, why);
    if let Some(file) = damage.file() {
        error = error.in_file(file);
    }
    Err(damage.offset().into_iter().fold(error, Error::at))
}
