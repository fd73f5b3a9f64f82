//! The bytes of a file, sector by sector. Copies share sectors, so that images cost what differs.

use alloc::{collections::BTreeMap, sync::Arc};

/// What a medium writes in one go, unless a test says that it tears.
pub(super) const SECTOR_BYTES: usize = 512;

/// One sector; `None` in place of one reads as zeros.
pub(super) type Sector = Arc<[u8; SECTOR_BYTES]>;

/// Sectors that lie together, so that a copy of a large file that changes in one place copies little.
type Chunk = [Option<Sector>; CHUNK_SECTORS];
const CHUNK_SECTORS: usize = 64;

/// Size and bytes. Behind the end there is nothing: no sector, and in the last one zeros.
#[derive(Clone, Default)]
pub(super) struct Content {
    size_bytes: u64,
    /// By the number of the first sector, in chunks; those that are missing read as zeros.
    chunks: BTreeMap<u64, Arc<Chunk>>,
}

impl Content {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn sector(&self, number: u64) -> Option<Sector> {
        self.get(number).cloned()
    }

    /// Those that were written, by number.
    pub(super) fn sectors(&self) -> impl Iterator<Item = (u64, Sector)> + '_ {
        self.chunks.iter().flat_map(|(&first, chunk)| {
            let numbered = (first..).zip(chunk.iter());
            numbered.filter_map(|(number, sector)| Some((number, sector.clone()?)))
        })
    }

    fn get(&self, number: u64) -> Option<&Sector> {
        let (chunk, index) = chunk_of(number);
        self.chunks.get(&chunk)?[index].as_ref()
    }

    /// Reads up to the end; returns the bytes read.
    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left_bytes = usize::try_from(self.size_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let read_bytes = left_bytes.min(buf.len());
        for piece in pieces(offset, read_bytes) {
            let target = &mut buf[piece.at..piece.at + piece.bytes];
            match self.get(piece.sector) {
                Some(sector) => target.copy_from_slice(&sector[piece.start..piece.start + piece.bytes]),
                None => target.fill(0),
            }
        }
        read_bytes
    }

    /// Writes `data`, whose end the caller has checked, and tells of each sector that it wrote.
    pub(super) fn write_at(&mut self, offset: u64, data: &[u8], mut wrote: impl FnMut(u64, Sector)) {
        for piece in pieces(offset, data.len()) {
            let (chunk, index) = chunk_of(piece.sector);
            let chunk = self.chunks.entry(chunk).or_insert_with(empty_chunk);
            let sector = Arc::make_mut(chunk)[index].get_or_insert_with(zeros);
            let target = &mut Arc::make_mut(sector)[piece.start..piece.start + piece.bytes];
            target.copy_from_slice(&data[piece.at..piece.at + piece.bytes]);
            wrote(piece.sector, Arc::clone(sector));
        }
        self.size_bytes = self.size_bytes.max(offset + data.len() as u64);
    }

    /// Cuts or extends with zeros, and tells of each sector that it cut something off.
    pub(super) fn set_len(&mut self, bytes: u64, mut cut: impl FnMut(u64, Option<Sector>)) {
        self.size_bytes = bytes;
        let (last, kept_bytes) = place_of(bytes);
        let first_cut = last + u64::from(kept_bytes > 0);
        let cut_chunk = chunk_of(first_cut).0;
        for (first, chunk) in self.chunks.split_off(&cut_chunk) {
            let numbers = first..first + CHUNK_SECTORS as u64;
            for (number, sector) in numbers.zip(chunk.iter()).filter(|(_, sector)| sector.is_some()) {
                match number < first_cut {
                    true => self.put(number, sector.clone()),
                    false => cut(number, None),
                }
            }
        }
        if kept_bytes > 0
            && let Some(mut sector) = self.sector(last)
            && sector[kept_bytes..].iter().any(|&byte| byte != 0)
        {
            Arc::make_mut(&mut sector)[kept_bytes..].fill(0);
            self.put(last, Some(Arc::clone(&sector)));
            cut(last, Some(sector));
        }
    }

    /// Replaces a sector. What lies behind the end must be cut by [`Content::set_len`] afterwards.
    pub(super) fn put(&mut self, number: u64, sector: Option<Sector>) {
        let (chunk, index) = chunk_of(number);
        if sector.is_some() || self.get(number).is_some() {
            Arc::make_mut(self.chunks.entry(chunk).or_insert_with(empty_chunk))[index] = sector;
        }
    }
}

fn empty_chunk() -> Arc<Chunk> {
    Arc::new([const { None }; CHUNK_SECTORS])
}

/// The first sector of the chunk that holds a sector, and where in it.
fn chunk_of(sector: u64) -> (u64, usize) {
    let index = sector % CHUNK_SECTORS as u64;
    (sector - index, index as usize)
}

fn zeros() -> Sector {
    Arc::new([0; SECTOR_BYTES])
}

/// The sector that holds a byte, and where in it.
fn place_of(offset: u64) -> (u64, usize) {
    (offset / SECTOR_BYTES as u64, (offset % SECTOR_BYTES as u64) as usize)
}

/// The part of a range that lies in one sector.
struct Piece {
    sector: u64,
    /// First byte in the sector.
    start: usize,
    /// First byte in the range.
    at: usize,
    bytes: usize,
}

/// A range of bytes, cut at the ends of sectors.
fn pieces(offset: u64, bytes: usize) -> impl Iterator<Item = Piece> {
    let mut at = 0;
    core::iter::from_fn(move || {
        if at == bytes {
            return None;
        }
        let (sector, start) = place_of(offset + at as u64);
        let piece = Piece { sector, start, at, bytes: (SECTOR_BYTES - start).min(bytes - at) };
        at += piece.bytes;
        Some(piece)
    })
}
