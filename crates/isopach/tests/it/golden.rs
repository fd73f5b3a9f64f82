//! Formats are stable: a database that an earlier build of this format version wrote is read in whole, and
//! one of a later version is refused by name.
//!
//! `testdata/golden-<version>.hex` is the whole directory of a small database. It is made once for each
//! version, by `ISOPACH_REWRITE=1` where it is missing, and never again.

use isopach::{
    Builder, Compression, Db, ErrorKind, FilterPolicy, VerifyOptions,
    engine::codec::{FORMAT_VERSION, HEADER_BYTES, digest},
    env::{Env, MemFs, SeededEntropy, TestClock},
};
use std::{env, fmt::Write as _, fs, path::PathBuf, sync::Arc};
use testkit::{
    Entries,
    corruption::Image,
    db::{SOON, entries, small, tiny, tiny_tables},
};

fn golden_file() -> PathBuf {
    format!("{}/testdata/golden-{FORMAT_VERSION:04x}.hex", env!("CARGO_MANIFEST_DIR")).into()
}

/// The same files at every run, but for what background work does at which time.
fn builder(files: &MemFs) -> Builder {
    let (clock, entropy) = (Arc::new(TestClock::new()), Arc::new(SeededEntropy::new(FORMAT_VERSION.into())));
    tiny(Db::builder("db").env(Env::new(Arc::new(files.clone()), clock, entropy))).threads(1)
}

/// Two keyspaces with tables of two levels, compressed and not, with filters and without, deletes, and a log.
fn make() -> MemFs {
    let files = MemFs::new();
    let db = builder(&files).open().unwrap();
    let packed = tiny_tables().compression(Compression::Lz4).filters(FilterPolicy::BitsPerKey(10.0));
    let plain = tiny_tables().compression(Compression::None).filters(FilterPolicy::None);
    let (packed, plain) =
        (db.keyspace_with("packed", packed).unwrap(), db.keyspace_with("plain", plain).unwrap());
    for n in 0..40_u8 {
        packed.insert([n], [n; 50]).unwrap();
    }
    plain.insert("", "of the empty key").unwrap();
    plain.insert("gone", "1").unwrap();
    db.flush().unwrap();
    packed.compact_range(..).unwrap();
    plain.remove("gone").unwrap();
    packed.insert([7], "newer").unwrap();
    db.flush().unwrap();
    db.keyspace("dropped").unwrap().insert("a", "1").unwrap();
    db.drop_keyspace("dropped").unwrap();
    let mut batch = db.batch();
    batch.insert(&packed, [8], "of a batch").insert(&plain, "log", "only").remove(&packed, [9]);
    db.write(batch).unwrap();
    db.wait_idle(SOON).unwrap();
    drop((packed, plain));
    db.close().unwrap();
    files
}

/// What is in it.
fn expected() -> [(&'static str, Entries); 2] {
    let mut packed: Entries = (0..40_u8).map(|n| (vec![n], vec![n; 50])).collect();
    packed.insert(vec![7], b"newer".into());
    packed.insert(vec![8], b"of a batch".into());
    packed.remove(&[9][..]);
    let plain = [(&b""[..], &b"of the empty key"[..]), (b"log", b"only")];
    let plain = plain.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    [("packed", packed), ("plain", plain)]
}

fn golden() -> Image {
    let path = golden_file();
    if !path.exists() && env::var_os("ISOPACH_REWRITE").is_some() {
        fs::write(&path, to_text(&Image::of(&make()))).unwrap();
    }
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; ISOPACH_REWRITE=1 makes it", path.display()));
    from_text(&text)
}

fn to_text(image: &Image) -> String {
    let mut text = format!(
        "# A database of format version {FORMAT_VERSION:#06x}: a line for each file, its bytes below.\n"
    );
    for (name, bytes) in image.files() {
        writeln!(text, "{name}").unwrap();
        for line in bytes.chunks(48) {
            let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "  {hex}").unwrap();
        }
    }
    text
}

fn from_text(text: &str) -> Image {
    let mut image = Image::default();
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            None => {
                current = line.into();
                image.put(&current, Vec::new());
            }
            Some(hex) => {
                let bytes =
                    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
                image.edit(&current).extend(bytes);
            }
        }
    }
    image
}

#[test]
fn a_database_of_this_format_version_is_read_in_whole() {
    let image = golden();
    let files = image.to_fs();

    let report = small(files.clone()).verify(VerifyOptions::new()).unwrap();
    assert!(report.found.is_empty() && report.files >= 3 && report.log_records > 0, "{report:?}");
    let read = small(files.clone()).open_read_only().unwrap();
    assert!(read.recovery().is_clean);
    for (name, expected) in expected() {
        assert_eq!(entries(&read.keyspace(name).unwrap()), expected, "{name}");
    }
    drop(read);

    let db = small(files.clone()).open().unwrap();
    for (name, expected) in expected() {
        let keyspace = db.get_keyspace(name).unwrap().unwrap();
        keyspace.compact_range(..).unwrap();
        assert_eq!(entries(&keyspace), expected, "{name} after compaction");
        assert_eq!(keyspace.get("absent").unwrap(), None);
    }
    db.keyspace("plain").unwrap().insert("more", "1").unwrap();
    db.close().unwrap();
    let again = small(files).open_read_only().unwrap();
    assert!(again.keyspace("plain").unwrap().contains("more").unwrap());
}

/// As this version would find it, the header whole and its check right.
fn of_a_later_version(image: &Image, name: &str) -> Image {
    let mut image = image.clone();
    let header = &mut image.edit(name)[..HEADER_BYTES];
    header[6..8].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let check = digest(&header[..60]).to_le_bytes();
    header[60..].copy_from_slice(&check[..4]);
    image
}

#[test]
fn a_file_of_a_later_version_is_refused_with_both_versions() {
    let image = golden();
    for (name, _) in image.files().filter(|(name, _)| *name != "LOCK") {
        let later = of_a_later_version(&image, name);
        let files = later.to_fs();

        let opened = small(files.clone()).open_read_only();
        let error = match opened {
            Err(error) => error,
            // Tables are opened when they are read.
            Ok(db) => {
                let mut scans = ["packed", "plain"].into_iter().flat_map(|name| {
                    db.keyspace(name).unwrap().iter().filter_map(Result::err).collect::<Vec<_>>()
                });
                scans.next().expect(name)
            }
        };

        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{name}: {error}");
        assert!(error.path().unwrap().ends_with(name), "{name}: {error}");
        let message = error.to_string();
        for version in [FORMAT_VERSION, FORMAT_VERSION + 1] {
            assert!(message.contains(&format!("{version:#06x}")), "{name}: {message}");
        }
        assert_eq!(Image::of(&files), Image::of(&later.to_fs()), "{name}: nothing is written");
    }
}
