//! Which dictionary the outputs of a compaction are compressed against: the one that the tree uses as long as it helps,
//! else a new one if that pays, else none.
//!
//! Flushes use none: what they write is merged again soon. Samples of the values that a job reads are judged, a part of
//! them after training on the others, so that data without anything in common costs some work and never space.

use super::{Tree, state::TreeState};
use crate::{
    codec::Compression,
    dictionary::{Samples, Trial, file_bytes},
    error::{ErrorKind, Result},
    types::{DictionaryId, Level, TableId},
    version::{DictionaryUse, TableRef},
};
use alloc::collections::BTreeSet;
use core::sync::atomic::Ordering;

/// Samples are at most so many times as large as the dictionary that is asked for ...
const SAMPLES_PER_DICTIONARY: usize = 100;
/// ... and at most so large.
const MAX_SAMPLE_BYTES: usize = 16 << 20;

/// No dictionary is trained for outputs with fewer bytes of values than so many times its size.
const MIN_OUTPUTS_PER_DICTIONARY: u64 = 8;

/// Tables of a tree name at most so many dictionaries, and one more for each job that trains meanwhile.
const MAX_DICTIONARIES: usize = 4;

/// After a training in vain so many jobs do without another one.
const RESTING_JOBS: u32 = 7;

/// What a job's inputs look like.
struct Sampled {
    pages: Samples,
    /// About the bytes of values that the job writes, uncompressed.
    output_bytes: u64,
}

impl Tree {
    /// The dictionary for a job's outputs on level `to`.
    ///
    /// # Errors
    ///
    /// `Corruption` and the like of an input; those of writing a dictionary.
    pub(super) fn dictionary_for(&self, inputs: &[TableRef], to: Level) -> Result<Option<DictionaryUse>> {
        let options = self.options();
        let (compression, bytes) = (options.compression.at(to), options.dictionary_bytes);
        if bytes == 0 || !matches!(compression, Compression::Zstd { .. }) {
            return Ok(None);
        }
        let sampled = sample(inputs, bytes)?;
        let state = self.0.state.load();

        let current = self.current_dictionary(&state)?;
        let tried = current.and_then(|used| {
            let trial = sampled.pages.trial(used.dictionary(), compression)?;
            trial.pays(sampled.output_bytes, 0).then_some((used, trial))
        });
        if let Some((used, trial)) = &tried
            && trial.is_as_good_as_in_training(used.dictionary().saved_permille())
        {
            return Ok(tried.map(|(used, _)| used));
        }
        let current_trial = tried.as_ref().map(|(_, trial)| *trial);
        match self.train(&state, inputs, &sampled, compression, bytes, current_trial)? {
            Some(new) => Ok(Some(new)),
            None => Ok(tried.map(|(used, _)| used)),
        }
    }

    /// The dictionary of the newest table that has one. One that cannot be read is none: jobs that read tables with it
    /// tell.
    fn current_dictionary(&self, state: &TreeState) -> Result<Option<DictionaryUse>> {
        let Some(id) = newest_dictionary(state) else { return Ok(None) };
        let dictionaries = &self.0.context.tables.dictionaries;
        match dictionaries.reuse(id) {
            Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::MissingDictionary) => {
                Ok(None)
            }
            Ok(Some(used)) if !dictionaries.is_current(used.dictionary())? => Ok(None),
            used => used,
        }
    }

    /// A new dictionary, written, if one pays and is clearly better than the present one on the same samples.
    fn train(
        &self,
        state: &TreeState,
        inputs: &[TableRef],
        sampled: &Sampled,
        compression: Compression,
        bytes: u32,
        current: Option<Trial>,
    ) -> Result<Option<DictionaryUse>> {
        let Sampled { pages, output_bytes } = sampled;
        let is_enough = *output_bytes >= MIN_OUTPUTS_PER_DICTIONARY * u64::from(bytes) && pages.are_enough();
        if !is_enough || dictionaries_beside(state, inputs) >= MAX_DICTIONARIES || self.rests() {
            return Ok(None);
        }
        let is_better = |trial: &Trial| current.is_none_or(|current| trial.is_clearly_better_than(&current));
        let trained = pages.train(compression, bytes);
        // Its file is left out at first: whether that is worth it, a job with more to write may see otherwise.
        let promising = trained.filter(|(_, trial)| trial.pays(*output_bytes, 0) && is_better(trial));
        let Some((dictionary, trial)) = promising else {
            self.0.resting_jobs.store(RESTING_JOBS, Ordering::Relaxed);
            return Ok(None);
        };
        let context = &self.0.context;
        let file_bytes = file_bytes(&dictionary, self.new_seal()?.is_some());
        if !trial.pays(*output_bytes, file_bytes) {
            return Ok(None);
        }
        context.tables.dictionaries.add(dictionary, context.manifest()?)
    }

    /// Whether this is one of the jobs after a training in vain.
    fn rests(&self) -> bool {
        let one_less = |jobs: u32| jobs.checked_sub(1);
        self.0.resting_jobs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// Reads blocks of the inputs, spread evenly over them, until they are read or there are samples enough.
fn sample(inputs: &[TableRef], dictionary_bytes: u32) -> Result<Sampled> {
    let max_bytes = (dictionary_bytes as usize * SAMPLES_PER_DICTIONARY).min(MAX_SAMPLE_BYTES);
    let input_bytes: u64 = inputs.iter().map(|table| table.bytes).sum();
    let mut pages = Samples::new(max_bytes);
    let mut block_bytes = 0;
    let mut seen: BTreeSet<(TableId, u64)> = BTreeSet::new();
    // Multiples of the golden ratio: wherever it ends, the places so far are spread evenly.
    let places = (1..=max_bytes as u64 / 4096).map(|i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for place in places {
        if pages.is_full() {
            break;
        }
        let (table, offset) = table_at(inputs, scaled(place, input_bytes));
        let open = table.open().map_err(|error| table.blame(error))?;
        let block = block_at(offset, table.bytes, open.data_blocks());
        if seen.insert((table.id, block)) {
            block_bytes += open
                .sample(block, |of_block| pages.add_block(of_block))
                .map_err(|error| table.blame(error))?;
        }
    }
    let output_bytes = u128::from(input_bytes) * u128::from(pages.bytes()) / u128::from(block_bytes.max(1));
    Ok(Sampled { pages, output_bytes: u64::try_from(output_bytes).unwrap_or(u64::MAX) })
}

/// The block in which a byte lies if all are as large.
fn block_at(offset: u64, table_bytes: u64, blocks: u64) -> u64 {
    let block = u128::from(offset) * u128::from(blocks) / u128::from(table_bytes);
    u64::try_from(block).expect("less than there are blocks")
}

/// The part of `bytes` that `place` is of 2^64.
fn scaled(place: u64, bytes: u64) -> u64 {
    u64::try_from((u128::from(place) * u128::from(bytes)) >> 64).expect("a part of a number")
}

/// The table in which a byte lies, of all inputs one behind the other, and where in it.
fn table_at(inputs: &[TableRef], mut offset: u64) -> (&TableRef, u64) {
    for table in inputs {
        if offset < table.bytes {
            return (table, offset);
        }
        offset -= table.bytes;
    }
    unreachable!("a job has inputs, and the offset lies inside them")
}

fn newest_dictionary(state: &TreeState) -> Option<DictionaryId> {
    let tables = state.levels.tables().filter_map(|(.., table)| Some((table.id, table.dictionary?.id)));
    tables.max().map(|(_, dictionary)| dictionary)
}

/// Dictionaries that tables other than the inputs name.
fn dictionaries_beside(state: &TreeState, inputs: &[TableRef]) -> usize {
    let is_input = |table: &TableRef| inputs.iter().any(|input| input.id == table.id);
    let others = state.levels.tables().filter(|(.., table)| !is_input(table));
    others.filter_map(|(.., table)| Some(table.dictionary?.id)).collect::<BTreeSet<_>>().len()
}
