//! Which numbers end commits, and when some of them did: what views of the past are found by. Pure; bounded, so the
//! further back the coarser. As a note of the manifest: `docs/format.md` §7.

use isopach_engine::{
    codec::{Corruption, Reader, TlvReader, TlvWriter},
    types::{Seqno, UnixUs},
};
use std::mem;

/// Commits nearer to each other than this share a sample.
const SAMPLE_US: u64 = 1000;
/// Most samples. When there are more, the further back the further apart they stay: by this part of their age.
const MAX_SAMPLES: usize = 2048;
const PARTS_OF_AGE: u64 = 48;
/// Most gaps. When there are more, old ones that are near each other become one.
const MAX_GAPS: usize = 2048;

/// The ends of commits, as far as they are known.
///
/// Most commits are one operation, and each number an end: so only *gaps* are kept, numbers that are none because
/// they lie in a batch, or in a block that was skipped. Of gaps that became one the ends between are forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CommitEnds {
    /// Before this nothing is known; `Seqno::MAX`: nothing is known yet.
    since: Seqno,
    /// Ends with their times; both ascend. Commits between two of them happened between their times.
    samples: Vec<(Seqno, UnixUs)>,
    /// Ascending, apart.
    gaps: Vec<Gap>,
    /// The newest commit.
    last: (Seqno, UnixUs),
    /// From this time on a commit is a sample.
    next_sample: UnixUs,
}

/// Both are ends, and none is known between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Gap {
    from: Seqno,
    to: Seqno,
}

impl CommitEnds {
    /// That of a new database: nothing was there before all commits.
    pub(crate) fn of_new() -> CommitEnds {
        CommitEnds { since: Seqno::ZERO, samples: vec![(Seqno::ZERO, UnixUs(0))], ..CommitEnds::unknown() }
    }

    /// Nothing is known.
    pub(crate) fn unknown() -> CommitEnds {
        CommitEnds {
            since: Seqno::MAX,
            samples: Vec::new(),
            gaps: Vec::new(),
            last: (Seqno::ZERO, UnixUs(0)),
            next_sample: UnixUs(0),
        }
    }

    /// The next commit ends at `last`, above all before. It may turn out void: then nothing happened there.
    #[inline]
    pub(crate) fn note(&mut self, last: Seqno, time: UnixUs) {
        let previous = mem::replace(&mut self.last, (last, time));
        if last.raw() != previous.0.raw() + 1 {
            self.note_gap(Gap { from: previous.0, to: last });
        }
        if time >= self.next_sample {
            self.note_sample(previous);
        }
    }

    fn note_gap(&mut self, gap: Gap) {
        if self.is_known() {
            self.gaps.push(gap);
            self.thin_gaps();
        }
    }

    /// The newest commit is a sample; so is the one before it, if it was the last for some time.
    fn note_sample(&mut self, previous: (Seqno, UnixUs)) {
        let (last, time) = self.last;
        if !self.is_known() {
            self.since = last;
        }
        let newest = self.samples.last().copied();
        // Who wrote the note or the log may have had a clock that stepped back.
        let in_order = |time: UnixUs| newest.map_or(time, |newest| time.max(newest.1));
        let is_new = newest.is_some_and(|newest| previous.0 > newest.0);
        if is_new && time.0.saturating_sub(previous.1.0) >= SAMPLE_US {
            self.samples.push((previous.0, in_order(previous.1)));
        }
        let time = in_order(time);
        self.samples.push((last, time));
        self.next_sample = UnixUs(time.0.saturating_add(SAMPLE_US));
        self.thin_samples();
    }

    fn is_known(&self) -> bool {
        self.since < Seqno::MAX
    }

    // ----- looking -----

    /// The end of the last commit at or before `at` that is known. `None` before all that are.
    pub(crate) fn end_at(&self, at: Seqno) -> Option<Seqno> {
        if at < self.since {
            return None;
        }
        let above = self.gaps.partition_point(|gap| gap.from < at);
        let gap = self.gaps[..above].last().filter(|gap| at < gap.to);
        Some(gap.map_or(at.min(self.last.0), |gap| gap.from))
    }

    /// As [`CommitEnds::end_at`], of a time.
    pub(crate) fn end_at_time(&self, at: UnixUs) -> Option<Seqno> {
        if self.is_known() && at >= self.last.1 {
            return Some(self.last.0);
        }
        let after = self.samples.partition_point(|(_, time)| *time <= at);
        self.samples[..after].last().map(|(end, _)| *end)
    }

    // ----- recovery -----

    /// What `later`, which was noted from the log, knows beyond this.
    pub(crate) fn extend(&mut self, later: &CommitEnds) {
        if !later.is_known() || (self.is_known() && later.last.0 <= self.last.0) {
            return;
        }
        if !self.is_known() {
            self.clone_from(later);
            return;
        }
        let known = self.last.0;
        if later.since > known && later.since.raw() != known.raw() + 1 {
            self.gaps.push(Gap { from: known, to: later.since });
        }
        let beyond = later.gaps.iter().filter(|gap| gap.to > known);
        self.gaps.extend(beyond.map(|gap| Gap { from: gap.from.max(known), to: gap.to }));
        let newest = self.samples.last().map_or(UnixUs(0), |(_, time)| *time);
        let beyond = later.samples.iter().filter(|(end, _)| *end > known);
        self.samples.extend(beyond.map(|(end, time)| (*end, (*time).max(newest))));
        (self.last, self.next_sample) = (later.last, later.next_sample);
        self.thin_gaps();
        self.thin_samples();
    }

    /// Forgets what did not survive a crash: the newest commit ends at `end`.
    pub(crate) fn cut_behind(&mut self, end: Seqno) {
        if !self.is_known() {
            self.since = end;
        }
        self.since = self.since.min(end);
        self.samples.retain(|(sample, _)| *sample <= end);
        self.gaps.retain(|gap| gap.from < end);
        if let Some(gap) = self.gaps.last_mut() {
            gap.to = gap.to.min(end);
        }
        if end > self.last.0 && end.raw() != self.last.0.raw() + 1 && self.last.0 >= self.since {
            self.gaps.push(Gap { from: self.last.0, to: end });
        }
        self.last.0 = end;
    }

    // ----- bounds -----

    /// Keeps the oldest and the newest sample, and of others the newer of two that are near for their age.
    fn thin_samples(&mut self) {
        if self.samples.len() <= MAX_SAMPLES {
            return;
        }
        let now = self.last.1.0;
        let mut kept: Vec<(Seqno, UnixUs)> = Vec::with_capacity(MAX_SAMPLES);
        let oldest = self.samples[0];
        for &(end, time) in self.samples[1..].iter().rev() {
            let apart = now.saturating_sub(time.0) / PARTS_OF_AGE;
            if kept.last().is_none_or(|(_, later)| later.0.saturating_sub(time.0) >= apart) {
                kept.push((end, time));
            }
        }
        while kept.len() > MAX_SAMPLES / 4 * 3 {
            let mut index = 0;
            kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        kept.push(oldest);
        kept.reverse();
        self.samples = kept;
    }

    fn thin_gaps(&mut self) {
        while self.gaps.len() > MAX_GAPS {
            self.merge_old_gaps();
        }
    }

    /// Of the older half of the gaps every one that is nearer to the next than most becomes one with it.
    fn merge_old_gaps(&mut self) {
        let newer = self.gaps.split_off(self.gaps.len() / 2);
        let apart = |pair: &[Gap]| pair[1].from.raw() - pair[0].to.raw();
        let mut distances: Vec<u64> = self.gaps.windows(2).map(apart).collect();
        let middle = distances.len() / 2;
        let near = *distances.select_nth_unstable(middle).1;
        let mut merged: Vec<Gap> = Vec::with_capacity(MAX_GAPS);
        for gap in self.gaps.drain(..) {
            match merged.last_mut() {
                Some(before) if gap.from.raw() - before.to.raw() <= near => before.to = gap.to,
                _ => merged.push(gap),
            }
        }
        merged.extend(newer);
        self.gaps = merged;
    }

    // ----- as a note -----

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut samples = Vec::new();
        let mut before = (0, 0);
        for (end, time) in &self.samples {
            put_varint(&mut samples, end.raw() - before.0);
            put_varint(&mut samples, time.0 - before.1);
            before = (end.raw(), time.0);
        }
        let (mut gaps, mut before) = (Vec::new(), 0);
        for gap in &self.gaps {
            put_varint(&mut gaps, gap.from.raw() - before);
            put_varint(&mut gaps, gap.to.raw() - gap.from.raw());
            before = gap.to.raw();
        }
        let mut fields = TlvWriter::new();
        fields.u64(SINCE, self.since.raw()).u64(LAST, self.last.0.raw()).u64(LAST_TIME, self.last.1.0);
        fields.bytes(SAMPLES, &samples).bytes(GAPS, &gaps);
        fields.finish()
    }

    /// The inverse of [`CommitEnds::encode`].
    ///
    /// # Errors
    ///
    /// Which rule the bytes break.
    pub(crate) fn decode(note: &[u8]) -> Result<CommitEnds, Corruption> {
        let mut fields = TlvReader::new(note);
        let mut ends = CommitEnds::unknown();
        let seqno = |raw| Seqno::from_raw(raw).ok_or(Corruption("a sequence number exceeds its bound"));
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                SINCE => ends.since = seqno(TlvReader::as_u64(value)?)?,
                LAST => ends.last.0 = seqno(TlvReader::as_u64(value)?)?,
                LAST_TIME => ends.last.1 = UnixUs(TlvReader::as_u64(value)?),
                SAMPLES => {
                    let pairs = take_pairs(value, MAX_SAMPLES)?;
                    let (mut end, mut time) = (0_u64, 0_u64);
                    for (more, later) in pairs {
                        (end, time) = (end.saturating_add(more), time.saturating_add(later));
                        ends.samples.push((seqno(end)?, UnixUs(time)));
                    }
                }
                GAPS => {
                    let mut at = 0_u64;
                    for (skipped, length) in take_pairs(value, MAX_GAPS)? {
                        let from = at.saturating_add(skipped);
                        at = from.saturating_add(length);
                        ends.gaps.push(Gap { from: seqno(from)?, to: seqno(at)? });
                    }
                }
                unknown => TlvReader::unknown(unknown)?,
            }
        }
        // Each field may be there twice.
        let are_apart = ends.gaps.is_sorted_by(|gap, next| gap.to <= next.from);
        let are_ascending = ends.samples.is_sorted_by(|(end, time), next| *end < next.0 && *time <= next.1);
        if !are_apart || !are_ascending {
            return Err(Corruption("a note of commits is not in order"));
        }
        let greatest = ends.samples.last().map(|(end, _)| *end);
        let greatest = greatest.max(ends.gaps.last().map(|gap| gap.to));
        if greatest.is_some_and(|greatest| greatest > ends.last.0) {
            return Err(Corruption("a note of commits goes on behind its end"));
        }
        let newest = ends.samples.last().map_or(UnixUs(0), |(_, time)| *time);
        ends.next_sample = UnixUs(newest.0.saturating_add(SAMPLE_US));
        Ok(ends)
    }

    /// The greatest time in it.
    pub(crate) fn last_time(&self) -> UnixUs {
        self.samples.last().map_or(self.last.1, |(_, time)| self.last.1.max(*time))
    }
}

const SINCE: u8 = 1;
const LAST: u8 = 2;
const LAST_TIME: u8 = 3;
const SAMPLES: u8 = 4;
const GAPS: u8 = 5;

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_pairs(bytes: &[u8], most: usize) -> Result<Vec<(u64, u64)>, Corruption> {
    let mut fields = Reader::new(bytes);
    let mut pairs = Vec::new();
    while fields.remaining() > 0 {
        if pairs.len() == most {
            return Err(Corruption("a note of commits is longer than any is written"));
        }
        pairs.push((take_varint(&mut fields)?, take_varint(&mut fields)?));
    }
    Ok(pairs)
}

fn take_varint(fields: &mut Reader<'_>) -> Result<u64, Corruption> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = fields.u8()?;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Corruption("a number is too long"))
}

#[cfg(test)]
mod tests;
