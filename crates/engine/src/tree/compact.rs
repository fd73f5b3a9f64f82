//! Compact: tables become tables of a level, less what nothing needs.

use super::{
    Tree,
    outputs::{Target, Written},
    separate::SeparatedValues,
    state::TreeState,
};
use crate::{
    compaction::{
        CheckedPlan, CompactionStrategy, Cutter, PendingOutput, Plan, PlanKind, Survivors, TableShape,
        TreeShape, Views, unneeded_tables, validate,
    },
    error::{Error, ErrorKind, Result},
    iter::MergeCursor,
    types::{Level, Seqno, TableId, UnixUs},
    version::{Added, Ancestor, BlobRef, RunAge, RunCursor, TableRef, TablesChange},
};
use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;
use isopach_env::WriteOrigin;

/// What a job did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompactionReport {
    /// Bytes of the inputs; 0 if they only moved.
    pub read_bytes: u64,
    /// Bytes of the outputs, values that were separated or moved included.
    pub written_bytes: u64,
    /// The outputs.
    pub outputs: Vec<TableId>,
    /// Versions that nothing needed.
    pub dropped_entries: u64,
}

impl CompactionReport {
    /// Of a job whose inputs were cleared away.
    fn nothing() -> CompactionReport {
        CompactionReport { read_bytes: 0, written_bytes: 0, outputs: Vec::new(), dropped_entries: 0 }
    }
}

/// What a shape says of tables that are known to be damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damaged {
    /// As of any other: who asks for a job on them hears what is wrong.
    Taken,
    /// As if a job had them: no other job waits for them or fails because of them again and again.
    LeftAlone,
}

/// A job that has taken its inputs and the place of its outputs. Dropped, it lets go of them.
#[must_use]
pub struct Compaction<'t> {
    tree: &'t Tree,
    plan: CheckedPlan,
    /// The state that the plan fits.
    state: Arc<TreeState>,
}

impl Drop for Compaction<'_> {
    fn drop(&mut self) {
        let mut busy = self.tree.0.busy.lock();
        busy.retain(|claimed| *claimed != self.plan);
    }
}

impl Tree {
    /// What `strategy` would do now with the tables that are sound, as far as is known. Claims nothing: what
    /// is done with the plan later may no longer fit.
    pub fn pick(&self, strategy: &dyn CompactionStrategy) -> Option<Plan> {
        let busy = self.0.busy.lock().clone();
        let state = self.0.state.load();
        strategy.pick(&self.shape(&state, &busy, Damaged::LeftAlone))
    }

    /// What is known to be wrong with tables of the present state, and with files of separated values: of each damaged one
    /// the first error.
    pub fn damaged_tables(&self) -> Vec<Error> {
        let state = self.0.state.load();
        let tables = state.levels.tables().filter_map(|(.., table)| table.damage());
        tables.chain(state.blobs.files().filter_map(BlobRef::damage)).collect()
    }

    /// Shows the tree as strategies see it.
    pub fn with_shape<T>(&self, look: impl FnOnce(&TreeShape<'_>) -> T) -> T {
        let busy = self.0.busy.lock().clone();
        let state = self.0.state.load();
        look(&self.shape(&state, &busy, Damaged::Taken))
    }

    /// The tables of a state. Who loads it after looking at who is busy sees each job: running, or with the
    /// tables that it brought.
    fn shape<'a>(&'a self, state: &'a TreeState, busy: &'a [CheckedPlan], damaged: Damaged) -> TreeShape<'a> {
        let is_claimed = |id| busy.iter().any(|plan| plan.inputs.iter().any(|input| input.id == id));
        let is_left_alone = |table: &TableRef| damaged == Damaged::LeftAlone && table.is_damaged();
        let is_busy = |table: &TableRef| is_claimed(table.id) || is_left_alone(table);
        let table = |table: &'a TableRef| TableShape::new(table.meta(), is_busy(table));
        let levels = state.levels.iter().map(|(_, runs)| {
            runs.iter().map(|run| run.tables.iter().map(table).collect::<Vec<_>>()).collect::<Vec<_>>()
        });
        let with_outputs = busy.iter().filter(|plan| plan.kind != PlanKind::Discard);
        let pending = with_outputs.map(|plan| PendingOutput {
            level: plan.to,
            first_key: &plan.first_key,
            last_key: &plan.last_key,
        });
        let now = UnixUs(self.0.context.env.clock.unix_us());
        TreeShape::new(&self.0.order, levels.collect(), now).with_pending(pending.collect())
    }

    /// Carries a plan out: [`begin_compaction`](Self::begin_compaction) and [`Compaction::run`].
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn compact(
        &self,
        plan: &Plan,
        views: &Views,
        proceed: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<CompactionReport> {
        let compaction = self.begin_compaction(|_| Some(plan.clone()))?;
        compaction.expect("there is a plan").run(views, proceed)
    }

    /// Drops tables that these views do not need, without reading them: those that range tombstones hide whole, and those that
    /// have expired with nothing older below. `None` if there are none.
    ///
    /// # Errors
    ///
    /// Those of [`begin_compaction`](Self::begin_compaction) and [`Compaction::run`].
    pub fn drop_unneeded(&self, views: &Views) -> Result<Option<CompactionReport>> {
        let state = self.0.state.load();
        if state.ranged.is_empty() && !state.has_expiring {
            return Ok(None);
        }
        let ranges = self.job_ranges(&state, &[], views);
        // What is unneeded stays so: tombstones stay as long as they hide anything, and nothing older comes below a table.
        let was_there = |id| state.levels.table(id).is_some();
        let compaction = self.begin_compaction(|shape| unneeded_tables(shape, &ranges, views, was_there))?;
        drop(state);
        compaction.map(|compaction| compaction.run(views, &mut |_| Ok(()))).transpose()
    }

    /// Takes the inputs of the job that `pick` chooses, or nothing if it chooses none. Nothing changes between
    /// its look at the tree and the taking, so that what fits the shape it sees can be done. To `pick`, tables
    /// known to be damaged are busy; it must not call the tree.
    ///
    /// # Errors
    ///
    /// Those of [`validate`]. `Poisoned` after a failed sync of the manifest or a directory; `Closed`;
    /// `ReadOnly`.
    pub fn begin_compaction(
        &self,
        pick: impl FnOnce(&TreeShape<'_>) -> Option<Plan>,
    ) -> Result<Option<Compaction<'_>>> {
        let _lease = self.0.context.enter()?;
        self.0.context.manifest()?.check()?;
        self.0.order.check().map_err(|error| error.in_tree(self.0.id))?;
        let mut busy = self.0.busy.lock();
        let state = self.0.state.load();
        let Some(plan) = pick(&self.shape(&state, &busy, Damaged::LeftAlone)) else {
            return Ok(None);
        };
        let plan = validate(&self.shape(&state, &busy, Damaged::Taken), &plan)
            .map_err(|error| error.in_tree(self.0.id))?;
        busy.push(plan.clone());
        Ok(Some(Compaction { tree: self, plan, state }))
    }
}

impl Compaction<'_> {
    /// What it does.
    pub fn plan(&self) -> &CheckedPlan {
        &self.plan
    }

    /// Does it. `proceed` is called with bytes about to be written, now and then; its error ends the job.
    ///
    /// # Errors
    ///
    /// `Corruption` of an input, what `proceed` said: the tree is as before, and outputs go. `Poisoned` after a
    /// failed sync of the manifest or a directory; `Closed`.
    pub fn run(self, views: &Views, proceed: &mut dyn FnMut(u64) -> Result<()>) -> Result<CompactionReport> {
        let _lease = self.tree.0.context.enter()?;
        let report = match self.plan.kind {
            PlanKind::Move if self.stays_in_place()? => self.relocate(),
            PlanKind::Move => self.merge(views, proceed), // Elsewhere: written anew, table by table.
            PlanKind::Merge => self.merge(views, proceed),
            PlanKind::Discard => self.discard(views),
        }?;
        let counters = &self.tree.0.counters;
        counters.compactions.fetch_add(1, Ordering::Relaxed);
        counters.compaction_read_bytes.fetch_add(report.read_bytes, Ordering::Relaxed);
        counters.compaction_written_bytes.fetch_add(report.written_bytes, Ordering::Relaxed);
        Ok(report)
    }

    /// Whether the inputs lie where tables of the target's level are to lie, and are sealed as new ones are: no file is
    /// moved from place to place or from key to key but by being written anew.
    fn stays_in_place(&self) -> Result<bool> {
        let place = self.tree.place_of(self.plan.to)?;
        let seal = self.tree.new_seal()?;
        let inputs = self.plan.inputs.iter().filter_map(|input| self.state.levels.table(input.id));
        Ok(inputs.into_iter().all(|(.., table)| table.place == place && table.seal == seal))
    }

    fn relocate(&self) -> Result<CompactionReport> {
        let Compaction { tree, plan, state } = self;
        let mut change = TablesChange::of(tree.0.id);
        for input in &plan.inputs {
            let (_, age, table) = state.levels.table(input.id).expect("a claimed table stays");
            let age = if plan.to == Level(0) { age } else { RunAge::SORTED };
            change.removed.push(input.id);
            change.added.push(Added { level: plan.to, age, table: Arc::clone(table.meta()) });
        }
        if tree.commit_tables(state, &change, &[], Written::none(), |_| ())?.is_none() {
            return Ok(CompactionReport::nothing());
        }
        let outputs = plan.inputs.iter().map(|input| input.id).collect();
        Ok(CompactionReport { read_bytes: 0, written_bytes: 0, outputs, dropped_entries: 0 })
    }

    /// Drops the inputs, of which these views need none: nothing is read or written but the edit.
    fn discard(&self, views: &Views) -> Result<CompactionReport> {
        let Compaction { tree, plan, state } = self;
        let ids: Vec<TableId> = plan.inputs.iter().map(|input| input.id).collect();
        let dropped: Vec<&TableRef> =
            ids.iter().filter_map(|&id| state.levels.table(id)).map(|(.., table)| table).collect();
        let mut change = TablesChange::of(tree.0.id);
        // What hides them may be newer than all of them.
        change.read_floor = Some(views.visible());
        change.removed = ids;
        let protect = |next: &mut TreeState| next.protect(views, true);
        if tree.commit_tables(state, &change, &[], Written::none(), protect)?.is_none() {
            return Ok(CompactionReport::nothing());
        }
        let dropped_entries = dropped.iter().map(|table| table.entries).sum();
        Ok(CompactionReport { read_bytes: 0, written_bytes: 0, outputs: Vec::new(), dropped_entries })
    }

    fn merge(&self, views: &Views, proceed: &mut dyn FnMut(u64) -> Result<()>) -> Result<CompactionReport> {
        let Compaction { tree, plan, state } = self;
        let inputs = inputs_by_run(plan, state);
        let newest_age = inputs.iter().map(|(age, _)| *age).max().unwrap_or(RunAge::SORTED);
        let last_seqno = inputs.iter().flat_map(|(_, run)| run).map(|table| table.last_seqno).max();
        let last_seqno = last_seqno.unwrap_or(Seqno::ZERO);
        let age = if plan.to == Level(0) { newest_age } else { RunAge::SORTED };
        let tables: Vec<TableRef> = inputs.iter().flat_map(|(_, run)| run).cloned().collect();
        let dictionary = tree.dictionary_for(&tables, plan.to)?;
        let mut lineage: Vec<Ancestor> = tables.iter().flat_map(TableRef::lineage).collect();
        lineage.sort_unstable_by_key(Ancestor::uuid);
        lineage.dedup_by_key(|ancestor| ancestor.uuid());
        let target = Target {
            level: plan.to,
            place: tree.place_of(plan.to)?,
            age,
            origin: WriteOrigin::CompactionTable,
            lineage,
            replay_point: state.replay_point,
            dictionary,
        };
        let shape = tree.shape(state, &[], Damaged::Taken);
        let mut cutter = Cutter::for_plan(tree.options().table_bytes, &shape, plan);
        let order = &tree.0.order;
        if plan.kind == PlanKind::Move {
            // It was checked that each input by itself has room there, and no more.
            let mut firsts: Vec<Vec<u8>> = tables.iter().map(|table| table.first_key.to_vec()).collect();
            firsts.sort_unstable_by(|a, b| order.compare(a, b));
            cutter = cutter.fenced(firsts);
        }
        let cursor = |(_, run)| RunCursor::past_cache(order, Arc::from(run));
        let cursor = MergeCursor::new(inputs.into_iter().map(cursor).collect(), order);
        let inputs: Vec<TableId> = plan.inputs.iter().map(|input| input.id).collect();
        let survivors = Survivors::new(cursor, views.clone(), plan.older.clone());
        let target_of_filter = (plan.to, plan.is_bottom());
        let mut survivors = tree.with_code(survivors, state, target_of_filter, views, (&[], &inputs));
        let values = SeparatedValues::new(tree, state, target.origin).leaving(tree.garbage_files(state));
        let written = tree.write_tables(&mut survivors, &mut cutter, &target, values, proceed)?;
        let written_bytes = written.bytes();

        if let Some(table) = written.tables().iter().find(|table| table.last_seqno > last_seqno) {
            // An edit would make it a number that was never given out, and the next opening would refuse all.
            let found = table.last_seqno;
            let message = format!("tables hold operation {found}, and say that they end at {last_seqno}");
            return Err(Error::new(ErrorKind::Corruption, message).in_tree(tree.0.id));
        }
        let mut change = TablesChange::of(tree.0.id);
        change.removed = inputs;
        let added = written.tables().iter();
        change.added =
            added.map(|table| Added { level: plan.to, age, table: Arc::clone(table.meta()) }).collect();
        change.blobs = written.blobs().iter().map(|file| *file.meta()).collect();
        let dropped = survivors.dropped().entries;
        change.read_floor = survivors.read_floor(last_seqno);
        let has_changed = change.read_floor.is_some();
        let protect = |next: &mut TreeState| next.protect(views, has_changed);
        let Some(tables) = tree.commit_tables(state, &change, &[], written, protect)? else {
            return Ok(CompactionReport::nothing());
        };
        Ok(CompactionReport {
            read_bytes: plan.input_bytes(),
            written_bytes,
            outputs: tables.iter().map(|table| table.id).collect(),
            dropped_entries: dropped,
        })
    }
}

/// The input tables of each run, in key order.
fn inputs_by_run(plan: &CheckedPlan, state: &TreeState) -> Vec<(RunAge, Vec<TableRef>)> {
    let mut runs = Vec::new();
    for (_, level) in state.levels.iter() {
        for run in level {
            let is_input = |table: &&TableRef| plan.inputs.iter().any(|input| input.id == table.id);
            let tables: Vec<TableRef> = run.tables.iter().filter(is_input).cloned().collect();
            if !tables.is_empty() {
                runs.push((run.age, tables));
            }
        }
    }
    runs
}

/// A job that its caller ends.
pub fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the job was ended; nothing was changed")
}
