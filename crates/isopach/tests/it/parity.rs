//! Parity, whole: what decay within its budget does to a database (nothing), what decay beyond it does (an error with its
//! place), and how files that decayed are written anew.

use isopach::{
    CheckpointOptions, Cipher, CopiesIn, Db, ErrorKind, Keyspace, KeyspaceOptions, Parity, PerLevel,
    Progress, ScrubOptions, VerifyDepth, VerifyOptions,
    env::{Call, CrashFs, Errno, Fault, FaultFs, Fs, MemFs, OpenMode, Rule, SubDir},
};
use std::{
    collections::BTreeSet,
    ops::{ControlFlow, Range},
    sync::Arc,
};
use testkit::{
    Entries, Rng,
    crash::{Act, Crash, Ledger, Pace, Plan, Run, explore},
    db::{
        SOON, entries, env_of, files_in, read_file, read_file_if_any, separating, tiny, tiny_tables,
        wait_until,
    },
    keys::TestKeys,
    seeds,
};

const SCHEMES: [Parity; 3] =
    [Parity::SecDed, Parity::Xor { data: 4 }, Parity::ReedSolomon { data: 4, parity: 2 }];

pub(super) fn protected(parity: Parity) -> KeyspaceOptions {
    separating(tiny_tables()).parity(parity).blob_parity(parity)
}

pub(super) fn builder(fs: &MemFs, cipher: Option<Cipher>) -> isopach::Builder {
    let builder = tiny(Db::builder("db").env(env_of(fs.clone())));
    match cipher {
        Some(cipher) => builder.encryption(TestKeys::current(1)).cipher(cipher),
        None => builder,
    }
}

/// Tables, and separated values beside them, at rest; and what they hold.
fn database(parity: Parity, cipher: Option<Cipher>) -> (MemFs, Entries) {
    let fs = MemFs::new();
    let db = builder(&fs, cipher).open().unwrap();
    let keyspace = db.keyspace_with("k", protected(parity)).unwrap();
    let mut rng = Rng::new(7);
    for number in 0..1600_u32 {
        let bytes = if number % 3 == 0 { 400 } else { 100 };
        keyspace.insert(number.to_be_bytes(), rng.bytes(bytes)).unwrap();
    }
    db.flush().unwrap();
    keyspace.compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();
    let expected = entries(&keyspace);
    drop(keyspace);
    db.close().unwrap();
    (fs, expected)
}

/// Files that have parity, and the bytes of each before it.
pub(super) fn protected_files(fs: &MemFs, parity: Parity) -> Vec<(String, u64)> {
    let names = ["tables", "blobs"].into_iter().flat_map(|directory| {
        files_in(fs, directory).into_iter().map(move |name| format!("{directory}/{name}"))
    });
    let content = |name: &String| {
        let all = read_file(fs, name).len() as u64;
        (1..=all).find(|&content| content + parity.trailer_bytes(content) == all).expect("it has parity")
    };
    names.map(|name| (name.clone(), content(&name))).collect()
}

pub(super) fn change(fs: &MemFs, name: &str, bytes: Range<u64>, with: impl Fn(u8) -> u8) {
    let file = fs.open(name, OpenMode::ReadWrite).unwrap();
    let mut read = vec![0; (bytes.end - bytes.start) as usize];
    file.read_exact_at(bytes.start, &mut read).unwrap();
    read.iter_mut().for_each(|byte| *byte = with(*byte));
    file.write_at(bytes.start, &read).unwrap();
}

/// The bytes of a shard, by the description of the format: stripes of so many shards of 4 KiB.
fn shard(content: u64, data: u64, stripe: u64, at: u64) -> Range<u64> {
    let start = stripe * data * 4096;
    let from = (start + at * 4096).min(content);
    from..(from + 4096).min(content)
}

/// Damages a file, as much as its parity bears, or more. Whether it was more.
fn decay(fs: &MemFs, (name, content): &(String, u64), parity: Parity, rng: &mut Rng, is_too_much: bool) {
    let content = *content;
    let any = |rng: &mut Rng, below: u64| rng.below(below as usize) as u64;
    let (data, spare) = match parity {
        Parity::Xor { data } => (u64::from(data), 1),
        Parity::ReedSolomon { data, parity } => (u64::from(data), u64::from(parity)),
        _ => {
            // A bit of some words, or two bits of one.
            let words = content / 8;
            for _ in 0..=any(rng, 4) {
                let (word, bit) = (any(rng, words), any(rng, 64));
                // Twice the same word would be too much, or nothing.
                change(fs, name, word * 8..word * 8 + 8, |byte| byte);
                let at = word * 8 + bit / 8;
                if !is_too_much {
                    change(fs, name, at..at + 1, |byte| byte ^ 1 << (bit % 8));
                    return;
                }
                let other = (bit + 1 + any(rng, 63)) % 64;
                let at_other = word * 8 + other / 8;
                change(fs, name, at..at + 1, |byte| byte ^ 1 << (bit % 8));
                change(fs, name, at_other..at_other + 1, |byte| byte ^ 1 << (other % 8));
            }
            return;
        }
    };
    let stripe = any(rng, content.div_ceil(data * 4096));
    let shards: Vec<Range<u64>> =
        (0..data).map(|at| shard(content, data, stripe, at)).filter(|bytes| !bytes.is_empty()).collect();
    let lost = if is_too_much { shards.len() } else { spare as usize };
    let first = any(rng, shards.len() as u64) as usize;
    for at in 0..lost.min(shards.len()) {
        let bytes = shards[(first + at) % shards.len()].clone();
        match rng.below(3) {
            0 => change(fs, name, bytes, |_| 0),
            1 => change(fs, name, bytes, |byte| !byte),
            _ => {
                let at = bytes.start + any(rng, bytes.end - bytes.start);
                change(fs, name, at..at + 1, |byte| byte ^ 0x40);
            }
        }
    }
}

/// What reading everything says: what is there, and the errors, each with its file.
fn read_all(fs: &MemFs, cipher: Option<Cipher>) -> Result<Entries, isopach::Error> {
    let db = builder(fs, cipher).open_read_only()?;
    let keyspace = db.keyspace("k")?;
    let entries: isopach::Result<Vec<_>> = keyspace.iter().collect();
    Ok(entries?.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect())
}

/// A cell for each cipher, scheme and kind of file. `ISOPACH_SWEEP=long` has a thousand damages in each.
#[test]
fn decay_within_the_budget_is_not_seen_and_beyond_it_is_an_error_with_its_place() {
    let damages = if std::env::var("ISOPACH_SWEEP").as_deref() == Ok("long") { 1000 } else { 24 };
    for seed in seeds(1) {
        let mut rng = Rng::new(seed);
        for cipher in [None, Some(Cipher::Aes256Gcm), Some(Cipher::ChaCha20Poly1305)] {
            for parity in SCHEMES {
                let (fs, expected) = database(parity, cipher);
                let files = protected_files(&fs, parity);
                for kind in ["tables/", "blobs/"] {
                    let of_kind: Vec<_> = files.iter().filter(|(name, _)| name.starts_with(kind)).collect();
                    let mut refused = 0;
                    for round in 0..damages {
                        let is_too_much = round % 3 == 2;
                        let (image, file) = (fs.deep_clone(), of_kind[rng.below(of_kind.len())]);
                        decay(&image, file, parity, &mut rng, is_too_much);
                        let what = format!("{cipher:?}, {parity}, {kind}, {is_too_much}, seed {seed}");
                        match read_all(&image, cipher) {
                            Ok(found) => assert_eq!(found, expected, "{what}"),
                            Err(error) => {
                                assert!(is_too_much, "{what}: {error}");
                                assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
                                assert!(error.to_string().contains(&file.0), "{what}: {error}");
                                refused += 1;
                            }
                        }
                    }
                    assert!(refused > 0, "{cipher:?}, {parity}, {kind}: too much is noticed");
                }
            }
        }
    }
}

#[test]
fn any_bit_of_a_protected_file_may_change_its_header_its_parity_and_its_end_too() {
    for parity in SCHEMES {
        let (fs, expected) = database(parity, None);
        for (name, _) in protected_files(&fs, parity) {
            let bytes = read_file(&fs, &name).len() as u64;
            let ends = (0..64).chain(bytes - 200..bytes);
            for at in ends.chain((0..bytes).step_by(bytes as usize / 60)) {
                change(&fs, &name, at..at + 1, |byte| byte ^ 0x08);
                assert_eq!(read_all(&fs, None).unwrap(), expected, "{parity}, byte {at} of {name}");
                change(&fs, &name, at..at + 1, |byte| byte ^ 0x08);
            }
        }
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_restored() {
    let parity = Parity::ReedSolomon { data: 4, parity: 2 };
    let (fs, expected) = database(parity, None);
    for (name, _) in protected_files(&fs, parity) {
        for sector in 0..read_file(&fs, &name).len() as u64 / 4096 {
            let faults = FaultFs::new(Arc::new(fs.clone()));
            let at = sector * 4096..(sector + 1) * 4096;
            faults.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::Read).named(&name).at(at));
            let db = tiny(Db::builder("db").env(env_of(faults.clone()))).open_read_only().unwrap();
            assert_eq!(entries(&db.keyspace("k").unwrap()), expected, "sector {sector} of {name}");
            assert_eq!(db.stats().healing.corrected > 0, !faults.fired().is_empty(), "{name}");
        }
    }
}

fn on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn is_sound(db: &Db) -> bool {
    db.verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap().found.is_empty()
}

/// Nobody asks for it: who reads what decayed has it written anew.
#[test]
fn files_that_had_to_be_corrected_are_written_anew_in_the_background() {
    for parity in SCHEMES {
        let (fs, expected) = database(parity, None);
        let decayed = protected_files(&fs, parity);
        decayed.iter().for_each(|(name, _)| change(&fs, name, 100..101, |byte| byte ^ 1));
        let db = builder(&fs, None).open().unwrap();
        let keyspace = db.keyspace("k").unwrap();

        assert_eq!(entries(&keyspace), expected);
        wait_until("all is healed", || {
            let healing = db.stats().healing;
            healing.scheduled > 0 && healing.pending == 0
        });

        assert_eq!(entries(&keyspace), expected);
        let gone = |name: &str| fs.exists(name) == Ok(false);
        wait_until("the old files go", || decayed.iter().all(|(name, _)| gone(name)));
        assert!(is_sound(&db), "{parity}");
        let before = db.stats().healing;
        assert_eq!(before.scheduled, decayed.len() as u64, "each once");
        assert!(before.corrected >= before.scheduled);
        drop(keyspace);
        db.close().unwrap();
        assert_eq!(read_all(&fs, None).unwrap(), expected);
    }
}

#[test]
fn healing_can_be_switched_off_and_on_while_the_database_is_open() {
    let parity = Parity::Xor { data: 4 };
    let (fs, expected) = database(parity, None);
    let (name, _) = protected_files(&fs, parity).remove(0);
    change(&fs, &name, 100..101, |byte| byte ^ 1);
    let db = builder(&fs, None).auto_heal(false).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();

    assert_eq!(entries(&keyspace), expected);
    db.wait_idle(SOON).unwrap();
    assert_eq!((db.stats().healing.pending, fs.exists(&name)), (1, Ok(true)), "it is known, and left");

    db.set_options(|options| options.auto_heal = true).unwrap();
    wait_until("it is healed", || db.stats().healing.pending == 0 && fs.exists(&name) == Ok(false));
    assert_eq!(entries(&keyspace), expected);
}

#[test]
fn a_scrub_finds_what_nobody_reads_and_heals_it() {
    for parity in SCHEMES {
        let (fs, expected) = database(parity, None);
        let decayed = protected_files(&fs, parity);
        // Of one its parity alone.
        for (at, (name, content)) in decayed.iter().enumerate() {
            let byte = if at == 0 { content + 3 } else { 5000.min(content - 9) };
            change(&fs, name, byte..byte + 1, |byte| byte ^ 0x80);
        }
        let db = builder(&fs, None).auto_heal(false).open().unwrap();
        let mut steps = Vec::new();
        let note = |progress: &Progress| {
            steps.push((progress.done, progress.total));
            ControlFlow::Continue(())
        };

        let only_told = db.scrub(ScrubOptions::new().heal(false), note).unwrap();
        assert_eq!((only_told.healed, only_told.unhealed), (0, decayed.len() as u64), "{parity}");
        assert!(steps.is_sorted() && steps.last().is_some_and(|(done, total)| done == total), "{steps:?}");
        let report = db.scrub(ScrubOptions::new(), on).unwrap();

        assert_eq!((report.healed, report.unhealed), (decayed.len() as u64, 0), "{parity}: {report:?}");
        let named: BTreeSet<&str> = report.checked.found.iter().map(|found| found.file.as_str()).collect();
        assert!(decayed.iter().all(|(name, _)| named.contains(name.as_str())), "{named:?}");
        assert!(report.checked.found.iter().all(|found| found.is_harmless), "{:?}", report.checked.found);
        assert!(db.health().damaged_tables.is_empty(), "nothing is lost");
        assert!(is_sound(&db));
        assert_eq!(entries(&db.keyspace("k").unwrap()), expected);
    }
}

#[test]
fn a_scrub_ends_when_it_is_told_to_and_keeps_to_its_pace() {
    let parity = Parity::SecDed;
    let (fs, _) = database(parity, None);
    let db = builder(&fs, None).open().unwrap();
    let error = db.scrub(ScrubOptions::new(), |_| ControlFlow::Break(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);

    let bytes = db.scrub(ScrubOptions::new(), on).unwrap().checked.bytes;
    let start = std::time::Instant::now();
    db.scrub(ScrubOptions::new().bytes_per_s(bytes * 10), on).unwrap();
    assert!(start.elapsed().as_millis() >= 95, "a tenth of a second at least");
}

#[test]
fn what_is_beyond_the_budget_stays_and_is_told_and_the_rest_is_healed() {
    let parity = Parity::Xor { data: 4 };
    let (fs, expected) = database(parity, None);
    let files = protected_files(&fs, parity);
    let tables: Vec<_> = files.iter().filter(|(name, _)| name.starts_with("tables/")).collect();
    assert!(tables.len() > 1);
    let (lost, content) = tables[0];
    (0..4).for_each(|at| change(&fs, lost, shard(*content, 4, 0, at), |byte| !byte));
    change(&fs, &tables[1].0, 100..101, |byte| byte ^ 1);
    let db = builder(&fs, None).open().unwrap();

    let report = db.scrub(ScrubOptions::new(), on).unwrap();

    // By the scrub, or by the background before it came there.
    let healing = db.stats().healing;
    assert_eq!((healing.scheduled, healing.pending, report.unhealed), (1, 0, 0), "{report:?}");
    assert!(report.checked.found.iter().any(|found| &found.file == lost && !found.is_harmless));
    assert!(fs.exists(lost).unwrap(), "nothing that may still be restored elsewhere is removed");
    let damaged = db.health().damaged_tables;
    assert!(matches!(&damaged[..], [damaged] if damaged.message.contains(lost.as_str())), "{damaged:?}");
    let keyspace = db.keyspace("k").unwrap();
    let mut answers = 0;
    for (key, value) in &expected {
        match keyspace.get(key) {
            Ok(found) => {
                assert_eq!(found.as_deref(), Some(&value[..]));
                answers += 1;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption),
        }
    }
    assert!(answers > 0 && answers < expected.len(), "reads outside of the damage go on");
}

#[test]
fn levels_have_parity_of_their_own_and_options_change_while_in_use() {
    let fs = MemFs::new();
    let db = builder(&fs, None).open().unwrap();
    let by_level = PerLevel(vec![Parity::None, Parity::None, Parity::Xor { data: 8 }]);
    let keyspace = db.keyspace_with("k", tiny_tables().parity(by_level)).unwrap();
    let parities = |fs: &MemFs| -> BTreeSet<[u8; 3]> {
        let names = files_in(fs, "tables").into_iter().map(|name| format!("tables/{name}"));
        let tables = names.filter_map(|name| read_file_if_any(fs, &name));
        tables.map(|bytes| bytes[48..51].try_into().unwrap()).collect()
    };
    let fill = |keyspace: &Keyspace| {
        for number in 0..300_u32 {
            keyspace.insert(number.to_be_bytes(), [7; 50]).unwrap();
        }
    };
    fill(&keyspace);
    db.flush().unwrap();
    assert!(parities(&fs).contains(&[0; 3]), "level 0");
    keyspace.compact_range(..).unwrap();
    wait_until("the inputs go", || parities(&fs).len() == 1);
    assert_eq!(parities(&fs), [[2, 8, 1]].into());

    keyspace.set_options(|options| options.parity = Parity::SecDed.into()).unwrap();
    fill(&keyspace);
    keyspace.compact_range(..).unwrap();
    wait_until("the inputs go", || parities(&fs).len() == 1);
    assert_eq!(parities(&fs), [[1, 0, 0]].into());
    let out_of_bounds = keyspace.set_options(|options| options.parity = Parity::Xor { data: 1 }.into());
    assert_eq!(out_of_bounds.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// A scheme that this program does not know: the file is read, nothing is corrected, and a check says so.
#[test]
fn an_unknown_scheme_is_read_without_correction() {
    let (fs, _) = database(Parity::None, None);
    let table = format!("tables/{}", files_in(&fs, "tables")[0]);
    let meta = isopach::engine::table::TableMeta {
        parity: Parity::from_raw([9, 1, 2]),
        ..isopach::engine::table::Table::read_meta(
            &(Arc::new(fs.clone()) as Arc<dyn Fs>),
            isopach::engine::types::TableId(table["tables/".len()..][..6].parse().unwrap()),
            isopach::Uuid(read_file(&fs, "IDENTITY")[24..40].try_into().unwrap()),
        )
        .unwrap()
    };
    assert_eq!(isopach::engine::table::TableMeta::decode(&meta.encode()).unwrap(), meta);
    // As a later program would have written it: the scheme in the header, and bytes behind what it protects.
    let mut bytes = read_file(&fs, &table);
    bytes[48..51].copy_from_slice(&[9, 1, 2]);
    let check = isopach::engine::codec::digest(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&check[..4]);
    bytes.extend([0xAB; 500]);
    let file = fs.open(&table, OpenMode::ReadWrite).unwrap();
    file.write_at(0, &bytes).unwrap();
    let cache = Arc::new(isopach::engine::table::DataCache::new(1 << 20));
    let database = isopach::Uuid(read_file(&fs, "IDENTITY")[24..40].try_into().unwrap());
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let open = isopach::engine::table::Table::open(&fs, Arc::new(meta), database, &cache).unwrap();
    assert!(open.get(&open.meta().first_key, isopach::Seqno::MAX).unwrap().is_some());
    let found = open.verify(VerifyDepth::Full, &isopach::engine::prefix::PrefixExtractors::new());
    assert!(
        found.iter().any(|found| found.is_harmless && found.message.contains("unknown:9:1+2")),
        "{found:?}"
    );
}

/// Every write, sync and rename of healing fails once; afterwards everything is there and is healed.
#[test]
fn healing_survives_failures_at_every_step() {
    let parity = Parity::Xor { data: 4 };
    let (fs, expected) = database(parity, None);
    let (name, _) = protected_files(&fs, parity).remove(0);
    change(&fs, &name, 100..101, |byte| byte ^ 1);
    let mut failures = 0;
    for call in [Call::Create, Call::Write, Call::Sync, Call::SyncDir, Call::RemoveFile] {
        for skip in 0..12 {
            let files = fs.deep_clone();
            let faults = FaultFs::new(Arc::new(files.clone()));
            let db = tiny(Db::builder("db").env(env_of(faults.clone()))).auto_heal(false).open().unwrap();
            db.wait_idle(SOON).unwrap();
            faults.arm(Rule::new(Fault::Fail(Errno::NoSpace)).on(call).skip(skip).times(1));
            let _ = db.scrub(ScrubOptions::new(), on);
            failures += faults.fired().len();
            drop(db);
            assert_eq!(read_all(&files, None).unwrap(), expected, "{call:?} {skip}");
            let db = builder(&files, None).open().unwrap();
            db.scrub(ScrubOptions::new(), on).unwrap();
            assert!(is_sound(&db), "{call:?} {skip}");
        }
    }
    assert!(failures >= 8, "{failures}");
}

#[test]
fn healing_survives_a_crash_at_every_step() {
    for seed in seeds(1) {
        let files = CrashFs::new();
        let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
        let mut healed = 0;
        let explored = explore(&files, &mut run, Plan::new(seed, Crash::Process).one_in(2), |run| {
            run.perform(&[Act::Fill, Act::Flush, Act::Fill, Act::Flush, Act::Compact, Act::Wait]);
            run.close();
            for directory in ["db/tables", "db/blobs"] {
                for name in files_in(run.files(), directory) {
                    let file = run.files().open(&format!("{directory}/{name}"), OpenMode::ReadWrite).unwrap();
                    let mut header = [0; 64];
                    file.read_exact_at(0, &mut header).unwrap();
                    if header[48..51] != [0; 3] {
                        file.write_at(60, &[header[60] ^ 1]).unwrap();
                    }
                }
            }
            run.open();
            let scrubbed = run.db().scrub(ScrubOptions::new(), on).unwrap();
            healed += scrubbed.healed + run.db().stats().healing.scheduled;
            run.perform(&[Act::Put, Act::Wait]);
            run.close();
        });
        let explored = explored.unwrap_or_else(|violation| panic!("{violation}"));
        assert!(explored.images > 50 && healed > 0, "{explored}, {healed} healed");
    }
}

/// Without any parity: what a checkpoint has helps as well, and what another database has does not.
#[test]
fn what_parity_does_not_restore_comes_from_a_clean_copy() {
    for cipher in [None, Some(Cipher::Aes256Gcm)] {
        let (fs, expected) = database(Parity::None, cipher);
        let copy = MemFs::new();
        let db = builder(&fs, cipher).open().unwrap();
        db.checkpoint_to(Arc::new(copy.clone()), "copy", CheckpointOptions::default()).unwrap();
        db.close().unwrap();
        let copy: Arc<dyn Fs> = Arc::new(SubDir::open(Arc::new(copy), "copy").unwrap());
        let (other, _) = database(Parity::None, cipher);
        let damaged: Vec<String> = ["tables", "blobs"]
            .into_iter()
            .flat_map(|directory| {
                files_in(&fs, directory).into_iter().map(move |name| format!("{directory}/{name}"))
            })
            .collect();
        for name in &damaged {
            let bytes = read_file(&fs, name).len() as u64;
            (0..bytes).step_by(997).for_each(|at| change(&fs, name, at..at + 1, |byte| byte ^ 0x20));
        }

        let without = read_all(&fs, cipher).unwrap_err();
        assert_eq!(without.kind(), ErrorKind::Corruption);
        let strange =
            builder(&fs, cipher).clean_copies(CopiesIn::fs(Arc::new(other))).open_read_only().unwrap();
        assert!(strange.keyspace("k").unwrap().iter().any(|entry| entry.is_err()), "it is another database");
        drop(strange);
        let db = builder(&fs, cipher).clean_copies(CopiesIn::fs(copy)).auto_heal(false).open().unwrap();
        assert_eq!(entries(&db.keyspace("k").unwrap()), expected);
        let report = db.scrub(ScrubOptions::new(), on).unwrap();
        assert_eq!((report.healed, report.unhealed), (damaged.len() as u64, 0), "{report:?}");
        assert_eq!(report.checked.lost().count(), 0, "{report:?}");
        db.close().unwrap();
        assert_eq!(read_all(&fs, cipher).unwrap(), expected, "no copy is needed any more");
    }
}
