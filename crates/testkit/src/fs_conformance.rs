//! The contract of [`Fs`] and [`File`], run against a backend.
//!
//! What a backend may leave out (locks, links, reserving space, the ledger) is tested if it is there.
//! Durability is not tested: no test can tell without a simulated power loss.

mod files;
mod names;
mod places;

use isopach_env::{CreateOptions, File, Fs, IoErrorKind, IoResult, OpenMode, SyncSite, WriteOrigin};
use std::{fmt::Debug, sync::Arc};

/// Runs every rule, each on an empty place from `make`.
///
/// # Panics
///
/// At the first broken rule; the message says which.
pub fn fs_conformance(make: &dyn Fn() -> Arc<dyn Fs>) {
    for rules in [names::RULES, places::RULES, files::RULES] {
        for (rule, check) in rules {
            let fs = make();
            assert_eq!(fs.list("").as_deref(), Ok(&[][..]), "every rule starts with an empty place");
            let _told = ToldIfBroken(rule);
            check(&fs);
        }
    }
}

/// A rule in words, and the check that panics if it is broken.
type Rule = (&'static str, fn(&Arc<dyn Fs>));

/// Says which rule was being checked when a panic passes by.
struct ToldIfBroken(&'static str);

impl Drop for ToldIfBroken {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the backend breaks the rule: {}", self.0);
        }
    }
}

const SITE: SyncSite = SyncSite("fs_conformance");
const OPTIONS: CreateOptions = CreateOptions::new(WriteOrigin::Metadata);

/// Makes a file with this content.
#[track_caller]
fn make_file(fs: &Arc<dyn Fs>, name: &str, content: &[u8]) -> Arc<dyn File> {
    let file = fs.create(name, &OPTIONS).unwrap_or_else(|error| panic!("create {name:?}: {error}"));
    file.write_at(0, content).unwrap_or_else(|error| panic!("write {name:?}: {error}"));
    file
}

#[track_caller]
fn open(fs: &Arc<dyn Fs>, name: &str) -> Arc<dyn File> {
    fs.open(name, OpenMode::Read).unwrap_or_else(|error| panic!("open {name:?}: {error}"))
}

/// The whole content through a handle.
#[track_caller]
fn content_of(file: &Arc<dyn File>) -> Vec<u8> {
    let size_bytes = file.size_bytes().expect("size_bytes of an open file");
    let mut content = vec![0xEE; usize::try_from(size_bytes).expect("small")];
    file.read_exact_at(0, &mut content).expect("as many bytes as size_bytes says");
    content
}

/// The sorted names of a directory; directories end in `/`.
#[track_caller]
fn names_in(fs: &Arc<dyn Fs>, dir: &str) -> Vec<String> {
    let entries = fs.list(dir).unwrap_or_else(|error| panic!("list {dir:?}: {error}"));
    let mut names: Vec<String> =
        entries.into_iter().map(|entry| entry.name + if entry.is_dir { "/" } else { "" }).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_fails<T: Debug>(result: IoResult<T>, kind: IoErrorKind, what: &str) {
    match result {
        Err(error) if error.kind() == kind => {}
        other => panic!("{what}: expected {kind:?}, got {other:?}"),
    }
}

#[track_caller]
fn assert_works<T>(result: IoResult<T>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error} ({error:?})"))
}
