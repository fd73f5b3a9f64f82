//! Work in which every sync happens: of most in any work, of some only when something goes wrong.

use crate::{
    Rng,
    crash::{Act, Crash, Explored, Ledger, Pace, Plan, Run, Violation, explore},
    db::SOON,
};
use isopach::{
    Compression,
    env::{Call, CrashFs, Errno, Fault, FaultFs, Rule, SyncSite},
};
use std::sync::Arc;

/// What is done while a sync has no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// A database is made, and written to.
    Creation,
    /// Random acts.
    Mixed,
    /// Batches over keyspaces of which one is flushed, compactions, and keyspaces that come and go.
    Upkeep,
    /// Bulk loads.
    Loading,
    /// Levels and separated values come to other places.
    Routing,
    /// Dictionaries are trained, used and removed; only where there are any.
    Training,
    /// The log of a process that died is recovered.
    Recovery,
    /// Copies are made.
    Checkpoints,
    /// A write of the log was carried out and reported as failed; others follow.
    FailedAppend,
    /// The last sync of a copy is reported as failed, after it took effect.
    FailedLastSync,
    /// A write into a copy fails.
    FailedCopy,
}

/// A scenario about to begin.
pub(super) struct Stage {
    pub(super) files: CrashFs,
    pub(super) faults: FaultFs,
    pub(super) run: Run<FaultFs>,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Scenario; 11] = [
        Scenario::Creation,
        Scenario::Mixed,
        Scenario::Upkeep,
        Scenario::Loading,
        Scenario::Routing,
        Scenario::Training,
        Scenario::Recovery,
        Scenario::Checkpoints,
        Scenario::FailedAppend,
        Scenario::FailedLastSync,
        Scenario::FailedCopy,
    ];

    /// Whether this build can do it.
    pub fn is_possible(self) -> bool {
        self != Scenario::Training || Compression::Zstd { level: 3 }.is_available()
    }

    /// Runs it, with the syncs of one site muted, and looks at what power losses leave.
    ///
    /// # Errors
    ///
    /// The first promise that was broken.
    pub fn explore(self, muted: Option<SyncSite>, seed: u64) -> Result<Explored, Violation> {
        let mut stage = self.begin(muted, seed);
        let images = match self {
            Scenario::Mixed | Scenario::Upkeep | Scenario::Training => 3,
            _ => 8, // Of few steps.
        };
        let plan = Plan { second_crash_one_in: 16, ..Plan::new(seed, Crash::Power { images }) };
        explore(&stage.files, &mut stage.run, plan, |run| self.work(run, &stage.faults))
    }

    /// Everything that is done before anybody looks.
    pub(super) fn begin(self, muted: Option<SyncSite>, seed: u64) -> Stage {
        let (files, ledger) = match self {
            Scenario::Recovery => killed(seed),
            _ => (CrashFs::new(), Ledger::default()),
        };
        if let Some(site) = muted {
            files.mute(site);
        }
        let faults = FaultFs::new(Arc::new(files.clone()));
        let run = Run::new(&faults, &ledger, Pace::Free, Rng::new(seed));
        // What is copied is written: a mapped log would go on in another segment, whose entry is synced, too.
        let mut run = if self == Scenario::Recovery { run.mapped_log(false) } else { run };
        if self == Scenario::FailedAppend {
            fail_an_append(&mut run, &faults);
        }
        Stage { files, faults, run }
    }

    /// What is done.
    pub(super) fn work(self, run: &mut Run<FaultFs>, faults: &FaultFs) {
        match self {
            Scenario::Creation => run.perform(&[Act::PutSync]),
            Scenario::Mixed => {
                run.perform_any(50);
                run.perform(&[Act::Reopen]);
                run.perform_any(10);
            }
            Scenario::Upkeep => {
                run.perform(&[Act::Create, Act::Create]);
                let round =
                    [Act::Batch, Act::Compact, Act::Batch, Act::Fill, Act::Create, Act::Drop, Act::PutSync];
                run.perform(&round.repeat(3));
                run.perform(&[Act::Reopen, Act::Batch, Act::Reopen, Act::Put]);
            }
            Scenario::Loading => {
                run.perform(&[Act::Load, Act::Batch, Act::Load, Act::Load]);
                run.perform(&[Act::Compact, Act::Load, Act::Put, Act::Reopen, Act::Load]);
            }
            Scenario::Routing => {
                run.perform(&[Act::Fill]);
                run.route();
                run.perform(&[Act::PutSync, Act::Flush, Act::PutSync]);
            }
            Scenario::Training => run.perform(&[Act::Train; 8]),
            Scenario::Recovery => run.perform(&[Act::Put, Act::PutSync, Act::Fill, Act::Fill, Act::PutSync]),
            Scenario::Checkpoints => {
                run.perform(&[Act::Fill, Act::PutVolatile, Act::Flush, Act::Batch, Act::Checkpoint]);
                run.perform(&[Act::Batch, Act::Checkpoint]);
            }
            Scenario::FailedAppend => run.perform(&[Act::Put, Act::Batch, Act::Put]),
            Scenario::FailedLastSync => fail_a_checkpoint(run, faults, |copy| {
                // Behind those of the copy's beginning and of its manifest.
                Rule::new(Fault::FailLate(Errno::Io)).on(Call::SyncDir).skip(2).named(copy)
            }),
            Scenario::FailedCopy => fail_a_checkpoint(run, faults, |copy| {
                Rule::new(Fault::Fail(Errno::Io)).on(Call::Write).named(&format!("{copy}/MANIFEST-*"))
            }),
        }
    }
}

/// What a process leaves that died: what it last acknowledged as durable is not known to be so from any
/// record.
fn killed(seed: u64) -> (CrashFs, Ledger) {
    let (files, ledger) = (CrashFs::new(), Ledger::default());
    let mut run = Run::new(&files, &ledger, Pace::Free, Rng::new(seed));
    run.perform(&[Act::Batch, Act::Flush, Act::Fill, Act::Wait, Act::Batch, Act::Batch, Act::PutSync]);
    (files.kill(), ledger.fork())
}

/// Nobody was told that the write worked, and the ledger knows nothing of it: it may not come back.
fn fail_an_append(run: &mut Run<FaultFs>, faults: &FaultFs) {
    run.perform(&[Act::PutSync, Act::Put]);
    let name = run.ledger().with_oracle(|oracle| oracle.names()).swap_remove(0);
    let keyspace = run.db().keyspace(&name).expect("a write made it");
    run.db().wait_idle(SOON).expect("background work ends");
    faults.arm(Rule::new(Fault::FailLate(Errno::Io)).on(Call::Write).named("db/wal/*").times(1));
    // Nor can it be cut off.
    faults.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::SetLen).named("db/wal/*").times(1));
    let failed = keyspace.insert("failed", "this write");
    faults.disarm();
    assert!(failed.is_err(), "it was reported as failed");
}

fn fail_a_checkpoint(run: &mut Run<FaultFs>, faults: &FaultFs, rule: impl Fn(&str) -> Rule) {
    run.perform(&[Act::Fill, Act::Flush, Act::Batch]);
    run.db().wait_idle(SOON).expect("background work ends");
    for _ in 0..3 {
        let copy = format!("copy-{}", run.ledger().checkpoints().len());
        faults.arm(rule(&copy).times(1));
        let made = run.checkpoint();
        faults.disarm();
        assert!(made.is_err(), "a call failed");
    }
    run.perform(&[Act::Put, Act::Checkpoint]);
}
