//! A tree that owns its facts and carries plans out, for tests.

use super::{
    plan::{CheckedPlan, PlanKind},
    shape::{LEVEL_COUNT, PendingOutput, TableShape, TreeShape},
};
use crate::{
    codec::Parity,
    order::KeyOrder,
    place::PlaceId,
    table::{BlockHandle, TableMeta},
    types::{Level, Seqno, TableId, UnixUs, Uuid},
};
use alloc::{vec, vec::Vec};

/// Levels of runs of tables, each with whether a job has taken it.
pub(super) struct OwnedTree {
    pub(super) levels: Vec<Vec<Vec<OwnedTable>>>,
    pub(super) pending: Vec<(Level, Vec<u8>, Vec<u8>)>,
}

pub(super) struct OwnedTable {
    pub(super) meta: TableMeta,
    pub(super) is_busy: bool,
}

impl OwnedTree {
    pub(super) fn new() -> OwnedTree {
        OwnedTree { levels: (0..LEVEL_COUNT).map(|_| Vec::new()).collect(), pending: Vec::new() }
    }

    pub(super) fn shape(&self) -> TreeShape<'_> {
        let levels = self.levels.iter().map(|level| level.iter().map(|run| run_of(run)).collect()).collect();
        let pending = self.pending.iter().map(|(level, first_key, last_key)| PendingOutput {
            level: *level,
            first_key,
            last_key,
        });
        TreeShape::new(KeyOrder::bytes(), levels, UnixUs(0)).with_pending(pending.collect())
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &OwnedTable> {
        self.levels.iter().flatten().flatten()
    }

    /// Marks the inputs of a job as taken, and its outputs as to come.
    pub(super) fn claim(&mut self, plan: &CheckedPlan) {
        for table in self.levels.iter_mut().flatten().flatten() {
            table.is_busy |= plan.inputs.iter().any(|input| input.id == table.meta.id);
        }
        self.pending.push((plan.to, plan.first_key.clone(), plan.last_key.clone()));
    }

    /// Carries out a plan that was claimed; `outputs`, in key order, are those of a merge.
    pub(super) fn install(&mut self, plan: &CheckedPlan, mut outputs: Vec<TableMeta>) {
        let claim = (plan.to, plan.first_key.clone(), plan.last_key.clone());
        let at = self.pending.iter().position(|pending| *pending == claim).expect("the plan was claimed");
        self.pending.remove(at);

        let is_input = |table: &OwnedTable| plan.inputs.iter().any(|input| input.id == table.meta.id);
        if plan.kind == PlanKind::Move {
            outputs.extend(self.tables().filter(|table| is_input(table)).map(|table| table.meta.clone()));
        }
        let place = self.levels[0].iter().position(|run| run.iter().any(is_input));
        for run in self.levels.iter_mut().flatten() {
            run.retain(|table| !is_input(table));
        }
        let outputs = outputs.into_iter().map(|meta| OwnedTable { meta, is_busy: false });
        let target = &mut self.levels[usize::from(plan.to.0)];
        if plan.to.0 == 0 {
            target.insert(place.expect("inputs lie in level 0"), outputs.collect());
        } else {
            if target.is_empty() {
                target.push(Vec::new());
            }
            target[0].extend(outputs);
            target[0].sort_by(|a, b| a.meta.first_key.cmp(&b.meta.first_key));
        }
        for level in &mut self.levels {
            level.retain(|run| !run.is_empty());
        }
    }
}

fn run_of(tables: &[OwnedTable]) -> Vec<TableShape<'_>> {
    tables.iter().map(|table| TableShape::new(&table.meta, table.is_busy)).collect()
}

/// A table over `[first, last]` of 100 entries and 10 bytes, written at the number of the table.
pub(super) fn meta(id: u64, first: &[u8], last: &[u8]) -> TableMeta {
    let block = BlockHandle { offset: 0, bytes: 0 };
    let seqno = Seqno::from_raw(id).expect("numbers of tables are small");
    TableMeta {
        id: TableId(id),
        uuid: Uuid::default(),
        bytes: 10,
        digest: 0,
        entries: 100,
        tombstones: 0,
        first_key: first.to_vec(),
        last_key: last.to_vec(),
        first_seqno: seqno,
        last_seqno: seqno,
        created_at: UnixUs(0),
        index: block,
        filter: None,
        properties: block,
        mirror_at: 0,
        ranges: None,
        expiry: None,
        number: None,
        blobs: Vec::new(),
        place: PlaceId::MAIN,
        seal: None,
        parity: Parity::None,
        statistics: block,
        prefix_filter: None,
        dictionary: None,
    }
}

/// One table in place of all inputs, as large as they are; at the bottom it has no tombstones.
pub(super) fn merged(tree: &OwnedTree, plan: &CheckedPlan, id: u64) -> Vec<TableMeta> {
    if plan.kind == PlanKind::Move {
        return Vec::new();
    }
    let inputs: Vec<&TableMeta> = tree
        .tables()
        .map(|table| &table.meta)
        .filter(|meta| plan.inputs.iter().any(|input| input.id == meta.id))
        .collect();
    let sum = |count: fn(&TableMeta) -> u64| inputs.iter().map(|meta| count(meta)).sum::<u64>();
    vec![TableMeta {
        bytes: sum(|meta| meta.bytes),
        entries: sum(|meta| meta.entries),
        tombstones: if plan.is_bottom() { 0 } else { sum(|meta| meta.tombstones) },
        first_seqno: inputs.iter().map(|meta| meta.first_seqno).min().expect("a plan has inputs"),
        last_seqno: inputs.iter().map(|meta| meta.last_seqno).max().expect("a plan has inputs"),
        ..meta(id, &plan.first_key, &plan.last_key)
    }]
}
