//! Waiting for what another thread does at any moment.

/// Turns that a waiter spins before it gives its core away.
#[cfg(feature = "std")]
const SPINS: u32 = 64;

/// One turn of waiting for another thread that needs no more than moments: a hint to the core, and from some
/// turns on, with `std`, the rest of the time slice for others, of whom the awaited one may be. `turns` counts;
/// begin with 0.
///
/// Under the scheduler of the feature `schedules` nothing is to be waited for like this: it does not switch here.
pub fn relax(turns: &mut u32) {
    *turns = turns.saturating_add(1);
    #[cfg(feature = "std")]
    if *turns > SPINS {
        std::thread::yield_now();
        return;
    }
    core::hint::spin_loop();
}
