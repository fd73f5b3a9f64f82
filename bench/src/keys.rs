//! Keys of records: numbers of 16 digits as in db_bench, or real paths.

use crate::Result;
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// Digits of a number key.
pub const NUMBER_BYTES: usize = 16;

/// File lists of the packages of a Debian system.
const DEBIAN_LISTS: &str = "/var/lib/dpkg/info";

/// The keys of a database, by record. Records below [`Keys::count`] are those of a loaded database.
#[derive(Debug)]
pub enum Keys {
    /// In key order.
    Numbers {
        count: u64,
    },
    Texts(Texts),
}

impl Keys {
    pub fn count(&self) -> u64 {
        match self {
            Keys::Numbers { count } => *count,
            Keys::Texts(texts) => texts.count,
        }
    }

    /// Puts the key of `record` into `key`. Records from [`Keys::count`] on have keys between the loaded
    /// ones.
    pub fn write(&self, record: u64, key: &mut Vec<u8>) {
        key.clear();
        let is_loaded = record < self.count();
        let record = if is_loaded { record } else { record % self.count() };
        match self {
            Keys::Numbers { .. } => write_number(record, key),
            Keys::Texts(texts) => texts.write(record, key),
        }
        if !is_loaded {
            key.push(b'+');
        }
    }

    /// Puts a key that no record has into `key`; it lies behind the key of `record`.
    pub fn write_missing(&self, record: u64, key: &mut Vec<u8>) {
        self.write(record, key);
        key.push(b'.');
    }

    /// Of all loaded records.
    pub fn average_bytes(&self) -> f64 {
        match self {
            Keys::Numbers { .. } => NUMBER_BYTES as f64,
            Keys::Texts(texts) => texts.total_bytes() as f64 / texts.count as f64,
        }
    }
}

fn write_number(mut number: u64, key: &mut Vec<u8>) {
    let mut digits = [b'0'; NUMBER_BYTES];
    for digit in digits.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *digit += (number % 10) as u8;
        number /= 10;
    }
    key.extend_from_slice(&digits);
}

/// Paths of files; copies of all of them under a prefix each when more keys are wanted than there are paths.
#[derive(Debug)]
pub struct Texts {
    /// All in one, and where each ends.
    paths: Vec<u8>,
    ends: Vec<usize>,
    count: u64,
}

impl Texts {
    /// Reads one path a line from `file`, or the file lists of this Debian system. As many keys as give
    /// `volume_bytes` with values of `value_bytes`.
    pub fn read(file: Option<&Path>, value_bytes: usize, volume_bytes: u64) -> Result<Texts> {
        let files = match file {
            Some(file) => vec![file.to_path_buf()],
            None => debian_lists()?,
        };
        let mut text = Vec::new();
        for file in &files {
            let mut file = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
            file.read_to_end(&mut text)?;
            text.push(b'\n');
        }
        let mut lines: Vec<&[u8]> =
            text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        lines.sort_unstable();
        lines.dedup();
        if lines.len() < 2 {
            let read: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            return Err(format!("{}: needs one path a line, has {}", read.join(" "), lines.len()).into());
        }
        let mut texts = Texts { paths: Vec::new(), ends: Vec::new(), count: 0 };
        for line in lines {
            texts.paths.extend_from_slice(line);
            texts.ends.push(texts.paths.len());
        }
        let record_bytes = texts.paths.len() / texts.ends.len() + value_bytes;
        texts.count = volume_bytes.div_ceil(record_bytes as u64).max(2);
        Ok(texts)
    }

    fn write(&self, record: u64, key: &mut Vec<u8>) {
        let paths_count = self.ends.len() as u64;
        let (copy, path) = (record / paths_count, (record % paths_count) as usize);
        if copy > 0 {
            key.extend_from_slice(format!("/copy{copy}").as_bytes());
        }
        let start = if path == 0 { 0 } else { self.ends[path - 1] };
        key.extend_from_slice(&self.paths[start..self.ends[path]]);
    }

    fn total_bytes(&self) -> u64 {
        let mut key = Vec::new();
        let bytes_of = |record| {
            key.clear();
            self.write(record, &mut key);
            key.len() as u64
        };
        (0..self.count).map(bytes_of).sum()
    }
}

fn debian_lists() -> Result<Vec<PathBuf>> {
    let needs =
        |error: String| format!("{DEBIAN_LISTS}: {error}; give a file with one path a line: --paths FILE");
    let mut lists = Vec::new();
    for entry in fs::read_dir(DEBIAN_LISTS).map_err(|error| needs(error.to_string()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "list") {
            lists.push(path);
        }
    }
    if lists.is_empty() {
        return Err(needs("no file lists".into()).into());
    }
    lists.sort_unstable();
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(keys: &Keys, record: u64) -> String {
        let mut key = Vec::new();
        keys.write(record, &mut key);
        String::from_utf8(key).unwrap()
    }

    #[test]
    fn number_keys_are_16_digits_and_later_records_lie_between() {
        let keys = Keys::Numbers { count: 500 };
        let mut missing = Vec::new();
        keys.write_missing(42, &mut missing);

        assert_eq!(key(&keys, 42), "0000000000000042");
        assert_eq!(key(&keys, 542), "0000000000000042+");
        assert_eq!(missing, b"0000000000000042.");
        assert_eq!(keys.average_bytes(), 16.0);
    }

    #[test]
    fn text_keys_go_on_under_a_prefix() {
        let file = std::env::temp_dir().join(format!("isopach-bench-paths-{}", std::process::id()));
        fs::write(&file, "/b\n/a\n\n/a\n/cc\n").unwrap();

        let texts = Texts::read(Some(&file), 8, 50).unwrap();

        fs::remove_file(&file).unwrap();
        let keys = Keys::Texts(texts);
        assert_eq!(keys.count(), 5); // 2 bytes on average and 8: 10 bytes a record.
        let all: Vec<String> = (0..5).map(|record| key(&keys, record)).collect();
        assert_eq!(all, ["/a", "/b", "/cc", "/copy1/a", "/copy1/b"]);
        assert_eq!(keys.average_bytes(), f64::from(2 + 2 + 3 + 8 + 8) / 5.0);
    }

    #[test]
    fn missing_paths_are_an_error_that_names_the_file() {
        let error = Texts::read(Some(Path::new("/nowhere/paths")), 8, 50).unwrap_err().to_string();

        assert!(error.starts_with("/nowhere/paths: "), "{error}");
    }
}
