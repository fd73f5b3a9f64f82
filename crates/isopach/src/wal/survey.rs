//! What a log says of itself, where no manifest says which segments it is made of. Reads what segments begin with.

use super::{
    chain::chain,
    recover::LogFacts,
    segment::{Found, Opening, WAL_DIR, list},
};
use isopach_engine::{
    codec::{LogPosition, Owner},
    error::Result,
};
use isopach_env::Fs;
use std::collections::BTreeMap;

/// What the manifest of a database would say of its log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSurvey {
    /// From which segment on it is needed.
    pub(crate) first_live: u32,
    /// Which history its newest segment belongs to, if it is not the first, and from which segment on all do.
    pub(crate) timeline: Option<(u64, u32)>,
    /// From which segment on all are encrypted, if the newest is.
    pub(crate) sealed_from: Option<u32>,
}

/// Looks at all segments. Of a directory that is missing there are none.
///
/// # Errors
///
/// `MixedStore`: a segment of another database; keys that are missing or wrong; the backend's.
pub(crate) fn survey(fs: &dyn Fs, owner: &Owner) -> Result<LogSurvey> {
    let numbers = if fs.exists(WAL_DIR) == Ok(false) { Vec::new() } else { list(fs)? };
    let found: Vec<Found> =
        numbers.iter().map(|&number| Found::open(fs, number, owner)).collect::<Result<_>>()?;
    let started = |segment: &Found| match &segment.opening {
        Opening::Started { codec, start, .. } => {
            Some((segment.number, (start.previous_end, start.timeline, !codec.sealing.is_clear())))
        }
        _ => None,
    };
    let started: BTreeMap<u32, (LogPosition, u64, bool)> = found.iter().filter_map(started).collect();
    let newest = started.last_key_value().map(|(&number, &of)| (number, of));
    let timeline = newest.map_or(0, |(_, (_, timeline, _))| timeline);
    let is_sealed = newest.is_some_and(|(_, (.., is_sealed))| is_sealed);
    let from = |is_so: &dyn Fn(&(LogPosition, u64, bool)) -> bool| {
        let last = started.iter().rev().take_while(|(_, of)| is_so(of)).last();
        last.map_or(1, |(&number, _)| number)
    };
    Ok(LogSurvey {
        first_live: first_live(&started).or(numbers.first().copied()).unwrap_or(1),
        timeline: (timeline != 0).then(|| (timeline, from(&|of| of.1 == timeline))),
        sealed_from: is_sealed.then(|| from(&|of| of.2)),
    })
}

/// The first segment from which on the log leads to its newest one. What lies before was given up, or is lost; what is
/// older than need be does no harm, for tables say up to where they hold it.
fn first_live(started: &BTreeMap<u32, (LogPosition, u64, bool)>) -> Option<u32> {
    let ends: BTreeMap<u32, LogPosition> = started.iter().map(|(&number, of)| (number, of.0)).collect();
    let newest = ends.last_key_value().map(|(&number, _)| number)?;
    let leads = |first: &&u32| chain(&ends, **first).last() == Some(&newest);
    ends.keys().find(leads).copied().or(Some(newest))
}

impl LogSurvey {
    /// By what the end of the log is looked for.
    pub(crate) fn facts(&self) -> LogFacts {
        LogFacts {
            first_live: self.first_live,
            clean_end: None,
            synced_upto: LogPosition::START,
            history: None,
            sealed_from: self.sealed_from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_live_of(starts: &[(u32, u32)]) -> Option<u32> {
        let start = |&(number, file): &(u32, u32)| (number, (LogPosition { file, offset: 128 }, 0, false));
        first_live(&starts.iter().map(start).collect())
    }

    #[test]
    fn a_log_begins_with_the_oldest_segment_that_leads_to_its_newest() {
        assert_eq!(first_live_of(&[]), None);
        assert_eq!(first_live_of(&[(1, 0), (2, 1), (3, 2)]), Some(1));
        assert_eq!(
            first_live_of(&[(3, 2), (5, 4), (6, 5)]),
            Some(5),
            "4 is gone, so 3 was given up or is cut off"
        );
        assert_eq!(first_live_of(&[(5, 4), (6, 5), (9, 4)]), Some(5), "9 supersedes both, by its own start");
        assert_eq!(first_live_of(&[(7, 6)]), Some(7));
    }
}
