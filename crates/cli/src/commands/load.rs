//! `load`: the records of a file, in atomic batches, or all at once as a bulk load.
//!
//! [`pump`] is the whole story. It holds one batch, never the file; a batch is written when it is full or
//! the file ends, so what is malformed leaves its own batch unwritten and those before it written. A bulk load is one
//! batch that never is full, and that is in files. Table files are loaded as they are (`load/tables.rs`).

mod tables;

use crate::{
    args::{LoadArgs, keyspace_name},
    database::{self, Missing},
    exit::{self, Doing, Failure},
    formats::{self, Format, Next, ReadError, Record, Records},
    output::{Console, Output, StatusLine},
    text,
};
use isopach::{Batch, Db, Ingest, Keyspace, KeyspaceId, WriteOptions};
use serde_json::json;
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    time::{Duration, Instant},
};

/// A batch of this size is written before it has all its records.
const MAX_BATCH_BYTES: u64 = 64 << 20;

/// Loads a file; makes database and keyspace if they are missing.
pub(super) fn load(args: &LoadArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    if let (Some(keyspace), [_, ..]) = (&args.keyspace, &args.tables[..]) {
        return tables::load(args, keyspace, console);
    }
    let (Some(file), Some(format)) = (&args.file, args.format) else {
        return Err(Failure::new(exit::USAGE, "load", "a file and its --format are wanted"));
    };
    let what = format!("load {}", file.display());
    // The file first: a missing one must not leave an empty database behind.
    let (input, input_bytes) = open(file).map_err(|error| Failure::io(&what, &error))?;
    let db = database::write(&args.db, Missing::Create)?;
    let keyspace = args.keyspace.as_deref().map(|name| open_keyspace(&db, name)).transpose()?;
    let target =
        Target { db: &db, names: if keyspace.is_some() { Names::Given } else { Names::InFile }, keyspace };
    let mut batches;
    let mut bulk;
    let sink: &mut dyn Sink = if args.bulk {
        bulk = BulkLoader { target, loads: Vec::new() };
        &mut bulk
    } else {
        let options = database::write_options(args.durability.durability);
        batches = Loader { target, batch: db.batch(), options };
        &mut batches
    };
    let mut loaded = Loaded::new(format);
    let mut progress = StatusLine::new(console);
    let limits = match args.bulk {
        true => BatchLimits::NONE,
        false => BatchLimits { records: args.batch, bytes: MAX_BATCH_BYTES },
    };

    let started = Instant::now();
    let mut records = formats::records(format, input);
    let result = pump(&mut *records, limits, sink, &mut loaded, &what, &mut |read_bytes, records| {
        progress.show(|| progress_line(read_bytes, input_bytes, records, started.elapsed()));
    });
    progress.clear();
    result.map_err(|failure| failure.after(format!("{} before it applied", loaded.records_text())))?;

    database::close(db)?;
    report(&loaded, started.elapsed(), console)
}

fn open(file: &Path) -> io::Result<(Box<dyn BufRead>, Option<u64>)> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(file)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(1 << 18, file)), bytes))
}

fn report(loaded: &Loaded, took: Duration, console: &mut Console<'_>) -> Result<(), Failure> {
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let keys_count = loaded.names.as_ref().map(HashSet::len);
    match console.output() {
        Output::Table => {
            let keys = keys_count
                .map(|keys| format!(", {}", text::counted(keys as u64, "distinct key", "distinct keys")));
            writeln!(
                console.out(),
                "{}{}, {} in {} and {:.3} s",
                loaded.records_text(),
                keys.unwrap_or_default(),
                text::size(loaded.bytes),
                text::counted(loaded.batches, "batch", "batches"),
                took.as_secs_f64(),
            )?;
        }
        Output::Jsonl => {
            let mut fields = json!({
                "records": loaded.records,
                "batches": loaded.batches,
                "bytes": loaded.bytes,
                "took_us": took_us,
            });
            if let Some(keys) = keys_count {
                fields["distinct_keys"] = keys.into();
            }
            console.object("load", fields)?;
        }
    }
    Ok(())
}

/// When a batch is full.
#[derive(Clone, Copy)]
struct BatchLimits {
    records: u64,
    bytes: u64,
}

impl BatchLimits {
    const NONE: BatchLimits = BatchLimits { records: u64::MAX, bytes: u64::MAX };
}

/// Where records go.
trait Sink {
    /// Records from here on belong to the keyspace of this name.
    fn enter(&mut self, keyspace: &str) -> Result<(), Failure>;

    /// Takes a record into the batch.
    fn add(&mut self, record: &Record) -> Result<(), Failure>;

    /// Writes the batch, all or none of it, and begins the next.
    fn write(&mut self) -> Result<(), Failure>;
}

/// What was written so far.
struct Loaded {
    format: Format,
    records: u64,
    batches: u64,
    /// Of keys and values.
    bytes: u64,
    /// Keys seen, where records may share one: package names, of which lists have some 100,000 at most.
    names: Option<HashSet<Vec<u8>>>,
}

impl Loaded {
    fn new(format: Format) -> Loaded {
        let names = (format == Format::Deb822).then(HashSet::new);
        Loaded { format, records: 0, batches: 0, bytes: 0, names }
    }

    fn records_text(&self) -> String {
        match self.format {
            Format::Jsonl | Format::Raw => text::counted(self.records, "record", "records"),
            Format::Deb822 => text::counted(self.records, "stanza", "stanzas"),
        }
    }
}

/// Moves all records into `sink`, batch by batch. After a failure `loaded` says what was written before it.
fn pump(
    records: &mut dyn Records,
    limits: BatchLimits,
    sink: &mut dyn Sink,
    loaded: &mut Loaded,
    what: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Failure> {
    let (mut pending, mut pending_bytes) = (0, 0);
    let mut record = Record::default();
    loop {
        let next = records.next(&mut record).map_err(|error| read_failure(what, error))?;
        let at_end = next == Next::End;
        match next {
            Next::End => {}
            Next::Keyspace(name) => sink.enter(&name)?,
            Next::Record => {
                sink.add(&record)?;
                pending += 1;
                pending_bytes += record.key.len() as u64 + record.value.len() as u64;
                if let Some(names) = &mut loaded.names {
                    names.insert(record.key.clone());
                }
            }
        }

        let is_full = pending >= limits.records || pending_bytes >= limits.bytes;
        if is_full || (at_end && pending > 0) {
            sink.write()?; // The commit point of the batch.
            loaded.records += pending;
            loaded.bytes += pending_bytes;
            loaded.batches += 1;
            (pending, pending_bytes) = (0, 0);
            progress(records.read_bytes(), loaded.records);
        }
        if at_end {
            return Ok(());
        }
    }
}

fn read_failure(what: &str, error: ReadError) -> Failure {
    match error {
        ReadError::Io(error) => Failure::io(what, &error),
        ReadError::Malformed { at, reason } => Failure::new(exit::FAILURE, what, format!("{at}: {reason}"))
            .with_hint("nothing of the batch with this place was applied; mend the file and load it again"),
    }
}

/// The keyspace that records go to.
struct Target<'a> {
    db: &'a Db,
    names: Names,
    /// Where records go now.
    keyspace: Option<Keyspace>,
}

/// Writes batches to keyspaces.
struct Loader<'a> {
    target: Target<'a>,
    batch: Batch,
    options: WriteOptions,
}

/// Loads everything at once.
struct BulkLoader<'a> {
    target: Target<'a>,
    /// Of each keyspace.
    loads: Vec<(KeyspaceId, Ingest)>,
}

/// Who names keyspaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// The caller, a single one.
    Given,
    /// The file.
    InFile,
}

fn open_keyspace(db: &Db, name: &str) -> Result<Keyspace, Failure> {
    database::keyspace_to_write(db, name, Missing::Create)
}

impl Target<'_> {
    fn enter(&mut self, keyspace: &str) -> Result<(), Failure> {
        if self.names == Names::Given {
            let message = format!("the file names its own keyspaces, such as {keyspace:?}");
            return Err(Failure::new(exit::FAILURE, "load", message).with_hint("leave out --keyspace"));
        }
        let name = keyspace_name(keyspace).map_err(|why| Failure::new(exit::FAILURE, "load", why))?;
        self.keyspace = Some(open_keyspace(self.db, &name)?);
        Ok(())
    }

    fn keyspace(&self) -> Result<&Keyspace, Failure> {
        self.keyspace.as_ref().ok_or_else(|| {
            Failure::new(exit::FAILURE, "load", "the file names no keyspace for its records")
                .with_hint("say which with --keyspace")
        })
    }
}

impl Sink for Loader<'_> {
    fn enter(&mut self, keyspace: &str) -> Result<(), Failure> {
        self.target.enter(keyspace)
    }

    fn add(&mut self, record: &Record) -> Result<(), Failure> {
        self.batch.insert(self.target.keyspace()?, &record.key, &record.value);
        Ok(())
    }

    fn write(&mut self) -> Result<(), Failure> {
        let db = self.target.db;
        let batch = std::mem::replace(&mut self.batch, db.batch());
        db.write_with(batch, self.options).doing("write a batch")?;
        Ok(())
    }
}

impl Sink for BulkLoader<'_> {
    fn enter(&mut self, keyspace: &str) -> Result<(), Failure> {
        self.target.enter(keyspace)
    }

    fn add(&mut self, record: &Record) -> Result<(), Failure> {
        const DOING: &str = "load a record";
        let keyspace = self.target.keyspace()?;
        let at = match self.loads.iter().position(|(id, _)| *id == keyspace.id()) {
            Some(at) => at,
            None => {
                self.loads.push((keyspace.id(), keyspace.ingest_unsorted().doing(DOING)?));
                self.loads.len() - 1
            }
        };
        self.loads[at].1.insert(&record.key, &record.value).doing(DOING)
    }

    fn write(&mut self) -> Result<(), Failure> {
        let loads = std::mem::take(&mut self.loads).into_iter().map(|(_, load)| load);
        self.target.db.finish_ingests(loads).doing("finish the load")?;
        Ok(())
    }
}

fn progress_line(read_bytes: u64, input_bytes: Option<u64>, records: u64, elapsed: Duration) -> String {
    let of = input_bytes.map_or_else(String::new, |bytes| {
        let percent = (read_bytes as f64 / bytes.max(1) as f64 * 100.0).min(100.0);
        format!(" of {} ({percent:.0} %)", text::size(bytes))
    });
    let per_s = records as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{}{of}, {records} records, {per_s:.0} records/s", text::size(read_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what was written, and fails the batch of this number.
    #[derive(Default)]
    struct Kept {
        open: Vec<String>,
        written: Vec<Vec<String>>,
        fails_at: Option<usize>,
    }

    impl Sink for Kept {
        fn enter(&mut self, keyspace: &str) -> Result<(), Failure> {
            self.open.push(format!("{keyspace}:"));
            Ok(())
        }

        fn add(&mut self, record: &Record) -> Result<(), Failure> {
            self.open.push(String::from_utf8(record.key.clone()).unwrap());
            Ok(())
        }

        fn write(&mut self) -> Result<(), Failure> {
            if self.fails_at == Some(self.written.len()) {
                return Err(Failure::new(exit::NO_ROOM, "write a batch", "full"));
            }
            self.written.push(std::mem::take(&mut self.open));
            Ok(())
        }
    }

    fn run(
        format: Format,
        input: &str,
        limits: BatchLimits,
        sink: &mut Kept,
    ) -> (Loaded, Result<(), Failure>) {
        let mut loaded = Loaded::new(format);
        let mut records = formats::records(format, input.as_bytes());
        let result = pump(&mut *records, limits, sink, &mut loaded, "load f", &mut |_, _| {});
        (loaded, result)
    }

    fn lines(keys: &str) -> String {
        keys.chars().map(|key| format!("{{\"key\":\"{key}\",\"value\":\"12345\"}}\n")).collect()
    }

    const TWO: BatchLimits = BatchLimits { records: 2, bytes: u64::MAX };

    #[test]
    fn batches_are_full_but_the_last() {
        let mut sink = Kept::default();

        let (loaded, result) = run(Format::Jsonl, &lines("abcde"), TWO, &mut sink);

        result.unwrap();
        assert_eq!(sink.written, [&["a", "b"][..], &["c", "d"], &["e"]]);
        assert_eq!((loaded.records, loaded.batches, loaded.bytes), (5, 3, 30));
    }

    #[test]
    fn large_records_end_a_batch_early() {
        let mut sink = Kept::default();

        let (_, result) = run(Format::Jsonl, &lines("abc"), BatchLimits { records: 9, bytes: 12 }, &mut sink);

        result.unwrap();
        assert_eq!(sink.written, [&["a", "b"][..], &["c"]]);
    }

    #[test]
    fn batches_go_on_over_keyspaces() {
        let mut sink = Kept::default();
        let input = format!("{{\"keyspace\":\"K\"}}\n{}{{\"keyspace\":\"L\"}}\n{}", lines("a"), lines("bc"));

        let (loaded, result) = run(Format::Jsonl, &input, TWO, &mut sink);

        result.unwrap();
        assert_eq!(sink.written, [&["K:", "a", "L:", "b"][..], &["c"]]);
        assert_eq!((loaded.records, loaded.batches), (3, 2));
    }

    #[test]
    fn empty_file_writes_nothing() {
        let mut sink = Kept::default();

        let (loaded, result) = run(Format::Jsonl, "\n\n", TWO, &mut sink);

        result.unwrap();
        assert_eq!((loaded.records, loaded.batches, sink.written.len()), (0, 0, 0));
    }

    #[test]
    fn malformed_line_leaves_its_batch_unwritten_and_those_before_written() {
        let mut sink = Kept::default();

        let (loaded, result) =
            run(Format::Jsonl, &(lines("abc") + "nonsense\n" + &lines("d")), TWO, &mut sink);

        assert_eq!(sink.written, [["a", "b"]]);
        assert_eq!(loaded.records, 2);
        let Err(Failure::Report { code, message, .. }) = result else { panic!("no failure") };
        assert_eq!(code, exit::FAILURE);
        assert!(message.starts_with("line 4: column 2:"), "{message}");
    }

    #[test]
    fn failed_write_counts_what_came_before() {
        let mut sink = Kept { fails_at: Some(1), ..Kept::default() };

        let (loaded, result) = run(Format::Jsonl, &lines("abcde"), TWO, &mut sink);

        assert_eq!(loaded.records, 2);
        assert!(matches!(result, Err(Failure::Report { code: exit::NO_ROOM, .. })));
    }

    #[test]
    fn stanzas_and_distinct_names_are_counted() {
        let mut sink = Kept::default();
        let input = "Package: a\n\nPackage: b\n\nPackage: a\nVersion: 2\n";

        let (loaded, result) = run(Format::Deb822, input, TWO, &mut sink);

        result.unwrap();
        assert_eq!(loaded.records_text(), "3 stanzas");
        assert_eq!(loaded.names.unwrap().len(), 2);
        assert_eq!(sink.written, [&["a", "b"][..], &["a"]]);
    }

    #[test]
    fn progress_says_how_far_and_how_fast() {
        let line = progress_line(512, Some(1024), 30, Duration::from_secs(3));
        assert_eq!(line, "512 B of 1.0 KiB (50 %), 30 records, 10 records/s");
        assert_eq!(progress_line(512, None, 30, Duration::from_secs(3)), "512 B, 30 records, 10 records/s");
    }
}
