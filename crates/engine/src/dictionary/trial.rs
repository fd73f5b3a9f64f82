//! What a dictionary is worth: samples of pages, some to train on and others to judge by. Pure.

use crate::codec::{Compression, Dictionary, FileDictionary, WritingDictionary, train};
use alloc::{sync::Arc, vec::Vec};

/// One block in so many is held out: its pages judge, and train nothing.
const HELD_OUT_EVERY: usize = 4;

/// Fewer blocks say nothing of the next.
const MIN_BLOCKS: usize = 2 * HELD_OUT_EVERY;

/// A dictionary takes a twentieth off what is stored without it, at least.
const WORTHWHILE: u64 = 20;

/// Pages out of some blocks, as they are before they are compressed.
pub struct Samples {
    training: Pages,
    held_out: Pages,
    blocks: usize,
    left_bytes: usize,
}

#[derive(Default)]
struct Pages {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Pages {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = &self.bytes[..];
        self.lengths.iter().map(move |&length| {
            let (page, rest) = left.split_at(length);
            left = rest;
            page
        })
    }
}

impl Samples {
    /// None yet; at most `max_bytes` in all.
    pub fn new(max_bytes: usize) -> Samples {
        Samples { training: Pages::default(), held_out: Pages::default(), blocks: 0, left_bytes: max_bytes }
    }

    /// Whether no more are wanted.
    pub fn is_full(&self) -> bool {
        self.left_bytes == 0
    }

    /// Adds the pages of a block. The last that fits is the last of all.
    pub fn add_block<'a>(&mut self, pages: impl IntoIterator<Item = &'a [u8]>) {
        self.blocks += 1;
        let is_held_out = self.blocks.is_multiple_of(HELD_OUT_EVERY);
        let to = if is_held_out { &mut self.held_out } else { &mut self.training };
        for page in pages {
            if page.len() > self.left_bytes {
                self.left_bytes = 0;
                return;
            }
            self.left_bytes -= page.len();
            to.bytes.extend_from_slice(page);
            to.lengths.push(page.len());
        }
    }

    /// Blocks that were added.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Bytes of all pages.
    pub fn bytes(&self) -> u64 {
        (self.training.bytes.len() + self.held_out.bytes.len()) as u64
    }

    /// Whether there is enough to train on and to judge by.
    pub fn are_enough(&self) -> bool {
        self.blocks >= MIN_BLOCKS && !self.held_out.bytes.is_empty()
    }

    /// Trains a dictionary on what is not held out, and tries it. `None` if there is too little to train on, or nothing in
    /// common.
    pub fn train(&self, compression: Compression, dictionary_bytes: u32) -> Option<(Dictionary, Trial)> {
        if !self.are_enough() {
            return None;
        }
        let content = train(&self.training.bytes, &self.training.lengths, dictionary_bytes as usize)?;
        let untried = Dictionary::new(content, 0).ok()?;
        let trial = self.trial(&untried, compression)?;
        let dictionary = untried.saving(trial.saved_permille());
        Some((dictionary, trial))
    }

    /// Tries a dictionary on what is held out. `None` if that is nothing, or for want of memory.
    pub fn trial(&self, dictionary: &Dictionary, compression: Compression) -> Option<Trial> {
        if self.held_out.bytes.is_empty() {
            return None;
        }
        let writing = FileDictionary::Writing(Arc::new(WritingDictionary::new(dictionary, compression)?));
        Some(Trial {
            raw_bytes: self.held_out.bytes.len() as u64,
            without_bytes: self.stored_bytes(compression, &FileDictionary::None),
            with_bytes: self.stored_bytes(compression, &writing),
        })
    }

    fn stored_bytes(&self, compression: Compression, dictionary: &FileDictionary) -> u64 {
        let pages = self.held_out.iter();
        pages.map(|page| compression.compress_in(page, dictionary).1.len() as u64).sum()
    }
}

/// What held-out pages became.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trial {
    /// Their size; never 0.
    pub raw_bytes: u64,
    /// Stored without the dictionary.
    pub without_bytes: u64,
    /// Stored with it.
    pub with_bytes: u64,
}

impl Trial {
    /// How many thousandths the dictionary takes off what is stored without it.
    pub fn saved_permille(&self) -> u16 {
        let saved = self.without_bytes.saturating_sub(self.with_bytes);
        u16::try_from(saved * 1000 / self.without_bytes.max(1)).expect("at most all of it")
    }

    /// Whether the dictionary saves three quarters of what it saved when it was trained, at least.
    pub fn is_as_good_as_in_training(&self, trained_permille: u16) -> bool {
        u32::from(self.saved_permille()) * 4 >= u32::from(trained_permille) * 3
    }

    /// Whether the dictionary saves a quarter more than another on the same pages.
    pub fn is_clearly_better_than(&self, other: &Trial) -> bool {
        u32::from(self.saved_permille()) * 4 >= u32::from(other.saved_permille()) * 5
    }

    /// Whether the dictionary makes an output of `output_bytes` bytes of values smaller by a twentieth, though
    /// `file_bytes` have to be written for it first.
    pub fn pays(&self, output_bytes: u64, file_bytes: u64) -> bool {
        let scaled = |bytes: u64| u128::from(bytes) * u128::from(output_bytes) / u128::from(self.raw_bytes);
        let (without, with) = (scaled(self.without_bytes), scaled(self.with_bytes));
        with + u128::from(file_bytes) <= without - without / u128::from(WORTHWHILE)
    }
}
