//! Places where calls are made, as a clean run shows them, and what can go wrong at each.

use isopach::env::{Call, Errno, Fault, Fired, Rule};

/// A place: which call, of which kind of file, during which step of the script.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Site {
    /// Which call.
    pub call: Call,
    /// Names with `*` for their numbers.
    pub files: String,
    /// What the script was doing; its background work counts.
    pub step: &'static str,
}

impl Site {
    /// Of a call during a step.
    pub fn of(fired: &Fired, step: &'static str) -> Site {
        Site { call: fired.call, files: pattern_of(&fired.name), step }
    }
}

/// A call of the clean run.
#[derive(Clone, Debug)]
pub struct Pick {
    /// Where it is made.
    pub site: Site,
    /// How many of this call, of files that its pattern matches, came before it.
    nth: u64,
    /// How many of these calls, of any file, came before it: of all that write, and of all that take a
    /// handle.
    writes_before: u64,
    handles_before: u64,
    /// Bytes, of a write.
    bytes: u64,
}

/// Calls that need space or a medium that can be written to.
const WRITING: [Call; 8] = [
    Call::Create,
    Call::CreateDir,
    Call::Write,
    Call::Allocate,
    Call::SetLen,
    Call::Link,
    Call::Rename,
    Call::RemoveFile,
];
/// Of these, those that a full disk refuses.
const SPACE: [Call; 5] = [Call::Create, Call::CreateDir, Call::Write, Call::Allocate, Call::Link];
/// Calls that take a handle.
const HANDLES: [Call; 4] = [Call::Open, Call::Create, Call::List, Call::Lock];

impl Pick {
    /// Every call of a clean run, in order.
    pub fn all(trace: &[(Fired, &'static str)]) -> Vec<Pick> {
        let mut picks = Vec::new();
        for (at, (fired, step)) in trace.iter().enumerate() {
            let site = Site::of(fired, step);
            let before = &trace[..at];
            let count =
                |is: &dyn Fn(&Fired) -> bool| before.iter().filter(|(fired, _)| is(fired)).count() as u64;
            let is_same = |other: &Fired| other.call == site.call && matches(&site.files, &other.name);
            let bytes = fired.offsets.as_ref().map_or(0, |range| range.end - range.start);
            picks.push(Pick {
                nth: count(&is_same),
                writes_before: count(&|other| SPACE.contains(&other.call)),
                handles_before: count(&|other| HANDLES.contains(&other.call)),
                site,
                bytes,
            });
        }
        picks
    }

    /// All that can go wrong at this call, as rules.
    pub fn rules(&self) -> Vec<Rule> {
        let call = self.site.call;
        let mut rules: Vec<Rule> = self.faults().into_iter().map(|fault| self.once(fault)).collect();
        // From here on for good: the medium of such files, or all of it.
        rules.push(self.here(Fault::Fail(Errno::Io)));
        if SPACE.contains(&call) {
            rules.extend(
                [Errno::NoSpace, Errno::Quota].map(|errno| everywhere(errno, &SPACE, self.writes_before)),
            );
        }
        if WRITING.contains(&call) {
            rules.push(everywhere(Errno::ReadOnly, &WRITING, self.writes_before));
        }
        if HANDLES.contains(&call) {
            rules.push(everywhere(Errno::ManyFiles, &HANDLES, self.handles_before));
        }
        rules
    }

    /// What can go wrong once.
    fn faults(&self) -> Vec<Fault> {
        use Errno::{Io, ManyFiles, NoSpace, Quota, ReadOnly};
        let fail = |errnos: &[Errno]| errnos.iter().map(|errno| Fault::Fail(*errno)).collect::<Vec<_>>();
        let mut faults = match self.site.call {
            Call::Open | Call::List | Call::Lock => fail(&[Io, ManyFiles]),
            Call::Create => fail(&[Io, NoSpace, Quota, ManyFiles, ReadOnly]),
            Call::CreateDir | Call::Link | Call::Rename => fail(&[Io, NoSpace, Quota, ReadOnly]),
            Call::Write | Call::Allocate => fail(&[Io, NoSpace, Quota, ReadOnly]),
            Call::RemoveFile | Call::RemoveDir | Call::SetLen => fail(&[Io, ReadOnly]),
            Call::Sync | Call::SyncDir => fail(&[Io, NoSpace, Quota]),
            _ => fail(&[Io]),
        };
        if !matches!(self.site.call, Call::Open | Call::List | Call::Lock | Call::Read | Call::Size) {
            faults.push(Fault::FailLate(Io));
        }
        match self.site.call {
            Call::Write => {
                let cuts = [1, self.bytes / 2, self.bytes.saturating_sub(1)];
                let cut = |bytes: u64, errno| Fault::Cut(usize::try_from(bytes).unwrap_or(usize::MAX), errno);
                faults.extend(cuts.map(|bytes| cut(bytes, Io)));
                faults.push(cut(self.bytes / 2, NoSpace));
            }
            Call::Allocate => faults.push(Fault::FailLate(NoSpace)),
            Call::Sync | Call::SyncDir => faults.push(Fault::FailThenLie),
            _ => {}
        }
        faults
    }

    fn once(&self, fault: Fault) -> Rule {
        self.here(fault).times(1)
    }

    fn here(&self, fault: Fault) -> Rule {
        Rule::new(fault).on(self.site.call).named(&self.site.files).skip(self.nth)
    }
}

fn everywhere(errno: Errno, calls: &[Call], skip: u64) -> Rule {
    calls.iter().fold(Rule::new(Fault::Fail(errno)).skip(skip), |rule, call| rule.on(*call))
}

/// A name with `*` for each number in it.
fn pattern_of(name: &str) -> String {
    let mut pattern = String::new();
    for c in name.chars() {
        match c {
            '0'..='9' if pattern.ends_with('*') => {}
            '0'..='9' => pattern.push('*'),
            c => pattern.push(c),
        }
    }
    pattern
}

/// Whether a rule of this pattern, which has at most one `*`, hits the name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_names_do_not_count() {
        assert_eq!(pattern_of("db/wal/000017.wal"), "db/wal/*.wal");
        assert_eq!(pattern_of("db/MANIFEST-000002.tmp"), "db/MANIFEST-*.tmp");
        assert!(matches("db/MANIFEST-*", "db/MANIFEST-000002") && !matches("db/wal/*.wal", "db/wal"));
        assert!(matches("..", "..") && !matches("a*a", "a"));
    }
}
