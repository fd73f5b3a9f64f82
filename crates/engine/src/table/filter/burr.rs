//! Bumped ribbon retrieval, BuRR (Dillinger, Hübschle-Schneider, Sanders, Walzer 2022): about `r` bits a key
//! for one false positive in `2^r`. Layout: `docs/format.md` §4.3.
//!
//! Retrieval: a key has an equation in each of `r` columns of bits. It says that the XOR of those of 64 bits,
//! from the key's *start* on, which its *coefficients* choose, is the key's *result*. A solution of all
//! equations is the filter: that of a foreign key holds in a column by chance, one half.
//!
//! Bumping: there are 5 % fewer rows than keys, so that hardly any stays unused. Starts lie in buckets of 128
//! rows; of a bucket with too many equations the keys whose starts are among its first 16, its first 36, or
//! all 128 go to the next layer, which is a filter of those. Two bits a bucket say so. What the last layer
//! bumps goes into a *base*, which has rows to spare, and is made anew with more until all equations hold.
//!
//! Interleaved storage: of each 64 rows the words of all columns lie behind each other, so that a probe reads
//! `16 r` bytes at one place.

mod build;

pub(super) use build::{encode, estimated_bytes};

use super::{
    hash::{KeyHash, fold, place},
    lanes::{self, LANES},
};
use crate::codec::{Corruption, Reader};
use alloc::vec::Vec;

pub(super) const ALGORITHM: u8 = 2;

/// Columns that a filter may have.
pub(super) const MAX_COLUMNS: u8 = 16;
/// Layers that bump, at most.
const MAX_LAYERS: usize = 4;
/// Rows of a bucket.
const BUCKET_ROWS: u64 = 128;
/// Rows of a group, whose bits of one column are a word; also how far an equation reaches.
const GROUP_ROWS: u64 = 64;

/// A filter in memory.
pub(super) struct Burr {
    /// Solutions of all layers and the base, and behind them zeros that probes of few columns may read.
    words: Vec<u64>,
    /// Codes of all layers, four in a byte.
    codes: Vec<u8>,
    layers: Vec<Layer>,
    base: Option<Layer>,
    attempt: u8,
    columns: usize,
    /// Of each eight columns, the bits of their results.
    used: [u16; 2],
    /// By code: keys whose starts are in so many first places of a bucket were bumped.
    skips: [u8; 4],
}

/// A layer of a filter in memory.
struct Layer {
    /// Starts lie below it.
    starts: u64,
    /// First word of its solution.
    words_at: usize,
    /// First byte of its codes.
    codes_at: usize,
}

impl Burr {
    /// Reads what [`encode`] made.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub(super) fn decode(bytes: &[u8]) -> Result<Burr, Corruption> {
        const OUT_OF_BOUNDS: Corruption = Corruption("a BuRR filter's parameters are out of bounds");
        let mut fields = Reader::new(bytes);
        let (algorithm, columns, bumping, attempt) = (fields.u8()?, fields.u8()?, fields.u8()?, fields.u8()?);
        let (skip_1, skip_2, zero) = (fields.u8()?, fields.u8()?, fields.u16()?);
        let _keys = fields.u64()?;
        let bumping = usize::from(bumping);
        if algorithm != ALGORITHM
            || zero != 0
            || !(1..=MAX_COLUMNS).contains(&columns)
            || bumping > MAX_LAYERS
        {
            return Err(OUT_OF_BOUNDS);
        }
        if u64::from(skip_1) > BUCKET_ROWS || skip_2 > skip_1 {
            return Err(OUT_OF_BOUNDS);
        }
        let (mut words_end, mut codes_end) = (0_u64, 0_u64);
        let mut layers = Vec::with_capacity(bumping + 1);
        for number in 0..=bumping {
            let groups = u64::from(fields.u32()?);
            let is_base = number == bumping;
            if groups < 2 && !(is_base && groups == 0) {
                return Err(OUT_OF_BOUNDS);
            }
            let starts = groups.saturating_sub(1) * GROUP_ROWS;
            layers.push((starts, words_end, codes_end));
            words_end += groups * u64::from(columns);
            if !is_base {
                codes_end += starts.div_ceil(BUCKET_ROWS).div_ceil(4);
            }
        }
        if fields.remaining() as u64 != codes_end + words_end * 8 {
            return Err(Corruption("a BuRR filter has another size than its layers"));
        }
        // What follows fits in the bytes that are there.
        let layer = |(starts, words_at, codes_at): (u64, u64, u64)| Layer {
            starts,
            words_at: words_at as usize,
            codes_at: codes_at as usize,
        };
        let mut layers: Vec<Layer> = layers.into_iter().map(layer).collect();
        let base = layers.pop().filter(|base| base.starts != 0);
        let codes = Vec::from(fields.bytes(codes_end as usize)?);
        let mut words = Vec::with_capacity(words_end as usize + 2 * LANES);
        let (stored, _) = fields.bytes(fields.remaining())?.as_chunks();
        words.extend(stored.iter().map(|&word| u64::from_le_bytes(word)));
        words.resize(words_end as usize + 2 * LANES, 0);
        Ok(Burr {
            words,
            codes,
            layers,
            base,
            attempt,
            columns: usize::from(columns),
            used: [used_lanes(columns, 0), used_lanes(columns, 1)],
            skips: [BUCKET_ROWS as u8, skip_1, skip_2, 0],
        })
    }

    /// `false`: no such key was added.
    #[inline]
    pub(super) fn may_contain(&self, hash: KeyHash) -> bool {
        let equation = Equation::of(hash);
        if let Some(first) = self.layers.first() {
            let start = place(hash.0, first.starts);
            if !self.is_bumped(first, start) {
                return self.holds(first, start, equation);
            }
        }
        self.may_contain_bumped(hash, equation)
    }

    /// About one in twenty comes here.
    #[cold]
    fn may_contain_bumped(&self, hash: KeyHash, equation: Equation) -> bool {
        for (number, layer) in self.layers.iter().enumerate().skip(1) {
            let start = place(start_hash(hash, number, 0), layer.starts);
            if !self.is_bumped(layer, start) {
                return self.holds(layer, start, equation);
            }
        }
        let Some(base) = &self.base else { return false };
        let start = place(start_hash(hash, self.layers.len(), self.attempt), base.starts);
        self.holds(base, start, equation)
    }

    #[inline]
    fn is_bumped(&self, layer: &Layer, start: u64) -> bool {
        let bucket = (start / BUCKET_ROWS) as usize;
        let code = self.codes[layer.codes_at + bucket / 4] >> (bucket % 4 * 2) & 3;
        ((start % BUCKET_ROWS) as u8) < self.skips[usize::from(code)]
    }

    /// Whether the equation holds in all columns.
    #[inline(always)]
    fn holds(&self, layer: &Layer, start: u64, equation: Equation) -> bool {
        let at = layer.words_at + (start / GROUP_ROWS) as usize * self.columns;
        let shift = start % GROUP_ROWS;
        let low = equation.coefficients << shift;
        let high = equation.coefficients >> 1 >> (GROUP_ROWS - 1 - shift);
        let holds_from = |at: usize, results: u16, used: u16| {
            let parities = lanes::parities(self.lanes(at), self.lanes(at + self.columns), low, high);
            (parities ^ results) & used == 0
        };
        holds_from(at, equation.results, self.used[0])
            && (self.columns <= LANES || holds_from(at + LANES, equation.results >> 1, self.used[1]))
    }

    #[inline(always)]
    fn lanes(&self, at: usize) -> &[u64; LANES] {
        self.words[at..].first_chunk().expect("zeros follow the words")
    }

    /// Size in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.words.capacity() * 8 + self.codes.capacity() + self.layers.capacity() * size_of::<Layer>()
    }
}

/// The equation of a key, whatever its start.
#[derive(Clone, Copy)]
struct Equation {
    /// The lowest is 1.
    coefficients: u64,
    /// Of each column a bit, see [`result_bit`].
    results: u16,
}

impl Equation {
    #[inline]
    fn of(hash: KeyHash) -> Equation {
        let mixed = fold(hash.0, 0x9E37_79B9_7F4A_7C15);
        Equation {
            coefficients: mixed | 1,
            results: (mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 48) as u16,
        }
    }
}

/// What starts are made of in layer `layer`; of a base by its `attempt`.
#[inline]
fn start_hash(hash: KeyHash, layer: usize, attempt: u8) -> u64 {
    if layer == 0 && attempt == 0 {
        return hash.0;
    }
    let salt = ((layer as u64) << 8 | u64::from(attempt)).wrapping_mul(0xA076_1D64_78BD_642F);
    fold(hash.0 ^ salt, 0xE703_7ED1_A0B4_28DB)
}

/// The bit of results that belongs to a column.
fn result_bit(column: usize) -> usize {
    lanes::bit(column % LANES) + column / LANES
}

/// The bits of the results of the columns from `8 group` on, less `group`.
fn used_lanes(columns: u8, group: usize) -> u16 {
    let used = usize::from(columns).saturating_sub(LANES * group).min(LANES);
    (0..used).fold(0, |bits, column| bits | 1 << lanes::bit(column))
}
