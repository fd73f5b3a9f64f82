//! Which part of what is not durable survives a power loss.

use super::{
    content::{Content, SECTOR_BYTES, Sector},
    state::{DirNode, Entries, FileNode, Node, NodeId, ROOT, State, Unsynced},
};
use crate::entropy::SeededEntropy;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

/// Which part of what is not durable survives a power loss. All else of an image is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Survival {
    /// One of those below, except [`Survival::From`] and [`Survival::SyncedFiles`]; the seed decides.
    Any,
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Each sector of 512 bytes, each size and each change of an entry by itself. A sector that was written
    /// several times since it was durable may hold what any of the writes left; a file that grew may have
    /// grown by a part.
    Pieces {
        /// Of 100 pieces so many survive.
        keep_percent: u8,
        /// What a lost piece may leave.
        damage: Damage,
    },
    /// Each file and each directory in whole, with all that was done to it or nothing.
    Whole,
    /// What was done at the step of this number and later survives, what was done earlier does not: the order
    /// of earlier and later is reversed.
    From(u64),
    /// A weaker model, which other simulators have, for comparison: names are durable at once, and of a file
    /// all that was there at its last sync survives. A file that was never synced is gone, and what it
    /// replaced does not come back.
    SyncedFiles,
}

/// What is left of a piece that did not survive as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// Sectors are atomic, and what was never written reads as zeros.
    None,
    /// Now and then a sector holds the first bytes of what was written and the last ones of what it held
    /// before; and behind the durable end of a file a lost sector may read as anything.
    TornAndStale,
}

/// A piece that is not durable, to be kept or lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Piece<'a> {
    /// Number of the step that made it.
    pub step: u64,
    /// Whether a sync that was muted should have made it durable.
    pub is_muted: bool,
    /// The file's name at its last creation or rename; of a change of entries the entry's name in its
    /// directory.
    pub name: &'a str,
    /// What it is.
    pub kind: PieceKind,
}

/// What is not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PieceKind {
    /// Content of the sector of this number, from byte `512 * number` of the file on.
    Sector(u64),
    /// A size of the file.
    Size(u64),
    /// A change of a directory's entries.
    Entry,
}

/// Decides piece by piece. Asked in one order for one state, so that a seed repeats.
pub(super) struct Chooser<'a> {
    keeps: Keeps<'a>,
    damage: Damage,
    /// Files may have grown by a part.
    grows_in_parts: bool,
    seeded: SeededEntropy,
}

enum Keeps<'a> {
    All(bool),
    Percent(u8),
    /// The file or directory that was decided last, and how.
    Whole(Option<(NodeId, bool)>),
    From(u64),
    If(&'a mut dyn FnMut(Piece<'_>) -> bool),
}

impl<'a> Chooser<'a> {
    pub(super) fn new(survival: Survival, seed: u64) -> Chooser<'a> {
        let mut chooser = Chooser::of(Keeps::All(false), seed);
        match survival {
            Survival::Nothing => {}
            Survival::Everything => chooser.keeps = Keeps::All(true),
            Survival::Whole => chooser.keeps = Keeps::Whole(None),
            Survival::From(step) => chooser.keeps = Keeps::From(step),
            Survival::Pieces { keep_percent, damage } => chooser.break_up(keep_percent, damage),
            Survival::Any => match chooser.below(8) {
                0 => {}
                1 => chooser.keeps = Keeps::All(true),
                2 => chooser.keeps = Keeps::Whole(None),
                3 => chooser.break_up(10, Damage::None),
                4 => chooser.break_up(90, Damage::None),
                5 => chooser.break_up(50, Damage::TornAndStale),
                _ => chooser.break_up(50, Damage::None),
            },
            Survival::SyncedFiles => unreachable!("has no pieces"),
        }
        chooser
    }

    pub(super) fn keeping(keeps: &'a mut dyn FnMut(Piece<'_>) -> bool) -> Chooser<'a> {
        Chooser::of(Keeps::If(keeps), 0)
    }

    fn of(keeps: Keeps<'a>, seed: u64) -> Chooser<'a> {
        Chooser { keeps, damage: Damage::None, grows_in_parts: false, seeded: SeededEntropy::new(seed) }
    }

    fn break_up(&mut self, keep_percent: u8, damage: Damage) {
        self.keeps = Keeps::Percent(keep_percent);
        self.damage = damage;
        self.grows_in_parts = true;
    }

    fn below(&self, end: u64) -> u64 {
        self.seeded.next_word() % end
    }

    fn keeps<T>(&mut self, node: NodeId, name: &str, kind: PieceKind, piece: &Unsynced<T>) -> bool {
        match &mut self.keeps {
            Keeps::All(all) => *all,
            Keeps::Percent(percent) => self.seeded.next_word() % 100 < u64::from(*percent),
            Keeps::Whole(Some((last, keeps))) if *last == node => *keeps,
            Keeps::Whole(last) => {
                let keeps = self.seeded.next_word().is_multiple_of(2);
                *last = Some((node, keeps));
                keeps
            }
            Keeps::From(step) => piece.step >= *step,
            Keeps::If(keeps) => keeps(Piece { step: piece.step, is_muted: piece.is_muted, name, kind }),
        }
    }

    /// A part of the way from one size to a greater one.
    fn part_of_growth(&self, from: u64, to: u64) -> Option<u64> {
        if !self.grows_in_parts || from >= to || self.below(3) > 0 {
            return None;
        }
        let sectors = from / SECTOR_BYTES as u64..to.div_ceil(SECTOR_BYTES as u64);
        let part = (sectors.start + self.below(sectors.end - sectors.start)) * SECTOR_BYTES as u64;
        Some(part.max(from))
    }

    /// How much of a sector that is lost was written all the same.
    fn torn_bytes(&self) -> Option<usize> {
        let is_torn = self.damage == Damage::TornAndStale && self.below(8) == 0;
        is_torn.then(|| self.below(SECTOR_BYTES as u64) as usize)
    }

    fn stale_sector(&self) -> Option<Sector> {
        if self.damage == Damage::None || self.below(2) == 0 {
            return None;
        }
        let mut sector = [0; SECTOR_BYTES];
        for word in sector.chunks_exact_mut(8) {
            word.copy_from_slice(&self.seeded.next_word().to_le_bytes());
        }
        Some(Arc::new(sector))
    }
}

impl State {
    /// What is there after a power loss; all of it is durable.
    pub(super) fn after_power_loss(&self, chooser: &mut Chooser<'_>) -> State {
        let mut image = State { nodes: BTreeMap::new(), next: self.next };
        // What no entry leads to is not there either, so this goes from the root down.
        let mut waiting = Vec::from([ROOT]);
        while let Some(id) = waiting.pop() {
            let node = match self.node(id) {
                _ if image.nodes.contains_key(&id) => continue, // A second name of a file.
                Node::Dir(dir) => {
                    let entries = dir.survivors(id, chooser);
                    waiting.extend(entries.values().copied());
                    Node::Dir(Arc::new(DirNode::settled(entries)))
                }
                Node::File(file) => {
                    let content = file.survivors(id, chooser);
                    Node::File(Arc::new(FileNode::settled(Arc::clone(&file.name), content)))
                }
            };
            image.nodes.insert(id, node);
        }
        image
    }

    /// What the weaker model says is there: see [`Survival::SyncedFiles`].
    pub(super) fn with_synced_files(&self) -> State {
        let mut image = self.clone();
        for node in image.nodes.values_mut() {
            match node {
                Node::Dir(dir) => {
                    let is_kept = |id| match self.node(id) {
                        Node::Dir(_) => true,
                        Node::File(file) => file.was_synced,
                    };
                    let entries = dir.now.iter().filter(|&(_, &id)| is_kept(id));
                    let entries = entries.map(|(part, &id)| (Arc::clone(part), id)).collect();
                    *dir = Arc::new(DirNode::settled(entries));
                }
                Node::File(file) => {
                    *file = Arc::new(FileNode::settled(Arc::clone(&file.name), Arc::clone(&file.durable)));
                }
            }
        }
        image.collect(|_| false);
        image
    }
}

impl DirNode {
    fn survivors(&self, id: NodeId, chooser: &mut Chooser<'_>) -> Entries {
        let mut entries = self.durable.clone();
        for change in &self.changes {
            if chooser.keeps(id, change.value.name(), PieceKind::Entry, change) {
                change.value.carry_out(&mut entries);
            }
        }
        entries
    }
}

impl FileNode {
    fn survivors(&self, id: NodeId, chooser: &mut Chooser<'_>) -> Arc<Content> {
        if self.sizes.is_empty() && self.sectors.is_empty() {
            return Arc::clone(&self.durable);
        }
        let mut content = Content::clone(&self.durable);
        for (&number, versions) in &self.sectors {
            content.put(number, self.surviving_sector(id, number, versions, chooser));
        }
        content.set_len(self.surviving_size(id, chooser), |_, _| {});
        Arc::new(content)
    }

    fn surviving_size(&self, id: NodeId, chooser: &mut Chooser<'_>) -> u64 {
        let durable_bytes = self.durable.size_bytes();
        let (mut size_bytes, mut before_bytes) = (durable_bytes, durable_bytes);
        for size in &self.sizes {
            if chooser.keeps(id, &self.name, PieceKind::Size(size.value), size) {
                size_bytes = size.value;
            } else if let Some(part_bytes) = chooser.part_of_growth(before_bytes, size.value) {
                size_bytes = part_bytes;
            }
            before_bytes = size.value;
        }
        size_bytes
    }

    fn surviving_sector(
        &self,
        id: NodeId,
        number: u64,
        versions: &[Unsynced<Option<Sector>>],
        chooser: &mut Chooser<'_>,
    ) -> Option<Sector> {
        let durable = self.durable.sector(number);
        let is_behind_end = number >= self.durable.size_bytes().div_ceil(SECTOR_BYTES as u64);
        let (mut survivor, mut before, mut is_lost) = (durable.clone(), durable, true);
        for version in versions {
            if chooser.keeps(id, &self.name, PieceKind::Sector(number), version) {
                survivor = version.value.clone();
                is_lost = false;
            } else if let Some(bytes) = chooser.torn_bytes() {
                survivor = Some(torn(&version.value, &before, bytes));
                is_lost = false;
            }
            before = version.value.clone();
        }
        if is_lost && is_behind_end { chooser.stale_sector().or(survivor) } else { survivor }
    }
}

/// The first bytes of one sector and the last ones of another.
fn torn(new: &Option<Sector>, old: &Option<Sector>, bytes: usize) -> Sector {
    let bytes_of = |sector: &Option<Sector>| sector.as_deref().copied().unwrap_or([0; SECTOR_BYTES]);
    let mut torn = bytes_of(old);
    torn[..bytes].copy_from_slice(&bytes_of(new)[..bytes]);
    Arc::new(torn)
}
