//! What a check of a table finds.

use crate::{
    codec::ParityFinding,
    error::{Error, KeyBounds},
};
use alloc::{
    format,
    string::{String, ToString},
};

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where in the table's file, in bytes.
    pub offset: u64,
    /// What.
    pub message: String,
    /// User keys whose answers may be wrong or missing, if not all of the table.
    pub keys: Option<KeyBounds>,
    /// Whether nothing is lost: parity restores what was there, or is itself what is damaged.
    pub is_harmless: bool,
}

impl Finding {
    /// About a place that stands for all keys of the table, or for none.
    pub(super) fn at(offset: u64, message: impl Into<String>) -> Finding {
        Finding { offset, message: message.into(), keys: None, is_harmless: false }
    }

    /// What a walk over parity found.
    pub(super) fn of_parity(found: ParityFinding) -> Finding {
        let message = format!("{} ({} bytes)", found.message, found.bytes.end - found.bytes.start);
        Finding { is_harmless: found.is_corrected, ..Finding::at(found.bytes.start, message) }
    }

    /// An error of reading the table.
    pub(crate) fn of(error: &Error) -> Finding {
        Finding {
            offset: error.offset().unwrap_or(0),
            message: error.to_string(),
            keys: error.keys().cloned(),
            is_harmless: false,
        }
    }

    /// The finding as an error of reading the table.
    pub fn error(&self, file_name: &str) -> Error {
        let error = Error::corrupt(file_name, self.offset, &self.message);
        match &self.keys {
            Some(keys) => error.over_keys(keys.clone()),
            None => error,
        }
    }
}
