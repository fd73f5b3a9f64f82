//! Every target on damaged copies of its sound inputs. `ISOPACH_FUZZ_SECS=60` goes on for a minute with each.

use crate::turns;
use std::{env, time::Duration};
use testkit::{
    fuzz::{self, Budget, Counted, TARGETS},
    seeds,
};

macro_rules! tests {
    ($($name:ident: $cases:literal;)*) => {
        $(#[test] fn $name() { drive(stringify!($name), $cases); })*

        #[test]
        fn every_target_is_driven() {
            let driven = [$(stringify!($name)),*];

            assert!(TARGETS.iter().map(|target| target.name).eq(driven));
        }
    };
}

tests! {
    file_header: 200_000;
    block_frame: 100_000;
    section: 100_000;
    sealed_frame: 20_000;
    parity: 5_000;
    tlv: 200_000;
    records: 100_000;
    fault_rules: 100_000;
    table_meta: 200_000;
    table_footer: 100_000;
    table_index: 100_000;
    table_filter: 100_000;
    table_ranges: 100_000;
    table_statistics: 100_000;
    table_properties: 100_000;
    table_data_block: 50_000;
    table_file: 10_000;
    dictionary_file: 20_000;
    blob_file: 20_000;
    blob_pointer: 200_000;
    edit: 100_000;
    manifest: 20_000;
    log_record: 200_000;
    log_segment: 20_000;
    batch: 100_000;
    keyspace_change: 200_000;
    notes: 100_000;
    options: 100_000;
    open_image: 600;
    mutated_database: 1_500;
    sealed_database: 500;
    operations: 250;
    typed: 200_000;
}

fn drive(name: &str, cases: u64) {
    let target = fuzz::target(name);
    let seconds = env::var("ISOPACH_FUZZ_SECS").ok().map(|text| text.parse().expect("a number of seconds"));
    let budget = seconds.map_or(Budget::Cases(cases), |seconds| Budget::Time(Duration::from_secs(seconds)));
    let _turn = match target.memory.counted {
        Counted::Thread => turns::beside_others(),
        Counted::Process => turns::alone(),
    };
    for seed in seeds(1) {
        let start = std::time::Instant::now();
        let driven = fuzz::drive(target, seed, budget);
        eprintln!("{name}: {driven:?} in {:?}", start.elapsed());
        assert!(driven.cases > 0);
    }
}
