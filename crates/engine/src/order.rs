//! Orders of user keys: that of their bytes, and others, found by name.
//!
//! Everything that compares user keys asks a [`KeyOrder`]. Under the order of bytes that is the comparison of bytes
//! and nothing else; what only that order allows (heads, prefixes that the first and the last of sorted keys share,
//! separators shorter than keys) asks [`KeyOrder::is_bytewise`] once, outside of its loops. Equality of keys is that
//! of their bytes under every order.

use crate::{
    error::{Error, ErrorKind, Result},
    key::{BYTE_ORDER_NAME, InternalKey},
    named::{Named, NamedSet},
};
use alloc::{format, sync::Arc};
use core::{cmp::Ordering, fmt, ops::Bound};
use isopach_env::sync::{
    atomic::{AtomicBool, Ordering as Memory},
    catch,
};

/// An order of user keys, kept with a tree by its name.
///
/// A name stands for one order for ever; what changes gets another name. Calls come from any thread, often, with locks
/// held, and must not call the database.
///
/// With `std` a panic is caught: nothing that was compared since is answered or becomes durable in tables (INV-ORD-1), and the
/// trees of this order say [`ErrorKind::ComparatorFailed`] until they are opened again. Writes that were acknowledged are in
/// the log, which needs no order, and come back with it. What holds for panics holds for nothing else that breaks the rules: a
/// comparator that says now this and now that is as bad as one that was changed under its name.
pub trait Comparator: Send + Sync + 'static {
    /// 1 to 255 bytes; those that begin with `isopach.` are built in.
    fn name(&self) -> &str;

    /// A total order: what it says of two keys it says always, the reverse of the reverse, and it is transitive. Keys with
    /// different bytes are never equal: where this says `Equal`, their bytes decide.
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering;

    /// Whether this is the order of bytes, under another name. If not, there are no prefix calls and no prefix extractors, and
    /// searches compare whole keys.
    fn is_bytewise(&self) -> bool {
        false
    }
}

impl Named for dyn Comparator {
    const WHAT: &str = "order of keys";
    const REGISTERED_BY: &str = "`Builder::comparator`, `StoreOptions::code`";
    const MISSING: ErrorKind = ErrorKind::MissingComparator;

    fn name(&self) -> &str {
        Comparator::name(self)
    }

    fn built_in(name: &str) -> Option<Arc<dyn Comparator>> {
        Some(match name {
            BYTE_ORDER_NAME => Arc::new(ByteOrder),
            ReverseByteOrder::NAME => Arc::new(ReverseByteOrder),
            _ => return None,
        })
    }
}

/// Orders by name: those that are built in, and those that were added.
pub type Comparators = NamedSet<dyn Comparator>;

/// The order of bytes, the default. Named `isopach.bytes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ByteOrder;

impl Comparator for ByteOrder {
    fn name(&self) -> &str {
        BYTE_ORDER_NAME
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }

    fn is_bytewise(&self) -> bool {
        true
    }
}

/// The order of bytes, backwards: the empty key is the last. Named `isopach.bytes_reverse`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReverseByteOrder;

impl ReverseByteOrder {
    const NAME: &str = "isopach.bytes_reverse";
}

impl Comparator for ReverseByteOrder {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }
}

/// Tag of the name among the stored options of a tree.
pub(crate) const ORDER_TAG: u8 = 1;

/// The order of a tree's keys, as everything that compares them carries it. Clones share a comparator.
#[derive(Clone, Default)]
pub struct KeyOrder(Option<Arc<Custom>>);

/// A comparator that is not bytewise.
struct Custom {
    comparator: Arc<dyn Comparator>,
    /// Set where it panics; nothing that was found out since is to be trusted. Relaxed both: a thread reads it behind its
    /// own comparisons, and who sees what another put in the wrong place sees by the same that this was set before.
    has_panicked: AtomicBool,
}

/// For those who lend it.
static BYTES: KeyOrder = KeyOrder::BYTES;

impl KeyOrder {
    /// The order of bytes.
    pub const BYTES: KeyOrder = KeyOrder(None);

    /// That of a comparator.
    pub fn of(comparator: Arc<dyn Comparator>) -> KeyOrder {
        let custom =
            || Arc::new(Custom { comparator: Arc::clone(&comparator), has_panicked: AtomicBool::new(false) });
        KeyOrder((!comparator.is_bytewise()).then(custom))
    }

    /// The order of bytes, for as long as anybody wants.
    pub fn bytes() -> &'static KeyOrder {
        &BYTES
    }

    /// The name of its comparator.
    pub fn name(&self) -> &str {
        self.0.as_ref().map_or(BYTE_ORDER_NAME, |custom| custom.comparator.name())
    }

    /// Whether it is the order of bytes.
    #[inline]
    pub fn is_bytewise(&self) -> bool {
        self.0.is_none()
    }

    /// Compares two user keys.
    #[inline]
    pub fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        match &self.0 {
            None => a.cmp(b),
            Some(custom) => custom.compare(a, b),
        }
    }

    /// Whether `a` comes before `b`.
    #[inline]
    pub fn is_less(&self, a: &[u8], b: &[u8]) -> bool {
        self.compare(a, b).is_lt()
    }

    /// Whether `a` comes before `b`, or is the same key.
    #[inline]
    pub fn is_at_most(&self, a: &[u8], b: &[u8]) -> bool {
        self.compare(a, b).is_le()
    }

    /// Compares two places among versions: by key, and within a key newest first.
    #[inline]
    pub fn compare_places(&self, a: InternalKey<'_>, b: InternalKey<'_>) -> Ordering {
        self.compare(a.key, b.key).then_with(|| b.seqno.cmp(&a.seqno))
    }

    /// Whether `a` comes before `b` among versions.
    #[inline]
    pub fn is_before(&self, a: InternalKey<'_>, b: InternalKey<'_>) -> bool {
        self.compare_places(a, b).is_lt()
    }

    /// Whether a key lies on the inner side of a lower bound.
    #[inline]
    pub fn is_above(&self, key: &[u8], low: Bound<&[u8]>) -> bool {
        match low {
            Bound::Included(low) => self.compare(key, low).is_ge(),
            Bound::Excluded(low) => self.compare(key, low).is_gt(),
            Bound::Unbounded => true,
        }
    }

    /// Whether a key lies on the inner side of an upper bound.
    #[inline]
    pub fn is_below(&self, key: &[u8], high: Bound<&[u8]>) -> bool {
        match high {
            Bound::Included(high) => self.compare(key, high).is_le(),
            Bound::Excluded(high) => self.compare(key, high).is_lt(),
            Bound::Unbounded => true,
        }
    }

    /// Says whether what was compared so far can be trusted. For who gives an answer or makes it durable, behind the last
    /// comparison.
    ///
    /// # Errors
    ///
    /// `ComparatorFailed`: the comparator panicked, now or before.
    #[inline]
    pub fn check(&self) -> Result<()> {
        match &self.0 {
            Some(custom) if custom.has_panicked.load(Memory::Relaxed) => Err(custom.failure()),
            _ => Ok(()),
        }
    }
}

impl Custom {
    /// What a panic leaves undecided is decided by bytes, so that whoever is in the midst of something comes to its end.
    ///
    /// Never part of what calls it, which is mostly on its way in the order of bytes.
    #[cold]
    #[inline(never)]
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        let order = catch(|| self.comparator.compare(a, b)).unwrap_or_else(|_| {
            self.has_panicked.store(true, Memory::Relaxed);
            Ordering::Equal
        });
        order.then_with(|| a.cmp(b))
    }

    #[cold]
    fn failure(&self) -> Error {
        let name = self.comparator.name();
        let message =
            format!("the order of keys {name:?} panicked: nothing it sorts is used until it is opened again");
        Error::new(ErrorKind::ComparatorFailed, message)
    }
}

/// The same comparator, of one opening.
impl PartialEq for KeyOrder {
    fn eq(&self, other: &KeyOrder) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Eq for KeyOrder {}

impl fmt::Debug for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
pub(crate) mod tests;
