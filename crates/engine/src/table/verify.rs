//! Checking a table against itself and against the manifest. Finds, never mends.

use super::{
    BlockHandle, DataBlock, Finding, KeyHash, KindCounts, Properties, Table, filter,
    index::Index,
    layout::{Places, reconcile},
    locate::read_filter_part,
    open::decode_single,
    statistics::{BlockStatistics, Statistics},
};
use crate::{
    blob::BlobUses,
    codec::{BlockKind, Parity},
    error::{Error, Result},
    iter::Entry,
    key::{InternalKey, ValueKind},
    prefix::{OrderedPrefixes, PrefixExtractors},
    range_tombstone::RangeTombstone,
    types::Seqno,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// How far a check goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum VerifyDepth {
    /// Footer, properties and sizes, against the manifest.
    Outline,
    /// Every byte and every entry too, past the cache.
    #[default]
    Entries,
    /// Moreover every byte belongs to one region of the file, and filters count the keys and prefixes that are there.
    Full,
}

impl Table {
    /// Checks the table and collects all that is wrong; nothing, if all is well. Errors of the backend are
    /// findings too. Reads past the cache; from [`VerifyDepth::Entries`] on it reads the file twice.
    ///
    /// What a prefix filter says of prefixes is checked if its extractor is among `extractors`.
    pub fn verify(&self, depth: VerifyDepth, extractors: &PrefixExtractors) -> Vec<Finding> {
        let mut check = Check::of(self);
        check.run(depth, extractors);
        check.found
    }

    /// As [`Table::verify`] in full, of a table that was opened by what it says of itself: nobody knows the digest of
    /// its file, which is read once, nor where separated values are.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub(super) fn verify_alone(&self) -> Result<Vec<Finding>> {
        let mut check = Check { is_alone: true, ..Check::of(self) };
        check.run(VerifyDepth::Full, &PrefixExtractors::new());
        check.failure.map_or(Ok(check.found), Err)
    }
}

struct Check<'a> {
    table: &'a Table,
    /// There is no manifest that says the digest of the file and where separated values are.
    is_alone: bool,
    found: Vec<Finding>,
    /// The first error of the backend, which is among what was found.
    failure: Option<Error>,
}

impl Check<'_> {
    fn of(table: &Table) -> Check<'_> {
        Check { table, is_alone: false, found: Vec::new(), failure: None }
    }

    fn run(&mut self, depth: VerifyDepth, extractors: &PrefixExtractors) {
        self.footer();
        let properties = self.properties();
        self.indexes();
        let statistics = self.statistics();
        if depth == VerifyDepth::Full {
            self.regions();
        }
        if depth >= VerifyDepth::Entries {
            let is_as_written = self.parity();
            let seen = self.entries(statistics.as_ref(), extractors);
            if is_as_written {
                self.digest();
            }
            if let Some(seen) = seen {
                self.totals(&seen, properties.as_ref());
                if depth == VerifyDepth::Full {
                    self.filtered_keys(seen.keys);
                    self.filtered_prefixes(&seen);
                }
            }
        }
    }

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
            Ok(bytes) if bytes != self.table.meta.file_bytes() && !self.has_unknown_parity() => {
                self.found(bytes, "the file has another size than the manifest says");
            }
            Ok(_) => {}
        }
    }

    fn has_unknown_parity(&self) -> bool {
        matches!(self.table.meta.parity, Parity::Unknown { .. })
    }

    /// Holds the file against its parity. Whether nothing of what that covers is known to be damaged.
    fn parity(&mut self) -> bool {
        let meta = &self.table.meta;
        if let Some(corrector) = &self.table.file.codec.corrector {
            let mut found = Vec::new();
            corrector.walk(&mut |finding| found.push(finding));
            let is_as_written = found.iter().all(|found| found.bytes.start >= meta.bytes);
            self.found.extend(found.into_iter().map(Finding::of_parity));
            return is_as_written;
        }
        if meta.parity != Parity::None {
            let message =
                format!("parity {} is not known to this program, which corrects nothing", meta.parity);
            self.found.push(Finding { is_harmless: true, ..Finding::at(meta.bytes, message) });
        }
        true
    }

    /// The properties, if they can be read.
    fn properties(&mut self) -> Option<Properties> {
        let meta = &self.table.meta;
        let [properties, mirror] = [meta.properties, meta.mirror().properties].map(|handle| {
            let read = self.table.file.properties_at(handle);
            read.map_err(|error| self.found_error(error)).ok()
        });
        if properties.is_some() && mirror.is_some() && properties != mirror {
            self.found(meta.mirror_at, "the properties and their mirror differ");
        }
        let properties = properties.or(mirror)?;
        let agrees = properties.counts.total() == meta.entries
            && properties.counts.tombstones() == meta.tombstones
            && properties.first_key == meta.first_key
            && properties.last_key == meta.last_key
            && (properties.first_seqno, properties.last_seqno) == meta.written_seqnos()
            && properties.seed.created_at == meta.created_at
            && properties.dictionary == meta.dictionary
            && properties.ranges == meta.ranges
            && properties.expiry == meta.expiry
            && properties.data_blocks == self.table.blocks() as u64
            && meta.prefix_filter.as_ref().is_none_or(|filter| filter.extractor == properties.seed.extractor);
        if !agrees {
            self.found(meta.properties.offset, "the properties contradict the manifest");
        }
        Some(properties)
    }

    /// The index block, and its mirror, if they can be read: the table is open by one of them.
    fn indexes(&mut self) {
        let meta = &self.table.meta;
        for handle in [meta.index, meta.mirror().index] {
            let file = &self.table.file;
            let read = file.read(handle.offset, handle.bytes).and_then(|frame| {
                decode_single(&frame, BlockKind::Index, &file.codec, handle)
                    .and_then(|content| Index::decode(content, meta.mirror_at, Some(&self.table.order)))
                    .map_err(|why| Error::corrupt(self.table.file_name(), handle.offset, why))
            });
            if let Err(error) = read {
                self.found_error(error);
            }
        }
    }

    /// The statistics, if they can be read.
    fn statistics(&mut self) -> Option<Statistics> {
        let read = self.table.file.statistics_at(self.table.meta.statistics, self.table.blocks());
        read.map_err(|error| self.found_error(error)).ok()
    }

    fn regions(&mut self) {
        let meta = &self.table.meta;
        let places = Places {
            data: (0..self.table.blocks()).filter_map(|at| self.table.block_handle(at).ok()).collect(),
            index_parts: self.table.index.part_handles(),
            filter_parts: self.filter_parts(),
            filter: meta.filter,
            index: meta.index,
            properties: meta.properties,
            mirror: meta.mirror(),
            ranges: meta.ranges.map(|ranges| ranges.block),
            statistics: meta.statistics,
            prefix_filter: meta.prefix_filter.as_ref().map(|filter| filter.block),
        };
        self.found.extend(reconcile(&places.regions(meta.bytes), meta.bytes));
    }

    fn filter_parts(&self) -> Vec<BlockHandle> {
        self.table.filter.as_ref().map_or_else(Vec::new, |parts| parts.directory().handles())
    }

    fn digest(&mut self) {
        if self.is_alone {
            return;
        }
        match self.table.file.digest() {
            Err(error) => self.found_error(error),
            Ok(digest) if digest != self.table.meta.digest => {
                let corrector = self.table.file.codec.corrector.as_ref();
                let finding = match corrector.is_some_and(|corrector| corrector.corrections() > 0) {
                    true => {
                        let message = "bytes are damaged, and a copy of the file restores them";
                        Finding { is_harmless: true, ..Finding::at(0, message) }
                    }
                    false => Finding::at(0, "the file has another digest than the manifest says"),
                };
                self.found.push(finding);
            }
            Ok(_) => {}
        }
    }

    /// What all entries add up to, if all could be read.
    fn entries(&mut self, statistics: Option<&Statistics>, extractors: &PrefixExtractors) -> Option<Seen> {
        let mut seen = Seen::new(self.ordered_prefixes(extractors));
        let mut is_complete = true;
        for index in 0..self.table.blocks() {
            let handle = match self.table.block_handle(index) {
                Ok(handle) => handle,
                Err(error) => {
                    // Of a partition of the index, which other blocks have told of, too.
                    (is_complete, seen.last) = (false, None);
                    self.found_once(error);
                    continue;
                }
            };
            let read = self.table.read_block(handle).and_then(|block| {
                block.open_values().map_err(|why| self.table.damaged_block(index, why)).map(|()| block)
            });
            let error = match read.map(|block| self.block(&block, index, statistics, &mut seen)) {
                Ok(Ok(messages)) => {
                    for message in messages {
                        self.found_in_block(handle.offset, index, message);
                    }
                    continue;
                }
                Ok(Err(error)) => error,
                Err(error) => error.over_keys(self.table.block_keys(index)),
            };
            (is_complete, seen.last) = (false, None);
            self.found_once(error);
        }
        is_complete.then_some(seen)
    }

    /// The prefixes that the prefix filter should have, if there is one that can be read, and its extractor is known.
    fn ordered_prefixes(&mut self, extractors: &PrefixExtractors) -> Option<OrderedPrefixes> {
        let filter = self.table.meta.prefix_filter.as_ref()?;
        if let Err(error) = self.table.prefix_filter(filter.block) {
            self.found_error(error);
            return None;
        }
        extractors.find(&filter.extractor).ok().map(OrderedPrefixes::new)
    }

    /// What is wrong with one block.
    ///
    /// # Errors
    ///
    /// That of a partition of index or filter.
    fn block(
        &self,
        block: &DataBlock,
        index: usize,
        statistics: Option<&Statistics>,
        seen: &mut Seen,
    ) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let first = entry_key(block, 0);
        let order = &self.table.order;
        let is_before = |a: &_, b: &_| order.is_before(as_internal(a), as_internal(b));
        if seen.last.as_ref().is_some_and(|last| !is_before(last, &first)) {
            wrong.push("the block does not begin behind the one before it".into());
        }
        if index > 0 && !is_before(&self.table.separator(index - 1)?, &first) {
            wrong.push("the block does not begin behind the separator before it".into());
        }
        let last = entry_key(block, block.len() - 1);
        if is_before(&self.table.separator(index)?, &last) {
            wrong.push("the block does not end before its separator".into());
        }
        if statistics.is_some_and(|statistics| statistics.block(index) != self.written_statistics(block)) {
            wrong.push("the statistics contradict the block".into());
        }
        let (mut unfiltered, mut unfiltered_prefixes) = (0_u64, 0);
        for entry in 0..block.len() {
            let (key, seqno) = entry_key(block, entry);
            unfiltered += u64::from(self.table.is_unfiltered(InternalKey { key: &key, seqno })?);
            unfiltered_prefixes += seen.unfiltered_prefixes(self.table, &key)?;
            let (checksum, kind) = (block.checksum(entry), block.kind(entry));
            if checksum.is_some() || kind == ValueKind::DeleteRange || kind.is_separated() {
                let value = block.value(entry).map_err(|why| self.table.damaged_block(index, why))?;
                let version = Entry { key: &key, seqno, kind };
                let checked = checksum.map_or(Ok(()), |checksum| checksum.check(version, value));
                wrong.extend(checked.err().map(|error| error.to_string()));
                wrong.extend(seen.blobs.count(kind, value).err().map(|why| why.to_string()));
                if kind == ValueKind::DeleteRange {
                    seen.ranges.push(RangeTombstone::of_version(&key, seqno, value));
                }
            }
            seen.count(key, seqno, block, entry);
        }
        if unfiltered > 0 {
            wrong.push(format!("the filter denies {unfiltered} of its entries"));
        }
        if unfiltered_prefixes > 0 {
            wrong.push(format!("the prefix filter denies {unfiltered_prefixes} of its prefixes"));
        }
        seen.last = Some(last);
        Ok(wrong)
    }

    /// The statistics of a block as they were written.
    fn written_statistics(&self, block: &DataBlock) -> BlockStatistics {
        let counted = BlockStatistics::of(block);
        match self.table.meta.number {
            Some(_) => BlockStatistics { first_seqno: Seqno::ZERO, last_seqno: Seqno::ZERO, ..counted },
            None => counted,
        }
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
        if !self.is_alone && seen.blobs.clone().finish() != meta.blobs {
            self.found(0, "the entries point to other separated values than the manifest says");
        }
        match self.table.range_tombstones() {
            Err(error) => self.found_error(error),
            Ok(ranges) if ranges.as_ref().map_or(&[][..], |ranges| ranges.all()) != &seen.ranges[..] => {
                let block = meta.ranges.map_or(meta.properties, |ranges| ranges.block);
                self.found(block.offset, "the range tombstones are not those among the entries");
            }
            Ok(_) => {}
        }
        let sizes = (seen.counts, seen.key_bytes, seen.value_bytes);
        if properties.is_some_and(|it| (it.counts, it.key_bytes, it.value_bytes) != sizes) {
            self.found(meta.properties.offset, "the properties contradict the entries");
        }
    }

    /// The filter was made of as many keys as there are.
    fn filtered_keys(&mut self, keys: u64) {
        let (Some(handle), Some(filter)) = (self.table.meta.filter, &self.table.filter) else { return };
        let file = &self.table.file;
        let counts = filter.directory().handles().into_iter().map(|part| {
            let content = read_filter_part(file, part)?;
            filter::keys_count(&content)
                .map_err(|why| Error::corrupt(self.table.file_name(), part.offset, why))
        });
        // A key whose versions go on in the next partition is in both.
        let splits = 1..filter.directory().len();
        let twice = splits.filter(|&part| filter.directory().separator(part - 1).1 != Seqno::ZERO).count();
        match counts.sum::<Result<u64>>() {
            Err(error) => self.found_error(error),
            Ok(counted) if counted != keys + twice as u64 => {
                let message = format!("the filter counts {counted} keys, and {keys} are there");
                self.found(handle.offset, &message);
            }
            Ok(_) => {}
        }
    }

    /// The prefix filter was made of as many prefixes as there are.
    fn filtered_prefixes(&mut self, seen: &Seen) {
        let Some(filter) = self.table.meta.prefix_filter.as_ref().filter(|_| seen.ordered_prefixes.is_some())
        else {
            return;
        };
        let counted = read_filter_part(&self.table.file, filter.block).and_then(|content| {
            filter::keys_count(&content)
                .map_err(|why| Error::corrupt(self.table.file_name(), filter.block.offset, why))
        });
        match counted {
            Err(error) => self.found_error(error),
            Ok(counted) if counted != seen.prefixes => {
                let message =
                    format!("the prefix filter counts {counted} prefixes, and {} are there", seen.prefixes);
                self.found(filter.block.offset, &message);
            }
            Ok(_) => {}
        }
    }

    fn found(&mut self, offset: u64, message: &str) {
        self.found.push(Finding::at(offset, message));
    }

    fn found_in_block(&mut self, offset: u64, index: usize, message: String) {
        let keys = Some(self.table.block_keys(index));
        self.found.push(Finding { keys, ..Finding::at(offset, message) });
    }

    /// As [`Check::found_error`], unless the last finding is the same.
    fn found_once(&mut self, error: Error) {
        if self.found.last() != Some(&Finding::of(&error)) {
            self.found_error(error);
        }
    }

    fn found_error(&mut self, error: Error) {
        self.found.push(Finding::of(&error));
        if error.io_error().is_some() {
            self.failure.get_or_insert(error);
        }
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
    /// Their prefixes, where an extractor says which there are, as many as were added to the filter.
    prefixes: u64,
    ordered_prefixes: Option<OrderedPrefixes>,
    /// That of the last entry counted.
    last_key: Option<Vec<u8>>,
    first_seqno: Seqno,
    last_seqno: Seqno,
    key_bytes: u64,
    value_bytes: u64,
    ranges: Vec<RangeTombstone>,
    blobs: BlobUses,
}

impl Seen {
    fn new(ordered_prefixes: Option<OrderedPrefixes>) -> Seen {
        Seen {
            counts: KindCounts::default(),
            first_key: None,
            last: None,
            keys: 0,
            prefixes: 0,
            ordered_prefixes,
            last_key: None,
            first_seqno: Seqno::MAX,
            last_seqno: Seqno::ZERO,
            key_bytes: 0,
            value_bytes: 0,
            ranges: Vec::new(),
            blobs: BlobUses::default(),
        }
    }

    /// How many prefixes of the key of the next entry, that come for the first time, the prefix filter denies. Before
    /// the entry is counted.
    fn unfiltered_prefixes(&mut self, table: &Table, key: &[u8]) -> Result<u64> {
        let (Some(prefixes), Some(filter)) = (&mut self.ordered_prefixes, &table.meta.prefix_filter) else {
            return Ok(0);
        };
        let before = self.last_key.as_deref();
        let mut denied = 0;
        if before != Some(key) {
            let filter = table.prefix_filter(filter.block)?;
            prefixes.of_next(before.unwrap_or_default(), key, |prefix| {
                self.prefixes += 1;
                denied += u64::from(!filter.may_contain(KeyHash::of(prefix)));
            });
        }
        Ok(denied)
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
