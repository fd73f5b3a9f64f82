//! What the child says to its parent: one line each, after what it says has happened.
//!
//! Lines come out whole and in the order of what they say: whoever says something holds standard output.

use std::{
    fmt,
    io::{self, Write},
    process,
};

/// A line of the child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// The database is about to be opened.
    Opening,
    /// It is open.
    Open,
    /// An operation of a writer returned: the commit number it got, or one that is not below it.
    Acknowledged { writer: usize, number: u64, seqno: u64 },
    /// Work began.
    Begin(Work),
    /// It ended.
    End(Work),
    /// Checkpoint `number` is about to be made.
    CheckpointBegin { number: u64 },
    /// It is made, and holds the commits up to `seqno`.
    CheckpointEnd { number: u64, seqno: u64 },
    /// So many more views were read and found right.
    Read { views: u64 },
    /// Something that must not be.
    Wrong(String),
    /// The database is closed.
    Closed,
}

/// What a kill may interrupt, apart from writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    Flush,
    Compaction,
    Keyspace,
    Closing,
}

impl Work {
    pub(super) const ALL: [Work; 4] = [Work::Flush, Work::Compaction, Work::Keyspace, Work::Closing];

    /// As in "a kill in ...".
    pub(super) fn name(self) -> &'static str {
        match self {
            Work::Flush => "flush",
            Work::Compaction => "compaction",
            Work::Keyspace => "keyspace-change",
            Work::Closing => "closing",
        }
    }

    fn of_name(name: &str) -> Option<Work> {
        Work::ALL.into_iter().find(|work| work.name() == name)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Opening => write!(f, "opening"),
            Word::Open => write!(f, "open"),
            Word::Acknowledged { writer, number, seqno } => write!(f, "ack {writer} {number} {seqno}"),
            Word::Begin(work) => write!(f, "begin {}", work.name()),
            Word::End(work) => write!(f, "end {}", work.name()),
            Word::CheckpointBegin { number } => write!(f, "checkpoint {number}"),
            Word::CheckpointEnd { number, seqno } => write!(f, "checkpoint {number} {seqno}"),
            Word::Read { views } => write!(f, "read {views}"),
            Word::Wrong(what) => write!(f, "wrong {}", what.replace('\n', " ")),
            Word::Closed => write!(f, "closed"),
        }
    }
}

impl Word {
    /// The inverse of printing; `None` of a line that no child says.
    pub(super) fn parse(line: &str) -> Option<Word> {
        if let Some(what) = line.strip_prefix("wrong ") {
            return Some(Word::Wrong(what.to_owned()));
        }
        let parts: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| parts.get(at)?.parse::<u64>().ok();
        Some(match (parts[0], parts.len()) {
            ("opening", 1) => Word::Opening,
            ("open", 1) => Word::Open,
            ("closed", 1) => Word::Closed,
            ("ack", 4) => {
                Word::Acknowledged { writer: number(1)? as usize, number: number(2)?, seqno: number(3)? }
            }
            ("begin", 2) => Word::Begin(Work::of_name(parts[1])?),
            ("end", 2) => Word::End(Work::of_name(parts[1])?),
            ("checkpoint", 2) => Word::CheckpointBegin { number: number(1)? },
            ("checkpoint", 3) => Word::CheckpointEnd { number: number(1)?, seqno: number(2)? },
            ("read", 2) => Word::Read { views: number(1)? },
            _ => return None,
        })
    }

    /// Says it to whoever reads standard output. If nobody does the parent is gone, and the child goes as
    /// well.
    pub(super) fn say(&self) {
        let mut out = io::stdout().lock();
        if writeln!(out, "{self}").and_then(|()| out.flush()).is_err() {
            process::exit(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_as_they_are_said() {
        let mut words = vec![
            Word::Opening,
            Word::Open,
            Word::Acknowledged { writer: 3, number: 17, seqno: 900 },
            Word::CheckpointBegin { number: 2 },
            Word::CheckpointEnd { number: 2, seqno: 800 },
            Word::Read { views: 5 },
            Word::Wrong("two words".to_owned()),
            Word::Closed,
        ];
        words.extend(Work::ALL.iter().flat_map(|&work| [Word::Begin(work), Word::End(work)]));

        for word in words {
            assert_eq!(Word::parse(&word.to_string()), Some(word));
        }
        assert_eq!(Word::parse("ack 1 2"), None);
        assert_eq!(Word::parse(""), None);
    }
}
