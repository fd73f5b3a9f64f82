//! Reed-Solomon over the shards of a stripe, by `reed-solomon-simd`.

use super::layout::Shards;
use alloc::vec::Vec;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

pub(super) const IS_AVAILABLE: bool = true;

/// Makes the shards of parity.
pub(super) struct Encoder(Option<ReedSolomonEncoder>);

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder(None)
    }

    /// Calls `with` with each shard of parity of a stripe, whose shards of data are these bytes.
    pub(super) fn encode(&mut self, shards: Shards, data: &[u8], with: &mut dyn FnMut(&[u8])) {
        const BOUNDED: &str = "numbers of shards are bounded, and their size is even";
        let shard_bytes = data.len() / shards.data;
        let encoder = match &mut self.0 {
            Some(encoder) => {
                encoder.reset(shards.data, shards.parity, shard_bytes).expect(BOUNDED);
                encoder
            }
            none => {
                none.insert(ReedSolomonEncoder::new(shards.data, shards.parity, shard_bytes).expect(BOUNDED))
            }
        };
        for shard in data.chunks_exact(shard_bytes) {
            encoder.add_original_shard(shard).expect(BOUNDED);
        }
        encoder.encode().expect(BOUNDED).recovery_iter().for_each(with);
    }
}

/// Restores the shards of data at `lost` from the others and from those of parity. Whether that was possible.
pub(super) fn restore(shards: Shards, data: &mut [u8], lost: &[usize], parity: &[(usize, Vec<u8>)]) -> bool {
    let shard_bytes = data.len() / shards.data;
    let restored = || {
        let mut decoder = ReedSolomonDecoder::new(shards.data, shards.parity, shard_bytes).ok()?;
        for (at, shard) in data.chunks_exact(shard_bytes).enumerate().filter(|(at, _)| !lost.contains(at)) {
            decoder.add_original_shard(at, shard).ok()?;
        }
        for (at, shard) in parity.iter().take(lost.len()) {
            decoder.add_recovery_shard(*at, shard).ok()?;
        }
        let decoded = decoder.decode().ok()?;
        Some(decoded.restored_original_iter().map(|(at, shard)| (at, Vec::from(shard))).collect::<Vec<_>>())
    };
    let Some(restored) = restored() else { return false };
    for (at, shard) in restored {
        data[at * shard_bytes..][..shard_bytes].copy_from_slice(&shard);
    }
    true
}
