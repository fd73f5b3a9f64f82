use super::*;
use crate::{
    codec::{Compression, HEADER_BYTES, Parity, golden::assert_golden},
    error::ErrorKind,
    key::ValueKind,
    types::{Seqno, UnixUs},
};
use alloc::{format, string::ToString, sync::Arc, vec};
use isopach_env::{Fs, MemFs, OpenMode, WriteOrigin};

const DATABASE: Uuid = Uuid([9; 16]);

fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

fn files() -> Arc<dyn Fs> {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    fs.create_dir(BLOBS_DIR).unwrap();
    fs
}

/// A file of these values, and what points to them.
fn written(
    fs: &Arc<dyn Fs>,
    (id, uuid): (u64, u8),
    values: &[(&[u8], Vec<u8>)],
) -> (BlobMeta, Vec<BlobPointer>) {
    let identity = (BlobId(id), Uuid([uuid; 16]));
    let mut writer =
        BlobWriter::create(fs, identity, PlaceId::MAIN, DATABASE, WriteOrigin::FlushBlob).unwrap();
    let compression = if Compression::Lz4.is_available() { Compression::Lz4 } else { Compression::None };
    let add = |(key, value): &(&[u8], Vec<u8>)| writer.add(key, seqno(7), value, compression).unwrap();
    let pointers = values.iter().map(add).collect();
    (writer.finish().unwrap(), pointers)
}

fn values() -> Vec<(&'static [u8], Vec<u8>)> {
    let noise = (0..300_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![(b"apple", vec![b'r'; 5000]), (b"empty", Vec::new()), (b"noise", noise), (b"", b"no key".to_vec())]
}

#[test]
fn values_are_read_by_their_pointers() {
    let fs = files();
    let (meta, pointers) = written(&fs, (3, 1), &values());

    let file = BlobFile::open(&fs, &meta, DATABASE).unwrap();

    for ((key, value), pointer) in values().iter().zip(&pointers) {
        assert_eq!(file.read(key, pointer).unwrap(), &value[..]);
        assert_eq!(pointer.value_bytes as usize, value.len());
    }
    assert_eq!((meta.records, number_of("blobs/000003.blob")), (4, Some(meta.id)));
    if Compression::Lz4.is_available() {
        assert!(pointers[0].record_bytes < 200, "what compresses is compressed");
    }
    let mut walked = Vec::new();
    file.walk(&mut |found| {
        walked.push((found.offset, found.record.key().to_vec(), found.record.checksum()));
        Ok(())
    })
    .unwrap();
    let told =
        values().into_iter().zip(&pointers).map(|((key, _), at)| (at.offset, key.to_vec(), at.checksum));
    assert_eq!(walked, told.collect::<Vec<_>>());
    assert_eq!(pointers.iter().map(|at| u64::from(at.record_bytes)).sum::<u64>(), meta.record_bytes());
}

#[test]
fn a_record_is_copied_as_it_is_and_bound_to_its_new_place() {
    let fs = files();
    let (from, pointers) = written(&fs, (3, 1), &values());
    let from = BlobFile::open(&fs, &from, DATABASE).unwrap();
    let to = (BlobId(4), Uuid([2; 16]));
    let mut writer =
        BlobWriter::create(&fs, to, PlaceId::MAIN, DATABASE, WriteOrigin::CompactionBlob).unwrap();

    let copied = writer.copy(&from.read_record(b"noise", &pointers[2]).unwrap()).unwrap();

    let meta = writer.finish().unwrap();
    let to = BlobFile::open(&fs, &meta, DATABASE).unwrap();
    assert_eq!(to.read(b"noise", &copied).unwrap(), from.read(b"noise", &pointers[2]).unwrap());
    assert_ne!(copied.checksum, pointers[2].checksum);
    assert_eq!(to.read_record(b"noise", &copied).unwrap().seqno(), seqno(7));
}

/// commonware #4260: an entry took up another record's complete value, whose own checksum held.
#[test]
fn no_other_record_answers_for_a_pointer() {
    let fs = files();
    let same = |key: &'static [u8]| (key, vec![b'v'; 100]);
    let (meta, pointers) = written(&fs, (3, 1), &[same(b"k"), same(b"l"), same(b"k")]);
    let (twin, twins) = written(&fs, (4, 2), &[same(b"k"), same(b"l"), same(b"k")]);
    let (file, twin_file) =
        (BlobFile::open(&fs, &meta, DATABASE).unwrap(), BlobFile::open(&fs, &twin, DATABASE).unwrap());

    assert!(file.read(b"k", &pointers[0]).is_ok() && twin_file.read(b"k", &twins[0]).is_ok());

    let moved = BlobPointer { offset: pointers[2].offset, ..pointers[0] };
    for (file, key, pointer) in [
        (&file, &b"l"[..], pointers[0]), // Another key.
        (&file, b"k", moved),            // The same key and value elsewhere.
        (&twin_file, b"k", pointers[0]), // The same record of another file.
        (&file, b"k", BlobPointer { value_bytes: 99, ..pointers[0] }),
        (&file, b"k", BlobPointer { record_bytes: pointers[0].record_bytes + 1, ..pointers[0] }),
    ] {
        let error = file.read(key, &pointer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert_eq!((error.file(), error.offset()), (Some(file.name()), Some(pointer.offset)));
        assert!(error.keys().is_some());
    }
}

#[test]
fn every_flipped_bit_is_noticed_and_nothing_is_allocated_for_a_wrong_length() {
    let fs = files();
    let values: [(&[u8], _); 2] = [(b"apple", b"a red one".to_vec()), (b"pear", vec![b'g'; 60])];
    let (meta, pointers) = written(&fs, (3, 1), &values);
    let file = fs.open(&file_name(meta.id), OpenMode::ReadWrite).unwrap();
    let mut sound = vec![0; meta.bytes as usize];
    file.read_exact_at(0, &mut sound).unwrap();

    for bit in 0..sound.len() * 8 {
        let byte = sound[bit / 8] ^ 1 << (bit % 8);
        file.write_at(bit as u64 / 8, &[byte]).unwrap();
        let read = BlobFile::open(&fs, &meta, DATABASE).and_then(|opened| {
            opened.walk(&mut |_| Ok(()))?;
            values.iter().zip(&pointers).try_for_each(|((key, _), at)| opened.read(key, at).map(drop))
        });
        let error = read.expect_err(&format!("bit {bit} was flipped"));
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Corruption | ErrorKind::UnsupportedFormat | ErrorKind::UnsupportedFeature
            ),
            "bit {bit}: {error}"
        );
        file.write_at(bit as u64 / 8, &sound[bit / 8..=bit / 8]).unwrap();
    }

    file.set_len(meta.bytes - 1).unwrap();
    let error = BlobFile::open(&fs, &meta, DATABASE).err().unwrap();
    assert!(error.to_string().contains("the file has"), "{error}");
}

#[test]
fn pointers_and_uses_are_read_as_they_were_written() {
    let (kind, stored) = stored_pointer(
        Some(UnixUs(0x0102)),
        &BlobPointer {
            file: BlobId(3),
            offset: 64,
            record_bytes: 40,
            value_bytes: 8,
            checksum: crate::codec::Checksum(0x1122_3344_5566_7788),
        },
    );
    assert_eq!((kind, stored.len()), (ValueKind::BlobPointerUntil, 40));
    let pointer = pointer_of(kind, &stored).unwrap().unwrap();
    assert_eq!((pointer.file, pointer.offset), (BlobId(3), 64));
    assert_eq!(pointer_of(ValueKind::BlobPointer, &pointer.encode()).unwrap(), Some(pointer));
    assert_eq!(pointer_of(ValueKind::Put, b"").unwrap(), None);
    for bad in [&pointer.encode()[..31], &[0; 32], &[0xff; 32]] {
        assert!(pointer_of(ValueKind::BlobPointer, bad).is_err());
    }

    let mut uses = BlobUses::default();
    for file in [5, 3, 5] {
        let (kind, stored) = stored_pointer(None, &BlobPointer { file: BlobId(file), ..pointer });
        uses.count(kind, &stored).unwrap();
    }
    let uses = uses.finish();
    let of = |file, records| BlobUse { file: BlobId(file), records, bytes: 40 * records };
    assert_eq!(uses, [of(3, 1), of(5, 2)]);
    assert_eq!(BlobUse::decode_all(&BlobUse::encode_all(&uses)).unwrap(), uses);
    for bad in [&[of(5, 1), of(3, 1)][..], &[of(3, 1), of(3, 1)], &[BlobUse { records: 0, ..of(3, 1) }]] {
        assert!(BlobUse::decode_all(&BlobUse::encode_all(bad)).is_err());
    }
    let meta = BlobMeta {
        id: BlobId(3),
        uuid: Uuid([1; 16]),
        bytes: HEADER_BYTES as u64 + 40,
        records: 1,
        place: PlaceId::MAIN,
        seal: None,
        parity: Parity::None,
    };
    assert_eq!(BlobMeta::decode(&meta.encode()).unwrap(), meta);
    assert!(BlobMeta::decode(&BlobMeta { records: 2, ..meta }.encode()).is_err());
}

const EXAMPLE: &str = include_str!("../../testdata/golden/blob.hex");

#[test]
fn a_file_is_as_documented() {
    let fs = files();
    let identity = (BlobId(3), Uuid(core::array::from_fn(|at| at as u8)));
    let database = Uuid(core::array::from_fn(|at| 0x10 + at as u8));
    let mut writer =
        BlobWriter::create(&fs, identity, PlaceId::MAIN, database, WriteOrigin::FlushBlob).unwrap();
    let pointer = writer.add(b"apple", seqno(7), b"a red one", Compression::None).unwrap();
    let meta = writer.finish().unwrap();

    let mut bytes = vec![0; meta.bytes as usize];
    fs.open(&file_name(meta.id), OpenMode::Read).unwrap().read_exact_at(0, &mut bytes).unwrap();
    assert_golden("blob", EXAMPLE, &[&bytes[..], &pointer.encode()].concat());
}
