//! Inputs to begin with, made by the code itself: sound files and records, for mutations to damage.

use super::{
    framing::{AT, FILE},
    image,
};
use crate::{
    Rng,
    db::{SOON, all_bytes, read_file, similar_value, small, tiny_tables, volatile},
};
use isopach::{
    Builder, Compression, Db, Durability, FilterPolicy, FixedPrefix, KeyspaceOptions, WriteOptions,
    engine::{
        blob::{BlobMeta, BlobPointer, BlobUse},
        codec::{
            BLOCK_HEADER_BYTES, BlockKind, Checksum, Dictionary, FileCodec, FileHeader, FileKind,
            LogPosition, Parity, ParityWriter, Record, RecordReader, SECTION_ENTRY_BYTES, Section, Step,
            TlvWriter, encode_block, encode_record, train,
        },
        dictionary,
        key::ValueKind,
        order::KeyOrder,
        place::PlaceId,
        table::{
            FOOTER_BYTES, FilterKind, FilterOptions, KeyHash, PropertySeed, Table, TableIdentity,
            TableOptions, TableWriter, file_name, filter::FilterBuilder, number_of, portable::PortableWriter,
        },
        tree::TreeOptions,
        types::{BlobId, Seqno, TableId, TreeId, UnixUs, Uuid},
    },
    env::{Errno, Fault, Fs, MemFs, Rule, Rules, WriteOrigin},
};
use std::sync::{Arc, OnceLock};

/// Files with their names.
pub(super) type Files = Vec<(String, Vec<u8>)>;

/// Small databases: with a log only, and with tables of several levels; closed, and not.
fn databases() -> &'static [Files] {
    static DATABASES: OnceLock<Vec<Files>> = OnceLock::new();
    DATABASES.get_or_init(|| {
        let shapes = [(0, true), (3, true), (3, false), (40, true), (40, false), (160, true), (160, false)];
        shapes.map(|(amount, is_closed)| files_of(amount, is_closed, |builder| builder)).into()
    })
}

/// The files of a small database.
pub(super) fn files_of(amount: u32, is_closed: bool, with: impl FnOnce(Builder) -> Builder) -> Files {
    let fs = MemFs::new();
    let db = with(small(fs.clone())).threads(1).open().expect("a new database");
    fill(&db, amount);
    db.wait_idle(SOON).expect("nothing fails"); // Or the copy has a table of which only the name is there.
    let copied = fs.deep_clone();
    db.close().expect("nothing fails");
    let mut files = all_bytes(if is_closed { &fs } else { &copied });
    for (_, bytes) in &mut files {
        // What is reserved behind the end of a log reads as zeros and is of no interest.
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8));
        bytes.truncate(used);
    }
    files
}

fn fill(db: &Db, amount: u32) {
    let compressed = tiny_tables()
        .compression(Compression::Lz4)
        .prefix_extractor(&FixedPrefix::new(5))
        .entry_checksums(true);
    let plain = KeyspaceOptions::new().filters(FilterPolicy::None).durability(Durability::Sync);
    let plain = plain.blobs_from_bytes(64);
    for (name, options) in [("a", compressed), ("bb", plain)].into_iter().take(amount.min(2) as usize) {
        let keyspace = db.keyspace_with(name, options).expect("nothing fails");
        for round in 0..3 {
            for n in (0..amount).filter(|n| n % (round + 1) == 0) {
                let value = value_start(name, n).repeat(1 + 2 * (n as usize % 9));
                keyspace.insert(format!("key{n:03}"), value).expect("nothing fails");
            }
            keyspace.remove("key001").expect("nothing fails");
            match round {
                0 if amount > 20 => db.flush().expect("nothing fails"),
                1 if amount > 20 => keyspace.compact_range(..).expect("nothing fails"),
                _ => {}
            }
        }
        keyspace.insert_with("in no log", "v", volatile()).expect("nothing fails");
        let _ = keyspace.insert_with("k", "synced", WriteOptions::new().durability(Durability::Sync));
    }
    db.keyspace("gone").expect("nothing fails");
    db.drop_keyspace("gone").expect("nothing fails");
}

/// What each value of `format!("key{n:03}")` begins with, in a keyspace of a small database.
pub(super) fn value_start(keyspace: &str, n: u32) -> String {
    format!("{keyspace} {n} ")
}

/// Each as an image.
pub(super) fn images() -> Vec<Vec<u8>> {
    databases().iter().map(|files| image::encode(files)).collect()
}

/// All files whose names begin so.
fn files(prefix: &str) -> Vec<Vec<u8>> {
    let all = databases().iter().flatten().filter(|(name, _)| name.starts_with(prefix));
    all.map(|(_, bytes)| bytes.clone()).collect()
}

pub(super) fn tables() -> Vec<Vec<u8>> {
    let mut tables = files("tables/");
    tables.extend([table_of_one_key(), table_to_load()]);
    tables
}

/// The versions of one key fill several blocks, so that its index has numbers; with every kind that there is.
fn table_of_one_key() -> Vec<u8> {
    let fs = MemFs::new();
    fs.create_dir("tables").expect("an empty place");
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let identity =
        TableIdentity { id: TableId(1), uuid: FILE, database: Uuid([9; 16]), place: PlaceId::MAIN };
    let options = TableOptions { block_bytes: 4096, partition_bytes: 1024, ..TableOptions::default() };
    let seed = PropertySeed::new(TreeId(3), "tree", UnixUs(1));
    let writer = TableWriter::create(&fs, identity, options, seed, WriteOrigin::FlushTable);
    let mut writer = writer.expect("memory takes all");
    for number in (0..300_u64).rev() {
        let kind = ValueKind::from_raw(1 + number as u8 % 7).expect("1 to 7");
        let kind = if kind.is_separated() { ValueKind::Put } else { kind }; // It would have to be a pointer.
        let seqno = Seqno::from_raw(1 + (number << (number / 10))).expect("below 2^56");
        writer.add(b"key", seqno, kind, &[number as u8; 40]).expect("memory takes all");
    }
    writer.finish().expect("memory takes all");
    read_file(&*fs, &file_name(TableId(1)))
}

/// A table that belongs to no database.
fn table_to_load() -> Vec<u8> {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let options = TableOptions { block_bytes: 4096, entry_checksums: true, ..TableOptions::default() };
    let seed = PropertySeed::new(TreeId(0), "", UnixUs(1));
    let writer = PortableWriter::create(&fs, "it", FILE, options, seed, KeyOrder::bytes());
    let mut writer = writer.expect("memory takes all");
    for number in 0..200_u8 {
        let (key, value) = ([number], [number; 40]);
        let added = match number % 3 {
            0 => writer.put(&key, &value),
            1 => writer.put_until(&key, &value, UnixUs(number.into())),
            _ => writer.delete(&key),
        };
        added.expect("memory takes all");
    }
    writer.finish().expect("memory takes all");
    read_file(&*fs, "it")
}

/// A sound file around what is no dictionary, and a trained one where there are any.
pub(super) fn dictionaries() -> Vec<Vec<u8>> {
    let content = b"no dictionary of Zstandard";
    let file = dictionary::uuid_of(Dictionary::id_of(content));
    let header = FileHeader::clear(FileKind::Dictionary, file, Uuid([9; 16]));
    let mut facts = TlvWriter::new();
    facts.u64(1, 250);
    let facts = facts.finish();
    let mut bytes = header.encode().to_vec();
    let sections = [&facts[..], content].map(|raw| Section { raw, compression: Compression::None });
    encode_block(&mut bytes, BlockKind::Dictionary, &FileCodec::clear(file), 64, &sections);

    let mut rng = Rng::new(1);
    let samples: Vec<Vec<u8>> = (0..200).map(|_| similar_value(&mut rng)).collect();
    let lengths: Vec<usize> = samples.iter().map(Vec::len).collect();
    let trained = train(&samples.concat(), &lengths, 1 << 10).map(|content| {
        let trained = Dictionary::new(content, 250).expect("it was trained");
        dictionary::encode_file(&trained, Uuid::default(), Uuid([9; 16])).expect("it is not sealed").0
    });
    [bytes].into_iter().chain(trained).collect()
}

/// Files of separated values.
pub(super) fn blobs() -> Vec<Vec<u8>> {
    files("blobs/")
}

/// A pointer, facts about a file, and what a table points to.
pub(super) fn blob_pointers() -> Vec<Vec<u8>> {
    let checksum = Checksum(0x0123_4567_89AB_CDEF);
    let pointer = BlobPointer { file: BlobId(7), offset: 64, record_bytes: 900, value_bytes: 1000, checksum };
    let meta = BlobMeta {
        id: BlobId(7),
        uuid: FILE,
        bytes: 64 + 900,
        records: 1,
        place: PlaceId::MAIN,
        seal: None,
        parity: isopach::Parity::None,
    };
    let uses = [
        BlobUse { file: BlobId(7), records: 1, bytes: 900 },
        BlobUse { file: BlobId(9), records: 2, bytes: 99 },
    ];
    vec![pointer.encode().to_vec(), meta.encode(), BlobUse::encode_all(&uses)]
}

pub(super) fn manifests() -> Vec<Vec<u8>> {
    files("MANIFEST")
}

pub(super) fn segments() -> Vec<Vec<u8>> {
    let behind_facts = |facts: u8| move |file: Vec<u8>| [&[facts], &file[..]].concat();
    // Nothing known; a clean end at the first record's place; and at the place of the records behind it.
    [0, 1 | 8 << 1, 1 | 15 << 1, 2 | 15 << 2]
        .into_iter()
        .flat_map(|it| files("wal/").into_iter().map(behind_facts(it)))
        .collect()
}

pub(super) fn headers() -> Vec<Vec<u8>> {
    let kinds = [
        FileKind::Identity,
        FileKind::Manifest,
        FileKind::Log,
        FileKind::Table,
        FileKind::Dictionary,
        FileKind::Blob,
    ];
    kinds.map(|kind| FileHeader::clear(kind, FILE, Uuid([9; 16])).encode().to_vec()).into()
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let text = b"some text, some text, some text, some more text, some text and so on".repeat(4);
    let section = |raw, compression| Section { raw, compression };
    let codec = FileCodec::clear(FILE);
    let frame = |kind, sections: &[Section<'_>]| {
        let mut out = Vec::new();
        encode_block(&mut out, kind, &codec, AT, sections);
        out
    };
    vec![
        frame(
            BlockKind::Properties,
            &[section(b"keys", Compression::None), section(b"values", Compression::None)],
        ),
        frame(BlockKind::Data, &[section(&text, Compression::Lz4), section(b"", Compression::None)]),
        frame(BlockKind::Index, &[section(&text, Compression::Lz4)]),
        frame(BlockKind::Filter, &[section(b"x", Compression::None); 64]),
    ]
}

pub(super) fn sealed_frames() -> Vec<Vec<u8>> {
    super::sealed::frames()
}

pub(super) fn sections() -> Vec<Vec<u8>> {
    let raw = b"abcabcabcabcabcabcabcabc, and then something else, abcabcabcabcabcabc".repeat(8);
    let (compression, packed) = Compression::Lz4.compress(&raw);
    let packed = [&(raw.len() as u16).to_le_bytes()[..], &[compression.to_raw()], &packed].concat();
    vec![packed, [&4_u16.to_le_bytes()[..], &[0], b"data"].concat()]
}

/// Contents with schemes and a damage each, and a file with parity.
pub(super) fn protected() -> Vec<Vec<u8>> {
    let schemes = [[1, 0, 0], [2, 4, 1], [3, 4, 2], [3, 16, 2]];
    let content = Rng::new(3).bytes(20_000);
    let damaged = schemes.map(|scheme| [&scheme[..], &[1, 7, 1, 3, 0x10], &content].concat());
    let mut writer = ParityWriter::new(Parity::from_raw(schemes[1]));
    writer.write(&content);
    damaged.into_iter().chain([[content, writer.finish()].concat()]).collect()
}

pub(super) fn fields() -> Vec<Vec<u8>> {
    let mut fields = TlvWriter::new();
    fields.u64(1, 513).bytes(2, b"name").bytes(0x80, b"").u64(0x81, 1 << 20);
    vec![fields.finish()]
}

pub(super) fn records() -> Vec<Vec<u8>> {
    let mut file = Vec::new();
    for (number, payload) in [&b"payload"[..], b"", &[7; 100]].into_iter().enumerate() {
        let synced_upto = LogPosition { file: 1, offset: 8 * number as u64 };
        let (at, kind) = (file.len() as u64, 1 + number as u8);
        encode_record(&mut file, &FileCodec::clear(FILE), at, Record { kind, synced_upto, payload });
    }
    vec![file.clone(), [&file[..], &[0; 64]].concat()]
}

/// Payloads of the records of sound files, with their kinds.
fn payloads(prefix: &str) -> Vec<(u8, Vec<u8>)> {
    let mut payloads = Vec::new();
    for file in files(prefix) {
        let salt = super::repair::salt_of(&file).expect("it has a header");
        let codec = FileCodec { salt, ..FileCodec::clear(FILE) };
        let fs = super::place_of([("records", &file[..])]);
        let mut reader = RecordReader::new(super::open(&fs, "records"), codec, 64, file.len() as u64);
        while let Ok(Step::Record { kind, payload, .. }) = reader.step() {
            payloads.push((kind, payload.to_vec()));
        }
    }
    payloads.sort();
    payloads.dedup();
    // Enough of each kind.
    let mut of_kind = [0; 256];
    payloads.retain(|(kind, _)| {
        of_kind[usize::from(*kind)] += 1;
        of_kind[usize::from(*kind)] <= 40
    });
    payloads
}

pub(super) fn log_records() -> Vec<Vec<u8>> {
    payloads("wal/").into_iter().map(|(kind, payload)| [&[kind], &payload[..]].concat()).collect()
}

/// Bytes of a log record before its body.
const PREFIX_BYTES: usize = 24;

pub(super) fn batches() -> Vec<Vec<u8>> {
    const BATCH: u8 = 2;
    let batches = payloads("wal/").into_iter().filter(|(kind, _)| *kind == BATCH);
    batches.map(|(_, payload)| [&payload[8..9], &payload[PREFIX_BYTES..]].concat()).collect()
}

pub(super) fn keyspace_changes() -> Vec<Vec<u8>> {
    const KEYSPACE: u8 = 4;
    let changes = payloads("wal/").into_iter().filter(|(kind, _)| *kind == KEYSPACE);
    changes.map(|(_, payload)| payload[PREFIX_BYTES..].to_vec()).collect()
}

/// Features are no edit, and are refused as one: that does no harm.
pub(super) fn edits() -> Vec<Vec<u8>> {
    payloads("MANIFEST").into_iter().map(|(_, payload)| payload).collect()
}

pub(super) fn notes() -> Vec<Vec<u8>> {
    let mut ends = TlvWriter::new();
    ends.u64(1, 0).u64(2, 9).u64(3, 5000).bytes(4, &[0, 0, 9, 0x88, 0x27]).bytes(5, &[2, 3]);
    vec![vec![], vec![1, 0, 0, 0], vec![7; 8], vec![7; 24], ends.finish()]
}

pub(super) fn options() -> Vec<Vec<u8>> {
    let mut set = TlvWriter::new();
    for (tag, value) in (0x81..).zip([64 << 10, 4 << 20, 16 << 10, 1 << 20, 2, 64, 2, 1000]) {
        set.u64(tag, value);
    }
    vec![TreeOptions::default().encode(), set.finish()]
}

/// Metas of sound tables.
pub(super) fn table_metas() -> Vec<Vec<u8>> {
    let mut metas = Vec::new();
    for (name, bytes) in databases().iter().flatten() {
        let Some(id) = number_of(name) else { continue };
        let database = Uuid(bytes[24..40].try_into().expect("16 bytes"));
        let fs: Arc<dyn Fs> = Arc::new(super::place_of([(&**name, &bytes[..])]));
        metas.push(Table::read_meta(&fs, id, database).expect("it is sound").encode());
    }
    metas
}

/// The last bytes of tables, in inputs of the length that the target asks for.
pub(super) fn footers() -> Vec<Vec<u8>> {
    tables()
        .into_iter()
        .map(|table| [&table[table.len() - FOOTER_BYTES..], &vec![0; table.len() / 8][..]].concat())
        .collect()
}

/// The sections of the blocks of one kind of sound tables.
fn contents(kind: BlockKind) -> Vec<Vec<Vec<u8>>> {
    let mut contents = Vec::new();
    for table in tables() {
        let codec = FileCodec::clear(Uuid(table[8..24].try_into().expect("16 bytes")));
        let mut at = 64;
        while table[at..].starts_with(b"IB") {
            let mut stored = [0; 8];
            stored[..6].copy_from_slice(&table[at + 8..at + 14]);
            let sections = usize::from(table[at + 5]);
            let payload_at = at + BLOCK_HEADER_BYTES + sections * SECTION_ENTRY_BYTES;
            let end = payload_at + u64::from_le_bytes(stored) as usize;
            if let Ok(sections) =
                isopach::engine::codec::decode_block(&table[at..end], kind, &codec, at as u64)
            {
                contents.push(sections);
            }
            at = end;
        }
    }
    contents
}

pub(super) fn indexes() -> Vec<Vec<u8>> {
    contents(BlockKind::Index).concat()
}

pub(super) fn filters() -> Vec<Vec<u8>> {
    let mut filters = contents(BlockKind::Filter).concat();
    // Enough keys for BuRR, with a layer or two that bump.
    for (keys, bits_per_key) in [(4_096, 2.0), (5_000, 7.0), (4_500, 11.0)] {
        let mut builder = FilterBuilder::new(FilterOptions { kind: FilterKind::Burr, bits_per_key });
        (0..keys).for_each(|key: u32| builder.add(KeyHash::of(&key.to_le_bytes())));
        filters.push(builder.finish());
    }
    filters
}

/// Two range tombstones, the second without end.
pub(super) fn range_tombstones() -> Vec<Vec<u8>> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (seqno, start, end) in [(9_u64, &b"a"[..], &b"c"[..]), (5, b"bb", b"")] {
        bytes.extend_from_slice(&seqno.to_le_bytes());
        bytes.extend_from_slice(&(start.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(end.len() as u32).to_le_bytes());
        bytes.extend_from_slice(start);
        bytes.extend_from_slice(end);
    }
    vec![bytes]
}

pub(super) fn statistics() -> Vec<Vec<u8>> {
    contents(BlockKind::Statistics).concat()
}

pub(super) fn properties() -> Vec<Vec<u8>> {
    contents(BlockKind::Properties).concat()
}

pub(super) fn data_blocks() -> Vec<Vec<u8>> {
    let blocks = contents(BlockKind::Data).into_iter();
    blocks
        .map(|sections| [&(sections[0].len() as u16).to_le_bytes()[..], &[0], &sections.concat()].concat())
        .collect()
}

pub(super) fn fault_rules() -> Vec<Vec<u8>> {
    let rules = [
        Rule::new(Fault::Fail(Errno::Io)),
        Rule::new(Fault::Cut(512, Errno::NoSpace)),
        Rule::new(Fault::Flip(9)),
        Rule::new(Fault::FailThenLie),
    ];
    let mut text = Rules(rules.into()).to_string().into_bytes();
    text.extend_from_slice(b"# a comment\ncall=write,sync name=wal/%2a at=1..20 skip=2 times=3 chance=50 seed=7 fault=fail:EIO\n");
    vec![text]
}

/// What to do, by chance.
pub(super) fn operations() -> Vec<Vec<u8>> {
    (0..32).map(|seed| Rng::new(seed).bytes(40 + 20 * seed as usize)).collect()
}

/// Changes of sound databases, by chance.
pub(super) fn database_changes() -> Vec<Vec<u8>> {
    (0..64).map(|seed| Rng::new(seed).bytes(1 + 13 * (1 + seed as usize % 4))).collect()
}

pub(super) fn typed() -> Vec<Vec<u8>> {
    super::typed::seeds()
}
