//! Sealing of one file: its own key, made of a master key and of what the file is, and a nonce for each place in it.
//!
//! Every section and every record of a file begins at an offset of its own, and is written once: so no two seals under
//! one key share a nonce, as long as no uuid is drawn twice and no byte of a file is written a second time in another
//! way (INV-ENC-1).
//!
//! The key of a file is HKDF-SHA-256 (RFC 5869) of the master key. File, database, kind of file, name of the master key
//! and cipher go in, so that a file under another name, in another place or relabelled does not open.

use super::{
    Corruption, FileHeader, TAG_BYTES,
    keys::{Cipher, Seal, SealRecorder, Secret},
};
use crate::{error::Result, types::Uuid};
use alloc::boxed::Box;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

#[cfg(feature = "encryption")]
use native::Key;
#[cfg(not(feature = "encryption"))]
use portable::Key;

/// Seals and opens what lies in one file.
pub struct Sealer {
    key: Box<Key>,
    /// Names the key for the recorder.
    key_digest: u64,
    recorder: Option<SealRecorder>,
}

impl Sealer {
    /// The sealer of the file that begins with this header.
    pub(super) fn new(
        secret: &Secret,
        header: &FileHeader,
        seal: &Seal,
        recorder: Option<SealRecorder>,
    ) -> Result<Sealer> {
        let mut what = [0; 10];
        what[0] = seal.cipher as u8;
        what[1] = header.kind as u8;
        what[2..].copy_from_slice(&seal.key.0.to_le_bytes());
        let mut salt = [0; 32];
        salt[..16].copy_from_slice(&header.file.0);
        salt[16..].copy_from_slice(&header.database.0);
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        Hkdf::<Sha256>::new(Some(&salt), secret.bytes())
            .expand_multi_info(&[b"isopach file key", &what], &mut derived[..])
            .expect("32 bytes are no more than HKDF yields");
        let key_digest = if recorder.is_some() { super::digest(&derived[..]) } else { 0 };
        Ok(Sealer { key: Box::new(Key::new(seal.cipher, &derived)), key_digest, recorder })
    }

    /// The check value of a master key in a database.
    pub(super) fn check_of(secret: &Secret, database: Uuid) -> Result<[u8; Seal::CHECK_BYTES]> {
        let mut check = [0; Seal::CHECK_BYTES];
        Hkdf::<Sha256>::new(Some(&database.0), secret.bytes())
            .expand(b"isopach key check", &mut check)
            .expect("8 bytes are no more than HKDF yields");
        Ok(check)
    }

    /// Encrypts bytes that will lie at `offset`, and says what authenticates them, and `context` with them.
    pub(super) fn seal(&self, bytes: &mut [u8], offset: u64, context: &[u8]) -> [u8; TAG_BYTES] {
        if let Some(recorder) = &self.recorder {
            recorder(self.key_digest, offset);
        }
        self.key.seal(&nonce(offset), context, bytes)
    }

    /// The inverse of [`Sealer::seal`].
    ///
    /// # Errors
    ///
    /// The bytes were altered or moved, or `context` is another one. They are of no use then.
    pub(super) fn open(
        &self,
        bytes: &mut [u8],
        tag: &[u8; TAG_BYTES],
        offset: u64,
        context: &[u8],
    ) -> Result<(), Corruption> {
        let is_sound = self.key.open(&nonce(offset), context, bytes, tag);
        if is_sound { Ok(()) } else { Err(Corruption("sealed bytes were altered or moved")) }
    }
}

fn nonce(offset: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&offset.to_le_bytes());
    nonce
}

/// AWS-LC: assembly for each processor, keys wiped by the library.
#[cfg(feature = "encryption")]
mod native {
    use super::{Cipher, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
    use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    pub(super) struct Key(LessSafeKey);

    impl Key {
        pub(super) fn new(cipher: Cipher, key: &[u8; KEY_BYTES]) -> Key {
            let algorithm = match cipher {
                Cipher::Aes256Gcm => &AES_256_GCM,
                Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            };
            Key(LessSafeKey::new(UnboundKey::new(algorithm, key).expect("the key has 32 bytes")))
        }

        pub(super) fn seal(
            &self,
            nonce: &[u8; NONCE_BYTES],
            context: &[u8],
            bytes: &mut [u8],
        ) -> [u8; TAG_BYTES] {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(context), bytes);
            let tag = tag.expect("sections and records are shorter than what a cipher takes");
            tag.as_ref().try_into().expect("a tag has 16 bytes")
        }

        pub(super) fn open(
            &self,
            nonce: &[u8; NONCE_BYTES],
            context: &[u8],
            bytes: &mut [u8],
            tag: &[u8; TAG_BYTES],
        ) -> bool {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            self.0.open_in_place_separate_tag(nonce, Aad::from(context), tag, bytes).is_ok()
        }
    }
}

/// RustCrypto: Rust alone, wherever it runs.
#[cfg(any(not(feature = "encryption"), test))]
mod portable {
    use super::{Cipher, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
    use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
    use chacha20poly1305::ChaCha20Poly1305;

    #[allow(clippy::large_enum_variant, reason = "it is boxed as a whole")]
    pub(super) enum Key {
        Aes(Aes256Gcm),
        ChaCha(ChaCha20Poly1305),
    }

    impl Key {
        pub(super) fn new(cipher: Cipher, key: &[u8; KEY_BYTES]) -> Key {
            match cipher {
                Cipher::Aes256Gcm => Key::Aes(Aes256Gcm::new(key.into())),
                Cipher::ChaCha20Poly1305 => Key::ChaCha(ChaCha20Poly1305::new(key.into())),
            }
        }

        pub(super) fn seal(
            &self,
            nonce: &[u8; NONCE_BYTES],
            context: &[u8],
            bytes: &mut [u8],
        ) -> [u8; TAG_BYTES] {
            let tag = match self {
                Key::Aes(key) => key.encrypt_inout_detached(nonce.into(), context, bytes.into()),
                Key::ChaCha(key) => key.encrypt_inout_detached(nonce.into(), context, bytes.into()),
            };
            tag.expect("sections and records are shorter than what a cipher takes").into()
        }

        pub(super) fn open(
            &self,
            nonce: &[u8; NONCE_BYTES],
            context: &[u8],
            bytes: &mut [u8],
            tag: &[u8; TAG_BYTES],
        ) -> bool {
            let opened = match self {
                Key::Aes(key) => key.decrypt_inout_detached(nonce.into(), context, bytes.into(), tag.into()),
                Key::ChaCha(key) => {
                    key.decrypt_inout_detached(nonce.into(), context, bytes.into(), tag.into())
                }
            };
            opened.is_ok()
        }
    }
}

pub(super) fn wipe(bytes: &mut [u8]) {
    bytes.zeroize();
}

#[cfg(test)]
mod tests;
