//! Rules of files as entries: creating, removing, renaming, locking.

use super::{OPTIONS, Rule, assert_fails, assert_works, content_of, make_file, names_in, open};
use isopach_env::{
    CreateOptions, DirEntry, File, Fs, IoErrorKind, IoResult, LockMode, OpenMode, SubDir, SyncSite,
    WriteOrigin,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub(super) const RULES: &[Rule] = &[
    ("create makes an empty file that can be read and written", create_makes_an_empty_file),
    ("of several callers one creates", one_caller_creates),
    ("remove_file takes the name, and open handles go on", removed_files_stay_open),
    ("rename moves a file, between directories too", rename_moves),
    ("rename replaces the target, and handles of both files go on", rename_replaces),
    ("rename onto the same name changes nothing", rename_onto_itself),
    ("at every moment of a rename the target is one of the two files", rename_is_atomic),
    ("a link is the same file under a second name", links_share_a_file),
    ("a clone is a file of its own", clones_are_files_of_their_own),
    ("links and clones refuse what is taken or missing, and leave it alone", links_refuse),
    ("locks: an exclusive one is alone, shared ones are not", locks_exclude),
    ("locks: only an exclusive one creates its file", exclusive_locks_create),
    ("the ledger counts written bytes by origin", ledger_counts),
];

fn create_makes_an_empty_file(fs: &Arc<dyn Fs>) {
    let file = assert_works(fs.create("a", &OPTIONS), "create");

    assert_eq!(file.size_bytes(), Ok(0));
    assert_works(file.write_at(0, b"abc"), "write_at");
    assert_eq!(content_of(&file), b"abc", "the handle from create reads too");
    assert_eq!(content_of(&open(fs, "a")), b"abc", "another handle sees what was written");
}

fn one_caller_creates(fs: &Arc<dyn Fs>) {
    for round in 0..20 {
        let (files_count, dirs_count) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    match fs.create(&format!("file{round}"), &OPTIONS) {
                        Ok(_) => drop(files_count.fetch_add(1, Ordering::Relaxed)),
                        result => assert_fails(result, IoErrorKind::AlreadyExists, "create by the others"),
                    }
                    match fs.create_dir(&format!("dir{round}")) {
                        Ok(()) => drop(dirs_count.fetch_add(1, Ordering::Relaxed)),
                        result => {
                            assert_fails(result, IoErrorKind::AlreadyExists, "create_dir by the others")
                        }
                    }
                });
            }
        });
        assert_eq!(files_count.into_inner(), 1, "callers whose create succeeded");
        assert_eq!(dirs_count.into_inner(), 1, "callers whose create_dir succeeded");
    }
}

fn removed_files_stay_open(fs: &Arc<dyn Fs>) {
    let writer = make_file(fs, "a", b"old");
    let reader = open(fs, "a");

    assert_works(fs.remove_file("a"), "remove_file");

    assert_fails(fs.open("a", OpenMode::Read), IoErrorKind::NotFound, "open after remove_file");
    assert_eq!(content_of(&reader), b"old", "a handle reads on");
    assert_works(writer.write_at(3, b"er"), "a handle writes on");
    assert_eq!(content_of(&reader), b"older");
    make_file(fs, "a", b"new");
    assert_eq!(content_of(&reader), b"older", "a new file of the name is another file");
}

fn rename_moves(fs: &Arc<dyn Fs>) {
    let handle = make_file(fs, "a", b"content");
    assert_works(fs.create_dir("dir"), "create_dir");

    assert_works(fs.rename("a", "dir/b"), "rename");

    assert_eq!(names_in(fs, ""), ["dir/"]);
    assert_eq!(names_in(fs, "dir"), ["b"]);
    assert_eq!(content_of(&open(fs, "dir/b")), b"content");
    assert_works(handle.write_at(0, b"CON"), "write through a handle from before");
    assert_eq!(content_of(&open(fs, "dir/b")), b"CONtent", "a handle follows its file");
}

fn rename_replaces(fs: &Arc<dyn Fs>) {
    make_file(fs, "target", b"old");
    make_file(fs, "source", b"new one");
    let (target, source) = (open(fs, "target"), open(fs, "source"));

    assert_works(fs.rename("source", "target"), "rename");

    assert_eq!(names_in(fs, ""), ["target"]);
    assert_eq!(content_of(&open(fs, "target")), b"new one");
    assert_eq!(content_of(&target), b"old", "a handle of the replaced file reads on");
    assert_eq!(content_of(&source), b"new one");
}

fn rename_onto_itself(fs: &Arc<dyn Fs>) {
    make_file(fs, "a", b"content");

    assert_works(fs.rename("a", "a"), "rename");

    assert_eq!(names_in(fs, ""), ["a"]);
    assert_eq!(content_of(&open(fs, "a")), b"content");
}

fn rename_is_atomic(fs: &Arc<dyn Fs>) {
    make_file(fs, "current", &[0; 64]);

    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..=100 {
                make_file(fs, "next", &[round; 64]);
                assert_works(fs.rename("next", "current"), "rename");
            }
        });
        while !writer.is_finished() {
            let content = content_of(&open(fs, "current"));
            let first = content.first().copied().expect("the target is never empty");
            assert_eq!(content, [first; 64], "the target is one whole file");
        }
    });
}

/// A way to give a file a second name.
type Second = fn(&dyn Fs, &str, &dyn Fs, &str) -> IoResult<()>;

const LINK: Second = |fs, from, target, to| fs.link_to(from, target, to);
const CLONE: Second = |fs, from, target, to| fs.reflink_to(from, target, to);

fn can(second: Second, fs: &Arc<dyn Fs>) -> bool {
    make_file(fs, "probe", b"?");
    let result = second(&**fs, "probe", &**fs, "probe2");
    assert_eq!(fs.exists("probe2").unwrap(), result.is_ok(), "what failed left nothing");
    for name in ["probe", "probe2"].iter().take(1 + usize::from(result.is_ok())) {
        assert_works(fs.remove_file(name), name);
    }
    !result.is_err_and(|error| error.kind() == IoErrorKind::Unsupported)
}

fn links_share_a_file(fs: &Arc<dyn Fs>) {
    if !can(LINK, fs) {
        return;
    }
    assert_works(fs.create_dir("dir"), "create_dir");
    let part = SubDir::open(Arc::clone(fs), "dir").expect("it was made");
    let file = make_file(fs, "a", b"123");

    assert_works(fs.link_to("a", &part, "b"), "link_to a part of the same place");
    assert_works(part.link_to("b", &**fs, "c"), "link_to from a part of the same place");

    assert_works(file.write_at(1, b"x"), "write_at");
    for name in ["a", "dir/b", "c"] {
        assert_eq!(content_of(&open(fs, name)), b"1x3", "{name} shows what was written");
    }
    assert_works(fs.remove_file("a"), "remove_file");
    assert_eq!(content_of(&open(fs, "dir/b")), b"1x3", "a name goes, the file stays");
    make_file(fs, "a", b"new");
    assert_eq!(content_of(&open(fs, "c")), b"1x3", "a new file under an old name is another");
}

fn clones_are_files_of_their_own(fs: &Arc<dyn Fs>) {
    if !can(CLONE, fs) {
        return;
    }
    let file = make_file(fs, "a", b"123");

    assert_works(fs.reflink_to("a", &**fs, "b"), "reflink_to");

    assert_works(file.write_at(1, b"x"), "write_at");
    assert_eq!(content_of(&open(fs, "b")), b"123", "the clone does not change with the source");
}

fn links_refuse(fs: &Arc<dyn Fs>) {
    for second in [LINK, CLONE] {
        if !can(second, fs) {
            continue;
        }
        make_file(fs, "a", b"1");
        make_file(fs, "taken", b"2");
        assert_works(fs.create_dir("dir"), "create_dir");

        assert_fails(second(&**fs, "a", &**fs, "taken"), IoErrorKind::AlreadyExists, "onto a file");
        assert_fails(second(&**fs, "a", &**fs, "dir"), IoErrorKind::AlreadyExists, "onto a directory");
        assert_fails(second(&**fs, "a", &**fs, "a"), IoErrorKind::AlreadyExists, "onto itself");
        assert_fails(second(&**fs, "missing", &**fs, "b"), IoErrorKind::NotFound, "of a missing file");
        assert_fails(second(&**fs, "a", &**fs, "no/b"), IoErrorKind::NotFound, "below a missing directory");
        assert_fails(second(&**fs, "dir", &**fs, "b"), IoErrorKind::IsADirectory, "of a directory");
        let elsewhere = OnlyNames;
        assert_fails(second(&**fs, "a", &elsewhere, "b"), IoErrorKind::Unsupported, "to another backend");

        assert_eq!(content_of(&open(fs, "taken")), b"2");
        for name in ["a", "taken"] {
            assert_works(fs.remove_file(name), name);
        }
        assert_works(fs.remove_dir("dir"), "remove_dir");
        assert_eq!(names_in(fs, ""), [""; 0], "what was refused left nothing");
    }
}

/// A backend that is none of those under test.
struct OnlyNames;

impl Fs for OnlyNames {
    fn open(&self, _: &str, _: OpenMode) -> IoResult<Arc<dyn File>> {
        Err(IoErrorKind::Unsupported.into())
    }

    fn create(&self, _: &str, _: &CreateOptions) -> IoResult<Arc<dyn File>> {
        Err(IoErrorKind::Unsupported.into())
    }

    fn create_dir(&self, _: &str) -> IoResult<()> {
        Err(IoErrorKind::Unsupported.into())
    }

    fn list(&self, _: &str) -> IoResult<Vec<DirEntry>> {
        Err(IoErrorKind::Unsupported.into())
    }

    fn remove_file(&self, _: &str) -> IoResult<()> {
        Err(IoErrorKind::Unsupported.into())
    }

    fn remove_dir(&self, _: &str) -> IoResult<()> {
        Err(IoErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &str, _: &str) -> IoResult<()> {
        Err(IoErrorKind::Unsupported.into())
    }

    fn sync_dir(&self, _: &str, _: SyncSite) -> IoResult<()> {
        Err(IoErrorKind::Unsupported.into())
    }
}

fn locks_exclude(fs: &Arc<dyn Fs>) {
    if !has_locks(fs) {
        return;
    }
    let would_block = IoErrorKind::WouldBlock;

    let exclusive = assert_works(fs.lock("LOCK", LockMode::Exclusive), "exclusive beside none");
    assert_fails(fs.lock("LOCK", LockMode::Exclusive), would_block, "exclusive beside exclusive");
    assert_fails(fs.lock("LOCK", LockMode::Shared), would_block, "shared beside exclusive");
    let other = assert_works(fs.lock("OTHER", LockMode::Exclusive), "a lock of another file");
    drop((exclusive, other));

    let first = assert_works(fs.lock("LOCK", LockMode::Shared), "shared after exclusive was dropped");
    let second = assert_works(fs.lock("LOCK", LockMode::Shared), "shared beside shared");
    assert_fails(fs.lock("LOCK", LockMode::Exclusive), would_block, "exclusive beside two shared");
    drop(first);
    assert_fails(fs.lock("LOCK", LockMode::Exclusive), would_block, "exclusive beside one shared");
    drop(second);
    drop(assert_works(fs.lock("LOCK", LockMode::Exclusive), "exclusive after all were dropped"));
}

fn exclusive_locks_create(fs: &Arc<dyn Fs>) {
    if !has_locks(fs) {
        return;
    }
    assert_works(fs.create_dir("dir"), "create_dir");

    assert_fails(fs.lock("NEW", LockMode::Shared), IoErrorKind::NotFound, "shared lock of a missing file");
    assert_fails(fs.lock("x/NEW", LockMode::Exclusive), IoErrorKind::NotFound, "lock without a parent");
    assert_fails(fs.lock("dir", LockMode::Shared), IoErrorKind::IsADirectory, "shared lock of a directory");
    assert_fails(fs.lock("dir", LockMode::Exclusive), IoErrorKind::IsADirectory, "lock of a directory");
    drop(assert_works(fs.lock("NEW", LockMode::Exclusive), "exclusive lock of a missing file"));

    assert_works(fs.open("NEW", OpenMode::Read), "open the file that the lock made");
    make_file(fs, "OLD", b"who");
    drop(assert_works(fs.lock("OLD", LockMode::Exclusive), "exclusive lock of a file"));
    assert_eq!(content_of(&open(fs, "OLD")), b"who", "a lock leaves the content alone");
}

fn has_locks(fs: &Arc<dyn Fs>) -> bool {
    !fs.lock("PROBE", LockMode::Exclusive).is_err_and(|error| error.kind() == IoErrorKind::Unsupported)
}

fn ledger_counts(fs: &Arc<dyn Fs>) {
    let Some(ledger) = fs.ledger() else {
        return;
    };

    for origin in WriteOrigin::ALL {
        let before = ledger.bytes(origin);
        let file = assert_works(fs.create(origin.name(), &CreateOptions::new(origin)), "create");
        assert_works(file.write_at(7, b"0123456789"), "write_at");
        assert_works(file.set_len(100), "set_len");
        assert_eq!(ledger.bytes(origin) - before, 10, "bytes written for {}", origin.name());
    }
}
