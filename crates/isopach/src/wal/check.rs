//! Reading the log while it is written: what was appended has to come back as it was.

use super::{
    Wal,
    read::Unread,
    segment::{Found, Opening, START_AT, segment_name},
};
use isopach_engine::{
    error::{Error, Result},
    types::Seqno,
    version::Hold,
};
use isopach_env::OpenMode;
use std::sync::Arc;

/// What reading the log showed.
#[derive(Debug, Default)]
pub(crate) struct LogReport {
    /// Segments that were read.
    pub segments: u64,
    /// Records of the caller in them.
    pub records: u64,
    /// Bytes of all segments, up to their last records.
    pub bytes: u64,
    /// Where it is damaged: once in a segment, for nothing is known of what lies behind.
    pub found: Vec<Error>,
}

/// A live segment, up to the end of its last record. Its file is kept as it is.
struct Part {
    number: u32,
    used_bytes: u64,
    _hold: Arc<Hold>,
}

impl Wal {
    /// Reads every segment that is live now up to the end of its last record; `is_past_caches`: from the medium. What a damaged one
    /// says is in memory or in tables; it is known as damaged until it goes. `done` is called with the bytes of each
    /// segment after it; its error ends the check.
    ///
    /// # Errors
    ///
    /// What `done` said.
    pub(crate) fn check(
        &self,
        is_past_caches: bool,
        done: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<LogReport> {
        let mut report = LogReport::default();
        let end = self.state.lock().next_number; // It may grow as fast as it is read.
        let mut last = 0;
        while let Some(part) = self.part_behind(last).filter(|part| part.number < end) {
            last = part.number;
            match self.read_part(&part, is_past_caches) {
                Ok(records) => report.records += records,
                Err(error) => {
                    self.state.lock().note_damage(part.number);
                    report.found.push(error);
                }
            }
            report.segments += 1;
            report.bytes += part.used_bytes;
            done(part.used_bytes)?;
        }
        Ok(report)
    }

    fn part_behind(&self, number: u32) -> Option<Part> {
        let state = self.state.lock();
        let live = state.behind(number)?;
        Some(Part { number: live.number, used_bytes: live.used_bytes, _hold: Arc::clone(&live.hold) })
    }

    /// Reads a segment and returns how many records of the caller it has.
    fn read_part(&self, part: &Part, is_past_caches: bool) -> Result<u64> {
        let Part { number, used_bytes, .. } = *part;
        let name = segment_name(number);
        let io = |error| Error::io(error, "read", name.as_str());
        if is_past_caches {
            self.env.fs.open(&name, OpenMode::Read).map_err(io)?.drop_cached(0..used_bytes);
        }
        let Found { file, bytes, opening, .. } = Found::open(&*self.env.fs, number, &self.owner)?;
        let codec = match opening {
            Opening::Started { codec, .. } => codec,
            Opening::NotStarted { why, .. } => return Err(Error::corrupt(name, START_AT, why)),
            Opening::NoHeader { why, .. } => return Err(Error::corrupt(name, 0, why)),
        };
        let unread = Unread { number, file, codec, named_limit: Some(used_bytes), bytes };
        let content = unread.read(Seqno::ZERO).map_err(io)?;
        content
            .stopped
            .map_or(Ok(content.records), |why| Err(Error::corrupt(name.as_str(), content.limit, why)))
    }
}
