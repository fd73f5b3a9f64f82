//! Recycling: the file of a segment that the log needs no more becomes that of a later one. Its space is there
//! already, and pages of it that are in memory need not be cleared again.
//!
//! A segment that is freed is kept as a *spare*: a file of the log's past, under its own name. To make it the next
//! segment it gets a new header and no first record, which is durable before the file is renamed; the new uuid, and
//! with it the salt of every checksum, keeps records of the former life from being records of the new one. So a
//! crash leaves a freed segment, or one that was made ready: neither is log, and opening removes both.

use super::{
    Wal,
    begin::{Blank, Prepared},
    segment::{Life, encode_blank, segment_name},
    state::Live,
    sync::SYNC_SEGMENT,
};
use isopach_engine::{
    error::{Error, Result},
    version::Hold,
};
use isopach_env::{File, SyncMode};
use std::sync::Arc;

/// Most spares that are kept: a memtable's segments, which are freed together.
const MAX_SPARES: usize = 2;

/// A segment that was freed, and whose file can be used again.
pub(super) struct Spare {
    file: Arc<dyn File>,
    hold: Hold,
}

impl Wal {
    /// Gives up the segments below `number`, though never the current one. The registry removes their files, but
    /// those that can be recycled.
    ///
    /// The edit that names `number` (or a later segment) as the first live one is durable.
    pub(crate) fn free_below(&self, number: u32) {
        let freed = self.state.lock().take_below(number);
        freed.into_iter().filter_map(|live| self.keep_as_spare(live)).for_each(Live::give_up);
    }

    /// Keeps a freed segment, or returns it: there are spares enough, it is damaged or of another size than is wanted,
    /// an earlier run began it, or somebody still has something to do with it.
    fn keep_as_spare(&self, live: Live) -> Option<Live> {
        let is_wanted = live.hold.bytes() == self.options.segment_bytes && !live.is_damaged;
        let mut state = self.state.lock();
        let is_clean = state.dirty.iter().all(|dirty| dirty.number != live.number);
        if !is_wanted || !is_clean || state.spares.len() == MAX_SPARES {
            return Some(live);
        }
        let Live { file: Some(file), .. } = &live else {
            return Some(live);
        };
        let file = Arc::clone(file);
        match Arc::try_unwrap(live.hold) {
            Ok(hold) => {
                state.spares.push(Spare { file, hold });
                None
            }
            Err(hold) => Some(Live { hold, ..live }),
        }
    }

    /// Gives up all spares: their space is needed, or no further segment will be.
    pub(crate) fn give_up_spares(&self) {
        let spares = std::mem::take(&mut self.state.lock().spares);
        spares.into_iter().for_each(|spare| spare.hold.remove());
    }

    /// Makes a spare the file of a later segment, without a first record; its entry is to be synced. `None`: the
    /// file is needed as it is, and was given up.
    ///
    /// No map of its former life is left.
    ///
    /// # Errors
    ///
    /// The file was given up. A failed sync poisons.
    pub(super) fn recycle(&self, spare: Spare) -> Result<Option<Blank>> {
        let Spare { file, mut hold } = spare;
        let made = self.free_number().and_then(|number| {
            let name = segment_name(number);
            let (header, codec) = self.new_life(Life::Later, &name)?;
            let mut synced = Ok(());
            let renamed = hold.reuse(&name, || {
                file.write_at(0, &encode_blank(&header))?;
                synced = file.sync(SyncMode::Durable, SYNC_SEGMENT);
                synced
            });
            synced.map_err(|error| {
                let error = Error::io(error, "sync the log", hold.name());
                self.state.lock().poison(&error)
            })?;
            Ok(renamed?.then_some((number, header, codec)))
        });
        match made {
            Ok(Some((number, header, codec))) => {
                let prepared = Some(Prepared { reserved_bytes: self.options.segment_bytes, map: None });
                Ok(Some(Blank { number, file, header, codec, hold, prepared }))
            }
            other => {
                hold.remove();
                other.map(|_| None)
            }
        }
    }

    /// The next number that no file has: to rename replaces.
    fn free_number(&self) -> Result<u32> {
        loop {
            let number = self.appender.lock().take_number()?;
            let name = segment_name(number);
            let is_taken = self.env.fs.exists(&name);
            if !is_taken.map_err(|error| Error::io(error, "look for", name))? {
                return Ok(number);
            }
        }
    }
}
