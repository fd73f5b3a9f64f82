//! Compression and checksums of one block.

use super::{Effort, best_ns, limit, scattered};
use crate::Result;
use crate::record::Limit;
use std::hint::black_box;

const BLOCK_BYTES: usize = 4096;

pub fn measure(effort: &Effort) -> Result<Vec<Limit>> {
    let calls_count = effort.calls_count / 4 + 1;
    let block = half_compressible();
    let mut packed = vec![0; lz4_flex::block::get_maximum_output_size(BLOCK_BYTES)];
    let mut packed_bytes = 0;
    let compress_ns = best_ns(calls_count, |_| {
        packed_bytes = lz4_flex::block::compress_into(black_box(&block), &mut packed)?;
        Ok(())
    })?;
    packed.truncate(packed_bytes);
    let mut unpacked = vec![0; BLOCK_BYTES];
    let decompress_ns = best_ns(calls_count, |_| {
        lz4_flex::block::decompress_into(black_box(&packed), &mut unpacked)?;
        Ok(())
    })?;
    if unpacked != block {
        return Err("LZ4: what was decompressed differs from what was compressed".into());
    }
    let xxh3_ns = best_ns(calls_count, |_| {
        black_box(twox_hash::XxHash3_64::oneshot(black_box(&block)));
        Ok(())
    })?;
    let crc_ns = best_ns(calls_count, |_| {
        black_box(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, black_box(&block)));
        Ok(())
    })?;
    let share = packed.len() as f64 / BLOCK_BYTES as f64 * 100.0;
    let compress = format!("lz4_flex, 4 KiB to {share:.0} % of them; best of 5 batches");
    Ok(vec![
        limit("LZ4 compress", &compress, compress_ns, "ns"),
        limit(
            "LZ4 decompress",
            "lz4_flex without unsafe code, the same block; best of 5 batches",
            decompress_ns,
            "ns",
        ),
        limit("XXH3-64", "twox-hash, 4 KiB; best of 5 batches", xxh3_ns, "ns"),
        limit("CRC-32C", "crc-fast, 4 KiB; best of 5 batches", crc_ns, "ns"),
    ])
}

/// Of each 100 bytes, the first 50 random and the others zeros.
fn half_compressible() -> Vec<u8> {
    (0..BLOCK_BYTES).map(|index| if index % 100 < 50 { scattered(index as u64) as u8 } else { 0 }).collect()
}
