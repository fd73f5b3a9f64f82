//! Targets for what is encrypted. Who has no key can break it, cut it, or bring back what was there; no other content ever
//! opens.

use super::{
    framing::{AT, FILE},
    repair, seeds, with_checksums,
};
use isopach::{
    Cipher, KeyError, KeyId, KeyProvider, Secret,
    engine::{
        codec::{
            BlockKind, Compression, FileCodec, FileHeader, FileKind, Keyring, Salt, Section, decode_block,
            encode_block,
        },
        types::Uuid,
    },
};

/// Key 1, and that alone.
pub(super) struct OneKey;

impl KeyProvider for OneKey {
    fn current(&self) -> Result<KeyId, KeyError> {
        Ok(KeyId(1))
    }

    fn key(&self, id: KeyId) -> Result<Secret, KeyError> {
        if id == KeyId(1) { Ok(Secret::new([1; 32])) } else { Err(KeyError::Missing) }
    }
}

const CIPHERS: [Cipher; 2] = [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];
const DATABASE: Uuid = Uuid([9; 16]);

/// A frame that is sealed, behind a byte that says by which cipher.
pub(super) fn sealed_frame(data: &[u8]) {
    let Some((&cipher, frame)) = data.split_first() else { return };
    let cipher = CIPHERS[usize::from(cipher) % CIPHERS.len()];
    let codec = codec_of(cipher);
    let bind = |data: &mut [u8]| {
        repair::frame(data, Salt::of(FILE), AT);
    };
    with_checksums(frame, bind, |frame| {
        for kind in [BlockKind::Data, BlockKind::Index, BlockKind::Filter, BlockKind::Properties] {
            let Ok(sections) = decode_block(frame, kind, &codec, AT) else { continue };
            let was_sealed = contents().into_iter().any(|(of, raw)| of == kind && raw == sections);
            assert!(was_sealed, "{cipher:?}, {kind:?}: what was opened was sealed");
        }
    });
}

fn codec_of(cipher: Cipher) -> FileCodec {
    let keys = Keyring::new(OneKey, cipher);
    let seal = keys.current(DATABASE).expect("key 1 is there");
    let header = FileHeader { seal, ..FileHeader::clear(FileKind::Table, FILE, DATABASE) };
    keys.codec(&header).expect("key 1 is there")
}

/// What is sealed to begin with: so many sections of each kind that no two begin at one place, for a nonce has one use.
fn contents() -> Vec<(BlockKind, Vec<Vec<u8>>)> {
    let text = b"some text, some text, some text, some more text, some text and so on".repeat(4);
    vec![
        (BlockKind::Properties, vec![b"keys".to_vec(), b"values".to_vec()]),
        (BlockKind::Data, vec![text.clone(), Vec::new(), b"more".to_vec()]),
        (BlockKind::Index, vec![text]),
        (BlockKind::Filter, vec![b"x".to_vec(); 64]),
    ]
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let sealed = |(index, &cipher): (usize, &Cipher)| {
        let frame = move |(kind, raw): (BlockKind, Vec<Vec<u8>>)| {
            let sections: Vec<Section<'_>> =
                raw.iter().map(|raw| Section { raw, compression: Compression::Lz4 }).collect();
            let mut out = vec![index as u8];
            let mut frame = Vec::new();
            encode_block(&mut frame, kind, &codec_of(cipher), AT, &sections);
            out.append(&mut frame);
            out
        };
        contents().into_iter().map(frame)
    };
    CIPHERS.iter().enumerate().flat_map(sealed).collect()
}

/// As [`seeds::images`], encrypted.
pub(super) fn images() -> Vec<Vec<u8>> {
    let shapes = [(3, true), (3, false), (40, true), (40, false), (160, true)];
    let sealed = |(index, (amount, is_closed)): (usize, (u32, bool))| {
        let cipher = CIPHERS[index % CIPHERS.len()];
        let files = seeds::files_of(amount, is_closed, |builder| builder.encryption(OneKey).cipher(cipher));
        super::image::encode(&files)
    };
    shapes.into_iter().enumerate().map(sealed).collect()
}
