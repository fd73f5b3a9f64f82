//! The atomics of `core`, which no scheduler sees: for code that is proven by other means than schedules.
//!
//! With the feature `portable-atomics` those of 64 bits come from the crate of that name: it has them for every
//! target, where need be with a lock in place of an instruction.

#[cfg(feature = "portable-atomics")]
pub use portable_atomic::AtomicU64;

pub use core::sync::atomic::*;

#[cfg(not(any(target_has_atomic = "64", feature = "portable-atomics")))]
compile_error!("this target has no 64-bit atomics: enable the feature `portable-atomics`");
