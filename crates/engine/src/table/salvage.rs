//! Salvage: what is left of a damaged table, entry by entry, and a new table of it.
//!
//! Data blocks are found by the index, by its mirror, or, where both are lost, by what each block says of itself. Every
//! entry whose key and value pass their checks is kept, in order; what is not is named, with the keys between which it
//! lay. Range tombstones lie in a table twice, and are taken from where they are sound. The damaged file is only read.
//!
//! Only a file whose header is lost, or whose keys are in an order that nobody knows, cannot be salvaged.

mod find;

use super::{
    BlockHandle, DataBlock, Properties, TableIdentity, TableMeta, TableOptions, TableWriter,
    inspect::{LoneTable, TableEntry},
    open::OpenFile,
};
use crate::{
    blob::pointer_of,
    codec::{Compression, Dictionary, FileDictionary, Keyring, Seal},
    dictionary::{DictionaryHandle, read_file},
    env::{Fs, IoErrorKind, OpenMode, SyncSite, WriteOrigin},
    error::{Error, ErrorKind, KeyBounds, Result},
    key::{InternalKey, ValueKind},
    order::{Comparators, KeyOrder},
    place::PlaceId,
    range_tombstone::RangeTombstone,
    table::PropertySeed,
    types::{DictionaryId, Seqno, TableId, TreeId, UnixUs, Uuid},
};
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::ops::Bound;
use find::{Place, walk};

/// What is left of a table file whose header is sound.
pub struct Remains {
    file: OpenFile,
    order: Option<KeyOrder>,
    properties: Option<Properties>,
    data: Vec<Place>,
    /// `None`: there are some, or may be, and their block is lost.
    ranges: Option<Vec<RangeTombstone>>,
    dictionary: Option<Arc<Dictionary>>,
    /// Values need one that is not there.
    wants_dictionary: Option<DictionaryHandle>,
    is_indexed: bool,
}

/// Keys that were lost with a part of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LostKeys {
    /// Where the part begins in the damaged file.
    pub offset: u64,
    /// Its size; 0 of single values.
    pub bytes: u64,
    /// Between which keys the entries lay.
    pub keys: KeyBounds,
    /// What is wrong.
    pub why: String,
}

impl LostKeys {
    pub(crate) fn new(offset: u64, bytes: u64, keys: KeyBounds, why: String) -> LostKeys {
        LostKeys { offset, bytes, keys, why }
    }

    /// All keys of a keyspace: a table that stays in it does not tell which of them it deletes.
    pub(crate) fn of_lost_ranges() -> LostKeys {
        let why = "its range deletes cannot be read, so reading any key of the keyspace fails";
        LostKeys { offset: 0, bytes: 0, keys: (Bound::Unbounded, Bound::Unbounded), why: why.into() }
    }

    /// What the range deletes of a table may have deleted that is in the store no more, of which only this is known: they
    /// begin at its first key or behind it.
    pub(crate) fn of_gone_ranges(first_key: &[u8]) -> LostKeys {
        let why = "its range deletes are lost: what they deleted may come back";
        LostKeys {
            offset: 0,
            bytes: 0,
            keys: (Bound::Included(first_key.into()), Bound::Unbounded),
            why: why.into(),
        }
    }

    /// All of a table.
    pub(crate) fn of_table(properties: &Properties, why: &str) -> LostKeys {
        let bound = |key: &[u8]| Bound::Included(Vec::from(key));
        let keys = (bound(&properties.first_key), bound(&properties.last_key));
        LostKeys { offset: 0, bytes: 0, keys, why: why.into() }
    }
}

/// What a salvage kept and lost.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Losses {
    /// Entries that were kept.
    pub kept_entries: u64,
    /// Data blocks that were read, the damaged included.
    pub blocks: u64,
    /// Data blocks, and gaps between such, of which nothing was kept.
    pub lost_blocks: u64,
    /// Their bytes.
    pub lost_bytes: u64,
    /// Entries that the table had and that were not kept; `None`: its properties are lost, nobody knows.
    pub lost_entries: Option<u64>,
    /// Range tombstones among these: what they hid may come back. `None`: it may be some.
    pub lost_ranges: Option<u64>,
    /// The block that tells of all range tombstones is lost, though perhaps none of these: a reader of the damaged table
    /// does not know of any key whether it was deleted.
    pub has_lost_range_block: bool,
    /// Every lost part.
    pub lost: Vec<LostKeys>,
}

impl Losses {
    /// Whether nothing was lost.
    pub fn is_none(&self) -> bool {
        self.lost.is_empty() && self.lost_entries == Some(0) && self.lost_ranges == Some(0)
    }
}

impl Remains {
    /// Opens a damaged table of any name and finds its parts. Reads the index, or, if that is lost, once the whole file.
    ///
    /// # Errors
    ///
    /// `NotFound`; `UnsupportedFormat` of a file that is no table, or of another version; `Corruption` if its header is
    /// damaged or it is too short for a table; those of [`Keyring::check`]; the backend's.
    pub fn open(fs: &Arc<dyn Fs>, name: &str, keys: &Keyring) -> Result<Remains> {
        let alone = LoneTable::open_with(fs, name, keys);
        if let Err(error) = &alone
            && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnsupportedFormat)
        {
            return Err(error.clone());
        }
        let opened = fs.open(name, OpenMode::Read).map_err(|error| Error::io(error, "open", name))?;
        let file = OpenFile::of(opened, name.into(), keys)?;
        if let Ok(table) = alone
            && let (Ok(blocks), Ok(properties)) = (table.blocks(), table.properties())
        {
            let place = |at| Place::Block(blocks.handle(at), Some(blocks.bounds(at)));
            let data = (0..blocks.len()).map(place).collect();
            return Ok(Remains::of(file, Some(properties), data, None, true));
        }
        let found = walk(&file);
        let properties = found.properties.iter().find_map(|&handle| file.properties_at(handle).ok());
        Ok(Remains::of(file, properties, found.data, Some(found.ranges), false))
    }

    fn of(
        file: OpenFile,
        properties: Option<Properties>,
        data: Vec<Place>,
        ranges: Option<Vec<BlockHandle>>,
        is_indexed: bool,
    ) -> Remains {
        let named = properties.as_ref().map(|it| it.seed.comparator.as_str());
        // Without properties it is tried with the order of bytes: blocks in another one do not decode.
        let order = match named {
            None => Some(KeyOrder::BYTES),
            Some(name) => Comparators::new().find(name).ok().map(KeyOrder::of),
        };
        let handles = match (&properties, ranges) {
            (Some(Properties { ranges: Some(ranges), .. }), _) => Vec::from([ranges.block]),
            (Some(_), _) => Vec::new(),
            (None, found) => found.unwrap_or_default(),
        };
        let wants_dictionary = properties.as_ref().and_then(|it| it.dictionary);
        let mut remains = Remains {
            file,
            order,
            properties,
            data,
            ranges: None,
            dictionary: None,
            wants_dictionary,
            is_indexed,
        };
        remains.ranges = remains.read_ranges(&handles);
        remains
    }

    /// The range tombstones, if their block can be read, or there are surely none.
    fn read_ranges(&self, handles: &[BlockHandle]) -> Option<Vec<RangeTombstone>> {
        if handles.is_empty() && self.properties.is_some() {
            return Some(Vec::new());
        }
        let order = self.order.as_ref()?;
        let inside = |handle: &&BlockHandle| handle.check(self.file.bytes).is_ok();
        let read = |&handle: &BlockHandle| self.file.ranges_at(handle, order).ok();
        handles.iter().filter(inside).find_map(read).map(|ranges| ranges.all().to_vec())
    }

    /// Tells the order of its keys where that is none that is built in.
    #[must_use]
    pub fn with_order(mut self, order: &KeyOrder) -> Remains {
        self.order = Some(order.clone());
        let handles = self.properties.as_ref().and_then(|it| it.ranges).map(|ranges| ranges.block);
        self.ranges = self.read_ranges(handles.as_slice());
        self
    }

    /// Looks for the dictionary, if the table names one, in the file whose name `name_of` tells. Without it values that
    /// are compressed against it are lost.
    #[must_use]
    pub fn with_dictionary(
        mut self,
        fs: &dyn Fs,
        name_of: impl FnOnce(DictionaryId) -> String,
        keys: &Keyring,
    ) -> Remains {
        if let Some(handle) = self.wants_dictionary
            && let Ok((found, header)) = read_file(fs, &name_of(handle.id), handle, keys)
            && header.database == self.file.database
        {
            self.dictionary = Some(Arc::new(found));
        }
        self
    }

    /// What the table says of its content, unless both copies are lost.
    pub fn properties(&self) -> Option<&Properties> {
        self.properties.as_ref()
    }

    /// The uuid in its header.
    pub fn uuid(&self) -> Uuid {
        self.file.uuid
    }

    /// The uuid of the database that it was written for.
    pub fn database(&self) -> Uuid {
        self.file.database
    }

    /// How it is sealed, if it is.
    pub fn seal(&self) -> Option<Seal> {
        self.file.seal
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.file.bytes
    }

    /// Whether blocks were found by the index, or its mirror.
    pub fn is_indexed(&self) -> bool {
        self.is_indexed
    }

    /// The order of its keys.
    ///
    /// # Errors
    ///
    /// `MissingComparator`: it is none that is built in.
    pub fn order(&self) -> Result<&KeyOrder> {
        self.order.as_ref().ok_or_else(|| {
            let named = self.properties.as_ref().map_or("", |it| it.seed.comparator.as_str());
            let message = alloc::format!("its keys are in the order {named:?}, which is not known here");
            Error::new(ErrorKind::MissingComparator, message).in_file(self.file.name.as_str())
        })
    }

    /// Everything that is left, in order; a block at a time is in memory.
    ///
    /// # Errors
    ///
    /// Those of [`Remains::order`].
    pub fn entries(self: &Arc<Self>) -> Result<RemainingEntries> {
        let mut codec = self.file.codec.clone();
        if let Some(dictionary) = &self.dictionary {
            codec.dictionary = FileDictionary::Reading(Arc::clone(dictionary));
        }
        Ok(RemainingEntries {
            remains: Arc::clone(self),
            file: OpenFile { codec, ..self.file.clone() },
            order: self.order()?.clone(),
            next_place: 0,
            open: None,
            ready: None,
            next_range: 0,
            last: None,
            unplaced: None,
            has_checksums: false,
            ranges_seen: 0,
            losses: Losses::default(),
        })
    }

    /// Writes everything that is left as a new table, without a dictionary and filters of prefixes. `None`: nothing is
    /// left, and no file was made. The file is durable on return, its entry in the directory is the caller's to sync; after
    /// an error it is the caller's to remove.
    ///
    /// The new table says that it was made of this one and what this one was made of.
    ///
    /// # Errors
    ///
    /// Those of [`Remains::order`]; `AlreadyExists`; the backend's.
    pub fn write_to(
        self: &Arc<Self>,
        fs: &Arc<dyn Fs>,
        name: &str,
        identity: TableIdentity,
        keys: &Keyring,
    ) -> Result<(Option<TableMeta>, Losses)> {
        let mut entries = self.entries()?;
        let Some(first) = entries.next() else { return Ok((None, entries.finish())) };
        let options = self.options(entries.has_checksums);
        let origin = WriteOrigin::CompactionTable;
        let writer = TableWriter::create_as(fs, name.into(), identity, options, self.seed(), origin)?;
        let mut writer = writer.sealed_by(keys)?.with_order(self.order()?);
        let mut next = Some(first);
        while let Some(entry) = next {
            writer.add(&entry.key, entry.seqno, entry.kind, &entry.value)?;
            next = entries.next();
        }
        self.order()?.check()?; // INV-ORD-1.
        Ok((Some(writer.finish()?), entries.finish()))
    }

    /// As the damaged one was written, as far as it is known.
    fn options(&self, entry_checksums: bool) -> TableOptions {
        let default = TableOptions { entry_checksums, ..TableOptions::default() };
        let Some(properties) = &self.properties else { return default };
        let compression = properties.compression;
        let compression = if compression.is_available() { compression } else { Compression::None };
        TableOptions { compression, filter: properties.filter, ..default }
    }

    fn seed(&self) -> PropertySeed {
        let of_nothing = || PropertySeed::new(TreeId(0), "", UnixUs(0));
        let mut seed = self.properties.as_ref().map_or_else(of_nothing, |it| it.seed.clone());
        seed.lineage.push(self.file.uuid);
        seed.extractor.clear();
        seed
    }
}

/// Who a salvaged table is that belongs to the same database and lies outside of it.
pub fn identity_beside(remains: &Remains, uuid: Uuid) -> TableIdentity {
    TableIdentity { id: TableId(0), uuid, database: remains.database(), place: PlaceId::MAIN }
}

/// Removes what is left of a table that could not be written; else makes its entry in the root durable.
///
/// # Errors
///
/// What `written` says; the backend's.
pub fn settle_beside<T>(fs: &dyn Fs, name: &str, written: Result<T>) -> Result<T> {
    match written {
        Err(error) => {
            if error.io_error().is_none_or(|io| io.kind() != IoErrorKind::AlreadyExists) {
                // Without a footer nobody takes it for a table.
                let _ = fs.remove_file(name);
            }
            Err(error)
        }
        Ok(written) => {
            fs.sync_dir("", SyncSite("salvage.directory")).map_err(|error| Error::io(error, "sync", "."))?;
            Ok(written)
        }
    }
}

/// The entries that are left of a table, in order.
pub struct RemainingEntries {
    remains: Arc<Remains>,
    file: OpenFile,
    order: KeyOrder,
    next_place: usize,
    open: Option<(DataBlock, BlockHandle, usize)>,
    /// The next one out of the data blocks.
    ready: Option<TableEntry>,
    /// The next of the range tombstones that their block knows.
    next_range: usize,
    /// Key and number of the last one that was given.
    last: Option<(Vec<u8>, Seqno)>,
    /// A lost part whose keys are told by its neighbours; the next one is not known yet.
    unplaced: Option<LostKeys>,
    has_checksums: bool,
    ranges_seen: u64,
    losses: Losses,
}

impl RemainingEntries {
    /// What was lost, once all entries were given.
    pub fn finish(mut self) -> Losses {
        self.losses.lost.extend(self.unplaced.take());
        let counts = self.remains.properties.as_ref().map(|it| it.counts);
        let known = self.remains.ranges.is_some();
        let seen = self.ranges_seen;
        self.losses.has_lost_range_block = !known;
        self.losses.lost_entries = counts.map(|it| it.total().saturating_sub(self.losses.kept_entries));
        self.losses.lost_ranges = match counts {
            _ if known => Some(0),
            Some(counts) => Some(counts.of(ValueKind::DeleteRange).saturating_sub(seen)),
            None if self.losses.lost.is_empty() => Some(0),
            None => None,
        };
        self.losses
    }

    fn place(&self, entry: &TableEntry) -> (Vec<u8>, Seqno) {
        (entry.key.clone(), entry.seqno)
    }

    /// The next entry out of the data blocks that is sound and in order.
    fn next_of_blocks(&mut self) -> Option<TableEntry> {
        loop {
            let Some((block, handle, entry)) = &mut self.open else {
                let place = self.remains.data.get(self.next_place)?.clone();
                self.next_place += 1;
                self.open_place(place);
                continue;
            };
            if *entry == block.len() {
                self.open = None;
                continue;
            }
            let (at, offset) = (*entry, handle.offset);
            *entry += 1;
            let (key, seqno, kind) = (block.key(at), block.seqno(at), block.kind(at));
            let value = block.value(at).map(Vec::from);
            let block = self.next_place - 1;
            let sound = value.and_then(|value| {
                let entry = TableEntry { block, key: key.clone(), seqno, kind, value };
                check_value(&self.order, &entry).map(|()| entry)
            });
            match sound {
                Ok(entry) if self.is_in_order(&entry) => {
                    if let Some(mut lost) = self.unplaced.take() {
                        lost.keys.1 = Bound::Included(entry.key.clone());
                        self.losses.lost.push(lost);
                    }
                    return Some(entry);
                }
                Ok(_) => self.lose_entry(offset, key, "the entry is out of order"),
                Err(why) => self.lose_entry(offset, key, why.0),
            }
        }
    }

    fn open_place(&mut self, place: Place) {
        let (handle, keys) = match place {
            Place::Gap(handle) => return self.lose_part(handle, None, "no block begins here"),
            Place::Block(handle, keys) => (handle, keys),
        };
        self.losses.blocks += 1;
        let read = self.file.read(handle.offset, handle.bytes).map_err(|error| error.to_string());
        let decoded = read.and_then(|frame| {
            let decoded = DataBlock::decode(&frame, &self.file.codec, handle.offset, Some(&self.order));
            decoded.map_err(|why| why.0.to_string())
        });
        match decoded {
            Ok(block) => {
                self.has_checksums |= block.checksum(0).is_some();
                self.open = Some((block, handle, 0));
            }
            Err(why) => self.lose_part(handle, keys, &why),
        }
    }

    /// Parts that are lost one behind the other are told as one where nothing else tells them apart.
    fn lose_part(&mut self, handle: BlockHandle, keys: Option<KeyBounds>, why: &str) {
        self.losses.lost_blocks += 1;
        self.losses.lost_bytes += handle.bytes;
        if let Some(keys) = keys {
            let lost = LostKeys { offset: handle.offset, bytes: handle.bytes, keys, why: why.into() };
            return self.losses.lost.push(lost);
        }
        let from = self.last_of_blocks();
        let unplaced = self.unplaced.get_or_insert_with(|| LostKeys {
            offset: handle.offset,
            bytes: 0,
            keys: (from, Bound::Unbounded),
            why: why.into(),
        });
        unplaced.bytes = handle.end() - unplaced.offset;
    }

    /// A bound at the last key that was read.
    fn last_of_blocks(&self) -> Bound<Vec<u8>> {
        let last = self.ready.as_ref().map(|entry| &entry.key).or(self.last.as_ref().map(|(key, _)| key));
        last.map_or(Bound::Unbounded, |key| Bound::Included(key.clone()))
    }

    /// Entries that are lost one behind the other are told as one.
    fn lose_entry(&mut self, offset: u64, key: Vec<u8>, why: &str) {
        match self.losses.lost.last_mut() {
            Some(LostKeys { offset: at, bytes: 0, keys: (_, to), why: same })
                if *at == offset && same == why =>
            {
                *to = Bound::Included(key);
            }
            _ => self.losses.lost.push(LostKeys {
                offset,
                bytes: 0,
                keys: (Bound::Included(key.clone()), Bound::Included(key)),
                why: why.into(),
            }),
        }
    }

    /// Who wrote the file may have put blocks in any order.
    fn is_in_order(&self, entry: &TableEntry) -> bool {
        let place = InternalKey { key: &entry.key, seqno: entry.seqno };
        let is_behind =
            |(key, seqno): &(Vec<u8>, Seqno)| self.order.is_before(InternalKey { key, seqno: *seqno }, place);
        self.last.as_ref().is_none_or(is_behind)
    }

    fn give(&mut self, entry: TableEntry) -> TableEntry {
        self.last = Some(self.place(&entry));
        self.losses.kept_entries += 1;
        self.ranges_seen += u64::from(entry.kind == ValueKind::DeleteRange);
        entry
    }
}

impl Iterator for RemainingEntries {
    type Item = TableEntry;

    fn next(&mut self) -> Option<TableEntry> {
        if self.ready.is_none() {
            self.ready = self.next_of_blocks();
        }
        let remains = Arc::clone(&self.remains);
        let ranges = remains.ranges.as_deref().unwrap_or_default();
        while let Some(range) = ranges.get(self.next_range) {
            let place = InternalKey { key: &range.start, seqno: range.seqno };
            let of_ready = self.ready.as_ref().map(|it| InternalKey { key: &it.key, seqno: it.seqno });
            if of_ready.is_some_and(|ready| self.order.is_before(ready, place)) {
                break;
            }
            self.next_range += 1;
            let is_there = of_ready.is_some_and(|ready| !self.order.is_before(place, ready));
            let restored = TableEntry {
                block: 0,
                key: range.start.to_vec(),
                seqno: range.seqno,
                kind: ValueKind::DeleteRange,
                value: range.value().to_vec(),
            };
            if !is_there && self.is_in_order(&restored) {
                return Some(self.give(restored));
            }
        }
        let ready = self.ready.take()?;
        Some(self.give(ready))
    }
}

/// What a writer, or a reader of the new table, would refuse.
fn check_value(order: &KeyOrder, entry: &TableEntry) -> Result<(), crate::codec::Corruption> {
    pointer_of(entry.kind, &entry.value)?;
    crate::expiry::of_version(entry.kind, &entry.value)?;
    if entry.kind == ValueKind::DeleteRange
        && !(entry.value.is_empty() || order.is_less(&entry.key, &entry.value))
    {
        return Err(crate::codec::Corruption("a range tombstone ends before it begins"));
    }
    Ok(())
}
