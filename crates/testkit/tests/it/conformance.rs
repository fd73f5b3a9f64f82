//! Every backend against the contract of files.

use isopach_env::{CrashFs, CreateOptions, FaultFs, Fs, MemFs, OsFs, SubDir, WriteOrigin};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use testkit::{TempDir, fs_conformance::fs_conformance};

/// Names of new directories below a temporary one.
struct Roots {
    dir: TempDir,
    next: AtomicU32,
}

impl Roots {
    fn new() -> Roots {
        Roots { dir: TempDir::new(), next: AtomicU32::new(0) }
    }

    fn next(&self) -> PathBuf {
        self.dir.path().join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

#[test]
fn mem_fs_keeps_the_contract() {
    fs_conformance(&|| Arc::new(MemFs::new()));
}

#[test]
fn os_fs_keeps_the_contract() {
    let roots = Roots::new();

    fs_conformance(&|| Arc::new(OsFs::create(roots.next()).expect("a new directory")));
}

#[test]
fn sub_dir_of_mem_fs_keeps_the_contract() {
    fs_conformance(&|| Arc::new(SubDir::create(Arc::new(MemFs::new()), "db").expect("new")));
}

#[test]
fn sub_dir_of_os_fs_keeps_the_contract() {
    let roots = Roots::new();

    fs_conformance(&|| {
        let fs = Arc::new(OsFs::create(roots.next()).expect("a new directory"));
        Arc::new(SubDir::create(fs, "db").expect("new"))
    });
}

#[test]
fn sub_dir_of_a_sub_dir_keeps_the_contract() {
    fs_conformance(&|| {
        let outer = SubDir::create(Arc::new(MemFs::new()), "outer").expect("new");
        Arc::new(SubDir::create(Arc::new(outer), "inner").expect("new"))
    });
}

#[test]
fn watched_files_keep_the_contract() {
    fs_conformance(&|| {
        let fs = CrashFs::new();
        fs.watch(|_, _| Ok(()));
        Arc::new(fs)
    });
}

#[test]
fn files_that_can_lose_power_keep_the_contract() {
    fs_conformance(&|| Arc::new(CrashFs::new()));
}

#[test]
fn files_without_faults_keep_the_contract() {
    fs_conformance(&|| Arc::new(FaultFs::new(Arc::new(MemFs::new()))));
    fs_conformance(&|| Arc::new(FaultFs::new(Arc::new(CrashFs::new()))));
}

/// The contract lets a backend leave links out; none of ours does.
#[test]
fn every_backend_has_links() {
    let roots = Roots::new();
    let backends: [Arc<dyn Fs>; 5] = [
        Arc::new(MemFs::new()),
        Arc::new(CrashFs::new()),
        Arc::new(FaultFs::new(Arc::new(MemFs::new()))),
        Arc::new(SubDir::create(Arc::new(MemFs::new()), "db").expect("new")),
        Arc::new(OsFs::create(roots.next()).expect("a new directory")),
    ];
    for (index, fs) in backends.iter().enumerate() {
        fs.create("a", &CreateOptions::new(WriteOrigin::Log)).expect("new");

        assert_eq!(fs.link_to("a", &**fs, "b"), Ok(()), "backend {index}");
    }
}
