//! The keys of encrypted databases: out of a file or the environment, never out of an argument, which other users of
//! the machine could see.

use crate::exit::{self, Failure};
use isopach::{Builder, Cipher, KeySet, engine::codec::Keyring};
use std::{env, fs, path::Path, sync::OnceLock};

/// Names a variable of the environment that holds keys, as a key file does.
pub(crate) const VARIABLE: &str = "ISOPACH_KEYS";

/// What was given to this process. Set once, before anything is opened.
static GIVEN: OnceLock<KeySet> = OnceLock::new();

/// Reads the keys, if any are given: of this file, else of the environment.
pub(crate) fn read(file: Option<&Path>) -> Result<(), Failure> {
    let (from, text) = match (file, env::var(VARIABLE)) {
        (Some(file), _) => {
            let from = format!("read the keys in {}", file.display());
            let text = fs::read_to_string(file).map_err(|error| Failure::io(from.as_str(), &error))?;
            (from, text)
        }
        (None, Ok(text)) => (format!("read the keys in {VARIABLE}"), text),
        (None, Err(env::VarError::NotPresent)) => return Ok(()),
        (None, Err(error)) => return Err(Failure::new(exit::USAGE, VARIABLE, error.to_string())),
    };
    let keys = KeySet::parse(&text).map_err(|error| Failure::new(exit::USAGE, from, error.to_string()))?;
    GIVEN.get_or_init(|| keys);
    Ok(())
}

/// Opens with the keys that were given.
pub(crate) fn with_keys(builder: Builder) -> Builder {
    match GIVEN.get() {
        Some(keys) => builder.encryption(keys.clone()),
        None => builder,
    }
}

/// The same for files that are looked at by themselves.
pub(crate) fn keyring() -> Keyring {
    GIVEN.get().map_or_else(Keyring::none, |keys| Keyring::new(keys.clone(), Cipher::default()))
}
