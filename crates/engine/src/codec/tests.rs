//! The formats of this module, byte by byte, and what becomes of damage to them.

use super::{golden::assert_golden, *};
use crate::{
    env::{CreateOptions, File, Fs, MemFs, WriteOrigin},
    types::Uuid,
};
use alloc::{string::ToString, sync::Arc, vec, vec::Vec};

extern crate std;

const FILE: Uuid = Uuid(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f");
const DATABASE: Uuid = Uuid(*b"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f");
const HEADER: FileHeader = FileHeader::clear(FileKind::Table, FILE, DATABASE);

fn each_flipped_bit(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(move |bit| {
        let mut damaged = Vec::from(bytes);
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged
    })
}

fn codec() -> FileCodec {
    FileCodec::clear(FILE)
}

#[test]
fn file_header_is_as_documented() {
    let bytes = HEADER.encode();

    assert_golden("file_header", include_str!("../../testdata/golden/file_header.hex"), &bytes);
    assert_eq!(FileHeader::decode(&bytes), Ok(HEADER));
}

#[test]
fn a_damaged_file_header_is_refused() {
    for damaged in each_flipped_bit(&HEADER.encode()) {
        assert!(FileHeader::decode(&damaged.try_into().unwrap()).is_err());
    }
}

/// Recomputes the check of a header that was changed.
fn rechecked(change: impl FnOnce(&mut [u8; HEADER_BYTES])) -> Result<FileHeader, HeaderError> {
    let mut bytes = HEADER.encode();
    change(&mut bytes);
    let check = digest(&bytes[..60]).to_le_bytes();
    bytes[60..].copy_from_slice(&check[..4]);
    FileHeader::decode(&bytes)
}

#[test]
fn a_valid_header_of_another_kind_of_file_is_named() {
    assert_eq!(rechecked(|bytes| bytes[6] = 9), Err(HeaderError::Version(0x8009)));
    assert_eq!(rechecked(|bytes| bytes[40] = 1), Err(HeaderError::Protected));
    let by_parity = rechecked(|bytes| bytes[48] = 1).map(|header| header.parity);
    assert_eq!(by_parity, Ok(Parity::SecDed));
    let unknown = rechecked(|bytes| bytes[48] = 9).map(|header| header.parity);
    assert_eq!(unknown, Ok(Parity::Unknown { raw: [9, 0, 0] }), "of a later version: it can be read");
    let of_a_log = rechecked(|bytes| (bytes[4], bytes[48]) = (FileKind::Log as u8, 1));
    assert_eq!(of_a_log, Err(HeaderError::Protected));
    assert_eq!(rechecked(|bytes| bytes[0] = 0), Err(HeaderError::Foreign));
    assert!(matches!(rechecked(|bytes| bytes[4] = 99), Err(HeaderError::Corrupt(_))));
    assert!(matches!(rechecked(|bytes| bytes[59] = 1), Err(HeaderError::Corrupt(_))));
}

fn framed(sections: &[Section<'_>], offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_block(&mut out, BlockKind::Properties, &codec(), offset, sections);
    out
}

fn plain(raw: &[u8]) -> Section<'_> {
    Section { raw, compression: Compression::None }
}

#[test]
fn block_frame_is_as_documented() {
    let frame = framed(&[plain(b"keys"), plain(b"values")], 64);

    assert_golden("block_frame", include_str!("../../testdata/golden/block_frame.hex"), &frame);
    let sections = decode_block(&frame, BlockKind::Properties, &codec(), 64);
    assert_eq!(sections, Ok(vec![b"keys".to_vec(), b"values".to_vec()]));
}

#[test]
fn a_block_holds_at_its_place_and_for_its_kind_only() {
    let frame = framed(&[plain(b"keys")], 64);
    let elsewhere = FileCodec::clear(DATABASE);

    assert!(decode_block(&frame, BlockKind::Properties, &codec(), 65).is_err());
    assert!(decode_block(&frame, BlockKind::Index, &codec(), 64).is_err());
    assert!(decode_block(&frame, BlockKind::Properties, &elsewhere, 64).is_err());
}

#[test]
fn a_damaged_block_is_refused() {
    let frame = framed(&[plain(b""), plain(b"some bytes"), plain(b"more")], 1_000);

    for damaged in each_flipped_bit(&frame) {
        assert!(decode_block(&damaged, BlockKind::Properties, &codec(), 1_000).is_err());
    }
    for len in 0..frame.len() {
        assert!(decode_block(&frame[..len], BlockKind::Properties, &codec(), 1_000).is_err());
    }
}

#[test]
fn a_block_without_sections_is_refused_though_its_checksum_is_right() {
    let mut frame = framed(&[plain(b"")], 64);
    frame.truncate(BLOCK_HEADER_BYTES);
    frame[5] = 0;
    let covered = [&frame[..20], &digest(b"").to_le_bytes()].concat();
    let check = Checksum::of(&covered, codec().salt, 64).0.to_le_bytes();
    frame[20..].copy_from_slice(&check[..4]);

    let decoded = decode_block(&frame, BlockKind::Properties, &codec(), 64);

    assert_eq!(decoded, Err(Corruption("the block has no sections")));
}

/// What this build can compress with.
fn compressions() -> impl Iterator<Item = Compression> {
    let zstd = [-7, 0, 1, 9, 22].map(|level| Compression::Zstd { level });
    [Compression::Lz4].into_iter().chain(zstd).filter(|compression| compression.is_available())
}

#[test]
fn what_compresses_well_is_stored_compressed() {
    for compression in compressions() {
        let raw = b"abcdefgh".repeat(100);
        let frame = framed(&[Section { raw: &raw, compression }, plain(&raw)], 64);

        assert!(frame.len() < raw.len() + 150, "{compression:?}: {} bytes", frame.len());
        assert_eq!(
            decode_block(&frame, BlockKind::Properties, &codec(), 64),
            Ok(vec![raw.clone(), raw.clone()])
        );
        for damaged in each_flipped_bit(&frame) {
            assert!(decode_block(&damaged, BlockKind::Properties, &codec(), 64).is_err());
        }
    }
}

#[test]
fn what_does_not_save_an_eighth_is_stored_as_it_is() {
    let raw: Vec<u8> = (0..=255).collect();
    for compression in compressions() {
        let (codec, stored) = compression.compress(&raw);

        assert_eq!((codec, &stored[..]), (Codec::None, &raw[..]));
    }
}

#[test]
fn hostile_compressed_bytes_neither_panic_nor_allocate_beyond_their_ratio() {
    for compression in compressions() {
        let raw = b"abcdefgh".repeat(100);
        let (codec, packed) = compression.compress(&raw);
        let packed = packed.into_owned();
        assert_eq!(codec, compression.codec());

        assert!(codec.decompress(packed.clone(), usize::MAX).is_err());
        for len in [0, 1, 799, 801] {
            assert!(codec.decompress(packed.clone(), len).is_err(), "{compression:?} {len}");
        }
        for damaged in each_flipped_bit(&packed) {
            if let Ok(raw) = codec.decompress(damaged, 800) {
                assert_eq!(raw.len(), 800);
            }
        }
    }
}

#[test]
fn a_compression_is_read_as_it_was_stored() {
    let zstd = Compression::ZSTD_LEVELS.map(|level| Compression::Zstd { level });
    for compression in [Compression::None, Compression::Lz4].into_iter().chain(zstd) {
        assert_eq!(Compression::decode(compression.encode()), Some(compression));
    }
    for encoded in [[0, 1], [1, 1], [2, 23], [2, 0x80], [3, 0]] {
        assert_eq!(Compression::decode(encoded), None, "{encoded:?}");
    }
}

#[cfg(feature = "zstd")]
#[test]
fn contexts_of_zstd_are_shared_by_threads() {
    let raw = b"some text of little content; ".repeat(200);
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let raw = &raw;
            scope.spawn(move || {
                for round in 0..50 {
                    let (codec, packed) = Compression::Zstd { level: round % 5 }.compress(&raw[thread..]);
                    assert_eq!(codec, Codec::Zstd);
                    assert_eq!(
                        codec.decompress(packed.into_owned(), raw.len() - thread).unwrap(),
                        raw[thread..]
                    );
                }
            });
        }
    });
}

const SYNCED: LogPosition = LogPosition { file: 1, offset: 64 };

fn recorded(payload: &[u8], offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_record(&mut out, &codec(), offset, Record { kind: 5, synced_upto: SYNCED, payload });
    out
}

fn file_of(bytes: &[u8]) -> Arc<dyn File> {
    let file = MemFs::new().create("log", &CreateOptions::new(WriteOrigin::Log)).unwrap();
    file.write_at(0, bytes).unwrap();
    file
}

#[test]
fn record_is_as_documented() {
    let bytes = recorded(b"payload", 64);

    assert_golden("record", include_str!("../../testdata/golden/record.hex"), &bytes);
    assert_eq!(bytes.len() as u64, record_bytes(7));
}

#[test]
fn records_are_read_in_the_order_they_were_written() {
    let payloads = [&b""[..], b"a", b"12345678", &[7; 300_000]];
    let mut log = vec![0; 64];
    for payload in payloads {
        let record = recorded(payload, log.len() as u64);
        log.extend_from_slice(&record);
    }

    let mut reader = RecordReader::new(file_of(&log), codec(), 64, log.len() as u64);

    for expected in payloads {
        match reader.step().unwrap() {
            Step::Record { kind, synced_upto, payload, .. } => {
                assert_eq!((kind, synced_upto, payload), (5, SYNCED, expected));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(reader.step(), Ok(Step::End)));
}

#[test]
fn a_damaged_record_is_invalid() {
    let record = recorded(b"payload", 0);

    // Its padding counts too: no checksum covers it, and a check of the database was to find every flipped
    // bit.
    for damaged in each_flipped_bit(&record) {
        let mut reader = RecordReader::new(file_of(&damaged), codec(), 0, damaged.len() as u64);
        assert!(matches!(reader.step(), Ok(Step::Invalid { offset: 0, .. })), "{damaged:02x?}");
    }
    for len in 1..record.len() as u64 {
        let mut reader = RecordReader::new(file_of(&record), codec(), 0, len);
        assert!(matches!(reader.step(), Ok(Step::Invalid { offset: 0, .. })), "cut at {len}");
    }
}

#[test]
fn the_greatest_synced_position_is_found_behind_damage() {
    let mut log = recorded(b"first", 0);
    log[3] ^= 1;
    log.extend_from_slice(&[0xee; 4_096]);
    let second = recorded(b"second", log.len() as u64);
    log.extend_from_slice(&second);

    let end = log.len() as u64;
    log.extend_from_slice(&[0xee; 4_096]);
    let found = traces_of_records(file_of(&log), codec().salt, 0, log.len() as u64);

    assert_eq!(found, Ok(Some(Traces { synced_upto: SYNCED, end })));
}

#[test]
fn log_positions_are_ordered_as_their_raw_form() {
    let positions = [(0, 0), (0, 8), (1, 0), (1, 64), (7, (1 << 35) - 8), (u32::MAX, 0)]
        .map(|(file, offset)| LogPosition { file, offset });

    assert!(positions.is_sorted_by_key(|position| position.to_raw()));
    assert!(positions.iter().all(|&position| LogPosition::from_raw(position.to_raw()) == position));
    assert_eq!(SYNCED.to_string(), "1:64");
}

#[test]
fn tlv_is_as_documented() {
    let mut writer = TlvWriter::new();
    writer.u64(1, 513).bytes(2, b"name").bytes(0x80, b"");

    let bytes = writer.finish();

    assert_golden("tlv", include_str!("../../testdata/golden/tlv.hex"), &bytes);
    let mut fields = TlvReader::new(&bytes);
    let number = fields.next_field().unwrap().unwrap();
    assert_eq!((number.0, TlvReader::as_u64(number.1)), (1, Ok(513)));
    assert_eq!(fields.next_field(), Ok(Some((2, &b"name"[..]))));
    assert_eq!(fields.next_field(), Ok(Some((0x80, &b""[..]))));
    assert_eq!(fields.next_field(), Ok(None));
}

#[test]
fn a_field_that_is_cut_off_is_refused() {
    let mut writer = TlvWriter::new();
    writer.bytes(2, b"name");
    let bytes = writer.finish();

    for len in 1..bytes.len() {
        assert!(TlvReader::new(&bytes[..len]).next_field().is_err(), "cut at {len}");
    }
    assert!(TlvReader::unknown(0x7f).is_err() && TlvReader::unknown(0x80).is_ok());
}
