//! Crashes of encrypted databases: at none of them lies anything in clear, and a rotation that was finished needs no other key.

use isopach::env::CrashFs;
use testkit::{
    Rng,
    crash::{Act, Crash, Ledger, Pace, Plan, Run, explore},
    seeds,
};

const CRASHES: [Crash; 2] = [Crash::Process, Crash::Power { images: 2 }];

/// What brings planted keys, values and names everywhere, compressed and not.
const EVERYWHERE: [Act; 14] = [
    Act::Batch,
    Act::Fill,
    Act::Merge,
    Act::Flush,
    Act::Load,
    Act::Compact,
    Act::RemoveRange,
    Act::Checkpoint,
    Act::BatchSync,
    Act::Fill,
    Act::Clear,
    Act::Drop,
    Act::Train,
    Act::Fill,
];

#[test]
fn nothing_is_in_clear_after_a_crash() {
    let mut images = 0;
    for seed in seeds(1) {
        for crash in CRASHES {
            let files = CrashFs::new();
            let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed)).planting();
            run.encrypt(1);
            let explored = explore(&files, &mut run, Plan::new(seed, crash).one_in(2), |run| {
                run.perform(&EVERYWHERE);
                run.perform(&[Act::Abandon, Act::Flush, Act::Compact, Act::Wait]);
                run.close();
            });
            images += explored.unwrap_or_else(|violation| panic!("{violation}")).images;
        }
    }
    eprintln!("{images} images were searched");
    assert!(images > 200, "{images} images");
}

#[test]
fn what_is_in_clear_is_found() {
    let files = CrashFs::new();
    let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(1)).planting();

    let explored = explore(&files, &mut run, Plan::new(1, Crash::Process), |run| {
        run.perform(&[Act::Batch, Act::Fill, Act::Flush]);
        run.close();
    });

    let why = explored.unwrap_err().why;
    assert!(why.contains("shows what it holds"), "{why}");
}

/// From clear to a key, to another one, and to clear again. Of what a finished rotation left no crash needs another key.
#[test]
fn a_crash_in_a_rotation_loses_nothing_and_a_finished_one_stays_finished() {
    for seed in seeds(1) {
        for crash in CRASHES {
            let files = CrashFs::new();
            let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
            let explored = explore(&files, &mut run, Plan::new(seed, crash).one_in(6), |run| {
                run.perform(&[Act::Fill, Act::Flush, Act::Load, Act::Fill, Act::Train]);
                for key in [1, 2, 0] {
                    run.close();
                    run.encrypt(key);
                    run.perform(&[Act::Put, Act::BatchSync]);
                    run.finish_rotation(key);
                    run.perform(&[Act::Put, Act::Fill, Act::Batch, Act::Abandon, Act::Put, Act::Flush]);
                }
                run.close();
            });
            let explored = explored.unwrap_or_else(|violation| panic!("{violation}"));
            assert!(explored.images > 100, "{explored}");
        }
    }
}
