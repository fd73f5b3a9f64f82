//! Zstandard, with contexts that are used again: to make one costs more than a page does.

use super::Corruption;
use alloc::vec::Vec;
use isopach_env::sync::{Mutex, Rank};
use zstd_safe::{CCtx, DCtx};

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
    if !matches!(zstd_safe::get_frame_content_size(stored), Ok(Some(bytes)) if bytes == raw_bytes as u64) {
        return Err(Corruption("a section does not say the size that its directory says"));
    }
    let mut raw = Vec::with_capacity(raw_bytes);
    let len = with(&DECOMPRESSING, DCtx::try_create, |context| context.decompress(&mut raw, stored).ok());
    match len {
        Some(len) if len == raw_bytes => Ok(raw),
        _ => Err(Corruption("a section does not decompress")),
    }
}
