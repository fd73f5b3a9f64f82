//! One value for each of a few groups of threads: what many change at once, without one line of memory that
//! goes from core to core.

/// Groups of threads.
const STRIPES: usize = if cfg!(feature = "std") { 8 } else { 1 };

/// A value for each group of threads, apart from those of the others. A group may have several threads.
///
/// Without `std`, and under the scheduler of the feature `schedules`, all threads are one group.
#[derive(Default)]
pub struct Striped<T>([Line<T>; STRIPES]);

/// Cores fetch lines of 64 bytes, some of them two at a time.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

impl<T> Striped<T> {
    /// That of the calling thread's group.
    pub fn own(&self) -> &T {
        &self.0[thread_number() % STRIPES].0
    }

    /// Those of all.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|line| &line.0)
    }
}

/// How many threads had asked before the calling one did for the first time.
#[cfg(feature = "std")]
fn thread_number() -> usize {
    use core::sync::atomic::{AtomicUsize, Ordering};

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // While a thread ends it may have none any more.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

#[cfg(not(feature = "std"))]
fn thread_number() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn threads_have_values_of_their_own_and_all_are_seen() {
        let counts = Striped::<AtomicU64>::default();
        let count = || {
            let own = counts.own();
            assert!(core::ptr::eq(own, counts.own()), "a thread stays in its group");
            own.fetch_add(1, Ordering::Relaxed);
            core::ptr::from_ref(own).addr()
        };

        let places = std::thread::scope(|scope| {
            let threads: std::vec::Vec<_> = (0..20).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<std::vec::Vec<_>>()
        });

        assert_eq!(counts.all().map(|count| count.load(Ordering::Relaxed)).sum::<u64>(), 20);
        assert!(places.iter().any(|place| *place != places[0]), "not all are in one group");
        assert!(places.iter().all(|place| place % 128 == 0));
    }
}
