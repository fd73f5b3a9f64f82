//! Damaged tables of a store whose manifest is sound. Decides, writes nothing.

use super::{
    Fate, Plan, Repair, RepairedFile, RepairedTree,
    examine::{Examined, Readable, examine_table, place_of},
    rebuild::Judged,
};
use crate::{
    codec::{FileDictionary, Rescue},
    error::Result,
    place::PlaceId,
    table::{DataCache, Table, TableMeta, salvage::LostKeys},
    types::{Level, TreeId},
    version::{Catalog, Change, RunAge, TablesChange},
};
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::ops::Bound;

/// Looks at every table that the manifest names in the store's directory. Those of places of routes are left as they are.
///
/// # Errors
///
/// Those of [`examine_table`]; the backend's.
pub(super) fn plan(repair: Repair, catalog: Catalog) -> Result<Plan> {
    let mut plan = Plan::new(repair, None, Catalog::default());
    let is_elsewhere = |(_, _, table): (_, _, &Arc<TableMeta>)| table.place != PlaceId::MAIN;
    if catalog.trees.values().any(|tree| tree.levels.tables().any(is_elsewhere)) {
        plan.warn("tables in the places of routes were not looked at");
    }
    for (&id, tree) in &catalog.trees {
        let mut change = TablesChange::of(id);
        let (mut tables, mut entries) = (0, 0);
        for (level, age, meta) in tree.levels.tables() {
            plan.greatest = plan.greatest.max(meta.last_seqno);
            (tables, entries) = (tables + 1, entries + meta.entries);
            if meta.place == PlaceId::MAIN && !tend(&mut plan, &tree.name, (id, level, age), meta)? {
                change.removed.push(meta.id);
                tables -= 1;
            }
        }
        plan.report.trees.push(RepairedTree { id: id.0, name: tree.name.clone(), tables, entries });
        // What is salvaged is taken out as well: its file gets another number.
        change.removed.extend(plan.salvages.iter().filter(|it| it.tree == id).map(|it| it.table.id));
        if !change.removed.is_empty() {
            change.read_floor = Some(tree.levels.last_seqno());
            plan.changes.push(Change::Tables(change));
        }
    }
    plan.base = catalog;
    Ok(plan)
}

/// Says whether a table stays, as it is or as what is left of it.
fn tend(
    plan: &mut Plan,
    tree: &str,
    (id, level, age): (TreeId, Level, RunAge),
    meta: &Arc<TableMeta>,
) -> Result<bool> {
    let name = meta.file_name();
    let Repair { env, owner, code, .. } = &plan.repair;
    let why = match examine_table(&env.fs, meta.id, &name, owner, code)? {
        Examined::Table(table) if table.uuid == meta.uuid => {
            let table = Readable { number: meta.number, ..*table };
            let is_as_named = table.meta.as_ref().is_ok_and(|found| found.digest == meta.digest);
            if is_as_named && table.findings.is_empty() {
                return Ok(true);
            }
            let (judged, table) = judge(plan, tree, table, meta)?;
            if judged == Judged::Salvaged {
                plan.add_salvage(id, level, age, table);
            }
            return Ok(judged != Judged::Gone);
        }
        Examined::Table(_) => String::from("another table lies in its place"),
        Examined::Unreadable(why) => why,
    };
    let is_there = env.fs.exists(&name) != Ok(false);
    let is_dropped = plan.repair.how.salvage;
    plan.has_changes |= is_dropped;
    if is_dropped && is_there {
        plan.left_out.push(name.clone());
    }
    let bound = |key: &[u8]| Bound::Included(Vec::from(key));
    let keys = (bound(&meta.first_key), bound(&meta.last_key));
    let mut lost = Vec::from([LostKeys::new(0, meta.bytes, keys, why.clone())]);
    if meta.ranges.is_some() && is_dropped {
        plan.warn_of_lost_ranges(&name);
        lost.push(LostKeys::of_gone_ranges(&meta.first_key));
    } else if meta.ranges.is_some() {
        lost.push(LostKeys::of_lost_ranges());
    }
    plan.report.files.push(RepairedFile {
        file: name,
        tree: Some(tree.into()),
        fate: match (is_there, is_dropped) {
            (false, _) => Fate::Missing,
            (true, true) => Fate::LeftOut,
            (true, false) => Fate::Damaged,
        },
        lost,
        why,
        salvaged_as: None,
        entries: 0,
        lost_entries: Some(meta.entries),
    });
    Ok(!is_dropped)
}

/// What becomes of a damaged table, which may open all the same: the manifest knows what a damaged footer said.
fn judge(
    plan: &mut Plan,
    tree: &str,
    mut table: Readable,
    meta: &Arc<TableMeta>,
) -> Result<(Judged, Readable)> {
    const CACHE_BYTES: u64 = 1 << 20;
    let Repair { env, owner, .. } = &plan.repair;
    let cache = Arc::new(DataCache::new(CACHE_BYTES));
    let named = Arc::clone(meta);
    let how = (FileDictionary::None, &table.order);
    let opened = Table::open_with(&env.fs, named, owner, &cache, how, Rescue::default());
    match &table.meta {
        Err(error) => {
            table.places.push(place_of(error));
            table.findings.push(error.to_string());
        }
        Ok(_) if table.findings.is_empty() => table.findings.push("it is not what the manifest says".into()),
        Ok(_) => {}
    }
    table.places.extend(opened.as_ref().err().map(place_of));
    table.meta = opened.map(|_| TableMeta::clone(meta));
    let mut left = table.remains(&env.fs, owner)?.entries()?;
    left.by_ref().for_each(drop);
    let judged = plan.judge(&table, &left.finish(), tree);
    Ok((judged, table))
}
