//! What a job is to do, and whether it may: [`validate`] is the one gate that keeps newer above older
//! (INV-VER-2) and runs disjoint (INV-VER-1). Pure: claims nothing, writes nothing.

use super::{
    older::OlderData,
    shape::{LAST_LEVEL, TableShape, TreeShape},
};
use crate::{
    error::{Error, ErrorKind, Result},
    types::{Level, TableId},
};
use alloc::{format, string::String, vec::Vec};

/// A job. Whether it keeps newer above older is checked when it is carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What is done with the inputs.
    pub kind: PlanKind,
    /// The tables, in any order.
    pub inputs: Vec<TableId>,
    /// Where their content is to be.
    pub to: Level,
}

/// What a job does with its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PlanKind {
    /// Writes what survives of them to new tables.
    Merge,
    /// Moves them as they are.
    Move,
    /// Drops them: no view needs them.
    Discard,
}

impl Plan {
    /// Merges tables into a level.
    pub fn merge(inputs: Vec<TableId>, to: Level) -> Plan {
        Plan { kind: PlanKind::Merge, inputs, to }
    }

    /// Drops tables, which the caller knows that no view needs.
    pub fn discard(inputs: Vec<TableId>) -> Plan {
        Plan { kind: PlanKind::Discard, inputs, to: LAST_LEVEL }
    }

    /// Moves tables without rewriting them.
    pub fn relocate(inputs: Vec<TableId>, to: Level) -> Plan {
        Plan { kind: PlanKind::Move, inputs, to }
    }
}

/// A plan that fits the shape it was checked against, and stays valid as long as its inputs are claimed and
/// [`PendingOutput`](super::PendingOutput) of `to`, `first_key`, `last_key` is in the shapes of later checks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedPlan {
    /// What is done with the inputs.
    pub kind: PlanKind,
    /// Where their content is to be. Below level 0 outputs join the single run; within level 0 they are one
    /// run in place of the runs of the inputs.
    pub to: Level,
    /// The tables, newest run first and in key order within a run.
    pub inputs: Vec<CheckedInput>,
    /// Least key of the inputs.
    pub first_key: Vec<u8>,
    /// Greatest key of the inputs.
    pub last_key: Vec<u8>,
    /// Which keys may have older versions outside of the job.
    pub older: OlderData,
}

/// A table that a job reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckedInput {
    /// Which.
    pub id: TableId,
    /// Where it lies.
    pub level: Level,
    /// Its run among those of the level, newest first, at the time of the check.
    pub run: usize,
    /// Size of its file.
    pub bytes: u64,
}

impl CheckedPlan {
    /// Whether no key of the job has older versions outside: not below the target, nor in older runs.
    pub fn is_bottom(&self) -> bool {
        self.older.is_none()
    }

    /// Bytes of all inputs.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.bytes).sum()
    }
}

/// Checks a plan against a tree.
///
/// # Errors
///
/// `NotFound` if an input is not in the tree. `Busy` if an input is taken, or if a running job is in the way:
/// pick again when it is done. `InvalidArgument` if the plan would put newer versions below older ones or
/// make tables of a run overlap, and for plans without inputs, with one twice, upwards, or beyond the last
/// level.
pub fn validate(tree: &TreeShape<'_>, plan: &Plan) -> Result<CheckedPlan> {
    let picked = Picked::new(tree, plan)?;
    if plan.kind == PlanKind::Discard {
        return Ok(picked.into_checked());
    }
    if plan.to.0 == 0 {
        picked.check_whole_adjacent_runs()?;
    } else {
        picked.check_nothing_is_passed()?;
        picked.check_room_in_target()?;
    }
    Ok(picked.into_checked())
}

/// The inputs of a plan, found in the tree.
struct Picked<'t, 'a> {
    tree: &'t TreeShape<'a>,
    plan: &'t Plan,
    /// Numbers of the inputs, sorted.
    ids: Vec<TableId>,
    inputs: Vec<Input<'a>>,
    first_key: &'a [u8],
    last_key: &'a [u8],
}

struct Input<'a> {
    /// Place of the run among all runs of the tree, newest first.
    age: usize,
    level: Level,
    run_at: usize,
    table: TableShape<'a>,
}

impl<'t, 'a> Picked<'t, 'a> {
    fn new(tree: &'t TreeShape<'a>, plan: &'t Plan) -> Result<Picked<'t, 'a>> {
        if plan.to > LAST_LEVEL {
            return Err(invalid(format!("{} is below the last level", plan.to)));
        }
        let mut ids = plan.inputs.clone();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(format!("table {} is an input twice", pair[0])));
        }

        let inputs: Vec<Input<'_>> = tree
            .runs_by_age()
            .enumerate()
            .flat_map(|(age, (level, run_at, run))| {
                run.tables().iter().map(move |&table| Input { age, level, run_at, table })
            })
            .filter(|input| ids.binary_search(&input.table.id()).is_ok())
            .collect();
        if inputs.len() < ids.len() {
            let missing = ids.iter().find(|&&id| inputs.iter().all(|input| input.table.id() != id));
            let missing = missing.expect("a table is in a tree once");
            return Err(Error::new(ErrorKind::NotFound, format!("table {missing} is not in the tree")));
        }
        let Some((first_key, last_key)) = tree.hull(inputs.iter().map(|input| input.table)) else {
            return Err(invalid("a compaction needs inputs"));
        };
        if let Some(busy) = inputs.iter().find(|input| input.table.is_busy()) {
            return Err(taken(busy.table.id()));
        }
        if let Some(deep) = inputs.iter().find(|input| input.level > plan.to) {
            return Err(invalid(format!(
                "table {} would rise from {} to {}",
                deep.table.id(),
                deep.level,
                plan.to
            )));
        }
        let there = inputs.iter().find(|input| plan.kind == PlanKind::Move && input.level == plan.to);
        if let Some(there) = there {
            return Err(invalid(format!("table {} is in {} already", there.table.id(), plan.to)));
        }
        Ok(Picked { tree, plan, ids, inputs, first_key, last_key })
    }

    /// A merge within level 0 replaces whole runs that follow each other by one.
    fn check_whole_adjacent_runs(&self) -> Result<()> {
        let (newest, oldest) = self.ages();
        for (_, _, run) in self.tree.runs_by_age().take(oldest + 1).skip(newest) {
            if let Some(left) = run.tables().iter().find(|table| !self.has(table)) {
                return Err(in_the_way(left, "a merge within L0 takes whole runs of adjacent age"));
            }
        }
        Ok(())
    }

    /// No input may pass an older version of its keys on the way down.
    fn check_nothing_is_passed(&self) -> Result<()> {
        for input in &self.inputs {
            let (first, last) = (input.table.first_key(), input.table.last_key());
            let behind = self.tree.runs_by_age().skip(input.age + 1);
            for (_, _, run) in behind.take_while(|(level, _, _)| *level <= self.plan.to) {
                if let Some(passed) = run.overlapping(first, last).iter().find(|table| !self.has(table)) {
                    let rule = format!(
                        "INV-VER-2: table {} would pass it on the way to {}",
                        input.table.id(),
                        self.plan.to
                    );
                    return Err(in_the_way(passed, &rule));
                }
            }
        }
        Ok(())
    }

    /// Outputs must not overlap other tables of the target's run, nor those that running jobs put there.
    fn check_room_in_target(&self) -> Result<()> {
        match self.plan.kind {
            PlanKind::Discard => Ok(()),
            // One output may span all inputs.
            PlanKind::Merge => self.check_room(self.first_key, self.last_key),
            PlanKind::Move => {
                let mut tables: Vec<TableShape<'_>> = self.inputs.iter().map(|input| input.table).collect();
                let order = self.tree.order();
                tables.sort_unstable_by(|a, b| order.compare(a.first_key(), b.first_key()));
                if let Some(pair) = tables.windows(2).find(|pair| self.tree.overlap(&pair[0], &pair[1])) {
                    return Err(invalid(format!(
                        "INV-VER-1: tables {} and {} overlap and cannot be in one run",
                        pair[0].id(),
                        pair[1].id()
                    )));
                }
                tables.iter().try_for_each(|table| self.check_room(table.first_key(), table.last_key()))
            }
        }
    }

    fn check_room(&self, first: &[u8], last: &[u8]) -> Result<()> {
        if self.tree.is_pending(self.plan.to, first, last) {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("a running job will put tables into the same range of {}", self.plan.to),
            ));
        }
        let there = self.tree.level(self.plan.to).overlapping(first, last);
        match there.iter().find(|table| !self.has(table)) {
            Some(left) => Err(in_the_way(left, "INV-VER-1: it overlaps the outputs")),
            None => Ok(()),
        }
    }

    fn into_checked(self) -> CheckedPlan {
        let older = self.older();
        CheckedPlan {
            kind: self.plan.kind,
            to: self.plan.to,
            first_key: self.first_key.to_vec(),
            last_key: self.last_key.to_vec(),
            older,
            inputs: self
                .inputs
                .iter()
                .map(|input| CheckedInput {
                    id: input.table.id(),
                    level: input.level,
                    run: input.run_at,
                    bytes: input.table.bytes(),
                })
                .collect(),
        }
    }

    /// What lies behind the outputs. Between an input and the target nothing of its keys is left out, so that
    /// only the runs behind the target count; within level 0 these are the runs behind the oldest input.
    fn older(&self) -> OlderData {
        let (_, oldest_input) = self.ages();
        let behind = self.tree.runs_by_age().enumerate().filter(|(age, (level, _, _))| {
            if self.plan.to.0 == 0 { *age > oldest_input } else { *level > self.plan.to }
        });
        OlderData::in_ranges(
            self.tree.order(),
            behind.flat_map(|(_, (_, _, run))| {
                run.overlapping(self.first_key, self.last_key)
                    .iter()
                    .map(|table| (table.first_key(), table.last_key()))
            }),
        )
    }

    /// The ages of the newest and the oldest run with an input.
    fn ages(&self) -> (usize, usize) {
        let ages = self.inputs.iter().map(|input| input.age);
        let newest = ages.clone().min().expect("a plan has inputs");
        (newest, ages.max().expect("a plan has inputs"))
    }

    fn has(&self, table: &TableShape<'_>) -> bool {
        self.ids.binary_search(&table.id()).is_ok()
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn taken(id: TableId) -> Error {
    Error::new(ErrorKind::Busy, format!("table {id} is taken by another job"))
}

/// A table that is no input but would have to be one. If a job has it, the plan may fit when that is done.
fn in_the_way(table: &TableShape<'_>, rule: &str) -> Error {
    if table.is_busy() {
        return taken(table.id());
    }
    invalid(format!("table {} is no input: {rule}", table.id()))
}
