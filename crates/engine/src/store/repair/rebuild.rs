//! A manifest made out of what tables, and the log, say of themselves. Decides, writes nothing.
//!
//! Reads top-down: [`plan`] is the story.

use super::{
    EachOperation, Fate, LogTold, Plan, Repair, RepairedFile, RepairedTree, Salvage, TreeChange,
    choose::{Choice, Origin, choose},
    examine::{Examined, Readable, examine_blob, examine_table},
    place::{Placing, place},
    scan::{Scan, for_each_version, scan},
};
use crate::{
    blob::{self, BlobFile, BlobMeta, BlobUse, pointer_of},
    dictionary,
    error::{Error, Result},
    order::KeyOrder,
    table::{
        self, TableMeta,
        salvage::{Losses, LostKeys},
    },
    tree::TreeOptions,
    types::{BlobId, DictionaryId, Level, Seqno, TreeId, Uuid},
    version::{Added, Catalog, Change, RunAge, TablesChange, applied_upto},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::ops::Bound;

/// A tree whose tables were found, or that the log tells of.
#[derive(Default)]
struct FoundTree {
    tables: Vec<Readable>,
    /// Name and options, if the log tells of its creation.
    created: Option<(Seqno, String, Vec<u8>)>,
    cleared_at: Option<Seqno>,
    is_dropped: bool,
}

/// The tables of a tree, and which of them were chosen.
struct Chosen {
    id: TreeId,
    tree: FoundTree,
    order: KeyOrder,
    scan: Scan,
    choices: Vec<Choice>,
}

/// Finds all tables, chooses, places, and writes the catalog down that a manifest would have.
///
/// # Errors
///
/// Those of [`examine_table`]; the backend's. `Corruption`: files contradict each other so that no manifest can name them.
pub(super) fn plan(
    repair: Repair,
    why: String,
    told: &LogTold,
    operations: EachOperation<'_>,
) -> Result<Plan> {
    let mut plan = Plan::new(repair, Some(why), Catalog::default());
    plan.has_changes = true;
    let found = find_tables(&mut plan, told)?;
    let mut chosen = Vec::new();
    for (id, tree) in found {
        chosen.extend(choose_tables(&mut plan, id, tree)?);
    }
    leave_out_interrupted_flushes(&mut plan, &mut chosen, told, operations)?;

    let mut used = Used::default();
    let mut changes = Vec::new();
    let mut names = BTreeSet::new();
    for of_tree in chosen {
        changes.extend(build_tree(&mut plan, of_tree, &mut names, &mut used)?);
    }
    changes.push(applied_upto(told.changes.iter().map(|(at, _)| *at).max().unwrap_or(Seqno::ZERO)));
    plan.changes = changes;
    leave_out_unused(&mut plan, &used)?;
    let greatest = told.trees.iter().map(|id| id.0).max().unwrap_or(0);
    plan.greatest_tree = plan.greatest_tree.max(greatest);
    plan.warn(
        "the manifest alone knew the options of the database, and of keyspaces `durability`, `ttl` and `keep_versions`: \
         where the log does not tell they are the defaults; keyspaces without tables of which the log does not tell are \
         gone; a keyspace that was dropped, or tables that were replaced, shortly before may be back",
    );
    Ok(plan)
}

/// Reads every table, and sorts them by trees.
fn find_tables(plan: &mut Plan, told: &LogTold) -> Result<BTreeMap<TreeId, FoundTree>> {
    let mut trees: BTreeMap<TreeId, FoundTree> = BTreeMap::new();
    let mut loads: BTreeMap<Uuid, Seqno> = BTreeMap::new();
    for (at, change) in &told.changes {
        plan.greatest = plan.greatest.max(*at);
        match change {
            TreeChange::Created { id, name, options } => {
                plan.greatest_tree = plan.greatest_tree.max(id.0);
                trees.entry(*id).or_default().created = Some((*at, name.clone(), options.clone()));
            }
            TreeChange::Dropped(id) => trees.entry(*id).or_default().is_dropped = true,
            TreeChange::Cleared(id) => trees.entry(*id).or_default().cleared_at = Some(*at),
            TreeChange::Loaded(tables) => loads.extend(tables.iter().map(|&uuid| (uuid, *at))),
        }
    }
    for &id in &told.trees {
        trees.entry(id).or_default();
    }
    for name in plan.repair.files_in(table::TABLES_DIR)? {
        let Some(id) = table::number_of(&name) else { continue };
        let Repair { env, owner, code, .. } = &plan.repair;
        match examine_table(&env.fs, id, &name, owner, code)? {
            Examined::Unreadable(why) => plan.leave_out(name, None, why, Vec::new(), None),
            Examined::Table(mut table) => {
                if table.is_load() {
                    let number = loads.get(&table.uuid).copied();
                    number_load(plan, &mut table, number);
                }
                let seed = &table.properties.seed;
                plan.greatest = plan.greatest.max(table.last_seqno()).max(seed.replay_point);
                plan.greatest_tree = plan.greatest_tree.max(seed.tree.0);
                trees.entry(seed.tree).or_default().tables.push(*table);
            }
        }
    }
    Ok(trees)
}

/// The entries of a bulk load have no number of their own; the manifest had it, and perhaps the log.
fn number_load(plan: &mut Plan, table: &mut Readable, number: Option<Seqno>) {
    let replay_point = table.properties.seed.replay_point;
    table.number = number.or((replay_point > Seqno::ZERO).then_some(replay_point));
    if number.is_none() {
        plan.warn(format!(
            "{}: when this bulk load was made is not known; it is taken for one at {replay_point}: of keys that were \
             written while it was made, the older value may show",
            table.name
        ));
    }
}

/// Leaves out what is no part of a tree any more. `None`: the tree is gone.
fn choose_tables(plan: &mut Plan, id: TreeId, mut tree: FoundTree) -> Result<Option<Chosen>> {
    if tree.is_dropped {
        for table in tree.tables {
            plan.leave_out_table(&table, "its keyspace was dropped");
        }
        return Ok(None);
    }
    if let Some(at) = tree.cleared_at {
        let (stays, goes) = tree.tables.into_iter().partition(|table| table.last_seqno() >= at);
        tree.tables = stays;
        let goes: Vec<Readable> = goes;
        if let Some(newest) = goes.iter().max_by_key(|table| table.id) {
            // What they say of the tree holds all the same.
            let seed = &newest.properties.seed;
            let known = || (Seqno::ZERO, seed.tree_name.clone(), seed.tree_options.clone());
            tree.created.get_or_insert_with(known);
        }
        for table in goes {
            plan.leave_out_table(&table, "its keyspace was cleared");
        }
    }
    let order = tree.tables.first().map_or(KeyOrder::BYTES, |table| table.order.clone());
    let scan = scan(&plan.repair.env.fs, &plan.repair.owner, &tree.tables, &order)?;
    order.check()?; // INV-ORD-1.
    let origins: Vec<Origin<'_>> = tree
        .tables
        .iter()
        .map(|table| Origin { number: table.id.0, uuid: table.uuid, lineage: &table.properties.seed.lineage })
        .collect();
    let choices = choose(&origins, &scan.shares);
    for (table, choice) in tree.tables.iter().zip(&choices) {
        match choice {
            Choice::Taken => {}
            Choice::Unfinished => plan.leave_out_table(table, "all tables that it was made of are there"),
            Choice::Replaced => plan.leave_out_table(table, "tables that were made of it are there"),
        }
    }
    Ok(Some(Chosen { id, tree, order, scan, choices }))
}

impl Chosen {
    fn taken(&self) -> impl Iterator<Item = &Readable> {
        let taken = self.tree.tables.iter().zip(&self.choices);
        taken.filter(|(_, choice)| **choice == Choice::Taken).map(|(table, _)| table)
    }

    /// Everything up to here is in the tables that were taken.
    fn replay_point(&self) -> Seqno {
        let points = self.taken().map(|table| table.properties.seed.replay_point);
        points.max().unwrap_or(Seqno::ZERO).max(self.tree.cleared_at.unwrap_or(Seqno::ZERO))
    }
}

/// A flush of a tree that may have been interrupted.
struct Suspect {
    /// Above this, and up to the other, operations are in its tables.
    after: Seqno,
    upto: Seqno,
    last_key: Vec<u8>,
    /// Versions in it that the log was not seen to hold.
    unseen: BTreeSet<Seqno>,
    /// The log has keys behind all of it.
    is_short: bool,
}

/// A flush writes several tables in the order of keys, and an edit then names all. Of the newest flush of a tree some may
/// be missing. If the log has operations for keys behind its last, and every version that is in it, then the log has all
/// of it: the tables are left out, and opening applies the operations again.
fn leave_out_interrupted_flushes(
    plan: &mut Plan,
    chosen: &mut [Chosen],
    told: &LogTold,
    operations: EachOperation<'_>,
) -> Result<()> {
    let mut suspects: BTreeMap<TreeId, (Suspect, KeyOrder)> = BTreeMap::new();
    for of_tree in chosen.iter().filter(|of_tree| told.trees.contains(&of_tree.id)) {
        if let Some(suspect) = newest_flush(plan, of_tree)? {
            suspects.insert(of_tree.id, (suspect, of_tree.order.clone()));
        }
    }
    if suspects.is_empty() {
        return Ok(());
    }
    operations(&mut |tree, seqno, key| {
        if let Some((suspect, order)) = suspects.get_mut(&tree)
            && (suspect.after < seqno && seqno <= suspect.upto)
        {
            suspect.unseen.remove(&seqno);
            suspect.is_short |= order.is_less(&suspect.last_key, key);
        }
    })?;
    for of_tree in chosen {
        let Some((Suspect { upto, unseen, is_short: true, .. }, _)) = suspects.remove(&of_tree.id) else {
            continue;
        };
        if !unseen.is_empty() {
            plan.warn(format!(
                "keyspace id {}: its newest flush, up to {upto}, may lack the keys behind its last: the log has some, but \
                 not all that the flush holds",
                of_tree.id
            ));
            continue;
        }
        for (table, choice) in of_tree.tree.tables.iter().zip(&mut of_tree.choices) {
            if *choice == Choice::Taken && is_of_flush(table, upto) {
                *choice = Choice::Unfinished;
                let why = "its flush may have been interrupted, and the log has all that it holds";
                plan.leave_out_table(table, why);
            }
        }
    }
    Ok(())
}

fn is_of_flush(table: &Readable, upto: Seqno) -> bool {
    let seed = &table.properties.seed;
    seed.lineage.is_empty() && !table.is_load() && seed.replay_point == upto
}

/// The newest flush of a tree, if nothing that is there says that it was finished.
fn newest_flush(plan: &Plan, of_tree: &Chosen) -> Result<Option<Suspect>> {
    let upto = of_tree.replay_point();
    let others = of_tree.taken().filter(|table| !is_of_flush(table, upto));
    let after = others.map(|table| table.properties.seed.replay_point).max().unwrap_or(Seqno::ZERO);
    if after >= upto {
        return Ok(None);
    }
    let (mut unseen, mut last_key) = (BTreeSet::new(), Vec::new());
    let Repair { env, owner, .. } = &plan.repair;
    for table in of_tree.taken().filter(|table| is_of_flush(table, upto)) {
        for_each_version(&env.fs, owner, table, &mut |version| {
            unseen.insert(version.seqno);
        })?;
        if last_key.is_empty() || of_tree.order.is_less(&last_key, &table.properties.last_key) {
            last_key.clone_from(&table.properties.last_key);
        }
    }
    if unseen.is_empty() || unseen.contains(&Seqno::ZERO) {
        return Ok(None); // Of versions without a number the log tells nothing.
    }
    Ok(Some(Suspect { after, upto, last_key, unseen, is_short: false }))
}

/// Files that tables which were taken need.
#[derive(Default)]
struct Used {
    blobs: BTreeSet<BlobId>,
    dictionaries: BTreeSet<DictionaryId>,
}

/// The changes that make a tree.
fn build_tree(
    plan: &mut Plan,
    of_tree: Chosen,
    names: &mut BTreeSet<String>,
    used: &mut Used,
) -> Result<Vec<Change>> {
    let replay_point = of_tree.replay_point();
    let Chosen { id, tree, order, scan, choices } = of_tree;
    let newest = tree.tables.iter().max_by_key(|table| table.id);
    let seed = newest.map(|table| &table.properties.seed);
    let (at, name, options) = match (seed, tree.created) {
        (Some(seed), created) => {
            let at = created.map_or(Seqno::ZERO, |(at, ..)| at);
            (at, seed.tree_name.clone(), seed.tree_options.clone())
        }
        (None, Some(created)) => created,
        (None, None) => {
            plan.warn(format!(
                "keyspace id {id}: only the log has operations for it, and neither its name nor its options are known; it \
                 is named recovered-{id} and has the default options"
            ));
            (Seqno::ZERO, format!("recovered-{id}"), TreeOptions::default().encode())
        }
    };
    let name = if names.contains(&name) {
        plan.warn(format!("two keyspaces are named {name:?}: that of id {id} is named recovered-{id} now"));
        format!("recovered-{id}")
    } else {
        name
    };
    names.insert(name.clone());
    let create = Change::CreateTree { id, name: name.clone(), options, at };

    let taken: Vec<usize> = (0..choices.len()).filter(|&table| choices[table] == Choice::Taken).collect();
    let mut tables: Vec<Option<Readable>> = tree.tables.into_iter().map(Some).collect();
    let mut kept: Vec<Kept> = Vec::new();
    for &table in &taken {
        let readable = tables[table].take().expect("each is taken once");
        let judged = plan.judge(&readable, &scan.losses[table], &name);
        if judged != Judged::Gone {
            kept.push(Kept { table, readable, is_salvaged: judged == Judged::Salvaged });
        }
    }
    let placings: Vec<Placing<'_>> = kept
        .iter()
        .map(|Kept { readable, .. }| Placing {
            number: readable.id.0,
            first_key: &readable.properties.first_key,
            last_key: &readable.properties.last_key,
            last_seqno: readable.last_seqno(),
        })
        .collect();
    let among: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(at, kept)| (kept.table, at)).collect();
    let above = scan.above.iter().filter_map(|(a, b)| Some((*among.get(a)?, *among.get(b)?))).collect();
    let placed = place(&order, &placings, &above, replay_point.raw());
    if placed.is_contradictory {
        plan.warn(format!(
            "keyspace {name:?}: of two tables each has newer versions of some keys than the other; reads may show the older \
             value of some keys"
        ));
    }

    let mut change = TablesChange::of(id);
    let mut uses: BTreeMap<BlobId, Vec<BlobUse>> = BTreeMap::new();
    let (mut newest, mut pointing) = (Seqno::ZERO, Vec::new());
    let mut entries = 0;
    for (Kept { table, readable, .. }, _) in kept.iter().zip(&placed.places) {
        newest = newest.max(readable.last_seqno());
        entries += scan.losses[*table].kept_entries;
        used.dictionaries.extend(readable.properties.dictionary.map(|handle| handle.id));
        scan.uses[*table].iter().for_each(|of| uses.entry(of.file).or_default().push(*of));
        if !scan.uses[*table].is_empty() {
            pointing.push(readable);
        }
    }
    let mut files = BTreeMap::new();
    for (blob, uses) in uses {
        let Repair { env, owner, .. } = &plan.repair;
        let (meta, why) = examine_blob(&env.fs, blob, &uses, owner)?;
        used.blobs.insert(blob);
        change.blobs.push(meta);
        files.insert(blob, (meta, why));
    }
    plan.check_values(&name, &pointing, &files)?;
    plan.report.trees.push(RepairedTree { id: id.0, name, tables: kept.len() as u64, entries });
    for (Kept { table, readable, is_salvaged }, (level, age)) in kept.into_iter().zip(placed.places) {
        if is_salvaged {
            plan.add_salvage(id, level, age, readable);
            continue;
        }
        let mut meta = readable.meta?;
        meta.blobs.clone_from(&scan.uses[table]);
        let meta = with_number(meta, readable.number)?;
        change.added.push(Added { level, age, table: Arc::new(meta) });
    }
    change.replay_point = Some(replay_point);
    // What was dropped of the past is not known.
    change.read_floor = Some(newest.max(tree.cleared_at.unwrap_or(Seqno::ZERO)));
    Ok(Vec::from([create, Change::Tables(change)]))
}

/// Gives the entries of a bulk load their number.
///
/// # Errors
///
/// `Corruption`: they have numbers already.
pub(super) fn with_number(meta: TableMeta, number: Option<Seqno>) -> Result<TableMeta> {
    let Some(number) = number else { return Ok(meta) };
    if meta.last_seqno > Seqno::ZERO || meta.ranges.is_some() {
        return Err(Error::corrupt(meta.file_name(), 0, "the table of a bulk load has numbers of its own"));
    }
    Ok(meta.numbered(number))
}

/// A table that is part of a tree.
struct Kept {
    /// Its place among those that were found.
    table: usize,
    readable: Readable,
    is_salvaged: bool,
}

/// Leaves out files of separated values, and dictionaries, that no table that was taken needs.
fn leave_out_unused(plan: &mut Plan, used: &Used) -> Result<()> {
    for name in plan.repair.files_in(blob::BLOBS_DIR)? {
        if blob::number_of(&name).is_some_and(|id| !used.blobs.contains(&id)) {
            plan.leave_out(name, None, "no table points into it".into(), Vec::new(), Some(0));
        }
    }
    for name in plan.repair.files_in(dictionary::DICTIONARIES_DIR)? {
        if dictionary::id_of(&name).is_some_and(|id| !used.dictionaries.contains(&id)) {
            plan.leave_out(name, None, "no table needs it".into(), Vec::new(), Some(0));
        }
    }
    Ok(())
}

/// What is to become of a table that was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judged {
    /// The manifest is to name it.
    Kept,
    /// What is left of it is written anew, and the manifest is to name that.
    Salvaged,
    /// It is left out.
    Gone,
}

impl Plan {
    pub(super) fn leave_out(
        &mut self,
        file: String,
        tree: Option<String>,
        why: String,
        lost: Vec<LostKeys>,
        lost_entries: Option<u64>,
    ) {
        self.left_out.push(file.clone());
        self.report.files.push(RepairedFile {
            file,
            tree,
            fate: Fate::LeftOut,
            why,
            lost,
            salvaged_as: None,
            entries: 0,
            lost_entries,
        });
    }

    /// Of a table whose content is elsewhere, or was deleted.
    fn leave_out_table(&mut self, table: &Readable, why: &str) {
        let tree = table.properties.seed.tree_name.clone();
        self.leave_out(table.name.clone(), Some(tree), why.into(), Vec::new(), Some(0));
    }

    /// Notes what becomes of a table that is part of the store, by what could be read of it.
    pub(super) fn judge(&mut self, table: &Readable, losses: &Losses, tree: &str) -> Judged {
        let is_sound = table.meta.is_ok() && table.findings.is_empty() && losses.is_none();
        let mut file = RepairedFile {
            file: table.name.clone(),
            tree: Some(tree.into()),
            fate: Fate::Recovered,
            why: String::new(),
            lost: losses.lost.clone(),
            salvaged_as: None,
            entries: losses.kept_entries,
            lost_entries: losses.lost_entries,
        };
        if is_sound {
            self.report.files.push(file);
            return Judged::Kept;
        }
        let found = table.meta.as_ref().err().map(Error::to_string);
        let found = found.into_iter().chain(table.findings.iter().cloned());
        let found = found.chain(losses.lost.iter().map(|lost| lost.why.clone()));
        file.why = found.take(3).collect::<Vec<_>>().join("; ");
        if losses.lost_ranges != Some(0) {
            self.warn_of_lost_ranges(&table.name);
        }
        // A dictionary can be put back; what is compressed against it must not be dropped meanwhile.
        let lacks_dictionary = table.properties.dictionary.is_some_and(|handle| {
            let file = self.repair.env.fs.exists(&dictionary::file_name(handle.id));
            file != Ok(true)
        });
        let is_named = self.report.manifest.is_none();
        if (table.meta.is_ok() || is_named) && (!self.repair.how.salvage || lacks_dictionary) {
            file.fate = Fate::Damaged;
            let is_in =
                |lost: &LostKeys, at: u64| lost.offset == at || at.wrapping_sub(lost.offset) < lost.bytes;
            let is_without_keys = |&at: &u64| !losses.lost.iter().any(|lost| is_in(lost, at));
            let is_needed_by_all = table.places.iter().any(is_without_keys);
            // A table that does not open does not tell of its range deletes either.
            if losses.has_lost_range_block || is_needed_by_all && table.properties.ranges.is_some() {
                file.lost.push(LostKeys::of_lost_ranges());
            } else if is_needed_by_all {
                let why =
                    "its filter, index or another part that all keys need is damaged: reading any may fail";
                file.lost.push(LostKeys::of_table(&table.properties, why));
            }
            self.report.files.push(file);
            return Judged::Kept;
        }
        if self.repair.how.salvage && !lacks_dictionary && losses.kept_entries > 0 {
            file.fate = Fate::Salvaged;
            if losses.lost_ranges != Some(0) {
                file.lost.push(LostKeys::of_gone_ranges(&table.properties.first_key));
            }
            self.has_changes = true;
            self.left_out.push(table.name.clone());
            self.report.files.push(file);
            return Judged::Salvaged;
        }
        let mut lost = Vec::from([LostKeys::of_table(&table.properties, &file.why)]);
        if table.properties.ranges.is_some() {
            lost.push(LostKeys::of_gone_ranges(&table.properties.first_key));
        }
        let entries = table.properties.counts.total();
        self.leave_out(table.name.clone(), Some(tree.into()), file.why, lost, Some(entries));
        self.has_changes = true;
        Judged::Gone
    }

    /// Has a table written out of what is left of one that was judged so.
    pub(super) fn add_salvage(&mut self, tree: TreeId, level: Level, age: RunAge, table: Readable) {
        self.salvages.push(Salvage { tree, level, age, table });
    }

    /// Reads every separated value that tables point to, and notes the keys of those that are lost.
    fn check_values(
        &mut self,
        tree: &str,
        tables: &[&Readable],
        files: &BTreeMap<BlobId, (BlobMeta, Option<String>)>,
    ) -> Result<()> {
        let Repair { env, owner, .. } = &self.repair;
        let mut open: BTreeMap<BlobId, Result<BlobFile>> = BTreeMap::new();
        for (&id, (meta, _)) in files {
            open.insert(id, BlobFile::open(&env.fs, meta, owner));
        }
        let mut lost: BTreeMap<BlobId, (Vec<LostKeys>, u64, u64)> = BTreeMap::new();
        for table in tables {
            let mut last_failed: Option<BlobId> = None;
            for entry in table.remains(&env.fs, owner)?.entries()? {
                let Ok(Some(pointer)) = pointer_of(entry.kind, &entry.value) else { continue };
                let failed = match open.get(&pointer.file) {
                    Some(Ok(file)) => file.read(&entry.key, &pointer).err().map(|error| error.to_string()),
                    Some(Err(error)) => Some(error.to_string()),
                    None => Some("the file is missing".into()),
                };
                let (ranges, read, unread) = lost.entry(pointer.file).or_default();
                let Some(why) = failed else {
                    *read += 1;
                    last_failed = None;
                    continue;
                };
                *unread += 1;
                let here = Bound::Included(entry.key);
                match ranges.last_mut().filter(|_| last_failed == Some(pointer.file)) {
                    Some(range) => range.keys.1 = here,
                    None => ranges.push(LostKeys::new(pointer.offset, 0, (here.clone(), here), why)),
                }
                last_failed = Some(pointer.file);
            }
        }
        for (&id, (_, why)) in files {
            let (ranges, read, unread) = lost.remove(&id).unwrap_or_default();
            let name = blob::file_name(id);
            let is_there = env.fs.exists(&name) != Ok(false);
            let fate = match (unread, is_there) {
                (0, _) => Fate::Recovered,
                (_, true) => Fate::Damaged,
                (_, false) => Fate::Missing,
            };
            let first = ranges.first().map(|range| range.why.clone());
            let why = why.clone().or(first).unwrap_or_default();
            self.report.files.push(RepairedFile {
                file: name,
                tree: Some(tree.into()),
                fate,
                why: if unread == 0 { String::new() } else { why },
                lost: ranges,
                salvaged_as: None,
                entries: read,
                lost_entries: Some(unread),
            });
        }
        Ok(())
    }
}
