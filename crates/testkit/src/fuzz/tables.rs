//! Targets for tables and the manifest.

use super::{framing::FILE, place_of, repair, with_checksums};
use isopach::{
    engine::{
        blob::{self, BlobFile, BlobMeta, BlobPointer, BlobUse},
        codec::{Checksum, Compression, FileDictionary, FileHeader, Keyring, Salt, WritingDictionary},
        dictionary,
        iter::Cursor,
        key::InternalKey,
        order::KeyOrder,
        place::PlaceId,
        prefix::PrefixExtractors,
        table::{
            DataCache, FOOTER_BYTES, Table, TableCursor, TableMeta, VerifyDepth, file_name, fuzz,
            inspect::LoneTable, portable::PortableTable,
        },
        types::{BlobId, Seqno, TableId, Uuid},
        version::{Catalog, decode_edit, encode_edit, manifest_name, replay},
    },
    env::Fs,
};
use std::{ops::Bound, sync::Arc};

/// What an edit says of a table.
pub(super) fn table_meta(data: &[u8]) {
    if let Ok(meta) = TableMeta::decode(data) {
        let _ = meta.key_bounds(&KeyOrder::BYTES);
        assert_eq!(TableMeta::decode(&meta.encode()), Ok(meta));
    }
}

/// A footer.
pub(super) fn table_footer(data: &[u8]) {
    let bind = |data: &mut [u8]| {
        let file_bytes = data.len() as u64 * 8;
        if let Some(footer) = data.first_chunk_mut::<FOOTER_BYTES>() {
            footer[8..16].copy_from_slice(&file_bytes.to_le_bytes());
            let checksum =
                Checksum::of(&footer[..FOOTER_BYTES - 8], Salt::of(FILE), file_bytes - FOOTER_BYTES as u64);
            footer[FOOTER_BYTES - 8..].copy_from_slice(&checksum.0.to_le_bytes());
        }
    };
    with_checksums(data, bind, fuzz::footer);
}

/// A whole table: by itself, its parts, its entries and its filter; then opened, every entry read both ways, looked
/// for, and checked. What the manifest says of it is read out of the table itself.
pub(super) fn table_file(data: &[u8]) {
    with_checksums(data, repair::file, |data| {
        let id = TableId(1);
        let database = data.get(24..40).and_then(|uuid| uuid.try_into().ok()).unwrap_or_default();
        let fs: Arc<dyn Fs> = Arc::new(place_of([(&*file_name(id), data)]));
        alone(&fs, &file_name(id), data);
        let Ok(meta) = Table::read_meta(&fs, id, Uuid(database)) else { return };
        let cache = Arc::new(DataCache::new(1 << 20));
        let Ok(table) = Table::open(&fs, Arc::new(meta), Uuid(database), &cache) else { return };
        let _ = (table.properties(), table.verify(VerifyDepth::Full, &PrefixExtractors::new()));
        // An entry takes a byte at least once it is unpacked.
        let most = 256 * data.len();
        walk(&table, most, Cursor::seek_first, Cursor::next);
        walk(&table, most, Cursor::seek_last, Cursor::prev);
        for key in [&[][..], b"a", b"k", &[0xFF; 8]].into_iter().chain(data.chunks(61).take(16)) {
            for seqno in [Seqno::ZERO, Seqno::MAX] {
                let _ = table.get(key, seqno);
                let mut cursor = table.cursor();
                let _ = cursor.seek(InternalKey { key, seqno });
                let _ = cursor.entry();
                let _ = cursor.seek_back(InternalKey { key, seqno });
                let _ = cursor.entry();
            }
        }
    });
}

/// A dictionary's file, and what is compressed against what it holds.
pub(super) fn dictionary_file(data: &[u8]) {
    with_checksums(data, repair::file, |data| {
        let Ok((read, header)) = dictionary::decode_file(data, "it", &Keyring::none()) else { return };
        let (bytes, _) = dictionary::encode_file(&read, Uuid::default(), header.database).expect("in clear");
        let again = dictionary::decode_file(&bytes, "it", &Keyring::none());
        let (again, found) = again.expect("what was encoded can be decoded");
        let facts = (read.id(), read.saved_permille(), header.database);
        assert_eq!((again.id(), again.saved_permille(), found.database), facts);
        let compression = Compression::Zstd { level: 1 };
        let Some(writing) = WritingDictionary::new(&read, compression) else { return };
        let (codec, packed) = compression.compress_in(data, &FileDictionary::Writing(Arc::new(writing)));
        let raw =
            codec.decompress_in(packed.into_owned(), data.len(), &FileDictionary::Reading(Arc::new(read)));
        assert_eq!(raw.as_deref(), Ok(data));
    });
}

/// A file of separated values: walked over, and every record that is sound is read by a pointer to it.
pub(super) fn blob_file(data: &[u8]) {
    with_checksums(data, repair::file, |data| {
        let id = BlobId(1);
        let fs: Arc<dyn Fs> = Arc::new(place_of([(&*blob::file_name(id), data)]));
        let Some(header) = data.first_chunk().and_then(|header| FileHeader::decode(header).ok()) else {
            return;
        };
        let meta = BlobMeta {
            id,
            uuid: header.file,
            bytes: data.len() as u64,
            records: 1,
            place: PlaceId::MAIN,
            seal: None,
            parity: isopach::Parity::None,
        };
        let Ok(file) = BlobFile::open(&fs, &meta, header.database) else { return };
        let mut found: Vec<(Vec<u8>, BlobPointer)> = Vec::new();
        let _ = file.walk(&mut |at| {
            let (checksum, value_bytes) = (at.record.checksum(), at.record.value_bytes());
            let record_bytes = u32::try_from(at.record_bytes).expect("it is in the file");
            let pointer = BlobPointer { file: id, offset: at.offset, record_bytes, value_bytes, checksum };
            found.push((at.record.key().to_vec(), pointer));
            Ok(())
        });
        for (key, pointer) in &found {
            let value = file.read(key, pointer).expect("it was just walked over");
            assert_eq!(value.len(), pointer.value_bytes as usize);
            assert!(file.read(key, &BlobPointer { offset: pointer.offset + 1, ..*pointer }).is_err());
            assert!(file.read(&[&key[..], b"x"].concat(), pointer).is_err());
        }
        let anywhere = BlobPointer { offset: 64, ..pointer_anywhere(data) };
        let _ = (file.read(b"", &anywhere), file.read(b"key", &pointer_anywhere(data)));
    });
}

/// What the last bytes make of a pointer.
fn pointer_anywhere(data: &[u8]) -> BlobPointer {
    let last = data.last_chunk::<{ BlobPointer::ENCODED_BYTES }>();
    let decoded = last.and_then(|last| BlobPointer::decode(last).ok());
    let checksum = Checksum(0);
    decoded.unwrap_or(BlobPointer { file: BlobId(1), offset: 64, record_bytes: 32, value_bytes: 0, checksum })
}

/// A pointer, what the manifest says of a file, and what tables say of what they point to.
pub(super) fn blob_pointer(data: &[u8]) {
    if let Ok(pointer) = BlobPointer::decode(data) {
        assert_eq!(pointer.encode(), data);
    }
    if let Ok(meta) = BlobMeta::decode(data) {
        assert_eq!(BlobMeta::decode(&meta.encode()), Ok(meta));
        assert!(meta.record_bytes() < meta.bytes);
    }
    if let Ok(uses) = BlobUse::decode_all(data) {
        assert_eq!(BlobUse::encode_all(&uses), data);
    }
}

/// Everything that can be asked of a table file without its database.
fn alone(fs: &Arc<dyn Fs>, name: &str, data: &[u8]) {
    let Ok(table) = LoneTable::open(fs, name) else { return };
    let _ = (table.digest(), table.properties());
    if let Ok(Some(filter)) = table.filter() {
        let _ = (filter.kind(), filter.bits_per_key(), filter.may_contain(b"key"));
    }
    let layout = table.layout().expect("memory does not fail");
    let taken: u64 = layout.regions().iter().map(|region| region.bytes).sum();
    assert!(taken == table.bytes() || !layout.found().is_empty(), "bytes that belong to nothing are found");
    for region in layout.regions() {
        assert!(region.end() <= table.bytes(), "a region ends inside its file");
        let _ = layout.content(region);
    }
    let _ = (layout.check(), table.verify());
    to_load(fs, name);
    let Ok(blocks) = table.blocks() else { return };
    let _ = blocks.contains(&data[..data.len().min(7)]);
    let half = Bound::Included(data[..data.len().min(3)].to_vec());
    for keys in
        [(Bound::Unbounded, Bound::Unbounded), (half.clone(), Bound::Unbounded), (Bound::Unbounded, half)]
    {
        let Ok(blocks) = table.blocks() else { return };
        let most = 256 * data.len() + blocks.len();
        // In an order that is not known only all can be asked for.
        let Ok(entries) = blocks.entries(keys) else { continue };
        assert!(entries.count() <= most, "entries go on behind {most}");
    }
}

/// As a bulk load would: of what was checked in full, keys come in strict order.
fn to_load(fs: &Arc<dyn Fs>, name: &str) {
    let order = KeyOrder::bytes();
    let Ok(table) = PortableTable::open(fs, name, order.name(), order) else { return };
    if table.verify().is_err() {
        return;
    }
    let mut last: Option<Vec<u8>> = None;
    let mut entries_count = 0;
    for entry in table.entries().expect("it was checked") {
        let Ok((key, _)) = entry else { return };
        assert!(last.is_none_or(|last| last < key), "a key does not come behind the one before");
        (last, entries_count) = (Some(key), entries_count + 1);
    }
    assert_eq!(entries_count, table.entries_count());
}

/// From one end to the other, or to the first error.
fn walk<E>(
    table: &Arc<Table>,
    most: usize,
    start: fn(&mut TableCursor) -> Result<(), E>,
    step: fn(&mut TableCursor) -> Result<(), E>,
) {
    let mut cursor = table.cursor();
    let mut moved = start(&mut cursor);
    for _ in 0..most {
        if moved.is_err() || cursor.entry().is_none() {
            return;
        }
        let _ = cursor.value();
        moved = step(&mut cursor);
    }
    panic!("a cursor went on behind {most} entries");
}

/// The payload of an edit, and what it makes of an empty catalog.
pub(super) fn edit(data: &[u8]) {
    let Ok(changes) = decode_edit(data) else { return };
    assert_eq!(decode_edit(&encode_edit(&changes)).as_ref(), Ok(&changes));
    let mut catalog = Catalog::default();
    if catalog.apply(&changes).is_ok() && catalog.check().is_ok() {
        let mut again = Catalog::default();
        again.apply(&catalog.snapshot()).expect("a snapshot contradicts nothing");
        assert_eq!(again.snapshot(), catalog.snapshot(), "a snapshot makes what it was taken of");
    }
}

/// A whole manifest.
pub(super) fn manifest(data: &[u8]) {
    with_checksums(data, repair::file, |data| {
        let database = data.get(24..40).and_then(|uuid| uuid.try_into().ok()).unwrap_or_default();
        let fs = place_of([(&*manifest_name(1), data)]);
        let _ = replay(&fs, 1, Uuid(database));
    });
}
