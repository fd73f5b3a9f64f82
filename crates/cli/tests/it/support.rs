//! Runs the binary in a directory of the test's own.

use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A small package list: a repeated name, a continuation line, bytes that are not UTF-8, no line end at last.
pub(crate) const PACKAGES: &[u8] = b"Package: zlib1g\nVersion: 1.2\n\nPackage: adduser\nVersion: 3.1\n\
    Description: add users\n and groups\n\nPackage: base\nMaintainer: Andr\xe9\n\n\
    package: zlib1g\nVersion: 1.3";

/// A directory that is removed at the end of a test that passed.
pub(crate) struct Scene {
    dir: PathBuf,
}

impl Scene {
    pub(crate) fn new(name: &str) -> Scene {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Scene { dir }
    }

    /// With `db` holding [`PACKAGES`] in the keyspace `packages`.
    pub(crate) fn with_packages(name: &str) -> Scene {
        let scene = Scene::new(name);
        scene.file("packages", PACKAGES);
        scene.ok(["load", "db", "--keyspace", "packages", "--format", "deb822", "packages"]);
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Runs a command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// As [`Scene::run`], with bytes to read.
    pub(crate) fn run_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Output {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Vec<u8> {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        output.stdout
    }

    /// As [`Scene::ok`], as JSON objects.
    pub(crate) fn objects<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Vec<Value> {
        let printed = String::from_utf8(self.ok(args)).unwrap();
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that must fail with this code, and returns what it said.
    pub(crate) fn fails<S: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = S>) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A process that has `db` open for writing until it is killed.
    pub(crate) fn writer(&self) -> Writer {
        let mut child = self.command(["demo-child", "db"]).stdin(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first_batch = String::new();
        output.read_line(&mut first_batch).unwrap();
        assert!(first_batch.ends_with('\n'), "the writer writes");
        // Nobody reads on: the pipe fills up, and the writer waits with the database open.
        Writer { child, _output: output }
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isopach"));
        command.current_dir(&self.dir).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// See [`Scene::writer`].
pub(crate) struct Writer {
    child: Child,
    _output: BufReader<std::process::ChildStdout>,
}

impl Writer {
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All files below a directory, with their sizes and bytes.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            all.push((path, bytes));
        }
    }
    all.sort();
    all
}
