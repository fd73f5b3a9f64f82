//! Keys of encryption: their names, where they come from, and which of them seals which file.
//!
//! A file is sealed under a key of its own, which is made of a master key and the file's uuid (`sealer`), so a master
//! key is needed only when a file is created or opened. Files say in clear which master key that is; a check value
//! beside the name tells a wrong key from damage before a byte of content is read.

use super::{Corruption, FileCodec, FileHeader, sealer::Sealer};
use crate::{
    env::sync::{Mutex, Rank, catch},
    error::{Error, ErrorKind, Result},
    types::Uuid,
};
use alloc::{boxed::Box, collections::BTreeMap, format, string::String, sync::Arc};
use core::fmt;

/// Of who looks for a master key. Held over a call of the provider.
const KEYS: Rank = Rank::new(67, "keys");

/// Name of a master key; stored in clear in every file that it protects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub u64);

impl KeyId {
    /// No key: files are written in clear. As the current key of a provider it ends encryption.
    pub const CLEAR: KeyId = KeyId(0);
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Authenticated encryption of files. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[non_exhaustive]
#[repr(u8)]
pub enum Cipher {
    /// AES-256 in Galois/Counter mode (NIST SP 800-38D). The faster one where the processor has instructions for AES.
    #[default]
    Aes256Gcm = 1,
    /// ChaCha20 and Poly1305 (RFC 8439). The faster one everywhere else.
    ChaCha20Poly1305 = 2,
}

impl Cipher {
    pub(super) fn from_raw(raw: u8) -> Option<Cipher> {
        match raw {
            1 => Some(Cipher::Aes256Gcm),
            2 => Some(Cipher::ChaCha20Poly1305),
            _ => None,
        }
    }
}

/// What a file says in clear of how it is sealed.
///
/// | bytes | field                                                                           |
/// |-------|---------------------------------------------------------------------------------|
/// | 0..8  | key id, not 0                                                                   |
/// | 8     | cipher                                                                          |
/// | 9..17 | check value of the key                                                          |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seal {
    /// The master key.
    pub key: KeyId,
    /// What it is sealed with.
    pub cipher: Cipher,
    /// Depends on the master key and the database, and tells whether a key is the right one.
    pub check: [u8; Seal::CHECK_BYTES],
}

impl Seal {
    /// Size of a check value.
    pub const CHECK_BYTES: usize = 8;
    /// Size of the encoding.
    pub(crate) const ENCODED_BYTES: usize = 17;

    /// Encodes it; [`Seal::decode`] is the inverse.
    pub(crate) fn encode(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[8] = self.cipher as u8;
        bytes[9..].copy_from_slice(&self.check);
        bytes
    }

    /// What a field of an edit says.
    pub(crate) fn decode_field(value: &[u8]) -> Result<Seal, Corruption> {
        let bytes = value.try_into().map_err(|_| Corruption("a seal has 17 bytes"))?;
        Seal::decode(bytes).ok_or(Corruption("a seal names no key, or an unknown cipher"))
    }

    /// The inverse of [`Seal::encode`].
    pub(crate) fn decode(bytes: [u8; Self::ENCODED_BYTES]) -> Option<Seal> {
        let [k0, k1, k2, k3, k4, k5, k6, k7, cipher, check @ ..] = bytes;
        let key = KeyId(u64::from_le_bytes([k0, k1, k2, k3, k4, k5, k6, k7]));
        let cipher = Cipher::from_raw(cipher)?;
        (key != KeyId::CLEAR).then_some(Seal { key, cipher, check })
    }
}

/// A master key of 32 bytes: wiped when it is dropped, never printed.
pub struct Secret(Box<[u8; 32]>);

impl Secret {
    /// Takes the key. The caller's copy is the caller's to wipe.
    pub fn new(key: [u8; 32]) -> Secret {
        Secret(Box::new(key))
    }

    #[cfg(feature = "encryption-portable")]
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Clone for Secret {
    fn clone(&self) -> Secret {
        Secret(self.0.clone())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        super::sealer::wipe(&mut self.0[..]);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a key is not to be had.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no key of this name.
    Missing,
    /// It cannot be told now, and why.
    Unavailable(String),
}

/// Where keys come from. Asked when a database is opened and when files are created, never by reads and writes; a key
/// that was had is kept until the database is closed.
pub trait KeyProvider: Send + Sync + 'static {
    /// The key for new files. Another one than before begins a rotation: files that are written from now on are sealed
    /// under it. [`KeyId::CLEAR`]: they are not sealed, from the next opening on. Answers at once, from memory: writers
    /// may wait. While a key is not to be had, the one before stays in use.
    ///
    /// # Errors
    ///
    /// It cannot be told.
    fn current(&self) -> Result<KeyId, KeyError>;

    /// A key that files name.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be told.
    fn key(&self, id: KeyId) -> Result<Secret, KeyError>;

    /// Who hears of seals.
    #[doc(hidden)]
    fn seal_recorder(&self) -> Option<SealRecorder> {
        None
    }
}

impl<P: KeyProvider + ?Sized> KeyProvider for Box<P> {
    fn current(&self) -> Result<KeyId, KeyError> {
        (**self).current()
    }

    fn key(&self, id: KeyId) -> Result<Secret, KeyError> {
        (**self).key(id)
    }

    fn seal_recorder(&self) -> Option<SealRecorder> {
        (**self).seal_recorder()
    }
}

impl<P: KeyProvider + ?Sized> KeyProvider for Arc<P> {
    fn current(&self) -> Result<KeyId, KeyError> {
        (**self).current()
    }

    fn key(&self, id: KeyId) -> Result<Secret, KeyError> {
        (**self).key(id)
    }

    fn seal_recorder(&self) -> Option<SealRecorder> {
        (**self).seal_recorder()
    }
}

/// Hears of every seal: a digest of the file's key, and the offset that is the nonce. For tests that none is used twice.
pub type SealRecorder = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// The keys of a store: those that were had so far, and where others come from. Clones share them.
#[derive(Clone, Default)]
pub struct Keyring(Option<Arc<Keys>>);

struct Keys {
    provider: Box<dyn KeyProvider>,
    cipher: Cipher,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<KeyId, Arc<Secret>>,
    /// The last key for new files.
    current: Option<KeyId>,
}

impl Keyring {
    /// Without keys: files are written in clear, and others cannot be read.
    pub fn none() -> Keyring {
        Keyring(None)
    }

    /// Keys of a provider; new files are sealed with this cipher.
    pub fn new(provider: impl KeyProvider, cipher: Cipher) -> Keyring {
        let state = Mutex::new(KEYS, State::default());
        Keyring(Some(Arc::new(Keys { provider: Box::new(provider), cipher, state })))
    }

    /// By how many bytes what is sealed is longer, at most.
    pub fn added_bytes(&self) -> usize {
        if self.0.is_some() { super::TAG_BYTES } else { 0 }
    }

    /// What new files of a database are sealed under; `None`: they are written in clear.
    ///
    /// # Errors
    ///
    /// `MissingKey`: the provider does not know its current key. `UnsupportedFeature`: encryption is not compiled in.
    pub fn current(&self, database: Uuid) -> Result<Option<Seal>> {
        let Some(keys) = &self.0 else { return Ok(None) };
        let Some((id, secret)) = keys.current()? else { return Ok(None) };
        let check = Sealer::check_of(&secret, database)?;
        Ok(Some(Seal { key: id, cipher: keys.cipher, check }))
    }

    /// As [`Keyring::current`], if that is what the provider wants now.
    ///
    /// # Errors
    ///
    /// As [`Keyring::current`]; `MissingKey` too while new files are sealed under an earlier key because the current one
    /// is not to be had; `InvalidArgument` if nothing is to be sealed any more, which begins with the next opening.
    pub fn settled(&self, database: Uuid) -> Result<Option<Seal>> {
        let wanted = self.0.as_ref().map_or(Ok(None), |keys| keys.wanted())?;
        match (wanted, self.current(database)?) {
            (None, Some(seal)) => {
                let message = format!(
                    "there is no current key any more, and new files are encrypted under key {} until the database is \
                     opened again",
                    seal.key
                );
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            (_, seal) => Ok(seal),
        }
    }

    /// Says whether files that are sealed so can be opened.
    ///
    /// # Errors
    ///
    /// `MissingKey`; `WrongKey`: the key of this name is another one; `UnsupportedFeature`: encryption is not compiled
    /// in.
    pub fn check(&self, seal: &Seal, database: Uuid) -> Result<()> {
        self.secret(seal, database).map(drop)
    }

    /// How the rest of a file is framed that begins with this header.
    ///
    /// # Errors
    ///
    /// As [`Keyring::check`].
    pub fn codec(&self, header: &FileHeader) -> Result<FileCodec> {
        let Some(seal) = &header.seal else {
            return Ok(FileCodec::clear(header.file));
        };
        let secret = self.secret(seal, header.database)?;
        Ok(FileCodec::sealed(header.file, Sealer::new(&secret, header, seal, self.recorder())?))
    }

    fn recorder(&self) -> Option<SealRecorder> {
        self.0.as_ref().and_then(|keys| keys.provider.seal_recorder())
    }

    fn secret(&self, seal: &Seal, database: Uuid) -> Result<Arc<Secret>> {
        let Some(keys) = &self.0 else {
            let message = format!("encrypted under key {}, and no keys were given: open with them", seal.key);
            return Err(Error::new(ErrorKind::MissingKey, message));
        };
        let secret = keys.secret(seal.key)?;
        if Sealer::check_of(&secret, database)? != seal.check {
            let message = format!(
                "encrypted under another key than the one that was given as key {}: give the right one; nothing was \
                 changed",
                seal.key
            );
            return Err(Error::new(ErrorKind::WrongKey, message));
        }
        Ok(secret)
    }
}

impl Keys {
    /// The key for new files. What is encrypted when it is opened stays so until it is closed: a log of which a part was in
    /// clear could be added to by anybody. And a key that is not to be had keeps nobody from writing under the one before.
    fn current(&self) -> Result<Option<(KeyId, Arc<Secret>)>> {
        let wanted = self.wanted();
        let earlier = self.state.lock().current;
        match (wanted, earlier) {
            (Ok(Some((id, secret))), _) => {
                self.state.lock().current = Some(id);
                Ok(Some((id, secret)))
            }
            (_, Some(id)) => Ok(Some((id, self.secret(id)?))),
            (wanted, None) => wanted,
        }
    }

    /// What the provider says.
    fn wanted(&self) -> Result<Option<(KeyId, Arc<Secret>)>> {
        let id = asked(|| self.provider.current()).map_err(|why| {
            Error::new(ErrorKind::MissingKey, format!("the current key is not to be had: {}", told(&why)))
        })?;
        if id == KeyId::CLEAR { Ok(None) } else { Ok(Some((id, self.secret(id)?))) }
    }

    fn secret(&self, id: KeyId) -> Result<Arc<Secret>> {
        let known = &mut self.state.lock().known;
        if let Some(secret) = known.get(&id) {
            return Ok(Arc::clone(secret));
        }
        let secret = asked(|| self.provider.key(id)).map(Arc::new).map_err(|why| {
            Error::new(ErrorKind::MissingKey, format!("key {id} is not to be had: {}", told(&why)))
        })?;
        known.insert(id, Arc::clone(&secret));
        Ok(secret)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Keyring(..)" } else { "Keyring(none)" })
    }
}

/// A provider's answer; one that panicked has none.
fn asked<T>(ask: impl FnOnce() -> Result<T, KeyError>) -> Result<T, KeyError> {
    catch(ask).unwrap_or_else(|_| Err(KeyError::Unavailable("the provider panicked".into())))
}

fn told(why: &KeyError) -> &str {
    match why {
        KeyError::Missing => "the provider has none of this name",
        KeyError::Unavailable(why) => why,
    }
}

/// Whose files they are: the uuid that every one carries, and the keys that seal them.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The database.
    pub database: Uuid,
    /// Its keys.
    pub keys: Keyring,
}

/// A database that is not encrypted.
impl From<Uuid> for Owner {
    fn from(database: Uuid) -> Owner {
        Owner { database, keys: Keyring::none() }
    }
}

impl From<&Owner> for Owner {
    fn from(owner: &Owner) -> Owner {
        owner.clone()
    }
}

impl Owner {
    /// The header of a new file, sealed under the current key, and how what follows is framed.
    ///
    /// # Errors
    ///
    /// As [`Keyring::current`].
    pub fn new_file(&self, kind: super::FileKind, file: Uuid) -> Result<(FileHeader, FileCodec)> {
        let seal = self.keys.current(self.database)?;
        let header = FileHeader { seal, ..FileHeader::clear(kind, file, self.database) };
        let codec = self.keys.codec(&header)?;
        Ok((header, codec))
    }

    /// How the rest of a file is framed that begins with this header.
    ///
    /// # Errors
    ///
    /// As [`Keyring::check`], naming the file.
    pub fn codec(&self, header: &FileHeader, name: &str) -> Result<FileCodec> {
        self.keys.codec(header).map_err(|error| error.in_file(name))
    }
}
