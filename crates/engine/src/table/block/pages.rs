//! The values of a data block in memory: pages that are verified and decompressed when they are asked for.

use crate::{
    codec::{Codec, Corruption, FileCodec, StoredSection},
    env::sync::{Mutex, Rank},
    prefetch::prefetch,
};
use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;
use once_cell::race::OnceBox;

/// Of who opens a page of a block. Held while it is decompressed.
const PAGES: Rank = Rank::new(62, "block.pages");

/// Pages in the order of their values.
pub(super) struct Pages {
    pages: Box<[Page]>,
    /// As they are stored. A page is gone from here once it is opened.
    stored: Mutex<Box<[Option<StoredSection<'static>>]>>,
    codec: FileCodec,
}

struct Page {
    /// Where its values end among those of the block.
    end: usize,
    opened: OnceBox<Vec<u8>>,
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
        let mut end = 0_usize;
        for section in sections {
            if section.raw_bytes() == 0 {
                return Err(Corruption("a page of a data block is empty"));
            }
            end = end
                .checked_add(section.raw_bytes())
                .ok_or(Corruption("the values of a data block exceed the address space"))?;
            let opened = OnceBox::new();
            stored.push(match section.compression() {
                Codec::None => {
                    opened.get_or_try_init(|| section.open(codec).map(Box::new))?;
                    None
                }
                _ => Some(section.into_owned()),
            });
            pages.push(Page { end, opened });
        }
        Ok(Pages { pages: pages.into(), stored: Mutex::new(PAGES, stored.into()), codec: *codec })
    }

    /// Asks for the memory that reading any value begins with.
    pub(super) fn prefetch(&self) {
        prefetch(self.pages.as_ptr(), size_of_val(&*self.pages));
    }

    /// Bytes of all values.
    pub(super) fn bytes(&self) -> usize {
        self.pages.last().map_or(0, |page| page.end)
    }

    /// The page with a value that lies there among the values of the block, and its place in the page. `None`:
    /// no page has it in whole. An empty value is in none, and needs none.
    pub(super) fn place_of(&self, value: Range<usize>) -> Option<(usize, Range<usize>)> {
        let at = self.pages.iter().position(|page| value.end <= page.end)?;
        let start = at.checked_sub(1).map_or(0, |before| self.pages[before].end);
        (start <= value.start).then(|| (at, value.start - start..value.end - start))
    }

    /// The values of a page.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub(super) fn open(&self, at: usize) -> Result<&[u8], Corruption> {
        let page = &self.pages[at];
        if let Some(opened) = page.opened.get() {
            return Ok(opened);
        }
        let mut stored = self.stored.lock();
        if let Some(section) = &stored[at] {
            let opened = section.open(&self.codec)?;
            assert!(page.opened.set(Box::new(opened)).is_ok(), "pages are opened under their lock");
            stored[at] = None;
        }
        drop(stored);
        Ok(self.opened(at))
    }

    /// The values of a page that was opened.
    pub(super) fn opened(&self, at: usize) -> &[u8] {
        self.pages[at].opened.get().expect("the page was opened")
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
        const PAGE_BYTES: usize =
            size_of::<Page>() + size_of::<Option<StoredSection<'_>>>() + size_of::<Vec<u8>>();
        self.bytes() + self.pages.len() * PAGE_BYTES
    }
}
