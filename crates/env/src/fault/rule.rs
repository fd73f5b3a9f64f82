//! Which calls go wrong, and how: plain values, without a backend. Their text is in [`super::text`].

use crate::error::{IoError, IoErrorKind};
use alloc::{string::String, vec::Vec};
use core::ops::Range;

/// A call of [`Fs`](crate::Fs) or [`File`](crate::File).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Call {
    /// `Fs::open`, and `Fs::exists`.
    Open,
    /// `Fs::create`.
    Create,
    /// `Fs::create_dir`.
    CreateDir,
    /// `Fs::list`.
    List,
    /// `Fs::remove_file`.
    RemoveFile,
    /// `Fs::remove_dir`.
    RemoveDir,
    /// `Fs::rename`; its name is the old one.
    Rename,
    /// `Fs::link`; its name is the old one.
    Link,
    /// `Fs::sync_dir`; and `Fs::sync_parent`, whose name is `..`.
    SyncDir,
    /// `Fs::lock`.
    Lock,
    /// `File::read_at`.
    Read,
    /// `File::write_at`.
    Write,
    /// `File::sync`.
    Sync,
    /// `File::size_bytes`.
    Size,
    /// `File::set_len`.
    SetLen,
    /// `File::allocate`.
    Allocate,
    /// `File::map`.
    Map,
}

impl Call {
    /// Every call.
    pub const ALL: [Call; 17] = [
        Self::Open,
        Self::Create,
        Self::CreateDir,
        Self::List,
        Self::RemoveFile,
        Self::RemoveDir,
        Self::Rename,
        Self::Link,
        Self::SyncDir,
        Self::Lock,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Size,
        Self::SetLen,
        Self::Allocate,
        Self::Map,
    ];

    /// Its name in the text of rules.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::CreateDir => "create_dir",
            Self::List => "list",
            Self::RemoveFile => "remove_file",
            Self::RemoveDir => "remove_dir",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::SyncDir => "sync_dir",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Size => "size",
            Self::SetLen => "set_len",
            Self::Allocate => "allocate",
            Self::Map => "map",
        }
    }
}

/// The error of a call that fails, with its number on Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Errno {
    /// `EIO`: the medium failed.
    Io,
    /// `ENOSPC`: the disk is full.
    NoSpace,
    /// `EDQUOT`: the quota is used up.
    Quota,
    /// `EMFILE`: too many open files.
    ManyFiles,
    /// `EROFS`: the file system became read-only.
    ReadOnly,
}

impl Errno {
    /// Every error.
    pub const ALL: [Errno; 5] = [Self::Io, Self::NoSpace, Self::Quota, Self::ManyFiles, Self::ReadOnly];

    /// Its name in the text of rules.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
            Self::Quota => "EDQUOT",
            Self::ManyFiles => "EMFILE",
            Self::ReadOnly => "EROFS",
        }
    }

    /// What the caller gets.
    pub const fn error(self) -> IoError {
        match self {
            Self::Io => IoError::from_os(IoErrorKind::Other, 5),
            Self::NoSpace => IoError::from_os(IoErrorKind::OutOfSpace, 28),
            Self::Quota => IoError::from_os(IoErrorKind::OutOfSpace, 122),
            Self::ManyFiles => IoError::from_os(IoErrorKind::OutOfHandles, 24),
            Self::ReadOnly => IoError::from_os(IoErrorKind::PermissionDenied, 30),
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails and does nothing.
    Fail(Errno),
    /// The call is carried out and fails all the same: who made it does not know.
    FailLate(Errno),
    /// A write fails after its first bytes were written; all of them, if there are fewer.
    Cut(usize, Errno),
    /// A bit of what was read is another; counted from the first byte of the buffer, and around its end.
    Flip(u64),
    /// A read gives what lies at this offset of the file.
    Elsewhere(u64),
    /// The call takes longer, and then goes on as the rules behind this one say.
    Delay {
        /// How much longer, in microseconds.
        us: u64,
    },
    /// A sync reports success and makes nothing durable.
    Lie,
    /// A sync fails with `EIO`; later ones of the same file or directory report success and make nothing
    /// durable, as those of systems do that forget what they could not write.
    FailThenLie,
    /// The call is carried out and is the last one: all that follow fail with `EIO`.
    PowerOff,
}

impl Fault {
    /// Whether it means anything for this call.
    pub const fn suits(self, call: Call) -> bool {
        match self {
            Self::Fail(_) | Self::FailLate(_) | Self::Delay { .. } | Self::PowerOff => true,
            Self::Cut(..) => matches!(call, Call::Write),
            Self::Flip(_) | Self::Elsewhere(_) => matches!(call, Call::Read),
            Self::Lie | Self::FailThenLie => matches!(call, Call::Sync | Call::SyncDir),
        }
    }
}

/// When something goes wrong, and what.
///
/// As text one line of words, all but the last of which may be missing: `call=write,sync name=wal/*
/// at=0..4096 skip=2 times=1 chance=50 seed=7 fault=fail:ENOSPC`. Faults are `fail:<errno>`,
/// `fail_late:<errno>`, `cut:<bytes>:<errno>`, `flip:<bit>`, `elsewhere:<offset>`, `delay:<microseconds>`,
/// `lie`, `fail_then_lie` and `power_off`. In a name white space and `%` are written as `%<code point in
/// hex>;`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Any that suits the fault, if empty.
    pub(super) calls: Vec<Call>,
    /// Any, if `None`.
    pub(super) name: Option<String>,
    /// Any, and calls without offsets too, if `None`.
    pub(super) offsets: Option<Range<u64>>,
    pub(super) skip: u64,
    pub(super) times: Option<u64>,
    pub(super) chance_percent: u8,
    pub(super) seed: u64,
    pub(super) fault: Fault,
}

impl Rule {
    /// Every call that suits the fault goes wrong.
    pub const fn new(fault: Fault) -> Rule {
        Rule {
            calls: Vec::new(),
            name: None,
            offsets: None,
            skip: 0,
            times: None,
            chance_percent: 100,
            seed: 0,
            fault,
        }
    }

    /// Only these calls; may be said several times.
    ///
    /// # Panics
    ///
    /// If the fault means nothing for the call: such a rule would never do anything.
    #[must_use]
    pub fn on(mut self, call: Call) -> Rule {
        assert!(self.fault.suits(call), "the fault {:?} means nothing for {}", self.fault, call.name());
        self.calls.push(call);
        self
    }

    /// Only files and directories of this name, in which `*` stands for any characters. An open file has the
    /// name that a rename gave it.
    #[must_use]
    pub fn named(self, name: &str) -> Rule {
        Rule { name: Some(name.into()), ..self }
    }

    /// Only reads and writes that touch these bytes of a file, and changes of its size that lie in them.
    #[must_use]
    pub fn at(self, offsets: Range<u64>) -> Rule {
        Rule { offsets: Some(offsets), ..self }
    }

    /// So many calls pass first.
    #[must_use]
    pub fn skip(self, calls: u64) -> Rule {
        Rule { skip: calls, ..self }
    }

    /// So many go wrong, and no more.
    #[must_use]
    pub fn times(self, calls: u64) -> Rule {
        Rule { times: Some(calls), ..self }
    }

    /// Of those calls that are left so many of 100 go wrong, as the seed decides.
    ///
    /// # Panics
    ///
    /// If it is more than 100.
    #[must_use]
    pub fn chance(self, percent: u8, seed: u64) -> Rule {
        assert!(percent <= 100, "{percent} is more than 100 of 100");
        Rule { chance_percent: percent, seed, ..self }
    }

    /// Whether the call is of those that count.
    pub(super) fn matches(&self, call: Call, name: &str, offsets: Option<&Range<u64>>) -> bool {
        let touches = |wanted: &Range<u64>| {
            offsets.is_some_and(|found| found.start < wanted.end && wanted.start < found.end)
        };
        self.fault.suits(call)
            && (self.calls.is_empty() || self.calls.contains(&call))
            && self.name.as_deref().is_none_or(|pattern| is_match(pattern, name))
            && self.offsets.as_ref().is_none_or(touches)
    }
}

/// Whether a name is as the pattern says, in which `*` stands for any characters.
fn is_match(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().expect("a split has a last part");
    for part in parts {
        // The first place is as good as any: what follows may begin with anything.
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}
