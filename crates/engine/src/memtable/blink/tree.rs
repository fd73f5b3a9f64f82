//! The tree: from the root to a leaf, and what happens when a node is full.

use super::{
    super::{atomics::AtomicPtr, pool::PagePool},
    arena::Arena,
    node::{Before, Node, NodeRef, Version},
    record::RecordRef,
};
use crate::{
    iter::{Entry, EntryChecksum},
    key::{InternalKey, ValueKind},
    order::KeyOrder,
};
use alloc::sync::Arc;
use core::{ptr::NonNull, sync::atomic::Ordering};

/// Records of a node.
const NODE_RECORDS: usize = 128;

/// An ordered set of operations, by key and number. Under orders other than that of bytes heads are not looked at. `N` is the number of records of a node, at least 4.
///
/// On lines of its own: the counts of whoever holds the tree change beside readers who load the root.
#[repr(align(128))]
pub(crate) struct Blink<const N: usize = NODE_RECORDS> {
    root: AtomicPtr<Node<N>>,
    pub(super) arena: Arena,
    order: KeyOrder,
}

/// Where a search ended: a node, the version it had, and how many of its records come before the place.
pub(super) struct Found<'a, const N: usize> {
    pub(super) node: NodeRef<'a, N>,
    pub(super) version: Version,
    pub(super) rank: usize,
}

impl<const N: usize> Blink<N> {
    /// Without operations, for keys in this order. What it takes of the pool goes back there when it is dropped.
    pub(crate) fn new(pool: Arc<PagePool>, order: &KeyOrder) -> Blink<N> {
        const { assert!(N >= 4, "a node that is split leaves two that can be split") };
        let arena = Arena::new(pool);
        let root = NodeRef::<N>::new(&arena, 0, None).0.as_ptr();
        Blink { root: AtomicPtr::new(root), arena, order: order.clone() }
    }

    /// Adds an operation, whose number no other one of its key has. Returns the memory it takes, in bytes.
    pub(crate) fn insert(
        &self,
        place: InternalKey<'_>,
        kind: ValueKind,
        value: &[u8],
        checksum: Option<EntryChecksum>,
    ) -> u64 {
        let record = RecordRef::write(&self.arena, place, kind, value, checksum);
        let bytes = Arena::taken_by(RecordRef::bytes(place.key, value, checksum));
        (bytes + self.insert_record(record)) as u64
    }

    /// Changes a bit of the value of the newest operation of a key.
    #[cfg(test)]
    pub(crate) fn flip(&self, key: &[u8], bit: usize) {
        let Found { node, rank, .. } =
            self.find(InternalKey::first_of(key), 0, Before::LessOrEqual, Before::Less);
        let record = node.record(rank).expect("the key is there");
        assert!(record.key() == key && bit / 8 < record.value().len(), "the value has that bit");
        // SAFETY: the test that calls this is alone with the tree.
        unsafe { record.flip(bit) };
    }

    /// The newest operation of a key that is not newer than the place.
    #[inline]
    pub(crate) fn get(&self, place: InternalKey<'_>) -> Option<(Entry<'_>, &[u8])> {
        let record = loop {
            let Found { node, version, rank } = self.find(place, 0, Before::LessOrEqual, Before::Less);
            // The least record of the right neighbour is the high of this node.
            let record = if rank < node.len() { node.record(rank) } else { node.high() };
            if node.is_still(version) {
                break record;
            }
        };
        record.filter(|record| record.key() == place.key).map(|record| (record.entry(), record.value()))
    }

    /// About the share of the records that come before a place, 0.0 to 1.0: children of a node count alike, though one
    /// may hold twice as many as another.
    pub(crate) fn share_before(&self, place: InternalKey<'_>) -> f64 {
        let mut node = self.root();
        // Of all records: those before the node, and those in it.
        let (mut share, mut width) = (0.0, 1.0);
        loop {
            let version = node.version();
            let (len, before, is_leaf) =
                (node.len(), node.rank(&self.order, place, Before::Less), node.level() == 0);
            let is_past = before == len
                && node.high().is_some_and(|high| Before::LessOrEqual.holds(&self.order, high, place));
            let onward = if is_past {
                node.next()
            } else if is_leaf {
                None
            } else {
                node.child(before)
            };
            if !node.is_still(version) {
                continue;
            }
            let Some(further) = onward else {
                return share + width * before as f64 / len.max(1) as f64;
            };
            // A neighbour that the level above does not know yet takes the place of what was split.
            if !is_past {
                width /= (len + 1) as f64;
                share += width * before as f64;
            }
            node = further;
        }
    }

    fn root(&self) -> NodeRef<'_, N> {
        let root = NonNull::new(self.root.load(Ordering::Acquire)).expect("a tree has a root");
        // SAFETY: it was initialised before it was stored with `Release`, and its arena is this tree's.
        unsafe { NodeRef::from_ptr(root) }
    }

    /// The first leaf.
    pub(super) fn first_leaf(&self) -> NodeRef<'_, N> {
        let mut node = self.root();
        while node.level() > 0 {
            node = node.child(0).expect("a node above the lowest level has children");
        }
        node
    }

    /// The last leaf, as of some moment.
    pub(super) fn last_leaf(&self) -> NodeRef<'_, N> {
        let mut node = self.root();
        loop {
            let version = node.version();
            let below = if node.level() > 0 { node.child(node.len()) } else { None };
            let next = node.next();
            if !node.is_still(version) {
                continue;
            }
            match next.or(below) {
                Some(further) => node = further,
                None => return node,
            }
        }
    }

    /// The node of a level in whose range a place lies. `descend` says where a place belongs that is equal to
    /// the border of two nodes: in the right one with `LessOrEqual`, in the left one with `Less`; `rank` how
    /// the records of the node that is found are counted.
    pub(super) fn find(
        &self,
        place: InternalKey<'_>,
        level: u32,
        descend: Before,
        rank: Before,
    ) -> Found<'_, N> {
        let mut node = self.root();
        loop {
            let version = node.version();
            let is_there = node.level() == level;
            let before = node.rank(&self.order, place, if is_there { rank } else { descend });
            let is_past_all = before == node.len();
            let onward = match is_past_all
                && node.high().is_some_and(|high| descend.holds(&self.order, high, place))
            {
                true => node.next(),
                false if is_there => None,
                false => node.child(before),
            };
            if !node.is_still(version) {
                continue;
            }
            match onward {
                Some(further) => {
                    further.prefetch();
                    node = further;
                }
                None => return Found { node, version, rank: before },
            }
        }
    }

    /// Returns the bytes of new nodes.
    fn insert_record(&self, record: RecordRef<'_>) -> usize {
        loop {
            let Found { node, version, rank } =
                self.find(record.place(), 0, Before::LessOrEqual, Before::Less);
            let Some(taken) = node.take(version) else { continue };
            if !taken.is_full() {
                taken.insert(&self.order, rank, record, None);
                return 0;
            }
            if rank == N && node.next().is_none() {
                // Keys that come in order leave full leaves behind.
                let (right, bytes) = taken.append_neighbour(&self.order, &self.arena, record);
                drop(taken);
                return bytes + self.insert_child(1, record, right);
            }
            let (right, separator, bytes) = taken.split(&self.order, &self.arena, N / 2);
            if rank <= N / 2 {
                taken.insert(&self.order, rank, record, None);
                drop(taken);
                return bytes + self.insert_child(1, separator, right);
            }
            // Nobody finds the neighbour before this node is given back; it is taken all the same.
            let neighbour = right.take(right.version()).expect("nobody knows of it yet");
            neighbour.insert(&self.order, rank - N / 2, record, None);
            drop(neighbour);
            drop(taken);
            return bytes + self.insert_child(1, separator, right);
        }
    }

    /// Tells the level above of a node that was split: `child` begins with `separator`. Returns the bytes of
    /// new nodes.
    fn insert_child(&self, level: u32, separator: RecordRef<'_>, child: NodeRef<'_, N>) -> usize {
        let mut bytes = 0;
        loop {
            let root = self.root();
            if root.level() < level {
                bytes += self.grow(root);
                continue;
            }
            let Found { node, version, rank } =
                self.find(separator.place(), level, Before::LessOrEqual, Before::LessOrEqual);
            let Some(taken) = node.take(version) else { continue };
            if !taken.is_full() {
                taken.insert(&self.order, rank, separator, Some(child));
                return bytes;
            }
            let at = N / 2;
            let (right, up, more) = taken.split(&self.order, &self.arena, at);
            if rank <= at {
                taken.insert(&self.order, rank, separator, Some(child));
            } else {
                let neighbour = right.take(right.version()).expect("nobody knows of it yet");
                neighbour.insert(&self.order, rank - at - 1, separator, Some(child));
            }
            drop(taken);
            return bytes + more + self.insert_child(level + 1, up, right);
        }
    }

    /// Puts a new root above `root`, unless somebody did. Whoever split a node of the highest level may find
    /// that another one has: either can be first to need a level above.
    fn grow(&self, root: NodeRef<'_, N>) -> usize {
        let (above, bytes) = NodeRef::new(&self.arena, root.level() + 1, Some(root));
        // If it was late, the memory is lost to the arena, and counted.
        let _ =
            self.root.compare_exchange(root.as_ptr(), above.as_ptr(), Ordering::Release, Ordering::Relaxed);
        bytes
    }

    /// Numbers, for tests of the shape.
    #[cfg(test)]
    pub(super) fn root_level(&self) -> u32 {
        self.root().level()
    }
}

impl<const N: usize> Default for Blink<N> {
    fn default() -> Blink<N> {
        Blink::new(Arc::default(), &KeyOrder::BYTES)
    }
}
