//! Passes over all files, which read each once: how far the last one came, and when the next is due.
//!
//! Files are gone over in the order of their numbers. A pass covers those that were there when it began: what is written
//! later was just written. Passes are of the database, not of who reads: what one leaves undone another goes on with, a
//! later opening too. One of them reads at a time.

use crate::{
    error::Result,
    notes::{SCRUB, bad_note},
    waiting::{Taken, Turn},
};
use isopach_engine::{
    codec::{Corruption, TlvReader, TlvWriter},
    types::UnixUs,
    version::Note,
};
use isopach_env::sync::{Mutex, Rank};
use std::{mem, time::Duration};

/// Of who waits to read.
const TURN: Rank = Rank::new(6, "scrub.turn");
/// Of how far a pass came. Held for moments.
const PASS: Rank = Rank::new(23, "scrub.pass");

/// How far a pass came is noted this often, in bytes read.
const NOTE_EVERY: u64 = 256 << 20;

/// What scrubs have read, asked for or in the background, since the database was opened; and the last pass, whoever read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ScrubStats {
    /// Tables, dictionaries, files of separated values, segments of the log, and the manifest.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
    /// Passes that ended.
    pub passes: u64,
    /// Time at which the last pass began, in microseconds since 1970; `None`: there was none yet.
    pub began_us: Option<u64>,
    /// Time at which it had read everything; `None`: it is under way.
    pub ended_us: Option<u64>,
}

/// A pass over all files that were there when it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pass {
    pub(crate) began: UnixUs,
    /// Files with this number or a greater one are no part of it.
    pub(crate) before: u64,
    /// Those up to this number are done.
    pub(crate) after: Option<u64>,
    /// All are.
    pub(crate) ended: Option<UnixUs>,
}

impl Pass {
    /// Over the files with numbers below `before`.
    pub(crate) fn begin(now: UnixUs, before: u64) -> Pass {
        Pass { began: now, before, after: None, ended: None }
    }

    fn encode(self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        fields.u64(BEGAN, self.began.0).u64(BEFORE, self.before);
        if let Some(after) = self.after {
            fields.u64(AFTER, after);
        }
        if let Some(ended) = self.ended {
            fields.u64(ENDED, ended.0);
        }
        fields.finish()
    }

    fn decode(note: &[u8]) -> std::result::Result<Pass, Corruption> {
        let mut pass = Pass::begin(UnixUs(0), 0);
        let mut fields = TlvReader::new(note);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                BEGAN => pass.began = UnixUs(TlvReader::as_u64(value)?),
                BEFORE => pass.before = TlvReader::as_u64(value)?,
                AFTER => pass.after = Some(TlvReader::as_u64(value)?),
                ENDED => pass.ended = Some(UnixUs(TlvReader::as_u64(value)?)),
                unknown => TlvReader::unknown(unknown)?,
            }
        }
        Ok(pass)
    }
}

const BEGAN: u8 = 1;
const BEFORE: u8 = 2;
const AFTER: u8 = 3;
const ENDED: u8 = 4;

/// How far the passes of an open database came.
pub(crate) struct Passes {
    /// Of who reads.
    turn: Turn,
    state: Mutex<State>,
}

struct State {
    pass: Option<Pass>,
    /// As it is noted.
    noted: Option<Pass>,
    /// Bytes read since it was noted.
    unnoted_bytes: u64,
    /// The background reads nothing before this time of the monotonic clock.
    not_before: Duration,
    /// The background was asked to read, and has not yet.
    is_asked: bool,
    stats: ScrubStats,
}

impl Passes {
    /// Goes on where the note ends, if there is one.
    ///
    /// # Errors
    ///
    /// `Corruption` of the note.
    pub(crate) fn of_note(note: Option<Vec<u8>>) -> Result<Passes> {
        let pass = note.map(|note| Pass::decode(&note)).transpose().map_err(|_| bad_note(SCRUB))?;
        let state = State {
            pass,
            noted: pass,
            unnoted_bytes: 0,
            not_before: Duration::ZERO,
            is_asked: false,
            stats: ScrubStats::default(),
        };
        Ok(Passes { turn: Turn::new(TURN), state: Mutex::new(PASS, state) })
    }

    /// What was read.
    pub(crate) fn stats(&self) -> ScrubStats {
        let state = self.state.lock();
        ScrubStats {
            began_us: state.pass.map(|pass| pass.began.0),
            ended_us: state.pass.and_then(|pass| pass.ended).map(|ended| ended.0),
            ..state.stats
        }
    }

    // ----- who reads -----

    /// Waits until nobody else reads.
    pub(crate) fn take_turn(&self) -> Taken<'_> {
        self.turn.take()
    }

    /// As [`Passes::take_turn`], if nobody else reads now.
    pub(crate) fn try_turn(&self) -> Option<Taken<'_>> {
        self.turn.try_take()
    }

    /// The pass that is under way, if one is.
    pub(crate) fn under_way(&self) -> Option<Pass> {
        self.state.lock().pass.filter(|pass| pass.ended.is_none())
    }

    /// A pass is here now, by so many files and bytes further.
    pub(crate) fn came_to(&self, pass: Pass, files: u64, bytes: u64) {
        let mut state = self.state.lock();
        state.pass = Some(pass);
        state.unnoted_bytes += bytes;
        state.stats.files += files;
        state.stats.bytes += bytes;
        state.stats.passes += u64::from(pass.ended.is_some());
    }

    // ----- notes -----

    /// How far the pass came, if that is not noted.
    pub(crate) fn unnoted(&self) -> Option<(Pass, Note)> {
        let state = self.state.lock();
        let pass = state.pass.filter(|_| state.pass != state.noted)?;
        Some((pass, Note::new(SCRUB, pass.encode())))
    }

    /// Whether that should be noted: much was read since, or the pass ended.
    pub(crate) fn wants_note(&self) -> bool {
        let state = self.state.lock();
        state.unnoted_bytes >= NOTE_EVERY || state.pass.is_some_and(|pass| pass.ended.is_some())
    }

    /// It was noted that the pass came here.
    pub(crate) fn noted(&self, pass: Pass) {
        let mut state = self.state.lock();
        (state.noted, state.unnoted_bytes) = (Some(pass), 0);
    }

    // ----- the background -----

    /// In how long the background has something to read, if passes begin that far from each other; `None`: it has, and
    /// was asked to. `monotonic` is the time of the clock that [`Passes::rest_until`] speaks of.
    pub(crate) fn due_in(&self, every: Duration, now: UnixUs, monotonic: Duration) -> Option<Duration> {
        let state = self.state.lock();
        if state.is_asked {
            return None;
        }
        let pass = match state.pass {
            Some(Pass { began, ended: Some(_), .. }) => {
                // A clock that was set back keeps none from beginning.
                let since = Duration::from_micros(now.0.saturating_sub(began.0));
                every.saturating_sub(since)
            }
            _ => Duration::ZERO,
        };
        Some(pass.max(state.not_before.saturating_sub(monotonic)))
    }

    /// The background is asked to read now; `true` once until it did.
    pub(crate) fn ask(&self) -> bool {
        !mem::replace(&mut self.state.lock().is_asked, true)
    }

    /// The background did what it was asked to, and reads nothing before this time.
    pub(crate) fn rest_until(&self, monotonic: Duration) {
        let mut state = self.state.lock();
        (state.not_before, state.is_asked) = (monotonic, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn how_far_a_pass_came_is_noted_and_comes_back() {
        let begun = Pass::begin(UnixUs(7), 1 << 40);
        let ended = Pass { after: Some(9), ended: Some(UnixUs(u64::MAX)), ..begun };

        assert_eq!(Pass::decode(&begun.encode()), Ok(begun));
        assert_eq!(Pass::decode(&ended.encode()), Ok(ended));
        assert!(Passes::of_note(Some(vec![BEFORE, 9])).is_err());
    }

    #[test]
    fn a_pass_is_due_at_once_while_one_is_under_way_and_else_in_its_time() {
        let passes = Passes::of_note(None).unwrap();
        let hours = |count: u64| UnixUs(count * 3_600_000_000);
        let due_in = |now| passes.due_in(HOUR * 10, now, Duration::from_secs(5));
        assert_eq!(due_in(hours(1)), Some(Duration::ZERO), "there was none yet");

        let begun = Pass::begin(hours(1), 9);
        passes.came_to(begun, 1, 100);
        assert_eq!(due_in(hours(1)), Some(Duration::ZERO), "it is to be finished");
        passes.rest_until(Duration::from_secs(7));
        assert_eq!(due_in(hours(1)), Some(Duration::from_secs(2)), "the pace is kept");

        passes.came_to(Pass { ended: Some(hours(2)), ..begun }, 1, 100);
        assert_eq!(due_in(hours(4)), Some(HOUR * 7), "from the beginning of the one before");
        assert_eq!(due_in(hours(11)), Some(Duration::from_secs(2)));
        assert_eq!(
            due_in(hours(0)),
            Some(HOUR * 10),
            "a clock that was set back delays by no more than that"
        );
    }

    #[test]
    fn who_was_asked_is_not_asked_again_until_he_rests() {
        let passes = Passes::of_note(None).unwrap();

        assert!(passes.ask() && !passes.ask());
        assert_eq!(passes.due_in(HOUR, UnixUs(0), Duration::ZERO), None);
        passes.rest_until(Duration::ZERO);
        assert!(passes.ask());
    }

    #[test]
    fn a_note_is_wanted_when_much_was_read_or_a_pass_ended() {
        let passes = Passes::of_note(None).unwrap();
        let pass = Pass::begin(UnixUs(7), 9);
        assert!(passes.unnoted().is_none());

        passes.came_to(Pass { after: Some(3), ..pass }, 1, NOTE_EVERY - 1);
        assert!(!passes.wants_note());
        passes.came_to(Pass { after: Some(4), ..pass }, 1, 1);
        assert!(passes.wants_note());
        let (to_note, note) = passes.unnoted().unwrap();
        passes.noted(to_note);
        assert!(passes.unnoted().is_none() && !passes.wants_note());
        let again = Passes::of_note(Some(note.value.clone())).unwrap();
        assert_eq!(again.under_way(), Some(Pass { after: Some(4), ..pass }));

        passes.came_to(Pass { after: Some(4), ended: Some(UnixUs(8)), ..pass }, 0, 0);
        assert!(passes.wants_note() && passes.under_way().is_none());
    }
}
