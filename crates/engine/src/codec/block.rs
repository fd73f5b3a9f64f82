//! Block frames: a header, a clear section directory, the sections. Layout: `docs/format.md` §2.

use super::{
    Codec, Compression, Corruption, Reader,
    checksum::{Checksum, digest},
    protect::FileCodec,
};
use alloc::{borrow::Cow, vec::Vec};

/// Size of a frame's header, before the directory.
pub const BLOCK_HEADER_BYTES: usize = 24;

/// Size of a section's entry in the directory.
pub const SECTION_ENTRY_BYTES: usize = 17;

/// Most sections of a block.
pub const MAX_SECTIONS: usize = 64;

/// Longest header and directory of a frame.
pub const MAX_FRAME_START_BYTES: usize = BLOCK_HEADER_BYTES + MAX_SECTIONS * SECTION_ENTRY_BYTES;

/// What every frame begins with.
pub const FRAME_MAGIC: [u8; 2] = *b"IB";

const MAGIC: u16 = u16::from_le_bytes(FRAME_MAGIC);

/// What a block holds. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[repr(u8)]
pub enum BlockKind {
    /// Keys and values.
    Data = 1,
    /// Separators and handles of data blocks.
    Index = 2,
    /// Membership of keys.
    Filter = 3,
    /// Facts about the table.
    Properties = 4,
    /// Deletes of ranges.
    RangeTombstones = 5,
    /// What lies in each data block.
    Statistics = 6,
    /// A compression dictionary and facts about it.
    Dictionary = 7,
}

impl BlockKind {
    fn from_raw(raw: u8) -> Option<BlockKind> {
        Some(match raw {
            1 => BlockKind::Data,
            2 => BlockKind::Index,
            3 => BlockKind::Filter,
            4 => BlockKind::Properties,
            5 => BlockKind::RangeTombstones,
            6 => BlockKind::Statistics,
            7 => BlockKind::Dictionary,
            _ => return None,
        })
    }
}

/// A section to be framed.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Its bytes.
    pub raw: &'a [u8],
    /// How to compress it; kept only if that saves an eighth.
    pub compression: Compression,
}

/// Appends a frame to `out`, which will lie at `offset` of the file.
///
/// Header, 24 bytes:
///
/// | bytes  | field                                                            |
/// |--------|------------------------------------------------------------------|
/// | 0..2   | magic `IB`                                                       |
/// | 2      | block kind                                                       |
/// | 3      | codec: the greatest of its sections'                             |
/// | 4      | flags, zero                                                      |
/// | 5      | number of sections                                               |
/// | 6..8   | zero                                                             |
/// | 8..14  | stored length of the sections together                           |
/// | 14..20 | raw length of the sections together                              |
/// | 20..24 | low half of the checksum of bytes 0..20 and the directory        |
///
/// Directory, 17 bytes a section: stored length u32, raw length u32, codec u8, checksum u64 of the stored bytes,
/// bound to where they lie. Each section stands for itself: it is verified and decompressed without the others.
///
/// # Panics
///
/// If there is no section, there are more than [`MAX_SECTIONS`], or one exceeds 4 GiB: the callers' bounds exclude both.
pub fn encode_block(
    out: &mut Vec<u8>,
    kind: BlockKind,
    codec: &FileCodec,
    offset: u64,
    sections: &[Section<'_>],
) {
    assert!((1..=MAX_SECTIONS).contains(&sections.len()), "a block has 1 to {MAX_SECTIONS} sections");
    let start = out.len();
    let payload_at = BLOCK_HEADER_BYTES + sections.len() * SECTION_ENTRY_BYTES;
    out.resize(start + payload_at, 0);

    let mut greatest_codec = 0;
    let mut raw_bytes = 0_u64;
    for (index, section) in sections.iter().enumerate() {
        let (section_codec, packed) = section.compression.compress_in(section.raw, &codec.dictionary);
        let section_at = offset + (out.len() - start) as u64;
        let stored_at = out.len();
        out.extend_from_slice(&packed);
        let context = seal_context(kind, section_codec.to_raw(), section.raw.len() as u64);
        codec.sealing.seal(out, stored_at, section_at, &context);
        let entry = start + BLOCK_HEADER_BYTES + index * SECTION_ENTRY_BYTES;
        let length = |bytes: usize| u32::try_from(bytes).expect("a section is at most 4 GiB").to_le_bytes();
        let stored_bytes = length(out.len() - stored_at);
        out[entry..entry + 4].copy_from_slice(&stored_bytes);
        out[entry + 4..entry + 8].copy_from_slice(&length(section.raw.len()));
        out[entry + 8] = section_codec.to_raw();
        let checksum = Checksum::of(&out[stored_at..], codec.salt, section_at);
        out[entry + 9..entry + 17].copy_from_slice(&checksum.0.to_le_bytes());
        greatest_codec = greatest_codec.max(section_codec.to_raw());
        raw_bytes += section.raw.len() as u64;
    }

    let stored_bytes = (out.len() - start - payload_at) as u64;
    let header = &mut out[start..start + BLOCK_HEADER_BYTES];
    header[..2].copy_from_slice(&MAGIC.to_le_bytes());
    header[2] = kind as u8;
    header[3] = greatest_codec;
    header[5] = u8::try_from(sections.len()).expect("at most 64 sections");
    header[8..14].copy_from_slice(&stored_bytes.to_le_bytes()[..6]);
    header[14..20].copy_from_slice(&raw_bytes.to_le_bytes()[..6]);
    let check = header_check(&out[start..start + payload_at], codec, offset);
    out[start + 20..start + 24].copy_from_slice(&check);
}

/// A section as it lies in a frame. Its bytes were not verified yet.
#[derive(Clone, Debug)]
pub struct StoredSection<'a> {
    stored: Cow<'a, [u8]>,
    raw_bytes: usize,
    kind: BlockKind,
    compression: Codec,
    checksum: Checksum,
    /// Where the stored bytes lie in their file.
    offset: u64,
}

impl StoredSection<'_> {
    /// Size of what [`StoredSection::open`] returns, as the directory has it.
    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Size of what lies in the file.
    pub fn stored_bytes(&self) -> usize {
        self.stored.len()
    }

    /// How it is compressed.
    pub fn compression(&self) -> Codec {
        self.compression
    }

    /// Verified, opened, decompressed.
    ///
    /// # Errors
    ///
    /// Any of its bytes differs from what was framed, and parity does not restore them. Nothing is allocated for a length
    /// that its compression cannot reach.
    pub fn open(&self, codec: &FileCodec) -> Result<Vec<u8>, Corruption> {
        codec.retry(&self.stored, self.offset, |stored| self.open_as(stored, codec))
    }

    /// Opens what may be the stored bytes.
    fn open_as(&self, stored: &[u8], codec: &FileCodec) -> Result<Vec<u8>, Corruption> {
        if Checksum::of(stored, codec.salt, self.offset) != self.checksum {
            return Err(Corruption("a section of the block fails its checksum"));
        }
        let context = seal_context(self.kind, self.compression.to_raw(), self.raw_bytes as u64);
        let opened = codec.sealing.open(stored, self.offset, &context)?;
        self.compression.decompress_in(opened, self.raw_bytes, &codec.dictionary)
    }

    /// With bytes of its own.
    pub fn into_owned(self) -> StoredSection<'static> {
        StoredSection { stored: Cow::Owned(self.stored.into_owned()), ..self }
    }
}

/// Decodes the frame that is all of `frame`, read at `offset` of the file: its sections, verified and raw.
///
/// # Errors
///
/// As [`read_frame`] and [`StoredSection::open`].
pub fn decode_block(
    frame: &[u8],
    kind: BlockKind,
    codec: &FileCodec,
    offset: u64,
) -> Result<Vec<Vec<u8>>, Corruption> {
    read_frame(frame, kind, codec, offset)?.iter().map(|section| section.open(codec)).collect()
}

/// The size of the whole frame that begins with `header`, as it says; whether that is so shows [`read_frame`].
/// `None` if no frame of this kind begins there.
pub fn frame_bytes(header: &[u8; BLOCK_HEADER_BYTES], kind: BlockKind) -> Option<u64> {
    if header[..2] != MAGIC.to_le_bytes() || header[2] != kind as u8 {
        return None;
    }
    let directory_bytes = u64::from(header[5]) * SECTION_ENTRY_BYTES as u64;
    let stored_bytes = u48([header[8], header[9], header[10], header[11], header[12], header[13]]);
    Some(BLOCK_HEADER_BYTES as u64 + directory_bytes + stored_bytes)
}

/// What a frame is and how long it is whose header and directory `start` begins with, read at `offset` of the file, if
/// they pass their check. Of its sections nothing is known. At most [`MAX_FRAME_START_BYTES`] are looked at.
pub fn frame_start(start: &[u8], codec: &FileCodec, offset: u64) -> Option<(BlockKind, u64)> {
    let header = start.first_chunk()?;
    let kind = BlockKind::from_raw(header[2])?;
    let bytes = frame_bytes(header, kind)?;
    let covered = start.get(..BLOCK_HEADER_BYTES + usize::from(header[5]) * SECTION_ENTRY_BYTES)?;
    let is_sound =
        usize::from(header[5]) <= MAX_SECTIONS && header_check(covered, codec, offset) == header[20..];
    is_sound.then_some((kind, bytes))
}

/// Decodes header and directory of the frame that is all of `frame`, read at `offset` of the file.
///
/// # Errors
///
/// Any byte of them differs from what was framed, and parity does not restore it, or the frame is of another kind, lay
/// elsewhere or has another length.
pub fn read_frame<'a>(
    frame: &'a [u8],
    kind: BlockKind,
    codec: &FileCodec,
    offset: u64,
) -> Result<Vec<StoredSection<'a>>, Corruption> {
    read_as_it_is(frame, kind, codec, offset).or_else(|why| {
        let read = |frame: &[u8]| {
            let sections = read_as_it_is(frame, kind, codec, offset)?;
            Ok(sections.into_iter().map(StoredSection::into_owned).collect())
        };
        codec.corrected(frame.len(), offset, read).ok_or(why)
    })
}

/// As [`read_frame`], and parity is not asked.
fn read_as_it_is<'a>(
    frame: &'a [u8],
    kind: BlockKind,
    codec: &FileCodec,
    offset: u64,
) -> Result<Vec<StoredSection<'a>>, Corruption> {
    let mut header = Reader::new(frame);
    if header.u16()? != MAGIC {
        return Err(Corruption("no block begins here"));
    }
    let stored_kind = header.u8()?;
    let _greatest_codec = header.u8()?;
    let flags = header.u8()?;
    let sections = usize::from(header.u8()?);
    let zero = header.u16()?;
    let stored_bytes = u48(header.array()?);
    let raw_bytes = u48(header.array()?);
    let check: [u8; 4] = header.array()?;
    let payload_at = BLOCK_HEADER_BYTES + sections * SECTION_ENTRY_BYTES;
    if sections > MAX_SECTIONS || payload_at > frame.len() {
        return Err(Corruption("the section directory does not fit the block"));
    }
    if header_check(&frame[..payload_at], codec, offset) != check {
        return Err(Corruption("the block header fails its checksum"));
    }
    // Its header alone is sealed by nobody.
    if sections == 0 {
        return Err(Corruption("the block has no sections"));
    }
    if stored_kind != kind as u8 || flags != 0 || zero != 0 {
        return Err(Corruption("the block is of another kind than its handle says"));
    }
    let payload = &frame[payload_at..];
    if payload.len() as u64 != stored_bytes {
        return Err(Corruption("the block has another length than its handle says"));
    }

    let mut directory = Reader::new(&frame[BLOCK_HEADER_BYTES..payload_at]);
    let mut left = Reader::new(payload);
    let mut raw_total = 0_u64;
    let mut found = Vec::with_capacity(sections);
    for _ in 0..sections {
        let (stored, raw) = (directory.u32()?, directory.u32()?);
        let compression = Codec::from_raw(directory.u8()?).ok_or(Corruption("unknown compression"))?;
        let checksum = Checksum(directory.u64()?);
        let offset = offset + (payload_at + payload.len() - left.remaining()) as u64;
        let stored = Cow::Borrowed(left.bytes(to_len(stored)?)?);
        raw_total += u64::from(raw);
        found.push(StoredSection { stored, raw_bytes: to_len(raw)?, kind, compression, checksum, offset });
    }
    if raw_total != raw_bytes || !left.is_empty() {
        return Err(Corruption("the sections do not fill the block"));
    }
    Ok(found)
}

/// What must be the same when a section is opened, beside its bytes and its place.
fn seal_context(kind: BlockKind, codec: u8, raw_bytes: u64) -> [u8; 10] {
    let mut context = [0; 10];
    context[0] = kind as u8;
    context[1] = codec;
    context[2..].copy_from_slice(&raw_bytes.to_le_bytes());
    context
}

fn to_len(bytes: u32) -> Result<usize, Corruption> {
    usize::try_from(bytes).map_err(|_| Corruption("a section exceeds the address space"))
}

fn u48(bytes: [u8; 6]) -> u64 {
    let mut wide = [0; 8];
    wide[..6].copy_from_slice(&bytes);
    u64::from_le_bytes(wide)
}

/// Of the header before its own check, and the directory.
fn header_check(header: &[u8], codec: &FileCodec, offset: u64) -> [u8; 4] {
    let directory = digest(&header[BLOCK_HEADER_BYTES..]);
    let mut covered = [0; 28];
    covered[..20].copy_from_slice(&header[..20]);
    covered[20..].copy_from_slice(&directory.to_le_bytes());
    let [a, b, c, d, ..] = Checksum::of(&covered, codec.salt, offset).0.to_le_bytes();
    [a, b, c, d]
}
