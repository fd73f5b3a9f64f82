//! Nodes: records in order with their heads, and below a root also children.
//!
//! What a node holds is changed by whoever has made its version odd, and read by anybody at any time: what a
//! reader sees may belong to no one moment, until it proves that the version is the same still. It is never
//! anything but pointers to whole records and nodes, and a length that is cut to `N`.

use super::{
    super::atomics::{AtomicPtr, AtomicU32, AtomicU64, fence, relax},
    arena::Arena,
    record::{Record, RecordRef},
};
use crate::{
    key::{InternalKey, common_prefix_len},
    order::KeyOrder,
    prefetch::prefetch,
};
use core::{array, cmp::Ordering as Order, marker::PhantomData, ptr, ptr::NonNull, sync::atomic::Ordering};

/// Words of a prefix that a node keeps.
const PREFIX_WORDS: usize = 4;

/// Longest prefix, in bytes. Keys that share more have equal heads.
const MAX_PREFIX_BYTES: usize = 8 * PREFIX_WORDS;

/// A node of the lowest level, and what every other begins with.
#[repr(C, align(64))]
pub(super) struct Node<const N: usize> {
    /// Odd while somebody changes the node; greater by two behind each change.
    version: AtomicU64,
    len: AtomicU32,
    prefix_len: AtomicU32,
    prefix: [AtomicU64; PREFIX_WORDS],
    /// Above the lowest level, which is 0. Never changed.
    level: u32,
    /// The least record of the right neighbour; null at the right edge.
    high: AtomicPtr<Record>,
    next: AtomicPtr<Node<N>>,
    heads: [AtomicU64; N],
    records: [AtomicPtr<Record>; N],
}

/// A node above the lowest level. Below a child lies what is not less than the record before it and less than
/// the record behind it.
#[repr(C)]
struct Inner<const N: usize> {
    node: Node<N>,
    /// What is less than the first record.
    first: AtomicPtr<Node<N>>,
    /// Behind each record.
    children: [AtomicPtr<Node<N>>; N],
}

/// Which records of a node come before a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Before {
    /// Those that are less.
    Less,
    /// Those that are less, and one at the place itself.
    LessOrEqual,
}

/// A node of a tree that lives for `'a`.
pub(super) struct NodeRef<'a, const N: usize> {
    node: NonNull<Node<N>>,
    arena: PhantomData<&'a Arena>,
}

impl<const N: usize> Clone for NodeRef<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<const N: usize> Copy for NodeRef<'_, N> {}

/// An even version that a node had.
#[derive(Clone, Copy)]
pub(super) struct Version(u64);

/// A node that the owner of this alone may change. Dropped, it gives the node back, changed.
pub(super) struct Taken<'a, const N: usize> {
    pub(super) node: NodeRef<'a, N>,
    version: Version,
}

impl<const N: usize> Drop for Taken<'_, N> {
    fn drop(&mut self) {
        self.node.get().version.store(self.version.0 + 2, Ordering::Release);
    }
}

/// Size of a node.
fn node_bytes<const N: usize>(level: u32) -> usize {
    if level == 0 { size_of::<Node<N>>() } else { size_of::<Inner<N>>() }
}

impl<'a, const N: usize> NodeRef<'a, N> {
    /// A new node without records, and what it takes. `first` is its only child, if it is above the lowest
    /// level.
    pub(super) fn new(
        arena: &'a Arena,
        level: u32,
        first: Option<NodeRef<'a, N>>,
    ) -> (NodeRef<'a, N>, usize) {
        debug_assert_eq!(level > 0, first.is_some(), "nodes above the lowest level have children");
        let bytes = node_bytes::<N>(level);
        let node = arena.allocate_lines(bytes).cast::<Node<N>>();
        let content = Node {
            version: AtomicU64::new(0),
            len: AtomicU32::new(0),
            prefix_len: AtomicU32::new(0),
            prefix: array::from_fn(|_| AtomicU64::new(0)),
            level,
            high: AtomicPtr::new(ptr::null_mut()),
            next: AtomicPtr::new(ptr::null_mut()),
            heads: array::from_fn(|_| AtomicU64::new(0)),
            records: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        };
        // SAFETY: the memory is as large as the node of its level, aligned to a line, and nobody else's yet.
        unsafe {
            match first {
                None => node.write(content),
                Some(first) => node.cast().write(Inner {
                    node: content,
                    first: AtomicPtr::new(first.as_ptr()),
                    children: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
                }),
            }
        }
        (NodeRef { node, arena: PhantomData }, Arena::taken_by_lines(bytes))
    }

    /// # Safety
    ///
    /// `node` was initialised before what the caller has seen with `Acquire`, and its arena lives for `'a`.
    pub(super) unsafe fn from_ptr(node: NonNull<Node<N>>) -> NodeRef<'a, N> {
        NodeRef { node, arena: PhantomData }
    }

    pub(super) fn as_ptr(self) -> *mut Node<N> {
        self.node.as_ptr()
    }

    fn get(self) -> &'a Node<N> {
        // SAFETY: it was initialised before it was found; everything in it that changes is atomic.
        unsafe { self.node.as_ref() }
    }

    fn inner(self) -> &'a Inner<N> {
        assert!(self.level() > 0, "leaves have no children");
        // SAFETY: as in `get`; a node of this level was made as an inner one.
        unsafe { self.node.cast().as_ref() }
    }

    pub(super) fn level(self) -> u32 {
        self.get().level
    }

    // ----- versions -----

    /// An even version; waits for whoever changes the node.
    pub(super) fn version(self) -> Version {
        let mut turns = 0;
        loop {
            let version = self.get().version.load(Ordering::Acquire);
            if version.is_multiple_of(2) {
                return Version(version);
            }
            relax(&mut turns);
        }
    }

    /// Whether nothing was changed since the node had this version. Only then was what was read ever true.
    pub(super) fn is_still(self, version: Version) -> bool {
        fence(Ordering::Acquire);
        self.get().version.load(Ordering::Relaxed) == version.0
    }

    /// Takes the node, if it has this version still.
    pub(super) fn take(self, version: Version) -> Option<Taken<'a, N>> {
        let odd = version.0 + 1;
        self.get().version.compare_exchange(version.0, odd, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        fence(Ordering::Release);
        Some(Taken { node: self, version })
    }

    // ----- what readers see -----

    pub(super) fn len(self) -> usize {
        (self.get().len.load(Ordering::Relaxed) as usize).min(N)
    }

    /// A record; `None` where there is none, which the version then shows.
    pub(super) fn record(self, at: usize) -> Option<RecordRef<'a>> {
        self.found(&self.get().records[at])
    }

    pub(super) fn high(self) -> Option<RecordRef<'a>> {
        self.found(&self.get().high)
    }

    fn found(self, place: &AtomicPtr<Record>) -> Option<RecordRef<'a>> {
        let record = NonNull::new(place.load(Ordering::Acquire));
        // SAFETY: only records of the tree's arena are stored in its nodes, behind a `Release` fence that
        // came behind the writing of the record.
        record.map(|record| unsafe { RecordRef::from_ptr(record) })
    }

    /// The right neighbour.
    pub(super) fn next(self) -> Option<NodeRef<'a, N>> {
        self.linked(&self.get().next)
    }

    /// The child behind so many records.
    pub(super) fn child(self, behind: usize) -> Option<NodeRef<'a, N>> {
        let inner = self.inner();
        self.linked(behind.checked_sub(1).map_or(&inner.first, |at| &inner.children[at]))
    }

    fn linked(self, place: &AtomicPtr<Node<N>>) -> Option<NodeRef<'a, N>> {
        let node = NonNull::new(place.load(Ordering::Relaxed));
        // SAFETY: only nodes of the tree's arena are stored in its nodes, and it is followed only if the
        // version proves to be the same, behind which it was initialised.
        node.map(|node| unsafe { NodeRef::from_ptr(node) })
    }

    /// Asks for all lines that a search may read, so that those of pointers do not come behind those of
    /// heads.
    pub(super) fn prefetch(self) {
        prefetch(self.node.as_ptr(), size_of::<Node<N>>());
    }

    /// How many records come before a place in the tree's order.
    #[inline]
    pub(super) fn rank(self, order: &KeyOrder, place: InternalKey<'_>, before: Before) -> usize {
        if order.is_bytewise() {
            self.rank_by_heads(place, before)
        } else {
            self.rank_by_keys(order, place, before)
        }
    }

    #[cold]
    fn rank_by_keys(self, order: &KeyOrder, place: InternalKey<'_>, before: Before) -> usize {
        let comes_before = |record: &AtomicPtr<Record>| {
            self.found(record).is_some_and(|record| before.holds(order, record, place))
        };
        self.get().records[..self.len()].partition_point(comes_before)
    }

    #[inline]
    fn rank_by_heads(self, place: InternalKey<'_>, before: Before) -> usize {
        let (node, len) = (self.get(), self.len());
        let prefix_len = node.prefix_len.load(Ordering::Relaxed) as usize;
        match self.compare_prefix(place.key, prefix_len) {
            Order::Less => return 0,
            Order::Greater => return len,
            Order::Equal => {}
        }
        let head = head_of(place.key, prefix_len);
        let heads = &node.heads[..len];
        let first = heads.partition_point(|other| other.load(Ordering::Relaxed) < head);
        let rest = &heads[first..];
        if rest.first().is_none_or(|other| other.load(Ordering::Relaxed) != head) {
            return first;
        }
        if let Some(record) = self.found(&node.records[first]) {
            record.prefetch();
        }
        let equal = rest.partition_point(|other| other.load(Ordering::Relaxed) == head);
        let comes_before = |record: &AtomicPtr<Record>| {
            self.found(record).is_some_and(|record| before.holds(&KeyOrder::BYTES, record, place))
        };
        first + node.records[first..first + equal].partition_point(comes_before)
    }

    /// Whether a key is less or greater than all that have the node's prefix, or has it.
    fn compare_prefix(self, key: &[u8], prefix_len: usize) -> Order {
        for (at, word) in self.get().prefix.iter().enumerate().take(prefix_len.div_ceil(8)) {
            let bytes = (prefix_len - 8 * at).min(8);
            let order = word_at(key, 8 * at, bytes).cmp(&word.load(Ordering::Relaxed));
            if order != Order::Equal {
                return order;
            }
        }
        if key.len() < prefix_len { Order::Less } else { Order::Equal }
    }
}

impl Before {
    #[inline]
    pub(super) fn holds(self, order: &KeyOrder, record: RecordRef<'_>, place: InternalKey<'_>) -> bool {
        let compared = order.compare_places(record.place(), place);
        match self {
            Before::Less => compared.is_lt(),
            Before::LessOrEqual => compared.is_le(),
        }
    }
}

/// The first eight bytes of a key behind a prefix, zeros behind its end, as a number that is ordered as they
/// are.
fn head_of(key: &[u8], prefix_len: usize) -> u64 {
    word_at(key, prefix_len, 8)
}

/// As many bytes of a key from a place on, zeros behind its end, as the highest of a word.
fn word_at(key: &[u8], start: usize, bytes: usize) -> u64 {
    let rest = key.get(start..).unwrap_or_default();
    if let (8, Some(word)) = (bytes, rest.first_chunk()) {
        return u64::from_be_bytes(*word);
    }
    let mut word = [0; 8];
    let bytes = bytes.min(rest.len());
    word[..bytes].copy_from_slice(&rest[..bytes]);
    u64::from_be_bytes(word)
}

// ----- changes -----

impl<'a, const N: usize> Taken<'a, N> {
    pub(super) fn is_full(&self) -> bool {
        self.node.len() == N
    }

    /// Puts a record behind `rank` others, and behind it `child`, if the node has children. There must be
    /// room.
    pub(super) fn insert(
        &self,
        order: &KeyOrder,
        rank: usize,
        record: RecordRef<'a>,
        child: Option<NodeRef<'a, N>>,
    ) {
        let (node, len) = (self.node.get(), self.node.len());
        debug_assert!(rank <= len && len < N, "room for a record");
        let prefix_len = node.prefix_len.load(Ordering::Relaxed) as usize;
        let is_outside = self.node.compare_prefix(record.key(), prefix_len) != Order::Equal;
        if is_outside {
            let own = self.known(0).key();
            self.set_prefix(len, &own[..common_prefix_len(own, record.key()).min(prefix_len)]);
        }
        let prefix_len = node.prefix_len.load(Ordering::Relaxed) as usize;
        for pair in node.heads[rank..=len].windows(2).rev() {
            pair[1].store(pair[0].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for pair in node.records[rank..=len].windows(2).rev() {
            pair[1].store(pair[0].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        node.heads[rank].store(head_of(record.key(), prefix_len), Ordering::Relaxed);
        node.records[rank].store(record.as_ptr(), Ordering::Relaxed);
        if let Some(child) = child {
            let children = &self.node.inner().children;
            for pair in children[rank..=len].windows(2).rev() {
                pair[1].store(pair[0].load(Ordering::Relaxed), Ordering::Relaxed);
            }
            children[rank].store(child.as_ptr(), Ordering::Relaxed);
        }
        node.len.store(len as u32 + 1, Ordering::Relaxed);
        if len + 1 == N / 4 || len + 1 == N / 2 {
            self.sharpen(order);
        }
    }

    /// Moves what is behind `at` records to a new right neighbour, which is returned with its least record
    /// and with what it takes. Of a node with children the record at `at` moves up: neither of both keeps it.
    ///
    /// # Panics
    ///
    /// If there is no record at `at`.
    pub(super) fn split(
        &self,
        order: &KeyOrder,
        arena: &'a Arena,
        at: usize,
    ) -> (NodeRef<'a, N>, RecordRef<'a>, usize) {
        let (node, len) = (self.node.get(), self.node.len());
        let separator = self.known(at);
        let is_leaf = node.level == 0;
        let (right, bytes) =
            NodeRef::new(arena, node.level, if is_leaf { None } else { self.node.child(at + 1) });
        let new = Taken { node: right, version: right.version() };
        let from = if is_leaf { at } else { at + 1 };
        for source in from..len {
            self.copy(source, right, source - from);
        }
        let content = right.get();
        content.len.store((len - from) as u32, Ordering::Relaxed);
        content.prefix_len.store(node.prefix_len.load(Ordering::Relaxed), Ordering::Relaxed);
        for (own, left) in content.prefix.iter().zip(&node.prefix) {
            own.store(left.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        new.link(self.node.high(), self.node.next());
        new.sharpen(order);
        node.len.store(at as u32, Ordering::Relaxed);
        self.link(Some(separator), Some(right));
        self.sharpen(order);
        (right, separator, bytes)
    }

    /// Makes a right neighbour of a record that comes behind all of this node, the last of its level.
    pub(super) fn append_neighbour(
        &self,
        order: &KeyOrder,
        arena: &'a Arena,
        record: RecordRef<'a>,
    ) -> (NodeRef<'a, N>, usize) {
        debug_assert!(self.node.level() == 0 && self.node.next().is_none(), "the last leaf");
        let (right, bytes) = NodeRef::new(arena, 0, None);
        Taken { node: right, version: right.version() }.insert(order, 0, record, None);
        self.link(Some(record), Some(right));
        (right, bytes)
    }

    fn link(&self, high: Option<RecordRef<'a>>, next: Option<NodeRef<'a, N>>) {
        let node = self.node.get();
        node.high.store(high.map_or(ptr::null_mut(), RecordRef::as_ptr), Ordering::Relaxed);
        node.next.store(next.map_or(ptr::null_mut(), NodeRef::as_ptr), Ordering::Relaxed);
    }

    /// Copies a record, its head and the child behind it to a new node.
    fn copy(&self, from: usize, target: NodeRef<'a, N>, to: usize) {
        let (source, copy) = (self.node.get(), target.get());
        copy.heads[to].store(source.heads[from].load(Ordering::Relaxed), Ordering::Relaxed);
        copy.records[to].store(source.records[from].load(Ordering::Relaxed), Ordering::Relaxed);
        if source.level > 0 {
            let child = self.node.inner().children[from].load(Ordering::Relaxed);
            target.inner().children[to].store(child, Ordering::Relaxed);
        }
    }

    /// Makes the prefix longer if more than one head in eight is that of its neighbour and the keys have more
    /// in common: what the first and the last have, if they are ordered by their bytes. Under other orders prefixes stay empty.
    fn sharpen(&self, order: &KeyOrder) {
        if !order.is_bytewise() {
            return;
        }
        let (node, len) = (self.node.get(), self.node.len());
        let head = |at: usize| node.heads[at].load(Ordering::Relaxed);
        let equal = (1..len).filter(|&at| head(at) == head(at - 1)).count();
        if 8 * equal <= len {
            return;
        }
        let (first, last) = (self.known(0).key(), self.known(len - 1).key());
        let common = common_prefix_len(first, last).min(MAX_PREFIX_BYTES);
        if common > node.prefix_len.load(Ordering::Relaxed) as usize {
            self.set_prefix(len, &first[..common]);
        }
    }

    /// Gives all heads anew, behind a prefix that all keys have.
    fn set_prefix(&self, len: usize, prefix: &[u8]) {
        let node = self.node.get();
        node.prefix_len.store(prefix.len() as u32, Ordering::Relaxed);
        for (at, word) in node.prefix.iter().enumerate() {
            let bytes = prefix.len().saturating_sub(8 * at).min(8);
            word.store(word_at(prefix, 8 * at, bytes), Ordering::Relaxed);
        }
        for at in 0..len {
            node.heads[at].store(head_of(self.known(at).key(), prefix.len()), Ordering::Relaxed);
        }
    }

    /// A record that is there.
    fn known(&self, at: usize) -> RecordRef<'a> {
        self.node.record(at).expect("nobody else changes the node")
    }
}
