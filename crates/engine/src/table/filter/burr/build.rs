//! Building BuRR: the equations of each layer are brought into echelon form, bucket by bucket, and solved.

use super::{ALGORITHM, BUCKET_ROWS, Equation, GROUP_ROWS, MAX_COLUMNS, MAX_LAYERS, result_bit, start_hash};
use crate::table::filter::{
    hash::{KeyHash, place},
    lanes::{self, LANES},
};
use alloc::{vec, vec::Vec};

const HEADER_BYTES: usize = 16;
/// Keys that are few enough for a base.
const BASE_KEYS: usize = 96;
/// Places of a bucket whose keys are bumped under codes 1 and 2: what lies above `(0.78 + 1.30 e) * 128` and
/// `(0.91 + 0.75 e) * 128`, counted from the bucket's end, with the overload `e` of -0.05.
const SKIPS: [u8; 2] = [36, 16];
/// Rows of a layer for each 1024 keys: an overload of -0.05.
const ROWS_A_1024_KEYS: u64 = 973;
/// Bases that are tried, every second one with more rows.
const MAX_ATTEMPTS: u8 = 64;

/// The content of a filter of these keys with so many columns, 1 to [`MAX_COLUMNS`]. Equal input gives equal
/// bytes.
///
/// | bytes       | field                                                                     |
/// |-------------|---------------------------------------------------------------------------|
/// | 0           | algorithm: 2 = BuRR                                                       |
/// | 1           | `r`, columns, 1 to 16                                                     |
/// | 2           | `n`, layers that bump, 0 to 4                                             |
/// | 3           | attempt of the base                                                       |
/// | 4..6        | first places of a bucket whose keys code 1 bumps, and code 2              |
/// | 6..8        | zero                                                                      |
/// | 8..16       | keys                                                                      |
/// | 4 `n` + 4   | groups of 64 rows of each layer, and of the base: 2 or more; 0 = no base  |
/// | the codes   | of each layer, two bits a bucket, the first lowest, padded to a byte      |
/// | the rest    | words of each layer and the base: of each group one for each column       |
///
/// `None` if no base could be made, which no set of keys is known to lead to.
pub(in crate::table::filter) fn encode(hashes: &[KeyHash], columns: u8) -> Option<Vec<u8>> {
    assert!((1..=MAX_COLUMNS).contains(&columns), "a filter has 1 to 16 columns");
    let mut solved = Solved { groups: Vec::new(), codes: Vec::new(), words: Vec::new(), columns };
    let mut left = Vec::from(hashes);
    let mut layers = 0;
    while left.len() > BASE_KEYS && layers < MAX_LAYERS {
        let (rows, codes, bumped) = bumping_layer(&left, layers, columns);
        solved.add(&rows, &codes);
        left = bumped;
        layers += 1;
    }
    let (rows, attempt) = base(&left, layers, columns)?;
    solved.add(&rows, &[]);

    let words_bytes = solved.words.len() * 8;
    let mut bytes =
        Vec::with_capacity(HEADER_BYTES + 4 * solved.groups.len() + solved.codes.len() + words_bytes);
    let layers = u8::try_from(layers).expect("at most four");
    bytes.extend_from_slice(&[ALGORITHM, columns, layers, attempt, SKIPS[0], SKIPS[1], 0, 0]);
    bytes.extend_from_slice(&(hashes.len() as u64).to_le_bytes());
    bytes.extend(solved.groups.iter().flat_map(|groups| groups.to_le_bytes()));
    bytes.extend_from_slice(&solved.codes);
    bytes.extend(solved.words.iter().flat_map(|word| word.to_le_bytes()));
    Some(bytes)
}

/// About the size of what [`encode`] makes.
pub(in crate::table::filter) fn estimated_bytes(keys: usize, columns: u8) -> usize {
    HEADER_BYTES + (keys + keys / 128 + 256) * usize::from(columns) / 8
}

/// Where an equation went.
enum Inserted {
    /// Into this row.
    Row(usize),
    /// Those that are there imply it.
    Implied,
    /// Those that are there exclude it.
    Excluded,
}

/// Equations in echelon form: that in row `i` has its first coefficient there. A row without one has none.
struct Rows(Vec<Equation>);

impl Rows {
    fn new(groups: usize) -> Rows {
        Rows(vec![Rows::FREE; groups * GROUP_ROWS as usize])
    }

    const FREE: Equation = Equation { coefficients: 0, results: 0 };

    /// Starts lie below it, so that an equation ends inside, and a group follows that in which it starts.
    fn starts(&self) -> u64 {
        self.0.len() as u64 - GROUP_ROWS
    }

    /// Gaussian elimination on the fly (Dillinger, Walzer 2021).
    #[inline]
    fn insert(&mut self, start: u64, equation: Equation) -> Inserted {
        let Equation { mut coefficients, mut results } = equation;
        let mut at = start as usize;
        loop {
            let row = &mut self.0[at];
            if row.coefficients == 0 {
                *row = Equation { coefficients, results };
                return Inserted::Row(at);
            }
            coefficients ^= row.coefficients;
            results ^= row.results;
            if coefficients == 0 {
                return if results == 0 { Inserted::Implied } else { Inserted::Excluded };
            }
            let zeros = coefficients.trailing_zeros();
            coefficients >>= zeros;
            at += zeros as usize;
        }
    }
}

/// Rows of a layer of these keys, the code of each of its buckets, and keys that went into none.
fn bumping_layer(hashes: &[KeyHash], layer: usize, columns: u8) -> (Rows, Vec<u8>, Vec<KeyHash>) {
    let groups = (hashes.len() as u64 * ROWS_A_1024_KEYS / 1024).div_ceil(GROUP_ROWS).max(2);
    let mut rows = Rows::new(groups as usize);
    let starts = rows.starts();
    let used = used_results(columns);
    let start_of = |hash| place(start_hash(hash, layer, 0), starts);
    let sorted = Sorted::by_insertion(hashes, starts, start_of);

    let mut codes = Vec::with_capacity(sorted.buckets());
    let mut bumped = Vec::with_capacity(hashes.len() / 16);
    let mut inserted: Vec<(u8, usize)> = Vec::new(); // Place in the bucket, and row.
    for bucket in 0..sorted.buckets() {
        let keys = sorted.bucket(bucket);
        let mut code = 3;
        inserted.clear();
        for &hash in keys {
            let (start, equation) = (start_of(hash), Equation::of(hash));
            let place = (start % BUCKET_ROWS) as u8;
            let masked = Equation { results: equation.results & used, ..equation };
            match rows.insert(start, masked) {
                Inserted::Row(row) => inserted.push((place, row)),
                Inserted::Implied => {}
                Inserted::Excluded => {
                    code = (0..3).rev().find(|&code| place < skip(code)).expect("code 0 bumps all");
                    break;
                }
            }
        }
        if code < 3 {
            // Those of the last places came first, and no row depends on one that was filled later.
            while let Some((place, row)) = inserted.pop()
                && place < skip(code)
            {
                rows.0[row] = Rows::FREE;
            }
            let kept = keys.partition_point(|&hash| (start_of(hash) % BUCKET_ROWS) as u8 >= skip(code));
            bumped.extend_from_slice(&keys[kept..]);
        }
        codes.push(code);
    }
    (rows, codes, bumped)
}

/// Keys whose starts are in so many first places of a bucket are bumped.
fn skip(code: u8) -> u8 {
    [BUCKET_ROWS as u8, SKIPS[0], SKIPS[1], 0][usize::from(code)]
}

/// The bits of results that belong to a column.
fn used_results(columns: u8) -> u16 {
    (0..usize::from(columns)).fold(0, |bits, column| bits | 1 << result_bit(column))
}

/// Hashes by bucket, and within a bucket by start, the last first: a layer takes them in this order.
struct Sorted {
    hashes: Vec<KeyHash>,
    /// Where those of each start end: of start `s` at index `s ^ 127`.
    ends: Vec<u32>,
}

impl Sorted {
    /// A counting sort, stable.
    fn by_insertion(hashes: &[KeyHash], starts: u64, start_of: impl Fn(KeyHash) -> u64) -> Sorted {
        let order = |hash| (start_of(hash) ^ (BUCKET_ROWS - 1)) as usize;
        let mut ends = vec![0_u32; starts.next_multiple_of(BUCKET_ROWS) as usize];
        for &hash in hashes {
            ends[order(hash)] += 1;
        }
        let mut before = 0;
        for end in &mut ends {
            before += core::mem::replace(end, before);
        }
        let mut sorted = vec![KeyHash(0); hashes.len()];
        for &hash in hashes {
            let end = &mut ends[order(hash)];
            sorted[*end as usize] = hash;
            *end += 1;
        }
        Sorted { hashes: sorted, ends }
    }

    fn buckets(&self) -> usize {
        self.ends.len() / BUCKET_ROWS as usize
    }

    fn bucket(&self, bucket: usize) -> &[KeyHash] {
        let first = bucket * BUCKET_ROWS as usize;
        let from = if first == 0 { 0 } else { self.ends[first - 1] };
        &self.hashes[from as usize..self.ends[first + BUCKET_ROWS as usize - 1] as usize]
    }
}

/// Rows in which all equations hold, and the attempt that found them. No rows for no keys.
fn base(hashes: &[KeyHash], layer: usize, columns: u8) -> Option<(Rows, u8)> {
    if hashes.is_empty() {
        return Some((Rows::new(0), 0));
    }
    let used = used_results(columns);
    let least_groups = (hashes.len() + hashes.len() / 16 + 48).div_ceil(GROUP_ROWS as usize).max(2);
    for attempt in 0..MAX_ATTEMPTS {
        let mut rows = Rows::new(least_groups + usize::from(attempt / 2));
        let starts = rows.starts();
        let holds = |&hash: &KeyHash| {
            let equation = Equation::of(hash);
            let masked = Equation { results: equation.results & used, ..equation };
            let start = place(start_hash(hash, layer, attempt), starts);
            !matches!(rows.insert(start, masked), Inserted::Excluded)
        };
        if hashes.iter().all(holds) {
            return Some((rows, attempt));
        }
    }
    None
}

/// Layers as they are stored.
struct Solved {
    /// Of each layer.
    groups: Vec<u32>,
    codes: Vec<u8>,
    words: Vec<u64>,
    columns: u8,
}

impl Solved {
    fn add(&mut self, rows: &Rows, codes: &[u8]) {
        let pack = |codes: &[u8]| codes.iter().rev().fold(0, |packed, code| packed << 2 | code);
        self.codes.extend(codes.chunks(4).map(pack));
        let groups = rows.0.len() / GROUP_ROWS as usize;
        self.groups.push(u32::try_from(groups).expect("keys of a table are fewer than 2^32"));
        self.solve(rows);
    }

    /// Back substitution, from the last row on.
    fn solve(&mut self, rows: &Rows) {
        let columns = usize::from(self.columns);
        let words_at = self.words.len();
        self.words.resize(words_at + rows.0.len() / GROUP_ROWS as usize * columns, 0);
        for first in (0..columns).step_by(LANES) {
            let used = (columns - first).min(LANES);
            // Of each column the solution of the 64 rows behind the present one, the nearest lowest.
            let mut behind = [0_u64; LANES];
            let groups = rows.0.chunks_exact(GROUP_ROWS as usize);
            let stored = self.words[words_at..].chunks_exact_mut(columns);
            for (group, stored) in groups.zip(stored).rev() {
                for row in group.iter().rev() {
                    let others = row.coefficients >> 1;
                    let known = lanes::parities(&behind, &[0; LANES], others, 0);
                    let bits = known ^ (row.results >> (first / LANES));
                    for (lane, column) in behind.iter_mut().enumerate() {
                        *column = *column << 1 | u64::from(bits >> lanes::bit(lane) & 1);
                    }
                }
                stored[first..first + used].copy_from_slice(&behind[..used]);
            }
        }
    }
}
