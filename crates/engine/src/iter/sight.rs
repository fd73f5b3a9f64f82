//! What a view makes of versions: which it sees, which are hidden or expired, and what operands come to.

use super::{Cursor, Entry};
use crate::{
    blob::{ReadBlobs, pointer_of},
    codec::Corruption,
    error::{Error, ErrorKind, Result},
    expiry,
    key::ValueKind,
    merge_operator::{self, MergeOperator},
    order::KeyOrder,
    packed::packed_of,
    range_tombstone::Hidden,
    types::{Seqno, Slice, UnixUs, View},
};
use alloc::{format, sync::Arc, vec::Vec};
use core::ops::Bound;

/// How a view reads.
#[derive(Clone)]
pub struct Sight {
    /// The view.
    pub at: View,
    /// What range tombstones hide from it.
    pub hidden: Hidden,
    /// What makes values of operands.
    pub operator: Option<Arc<dyn MergeOperator>>,
    /// Of the keys.
    pub order: KeyOrder,
    /// What reads separated values.
    pub blobs: Option<Arc<dyn ReadBlobs>>,
}

/// What a version that a view sees says of its key, if nothing newer does.
pub(super) enum Answer {
    /// The value, or nothing in its place if it was not asked for.
    Value(Slice),
    /// It has none.
    Nothing,
    /// What lies below it is needed too, if the value is.
    Operands,
}

impl Sight {
    /// Of puts and deletes of keys only, in the order of bytes.
    pub fn plain(at: View) -> Sight {
        Sight { at, hidden: Hidden::nothing(), operator: None, order: KeyOrder::BYTES, blobs: None }
    }

    /// What the version says that `cursor` stands on; those below number `below` are hidden.
    ///
    /// # Errors
    ///
    /// Those of the value; its kind needs what this build lacks.
    #[inline]
    pub(super) fn answer(
        &self,
        cursor: &impl Cursor,
        entry: Entry<'_>,
        below: Seqno,
        with_value: bool,
    ) -> Result<Answer> {
        if entry.seqno < below {
            return Ok(Answer::Nothing);
        }
        if entry.kind == ValueKind::Put {
            return if with_value {
                cursor.value().map(Answer::Value)
            } else {
                Ok(Answer::Value(Slice::EMPTY))
            };
        }
        self.answer_of_others(cursor, entry, with_value)
    }

    /// As [`Sight::answer`], of kinds that are not plain puts.
    fn answer_of_others(&self, cursor: &impl Cursor, entry: Entry<'_>, with_value: bool) -> Result<Answer> {
        match entry.kind {
            ValueKind::Put => Ok(Answer::Value(if with_value { cursor.value()? } else { Slice::EMPTY })),
            ValueKind::Delete | ValueKind::DeleteWeak | ValueKind::DeleteRange => Ok(Answer::Nothing),
            ValueKind::Merge if with_value => Ok(Answer::Operands),
            ValueKind::Merge => Ok(Answer::Value(Slice::EMPTY)),
            ValueKind::PutUntil => {
                // Before the first put of a table expires nothing has to be looked at.
                if self.at.time >= cursor.expires_from() {
                    return self.answer_in_time(cursor, entry, with_value);
                }
                if !with_value {
                    return Ok(Answer::Value(Slice::EMPTY));
                }
                let stored = cursor.value()?;
                if stored.len() < expiry::EXPIRY_BYTES {
                    return self.answer_in_time(cursor, entry, with_value);
                }
                Ok(Answer::Value(stored.tail(expiry::EXPIRY_BYTES)))
            }
            ValueKind::BlobPointer | ValueKind::PutPacked if !with_value => Ok(Answer::Value(Slice::EMPTY)),
            ValueKind::BlobPointer
            | ValueKind::BlobPointerUntil
            | ValueKind::PutPacked
            | ValueKind::PutPackedUntil => self.answer_apart(cursor, entry, with_value),
            ValueKind::Cells => Err(unsupported(entry.key, entry.kind)),
        }
    }

    /// As [`Sight::answer`], of a put whose value has to be fetched or unpacked: that is done for a value only.
    #[cold]
    fn answer_apart(&self, cursor: &impl Cursor, entry: Entry<'_>, with_value: bool) -> Result<Answer> {
        let (Entry { key, kind, .. }, stored) = (entry, cursor.value_bytes()?);
        if kind.expires() && self.at.time >= cursor.expires_from() {
            let expires_at = expiry::of_version(kind, stored).map_err(|why| damaged(key, why))?;
            if expires_at.is_none_or(|expires_at| expires_at <= self.at.time) {
                return Ok(Answer::Nothing);
            }
        }
        let value = if with_value { value_apart(key, kind, stored, self.blobs.as_deref())? } else { None };
        Ok(Answer::Value(value.unwrap_or_default()))
    }

    /// As [`Sight::answer`], of a put that may have expired.
    fn answer_in_time(&self, cursor: &impl Cursor, entry: Entry<'_>, with_value: bool) -> Result<Answer> {
        let value = unexpired(entry.key, cursor.value()?, UnixUs(0), |_| self.at.time)?;
        Ok(value
            .map_or(Answer::Nothing, |value| Answer::Value(if with_value { value } else { Slice::EMPTY })))
    }

    /// What operands, oldest first, make of what they stand on.
    ///
    /// # Errors
    ///
    /// `MergeFailed`; `MissingMergeOperator`.
    pub(super) fn merge(&self, key: &[u8], base: Option<Slice>, operands: &[Slice]) -> Result<Slice> {
        let operator = self.operator.as_deref().ok_or_else(|| merge_operator::no_operator(key))?;
        let operands: Vec<&[u8]> = operands.iter().map(|operand| &**operand).collect();
        merge_operator::merged(operator, key, base.as_deref(), &operands).map(Slice::from)
    }
}

/// The value of a put of which something else is stored: one that lies elsewhere, or is packed; `None` of other kinds.
///
/// # Errors
///
/// Those of [`ReadBlobs::read`]; `Corruption` of what is stored.
pub(crate) fn value_apart(
    key: &[u8],
    kind: ValueKind,
    stored: &[u8],
    blobs: Option<&dyn ReadBlobs>,
) -> Result<Option<Slice>> {
    let damaged = |why| damaged(key, why);
    if let Some(packed) = packed_of(kind, stored).map_err(damaged)? {
        return packed.unpack().map(|value| Some(Slice::from(value))).map_err(damaged);
    }
    let Some(pointer) = pointer_of(kind, stored).map_err(damaged)? else { return Ok(None) };
    let blobs = blobs.ok_or_else(|| unsupported(key, kind))?;
    blobs.read(key, &pointer).map(Some)
}

/// The size of the value of a put of which something else is stored.
///
/// # Errors
///
/// `Corruption` of what is stored.
pub(crate) fn value_bytes_apart(key: &[u8], kind: ValueKind, stored: &[u8]) -> Result<u32> {
    let damaged = |why| damaged(key, why);
    if let Some(packed) = packed_of(kind, stored).map_err(damaged)? {
        return Ok(packed.value_bytes);
    }
    let pointer = pointer_of(kind, stored).map_err(damaged)?;
    pointer.map(|pointer| pointer.value_bytes).ok_or_else(|| unsupported(key, kind))
}

#[cold]
fn damaged(key: &[u8], why: Corruption) -> Error {
    Error::new(ErrorKind::Corruption, why.0).over_keys(only(key))
}

/// The value of a put that expires, out of what is stored; `None` if it has. It does not before `none_before`: until then what
/// is stored is not looked at. `near` is told when something expires, and gives the time of the view, or one that tells as well
/// whether that is over.
///
/// # Errors
///
/// `Corruption` if it does not say when.
#[inline]
pub(crate) fn unexpired(
    key: &[u8],
    stored: Slice,
    none_before: UnixUs,
    near: impl Fn(UnixUs) -> UnixUs,
) -> Result<Option<Slice>> {
    if none_before > UnixUs(0) && stored.len() >= expiry::EXPIRY_BYTES && near(none_before) < none_before {
        return Ok(Some(expiry::value_of(ValueKind::PutUntil, stored)));
    }
    let expires_at = expiry::of_version(ValueKind::PutUntil, &stored);
    let expires_at = expires_at.map_err(|why| damaged(key, why))?;
    let is_there = expires_at.is_some_and(|expires_at| near(expires_at) < expires_at);
    Ok(is_there.then(|| expiry::value_of(ValueKind::PutUntil, stored)))
}

/// A kind that this build does not read.
pub(crate) fn unsupported(key: &[u8], kind: ValueKind) -> Error {
    let message = format!("an entry of kind {kind:?} needs a later version of this program");
    Error::new(ErrorKind::UnsupportedFeature, message).over_keys(only(key))
}

fn only(key: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Included(key.into()), Bound::Included(key.into()))
}
