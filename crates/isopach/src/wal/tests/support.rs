//! Files that fail on demand and remember every change, and a log over them.

use crate::options::LogRecovery;
use crate::wal::{
    AppendRecord, LogFacts, LogRecord, Reading, RecordKind, Recovered, Wal, WalOptions, recover,
};
use isopach_engine::{
    codec::LogPosition,
    error::Result,
    types::{Seqno, UnixUs, Uuid},
    version::FileRegistry,
};
use isopach_env::{
    CreateOptions, DirEntry, Entropy, Env, File, FileMap, Fs, IoErrorKind, IoResult, Job, MemFs, OpenMode,
    SeededEntropy, Spawn, SyncMode, SyncSite, TestClock, ThreadSpawn, WriteOrigin,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(super) const DATABASE: Uuid = Uuid([0xDB; 16]);

/// A change, as the medium sees it. Files are numbered by their creation.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create { name: String, inode: usize },
    Remove { name: String },
    Rename { from: String, to: String },
    Write { inode: usize, offset: u64, data: Vec<u8> },
    SetLen { inode: usize, bytes: u64 },
    Sync { inode: usize },
    SyncDir,
}

/// Which calls fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    Create,
    Allocate,
    Write,
    Sync,
    SyncDir,
    Map,
    Rename,
}

/// A failure to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) call: Call,
    /// Calls that pass first.
    pub(super) skip: usize,
    /// Calls that fail then.
    pub(super) times: usize,
    pub(super) kind: IoErrorKind,
    /// Bytes that a failing write puts down all the same.
    pub(super) prefix: usize,
}

impl Fault {
    pub(super) fn once(call: Call, kind: IoErrorKind) -> Fault {
        Fault { call, skip: 0, times: 1, kind, prefix: 0 }
    }
}

/// Files in memory that fail on demand and remember every change.
#[derive(Clone)]
pub(super) struct TestFs {
    pub(super) mem: MemFs,
    /// Whether space can be reserved.
    can_allocate: bool,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    changes: Vec<Change>,
    inodes: BTreeMap<String, usize>,
    inodes_count: usize,
    faults: Vec<Fault>,
    sync_sites: Vec<&'static str>,
    /// Stores to maps so far.
    stores: usize,
    /// What happens while the next sync of a file runs.
    beside_sync: Option<Box<dyn FnOnce() + Send>>,
}

impl TestFs {
    pub(super) fn new(can_allocate: bool) -> TestFs {
        let mem = MemFs::new();
        mem.create_dir("wal").unwrap();
        TestFs::over(mem, can_allocate)
    }

    /// What `mem` holds counts as durable: it is written down as if it had been written and synced.
    pub(super) fn over(mem: MemFs, can_allocate: bool) -> TestFs {
        let mut memory = Memory::default();
        for entry in mem.list("wal").unwrap() {
            let name = format!("wal/{}", entry.name);
            let inode = memory.name_new(&name);
            let data = read(&mem, &name);
            memory.changes.push(Change::Write { inode, offset: 0, data });
            memory.changes.push(Change::Sync { inode });
        }
        memory.changes.push(Change::SyncDir);
        TestFs { mem, can_allocate, memory: Arc::new(Mutex::new(memory)) }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arm(&self, fault: Fault) {
        self.memory().faults.push(fault);
    }

    pub(super) fn disarm(&self) {
        self.memory().faults.clear();
    }

    pub(super) fn changes(&self) -> Vec<Change> {
        self.memory().changes.clone()
    }

    /// Changes so far: a point at which power can fail.
    pub(super) fn step(&self) -> usize {
        self.memory().changes.len()
    }

    /// Stores to maps so far.
    pub(super) fn stores(&self) -> usize {
        self.memory().stores
    }

    /// Does something while the next sync of a file runs: behind all that it covers.
    pub(super) fn beside_next_sync(&self, work: impl FnOnce() + Send + 'static) {
        self.memory().beside_sync = Some(Box::new(work));
    }

    /// Where syncs were asked for since the last call, oldest first.
    pub(super) fn take_sync_sites(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.memory().sync_sites)
    }
}

impl Memory {
    fn name_new(&mut self, name: &str) -> usize {
        let inode = self.inodes_count;
        self.inodes_count += 1;
        self.inodes.insert(name.into(), inode);
        self.changes.push(Change::Create { name: name.into(), inode });
        inode
    }

    /// The fault that hits this call.
    fn hit(&mut self, call: Call) -> Option<Fault> {
        let fault = self.faults.iter_mut().find(|fault| fault.call == call && fault.times > 0)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        Some(*fault)
    }

    fn check(&mut self, call: Call) -> IoResult<()> {
        self.hit(call).map_or(Ok(()), |fault| Err(fault.kind.into()))
    }
}

impl Fs for TestFs {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        let file = self.mem.open(name, mode)?;
        let inode = self.memory().inodes[name];
        Ok(Arc::new(TestFile { fs: self.clone(), file, inode }))
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        self.memory().check(Call::Create)?;
        let file = self.mem.create(name, options)?;
        let inode = self.memory().name_new(name);
        Ok(Arc::new(TestFile { fs: self.clone(), file, inode }))
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        self.mem.create_dir(name)
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.mem.list(dir)
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        self.mem.remove_file(name)?;
        let mut memory = self.memory();
        memory.inodes.remove(name);
        memory.changes.push(Change::Remove { name: name.into() });
        Ok(())
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        self.mem.remove_dir(name)
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let mut memory = self.memory();
        memory.check(Call::Rename)?;
        assert!(!self.mem.exists(to)?, "the log replaces no file");
        self.mem.rename(from, to)?;
        let inode = memory.inodes.remove(from).expect("it is there");
        memory.inodes.insert(to.into(), inode);
        memory.changes.push(Change::Rename { from: from.into(), to: to.into() });
        Ok(())
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        assert_eq!(dir, "wal");
        let mut memory = self.memory();
        memory.sync_sites.push(site.0);
        memory.check(Call::SyncDir)?;
        memory.changes.push(Change::SyncDir);
        Ok(())
    }
}

struct TestFile {
    fs: TestFs,
    file: Arc<dyn File>,
    inode: usize,
}

impl File for TestFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        let mut memory = self.fs.memory();
        let fault = memory.hit(Call::Write);
        let data = &data[..fault.map_or(data.len(), |fault| fault.prefix.min(data.len()))];
        let written = self.file.write_at(offset, data);
        if written.is_ok() && !data.is_empty() {
            memory.changes.push(Change::Write { inode: self.inode, offset, data: data.into() });
        }
        fault.map_or(written, |fault| Err(fault.kind.into()))
    }

    fn sync(&self, _mode: SyncMode, site: SyncSite) -> IoResult<()> {
        let mut memory = self.fs.memory();
        memory.sync_sites.push(site.0);
        memory.check(Call::Sync)?;
        memory.changes.push(Change::Sync { inode: self.inode });
        let beside = memory.beside_sync.take();
        drop(memory);
        if let Some(beside) = beside {
            beside();
        }
        Ok(())
    }

    fn size_bytes(&self) -> IoResult<u64> {
        self.file.size_bytes()
    }

    fn set_len(&self, bytes: u64) -> IoResult<()> {
        let mut memory = self.fs.memory();
        self.file.set_len(bytes)?;
        memory.changes.push(Change::SetLen { inode: self.inode, bytes });
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        let mut memory = self.fs.memory();
        memory.check(Call::Allocate)?;
        if !self.fs.can_allocate {
            return Err(IoErrorKind::Unsupported.into());
        }
        let before = self.file.size_bytes()?;
        self.file.allocate(bytes)?;
        memory.changes.push(Change::SetLen { inode: self.inode, bytes: bytes.max(before) });
        Ok(())
    }

    fn map(&self, bytes: u64) -> IoResult<Box<dyn FileMap>> {
        self.fs.memory().check(Call::Map)?;
        let map = self.file.map(bytes)?;
        Ok(Box::new(TestMap { fs: self.fs.clone(), map, inode: self.inode }))
    }
}

struct TestMap {
    fs: TestFs,
    map: Box<dyn FileMap>,
    inode: usize,
}

impl FileMap for TestMap {
    fn store(&self, offset: u64, data: &[u8]) {
        let mut memory = self.fs.memory();
        self.map.store(offset, data);
        memory.stores += 1;
        memory.changes.push(Change::Write { inode: self.inode, offset, data: data.into() });
    }
}

/// A log over files in memory.
pub(super) struct Bench {
    pub(super) fs: TestFs,
    pub(super) env: Env,
    pub(super) registry: FileRegistry,
    pub(super) options: WalOptions,
    pub(super) facts: LogFacts,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::over(TestFs::new(true), 1)
    }

    pub(super) fn over(fs: TestFs, seed: u64) -> Bench {
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
        Bench {
            fs,
            env: Env::new(Arc::clone(&shared), Arc::new(TestClock::new()), entropy),
            registry: FileRegistry::new(shared),
            options: WalOptions { segment_bytes: 4096, maps: false },
            facts: LogFacts::NEW,
        }
    }

    /// What another process finds that opens the files as they are now.
    pub(super) fn killed(&self) -> Bench {
        self.on(self.fs.mem.deep_clone())
    }

    /// The same database over other files.
    pub(super) fn on(&self, mem: MemFs) -> Bench {
        let mut other = Bench::over(TestFs::over(mem, self.fs.can_allocate), 2);
        other.facts = self.facts;
        other.options = self.options;
        other
    }

    pub(super) fn recover(&self) -> Result<Recovered> {
        let by = |spawn: &dyn Spawn| {
            let reading = Reading { spawn, watch: &mut |_, _| Ok(()) };
            recover(&self.fs, DATABASE, self.facts, LogRecovery::TornEnd, reading)
        };
        let found = by(&*self.env.spawn);
        assert_eq!(format!("{found:?}"), format!("{:?}", by(&Threads)), "what is found hangs on no thread");
        found
    }

    /// Opens the log for writing.
    pub(super) fn start(&self) -> Wal {
        self.start_after(&self.recover().unwrap())
    }

    pub(super) fn start_after(&self, after: &Recovered) -> Wal {
        Wal::start(&self.env, &self.registry, self.options, after).unwrap()
    }

    /// Seqnos that a replay gives.
    pub(super) fn replayed(&self) -> Vec<u64> {
        replayed(&self.fs, &self.recover().unwrap()).into_iter().map(|(seqno, _)| seqno).collect()
    }

    pub(super) fn bytes_of(&self, number: u32) -> Vec<u8> {
        read(&self.fs.mem, &name(number))
    }

    /// Changes bytes of a segment behind the log's back.
    pub(super) fn damage(&self, number: u32, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes_of(number);
        change(&mut bytes);
        let file = self.fs.mem.open(&name(number), OpenMode::ReadWrite).unwrap();
        file.set_len(0).unwrap();
        file.write_at(0, &bytes).unwrap();
    }

    pub(super) fn put_file(&self, name: &str, bytes: &[u8]) {
        let file = self.fs.create(name, &CreateOptions::new(WriteOrigin::Log)).unwrap();
        file.write_at(0, bytes).unwrap();
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        super::super::segment::list(&self.fs).unwrap()
    }

    /// Removes what was given up.
    pub(super) fn run_deletions(&self) {
        assert_eq!(self.registry.run_deletions(u64::MAX).failed, 0);
    }
}

/// Threads of the system.
struct Threads;

impl Spawn for Threads {
    fn spawn(&self, job: Job) -> std::result::Result<(), Job> {
        ThreadSpawn::new().spawn(job)
    }

    fn parallelism(&self) -> usize {
        3
    }
}

/// Removal behind everybody's back.
pub(super) trait RemoveSegment {
    fn remove_file_of(&self, number: u32);
}

impl RemoveSegment for MemFs {
    fn remove_file_of(&self, number: u32) {
        self.remove_file(&name(number)).unwrap();
    }
}

pub(super) fn name(number: u32) -> String {
    format!("wal/{number:06}.wal")
}

pub(super) fn at(file: u32, offset: u64) -> LogPosition {
    LogPosition { file, offset }
}

pub(super) fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

pub(super) fn read(fs: &MemFs, name: &str) -> Vec<u8> {
    let file = fs.open(name, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size_bytes().unwrap()).unwrap()];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// The body of the record with this seqno: its own number, and filler that no other has.
pub(super) fn body_of(seqno: u64, len: usize) -> Vec<u8> {
    let mut body = seqno.to_le_bytes().to_vec();
    body.extend((0..len.saturating_sub(8)).map(|index| (seqno as usize * 31 + index * 7) as u8 | 1));
    body.truncate(len.max(8));
    body
}

pub(super) fn record(first: u64, body: &[u8]) -> AppendRecord<'_> {
    AppendRecord { kind: RecordKind::Batch, first_seqno: seqno(first), count: 1, time: UnixUs(first), body }
}

/// Appends one record of a body of `len` bytes.
pub(super) fn put(wal: &Wal, seqno: u64, len: usize) -> Result<LogPosition> {
    wal.append(&[record(seqno, &body_of(seqno, len))])
}

/// Appends the seqnos of a range, each a group with a body of 100 bytes.
pub(super) fn put_all(wal: &Wal, seqnos: std::ops::Range<u64>) {
    for seqno in seqnos {
        put(wal, seqno, 100).unwrap();
    }
}

/// Seqno and body of every record; the body is checked to be the one that belongs to the seqno.
pub(super) fn replayed(fs: &dyn Fs, recovered: &Recovered) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    let mut take = |record: LogRecord<'_>| {
        let (seqno, body) = (record.first_seqno.raw(), record.body().to_vec());
        assert_eq!(body, body_of(seqno, body.len()), "the body of another record");
        assert_eq!((record.count, record.time), (1, UnixUs(seqno)));
        records.push((seqno, body));
        Ok(())
    };
    recovered.pieces().try_for_each(|piece| piece.read(fs, &mut take)).unwrap();
    assert_eq!(records.len() as u64, recovered.records);
    records
}
