//! Rules of names and directories.

use super::{OPTIONS, Rule, SITE, assert_fails, assert_works, content_of, make_file, names_in, open};
use isopach_env::{Fs, IoErrorKind, LockMode, OpenMode};
use std::sync::Arc;

pub(super) const RULES: &[Rule] = &[
    ("names that break the rules of names are refused by every method", invalid_names_are_refused),
    ("what is not there is NotFound", missing_is_not_found),
    ("what is missing on the way is NotFound, and a file on the way NotADirectory", parents_are_needed),
    ("a name is taken once, by a file or by a directory", names_are_taken_once),
    ("a directory is not a file and a file is not a directory", kinds_are_kept_apart),
    (
        "list has the direct entries of one directory and tells directories from files",
        list_has_direct_entries,
    ),
    ("remove_dir removes an empty directory only", only_empty_directories_are_removed),
    ("exists tells what is there", exists_tells),
    ("directories can be synced, and nothing else", directories_are_synced),
];

fn invalid_names_are_refused(fs: &Arc<dyn Fs>) {
    make_file(fs, "a", b"");
    assert_works(fs.create_dir("dir"), "create_dir");
    let bad =
        ["/", "/a", "a/", "dir/", "dir//a", ".", "..", "./a", "dir/.", "dir/..", "dir/../a", "a\0", "a\\b"];

    for name in bad.into_iter().chain([""]) {
        let invalid = IoErrorKind::InvalidName;
        assert_fails(fs.open(name, OpenMode::Read), invalid, &format!("open {name:?}"));
        assert_fails(fs.create(name, &OPTIONS), invalid, &format!("create {name:?}"));
        assert_fails(fs.create_dir(name), invalid, &format!("create_dir {name:?}"));
        assert_fails(fs.remove_file(name), invalid, &format!("remove_file {name:?}"));
        assert_fails(fs.remove_dir(name), invalid, &format!("remove_dir {name:?}"));
        assert_fails(fs.rename(name, "b"), invalid, &format!("rename {name:?} to \"b\""));
        assert_fails(fs.rename("a", name), invalid, &format!("rename \"a\" to {name:?}"));
        assert_fails(fs.exists(name), invalid, &format!("exists {name:?}"));
        match fs.lock(name, LockMode::Exclusive) {
            Err(error) if error.kind() == IoErrorKind::Unsupported => {}
            result => assert_fails(result, invalid, &format!("lock {name:?}")),
        }
    }
    for name in bad {
        assert_fails(fs.list(name), IoErrorKind::InvalidName, &format!("list {name:?}"));
        assert_fails(fs.sync_dir(name, SITE), IoErrorKind::InvalidName, &format!("sync_dir {name:?}"));
    }

    assert_eq!(names_in(fs, ""), ["a", "dir/"], "refused names change nothing");
}

fn missing_is_not_found(fs: &Arc<dyn Fs>) {
    assert_fails(fs.open("a", OpenMode::Read), IoErrorKind::NotFound, "open for reading");
    assert_fails(fs.open("a", OpenMode::ReadWrite), IoErrorKind::NotFound, "open for reading and writing");
    assert_fails(fs.remove_file("a"), IoErrorKind::NotFound, "remove_file");
    assert_fails(fs.remove_dir("a"), IoErrorKind::NotFound, "remove_dir");
    assert_fails(fs.rename("a", "b"), IoErrorKind::NotFound, "rename");
    assert_fails(fs.list("a"), IoErrorKind::NotFound, "list");
    assert_fails(fs.sync_dir("a", SITE), IoErrorKind::NotFound, "sync_dir");
    assert_eq!(names_in(fs, ""), [""; 0], "failed calls make nothing");
}

fn parents_are_needed(fs: &Arc<dyn Fs>) {
    make_file(fs, "file", b"content");

    for (parent, kind) in [("missing", IoErrorKind::NotFound), ("file", IoErrorKind::NotADirectory)] {
        for below in ["x", "x/y"] {
            let name = &format!("{parent}/{below}");
            assert_fails(fs.open(name, OpenMode::Read), kind, &format!("open {name:?}"));
            assert_fails(fs.create(name, &OPTIONS), kind, &format!("create {name:?}"));
            assert_fails(fs.create_dir(name), kind, &format!("create_dir {name:?}"));
            assert_fails(fs.remove_file(name), kind, &format!("remove_file {name:?}"));
            assert_fails(fs.remove_dir(name), kind, &format!("remove_dir {name:?}"));
            assert_fails(fs.list(name), kind, &format!("list {name:?}"));
            assert_fails(fs.rename("file", name), kind, &format!("rename to {name:?}"));
            assert_fails(fs.rename(name, "other"), kind, &format!("rename from {name:?}"));
        }
    }

    assert_eq!(content_of(&open(fs, "file")), b"content", "failed calls change nothing");
    assert_works(fs.create_dir("a"), "create_dir");
    assert_works(fs.create_dir("a/b"), "create_dir below it");
    make_file(fs, "a/b/c", b"deep");
    assert_eq!(content_of(&open(fs, "a/b/c")), b"deep");
}

fn names_are_taken_once(fs: &Arc<dyn Fs>) {
    make_file(fs, "file", b"content");
    assert_works(fs.create_dir("dir"), "create_dir");

    for name in ["file", "dir"] {
        assert_fails(fs.create(name, &OPTIONS), IoErrorKind::AlreadyExists, &format!("create {name:?}"));
        assert_fails(fs.create_dir(name), IoErrorKind::AlreadyExists, &format!("create_dir {name:?}"));
    }

    assert_eq!(content_of(&open(fs, "file")), b"content", "a refused create changes nothing");
}

fn kinds_are_kept_apart(fs: &Arc<dyn Fs>) {
    make_file(fs, "file", b"content");
    assert_works(fs.create_dir("dir"), "create_dir");

    assert_fails(fs.open("dir", OpenMode::Read), IoErrorKind::IsADirectory, "open a directory");
    assert_fails(fs.open("dir", OpenMode::ReadWrite), IoErrorKind::IsADirectory, "open a directory to write");
    assert_fails(fs.remove_file("dir"), IoErrorKind::IsADirectory, "remove_file of a directory");
    assert_fails(fs.rename("file", "dir"), IoErrorKind::IsADirectory, "rename over a directory");
    assert_fails(fs.rename("dir", "other"), IoErrorKind::IsADirectory, "rename of a directory");
    assert_fails(fs.remove_dir("file"), IoErrorKind::NotADirectory, "remove_dir of a file");
    assert_fails(fs.list("file"), IoErrorKind::NotADirectory, "list of a file");

    assert_eq!(names_in(fs, ""), ["dir/", "file"], "failed calls change nothing");
}

fn list_has_direct_entries(fs: &Arc<dyn Fs>) {
    for dir in ["a", "a.b", "ab", "a/c"] {
        assert_works(fs.create_dir(dir), dir);
    }
    for file in ["a/x", "a/c/y", "ab/z", "a-"] {
        make_file(fs, file, b"");
    }

    assert_eq!(names_in(fs, ""), ["a-", "a.b/", "a/", "ab/"]);
    assert_eq!(names_in(fs, "a"), ["c/", "x"]);
    assert_eq!(names_in(fs, "a/c"), ["y"]);
    assert_eq!(names_in(fs, "a.b"), [""; 0]);
    assert_works(fs.remove_file("a/x"), "remove_file");
    assert_eq!(names_in(fs, "a"), ["c/"]);
}

fn only_empty_directories_are_removed(fs: &Arc<dyn Fs>) {
    assert_works(fs.create_dir("a"), "create_dir");
    assert_works(fs.create_dir("a/b"), "create_dir");
    assert_works(fs.create_dir("ab"), "create_dir");
    make_file(fs, "a/b/c", b"");

    assert_fails(fs.remove_dir("a"), IoErrorKind::DirectoryNotEmpty, "remove_dir above a directory");
    assert_fails(fs.remove_dir("a/b"), IoErrorKind::DirectoryNotEmpty, "remove_dir above a file");
    assert_works(fs.remove_file("a/b/c"), "remove_file");
    assert_works(fs.remove_dir("a/b"), "remove_dir of an empty directory");
    assert_works(fs.remove_dir("a"), "remove_dir of an empty directory");

    assert_eq!(names_in(fs, ""), ["ab/"]);
    assert_works(fs.create_dir("a"), "create_dir of a name that is free again");
}

fn exists_tells(fs: &Arc<dyn Fs>) {
    make_file(fs, "file", b"");
    assert_works(fs.create_dir("dir"), "create_dir");

    assert_eq!(fs.exists("file"), Ok(true), "a file");
    assert_eq!(fs.exists("dir"), Ok(true), "a directory");
    assert_eq!(fs.exists("other"), Ok(false), "nothing");
    assert_eq!(fs.exists("dir/other"), Ok(false), "nothing in a directory");
    assert_eq!(fs.exists("missing/other"), Ok(false), "nothing below nothing");
    assert_eq!(fs.exists("file/other"), Ok(false), "nothing below a file");
}

fn directories_are_synced(fs: &Arc<dyn Fs>) {
    make_file(fs, "file", b"");
    assert_works(fs.create_dir("dir"), "create_dir");

    assert_works(fs.sync_dir("", SITE), "sync_dir of the root");
    assert_works(fs.sync_dir("dir", SITE), "sync_dir");
    assert_works(fs.sync_parent(SITE), "sync_parent");
    assert_fails(fs.sync_dir("file", SITE), IoErrorKind::NotADirectory, "sync_dir of a file");
}
