//! The atomics of the model checker, each with a mark beside it.
//!
//! The checker looks for races between an access and the last one only. A thread that loads a place and then
//! changes it hides the loads that others did before, and whatever follows from them is never tried. So each
//! access first stores to the mark: that is a race with every other access. The mark is never loaded, so nothing
//! is ordered by it.

use loom::sync::atomic as checked;
pub(crate) use loom::sync::atomic::fence;
use std::sync::atomic::Ordering;

/// Whoever waits lets another thread run.
pub(crate) fn relax(_turns: &mut u32) {
    loom::thread::yield_now();
}

macro_rules! marked {
    ($($name:ident [$($parameter:ident)?] of $checked:ty, $value:ty;)*) => {$(
        pub(crate) struct $name$(<$parameter>)? {
            value: $checked,
            mark: checked::AtomicU32,
        }

        impl$(<$parameter>)? $name$(<$parameter>)? {
            pub(crate) fn new(value: $value) -> Self {
                $name { value: <$checked>::new(value), mark: checked::AtomicU32::new(0) }
            }

            fn marked(&self) -> &$checked {
                self.mark.store(0, Ordering::Relaxed);
                &self.value
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.marked().load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.marked().store(value, order);
            }

            #[allow(dead_code)] // Not asked of every kind of number.
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.marked().compare_exchange(current, new, success, failure)
            }
        }
    )*};
}

marked! {
    AtomicU32 [] of checked::AtomicU32, u32;
    AtomicU64 [] of checked::AtomicU64, u64;
    AtomicPtr [T] of checked::AtomicPtr<T>, *mut T;
}
