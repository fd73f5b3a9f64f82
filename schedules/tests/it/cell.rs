//! The state cell: a reader has one whole state, never an older one than before, and no state is lost.

use isopach_env::sync::{Mutex, Rank, StateCell};
use isopach_schedules::{Work, explore, finds, together, work};
use std::sync::Arc;

const RANK: Rank = Rank::new(1, "test");

/// A state whose halves belong together.
#[derive(Debug)]
struct State {
    number: u64,
    twice: u64,
}

fn state(number: u64) -> Arc<State> {
    Arc::new(State { number, twice: 2 * number })
}

/// What the scenarios need of a cell, so that broken ones can take its place.
trait Cell: Send + Sync + 'static {
    fn of(first: Arc<State>) -> Self;
    fn load(&self) -> Arc<State>;
    fn store(&self, next: Arc<State>) -> Arc<State>;
}

impl Cell for StateCell<State> {
    fn of(first: Arc<State>) -> Self {
        StateCell::new(RANK, first)
    }

    fn load(&self) -> Arc<State> {
        StateCell::load(self)
    }

    fn store(&self, next: Arc<State>) -> Arc<State> {
        StateCell::store(self, next)
    }
}

/// One installer and two readers.
fn read_while_installing<C: Cell>() {
    let cell = Arc::new(C::of(state(0)));
    let reader = |cell: Arc<C>| {
        work(move || {
            let mut before = 0;
            for _ in 0..3 {
                let seen = cell.load();
                assert_eq!(seen.twice, 2 * seen.number, "half of a state");
                assert!(seen.number >= before, "state {} after {before}", seen.number);
                before = seen.number;
            }
        })
    };
    let installer = {
        let cell = Arc::clone(&cell);
        work(move || {
            for number in 1..4 {
                let old = cell.store(state(number));
                assert_eq!(old.number, number - 1);
                assert_eq!(cell.load().number, number, "its own state");
            }
        })
    };
    together([installer, reader(Arc::clone(&cell)), reader(cell)]);
}

/// Two installers: each state comes back once, to who replaced it, or is the last.
fn install_from_two_threads<C: Cell>() {
    let cell = Arc::new(C::of(state(0)));
    let replaced = Arc::new(std::sync::Mutex::new(Vec::new()));
    let installer = |numbers: [u64; 2]| -> Work {
        let (cell, replaced) = (Arc::clone(&cell), Arc::clone(&replaced));
        work(move || {
            for number in numbers {
                let old = cell.store(state(number));
                replaced.lock().unwrap().push(old.number);
            }
        })
    };
    together([installer([1, 2]), installer([3, 4])]);

    let mut seen = replaced.lock().unwrap().clone();
    seen.push(cell.load().number);
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn a_reader_has_one_whole_state_and_never_an_older_one() {
    explore("state cell, readers", 100, read_while_installing::<StateCell<State>>);
}

#[test]
fn installers_lose_no_state() {
    explore("state cell, installers", 100, install_from_two_threads::<StateCell<State>>);
}

/// Installs the halves one after the other.
struct Torn {
    number: Mutex<u64>,
    twice: Mutex<u64>,
}

impl Cell for Torn {
    fn of(first: Arc<State>) -> Self {
        Torn { number: Mutex::new(RANK, first.number), twice: Mutex::new(RANK, first.twice) }
    }

    fn load(&self) -> Arc<State> {
        let number = *self.number.lock();
        Arc::new(State { number, twice: *self.twice.lock() })
    }

    fn store(&self, next: Arc<State>) -> Arc<State> {
        let number = std::mem::replace(&mut *self.number.lock(), next.number);
        let twice = std::mem::replace(&mut *self.twice.lock(), next.twice);
        Arc::new(State { number, twice })
    }
}

/// Looks at the state that it replaces before it takes the lock.
struct Forgetful(StateCell<State>);

impl Cell for Forgetful {
    fn of(first: Arc<State>) -> Self {
        Forgetful(StateCell::of(first))
    }

    fn load(&self) -> Arc<State> {
        self.0.load()
    }

    fn store(&self, next: Arc<State>) -> Arc<State> {
        let old = self.0.load();
        drop(self.0.store(next));
        old
    }
}

#[test]
fn a_cell_that_installs_in_halves_is_found() {
    assert!(finds(50, read_while_installing::<Torn>));
}

#[test]
fn a_cell_that_looks_before_it_locks_is_found() {
    assert!(finds(50, install_from_two_threads::<Forgetful>));
}
