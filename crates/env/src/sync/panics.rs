//! Containing the panics of callbacks.

use core::fmt;

/// Runs `f`. With `std` a panic in it is caught; without, this is a plain call.
///
/// What `f` can reach must be sound to use after a panic in its midst: the caller answers for that.
///
/// # Errors
///
/// [`Panicked`] if `f` panicked. What it panicked with went to the panic hook and is dropped.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    #[cfg(feature = "std")]
    let result = std::panic::catch_unwind(core::panic::AssertUnwindSafe(f)).map_err(|_| Panicked);
    #[cfg(not(feature = "std"))]
    let result = Ok(f());
    result
}

/// A callback panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a callback panicked")
    }
}

impl core::error::Error for Panicked {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_passes_through() {
        assert_eq!(catch(|| 7), Ok(7));
    }

    #[test]
    #[cfg(feature = "std")]
    fn a_panic_is_caught() {
        assert_eq!(catch(|| panic!("a callback of a test")), Err::<(), _>(Panicked));
    }
}
