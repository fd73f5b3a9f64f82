//! Range tombstones: deletes of all keys of a range, and which keys a set of them covers.
//!
//! In memtables and tables a range tombstone is a version like others: of the first key of its range, of kind
//! [`DeleteRange`](crate::key::ValueKind::DeleteRange), with the end of the range as its value. So it is sorted,
//! logged, flushed and moved with the rest. What is here tells which other keys it hides. It hides every version with a
//! lesser number, wherever that lies: no part of a store has to be in any order for that.

use crate::{
    codec::{Corruption, Reader},
    error::{Error, ErrorKind, Result},
    key::MAX_KEY_BYTES,
    order::KeyOrder,
    types::{Seqno, Slice},
};
use alloc::{collections::BinaryHeap, sync::Arc, vec::Vec};
use core::{cmp::Ordering, ops::Bound};

/// The delete of a range: of all versions with lesser numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeTombstone {
    /// First key of the range.
    pub start: Slice,
    /// First key behind the range; `None`: it has no end.
    pub end: Option<Slice>,
    /// Number of the delete.
    pub seqno: Seqno,
}

impl RangeTombstone {
    /// Out of a version: its key, number and stored value, which is the end or empty.
    pub fn of_version(key: &[u8], seqno: Seqno, value: &[u8]) -> RangeTombstone {
        let end = (!value.is_empty()).then(|| Slice::from(value));
        RangeTombstone { start: Slice::from(key), end, seqno }
    }

    /// The stored value of its version.
    pub fn value(&self) -> &[u8] {
        self.end.as_deref().unwrap_or_default()
    }

    /// Its end.
    pub fn end_bound(&self) -> Bound<&[u8]> {
        self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)
    }

    /// Whether a key is in the range, in the order of its tree.
    pub fn covers(&self, order: &KeyOrder, key: &[u8]) -> bool {
        order.is_at_most(&self.start, key) && !is_behind(order, key, self.end.as_ref())
    }

    /// Whether any key can be in both ranges; `first` and `last` belong to the other.
    pub fn overlaps(&self, order: &KeyOrder, first: &[u8], last: &[u8]) -> bool {
        order.is_at_most(&self.start, last) && !is_behind(order, first, self.end.as_ref())
    }
}

/// Whether a key lies at or behind an end.
fn is_behind(order: &KeyOrder, key: &[u8], end: Option<&Slice>) -> bool {
    end.is_some_and(|end| order.is_at_most(end, key))
}

/// Compares ends of ranges: no end comes last.
fn compare_ends(order: &KeyOrder, a: Option<&Slice>, b: Option<&Slice>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => order.compare(a, b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

/// The least key behind a key, in the order of bytes.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The range of a delete: its first key and the value of its version. `None` if there is no key in the range.
///
/// The value is at most one byte longer than a key. Under an order that is not that of bytes a range has its first key, and no
/// last one: which key comes next to another nobody knows.
///
/// # Errors
///
/// `InvalidArgument`: a range that ends before it begins, or that cannot be told in the order.
pub fn range_of_delete(
    order: &KeyOrder,
    low: Bound<&[u8]>,
    high: Bound<&[u8]>,
) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let invalid = |why| Err(Error::new(ErrorKind::InvalidArgument, why));
    if let (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) =
        (low, high)
        && order.is_less(high, low)
    {
        return invalid("a range ends before it begins");
    }
    if order.is_bytewise() {
        return Ok(range_of_bytes(low, high));
    }
    match (low, high) {
        (Bound::Included(start), Bound::Unbounded) => Ok(Some((start.into(), Vec::new()))),
        // Without an end is what an empty one would say.
        (Bound::Included(_), Bound::Excluded([])) => {
            invalid("the empty key ends a range that is deleted in the order of bytes only")
        }
        (Bound::Included(start), Bound::Excluded(end)) => {
            Ok(order.is_less(start, end).then(|| (start.into(), end.into())))
        }
        (_, Bound::Included(_)) => {
            invalid("in this order of keys a range that is deleted cannot end with a key")
        }
        (Bound::Excluded(_) | Bound::Unbounded, _) => {
            invalid("in this order of keys a range that is deleted begins with a key")
        }
    }
}

fn range_of_bytes(low: Bound<&[u8]>, high: Bound<&[u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
    let start = match low {
        Bound::Unbounded => Vec::new(),
        Bound::Included(key) => key.into(),
        // The longest of keys has no successor of its own that is one.
        Bound::Excluded(key) if key.len() >= MAX_KEY_BYTES => crate::key::prefix_successor(key)?,
        Bound::Excluded(key) => successor(key),
    };
    let end = match high {
        Bound::Unbounded => return Some((start, Vec::new())),
        Bound::Excluded(key) => key.into(),
        Bound::Included(key) => successor(key),
    };
    (start < end).then_some((start, end))
}

/// Range tombstones of one source, and what they cover. Never changes.
///
/// Of each stretch of keys the newest tombstone over it is at hand, by binary search; views that are older than that
/// one go over all. Making it takes `n log n` comparisons.
#[derive(Debug)]
pub struct RangeTombstones {
    order: KeyOrder,
    /// By start.
    all: Vec<RangeTombstone>,
    /// Disjoint and in order: where keys are covered, each stretch with its newest tombstone.
    skyline: Vec<RangeTombstone>,
    oldest: Seqno,
    newest: Seqno,
}

impl RangeTombstones {
    /// These, given in any order, of keys in this one.
    pub fn new(order: &KeyOrder, mut all: Vec<RangeTombstone>) -> RangeTombstones {
        all.sort_by(|a, b| order.compare(&a.start, &b.start));
        let seqnos = || all.iter().map(|tombstone| tombstone.seqno);
        RangeTombstones {
            oldest: seqnos().min().unwrap_or(Seqno::MAX),
            newest: seqnos().max().unwrap_or(Seqno::ZERO),
            skyline: skyline(order, &all),
            all,
            order: order.clone(),
        }
    }

    /// All of them, by start.
    pub fn all(&self) -> &[RangeTombstone] {
        &self.all
    }

    /// Greatest number of them.
    pub fn newest(&self) -> Seqno {
        self.newest
    }

    /// Memory that they take, in bytes.
    pub fn resident_bytes(&self) -> usize {
        let keys = |it: &RangeTombstone| it.start.len() + it.value().len();
        let shells = (self.all.len() + self.skyline.len()) * size_of::<RangeTombstone>();
        shells + self.all.iter().map(keys).sum::<usize>()
    }

    /// The greatest number `<= at` of those that cover a key.
    pub fn covering(&self, key: &[u8], at: Seqno) -> Option<Seqno> {
        if self.oldest > at {
            return None;
        }
        let order = &self.order;
        let stretch = self.skyline.get(self.stretch_at(key)).filter(|stretch| stretch.covers(order, key))?;
        if stretch.seqno <= at {
            return Some(stretch.seqno);
        }
        let before = self.all.partition_point(|tombstone| order.is_at_most(&tombstone.start, key));
        let is_over = |it: &&RangeTombstone| it.seqno <= at && !is_behind(order, key, it.end.as_ref());
        self.all[..before].iter().filter(is_over).map(|tombstone| tombstone.seqno).max()
    }

    /// As [`RangeTombstones::covering`], with the keys around this one of which the same is known.
    fn stretch(&self, key: &[u8], at: Seqno) -> Stretch {
        let next = self.stretch_at(key);
        let Some(stretch) = self.skyline.get(next).filter(|stretch| stretch.covers(&self.order, key)) else {
            let low = next.checked_sub(1).and_then(|before| self.skyline[before].end.clone());
            let high = self.skyline.get(next).map(|behind| behind.start.clone());
            return Stretch { low, high, seqno: None };
        };
        if stretch.seqno > at {
            return self.stretch_below(key, at);
        }
        Stretch { low: Some(stretch.start.clone()), high: stretch.end.clone(), seqno: Some(stretch.seqno) }
    }

    /// For a view that does not see the newest tombstone over a key: what is known changes where any begins or ends.
    fn stretch_below(&self, key: &[u8], at: Seqno) -> Stretch {
        let order = &self.order;
        let before = self.all.partition_point(|tombstone| order.is_at_most(&tombstone.start, key));
        let mut low = before.checked_sub(1).map(|last| &self.all[last].start);
        let mut high = self.all.get(before).map(|next| &next.start);
        for end in self.all[..before].iter().filter_map(|tombstone| tombstone.end.as_ref()) {
            if order.is_at_most(end, key) {
                low = low.filter(|low| order.is_less(end, low)).or(Some(end));
            } else {
                high = high.filter(|high| order.is_less(high, end)).or(Some(end));
            }
        }
        Stretch { low: low.cloned(), high: high.cloned(), seqno: self.covering(key, at) }
    }

    /// Place of the first stretch that does not end at or before a key.
    fn stretch_at(&self, key: &[u8]) -> usize {
        self.skyline.partition_point(|stretch| is_behind(&self.order, key, stretch.end.as_ref()))
    }

    /// Whether tombstones with greater numbers cover all keys from `start` on up to an end between them.
    pub fn cover_whole(&self, start: &[u8], end: Bound<&[u8]>, seqno: Seqno) -> bool {
        let order = &self.order;
        let is_short = |covered: &[u8]| match end {
            Bound::Excluded(end) => order.is_less(covered, end),
            Bound::Included(last) => order.is_at_most(covered, last),
            Bound::Unbounded => true,
        };
        let mut from = start;
        for stretch in &self.skyline[self.stretch_at(from)..] {
            if !stretch.covers(order, from) || stretch.seqno <= seqno {
                return false;
            }
            match &stretch.end {
                Some(covered) if is_short(covered) => from = covered,
                _ => return true,
            }
        }
        false
    }

    /// Encodes them for a table; [`RangeTombstones::decode`] is the inverse.
    ///
    /// | bytes    | field                                                              |
    /// |----------|--------------------------------------------------------------------|
    /// | 0..4     | how many, at least 1                                               |
    /// | then of each, by start and within one newest first:                         |
    /// | 8        | number of the delete                                               |
    /// | 2        | `s`, bytes of the first key                                        |
    /// | 4        | `e`, bytes of the end; 0: there is none                            |
    /// | `s`, `e` | first key, and end                                                 |
    pub(crate) fn encode(all: &[RangeTombstone]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&u32::try_from(all.len()).expect("bounded by a table").to_le_bytes());
        for tombstone in all {
            let start_bytes = u16::try_from(tombstone.start.len()).expect("a key has at most 65,535 bytes");
            let end_bytes = u32::try_from(tombstone.value().len()).expect("an end is about a key");
            out.extend_from_slice(&tombstone.seqno.raw().to_le_bytes());
            out.extend_from_slice(&start_bytes.to_le_bytes());
            out.extend_from_slice(&end_bytes.to_le_bytes());
            out.extend_from_slice(&tombstone.start);
            out.extend_from_slice(tombstone.value());
        }
        out
    }

    /// Reads what a table says.
    ///
    /// # Errors
    ///
    /// There are none, they are in disorder, or one is malformed.
    pub(crate) fn decode(bytes: &[u8], order: &KeyOrder) -> Result<RangeTombstones, Corruption> {
        const SMALLEST_BYTES: usize = 14;
        let mut fields = Reader::new(bytes);
        let len = fields.u32()? as usize;
        if len == 0 || len > fields.remaining() / SMALLEST_BYTES {
            return Err(Corruption("the number of range tombstones does not fit their block"));
        }
        let mut all: Vec<RangeTombstone> = Vec::with_capacity(len);
        for _ in 0..len {
            let seqno = Seqno::from_raw(fields.u64()?);
            let seqno = seqno.ok_or(Corruption("a sequence number exceeds the greatest"))?;
            let (start_bytes, end_bytes) = (fields.u16()?, fields.u32()?);
            let start = fields.bytes(start_bytes.into())?;
            let end_bytes = usize::try_from(end_bytes).ok().filter(|&bytes| bytes <= MAX_KEY_BYTES + 1);
            let end = fields.bytes(end_bytes.ok_or(Corruption("the end of a range exceeds the longest"))?)?;
            if !end.is_empty() && order.is_at_most(end, start) {
                return Err(Corruption("a range tombstone ends before it begins"));
            }
            let is_behind = |last: &RangeTombstone| {
                order.compare(&last.start, start).then(seqno.cmp(&last.seqno)).is_lt()
            };
            if !all.last().is_none_or(is_behind) {
                return Err(Corruption("range tombstones are in disorder"));
            }
            all.push(RangeTombstone::of_version(start, seqno, end));
        }
        fields.finish()?;
        Ok(RangeTombstones::new(order, all))
    }
}

/// Of each stretch of keys the newest tombstone over it. `all` is in order of start.
fn skyline(order: &KeyOrder, all: &[RangeTombstone]) -> Vec<RangeTombstone> {
    let mut skyline: Vec<RangeTombstone> = Vec::new();
    // Those that have begun, newest first; of some the end was passed.
    let mut begun: BinaryHeap<(Seqno, usize)> = BinaryHeap::new();
    let mut next = 0;
    let mut at = Slice::EMPTY;
    loop {
        if begun.is_empty() {
            let Some(tombstone) = all.get(next) else { return skyline };
            at = tombstone.start.clone();
        }
        while let Some(tombstone) = all.get(next).filter(|tombstone| order.is_at_most(&tombstone.start, &at))
        {
            begun.push((tombstone.seqno, next));
            next += 1;
        }
        while begun.peek().is_some_and(|&(_, top)| is_behind(order, &at, all[top].end.as_ref())) {
            begun.pop();
        }
        let Some(&(seqno, top)) = begun.peek() else { continue };
        let behind = all.get(next).map(|tombstone| &tombstone.start);
        let top_end = all[top].end.as_ref();
        let end = match behind {
            Some(start) if compare_ends(order, Some(start), top_end).is_lt() => Some(start),
            _ => top_end,
        };
        match skyline.last_mut() {
            Some(last) if last.seqno == seqno && last.end.as_ref() == Some(&at) => last.end = end.cloned(),
            _ => skyline.push(RangeTombstone { start: at.clone(), end: end.cloned(), seqno }),
        }
        match end {
            Some(end) => at = end.clone(),
            None => return skyline, // Whatever follows is older, or would have ended it.
        }
    }
}

/// Keys in a row of which the same is known.
#[derive(Clone, Default, Debug)]
struct Stretch {
    /// First of them; `None`: they have no beginning.
    low: Option<Slice>,
    /// First behind them; `None`: they have no end.
    high: Option<Slice>,
    /// The newest tombstone over them, if there is one.
    seqno: Option<Seqno>,
}

impl Stretch {
    /// What is known by both, of the keys of both.
    fn and(self, other: Stretch, order: &KeyOrder) -> Stretch {
        let low = match (self.low, other.low) {
            (Some(a), Some(b)) => Some(if order.is_less(&a, &b) { b } else { a }),
            (a, b) => a.or(b),
        };
        let is_other_first = compare_ends(order, other.high.as_ref(), self.high.as_ref()).is_lt();
        let high = if is_other_first { other.high } else { self.high };
        Stretch { low, high, seqno: self.seqno.max(other.seqno) }
    }
}

/// What the range tombstones of a state hide from a view: those of its memtables and of its tables.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// `None`: there are no tombstones.
    sources: Option<Arc<[Arc<RangeTombstones>]>>,
    at: Seqno,
}

impl Hidden {
    /// By the tombstones `<= at` of these sources.
    pub fn new(sources: Vec<Arc<RangeTombstones>>, at: Seqno) -> Hidden {
        let mut sources = sources;
        sources.retain(|source| source.oldest <= at);
        Hidden { sources: (!sources.is_empty()).then(|| Arc::from(sources)), at }
    }

    /// By none.
    pub fn nothing() -> Hidden {
        Hidden { sources: None, at: Seqno::ZERO }
    }

    /// Whether there are no tombstones.
    pub fn is_nothing(&self) -> bool {
        self.sources.is_none()
    }

    /// The order of their keys; of none any will do.
    fn order(&self) -> &KeyOrder {
        let first = self.sources.as_ref().and_then(|sources| sources.first());
        first.map_or(KeyOrder::bytes(), |source| &source.order)
    }

    /// The greatest number of a tombstone over a key: versions below it are hidden. `ZERO` if there is none.
    pub fn below(&self, key: &[u8]) -> Seqno {
        let sources = self.sources.iter().flat_map(|sources| sources.iter());
        let covering = sources.filter_map(|source| source.covering(key, self.at));
        covering.max().unwrap_or(Seqno::ZERO)
    }
}

/// [`Hidden`], asked for keys that lie near each other: the stretch around the last one is remembered.
#[derive(Clone, Debug)]
pub struct HiddenNear {
    hidden: Hidden,
    last: Option<Stretch>,
}

impl HiddenNear {
    /// Nothing was asked yet.
    pub fn new(hidden: Hidden) -> HiddenNear {
        HiddenNear { hidden, last: None }
    }

    /// Whether there are no tombstones.
    pub fn is_nothing(&self) -> bool {
        self.hidden.is_nothing()
    }

    /// As [`Hidden::below`].
    #[inline]
    pub fn below(&mut self, key: &[u8]) -> Seqno {
        if self.is_nothing() {
            return Seqno::ZERO;
        }
        self.stretch(key).seqno.unwrap_or(Seqno::ZERO)
    }

    /// The first key of the stretch around `key` over which [`HiddenNear::below`] is the same; `None` if it has no
    /// beginning.
    pub fn low(&mut self, key: &[u8]) -> Option<&[u8]> {
        self.stretch(key).low.as_deref()
    }

    /// The first key behind that stretch; `None` if it has no end.
    pub fn high(&mut self, key: &[u8]) -> Option<&[u8]> {
        self.stretch(key).high.as_deref()
    }

    fn stretch(&mut self, key: &[u8]) -> &Stretch {
        let HiddenNear { hidden, last } = self;
        let order = hidden.order();
        let is_inside = |last: &Stretch| {
            last.low.as_ref().is_none_or(|low| order.is_at_most(low, key))
                && !is_behind(order, key, last.high.as_ref())
        };
        if !last.as_ref().is_some_and(is_inside) {
            let sources = hidden.sources.iter().flat_map(|sources| sources.iter());
            *last =
                Some(sources.fold(Stretch::default(), |whole, source| {
                    whole.and(source.stretch(key, hidden.at), order)
                }));
        }
        last.as_ref().expect("just looked for")
    }
}

#[cfg(test)]
mod tests;
