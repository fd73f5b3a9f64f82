//! Fields of a record that each occur once: repeated and missing ones are refused.

use crate::codec::Corruption;

/// Sets a field.
///
/// # Errors
///
/// It was set before.
pub(super) fn once<T>(field: &mut Option<T>, value: T) -> Result<(), Corruption> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Corruption("a field is there twice")),
    }
}

/// Takes a field out.
///
/// # Errors
///
/// It was not set.
pub(super) fn required<T>(field: Option<T>) -> Result<T, Corruption> {
    field.ok_or(Corruption("a required field is missing"))
}
