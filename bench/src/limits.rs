//! What the machine and the parts that engines are made of can do at most: no engine goes beyond.
//!
//! Every limit is measured in its own way, which its line tells; all together take less than 25 seconds.

mod codecs;
mod disk;
mod maps;
mod memory;

use crate::Result;
use crate::record::Limit;
use std::{path::Path, time::Duration, time::Instant};

/// Measures in `dir`, which exists; leaves nothing there.
pub fn measure(dir: &Path) -> Result<Vec<Limit>> {
    measure_with(dir, &FULL)
}

/// How much of everything is done.
struct Effort {
    /// Most syncs of one kind, and the longest that they may take.
    syncs_count: usize,
    syncs_limit: Duration,
    /// Of the file that is written in sequence and read at random.
    file_bytes: usize,
    /// Of each side of a copy.
    copy_bytes: usize,
    /// Of the memory that is hopped through.
    hop_bytes: usize,
    /// Of the maps.
    entries_count: usize,
    /// Calls between two looks at the clock, for what takes nanoseconds.
    calls_count: usize,
}

const FULL: Effort = Effort {
    syncs_count: 500,
    syncs_limit: Duration::from_secs(2),
    file_bytes: 128 << 20,
    copy_bytes: 64 << 20,
    hop_bytes: 256 << 20,
    entries_count: 1_000_000,
    calls_count: 20_000,
};

fn measure_with(dir: &Path, effort: &Effort) -> Result<Vec<Limit>> {
    let mut limits = disk::measure(dir, effort)?;
    limits.extend(memory::measure(effort));
    limits.extend(maps::measure(effort)?);
    limits.extend(codecs::measure(effort)?);
    Ok(limits)
}

fn limit(name: &str, what: &str, value: f64, unit: &str) -> Limit {
    Limit { name: name.into(), what: what.into(), value, unit: unit.into() }
}

/// Batches of which the best is taken.
const BATCHES_COUNT: usize = 5;

/// Nanoseconds of one call of `work`, in the best of five batches of `calls_count`. `work` gets the number of
/// its call.
fn best_ns(calls_count: usize, mut work: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let mut best_ns = f64::INFINITY;
    for batch in 0..BATCHES_COUNT {
        let begin = Instant::now();
        for call in 0..calls_count {
            work(batch * calls_count + call)?;
        }
        best_ns = best_ns.min(begin.elapsed().as_nanos() as f64 / calls_count as f64);
    }
    Ok(best_ns)
}

/// A number that depends on all bits of `index` and looks random: the output function of SplitMix64 (Steele,
/// Lea and Flood, 2014).
fn scattered(index: u64) -> u64 {
    let mut mixed = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, env, fs, process};

    const SMALL: Effort = Effort {
        syncs_count: 3,
        syncs_limit: Duration::from_secs(2),
        file_bytes: 64 << 10,
        copy_bytes: 64 << 10,
        hop_bytes: 64 << 10,
        entries_count: 100,
        calls_count: 10,
    };

    #[test]
    fn limits_are_positive_and_leave_nothing_behind() {
        let dir = env::temp_dir().join(format!("isopach-bench-limits-{}", process::id()));
        fs::create_dir(&dir).unwrap();

        let limits = measure_with(&dir, &SMALL).unwrap();

        let left = fs::read_dir(&dir).unwrap().count();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(left, 0, "files left");
        let names: BTreeSet<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
        assert_eq!(names.len(), limits.len(), "names are unique: {limits:?}");
        for limit in &limits {
            assert!(limit.value.is_finite() && limit.value > 0.0, "{limit:?}");
        }
    }

    #[test]
    fn missing_directory_is_named() {
        let error = measure(Path::new("/nonexistent/isopach-bench")).unwrap_err().to_string();

        assert!(error.starts_with("/nonexistent/isopach-bench/"), "{error}");
    }
}
