//! The values of a data block in memory: pages that are verified and decompressed when they are asked for.

use super::once_bytes::OnceBytes;
use crate::{
    codec::{Codec, Corruption, FileCodec, StoredSection},
    env::sync::{Mutex, Rank},
    prefetch::prefetch,
};
use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;

/// Of who opens a page of a block. Held while it is decompressed.
const PAGES: Rank = Rank::new(62, "block.pages");

/// How much of a value is asked for ahead.
const PREFETCHED_BYTES: usize = 256;

/// Pages in the order of their values.
pub(super) struct Pages {
    pages: Box<[Page]>,
    /// As they are stored. A page is gone from here once it is opened.
    stored: Mutex<Box<[Option<StoredSection<'static>>]>>,
    codec: FileCodec,
}

struct Page {
    /// Where its values begin among those of the block.
    start: usize,
    opened: OnceBytes,
}

impl Page {
    fn end(&self) -> usize {
        self.start + self.opened.len()
    }
}

impl Pages {
    /// Takes sections as pages. Of those that are not compressed the content is verified now.
    ///
    /// # Errors
    ///
    /// A page is empty, or damaged.
    pub(super) fn new<'a>(
        sections: impl ExactSizeIterator<Item = StoredSection<'a>>,
        codec: &FileCodec,
    ) -> Result<Pages, Corruption> {
        let mut pages = Vec::with_capacity(sections.len());
        let mut stored = Vec::with_capacity(sections.len());
        let mut start = 0_usize;
        for section in sections {
            if section.raw_bytes() == 0 {
                return Err(Corruption("a page of a data block is empty"));
            }
            let end = start
                .checked_add(section.raw_bytes())
                .ok_or(Corruption("the values of a data block exceed the address space"))?;
            let opened = OnceBytes::new(section.raw_bytes());
            stored.push(match section.compression() {
                Codec::None => {
                    opened.set(section.open(codec)?.into());
                    None
                }
                _ => Some(section.into_owned()),
            });
            pages.push(Page { start, opened });
            start = end;
        }
        Ok(Pages { pages: pages.into(), stored: Mutex::new(PAGES, stored.into()), codec: codec.clone() })
    }

    /// Where the memory is that reading any value begins with.
    pub(super) fn start(&self) -> *const u8 {
        self.pages.as_ptr().cast()
    }

    /// Asks for the first bytes of a value, if its page is open.
    pub(super) fn prefetch_value(&self, page: usize, place: &Range<usize>) {
        let page = self.pages[page].opened.start();
        prefetch(page.wrapping_add(place.start), place.len().min(PREFETCHED_BYTES));
    }

    /// Bytes of all values.
    pub(super) fn bytes(&self) -> usize {
        self.pages.last().map_or(0, Page::end)
    }

    /// The page with a value that lies there among the values of the block, and its place in the page. `None`:
    /// no page has it in whole. An empty value is in none, and needs none.
    ///
    /// `near` is a page that may have it and is looked at first; any number will do.
    #[inline]
    pub(super) fn place_of(&self, value: Range<usize>, near: usize) -> Option<(usize, Range<usize>)> {
        let has_all = |page: &&Page| page.start <= value.start && value.end <= page.end();
        let (at, page) = match self.pages.get(near).filter(has_all) {
            Some(page) => (near, page),
            None => {
                let at = self.pages.iter().position(|page| value.end <= page.end())?;
                (at, self.pages.get(at).filter(has_all)?)
            }
        };
        Some((at, value.start - page.start..value.end - page.start))
    }

    /// The values of a page.
    ///
    /// # Errors
    ///
    /// It is damaged.
    #[inline]
    pub(super) fn open(&self, at: usize) -> Result<&[u8], Corruption> {
        match self.pages[at].opened.get() {
            Some(opened) => Ok(opened),
            None => self.open_stored(at),
        }
    }

    /// The values of a page that was not open a moment ago.
    #[cold]
    fn open_stored(&self, at: usize) -> Result<&[u8], Corruption> {
        let mut stored = self.stored.lock();
        if let Some(section) = &stored[at] {
            // Nobody else brings it meanwhile: pages are opened under the lock.
            self.pages[at].opened.set(section.open(&self.codec)?.into());
            stored[at] = None;
        }
        drop(stored);
        Ok(self.opened(at))
    }

    /// The values of a page that was opened.
    #[inline]
    pub(super) fn opened(&self, at: usize) -> &[u8] {
        self.pages[at].opened.get().expect("the page was opened")
    }

    /// Number of pages.
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Opens all.
    ///
    /// # Errors
    ///
    /// One is damaged.
    pub(super) fn open_all(&self) -> Result<(), Corruption> {
        (0..self.pages.len()).try_for_each(|at| self.open(at).map(|_| ()))
    }

    /// The most memory that they take: pages are either as they are stored or opened.
    pub(super) fn resident_bytes(&self) -> usize {
        const PAGE_BYTES: usize = size_of::<Page>() + size_of::<Option<StoredSection<'_>>>();
        self.bytes() + self.pages.len() * PAGE_BYTES
    }
}
