//! Fields of a record that each occur once: repeated and missing ones are refused.

use crate::codec::Corruption;
pub(super) use crate::codec::once;

/// Takes a field out.
///
/// # Errors
///
/// It was not set.
pub(super) fn required<T>(field: Option<T>) -> Result<T, Corruption> {
    field.ok_or(Corruption("a required field is missing"))
}
