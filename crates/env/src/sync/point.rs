//! Named points in the code where a test can hold a thread, to force an interleaving.

#[cfg(feature = "points")]
pub use hooks::{PointGuard, set_point};

/// Calls the hooks that tests installed for `name`. Without the feature `points` it does nothing at all.
///
/// The name says where the thread stands, like `flush.before_edit`. No lock of this module is held during a
/// call, so a hook may wait for other threads that pass points, and may install and remove hooks.
#[inline(always)]
pub fn point(name: &'static str) {
    #[cfg(feature = "points")]
    hooks::fire(name);
    #[cfg(not(feature = "points"))]
    let _ = name;
}

#[cfg(feature = "points")]
mod hooks {
    use alloc::{boxed::Box, sync::Arc, vec::Vec};
    use core::{
        fmt,
        sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    };
    use std::sync::{PoisonError, RwLock};

    type Hook = Arc<dyn Fn() + Send + Sync>;

    struct Installed {
        id: u64,
        name: &'static str,
        hook: Hook,
    }

    /// All hooks of the process. A plain lock: it has no rank, for it is never held while calling out.
    static HOOKS: RwLock<Vec<Installed>> = RwLock::new(Vec::new());
    /// Length of [`HOOKS`], so that a point without any hook costs one load. A hook is seen by threads that
    /// synchronised with its installer; the lock orders the rest.
    static HOOKS_COUNT: AtomicUsize = AtomicUsize::new(0);
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);

    /// Installs a hook for `name` until the guard is dropped. Several hooks of one name are called in turn.
    ///
    /// Hooks are seen by the whole process: tests that run beside each other use different names, or hooks
    /// that look at the thread they are called on.
    pub fn set_point(name: &'static str, hook: Box<dyn Fn() + Send + Sync>) -> PointGuard {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mut hooks = HOOKS.write().unwrap_or_else(PoisonError::into_inner);
        hooks.push(Installed { id, name, hook: Arc::from(hook) });
        HOOKS_COUNT.store(hooks.len(), Ordering::Release);
        PointGuard { id }
    }

    pub(super) fn fire(name: &'static str) {
        if HOOKS_COUNT.load(Ordering::Acquire) == 0 {
            return;
        }
        let called: Vec<Hook> = {
            let hooks = HOOKS.read().unwrap_or_else(PoisonError::into_inner);
            hooks.iter().filter(|installed| installed.name == name).map(|it| Arc::clone(&it.hook)).collect()
        };
        for hook in called {
            hook();
        }
    }

    /// An installed hook; dropping it removes the hook. Calls of it that run already go on.
    #[must_use = "the hook is removed when the guard is dropped"]
    pub struct PointGuard {
        id: u64,
    }

    impl Drop for PointGuard {
        fn drop(&mut self) {
            let mut hooks = HOOKS.write().unwrap_or_else(PoisonError::into_inner);
            let index = hooks.iter().position(|installed| installed.id == self.id);
            let removed = hooks.remove(index.expect("a hook is removed once, by its guard"));
            HOOKS_COUNT.store(hooks.len(), Ordering::Release);
            drop(hooks);
            drop(removed);
        }
    }

    impl fmt::Debug for PointGuard {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("PointGuard").finish_non_exhaustive()
        }
    }
}

#[cfg(all(test, feature = "points"))]
mod tests {
    use super::{point, set_point};
    use alloc::{boxed::Box, sync::Arc};
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::{sync::mpsc, thread};

    fn counter() -> (Arc<AtomicUsize>, Box<dyn Fn() + Send + Sync>) {
        let count = Arc::new(AtomicUsize::new(0));
        let shared = Arc::clone(&count);
        let hook = Box::new(move || {
            shared.fetch_add(1, Ordering::Relaxed);
        });
        (count, hook)
    }

    #[test]
    fn a_hook_is_called_at_its_point_until_its_guard_is_dropped() {
        let (count, hook) = counter();

        point("test.guarded");
        let guard = set_point("test.guarded", hook);
        point("test.guarded");
        point("test.unknown");
        drop(guard);
        point("test.guarded");

        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn all_hooks_of_a_point_are_called_and_removed_one_by_one() {
        let ((first_count, first), (second_count, second)) = (counter(), counter());

        let first = set_point("test.two", first);
        let _second = set_point("test.two", second);
        point("test.two");
        drop(first);
        point("test.two");

        assert_eq!(first_count.load(Ordering::Relaxed), 1);
        assert_eq!(second_count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_hook_may_hold_its_thread_while_others_pass_points_and_set_them() {
        let (arrived, arrivals) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        let gone = std::sync::Mutex::new(gone);
        let _held = set_point(
            "test.held",
            Box::new(move || {
                arrived.send(()).expect("the test waits");
                gone.lock().expect("one caller").recv().expect("the test lets go");
            }),
        );
        let (count, hook) = counter();

        thread::scope(|scope| {
            scope.spawn(|| point("test.held"));
            arrivals.recv().expect("the thread arrives");
            let _other = set_point("test.passing", hook);
            point("test.passing");
            go.send(()).expect("the hook waits");
        });

        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_hook_may_pass_points_itself() {
        let (count, hook) = counter();
        let _inner = set_point("test.inner", hook);
        let _outer = set_point("test.outer", Box::new(|| point("test.inner")));

        point("test.outer");

        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
