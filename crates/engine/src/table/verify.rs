//! Checking a table against itself and against the manifest. Finds, never mends.

use super::{
    DataBlock, Finding, KeyHash, KindCounts, Properties, Region, RegionKind, Table, filter,
    layout::{reconcile, regions},
    open::decode_single,
};
use crate::{codec::BlockKind, error::Error, key::InternalKey, types::Seqno};
use alloc::{format, string::String, vec::Vec};

/// How far a check goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum VerifyDepth {
    /// Footer, properties and sizes, against the manifest.
    Outline,
    /// Every byte and every entry too, past the cache.
    #[default]
    Entries,
    /// Moreover every byte belongs to one region of the file, and the filter counts the keys that are there.
    Full,
}

impl Table {
    /// Checks the table and collects all that is wrong; nothing, if all is well. Errors of the backend are
    /// findings too. Reads past the cache; from [`VerifyDepth::Entries`] on it reads the file twice.
    pub fn verify(&self, depth: VerifyDepth) -> Vec<Finding> {
        let mut check = Check { table: self, found: Vec::new() };
        check.footer();
        let properties = check.properties();
        if depth == VerifyDepth::Full {
            check.regions();
        }
        if depth >= VerifyDepth::Entries {
            check.digest();
            if let Some(seen) = check.entries() {
                check.totals(&seen, properties.as_ref());
                if depth == VerifyDepth::Full {
                    check.filtered_keys(seen.keys);
                }
            }
        }
        check.found
    }
}

struct Check<'a> {
    table: &'a Table,
    found: Vec<Finding>,
}

impl Check<'_> {
    fn footer(&mut self) {
        match self.table.file.read_footer() {
            Err(error) => self.found_error(error),
            Ok(footer) if !footer.agrees_with(&self.table.meta) => {
                self.found(self.table.file.footer_at(), "the footer contradicts the manifest");
            }
            Ok(footer) if footer.data_blocks != self.table.blocks() as u64 => {
                self.found(self.table.file.footer_at(), "the footer counts other blocks than the index");
            }
            Ok(_) => {}
        }
        match self.table.file.file.size_bytes() {
            Err(error) => self.found_error(Error::io(error, "measure", self.table.file_name())),
            Ok(bytes) if bytes != self.table.meta.bytes => {
                self.found(bytes, "the file has another size than the manifest says");
            }
            Ok(_) => {}
        }
    }

    /// The properties, if they can be read.
    fn properties(&mut self) -> Option<Properties> {
        let properties = match self.table.properties() {
            Ok(properties) => properties,
            Err(error) => {
                self.found_error(error);
                return None;
            }
        };
        let meta = &self.table.meta;
        let agrees = properties.counts.total() == meta.entries
            && properties.counts.tombstones() == meta.tombstones
            && properties.first_key == meta.first_key
            && properties.last_key == meta.last_key
            && properties.first_seqno == meta.first_seqno
            && properties.last_seqno == meta.last_seqno
            && properties.seed.created_at == meta.created_at
            && properties.data_blocks == self.table.blocks() as u64;
        if !agrees {
            self.found(meta.properties.offset, "the properties contradict the manifest");
        }
        Some(properties)
    }

    fn regions(&mut self) {
        let meta = &self.table.meta;
        let data = (0..self.table.blocks()).map(|at| (RegionKind::Data(at), self.table.index.handle(at)));
        let filter = meta.filter.map(|handle| (RegionKind::Filter, handle));
        let others = [(RegionKind::Index, meta.index), (RegionKind::Properties, meta.properties)];
        let blocks = data.chain(filter).chain(others).map(|(kind, handle)| Region::of(kind, handle));
        self.found.extend(reconcile(&regions(meta.bytes, blocks), meta.bytes));
    }

    fn digest(&mut self) {
        match self.table.file.digest() {
            Err(error) => self.found_error(error),
            Ok(digest) if digest != self.table.meta.digest => {
                self.found(0, "the file has another digest than the manifest says");
            }
            Ok(_) => {}
        }
    }

    /// What all entries add up to, if all could be read.
    fn entries(&mut self) -> Option<Seen> {
        let mut seen = Seen::new();
        let mut is_complete = true;
        for index in 0..self.table.blocks() {
            let handle = self.table.index.handle(index);
            let read = self.table.read_block(handle).and_then(|block| {
                block.open_values().map_err(|why| self.table.damaged_block(index, why)).map(|()| block)
            });
            match read {
                Ok(block) => {
                    for message in self.block(&block, index, &mut seen) {
                        self.found_in_block(index, message);
                    }
                }
                Err(error) => {
                    is_complete = false;
                    seen.last = None;
                    self.found_error(error.over_keys(self.table.block_keys(index)));
                }
            }
        }
        is_complete.then_some(seen)
    }

    /// What is wrong with one block.
    fn block(&self, block: &DataBlock, index: usize, seen: &mut Seen) -> Vec<String> {
        let mut wrong = Vec::new();
        let first = entry_key(block, 0);
        if seen.last.as_ref().is_some_and(|last| as_internal(last) >= as_internal(&first)) {
            wrong.push("the block does not begin behind the one before it".into());
        }
        if index > 0 && as_internal(&self.table.index.separator(index - 1)) >= as_internal(&first) {
            wrong.push("the block does not begin behind the separator before it".into());
        }
        let last = entry_key(block, block.len() - 1);
        if as_internal(&last) > as_internal(&self.table.index.separator(index)) {
            wrong.push("the block does not end before its separator".into());
        }
        let mut unfiltered = 0_u64;
        for entry in 0..block.len() {
            let (key, seqno) = entry_key(block, entry);
            let may_contain = |filter: &super::filter::Filter| filter.may_contain(KeyHash::of(&key));
            unfiltered += u64::from(!self.table.filter.as_ref().is_none_or(may_contain));
            seen.count(key, seqno, block, entry);
        }
        if unfiltered > 0 {
            wrong.push(format!("the filter denies {unfiltered} of its entries"));
        }
        seen.last = Some(last);
        wrong
    }

    /// Compares what was seen of all blocks.
    fn totals(&mut self, seen: &Seen, properties: Option<&Properties>) {
        let meta = &self.table.meta;
        if seen.counts.total() != meta.entries || seen.counts.tombstones() != meta.tombstones {
            let message = format!("{} entries are there, not {}", seen.counts.total(), meta.entries);
            self.found(0, &message);
        }
        if seen.first_key.as_ref() != Some(&meta.first_key)
            || seen.last.as_ref().map(|(key, _)| key) != Some(&meta.last_key)
        {
            self.found(0, "the first and last key are not those of the manifest");
        }
        if (seen.first_seqno, seen.last_seqno) != (meta.first_seqno, meta.last_seqno) {
            self.found(0, "the first and last number are not those of the manifest");
        }
        let sizes = (seen.counts, seen.key_bytes, seen.value_bytes);
        if properties.is_some_and(|it| (it.counts, it.key_bytes, it.value_bytes) != sizes) {
            self.found(meta.properties.offset, "the properties contradict the entries");
        }
    }

    /// The filter was made of as many keys as there are.
    fn filtered_keys(&mut self, keys: u64) {
        let Some(handle) = self.table.meta.filter else { return };
        let file = &self.table.file;
        let counted = file.read(handle.offset, handle.bytes).and_then(|frame| {
            decode_single(&frame, BlockKind::Filter, &file.codec, handle)
                .and_then(|content| filter::keys_count(&content))
                .map_err(|why| Error::corrupt(self.table.file_name(), handle.offset, why))
        });
        match counted {
            Err(error) => self.found_error(error),
            Ok(counted) if counted != keys => {
                let message = format!("the filter counts {counted} keys, and {keys} are there");
                self.found(handle.offset, &message);
            }
            Ok(_) => {}
        }
    }

    fn found(&mut self, offset: u64, message: &str) {
        self.found.push(Finding::at(offset, message));
    }

    fn found_in_block(&mut self, index: usize, message: String) {
        let offset = self.table.index.handle(index).offset;
        self.found.push(Finding { offset, message, keys: Some(self.table.block_keys(index)) });
    }

    fn found_error(&mut self, error: Error) {
        self.found.push(Finding::of(&error));
    }
}

/// Totals over the entries that were seen.
struct Seen {
    counts: KindCounts,
    first_key: Option<Vec<u8>>,
    /// The last entry of the block before, unless that could not be read.
    last: Option<(Vec<u8>, Seqno)>,
    /// User keys that differ.
    keys: u64,
    /// That of the last entry counted.
    last_key: Option<Vec<u8>>,
    first_seqno: Seqno,
    last_seqno: Seqno,
    key_bytes: u64,
    value_bytes: u64,
}

impl Seen {
    fn new() -> Seen {
        Seen {
            counts: KindCounts::default(),
            first_key: None,
            last: None,
            keys: 0,
            last_key: None,
            first_seqno: Seqno::MAX,
            last_seqno: Seqno::ZERO,
            key_bytes: 0,
            value_bytes: 0,
        }
    }

    fn count(&mut self, key: Vec<u8>, seqno: Seqno, block: &DataBlock, entry: usize) {
        self.counts.add(block.kind(entry));
        self.first_seqno = self.first_seqno.min(seqno);
        self.last_seqno = self.last_seqno.max(seqno);
        self.key_bytes += key.len() as u64;
        self.value_bytes += block.value_len(entry) as u64;
        if self.first_key.is_none() {
            self.first_key = Some(key.clone());
        }
        if self.last_key.as_ref() != Some(&key) {
            self.keys += 1;
            self.last_key = Some(key);
        }
    }
}

fn entry_key(block: &DataBlock, entry: usize) -> (Vec<u8>, Seqno) {
    (block.key(entry), block.seqno(entry))
}

fn as_internal((key, seqno): &(Vec<u8>, Seqno)) -> InternalKey<'_> {
    InternalKey { key, seqno: *seqno }
}
