//! Damage that no checksum shows: values are changed and checksums are made to fit, as a bug in the database
//! would have it. The sweep must call it what it is.

use super::{
    image::Image,
    layout::{records, sections},
};
use isopach::engine::{
    blob::BlobPointer,
    codec::{
        BlockKind, Compression, FileCodec, FileHeader, Record, Section, decode_block, encode_block,
        encode_record,
    },
};

/// Changes the last byte of the last value of the first data block of a table whose values are not
/// compressed. Returns whether there is one.
pub fn forge_table(image: &mut Image, name: &str) -> bool {
    let bytes = image.edit(name);
    let header = FileHeader::decode(bytes.first_chunk().expect("a sound table")).expect("a sound table");
    let block = sections(name, bytes).into_iter().find(|section| section.what == "data block");
    let range = block.expect("a table has data").range;
    let at = range.start as u64;
    // One that is compressed against a dictionary is not read without it.
    let decoded = decode_block(&bytes[range.clone()], BlockKind::Data, &FileCodec::clear(header.file), at);
    let Ok(mut parts) = decoded else { return false };
    match parts.last_mut().and_then(|values| values.last_mut()) {
        None => return false,
        Some(last) => *last ^= 1,
    }
    // A pointer tells the checksum of what it points to: forged, it is noticed.
    let ends_with_pointer =
        parts.last().and_then(|values| values.last_chunk::<{ BlobPointer::ENCODED_BYTES }>());
    if ends_with_pointer.is_some_and(|end| BlobPointer::decode(end).is_ok_and(|it| it.file.0 < 1 << 20)) {
        return false;
    }
    let mut frame = Vec::new();
    let parts: Vec<Section<'_>> =
        parts.iter().map(|raw| Section { raw, compression: Compression::None }).collect();
    encode_block(&mut frame, BlockKind::Data, &FileCodec::clear(header.file), at, &parts);
    if frame.len() != range.len() {
        return false;
    }
    bytes[range].copy_from_slice(&frame);
    true
}

/// Changes the last byte of what the last record of a log segment carries. Returns whether there is one.
pub fn forge_log(image: &mut Image, name: &str) -> bool {
    let bytes = image.edit(name);
    let header = FileHeader::decode(bytes.first_chunk().expect("a sound segment")).expect("a sound segment");
    let Some(last) = records(bytes).pop().filter(|record| record.kind == 2) else {
        return false;
    };
    let mut payload = bytes[last.payload.clone()].to_vec();
    *payload.last_mut().expect("a batch has a body") ^= 1;
    let mut record = Vec::new();
    let framed = Record { kind: last.kind, synced_upto: last.synced_upto, payload: &payload };
    encode_record(&mut record, &FileCodec::clear(header.file), last.range.start as u64, framed);
    bytes[last.range].copy_from_slice(&record);
    true
}
