//! Framing: compression, checksums, frames of blocks, records of logs.

use super::Case;
use crate::{
    inputs::{VALUE_BYTES, env, value},
    meter::Meter,
};
use isopach::{
    Compression, Uuid,
    engine::codec::{
        BlockKind, Codec, FileCodec, LogPosition, Record, RecordReader, Section, Step, decode_block, digest,
        encode_block, encode_record,
    },
    env::{CreateOptions, WriteOrigin},
};
use std::{hint::black_box, sync::Arc};

pub const CASES: &[Case] = &[
    Case::new("codec/xxh3-4k", "4 KiB", xxh3),
    Case::new("codec/lz4-compress-4k", "4 KiB", compress),
    Case::new("codec/lz4-decompress-4k", "4 KiB", decompress),
    Case::new("codec/frame-encode-16k", "block", frame_encode),
    Case::new("codec/frame-decode-16k", "block", frame_decode),
    Case::counted("codec/record-encode", "record", record_encode),
    Case::new("codec/record-read", "record", record_read),
];

/// Of a record: a put of a key of 16 bytes and its value.
const PAYLOAD_BYTES: usize = 24 + 8 + 16 + VALUE_BYTES;

/// Values one behind the other.
fn bytes(len: usize) -> Vec<u8> {
    (0..len.div_ceil(VALUE_BYTES)).flat_map(value).take(len).collect()
}

fn xxh3(meter: &mut Meter) {
    let bytes = bytes(4096);
    let items = meter.entries() / 10;
    meter.measure(
        items,
        || (),
        |()| {
            for _ in 0..items {
                black_box(digest(black_box(&bytes)));
            }
        },
    );
}

fn compress(meter: &mut Meter) {
    let raw = bytes(4096);
    let items = meter.entries() / 100;
    meter.measure(
        items,
        || (),
        |()| {
            for _ in 0..items {
                let (codec, _packed) = black_box(Compression::Lz4.compress(black_box(&raw)));
                assert_eq!(codec, Codec::Lz4);
            }
        },
    );
}

fn decompress(meter: &mut Meter) {
    let raw = bytes(4096);
    let packed = Compression::Lz4.compress(&raw).1.into_owned();
    let items = meter.entries() / 100;
    let prepare = || vec![packed.clone(); items];
    meter.measure(items, prepare, |stored| {
        for stored in stored.drain(..) {
            black_box(Codec::Lz4.decompress(stored, raw.len()).expect("it was just compressed"));
        }
    });
}

/// The sections of a data block: keys as they are, values compressed.
fn frame(out: &mut Vec<u8>, codec: &FileCodec, content: &[u8]) {
    let (keys, values) = content.split_at(content.len() / 4);
    let sections = [
        Section { raw: keys, compression: Compression::None },
        Section { raw: values, compression: Compression::Lz4 },
    ];
    encode_block(out, BlockKind::Data, codec, 64, &sections);
}

fn frame_encode(meter: &mut Meter) {
    let (codec, content) = (FileCodec::clear(Uuid([1; 16])), bytes(16 * 1024));
    let items = meter.entries() / 100;
    let prepare = || Vec::with_capacity(content.len() + 1024);
    meter.measure(items, prepare, |out| {
        for _ in 0..items {
            out.clear();
            frame(out, &codec, &content);
        }
    });
}

fn frame_decode(meter: &mut Meter) {
    let (codec, content) = (FileCodec::clear(Uuid([1; 16])), bytes(16 * 1024));
    let mut stored = Vec::new();
    frame(&mut stored, &codec, &content);
    let items = meter.entries() / 100;
    meter.measure(
        items,
        || (),
        |()| {
            for _ in 0..items {
                black_box(decode_block(&stored, BlockKind::Data, &codec, 64).expect("it was just framed"));
            }
        },
    );
}

/// Records of a log, one behind the other, from offset 64.
fn encode_records(out: &mut Vec<u8>, codec: &FileCodec, payload: &[u8], records: usize) {
    let synced_upto = LogPosition::START;
    for _ in 0..records {
        let at = 64 + out.len() as u64;
        encode_record(out, codec, at, Record { kind: 2, synced_upto, payload });
    }
}

fn record_encode(meter: &mut Meter) {
    let (codec, payload) = (FileCodec::clear(Uuid([1; 16])), bytes(PAYLOAD_BYTES));
    let records = meter.entries();
    let prepare = || Vec::with_capacity(records * (PAYLOAD_BYTES + 64));
    meter.measure(records, prepare, |out| encode_records(out, &codec, &payload, records));
}

fn record_read(meter: &mut Meter) {
    let (codec, payload) = (FileCodec::clear(Uuid([1; 16])), bytes(PAYLOAD_BYTES));
    let records = meter.entries();
    let mut log = Vec::new();
    encode_records(&mut log, &codec, &payload, records);
    let file = env().fs.create("log", &CreateOptions::new(WriteOrigin::Log)).expect("it is new");
    file.write_at(64, &log).expect("memory suffices");
    let end = 64 + log.len() as u64;
    let prepare = || RecordReader::new(Arc::clone(&file), codec.clone(), 64, end);
    meter.measure(records, prepare, |reader| {
        for _ in 0..records {
            let step = reader.step().expect("in memory");
            assert!(matches!(black_box(step), Step::Record { .. }));
        }
    });
}
