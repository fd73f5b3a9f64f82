//! Checking a table against itself and against the manifest. Finds, never mends.

use super::{DataBlock, KeyHash, KindCounts, Properties, Table};
use crate::{
    error::{Error, KeyBounds},
    key::InternalKey,
    types::Seqno,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// How far a check goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerifyDepth {
    /// Footer, properties and sizes, against the manifest.
    Outline,
    /// Every byte and every entry too, past the cache.
    Entries,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where in the table's file, in bytes.
    pub offset: u64,
    /// What.
    pub message: String,
    /// User keys whose answers may be wrong or missing, if not all of the table.
    pub keys: Option<KeyBounds>,
}

impl Finding {
    /// The finding as an error of reading the table.
    pub fn error(&self, file_name: &str) -> Error {
        let error = Error::corrupt(file_name, self.offset, &self.message);
        match &self.keys {
            Some(keys) => error.over_keys(keys.clone()),
            None => error,
        }
    }
}

impl Table {
    /// Checks the table and collects all that is wrong; nothing, if all is well. Errors of the backend are
    /// findings too. Reads past the cache; at [`VerifyDepth::Entries`] it reads the file twice.
    pub fn verify(&self, depth: VerifyDepth) -> Vec<Finding> {
        let mut check = Check { table: self, found: Vec::new() };
        check.footer();
        let properties = check.properties();
        if depth == VerifyDepth::Entries {
            check.digest();
            check.entries(properties.as_ref());
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

    fn digest(&mut self) {
        match self.table.file.digest() {
            Err(error) => self.found_error(error),
            Ok(digest) if digest != self.table.meta.digest => {
                self.found(0, "the file has another digest than the manifest says");
            }
            Ok(_) => {}
        }
    }

    fn entries(&mut self, properties: Option<&Properties>) {
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
        if is_complete {
            self.totals(&seen, properties);
        }
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
            seen.count(&key, seqno, block, entry);
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

    fn found(&mut self, offset: u64, message: &str) {
        self.found.push(Finding { offset, message: message.into(), keys: None });
    }

    fn found_in_block(&mut self, index: usize, message: String) {
        let offset = self.table.index.handle(index).offset;
        self.found.push(Finding { offset, message, keys: Some(self.table.block_keys(index)) });
    }

    fn found_error(&mut self, error: Error) {
        let keys = error.keys().cloned();
        self.found.push(Finding { offset: error.offset().unwrap_or(0), message: error.to_string(), keys });
    }
}

/// Totals over the entries that were seen.
struct Seen {
    counts: KindCounts,
    first_key: Option<Vec<u8>>,
    /// The last entry of the block before, unless that could not be read.
    last: Option<(Vec<u8>, Seqno)>,
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
            first_seqno: Seqno::MAX,
            last_seqno: Seqno::ZERO,
            key_bytes: 0,
            value_bytes: 0,
        }
    }

    fn count(&mut self, key: &[u8], seqno: Seqno, block: &DataBlock, entry: usize) {
        self.counts.add(block.kind(entry));
        if self.first_key.is_none() {
            self.first_key = Some(Vec::from(key));
        }
        self.first_seqno = self.first_seqno.min(seqno);
        self.last_seqno = self.last_seqno.max(seqno);
        self.key_bytes += key.len() as u64;
        self.value_bytes += block.value_len(entry) as u64;
    }
}

fn entry_key(block: &DataBlock, entry: usize) -> (Vec<u8>, Seqno) {
    (block.key(entry), block.seqno(entry))
}

fn as_internal((key, seqno): &(Vec<u8>, Seqno)) -> InternalKey<'_> {
    InternalKey { key, seqno: *seqno }
}
