//! Which entries to keep: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: FIFO queues are all you need, SOSP 2023).
//!
//! New entries go through a small queue, a tenth of the room; those used again there move to the main queue,
//! the others leave and are remembered by their hash for a while. An entry that comes back while remembered
//! goes to the main queue at once. So a scan passes through the small queue and leaves the rest alone.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::{
    hash::{BuildHasherDefault, Hasher},
    mem,
    sync::atomic::{AtomicU8, Ordering},
};
use hashbrown::HashSet;

/// Uses that are counted; more make no difference.
const MAX_USES: u8 = 3;

/// Passes a word through that is mixed already.
#[derive(Default)]
pub(super) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        unreachable!("keys hash as one word, not as {} bytes", bytes.len());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

type ByMixed = BuildHasherDefault<Mixed>;

/// Places for entries, the entries that are there, and the order they leave in.
///
/// Places come in *shelves*, by number. Every place that is taken is in exactly one of the queues and no other
/// place is in any, and the byte counts are the sums over them.
pub(super) struct Queues<V> {
    shelves: Vec<Option<Places<V>>>,
    small: VecDeque<Queued>,
    main: VecDeque<Queued>,
    small_bytes: usize,
    main_bytes: usize,
    /// Marks of entries that left the small queue unused, oldest first.
    ghosts: VecDeque<u64>,
    ghost_set: HashSet<u64, ByMixed>,
}

/// The places of a shelf.
pub(super) type Places<V> = Box<[Option<Held<V>>]>;

/// An entry at its place.
pub(super) struct Held<V> {
    value: V,
    bytes: u32,
    queue: Queue,
    /// Uses since it was queued, up to [`MAX_USES`]. Counted under the reader's lock; a lost count is
    /// harmless.
    uses: AtomicU8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Small,
    Main,
}

/// Where an entry is or may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Number of the shelf, which has been put up.
    pub(super) shelf: u32,
    /// Place on it.
    pub(super) at: u32,
}

/// An entry in its queue.
struct Queued {
    place: Place,
    /// What it is remembered by when it is gone.
    mark: u64,
}

/// Bookkeeping of an entry, beside its place.
pub(super) const ENTRY_BYTES: usize = 2 * (size_of::<Queued>() + size_of::<u64>());

/// Bookkeeping of a place, taken or not.
pub(super) const fn place_bytes<V>() -> usize {
    size_of::<Option<Held<V>>>()
}

impl<V> Queues<V> {
    pub(super) fn new() -> Queues<V> {
        Queues {
            shelves: Vec::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            small_bytes: 0,
            main_bytes: 0,
            ghosts: VecDeque::new(),
            ghost_set: HashSet::default(),
        }
    }

    /// Bytes of all entries, bookkeeping included.
    pub(super) fn bytes(&self) -> usize {
        self.small_bytes + self.main_bytes
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    /// The least number that no shelf has.
    pub(super) fn free_number(&self) -> usize {
        self.shelves.iter().position(Option::is_none).unwrap_or(self.shelves.len())
    }

    /// Puts up a shelf under a number that no other has.
    pub(super) fn put_up(&mut self, shelf: usize, places: usize) {
        if self.shelves.len() <= shelf {
            self.shelves.resize_with(shelf + 1, || None);
        }
        let before = self.shelves[shelf].replace((0..places).map(|_| None).collect());
        assert!(before.is_none(), "a shelf has a number of its own");
    }

    /// Takes a shelf down, with all that is on it. Takes time in proportion to all entries, if there are any on
    /// the shelf.
    pub(super) fn take_down(&mut self, shelf: usize) -> Places<V> {
        let places = self.shelves[shelf].take().expect("a shelf is taken down once");
        let mut is_empty = true;
        for held in places.iter().flatten() {
            *self.bytes_of(held.queue) -= held.bytes as usize;
            is_empty = false;
        }
        if !is_empty {
            let is_elsewhere = |queued: &Queued| queued.place.shelf as usize != shelf;
            self.small.retain(is_elsewhere);
            self.main.retain(is_elsewhere);
        }
        places
    }

    /// Notes a use.
    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<&V> {
        let held = self.places(place.shelf)[place.at as usize].as_ref()?;
        let uses = held.uses.load(Ordering::Relaxed);
        if uses < MAX_USES {
            held.uses.store(uses + 1, Ordering::Relaxed);
        }
        Some(&held.value)
    }

    /// Adds an entry of `bytes` bytes, bookkeeping included, and makes room for it. `mark` stands for it when it
    /// is gone. Where an entry is already, that one stays, and the answer is `false`.
    ///
    /// What leaves goes into `gone`, so that it is dropped without the lock.
    pub(super) fn insert(
        &mut self,
        place: Place,
        mark: u64,
        value: V,
        bytes: u32,
        limit: usize,
        gone: &mut Vec<V>,
    ) -> bool {
        let queue = if self.ghost_set.contains(&mark) { Queue::Main } else { Queue::Small };
        let entry = self.entry(place);
        if entry.is_some() {
            gone.push(value);
            return false;
        }
        *entry = Some(Held { value, bytes, queue, uses: AtomicU8::new(0) });
        self.push(Queued { place, mark }, bytes, queue);
        self.shrink_to(limit, gone);
        true
    }

    /// Evicts until at most `limit` bytes are held.
    pub(super) fn shrink_to(&mut self, limit: usize, gone: &mut Vec<V>) {
        while self.bytes() > limit {
            if self.main.is_empty() || self.small_bytes > limit / 10 {
                self.step_small(gone);
            } else {
                self.step_main(gone);
            }
        }
    }

    /// Moves the oldest of the small queue on, or out.
    fn step_small(&mut self, gone: &mut Vec<V>) {
        let queued = self.small.pop_front().expect("bytes are held, and the main queue has none or few");
        let held = self.held(queued.place);
        let bytes = held.bytes;
        let is_used = mem::take(held.uses.get_mut()) > 0;
        if is_used {
            held.queue = Queue::Main;
        }
        self.small_bytes -= bytes as usize;
        if is_used {
            self.push(queued, bytes, Queue::Main);
        } else {
            gone.extend(self.entry(queued.place).take().map(|held| held.value));
            self.remember(queued.mark);
        }
    }

    /// Gives the oldest of the main queue another round, or moves it out.
    fn step_main(&mut self, gone: &mut Vec<V>) {
        let queued = self.main.pop_front().expect("asked only if the main queue has entries");
        let held = self.held(queued.place);
        let bytes = held.bytes;
        let uses = held.uses.get_mut();
        if *uses > 0 {
            *uses -= 1;
            self.main.push_back(queued);
        } else {
            self.main_bytes -= bytes as usize;
            gone.extend(self.entry(queued.place).take().map(|held| held.value));
        }
    }

    fn push(&mut self, queued: Queued, bytes: u32, queue: Queue) {
        match queue {
            Queue::Small => self.small.push_back(queued),
            Queue::Main => self.main.push_back(queued),
        }
        *self.bytes_of(queue) += bytes as usize;
    }

    /// Remembers what left by its mark, as many as there are entries.
    fn remember(&mut self, mark: u64) {
        if self.ghost_set.insert(mark) {
            self.ghosts.push_back(mark);
        }
        while self.ghosts.len() > self.len() {
            let oldest = self.ghosts.pop_front().expect("it is longer than another length");
            self.ghost_set.remove(&oldest);
        }
    }

    #[inline]
    fn places(&self, shelf: u32) -> &Places<V> {
        self.shelves[shelf as usize].as_ref().expect("the shelf has been put up")
    }

    fn entry(&mut self, place: Place) -> &mut Option<Held<V>> {
        let places = self.shelves[place.shelf as usize].as_mut().expect("the shelf has been put up");
        &mut places[place.at as usize]
    }

    fn held(&mut self, place: Place) -> &mut Held<V> {
        self.entry(place).as_mut().expect("what is queued is at its place")
    }

    fn bytes_of(&mut self, queue: Queue) -> &mut usize {
        match queue {
            Queue::Small => &mut self.small_bytes,
            Queue::Main => &mut self.main_bytes,
        }
    }
}
