//! Zstandard, with contexts that are used again: to make one costs more than a page does.

use super::Corruption;
use alloc::vec::Vec;
use isopach_env::sync::{Mutex, Rank};
use zstd_safe::{CCtx, CDict, DCtx, DDict};

/// Of contexts that nobody uses. Held for moments, also by who opens a page.
const CONTEXTS: Rank = Rank::new(63, "zstd.contexts");

static COMPRESSING: Mutex<Vec<CCtx<'static>>> = Mutex::new(CONTEXTS, Vec::new());
static DECOMPRESSING: Mutex<Vec<DCtx<'static>>> = Mutex::new(CONTEXTS, Vec::new());

/// Contexts that are kept of each kind: about one for each thread that writes or reads at once.
const MAX_KEPT: usize = 16;

/// Takes a context, or makes one; gives it back behind `work`. `None` for want of memory.
fn with<C, T>(
    kept: &Mutex<Vec<C>>,
    make: impl FnOnce() -> Option<C>,
    work: impl FnOnce(&mut C) -> Option<T>,
) -> Option<T> {
    let taken = kept.lock().pop();
    let mut context = taken.or_else(make)?;
    let done = work(&mut context);
    let mut kept = kept.lock();
    if kept.len() < MAX_KEPT {
        kept.push(context);
    }
    done
}

/// One frame that says its content's size; `None` for want of memory.
pub(super) fn compress(raw: &[u8], level: i8) -> Option<Vec<u8>> {
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
    with(&COMPRESSING, CCtx::try_create, |context| context.compress(&mut packed, raw, level.into()).ok())?;
    Some(packed)
}

/// The content of a frame.
///
/// # Errors
///
/// It has another size than it and the caller say, or is no frame.
pub(super) fn decompress(stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
    decompress_by(stored, raw_bytes, |context, raw| context.decompress(raw, stored).ok())
}

/// As [`decompress`], with `work` to fill the content.
fn decompress_by(
    stored: &[u8],
    raw_bytes: usize,
    work: impl FnOnce(&mut DCtx<'static>, &mut Vec<u8>) -> Option<usize>,
) -> Result<Vec<u8>, Corruption> {
    if !matches!(zstd_safe::get_frame_content_size(stored), Ok(Some(bytes)) if bytes == raw_bytes as u64) {
        return Err(Corruption("a section does not say the size that its directory says"));
    }
    let mut raw = Vec::with_capacity(raw_bytes);
    let len = with(&DECOMPRESSING, DCtx::try_create, |context| work(context, &mut raw));
    match len {
        Some(len) if len == raw_bytes => Ok(raw),
        _ => Err(Corruption("a section does not decompress")),
    }
}

/// A dictionary prepared for reading.
pub(super) struct Reading(DDict<'static>);

impl Reading {
    /// Prepares a dictionary.
    ///
    /// # Errors
    ///
    /// The content is none that was trained.
    pub(super) fn new(content: &[u8]) -> Result<Reading, Corruption> {
        // Zstandard takes any other content too, without the number by which frames name their dictionary.
        if zstd_safe::get_dict_id_from_dict(content).is_none() {
            return Err(Corruption("the content is no dictionary of Zstandard"));
        }
        DDict::try_create(content).map(Reading).ok_or(Corruption("Zstandard refuses the dictionary"))
    }

    /// As [`decompress`]; a frame that names another dictionary is refused.
    pub(super) fn decompress(&self, stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
        decompress_by(stored, raw_bytes, |context, raw| {
            context.decompress_using_ddict(raw, stored, &self.0).ok()
        })
    }

    pub(super) fn resident_bytes(&self) -> usize {
        self.0.sizeof()
    }
}

/// A dictionary prepared for writing.
pub(super) struct Writing(CDict<'static>);

impl Writing {
    /// `None` for want of memory.
    pub(super) fn new(content: &[u8], level: i8) -> Option<Writing> {
        CDict::try_create(content, level.into()).map(Writing)
    }

    /// As [`compress`].
    pub(super) fn compress(&self, raw: &[u8]) -> Option<Vec<u8>> {
        let mut packed = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
        with(&COMPRESSING, CCtx::try_create, |context| {
            context.compress_using_cdict(&mut packed, raw, &self.0).ok()
        })?;
        Some(packed)
    }
}

/// A dictionary of at most so many bytes for what samples of these lengths, one behind the other, have in common.
/// `None` if they are too few or have nothing in common.
pub(super) fn train(samples: &[u8], lengths: &[usize], bytes: usize) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(bytes);
    zstd_safe::train_from_buffer(&mut content, samples, lengths).ok()?;
    Some(content)
}
