//! Random operations on a database and on the oracle: every answer must be the same, under every set of
//! options.

mod option_set;
mod scans;

mod driver;

use driver::{Counts, Driver};
use isopach::{
    Compression, Durability, FilterPolicy, KeepVersions, PerLevel, ReverseByteOrder,
    engine::order::KeyOrder,
    env::{Env, MemFs, OsFs},
};
use option_set::{ByLength, FIRST_BYTES, OptionSet};
use std::sync::Arc;
use testkit::db::env_of;
use testkit::{Rng, TempDir, seeds};

/// Options that must not show in any answer.
fn option_sets() -> Vec<OptionSet> {
    let base = OptionSet::default;
    vec![
        base(),
        OptionSet { threads: 1, filters: FilterPolicy::None, ..base() },
        OptionSet {
            threads: 4,
            cache_bytes: 0,
            compression: Compression::None,
            blobs_from_bytes: Some(64),
            prefix_extractor: Some("isopach.delimited.47"),
            ..base()
        },
        OptionSet { threads: 3, keep_versions: KeepVersions::All, blobs_from_bytes: Some(100), ..base() },
        OptionSet { write_buffer_bytes: 128 << 10, block_bytes: 64 << 10, entry_checksums: true, ..base() },
        OptionSet {
            durability: Durability::Sync,
            filters: FilterPolicy::BitsPerKey(2.0),
            blobs_from_bytes: Some(200),
            prefix_extractor: Some(FIRST_BYTES),
            ..base()
        },
        OptionSet { table_bytes: 1 << 20, max_open_files: 16, compression: Compression::Lz4, ..base() },
    ]
}

/// Runs that did less say little; so many of them separate values.
fn assert_enough(counts: &Counts, runs: u64, separating: u64) {
    println!("{runs} runs: {counts:?}");
    assert!(counts.operations >= 1500 * runs, "{counts:?}");
    assert!(counts.range_deletes >= 5 * runs, "{counts:?}");
    assert!(counts.old_reads >= runs, "{counts:?}");
    assert!(counts.crashes >= runs, "{counts:?}");
    assert!(counts.separated >= 10 * separating, "{counts:?}");
}

fn run(seed: u64, operations: usize, options: OptionSet, env: Env) {
    let _told = ToldIfFailed(seed, format!("{options:?}"));
    Driver::new(Rng::new(seed), options, env).run(operations);
}

/// Says how to repeat a run when a panic passes by.
struct ToldIfFailed(u64, String);

impl Drop for ToldIfFailed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with ISOPACH_SEED={} and {}", self.0, self.1);
        }
    }
}

#[test]
fn random_operations_are_answered_as_by_the_oracle() {
    let (mut counts, mut runs, mut separating) = (Counts::default(), 0, 0);
    for seed in seeds(6) {
        let sets = option_sets();
        let options = sets[(seed % sets.len() as u64) as usize].clone();
        separating += u64::from(options.blobs_from_bytes.is_some());
        let _told = ToldIfFailed(seed, format!("{options:?}"));
        counts += Driver::crashing(Rng::new(seed), options).run(1500);
        runs += 1;
    }
    assert_enough(&counts, runs, separating);
}

#[test]
fn random_operations_on_much_data_are_answered_as_by_the_oracle() {
    let (mut counts, mut runs, mut separating) = (Counts::default(), 0, 0);
    for seed in seeds(3) {
        let sets = option_sets();
        let options =
            OptionSet { table_bytes: 64 << 10, ..sets[(seed % sets.len() as u64) as usize].clone() };
        separating += u64::from(options.blobs_from_bytes.is_some());
        let _told = ToldIfFailed(seed, format!("{options:?}"));
        counts += Driver::crashing(Rng::new(seed), options).wide().run(1500);
        runs += 1;
    }
    assert_enough(&counts, runs, separating);
}

/// Each order, with few keys and with many.
#[test]
fn random_operations_in_other_orders_of_keys_are_answered_as_by_the_oracle() {
    let (mut counts, mut runs, mut separating) = (Counts::default(), 0, 0);
    for seed in seeds(6) {
        for order in [KeyOrder::of(Arc::new(ReverseByteOrder)), KeyOrder::of(Arc::new(ByLength))] {
            let sets = option_sets();
            let set = sets[(seed % sets.len() as u64) as usize].clone();
            let options = OptionSet { order, prefix_extractor: None, table_bytes: 64 << 10, ..set };
            separating += u64::from(options.blobs_from_bytes.is_some());
            let _told = ToldIfFailed(seed, format!("{options:?}"));
            let driver = Driver::crashing(Rng::new(seed), options);
            let driver = if seed % 2 == 0 { driver } else { driver.wide() };
            counts += driver.run(1500);
            runs += 1;
        }
    }
    assert_enough(&counts, runs, separating);
}

#[test]
fn one_run_of_operations_has_the_same_answers_under_every_set_of_options() {
    for seed in seeds(1) {
        for options in option_sets() {
            run(seed, 600, options, env_of(MemFs::new()));
        }
    }
}

#[test]
fn random_operations_on_files_of_the_system_are_answered_as_by_the_oracle() {
    for seed in seeds(1) {
        let dir = TempDir::new();
        let fs = OsFs::create(dir.path().join("db")).unwrap();
        run(seed, 500, OptionSet::default(), env_of(fs));
    }
}

#[test]
fn options_per_level_show_in_no_answer() {
    for seed in seeds(1) {
        let options = OptionSet {
            per_level: Some((
                PerLevel(vec![Compression::Lz4, Compression::None]),
                PerLevel(vec![4 << 10, 16 << 10, 8 << 10]),
            )),
            ..OptionSet::default()
        };
        run(seed, 600, options, env_of(MemFs::new()));
    }
}
