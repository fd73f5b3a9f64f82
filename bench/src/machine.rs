//! What a report says of the machine and of the versions that ran on it.

use crate::record::Machine;
use rustix::system::uname;
use std::{fs, path::Path, thread::available_parallelism};

/// Versions of every crate of this build.
const LOCK: &str = include_str!("../Cargo.lock");

/// Of the machine now; [`Machine::load_after`] is to be set later.
pub fn describe(dir: &Path) -> Machine {
    let kernel = uname();
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_default();
    let memory_kib = field("/proc/meminfo", "MemTotal");
    let memory_kib = memory_kib.and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
    let load = load();
    Machine {
        cpu,
        cores: available_parallelism().map_or(0, usize::from),
        memory_bytes: memory_kib.unwrap_or(0) * 1024,
        kernel: format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy()),
        file_system: file_system(dir),
        rustc: env!("BENCH_RUSTC").into(),
        load_before: load,
        load_after: load,
    }
}

/// Average of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// Of a crate, from the lock file; several if several are in it.
pub fn version(package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let mut versions = Vec::new();
    let mut lines = LOCK.lines();
    while let Some(line) = lines.next() {
        if line == name {
            let version = lines.next().and_then(|line| line.strip_prefix("version = "));
            versions.push(version.unwrap_or_default().trim_matches('"'));
        }
    }
    versions.join(" and ")
}

/// The first `name: value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Kind and mount options of what `dir` lies on: the deepest mount above it.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let deepest = mounts
        .filter(|(point, ..)| dir.starts_with(point))
        .max_by_key(|(point, ..)| Path::new(point).components().count());
    deepest.map_or_else(String::new, |(_, kind, options)| format!("{kind} ({options})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert_eq!(version("isopach-bench"), env!("CARGO_PKG_VERSION"));
        assert_eq!(version("no-such-crate"), "");
    }

    #[test]
    fn machine_is_described() {
        let machine = describe(Path::new("/proc"));

        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
        assert!(machine.kernel.starts_with("Linux "), "{machine:?}");
        assert!(machine.file_system.starts_with("proc "), "{machine:?}");
        assert!(machine.rustc.starts_with("rustc "), "{machine:?}");
    }
}
