//! Targets for what all files share: headers, frames, records, fields, compression; and for the text of fault
//! rules.

use super::{place_of, repair, with_checksums};
use isopach::{
    engine::{
        codec::{
            BlockKind, Codec, Compression, FileCodec, FileHeader, HEADER_BYTES, Reader, Record, RecordReader,
            Salt, Section, Step, TlvReader, TlvWriter, decode_block, encode_block, encode_record,
            traces_of_records,
        },
        types::Uuid,
    },
    env::{Rules, WriteOrigin},
};

/// What frames and records that stand alone are bound to.
pub(super) const FILE: Uuid = Uuid([7; 16]);
/// Where they lie.
pub(super) const AT: u64 = 64;

/// The first 64 bytes of a file.
pub(super) fn file_header(data: &[u8]) {
    with_checksums(data, repair::file_header, |data| {
        let Some(bytes) = data.first_chunk::<HEADER_BYTES>() else { return };
        if let Ok(header) = FileHeader::decode(bytes) {
            assert_eq!(header.encode(), *bytes, "what was decoded encodes to the same bytes");
        }
    });
}

/// A block frame, taken for each kind.
pub(super) fn block_frame(data: &[u8]) {
    let bind = |data: &mut [u8]| {
        repair::frame(data, Salt::of(FILE), AT);
    };
    with_checksums(data, bind, |data| {
        let codec = FileCodec::clear(FILE);
        for kind in [BlockKind::Data, BlockKind::Index, BlockKind::Filter, BlockKind::Properties] {
            let Ok(sections) = decode_block(data, kind, &codec, AT) else { continue };
            let section = |raw| Section { raw, compression: Compression::None };
            let again: Vec<Section<'_>> = sections.iter().map(|raw| section(raw)).collect();
            let mut encoded = Vec::new();
            encode_block(&mut encoded, kind, &codec, AT, &again);
            assert_eq!(decode_block(&encoded, kind, &codec, AT).as_ref(), Ok(&sections));
        }
    });
}

/// A section that is stored: two bytes say what it should yield, a third how it is compressed.
pub(super) fn section(data: &[u8]) {
    let mut fields = Reader::new(data);
    let (Ok(raw_bytes), Ok(codec)) = (fields.u16(), fields.u8()) else { return };
    let Some(codec) = Codec::from_raw(codec % 3) else { return };
    let compression = match codec {
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd { level: 1 },
        _ => Compression::None,
    };
    let stored = fields.bytes(fields.remaining()).expect("as many as remain").to_vec();
    // Also lengths that no input of this size can yield.
    for raw_bytes in [usize::from(raw_bytes), usize::from(raw_bytes) << 16] {
        let Ok(raw) = codec.decompress(stored.clone(), raw_bytes) else { continue };
        assert_eq!(raw.len(), raw_bytes);
        let (codec, packed) = compression.compress(&raw);
        assert_eq!(codec.decompress(packed.into_owned(), raw_bytes).as_ref(), Ok(&raw));
    }
}

/// Fields with tags.
pub(super) fn tlv(data: &[u8]) {
    let mut fields = TlvReader::new(data);
    let mut again = TlvWriter::new();
    loop {
        match fields.next_field() {
            Err(_) => return,
            Ok(None) => break,
            Ok(Some((tag, value))) => {
                let _ = (TlvReader::as_u64(value), TlvReader::unknown(tag));
                again.bytes(tag, value);
            }
        }
    }
    assert_eq!(again.finish(), data, "what was read is written as it was");
}

/// Records, one behind the other from the start of a file; and the search behind the last.
pub(super) fn records(data: &[u8]) {
    let codec = FileCodec::clear(FILE);
    let salt = codec.salt;
    with_checksums(
        data,
        |data| repair::records(data, salt, 0),
        |data| {
            let fs = place_of([("records", data)]);
            let file = super::open(&fs, "records");
            let end = data.len() as u64;
            let mut reader = RecordReader::new(file.clone(), codec.clone(), 0, end);
            let mut greatest = None;
            let stopped = loop {
                match reader.step().expect("files in memory can be read") {
                    Step::Record { offset, kind, synced_upto, payload, .. } => {
                        let mut again = Vec::new();
                        encode_record(&mut again, &codec, offset, Record { kind, synced_upto, payload });
                        let at = offset as usize;
                        let len = 32 + payload.len();
                        assert_eq!(
                            again[..len],
                            data[at..at + len],
                            "what was decoded encodes to the same bytes"
                        );
                        greatest = greatest.max(Some(synced_upto));
                    }
                    Step::Invalid { offset, .. } | Step::Altered { offset, .. } => break offset,
                    Step::End => break end,
                }
            };
            let search = |from| {
                let traces = traces_of_records(file.clone(), salt, from, end).expect("it can be read");
                traces.map(|traces| traces.synced_upto)
            };
            let (behind, all) = (search(stopped), search(0));
            assert!(all >= greatest.max(behind), "a search over all finds what its parts hold");
        },
    );
}

/// The text of rules for injected faults.
pub(super) fn fault_rules(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(rules) = text.parse::<Rules>() {
        assert_eq!(rules.to_string().parse().as_ref(), Ok(&rules), "rules read as they are printed");
    }
}

/// Who writes the files of targets: their bytes are accounted to nobody in particular.
pub(super) const ORIGIN: WriteOrigin = WriteOrigin::Metadata;
