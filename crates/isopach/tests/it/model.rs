//! Random operations on a database and on the oracle: every answer must be the same, under every set of
//! options.

mod option_set;
mod scans;

mod driver;

use driver::Driver;
use isopach::{
    Compression, Durability, FilterPolicy, PerLevel,
    env::{Env, MemFs, OsFs},
};
use option_set::OptionSet;
use testkit::db::env_of;
use testkit::{Rng, TempDir, seeds};

/// Options that must not show in any answer.
fn option_sets() -> Vec<OptionSet> {
    let base = OptionSet::default;
    vec![
        base(),
        OptionSet { threads: 1, filters: FilterPolicy::None, ..base() },
        OptionSet { threads: 4, cache_bytes: 0, compression: Compression::None, ..base() },
        OptionSet { write_buffer_bytes: 128 << 10, block_bytes: 64 << 10, ..base() },
        OptionSet { durability: Durability::Sync, filters: FilterPolicy::BitsPerKey(2.0), ..base() },
        OptionSet { table_bytes: 1 << 20, max_open_files: 16, compression: Compression::Lz4, ..base() },
    ]
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
    for seed in seeds(6) {
        let sets = option_sets();
        let options = sets[(seed % sets.len() as u64) as usize].clone();
        run(seed, 1500, options, env_of(MemFs::new()));
    }
}

#[test]
fn random_operations_on_much_data_are_answered_as_by_the_oracle() {
    for seed in seeds(3) {
        let sets = option_sets();
        let options =
            OptionSet { table_bytes: 64 << 10, ..sets[(seed % sets.len() as u64) as usize].clone() };
        let _told = ToldIfFailed(seed, format!("{options:?}"));
        Driver::new(Rng::new(seed), options, env_of(MemFs::new())).wide().run(1500);
    }
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
