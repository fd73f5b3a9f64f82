//! Restoring what is damaged, where a checksum asks for it.

use super::{
    super::{Corruption, FileHeader, HEADER_BYTES, digest},
    Parity,
    layout::{DIGEST_BYTES, ParityTail, Shards, Stripe, WORD_BYTES, frames_at, stripes},
    reed_solomon,
    sec_ded::{self, Found},
    write::{to_len, xor_of},
};
use alloc::{string::String, sync::Arc, vec, vec::Vec};
use core::{fmt, ops::Range, sync::atomic::Ordering};
use isopach_env::{File, IoError, IoErrorKind, sync::atomic::AtomicU64};

/// Hears what was corrected. Called on the thread that reads.
pub trait CorrectionWatch: Send + Sync {
    /// These bytes of a file were restored. `persists`: they are as damaged when they are read past the caches again, so that
    /// the medium itself is; otherwise it was a passing fault.
    fn corrected(&self, bytes: Range<u64>, persists: bool);
}

/// Copies of a store's files, as a checkpoint or a replica has them: tables and files of separated values never change, and
/// keep their numbers.
pub trait CleanCopies: Send + Sync {
    /// Fills `buf` with what the copy of a file has from byte `offset` on. `false`: there is none, or it ends before. Bytes
    /// that are wrong do no harm: they fail the checksum of what is restored.
    ///
    /// Called on the thread that reads, which may hold locks: it must not use the database itself.
    fn read(&self, file: &str, offset: u64, buf: &mut [u8]) -> bool;
}

impl fmt::Debug for dyn CleanCopies + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanCopies").finish_non_exhaustive()
    }
}

/// What there is beside a file's parity.
#[derive(Clone, Default)]
pub struct Rescue {
    /// Who hears of corrections.
    pub watch: Option<Arc<dyn CorrectionWatch>>,
    /// Copies, and what they call the file.
    pub copies: Option<(Arc<dyn CleanCopies>, String)>,
}

/// What restores damaged bytes of an open file.
pub struct Corrector {
    file: Arc<dyn File>,
    parity: Parity,
    content_bytes: u64,
    rescue: Rescue,
    /// How often it did.
    corrections: AtomicU64,
}

/// What a walk over a file's parity finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParityFinding {
    /// The damaged bytes: of content, or of parity.
    pub bytes: Range<u64>,
    /// Whether that is no loss: what was there can be restored, or is parity alone.
    pub is_corrected: bool,
    /// What is wrong.
    pub message: &'static str,
}

impl Corrector {
    /// For a file that has so many bytes before its parity. `None`: it has no parity, or none that this build knows, and
    /// there are no copies.
    pub fn new(
        file: &Arc<dyn File>,
        parity: Parity,
        content_bytes: u64,
        rescue: Rescue,
    ) -> Option<Arc<Corrector>> {
        let is_known = parity != Parity::None && parity.is_available();
        let (file, corrections) = (Arc::clone(file), AtomicU64::new(0));
        (is_known || rescue.copies.is_some())
            .then(|| Arc::new(Corrector { file, parity, content_bytes, rescue, corrections }))
    }

    /// How often it restored something.
    pub fn corrections(&self) -> u64 {
        self.corrections.load(Ordering::Relaxed)
    }

    /// Restores bytes that failed a check, and tries `check` on what came of it; bytes that it does not take are not handed
    /// out.
    pub fn retry<T>(&self, bytes: Range<u64>, check: impl Fn(&[u8]) -> Result<T, Corruption>) -> Option<T> {
        let checked = |bytes: Vec<u8>| check(&bytes).ok().map(|checked| (bytes, checked));
        let by_parity = self.corrected(bytes.clone()).and_then(checked);
        let (corrected, checked) = by_parity.or_else(|| self.copied(&bytes).and_then(checked))?;
        self.corrections.fetch_add(1, Ordering::Relaxed);
        if let Some(watch) = &self.rescue.watch {
            watch.corrected(bytes.clone(), self.persists(bytes, &corrected));
        }
        Some(checked)
    }

    /// What a copy of the file has.
    fn copied(&self, bytes: &Range<u64>) -> Option<Vec<u8>> {
        let (copies, name) = self.rescue.copies.as_ref()?;
        if bytes.end > self.content_bytes {
            return None;
        }
        let mut read = vec![0; to_len(bytes.end - bytes.start)];
        copies.read(name, bytes.start, &mut read).then_some(read)
    }

    /// The header of the file, which could not be read, or was damaged.
    pub fn header(&self) -> Option<FileHeader> {
        const DAMAGED: Corruption = Corruption("the file header fails its checksum");
        let decode = |bytes: &[u8]| {
            let bytes = bytes.first_chunk().ok_or(DAMAGED)?;
            FileHeader::decode(bytes).map_err(|_| DAMAGED)
        };
        self.retry(0..HEADER_BYTES as u64, decode)
    }

    /// Reads bytes that could not be read as a whole.
    ///
    /// # Errors
    ///
    /// `error`, if they cannot be restored.
    pub fn read(&self, bytes: Range<u64>, error: IoError) -> Result<Vec<u8>, IoError> {
        // What a process lacks is no damage.
        match error.kind() {
            IoErrorKind::Other | IoErrorKind::UnexpectedEnd => {}
            _ => return Err(error),
        }
        let corrected = self.corrected(bytes.clone()).or_else(|| self.copied(&bytes)).ok_or(error)?;
        self.corrections.fetch_add(1, Ordering::Relaxed);
        if let Some(watch) = &self.rescue.watch {
            watch.corrected(bytes, true);
        }
        Ok(corrected)
    }

    /// Whether the medium has something else than these bytes.
    fn persists(&self, bytes: Range<u64>, expected: &[u8]) -> bool {
        self.file.drop_cached(bytes.clone());
        let mut read = vec![0; expected.len()];
        self.file.read_exact_at(bytes.start, &mut read).is_err() || read != expected
    }

    /// Bytes of the content, as far as parity restores them. `None`: it restores nothing of them.
    fn corrected(&self, bytes: Range<u64>) -> Option<Vec<u8>> {
        if bytes.is_empty() || bytes.end > self.content_bytes {
            return None;
        }
        let mut restored = Vec::with_capacity(to_len(bytes.end - bytes.start));
        match (self.parity, Shards::of(self.parity)) {
            (Parity::SecDed, _) => self.corrected_words(&bytes, &mut restored)?,
            (_, None) => return None,
            (_, Some(shards)) => {
                for stripe in stripes(shards, self.content_bytes, bytes.clone()) {
                    let content = self.corrected_stripe(shards, &stripe)?;
                    let from = bytes.start.max(stripe.content.start) - stripe.content.start;
                    let to = bytes.end.min(stripe.content.end) - stripe.content.start;
                    restored.extend_from_slice(&content[to_len(from)..to_len(to)]);
                }
            }
        }
        Some(restored)
    }

    /// The words around some bytes, and of these the bytes.
    fn corrected_words(&self, bytes: &Range<u64>, out: &mut Vec<u8>) -> Option<()> {
        let words = bytes.start / WORD_BYTES..bytes.end.div_ceil(WORD_BYTES);
        let (content, parity) = self.read_words(&words).ok()?;
        let mut corrected = Vec::with_capacity(content.len());
        for (word, &parity) in content.chunks_exact(WORD_BYTES as usize).zip(&parity) {
            let word: [u8; 8] = word.try_into().expect("a word is that long");
            corrected.extend_from_slice(&match sec_ded::check(word, parity) {
                Found::Sound | Found::Parity => word,
                Found::Word(word) => word,
                Found::Lost => return None,
            });
        }
        let skipped = to_len(bytes.start - words.start * WORD_BYTES);
        out.extend_from_slice(&corrected[skipped..][..to_len(bytes.end - bytes.start)]);
        Some(())
    }

    /// Words of the content, the last one filled up with zeros, and their parity.
    fn read_words(&self, words: &Range<u64>) -> Result<(Vec<u8>, Vec<u8>), IoError> {
        let content = words.start * WORD_BYTES..(words.end * WORD_BYTES).min(self.content_bytes);
        let mut read = vec![0; to_len((words.end - words.start) * WORD_BYTES)];
        let content_bytes = to_len(content.end - content.start);
        self.file.read_exact_at(content.start, &mut read[..content_bytes])?;
        let mut parity = vec![0; to_len(words.end - words.start)];
        self.file.read_exact_at(self.content_bytes + words.start, &mut parity)?;
        Ok((read, parity))
    }

    /// The content of a stripe, with shards of zeros behind its end.
    fn corrected_stripe(&self, shards: Shards, stripe: &Stripe) -> Option<Vec<u8>> {
        let mut content = self.read_stripe(shards, stripe);
        let frames = self.read_frames(shards, stripe);
        let digests =
            frames.iter().find_map(|(_, frame)| frame.as_ref()).map(|frame| frame.digests.clone())?;
        let lost = content.lost(&digests);
        let parity: Vec<(usize, Vec<u8>)> =
            frames.into_iter().filter_map(|(at, frame)| Some((at, frame?.shard))).collect();
        if lost.is_empty() {
            return Some(content.bytes);
        }
        if lost.len() > parity.len() || !restore(self.parity, shards, &mut content.bytes, &lost, &parity) {
            return None;
        }
        content.unread.clear();
        content.lost(&digests).is_empty().then_some(content.bytes)
    }

    fn read_stripe(&self, shards: Shards, stripe: &Stripe) -> Content {
        let shard_bytes = to_len(stripe.shard_bytes);
        let mut content =
            Content { bytes: vec![0; shards.data * shard_bytes], shard_bytes, unread: Vec::new() };
        let len = to_len(stripe.content.end - stripe.content.start);
        if self.file.read_exact_at(stripe.content.start, &mut content.bytes[..len]).is_ok() {
            return content;
        }
        for (at, shard) in content.bytes[..len].chunks_mut(shard_bytes).enumerate() {
            if self.file.read_exact_at(stripe.content.start + (at * shard_bytes) as u64, shard).is_err() {
                content.unread.push(at);
            }
        }
        content
    }

    /// The frames of a stripe by their places; `None`: one is damaged.
    fn read_frames(&self, shards: Shards, stripe: &Stripe) -> Vec<(usize, Option<Frame>)> {
        let frame_bytes = shards.frame_bytes(stripe.shard_bytes);
        let read = |at: usize| {
            let mut bytes = vec![0; to_len(frame_bytes)];
            self.file.read_exact_at(stripe.frames_at + at as u64 * frame_bytes, &mut bytes).ok()?;
            Frame::decode(&bytes, to_len(stripe.shard_bytes))
        };
        (0..shards.parity).map(|at| (at, read(at))).collect()
    }

    /// Holds all of the content against all of the parity, past the caches, and tells what is damaged.
    pub fn walk(&self, found: &mut dyn FnMut(ParityFinding)) {
        if self.content_bytes == 0 {
            return;
        }
        let tail_at = self.content_bytes + self.parity.trailer_bytes(self.content_bytes);
        self.file.drop_cached(0..tail_at);
        self.walk_ends(found);
        match (self.parity, Shards::of(self.parity)) {
            (Parity::SecDed, _) => self.walk_words(found),
            (_, None) => {}
            (_, Some(shards)) => {
                for stripe in stripes(shards, self.content_bytes, 0..self.content_bytes) {
                    self.walk_stripe(shards, &stripe, found);
                }
            }
        }
    }

    /// What lies before the first frame, and at the very end.
    fn walk_ends(&self, found: &mut dyn FnMut(ParityFinding)) {
        let mut check = |bytes: Range<u64>, expected: &[u8]| {
            let mut read = vec![0; expected.len()];
            let is_read = self.file.read_exact_at(bytes.start, &mut read).is_ok();
            if !is_read || read != expected {
                let message = "parity is damaged";
                self.tell(ParityFinding { bytes, is_corrected: true, message }, found);
            }
        };
        let all = self.content_bytes.saturating_add(self.parity.trailer_bytes(self.content_bytes));
        if Shards::of(self.parity).is_some() {
            let padding = self.content_bytes..frames_at(self.content_bytes);
            let zeros = vec![0; to_len(padding.end - padding.start)];
            check(padding, &zeros);
        }
        if all > self.content_bytes {
            let tail = ParityTail { content_bytes: self.content_bytes, parity: self.parity };
            check(all - ParityTail::BYTES as u64..all, &tail.encode());
        }
    }

    /// What can be mended is to be mended.
    fn tell(&self, finding: ParityFinding, found: &mut dyn FnMut(ParityFinding)) {
        if finding.is_corrected
            && let Some(watch) = &self.rescue.watch
        {
            watch.corrected(finding.bytes.clone(), true);
        }
        found(finding);
    }

    fn walk_stripe(&self, shards: Shards, stripe: &Stripe, found: &mut dyn FnMut(ParityFinding)) {
        let content = self.read_stripe(shards, stripe);
        let frames = self.read_frames(shards, stripe);
        let frame_bytes = shards.frame_bytes(stripe.shard_bytes);
        let sound = frames.iter().filter(|(_, frame)| frame.is_some()).count();
        let mut found = |finding| self.tell(finding, found);
        for (at, _) in frames.iter().filter(|(_, frame)| frame.is_none()) {
            let start = stripe.frames_at + *at as u64 * frame_bytes;
            let message = "parity is damaged";
            found(ParityFinding { bytes: start..start + frame_bytes, is_corrected: true, message });
        }
        let Some(digests) = frames.into_iter().find_map(|(_, frame)| frame).map(|frame| frame.digests) else {
            return;
        };
        let lost = content.lost(&digests);
        let is_corrected = lost.len() <= sound;
        for at in &lost {
            let start = stripe.content.start + *at as u64 * stripe.shard_bytes;
            let bytes = start..(start + stripe.shard_bytes).min(stripe.content.end);
            let message = if is_corrected {
                "bytes are damaged, and parity restores them"
            } else {
                "bytes are damaged, more than parity restores"
            };
            found(ParityFinding { bytes, is_corrected, message });
        }
    }

    fn walk_words(&self, found: &mut dyn FnMut(ParityFinding)) {
        const WORDS_AT_ONCE: u64 = 8192;
        let mut found = |finding| self.tell(finding, found);
        let all = self.content_bytes.div_ceil(WORD_BYTES);
        let mut start = 0;
        while start < all {
            let words = start..(start + WORDS_AT_ONCE).min(all);
            start = words.end;
            let in_content = |word: u64| word * WORD_BYTES..((word + 1) * WORD_BYTES).min(self.content_bytes);
            let Ok((content, parity)) = self.read_words(&words) else {
                let bytes = in_content(words.start).start..in_content(words.end - 1).end;
                let message = "bytes cannot be read";
                found(ParityFinding { bytes, is_corrected: false, message });
                continue;
            };
            for ((word, &parity), at) in content.chunks_exact(WORD_BYTES as usize).zip(&parity).zip(words) {
                let (bytes, is_corrected, message) =
                    match sec_ded::check(word.try_into().expect("a word is that long"), parity) {
                        Found::Sound => continue,
                        Found::Word(_) => (in_content(at), true, "a bit is damaged, and parity restores it"),
                        Found::Parity => {
                            let byte = self.content_bytes + at;
                            (byte..byte + 1, true, "parity is damaged")
                        }
                        Found::Lost => {
                            (in_content(at), false, "several bits are damaged, more than parity restores")
                        }
                    };
                found(ParityFinding { bytes, is_corrected, message });
            }
        }
    }
}

impl fmt::Debug for Corrector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Corrector").field("parity", &self.parity).finish_non_exhaustive()
    }
}

/// The shards of data of a stripe.
struct Content {
    bytes: Vec<u8>,
    shard_bytes: usize,
    /// Those that could not be read.
    unread: Vec<usize>,
}

impl Content {
    /// The shards that are not those of these digests.
    fn lost(&self, digests: &[u64]) -> Vec<usize> {
        let shards = self.bytes.chunks_exact(self.shard_bytes).zip(digests).enumerate();
        let is_lost = |(at, (shard, &of_shard)): (usize, (&[u8], &u64))| {
            (self.unread.contains(&at) || digest(shard) != of_shard).then_some(at)
        };
        shards.filter_map(is_lost).collect()
    }
}

/// A shard of parity that passed its check, and what it says of the shards of data.
struct Frame {
    shard: Vec<u8>,
    digests: Vec<u64>,
}

impl Frame {
    fn decode(bytes: &[u8], shard_bytes: usize) -> Option<Frame> {
        let (checked, whole) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
        if digest(checked) != u64::from_le_bytes(*whole) {
            return None;
        }
        let (shard, digests) = checked.split_at_checked(shard_bytes)?;
        let digests = digests.chunks_exact(DIGEST_BYTES);
        let digests = digests
            .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("a digest is that long")))
            .collect();
        Some(Frame { shard: Vec::from(shard), digests })
    }
}

/// Restores lost shards, of which there are no more than of parity. Whether that was possible.
fn restore(
    parity: Parity,
    shards: Shards,
    data: &mut [u8],
    lost: &[usize],
    frames: &[(usize, Vec<u8>)],
) -> bool {
    match (parity, lost, frames) {
        (Parity::Xor { .. }, &[lost], [(_, parity)]) => {
            let shard = lost * parity.len()..(lost + 1) * parity.len();
            data[shard.clone()].fill(0);
            let sum = xor_of(data, parity.len());
            for ((byte, sum), parity) in data[shard].iter_mut().zip(sum).zip(parity) {
                *byte = sum ^ parity;
            }
            true
        }
        (Parity::ReedSolomon { .. }, ..) => reed_solomon::restore(shards, data, lost, frames),
        _ => false,
    }
}
