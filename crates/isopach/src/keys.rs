//! Keys that are held in memory, for [`Builder::encryption`](crate::Builder::encryption).

use crate::error::{Error, ErrorKind, Result};
use isopach_engine::codec::{KeyError, KeyId, KeyProvider, Secret};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Master keys by their names, one of them the current one. Clones share them, so that one can be kept to change the
/// current key while a database is open.
///
/// A program whose keys come from elsewhere implements [`KeyProvider`] itself.
///
/// ```no_run
/// use isopach::{Db, KeyId, KeySet, Secret};
/// # fn main() -> isopach::Result<()> {
/// # fn key_from_somewhere_safe(_: u64) -> [u8; 32] { [0; 32] }
/// let keys = KeySet::new(KeyId(1), Secret::new(key_from_somewhere_safe(1)));
/// let keys = keys.with(KeyId(2), Secret::new(key_from_somewhere_safe(2)));
/// let db = Db::builder("db").encryption(keys.clone()).open()?;
///
/// keys.set_current(KeyId(2))?; // A rotation begins.
/// while db.keys_in_use().contains_key(&KeyId(1)) {
///     // Compactions write anew what is under the first key.
/// #   break;
/// }
/// # db.close()
/// # }
/// ```
#[derive(Clone)]
pub struct KeySet(Arc<Inner>);

struct Inner {
    keys: BTreeMap<KeyId, Secret>,
    current: AtomicU64,
}

impl KeySet {
    /// One key, which is the current one.
    pub fn new(id: KeyId, key: Secret) -> KeySet {
        KeySet::of(BTreeMap::from([(id, key)]), id)
    }

    fn of(keys: BTreeMap<KeyId, Secret>, current: KeyId) -> KeySet {
        KeySet(Arc::new(Inner { keys, current: AtomicU64::new(current.0) }))
    }

    /// A set with one key more; its current key is the same. The set that it is made of stays as it is.
    #[must_use]
    pub fn with(&self, id: KeyId, key: Secret) -> KeySet {
        let mut keys = self.0.keys.clone();
        keys.insert(id, key);
        KeySet::of(keys, self.current_id())
    }

    /// Reads a set from text: a line for each key, its name as a number and 64 hexadecimal digits. The first is the current
    /// one; a line of `0` alone before it says that new files are not encrypted. Empty lines, and what follows a `#`, are
    /// passed over.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` naming the line, and nothing of what it says.
    pub fn parse(text: &str) -> Result<KeySet> {
        let mut keys = BTreeMap::new();
        let mut current = None;
        for (index, line) in text.lines().enumerate() {
            let wrong = |why: &str| {
                let message = format!("line {} of the keys: {why}", index + 1);
                Error::new(ErrorKind::InvalidArgument, message)
            };
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(id) = words.next() else { continue };
            let id = KeyId(id.parse().map_err(|_| wrong("the name of a key is a number"))?);
            let key = words.next();
            match key {
                None if id == KeyId::CLEAR && current.is_none() => {}
                _ if id == KeyId::CLEAR => return Err(wrong("0 is no name of a key")),
                key => {
                    let digits = key.ok_or_else(|| wrong("a name without a key"))?;
                    let key = secret(digits).ok_or_else(|| wrong("a key has 64 hexadecimal digits"))?;
                    if keys.insert(id, key).is_some() {
                        return Err(wrong("a key of this name was there before"));
                    }
                }
            }
            if words.next().is_some() {
                return Err(wrong("something follows the key"));
            }
            current.get_or_insert(id);
        }
        match current {
            Some(current) => Ok(KeySet::of(keys, current)),
            None => Err(Error::new(ErrorKind::InvalidArgument, "there are no keys")),
        }
    }

    /// Makes another key the current one, [`KeyId::CLEAR`] for none: see [`KeyProvider::current`].
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is no key of this name.
    pub fn set_current(&self, id: KeyId) -> Result<()> {
        if id != KeyId::CLEAR && !self.0.keys.contains_key(&id) {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("there is no key {id}")));
        }
        self.0.current.store(id.0, Ordering::Relaxed);
        Ok(())
    }

    fn current_id(&self) -> KeyId {
        KeyId(self.0.current.load(Ordering::Relaxed))
    }
}

fn secret(digits: &str) -> Option<Secret> {
    let digits: &[u8; 64] = digits.as_bytes().try_into().ok()?;
    let mut key = [0; 32];
    for (byte, [high, low]) in key.iter_mut().zip(digits.as_chunks().0) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).expect("two digits");
    }
    let secret = Secret::new(key);
    key.fill(0);
    std::hint::black_box(&key); // So that it is not left out as useless.
    Some(secret)
}

impl KeyProvider for KeySet {
    fn current(&self) -> Result<KeyId, KeyError> {
        Ok(self.current_id())
    }

    fn key(&self, id: KeyId) -> Result<Secret, KeyError> {
        self.0.keys.get(&id).cloned().ok_or(KeyError::Missing)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &self.0.keys.keys())
            .field("current", &self.current_id())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";

    #[test]
    fn keys_are_read_from_lines_and_the_first_is_current() {
        let set = KeySet::parse(&format!("# Two keys.\n\n7 {KEY} # new\n3 {KEY}\n")).unwrap();

        assert_eq!(set.current_id(), KeyId(7));
        assert!(set.key(KeyId(3)).is_ok() && set.key(KeyId(4)).is_err());
        assert_eq!(KeySet::parse(&format!("0\n3 {KEY}")).unwrap().current_id(), KeyId::CLEAR);
        set.set_current(KeyId(3)).unwrap();
        assert_eq!(set.clone().current_id(), KeyId(3));
        assert_eq!(set.set_current(KeyId(9)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_line_that_is_no_key_is_named_and_not_shown() {
        let short = &KEY[1..];
        for (text, line) in [
            (format!("1 {KEY}\nx {KEY}"), 2),
            (format!("1 {short}"), 1),
            (format!("1 {short}g"), 1),
            (format!("1 {KEY}\n1 {KEY}"), 2),
            (format!("1 {KEY} more"), 1),
            (format!("0 {KEY}"), 1),
            ("1".into(), 1),
            (format!("1 {KEY}\n0"), 2),
        ] {
            let error = KeySet::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("line {line} ")), "{error}");
            assert!(!error.contains("aabbcc"), "{error}");
        }
        assert!(KeySet::parse("# nothing\n").is_err());
        assert!(!format!("{:?}", KeySet::parse(&format!("1 {KEY}")).unwrap()).contains("aabb"));
    }
}
