//! Groups: records that wait to be written together. While one group is written the next one forms.

use crate::{
    error::{Error, Result},
    wal::{AppendRecord, RecordKind},
};
use isopach_engine::types::{Seqno, UnixUs};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// Most bytes of a group; a single larger record is a group of its own.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// What a record holds.
#[derive(Clone, Debug)]
pub(crate) enum Body<'a> {
    /// Copied for whoever writes it.
    Short(&'a [u8]),
    /// Shared with them.
    Long(Arc<Vec<u8>>),
}

impl Body<'_> {
    /// Bytes from which on sharing costs less than copying.
    pub(crate) const LONG_BYTES: usize = 64 << 10;

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Body::Short(bytes) => bytes,
            Body::Long(bytes) => bytes,
        }
    }
}

/// Records that wait, in their order, and what became of those that did.
#[derive(Default)]
pub(super) struct Groups {
    waiting: VecDeque<Group>,
    is_writing: bool,
    /// Groups that failed and whose members were not all told.
    failed: Vec<Failed>,
    /// The memory of a group that was written.
    spare: Group,
}

/// Records in their order.
#[derive(Default)]
pub(super) struct Group {
    records: Vec<Member>,
    /// Bodies that were copied.
    bytes: Vec<u8>,
    /// Length of all bodies.
    total_bytes: usize,
}

struct Member {
    kind: RecordKind,
    first: Seqno,
    last: Seqno,
    count: u32,
    time: UnixUs,
    body: Place,
}

enum Place {
    Copied(Range<usize>),
    Shared(Arc<Vec<u8>>),
}

struct Failed {
    first: Seqno,
    last: Seqno,
    untold: usize,
    error: Error,
}

impl Groups {
    /// Whether every record that came is written.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_writing
    }

    /// A record waits for a group.
    pub(super) fn push(&mut self, record: &AppendRecord<'_>, body: &Body<'_>) {
        let has_room = |group: &&mut Group| group.total_bytes + record.body.len() <= MAX_GROUP_BYTES;
        match self.waiting.back_mut().filter(has_room) {
            Some(group) => group.push(record, body),
            None => {
                let mut group = std::mem::take(&mut self.spare);
                group.push(record, body);
                self.waiting.push_back(group);
            }
        }
    }

    /// What became of the record whose last operation this is, and whose group has ended. To be asked once.
    pub(super) fn outcome(&mut self, last: Seqno) -> Result<()> {
        let is_in = |failed: &Failed| failed.first <= last && last <= failed.last;
        let Some(at) = self.failed.iter().position(is_in) else {
            return Ok(());
        };
        let error = self.failed[at].error.clone();
        self.failed[at].untold -= 1;
        if self.failed[at].untold == 0 {
            self.failed.swap_remove(at);
        }
        Err(error)
    }

    /// The next group, for who writes it: [`Groups::end`] follows.
    pub(super) fn begin(&mut self) -> Group {
        self.is_writing = true;
        self.waiting.pop_front().expect("who writes has a record in a group that waits")
    }

    /// A group was written, or failed with this. Returns its last operation.
    pub(super) fn end(&mut self, mut group: Group, error: Option<&Error>) -> Seqno {
        self.is_writing = false;
        let (first, last) = (group.records[0].first, group.records[group.records.len() - 1].last);
        if let Some(error) = error {
            self.failed.push(Failed { first, last, untold: group.records.len(), error: error.clone() });
        }
        group.clear();
        self.spare = group;
        last
    }
}

impl Group {
    fn push(&mut self, record: &AppendRecord<'_>, body: &Body<'_>) {
        let AppendRecord { kind, first_seqno: first, count, time, body: bytes } = *record;
        self.total_bytes += bytes.len();
        let body = match body {
            Body::Short(bytes) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                Place::Copied(start..self.bytes.len())
            }
            Body::Long(bytes) => Place::Shared(Arc::clone(bytes)),
        };
        self.records.push(Member { kind, first, last: record.last_seqno(), count, time, body });
    }

    /// The records for the log.
    pub(super) fn records(&self) -> Vec<AppendRecord<'_>> {
        self.records.iter().map(|member| self.record(member)).collect()
    }

    fn record<'a>(&'a self, member: &'a Member) -> AppendRecord<'a> {
        let body = match &member.body {
            Place::Copied(range) => &self.bytes[range.clone()],
            Place::Shared(bytes) => bytes,
        };
        AppendRecord {
            kind: member.kind,
            first_seqno: member.first,
            count: member.count,
            time: member.time,
            body,
        }
    }

    /// Without records, with the memory of before.
    fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
        self.bytes.shrink_to(MAX_GROUP_BYTES);
        self.total_bytes = 0;
    }
}
