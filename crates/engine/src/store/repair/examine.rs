//! What the files of a store say of themselves, one by one.

use crate::{
    blob::{self, BlobFile, BlobMeta, BlobUse, RECORD_HEADER_BYTES},
    codec::{
        Corrector, FileHeader, FileKind, HEADER_BYTES, Owner, Parity, ParityTail, Rescue, Seal, header_error,
    },
    dictionary,
    error::{Error, ErrorKind, Result},
    key::ValueKind,
    order::KeyOrder,
    place::PlaceId,
    table::{Properties, TableMeta, inspect::LoneTable, salvage::Remains},
    tree::{KnownCode, TreeOptions},
    types::{BlobId, Seqno, TableId, Uuid},
};
use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::ops::RangeInclusive;
use isopach_env::{Fs, IoErrorKind, OpenMode};

/// A table whose header and properties can be read.
pub(super) struct Readable {
    pub(super) id: TableId,
    pub(super) name: String,
    pub(super) uuid: Uuid,
    pub(super) properties: Properties,
    pub(super) order: KeyOrder,
    /// What a manifest would say of it; an error: it does not open, and why.
    pub(super) meta: Result<TableMeta>,
    /// What is wrong with it, though it opens.
    pub(super) findings: Vec<String>,
    /// Where in the file that is, as far as it is known.
    pub(super) places: Vec<u64>,
    /// The number of all its entries, if the file says zero and it is known.
    pub(super) number: Option<Seqno>,
}

/// What a file in the directory of tables is.
pub(super) enum Examined {
    Table(alloc::boxed::Box<Readable>),
    /// No table of this store, or one of which not even the tree is known.
    Unreadable(String),
}

/// Looks at a table and checks all of it.
///
/// # Errors
///
/// Those of keys that are missing or wrong, of an order of keys that is not known, and of a version of the format that is
/// not; for then it is not the file that needs care.
pub(super) fn examine_table(
    fs: &Arc<dyn Fs>,
    id: TableId,
    name: &str,
    owner: &Owner,
    code: &KnownCode,
) -> Result<Examined> {
    let remains = match Remains::open(fs, name, &owner.keys) {
        Ok(remains) => remains,
        Err(error) if is_of_the_file(&error) => return Ok(Examined::Unreadable(error.to_string())),
        Err(error) => return Err(error),
    };
    if remains.database() != owner.database {
        return Ok(Examined::Unreadable(format!("it belongs to the database {}", remains.database())));
    }
    let Some(properties) = remains.properties().cloned() else {
        return Ok(Examined::Unreadable("its properties are lost, so nobody knows its keyspace".into()));
    };
    let order = order_of(&properties, code).map_err(|error| error.in_file(name))?;
    let uuid = remains.uuid();
    drop(remains);
    let (mut findings, mut places) = (Vec::new(), Vec::new());
    let meta = LoneTable::open_with(fs, name, &owner.keys).and_then(|table| {
        let table = table.with_order(&order).with_dictionary(&**fs, dictionary::file_name);
        let meta = table.meta(id)?;
        match table.verify() {
            Ok(found) => {
                places.extend(found.iter().filter(|it| !it.is_harmless).map(|it| it.offset));
                findings.extend(found.into_iter().map(|it| it.message));
            }
            Err(error) if is_of_the_file(&error) => {
                places.push(place_of(&error));
                findings.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(meta)
    });
    if let Err(error) = &meta
        && !is_of_the_file(error)
    {
        return Err(error.clone());
    }
    let name = name.into();
    Ok(Examined::Table(alloc::boxed::Box::new(Readable {
        id,
        name,
        uuid,
        properties,
        order,
        meta,
        findings,
        places,
        number: None,
    })))
}

/// Where in a table an error lies. Of one that does not say so: in the header, which all keys need.
pub(super) fn place_of(error: &Error) -> u64 {
    error.offset().unwrap_or(0)
}

/// Whether an error says that a file is not what it should be.
fn is_of_the_file(error: &Error) -> bool {
    use ErrorKind::{Corruption, Io, MissingDictionary, MixedStore};
    let is_foreign = error.kind() == ErrorKind::UnsupportedFormat && error.offset().is_none();
    matches!(error.kind(), Corruption | Io | MissingDictionary | MixedStore) || is_foreign
}

/// The order of the keys of a table.
///
/// # Errors
///
/// `MissingComparator`.
fn order_of(properties: &Properties, code: &KnownCode) -> Result<KeyOrder> {
    let options = TreeOptions { comparator: properties.seed.comparator.clone(), ..TreeOptions::default() };
    code.order(&options)
}

impl Readable {
    /// Opens it to read what is left of it.
    ///
    /// # Errors
    ///
    /// Those of [`Remains::open`].
    pub(super) fn remains(&self, fs: &Arc<dyn Fs>, owner: &Owner) -> Result<Arc<Remains>> {
        let remains = Remains::open(fs, &self.name, &owner.keys)?.with_order(&self.order);
        Ok(Arc::new(remains.with_dictionary(&**fs, dictionary::file_name, &owner.keys)))
    }

    /// Whether a bulk load wrote it: its entries have no numbers of their own.
    pub(super) fn is_load(&self) -> bool {
        let seed = &self.properties.seed;
        seed.lineage.is_empty()
            && seed.run_age == 0
            && self.properties.last_seqno == Seqno::ZERO
            && self.properties.counts.of(ValueKind::DeleteRange) == 0
    }

    /// The number of its newest version.
    pub(super) fn last_seqno(&self) -> Seqno {
        self.number.unwrap_or(self.properties.last_seqno)
    }
}

/// What a manifest would say of a file of separated values that tables point into, and what is wrong with it. Of one that
/// is missing, damaged or too short it says what reading it fails by: so no other value is ever read in its place.
///
/// # Errors
///
/// Those of keys that are missing or wrong.
pub(super) fn examine_blob(
    fs: &Arc<dyn Fs>,
    id: BlobId,
    uses: &[BlobUse],
    owner: &Owner,
) -> Result<(BlobMeta, Option<String>)> {
    let (records, live_bytes) = uses.iter().fold((0_u64, 0_u64), |(records, bytes), of| {
        (records.saturating_add(of.records), bytes.saturating_add(of.bytes))
    });
    let least_bytes = (HEADER_BYTES as u64).saturating_add(live_bytes);
    let name = blob::file_name(id);
    let read = read_header(&**fs, &name, FileKind::Blob, owner);
    let (Head { uuid, seal, parity, bytes, least_end }, why) = match read {
        Ok(head) if head.bytes >= least_bytes => (head, None),
        Ok(Head { bytes, .. }) => {
            let why = format!("it has {bytes} bytes, and tables point to {live_bytes} bytes of values in it");
            (Head { bytes: least_bytes, ..Head::default() }, Some(why))
        }
        Err(error) if is_of_the_file(&error) => {
            (Head { bytes: least_bytes, ..Head::default() }, Some(error.to_string()))
        }
        Err(error) => return Err(error),
    };
    let room = (bytes - HEADER_BYTES as u64) / RECORD_HEADER_BYTES as u64;
    let mut meta =
        BlobMeta { id, uuid, bytes, records: records.min(room), place: PlaceId::MAIN, seal, parity };
    if why.is_none()
        && let Ok(file) = BlobFile::open(fs, &meta, owner)
    {
        let (mut walked, mut end) = (0, HEADER_BYTES as u64);
        // Of what is damaged nothing is known behind; that is told of the keys whose values are there.
        let _ = file.walk(&mut |record| {
            walked += 1;
            end = record.offset + record.record_bytes;
            Ok(())
        });
        meta.records = meta.records.max(walked);
        if end >= least_end {
            meta.bytes = meta.bytes.min(end); // What follows is padding.
        }
    }
    Ok((meta, why))
}

/// What the header of a file says, and its size without parity.
#[derive(Default)]
struct Head {
    uuid: Uuid,
    seal: Option<Seal>,
    parity: Parity,
    bytes: u64,
    /// Where the content ends at the least: before that, if padding may be part of it.
    least_end: u64,
}

fn read_header(fs: &dyn Fs, name: &str, kind: FileKind, owner: &Owner) -> Result<Head> {
    let (header, contents) = header_of(fs, name)?;
    if header.kind != kind || header.database != owner.database {
        let message = "the file is of another kind or another database than its name says";
        return Err(Error::new(ErrorKind::MixedStore, message).in_file(name));
    }
    owner.codec(&header, name)?; // Its key is there.
    let (bytes, least_end) = (*contents.end(), *contents.start());
    Ok(Head { uuid: header.file, seal: header.seal, parity: header.parity, bytes, least_end })
}

/// The header of any file of a store, restored by parity if it has some, and its size without parity: several are
/// possible where the end of the parity is damaged.
///
/// # Errors
///
/// `Corruption`; `UnsupportedFormat`; the backend's.
pub(super) fn header_of(fs: &dyn Fs, name: &str) -> Result<(FileHeader, RangeInclusive<u64>)> {
    let io = |error| Error::io(error, "read the header of", name);
    let file = fs.open(name, OpenMode::Read).map_err(|error| match error.kind() {
        IoErrorKind::NotFound => Error::corrupt(name, 0, "the file is missing"),
        _ => io(error),
    })?;
    let bytes = file.size_bytes().map_err(io)?;
    let mut start = [0; HEADER_BYTES];
    if bytes < HEADER_BYTES as u64 {
        return Err(Error::corrupt(name, bytes, "the file ends inside its header"));
    }
    let read = file.read_exact_at(0, &mut start).map_err(io);
    let decoded = read.and_then(|()| FileHeader::decode(&start).map_err(|error| header_error(error, name)));
    match (decoded, ParityTail::read(&*file, bytes)) {
        (Ok(header), _) if header.parity == Parity::None => Ok((header, bytes..=bytes)),
        (Ok(header), Ok(tail)) => Ok((header, tail.content_bytes..=tail.content_bytes)),
        (Ok(header), Err(why)) => match header.parity.possible_contents(bytes) {
            Some(contents) => Ok((header, contents)),
            None => Err(Error::corrupt(name, bytes, why)),
        },
        (Err(error), Ok(tail)) => {
            let corrector = Corrector::new(&file, tail.parity, tail.content_bytes, Rescue::default());
            let header = corrector.and_then(|corrector| corrector.header());
            header.map(|header| (header, tail.content_bytes..=tail.content_bytes)).ok_or(error)
        }
        (Err(error), Err(_)) => Err(error),
    }
}
