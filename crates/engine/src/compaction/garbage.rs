//! Which files of separated values are to be left behind, and whose tables to rewrite for that; which tables to rewrite
//! because they are sealed under an earlier key, or had to be corrected. Pure.

use super::{
    plan::Plan,
    shape::{TableShape, TreeShape},
};
use crate::{
    blob::BlobMeta,
    codec::Seal,
    types::{BlobId, Level},
    version::{BlobAccount, HealedFile},
};
use alloc::{collections::BTreeSet, vec::Vec};
use core::borrow::Borrow;

/// The files that are to be left behind: once more than `percent` of all separated bytes of a tree are stale, those of
/// which most is stale, so few that no more than that is stale without them. Copying their live records gives back
/// most space for the least writing (Rosenblum and Ousterhout, The Design and Implementation of a Log-Structured File
/// System, 1992, 3.5, without the age of files: what is copied here is not written again because it is old).
///
/// Records of such files are moved whenever their table is rewritten, and only a few files are such at a time, so that a
/// file that was begun to be left is among them until it is empty.
pub fn garbage_files<'a, F: Borrow<BlobMeta> + 'a>(
    files: impl Iterator<Item = &'a BlobAccount<F>>,
    percent: u8,
) -> Vec<BlobId> {
    struct File {
        id: BlobId,
        bytes: u64,
        stale: u64,
    }
    let file = |of: &BlobAccount<F>| {
        let meta: &BlobMeta = of.file.borrow();
        File { id: meta.id, bytes: meta.record_bytes(), stale: of.stale_bytes() }
    };
    let mut files: Vec<File> = files.map(file).collect();
    let (mut bytes, mut stale) = (0_u64, 0_u64);
    for file in &files {
        (bytes, stale) = (bytes + file.bytes, stale + file.stale);
    }
    let permille = |file: &File| u64::try_from(u128::from(file.stale) * 1000 / u128::from(file.bytes.max(1)));
    // Of two alike the older one, so that the choice stays the same while it is carried out.
    files.sort_by_key(|file| (core::cmp::Reverse(permille(file).unwrap_or(u64::MAX)), file.id));
    let is_too_much =
        |bytes: u64, stale: u64| u128::from(stale) * 100 > u128::from(bytes) * u128::from(percent);
    let mut left = Vec::new();
    for file in files {
        if file.stale == 0 || !is_too_much(bytes, stale) {
            break;
        }
        // Its live records are written again elsewhere.
        (bytes, stale) = (bytes - file.stale, stale - file.stale);
        left.push(file.id);
    }
    left
}

/// A plan to rewrite a table that points into files that are to be left behind: the one that frees most. Below level 0
/// one table where it is; within level 0 the run that it is of. `None` if there is none that is not busy.
pub fn leave_garbage(tree: &TreeShape<'_>, left: &[BlobId]) -> Option<Plan> {
    rewrite_most(tree, |table| {
        table.blobs().iter().filter(|of| left.contains(&of.file)).map(|of| of.bytes).sum::<u64>()
    })
}

/// A plan to rewrite a table that is sealed in another way than new files are, the largest first; as [`leave_garbage`].
pub fn reseal(tree: &TreeShape<'_>, seal: Option<Seal>) -> Option<Plan> {
    rewrite_most(tree, |table| if table.meta().seal == seal { 0 } else { table.bytes() })
}

/// A plan to rewrite a table that reads had to correct, the largest first; as [`leave_garbage`].
pub fn heal(tree: &TreeShape<'_>, hinted: &BTreeSet<HealedFile>) -> Option<Plan> {
    rewrite_most(tree, |table| if hinted.contains(&table.id().0) { table.bytes() } else { 0 })
}

/// A plan to rewrite the table of which that is worth most, where it is; `None` if it is worth nothing.
fn rewrite_most(tree: &TreeShape<'_>, freed: impl Fn(&TableShape<'_>) -> u64) -> Option<Plan> {
    let runs = tree.runs_by_age();
    let candidates = runs.flat_map(|(level, _, run)| {
        let tables = run.tables();
        let plans: Vec<(u64, Plan)> = if level == Level(0) {
            let is_free = tables.iter().all(|table| !table.is_busy());
            let ids = tables.iter().map(TableShape::id).collect();
            let freed = tables.iter().map(&freed).sum();
            is_free.then(|| (freed, Plan::merge(ids, level))).into_iter().collect()
        } else {
            let free = tables.iter().filter(|table| {
                !table.is_busy() && !tree.is_pending(level, table.first_key(), table.last_key())
            });
            free.map(|table| (freed(table), Plan::merge(Vec::from([table.id()]), level))).collect()
        };
        plans
    });
    // Of level 0 last: it is compacted soon anyway.
    candidates
        .filter(|(freed, _)| *freed > 0)
        .max_by_key(|(freed, plan)| (plan.to > Level(0), *freed))
        .map(|(_, plan)| plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::{HEADER_BYTES, Parity},
        place::PlaceId,
        types::Uuid,
    };

    /// A file of `bytes`, of which so many are alive.
    fn file(id: u64, bytes: u64, live_bytes: u64) -> BlobAccount<BlobMeta> {
        let bytes = HEADER_BYTES as u64 + bytes;
        let file = BlobMeta {
            id: BlobId(id),
            uuid: Uuid([1; 16]),
            bytes,
            records: 100,
            place: PlaceId::MAIN,
            seal: None,
            parity: Parity::None,
        };
        BlobAccount { file, live_records: 1, live_bytes }
    }

    fn left(files: &[BlobAccount<BlobMeta>], percent: u8) -> Vec<u64> {
        garbage_files(files.iter(), percent).iter().map(|id| id.0).collect()
    }

    #[test]
    fn the_stalest_files_are_left_until_little_enough_is_stale() {
        let files = [file(1, 100, 90), file(2, 100, 20), file(3, 100, 50), file(4, 100, 100)];

        assert_eq!(left(&files, 35), [0; 0], "140 of 400 are not more than 35 %");
        assert_eq!(left(&files, 34), [2], "60 of 320 are stale then");
        assert_eq!(left(&files, 15), [2, 3]);
        assert_eq!(left(&files, 0), [2, 3, 1], "and never one that is alive whole");
        assert_eq!(left(&files, 100), [0; 0]);
        assert_eq!(left(&[], 0), [0; 0]);
    }

    #[test]
    fn a_file_that_is_being_left_stays_chosen_until_it_is_empty() {
        let mut files = [file(1, 100, 40), file(2, 100, 40), file(3, 100, 100)];
        assert_eq!(left(&files, 30), [1]);

        while files[0].live_bytes > 0 {
            files[0].live_bytes -= 10;
            assert_eq!(left(&files, 30)[0], 1, "{} are left", files[0].live_bytes);
        }
    }
}
