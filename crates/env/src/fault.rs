//! A backend whose calls go wrong by rules.
//!
//! Never changes what the backend below does on its own; a call that no rule hits is passed on as it is.

mod rule;
mod text;

pub use rule::{Call, Errno, Fault, Rule};
pub use text::{RuleError, Rules};

use crate::{
    clock::{Clock, TestClock},
    entropy::SeededEntropy,
    error::IoResult,
    file::{CreateOptions, File, FileMap, OpenMode, SyncMode, SyncSite},
    fs::{DirEntry, FileLock, Fs, LockMode},
    ledger::Ledger,
    sync::{Mutex, MutexGuard, Rank},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::{fmt, ops::Range, time::Duration};

#[cfg(test)]
mod tests;

const RANK: Rank = Rank::new(Rank::ENV_LEVELS + 4, "fault_fs.state");

/// Another backend whose calls go wrong by rules. Clones are the same place, with the same rules.
///
/// With one thread the same calls and the same rules go wrong in the same way. So a test that fails prints
/// [`FaultFs::rules`], and who runs it again with these finds the same.
///
/// ```
/// use isopach_env::{Call, CreateOptions, Errno, Fault, FaultFs, Fs, IoErrorKind, MemFs, Rule, WriteOrigin};
/// use std::sync::Arc;
///
/// let fs = FaultFs::new(Arc::new(MemFs::new()));
/// fs.arm(Rule::new(Fault::Cut(2, Errno::NoSpace)).named("wal/*").skip(1).times(1));
/// fs.create_dir("wal")?;
/// let file = fs.create("wal/1", &CreateOptions::new(WriteOrigin::Log))?;
///
/// assert!(file.write_at(0, b"first").is_ok());
/// assert_eq!(file.write_at(5, b"second").unwrap_err().kind(), IoErrorKind::OutOfSpace);
/// assert_eq!(file.size_bytes(), Ok(7));
///
/// assert_eq!(fs.rules().to_string(), "name=wal/* skip=1 times=1 fault=cut:2:ENOSPC\n");
/// # Ok::<(), isopach_env::IoError>(())
/// ```
#[derive(Clone)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    /// Never held over a call.
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    armed: Vec<Armed>,
    fired: Vec<Fired>,
    calls: u64,
    is_off: bool,
    /// Names of files and directories whose syncs are lies.
    lying: BTreeSet<String>,
    /// Present names of open files by handle.
    names: BTreeMap<u64, String>,
    next_handle: u64,
}

struct Armed {
    rule: Rule,
    /// Calls that it matched.
    matched: u64,
    fired: u64,
}

/// A call that went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Fired {
    /// Number of the call among all calls.
    pub number: u64,
    /// Which call.
    pub call: Call,
    /// Of which file or directory.
    pub name: String,
    /// Of which bytes, if any.
    pub offsets: Option<Range<u64>>,
    /// What went wrong.
    pub fault: Fault,
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}: {} {:?}", self.number, self.call.name(), self.name)?;
        if let Some(offsets) = &self.offsets {
            write!(f, " {}..{}", offsets.start, offsets.end)?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl FaultFs {
    /// The files of `inner`, without rules. Delays move a clock of their own and cost no time.
    pub fn new(inner: Arc<dyn Fs>) -> FaultFs {
        FaultFs::with_clock(inner, Arc::new(TestClock::new()))
    }

    /// As [`FaultFs::new`]; delays sleep on this clock.
    pub fn with_clock(inner: Arc<dyn Fs>, clock: Arc<dyn Clock>) -> FaultFs {
        FaultFs { inner, clock, state: Arc::new(Mutex::new(RANK, State::default())) }
    }

    /// Adds a rule behind the others. Calls count for it from now on.
    pub fn arm(&self, rule: Rule) {
        self.state().armed.push(Armed { rule, matched: 0, fired: 0 });
    }

    /// Adds rules behind the others, such as those that another run printed.
    pub fn arm_all(&self, rules: Rules) {
        rules.0.into_iter().for_each(|rule| self.arm(rule));
    }

    /// Takes all rules away. Power that is off is on again, and syncs that lied are true from now on: what
    /// they left behind is durable with the next one.
    pub fn disarm(&self) {
        let mut state = self.state();
        state.armed.clear();
        state.lying.clear();
        state.is_off = false;
    }

    /// The rules, as they were armed. Their text, armed before the same work, makes the same go wrong.
    pub fn rules(&self) -> Rules {
        Rules(self.state().armed.iter().map(|armed| armed.rule.clone()).collect())
    }

    /// What went wrong so far, oldest first. What only lied or failed in consequence of an earlier fault is
    /// not among it.
    pub fn fired(&self) -> Vec<Fired> {
        self.state().fired.clone()
    }

    /// Number of calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Asks the rules about a call. Waits if they say so; an error is what the caller gets.
    fn ask(&self, call: Call, name: &str, offsets: Option<Range<u64>>) -> IoResult<Verdict> {
        let (verdict, delay_us) = self.state().judge(call, name, offsets);
        if delay_us > 0 {
            self.clock.sleep(Duration::from_micros(delay_us));
        }
        match verdict {
            Verdict::Fail(errno) => Err(errno.error()),
            verdict => Ok(verdict),
        }
    }

    /// A call that has no bytes and no sync.
    fn pass<T>(&self, call: Call, name: &str, carry_out: impl FnOnce(&dyn Fs) -> IoResult<T>) -> IoResult<T> {
        let verdict = self.ask(call, name, None)?;
        verdict.end(carry_out(&*self.inner))
    }

    fn handle(&self, name: &str, inner: Arc<dyn File>) -> Arc<dyn File> {
        let mut state = self.state();
        let handle = state.next_handle;
        state.next_handle += 1;
        state.names.insert(handle, name.into());
        drop(state);
        Arc::new(FaultFile { fs: self.clone(), inner, handle })
    }
}

/// What becomes of a call.
enum Verdict {
    Pass,
    Fail(Errno),
    FailLate(Errno),
    Cut(usize, Errno),
    Flip(u64),
    Elsewhere(u64),
    Lie,
}

impl Verdict {
    /// What the caller gets of a call that was carried out.
    fn end<T>(self, result: IoResult<T>) -> IoResult<T> {
        match self {
            Verdict::FailLate(errno) => result.and(Err(errno.error())),
            _ => result,
        }
    }
}

impl State {
    /// The verdict, and how long to wait before.
    fn judge(&mut self, call: Call, name: &str, offsets: Option<Range<u64>>) -> (Verdict, u64) {
        let number = self.calls;
        self.calls += 1;
        if self.is_off {
            return (Verdict::Fail(Errno::Io), 0);
        }
        let mut delay_us = 0;
        for armed in &mut self.armed {
            if !armed.rule.matches(call, name, offsets.as_ref()) || !armed.fires() {
                continue;
            }
            let fault = armed.rule.fault;
            self.fired.push(Fired { number, call, name: name.into(), offsets: offsets.clone(), fault });
            let verdict = match fault {
                Fault::Delay { us } => {
                    delay_us += us;
                    continue;
                }
                Fault::Fail(errno) => Verdict::Fail(errno),
                Fault::FailLate(errno) => Verdict::FailLate(errno),
                Fault::Cut(bytes, errno) => Verdict::Cut(bytes, errno),
                Fault::Flip(bit) => Verdict::Flip(bit),
                Fault::Elsewhere(offset) => Verdict::Elsewhere(offset),
                Fault::Lie => Verdict::Lie,
                Fault::FailThenLie if self.lying.insert(name.into()) => Verdict::Fail(Errno::Io),
                Fault::FailThenLie => Verdict::Lie,
                Fault::PowerOff => {
                    self.is_off = true;
                    Verdict::Pass
                }
            };
            return (verdict, delay_us);
        }
        let is_lie = matches!(call, Call::Sync | Call::SyncDir) && self.lying.contains(name);
        (if is_lie { Verdict::Lie } else { Verdict::Pass }, delay_us)
    }

    fn renamed(&mut self, from: &str, to: &str) {
        for name in self.names.values_mut().filter(|name| **name == from) {
            *name = to.into();
        }
        if self.lying.remove(from) {
            self.lying.insert(to.into());
        } else {
            self.lying.remove(to);
        }
    }
}

impl Armed {
    /// Whether the rule hits this call, which it matches.
    fn fires(&mut self) -> bool {
        let number = self.matched;
        self.matched += 1;
        let is_due = number >= self.rule.skip && self.rule.times.is_none_or(|times| self.fired < times);
        let fires = is_due && {
            // Each call has a choice of its own, whatever was chosen before.
            let choice = SeededEntropy::new(self.rule.seed.wrapping_add(number.wrapping_mul(1 << 32)));
            choice.next_word() % 100 < u64::from(self.rule.chance_percent)
        };
        self.fired += u64::from(fires);
        fires
    }
}

impl fmt::Debug for FaultFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFs").field("rules", &self.rules()).finish_non_exhaustive()
    }
}

impl Fs for FaultFs {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        self.pass(Call::Open, name, |inner| Ok(self.handle(name, inner.open(name, mode)?)))
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        self.pass(Call::Create, name, |inner| {
            let file = inner.create(name, options)?;
            self.state().lying.remove(name); // Another file had the name.
            Ok(self.handle(name, file))
        })
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        self.pass(Call::CreateDir, name, |inner| {
            inner.create_dir(name)?;
            self.state().lying.remove(name);
            Ok(())
        })
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.pass(Call::List, dir, |inner| inner.list(dir))
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        self.pass(Call::RemoveFile, name, |inner| inner.remove_file(name))
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        self.pass(Call::RemoveDir, name, |inner| inner.remove_dir(name))
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.pass(Call::Rename, from, |inner| {
            inner.rename(from, to)?;
            if from != to {
                self.state().renamed(from, to);
            }
            Ok(())
        })
    }

    fn outer(&self, name: &str) -> IoResult<Option<(&dyn Fs, String)>> {
        Ok(Some((&*self.inner, name.into())))
    }

    fn link_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        self.pass(Call::Link, from, |inner| new_name(target, to, || inner.link_to(from, target, to)))
    }

    fn reflink_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        self.pass(Call::Link, from, |inner| new_name(target, to, || inner.reflink_to(from, target, to)))
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        match self.ask(Call::SyncDir, dir, None)? {
            Verdict::Lie => Ok(()),
            verdict => verdict.end(self.inner.sync_dir(dir, site)),
        }
    }

    fn sync_parent(&self, site: SyncSite) -> IoResult<()> {
        match self.ask(Call::SyncDir, "..", None)? {
            Verdict::Lie => Ok(()),
            verdict => verdict.end(self.inner.sync_parent(site)),
        }
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        self.pass(Call::Lock, name, |inner| inner.lock(name, mode))
    }

    fn space_left(&self) -> IoResult<Option<u64>> {
        self.inner.space_left()
    }

    fn exists(&self, name: &str) -> IoResult<bool> {
        self.pass(Call::Open, name, |inner| inner.exists(name))
    }

    fn ledger(&self) -> Option<&Ledger> {
        self.inner.ledger()
    }
}

/// Makes a name in another place, which may have lost power itself.
fn new_name(target: &dyn Fs, to: &str, make: impl FnOnce() -> IoResult<()>) -> IoResult<()> {
    let Some((target, to)) = target.find_outer::<FaultFs>(to)? else {
        return make();
    };
    if target.state().is_off {
        return Err(Errno::Io.error());
    }
    make()?;
    target.state().lying.remove(&*to); // Another file had the name.
    Ok(())
}

struct FaultFile {
    fs: FaultFs,
    inner: Arc<dyn File>,
    handle: u64,
}

impl FaultFile {
    fn ask(&self, call: Call, offsets: Option<Range<u64>>) -> IoResult<Verdict> {
        let name = self.fs.state().names[&self.handle].clone();
        self.fs.ask(call, &name, offsets)
    }

    /// The bytes between the present size and another.
    fn resized(&self, bytes: u64) -> Option<Range<u64>> {
        let size_bytes = self.inner.size_bytes().unwrap_or(bytes);
        Some(size_bytes.min(bytes)..size_bytes.max(bytes))
    }
}

impl File for FaultFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        let verdict = self.ask(Call::Read, Some(offset..offset.saturating_add(buf.len() as u64)))?;
        let from = if let Verdict::Elsewhere(elsewhere) = verdict { elsewhere } else { offset };
        let read_bytes = self.inner.read_at(from, buf)?;
        if let Verdict::Flip(bit) = verdict
            && read_bytes > 0
        {
            buf[(bit / 8 % read_bytes as u64) as usize] ^= 1 << (bit % 8);
        }
        verdict.end(Ok(read_bytes))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        match self.ask(Call::Write, Some(offset..offset.saturating_add(data.len() as u64)))? {
            Verdict::Cut(bytes, errno) => {
                self.inner.write_at(offset, &data[..bytes.min(data.len())])?;
                Err(errno.error())
            }
            verdict => verdict.end(self.inner.write_at(offset, data)),
        }
    }

    fn sync(&self, mode: SyncMode, site: SyncSite) -> IoResult<()> {
        match self.ask(Call::Sync, None)? {
            Verdict::Lie => Ok(()),
            verdict => verdict.end(self.inner.sync(mode, site)),
        }
    }

    fn size_bytes(&self) -> IoResult<u64> {
        self.ask(Call::Size, None)?.end(self.inner.size_bytes())
    }

    fn set_len(&self, bytes: u64) -> IoResult<()> {
        self.ask(Call::SetLen, self.resized(bytes))?.end(self.inner.set_len(bytes))
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        self.ask(Call::Allocate, self.resized(bytes))?.end(self.inner.allocate(bytes))
    }

    fn drop_cached(&self, bytes: Range<u64>) {
        self.inner.drop_cached(bytes);
    }

    fn map(&self, bytes: u64) -> IoResult<Box<dyn FileMap>> {
        match self.ask(Call::Map, Some(0..bytes))? {
            Verdict::Pass => Ok(Box::new(FaultMap { fs: self.fs.clone(), inner: self.inner.map(bytes)? })),
            verdict => verdict.end(self.inner.map(bytes)),
        }
    }
}

/// A map whose stores cannot fail, but come to nothing once the power is off.
struct FaultMap {
    fs: FaultFs,
    inner: Box<dyn FileMap>,
}

impl FileMap for FaultMap {
    fn store(&self, offset: u64, data: &[u8]) {
        if !self.fs.state().is_off {
            self.inner.store(offset, data);
        }
    }

    fn populate(&self, bytes: Range<u64>) {
        self.inner.populate(bytes);
    }
}

impl Drop for FaultFile {
    fn drop(&mut self) {
        self.fs.state().names.remove(&self.handle);
    }
}
