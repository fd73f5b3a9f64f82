//! Values and identities. Raw integers appear in codecs only; everything else names what it counts.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::{Bound, Deref, RangeBounds},
};

/// Bytes that slices share, in parts.
pub trait SliceOwner: Send + Sync {
    /// A part. The same bytes each time.
    ///
    /// # Panics
    ///
    /// If there is no such part.
    fn part(&self, part: u16) -> &[u8];
}

impl SliceOwner for Box<[u8]> {
    fn part(&self, part: u16) -> &[u8] {
        assert!(part == 0, "the bytes are one part");
        self
    }
}

/// Immutable bytes, cheap to clone: up to [`Slice::INLINE_BYTES`] inline, else a window into counted bytes.
///
/// A window keeps all of the bytes it lies in (a block of a table, a batch) in memory; [`Slice::detach`] lets
/// go of them. A slice may outlive the store it came from.
#[derive(Clone)]
pub struct Slice(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; Slice::INLINE_BYTES] },
    Window { part: u16, start: u32, len: u32, owner: Arc<dyn SliceOwner> },
}

const _: () = assert!(size_of::<Slice>() == 32);

impl Slice {
    /// Longest content that needs no shared bytes.
    pub const INLINE_BYTES: usize = 30;

    /// Without bytes.
    pub const EMPTY: Slice = Slice(Repr::Inline { len: 0, bytes: [0; Slice::INLINE_BYTES] });

    /// A window into a part of shared bytes. Short ones are copied inline and hold nothing.
    ///
    /// # Panics
    ///
    /// If the window does not lie inside the part or starts beyond 4 GiB.
    pub fn window(owner: Arc<dyn SliceOwner>, part: u16, start: usize, len: usize) -> Slice {
        let bytes = &owner.part(part)[start..start + len];
        match Self::inline(bytes) {
            Some(slice) => slice,
            None => Self::long_window(part, start, len, owner),
        }
    }

    /// As [`Slice::window`], of bytes at hand that lie there: the owner is asked for only if it is kept.
    #[inline]
    pub(crate) fn window_over(
        bytes: &[u8],
        part: u16,
        start: usize,
        owner: impl FnOnce() -> Arc<dyn SliceOwner>,
    ) -> Slice {
        Self::inline(bytes).unwrap_or_else(|| Self::long_window(part, start, bytes.len(), owner()))
    }

    fn long_window(part: u16, start: usize, len: usize, owner: Arc<dyn SliceOwner>) -> Slice {
        Slice(Repr::Window {
            part,
            start: u32::try_from(start).expect("a window starts within 4 GiB"),
            len: u32::try_from(len).expect("a window is at most 4 GiB long"),
            owner,
        })
    }

    #[inline]
    fn inline(bytes: &[u8]) -> Option<Slice> {
        let len = u8::try_from(bytes.len()).ok().filter(|&len| usize::from(len) <= Self::INLINE_BYTES)?;
        let mut copy = [0; Self::INLINE_BYTES];
        copy[..bytes.len()].copy_from_slice(bytes);
        Some(Slice(Repr::Inline { len, bytes: copy }))
    }

    /// A copy of its own: a small value then does not keep a whole block in memory.
    #[must_use]
    pub fn detach(&self) -> Slice {
        match &self.0 {
            Repr::Inline { .. } => self.clone(),
            Repr::Window { .. } => Slice::from(&self[..]),
        }
    }

    /// A part that shares the bytes.
    ///
    /// # Panics
    ///
    /// If `range` is not inside.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Slice {
        let start = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&at) => at + 1,
            Bound::Excluded(&at) => at,
            Bound::Unbounded => self.len(),
        };
        assert!(start <= end && end <= self.len(), "range {start}..{end} is outside of {} bytes", self.len());
        match &self.0 {
            Repr::Inline { bytes, .. } => Self::inline(&bytes[start..end]).expect("a part is no longer"),
            Repr::Window { part, start: first, owner, .. } => {
                Slice::window(Arc::clone(owner), *part, *first as usize + start, end - start)
            }
        }
    }
}

impl Slice {
    /// What is left of it behind its first bytes.
    ///
    /// # Panics
    ///
    /// If it does not have as many.
    #[must_use]
    #[inline]
    pub(crate) fn tail(mut self, from: usize) -> Slice {
        match &mut self.0 {
            Repr::Window { start, len, .. } if *len as usize > from + Self::INLINE_BYTES => {
                *start += from as u32;
                *len -= from as u32;
                self
            }
            _ => self.slice(from..),
        }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Window { part, start, len, owner } => {
                &owner.part(*part)[*start as usize..][..*len as usize]
            }
        }
    }
}

impl Default for Slice {
    fn default() -> Slice {
        Slice::EMPTY
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Slice {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Slice) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Slice {}

impl PartialOrd for Slice {
    fn partial_cmp(&self, other: &Slice) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slice {
    fn cmp(&self, other: &Slice) -> Ordering {
        self[..].cmp(&other[..])
    }
}

impl Hash for Slice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl PartialEq<[u8]> for Slice {
    fn eq(&self, other: &[u8]) -> bool {
        self[..] == *other
    }
}

impl PartialEq<&[u8]> for Slice {
    fn eq(&self, other: &&[u8]) -> bool {
        self[..] == **other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Slice {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self[..] == other[..]
    }
}

/// As a byte string: `b"text"`, other bytes escaped.
impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl From<&[u8]> for Slice {
    fn from(bytes: &[u8]) -> Slice {
        Self::inline(bytes).unwrap_or_else(|| Slice::from(Vec::from(bytes)))
    }
}

impl From<&str> for Slice {
    fn from(text: &str) -> Slice {
        text.as_bytes().into()
    }
}

impl From<String> for Slice {
    fn from(text: String) -> Slice {
        text.into_bytes().into()
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Slice {
        Self::inline(&bytes).unwrap_or_else(|| {
            let len = bytes.len();
            Slice::window(Arc::new(bytes.into_boxed_slice()), 0, 0, len)
        })
    }
}

impl<const N: usize> From<[u8; N]> for Slice {
    fn from(bytes: [u8; N]) -> Slice {
        bytes.as_slice().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Slice {
    fn from(bytes: &[u8; N]) -> Slice {
        bytes.as_slice().into()
    }
}

/// Position in the order of all operations of a store. 0 is before everything.
///
/// Each operation has its own; the `Seqno` of a commit is that of its last operation. A view at `s` contains
/// exactly what is `<= s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Seqno(u64);

impl Seqno {
    /// Before every operation.
    pub const ZERO: Seqno = Seqno(0);

    /// The greatest that a store accepts: 2^56 - 1.
    pub const MAX: Seqno = Seqno((1 << 56) - 1);

    /// The number, to keep outside the program.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The inverse of [`Seqno::raw`]; `None` above [`Seqno::MAX`].
    pub const fn from_raw(raw: u64) -> Option<Seqno> {
        if raw <= Self::MAX.0 { Some(Seqno(raw)) } else { None }
    }

    /// The number `operations` after this one; `None` above [`Seqno::MAX`].
    pub const fn checked_add(self, operations: u64) -> Option<Seqno> {
        match self.0.checked_add(operations) {
            Some(raw) => Self::from_raw(raw),
            None => None,
        }
    }

    /// The number before this one, or `ZERO`.
    #[must_use]
    pub const fn before(self) -> Seqno {
        Seqno(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seqno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UnixUs(pub u64);

/// A tree of a store; never used again after the tree is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TreeId(pub u32);

impl fmt::Display for TreeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A file of separated values; never used again. Its number is none of a table's either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlobId(pub u64);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A table file; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableId(pub u64);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A level; 0 is where flushes arrive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Level(pub u8);

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.0)
    }
}

/// A point to read at: what is `<= seqno` and not expired at `time`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct View {
    /// Everything `<=` this is in the view.
    pub seqno: Seqno,
    /// Entries that expire at this time or before are not.
    pub time: UnixUs,
}

impl View {
    /// The view of `seqno` at `time`.
    pub const fn new(seqno: Seqno, time: UnixUs) -> View {
        View { seqno, time }
    }
}

/// A random identity of a file or a store, from the operating system's random source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names a compression dictionary: XXH3-64 of its content, so that equal ones are one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DictionaryId(pub u64);

impl fmt::Display for DictionaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for DictionaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};

    #[test]
    fn short_slices_are_inline_and_long_ones_share() {
        let owner = Arc::new(vec![7_u8; 100].into_boxed_slice());
        let window = |len| Slice::window(Arc::<Box<[u8]>>::clone(&owner), 0, 10, len);

        let (short, long) = (window(Slice::INLINE_BYTES), window(Slice::INLINE_BYTES + 1));

        assert_eq!(Arc::strong_count(&owner), 2, "only the long one holds the bytes");
        assert_eq!((short.len(), long.len()), (30, 31));
        assert_eq!(long.detach(), long);
        drop(long.detach());
        assert_eq!(Arc::strong_count(&owner), 2);
    }

    #[test]
    fn a_part_of_a_slice_has_the_same_bytes() {
        let slice = Slice::from((0..60).collect::<Vec<u8>>());

        assert_eq!(slice.slice(5..50)[..], slice[5..50]);
        assert_eq!(slice.slice(50..)[..], slice[50..]);
        assert_eq!(slice.slice(..=3), &[0, 1, 2, 3]);
        assert_eq!(slice.slice(60..), Slice::EMPTY);
        assert_eq!(format!("{:?}", Slice::from("a\n")), "b\"a\\n\"");
    }

    #[test]
    fn seqnos_end_at_their_maximum() {
        assert_eq!(Seqno::from_raw(Seqno::MAX.raw() + 1), None);
        assert_eq!(Seqno::MAX.checked_add(1), None);
        assert_eq!(Seqno::ZERO.before(), Seqno::ZERO);
    }
}
