//! The corruption sweep as far as it fits into every run of the tests: a program of its own, because its
//! allocator counts. `cargo run --release -p testkit --bin corrupt` is the long version.

use isopach::engine::codec::Codec;
use testkit::{
    allocations::Counting,
    corruption::{
        Density, FileClass, Outcome, Passes, Plan, examine, forge_log, forge_table, subjects, sweep,
    },
    seeds,
};

#[global_allocator]
static HEAP: Counting = Counting;

#[test]
fn a_damaged_database_gives_right_values_or_errors_that_name_the_place() {
    for seed in seeds(1) {
        let swept = sweep(Plan { seed, density: Density::AtMost(40), write_every: 8, threads: 2 });

        println!("{swept}");
        assert!(swept.violations.is_empty(), "ISOPACH_SEED={seed}: {:#?}", swept.violations);
        // It looked at what it was to look at.
        assert!(swept.total() > 5_000 && swept.written > 500, "{swept}");
        for (outcome, least) in [
            (Outcome::Unused, 100),
            (Outcome::Verified, 100),
            (Outcome::Equivalent, 10),
            (Outcome::Prefix, 20),
            (Outcome::ReadError, 2_000),
            (Outcome::Refused, 1_500),
        ] {
            assert!(swept.of(outcome) >= least, "{}: fewer than {least}\n{swept}", outcome.name());
        }
        let are_dictionaries_there = Codec::ZstdDictionary.is_available();
        for class in
            FileClass::READ.into_iter().filter(|&it| it != FileClass::Dictionary || are_dictionaries_there)
        {
            let hit: usize =
                swept.counts.iter().filter(|((of, ..), _)| *of == class).map(|(_, count)| count).sum();
            assert!(hit > 200, "{}: {hit} damages\n{swept}", class.name());
        }
    }
}

#[test]
fn a_sound_database_passes_and_takes_little_memory() {
    for seed in seeds(1) {
        for subject in subjects(seed) {
            let examined = examine(&subject, &subject.image, Passes::ReadAndWrite)
                .unwrap_or_else(|why| panic!("ISOPACH_SEED={seed}: {}: {why}", subject.name));

            assert_eq!(examined.outcome, Outcome::Unused, "{}", subject.name);
            let limit = 4 * subject.image.size_bytes() + (2 << 20);
            assert!(examined.peak_bytes < limit, "{}: {} bytes", subject.name, examined.peak_bytes);
        }
    }
}

#[test]
fn a_value_that_was_forged_with_its_checksums_is_called_wrong() {
    for seed in seeds(1) {
        let mut forged = 0;
        for subject in subjects(seed) {
            for (name, _) in subject.image.files() {
                let mut image = subject.image.clone();
                let is_forged = match FileClass::of(name) {
                    FileClass::Table => forge_table(&mut image, name),
                    FileClass::Log => forge_log(&mut image, name),
                    _ => false,
                };
                if !is_forged {
                    continue;
                }

                let examined = examine(&subject, &image, Passes::Read);

                // A value that a newer one hides is not wrong; what the whole file should be is known all the
                // same.
                match examined {
                    Err(why) => {
                        forged += usize::from(why.contains(" is Some(") || why.contains("and it opens"))
                    }
                    Ok(examined) => assert_eq!(examined.outcome, Outcome::Verified, "{name}"),
                }
            }
        }
        assert!(forged >= 4, "ISOPACH_SEED={seed}: only {forged} forged values were called wrong");
    }
}
