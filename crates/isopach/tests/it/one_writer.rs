//! One writer: whoever comes second is told that the database is open, by whatever path and from whatever
//! process it comes; and when the writer is gone, however it went, the next one gets in at once.

use isopach::{Db, ErrorKind};
use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
};
use testkit::{TempDir, db::tiny};

/// Set for the child: the database that it opens and holds.
const HOLDER: &str = "ISOPACH_HOLDER";

/// Nobody can open it, to write or to read.
fn assert_locked(path: &Path) {
    let (write, read) =
        (tiny(Db::builder(path)).open().map(drop), Db::builder(path).open_read_only().map(drop));
    for outcome in [write, read] {
        let error = outcome.expect_err("it is open elsewhere");
        assert_eq!(error.kind(), ErrorKind::Locked, "{}: {error}", path.display());
    }
}

/// Ways to name the same directory: as it is, through a symbolic link, with a detour.
fn names_of(dir: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(dir.join("detour")).unwrap();
    let mut names = vec![dir.join("db"), dir.join("detour/../db"), dir.join("./db")];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(dir.join("db"), dir.join("link")).unwrap();
        names.push(dir.join("link"));
    }
    names.push(fs::canonicalize(dir.join("db")).unwrap());
    names
}

#[test]
fn a_second_opening_in_one_process_is_locked_by_whatever_name() {
    let dir = TempDir::new();
    let db = tiny(Db::builder(dir.path().join("db"))).open().unwrap();

    let names = names_of(dir.path());
    names.iter().for_each(|name| assert_locked(name));

    db.close().unwrap();
    for name in names {
        tiny(Db::builder(name)).open().unwrap().close().unwrap();
    }
}

/// Locks that a process loses when it closes any handle of the file would be gone here.
#[test]
fn reading_the_lock_file_does_not_release_the_lock() {
    hold_if_child();
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let db = tiny(Db::builder(&path)).open().unwrap();

    fs::read(path.join("LOCK")).unwrap();
    drop(fs::OpenOptions::new().write(true).open(path.join("LOCK")).unwrap());
    assert_locked(&path);
    let other = Holder::start("reading_the_lock_file_does_not_release_the_lock", &path, "Locked");

    drop(other);
    db.close().unwrap();
}

#[test]
fn another_process_is_locked_out_until_the_writer_is_killed() {
    hold_if_child();
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let mut writer = Holder::start("another_process_is_locked_out_until_the_writer_is_killed", &path, "open");

    let names = names_of(dir.path());
    names.iter().for_each(|name| assert_locked(name));
    writer.kill();

    for name in names {
        let db = tiny(Db::builder(name)).open().expect("no lock is left behind");
        assert_eq!(db.keyspace("k").unwrap().get("a").unwrap().as_deref(), Some(&b"1"[..]));
    }
}

/// A program that the writer starts does not inherit the lock.
#[test]
fn a_process_that_the_writer_started_does_not_hold_the_lock() {
    hold_if_child();
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let db = tiny(Db::builder(&path)).open().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    let child = Holder::start("a_process_that_the_writer_started_does_not_hold_the_lock", &elsewhere, "open");

    db.close().unwrap();

    tiny(Db::builder(&path)).open().expect("the child does not hold it").close().unwrap();
    drop(child);
}

/// In the child: opens, says how that went, and waits for its end.
fn hold_if_child() {
    let Ok(path) = env::var(HOLDER) else { return };
    match tiny(Db::builder(path)).open() {
        Ok(db) => {
            db.keyspace("k").unwrap().insert("a", "1").unwrap();
            println!("holder: open");
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
        }
        Err(error) => println!("holder: {:?}", error.kind()),
    }
    process::exit(0);
}

/// A process of its own that opens a database, says how that ended, and holds it until it is killed.
struct Holder(Child);

impl Holder {
    /// Runs the test `name` again as a child, which must say `expected` of its opening.
    fn start(name: &str, path: &Path, expected: &str) -> Holder {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([&format!("one_writer::{name}"), "--exact", "--nocapture"])
            .env(HOLDER, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let opened = said.filter_map(|line| line.strip_prefix("holder: ").map(str::to_owned)).next();
        let holder = Holder(child);
        assert_eq!(opened.as_deref(), Some(expected));
        holder
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
