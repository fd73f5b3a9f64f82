//! The views that somebody holds, in order. Knows nothing of what they are for.

use isopach_engine::types::{Seqno, UnixUs, View};
use std::collections::BTreeMap;

/// Most views in a chunk.
const CHUNK: usize = 256;

/// A sorted bag of views: 20 bytes for each different one where they come in order, as they mostly do.
///
/// A map of chunks: what is added behind all others fills the last one, and what comes between splits one in
/// two. Adding and removing takes a search, and moves at most a chunk.
#[derive(Default, Debug)]
pub(super) struct HeldViews {
    /// By a view that is not after the first of the chunk, and after the last of the one before.
    chunks: BTreeMap<Key, Chunk>,
    count: u64,
}

type Key = (Seqno, UnixUs);

/// Different views in order, and how many times each is held; not empty.
#[derive(Default, Debug)]
struct Chunk {
    views: Vec<View>,
    counts: Vec<u32>,
}

impl HeldViews {
    /// How many are held.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The first in order: of those that see least, the earliest.
    pub(super) fn oldest(&self) -> Option<View> {
        self.iter().next()
    }

    /// Each different one, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = View> + '_ {
        self.chunks.values().flat_map(|chunk| chunk.views.iter().copied())
    }

    pub(super) fn add(&mut self, view: View) {
        self.count += 1;
        let Some((_, chunk)) = self.chunks.range_mut(..=key(view)).next_back() else {
            self.chunks.insert(key(view), Chunk::of(view));
            return;
        };
        match chunk.find(view) {
            Ok(at) => chunk.counts[at] = chunk.counts[at].checked_add(1).expect("memory ends before"),
            Err(at) if at == chunk.views.len() && at >= CHUNK => {
                self.chunks.insert(key(view), Chunk::of(view));
            }
            Err(at) => {
                chunk.views.insert(at, view);
                chunk.counts.insert(at, 1);
                if chunk.views.len() > CHUNK {
                    let upper = chunk.split();
                    self.chunks.insert(key(upper.views[0]), upper);
                }
            }
        }
    }

    /// # Panics
    ///
    /// If it is not held.
    pub(super) fn remove(&mut self, view: View) {
        self.count -= 1;
        let (&first, chunk) =
            self.chunks.range_mut(..=key(view)).next_back().expect("held since it was added");
        let at = chunk.find(view).expect("held since it was added");
        chunk.counts[at] -= 1;
        if chunk.counts[at] > 0 {
            return;
        }
        chunk.views.remove(at);
        chunk.counts.remove(at);
        if chunk.views.is_empty() {
            self.chunks.remove(&first);
        } else if chunk.views.len() < chunk.views.capacity() / 4 {
            chunk.views.shrink_to(2 * chunk.views.len());
            chunk.counts.shrink_to(2 * chunk.counts.len());
        }
    }
}

impl Chunk {
    fn of(view: View) -> Chunk {
        Chunk { views: vec![view], counts: vec![1] }
    }

    fn find(&self, view: View) -> Result<usize, usize> {
        self.views.binary_search_by_key(&key(view), |&held| key(held))
    }

    /// Keeps the lower half.
    fn split(&mut self) -> Chunk {
        let half = self.views.len() / 2;
        Chunk { views: self.views.split_off(half), counts: self.counts.split_off(half) }
    }
}

fn key(view: View) -> Key {
    (view.seqno, view.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(seqno: u64, time: u64) -> View {
        View::new(Seqno::from_raw(seqno).unwrap(), UnixUs(time))
    }

    #[test]
    fn a_bag_holds_what_was_added_and_not_removed() {
        let mut held = HeldViews::default();
        let mut expected: BTreeMap<(u64, u64), u32> = BTreeMap::new();
        let mut random = 7_u64;
        for round in 0..40_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let of = (random >> 40) as usize;
            let shrinks = (round / 10_000) % 2 == 1;
            if of % 4 < if shrinks { 3 } else { 1 } && !expected.is_empty() {
                let (&(seqno, time), _) = expected.iter().nth(of % expected.len()).unwrap();
                held.remove(view(seqno, time));
                let count = expected.get_mut(&(seqno, time)).unwrap();
                *count -= 1;
                if *count == 0 {
                    expected.remove(&(seqno, time));
                }
            } else {
                let (seqno, time) = ((of % 3000) as u64, (of % 2) as u64);
                held.add(view(seqno, time));
                *expected.entry((seqno, time)).or_default() += 1;
            }
            assert_eq!(held.count(), expected.values().map(|&count| u64::from(count)).sum::<u64>());
            assert_eq!(
                held.oldest().map(|view| (view.seqno.raw(), view.time.0)),
                expected.keys().next().copied()
            );
            if round % 1000 == 0 {
                let found: Vec<_> = held.iter().map(|view| (view.seqno.raw(), view.time.0)).collect();
                assert_eq!(found, expected.keys().copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn views_that_come_in_order_fill_their_chunks() {
        let mut held = HeldViews::default();
        (0..10 * CHUNK as u64).for_each(|seqno| held.add(view(seqno, seqno)));

        assert_eq!(held.chunks.len(), 10);
    }

    #[test]
    fn a_chunk_that_empties_gives_its_memory_back() {
        let mut held = HeldViews::default();
        (0..CHUNK as u64).for_each(|seqno| held.add(view(seqno, 0)));
        (1..CHUNK as u64).for_each(|seqno| held.remove(view(seqno, 0)));

        let chunk = held.chunks.values().next().unwrap();
        assert!(chunk.views.capacity() <= 16, "{}", chunk.views.capacity());
    }
}
